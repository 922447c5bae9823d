/* pickle_json.c - values of a pickle as JSON, one record at a time. What is shared in the pickle is a tree here, hence limits. */
#include "io/pickle.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"

enum { JSON_DEPTH = 32, JSON_PARTS = 1000000 };

static int out_of_memory(void)
{
    return err_set(CL_ENOMEM, "out of memory for a record");
}

static int json_of(json_t **out, const struct pickle_value *v, int depth, int *parts);

static int list_json(json_t **out, const struct pickle_value *v, int depth, int *parts)
{
    json_t *list = json_array(), *item;
    int rc = CL_OK;

    if (!list) return out_of_memory();
    for (size_t i = 0; i < v->list.n; i++) {
        TRY(json_of(&item, v->list.item[i], depth + 1, parts));
        if (json_array_append_new(list, item)) FAIL(CL_ENOMEM, "out of memory for a record");
    }
    *out = list;
done:
    if (rc) json_decref(list);
    return rc;
}

static int dict_json(json_t **out, const struct pickle_value *v, int depth, int *parts)
{
    json_t *object = json_object(), *item;
    int rc = CL_OK;

    if (!object) return out_of_memory();
    for (size_t i = 0; i < v->list.n; i += 2) {
        const struct pickle_value *key = v->list.item[i];
        char digits[24];

        if (key->kind == PICKLE_INT) snprintf(digits, sizeof digits, "%lld", (long long)key->integer);
        if (key->kind != PICKLE_INT && key->kind != PICKLE_TEXT)
            FAIL(CL_EDATA, "a key that is neither text nor integer");
        if (key->kind == PICKLE_TEXT && strlen(key->text.s) != key->text.n) FAIL(CL_EDATA, "a key holds NUL");
        TRY(json_of(&item, v->list.item[i + 1], depth + 1, parts));
        if (json_object_set_new(object, key->kind == PICKLE_INT ? digits : key->text.s, item))
            FAIL(CL_EDATA, "a key that is not UTF-8");
    }
    *out = object;
done:
    if (rc) json_decref(object);
    return rc;
}

static int json_of(json_t **out, const struct pickle_value *v, int depth, int *parts)
{
    *out = NULL;
    if (depth > JSON_DEPTH) return err_set(CL_EDATA, "refers to itself, or is deeper than %d", JSON_DEPTH);
    if (++*parts > JSON_PARTS) return err_set(CL_EDATA, "has more than %d parts", JSON_PARTS);
    switch (v->kind) {
    case PICKLE_NONE: *out = json_null(); break;
    case PICKLE_BOOL: *out = json_boolean(v->truth); break;
    case PICKLE_INT: *out = json_integer(v->integer); break;
    case PICKLE_FLOAT:
        if (!isfinite(v->real)) return err_set(CL_EDATA, "a number in it is not finite");
        *out = json_real(v->real);
        break;
    case PICKLE_TEXT:
        if (memchr(v->text.s, 0, v->text.n)) return err_set(CL_EDATA, "a text in it holds NUL");
        *out = json_stringn(v->text.s, v->text.n);
        if (!*out) return err_set(CL_EDATA, "a text in it is not UTF-8");
        break;
    case PICKLE_LIST: return list_json(out, v, depth, parts);
    case PICKLE_DICT: return dict_json(out, v, depth, parts);
    }
    return *out ? CL_OK : out_of_memory();
}

int pickle_json(json_t **out, const struct pickle_value *v)
{
    int parts = 0;

    return json_of(out, v, 0, &parts);
}
