/* test_jsonstream.c - every form of a file of records, plain and packed; where it is broken, where it was cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

#include "io/err.h"
#include "io/jsonstream.h"
#include "io/text.h"

static char path[64];

static int make_file(void **state)
{
    int fd;

    (void)state;
    strcpy(path, "/tmp/test_jsonstream_XXXXXX");
    fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_bytes(const char *bytes, size_t n, bool packed)
{
    gzFile f = gzopen(path, packed ? "wb" : "wbT");

    assert_non_null(f);
    assert_int_equal(n ? gzwrite(f, bytes, (unsigned)n) : 0, (int)n);
    assert_int_equal(gzclose(f), Z_OK);
}

/* What a stream gives, in one line: "KEY=RECORD ..", "!" for a broken one, "#CODE" where it ends badly. malloc'ed. */
static char *story(const char *content, bool packed, enum jsonstream_form form, const char *member)
{
    struct jsonstream *s;
    struct text t = {0};
    const char *key;
    json_t *record;
    bool more;
    int rc;

    write_bytes(content, strlen(content), packed);
    text_add(&t, "%s", "");
    rc = jsonstream_open(&s, path, form, member);
    if (rc) assert_null(s);
    while (!rc || rc == CL_EDATA) {
        rc = jsonstream_next(s, &key, &record, &more);
        if (!rc && !more) break;
        if (rc == CL_EDATA) text_add(&t, "%s!", t.len ? " " : "");
        if (rc) continue;
        char *dumped = json_dumps(record, JSON_COMPACT | JSON_ENCODE_ANY);
        text_add(&t, "%s%s%s%s", t.len ? " " : "", key ? key : "", key ? "=" : "", dumped);
        free(dumped);
    }
    if (rc) text_add(&t, "%s#%s", t.len ? " " : "", err_name(rc));
    if (rc) assert_non_null(strstr(err_text(), path));
    jsonstream_close(s);
    return text_take(&t);
}

