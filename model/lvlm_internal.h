/* lvlm_internal.h - what the files of the model share: weights of this rank, saved activations, the bank of increments.
 *
 *     weights.c   which tensors there are, how they are split, loading    decode_weights.c   the same as bytes
 *     lvlm.c      life of a model, its memory
 *     adapter.c   increments on linear maps of the layers: bank, forward, backward
 *     prompts.c   prompts among the embeddings: the same
 *     decoder.c   forward            decoder_back.c   backward          generate.c   KV cache
 *     span.c      a pass in two halves that take turns
 *     head.c      lm_head: loss, greedy choice, logits
 *     residual.c  vectors that are added to the logits; adapter sets that hold some
 *     group.c     sums over the ranks that share a model, and where they first were not finite
 *     follow.c    what the leader of these ranks tells the others
 */
#ifndef CLLAVA_MODEL_LVLM_INTERNAL_H
#define CLLAVA_MODEL_LVLM_INTERNAL_H

#include "io/safetensors.h"
#include "model/backend_measuring.h"
#include "model/lvlm.h"
#include "model/share.h"
#include "model/vision.h"
#include "mpi/message.h"

/* Weights of one decoder layer: field, tensor name, rows, columns (of the whole model), how ranks split it, and whether
 * config.json says that it has a bias. One list gives fields, loading, freeing and sizes. */
enum shard { SHARD_HEADS, SHARD_KV_HEADS, SHARD_FFN, SHARD_VOCAB };
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

/* What one layer leaves behind for the backward pass. n: tokens of the batch; in the last layer q, o, x2, gate and up, and u of
 * all but k and v, exist for the answer rows only. Where gate and up are computed again they have no place here but are scratch
 * of the MLP, with the MLP's u; where the whole layer is, all layers share one set of everything but x. */
struct layer_acts {
    struct tensor x;              // (n, D) f32, residual stream coming in
    float *rstd1;                 // (n)
    struct tensor q, k, v, o;     // (n, H), (n, KV), (n, KV), (n, H)
    float *lse;                   // (n, heads)
    struct tensor u[PROJECTIONS]; // (n, slots * rank) A x of each map that has increments, before the coefficients
    struct tensor x2;             // (n, D) f32, residual stream after attention
    float *rstd2;                 // (n)
    struct tensor gate, up;       // (n, F)
};

/* Increments on the device, slots side by side: for every map that has some one product with all A, one with all B. Of a map
 * whose outputs ranks split a rank has A whole and its own rows of B; else its own columns of A, and B whole. */
struct adapter_bank {
    int slots, learned, rank; // of the set that is loaded
    int room, room_rank;      // capacity: slots x rank numbers wide
    uint64_t *version;        // (room) what is loaded in each place, 0: nothing
    struct tensor *A[PROJECTIONS],
        *B[PROJECTIONS]; // (L) A (slots * rank, inputs), B (outputs, slots * rank), activation type
    struct tensor *dA[PROJECTIONS], *dB[PROJECTIONS]; // (L) f32 gradient sums of the learned slots; train only
    float *host;   // what one layer of the whole set has of split sides, or of whole ones, to be sorted on the host
    float *stage;  // one slot's block on the device, before it is cast and put in place
    float *packed; // the same of a slot in all layers, on its way to other ranks; NULL: one rank
};

/* Vectors that are added to the logits. */
struct residuals {
    int room;                   // capacity; 0: none were ever reserved
    int64_t rows, slots;        // capacity of coef and row_coef (rows x n), of slot_coef (samples x slots)
    uint64_t *version;          // (room) what is loaded in each place, 0: nothing
    float *r;                   // (room, V of this rank) on the device
    float *sum;                 // (V of this rank) on the device: gradient of the first
    float *coef;                // (rows, n) on the device: of the rows of the pass
    float *row_coef;            // the same on the host
    float *slot_coef;           // (samples, slots) coefficients of the increments alone
    float *host;                // (vocab) one vector on its way
    struct adapters increments; // of the set at hand
    int n;                      // of the pass at hand
    bool learn;                 // its first one does
};

