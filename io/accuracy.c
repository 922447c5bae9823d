/* accuracy.c - summary numbers and text forms of the accuracy matrix. */
#include "io/accuracy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/whole.h"

int accuracy_new(struct accuracy *m, int T, const char *const *tasks)
{
    int rc;

    *m = (struct accuracy){.T = T};
    if (T < 1 || T > 1 << 15) FAIL(CL_EINTERNAL, "an accuracy matrix of %d tasks", T);
    m->tasks = calloc((size_t)T, sizeof *m->tasks);
    m->a = malloc((size_t)(T + 1) * (size_t)T * sizeof *m->a);
    if (!m->tasks || !m->a) FAIL(CL_ENOMEM, "no memory for the accuracy matrix of %d tasks", T);
    for (int i = 0; i < T; i++)
        if (!(m->tasks[i] = strdup(tasks[i]))) FAIL(CL_ENOMEM, "no memory for the names of %d tasks", T);
    for (int64_t i = 0; i < (int64_t)(T + 1) * T; i++) m->a[i] = NAN;
    return CL_OK;
done:
    accuracy_free(m);
    return rc;
}

void accuracy_free(struct accuracy *m)
{
    for (int i = 0; m->tasks && i < m->T; i++) free(m->tasks[i]);
    free(m->tasks);
    free(m->a);
    *m = (struct accuracy){0};
}

/* ---- the numbers */

static int tasks_learned(const struct accuracy *m)
{
    for (int t = m->T; t > 0; t--)
        for (int i = 0; i < m->T; i++)
            if (!isnan(*accuracy_cell(m, t - 1, i))) return t;
    return 0;
}

/* Mean over the first n tasks after task t. */
static double mean_of_row(const struct accuracy *m, int t, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++) sum += *accuracy_cell(m, t, i);
    return n ? sum / n : NAN;
}

/* Best score on task i from when it was learned to task `last`. NaN when one of them was not measured. */
static double best_since(const struct accuracy *m, int i, int last)
{
    double best = *accuracy_cell(m, i, i);

    for (int t = i + 1; t <= last; t++) {
        double a = *accuracy_cell(m, t, i);
        if (isnan(a)) return NAN;
        if (a > best) best = a;
    }
    return best;
}

struct accuracy_summary accuracy_summarise(const struct accuracy *m)
{
    const int S = tasks_learned(m), last = S - 1;
    struct accuracy_summary s = {S, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

    if (S == 0) {
        s.AA = mean_of_row(m, -1, m->T);
        return s;
    }
    s.AA = mean_of_row(m, last, S);
    s.MAA = s.AF = s.AF_max = s.FWT = s.MFT = 0;
    for (int t = 0; t < S; t++) s.MAA += mean_of_row(m, t, t + 1) / S;
    for (int i = 0; i < S; i++) s.MFT += *accuracy_cell(m, i, i) / S;
    for (int i = 0; i < last; i++) {
        s.AF += (*accuracy_cell(m, i, i) - *accuracy_cell(m, last, i)) / last;
        s.AF_max += (best_since(m, i, last) - *accuracy_cell(m, last, i)) / last;
    }
    for (int i = 1; i < S; i++) s.FWT += (*accuracy_cell(m, i - 1, i) - *accuracy_cell(m, -1, i)) / last;
    if (S == 1) s.FWT = NAN; // no later task to be helped
    s.BWT = 0 - s.AF;
    return s;
}

/* ---- CSV and JSON */

/* The shortest decimal form that reads back to the same double: "75", "33.333333333333336". */
static void number(struct text *t, double v)
{
    char s[32];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        if (strtod(s, NULL) == v) break;
    }
    text_add(t, "%s", isfinite(v) ? s : "null");
}

static void csv_name(struct text *t, const char *name)
{
    if (!strpbrk(name, ",\"\r\n")) {
        text_add(t, "%s", name);
        return;
    }
    text_add(t, "\"");
    for (; *name; name++) text_add(t, *name == '"' ? "\"\"" : "%c", *name);
    text_add(t, "\"");
}

void accuracy_csv(struct text *t, const struct accuracy *m)
{
    text_add(t, "after");
    for (int i = 0; i < m->T; i++) {
        text_add(t, ",");
        csv_name(t, m->tasks[i]);
    }
    for (int row = -1; row < m->T; row++) {
        text_add(t, "\n");
        csv_name(t, row < 0 ? "zero_shot" : m->tasks[row]);
        for (int i = 0; i < m->T; i++) {
            text_add(t, ",");
            if (!isnan(*accuracy_cell(m, row, i))) number(t, *accuracy_cell(m, row, i));
        }
    }
    text_add(t, "\n");
}

static void json_matrix(struct text *t, const struct accuracy *m)
{
    text_add(t, "[");
    for (int row = -1; row < m->T; row++) {
        text_add(t, "%s[", row < 0 ? "" : ",\n    ");
        for (int i = 0; i < m->T; i++) {
            if (i) text_add(t, ", ");
            number(t, *accuracy_cell(m, row, i));
        }
        text_add(t, "]");
    }
    text_add(t, "]");
}

