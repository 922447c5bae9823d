/* report_run.c - see report_run.h. What is missing beside summary.json (a log that was thrown away, checkpoints kept elsewhere)
 * leaves its part of the report out; what is there and broken is an error. */
#include "jobs/report_run.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonl.h"
#include "io/path.h"
#include "jobs/learned.h"

static bool exists(const char *path)
{
    return !access(path, F_OK);
}

/* ---- summary.json */

static int broken(const char *path, const char *what)
{
    return err_set(CL_EFORMAT, "%s: %s; hint: it is written when a run of `cllava train` ends", path, what);
}

static char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return strdup(s ? s : "");
}

static double number_of(const json_t *v)
{
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* A matrix (T + 1, T) of numbers and nulls. No matrix: m stays empty. */
static int read_matrix(struct accuracy *m, const struct accuracy *like, const json_t *rows, const char *path)
{
    int rc = CL_OK, T = like->T;

    if (!rows) return CL_OK;
    TRY(accuracy_new(m, T, (const char *const *)like->tasks));
    if (json_array_size(rows) != (size_t)T + 1)
        TRY(broken(path, "a matrix has not one row for each task and one before"));
    for (int r = 0; r <= T; r++) {
        const json_t *row = json_array_get(rows, (size_t)r);
        if (json_array_size(row) != (size_t)T) TRY(broken(path, "a matrix has not one column for each task"));
        for (int i = 0; i < T; i++) *accuracy_cell(m, r - 1, i) = number_of(json_array_get(row, (size_t)i));
    }
done:
    return rc;
}

static int read_tasks(struct accuracy *m, const json_t *names, const char *path)
{
    int rc;
    size_t T = json_array_size(names);
    const char **name = NULL;

    if (!T || T > 1024) TRY(broken(path, "no list `tasks`"));
    if (!(name = calloc(T, sizeof *name))) FAIL(CL_ENOMEM, "no memory for %zu tasks", T);
    for (size_t i = 0; i < T; i++)
        if (!(name[i] = json_string_value(json_array_get(names, i)))) TRY(broken(path, "a task without a name"));
    TRY(accuracy_new(m, (int)T, name));
done:
    free(name);
    return rc;
}

static int read_summary(struct report_run *r, const char *dir)
{
    int rc;
    char path[PATH_ROOM];
    json_error_t e;
    json_t *o = NULL, *v;
    struct accuracy names = {0};

    TRY(path_print(path, "%s/summary.json", dir));
    if (!exists(path))
        FAIL(CL_EIO,
             "%s: no summary.json (expected the folder of a run that has ended); hint: `cllava train` goes on "
             "with one that has not",
             dir);
    if (!(o = json_load_file(path, 0, &e))) FAIL(CL_EFORMAT, "%s: %s", path, e.text);
    TRY(read_tasks(&names, json_object_get(o, "tasks"), path));
    if (!json_is_array(json_object_get(o, "accuracy"))) TRY(broken(path, "no matrix `accuracy`"));
    TRY(read_matrix(&r->exact, &names, json_object_get(o, "accuracy"), path));
    TRY(read_matrix(&r->loose, &names, json_object_get(json_object_get(o, "format_free"), "accuracy"), path));
    TRY(read_matrix(&r->low, &names, json_object_get(o, "accuracy_low"), path));
    TRY(read_matrix(&r->high, &names, json_object_get(o, "accuracy_high"), path));
    r->method = text_of(o, "method"), r->stream = text_of(o, "stream");
    r->seed = json_integer_value(json_object_get(o, "seed"));
    r->parameters = json_is_integer(v = json_object_get(o, "parameters")) ? json_integer_value(v) : -1;
    r->seconds = number_of(json_object_get(o, "seconds"));
    if (!r->method || !r->stream) FAIL(CL_ENOMEM, "no memory for a run");
done:
    accuracy_free(&names);
    json_decref(o);
    return rc;
}

/* ---- log.jsonl */

static int add_loss(struct report_curve *c, double loss, int task)
{
    if ((c->n & (c->n - 1)) == 0) { // full at every power of two
        size_t room = c->n ? 2 * (size_t)c->n : 1;
        double *l = realloc(c->loss, room * sizeof *l);
        if (l) c->loss = l;
        int *t = realloc(c->task, room * sizeof *t);
        if (t) c->task = t;
        if (!l || !t) return err_set(CL_ENOMEM, "no memory for a loss curve");
    }
    c->loss[c->n] = loss, c->task[c->n++] = task;
    return CL_OK;
}

static int take_event(void *context, const char *line)
{
    int rc = CL_OK;
    struct report_run *r = context;
    json_t *o = json_loads(line, 0, NULL);
    const char *event = json_string_value(json_object_get(o, "event"));
    bool one = event && !strcmp(event, "stage1"), two = event && !strcmp(event, "stage2");

    if (one || two)
        rc = add_loss(&r->stage[two], number_of(json_object_get(o, "loss")),
                      (int)json_integer_value(json_object_get(o, "task")));
    json_decref(o);
    return rc;
}

/* ---- checkpoint and predictions */

struct slots {
    const struct learned *l;
    double *row; // (T) chosen, by owner
};

static int take_prediction(void *context, const char *line)
{
    struct slots *s = context;
    json_t *o = json_loads(line, 0, NULL), *selected = json_object_get(o, "selected");

    for (size_t i = 0; i < json_array_size(selected); i++) {
        json_int_t slot = json_integer_value(json_array_get(selected, i));
        if (slot >= 0 && slot < s->l->N && s->l->slot[slot].task >= 0 && s->l->slot[slot].task < s->l->T)
            s->row[s->l->slot[slot].task]++;
    }
    json_decref(o);
    return CL_OK;
}

static int read_routing(struct report_run *r, const struct learned *l, const char *dir)
{
    int rc = CL_OK, T = r->exact.T;
    double all = 0;

    if (l->T != T || !l->K) return CL_OK; // nothing routes
    if (!(r->routed = calloc((size_t)T * (size_t)T, sizeof *r->routed))) FAIL(CL_ENOMEM, "no memory for %d tasks", T);
    for (int i = 0; i < T; i++) {
        struct slots s = {l, r->routed + i * T};
        char path[PATH_ROOM];
        double sum = 0;
        TRY(path_print(path, "%s/predictions/after%d-on%d.jsonl", dir, T - 1, i));
        if (exists(path)) TRY(jsonl_each_of(path, take_prediction, &s));
        for (int j = 0; j < T; j++) sum += s.row[j];
        for (int j = 0; j < T; j++) s.row[j] = sum ? 100 * s.row[j] / sum : NAN;
        all += sum;
    }
    if (!all) free(r->routed), r->routed = NULL;
done:
    return rc;
}

/* What the last checkpoint knows. */
static int read_learned(struct report_run *r, const char *dir)
{
    int rc, T = r->exact.T;
    size_t cells = (size_t)T * (size_t)T;
    char path[PATH_ROOM];
    struct learned l = {0};

    TRY(path_print(path, "%s/checkpoint-task%d-%s.h5", dir, T - 1, r->exact.tasks[T - 1]));
    if (!exists(path)) return CL_OK;
    TRY(learned_open(&l, path));
    if (l.w && l.T == T) {
        if (!(r->context = malloc(cells * sizeof *r->context))) FAIL(CL_ENOMEM, "no memory for %d tasks", T);
        memcpy(r->context, l.w, cells * sizeof *r->context);
    }
    TRY(read_routing(r, &l, dir));
done:
    learned_close(&l);
    return rc;
}

static char *last_part(const char *dir)
{
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/') n--;
    size_t first = n;
    while (first && dir[first - 1] != '/') first--;
    return strndup(dir + first, n - first);
}

int report_run_open(struct report_run *r, const char *dir)
{
    int rc;
    char path[PATH_ROOM];

    *r = (struct report_run){.label = last_part(dir), .parameters = -1, .seconds = NAN};
    if (!r->label) FAIL(CL_ENOMEM, "no memory for a run");
    TRY(read_summary(r, dir));
    TRY(path_print(path, "%s/log.jsonl", dir));
    if (exists(path)) TRY(jsonl_each_of(path, take_event, r));
    TRY(read_learned(r, dir));
done:
    if (rc) report_run_close(r);
    return rc;
}

void report_run_close(struct report_run *r)
{
    free(r->label), free(r->method), free(r->stream);
    accuracy_free(&r->exact), accuracy_free(&r->loose), accuracy_free(&r->low), accuracy_free(&r->high);
    for (int i = 0; i < 2; i++) free(r->stage[i].loss), free(r->stage[i].task);
    free(r->routed), free(r->context);
    *r = (struct report_run){0};
}
