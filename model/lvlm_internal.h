/* lvlm_internal.h - what the files of the model share: weights of this rank, saved activations, the bank of increments.
 *
 *     weights.c   which tensors there are, how they are split, loading
 *     lvlm.c      life of a model, its memory
 *     adapter.c   increments on o_proj: bank, forward, backward
 *     decoder.c   forward            decoder_back.c   backward          generate.c   KV cache
 */
#ifndef CLLAVA_MODEL_LVLM_INTERNAL_H
#define CLLAVA_MODEL_LVLM_INTERNAL_H

#include "io/safetensors.h"
#include "model/backend_measuring.h"
#include "model/lvlm.h"
#include "model/vision.h"

/* Weights of one decoder layer: field, tensor name, rows, columns (of the whole model), how ranks split it, and whether
 * config.json says that it has a bias. One list gives fields, loading, freeing and sizes. */
enum shard { SHARD_NONE, SHARD_HEADS, SHARD_KV_HEADS, SHARD_FFN };
#define LAYER_MATRICES(X)                                                                                              \
    X(q, "self_attn.q_proj", H, D, SHARD_HEADS, true, c->attention_bias)                                               \
    X(k, "self_attn.k_proj", KV, D, SHARD_KV_HEADS, true, c->attention_bias)                                           \
    X(v, "self_attn.v_proj", KV, D, SHARD_KV_HEADS, true, c->attention_bias)                                           \
    X(o, "self_attn.o_proj", D, H, SHARD_HEADS, false, c->attention_bias)                                              \
    X(gate, "mlp.gate_proj", F, D, SHARD_FFN, true, c->mlp_bias)                                                       \
    X(up, "mlp.up_proj", F, D, SHARD_FFN, true, c->mlp_bias)                                                           \
    X(down, "mlp.down_proj", D, F, SHARD_FFN, false, c->mlp_bias)

struct layer_weights {
#define LAYER_FIELD(field, ...)                                                                                        \
    struct weight *field;                                                                                              \
    float *field##_bias; // NULL: none
    LAYER_MATRICES(LAYER_FIELD)
#undef LAYER_FIELD
    float *attention_norm, *mlp_norm; // (D)
};

/* What one layer leaves behind for the backward pass. n: tokens of the batch; in the last layer q, o, u, x2, gate and up
 * exist for the answer rows only. */
struct layer_acts {
    struct tensor x;          // (n, D) f32, residual stream coming in
    float *rstd1;             // (n)
    struct tensor q, k, v, o; // (n, H), (n, KV), (n, KV), (n, H)
    float *lse;               // (n, heads)
    struct tensor u;          // (n, slots * rank) A x, before the coefficients
    struct tensor x2;         // (n, D) f32, residual stream after attention
    float *rstd2;             // (n)
    struct tensor gate, up;   // (n, F)
};

/* Increments on the device, slots side by side: one product with all A, one with all B. */
struct adapter_bank {
    int slots, learned, rank; // of the set that is loaded
    int room, room_rank;      // capacity: slots x rank numbers wide
    uint64_t *version;        // (room) what is loaded in each place, 0: nothing
    struct tensor *A, *B;     // (L) A (slots * rank, H), B (D, slots * rank), activation type
    struct tensor *dA, *dB;   // (L) f32 gradient sums of the learned slots; train only
    float *host;              // one layer's A or B of the whole set, to be sorted on the host
    float *stage;             // one slot's block on the device, before it is cast and put in place
};

struct lvlm {
    const struct backend *be;
    const struct tp *tp;
    struct lvlm_config c;
    struct safetensors *st;
    struct vision *vision;
    bool train;
    char hash[17];

    int heads, kv_heads;            // of this rank
    int64_t D, H, KV, F;            // D whole; H, KV, F of this rank
    int64_t head0, kv_head0;        // first head of this rank
    struct layer_weights *layer;    // (L)
    struct weight *embed, *lm_head; // lm_head == embed when tied
    float *final_norm;              // (D)

