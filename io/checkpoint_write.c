/* checkpoint_write.c - the writing half of checkpoint.h: a temporary file, filled, then made final in one rename.
 *
 *     create:  resolve the final name -> claim .NAME.tmp-HOST-PID-I and lock it -> HDF5 file over it
 *     commit:  checksums of the text, complete=1 -> H5Fflush -> H5Fclose -> fsync -> rename -> fsync of the folder
 *
 * The lock dies with the process, so that a later run can tell a dead writer's file from a living one's.
 */
#include "io/h5.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ROW_BYTES = 64,          // rows smaller than this share a chunk
    CHUNK_BYTES = 64 * 1024, // .. of about this size
    MOST_TEXTS = 4000,       // a list of strings lies in an object header: 16 bytes each, 64 KiB at most
    TEMP_TRIES = 1000,
    FOREIGN_AGE = 3600 // s without a write until another host's temporary file counts as dead
};
static const int64_t LARGEST_CHUNK = INT64_C(1) << 30; // HDF5 takes less than 4 GiB; larger slots are split

/* ---- the file */

static void writer_free(struct ckpt *c)
{
    h5_close(c->file);
    if (c->temp && c->fd >= 0) unlink(c->temp);
    if (c->fd >= 0) close(c->fd);
    free(c->path);
    free(c->folder);
    free(c->temp);
    free(c);
}

static int system_fail(const char *path, const char *what, const char *hint)
{
    return err_set(CL_EIO, "cannot %s %s: %s; hint: %s", what, path, strerror(errno), hint);
}

/* The final name with a symbolic link at its end followed, so that a link stays a link, and its folder. */
static int resolve(struct ckpt *c, const char *path)
{
    struct stat s;
    const char *slash;
    int rc;

    if (lstat(path, &s) == 0 && S_ISLNK(s.st_mode)) {
        c->path = realpath(path, NULL);
        if (!c->path) return system_fail(path, "follow the symbolic link", "remove it, or make what it points to");
        if (stat(c->path, &s)) return system_fail(c->path, "look at", "check the path");
    } else {
        c->path = strdup(path);
    }
    if (!c->path) return err_set(CL_ENOMEM, "no memory for a path");
    if (stat(c->path, &s) == 0 && !S_ISREG(s.st_mode))
        FAIL(CL_EIO, "cannot write %s: not a regular file; hint: choose another name", c->path);
    slash = strrchr(c->path, '/');
    if (slash && !slash[1]) FAIL(CL_EIO, "cannot write '%s': no file name behind the last /", c->path);
    c->folder = !slash ? strdup(".") : slash == c->path ? strdup("/") : strndup(c->path, (size_t)(slash - c->path));
    if (!c->folder) FAIL(CL_ENOMEM, "no memory for a path");
    rc = CL_OK;
done:
    return rc;
}

static void host_name(char *host, size_t room)
{
    if (gethostname(host, room)) snprintf(host, room, "host");
    host[room - 1] = 0;
    for (char *p = host; *p; p++)
        if (*p == '/' || *p == '-') *p = '_';
}

