/* The cache of vision features: what leaves it comes back equal; what fails is not kept. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden_file.h"
#include "golden_run.h"
#include "jobs/job.h"
#include "jobs/query.h"
#include "model/tensor.h"

#include <math.h>

enum { PICTURES = 8 };

struct fixture {
    char dir[64];
    struct job j;
    char path[PICTURES][256];
    size_t bytes;
};

static void open_fixture(struct fixture *x)
{
    memset(x, 0, sizeof *x);
    golden_config(&x->j.cfg, golden_temporary(x->dir), "a", "", NULL, 0);
    OK(job_open(&x->j, JOB_MODEL));
    x->bytes = lvlm_feature_bytes(x->j.lvlm);
    for (int i = 0; i < PICTURES; i++)
        snprintf(x->path[i], sizeof x->path[i], "%s/golden/a/data/images/t0_%d.png", SOURCE_DIR, i);
}

static void close_fixture(struct fixture *x)
{
    job_close(&x->j);
    golden_remove(x->dir);
}

/* Eight pictures through a cache that holds two: each time the same features, computed anew. */
static void small_budget(void **state)
{
    struct fixture x;
    struct features *f;
    char *first[PICTURES];
    const struct feature *out[PICTURES];
    (void)state;
    open_fixture(&x);
    OK(features_new(&f, x.j.lvlm, &x.j.image, 2 * x.bytes));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < PICTURES; i++) {
            const char *path = x.path[i];
            OK(features_get(f, &path, 1, out));
            if (round == 0)
                first[i] = memcpy(malloc(x.bytes), out[0]->data, x.bytes);
            else
                assert_memory_equal(first[i], out[0]->data, x.bytes);
        }
    assert_int_equal(features_get_stats(f).computed, 2 * PICTURES);
    const char *last[2] = {x.path[PICTURES - 1], x.path[PICTURES - 2]}; // these two are still there
    OK(features_get(f, last, 2, out));
    assert_int_equal(features_get_stats(f).computed, 2 * PICTURES);
    for (int i = 0; i < PICTURES; i++) free(first[i]);
    features_free(f);
    close_fixture(&x);
}

/* What routing sees of pictures: the mean of their features, each picture once, zeros without one; beside text at unit length. */
static void queries(void **state)
{
    struct fixture x;
    const struct feature *f;
    (void)state;
    open_fixture(&x);
    const int K = x.j.base.vision.hidden, n = x.j.base.vision.tokens;
    const char *path[4] = {x.path[0], x.path[1], NULL, x.path[0]}, *text[4] = {"", "", "", ""};
    float *out = mem_new(5 * (size_t)K, sizeof *out);
    char *kept = x.j.cfg.pool.query;
    x.j.cfg.pool.query = "picture";
    assert_int_equal(query_width(&x.j), K);
    OK(query_embed(&x.j, out, text, path, 4));
    assert_int_equal(features_get_stats(x.j.features).computed, 2);
    OK(features_get(x.j.features, path, 1, &f));
    for (int k = 0; k < K; k++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += ((const float *)f->data)[i * K + k];
        assert_true(fabs(out[k] - sum / n) <= 1e-6 * fabs(sum / n));
        assert_true(out[2 * K + k] == 0);
    }
    assert_memory_equal(out, out + 3 * K, (size_t)K * sizeof *out);
    assert_memory_not_equal(out, out + K, (size_t)K * sizeof *out);
    OK(query_embed_one(&x.j, out + 4 * K, "", path[1]));
    assert_memory_equal(out + 4 * K, out + K, (size_t)K * sizeof *out);
    x.j.cfg.pool.query = kept;
    mem_free(out);
    close_fixture(&x);
}

/* One call gets all of its pictures, however small the budget, equal ones once. */
static void one_call_many(void **state)
{
    struct fixture x;
    struct features *f;
    const char *path[PICTURES + 2];
    const struct feature *out[PICTURES + 2], *alone;
    (void)state;
    open_fixture(&x);
    OK(features_new(&f, x.j.lvlm, &x.j.image, 0));
    for (int i = 0; i < PICTURES; i++) path[i] = x.path[i];
    path[PICTURES] = x.path[0], path[PICTURES + 1] = x.path[3];
    OK(features_get(f, path, PICTURES + 2, out));
    assert_ptr_equal(out[PICTURES], out[0]);
    assert_ptr_equal(out[PICTURES + 1], out[3]);
    assert_int_equal(features_get_stats(f).computed, PICTURES);
    char *kept = memcpy(malloc(x.bytes), out[5]->data, x.bytes);
    OK(features_get(f, &path[5], 1, &alone));
    assert_memory_equal(kept, alone->data, x.bytes); // four at once or one alone: the same
    free(kept);
    features_free(f);
    close_fixture(&x);
}

static void broken_picture(void **state)
{
    struct fixture x;
    char broken[128];
    const struct feature *out[2];
    (void)state;
    open_fixture(&x);
    snprintf(broken, sizeof broken, "%s/broken.png", x.dir);
    FILE *f = fopen(broken, "w");
    fputs("not a picture", f);
    fclose(f);
    const char *path[2] = {x.path[0], broken};
    for (int again = 0; again < 2; again++) { // the failure is not kept as if it had been computed
        assert_int_not_equal(features_get(x.j.features, path, 2, out), 0);
        assert_non_null(strstr(err_text(), "broken.png"));
    }
    OK(features_get(x.j.features, path, 1, out));
    close_fixture(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_budget), cmocka_unit_test(queries),
                                       cmocka_unit_test(one_call_many), cmocka_unit_test(broken_picture)};
    return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
