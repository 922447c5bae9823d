/* h5.c - error stack to text, names, types. */
#include "io/h5.h"

#include "io/background.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>
#include <zlib.h>

void h5_begin(void)
{
    background_finish();
    H5dont_atexit(); // its exit handler crashes where a file could not be written to its end
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
}

void h5_close(hid_t id)
{
    if (id < 0) return;
    if (H5Iget_type(id) == H5I_DATASET)
        H5Dclose(id); // frees the dataset even where its last data cannot be written
    else
        H5Idec_ref(id); // what H5Sclose, H5Pclose .. do, without knowing the kind
}

/* ---- errors */

struct reason {
    char text[512]; // description of the innermost entry, where the fault was noticed first
    int system;     // errno of a system call, 0: none
    bool checksum;
};

static herr_t take_reason(unsigned n, const H5E_error2_t *e, void *data)
{
    struct reason *r = data;
    const char *d = e->desc ? e->desc : "", *code = strstr(d, "errno = ");

    if (n == 0) snprintf(r->text, sizeof r->text, "%s", d);
    if (code && !r->system) r->system = atoi(code + strlen("errno = "));
    if (strstr(d, "hecksum")) r->checksum = true;
    return 0;
}

static const char *system_hint(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return "free space, or let `output` point to another file system";
    case EACCES:
    case EPERM:
    case EROFS: return "check the permissions of file and folder";
    case ENOENT: return "check the path";
    default: return "check the file system";
    }
}

/* "(set = H5Dopen2(c->file, ..))" -> "H5Dopen2" */
static void call_name(const char *call, char *out, size_t room)
{
    const char *from = strstr(call, "H5");
    size_t n;

    if (!from) from = call;
    n = strcspn(from, "( ");
    snprintf(out, room, "%.*s", (int)n, from);
}

int h5_fail(const struct ckpt *c, const char *name, const char *call)
{
    struct reason r = {0};
    char function[64], where[H5_MAX_NAME + 8];

    call_name(call, function, sizeof function);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, &r);
    H5Eclear2(H5E_DEFAULT);
    snprintf(where, sizeof where, "%s%s", name ? name : "", name && *name ? ": " : "");
    if (r.system)
        return err_set(CL_EIO, "cannot %s %s: %s%s (%s); hint: %s", c->writing ? "write" : "read", c->path, where,
                       strerror(r.system), function, system_hint(r.system));
    if (r.checksum)
        return err_set(CL_EFORMAT,
                       "%s: %schecksum failure (%s: %s); hint: the file is damaged, use an earlier checkpoint", c->path,
                       where, function, r.text);
    if (c->writing)
        return err_set(CL_ELIB, "%s: cannot write %s%s: %s", c->path, where, function,
                       *r.text ? r.text : "no reason given");
    return err_set(CL_EFORMAT, "%s: %s%s: %s; hint: the file may be damaged, h5dump shows what is readable", c->path,
                   where, function, *r.text ? r.text : "no reason given");
}

/* ---- bytes of the file */

int h5_crc(const struct ckpt *c, int64_t offset, int64_t length, int64_t *crc)
{
    unsigned char block[16384];
    uLong sum = crc32(0, NULL, 0);

    while (length > 0) {
        size_t want = length < (int64_t)sizeof block ? (size_t)length : sizeof block;
        ssize_t n = pread(c->fd, block, want, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set(CL_EIO, "cannot read %s: %s; hint: check the file system", c->path, strerror(errno));
        if (n == 0) return err_set(CL_EFORMAT, "%s is shorter than it says; hint: use an earlier checkpoint", c->path);
        sum = crc32(sum, block, (uInt)n);
        offset += n;
        length -= n;
    }
    *crc = (int64_t)sum;
    return CL_OK;
}

/* ---- names */

bool h5_utf8(const char *text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);

    while (left > 0) {
        utf8proc_int32_t point;
        utf8proc_ssize_t n = utf8proc_iterate(at, left, &point);
        if (n <= 0) return false;
        at += n;
        left -= n;
    }
    return true;
}

