/* eval.c - `cllava eval`: a checkpoint on every task of its stream: predictions, scores, routing. */
#include "io/err.h"
#include "io/path.h"
#include "jobs/commands.h"
#include "jobs/evaluate.h"
#include "jobs/open_checkpoint.h"
#include "jobs/run_dir.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Is a task in the comma-separated list? NULL: all are. */
static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (!strncmp(p, name, n) && (p[n] == ',' || !p[n])) return true;
    return !list;
}

static int check_list(const struct config *f, const char *list)
{
    char name[256];

    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        bool found = false;
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        for (int t = 0; t < f->stream.tasks; t++) found |= !strcmp(f->stream.task[t].name, name);
        if (!found)
            return err_set(CL_EUSAGE, "--tasks: the stream has no task %s; hint: cllava inspect CHECKPOINT lists them",
                           name);
        p += n + (p[n] == ',');
    }
    return CL_OK;
}

/* Where predictions go: --output, or beside the checkpoint: NAME.h5 -> NAME-eval-free/. */
static char *output_of(const struct command_args *a, const char *checkpoint, const char *routing)
{
    const char *given = args_value(a, "output", NULL);
    size_t n = strlen(checkpoint);
    char *path = NULL;

    if (given) return strdup(given);
    if (n > 3 && !strcmp(checkpoint + n - 3, ".h5")) n -= 3;
    return asprintf(&path, "%.*s-eval-%s", (int)n, checkpoint, routing) < 0 ? NULL : path;
}

static int one_task(struct job *j, int t, const char *routing, const char *dir)
{
    int rc;
    struct task_data d = {0};
    struct cell_result c;
    char path[PATH_ROOM], routed[16] = "-", interval[32];

    TRY(path_print(path, "%s/predictions/on%d.jsonl", dir, t));
    TRY(task_data_open(&d, j, t, true));
    crew_at(j->crew, "evaluation on %s", d.conf->name);
    progress_begin(j->log, d.conf->name, d.n, "answers");
    rc = evaluate_task(&c, j, &d, evaluate_mode(routing), j->method->ops->trains, path);
    progress_end(j->log);
    if (rc) goto done;
    if (!isnan(c.routed)) snprintf(routed, sizeof routed, "%.2f", c.routed);
    snprintf(interval, sizeof interval, "%.2f..%.2f", c.low, c.high);
    printf("%-20s %8lld %9.2f %16s %12.2f %9s\n", d.conf->name, (long long)c.n, c.score, interval, c.format_free,
           routed);
    fflush(stdout);
    log_begin(j->log, "eval");
    log_int(j->log, "on", t);
    log_str(j->log, "task", d.conf->name);
    log_str(j->log, "routing", routing);
    log_num(j->log, "score", c.score);
    log_num(j->log, "low", c.low);
    log_num(j->log, "high", c.high);
    log_num(j->log, "format_free", c.format_free);
    log_num(j->log, "routed", c.routed);
    log_int(j->log, "samples", c.n);
    TRY(log_end(j->log));
done:
    task_data_close(&d);
    return rc;
}

int command_eval(const struct command_args *a)
{
    int rc;
    struct job j = {0};
    const char *checkpoint = args_positional(a, 0), *tasks = args_value(a, "tasks", NULL), *routing;
    char *dir = NULL, log_path[PATH_ROOM];

    TRY(job_open_checkpoint(&j, checkpoint, args_positional(a, 1), a));
    routing = args_value(a, "routing", j.cfg.eval.routing);
    TRY(check_list(&j.cfg, tasks));
    if (!(dir = output_of(a, checkpoint, routing))) FAIL(CL_ENOMEM, "no memory for a path");
    TRY(run_dir_make(dir));
    TRY(path_print(log_path, "%s/log.jsonl", dir));
    log_close(j.log);
    j.log = NULL;
    TRY(log_open(&j.log, log_path, 0));
    log_quiet(j.log, args_flag(a, "quiet"));
    printf("%-20s %8s %9s %16s %12s %9s\n", "task", "samples", "score", "95 %", "format-free", "routed");
    for (int t = 0; t < j.cfg.stream.tasks; t++)
        if (listed(tasks, j.cfg.stream.task[t].name)) TRY(one_task(&j, t, routing, dir));
    log_say(j.log, "predictions in %s/predictions", dir);
done:
    free(dir);
    job_close(&j);
    return rc;
}
