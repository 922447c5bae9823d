/* norm.c - RMSNorm with its backward pass, LayerNorm. One row at a time: it is read again from the cache. */
#include "model/cpu/kernels/kernel.h"

static float sum_of_squares(struct row x, int64_t n, float minus)
{
    vf sum[2] = {{0}, {0}};

    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf d = vf_get(x, c, w) - minus;
        if (minus != 0 && w < VW) { // the 0 of lanes beyond the row is no 0 any more
            float lane[VW];
            vf_store(lane, d);
            memset(lane + w, 0, sizeof lane - (size_t)w * sizeof *lane);
            d = vf_load(lane);
        }
        sum[c / VW & 1] += d * d;
    }
    return vf_sum(sum[0] + sum[1]);
}

static float sum_of(struct row x, int64_t n)
{
    vf sum[2] = {{0}, {0}};

    for (int64_t c = 0; c < n; c += VW) sum[c / VW & 1] += vf_get(x, c, width(n - c));
    return vf_sum(sum[0] + sum[1]);
}

void KERNEL(rmsnorm)(struct tensor out, float *rstd, struct tensor x, const float *gain, float eps)
{
#pragma omp parallel for schedule(static) if (x.rows * x.cols > PARALLEL_WORK)
    for (int64_t r = 0; r < x.rows; r++) {
        struct row from = row_of(x, r), to = row_of(out, r), g = {(void *)gain, false};
        float scale = 1 / sqrtf(sum_of_squares(from, x.cols, 0) / (float)x.cols + eps);

        if (rstd) rstd[r] = scale;
        for (int64_t c = 0; c < x.cols; c += VW) {
            int w = width(x.cols - c);
            vf_put(to, c, w, vf_get(g, c, w) * (vf_get(from, c, w) * scale));
        }
    }
}

/* y = g x s, s = (mean x^2 + eps)^-1/2. So dx = s g dy - x s^3 / n * sum(g dy x). */
static void rmsnorm_back_row(struct row dx, struct row dy, struct row x, struct row g, float s, int64_t n)
{
    vf dot[2] = {{0}, {0}};

    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        dot[c / VW & 1] += vf_get(g, c, w) * vf_get(dy, c, w) * vf_get(x, c, w);
    }
    float pull = vf_sum(dot[0] + dot[1]) * s * s * s / (float)n;
    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf d = vf_get(g, c, w) * vf_get(dy, c, w) * s - vf_get(x, c, w) * pull;
        vf_put(dx, c, w, vf_get(dx, c, w) + d);
    }
}

void KERNEL(rmsnorm_back)(struct tensor dx, struct tensor dy, struct tensor x, const float *gain, const float *rstd)
{
#pragma omp parallel for schedule(static) if (x.rows * x.cols > PARALLEL_WORK)
    for (int64_t r = 0; r < x.rows; r++)
        rmsnorm_back_row(row_of(dx, r), row_of(dy, r), row_of(x, r), (struct row){(void *)gain, false}, rstd[r],
                         x.cols);
}

void KERNEL(layernorm)(struct tensor out, struct tensor x, const float *gain, const float *bias, float eps)
{
#pragma omp parallel for schedule(static) if (x.rows * x.cols > PARALLEL_WORK)
    for (int64_t r = 0; r < x.rows; r++) {
        struct row from = row_of(x, r), to = row_of(out, r), g = {(void *)gain, false}, b = {(void *)bias, false};
        float mean = sum_of(from, x.cols) / (float)x.cols;
        float scale = 1 / sqrtf(sum_of_squares(from, x.cols, mean) / (float)x.cols + eps);

        for (int64_t c = 0; c < x.cols; c += VW) {
            int w = width(x.cols - c);
            vf_put(to, c, w, (vf_get(from, c, w) - mean) * scale * vf_get(g, c, w) + vf_get(b, c, w));
        }
    }
}
