/* gemv_plain.c - a few rows times a weight in plain rows of f32 or bf16: each output is a dot product.
 *
 * Four rows of the weight at a time, so that a register of x serves four times; lanes are added up at the end.
 */
#include "model/cpu/kernels/gemv.h"

enum { OUTS = 4, PLAIN_GROUP = VW == 16 ? 4 : 2 };

struct dots {
    float *sum; // (rows of x, OUTS)
    const float *x;
    struct row w; // the first
    int64_t ldx, ldw, in;
};

INLINE struct row row_below(struct row r, int64_t rows, int64_t ld)
{
    return row_at(r, rows * ld);
}

INLINE void dots_step(vf *sum, const struct dots *d, const float *x, int64_t k, const int rows, const int outs,
                      const bool whole, const bool bf16)
{
    const int w = whole ? VW : width(d->in - k);
    vf right[OUTS];

#pragma GCC unroll 4
    for (int o = 0; o < outs; o++) {
        right[o] = vf_get((struct row){row_below(d->w, o, d->ldw).p, bf16}, k, whole ? VW : w);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const vf left = whole ? vf_load(x + r * d->ldx + k) : vf_load_part(x + r * d->ldx + k, w);
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) sum[r * OUTS + o] += left * right[o];
    }
}

INLINE void dots_sums(const struct dots *d, const int first, const int rows, const int outs, const bool bf16)
{
    vf sum[PLAIN_GROUP * OUTS];
    const float *x = d->x + first * d->ldx;
    int64_t k = 0;

#pragma GCC unroll 16
    for (int i = 0; i < rows * OUTS; i++) sum[i] = (vf){0};
    for (; k + VW <= d->in; k += VW) dots_step(sum, d, x, k, rows, outs, true, bf16);
    if (k < d->in) dots_step(sum, d, x, k, rows, outs, false, bf16);
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outs; o++) d->sum[(first + r) * OUTS + o] = vf_sum(sum[r * OUTS + o]);
}

INLINE void dots_tile(const struct dots *d, const int first, const int rows, const int outs)
{
    d->w.bf16 ? dots_sums(d, first, rows, outs, true) : dots_sums(d, first, rows, outs, false);
}

static void dots_of(const struct dots *d, int n, int outs)
{
    for (int r = 0; r < n; r += PLAIN_GROUP) {
        const int rows = n - r < PLAIN_GROUP ? n - r : PLAIN_GROUP;
        if (outs < OUTS) { // the last outputs, one by one
            for (int o = 0; o < outs; o++)
                for (int i = 0; i < rows; i++)
                    dots_tile(&(struct dots){d->sum + o, d->x, row_below(d->w, o, d->ldw), d->ldx, d->ldw, d->in},
                              r + i, 1, 1);
        } else if (rows == 1) {
            dots_tile(d, r, 1, OUTS);
        } else if (rows == 2) {
            dots_tile(d, r, 2, OUTS);
        } else if (rows == 3) {
            dots_tile(d, r, 3, OUTS);
        } else {
            dots_tile(d, r, 4, OUTS);
        }
    }
}

void KERNEL(gemv_plain)(struct tensor y, const float *x, int64_t ldx, struct tensor w, const float *bias,
                        bool accumulate)
{
#pragma omp parallel for schedule(static) if (w.cols * y.cols > PARALLEL_WORK)
    for (int64_t o = 0; o < y.cols; o += OUTS) {
        const int outs = y.cols - o < OUTS ? (int)(y.cols - o) : OUTS;
        float sum[GEMV_ROWS * OUTS];

        dots_of(&(struct dots){sum, x, row_of(w, o), ldx, w.ld, w.cols}, (int)y.rows, outs);
        for (int64_t r = 0; r < y.rows; r++) gemv_put(y, r, o, outs, sum + r * OUTS, NULL, bias, accumulate);
    }
}
