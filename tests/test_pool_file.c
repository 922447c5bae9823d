/* test_pool_file.c - /pool and /context that contradict themselves are refused, each with the name of what is wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/pool_file.h"

/* The parts of a good file of two tasks with one slot each; a case changes some of them. */
struct parts {
    int64_t N, tasks, w_rows, w_columns;
    int32_t task[3];
    float keys[3 * 8], A[3 * 2 * 2 * 7], B[3 * 2 * 5 * 2];
    double use[3], w[9];
    bool without_use;
    const char *target;
};

static struct parts good(void)
{
    return (struct parts){
        .N = 2, .tasks = 2, .w_rows = 2, .w_columns = 2, .task = {0, 1}, .w = {0, 0, 0.5, 0}, .use = {0.25, 0.5}};
}

static int load(struct parts *x, const char *dir)
{
    struct pool p;
    struct ckpt *c = NULL;
    char path[512];
    int rc;

    snprintf(path, sizeof path, "%s/x.h5", dir);
    OK(ckpt_create(&c, path));
    OK(ckpt_write(c, "/pool/keys", CKPT_F32, 2, (const int64_t[]){x->N, 8}, x->keys, true));
    OK(ckpt_write(c, "/pool/A", CKPT_F32, 4, (const int64_t[]){x->N, 2, 2, 7}, x->A, true));
    OK(ckpt_write(c, "/pool/B", CKPT_F32, 4, (const int64_t[]){x->N, 2, 5, 2}, x->B, true));
    OK(ckpt_write(c, "/pool/task", CKPT_I32, 1, &x->tasks, x->task, true));
    if (!x->without_use) OK(ckpt_write(c, "/pool/use", CKPT_F64, 1, &x->N, x->use, true));
    OK(ckpt_write(c, "/context/w", CKPT_F64, 2, (const int64_t[]){x->w_rows, x->w_columns}, x->w, false));
    if (x->target) OK(ckpt_attr_str(c, "/pool", "target", x->target));
    OK(ckpt_commit(c));
    OK(pool_open(&p, &fixture_shape, 2, 1, 1, 1));
    OK(ckpt_open(&c, path));
    rc = pool_file_load(&p, c, "continual_llava", true, true);
    if (!rc) assert_true(p.N == 2 && p.T == 3 && p.w[3] == 0.5f && p.use[1] == 0.5 && p.task[1] == 1);
    ckpt_close(c);
    pool_close(&p);
    return rc;
}

static void test_a_good_file(void **state)
{
    struct parts x = good();
    OK(load(&x, *state));
}

static void test_contradictions(void **state)
{
    struct parts x = good();

    x.task[0] = 1, x.task[1] = 0;
    FAILS(CL_EFORMAT, "/pool/task", load(&x, *state));
    x = good(), x.task[1] = 2; // w has two rows
    FAILS(CL_EFORMAT, "/pool/task", load(&x, *state));
    x = good(), x.task[0] = -1;
    FAILS(CL_EFORMAT, "/pool/task", load(&x, *state));
    x = good(), x.tasks = 3;
    FAILS(CL_EMISMATCH, "/pool/task", load(&x, *state));
    x = good(), x.w_rows = 3;
    FAILS(CL_EFORMAT, "/context/w is 3 x 2", load(&x, *state));
    x = good(), x.w[2] = 1.5;
    FAILS(CL_EFORMAT, "/context/w[1,0] is 1.5", load(&x, *state));
    x = good(), x.w[2] = NAN;
    FAILS(CL_EFORMAT, "/context/w[1,0]", load(&x, *state));
    x = good(), x.A[5] = NAN;
    FAILS(CL_EFORMAT, "/pool/A: number 5", load(&x, *state));
    x = good(), x.use[1] = INFINITY;
    FAILS(CL_EFORMAT, "/pool/use[1]", load(&x, *state));
    x = good(), x.without_use = true;
    FAILS(CL_EFORMAT, "/pool/use", load(&x, *state));
    x = good(), x.target = "mlp.down_proj";
    FAILS(CL_EMISMATCH, "mlp.down_proj", load(&x, *state));
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {WITH_FOLDER(test_a_good_file), WITH_FOLDER(test_contradictions)};
    return cmocka_run_group_tests_name("pool_file", tests, NULL, NULL);
}
