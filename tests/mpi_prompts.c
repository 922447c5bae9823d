/* mpi_prompts.c - learned prompts among the embeddings: gradients against differences, a group of ranks against one, halves and
 * what is computed again, answers against the forward pass, batches that contradict their prompts. */
#include "mpi_fixture.h"

#include "lvlm_group.h"
#include "model/traffic.h"

enum { ROWS_EACH = 2, PACKED = 4 };

/* Which prompts a sample has: two, one, none, all. The last slot is a constant. */
static const float which[PACKED * SLOTS] = {1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1};

struct prompts {
    float *row; // (SLOTS, ROWS_EACH, D)
    size_t n;   // of one slot
    float coef[PACKED * SLOTS];
    struct adapter_slot slot[SLOTS];
    struct adapters set;
};

static uint64_t last_version = 1000;

static void touch(struct prompts *k)
{
    for (int i = 0; i < SLOTS; i++) k->slot[i] = (struct adapter_slot){k->row + (size_t)i * k->n, NULL, ++last_version};
}

static void make_prompts(struct prompts *k, int64_t D)
{
    uint32_t seed = 21;

    k->n = ROWS_EACH * (size_t)D;
    check((k->row = malloc(SLOTS * k->n * sizeof *k->row)) != NULL);
    for (size_t i = 0; i < SLOTS * k->n; i++) k->row[i] = 0.5f * tiny_noise(&seed);
    memcpy(k->coef, which, sizeof which);
    touch(k);
    k->set = (struct adapters){
        .slots = SLOTS, .learned = LEARNED, .rank = prompt_set(ROWS_EACH), .slot = k->slot, .coef = k->coef};
}

static int rows_of(const float *coef)
{
    int n = 0;

    for (int i = 0; i < SLOTS; i++) n += ROWS_EACH * (coef[i] != 0);
    return n;
}

/* A sample of `length` tokens and `rows` places behind its first. */
static void add_prompted(struct packed_batch *b, const struct tiny *t, int rows, int length, int answers, bool picture,
                         bool prompt_only, uint32_t *seed)
{
    int32_t id[64], label[64];
    struct sample s = {.id = id, .label = label, .answers = answers, .picture = -1};

    for (int i = 0; i < length; i++) {
        int32_t token = (int32_t)((tiny_noise(seed) + 1) / 2 * (float)(t->vocab - 3));
        const bool seen = picture && t->vision && i >= 2 && i < 2 + TINY_PATCHES;
        if (token == tiny_image_token(t)) token--;
        if (seen && i == 2) s.picture = s.n;
        label[s.n] = i >= length - answers ? token : -100;
        id[s.n++] = seen ? tiny_image_token(t) : token;
        for (int r = 0; !i && r < rows; r++) label[s.n] = -100, id[s.n++] = PROMPT_TOKEN;
    }
    s.prompt_n = s.n - answers;
    check_ok(batch_add(b, &s, prompt_only));
}

static void pack_prompted(struct packed_batch *b, const struct tiny *t, struct feature *const *f)
{
    static const int length[PACKED] = {16, 6, 14, 7}, answers[PACKED] = {4, 3, 5, 2};
    uint32_t seed = 8;

    batch_clear(b);
    for (int i = 0; i < PACKED; i++)
        add_prompted(b, t, rows_of(which + i * SLOTS), length[i], answers[i], i % 2 == 0, false, &seed);
    for (int i = 0; i < b->pictures; i++) b->feature[i] = f[i];
}

static struct lvlm *open_prompted(const struct tp *tp, enum dtype act)
{
    const struct backend *be;
    struct lvlm *m;

    check_ok(backend_cpu(&be, act));
    check_ok(lvlm_open(&m, base, be, tp, true));
    check_ok(lvlm_reserve(m, &(struct lvlm_limits){.samples = SAMPLES,
                                                   .tokens = TOKENS,
                                                   .rows = ROWS,
                                                   .slots = SLOTS,
                                                   .rank = prompt_set(ROWS_EACH),
                                                   .train = true,
                                                   .again = again}));
    return m;
}

/* ---- training: the same on any ranks, in halves, with anything computed again */

