/* stage.c - one optimizer step.
 *
 * Stage 2 is  records -> samples -> micro-batches -> [route, forward, loss, backward]* -> gradients -> step.  The loss is a
 * sum over the answer tokens of the whole step divided by their number, so how the step is cut into micro-batches does not
 * show in it.
 */
#include "jobs/stage.h"

#include "io/err.h"
#include "pool/rng.h"
#include "pool/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_joint(const struct trainer *t)
{
    return t->j->method->ops->joint;
}

/* Which record number `index` of the training set is. */
static struct sample_ref own_ref(const struct trainer *t, int64_t index)
{
    int task = t->task;

    if (!is_joint(t)) return (struct sample_ref){task, index};
    for (task = 0; index >= t->data[task].n; task++) index -= t->data[task].n;
    return (struct sample_ref){task, index};
}

static int reserve(struct trainer *t)
{
    int rc;
    const struct config *f = &t->j->cfg;
    const struct method_ops *ops = t->j->method->ops;
    struct adapters set = {0};
    struct lvlm_limits lim = {.samples = f->stage2.micro_batch, .train = true};
    int64_t longest = 1, answers = 1;

    for (int i = 0; i < f->stream.tasks; i++) {
        if (!t->data[i].ds) continue;
        if (t->data[i].longest > longest) longest = t->data[i].longest;
        if (t->data[i].most_answers > answers) answers = t->data[i].most_answers;
    }
    TRY(ops->adapters(t->j->method, ROUTE_TRAIN, t->task, &set));
    lim.tokens = longest * lim.samples;
    lim.rows = answers * lim.samples;
    lim.slots = set.slots, lim.rank = set.rank;
    TRY(lvlm_reserve(t->j->lvlm, &lim));
    TRY(batch_new(&t->pack, lim.samples, lim.tokens));
    TRY(routing_new(&t->routing, lim.samples, job_max_slots(t->j), f->pool.top_m));
    t->nll = mem_new((size_t)lim.rows, sizeof *t->nll);
    t->dcoef = mem_new((size_t)lim.samples * (size_t)(set.slots ? set.slots : 1), sizeof *t->dcoef);
    t->picture = mem_new((size_t)lim.samples, sizeof *t->picture);
    if (!t->nll || !t->dcoef || !t->picture) FAIL(CL_ENOMEM, "no memory for a training step");
done:
    return rc;
}

int trainer_open(struct trainer *t, struct job *j, struct task_data *data, int task)
{
    int rc;
    const struct config *f = &j->cfg;

    *t = (struct trainer){.j = j, .data = data, .task = task, .order_epoch = -1};
    if (is_joint(t))
        for (int i = 0; i < f->stream.tasks; i++) t->n += data[i].n;
    else
        t->n = data[task].n;
    t->room = f->stage2.batch + (int)ceil(f->replay.ratio * f->stage2.batch) + 1;
    if (t->room < f->stage1.batch) t->room = f->stage1.batch;
    t->ref = mem_new((size_t)t->room, sizeof *t->ref);
    t->query = mem_new((size_t)t->room, sizeof *t->query);
    t->order = mem_new((size_t)t->n, sizeof *t->order);
    if (!t->ref || !t->query || !t->order) FAIL(CL_ENOMEM, "no memory for %lld records", (long long)t->n);
    TRY(reserve(t));
done:
    if (rc) trainer_close(t);
    return rc;
}

void trainer_close(struct trainer *t)
{
    batch_free(&t->pack);
    routing_free(&t->routing);
    mem_free(t->ref), mem_free(t->query), mem_free(t->order), mem_free(t->nll), mem_free(t->dcoef),
        mem_free(t->picture);
    memset(t, 0, sizeof *t);
}

static int stage_batch(const struct trainer *t, int stage)
{
    return stage == 1 ? t->j->cfg.stage1.batch : t->j->cfg.stage2.batch;
}

int64_t trainer_epoch_steps(const struct trainer *t, int stage)
{
    int batch = stage_batch(t, stage);

    return (t->n + batch - 1) / batch;
}

int64_t trainer_steps(const struct trainer *t, int stage)
{
    return trainer_epoch_steps(t, stage) * (stage == 1 ? t->j->cfg.stage1.epochs : t->j->cfg.stage2.epochs);
}

int trainer_order(struct trainer *t, int stage, int64_t step)
{
    const struct config *f = &t->j->cfg;
    int64_t epoch = step / trainer_epoch_steps(t, stage);

    if (t->order_epoch == epoch && t->order_stage == stage) return CL_OK;
    if (stage == 1 ? f->stage1.shuffle : f->stage2.shuffle)
        rng_permutation(t->order, t->n, (uint64_t)f->seed, stage == 1 ? RNG_STAGE1_ORDER : RNG_STAGE2_ORDER,
                        (uint32_t)t->task, (uint64_t)epoch);
    else
        for (int64_t i = 0; i < t->n; i++) t->order[i] = i;
    t->order_epoch = epoch, t->order_stage = stage;
    return CL_OK;
}

/* Own records of a step into ref; returns how many. */
static int own_records(struct trainer *t, int stage, int64_t step)
{
    int batch = stage_batch(t, stage), n = 0;
    int64_t first = step % trainer_epoch_steps(t, stage) * batch;

    trainer_order(t, stage, step);
    for (; n < batch && first + n < t->n; n++) t->ref[n] = own_ref(t, t->order[first + n]);
    return n;
}

