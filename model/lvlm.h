/* lvlm.h - the frozen vision-language model with low-rank increments on its o_proj.
 *
 *     pixels -> ViT -> (features, cached) -> projector -+
 *     ids ------------------------- embed_tokens -------+-> decoder layers -> norm -> lm_head (answer rows) -> loss
 *
 * lvlm_forward runs a packed batch and keeps what the backward pass needs; lvlm_backward carries the gradient from the
 * loss down to the lowest o_proj and adds up what A, B and the coefficients get. The base has no gradients.
 * lvlm_prefill and lvlm_decode are the same decoder with a KV cache. Weights, increments and scratch are held here;
 * nothing inside a step allocates.
 */
#ifndef CLLAVA_MODEL_LVLM_H
#define CLLAVA_MODEL_LVLM_H

#include "io/batch.h"
#include "model/adapters.h"
#include "model/backend.h"
#include "model/lvlm_config.h"
#include "mpi/tp.h"

struct lvlm;

struct lvlm_limits { // what the step's memory is laid out for
    int samples;     // of one packed batch (micro-batch, or rows decoded at once)
    int64_t tokens;  // of one packed batch
    int64_t rows;    // answer rows of one packed batch
    int slots, rank; // of an adapter set, e.g. 32 slots of rank 8
    bool train;      // keep activations for lvlm_backward
};

/* Loads the base in `dir` for this rank of tp (borrowed; may be NULL). CL_EMISMATCH: tensors that do not fit config.json.
 * Collective over tp. */
int lvlm_open(struct lvlm **m, const char *dir, const struct backend *be, const struct tp *tp, bool train);
void lvlm_close(struct lvlm *m);
const struct lvlm_config *lvlm_get_config(const struct lvlm *m);
/* Hash of config and weights, 16 hex digits: checkpoints name their base by it.
 * The first call reads every weight once. */
const char *lvlm_hash(struct lvlm *m);
size_t lvlm_weight_bytes(const struct lvlm *m);

/* Lays out memory for batches within the limits; may be called again: each kind (train or not) keeps its largest ones, and
 * memory is taken for the larger of the two kinds, not for training on a batch of generation. Not inside a step. */
int lvlm_reserve(struct lvlm *m, const struct lvlm_limits *limits);

/* Bytes of activations and scratch that such a step takes. */
size_t lvlm_step_bytes(struct lvlm *m, const struct lvlm_limits *limits);

/* features (n * tokens, d_vision) of type backend.act, host or device as the backend allocates, from n pictures' pixels
 * (n, 3, size, size) f32 host. */
int lvlm_see(struct lvlm *m, void *features, const float *pixels, int n);
size_t lvlm_feature_bytes(const struct lvlm *m); // of one picture

/* nll (batch rows) host: negative log-likelihood of each answer row. grad_scale: 0 for evaluation, else d loss / d nll of
 * every row (1 / answer tokens of the whole optimizer step). ad NULL: the base alone. Collective over tp. */
int lvlm_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, float *nll, float grad_scale);
/* Copies the logits of the last lvlm_forward that had grad_scale 0: (rows, vocab) f32 host. */
int lvlm_logits(struct lvlm *m, float *logits, int64_t rows);

/* After lvlm_forward with grad_scale != 0, same b and ad: adds to the gradient sums of the learned slots;
 * dcoef (samples, slots) host double: d loss / d coef of this batch, overwritten. Collective over tp. */
int lvlm_backward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, double *dcoef);

/* The gradient sums of the learned slots: cleared at the start of an optimizer step, read once at its end.
 * dA (learned, L, R, H), dB (learned, L, D, R) host. Collective over tp (the one reduction of a step). */
int lvlm_grads_clear(struct lvlm *m);
int lvlm_grads_read(struct lvlm *m, float *dA, float *dB, int learned, int rank);

/* ---- generation */
struct kv_cache;
/* Room for `sequences` sequences of up to `length` tokens. */
int lvlm_kv_new(struct kv_cache **kv, struct lvlm *m, int sequences, int64_t length);
void lvlm_kv_free(struct kv_cache *kv);
/* Runs the prompts of a pack (batch_add with prompt_only) into cache places seq[s]; next (samples) host: the greedy
 * choice after each among allowed ids (vocab flags, NULL: all). Collective over tp. */
int lvlm_prefill(struct lvlm *m, struct kv_cache *kv, const int *seq, const struct packed_batch *b,
                 const struct adapters *ad, const uint8_t *allowed, int32_t *next);
/* One token for each of n sequences; token[i] is appended to seq[i]. ad->coef has n rows. */
int lvlm_decode(struct lvlm *m, struct kv_cache *kv, int n, const int *seq, const int32_t *token,
                const struct adapters *ad, const uint8_t *allowed, int32_t *next);

#endif
