/* What a model would take, asked without weights, against the same model opened in earnest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/safetensors.h"
#include "jobs/bench.h"
#include "model/backend_timing.h"
#include "model/lvlm_internal.h"

#define OK(call) assert_int_equal((call), CL_OK)

/* A backend that computes, and counts the memory that it is asked for (what the C library fills up is never touched). */
static const struct backend *inner;
static size_t held;
static struct {
    void *p;
    size_t bytes;
} given[4096];

static void *counting_alloc(size_t bytes)
{
    size_t i = 0;
    void *p = inner->alloc(bytes);

    while (i < sizeof given / sizeof *given - 1 && given[i].p) i++;
    given[i].p = p, given[i].bytes = p ? bytes : 0;
    held += given[i].bytes;
    return p;
}

static void counting_free(void *p)
{
    for (size_t i = 0; p && i < sizeof given / sizeof *given; i++)
        if (given[i].p == p) {
            held -= given[i].bytes;
            given[i].p = NULL;
        }
    inner->free(p);
}

static struct backend counting(enum dtype type)
{
    struct backend b;

    OK(backend_cpu(&inner, type));
    b = *inner;
    b.alloc = counting_alloc, b.free = counting_free;
    held = 0;
    return b;
}

static void assert_near(double got, double expected, double share)
{
    if (got < expected * (1 - share) || got > expected * (1 + share))
        fail_msg("%.0f bytes, expected %.0f within %g %%", got, expected, 100 * share);
}

static void agrees(const char *shape, enum dtype type, bool train)
{
    const struct lvlm_limits limits = {
        .samples = 4, .tokens = 4 * 40, .rows = 4 * 6, .slots = 16, .rank = 4, .train = train};
    struct lvlm *m;
    struct kv_cache *kv;
    struct measured open, reserved, cached;
    struct backend be;
    size_t weights, step;
    char *dir;

    OK(bench_model_make(&dir, bench_shape_find(shape)));
    backend_measured_clear();
    OK(lvlm_open_blank(&m, dir, DT_BF16, backend_measuring(type), NULL, train));
    open = backend_measured();
    weights = lvlm_weight_bytes(m);
    OK(lvlm_reserve(m, &limits));
    reserved = backend_measured();
    step = lvlm_step_bytes(m, &limits);
    OK(lvlm_kv_new(&kv, m, 4, 60));
    cached = backend_measured();
    lvlm_kv_free(kv);
    lvlm_close(m);
    assert_int_equal(backend_measured().own, 0);
    assert_int_equal(backend_measured().mapped, 0);

    be = counting(type);
    OK(lvlm_open(&m, dir, &be, NULL, train));
    assert_near((double)weights, (double)lvlm_weight_bytes(m), 0.01);
    size_t vectors = held; // of the tower: lvlm_weight_bytes holds them too
    assert_true(open.own >= weights && open.own <= weights + vectors + 64 * 1024);
    OK(lvlm_reserve(m, &limits));
    assert_int_equal(step, lvlm_step_bytes(m, &limits));
    assert_near((double)(reserved.own - open.own), (double)(held - vectors), 0.02);
    vectors = held;
    OK(lvlm_kv_new(&kv, m, 4, 60));
    assert_near((double)(cached.own - reserved.own), (double)(held - vectors), 0.02);
    lvlm_kv_free(kv);
    lvlm_close(m);
    bench_model_remove(dir);
}

static void memory_as_in_earnest(void **state)
{
    const struct backend *bf16;
    bool both = !backend_cpu(&bf16, DT_BF16);

    (void)state;
    for (int train = 0; train < 2; train++) {
        agrees("tiny", DT_F32, train);
        agrees("s", DT_F32, train);
        if (both) agrees("tiny", DT_BF16, train);
        if (both) agrees("s", DT_BF16, train);
    }
    if (!both) print_message("skipped: bf16: %s\n", err_text());
}

/* f32 in the file and f32 products: nothing of its own, used in place. */
static void in_place(void **state)
{
    const struct bench_shape *s = bench_shape_find("tiny");
    struct lvlm *m;
    struct measured x;
    char *dir;

    (void)state;
    OK(bench_model_make(&dir, s));
    backend_measured_clear();
    OK(lvlm_open_blank(&m, dir, DT_F32, backend_measuring(DT_F32), NULL, true));
    x = backend_measured();
    // every matrix of the decoder, the table too; the tower is copied
    assert_int_equal(x.mapped, 4 * (s->layers * (4 * s->d * s->d + 3 * s->d * s->ff) + 2 * s->vocab * s->d));
    lvlm_close(m);
    bench_model_remove(dir);
}

