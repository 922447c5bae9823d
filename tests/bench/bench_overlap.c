/* bench_overlap.c - what parallel.overlap gains on this machine, by hand: ninja bench_overlap, mpirun -n 2 tests/bench_overlap.
 *
 * A base of random weights is opened by all ranks as one group, again and again, with halves of a micro-batch that overlap and
 * without, in turns: whatever else the machine does meets both alike. One line per micro-batch: the median and the best time
 * of a training step either way, and their ratio. Arguments: shape (s), precision (f32), rounds (6), wire (f32).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/err.h"
#include "jobs/bench.h"
#include "model/lvlm.h"
#include "mpi/ranks.h"

enum { SLOTS = 8, RANK = 8, MOST_BATCH = 4, STEPS = 4, MOST_ROUNDS = 64 };

struct setting {
    const struct bench_shape *shape;
    const struct backend *be;
    char dir[256];
    int batch, rounds;
};

struct times {
    double s[MOST_ROUNDS * STEPS];
    int n;
};

static void need(int rc)
{
    if (!rc) return;
    fprintf(stderr, "bench_overlap: %s\n", err_text());
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void fill(struct packed_batch *b, const struct setting *g)
{
    const int64_t n = bench_tokens(g->shape);
    struct sample one = {.n = n, .prompt_n = n - g->shape->answer, .answers = g->shape->answer, .picture = -1};

    one.id = mem_new((size_t)n, sizeof *one.id), one.label = mem_new((size_t)n, sizeof *one.label);
    if (!one.id || !one.label) need(err_set(CL_ENOMEM, "no memory for a sample"));
    for (int64_t i = 0; i < n; i++) {
        one.id[i] = (int32_t)(3 + i * 7919 % (g->shape->vocab - 8));
        one.label[i] = i >= one.prompt_n ? one.id[i] : -100;
    }
    need(batch_new(b, g->batch, g->batch * n));
    for (int i = 0; i < g->batch; i++) need(batch_add(b, &one, 0));
    mem_free(one.id), mem_free(one.label);
}

/* Steps behind one that warms up. */
static void lead(const struct tp *tp, const struct setting *g, struct times *t)
{
    const size_t numbers = (size_t)g->shape->layers * (size_t)g->shape->d * RANK;
    struct lvlm *m;
    struct packed_batch b = {0};
    struct adapter_slot slot[SLOTS];
    float coef[MOST_BATCH * SLOTS], *values = mem_new(numbers, sizeof *values), nll[MOST_BATCH * 64];
    double dcoef[MOST_BATCH * SLOTS];
    const struct adapters set = {SLOTS, SLOTS, RANK, slot, coef};

    if (!values) need(err_set(CL_ENOMEM, "no memory for increments"));
    for (size_t i = 0; i < numbers; i++) values[i] = 0.01f * (float)(i % 7);
    for (int i = 0; i < SLOTS; i++) slot[i] = (struct adapter_slot){values, values, (uint64_t)i + 1};
    for (int i = 0; i < MOST_BATCH * SLOTS; i++) coef[i] = 0.25f;
    need(lvlm_open(&m, g->dir, g->be, tp, true));
    fill(&b, g);
    need(lvlm_reserve(
        m, &(struct lvlm_limits){
               .samples = g->batch, .tokens = b.n, .rows = b.rows, .slots = SLOTS, .rank = RANK, .train = true}));
    for (int i = 0; i <= STEPS; i++) {
        double begun = clock_seconds();
        need(lvlm_grads_clear(m));
        need(lvlm_forward(m, &b, &set, nll, 1.0f / (float)b.rows));
        need(lvlm_backward(m, &b, &set, dcoef));
        if (i) t->s[t->n++] = clock_seconds() - begun;
    }
    batch_free(&b);
    lvlm_close(m);
    mem_free(values);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const struct setting *g)
{
    static struct times t[2];
    const struct tp *tp = ranks_now()->tp;
    double median[2], best[2];

    t[0].n = t[1].n = 0;
    for (int i = 0; i < 2 * g->rounds; i++) {
        int on = (i + 1) / 2 % 2; // off on, on off, ..
        ranks_set_overlap(on);
        if (tp->rank) {
            need(lvlm_follow(tp));
            continue;
        }
        lead(tp, g, &t[on]);
        need(lvlm_release(tp));
    }
    for (int on = 0; on < 2 && !tp->rank; on++) {
        qsort(t[on].s, (size_t)t[on].n, sizeof *t[on].s, ascending);
        median[on] = t[on].s[t[on].n / 2], best[on] = t[on].s[0];
    }
    if (!tp->rank)
        printf("shape %s, %s, %s on the wire, %d ranks, micro-batch %d: median %.3f s, overlap %.3f s, ratio %.3f; "
               "best %.3f s, "
               "overlap %.3f s, ratio %.3f\n",
               g->shape->name, dtype_name(g->be->act), dtype_name(tp->wire), tp->size, g->batch, median[0], median[1],
               median[1] / median[0], best[0], best[1], best[1] / best[0]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct setting g = {.shape = bench_shape_find(argc > 1 ? argv[1] : "s"), .rounds = argc > 3 ? atoi(argv[3]) : 6};
    char *dir = NULL;

    if (ranks_begin(argc, argv)) return 1;
    if (!g.shape || g.rounds < 1 || g.rounds > MOST_ROUNDS || ranks_size() == 1) return 1;
    need(backend_cpu(&g.be, argc > 2 && !strcmp(argv[2], "bf16") ? DT_BF16 : DT_F32));
    need(ranks_layout(ranks_size(), false, argc > 4 && !strcmp(argv[4], "bf16") ? DT_BF16 : DT_F32));
    if (ranks_rank() == 0) {
        need(bench_model_make(&dir, g.shape));
        snprintf(g.dir, sizeof g.dir, "%s", dir);
    }
    need(comm_broadcast(ranks_now()->world, g.dir, sizeof g.dir, 0));
    for (g.batch = 2; g.batch <= MOST_BATCH; g.batch *= 2) measure(&g);
    need(comm_barrier(ranks_now()->world));
    bench_model_remove(dir);
    return ranks_end(0);
}
