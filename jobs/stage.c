/* stage.c - one optimizer step.
 *
 * Stage 2 is  records -> samples -> micro-batches -> routes -> [forward, loss, backward]* -> gradients -> step.  The loss is a
 * sum over the answer tokens of the whole step divided by their number, so how the step is cut into micro-batches, and which
 * group of ranks takes which, does not show in it.
 */
#include "jobs/stage.h"

#include "io/err.h"
#include "jobs/masked.h"
#include "pool/kpig.h"
#include "pool/rng.h"
#include "pool/schedule.h"

#include <math.h>
#include <stdio.h>
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

static void samples_free(struct step_samples *w, int room, int micro_room)
{
    for (int i = 0; w->picture && i < room; i++) free(w->picture[i]);
    for (int k = 0; w->pack && k < micro_room; k++) batch_free(&w->pack[k]);
    for (int k = 0; w->masked && k < micro_room; k++) batch_free(&w->masked[k]);
    mem_free(w->ref), mem_free(w->query), mem_free(w->picture), mem_free(w->micro), mem_free(w->pack);
    mem_free(w->masked);
    *w = (struct step_samples){.step = -1};
}

static int samples_new(struct step_samples *w, int room, int micro_room, const struct lvlm_limits *lim, bool listens)
{
    int rc = CL_OK;
    size_t n = (size_t)room, micros = (size_t)micro_room;

    if (!(w->ref = mem_new(n, sizeof *w->ref)) || !(w->query = mem_new(n, sizeof *w->query)) ||
        !(w->picture = mem_new(n, sizeof *w->picture)) || !(w->micro = mem_new(micros, sizeof *w->micro)) ||
        !(w->pack = mem_new(micros, sizeof *w->pack)) || (listens && !(w->masked = mem_new(micros, sizeof *w->masked))))
        FAIL(CL_ENOMEM, "no memory for the %d samples of a training step", room);
    for (int k = 0; k < micro_room; k++) {
        TRY(batch_new(&w->pack[k], lim->samples, lim->tokens));
        if (listens) TRY(batch_new(&w->masked[k], lim->samples, lim->tokens));
        w->micro[k].pack = &w->pack[k];
    }
done:
    return rc;
}

/* Whether samples of data[i] may come in the task's steps. */
static bool may_come(const struct trainer *t, int i)
{
    const struct method_ops *ops = t->j->method->ops;
    const int tasks = t->j->cfg.stream.tasks;

    if (is_joint(t) || i == t->task) return true;
    return ops->mix && i % tasks < t->task && (!ops->rehearse || i >= tasks);
}

/* The questions without their key parts of all that may come; *longest grows to the longest sample with one. */
static int mask_questions(struct trainer *t, int64_t *longest)
{
    int rc = CL_OK;
    const int sides = t->j->cfg.stream.tasks * (t->j->method->ops->rehearse ? 2 : 1);

    for (int i = 0; i < sides; i++) {
        struct task_data *d = &t->data[i];
        if (!d->ds || !may_come(t, i)) continue;
        TRY(masked_open(&d->masked, d, t->j));
        if (masked_longest(d->masked) > *longest) *longest = masked_longest(d->masked);
    }
done:
    return rc;
}

/* Memory of the task's steps, here and at every group of ranks. */
static int reserve(struct trainer *t)
{
    int rc;
    const struct config *f = &t->j->cfg;
    struct adapters set = {0};
    struct lvlm_limits lim = {.samples = f->stage2.micro_batch, .train = true, .again = t->j->again};
    const bool listens = kpig_listens(f);
    int64_t longest = 1, answers = 1;

    for (int i = 0; i < f->stream.tasks; i++) {
        if (!t->data[i].ds) continue;
        if (t->data[i].longest > longest) longest = t->data[i].longest;
        if (t->data[i].most_answers > answers) answers = t->data[i].most_answers;
    }
    if (listens) TRY(mask_questions(t, &longest));
    TRY(job_adapters(t->j, ROUTE_TRAIN, t->task, &set));
    lim.tokens = longest * lim.samples;
    lim.rows = answers * lim.samples;
    lim.slots = set.slots, lim.rank = set.rank, lim.residuals = set.residuals;
    TRY(crew_reserve(t->j->crew, &lim));
    t->micro_room = (t->room + lim.samples - 1) / lim.samples;
    TRY(samples_new(&t->now, t->room, t->micro_room, &lim, listens));
    if (!t->j->lvlm) TRY(samples_new(&t->ahead, t->room, t->micro_room, &lim, listens));
    TRY(job_routing_new(t->j, &t->routing, t->room));
    t->dcoef = mem_new((size_t)t->room * (size_t)(set.slots ? set.slots : 1), sizeof *t->dcoef);
    if (!t->dcoef) FAIL(CL_ENOMEM, "no memory for a training step");
done:
    return rc;
}

