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

/* ---- fronts that prompts share */

enum { KINDS = 3, SLOTS = 2, RANK = 2, ASKED = 3 * PROMPTS }; // of each record three prompts, which part near their end

struct alike {
    struct job *j;
    struct task_data *d;
    const struct adapters *set;
    int32_t id[ASKED][LONGEST];
    int n[ASKED];
    int64_t prompts; // tokens
};

static int alike_source(void *context, int64_t i, struct prompt_item *item)
{
    int rc;
    struct alike *a = context;
    struct sample *s = &item->sample;

    TRY(task_data_sample(a->d, a->j, i / KINDS, true, s, &item->picture));
    if (i % KINDS == 1) s->id[s->prompt_n - 3] = s->id[1];
    if (i % KINDS == 2) s->prompt_n--; // it ends within the first
    a->prompts += s->prompt_n;
    for (int k = 0; a->set && k < SLOTS; k++) item->coef[k] = (i / 2 + k) % 2 ? 1.5f : 0;
done:
    return rc;
}

static int alike_sink(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    struct alike *a = context;

    assert_true(prompt_n > 0);
    memcpy(a->id[i], id, (size_t)n * sizeof *id);
    a->n[i] = n;
    return 0;
}

/* Asks twice with one generator; returns the tokens of prompts that ran. */
static int64_t ask_alike(struct alike *a, int batch, bool share)
{
    struct generator *g;
    int64_t ran;

    OK(generator_new(&g, a->j,
                     &(struct generator_limits){.batch = batch,
                                                .prompt_n = a->d->longest,
                                                .max_new_tokens = LONGEST,
                                                .slots = a->set ? SLOTS : 0,
                                                .rank = RANK,
                                                .share = share}));
    for (int i = 0; i < 2; i++)
        OK(generator_run(g, ASKED, a->set, &(struct generator_ends){a, alike_source, NULL, alike_sink, NULL}));
    ran = generator_prefilled(g);
    generator_free(g);
    return ran;
}

static void check_alike(struct job *j, struct task_data *d, const struct adapters *set)
{
    struct alike *alone = calloc(1, sizeof *alone), *shared = calloc(1, sizeof *shared);
    int64_t least = INT64_MAX, ran;

    *alone = *shared = (struct alike){.j = j, .d = d, .set = set};
    ran = ask_alike(alone, 5, false);
    assert_int_equal(ran, alone->prompts);
    for (int batch = 1; batch <= 16; batch += 5) {
        shared->prompts = 0;
        ran = ask_alike(shared, batch, true);
        assert_int_equal(shared->prompts, alone->prompts);
        if (ran < least) least = ran;
        for (int i = 0; i < ASKED; i++) {
            assert_int_equal(shared->n[i], alone->n[i]);
            assert_memory_equal(shared->id[i], alone->id[i], (size_t)alone->n[i] * sizeof(int32_t));
        }
        if (set) continue;
        assert_true(ran < alone->prompts * 3 / 5); // of three prompts one runs, and the ends of two
    }
    assert_true(least < alone->prompts * (set ? 9 : 5) / 10);
    free(alone), free(shared);
}

static void fronts_are_shared(void **state)
{
    char dir[64];
    struct job j = {0};
    struct task_data d;
    struct adapter_slot slot[SLOTS];
    float *numbers;
    (void)state;
    golden_config(&j.cfg, golden_temporary(dir), "b", "", NULL, 0);
    OK(job_open(&j, JOB_MODEL));
    OK(task_data_open(&d, &j, 0, true));
    check_alike(&j, &d, NULL);
    const struct text_config *t = &lvlm_get_config(j.lvlm)->text;
    const size_t nA = (size_t)(t->layers * RANK * t->heads * t->head_dim), nB = (size_t)(t->layers * t->hidden * RANK);
    numbers = calloc(SLOTS * (nA + nB), sizeof *numbers);
    for (size_t i = 0; i < SLOTS * (nA + nB); i++) numbers[i] = (float)(i * 7919 % 1021) / 1021 - 0.5f;
    for (int k = 0; k < SLOTS; k++) {
        const float *A = numbers + (size_t)k * (nA + nB);
        slot[k] = (struct adapter_slot){A, A + nA, (uint64_t)k + 1};
    }
    check_alike(&j, &d, &(struct adapters){.slots = SLOTS, .rank = RANK, .slot = slot});
    task_data_close(&d);
    job_close(&j);
    free(numbers);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(batch_does_not_matter), cmocka_unit_test(fronts_are_shared),
                                       cmocka_unit_test(source_fails)};
    return cmocka_run_group_tests_name("generator", tests, NULL, NULL);
}
