/* ranks.c - starting, splitting and ending the ranks of a job. */
#include "mpi/ranks.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/memory.h"
#include "mpi/check.h"
#include "mpi/fault.h"
#include "mpi/launch.h"
#include "mpi/same.h"
#include "mpi/watch.h"

struct place {
    char host[64];
    double memory; // bytes, of the host or of what a control group allows there
};

static struct {
    struct ranks now;
    struct tp tp;
    struct place *place; // (size)
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
    return me.place && rank >= 0 && rank < me.now.size ? me.place[rank].host : "this host";
}

double ranks_memory(int rank)
{
    return me.place && rank >= 0 && rank < me.now.size ? me.place[rank].memory : memory_available();
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

/* ---- threads */

static int processors(cpu_set_t *mask)
{
    CPU_ZERO(mask);
    return sched_getaffinity(0, sizeof *mask, mask) ? 1 : CPU_COUNT(mask);
}

/* Ranks of this host that may use a processor that this rank may use, itself among them. */
static int sharers(int *n, const cpu_set_t *mine)
{
    int rc, size;
    struct comm *host = NULL;
    cpu_set_t *all = NULL, both;

    TRY(comm_split_host(&host));
    size = comm_size(host), *n = 0;
    if (!(all = mem_new((size_t)size, sizeof *all))) FAIL(CL_ENOMEM, "no memory for %d ranks", size);
    TRY(comm_gather(host, all, mine, sizeof *all));
    for (int r = 0; r < size; r++) {
        CPU_AND(&both, &all[r], mine);
        *n += CPU_COUNT(&both) > 0;
    }
done:
    mem_free(all);
    comm_free(host);
    return rc;
}

static int count_threads(void)
{
    int rc = CL_OK, n, among = 1;
    cpu_set_t mine;
    const char *wish = getenv("OMP_NUM_THREADS");

    n = processors(&mine);
    if (me.started) TRY(sharers(&among, &mine));
    me.threads = among > 1 ? n / among : n;
    if (wish && atoi(wish) > 0)
        me.threads = atoi(wish);
    else if (me.started)
        omp_set_num_threads(me.threads > 0 ? me.threads : 1);
    if (me.threads < 1) me.threads = 1;
done:
    return rc;
}

int ranks_threads(void)
{
    if (!me.threads) count_threads();
    return me.threads;
}

/* ---- beginning */

/* Ranks that cannot find each other end in MPI_Init with a page of text of every one. */
static int check_srun(void)
{
    bool srun = getenv("SLURM_STEP_NUM_TASKS") && !getenv("OMPI_COMM_WORLD_SIZE");

    if (!srun || getenv("PMIX_NAMESPACE") || getenv("PMI_FD") || getenv("PMI_RANK")) return CL_OK;
    return err_set(CL_EUSAGE, "srun has started %d processes that cannot talk to each other; hint: srun --mpi=pmix",
                   launch_size());
}

/* MPI counts as many ranks as the launcher started? Else each process would believe to be alone. */
static int check_launch(int size)
{
    int started = launch_size();

    if (size == started) return CL_OK;
    return err_set(CL_EUSAGE,
                   "started as %d processes that cannot talk to each other (got %d of them in MPI, expected %d); hint: "
                   "start with the mpirun of the MPI library that cllava is linked with (Open MPI), or srun --mpi=pmix",
                   started, size, started);
}

static int know_places(void)
{
    int rc;
    struct place *mine;

    if (!(me.place = mem_new((size_t)me.now.size, sizeof *me.place)))
        FAIL(CL_ENOMEM, "no memory for %d ranks", me.now.size);
    mine = &me.place[me.now.rank];
    if (gethostname(mine->host, sizeof mine->host - 1)) snprintf(mine->host, sizeof mine->host, "host");
    mine->memory = memory_available();
    TRY(comm_gather(me.now.world, me.place, NULL, sizeof *me.place));
done:
    return rc;
}

int ranks_begin(int argc, char **argv)
{
    int rc, provided, size;

    if (launch_size() == 1) return CL_OK;
    me.now.rank = launch_rank(); // so that one speaks, should MPI not come up
    TRY(check_srun());
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_size(MPI_COMM_WORLD, &size));
    if ((rc = check_launch(size))) {
        MPI_Finalize();
        return rc;
    }
    me.started = true;
    MPI_TRY(MPI_Comm_rank(MPI_COMM_WORLD, &me.now.rank));
    me.now.size = size;
    TRY(comm_split(&me.now.world, MPI_COMM_WORLD, 0, me.now.rank, "world"));
    TRY(know_places());
    TRY(same_on_all(me.now.world, argc, argv));
    TRY(fault_start(me.now.rank));
    TRY(count_threads());
    if (watch_start(me.now.world) && me.now.rank == 0)
        fprintf(stderr, "cllava: warning: no watchdog: %s\n", err_text());
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
    if (!me.now.world) { // a rank that could not even begin
        MPI_Abort(MPI_COMM_WORLD, status);
        return status;
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
    mem_free(me.place);
    MPI_Finalize();
    me.started = false;
    return status;
}

void ranks_set_overlap(bool on)
{
    me.tp.overlap = on;
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
    watch_set_groups(tensor, dedicated);
    me.now.group = place < 0 ? -1 : place / tensor;
    TRY(comm_split(&me.tp.comm, MPI_COMM_WORLD, place < 0 || tensor == 1 ? -1 : place / tensor, me.now.rank, "tp"));
    me.tp.rank = comm_rank(me.tp.comm), me.tp.size = place < 0 ? 1 : tensor, me.tp.wire = wire;
    TRY(comm_share(me.tp.comm));
    if (me.tp.comm) me.now.tp = &me.tp;
    bool crew = me.now.rank == 0 || (place >= 0 && place % tensor == 0);
    TRY(comm_split(&me.now.crew, MPI_COMM_WORLD, crew ? 0 : -1, me.now.rank, "crew"));
    if (comm_size(me.now.crew) == 1) comm_free(me.now.crew), me.now.crew = NULL;
    rc = CL_OK;
done:
    return rc;
}
