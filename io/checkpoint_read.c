/* checkpoint_read.c - the reading half of checkpoint.h: nothing that a file says is believed before it is checked.
 *
 * A shape is refused when its numbers cannot be in the bytes that are stored for it (deflate shrinks at most about 1030
 * times), so that a damaged or hostile size never becomes an allocation.
 */
#include "io/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEFLATE_MOST = 1100,           // logical bytes that one stored byte can become
    TEXT_MOST = 256 * 1024 * 1024, // longest string that is read
    VERIFY_BYTES = 16 * 1024 * 1024
};
static const char FORMAT[] = "cllava-checkpoint";

static int read_heaps(struct ckpt *c, int64_t (**heaps)[3], int64_t *n);

/* ---- opening */

/* The system's own words first: HDF5's are about signatures and drivers. */
static int open_checked(struct ckpt *c)
{
    hid_t access = -1;
    struct stat s;
    htri_t known;
    int rc;

    c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0)
        FAIL(CL_EIO, "cannot read %s: %s; hint: %s", c->path, strerror(errno),
             errno == ENOENT ? "check the path" : "check its permissions");
    if (fstat(c->fd, &s) || !S_ISREG(s.st_mode))
        FAIL(CL_EIO,
             "cannot read %s: not a regular file (expected an HDF5 file); hint: a run directory holds checkpoint-*.h5",
             c->path);
    known = s.st_size > 0 ? H5Fis_hdf5(c->path) : 0;
    H5Eclear2(H5E_DEFAULT);
    if (known <= 0)
        FAIL(CL_EFORMAT, "%s is not an HDF5 file (%lld bytes, no signature; expected a checkpoint of cllava)", c->path,
             (long long)s.st_size);
    H5PLset_loading_state(0); // a file must not name code to load
    H5TRY(c, NULL, access = h5_access());
    H5TRY(c, NULL, c->file = H5Fopen(c->path, H5F_ACC_RDONLY, access));
    rc = CL_OK;
done:
    h5_close(access);
    return rc;
}

/* The heap of text, which HDF5 itself does not guard, against the checksums of checkpoint_write.c. */
static int check_heaps(struct ckpt *c)
{
    int64_t(*heaps)[3] = NULL, n = 0, crc;
    int rc = CL_OK;

    if (!ckpt_has_attr(c, "/", H5_HEAPS)) return CL_OK; // other writers
    TRY(read_heaps(c, &heaps, &n));
    for (int64_t i = 0; i < n; i++) {
        if (heaps[i][0] < 0 || heaps[i][1] < 0) FAIL(CL_EFORMAT, "%s: attribute %s is broken", c->path, H5_HEAPS);
        TRY(h5_crc(c, heaps[i][0], heaps[i][1], &crc));
        if (crc != heaps[i][2])
            FAIL(CL_EFORMAT,
                 "%s: checksum failure: the text in it (format, config, names) is not what was written; hint: the file "
                 "is "
                 "damaged or was edited, use an earlier checkpoint",
                 c->path);
    }
done:
    free(heaps);
    return rc;
}

/* Invariants 1 and 2. */
static int check_root(struct ckpt *c)
{
    char *format = NULL;
    int64_t version = 0, complete = 0;
    int rc;

    if (!ckpt_has_attr(c, "/", "format"))
        FAIL(CL_EFORMAT,
             "%s: an HDF5 file without root attribute format (expected \"%s\"); hint: not written by cllava", c->path,
             FORMAT);
    TRY(check_heaps(c)); // before any text is read
    TRY(ckpt_get_str(c, "/", "format", &format));
    if (strcmp(format, FORMAT))
        FAIL(CL_EFORMAT, "%s: format is \"%.64s\" (expected \"%s\"); hint: not a checkpoint of cllava", c->path, format,
             FORMAT);
    TRY(ckpt_get_i64(c, "/", "version", &version));
    if (version != 1)
        FAIL(CL_EFORMAT, "%s: layout version %lld (expected 1); hint: %s", c->path, (long long)version,
             version > 1 ? "written by a newer cllava, update this one" : "the file is damaged");
    if (ckpt_has_attr(c, "/", "complete")) TRY(ckpt_get_i64(c, "/", "complete", &complete));
    if (complete != 1)
        FAIL(CL_EFORMAT,
             "%s: not complete (root attribute complete is %lld, expected 1); hint: its writer was stopped, use an "
             "earlier checkpoint",
             c->path, (long long)complete);
    rc = CL_OK;
done:
    free(format);
    return rc;
}