    struct lvlm_limits limits;       // of passes that keep nothing: never below those of training
    struct lvlm_limits train_limits; // of passes that are followed by a backward pass
    struct arena arena;              // large enough for either
    struct layer_acts *act;          // (L + 1); act[L].x is what the final norm sees
    struct tensor final_h;           // (rows, D) of the last forward, after the final norm
    float *final_rstd;
    struct tensor dfinal;       // (rows, D) f32 gradient of the loss at final_h
    float *rope_cos, *rope_sin; // (rope_positions, head_dim / 2)
    int64_t rope_positions;
    int32_t *id;      // (tokens) host: ids with picture positions replaced
    int32_t *row_pos; // (rows) host: position of each answer row
    struct adapter_bank bank;
};

/* One pass over a batch. */
struct pass {
    const struct packed_batch *b;
    const struct adapters *ad; // NULL: none
    struct kv_cache *kv;       // NULL: none
    const int *seq;            // (samples) places in the cache
    bool save;                 // keep activations of every layer
    bool rows_only;            // last layer for answer rows only
};

/* weights.c */
int weights_load(struct lvlm *m);
void weights_free(struct lvlm *m);
size_t weights_bytes(const struct lvlm *m);

/* adapter.c: bank_load brings the set's slots to the device where their version changed. */
int bank_reserve(struct lvlm *m, int slots, int rank);
void bank_free(struct lvlm *m);
int bank_load(struct lvlm *m, const struct adapters *ad);
/* y (n, D) += sum_m c_m B_m A_m x; u (n, width) keeps A x when save. Rows of sample s: cu[s] .. cu[s+1]. */
int adapter_forward(struct lvlm *m, int layer, struct tensor y, struct tensor u, struct tensor x,
                    const struct adapters *ad, const int64_t *cu, int samples, bool save);
/* dx (n, H) += the increments' share (not where dx.data is NULL); gradient sums; dcoef (samples, slots). dy (n, D) in the
 * activation type. */
int adapter_backward(struct lvlm *m, int layer, struct tensor dx, double *dcoef, struct tensor dy, struct tensor x,
                     struct tensor u, const struct adapters *ad, const int64_t *cu, int samples);

/* decoder.c */
int decoder_layout(struct lvlm *m, int64_t n, int64_t rows, const struct pass *p); // carves act[] from the arena
int decoder_run(struct lvlm *m, const struct pass *p);                             // embedding to final_h
/* logits (n, V) f32 of rows [first, first + n) of final_h into t. */
int decoder_logits(struct lvlm *m, struct tensor t, int64_t first, int64_t n);
int64_t decoder_logit_chunk(const struct lvlm *m); // rows whose logits are held at once
/* What a pass of p's sizes takes from the arena, over a backend that does nothing (p->b holds arrays of those sizes). */
int decoder_measure(struct lvlm *m, const struct pass *p);
/* t itself if it has the activation type, else a copy of it from the arena. */
int as_activation(struct lvlm *m, struct tensor *out, struct tensor t);

/* decoder_back.c: from dfinal down. */
int decoder_backward(struct lvlm *m, const struct pass *p, double *dcoef);

/* lvlm.c: tables of RoPE up to that position; grows only. */
int rope_reserve(struct lvlm *m, int64_t positions);

/* generate.c: where the cache stands in the middle of a layer: stores this pass's k, v and gives what attention reads. */
int kv_store(struct kv_cache *kv, int layer, const struct pass *p, struct tensor k, struct tensor v);
struct tensor kv_keys(struct kv_cache *kv, int layer);
struct tensor kv_values(struct kv_cache *kv, int layer);
void kv_attention(const struct kv_cache *kv, const struct pass *p, struct attention_shape *s);
bool kv_decoding(const struct kv_cache *kv);

#endif