/* Prompts on the device of the rank that leads; its members have none. */
struct prompt_bank {
    int slots, learned, rows; // of the set that is loaded
    int room, room_rows;
    uint64_t *version;         // (room) as in a bank of increments
    struct tensor table, grad; // (room * rows, D) f32 values, gradient sums; grad for training only
};

/* Things that the leader names by number towards its members: the same numbers on all ranks, because all ranks make and drop
 * them in the same order. */
struct numbered {
    void **at; // (room) NULL: free
    int64_t room;
};

/* Answers of another pass over the same answer rows, which those of the pass at hand are held against. */
struct other_pass {
    struct tensor h; // (rows, D) what final_h was
    float *logits;   // (chunk of rows, V of this rank) on the device
};

enum { SPANS = 2 }; // of a pass: one, or two that take turns (span.c)

/* A sum over the ranks that travels while they compute something else. */
struct travelling {
    struct comm_sum *sum; // NULL: there is none
    int64_t number;       // comm_last_sum
    int32_t place, layer; // enum sum_place
};

/* Arrays of a span that is not at the front of its batch. */
struct span_room {
    int64_t *cu, *cu_row; // (samples + 1)
    int64_t *row;         // (rows)
};

/* Where a sum over the ranks was first not finite. */
struct odd_sum {
    int64_t at; // which sum of the group's, 0: all were finite
    int32_t rank, layer;
    int32_t place; // enum sum_place
};

/* A greedy choice among some columns. */
struct choice {
    float top;
    int32_t id;
};

struct lvlm {
    const struct backend *be;
    const struct tp *tp;
    struct lvlm_config c;
    struct safetensors *st;
    struct vision *vision;
    bool train;
    bool opened; // loaded on all ranks
    char hash[17];
    uint64_t hash_sum; // of what was hashed on the way while loading: this rank's part, then that of all ranks
    bool *hashed;      // (arrays of the files) its hash is part of hash_sum

    struct share own;                   // of this rank
    int64_t D;                          // width of the residual stream, whole on every rank
    int64_t read;                       // bytes of the files that loading took here
    int64_t *read_by;                   // (ranks) the same of every rank of the group
    struct layer_weights *layer;        // (L)
    struct weight *embed, *lm_head;     // lm_head == embed when tied
    float *final_norm;                  // (D)
    struct layer_weights *decode_layer; // (L) of decoding: rounded matrices, the same biases and norms; NULL: layer
    struct weight *decode_head;         // NULL: lm_head
    const struct weight *head;          // of the pass at hand

    struct lvlm_limits limits;       // of passes that keep nothing: never below those of training
    struct lvlm_limits train_limits; // of passes that are followed by a backward pass
    struct arena arena;              // large enough for either
    struct layer_acts *act;          // (L + 1); act[L].x is what the final norm sees
    struct tensor final_h;           // (rows, D) of the last forward, after the final norm
    float *final_rstd;
    struct tensor dfinal;       // (rows, D) f32 gradient of the loss at final_h
    float *rope_cos, *rope_sin; // (rope_positions, head_dim / 2)
    int64_t rope_positions;
    int32_t *id;           // (tokens) host: ids with picture positions replaced
    int32_t *row_pos;      // (rows) host: position of each answer row
    struct projections on; // which linear maps have increments
    struct adapter_bank bank;
    struct residuals residual;
    struct prompt_bank prompts;
    struct {
        struct other_pass at;
        float weight, temperature;
        bool on; // the pass that runs has a teacher
    } teacher;
    struct {
        struct other_pass at; // of the masked questions
        bool *hears;          // (rows) host: whose question has key parts
        struct jsd_part *jsd; // (ranks + 1, chunk of rows) as `part`
        float *factor;        // (chunk of rows) of each row's gradient
        float weight, margin;
        bool on; // the pass that runs has masked questions beside it
    } listening;
    struct soft_part *soft; // (ranks + 1, chunk of rows) as `part`, which one rank alone does not have

