/* test_l2p.c - prompts chosen by their keys: which they are, how keys are drawn to questions (against differences), what earlier
 * tasks chose, checkpoints, what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { PROMPTS = 5, LENGTH = 3, TOP = 2, K = 8, D = 5, N = 4 }; // D, K: of fixture_shape; N questions

static struct config config_of(void)
{
    struct config cfg = fixture_config();

    cfg.l2p.prompts = PROMPTS;
    cfg.l2p.length = LENGTH;
    cfg.l2p.top_m = TOP;
    cfg.l2p.lambda = 0.7;
    cfg.l2p.key_lr = 2e-3;
    cfg.stage2.lr = 1e-3;
    cfg.stage2.clip = 0;
    cfg.stage2.weight_decay = 0;
    return cfg;
}

static struct method *begun(const struct config *cfg)
{
    struct method *m = fixture_open("l2p", cfg, &fixture_shape);

    OK(m->ops->begin_task(m, 0, 10));
    return m;
}

/* An array of a method's checkpoint. */
static double *array_of(struct method *m, const char *dir, const char *name, bool resume, size_t want)
{
    size_t n;
    char *path = fixture_save(m, dir, "array.h5", resume);
    hid_t f = golden_open_file(path);
    double *x = golden_read_f64(f, &n, "%s", name);

    assert_int_equal(n, want);
    golden_close(f);
    free(path);
    return x;
}

static double cosine(const double *key, const float *s)
{
    double dot = 0, a = 0, b = 0;

    for (int k = 0; k < K; k++) dot += key[k] * (double)s[k], a += key[k] * key[k], b += (double)s[k] * (double)s[k];
    return dot / sqrt(a * b);
}

/* The nearest keys, and a coefficient of 1 for each. */
static void test_choice(void **state)
{
    const struct config cfg = config_of();
    struct method *m = begun(&cfg);
    float **s = fixture_embeddings(N, K, 0);
    double *keys = array_of(m, *state, "/l2p/keys", false, PROMPTS * K);
    struct adapters set;
    struct routing r;

    OK(routing_new(&r, N, PROMPTS, TOP));
    for (enum route_mode mode = ROUTE_TRAIN; mode <= ROUTE_MEAN_KEY; mode++) {
        if (mode == ROUTE_RANDOM) continue;
        OK(m->ops->adapters(m, mode, 0, &set));
        assert_true(set.slots == PROMPTS && set.learned == (mode == ROUTE_TRAIN ? PROMPTS : 0));
        assert_true(set.rank == prompt_set(LENGTH) && prompt_rows(set.rank) == LENGTH);
        OK(m->ops->route(m, mode, 0, FIXTURE_ROWS(s), NULL, N, &r));
        for (int i = 0; i < N; i++)
            for (int n = 0; n < PROMPTS; n++) {
                int nearer = 0;
                for (int o = 0; o < PROMPTS; o++) nearer += cosine(keys + o * K, s[i]) > cosine(keys + n * K, s[i]);
                const bool chosen = nearer < TOP;
                assert_true(r.coef[i * PROMPTS + n] == (float)chosen && r.intrinsic[i * PROMPTS + n] == chosen);
                if (chosen) assert_int_equal(r.selected[i * TOP + nearer], n);
            }
    }
    for (int n = 0; n < PROMPTS; n++) assert_true(fabs(cosine(keys + n * K, s[0])) < 1);
    free(keys);
    routing_free(&r);
    fixture_embeddings_free(s);
    m->ops->close(m);
}

/* Before the first task there are no prompts: the base alone. By chance: as many of them, and each at times. */
static void test_none_and_chance(void **state)
{
    const struct config cfg = config_of();
    struct method *m = fixture_open("l2p", &cfg, &fixture_shape);
    float **s = fixture_embeddings(N, K, 0);
    const float *row[60];
    uint64_t sample[60];
    struct adapters set;
    struct routing r;
    int count[PROMPTS] = {0};

    (void)state;
    OK(routing_new(&r, 60, PROMPTS, TOP));
    OK(m->ops->adapters(m, ROUTE_FREE, -1, &set));
    OK(m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), NULL, N, &r));
    assert_true(set.slots == 0 && r.slots == 0 && r.selected[0] == -1 && r.selected[TOP - 1] == -1);
    OK(m->ops->begin_task(m, 0, 10));
    for (int i = 0; i < 60; i++) row[i] = s[0], sample[i] = (uint64_t)i;
    OK(m->ops->route(m, ROUTE_RANDOM, 0, row, sample, 60, &r));
    for (int i = 0; i < 60; i++) {
        int of = 0;
        for (int n = 0; n < PROMPTS; n++) of += r.coef[i * PROMPTS + n] == 1, count[n] += r.coef[i * PROMPTS + n] == 1;
        assert_int_equal(of, TOP);
    }
    for (int n = 0; n < PROMPTS; n++) assert_true(count[n] > 8);
    routing_free(&r);
    fixture_embeddings_free(s);
    m->ops->close(m);
}

