/* bench_step.c - a base of random weights at work: training step, forward pass, prefill, decoding. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "io/memory.h"
#include "jobs/bench_work.h"

struct measuring {
    struct bench_work w;
    double tower;  // seconds of the batch's pictures
    double lonely; // of a training step of one sample, NAN: not measured
};

static bool wanted(const struct bench_work *w, unsigned groups)
{
    return w->b->groups & groups;
}

static int measure(struct bench_work *w, const char *what, double *best, int (*f)(void *))
{
    int rc;
    struct timing t[256];
    char name[96];

    backend_timing_clear();
    TRY(bench_best(w->b, best, w->b->seconds, f, w));
    if (!w->b->profile) goto done;
    snprintf(name, sizeof name, "%s, shape %s, %s, batch %d", what, w->shape.name, w->b->precision, w->batch);
    if (f == bench_work_train)
        bench_print_operations(name, w->best.op, w->best.ops);
    else
        bench_print_operations(name, t, backend_timing_read(t, sizeof t / sizeof *t));
done:
    return rc;
}

/* Two rows: tokens per second, and useful operations as a share of the best product's rate. */
static int add_rate(const struct bench_work *w, const char *what, double tokens, double flop, double seconds)
{
    int rc;

    TRY(bench_add(w->b, what, w->batch, tokens / seconds, "tokens/s", YARD_NONE));
    TRY(bench_add(w->b, what, w->batch, flop / seconds / 1e9, "GFLOP/s", YARD_PRODUCT));
done:
    return rc;
}

/* .. and the operations of programs that run every row through the last layer, to compare with theirs. */
static int add_usual(const struct bench_work *w, const char *what, bool train, int64_t n, int64_t rows, double seconds)
{
    char name[48];

    snprintf(name, sizeof name, "%s, usual count", what);
    return bench_add(w->b, name, w->batch, w->batch * bench_flop_usual(&w->shape, n, rows, train) / seconds / 1e9,
                     "GFLOP/s", YARD_PRODUCT);
}

static int measure_tower(struct measuring *m)
{
    int rc;
    struct bench_work *w = &m->w;

    TRY(measure(w, "tower", &m->tower, bench_work_see));
    TRY(bench_add(w->b, "tower", w->batch, w->batch * bench_flop_tower(&w->shape) / m->tower / 1e9, "GFLOP/s",
                  YARD_PRODUCT));
done:
    return rc;
}

static int measure_training(struct measuring *m)
{
    int rc;
    struct bench_work *w = &m->w;
    const struct bench_shape *s = &w->shape;
    const int64_t n = bench_tokens(s);
    const double tokens = (double)(w->batch * n), tower = w->batch * bench_flop_tower(s),
                 both = w->batch * (bench_flop_forward(s, n, s->answer) + bench_flop_backward(s, n, s->answer));
    double step;

    memory_forget_peak();
    TRY(measure(w, "training step", &step, bench_work_train));
    TRY(add_rate(w, "training, cached features", tokens, both, step));
    TRY(add_rate(w, "training", tokens, both + tower, step + m->tower));
    TRY(add_usual(w, "training", true, n, s->answer, step + m->tower));
    TRY(bench_stages(w->b, w->batch, &w->best, m->tower));
    TRY(bench_add(w->b, "memory of a step", w->batch, (double)lvlm_step_bytes(w->m, &w->limits) / (1 << 20), "MiB",
                  YARD_NONE));
    TRY(bench_add(w->b, "peak resident, training", w->batch, memory_peak(), "MiB", YARD_NONE));
    if (w->batch == 1) m->lonely = step + m->tower;
done:
    return rc;
}

static int measure_forward(struct measuring *m)
{
    int rc;
    struct bench_work *w = &m->w;
    const struct bench_shape *s = &w->shape;
    const int64_t n = bench_tokens(s);
    double step;

    TRY(measure(w, "forward", &step, bench_work_score));
    TRY(add_rate(w, "forward", (double)(w->batch * n),
                 w->batch * (bench_flop_forward(s, n, s->answer) + bench_flop_tower(s)), step + m->tower));
    TRY(add_usual(w, "forward", false, n, s->answer, step + m->tower));
done:
    return rc;
}

static int measure_prefill(struct measuring *m)
{
    int rc;
    struct bench_work *w = &m->w;
    const struct bench_shape *s = &w->shape;
    const int64_t prompt = bench_tokens(s) - s->answer;
    const double tokens = (double)(w->batch * prompt), flop = w->batch * bench_flop_forward(s, prompt, 1);
    double step;

    TRY(measure(w, "prefill", &step, bench_work_prefill));
    TRY(add_rate(w, "prefill, cached features", tokens, flop, step));
    TRY(add_rate(w, "prefill", tokens, flop + w->batch * bench_flop_tower(s), step + m->tower));
    TRY(add_usual(w, "prefill", false, prompt, 1, step + m->tower));
done:
    return rc;
}

