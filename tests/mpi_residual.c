/* mpi_residual.c - vectors that are added to the logits, on the ranks of a group: against plain sums, finite differences and one
 * rank alone.
 */
#include "lvlm_group.h"
#include "model/lvlm_internal.h"

enum { RESIDUALS = 2, ALL = SLOTS + RESIDUALS, LONG = 320 }; // LONG: rows of logits in several chunks

/* Increments and behind them residuals; plain: the increments alone, with the same coefficients. */
struct wide {
    struct increments k;
    struct adapter_slot slot[ALL];
    float coef[SAMPLES * ALL], *r; // (RESIDUALS, vocab)
    struct adapters set;
};

static void new_version(struct adapter_slot *s)
{
    static uint64_t version = 1000000;
    s->version = version++;
}

static void make_wide(struct wide *w, const struct lvlm_config *c)
{
    const size_t V = (size_t)c->text.vocab;
    uint32_t seed = 77;

    make_increments(&w->k, c);
    w->r = malloc(RESIDUALS * V * sizeof *w->r);
    for (size_t i = 0; i < RESIDUALS * V; i++) w->r[i] = tiny_noise(&seed);
    memcpy(w->slot, w->k.slot, sizeof w->k.slot);
    for (int i = 0; i < RESIDUALS; i++) {
        w->slot[SLOTS + i] = (struct adapter_slot){.A = w->r + (size_t)i * V};
        new_version(&w->slot[SLOTS + i]);
    }
    for (int s = 0; s < SAMPLES; s++) {
        memcpy(w->coef + s * ALL, w->k.coef + s * SLOTS, SLOTS * sizeof *w->coef);
        for (int i = SLOTS; i < ALL; i++) w->coef[s * ALL + i] = s == 1 ? 0 : 0.5f * tiny_noise(&seed);
    }
    w->set = w->k.set;
    w->set.slots = ALL, w->set.residuals = RESIDUALS, w->set.slot = w->slot, w->set.coef = w->coef;
}

static void free_wide(struct wide *w)
{
    free_increments(&w->k);
    free(w->r);
}

static void reserve(struct lvlm *m, int residuals, int64_t rows)
{
    check_ok(lvlm_reserve(m, &(struct lvlm_limits){.samples = SAMPLES,
                                                   .tokens = rows < LONG ? TOKENS : 2 * LONG,
                                                   .rows = rows,
                                                   .slots = SLOTS + residuals,
                                                   .rank = RANK,
                                                   .train = true,
                                                   .residuals = residuals}));
}

/* What the residuals add to id v of a sample. */
static double added(const struct wide *w, int64_t V, int s, int64_t v)
{
    double sum = 0;

    for (int i = 0; i < RESIDUALS; i++) sum += (double)w->coef[s * ALL + SLOTS + i] * (double)w->r[i * V + v];
    return sum;
}

/* ---- logits */

static void adds(const struct tp *tp, void *context)
{
    const int64_t V = ((const struct tiny *)context)->vocab;
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct wide w;
    float nll[ROWS], *plain = malloc(ROWS * (size_t)V * sizeof *plain), *with = malloc(ROWS * (size_t)V * sizeof *with);

    reserve(m, RESIDUALS, ROWS);
    make_wide(&w, lvlm_get_config(m));
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, context, NULL, 1);
    check_ok(lvlm_forward(m, &b, &w.k.set, nll, 0));
    check_ok(lvlm_logits(m, plain, b.rows));
    check_ok(lvlm_forward(m, &b, &w.set, nll, 0));
    check_ok(lvlm_logits(m, with, b.rows));
    for (int s = 0; s < SAMPLES; s++)
        for (int64_t r = b.cu_row[s]; r < b.cu_row[s + 1]; r++) {
            double top = -1e30, sum = 0;
            for (int64_t v = 0; v < V; v++) {
                check_near(with[r * V + v], (double)plain[r * V + v] + added(&w, V, s, v), 1e-5);
                if (s == 1) check(with[r * V + v] == plain[r * V + v]); // its coefficients are 0
                top = fmax(top, (double)with[r * V + v]);
            }
            for (int64_t v = 0; v < V; v++) sum += exp((double)with[r * V + v] - top);
            check_near(nll[r], log(sum) + top - (double)with[r * V + b.target[r]], 1e-5);
        }
    check_ok(lvlm_forward(m, &b, &w.k.set, nll, 0)); // without them as before
    check_ok(lvlm_logits(m, with, b.rows));
    check_bytes(plain, with, (size_t)(b.rows * V) * sizeof *with);
    batch_free(&b);
    free_wide(&w);
    free(plain), free(with);
    lvlm_close(m);
}

