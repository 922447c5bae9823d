"""Tiny LLaVA-1.5-shaped model as HF LlavaForConditionalGeneration, tokenizer, packing, exact-match scoring."""
import json, os
import numpy as np, torch
import torch.nn.functional as F
from transformers import (CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast)
import gen

PAD, BOS, EOS, IMG = 0, 1, 2, 3
NI = 64
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


def make_tokenizer(vocab=640):
    from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    tr = trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<pad>", "<s>", "</s>", "<image>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    t.train_from_iterator(gen.corpus(), tr)
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", pad_token="<pad>", additional_special_tokens=["<image>"])


def build(V, d=128, L=4, heads=4, ffn=384, dv=128, Lv=5):
    vc = CLIPVisionConfig(hidden_size=dv, intermediate_size=4 * dv, num_hidden_layers=Lv, num_attention_heads=4, image_size=gen.S, patch_size=8, projection_dim=dv)
    tc = LlamaConfig(vocab_size=V, hidden_size=d, intermediate_size=ffn, num_hidden_layers=L, num_attention_heads=heads, num_key_value_heads=heads,
                     max_position_embeddings=512, tie_word_embeddings=False, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, rms_norm_eps=1e-5)
    c = LlavaConfig(vision_config=vc, text_config=tc, image_token_index=IMG, vision_feature_layer=-2, vision_feature_select_strategy="default",
                    projector_hidden_act="gelu", image_seq_length=NI)
    return LlavaForConditionalGeneration(c)


def pixels(im):
    return (torch.from_numpy(np.asarray(im)).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def encode(tok, turns):
    """-> ids, labels; loss on answers + </s> only. One turn: <s>USER: <image>\\nq\\nASSISTANT: a</s>"""
    ids, lab = [BOS], [-100]
    for i, (q, a) in enumerate(turns):
        if i == 0: p = tok.encode("USER: ", add_special_tokens=False) + [IMG] * NI + tok.encode(f"\n{q}\nASSISTANT:", add_special_tokens=False)
        else: p = tok.encode(f"USER: {q}\nASSISTANT:", add_special_tokens=False)
        r = tok.encode(" " + a, add_special_tokens=False) + [EOS]
        ids += p + r; lab += [-100] * len(p) + r
    return ids, lab


def collate(seqs):
    n = max(len(s[0]) for s in seqs)
    ids = torch.full((len(seqs), n), PAD); lab = torch.full((len(seqs), n), -100)
    for i, (a, b) in enumerate(seqs):
        ids[i, :len(a)] = torch.tensor(a); lab[i, :len(b)] = torch.tensor(b)
    return ids, lab


def image_feats(m, px):
    h = m.model.vision_tower(px, output_hidden_states=True).hidden_states[-2][:, 1:]
    return m.model.multi_modal_projector(h)


def lm_logits(m, ids, feats, lab):
    """logits at supervised positions only. Right padding + causal => no mask needed. Token 0.. layout: <s> 'USER: ' <image>*64 ..."""
    e = m.model.language_model.embed_tokens(ids)
    p0 = int((ids[0] == IMG).nonzero()[0])
    e = torch.cat([e[:, :p0], feats, e[:, p0 + NI:]], 1)
    h = m.model.language_model(inputs_embeds=e).last_hidden_state
    msk = lab[:, 1:] != -100
    return m.lm_head(h[:, :-1][msk]), lab[:, 1:][msk], msk


def encode_branches(tok, turns):
    """Several one-turn conversations over one picture, sharing the prefix: -> ids, labels, segment (0 = prefix), position.
    With branch_mask every branch sees the prefix and itself only, exactly as if it were asked alone."""
    ids = [BOS] + tok.encode("USER: ", add_special_tokens=False) + [IMG] * NI; n = len(ids)
    lab, seg, pos = [-100] * n, [0] * n, list(range(n))
    for k, (q, a) in enumerate(turns):
        p = tok.encode(f"\n{q}\nASSISTANT:", add_special_tokens=False); r = tok.encode(" " + a, add_special_tokens=False) + [EOS]
        ids += p + r; lab += [-100] * len(p) + r; seg += [k + 1] * len(p + r); pos += range(n, n + len(p + r))
    return ids, lab, seg, pos


def branch_mask(seg):
    n = seg.shape[1]; i = torch.arange(n)
    return ((i[None, :] <= i[:, None])[None] & ((seg[:, None, :] == 0) | (seg[:, None, :] == seg[:, :, None])))[:, None]


def branch_logits(m, ids, feats, lab, seg, pos):
    """as lm_logits, for encode_branches. The label of a branch's first token is -100, so shifting by one stays inside a branch."""
    e = m.model.language_model.embed_tokens(ids); p0 = int((ids[0] == IMG).nonzero()[0])
    e = torch.cat([e[:, :p0], feats, e[:, p0 + NI:]], 1)
    h = m.model.language_model(inputs_embeds=e, attention_mask=branch_mask(seg), position_ids=pos).last_hidden_state
    msk = lab[:, 1:] != -100
    return m.lm_head(h[:, :-1][msk]), lab[:, 1:][msk], msk


def load(path):
    m = LlavaForConditionalGeneration.from_pretrained(path)
    return m.eval(), PreTrainedTokenizerFast.from_pretrained(path)
