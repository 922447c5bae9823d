/* metric_continual.c - the summary numbers of an accuracy matrix under the names that papers give them. */
#include "io/metric_rules.h"

#include <jansson.h>
#include <math.h>

#include "io/accuracy.h"
#include "io/err.h"

enum { TASKS = 1000 };

/* Row j after task j, or, with one row more than columns, a zero-shot row in front; null where it was not measured. */
static int read_matrix(struct accuracy *m, const json_t *rows)
{
    int rc, T = (int)json_array_size(json_array_get(rows, 0)), n = (int)json_array_size(rows), zero_shot = n - T;
    const char *name[TASKS];

    if (T < 1 || T > TASKS || zero_shot < 0 || zero_shot > 1)
        return err_set(CL_EDATA,
                       "the references are no accuracy matrix (got %d rows of %d, expected as many rows as columns, up "
                       "to %d)",
                       n, T, TASKS);
    for (int i = 0; i < T; i++) name[i] = "task"; // nobody reads them
    TRY(accuracy_new(m, T, name));
    for (int j = 0; j < n; j++)
        for (int i = 0; i < T; i++) {
            const json_t *row = json_array_get(rows, (size_t)j), *v = json_array_get(row, (size_t)i);

            if ((int)json_array_size(row) != T || !(json_is_number(v) || json_is_null(v)))
                FAIL(CL_EDATA, "row %d of the accuracy matrix is not %d numbers", j + 1, T);
            *accuracy_cell(m, j - zero_shot, i) = json_is_null(v) ? NAN : json_number_value(v);
        }
done:
    return rc;
}

static void entry(struct text *json, const char *key, double v)
{
    text_add(json, "%s\"%s\": ", json->s && json->s[json->len - 1] != '{' ? ", " : "", key);
    text_number(json, v);
}

int metric_continual(struct text *json, const char *prediction, const char *const *references, int n,
                     const struct metric_options *o)
{
    int rc;
    json_t *rows = json_loads(n ? references[0] : "null", JSON_DECODE_ANY, NULL);
    struct accuracy m = {0};
    struct accuracy_summary s;

    (void)prediction, (void)o;
    TRY(read_matrix(&m, rows));
    s = accuracy_summarise(&m);
    text_add(json, "{");
    entry(json, "AA", s.AA);
    entry(json, "MFT", s.MFT);
    entry(json, "MFN", s.AA);
    entry(json, "MAA", s.MAA);
    entry(json, "BWT_T-1", s.BWT);
    entry(json, "BWT_T", s.AA - s.MFT);
    entry(json, "AF_diag", s.AF);
    entry(json, "AF_max", s.AF_max);
    if ((int)json_array_size(rows) > m.T) entry(json, "FWT", s.FWT);
    text_add(json, "}");
done:
    accuracy_free(&m);
    json_decref(rows);
    return rc;
}