static void json_number(struct text *t, const char *key, double v)
{
    text_add(t, ",\n  \"%s\": ", key);
    number(t, v);
}

static void json_text(struct text *t, const char *key, const char *v)
{
    if (!v) return;
    text_add(t, ",\n  \"%s\": ", key);
    text_json(t, v);
}

static void json_summary(struct text *t, const struct accuracy *m)
{
    const struct accuracy_summary s = accuracy_summarise(m);

    json_number(t, "AA", s.AA);
    json_number(t, "MAA", s.MAA);
    json_number(t, "AF", s.AF);
    json_number(t, "AF_max", s.AF_max);
    json_number(t, "BWT", s.BWT);
    json_number(t, "FWT", s.FWT);
    json_number(t, "MFT", s.MFT);
    text_add(t, ",\n  \"accuracy\": ");
    json_matrix(t, m);
}

void accuracy_json(struct text *t, const struct accuracy *m, const struct accuracy_run *run)
{
    text_add(t, "{\n  \"method\": ");
    text_json(t, run->method ? run->method : "");
    text_add(t, ",\n  \"seed\": %lld", (long long)run->seed);
    json_text(t, "stream", run->stream ? run->stream : "");
    json_text(t, "routing", run->routing);
    text_add(t, ",\n  \"tasks\": [");
    for (int i = 0; i < m->T; i++) {
        if (i) text_add(t, ", ");
        text_json(t, m->tasks[i]);
    }
    text_add(t, "],\n  \"learned\": %d,\n  \"parameters\": %lld", accuracy_summarise(m).learned,
             (long long)run->parameters);
    json_number(t, "seconds", run->seconds);
    json_summary(t, m);
    if (run->low && run->high) {
        text_add(t, ",\n  \"accuracy_low\": ");
        json_matrix(t, run->low);
        text_add(t, ",\n  \"accuracy_high\": ");
        json_matrix(t, run->high);
    }
    if (run->format_free) {
        struct text inner = {0};
        json_summary(&inner, run->format_free);
        text_add(t, ",\n  \"format_free\": {%s\n  }", inner.s ? inner.s + 1 : ""); // behind the first comma
        t->failed |= inner.failed;
        text_free(&inner);
    }
    text_add(t, "\n}\n");
}

/* ---- a table */

enum { NAME = 14, CELL = 9 };

