/* context.c - coefficients of selected slots and of the tasks behind them. */
#include "pool/context.h"

#include <string.h>

void context_coefficients(const struct pool *p, const int32_t *idx, const double *alpha, int n, bool enabled,
                          double *share, double *weight, double *intrinsic, double *context)
{
    memset(intrinsic, 0, (size_t)p->N * sizeof *intrinsic);
    memset(context, 0, (size_t)p->N * sizeof *context);
    memset(share, 0, (size_t)p->T * sizeof *share);
    memset(weight, 0, (size_t)p->T * sizeof *weight);
    for (int i = 0; i < n; i++) {
        intrinsic[idx[i]] = alpha[i];
        share[p->task[idx[i]]] += alpha[i];
    }
    if (!enabled) return;
    for (int t = 1; t < p->T; t++)
        for (int l = 0; l < t; l++) weight[l] += share[t] * p->w[(int64_t)t * p->T + l];
    for (int m = 0; m < p->N; m++) context[m] = weight[p->task[m]] * p->use[m];
}

void context_w_gradient(const struct pool *p, int task, double share_of_task, const int *slot, const double *dcoef,
                        int count, double *dw)
{
    for (int i = 0; i < count; i++) {
        int m = slot[i], l = p->task[m];
        if (l < task) dw[l] += p->scale * share_of_task * p->use[m] * dcoef[i];
    }
}