int stage1_step(struct trainer *t, int64_t step, double *lr, struct step_report *out)
{
    const struct config *f = &t->j->cfg;
    int n = own_records(t, 1, step);

    for (int i = 0; i < n; i++) t->query[i] = task_data_query(&t->data[t->ref[i].task], t->ref[i].index);
    *lr = f->stage1.lr * pow(f->stage1.lr_decay, (double)(step / trainer_epoch_steps(t, 1)));
    return t->j->method->ops->align(t->j->method, t->task, t->query, n, *lr, out);
}

int stage1_end(struct trainer *t)
{
    int rc;
    const struct task_data *d = &t->data[t->task];
    const float **all = mem_new((size_t)d->n, sizeof *all);

    if (!all) return err_set(CL_ENOMEM, "no memory for %lld questions", (long long)d->n);
    for (int64_t i = 0; i < d->n; i++) all[i] = task_data_query(d, i);
    rc = t->j->method->ops->end_align(t->j->method, t->task, all, d->n);
    mem_free(all);
    return rc;
}

/* Records [first, first + n) of the step as one pack, with pictures' features. */
static int fill_pack(struct trainer *t, int first, int n)
{
    int rc = CL_OK;

    batch_clear(&t->pack);
    for (int i = 0; i < n; i++) {
        const struct sample_ref *r = &t->ref[first + i];
        struct sample s = {0};
        char *picture = NULL;
        if (!(rc = task_data_sample(&t->data[r->task], t->j, r->index, false, &s, &picture)))
            rc = batch_add(&t->pack, &s, 0);
        sample_free(&s);
        if (rc) {
            free(picture);
            goto done;
        }
        if (picture) t->picture[t->pack.pictures - 1] = picture;
        t->query[i] = task_data_query(&t->data[r->task], r->index);
    }
    if (t->pack.pictures)
        TRY(features_get(t->j->features, (const char *const *)t->picture, t->pack.pictures, t->pack.feature));
done:
    for (int i = 0; i < t->pack.pictures; i++) free(t->picture[i]), t->picture[i] = NULL;
    return rc;
}

/* NaN or infinity in `what` of records [first, first + n): the samples by name. */
static int not_finite(struct trainer *t, const char *what, int first, int n)
{
    char names[1024] = "";

    for (int i = first; i < first + n; i++)
        task_data_add_name(&t->data[t->ref[i].task], t->ref[i].index, names, sizeof names);
    return err_set(CL_ENUM,
                   "%s not finite in a batch of %d samples (%s); hint: lower stage2.lr or look at these samples", what,
                   n, names);
}

static int micro_batch(struct trainer *t, int first, int n, float grad_scale, double *nll_sum)
{
    int rc;
    struct job *j = t->j;
    const struct method_ops *ops = j->method->ops;
    struct adapters set = {0};
    double sum = 0;

    TRY(fill_pack(t, first, n));
    TRY(ops->adapters(j->method, ROUTE_TRAIN, t->task, &set));
    TRY(ops->route(j->method, ROUTE_TRAIN, t->task, t->query, NULL, n, &t->routing));
    set.coef = t->routing.coef;
    TRY(lvlm_forward(j->lvlm, &t->pack, &set, t->nll, grad_scale));
    for (int64_t i = 0; i < t->pack.rows; i++) sum += (double)t->nll[i];
    if (!isfinite(sum)) return not_finite(t, "loss is", first, n);
    TRY(lvlm_backward(j->lvlm, &t->pack, &set, t->dcoef));
    if (ops->learn) TRY(ops->learn(j->method, t->task, &t->routing, t->dcoef));
    *nll_sum += sum;
    t->tokens += t->pack.n;
done:
    return rc;
}

int stage2_step(struct trainer *t, int64_t step, double *lr, struct step_report *out)
{
    int rc;
    struct job *j = t->j;
    const struct config *f = &j->cfg;
    const struct method_ops *ops = j->method->ops;
    int n = own_records(t, 2, step), more = 0;
    int64_t answers = 0;
    double nll = 0;
    float *dA, *dB;
    struct adapters set = {0};

    if (ops->mix) TRY(ops->mix(j->method, t->task, step, n, t->ref + n, t->room - n, &more));
    n += more;
    for (int i = 0; i < n; i++) answers += t->data[t->ref[i].task].answers[t->ref[i].index];
    t->tokens = 0;
    TRY(lvlm_grads_clear(j->lvlm));
    for (int i = 0; i < n; i += f->stage2.micro_batch)
        TRY(micro_batch(t, i, n - i < f->stage2.micro_batch ? n - i : f->stage2.micro_batch,
                        (float)(1.0 / (double)answers), &nll));
    TRY(ops->adapters(j->method, ROUTE_TRAIN, t->task, &set));
    ops->gradients(j->method, &dA, &dB);
    TRY(lvlm_grads_read(j->lvlm, dA, dB, set.learned, set.rank));
    *lr = schedule_lr(f->stage2.schedule, step, trainer_steps(t, 2), f->stage2.lr, f->stage2.warmup_ratio);
    rc = ops->step(j->method, t->task, *lr, out);
    if (rc == CL_ENUM) return not_finite(t, "gradients are", 0, n);
    if (rc) goto done;
    out->loss = nll / (double)answers;
done:
    return rc;
}