/* lambda times the mean over questions of the sum of 1 - cosine, over prompts that a question chose. */
static double pull(const double *keys, float **s, const struct routing *r, double lambda)
{
    double sum = 0;

    for (int i = 0; i < N; i++)
        for (int k = 0; k < TOP; k++) sum += 1 - cosine(keys + r->selected[i * TOP + k] * K, s[i]);
    return lambda * sum / N;
}

/* The penalty, and its gradient: in a first step the first moment of the keys is 0.1 times it. Keys step at a rate of their own,
 * and are not clamped. */
static void test_keys_are_drawn(void **state)
{
    struct config cfg = config_of();

    for (int own = 0; own < 2; own++) { // key_lr 0: the prompts' rate
        cfg.l2p.key_lr = own ? 2e-3 : 0;
        struct method *m = begun(&cfg);
        float **s = fixture_embeddings(N, K, 0), *dA, *dB;
        double *keys = array_of(m, *state, "/l2p/keys", false, PROMPTS * K), low = 0;
        struct step_report out = {0};
        struct routing r;
        OK(routing_new(&r, N, PROMPTS, TOP));
        OK(m->ops->route(m, ROUTE_TRAIN, 0, FIXTURE_ROWS(s), NULL, N, &r));
        OK(m->ops->learn(m, 0, &r, (const double[N * PROMPTS]){0}));
        m->ops->gradients(m, &dA, &dB);
        for (int i = 0; i < PROMPTS * LENGTH * D; i++) dA[i] = i % 2 ? 0.5f : -2;
        OK(m->ops->step(m, 0, cfg.stage2.lr / 2, &out));
        assert_true(fabs(out.penalty - pull(keys, s, &r, cfg.l2p.lambda)) < 1e-6);
        double *now = array_of(m, *state, "/l2p/keys", false, PROMPTS * K),
               *moment = array_of(m, *state, "/resume/w_m", true, PROMPTS * K), norm = 0;
        for (int i = 0; i < PROMPTS * K; i++) {
            double side[2], kept = keys[i], slope;
            for (int e = 0; e < 2; e++)
                keys[i] = kept + (e ? 1e-5 : -1e-5), side[e] = pull(keys, s, &r, cfg.l2p.lambda);
            keys[i] = kept, slope = (side[1] - side[0]) / 2e-5;
            assert_true(fabs(10 * moment[i] - slope) < 1e-5);
            norm += 100 * moment[i] * moment[i];
            if (slope != 0 && fabs(slope) > 1e-4)
                assert_true(fabs(keys[i] - now[i] - copysign(own ? 1e-3 : 5e-4, slope)) < 1e-5);
            low = fmin(low, now[i]);
        }
        for (int i = 0; i < PROMPTS * LENGTH * D; i++) norm += i % 2 ? 0.25 : 4;
        assert_true(fabs(out.grad_norm - sqrt(norm)) < 1e-4 * out.grad_norm);
        assert_true(low < -0.1);
        free(keys), free(now), free(moment);
        routing_free(&r);
        fixture_embeddings_free(s);
        m->ops->close(m);
    }
}

/* Rows step at stage 2's rate against their gradient. */
static void test_rows_learn(void **state)
{
    const struct config cfg = config_of();
    struct method *m = begun(&cfg);
    double *old = array_of(m, *state, "/l2p/prompts", false, PROMPTS * LENGTH * D), sum = 0, squares = 0;
    float *dA, *dB;
    struct step_report out;
    struct adapters before, after;

    OK(m->ops->adapters(m, ROUTE_FREE, 0, &before));
    const uint64_t version = before.slot[2].version;
    m->ops->gradients(m, &dA, &dB);
    for (int i = 0; i < PROMPTS * LENGTH * D; i++) dA[i] = i % 3 ? 0.5f : -2, sum += old[i], squares += old[i] * old[i];
    assert_true(fabs(sum) / (PROMPTS * LENGTH * D) < 0.05);
    assert_true(fabs(sqrt(squares / (PROMPTS * LENGTH * D)) - cfg.l2p.init) < 0.03);
    OK(m->ops->step(m, 0, 1e-3, &out));
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &after));
    assert_true(after.slot[2].version != version);
    for (int i = 0; i < PROMPTS * LENGTH * D; i++) {
        const double now = (double)after.slot[0].A[i];
        assert_true(fabs(now - old[i] - (i % 3 ? -1e-3 : 1e-3)) < 1e-5);
    }
    assert_true(fabs((double)out.grad_norm - sqrt(25 * 4 + 50 * 0.25)) < 1e-4);
    free(old);
    m->ops->close(m);
}

