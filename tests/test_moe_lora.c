/* test_moe_lora.c - a router over shared experts: its softmax, which experts are chosen, the gradient of its weights against
 * differences, checkpoints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { E = 5, K = 8, N = 4 }; // experts, width of an embedding, questions

static struct config config_of(int top_k)
{
    struct config cfg = fixture_config();

    cfg.moe_lora.experts = E;
    cfg.moe_lora.rank = 3;
    cfg.moe_lora.top_k = top_k;
    cfg.moe_lora.router_lr = 2e-3;
    cfg.stage2.lr = 1e-3;
    cfg.stage2.clip = 0;
    cfg.stage2.weight_decay = 0;
    return cfg;
}

static struct method *begun(const struct config *cfg)
{
    struct method *m = fixture_open("moe_lora", cfg, &fixture_shape);

    OK(m->ops->begin_task(m, 0, 10));
    return m;
}

/* Router of a method, from its checkpoint. */
static double *router_of(struct method *m, const char *dir)
{
    size_t n;
    char *path = fixture_save(m, dir, "router.h5", false);
    hid_t f = golden_open_file(path);
    double *w = golden_read_f64(f, &n, "/pool/keys");

    assert_int_equal(n, E * K);
    golden_close(f);
    free(path);
    return w;
}

/* Softmax over the top_k largest of W s / |s|, times 2: lora.alpha 6 over a rank of 3. */
static void test_softmax(void **state)
{
    float **s = fixture_embeddings(N, K, 0);

    for (int top_k = 0; top_k <= E + 1; top_k += 2) {
        const struct config cfg = config_of(top_k);
        struct method *m = begun(&cfg);
        struct adapters set;
        struct routing r;
        double *w = router_of(m, *state);
        int most = top_k && top_k < E ? top_k : E; // more than there are: all
        OK(m->ops->adapters(m, ROUTE_TRAIN, 0, &set));
        assert_true(set.slots == E && set.learned == E && set.rank == 3);
        OK(routing_new(&r, N, E, most));
        for (enum route_mode mode = ROUTE_TRAIN; mode <= ROUTE_ORACLE; mode++) {
            OK(m->ops->route(m, mode, 0, FIXTURE_ROWS(s), NULL, N, &r));
            for (int i = 0; i < N; i++) {
                double z[E], norm = 0, sum = 0;
                for (int k = 0; k < K; k++) norm += (double)s[i][k] * (double)s[i][k];
                for (int e = 0; e < E; e++) {
                    z[e] = 0;
                    for (int k = 0; k < K; k++) z[e] += w[e * K + k] * (double)s[i][k] / sqrt(norm);
                }
                for (int e = 0; e < E; e++) {
                    int larger = 0;
                    for (int o = 0; o < E; o++) larger += z[o] > z[e];
                    if (larger < most) {
                        assert_int_equal(r.selected[i * most + larger], e);
                        sum += exp(z[e]);
                    } else
                        z[e] = -INFINITY;
                }
                for (int e = 0; e < E; e++) {
                    assert_true(fabs(r.intrinsic[i * E + e] - exp(z[e]) / sum) < 1e-9);
                    assert_true(fabs((double)r.coef[i * E + e] - 2 * exp(z[e]) / sum) < 1e-6);
                    assert_true(r.context[i * E + e] == 0);
                }
            }
        }
        routing_free(&r);
        free(w);
        m->ops->close(m);
    }
    fixture_embeddings_free(s);
}

static void test_chance(void **state)
{
    const struct config cfg = config_of(2);
    struct method *m = begun(&cfg);
    float **s = fixture_embeddings(N, K, 0);
    const float *row[60];
    uint64_t sample[60];
    struct routing r;
    int count[E] = {0};

    (void)state;
    OK(routing_new(&r, 60, E, 2));
    for (int i = 0; i < 60; i++) row[i] = s[0], sample[i] = (uint64_t)i;
    OK(m->ops->route(m, ROUTE_RANDOM, 0, row, sample, 60, &r));
    for (int i = 0; i < 60; i++)
        for (int e = 0; e < E; e++) {
            assert_true(r.intrinsic[i * E + e] == 0 || r.intrinsic[i * E + e] == 0.5);
            count[e] += r.intrinsic[i * E + e] > 0;
        }
    for (int e = 0; e < E; e++) assert_true(count[e] > 8);
    routing_free(&r);
    fixture_embeddings_free(s);
    m->ops->close(m);
}

/* sum of g times the coefficients of a method whose router is that of the file, but for one number. */
static double loss_with(const struct config *cfg, const char *path, int at, double change, float **s, const double *g)
{
    struct method *m = fixture_open("moe_lora", cfg, &fixture_shape);
    float w[E * K];
    double sum = 0;
    struct routing r;
    hid_t f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), d = H5Dopen2(f, "/pool/keys", H5P_DEFAULT);

    assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, w) >= 0);
    w[at] += (float)change;
    assert_true(H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, w) >= 0);
    H5Dclose(d), H5Fclose(f);
    fixture_load(m, path, false);
    OK(routing_new(&r, N, E, E));
    OK(m->ops->route(m, ROUTE_FREE, 0, FIXTURE_ROWS(s), NULL, N, &r));
    for (int i = 0; i < N * E; i++) sum += g[i] * 2 * r.intrinsic[i];
    routing_free(&r);
    m->ops->close(m);
    return sum;
}