int h5_check_name(const char *path, const char *name)
{
    const char *why = NULL;

    if (!name || *name != '/')
        why = "does not begin with /";
    else if (strlen(name) > H5_MAX_NAME)
        why = "is too long";
    else if (!h5_utf8(name))
        why = "is not UTF-8";
    for (const char *part = name; !why && *part == '/' && name[1];) {
        size_t n = strcspn(++part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            why = "has an empty part, . or ..";
        part += n;
    }
    if (!why) return CL_OK;
    return err_set(CL_EINTERNAL, "%s: object name '%.64s' %s; hint: names look like /pool/A", path, name ? name : "",
                   why);
}

/* One part of a path: is there a hard link, and may more follow? */
static int find_part(struct ckpt *c, const char *part, bool last, bool *found)
{
    H5L_info_t link;
    H5O_info_t object;
    htri_t there;
    int rc;

    *found = false;
    H5TRY(c, part, there = H5Lexists(c->file, part, H5P_DEFAULT));
    if (!there) return CL_OK;
    H5TRY(c, part, H5Lget_info(c->file, part, &link, H5P_DEFAULT));
    if (link.type != H5L_TYPE_HARD)
        FAIL(CL_EFORMAT, "%s: %s is a soft or external link (expected a group or dataset of this file)", c->path, part);
    H5TRY(c, part, H5Oget_info_by_name2(c->file, part, &object, H5O_INFO_BASIC, H5P_DEFAULT));
    *found = last || object.type == H5O_TYPE_GROUP;
done:
    return rc;
}

int h5_find(struct ckpt *c, const char *name, bool *found)
{
    char part[H5_MAX_NAME + 1];
    size_t n;
    int rc;

    *found = false;
    TRY(h5_check_name(c->path, name));
    n = strlen(name);
    *found = true;
    for (size_t i = 2; *found && i <= n; i++) {
        if (name[i] != '/' && name[i] != 0) continue;
        memcpy(part, name, i);
        part[i] = 0;
        TRY(find_part(c, part, i == n, found));
    }
done:
    if (rc) *found = false;
    return rc;
}

/* ---- types */

hid_t h5_stored(enum ckpt_type type)
{
    switch (type) {
    case CKPT_F32: return H5T_IEEE_F32LE;
    case CKPT_F64: return H5T_IEEE_F64LE;
    case CKPT_I32: return H5T_STD_I32LE;
    case CKPT_I64: return H5T_STD_I64LE;
    case CKPT_U8: return H5T_STD_U8LE;
    }
    return -1;
}

hid_t h5_memory(enum ckpt_type type)
{
    switch (type) {
    case CKPT_F32: return H5T_NATIVE_FLOAT;
    case CKPT_F64: return H5T_NATIVE_DOUBLE;
    case CKPT_I32: return H5T_NATIVE_INT32;
    case CKPT_I64: return H5T_NATIVE_INT64;
    case CKPT_U8: return H5T_NATIVE_UINT8;
    }
    return -1;
}

size_t h5_size(enum ckpt_type type)
{
    static const size_t size[] = {[CKPT_F32] = 4, [CKPT_F64] = 8, [CKPT_I32] = 4, [CKPT_I64] = 8, [CKPT_U8] = 1};

    return size[type];
}

int h5_count(const struct ckpt *c, const char *name, size_t size, int dims, const int64_t *shape, int64_t *n)
{
    int64_t bytes;

    if (dims < 1 || dims > CKPT_MAX_DIMS)
        return err_set(CL_EINTERNAL, "%s: %s has %d dimensions (expected 1 to %d)", c->path, name, dims, CKPT_MAX_DIMS);
    *n = 1;
    for (int i = 0; i < dims; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(*n, shape[i], n) ||
            __builtin_mul_overflow(*n, (int64_t)size, &bytes))
            return err_set(CL_EINTERNAL, "%s: %s has a size that is negative or too large", c->path, name);
    return CL_OK;
}

hid_t h5_string_type(void)
{
    hid_t t = H5Tcopy(H5T_C_S1);

    if (t >= 0 && (H5Tset_size(t, H5T_VARIABLE) < 0 || H5Tset_cset(t, H5T_CSET_UTF8) < 0)) {
        h5_close(t);
        t = -1;
    }
    return t;
}

hid_t h5_access(void)
{
    hid_t p = H5Pcreate(H5P_FILE_ACCESS);

    if (p >= 0 && (H5Pset_libver_bounds(p, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
                   H5Pset_file_locking(p, false, true) < 0 || H5Pset_fclose_degree(p, H5F_CLOSE_STRONG) < 0)) {
        h5_close(p);
        p = -1;
    }
    return p;
}
