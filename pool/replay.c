/* replay.c - one LoRA that sees kept samples of earlier tasks again.
 *
 * Of every finished task replay.budget records are kept, drawn at random by the seed. They join each step by a walk through a
 * random order of everything kept (pool/walk.h), so that each comes up equally often.
 *
 * With replay.choose kpig only a part of what is kept is walked through: the records whose questions' key parts tell the model
 * least (pool/kpig.h), by what was measured when the task began.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/kpig.h"
#include "pool/lora.h"
#include "pool/methods.h"
#include "pool/rng.h"
#include "pool/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    int64_t n;
    int64_t *index; // (n) records of the task's training file, rising
};

struct replay {
    struct lora lora;
    int64_t budget;
    int64_t records;   // of the current task
    struct kept *kept; // (T) what finished tasks left
    struct walk walk;  // through that of tasks before the current one, or the chosen part of it
    bool kpig;         // replay.choose
    double share;      // of what is kept that is chosen
    double *gain;      // (gains) of everything kept, by which the walk was chosen; NULL: nothing was
    int64_t gains;
};

static struct replay *self(struct method *m)
{
    return (struct replay *)m;
}

static void replay_close(struct method *m)
{
    struct replay *r = self(m);

    if (!r) return;
    for (int t = 0; r->kept && t < r->lora.pool.T; t++) mem_free(r->kept[t].index);
    mem_free(r->kept);
    walk_free(&r->walk);
    mem_free(r->gain);
    lora_teardown(&r->lora);
    mem_free(r);
}

static int replay_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct replay *r = mem_new(1, sizeof *r);
    int rc;

    if (!r) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(&r->lora, &replay_ops, cfg, shape));
    r->budget = cfg->replay.budget;
    r->walk = walk_of(cfg);
    r->kpig = !strcmp(cfg->replay.choose, "kpig");
    r->share = cfg->kpig.share;
    r->kept = mem_new((size_t)shape->tasks, sizeof *r->kept);
    if (!r->kept) FAIL(CL_ENOMEM, "no memory for the records of %d tasks", shape->tasks);
done:
    if (rc) replay_close((struct method *)r), r = NULL;
    *m = (struct method *)r;
    return rc;
}

/* Everything that earlier tasks left, as one list. */
static int gather(struct replay *r, int task)
{
    int64_t n = 0;
    int rc;

    mem_free(r->gain);
    r->gain = NULL, r->gains = 0;
    for (int t = 0; t < task; t++) n += r->kept[t].n;
    TRY(walk_begin(&r->walk, n));
    for (int t = 0; t < task; t++)
        for (int64_t i = 0; i < r->kept[t].n; i++) walk_add(&r->walk, (struct sample_ref){t, r->kept[t].index[i]});
done:
    return rc;
}

static const struct sample_ref *replay_kept(struct method *m, int64_t *n)
{
    const struct walk *w = &self(m)->walk;

    *n = self(m)->kpig && w->ratio > 0 ? w->total : 0;
    return w->all;
}

/* The walk goes through the chosen ones alone; gains are kept for checkpoints. */
static int replay_weigh(struct method *m, const double *gain)
{
    struct replay *r = self(m);
    struct walk *w = &r->walk;
    const int64_t n = w->total;
    int64_t *chosen = mem_new((size_t)n, sizeof *chosen), k;
    int rc;

    mem_free(r->gain);
    r->gain = mem_new((size_t)n, sizeof *r->gain);
    if (!chosen || !r->gain) FAIL(CL_ENOMEM, "no memory to choose among %lld records", (long long)n);
    TRY(kpig_choose(chosen, &k, gain, n, r->share));
    memcpy(r->gain, gain, (size_t)n * sizeof *r->gain);
    r->gains = n;
    for (int64_t i = 0; i < k; i++) w->all[i] = w->all[chosen[i]];
    w->total = k;
done:
    mem_free(chosen);
    return rc;
}

static int replay_begin_task(struct method *m, int task, int64_t n)
{
    struct replay *r = self(m);
    int rc;

    TRY(lora_begin_task(m, task, n));
    TRY(gather(r, task));
    r->records = n;
done:
    return rc;
}

