/* optim.h - AdamW and clipping: what turns gradients into steps.
 *
 * The arithmetic is torch.optim.AdamW's, operation by operation in float32, so that a step agrees with PyTorch to the
 * last bits. Norms are summed in float64 in blocks of fixed borders: the same bits on any number of threads.
 */
#ifndef CLLAVA_POOL_OPTIM_H
#define CLLAVA_POOL_OPTIM_H

#include <stdint.h>

struct adamw {
    double beta1, beta2, eps; // e.g. 0.9, 0.999, 1e-8
    double weight_decay;      // decoupled: p *= 1 - lr * weight_decay
};

/* Step number t (from 1) of n parameters p with gradients g * scale; moments m, v (n) are updated. */
void optim_adamw(const struct adamw *o, float *p, float *m, float *v, const float *g, double scale, int64_t n,
                 int64_t t, double lr);

/* Sum of squares of n gradients. */
double optim_sum_squares(const float *g, int64_t n);
/* What gradients of this norm are multiplied by so that the norm is at most limit (torch's clip_grad_norm_); limit <= 0:
 * no clipping. */
double optim_clip_scale(double norm, double limit);

#endif
