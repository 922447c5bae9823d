/* lvlm.h - the frozen vision-language model with low-rank increments on linear maps of its decoder layers.
 *
 *     pixels -> ViT -> (features, cached) -> projector -+
 *     ids ------------------------- embed_tokens -------+-> decoder layers -> norm -> lm_head (answer rows) -> loss
 *
 * lvlm_forward runs a packed batch and keeps what the backward pass needs; lvlm_backward carries the gradient from the
 * loss down to the lowest increment (with prompts: to the embeddings) and adds up what A, B and the coefficients, or the prompts
 * get. The base has no gradients.
 * lvlm_prefill and lvlm_decode are the same decoder with a KV cache. Weights, increments and scratch are held here;
 * nothing inside a step allocates.
 *
 * Under tensor parallelism the group's first rank, its leader, calls these functions; the other ranks, its members, sit in
 * lvlm_follow and do the same on their shards. What the leader passes in (batch, coefficients, increments, pixels) reaches them
 * from here, and what members compute comes back here, so nobody above this header knows how many ranks a model has.
 */
#ifndef CLLAVA_MODEL_LVLM_H
#define CLLAVA_MODEL_LVLM_H

#include "io/batch.h"
#include "model/adapters.h"
#include "model/backend.h"
#include "model/lvlm_config.h"
#include "model/projections.h"
#include "mpi/tp.h"

struct lvlm;

/* What of a training pass the way back computes again instead of keeping it, to the same bits: memory for operations. */
enum recompute {
    RECOMPUTE_NOTHING,
    RECOMPUTE_MLP,   // norm, gate and up of every layer
    RECOMPUTE_LAYER, // everything but the residual stream in front of every layer; ranks exchange attention's sums twice
    RECOMPUTES
};
extern const char *const recompute_name[RECOMPUTES]; // "keep", "recompute_mlp", "recompute_layer"

struct lvlm_limits {      // what the step's memory is laid out for
    int samples;          // of one packed batch (micro-batch, or rows decoded at once)
    int64_t tokens;       // of one packed batch
    int64_t rows;         // answer rows of one packed batch
    int slots, rank;      // of an adapter set, e.g. 32 slots of rank 8 (of prompts: prompt_set); residuals included
    bool train;           // keep activations for lvlm_backward
    enum recompute again; // train: which of them not; may be another one in a later call
    int residuals;        // of the slots: residuals of the logits
};
/* Of passes of one sample each, forward only, with such slots. */
static inline struct lvlm_limits lvlm_limits_of(const struct adapters *set, int64_t tokens, int64_t rows)
{
    return (struct lvlm_limits){.samples = 1,
                                .tokens = tokens,
                                .rows = rows,
                                .slots = set->slots,
                                .rank = set->rank,
                                .residuals = set->residuals};
}

/* Loads the base in `dir` for this rank of tp (borrowed; may be NULL). CL_EMISMATCH: tensors that do not fit config.json;
 * CL_ECONFIG: more ranks than heads. A group has one model open at a time. Collective over tp. */
int lvlm_open(struct lvlm **m, const char *dir, const struct backend *be, const struct tp *tp, bool train);
/* The same with config.json alone: its weights are zeros of the given type that take no memory (safetensors_blank). With the
 * measuring backend (model/backend_measuring.h) and a tp whose comm is NULL a plan asks so what a rank would need. */
int lvlm_open_blank(struct lvlm **m, const char *dir, enum dtype type, const struct backend *be, const struct tp *tp,
                    bool train);
void lvlm_close(struct lvlm *m);
/* Which maps have increments (PROJECTION_BIT of each): H and D of every A and B from here on are those of the choice. o_proj
 * alone unless this is called, before lvlm_reserve. Collective over tp. */