int ckpt_open_any(struct ckpt **out, const char *path)
{
    struct ckpt *c = calloc(1, sizeof *c);
    int rc;

    *out = NULL;
    h5_begin();
    if (!c || !(c->path = strdup(path))) {
        free(c);
        return err_set(CL_ENOMEM, "no memory for a checkpoint");
    }
    c->file = c->fd = -1;
    TRY(open_checked(c));
    *out = c;
    return CL_OK;
done:
    ckpt_close(c);
    return rc;
}

int ckpt_open(struct ckpt **out, const char *path)
{
    int rc;

    TRY(ckpt_open_any(out, path));
    rc = check_root(*out);
done:
    if (rc && *out) {
        ckpt_close(*out);
        *out = NULL;
    }
    return rc;
}

void ckpt_close(struct ckpt *c)
{
    if (!c) return;
    h5_begin();
    h5_close(c->file);
    if (c->fd >= 0) close(c->fd);
    free(c->path);
    free(c);
}

const char *ckpt_path(const struct ckpt *c)
{
    return c->path;
}

/* ---- datasets */

bool ckpt_has(struct ckpt *c, const char *name)
{
    bool found;

    h5_begin();
    return !h5_find(c, name, &found) && found;
}

static int open_object(struct ckpt *c, const char *name, hid_t *id)
{
    bool found;
    int rc;

    TRY(h5_find(c, name, &found));
    if (!found) FAIL(CL_EFORMAT, "%s: no %s; hint: h5ls -r shows what the file holds", c->path, name);
    H5TRY(c, name, *id = H5Oopen(c->file, name, H5P_DEFAULT));
done:
    return rc;
}

/* An open dataset whose data lies in this file. */
static int open_set(struct ckpt *c, const char *name, hid_t *set)
{
    hid_t properties = -1;
    int outside, rc;

    TRY(open_object(c, name, set));
    if (H5Iget_type(*set) != H5I_DATASET) FAIL(CL_EFORMAT, "%s: %s is not a dataset", c->path, name);
    H5TRY(c, name, properties = H5Dget_create_plist(*set));
    H5TRY(c, name, outside = H5Pget_external_count(properties));
    if (outside || H5Pget_layout(properties) == H5D_VIRTUAL)
        FAIL(CL_EFORMAT, "%s: the data of %s lies in another file (expected inside)", c->path, name);
done:
    h5_close(properties);
    return rc;
}

/* Shape of an open dataset, its numbers and their bytes held against what is stored. dims 0: a scalar. */
static int set_shape(struct ckpt *c, const char *name, hid_t set, int *dims, int64_t *shape, int64_t *count)
{
    hid_t space = -1, type = -1;
    hsize_t size[H5S_MAX_RANK], stored;
    int64_t bytes = 0;
    int rc;

    H5TRY(c, name, space = H5Dget_space(set));
    H5TRY(c, name, type = H5Dget_type(set));
    H5TRY(c, name, *dims = H5Sget_simple_extent_ndims(space));
    if (*dims > CKPT_MAX_DIMS)
        FAIL(CL_EFORMAT, "%s: %s has %d dimensions (expected at most %d)", c->path, name, *dims, CKPT_MAX_DIMS);
    H5TRY(c, name, H5Sget_simple_extent_dims(space, size, NULL));
    *count = 1;
    for (int i = 0; i < *dims; i++) {
        shape[i] = (int64_t)size[i];
        if (shape[i] < 0 || __builtin_mul_overflow(*count, shape[i], count))
            FAIL(CL_EFORMAT, "%s: %s has an impossible size; hint: the file is damaged", c->path, name);
    }
    stored = H5Dget_storage_size(set);
    H5Eclear2(H5E_DEFAULT);
    if (__builtin_mul_overflow(*count, (int64_t)H5Tget_size(type), &bytes) || (uint64_t)bytes / DEFLATE_MOST > stored ||
        (bytes > 0 && stored == 0))
        FAIL(CL_EFORMAT, "%s: %s claims %lld values, but only %llu bytes are stored for it; hint: the file is damaged",
             c->path, name, (long long)*count, (unsigned long long)stored);
    rc = CL_OK;
done:
    h5_close(space);
    h5_close(type);
    return rc;
}

