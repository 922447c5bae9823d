/* test_jsonfile.c - typed keys: what is read, what is left alone, what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonfile.h"

static char path[64];

static int make_file(void **state)
{
    int fd;
    (void)state;
    strcpy(path, "/tmp/test_jsonfile_XXXXXX");
    fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static json_t *opened(struct jsonfile_at *at, const char *content)
{
    FILE *f = fopen(path, "wb");
    json_t *root;

    assert_non_null(f);
    fputs(content, f);
    fclose(f);
    if (jsonfile_open_object(&root, at, path)) fail_msg("%s", err_text());
    return root;
}

static void text_is(const char *key, const char *rest)
{
    char want[256];
    snprintf(want, sizeof want, "%s: %s %s", path, key, rest);
    assert_string_equal(err_text(), want);
}

static void typed_keys(void **state)
{
    struct jsonfile_at at;
    json_t *root = opened(&at, "{\"i\":-7,\"whole\":40.0,\"r\":0.5,\"b\":true,\"t\":\"word\",\"null\":null}");
    const char *t = "default";
    double r = 9;
    bool b = false;
    int i = 9;
    (void)state;

    assert_int_equal(jsonfile_int(&i, &at, "i", -7, 0), 0);
    assert_int_equal(i, -7);
    assert_int_equal(jsonfile_int(&i, &at, "whole", 0, 100), 0);
    assert_int_equal(i, 40);
    assert_int_equal(jsonfile_int(&i, &at, "null", 0, 1), 0);
    assert_int_equal(jsonfile_int(&i, &at, "absent", 0, 1), 0);
    assert_int_equal(i, 40);
    assert_int_equal(jsonfile_real(&r, &at, "r", 0, 1), 0);
    assert_float_equal(r, 0.5, 0);
    assert_int_equal(jsonfile_bool(&b, &at, "b"), 0);
    assert_true(b);
    assert_int_equal(jsonfile_text(&t, &at, "null"), 0);
    assert_string_equal(t, "default");
    assert_int_equal(jsonfile_text(&t, &at, "t"), 0);
    assert_string_equal(t, "word");
    assert_true(jsonfile_has(&at, "i"));
    assert_false(jsonfile_has(&at, "null"));
    assert_false(jsonfile_has(&at, "absent"));
    json_decref(root);
}

static void refusals(void **state)
{
    struct jsonfile_at at, sub, none;
    json_t *root = opened(&at, "{\"i\":101,\"r\":-0.5,\"s\":{\"half\":0.5,\"t\":[1, 2]}}");
    const char *t = NULL;
    double r;
    bool b;
    int i = 3;
    (void)state;

    assert_int_equal(jsonfile_int(&i, &at, "i", 1, 100), CL_EFORMAT);
    text_is("i", "is 101, expected a whole number from 1 to 100");
    assert_int_equal(jsonfile_real(&r, &at, "r", 0, 1), CL_EFORMAT);
    text_is("r", "is -0.5, expected a number from 0 to 1");
    assert_int_equal(jsonfile_section(&sub, &at, "s"), 0);
    assert_int_equal(jsonfile_int(&i, &sub, "half", 0, 1), CL_EFORMAT);
    text_is("s.half", "is 0.5, expected a whole number from 0 to 1");
    assert_int_equal(jsonfile_text(&t, &sub, "t"), CL_EFORMAT);
    text_is("s.t", "is [1,2], expected a text");
    assert_int_equal(jsonfile_bool(&b, &sub, "t"), CL_EFORMAT);
    text_is("s.t", "is [1,2], expected true or false");
    assert_int_equal(jsonfile_section(&none, &at, "i"), CL_EFORMAT);
    text_is("i", "is 101, expected an object");
    assert_int_equal(jsonfile_refuse(&at, "gone", "one of %d", 5), CL_EFORMAT);
    text_is("gone", "is missing, expected one of 5");
    assert_int_equal(jsonfile_section(&none, &at, "absent"), 0);
    assert_null(none.object);
    assert_int_equal(jsonfile_int(&i, &none, "any", 0, 1), 0); // a missing section has no keys
    assert_int_equal(i, 3);
    json_decref(root);
}

static void huge_numbers(void **state)
{
    struct jsonfile_at at;
    json_t *root =
        opened(&at, "{\"max\":1000000000000000019884624838656,\"i\":12}"); // integers beyond 64 bits: all become reals
    double r = 0;
    int i = 0;
    (void)state;

    assert_int_equal(jsonfile_real(&r, &at, "max", 0, 1e300), 0);
    assert_true(r > 1e29);
    assert_int_equal(jsonfile_int(&i, &at, "i", 0, 100), 0);
    assert_int_equal(i, 12);
    assert_int_equal(jsonfile_int(&i, &at, "max", 0, 100), CL_EFORMAT);
    json_decref(root);
}

static void broken_files(void **state)
{
    static const char *const content[] = {"", "{", "{\"a\":1,\"a\":2}", "{\"a\":NaN}", "\xff"};
    struct jsonfile_at at;
    json_t *root;
    (void)state;

    for (size_t i = 0; i < sizeof content / sizeof *content; i++) {
        FILE *f = fopen(path, "wb");
        fputs(content[i], f);
        fclose(f);
        assert_int_equal(jsonfile_open(&root, path), CL_EFORMAT);
        assert_null(root);
        assert_non_null(strstr(err_text(), "is not JSON"));
    }
    root = opened(&at, "{}");
    json_decref(root);
    FILE *f = fopen(path, "wb");
    fputs("[]", f);
    fclose(f);
    assert_int_equal(jsonfile_open_object(&root, &at, path), CL_EFORMAT);
    json_decref(root);
    assert_int_equal(jsonfile_open(&root, "/nowhere/x.json"), CL_EIO);
    assert_null(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_keys),
        cmocka_unit_test(refusals),
        cmocka_unit_test(huge_numbers),
        cmocka_unit_test(broken_files),
    };
    return cmocka_run_group_tests_name("jsonfile", tests, make_file, remove_file);
}
