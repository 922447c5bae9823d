/* Plans: parameters of the public bases, operations and memory against counts by hand, layouts that heads allow, bytes on the
 * wire against those of the model, what more ranks change. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "jobs/plan.h"
#include "folder.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != 0) fail_msg("%s", err_text());                                                                   \
    } while (0)

struct shape {
    int D, L, heads, kv, F, V; // decoder
    int d, l, h, f, image, patch;
};
static const struct shape llava_7b = {4096, 32, 32, 32, 11008, 32064, 1024, 24, 16, 4096, 336, 14},
                          llava_13b = {5120, 40, 40, 40, 13824, 32064, 1024, 24, 16, 4096, 336, 14},
                          small = {128, 3, 4, 2, 192, 320, 64, 3, 2, 128, 28, 14};

static char dir[64];

/* A folder with config.json alone, and a configuration over it. */
static void open_plan(struct plan *p, const struct shape *s, const char *more, const struct plan_options *o)
{
    char path[128];
    FILE *f;

    assert_int_equal(folder_new(dir), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_non_null(f = fopen(path, "w"));
    fprintf(
        f,
        "{\"model_type\": \"llava\", \"image_token_index\": %d, \"torch_dtype\": \"float16\", "
        "\"projector_hidden_act\": \"gelu\", \"vision_feature_layer\": -2, \"vision_feature_select_strategy\": "
        "\"default\",\n \"text_config\": {\"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
        "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"intermediate_size\": %d, \"vocab_size\": %d, "
        "\"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\"},\n"
        " \"vision_config\": {\"model_type\": \"clip_vision_model\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
        "\"num_attention_heads\": %d, \"intermediate_size\": %d, \"image_size\": %d, \"patch_size\": %d, "
        "\"hidden_act\": \"quick_gelu\"}}\n",
        s->V - 64, s->D, s->L, s->heads, s->kv, s->F, s->V, s->d, s->l, s->h, s->f, s->image, s->patch);
    fclose(f);
    snprintf(path, sizeof path, "%s/plan.yaml", dir);
    assert_non_null(f = fopen(path, "w"));
    fprintf(f, "base: .\nencoder: nowhere\n%s\n", more);
    fclose(f);
    memset(p, 0, sizeof *p);
    machine_assumed(&p->machine);
    OK(config_load(&p->cfg, path, NULL, 0, NEED_BASE));
    OK(plan_open(p, o));
}

static void close_plan(struct plan *p)
{
    config_free(&p->cfg);
    assert_int_equal(folder_remove(dir), 0);
}

static void within(double got, double expected, double share)
{
    if (!(fabs(got - expected) <= share * fabs(expected)))
        fail_msg("%.6g, expected %.6g within %g %%", got, expected, 100 * share);
}

static const struct plan_layout one = {1, 1, 1, false, 1, true};

static void parameters(void **state)
{
    const struct plan_options o = {0};
    struct plan p;

    (void)state;
    open_plan(&p, &llava_7b, "", &o);
    within(p.parameters[0] + p.parameters[1] + p.parameters[2], 7.06e9, 0.01);
    assert_int_equal(p.weights, DT_F16);
    assert_true(p.encoder.assumed);
    close_plan(&p);
    open_plan(&p, &llava_13b, "", &o);
    within(p.parameters[0] + p.parameters[1] + p.parameters[2], 13.35e9, 0.01);
    close_plan(&p);
}

/* 7B in bf16, alone: every kind that can be counted on paper. */
static void memory_of_7b(void **state)
{
    const struct plan_options o = {.tokens = 700, .answers = 40, .samples = 1000, .tasks = 4};
    const double D = 4096, L = 32, F = 11008, V = 32064, slot = L * 8 * 2 * D * 4;
    struct plan p;
    struct plan_model m;
    struct plan_memory first;

    (void)state;
    open_plan(&p, &llava_7b, "eval: {batch: 16, max_new_tokens: 60}", &o);
    OK(plan_model(&m, &p, &one, 0));
    within(m.base, 2 * (L * (4 * D * D + 3 * D * F) + V * D) + 4 * (2 * L + 1) * D, 1e-4); // one packed copy; norms
    within(m.mapped, 2 * V * D, 1e-9); // the table stays in the file
    within(m.tower, 2 * (23 * 12 * 1024.0 * 1024 + 1024 * 588.0 + 1024 * D + D * D), 0.01);
    within(m.cache, 2 * L * 16 * (660 + 60) * D * 2, 1e-4);
    within(m.increments, 32 * 8 * L * 2 * D * (2 + 4) + 32 * 8 * D * 4,
           0.01); // bf16 values, f32 gradients, a row of the host
    plan_memory(&first, &p, &one, &m, PLAN_COORDINATOR);
    // masters, gradients and two moments of 8 slots; A or B once more while the pool grows
    within(first.pool, slot * (32 + 3 * 8), 0.001);
    within(first.growth, slot * 24 / 2, 0.001);
    within(first.features, 1024.0 * (1 << 20) + 4 * 576 * 1024 * 2, 1e-9); // image.cache_mib is full
    within(plan_checkpoints(&p).task, slot * 32, 0.001);
    within(plan_checkpoints(&p).step, slot * (32 + 16), 0.001);
    assert_true(first.sum > m.base + m.step + m.cache);
    close_plan(&p);
}

/* Increments on all seven maps: their numbers, and what the device holds of them. */
static void all_maps(void **state)
{
    const struct plan_options o = {.tokens = 700, .answers = 40, .samples = 1000, .tasks = 4};
    const double D = 4096, L = 32, F = 11008, H = 6 * D + F, out = 5 * D + 2 * F;
    struct plan p;
    struct plan_model m;
    struct plan_memory first;

    (void)state;
    open_plan(&p, &llava_7b, "adapter: {projections: all}", &o);
    OK(plan_model(&m, &p, &one, 0));
    assert_true((double)p.method.parameters == 32 * L * 8 * (H + out));
    within(m.increments, 32 * 8 * L * (H + out) * (2 + 4) + 32 * 8 * (4 * D + 3 * F) * 4, 0.01);
    plan_memory(&first, &p, &one, &m, PLAN_COORDINATOR);
    within(first.pool, (H + out) * L * 8 * 4 * (32 + 3 * 8), 0.001);
    close_plan(&p);
}

/* Multiply-adds of a forward and backward pass over one sample, by hand. */
static double operations(const struct shape *s, double n, double r, double slots, double learned, double rank)
{
    const double D = s->D, hd = D / s->heads, KV = s->kv * hd, F = s->F, W = slots * rank, Wl = learned * rank, P = 4;
    double flop = 0, pairs, q;

    for (int l = 0; l < s->L; l++) {
        q = l == s->L - 1 ? r : n; // rows of all but keys and values
        pairs =
            l == s->L - 1 ? r * (n - r) + r * (r - 1) / 2 : n * (n + 1) / 2; // answer rows: n - r .. n - 1 keys each
        flop += 2 * n * 2 * D * KV + 2 * q * 2 * D * D + 2 * q * 3 * D * F + 4 * pairs * D; // k v; q o; MLP; attention
        flop += 2 * q * 2 * W * D;                                                          // A, B
        flop += 2 * q * 3 * D * F;                                                          // back
        flop += 2 * q * W * D + 2 * q * 2 * Wl * D;                                         // B; dA, dB
        if (l) flop += 2 * n * 2 * D * KV + 2 * q * 2 * D * D + 8 * pairs * D + 2 * q * W * D;
    }
    return flop + 2 * 2 * r * D * s->V + 2 * P * (s->d * D + D * D); // head both ways; projector
}

static void operations_by_hand(void **state)
{
    const struct plan_options o = {.tokens = 40, .answers = 6, .samples = 100, .tasks = 2};
    struct plan p;
    struct plan_model m;
    double decode, D = small.D;

    (void)state;
    open_plan(&p, &small, "pool: {slots_per_task: 3, rank: 2, top_m: 2}\neval: {batch: 4}", &o);
    OK(plan_model(&m, &p, &one, 0));
    within(m.micro.flop, operations(&small, 40, 6, 6, 3, 2), 1e-9);
    // one token for each of four sequences behind 34 tokens of their prompt, keys of two heads
    decode = 4 * (3 * (2 * (2 * D * D + 2 * D * 64 + 3 * D * 192) + 4 * 35 * D + 2 * 2 * 12 * D) + 2 * D * 320);
    assert_int_equal(m.sequences, 4);
    within(m.decode.flop, decode, 1e-9);
    // two blocks of the tower over five rows, every row seeing all; patches (the class token's row of zeros too)
    within(m.see.flop, 2 * (2 * 5 * (4 * 64 * 64 + 2 * 64 * 128) + 4 * 25 * 64) + 2 * 5 * 588 * 64.0, 1e-9);
    close_plan(&p);
}

/* Ranks of a group share operations and weights; what travels is what the model says. */
static void shares(void **state)
{
    const struct plan_options o = {.tokens = 700, .answers = 40};
    const struct plan_layout four = {4, 4, 1, false, 2, false}, alone = {1, 1, 1, false, 2, true};
    struct plan_model a, b;
    struct plan p;
    struct traffic f, g;

    (void)state;
    open_plan(&p, &llava_7b, "", &o);
    OK(plan_model(&a, &p, &alone, 0));
    OK(plan_model(&b, &p, &four, 0));
    within(b.base, a.base / 4, 0.001);
    within(b.mapped, a.mapped / 4, 0.001);
    within(b.cache, a.cache / 4, 0.001);
    within(b.micro.flop, a.micro.flop / 4, 0.03); // every rank multiplies with the whole of B
    assert_int_equal(a.micro.traffic.sums, 0);
    f = traffic_forward(&p.base, 4, 2 * 700, 2 * 40, DT_F32),
    g = traffic_backward(&p.base, PROJECTIONS_DEFAULT, 4, 2 * 700, 2 * 40, DT_F32, RECOMPUTE_NOTHING);
    assert_int_equal(b.micro.traffic.sums, f.sums + g.sums);
    assert_int_equal(b.micro.traffic.sum_bytes, f.sum_bytes + g.sum_bytes);
    close_plan(&p);
}

/* Activations: what is chosen within a limit, and what that costs. */
static void levels(void **state)
{
    const struct plan_options o = {.tokens = 700, .answers = 40};
    const struct plan_layout two = {2, 2, 1, false, 4, false};
    const double D = 4096, n = 4 * 700;
    struct plan_row all, r;
    struct plan p;

    (void)state;
    open_plan(&p, &llava_7b, "", &o);
    p.all_levels = true;
    OK(plan_row(&all, &p, &two));
    assert_int_equal(all.again, RECOMPUTE_NOTHING);
    // of 31 layers with all rows the MLP's gate and up; then q, k, v, o, x2 too, but for one set
    within(all.level[0].step - all.level[1].step, 31 * n * 2 * (11008 / 2.0) * 2 - n * 2 * 11008 / 2.0 * 2, 0.1);
    within(all.level[1].step - all.level[2].step, 31 * n * (4 * (D / 2) * 2 + D * 4), 0.1);
    for (int i = 1; i < RECOMPUTES; i++) {
        assert_true(all.level[i].peak < all.level[i - 1].peak);
        assert_true(all.level[i].flop > all.level[i - 1].flop);
    }
    // 32 times gate and up of this rank, the last of answer rows
    within(all.level[1].flop - all.level[0].flop, 2 * (31 * n + 160) * 2 * D * 11008 / 2, 1e-9);
    within(all.level[2].wire - all.level[0].wire, 31 * n * D * 4, 1e-9); // halves of two ranks, both ways
    assert_true(all.level[1].wire == all.level[0].wire);
    for (int i = 0; i < RECOMPUTES; i++) {
        p.cfg.memory_limit = (all.level[i].peak + 1) / (1 << 30);
        OK(plan_row(&r, &p, &two));
        assert_int_equal(r.again, i);
        assert_true(r.level[i].fits && (!i || !r.level[i - 1].fits));
        assert_true(r.first.step == all.level[i].step && r.time.share > 0);
        assert_true(!i || r.time.compute > all.time.compute);
        within(r.time.flop, all.time.flop, 1e-9); // what is useful
    }
    p.cfg.memory_limit = 1;
    OK(plan_row(&r, &p, &two));
    assert_int_equal(r.again, RECOMPUTE_LAYER);
    assert_false(r.level[r.again].fits);
    strcpy(p.cfg.activations, "keep");
    OK(plan_row(&r, &p, &two));
    assert_int_equal(r.again, RECOMPUTE_NOTHING);
    assert_true(r.level[2].step > 0);
    close_plan(&p);
}

static void layouts(void **state)
{
    const struct plan_options o = {.tokens = 700, .answers = 40};
    struct plan_row r, s;
    struct plan p;

    (void)state;
    open_plan(&p, &llava_7b, "", &o);
    assert_int_equal(plan_row(&r, &p, &(struct plan_layout){64, 64, 1, false, 4, false}), CL_ECONFIG); // 32 heads
    assert_non_null(strstr(err_text(), "parallel.tensor"));
    for (int ranks = 1; ranks <= 64; ranks *= 2) {
        OK(plan_row(
            &r, &p,
            &(struct plan_layout){ranks, ranks < 32 ? ranks : 32, ranks < 32 ? 1 : ranks / 32, false, 4, false}));
        assert_true(r.first.sum > r.other.sum || ranks == 1);
        assert_true(r.time.step > 0 && r.time.answers > 0 && r.time.share > 0 && r.time.share < 1);
    }
    // twice the groups: half the time but for what they exchange
    OK(plan_row(&r, &p, &(struct plan_layout){4, 2, 2, false, 4, false}));
    OK(plan_row(&s, &p, &(struct plan_layout){8, 2, 4, false, 4, false}));
    within(s.time.compute, r.time.compute / 2, 0.001);
    assert_true(s.time.tokens > 1.8 * r.time.tokens);
    within(s.time.flop, r.time.flop, 1e-9); // of the step: the same
    // a dedicated coordinator holds no weights
    OK(plan_row(&r, &p, &(struct plan_layout){3, 2, 1, true, 4, false}));
    assert_true(r.first.base == 0 && r.first.pool > 0 && r.other.base > 0 && r.other.pool == 0);
    close_plan(&p);
}

/* Every method, and an evaluation alone. */
static void methods(void **state)
{
    static const struct {
        const char *name;
        int slots; // of three tasks
    } method[] = {{"zero_shot", 0},  {"sequential_lora", 1},  {"joint", 1},         {"replay", 1},
                  {"self_guide", 1}, {"continual_llava", 24}, {"taskwise_lora", 3}, {"lwf", 2},
                  {"ewc", 1},        {"o_lora", 3},           {"moe_lora", 8},      {"l2p", 10}};
    struct plan_options o = {.tokens = 40, .answers = 6, .tasks = 3};
    struct plan p;
    struct plan_row r, e;

    (void)state;
    for (size_t i = 0; i < sizeof method / sizeof *method; i++) {
        char more[64];
        snprintf(more, sizeof more, "method: %s", method[i].name);
        o.eval = false;
        open_plan(&p, &small, more, &o);
        OK(plan_row(&r, &p, &one));
        assert_true(r.time.answers > 0);
        assert_true(i ? r.time.step > 0 : r.time.step == 0);
        assert_int_equal(p.method.slots, method[i].slots);
        close_plan(&p);
        o.eval = true;
        open_plan(&p, &small, more, &o);
        OK(plan_row(&e, &p, &one));
        assert_true(e.first.copy == 0 && e.first.sum <= r.first.sum);
        close_plan(&p);
    }
}

/* Prompts: rows of the residual stream, at each leader; inside a group nothing but a sum more on the way back. */
static void prompts(void **state)
{
    const struct plan_options o = {.tokens = 40, .answers = 6, .tasks = 3};
    const struct plan_layout two[] = {{2, 1, 2, false, 4, false}, {2, 2, 1, false, 4, false}};
    const double numbers = 6 * 4 * 128;
    struct plan p, none;
    struct plan_row r[2], without;
    struct text t = {0};

    (void)state;
    open_plan(&none, &small, "method: sequential_lora\nactivations: keep", &o);
    OK(plan_row(&without, &none, &two[1]));
    const double step_of_lora = without.level[RECOMPUTE_NOTHING].wire;
    close_plan(&none);
    open_plan(&p, &small, "method: l2p\nl2p: {prompts: 6, length: 4, top_m: 2}\nactivations: keep", &o);
    for (int i = 0; i < 2; i++) OK(plan_row(&r[i], &p, &two[i]));
    assert_true(p.method.routes && p.method.slots == 6 && p.method.learned == 6);
    within((double)p.method.parameters, numbers, 0);
    within(r[0].time.increments, numbers * 4, 1e-9);
    within(r[0].time.gradients, numbers * 4, 1e-9);
    within(r[0].first.increments, 2 * numbers * 4, 0.01); // rows and their gradients
    assert_true(r[1].time.increments == 0 && r[1].time.gradients == 0);
    // of a micro-batch of 160 tokens: what rank 0 sends in one sum of their gradients
    within(r[1].level[RECOMPUTE_NOTHING].wire - step_of_lora,
           (double)traffic_to_embeddings(&p.base, 2, 160, DT_F32).sum_bytes, 1e-9);
    plan_print(&t, &p, r, 2);
    assert_non_null(strstr(t.s, "6 prompts of 4 rows, 3.07 k numbers"));
    text_free(&t);
    close_plan(&p);
}

static void texts(void **state)
{
    const struct plan_options o = {.tokens = 700, .answers = 40};
    struct text t = {0}, svg = {0};
    struct plan_row r;
    struct plan p;

    (void)state;
    open_plan(&p, &llava_7b, "", &o);
    OK(plan_row(&r, &p, &one));
    plan_print(&t, &p, &r, 1);
    assert_non_null(strstr(t.s, "7.06 G parameters"));
    assert_non_null(strstr(t.s, "RoBERTa-base assumed"));
    assert_non_null(strstr(t.s, "(assumed)"));
    text_clear(&t);
    plan_json(&t, &p, &r, 1);
    json_error_t error;
    json_t *root = json_loads(t.s, 0, &error);
    assert_non_null(root);
    assert_int_equal(json_array_size(json_object_get(root, "layouts")), 1);
    json_decref(root);
    text_clear(&t);
    OK(plan_scaling(&t, &svg, &p));
    assert_non_null(strstr(t.s, "| 512 | 256 |"));
    assert_non_null(strstr(t.s, "assumed"));
    assert_null(strstr(t.s, "nan"));
    assert_non_null(strstr(svg.s, "</svg>"));
    assert_null(strstr(svg.s, "nan"));
    text_free(&t), text_free(&svg);
    close_plan(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters), cmocka_unit_test(memory_of_7b),
        cmocka_unit_test(all_maps),   cmocka_unit_test(operations_by_hand),
        cmocka_unit_test(shares),     cmocka_unit_test(levels),
        cmocka_unit_test(layouts),    cmocka_unit_test(methods),
        cmocka_unit_test(prompts),    cmocka_unit_test(texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
