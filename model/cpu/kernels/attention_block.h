/* attention_block.h - what both directions of attention are made of: blocks of queries and keys in f32, and one product.
 *
 * A block of queries is up to LANES lanes: consecutive rows of one sample, each with the heads that share a key head
 * (row 0 head 0, row 0 head 1, ..). Scores are kept with keys as rows and lanes as columns: a register then holds one key
 * and VW queries, so that the softmax needs no sums across a register, and keys and values are multiplied as they lie.
 */
#ifndef CLLAVA_MODEL_CPU_ATTENTION_BLOCK_H
#define CLLAVA_MODEL_CPU_ATTENTION_BLOCK_H

#include "model/cpu/kernels/kernel.h"

enum { LANES = 64, KEYS = 64 };
#ifdef __AVX512F__
enum { TILE_ROWS = 6, TILE_COLS = 4 }; // of the 32 registers 24 hold sums
#else
enum { TILE_ROWS = 6, TILE_COLS = 2 }; // 12 of 16
#endif

/* c (rows, cols registers) = or += a b: element (i, k) of a at a[i * a_row + k * a_col], rows of b and c ldb, ldc apart. */
struct block_product {
    float *c;
    const float *a, *b;
    int64_t ldc, a_row, a_col, ldb;
    int rows, cols, depth; // cols in registers
    bool add;
};

/* One tile of rows x cols registers, both known to the compiler, so that the sums stay in registers. */
INLINE void block_tile(const struct block_product *p, int i0, int j0, const int rows, const int cols)
{
    vf sum[TILE_ROWS * TILE_COLS];
    float *c = p->c + i0 * p->ldc + j0 * VW;
    const float *a = p->a + i0 * p->a_row, *b = p->b + j0 * VW;
    int64_t a_row = p->a_row, a_col = p->a_col, ldb = p->ldb, ldc = p->ldc;

#pragma GCC unroll 32
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 32
        for (int j = 0; j < cols; j++) sum[i * cols + j] = p->add ? vf_load(c + i * ldc + j * VW) : (vf){0};
    for (int k = 0; k < p->depth; k++, a += a_col, b += ldb) {
        vf right[TILE_COLS];
#pragma GCC unroll 32
        for (int j = 0; j < cols; j++) right[j] = vf_load(b + j * VW);
#pragma GCC unroll 32
        for (int i = 0; i < rows; i++) {
            vf left = vf_set(a[i * a_row]);
#pragma GCC unroll 32
            for (int j = 0; j < cols; j++) sum[i * cols + j] += left * right[j];
        }
    }
#pragma GCC unroll 32
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 32
        for (int j = 0; j < cols; j++) vf_store(c + i * ldc + j * VW, sum[i * cols + j]);
}

/* A strip of columns: full tiles, then what is left of the rows. */
INLINE void block_strip(const struct block_product *p, int j, const int cols)
{
    int i = 0;

    for (; i + TILE_ROWS <= p->rows; i += TILE_ROWS) block_tile(p, i, j, TILE_ROWS, cols);
    for (; i + 2 <= p->rows; i += 2) block_tile(p, i, j, 2, cols);
    if (i < p->rows) block_tile(p, i, j, 1, cols);
}

static inline void block_multiply(const struct block_product *p)
{
    int j = 0;

    for (; j + TILE_COLS <= p->cols; j += TILE_COLS) block_strip(p, j, TILE_COLS);
    if (TILE_COLS > 2 && j + 2 <= p->cols) {
        block_strip(p, j, 2);
        j += 2;
    }
    if (j < p->cols) block_strip(p, j, 1);
}

/* Registers that hold n numbers, and numbers in them. */
INLINE int registers(int n)
{
    return (n + VW - 1) / VW;
}

INLINE int padded(int n)
{
    return registers(n) * VW;
}

/* A block of queries: lanes [first, first + count) of a sample's rows x group. */
struct lanes {
    int64_t row, first;     // first row of the sample in q; first lane
    int count, group, head; // head: the first one of the group
};

INLINE int64_t lane_row(const struct lanes *l, int i)
{
    return l->row + (l->first + i) / l->group;
}

INLINE int lane_head(const struct lanes *l, int i)
{
    return l->head + (int)((l->first + i) % l->group);
}

/* The n numbers of lane i in a matrix like q. */
INLINE struct row lane_numbers(struct tensor t, const struct lanes *l, int i, int n)
{
    return row_at(row_of(t, lane_row(l, i)), (int64_t)lane_head(l, i) * n);
}

/* dst (n registers' worth) = row * factor, the last register filled up with 0 */
INLINE void load_numbers(float *dst, struct row r, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_store(dst + c, vf_get(r, c, width(n - c)) * factor);
}

/* dst (count, padded(n)) = `count` rows of t from `row` on, columns from col on: keys or values of one head. */
static inline void load_rows(float *dst, struct tensor t, int64_t row, int count, int64_t col, int n)
{
    for (int i = 0; i < count; i++) load_numbers(dst + i * padded(n), row_at(row_of(t, row + i), col), n, 1);
}

/* The keys that a block of queries sees: keys [0, all) by every lane, [all, some) by those lanes whose position allows. */
struct sight {
    int64_t all, some;
    vi last[LANES / VW]; // last key of each lane
};

static inline void look(struct sight *s, const struct attention_shape *shape, const struct lanes *l, int64_t keys)
{
    int32_t last[LANES];

    s->all = s->some = keys;
    if (!shape->causal) return;
    s->some = 0;
    for (int i = 0; i < LANES; i++) {
        last[i] = i < l->count ? shape->q_pos[lane_row(l, i)] : INT32_MAX;
        if (last[i] + 1LL < s->all) s->all = last[i] + 1LL;
        if (i < l->count && last[i] + 1LL > s->some) s->some = last[i] + 1LL;
    }
    memcpy(s->last, last, sizeof last);
}

/* Lanes of register j that see key `key`. */
INLINE vi sees(const struct sight *s, int j, int64_t key)
{
    return s->last[j] >= (int32_t)key - (vi){0};
}

/* Tensors of one call of the backward pass. */
struct back {
    struct tensor dq, dk, dv, d_o, o, q, k, v;
    const float *lse;
    const struct attention_shape *s;
};

/* Blocks of queries of one sample, for each key head. */
INLINE int64_t blocks_of(const struct attention_shape *s, int sample)
{
    int64_t lanes = (s->cu_q[sample + 1] - s->cu_q[sample]) * (s->heads / s->kv_heads);
    return (lanes + LANES - 1) / LANES;
}

INLINE struct lanes lanes_of(const struct attention_shape *s, int sample, int kv_head, int64_t block)
{
    int group = s->heads / s->kv_heads;
    int64_t left = (s->cu_q[sample + 1] - s->cu_q[sample]) * group - block * LANES;

    return (struct lanes){.row = s->cu_q[sample],
                          .first = block * LANES,
                          .count = left < LANES ? (int)left : LANES,
                          .group = group,
                          .head = kv_head * group};
}

#endif
