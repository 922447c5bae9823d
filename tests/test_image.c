/* Decoding: every kind of picture is written here by its own library and read back; values that differ from the plain ones
 * (16-bit grey, CMYK, palettes with holes, GIF backgrounds) are what Pillow 13's convert("RGB") gives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <gif_lib.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <webp/encode.h>
#include <jpeglib.h>

#include "io/err.h"
#include "io/image.h"

static char dir[64], path[128];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_image_XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/picture", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static uint8_t value(int x, int y, int c)
{
    return (uint8_t)(x * 37 + y * 91 + c * 53 + x * y * 7);
}

static void write_bytes(const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static size_t read_back(uint8_t **p)
{
    struct stat st;
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *p = malloc((size_t)st.st_size);
    assert_int_equal(fread(*p, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    return (size_t)st.st_size;
}

/* ---- writers */

static const png_color colours[] = {{10, 20, 30}, {40, 50, 60}, {255, 0, 128}};

/* samples per channel from value(), cut to depth; exif: orientation or 0 */
static void write_png(int w, int h, int type, int depth, bool interlaced, bool transparent, int exif)
{
    const int channels = type == PNG_COLOR_TYPE_RGB          ? 3
                         : type == PNG_COLOR_TYPE_RGBA       ? 4
                         : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                             : 1;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    FILE *f = fopen(path, "wb");
    uint8_t *all = calloc((size_t)h, (size_t)w * channels * 2), **rows = malloc(sizeof *rows * h);
    uint8_t block[] = {'M', 'M',           0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1,
                       0,   (uint8_t)exif, 0, 0,  0, 0, 0, 0};

    for (int y = 0; y < h; y++) {
        rows[y] = all + (size_t)y * w * channels * 2;
        for (int x = 0; x < w; x++)
            for (int c = 0; c < channels; c++) {
                uint8_t v = value(x, y, c);

                if (depth == 16) {
                    rows[y][2 * (x * channels + c)] = type == PNG_COLOR_TYPE_GRAY && (x & 1) ? 0 : v;
                    rows[y][2 * (x * channels + c) + 1] = (uint8_t)(v ^ 0x5a);
                } else {
                    rows[y][x * channels + c] = v & ((1 << depth) - 1);
                }
            }
    }
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, depth, type,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    png_set_check_for_invalid_index(png, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, colours, depth == 1 ? 2 : 3);
    if (transparent) {
        png_color_16 one = {.index = 1, .red = 1, .green = 1, .blue = 1, .gray = 1};
        png_set_tRNS(png, info, (const uint8_t[]){0, 128}, type == PNG_COLOR_TYPE_PALETTE ? 2 : 0, &one);
    }
    if (exif) png_set_eXIf_1(png, info, sizeof block, block);
    png_write_info(png, info);
    if (depth < 8) png_set_packing(png);
    png_write_image(png, rows);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    free(rows);
    free(all);
}

struct jpeg_form {
    int w, h;
    J_COLOR_SPACE in, file;
    int quality;
    bool progressive, flat; // flat: every pixel has `pixel`
    uint8_t pixel[4];
    int exif;
};

static void write_jpeg(const struct jpeg_form *j)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    const int n = j->in == JCS_GRAYSCALE ? 1 : j->in == JCS_CMYK ? 4 : 3;
    FILE *f = fopen(path, "wb");
    uint8_t *line = malloc((size_t)j->w * n);
    uint8_t block[] = {
        'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, (uint8_t)j->exif,
        0,   0,   0,   0,   0, 0, 0};

    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_width = (JDIMENSION)j->w;
    c.image_height = (JDIMENSION)j->h;
    c.input_components = n;
    c.in_color_space = j->in;
    jpeg_set_defaults(&c);
    jpeg_set_colorspace(&c, j->file);
    jpeg_set_quality(&c, j->quality, TRUE);
    if (j->progressive) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    if (j->exif) jpeg_write_marker(&c, JPEG_APP0 + 1, block, sizeof block);
    for (int y = 0; y < j->h; y++) {
        for (int x = 0; x < j->w; x++)
            for (int k = 0; k < n; k++) line[x * n + k] = j->flat ? j->pixel[k] : (uint8_t)(x * 2 + y + k * 20);
        jpeg_write_scanlines(&c, &line, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    fclose(f);
    free(line);
}

/* lossless: exact; alpha from 1 on (colours under alpha 0 are not kept by the encoder) */
static size_t encode_webp(uint8_t **out, int w, int h, bool lossless)
{
    uint8_t *px = malloc((size_t)w * h * 4);
    size_t n;

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 4; c++)
                px[(y * w + x) * 4 + c] = c == 3     ? 1 + (x * 5 + y) % 255
                                          : lossless ? value(x, y, c)
                                                     : (uint8_t)(x * 3 + y * 2 + c * 40);
    n = lossless ? WebPEncodeLosslessRGBA(px, w, h, w * 4, out) : WebPEncodeRGBA(px, w, h, w * 4, 95, out);
    assert_true(n > 0);
    free(px);
    return n;
}

