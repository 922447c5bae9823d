/* Task files: forms, markers, roles, references; broken ones by record number; large ones in bounded memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io/dataset.h"
#include "io/err.h"

static char dir[64], path[128], picture[128];

static int make_dir(void **state)
{
    FILE *f;

    (void)state;
    strcpy(dir, "/tmp/test_dataset_XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/task.json", dir);
    snprintf(picture, sizeof picture, "%s/p.png", dir);
    f = fopen(picture, "w");
    return f ? fclose(f) : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    unlink(picture);
    return rmdir(dir);
}

static void write_n(const char *text, size_t n, bool gz)
{
    if (gz) {
        gzFile f = gzopen(path, "wb");

        assert_non_null(f);
        assert_int_equal(gzwrite(f, text, (unsigned)n), n);
        assert_int_equal(gzclose(f), Z_OK);
    } else {
        FILE *f = fopen(path, "wb");

        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, n, f), n);
        fclose(f);
    }
}

static int open_text(struct dataset **ds, const char *text, enum dataset_use use)
{
    const struct dataset_options how = {.use = use};

    write_n(text, strlen(text), false);
    return dataset_open(ds, path, &how);
}

#define TURNS(q, a)                                                                                                    \
    "\"conversations\": [{\"from\": \"human\", \"value\": \"" q "\"}, {\"from\": \"gpt\", \"value\": \"" a "\"}]"

static const char *const three[] = {
    "{\"id\": \"a\", \"image\": \"p.png\", " TURNS("<image>\\nWhat {is} [it]?", "a \\\"cat } ], \\\\") "}",
    "{\"id\": 7, " TURNS("caf\\u00e9 \\ud83d\\ude00 \xc3\xa9", "ok, {") ", \"other\": {\"x\": [1, {\"y\": \"]}\"}]}}",
    "{\n " TURNS("q", "r") "\n}",
};

static void check_three(const struct dataset *ds)
{
    struct record r;
    char *q;

    assert_int_equal(dataset_size(ds), 3);
    assert_int_equal(dataset_get(ds, 0, &r), CL_OK);
    assert_string_equal(r.id, "a");
    assert_string_equal(r.image, picture);
    assert_int_equal(r.turns, 2);
    assert_true(r.turn[0].human && !r.turn[1].human);
    assert_string_equal(r.turn[0].text, "<image>\nWhat {is} [it]?");
    assert_string_equal(r.turn[1].text, "a \"cat } ], \\");
    assert_int_equal(r.n_answers, 1);
    assert_string_equal(r.answers[0], "a \"cat } ], \\");
    assert_int_equal(r.number, 1);
    assert_int_equal(dataset_first_question(&r, &q), CL_OK);
    assert_string_equal(q, "What {is} [it]?");
    free(q);
    record_free(&r);
    assert_int_equal(dataset_get(ds, 2, &r), CL_OK);
    assert_string_equal(r.id, "3");
    assert_null(r.image);
    assert_string_equal(r.turn[0].text, "q");
    record_free(&r);
    assert_int_equal(dataset_get(ds, 1, &r), CL_OK);
    assert_string_equal(r.id, "7");
    assert_string_equal(r.turn[0].text, "caf\xc3\xa9 \xf0\x9f\x98\x80 \xc3\xa9");
    record_free(&r);
    assert_int_equal(dataset_get(ds, 3, &r), CL_EINTERNAL);
}

/* Array and JSONL; plain and gzipped; with a byte order mark; with LF, CRLF, blanks around. */
static void forms(void **state)
{
    (void)state;
    for (int form = 0; form < 16; form++) {
        const bool array = form & 1, gz = form & 2, bom = form & 4;
        const char *line = form & 8 ? "\r\n" : "\n";
        const struct dataset_options how = {.use = DATASET_TRAIN};
        char text[4096] = "";
        struct dataset *ds;

        if (bom) strcat(text, "\xef\xbb\xbf");
        if (array) strcat(strcat(text, " ["), line);
        for (int i = 0; i < 3; i++) {
            size_t at = strlen(text);

            if (array && i) strcat(text, i == 1 ? "," : " , ");
            strcat(text, three[i]);
            for (char *p = text + at; !array && *p; p++) // a line of JSONL has no line breaks
                if (*p == '\n') *p = ' ';
            if (array || i < 2) strcat(text, line); // the last line may lack its end
            if (!array && !i) strcat(text, line);   // an empty line
        }
        if (array) strcat(strcat(text, "]"), line);
        write_n(text, strlen(text), gz);
        if (dataset_open(&ds, path, &how)) fail_msg("form %d: %s", form, err_text());
        check_three(ds);
        dataset_close(ds);
    }
}