    /* of a group of ranks */
    struct softmax_part *part; // (ranks + 1, chunk of rows): every rank's, then the whole
    struct choice *choice;     // (ranks, chunk of rows)
    float *top;                // (chunk of rows)
    double *dcoef;             // (n_dcoef of room_dcoef) this rank's part since the last lvlm_grads_clear
    int64_t n_dcoef, room_dcoef;
    struct numbered features, caches;
    struct travelling travelling[SPANS];
    struct span_room span_room;
    struct odd_sum odd;
    struct message say; // leader: the order to the members
    bool told, broken;  // leader: members are at work; an error left them out of step, so they are told nothing more
    uint8_t *allowed;   // (vocab) what the members were told last, NULL: nothing yet
};

/* Several ranks share the model (also in a plan, where nobody talks). */
static inline bool is_shared(const struct lvlm *m)
{
    return m->tp && m->tp->size > 1;
}
/* One that is told what to do. */
static inline bool is_member(const struct lvlm *m)
{
    return m->tp && m->tp->comm && m->tp->rank > 0;
}
static inline struct comm *comm_of(const struct lvlm *m)
{
    return m->tp ? m->tp->comm : NULL;
}

enum { PICTURES_AT_ONCE = 4 }; // through the tower: enough rows to fill the cores, little scratch

/* One pass over a batch. */
struct pass {
    const struct packed_batch *b;
    const struct adapters *ad; // NULL: none
    struct kv_cache *kv;       // NULL: none
    const int *seq;            // (samples) places in the cache
    bool save;                 // keep activations for the backward pass,
    enum recompute again;      // but for those
    bool rows_only;            // last layer for answer rows only
    bool decode;               // one token of each sequence: rounded weights, where there are
};

/* Samples of a pass that go through a layer together: all of them, or one half while the other's sum travels. */
struct span {
    const struct pass *p;
    int i;              // which of the spans
    int sample_at;      // where it begins in the batch:
    int64_t at, row_at; // token, answer row
    /* as in struct packed_batch, counted from there */
    int samples;
    int64_t n, rows;
    const int64_t *cu, *cu_row; // (samples + 1)
    const int64_t *row;         // (rows)
    const int32_t *pos;         // (n)
    const int32_t *row_pos;     // (rows)
    struct adapters ad;         // coefficients of its samples; slots 0: none
};

/* An operation, and a push for the sums that travel meanwhile. */
#define OP(call)                                                                                                       \
    do {                                                                                                               \
        TRY(call);                                                                                                     \
        TRY(comm_progress(comm_of(m)));                                                                                \
    } while (0)

/* weights.c */
int weights_load(struct lvlm *m);
void weights_free(struct lvlm *m);
size_t weights_bytes(const struct lvlm *m);
/* The layer's weights for this pass. */
static inline const struct layer_weights *pass_layer(const struct lvlm *m, const struct pass *p, int l)
{
    return p->decode && m->decode_layer ? &m->decode_layer[l] : &m->layer[l];
}

/* decode_weights.c */
void decode_weights_free(struct lvlm *m);
size_t decode_weights_bytes(const struct lvlm *m);

/* adapter.c: bank_load brings the set's slots to the device where their version changed. */
int bank_reserve(struct lvlm *m, int slots, int rank);
void bank_free(struct lvlm *m);
/* Whether the set fits what was reserved and all values that are missing are there. Not collective. */
int bank_check(const struct lvlm *m, const struct adapters *ad);
/* Members give the versions alone: values come from the leader. Collective over tp. */
int bank_load(struct lvlm *m, const struct adapters *ad);
/* What follows is about map p of layer l for the rows of a span, and does nothing where p has no increments. */
static inline bool has_increments(const struct lvlm *m, const struct adapters *ad, enum projection p)
{
    return ad && ad->slots && !prompt_rows(ad->rank) && (m->on.chosen & PROJECTION_BIT(p));
}
/* y (n, outputs) += sum_m c_m B_m A_m x; u (n, width) keeps A x when the pass saves. */
int adapter_forward(struct lvlm *m, const struct span *s, int l, enum projection p, struct tensor y, struct tensor u,
                    struct tensor x);
/* u alone, where it was not kept. */
int adapter_input(struct lvlm *m, const struct span *s, int l, enum projection p, struct tensor u, struct tensor x);
/* dx (n, inputs) += the increments' share (not where dx.data is NULL); gradient sums; dcoef (samples, slots) of the batch += this
 * rank's part. dy (n, outputs) in the activation type. */
