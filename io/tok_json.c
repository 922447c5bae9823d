/* tok_json.c - checked access to the JSON files of a tokenizer. */
#include "io/tok_json.h"

#include "io/err.h"
#include "io/tok_pattern.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 16 }; // of Sequence inside Sequence

int tok_json_open(json_t **out, const char *dir, const char *name)
{
    char path[4096];
    FILE *f;
    json_error_t fault;

    *out = NULL;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(CL_EIO, "path too long: %.60s..", dir);
    f = fopen(path, "rb");
    if (!f && (errno == ENOENT || errno == ENOTDIR)) return CL_OK;
    if (!f) return err_set(CL_EIO, "cannot open %s: %s", path, strerror(errno));
    *out = json_loadf(f, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &fault);
    fclose(f);
    if (!*out)
        return err_set(CL_EFORMAT, "%s is not JSON: %s (line %d, column %d)", path, fault.text, fault.line,
                       fault.column);
    if (json_is_object(*out)) return CL_OK;
    json_decref(*out);
    *out = NULL;
    return err_set(CL_EFORMAT, "%s: expected an object", path);
}

int tok_json_bool(bool *out, const json_t *o, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(o, key);

    *out = otherwise;
    if (!v || json_is_null(v)) return CL_OK;
    if (!json_is_boolean(v)) return err_set(CL_EFORMAT, "%s: expected true or false", key);
    *out = json_is_true(v);
    return CL_OK;
}

int tok_json_string(const char **out, size_t *n, const json_t *o, const char *key, const char *otherwise)
{
    const json_t *v = json_object_get(o, key);
    bool none = !v || json_is_null(v);

    if (!none && !json_is_string(v)) return err_set(CL_EFORMAT, "%s: expected a string", key);
    if (none && !otherwise) return err_set(CL_EFORMAT, "%s: missing, expected a string", key);
    *out = none ? otherwise : json_string_value(v);
    if (n) *n = none ? strlen(otherwise) : json_string_length(v);
    return CL_OK;
}

int tok_json_number(int64_t *out, const json_t *o, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(o, key);

    *out = otherwise;
    if (!v || json_is_null(v)) return CL_OK;
    if (!json_is_integer(v)) return err_set(CL_EFORMAT, "%s: expected an integer", key);
    *out = json_integer_value(v);
    return CL_OK;
}

int tok_json_pattern(struct tok_pattern *out, const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key), *text = json_object_get(v, "Regex");
    bool regex = json_is_string(text);

    if (!regex) text = json_is_string(v) ? v : json_object_get(v, "String");
    if (!json_is_string(text)) return err_set(CL_EFORMAT, "%s: expected {\"String\": ..} or {\"Regex\": ..}", key);
    if (!regex && !json_string_length(text)) return err_set(CL_EFORMAT, "%s: is empty", key);
    return regex ? tok_pattern_regex(out, json_string_value(text), json_string_length(text))
                 : tok_pattern_literal(out, json_string_value(text), json_string_length(text));
}

int tok_json_type(const char **out, const json_t *o)
{
    return tok_json_string(out, NULL, o, "type", NULL);
}

static int steps(const json_t *o, const char *list, int (*put)(void *, const char *, const json_t *), void *to,
                 int depth)
{
    int rc;
    const char *type;
    const json_t *inner;

    if (!o || json_is_null(o)) return CL_OK;
    TRY(tok_json_type(&type, o));
    if (strcmp(type, "Sequence") != 0) {
        TRY(put(to, type, o));
        return CL_OK;
    }
    inner = json_object_get(o, list);
    if (!json_is_array(inner)) FAIL(CL_EFORMAT, "Sequence: %s: expected an array", list);
    if (depth >= MAX_DEPTH) FAIL(CL_EFORMAT, "Sequence inside Sequence, more than %d deep", MAX_DEPTH);
    for (size_t i = 0; i < json_array_size(inner); i++) {
        const json_t *step = json_array_get(inner, i);

        if (json_is_null(step)) FAIL(CL_EFORMAT, "Sequence: %s[%zu] is null", list, i);
        TRY(steps(step, list, put, to, depth + 1));
    }
    rc = CL_OK;
done:
    return rc;
}

int tok_json_steps(const json_t *o, const char *list, int (*put)(void *, const char *, const json_t *), void *to)
{
    return steps(o, list, put, to, 0);
}
