/* state.c - writing and reading where a run stands. */
#include "jobs/state.h"

#include "io/err.h"
#include "model/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int state_new(struct run_state *s, const struct config *cfg)
{
    int T = cfg->stream.tasks;

    *s = (struct run_state){.tasks = T, .stage = 1};
    s->name = mem_new((size_t)T, sizeof *s->name);
    s->done = mem_new((size_t)T, sizeof *s->done);
    s->accuracy = mem_new((size_t)(T + 1) * (size_t)T, sizeof *s->accuracy);
    s->loss = mem_new((size_t)T * (size_t)T, sizeof *s->loss);
    s->history = mem_new((size_t)T, sizeof *s->history);
    if (!s->name || !s->done || !s->accuracy || !s->loss || !s->history)
        return err_set(CL_ENOMEM, "no memory for the state of a run");
    for (int t = 0; t < T; t++) s->name[t] = cfg->stream.task[t].name;
    for (int i = 0; i < (T + 1) * T; i++) s->accuracy[i] = NAN;
    for (int i = 0; i < T * T; i++) s->loss[i] = NAN;
    return CL_OK;
}

void state_free(struct run_state *s)
{
    for (int t = 0; s->history && t < s->tasks; t++) mem_free(s->history[t].loss);
    mem_free(s->name), mem_free(s->done), mem_free(s->accuracy), mem_free(s->loss), mem_free(s->history);
    memset(s, 0, sizeof *s);
}

double *state_cell(struct run_state *s, int after, int on)
{
    return &s->accuracy[(after + 1) * s->tasks + on];
}

int state_add_loss(struct task_history *h, double loss)
{
    if (h->n_loss == h->room) {
        int64_t room = h->room ? 2 * h->room : 256;
        double *bigger = mem_grow(h->loss, (size_t)h->n_loss, (size_t)room, sizeof *h->loss);
        if (!bigger) return err_set(CL_ENOMEM, "no memory for the loss history");
        h->loss = bigger, h->room = room;
    }
    h->loss[h->n_loss++] = loss;
    return CL_OK;
}

/* ---- writing */

static int save_root(struct job *j, struct ckpt *c)
{
    int rc;
    char *config = NULL;

    TRY(config_json(&j->cfg, &config));
    TRY(ckpt_attr_str(c, "/", "base_hash", job_base_hash(j)));
    TRY(ckpt_attr_str(c, "/", "encoder_hash", j->encoder ? text_encoder_hash(j->encoder) : ""));
    TRY(ckpt_attr_str(c, "/", "config", config));
done:
    free(config);
    return rc;
}

static int save_history(const struct run_state *s, struct ckpt *c, int t)
{
    int rc;
    const struct task_history *h = &s->history[t];
    char group[32], loss[48];

    snprintf(group, sizeof group, "/history/%d", t);
    snprintf(loss, sizeof loss, "%s/loss", group);
    TRY(ckpt_write(c, loss, CKPT_F64, 1, &h->n_loss, h->loss, true));
    TRY(ckpt_attr_i64(c, group, "samples", h->samples));
    TRY(ckpt_attr_i64(c, group, "steps", h->steps));
    TRY(ckpt_attr_i64(c, group, "tokens", h->tokens));
    TRY(ckpt_attr_f64(c, group, "seconds", h->seconds));
    TRY(ckpt_attr_str(c, group, "started", h->started));
    TRY(ckpt_attr_str(c, group, "finished", h->finished));
done:
    return rc;
}

static int save_progress(const struct run_state *s, struct job *j, struct ckpt *c)
{
    int rc;
    int64_t T = s->tasks, shape[2] = {T + 1, T};
    const char **metric = mem_new((size_t)T, sizeof *metric);

    if (!metric) FAIL(CL_ENOMEM, "no memory to write a checkpoint");
    for (int t = 0; t < T; t++) metric[t] = j->cfg.stream.task[t].metric;
    TRY(ckpt_write_strings(c, "/stream/tasks", (const char *const *)s->name, T));
    TRY(ckpt_write(c, "/stream/done", CKPT_I32, 1, &T, s->done, false));
    TRY(ckpt_attr_i64(c, "/stream", "steps", s->steps));
    TRY(ckpt_attr_i64(c, "/stream", "log_offset", s->log_offset));
    TRY(ckpt_write(c, "/metrics/accuracy", CKPT_F64, 2, shape, s->accuracy, false));
    TRY(ckpt_write_strings(c, "/metrics/names", metric, T));
    TRY(ckpt_write(c, "/metrics/loss", CKPT_F64, 2, (const int64_t[]){T, T}, s->loss, false));
    for (int t = 0; t < T; t++)
        if (s->done[t] != TASK_WAITING) TRY(save_history(s, c, t));
done:
    mem_free(metric);
    return rc;
}

