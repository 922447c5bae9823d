/* Continuous batching: the answers do not depend on how many are made at once, nor on the order in which they end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden_file.h"
#include "golden_run.h"
#include "jobs/generator.h"
#include "jobs/task_data.h"

enum { PROMPTS = 9, LONGEST = 12 };

struct asked {
    struct job *j;
    struct task_data *d;
    int32_t id[PROMPTS][LONGEST];
    int n[PROMPTS], streamed[PROMPTS], ended;
    int64_t fail_at; // the source fails here, -1: never
};

static int source(void *context, int64_t i, struct prompt_item *item)
{
    struct asked *a = context;
    if (i == a->fail_at) return err_set(CL_EDATA, "no such question");
    return task_data_sample(a->d, a->j, i, true, &item->sample, &item->picture);
}

static int token(void *context, int64_t i, int32_t id)
{
    struct asked *a = context;
    a->id[i][a->streamed[i]++] = id;
    return 0;
}

static int sink(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    struct asked *a = context;
    assert_true(prompt_n > 0 && n > 0 && n <= LONGEST);
    assert_int_equal(n, a->streamed[i]);
    assert_memory_equal(id, a->id[i], (size_t)n * sizeof *id);
    assert_int_equal(a->n[i], 0); // each ends once
    a->n[i] = n;
    a->ended++;
    return 0;
}

static void ask(struct asked *a, struct job *j, struct task_data *d, int batch)
{
    struct generator *g;
    *a = (struct asked){.j = j, .d = d, .fail_at = -1};
    OK(generator_new(&g, j,
                     &(struct generator_limits){.batch = batch, .prompt_n = d->longest, .max_new_tokens = LONGEST}));
    OK(generator_run(g, PROMPTS, NULL, &(struct generator_ends){a, source, token, sink, NULL}));
    OK(generator_run(g, 0, NULL, &(struct generator_ends){a, source, token, sink, NULL})); // nothing to ask is no fault
    generator_free(g);
    assert_int_equal(a->ended, PROMPTS);
}

static void batch_does_not_matter(void **state)
{
    char dir[64];
    struct job j = {0};
    struct task_data d;
    struct asked *one = calloc(1, sizeof *one), *many = calloc(1, sizeof *many);
    (void)state;
    golden_config(&j.cfg, golden_temporary(dir), "b", "", NULL, 0);
    OK(job_open(&j, JOB_MODEL));
    OK(task_data_open(&d, &j, 0, true));
    ask(one, &j, &d, 1);
    for (int batch = 2; batch <= 12; batch += 5) {
        ask(many, &j, &d, batch);
        for (int i = 0; i < PROMPTS; i++) {
            assert_int_equal(many->n[i], one->n[i]);
            assert_memory_equal(many->id[i], one->id[i], (size_t)one->n[i] * sizeof(int32_t));
        }
    }
    task_data_close(&d);
    job_close(&j);
    free(one), free(many);
    golden_remove(dir);
}

/* A source that fails ends the run with its text; nothing leaks (the sanitizer build looks). */
static void source_fails(void **state)
{
    char dir[64];
    struct job j = {0};
    struct task_data d;
    struct generator *g;
    struct asked *a = calloc(1, sizeof *a);
    (void)state;
    golden_config(&j.cfg, golden_temporary(dir), "b", "", NULL, 0);
    OK(job_open(&j, JOB_MODEL));
    OK(task_data_open(&d, &j, 0, true));
    *a = (struct asked){.j = &j, .d = &d, .fail_at = 4};
    OK(generator_new(&g, &j, &(struct generator_limits){.batch = 8, .prompt_n = d.longest, .max_new_tokens = LONGEST}));
    assert_int_equal(generator_run(g, PROMPTS, NULL, &(struct generator_ends){a, source, token, sink, NULL}), CL_EDATA);
    assert_string_equal(err_text(), "no such question");
    generator_free(g);
    task_data_close(&d);
    job_close(&j);
    free(a);
    golden_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(batch_does_not_matter), cmocka_unit_test(source_fails)};
    return cmocka_run_group_tests_name("generator", tests, NULL, NULL);
}
