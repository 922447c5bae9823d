/* The whole continual run against the golden sets: losses, gradient norms, keys, A, B, w, use, selections, greedy answers.
 *
 * `test_golden a DIR` checks a run that somebody else has made in DIR/run, on several ranks for example.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden_file.h"
#include "golden_run.h"
#include "io/checkpoint.h"
#include "jobs/open_checkpoint.h"
#include "jobs/task_data.h"
#include "jobs/train.h"

#include <jansson.h>
#include <math.h>

/* How far from the golden numbers, relative: bf16 keeps 8 bits of a product's factors, f32 rounds alone. */
struct limits {
    const char *precision;
    double loss, norm, nll, coef;
};

static const struct limits f32 = {"precision=f32", 1e-4, 1e-3, 1e-4, 1e-4};
static const struct limits bf16 = {"precision=bf16", 0.02, 0.03, 0.02, 0.01};

/* Losses and norms in the order of the log against train/<t>/stage<k>_loss_norm. */
static void log_agrees(const char *dir, hid_t g, const struct limits *lim)
{
    char path[128], *line = NULL;
    size_t room = 0, seen[3][2] = {{0}};
    snprintf(path, sizeof path, "%s/run/log.jsonl", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (getline(&line, &room, f) > 0) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        const char *event = json_string_value(json_object_get(o, "event"));
        int stage = !strcmp(event, "stage1")   ? 1
                    : !strcmp(event, "stage2") ? 2
                                               : 0,
            t = (int)json_integer_value(json_object_get(o, "task"));
        if (stage) {
            size_t n, i = seen[stage][t]++;
            double *want = golden_read_f64(g, &n, "train/%d/stage%d_loss_norm", t, stage);
            double loss = json_number_value(json_object_get(o, "loss")),
                   norm = json_number_value(json_object_get(o, "grad_norm"));
            assert_true(2 * i + 1 < n);
            if (fabs(loss - want[2 * i]) > lim->loss * fabs(want[2 * i]))
                fail_msg("task %d stage %d step %zu: loss %.8g, expected %.8g", t, stage, i, loss, want[2 * i]);
            if (fabs(norm - want[2 * i + 1]) > lim->norm * fabs(want[2 * i + 1]))
                fail_msg("task %d stage %d step %zu: norm %.8g, expected %.8g", t, stage, i, norm, want[2 * i + 1]);
            free(want);
        }
        json_decref(o);
    }
    assert_int_equal(seen[1][0], 6);
    assert_int_equal(seen[2][1], 3);
    free(line);
    fclose(f);
}

static void arrays_agree(const char *dir, hid_t g, int own, double tolerance)
{
    char path[160];
    struct ckpt *c;
    snprintf(path, sizeof path, "%s/run/checkpoint-task1-shape.h5", dir);
    OK(ckpt_open(&c, path));
    for (int t = 0; t < 2; t++) {
        static const char *const names[] = {"keys", "A", "B"};
        for (int k = 0; k < 3; k++) {
            size_t n;
            int dims;
            int64_t shape[CKPT_MAX_DIMS];
            char name[32];
            float *want = golden_read_f32(g, &n, "train/%d/%s", t, names[k]);
            float *got = malloc(n * sizeof *got);
            snprintf(name, sizeof name, "/pool/%s", names[k]);
            OK(ckpt_shape(c, name, &dims, shape));
            assert_int_equal(shape[0], 2 * own);
            OK(ckpt_read_rows(c, name, CKPT_F32, dims, shape, t * own, own, got));
            if (golden_distance(got, want, n) > tolerance)
                fail_msg("%s of task %d is off by %g", names[k], t, golden_distance(got, want, n));
            free(want), free(got);
        }
        size_t n;
        double w[4], use[16];
        int64_t shape[2] = {2, 2}, slots = 2 * own;
        double *want = golden_read_f64(g, &n, "train/%d/w", t);
        OK(ckpt_read(c, "/context/w", CKPT_F64, 2, shape, w));
        for (int l = 0; l < t; l++)
            if (fabs(w[2 * t + l] - want[l]) > 1e-4)
                fail_msg("w[%d,%d] = %g, expected %g", t, l, w[2 * t + l], want[l]);
        free(want);
        want = golden_read_f64(g, &n, "train/%d/use", t);
        OK(ckpt_read(c, "/pool/use", CKPT_F64, 1, &slots, use));
        for (int i = t * own; i < (t + 1) * own; i++) assert_true(fabs(use[i] - want[i]) < 1e-5);
        free(want);
    }
    ckpt_close(c);
}

