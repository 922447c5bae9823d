/* ewc.c - one LoRA held where earlier tasks need it: elastic weight consolidation (Kirkpatrick et al., arXiv 1612.00796) in its
 * online form (Schwarz et al., arXiv 1805.06370).
 *
 * When a task is learned, the diagonal of its Fisher information is taken: the mean over ewc.samples of its records of the
 * squared gradient of each record's own nll. What earlier tasks left decays by gamma, F := gamma F + that, and the values that
 * the LoRA has now become the anchor. In the tasks that follow the loss gets
 *
 *     lambda / 2 * sum over all numbers of A and B of F (x - anchor)^2
 *
 * Product and anchor are A's and B's own: B A, what the model sees, does not change where A and B turn against each other, but
 * the penalty does. Two arrays as long as the LoRA are kept, however many tasks there are.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"

#include <math.h>
#include <string.h>

struct ewc {
    struct lora lora;
    double lambda, gamma;
    int64_t samples;
    float *FA, *FB; // Fisher information, (L, R, H), (L, D, R); NULL before the first task ends
    float *anchorA, *anchorB;
    int64_t seen; // records that the current task's sense has had
};

static struct ewc *self(struct method *m)
{
    return (struct ewc *)m;
}

static void ewc_close(struct method *m)
{
    struct ewc *e = self(m);

    if (!e) return;
    mem_free(e->FA), mem_free(e->FB), mem_free(e->anchorA), mem_free(e->anchorB);
    lora_teardown(&e->lora);
    mem_free(e);
}

/* Fisher information and anchor. */
static void ewc_size(const struct config *cfg, int tasks, struct method_size *out)
{
    lora_size(cfg, tasks, out);
    out->kept = 2;
}

static int ewc_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct ewc *e = mem_new(1, sizeof *e);
    int rc;

    if (!e) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(&e->lora, &ewc_ops, cfg, shape));
    e->lambda = cfg->ewc.lambda;
    e->gamma = cfg->ewc.gamma;
    e->samples = cfg->ewc.samples;
done:
    if (rc) ewc_close((struct method *)e), e = NULL;
    *m = (struct method *)e;
    return rc;
}

static int reserve(struct ewc *e)
{
    const size_t a = (size_t)pool_a_size(&e->lora.pool), b = (size_t)pool_b_size(&e->lora.pool);

    if (e->FA) return CL_OK;
    e->FA = mem_new(a, sizeof *e->FA), e->FB = mem_new(b, sizeof *e->FB);
    e->anchorA = mem_new(a, sizeof *e->anchorA), e->anchorB = mem_new(b, sizeof *e->anchorB);
    if (e->FA && e->FB && e->anchorA && e->anchorB) return CL_OK;
    return err_set(CL_ENOMEM, "no memory for the Fisher information of %zu numbers", a + b);
}

/* ---- the penalty */

enum { BLOCKS = 64 };

/* g += lambda F (x - anchor) over n numbers; returns their part of the penalty. Blocks of fixed borders: the same bits on any
 * number of threads. */
static double pull(float *g, const float *F, const float *x, const float *anchor, int64_t n, double lambda)
{
    double part[BLOCKS], sum = 0;
    const int64_t each = (n + BLOCKS - 1) / BLOCKS;
    const float l = (float)lambda;

#pragma omp parallel for schedule(static) if (n >= 1 << 16)
    for (int b = 0; b < BLOCKS; b++) {
        const int64_t end = (b + 1) * each < n ? (b + 1) * each : n;
        part[b] = 0;
        for (int64_t i = b * each; i < end; i++) {
            float d = x[i] - anchor[i];
            g[i] += l * F[i] * d;
            part[b] += (double)F[i] * d * d;
        }
    }
    for (int b = 0; b < BLOCKS; b++) sum += part[b];
    return lambda / 2 * sum;
}

static int ewc_step(struct method *m, int task, double lr, struct step_report *out)
{
    struct ewc *e = self(m);
    struct lora *l = &e->lora;
    int rc;

    TRY(lora_check_current(l, task));
    out->penalty = 0;
    if (e->FA && e->lambda > 0)
        out->penalty = pull(l->learner.dA, e->FA, l->pool.A, e->anchorA, l->learner.a_count, e->lambda) +
                       pull(l->learner.dB, e->FB, l->pool.B, e->anchorB, l->learner.b_count, e->lambda);
    TRY(lora_step(m, task, lr, out));
done:
    return rc;
}