struct gif_form {
    int screen_w, screen_h, x, y, w, h;
    bool interlaced, palette;
    int transparent; // -1: none
};

/* pixel (x, y) has index (x + 3 y) % 4; the palette has colours for 0 to 3, so that 2 entries can be cut off in the bytes */
static void write_gif(const struct gif_form *g)
{
    int fault = 0;
    const GifColorType three[4] = {{10, 20, 30}, {40, 50, 60}, {255, 0, 128}, {7, 8, 9}};
    ColorMapObject *map = GifMakeMapObject(4, three);
    GifFileType *f = EGifOpenFileName(path, false, &fault);
    static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    uint8_t line[256];

    assert_non_null(f);
    EGifSetGifVersion(f, true);
    assert_int_equal(EGifPutScreenDesc(f, g->screen_w, g->screen_h, 2, 0, g->palette ? map : NULL), GIF_OK);
    if (g->transparent >= 0) {
        GraphicsControlBlock b = {.TransparentColor = g->transparent};
        uint8_t ext[4];

        EGifGCBToExtension(&b, ext);
        EGifPutExtension(f, GRAPHICS_EXT_FUNC_CODE, 4, ext);
    }
    assert_int_equal(EGifPutImageDesc(f, g->x, g->y, g->w, g->h, g->interlaced, g->palette ? NULL : map), GIF_OK);
    for (int pass = 0; pass < (g->interlaced ? 4 : 1); pass++)
        for (int y = g->interlaced ? first[pass] : 0; y < g->h; y += g->interlaced ? step[pass] : 1) {
            for (int x = 0; x < g->w; x++) line[x] = (uint8_t)((x + 3 * y) % 4);
            assert_int_equal(EGifPutLine(f, line, g->w), GIF_OK);
        }
    EGifCloseFile(f, &fault);
    GifFreeMapObject(map);
}

/* ---- PNG */

static void png_kinds(void **state)
{
    static const struct {
        int type, depth;
    } kinds[] = {{PNG_COLOR_TYPE_GRAY, 1},        {PNG_COLOR_TYPE_GRAY, 2},  {PNG_COLOR_TYPE_GRAY, 4},
                 {PNG_COLOR_TYPE_GRAY, 8},        {PNG_COLOR_TYPE_GRAY, 16}, {PNG_COLOR_TYPE_GRAY_ALPHA, 8},
                 {PNG_COLOR_TYPE_GRAY_ALPHA, 16}, {PNG_COLOR_TYPE_RGB, 8},   {PNG_COLOR_TYPE_RGB, 16},
                 {PNG_COLOR_TYPE_RGBA, 8},        {PNG_COLOR_TYPE_RGBA, 16}};
    static const int sizes[][2] = {{13, 11}, {1, 1}, {5, 1}, {2, 9}};

    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds * 8; k++) {
        const int type = kinds[k / 8].type, depth = kinds[k / 8].depth, *size = sizes[k % 4];
        struct image im;

        write_png(size[0], size[1], type, depth, k / 4 % 2, !(type & PNG_COLOR_MASK_ALPHA) && k % 2, 0);
        assert_int_equal(image_load(&im, path, false), CL_OK);
        assert_int_equal(im.width, size[0]);
        assert_int_equal(im.height, size[1]);
        for (int y = 0; y < size[1]; y++)
            for (int x = 0; x < size[0]; x++)
                for (int c = 0; c < 3; c++) {
                    int v = value(x, y, type & PNG_COLOR_MASK_COLOR ? c : 0);

                    if (depth < 8) v = (v & ((1 << depth) - 1)) * 255 / ((1 << depth) - 1);
                    if (depth == 16 && type == PNG_COLOR_TYPE_GRAY)
                        v = x & 1 ? v ^ 0x5a : v ? 255 : 0x5a; // cut off at 255
                    assert_int_equal(im.rgb[(y * size[0] + x) * 3 + c], v);
                }
        image_free(&im);
    }
}

