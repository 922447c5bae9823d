"""Pictures and generic conversations on which the demo base is pre-trained (numpy, deterministic by seed).

The pictures use the primitives of demo/generate_draw.c: rectangles, ellipses, shapes given by inequalities, a 5 x 7 font, noise.
The questions are generic ("read the number next to tax .", "which mark has the red cross ?") and answered in sentences;
none of them, and no answer format, is that of the embedded stream (demo/generate_tasks.c).

  pretrain_item(rng) -> (picture, [(question, answer), ...])        with labels=True also labels per patch, for the vision part
"""
import numpy as np

S = 64
COL = {"red": (205, 40, 40), "green": (40, 160, 60), "blue": (45, 75, 205), "yellow": (225, 205, 45),
       "purple": (140, 50, 165), "orange": (235, 130, 35)}
CN = list(COL)
SHAPES = ["circle", "square", "triangle", "cross", "diamond", "ring"]
KEYS = ["tax", "fee", "age", "day", "sum", "net", "tip", "qty"]
POS4 = ["top left", "top right", "bottom left", "bottom right"]
ORD = ["first", "second", "third", "fourth", "fifth"]
NUM = ["no", "one", "two", "three", "four", "five", "six"]

_F = {
"A":"01110 10001 10001 11111 10001 10001 10001","B":"11110 10001 10001 11110 10001 10001 11110",
"C":"01110 10001 10000 10000 10000 10001 01110","D":"11110 10001 10001 10001 10001 10001 11110",
"E":"11111 10000 10000 11110 10000 10000 11111","F":"11111 10000 10000 11110 10000 10000 10000",
"G":"01110 10001 10000 10111 10001 10001 01110","H":"10001 10001 10001 11111 10001 10001 10001",
"I":"01110 00100 00100 00100 00100 00100 01110","M":"10001 11011 10101 10101 10001 10001 10001",
"N":"10001 11001 10101 10011 10001 10001 10001","P":"11110 10001 10001 11110 10000 10000 10000",
"Q":"01110 10001 10001 10001 10101 10010 01101","S":"01111 10000 10000 01110 00001 00001 11110",
"T":"11111 00100 00100 00100 00100 00100 00100","U":"10001 10001 10001 10001 10001 10001 01110",
"X":"10001 10001 01010 00100 01010 10001 10001","Y":"10001 10001 01010 00100 00100 00100 00100",
"0":"01110 10001 10011 10101 11001 10001 01110","1":"00100 01100 00100 00100 00100 00100 01110",
"2":"01110 10001 00001 00010 00100 01000 11111","3":"11110 00001 00001 01110 00001 00001 11110",
"4":"00010 00110 01010 10010 11111 00010 00010","5":"11111 10000 11110 00001 00001 10001 01110",
"6":"00110 01000 10000 11110 10001 10001 01110","7":"11111 00001 00010 00100 01000 01000 01000",
"8":"01110 10001 10001 01110 10001 10001 01110","9":"01110 10001 10001 01111 00001 00010 01100"}
FONT = {k: np.array([[int(c) for c in r] for r in v.split()], bool) for k, v in _F.items()}
CH = list(FONT)
LETTERS = [c for c in FONT if c.isalpha()]
YY, XX = np.mgrid[0:S, 0:S].astype(np.float32)
# per-patch labels for the vision warm-up: [char 0..29, colour 0..6, shape 0..6 (7 = bright spot), bind 0..23 (height 1-7, row key 8-15,
# lung count 16-19, icon mark 20-23), tens digit of the row, ones digit of the row]
NLAB = (30, 7, 8, 24, 11, 11)


def lab0(): return np.zeros((len(NLAB), 8, 8), np.int64)


def lab_mask(L, m, ch, v): L[ch][m[4::8, 4::8]] = v      # label patches whose centre pixel is covered


def pick(rng, xs):
    return xs[int(rng.integers(len(xs)))]


def jit(rng, c, a=15):
    return np.clip(np.array(c) + rng.integers(-a, a + 1, 3), 0, 255)


def rect(im, x, y, w, h, c):
    im[max(y, 0):max(y + h, 0), max(x, 0):max(x + w, 0)] = c


