/* report_html.c - the parts of a report, each over all runs: summary, matrices, forgetting, routing, context, losses. Every text
 * goes through text_markup. */
#include "jobs/report_html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/whole.h"
#include "jobs/report_chart.h"
#include "jobs/report_run.h"
#include "jobs/table.h"

enum { POINTS = 400 }; // of a loss curve, at most

/* ---- tables */

static void put(struct table *t, int row, int column, double v, int digits)
{
    if (isnan(v))
        table_put(t, row, column, "-");
    else
        table_put(t, row, column, "%.*f", digits, v);
}

static int summary_table(struct table *t, const struct report_run *r, int n)
{
    static const char *const head[] = {"run",    "method", "stream", "seed",           "AA",      "MAA",    "AF",
                                       "AF max", "BWT",    "FWT",    "AA format-free", "learned", "seconds"};
    enum { COLUMNS = sizeof head / sizeof *head };
    int rc;

    TRY(table_new(t, n + 1, COLUMNS, 3));
    for (int c = 0; c < COLUMNS; c++) table_put(t, 0, c, "%s", head[c]);
    for (int i = 0; i < n; i++) {
        struct accuracy_summary s = accuracy_summarise(&r[i].exact);
        table_put(t, i + 1, 0, "%s", r[i].label);
        table_put(t, i + 1, 1, "%s", r[i].method);
        table_put(t, i + 1, 2, "%s", r[i].stream);
        table_put(t, i + 1, 3, "%lld", (long long)r[i].seed);
        put(t, i + 1, 4, s.AA, 1), put(t, i + 1, 5, s.MAA, 1), put(t, i + 1, 6, s.AF, 1);
        put(t, i + 1, 7, s.AF_max, 1), put(t, i + 1, 8, s.BWT, 1), put(t, i + 1, 9, s.FWT, 1);
        put(t, i + 1, 10, r[i].loose.a ? accuracy_summarise(&r[i].loose).AA : NAN, 1);
        put(t, i + 1, 11, r[i].parameters < 0 ? NAN : (double)r[i].parameters, 0);
        put(t, i + 1, 12, r[i].seconds, 0);
    }
done:
    return rc;
}

static int matrix_table(struct table *t, const struct accuracy *m)
{
    int rc;

    TRY(table_new(t, m->T + 2, m->T + 1, 1));
    table_put(t, 0, 0, "after / on");
    for (int r = -1; r < m->T; r++) {
        table_put(t, r + 2, 0, "%s", r < 0 ? "zero-shot" : m->tasks[r]);
        for (int i = 0; i < m->T; i++) put(t, r + 2, i + 1, *accuracy_cell(m, r, i), 1);
    }
    for (int i = 0; i < m->T; i++) table_put(t, 0, i + 1, "%s", m->tasks[i]);
done:
    return rc;
}

/* A square of numbers over task names as a coloured table. scale: what is deep blue. */
static void heat(struct text *t, const struct report_run *r, const double *a, double scale, int digits, bool lower)
{
    int T = r->exact.T;
    char colour[ACCURACY_COLOUR];

    text_add(t, "<table class=\"heat\"><tr><th></th>");
    for (int j = 0; j < T; j++) {
        text_add(t, "<th>");
        text_markup(t, r->exact.tasks[j]);
        text_add(t, "</th>");
    }
    text_add(t, "</tr>\n");
    for (int i = 0; i < T; i++) {
        text_add(t, "<tr><th class=\"name\">");
        text_markup(t, r->exact.tasks[i]);
        text_add(t, "</th>");
        for (int j = 0; j < T; j++) {
            double v = lower && j >= i ? NAN : a[i * T + j];
            bool dark = accuracy_colour(colour, 100 * v / scale);
            text_add(t, "<td style=\"background:%s%s\">", colour, dark ? ";color:#fff" : "");
            if (!isnan(v)) text_add(t, "%.*f", digits, v);
            text_add(t, "</td>");
        }
        text_add(t, "</tr>\n");
    }
    text_add(t, "</table>\n");
}

/* ---- sections: a heading, then a figure for each run */

static void begin_section(struct text *t, const char *title, const char *about)
{
    text_add(t, "<h2>");
    text_markup(t, title);
    text_add(t, "</h2>\n<p>");
    text_markup(t, about);
    text_add(t, "</p>\n<div class=\"side\">\n");
}

static void begin_figure(struct text *t, const struct report_run *r)
{
    text_add(t, "<figure><figcaption>");
    text_markup(t, r->label);
    text_add(t, "</figcaption>\n");
}

static void matrices(struct text *t, const struct report_run *r, int n)
{
    begin_section(t, "Accuracy",
                  "Percent by each task's metric: rows after learning a task, columns the task measured. "
                  "Beside it the same by first content word (format-free).");
    for (int i = 0; i < n; i++) {
        const struct accuracy *both[] = {&r[i].exact, &r[i].loose};
        const char *titles[] = {r[i].method, "format-free"};
        begin_figure(t, &r[i]);
        accuracy_svg(t, both, titles, r[i].loose.a ? 2 : 1);
        text_add(t, "</figure>\n");
    }
    text_add(t, "</div>\n");
}