static void png_palettes(void **state)
{
    (void)state;
    for (int k = 0; k < 16; k++) {
        const int depth = 1 << (k / 4);
        struct image im;

        write_png(13, 11, PNG_COLOR_TYPE_PALETTE, depth, k & 1, k & 2, 0);
        assert_int_equal(image_load(&im, path, false), CL_OK);
        for (int y = 0; y < 11; y++)
            for (int x = 0; x < 13; x++) {
                int i = value(x, y, 0) & ((1 << depth) - 1);
                const uint8_t *p = im.rgb + (y * 13 + x) * 3;

                if (i < 3)
                    assert_true(p[0] == colours[i].red && p[1] == colours[i].green && p[2] == colours[i].blue);
                else
                    assert_true(p[0] == 0 && p[1] == 0 && p[2] == 0); // behind the end of the palette
            }
        image_free(&im);
    }
}

static void png_round_trip(void **state)
{
    struct image im = {.width = 37, .height = 23, .rgb = malloc(37 * 23 * 3)}, back;

    (void)state;
    for (int i = 0; i < 37 * 23 * 3; i++) im.rgb[i] = (uint8_t)(i * 7);
    assert_int_equal(image_write_png(path, &im), CL_OK);
    assert_int_equal(image_load(&back, path, false), CL_OK);
    assert_memory_equal(im.rgb, back.rgb, 37 * 23 * 3);
    image_free(&back);
    assert_int_equal(image_write_png("/nonexistent/folder/x.png", &im), CL_EIO);
    assert_non_null(strstr(err_text(), "/nonexistent/folder/x.png"));
    image_free(&im);
}

/* ---- JPEG */

static void near(const char *what, int got, int want, int off)
{
    if (abs(got - want) > off) fail_msg("%s: got %d, expected %d", what, got, want);
}

