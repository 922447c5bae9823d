/* lora.c - one slot for everything, or one for each task. */
#include "pool/lora.h"

#include "io/err.h"
#include "pool/pool_file.h"

#include <string.h>

static struct lora *self(struct method *m)
{
    return (struct lora *)m;
}

int lora_setup_pool(struct lora *l, const struct method_ops *ops, const struct config *cfg,
                    const struct method_shape *shape, int slots, int rank, int top_m, int vector)
{
    const double scale = cfg->lora.alpha > 0 ? cfg->lora.alpha / rank : 1;
    int rc;

    l->base.ops = ops;
    l->adam = (struct adamw){cfg->stage2.beta1, cfg->stage2.beta2, cfg->stage2.eps, cfg->stage2.weight_decay};
    l->clip = cfg->stage2.clip;
    l->seed = (uint64_t)cfg->seed;
    l->a_init = !strcmp(cfg->lora.a_init, "normal") ? "normal" : "kaiming";
    l->current = -1;
    l->slots = slots, l->vector = vector;
    TRY(pool_open(&l->pool, shape, rank, top_m, 1, scale));
done:
    return rc;
}

int lora_setup(struct lora *l, const struct method_ops *ops, const struct config *cfg, const struct method_shape *shape)
{
    struct method_shape keyless = *shape;

    keyless.K = 0;
    return lora_setup_pool(l, ops, cfg, &keyless, 1, cfg->lora.rank, 1, 0);
}

void lora_teardown(struct lora *l)
{
    learner_close(&l->learner);
    pool_close(&l->pool);
}

void lora_size(const struct config *cfg, int tasks, struct method_size *out)
{
    (void)tasks;
    *out = (struct method_size){1, 1, cfg->lora.rank, 1, 0};
}

static int learning_buffers(struct lora *l)
{
    return l->learner.dA ? CL_OK : learner_open(&l->learner, &l->pool, l->slots, l->vector, &l->adam, l->clip);
}

int lora_begin_task(struct method *m, int task, int64_t n)
{
    struct lora *l = self(m);
    int rc;

    (void)n;
    if (task < 0 || task >= l->pool.T || l->current >= 0)
        FAIL(CL_EINTERNAL, "task %d of %d cannot begin while task %d learns", task, l->pool.T, l->current);
    TRY(learning_buffers(l));
    if (l->per_task || !l->pool.N) {
        TRY(pool_grow(&l->pool, l->per_task ? task : 0, l->slots));
        l->own = (struct pool_range){l->pool.N - l->slots, l->pool.N};
        pool_draw_a(&l->pool, l->own, l->a_init, l->seed);
        for (int i = l->own.first; i < l->own.end; i++) l->pool.use[i] = 1.0 / l->slots;
    }
    learner_begin_task(&l->learner);
    l->current = task;
done:
    return rc;
}

int lora_check_current(const struct lora *l, int task)
{
    if (task == l->current && task >= 0) return CL_OK;
    return err_set(CL_EINTERNAL, "task %d is not the one that learns (%d)", task, l->current);
}

int lora_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    struct lora *l = self(m);
    int rc = CL_OK;

    if (mode == ROUTE_TRAIN) {
        TRY(lora_check_current(l, task));
        *set = (struct adapters){
            .slots = l->slots, .learned = l->slots, .rank = l->pool.R, .slot = l->pool.slot + l->own.first};
    } else
        *set = (struct adapters){.slots = l->pool.N, .rank = l->pool.R, .slot = l->pool.slot};
done:
    return rc;
}

int lora_check_room(const struct lora *l, int n, int slots, const struct routing *out)
{
    if (n <= out->room && slots <= out->max_slots && l->pool.N <= out->max_slots) return CL_OK;
    return err_set(CL_EINTERNAL, "routing of %d samples to %d of %d slots has room for %d, %d", n, slots, l->pool.N,
                   out->room, out->max_slots);
}

void lora_route_row(const struct lora *l, struct routing *out, int s, struct pool_range active, int at)
{
    const int n = active.end - active.first;

    for (int i = 0; i < out->M; i++) out->selected[(int64_t)s * out->M + i] = i < n ? active.first + i : -1;
    for (int i = 0; i < out->slots; i++) out->coef[(int64_t)s * out->slots + i] = 0;
    for (int i = 0; i < out->N; i++) {
        bool on = i >= active.first && i < active.end;
        out->intrinsic[(int64_t)s * out->N + i] = on;
        out->context[(int64_t)s * out->N + i] = 0;
        if (on) out->coef[(int64_t)s * out->slots + i - at] = (float)l->pool.scale;
    }
}

