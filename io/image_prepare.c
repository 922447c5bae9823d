/* image_prepare.c - what preprocessor_config.json asks for, and doing it: pad or crop, resize, scale, normalise.
 *
 *     pad (LLaVA-1.5)   square of the longer edge in the mean colour, picture in its middle   \
 *     resize            shorter edge to shortest_edge (or both edges to a given size)          >  one pass over the result
 *     centre crop       size x size; black where the resized picture is smaller               /
 *     scale, normalise  (value * factor - mean) / std
 *
 * Only the part of the resized picture that survives the crop is made: a banner of 10000 x 1 pixels costs no more than others.
 */
#include "io/image_kinds.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"

enum { MAX_SIDE = 16384 };

static const struct image_spec clip = {
    .pad = true,
    .resample = 3,
    .do_resize = true,
    .do_center_crop = true,
    .do_rescale = true,
    .do_normalize = true,
    .rescale_factor = 1.0 / 255,
    .mean = {0.48145466, 0.4578275, 0.40821073},
    .std = {0.26862954, 0.26130258, 0.27577711},
};

/* null stands for an absent key: some exporters write it so. */
static json_t *key_of(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    return json_is_null(v) ? NULL : v;
}

static int read_flag(bool *to, const json_t *o, const char *key)
{
    const json_t *v = key_of(o, key);

    if (!v) return CL_OK;
    if (!json_is_boolean(v)) return err_set(CL_EFORMAT, "\"%s\" is not true or false", key);
    *to = json_is_true(v);
    return CL_OK;
}

static int read_side(int *to, const json_t *v, const char *key)
{
    if (!json_is_number(v) || json_number_value(v) < 1 || json_number_value(v) > MAX_SIDE ||
        json_number_value(v) != floor(json_number_value(v)))
        return err_set(CL_EFORMAT, "\"%s\" is not a whole number of pixels from 1 to %d", key, MAX_SIDE);
    *to = (int)json_number_value(v);
    return CL_OK;
}

static int read_size(struct image_spec *spec, const json_t *v)
{
    const json_t *edge = key_of(v, "shortest_edge"), *h = key_of(v, "height"), *w = key_of(v, "width");
    int rc;

    if (!v) return CL_OK;
    if (json_is_number(v)) return read_side(&spec->shortest_edge, v, "size");
    if (edge) return read_side(&spec->shortest_edge, edge, "size.shortest_edge");
    if (!h || !w)
        FAIL(CL_EFORMAT, "\"size\" is not a number, {\"shortest_edge\": ..} or {\"height\": .., \"width\": ..}");
    TRY(read_side(&spec->stretch_h, h, "size.height"));
    TRY(read_side(&spec->stretch_w, w, "size.width"));
done:
    return rc;
}

/* The crop is what the vision tower sees, so it can only be the tower's own size. */
static int check_crop(const struct image_spec *spec, const json_t *v)
{
    int rc, w = spec->size, h = spec->size;

    if (!v || !spec->do_center_crop) return CL_OK;
    if (json_is_number(v)) {
        TRY(read_side(&w, v, "crop_size"));
        h = w;
    } else {
        const json_t *edge = key_of(v, "shortest_edge");

        TRY(read_side(&h, edge ? edge : key_of(v, "height"), "crop_size.height"));
        TRY(read_side(&w, edge ? edge : key_of(v, "width"), "crop_size.width"));
    }
    if (w != spec->size || h != spec->size)
        FAIL(CL_EFORMAT, "\"crop_size\" does not fit the vision tower (got %d x %d, expected %d x %d)", w, h,
             spec->size, spec->size);
    rc = CL_OK;
done:
    return rc;
}

static int read_triple(double to[3], const json_t *o, const char *key, bool positive)
{
    const json_t *v = key_of(o, key);

    if (!v) return CL_OK;
    for (size_t i = 0; i < 3; i++) {
        const json_t *x = json_is_number(v) ? v : json_array_get(v, i); // one number stands for all three

        if (!json_is_number(x) || (json_is_array(v) && json_array_size(v) != 3) ||
            (positive && json_number_value(x) <= 0))
            return err_set(CL_EFORMAT, "\"%s\" is not an array of three %snumbers", key, positive ? "positive " : "");
        to[i] = json_number_value(x);
    }
    return CL_OK;
}