static void get_first(struct record *r, const char *text, enum dataset_use use)
{
    struct dataset *ds;

    if (open_text(&ds, text, use)) fail_msg("%s: %s", text, err_text());
    assert_int_equal(dataset_get(ds, 0, r), CL_OK);
    dataset_close(ds);
}

static void markers(void **state)
{
    static const struct {
        const char *in, *out, *question;
    } cases[] = {
        {"<image>\\nWhat?", "<image>\nWhat?", "What?"},
        {"What?\\n<image>", "What?\n<image>", "What?"},
        {"In <image> this", "In <image> this", "In  this"},
        {"What? ", "<image>\nWhat? ", "What?"},
        {"<image>", "<image>", ""},
        {"", "<image>", ""},
        {" <image>\\n<image> two\\u3000", "<image>\ntwo", "two"},
        {"\\u00a0\\u2003<image>\\t a\\u2009b \\u0085",
         "\xc2\xa0\xe2\x80\x83<image>\t a\xe2\x80\x89"
         "b \xc2\x85",
         "a\xe2\x80\x89"
         "b"},
    };
    struct dataset *ds;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512], *q;
        struct record r;

        snprintf(text, sizeof text,
                 "{\"image\": \"p.png\", \"conversations\": [{\"from\": \"user\", \"value\": \"%s\"}, {\"from\": "
                 "\"assistant\", \"value\": \"x\"}]}",
                 cases[i].in);
        get_first(&r, text, DATASET_TRAIN);
        assert_string_equal(r.turn[0].text, cases[i].out);
        assert_int_equal(dataset_first_question(&r, &q), CL_OK);
        assert_string_equal(q, cases[i].question);
        free(q);
        record_free(&r);
    }
    assert_int_equal(open_text(&ds, "{" TURNS("<image> what?", "x") "}", DATASET_TRAIN), CL_EDATA);
    assert_non_null(strstr(err_text(), "no \"image\""));
    assert_int_equal(open_text(&ds, "{\"image\": \"p.png\", " TURNS("what?", "<image>") "}", DATASET_TRAIN), CL_EDATA);
    assert_non_null(strstr(err_text(), "in an answer"));
}