static int save_resume(const struct run_state *s, struct job *j, struct ckpt *c, const int64_t *order, int64_t n)
{
    int rc;
    int64_t batch = s->stage == 1 ? j->cfg.stage1.batch : j->cfg.stage2.batch, per_epoch = (n + batch - 1) / batch;
    int64_t counter[4] = {j->cfg.seed, s->task, s->stage,
                          s->step}; // numbers come from counters: this is all their state

    TRY(ckpt_write(c, "/resume/order", CKPT_I64, 1, &n, order, false));
    TRY(ckpt_attr_i64(c, "/resume", "task", s->task));
    TRY(ckpt_attr_i64(c, "/resume", "stage", s->stage));
    TRY(ckpt_attr_i64(c, "/resume", "epoch", per_epoch ? s->step / per_epoch : 0));
    TRY(ckpt_attr_i64(c, "/resume", "step", s->step));
    TRY(ckpt_attr_i64(c, "/resume", "position", per_epoch ? s->step % per_epoch * batch : 0));
    TRY(ckpt_attr_bytes(c, "/resume", "rng", counter, sizeof counter));
    TRY(ckpt_attr_i64(c, "/resume", "log_offset", s->log_offset));
done:
    return rc;
}

int state_save(const struct run_state *s, struct job *j, const char *path, bool resume, bool later,
               const int64_t *order, int64_t n)
{
    int rc;
    struct ckpt *c = NULL;

    TRY(later ? ckpt_create_deferred(&c, path) : ckpt_create(&c, path));
    TRY(save_root(j, c));
    TRY(save_progress(s, j, c));
    TRY(j->method->ops->save(j->method, c, resume));
    if (j->taskres) TRY(taskres_save(j->taskres, c, resume));
    if (resume) TRY(save_resume(s, j, c, order, n));
    rc = ckpt_commit(c);
    c = NULL;
done:
    ckpt_abandon(c);
    return err_prefix(rc, "checkpoint %s", path);
}

/* ---- reading */

/* A checkpoint is of use only with the very weights that it was trained on. */
static int check_hash(struct ckpt *c, const char *attr, const char *ours, const char *what, const char *where)
{
    int rc;
    char *theirs = NULL;

    TRY(ckpt_get_str(c, "/", attr, &theirs));
    if (strcmp(theirs, ours))
        FAIL(CL_EMISMATCH,
             "%s: checkpoint of another %s (got %s, expected %s of %s); hint: point `%s` at what it was trained on",
             ckpt_path(c), what, theirs, ours, where, what);
done:
    free(theirs);
    return rc;
}

static int load_stream(struct run_state *s, struct ckpt *c)
{
    int rc;
    char **name = NULL;
    int64_t n = 0, T = s->tasks, shape[2] = {T + 1, T};

    TRY(ckpt_read_strings(c, "/stream/tasks", &name, &n));
    if (n != T)
        FAIL(CL_EMISMATCH, "%s: checkpoint of a stream of %lld tasks (the configuration has %lld)", ckpt_path(c),
             (long long)n, (long long)T);
    for (int t = 0; t < T; t++)
        if (strcmp(name[t], s->name[t]))
            FAIL(CL_EMISMATCH, "%s: task %d of the checkpoint is %s (the configuration has %s)", ckpt_path(c), t,
                 name[t], s->name[t]);
    TRY(ckpt_read(c, "/stream/done", CKPT_I32, 1, &T, s->done));
    TRY(ckpt_read(c, "/metrics/accuracy", CKPT_F64, 2, shape, s->accuracy));
    if (ckpt_has(c, "/metrics/loss")) TRY(ckpt_read(c, "/metrics/loss", CKPT_F64, 2, (const int64_t[]){T, T}, s->loss));
    TRY(ckpt_get_i64(c, "/stream", "steps", &s->steps));
    TRY(ckpt_get_i64(c, "/stream", "log_offset", &s->log_offset));
    if (s->steps < 0 || s->log_offset < 0)
        FAIL(CL_EFORMAT, "%s: /stream is at step %lld, byte %lld of the log (expected 0 or more)", ckpt_path(c),
             (long long)s->steps, (long long)s->log_offset);
    for (int t = 0; t < T; t++)
        if (s->done[t] < TASK_WAITING || s->done[t] > TASK_FINISHED)
            FAIL(CL_EFORMAT, "%s: /stream/done of task %d is %d (expected 0 to 3)", ckpt_path(c), t, s->done[t]);
done:
    ckpt_strings_free(name, n);
    return rc;
}

