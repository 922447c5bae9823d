/* gemv.h - what products of a few rows with a frozen weight have in common.
 *
 * Decoding multiplies every weight with one row, or a few: each number of the weight is read once and used n times, so the
 * loops are bound by memory. They go through a weight from front to back (the processor sees that coming by itself: asking for
 * what lies ahead cost 5 %) and keep all sums in registers. A row's sums have the same order however many rows there are and
 * however many threads: threads share outputs, never a sum. Weights that see the same rows are gone through as one, since each
 * time that threads begin and wait for one another the memory rests.
 */
#ifndef CLLAVA_MODEL_CPU_GEMV_H
#define CLLAVA_MODEL_CPU_GEMV_H

#include "model/cpu/kernels/kernel.h"
#include "model/cpu/product.h"

enum {
    GEMV_GROUP = VW == 16 ? 6 : 2,       // rows at a time (at most 6): their sums are 4 registers each
    GEMV_TILES = PACKED_COLS / (4 * VW), // 4 registers wide, of a block of columns
    GEMV_PART = 256, // inputs at a time when there are several groups: part of a block stays in the cache
};

/* y[row][col ..] (+)= scale sum + bias, n numbers. */
INLINE void gemv_put(struct tensor y, int64_t row, int64_t col, int n, const float *sum, const float *scale,
                     const float *bias, bool accumulate)
{
    const struct row to = row_at(row_of(y, row), col);

    for (int c = 0; c < n; c += VW) {
        const int w = width(n - c);
        vf v = vf_load_part(sum + c, w);
        if (scale) v *= vf_load_part(scale + col + c, w);
        if (bias) v += vf_load_part(bias + col + c, w);
        if (accumulate) v += vf_get(to, c, w);
        vf_put(to, c, w, v);
    }
}

/* A block of PACKED_COLS outputs of one of the weights. */
struct gemv_block {
    const struct gemv_part *of;
    int64_t at;  // of its blocks
    int outputs; // of it, PACKED_COLS but for the last one
};

INLINE int64_t gemv_blocks_of(const struct gemv_part *p)
{
    return (p->y.cols + PACKED_COLS - 1) / PACKED_COLS;
}

/* Blocks, and outputs, of all weights. */
INLINE int64_t gemv_blocks(const struct gemv *g, int64_t *outputs)
{
    int64_t n = 0;

    *outputs = 0;
    for (int i = 0; i < g->parts; i++) n += gemv_blocks_of(&g->part[i]), *outputs += g->part[i].y.cols;
    return n;
}

/* Block i of all. */
INLINE struct gemv_block gemv_block(const struct gemv *g, int64_t i)
{
    const struct gemv_part *p = g->part;

    for (; i >= gemv_blocks_of(p); p++) i -= gemv_blocks_of(p);
    const int64_t left = p->y.cols - i * PACKED_COLS;
    return (struct gemv_block){p, i, left < PACKED_COLS ? (int)left : PACKED_COLS};
}

/* y of the block (+)= scale sum + bias; sum (rows, PACKED_COLS). */
INLINE void gemv_put_block(const struct gemv *g, const struct gemv_block *b, const float *sum)
{
    for (int64_t r = 0; r < g->rows; r++)
        gemv_put(b->of->y, r, b->at * PACKED_COLS, b->outputs, sum + r * PACKED_COLS, b->of->scale, b->of->bias,
                 g->accumulate);
}

/* Rows of the next group when `left` of them are left: groups of at most `most`, about the same size. */
INLINE int gemv_rows(int left, int most)
{
    const int groups = (left + most - 1) / most;

    return (left + groups - 1) / groups;
}

/* Calls tile(.., first row, rows) for n rows in groups, the number of rows known to the compiler. */
#define GEMV_BY_GROUPS(n, tile, ...)                                                                                   \
    for (int gemv_at = 0, gemv_now; gemv_at < (n); gemv_at += gemv_now) {                                              \
        gemv_now = gemv_rows((n)-gemv_at, GEMV_GROUP);                                                                 \
        if (gemv_now == 1)                                                                                             \
            tile(__VA_ARGS__, gemv_at, 1);                                                                             \
        else if (gemv_now == 2)                                                                                        \
            tile(__VA_ARGS__, gemv_at, 2);                                                                             \
        GEMV_LARGER(tile, __VA_ARGS__)                                                                                 \
    }
#ifdef __AVX512F__
#define GEMV_LARGER(tile, ...)                                                                                         \
    else if (gemv_now == 3) tile(__VA_ARGS__, gemv_at, 3);                                                             \
    else if (gemv_now == 4) tile(__VA_ARGS__, gemv_at, 4);                                                             \
    else if (gemv_now == 5) tile(__VA_ARGS__, gemv_at, 5);                                                             \
    else tile(__VA_ARGS__, gemv_at, 6);
#else
#define GEMV_LARGER(tile, ...)
#endif

#endif