int ckpt_shape(struct ckpt *c, const char *name, int *dims, int64_t *shape)
{
    hid_t set = -1;
    int64_t n;
    int rc;

    h5_begin();
    TRY(open_set(c, name, &set));
    rc = set_shape(c, name, set, dims, shape, &n);
done:
    h5_close(set);
    return rc;
}

static void shape_text(char *out, size_t room, int dims, const int64_t *shape)
{
    size_t at = 0;

    out[0] = 0;
    for (int i = 0; i < dims && at < room; i++)
        at += (size_t)(shape[i] < 0 ? snprintf(out + at, room - at, "%sany", i ? " x " : "")
                                    : snprintf(out + at, room - at, "%s%lld", i ? " x " : "", (long long)shape[i]));
    if (!dims) snprintf(out, room, "a single value");
}

/* got against expected; expected may hold -1 for any. */
static int check_shape(struct ckpt *c, const char *name, int dims, const int64_t *got, int want,
                       const int64_t *expected)
{
    bool same = dims == want;
    char g[128], e[128];

    for (int i = 0; same && i < dims; i++) same = expected[i] < 0 || got[i] == expected[i];
    if (same) return CL_OK;
    shape_text(g, sizeof g, dims, got);
    shape_text(e, sizeof e, want, expected);
    return err_set(CL_EFORMAT, "%s: wrong shape of %s (got %s, expected %s)", c->path, name, g, e);
}

/* May numbers of the stored type be read as `type`? */
static int check_class(struct ckpt *c, const char *name, hid_t id, enum ckpt_type type)
{
    bool want_float = type == CKPT_F32 || type == CKPT_F64;
    H5T_class_t class = H5Tget_class(id);

    if (class == H5T_INTEGER || (class == H5T_FLOAT && want_float)) return CL_OK;
    return err_set(CL_EFORMAT, "%s: %s holds %s (expected %s)", c->path, name,
                   class == H5T_FLOAT    ? "floating-point numbers"
                   : class == H5T_STRING ? "text"
                                         : "something else than numbers",
                   want_float ? "numbers" : "integers");
}

/* A number that does not fit is an error, not a clipped number. HDF5 counts an infinite double among those. */
static H5T_conv_ret_t on_conversion(H5T_conv_except_t what, hid_t from, hid_t to, void *src, void *dst, void *data)
{
    double value = 0;

    (void)to, (void)dst;
    if (what != H5T_CONV_EXCEPT_RANGE_HI && what != H5T_CONV_EXCEPT_RANGE_LOW) return H5T_CONV_UNHANDLED;
    if (H5Tget_class(from) == H5T_FLOAT && H5Tget_size(from) == sizeof value) memcpy(&value, src, sizeof value);
    if (isinf(value)) return H5T_CONV_UNHANDLED;
    *(bool *)data = true;
    return H5T_CONV_ABORT;
}

static int read_space(struct ckpt *c, const char *name, hid_t set, enum ckpt_type type, hid_t memory, hid_t stored,
                      void *data)
{
    hid_t id = -1, transfer = -1;
    bool clipped = false;
    int rc;

    H5TRY(c, name, id = H5Dget_type(set));
    TRY(check_class(c, name, id, type));
    H5TRY(c, name, transfer = H5Pcreate(H5P_DATASET_XFER));
    H5TRY(c, name, H5Pset_type_conv_cb(transfer, on_conversion, &clipped));
    if (H5Dread(set, h5_memory(type), memory, stored, transfer, data) < 0) {
        rc = h5_fail(c, name, "H5Dread");
        if (clipped) rc = err_set(CL_EFORMAT, "%s: %s holds a number that is out of range", c->path, name);
    }
done:
    h5_close(id);
    h5_close(transfer);
    return rc;
}

