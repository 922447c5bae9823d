/* metric_verdict.c - what a judge's reply says: a pair of scores, points out of 10, yes or no. */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/metric_pattern.h"
#include "io/pystr.h"

/* ---- LLaVA-Bench: "8 7" on the first line */

/* The pair, or -1, -1: commas are blanks, then single blanks part exactly two numbers ("8, 7" is three parts). */
int metric_pair_of(const char *s, double v[2])
{
    char *line = strndup(s, strcspn(s, "\n")), *blank;
    bool good = false;

    v[0] = v[1] = -1;
    if (!line) return err_set(CL_ENOMEM, "no memory for a verdict");
    for (char *p = line; *p; p++)
        if (*p == ',') *p = ' ';
    if ((blank = strchr(line, ' ')) && !strchr(blank + 1, ' ')) {
        *blank = 0;
        good = pystr_float(line, &v[0]) && pystr_float(blank + 1, &v[1]);
    }
    if (!good) v[0] = v[1] = -1;
    free(line);
    return CL_OK;
}

int metric_llava_bench_parse(struct text *json, const char *prediction, const char *const *references, int n,
                             const struct metric_options *o)
{
    double v[2];
    int rc = metric_pair_of(prediction, v);

    (void)references, (void)n, (void)o;
    text_add(json, "[");
    text_number(json, v[0]);
    text_add(json, ", ");
    text_number(json, v[1]);
    text_add(json, "]");
    return rc;
}

/* ---- CoIN: a number up to 10; else what stands before a slash; else the first digit but 0 */

double metric_coin_gk_parse(const char *prediction, const char *const *references, int n,
                            const struct metric_options *o)
{
    const char *digit;
    double v = 0;
    char *before;

    (void)references, (void)n, (void)o;
    if (pystr_float(prediction, &v)) return v <= 10 ? v : 0;
    if (!strchr(prediction, '/')) return (digit = strpbrk(prediction, "123456789")) ? *digit - '0' : 0;
    if (!(before = strndup(prediction, strcspn(prediction, "/")))) return NAN;
    if (!pystr_is_number(before) || !pystr_float(before, &v) || v > 10) v = 0;
    free(before);
    return v;
}

/* ---- a dictionary of pred: yes or no and a score, or the word alone */

double metric_yes_no_parse(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    struct pattern p;
    double yes = -1;
    int found;

    (void)references, (void)n, (void)o;
    if (pattern_open(
            &p, "(?i)^" PATTERN_SPACE "*(?:.*['\"]pred['\"]" PATTERN_SPACE "*:" PATTERN_SPACE "*)?['\"]?(yes|no)\\b",
            prediction))
        return NAN;
    if ((found = pattern_next(&p)) > 0) yes = strchr("yY", prediction[p.span[2]]) != NULL;
    pattern_close(&p);
    return found < 0 ? NAN : yes;
}
