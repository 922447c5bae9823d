/* metric_edit.c - DocVQA's ANLS: one minus the edit distance over the length, nothing below a half.
 *
 * Distances and lengths count characters, not bytes. The variants differ in what they tidy, in the length that they divide
 * by and in what the half itself is worth.
 */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/pystr.h"

static int32_t *points_of(const char *s, size_t *n)
{
    int32_t *points = malloc((strlen(s) + 1) * sizeof *points);
    size_t bytes;

    *n = 0;
    for (; points && *s; s += bytes) {
        points[*n] = pystr_at(s, &bytes);
        if (points[*n] < 0) points[*n] = -(int32_t)(unsigned char)*s; // broken bytes are equal when they are
        ++*n;
    }
    return points;
}

/* Levenshtein's distance in one row: row[j] is the distance of what was read of a to the first j of b. */
static void fill_row(size_t *row, const int32_t *a, size_t n, const int32_t *b, size_t m)
{
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < d) d = row[j] + 1;
            if (row[j - 1] + 1 < d) d = row[j - 1] + 1;
            row[j] = d;
        }
    }
}

/* NaN: no memory. */
static double distance(const char *a, const char *b)
{
    size_t n, m, *row;
    int32_t *x = points_of(a, &n), *y = points_of(b, &m);
    double d = NAN;

    row = malloc((m + 1) * sizeof *row);
    if (x && y && row) {
        fill_row(row, x, n, y, m);
        d = (double)row[m];
    }
    free(x);
    free(y);
    free(row);
    return d;
}

static double longer(const char *a, const char *b)
{
    size_t n = pystr_length(a), m = pystr_length(b);

    return (double)(n > m ? n : m);
}

/* Distance of tidied texts over a length; both empty: 0. Frees a and b. */
static double share(char *a, char *b, double length)
{
    double d = a && b ? distance(a, b) : NAN;

    free(a);
    free(b);
    return length > 0 ? d / length : isnan(d) ? NAN : 0;
}

/* Lower-cased, runs of white space one blank. malloc'ed. */
static char *collapsed(const char *s)
{
    char *lower = pystr_lower(s), *out = NULL;
    struct pystr_words w = {0};

    if (lower && !pystr_split(&w, lower)) out = pystr_join(&w);
    free(lower);
    pystr_words_free(&w);
    return out;
}

/* The length is that of the texts as they came, blanks and all. */
static double anls(const char *prediction, const char *reference, const struct metric_options *o)
{
    double s = 1 - share(collapsed(prediction), collapsed(reference), longer(prediction, reference));

    (void)o;
    return s < 0.5 ? 0 : s;
}

double metric_anls(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(anls, prediction, references, n, o);
}

/* Lower case alone, lengths of what is compared, and a half is too far. */
static double anls_paper(const char *prediction, const char *reference, const struct metric_options *o)
{
    char *p = pystr_lower(prediction), *r = pystr_lower(reference);
    double length = p && r ? longer(p, r) : 0, v = share(p, r, length);

    (void)o;
    return isnan(v) ? v : v < 0.5 ? 1 - v : 0;
}

double metric_anls_paper(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(anls_paper, prediction, references, n, o);
}

/* Trimmed and lower-cased; no answer is no answer, whatever the reference. */
static double anls_mpdocvqa(const char *prediction, const char *reference, const struct metric_options *o)
{
    char *p = pystr_lower_strip(prediction), *r = pystr_lower_strip(reference);
    bool empty = p && !*p;
    double length = p && r ? longer(p, r) : 0, s = 1 - share(p, r, length);

    (void)o;
    return empty || s < 0.5 ? 0 : s;
}

double metric_anls_mpdocvqa(const char *prediction, const char *const *references, int n,
                            const struct metric_options *o)
{
    return metric_best(anls_mpdocvqa, prediction, references, n, o);
}