int ckpt_read(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, void *data)
{
    int64_t got[CKPT_MAX_DIMS], n;
    hid_t set = -1;
    int rc, rank;

    h5_begin();
    TRY(open_set(c, name, &set));
    TRY(set_shape(c, name, set, &rank, got, &n));
    TRY(check_shape(c, name, rank, got, dims, shape));
    if (n > 0) rc = read_space(c, name, set, type, H5S_ALL, H5S_ALL, data);
done:
    h5_close(set);
    return rc;
}

/* Rows [first, first + n) of an open dataset of this shape. */
static int read_rows(struct ckpt *c, const char *name, hid_t set, enum ckpt_type type, int dims, const int64_t *shape,
                     int64_t first, int64_t n, void *data)
{
    hsize_t from[CKPT_MAX_DIMS] = {0}, part[CKPT_MAX_DIMS];
    hid_t memory = -1, stored = -1;
    int rc;

    for (int i = 0; i < dims; i++) part[i] = i ? (hsize_t)shape[i] : (hsize_t)n;
    from[0] = (hsize_t)first;
    H5TRY(c, name, memory = H5Screate_simple(dims, part, NULL));
    H5TRY(c, name, stored = H5Dget_space(set));
    H5TRY(c, name, H5Sselect_hyperslab(stored, H5S_SELECT_SET, from, NULL, part, NULL));
    rc = read_space(c, name, set, type, memory, stored, data);
done:
    h5_close(memory);
    h5_close(stored);
    return rc;
}

int ckpt_read_rows(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, int64_t first,
                   int64_t n, void *data)
{
    int64_t got[CKPT_MAX_DIMS], total;
    hid_t set = -1;
    int rc, rank;

    h5_begin();
    TRY(open_set(c, name, &set));
    TRY(set_shape(c, name, set, &rank, got, &total));
    TRY(check_shape(c, name, rank, got, dims, shape));
    if (dims < 1 || first < 0 || n < 0 || first > got[0] || n > got[0] - first)
        FAIL(CL_EFORMAT, "%s: %s has no %lld rows from %lld on (got %lld rows)", c->path, name, (long long)n,
             (long long)first, dims < 1 ? 0LL : (long long)got[0]);
    if (n > 0 && total > 0) rc = read_rows(c, name, set, type, dims, got, first, n, data);
done:
    h5_close(set);
    return rc;
}

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
    TRY(open_set(c, name, &set));
    TRY(set_shape(c, name, set, &dims, shape, &n));
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
    TRY(open_object(c, object, &id));
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
    TRY(check_class(c, name, a.type, type));
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

static int read_heaps(struct ckpt *c, int64_t (**heaps)[3], int64_t *n)
{
    struct attribute a;
    int rc;

    TRY(attribute_open(c, "/", H5_HEAPS, &a));
    TRY(check_class(c, H5_HEAPS, a.type, CKPT_I64));
    if (a.n < 0 || a.n % 3 || a.n > TEXT_MOST) FAIL(CL_EFORMAT, "%s: attribute %s is broken", c->path, H5_HEAPS);
    *n = a.n / 3;
    *heaps = calloc((size_t)*n + 1, sizeof **heaps);
    if (!*heaps) FAIL(CL_ENOMEM, "no memory for the checksums of %s", c->path);
    if (*n) H5TRY(c, H5_HEAPS, H5Aread(a.id, H5T_NATIVE_INT64, *heaps));
done:
    attribute_close(&a);
    return rc;
}

/* ---- the whole */

struct listing {
    char **names;
    int64_t n, room;
};

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
    struct listing *l = data;

    (void)group, (void)info;
    if (l->n == l->room) return -1; // more than the group said
    l->names[l->n] = strdup(name);
    return l->names[l->n++] ? 0 : -1;
}

