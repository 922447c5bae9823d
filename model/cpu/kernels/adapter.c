/* adapter.c - what low-rank increments need beside matrix products: each sample's own coefficients. */
#include "model/cpu/kernels/kernel.h"

static void scale_sample(struct tensor u, const float *coef, int64_t from, int64_t to, int slots, int rank)
{
    for (int64_t r = from; r < to; r++)
        for (int m = 0; m < slots; m++) {
            struct row block = row_at(row_of(u, r), (int64_t)m * rank);
            for (int c = 0; c < rank; c += VW)
                vf_put(block, c, width(rank - c), vf_get(block, c, width(rank - c)) * coef[m]);
        }
}

void KERNEL(adapter_scale)(struct tensor u, const float *coef, const int64_t *cu, int samples, int slots, int rank)
{
#pragma omp parallel for schedule(static) if (u.rows * u.cols > PARALLEL_WORK)
    for (int s = 0; s < samples; s++) scale_sample(u, coef + (int64_t)s * slots, cu[s], cu[s + 1], slots, rank);
}

static double dot_block(struct tensor u, struct tensor v, int64_t from, int64_t to, int64_t col, int rank)
{
    double sum[VW] = {0}, all = 0;

    for (int64_t r = from; r < to; r++) {
        struct row a = row_at(row_of(u, r), col), b = row_at(row_of(v, r), col);
        for (int c = 0; c < rank; c += VW) {
            vf x = vf_get(a, c, width(rank - c)), y = vf_get(b, c, width(rank - c));
            for (int i = 0; i < VW; i++) sum[i] += (double)x[i] * (double)y[i];
        }
    }
    for (int i = 0; i < VW; i++) all += sum[i];
    return all;
}

void KERNEL(adapter_coef_back)(double *dcoef, struct tensor u, struct tensor v, const int64_t *cu, int samples,
                               int slots, int rank)
{
#pragma omp parallel for schedule(static) if (u.rows * u.cols > PARALLEL_WORK)
    for (int64_t i = 0; i < (int64_t)samples * slots; i++)
        dcoef[i] += dot_block(u, v, cu[i / slots], cu[i / slots + 1], i % slots * rank, rank);
}
