"""Results as a picture: two bars for each client of each job, MB/s and CPU seconds per GiB, downpour
in colour.
"""

from html import escape

import svg
from table import medians, number, summary

ROW, HEAD, TOP, NAME, BAR, GAP = 17, 44, 50, 110, 250, 120
STYLE = """\
.bar { fill: #b9c2cc } .floor { fill: #e4e7ea } .ours { fill: #1c7ed6 }
@media (prefers-color-scheme: dark) { .bar { fill: #56606b } .floor { fill: #333a42 } }"""
PANELS = (("rate", "MB/s, more is better"), ("cost", "CPU s/GiB, less is better"))
IDLE_PANELS = (("anonymous_each", "anon KiB each"), ("idling", "CPU s in 30 s"))


def bars(title, jobs, rows):
    found = summary(rows)
    shown = [(job, found[job.name]) for job in jobs if job.name in found and job.kind != "control"]
    shown = [
        (job, {name: medians(line) for name, line in lines.items() if line["figures"]})
        for job, lines in shown
    ]
    shown = [(job, lines) for job, lines in shown if lines]
    height = TOP + sum(HEAD + ROW * len(lines) for _, lines in shown) + 10
    width = NAME + 2 * (BAR + GAP)
    out = []
    y = TOP
    for job, lines in shown:
        out.append(f'<text class="title" x="10" y="{y + 14}">{escape(job.name)}</text>')
        out.append(f'<text class="small" x="{NAME}" y="{y + 14}">{escape(job.title)}</text>')
        panels = IDLE_PANELS if job.kind == "idle" else PANELS
        for panel, (key, heading) in enumerate(panels):
            x = NAME + panel * (BAR + GAP)
            out.append(f'<text class="small" x="{x}" y="{y + 30}">{heading}</text>')
        y += HEAD - 8
        most = {key: max(line.get(key, 0) for line in lines.values()) or 1 for key, _ in panels}
        for name, line in sorted(lines.items(), key=lambda item: -item[1].get("rate", 0)):
            kind = {"downpour": "ours", "limit": "floor"}.get(name, "bar")
            out.append(f'<text x="{NAME - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            for panel, (key, _) in enumerate(panels):
                if key not in line:
                    continue
                x = NAME + panel * (BAR + GAP)
                length = max(1, line[key] / most[key] * BAR)
                out.append(f'<rect class="{kind}" x="{x}" y="{y + 2}" width="{length:.1f}" '
                           f'height="{ROW - 4}"/>')
                out.append(f'<text x="{x + length + 6:.1f}" y="{y + 12}">{number(line[key])}</text>')
            y += ROW
        y += 8
    return svg.document(title, width, height, STYLE, out)