static void jpeg_kinds(void **state)
{
    const struct jpeg_form forms[] = {{50, 40, JCS_RGB, JCS_YCbCr, 98, false, false, {0}, 0},
                                      {50, 40, JCS_RGB, JCS_YCbCr, 98, true, false, {0}, 0},
                                      {50, 40, JCS_RGB, JCS_RGB, 98, false, false, {0}, 0},
                                      {50, 40, JCS_GRAYSCALE, JCS_GRAYSCALE, 98, true, false, {0}, 0},
                                      {1, 1, JCS_GRAYSCALE, JCS_GRAYSCALE, 98, false, false, {0}, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct jpeg_form *j = &forms[i];
        struct image im;

        write_jpeg(j);
        assert_int_equal(image_load(&im, path, false), CL_OK);
        assert_int_equal(im.width, j->w);
        assert_int_equal(im.height, j->h);
        for (int y = 0; y < j->h; y++)
            for (int x = 0; x < j->w; x++)
                for (int c = 0; c < 3; c++)
                    near("pixel", im.rgb[(y * j->w + x) * 3 + c], x * 2 + y + (j->in == JCS_GRAYSCALE ? 0 : c * 20), 6);
        image_free(&im);
    }
}

/* Stored (inverted) CMYK and what Pillow makes of it: Image.frombytes("CMYK", (1, 1), bytes(255 - v)).convert("RGB"). */
static void jpeg_cmyk(void **state)
{
    static const uint8_t cases[][7] = {{0, 0, 0, 0, 0, 0, 0},           {255, 255, 255, 255, 255, 255, 255},
                                       {10, 200, 30, 250, 10, 196, 29}, {200, 100, 50, 128, 100, 50, 25},
                                       {0, 255, 128, 64, 0, 64, 32},    {77, 33, 222, 201, 61, 26, 175}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases * 2; i++) {
        struct jpeg_form j = {16, 16, JCS_CMYK, i % 2 ? JCS_YCCK : JCS_CMYK, 100, false, true, {0}, 0};
        struct image im;

        memcpy(j.pixel, cases[i / 2], 4);
        write_jpeg(&j);
        assert_int_equal(image_load(&im, path, false), CL_OK);
        for (int k = 0; k < 16 * 16 * 3; k++) near("pixel", im.rgb[k], cases[i / 2][4 + k % 3], i % 2 ? 2 : 0);
        image_free(&im);
    }
}

/* ---- WebP, GIF */

static void webp_kinds(void **state)
{
    (void)state;
    for (int lossless = 0; lossless < 2; lossless++) {
        uint8_t *bytes;
        size_t n = encode_webp(&bytes, 33, 17, lossless);
        struct image im;

        assert_int_equal(image_decode(&im, bytes, n, "memory", false), CL_OK);
        assert_true(im.width == 33 && im.height == 17);
        for (int y = 0; y < 17; y++)
            for (int x = 0; x < 33; x++)
                for (int c = 0; c < 3; c++) // not blended, though alpha is small
                    near("pixel", im.rgb[(y * 33 + x) * 3 + c], lossless ? value(x, y, c) : x * 3 + y * 2 + c * 40,
                         lossless ? 0 : 20);
        image_free(&im);
        WebPFree(bytes);
    }
}

static void gif_kinds(void **state)
{
    static const uint8_t c[4][3] = {{10, 20, 30}, {40, 50, 60}, {255, 0, 128}, {7, 8, 9}};
    static const struct gif_form forms[] = {{9, 21, 0, 0, 9, 21, false, true, -1}, {9, 21, 0, 0, 9, 21, true, true, -1},
                                            {9, 21, 0, 0, 9, 21, true, false, -1}, {12, 8, 3, 2, 5, 4, false, true, -1},
                                            {12, 8, 3, 2, 5, 4, false, true, 2},   {6, 2, 4, 1, 9, 5, false, false, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct gif_form *g = &forms[i];
        const int W = g->x + g->w > g->screen_w ? g->x + g->w : g->screen_w,
                  H = g->y + g->h > g->screen_h ? g->y + g->h : g->screen_h;
        struct image im;

        write_gif(g);
        assert_int_equal(image_load(&im, path, false), CL_OK);
        assert_int_equal(im.width, W);
        assert_int_equal(im.height, H);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                bool in = x >= g->x && y >= g->y && x < g->x + g->w && y < g->y + g->h;
                int k = in ? (x - g->x + 3 * (y - g->y)) % 4 : g->transparent >= 0 ? g->transparent : 0;

                assert_memory_equal(im.rgb + (y * W + x) * 3, c[k], 3);
            }
        image_free(&im);
    }
}

/* ---- orientation */

/* Upright 6 x 4 picture -> what the corner pixels' positions become (ImageOps.exif_transpose). */
static void orientation_turns(void **state)
{
    (void)state;
    for (int o = 1; o <= 9; o++) {
        struct image flat, im;

        write_png(6, 4, PNG_COLOR_TYPE_RGB, 8, false, false, o);
        assert_int_equal(image_load(&flat, path, false), CL_OK);
        assert_int_equal(image_load(&im, path, true), CL_OK);
        assert_int_equal(flat.width, 6);
        assert_int_equal(im.width, o >= 5 && o <= 8 ? 4 : 6);
        assert_int_equal(im.height, o >= 5 && o <= 8 ? 6 : 4);
        for (int y = 0; y < im.height; y++)
            for (int x = 0; x < im.width; x++) {
                const int X = flat.width - 1, Y = flat.height - 1;
                const int from[10][2] = {{x, y}, {x, y},     {X - x, y},     {X - x, Y - y}, {x, Y - y},
                                         {y, x}, {y, Y - x}, {X - y, Y - x}, {X - y, x},     {x, y}};

                assert_memory_equal(im.rgb + (y * im.width + x) * 3, flat.rgb + (from[o][1] * 6 + from[o][0]) * 3, 3);
            }
        image_free(&flat);
        image_free(&im);
    }
}

static void orientation_of_jpeg(void **state)
{
    const struct jpeg_form j = {30, 20, JCS_RGB, JCS_YCbCr, 95, false, false, {0}, 6};
    struct image im;

    (void)state;
    write_jpeg(&j);
    assert_int_equal(image_load(&im, path, true), CL_OK);
    assert_true(im.width == 20 && im.height == 30);
    image_free(&im);
    assert_int_equal(image_load(&im, path, false), CL_OK);
    assert_true(im.width == 30 && im.height == 20);
    image_free(&im);
}

/* ---- bad input */

/* A cut anywhere must give an error, no crash and no leak. A PNG whose pixels are whole is good even without its end. */
static void cut_everywhere(const char *kind, size_t tail)
{
    uint8_t *bytes;
    size_t n = read_back(&bytes);
    struct image im;

    assert_int_equal(image_decode(&im, bytes, n, kind, true), CL_OK);
    image_free(&im);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); // of exactly this size: a read behind it shows

        memcpy(part, bytes, cut);
        int rc = image_decode(&im, part, cut, kind, true);
        free(part);
        if (rc ? rc != CL_EFORMAT : cut < n - tail)
            fail_msg("%s cut to %zu of %zu bytes: %s", kind, cut, n, err_name(rc));
        if (rc) assert_null(im.rgb);
        image_free(&im);
    }
    free(bytes);
}

