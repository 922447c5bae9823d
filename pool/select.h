/* select.h - which slots a question gets, and how much of each.
 *
 * The cosine of a question embedding s and a key is taken per group of K/groups numbers and averaged over the groups. It
 * is summed in float64 and rounded to float32 once, so that mathematically equal cosines (a key and its multiple) are
 * equal here too; then the lower slot goes first. Weights alpha are the cosines over their sum: no softmax, except as an
 * ablation.
 */
#ifndef CLLAVA_POOL_SELECT_H
#define CLLAVA_POOL_SELECT_H

#include "pool/pool.h"

/* norm (groups) of each part of x (K), at least 1e-12. */
void select_norms(double *norm, const float *x, int K, int groups);
/* Cosine of s and slot n's key. s_norm (groups): select_norms of s. */
float select_cosine(const struct pool *p, int n, const float *s, const double *s_norm);

/* Puts slot n with c into the list of the largest, by falling c and rising slot where two are equal, which holds `have` of at
 * most m. Returns how many it holds now. */
int select_insert(int32_t *idx, float *sim, int have, int m, int32_t n, float c);

/* The at most m slots of r nearest to s, by falling cosine, the lower slot first where two are equal, into idx and sim
 * (m). s_norm (groups) is scratch. Returns how many (fewer than m when r is smaller), or -1 when a cosine is not finite. */
int select_top(const struct pool *p, const float *s, double *s_norm, struct pool_range r, int m, int32_t *idx,
               float *sim);
/* m slots of r at random, by (seed, sample) alone, in the same order as above; returns as above. */
int select_random(const struct pool *p, const float *s, double *s_norm, struct pool_range r, int m, uint64_t seed,
                  uint64_t sample, int32_t *idx, float *sim);

/* The task whose mean key is nearest to s: the mean of its slots' keys, each part brought to unit length first, so that the
 * tasks compete and not their slots. The earlier task where two are equal; -1: no task has slots; -2: a cosine is not finite.
 * s_norm (2 * groups), mean (K): scratch. */
int select_task(const struct pool *p, const float *s, double *s_norm, float *mean);

/* alpha (n) = cosines over their sum; negative ones count 0; uniform where nothing positive is left. */
void select_mix(double *alpha, const float *sim, int n);
/* alpha (n) = softmax of sim / temperature; sim falls. */
void select_softmax(double *alpha, const float *sim, int n, double temperature);

#endif
