"""Figures of peers.sh: from what each program printed to one CSV, and from the CSV to a table.

usage: peers.py take CSV --unit UNIT --side ours|peer --setting TEXT --round N --seconds S --from FILE
       peers.py done CSV --unit UNIT --side SIDE --setting TEXT --round N      exit status 0: these figures are there
       peers.py table CSV [--goals FILE] [--write FILE.md]
FILE: what hf_peft.py, peer_evaluate.py or llama-bench printed, or the CSV of `cllava bench`. --write replaces the text between
<!-- peers --> and <!-- /peers --> of a Markdown file.
"""
import argparse
import csv
import json
import os
import sys

FIELDS = ["row", "side", "setting", "round", "value", "unit", "share", "commit", "machine", "measured", "took"]
# row -> what it is called, unit, whether less is better; in the table's order
ROWS = {
    "train-bf16-1": ("training, m, bf16, batch 1", "tokens/s", False),
    "train-bf16-4": ("training, m, bf16, batch 4", "tokens/s", False),
    "cached-bf16-1": ("training, m, bf16, batch 1, without the tower", "tokens/s", False),
    "cached-bf16-4": ("training, m, bf16, batch 4, without the tower", "tokens/s", False),
    "train-f32-1": ("training, m, f32, batch 1", "tokens/s", False),
    "train-s-bf16-1": ("training, s, bf16, batch 1", "tokens/s", False),
    "train-s-bf16-4": ("training, s, bf16, batch 4", "tokens/s", False),
    "forward-bf16-1": ("forward, m, bf16, batch 1", "tokens/s", False),
    "prefill-bf16-1": ("prefill, m, bf16, one prompt", "tokens/s", False),
    "prefill-llm-1": ("prefill, m, bf16, decoder alone", "tokens/s", False),
    "decode-bf16-1": ("decode, m, bf16, one sequence", "tokens/s", False),
    "decode-int8-1": ("decode, m, 8-bit weights, one sequence", "tokens/s", False),
    "evaluate-own": ("evaluation, m, a picture each", "samples/s", False),
    "evaluate-shared": ("evaluation, m, 4 questions a picture", "samples/s", False),
    "memory-train-1": ("peak memory, training m bf16 batch 1", "GiB", True),
    "memory-train-4": ("peak memory, training m bf16 batch 4", "GiB", True),
    "memory-train-f32": ("peak memory, training m f32 batch 1", "GiB", True),
    "memory-evaluate": ("peak memory, evaluation m bf16", "GiB", True),
    "load": ("loading, m, bf16", "s", True),
    "first-step": ("loading to the end of the first step, m, bf16", "s", True),
    "long-step": ("one training step, l, bf16", "tokens/s", False),
    "long-decode": ("decode, l, bf16, one sequence", "tokens/s", False),
    "long-memory": ("peak memory, l, bf16", "GiB", True),
}


def best(v):
    """Of [median, least, most] rates the most: other work can only lower one."""
    return v[2] if isinstance(v, list) else v


def of_peer(unit, r):
    """Rows of one JSON line of hf_peft.py or peer_evaluate.py."""
    mode, batch = r["mode"], r["batch"]
    if mode == "train":
        small = unit == "trains"
        kind = f"{'s-' if small else ''}{r['dtype']}-{batch}"
        yield f"train-{kind}", best(r["tok_s"])
        yield f"cached-{kind}", best(r["tok_s"]) / (1 - r["vision_share"])
        if not small:
            yield f"memory-train-{batch if r['dtype'] == 'bf16' else r['dtype']}", r["peak_rss_gib"] * r["procs"]
            if r["dtype"] == "bf16" and batch == 1:
                yield "first-step", r["load_s"] + r["warmup_s"]
    elif mode == "forward":
        yield f"forward-{r['dtype']}-{batch}", best(r["tok_s"])
    elif mode == "generate":
        yield f"prefill-{r['dtype']}-1", best(r["prefill_tok_s"])
        yield "prefill-llm-1", best(r["prefill_tok_s"]) / (1 - r["vision_share"])
        if batch == 1:
            yield f"decode-{r['dtype']}-1", best(r["decode_tok_s"])
    elif mode == "load":
        yield "load", r["load_touched_s"]
    elif mode == "evaluate":
        yield "evaluate-shared" if r["sharing"] > 1 else "evaluate-own", r["samples_s"]
        yield "memory-evaluate", r["peak_rss_gib"]
    else:
        yield "long-step", r["tok_s"]
        yield "long-decode", r["decode_tok_s"]
        yield "long-memory", r["peak_rss_gib"]


