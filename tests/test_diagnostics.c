/* test_diagnostics.c - usage, entropy, routing and overlap from predictions that are written here by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "jobs/diagnostics.h"

enum { T = 3, N = 4 };

static struct learned_task task[T] = {{.name = "a", .done = 3}, {.name = "b", .done = 3}, {.name = "c", .done = 0}};
static struct learned_slot slot[N] = {{.task = 0}, {.task = 0}, {.task = 1}, {.task = 1}};
static char folder[] = "/tmp/cllava-test-XXXXXX";

static struct learned two_tasks(const char *method)
{
    return (struct learned){.method = (char *)(uintptr_t)method, .T = T, .N = N, .task = task, .slot = slot};
}

static char *path_of(char path[200], const char *name)
{
    snprintf(path, 200, "%s/predictions/%s", folder, name);
    return path;
}

static void put(const char *name, const char *lines)
{
    char path[200];
    FILE *f = fopen(path_of(path, name), "w");

    assert_non_null(f);
    fputs(lines, f);
    fclose(f);
}

static int make_folder(void **state)
{
    char path[200];

    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) ? mkdir(path_of(path, ""), 0700) : -1;
}

static int remove_folder(void **state)
{
    static const char *const name[] = {"after0-on0.jsonl", "after1-on0.jsonl", "after1-on1.jsonl", "after1-on2.jsonl"};
    char path[200];

    (void)state;
    for (int i = 0; i < 4; i++) unlink(path_of(path, name[i]));
    return rmdir(path_of(path, "")) || rmdir(folder);
}

static json_t *json_of(const struct learned *l)
{
    json_t *o = NULL;

    if (diagnostics_json(&o, l, folder)) fail_msg("%s", err_text());
    return o;
}

static double at(const json_t *a, size_t i)
{
    assert_true(json_is_number(json_array_get(a, i)));
    return json_number_value(json_array_get(a, i));
}

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-12)) fail_msg("%.15g (expected %.15g)", got, want);
}

/* Task 0: one question in its own slots, one that mostly uses task 1's. Task 1: both in slot 2. */
static void cells(void)
{
    put("after0-on0.jsonl", "{\"selected\": [0, 1], \"weights\": [0.75, 0.25]}\n");
    put("after1-on0.jsonl", "{\"selected\": [1, 0], \"weights\": [0.5, 0.5]}\n"
                            "{\"selected\": [2, 0], \"weights\": [0.75, 0.25]}\n");
    put("after1-on1.jsonl", "{\"selected\": [2], \"weights\": [1]}\n{\"selected\": [2], \"weights\": [2.0]}\n");
}

static void test_figures(void **state)
{
    struct learned l = two_tasks("continual_llava");
    double accuracy[(T + 1) * T] = {0, 0, 0, 90, 5, NAN, 60, 80, NAN, NAN, NAN, NAN};
    double loss[T * T] = {0.5, NAN, NAN, 1.25, NAN, NAN, NAN, NAN, NAN};
    json_t *o, *cell, *drift;

    (void)state;
    cells();
    l.accuracy = (struct accuracy){.T = T, .a = accuracy};
    l.loss = loss;
    o = json_of(&l);
    assert_int_equal(json_integer_value(json_object_get(o, "after")), 1);
    assert_int_equal(json_array_size(json_object_get(o, "selection")), 3);
    cell = json_array_get(json_object_get(o, "selection"), 1); // after 1 on 0
    assert_int_equal(json_integer_value(json_object_get(cell, "samples")), 2);
    static const double usage[N] = {0.375, 0.25, 0.375, 0};
    double spread = 0;
    for (size_t i = 0; i < N; i++) {
        near(at(json_object_get(cell, "usage"), i), usage[i]);
        if (usage[i] > 0) spread -= usage[i] * log(usage[i]);
    }
    near(json_real_value(json_object_get(cell, "usage_entropy")), spread);
    near(json_real_value(json_object_get(cell, "entropy")), (log(2) - 0.75 * log(0.75) - 0.25 * log(0.25)) / 2);
    static const double confusion[2][2] = {{0.5, 0.5}, {0, 1}};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++) {
            near(at(json_array_get(json_object_get(o, "confusion"), i), k), confusion[i][k]);
            near(at(json_array_get(json_object_get(o, "overlap"), i), k), i == k ? 1 : 0.375 / 1.625);
        }
    drift = json_object_get(o, "drift");
    assert_int_equal(json_array_size(drift), 2);
    near(json_real_value(json_object_get(json_array_get(drift, 0), "score_learned")), 90);
    near(json_real_value(json_object_get(json_array_get(drift, 0), "score_now")), 60);
    near(json_real_value(json_object_get(json_array_get(drift, 1), "score_now")), 80);
    near(json_real_value(json_object_get(json_array_get(drift, 0), "loss_learned")), 0.5);
    near(json_real_value(json_object_get(json_array_get(drift, 0), "loss_now")), 1.25);
    assert_true(json_is_null(json_object_get(json_array_get(drift, 1), "loss_now")));
    json_decref(o);
}

/* Slots without owner route to no task; predictions without weights count every slot alike; a task that was not asked is null. */
static void test_what_is_not_known(void **state)
{
    struct learned l = two_tasks("o_lora");
    json_t *o = json_of(&l), *first;

    (void)state;
    assert_true(json_is_null(o)); // no predictions
    json_decref(o);
    put("after1-on0.jsonl", "{\"selected\": [0, 3]}\n");
    o = json_of(&l);
    first = json_array_get(json_object_get(o, "selection"), 0);
    assert_true(json_is_null(json_object_get(o, "confusion")) && json_is_null(json_object_get(first, "routed")));
    near(at(json_object_get(first, "usage"), 3), 0.5);
    assert_true(json_is_null(json_array_get(json_array_get(json_object_get(o, "overlap"), 0), 1)));
    assert_int_equal(json_array_size(json_object_get(o, "drift")), 0); // no matrix
    json_decref(o);
    l.N = 0; // zero_shot
    o = json_of(&l);
    assert_true(json_is_null(o));
    json_decref(o);
}

static void test_broken_files(void **state)
{
    static const char *const line[] = {"{\"id\": 1}\n", "[0, 1\n"};
    struct learned l = two_tasks("continual_llava");
    json_t *o;

    (void)state;
    for (int i = 0; i < 2; i++) {
        put("after1-on2.jsonl", line[i]);
        assert_int_equal(diagnostics_json(&o, &l, folder), CL_EDATA);
        assert_non_null(strstr(err_text(), "after1-on2.jsonl: record 1"));
        assert_null(o);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_figures),
        WITH_FOLDER(test_what_is_not_known),
        WITH_FOLDER(test_broken_files),
    };
    return cmocka_run_group_tests_name("diagnostics", tests, NULL, NULL);
}
