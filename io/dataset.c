/* dataset.c - the index of a task file, and reading records by it.
 *
 * Invariants: every entry of the index has been parsed and checked once, its picture was there; entries ascend in the file;
 * the descriptor stays open, so that a file replaced under its name is not noticed and one changed in place is refused.
 */
#include "io/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io/dataset_parts.h"
#include "io/err.h"

struct entry {
    int64_t offset, number;
    uint32_t n; // bytes: the scanner's limit fits
};

struct dataset {
    char *path, *images, *suffix;
    struct dataset_options how; // its strings are the ones above
    int fd;
    int64_t bytes;          // of what fd reads
    struct timespec change; // and when that was last changed
    struct entry *entry;    // (size)
    int64_t size, room;
    struct dataset_dropped dropped[DATASET_LISTED];
    int listed;
    int64_t drops;
};

int64_t dataset_size(const struct dataset *ds)
{
    return ds->size;
}

const char *dataset_path(const struct dataset *ds)
{
    return ds->path;
}

int64_t dataset_dropped(const struct dataset *ds, const struct dataset_dropped **first, int *listed)
{
    *first = ds->dropped;
    *listed = ds->listed;
    return ds->drops;
}

void dataset_close(struct dataset *ds)
{
    if (!ds) return;
    if (ds->fd >= 0) close(ds->fd);
    for (int i = 0; i < ds->listed; i++) free(ds->dropped[i].reason);
    free(ds->entry);
    free(ds->path);
    free(ds->images);
    free(ds->suffix);
    free(ds);
}

/* ---- gzip */

static int temporary_file(int *fd)
{
    const char *folder = getenv("TMPDIR");
    char *name = NULL;
    int rc;

    if (asprintf(&name, "%s/cllava-XXXXXX", folder && *folder ? folder : "/tmp") < 0) name = NULL;
    if (!name) FAIL(CL_ENOMEM, "out of memory for a path");
    *fd = mkostemp(name, O_CLOEXEC);
    if (*fd < 0)
        FAIL(CL_EIO, "no temporary file %s to unpack it to: %s; hint: set TMPDIR to a folder with room", name,
             strerror(errno));
    unlink(name); // it goes with its descriptor
    rc = CL_OK;
done:
    free(name);
    return rc;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = write(fd, p, n);

        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            return err_set(CL_EIO, "cannot unpack it to a temporary file: %s; hint: set TMPDIR to a folder with room",
                           strerror(errno));
        p += put;
        n -= (size_t)put;
    }
    return CL_OK;
}

/* Replaces the descriptor of a gzipped file by one of its content. */
static int unpack(int *fd)
{
    const size_t room = 1 << 18;
    char *buf = malloc(room);
    int plain = -1, rc, got, fault;
    gzFile gz = gzdopen(*fd, "rb");

    if (gz) *fd = -1; // belongs to gz now
    if (!gz || !buf) FAIL(CL_ENOMEM, "out of memory to unpack it");
    TRY(temporary_file(&plain));
    while ((got = gzread(gz, buf, (unsigned)room)) > 0) TRY(write_all(plain, buf, (size_t)got));
    gzerror(gz, &fault);
    if (got < 0 || fault != Z_OK) // a file that ends early gives what it has, then Z_BUF_ERROR
        FAIL(CL_EFORMAT, "broken or truncated gzip file (%s); hint: fetch it again",
             fault == Z_ERRNO       ? strerror(errno)
             : fault == Z_BUF_ERROR ? "it ends early"
                                    : "its data is damaged");
    *fd = plain;
    plain = -1;
    rc = CL_OK;
done:
    if (gz) gzclose(gz);
    if (plain >= 0) close(plain);
    free(buf);
    return rc;
}

