/* diagnostics.c - predictions and a checkpoint to figures of routing and forgetting. */
#include "jobs/diagnostics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonl.h"
#include "io/path.h"
#include "io/whole.h"
#include "jobs/commands.h"
#include "jobs/run_dir.h"
#include "model/tensor.h"
#include "pool/method.h"

/* One cell of the matrix: questions of a task, asked after a task. */
struct selection {
    const struct learned *l;
    bool owned; // slots belong to tasks
    int64_t n;
    double entropy; // sum over questions
    double *usage;  // (N) sum over questions
    double *routed; // (T) questions
    double *share;  // (T) scratch of one question
};

static double plus_entropy(double sum, double p)
{
    return p > 0 ? sum - p * log(p) : sum;
}

/* The weights of one question; files of older runs have none: equal ones. */
static int add_question(struct selection *s, const json_t *selected, const json_t *weights)
{
    const struct learned *l = s->l;
    const size_t n = json_array_size(selected);
    double sum = 0, best = 0;
    int to = -1;

    memset(s->share, 0, (size_t)l->T * sizeof *s->share);
    for (size_t i = 0; i < n; i++) sum += weights ? json_number_value(json_array_get(weights, i)) : 1;
    for (size_t i = 0; i < n && sum > 0; i++) {
        json_int_t slot = json_integer_value(json_array_get(selected, i));
        double w = (weights ? json_number_value(json_array_get(weights, i)) : 1) / sum;
        if (slot < 0 || slot >= l->N)
            return err_set(CL_EDATA, "slot %lld is used (expected below %d, as in %s)", (long long)slot, l->N,
                           ckpt_path(l->c));
        s->usage[slot] += w;
        s->share[l->slot[slot].task] += w;
        s->entropy = plus_entropy(s->entropy, w);
    }
    for (int t = 0; t < l->T; t++)
        if (s->share[t] > best) best = s->share[t], to = t;
    if (to >= 0) s->routed[to]++;
    s->n++;
    return CL_OK;
}

static int add_line(void *context, const char *line)
{
    int rc;
    json_error_t e;
    json_t *o = json_loads(line, 0, &e), *selected = json_object_get(o, "selected");

    if (!json_is_array(selected)) FAIL(CL_EDATA, "no list of selected slots");
    TRY(add_question(context, selected, json_object_get(o, "weights")));
done:
    json_decref(o);
    return rc;
}

static void selection_free(struct selection *s)
{
    mem_free(s->usage), mem_free(s->routed), mem_free(s->share);
}

static int selection_read(struct selection *s, const struct learned *l, const char *path)
{
    int rc;
    const struct method_ops *ops = l->method ? method_find(l->method) : NULL;

    *s = (struct selection){.l = l, .owned = ops && ops->owns};
    s->usage = mem_new((size_t)l->N, sizeof *s->usage);
    s->routed = mem_new((size_t)l->T, sizeof *s->routed);
    s->share = mem_new((size_t)l->T, sizeof *s->share);
    if (!s->usage || !s->routed || !s->share) FAIL(CL_ENOMEM, "no memory for the usage of %d slots", l->N);
    TRY(jsonl_each_of(path, add_line, s));
    for (int i = 0; s->n && i < l->N; i++) s->usage[i] /= (double)s->n;
    for (int t = 0; s->n && t < l->T; t++) s->routed[t] /= (double)s->n;
    if (s->n) s->entropy /= (double)s->n;
done:
    return rc;
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *numbers(const double *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++) json_array_append_new(a, number(v[i]));
    return a;
}

static json_t *selection_json(const struct selection *s, int after, int on)
{
    double usage_entropy = 0;
    json_t *o = json_object();

    for (int i = 0; i < s->l->N; i++) usage_entropy = plus_entropy(usage_entropy, s->usage[i]);
    json_object_set_new(o, "after", json_integer(after));
    json_object_set_new(o, "on", json_integer(on));
    json_object_set_new(o, "samples", json_integer(s->n));
    json_object_set_new(o, "usage", numbers(s->usage, s->l->N));
    json_object_set_new(o, "entropy", number(s->entropy));
    json_object_set_new(o, "usage_entropy", number(usage_entropy));
    json_object_set_new(o, "routed", s->owned ? numbers(s->routed, s->l->T) : json_null());
    return o;
}

