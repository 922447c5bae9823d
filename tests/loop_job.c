/* loop_job.c - a job of ranks that does nothing but exchange, for test_mpi_faults.sh: loop_job STEPS [WORDS ..].
 *
 * Every step is a sum over all ranks. Rank 0 stops between two steps when that is requested, and fails when the sum is not
 * finite, as a training run does. Words:
 *     limit=S      watchdog's limit in seconds
 *     patient      rank 0 handles signals as train does (io/signal.h)
 *     endless=R    rank R computes for ever at step 20
 *     give-up=R    rank R fails with an error of its own at step 20
 *     alone=CODE   rank 0 fails at step 20 with an error of its own
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/signal.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"

static int argc;
static char **argv;

/* The number behind "word=", or -1. */
static int word(const char *name)
{
    size_t n = strlen(name);

    for (int i = 2; i < argc; i++)
        if (!strncmp(argv[i], name, n) && (argv[i][n] == '=' || !argv[i][n]))
            return argv[i][n] ? atoi(argv[i] + n + 1) : 1;
    return -1;
}

static int exchange(int step, bool *stop)
{
    enum { N = 6000 };
    static float x[N];
    int rc, rank;
    char what[32];
    struct comm *world = ranks_now()->world;

    for (int i = 0; i < N; i++) x[i] = 1;
    TRY(tp_reduce(ranks_now()->tp, tensor_of(x, DT_F32, 3, N / 3)));
    x[0] = ranks_rank() == 0 && stop_requested();
    TRY(comm_broadcast(world, x, sizeof *x, 0));
    *stop = x[0] > 0;
    if (!ranks_now()->tp) return CL_OK;
    TRY(comm_find_nonfinite(ranks_now()->tp->comm, &rank, what, sizeof what));
    if (rank >= 0)
        FAIL(CL_ENUM, "step %d: rank %d (%s) gave a number to %s that is not finite", step, rank, ranks_host(rank),
             what);
done:
    return rc;
}

static int one_step(int step, bool *stop)
{
    int rc, rank = ranks_rank();

    watch_at("stage 2 of task 1, step %d", step);
    if (step == 20 && word("endless") == rank)
        for (;;) usleep(1000);
    if (step == 20 && word("give-up") == rank) FAIL(CL_EIO, "base/model.safetensors cannot be read");
    if (step == 20 && rank == 0 && word("alone") >= 0) FAIL(CL_EIO, "the disk is full");
    TRY(exchange(step, stop));
    usleep(2000);
done:
    return rc;
}

static int work(void)
{
    int rc;
    bool stop = false;

    TRY(ranks_layout(ranks_size(), false, DT_F32));
    if (word("limit") >= 0) watch_set_limit(word("limit"));
    if (word("patient") >= 0 && ranks_rank() == 0) TRY(signal_install());
    ranks_busy_begin();
    for (int step = 1; step <= atoi(argv[1]) && !stop; step++) TRY(one_step(step, &stop));
    ranks_busy_end();
    if (stop && ranks_rank() == 0) FAIL(CL_ESTOP, "stopped by %s", stop_reason());
done:
    return rc;
}

int main(int n, char **words)
{
    int rc;

    argc = n, argv = words;
    TRY(ranks_begin(argc, argv));
    rc = work();
    if (rc && ranks_rank()) watch_fail(err_status(rc), err_text());
    if (!rc && ranks_rank() == 0) puts("done");
done:
    if (rc && ranks_rank() == 0) watch_tell(rc, err_text());
    return ranks_end(err_status(rc));
}
