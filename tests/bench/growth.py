"""Curves of growth.sh.

usage: growth.py ranks PLAN.json CSV        appends what ranks share, as `cllava plan --json` counts it
       growth.py draw CSV PAGE.md PICTURE.svg   fills the page between <!-- growth --> and <!-- /growth -->, draws the picture
"""
import csv
import json
import math
import re
import sys

KINDS = {"step": ("time", "#1f5fbf"), "operations": ("operations", "#c2571a"), "memory": ("memory of the step", "#2a8a4a"),
         "wire": ("bytes on the wire", "#8a3ab0"), "routing": ("routing", "#999999")}
WIDE, HIGH, LEFT, TOP, COLUMNS = 210, 150, 46, 30, 3


def ranks(plan, path):
    """Of the ranks that share one copy of the base: weights and step of one of them, what it sends."""
    with open(path, newline="") as f:
        last = list(csv.DictReader(f))[-1]
    with open(plan) as f:
        layouts = [x for x in json.load(f)["layouts"] if x["tensor"] == x["ranks"]]
    with open(path, "a", newline="") as f:
        w = csv.writer(f, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
        for x in layouts:
            figures = {"operations": (x["flop_step"] / x["ranks"] / 1e9, "GFLOP"),
                       "memory": ((x["memory"]["base"] + x["memory"]["step"]) / 2 ** 20, "MiB"),
                       "wire": (x["wire_bytes"] / 2 ** 20, "MiB")}
            for kind, (value, unit) in figures.items():
                w.writerow([f"ranks P {x['ranks']}: {kind}", last["shape"], last["precision"], "", f"{value:.6g}", unit, "",
                            last["commit"], "counts of cllava plan"])


def read(path):
    """quantity -> kind -> [(size, value)], and the first row."""
    curves, first = {}, None
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            m = re.fullmatch(r"(.+) (\d+): (\w+)", row["what"])
            if m:
                first = first or row
                curves.setdefault(m[1], {}).setdefault(m[3], []).append((int(m[2]), float(row["value"])))
    return curves, first


def slope(points):
    """How the last doubling grows: log2 of the quotient per doubling; NaN where there is nothing."""
    (x0, y0), (x1, y1) = points[-2:]
    return math.log(y1 / y0) / math.log(x1 / x0) if y0 > 0 and y1 > 0 else math.nan


def panel(out, name, kinds, x, y):
    top = max(v / p[0][1] for k, p in kinds.items() if p[0][1] > 0 for _, v in p)
    low = min(v / p[0][1] for k, p in kinds.items() if p[0][1] > 0 for _, v in p)
    sizes = [s for s, _ in next(iter(kinds.values()))]
    y0, y1 = math.floor(math.log2(low)), max(1, math.ceil(math.log2(top)))
    x0, x1 = math.log2(sizes[0]), math.log2(sizes[-1])
    px = lambda s: x + LEFT + (WIDE - LEFT - 10) * (math.log2(s) - x0) / (x1 - x0)
    py = lambda v: y + TOP + (HIGH - TOP - 24) * (1 - (math.log2(v) - y0) / (y1 - y0))
    out.append(f'<text x="{x + LEFT}" y="{y + 18}" font-weight="bold">{name}</text>')
    step = max(1, (y1 - y0 + 3) // 4)
    for e in range(y0, y1 + 1, step):
        label = f"{2 ** e}" if e >= 0 else f"1/{2 ** -e}"
        out.append(f'<line x1="{x + LEFT}" x2="{x + WIDE - 10}" y1="{py(2 ** e):.1f}" y2="{py(2 ** e):.1f}" stroke="#ddd"/>'
                   f'<text x="{x + LEFT - 4}" y="{py(2 ** e) + 4:.1f}" text-anchor="end">{label}</text>')
    for s in sizes:
        out.append(f'<text x="{px(s):.1f}" y="{y + HIGH - 8}" text-anchor="middle" font-size="9">{s}</text>')
    end = min(sizes[-1], sizes[0] * 2 ** y1)
    out.append(f'<line x1="{px(sizes[0]):.1f}" y1="{py(1):.1f}" x2="{px(end):.1f}" y2="{py(end / sizes[0]):.1f}" '
               'stroke="#888" stroke-dasharray="3 3"/>')
    for kind, points in kinds.items():
        base = points[0][1]
        if kind == "routing" or base <= 0:
            continue
        way = " ".join(f"{px(s):.1f},{py(v / base):.1f}" for s, v in points)
        out.append(f'<polyline fill="none" stroke="{KINDS[kind][1]}" stroke-width="1.8" points="{way}"/>')


def picture(curves):
    rows = -(-len(curves) // COLUMNS)
    wide, high = COLUMNS * WIDE + 20, rows * HIGH + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
           'font-family="sans-serif" font-size="11" fill="#222">',
           "<title>Cost of a training step where one size grows, relative to the smallest</title>",
           '<rect width="100%" height="100%" fill="#fff"/>']
    for i, (name, kinds) in enumerate(curves.items()):
        panel(out, name, kinds, i % COLUMNS * WIDE, i // COLUMNS * HIGH)
    x = LEFT
    for kind, (label, colour) in KINDS.items():
        if kind != "routing":
            out.append(f'<text x="{x}" y="{high - 14}" fill="{colour}">{label}</text>')
            x += 7 * len(label) + 20
    out.append(f'<text x="{x}" y="{high - 14}" fill="#888">dashed: in proportion</text>')
    return "\n".join(out + ["</svg>", ""])


def table(curves, first):
    out = ["| what grows | from .. to | time | operations | memory | at the last doubling: time, operations, memory | routing at the end |",
           "|---|---|---:|---:|---:|---|---:|"]
    for name, kinds in curves.items():
        any_ = next(iter(kinds.values()))
        times = {k: f"x {p[-1][1] / p[0][1]:.2f}" for k, p in kinds.items() if p[0][1] > 0}
        powers = ", ".join(f"{slope(kinds[k]):.2f}" if k in kinds else "-" for k in ("step", "operations", "memory"))
        routing = f"{kinds['routing'][-1][1]:.0f} us, {1e-4 * kinds['routing'][-1][1] / kinds['step'][-1][1]:.2f} %" \
            if "routing" in kinds else ""
        out.append(f"| {name} | {any_[0][0]} .. {any_[-1][0]} | {times.get('step', '')} | {times.get('operations', '')} | "
                   f"{times.get('memory', '')} | {powers} | {routing} |")
    wire = curves.get("ranks P", {}).get("wire", [])
    out += ["", "Powers: 1 is in proportion, 0 is none. Bytes that a rank sends in a step: "
            + ", ".join(f"{v:.1f} MiB of {s}" for s, v in wire if v > 0) + "." if wire else "",
            f"Shape {first['shape']}, {first['precision']}, commit {first['commit']}, {first['machine']}."]
    return "\n".join(out) + "\n"


def draw(path, page, svg):
    curves, first = read(path)
    with open(svg, "w") as f:
        f.write(picture(curves))
    with open(page) as f:
        text = f.read()
    head, _, rest = text.partition("<!-- growth -->\n")
    _, mark, tail = rest.partition("<!-- /growth -->")
    if not mark:
        sys.exit(f"{page}: no <!-- growth --> .. <!-- /growth --> to fill")
    with open(page, "w") as f:
        f.write(f"{head}<!-- growth -->\n{table(curves, first)}<!-- /growth -->{tail}")


{"ranks": ranks, "draw": draw}[sys.argv[1]](*sys.argv[2:])
