"""Figures over time as a picture: one panel for each, below one another, on one axis of seconds."""

from html import escape

import svg

LEFT, RIGHT, TOP, PANEL, GAP, WIDTH = 70, 20, 40, 110, 34, 700
STYLE = """\
.line { fill: none; stroke: #1c7ed6; stroke-width: 1.5 } .axis { stroke: #b9c2cc }
.mark { stroke: #e8590c; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { .axis { stroke: #56606b } }"""


def draw(title, times, panels, marks=()):
    """`panels` are names with a value for each of `times`; `marks` are times with what happened then."""
    end = max(times) or 1
    right = LEFT + WIDTH
    body = []

    def across(time):
        return LEFT + time / end * WIDTH

    for number, (name, values) in enumerate(panels):
        top = TOP + GAP + number * (PANEL + GAP)
        bottom, most = top + PANEL, max(values) or 1
        body.append(f'<text class="small" x="{LEFT}" y="{top - 8}">{escape(name)}</text>')
        for value, y in ((most, top), (0, bottom)):
            body.append(f'<line class="axis" x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}"/>')
            text = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
            body.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
        points = zip(times, values)
        path = " ".join(f"{across(t):.1f},{bottom - v / most * PANEL:.1f}" for t, v in points)
        body.append(f'<polyline class="line" points="{path}"/>')
    bottom = TOP + len(panels) * (PANEL + GAP)
    for time, what in marks:
        x = f"{across(time):.1f}"
        body.append(f'<line class="mark" x1="{x}" y1="{TOP + GAP}" x2="{x}" y2="{bottom}"/>')
        body.append(f'<text class="small" x="{x}" y="{bottom + 16}" text-anchor="middle">{escape(what)}</text>')
    body.append(f'<text class="small" x="{right}" y="{bottom + 32}" text-anchor="end">{end:.0f} s</text>')
    return svg.document(title, right + RIGHT, bottom + 44, STYLE, body)