static int read_aspect(bool *pad, const json_t *v)
{
    const char *s = json_string_value(v);

    if (!v) return CL_OK;
    if (s && !strcmp(s, "pad"))
        *pad = true;
    else if (s && (!strcmp(s, "crop") || !strcmp(s, "square")))
        *pad = false;
    else
        return err_set(CL_EFORMAT,
                       "\"image_aspect_ratio\" has an unknown value (got %s, expected \"pad\", \"crop\" or "
                       "\"square\"); hint: set image.aspect",
                       s ? s : "no string");
    return CL_OK;
}

static int read_keys(struct image_spec *spec, const json_t *o, const char *aspect)
{
    const json_t *v;
    int rc;

    if (!json_is_object(o)) return err_set(CL_EFORMAT, "not a JSON object");
    TRY(read_flag(&spec->do_resize, o, "do_resize"));
    TRY(read_flag(&spec->do_center_crop, o, "do_center_crop"));
    TRY(read_flag(&spec->do_rescale, o, "do_rescale"));
    TRY(read_flag(&spec->do_normalize, o, "do_normalize"));
    TRY(read_size(spec, key_of(o, "size")));
    TRY(check_crop(spec, key_of(o, "crop_size")));
    TRY(read_triple(spec->mean, o, "image_mean", false));
    TRY(read_triple(spec->std, o, "image_std", true));
    if ((v = key_of(o, "resample"))) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 3)
            FAIL(CL_EFORMAT, "\"resample\" is not supported (expected 0 nearest, 1 lanczos, 2 bilinear or 3 bicubic)");
        spec->resample = (int)json_integer_value(v);
    }
    if ((v = key_of(o, "rescale_factor"))) {
        if (!json_is_number(v)) FAIL(CL_EFORMAT, "\"rescale_factor\" is not a number");
        spec->rescale_factor = json_number_value(v);
    }
    if (!aspect) TRY(read_aspect(&spec->pad, key_of(o, "image_aspect_ratio")));
    rc = CL_OK;
done:
    return rc;
}

/* *root stays NULL where there is no such file. */
static int load_json(json_t **root, const char *path)
{
    json_error_t e;

    *root = NULL;
    if (access(path, F_OK)) return CL_OK;
    *root = json_load_file(path, 0, &e);
    return *root ? CL_OK : err_set(CL_EFORMAT, "%s: line %d: %s", path, e.line, e.text);
}

int image_spec_read(struct image_spec *spec, const char *base_dir, int image_size, const char *aspect)
{
    char *path = NULL;
    json_t *root = NULL;
    const json_t *keys = NULL;
    int rc;

    *spec = clip;
    spec->size = spec->shortest_edge = image_size;
    if (aspect) {
        if (strcmp(aspect, "pad") && strcmp(aspect, "crop"))
            FAIL(CL_ECONFIG, "image.aspect: unknown value (got %s, expected pad or crop)", aspect);
        spec->pad = !strcmp(aspect, "pad");
    }
    if (asprintf(&path, "%s/preprocessor_config.json", base_dir) < 0) path = NULL;
    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    TRY(load_json(&root, path));
    keys = root;
    if (!root) { // newer transformers keep it inside of another file
        free(path);
        if (asprintf(&path, "%s/processor_config.json", base_dir) < 0) path = NULL;
        if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
        TRY(load_json(&root, path));
        keys = key_of(root, "image_processor");
    }
    if (keys && (rc = read_keys(spec, keys, aspect))) err_prefix(rc, "%s", path);
done:
    json_decref(root);
    free(path);
    return rc;
}

