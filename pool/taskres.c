/* taskres.c - see taskres.h. */
#include "pool/taskres.h"

#include "io/err.h"
#include "model/tensor.h"
#include "pool/pool.h"

#include <math.h>
#include <string.h>

struct taskres {
    int tasks, begun, current; // of the stream; that have a residual; that learns (the last begun)
    int64_t V;
    double scale, clip;
    struct adamw adam;
    float *r;                   // (tasks, V)
    float *m, *v, *gradient;    // (V) of the task that learns
    int64_t steps;              // taken in this task
    struct adapter_slot *own;   // (tasks) views of r
    struct adapter_slot *slots; // (room) a method's, and then some of them
    int room;
};

int taskres_check(const struct config *cfg, const struct method_ops *ops)
{
    if (cfg->taskres.scale == 0 || (ops->routes && ops->owns)) return CL_OK;
    return config_error(cfg, "taskres.scale",
                        "method %s has no slots of tasks that questions are routed to, so no task's residual can be "
                        "chosen; hint: leave taskres out",
                        ops->name);
}

double taskres_rate(const struct config *cfg)
{
    return cfg->taskres.lr > 0 ? cfg->taskres.lr : cfg->stage2.lr;
}

int taskres_open(struct taskres **out, const struct config *cfg, int64_t V)
{
    int rc;
    const size_t tasks = (size_t)cfg->stream.tasks, n = (size_t)V;
    struct taskres *r = NULL;

    *out = NULL;
    if (cfg->taskres.scale == 0) return CL_OK;
    if (!(r = mem_new(1, sizeof *r))) FAIL(CL_ENOMEM, "no memory for the residuals");
    *r = (struct taskres){.tasks = cfg->stream.tasks, .current = -1, .V = V, .scale = cfg->taskres.scale};
    r->clip = cfg->stage2.clip;
    r->adam = (struct adamw){cfg->stage2.beta1, cfg->stage2.beta2, cfg->stage2.eps, cfg->stage2.weight_decay};
    r->r = mem_new(tasks * n, sizeof *r->r), r->own = mem_new(tasks, sizeof *r->own);
    r->m = mem_new(n, sizeof *r->m), r->v = mem_new(n, sizeof *r->v);
    r->gradient = mem_new(n, sizeof *r->gradient);
    if (!r->r || !r->own || !r->m || !r->v || !r->gradient)
        FAIL(CL_ENOMEM, "no memory for the residuals of %zu tasks over %zu ids", tasks, n);
    for (int t = 0; t < r->tasks; t++)
        r->own[t] = (struct adapter_slot){.A = r->r + t * V, .version = pool_new_version()};
    *out = r;
    rc = CL_OK;
done:
    if (rc) taskres_close(r);
    return rc;
}

void taskres_close(struct taskres *r)
{
    if (!r) return;
    mem_free(r->r), mem_free(r->own), mem_free(r->m), mem_free(r->v), mem_free(r->gradient), mem_free(r->slots);
    mem_free(r);
}

void taskres_begin_task(struct taskres *r, int task)
{
    const size_t bytes = (size_t)r->V * sizeof(float);

    memset(r->r + task * r->V, 0, bytes), memset(r->m, 0, bytes), memset(r->v, 0, bytes);
    r->own[task].version = pool_new_version();
    r->current = task, r->begun = task + 1, r->steps = 0;
}

/* ---- what the model sees */

static int shown(const struct taskres *r, enum route_mode mode)
{
    return mode == ROUTE_TRAIN ? 1 : r->tasks;
}

int taskres_adapters(struct taskres *r, enum route_mode mode, struct adapters *set)
{
    int rc = CL_OK;
    const int n = shown(r, mode), all = set->slots + n;

    if (!set->slots) return CL_OK;
    if (mode == ROUTE_TRAIN && r->current < 0) FAIL(CL_EINTERNAL, "no task's residual is being learned");
    if (all > r->room) {
        mem_free(r->slots), r->room = 0;
        if (!(r->slots = mem_new((size_t)all, sizeof *r->slots))) FAIL(CL_ENOMEM, "no memory for %d slots", all);
        r->room = all;
    }
    memcpy(r->slots, set->slot, (size_t)set->slots * sizeof *r->slots);
    memcpy(r->slots + set->slots, mode == ROUTE_TRAIN ? r->own + r->current : r->own, (size_t)n * sizeof *r->slots);
    set->slot = r->slots, set->slots = all, set->residuals = n;
done:
    return rc;
}

/* coef (tasks) of a sample: the weights of its slots, by the task that owns them. */
static void weigh_sample(const struct taskres *r, const struct method *m, const struct routing *out, int s, float *coef)
{
    for (int t = 0; t < r->tasks; t++) {
        double weight = 0;
        for (int n = 0; n < out->N; n++)
            if (m->ops->slot_task(m, n) == t) weight += out->intrinsic[(int64_t)s * out->N + n];
        coef[t] = (float)(r->scale * weight);
    }
}

