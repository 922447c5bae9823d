/* self_guide.c - what the model writes for each earlier task, into a task file; and the files back as data of their own. */
#include "jobs/self_guide.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"
#include "io/path.h"
#include "io/text.h"
#include "io/whole.h"
#include "jobs/run_dir.h"
#include "jobs/self_guide_internal.h"

/* Whether anything would join a step. */
static bool rehearses(const struct job *j)
{
    return j->method->ops->rehearse && j->cfg.replay.budget > 0 && j->cfg.replay.ratio > 0;
}

static int path_of(char path[PATH_ROOM], const struct job *j, int task, int of)
{
    return path_print(path, "%s/rehearsal/task%d-of%d.jsonl", j->cfg.output, task, of);
}

static void close_writing(struct writing *p)
{
    for (int64_t i = 0; p->w && i < p->n; i++) free(p->w[i].question), free(p->w[i].picture), free(p->w[i].answer);
    mem_free(p->w);
    written_texts_free(&p->about), written_texts_free(&p->plain), written_texts_free(&p->picture);
}

/* What the run's own records take at most: buffers and plans are made for it. */
static void set_limits(struct writing *p)
{
    for (int t = 0; t < p->j->cfg.stream.tasks; t++) {
        if (p->data[t].longest > p->longest) p->longest = p->data[t].longest;
        if (p->data[t].most_answers > p->answers) p->answers = p->data[t].most_answers;
    }
}

/* A sample as it would be trained on must fit. */
static int check_limit(const struct writing *p, struct written *w)
{
    struct turn turn[2] = {{true, w->question}, {false, w->answer}};
    const struct record r = {.image = w->picture, .turns = 2, .turn = turn};
    struct sample s = {0};
    int rc = sample_make(&s, &p->j->sampler, &r);

    if (rc == CL_EDATA || (!rc && (s.n > p->longest || s.answers > p->answers))) w->fault = WRITTEN_LIMIT, rc = CL_OK;
    sample_free(&s);
    return rc;
}

/* One line of the task file. */
static int add_line(struct text *t, const struct writing *p, int64_t i)
{
    const struct written *w = &p->w[i];
    char id[64], *line;
    json_t *o;

    snprintf(id, sizeof id, "task%d-of%d-%lld", p->task, p->of, (long long)i);
    o = json_pack("{s:s, s:s*, s:[{s:s, s:s}, {s:s, s:s}]}", "id", id, "image", w->picture, "conversations", "from",
                  "human", "value", w->question, "from", "gpt", "value", w->answer);
    line = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!line) return err_set(CL_ENOMEM, "no memory for a sample");
    text_add(t, "%s\n", line);
    free(line);
    return CL_OK;
}

static int write_file(const struct writing *p)
{
    int rc;
    struct text t = {0};
    char path[PATH_ROOM];

    TRY(path_of(path, p->j, p->task, p->of));
    text_add(&t, "%s", "");
    for (int64_t i = 0; i < p->n; i++)
        if (!p->w[i].fault) TRY(add_line(&t, p, i));
    if (t.failed) FAIL(CL_ENOMEM, "no memory for %lld samples", (long long)p->n);
    TRY(whole_write_path(path, t.s, t.len));
done:
    text_free(&t);
    return rc;
}

static int say(const struct writing *p)
{
    static const char *const name[WRITTEN_FAULTS] = {"kept", "empty",  "unfinished", "noise",
                                                     "echo", "length", "twice",      "limit"};
    struct log *l = p->j->log;
    int64_t count[WRITTEN_FAULTS] = {0};

    for (int64_t i = 0; i < p->n; i++) count[p->w[i].fault]++;
    log_begin(l, "self_guide");
    log_int(l, "task", p->task);
    log_int(l, "of", p->of);
    log_int(l, "seeds", p->about.n + p->plain.n);
    log_int(l, "asked", p->n);
    for (int k = 0; k < WRITTEN_FAULTS; k++) log_int(l, name[k], count[k]);
    if (!count[WRITTEN_GOOD])
        log_warn(l, "nothing to rehearse of task %s: none of %lld samples is of use", p->j->cfg.stream.task[p->of].name,
                 (long long)p->n);
    return log_end(l);
}

static int write_of(struct job *j, struct task_data *data, int task, int of)
{
    int rc;
    struct writing p = {.j = j, .data = data, .task = task, .of = of};
    const char *name = j->cfg.stream.task[of].name;
    char what[300];

    set_limits(&p);
    TRY(self_guide_from(&p));
    snprintf(what, sizeof what, "task %d/%d %s, samples of %s", task + 1, j->cfg.stream.tasks,
             j->cfg.stream.task[task].name, name);
    crew_at(j->crew, "%s", what);
    progress_begin(j->log, what, 0, "texts");
    rc = self_guide_ask(&p);
    progress_end(j->log);
    if (rc) goto done;
    for (int64_t i = 0; i < p.n; i++)
        if (!p.w[i].fault) TRY(check_limit(&p, &p.w[i]));
    TRY(write_file(&p));
    TRY(say(&p));
done:
    close_writing(&p);
    return rc == CL_ESTOP ? rc : err_prefix(rc, "samples of %s", name);
}

int self_guide_write(struct job *j, struct task_data *data, int task)
{
    int rc = CL_OK;
    char path[PATH_ROOM];

    if (!task || !rehearses(j)) return CL_OK;
    TRY(path_print(path, "%s/rehearsal", j->cfg.output));
    TRY(run_dir_make_folders(path));
    for (int of = 0; of < task; of++) TRY(write_of(j, data, task, of));
done:
    return rc;
}

/* ---- reading */

static int read_of(struct task_data *d, struct job *j, const struct task_data *data, int task, int of)
{
    int rc;
    char path[PATH_ROOM];
    struct stat st;
    struct writing p = {.j = j, .data = (struct task_data *)(uintptr_t)data};

    TRY(path_of(path, j, task, of));
    if (stat(path, &st))
        FAIL(CL_EMISMATCH, "%s: what the running task rehearses is gone; hint: restore it, or --fresh to begin anew",
             path);
    if (!st.st_size) goto done; // nothing was of use
    TRY(task_data_open_file(d, j, of, path));
    set_limits(&p);
    if (d->longest > p.longest || d->most_answers > p.answers)
        FAIL(CL_EMISMATCH,
             "%s: samples of up to %lld tokens, %lld of an answer (expected at most %lld, %lld); hint: "
             "restore it, or --fresh to begin anew",
             path, (long long)d->longest, (long long)d->most_answers, (long long)p.longest, (long long)p.answers);
done:
    return rc;
}

int self_guide_read(struct job *j, struct task_data *data, int task)
{
    int rc = CL_OK;
    struct task_data *written = data + j->cfg.stream.tasks;
    int64_t *n = NULL;

    if (!rehearses(j)) return CL_OK;
    if (!(n = mem_new((size_t)task, sizeof *n))) FAIL(CL_ENOMEM, "no memory for %d tasks", task);
    for (int of = 0; of < task; of++) {
        task_data_close(&written[of]); // of the task before
        TRY(read_of(&written[of], j, data, task, of));
        n[of] = written[of].n;
    }
    TRY(j->method->ops->rehearse(j->method, task, n));
done:
    mem_free(n);
    return rc;
}
