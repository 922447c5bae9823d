/* image_png.c - PNG to RGB and back.
 *
 * Values become 8 bits as Pillow's convert("RGB") has them, which is not what libpng would do by itself: alpha is dropped
 * (not blended), a palette's colours are looked up here (indices behind its end are black), colour of 16 bits keeps the
 * upper byte, but grey of 16 bits keeps the value, cut off at 255.
 *
 * libpng reports errors by longjmp: all state lives in struct reader, so that nothing is lost or clobbered by the jump.
 * Samples of fewer than 3 bytes per pixel are read into the end of their own RGB row and spread out from the front, in
 * place: the writer never catches up with the reader.
 */
#include "io/image_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"

struct reader {
    png_structp png;
    png_infop info, end;
    const struct image_bytes *b;
    size_t at;
    bool have_pixels; // a fault behind the last row does not matter any more
    char text[160];
};

static void on_error(png_structp png, png_const_charp text)
{
    char *to = png_get_error_ptr(png);

    snprintf(to, sizeof((struct reader *)0)->text, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    struct reader *r = png_get_io_ptr(png);

    if (n > r->b->n - r->at) png_error(png, "file is truncated");
    memcpy(to, r->b->p + r->at, n);
    r->at += n;
}

/* "Raw profile type exif" (ImageMagick): a blank line, the name, the length, then EXIF in hexadecimal digits. */
static int profile_orientation(const char *text, size_t n)
{
    uint8_t bytes[4096];
    size_t got = 0;
    int line = 0, high = -1;

    for (size_t i = 0; i < n && got < sizeof bytes; i++) {
        int c = text[i], v;

        if (c == '\n') line++;
        if (line < 3) continue;
        v = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : -1;
        if (v < 0) continue;
        if (high < 0) {
            high = v;
        } else {
            bytes[got++] = (uint8_t)(high << 4 | v);
            high = -1;
        }
    }
    return image_exif_orientation(bytes, got);
}

/* What one set of chunks (before or behind the pixels) says; 0: nothing. */
static int chunk_orientation(png_structp png, png_infop info)
{
    png_uint_32 n = 0;
    png_bytep exif = NULL;
    png_textp text = NULL;
    int count = 0, o = 0;

    if (png_get_eXIf_1(png, info, &n, &exif)) o = image_exif_orientation(exif, n);
    png_get_text(png, info, &text, &count);
    for (int i = 0; i < count && !o; i++) {
        size_t len = text[i].text
                         ? text[i].compression >= PNG_ITXT_COMPRESSION_NONE ? text[i].itxt_length : text[i].text_length
                         : 0;

        if (!strcmp(text[i].key, "Raw profile type exif")) o = profile_orientation(text[i].text, len);
        if (!strcmp(text[i].key, "XML:com.adobe.xmp")) o = image_xmp_orientation((const uint8_t *)text[i].text, len);
    }
    return o;
}

/* Row by row, in place (see above). */
static void spread_grey(uint8_t *row, size_t width)
{
    const uint8_t *from = row + 2 * width;

    for (size_t x = 0; x < width; x++, row += 3) {
        uint8_t v = from[x];
        row[0] = row[1] = row[2] = v;
    }
}

static void spread_grey16(uint8_t *row, size_t width)
{
    const uint8_t *from = row + width;

    for (size_t x = 0; x < width; x++, row += 3, from += 2) {
        uint8_t v = from[0] ? 255 : from[1];
        row[0] = row[1] = row[2] = v;
    }
}

static void spread_palette(uint8_t *row, size_t width, uint8_t colour[256][3])
{
    const uint8_t *from = row + 2 * width;

    for (size_t x = 0; x < width; x++, row += 3) {
        const uint8_t *c = colour[from[x]];
        row[0] = c[0], row[1] = c[1], row[2] = c[2];
    }
}

static void read_palette(struct reader *r, uint8_t colour[256][3])
{
    png_colorp p = NULL;
    int n = 0;

    memset(colour, 0, 256 * 3);
    png_get_PLTE(r->png, r->info, &p, &n);
    for (int i = 0; i < n && i < 256; i++) colour[i][0] = p[i].red, colour[i][1] = p[i].green, colour[i][2] = p[i].blue;
}

static void read_rows(struct reader *r, struct image *im)
{
    const size_t stride = (size_t)im->width * 3, n = png_get_rowbytes(r->png, r->info);
    const int passes = png_set_interlace_handling(r->png);

    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < im->height; y++) png_read_row(r->png, im->rgb + y * stride + (stride - n), NULL);
}

