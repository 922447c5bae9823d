/* checkpoint_text.c - the reading half of checkpoint.h: text and attributes. */
#include "io/h5.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MOST = 256 * 1024 * 1024 }; // longest string that is read

/* ---- text. Fixed and variable length are read by one way: as variable length, converted by HDF5. */

/* Copies an HDF5 string, which may be NULL where nothing was written. */
static int take_text(struct ckpt *c, const char *name, const char *from, char **to)
{
    if (!from) from = "";
    if (strnlen(from, TEXT_MOST) == TEXT_MOST) return err_set(CL_EFORMAT, "%s: text of %s is too long", c->path, name);
    if (!h5_utf8(from)) return err_set(CL_EFORMAT, "%s: text of %s is not UTF-8", c->path, name);
    *to = strdup(from);
    return *to ? CL_OK : err_set(CL_ENOMEM, "no memory for text of %s", name);
}

/* One type in memory for both kinds of stored strings. *fixed: bytes per string, 0 where they are of variable length. */
static int string_memory(struct ckpt *c, const char *name, hid_t stored, hid_t *memory, size_t *fixed)
{
    htri_t variable;
    int rc;

    if (H5Tget_class(stored) != H5T_STRING) FAIL(CL_EFORMAT, "%s: %s is not text", c->path, name);
    H5TRY(c, name, variable = H5Tis_variable_str(stored));
    H5TRY(c, name, *memory = H5Tcopy(stored));
    *fixed = variable ? 0 : H5Tget_size(stored);
    if (!variable) {
        H5TRY(c, name, H5Tset_size(*memory, *fixed + 1));
        H5TRY(c, name, H5Tset_strpad(*memory, H5T_STR_NULLTERM));
    }
done:
    return rc;
}

static int read_variable(struct ckpt *c, const char *name, hid_t set, hid_t memory, char **text, int64_t n)
{
    char **raw = calloc((size_t)n, sizeof *raw);
    hid_t space = -1;
    int rc;

    if (!raw) FAIL(CL_ENOMEM, "no memory for %lld strings", (long long)n);
    H5TRY(c, name, space = H5Dget_space(set));
    H5TRY(c, name, H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw));
    rc = CL_OK;
    for (int64_t i = 0; !rc && i < n; i++) rc = take_text(c, name, raw[i], &text[i]);
    H5Dvlen_reclaim(memory, space, H5P_DEFAULT, raw);
done:
    h5_close(space);
    free(raw);
    return rc;
}

static int read_fixed(struct ckpt *c, const char *name, hid_t set, hid_t memory, size_t size, char **text, int64_t n)
{
    char *raw = size < TEXT_MOST ? calloc((size_t)n, size + 1) : NULL;
    int rc;

    if (!raw) FAIL(CL_ENOMEM, "no memory for %lld strings", (long long)n);
    H5TRY(c, name, H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw));
    rc = CL_OK;
    for (int64_t i = 0; !rc && i < n; i++) rc = take_text(c, name, raw + (size_t)i * (size + 1), &text[i]);
done:
    free(raw);
    return rc;
}

int ckpt_read_strings(struct ckpt *c, const char *name, char ***text, int64_t *count)
{
    hid_t set = -1, stored = -1, memory = -1;
    int64_t shape[CKPT_MAX_DIMS], n = 0;
    char **out = NULL;
    size_t fixed;
    int rc, dims;

    *text = NULL;
    *count = 0;
    h5_begin();
    TRY(h5_open_set(c, name, &set));
    TRY(h5_set_shape(c, name, set, &dims, shape, &n));
    if (dims > 1) FAIL(CL_EFORMAT, "%s: %s has %d dimensions (expected a list of text)", c->path, name, dims);
    H5TRY(c, name, stored = H5Dget_type(set));
    TRY(string_memory(c, name, stored, &memory, &fixed));
    out = calloc((size_t)(n > 0 ? n : 1), sizeof *out);
    if (!out) FAIL(CL_ENOMEM, "no memory for %lld strings", (long long)n);
    if (n > 0)
        TRY(fixed ? read_fixed(c, name, set, memory, fixed, out, n) : read_variable(c, name, set, memory, out, n));
    *text = out;
    *count = n;
    out = NULL;
done:
    ckpt_strings_free(out, n);
    h5_close(set);
    h5_close(stored);
    h5_close(memory);
    return rc;
}

void ckpt_strings_free(char **text, int64_t n)
{
    if (!text) return;
    for (int64_t i = 0; i < n; i++) free(text[i]);
    free(text);
}

/* ---- attributes */

/* An open attribute, its stored type and how many values it has. */
struct attribute {
    hid_t id, type;
    int64_t n;
};

static void attribute_close(struct attribute *a)
{
    h5_close(a->type);
    h5_close(a->id);
}