/* In a first step the first moment of the router is 0.1 times its gradient. */
static void test_gradient(void **state)
{
    float **s = fixture_embeddings(N, K, 0);
    double g[N * E];
    size_t n;

    for (int i = 0; i < N * E; i++) g[i] = rng_normal(3, RNG_A, 0, (uint64_t)i);
    for (int top_k = 0; top_k <= 3; top_k += 3) {
        const struct config cfg = config_of(top_k);
        struct method *m = begun(&cfg);
        struct step_report out;
        struct routing r;
        bool used[E] = {false};
        char *before = fixture_save(m, *state, "before.h5", false);
        OK(routing_new(&r, N, E, E));
        OK(m->ops->route(m, ROUTE_TRAIN, 0, FIXTURE_ROWS(s), NULL, N, &r));
        for (int i = 0; i < N * E; i++) used[i % E] |= r.intrinsic[i] > 0;
        OK(m->ops->learn(m, 0, &r, g));
        OK(m->ops->step(m, 0, 0, &out));
        char *after = fixture_save(m, *state, "after.h5", true);
        hid_t f = golden_open_file(after);
        double *dW = golden_read_f64(f, &n, "/resume/w_m"), norm = 0;
        golden_close(f);
        assert_int_equal(n, E * K);
        for (int i = 0; i < E * K; i++) norm += 100 * dW[i] * dW[i];
        assert_true(fabs(out.grad_norm - sqrt(norm)) < 1e-4 * out.grad_norm);
        for (int i = 0; i < E * K; i += 3) {
            double up = loss_with(&cfg, before, i, 0.01, s, g), down = loss_with(&cfg, before, i, -0.02, s, g);
            loss_with(&cfg, before, i, 0.01, s, g);
            assert_true(fabs(10 * dW[i] - (up - down) / 0.02) < 2e-3);
            if (!used[i / K]) assert_true(dW[i] == 0);
        }
        free(dW), free(before), free(after);
        routing_free(&r);
        m->ops->close(m);
    }
    fixture_embeddings_free(s);
}

/* The router's rate is router_lr where the experts' is stage2.lr, and its numbers are not clamped. */
static void test_rate(void **state)
{
    const struct config cfg = config_of(0);
    struct method *m = begun(&cfg);
    float **s = fixture_embeddings(N, K, 0);
    double g[N * E], *old = router_of(m, *state), low = 0;
    struct step_report out;
    struct routing r;

    for (int i = 0; i < N * E; i++) g[i] = rng_normal(3, RNG_A, 0, (uint64_t)i);
    OK(routing_new(&r, N, E, E));
    OK(m->ops->route(m, ROUTE_TRAIN, 0, FIXTURE_ROWS(s), NULL, N, &r));
    OK(m->ops->learn(m, 0, &r, g));
    OK(m->ops->step(m, 0, cfg.stage2.lr / 2, &out)); // half way through the schedule
    double *now = router_of(m, *state);
    for (int i = 0; i < E * K; i++) { // AdamW's first step has the rate's size
        assert_true(fabs(fabs(now[i] - old[i]) - 1e-3) < 1e-5);
        low = fmin(low, now[i]);
    }
    assert_true(low < -0.5);
    free(old), free(now);
    routing_free(&r);
    fixture_embeddings_free(s);
    m->ops->close(m);
}

static void test_resume(void **state)
{
    struct config cfg = config_of(2);

    cfg.stage2.clip = 1, cfg.stage2.weight_decay = 0.01;
    fixture_resumes("moe_lora", &cfg, *state);
    struct method *m = begun(&cfg);
    assert_int_equal(m->ops->parameters(m), E * (K + 2 * 3 * (7 + 5)));
    assert_int_equal(m->ops->slot_task(m, 0), -1);
    m->ops->close(m);
}

static void test_what_cannot_be(void **state)
{
    struct config cfg = config_of(0);
    struct method_shape shape = fixture_shape;
    struct method *m = NULL;

    (void)state;
    shape.K = 0;
    FAILS(CL_ECONFIG, "no sentence encoder", method_find("moe_lora")->open(&m, &cfg, &shape));
    assert_null(m);
    shape.K = INT32_MAX / 3;
    FAILS(CL_ECONFIG, "are too many", method_find("moe_lora")->open(&m, &cfg, &shape));
    assert_null(m);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_softmax), cmocka_unit_test(test_chance), WITH_FOLDER(test_gradient),
        WITH_FOLDER(test_rate),    WITH_FOLDER(test_resume),      cmocka_unit_test(test_what_cannot_be),
    };
    return cmocka_run_group_tests_name("moe_lora", tests, NULL, NULL);
}
