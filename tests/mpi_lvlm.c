/* mpi_lvlm.c - a model on several ranks against itself on one: all ranks are one tensor-parallel group, the first leads.
 *
 * The leader opens the base twice, with the group and alone, and runs both through everything that lvlm.h has.
 */
#include "mpi_fixture.h"

#include "lvlm_group.h"
#define assert_int_equal(a, b) check_int(a, b)
#include "golden_file.h"
#include "model/follow.h"
#include "model/share.h"

/* ---- against one process */

struct one {
    const struct tiny *t;
    enum dtype act;
    double within;
    char what[64];
};

static void against_one_rank(const struct tp *tp, void *context)
{
    const struct one *o = context;
    struct result shared, alone;

    run(&shared, o->t, tp, o->act);
    run(&alone, o->t, NULL, o->act);
    compare(&shared, &alone, o->within, o->what);
    if (o->within < 1e-4) check_bytes(shared.token, alone.token, sizeof alone.token);
    free_result(&shared), free_result(&alone);
}

static void compare_on(const struct tiny *t, enum dtype act, double within, const char *what)
{
    struct one o = {t, act, within, ""};

    snprintf(o.what, sizeof o.what, "%s", what);
    together(against_one_rank, &o);
}

static void equals_one_rank(void)
{
    each_model(compare_on, DT_F32, 1e-5);
}

static void equals_one_rank_bf16(void)
{
    each_model_bf16(compare_on, 4e-2);
}

/* Sums that travel as bf16: 8 bits of every share. */
static void bf16_on_the_wire(void)
{
    check_ok(ranks_layout(ranks_size(), false, DT_BF16));
    each_model(compare_on, DT_F32, 5e-2);
}

static void golden_gradients(void)
{
    each_golden(compare_on, 1e-5);
}

static void twice(const struct tp *tp, void *context)
{
    struct result a, b;

    run(&a, context, tp, DT_F32);
    run(&b, context, tp, DT_F32);
    check_bytes(a.dA, b.dA, a.n_A * sizeof *a.dA);
    check_bytes(a.dB, b.dB, a.n_B * sizeof *a.dB);
    check_bytes(a.logits, b.logits, a.n_logits * sizeof *a.logits);
    check_bytes(a.feature, b.feature, a.n_feature * sizeof *a.feature);
    check_bytes(a.nll, b.nll, sizeof a.nll);
    check_bytes(a.dcoef, b.dcoef, sizeof a.dcoef);
    check_bytes(a.token, b.token, sizeof a.token);
    free_result(&a), free_result(&b);
}

/* Two runs of as many ranks: the same bits. */
static void runs_are_equal(void)
{
    write_base(&models[SEEING], NULL);
    together(twice, (void *)&models[SEEING]);
    remove_base();
}

/* ---- increments on other maps than o_proj */

static void maps_equal_one_rank(void)
{
    chosen = PROJECTIONS_ALL;
    each_model(compare_on, DT_F32, 2e-5);
    each_golden(compare_on, 2e-5);
    for (int p = 0; p < PROJECTIONS; p++) { // the smallest: one layer, and ranks that share a key/value head
        chosen = PROJECTION_BIT(p);
        if (models[3].heads < ranks_size()) continue;
        write_base(&models[3], NULL);
        compare_on(&models[3], DT_F32, 2e-5, projection_name((enum projection)p));
        remove_base();
    }
    chosen = PROJECTIONS_DEFAULT;
}

static void maps_equal_one_rank_bf16(void)
{
    chosen = PROJECTIONS_ALL;
    each_model_bf16(compare_on, 6e-2);
    chosen = PROJECTIONS_DEFAULT;
}

/* One sample's mixture that merged() puts into the weights. */
static struct increments merged_increments;
static const struct tiny *merged_base;

/* W += sum_m c_m B_m A_m of every map, from the numbers as projections.h says that they stand. */
static void merge(struct tiny_file *f)
{
    const struct increments *k = &merged_increments;
    const struct tiny *t = merged_base;
    const struct text_config c = {
        .hidden = t->D, .heads = t->heads, .kv_heads = t->kv_heads, .head_dim = t->head_dim, .ffn = t->F};
    struct projections on;
    char name[96];

    projections_of(&on, chosen, &c);
    for (int l = 0; l < t->L; l++)
        for (int i = 0; i < on.n; i++) {
            const struct projection_place *at = &on.at[i];
            int64_t cols;
            snprintf(name, sizeof name, "layers.%d.%s.weight", l, projection_module(at->is));
            float *W = tiny_tensor(f, name, &cols);
            check_int(cols, at->in);
            for (int64_t o = 0; o < at->out; o++)
                for (int64_t x = 0; x < at->in; x++) {
                    double sum = 0;
                    for (int s = 0; s < SLOTS; s++)
                        for (int r = 0; r < RANK; r++)
                            sum += (double)k->coef[s] * (double)k->slot[s].B[(l * on.D + at->out0 + o) * RANK + r] *
                                   (double)k->slot[s].A[(l * RANK + r) * on.H + at->in0 + x];
                    W[o * cols + x] += (float)sum;
                }
        }
}

