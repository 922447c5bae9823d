/* test_convert.c - the parts under `cllava convert` that scripts do not reach: the index that joins two files, names of
 * pictures, and that io/dataset.h takes what is written. (The kinds: test_convert_kinds.sh.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/dataset.h"
#include "io/err.h"
#include "jobs/convert/convert.h"
#include "jobs/convert/index.h"
#include "jobs/convert/pictures.h"

static void index_keeps_order(void **state)
{
    struct index *ix;
    char key[32];
    size_t at;

    (void)state;
    assert_int_equal(index_new(&ix), CL_OK);
    at = 0;
    assert_null(index_find(ix, "0", &at));
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "%d", i % 7000);
        assert_int_equal(index_add(ix, key, &i, sizeof i), CL_OK);
    }
    for (int k = 0; k < 7000; k++) {
        const int *v;
        int i = k;

        snprintf(key, sizeof key, "%d", k);
        for (at = 0; (v = index_find(ix, key, &at)); i += 7000) {
            assert_int_equal((uintptr_t)v % 8, 0);
            assert_int_equal(*v, i);
        }
        assert_in_range(i, 20000, 27000);
        assert_null(index_find(ix, key, &at)); // stays at the end
    }
    at = 0;
    assert_null(index_find(ix, "7000", &at));
    index_free(ix);
    index_free(NULL);
}

static void picture_names(void **state)
{
    static const char *const safe[] = {"a.png", "a/b..c/d.png", "..a/b", "a/...", "\xc3\xa9.png", "a b"};
    static const char *const unsafe[] = {"", "/a", "..", "../a", "a/../b", "a/..", "a\nb", "a\x7f", "a/b/../../../c"};

    (void)state;
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) assert_true(picture_name_safe(safe[i]));
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) assert_false(picture_name_safe(unsafe[i]));
}

static void patterns(void **state)
{
    static const char *const cases[][3] = {
        {"{split}/png/{name}", "a/b.c.png", "val/png/a/b.c.png"},
        {"{base}", "a/b.c.png", "b.c.png"},
        {"{stem}.jpg", "a/b.c.png", "b.c.jpg"},
        {"{stem}", ".hidden", ".hidden"},
        {"{folder}/{stem}.jpg", "a/b/c.png", "a/b/c.jpg"},
        {"{folder}/{stem}.jpg", "c.png", "./c.jpg"},
        {"x/{tail}", "a/b/c", "x/b/c"},
        {"x/{tail}", "c", "x/c"},
        {"{nothing}{", "c", "{nothing}{"},
        {"{split}{split}", NULL, "valval"},
    };
    char out[PATH_ROOM], name[PATH_ROOM];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(pattern_expand(out, cases[i][0], "val", cases[i][1]));
        assert_string_equal(out, cases[i][2]);
    }
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_true(pattern_expand(out, "{name}", "val", name));
    assert_false(pattern_expand(out, "{name}x", "val", name));
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Without its summary. */
static void quiet_run(const char *source, const char *dest, const struct convert_options *how)
{
    const int out = dup(STDOUT_FILENO);
    FILE *null = fopen("/dev/null", "w");
    int rc;

    fflush(stdout);
    dup2(fileno(null), STDOUT_FILENO);
    rc = convert_run(kind_find("llava-json"), how, source, dest, NULL);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    fclose(null);
    if (rc) fail_msg("%s", err_text());
}

/* A conversation of two turns with a picture, one without: read back by the data set's reader as they were. */
static void data_set_takes_it(void **state)
{
    char dir[] = "/tmp/test_convert_XXXXXX", source[64], picture[64], file[64], command[64];
    const struct convert_options how = {.hold_out = 0};
    const struct dataset_options read = {.images = dir, .use = DATASET_TRAIN};
    struct dataset *ds;
    struct record r;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(source, sizeof source, "%s/in.json", dir);
    snprintf(picture, sizeof picture, "%s/1.jpg", dir);
    snprintf(file, sizeof file, "%s/out/train.jsonl", dir);
    write_text(picture, "x");
    write_text(source,
               "[{\"id\": 1, \"image\": \"1.jpg\", \"conversations\": [{\"from\": \"human\", \"value\": \"q\\\"\\\\ "
               "<image>\"}, "
               "{\"from\": \"gpt\", \"value\": \"\\u2028\\ud83d\\ude00\"}, {\"from\": \"human\", \"value\": \"more\"}, "
               "{\"from\": \"gpt\", \"value\": \"b\"}]}, {\"id\": \"t\", \"text\": \"only\", \"answer\": 7}]");
    snprintf(picture, sizeof picture, "%s/out", dir);
    quiet_run(source, picture, &how);
    assert_int_equal(dataset_open(&ds, file, &read), CL_OK);
    assert_int_equal(dataset_size(ds), 2);
    assert_int_equal(dataset_get(ds, 0, &r), CL_OK);
    assert_int_equal(r.turns, 4);
    assert_string_equal(r.turn[0].text, "<image>\nq\"\\");
    assert_string_equal(r.turn[1].text, "\xe2\x80\xa8\xf0\x9f\x98\x80");
    assert_string_equal(r.turn[3].text, "b");
    assert_string_equal(r.answers[0], "\xe2\x80\xa8\xf0\x9f\x98\x80");
    assert_string_equal(r.image + strlen(dir), "/1.jpg");
    record_free(&r);
    assert_int_equal(dataset_get(ds, 1, &r), CL_OK);
    assert_string_equal(r.answers[0], "7");
    assert_null(r.image);
    record_free(&r);
    dataset_close(ds);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void kinds_are_described(void **state)
{
    (void)state;
    for (const struct kind *k = kinds; k->name; k++) {
        assert_ptr_equal(kind_find(k->name), k);
        assert_true(k->title && k->where && k->layout && k->becomes && k->metric && k->run);
        assert_true(k->train || k->test);
    }
    assert_null(kind_find("doc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_keeps_order), cmocka_unit_test(picture_names),       cmocka_unit_test(patterns),
        cmocka_unit_test(data_set_takes_it), cmocka_unit_test(kinds_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
