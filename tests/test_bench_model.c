/* test_bench_model.c - bases of random weights: the same numbers in one file and in shards, of the spread that they should
 * have, with a tokenizer that gives back what it was given. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"
#include "jobs/bench.h"
#include "model/lvlm_config.h"

static const struct bench_shape *tiny;
static char *whole, *parts;

static int setup(void **state)
{
    char one[] = "/tmp/cllava-test-XXXXXX", two[] = "/tmp/cllava-test-XXXXXX";

    (void)state;
    tiny = bench_shape_find("tiny");
    if (!tiny || !mkdtemp(one) || !mkdtemp(two)) return -1;
    whole = strdup(one), parts = strdup(two);
    return bench_model_write(whole, tiny) || bench_model_write_shards(parts, tiny, 1e5);
}

static int teardown(void **state)
{
    (void)state;
    bench_model_remove(whole), bench_model_remove(parts);
    return 0;
}

static void test_shards(void **state)
{
    struct safetensors *a, *b;
    char path[64];
    const struct st_array *first, *last;

    (void)state;
    assert_int_equal(safetensors_open(&a, whole), CL_OK);
    assert_int_equal(safetensors_open(&b, parts), CL_OK);
    assert_true(safetensors_hash(a) == safetensors_hash(b));
    assert_int_equal(safetensors_count(a), safetensors_count(b));
    snprintf(path, sizeof path, "%s/model.safetensors", parts);
    assert_int_not_equal(access(path, F_OK), 0);
    first = safetensors_find(b, "embed_tokens.weight"),
    last = safetensors_find(b, "multi_modal_projector.linear_2.bias");
    assert_non_null(strstr(first->file, "/model-00001-of-0000"));
    assert_string_not_equal(first->file, last->file);
    safetensors_close(a), safetensors_close(b);
}

static void check_spread(const struct safetensors *st, const char *name, double mean, double deviation)
{
    const struct st_array *a = safetensors_find(st, name);
    double sum = 0, squares = 0;
    int64_t n = 1;

    assert_non_null(a);
    for (int i = 0; i < a->dims; i++) n *= a->shape[i];
    for (int64_t i = 0; i < n; i++) {
        double x = (double)bf16_to_f32(((const uint16_t *)a->data)[i]);
        sum += x, squares += x * x;
    }
    assert_true(fabs(sum / (double)n - mean) < 1e-3);
    assert_true(fabs(sqrt(squares / (double)n - mean * mean) - deviation) < 1e-3);
}

static void test_numbers(void **state)
{
    struct safetensors *st;
    const uint16_t *q, *k;

    (void)state;
    assert_int_equal(safetensors_open(&st, whole), CL_OK);
    check_spread(st, "embed_tokens.weight", 0, 0.0202);
    check_spread(st, "layers.1.mlp.down_proj.weight", 0, 0.0202);
    check_spread(st, "layers.0.input_layernorm.weight", 1, 0);
    q = safetensors_find(st, "layers.0.self_attn.q_proj.weight")->data;
    k = safetensors_find(st, "layers.0.self_attn.k_proj.weight")->data;
    assert_memory_not_equal(q, k, 64);
    assert_memory_not_equal(q, q + 64, 64);
    safetensors_close(st);
}

static void test_tokenizer(void **state)
{
    static const char text[] = "A \"quoted\" line\\,\n\xc3\xa9 and <image>";
    struct tokenizer *t;
    struct ids ids = {0};
    struct lvlm_config c;
    char *back;

    (void)state;
    assert_int_equal(lvlm_config_read(&c, whole), CL_OK);
    assert_int_equal(tokenizer_open(&t, whole), CL_OK);
    assert_int_equal(tokenizer_size(t), c.text.vocab);
    assert_int_equal(tokenizer_encode(t, text, sizeof text - 1, &ids), CL_OK);
    assert_int_equal(ids.n, sizeof text - 1 - 6); // a byte each, <image> one
    assert_int_equal(ids.id[ids.n - 1], c.image_token);
    assert_int_equal(tokenizer_decode(t, ids.id, ids.n - 1, &back), CL_OK);
    assert_int_equal(strncmp(back, text, sizeof text - 1 - 7), 0);
    free(back), ids_free(&ids), tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shards), cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_tokenizer)};
    return cmocka_run_group_tests_name("bench_model", tests, setup, teardown);
}
