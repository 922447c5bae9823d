/* image_jpeg.c - JPEG to RGB: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.
 *
 * The decoder's defaults (exact integer transform, smooth chroma upsampling) are Pillow's, so the pixels are equal. CMYK is
 * taken as Adobe stores it, inverted, whatever the file says, and becomes RGB by Pillow's formula.
 *
 * libjpeg reports errors by longjmp: all state lives in struct reader. A file that ends early is only a warning to libjpeg
 * (the rest would be grey); here it is an error. Other warnings are harmless: cameras and phones write such files.
 */
#include "io/image_kinds.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "io/err.h"

struct reader {
    struct jpeg_error_mgr err; // first: the library hands back a pointer to it
    struct jpeg_decompress_struct dec;
    jmp_buf jump;
    char text[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr c)
{
    struct reader *r = (struct reader *)c->err;

    c->err->format_message(c, r->text);
    longjmp(r->jump, 1);
}

static void on_message(j_common_ptr c, int level)
{
    if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF) on_error(c);
}

static void on_output(j_common_ptr c)
{
    (void)c;
}

/* a b / 255, rounded */
static inline int mul255(int a, int b)
{
    int t = a * b + 128;

    return (t + (t >> 8)) >> 8;
}

static void cmyk_to_rgb(uint8_t *to, const uint8_t *from, size_t width)
{
    for (size_t x = 0; x < width; x++, to += 3, from += 4) {
        int nk = from[3]; // inverted in the file: 255 - K

        for (int c = 0; c < 3; c++) {
            int v = nk - mul255(255 - from[c], nk);
            to[c] = (uint8_t)(v < 0 ? 0 : v);
        }
    }
}

static int find_orientation(j_decompress_ptr dec)
{
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/"; // its NUL included
    int o = 0;

    for (jpeg_saved_marker_ptr m = dec->marker_list; m && !o; m = m->next)
        if (m->data_length >= 6 && !memcmp(m->data, "Exif\0\0", 6)) o = image_exif_orientation(m->data, m->data_length);
    for (jpeg_saved_marker_ptr m = dec->marker_list; m && !o; m = m->next)
        if (m->data_length >= sizeof xmp && !memcmp(m->data, xmp, sizeof xmp))
            o = image_xmp_orientation(m->data, m->data_length);
    return o;
}

static int read_picture(struct reader *r, const struct image_bytes *b, struct image *im, int *orientation)
{
    j_decompress_ptr dec = &r->dec;
    JSAMPARRAY line = NULL;
    int rc, o;

    jpeg_mem_src(dec, b->p, b->n);
    if (orientation) jpeg_save_markers(dec, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(dec, TRUE);
    rc = image_alloc(im, dec->image_width, dec->image_height, b->name);
    if (rc) return rc;
    if (dec->num_components != 1 && dec->num_components != 3 && dec->num_components != 4)
        return err_set(CL_EFORMAT, "%s: JPEG with %d colour components (expected 1, 3 or 4)", b->name,
                       dec->num_components);
    dec->out_color_space = dec->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(dec);
    if (dec->num_components == 4)
        line = dec->mem->alloc_sarray((j_common_ptr)dec, JPOOL_IMAGE, 4 * dec->output_width, 1);
    while (dec->output_scanline < dec->output_height) {
        JSAMPROW row = im->rgb + (size_t)dec->output_scanline * im->width * 3;

        jpeg_read_scanlines(dec, line ? line : &row, 1);
        if (line) cmyk_to_rgb(row, line[0], (size_t)im->width);
    }
    if (orientation && (o = find_orientation(dec))) *orientation = o;
    jpeg_finish_decompress(dec);
    return CL_OK;
}

int image_jpeg_decode(struct image *im, const struct image_bytes *b, int *orientation)
{
    struct reader r = {0};
    int rc;

    r.dec.err = jpeg_std_error(&r.err);
    r.err.error_exit = on_error;
    r.err.emit_message = on_message;
    r.err.output_message = on_output;
    if (!setjmp(r.jump)) {
        jpeg_create_decompress(&r.dec);
        rc = read_picture(&r, b, im, orientation);
    } else {
        rc = err_set(CL_EFORMAT, "%s: broken or truncated JPEG file: %s; hint: fetch it again", b->name, r.text);
    }
    jpeg_destroy_decompress(&r.dec);
    return rc;
}
