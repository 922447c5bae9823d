/* kpig.h - what the key parts of questions tell the model ("Don't Half-listen", arXiv 2403.10056).
 *
 * Which kept records are replayed: those first that the model half listens to, whose gain is lowest. And how it is trained: with
 * kpig.weight the loss gets a term that keeps the answers to a question apart from those to the question without its key parts
 * (struct listening of model/lvlm.h); it stands beside whatever a method learns.
 */
#ifndef CLLAVA_POOL_KPIG_H
#define CLLAVA_POOL_KPIG_H

#include "pool/method.h"

/* Of n records those with the lowest gains: round(share x n) of them, one at least where share is above 0; the earlier one
 * among equals. chosen (n): their numbers, rising; *k: how many. CL_ENOMEM; CL_ENUM: a gain is no number. */
int kpig_choose(int64_t *chosen, int64_t *k, const double *gain, int64_t n, double share);

/* Whether the configuration asks for the term. */
bool kpig_listens(const struct config *cfg);
/* CL_ECONFIG: it does, but the method learns nothing. */
int kpig_check(const struct config *cfg, const struct method_ops *ops);

#endif