static void added_to_logits(void)
{
    on_base(&models[0], NULL, adds);
    on_base(&models[4], NULL, adds); // tied, other sizes
}

/* ---- gradients */

static double loss(struct lvlm *m, const struct packed_batch *b, struct wide *w)
{
    float nll[LONG];
    double sum = 0;

    for (int i = SLOTS; i < ALL; i++) new_version(&w->slot[i]);
    check_ok(lvlm_forward(m, b, &w->set, nll, 0));
    for (int64_t r = 0; r < b->rows; r++) sum += (double)nll[r];
    return sum;
}

/* sum (V) := coefficient x (softmax - one-hot), over all rows, from the logits. */
static void plain_gradient(double *sum, struct lvlm *m, const struct packed_batch *b, struct wide *w, int64_t V)
{
    float *z = malloc((size_t)(b->rows * V) * sizeof *z);

    loss(m, b, w);
    check_ok(lvlm_logits(m, z, b->rows));
    for (int s = 0; s < SAMPLES; s++)
        for (int64_t r = b->cu_row[s]; r < b->cu_row[s + 1]; r++) {
            double all = 0;
            for (int64_t v = 0; v < V; v++) all += exp((double)z[r * V + v]);
            for (int64_t v = 0; v < V; v++)
                sum[v] += (double)w->coef[s * ALL + SLOTS] * (exp((double)z[r * V + v]) / all - (v == b->target[r]));
        }
    free(z);
}

static void pack_long(struct packed_batch *b, const struct tiny *t, uint32_t seed)
{
    batch_clear(b);
    tiny_sample(b, t, 150, 140, false, false, &seed);
    tiny_sample(b, t, 9, 3, false, false, &seed);
    tiny_sample(b, t, 40, 30, false, false, &seed);
    tiny_sample(b, t, 120, 110, false, false, &seed);
}

static void learns(const struct tp *tp, void *context)
{
    const int64_t V = ((const struct tiny *)context)->vocab;
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct wide w;
    float nll[LONG], *sum = malloc((size_t)V * sizeof *sum), *u = malloc((size_t)V * sizeof *u);
    double dcoef[SAMPLES * ALL], *want = calloc((size_t)V, sizeof *want), along = 0, side[2];
    const double h = 1e-2;
    uint32_t seed = 3;

    reserve(m, RESIDUALS, LONG);
    make_wide(&w, lvlm_get_config(m));
    check_ok(batch_new(&b, SAMPLES, 2 * LONG));
    check_ok(lvlm_grads_clear(m));
    for (int i = 0; i < 2; i++) { // two micro-batches of one step
        pack_long(&b, context, 1 + (uint32_t)i);
        plain_gradient(want, m, &b, &w, V);
        check_ok(lvlm_forward(m, &b, &w.set, nll, 0.5f));
        check_ok(lvlm_backward(m, &b, &w.set, dcoef));
    }
    check_ok(lvlm_residual_read(m, sum));
    for (int64_t v = 0; v < V; v++) check_near(sum[v], 0.5 * want[v], 1e-5);
    for (int64_t v = 0; v < V; v++) u[v] = tiny_noise(&seed);
    check_ok(lvlm_grads_clear(m)); // the second alone
    check_ok(lvlm_forward(m, &b, &w.set, nll, 1));
    check_ok(lvlm_residual_read(m, sum));
    for (int64_t v = 0; v < V; v++) along += (double)sum[v] * (double)u[v];
    for (int i = 0; i < 2; i++) {
        for (int64_t v = 0; v < V; v++) w.r[v] += (float)(i ? 2 * h : -h) * u[v];
        side[i] = loss(m, &b, &w);
    }
    check_near((side[1] - side[0]) / (2 * h), along, 2e-3 * fabs(along) + 2e-3);
    batch_free(&b);
    free_wide(&w);
    free(sum), free(u), free(want);
    lvlm_close(m);
}

static void gradient_of_the_first(void)
{
    on_base(&models[0], NULL, learns);
    on_base(&models[3], NULL, learns); // one layer
}

/* ---- beside masked questions */

