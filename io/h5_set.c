/* h5_set.c - objects and numbers of a file that is not trusted: nothing that it says is believed before it is checked.
 *
 * A shape is refused when its numbers cannot be in the bytes that are stored for it (deflate shrinks at most about 1030
 * times), so that a damaged or hostile size never becomes an allocation.
 */
#include "io/h5.h"

#include <math.h>
#include <string.h>

enum { DEFLATE_MOST = 1100 }; // logical bytes that one stored byte can become

int h5_open_object(struct ckpt *c, const char *name, hid_t *id)
{
    bool found;
    int rc;

    TRY(h5_find(c, name, &found));
    if (!found) FAIL(CL_EFORMAT, "%s: no %s; hint: h5ls -r shows what the file holds", c->path, name);
    H5TRY(c, name, *id = H5Oopen(c->file, name, H5P_DEFAULT));
done:
    return rc;
}

int h5_open_set(struct ckpt *c, const char *name, hid_t *set)
{
    hid_t properties = -1;
    int outside, rc;

    TRY(h5_open_object(c, name, set));
    if (H5Iget_type(*set) != H5I_DATASET) FAIL(CL_EFORMAT, "%s: %s is not a dataset", c->path, name);
    H5TRY(c, name, properties = H5Dget_create_plist(*set));
    H5TRY(c, name, outside = H5Pget_external_count(properties));
    if (outside || H5Pget_layout(properties) == H5D_VIRTUAL)
        FAIL(CL_EFORMAT, "%s: the data of %s lies in another file (expected inside)", c->path, name);
done:
    h5_close(properties);
    return rc;
}

int h5_set_shape(struct ckpt *c, const char *name, hid_t set, int *dims, int64_t *shape, int64_t *count)
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

int h5_check_class(struct ckpt *c, const char *name, hid_t id, enum ckpt_type type)
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

int h5_read_space(struct ckpt *c, const char *name, hid_t set, enum ckpt_type type, hid_t memory, hid_t stored,
                  void *data)
{
    hid_t id = -1, transfer = -1;
    bool clipped = false;
    int rc;

    H5TRY(c, name, id = H5Dget_type(set));
    TRY(h5_check_class(c, name, id, type));
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

int h5_read_rows(struct ckpt *c, const char *name, hid_t set, enum ckpt_type type, int dims, const int64_t *shape,
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
    rc = h5_read_space(c, name, set, type, memory, stored, data);
done:
    h5_close(memory);
    h5_close(stored);
    return rc;
}
