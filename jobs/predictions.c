/* predictions.c - see predictions.h. */
#include "jobs/predictions.h"

#include "io/err.h"
#include "io/jsonl.h"
#include "io/path.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    prediction_fn *each;
    void *context;
};

static int one_line(void *context, const char *line)
{
    int rc;
    const struct reader *r = context;
    json_error_t e;
    json_t *o = json_loads(line, 0, &e), *id = json_object_get(o, "id");
    char *number = json_is_string(id) || !id ? NULL : json_dumps(id, JSON_ENCODE_ANY);
    struct judge_item x = {.question = json_string_value(json_object_get(o, "question")),
                           .reference = json_string_value(json_array_get(json_object_get(o, "answers"), 0)),
                           .prediction = json_string_value(json_object_get(o, "prediction"))};

    if (!o) FAIL(CL_EDATA, "%s (expected one JSON object per line)", e.text);
    if (!x.question)
        FAIL(CL_EDATA, "no `question`; hint: predictions of an older cllava have none, `cllava eval` writes them anew");
    if (!x.reference || !x.prediction) FAIL(CL_EDATA, "no `%s`", x.reference ? "prediction" : "answers");
    rc = r->each(r->context, &x, number ? number : id ? json_string_value(id) : "");
done:
    free(number);
    json_decref(o);
    return rc;
}

int predictions_each(const char *path, prediction_fn *each, void *context)
{
    struct reader r = {each, context};

    return jsonl_each_of(path, one_line, &r);
}

static int is_predictions(const struct dirent *e)
{
    size_t n = strlen(e->d_name);

    return *e->d_name != '.' && n > 6 && !strcmp(e->d_name + n - 6, ".jsonl");
}

int predictions_list(const char *run, char ***path, int *n)
{
    int rc;
    char folder[PATH_ROOM];
    struct dirent **entry = NULL;
    int found = 0;

    *path = NULL, *n = 0;
    TRY(path_print(folder, "%s/predictions", run));
    if ((found = scandir(folder, &entry, is_predictions, versionsort)) < 0)
        FAIL(CL_EIO, "cannot read folder %s: %s; hint: give the output folder of `train` or `eval`", folder,
             strerror(errno));
    if (!found) FAIL(CL_EIO, "%s holds no predictions (*.jsonl)", folder);
    if (!(*path = calloc((size_t)found, sizeof **path))) FAIL(CL_ENOMEM, "no memory for a list of files");
    for (; *n < found; ++*n)
        if (asprintf(&(*path)[*n], "%s/%s", folder, entry[*n]->d_name) < 0) FAIL(CL_ENOMEM, "no memory for a path");
done:
    for (int i = 0; i < found; i++) free(entry[i]);
    free(entry);
    if (rc) predictions_list_free(*path, *n), *path = NULL, *n = 0;
    return rc;
}

void predictions_list_free(char **path, int n)
{
    for (int i = 0; i < n; i++) free(path[i]);
    free(path);
}

bool predictions_cell(const char *path, int *after, int *on)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int end = 0;

    if (sscanf(name, "afterzero-on%d.jsonl%n", on, &end) == 1 && end && !name[end]) {
        *after = -1;
        return *on >= 0;
    }
    end = 0;
    return sscanf(name, "after%d-on%d.jsonl%n", after, on, &end) == 2 && end && !name[end] && *after >= 0 && *on >= 0;
}