static int read_picture(struct reader *r, struct image *im, int *orientation)
{
    png_structp png = r->png;
    uint8_t colour[256][3];
    int type, depth, rc, o;
    size_t width;

    png_set_user_limits(png, INT_MAX, INT_MAX); // the limit on pixels is checked here
    png_set_read_fn(png, r, read_bytes);
    png_read_info(png, r->info);
    rc = image_alloc(im, png_get_image_width(png, r->info), png_get_image_height(png, r->info), r->b->name);
    if (rc) return rc;
    width = (size_t)im->width;
    type = png_get_color_type(png, r->info);
    depth = png_get_bit_depth(png, r->info);

    const bool palette = type == PNG_COLOR_TYPE_PALETTE;
    const bool grey16 = type == PNG_COLOR_TYPE_GRAY && depth == 16;

    if (palette) {
        read_palette(r, colour);
        png_set_packing(png);
    } else if (depth < 8) {
        png_set_expand_gray_1_2_4_to_8(png);
    } else if (depth == 16 && !grey16) {
        png_set_strip_16(png);
    }
    if (type & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
    if (png_set_interlace_handling(png) < 1) png_error(png, "unknown interlacing");
    png_read_update_info(png, r->info);
    if (png_get_rowbytes(png, r->info) != width * (type & PNG_COLOR_MASK_COLOR && !palette ? 3 : grey16 ? 2 : 1))
        png_error(png, "unexpected row size");
    read_rows(r, im);
    for (int y = 0; y < im->height; y++) {
        uint8_t *row = im->rgb + (size_t)y * width * 3;

        if (palette)
            spread_palette(row, width, colour);
        else if (grey16)
            spread_grey16(row, width);
        else if (!(type & PNG_COLOR_MASK_COLOR))
            spread_grey(row, width);
    }
    if (!orientation) return CL_OK;
    if ((o = chunk_orientation(png, r->info))) *orientation = o;
    r->have_pixels = true;
    png_read_end(png, r->end);
    if (!o && (o = chunk_orientation(png, r->end))) *orientation = o;
    return CL_OK;
}

int image_png_decode(struct image *im, const struct image_bytes *b, int *orientation)
{
    struct reader r = {.b = b};
    int rc;

    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r.text, on_error, on_warning);
    if (r.png) r.info = png_create_info_struct(r.png);
    if (r.info) r.end = png_create_info_struct(r.png);
    if (!r.end) {
        rc = err_set(CL_ENOMEM, "%s: out of memory for the PNG decoder", b->name);
    } else if (!setjmp(png_jmpbuf(r.png))) {
        rc = read_picture(&r, im, orientation);
    } else {
        rc = r.have_pixels ? CL_OK
                           : err_set(CL_EFORMAT, "%s: broken PNG file: %s; hint: fetch it again", b->name, r.text);
    }
    png_destroy_read_struct(&r.png, &r.info, &r.end);
    return rc;
}

struct writer {
    png_structp png;
    png_infop info;
    char text[160];
};

static int write_picture(struct writer *w, FILE *f, const struct image *im)
{
    if (setjmp(png_jmpbuf(w->png))) return CL_EIO;
    png_init_io(w->png, f);
    png_set_user_limits(w->png, INT_MAX, INT_MAX);
    png_set_IHDR(w->png, w->info, (png_uint_32)im->width, (png_uint_32)im->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (int y = 0; y < im->height; y++) png_write_row(w->png, im->rgb + (size_t)y * im->width * 3);
    png_write_end(w->png, NULL);
    return CL_OK;
}

/* The new name reaches the disk only when its folder does. */
static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        fsync(fd); // best effort: some file systems refuse to sync a folder
        close(fd);
    }
    free(dir);
}

int image_write_png(const char *path, const struct image *im)
{
    struct writer w = {0};
    char *tmp = NULL;
    FILE *f = NULL;
    int rc;

    TRY(image_check_size(im->width, im->height, path));
    if (asprintf(&tmp, "%s.tmp%ld", path, (long)getpid()) < 0) {
        tmp = NULL;
        FAIL(CL_ENOMEM, "%s: out of memory", path);
    }
    f = fopen(tmp, "wb");
    if (!f)
        FAIL(CL_EIO, "cannot write %s: %s; hint: check that the folder exists and may be written", tmp,
             strerror(errno));
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w.text, on_error, on_warning);
    if (w.png) w.info = png_create_info_struct(w.png);
    if (!w.info) FAIL(CL_ENOMEM, "%s: out of memory for the PNG encoder", path);
    if (write_picture(&w, f, im)) FAIL(CL_EIO, "cannot write %s: %s", tmp, w.text);
    if (fflush(f) || fsync(fileno(f))) FAIL(CL_EIO, "cannot write %s: %s", tmp, strerror(errno));
    rc = fclose(f);
    f = NULL;
    if (rc) FAIL(CL_EIO, "cannot write %s: %s", tmp, strerror(errno));
    if (rename(tmp, path)) FAIL(CL_EIO, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
    sync_folder_of(path);
    rc = CL_OK;
done:
    png_destroy_write_struct(&w.png, &w.info);
    if (f) fclose(f);
    if (rc && tmp) unlink(tmp);
    free(tmp);
    return rc;
}