/* ---- what a learned task leaves */

/* Nothing comes after the last task. */
static int64_t ewc_sense_samples(struct method *m, int task)
{
    const struct ewc *e = self(m);

    if (task + 1 >= e->lora.pool.T) return 0;
    return e->samples ? e->samples : INT64_MAX;
}

static int fold(float *F, float *squares, int64_t n, float keep, float share)
{
    bool bad = false;

    for (int64_t i = 0; i < n; i++) {
        F[i] = keep * F[i] + share * squares[i];
        bad |= !isfinite(F[i]);
        squares[i] = 0;
    }
    return bad ? err_set(CL_ENUM, "squared gradients are not finite") : CL_OK;
}

static int ewc_sense(struct method *m, int task, int64_t n, int64_t total)
{
    struct ewc *e = self(m);
    struct learner *k = &e->lora.learner;
    const float keep = e->seen ? 1 : (float)e->gamma, share = (float)(1 / (double)total);
    int rc;

    TRY(lora_check_current(&e->lora, task));
    TRY(reserve(e));
    TRY(fold(e->FA, k->dA, k->a_count, keep, share));
    TRY(fold(e->FB, k->dB, k->b_count, keep, share));
    e->seen += n;
done:
    return rc;
}

static int ewc_end_task(struct method *m, int task)
{
    struct ewc *e = self(m);
    struct pool *p = &e->lora.pool;
    int rc;

    TRY(lora_end_task(m, task));
    if (!e->FA) goto done;
    memcpy(e->anchorA, p->A, (size_t)pool_a_size(p) * sizeof *p->A);
    memcpy(e->anchorB, p->B, (size_t)pool_b_size(p) * sizeof *p->B);
    e->seen = 0;
done:
    return rc;
}

/* ---- checkpoint */

struct kept {
    const char *name;
    int64_t shape[3];
    float *data;
};

static void list_kept(const struct ewc *e, struct kept out[4])
{
    const struct pool *p = &e->lora.pool;

    out[0] = (struct kept){"/ewc/A_fisher", {p->L, p->R, p->H}, e->FA};
    out[1] = (struct kept){"/ewc/B_fisher", {p->L, p->D, p->R}, e->FB};
    out[2] = (struct kept){"/ewc/A_anchor", {p->L, p->R, p->H}, e->anchorA};
    out[3] = (struct kept){"/ewc/B_anchor", {p->L, p->D, p->R}, e->anchorB};
}

static int ewc_save(struct method *m, struct ckpt *c, bool resume)
{
    struct ewc *e = self(m);
    struct kept k[4];
    int rc;

    TRY(lora_save(m, c, resume));
    list_kept(e, k);
    for (int i = 0; e->FA && i < 4; i++) TRY(ckpt_write(c, k[i].name, CKPT_F32, 3, k[i].shape, k[i].data, false));
done:
    return rc;
}

static int ewc_load(struct method *m, struct ckpt *c, bool resume)
{
    struct ewc *e = self(m);
    struct kept k[4];
    int rc;

    TRY(lora_load(m, c, resume));
    if (!ckpt_has(c, "/ewc/A_fisher")) goto done;
    TRY(reserve(e));
    list_kept(e, k);
    for (int i = 0; i < 4; i++) TRY(ckpt_read(c, k[i].name, CKPT_F32, 3, k[i].shape, k[i].data));
done:
    return rc;
}

const struct method_ops ewc_ops = {
    .name = "ewc",
    .help = "one LoRA that is held where earlier tasks' Fisher information is large (online EWC)",
    .trains = true,
    .penalises = true,
    .size = ewc_size,
    .open = ewc_open,
    .close = ewc_close,
    .begin_task = lora_begin_task,
    .adapters = lora_adapters,
    .route = lora_route,
    .gradients = lora_gradients,
    .step = ewc_step,
    .sense_samples = ewc_sense_samples,
    .sense = ewc_sense,
    .end_task = ewc_end_task,
    .save = ewc_save,
    .load = ewc_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
