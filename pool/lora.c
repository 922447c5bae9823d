/* lora.c - one slot for everything. */
#include "pool/lora.h"

#include "io/err.h"
#include "pool/pool_file.h"

#include <string.h>

static struct lora *self(struct method *m)
{
    return (struct lora *)m;
}

int lora_setup(struct lora *l, const struct method_ops *ops, const struct config *cfg, const struct method_shape *shape)
{
    const double scale = cfg->lora.alpha > 0 ? cfg->lora.alpha / cfg->lora.rank : 1;
    struct method_shape keyless = *shape;
    int rc;

    keyless.K = 0;
    l->base.ops = ops;
    l->adam = (struct adamw){cfg->stage2.beta1, cfg->stage2.beta2, cfg->stage2.eps, cfg->stage2.weight_decay};
    l->clip = cfg->stage2.clip;
    l->seed = (uint64_t)cfg->seed;
    l->a_init = !strcmp(cfg->lora.a_init, "normal") ? "normal" : "kaiming";
    l->current = -1;
    TRY(pool_open(&l->pool, &keyless, cfg->lora.rank, 1, 1, scale));
done:
    return rc;
}

void lora_teardown(struct lora *l)
{
    learner_close(&l->learner);
    pool_close(&l->pool);
}

static struct pool_range whole(const struct lora *l)
{
    return (struct pool_range){0, l->pool.N};
}

static int learning_buffers(struct lora *l)
{
    return l->learner.dA ? CL_OK : learner_open(&l->learner, &l->pool, 1, 0, &l->adam, l->clip);
}

int lora_begin_task(struct method *m, int task, int64_t n)
{
    struct lora *l = self(m);
    int rc;

    (void)n;
    if (task < 0 || task >= l->pool.T || l->current >= 0)
        FAIL(CL_EINTERNAL, "task %d of %d cannot begin while task %d learns", task, l->pool.T, l->current);
    TRY(learning_buffers(l));
    if (!l->pool.N) {
        TRY(pool_grow(&l->pool, 0, 1));
        pool_draw_a(&l->pool, whole(l), l->a_init, l->seed);
        l->pool.use[0] = 1;
    }
    learner_begin_task(&l->learner);
    l->current = task;
done:
    return rc;
}

static int check_current(const struct lora *l, int task)
{
    if (task == l->current && task >= 0) return CL_OK;
    return err_set(CL_EINTERNAL, "task %d is not the one that learns (%d)", task, l->current);
}

int lora_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    struct lora *l = self(m);
    int rc = CL_OK;

    if (mode == ROUTE_TRAIN) TRY(check_current(l, task));
    *set = (struct adapters){l->pool.N, mode == ROUTE_TRAIN, l->pool.R, l->pool.slot, NULL};
done:
    return rc;
}

int lora_route(struct method *m, enum route_mode mode, int task, const float *const *embedding, const uint64_t *sample,
               int n, struct routing *out)
{
    struct lora *l = self(m);
    int rc = CL_OK;

    (void)embedding, (void)sample; // every sample gets the same
    if (mode == ROUTE_TRAIN) TRY(check_current(l, task));
    if (n > out->room || l->pool.N > out->max_slots)
        FAIL(CL_EINTERNAL, "routing of %d samples to %d slots has room for %d, %d", n, l->pool.N, out->room,
             out->max_slots);
    out->n = n;
    out->N = out->slots = l->pool.N;
    for (int64_t i = 0; i < (int64_t)n * out->M; i++) out->selected[i] = i % out->M || !l->pool.N ? -1 : 0;
    for (int64_t i = 0; i < (int64_t)n * l->pool.N; i++) {
        out->coef[i] = (float)l->pool.scale;
        out->intrinsic[i] = 1;
        out->context[i] = 0;
    }
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

    TRY(check_current(l, task));
    TRY(learner_step(&l->learner, &l->pool, whole(l), NULL, lr, out));
done:
    return rc;
}

int lora_end_task(struct method *m, int task)
{
    struct lora *l = self(m);
    int rc;

    TRY(check_current(l, task));
    l->current = -1;
done:
    return rc;
}

int lora_save(struct method *m, struct ckpt *c, bool resume)
{
    struct lora *l = self(m);
    int rc;

    TRY(pool_file_save(&l->pool, c, l->base.ops->name, false));
    if (!resume) goto done;
    if (l->current < 0) FAIL(CL_EINTERNAL, "no task is being learned that could be resumed");
    TRY(learner_save(&l->learner, &l->pool, c));
    TRY(ckpt_attr_i64(c, "/resume", "learning_task", l->current));
done:
    return rc;
}

int lora_load(struct method *m, struct ckpt *c, bool resume)
{
    struct lora *l = self(m);
    int64_t task;
    int rc;

    TRY(pool_file_load(&l->pool, c, l->base.ops->name, false, true));
    if (l->pool.N > 1) FAIL(CL_EFORMAT, "%s: /pool has %d slots (expected one LoRA)", ckpt_path(c), l->pool.N);
    if (!resume) goto done;
    TRY(ckpt_get_i64(c, "/resume", "learning_task", &task));
    if (task < 0 || task >= l->pool.T || !l->pool.N)
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
