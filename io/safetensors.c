/* safetensors.c - opening, checking and looking up.
 *
 * A file is: length of the header (8 bytes, little endian), the header (JSON: name -> type, shape, [begin, end)), the data.
 * Kept for every open file:
 *  1. every array's bytes lie inside the map and are as many as type and shape say;
 *  2. the arrays of a file tile its data without a gap or an overlap (a file cut short or patched by hand shows here);
 *  3. no two arrays of a directory have the same name, nor the same canonical name.
 * In a sharded directory the index decides what belongs to the model: an array that a shard holds beyond it is not seen.
 */
#include "io/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays are used as they lie in the file, little endian");

enum { MAX_HEADER = 100 << 20, LENGTH_BYTES = 8 }; // the format's own limit: 100 MB

struct shard {
    char *path;
    unsigned char *map;
    size_t size;
};

struct entry { // one line of a sorted table of names
    char *key;
    size_t at;
};

struct blank { // an array that was made because somebody wanted it
    struct blank *next;
    struct st_array array;
    size_t bytes;
};

struct safetensors {
    char *path; // as it was opened
    struct shard *shard;
    size_t n_shards;
    struct st_array *array;
    size_t n, room;
    struct entry *canonical, *exact; // (n), sorted by key
    bool is_blank;                   // of safetensors_blank:
    enum dtype blank_type;
    struct blank **blank; // the arrays so far, behind a pointer: wanting one does not change the checkpoint
};

static const struct {
    const char *name;
    enum dtype type;
} type_names[] = {{"F32", DT_F32}, {"BF16", DT_BF16}, {"F16", DT_F16}, {"F64", DT_F64}, {"I64", DT_I64},
                  {"I32", DT_I32}, {"I8", DT_I8},     {"U8", DT_U8},   {"BOOL", DT_U8}};

/* ---- one array of a header */

static int read_type(struct st_array *a, const json_t *spec)
{
    const char *name = json_string_value(json_object_get(spec, "dtype"));

    for (size_t i = 0; name && i < sizeof type_names / sizeof *type_names; i++)
        if (!strcmp(name, type_names[i].name)) {
            a->type = type_names[i].type;
            return 0;
        }
    return err_set(CL_EFORMAT, "dtype is %s, expected F32, BF16, F16, F64, I64, I32, I8, U8 or BOOL",
                   name ? name : "missing or no string");
}

/* Fills dims and shape; *bytes := size of the data that type and shape ask for. */
static int read_shape(struct st_array *a, const json_t *spec, size_t *bytes)
{
    const json_t *shape = json_object_get(spec, "shape");

    if (!json_is_array(shape)) return err_set(CL_EFORMAT, "shape is missing or no list");
    if (json_array_size(shape) > ST_MAX_DIMS)
        return err_set(CL_EFORMAT, "%zu dimensions (expected at most %d)", json_array_size(shape), ST_MAX_DIMS);
    a->dims = (int)json_array_size(shape);
    *bytes = dtype_size(a->type);
    for (int i = 0; i < a->dims; i++) {
        const json_t *v = json_array_get(shape, (size_t)i);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return err_set(CL_EFORMAT, "shape[%d] is not a whole number >= 0", i);
        a->shape[i] = json_integer_value(v);
        if (__builtin_mul_overflow(*bytes, (size_t)a->shape[i], bytes) || *bytes > SIZE_MAX / 2)
            return err_set(CL_EFORMAT, "shape is too large for memory at shape[%d] = %lld", i, (long long)a->shape[i]);
    }
    return 0;
}

static int read_offsets(const json_t *spec, size_t want, size_t data_size, size_t *begin)
{
    const json_t *offsets = json_object_get(spec, "data_offsets");
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    json_int_t b = json_integer_value(from), e = json_integer_value(to);

    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return err_set(CL_EFORMAT, "data_offsets is not a pair of whole numbers");
    if (b < 0 || b > e || (uint64_t)e > data_size)
        return err_set(CL_EFORMAT,
                       "data_offsets [%lld, %lld] lie outside the data (%zu bytes); hint: the file is cut short",
                       (long long)b, (long long)e, data_size);
    if ((uint64_t)(e - b) != want)
        return err_set(CL_EFORMAT, "data_offsets hold %lld bytes, type and shape ask for %zu", (long long)(e - b),
                       want);
    *begin = (size_t)b;
    return 0;
}