struct trained {
    const struct tiny *t;
    enum dtype act;
    float nll[2][ROWS], *grad; // (LEARNED, ROWS_EACH, D), malloc'ed
    size_t n;                  // numbers in it
    int rows;
};

/* Two micro-batches, and before them a pass of the base alone, which makes the model forget its prompts. */
static void trains(const struct tp *tp, void *context)
{
    struct trained *r = context;
    struct lvlm *m = open_prompted(tp, r->act);
    struct packed_batch b = {0};
    struct prompts k;
    struct feature *f[6] = {0};
    struct result seen = {0};
    double dcoef[2 * PACKED * SLOTS];
    uint32_t seed = 4;

    make_prompts(&k, lvlm_get_config(m)->text.hidden);
    see(&seen, m, r->t, f, 6);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    tiny_sample(&b, r->t, 12, 3, false, false, &seed);
    check_ok(lvlm_forward(m, &b, NULL, r->nll[0], 0));
    pack_prompted(&b, r->t, f);
    r->n = LEARNED * k.n, r->rows = (int)b.rows;
    r->grad = malloc(r->n * sizeof *r->grad);
    check(r->grad != NULL);
    check_ok(lvlm_grads_clear(m));
    for (int i = 0; i < 2; i++) {
        check_ok(lvlm_forward(m, &b, &k.set, r->nll[i], 1.0f / (float)b.rows));
        check_ok(lvlm_backward(m, &b, &k.set, dcoef + i * PACKED * SLOTS));
        for (int c = 0; c < PACKED * SLOTS; c++) check(dcoef[i * PACKED * SLOTS + c] == 0);
    }
    check_ok(lvlm_coef_reduce(m, dcoef, 2 * PACKED * SLOTS));
    check_ok(lvlm_grads_read(m, r->grad, NULL, LEARNED, prompt_set(ROWS_EACH)));
    check_bytes(r->nll[0], r->nll[1], (size_t)b.rows * sizeof(float));
    for (int i = 0; i < 6; i++) lvlm_feature_free(m, f[i]);
    free(k.row), free_result(&seen);
    batch_free(&b);
    lvlm_close(m);
}

static void alike(const struct trained *a, const struct trained *b, double within, const char *what)
{
    const double grad = distance(a->grad, b->grad, b->n), nll = distance(a->nll[0], b->nll[0], (size_t)b->rows);

    if (!(grad <= within) || !(nll <= within)) fail_msg("%s: rows' gradients differ by %g, nll by %g", what, grad, nll);
}

static void same_training(const struct trained *a, const struct trained *b)
{
    check_bytes(a->grad, b->grad, b->n * sizeof *b->grad);
    check_bytes(a->nll, b->nll, sizeof b->nll);
}

static void with_one_rank(const struct tp *tp, void *context)
{
    struct trained *shared = context, alone = *shared;

    trains(tp, shared);
    trains(NULL, &alone);
    alike(shared, &alone, shared->act == DT_F32 ? 1e-5 : 6e-2, "against one rank");
    free(alone.grad);
}

/* On the base: ranks against one; halves that overlap; whatever is computed again, to the same bits. */
static void trains_alike_on(const struct tiny *t, enum dtype act, double within, const char *what)
{
    for (int overlap = 0; overlap < 1 + (ranks_size() > 1); overlap++) {
        struct trained kept = {.t = t, .act = act};
        ranks_set_overlap(overlap);
        together(with_one_rank, &kept);
        for (again = RECOMPUTE_MLP; again < RECOMPUTES; again++) {
            struct trained r = {.t = t, .act = act};
            together(trains, &r);
            if (ranks_rank() == 0) same_training(&r, &kept);
            free(r.grad);
        }
        again = RECOMPUTE_NOTHING;
        free(kept.grad);
    }
    ranks_set_overlap(false);
    (void)within, (void)what;
}

static void trains_alike(void)
{
    each_model(trains_alike_on, DT_F32, 0);
}

