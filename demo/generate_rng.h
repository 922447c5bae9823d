/* generate_rng.h - the random numbers of the embedded streams: splitmix64, so that every machine draws the same pictures.
 *
 * Each item has a generator of its own, seeded by (seed, task, split, index): item 7 is the same whether 10 or 1000 items
 * are asked for. No floating point is drawn: libraries round differently, and a pixel would notice.
 */
#ifndef CLLAVA_DEMO_GENERATE_RNG_H
#define CLLAVA_DEMO_GENERATE_RNG_H

#include <stdint.h>

struct generate_rng {
    uint64_t state;
};

static inline uint64_t generate_rng_next(struct generate_rng *rng)
{
    uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Mixes one more word into the seed. */
static inline void generate_rng_mix(struct generate_rng *rng, uint64_t word)
{
    rng->state = generate_rng_next(rng) ^ (word * UINT64_C(0xd6e8feb86659fd93));
}

/* low .. high, both included; high - low < 2^32. */
static inline int generate_rng_range(struct generate_rng *rng, int low, int high)
{
    uint64_t width = (uint64_t)((int64_t)high - low) + 1;

    return (int)(low + (int64_t)(((generate_rng_next(rng) >> 32) * width) >> 32));
}

/* order[0..n) := a permutation of 0..n-1. */
static inline void generate_rng_permute(struct generate_rng *rng, int *order, int n)
{
    for (int i = 0; i < n; i++) {
        int j = generate_rng_range(rng, 0, i);

        order[i] = order[j];
        order[j] = i;
    }
}

#endif
