/* backend.h - the operations that the model is made of, one table per device.
 *
 * The decoder, the vision tower and the sentence encoder are written once, as flat lists of these calls. A backend fills
 * the table: CPU (oneDNN for matrix products, own loops compiled per instruction set), CUDA (cuBLASLt, own kernels).
 * Buffers (tensor.data, const void *) belong to the backend's device: only its functions look through them; arrays that
 * are named `host` are ordinary memory.
 *
 * Outputs come first, then inputs, then sizes. Types: matrices are f32 or bf16 as their tensor says, any mix that makes
 * sense for the call; sums are always f32 inside. Statistics, gains, biases, coefficients and losses are f32.
 * Results are the same bits for the same call on the same machine, whatever else runs: every sum has a fixed order that
 * does not depend on the number of threads.
 *
 * All functions return 0 or an enum cl_code with the text set. A call with 0 rows does nothing. Not collective.
 */
#ifndef CLLAVA_MODEL_BACKEND_H
#define CLLAVA_MODEL_BACKEND_H

#include "model/tensor.h"

/* A frozen weight matrix (out, in) in whatever form the device multiplies fastest. */
struct weight;

/* y = x W^T; dx = dy W; y = x W^T of a few rows as fast as the memory, in whatever order of sums. Without the last a row's bits
 * do not depend on how many other rows there are, where the device can: features of a picture are the same with whomever it is
 * seen. */
enum weight_use { WEIGHT_FORWARD = 1, WEIGHT_BACKWARD = 2, WEIGHT_FEW = 4 };

/* What is left of a row of logits: all there is to know of a softmax over some of the vocabulary's columns. The parts of
 * several ranks make the whole. */
struct softmax_part {
    float top, sum; // largest logit; sum of exp(logit - top)
    float target;   // logit of the row's target, -inf where these columns do not hold it
};

/* The same of a row of logits a and another row b, both divided by a temperature T: all that the divergence
 * KL(softmax(b / T) || softmax(a / T)) = cross / other_sum - (other_top + log other_sum) + (top + log sum) takes. */
struct soft_part {
    double top, sum;             // of a / T
    double other_top, other_sum; // of b / T
    double cross;                // sum of exp(b / T - other_top) (b - a) / T
};

/* What two softmaxes p and q of the same columns have of their mean m = (p + q) / 2: their Jensen-Shannon divergence, in nats, is
 * (mine + other) / 2. */
struct jsd_part {
    double mine, other; // sum of p ln(p / m), of q ln(q / m)
};

/* One of several products of the same rows. */
struct linear {
    struct tensor y;
    const struct weight *w;
    const float *bias; // or NULL
};

enum activation { ACT_GELU, ACT_QUICK_GELU, ACT_GELU_TANH, ACT_SILU, ACT_RELU };

/* Rows of several samples end to end. Sample s has query rows [cu_q[s], cu_q[s+1]) and cu_k[s+1] - cu_k[s] key rows that
 * begin at row k_start[s] of k and v (k_start NULL: at cu_k[s]; a KV cache sets it). Causal: query row i sees the keys of
 * its sample at 0 .. q_pos[i], counted from the sample's first key. So the same call serves training (all rows), the last
 * layer (answer rows only), prefill and one-token decoding. All arrays host. */
struct attention_shape {
    int samples;
    const int64_t *cu_q, *cu_k; // (samples + 1)
    const int64_t *k_start;     // (samples) or NULL
    const int32_t *q_pos;       // (rows of q); not read unless causal
    bool causal;
    int heads, kv_heads, head_dim; // heads % kv_heads == 0
    float scale;                   // 1 / sqrt(head_dim)
};

struct backend {
    const char *name; // "cpu", "cuda"
    enum dtype act;   // type of activations between kernels: f32, or bf16

