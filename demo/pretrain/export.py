"""export.py TRAINED_DIR OUT_DIR: the trained base as a Hugging Face directory of about 4 MB: weights in f16, the configuration files,
preprocessor_config.json and encoder_idf.json (IDF of each token over 400 pictures' generic questions: the routing query of
`encoder: base` is the IDF-weighted mean of the question's token embeddings)."""
import json, os, shutil, sys
import numpy as np, torch
import gen, model as M

src, out = sys.argv[1], sys.argv[2]; os.makedirs(out, exist_ok=True)
m, tok = M.load(src); m.half().save_pretrained(out); shutil.copy(f"{src}/tokenizer.json", f"{out}/tokenizer.json")
dump = lambda name, o: open(f"{out}/{name}", "w").write(json.dumps(o, indent=1) + "\n")
dump("tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", pad_token="<pad>", additional_special_tokens=["<image>"],
                                   model_max_length=512, clean_up_tokenization_spaces=False))
dump("generation_config.json", dict(bos_token_id=M.BOS, eos_token_id=M.EOS, pad_token_id=M.PAD, do_sample=False))
dump("preprocessor_config.json", dict(image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=gen.S), do_center_crop=True, crop_size=dict(height=gen.S, width=gen.S),
                                      resample=3, do_rescale=True, rescale_factor=1 / 255, do_normalize=True, image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711],
                                      do_convert_rgb=True, image_aspect_ratio="pad"))
r = np.random.default_rng(55); c = [q for _ in range(400) for q, _ in gen.pretrain_item(r)[1]]; df = np.ones(len(tok))
for q in c: df[list(set(tok.encode(q, add_special_tokens=False)))] += 1
dump("encoder_idf.json", {"about": "idf[token id] = log((questions + 1) / (1 + questions that hold the token))", "questions": len(c), "idf": [round(float(x), 6) for x in np.log((len(c) + 1) / df)]})