static int forgetting(struct text *t, const struct report_run *r)
{
    int rc, T = r->exact.T;
    struct chart c = {.title = r->method,
                      .x1 = T - 1,
                      .y1 = 100,
                      .nticks = T,
                      .ticks = (const char *const *)r->exact.tasks,
                      .points = true};
    struct chart_line *line = calloc((size_t)T, sizeof *line);
    double *x = calloc((size_t)T, sizeof *x), *y = calloc((size_t)T * (size_t)T, sizeof *y);

    if (!line || !x || !y) FAIL(CL_ENOMEM, "no memory for a chart");
    for (int i = 0; i < T; i++) {
        x[i] = i;
        for (int after = 0; after < T; after++)
            y[i * T + after] = after < i ? NAN : *accuracy_cell(&r->exact, after, i);
        line[i] = (struct chart_line){r->exact.tasks[i], x, y + i * T, T};
    }
    begin_figure(t, r);
    report_chart(t, &c, line, T);
    text_add(t, "</figure>\n");
    rc = CL_OK;
done:
    free(line), free(x), free(y);
    return rc;
}

/* Means of equally many steps, so that a long curve stays a small picture. */
static int thin(const struct report_curve *c, double *x, double *y)
{
    int n = c->n < POINTS ? c->n : POINTS;

    for (int i = 0; i < n; i++) {
        int64_t from = (int64_t)i * c->n / n, to = (int64_t)(i + 1) * c->n / n;
        y[i] = 0;
        for (int64_t k = from; k < to; k++) y[i] += c->loss[k] / (double)(to - from);
        x[i] = (double)(from + to - 1) / 2;
    }
    return n;
}

/* One line of a stage's losses for each run, over the steps of all tasks. */
static int losses(struct text *t, const struct report_run *r, int n, int stage)
{
    int rc, shown = 0;
    struct chart c = {.title = stage ? "stage 2" : "stage 1", .y1 = 0};
    struct chart_line *line = calloc((size_t)n, sizeof *line);
    double *x = calloc((size_t)n * POINTS, sizeof *x), *y = calloc((size_t)n * POINTS, sizeof *y);

    if (!line || !x || !y) FAIL(CL_ENOMEM, "no memory for a chart");
    for (int i = 0; i < n; i++) {
        const struct report_curve *s = &r[i].stage[stage];
        struct chart_line *l = &line[shown];
        if (!s->n) continue;
        *l = (struct chart_line){r[i].label, x + shown * POINTS, y + shown * POINTS, 0};
        l->n = thin(s, x + shown * POINTS, y + shown * POINTS);
        for (int k = 0; k < l->n; k++) {
            if (isfinite(l->y[k])) c.y1 = fmax(c.y1, l->y[k]), c.y0 = fmin(c.y0, l->y[k]);
            c.x1 = fmax(c.x1, s->n - 1);
        }
        shown++;
    }
    if (shown) {
        text_add(t, "<figure>");
        report_chart(t, &c, line, shown);
        text_add(t, "</figure>\n");
    }
    rc = CL_OK;
done:
    free(line), free(x), free(y);
    return rc;
}

static void routing(struct text *t, const struct report_run *r, int n)
{
    int any = 0;

    for (int i = 0; i < n; i++) any += r[i].routed != NULL;
    if (!any) return;
    begin_section(t, "Routing",
                  "Of the slots that the questions of a task (row) chose after the last task, the percent that "
                  "belong to each task (column).");
    for (int i = 0; i < n; i++) {
        if (!r[i].routed) continue;
        begin_figure(t, &r[i]);
        heat(t, &r[i], r[i].routed, 100, 1, false);
        text_add(t, "</figure>\n");
    }
    text_add(t, "</div>\n");
}

static void contexts(struct text *t, const struct report_run *r, int n)
{
    int any = 0;

    for (int i = 0; i < n; i++) any += r[i].context && r[i].exact.T > 1;
    if (!any) return;
    begin_section(t, "Context weights", "How much a task (row) takes in of what an earlier one (column) has learned.");
    for (int i = 0; i < n; i++) {
        double most = 0;
        if (!r[i].context || r[i].exact.T < 2) continue;
        for (int k = 0; k < r[i].exact.T * r[i].exact.T; k++) most = fmax(most, r[i].context[k]);
        begin_figure(t, &r[i]);
        heat(t, &r[i], r[i].context, most > 0 ? most : 1, 3, true);
        text_add(t, "</figure>\n");
    }
    text_add(t, "</div>\n");
}

