/* The machine file: reading, writing, what is assumed without it; the line through measured collectives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jobs/machine.h"
#include "outcome.h"

static char path[64];

static void write_file(const char *text)
{
    FILE *f;

    strcpy(path, "/tmp/cllava-machine-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_non_null(f = fdopen(fd, "w"));
    fputs(text, f);
    fclose(f);
}

static void near(double got, double expected)
{
    if (fabs(got - expected) > 1e-6 * fabs(expected)) fail_msg("%g, expected %g", got, expected);
}

/* What a file says goes before what is assumed, and the rest is still called assumed. */
static void reading(void **state)
{
    struct machine m;

    (void)state;
    write_file(
        "{\"machine\": \"box\", \"cores\": 8, \"memory_gib\": 32, \"read_gbs\": 40, \"ranks_per_node\": 4,\n"
        " \"rates\": {\"f32\": {\"product_gflops\": [[512, 100], [2048, 300]], \"attention_gflops\": 50, "
        "\"loop_gbs\": 20}},\n"
        " \"collectives\": [{\"ranks\": 4, \"sum\": {\"latency_us\": 3, \"gbs\": 2}, \"gather\": {\"latency_us\": 4, "
        "\"gbs\": 1}, \"broadcast\": {\"latency_us\": 5, \"gbs\": 6}}]}");
    OK(machine_read(&m, path, 0));
    assert_string_equal(m.name, "box");
    assert_false(m.assumed);
    assert_int_equal(m.cores, 8);
    assert_int_equal(m.ranks_per_node, 4);
    near(m.memory, 32.0 * (1 << 30));
    near(m.read, 40e9);
    assert_false(m.rate[0].assumed);
    assert_true(m.rate[1].assumed);
    near(m.rate[0].attention, 50e9);
    assert_false(m.links_assumed[0]);
    assert_true(m.links_assumed[1]);
    near(machine_collective(&m, LINK_SUM, 4, false, 10, 2e9), 10 * 3e-6 + 1);
    near(machine_collective(&m, LINK_BROADCAST, 4, false, 1, 6e9), 5e-6 + 1);
    OK(machine_read(&m, path, 2)); // the command line goes before the file
    assert_int_equal(m.ranks_per_node, 2);
    unlink(path);
}

static void refused(const char *text, const char *words)
{
    struct machine m;

    write_file(text);
    assert_int_not_equal(machine_read(&m, path, 0), CL_OK);
    if (!strstr(err_text(), words)) fail_msg("no '%s' in: %s", words, err_text());
    unlink(path);
}

static void broken_files(void **state)
{
    struct machine m;

    (void)state;
    assert_int_equal(machine_read(&m, "/nowhere/machine.json", 0), CL_EIO);
    refused("[1]", "object");
    refused("{\"cores\": 0}", "cores");
    refused("{\"memory_gib\": \"much\"}", "memory_gib");
    refused("{\"rates\": {\"f32\": {\"product_gflops\": []}}}", "product_gflops");
    refused("{\"rates\": {\"f32\": {\"product_gflops\": [[512, 1], [256, 2]]}}}", "ascending");
    refused("{\"rates\": {\"bf16\": {\"product_gflops\": [[512, -1]]}}}", "product_gflops");
    refused("{\"collectives\": [{\"ranks\": 1}]}", "ranks");
    refused("{\"collectives\": [{\"ranks\": 2}]}", "sum");
}

