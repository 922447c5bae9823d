/* safetensors_write.c - the writer: header and data under a temporary name, then renamed, so that a file is whole or absent. */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/safetensors.h"

enum { PIECE = 8 << 20 }; // bytes of an array at a time, where they are made for the purpose

static const char *type_name(enum dtype t)
{
    static const char *const name[] = {[DT_F32] = "F32", [DT_BF16] = "BF16", [DT_F16] = "F16", [DT_I32] = "I32",
                                       [DT_I64] = "I64", [DT_I8] = "I8",     [DT_U8] = "U8",   [DT_F64] = "F64"};
    return name[t];
}

static int array_size(size_t *bytes, const struct st_array *a)
{
    *bytes = dtype_size(a->type);
    if (a->dims < 0 || a->dims > ST_MAX_DIMS)
        return err_set(CL_EINTERNAL, "tensor %s has %d dimensions", a->name, a->dims);
    for (int i = 0; i < a->dims; i++)
        if (a->shape[i] < 0 || __builtin_mul_overflow(*bytes, (size_t)a->shape[i], bytes))
            return err_set(CL_EINTERNAL, "tensor %s has an impossible shape", a->name);
    return 0;
}

static int add_line(json_t *header, const struct st_array *a, size_t *at)
{
    json_t *shape = json_array();
    size_t bytes;
    int rc, failed = !shape;

    TRY(array_size(&bytes, a));
    for (int i = 0; i < a->dims; i++) failed |= json_array_append_new(shape, json_integer(a->shape[i]));
    if (json_object_get(header, a->name)) FAIL(CL_EINTERNAL, "tensor %s is written twice", a->name);
    failed |= json_object_set_new(header, a->name,
                                  json_pack("{s:s, s:O, s:[I, I]}", "dtype", type_name(a->type), "shape", shape,
                                            "data_offsets", (json_int_t)*at, (json_int_t)(*at + bytes)));
    if (failed) FAIL(CL_ENOMEM, "tensor %s cannot be described (out of memory, or its name is not UTF-8)", a->name);
    *at += bytes;
done:
    json_decref(shape);
    return rc;
}

/* text: the header, blanks at its end so that the data begin at a multiple of 8 bytes. */
static int make_header(char **text, uint64_t *length, const struct st_array *arrays, size_t n)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt"); // transformers asks for it
    size_t at = 0, used;
    char *bare = NULL;
    int rc = 0;

    if (!header) FAIL(CL_ENOMEM, "out of memory for a header");
    for (size_t i = 0; i < n; i++) TRY(add_line(header, &arrays[i], &at));
    if (!(bare = json_dumps(header, JSON_COMPACT))) FAIL(CL_ENOMEM, "out of memory for a header");
    used = strlen(bare);
    *length = (used + 7) / 8 * 8;
    if (!(*text = malloc(*length + 1))) FAIL(CL_ENOMEM, "out of memory for a header");
    memset(*text, ' ', *length);
    memcpy(*text, bare, used);
done:
    free(bare);
    json_decref(header);
    return rc;
}

struct source {
    safetensors_fill *fill; // NULL: arrays have data
    void *context, *piece;
};

static bool write_array(FILE *f, const struct st_array *a, size_t bytes, const struct source *from)
{
    if (!from->fill) return !bytes || fwrite(a->data, 1, bytes, f) == bytes;
    for (size_t at = 0, now; at < bytes; at += now) {
        now = bytes - at < PIECE ? bytes - at : PIECE;
        from->fill(from->context, a, at, from->piece, now);
        if (fwrite(from->piece, 1, now, f) != now) return false;
    }
    return true;
}

static int write_all(FILE *f, const char *header, uint64_t length, const struct st_array *arrays, size_t n,
                     const struct source *from)
{
    size_t bytes;
    bool ok = fwrite(&length, sizeof length, 1, f) == 1 && fwrite(header, 1, length, f) == length;

    for (size_t i = 0; ok && i < n; i++) {
        if (array_size(&bytes, &arrays[i])) return CL_EINTERNAL;
        ok = write_array(f, &arrays[i], bytes, from);
    }
    return ok && !fflush(f) && !fsync(fileno(f)) ? 0 : err_set(CL_EIO, "%s", strerror(errno));
}

int safetensors_write_filled(const char *path, const struct st_array *arrays, size_t n, safetensors_fill *fill,
                             void *context)
{
    char *temporary = NULL, *header = NULL;
    uint64_t length = 0;
    struct source from = {.fill = fill, .context = context};
    FILE *f = NULL;
    int rc;

    if (fill && !(from.piece = mem_new(1, PIECE))) FAIL(CL_ENOMEM, "out of memory for a piece of a tensor");
    TRY(make_header(&header, &length, arrays, n));
    if (asprintf(&temporary, "%s.%ld.tmp", path, (long)getpid()) < 0) {
        temporary = NULL; // left undefined by the call
        FAIL(CL_ENOMEM, "out of memory for a path");
    }
    if (!(f = fopen(temporary, "wb"))) FAIL(CL_EIO, "%s", strerror(errno));
    TRY(write_all(f, header, length, arrays, n, &from));
    rc = fclose(f);
    f = NULL;
    if (rc || rename(temporary, path)) FAIL(CL_EIO, "%s", strerror(errno));
done:
    if (f) fclose(f);
    if (rc && temporary) unlink(temporary);
    free(temporary);
    free(header);
    mem_free(from.piece);
    return err_prefix(rc, "cannot write %s", path);
}

int safetensors_write(const char *path, const struct st_array *arrays, size_t n)
{
    return safetensors_write_filled(path, arrays, n, NULL, NULL);
}
