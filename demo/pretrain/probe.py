"""probe.py BASE_DIR [N]: exact match of the base on its own generic questions (pictures it has not seen), by question type.
Teacher-forced arg-max at every answer position, which equals greedy decoding."""
import collections, re, sys
import numpy as np, torch
import gen, model as M

TYPES = [("number next to a key", r"^read the number next|^which number stands"), ("number next to a key, number first", r"^tell the number beside"),
         ("word next to a number", r"^which word stands|^find the word"), ("read line k", r"^read the \w+ line"), ("number of line k, number first", r"^tell the number of"), ("count the lines", r"^count the lines"),
         ("mark of an icon", r"^which mark has the (?!.*place)|name its mark"), ("mark of an icon, mark first", r"^tell the mark"), ("what has mark X", r"^what has the mark"),
         ("mark of a place", r"^which mark .* place"), ("place of an icon", r"^at which place"), ("what is at a place", r"^what is at"), ("colour of a shape", r"^what colour is the (?!\w+ (bar|column))"),
         ("height of a bar", r"^what is the height"), ("height of a bar, number first", r"^tell the height"), ("bar of a height", r"^which (bar|column) has"),
         ("highest, lowest bar", r"^name the"), ("colour of bar k", r"^what colour is the \w+ (bar|column)"), ("count the bars", r"^count the (bars|columns)"),
         ("count spots", r"^count the spots"), ("does an oval hold a spot", r"^does the (left|right) oval"), ("count shapes in a scene", r"^count the"), ("is a colour in a scene", r"^does the picture"),
         ("explain a word", r"^explain|^what does"), ("caption", r"^(describe|what do you|give a|write a)")]
torch.set_num_threads(1)
m, tok = M.load(sys.argv[1]); m.float(); n = int(sys.argv[2]) if len(sys.argv) > 2 else 1000; rng = np.random.default_rng(4242); R = collections.defaultdict(list)
with torch.no_grad():
    for _ in range(n // 50):
        it = [gen.pretrain_item(rng, 4, mix=2) for _ in range(50)]; f = M.image_feats(m, M.pixels(np.stack([x for x, _ in it])))
        for t in range(4):
            ids, lab = M.collate([M.encode(tok, [T[t]]) for _, T in it]); lg, y, msk = M.lm_logits(m, ids, f, lab)
            ok = torch.ones(len(ids)); ok.scatter_reduce_(0, msk.nonzero()[:, 0], (lg.argmax(-1) == y).float(), "amin")
            for k, (_, T) in zip(ok, it): R[next(a for a, b in TYPES if re.search(b, T[t][0]))].append(k.item())
for a, _ in TYPES:
    if R[a]: print(f"| {a} | {np.mean(R[a])*100:.1f} | {len(R[a])} |")
print("all", round(np.mean(sum(R.values(), [])) * 100, 1))
