/* sweep_table.c - what came out of a sweep: runs that differ only in their seed (or in the order of their tasks) are one row,
 * with mean and deviation of what their summary.json say. A group of runs of which not all are done says how many are.
 */
#include "jobs/sweep.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/path.h"
#include "jobs/table.h"

/* What is averaged: key of summary.json, head, digits behind the point. */
static const struct figure {
    const char *key, *head;
    int digits;
} figures[] = {
    {"AA", "AA", 1},   {"MAA", "MAA", 1}, {"AF", "AF", 1},           {"AF_max", "AF max", 1},
    {"BWT", "BWT", 1}, {"FWT", "FWT", 1}, {"seconds", "seconds", 0}, {"parameters", "learned", 0},
};
enum { FIGURES = sizeof figures / sizeof *figures };

struct group {
    char *value[64];         // of each key grouped by
    int planned, done;       // runs
    int n[FIGURES];          // runs that have this figure
    double *sample[FIGURES]; // (n)
};

struct keys {
    char *key[64];
    int n;
};

/* ---- by what */

/* What a row may be named by that is no key of the configuration. */
static void add_order(struct text *t, const struct sweep_run *r)
{
    for (int i = 0; i < r->config.stream.tasks; i++) text_add(t, "%s%s", i ? " > " : "", r->config.stream.task[i].name);
}

static void add_changes(struct text *t, const struct sweep_run *r)
{
    for (int i = 0; i < r->sets; i++)
        if (r->set[i]->differs && strcmp(r->set[i]->key, "seed"))
            text_add(t, "%s%s %s", t->len ? ", " : "", r->set[i]->key, r->set[i]->shown);
    if (!t->len) text_add(t, "as the base");
}

static const struct {
    const char *name;
    void (*add)(struct text *, const struct sweep_run *);
} further[] = {{"order", add_order}, {"changes", add_changes}};
enum { FURTHER = sizeof further / sizeof *further };

static int find_further(const char *key)
{
    int i = 0;

    while (i < FURTHER && strcmp(further[i].name, key)) i++;
    return i;
}

static char *value_of(const struct sweep_run *r, const char *key)
{
    struct text t = {0};
    int i = find_further(key);

    if (i < FURTHER)
        further[i].add(&t, r);
    else
        config_value(&t, &r->config, key);
    return text_take(&t);
}

static int add_key(struct keys *k, const char *key, size_t n)
{
    for (int i = 0; i < k->n; i++)
        if (strlen(k->key[i]) == n && !strncmp(k->key[i], key, n)) return CL_OK;
    if (k->n == (int)(sizeof k->key / sizeof *k->key)) return err_set(CL_EUSAGE, "too many keys to group by");
    if (!(k->key[k->n] = strndup(key, n))) return err_set(CL_ENOMEM, "no memory for a table");
    k->n++;
    return CL_OK;
}

/* Every key that differs from run to run, save the seed. */
static int default_keys(struct keys *k, const struct sweep *s)
{
    int rc = CL_OK;

    for (int i = 0; i < s->runs; i++)
        for (int j = 0; j < s->run[i].sets; j++) {
            const struct sweep_set *set = s->run[i].set[j];
            if (set->differs && strcmp(set->key, "seed")) TRY(add_key(k, set->key, strlen(set->key)));
        }
done:
    return rc;
}

static int given_keys(struct keys *k, const struct sweep *s, const char *by)
{
    int rc = CL_OK;

    for (const char *at = by; *at; at += strcspn(at, ","), at += *at == ',') {
        struct text value = {0};
        TRY(add_key(k, at, strcspn(at, ",")));
        const char *key = k->key[k->n - 1];
        bool known = find_further(key) < FURTHER || config_value(&value, &s->run[0].config, key);
        text_free(&value);
        if (!known)
            FAIL(CL_EUSAGE,
                 "sweep --by: unknown key (got %.100s, expected keys of the configuration, order, or changes); hint: "
                 "cllava config lists them",
                 key);
    }
done:
    return rc;
}

/* ---- groups */

static int find_group(struct group *g, int *groups, const struct sweep_run *r, const struct keys *k, struct group **out)
{
    char *value[64] = {0};
    int same = 0;

    for (int i = 0; i < k->n; i++)
        if (!(value[i] = value_of(r, k->key[i]))) return err_set(CL_ENOMEM, "no memory for a table");
    for (int j = 0; j < *groups; j++) {
        for (same = 0; same < k->n && !strcmp(g[j].value[same], value[same]);) same++;
        if (same < k->n) continue;
        for (int i = 0; i < k->n; i++) free(value[i]);
        *out = &g[j];
        return CL_OK;
    }
    *out = &g[(*groups)++];
    memcpy((*out)->value, value, sizeof value);
    return CL_OK;
}

static int take_summary(struct group *g, const struct sweep_run *r)
{
    int rc = CL_OK;
    char path[PATH_ROOM];
    json_t *o = NULL;

    TRY(path_print(path, "%s/summary.json", r->dir));
    o = json_load_file(path, 0, NULL);
    for (int f = 0; f < FIGURES; f++) {
        json_t *v = json_object_get(o, figures[f].key);
        double *grown;
        if (!json_is_number(v)) continue;
        if (!(grown = realloc(g->sample[f], ((size_t)g->n[f] + 1) * sizeof *grown)))
            FAIL(CL_ENOMEM, "no memory for a table");
        g->sample[f] = grown;
        g->sample[f][g->n[f]++] = json_number_value(v);
    }
    g->done++;
done:
    json_decref(o);
    return rc;
}

