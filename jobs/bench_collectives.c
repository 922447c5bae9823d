/* bench_collectives.c - sums, gathers and broadcasts over all ranks, from 4 KiB to 64 MiB.
 *
 * Every rank goes the same way through the list; rank 0 says how often each is repeated, prints, and puts
 *
 *     seconds = latency + bytes / bandwidth      bytes: what one rank sends (of a broadcast: receives)
 *
 * through the points, relative errors counting alike.
 */
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/bench.h"
#include "jobs/crew_messages.h"
#include "mpi/ranks.h"

enum { LEAST = 4 << 10, MOST = 64 << 20, SIZES = 8, REPEATS = 3 }; // sizes rise by 4

static const struct {
    const char *name;
    enum machine_operation op;
    enum dtype wire;
    bool fitted;
} kind[] = {{"sum", LINK_SUM, DT_F32, true},
            {"bf16 sum", LINK_SUM, DT_BF16, false},
            {"gather", LINK_GATHER, DT_F32, true},
            {"broadcast", LINK_BROADCAST, DT_F32, true}};
enum { KINDS = sizeof kind / sizeof *kind };

static int collective(struct comm *c, int k, char *data, size_t bytes)
{
    const int64_t n = (int64_t)(bytes / sizeof(float));

    if (kind[k].op == LINK_SUM) return comm_sum(c, (float *)data, n, kind[k].wire);
    if (kind[k].op == LINK_GATHER) return comm_gather(c, data, NULL, bytes / (size_t)comm_size(c));
    return comm_broadcast(c, data, bytes, 0);
}

/* Bytes that rank 0 sends, or another receives. */
static double wire_bytes(const struct comm *c, int k, size_t bytes)
{
    const int P = comm_size(c);

    if (kind[k].op == LINK_SUM) return (double)comm_sum_bytes((int64_t)(bytes / sizeof(float)), kind[k].wire, P, 0);
    if (kind[k].op == LINK_GATHER) return (double)(bytes / (size_t)P) * (P - 1);
    return (double)bytes;
}

static int time_of(const struct bench *b, struct comm *c, int k, char *data, size_t bytes, int64_t times,
                   double *seconds)
{
    int rc;
    double begun;

    memset(data, 0, bytes); // sums must not grow out of range
    TRY(comm_barrier(c));
    begun = bench_now(b);
    for (int64_t i = 0; i < times; i++) TRY(collective(c, k, data, bytes));
    TRY(comm_barrier(c));
    *seconds = (bench_now(b) - begun) / (double)times;
done:
    return rc;
}

/* The best of some runs, each long enough. What rank 0 measures counts, and it says how long is enough. */
static int measure(const struct bench *b, struct comm *c, int k, char *data, size_t bytes, double *best)
{
    int rc;
    int64_t times = 1;
    double s;

    TRY(time_of(b, c, k, data, bytes, 2, &s)); // warms up
    if (s > 0) times = (int64_t)(b->seconds / REPEATS / SIZES / s) + 1;
    if (times > 10000) times = 10000;
    TRY(comm_broadcast(c, &times, sizeof times, 0));
    *best = s;
    for (int i = 0; i < REPEATS; i++) {
        TRY(time_of(b, c, k, data, bytes, times, &s));
        if (s < *best) *best = s;
    }
done:
    return rc;
}

struct point {
    double bytes, seconds;
};

/* point (KINDS, SIZES) of this rank. Collective over the world. */
static int run(const struct bench *b, struct point (*point)[SIZES])
{
    int rc;
    struct comm *c = ranks_now()->world;
    char *data = mem_new(MOST, 1);

    if (!data) FAIL(CL_ENOMEM, "no memory for %d MiB to exchange", MOST >> 20);
    TRY(comm_reserve(c, MOST / (int64_t)sizeof(float)));
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < SIZES; i++) {
            const size_t bytes = (size_t)LEAST << 2 * i;
            point[k][i].bytes = wire_bytes(c, k, bytes);
            TRY(measure(b, c, k, data, bytes, &point[k][i].seconds));
        }
done:
    mem_free(data);
    return rc;
}

int bench_collectives_member(struct message *m)
{
    struct bench b = {.seconds = message_double(m), .clock = CLOCK_MONOTONIC};
    struct point point[KINDS][SIZES];
    int rc;

    TRY(message_check(m, "about a benchmark"));
    TRY(run(&b, point));
done:
    return rc;
}

static bool on_one_node(void)
{
    for (int r = 1; r < ranks_size(); r++)
        if (strcmp(ranks_host(r), ranks_host(0))) return false;
    return true;
}

static int report(struct bench *b, struct machine *m, struct point (*point)[SIZES])
{
    int rc = CL_OK;
    struct machine_link l = {.nodes = !on_one_node(), .ranks = ranks_size()};

    for (int k = 0; k < KINDS; k++) {
        double x[SIZES], y[SIZES], beta;
        for (int i = 0; i < SIZES; i++) {
            char what[48];
            const struct point *p = &point[k][i];
            x[i] = p->bytes, y[i] = p->seconds;
            snprintf(what, sizeof what, "%s over %d ranks, %d KiB", kind[k].name, ranks_size(), LEAST >> 10 << 2 * i);
            TRY(bench_add(b, what, 0, 1e6 * p->seconds, "us", YARD_NONE));
            if (i == SIZES - 1) TRY(bench_add(b, what, 0, p->bytes / p->seconds / 1e9, "GB/s", YARD_NONE));
        }
        if (!kind[k].fitted) continue;
        machine_fit(&l.latency[kind[k].op], &beta, x, y, SIZES);
        l.bytes[kind[k].op] = beta > 0 ? 1 / beta : 1e12;
    }
    machine_add_link(m, &l);
done:
    return rc;
}

int bench_collectives(struct bench *b, struct machine *m)
{
    int rc;
    struct message order = {0};
    struct point point[KINDS][SIZES];

    if (ranks_size() < 2)
        FAIL(CL_EUSAGE, "bench: --collectives needs several ranks (got one process); hint: mpirun -n 2 cllava bench "
                        "--collectives");
    message_put_int(&order, WORLD_BENCH), message_put_double(&order, b->seconds);
    TRY(message_check(&order, "about a benchmark"));
    ranks_busy_begin();
    TRY(ranks_tell(&order));
    TRY(run(b, point));
    ranks_busy_end();
    TRY(report(b, m, point));
done:
    message_free(&order);
    return rc;
}
