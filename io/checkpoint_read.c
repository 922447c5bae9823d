/* checkpoint_read.c - the reading half of checkpoint.h: opening, datasets of numbers, the file as a whole. Text and
 * attributes are read in checkpoint_text.c.
 */
#include "io/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERIFY_BYTES = 16 * 1024 * 1024 };
static const char FORMAT[] = "cllava-checkpoint";

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
    TRY(h5_read_heaps(c, &heaps, &n));
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

int ckpt_shape(struct ckpt *c, const char *name, int *dims, int64_t *shape)
{
    hid_t set = -1;
    int64_t n;
    int rc;

    h5_begin();
    TRY(h5_open_set(c, name, &set));
    rc = h5_set_shape(c, name, set, dims, shape, &n);
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

int ckpt_read(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, void *data)
{
    int64_t got[CKPT_MAX_DIMS], n;
    hid_t set = -1;
    int rc, rank;

    h5_begin();
    TRY(h5_open_set(c, name, &set));
    TRY(h5_set_shape(c, name, set, &rank, got, &n));
    TRY(check_shape(c, name, rank, got, dims, shape));
    if (n > 0) rc = h5_read_space(c, name, set, type, H5S_ALL, H5S_ALL, data);
done:
    h5_close(set);
    return rc;
}

int ckpt_read_rows(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, int64_t first,
                   int64_t n, void *data)
{
    int64_t got[CKPT_MAX_DIMS], total;
    hid_t set = -1;
    int rc, rank;

    h5_begin();
    TRY(h5_open_set(c, name, &set));
    TRY(h5_set_shape(c, name, set, &rank, got, &total));
    TRY(check_shape(c, name, rank, got, dims, shape));
    if (dims < 1 || first < 0 || n < 0 || first > got[0] || n > got[0] - first)
        FAIL(CL_EFORMAT, "%s: %s has no %lld rows from %lld on (got %lld rows)", c->path, name, (long long)n,
             (long long)first, dims < 1 ? 0LL : (long long)got[0]);
    if (n > 0 && total > 0) rc = h5_read_rows(c, name, set, type, dims, got, first, n, data);
done:
    h5_close(set);
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
    TRY(h5_open_object(c, group, &id));
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

    TRY(h5_set_shape(c, name, set, &dims, shape, &n));
    if (n == 0) goto done;
    H5TRY(c, name, stored = H5Dget_type(set));
    type = H5Tget_class(stored) == H5T_FLOAT ? (H5Tget_size(stored) > 4 ? CKPT_F64 : CKPT_F32) : CKPT_I64;
    for (int i = 1; i < dims; i++) row *= shape[i];
    block = VERIFY_BYTES / 8 / row;
    if (block < 1) block = 1;
    if (dims == 0 || block > shape[0]) block = dims ? shape[0] : 1;
    buffer = malloc((size_t)(block * row) * 8);
    if (!buffer) FAIL(CL_ENOMEM, "no memory to read %s", name);
    if (dims == 0) TRY(h5_read_space(c, name, set, type, H5S_ALL, H5S_ALL, buffer));
    for (int64_t i = 0; dims && i < shape[0]; i += block)
        TRY(h5_read_rows(c, name, set, type, dims, shape, i, i + block > shape[0] ? shape[0] - i : block, buffer));
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
    TRY(h5_open_set(w->c, object, &set));
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
