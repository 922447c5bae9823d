/* image_resize.c - Pillow's resize of 8-bit RGB, bit for bit.
 *
 * Every output value is a weighted sum of the input under a filter that widens when the picture shrinks (antialiasing).
 * A pass along rows and one along columns, each of which rounds to 8 bits. Weights are fixed-point numbers of 22 bits: that, and
 * the rounding between the passes, is what makes the result equal to Pillow's and not only near to it. Output values do
 * not depend on each other, so a part of the result (a centre crop) is made without the rest.
 */
#include "io/image_kinds.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

enum { NEAREST = 0, LANCZOS = 1, BILINEAR = 2, BICUBIC = 3 };
enum { BITS = 32 - 8 - 2 }; // 8 for the value, 2 since weights may be negative and sum to more than 1

/* For each output position of the part: which input positions, with which weights. */
struct taps {
    int n;      // output positions
    int most;   // weights per position, at most
    int *first; // (n)
    int *count; // (n)
    int32_t *k; // (n, most)
};

static void taps_free(struct taps *t)
{
    free(t->first);
    free(t->count);
    free(t->k);
    *t = (struct taps){0};
}

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double filter_value(int resample, double x)
{
    const double a = -0.5;

    if (resample == LANCZOS) return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
    x = fabs(x);
    if (resample == BILINEAR) return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double filter_support(int resample)
{
    return resample == LANCZOS ? 3.0 : resample == BILINEAR ? 1.0 : 2.0;
}

/* Weights of one output position, normalised to the sum 1 and rounded away from zero at the half. */
static void taps_fill(int32_t *k, double *w, int first, int count, double centre, double narrow, int resample)
{
    double sum = 0;

    for (int i = 0; i < count; i++) sum += w[i] = filter_value(resample, (i + first - centre + 0.5) * narrow);
    for (int i = 0; i < count; i++) {
        double v = sum != 0.0 ? w[i] / sum : w[i];
        k[i] = (int32_t)(v < 0 ? v * (1 << BITS) - 0.5 : v * (1 << BITS) + 0.5);
    }
}

/* Of n output positions from `from` on, of a line that is resized from in_size to out_size. */
static int taps_make(struct taps *t, int in_size, int64_t out_size, int64_t from, int n, int resample)
{
    const double scale = (double)in_size / (double)out_size, wide = scale < 1.0 ? 1.0 : scale;
    const double support = filter_support(resample) * wide;
    double *w;

    if (support > INT_MAX / 4)
        return err_set(CL_EINTERNAL, "resize from %d to %lld is out of range", in_size, (long long)out_size);
    *t = (struct taps){.n = n, .most = (int)ceil(support) * 2 + 1};
    t->first = malloc((size_t)n * sizeof *t->first);
    t->count = malloc((size_t)n * sizeof *t->count);
    t->k = calloc((size_t)n * (size_t)t->most, sizeof *t->k);
    w = malloc((size_t)t->most * sizeof *w);
    if (!t->first || !t->count || !t->k || !w) {
        free(w);
        taps_free(t);
        return err_set(CL_ENOMEM, "out of memory for the weights of a resize from %d to %lld", in_size,
                       (long long)out_size);
    }
    for (int i = 0; i < n; i++) {
        const double centre = ((double)(from + i) + 0.5) * scale;
        const double low = centre - support + 0.5, high = centre + support + 0.5;

        t->first[i] = low < 0 ? 0 : (int)low;
        t->count[i] = (high > in_size ? in_size : (int)high) - t->first[i];
        taps_fill(t->k + (size_t)i * t->most, w, t->first[i], t->count[i], centre, 1.0 / wide, resample);
    }
    free(w);
    return CL_OK;
}

static inline uint8_t to_byte(int32_t v)
{
    v >>= BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void resize_row(uint8_t *restrict to, const uint8_t *restrict row, const struct taps *t)
{
    for (int x = 0; x < t->n; x++, to += 3) {
        const int32_t *k = t->k + (size_t)x * t->most;
        const uint8_t *p = row + (size_t)t->first[x] * 3;
        int32_t r = 1 << (BITS - 1), g = r, b = r;

        for (int i = 0; i < t->count[x]; i++, p += 3) {
            r += p[0] * k[i];
            g += p[1] * k[i];
            b += p[2] * k[i];
        }
        to[0] = to_byte(r);
        to[1] = to_byte(g);
        to[2] = to_byte(b);
    }
}

/* sum (n) += k * row (n) */
static void add_row(int32_t *restrict sum, const uint8_t *restrict row, int32_t k, size_t n)
{
    for (size_t i = 0; i < n; i++) sum[i] += row[i] * k;
}

/* The pass along columns: to (t->n, n) from rows of n values that are `stride` apart. */
static int resize_columns(uint8_t *to, const uint8_t *from, size_t stride, size_t n, const struct taps *t)
{
    int32_t *sum = malloc(n * sizeof *sum);

    if (!sum) return err_set(CL_ENOMEM, "out of memory for a row of %zu values", n);
    for (int y = 0; y < t->n; y++, to += n) {
        const int32_t *k = t->k + (size_t)y * t->most;
        const uint8_t *row = from + (size_t)t->first[y] * stride;

        for (size_t i = 0; i < n; i++) sum[i] = 1 << (BITS - 1);
        for (int i = 0; i < t->count[y]; i++, row += stride) add_row(sum, row, k[i], n);
        for (size_t i = 0; i < n; i++) to[i] = to_byte(sum[i]);
    }
    free(sum);
    return CL_OK;
}

/* The pass along rows: to (rows, t->n). */
static void resize_rows(uint8_t *to, const uint8_t *from, size_t stride, int rows, const struct taps *t)
{
    for (int y = 0; y < rows; y++) resize_row(to + (size_t)y * t->n * 3, from + y * stride, t);
}

/* Which input positions are needed at all; the taps then count from the first of them. */
static void taps_narrow(struct taps *t, int *from, int *n)
{
    *from = t->first[0];
    *n = t->first[t->n - 1] + t->count[t->n - 1] - *from;
    for (int i = 0; i < t->n; i++) t->first[i] -= *from;
}

/* Both passes; the first one makes only what the second one needs. */
static int resize_both(struct image *out, const struct image *in, struct taps *across, struct taps *down,
                       bool down_first)
{
    const size_t stride = (size_t)in->width * 3;
    uint8_t *middle = NULL;
    int rc, top, left, rows, columns;

    taps_narrow(down, &top, &rows);
    if (down_first) {
        taps_narrow(across, &left, &columns);
        middle = malloc((size_t)columns * 3 * (size_t)out->height);
        if (!middle) FAIL(CL_ENOMEM, "out of memory for %d x %d pixels", columns, out->height);
        TRY(resize_columns(middle, in->rgb + top * stride + (size_t)left * 3, stride, (size_t)columns * 3, down));
        resize_rows(out->rgb, middle, (size_t)columns * 3, out->height, across);
    } else {
        middle = malloc((size_t)out->width * 3 * (size_t)rows);
        if (!middle) FAIL(CL_ENOMEM, "out of memory for %d x %d pixels", out->width, rows);
        resize_rows(middle, in->rgb + top * stride, stride, rows, across);
        TRY(resize_columns(out->rgb, middle, (size_t)out->width * 3, (size_t)out->width * 3, down));
    }
    rc = CL_OK;
done:
    free(middle);
    return rc;
}

/* A line that keeps its length is not filtered at all: Pillow skips that pass. The order of the passes shows in the
 * rounding: Pillow 13 goes down first where the height loses more than twice as many pixels as the width; older ones
 * never do, which differs by a rounding step here and there. */
static int resize_filtered(struct image *out, const struct image *in, const struct image_part *part, int resample)
{
    const size_t stride = (size_t)in->width * 3, n = (size_t)part->w * 3;
    const bool wide = part->width != in->width, high = part->height != in->height;
    const bool down_first = part->height < in->height && in->height - part->height > 2 * (in->width - part->width);
    const uint8_t *corner = in->rgb + (wide ? 0 : 3 * part->x) + (high ? 0 : part->y * (int64_t)stride);
    struct taps across = {0}, down = {0};
    int rc = CL_OK;

    if (wide) TRY(taps_make(&across, in->width, part->width, part->x, part->w, resample));
    if (high) TRY(taps_make(&down, in->height, part->height, part->y, part->h, resample));
    if (wide && high)
        TRY(resize_both(out, in, &across, &down, down_first));
    else if (wide)
        resize_rows(out->rgb, corner, stride, part->h, &across);
    else if (high)
        TRY(resize_columns(out->rgb, corner, stride, n, &down));
    else
        for (int y = 0; y < part->h; y++) memcpy(out->rgb + y * n, corner + y * stride, n);
done:
    taps_free(&across);
    taps_free(&down);
    return rc;
}

/* Input position of each output position. The sum grows step by step, as Pillow's does: its rounding is part of it. */
static int nearest_map(int **map, int in_size, int64_t out_size, int64_t from, int n)
{
    const double step = (double)in_size / (double)out_size;
    double at = step * 0.5;

    *map = malloc((size_t)n * sizeof **map);
    if (!*map) return err_set(CL_ENOMEM, "out of memory for %d positions", n);
    for (int64_t i = 0; i < from + n; i++, at += step)
        if (i >= from) (*map)[i - from] = at >= in_size ? in_size - 1 : (int)at;
    return CL_OK;
}

static int resize_nearest(struct image *out, const struct image *in, const struct image_part *part)
{
    int *mx = NULL, *my = NULL, rc;
    uint8_t *to = out->rgb;

    TRY(nearest_map(&mx, in->width, part->width, part->x, part->w));
    TRY(nearest_map(&my, in->height, part->height, part->y, part->h));
    for (int y = 0; y < part->h; y++) {
        const uint8_t *row = in->rgb + (size_t)my[y] * in->width * 3;

        for (int x = 0; x < part->w; x++, to += 3) memcpy(to, row + (size_t)mx[x] * 3, 3);
    }
done:
    free(mx);
    free(my);
    return rc;
}

int image_resize_part(struct image *out, const struct image *in, const struct image_part *part, int resample)
{
    int rc;

    *out = (struct image){0};
    if (resample < NEAREST || resample > BICUBIC)
        return err_set(CL_ECONFIG, "unknown resample %d (expected 0 nearest, 1 lanczos, 2 bilinear or 3 bicubic)",
                       resample);
    if (part->x < 0 || part->y < 0 || part->w < 1 || part->h < 1 || part->w > part->width - part->x ||
        part->h > part->height - part->y)
        return err_set(CL_EINTERNAL, "part outside of a resized picture");
    rc = image_alloc(out, part->w, part->h, "resized picture");
    if (rc) return rc;
    rc = resample == NEAREST ? resize_nearest(out, in, part) : resize_filtered(out, in, part, resample);
    if (rc) image_free(out);
    return rc;
}

int image_resize(struct image *out, const struct image *in, int width, int height, int resample)
{
    const struct image_part whole = {.width = width, .height = height, .w = width, .h = height};
    int rc = image_check_size(width, height, "resized picture");

    *out = (struct image){0};
    return rc ? rc : image_resize_part(out, in, &whole, resample);
}
