/* Groups of ranks as the coordinator sees them, in every layout of the ranks at hand: a step gives the same losses and gradients
 * however it is cut and dealt out, samples with different slots the same as alone, prompts the same answers. */
#include "mpi_fixture.h"

#include <stdlib.h>

#include "jobs/crew.h"
#include "jobs/job.h"
#include "jobs/task_data.h"
#include "pool/rng.h"

enum { SAMPLES = 6, SLOTS = 3, LEARNED = 2, RANK = 4 };

struct layout {
    int tensor;
    bool dedicated;
};

/* What came out of one step, in the order of samples. */
struct result {
    double nll[SAMPLES], dcoef[SAMPLES * SLOTS];
    float *dA, *dB;
    int64_t a, b; // numbers in them
};

struct fixture {
    struct job j;
    struct task_data d;
    struct adapter_slot slot[SLOTS];
    float *A, *B; // of all slots
    float coef[SAMPLES * SLOTS];
};

static const char text[] =
    "base: " SOURCE_DIR "/golden/a/base\nencoder: " SOURCE_DIR "/golden/a/encoder\n"
    "kpig: {weight: 1}\nstream: {tasks: [{name: colour, train: " SOURCE_DIR
    "/golden/a/data/task0.json, test: " SOURCE_DIR
    "/golden/a/data/task0.json}]}\npool: {slots_per_task: 3, rank: 4, top_m: 2}\nprecision: f32\n";

static float number(int what, int64_t i)
{
    return (float)(rng_uniform(7, RNG_A, (uint32_t)what, (uint64_t)i) - 0.5);
}

static void open_fixture(struct fixture *x, struct layout l)
{
    char tensor[64], coordinator[64];
    const char *sets[] = {tensor, coordinator};
    const struct text_config *t = &x->j.base.text;
    int64_t a, b;

    *x = (struct fixture){0};
    snprintf(tensor, sizeof tensor, "parallel.tensor=%d", l.tensor);
    snprintf(coordinator, sizeof coordinator, "parallel.coordinator=%s", l.dedicated ? "dedicated" : "shared");
    check_ok(config_load_text(&x->j.cfg, text, "text", sets, 2, 0));
    check_ok(job_open(&x->j, JOB_MODEL | JOB_TRAIN | JOB_METHOD));
    check_int(crew_groups(x->j.crew), (ranks_size() - l.dedicated) / l.tensor);
    check_ok(task_data_open(&x->d, &x->j, 0, false));
    a = (int64_t)t->layers * RANK * t->heads * t->head_dim, b = (int64_t)t->layers * RANK * t->hidden;
    check((x->A = mem_new((size_t)(SLOTS * a), sizeof *x->A)) && (x->B = mem_new((size_t)(SLOTS * b), sizeof *x->B)));
    for (int64_t i = 0; i < SLOTS * a; i++) x->A[i] = number(0, i);
    for (int64_t i = 0; i < SLOTS * b; i++) x->B[i] = number(1, i);
    for (int s = 0; s < SLOTS; s++) x->slot[s] = (struct adapter_slot){x->A + s * a, x->B + s * b, (uint64_t)s + 1};
    for (int i = 0; i < SAMPLES * SLOTS; i++)
        x->coef[i] = i % SLOTS == i / SLOTS % SLOTS ? 0 : number(2, i); // some none
}

static void close_fixture(struct fixture *x)
{
    task_data_close(&x->d);
    mem_free(x->A), mem_free(x->B);
    job_close(&x->j);
}

static struct adapters set_of(const struct fixture *x)
{
    return (struct adapters){.slots = SLOTS, .learned = LEARNED, .rank = RANK, .slot = x->slot};
}

/* ---- a step */

struct batches {
    struct crew_micro micro[SAMPLES];
    struct packed_batch pack[SAMPLES];
    char *picture[SAMPLES];
    int n;
};

/* The first samples of the task in micro-batches of `each`. */
static void pack(struct batches *b, struct fixture *x, int each, struct result *r)
{
    *b = (struct batches){0};
    for (int i = 0; i < SAMPLES; i++) {
        struct sample s = {0};
        char *picture = NULL;
        struct crew_micro *m = &b->micro[i / each];
        if (i % each == 0) {
            check_ok(batch_new(&b->pack[b->n], each, each * x->d.longest));
            *m = (struct crew_micro){.pack = &b->pack[b->n++],
                                     .picture = (const char **)(uintptr_t)&b->picture[i],
                                     .coef = x->coef + i * SLOTS,
                                     .dcoef = r ? r->dcoef + i * SLOTS : NULL};
        }
        check_ok(task_data_sample(&x->d, &x->j, i, false, &s, &picture));
        check_ok(batch_add(m->pack, &s, 0));
        if (picture) b->picture[i - i % each + m->pack->pictures - 1] = picture;
        sample_free(&s);
    }
}