/* Claims a temporary name that nobody has and locks it. Where locks do not work the file is simply not locked. */
static int claim_temporary(struct ckpt *c)
{
    const char *slash = strrchr(c->path, '/'), *name = slash ? slash + 1 : c->path;
    char host[65];

    host_name(host, sizeof host);
    for (int i = 0; i < TEMP_TRIES; i++) {
        if (asprintf(&c->temp, "%s/.%.100s.tmp-%s-%ld-%d", c->folder, name, host, (long)getpid(), i) < 0) {
            c->temp = NULL;
            return err_set(CL_ENOMEM, "no memory for a path");
        }
        c->fd = open(c->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (c->fd >= 0) {
            flock(c->fd, LOCK_EX | LOCK_NB);
            return CL_OK;
        }
        if (errno != EEXIST)
            return system_fail(c->path, "write",
                               errno == ENOSPC ? "free space, or let `output` point to another file system"
                                               : "check that the folder exists and can be written");
        free(c->temp);
        c->temp = NULL;
    }
    return err_set(CL_EIO, "%s: too many temporary files beside it; hint: remove .%s.tmp-*", c->path, name);
}

static int create_file(struct ckpt *c)
{
    hid_t access = -1, creation = -1;
    int rc;

    H5TRY(c, "", access = h5_access());
    H5TRY(c, "", creation = H5Pcreate(H5P_FILE_CREATE));
    H5TRY(c, "", H5Pset_obj_track_times(creation, false));
    H5TRY(c, "", c->file = H5Fcreate(c->temp, H5F_ACC_TRUNC, creation, access));
    rc = CL_OK;
done:
    h5_close(access);
    h5_close(creation);
    return rc;
}

int ckpt_create(struct ckpt **out, const char *path)
{
    struct ckpt *c = calloc(1, sizeof *c);
    int rc;

    *out = NULL;
    if (!c) return err_set(CL_ENOMEM, "no memory for a checkpoint");
    c->file = c->fd = -1;
    c->writing = true;
    h5_begin();
    TRY(resolve(c, path));
    TRY(claim_temporary(c));
    TRY(create_file(c));
    TRY(ckpt_attr_str(c, "/", "format", "cllava-checkpoint"));
    TRY(ckpt_attr_i64(c, "/", "version", 1));
    TRY(ckpt_attr_str(c, "/", "cllava_version", CLLAVA_VERSION));
    *out = c;
    c = NULL;
    rc = CL_OK;
done:
    if (c) writer_free(c);
    return rc;
}

void ckpt_abandon(struct ckpt *c)
{
    if (!c) return;
    if (c->deferred) {
        deferred_abandon(c);
        return;
    }
    h5_begin();
    writer_free(c);
}

/* ---- temporary files of the dead */

/* Whether the writer of an open temporary file is gone. */
static bool writer_is_dead(int fd, const char *name, const char *host)
{
    const char *tail = strstr(name, ".tmp-");
    struct stat s;
    size_t n = strlen(host);

    if (flock(fd, LOCK_EX | LOCK_NB)) return false;
    if (tail && !strncmp(tail + strlen(".tmp-"), host, n) && tail[strlen(".tmp-") + n] == '-') return true;
    return fstat(fd, &s) == 0 && time(NULL) - s.st_mtime > FOREIGN_AGE; // locks may not reach from host to host
}

static int clean_one(int folder, const char *dir, const char *name, const char *host, int *removed)
{
    int fd, rc = CL_OK;

    if (*name != '.' || !strstr(name, ".tmp-")) return CL_OK;
    fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return CL_OK; // gone meanwhile, or not ours
    if (writer_is_dead(fd, name, host)) {
        if (!unlinkat(folder, name, 0))
            ++*removed;
        else if (errno != ENOENT)
            rc = err_set(CL_EIO, "cannot remove %s/%s: %s", dir, name, strerror(errno));
    }
    close(fd);
    return rc;
}

int ckpt_clean_temporaries(const char *dir, int *removed)
{
    char host[65];
    DIR *d = opendir(dir);
    int count = 0, rc = CL_OK;

    if (!d) return system_fail(dir, "read the folder", "check the path");
    host_name(host, sizeof host);
    for (struct dirent *e; !rc && (e = readdir(d));) rc = clean_one(dirfd(d), dir, e->d_name, host, &count);
    closedir(d);
    if (removed) *removed = count;
    return rc;
}

/* ---- groups and datasets */

/* Makes the groups of the first n bytes of a name that are missing. */
static int make_groups(struct ckpt *c, const char *name, size_t n)
{
    char part[H5_MAX_NAME + 1];
    hid_t creation = -1, group = -1;
    int rc = CL_OK;

    H5TRY(c, name, creation = H5Pcreate(H5P_GROUP_CREATE));
    H5TRY(c, name, H5Pset_obj_track_times(creation, false));
    for (size_t i = 1; i <= n; i++) {
        bool found;
        if (name[i] && name[i] != '/') continue;
        memcpy(part, name, i);
        part[i] = 0;
        TRY(h5_find(c, part, &found));
        if (!found) H5TRY(c, part, group = H5Gcreate2(c->file, part, H5P_DEFAULT, creation, H5P_DEFAULT));
        h5_close(group);
        group = -1;
    }
done:
    h5_close(creation);
    return rc;
}

int ckpt_group(struct ckpt *c, const char *name)
{
    int rc;

    if (c->deferred) return deferred_group(c, name);
    h5_begin();
    TRY(h5_check_name(c->path, name));
    if (name[1]) rc = make_groups(c, name, strlen(name));
done:
    return rc;
}

/* Checks the name of a new dataset and makes its groups. */
static int prepare(struct ckpt *c, const char *name)
{
    bool found;
    int rc;

    TRY(h5_check_name(c->path, name));
    if (strrchr(name, '/') > name) TRY(make_groups(c, name, (size_t)(strrchr(name, '/') - name)));
    TRY(h5_find(c, name, &found));
    if (found || !name[1]) FAIL(CL_EINTERNAL, "%s: %s is written twice", c->path, name);
done:
    return rc;
}

/* One row of the first dimension per chunk, more where rows are small, parts of one where it is huge. */
static void chunk_shape(hsize_t *chunk, int dims, const hsize_t *shape, size_t size)
{
    int64_t row = (int64_t)size;

    for (int i = 1; i < dims; i++) row *= (int64_t)shape[i];
    for (int i = 0; i < dims; i++) chunk[i] = i ? shape[i] : 1;
    if (row < ROW_BYTES) {
        chunk[0] = (hsize_t)(CHUNK_BYTES / row);
        if (chunk[0] > shape[0]) chunk[0] = shape[0] ? shape[0] : 1;
    }
    for (int i = 1; i < dims && row > LARGEST_CHUNK; i++)
        while (chunk[i] > 1 && row > LARGEST_CHUNK) {
            row = row / (int64_t)chunk[i];
            chunk[i] = (chunk[i] + 1) / 2;
            row *= (int64_t)chunk[i];
        }
}

/* Creation properties of a dataset: invariant 3. An empty one has no chunks, unless it may grow. Text takes no filters:
 * it lies in the object's header, under the header's checksum. */
static int layout(struct ckpt *c, const char *name, hid_t *properties, int dims, const hsize_t *shape, size_t size,
                  bool chunked, bool text)
{
    hsize_t chunk[CKPT_MAX_DIMS];
    int rc;

    H5TRY(c, name, *properties = H5Pcreate(H5P_DATASET_CREATE));
    H5TRY(c, name, H5Pset_obj_track_times(*properties, false));
    if (text) H5TRY(c, name, H5Pset_layout(*properties, H5D_COMPACT));
    if (text || !chunked) return CL_OK;
    chunk_shape(chunk, dims, shape, size);
    H5TRY(c, name, H5Pset_chunk(*properties, dims, chunk));
    H5TRY(c, name, H5Pset_shuffle(*properties));
    H5TRY(c, name, H5Pset_deflate(*properties, 1));
    H5TRY(c, name, H5Pset_fletcher32(*properties)); // last: it guards what is on disk
done:
    return rc;
}

struct array {
    hid_t stored, memory;
    size_t size; // of one element in memory
    int dims;
    const int64_t *shape;
    bool grows, text;
};

static int write_array(struct ckpt *c, const char *name, const struct array *a, const void *data)
{
    hid_t space = -1, set = -1, properties = -1;
    hsize_t shape[CKPT_MAX_DIMS] = {0}, most[CKPT_MAX_DIMS];
    int64_t n = 0, row = 1;
    int rc;

    TRY(h5_count(c, name, a->size, a->dims, a->shape, &n));
    TRY(prepare(c, name));
    for (int i = 0; i < a->dims; i++) {
        shape[i] = most[i] = (hsize_t)a->shape[i];
        if (i) row *= a->shape[i];
    }
    if (a->grows && row > 0) most[0] = H5S_UNLIMITED; // a row without numbers has no chunk, so it cannot grow
    TRY(layout(c, name, &properties, a->dims, shape, a->size, n > 0 || most[0] == H5S_UNLIMITED, a->text));
    H5TRY(c, name, space = H5Screate_simple(a->dims, shape, most));
    H5TRY(c, name, set = H5Dcreate2(c->file, name, a->stored, space, H5P_DEFAULT, properties, H5P_DEFAULT));
    if (n > 0) H5TRY(c, name, H5Dwrite(set, a->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
done:
    h5_close(set);
    h5_close(space);
    h5_close(properties);
    return rc;
}

int ckpt_write(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, const void *data,
               bool grows)
{
    const struct array a = {h5_stored(type), h5_memory(type), h5_size(type), dims, shape, grows, false};

    if (c->deferred) return deferred_write(c, name, type, dims, shape, data, grows);
    h5_begin();
    return write_array(c, name, &a, data);
}

int ckpt_write_strings(struct ckpt *c, const char *name, const char *const *text, int64_t n)
{
    struct array a = {.size = sizeof(char *), .dims = 1, .shape = &n, .text = true};
    hid_t type = -1;
    int rc;

    if (c->deferred) return deferred_strings(c, name, text, n);
    h5_begin();
    if (n > MOST_TEXTS)
        FAIL(CL_EINTERNAL, "%s: %s has %lld strings (expected at most %d)", c->path, name, (long long)n, MOST_TEXTS);
    for (int64_t i = 0; i < n; i++)
        if (!text[i] || !h5_utf8(text[i])) FAIL(CL_EINTERNAL, "%s: %s[%lld] is not UTF-8", c->path, name, (long long)i);
    H5TRY(c, name, type = h5_string_type());
    a.stored = a.memory = type;
    rc = write_array(c, name, &a, text);
done:
    h5_close(type);
    return rc;
}

/* ---- attributes */

/* Writes an attribute over whatever had its name; the object is made as a group where it is missing. */
static int write_attribute(struct ckpt *c, const char *object, const char *name, hid_t stored, hid_t memory,
                           hid_t space, const void *data)
{
    hid_t id = -1, attr = -1;
    htri_t there;
    bool found;
    int rc;

    TRY(h5_find(c, object, &found));
    if (!found) TRY(make_groups(c, object, strlen(object)));
    H5TRY(c, object, id = H5Oopen(c->file, object, H5P_DEFAULT));
    H5TRY(c, name, there = H5Aexists(id, name));
    if (there) H5TRY(c, name, H5Adelete(id, name));
    H5TRY(c, name, attr = H5Acreate2(id, name, stored, space, H5P_DEFAULT, H5P_DEFAULT));
    H5TRY(c, name, H5Awrite(attr, memory, data));
done:
    h5_close(attr);
    h5_close(id);
    return rc;
}

static int write_scalar(struct ckpt *c, const char *object, const char *name, hid_t stored, hid_t memory,
                        const void *data)
{
    hid_t space = -1;
    int rc;

    H5TRY(c, name, space = H5Screate(H5S_SCALAR));
    rc = write_attribute(c, object, name, stored, memory, space, data);
done:
    h5_close(space);
    return rc;
}

int ckpt_attr_i64(struct ckpt *c, const char *object, const char *name, int64_t value)
{
    if (c->deferred) return deferred_i64(c, object, name, value);
    h5_begin();
    return write_scalar(c, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

int ckpt_attr_f64(struct ckpt *c, const char *object, const char *name, double value)
{
    if (c->deferred) return deferred_f64(c, object, name, value);
    h5_begin();
    return write_scalar(c, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

int ckpt_attr_str(struct ckpt *c, const char *object, const char *name, const char *value)
{
    hid_t type = -1;
    int rc;

    if (c->deferred) return deferred_str(c, object, name, value);
    h5_begin();
    if (!h5_utf8(value)) FAIL(CL_EINTERNAL, "%s: attribute %s of %s is not UTF-8", c->path, name, object);
    H5TRY(c, name, type = h5_string_type());
    rc = write_scalar(c, object, name, type, type, &value);
done:
    h5_close(type);
    return rc;
}

int ckpt_attr_bytes(struct ckpt *c, const char *object, const char *name, const void *bytes, size_t n)
{
    hsize_t shape = n;
    hid_t space = -1;
    int rc;

    if (c->deferred) return deferred_bytes(c, object, name, bytes, n);
    h5_begin();
    H5TRY(c, name, space = H5Screate_simple(1, &shape, NULL));
    rc = write_attribute(c, object, name, H5T_STD_U8LE, H5T_NATIVE_UINT8, space, n ? bytes : "");
done:
    h5_close(space);
    return rc;
}

/* ---- the end */

/* Finds the collections of the global heap in the flushed file: "GCOL", version 1, 3 zeros, their size in 8 bytes. Whatever
 * else looks so does no harm: its bytes do not change any more either. */
static int find_heaps(struct ckpt *c, const char *bytes, int64_t size, int64_t (**heaps)[3], int64_t *n)
{
    static const char signature[8] = "GCOL\1";
    int64_t at, room = 0;

    for (const char *p = bytes; (p = memmem(p, (size_t)(bytes + size - p), signature, sizeof signature)); p++) {
        int64_t length = 0;
        at = p - bytes;
        for (int i = 15; i >= 8 && at + 16 <= size; i--) length = length << 8 | (unsigned char)p[i];
        if (length < 16 || length > size - at) continue;
        if (*n == room) {
            void *more = realloc(*heaps, (size_t)(room = 2 * room + 16) * sizeof **heaps);
            if (!more) return err_set(CL_ENOMEM, "no memory for the checksums of %s", c->path);
            *heaps = more;
        }
        (*heaps)[*n][0] = at;
        (*heaps)[*n][1] = length;
        if (h5_crc(c, at, length, &(*heaps)[(*n)++][2])) return CL_EIO;
    }
    return CL_OK;
}

/* Text is the one thing that HDF5 guards nowhere, and a damaged heap makes it crash: so the heap is guarded here. */
static int write_heaps(struct ckpt *c)
{
    int64_t(*heaps)[3] = NULL, n = 0;
    char *bytes = MAP_FAILED;
    hid_t space = -1;
    struct stat s;
    int rc;

    H5TRY(c, "", H5Fflush(c->file, H5F_SCOPE_GLOBAL));
    if (fstat(c->fd, &s)) FAIL(CL_EIO, "cannot look at %s: %s", c->temp, strerror(errno));
    bytes = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, c->fd, 0);
    if (bytes == MAP_FAILED) FAIL(CL_EIO, "cannot map %s: %s", c->temp, strerror(errno));
    TRY(find_heaps(c, bytes, s.st_size, &heaps, &n));
    H5TRY(c, "", space = H5Screate_simple(2, (hsize_t[]){(hsize_t)n, 3}, NULL));
    rc = write_attribute(c, "/", H5_HEAPS, H5T_STD_I64LE, H5T_NATIVE_INT64, space, heaps);
done:
    h5_close(space);
    if (bytes != MAP_FAILED) munmap(bytes, (size_t)s.st_size);
    free(heaps);
    return rc;
}

/* Everything under the temporary name on disk, HDF5 done with it. */
static int finish_file(struct ckpt *c)
{
    char now[32] = "";
    time_t t = time(NULL);
    struct tm utc;
    hid_t file;
    int rc;

    if (gmtime_r(&t, &utc)) strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (!ckpt_has_attr(c, "/", "created")) TRY(ckpt_attr_str(c, "/", "created", now));
    TRY(write_heaps(c));
    TRY(ckpt_attr_i64(c, "/", "complete", 1));
    H5TRY(c, "", H5Fflush(c->file, H5F_SCOPE_GLOBAL));
    file = c->file;
    c->file = -1;
    H5TRY(c, "", H5Fclose(file));
    if (fsync(c->fd)) rc = system_fail(c->path, "write", "check the file system");
done:
    return rc;
}

static int sync_folder(struct ckpt *c)
{
    int fd = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = CL_OK;

    if (fd < 0) return system_fail(c->folder, "open the folder", "check its permissions");
    if (fsync(fd) && errno != EINVAL)
        rc = system_fail(c->folder, "write the folder", "check the file system"); // EINVAL: cannot
    close(fd);
    return rc;
}

int ckpt_commit(struct ckpt *c)
{
    int rc;

    if (c->deferred) return deferred_commit(c);
    h5_begin();
    TRY(finish_file(c));
    if (rename(c->temp, c->path)) {
        rc = system_fail(c->path, "rename the finished file to", "check the permissions of the folder");
        goto done;
    }
    free(c->temp);
    c->temp = NULL;
    rc = sync_folder(c);
done:
    writer_free(c);
    return rc;
}
