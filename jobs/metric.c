/* metric.c - `cllava metric NAME FILE`: scores answers that are already there, whoever gave them. */
#include "io/metric.h"

#include "io/err.h"
#include "jobs/commands.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFERENCES = 1024 };

/* references: a list, or one text under "reference" or "answer". Returns how many, -1: none of a usable form. */
static int references_of(json_t *o, const char **out)
{
    json_t *list = json_object_get(o, "references"), *r;
    const char *one = json_string_value(json_object_get(o, "reference"));
    size_t i;
    int n = 0;

    if (!list) list = json_object_get(o, "answers");
    if (json_is_string(list)) one = json_string_value(list), list = NULL;
    if (one) out[n++] = one;
    if (list && !json_is_array(list)) return -1;
    json_array_foreach(list, i, r)
    {
        if (!json_is_string(r) || n == REFERENCES) return -1;
        out[n++] = json_string_value(r);
    }
    return n ? n : -1;
}

/* One record: its score on stdout. */
static int score_line(const struct metric *m, const char *line, const char *file, long number, double *score)
{
    int rc = CL_OK, n;
    json_error_t e;
    json_t *o = json_loads(line, 0, &e), *id = json_object_get(o, "id"), *result;
    const char *prediction = json_string_value(json_object_get(o, "prediction")), *reference[REFERENCES];
    struct metric_options options = {.question_type = json_string_value(json_object_get(o, "question_type")),
                                     .choices = (int)json_integer_value(json_object_get(o, "choices"))};
    char *text;

    if (!o) FAIL(CL_EDATA, "%s: record %ld: %s (expected one JSON object per line)", file, number, e.text);
    if (!prediction) FAIL(CL_EDATA, "%s: record %ld: no text under `prediction`", file, number);
    if ((n = references_of(o, reference)) < 0)
        FAIL(CL_EDATA, "%s: record %ld: no list of texts under `references` (expected 1 to %d)", file, number,
             REFERENCES);
    *score = metric_score(m, prediction, reference, n, &options);
    result = json_pack("{s:O, s:f}", "id", id ? id : json_null(), "score", *score);
    text = result ? json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(result);
    if (!text) FAIL(CL_ENOMEM, "no memory for a result");
    puts(text);
    free(text);
done:
    json_decref(o);
    return rc;
}

static int list_metrics(void)
{
    for (size_t i = 0; metric_at(i); i++) printf("%-32s %s\n", metric_at(i)->name, metric_at(i)->help);
    return CL_OK;
}

int command_metric(const struct command_args *a)
{
    int rc = CL_OK;
    const char *name = args_positional(a, 0), *file = args_positional(a, 1);
    const struct metric *m;
    FILE *f = NULL;
    char *line = NULL;
    size_t room = 0;
    long number = 0, scored = 0;
    double sum = 0;

    if (!strcmp(name, "list")) return list_metrics();
    if (!(m = metric_find(name))) return CL_EUSAGE; // the text is set
    if (!file) FAIL(CL_EUSAGE, "metric %s of which file? hint: cllava metric NAME FILE, - for standard input", name);
    if (!(f = strcmp(file, "-") ? fopen(file, "r") : stdin)) FAIL(CL_EIO, "cannot read %s: %s", file, strerror(errno));
    while (getline(&line, &room, f) > 0) {
        double score;
        number++;
        if (!line[strspn(line, " \t\r\n")]) continue;
        TRY(score_line(m, line, file, number, &score));
        sum += score, scored++;
    }
    if (ferror(f)) FAIL(CL_EIO, "cannot read %s: %s", file, strerror(errno));
    if (!scored) FAIL(CL_EDATA, "%s holds no record", file);
    fprintf(stderr, "mean %.6f over %ld records\n", sum / (double)scored, scored);
done:
    if (f && f != stdin) fclose(f);
    free(line);
    return rc;
}