/* A file that is written reads back, and lacks what was assumed. */
static void round_trip(void **state)
{
    struct machine m, n;
    struct machine_link l = {true, 8, {1e-6, 2e-6, 3e-6}, {1e9, 2e9, 3e9}};
    struct text t = {0};

    (void)state;
    machine_assumed(&m);
    machine_json(&t, &m);
    assert_null(strstr(t.s, "\"cores\""));
    assert_null(strstr(t.s, "product_gflops"));
    assert_non_null(strstr(t.s, "\"collectives\": []"));
    text_free(&t);
    machine_add_link(&m, &l);
    l.ranks = 16, l.latency[LINK_SUM] = 5e-6;
    machine_add_link(&m, &l);
    machine_add_link(&m, &l); // in the place of its like
    m.assumed = m.rate[1].assumed = false;
    write_file("");
    OK(machine_write(&m, path));
    OK(machine_read(&n, path, 0));
    assert_string_equal(n.name, m.name);
    assert_int_equal(n.cores, m.cores);
    near(n.memory, m.memory);
    assert_int_equal(n.rate[1].widths, m.rate[1].widths);
    near(machine_product(&n.rate[1], 700), machine_product(&m.rate[1], 700));
    assert_true(n.rate[0].assumed);
    assert_true(n.links_assumed[0]);
    assert_false(n.links_assumed[1]);
    assert_int_equal(n.links, 3);
    unlink(path);
}

/* Widths between two that were measured, below and above all. */
static void products(void **state)
{
    const struct machine_rates r = {.widths = 2, .width = {512, 2048}, .product = {100, 300}};

    (void)state;
    near(machine_product(&r, 512), 100);
    near(machine_product(&r, 1024), 200);
    near(machine_product(&r, 2048), 300);
    near(machine_product(&r, 9999), 300);
    near(machine_product(&r, 128), 25);
}

/* Latency between two numbers of ranks that were measured, and beyond. */
static void latencies(void **state)
{
    struct machine m = {.links_assumed = {false, false}};
    const struct machine_link a = {false, 2, {1e-6}, {1e9}}, b = {false, 4, {3e-6}, {2e9}};

    (void)state;
    machine_add_link(&m, &a);
    machine_add_link(&m, &b);
    near(machine_collective(&m, LINK_SUM, 1, false, 5, 5), 0);
    near(machine_collective(&m, LINK_SUM, 2, false, 1, 0), 1e-6);
    near(machine_collective(&m, LINK_SUM, 3, false, 1, 0), 2e-6);
    near(machine_collective(&m, LINK_SUM, 3, false, 0, 3e9), 2);
    near(machine_collective(&m, LINK_SUM, 4, false, 1, 0), 3e-6);
    near(machine_collective(&m, LINK_SUM, 7, false, 1, 0), 6e-6); // six others instead of three
}

static void line(void **state)
{
    const double x[] = {4e3, 16e3, 64e3, 1e6, 64e6};
    double y[5], alpha, beta;

    (void)state;
    for (int i = 0; i < 5; i++) y[i] = 5e-6 + x[i] / 2e9;
    machine_fit(&alpha, &beta, x, y, 5);
    near(alpha, 5e-6);
    near(beta, 1 / 2e9);
    for (int i = 0; i < 5; i++) y[i] = x[i] / 1e9 - (i ? 0 : 1e-6); // no latency below 0
    machine_fit(&alpha, &beta, x, y, 5);
    assert_true(alpha >= 0 && beta > 0);
    for (int i = 0; i < 5; i++) y[i] = 1e-3;
    machine_fit(&alpha, &beta, x, y, 5);
    near(alpha, 1e-3);
    assert_true(beta < 1e-15);
}

/* 64 GiB for 4 ranks are less for each than 40 GiB for 2; what one rank of a host sees less of counts. */
static void tightest(void **state)
{
    const char *const host[] = {"big", "small", "big", "small", "big", "big"};
    const double even[] = {64, 40, 64, 40, 64, 64}, odd[] = {64, 40, 64, 30, 64, 64};
    struct machine m;

    (void)state;
    machine_assumed(&m);
    machine_tightest(&m, 6, host, even);
    assert_int_equal(m.ranks_per_node, 4);
    assert_true(m.memory == 64);
    machine_tightest(&m, 6, host, odd);
    assert_int_equal(m.ranks_per_node, 2);
    assert_true(m.memory == 30);
    machine_tightest(&m, 1, host, even);
    assert_int_equal(m.ranks_per_node, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),  cmocka_unit_test(broken_files), cmocka_unit_test(round_trip),
        cmocka_unit_test(products), cmocka_unit_test(latencies),    cmocka_unit_test(line),
        cmocka_unit_test(tightest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
