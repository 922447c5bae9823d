/* test_accuracy.c - summary numbers against the executable specification's, and the forms that the matrix is shown in. */
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
#include <sys/stat.h>
#include <unistd.h>

#include "io/accuracy.h"
#include "io/err.h"

static const char *const names[] = {"chart", "document", "icon", "medical"};

/* rows: T rows of T numbers, after each task; the zero-shot row is zero. */
static struct accuracy matrix(int T, const double *rows)
{
    struct accuracy m;

    assert_int_equal(accuracy_new(&m, T, names), CL_OK);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < T; i++) {
            *accuracy_cell(&m, t, i) = rows[t * T + i];
            *accuracy_cell(&m, -1, i) = 0;
        }
    return m;
}

static void near(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-9) && !(isnan(got) && isnan(expected)))
        fail_msg("got %.17g, expected %.17g", got, expected);
}

/* Numbers of accuracy_summary in the specification, and of the cases `continual` of the metric cases. */
static void test_summary(void **state)
{
    static const double first[] = {80, 10, 5, 60, 70, 6, 70, 50, 90}, second[] = {60, 20, 5, 80, 70, 6, 70, 50, 90};
    struct accuracy m = matrix(3, first);
    struct accuracy_summary s = accuracy_summarise(&m);

    (void)state;
    assert_int_equal(s.learned, 3);
    near(s.AA, 70);
    near(s.MFT, 80);
    near(s.MAA, 71.66666666666667);
    near(s.AF, 15);
    near(s.AF_max, 15);
    near(s.BWT, -15);
    near(s.FWT, 8); // (10 - 0 + 6 - 0) / 2
    accuracy_free(&m);
    m = matrix(3, second);
    s = accuracy_summarise(&m);
    near(s.AA, 70);
    near(s.MFT, 73.33333333333333);
    near(s.MAA, 68.33333333333333);
    near(s.AF, 5);
    near(s.AF_max, 15);
    near(s.BWT, -5);
    accuracy_free(&m);
}

/* Random numbers of four tasks; expected as the specification computes them. */
static void test_summary_of_four(void **state)
{
    static const double rows[] = {23.8,  54.42, 37.0,  60.39, 62.57, 6.55,  1.32,  83.75,
                                  25.94, 23.43, 99.56, 47.03, 83.65, 47.64, 63.91, 15.06};
    struct accuracy m = matrix(4, rows);
    struct accuracy_summary s = accuracy_summarise(&m);

    (void)state;
    near(s.AA, 52.565000000000005);
    near(s.MAA, 40.14208333333333);
    near(s.AF, -21.763333333333335);
    near(s.AF_max, 11.883333333333335);
    near(s.BWT, 21.763333333333335);
    accuracy_free(&m);
}

static void test_not_measured(void **state)
{
    struct accuracy m;
    struct accuracy_summary s;

    (void)state;
    assert_int_equal(accuracy_new(&m, 3, names), CL_OK);
    s = accuracy_summarise(&m);
    assert_int_equal(s.learned, 0);
    near(s.AA, NAN);
    for (int i = 0; i < 3; i++) *accuracy_cell(&m, -1, i) = 10 * i;
    s = accuracy_summarise(&m); // zero-shot only
    assert_int_equal(s.learned, 0);
    near(s.AA, 10);
    near(s.AF, NAN);
    *accuracy_cell(&m, 0, 0) = 50; // one task learned
    s = accuracy_summarise(&m);
    assert_int_equal(s.learned, 1);
    near(s.AA, 50);
    near(s.MAA, 50);
    near(s.AF, 0);
    near(s.BWT, 0);
    assert_false(signbit(s.BWT));
    near(s.FWT, NAN);
    *accuracy_cell(&m, 1, 0) = 40;
    *accuracy_cell(&m, 1, 1) = 70;
    s = accuracy_summarise(&m); // stopped after two of three
    assert_int_equal(s.learned, 2);
    near(s.AA, 55);
    near(s.MAA, 52.5);
    near(s.AF, 10);
    near(s.FWT, NAN); // later tasks were not measured before their training
    accuracy_free(&m);

    assert_int_equal(accuracy_new(&m, 3, names), CL_OK); // joint training: only the end
    for (int i = 0; i < 3; i++) *accuracy_cell(&m, 2, i) = 60 + 10 * i;
    s = accuracy_summarise(&m);
    near(s.AA, 70);
    near(s.MAA, NAN);
    near(s.AF, NAN);
    near(s.AF_max, NAN);
    accuracy_free(&m);
    accuracy_free(&m);
    assert_int_equal(accuracy_new(&m, 0, names), CL_EINTERNAL);
}

static void test_csv(void **state)
{
    static const char *const odd[] = {"a,b", "c\"d"};
    struct text t = {0};
    struct accuracy m;

    (void)state;
    assert_int_equal(accuracy_new(&m, 2, odd), CL_OK);
    *accuracy_cell(&m, -1, 0) = 1.0 / 3;
    *accuracy_cell(&m, 0, 0) = 75;
    *accuracy_cell(&m, 1, 1) = 100;
    accuracy_csv(&t, &m);
    assert_string_equal(t.s, "after,\"a,b\",\"c\"\"d\"\nzero_shot,0.3333333333333333,\n\"a,b\",75,\n\"c\"\"d\",,100\n");
    text_free(&t);
    accuracy_free(&m);
}

static double number(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    if (!v) fail_msg("no key %s", key);
    return json_is_null(v) ? NAN : json_number_value(v);
}

