/* test_metric_record.c - every case of the metric cases, ours and those beside the project, through the C interface and
 * through `cllava metric`; and lines that are no records. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/metric_record.h"

static bool same(const json_t *got, const json_t *want)
{
    const char *key;
    json_t *v;

    if (json_is_number(want))
        return json_is_number(got) && fabs(json_number_value(got) - json_number_value(want)) <= 1e-9;
    if (json_is_array(want)) {
        bool equal = json_array_size(got) == json_array_size(want);
        for (size_t i = 0; equal && i < json_array_size(want); i++)
            equal = same(json_array_get(got, i), json_array_get(want, i));
        return equal;
    }
    if (!json_is_object(want)) return json_equal((json_t *)(uintptr_t)got, (json_t *)(uintptr_t)want);
    if (json_object_size(got) != json_object_size(want)) return false;
    json_object_foreach((json_t *)(uintptr_t)want, key, v)
    {
        if (!same(json_object_get(got, key), v)) return false;
    }
    return true;
}

/* A line of output against its case. */
static int compare(const json_t *c, const char *line)
{
    json_t *o = json_loads(line, 0, NULL), *want = json_object_get(c, "expected");
    bool good =
        o && json_equal(json_object_get(o, "id"), json_object_get(c, "id")) && same(json_object_get(o, "score"), want);
    char *expected = json_dumps(want, JSON_ENCODE_ANY);

    if (!good)
        print_error("%s: expected %s, got %s (%s)\n", json_string_value(json_object_get(c, "id")), expected, line,
                    json_string_value(json_object_get(c, "why")));
    free(expected);
    json_decref(o);
    return !good;
}

static int through_c(const json_t *c)
{
    const struct metric *m = metric_find(json_string_value(json_object_get(c, "metric")));
    struct metric_record r;
    struct metric_parts p = {0};
    struct text json = {0};
    double score;
    char *line = json_dumps(c, 0);
    int bad;

    assert_non_null(m);
    if (metric_record_read(&r, m, line) || metric_record_score(&r, m, &json, &score, &p))
        fail_msg("%s: %s", json_string_value(json_object_get(c, "id")), err_text());
    bad = compare(c, json.s);
    metric_record_free(&r);
    text_free(&json);
    free(line);
    return bad;
}

static const json_t *next_of(const json_t *cases, const char *metric, size_t *i)
{
    for (; *i < json_array_size(cases); ++*i) {
        const json_t *c = json_array_get(cases, *i);
        if (!strcmp(json_string_value(json_object_get(c, "metric")), metric)) return json_array_get(cases, (*i)++);
    }
    return NULL;
}

/* All cases of one metric in one file; answers come in the order of lines. */
static int through_program(const json_t *cases, const char *metric)
{
    char path[] = "/tmp/test_metric_XXXXXX", command[4096], *line = NULL;
    int fd = mkstemp(path), bad = 0;
    FILE *f = fdopen(fd, "w");
    size_t i = 0, room = 0;
    const json_t *c;

    assert_non_null(f);
    while ((c = next_of(cases, metric, &i))) {
        json_dumpf(c, f, JSON_COMPACT);
        fputc('\n', f);
    }
    fclose(f);
    snprintf(command, sizeof command, "'%s' metric %s %s 2>/dev/null", getenv("CLLAVA"), metric, path);
    assert_non_null(f = popen(command, "r"));
    for (i = 0; (c = next_of(cases, metric, &i));) {
        if (getline(&line, &room, f) <= 0) fail_msg("%s: no line for a case of %s", command, metric);
        bad += compare(c, line);
    }
    assert_true(getline(&line, &room, f) <= 0);
    assert_int_equal(pclose(f), 0);
    unlink(path);
    free(line);
    return bad;
}

/* Returns how many cases there are; 0: no such file. */
static size_t run_cases(const char *path)
{
    json_t *file = json_load_file(path, 0, NULL), *cases = json_object_get(file, "cases");
    size_t n = json_array_size(cases);
    int bad = 0;

    for (size_t i = 0; i < n; i++) bad += through_c(json_array_get(cases, i));
    for (size_t i = 0; metric_at(i) && getenv("CLLAVA"); i++) {
        size_t from = 0;
        if (next_of(cases, metric_at(i)->name, &from)) bad += through_program(cases, metric_at(i)->name);
    }
    if (bad) fail_msg("%d of %zu cases of %s fail", bad, n, path);
    if (!getenv("CLLAVA")) print_message("skipped: the program, since CLLAVA does not name it\n");
    json_decref(file);
    return n;
}

