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
    x = good(), x.target = "self_attn.q_proj, mlp.down_proj";
    FAILS(CL_EFORMAT, "/pool: several maps without their widths", load(&x, *state));
}

/* A pool of one slot over these maps; its numbers count up. */
static void open_maps(struct pool *p, unsigned chosen, int hidden)
{
    const struct text_config c = {.hidden = hidden, .ffn = 9, .heads = 2, .kv_heads = 1, .head_dim = 3};
    struct method_shape shape = {.tasks = 2, .layers = 2, .K = 4};

    projections_of(&shape.on, chosen, &c);
    shape.H = shape.on.H, shape.D = shape.on.D;
    OK(pool_open(p, &shape, 2, 1, 1, 1));
}

static int load_maps(const char *path, unsigned chosen, int hidden)
{
    struct pool p;
    struct ckpt *c;
    int rc;

    open_maps(&p, chosen, hidden);
    OK(ckpt_open(&c, path));
    rc = pool_file_load(&p, c, "continual_llava", false, true);
    for (int64_t i = 0; !rc && i < pool_a_size(&p); i++) assert_true(p.A[i] == (float)i);
    ckpt_close(c);
    pool_close(&p);
    return rc;
}

/* A file belongs to maps and to their widths, also where the sums are the same. */
static void test_maps(void **state)
{
    const unsigned qv = PROJECTION_BIT(PROJ_q) | PROJECTION_BIT(PROJ_v),
                   kq = PROJECTION_BIT(PROJ_q) | PROJECTION_BIT(PROJ_k);
    struct projections on;
    struct pool p;
    struct ckpt *c;
    char path[512];

    snprintf(path, sizeof path, "%s/maps.h5", (const char *)*state);
    open_maps(&p, qv, 5);
    OK(pool_grow(&p, 0, 1));
    for (int64_t i = 0; i < pool_a_size(&p); i++) p.A[i] = (float)i;
    OK(ckpt_create(&c, path));
    OK(pool_file_save(&p, c, "continual_llava", false));
    OK(ckpt_commit(c));
    OK(load_maps(path, qv, 5));
    FAILS(CL_EMISMATCH,
          "increments on self_attn.q_proj, self_attn.v_proj (the configuration gives self_attn.q_proj, "
          "self_attn.k_proj); hint: set adapter.projections",
          load_maps(path, kq, 5));
    FAILS(CL_EMISMATCH, "increments on self_attn.q_proj, self_attn.v_proj (the configuration gives self_attn.o_proj)",
          load_maps(path, PROJECTIONS_DEFAULT, 5));
    FAILS(CL_EMISMATCH, "q_proj has 5 inputs and 6 outputs (expected 6, 6)", load_maps(path, qv, 6));
    OK(ckpt_open(&c, path));
    OK(pool_file_projections(&on, c, p.H, p.D));
    assert_memory_equal(&on, &p.on, sizeof on);
    FAILS(CL_EFORMAT, "maps.h5: /pool: maps of 10 inputs and 9 outputs together (expected 11 and 9)",
          pool_file_projections(&on, c, p.H + 1, p.D));
    ckpt_close(c);
    pool_close(&p);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {WITH_FOLDER(test_a_good_file), WITH_FOLDER(test_contradictions),
                                       WITH_FOLDER(test_maps)};
    return cmocka_run_group_tests_name("pool_file", tests, NULL, NULL);
}