static void trains_alike_bf16(void)
{
    const struct backend *be;

    if (backend_cpu(&be, DT_BF16)) {
        if (ranks_rank() == 0) printf("skipped: %s\n", err_text());
        return;
    }
    if (models[SEEING].heads < ranks_size()) return;
    write_base(&models[SEEING], NULL);
    trains_alike_on(&models[SEEING], DT_BF16, 0, "");
    remove_base();
}

/* ---- gradients against differences, row by row */

static double loss_of(struct lvlm *m, const struct packed_batch *b, struct prompts *k)
{
    float nll[ROWS];
    double sum = 0;

    touch(k);
    check_ok(lvlm_forward(m, b, &k->set, nll, 0));
    for (int64_t i = 0; i < b->rows; i++) sum += (double)nll[i];
    return sum / (double)b->rows;
}

/* The slope of the loss along a direction of a row of D numbers, from steps of h. */
static double slope(struct lvlm *m, const struct packed_batch *b, struct prompts *k, float *row, const float *direction,
                    int D, float h)
{
    double side[2];

    for (int s = 0; s < 2; s++) {
        for (int d = 0; d < D; d++) row[d] += (s ? 2 * h : -h) * direction[d];
        side[s] = loss_of(m, b, k);
    }
    for (int d = 0; d < D; d++) row[d] -= h * direction[d];
    return (side[1] - side[0]) / (2 * (double)h);
}

/* Along a random direction of each row; two steps, so that what grows with the square of a step falls out. */
static void rows_against_differences(const struct tp *tp, void *context)
{
    const struct tiny *t = context;
    struct lvlm *m = open_prompted(tp, DT_F32);
    struct packed_batch b = {0};
    struct prompts k;
    struct feature *f[6] = {0};
    struct result seen = {0};
    double dcoef[PACKED * SLOTS];
    float nll[ROWS], direction[64], *grad = malloc(LEARNED * ROWS_EACH * (size_t)t->D * sizeof *grad);
    uint32_t seed = 77;

    make_prompts(&k, t->D);
    see(&seen, m, t, f, 6);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    pack_prompted(&b, t, f);
    check_ok(lvlm_grads_clear(m));
    check_ok(lvlm_forward(m, &b, &k.set, nll, 1.0f / (float)b.rows));
    check_ok(lvlm_backward(m, &b, &k.set, dcoef));
    check_ok(lvlm_grads_read(m, grad, NULL, LEARNED, prompt_set(ROWS_EACH)));
    for (int r = 0; r < LEARNED * ROWS_EACH; r++) {
        float *row = k.row + (size_t)r * (size_t)t->D;
        double want = 0;
        for (int d = 0; d < t->D; d++) direction[d] = tiny_noise(&seed);
        for (int d = 0; d < t->D; d++) want += (double)direction[d] * (double)grad[r * t->D + d];
        const double far = slope(m, &b, &k, row, direction, t->D, 2e-2f),
                     near = slope(m, &b, &k, row, direction, t->D, 1e-2f), got = (4 * near - far) / 3;
        check(fabs(want) > 1e-6);
        if (fabs(got - want) > 1e-2 * fabs(want) + 2e-5)
            fail_msg("row %d: slope %g by differences, %g by gradients", r, got, want);
    }
    for (int i = 0; i < 6; i++) lvlm_feature_free(m, f[i]);
    free(k.row), free(grad), free_result(&seen);
    batch_free(&b);
    lvlm_close(m);
}

static void gradients(void)
{
    for (int i = 0; i < MODELS; i++) on_base(&models[i], NULL, rows_against_differences);
}

/* ---- answers: a prefill, a front that is shared, decoding; against forward passes over the same tokens */

/* Logits (vocab) behind the last of the first n tokens of a sample, by a forward pass. */
static void forward_to(float *logits, struct lvlm *m, const struct sample *whole, int64_t n, const struct adapters *set)
{
    struct packed_batch b = {0};
    struct sample s = *whole;
    float nll[1];

    s.prompt_n = n;
    check_ok(batch_new(&b, 1, TOKENS));
    check_ok(batch_add(&b, &s, 1));
    b.target[0] = 0;
    check_ok(lvlm_forward(m, &b, set, nll, 0));
    check_ok(lvlm_logits(m, logits, 1));
    batch_free(&b);
}