int lora_route(struct method *m, enum route_mode mode, int task, const float *const *embedding, const uint64_t *sample,
               int n, struct routing *out)
{
    struct lora *l = self(m);
    const int N = l->pool.N;
    int rc = CL_OK;

    (void)sample; // every sample gets the same
    if (mode == ROUTE_TRAIN) TRY(lora_check_current(l, task));
    TRY(lora_check_room(l, n, N, out));
    out->n = n, out->query = embedding;
    out->N = out->slots = N;
    for (int s = 0; s < n; s++) lora_route_row(l, out, s, (struct pool_range){0, N}, 0);
done:
    return rc;
}

void lora_gradients(struct method *m, float **dA, float **dB)
{
    *dA = self(m)->learner.dA;
    *dB = self(m)->learner.dB;
}

int lora_step(struct method *m, int task, double lr, struct step_report *out)
{
    struct lora *l = self(m);
    int rc;

    TRY(lora_check_current(l, task));
    TRY(learner_step(&l->learner, &l->pool, l->own, NULL, lr, out));
done:
    return rc;
}

int lora_end_task(struct method *m, int task)
{
    struct lora *l = self(m);
    int rc;

    TRY(lora_check_current(l, task));
    l->current = -1;
done:
    return rc;
}

int lora_save_learning(const struct lora *l, struct ckpt *c)
{
    int rc;

    if (l->current < 0) FAIL(CL_EINTERNAL, "no task is being learned that could be resumed");
    TRY(learner_save(&l->learner, &l->pool, c));
    TRY(ckpt_attr_i64(c, "/resume", "learning_task", l->current));
done:
    return rc;
}

int lora_save(struct method *m, struct ckpt *c, bool resume)
{
    struct lora *l = self(m);
    int rc;

    TRY(pool_file_save(&l->pool, c, l->base.ops->name, false));
    if (resume) TRY(lora_save_learning(l, c));
done:
    return rc;
}

/* The slots of the file are this method's: as many as learn, or one for each of the first tasks. */
static int check_slots(const struct lora *l, struct ckpt *c)
{
    const struct pool *p = &l->pool;

    if (!l->per_task && p->N && p->N != l->slots)
        return err_set(CL_EMISMATCH, "%s: /pool has %d slots (expected %d of method %s)", ckpt_path(c), p->N, l->slots,
                       l->base.ops->name);
    for (int n = 0; l->per_task && n < p->N; n++)
        if (p->task[n] != n)
            return err_set(CL_EFORMAT, "%s: slot %d of /pool belongs to task %d (expected one slot for each task)",
                           ckpt_path(c), n, p->task[n]);
    return CL_OK;
}

int lora_load(struct method *m, struct ckpt *c, bool resume)
{
    struct lora *l = self(m);
    int rc;

    TRY(pool_file_load(&l->pool, c, l->base.ops->name, false, true));
    TRY(check_slots(l, c));
    l->own = (struct pool_range){l->pool.N ? l->pool.N - l->slots : 0, l->pool.N};
    if (resume) TRY(lora_load_learning(l, c));
done:
    return rc;
}

int lora_load_learning(struct lora *l, struct ckpt *c)
{
    int64_t task;
    int rc;

    TRY(ckpt_get_i64(c, "/resume", "learning_task", &task));
    if (task < 0 || task >= l->pool.T || !l->pool.N || (l->per_task && task != l->own.first))
        FAIL(CL_EFORMAT, "%s: /resume learning_task is %lld of %d with %d slots", ckpt_path(c), (long long)task,
             l->pool.T, l->pool.N);
    TRY(learning_buffers(l));
    TRY(learner_load(&l->learner, &l->pool, c));
    l->current = (int)task;
done:
    return rc;
}

int64_t lora_parameters(const struct method *m)
{
    return pool_parameters(&((const struct lora *)m)->pool);
}

int lora_slot_task(const struct method *m, int slot)
{
    (void)m, (void)slot;
    return -1;
}
