/* optim.c - AdamW and clipping. */
#include "pool/optim.h"

#include <math.h>

enum { BLOCKS = 64, PARALLEL_FROM = 1 << 16 };

/* What a step has for all of its numbers. */
struct step {
    float b1, b2, c1, c2, fix1, fix2, keep, rate, eps, scale;
};

/* Compiled for several instruction sets, chosen when the program starts. Without contraction (CMakeLists.txt) each of them rounds
 * alike: the same bits on every processor. Threads call it, for a loop that OpenMP takes apart would be compiled once only. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
static void
adamw_part(const struct step *restrict o, float *restrict p, float *restrict m, float *restrict v,
           const float *restrict g, int64_t n)
{
    const struct step s = *o;

    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * s.scale;
        m[i] = s.b1 * m[i] + s.c1 * d;
        v[i] = s.b2 * v[i] + s.c2 * d * d;
        p[i] *= s.keep;
        p[i] -= s.rate * (m[i] / s.fix1) / (sqrtf(v[i] / s.fix2) + s.eps);
    }
}

void optim_adamw(const struct adamw *o, float *p, float *m, float *v, const float *g, double scale, int64_t n,
                 int64_t t, double lr)
{
    // Each scalar is rounded to float32 where PyTorch rounds it: when it meets a tensor.
    const struct step s = {(float)o->beta1,
                           (float)o->beta2,
                           (float)(1 - o->beta1),
                           (float)(1 - o->beta2),
                           (float)(1 - pow(o->beta1, (double)t)),
                           (float)(1 - pow(o->beta2, (double)t)),
                           (float)(1 - lr * o->weight_decay),
                           (float)lr,
                           (float)o->eps,
                           (float)scale};
    const int64_t each = (n + BLOCKS - 1) / BLOCKS;

#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM)
    for (int b = 0; b < BLOCKS; b++) {
        const int64_t first = b * each, end = first + each < n ? first + each : n;
        if (first < end) adamw_part(&s, p + first, m + first, v + first, g + first, end - first);
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