static int rising(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int replay_end_task(struct method *m, int task)
{
    struct replay *r = self(m);
    struct kept *k = NULL;
    int64_t *order = NULL;
    int rc;

    TRY(lora_end_task(m, task));
    k = &r->kept[task];
    order = mem_new((size_t)r->records, sizeof *order);
    mem_free(k->index);
    k->n = r->records < r->budget ? r->records : r->budget;
    k->index = mem_new((size_t)k->n, sizeof *k->index);
    if (!order || !k->index) {
        k->n = 0;
        FAIL(CL_ENOMEM, "no memory to choose among %lld records", (long long)r->records);
    }
    rng_permutation(order, r->records, r->lora.seed, RNG_REPLAY_KEEP, (uint32_t)task, 0);
    for (int64_t i = 0; i < k->n; i++) k->index[i] = order[i];
    qsort(k->index, (size_t)k->n, sizeof *k->index, rising);
done:
    mem_free(order);
    return rc;
}

static int replay_mix(struct method *m, int task, int64_t step, int batch, struct sample_ref *refs, int room, int *n)
{
    return walk_mix(&self(m)->walk, task, step, batch, refs, room, n);
}

static int replay_save(struct method *m, struct ckpt *c, bool resume)
{
    struct replay *r = self(m);
    char name[64];
    int rc;

    TRY(lora_save(m, c, resume));
    for (int t = 0; t < r->lora.pool.T; t++) {
        if (!r->kept[t].n) continue;
        snprintf(name, sizeof name, "/replay/%d", t);
        TRY(ckpt_write(c, name, CKPT_I64, 1, &r->kept[t].n, r->kept[t].index, false));
    }
    if (resume) TRY(ckpt_attr_i64(c, "/resume", "records", r->records));
    if (resume && r->gains) TRY(ckpt_write(c, "/resume/gain", CKPT_F64, 1, &r->gains, r->gain, false));
done:
    return rc;
}

static int load_kept(struct kept *k, struct ckpt *c, int task)
{
    char name[64];
    int64_t shape[CKPT_MAX_DIMS];
    int dims, rc;

    snprintf(name, sizeof name, "/replay/%d", task);
    mem_free(k->index);
    *k = (struct kept){0};
    if (!ckpt_has(c, name)) return CL_OK;
    TRY(ckpt_shape(c, name, &dims, shape));
    if (dims != 1) FAIL(CL_EFORMAT, "%s: %s has %d dimensions (expected 1)", ckpt_path(c), name, dims);
    k->index = mem_new((size_t)shape[0], sizeof *k->index);
    if (!k->index) FAIL(CL_ENOMEM, "no memory for %lld records of task %d", (long long)shape[0], task);
    TRY(ckpt_read(c, name, CKPT_I64, 1, shape, k->index));
    for (int64_t i = 0; i < shape[0]; i++)
        if (k->index[i] < 0) FAIL(CL_EFORMAT, "%s: %s[%lld] is negative", ckpt_path(c), name, (long long)i);
    k->n = shape[0];
done:
    return rc;
}

/* What the running task was begun with: the same records are chosen again. */
static int load_gain(struct replay *r, struct ckpt *c)
{
    int rc = CL_OK;
    double *gain = NULL;

    if (!ckpt_has(c, "/resume/gain")) return CL_OK;
    if (!(gain = mem_new((size_t)r->walk.total, sizeof *gain)))
        FAIL(CL_ENOMEM, "no memory for the gains of %lld records", (long long)r->walk.total);
    TRY(ckpt_read(c, "/resume/gain", CKPT_F64, 1, &r->walk.total, gain));
    TRY(replay_weigh((struct method *)r, gain));
done:
    mem_free(gain);
    return err_prefix(rc, "%s: /resume/gain", ckpt_path(c));
}

static int replay_load(struct method *m, struct ckpt *c, bool resume)
{
    struct replay *r = self(m);
    int rc;

    TRY(lora_load(m, c, resume));
    for (int t = 0; t < r->lora.pool.T; t++) TRY(load_kept(&r->kept[t], c, t));
    if (!resume) goto done;
    TRY(ckpt_get_i64(c, "/resume", "records", &r->records));
    if (r->records < 0) FAIL(CL_EFORMAT, "%s: /resume records is %lld", ckpt_path(c), (long long)r->records);
    TRY(gather(r, r->lora.current));
    TRY(load_gain(r, c));
done:
    return rc;
}

const struct method_ops replay_ops = {
    .name = "replay",
    .help = "one LoRA that sees replay.budget kept samples of each earlier task again",
    .trains = true,
    .size = lora_size,
    .open = replay_open,
    .close = replay_close,
    .begin_task = replay_begin_task,
    .kept = replay_kept,
    .weigh = replay_weigh,
    .mix = replay_mix,
    .adapters = lora_adapters,
    .route = lora_route,
    .gradients = lora_gradients,
    .step = lora_step,
    .end_task = replay_end_task,
    .save = replay_save,
    .load = replay_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
