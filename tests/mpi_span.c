/* mpi_span.c - passes in two halves that take turns (parallel.overlap) against passes in one. */
#include "mpi_fixture.h"

#include "lvlm_group.h"

enum { LONGEST = 40 };

/* What the leader does twice: with overlap and without. The members' flag turns with it, so the ranks come together each time. */
static void off_and_on(void (*lead)(const struct tp *tp, void *context), void *off, void *on)
{
    ranks_set_overlap(false);
    together(lead, off);
    ranks_set_overlap(true);
    together(lead, on);
}

struct one {
    const struct tiny *t;
    enum dtype act;
    struct result r;
};

static void runs(const struct tp *tp, void *context)
{
    struct one *o = context;

    run(&o->r, o->t, tp, o->act);
}

static void same_bits(const struct result *a, const struct result *b)
{
    check_bytes(a->dA, b->dA, a->n_A * sizeof *a->dA);
    check_bytes(a->dB, b->dB, a->n_B * sizeof *a->dB);
    check_bytes(a->logits, b->logits, a->n_logits * sizeof *a->logits);
    check_bytes(a->nll, b->nll, sizeof a->nll);
    check_bytes(a->dcoef, b->dcoef, sizeof a->dcoef);
    check_bytes(a->token, b->token, sizeof a->token);
}

/* Everything that the base gives: as without overlap; the same bits when run again. */
static void compare_on(const struct tiny *t, enum dtype act, double within, const char *what)
{
    struct one off = {t, act, {0}}, on = {t, act, {0}}, again = {t, act, {0}};

    off_and_on(runs, &off, &on);
    together(runs, &again);
    if (ranks_rank() == 0) {
        compare(&on.r, &off.r, within, what);
        same_bits(&on.r, &again.r);
        check_bytes(on.r.token, off.r.token, sizeof on.r.token); // generation is not cut
    }
    free_result(&off.r), free_result(&on.r), free_result(&again.r);
}

static void equals_one_piece(void)
{
    each_model(compare_on, DT_F32, 4e-6); // few rows are summed in another order than many
}

static void equals_one_piece_bf16(void)
{
    each_model_bf16(compare_on, 2e-2);
}

/* Panels of sums in flight mix with others' arrival in any way. */
static void bf16_on_the_wire(void)
{
    check_ok(ranks_layout(ranks_size(), false, DT_BF16));
    if (ranks_now()->tp) comm_set_panel(ranks_now()->tp->comm, 100);
    each_model(compare_on, DT_F32, 2e-2);
}

static void golden_batches(void)
{
    each_golden(compare_on, 4e-6);
}

/* ---- activations that are computed again */

/* The same bits whatever is kept, in one piece and in two. */
static void compare_levels(const struct tiny *t, enum dtype act)
{
    for (int overlap = 0; overlap < 1 + (ranks_size() > 1); overlap++) {
        struct one kept = {t, act, {0}};
        again = RECOMPUTE_NOTHING;
        ranks_set_overlap(overlap);
        together(runs, &kept);
        for (again = RECOMPUTE_MLP; again < RECOMPUTES; again++) {
            struct one r = {t, act, {0}};
            together(runs, &r);
            if (ranks_rank() == 0) same_bits(&r.r, &kept.r);
            free_result(&r.r);
        }
        again = RECOMPUTE_NOTHING;
        free_result(&kept.r);
    }
}

static void recomputed_equals_kept(void)
{
    const struct backend *be;
    const bool bf16 = !backend_cpu(&be, DT_BF16);

    for (int i = 0; i < MODELS; i++) {
        if (models[i].heads < ranks_size()) continue;
        write_base(&models[i], NULL);
        compare_levels(&models[i], DT_F32);
        if (bf16 && i == SEEING) compare_levels(&models[i], DT_BF16);
        remove_base();
    }
    for (int i = 0; i < 2; i++) {
        snprintf(base, sizeof base, SOURCE_DIR "/golden/%c/base", "ab"[i]);
        compare_levels(&golden[i], DT_F32);
    }
}

/* With increments on other maps than o_proj. */
static void other_maps(void)
{
    chosen = PROJECTIONS_ALL;
    ranks_set_overlap(false);
    each_model(compare_on, DT_F32, 2e-5);
    recomputed_equals_kept();
    chosen = PROJECTION_BIT(PROJ_k) | PROJECTION_BIT(PROJ_down);
    write_base(&models[SEEING], NULL);
    compare_levels(&models[SEEING], DT_F32);
    remove_base();
    chosen = PROJECTIONS_DEFAULT;
}

/* ---- how a batch is cut */

struct cutting {
    int samples, n[SAMPLES];
    float nll[LONGEST];
    double dcoef[SAMPLES * SLOTS];
    float *dA;
    int64_t rows;
    size_t n_A;
    int64_t sums; // of the forward pass
};