static void truncated_png(void **state)
{
    (void)state;
    write_png(13, 11, PNG_COLOR_TYPE_RGBA, 8, true, false, 3);
    cut_everywhere("png", 16);
}

static void truncated_jpeg(void **state)
{
    struct jpeg_form j = {40, 30, JCS_RGB, JCS_YCbCr, 80, false, false, {0}, 6};

    (void)state;
    write_jpeg(&j);
    cut_everywhere("jpeg", 0);
    j.progressive = true;
    write_jpeg(&j);
    cut_everywhere("progressive jpeg", 0);
    j = (struct jpeg_form){20, 20, JCS_CMYK, JCS_YCCK, 80, false, true, {1, 2, 3, 4}, 0};
    write_jpeg(&j);
    cut_everywhere("cmyk jpeg", 0);
}

static void truncated_webp(void **state)
{
    (void)state;
    for (int lossless = 0; lossless < 2; lossless++) {
        uint8_t *bytes;
        size_t n = encode_webp(&bytes, 16, 9, lossless);

        write_bytes(bytes, n);
        WebPFree(bytes);
        cut_everywhere("webp", 1); // the padding byte
    }
}

static void truncated_gif(void **state)
{
    const struct gif_form g = {12, 30, 1, 2, 9, 21, true, true, 2};

    (void)state;
    write_gif(&g);
    cut_everywhere("gif", 4);
}

/* Every byte changed once: any answer will do but a crash, a leak or a picture of another size than its header says. */
static void damaged_bytes(void **state)
{
    const struct jpeg_form j = {20, 15, JCS_RGB, JCS_YCbCr, 80, true, false, {0}, 6};
    const struct gif_form g = {12, 10, 1, 2, 9, 7, false, true, 2};

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        uint8_t *bytes;
        size_t n;

        if (kind == 0) write_png(9, 7, PNG_COLOR_TYPE_PALETTE, 4, true, true, 5);
        if (kind == 1) write_jpeg(&j);
        if (kind == 2) write_gif(&g);
        if (kind == 3) {
            n = encode_webp(&bytes, 9, 7, true);
            write_bytes(bytes, n);
            WebPFree(bytes);
        }
        n = read_back(&bytes);
        for (size_t i = 0; i < n; i++)
            for (int flip = 1; flip < 256; flip = flip * 2 + 1) {
                struct image im;

                bytes[i] ^= (uint8_t)flip;
                image_decode(&im, bytes, n, "damaged", true);
                image_free(&im);
                bytes[i] ^= (uint8_t)flip;
            }
        free(bytes);
    }
}

