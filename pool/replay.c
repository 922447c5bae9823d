/* replay.c - one LoRA that sees kept samples of earlier tasks again.
 *
 * Of every finished task replay.budget records are kept, drawn at random by the seed. They join each step by a walk through a
 * random order of everything kept (pool/walk.h), so that each comes up equally often.
 *
 * With replay.choose kpig only a part of what is kept is walked through: the records whose questions' key parts tell the model
 * least (pool/kpig.h), by what was measured last.
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
    int64_t records;        // of the current task
    struct kept *kept;      // (T) what finished tasks left
    struct sample_ref *all; // (total) that of tasks before the current one
    int64_t total;
    struct walk walk; // through all of it, or the chosen part
    bool kpig;        // replay.choose
    double share;     // that is chosen
    double *gain;     // (total) by which it was; NULL: it was not
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
    mem_free(r->all), mem_free(r->gain);
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

    mem_free(r->all), mem_free(r->gain);
    r->gain = NULL, r->total = 0;
    for (int t = 0; t < task; t++) n += r->kept[t].n;
    r->all = mem_new((size_t)n, sizeof *r->all);
    if (!r->all) FAIL(CL_ENOMEM, "no memory for %lld records of earlier tasks", (long long)n);
    for (int t = 0; t < task; t++)
        for (int64_t i = 0; i < r->kept[t].n; i++) r->all[r->total++] = (struct sample_ref){t, r->kept[t].index[i]};
    TRY(walk_begin(&r->walk, n));
    for (int64_t i = 0; i < n; i++) walk_add(&r->walk, r->all[i]);
done:
    return rc;
}

static const struct sample_ref *replay_kept(struct method *m, int64_t *n)
{
    const struct replay *r = self(m);

    *n = r->kpig && r->walk.ratio > 0 ? r->total : 0;
    return r->all;
}

/* The walk goes through the chosen ones alone; gains are kept for checkpoints. */
static int replay_weigh(struct method *m, const double *gain, bool *chosen)
{
    struct replay *r = self(m);
    const size_t n = (size_t)r->total;
    int64_t *which = mem_new(n, sizeof *which), k;
    int rc;

    if (!r->gain) r->gain = mem_new(n, sizeof *r->gain);
    if (!which || !r->gain) FAIL(CL_ENOMEM, "no memory to choose among %zu records", n);
    TRY(kpig_choose(which, &k, gain, r->total, r->share));
    memcpy(r->gain, gain, n * sizeof *gain);
    TRY(walk_begin(&r->walk, k));
    memset(chosen, 0, n * sizeof *chosen);
    for (int64_t i = 0; i < k; i++) {
        walk_add(&r->walk, r->all[which[i]]);
        chosen[which[i]] = true;
    }
done:
    mem_free(which);
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
    if (resume && r->gain) TRY(ckpt_write(c, "/resume/gain", CKPT_F64, 1, &r->total, r->gain, false));
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

/* What was measured last in the running task: the same records are chosen again. */
static int load_gain(struct replay *r, struct ckpt *c)
{
    int rc = CL_OK;
    double *gain = NULL;
    bool *chosen = NULL;

    if (!ckpt_has(c, "/resume/gain")) return CL_OK;
    gain = mem_new((size_t)r->total, sizeof *gain), chosen = mem_new((size_t)r->total, sizeof *chosen);
    if (!gain || !chosen) FAIL(CL_ENOMEM, "no memory for the gains of %lld records", (long long)r->total);
    TRY(ckpt_read(c, "/resume/gain", CKPT_F64, 1, &r->total, gain));
    TRY(replay_weigh((struct method *)r, gain, chosen));
done:
    mem_free(gain), mem_free(chosen);
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
