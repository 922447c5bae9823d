/* select.c - cosines, the best M, their weights. */
#include "pool/select.h"

#include "pool/rng.h"

#include <math.h>
#include <string.h>

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

void select_norms(double *norm, const float *x, int K, int groups)
{
    const int part = K / groups;

    for (int g = 0; g < groups; g++) {
        double n = sqrt(dot(x + g * part, x + g * part, part));
        norm[g] = n < 1e-12 ? 1e-12 : n; // NaN stays NaN
    }
}

static float cosine(const float *key, const double *key_norm, const float *s, const double *s_norm, int K, int groups)
{
    const int part = K / groups;
    double sum = 0;

    for (int g = 0; g < groups; g++) sum += dot(key + g * part, s + g * part, part) / (key_norm[g] * s_norm[g]);
    return (float)(sum / groups);
}

float select_cosine(const struct pool *p, int n, const float *s, const double *s_norm)
{
    return cosine(p->keys + (int64_t)n * p->K, p->key_norm + (int64_t)n * p->groups, s, s_norm, p->K, p->groups);
}

int select_insert(int32_t *idx, float *sim, int have, int m, int32_t n, float c)
{
    int at = have;

    while (at > 0 && (sim[at - 1] < c || (sim[at - 1] == c && idx[at - 1] > n))) at--;
    if (at == m) return have;
    if (have < m) have++;
    for (int i = have - 1; i > at; i--) {
        idx[i] = idx[i - 1];
        sim[i] = sim[i - 1];
    }
    idx[at] = n;
    sim[at] = c;
    return have;
}

int select_top(const struct pool *p, const float *s, double *s_norm, struct pool_range r, int m, int32_t *idx,
               float *sim)
{
    int have = 0;

    select_norms(s_norm, s, p->K, p->groups);
    for (int n = r.first; n < r.end; n++) {
        float c = select_cosine(p, n, s, s_norm);
        if (!isfinite(c)) return -1;
        have = select_insert(idx, sim, have, m, n, c);
    }
    return have;
}

int select_random(const struct pool *p, const float *s, double *s_norm, struct pool_range r, int m, uint64_t seed,
                  uint64_t sample, int32_t *idx, float *sim)
{
    const int room = r.end - r.first, take = m < room ? m : room;

    // Floyd's sample of `take` out of `room` without a list of all: step j adds a draw from 0..j, or j if that is in already
    for (int have = 0, j = room - take; j < room; j++, have++) {
        // task word: the step, so that every (sample, step) has its own counter
        int32_t n = r.first + (int32_t)rng_below(seed, RNG_ROUTE, (uint32_t)have, sample, (uint64_t)j + 1);
        for (int i = 0; i < have; i++)
            if (idx[i] == n) {
                n = r.first + j;
                break;
            }
        idx[have] = n;
    }
    select_norms(s_norm, s, p->K, p->groups);
    for (int i = 0; i < take; i++) { // sorts in place: insertion only moves what is in front of i
        int32_t n = idx[i];
        float c = select_cosine(p, n, s, s_norm);
        if (!isfinite(c)) return -1;
        select_insert(idx, sim, i, take, n, c);
    }
    return take;
}

/* Sum of the keys of r, each part at unit length: as good as their mean for a cosine. */
static void sum_keys(const struct pool *p, struct pool_range r, float *sum)
{
    const int part = p->K / p->groups;

    memset(sum, 0, (size_t)p->K * sizeof *sum);
    for (int n = r.first; n < r.end; n++)
        for (int k = 0; k < p->K; k++)
            sum[k] += (float)(p->keys[(int64_t)n * p->K + k] / p->key_norm[(int64_t)n * p->groups + k / part]);
}

int select_task(const struct pool *p, const float *s, double *s_norm, float *mean)
{
    double *norm = s_norm + p->groups;
    float most = 0;
    int best = -1;

    select_norms(s_norm, s, p->K, p->groups);
    for (int t = 0; t < p->T; t++) {
        struct pool_range r = pool_of_task(p, t);
        if (r.first == r.end) continue;
        sum_keys(p, r, mean);
        select_norms(norm, mean, p->K, p->groups);
        float c = cosine(mean, norm, s, s_norm, p->K, p->groups);
        if (!isfinite(c)) return -2;
        if (best < 0 || c > most) best = t, most = c;
    }
    return best;
}

void select_softmax(double *alpha, const float *sim, int n, double temperature)
{
    double total = 0; // sim falls: the first is the largest

    for (int i = 0; i < n; i++) total += alpha[i] = exp((sim[i] - sim[0]) / temperature);
    for (int i = 0; i < n; i++) alpha[i] /= total;
}

void select_mix(double *alpha, const float *sim, int n)
{
    double total = 0;

    for (int i = 0; i < n; i++) total += sim[i] > 0 ? sim[i] : 0;
    for (int i = 0; i < n; i++) alpha[i] = total > 1e-6 ? (sim[i] > 0 ? sim[i] / total : 0) : 1.0 / n;
}