def ell(im, cx, cy, rx, ry, c):
    im[((XX - cx) / rx) ** 2 + ((YY - cy) / ry) ** 2 <= 1] = c


def glyph(im, ch, x, y, c):
    g = FONT[ch]
    im[y:y + 7, x:x + 5][g] = c


def shape(im, name, cx, cy, r, c, bg):
    dx, dy = XX - cx, YY - cy
    if name == "circle": m = dx * dx + dy * dy <= r * r
    elif name == "square": m = (abs(dx) <= r * .85) & (abs(dy) <= r * .85)
    elif name == "triangle": m = (dy <= r * .8) & (dy >= -r) & (abs(dx) <= (dy + r) * .55)
    elif name == "cross": m = ((abs(dx) <= r * .3) & (abs(dy) <= r)) | ((abs(dy) <= r * .3) & (abs(dx) <= r))
    elif name == "diamond": m = abs(dx) * 1.25 + abs(dy) <= r
    else: m = (dx * dx + dy * dy <= r * r) & (dx * dx + dy * dy >= (r * .55) ** 2)
    im[m] = c
    return m


def noise(rng, im, s=4):
    im = im + rng.normal(0, s, im.shape).astype(np.float32)
    return np.clip(im, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- pictures
def pic_chart(rng):
    im = np.empty((S, S, 3), np.float32); im[:] = rng.integers(235, 256)
    for k in range(1, 8): rect(im, 0, 60 - 8 * k, S, 1, im[0, 0] - 25)
    n = int(rng.integers(3, 6)); cols = list(rng.permutation(CN)[:n]); hs = [int(h) for h in rng.permutation(np.arange(1, 8))[:n]]
    x0 = int(rng.integers(1, 3 + (5 - n) * 12))
    for i in range(n): rect(im, x0 + 12 * i, 60 - 8 * hs[i], 10, 8 * hs[i], jit(rng, COL[cols[i]]))
    rect(im, 0, 60, S, 1, 40); L = lab0()
    for i in range(n):
        mk = (XX >= x0 + 12 * i) & (XX < x0 + 12 * i + 10) & (YY >= 60 - 8 * hs[i]) & (YY < 60)
        lab_mask(L, mk, 1, 1 + CN.index(cols[i])); lab_mask(L, mk, 3, hs[i])
    return noise(rng, im), dict(cols=[str(c) for c in cols], h=hs, lab=L)


def pic_doc(rng, random_text=False):
    im = np.empty((S, S, 3), np.float32); im[:] = rng.integers(225, 250) - np.array([0, 2, 12])
    ink = jit(rng, (35, 35, 60), 25); ox, oy = int(rng.integers(0, 3)), int(rng.integers(0, 2))
    n = int(rng.integers(3, 5)); rows = []
    keys = [str(k) for k in rng.permutation(KEYS)[:n]]; vc = int(rng.integers(4, 6)); L = lab0()
    for r in range(n):
        k = "".join(pick(rng, LETTERS) for _ in range(3)) if random_text else keys[r].upper()
        v = str(int(rng.integers(10, 100)))
        for j, ch in enumerate(k): glyph(im, ch, ox + 8 * j, oy + 16 * r, ink); L[0, 2 * r, j] = 1 + CH.index(ch)
        for j, ch in enumerate(v): glyph(im, ch, ox + 8 * (vc + j), oy + 16 * r, ink); L[0, 2 * r, vc + j] = 1 + CH.index(ch)
        on = [0, 1, 2, vc, vc + 1]                          # the row's patches know the whole row: that is what look-up needs
        if not random_text: L[3, 2 * r, on] = 8 + KEYS.index(keys[r])
        L[4, 2 * r, on] = 1 + int(v[0]); L[5, 2 * r, on] = 1 + int(v[1])
        rect(im, 0, 16 * r + 11, S, 1, im[63, 63] - 30)
        rows.append((k if random_text else keys[r], v))
    return noise(rng, im), dict(rows=rows, lab=L)


def pic_icon(rng):
    bg = rng.integers(200, 256); im = np.empty((S, S, 3), np.float32); im[:] = bg
    L = lab0(); sh = [str(s) for s in rng.permutation(SHAPES)[:4]]; co = [str(c) for c in rng.permutation(CN)[:4]]
    for i in range(4):
        cx, cy = 18 + 32 * (i % 2) + rng.integers(-2, 3), 18 + 32 * (i // 2) + rng.integers(-2, 3)
        shape(im, sh[i], cx, cy, rng.integers(9, 12), jit(rng, COL[co[i]]), bg)
        glyph(im, "ABCD"[i], 1 + 32 * (i % 2), 1 + 32 * (i // 2), bg - 170); L[0, 4 * (i // 2), 4 * (i % 2)] = 1 + CH.index("ABCD"[i])
        box = (abs(XX - cx) < 9) & (abs(YY - cy) < 9); lab_mask(L, box, 1, 1 + CN.index(co[i])); lab_mask(L, box, 2, 1 + SHAPES.index(sh[i])); lab_mask(L, box, 3, 20 + i)
    rect(im, 31, 0, 1, S, bg - 80); rect(im, 0, 31, S, 1, bg - 80)
    return noise(rng, im), dict(sh=sh, co=co, lab=L)


def pic_med(rng):
    im = np.empty((S, S, 3), np.float32); im[:] = rng.integers(5, 25)
    body = rng.integers(105, 135); lung = rng.integers(35, 55)
    ell(im, 32, 34, 30, 32, body)
    oy = int(rng.integers(-2, 3)); cnt = [0, 0]; L = lab0()
    for s in range(2): ell(im, 17 + 30 * s, 32 + oy, 11, 22, lung)
    rect(im, 30, 4, 4, 58, body + 40)
    for s in range(2):
        cnt[s] = int(rng.choice(4, p=[.35, .3, .2, .15])) if s == 0 else int(rng.choice(4, p=[.35, .3, .2, .15]))
        slots = rng.permutation(3)[:cnt[s]]
        for q in slots:
            cx, cy = int(17 + 30 * s + rng.integers(-3, 4)), int(19 + 13 * int(q) + oy + rng.integers(-2, 3))
            ell(im, cx, cy, 3.4, 3.4, 215 + rng.integers(0, 30)); L[2, cy // 8, cx // 8] = 7
        lab_mask(L, ((XX - 17 - 30 * s) / 11) ** 2 + ((YY - 32 - oy) / 22) ** 2 <= 1, 3, 16 + cnt[s])
    return noise(rng, im, 6), dict(c=cnt, lab=L)


def pic_scene(rng):
    bg = rng.integers(190, 256); im = np.empty((S, S, 3), np.float32); im[:] = bg
    n = int(rng.integers(1, 6)); cells = rng.permutation(9)[:n]; ob = []; L = lab0()
    for c in sorted(int(c) for c in cells):
        s, k = pick(rng, SHAPES), pick(rng, CN)
        cx, cy = 11 + 21 * (c % 3), 11 + 21 * (c // 3); shape(im, s, cx, cy, rng.integers(7, 10), jit(rng, COL[k]), bg)
        box = (abs(XX - cx) < 8) & (abs(YY - cy) < 8); lab_mask(L, box, 1, 1 + CN.index(k)); lab_mask(L, box, 2, 1 + SHAPES.index(s))
        ob.append((k, s))
    return noise(rng, im), dict(ob=ob, lab=L)


# ---------------------------------------------------------------- generic language (pre-training)
CAP = ["describe the picture .", "what do you see ?", "give a full description .", "write a caption ."]
DICT = [("lesion", "a bright spot"), ("nodule", "a bright spot"), ("lung", "a dark oval"), ("scan", "a gray picture with two dark ovals"),
        ("x-ray", "a gray picture with two dark ovals"), ("patient", "a person in a scan"), ("bar", "a column in a chart"),
        ("chart", "a picture with columns"), ("form", "a picture with text lines"), ("icon", "a small shape"),
        ("field", "a word with a number in a form"), ("option", "a letter that stands for a place"), ("percent", "a part of a hundred")]


# Mixes of the kinds of pictures (chart, form, random text, icons, scan, scene) and of the questions about forms (cumulative twentieths).
MIX = [dict(p=[.11, .38, .03, .32, .11, .05], form=(5, 7, 12, 15, 17, 19, 19)),
       dict(p=[.09, .46, .02, .23, .08, .12], form=(2, 3, 7, 13, 17, 19, 19)),      # more look-up of a word by its number, more scenes
       dict(p=[.06, .66, .01, .14, .06, .07], form=(1, 2, 4, 11, 15, 16, 19))]  # mostly the word of a number, the number of a line


def pretrain_item(rng, turns=5, labels=False, mix=0):
    k = int(rng.choice(6, p=MIX[mix]["p"])); T = []
    if k == 0:
        im, a = pic_chart(rng); n = len(a["h"]); g = lambda: int(rng.integers(n))
        w = pick(rng, ["column", "bar"])
        cap = w + "s from left to right : " + " , ".join(f"{c} {h}" for c, h in zip(a["cols"], a["h"])) + " ."
        hi, lo = int(np.argmax(a["h"])), int(np.argmin(a["h"]))
        def q():
            t = int(rng.integers(7)); i, j = g(), g()
            if t == 0: return f"what is the height of the {a['cols'][i]} {w} ?", f"the {a['cols'][i]} {w} has height {a['h'][i]} ."
            if t == 1: return f"tell the height of the {a['cols'][i]} {w} .", f"{a['h'][i]} is the height of the {a['cols'][i]} {w} ."
            if t == 2: return f"name the {pick(rng, ['highest', 'tallest', 'largest'])} {w} .", f"the highest {w} is {a['cols'][hi]} with height {a['h'][hi]} ."
            if t == 3: return f"name the {pick(rng, ['lowest', 'shortest', 'smallest'])} {w} .", f"the lowest {w} is {a['cols'][lo]} with height {a['h'][lo]} ."
            if t == 4: return f"count the {w}s .", f"there are {NUM[n]} {w}s ."
            if t == 5: return f"what colour is the {ORD[i]} {w} ?", f"the {ORD[i]} {w} is {a['cols'][i]} ."
            return f"which {w} has height {a['h'][j]} ?", f"the {a['cols'][j]} {w} has height {a['h'][j]} ."
    elif k in (1, 2):
        im, a = pic_doc(rng, k == 2); R = a["rows"]; n = len(R)
        nm = (lambda s: " ".join(s)) if k == 2 else (lambda s: s)
        cap = "text lines : " + " , ".join(f"{nm(x)} {v}" for x, v in R) + " ."
        def q():
            form = MIX[mix]["form"]; t, i = int(rng.integers(20)), int(rng.integers(n)); x, v = nm(R[i][0]), R[i][1]
            if k == 2: t = 18 + t // 14                     # random words: reading only
            if t < form[0]: return f"read the number next to {x} .", f"the number next to {x} is {v} ."
            if t < form[1]: return f"which number stands beside {x} ?", f"the number next to {x} is {v} ."
            if t < form[2]: return f"tell the number beside {x} .", f"{v} is beside {x} ."
            if t < form[3]: return f"which word stands with {v} ?", f"{x} stands with {v} ."
            if t < form[4]: return f"find the word next to {v} .", f"the word next to {v} is {x} ."
            o = "last" if mix and i == n - 1 and rng.random() < .6 else ORD[i]
            if t < form[5]: return f"read the {o} line .", f"the {o} line says {x} {v} ."
            if t < form[6]: return f"tell the number of the {o} line .", f"{v} is the number of the {o} line ."
            return "count the lines .", f"there are {NUM[n]} lines ."
    elif k == 3:
        im, a = pic_icon(rng)
        it = [f"{c} {s}" for c, s in zip(a["co"], a["sh"])]
        cap = "four icons : " + " , ".join(f"{p} {x}" for p, x in zip(POS4, it)) + " ."
        def q():
            t, i = int(rng.integers(-9, 5)), int(rng.integers(4)); x = [it[i], a['sh'][i], f"{a['co'][i]} icon"][int(rng.integers(3))]
            if t < -5: return f"tell the mark of the {x} .", f"{'ABCD'[i]} is the mark of the {it[i]} ."
            if t < -2: return pick(rng, ["which mark has the {} ?", "find the {} and name its mark ."]).format(x), f"mark {'ABCD'[i]} has the {it[i]} ."
            if t == -2: return f"what has the mark {'ABCD'[i]} ?", f"a {it[i]} has the mark {'ABCD'[i]} ."
            if t == -1: return f"which mark has the {POS4[i]} place ?", f"mark {'ABCD'[i]} is the {POS4[i]} place ."
            if t == 0: return f"at which place is the {it[i]} ?", f"the {it[i]} is at the {POS4[i]} ."
            if t == 1: return f"at which place is the {a['sh'][i]} ?", f"the {it[i]} is at the {POS4[i]} ."
            if t == 2: return f"at which place is the {a['co'][i]} icon ?", f"the {it[i]} is at the {POS4[i]} ."
            if t == 3: return f"what is at the {POS4[i]} ?", f"a {it[i]} is at the {POS4[i]} ."
            return f"what colour is the {a['sh'][i]} ?", f"the {a['sh'][i]} is {a['co'][i]} ."
    elif k == 4:
        im, a = pic_med(rng); c = a["c"]; sp = lambda m: f"{NUM[m]} spot" + ("" if m == 1 else "s")
        cap = f"a gray picture with two dark ovals : {sp(c[0])} in the left oval , {sp(c[1])} in the right oval ."
        def q():
            t = int(rng.integers(4)); i = int(rng.integers(2)); sd = ["left", "right"][i]
            if t <= 1: return f"count the spots in the {sd} oval .", f"there " + ("is " if c[i] == 1 else "are ") + f"{sp(c[i])} in the {sd} oval ."
            if t == 2: return "count the spots in both ovals .", f"there " + ("is " if sum(c) == 1 else "are ") + f"{sp(sum(c))} in both ovals ."
            return f"does the {sd} oval contain a spot ?", ("yes , " if c[i] else "no , ") + f"the {sd} oval contains {sp(c[i])} ."
    else:
        im, a = pic_scene(rng); ob = a["ob"]
        cap = "a scene with " + " , ".join(f"a {x} {y}" for x, y in ob) + " ."
        def q():
            t = int(rng.integers(3)); c, s = pick(rng, CN), pick(rng, SHAPES)
            if rng.random() < .6: c, s = pick(rng, ob)
            if t == 0: return f"count the {s}s .", "there are " + NUM[sum(o[1] == s for o in ob)] + f" {s}s ."
            if t == 1: return f"does the picture contain a {c} shape ?", ("yes , it contains a " if any(o[0] == c for o in ob) else "no , it does not contain a ") + f"{c} shape ."
            return "count the shapes .", f"there are {NUM[len(ob)]} shapes ."
    T = [(pick(rng, CAP), cap)]
    while len(T) < turns: T.append(q())
    if rng.random() < .25:
        w, d = pick(rng, DICT); T[-1] = (pick(rng, ["explain the word {} .", "what does {} mean ?"]).format(w), f"the word {w} means {d} .")
    T = T[1:] + T[:1]                                  # caption last: earlier turns must read the picture, not the caption
    if rng.random() < .3: T = [T[i] for i in rng.permutation(len(T))]
    return (im, T, a["lab"]) if labels else (im, T)


def corpus(n=3000, seed=7):
    """Text for a tokenizer."""
    rng = np.random.default_rng(seed)
    return [f"USER: {q}\nASSISTANT: {a}" for _ in range(n) for q, a in pretrain_item(rng)[1]]


if __name__ == "__main__":     # gen.py SHEET.png: a sheet of pictures, and some conversations
    import sys
    from PIL import Image
    rng = np.random.default_rng(0); rows = [pic_chart, pic_doc, pic_icon, pic_med, pic_scene, lambda r: pic_doc(r, True)]
    big = Image.new("RGB", (8 * 132, len(rows) * 132))
    for r, f in enumerate(rows):
        for c in range(8): big.paste(Image.fromarray(f(rng)[0]).resize((128, 128), 0), (c * 132, r * 132))
    if len(sys.argv) > 1: big.save(sys.argv[1])
    for _ in range(12): print(pretrain_item(rng)[1])