enum { DECODED = 4 };

/* Losses of a batch, and logits of the last tokens of its first sample: prompt, then token by token. */
static void losses_and_logits(float *nll, float *logits, const struct tiny *t, const struct tp *tp,
                              const struct adapters *set)
{
    static const int seq[] = {0};
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct kv_cache *kv;
    uint32_t seed = 3;
    int32_t next, id[DECODED];

    check_ok(batch_new(&b, SAMPLES, TOKENS));
    for (int i = 0; i < SAMPLES; i++) tiny_sample(&b, t, 12 + i, DECODED, false, false, &seed);
    check_ok(lvlm_forward(m, &b, set, nll, 0));
    check_ok(lvlm_logits(m, logits, b.rows));
    for (int i = 0; i < DECODED; i++) id[i] = b.target[i];
    batch_clear(&b);
    seed = 3;
    tiny_sample(&b, t, 12, DECODED, false, true, &seed);
    check_ok(lvlm_kv_new(&kv, m, 1, 20));
    check_ok(lvlm_prefill(m, kv, seq, &b, set, NULL, &next));
    logits += (int64_t)SAMPLES * DECODED * t->vocab;
    for (int i = 0; i < DECODED; i++, logits += t->vocab) {
        check_ok(lvlm_logits(m, logits, 1));
        if (i + 1 < DECODED) check_ok(lvlm_decode(m, kv, 1, seq, &id[i], set, NULL, &next));
    }
    lvlm_kv_free(kv);
    batch_free(&b);
    lvlm_close(m);
}

struct merging {
    const struct tiny *t;
    const struct adapters *set; // NULL: their weights hold it
    float *nll, *logits;
};

static void run_merging(const struct tp *tp, void *context)
{
    const struct merging *g = context;

    losses_and_logits(g->nll, g->logits, g->t, tp, g->set);
}

/* What the increments of all maps do is what a base does whose weights hold them; decoding token by token gives the logits of
 * the forward pass. */
static void like_merged(const struct tiny *t)
{
    struct increments *k = &merged_increments;
    const int64_t rows = SAMPLES * DECODED, all = (rows + DECODED) * t->vocab;
    float *x = calloc((size_t)(2 * (rows + all)), sizeof *x);
    struct lvlm_config c;
    struct merging own = {t, &k->set, x, x + rows}, base_alone = {t, NULL, x + rows + all, x + 2 * rows + all};

    merged_base = t;
    write_base(t, NULL);
    check_ok(lvlm_config_read(&c, base));
    make_increments(k, &c);
    for (int i = SLOTS; i < SAMPLES * SLOTS; i++) k->coef[i] = k->coef[i % SLOTS];
    together(run_merging, &own);
    remove_base();
    write_base(t, merge);
    together(run_merging, &base_alone);
    remove_base();
    if (ranks_rank() == 0) {
        check(distance(own.nll, base_alone.nll, (size_t)rows) < 1e-4);
        check(distance(own.logits, base_alone.logits, (size_t)all) < 1e-4);
        check(distance(own.logits + rows * t->vocab, own.logits, (size_t)(DECODED * t->vocab)) < 1e-5);
    }
    free_increments(k);
    free(x);
}

static void maps_like_merged_weights(void)
{
    chosen = PROJECTIONS_ALL;
    for (int i = 0; i < MODELS; i++)
        if (models[i].heads >= ranks_size()) like_merged(&models[i]);
    chosen = PROJECTION_BIT(PROJ_k) | PROJECTION_BIT(PROJ_gate);
    if (models[2].heads >= ranks_size()) like_merged(&models[2]);
    chosen = PROJECTIONS_DEFAULT;
}

/* ---- rounded weights */