static void short_form_and_references(void **state)
{
    struct dataset_options how = {.use = DATASET_TEST, .suffix = "\nShort."};
    struct dataset *ds;
    struct record r;

    (void)state;
    get_first(&r,
              "{\"id\": \"v\", \"image\": \"p.png\", \"question\": \"Q?\", \"answer\": \"yes\", \"answer_type\": "
              "\"CLOSED\", \"organ\": 1}",
              DATASET_TRAIN);
    assert_string_equal(r.turn[0].text, "<image>\nQ?");
    assert_string_equal(r.turn[1].text, "yes");
    assert_string_equal(r.answers[0], "yes");
    assert_string_equal(r.question_type, "CLOSED");
    record_free(&r);
    get_first(&r, "{\"question\": \"Q of A?\", \"answer\": \"x\", \"key_parts\": [\"of\", \"A?\"]}", DATASET_TRAIN);
    assert_int_equal(r.n_key_parts, 2);
    assert_string_equal(r.key_parts[1], "A?");
    record_free(&r);
    get_first(&r, "{\"question_id\": 5, \"text\": \"Q?\", \"answers\": [\"a\", 2, 0.5], \"question_type\": \"t\"}",
              DATASET_TEST);
    assert_string_equal(r.id, "5");
    assert_int_equal(r.turns, 1);
    assert_int_equal(r.n_answers, 3);
    assert_string_equal(r.answers[1], "2");
    assert_string_equal(r.answers[2], "0.5");
    assert_true(r.choices == 0 && r.width == 0 && r.height == 0);
    record_free(&r);
    get_first(
        &r,
        "{\"question\": \"Q?\", \"answers\": [[0.25, 0, 1, 0.5]], \"choices\": [\"x\", \"y\", \"z\"], \"size\": [640, "
        "480]}",
        DATASET_TEST);
    assert_string_equal(r.answers[0], "[0.25, 0, 1, 0.5]");
    assert_true(r.choices == 3 && r.width == 640 && r.height == 480);
    record_free(&r);
    get_first(&r, "{\"text\": \"Q?\", \"answer_bbox\": \"[0.1, 0.2, 0.3, 0.4]\", \"choices\": 4, \"size\": \"big\"}",
              DATASET_TEST); // CoIN's grounding
    assert_int_equal(r.n_answers, 1);
    assert_string_equal(r.answers[0], "[0.1, 0.2, 0.3, 0.4]");
    assert_true(r.choices == 4 && r.width == 0);
    record_free(&r);
    get_first(&r, "{\"image\": null, \"question\": \"Q?\"}", DATASET_ASK);
    assert_int_equal(r.n_answers, 0);
    record_free(&r);
    get_first(
        &r, "{\"conversations\": [{\"from\": \"system\", \"value\": \"s\"}, {\"from\": \"human\", \"value\": \"h\"}]}",
        DATASET_ASK);
    assert_string_equal(r.turn[0].text, "h");
    record_free(&r);
    write_n("{\"question\": \"Q?\", \"answer\": \"a\"}", 33, false);
    assert_int_equal(dataset_open(&ds, path, &how), CL_OK);
    assert_int_equal(dataset_get(ds, 0, &r), CL_OK);
    assert_string_equal(r.turn[0].text, "Q?\nShort.");
    record_free(&r);
    dataset_close(ds);
}

/* Record 2 of 3 is broken: its number is in the text; skipping leaves the other two. */
static void broken_records(void **state)
{
    static const struct {
        const char *record, *says;
        enum dataset_use use;
    } cases[] = {
        {"{\"id\": tru}", "not JSON", DATASET_TRAIN},
        {"{\"id\": \"a\" \"b\"}", "not JSON", DATASET_TRAIN},
        {"{\"x\": NaN, " TURNS("a", "b") "}", "NaN", DATASET_TRAIN},
        {"{" TURNS("a \\ud800", "b") "}", "surrogate", DATASET_TRAIN},
        {"{" TURNS("a \xff", "b") "}", "not UTF-8", DATASET_TRAIN},
        {"{" TURNS("a \xc3(", "b") "}", "not UTF-8", DATASET_TRAIN},
        {"{" TURNS("a \\u0000", "b") "}", "not JSON", DATASET_TRAIN},
        {"{\"image\": \"absent.png\", " TURNS("a", "b") "}", "absent.png: No such file", DATASET_TRAIN},
        {"{\"image\": \".\", " TURNS("a", "b") "}", "no regular file", DATASET_TRAIN},
        {"{\"image\": [\"p.png\"], " TURNS("a", "b") "}", "one picture", DATASET_TRAIN},
        {"{" TURNS("a", "") "}", "empty answer", DATASET_TRAIN},
        {"{" TURNS("a", " \\n\\u00a0") "}", "empty answer", DATASET_TRAIN},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}]}", "no answer", DATASET_TRAIN},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}]}", "nothing to score", DATASET_TEST},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"robot\", \"value\": \"h\"}]}",
         "\"robot\"", DATASET_TRAIN},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"human\", \"value\": \"h\"}]}",
         "alternate", DATASET_TRAIN},
        {"{\"conversations\": [{\"from\": \"gpt\", \"value\": \"h\"}]}", "no human turn", DATASET_TRAIN},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": 3}]}", "turn 1", DATASET_TRAIN},
        {"{\"conversations\": []}", "no human turn", DATASET_TRAIN},
        {"{\"conversations\": 1}", "not an array", DATASET_TRAIN},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"gpt\", \"value\": \"h\"}, "
         "{\"from\": \"human\", \"value\": \"<image>\"}, {\"from\": \"gpt\", \"value\": \"h\"}]}",
         "later question", DATASET_TRAIN},
        {"{\"id\": [], " TURNS("a", "b") "}", "\"id\"", DATASET_TRAIN},
        {"{\"answers\": \"x\", " TURNS("a", "b") "}", "\"answers\"", DATASET_TRAIN},
        {"{\"key_parts\": \"x\", " TURNS("xa", "b") "}", "\"key_parts\" is not an array", DATASET_TRAIN},
        {"{\"key_parts\": [7], " TURNS("7", "b") "}", "something else than texts", DATASET_TRAIN},
        {"{\"key_parts\": [\"a\", \"\"], " TURNS("a", "b") "}", "something else than texts", DATASET_TRAIN},
        {"{\"key_parts\": [\"a\", \"b\"], " TURNS("a", "b") "}", "\"b\" does not stand in the first question",
         DATASET_TRAIN},
        {"{}", "neither", DATASET_TRAIN},
        {"3", "not a JSON object", DATASET_TRAIN},
        {"\"{\"", "not a JSON object", DATASET_TRAIN},
        {"}", "not JSON", DATASET_TRAIN},
    };
    const char good[] = "{" TURNS("a", "b") ", \"answers\": [\"x\"]}";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases * 2; i++) {
        struct dataset_options how = {.use = cases[i / 2].use};
        const struct dataset_dropped *first;
        char text[2048], where[256];
        struct dataset *ds;
        struct record r;
        int listed;

        snprintf(text, sizeof text, i % 2 ? "[%s,%s,%s]" : "%s\n%s\n%s", good, cases[i / 2].record, good);
        write_n(text, strlen(text), false);
        snprintf(where, sizeof where, "%s: record 2: ", path);
        assert_int_equal(dataset_open(&ds, path, &how), CL_EDATA);
        assert_null(ds);
        if (strncmp(err_text(), where, strlen(where)) || !strstr(err_text(), cases[i / 2].says))
            fail_msg("%s: %s", cases[i / 2].record, err_text());
        how.skip = true;
        assert_int_equal(dataset_open(&ds, path, &how), CL_OK);
        assert_int_equal(dataset_size(ds), 2);
        assert_int_equal(dataset_dropped(ds, &first, &listed), 1);
        assert_int_equal(listed, 1);
        assert_int_equal(first[0].number, 2);
        assert_non_null(strstr(first[0].reason, cases[i / 2].says));
        assert_int_equal(dataset_get(ds, 1, &r), CL_OK);
        assert_int_equal(r.number, 3);
        record_free(&r);
        dataset_close(ds);
    }
}

