"""pretrain.py OUT --init DIR|none --steps N [--warm N] [--lr 1.5e-3] [--batch 32] [--seed 0] [--threads 2]

Pre-training of the demo base by steps: warm-up of the rate over 200 steps, then constant, linear decay over the last 30 %.
Step s draws its pictures from default_rng([seed, s]), so a run that was interrupted (OUT/resume.pt, every 150 steps) goes on
with the pictures it would have seen. --warm N: N steps of vision only, on per-patch labels, before the language model is asked anything."""
import argparse, os, time
import numpy as np, torch
import torch.nn.functional as F
import gen, model as M

ap = argparse.ArgumentParser()
ap.add_argument("out"); ap.add_argument("--init", default="none"); ap.add_argument("--steps", type=int, default=1300); ap.add_argument("--warm", type=int, default=0)
ap.add_argument("--lr", type=float, default=1.5e-3); ap.add_argument("--batch", type=int, default=32); ap.add_argument("--seed", type=int, default=0); ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--branches", type=int, default=6); ap.add_argument("--chain", type=float, default=.2); ap.add_argument("--mix", type=int, default=0)
o = ap.parse_args()
torch.set_num_threads(o.threads); torch.manual_seed(o.seed); os.makedirs(o.out, exist_ok=True)
if o.init == "none": tok = M.make_tokenizer(); m = M.build(len(tok))
else: m, tok = M.load(o.init)
m.float().train(); head = torch.nn.Linear(m.config.text_config.hidden_size, sum(gen.NLAB))   # thrown away afterwards
if os.path.exists(f"{o.init}/resume.pt"): head.load_state_dict(torch.load(f"{o.init}/resume.pt", weights_only=False)["head"])
dec = [p for n, p in m.named_parameters() if p.ndim > 1 and "embed" not in n]; nod = [p for n, p in m.named_parameters() if not (p.ndim > 1 and "embed" not in n)] + list(head.parameters())
opt = torch.optim.AdamW([{"params": dec, "weight_decay": .05}, {"params": nod, "weight_decay": 0.}], lr=o.lr, betas=(.9, .98))


def batch(rng, n, turns, chain=False):
    it = [gen.pretrain_item(rng, turns, True, o.mix) for _ in range(n)]
    px = M.pixels(np.stack([i for i, _, _ in it])); L = torch.from_numpy(np.stack([l for _, _, l in it])).flatten(2)
    if chain: return px, L, M.collate([M.encode(tok, t) for _, t, _ in it])
    s = [M.encode_branches(tok, t) for _, t, _ in it]; w = max(len(x[0]) for x in s)
    return px, L, tuple(torch.tensor([x[c] + [v] * (w - len(x[c])) for x in s]) for c, v in enumerate((M.PAD, -100, -1, 0)))


def logits(f, b): return M.lm_logits(m, b[0], f, b[1]) if len(b) == 2 else M.branch_logits(m, b[0], f, *b[1:])


def aux_loss(f, L):
    r = 0; acc = []
    for c, x in enumerate(head(f).split(gen.NLAB, -1)):
        w = torch.ones(gen.NLAB[c]); w[0] = .2; k = L[:, c] > 0
        r = r + F.cross_entropy(x.flatten(0, 1), L[:, c].flatten(), weight=w); acc.append((x.argmax(-1) == L[:, c])[k].float().mean().item())
    return r, acc


vr = np.random.default_rng(999); val = [batch(vr, 32, 5) for _ in range(4)]
start, hist, R = 0, [], f"{o.out}/resume.pt"
if os.path.exists(R):
    c = torch.load(R, weights_only=False); m.load_state_dict(c["m"]); head.load_state_dict(c["head"]); opt.load_state_dict(c["opt"]); start = c["step"]; print("resumed at step", start)
t0 = time.time()
for s in range(start, o.steps):
    for g in opt.param_groups: g["lr"] = o.lr * min(1, (s + 1) / 200, max(.01, (1 - s / o.steps) / .3))
    rng = np.random.default_rng([o.seed, 77, s]); warm = s < o.warm; chain = rng.random() < o.chain
    px, L, b = batch(rng, o.batch, 1 if warm else int(rng.integers(3, 7)) if chain else o.branches, chain)
    f = M.image_feats(m, px); al, acc = aux_loss(f, L); loss = al
    if not warm: lg, y, _ = logits(f, b); loss = F.cross_entropy(lg, y) + .2 * al
    opt.zero_grad(set_to_none=True); loss.backward(); torch.nn.utils.clip_grad_norm_(dec + nod, 1.); opt.step()
    hist.append((loss.item(), *acc))
    if (s + 1) % 50 == 0 or s + 1 == o.steps:
        with torch.no_grad(): r = [logits(M.image_feats(m, p), b) for p, _, b in val]
        vl = np.mean([F.cross_entropy(a, b).item() for a, b, _ in r]); va = np.mean([(a.argmax(-1) == b).float().mean().item() for a, b, _ in r])
        print(f"{time.time()-t0:.0f}s step {s+1} seen {(s+1)*o.batch} loss {np.nanmean(np.array(hist[-50:]), 0).round(3)} val {vl:.4f} tokacc {va:.4f}", flush=True)
    if (s + 1) % 150 == 0 or s + 1 == o.steps:
        m.save_pretrained(o.out); tok.save_pretrained(o.out); torch.save(dict(m=m.state_dict(), head=head.state_dict(), opt=opt.state_dict(), step=s + 1), R + ".new"); os.replace(R + ".new", R)
print("done", o.steps, time.time() - t0)
