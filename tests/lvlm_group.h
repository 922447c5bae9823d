/* lvlm_group.h - models on the ranks of a test: made-up bases that all ranks open, the first of them leading. */
#ifndef CLLAVA_TESTS_LVLM_GROUP_H
#define CLLAVA_TESTS_LVLM_GROUP_H

#include "mpi_fixture.h"

#define fail_msg(...)                                                                                                  \
    do {                                                                                                               \
        char fail_text[2560];                                                                                          \
        snprintf(fail_text, sizeof fail_text, __VA_ARGS__);                                                            \
        mpi_case_failed(__FILE__, __LINE__, fail_text);                                                                \
    } while (0)
#include "model/lvlm.h"
#include "tiny_model.h"

enum { SLOTS = 3, LEARNED = 2, RANK = 2, SAMPLES = 4, TOKENS = 80, ROWS = 24, SEQUENCES = 3, STEPS = 5 };

/* heads that do and do not split evenly, fewer key/value heads than ranks, fewer heads of the tower than ranks */
static const struct tiny models[] = {
    {.D = 24, .heads = 4, .kv_heads = 4, .head_dim = 6, .F = 20, .L = 3, .vocab = 50},
    {.D = 20,
     .heads = 5,
     .kv_heads = 5,
     .head_dim = 4,
     .F = 21,
     .L = 2,
     .vocab = 67,
     .attention_bias = true,
     .mlp_bias = true,
     .vision = 12,
     .vision_heads = 3,
     .vision_F = 10},
    {.D = 24,
     .heads = 6,
     .kv_heads = 2,
     .head_dim = 8,
     .F = 26,
     .L = 3,
     .vocab = 51,
     .tied = true,
     .vision = 12,
     .vision_heads = 2,
     .vision_F = 7},
    {.D = 16, .heads = 4, .kv_heads = 1, .head_dim = 4, .F = 9, .L = 1, .vocab = 30, .attention_bias = true},
    {.D = 32, .heads = 8, .kv_heads = 2, .head_dim = 4, .F = 36, .L = 2, .vocab = 90, .mlp_bias = true, .tied = true},
};
enum { MODELS = sizeof models / sizeof *models, SEEING = 1 };

static enum recompute again;                  // what training passes do
static unsigned chosen = PROJECTIONS_DEFAULT; // maps with increments
static char base[512];                        // folder of the base, the same on all ranks

TINY_FN void write_base(const struct tiny *t, void (*change)(struct tiny_file *))
{
    if (ranks_rank() == 0) {
        strcpy(base, "/tmp/mpi_lvlm_XXXXXX");
        check(mkdtemp(base) != NULL);
        tiny_write(base, t, change);
    }
    check_ok(comm_broadcast(ranks_now()->world, base, sizeof base, 0));
}

TINY_FN void remove_base(void)
{
    char command[600];

    check_ok(comm_barrier(ranks_now()->world));
    if (ranks_rank()) return;
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    check_int(system(command), 0);
}

/* The leader does it, the others follow. */
TINY_FN void together(void (*lead)(const struct tp *tp, void *context), void *context)
{
    const struct tp *tp = ranks_now()->tp;

    if (tp && tp->rank) {
        check_ok(lvlm_follow(tp));
        return;
    }
    lead(tp, context);
    check_ok(lvlm_release(tp));
}

/* ---- what a model takes and gives */

struct increments {
    float *A, *B, coef[SAMPLES * SLOTS];
    size_t nA, nB; // of one slot
    struct adapter_slot slot[SLOTS];
    struct adapters set;
};

TINY_FN void make_increments(struct increments *k, const struct lvlm_config *c)
{
    static uint64_t version = 1;
    uint32_t seed = 5;
    struct projections on;

    projections_of(&on, chosen, &c->text);
    k->nA = (size_t)c->text.layers * RANK * (size_t)on.H;
    k->nB = (size_t)c->text.layers * (size_t)on.D * RANK;
    k->A = malloc(SLOTS * k->nA * sizeof *k->A), k->B = malloc(SLOTS * k->nB * sizeof *k->B);
    check(k->A && k->B);
    for (size_t i = 0; i < SLOTS * k->nA; i++) k->A[i] = 0.3f * tiny_noise(&seed);
    for (size_t i = 0; i < SLOTS * k->nB; i++) k->B[i] = 0.3f * tiny_noise(&seed);
    for (int i = 0; i < SAMPLES * SLOTS; i++) k->coef[i] = i % 4 == 3 ? 0 : 0.5f + 0.4f * tiny_noise(&seed);
    for (int i = 0; i < SLOTS; i++)
        k->slot[i] = (struct adapter_slot){k->A + (size_t)i * k->nA, k->B + (size_t)i * k->nB, version++};
    k->set = (struct adapters){.slots = SLOTS, .learned = LEARNED, .rank = RANK, .slot = k->slot, .coef = k->coef};
}

TINY_FN void free_increments(struct increments *k)
{
    free(k->A), free(k->B);
}