int ckpt_list(struct ckpt *c, const char *group, char ***names, int64_t *n)
{
    struct listing l = {0};
    H5G_info_t info;
    hid_t id = -1;
    struct stat s;
    int rc;

    *names = NULL;
    *n = 0;
    h5_begin();
    TRY(open_object(c, group, &id));
    if (H5Iget_type(id) != H5I_GROUP) FAIL(CL_EFORMAT, "%s: %s is not a group", c->path, group);
    H5TRY(c, group, H5Gget_info(id, &info));
    if (stat(c->writing ? c->temp : c->path, &s) || info.nlinks > (hsize_t)s.st_size + 1024)
        FAIL(CL_EFORMAT, "%s: %s claims %llu members; hint: the file is damaged", c->path, group,
             (unsigned long long)info.nlinks);
    l.room = (int64_t)info.nlinks;
    l.names = calloc((size_t)l.room + 1, sizeof *l.names);
    if (!l.names) FAIL(CL_ENOMEM, "no memory for the names of %s", group);
    H5TRY(c, group, H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, &l));
    *names = l.names;
    *n = l.n;
    l.names = NULL;
done:
    ckpt_strings_free(l.names, l.n);
    h5_close(id);
    return rc;
}

static int verify_numbers(struct ckpt *c, const char *name, hid_t set)
{
    int64_t shape[CKPT_MAX_DIMS], n, row = 1, block;
    enum ckpt_type type;
    hid_t stored = -1;
    void *buffer = NULL;
    int rc, dims;

    TRY(set_shape(c, name, set, &dims, shape, &n));
    if (n == 0) goto done;
    H5TRY(c, name, stored = H5Dget_type(set));
    type = H5Tget_class(stored) == H5T_FLOAT ? (H5Tget_size(stored) > 4 ? CKPT_F64 : CKPT_F32) : CKPT_I64;
    for (int i = 1; i < dims; i++) row *= shape[i];
    block = VERIFY_BYTES / 8 / row;
    if (block < 1) block = 1;
    if (dims == 0 || block > shape[0]) block = dims ? shape[0] : 1;
    buffer = malloc((size_t)(block * row) * 8);
    if (!buffer) FAIL(CL_ENOMEM, "no memory to read %s", name);
    if (dims == 0) TRY(read_space(c, name, set, type, H5S_ALL, H5S_ALL, buffer));
    for (int64_t i = 0; dims && i < shape[0]; i += block)
        TRY(read_rows(c, name, set, type, dims, shape, i, i + block > shape[0] ? shape[0] - i : block, buffer));
done:
    free(buffer);
    h5_close(stored);
    return rc;
}

struct verify_walk {
    struct ckpt *c;
    int rc;
};

static herr_t verify_object(hid_t root, const char *name, const H5O_info_t *info, void *data)
{
    struct verify_walk *w = data;
    char object[H5_MAX_NAME + 2];
    hid_t set = -1, type = -1;
    char **text = NULL;
    int64_t n = 0;
    int rc = CL_OK;

    (void)root;
    if (info->type != H5O_TYPE_DATASET) return 0;
    snprintf(object, sizeof object, "/%s", name);
    TRY(open_set(w->c, object, &set));
    H5TRY(w->c, object, type = H5Dget_type(set));
    rc = H5Tget_class(type) == H5T_STRING ? ckpt_read_strings(w->c, object, &text, &n)
                                          : verify_numbers(w->c, object, set);
done:
    ckpt_strings_free(text, n);
    h5_close(type);
    h5_close(set);
    w->rc = rc;
    return rc ? -1 : 0;
}

int ckpt_verify(struct ckpt *c)
{
    struct verify_walk w = {c, CL_OK};

    h5_begin();
    if (H5Ovisit2(c->file, H5_INDEX_NAME, H5_ITER_INC, verify_object, &w, H5O_INFO_BASIC) < 0)
        return w.rc ? w.rc : h5_fail(c, "/", "H5Ovisit2");
    return CL_OK;
}