static void answers_on(const struct tp *tp, void *context)
{
    enum { N = 13, REST = 4, MORE = 3 };
    static const int seq[] = {1, 0};
    const struct tiny *t = context;
    const size_t V = (size_t)t->vocab;
    struct lvlm *m = open_prompted(tp, DT_F32);
    struct packed_batch b = {0};
    struct prompts k;
    struct kv_cache *kv;
    int32_t id[N + MORE], next[2];
    struct sample whole = {.id = id, .n = N + MORE, .prompt_n = N, .picture = -1}, rest = whole;
    float *got = malloc(2 * V * sizeof *got), *want = malloc(V * sizeof *want);

    make_prompts(&k, t->D);
    memcpy(k.coef, (float[]){1, 0, 1, 1, 0, 1}, 6 * sizeof *k.coef); // both samples alike
    for (int i = 0; i < N + MORE; i++) id[i] = i && i <= 2 * ROWS_EACH ? PROMPT_TOKEN : (7 * i + 3) % (t->vocab - 3);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    check_ok(lvlm_kv_new(&kv, m, 2, N + MORE));
    check_ok(batch_add(&b, &whole, 1));
    check_ok(lvlm_prefill(m, kv, seq, &b, &k.set, NULL, next));
    check_ok(lvlm_logits(m, got, 1));
    forward_to(want, m, &whole, N, &k.set);
    check(distance(got, want, V) < 1e-5);

    // the second begins like the first: what is left of it has no places
    check_ok(lvlm_kv_copy(kv, seq[0], seq[1], N - REST));
    batch_clear(&b);
    rest.id += N - REST, rest.n -= N - REST, rest.prompt_n -= N - REST;
    check_ok(batch_add(&b, &rest, 1));
    for (int i = 0; i < REST; i++) b.pos[i] += N - REST;
    check_ok(lvlm_prefill(m, kv, seq + 1, &b, &k.set, NULL, next));
    check_ok(lvlm_logits(m, got, 1));
    check(distance(got, want, V) < 1e-5);

    for (int i = 0; i < MORE; i++) {
        const int32_t token[] = {id[N + i], id[N + i]};
        check_ok(lvlm_decode(m, kv, 2, seq, token, &k.set, NULL, next));
        check_ok(lvlm_logits(m, got, 2));
        forward_to(want, m, &whole, N + i + 1, &k.set);
        check(distance(got, want, V) < 1e-5 && distance(got + V, want, V) < 1e-5);
    }
    // other rows, other answers: it is the prompts that were looked at
    for (size_t i = 0; i < k.n; i++) k.row[i] += 0.3f;
    touch(&k);
    forward_to(got, m, &whole, N + MORE, &k.set);
    check(distance(got, want, V) > 1e-4);
    lvlm_kv_free(kv);
    batch_free(&b);
    free(k.row), free(got), free(want);
    lvlm_close(m);
}

static void answers(void)
{
    for (int i = 0; i < MODELS; i++) on_base(&models[i], NULL, answers_on);
}

/* ---- a few values that changed, and sets that cannot be */