/* A rank of four holds a quarter; the last ones of an uneven split less. */
static void shards(void **state)
{
    size_t whole = 0, quarters = 0;
    char *dir;

    (void)state;
    OK(bench_model_make(&dir, bench_shape_find("s")));
    for (int size = 1; size <= 4; size += 3)
        for (int rank = 0; rank < size; rank++) {
            struct tp tp = {rank, size, NULL, DT_F32, false};
            struct lvlm *m;
            backend_measured_clear();
            OK(lvlm_open_blank(&m, dir, DT_BF16, backend_measuring(DT_BF16), &tp, true));
            *(size == 1 ? &whole : &quarters) +=
                m->be->weight_bytes(m->layer[1].q) + m->be->weight_bytes(m->layer[1].down);
            lvlm_close(m);
        }
    assert_near((double)quarters, (double)whole, 0.05); // narrow blocks are filled up
    bench_model_remove(dir);
}

/* A pass over nothing, with clocks: its operations are counted as the formulas of bench count them. */
static void operations(void **state)
{
    const struct bench_shape *s = bench_shape_find("s");
    const int64_t n = bench_tokens(s), rows = s->answer;
    const struct lvlm_limits limits = {.samples = 1, .tokens = n, .rows = rows, .slots = 1, .rank = 1, .train = true};
    const struct backend *be;
    struct timing t[256];
    double flop = 0;
    struct lvlm *m;
    struct packed_batch b;
    struct feature *f;
    const struct adapter_slot slot = {0}; // version 0: nothing to load
    const float coef = 1;
    const struct adapters set = {.slots = 1, .rank = 1, .slot = &slot, .coef = &coef};
    double dcoef[1];
    char *dir;

    (void)state;
    OK(bench_model_make(&dir, s));
    backend_timing(&be, backend_measuring(DT_F32), CLOCK_MONOTONIC);
    OK(lvlm_open_blank(&m, dir, DT_BF16, be, NULL, true));
    OK(lvlm_reserve(m, &limits));
    OK(batch_new(&b, 1, n));
    b.samples = 1, b.n = b.cu[1] = n, b.rows = b.cu_row[1] = rows;
    for (int i = 0; i < n; i++) b.pos[i] = i, b.id[i] = 3;
    for (int i = 0; i < rows; i++) b.row[i] = n - rows + i;
    b.pictures = 1, b.picture_at[0] = 1;
    float *pixels = mem_new(3 * (size_t)s->image * (size_t)s->image, sizeof *pixels);
    OK(lvlm_see(m, &f, pixels, 1));
    b.feature[0] = f;
    backend_timing_clear();
    OK(lvlm_forward(m, &b, &set, NULL, 1));
    OK(lvlm_backward(m, &b, &set, dcoef));
    size_t entries = backend_timing_read(t, 256);
    for (size_t i = 0; i < entries; i++) flop += t[i].flop;
    assert_near(flop, bench_flop_forward(s, n, rows) + bench_flop_backward(s, n, rows), 0.005);
    // .. and the others' count: every row through the last layer, a LoRA, the tower
    double d = s->d, left_out = (double)(n - rows), seen = 2 * d * left_out * (left_out + 1);
    double lora = 3 * 2.0 * s->layers * 2 * d * 32 * (double)n;
    assert_near(flop + 2 * (2 * d * d + 3 * d * s->ff) * left_out * 2 + 3 * seen + lora + bench_flop_tower(s),
                bench_flop_usual(s, n, rows, true), 0.01);
    lvlm_feature_free(m, f);
    mem_free(pixels);
    batch_free(&b);
    lvlm_close(m);
    bench_model_remove(dir);
}

static void blank_checkpoint(void **state)
{
    struct safetensors *st;
    const struct st_array *a, *b;

    (void)state;
    OK(safetensors_blank(&st, DT_F16));
    OK(safetensors_want(&a, st, "x", 2, 3, 5));
    OK(safetensors_want(&b, st, "y", 1, 1 << 30));
    assert_int_equal(a->type, DT_F16);
    assert_int_equal(a->dims, 2);
    assert_int_equal(a->shape[0], 3);
    assert_int_equal(a->shape[1], 5);
    assert_int_equal(((const uint16_t *)b->data)[(1 << 30) - 1], 0);
    assert_null(safetensors_find(st, "x"));
    assert_int_equal(safetensors_count(st), 0);
    safetensors_forget(a);
    safetensors_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blank_checkpoint), cmocka_unit_test(memory_as_in_earnest), cmocka_unit_test(in_place),
        cmocka_unit_test(shards),           cmocka_unit_test(operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