/* Logits (STEPS, vocab) of given tokens behind a prompt, decoded on the ranks of tp. */
static void decode_given(float *logits, const struct tiny *t, const struct tp *tp, bool int8)
{
    static const int seq[] = {0};
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct kv_cache *kv;
    uint32_t seed = 3;
    int32_t next;
    const size_t bytes = lvlm_weight_bytes(m);

    for (int i = 0; int8 && i < 2; i++) check_ok(lvlm_decode_int8(m)); // the second does nothing
    check((lvlm_weight_bytes(m) > bytes) == int8);
    check_ok(lvlm_kv_new(&kv, m, 1, 14 + STEPS));
    check_ok(batch_new(&b, 1, TOKENS));
    tiny_sample(&b, t, 14, 2, false, true, &seed);
    check_ok(lvlm_prefill(m, kv, seq, &b, NULL, NULL, &next));
    for (int s = 0; s < STEPS; s++) {
        const int32_t token = (7 * s + 3) % t->vocab;
        check_ok(lvlm_decode(m, kv, 1, seq, &token, NULL, NULL, &next));
        check_ok(lvlm_logits(m, logits + (int64_t)s * t->vocab, 1));
    }
    lvlm_kv_free(kv);
    batch_free(&b);
    lvlm_close(m);
}

static void int8_against_one_rank(const struct tp *tp, void *context)
{
    const struct tiny *t = context;
    const size_t n = (size_t)(STEPS * t->vocab);
    float *shared = malloc(n * sizeof *shared), *alone = malloc(n * sizeof *alone), *whole = malloc(n * sizeof *whole);

    decode_given(shared, t, tp, true);
    decode_given(alone, t, NULL, true);
    decode_given(whole, t, NULL, false);
    check(distance(shared, alone, n) < 2e-4); // the same bytes; x is split in other units
    check(distance(alone, whole, n) < 5e-2 && distance(alone, whole, n) > 1e-5);
    free(shared), free(alone), free(whole);
}

static void decodes_int8(void)
{
    for (int i = 0; i < MODELS; i++) on_base(&models[i], NULL, int8_against_one_rank);
}

/* ---- increments */

/* Samples of different slots in one pack give what each gives alone. */
static void mixed(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct packed_batch all = {0}, b = {0};
    struct increments k;
    struct feature *f[2] = {0};
    struct result r = {0};
    float together_nll[ROWS], nll[ROWS], coef[SAMPLES * SLOTS] = {0};

    make_increments(&k, lvlm_get_config(m));
    for (int s = 0; s < SAMPLES; s++) coef[s * SLOTS + s % SLOTS] = 0.7f + 0.1f * (float)s; // each its own slot
    see(&r, m, context, f, 2);
    check_ok(batch_new(&all, SAMPLES, TOKENS)), check_ok(batch_new(&b, 1, TOKENS));
    pack(&all, context, f, 1);
    k.set.coef = coef;
    check_ok(lvlm_forward(m, &all, &k.set, together_nll, 0));
    for (int s = 0; s < SAMPLES; s++) {
        const int64_t n = all.cu[s + 1] - all.cu[s], rows = all.cu_row[s + 1] - all.cu_row[s];
        batch_clear(&b);
        b.samples = 1, b.n = b.cu[1] = n, b.rows = b.cu_row[1] = rows;
        memcpy(b.id, all.id + all.cu[s], (size_t)n * sizeof *b.id);
        memcpy(b.pos, all.pos + all.cu[s], (size_t)n * sizeof *b.pos);
        memcpy(b.target, all.target + all.cu_row[s], (size_t)rows * sizeof *b.target);
        for (int64_t i = 0; i < rows; i++) b.row[i] = all.row[all.cu_row[s] + i] - all.cu[s];
        for (int i = 0; i < all.pictures; i++)
            if (all.picture_sample[i] == s)
                b.pictures = 1, b.picture_at[0] = all.picture_at[i] - all.cu[s], b.feature[0] = all.feature[i];
        k.set.coef = coef + s * SLOTS;
        check_ok(lvlm_forward(m, &b, &k.set, nll, 0));
        check(distance(nll, together_nll + all.cu_row[s], (size_t)rows) < 1e-5);
    }
    for (int i = 0; i < 2; i++) lvlm_feature_free(m, f[i]);
    free_result(&r);
    batch_free(&all), batch_free(&b);
    free_increments(&k);
    lvlm_close(m);
}

static void mixed_slots(void)
{
    on_base(&models[2], NULL, mixed);
}

