/* test_sweep_spec.c - the file of a sweep: which runs it makes, how they are named and told apart, and every kind of mistake
 * in it, refused with file, line and key before anything exists on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "jobs/sweep.h"

static char root[PATH_MAX];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void write_file(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void write_file(const char *name, const char *fmt, ...)
{
    va_list ap;
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    assert_int_equal(fclose(f), 0);
}

static int group_setup(void **state)
{
    static const char data[] = SOURCE_DIR "/golden/a/data";

    (void)state;
    strcpy(root, "/tmp/test_sweep_spec.XXXXXX");
    if (!mkdtemp(root) || chdir(root)) return -1;
    write_file("base.yaml",
               "base: %s/golden/a/base\nencoder: %s/golden/a/encoder\nstream:\n  name: golden\n  tasks:\n"
               "    - {name: colour, train: %s/task0.json, test: %s/task0.json}\n"
               "    - {name: shape, train: %s/task1.json, test: %s/task1.json}\n"
               "stage2: {epochs: 1, batch: 3}\n",
               SOURCE_DIR, SOURCE_DIR, data, data, data, data);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    return chdir("/") || nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void load(struct sweep *s, const char *text)
{
    write_file("spec.yaml", "%s", text);
    if (sweep_load(s, "spec.yaml")) fail_msg("%s", err_text());
}

#define HEAD "base: base.yaml\noutput: out\n"

/* The text is refused as a wrong configuration, with these words. */
static void bad(const char *text, const char *words)
{
    struct sweep s;
    struct stat st;

    write_file("spec.yaml", "%s", text);
    assert_int_equal(sweep_load(&s, "spec.yaml"), CL_ECONFIG);
    if (!strstr(err_text(), words)) fail_msg("no \"%s\" in \"%s\"", words, err_text());
    assert_int_equal(stat("out", &st), -1); // nothing was made
}

static void every_combination_is_a_run(void **state)
{
    struct sweep s;
    int first = 0, seen = 0;

    (void)state;
    load(&s, HEAD "set: {stage1.epochs: 2}\n"
                  "grid: {method: [replay, sequential_lora], stage2: {lr: [1e-3, 1e-2, 0.1]}}\n"
                  "list: [{pool.rank: 4}, {pool: {rank: 8, top_m: 2}}]\n"
                  "seeds: [7, 8]\norders: [[colour, shape], [shape, colour]]\njobs: 3\nranks: 2\nthreads: 5\n");
    assert_int_equal(s.runs, 2 * 3 * 2 * 2 * 2);
    assert_int_equal(s.jobs, 3);
    assert_int_equal(s.ranks, 2);
    for (int i = 0; i < s.runs; i++) {
        const struct config *c = &s.run[i].config;
        assert_int_equal(c->stage1.epochs, 2);
        assert_int_equal(c->threads, 5);
        assert_true(c->pool.rank == 4 || (c->pool.rank == 8 && c->pool.top_m == 2));
        assert_true(c->seed == 7 || c->seed == 8);
        assert_string_equal(c->stream.task[0].name, s.run[i].order == 1 ? "colour" : "shape");
        assert_string_equal(c->stream.task[1].name, s.run[i].order == 1 ? "shape" : "colour");
        assert_string_equal(c->output, s.run[i].dir);
        assert_non_null(strstr(c->stream.task[0].train, s.run[i].order == 1 ? "task0.json" : "task1.json"));
        first += s.run[i].order == 1;
        seen += !strcmp(c->method, "replay") && c->stage2.lr == 0.1 && c->pool.rank == 8 && c->seed == 8;
        for (int j = 0; j < i; j++) {
            assert_true(s.run[i].id != s.run[j].id);
            assert_string_not_equal(s.run[i].name, s.run[j].name);
        }
    }
    assert_int_equal(first, s.runs / 2);
    assert_int_equal(seen, 2); // once in each order
    sweep_free(&s);
}

