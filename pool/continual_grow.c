/* continual_grow.c - whether a task of continual_llava gets slots of its own or goes on with an earlier one's (pool/lw2g.h): trying
 * the earlier ones, what a learned task leaves to compare with, and the steps of a task that shares.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/continual_internal.h"

#include <string.h>

int continual_fit_learner(struct continual *c, int task)
{
    c->learner.b_fixed = continual_shares(c, task);
    if (!continual_shares(c, task) || c->before) return CL_OK;
    c->before = mem_new((size_t)c->learner.a_count, sizeof *c->before);
    return c->before ? CL_OK : err_set(CL_ENOMEM, "no memory for a copy of %d slots", c->slots_per_task);
}

/* Only A moves, across what its slots keep: gradients are projected, so that norm, clipping and moments are those of what may
 * move, and so is the step, since AdamW divides number by number. */
int continual_step_shared(struct continual *c, int task, double lr, struct step_report *out)
{
    struct learner *l = &c->learner;
    const int of = lw2g_home(&c->grow, task);
    float *A = c->pool.A + c->own.first * pool_a_size(&c->pool);
    int rc;

    memcpy(c->before, A, (size_t)l->a_count * sizeof *A);
    memset(l->dB, 0, (size_t)l->b_count * sizeof *l->dB);
    lw2g_project(&c->grow, of, -1, l->dA, l->slots, c->pool.R);
    TRY(learner_step(l, &c->pool, c->own, NULL, lr, out));
    for (int64_t i = 0; i < l->a_count; i++) A[i] -= c->before[i];
    lw2g_project(&c->grow, of, -1, A, l->slots, c->pool.R);
    for (int64_t i = 0; i < l->a_count; i++) A[i] += c->before[i];
done:
    return rc;
}

int continual_candidate(struct method *m, int task, int after)
{
    const struct continual *c = continual_of(m);

    for (int t = after + 1; c->grow.threshold > 0 && t < task; t++) {
        const struct pool_range r = pool_of_task(&c->pool, t);
        if (r.first < r.end) return t;
    }
    return -1;
}

int continual_try_slots(struct method *m, int task, int of)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(continual_learning_buffers(c));
    c->grow.home[task] = of;
    c->own = continual_slots_of(c, task);
    c->current = task, c->trying = true;
    TRY(continual_choose_train_slots(c));
    continual_view_train_slots(c);
    lw2g_try(&c->grow);
done:
    return rc;
}

double continual_tried(struct method *m, int task, int of)
{
    struct continual *c = continual_of(m);

    c->grow.home[task] = -1;
    c->current = -1, c->trying = false;
    return lw2g_tried(&c->grow, task, of);
}

/* Nothing comes after the last task that could share its slots. */
int64_t continual_look_samples(struct method *m, int task)
{
    const struct continual *c = continual_of(m);

    if (c->grow.threshold <= 0 || (!c->trying && task + 1 >= c->pool.T)) return 0;
    return c->grow.samples;
}

int continual_look(struct method *m, int task, bool first)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(continual_check_current(c, task));
    if (c->trying) {
        TRY(lw2g_compare(&c->grow, lw2g_home(&c->grow, task), c->learner.dA, c->slots_per_task, c->pool.R));
    } else {
        if (first) TRY(lw2g_learn_begin(&c->grow, task));
        TRY(lw2g_learn(&c->grow, task, c->learner.dA, c->slots_per_task, c->pool.R));
    }
done:
    return rc;
}

int continual_home(const struct method *m, int task)
{
    return lw2g_home(&((const struct continual *)m)->grow, task);
}
