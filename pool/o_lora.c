/* o_lora.c - a new LoRA for each task on top of the earlier ones, in a subspace of its own (O-LoRA, Wang et al., arXiv
 * 2310.14152).
 *
 * All LoRAs so far are active at once, in training and in answering: y = W_o x + scale sum over i <= t of B_i A_i x. Those of
 * earlier tasks are frozen. What a LoRA reads of x are A's rows; the loss of task t gets
 *
 *     lambda * sum over layers, over i < t, over entries of (A_i A_t^T)^2        A (R, H): A_i A_t^T is R x R
 *
 * and the same of every linear map that has increments, each with A of its own
 *
 * so that the new rows turn away from those before. This is the paper's form; its published code sums absolute values instead,
 * whose slope does not fade where the rows are orthogonal already. The paper's second weight (on the size of the new LoRA) is
 * stage2.weight_decay here.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"

struct o_lora {
    struct lora lora;
    double lambda;
    struct adapter_slot *train; // (T) what the model holds while a task learns: the new slot, then those before
    double *part;               // (L) of the penalty
};

static struct o_lora *self(struct method *m)
{
    return (struct o_lora *)m;
}

static void o_close(struct method *m)
{
    struct o_lora *o = self(m);

    if (!o) return;
    mem_free(o->train), mem_free(o->part);
    lora_teardown(&o->lora);
    mem_free(o);
}

static void o_size(const struct config *cfg, int tasks, struct method_size *out)
{
    *out = (struct method_size){tasks, 1, cfg->lora.rank, tasks, 0};
}

static int o_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct o_lora *o = mem_new(1, sizeof *o);
    int rc;

    if (!o) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(&o->lora, &o_lora_ops, cfg, shape));
    o->lora.per_task = true;
    o->lambda = cfg->o_lora.lambda;
    o->train = mem_new((size_t)shape->tasks, sizeof *o->train);
    o->part = mem_new((size_t)shape->layers, sizeof *o->part);
    if (!o->train || !o->part) FAIL(CL_ENOMEM, "no memory for the LoRAs of %d tasks", shape->tasks);
done:
    if (rc) o_close((struct method *)o), o = NULL;
    *m = (struct method *)o;
    return rc;
}

static int o_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    struct o_lora *o = self(m);
    const struct pool *p = &o->lora.pool;
    int rc;

    TRY(lora_adapters(m, mode, task, set));
    if (mode != ROUTE_TRAIN) goto done;
    o->train[0] = p->slot[o->lora.own.first];
    for (int i = 1; i < p->N; i++) o->train[i] = p->slot[i - 1];
    *set = (struct adapters){.slots = p->N, .learned = 1, .rank = p->R, .slot = o->train};
done:
    return rc;
}

/* ---- the penalty */

/* One map of a layer, n columns of rows that are H apart: g (R, n) += lambda * 2 O^T A, O = A a^T, of an earlier A and the new a,
 * both (R, n); returns the sum of O's squares. */
static double turn_away(float *g, const float *A, const float *a, int R, int64_t H, int64_t n, double lambda)
{
    double sum = 0;

    for (int i = 0; i < R; i++)
        for (int k = 0; k < R; k++) {
            double o = 0;
#pragma omp simd reduction(+ : o)
            for (int64_t h = 0; h < n; h++) o += (double)A[i * H + h] * a[k * H + h];
            const float twice = (float)(2 * lambda * o);
            for (int64_t h = 0; h < n; h++) g[k * H + h] += twice * A[i * H + h];
            sum += o * o;
        }
    return sum;
}

/* One layer. */
static double layer_penalty(float *g, const float *A, const float *a, const struct pool *p, double lambda)
{
    double sum = 0;

    for (int k = 0; k < p->on.n; k++) {
        const int64_t at = p->on.at[k].in0;
        sum += turn_away(g + at, A + at, a + at, p->R, p->H, p->on.at[k].in, lambda);
    }
    return sum;
}

/* Layers are apart, so the bits do not depend on the number of threads. */
static double penalty(struct o_lora *o)
{
    const struct pool *p = &o->lora.pool;
    const int own = o->lora.own.first;
    const int64_t each = p->R * p->H;
    double sum = 0;

#pragma omp parallel for schedule(static)
    for (int l = 0; l < p->L; l++) {
        o->part[l] = 0;
        for (int i = 0; i < own; i++)
            o->part[l] += layer_penalty(o->lora.learner.dA + l * each, p->A + i * pool_a_size(p) + l * each,
                                        p->A + own * pool_a_size(p) + l * each, p, o->lambda);
    }
    for (int l = 0; l < p->L; l++) sum += o->part[l];
    return o->lambda * sum;
}

static int o_step(struct method *m, int task, double lr, struct step_report *out)
{
    struct o_lora *o = self(m);
    int rc;

    TRY(lora_check_current(&o->lora, task));
    out->penalty = o->lambda > 0 ? penalty(o) : 0;
    TRY(lora_step(m, task, lr, out));
done:
    return rc;
}

const struct method_ops o_lora_ops = {
    .name = "o_lora",
    .help = "a new LoRA for each task on top of the earlier ones, kept orthogonal to them (O-LoRA)",
    .trains = true,
    .penalises = true,
    .size = o_size,
    .open = o_open,
    .close = o_close,
    .begin_task = lora_begin_task,
    .adapters = o_adapters,
    .route = lora_route, // every slot counts in full, so its place in the set does not matter
    .gradients = lora_gradients,
    .step = o_step,
    .end_task = lora_end_task,
    .save = lora_save,
    .load = lora_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
