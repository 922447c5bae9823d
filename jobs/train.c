/* train.c - the training loop, one screen of it in train_run and train_task. */
#include "jobs/train.h"

#include "io/accuracy.h"
#include "io/clock.h"
#include "io/err.h"
#include "io/memory.h"
#include "io/whole.h"
#include "io/signal.h"
#include "jobs/diagnostics.h"
#include "jobs/evaluate.h"
#include "jobs/gain.h"
#include "jobs/losses.h"
#include "jobs/report.h"
#include "jobs/run_dir.h"
#include "jobs/save.h"
#include "jobs/self_guide.h"
#include "pool/kpig.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NO_ROW = -2 }; // row -1 is the zero-shot one

struct run {
    struct job job;
    struct run_state state;
    struct train_options opt;
    struct task_data *train, *test; // (2 tasks): what was written of each (jobs/self_guide.h) behind its own; (tasks)
    double *format_free;            // (tasks + 1, tasks) beside state.accuracy
    struct trainer trainer;         // of the running task
    int lock;                       // of the output folder, -1: none
    struct saver save;
    int recalled; // row of the matrix of which cells came out of the log, or NO_ROW
    bool worked;  // this process has trained or measured something
};

static void stamp(char out[32])
{
    time_t t = time(NULL);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static const char *task_name(const struct run *r, int t)
{
    return r->job.cfg.stream.task[t].name;
}

/* ---- checkpoints */

/* Between two steps: is a checkpoint due, or does something want the run to stop? It stops when it reaches max_steps, not
 * when it is beyond, so that the same command goes on. */
static int save_or_stop(struct run *r)
{
    int rc;
    int64_t steps = r->state.steps, every = r->job.cfg.checkpoint.every_steps;
    bool asked = stop_requested(), limit = steps == r->opt.max_steps;

    TRY(save_settle(&r->save, false));
    if (asked || limit || (every > 0 && steps % every == 0)) TRY(save_step(&r->save, asked || limit));
    if (asked || limit)
        FAIL(CL_ESTOP, "stopped at step %lld %s%s; hint: the same command goes on from here", (long long)steps,
             asked ? "on " : "by --max-steps", asked ? stop_reason() : "");
done:
    return rc;
}

/* ---- one task */

static int log_step(struct run *r, int stage, int64_t step, double lr, const struct step_report *out, double seconds)
{
    struct log *l = r->job.log;

    log_begin(l, stage == 1 ? "stage1" : "stage2");
    log_int(l, "task", r->state.task);
    log_int(l, "step", step);
    log_num(l, "loss", out->loss);
    log_num(l, "grad_norm", out->grad_norm);
    log_num(l, "lr", lr);
    if (stage == 2) {
        log_int(l, "tokens", r->trainer.tokens);
        log_num(l, "tokens_per_s", seconds > 0 ? (double)r->trainer.tokens / seconds : 0);
        if (r->job.method->ops->penalises || kpig_listens(&r->job.cfg)) log_num(l, "penalty", out->penalty);
        if (kpig_listens(&r->job.cfg)) log_num(l, "jsd", out->jsd);
    }
    return log_end(l);
}

/* After a step: counters, log, progress, checkpoints, requests to stop. */
static int after_step(struct run *r, int stage, double lr, const struct step_report *out, double seconds)
{
    int rc;
    struct run_state *s = &r->state;
    char note[64];

    TRY(log_step(r, stage, s->step, lr, out, seconds));
    s->step++, s->steps++;
    snprintf(note, sizeof note, "loss %.4f", out->loss);
    progress_step(r->job.log, s->step, note);
    r->worked = true;
    TRY(save_or_stop(r));
done:
    return rc;
}

/* Numbers went wrong: what was saved before they did is named. */
static int say_last(struct run *r, int rc)
{
    if (rc != CL_ENUM) return rc;
    save_end(&r->save, rc); // it may still be on its way
    return err_set(rc, "%s; the last good checkpoint is %s", err_text(), r->save.last);
}

/* Every kpig.every steps what is replayed is chosen anew; the trainer, and the stage's progress line, make room meanwhile. */
static int weigh_again(struct run *r, int stage, const char *what, int64_t total)
{
    int rc = CL_OK;
    const struct run_state *s = &r->state;
    const int64_t every = r->job.cfg.kpig.every;
    int64_t kept = 0;

    if (stage != 2 || !every || !s->step || s->step % every || !r->job.method->ops->kept) return CL_OK;
    r->job.method->ops->kept(r->job.method, &kept);
    if (!kept) return CL_OK;
    trainer_close(&r->trainer);
    progress_end(r->job.log);
    TRY(gain_weigh(&r->job, r->train, s->task, s->step));
    TRY(trainer_open(&r->trainer, &r->job, r->train, s->task));
    TRY(trainer_order(&r->trainer, 2, s->step));
    progress_begin(r->job.log, what, total, "steps");
done:
    return rc;
}

static int run_stage(struct run *r, int stage)
{
    int rc = CL_OK;
    struct run_state *s = &r->state;
    struct task_history *h = &s->history[s->task];
    int64_t total = trainer_steps(&r->trainer, stage);
    char what[300];

    snprintf(what, sizeof what, "task %d/%d %s, stage %d", s->task + 1, s->tasks, task_name(r, s->task), stage);
    progress_begin(r->job.log, what, total, "steps");
    while (s->step < total) {
        struct step_report out = {0};
        double lr, begun = clock_seconds();
        TRY(weigh_again(r, stage, what, total));
        crew_at(r->job.crew, "stage %d of task %d %s, step %lld", stage, s->task, task_name(r, s->task),
                (long long)s->step);
        TRY(stage == 1 ? stage1_step(&r->trainer, s->step, &lr, &out) : stage2_step(&r->trainer, s->step, &lr, &out));
        if (!isfinite(out.loss) || !isfinite(out.grad_norm))
            FAIL(CL_ENUM, "loss or gradient norm is not finite (%g, %g)", out.loss, out.grad_norm);
        if (stage == 2) {
            TRY(state_add_loss(h, out.loss));
            h->steps++, h->tokens += r->trainer.tokens;
        }
        h->seconds += clock_seconds() - begun;
        TRY(after_step(r, stage, lr, &out, clock_seconds() - begun));
    }
done:
    progress_end(r->job.log);
    if (rc == CL_ENUM) err_prefix(rc, "%s, step %lld", what, (long long)s->step);
    return say_last(r, rc);
}

/* What single records tell about the learned task. A run that is killed meanwhile begins with it again. */
static int look_back(struct run *r)
{
    int rc;
    struct run_state *s = &r->state;
    const struct method_ops *ops = r->job.method->ops;
    double begun = clock_seconds();
    char what[300];

    if (!ops->sense && (!ops->look || !ops->look_samples(r->job.method, s->task))) return CL_OK;
    snprintf(what, sizeof what, "task %d/%d %s, looking back", s->task + 1, s->tasks, task_name(r, s->task));
    crew_at(r->job.crew, "%s", what);
    progress_begin(r->job.log, what, s->history[s->task].samples, "records");
    rc = ops->sense ? trainer_sense(&r->trainer) : trainer_look(&r->trainer);
    progress_end(r->job.log);
    s->history[s->task].seconds += clock_seconds() - begun;
    return rc == CL_ENUM ? say_last(r, err_prefix(rc, "%s", what)) : rc;
}

/* The slots of earlier tasks are tried on the task's records, where the method asks for it. A run that is killed meanwhile begins
 * with it again. */
static int try_slots(struct run *r)
{
    int rc = CL_OK;
    struct run_state *s = &r->state;
    struct job *j = &r->job;
    const struct method_ops *ops = j->method->ops;
    char what[300];

    for (int of = -1; ops->candidate && (of = ops->candidate(j->method, s->task, of)) >= 0;) {
        snprintf(what, sizeof what, "task %d/%d %s on the slots of %s", s->task + 1, s->tasks, task_name(r, s->task),
                 task_name(r, of));
        crew_at(j->crew, "%s", what);
        if (ops->routes) TRY(task_data_embed(&r->train[s->task], j));
        TRY(ops->try_slots(j->method, s->task, of));
        TRY(trainer_open(&r->trainer, j, r->train, s->task));
        progress_begin(j->log, what, j->cfg.lw2g.samples, "records");
        rc = trainer_look(&r->trainer);
        progress_end(j->log);
        trainer_close(&r->trainer);
        TRY(rc == CL_ENUM ? say_last(r, err_prefix(rc, "%s", what)) : rc);
        log_begin(j->log, "hindrance");
        log_int(j->log, "task", s->task);
        log_int(j->log, "of", of);
        log_num(j->log, "angle", ops->tried(j->method, s->task, of));
        TRY(log_end(j->log));
    }
done:
    return rc;
}

/* A task begins with the number of its records; when it goes on, they must be as many. */
static int begin_task(struct run *r)
{
    int rc;
    struct run_state *s = &r->state;
    const struct method_ops *ops = r->job.method->ops;
    struct task_history *h = &s->history[s->task];
    int64_t n = r->train[s->task].n;

    if (ops->joint)
        for (int t = n = 0; t < s->tasks; t++) n += r->train[t].n;
    if (s->done[s->task] != TASK_WAITING) {
        if (h->samples != n)
            FAIL(CL_EMISMATCH,
                 "task %s has %lld usable training records, %lld when it began; hint: restore the data, or --fresh to "
                 "begin anew",
                 task_name(r, s->task), (long long)n, (long long)h->samples);
        return CL_OK;
    }
    TRY(try_slots(r));
    TRY(ops->begin_task(r->job.method, s->task, n));
    if (r->job.taskres) taskres_begin_task(r->job.taskres, s->task);
    s->done[s->task] = TASK_STAGE1, s->stage = 1, s->step = 0;
    h->samples = n;
    stamp(h->started);
    if (ops->candidate && ops->candidate(r->job.method, s->task, -1) >= 0) {
        log_begin(r->job.log, "grow");
        log_int(r->job.log, "task", s->task);
        log_int(r->job.log, "slots_of", ops->home(r->job.method, s->task));
        TRY(log_end(r->job.log));
    }
done:
    return rc;
}

/* The task that learns is learned: with a joint method, all of them are. */
static int end_task(struct run *r)
{
    int rc;
    struct run_state *s = &r->state;
    const struct method_ops *ops = r->job.method->ops;

    TRY(ops->end_task(r->job.method, s->task));
    stamp(s->history[s->task].finished);
    if (ops->joint) s->task = s->tasks - 1;
    for (int t = ops->joint ? 0 : s->task; t <= s->task; t++) s->done[t] = TASK_FINISHED;
    s->stage = 1, s->step = 0;
    r->worked = true;
    rc = save_task(&r->save, s->task);
done:
    return rc;
}

/* What a method takes from earlier tasks before the first step of this one. A run that is killed meanwhile begins with it
 * again. */
static int look_at_earlier(struct run *r)
{
    struct run_state *s = &r->state;
    double begun = clock_seconds();
    int rc;

    TRY(gain_weigh(&r->job, r->train, s->task, 0));
    TRY(self_guide_write(&r->job, r->train, s->task));
done:
    s->history[s->task].seconds += clock_seconds() - begun;
    return say_last(r, rc);
}

/* begin -> stage 1 -> stage 2 -> end; enters in the middle where state says so. */
static int train_task(struct run *r)
{
    int rc;
    struct run_state *s = &r->state;
    struct job *j = &r->job;
    const struct method_ops *ops = j->method->ops;
    const bool begins = s->done[s->task] == TASK_WAITING;

    TRY(begin_task(r));
    if (begins) TRY(look_at_earlier(r));
    TRY(self_guide_read(j, r->train, s->task));
    if (ops->routes) TRY(task_data_embed(&r->train[s->task], j));
    TRY(trainer_open(&r->trainer, j, r->train, s->task));
    if (s->stage == 1) {
        TRY(trainer_order(&r->trainer, 1, s->step));
        if (ops->align) {
            TRY(run_stage(r, 1));
            TRY(stage1_end(&r->trainer));
        }
        s->done[s->task] = TASK_STAGE2, s->stage = 2, s->step = 0;
    }
    TRY(trainer_order(&r->trainer, 2, s->step));
    TRY(run_stage(r, 2));
    TRY(look_back(r));
    TRY(end_task(r));
done:
    trainer_close(&r->trainer);
    return rc;
}

/* ---- evaluation */

static int evaluate_cell(struct run *r, int after, int on, bool adapters)
{
    int rc;
    struct job *j = &r->job;
    struct cell_result c;
    char *path = run_dir_predictions(&j->cfg, after, on), what[300];

    if (!path) FAIL(CL_ENOMEM, "no memory for a path");
    snprintf(what, sizeof what, "%s %s: questions of %s", after < 0 ? "before" : "after",
             task_name(r, after < 0 ? 0 : after), task_name(r, on));
    crew_at(j->crew, "evaluation %s", what);
    progress_begin(j->log, what, r->test[on].n, "answers");
    rc = evaluate_task(&c, j, &r->test[on], evaluate_mode(j->cfg.eval.routing), adapters, path);
    progress_end(j->log);
    TRY(say_last(r, rc));
    *state_cell(&r->state, after, on) = c.score;
    r->format_free[(after + 1) * r->state.tasks + on] = c.format_free;
    log_begin(j->log, "eval");
    log_int(j->log, "after", after);
    log_int(j->log, "on", on);
    log_str(j->log, "task", task_name(r, on));
    log_num(j->log, "score", c.score);
    log_num(j->log, "low", c.low);
    log_num(j->log, "high", c.high);
    log_num(j->log, "format_free", c.format_free);
    log_num(j->log, "routed", c.routed);
    log_int(j->log, "samples", c.n);
    log_int(j->log, "tokens", c.tokens);
    log_num(j->log, "tokens_per_s", c.seconds > 0 ? (double)c.tokens / c.seconds : 0);
    TRY(log_end(j->log));
done:
    free(path);
    return rc;
}

/* Losses on records of every task seen, where they are not there yet. */
static int measure_losses(struct run *r, int after)
{
    int rc = CL_OK;
    struct run_state *s = &r->state;
    const struct config *f = &r->job.cfg;

    for (int i = 0; r->job.method->ops->trains && f->eval.loss_samples && i <= after; i++) {
        double *loss = &s->loss[after * s->tasks + i];
        if (!isnan(*loss)) continue;
        crew_at(r->job.crew, "losses of %s after %s", task_name(r, i), task_name(r, after));
        TRY(losses_measure(loss, &r->job, &r->train[i], evaluate_mode(f->eval.routing)));
    }
done:
    return say_last(r, rc);
}

/* The row of the matrix after a task: every task seen, and the next one for forward transfer. Cells that are there stay. */
static int evaluate_row(struct run *r, int after)
{
    int rc = CL_OK;
    struct run_state *s = &r->state;
    const struct config *f = &r->job.cfg;
    const struct method_ops *ops = r->job.method->ops;
    bool last = after == s->tasks - 1, measured = r->recalled == after;
    int upto = after < 0 || last ? s->tasks : after + 1 + f->eval.next_task;

    if (after < 0 ? !f->eval.zero_shot && ops->trains : !last && !f->eval.after_each_task) return CL_OK;
    for (int i = 0; i < upto && i < s->tasks; i++) {
        if (!isnan(*state_cell(s, after, i))) continue;
        TRY(evaluate_cell(r, after, i, after >= 0 && ops->trains));
        measured = r->worked = true;
    }
    if (after < 0 || !measured) goto done;
    r->recalled = NO_ROW;
    TRY(measure_losses(r, after));
    log_begin(r->job.log, "task");
    log_int(r->job.log, "task", after);
    log_str(r->job.log, "name", task_name(r, after));
    log_num(r->job.log, "seconds", s->history[ops->joint ? 0 : after].seconds);
    TRY(log_end(r->job.log));
    TRY(save_task(&r->save, after)); // the same file, with its row of the matrix
done:
    return rc;
}

/* ---- beginning and going on */

static int open_data(struct run *r)
{
    int rc;
    int T = r->state.tasks;

    r->train = mem_new(2 * (size_t)T, sizeof *r->train);
    r->test = mem_new((size_t)T, sizeof *r->test);
    r->format_free = mem_new((size_t)(T + 1) * (size_t)T, sizeof *r->format_free);
    if (!r->train || !r->test || !r->format_free) FAIL(CL_ENOMEM, "no memory for %d tasks", T);
    for (int i = 0; i < (T + 1) * T; i++) r->format_free[i] = NAN;
    for (int t = 0; t < T; t++) {
        if (r->job.method->ops->trains) TRY(task_data_open(&r->train[t], &r->job, t, false));
        TRY(task_data_open(&r->test[t], &r->job, t, true));
    }
    rc = CL_OK;
done:
    return rc;
}

/* A run with other decisive settings is not this run. */
static int check_same_run(struct run *r, struct ckpt *c)
{
    int rc;
    char *text = NULL;
    struct config theirs = {0};

    TRY(ckpt_get_str(c, "/", "config", &text));
    TRY(config_load_text(&theirs, text, ckpt_path(c), NULL, 0, 0));
    if (config_hash(&theirs) != config_hash(&r->job.cfg))
        FAIL(CL_ECONFIG,
             "%s holds a run with other settings (see its config.yaml); hint: choose another output, or --fresh to "
             "move it aside",
             r->job.cfg.output);
done:
    free(text);
    config_free(&theirs);
    return rc;
}

/* What the log knows beside the checkpoint: format-free scores, and the cells of the row after the last task that were
 * measured since, which need not be asked again. */
static int recall_cells(struct run *r, bool between_tasks)
{
    int rc;
    struct run_state *s = &r->state;
    int64_t until = s->log_offset;
    char path[PATH_ROOM];

    TRY(path_print(path, "%s/log.jsonl", r->job.cfg.output));
    TRY(report_recall_format_free(path, s->log_offset, s, r->format_free));
    if (!between_tasks) goto done;
    TRY(report_recall_cells(path, s->log_offset, s->task - 1, s, r->format_free, &until));
    if (until > s->log_offset) r->recalled = s->task - 1;
    s->log_offset = until;
done:
    return rc;
}

static int resume(struct run *r, bool *resumed)
{
    int rc;
    char *path = NULL;
    struct ckpt *c = NULL;

    *resumed = false;
    TRY(run_dir_latest(r->job.cfg.output, r->job.log, &path));
    if (!path) goto done;
    TRY(ckpt_open(&c, path));
    TRY(check_same_run(r, c));
    TRY(state_load(&r->state, &r->job, c));
    TRY(recall_cells(r, !ckpt_has(c, "/resume")));
    TRY(path_print(r->save.last, "%s", path));
    if (r->state.task == r->state.tasks && r->recalled == NO_ROW)
        log_say(r->job.log, "%s holds a finished run: nothing is left to do; hint: --fresh begins anew",
                r->job.cfg.output);
    else
        log_say(r->job.log, "going on from %s (step %lld)", path, (long long)r->state.steps);
    *resumed = true;
done:
    ckpt_close(c);
    free(path);
    return rc;
}

/* The folder, config.yaml and the log; for a resumed run the log is cut where its checkpoint stood. */
static int open_run_dir(struct run *r)
{
    int rc;
    struct job *j = &r->job;
    char *yaml = NULL, path[PATH_ROOM];
    bool resumed = false;
    struct log *l = NULL;

    if (r->opt.fresh) TRY(run_dir_move_aside(j->cfg.output));
    TRY(run_dir_make(j->cfg.output));
    TRY(run_dir_lock(j->cfg.output, &r->lock));
    TRY(run_dir_clean(j->cfg.output, r->lock >= 0));
    TRY(resume(r, &resumed));
    TRY(config_yaml(&j->cfg, &yaml));
    TRY(whole_write(j->cfg.output, "config.yaml", yaml, strlen(yaml)));
    TRY(path_print(path, "%s/log.jsonl", j->cfg.output));
    TRY(log_open(&l, path, resumed ? r->state.log_offset : 0));
    log_close(j->log);
    j->log = l;
    log_quiet(j->log, r->opt.quiet);
    if (resumed) goto done; // an uninterrupted run has one start event
    log_begin(j->log, "start");
    log_str(j->log, "method", j->cfg.method);
    log_str(j->log, "stream", j->cfg.stream.name);
    log_int(j->log, "tasks", r->state.tasks);
    log_int(j->log, "seed", j->cfg.seed);
    TRY(log_end(j->log));
    TRY(save_begin(&r->save));
done:
    free(yaml);
    return rc;
}

static int finish(struct run *r)
{
    int rc;

    TRY(report_write(&r->job, &r->state, r->format_free));
    log_begin(r->job.log, "end");
    log_int(r->job.log, "steps", r->state.steps);
    log_num(r->job.log, "peak_mib", memory_peak()); // of this process; `cllava plan` foresees it
    TRY(log_end(r->job.log));
done:
    return rc;
}

/* A method that learns nothing ends where it began: its last row is its first. */
static int keep_zero_shot(struct run *r)
{
    int T = r->state.tasks, last = T - 1;

    memcpy(r->format_free + T * T, r->format_free, (size_t)T * sizeof(double));
    if (r->state.task == T) return CL_OK;
    memcpy(state_cell(&r->state, last, 0), state_cell(&r->state, -1, 0), (size_t)T * sizeof(double));
    for (int t = 0; t < T; t++) r->state.done[t] = TASK_FINISHED;
    r->state.task = T;
    return save_task(&r->save, last);
}

/* What follows a learned task. A resumed run comes here first: its stop may have come at any point. */
static int after_task(struct run *r, int task)
{
    int rc;
    const struct run_state *s = &r->state;

    TRY(evaluate_row(r, task));
    if (s->task < s->tasks && s->done[s->task] != TASK_WAITING) goto done; // the next task is under way
    TRY(diagnostics_write(&r->job.cfg, task));
    TRY(run_dir_prune(r->job.cfg.output, 0));
    if (task == r->opt.stop_after_task && r->worked && s->task < s->tasks)
        FAIL(CL_ESTOP, "stopped after task %d %s by --stop-after-task; hint: the same command goes on from here", task,
             task_name(r, task));
done:
    return rc;
}

static int train_stream(struct run *r)
{
    int rc;
    struct run_state *s = &r->state;

    TRY(evaluate_row(r, -1));
    if (!r->job.method->ops->trains) TRY(keep_zero_shot(r));
    for (;; s->task++) {
        if (s->task > 0) TRY(after_task(r, s->task - 1));
        if (s->task == s->tasks) break;
        TRY(train_task(r));
    }
done:
    return rc;
}

static void give_result(struct run *r, struct train_result *out)
{
    *out = (struct train_result){.tasks = r->state.tasks,
                                 .accuracy = r->state.accuracy,
                                 .format_free = r->format_free,
                                 .parameters = r->job.method->ops->parameters(r->job.method) +
                                               taskres_parameters(r->job.taskres)};
    for (int t = 0; t < out->tasks; t++) out->seconds += r->state.history[t].seconds;
    r->state.accuracy = r->format_free = NULL;
}

static void close_run(struct run *r)
{
    for (int t = 0; t < r->state.tasks; t++) {
        if (r->train) task_data_close(&r->train[t]), task_data_close(&r->train[r->state.tasks + t]);
        if (r->test) task_data_close(&r->test[t]);
    }
    mem_free(r->train), mem_free(r->test), mem_free(r->format_free);
    state_free(&r->state);
    job_close(&r->job);
    if (r->lock >= 0) close(r->lock); // lets the next one in, once everything is closed
}

/* What training passes keep: decided before the first of them. */
static int plan_passes(struct run *r, struct plan_row *plan)
{
    int rc = CL_OK;

    if (!r->job.method->ops->trains) return CL_OK;
    TRY(plan_job_row(plan, &r->job, r->train, r->test));
    r->job.again = plan->again;
done:
    return rc;
}

int train_run(struct config *cfg, const struct train_options *options, struct train_result *out)
{
    int rc;
    struct run r = {.job.cfg = *cfg, .opt = *options, .lock = -1, .recalled = NO_ROW};
    struct plan_row plan;

    memset(cfg, 0, sizeof *cfg);
    r.save = (struct saver){.j = &r.job, .s = &r.state, .t = &r.trainer};
    TRY(state_new(&r.state, &r.job.cfg));
    TRY(job_open(&r.job, JOB_MODEL | JOB_TRAIN | JOB_METHOD));
    log_quiet(r.job.log, r.opt.quiet);
    TRY(open_data(&r));
    TRY(plan_passes(&r, &plan));
    if (!r.opt.quiet) report_settings(&r.job, r.job.method->ops->trains ? &plan : NULL, r.train, r.test);
    TRY(open_run_dir(&r));
    TRY(train_stream(&r));
    TRY(finish(&r));
    if (out) give_result(&r, out);
done:
    rc = save_end(&r.save, rc);
    close_run(&r);
    return rc;
}