int trainer_open(struct trainer *t, struct job *j, struct task_data *data, int task)
{
    int rc;
    const struct config *f = &j->cfg;

    *t = (struct trainer){.j = j, .data = data, .task = task, .order_epoch = -1, .now.step = -1, .ahead.step = -1};
    if (is_joint(t))
        for (int i = 0; i < f->stream.tasks; i++) t->n += data[i].n;
    else
        t->n = data[task].n;
    t->room = f->stage2.batch + (int)ceil(f->replay.ratio * f->stage2.batch) + 1;
    if (t->room < f->stage1.batch) t->room = f->stage1.batch;
    t->order = mem_new((size_t)t->n, sizeof *t->order);
    if (!t->order) FAIL(CL_ENOMEM, "no memory for %lld records", (long long)t->n);
    TRY(reserve(t));
done:
    if (rc) trainer_close(t);
    return rc;
}

void trainer_close(struct trainer *t)
{
    samples_free(&t->now, t->room, t->micro_room);
    samples_free(&t->ahead, t->room, t->micro_room);
    routing_free(&t->routing);
    mem_free(t->order), mem_free(t->dcoef);
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

/* Own records of a step into ref (room); returns how many. */
static int own_records(struct trainer *t, int stage, int64_t step, struct sample_ref *ref)
{
    int batch = stage_batch(t, stage), n = 0;
    int64_t first = step % trainer_epoch_steps(t, stage) * batch;

    trainer_order(t, stage, step);
    for (; n < batch && first + n < t->n; n++) ref[n] = own_ref(t, t->order[first + n]);
    return n;
}

int stage1_step(struct trainer *t, int64_t step, double *lr, struct step_report *out)
{
    const struct config *f = &t->j->cfg;
    struct step_samples *w = &t->now;
    int n = own_records(t, 1, step, w->ref);

    w->step = -1;
    for (int i = 0; i < n; i++) w->query[i] = task_data_query(&t->data[w->ref[i].task], w->ref[i].index);
    *lr = f->stage1.lr * pow(f->stage1.lr_decay, (double)(step / trainer_epoch_steps(t, 1)));
    return t->j->method->ops->align(t->j->method, t->task, w->query, n, *lr, out);
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

/* Record i of the step behind the others of a micro-batch, which began with record `first`. */
static int add_sample(struct trainer *t, struct step_samples *w, struct packed_batch *pack, int first, int i)
{
    int rc;
    const struct sample_ref *r = &w->ref[i];
    struct sample s = {0};
    char *picture = NULL;

    TRY(task_data_sample(&t->data[r->task], t->j, r->index, false, &s, &picture));
    TRY(batch_add(pack, &s, 0));
    w->query[i] = task_data_query(&t->data[r->task], r->index);
    w->answers += t->data[r->task].answers[r->index];
    if (picture) w->picture[first + pack->pictures - 1] = picture, picture = NULL;
done:
    sample_free(&s);
    free(picture);
    return rc;
}

/* The records in w->ref (w->n) as micro-batches of `each` samples. */
static int pack_samples(struct trainer *t, struct step_samples *w, int each)
{
    int rc = CL_OK;

    for (int i = 0; i < t->room; i++) free(w->picture[i]), w->picture[i] = NULL;
    w->answers = w->tokens = 0, w->micros = 0;
    for (int i = 0; i < w->n; i++) {
        struct packed_batch *pack = &w->pack[i / each];
        if (i % each == 0) {
            batch_clear(pack);
            w->micro[w->micros].listening = (struct listening){0};
            w->micro[w->micros++].picture = (const char **)(uintptr_t)&w->picture[i];
        }
        TRY(add_sample(t, w, pack, i - i % each, i));
    }
    for (int k = 0; k < w->micros; k++) w->tokens += w->pack[k].n;
done:
    return rc;
}

/* The same samples with their questions masked, beside each micro-batch in which that makes any difference. */
static int mask_samples(struct trainer *t, struct step_samples *w)
{
    int rc = CL_OK, at = 0;
    const struct config *f = &t->j->cfg;

    for (int k = 0; k < w->micros; k++) {
        bool other, any = false;
        batch_clear(&w->masked[k]);
        for (int s = 0; s < w->pack[k].samples; s++, at++) {
            TRY(masked_add(t->data[w->ref[at].task].masked, w->ref[at].index, &w->masked[k], &w->pack[k], s, &other));
            any |= other;
        }
        if (any)
            w->micro[k].listening = (struct listening){&w->masked[k], (float)f->kpig.weight, (float)f->kpig.margin};
    }
done:
    return rc;
}

/* Records of a step, and those of earlier tasks that join it. */
static int gather(struct trainer *t, struct step_samples *w, int64_t step)
{
    int rc, more = 0;
    const struct method_ops *ops = t->j->method->ops;

    w->step = -1;
    w->n = own_records(t, 2, step, w->ref);
    if (ops->mix) TRY(ops->mix(t->j->method, t->task, step, w->n, w->ref + w->n, t->room - w->n, &more));
    w->n += more;
    TRY(pack_samples(t, w, t->j->cfg.stage2.micro_batch));
    if (w->masked) TRY(mask_samples(t, w));
    w->step = step;
done:
    return rc;
}

/* The samples of the step to come, while the groups compute. Not across the end of an epoch: a checkpoint after this step holds
 * the order of its own. */
static int gather_ahead(void *context)
{
    struct trainer *t = context;
    int64_t next = t->now.step + 1;

    if (next % trainer_epoch_steps(t, 2) == 0) return CL_OK;
    return gather(t, &t->ahead, next);
}

/* Samples of the step into t->now. */
static int take_samples(struct trainer *t, int64_t step)
{
    struct step_samples w = t->now;

    if (t->ahead.step != step) return gather(t, &t->now, step);
    t->now = t->ahead, t->ahead = w;
    t->ahead.step = -1;
    return CL_OK;
}

/* NaN or infinity in `what` of records [first, first + n): the samples by name, and where among the ranks. */
static int not_finite(struct trainer *t, const char *what, int first, int n, const char *where)
{
    char names[1024] = "";

    for (int i = first; i < first + n; i++)
        task_data_add_name(&t->data[t->now.ref[i].task], t->now.ref[i].index, names, sizeof names);
    return err_set(CL_ENUM,
                   "%s not finite in a batch of %d samples (%s)%s%s; hint: lower stage2.lr or look at these samples",
                   what, n, names, *where ? ", first in " : "", where);
}

/* Slots and coefficients of all samples of the step. */
static int route(struct trainer *t, struct adapters *set)
{
    int rc;
    struct step_samples *w = &t->now;
    int64_t at = 0;

    TRY(job_adapters(t->j, ROUTE_TRAIN, t->task, set));
    TRY(job_routes(t->j, ROUTE_TRAIN, t->task, w->query, NULL, w->n, &t->routing));
    for (int k = 0; k < w->micros; k++) {
        w->micro[k].coef = t->routing.coef + at, w->micro[k].dcoef = t->dcoef + at;
        w->micro[k].teacher = t->routing.teacher;
        if (t->routing.teacher.coef) w->micro[k].teacher.coef += at;
        at += (int64_t)w->pack[k].samples * set->slots;
    }
done:
    return rc;
}

/* Forward and backward of the whole step; the sums of its losses and of how far it is from a teacher. */
static int compute(struct trainer *t, const struct adapters *set, int (*meanwhile)(void *context), double *nll,
                   double *kl)
{
    int rc, odd;
    struct step_samples *w = &t->now;
    float *dA, *dB;
    char where[512];

    t->j->method->ops->gradients(t->j->method, &dA, &dB);
    rc = crew_step(t->j->crew, w->micro, w->micros, set, (float)(1.0 / (double)w->answers), dA, dB, meanwhile, t, &odd);
    if (rc == CL_ENUM && odd >= 0) {
        snprintf(where, sizeof where, "%s", err_text());
        return not_finite(t, "loss is", odd * t->j->cfg.stage2.micro_batch, w->pack[odd].samples, where);
    }
    if (rc) goto done;
    if (t->j->taskres) TRY(crew_residual(t->j->crew, taskres_gradient(t->j->taskres)));
    *nll = *kl = 0;
    for (int k = 0; k < w->micros; k++) *nll += w->micro[k].nll, *kl += w->micro[k].kl;
done:
    return rc;
}

/* What kpig.weight adds to the loss, of the last step. */
static void add_heard(struct trainer *t, struct step_report *out)
{
    struct heard sum = {0};
    const struct step_samples *w = &t->now;

    for (int k = 0; k < w->micros; k++) {
        sum.jsd += w->micro[k].heard.jsd, sum.missing += w->micro[k].heard.missing;
        sum.rows += w->micro[k].heard.rows;
    }
    out->penalty += t->j->cfg.kpig.weight * sum.missing / (double)w->answers;
    out->jsd = sum.rows ? sum.jsd / (double)sum.rows : NAN;
}

/* The learning rate of a step whose highest one is `peak`. */
static double rate_of(const struct trainer *t, int64_t step, double peak)
{
    const struct config *f = &t->j->cfg;

    return schedule_lr(f->stage2.schedule, step, trainer_steps(t, 2), peak, f->stage2.warmup_ratio);
}

int stage2_step(struct trainer *t, int64_t step, double *lr, struct step_report *out)
{
    int rc;
    struct job *j = t->j;
    const struct config *f = &j->cfg;
    const struct method_ops *ops = j->method->ops;
    double nll = 0, kl = 0;
    struct adapters set = {0};
    char where[512];

    TRY(take_samples(t, step));
    TRY(route(t, &set));
    TRY(compute(t, &set, gather_ahead, &nll, &kl));
    if (j->taskres) taskres_narrow(t->dcoef, t->now.n, &set);
    if (ops->learn) TRY(ops->learn(j->method, t->task, &t->routing, t->dcoef));
    *lr = rate_of(t, step, f->stage2.lr);
    rc = ops->step(j->method, t->task, *lr, out);
    if (!rc && j->taskres) rc = taskres_step(j->taskres, t->task, rate_of(t, step, taskres_rate(f)), out);
    if (rc == CL_ENUM) {
        TRY(crew_find_nonfinite(j->crew, where, sizeof where));
        return not_finite(t, "gradients are", 0, t->now.n, where);
    }
    if (rc) goto done;
    out->loss = nll / (double)t->now.answers;
    if (t->routing.teacher.coef) out->penalty += (double)t->routing.teacher.weight * kl / (double)t->now.answers;
    if (kpig_listens(f)) add_heard(t, out);
    t->tokens = t->now.tokens;
done:
    return rc;
}

/* Records [first, first + n) of the order that the task is looked at in, each a micro-batch of its own. */
static int sense_some(struct trainer *t, const int64_t *order, int64_t first, int n, int64_t total)
{
    int rc, odd;
    const struct method_ops *ops = t->j->method->ops;
    struct step_samples *w = &t->now;
    struct adapters set = {0};
    float *A, *B;
    char where[512];

    w->n = n;
    for (int i = 0; i < n; i++) w->ref[i] = own_ref(t, order[first + i]);
    TRY(pack_samples(t, w, 1));
    TRY(route(t, &set));
    ops->gradients(t->j->method, &A, &B);
    rc = crew_squares(t->j->crew, w->micro, w->micros, &set, 1, A, B, &odd);
    if (rc == CL_ENUM && odd >= 0) {
        snprintf(where, sizeof where, "%s", err_text());
        return not_finite(t, "loss is", odd, 1, where);
    }
    if (rc) goto done;
    TRY(ops->sense(t->j->method, t->task, n, total));
done:
    return rc;
}

/* The order that single records of the task are looked at in, of which *total (at most all) are wanted; NULL: none. */
static int sense_order(struct trainer *t, int64_t (*samples)(struct method *m, int task), int64_t *total,
                       int64_t **order)
{
    *total = samples ? samples(t->j->method, t->task) : 0, *order = NULL;
    if (*total > t->n) *total = t->n;
    if (*total < 1) return CL_OK;
    t->now.step = t->ahead.step = -1;
    if (!(*order = mem_new((size_t)t->n, sizeof **order)))
        return err_set(CL_ENOMEM, "no memory for %lld records", (long long)t->n);
    rng_permutation(*order, t->n, (uint64_t)t->j->cfg.seed, RNG_SENSE, (uint32_t)t->task, 0);
    return CL_OK;
}

/* One record by the group that takes it first, so that its gradient is the same on any number of groups. */
static int look_at(struct trainer *t, int64_t index, bool first)
{
    int rc;
    struct step_samples *w = &t->now;
    struct adapters set = {0};
    double nll, kl;

    w->n = 1;
    w->ref[0] = own_ref(t, index);
    TRY(pack_samples(t, w, 1));
    TRY(route(t, &set));
    TRY(compute(t, &set, NULL, &nll, &kl));
    TRY(t->j->method->ops->look(t->j->method, t->task, first));
done:
    return rc;
}

int trainer_look(struct trainer *t)
{
    int rc;
    int64_t total, *order;

    TRY(sense_order(t, t->j->method->ops->look_samples, &total, &order));
    for (int64_t i = 0; i < total; i++) {
        TRY(look_at(t, order[i], i == 0));
        progress_step(t->j->log, i + 1, "");
    }
done:
    mem_free(order);
    return rc;
}

int trainer_sense(struct trainer *t)
{
    int rc;
    const struct method_ops *ops = t->j->method->ops;
    int64_t total, *order;

    TRY(sense_order(t, ops->sense_samples, &total, &order));
    for (int64_t i = 0; i < total; i += t->micro_room) {
        int64_t n = total - i < t->micro_room ? total - i : t->micro_room;
        TRY(sense_some(t, order, i, (int)n, total));
        progress_step(t->j->log, i + n, "");
    }
done:
    mem_free(order);
    return rc;
}