/* Jensen-Shannon divergence of two rows of logits, in bits. */
static double divergence(const float *a, const float *b, int64_t V)
{
    double sum[2] = {0}, jsd = 0;

    for (int64_t v = 0; v < V; v++) sum[0] += exp((double)a[v]), sum[1] += exp((double)b[v]);
    for (int64_t v = 0; v < V; v++) {
        const double p = exp((double)a[v]) / sum[0], q = exp((double)b[v]) / sum[1], m = (p + q) / 2;
        jsd += (p * log2(p / m) + q * log2(q / m)) / 2;
    }
    return jsd;
}

/* How far apart answers are is told of logits that have their residuals, in all chunks, on however many ranks. */
static void tells(const struct tp *tp, void *context)
{
    const int64_t V = ((const struct tiny *)context)->vocab;
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0}, masked = {0};
    struct wide w;
    float nll[LONG], kl[LONG], jsd[LONG], *z[2];

    reserve(m, RESIDUALS, LONG);
    make_wide(&w, lvlm_get_config(m));
    check_ok(batch_new(&b, SAMPLES, 2 * LONG));
    check_ok(batch_new(&masked, SAMPLES, 2 * LONG));
    pack_long(&b, context, 5), pack_long(&masked, context, 5);
    for (int s = 0; s < SAMPLES; s++)
        if (s != 1) masked.id[masked.row[masked.cu_row[s]]] ^= 1;
    for (int i = 0; i < 2; i++) {
        check((z[i] = malloc((size_t)(b.rows * V) * sizeof *z[i])) != NULL);
        check_ok(lvlm_forward(m, i ? &masked : &b, &w.set, nll, 0));
        check_ok(lvlm_logits(m, z[i], b.rows));
    }
    check_ok(lvlm_grads_clear(m));
    check_ok(lvlm_forward_beside(m, &b, &w.set, NULL, &(struct listening){&masked, 0.5f, 0.5f},
                                 (struct lvlm_losses){nll, kl, jsd}, 1));
    for (int s = 0; s < SAMPLES; s++)
        for (int64_t r = b.cu_row[s]; r < b.cu_row[s + 1]; r++)
            check_near(jsd[r], s == 1 ? -1 : divergence(z[0] + r * V, z[1] + r * V, V), 1e-5);
    check(jsd[0] > 1e-3f);
    masked.target[2] ^= 1; // other answers
    check_int(listen_check(&b, &masked), CL_EINTERNAL);
    batch_free(&b), batch_free(&masked);
    free_wide(&w);
    free(z[0]), free(z[1]);
    lvlm_close(m);
}

static void beside_masked_questions(void)
{
    on_base(&models[0], NULL, tells);
    on_base(&models[4], NULL, tells);
}

/* Residuals of zeros change nothing of what increments get, to the last bit, and their coefficients have no gradient. */
static void leaves(const struct tp *tp, void *context)
{
    const int64_t V = ((const struct tiny *)context)->vocab;
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct wide w;
    float nll[2][ROWS], *dA[2], *dB[2];
    double dcoef[2][SAMPLES * ALL];

    reserve(m, RESIDUALS, ROWS);
    make_wide(&w, lvlm_get_config(m));
    memset(w.r, 0, (size_t)(RESIDUALS * V) * sizeof *w.r);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, context, NULL, 1);
    for (int i = 0; i < 2; i++) {
        const struct adapters *set = i ? &w.set : &w.k.set;
        dA[i] = malloc(LEARNED * w.k.nA * sizeof(float)), dB[i] = malloc(LEARNED * w.k.nB * sizeof(float));
        check_ok(lvlm_grads_clear(m));
        check_ok(lvlm_forward(m, &b, set, nll[i], 1));
        check_ok(lvlm_backward(m, &b, set, dcoef[i]));
        check_ok(lvlm_grads_read(m, dA[i], dB[i], LEARNED, RANK));
        check_ok(lvlm_coef_reduce(m, dcoef[i], SAMPLES * set->slots));
    }
    check_bytes(nll[0], nll[1], (size_t)b.rows * sizeof **nll);
    check_bytes(dA[0], dA[1], LEARNED * w.k.nA * sizeof(float));
    check_bytes(dB[0], dB[1], LEARNED * w.k.nB * sizeof(float));
    for (int s = 0; s < SAMPLES; s++)
        for (int i = 0; i < ALL; i++) check(dcoef[1][s * ALL + i] == (i < SLOTS ? dcoef[0][s * SLOTS + i] : 0));
    for (int i = 0; i < 2; i++) free(dA[i]), free(dB[i]);
    batch_free(&b);
    free_wide(&w);
    lvlm_close(m);
}

