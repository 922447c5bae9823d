/* golden_file.h - tests read the golden sets (tests/golden/README.md) through the HDF5 C interface, not through our own
 * checkpoint reader, so that a fault there cannot hide. Include after cmocka.h. Every function fails the running test
 * with the path when something is missing; arrays are malloc'ed and the caller frees them.
 *
 *     hid_t g = golden_open("a");
 *     size_t n;
 *     float *keys = golden_read_f32(g, &n, "train/%d/keys", task);   // n numbers, row-major
 *     ..
 *     free(keys);
 *     golden_close(g);
 */
#ifndef CLLAVA_TESTS_GOLDEN_FILE_H
#define CLLAVA_TESTS_GOLDEN_FILE_H

#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_FN static inline __attribute__((unused))

GOLDEN_FN hid_t golden_open_file(const char *path)
{
    hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (f < 0) fail_msg("cannot open %s", path);
    return f;
}

/* set: "a" or "b". */
GOLDEN_FN hid_t golden_open(const char *set)
{
    char path[512];
    snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/golden.h5", set);
    return golden_open_file(path);
}

/* The initial checkpoint of a set. */
GOLDEN_FN hid_t golden_open_init(const char *set)
{
    char path[512];
    snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/init.h5", set);
    return golden_open_file(path);
}

GOLDEN_FN void golden_close(hid_t f)
{
    H5Fclose(f);
}

/* Whether a dataset or group is there ("forward/0/7/pixels"). */
GOLDEN_FN int golden_has(hid_t f, const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    for (char *p = strchr(name + 1, '/'); p;
         p = strchr(p + 1, '/')) { // H5Lexists wants every group on the way to exist
        *p = 0;
        if (H5Lexists(f, name, H5P_DEFAULT) <= 0) return 0;
        *p = '/';
    }
    return H5Lexists(f, name, H5P_DEFAULT) > 0;
}

GOLDEN_FN void *golden_read_any(hid_t f, size_t *n, hid_t type, const char *fmt, va_list ap)
{
    char name[256];
    vsnprintf(name, sizeof name, fmt, ap);
    hid_t d = H5Dopen2(f, name, H5P_DEFAULT);
    if (d < 0) fail_msg("golden file has no %s", name);
    hid_t space = H5Dget_space(d);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    void *data = calloc(count > 0 ? (size_t)count : 1, H5Tget_size(type));
    if (!data || count < 0 || H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        fail_msg("cannot read %s", name);
    H5Sclose(space);
    H5Dclose(d);
    if (n) *n = (size_t)count;
    return data;
}

#define GOLDEN_READER(suffix, ctype, htype)                                                                            \
    __attribute__((format(printf, 3, 4)))                                                                              \
    GOLDEN_FN ctype *golden_read_##suffix(hid_t f, size_t *n, const char *fmt, ...)                                    \
    {                                                                                                                  \
        va_list ap;                                                                                                    \
        va_start(ap, fmt);                                                                                             \
        ctype *data = golden_read_any(f, n, htype, fmt, ap);                                                           \
        va_end(ap);                                                                                                    \
        return data;                                                                                                   \
    }
GOLDEN_READER(f32, float, H5T_NATIVE_FLOAT)
GOLDEN_READER(f64, double, H5T_NATIVE_DOUBLE)
GOLDEN_READER(i32, int32_t, H5T_NATIVE_INT32)

/* One number: a dataset without dimensions, e.g. "final/0/3/answer_nll". */
__attribute__((format(printf, 2, 3))) GOLDEN_FN double golden_number(hid_t f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t n;
    double *data = golden_read_any(f, &n, H5T_NATIVE_DOUBLE, fmt, ap), x = data[0];
    va_end(ap);
    assert_int_equal(n, 1);
    free(data);
    return x;
}

/* Dimensions of a dataset into shape (room 4); returns how many there are. */
GOLDEN_FN int golden_shape(hid_t f, const char *name, int64_t *shape)
{
    hsize_t dims[32];
    hid_t d = H5Dopen2(f, name, H5P_DEFAULT);
    if (d < 0) fail_msg("golden file has no %s", name);
    hid_t space = H5Dget_space(d);
    int rank = H5Sget_simple_extent_dims(space, dims, NULL);
    H5Sclose(space);
    H5Dclose(d);
    if (rank < 0 || rank > 4) fail_msg("%s has %d dimensions", name, rank);
    for (int i = 0; i < rank; i++) shape[i] = (int64_t)dims[i];
    return rank;
}

/* Attribute of an object ("train", "stage1_lr"; "/" for the file's own), any number type. */
GOLDEN_FN double golden_attr(hid_t f, const char *object, const char *name)
{
    double x = 0;
    hid_t a = H5Aopen_by_name(f, object, name, H5P_DEFAULT, H5P_DEFAULT);
    if (a < 0 || H5Aread(a, H5T_NATIVE_DOUBLE, &x) < 0) fail_msg("no attribute %s of %s", name, object);
    H5Aclose(a);
    return x;
}

/* Variable-length strings ("tokenizer/text"): golden_strings_free. A string attribute: golden_attr_string. */
GOLDEN_FN char **golden_read_strings(hid_t f, size_t *n, const char *name)
{
    hid_t d = H5Dopen2(f, name, H5P_DEFAULT);
    if (d < 0) fail_msg("golden file has no %s", name);
    hid_t space = H5Dget_space(d), type = H5Dget_type(d);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    char **raw = calloc((size_t)count, sizeof *raw), **out = calloc((size_t)count, sizeof *out);
    if (!raw || !out || H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw) < 0) fail_msg("cannot read %s", name);
    for (hssize_t i = 0; i < count; i++) out[i] = strdup(raw[i] ? raw[i] : "");
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, raw);
    free(raw);
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(d);
    *n = (size_t)count;
    return out;
}

GOLDEN_FN void golden_strings_free(char **text, size_t n)
{
    for (size_t i = 0; i < n; i++) free(text[i]);
    free(text);
}

GOLDEN_FN char *golden_attr_string(hid_t f, const char *object, const char *name)
{
    hid_t a = H5Aopen_by_name(f, object, name, H5P_DEFAULT, H5P_DEFAULT);
    if (a < 0) fail_msg("no attribute %s of %s", name, object);
    hid_t type = H5Aget_type(a);
    char *raw = NULL, *out;
    if (H5Tis_variable_str(type) <= 0 || H5Aread(a, type, &raw) < 0)
        fail_msg("attribute %s of %s is no text", name, object);
    out = strdup(raw);
    H5free_memory(raw);
    H5Tclose(type);
    H5Aclose(a);
    return out;
}

#endif