/* Columns that a UTF-8 text takes, one per code point. */
static int columns(const char *s)
{
    int n = 0;

    for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* The first `most` code points of a name, padded on the left (right) to width. */
static void padded(struct text *t, const char *s, int most, int width, bool right)
{
    int n = columns(s) < most ? columns(s) : most, left = n;
    const char *end = s;

    for (; *end && (left > 0 || ((unsigned char)*end & 0xc0) == 0x80); end++)
        left -= ((unsigned char)end[1] & 0xc0) != 0x80;
    text_add(t, "%*s", right ? width - n : 0, "");
    text_bytes(t, s, (size_t)(end - s));
    text_add(t, "%*s", right ? 0 : width - n, "");
}

static void table_cell(struct text *t, double v, bool mark)
{
    char cell[32];

    snprintf(cell, sizeof cell, isnan(v) ? "-" : "%.1f", v);
    text_add(t, "%*s%c", CELL - 1, cell, mark && !isnan(v) ? '*' : ' ');
}

static void table_number(struct text *t, const char *name, double v)
{
    if (isnan(v))
        text_add(t, "  %s -", name);
    else
        text_add(t, "  %s %.2f", name, v);
}

void accuracy_table(struct text *t, const struct accuracy *m, const char *title)
{
    const struct accuracy_summary s = accuracy_summarise(m);

    if (title) text_add(t, "%s\n", title);
    padded(t, "after \\ on", NAME, NAME, false);
    for (int i = 0; i < m->T; i++) {
        padded(t, m->tasks[i], CELL - 1, CELL - 1, true);
        text_add(t, " ");
    }
    text_add(t, "    seen\n");
    for (int row = -1; row < (s.learned ? s.learned : m->T); row++) {
        if (row >= s.learned && row >= 0) break;
        padded(t, row < 0 ? "(zero-shot)" : m->tasks[row], NAME, NAME, false);
        for (int i = 0; i < m->T; i++) table_cell(t, *accuracy_cell(m, row, i), row == i);
        table_cell(t, mean_of_row(m, row, row < 0 ? m->T : row + 1), false);
        text_add(t, "\n");
    }
    text_add(t, " ");
    table_number(t, "AA", s.AA);
    table_number(t, "MAA", s.MAA);
    table_number(t, "AF", s.AF);
    table_number(t, "AF_max", s.AF_max);
    table_number(t, "BWT", s.BWT);
    table_number(t, "FWT", s.FWT);
    text_add(t, "\n");
}

/* ---- a picture */

enum { SIDE = 56, GAP = 28, TITLE = 40, FOOT = 34 }; // pixels

static void svg_label(struct text *t, double x, double y, const char *how, const char *s)
{
    text_add(t, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, how);
    text_markup(t, s);
    text_add(t, "</text>\n");
}

bool accuracy_colour(char out[ACCURACY_COLOUR], double v)
{
    const double f = v < 0 ? 0 : v > 100 ? 1 : v / 100;

    if (isnan(v))
        snprintf(out, ACCURACY_COLOUR, "#f0f0f0");
    else
        snprintf(out, ACCURACY_COLOUR, "rgb(%.0f,%.0f,%.0f)", 247 - 239 * f, 251 - 203 * f, 255 - 148 * f);
    return f > 0.55;
}

static void svg_cell(struct text *t, double x, double y, double v, bool mark)
{
    char number[32], colour[ACCURACY_COLOUR];
    bool dark = accuracy_colour(colour, v);

    text_add(t, "<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" fill=\"%s\"", x, y, SIDE - 2, SIDE - 2, colour);
    if (isnan(v)) {
        text_add(t, "/>\n");
        return;
    }
    text_add(t, " stroke=\"%s\"/>\n", mark ? "#d62728" : "none");
    snprintf(number, sizeof number, "%.1f", v);
    svg_label(t, x + SIDE / 2 - 1, y + SIDE / 2 + 4,
              dark ? "text-anchor=\"middle\" fill=\"#fff\"" : "text-anchor=\"middle\" fill=\"#222\"", number);
}

static void svg_matrix(struct text *t, const struct accuracy *m, const char *title, double x, double y)
{
    const struct accuracy_summary s = accuracy_summarise(m);
    char line[128];

    svg_label(t, x + m->T * SIDE / 2.0, TITLE - 18, "text-anchor=\"middle\" font-weight=\"bold\" font-size=\"14\"",
              title);
    for (int i = 0; i < m->T; i++) {
        text_add(t, "<text text-anchor=\"start\" transform=\"translate(%.0f %.0f) rotate(-28)\">", x + i * SIDE + 14,
                 y - 6);
        text_markup(t, m->tasks[i]);
        text_add(t, "</text>\n");
    }
    for (int row = -1; row < m->T; row++) {
        svg_label(t, x - 8, y + (row + 1.5) * SIDE + 3, "text-anchor=\"end\"", row < 0 ? "zero-shot" : m->tasks[row]);
        for (int i = 0; i < m->T; i++)
            svg_cell(t, x + i * SIDE, y + (row + 1) * SIDE, *accuracy_cell(m, row, i), row == i);
    }
    snprintf(line, sizeof line, isnan(s.AA) ? "AA -" : "AA %.1f", s.AA);
    snprintf(line + strlen(line), sizeof line - strlen(line), isnan(s.AF) ? ", AF -" : ", AF %.1f", s.AF);
    svg_label(t, x + m->T * SIDE / 2.0, y + (m->T + 1) * SIDE + 20, "text-anchor=\"middle\" font-weight=\"bold\"",
              line);
}

/* Letters of the longest name that stands beside or above a matrix. */
static int longest_name(const struct accuracy *const *m, int n)
{
    int longest = columns("zero-shot");

    for (int i = 0; i < n; i++)
        for (int k = 0; k < m[i]->T; k++)
            if (columns(m[i]->tasks[k]) > longest) longest = columns(m[i]->tasks[k]);
    return longest;
}

void accuracy_svg(struct text *t, const struct accuracy *const *m, const char *const *titles, int n)
{
    const int name = 7 * longest_name(m, n); // pixels
    const int left = name + 20, top = TITLE + name / 2 + 8;
    int width = GAP, height = 0, x = 0;

    for (int i = 0; i < n; i++) {
        width += left + m[i]->T * SIDE + GAP;
        if (top + (m[i]->T + 1) * SIDE + FOOT > height) height = top + (m[i]->T + 1) * SIDE + FOOT;
    }
    text_add(t,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
             "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
             "<title>Accuracy in percent: row, after learning a task; column, measured on a task</title>\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
             width, height, width, height);
    for (int i = 0; i < n; i++) {
        svg_matrix(t, m[i], titles[i], x + left, top);
        x += left + m[i]->T * SIDE + GAP;
    }
    text_add(t, "</svg>\n");
}

/* ---- files */

static int save_text(const char *dir, const char *name, const struct text *t)
{
    return t->failed ? err_set(CL_ENOMEM, "no memory for %s", name) : whole_write(dir, name, t->s, t->len);
}

int accuracy_save(const char *dir, const struct accuracy *m, const struct accuracy_run *run)
{
    struct text t = {0};
    int rc;

    accuracy_csv(&t, m);
    TRY(save_text(dir, "accuracy.csv", &t));
    text_clear(&t);
    accuracy_json(&t, m, run);
    rc = save_text(dir, "summary.json", &t);
done:
    text_free(&t);
    return rc;
}
