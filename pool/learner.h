/* learner.h - stage 2: gradients, moments and steps of the slots that learn, and of one small vector beside them.
 *
 * Every method that learns A and B owns one: Continual LLaVA for the slots of the current task and its row of w, plain
 * LoRA for its one slot, moe_lora for all experts and its router. Masters stay where they are (the pool); here is what only the current task needs, so that memory
 * does not grow with the number of tasks.
 */
#ifndef CLLAVA_POOL_LEARNER_H
#define CLLAVA_POOL_LEARNER_H

#include "pool/optim.h"
#include "pool/pool.h"

struct learner {
    int slots, vector;        // own slots, length of the vector (0: none)
    int64_t a_count, b_count; // numbers in all own A, B
    struct adamw adam;
    double clip;
    double x_rate;  // the vector's learning rate is lr times this; learner_open: 1
    bool b_fixed;   // B stays as it is; learner_open: it learns
    bool x_free;    // the vector takes any value; learner_open: clamped to [0, 1]
    int64_t steps;  // taken in this task
    float *dA, *dB; // (slots, L, R, H), (slots, L, D, R) gradients of the coming step
    double *dx;     // (vector)
    float *gx;      // (vector) the same in float32
    float *mA, *vA, *mB, *vB, *mx, *vx;
};

int learner_open(struct learner *l, const struct pool *p, int slots, int vector, const struct adamw *adam, double clip);
void learner_close(struct learner *l);
void learner_begin_task(struct learner *l); // clears gradients and optimizer state
/* Clips by the norm of everything, steps the own slots `own` of p and the vector x (NULL without one), clears the gradients, bumps versions. CL_ENUM when the norm is not finite: nothing changed. */
int learner_step(struct learner *l, struct pool *p, struct pool_range own, float *x, double lr,
                 struct step_report *out);

/* Moments and step count in /resume: A_m, A_v, B_m, B_v, w_m, w_v. */
int learner_save(const struct learner *l, const struct pool *p, struct ckpt *c);
int learner_load(struct learner *l, const struct pool *p, struct ckpt *c);

#endif