static void wrong_batches(const struct tp *tp, void *context)
{
    const struct tiny *t = context;
    struct lvlm *m = open_prompted(tp, DT_F32);
    struct packed_batch b = {0};
    struct prompts k;
    struct adapters other;
    float nll[ROWS];
    uint32_t seed = 3;

    make_prompts(&k, t->D);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    add_prompted(&b, t, ROWS_EACH, 8, 2, false, false, &seed); // it has two prompts
    check_code(lvlm_forward(m, &b, &k.set, nll, 0), CL_EINTERNAL);
    check_text(err_text(), "other places than one run of the 4 rows");
    check_code(lvlm_forward(m, &b, NULL, nll, 0), CL_ENUM);
    check_text(err_text(), "token id -2");
    batch_clear(&b);
    add_prompted(&b, t, 2 * ROWS_EACH, 8, 2, false, false, &seed);
    b.id[3] = 4; // a hole in the run
    check_code(lvlm_forward(m, &b, &k.set, nll, 0), CL_EINTERNAL);
    b.id[3] = PROMPT_TOKEN;
    other = k.set, other.rank = prompt_set(ROWS_EACH + 1);
    check_code(lvlm_forward(m, &b, &other, nll, 0), CL_EINTERNAL);
    check_text(err_text(), "3 prompts of 3 rows (reserved: 3 of 2)");
    other = k.set, other.slots = SLOTS + 1;
    check_code(lvlm_forward(m, &b, &other, nll, 0), CL_EINTERNAL);
    check_ok(lvlm_forward(m, &b, &k.set, nll, 0));
    for (int i = 0; i < SLOTS; i++) k.slot[i].A = NULL; // they are loaded
    check_ok(lvlm_forward(m, &b, &k.set, nll, 0));
    k.slot[1].version = ++last_version;
    check_code(lvlm_forward(m, &b, &k.set, nll, 0), CL_EINTERNAL);
    check_text(err_text(), "prompt 1 of a set of 3 has no values");
    free(k.row);
    batch_free(&b);
    lvlm_close(m);
}

static void wrong_sets(void)
{
    on_base(&models[0], NULL, wrong_batches);
}

/* ---- what a group sends */

struct counted {
    const struct tiny *t;
    bool prompts;
    int64_t n, rows;
    struct comm_counts forward, backward; // rank 0's
};

static struct comm_counts since(struct comm *c, const struct comm_counts *before)
{
    struct comm_counts now = comm_get_counts(c);

    now.sums -= before->sums, now.sum_bytes -= before->sum_bytes, now.messages -= before->messages;
    now.broadcast_bytes -= before->broadcast_bytes;
    return now;
}

static void counts(const struct tp *tp, void *context)
{
    struct counted *x = context;
    struct lvlm *m = open_prompted(tp, DT_F32);
    struct packed_batch b = {0};
    struct prompts k;
    struct comm_counts before;
    double dcoef[PACKED * SLOTS];
    float nll[ROWS];
    uint32_t seed = 3;

    make_prompts(&k, x->t->D);
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    add_prompted(&b, x->t, 2 * ROWS_EACH, 12, 3, false, false, &seed);
    x->n = b.n, x->rows = b.rows;
    before = comm_get_counts(tp->comm);
    check_ok(lvlm_forward(m, &b, &k.set, nll, 1));
    x->forward = since(tp->comm, &before);
    before = comm_get_counts(tp->comm);
    check_ok(lvlm_backward(m, &b, &k.set, dcoef));
    x->backward = since(tp->comm, &before);
    free(k.row);
    batch_free(&b);
    lvlm_close(m);
}

/* A sum more on the way back, and nothing for the prompts themselves. */
static void traffic(void)
{
    struct counted x = {.t = &models[0]};
    struct lvlm_config c;

    if (ranks_size() == 1 || models[0].heads < ranks_size()) return;
    write_base(&models[0], NULL);
    check_ok(lvlm_config_read(&c, base));
    together(counts, &x);
    if (ranks_rank() == 0) {
        struct traffic forward = traffic_forward(&c, ranks_size(), x.n, x.rows, DT_F32),
                       back = traffic_backward(&c, PROJECTIONS_DEFAULT, ranks_size(), x.n, x.rows, DT_F32,
                                               RECOMPUTE_NOTHING),
                       more = traffic_to_embeddings(&c, ranks_size(), x.n, DT_F32);
        check_int(x.forward.sums, forward.sums), check_int(x.forward.sum_bytes, forward.sum_bytes);
        check_int(x.forward.messages, 0);
        check_int(x.backward.sums, back.sums + more.sums), check_int(more.sums, 1);
        check_int(x.backward.sum_bytes, back.sum_bytes + more.sum_bytes);
        check(x.forward.broadcast_bytes + x.backward.broadcast_bytes < 4096 * (ranks_size() - 1));
    }
    remove_base();
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
        {"gradients", gradients}, {"trains_alike", trains_alike}, {"trains_alike_bf16", trains_alike_bf16},
        {"answers", answers},     {"wrong_sets", wrong_sets},     {"traffic", traffic}};
    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
