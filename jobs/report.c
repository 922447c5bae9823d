/* report.c - tables for the terminal, files for the run directory, and reading cells back from the log. */
#include "jobs/report.h"

#include "io/accuracy.h"
#include "io/err.h"
#include "io/path.h"
#include "io/whole.h"
#include "io/text.h"
#include "jobs/report_html.h"
#include "jobs/run_dir.h"

#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings */

enum { BOX = 96 };

static void row(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void row(const char *key, const char *fmt, ...)
{
    char value[BOX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    fprintf(stderr, "| %-12s | %-*.*s |\n", key, BOX - 20, BOX - 20, value);
}

static void rule(void)
{
    fputc('+', stderr);
    for (int i = 0; i < BOX - 3; i++) fputc(i == 14 ? '+' : '-', stderr);
    fputs("+\n", stderr);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* What training keeps, and what a rank takes then. */
static void activations_row(const struct config *f, const struct plan_row *p)
{
    const struct plan_level *v = &p->level[p->again];
    const bool chosen = strcmp(f->activations, recompute_name[p->again]);

    row("activations", "%s%s: %.1f of a rank's %.1f MiB%s", recompute_name[p->again], chosen ? " (auto)" : "",
        v->step / (1 << 20), v->peak / (1 << 20),
        v->fits               ? ""
        : f->memory_limit > 0 ? ", over memory_limit"
                              : ", over the machine's");
}

void report_settings(struct job *j, const struct plan_row *plan, const struct task_data *train,
                     const struct task_data *test)
{
    const struct config *f = &j->cfg;
    const struct lvlm_config *c = &j->base;
    char ranks[BOX];

    crew_describe(j->crew, ranks, sizeof ranks);
    rule();
    row("base", "%s: %d layers, width %d, %d/%d heads of %d, vocabulary %d", last_part(f->base), c->text.layers,
        c->text.hidden, c->text.heads, c->text.kv_heads, c->text.head_dim, c->text.vocab);
    if (c->has_vision)
        row("pictures", "%d x %d, %d tokens, %d of %d blocks of width %d", c->vision.image_size, c->vision.image_size,
            c->vision.tokens, c->vision.feature_layers, c->vision.layers, c->vision.hidden);
    row("method", "%s%s%s", f->method, j->encoder ? ", routed by " : "", j->encoder ? last_part(f->encoder) : "");
    if (j->method->ops->align)
        row("pool", "%d slots per task of rank %d, %d chosen per question, context %s", f->pool.slots_per_task,
            f->pool.rank, f->pool.top_m, f->context.enabled ? "on" : "off");
    if (j->on.chosen != PROJECTIONS_DEFAULT) row("increments", "on %s", f->adapter.projections);
    if (j->method->ops->align)
        row("stage 1", "%d epochs, batch %d, lr %g", f->stage1.epochs, f->stage1.batch, f->stage1.lr);
    row("stage 2", "%d epochs, batch %d in micro-batches of %d, lr %g %s, clip %g", f->stage2.epochs, f->stage2.batch,
        f->stage2.micro_batch, f->stage2.lr, f->stage2.schedule, f->stage2.clip);
    if (plan) activations_row(f, plan);
    for (int t = 0; t < f->stream.tasks; t++)
        row(t ? "" : "stream", "%d %-20s %7lld train %7lld test   %s", t, f->stream.task[t].name, (long long)train[t].n,
            (long long)test[t].n, f->stream.task[t].metric);
    row("machine", "%s, %d threads, %s, weights %.1f MiB%s", backend_cpu_isa(), omp_get_max_threads(), f->precision,
        (double)crew_weight_bytes(j->crew) / (1 << 20), *ranks ? " of a rank" : "");
    if (*ranks) row("ranks", "%s", ranks);
    row("output", "%s", f->output);
    rule();
}

/* ---- matrices */

static void cell(FILE *to, double v, int width)
{
    if (isnan(v))
        fprintf(to, "%*s", width, ".");
    else
        fprintf(to, "%*.1f", width, v);
}

void report_side_by_side(FILE *to, const char *title, int methods, const char *const *label, int tasks,
                         const char *const *task, const double *const *matrix)
{
    int width = 9 * tasks + 1;

    fprintf(to, "\n%s\n%-18s", title, "");
    for (int m = 0; m < methods; m++) fprintf(to, "| %-*.*s", width, width, label[m]);
    fprintf(to, "\n%-18s", "after / on");
    for (int m = 0; m < methods; m++) {
        fputs("| ", to);
        for (int t = 0; t < tasks; t++) fprintf(to, "%9.8s", task[t]);
        fputc(' ', to);
    }
    fputc('\n', to);
    for (int r = 0; r <= tasks; r++) {
        fprintf(to, "%-18.18s", r ? task[r - 1] : "zero-shot");
        for (int m = 0; m < methods; m++) {
            fputs("| ", to);
            for (int t = 0; t < tasks; t++) cell(to, matrix[m][r * tasks + t], 9);
            fputc(' ', to);
        }
        fputc('\n', to);
    }
}

static int write_picture(const struct config *f, const struct accuracy *const *m, const char *const *titles)
{
    int rc;
    struct text svg = {0};

    accuracy_svg(&svg, m, titles, 2);
    rc = svg.failed ? err_set(CL_ENOMEM, "no memory for a picture")
                    : whole_write(f->output, "accuracy.svg", svg.s, svg.len);
    text_free(&svg);
    return rc;
}

/* ---- the log, read back */

/* Calls of `each` with every whole line's object between two byte offsets; stops where each says so. */
static int each_event(const char *log, int64_t from, int64_t until, bool (*each)(void *, json_t *, int64_t end),
                      void *context)
{
    FILE *f = fopen(log, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int64_t at = from;
    bool go = true;

    if (!f) return CL_OK; // no log: nothing to recall
    if (fseek(f, (long)from, SEEK_SET)) go = false;
    while (go && (until < 0 || at < until) && (n = getline(&line, &room, f)) > 0 && line[n - 1] == '\n') {
        json_t *o = json_loadb(line, (size_t)n, 0, NULL);
        at += n;
        go = o && each(context, o, at);
        json_decref(o);
    }
    free(line);
    fclose(f);
    return CL_OK;
}

/* Intervals of the cells, as the eval events have them: a run that was resumed has those of its earlier starts too. */
struct intervals {
    struct accuracy low, high;
};

static bool take_interval(void *context, json_t *o, int64_t end)
{
    struct intervals *v = context;
    const char *event = json_string_value(json_object_get(o, "event"));
    json_t *low = json_object_get(o, "low"), *high = json_object_get(o, "high");
    int after = (int)json_integer_value(json_object_get(o, "after")),
        on = (int)json_integer_value(json_object_get(o, "on")), T = v->low.T;

    (void)end;
    if (!event || strcmp(event, "eval") || after < -1 || after >= T || on < 0 || on >= T) return true;
    *accuracy_cell(&v->low, after, on) = json_is_number(low) ? json_number_value(low) : NAN;
    *accuracy_cell(&v->high, after, on) = json_is_number(high) ? json_number_value(high) : NAN;
    return true;
}

static int recall_intervals(struct intervals *v, struct job *j, const struct run_state *s)
{
    int rc;
    char path[PATH_ROOM];
    const char *const *names = (const char *const *)s->name;

    TRY(accuracy_new(&v->low, s->tasks, names));
    TRY(accuracy_new(&v->high, s->tasks, names));
    TRY(path_print(path, "%s/log.jsonl", j->cfg.output));
    TRY(each_event(path, 0, -1, take_interval, v));
    if (j->method->ops->trains) goto done;
    for (int i = 0; i < s->tasks; i++) { // its last row is its first (train.c)
        *accuracy_cell(&v->low, s->tasks - 1, i) = *accuracy_cell(&v->low, -1, i);
        *accuracy_cell(&v->high, s->tasks - 1, i) = *accuracy_cell(&v->high, -1, i);
    }
done:
    return rc;
}

/* ---- files of the run directory */

/* What stands in the folder may be of another hand: a part that cannot be read costs the report, not the run. */
static int write_html(struct job *j)
{
    int rc;
    const char *output = j->cfg.output;
    char path[PATH_ROOM];

    TRY(path_print(path, "%s/report.html", output));
    rc = report_runs(&output, 1, &(struct report_files){.html = path});
    if (rc == CL_EFORMAT || rc == CL_EMISMATCH || rc == CL_EDATA) {
        log_warn(j->log, "no report.html: %s", err_text());
        rc = CL_OK;
    }
done:
    return rc;
}

int report_write(struct job *j, const struct run_state *s, const double *format_free)
{
    int rc;
    const struct config *f = &j->cfg;
    struct accuracy exact = {s->tasks, s->name, s->accuracy},
                    loose = {s->tasks, s->name, (double *)(uintptr_t)format_free};
    const struct accuracy *both[] = {&exact, &loose};
    const char *titles[] = {f->method, "format-free (first content word)"};
    struct accuracy_run run = {.method = f->method,
                               .stream = f->stream.name,
                               .routing = j->encoder ? f->eval.routing : NULL,
                               .seed = f->seed,
                               .parameters = j->method->ops->parameters(j->method) + taskres_parameters(j->taskres),
                               .format_free = &loose};
    struct intervals v = {0};
    struct text table = {0};

    for (int t = 0; t < s->tasks; t++) run.seconds += s->history[t].seconds;
    TRY(recall_intervals(&v, j, s));
    run.low = &v.low, run.high = &v.high;
    TRY(accuracy_save(f->output, &exact, &run));
    TRY(write_picture(f, both, titles));
    TRY(write_html(j));
    accuracy_table(&table, &exact, f->method);
    if (table.failed) FAIL(CL_ENOMEM, "no memory for a table");
    fputs(table.s, stdout);
    fflush(stdout);
done:
    accuracy_free(&v.low);
    accuracy_free(&v.high);
    text_free(&table);
    return rc;
}

/* ---- cells read back from the log */

struct recall {
    struct run_state *s;
    double *format_free;
    int after; // only this row; -2: every row, format-free alone
    int64_t *until;
};

static bool recall_event(void *context, json_t *o, int64_t end)
{
    struct recall *r = context;
    const char *event = json_string_value(json_object_get(o, "event"));
    json_t *score = json_object_get(o, "score");
    int after = (int)json_integer_value(json_object_get(o, "after")),
        on = (int)json_integer_value(json_object_get(o, "on"));
    int T = r->s->tasks;

    if (!event) return false;
    if (strcmp(event, "eval")) return r->after == -2 || !strcmp(event, "checkpoint");
    if (after < -1 || after >= T || on < 0 || on >= T || !json_is_number(score)) return false;
    r->format_free[(after + 1) * T + on] = json_number_value(json_object_get(o, "format_free"));
    if (r->after == -2) return true;
    if (after != r->after) return false;
    *state_cell(r->s, after, on) = json_number_value(score);
    *r->until = end;
    return true;
}

int report_recall_cells(const char *log, int64_t from, int after, struct run_state *s, double *format_free,
                        int64_t *until)
{
    struct recall r = {s, format_free, after, until};

    *until = from;
    return each_event(log, from, -1, recall_event, &r);
}

int report_recall_format_free(const char *log, int64_t until, const struct run_state *s, double *format_free)
{
    struct recall r = {(struct run_state *)(uintptr_t)s, format_free, -2, NULL}; // -2 leaves s as it is

    return each_event(log, 0, until, recall_event, &r);
}