/* A training step in exactly the memory that it needs; each sample picks a slot of its own. */
static void steps(const struct tp *tp, void *context)
{
    struct cutting *c = context;
    const struct backend *be;
    struct lvlm *m;
    struct packed_batch b = {0};
    struct increments k;
    uint32_t seed = 7;

    check_ok(backend_cpu(&be, DT_F32));
    check_ok(lvlm_open(&m, base, be, tp, true));
    check_ok(lvlm_adapt(m, chosen));
    make_increments(&k, lvlm_get_config(m));
    for (int i = 0; i < SAMPLES * SLOTS; i++) k.coef[i] = i % SLOTS == i / SLOTS % SLOTS ? 0.8f + 0.1f * (float)i : 0;
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    for (int i = 0; i < c->samples; i++) tiny_sample(&b, &models[0], c->n[i], 1 + c->n[i] / 3, false, false, &seed);
    check_ok(lvlm_reserve(
        m, &(struct lvlm_limits){
               .samples = c->samples, .tokens = b.n, .rows = b.rows, .slots = SLOTS, .rank = RANK, .train = true}));
    check_ok(lvlm_grads_clear(m));
    if (tp) comm_counts_clear(tp->comm);
    check_ok(lvlm_forward(m, &b, &k.set, c->nll, 1));
    c->sums = tp ? comm_get_counts(tp->comm).sums : 0;
    check_ok(lvlm_backward(m, &b, &k.set, c->dcoef));
    c->n_A = LEARNED * k.nA, c->rows = b.rows;
    c->dA = malloc(c->n_A * sizeof *c->dA);
    float *dB = malloc(LEARNED * k.nB * sizeof *dB);
    check_ok(lvlm_grads_read(m, c->dA, dB, LEARNED, RANK));
    check_ok(lvlm_coef_reduce(m, c->dcoef, (int64_t)c->samples * SLOTS));
    free(dB);
    batch_free(&b);
    free_increments(&k);
    lvlm_close(m);
}

static void cut_like(int samples, const int *n)
{
    struct cutting off = {.samples = samples}, on;

    memcpy(off.n, n, (size_t)samples * sizeof *n);
    on = off;
    off_and_on(steps, &off, &on);
    if (ranks_rank()) return;
    if (samples == 1) {
        check_int(on.sums, off.sums);
        check_bytes(on.nll, off.nll, sizeof on.nll);
        check_bytes(on.dcoef, off.dcoef, sizeof on.dcoef);
        check_bytes(on.dA, off.dA, on.n_A * sizeof *on.dA);
    } else {
        double most = 0, far = 0;
        if (ranks_size() > 1) check_int(on.sums, 2 * off.sums - 1); // the embedding's is one
        check(distance(on.nll, off.nll, (size_t)on.rows) < 4e-6);
        check(distance(on.dA, off.dA, on.n_A) < 4e-6);
        for (int i = 0; i < samples * SLOTS; i++)
            most = fmax(most, fabs(off.dcoef[i])), far = fmax(far, fabs(on.dcoef[i] - off.dcoef[i]));
        check(far <= 4e-6 * most);
    }
    free(off.dA), free(on.dA);
}

/* Halves of very different sizes, halves of a sample; a batch of one sample stays whole. */
static void uneven_batches(void)
{
    write_base(&models[0], NULL);
    cut_like(1, (const int[]){30});
    cut_like(2, (const int[]){40, 3});
    cut_like(2, (const int[]){3, 40});
    cut_like(3, (const int[]){5, 6, 40});
    cut_like(3, (const int[]){12, 12, 12});
    cut_like(4, (const int[]){3, 31, 4, 20});
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
    for (int i = 0; i < 3; i++) {
        check_ok(lvlm_forward(m, &b, NULL, nll, 0));
        check_ok(lvlm_find_nonfinite(m, text, sizeof text));
        if (!tp) continue;
        snprintf(want, sizeof want, "rank %d (", tp->size - 1);
        check_text(text, want);
        check_text(text, "in tp_reduce behind the MLP of layer 1");
    }
    batch_free(&b);
    lvlm_close(m);
}

/* Also when it is the sum of the other half that is waited for when it shows. */
static void where_nonfinite(void)
{
    ranks_set_overlap(true);
    on_base(&models[0], spoil_mlp, finds_nonfinite);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
#define CASE(name) {#name, name}
        CASE(equals_one_piece), CASE(equals_one_piece_bf16), CASE(bf16_on_the_wire),       CASE(golden_batches),
        CASE(uneven_batches),   CASE(where_nonfinite),       CASE(recomputed_equals_kept), CASE(other_maps),
    };
    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
