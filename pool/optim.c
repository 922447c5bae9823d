/* optim.c - AdamW and clipping. */
#include "pool/optim.h"

#include <math.h>

enum { BLOCKS = 64, PARALLEL_FROM = 1 << 16 };

void optim_adamw(const struct adamw *o, float *p, float *m, float *v, const float *g, double scale, int64_t n,
                 int64_t t, double lr)
{
    // Each scalar is rounded to float32 where PyTorch rounds it: when it meets a tensor.
    const float b1 = (float)o->beta1, b2 = (float)o->beta2, c1 = (float)(1 - o->beta1), c2 = (float)(1 - o->beta2);
    const float fix1 = (float)(1 - pow(o->beta1, (double)t)), fix2 = (float)(1 - pow(o->beta2, (double)t));
    const float keep = (float)(1 - lr * o->weight_decay), rate = (float)lr, eps = (float)o->eps, s = (float)scale;

#pragma omp parallel for simd schedule(static) if (n >= PARALLEL_FROM)
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * s;
        m[i] = b1 * m[i] + c1 * d;
        v[i] = b2 * v[i] + c2 * d * d;
        p[i] *= keep;
        p[i] -= rate * (m[i] / fix1) / (sqrtf(v[i] / fix2) + eps);
    }
}

double optim_sum_squares(const float *g, int64_t n)
{
    double part[BLOCKS], sum = 0;
    const int64_t each = (n + BLOCKS - 1) / BLOCKS;

#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM)
    for (int b = 0; b < BLOCKS; b++) {
        int64_t first = b * each, end = first + each < n ? first + each : n;
        double s = 0;
#pragma omp simd reduction(+ : s)
        for (int64_t i = first; i < end; i++) s += (double)g[i] * g[i];
        part[b] = s;
    }
    for (int b = 0; b < BLOCKS; b++) sum += part[b];
    return sum;
}

double optim_clip_scale(double norm, double limit)
{
    double scale = limit / (norm + 1e-6);
    return limit > 0 && scale < 1 ? scale : 1;
}
