/* bench_rates.c - the few rates that plans believe: products by the weight's narrowest side, attention, loops, memory. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "jobs/bench.h"

enum { ROWS = 672, WIDE = 4096 }; // a picture with question and answer; the other side of the weights

int bench_node(struct bench *b, struct machine *m)
{
    int rc;

    TRY(bench_memory(b));
    m->assumed = false;
    m->cores = omp_get_max_threads();
    m->memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    m->read = b->read * 1e9;
done:
    return rc;
}

/* Forward and backward together, both ways round: a narrow weight may be so in either direction. */
static int product_rate(struct bench *b, const struct backend *be, int64_t width, double *rate)
{
    int rc;
    double best[2], seconds = 0;
    const double numbers = (double)(WIDE * width), read = numbers * (double)dtype_size(be->act) / (b->read * 1e9);

    for (int turned = 0; turned < 2; turned++) {
        TRY(bench_linear(b, be, ROWS, turned ? WIDE : width, turned ? width : WIDE, best));
        seconds += best[0] + best[1];
    }
    *rate = 4 * 2 * ROWS * numbers / fmax(seconds - 4 * read, seconds / 2);
done:
    return rc;
}

struct attention {
    const struct backend *be;
    struct tensor q, k, v, o, d, dq, dk, dv, lse;
    struct attention_shape s;
};

static int attention_run(void *x)
{
    int rc;
    struct attention *a = x;

    TRY(a->be->attention(a->o, a->lse.data, a->q, a->k, a->v, &a->s));
    TRY(a->be->attention_back(a->dq, a->dk, a->dv, a->d, a->o, a->q, a->k, a->v, a->lse.data, &a->s));
done:
    return rc;
}

/* Forward and backward over one sample of 16 heads. */
static int attention_rate(struct bench *b, const struct backend *be, double *rate)
{
    enum { HEADS = 16, SIZE = 128 };
    int rc = CL_OK;
    const int64_t cu[2] = {0, ROWS};
    int32_t pos[ROWS];
    double best;
    struct attention a = {.be = be};
    struct tensor *const all[] = {&a.q, &a.k, &a.v, &a.o, &a.d, &a.dq, &a.dk, &a.dv};

    for (int i = 0; i < ROWS; i++) pos[i] = i;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) TRY(bench_random(all[i], be, be->act, ROWS, HEADS * SIZE));
    TRY(bench_random(&a.lse, be, DT_F32, ROWS, HEADS));
    a.s = (struct attention_shape){1, cu, cu, NULL, pos, true, HEADS, HEADS, SIZE, 1 / sqrtf(SIZE)};
    TRY(bench_best(b, &best, b->seconds / 4, attention_run, &a));
    *rate = 12.0 * ROWS * (ROWS + 1) / 2 * HEADS * SIZE / best;
done:
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->data) be->free(all[i]->data);
    if (a.lse.data) be->free(a.lse.data);
    return rc;
}

/* The mean of what the loops of a step reach, bytes by bytes. */
static int loop_rate(struct bench *b, const struct backend *be, double *rate)
{
    int rc;
    const size_t first = b->rows;
    double slowness = 0;

    TRY(bench_loops(b, be));
    for (size_t i = first; i < b->rows; i++) slowness += 1 / b->row[i].value;
    *rate = 1e9 * (double)(b->rows - first) / slowness;
done:
    return rc;
}

int bench_rates(struct bench *b, const struct backend *be, struct machine_rates *r)
{
    static const int width[] = {128, 256, 512, 1024, 2048, 4096};
    int rc;

    *r = (struct machine_rates){.widths = sizeof width / sizeof *width};
    for (int i = 0; i < r->widths; i++) {
        char what[48];
        r->width[i] = width[i];
        TRY(product_rate(b, be, width[i], &r->product[i]));
        snprintf(what, sizeof what, "product %d wide", width[i]);
        TRY(bench_add(b, what, 0, r->product[i] / 1e9, "GFLOP/s", YARD_PRODUCT));
    }
    TRY(attention_rate(b, be, &r->attention));
    TRY(bench_add(b, "attention, both ways", 0, r->attention / 1e9, "GFLOP/s", YARD_PRODUCT));
    TRY(loop_rate(b, be, &r->loop));
done:
    return rc;
}