void taskres_weigh(const struct taskres *r, enum route_mode mode, const struct method *m, struct routing *out)
{
    const int n = shown(r, mode), width = out->slots + n;

    if (!out->slots) return;
    for (int s = out->n - 1; s >= 0; s--) { // from behind: rows grow into free room
        float *row = out->coef + (int64_t)s * width;
        memmove(row, out->coef + (int64_t)s * out->slots, (size_t)out->slots * sizeof *row);
        if (mode == ROUTE_TRAIN)
            row[out->slots] = (float)r->scale;
        else
            weigh_sample(r, m, out, s, row + out->slots);
    }
}

void taskres_narrow(double *dcoef, int n, const struct adapters *set)
{
    const int slots = set->slots - set->residuals;

    for (int64_t s = 0; s < n; s++) memmove(dcoef + s * slots, dcoef + s * set->slots, (size_t)slots * sizeof *dcoef);
}

/* ---- learning */

float *taskres_gradient(struct taskres *r)
{
    return r->gradient;
}

int taskres_step(struct taskres *r, int task, double lr, struct step_report *out)
{
    int rc;
    const double norm = sqrt(optim_sum_squares(r->gradient, r->V));

    if (task != r->current) FAIL(CL_EINTERNAL, "residual of task %d is not the one that learns (%d)", task, r->current);
    if (!isfinite(norm) || !isfinite(lr))
        FAIL(CL_ENUM, "gradient norm of the residual is %g at learning rate %g; hint: lower taskres.lr", norm, lr);
    r->steps++;
    optim_adamw(&r->adam, r->r + task * r->V, r->m, r->v, r->gradient, optim_clip_scale(norm, r->clip), r->V, r->steps,
                lr);
    r->own[task].version = pool_new_version();
    out->grad_norm = hypot(out->grad_norm, norm);
    rc = CL_OK;
done:
    return rc;
}

int64_t taskres_parameters(const struct taskres *r)
{
    return r ? r->begun * r->V : 0;
}

/* ---- checkpoint */

int taskres_save(const struct taskres *r, struct ckpt *c, bool resume)
{
    int rc;
    const int64_t shape[] = {r->begun, r->V};

    TRY(ckpt_write(c, "/taskres/r", CKPT_F32, 2, shape, r->r, false));
    TRY(ckpt_attr_f64(c, "/taskres", "scale", r->scale));
    if (!resume) goto done;
    TRY(ckpt_write(c, "/resume/taskres_m", CKPT_F32, 1, &r->V, r->m, false));
    TRY(ckpt_write(c, "/resume/taskres_v", CKPT_F32, 1, &r->V, r->v, false));
    TRY(ckpt_attr_i64(c, "/resume", "taskres_steps", r->steps));
done:
    return rc;
}

int taskres_load(struct taskres *r, struct ckpt *c, bool resume)
{
    int rc, dims;
    int64_t shape[CKPT_MAX_DIMS];

    if (!ckpt_has(c, "/taskres/r"))
        FAIL(CL_EMISMATCH, "%s holds no residuals, but taskres.scale is %g (expected 0)", ckpt_path(c), r->scale);
    TRY(ckpt_shape(c, "/taskres/r", &dims, shape));
    if (dims != 2 || shape[1] != r->V || shape[0] > r->tasks)
        FAIL(CL_EMISMATCH, "%s: /taskres/r is (%lld, %lld) (expected up to %d tasks, %lld ids)", ckpt_path(c),
             (long long)shape[0], dims > 1 ? (long long)shape[1] : 0LL, r->tasks, (long long)r->V);
    memset(r->r, 0, (size_t)(r->tasks * r->V) * sizeof *r->r);
    TRY(ckpt_read(c, "/taskres/r", CKPT_F32, 2, shape, r->r));
    r->begun = (int)shape[0], r->current = -1;
    for (int t = 0; t < r->tasks; t++) r->own[t].version = pool_new_version();
    if (!resume) goto done;
    TRY(ckpt_read(c, "/resume/taskres_m", CKPT_F32, 1, &r->V, r->m));
    TRY(ckpt_read(c, "/resume/taskres_v", CKPT_F32, 1, &r->V, r->v));
    TRY(ckpt_get_i64(c, "/resume", "taskres_steps", &r->steps));
    if (r->steps < 0 || !r->begun)
        FAIL(CL_EFORMAT, "%s: /resume taskres_steps is %lld of %d tasks begun", ckpt_path(c), (long long)r->steps,
             r->begun);
    r->current = r->begun - 1;
done:
    return rc;
}