/* LLaVA's pad: a square of the longer edge in the mean colour, the picture in its middle. */
static int pad_square(struct image *out, const struct image *im, const double mean[3])
{
    const int side = im->width > im->height ? im->width : im->height;
    const int x0 = (side - im->width) / 2, y0 = (side - im->height) / 2;
    const size_t stride = (size_t)side * 3, line = (size_t)im->width * 3;
    uint8_t colour[3], *row;
    int rc = image_alloc(out, side, side, "padded picture");

    if (rc) return rc;
    for (int c = 0; c < 3; c++)
        colour[c] = (uint8_t)(mean[c] < 0 ? 0 : mean[c] * 255 > 255 ? 255 : (int)(mean[c] * 255));
    for (size_t i = 0; i < stride; i++) out->rgb[i] = colour[i % 3];
    for (int y = 1; y < side; y++) memcpy(out->rgb + y * stride, out->rgb, stride);
    row = out->rgb + y0 * stride + (size_t)x0 * 3;
    for (int y = 0; y < im->height; y++) memcpy(row + y * stride, im->rgb + y * line, line);
    return CL_OK;
}

/* Size after the resize: transformers rounds the longer edge down. */
static void resized_size(int64_t *width, int64_t *height, const struct image *im, const struct image_spec *spec)
{
    const int64_t w = im->width, h = im->height;

    *width = w, *height = h;
    if (!spec->do_resize) return;
    if (spec->stretch_w > 0) {
        *width = spec->stretch_w, *height = spec->stretch_h;
    } else if (w <= h) {
        *width = spec->shortest_edge, *height = spec->shortest_edge * h / w;
    } else {
        *height = spec->shortest_edge, *width = spec->shortest_edge * w / h;
    }
}

/* One edge of the centre crop: from which position of the resized picture, how many, and where they go in the result. */
static void crop_edge(int64_t *from, int *n, int *to, int64_t have, int size)
{
    int64_t start = have - size;

    start = start >= 0 ? start / 2 : -((1 - start) / 2); // rounded down, as Python's //
    *to = start < 0 ? (int)-start : 0;
    *from = start < 0 ? 0 : start;
    *n = have - *from < size - *to ? (int)(have - *from) : size - *to;
}

/* out (3, size, size) := values of the picture at (x, y), of black elsewhere. */
static void normalise(float *out, const struct image *im, int x, int y, const struct image_spec *spec)
{
    const size_t size = (size_t)spec->size, plane = size * size;
    float value[3][256];

    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float f = (float)(spec->do_rescale ? v * spec->rescale_factor : v);
            value[c][v] = spec->do_normalize ? (f - (float)spec->mean[c]) / (float)spec->std[c] : f;
        }
    for (int c = 0; c < 3; c++) {
        float *to = out + c * plane;

        if (im->width < spec->size || im->height < spec->size)
            for (size_t i = 0; i < plane; i++) to[i] = value[c][0];
        for (int j = 0; j < im->height; j++) {
            const uint8_t *from = im->rgb + (size_t)j * im->width * 3 + c;
            float *row = to + (size_t)(y + j) * size + x;

            for (int i = 0; i < im->width; i++) row[i] = value[c][from[3 * i]];
        }
    }
}

int image_prepare(float *out, const struct image *im, const struct image_spec *spec)
{
    struct image square = {0}, small = {0};
    const struct image *from = im;
    struct image_part part = {0};
    int rc, x = 0, y = 0;

    if (spec->pad && im->width != im->height) {
        TRY(pad_square(&square, im, spec->mean));
        from = &square;
    }
    resized_size(&part.width, &part.height, from, spec);
    if (!spec->do_center_crop && (part.width != spec->size || part.height != spec->size))
        FAIL(CL_EMISMATCH,
             "prepared picture does not fit the vision tower (got %lld x %lld, expected %d x %d); hint: do_center_crop "
             "or image.aspect: pad",
             (long long)part.width, (long long)part.height, spec->size, spec->size);
    crop_edge(&part.x, &part.w, &x, part.width, spec->size);
    crop_edge(&part.y, &part.h, &y, part.height, spec->size);
    TRY(image_resize_part(&small, from, &part, spec->resample));
    normalise(out, &small, x, y, spec);
done:
    image_free(&square);
    image_free(&small);
    return rc;
}