def of_llama(unit, r):
    rate = max(r["samples_ts"])
    if r["n_gen"]:
        yield ("decode-int8-1" if unit == "int8" else "decode-bf16-1"), rate
    elif unit != "int8":
        yield "prefill-llm-1", rate


def of_cllava(unit, line):
    """Rows of one line of `cllava bench`."""
    what = line["what"].split(", tensor ")[0]
    if unit == "evaluate":
        what = what.removesuffix(", as set")
    small = unit == "trains"
    kind = f"{'s-' if small else ''}{line['precision']}-{line['batch']}"
    value, unit_of = float(line["value"]), line["unit"]
    if unit == "long":
        row = {("training", "tokens/s"): "long-step", ("decode, one sequence", "tokens/s"): "long-decode",
               ("peak resident, training", "MiB"): "long-memory"}.get((what, unit_of))
    elif unit == "load":
        row = {("loading", "s"): "load"}.get((what, unit_of))
    elif unit == "int8":
        row = {("decode, one sequence, as set", "tokens/s"): "decode-int8-1"}.get((what, unit_of))
    elif unit_of in ("tokens/s", "samples/s"):
        row = {"training": f"train-{kind}", "training, cached features": f"cached-{kind}", "forward": f"forward-{kind}",
               "prefill": f"prefill-{kind}", "prefill, cached features": "prefill-llm-1",
               "decode, one sequence": f"decode-{kind}", "evaluation, own picture": "evaluate-own",
               "evaluation, 4 a picture": "evaluate-shared"}.get(what)
    else:
        memory = line["batch"] if line["precision"] == "bf16" else line["precision"]
        first = line["precision"] == "bf16" and line["batch"] == "1" and not small
        row = {"peak resident, training": None if small else f"memory-train-{memory}",
               "peak, evaluation": "memory-evaluate", "load to first step": "first-step" if first else None}.get(what)
    if row:
        yield row, value / 1024 if unit_of == "MiB" else value


def shares(lines):
    """(what, batch) -> share of the yardstick, from the rows that have one."""
    return {(x["what"], x["batch"]): x["share"] for x in lines if x["share"] and not x["what"].startswith("stage")}


def figures(unit, path):
    """(row, value, share, machine, layout of the ranks) of everything in a file."""
    with open(path) as f:
        text = f.read()
    if text.startswith("what,"):
        lines = list(csv.DictReader(text.splitlines()))
        share = shares(lines)
        for x in lines:
            for row, value in of_cllava(unit, x):
                part = share.get((x["what"], x["batch"]), "") if x["unit"] == "tokens/s" else ""
                layout = x["what"].partition(", tensor ")[2]
                yield row, value, part, x["machine"], f", groups of {layout.split()[0]}" if layout else ""
        return
    for line in text.splitlines():
        if line.startswith("{"):
            r = json.loads(line)
            for row, value in (of_llama if "samples_ts" in r else of_peer)(unit, r):
                yield row, value, "", "", ""


