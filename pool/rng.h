/* rng.h - random numbers from counters.
 *
 * A number is a function of (seed, purpose, task, index) and of nothing else: there is no state to save, so a resumed run
 * draws what the uninterrupted one would have drawn, in any order and on any rank. The function is Philox4x32-10 (Salmon
 * et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): ten rounds of multiplications over a 128-bit counter
 * under a 64-bit key. The key is the seed; the counter's words are index (low, high), task and purpose.
 *
 * Purposes keep draws apart that would else share counters: a new random part of the program takes a new number here.
 */
#ifndef CLLAVA_POOL_RNG_H
#define CLLAVA_POOL_RNG_H

#include <stdint.h>

enum rng_purpose {
    RNG_KEYS = 1,         // initial keys of a task's slots
    RNG_A = 2,            // initial A of slots and LoRAs
    RNG_STAGE1_ORDER = 3, // order of records, per epoch
    RNG_STAGE2_ORDER = 4,
    RNG_REPLAY_KEEP = 5,          // which records of a finished task are kept
    RNG_REPLAY_MIX = 6,           // which of them join a step
    RNG_ROUTE = 7,                // ROUTE_RANDOM: which slots a sample gets
    RNG_SENSE = 8,                // which records of a learned task are looked at one by one
    RNG_LOSSES = 9,               // which of its records a learned task is measured by
    RNG_PROMPT = 10,              // initial rows of prompts
    RNG_SELF_GUIDE_SEEDS = 16,    // which questions of a task are kept
    RNG_SELF_GUIDE_PICTURES = 17, // which pictures of a new task they are asked on
    RNG_BOOTSTRAP = 32            // which scores a resample of the bootstrap holds
};

/* 64 random bits. */
uint64_t rng_at(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index);
/* Uniform in [0, 1), 53 bits. */
double rng_uniform(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index);
/* N(0, 1) by Box and Muller from one 128-bit block. */
double rng_normal(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index);
/* Uniform in [0, n), n > 0. (Bias below n / 2^64.) */
uint64_t rng_below(uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t index, uint64_t n);

/* x[i] = draw number first + i, i in [0, n): uniform in [-bound, bound), or N(0, deviation^2). */
void rng_fill_uniform(float *x, int64_t n, double bound, uint64_t seed, enum rng_purpose purpose, uint32_t task,
                      uint64_t first);
void rng_fill_normal(float *x, int64_t n, double deviation, uint64_t seed, enum rng_purpose purpose, uint32_t task,
                     uint64_t first);

/* order := a random permutation of 0 .. n-1, another one for each epoch. n below 2^40. */
void rng_permutation(int64_t *order, int64_t n, uint64_t seed, enum rng_purpose purpose, uint32_t task, uint64_t epoch);

/* The block function itself (known answers exist for it): out (4) of counter (4) and key (2). */
void rng_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

#endif