/* Sum of the smaller over sum of the larger: the overlap of two sets whose members count by weight. */
static double overlap(const double *a, const double *b, int n)
{
    double least = 0, most = 0;

    for (int i = 0; i < n; i++) least += fmin(a[i], b[i]), most += fmax(a[i], b[i]);
    return most > 0 ? least / most : NAN;
}

/* Confusion and overlap of the tasks learned, from the last row; a task that was not asked has NaN. */
static void last_row_json(json_t *o, const struct selection *row, int learned)
{
    json_t *confusion = json_array(), *overlaps = json_array();
    bool owned = true;

    for (int i = 0; i < learned; i++) {
        json_t *line = json_array();
        for (int k = 0; k < learned; k++)
            json_array_append_new(line, row[i].n && row[k].n ? number(overlap(row[i].usage, row[k].usage, row[i].l->N))
                                                             : json_null());
        json_array_append_new(overlaps, line);
        json_array_append_new(confusion, row[i].n ? numbers(row[i].routed, learned) : json_null());
        owned = owned && (!row[i].n || row[i].owned);
    }
    if (!owned) json_decref(confusion);
    json_object_set_new(o, "confusion", owned ? confusion : json_null());
    json_object_set_new(o, "overlap", overlaps);
}

static json_t *drift_json(const struct learned *l, int learned)
{
    json_t *a = json_array();

    for (int i = 0; l->accuracy.a && i < learned; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "task", json_integer(i));
        json_object_set_new(o, "score_learned", number(*accuracy_cell(&l->accuracy, i, i)));
        json_object_set_new(o, "score_now", number(*accuracy_cell(&l->accuracy, learned - 1, i)));
        json_object_set_new(o, "loss_learned", number(l->loss ? l->loss[i * l->T + i] : NAN));
        json_object_set_new(o, "loss_now", number(l->loss ? l->loss[(learned - 1) * l->T + i] : NAN));
        json_array_append_new(a, o);
    }
    return a;
}

static int learned_tasks(const struct learned *l)
{
    int n = 0;

    while (n < l->T && l->task[n].done == 3) n++;
    return n;
}

/* Every cell that was asked so far into `cells`; those of the last row stay in row (T). */
static int read_cells(const struct learned *l, const char *folder, int learned, json_t *cells, struct selection *row)
{
    int rc = CL_OK;
    char path[PATH_ROOM];
    struct selection s = {0};

    for (int after = 0; after < learned; after++)
        for (int on = 0; on < l->T; on++) {
            TRY(path_print(path, "%s/predictions/after%d-on%d.jsonl", folder, after, on));
            if (access(path, R_OK)) continue;
            TRY(selection_read(&s, l, path));
            json_array_append_new(cells, selection_json(&s, after, on));
            if (after == learned - 1)
                row[on] = s;
            else
                selection_free(&s);
            s = (struct selection){0};
        }
done:
    selection_free(&s);
    return rc;
}

int diagnostics_json(json_t **out, const struct learned *l, const char *folder)
{
    int rc = CL_OK, learned = learned_tasks(l);
    json_t *o = json_object(), *cells = json_array();
    struct selection *row = mem_new((size_t)l->T, sizeof *row);

    *out = NULL;
    if (!row || !o || !cells) FAIL(CL_ENOMEM, "no memory for the diagnostics of %d tasks", l->T);
    if (l->N) TRY(read_cells(l, folder, learned, cells, row));
    if (!json_array_size(cells)) {
        *out = json_null();
        goto done;
    }
    json_object_set_new(o, "after", json_integer(learned - 1));
    json_object_set(o, "selection", cells);
    last_row_json(o, row, learned);
    json_object_set_new(o, "drift", drift_json(l, learned));
    *out = json_incref(o);
done:
    for (int t = 0; row && t < l->T; t++) selection_free(&row[t]);
    mem_free(row);
    json_decref(cells), json_decref(o);
    return rc;
}

int diagnostics_write(const struct config *cfg, int task)
{
    int rc;
    struct learned l = {0};
    char *path = run_dir_task_checkpoint(cfg, task), *text = NULL;

    if (!path) FAIL(CL_ENOMEM, "no memory for a path");
    TRY(learned_open(&l, path));
    TRY(learned_norms(&l));
    TRY(inspect_json(&l, &text));
    TRY(whole_write(cfg->output, "diagnostics.json", text, strlen(text)));
done:
    learned_close(&l);
    free(path), free(text);
    return err_prefix(rc, "diagnostics");
}