/* Mean, and the deviation of a sample (n - 1); NaN where there are too few. */
static void statistics(const struct group *g, int f, double *mean, double *deviation)
{
    double sum = 0, square = 0;

    for (int i = 0; i < g->n[f]; i++) sum += g->sample[f][i];
    *mean = g->n[f] ? sum / g->n[f] : NAN;
    for (int i = 0; i < g->n[f]; i++) square += (g->sample[f][i] - *mean) * (g->sample[f][i] - *mean);
    *deviation = g->n[f] > 1 ? sqrt(square / (g->n[f] - 1)) : NAN;
}

/* ---- tables */

static int readable(struct table *t, const struct group *g, int groups, const struct keys *k)
{
    int rc;

    TRY(table_new(t, groups + 1, k->n + 1 + FIGURES, k->n));
    for (int i = 0; i < k->n; i++) table_put(t, 0, i, "%s", k->key[i]);
    table_put(t, 0, k->n, "runs");
    for (int f = 0; f < FIGURES; f++) table_put(t, 0, k->n + 1 + f, "%s", figures[f].head);
    for (int j = 0; j < groups; j++) {
        for (int i = 0; i < k->n; i++) table_put(t, j + 1, i, "%s", g[j].value[i]);
        table_put(t, j + 1, k->n, g[j].done == g[j].planned ? "%d" : "%d of %d", g[j].done, g[j].planned);
        for (int f = 0; f < FIGURES; f++) {
            double mean, deviation;
            int at = k->n + 1 + f, digits = figures[f].digits;
            statistics(&g[j], f, &mean, &deviation);
            if (isnan(mean))
                table_put(t, j + 1, at, "-");
            else if (isnan(deviation) || (deviation == 0 && !strcmp(figures[f].key, "parameters")))
                table_put(t, j + 1, at, "%.*f", digits, mean);
            else
                table_put(t, j + 1, at, "%.*f ± %.*f", digits, mean, digits, deviation);
        }
    }
done:
    return rc;
}

static void put_number(struct table *t, int row, int column, double v)
{
    if (!isnan(v)) table_put(t, row, column, "%.10g", v);
}

/* For programs: a column for each number, empty where there is none. */
static int raw(struct table *t, const struct group *g, int groups, const struct keys *k)
{
    int rc;

    TRY(table_new(t, groups + 1, k->n + 2 + 2 * FIGURES, k->n));
    for (int i = 0; i < k->n; i++) table_put(t, 0, i, "%s", k->key[i]);
    table_put(t, 0, k->n, "done");
    table_put(t, 0, k->n + 1, "runs");
    for (int f = 0; f < FIGURES; f++) {
        table_put(t, 0, k->n + 2 + 2 * f, "%s", figures[f].key);
        table_put(t, 0, k->n + 3 + 2 * f, "%s_deviation", figures[f].key);
    }
    for (int j = 0; j < groups; j++) {
        for (int i = 0; i < k->n; i++) table_put(t, j + 1, i, "%s", g[j].value[i]);
        table_put(t, j + 1, k->n, "%d", g[j].done);
        table_put(t, j + 1, k->n + 1, "%d", g[j].planned);
        for (int f = 0; f < FIGURES; f++) {
            double mean, deviation;
            statistics(&g[j], f, &mean, &deviation);
            put_number(t, j + 1, k->n + 2 + 2 * f, mean);
            put_number(t, j + 1, k->n + 3 + 2 * f, deviation);
        }
    }
done:
    return rc;
}

static int write_tables(const struct group *g, int groups, const struct keys *k, const struct sweep_files *files)
{
    int rc;
    struct table people = {0}, programs = {0};
    struct text out = {0};

    TRY(readable(&people, g, groups, k));
    TRY(raw(&programs, g, groups, k));
    table_plain(&out, &people);
    if (out.failed || people.failed) FAIL(CL_ENOMEM, "no memory for a table");
    TRY(table_write(files->csv, table_csv, &programs));
    TRY(table_write(files->latex, table_latex, &people));
    TRY(table_write(files->markdown, table_markdown, &people));
    fputs(out.s, stdout);
done:
    text_free(&out);
    table_free(&people), table_free(&programs);
    return rc;
}

int sweep_table(const struct sweep *s, const char *by, const struct sweep_files *files)
{
    int rc, groups = 0;
    struct keys k = {0};
    struct group *g = calloc((size_t)s->runs, sizeof *g), *at = NULL;

    if (!g) FAIL(CL_ENOMEM, "no memory for a table");
    TRY(by ? given_keys(&k, s, by) : default_keys(&k, s));
    for (int i = 0; i < s->runs; i++) {
        TRY(find_group(g, &groups, &s->run[i], &k, &at));
        at->planned++;
        if (sweep_state(s, &s->run[i]) == SWEEP_DONE) TRY(take_summary(at, &s->run[i]));
    }
    TRY(write_tables(g, groups, &k, files));
done:
    for (int j = 0; j < groups; j++) {
        for (int i = 0; i < k.n; i++) free(g[j].value[i]);
        for (int f = 0; f < FIGURES; f++) free(g[j].sample[f]);
    }
    for (int i = 0; i < k.n; i++) free(k.key[i]);
    free(g);
    return rc;
}
