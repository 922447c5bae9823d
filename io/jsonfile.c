/* jsonfile.c - typed reading of JSON configuration. */
#include "io/jsonfile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"

char *jsonfile_path(const char *dir, const char *file)
{
    char *path;
    return asprintf(&path, "%s/%s", dir, file) < 0 ? NULL : path;
}

int jsonfile_open(json_t **root, const char *path)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_error_t error;

    *root = NULL;
    if (access(path, R_OK)) return err_set(CL_EIO, "cannot open %s: %s; hint: check the path", path, strerror(errno));
    *root = json_load_file(path, flags, &error);
    if (!*root &&
        json_error_code(&error) == json_error_numeric_overflow) // "no limit" is 10^30 in tokenizer_config.json
        *root = json_load_file(path, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (*root) return 0;
    return err_set(CL_EFORMAT, "%s is not JSON: %s (line %d)", path, error.text, error.line);
}

int jsonfile_open_object(json_t **root, struct jsonfile_at *at, const char *path)
{
    int rc;

    TRY(jsonfile_open(root, path));
    if (!json_is_object(*root)) FAIL(CL_EFORMAT, "%s holds no JSON object", path);
    *at = (struct jsonfile_at){path, NULL, *root};
done:
    return rc;
}

/* The value, or NULL where it is missing or null. */
static const json_t *value(const struct jsonfile_at *at, const char *key)
{
    const json_t *v = json_object_get(at->object, key);
    return json_is_null(v) ? NULL : v;
}

bool jsonfile_has(const struct jsonfile_at *at, const char *key)
{
    return value(at, key);
}

int jsonfile_refuse(const struct jsonfile_at *at, const char *key, const char *expected, ...)
{
    char *got = json_dumps(json_object_get(at->object, key), JSON_COMPACT | JSON_ENCODE_ANY);
    char want[512];
    va_list ap;
    int rc;

    va_start(ap, expected);
    vsnprintf(want, sizeof want, expected, ap);
    va_end(ap);
    rc = err_set(CL_EFORMAT, "%s: %s%s%s is %.200s, expected %s", at->path, at->section ? at->section : "",
                 at->section ? "." : "", key, got ? got : "missing", want);
    free(got);
    return rc;
}

int jsonfile_int(int *v, const struct jsonfile_at *at, const char *key, int min, int max)
{
    const json_t *j = value(at, key);
    double x = json_number_value(j);

    if (!j) return 0;
    if (!json_is_number(j) || !(x >= min && x <= max) || x != (int)x)
        return jsonfile_refuse(at, key, "a whole number from %d to %d", min, max);
    *v = (int)x;
    return 0;
}

int jsonfile_real(double *v, const struct jsonfile_at *at, const char *key, double min, double max)
{
    const json_t *j = value(at, key);

    if (!j) return 0;
    if (!json_is_number(j) || !(json_number_value(j) >= min && json_number_value(j) <= max))
        return jsonfile_refuse(at, key, "a number from %g to %g", min, max);
    *v = json_number_value(j);
    return 0;
}

int jsonfile_bool(bool *v, const struct jsonfile_at *at, const char *key)
{
    const json_t *j = value(at, key);

    if (!j) return 0;
    if (!json_is_boolean(j)) return jsonfile_refuse(at, key, "true or false");
    *v = json_is_true(j);
    return 0;
}

int jsonfile_text(const char **v, const struct jsonfile_at *at, const char *key)
{
    const json_t *j = value(at, key);

    if (!j) return 0;
    if (!json_is_string(j)) return jsonfile_refuse(at, key, "a text");
    *v = json_string_value(j);
    return 0;
}

int jsonfile_section(struct jsonfile_at *sub, const struct jsonfile_at *at, const char *key)
{
    const json_t *j = value(at, key);

    *sub = (struct jsonfile_at){at->path, key, NULL};
    if (!j) return 0;
    if (!json_is_object(j)) return jsonfile_refuse(at, key, "an object");
    sub->object = j;
    return 0;
}