/* Values may be gone once a version is loaded; then another version, or a set of another width, needs them again. */
static void loads(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct increments k;
    struct packed_batch b = {0};
    float nll[2][ROWS];
    const float *A, *B;

    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, context, NULL, 1);
    make_increments(&k, lvlm_get_config(m));
    check_ok(lvlm_forward(m, &b, &k.set, nll[0], 0));
    A = k.slot[1].A, B = k.slot[1].B;
    for (int i = 0; i < SLOTS; i++) k.slot[i].A = k.slot[i].B = NULL;
    check_ok(lvlm_load(m, &k.set));
    check_ok(lvlm_forward(m, &b, &k.set, nll[1], 0));
    check_bytes(nll[0], nll[1], (size_t)b.rows * sizeof **nll);
    k.slot[1].version += 1000;
    check_code(lvlm_forward(m, &b, &k.set, nll[1], 0), CL_EINTERNAL);
    check_text(err_text(), "slot 1 of a set of 3 has no values");
    k.slot[1].A = A, k.slot[1].B = B;
    check_ok(lvlm_load(m, &k.set));
    check_ok(lvlm_forward(m, &b, &k.set, nll[1], 0));
    check_bytes(nll[0], nll[1], (size_t)b.rows * sizeof **nll);
    k.set.slots = 2;
    check_code(lvlm_load(m, &k.set), CL_EINTERNAL);
    batch_free(&b);
    free_increments(&k);
    lvlm_close(m);
}

static void values_may_be_gone(void)
{
    on_base(&models[0], NULL, loads);
}

/* What the leader refuses it refuses alone: the group goes on. */
static void refuses(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    float nll[2][ROWS];
    double dcoef[1];
    int32_t keep;

    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, context, NULL, 1);
    check_ok(lvlm_forward(m, &b, NULL, nll[0], 0));
    keep = b.id[3], b.id[3] = models[0].vocab;
    check_code(lvlm_forward(m, &b, NULL, nll[1], 0), CL_ENUM);
    check_text(err_text(), "token id 50 at place 3");
    b.id[3] = keep, keep = b.target[2], b.target[2] = -1;
    if (tp) check_code(lvlm_forward(m, &b, NULL, nll[1], 0), CL_ENUM);
    b.target[2] = keep;
    check_code(lvlm_coef_reduce(m, dcoef, 1), CL_EINTERNAL);
    check_code(lvlm_grads_read(m, NULL, NULL, SLOTS + 1, RANK), CL_EINTERNAL);
    check_ok(lvlm_forward(m, &b, NULL, nll[1], 0));
    check_bytes(nll[0], nll[1], (size_t)b.rows * sizeof **nll);
    batch_free(&b);
    lvlm_close(m);
}

static void refused_alone(void)
{
    on_base(&models[0], NULL, refuses);
}

static void too_many(const struct tp *tp, void *context)
{
    const struct backend *be;
    struct lvlm *m;
    (void)context;

    check_ok(backend_cpu(&be, DT_F32));
    check_code(lvlm_open(&m, base, be, tp, false), CL_ECONFIG);
    check_text(err_text(), "parallel.tensor");
    check_text(err_text(), "any size from 1 to 1 works");
}

static void more_ranks_than_heads(void)
{
    const struct tiny t = {.D = 8, .heads = 1, .kv_heads = 1, .head_dim = 8, .F = 8, .L = 1, .vocab = 20};

    if (ranks_size() == 1) return;
    write_base(&t, NULL);
    together(too_many, NULL);
    remove_base();
}

/* ---- numbers that are none */

/* What the last rank multiplies with in the MLP of layer 1. */
static void spoil_mlp(struct tiny_file *f)
{
    int64_t cols;
    float *down = tiny_tensor(f, "layers.1.mlp.down_proj.weight", &cols);

    down[cols - 1] = NAN;
}

static void finds_nonfinite(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    float nll[ROWS];
    char text[256], want[64];

    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, context, NULL, 1);
    check_ok(lvlm_find_nonfinite(m, text, sizeof text));
    check_int(text[0], 0);
    check_ok(lvlm_forward(m, &b, NULL, nll, 0));
    check(isnan(nll[0]));
    check_ok(lvlm_find_nonfinite(m, text, sizeof text));
    if (tp) {
        snprintf(want, sizeof want, "rank %d (", tp->size - 1);
        check_text(text, want);
        check_text(text, "in tp_reduce behind the MLP of layer 1");
    }
    check_ok(lvlm_find_nonfinite(m, text, sizeof text));
    check_int(text[0], 0);
    batch_free(&b);
    lvlm_close(m);
}