static void unpack(struct batches *b)
{
    for (int i = 0; i < b->n; i++) batch_free(&b->pack[i]);
    for (int i = 0; i < SAMPLES; i++) free(b->picture[i]);
}

static void reserve(struct fixture *x, int each)
{
    check_ok(crew_reserve(x->j.crew, &(struct lvlm_limits){.samples = each,
                                                           .tokens = each * x->d.longest,
                                                           .rows = each * x->d.most_answers,
                                                           .slots = SLOTS,
                                                           .rank = RANK,
                                                           .train = true}));
}

static int calls; // of meanwhile

static int meanwhile(void *context)
{
    (void)context;
    calls++;
    return CL_OK;
}

static void step(struct result *r, struct fixture *x, int each)
{
    const struct text_config *t = &x->j.base.text;
    struct adapters set = set_of(x);
    struct batches b;
    int odd, before = calls;

    *r = (struct result){.a = (int64_t)LEARNED * t->layers * RANK * t->heads * t->head_dim,
                         .b = (int64_t)LEARNED * t->layers * RANK * t->hidden};
    check((r->dA = mem_new((size_t)r->a, sizeof *r->dA)) && (r->dB = mem_new((size_t)r->b, sizeof *r->dB)));
    for (int64_t i = 0; i < r->a; i++) r->dA[i] = 7; // what was there before does not count
    for (int64_t i = 0; i < r->b; i++) r->dB[i] = 7;
    reserve(x, each);
    pack(&b, x, each, r);
    crew_at(x->j.crew, "a step of a test");
    check_ok(crew_step(x->j.crew, b.micro, b.n, &set, 0.125f, r->dA, r->dB, meanwhile, NULL, &odd));
    check_int(odd, -1);
    check_int(calls - before, x->j.lvlm == NULL); // only who has nothing else to do
    for (int k = 0; k < b.n; k++) r->nll[k] = b.micro[k].nll;
    unpack(&b);
}

static void free_result(struct result *r)
{
    mem_free(r->dA), mem_free(r->dB);
}

static void near_floats(const float *x, const float *want, int64_t n)
{
    double most = 0;

    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)want[i]));
    check(most > 0);
    for (int64_t i = 0; i < n; i++) check_near((double)x[i], (double)want[i], 2e-5 * most);
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