static const struct {
    enum jsonstream_form form;
    const char *member, *content, *story;
} cases[] = {
    {JSONSTREAM_LIST, NULL, "[{\"a\":1},{\"b\":[2,{}]}]", "{\"a\":1} {\"b\":[2,{}]}"},
    {JSONSTREAM_LIST, NULL, " \r\n[ \"]}\\\"\" , {\"k\":\"\\\\\"}\n ] \n", "\"]}\\\"\" {\"k\":\"\\\\\"}"},
    {JSONSTREAM_LIST, NULL, "\xef\xbb\xbf[1]", "1"},
    {JSONSTREAM_LIST, NULL, "[]", ""},
    {JSONSTREAM_LIST, NULL, "{\"a\":1}\n\n{\"b\":2}\r\n", "{\"a\":1} {\"b\":2}"},
    {JSONSTREAM_LIST, NULL, "{\"a\":1}\n{broken\n{\"b\":2}", "{\"a\":1} ! {\"b\":2}"},
    {JSONSTREAM_LIST, NULL, "[{\"a\":NaN},{\"a\":\"\\u0000\"},{\"a\":\"\xff\"},2]", "! ! ! 2"},
    {JSONSTREAM_LIST, NULL, "[1,,2,]", "1 ! 2 !"},
    {JSONSTREAM_LIST, NULL, "[{\"a\":1},{\"b\":", "{\"a\":1} #CL_EFORMAT"},
    {JSONSTREAM_LIST, NULL, "[{\"a\":1}", "#CL_EFORMAT"},
    {JSONSTREAM_LIST, NULL, "[1] [2]", "1 #CL_EFORMAT"},
    {JSONSTREAM_LIST, NULL, "", "#CL_EFORMAT"},
    {JSONSTREAM_LIST, NULL, "hello", "#CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "{\"1\":{\"a\":1},\"k\\u00e9\\\"\":[2]}", "1={\"a\":1} k\xc3\xa9\"=[2]"},
    {JSONSTREAM_KEYED, NULL, "{}", ""},
    {JSONSTREAM_KEYED, NULL, "{\"1\":{\"a\":},\"2\":3}", "! 2=3"},
    {JSONSTREAM_KEYED, NULL, "{\"1\":2,}", "1=2 #CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "{\"1\" 2}", "#CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "{1:2}", "#CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "{\"1\":2", "#CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "{\"1\":2,\"3", "1=2 #CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "{\"1\":2}}", "1=2 #CL_EFORMAT"},
    {JSONSTREAM_KEYED, NULL, "[1]", "#CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{\"x\":{\"data\":[9]},\"data\":[1,2],\"y\":\"}\"}", "1 2"},
    {JSONSTREAM_LIST, "data", "{\"data\":[]}", ""},
    {JSONSTREAM_KEYED, "data", "{\"n\":1,\"data\":{\"a\":1}}", "a=1"},
    {JSONSTREAM_LIST, "data", "{\"other\":[1]}", "#CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{\"data\":{}}", "#CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{\"data\":[1]", "1 #CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{\"data\":[1],\"y\":[1}", "1 #CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{\"data\":[1],", "1 #CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{\"data\":[1]}x", "1 #CL_EFORMAT"},
    {JSONSTREAM_LIST, "data", "{}", "#CL_EFORMAT"},
};

static void forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int packed = 0; packed < 2; packed++) {
            char *got = story(cases[i].content, packed, cases[i].form, cases[i].member);

            if (strcmp(got, cases[i].story))
                fail_msg("case %zu: %s\n gives %s\n expected %s\n (%s)", i, cases[i].content, got, cases[i].story,
                         err_text());
            free(got);
        }
}

/* Numbers of records, also of broken ones. */
static void numbers(void **state)
{
    struct jsonstream *s;
    const char *key;
    json_t *record;
    bool more;
    int64_t at, size;

    (void)state;
    write_bytes("[1,x,3]", 7, false);
    assert_int_equal(jsonstream_open(&s, path, JSONSTREAM_LIST, NULL), CL_OK);
    assert_int_equal(jsonstream_next(s, &key, &record, &more), CL_OK);
    assert_int_equal(jsonstream_next(s, &key, &record, &more), CL_EDATA);
    assert_string_equal(err_text(), "not JSON: invalid token near 'x' (at character 1)");
    assert_int_equal(jsonstream_number(s), 2);
    assert_int_equal(jsonstream_next(s, &key, &record, &more), CL_OK);
    assert_int_equal(jsonstream_number(s), 3);
    jsonstream_place(s, &at, &size);
    assert_int_equal(size, 7);
    assert_int_equal(jsonstream_next(s, &key, &record, &more), CL_OK);
    assert_false(more);
    assert_int_equal(jsonstream_next(s, &key, &record, &more), CL_OK); // stays at the end
    assert_false(more);
    jsonstream_close(s);
}

/* How reading the file to its end goes, broken records aside. */
static int read_all(void)
{
    struct jsonstream *s;
    const char *key;
    json_t *record;
    bool more = true;
    int rc = jsonstream_open(&s, path, JSONSTREAM_LIST, NULL);

    while ((!rc || rc == CL_EDATA) && more) rc = jsonstream_next(s, &key, &record, &more);
    jsonstream_close(s);
    return rc;
}

/* A packed file that was cut off or damaged is never taken for a short one, wherever the cut is. */
static void packed_damage(void **state)
{
    char content[4096] = "[0", whole[4096];
    size_t n;
    FILE *f;

    (void)state;
    for (int i = 1; i < 300; i++) sprintf(content + strlen(content), ",%d", i * 7919);
    strcat(content, "]");
    write_bytes(content, strlen(content), true);
    f = fopen(path, "rb");
    n = fread(whole, 1, sizeof whole, f);
    fclose(f);
    for (size_t cut = 3; cut < n; cut += 7) {
        f = fopen(path, "wb");
        assert_int_equal(fwrite(whole, 1, cut, f), cut);
        fclose(f);
        assert_int_equal(read_all(), CL_EFORMAT);
    }
    whole[n / 2] ^= 0x55;
    f = fopen(path, "wb");
    assert_int_equal(fwrite(whole, 1, n, f), n);
    fclose(f);
    assert_int_equal(read_all(), CL_EFORMAT);
}

static void not_files(void **state)
{
    struct jsonstream *s;

    (void)state;
    assert_int_equal(jsonstream_open(&s, "/tmp", JSONSTREAM_LIST, NULL), CL_EIO);
    assert_non_null(strstr(err_text(), "is a folder"));
    assert_int_equal(jsonstream_open(&s, "/tmp/no such file", JSONSTREAM_LIST, NULL), CL_EIO);
    jsonstream_close(NULL);
}

/* 64 MiB of records, and as many bytes of another member: memory stays what one record needs. */
static void larger_than_memory(void **state)
{
    struct rusage before, after;
    struct jsonstream *s;
    const char *key;
    char filler[1 << 12];
    json_t *record;
    bool more = true;
    int64_t n = 0;
    FILE *f = fopen(path, "wb");

    (void)state;
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    fprintf(f, "{\"skipped\": [");
    for (int i = 0; i < 1 << 14; i++) fprintf(f, "%s\"%s\"", i ? "," : "", filler);
    fprintf(f, "], \"data\": [");
    for (int i = 0; i < 1 << 14; i++) fprintf(f, "%s{\"id\": %d, \"text\": \"%s\"}", i ? "," : "", i, filler);
    fprintf(f, "]}");
    assert_int_equal(fclose(f), 0);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(jsonstream_open(&s, path, JSONSTREAM_LIST, "data"), CL_OK);
    for (;;) {
        assert_int_equal(jsonstream_next(s, &key, &record, &more), CL_OK);
        if (!more) break;
        assert_int_equal(json_integer_value(json_object_get(record, "id")), n++);
    }
    jsonstream_close(s);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(n, 1 << 14);
#ifndef __SANITIZE_ADDRESS__ // which keeps what was freed
    assert_true(after.ru_maxrss - before.ru_maxrss < 16 << 10);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(numbers),
        cmocka_unit_test(packed_damage),
        cmocka_unit_test(not_files),
        cmocka_unit_test(larger_than_memory),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
