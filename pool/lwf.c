/* lwf.c - one LoRA that is held near its own earlier answers (learning without forgetting, Li and Hoiem, arXiv 1606.09282).
 *
 * When a task begins, the LoRA as it is becomes the teacher. Both see the new task's samples; beside the usual loss the learner's
 * distribution over the vocabulary is held near the teacher's, on every answer token, at a temperature (adapters.h). Nothing of
 * earlier tasks is stored, the new samples stand in for theirs. The paper has a term for each earlier task's own head; here
 * there is one head, so one term against the last state. T^2 keeps the term's size apart from T, as in Hinton's distillation.
 *
 * The model holds the teacher as a second slot: its pass differs in coefficients alone. In the first task, and with lambda 0,
 * there is no teacher and nothing but sequential_lora's arithmetic.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"

#include <string.h>

struct lwf {
    struct lora lora;
    double lambda, temperature;
    struct pool before;           // the LoRA when the task began; N 0: no teacher
    struct adapter_slot train[2]; // the learner, the teacher
};

static struct lwf *self(struct method *m)
{
    return (struct lwf *)m;
}

static void lwf_close(struct method *m)
{
    struct lwf *w = self(m);

    if (!w) return;
    pool_close(&w->before);
    lora_teardown(&w->lora);
    mem_free(w);
}

static void lwf_size(const struct config *cfg, int tasks, struct method_size *out)
{
    (void)tasks;
    *out = (struct method_size){2, 1, cfg->lora.rank, 1, 0};
}

static int lwf_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct lwf *w = mem_new(1, sizeof *w);
    struct method_shape keyless = *shape;
    int rc;

    keyless.K = 0;
    if (!w) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(&w->lora, &lwf_ops, cfg, shape));
    TRY(pool_open(&w->before, &keyless, cfg->lora.rank, 1, 1, 1));
    w->lambda = cfg->lwf.lambda;
    w->temperature = cfg->lwf.temperature;
done:
    if (rc) lwf_close((struct method *)w), w = NULL;
    *m = (struct method *)w;
    return rc;
}

/* Room for the teacher, or no teacher. */
static int begin_teacher(struct lwf *w, bool with)
{
    if (!with) {
        w->before.N = 0;
        return CL_OK;
    }
    return w->before.N ? CL_OK : pool_grow(&w->before, 0, 1);
}

static int lwf_begin_task(struct method *m, int task, int64_t n)
{
    struct lwf *w = self(m);
    const struct pool *p = &w->lora.pool;
    const bool first = !p->N;
    int rc;

    TRY(lora_begin_task(m, task, n));
    TRY(begin_teacher(w, !first && w->lambda > 0));
    if (!w->before.N) goto done;
    memcpy(w->before.A, p->A, (size_t)pool_a_size(p) * sizeof *p->A);
    memcpy(w->before.B, p->B, (size_t)pool_b_size(p) * sizeof *p->B);
    pool_touch(&w->before, (struct pool_range){0, 1});
done:
    return rc;
}

static int lwf_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    struct lwf *w = self(m);
    int rc;

    TRY(lora_adapters(m, mode, task, set));
    if (mode != ROUTE_TRAIN || !w->before.N) goto done;
    w->train[0] = w->lora.pool.slot[0], w->train[1] = w->before.slot[0];
    set->slots = 2, set->slot = w->train;
done:
    return rc;
}

static int lwf_route(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                     const uint64_t *sample, int n, struct routing *out)
{
    struct lwf *w = self(m);
    const float scale = (float)w->lora.pool.scale;
    int rc;

    TRY(lora_route(m, mode, task, embedding, sample, n, out));
    out->teacher = (struct adapter_teacher){0};
    if (mode != ROUTE_TRAIN || !w->before.N) goto done;
    TRY(lora_check_room(&w->lora, n, 2, out));
    out->slots = 2;
    for (int i = 0; i < 2 * n; i++) out->coef[i] = i % 2 ? 0 : scale, out->teacher_coef[i] = i % 2 ? scale : 0;
    out->teacher = (struct adapter_teacher){out->teacher_coef, (float)w->lambda, (float)w->temperature};
done:
    return rc;
}

/* ---- checkpoint: between tasks the teacher is what the LoRA is */

static int lwf_save(struct method *m, struct ckpt *c, bool resume)
{
    struct lwf *w = self(m);
    const struct pool *p = &w->before;
    int rc;

    TRY(lora_save(m, c, resume));
    if (!resume || !p->N) goto done;
    TRY(ckpt_write(c, "/resume/A_teacher", CKPT_F32, 3, (const int64_t[]){p->L, p->R, p->H}, p->A, false));
    TRY(ckpt_write(c, "/resume/B_teacher", CKPT_F32, 3, (const int64_t[]){p->L, p->D, p->R}, p->B, false));
done:
    return rc;
}

static int lwf_load(struct method *m, struct ckpt *c, bool resume)
{
    struct lwf *w = self(m);
    struct pool *p = &w->before;
    int rc;

    TRY(lora_load(m, c, resume));
    TRY(begin_teacher(w, resume && ckpt_has(c, "/resume/A_teacher")));
    if (!p->N) goto done;
    TRY(ckpt_read(c, "/resume/A_teacher", CKPT_F32, 3, (const int64_t[]){p->L, p->R, p->H}, p->A));
    TRY(ckpt_read(c, "/resume/B_teacher", CKPT_F32, 3, (const int64_t[]){p->L, p->D, p->R}, p->B));
    pool_touch(p, (struct pool_range){0, 1});
done:
    return rc;
}

const struct method_ops lwf_ops = {
    .name = "lwf",
    .help = "one LoRA that is held near the answers it gave before the task (learning without forgetting)",
    .trains = true,
    .penalises = true,
    .size = lwf_size,
    .open = lwf_open,
    .close = lwf_close,
    .begin_task = lwf_begin_task,
    .adapters = lwf_adapters,
    .route = lwf_route,
    .gradients = lora_gradients,
    .step = lora_step,
    .end_task = lora_end_task,
    .save = lwf_save,
    .load = lwf_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