/* final/<t>/<i>: routing without a task id and likelihoods. */
static void final_agrees(const char *dir, hid_t g, const struct limits *lim)
{
    char path[160];
    struct job j = {0};
    struct adapters set;
    struct routing one;
    struct packed_batch b = {0};
    float nll[128];
    snprintf(path, sizeof path, "%s/run/checkpoint-task1-shape.h5", dir);
    OK(job_open_checkpoint(&j, path, NULL, NULL));
    OK(job_inference_set(&j, &set, &one));
    OK(lvlm_reserve(
        j.lvlm, &(struct lvlm_limits){.samples = 1, .tokens = 400, .rows = 64, .slots = set.slots, .rank = set.rank}));
    OK(batch_new(&b, 1, 400));
    for (int t = 0; t < 2; t++) {
        struct task_data d;
        OK(task_data_open(&d, &j, t, false));
        for (int64_t i = 0; i < d.n; i++) {
            struct record r;
            struct sample s = {0};
            char *question, *picture;
            size_t n;
            double sum = 0;
            OK(dataset_get(d.ds, i, &r));
            OK(dataset_first_question(&r, &question));
            OK(job_route(&j, question, NULL, &one));
            free(question), record_free(&r);
            int32_t *selected = golden_read_i32(g, &n, "final/%d/%d/selected", t, (int)i);
            assert_int_equal(n, one.M);
            for (int m = 0; m < one.M; m++) assert_int_equal(one.selected[m], selected[m]);
            free(selected);
            float *intrinsic = golden_read_f32(g, &n, "final/%d/%d/intrinsic", t, (int)i);
            float *context = golden_read_f32(g, &n, "final/%d/%d/context", t, (int)i);
            for (size_t k = 0; k < n; k++) {
                assert_true(fabs(one.intrinsic[k] - (double)intrinsic[k]) < lim->coef);
                assert_true(fabs(one.context[k] - (double)context[k]) < lim->coef);
            }
            free(intrinsic), free(context);
            batch_clear(&b);
            OK(task_data_sample(&d, &j, i, false, &s, &picture));
            OK(batch_add(&b, &s, 0));
            if (picture) OK(features_get(j.features, (const char *const *)&picture, 1, b.feature));
            free(picture), sample_free(&s);
            set.coef = one.coef;
            OK(lvlm_forward(j.lvlm, &b, &set, nll, 0));
            for (int64_t k = 0; k < b.rows; k++) sum += (double)nll[k];
            double *want = golden_read_f64(g, &n, "final/%d/%d/answer_nll", t, (int)i);
            if (fabs(sum - *want) > lim->nll * fabs(*want))
                fail_msg("final nll of %d/%d: %g, expected %g", t, (int)i, sum, *want);
            free(want);
        }
        task_data_close(&d);
    }
    routing_free(&one);
    batch_free(&b);
    job_close(&j);
}

/* Greedy answers of the last row of the matrix, as the predictions files hold them. */
static void answers_agree(const char *dir, hid_t g)
{
    for (int t = 0; t < 2; t++) {
        char path[160], *line = NULL;
        size_t room = 0;
        int i = 0;
        snprintf(path, sizeof path, "%s/run/predictions/after1-on%d.jsonl", dir, t);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        for (; getline(&line, &room, f) > 0; i++) {
            size_t n;
            json_t *o = json_loads(line, 0, NULL), *tokens = json_object_get(o, "tokens"),
                   *selected = json_object_get(o, "selected");
            int32_t *want = golden_read_i32(g, &n, "final/%d/%d/generated", t, i);
            assert_int_equal(json_array_size(tokens), n);
            for (size_t k = 0; k < n; k++) assert_int_equal(json_integer_value(json_array_get(tokens, k)), want[k]);
            free(want);
            want = golden_read_i32(g, &n, "final/%d/%d/selected", t, i);
            assert_int_equal(json_array_size(selected), n);
            for (size_t k = 0; k < n; k++) assert_int_equal(json_integer_value(json_array_get(selected, k)), want[k]);
            free(want);
            json_decref(o);
        }
        assert_int_equal(i, 9);
        free(line);
        fclose(f);
    }
}

static void run_agrees(const char *dir, const char *set)
{
    hid_t g = golden_open(set);
    log_agrees(dir, g, &f32);
    arrays_agree(dir, g, strcmp(set, "a") ? 4 : 3, 1e-3);
    answers_agree(dir, g);
    final_agrees(dir, g, &f32);
    golden_close(g);
}

static void whole_run(const char *set)
{
    char dir[64];
    struct config cfg;
    golden_config(&cfg, golden_temporary(dir), set, "", NULL, 0);
    OK(train_run(&cfg, &(struct train_options){.stop_after_task = -1, .max_steps = -1, .quiet = true}, NULL));
    run_agrees(dir, set);
    golden_remove(dir);
}

static const char *given_set, *given_dir; // of the command line

static void given_run(void **state)
{
    (void)state;
    run_agrees(given_dir, given_set);
}

static void run_a(void **state)
{
    (void)state;
    whole_run("a");
}

static void run_b(void **state)
{
    (void)state;
    whole_run("b");
}

/* The same runs in bf16: likelihoods and losses near, the same slots; answers, which hang on ties, are only there. */
static void whole_run_bf16(const char *set)
{
    char dir[64];
    struct config cfg;
    hid_t g = golden_open(set);
    golden_config(&cfg, golden_temporary(dir), set, "", (const char *[]){bf16.precision}, 1);
    int rc = train_run(&cfg, &(struct train_options){.stop_after_task = -1, .max_steps = -1, .quiet = true}, NULL);
    if (rc == CL_EDEVICE) {
        print_message("skipped: %s\n", err_text());
        golden_close(g);
        golden_remove(dir);
        skip();
    }
    OK(rc);
    log_agrees(dir, g, &bf16);
    final_agrees(dir, g, &bf16);
    golden_close(g);
    golden_remove(dir);
}

static void run_a_bf16(void **state)
{
    (void)state;
    whole_run_bf16("a");
}

static void run_b_bf16(void **state)
{
    (void)state;
    whole_run_bf16("b");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest given[] = {cmocka_unit_test(given_run)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(run_a), cmocka_unit_test(run_b), cmocka_unit_test(run_a_bf16),
                                       cmocka_unit_test(run_b_bf16)};

    if (argc != 3) return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
    given_set = argv[1], given_dir = argv[2];
    return cmocka_run_group_tests_name("golden", given, NULL, NULL);
}
