/* continual_internal.h - the state of continual_llava, for continual_llava.c and continual_grow.c. */
#ifndef CLLAVA_POOL_CONTINUAL_INTERNAL_H
#define CLLAVA_POOL_CONTINUAL_INTERNAL_H

#include "pool/align.h"
#include "pool/history.h"
#include "pool/learner.h"
#include "pool/lines.h"
#include "pool/lw2g.h"
#include "pool/method.h"

struct continual {
    struct method base;
    struct pool pool;
    struct pool init; // initial values for all tasks; N 0: drawn
    int slots_per_task;
    bool context;   // context.enabled
    bool learn_w;   // context.weights: learned
    double w_value; // of every w when it is fixed; negative: not
    enum { MIX_COSINE, MIX_SOFTMAX, MIX_UNIFORM } mix;
    double temperature;
    struct lines lines;
    struct lw2g grow;
    bool trying;   // the current task is not begun: it tries an earlier one's slots
    float *before; // (slots_per_task, L, R, H) A in front of a step; NULL: never needed
    uint64_t seed;
    const char *a_init;
    struct adamw adam; // stage 2
    double clip;
    double decay1, clip1;       // stage 1
    struct align align;         // \ of the current task; taken when the first task
    struct learner learner;     // / begins, so that evaluation does not pay for them
    int current;                // task that learns, -1: none
    struct pool_range own;      // its slots
    struct adapter_slot *train; // (train_slots) what the model holds while it learns
    int *train_index;           // (train_slots) their places in the pool
    int train_slots;
    struct history *history; // (tasks)
    int tasks;               // length of history, share and weight: pool.T
    double *share, *weight;  // (tasks) scratch of one sample
    double *alpha, *s_norm;  // (top_m), (2 * key_groups)
    float *mean;             // (K)
    float *sim;              // (top_m)
    int32_t *idx;            // (top_m)
};

static inline struct continual *continual_of(struct method *m)
{
    return (struct continual *)m;
}

/* Slots that a task uses: its own, or those it shares; empty before it begins. */
static inline struct pool_range continual_slots_of(const struct continual *c, int task)
{
    return pool_of_task(&c->pool, lw2g_home(&c->grow, task));
}

/* The task goes on with slots of an earlier one. */
static inline bool continual_shares(const struct continual *c, int task)
{
    return lw2g_home(&c->grow, task) != task;
}

/* ---- continual_llava.c */

/* Buffers of stage 1 and 2 as long as the own slots; once. */
int continual_learning_buffers(struct continual *c);
/* Which slots the model holds while the task learns: its own, then those that context reaches. */
int continual_choose_train_slots(struct continual *c);
/* The pool's views, in the order of training. After every step: versions have changed. */
void continual_view_train_slots(struct continual *c);
int continual_check_current(const struct continual *c, int task); // CL_EINTERNAL: another one learns

/* ---- continual_grow.c */

/* The learner of a task that shares its slots, or does not. */
int continual_fit_learner(struct continual *c, int task);
/* The step of a task that shares: A alone, across what its slots keep. */
int continual_step_shared(struct continual *c, int task, double lr, struct step_report *out);
/* The hooks of the table (method.h). */
int continual_candidate(struct method *m, int task, int after);
int continual_try_slots(struct method *m, int task, int of);
double continual_tried(struct method *m, int task, int of);
int64_t continual_look_samples(struct method *m, int task);
int continual_look(struct method *m, int task, bool first);
int continual_home(const struct method *m, int task);

#endif