static int measure_decode(struct measuring *m)
{
    int rc;
    struct bench_work *w = &m->w;
    const struct bench_shape *s = &w->shape;
    const char *what = w->batch == 1 ? "decode, one sequence" : "decode";
    const double d = s->d, weights = s->layers * (4 * d * d + 3 * d * s->ff) + d * s->vocab;
    const double cache = 2 * d * s->layers * (double)(w->batch * (bench_tokens(s) - s->answer)); // keys, values
    const double bytes = (double)dtype_size(w->be->act) * (weights + cache);                     // read for each token
    double best = INFINITY, whole = 0;
    struct timing t[256];

    TRY(bench_read_peak(w->b)); // before and after: the host's memory is not always as fast
    backend_timing_clear();
    for (int i = 0; i < BENCH_DECODE_STEPS && (whole <= w->b->seconds || i < 3); i++) {
        const double begun = bench_now(w->b);
        TRY(bench_work_decode(w));
        best = fmin(best, bench_now(w->b) - begun);
        whole += bench_now(w->b) - begun;
    }
    TRY(bench_read_peak(w->b));
    if (w->b->profile) bench_print_operations("decode", t, backend_timing_read(t, sizeof t / sizeof *t));
    TRY(bench_add(w->b, what, w->batch, w->batch / best, "tokens/s", YARD_NONE));
    TRY(bench_add(w->b, what, w->batch, bytes / best / 1e9, "GB/s", YARD_READ));
done:
    return rc;
}

static int measure_batch(struct measuring *m, int batch)
{
    int rc;
    struct bench_work *w = &m->w;

    TRY(bench_work_layout(w, w->b->shape, batch));
    if (wanted(w, BENCH_TRAINING | BENCH_FORWARD | BENCH_PREFILL)) TRY(measure_tower(m));
    if (wanted(w, BENCH_TRAINING)) TRY(measure_training(m));
    TRY(bench_product_peak(w->b, w->be->act)); // again: the machine may have been busy the first time
    if (wanted(w, BENCH_FORWARD)) TRY(measure_forward(m));
    if (!wanted(w, BENCH_PREFILL | BENCH_DECODE)) goto done;
    TRY(bench_work_begin_generation(w));
    if (wanted(w, BENCH_PREFILL)) TRY(measure_prefill(m));
    if (!wanted(w, BENCH_DECODE)) goto done;
    TRY(bench_work_prefill(w));
    TRY(measure_decode(m));
done:
    return rc;
}

/* ---- routing of a long stream */

struct routed {
    struct method *method;
    struct routing out;
    const float *const *query;
    int task;
};

static int route_one(void *x)
{
    struct routed *r = x;

    return r->method->ops->route(r->method, ROUTE_FREE, r->task, r->query, NULL, 1, &r->out);
}

/* What choosing slots and their coefficients takes at the end of 32 tasks, a sample; the increments themselves stay out: the
 * pool has one layer of a narrow model. */
static int measure_routing(struct measuring *m)
{
    static const struct bench_pool pool = {.tasks = 32, .slots = 32, .rank = 1, .selected = 4};
    enum { TIMES = 64 };
    int rc;
    struct bench *b = m->w.b;
    const struct method_shape shape = {.tasks = pool.tasks, .layers = 1, .H = 8, .D = 8, .K = BENCH_EMBEDDING};
    struct config cfg = {0};
    struct routed r = {.query = m->w.query, .task = pool.tasks - 1};
    double best = INFINITY;

    TRY(bench_method_open(&r.method, &cfg, &pool, &shape, m->w.query));
    TRY(routing_new(&r.out, 1, pool.tasks * pool.slots, pool.selected));
    for (int i = 0; i < 8; i++) {
        const double begun = bench_now(b);
        for (int k = 0; k < TIMES; k++) TRY(route_one(&r));
        best = fmin(best, (bench_now(b) - begun) / TIMES);
    }
    TRY(bench_add_share(b, "routing, 1024 slots, 32 tasks", 1, 1e6 * best, "us", best / m->lonely));
done:
    if (r.method) r.method->ops->close(r.method);
    routing_free(&r.out);
    config_free(&cfg);
    return rc;
}

int bench_steps(struct bench *b, const struct backend *be, const char *dir)
{
    int rc;
    struct measuring m = {.lonely = NAN};
    const double begun = bench_now(b);

    TRY(bench_work_open(&m.w, b, be, dir));
    TRY(bench_add(b, "loading", 0, bench_now(b) - begun, "s", YARD_NONE));
    TRY(bench_work_pool(&m.w, &bench_pool_default));
    if (b->groups & BENCH_TRAINING) {
        TRY(bench_work_layout(&m.w, b->shape, b->batch[0]));
        TRY(bench_work_train(&m.w));
        TRY(bench_add(b, "load to first step", b->batch[0], bench_now(b) - begun, "s", YARD_NONE));
    }
    for (int i = 0; i < b->batches; i++) TRY(measure_batch(&m, b->batch[i]));
    if (b->groups & BENCH_ROUTING) TRY(measure_routing(&m));
done:
    bench_work_close(&m.w);
    return rc;
}