/* ---- the document */

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>cllava report</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    "body{font:14px/1.5 sans-serif;color:#222;margin:2em;max-width:none}\n"
    "table{border-collapse:collapse}td,th{padding:.25em .6em;text-align:right;border-bottom:1px solid #ddd}\n"
    ".name,table:not(.heat) td:first-child{text-align:left}.heat td{min-width:3.5em;border:1px solid #fff}\n"
    ".side{display:flex;flex-wrap:wrap;gap:1.5em;overflow-x:auto}figure{margin:0}\n"
    "figcaption{font-weight:bold;overflow-wrap:anywhere;max-width:60em}\n</style></head><body>\n<h1>cllava "
    "report</h1>\n";

static int html(struct text *t, const struct report_run *r, int n)
{
    int rc;
    struct table summary = {0};

    text_add(t, "%s", head);
    TRY(summary_table(&summary, r, n));
    table_html(t, &summary);
    matrices(t, r, n);
    begin_section(t, "Forgetting", "Score on each task, from when it was learned on.");
    for (int i = 0; i < n; i++) TRY(forgetting(t, &r[i]));
    text_add(t, "</div>\n");
    routing(t, r, n);
    contexts(t, r, n);
    begin_section(t, "Loss", "Over the optimizer steps of all tasks, in order.");
    for (int stage = 0; stage < 2; stage++) TRY(losses(t, r, n, stage));
    text_add(t, "</div>\n<p>cllava %s</p>\n</body></html>\n", CLLAVA_VERSION);
    rc = t->failed || summary.failed ? err_set(CL_ENOMEM, "no memory for a report") : CL_OK;
done:
    table_free(&summary);
    return rc;
}

/* Every number in a row of its own: run, method, seed, quantity, after, on, value. */
static int csv(struct text *t, const struct report_run *r, int n)
{
    static const char *const names[] = {"accuracy", "format_free", "accuracy_low", "accuracy_high"};
    int rc, rows = 1, at = 1;
    struct table all = {0};

    for (int i = 0; i < n; i++) rows += 4 * (r[i].exact.T + 1) * r[i].exact.T;
    TRY(table_new(&all, rows, 7, 7));
    for (int c = 0; c < 7; c++)
        table_put(&all, 0, c, "%s", (const char *[]){"run", "method", "seed", "quantity", "after", "on", "value"}[c]);
    for (int i = 0; i < n; i++) {
        const struct accuracy *m[] = {&r[i].exact, &r[i].loose, &r[i].low, &r[i].high};
        for (int q = 0; q < 4; q++)
            for (int k = 0; m[q]->a && k < (m[q]->T + 1) * m[q]->T; k++) {
                int after = k / m[q]->T - 1;
                if (isnan(m[q]->a[k])) continue;
                table_put(&all, at, 0, "%s", r[i].label);
                table_put(&all, at, 1, "%s", r[i].method);
                table_put(&all, at, 2, "%lld", (long long)r[i].seed);
                table_put(&all, at, 3, "%s", names[q]);
                table_put(&all, at, 4, "%s", after < 0 ? "zero-shot" : m[q]->tasks[after]);
                table_put(&all, at, 5, "%s", m[q]->tasks[k % m[q]->T]);
                table_put(&all, at++, 6, "%.10g", m[q]->a[k]);
            }
    }
    all.rows = at; // those that were filled
    table_csv(t, &all);
    rc = t->failed || all.failed ? err_set(CL_ENOMEM, "no memory for a report") : CL_OK;
    all.rows = rows;
done:
    table_free(&all);
    return rc;
}

static int latex(struct text *t, const struct report_run *r, int n)
{
    int rc;
    struct table table = {0};

    TRY(summary_table(&table, r, n));
    table_latex(t, &table);
    for (int i = 0; i < n && !table.failed; i++) {
        table_free(&table);
        TRY(matrix_table(&table, &r[i].exact));
        text_add(t, "\n%% ");
        for (const char *s = r[i].label; *s; s++)
            if ((unsigned char)*s >= 32) text_add(t, "%c", *s); // a line break would end the comment
        text_add(t, "\n");
        table_latex(t, &table);
    }
    rc = t->failed || table.failed ? err_set(CL_ENOMEM, "no memory for a report") : CL_OK;
done:
    table_free(&table);
    return rc;
}

typedef int form_fn(struct text *t, const struct report_run *r, int n);

static int write_form(const char *path, form_fn *form, const struct report_run *r, int n)
{
    int rc = CL_OK;
    struct text t = {0};

    if (!path) return CL_OK;
    TRY(form(&t, r, n));
    TRY(whole_write_path(path, t.s, t.len));
done:
    text_free(&t);
    return rc;
}

int report_runs(const char *const *dirs, int n, const struct report_files *files)
{
    int rc, opened = 0;
    struct report_run *r = calloc((size_t)n, sizeof *r);

    if (!r) FAIL(CL_ENOMEM, "no memory for %d runs", n);
    for (; opened < n; opened++) TRY(report_run_open(&r[opened], dirs[opened]));
    TRY(write_form(files->html, html, r, n));
    TRY(write_form(files->csv, csv, r, n));
    TRY(write_form(files->latex, latex, r, n));
done:
    for (int i = 0; i < opened; i++) report_run_close(&r[i]);
    free(r);
    return rc;
}