/* Calls f with every layout that the ranks allow. */
static void in_every_layout(void (*f)(struct layout, void *), void *context)
{
    for (int dedicated = 0; dedicated < 2; dedicated++)
        for (int tensor = 1; tensor <= ranks_size() - dedicated; tensor++)
            if ((ranks_size() - dedicated) % tensor == 0 && tensor <= 4) // the set's heads
                f((struct layout){tensor, dedicated}, context);
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
    const struct text_config *t;
    struct adapters set;
    struct batches b;
    struct fixture x;
    uint64_t version = 100;
    int odd;

    open_fixture(&x, l);
    t = &x.j.base.text;
    set = set_of(&x);
    r = (struct result){.a = (int64_t)LEARNED * t->layers * RANK * t->heads * t->head_dim,
                        .b = (int64_t)LEARNED * t->layers * RANK * t->hidden};
    check((r.dA = mem_new((size_t)r.a, sizeof *r.dA)) && (r.dB = mem_new((size_t)r.b, sizeof *r.dB)));
    reserve(&x, 1);
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

/* ---- a teacher */

enum { TEACH_EACH = 2 };

/* A step of all samples in pairs, held near the answers that other coefficients give; the sums of losses and divergences. */
static void taught_step(struct fixture *x, struct batches *b, struct result *r, const float *teacher, double *nll,
                        double *kl)
{
    const struct adapters set = set_of(x);
    int odd;

    for (int k = 0; k < b->n; k++)
        b->micro[k].teacher = (struct adapter_teacher){teacher ? teacher + k * TEACH_EACH * SLOTS : NULL, 0.7f, 1.6f};
    check_ok(crew_step(x->j.crew, b->micro, b->n, &set, 0.125f, r->dA, r->dB, NULL, NULL, &odd));
    check_int(odd, -1);
    *nll = *kl = 0;
    for (int k = 0; k < b->n; k++) *nll += b->micro[k].nll, *kl += b->micro[k].kl;
}

/* Derivative of what is learned by one number, by differences. */
static double taught_slope(struct fixture *x, struct batches *b, struct result *r, const float *teacher, float *number,
                           int slot, uint64_t *version)
{
    const float at = *number, h = 0.02f;
    double loss[2], nll, kl;

    for (int side = 0; side < 2; side++) {
        *number = side ? at + h : at - h;
        x->slot[slot].version = ++*version;
        taught_step(x, b, r, teacher, &nll, &kl);
        loss[side] = 0.125 * (nll + (double)0.7f * kl);
    }
    *number = at;
    x->slot[slot].version = ++*version;
    return (loss[1] - loss[0]) / (2 * (double)h);
}

static int64_t farthest(const float *v, int64_t n)
{
    int64_t at = 0;

    for (int64_t i = 0; i < n; i++)
        if (fabsf(v[i]) > fabsf(v[at])) at = i;
    return at;
}

/* Slots 0 and 1 learn, the teacher is slot 2 alone, so that it stands still when they move. Losses are those without a teacher,
 * all layouts agree, and the gradient is what differences say. */
static void taught_of(struct layout l, void *context)
{
    struct result *first = context, r;
    float teacher[SAMPLES * SLOTS] = {0};
    const struct text_config *t;
    double nll, kl, plain, none;
    uint64_t version = 100;
    struct batches b;
    struct fixture x;

    open_fixture(&x, l);
    t = &x.j.base.text;
    for (int i = 0; i < SAMPLES; i++) teacher[i * SLOTS + 2] = 0.9f;
    r = (struct result){.a = (int64_t)LEARNED * t->layers * RANK * t->heads * t->head_dim,
                        .b = (int64_t)LEARNED * t->layers * RANK * t->hidden};
    check((r.dA = mem_new((size_t)r.a, sizeof *r.dA)) && (r.dB = mem_new((size_t)r.b, sizeof *r.dB)));
    check_ok(crew_reserve(x.j.crew, &(struct lvlm_limits){.samples = TEACH_EACH,
                                                          .tokens = TEACH_EACH * x.d.longest,
                                                          .rows = TEACH_EACH * x.d.most_answers,
                                                          .slots = SLOTS,
                                                          .rank = RANK,
                                                          .train = true}));
    pack(&b, &x, TEACH_EACH, &r);
    taught_step(&x, &b, &r, NULL, &plain, &none);
    check(none == 0);
    taught_step(&x, &b, &r, x.coef, &nll, &kl); // its own teacher: nothing is far
    check_near(nll, plain, 1e-6 * plain);
    check_near(kl, 0, 1e-4);
    taught_step(&x, &b, &r, teacher, &nll, &kl);
    check_near(nll, plain, 1e-6 * plain);
    check(kl > 1e-3);
    if (first->dA) {
        check_near(kl, first->nll[0], 1e-4 * kl);
        near_floats(r.dA, first->dA, r.a);
        near_floats(r.dB, first->dB, r.b);
        free_result(&r);
    } else {
        struct result unused = {.dA = mem_new((size_t)r.a, sizeof(float)), .dB = mem_new((size_t)r.b, sizeof(float))};
        int64_t i = farthest(r.dA, r.a), k = farthest(r.dB, r.b);
        double A = taught_slope(&x, &b, &unused, teacher, &x.A[i], (int)(i / (r.a / LEARNED)), &version),
               B = taught_slope(&x, &b, &unused, teacher, &x.B[k], (int)(k / (r.b / LEARNED)), &version);
        check_near((double)r.dA[i], A, 0.01 * fabs(A));
        check_near((double)r.dB[k], B, 0.01 * fabs(B));
        free_result(&unused);
        r.nll[0] = kl;
        *first = r;
    }
    unpack(&b);
    close_fixture(&x);
}

static void taught(void)
{
    struct result first = {0};

    in_every_layout(taught_of, &first);
    free_result(&first);
}

/* ---- questions without their key parts */

static const struct listening of_all = {NULL, 0.7f, 0.9f};

/* A step of all samples in pairs, with the even ones' prompts changed in `masked` where it is there; sums over the micro-batches. */
static void listening_step(struct fixture *x, struct batches *b, struct packed_batch *masked, struct listening l,
                           struct result *r, double *nll, struct heard *h)
{
    const struct adapters set = set_of(x);
    int odd;

    for (int k = 0; k < b->n; k++) {
        b->micro[k].listening = l;
        b->micro[k].listening.masked = masked ? &masked[k] : NULL;
    }
    check_ok(crew_step(x->j.crew, b->micro, b->n, &set, 0.125f, r->dA, r->dB, NULL, NULL, &odd));
    check_int(odd, -1);
    *nll = 0, *h = (struct heard){0};
    for (int k = 0; k < b->n; k++) {
        *nll += b->micro[k].nll, h->jsd += b->micro[k].heard.jsd, h->missing += b->micro[k].heard.missing;
        h->rows += b->micro[k].heard.rows;
    }
}

/* The same samples; of every other one the question's last tokens are others, and one more (or, change 0, none are). */
static void mask(struct packed_batch *masked, const struct batches *b, int change)
{
    int32_t id[1024];

    for (int k = 0; k < b->n; k++) {
        const struct packed_batch *p = &b->pack[k];
        check_ok(batch_new(&masked[k], p->samples, p->n + p->samples));
        for (int s = 0; s < p->samples; s++) {
            struct sample prompt = {.id = id, .prompt_n = p->row[p->cu_row[s]] + 1 - p->cu[s], .picture = -1};
            check(prompt.prompt_n < 1000);
            memcpy(id, p->id + p->cu[s], (size_t)prompt.prompt_n * sizeof *id);
            for (int i = 0; i < p->pictures; i++)
                if (p->picture_sample[i] == s) prompt.picture = p->picture_at[i] - p->cu[s];
            if (s % 2 == 0 && change) {
                id[prompt.prompt_n - 2] += change;
                id[prompt.prompt_n] = id[prompt.prompt_n - 1], prompt.prompt_n++;
            }
            check_ok(batch_add_prompted(&masked[k], p, s, &prompt));
        }
    }
}

/* Derivative of what the term adds to the loss by one number, by differences. */
static double listening_slope(struct fixture *x, struct batches *b, struct packed_batch *masked, struct result *r,
                              float *number, int slot, uint64_t *version)
{
    const float at = *number, h = 0.02f;
    struct heard heard[2];
    double nll;

    for (int side = 0; side < 2; side++) {
        *number = side ? at + h : at - h;
        x->slot[slot].version = ++*version;
        listening_step(x, b, masked, of_all, r, &nll, &heard[side]);
    }
    *number = at;
    x->slot[slot].version = ++*version;
    return 0.125 * (double)of_all.weight * (heard[1].missing - heard[0].missing) / (2 * (double)h);
}

/* sum (n) += what the term added to gradients. */
static void add_difference(float *sum, const float *with, const float *without, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += with[i] - without[i];
}

/* Differences move the masked pass too, which the gradient holds constant. But the divergence is symmetrical: with the two passes'
 * places changed the gradient is that of the other half, and both together are what differences say. */
static void listening_mirror(struct fixture *x, struct batches *b, struct packed_batch *masked, const struct result *r,
                             const struct result *plain)
{
    struct result other[2] = {{.a = 0}, {.a = 0}}, sum = {.a = r->a, .b = r->b};
    struct heard h;
    double nll;
    uint64_t version = 100;

    check((sum.dA = mem_new((size_t)r->a, sizeof *r->dA)) && (sum.dB = mem_new((size_t)r->b, sizeof *r->dB)));
    for (int i = 0; i < 2; i++) {
        check((other[i].dA = mem_new((size_t)r->a, sizeof(float))) &&
              (other[i].dB = mem_new((size_t)r->b, sizeof(float))));
        for (int k = 0; k < b->n; k++) b->micro[k].pack = &masked[k];
        listening_step(x, b, i ? NULL : b->pack, of_all, &other[i], &nll, &h);
        for (int k = 0; k < b->n; k++) b->micro[k].pack = &b->pack[k];
    }
    add_difference(sum.dA, r->dA, plain->dA, r->a), add_difference(sum.dA, other[0].dA, other[1].dA, r->a);
    add_difference(sum.dB, r->dB, plain->dB, r->b), add_difference(sum.dB, other[0].dB, other[1].dB, r->b);
    int64_t i = farthest(sum.dA, r->a), k = farthest(sum.dB, r->b);
    double A = listening_slope(x, b, masked, &other[0], &x->A[i], (int)(i / (r->a / LEARNED)), &version),
           B = listening_slope(x, b, masked, &other[0], &x->B[k], (int)(k / (r->b / LEARNED)), &version);
    check_near((double)sum.dA[i], A, 0.01 * fabs(A));
    check_near((double)sum.dB[k], B, 0.01 * fabs(B));
    free_result(&other[0]), free_result(&other[1]), free_result(&sum);
}

/* Losses are those without the term, all layouts agree; a margin that is reached, and questions that are the same, leave the very
 * gradient that there is without it; the gradient and its mirror image together are what differences say. */
static void listening_of(struct layout l, void *context)
{
    struct result *first = context, r, plain;
    const struct text_config *t;
    struct packed_batch masked[SAMPLES], same[SAMPLES];
    double nll, without;
    struct heard h;
    struct batches b;
    struct fixture x;

    open_fixture(&x, l);
    t = &x.j.base.text;
    r = plain = (struct result){.a = (int64_t)LEARNED * t->layers * RANK * t->heads * t->head_dim,
                                .b = (int64_t)LEARNED * t->layers * RANK * t->hidden};
    check((r.dA = mem_new((size_t)r.a, sizeof *r.dA)) && (r.dB = mem_new((size_t)r.b, sizeof *r.dB)));
    check((plain.dA = mem_new((size_t)r.a, sizeof *r.dA)) && (plain.dB = mem_new((size_t)r.b, sizeof *r.dB)));
    check_ok(crew_reserve(x.j.crew, &(struct lvlm_limits){.samples = TEACH_EACH,
                                                          .tokens = TEACH_EACH * (x.d.longest + 1),
                                                          .rows = TEACH_EACH * x.d.most_answers,
                                                          .slots = SLOTS,
                                                          .rank = RANK,
                                                          .train = true}));
    pack(&b, &x, TEACH_EACH, &r);
    mask(masked, &b, 3), mask(same, &b, 0);
    listening_step(&x, &b, NULL, of_all, &plain, &without, &h);
    check(h.rows == 0 && h.jsd == 0 && h.missing == 0);
    listening_step(&x, &b, same, of_all, &r, &nll, &h);
    check(h.rows == 0 && h.jsd == 0 && h.missing == 0);
    check(nll == without);
    check_bytes(r.dA, plain.dA, (size_t)r.a * sizeof *r.dA);
    check_bytes(r.dB, plain.dB, (size_t)r.b * sizeof *r.dB);
    listening_step(&x, &b, masked, (struct listening){NULL, 0.7f, 1e-9f}, &r, &nll, &h);
    check(h.rows > 0 && h.jsd > 1e-4 && h.missing == 0);
    check_bytes(r.dA, plain.dA, (size_t)r.a * sizeof *r.dA);
    listening_step(&x, &b, masked, of_all, &r, &nll, &h);
    check(nll == without);
    check_near(h.missing, 0.9 * (double)h.rows - h.jsd, 1e-5 * (double)h.rows);
    if (first->dA) {
        check_near(h.jsd, first->nll[0], 1e-4 * h.jsd);
        near_floats(r.dA, first->dA, r.a);
        near_floats(r.dB, first->dB, r.b);
        free_result(&r);
    } else {
        first->nll[0] = h.jsd;
        listening_mirror(&x, &b, masked, &r, &plain);
        first->dA = r.dA, first->dB = r.dB;
    }
    free_result(&plain);
    for (int k = 0; k < b.n; k++) batch_free(&masked[k]), batch_free(&same[k]);
    unpack(&b);
    close_fixture(&x);
}

static void listening(void)
{
    struct result first = {0};

    in_every_layout(listening_of, &first);
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
    reserve(&x, 1);
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

/* Rank 0 runs the cases, the others serve it, as in the program. */
int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
        {"steps", steps},   {"squares", squares}, {"taught", taught}, {"listening", listening}, {"changes", changes},
        {"scores", scores}, {"prompts", prompts}, {"stops", stops},   {"questions", questions}, {"refused", refused}};
    int n = (int)(sizeof cases / sizeof *cases), passed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    check_ok(ranks_begin(argc, argv));
    if (ranks_rank() > 0) {
        check_ok(crew_serve());
        return ranks_end(0);
    }
    for (int i = 0; i < n; i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name)) continue;
        mpi_case_name = cases[i].name;
        printf("[ RUN      ] %s\n", cases[i].name);
        cases[i].run();
        printf("[       OK ] %s\n", cases[i].name);
        passed++;
    }
    printf("[  PASSED  ] %d test(s).\n", passed);
    return ranks_end(passed ? 0 : 1);
}
