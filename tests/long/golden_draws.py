#!/usr/bin/env python3
"""golden_draws.py SPEC CLLAVA [N [FIRST]]: draws N (default 8) small models of other sizes than the committed golden sets have, lets the
executable specification (SPEC: the folder of make_golden.py) make a golden set of each, trains them with the program on 1 and 2 ranks, and
compares: losses 1e-4, gradient norms 1e-3, selections exactly, coefficients and the nll of every answer 1e-4.

Needs torch transformers tokenizers sentencepiece safetensors h5py pillow numpy, mpirun. About 4 s a draw on two cores.
"""
import json, os, random, subprocess, sys, tempfile

spec, cllava = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
count, first = int(sys.argv[3]) if len(sys.argv) > 3 else 8, int(sys.argv[4]) if len(sys.argv) > 4 else 0
sys.path.insert(0, spec)
import h5py
import make_golden
import torch

ENV = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
           OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl="self,vader,tcp", OMPI_MCA_btl_tcp_if_include="lo",
           OMPI_MCA_oob_tcp_if_include="lo")


def draw(seed):
    r = random.Random(seed)
    kv = r.choice([1, 2, 4])
    heads = kv * r.choice([1, 2, 3])
    patch = r.choice([4, 6, 8, 14])
    slots = r.randint(1, 5)
    vheads = r.choice([1, 2, 4])
    return dict(d=heads * r.choice([8, 16, 24, 32]), layers=r.randint(1, 5), heads=heads, kv=kv, ff=r.choice([40, 100, 176]),
                vd=vheads * r.choice([8, 16]), vlayers=r.randint(2, 4), vheads=vheads, image=patch * r.randint(1, 5), patch=patch,
                tied=r.random() < .5, dtype=r.choice([torch.float32, torch.bfloat16, torch.float16]),
                tokenizer=r.choice(["sentencepiece", "bpe"]), system=r.choice([make_golden.SYSTEM, "", "Look well. "]),
                groups=r.choice([1, 2, 8]), rank=r.randint(1, 6), slots=slots, top_m=r.randint(1, slots),
                anyshape=r.choice(["pad", "crop"]), shards=r.choice([1, 3]), act=r.choice(["quick_gelu", "gelu"]),
                encoder=r.choice(["bert", "roberta"]), tasks=r.choice([1, 2, 3]))


def configuration(v, out, tensor):
    names = [q[0] for q in make_golden.QUESTIONS[:v["tasks"]]]
    tasks = "".join(f"\n    - {{name: {n}, train: data/task{t}.json, test: data/task{t}.json, metric: exact}}" for t, n in enumerate(names))
    # bpe: the answer follows the template after one space, as the specification has it
    return f"""base: base
encoder: encoder
stream:
  name: golden
  tasks:{tasks}
prompt: {{template: "USER: {{question}} ASSISTANT:", system: {json.dumps(v['system'])}}}
pool: {{slots_per_task: {v['slots']}, rank: {v['rank']}, top_m: {v['top_m']}, key_groups: {v['groups']}, init: init.h5}}
stage1: {{epochs: 2, batch: 3, lr: 1e-2, weight_decay: 0.01, lr_decay: 0.1, clip: 0.1, shuffle: false}}
stage2: {{epochs: 1, batch: 3, micro_batch: 2, lr: 1e-2, shuffle: false}}
eval: {{max_new_tokens: 12, batch: 4}}
parallel: {{tensor: {tensor}}}
precision: f32
output: {out}
"""


def near(what, got, want, limit, floor=0.0):
    if not abs(got - want) <= limit * abs(want) + floor:
        raise AssertionError(f"{what}: got {got:.9g}, expected {want:.9g}")


def run(folder, *args, ranks=1):
    start = ["mpirun", "--bind-to", "none", "-n", str(ranks)] if ranks > 1 else []
    p = subprocess.run(start + [cllava, *args], cwd=folder, env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if p.returncode:
        raise AssertionError(f"{' '.join(args)}: status {p.returncode}: {p.stderr[-800:]}")
    return p.stdout


def check_log(folder, out, g):
    step = {}
    for line in open(f"{folder}/{out}/log.jsonl"):
        o = json.loads(line)
        if o["event"] not in ("stage1", "stage2"):
            continue
        key = f"train/{o['task']}/{o['event']}_loss_norm"
        i = step[key] = step.get(key, -1) + 1
        near(f"{key} {i} loss", o["loss"], g[key][i][0], 1e-4, 1e-7)
        near(f"{key} {i} norm", o["grad_norm"], g[key][i][1], 1e-3, 1e-7)
    for key, n in step.items():
        assert n + 1 == len(g[key]), f"{key}: {n + 1} steps, expected {len(g[key])}"
    assert step


def check_scores(folder, lines, g, where, routed):
    for i, line in enumerate(lines.splitlines()):
        o, want = json.loads(line), g[f"{where}/{i}"]
        near(f"{where}/{i} nll", o["nll"], float(want["answer_nll"][()]), 1e-4, 1e-6)
        if routed:
            assert o["selected"] == list(want["selected"]), f"{where}/{i} selected: {o['selected']}, expected {list(want['selected'])}"
            for name in ("intrinsic", "context"):
                for k, (a, b) in enumerate(zip(o[name], want[name])):
                    near(f"{where}/{i} {name} {k}", a, float(b), 1e-4, 1e-6)


def check(seed):
    v = draw(seed)
    make_golden.VARIANTS["draw"] = v
    with tempfile.TemporaryDirectory() as folder:
        make_golden.main([f"{folder}/set", "--variant", "draw", "--seed", str(seed)])
        folder += "/set"
        g = h5py.File(f"{folder}/golden.h5")
        layouts = [(1, 1), (2, 1)] + ([(2, 2)] if v["kv"] % 2 == 0 else [])
        for ranks, tensor in layouts:
            out = f"run{ranks}{tensor}"
            open(f"{folder}/{out}.yaml", "w").write(configuration(v, out, tensor))
            run(folder, "train", f"{out}.yaml", "--quiet", ranks=ranks)
            check_log(folder, out, g)
        names = [q[0] for q in make_golden.QUESTIONS[:v["tasks"]]]
        last = f"run11/checkpoint-task{v['tasks'] - 1}-{names[-1]}.h5"
        for t in range(v["tasks"]):
            check_scores(folder, run(folder, "score", "--base-only", "run11.yaml", f"data/task{t}.json"), g, f"forward/{t}", False)
            check_scores(folder, run(folder, "score", last, f"data/task{t}.json"), g, f"final/{t}", True)


failed = 0
for seed in range(first, first + count):
    try:
        check(seed)
        print(f"draw {seed}: agrees", flush=True)
    except AssertionError as e:
        failed += 1
        print(f"draw {seed}: {e}\n    {draw(seed)}", flush=True)
sys.exit(1 if failed else 0)
