/* Resize, padding, cropping and normalisation against Pillow 13 and transformers' CLIPImageProcessor.
 *
 * The sums of the resize table are zlib.crc32(Image.fromarray(p).resize((w, h), m).tobytes()) with Pillow 13.0.0 for the
 * pattern of make_pattern. Whole pictures are compared with the golden sets, whose pixels transformers prepared.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "io/err.h"
#include "io/image.h"

static struct image make_pattern(int w, int h)
{
    struct image im = {.width = w, .height = h, .rgb = malloc((size_t)w * h * 3)};

    assert_non_null(im.rgb);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) im.rgb[(y * w + x) * 3 + c] = (uint8_t)(x * 37 + y * 91 + c * 53 + x * y * 7);
    return im;
}

static void resize_equals_pillow(void **state)
{
    static const struct {
        int w, h, to_w, to_h;
        uint32_t sum[4]; // nearest, lanczos, bilinear, bicubic
    } cases[] = {
        {7, 5, 3, 2, {0x4daa3b40u, 0x9036ca66u, 0x65634797u, 0x799fad2eu}},
        {7, 5, 7, 2, {0x35bcdd29u, 0x6e13804du, 0x9e4b5e86u, 0x423668a9u}},
        {7, 5, 3, 5, {0xedc5febcu, 0x82658432u, 0x5b9ee541u, 0x8728f2ebu}},
        {7, 5, 20, 17, {0x54631709u, 0x4eb291d5u, 0x870f18a5u, 0xa4f3a0b6u}},
        {64, 48, 24, 24, {0xf11f12fdu, 0x5a7f8c26u, 0x67f6dfe4u, 0xe5f5e5b4u}},
        {64, 48, 32, 24, {0xb40e5223u, 0xbb9c289eu, 0x84e4800du, 0x08908d34u}},
        {48, 64, 24, 32, {0xf70c2cedu, 0xb9838986u, 0x7a9267cau, 0x7d64d2dau}},
        {100, 300, 90, 20, {0x01f5fa6au, 0x329417bcu, 0xd0319389u, 0xe065e2b6u}}, // height first
        {301, 33, 30, 3, {0x8b25d1edu, 0x155e032fu, 0x87c7c0dcu, 0x40599ff2u}},
        {1, 1, 9, 9, {0x2d903951u, 0x2d903951u, 0x2d903951u, 0x2d903951u}},
        {33, 1, 5, 8, {0x9a51c44eu, 0x0d3e50b8u, 0xc4395af2u, 0x9ec8d791u}},
        {640, 480, 448, 336, {0x4685b02bu, 0xa6491315u, 0x6720bb34u, 0x313df44fu}},
        {5, 5, 5, 5, {0x495d5192u, 0x495d5192u, 0x495d5192u, 0x495d5192u}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int m = 0; m < 4; m++) {
            struct image in = make_pattern(cases[i].w, cases[i].h), out;

            assert_int_equal(image_resize(&out, &in, cases[i].to_w, cases[i].to_h, m), CL_OK);
            assert_int_equal(out.width, cases[i].to_w);
            assert_int_equal(out.height, cases[i].to_h);
            if (crc32(0, out.rgb, (uInt)(out.width * out.height * 3)) != cases[i].sum[m])
                fail_msg("case %zu resample %d differs", i, m);
            image_free(&in);
            image_free(&out);
        }
}

static void resize_values(void **state)
{
    // Pillow: resize of the 7 x 5 pattern to 3 x 2, bicubic
    static const uint8_t want[18] = {102, 130, 141, 122, 132, 148, 136, 133, 127,
                                     126, 137, 126, 140, 138, 136, 154, 132, 124};
    struct image in = make_pattern(7, 5), out;

    (void)state;
    assert_int_equal(image_resize(&out, &in, 3, 2, 3), CL_OK);
    assert_memory_equal(out.rgb, want, sizeof want);
    image_free(&out);
    assert_int_equal(image_resize(&out, &in, 0, 2, 3), CL_EFORMAT);
    assert_int_equal(image_resize(&out, &in, 100000, 100000, 3), CL_EFORMAT);
    assert_int_equal(image_resize(&out, &in, 3, 2, 7), CL_ECONFIG);
    assert_null(out.rgb);
    image_free(&in);
}

static const struct image_spec plain = {.size = 4,
                                        .shortest_edge = 4,
                                        .resample = 0,
                                        .do_resize = true,
                                        .do_center_crop = true,
                                        .rescale_factor = 1.0 / 255,
                                        .mean = {0.5, 0.25, 0.75},
                                        .std = {1, 1, 1}};

static void pads_in_the_middle(void **state)
{
    struct image im = make_pattern(4, 1);
    struct image_spec spec = plain;
    float out[48];

    (void)state;
    spec.pad = true;
    assert_int_equal(image_prepare(out, &im, &spec), CL_OK);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++) // floor(3 / 2) = 1 row above; int(0.5 * 255) = 127, 63, 191
                assert_true(out[c * 16 + y * 4 + x] == (y == 1 ? im.rgb[x * 3 + c] : c == 0 ? 127 : c == 1 ? 63 : 191));
    image_free(&im);
}

static void crops_the_middle_and_fills_with_black(void **state)
{
    struct image im = make_pattern(7, 3);
    struct image_spec spec = plain;
    float out[48];

    (void)state;
    spec.do_resize = false; // 7 x 3 -> 4 x 4: columns 1..4 (floor(3 / 2)), one black row above
    assert_int_equal(image_prepare(out, &im, &spec), CL_OK);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++)
                assert_true(out[c * 16 + y * 4 + x] == (y == 0 ? 0 : im.rgb[((y - 1) * 7 + x + 1) * 3 + c]));
    spec.do_rescale = spec.do_normalize = true;
    assert_int_equal(image_prepare(out, &im, &spec), CL_OK);
    assert_true(out[0] == -0.5f && out[16] == -0.25f);
    assert_true(fabsf(out[4] - (im.rgb[3] / 255.0f - 0.5f)) < 1e-6f);
    spec.do_center_crop = false;
    assert_int_equal(image_prepare(out, &im, &spec), CL_EMISMATCH);
    assert_non_null(strstr(err_text(), "7 x 3"));
    image_free(&im);
}

/* What the crop leaves out is not made: otherwise this would need 9000 * 336 x 336 pixels. */
static void banner_is_cheap(void **state)
{
    struct image im = make_pattern(20000, 1);
    struct image_spec spec = plain;
    float *out = malloc(sizeof *out * 3 * 336 * 336);

    (void)state;
    spec.size = spec.shortest_edge = 336;
    spec.resample = 3;
    assert_int_equal(image_prepare(out, &im, &spec), CL_OK);
    free(out);
    image_free(&im);
}

