"""The peer's side of two rows of peers.sh that hf_peft.py has no mode for: Hugging Face transformers + PEFT answering questions
about pictures with a few tokens each, and a base that barely fits: one training step, then some decoded tokens.

usage: peer_evaluate.py --model DIR [--mode evaluate|long] [--samples 64] [--sharing 1] [--batch 8] [--new-tokens 4] ...
Random token ids and pixels; sizes come from the checkpoint's config.json. Prints one line of JSON.
"""
import argparse
import json
import resource
import time

import torch

p = argparse.ArgumentParser()
p.add_argument("--model", required=True)
p.add_argument("--mode", choices=("evaluate", "long"), default="evaluate")
p.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--samples", type=int, default=64)
p.add_argument("--sharing", type=int, default=1, help="questions about each picture")
p.add_argument("--batch", type=int, default=8, help="questions answered at once")
p.add_argument("--new-tokens", type=int, default=4)
p.add_argument("--prompt", type=int, default=64)
p.add_argument("--answer", type=int, default=32)
p.add_argument("--rank", type=int, default=32)
a = p.parse_args()
torch.set_num_threads(a.threads)

from peft import LoraConfig, get_peft_model  # noqa: E402  behind the number of threads
from transformers import LlavaForConditionalGeneration  # noqa: E402

begun = time.perf_counter()
dtype = torch.bfloat16 if a.dtype == "bf16" else torch.float32
base = LlavaForConditionalGeneration.from_pretrained(a.model, dtype=dtype, attn_implementation="sdpa")
loaded = time.perf_counter() - begun
base.requires_grad_(False)
vision, text = base.config.vision_config, base.config.text_config
patches = (vision.image_size // vision.patch_size) ** 2
model = get_peft_model(base, LoraConfig(r=a.rank, lora_alpha=a.rank, lora_dropout=0.0,
                                        target_modules=r".*language_model.*\.o_proj"), autocast_adapter_dtype=False)
torch.manual_seed(0)


def inputs(n, pictures, tokens):
    """ids (n, picture and tokens) and the pixels of their pictures."""
    ids = torch.randint(3, text.vocab_size - 2, (n, patches + tokens))
    ids[:, 1:1 + patches] = base.config.image_token_id
    pixels = torch.randn(pictures, 3, vision.image_size, vision.image_size).to(dtype)
    return ids, pixels.repeat_interleave(-(-n // pictures), 0)[:n]


def answer(ids, pixels, tokens):
    with torch.no_grad():
        model.generate(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids), max_new_tokens=tokens,
                       min_new_tokens=tokens, do_sample=False)


def evaluate():
    model.eval()
    ids, pixels = inputs(a.samples, -(-a.samples // a.sharing), a.prompt)
    warm, picture = inputs(1, 1, a.prompt)
    answer(warm, picture, 2)
    t = time.perf_counter()
    for i in range(0, a.samples, a.batch):
        answer(ids[i:i + a.batch], pixels[i:i + a.batch], a.new_tokens)
    return {"samples_s": a.samples / (time.perf_counter() - t)}


def long():
    """One optimizer step, then tokens of one sequence: a step of the first kind includes what is done once."""
    trainable = [q for q in model.parameters() if q.requires_grad]
    opt = torch.optim.AdamW(trainable, lr=1e-4)
    ids, pixels = inputs(1, 1, a.prompt + a.answer)
    t = time.perf_counter()
    z = model(input_ids=ids, pixel_values=pixels, use_cache=False, logits_to_keep=a.answer + 1).logits[:, :-1]
    torch.nn.functional.cross_entropy(z.float().flatten(0, 1), ids[:, -a.answer:].flatten()).backward()
    opt.step()
    step = time.perf_counter() - t
    opt.zero_grad(set_to_none=True)
    del z
    model.eval()
    ids = ids[:, :-a.answer]
    t = time.perf_counter()
    answer(ids, pixels, 1)
    first = time.perf_counter() - t
    t = time.perf_counter()
    answer(ids, pixels, 1 + a.new_tokens)
    return {"step_s": step, "tok_s": (patches + a.prompt + a.answer) / step, "prefill_s": first,
            "decode_tok_s": a.new_tokens / (time.perf_counter() - t - first)}


figures = evaluate() if a.mode == "evaluate" else long()
print(json.dumps({"mode": a.mode, "dtype": a.dtype, "threads": a.threads, "batch": a.batch, "samples": a.samples,
                  "sharing": a.sharing, "load_s": loaded, **figures,
                  "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20}))