int adapter_backward(struct lvlm *m, const struct span *s, int l, enum projection p, struct tensor dx, double *dcoef,
                     struct tensor dy, struct tensor x, struct tensor u);

/* residual.c: adapter sets, whose last slots may be residuals of the logits. set_check, set_load: the bank's functions for the
 * whole set; like the bank's slots, residuals are forgotten by a pass without. */
struct adapters increments_of(const struct adapters *ad); // the set without them (its coefficients' rows are wider)
int set_check(const struct lvlm *m, const struct adapters *ad);
int set_load(struct lvlm *m, const struct adapters *ad);
uint64_t set_version(const struct lvlm *m, const struct adapters *ad, int i); // what is loaded in place i of such a set
/* The increments of the set with coefficients of their own, until the next call; the set itself where it has no residuals. */
const struct adapters *set_split(struct lvlm *m, const struct adapters *ad, int samples);

int residual_reserve(struct lvlm *m, const struct lvlm_limits *limits);
void residual_free(struct lvlm *m);
/* Coefficients of the pass: row r belongs to the sample s with cu_row[s] <= r < cu_row[s+1], or (NULL) is sample r's only one. */
int residual_begin(struct lvlm *m, const struct adapters *ad, int samples, const int64_t *cu_row);
int residual_add(struct lvlm *m, struct tensor logits, int64_t first);   // logits of rows from `first` on
int residual_back(struct lvlm *m, struct tensor dlogits, int64_t first); // from their gradient into the sum
int residual_clear(struct lvlm *m);
/* dcoef (samples, slots - residuals) becomes (samples, slots) in place, 0 for the residuals. */
void residual_spread(double *dcoef, int samples, int slots, int residuals);

/* prompts.c: prompts. Their rows enter x in front of the first layer's sum over the ranks and their gradient is read off dx, which
 * is whole on every rank: so the leader alone has them, and nothing of them is sent inside a group. */
static inline bool has_prompts(const struct adapters *ad)
{
    return ad && prompt_rows(ad->rank);
}
int prompts_reserve(struct lvlm *m, int slots, int rows);
void prompts_free(struct lvlm *m);
int prompts_check(const struct lvlm *m, const struct adapters *ad); // as bank_check, bank_load
int prompts_load(struct lvlm *m, const struct adapters *ad);
void prompts_forget(struct lvlm *m);
/* The samples' places are those of the prompts that they have, or, where a pass goes on behind them, none. CL_EINTERNAL. */
int prompts_check_batch(const struct lvlm *m, const struct packed_batch *b, const struct adapters *ad);
/* x (n, D) at the places of prompts := their rows; gradient sums += dx there. */
int prompts_embed(struct lvlm *m, const struct pass *p, struct tensor x);
int prompts_back(struct lvlm *m, const struct pass *p, struct tensor dx);
int prompts_grads_clear(struct lvlm *m);
int prompts_grads_read(struct lvlm *m, float *rows, int learned, int rank);

/* decoder.c */
int decoder_layout(struct lvlm *m, int64_t n, int64_t rows, const struct pass *p); // carves act[] from the arena
int decoder_run(struct lvlm *m, const struct pass *p);                             // embedding to final_h
/* What a pass of p's sizes takes from the arena, over a backend that does nothing (p->b holds arrays of those sizes). */
int decoder_measure(struct lvlm *m, const struct pass *p);
/* t itself if it has the activation type, else a copy of it from the arena. */
int as_activation(struct lvlm *m, struct tensor *out, struct tensor t);

