/* bench_growth.c - what a training step costs where one size grows and the others stay.
 *
 * For each size of each quantity a training step of one sample is run (of more where samples grow): seconds, operations that
 * were asked of the backend (a count, the same on every machine) and the memory that the step lays out. Routing stands apart:
 * it is what grows with the pool even where no increment is computed.
 */
#include <math.h>
#include <stdio.h>

#include "io/err.h"
#include "jobs/bench_work.h"

struct point {
    struct bench_pool pool;
    int batch, prompt; // prompt: text tokens before the answer
};

/* What grows, how a point of it looks. */
struct quantity {
    const char *name;
    int value[8]; // 0: no more
    void (*set)(struct point *p, int value);
};

static void set_samples(struct point *p, int v)
{
    p->batch = v;
}

static void set_tokens(struct point *p, int v)
{
    p->prompt = v;
}

static void set_slots(struct point *p, int v)
{
    p->pool.slots = v;
}

static void set_selected(struct point *p, int v)
{
    p->pool.selected = v, p->pool.slots = 32;
}

static void set_rank(struct point *p, int v)
{
    p->pool.rank = v;
}

static void set_tasks(struct point *p, int v)
{
    p->pool.tasks = v;
}

/* So many slots of 32 tasks together. */
static void set_pool(struct point *p, int v)
{
    p->pool = (struct bench_pool){.tasks = 32, .slots = v / 32, .rank = p->pool.rank, .selected = 1};
}

static const struct quantity quantity[] = {
    {"samples", {1, 2, 4, 8, 16}, set_samples},
    {"prompt tokens", {64, 128, 256, 512, 1024, 2048}, set_tokens},
    {"slots N of a task", {4, 8, 16, 32, 64, 128, 256}, set_slots},
    {"selected M", {1, 2, 4, 8, 16, 32}, set_selected},
    {"rank R", {1, 2, 4, 8, 16, 32, 64}, set_rank},
    {"tasks T", {1, 2, 4, 8, 16, 32}, set_tasks},
    {"slots of 32 tasks", {32, 64, 128, 256, 512, 1024}, set_pool},
};

static int add(struct bench *b, const char *name, int value, const char *what, double figure, const char *unit)
{
    char text[48];

    snprintf(text, sizeof text, "%s %d: %s", name, value, what);
    return bench_add(b, text, 0, figure, unit, YARD_NONE);
}

static int measure(struct bench_work *w, const struct quantity *q, int value)
{
    int rc;
    struct point p = {.pool = bench_pool_default, .batch = 1, .prompt = w->b->shape->prompt};
    struct bench_shape shape = *w->b->shape;
    double step, flop = 0;

    q->set(&p, value);
    shape.prompt = p.prompt;
    TRY(bench_work_pool(w, &p.pool));
    TRY(bench_work_layout(w, &shape, p.batch));
    TRY(bench_best(w->b, &step, w->b->seconds, bench_work_train, w));
    for (size_t i = 0; i < w->best.ops; i++) flop += w->best.op[i].flop;
    TRY(add(w->b, q->name, value, "step", step, "s"));
    TRY(add(w->b, q->name, value, "routing", 1e6 * w->best.routing, "us"));
    TRY(add(w->b, q->name, value, "operations", flop / 1e9, "GFLOP"));
    TRY(add(w->b, q->name, value, "memory", (double)lvlm_step_bytes(w->m, &w->limits) / (1 << 20), "MiB"));
done:
    return rc;
}

int bench_growth(struct bench *b, const struct backend *be, const char *dir)
{
    int rc;
    struct bench_work w = {0};

    TRY(bench_work_open(&w, b, be, dir));
    for (size_t i = 0; i < sizeof quantity / sizeof *quantity; i++)
        for (const int *v = quantity[i].value; *v; v++) TRY(measure(&w, &quantity[i], *v));
done:
    bench_work_close(&w);
    return rc;
}