def read(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def append(path, rows):
    new = not os.path.exists(path)
    with open(path, "a", newline="") as f:
        w = csv.DictWriter(f, FIELDS, lineterminator="\n")
        if new:
            w.writeheader()
        w.writerows(rows)


def take(a):
    found = [x for x in figures(a.unit, a.source) if x[0] in ROWS]
    if not found:
        sys.exit(f"no figures in {a.source}")
    append(a.csv, [{"row": row, "side": a.side, "setting": a.setting + layout, "round": a.round, "value": f"{value:.6g}",
                    "unit": ROWS[row][1], "share": share, "commit": a.commit, "machine": machine, "measured": a.unit,
                    "took": a.seconds} for row, value, share, machine, layout in found])
    for row, value, _, _, layout in found:
        print(f"    {a.side:5} {a.setting + layout:42} {ROWS[row][0]:46} {value:9.4g} {ROWS[row][1]}")


def is_done(a):
    key = (a.unit, a.side, a.setting, str(a.round))
    return any((x["measured"], x["side"], x["setting"].split(", groups of ")[0], x["round"]) == key for x in read(a.csv))


def winner(rows, row, side):
    of = [x for x in rows if x["row"] == row and x["side"] == side]
    if not of:
        return None
    return (min if ROWS[row][2] else max)(of, key=lambda x: float(x["value"]))


def number(x):
    v = float(x["value"])
    return f"{v:.0f}" if v >= 100 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"


def table(a):
    rows = read(a.csv)
    if not rows:
        sys.exit(f"{a.csv}: no figures")
    goals = {x["row"]: x["goal"] for x in read(a.goals)} if a.goals else {}
    out = ["| work | peer's best and setting | peer | ours | ratio | goal | share of limit | the goal's |",
           "|---|---|---:|---:|---:|---:|---:|---:|"]
    for row, (name, unit, less) in ROWS.items():
        peer, ours = winner(rows, row, "peer"), winner(rows, row, "ours")
        if not peer and not ours:
            continue
        ratio = wanted = ""
        if peer and ours:
            r = float(ours["value"]) / float(peer["value"])
            ratio = f"{r:.2f}"
            if ours["share"] and row in goals:
                wanted = f"{100 * float(ours['share']) * float(goals[row]) / r:.0f} %"
        own = f"{number(ours)}{'' if ours['setting'] == 'one process' else ' (' + ours['setting'] + ')'}" if ours else ""
        share = f"{100 * float(ours['share']):.0f} %" if ours and ours["share"] else ""
        out.append(f"| {name}, {unit} | {peer['setting'] if peer else ''} | {number(peer) if peer else ''} | {own} | "
                   f"{ratio} | {goals.get(row, '')} | {share} | {wanted} |")
    machines = sorted({x["machine"] for x in rows if x["machine"]})
    commits = sorted({x["commit"] for x in rows if x["commit"]})
    out += ["", f"Measured at commit {', '.join(commits)} on: {' | '.join(machines)}.",
            "Ratio: ours / peer; of memory and loading less is better. The goal's: share of the limit that the wanted ratio would be."]
    text = "\n".join(out) + "\n"
    if not a.write:
        print(text, end="")
        return
    with open(a.write) as f:
        page = f.read()
    head, _, rest = page.partition("<!-- peers -->\n")
    _, mark, tail = rest.partition("<!-- /peers -->")
    if not mark:
        sys.exit(f"{a.write}: no <!-- peers --> .. <!-- /peers --> to fill")
    with open(a.write, "w") as f:
        f.write(f"{head}<!-- peers -->\n{text}<!-- /peers -->{tail}")


p = argparse.ArgumentParser()
p.add_argument("what", choices=("take", "done", "table"))
p.add_argument("csv")
p.add_argument("--unit")
p.add_argument("--side", choices=("ours", "peer"))
p.add_argument("--setting", default="")
p.add_argument("--round", type=int, default=1)
p.add_argument("--seconds", default="")
p.add_argument("--commit", default="")
p.add_argument("--from", dest="source")
p.add_argument("--goals")
p.add_argument("--write")
a = p.parse_args()
if a.what == "done":
    sys.exit(0 if is_done(a) else 1)
(take if a.what == "take" else table)(a)