/* ---- preprocessor_config.json */

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/test_image_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"preprocessor_config.json", "processor_config.json"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static int read_text(struct image_spec *spec, const char *json, int size, const char *aspect)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/preprocessor_config.json", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(json, f);
    fclose(f);
    return image_spec_read(spec, dir, size, aspect);
}

static void spec_defaults(void **state)
{
    struct image_spec s;
    char path[128];
    FILE *f;

    (void)state;
    assert_int_equal(image_spec_read(&s, dir, 336, NULL), CL_OK);
    assert_true(s.pad && s.size == 336 && s.shortest_edge == 336 && s.resample == 3 && !s.stretch_w);
    assert_true(s.do_resize && s.do_center_crop && s.do_rescale && s.do_normalize);
    assert_true(s.mean[0] == 0.48145466 && s.std[2] == 0.27577711 && s.rescale_factor == 1.0 / 255);
    assert_int_equal(image_spec_read(&s, dir, 336, "crop"), CL_OK);
    assert_false(s.pad);
    assert_int_equal(image_spec_read(&s, dir, 336, "round"), CL_ECONFIG);
    snprintf(path, sizeof path, "%s/processor_config.json", dir);
    f = fopen(path, "w");
    fputs("{\"image_processor\": {\"resample\": 2}, \"patch_size\": 14}", f);
    fclose(f);
    assert_int_equal(image_spec_read(&s, dir, 336, NULL), CL_OK);
    assert_int_equal(s.resample, 2);
}