static void broken_files(void **state)
{
    static const struct {
        const char *text, *says;
        int code;
    } cases[] = {
        {"", "no records", CL_EFORMAT},
        {" \n\t ", "no records", CL_EFORMAT},
        {"\xef\xbb\xbf", "no records", CL_EFORMAT},
        {"[]", "no records", CL_EDATA},
        {"[ ] x", "behind the end", CL_EFORMAT},
        {"[{" TURNS("a", "b") "}", "ends inside of record 1", CL_EFORMAT},
        {"[{" TURNS("a", "b") "},", "ends inside of record 2", CL_EFORMAT},
        {"[{" TURNS("a", "b") "},]", "record 2: nothing there", CL_EDATA},
        {"[{" TURNS("a", "b") "},{" TURNS("a", "b"), "ends inside of record 2", CL_EFORMAT},
        {"[{" TURNS("a", "b") "}][{" TURNS("a", "b") "}]", "behind the end", CL_EFORMAT},
        {"{" TURNS("a", "b") "}\n{" TURNS("a", "b"), "record 2: not JSON", CL_EDATA},
        {"\xff\xfe[", "UTF-16", CL_EFORMAT},
        {"<html>", "neither", CL_EFORMAT},
        {"id,image\n", "neither", CL_EFORMAT},
    };
    const struct dataset_options how = {.use = DATASET_TRAIN};
    struct dataset *ds;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rc = open_text(&ds, cases[i].text, DATASET_TRAIN);

        if (rc != cases[i].code || !strstr(err_text(), cases[i].says) || !strstr(err_text(), path))
            fail_msg("case %zu: %s, %s", i, err_name(rc), err_text());
    }
    assert_int_equal(dataset_open(&ds, "/nonexistent/task.json", &how), CL_EIO);
    assert_non_null(strstr(err_text(), "/nonexistent/task.json"));
    assert_int_equal(dataset_open(&ds, dir, &how), CL_EIO);
    assert_non_null(strstr(err_text(), "a folder"));
}