static int read_array(struct st_array *a, const struct shard *s, size_t data_at, const char *name, const json_t *spec)
{
    size_t bytes = 0, begin = 0;
    int rc;

    *a = (struct st_array){.file = s->path};
    if (!json_is_object(spec)) FAIL(CL_EFORMAT, "its description is no JSON object");
    TRY(read_type(a, spec));
    TRY(read_shape(a, spec, &bytes));
    TRY(read_offsets(spec, bytes, s->size - data_at, &begin));
    a->data = s->map + data_at + begin;
    if (!(a->name = strdup(name))) FAIL(CL_ENOMEM, "out of memory for its name");
done:
    return err_prefix(rc, "%s: tensor %s", s->path, name);
}

/* ---- one file */

static size_t array_bytes(const struct st_array *a)
{
    size_t bytes = dtype_size(a->type);

    for (int i = 0; i < a->dims; i++) bytes *= (size_t)a->shape[i];
    return bytes;
}

static int by_data(const void *x, const void *y)
{
    const struct st_array *a = x, *b = y;
    uintptr_t p = (uintptr_t)a->data, q = (uintptr_t)b->data;

    if (p == q) { // empty arrays in front, so that tiling can be told by walking on
        p = array_bytes(a);
        q = array_bytes(b);
    }
    return p < q ? -1 : p > q;
}

static int check_tiling(struct st_array *a, size_t n, const struct shard *s, size_t data_at)
{
    const unsigned char *at = s->map + data_at, *end = s->map + s->size;

    if (n) qsort(a, n, sizeof *a, by_data);
    for (size_t i = 0; i < n; i++) {
        if ((const unsigned char *)a[i].data != at)
            return err_set(CL_EFORMAT, "%s: tensor %s %s; hint: the file is broken, fetch it again", s->path, a[i].name,
                           (const unsigned char *)a[i].data < at ? "overlaps the one before it"
                                                                 : "leaves a gap to the one before it");
        at += array_bytes(&a[i]);
    }
    if (at == end) return 0;
    return err_set(CL_EFORMAT,
                   "%s: %zu bytes after the last tensor belong to none; hint: the file is broken, fetch it again",
                   s->path, (size_t)(end - at));
}

static int map_file(struct shard *s, const char *path)
{
    struct stat st;
    void *p = MAP_FAILED;
    int rc = 0, fd = -1;

    if (!(s->path = strdup(path))) FAIL(CL_ENOMEM, "out of memory for a path");
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(fd, &st))
        FAIL(CL_EIO, "cannot open %s: %s; hint: check the path and its permissions", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) FAIL(CL_EIO, "%s is not a file", path);
    if (st.st_size < LENGTH_BYTES)
        FAIL(CL_EFORMAT, "%s has %lld bytes, too few for a safetensors file; hint: was it fetched whole?", path,
             (long long)st.st_size);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) FAIL(CL_EIO, "cannot map %s: %s", path, strerror(errno));
    s->map = p;
    s->size = (size_t)st.st_size;
done:
    if (fd >= 0) close(fd);
    return rc;
}

static int read_header(json_t **header, size_t *data_at, const struct shard *s)
{
    uint64_t length;
    json_error_t error;

    memcpy(&length, s->map, sizeof length);
    if (length > MAX_HEADER || length > s->size - LENGTH_BYTES)
        return err_set(CL_EFORMAT,
                       "%s: the header has %llu bytes, more than %s; hint: not a safetensors file, or one cut short",
                       s->path, (unsigned long long)length, length > MAX_HEADER ? "the format allows" : "the file");
    *header = json_loadb((const char *)s->map + LENGTH_BYTES, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!*header)
        return err_set(CL_EFORMAT, "%s: the header is not JSON: %s (at byte %d)", s->path, error.text, error.position);
    if (!json_is_object(*header)) return err_set(CL_EFORMAT, "%s: the header is no JSON object", s->path);
    *data_at = LENGTH_BYTES + (size_t)length;
    return 0;
}

static int make_room(struct safetensors *st, size_t more)
{
    struct st_array *bigger;

    if (st->room - st->n >= more) return 0;
    if (!(bigger = mem_grow(st->array, st->n, st->n + more, sizeof *bigger)))
        return err_set(CL_ENOMEM, "out of memory for %zu tensors", st->n + more);
    st->array = bigger;
    st->room = st->n + more;
    return 0;
}