/* What cannot change numbers does not change the name; what can, does. */
static void names_follow_what_decides(void **state)
{
    struct sweep a, b;

    (void)state;
    load(&a, HEAD "grid: {method: [replay]}\nseeds: [1]\n");
    assert_string_equal(a.run[0].changes, "as the base");
    assert_int_equal(strncmp(a.run[0].name, "run-", 4), 0);
    load(&b, HEAD "grid: {method: [replay]}\nseeds: [1]\nthreads: 3\njobs: 2\n");
    assert_string_equal(a.run[0].name, b.run[0].name);
    sweep_free(&b);
    load(&b, HEAD "grid: {method: [replay]}\nseeds: [1]\nset: {stage2.eps: 1e-7}\n");
    assert_true(a.run[0].id != b.run[0].id);
    sweep_free(&b);
    sweep_free(&a);
    // two bases: their paths are no part of the configuration's hash, but of what the sweep varies
    assert_int_equal(symlink(SOURCE_DIR "/golden/a/base", "other-base"), 0);
    load(&a, HEAD "grid: {base: [" SOURCE_DIR "/golden/a/base, other-base]}\n");
    assert_int_equal(a.runs, 2);
    assert_true(a.run[0].id != a.run[1].id);
    assert_non_null(strstr(a.run[1].config.base, "/other-base"));
    sweep_free(&a);
}

/* Whatever values hold, a run's folder is a plain name below the output folder. */
static void odd_values_stay_in_the_folder(void **state)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-=,";
    struct sweep s;

    (void)state;
    load(&s, HEAD
         "grid:\n  prompt.template: [\"../../{question}\", \"..\\n/{question}\", '$(rm) `x` ; {question} | é',\n"
         "    \"{question} aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]"
         "\n");
    assert_int_equal(s.runs, 4);
    for (int i = 0; i < s.runs; i++) {
        char want[2 * PATH_MAX];
        assert_int_equal(strspn(s.run[i].name, plain), strlen(s.run[i].name));
        assert_true(s.run[i].name[0] != '.');
        assert_true(strlen(s.run[i].name) < 128);
        snprintf(want, sizeof want, "%s/runs/%s", s.output, s.run[i].name);
        assert_string_equal(s.run[i].dir, want);
    }
    assert_string_equal(s.run[0].config.prompt.template_, "../../{question}");
    assert_string_equal(s.run[1].config.prompt.template_, "..\n/{question}");
    sweep_free(&s);
}

