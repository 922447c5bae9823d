/* ranks.c - starting, splitting and ending the ranks of a job. */
#include "mpi/ranks.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "mpi/check.h"
#include "mpi/launch.h"
#include "mpi/watch.h"

enum { HOST = 64 };

static struct {
    struct ranks now;
    struct tp tp;
    char (*host)[HOST]; // (size)
    int busy;
    int threads;
    bool started; // MPI runs
    bool ended;   // rank 0 has said so
    int status;   // of rank 0
} me = {.now = {.size = 1, .tensor = 1, .groups = 1}};

int ranks_rank(void)
{
    return me.now.rank;
}

int ranks_size(void)
{
    return me.now.size;
}

const char *ranks_host(int rank)
{
    return me.host && rank >= 0 && rank < me.now.size ? me.host[rank] : "this host";
}

const struct ranks *ranks_now(void)
{
    return &me.now;
}

void ranks_busy_begin(void)
{
    me.busy++;
}

void ranks_busy_end(void)
{
    me.busy--;
}

int ranks_threads(void)
{
    return me.threads;
}

int ranks_begin(int argc, char **argv)
{
    int rc, provided, size;

    (void)argc, (void)argv;
    if (launch_size() == 1) return CL_OK;
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    me.started = true;
    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_size(MPI_COMM_WORLD, &size));
    MPI_TRY(MPI_Comm_rank(MPI_COMM_WORLD, &me.now.rank));
    me.now.size = size;
    if (!(me.host = mem_new((size_t)size, HOST))) FAIL(CL_ENOMEM, "no memory for %d ranks", size);
    TRY(comm_split(&me.now.world, MPI_COMM_WORLD, 0, me.now.rank, "world"));
    if (gethostname(me.host[me.now.rank], HOST - 1)) snprintf(me.host[me.now.rank], HOST, "host");
    TRY(comm_gather(me.now.world, me.host, NULL, HOST));
    TRY(watch_start(me.now.world));
    rc = CL_OK;
done:
    return rc;
}

static void forget_layout(void)
{
    comm_free(me.tp.comm), comm_free(me.now.crew);
    me.tp = (struct tp){.size = 1};
    me.now.crew = NULL, me.now.tp = NULL;
    me.now.tensor = me.now.groups = 1;
    me.now.group = 0;
    me.now.dedicated = false;
}

/* What rank 0 tells: op and, of RANKS_END, its status. */
static int tell(enum ranks_op op, int status)
{
    int rc;
    struct message m = {0};

    message_put_int(&m, op), message_put_int(&m, status);
    rc = message_broadcast(&m, me.now.world);
    message_free(&m);
    return rc;
}

int ranks_tell(struct message *m)
{
    int rc;

    if (me.now.size == 1) return CL_OK;
    TRY(tell(RANKS_WORK, 0));
    TRY(message_broadcast(m, me.now.world));
done:
    return rc;
}

int ranks_listen(struct message *m, enum ranks_op *op)
{
    int rc;

    TRY(message_broadcast(m, me.now.world));
    *op = (enum ranks_op)message_int(m);
    me.status = (int)message_int(m);
    TRY(message_check(m, "of rank 0"));
    if (*op == RANKS_END) me.ended = true;
    if (*op == RANKS_WORK) TRY(message_broadcast(m, me.now.world));
done:
    return rc;
}

int ranks_end(int status)
{
    struct message m = {0};
    enum ranks_op op = RANKS_WORK;

    if (!me.started) return status;
    if (status && me.busy) {
        fflush(stdout), fflush(stderr);
        watch_leave(status);
    }
    if (me.now.rank == 0)
        tell(RANKS_END, status);
    else {
        while (!me.ended && !ranks_listen(&m, &op)) {}
        message_free(&m);
        status = me.status;
    }
    forget_layout();
    watch_stop();
    comm_free(me.now.world);
    mem_free(me.host);
    MPI_Finalize();
    me.started = false;
    return status;
}

static int check_layout(int tensor, bool dedicated)
{
    int compute = me.now.size - dedicated, n = 0;
    char sizes[256] = "";

    if (compute >= 1 && compute % tensor == 0) return CL_OK;
    for (int t = 1; t <= compute; t++)
        if (compute % t == 0 && n < (int)sizeof sizes - 12)
            n += snprintf(sizes + n, sizeof sizes - (size_t)n, "%s%d", n ? ", " : "", t);
    return err_set(
        CL_ECONFIG,
        "parallel.tensor: %d ranks cannot be split into groups of %d (got %d ranks%s); hint: start a multiple of %d "
        "ranks%s, or set parallel.tensor to one of: %s",
        compute, tensor, me.now.size, dedicated ? ", one of them the dedicated coordinator" : "", tensor,
        dedicated ? " and one more" : "", n ? sizes : "1");
}

int ranks_layout(int tensor, bool dedicated, enum dtype wire)
{
    int rc, place = me.now.rank - dedicated; // among the ranks that compute

    TRY(check_layout(tensor, dedicated));
    if (!me.started) return CL_OK;
    forget_layout();
    me.now.tensor = tensor, me.now.groups = (me.now.size - dedicated) / tensor;
    me.now.dedicated = dedicated;
    me.now.group = place < 0 ? -1 : place / tensor;
    TRY(comm_split(&me.tp.comm, MPI_COMM_WORLD, place < 0 || tensor == 1 ? -1 : place / tensor, me.now.rank, "tp"));
    me.tp.rank = comm_rank(me.tp.comm), me.tp.size = place < 0 ? 1 : tensor, me.tp.wire = wire;
    if (me.tp.comm) me.now.tp = &me.tp;
    bool crew = me.now.rank == 0 || (place >= 0 && place % tensor == 0);
    TRY(comm_split(&me.now.crew, MPI_COMM_WORLD, crew ? 0 : -1, me.now.rank, "crew"));
    if (comm_size(me.now.crew) == 1) comm_free(me.now.crew), me.now.crew = NULL;
    rc = CL_OK;
done:
    return rc;
}