static int get_text(struct ckpt *c, const char *group, const char *attr, char *out, size_t room)
{
    char *text = NULL;
    int rc = ckpt_get_str(c, group, attr, &text);

    if (!rc) snprintf(out, room, "%s", text);
    free(text);
    return rc;
}

static int load_history(struct run_state *s, struct ckpt *c, int t)
{
    int rc, dims;
    struct task_history *h = &s->history[t];
    char group[32], loss[48];
    int64_t shape[CKPT_MAX_DIMS];

    snprintf(group, sizeof group, "/history/%d", t);
    snprintf(loss, sizeof loss, "%s/loss", group);
    TRY(ckpt_shape(c, loss, &dims, shape));
    if (dims != 1) FAIL(CL_EFORMAT, "%s: %s has %d dimensions (expected 1)", ckpt_path(c), loss, dims);
    mem_free(h->loss);
    h->n_loss = shape[0], h->room = shape[0] + 1;
    if (!(h->loss = mem_new((size_t)h->room, sizeof *h->loss))) FAIL(CL_ENOMEM, "no memory for the loss history");
    TRY(ckpt_read(c, loss, CKPT_F64, 1, shape, h->loss));
    TRY(ckpt_get_i64(c, group, "samples", &h->samples));
    TRY(ckpt_get_i64(c, group, "steps", &h->steps));
    TRY(ckpt_get_i64(c, group, "tokens", &h->tokens));
    TRY(ckpt_get_f64(c, group, "seconds", &h->seconds));
    TRY(get_text(c, group, "started", h->started, sizeof h->started));
    TRY(get_text(c, group, "finished", h->finished, sizeof h->finished));
done:
    return rc;
}

static int load_resume(struct run_state *s, struct ckpt *c)
{
    int rc;
    int64_t task, stage;

    TRY(ckpt_get_i64(c, "/resume", "task", &task));
    TRY(ckpt_get_i64(c, "/resume", "stage", &stage));
    TRY(ckpt_get_i64(c, "/resume", "step", &s->step));
    if (task < 0 || task >= s->tasks || stage < 1 || stage > 2 || s->step < 0)
        FAIL(CL_EFORMAT, "%s: /resume stands at task %lld, stage %lld, step %lld (expected 0 to %d, 1 or 2, 0 or more)",
             ckpt_path(c), (long long)task, (long long)stage, (long long)s->step, s->tasks - 1);
    if (s->done[task] != TASK_STAGE1 && s->done[task] != TASK_STAGE2)
        FAIL(CL_EFORMAT, "%s: /resume stands in task %lld, whose state is %d (expected 1 or 2)", ckpt_path(c),
             (long long)task, s->done[task]);
    s->task = (int)task, s->stage = (int)stage;
done:
    return rc;
}

int state_load(struct run_state *s, struct job *j, struct ckpt *c)
{
    int rc;
    bool resume = ckpt_has(c, "/resume");

    TRY(check_hash(c, "base_hash", job_base_hash(j), "base", j->cfg.base));
    if (j->encoder) TRY(check_hash(c, "encoder_hash", text_encoder_hash(j->encoder), "encoder", j->cfg.encoder));
    TRY(load_stream(s, c));
    for (int t = 0; t < s->tasks; t++)
        if (s->done[t] != TASK_WAITING) TRY(load_history(s, c, t));
    s->task = 0, s->stage = 1, s->step = 0;
    while (s->task < s->tasks && s->done[s->task] == TASK_FINISHED) s->task++;
    if (resume) TRY(load_resume(s, c));
    TRY(j->method->ops->load(j->method, c, resume));
    if (j->taskres) TRY(taskres_load(j->taskres, c, resume));
done:
    return rc;
}
