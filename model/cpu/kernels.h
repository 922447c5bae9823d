/* kernels.h - the CPU's own loops, one table per instruction set.
 *
 * Every file of model/cpu/kernels is compiled three times (x86-64-v2: SSE4, v3: AVX2, v4: AVX-512); the list below names
 * each loop once and yields the members of the table and the prototypes of the three versions. The table is chosen once
 * at run time.
 *
 * The loops trust their callers: shapes and indexes were checked by backend_cpu.c. They share rows among OpenMP's
 * threads, each result computed by one thread in an order that does not depend on their number, and run alone where
 * the work is too small to pay for waking threads.
 */
#ifndef CLLAVA_MODEL_CPU_KERNELS_H
#define CLLAVA_MODEL_CPU_KERNELS_H

#include "model/backend.h"

/* A weight of those that a few rows are multiplied by: y (n, out) (+)= x W^T + bias. */
struct gemv_part {
    struct tensor y;
    const void *w; // packed: as in product.h; bytes: blocks of PACKED_COLS outputs, in each (in / 4, PACKED_COLS, 4)
    const float *bias;    // or NULL
    const float *scale;   // bytes: (out) what a byte stands for
    const int32_t *total; // bytes: (out, filled up) sum of the bytes
};

/* Weights that see the same rows, at most GEMV_ROWS; threads share the outputs of all of them. */
struct gemv {
    const struct gemv_part *part;
    int parts;
    int64_t rows, in; // in: filled up to a multiple of PACKED_ROWS, of 4 for bytes
    const void *x;    // (rows, in) bf16, f32 for bytes
    bool accumulate;
    bool fast;     // packed: the processor has AVX-512 BF16; bytes: AVX-512 VNNI
    uint8_t *room; // bytes: (2, rows, in)
};