/* With diversity a later task's steps take prompts that no earlier one took; answers go by the cosine all the same. */
static void test_diversity(void **state)
{
    struct config cfg = config_of();
    float **s = fixture_embeddings(1, K, 0);

    for (int diversity = 0; diversity < 2; diversity++) {
        struct routing first, second;
        cfg.l2p.diversity = diversity;
        struct method *m = begun(&cfg);
        struct step_report out;
        OK(routing_new(&first, 1, PROMPTS, TOP));
        OK(routing_new(&second, 1, PROMPTS, TOP));
        OK(m->ops->route(m, ROUTE_TRAIN, 0, FIXTURE_ROWS(s), NULL, 1, &first));
        for (int i = 0; i < 3; i++) {
            OK(m->ops->learn(m, 0, &first, (const double[PROMPTS]){0}));
            OK(m->ops->step(m, 0, 1e-3, &out));
        }
        OK(m->ops->end_task(m, 0));
        double *chosen = array_of(m, *state, "/l2p/chosen", false, PROMPTS);
        for (int n = 0; n < PROMPTS; n++) assert_true(chosen[n] == 3 * (double)first.coef[n]);
        OK(m->ops->begin_task(m, 1, 10));
        OK(m->ops->route(m, ROUTE_TRAIN, 1, FIXTURE_ROWS(s), NULL, 1, &second));
        for (int n = 0; n < PROMPTS; n++) {
            if (!diversity) assert_true(second.coef[n] == first.coef[n]);
            if (diversity) assert_true(second.coef[n] == 0 || first.coef[n] == 0);
        }
        OK(m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), NULL, 1, &second));
        for (int n = 0; n < PROMPTS; n++) assert_true(second.coef[n] == first.coef[n]);
        free(chosen);
        routing_free(&first), routing_free(&second);
        m->ops->close(m);
    }
    fixture_embeddings_free(s);
}

static void test_resume(void **state)
{
    struct config cfg = config_of();

    cfg.stage2.clip = 1, cfg.stage2.weight_decay = 0.01, cfg.l2p.diversity = true;
    fixture_resumes("l2p", &cfg, *state);
    struct method *m = begun(&cfg);
    assert_int_equal(m->ops->parameters(m), PROMPTS * (K + LENGTH * D));
    assert_int_equal(m->ops->slot_task(m, 0), -1);
    m->ops->close(m);
}

/* A checkpoint of other settings, or of another method. */
static void test_other_checkpoints(void **state)
{
    struct config cfg = config_of();
    struct method *m = begun(&cfg), *lora = fixture_open("sequential_lora", &cfg, &fixture_shape);
    char *path = fixture_save(m, *state, "prompts.h5", false), *other;
    struct ckpt *c;

    OK(lora->ops->begin_task(lora, 0, 10));
    other = fixture_save(lora, *state, "lora.h5", false);
    m->ops->close(m), lora->ops->close(lora);
    m = fixture_open("l2p", &cfg, &fixture_shape);
    OK(ckpt_open(&c, other));
    FAILS(CL_EMISMATCH, "has no /l2p; hint: set `method`", m->ops->load(m, c, false));
    ckpt_close(c);
    m->ops->close(m);
    for (int i = 0; i < 3; i++) {
        static const char *const says[] = {"5 prompts of 4 rows", "4 prompts of 3 rows",
                                           "has top_m 2 (the configuration gives 1)"};
        cfg = config_of();
        if (i == 0) cfg.l2p.length++;
        if (i == 1) cfg.l2p.prompts--;
        if (i == 2) cfg.l2p.top_m--;
        m = fixture_open("l2p", &cfg, &fixture_shape);
        OK(ckpt_open(&c, path));
        FAILS(CL_EMISMATCH, says[i], m->ops->load(m, c, false));
        ckpt_close(c);
        m->ops->close(m);
    }
    free(path), free(other);
}

static void test_what_cannot_be(void **state)
{
    static const struct {
        const char *set, *says;
    } bad[] = {{"l2p.top_m=6", "6 prompts of a question, but l2p.prompts is 5; hint: at most as many"},
               {"stage2.max_length=12", "2 prompts of 6 rows leave nothing of stage2.max_length 12"},
               {"l2p.length=0", "l2p.length"},
               {"l2p.top_m=0", "l2p.top_m"}};
    struct config cfg = config_of();
    struct method_shape shape = fixture_shape;
    struct method *m = NULL;
    const struct method_ops *ops = method_find("l2p");

    (void)state;
    shape.K = 0;
    FAILS(CL_ECONFIG, "no sentence encoder", ops->open(&m, &cfg, &shape));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *sets[] = {"l2p.prompts=5", "l2p.length=6", "l2p.top_m=2", bad[i].set};
        int rc = config_load_text(&cfg, "{}", "text", sets, 4, 0);
        if (!rc) rc = ops->open(&m, &cfg, &fixture_shape);
        FAILS(CL_ECONFIG, bad[i].says, rc);
        config_free(&cfg);
        assert_null(m);
    }
    OK(config_load_text(&cfg, "{}", "text", NULL, 0, 0));
    shape.K = INT32_MAX / 3;
    FAILS(CL_ECONFIG, "are too many", ops->open(&m, &cfg, &shape));
    config_free(&cfg);
    assert_null(m);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_choice),
        cmocka_unit_test(test_none_and_chance),
        WITH_FOLDER(test_keys_are_drawn),
        WITH_FOLDER(test_rows_learn),
        WITH_FOLDER(test_diversity),
        WITH_FOLDER(test_resume),
        WITH_FOLDER(test_other_checkpoints),
        cmocka_unit_test(test_what_cannot_be),
    };
    return cmocka_run_group_tests_name("l2p", tests, NULL, NULL);
}