static void test_json(void **state)
{
    static const double rows[] = {80, 10, 60, 70};
    struct accuracy m = matrix(2, rows), free_form = matrix(2, rows);
    struct accuracy_run run = {"continual_llava", "a \"stream\"", NULL, 7, 1234, 1.5, &free_form, &m, &free_form};
    struct text t = {0};
    json_t *o, *inner;

    (void)state;
    *accuracy_cell(&m, 0, 1) = NAN;
    *accuracy_cell(&free_form, 1, 0) = 70;
    accuracy_json(&t, &m, &run);
    o = json_loads(t.s, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "method")), "continual_llava");
    assert_string_equal(json_string_value(json_object_get(o, "stream")), "a \"stream\"");
    assert_null(json_object_get(o, "routing"));
    near(number(o, "seed"), 7);
    near(number(o, "learned"), 2);
    near(number(o, "AA"), 65);
    near(number(o, "AF"), 20);
    near(number(o, "FWT"), NAN);
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 2);
    assert_int_equal(json_array_size(json_object_get(o, "accuracy")), 3);
    assert_true(json_is_null(json_array_get(json_array_get(json_object_get(o, "accuracy"), 1), 1)));
    inner = json_object_get(o, "format_free");
    near(number(inner, "AF"), 10);
    inner = json_array_get(json_object_get(o, "accuracy_high"), 2);
    near(json_number_value(json_array_get(inner, 0)), 70);
    assert_int_equal(json_array_size(json_object_get(o, "accuracy_low")), 3);
    json_decref(o);
    text_clear(&t);
    run.format_free = run.low = NULL;
    accuracy_json(&t, &m, &run);
    o = json_loads(t.s, 0, NULL);
    assert_non_null(o);
    assert_null(json_object_get(o, "format_free"));
    assert_null(json_object_get(o, "accuracy_high"));
    json_decref(o);
    text_free(&t);
    accuracy_free(&m);
    accuracy_free(&free_form);
}

static void test_table(void **state)
{
    static const double rows[] = {80, 10, 60, 70};
    struct accuracy m = matrix(2, rows);
    struct text t = {0};

    (void)state;
    accuracy_table(&t, &m, "sequential_lora");
    assert_string_equal(t.s, "sequential_lora\n"
                             "after \\ on       chart document     seen\n"
                             "(zero-shot)        0.0      0.0      0.0 \n"
                             "chart             80.0*    10.0     80.0 \n"
                             "document          60.0     70.0*    65.0 \n"
                             "   AA 65.00  MAA 72.50  AF 20.00  AF_max 20.00  BWT -20.00  FWT 10.00\n");
    text_clear(&t);
    free(m.tasks[0]);
    m.tasks[0] = strdup("d\xc3\xb6ner-\xe4\xb8\xad\xe6\x96\x87-very-long-name-of-a-task");
    accuracy_table(&t, &m, NULL);
    assert_non_null(strstr(t.s, "d\xc3\xb6ner-\xe4\xb8\xad\xe6\x96\x87-very-  "));
    assert_non_null(strstr(t.s, " d\xc3\xb6ner-\xe4\xb8\xad\xe6\x96\x87 "));
    text_free(&t);
    accuracy_free(&m);
}

static void test_svg(void **state)
{
    static const double rows[] = {80, 10, 60, 70};
    struct accuracy a = matrix(2, rows), b = matrix(2, rows);
    const struct accuracy *both[] = {&a, &b};
    static const char *const titles[] = {"one & <two>", "b"};
    struct text t = {0};
    int cells = 0;

    (void)state;
    *accuracy_cell(&a, 0, 1) = NAN;
    *accuracy_cell(&b, 0, 1) = 140; // whatever a metric gives
    *accuracy_cell(&b, 0, 0) = NAN; // then there is no AF
    accuracy_svg(&t, both, titles, 2);
    for (const char *p = t.s; (p = strstr(p, "<rect x=")); p++) cells++;
    assert_int_equal(cells, 2 * 3 * 2);
    assert_non_null(strstr(t.s, "one &#38; &#60;two&#62;"));
    assert_null(strstr(t.s, "nan"));
    assert_non_null(strstr(t.s, "AA 65.0, AF 20.0"));
    assert_non_null(strstr(t.s, "AA 65.0, AF -"));
    assert_int_equal(strncmp(t.s, "<svg ", 5), 0);
    assert_string_equal(t.s + t.len - 7, "</svg>\n");
    text_free(&t);
    accuracy_free(&a);
    accuracy_free(&b);
}

static void test_files(void **state)
{
    static const double rows[] = {80, 10, 60, 70};
    struct accuracy m = matrix(2, rows);
    const struct accuracy_run run = {.method = "joint"};
    char dir[] = "/tmp/cllava-accuracy-XXXXXX", path[128];

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(accuracy_save(dir, &m, &run), CL_OK);
    assert_int_equal(accuracy_save(dir, &m, &run), CL_OK); // again, over the old ones
    snprintf(path, sizeof path, "%s/accuracy.csv", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/summary.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); // nothing else was left
    assert_int_equal(accuracy_save(dir, &m, &run), CL_EIO);
    assert_non_null(strstr(err_text(), "No such file"));
    accuracy_free(&m);
}

int main(void)
{
    const struct CMUnitTest accuracy[] = {
        cmocka_unit_test(test_summary),      cmocka_unit_test(test_summary_of_four),
        cmocka_unit_test(test_not_measured), cmocka_unit_test(test_csv),
        cmocka_unit_test(test_json),         cmocka_unit_test(test_table),
        cmocka_unit_test(test_svg),          cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(accuracy, NULL, NULL);
}
