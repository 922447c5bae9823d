/* Groups of ranks as the coordinator sees them, in every layout of the ranks at hand: a step gives the same losses and gradients
 * however it is cut and dealt out, samples with different slots the same as alone, prompts the same answers. */
#include "crew_fixture.h"

/* ---- a step */

static int calls; // of meanwhile

static int meanwhile(void *context)
{
    (void)context;
    calls++;
    return CL_OK;
}

static void step(struct result *r, struct fixture *x, int each)
{
    struct adapters set = set_of(x);
    struct batches b;
    int odd, before = calls;

    *r = new_result(x);
    for (int64_t i = 0; i < r->a; i++) r->dA[i] = 7; // what was there before does not count
    for (int64_t i = 0; i < r->b; i++) r->dB[i] = 7;
    reserve(x, each, 0);
    pack(&b, x, each, r);
    crew_at(x->j.crew, "a step of a test");
    check_ok(crew_step(x->j.crew, b.micro, b.n, &set, 0.125f, r->dA, r->dB, meanwhile, NULL, &odd));
    check_int(odd, -1);
    check_int(calls - before, x->j.lvlm == NULL); // only who has nothing else to do
    for (int k = 0; k < b.n; k++) r->nll[k] = b.micro[k].nll;
    unpack(&b);
}

/* nll of samples that went together is their sum. */
static void agree(const struct result *r, int each, const struct result *want)
{
    for (int k = 0; k < SAMPLES; k += each) {
        double sum = 0;
        for (int i = k; i < k + each; i++) sum += want->nll[i];
        check_near(r->nll[k / each], sum, 1e-4 * fabs(sum));
    }
    for (int i = 0; i < SAMPLES * SLOTS; i++)
        check_near(r->dcoef[i], want->dcoef[i], 1e-4 * (1 + fabs(want->dcoef[i])));
    near_floats(r->dA, want->dA, r->a);
    near_floats(r->dB, want->dB, r->b);
}

static void steps_of(struct layout l, void *context)
{
    struct result *first = context, r, again;
    struct fixture x;

    open_fixture(&x, l);
    for (int each = 1; each <= SAMPLES; each++) {
        if (SAMPLES % each) continue;
        step(&r, &x, each);
        if (!first->dA) {
            *first = r; // one by one
            continue;
        }
        agree(&r, each, first);
        step(&again, &x, each);
        check_bytes(again.nll, r.nll, sizeof r.nll);
        check_bytes(again.dcoef, r.dcoef, sizeof r.dcoef);
        check_bytes(again.dA, r.dA, (size_t)r.a * sizeof *r.dA);
        check_bytes(again.dB, r.dB, (size_t)r.b * sizeof *r.dB);
        free_result(&r), free_result(&again);
    }
    close_fixture(&x);
}

static void steps(void)
{
    struct result first = {0};

    in_every_layout(steps_of, &first);
    free_result(&first);
}

/* ---- squared gradients */

/* Each sample's derivative of its own nll by one number of A or B, by differences; the sum of their squares. */
static double squared_slope(struct fixture *x, struct batches *b, float *number, int slot, uint64_t *version)
{
    const float at = *number, h = 0.02f;
    const struct adapters set = set_of(x);
    double nll[2][SAMPLES], sum = 0;
    int odd;

    for (int side = 0; side < 2; side++) {
        *number = side ? at + h : at - h;
        x->slot[slot].version = ++*version;
        check_ok(crew_score(x->j.crew, b->micro, b->n, &set, &odd));
        for (int i = 0; i < SAMPLES; i++) nll[side][i] = b->micro[i].nll;
    }
    *number = at;
    x->slot[slot].version = ++*version;
    for (int i = 0; i < SAMPLES; i++) sum += pow((nll[1][i] - nll[0][i]) / (2 * (double)h), 2);
    return sum;
}

static int64_t largest(const float *v, int64_t n)
{
    int64_t at = 0;

    for (int64_t i = 0; i < n; i++)
        if (v[i] > v[at]) at = i;
    return at;
}

/* The sum over samples of squared gradients, not the square of their sum: the same in every layout, and what differences of the
 * loss say of the numbers that matter most. */
