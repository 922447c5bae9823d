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

static char base[512]; // folder of the base, the same on all ranks

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

    k->nA = (size_t)c->text.layers * RANK * (size_t)(c->text.heads * c->text.head_dim);
    k->nB = (size_t)c->text.layers * (size_t)c->text.hidden * RANK;
    k->A = malloc(SLOTS * k->nA * sizeof *k->A), k->B = malloc(SLOTS * k->nB * sizeof *k->B);
    check(k->A && k->B);
    for (size_t i = 0; i < SLOTS * k->nA; i++) k->A[i] = 0.3f * tiny_noise(&seed);
    for (size_t i = 0; i < SLOTS * k->nB; i++) k->B[i] = 0.3f * tiny_noise(&seed);
    for (int i = 0; i < SAMPLES * SLOTS; i++) k->coef[i] = i % 4 == 3 ? 0 : 0.5f + 0.4f * tiny_noise(&seed);
    for (int i = 0; i < SLOTS; i++)
        k->slot[i] = (struct adapter_slot){k->A + (size_t)i * k->nA, k->B + (size_t)i * k->nB, version++};
    k->set = (struct adapters){SLOTS, LEARNED, RANK, k->slot, k->coef};
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

/* ---- a model that is open */

TINY_FN struct lvlm *open_model(const struct tp *tp)
{
    const struct backend *be;
    struct lvlm *m;

    check_ok(backend_cpu(&be, DT_F32));
    check_ok(lvlm_open(&m, base, be, tp, true));
    check_ok(lvlm_reserve(m, &(struct lvlm_limits){SAMPLES, TOKENS, ROWS, SLOTS, RANK, true}));
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

#endif