/* Drops what the index (name -> file) does not look for in this file; keeps all without an index. */
static void keep_listed(struct safetensors *st, size_t first, const json_t *index, const char *file)
{
    size_t kept = first;

    for (size_t i = first; i < st->n; i++) {
        const char *at = index ? json_string_value(json_object_get(index, st->array[i].name)) : file;
        if (at && !strcmp(at, file))
            st->array[kept++] = st->array[i];
        else
            free((char *)st->array[i].name);
    }
    st->n = kept;
}

/* Adds the arrays of one file. st->shard has room for it. */
static int add_file(struct safetensors *st, const char *path, const json_t *index, const char *file)
{
    struct shard *s = &st->shard[st->n_shards++];
    size_t data_at = 0, first = st->n;
    json_t *header = NULL, *spec;
    const char *name;
    int rc;

    TRY(map_file(s, path));
    TRY(read_header(&header, &data_at, s));
    TRY(make_room(st, json_object_size(header)));
    json_object_foreach(header, name, spec)
    {
        if (!strcmp(name, "__metadata__")) continue;
        TRY(read_array(&st->array[st->n], s, data_at, name, spec));
        st->n++;
    }
    TRY(check_tiling(st->array + first, st->n - first, s, data_at));
    keep_listed(st, first, index, file);
done:
    json_decref(header);
    return rc;
}

/* ---- a directory */

/* *path := "dir/file", in place of what it was. */
static int join_path(char **path, const char *dir, const char *file)
{
    free(*path);
    if (asprintf(path, "%s/%s", dir, file) >= 0) return 0;
    *path = NULL;
    return err_set(CL_ENOMEM, "out of memory for a path");
}