static void zeros_change_nothing(void)
{
    on_base(&models[0], NULL, leaves);
    on_base(&models[3], NULL, leaves);
}

/* ---- generation */

/* Each sequence is pushed towards an id of its own by its residual, or by none. */
static void pushes(const struct tp *tp, void *context)
{
    static const int seq[] = {2, 0, 1};
    const int64_t V = ((const struct tiny *)context)->vocab;
    const int32_t liked[RESIDUALS] = {3, (int32_t)V - 2}; // of the first and of the last rank
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct wide w;
    struct kv_cache *kv;
    int32_t next[SAMPLES], plain[SAMPLES];
    uint32_t seed = 3;

    reserve(m, RESIDUALS, ROWS);
    make_wide(&w, lvlm_get_config(m));
    memset(w.r, 0, (size_t)(RESIDUALS * V) * sizeof *w.r);
    for (int i = 0; i < RESIDUALS; i++) w.r[i * V + liked[i]] = 1000;
    for (int s = 0; s < SEQUENCES; s++)
        for (int i = 0; i < RESIDUALS; i++) w.coef[s * ALL + SLOTS + i] = s == i ? 1 : 0;
    check_ok(lvlm_kv_new(&kv, m, SEQUENCES, 40));
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    for (int i = 0; i < SEQUENCES; i++) tiny_sample(&b, context, 14 + i, 2, false, true, &seed);
    check_ok(lvlm_prefill(m, kv, seq, &b, &w.k.set, NULL, plain));
    for (int pass = 0; pass < 3; pass++) {
        if (pass)
            check_ok(lvlm_decode(m, kv, SEQUENCES, seq, next, &w.set, NULL, next));
        else
            check_ok(lvlm_prefill(m, kv, seq, &b, &w.set, NULL, next));
        check_int(next[0], liked[0]);
        check_int(next[1], liked[1]);
        if (!pass) check_int(next[2], plain[2]); // no residual of its own
    }
    lvlm_kv_free(kv);
    batch_free(&b);
    free_wide(&w);
    lvlm_close(m);
}

static void chosen_when_generating(void)
{
    on_base(&models[0], NULL, pushes);
    on_base(&models[4], NULL, pushes);
}

/* ---- values that are loaded */

/* They stay where more is reserved, may be gone then, and are missed where their version is new. */
static void loads(const struct tp *tp, void *context)
{
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct wide w;
    float nll[2][ROWS];
    const float *kept;

    make_wide(&w, lvlm_get_config(m));
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack(&b, context, NULL, 1);
    check_code(lvlm_forward(m, &b, &w.set, nll[0], 0), CL_EINTERNAL);
    check_text(err_text(), "2 residuals of the logits (reserved: 0)");
    check_code(lvlm_residual_read(m, nll[0]), CL_EINTERNAL);
    reserve(m, RESIDUALS, ROWS);
    check_ok(lvlm_forward(m, &b, &w.set, nll[0], 0));
    reserve(m, RESIDUALS + 3, 2 * ROWS);
    kept = w.slot[SLOTS + 1].A, w.slot[SLOTS].A = w.slot[SLOTS + 1].A = NULL;
    check_ok(lvlm_forward(m, &b, &w.set, nll[1], 0));
    check_bytes(nll[0], nll[1], (size_t)b.rows * sizeof **nll);
    new_version(&w.slot[SLOTS + 1]);
    check_code(lvlm_forward(m, &b, &w.set, nll[1], 0), CL_EINTERNAL);
    check_text(err_text(), "residual 1 of a set of 2 has no values");
    w.slot[SLOTS + 1].A = kept;
    w.set.coef = NULL;
    check_ok(lvlm_load(m, &w.set));
    w.set.coef = w.coef, w.slot[SLOTS + 1].A = NULL;
    check_ok(lvlm_forward(m, &b, &w.set, nll[1], 0));
    check_bytes(nll[0], nll[1], (size_t)b.rows * sizeof **nll);
    batch_free(&b);
    free_wide(&w);
    lvlm_close(m);
}

static void values_stay(void)
{
    on_base(&models[0], NULL, loads);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
#define CASE(name) {#name, name}
        CASE(added_to_logits),        CASE(gradient_of_the_first), CASE(zeros_change_nothing),
        CASE(chosen_when_generating), CASE(values_stay),           CASE(beside_masked_questions),
    };
    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