static void squares_of(struct layout l, void *context)
{
    struct result *first = context, r;
    struct adapters set;
    struct batches b;
    struct fixture x;
    uint64_t version = 100;
    int odd;

    open_fixture(&x, l);
    set = set_of(&x);
    r = new_result(&x);
    reserve(&x, 1, 0);
    pack(&b, &x, 1, &r);
    for (int n = 2; n <= SAMPLES; n += SAMPLES - 2) { // what an earlier call left does not count
        check_ok(crew_squares(x.j.crew, b.micro, n, &set, 1, r.dA, r.dB, &odd));
        check_int(odd, -1);
    }
    if (first->dA) {
        near_floats(r.dA, first->dA, r.a);
        near_floats(r.dB, first->dB, r.b);
        free_result(&r);
    } else {
        int64_t i = largest(r.dA, r.a), k = largest(r.dB, r.b), a = r.a / LEARNED, each = r.b / LEARNED;
        double A = squared_slope(&x, &b, &x.A[i], (int)(i / a), &version),
               B = squared_slope(&x, &b, &x.B[k], (int)(k / each), &version);
        check_near((double)r.dA[i], A, 0.01 * A);
        check_near((double)r.dB[k], B, 0.01 * B);
        *first = r;
    }
    unpack(&b);
    close_fixture(&x);
}

static void squares(void)
{
    struct result first = {0};

    in_every_layout(squares_of, &first);
    free_result(&first);
}

/* Only slots whose version changed travel, A and B of each. */
static void changes_of(struct layout l, void *context)
{
    struct fixture x;
    struct result r;
    const struct text_config *t = &x.j.base.text;
    struct comm *crew;
    int64_t slot, others;

    (void)context;
    open_fixture(&x, l);
    crew = ranks_now()->crew;
    others = comm_size(crew) - 1;
    slot = (int64_t)sizeof(float) * t->layers * RANK * (t->heads * t->head_dim + t->hidden);
    for (int time = 0; time < 4; time++) {
        static const int travel[] = {SLOTS, 0, 1, 2};
        if (time == 2) x.slot[1].version = 90;
        if (time == 3) x.slot[0].version = 91, x.slot[2].version = 92;
        comm_counts_clear(crew);
        step(&r, &x, 2);
        check_int(comm_get_counts(crew).broadcast_bytes, travel[time] * slot * others);
        free_result(&r);
    }
    close_fixture(&x);
}

static void changes(void)
{
    in_every_layout(changes_of, NULL);
}

/* ---- single samples, and the base alone */

static void scores_of(struct layout l, void *context)
{
    double *first = context; // (2, SAMPLES)
    struct fixture x;
    struct batches b;
    int odd;

    open_fixture(&x, l);
    reserve(&x, 1, 0);
    pack(&b, &x, 1, NULL);
    for (int time = 0; time < 4; time++) { // the base alone between, after which the increments are loaded anew
        int base = time % 2;
        struct adapters set = set_of(&x);
        check_ok(crew_score(x.j.crew, b.micro, b.n, base ? NULL : &set, &odd));
        for (int i = 0; i < SAMPLES; i++) {
            double *want = &first[base * SAMPLES + i];
            if (*want == 0) *want = b.micro[i].nll;
            check_near(b.micro[i].nll, *want, 1e-5 * *want);
        }
    }
    check(fabs(first[0] - first[SAMPLES]) > 1e-3); // the increments do something
    unpack(&b);
    close_fixture(&x);
}

static void scores(void)
{
    double first[2 * SAMPLES] = {0};

    in_every_layout(scores_of, first);
}

/* ---- prompts */

enum { PROMPTS = 9, TOKENS = 5 };

struct asking {
    struct fixture *x;
    int32_t answer[PROMPTS][TOKENS];
    int tokens[PROMPTS]; // that came one by one
    int ended, asked;
    int stop_at; // that many prompts are given, then CL_ESTOP; -1: never
};

static int source(void *context, int64_t i, struct prompt_item *item)
{
    struct asking *a = context;

    if (a->asked++ == a->stop_at) return err_set(CL_ESTOP, "enough");
    for (int s = 0; s < SLOTS; s++) item->coef[s] = a->x->coef[i % SAMPLES * SLOTS + s];
    return task_data_sample(&a->x->d, &a->x->j, i, true, &item->sample, &item->picture);
}

static int token(void *context, int64_t i, int32_t id)
{
    struct asking *a = context;

    a->answer[i][a->tokens[i]++] = id;
    return CL_OK;
}