/* span.c: room for batches within the limits; the spans of a pass, how many. */
int span_reserve(struct lvlm *m, const struct lvlm_limits *limits);
void span_free(struct lvlm *m);
int span_make(struct span s[SPANS], const struct lvlm *m, const struct pass *p);
/* In layer l the query side (q, o, u, x2, gate, up) is that of the answer rows alone. */
bool pass_narrows(const struct lvlm *m, const struct pass *p, int l);
/* The span's rows of a tensor that has a row for every token; for everything on layer l's query side. */
struct tensor span_tokens(const struct span *s, struct tensor t);
struct tensor span_queries(const struct lvlm *m, const struct span *s, int l, struct tensor t);
struct layer_acts span_acts(const struct lvlm *m, const struct span *s, int l); // its rows of m->act[l]
struct attention_shape span_shape(const struct lvlm *m, const struct span *s, int l);
/* Where samples begin among the rows of map p's input in layer l: those of all tokens for keys and values. */
const int64_t *span_cu(const struct lvlm *m, const struct span *s, int l, enum projection p);

/* Two parts of a layer, which the backward pass runs again: x2 := this rank's part of the attention block, until its sum begins;
 * behind the sum x2 += x. gate, up := those of x2, norm included. */
int attention_begin(struct lvlm *m, const struct span *s, int l);
int attention_end(struct lvlm *m, const struct span *s, int l);
int mlp_gate_up(struct lvlm *m, const struct span *s, const struct layer_acts *a, int l);
/* gate, up and the MLP's u of the layer from the arena, where they have no place of their own. */
void mlp_room(struct lvlm *m, const struct pass *p, struct layer_acts *a);

/* How far down a gradient is wanted in layer l, where those maps have increments: up to the increments themselves in the lowest
 * layer, to the layer's input in all others. */
enum depth { DEPTH_DOWN, DEPTH_GATE_UP, DEPTH_O, DEPTH_QKV, DEPTH_INPUT };
static inline enum depth back_depth(unsigned chosen, int l)
{
    if (l > 0) return DEPTH_INPUT;
    if (chosen & (PROJECTION_BIT(PROJ_q) | PROJECTION_BIT(PROJ_k) | PROJECTION_BIT(PROJ_v))) return DEPTH_QKV;
    if (chosen & PROJECTION_BIT(PROJ_o)) return DEPTH_O;
    return chosen & (PROJECTION_BIT(PROJ_gate) | PROJECTION_BIT(PROJ_up)) ? DEPTH_GATE_UP : DEPTH_DOWN;
}

/* decoder_back.c: from dfinal down. */
int decoder_backward(struct lvlm *m, const struct pass *p, double *dcoef);

/* head.c. Collective over tp. */
int64_t head_chunk_of(int ranks);         // rows whose logits are held at once
int64_t head_chunk(const struct lvlm *m); // the same of m's ranks
int head_reserve(struct lvlm *m, int64_t rows);
void head_free(struct lvlm *m);
/* Memory for another pass over batches within the limits of training; once. Not inside a step. */
int head_reserve_other(struct lvlm *m, struct other_pass *o);
void head_free_other(struct lvlm *m, struct other_pass *o);
/* *whole (rows) host := what softmaxes of these logits and of others at a temperature are made of, of the whole vocabulary. Valid
 * until the next call. Collective over tp. */
int head_soft(struct lvlm *m, const struct soft_part **whole, struct tensor logits, struct tensor other,
              float temperature);
/* The leader gets logits (rows, vocab) host of every rank's block (rows, own columns) host, which has room for the largest. */
int head_collect(struct lvlm *m, float *logits, float *block, int64_t rows);
/* Losses of the rows, and with grad_scale != 0 this rank's part of the gradient at final_h (dfinal). kl and jsd are only there
 * while a teacher or masked questions are on. */
int head_loss(struct lvlm *m, const struct packed_batch *b, struct lvlm_losses out, float grad_scale);
/* The greedy choice after each of n rows of final_h. A row without a choice is the leader's error, after the last row. */
int head_choose(struct lvlm *m, int64_t n, const uint8_t *allowed, int32_t *next);

/* listen.c: memory for masked questions, as for a teacher. Then of a pass: whether masked fits b (CL_EINTERNAL), which of b's rows
 * are to differ from it, and of a chunk of logits, rows from `first` on: jsd (rows) host or NULL as in struct lvlm_losses, *gradient :=
 * what the term adds to that of these logits. */