static void where_nonfinite(void)
{
    on_base(&models[0], spoil_mlp, finds_nonfinite);
}

/* One row of the vocabulary, the last rank's. */
static void spoil_head(struct tiny_file *f)
{
    int64_t cols;
    float *head = tiny_tensor(f, "lm_head.weight", &cols);

    head[49 * cols] = NAN;
}

static void refuses_nan(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct kv_cache *kv;
    uint32_t seed = 1;
    int32_t next;
    const int seq = 0;
    uint8_t none[50] = {0};

    check_ok(batch_new(&b, 1, TOKENS));
    check_ok(lvlm_kv_new(&kv, m, 1, TOKENS));
    tiny_sample(&b, context, 9, 1, false, true, &seed);
    for (int i = 0; i < 2; i++) { // the ranks stay in step
        check_code(lvlm_prefill(m, kv, &seq, &b, NULL, NULL, &next), CL_ENUM);
        check_text(err_text(), "row 0 of the logits holds NaN");
    }
    check_code(lvlm_prefill(m, kv, &seq, &b, NULL, none, &next), CL_ENUM);
    lvlm_kv_free(kv);
    batch_free(&b);
    lvlm_close(m);
}

static void nan_logits(void)
{
    on_base(&models[0], spoil_head, refuses_nan);
}

/* All logits 0. */
static void clear_head(struct tiny_file *f)
{
    int64_t cols;
    float *head = tiny_tensor(f, "lm_head.weight", &cols);

    for (int64_t i = 0; i < 50 * cols; i++) head[i] = 0;
}

static void chooses_lower(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct kv_cache *kv;
    uint32_t seed = 1;
    int32_t next;
    const int seq = 0;
    uint8_t allowed[50] = {0};

    check_ok(batch_new(&b, 1, TOKENS));
    check_ok(lvlm_kv_new(&kv, m, 1, TOKENS));
    tiny_sample(&b, context, 9, 1, false, true, &seed);
    check_ok(lvlm_prefill(m, kv, &seq, &b, NULL, NULL, &next));
    check_int(next, 0);
    for (int first = 49; first >= 0; first--) {
        allowed[first] = 1;
        check_ok(lvlm_prefill(m, kv, &seq, &b, NULL, allowed, &next));
        check_int(next, first);
    }
    lvlm_kv_free(kv);
    batch_free(&b);
    lvlm_close(m);
}

/* Whichever ranks have them. */
static void equal_logits(void)
{
    on_base(&models[0], clear_head, chooses_lower);
}

/* ---- bytes of the files */

/* Whether it was taken on the way (bf16: every matrix has a form of its own) or afterwards (f32: used where they lie). */
static void hashes(const struct tp *tp, void *context)
{
    struct safetensors *st;
    char want[17];
    (void)context;

    check_ok(safetensors_open(&st, base));
    snprintf(want, sizeof want, "%016llx", (unsigned long long)safetensors_hash(st));
    for (int i = 0; i < 2; i++) {
        const struct backend *be;
        struct lvlm *m;
        if (backend_cpu(&be, i ? DT_BF16 : DT_F32) == CL_EDEVICE) continue;
        check_ok(lvlm_open(&m, base, be, tp, false));
        check(!strcmp(lvlm_hash(m), want));
        lvlm_close(m);
    }
    safetensors_close(st);
}

static void one_hash(void)
{
    static const struct tiny long_table = {.D = 64,
                                           .heads = 8,
                                           .kv_heads = 2,
                                           .head_dim = 8,
                                           .F = 100,
                                           .L = 2,
                                           .vocab = 70001, // blocks of a hash: several
                                           .vision = 32,
                                           .vision_heads = 4,
                                           .vision_F = 64};

    on_base(&long_table, NULL, hashes);
}

/* What every rank reads: norms; of the tower patches, positions, norms, biases behind sums; the projector. */
static int64_t read_by_all(const struct tiny *t)
{
    const int64_t D = t->D, h = t->vision, blocks = TINY_TOWER_LAYERS - 1;
    int64_t n = D * (2 * t->L + 1);

    if (h)
        n += h * 3 * TINY_PATCH * TINY_PATCH + h * (TINY_PATCHES + 2) + 2 * h + blocks * 4 * h + D * h + D + D * D + D;
    return n * (int64_t)sizeof(float);
}