int lvlm_adapt(struct lvlm *m, unsigned chosen);
const struct projections *lvlm_get_projections(const struct lvlm *m);
const struct lvlm_config *lvlm_get_config(const struct lvlm *m);
/* Hash of the base's files (safetensors_hash), 16 hex digits: checkpoints name their base by it. Weights that were brought into
 * another form were hashed on the way, a part by each rank; the first call reads the others. */
const char *lvlm_hash(struct lvlm *m);
size_t lvlm_weight_bytes(const struct lvlm *m);
/* Bytes of the weights' files that loading took on a rank of the group (0: alone): its shares, and what every rank has. */
int64_t lvlm_read_bytes(const struct lvlm *m, int rank);

/* Lays out memory for batches within the limits; may be called again: each kind (train or not) keeps its largest ones, and
 * memory is taken for the larger of the two kinds, not for training on a batch of generation. Not inside a step. */
int lvlm_reserve(struct lvlm *m, const struct lvlm_limits *limits);

/* Bytes of activations and scratch that such a step takes. */
size_t lvlm_step_bytes(struct lvlm *m, const struct lvlm_limits *limits);
/* The same of a rank of tp (comm may be NULL) of a model that is not there. SIZE_MAX: no memory, or more ranks than heads. */
size_t lvlm_step_bytes_of(const struct lvlm_config *c, unsigned chosen, enum dtype act, const struct tp *tp,
                          const struct lvlm_limits *limits);

/* Vision features of one picture, kept on every rank of the group until freed. */
struct feature {
    void *data; // (tokens, d_vision) of type backend.act, on this rank's device
    int64_t id; // the same on all ranks of the group
};
/* feature[i] := new features of picture i, from n pictures' pixels (n, 3, size, size) f32 host. Collective over tp, as all
 * that follows is unless it says otherwise. */
int lvlm_see(struct lvlm *m, struct feature **feature, const float *pixels, int n);
void lvlm_feature_free(struct lvlm *m, struct feature *f); // NULL is fine
/* out (d_vision) host := mean over the picture's positions. Not collective. */
int lvlm_feature_mean(struct lvlm *m, float *out, const struct feature *f);
size_t lvlm_feature_bytes(const struct lvlm *m); // of one picture, on each rank

/* Brings the increments to the device (and to the members, each its part) where their version is another than the one that is
 * loaded in that place. lvlm_forward and the others do it by themselves; a caller that has a slot's values only for a while
 * calls this, and may pass NULL for A and B of slots that are loaded already. coef is not looked at. */
int lvlm_load(struct lvlm *m, const struct adapters *ad);

/* Questions without their key parts, whose answers a pass is kept apart from: the loss gets, for every answer row of a sample that
 * `masked` has otherwise than the batch,
 *     weight * max(0, margin - JSD(softmax(z), softmax(z')) / ln 2)
 * z the logits of the pass, z' those of the same row of `masked`, where they are constants: its pass has the same increments and
 * coefficients, and no gradient. The divergence is in bits, from 0 (alike) to 1 (nothing in common). */
struct listening {
    struct packed_batch *masked; // as many samples, with the same pictures and answers; NULL: no such term
    float weight, margin;
};

/* (batch rows) host, each NULL where it is not wanted. */
struct lvlm_losses {
    float *nll; // negative log-likelihood
    float *kl;  // how far from the teacher, unweighted
    float *jsd; // how far from the masked question's answer, in bits; -1: the same question, which has no such term
};

/* nll (batch rows) host: negative log-likelihood of each answer row. grad_scale: 0 for evaluation, else d loss / d nll of
 * every row (1 / answer tokens of the whole optimizer step). ad NULL: the base alone. Collective over tp. */
int lvlm_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, float *nll, float grad_scale);
/* The same with a teacher (NULL, or coef NULL: without) and masked questions (NULL, or masked NULL: without), whose passes come
 * first. kl is T^2 KL of each answer row. The first pass with either takes memory for its hidden states and a chunk of logits. */
int lvlm_forward_beside(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                        const struct adapter_teacher *teacher, const struct listening *listening,
                        struct lvlm_losses out, float grad_scale);