int listen_reserve(struct lvlm *m);
void listen_free(struct lvlm *m);
int listen_check(const struct packed_batch *b, const struct packed_batch *masked);
void listen_begin(struct lvlm *m, const struct packed_batch *b, const struct listening *l);
int listen_loss(struct lvlm *m, struct tensor *gradient, struct tensor logits, float *jsd, float grad_scale,
                int64_t first);

/* group.c: tp_reduce or tp_copy_back, as the place says, of layer l (-1: embedding or loss), with a look at whether all was
 * finite. */
enum sum_place { SUM_EMBEDDING, SUM_ATTENTION, SUM_MLP, SUM_LOSS_BACK, SUM_MLP_BACK, SUM_ATTENTION_BACK, SUM_TOWER };
int group_sum(struct lvlm *m, struct tensor t, enum sum_place place, int layer);
/* The same beside other work: one of each span, whose t is not to be touched until the end. */
int group_begin(struct lvlm *m, int span, struct tensor t, enum sum_place place, int layer);
int group_end(struct lvlm *m, int span);
/* Debug builds: CL_EINTERNAL when t (rows without gaps) is not the same on all ranks. Not inside a step. */
int group_check_alike(struct lvlm *m, struct tensor t, const char *name);
void group_look(struct lvlm *m, enum sum_place place, int layer); // after sums that others made

/* lvlm.c: tables of RoPE up to that position; grows only. */
int rope_reserve(struct lvlm *m, int64_t positions);
/* The lowest free number for p; CL_ENOMEM. */
int numbered_add(struct numbered *t, void *p, int64_t *id);
void numbered_drop(struct numbered *t, int64_t id);
/* Fits what was reserved, ids and targets within the vocabulary. */
int check_batch(const struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, bool train);

/* generate.c: where the cache stands in the middle of a layer: stores this pass's k, v and gives what attention reads. */
int kv_store(struct kv_cache *kv, int layer, const struct pass *p, struct tensor k, struct tensor v);
struct tensor kv_keys(struct kv_cache *kv, int layer);
struct tensor kv_values(struct kv_cache *kv, int layer);
void kv_attention(const struct kv_cache *kv, const struct pass *p, struct attention_shape *s);
bool kv_is_read(const struct kv_cache *kv);
int64_t kv_number(const struct kv_cache *kv);

/* follow.c: the leader's side. Each tells the members what comes now and does nothing on a rank that is no leader; then all
 * ranks do it. From here to follow_done others are in the middle of it. */
int follow_open(struct lvlm *m, const char *dir);
int follow_close(struct lvlm *m);
int follow_adapt(struct lvlm *m, unsigned chosen);
int follow_reserve(struct lvlm *m, const struct lvlm_limits *limits);
int follow_see(struct lvlm *m, int n);
int follow_feature_free(struct lvlm *m, int64_t id);
int follow_load(struct lvlm *m, const struct adapters *ad);
int follow_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                   const struct adapter_teacher *teacher, const struct listening *listening, float grad_scale);
int follow_backward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad);
int follow_grads_clear(struct lvlm *m);
int follow_grads_read(struct lvlm *m, int learned, int rank);
int follow_residual_read(struct lvlm *m);
int follow_coef_reduce(struct lvlm *m);
int follow_logits(struct lvlm *m, int64_t rows);
int follow_kv_new(struct lvlm *m, int sequences, int64_t length);
int follow_kv_free(struct lvlm *m, int64_t id);
int follow_kv_copy(struct lvlm *m, const struct kv_cache *kv, int from, int to, int64_t tokens);
int follow_prefill(struct lvlm *m, const struct kv_cache *kv, const int *seq, const struct packed_batch *b,
                   const struct adapters *ad, const uint8_t *allowed);
int follow_decode(struct lvlm *m, const struct kv_cache *kv, int n, const int *seq, const int32_t *token,
                  const struct adapters *ad, const uint8_t *allowed);
int follow_nonfinite(struct lvlm *m);
int follow_decode_int8(struct lvlm *m);
/* Ends what a follow_.. began when it went well (rc 0); returns rc. With an error in between the ranks are out of step: the
 * leader tells nothing more, and the job must end hard (ranks_busy). */
int follow_done(struct lvlm *m, int rc);

#endif