static int attribute_open(struct ckpt *c, const char *object, const char *name, struct attribute *a)
{
    hid_t id = -1, space = -1;
    htri_t there;
    int rc;

    a->id = a->type = -1;
    TRY(h5_open_object(c, object, &id));
    H5TRY(c, name, there = H5Aexists(id, name));
    if (!there) FAIL(CL_EFORMAT, "%s: %s has no attribute %s", c->path, object, name);
    H5TRY(c, name, a->id = H5Aopen(id, name, H5P_DEFAULT));
    H5TRY(c, name, a->type = H5Aget_type(a->id));
    H5TRY(c, name, space = H5Aget_space(a->id));
    H5TRY(c, name, a->n = H5Sget_simple_extent_npoints(space));
done:
    h5_close(space);
    h5_close(id);
    if (rc) {
        attribute_close(a);
        a->id = a->type = -1;
    }
    return rc;
}

bool ckpt_has_attr(struct ckpt *c, const char *object, const char *name)
{
    bool found;

    h5_begin();
    if (h5_find(c, object, &found) || !found) return false;
    found = H5Aexists_by_name(c->file, object, name, H5P_DEFAULT) > 0;
    H5Eclear2(H5E_DEFAULT);
    return found;
}

static int get_number(struct ckpt *c, const char *object, const char *name, enum ckpt_type type, void *value)
{
    struct attribute a;
    int rc;

    h5_begin();
    TRY(attribute_open(c, object, name, &a));
    TRY(h5_check_class(c, name, a.type, type));
    if (a.n != 1)
        FAIL(CL_EFORMAT, "%s: attribute %s of %s has %lld values (expected 1)", c->path, name, object, (long long)a.n);
    H5TRY(c, name, H5Aread(a.id, h5_memory(type), value));
done:
    attribute_close(&a);
    return rc;
}

int ckpt_get_i64(struct ckpt *c, const char *object, const char *name, int64_t *value)
{
    return get_number(c, object, name, CKPT_I64, value);
}

int ckpt_get_f64(struct ckpt *c, const char *object, const char *name, double *value)
{
    return get_number(c, object, name, CKPT_F64, value);
}

int ckpt_get_str(struct ckpt *c, const char *object, const char *name, char **value)
{
    struct attribute a;
    hid_t memory = -1;
    size_t fixed = 0;
    char *raw = NULL;
    int rc;

    *value = NULL;
    h5_begin();
    TRY(attribute_open(c, object, name, &a));
    if (a.n != 1)
        FAIL(CL_EFORMAT, "%s: attribute %s of %s has %lld values (expected 1)", c->path, name, object, (long long)a.n);
    TRY(string_memory(c, name, a.type, &memory, &fixed));
    if (fixed) {
        raw = fixed < TEXT_MOST ? calloc(1, fixed + 1) : NULL;
        if (!raw) FAIL(CL_ENOMEM, "no memory for text of %s", name);
        H5TRY(c, name, H5Aread(a.id, memory, raw));
    } else {
        H5TRY(c, name, H5Aread(a.id, memory, &raw));
    }
    rc = take_text(c, name, raw, value);
done:
    if (fixed)
        free(raw);
    else if (raw)
        H5free_memory(raw);
    h5_close(memory);
    attribute_close(&a);
    return rc;
}

int ckpt_get_bytes(struct ckpt *c, const char *object, const char *name, void **bytes, size_t *n)
{
    struct attribute a;
    void *out = NULL;
    int rc;

    *bytes = NULL;
    *n = 0;
    h5_begin();
    TRY(attribute_open(c, object, name, &a));
    if (H5Tget_class(a.type) != H5T_INTEGER || H5Tget_size(a.type) != 1 || a.n < 0 || a.n > TEXT_MOST)
        FAIL(CL_EFORMAT, "%s: attribute %s of %s does not hold bytes", c->path, name, object);
    out = calloc((size_t)a.n + 1, 1);
    if (!out) FAIL(CL_ENOMEM, "no memory for %lld bytes", (long long)a.n);
    if (a.n > 0) H5TRY(c, name, H5Aread(a.id, H5T_NATIVE_UINT8, out));
    *bytes = out;
    *n = (size_t)a.n;
    out = NULL;
done:
    free(out);
    attribute_close(&a);
    return rc;
}

int h5_read_heaps(struct ckpt *c, int64_t (**heaps)[3], int64_t *n)
{
    struct attribute a;
    int rc;

    TRY(attribute_open(c, "/", H5_HEAPS, &a));
    TRY(h5_check_class(c, H5_HEAPS, a.type, CKPT_I64));
    if (a.n < 0 || a.n % 3 || a.n > TEXT_MOST) FAIL(CL_EFORMAT, "%s: attribute %s is broken", c->path, H5_HEAPS);
    *n = a.n / 3;
    *heaps = calloc((size_t)*n + 1, sizeof **heaps);
    if (!*heaps) FAIL(CL_ENOMEM, "no memory for the checksums of %s", c->path);
    if (*n) H5TRY(c, H5_HEAPS, H5Aread(a.id, H5T_NATIVE_INT64, *heaps));
done:
    attribute_close(&a);
    return rc;
}