/* Copies the logits of the last lvlm_forward that had grad_scale 0, of lvlm_prefill or lvlm_decode (a row for each sequence):
 * (rows, vocab) f32 host. */
int lvlm_logits(struct lvlm *m, float *logits, int64_t rows);

/* After lvlm_forward with grad_scale != 0, same b and ad: adds to the gradient sums of the learned slots;
 * dcoef (samples, slots) host double: d loss / d coef of this batch, overwritten. Under tensor parallelism it is this rank's
 * part: lvlm_coef_reduce makes it whole, once per step for all batches together. */
int lvlm_backward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, double *dcoef);

/* The gradient sums of the learned slots: cleared at the start of an optimizer step, read once at its end: that is when the
 * parts of ranks are gathered and partial sums reduced. dA (learned, L, R, H), dB (learned, L, D, R) host; of prompts dA
 * (learned, P, D), dB is not looked at. */
int lvlm_grads_clear(struct lvlm *m);
int lvlm_grads_read(struct lvlm *m, float *dA, float *dB, int learned, int rank);
/* sum (vocab) host := gradient sum of the first residual of the passes since lvlm_grads_clear; every rank has its own columns of
 * it. Once per step. */
int lvlm_residual_read(struct lvlm *m, float *sum);

/* dcoef (n) := sum over the ranks of the group, of what lvlm_backward gave: n numbers, those of all calls since
 * lvlm_grads_clear, in the order of the calls. Once per step. */
int lvlm_coef_reduce(struct lvlm *m, double *dcoef, int64_t n);

/* ---- generation */
struct kv_cache;
/* From now on lvlm_decode multiplies by matrices of the layers and an lm_head that are rounded to int8, with a scale for each
 * output: decoding is bound by reading weights, and these are half of bf16. They are made here, beside the others (and count in
 * lvlm_weight_bytes); all but lvlm_decode goes on with those. A second call does nothing. CL_ENOMEM. */
int lvlm_decode_int8(struct lvlm *m);
/* Room for `sequences` sequences of up to `length` tokens. */
int lvlm_kv_new(struct kv_cache **kv, struct lvlm *m, int sequences, int64_t length);
void lvlm_kv_free(struct kv_cache *kv);
/* The first `tokens` tokens of place `to` := those of place `from`, whatever stood there. The same place: what is behind them is
 * given up. Collective over tp. */
int lvlm_kv_copy(struct kv_cache *kv, int from, int to, int64_t tokens);
/* Runs the prompts of a pack (batch_add with prompt_only) into cache places seq[s]; next (samples) host: the greedy
 * choice after each among allowed ids (vocab flags, NULL: all). A prompt whose positions (b->pos) begin at p > 0 goes on behind
 * the p tokens that its place has from lvlm_kv_copy. Collective over tp. */
int lvlm_prefill(struct lvlm *m, struct kv_cache *kv, const int *seq, const struct packed_batch *b,
                 const struct adapters *ad, const uint8_t *allowed, int32_t *next);
/* One token for each of n sequences; token[i] is appended to seq[i]. ad->coef has n rows. */
int lvlm_decode(struct lvlm *m, struct kv_cache *kv, int n, const int *seq, const int32_t *token,
                const struct adapters *ad, const uint8_t *allowed, int32_t *next);

/* ---- the other ranks of the group
 * A member's life: does on its shard what the leader does, until the leader calls lvlm_release (a leader may open and close
 * several models before that). An error is the member's own: the leader waits for it in vain and must be told another way
 * (watch_fail). */
int lvlm_follow(const struct tp *tp);
int lvlm_release(const struct tp *tp); // NULL or a group of one: nothing
/* Where the first sum over the group was whose numbers were not finite: "rank 1 (node7), in tp_reduce behind the MLP of layer
 * 3"; "" when all were finite since the last call, or there is no group. */
int lvlm_find_nonfinite(struct lvlm *m, char *text, size_t room);

#endif
