/* checkpoint_deferred.c - the deferred form of a checkpoint: calls kept in memory, made again by a thread of their own.
 *
 *     caller   create_deferred  write  attr ..  commit | goes on ..                     | ckpt_wait: result
 *                                  `--- copies ---.    |                                |
 *     thread                                      `--- create  write  attr ..  commit --'
 *
 * Memory is given back call by call as the file grows.
 */
#include "io/h5.h"

#include <stdlib.h>
#include <string.h>

#include "io/background.h"

enum kind { GROUP, ARRAY, STRINGS, ATTR_I64, ATTR_F64, ATTR_STR, ATTR_BYTES };

/* One call. What it points at lies behind it in the same piece of memory: data, object, name. */
struct call {
    struct call *next;
    enum kind kind;
    enum ckpt_type type; // of an array
    bool grows;
    int dims;
    int64_t shape[CKPT_MAX_DIMS];
    int64_t n; // strings, or bytes of an attribute
    char *object, *name;
    _Alignas(16) char data[];
};

struct deferred {
    struct call *first, **end;
};

/* ---- keeping */

/* Appends a call with room for n bytes of data; NULL without memory. Its object has no name of its own where name is "". */
static struct call *add(struct ckpt *c, enum kind kind, const char *object, const char *name, size_t n)
{
    size_t object_room = strlen(object) + 1, name_room = strlen(name) + 1;
    struct call *k = malloc(sizeof *k + n + object_room + name_room);

    if (!k) {
        err_set(CL_ENOMEM,
                "no memory for a copy of %s%s%s (%zu bytes), which is written while the run goes on; hint: "
                "checkpoint.every_steps: 0 makes checkpoints between tasks only",
                object, *name ? ": " : "", name, n);
        return NULL;
    }
    *k = (struct call){.kind = kind, .object = k->data + n, .name = k->data + n + object_room};
    memcpy(k->object, object, object_room);
    memcpy(k->name, name, name_room);
    *c->deferred->end = k;
    c->deferred->end = &k->next;
    return k;
}

int ckpt_create_deferred(struct ckpt **out, const char *path)
{
    struct ckpt *c = NULL;
    int rc;

    *out = NULL;
    TRY(background_wait()); // one copy in memory, and the error of the one before
    if (!(c = calloc(1, sizeof *c)) || !(c->path = strdup(path)) || !(c->deferred = calloc(1, sizeof *c->deferred)))
        FAIL(CL_ENOMEM, "no memory for a checkpoint");
    c->file = c->fd = -1;
    c->writing = true;
    c->deferred->end = &c->deferred->first;
    *out = c;
    c = NULL;
    rc = CL_OK;
done:
    if (c) deferred_abandon(c);
    return rc;
}

void deferred_abandon(struct ckpt *c)
{
    for (struct call *k = c->deferred ? c->deferred->first : NULL, *next; k; k = next) {
        next = k->next;
        free(k);
    }
    free(c->deferred);
    free(c->path);
    free(c);
}

int deferred_group(struct ckpt *c, const char *name)
{
    return add(c, GROUP, name, "", 0) ? CL_OK : CL_ENOMEM;
}

int deferred_write(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape,
                   const void *data, bool grows)
{
    int64_t n;
    struct call *k;
    int rc;

    TRY(h5_count(c, name, h5_size(type), dims, shape, &n));
    n *= (int64_t)h5_size(type);
    if (!(k = add(c, ARRAY, name, "", (size_t)n))) return CL_ENOMEM;
    k->type = type, k->grows = grows, k->dims = dims;
    memcpy(k->shape, shape, (size_t)dims * sizeof *shape);
    if (n > 0) memcpy(k->data, data, (size_t)n);
done:
    return rc;
}

/* Data: the texts one behind the other, each with its end. */
int deferred_strings(struct ckpt *c, const char *name, const char *const *text, int64_t n)
{
    size_t bytes = 0;
    struct call *k;
    char *to;

    for (int64_t i = 0; i < n; i++) {
        if (!text[i]) return err_set(CL_EINTERNAL, "%s: %s[%lld] is no text", c->path, name, (long long)i);
        bytes += strlen(text[i]) + 1;
    }
    if (!(k = add(c, STRINGS, name, "", bytes))) return CL_ENOMEM;
    k->n = n;
    to = k->data;
    for (int64_t i = 0; i < n; i++) to = stpcpy(to, text[i]) + 1;
    return CL_OK;
}

static int keep_attribute(struct ckpt *c, enum kind kind, const char *object, const char *name, const void *data,
                          size_t n)
{
    struct call *k = add(c, kind, object, name, n);

    if (!k) return CL_ENOMEM;
    k->n = (int64_t)n;
    if (n) memcpy(k->data, data, n);
    return CL_OK;
}

int deferred_i64(struct ckpt *c, const char *object, const char *name, int64_t value)
{
    return keep_attribute(c, ATTR_I64, object, name, &value, sizeof value);
}

int deferred_f64(struct ckpt *c, const char *object, const char *name, double value)
{
    return keep_attribute(c, ATTR_F64, object, name, &value, sizeof value);
}

int deferred_str(struct ckpt *c, const char *object, const char *name, const char *value)
{
    return keep_attribute(c, ATTR_STR, object, name, value, strlen(value) + 1);
}

int deferred_bytes(struct ckpt *c, const char *object, const char *name, const void *bytes, size_t n)
{
    return keep_attribute(c, ATTR_BYTES, object, name, bytes, n);
}

/* ---- making the calls again: on the thread */

static int write_strings(struct ckpt *c, const struct call *k)
{
    const char **text = calloc((size_t)k->n + 1, sizeof *text), *from = k->data;
    int rc;

    if (!text) return err_set(CL_ENOMEM, "no memory for %lld strings", (long long)k->n);
    for (int64_t i = 0; i < k->n; i++) {
        text[i] = from;
        from += strlen(from) + 1;
    }
    rc = ckpt_write_strings(c, k->object, text, k->n);
    free(text);
    return rc;
}

static int make(struct ckpt *c, const struct call *k)
{
    int64_t integer;
    double real;

    switch (k->kind) {
    case GROUP: return ckpt_group(c, k->object);
    case ARRAY: return ckpt_write(c, k->object, k->type, k->dims, k->shape, k->data, k->grows);
    case STRINGS: return write_strings(c, k);
    case ATTR_I64: memcpy(&integer, k->data, sizeof integer); return ckpt_attr_i64(c, k->object, k->name, integer);
    case ATTR_F64: memcpy(&real, k->data, sizeof real); return ckpt_attr_f64(c, k->object, k->name, real);
    case ATTR_STR: return ckpt_attr_str(c, k->object, k->name, k->data);
    case ATTR_BYTES: return ckpt_attr_bytes(c, k->object, k->name, k->data, (size_t)k->n);
    }
    return CL_EINTERNAL;
}

static int write_file(void *with)
{
    struct ckpt *kept = with, *c = NULL;
    int rc;

    TRY(ckpt_create(&c, kept->path));
    for (struct call *k; (k = kept->deferred->first);) {
        TRY(make(c, k));
        kept->deferred->first = k->next;
        free(k);
    }
    rc = ckpt_commit(c);
    c = NULL;
done:
    ckpt_abandon(c);
    deferred_abandon(kept);
    return rc;
}

int deferred_commit(struct ckpt *c)
{
    int rc = background_start(write_file, c);

    if (rc) deferred_abandon(c);
    return rc;
}

/* ---- the end */

bool ckpt_writing(void)
{
    return background_running();
}

int ckpt_wait(void)
{
    return background_wait();
}
