/* mpi_crew_beside.c - steps of groups of ranks with another pass beside them: a teacher's answers, and those to questions without their
 * key parts. Losses, gradients against differences, the same in every layout. */
#include "crew_fixture.h"

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
    double nll, kl, plain, none;
    uint64_t version = 100;
    struct batches b;
    struct fixture x;

    open_fixture(&x, l);
    for (int i = 0; i < SAMPLES; i++) teacher[i * SLOTS + 2] = 0.9f;
    r = new_result(&x);
    reserve(&x, TEACH_EACH, 0);
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
        struct result unused = new_result(&x);
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
    struct result other[2], sum = new_result(x);
    struct heard h;
    double nll;
    uint64_t version = 100;

    for (int i = 0; i < 2; i++) {
        other[i] = new_result(x);
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
    struct packed_batch masked[SAMPLES], same[SAMPLES];
    double nll, without;
    struct heard h;
    struct batches b;
    struct fixture x;

    open_fixture(&x, l);
    r = new_result(&x), plain = new_result(&x);
    reserve(&x, TEACH_EACH, 1);
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

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {{"taught", taught}, {"listening", listening}};

    return crew_cases(argc, argv, cases, (int)(sizeof cases / sizeof *cases));
}
