/* context.h - from selected slots to one coefficient per slot, and back to w.
 *
 * The increment of a sample is sum over m of c[m] B_m A_m with c = scale * (intrinsic + context):
 *
 *     intrinsic[n] = alpha of n where n is selected, else 0            (learns B, A)
 *     context[m]   = sum over selected n of alpha_n w[task(n), task(m)] use[m]   for task(m) < task(n)   (learns w)
 *
 * Each selected slot brings what its own task learned to take from earlier tasks, so no task id is needed. share[t], the
 * selected weight that belongs to task t, is all that context depends on besides w and use.
 */
#ifndef CLLAVA_POOL_CONTEXT_H
#define CLLAVA_POOL_CONTEXT_H

#include "pool/pool.h"

/* intrinsic (N) and context (N) of one sample from its n selected slots idx and their weights alpha. share, weight (T):
 * scratch. enabled false: context is 0. */
void context_coefficients(const struct pool *p, const int32_t *idx, const double *alpha, int n, bool enabled,
                          double *share, double *weight, double *intrinsic, double *context);

/* dw (T) += gradient of row `task` of w from one sample: share_of_task (its selected weight on the task's slots) and the
 * gradients dcoef (count) of the coefficients of pool slots slot (count). */
void context_w_gradient(const struct pool *p, int task, double share_of_task, const int *slot, const double *dcoef,
                        int count, double *dw);

#endif