static void huge_sizes_are_refused(void **state)
{
    // headers that promise more than IMAGE_MAX_PIXELS
    uint8_t png[64] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0";
    const uint8_t gif[] = "GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2";
    const uint8_t jpeg[] = "\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\0\3\x11\0";
    const uint8_t webp[] = "RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff";
    const struct {
        const void *p;
        size_t n;
    } cases[] = {{png, sizeof png}, {gif, sizeof gif}, {jpeg, sizeof jpeg}, {webp, sizeof webp}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct image im;
        int w, h;

        assert_int_equal(image_decode(&im, cases[i].p, cases[i].n, "huge", false), CL_EFORMAT);
        assert_non_null(strstr(err_text(), "too large"));
        write_bytes(cases[i].p, cases[i].n);
        assert_int_equal(image_probe(path, &w, &h), CL_EFORMAT);
    }
    // the frame, not the screen, is huge
    struct image im;
    const uint8_t frame[] = "GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2\x4c\1\0;";
    assert_int_equal(image_decode(&im, frame, sizeof frame - 1, "huge", false), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "too large"));
    // no pixels
    memset(png + 16, 0, 8);
    assert_int_equal(image_decode(&im, png, sizeof png, "empty", false), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "without pixels"));
}

static void not_a_picture(void **state)
{
    struct image im;
    int w, h;

    (void)state;
    assert_int_equal(image_load(&im, "/nonexistent/picture.png", false), CL_EIO);
    assert_non_null(strstr(err_text(), "/nonexistent/picture.png"));
    assert_int_equal(image_load(&im, dir, false), CL_EIO);
    assert_non_null(strstr(err_text(), "a folder"));
    assert_int_equal(image_probe(dir, &w, &h), CL_EIO);
    assert_int_equal(image_load(&im, "/dev/null", false), CL_EIO);
    write_bytes("", 0);
    assert_int_equal(image_load(&im, path, false), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "empty"));
    write_bytes("<!DOCTYPE html><p>404", 21);
    assert_int_equal(image_load(&im, path, false), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "<!DOCTYPE ht"));
    assert_non_null(strstr(err_text(), path));
    assert_null(im.rgb);
    if (geteuid()) { // root reads everything
        chmod(path, 0);
        assert_int_equal(image_load(&im, path, false), CL_EIO);
    }
}

static void probe_sizes(void **state)
{
    const struct jpeg_form j = {33, 20, JCS_RGB, JCS_YCbCr, 80, true, false, {0}, 6};
    const struct gif_form g = {12, 10, 1, 2, 9, 7, false, true, 2};
    uint8_t *bytes;
    int w, h;

    (void)state;
    write_png(13, 11, PNG_COLOR_TYPE_GRAY, 1, true, false, 0);
    assert_int_equal(image_probe(path, &w, &h), CL_OK);
    assert_true(w == 13 && h == 11);
    write_jpeg(&j);
    assert_int_equal(image_probe(path, &w, &h), CL_OK);
    assert_true(w == 33 && h == 20);
    write_gif(&g);
    assert_int_equal(image_probe(path, &w, &h), CL_OK);
    assert_true(w == 12 && h == 10);
    for (int lossless = 0; lossless < 2; lossless++) {
        size_t n = encode_webp(&bytes, 17, 9, lossless);

        write_bytes(bytes, n);
        WebPFree(bytes);
        assert_int_equal(image_probe(path, &w, &h), CL_OK);
        assert_true(w == 17 && h == 9);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        CASE(png_kinds),     CASE(png_palettes),      CASE(png_round_trip),
        CASE(jpeg_kinds),    CASE(jpeg_cmyk),         CASE(webp_kinds),
        CASE(gif_kinds),     CASE(orientation_turns), CASE(orientation_of_jpeg),
        CASE(truncated_png), CASE(truncated_jpeg),    CASE(truncated_webp),
        CASE(truncated_gif), CASE(damaged_bytes),     CASE(huge_sizes_are_refused),
        CASE(not_a_picture), CASE(probe_sizes),
    };

    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