static void quoted_and_null_values_keep_their_kind(void **state)
{
    struct sweep s;

    (void)state;
    load(&s, HEAD "grid: {image.aspect: [null, pad]}\n");
    assert_null(s.run[0].config.image.aspect);
    assert_string_equal(s.run[1].config.image.aspect, "pad");
    sweep_free(&s);
    bad(HEAD "grid: {pool.rank: [4, \"8\"]}\n", "spec.yaml:3: pool.rank: wrong type (got the text '8'");
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "spec.yaml: empty (expected `base: CONFIG`"},
        {"[1]\n", "spec.yaml:1: wrong type (got a list, expected `key: value` lines)"},
        {"output: out\n", "spec.yaml: base: missing"},
        {"base: base.yaml\n", "spec.yaml: output: missing"},
        {HEAD "base: x\n", "spec.yaml:3: base: key stands twice"},
        {HEAD "gird: {seed: [1]}\n", "spec.yaml:3: gird: unknown key (valid keys: base, output, set"},
        {HEAD "gird: {seed: [1]}\n", "did you mean grid?"},
        {HEAD "method: replay\n", "keys of the configuration stand below set, grid or list"},
        {HEAD "grid: [1]\n", "spec.yaml:3: wrong type (got a list, expected keys and values)"},
        {HEAD "grid: {seed: 1}\n", "spec.yaml:3: seed: wrong type (got a single value, expected a list of values)"},
        {HEAD "grid: {seed: []}\n", "spec.yaml:3: seed: an empty list"},
        {HEAD "grid: {seed: [[1]]}\n", "spec.yaml:3: seed: wrong type (got a list, expected a single value)"},
        {HEAD "grid:\n  stage2.lr: [1e-3,\n    2e3]\n", "spec.yaml:5: stage2.lr: out of range (got 2e3, expected"},
        {HEAD "grid:\n  stage2.lr: [fast]\n", "spec.yaml:4: stage2.lr: wrong type (got fast, expected a number"},
        {HEAD "grid: {stage2.rl: [1]}\n", "spec.yaml:3: stage2.rl: unknown key (valid keys of stage2:"},
        {HEAD "grid:\n  method: [replay,\n    repaly]\n",
         "spec.yaml:5: method: unknown value (got repaly, expected one of"},
        {HEAD "list: {method: replay}\n", "spec.yaml:3: list: wrong type (got a mapping, expected a list of"},
        {HEAD "list: [replay]\n", "spec.yaml:3: wrong type (got a single value, expected keys and values)"},
        {HEAD "list: [{seed: 1, seed: 2}]\n", "seed: given twice (first in line 3)"},
        {HEAD "grid: {seed: [1]}\nseeds: [2]\n", "spec.yaml:4: seed: given twice for one run (also in line 3)"},
        {HEAD "seeds: [1, x]\n", "spec.yaml:3: seed: wrong type (got x, expected a whole number"},
        {HEAD "seeds: [1, -1]\n", "spec.yaml:3: seed: out of range (got -1"},
        {HEAD "seeds: [1, 1]\n", "two runs are the same (seed 1; seed 1)"},
        {HEAD "set: {output: x}\n", "spec.yaml:3: output: each run has a folder of its own"},
        {HEAD "orders: [[colour]]\n",
         "spec.yaml:3: orders: not all tasks (got 1 names, expected each of the stream's 2"},
        {HEAD "orders: [[colour, colour]]\n", "spec.yaml:3: orders: no such task, or twice (got colour"},
        {HEAD "orders: [[colour, size]]\n", "spec.yaml:3: orders: no such task, or twice (got size"},
        {HEAD "orders: [colour]\n",
         "spec.yaml:3: orders: wrong type (got a single value, expected a list of task names)"},
        {HEAD "jobs: 0\n", "spec.yaml:3: jobs: no such number (got 0, expected a whole number from 1"},
        {HEAD "ranks: two\n", "spec.yaml:3: ranks: no such number (got two"},
        {HEAD "threads: {a: 1}\n", "spec.yaml:3: threads: wrong type (got a mapping"},
        {HEAD "set: {pool.init: no.h5}\n", "spec.yaml:3: pool.init: No such file"},
        {HEAD "grid: {seed: [1}\n", "spec.yaml:3:"},
        {HEAD "---\nbase: x\n", "a second document"},
        {"base: no.yaml\noutput: out\n", "no.yaml: No such file"},
        {"base: ~/x\noutput: out\n", "spec.yaml:1: base: no usable path"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bad(cases[i].text, cases[i].words);
}

static void too_many_runs_are_refused(void **state)
{
    (void)state;
    bad(HEAD "grid: {stage1.lr: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], stage2.lr: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],\n"
             "  pool.rank: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], stage1.epochs: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n"
             "seeds: [1, 2]\n",
        "too many runs (expected at most 10000)");
}

static void nothing_on_disk_is_missing(void **state)
{
    struct sweep s;

    (void)state;
    load(&s, HEAD "seeds: [0, 1]\n");
    assert_int_equal(sweep_state(&s, &s.run[0]), SWEEP_MISSING);
    sweep_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_is_a_run),
        cmocka_unit_test(names_follow_what_decides),
        cmocka_unit_test(odd_values_stay_in_the_folder),
        cmocka_unit_test(quoted_and_null_values_keep_their_kind),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(too_many_runs_are_refused),
        cmocka_unit_test(nothing_on_disk_is_missing),
    };

    return cmocka_run_group_tests_name("sweep_spec", tests, group_setup, group_teardown);
}