struct result {
    float *feature, *logits, *dA, *dB; // malloc'ed
    size_t n_feature, n_logits, n_A, n_B;
    float nll[3][ROWS]; // without increments, in training, the second micro-batch
    double dcoef[2 * SAMPLES * SLOTS];
    int32_t token[STEPS][SEQUENCES];
    int rows;
};

TINY_FN void free_result(struct result *r)
{
    free(r->feature), free(r->logits), free(r->dA), free(r->dB);
}

TINY_FN void see(struct result *r, struct lvlm *m, const struct tiny *t, struct feature **f, int n)
{
    const size_t side = (size_t)lvlm_get_config(m)->vision.image_size, numbers = 3 * side * side,
                 bytes = lvlm_feature_bytes(m);
    float *pixels = malloc((size_t)n * numbers * sizeof *pixels);
    uint32_t seed = 99;

    if (!t->vision) return free(pixels);
    for (size_t i = 0; i < (size_t)n * numbers; i++) pixels[i] = tiny_noise(&seed);
    check_ok(lvlm_see(m, f, pixels, n));
    free(pixels);
    r->n_feature = (size_t)n * bytes / 4;
    r->feature = malloc((size_t)n * bytes);
    for (int i = 0; i < n; i++) memcpy((char *)r->feature + (size_t)i * bytes, f[i]->data, bytes);
}

/* Samples of different lengths, half of them with a picture. */
TINY_FN void pack(struct packed_batch *b, const struct tiny *t, struct feature *const *f, uint32_t seed)
{
    batch_clear(b);
    tiny_sample(b, t, 20, 4, true, false, &seed);
    tiny_sample(b, t, 5, 3, false, false, &seed);
    tiny_sample(b, t, 23, 6, true, false, &seed);
    tiny_sample(b, t, 9, 2, false, false, &seed);
    for (int i = 0; i < b->pictures; i++) b->feature[i] = f[i];
}

TINY_FN void reserve_for_training(struct lvlm *m)
{
    check_ok(lvlm_reserve(m, &(struct lvlm_limits){.samples = SAMPLES,
                                                   .tokens = TOKENS,
                                                   .rows = ROWS,
                                                   .slots = SLOTS,
                                                   .rank = RANK,
                                                   .train = true,
                                                   .again = again}));
}

TINY_FN void train(struct result *r, struct lvlm *m, const struct tiny *t, struct feature *const *f)
{
    const int64_t V = t->vocab;
    struct packed_batch b = {0};
    struct increments k;
    float scale;

    make_increments(&k, lvlm_get_config(m));
    reserve_for_training(m);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, t, f, 1);
    r->rows = (int)b.rows, scale = 1.0f / (float)(2 * b.rows);
    check_ok(lvlm_forward(m, &b, NULL, r->nll[0], 0));
    r->n_logits = (size_t)(b.rows * V);
    r->logits = malloc(r->n_logits * sizeof *r->logits);
    check_ok(lvlm_logits(m, r->logits, b.rows));
    check_ok(lvlm_grads_clear(m));
    for (int i = 0; i < 2; i++) {
        if (i) pack(&b, t, f, 2);
        check_ok(lvlm_forward(m, &b, &k.set, r->nll[1 + i], scale));
        check_ok(lvlm_backward(m, &b, &k.set, r->dcoef + i * SAMPLES * SLOTS));
    }
    r->n_A = LEARNED * k.nA, r->n_B = LEARNED * k.nB;
    r->dA = malloc(r->n_A * sizeof *r->dA), r->dB = malloc(r->n_B * sizeof *r->dB);
    check_ok(lvlm_grads_read(m, r->dA, r->dB, LEARNED, RANK));
    check_ok(lvlm_coef_reduce(m, r->dcoef, 2 * SAMPLES * SLOTS));
    batch_free(&b);
    free_increments(&k);
}

/* Prompts in three places of a cache, one of them replaced in the middle. */
TINY_FN void generate(struct result *r, struct lvlm *m, const struct tiny *t, struct feature *const *f)
{
    static const int seq[] = {2, 0, 1};
    struct packed_batch b = {0};
    struct increments k;
    struct kv_cache *kv, *other;
    uint8_t *allowed = calloc((size_t)t->vocab, 1);
    uint32_t seed = 3;

    make_increments(&k, lvlm_get_config(m));
    for (int i = 0; i < t->vocab; i++) allowed[i] = i % 5 != 1;
    check_ok(lvlm_kv_new(&other, m, 1, 4));
    check_ok(lvlm_kv_new(&kv, m, SEQUENCES, 40));
    lvlm_kv_free(other);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    for (int i = 0; i < 3; i++) tiny_sample(&b, t, 14 + i, 2, i == 1, true, &seed);
    for (int i = 0; i < b.pictures; i++) b.feature[i] = f[1];
    check_ok(lvlm_prefill(m, kv, seq, &b, &k.set, allowed, r->token[0]));
    for (int s = 1; s < STEPS; s++) {
        check_ok(lvlm_decode(m, kv, 3, seq, r->token[s - 1], &k.set, s < 3 ? allowed : NULL, r->token[s]));
        if (s != 2) continue;
        batch_clear(&b);
        tiny_sample(&b, t, 9, 1, false, true, &seed);
        check_ok(lvlm_prefill(m, kv, &seq[1], &b, &k.set, NULL, &r->token[s][1]));
    }
    lvlm_kv_free(kv);
    batch_free(&b);
    free(allowed);
    free_increments(&k);
}