static void test_own_cases(void **state)
{
    (void)state;
    assert_true(run_cases(SOURCE_DIR "/metric-cases.json") > 200);
}

static void test_shared_cases(void **state)
{
    (void)state;
    if (run_cases(SHARED_DIR "/design/metric-cases.json")) return;
    print_message("skipped: no %s/design/metric-cases.json\n", SHARED_DIR);
    skip();
}

/* Every metric has a case of ours. */
static void test_all_have_cases(void **state)
{
    json_t *file = json_load_file(SOURCE_DIR "/metric-cases.json", 0, NULL), *cases = json_object_get(file, "cases");

    (void)state;
    for (size_t i = 0; metric_at(i); i++) {
        size_t from = 0;
        if (!next_of(cases, metric_at(i)->name, &from)) fail_msg("no case of %s", metric_at(i)->name);
    }
    json_decref(file);
}

static void test_no_records(void **state)
{
    static const struct {
        const char *metric, *line, *words;
    } cases[] = {
        {"exact", "{", "expected one JSON object per line"},
        {"exact", "[1]", "no object"},
        {"exact", "{\"references\": [\"a\"]}", "`prediction`"},
        {"exact", "{\"prediction\": {\"a\": 1}, \"references\": [\"a\"]}", "no text under `prediction`"},
        {"exact", "{\"prediction\": [\"a\"], \"references\": [\"a\"]}", "not a number in a list"},
        {"exact", "{\"prediction\": \"a\"}", "no references"},
        {"exact", "{\"prediction\": \"a\", \"references\": [true]}", "no text under `references`"},
        {"exact", "{\"prediction\": \"a\", \"references\": {\"x\": 1}}", "no `answer`"},
        {"scienceqa", "{\"prediction\": \"a\", \"references\": {\"choices\": [\"x\"], \"answer\": -1}}", "index -1"},
        {"scienceqa", "{\"prediction\": \"a\", \"references\": {\"choices\": [\"x\"], \"answer\": 26}}", "index 26"},
        {"continual", "{\"prediction\": null, \"references\": [[1, 2]]}", "got 1 rows of 2"},
        {"continual", "{\"prediction\": null, \"references\": [[1, 2], [3]]}", "row 2"},
        {"continual", "{\"prediction\": null, \"references\": 5}", "accuracy matrix"},
        {"pad_square_box", "{\"prediction\": [1, 2, 3], \"references\": [4, 5]}", "no box"},
        {"pad_square_box", "{\"prediction\": [1, 2, 3, 4], \"references\": [4]}", "no size"},
        {"pad_square_box", "{\"prediction\": [1, 2, 3, 4], \"references\": [0, 0]}", "no size (got 0 x 0)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct metric *m = metric_find(cases[i].metric);
        struct metric_record r;
        struct metric_parts p = {0};
        struct text json = {0};
        double score;
        int rc = metric_record_read(&r, m, cases[i].line);

        if (!rc) rc = metric_record_score(&r, m, &json, &score, &p);
        if (rc != CL_EDATA || !strstr(err_text(), cases[i].words))
            fail_msg("%s: got %d, %s (expected %s)", cases[i].line, rc, err_text(), cases[i].words);
        metric_record_free(&r);
        text_free(&json);
    }
}

/* What stands beside the references reaches the rule. */
static void test_options(void **state)
{
    const struct metric *m = metric_find("scienceqa");
    struct metric_record r;

    (void)state;
    assert_int_equal(metric_record_read(&r, m,
                                        "{\"id\": 5, \"prediction\": \"B\", \"answer\": \"B\", \"choices\": [\"x\", "
                                        "\"y\"], \"answer_type\": \"t\", \"size\": [4, 3.5]}"),
                     CL_OK);
    assert_int_equal(r.options.choices, 2);
    assert_string_equal(r.options.question_type, "t");
    assert_true(r.options.width == 4 && r.options.height == 3.5);
    assert_int_equal(json_integer_value(r.id), 5);
    metric_record_free(&r);
}

int main(void)
{
    const struct CMUnitTest record[] = {cmocka_unit_test(test_own_cases), cmocka_unit_test(test_shared_cases),
                                        cmocka_unit_test(test_all_have_cases), cmocka_unit_test(test_no_records),
                                        cmocka_unit_test(test_options)};

    return cmocka_run_group_tests(record, NULL, NULL);
}