static int sink(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    struct asking *a = context;

    check_int(n, a->tokens[i]);
    check(prompt_n > 0);
    check_bytes(id, a->answer[i], (size_t)n * sizeof *id);
    a->ended++;
    return CL_OK;
}

static int ask(struct asking *a, struct fixture *x, int64_t n, int batch, int stop_at)
{
    struct adapters set = set_of(x);
    struct generator_limits lim = {
        .batch = batch, .prompt_n = x->d.longest, .max_new_tokens = TOKENS, .slots = SLOTS, .rank = RANK};

    *a = (struct asking){.x = x, .stop_at = stop_at};
    return crew_generate(x->j.crew, n, x->d.length, &set, &lim, &(struct generator_ends){a, source, token, sink, NULL});
}

static void prompts_of(struct layout l, void *context)
{
    struct asking *first = context, a;
    struct fixture x;

    open_fixture(&x, l);
    for (int batch = 1; batch <= 4; batch += 3) {
        check_ok(ask(&a, &x, PROMPTS, batch, -1));
        check_int(a.ended, PROMPTS);
        check_int(a.asked, PROMPTS);
        if (!first->ended) *first = a;
        check_bytes(a.answer, first->answer, sizeof a.answer);
    }
    check_ok(ask(&a, &x, 1, 4, -1)); // most groups have nothing to do
    check_int(a.ended, 1);
    check_ok(ask(&a, &x, 0, 4, -1));
    close_fixture(&x);
}

static void prompts(void)
{
    struct asking first = {0};

    in_every_layout(prompts_of, &first);
}

/* A run that stops among prompts ends in order: afterwards the groups work as before. */
static void stops_of(struct layout l, void *context)
{
    struct fixture x;
    struct asking a;

    (void)context;
    open_fixture(&x, l);
    for (int stop_at = 0; stop_at < PROMPTS; stop_at += 2) {
        check_code(ask(&a, &x, PROMPTS, 1, stop_at), CL_ESTOP);
        check_text(err_text(), "enough");
        check(!crew_is_broken(x.j.crew));
        check_ok(ask(&a, &x, PROMPTS, 2, -1));
        check_int(a.ended, PROMPTS);
    }
    close_fixture(&x);
}

static void stops(void)
{
    in_every_layout(stops_of, NULL);
}

/* ---- questions */

static void questions_of(struct layout l, void *context)
{
    enum { N = 40 };
    float *first = context, *out;
    struct fixture x;
    char word[N][32];
    const char *q[N];
    size_t K;

    open_fixture(&x, l);
    K = (size_t)text_encoder_width(x.j.encoder);
    check(K <= 64 && (out = mem_new(N * K, sizeof *out)));
    for (int i = 0; i < N; i++) {
        snprintf(word[i], sizeof word[i], "what is %d%s", i, i % 3 ? "" : " and where");
        q[i] = word[i];
    }
    for (size_t n = 0; n <= N; n += n ? N - 1 : 1) { // none, one, all
        check_ok(crew_embed(x.j.crew, out, q, n));
        if (n == N && first[0] == 0) memcpy(first, out, n * K * sizeof *out);
        for (size_t i = 0; n == N && i < n * K; i++) check_near((double)out[i], (double)first[i], 1e-5);
    }
    mem_free(out);
    close_fixture(&x);
}

static void questions(void)
{
    float first[40 * 64] = {0};

    in_every_layout(questions_of, first);
}

/* ---- jobs that cannot be, then one that can */

static void refused(void)
{
    struct job j = {0};
    struct fixture x;
    char set[64];

    snprintf(set, sizeof set, "parallel.tensor=%d", ranks_size() + 1);
    for (int time = 0; time < 2; time++) {
        check_ok(config_load_text(&j.cfg, text, "text", (const char *[]){set}, 1, 0));
        check_code(job_open(&j, JOB_MODEL), CL_ECONFIG);
        check_text(err_text(), "parallel.tensor");
        job_close(&j);
    }
    open_fixture(&x, (struct layout){ranks_size() > 4 ? 1 : ranks_size(), false});
    close_fixture(&x);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {{"steps", steps},         {"squares", squares}, {"changes", changes},
                                            {"scores", scores},       {"prompts", prompts}, {"stops", stops},
                                            {"questions", questions}, {"refused", refused}};

    return crew_cases(argc, argv, cases, (int)(sizeof cases / sizeof *cases));
}
