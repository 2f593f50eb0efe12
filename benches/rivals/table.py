"""Results as a table in Markdown: a section for each job, a line for each client, median (least to
most) over the runs that counted.
"""

import statistics

MIB, GIB = 1 << 20, 1 << 30


def derive(row):
    """The figures that are shown, from those that were measured."""
    figures = dict(row["figures"])
    if "processor" in figures:
        figures["cost"] = figures["processor"] / figures["bytes"] * GIB
    if "seeder_processor" in figures:
        figures["seeder_cost"] = figures["seeder_processor"] / figures["bytes"] * GIB
        figures["seeder_anonymous_mib"] = figures["seeder_anonymous"] / MIB
    for name in ("anonymous", "resident"):
        if name in figures:
            figures[f"{name}_mib"] = figures[name] / MIB
    return figures


USUAL = (
    ("rate", "MB/s"),
    ("cost", "CPU s/GiB"),
    ("seconds", "wall s"),
    ("anonymous_mib", "anon MiB"),
    ("resident_mib", "RSS MiB"),
)


def summary(rows):
    """By job and client: version, runs tried, why runs did not count, and lists of figures."""
    found = {}
    for row in rows:
        line = found.setdefault(row["job"], {}).setdefault(
            row["client"], {"version": row["version"], "tried": 0, "failures": [], "figures": []}
        )
        line["tried"] += 1
        if row["ok"]:
            line["figures"].append(derive(row))
        else:
            line["failures"].append(row["why"])
    return found


def medians(line):
    keys = line["figures"][0] if line["figures"] else {}
    return {key: statistics.median(f[key] for f in line["figures"]) for key in keys}


def number(value):
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def cell(line, key):
    values = [figures[key] for figures in line["figures"] if key in figures]
    if not values:
        return "-"
    middle, least, most = map(number, (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 or least == most else f"{middle} ({least}–{most})"


def length_text(length):
    return f"{length / GIB:g} GiB" if length >= GIB else f"{length / MIB:.4g} MiB"


def markdown(head, jobs, rows, rivals):
    out = [head]
    found = summary(rows)
    for job in jobs:
        lines = found.get(job.name)
        if not lines:
            continue
        what = f"{length_text(job.length)}, pieces of {length_text(job.piece_length)}"
        if job.piece_length < MIB:
            what = f"{length_text(job.length)}, pieces of {job.piece_length >> 10} KiB"
        many = f", {job.files} files" if job.files else ""
        out.append(f"\n### {job.title} ({what}{many})\n")
        columns = [*USUAL, *job.columns]
        if job.kind == "control":
            columns = []
        elif job.kind == "idle":
            columns = [*USUAL[2:], *job.columns]
        heads = ["client", "version", "runs", *(head for _, head in columns)]
        out.append("| " + " | ".join(heads) + " |")
        out.append("|---" * len(heads) + "|")

        def order(item):
            figures = medians(item[1])
            return -figures.get("rate", -figures.get("anonymous_each", 1e9))

        for client, line in sorted(lines.items(), key=order):
            name = f"**{client}**" if client == "downpour" else client
            runs = f"{len(line['figures'])}/{line['tried']}"
            cells = [cell(line, key) for key, _ in columns]
            if not line["figures"]:
                cells = [line["failures"][0][:90].replace("|", "/"), *[""] * len(columns)]
                cells = cells[:max(1, len(columns))]
            out.append("| " + " | ".join([name, line["version"], runs, *cells]) + " |")
    out.append("\nSettings:\n")
    for rival in rivals:
        if rival.settings:
            out.append(f"- {rival.name}: {rival.settings}.")
    return "\n".join(out) + "\n"
