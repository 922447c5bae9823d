/* bench_comm.c - sums between ranks against the library's own, by hand: ninja bench_comm, mpirun -n 2 tests/bench_comm.
 *
 * One line per size: microseconds of comm_sum (f32, bf16 on the wire) and of MPI_Allreduce, the median of rounds in which the
 * three take turns (BEST=1: the best, on a busy machine). Arguments: sizes in numbers. PANEL=N: numbers per panel; SHARED=0: by
 * messages even on one host.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "io/err.h"
#include "mpi/ranks.h"

enum { ROUNDS = 41 };
static struct comm *c;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double middle(double *t)
{
    qsort(t, ROUNDS, sizeof *t, ascending);
    return t[getenv("BEST") ? 0 : ROUNDS / 2];
}

/* Seconds of one sum, over so many that the clock's own cost vanishes. */
static double timed(float *x, int64_t n, int kind, int repeats)
{
    double start;

    comm_barrier(c);
    start = clock_seconds();
    for (int i = 0; i < repeats; i++)
        if (kind == 2)
            MPI_Allreduce(MPI_IN_PLACE, x, (int)n, MPI_FLOAT, MPI_SUM, comm_mpi(c));
        else if (comm_sum(c, x, n, kind ? DT_BF16 : DT_F32))
            exit(1);
    return (clock_seconds() - start) / repeats;
}

static void compare(int64_t n)
{
    static double t[3][ROUNDS];
    float *x = mem_new((size_t)n, sizeof *x);
    int repeats = n < 100000 ? (int)(2000000 / (n + 10000)) : 3;

    for (int round = 0; round < ROUNDS; round++)
        for (int kind = 0; kind < 3; kind++) {
            for (int64_t i = 0; i < n; i++) x[i] = 0;
            t[kind][round] = timed(x, n, kind, repeats);
        }
    if (ranks_rank() == 0)
        printf("%10lld bytes: %9.1f us f32, %9.1f us bf16, %9.1f us MPI_Allreduce\n", (long long)n * 4,
               1e6 * middle(t[0]), 1e6 * middle(t[1]), 1e6 * middle(t[2]));
    mem_free(x);
}

int main(int argc, char **argv)
{
    static const int64_t sizes[] = {1024, 16384, 262144, 672 * 2048, 4194304};

    if (ranks_begin(argc, argv) || ranks_size() == 1) return 1;
    if (comm_split(&c, MPI_COMM_WORLD, 0, ranks_rank(), "bench")) return 1;
    if ((!getenv("SHARED") || atoi(getenv("SHARED"))) && comm_share(c)) return 1;
    if (getenv("PANEL")) comm_set_panel(c, atoll(getenv("PANEL")));
    for (int i = 1; i < argc; i++) compare(atoll(argv[i]));
    for (int i = 0; argc == 1 && i < 5; i++) compare(sizes[i]);
    comm_free(c);
    return ranks_end(0);
}