    /* ---- memory of the device */
    void *(*alloc)(size_t bytes); // 64-byte aligned at least, zeroed; NULL when there is none
    void (*free)(void *p);
    int (*upload)(void *dst, const void *host, size_t bytes);
    int (*download)(void *host, const void *src, size_t bytes);
    int (*zero)(struct tensor t);
    int (*copy)(struct tensor dst, struct tensor src); // same shape; converts the type
    int (*add)(struct tensor dst, struct tensor src);  // dst += src; same shape
    int (*scale)(struct tensor t, float factor);

    /* ---- frozen weights. src: host memory (a memory-mapped file), rows ld numbers apart, of type src_type (f32, bf16,
     * f16; any alignment); with keep it stays mapped and unchanged while the weight lives, so the backend may multiply
     * straight from it. */
    int (*weight_new)(struct weight **w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                      unsigned uses, bool keep);
    void (*weight_free)(struct weight *w);
    size_t (*weight_bytes)(const struct weight *w); // memory of its own
    /* y (n, out) = x (n, in) W^T + bias, or += with accumulate. bias (out) f32 on the device, or NULL. */
    int (*linear)(struct tensor y, struct tensor x, const struct weight *w, const float *bias, bool accumulate);
    /* y = x W^T + bias of n weights that see the same x, as linear one after another; in one go where that is faster. */
    int (*linear_each)(const struct linear *part, int n, struct tensor x);
    /* top (out) host := largest |number| of each row. */
    int (*weight_tops)(float *top, const struct weight *w);
    /* *q := w rounded to int8 with a scale of top / 127 for each row, for linear alone: half the memory of bf16, which is what
     * decoding's speed is about. w stays what it is. */
    int (*weight_rounded)(struct weight **q, const struct weight *w, const float *top);
    /* dx (n, in) = dy (n, out) W, or += with accumulate. */
    int (*linear_back)(struct tensor dx, struct tensor dy, const struct weight *w, bool accumulate);
    /* rows of a weight as a table: out[i] (in) = W[id[i]]; id (n = out.rows) host, every id in range (checked). */
    int (*embed)(struct tensor out, const struct weight *w, const int32_t *id);

    /* ---- plain products, for what is learned. c = op(a) op(b), or += with accumulate. Any of f32, bf16; strided views. */
    int (*gemm)(struct tensor c, struct tensor a, bool a_transposed, struct tensor b, bool b_transposed,
                bool accumulate);

    /* ---- norms and activations, row by row. rstd (rows) f32 is kept for the backward pass; may be NULL. */
    int (*rmsnorm)(struct tensor out, float *rstd, struct tensor x, const float *gain, float eps);
    int (*rmsnorm_back)(struct tensor dx, struct tensor dy, struct tensor x, const float *gain,
                        const float *rstd); // dx +=
    int (*layernorm)(struct tensor out, struct tensor x, const float *gain, const float *bias,
                     float eps);                            // out may be x
    int (*activate)(struct tensor x, enum activation kind); // in place
    int (*glu)(struct tensor out, struct tensor gate, struct tensor up,
               enum activation kind); // act(gate) * up; out may be gate
    /* gate and up are overwritten by their gradients: dgate = dout * up * act'(gate), dup = dout * act(gate). */
    int (*glu_back)(struct tensor gate, struct tensor up, struct tensor dout, enum activation kind);

    /* ---- RoPE in place, LLaMA's half split: pairs (i, i + head_dim / 2). x (n, heads * head_dim); table_cos, table_sin
     * (positions, head_dim / 2) f32 on the device; pos (n) host, in range; inverse turns back (backward pass). */
    int (*rope)(struct tensor x, int heads, int head_dim, const int32_t *pos, const float *table_cos,
                const float *table_sin, bool inverse);