/* Everything that lvlm.h has, on the ranks of tp. */
TINY_FN void run(struct result *r, const struct tiny *t, const struct tp *tp, enum dtype act)
{
    const struct backend *be;
    struct lvlm *m;
    struct feature *f[6] = {0};

    memset(r, 0, sizeof *r);
    check_ok(backend_cpu(&be, act));
    check_ok(lvlm_open(&m, base, be, tp, true));
    check_ok(lvlm_adapt(m, chosen));
    see(r, m, t, f, 6);
    if (t->vision) { // numbers that are free are given again
        lvlm_feature_free(m, f[1]);
        free(r->feature);
        see(r, m, t, f, 6);
    }
    train(r, m, t, f);
    generate(r, m, t, f);
    for (int i = 0; i < 6; i++) lvlm_feature_free(m, f[i]);
    lvlm_close(m);
}

/* The largest difference as a part of the largest number. */
TINY_FN double distance(const float *x, const float *y, size_t n)
{
    double most = 1e-30, far = 0;

    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)x[i] - (double)y[i]);
        if (!(d <= far)) far = d;
        if (fabs((double)y[i]) > most) most = fabs((double)y[i]);
    }
    return far / most;
}

TINY_FN void compare(const struct result *a, const struct result *b, double within, const char *what)
{
    const struct {
        const char *name;
        const float *a, *b;
        size_t n;
    } part[] = {{"features", a->feature, b->feature, a->n_feature},
                {"logits", a->logits, b->logits, a->n_logits},
                {"dA", a->dA, b->dA, a->n_A},
                {"dB", a->dB, b->dB, a->n_B},
                {"nll", a->nll[0], b->nll[0], (size_t)a->rows},
                {"nll", a->nll[1], b->nll[1], (size_t)a->rows},
                {"nll", a->nll[2], b->nll[2], (size_t)a->rows}};
    double most = 0, far = 0;

    check_int(a->rows, b->rows);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        double d = distance(part[i].a, part[i].b, part[i].n);
        if (!(d <= within)) fail_msg("%s: %s differ by %g", what, part[i].name, d);
    }
    for (int i = 0; i < 2 * SAMPLES * SLOTS; i++) {
        most = fmax(most, fabs(b->dcoef[i]));
        far = fmax(far, fabs(a->dcoef[i] - b->dcoef[i]));
    }
    if (!(far <= within * most)) fail_msg("%s: gradients of coefficients differ by %g", what, far / most);
}

/* ---- a model that is open */

TINY_FN struct lvlm *open_model(const struct tp *tp)
{
    const struct backend *be;
    struct lvlm *m;

    check_ok(backend_cpu(&be, DT_F32));
    check_ok(lvlm_open(&m, base, be, tp, true));
    check_ok(lvlm_adapt(m, chosen));
    reserve_for_training(m);
    return m;
}

TINY_FN void on_base(const struct tiny *t, void (*change)(struct tiny_file *),
                     void (*lead)(const struct tp *tp, void *context))
{
    if (t->heads < ranks_size()) return;
    write_base(t, change);
    together(lead, (void *)t);
    remove_base();
}

/* ---- the same on every base. on: compares what base t gives in one way and in another; all ranks. */

typedef void compare_bases(const struct tiny *t, enum dtype act, double within, const char *what);

TINY_FN void each_model(compare_bases *on, enum dtype act, double within)
{
    char what[64];

    for (int i = 0; i < MODELS; i++) {
        if (models[i].heads < ranks_size()) continue;
        snprintf(what, sizeof what, "model %d, %s", i, dtype_name(act));
        write_base(&models[i], NULL);
        on(&models[i], act, within, what);
        remove_base();
    }
}

/* In bf16, where the processor has it. */
TINY_FN void each_model_bf16(compare_bases *on, double within)
{
    const struct backend *be;

    if (backend_cpu(&be, DT_BF16)) {
        if (ranks_rank() == 0) printf("skipped: %s\n", err_text());
        return;
    }
    each_model(on, DT_BF16, within);
}

/* The bases of the golden sets. */
static const struct tiny golden[] = {
    {.vocab = 448, .heads = 4, .vision = 32, .image_token = 420},
    {.vocab = 448, .heads = 6, .vision = 48, .image_token = 400},
};

TINY_FN void each_golden(compare_bases *on, double within)
{
    char what[64];

    for (int i = 0; i < 2; i++) {
        snprintf(what, sizeof what, "golden %c", "ab"[i]);
        snprintf(base, sizeof base, SOURCE_DIR "/golden/%c/base", "ab"[i]);
        on(&golden[i], DT_F32, within, what);
    }
}

#endif
