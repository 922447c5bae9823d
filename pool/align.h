/* align.h - stage 1: the keys of a task move towards the questions that select them.
 *
 * Loss of n questions: - mean over questions of the mean cosine to their selected keys (own slots only). Nothing but the
 * own keys learns; the selection itself is not differentiated. One optimizer state lives as long as the task.
 */
#ifndef CLLAVA_POOL_ALIGN_H
#define CLLAVA_POOL_ALIGN_H

#include "pool/optim.h"
#include "pool/pool.h"

struct align {
    int slots, K; // own slots, width of a key
    struct adamw adam;
    double clip;
    int64_t steps;  // taken in this task
    double *sum;    // (slots, K) gradient
    float *grad;    // (slots, K) the same in float32, as the optimizer wants it
    float *m, *v;   // (slots, K) moments
    double *s_norm; // (groups) scratch
    int32_t *idx;   // (top_m) scratch
    float *sim;     // (top_m) scratch
};

int align_open(struct align *a, const struct pool *p, int slots, double weight_decay, double clip);
void align_close(struct align *a);
void align_begin_task(struct align *a); // clears the optimizer state
/* One step on n questions, embedding[i] (K). out: loss and gradient norm before clipping. CL_ENUM: not finite, nothing
 * changed. */
int align_step(struct align *a, struct pool *p, struct pool_range own, const float *const *embedding, int n, double lr,
               struct step_report *out);
/* sum (K) += factor * gradient of cos(s, key of slot n) with respect to the key. */
void align_cosine_gradient(double *sum, const struct pool *p, int n, const float *s, const double *s_norm,
                           double factor);

/* Moments and step count in /resume. */
int align_save(const struct align *a, struct ckpt *c);
int align_load(struct align *a, struct ckpt *c);

#endif