    /* ---- attention, blockwise, never S x S. q, o (rows of q, heads * head_dim), k, v (rows of k, kv_heads * head_dim);
     * lse (rows of q, heads) f32: log of the softmax's sum, kept for the backward pass, may be NULL. */
    int (*attention)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                     const struct attention_shape *s);
    /* dq, dk, dv are overwritten (rows of k that no query sees become 0). k_start must be NULL. */
    int (*attention_back)(struct tensor dq, struct tensor dk, struct tensor dv, struct tensor d_o, struct tensor o,
                          struct tensor q, struct tensor k, struct tensor v, const float *lse,
                          const struct attention_shape *s);

    /* ---- rows by index (host). */
    int (*gather)(struct tensor out, struct tensor in, const int64_t *row);      // out[i] = in[row[i]]
    int (*scatter)(struct tensor out, struct tensor in, const int64_t *row);     // out[row[i]] = in[i]; rows distinct
    int (*scatter_add)(struct tensor out, struct tensor in, const int64_t *row); // out[row[i]] += in[i]; rows distinct

    /* ---- loss. logits (n, V) f32; target (n) host, in range. nll (n) host. With grad_scale != 0 the logits become
     * grad_scale * (softmax - onehot); all V columns count (padding rows of lm_head included, as the reference does). */
    int (*cross_entropy)(float *nll, struct tensor logits, const int32_t *target, float grad_scale);
    /* The same in two halves, where logits are columns [first, first + logits.cols) of a vocabulary that ranks share.
     * part (n) host := of these columns; the logits become grad_scale * (softmax - onehot) by the whole row's part (n). */
    int (*softmax_part)(struct softmax_part *part, struct tensor logits, const int32_t *target, int64_t first);
    int (*softmax_grad)(struct tensor logits, const struct softmax_part *whole, const int32_t *target, int64_t first,
                        float grad_scale);
    /* How far logits (n, V) are from other logits, both f32, at a temperature; the columns may be some of a vocabulary. part (n)
     * host := of these columns; other := factor * (softmax(logits / T) - softmax(other / T)) by the whole row's part (n), which
     * is the gradient of factor * T * KL at the logits. */
    int (*soft_part)(struct soft_part *part, struct tensor logits, struct tensor other, float temperature);
    int (*soft_grad)(struct tensor other, struct tensor logits, const struct soft_part *whole, float temperature,
                     float factor);
    /* How far apart the softmaxes p of logits and q of other logits are, by the whole row's soft_part (n) at temperature 1. part
     * (n) host := of these columns; other := factor[r] times the gradient of the row's divergence at the logits, q held constant,
     * by the whole row's part (n). factor (n) host; where it is 0 the row becomes 0. */
    int (*jsd_part)(struct jsd_part *part, struct tensor logits, struct tensor other, const struct soft_part *whole);
    int (*jsd_grad)(struct tensor other, struct tensor logits, const struct soft_part *whole,
                    const struct jsd_part *jsd, const float *factor);
    /* Greedy choice: id (n) host = column of the largest logit among columns with allowed[c] != 0 (host, V; NULL: all),
     * the lower column where equal. CL_ENUM when a row holds NaN. With top (n) host: the largest logits too, and rows
     * without a choice are no error: id -1 where no column is allowed, -2 where a row holds NaN. */
    int (*argmax)(int32_t *id, float *top, struct tensor logits, const uint8_t *allowed);

    /* ---- low-rank increments. u (n, slots * rank): column block m belongs to slot m. Row i belongs to the sample s with
     * cu[s] <= i < cu[s+1] (host). coef (samples, slots) f32 host: u[i, block m] *= coef[s, m]. */
    int (*adapter_scale)(struct tensor u, const float *coef, const int64_t *cu, int samples, int slots, int rank);
    /* dcoef (samples, slots) double host += sum over the sample's rows and the block's columns of u * v. */
    int (*adapter_coef_back)(double *dcoef, struct tensor u, struct tensor v, const int64_t *cu, int samples, int slots,
                             int rank);
};

/* The backend of this process. precision: DT_F32 or DT_BF16. The table is static.
 * DT_BF16 on a processor without AVX-512 (oneDNN's least for bf16): CL_EDEVICE with a hint to use f32. */
int backend_cpu(const struct backend **be, enum dtype precision);
/* "AVX-512 BF16", "AMX", "AVX2" ..: the instruction set that was chosen, for the table of settings. */
const char *backend_cpu_isa(void);

#endif