static int open_file(struct dataset *ds)
{
    unsigned char magic[2];
    struct stat st;
    int rc;

    ds->fd = open(ds->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (ds->fd < 0) FAIL(CL_EIO, "cannot be opened: %s; hint: check the path", strerror(errno));
    if (fstat(ds->fd, &st)) FAIL(CL_EIO, "cannot be looked at: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        FAIL(CL_EIO, "is %s (expected a task file)", S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    if (pread(ds->fd, magic, 2, 0) == 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
        TRY(unpack(&ds->fd));
        if (fstat(ds->fd, &st)) FAIL(CL_EIO, "cannot be looked at: %s", strerror(errno));
    }
    ds->bytes = st.st_size;
    ds->change = st.st_mtim;
    rc = CL_OK;
done:
    return rc;
}

/* ---- opening */

static int add_entry(struct dataset *ds, const struct scan *s)
{
    if (ds->size == ds->room) {
        int64_t room = ds->room ? 2 * ds->room : 1024;
        struct entry *more = realloc(ds->entry, (size_t)room * sizeof *more);

        if (!more) return err_set(CL_ENOMEM, "out of memory for the index of %lld records", (long long)room);
        ds->entry = more;
        ds->room = room;
    }
    ds->entry[ds->size++] = (struct entry){.offset = s->begin, .number = s->number, .n = (uint32_t)s->n};
    return CL_OK;
}

static int note_drop(struct dataset *ds, int64_t number, const char *reason)
{
    ds->drops++;
    if (ds->listed == DATASET_LISTED) return CL_OK;
    ds->dropped[ds->listed].number = number;
    ds->dropped[ds->listed].reason = strdup(reason);
    if (!ds->dropped[ds->listed].reason) return err_set(CL_ENOMEM, "out of memory for a message");
    ds->listed++;
    return CL_OK;
}

/* seen: the picture found last; records of one picture mostly stand together. */
static int check_picture(const char *image, char **seen)
{
    struct stat st;

    if (!image || (*seen && !strcmp(image, *seen))) return CL_OK;
    if (stat(image, &st))
        return err_set(CL_EDATA, "picture %s: %s; hint: check the images folder", image, strerror(errno));
    if (!S_ISREG(st.st_mode)) return err_set(CL_EDATA, "picture %s is no regular file", image);
    free(*seen);
    *seen = strdup(image);
    return CL_OK;
}

static int index_records(struct dataset *ds)
{
    struct scan *s = malloc(sizeof *s);
    char *seen = NULL;
    bool more = true;
    int rc;

    if (!s) return err_set(CL_ENOMEM, "out of memory to read it");
    TRY(scan_open(s, ds->fd));
    while (!ds->how.limit || ds->size < ds->how.limit) {
        struct record r;

        TRY(scan_next(s, &more));
        if (!more) break;
        rc = record_parse(&r, s->rec, s->n, s->number, &ds->how);
        if (!rc) {
            rc = check_picture(r.image, &seen);
            record_free(&r);
        }
        if (!rc) {
            TRY(add_entry(ds, s));
        } else if (rc == CL_EDATA && ds->how.skip) {
            TRY(note_drop(ds, s->number, err_text()));
        } else {
            err_prefix(rc, "record %lld", (long long)s->number);
            goto done;
        }
    }
    if (!ds->size && ds->listed)
        FAIL(CL_EDATA, "no usable record in it (%lld dropped, the first: %s)", (long long)ds->drops,
             ds->dropped[0].reason);
    if (!ds->size) FAIL(CL_EDATA, "no records in it");
    rc = CL_OK;
done:
    scan_close(s);
    free(s);
    free(seen);
    return rc;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int dataset_open(struct dataset **out, const char *path, const struct dataset_options *how)
{
    struct dataset *ds = calloc(1, sizeof *ds);
    int rc;

    *out = NULL;
    if (!ds) return err_set(CL_ENOMEM, "%s: out of memory", path);
    ds->fd = -1;
    ds->path = strdup(path);
    ds->images = how->images ? strdup(how->images) : folder_of(path);
    ds->suffix = strdup(how->suffix ? how->suffix : "");
    if (!ds->path || !ds->images || !ds->suffix) FAIL(CL_ENOMEM, "out of memory");
    ds->how = *how;
    ds->how.images = ds->images;
    ds->how.suffix = ds->suffix;
    TRY(open_file(ds));
    TRY(index_records(ds));
    *out = ds;
    return CL_OK;
done:
    err_prefix(rc, "%s", path);
    dataset_close(ds);
    return rc;
}

/* ---- records */

int dataset_get(const struct dataset *ds, int64_t i, struct record *r)
{
    const struct entry *e;
    char *bytes = NULL;
    struct stat st;
    size_t at = 0;
    int rc;

    *r = (struct record){0};
    if (i < 0 || i >= ds->size)
        return err_set(CL_EINTERNAL, "%s: no record at position %lld of %lld", ds->path, (long long)i,
                       (long long)ds->size);
    e = &ds->entry[i];
    bytes = malloc(e->n ? e->n : 1);
    if (!bytes) FAIL(CL_ENOMEM, "out of memory for %u bytes", e->n);
    while (at < e->n) {
        ssize_t got = pread(ds->fd, bytes + at, e->n - at, (off_t)(e->offset + (int64_t)at));

        if (got < 0 && errno == EINTR) continue;
        if (got < 0) FAIL(CL_EIO, "cannot be read: %s", strerror(errno));
        if (!got) break;
        at += (size_t)got;
    }
    if (fstat(ds->fd, &st) || st.st_size != ds->bytes || st.st_mtim.tv_sec != ds->change.tv_sec ||
        st.st_mtim.tv_nsec != ds->change.tv_nsec || at < e->n)
        FAIL(CL_EDATA, "the file has changed since it was opened; hint: start again");
    TRY(record_parse(r, bytes, e->n, e->number, &ds->how));
done:
    free(bytes);
    return err_prefix(rc, "%s: record %lld", ds->path, (long long)e->number);
}

int dataset_drop(struct dataset *ds, int64_t i, const char *reason)
{
    int rc;

    if (i < 0 || i >= ds->size)
        return err_set(CL_EINTERNAL, "%s: no record at position %lld of %lld", ds->path, (long long)i,
                       (long long)ds->size);
    rc = note_drop(ds, ds->entry[i].number, reason);
    if (rc) return rc;
    memmove(&ds->entry[i], &ds->entry[i + 1], (size_t)(ds->size - i - 1) * sizeof *ds->entry);
    ds->size--;
    return CL_OK;
}

int dataset_reject(struct dataset *ds, int64_t i, int code)
{
    if (ds->how.skip && code == CL_EDATA) return dataset_drop(ds, i, err_text());
    return err_prefix(code, "%s: record %lld", ds->path, (long long)(i >= 0 && i < ds->size ? ds->entry[i].number : 0));
}