/* result, name, arguments. Tensors are f32 or bf16; what else a loop needs is said in model/backend.h */
#define CPU_KERNELS(X)                                                                                                   \
    /* n numbers of one row, any two of f32, bf16, f16 (dst: not f16), any alignment */                                  \
    X(void, convert, (void *dst, enum dtype dst_type, const void *src, enum dtype src_type, int64_t n))                  \
    X(void, zero, (struct tensor t))                                                                                     \
    X(void, copy, (struct tensor dst, struct tensor src))                                                                \
    X(void, add, (struct tensor dst, struct tensor src))                                                                 \
    X(void, scale, (struct tensor t, float factor))                                                                      \
    X(void, gather, (struct tensor out, struct tensor in, const int64_t *row))                                           \
    X(void, scatter, (struct tensor out, struct tensor in, const int64_t *row))                                          \
    X(void, scatter_add, (struct tensor out, struct tensor in, const int64_t *row))                                      \
    X(void, rmsnorm, (struct tensor out, float *rstd, struct tensor x, const float *gain, float eps))                    \
    X(void, rmsnorm_back, (struct tensor dx, struct tensor dy, struct tensor x, const float *gain, const float *rstd))   \
    X(void, layernorm, (struct tensor out, struct tensor x, const float *gain, const float *bias, float eps))            \
    X(void, activate, (struct tensor x, enum activation kind))                                                           \
    X(void, glu, (struct tensor out, struct tensor gate, struct tensor up, enum activation kind))                        \
    X(void, glu_back, (struct tensor gate, struct tensor up, struct tensor dout, enum activation kind))                  \
    X(void, rope,                                                                                                        \
      (struct tensor x, int heads, int head_dim, const int32_t *pos, const float *table_cos, const float *table_sin,     \
       bool inverse))                                                                                                    \
    /* room: attention_bytes, NULL where these are 0 */                                                                  \
    X(size_t, attention_bytes, (const struct attention_shape *s))                                                        \
    X(void, attention,                                                                                                   \
      (struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,                                   \
       const struct attention_shape *s, void *room))                                                                     \
    /* the same where every sample has one query row, and at most 64 heads share one of the keys */                      \
    X(size_t, attention_token_bytes, (const struct attention_shape *s))                                                  \
    X(void, attention_token,                                                                                             \
      (struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,                                   \
       const struct attention_shape *s, void *room))                                                                     \
    /* scratch: attention_back_bytes for each thread */                                                                  \
    X(size_t, attention_back_bytes, (const struct attention_shape *s))                                                   \
    X(void, attention_back,                                                                                              \
      (struct tensor dq, struct tensor dk, struct tensor dv, struct tensor d_o, struct tensor o, struct tensor q,        \
       struct tensor k, struct tensor v, const float *lse, const struct attention_shape *s, void *scratch))              \
    X(void, cross_entropy, (float *nll, struct tensor logits, const int32_t *target, float grad_scale))                  \
    X(void, softmax_part, (struct softmax_part * part, struct tensor logits, const int32_t *target, int64_t first))      \
    X(void, softmax_grad,                                                                                                \
      (struct tensor logits, const struct softmax_part *whole, const int32_t *target, int64_t first,                     \
       float grad_scale))                                                                                                \
    X(void, soft_part, (struct soft_part * part, struct tensor logits, struct tensor other, float temperature))          \
    X(void, soft_grad,                                                                                                   \
      (struct tensor other, struct tensor logits, const struct soft_part *whole, float temperature, float factor))       \
    X(void, jsd_part,                                                                                                    \
      (struct jsd_part * part, struct tensor logits, struct tensor other, const struct soft_part *whole))                \
    X(void, jsd_grad,                                                                                                    \
      (struct tensor other, struct tensor logits, const struct soft_part *whole, const struct jsd_part *jsd,             \
       const float *factor))                                                                                             \
    /* id[i] = -1: no column allowed; -2: row i holds NaN; top may be NULL */                                            \
    X(void, argmax, (int32_t * id, float *top, struct tensor logits, const uint8_t *allowed))                            \
    /* dst := src (out, in) in bf16, rows ld numbers apart, packed as a matrix (in, out) (product.h) */                  \
    X(void, pack, (uint16_t * dst, const uint16_t *src, int64_t out, int64_t in, int64_t ld))                            \
    /* dst (cols, n) := columns [first, first + n) of the transpose of src (rows, cols), both packed (product.h) */      \
    X(void, turn, (uint16_t * dst, const uint16_t *src, int64_t rows, int64_t cols, int64_t first, int64_t n))           \
    /* packed bf16 weights; weights of bytes */                                                                          \
    X(void, gemv_packed, (const struct gemv *g))                                                                         \
    X(void, gemv_bytes, (const struct gemv *g))                                                                          \
    /* of `inputs` (a multiple of 4) lines of PACKED_COLS numbers: most := the larger |number|; to, total: bytes of    \
     * numbers times factor, in quads, and their sums */ \
    X(void, bytes_tops, (float *most, const float *x, int64_t inputs))                                                   \
    X(void, bytes_round, (int8_t * to, int32_t * total, const float *x, const float *factor, int64_t inputs))            \
    /* y (n, out) (+)= x W^T + bias of at most GEMV_ROWS rows, W in plain rows of f32 or bf16 */                         \
    X(void, gemv_plain,                                                                                                  \
      (struct tensor y, const float *x, int64_t ldx, struct tensor w, const float *bias, bool accumulate))               \
    /* multiply-adds on registers alone, by all threads, pairs of bf16 or f32; returns how many */                       \
    X(double, registers, (int64_t rounds, bool pairs))                                                                   \
    X(void, adapter_scale, (struct tensor u, const float *coef, const int64_t *cu, int samples, int slots, int rank))    \
    X(void, adapter_coef_back,                                                                                           \
      (double *dcoef, struct tensor u, struct tensor v, const int64_t *cu, int samples, int slots, int rank))

struct cpu_kernels {
    const char *level; // "v4"
#define X(result, name, args) result(*name) args;
    CPU_KERNELS(X)
#undef X
};

extern const struct cpu_kernels cpu_kernels_v2, cpu_kernels_v3, cpu_kernels_v4;

enum { CPU_MAX_HEAD = 256 }; // largest head_dim of the attention loops
enum { GEMV_ROWS = 16 };     // most rows of the loops for a few

/* The table that cpu_choose (model/cpu/isa.h) chose. */
const struct cpu_kernels *cpu_kernels(void);

#endif