static void spec_forms(void **state)
{
    struct image_spec s;

    (void)state;
    assert_int_equal(read_text(&s, "{\"size\": 40, \"crop_size\": 24}", 24, NULL), CL_OK);
    assert_true(s.size == 24 && s.shortest_edge == 40 && s.pad);
    assert_int_equal(read_text(&s,
                               "{\"size\": {\"shortest_edge\": 30}, \"crop_size\": {\"height\": 24, \"width\": 24}, "
                               "\"image_aspect_ratio\": \"crop\"}",
                               24, NULL),
                     CL_OK);
    assert_true(s.shortest_edge == 30 && !s.pad);
    assert_int_equal(read_text(&s,
                               "{\"size\": {\"height\": 20, \"width\": 25}, \"do_center_crop\": false, \"image_mean\": "
                               "[0.5, 0.4, 0.3], \"resample\": 2}",
                               24, "pad"),
                     CL_OK);
    assert_true(s.stretch_w == 25 && s.stretch_h == 20 && !s.do_center_crop && s.mean[2] == 0.3 && s.resample == 2 &&
                s.pad);
    assert_int_equal(
        read_text(
            &s,
            "{\"image_processor_type\": \"CLIPFeatureExtractor\", \"do_rescale\": false, \"image_aspect_ratio\": null}",
            24, NULL),
        CL_OK);
    assert_true(s.pad && !s.do_rescale);
}

static void spec_refuses(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{\"size\": 0}", "size"},
        {"{\"size\": \"224\"}", "size"},
        {"{\"size\": {\"longest_edge\": 3}}", "size"},
        {"{\"size\": {\"shortest_edge\": 1e9}}", "size.shortest_edge"},
        {"{\"crop_size\": 336}", "336 x 336"},
        {"{\"crop_size\": {\"height\": 24}}", "crop_size.width"},
        {"{\"image_mean\": [1, 2]}", "image_mean"},
        {"{\"image_std\": [1, 0, 1]}", "image_std"},
        {"{\"resample\": 9}", "resample"},
        {"{\"do_resize\": 1}", "do_resize"},
        {"{\"image_aspect_ratio\": \"anyres\"}", "anyres"},
        {"[]", "not a JSON object"},
        {"{\"size\": 24", "line 1"},
        {"", "line 1"},
    };
    struct image_spec s;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_text(&s, cases[i].json, 24, NULL), CL_EFORMAT);
        assert_non_null(strstr(err_text(), cases[i].says));
        assert_non_null(strstr(err_text(), "preprocessor_config.json"));
    }
}

/* ---- golden sets */

static void check_golden(const char *set, int size)
{
    char path[512], name[64];
    struct image_spec spec;
    float *want = malloc(sizeof *want * 3 * size * size), *got = malloc(sizeof *got * 3 * size * size);
    int seen = 0;
    hid_t f;

    snprintf(path, sizeof path, "%s/golden/%s/base", SOURCE_DIR, set);
    assert_int_equal(image_spec_read(&spec, path, size, NULL), CL_OK);
    snprintf(path, sizeof path, "%s/golden/%s/golden.h5", SOURCE_DIR, set);
    f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(f >= 0);
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 8; i++) {
            struct image im;
            double worst = 0;
            hid_t d;

            snprintf(name, sizeof name, "forward/%d/%d/pixels", t, i);
            if (H5Lexists(f, name, H5P_DEFAULT) <= 0) continue;
            d = H5Dopen2(f, name, H5P_DEFAULT);
            assert_int_equal(H5Sget_simple_extent_npoints(H5Dget_space(d)), 3 * size * size);
            assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, want) >= 0);
            H5Dclose(d);
            snprintf(path, sizeof path, "%s/golden/%s/data/images/t%d_%d.png", SOURCE_DIR, set, t, i);
            assert_int_equal(image_load(&im, path, false), CL_OK);
            assert_int_equal(image_prepare(got, &im, &spec), CL_OK);
            for (int k = 0; k < 3 * size * size; k++) {
                double off = fabs(got[k] - want[k]) * spec.std[k / (size * size)];
                if (off > worst) worst = off;
            }
            assert_true(worst < 1e-6); // 1 / 255 is allowed; with the same Pillow only float32 rounding is left
            image_free(&im);
            seen++;
        }
    assert_true(seen >= 6);
    H5Fclose(f);
    free(want);
    free(got);
}

static void golden_a_pad(void **state)
{
    (void)state;
    check_golden("a", 24);
}

static void golden_b_crop(void **state)
{
    (void)state;
    check_golden("b", 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_equals_pillow),
        cmocka_unit_test(resize_values),
        cmocka_unit_test(pads_in_the_middle),
        cmocka_unit_test(crops_the_middle_and_fills_with_black),
        cmocka_unit_test(banner_is_cheap),
        cmocka_unit_test_setup_teardown(spec_defaults, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(spec_forms, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(spec_refuses, make_dir, remove_dir),
        cmocka_unit_test(golden_a_pad),
        cmocka_unit_test(golden_b_crop),
    };

    return cmocka_run_group_tests_name("image_prepare", tests, NULL, NULL);
}