/* A gzipped file cut anywhere is an error, never fewer records. */
static void truncated_gzip(void **state)
{
    const struct dataset_options how = {.use = DATASET_TRAIN, .skip = true};
    char text[2048], bytes[4096];
    struct dataset *ds;
    size_t n;
    FILE *f;

    (void)state;
    snprintf(text, sizeof text, "{%s}\n{%s}\n", TURNS("a", "b"), TURNS("c", "d"));
    write_n(text, strlen(text), true);
    f = fopen(path, "rb");
    n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    for (size_t cut = 2; cut <= n; cut++) {
        int rc;

        write_n(bytes, cut, false);
        rc = dataset_open(&ds, path, &how);
        if (rc != (cut < n ? CL_EFORMAT : CL_OK)) fail_msg("cut to %zu of %zu: %s", cut, n, err_name(rc));
        dataset_close(ds);
    }
    bytes[n - 12] ^= 1;
    write_n(bytes, n, false);
    assert_int_equal(dataset_open(&ds, path, &how), CL_EFORMAT);
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    write_n(text, strlen(text), true);
    assert_int_equal(dataset_open(&ds, path, &how), CL_EIO);
    assert_non_null(strstr(err_text(), "TMPDIR"));
    unsetenv("TMPDIR");
}

static void limit_drop_reject(void **state)
{
    struct dataset_options how = {.use = DATASET_TRAIN, .limit = 3, .skip = true};
    const struct dataset_dropped *first;
    char text[4096] = "";
    struct dataset *ds;
    struct record r;
    int listed;

    (void)state;
    for (int i = 0; i < 40; i++)
        strcat(text, i == 1 || i >= 10 ? "{}\n" : "{\"question\": \"q\", \"answer\": \"a\"}\n");
    write_n(text, strlen(text), false);
    assert_int_equal(dataset_open(&ds, path, &how), CL_OK);
    assert_int_equal(dataset_size(ds), 3); // 1, 3, 4
    err_set(CL_EDATA, "too long");
    assert_int_equal(dataset_reject(ds, 1, CL_EDATA), CL_OK);
    assert_int_equal(dataset_size(ds), 2);
    assert_int_equal(dataset_get(ds, 1, &r), CL_OK);
    assert_int_equal(r.number, 4);
    record_free(&r);
    assert_int_equal(dataset_dropped(ds, &first, &listed), 2);
    assert_int_equal(first[1].number, 3);
    assert_string_equal(first[1].reason, "too long");
    err_set(CL_ENOMEM, "no memory");
    assert_int_equal(dataset_reject(ds, 0, CL_ENOMEM), CL_ENOMEM);
    assert_int_equal(dataset_size(ds), 2);
    assert_int_equal(dataset_drop(ds, 2, "x"), CL_EINTERNAL);
    dataset_close(ds);

    how.limit = 0;
    assert_int_equal(dataset_open(&ds, path, &how), CL_OK);
    assert_int_equal(dataset_size(ds), 9);
    assert_int_equal(dataset_dropped(ds, &first, &listed), 31);
    assert_int_equal(listed, DATASET_LISTED);
    dataset_close(ds);

    how.limit = 1;
    how.skip = false;
    assert_int_equal(dataset_open(&ds, path, &how), CL_OK);
    err_set(CL_EDATA, "too long");
    assert_int_equal(dataset_reject(ds, 0, CL_EDATA), CL_EDATA);
    assert_non_null(strstr(err_text(), "task.json: record 1: too long"));
    dataset_close(ds);
}

static void changed_file(void **state)
{
    struct dataset *ds;
    struct record r;

    (void)state;
    assert_int_equal(open_text(&ds, "{\"question\": \"q\", \"answer\": \"a\"}\n", DATASET_TRAIN), CL_OK);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(dataset_get(ds, 0, &r), CL_EDATA);
    assert_non_null(strstr(err_text(), "has changed"));
    dataset_close(ds);
}