static int by_string(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* A shard's name comes from a file that anybody may have written: it must stay inside the directory. */
static bool plain_name(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

/* files: distinct shard names of the index, sorted, borrowed from it. */
static int shard_names(const char ***files, size_t *n, const json_t *index, const char *path)
{
    json_t *index_of = (json_t *)index, *file; // the iterator's signature knows no const
    const char *name, **all = mem_new(json_object_size(index) + 1, sizeof *all);
    size_t count = 0;

    if (!(*files = all)) return err_set(CL_ENOMEM, "out of memory for the index %s", path);
    json_object_foreach(index_of, name, file)
    {
        if (!json_is_string(file) || !plain_name(json_string_value(file)))
            return err_set(CL_EFORMAT,
                           "%s: weight_map gives no plain file name for %s; hint: shards lie beside their index", path,
                           name);
        all[count++] = json_string_value(file);
    }
    qsort(all, count, sizeof *all, by_string);
    for (size_t i = *n = 0; i < count; i++)
        if (!i || strcmp(all[i], all[i - 1])) all[(*n)++] = all[i];
    return 0;
}

static const struct st_array *find(const struct safetensors *st, const struct entry *table, const char *key);
static int sort_names(struct safetensors *st);

static int add_shards(struct safetensors *st, const char *dir, const json_t *index, const char *index_path)
{
    const char **files = NULL, *name;
    json_t *file;
    char *path = NULL;
    size_t n = 0;
    int rc;

    TRY(shard_names(&files, &n, index, index_path));
    if (!n) FAIL(CL_EFORMAT, "%s: weight_map is empty", index_path);
    if (!(st->shard = mem_new(n, sizeof *st->shard))) FAIL(CL_ENOMEM, "out of memory for %zu shards", n);
    for (size_t i = 0; i < n; i++) {
        TRY(join_path(&path, dir, files[i]));
        if (access(path, F_OK))
            FAIL(CL_EIO, "%s, which %s names, is not there; hint: fetch all %zu shards", path, index_path, n);
        TRY(add_file(st, path, index, files[i]));
    }
    TRY(sort_names(st));
    json_object_foreach((json_t *)index, name, file)
    {
        if (!find(st, st->exact, name))
            FAIL(CL_EFORMAT, "%s says that %s is in %s, but it is not", index_path, name, json_string_value(file));
    }
done:
    free(path);
    mem_free(files);
    return rc;
}

static int open_index(struct safetensors *st, const char *dir, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const json_t *map = json_object_get(root, "weight_map");
    int rc;

    if (!root) FAIL(CL_EFORMAT, "%s is not JSON: %s (line %d)", path, error.text, error.line);
    if (!json_is_object(map)) FAIL(CL_EFORMAT, "%s has no object weight_map", path);
    TRY(add_shards(st, dir, map, path));
done:
    json_decref(root);
    return rc;
}

static int open_one(struct safetensors *st, const char *path)
{
    int rc;

    if (!(st->shard = mem_new(1, sizeof *st->shard))) FAIL(CL_ENOMEM, "out of memory for a shard");
    TRY(add_file(st, path, NULL, path));
    TRY(sort_names(st));
done:
    return rc;
}

static bool in_dir(char **path, const char *dir, const char *file)
{
    return !join_path(path, dir, file) && !access(*path, F_OK);
}

static int open_dir(struct safetensors *st, const char *dir)
{
    char *path = NULL;
    int rc;

    if (in_dir(&path, dir, "model.safetensors"))
        TRY(open_one(st, path));
    else if (in_dir(&path, dir, "model.safetensors.index.json"))
        TRY(open_index(st, dir, path));
    else if (in_dir(&path, dir, "pytorch_model.bin") || in_dir(&path, dir, "pytorch_model.bin.index.json"))
        FAIL(CL_EIO,
             "%s holds its weights as pytorch_model.bin only (expected model.safetensors); hint: convert once, in "
             "Python: "
             "from transformers import AutoModel; AutoModel.from_pretrained(DIR).save_pretrained(NEW_DIR) "
             "(for a LLaVA base: LlavaForConditionalGeneration in place of AutoModel)",
             dir);
    else
        FAIL(CL_EIO,
             "no weights in %s (looked for model.safetensors and model.safetensors.index.json); hint: check the path",
             dir);
done:
    free(path);
    return rc;
}

int safetensors_open(struct safetensors **out, const char *path)
{
    struct safetensors *st = mem_new(1, sizeof *st);
    struct stat s;
    int rc;

    *out = NULL;
    if (!st || !(st->path = strdup(path))) FAIL(CL_ENOMEM, "out of memory for %s", path);
    if (stat(path, &s)) FAIL(CL_EIO, "cannot open %s: %s; hint: check the path", path, strerror(errno));
    TRY(S_ISDIR(s.st_mode) ? open_dir(st, path) : open_one(st, path));
    *out = st;
    return 0;
done:
    safetensors_close(st);
    return rc;
}

/* ---- a checkpoint that is none */

int safetensors_blank(struct safetensors **out, enum dtype type)
{
    int rc;
    struct safetensors *st = mem_new(1, sizeof *st);

    *out = NULL;
    if (!st || !(st->blank = mem_new(1, sizeof *st->blank)) || !(st->path = strdup("a blank checkpoint")))
        FAIL(CL_ENOMEM, "out of memory");
    st->is_blank = true, st->blank_type = type;
    *out = st;
    return 0;
done:
    safetensors_close(st);
    return rc;
}

/* Pages that were never written are one page of zeros, whoever reads them. */
static int blank_want(const struct st_array **out, const struct safetensors *st, const int64_t *shape, int dims)
{
    struct blank *b = mem_new(1, sizeof *b);
    void *zeros;

    if (!b) return err_set(CL_ENOMEM, "out of memory");
    b->array = (struct st_array){.name = st->path, .type = st->blank_type, .dims = dims, .file = st->path};
    b->bytes = dtype_size(st->blank_type);
    for (int i = 0; i < dims; i++) b->bytes *= (size_t)(b->array.shape[i] = shape[i] < 0 ? 1 : shape[i]);
    zeros = mmap(NULL, b->bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) {
        mem_free(b);
        return err_set(CL_ENOMEM, "no room for %zu bytes of zeros: %s", b->bytes, strerror(errno));
    }
    b->array.data = zeros;
    b->next = *st->blank;
    *st->blank = b;
    *out = &b->array;
    return 0;
}

static void blank_free(struct blank *b)
{
    while (b) {
        struct blank *next = b->next;
        munmap((void *)b->array.data, b->bytes);
        mem_free(b);
        b = next;
    }
}

void safetensors_close(struct safetensors *st)
{
    if (!st) return;
    if (st->blank) blank_free(*st->blank);
    mem_free(st->blank);
    for (size_t i = 0; i < st->n; i++) {
        free((char *)st->array[i].name);
        if (st->canonical) free(st->canonical[i].key);
    }
    for (size_t i = 0; i < st->n_shards; i++) {
        if (st->shard[i].map) munmap(st->shard[i].map, st->shard[i].size);
        free(st->shard[i].path);
    }
    mem_free(st->array);
    mem_free(st->canonical);
    mem_free(st->exact);
    mem_free(st->shard);
    free(st->path);
    mem_free(st);
}

/* ---- lookup */

static int by_key(const void *x, const void *y)
{
    return strcmp(((const struct entry *)x)->key, ((const struct entry *)y)->key);
}

static int check_distinct(const struct safetensors *st, const struct entry *table)
{
    for (size_t i = 1; i < st->n; i++) {
        const struct st_array *a = &st->array[table[i - 1].at], *b = &st->array[table[i].at];
        if (!strcmp(table[i - 1].key, table[i].key))
            return err_set(CL_EFORMAT, "%s (in %s) and %s (in %s) are the same tensor by name; hint: keep one of them",
                           a->name, a->file, b->name, b->file);
    }
    return 0;
}

static int sort_names(struct safetensors *st)
{
    int rc = 0;

    st->canonical = mem_new(st->n, sizeof *st->canonical);
    st->exact = mem_new(st->n, sizeof *st->exact);
    if (!st->canonical || !st->exact) FAIL(CL_ENOMEM, "out of memory for the names of %zu tensors", st->n);
    for (size_t i = 0; i < st->n; i++) {
        size_t room = strlen(st->array[i].name) + 64; // a canonical name is longer by a replaced word at most
        st->exact[i] = (struct entry){(char *)st->array[i].name, i};
        st->canonical[i] = (struct entry){malloc(room), i};
        if (!st->canonical[i].key) FAIL(CL_ENOMEM, "out of memory for the name of a tensor");
        safetensors_canonical(st->array[i].name, st->canonical[i].key, room);
    }
    qsort(st->exact, st->n, sizeof *st->exact, by_key);
    qsort(st->canonical, st->n, sizeof *st->canonical, by_key);
    TRY(check_distinct(st, st->exact));
    TRY(check_distinct(st, st->canonical));
done:
    return rc;
}

static const struct st_array *find(const struct safetensors *st, const struct entry *table, const char *key)
{
    struct entry want = {(char *)key, 0};
    const struct entry *e = st->n ? bsearch(&want, table, st->n, sizeof *table, by_key) : NULL;
    return e ? &st->array[e->at] : NULL;
}

size_t safetensors_count(const struct safetensors *st)
{
    return st->n;
}

const struct st_array *safetensors_at(const struct safetensors *st, size_t i)
{
    return i < st->n ? &st->array[i] : NULL;
}

const struct st_array *safetensors_find(const struct safetensors *st, const char *canonical)
{
    return find(st, st->canonical, canonical);
}

const struct st_array *safetensors_find_exact(const struct safetensors *st, const char *name)
{
    return find(st, st->exact, name);
}

/* "(3, any, 5)" */
static void shape_text(char *out, size_t room, const int64_t *shape, int dims)
{
    size_t used = (size_t)snprintf(out, room, "(");

    for (int i = 0; i < dims && used < room; i++)
        used +=
            (size_t)(shape[i] < 0 ? snprintf(out + used, room - used, "%sany", i ? ", " : "")
                                  : snprintf(out + used, room - used, "%s%lld", i ? ", " : "", (long long)shape[i]));
    if (used < room) snprintf(out + used, room - used, ")");
}

int safetensors_want(const struct st_array **out, const struct safetensors *st, const char *canonical, int dims, ...)
{
    const struct st_array *a = safetensors_find(st, canonical);
    int64_t want[ST_MAX_DIMS];
    char got_text[256], want_text[256];
    bool same = a && a->dims == dims;
    va_list ap;

    *out = NULL;
    if (dims > ST_MAX_DIMS) return err_set(CL_EINTERNAL, "a tensor of %d dimensions asked for", dims);
    va_start(ap, dims);
    for (int i = 0; i < dims; i++) want[i] = va_arg(ap, int);
    va_end(ap);
    if (st->is_blank) return blank_want(out, st, want, dims);
    for (int i = 0; same && i < dims; i++) same = want[i] < 0 || want[i] == a->shape[i];

    shape_text(want_text, sizeof want_text, want, dims);
    if (!a)
        return err_set(CL_EMISMATCH,
                       "%s holds no tensor %s (expected shape %s); hint: do config.json and weights belong together?",
                       st->path, canonical, want_text);
    shape_text(got_text, sizeof got_text, a->shape, a->dims);
    if (!same)
        return err_set(CL_EMISMATCH,
                       "%s: tensor %s has shape %s, expected %s; hint: do config.json and weights belong together?",
                       a->file, a->name, got_text, want_text);
    if (a->type != DT_F32 && a->type != DT_BF16 && a->type != DT_F16)
        return err_set(CL_EMISMATCH,
                       "%s: tensor %s has type %s, expected f32, bf16 or f16; hint: quantised bases are not read",
                       a->file, a->name, dtype_name(a->type));
    *out = a;
    return 0;
}
