/* kpig.h - which kept records are replayed, by how much the key parts of their questions tell the model ("Don't Half-listen",
 * arXiv 2403.10056): those first that it half listens to, whose gain is lowest.
 */
#ifndef CLLAVA_POOL_KPIG_H
#define CLLAVA_POOL_KPIG_H

#include <stdint.h>

/* Of n records those with the lowest gains: round(share x n) of them, one at least where share is above 0; the earlier one
 * among equals. chosen (n): their numbers, rising; *k: how many. CL_ENOMEM; CL_ENUM: a gain is no number. */
int kpig_choose(int64_t *chosen, int64_t *k, const double *gain, int64_t n, double share);

#endif