static void opens(const struct tp *tp, void *context)
{
    const struct tiny *t = context;
    const int P = tp ? tp->size : 1;
    const int64_t all = read_by_all(t), head = 2LL * t->head_dim * t->D * t->L * (int64_t)sizeof(float); // k and v
    const struct backend *be;
    struct lvlm *m, *alone;
    int64_t sum = 0, whole, copies = 0, most;

    check_ok(backend_cpu(&be, DT_F32));
    check_ok(lvlm_open(&alone, base, be, NULL, false));
    check_ok(lvlm_open(&m, base, be, tp, false));
    whole = lvlm_read_bytes(alone, 0);
    // whole heads make the largest share uneven; a row of each kind more than the even part
    most = all + (whole - all) * ((t->heads + P - 1) / P) / t->heads + head + 4 * (t->D + 3) * 4 * t->L;
    for (int r = 0; r < P; r++) {
        struct share s;
        check_ok(share_of(&s, lvlm_get_config(m), &(struct tp){.rank = r, .size = P}));
        sum += lvlm_read_bytes(m, r), copies += s.kv_heads;
        check(lvlm_read_bytes(m, r) <= most);
    }
    // one copy, what all have, key/value heads that several ranks have
    check_int(sum, whole + (P - 1) * all + (copies - t->kv_heads) * head);
    lvlm_close(m), lvlm_close(alone);
}

static void reads_its_share(void)
{
    static const struct tiny wide = {.D = 64,
                                     .heads = 8,
                                     .kv_heads = 8,
                                     .head_dim = 8,
                                     .F = 128,
                                     .L = 4,
                                     .vocab = 256,
                                     .vision = 32,
                                     .vision_heads = 4,
                                     .vision_F = 64};
    static const struct tiny grouped = {
        .D = 64, .heads = 8, .kv_heads = 2, .head_dim = 8, .F = 100, .L = 3, .vocab = 201};

    on_base(&wide, NULL, opens);
    on_base(&grouped, NULL, opens);
}

/* ---- texts */

static void embeds(const struct tp *tp, void *context)
{
    static const char *const text[] = {"What colour is the ball?",
                                       "",
                                       "Which shape?",
                                       "A longer question than the others are.",
                                       "ball",
                                       "What colour is the cup in the picture?",
                                       "Is it red?"};
    enum { N = sizeof text / sizeof *text };
    const char *spec = context;
    const struct backend *f32;
    struct text_encoder *e;
    struct tokenizer *tok;
    float *alone, *spread;
    size_t K;

    check_ok(backend_cpu(&f32, DT_F32));
    check_ok(tokenizer_open(&tok, base));
    check_ok(text_encoder_open(&e, spec, base, tok, f32));
    K = (size_t)text_encoder_width(e);
    alone = calloc(N * K, sizeof *alone), spread = calloc(N * K, sizeof *spread);
    check_ok(text_encoder_embed(e, alone, text, N));
    for (int i = 0; i < 2; i++) {
        memset(spread, 0, N * K * sizeof *spread);
        check_ok(follow_embed(tp, e, spec, base, spread, text, N));
        for (int k = 0; k < N; k++) check(distance(spread + (size_t)k * K, alone + (size_t)k * K, K) < 1e-5);
    }
    check_ok(follow_embed(tp, e, spec, base, spread, text, 1)); // too few to share
    check(distance(spread, alone, K) < 1e-5);
    check_ok(follow_embed(tp, e, spec, base, spread, text, 0));
    free(alone), free(spread);
    text_encoder_close(e);
    tokenizer_close(tok);
}

static void texts_are_spread(void)
{
    for (int i = 0; i < 2; i++) {
        char spec[512];
        snprintf(base, sizeof base, SOURCE_DIR "/golden/%c/base", "ab"[i]);
        snprintf(spec, sizeof spec, SOURCE_DIR "/golden/%c/encoder", "ab"[i]);
        together(embeds, spec);
        together(embeds, (void *)"base");
    }
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
#define CASE(name) {#name, name}
        CASE(equals_one_rank),
        CASE(equals_one_rank_bf16),
        CASE(bf16_on_the_wire),
        CASE(golden_gradients),
        CASE(runs_are_equal),
        CASE(decodes_int8),
        CASE(mixed_slots),
        CASE(values_may_be_gone),
        CASE(refused_alone),
        CASE(more_ranks_than_heads),
        CASE(where_nonfinite),
        CASE(nan_logits),
        CASE(equal_logits),
        CASE(one_hash),
        CASE(reads_its_share),
        CASE(texts_are_spread),
        CASE(maps_equal_one_rank),
        CASE(maps_equal_one_rank_bf16),
        CASE(maps_like_merged_weights),
    };
    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
