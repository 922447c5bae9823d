/* rng.c - Philox4x32-10 and the distributions made from it. */
#include "pool/rng.h"

#include <math.h>

enum { EPOCH_SHIFT = 40 }; // a permutation of epoch e draws indices e << 40 ..

void rng_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3], k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53 * a, q = (uint64_t)0xCD9E8D57 * c;
        uint32_t na = (uint32_t)(q >> 32) ^ b ^ k0, nc = (uint32_t)(p >> 32) ^ d ^ k1;
        b = (uint32_t)q;
        d = (uint32_t)p;
        a = na;
        c = nc;
        k0 += 0x9E3779B9; // Weyl sequences: golden ratio, sqrt(3) - 1
        k1 += 0xBB67AE85;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* The two 64-bit halves of one block. */
static void draw(uint64_t half[2], uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index)
{
    uint32_t out[4];
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), task, (uint32_t)purpose};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    rng_philox(out, counter, key);
    half[0] = (uint64_t)out[1] << 32 | out[0];
    half[1] = (uint64_t)out[3] << 32 | out[2];
}

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

uint64_t rng_at(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index)
{
    uint64_t half[2];
    draw(half, seed, purpose, task, index);
    return half[0];
}

double rng_uniform(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index)
{
    return unit(rng_at(seed, purpose, task, index));
}

double rng_normal(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index)
{
    uint64_t half[2];
    draw(half, seed, purpose, task, index);
    return sqrt(-2 * log1p(-unit(half[0]))) *
           cos(2 * M_PI * unit(half[1])); // 1 - u is in (0, 1]: the logarithm is finite
}

uint64_t rng_below(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index, uint64_t n)
{
    return (uint64_t)((unsigned __int128)rng_at(seed, purpose, task, index) * n >> 64);
}

void rng_fill_uniform(float *x, int64_t n, double bound, uint64_t seed, enum rng_purpose purpose, uint32_t task,
                      uint64_t first)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(bound * (2 * rng_uniform(seed, purpose, task, first + (uint64_t)i) - 1));
}

void rng_fill_normal(float *x, int64_t n, double deviation, uint64_t seed, enum rng_purpose purpose, uint32_t task,
                     uint64_t first)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(deviation * rng_normal(seed, purpose, task, first + (uint64_t)i));
}

void rng_permutation(int64_t *order, int64_t n, uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t epoch)
{
    for (int64_t i = 0; i < n; i++) { // Fisher and Yates, building the permutation from the front
        int64_t j = (int64_t)rng_below(seed, purpose, task, epoch << EPOCH_SHIFT | (uint64_t)i, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