/* 200,000 records, 100 MB: opening needs the index and a buffer, not the file. */
static void large_file(void **state)
{
    const struct dataset_options how = {.use = DATASET_TRAIN};
    const int n = 200000;
    struct rusage before, after;
    struct dataset *ds;
    struct record r;
    char filler[401];
    FILE *f = fopen(path, "wb");

    (void)state;
    assert_non_null(f);
    memset(filler, 'x', 400);
    filler[400] = 0;
    for (int i = 0; i < n; i++)
        fprintf(f, "%c{\"id\": %d, \"image\": \"p.png\", \"other\": \"%s {[\", %s}\n", i ? ',' : '[', i, filler,
                TURNS("<image>\\nq", "b"));
    fprintf(f, "]");
    fclose(f);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(dataset_open(&ds, path, &how), CL_OK);
    getrusage(RUSAGE_SELF, &after);
#ifndef __SANITIZE_ADDRESS__                                     // it keeps freed memory back
    assert_true(after.ru_maxrss - before.ru_maxrss < 24 * 1024); // KiB; the file has more than 100 MB
#endif
    assert_int_equal(dataset_size(ds), n);
    for (int i = 0; i < n; i += 49999) {
        char id[16];

        assert_int_equal(dataset_get(ds, i, &r), CL_OK);
        snprintf(id, sizeof id, "%d", i);
        assert_string_equal(r.id, id);
        record_free(&r);
    }
    dataset_close(ds);
}

static void endless_record(void **state)
{
    const struct dataset_options how = {.use = DATASET_TRAIN, .skip = true};
    struct dataset *ds;
    char mib[1025];
    FILE *f = fopen(path, "wb");

    (void)state;
    memset(mib, 'x', 1024);
    mib[1024] = 0;
    fprintf(f, "[{\"id\": \"");
    for (int i = 0; i < 65 * 1024; i++) fputs(mib, f);
    fclose(f);
    assert_int_equal(dataset_open(&ds, path, &how), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "has no end within"));
}

static void shared_sets(void **state)
{
    static const char *const names[] = {"easyvqa", "nlvr", "vqarad"};

    (void)state;
    if (access(SHARED_DIR "/data/easyvqa/train.jsonl", R_OK)) {
        print_message("skipped: no shared data\n");
        skip();
    }
    for (int i = 0; i < 3; i++) {
        const struct dataset_options how = {.use = DATASET_TRAIN};
        char name[512];
        struct dataset *ds;
        struct record r;

        snprintf(name, sizeof name, "%s/data/%s/train.jsonl", SHARED_DIR, names[i]);
        if (dataset_open(&ds, name, &how)) fail_msg("%s", err_text());
        assert_true(dataset_size(ds) > 100);
        assert_int_equal(dataset_get(ds, dataset_size(ds) - 1, &r), CL_OK);
        assert_int_equal(strncmp(r.turn[0].text, "<image>\n", 8), 0);
        record_free(&r);
        dataset_close(ds);
    }
}

static void golden_tasks(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        const struct dataset_options how = {.use = DATASET_TRAIN};
        char name[512];
        struct dataset *ds;
        struct record r;

        snprintf(name, sizeof name, "%s/golden/%c/data/task%d.json", SOURCE_DIR, "ab"[k / 2], k % 2);
        assert_int_equal(dataset_open(&ds, name, &how), CL_OK);
        assert_int_equal(dataset_size(ds), 9);
        assert_int_equal(dataset_get(ds, 7, &r), CL_OK);
        assert_int_equal(r.turns, 4);
        assert_string_equal(r.turn[2].text, "Name one colour, please.");
        record_free(&r);
        assert_int_equal(dataset_get(ds, 8, &r), CL_OK);
        assert_null(r.image);
        assert_string_equal(r.answers[0], "red, or blue");
        record_free(&r);
        dataset_close(ds);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        CASE(forms),
        CASE(markers),
        CASE(short_form_and_references),
        CASE(broken_records),
        CASE(broken_files),
        CASE(truncated_gzip),
        CASE(limit_drop_reject),
        CASE(changed_file),
        CASE(large_file),
        CASE(endless_record),
        CASE(shared_sets),
        CASE(golden_tasks),
    };

    return cmocka_run_group_tests_name("dataset", tests, NULL, NULL);
}
