/* comm.c - bytes and sums between ranks. */
#include "mpi/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "mpi/check.h"
#include "mpi/comm_internal.h"
#include "mpi/fault.h"
#include "mpi/watch.h"

int check_failed(const char *call, int error, const char *file, int line)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0, rank = 0;
    const char *slash = strrchr(file, '/');

    MPI_Error_string(error, text, &n);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return err_set(CL_EMPI, "rank %d: %s: %s (%s:%d)", rank, call, text, slash ? slash + 1 : file, line);
}

static int get_room(struct comm *c)
{
    size_t size = (size_t)c->size;
    MPI_Request *q;

    c->request = mem_new((1 + IN_FLIGHT * DEPTH) * 2 * size, sizeof *c->request);
    c->source = mem_new(size, sizeof *c->source);
    c->few = mem_new(size * FEW_DOUBLES, sizeof *c->few);
    if (!c->request || !c->source || !c->few) return err_set(CL_ENOMEM, "no memory for %d ranks", c->size);
    q = c->request + 2 * size;
    for (int i = 0; i < IN_FLIGHT; i++)
        for (int k = 0; k < DEPTH; k++, q += 2 * size) c->sum[i].panel[k].request = q;
    return comm_reserve(c, 1);
}

/* Takes over mpi. */
static int wrap(struct comm **out, MPI_Comm mpi, const char *name)
{
    int rc;
    struct comm *c = mem_new(1, sizeof *c);

    if (!c) FAIL(CL_ENOMEM, "no memory for a communicator");
    c->mpi = mpi, c->panel = PANEL, c->longest = LONGEST, c->odd_rank = -1;
    snprintf(c->name, sizeof c->name, "%s", name);
    MPI_TRY(MPI_Comm_set_errhandler(mpi, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_rank(mpi, &c->rank));
    MPI_TRY(MPI_Comm_size(mpi, &c->size));
    TRY(get_room(c));
    *out = c;
    return CL_OK;
done:
    if (c) comm_free(c);
    return rc;
}

int comm_split(struct comm **out, MPI_Comm parent, int color, int key, const char *name)
{
    int rc;
    MPI_Comm mpi = MPI_COMM_NULL;

    *out = NULL;
    MPI_TRY(MPI_Comm_split(parent, color < 0 ? MPI_UNDEFINED : color, key, &mpi));
    rc = mpi == MPI_COMM_NULL ? CL_OK : wrap(out, mpi, name);
done:
    return rc;
}

int comm_split_host(struct comm **out)
{
    int rc;
    MPI_Comm mpi;

    *out = NULL;
    MPI_TRY(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &mpi));
    rc = wrap(out, mpi, "host");
done:
    return rc;
}

void comm_free(struct comm *c)
{
    if (!c) return;
    MPI_Comm_free(&c->mpi);
    sum_memory_free(c->memory);
    mem_free(c->request), mem_free(c->source), mem_free(c->few), mem_free(c->room);
    mem_free(c);
}

int comm_rank(const struct comm *c)
{
    return c ? c->rank : 0;
}

int comm_size(const struct comm *c)
{
    return c ? c->size : 1;
}

int comm_world_rank(const struct comm *c, int r)
{
    MPI_Group mine, world;
    int out = 0;

    if (!c) return 0;
    MPI_Comm_group(c->mpi, &mine), MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_translate_ranks(mine, 1, &r, world, &out);
    MPI_Group_free(&mine), MPI_Group_free(&world);
    return out;
}

int comm_reserve(struct comm *c, int64_t n)
{
    return comm_alone(c) ? CL_OK : sum_reserve(c, n);
}

void comm_set_panel(struct comm *c, int64_t numbers)
{
    if (c) c->panel = numbers > 0 && numbers < PANEL_MOST ? numbers : PANEL;
}

void comm_set_longest(struct comm *c, size_t bytes)
{
    if (c) c->longest = bytes ? bytes : LONGEST;
}

/* ---- bytes */

/* Bytes of the next call, of those from `at` on. */
static int next(const struct comm *c, size_t at, size_t bytes)
{
    return (int)(bytes - at < c->longest ? bytes - at : c->longest);
}

/* Everybody sends its block of so many bytes to everybody. */
static int exchange(struct comm *c, char *all, size_t bytes)
{
    int rc = CL_OK;

    for (size_t at = 0; at < bytes; at += c->longest) {
        int n = next(c, at, bytes), k = 0;
        for (int step = 1; step < c->size; step++) {
            int to = (c->rank + step) % c->size, from = (c->rank + c->size - step) % c->size;
            char *in = all + (size_t)from * bytes + at, *out = all + (size_t)c->rank * bytes + at;
            MPI_TRY(MPI_Irecv(in, n, MPI_BYTE, from, TAG_BLOCK, c->mpi, &c->request[k++]));
            MPI_TRY(MPI_Isend(out, n, MPI_BYTE, to, TAG_BLOCK, c->mpi, &c->request[k++]));
        }
        MPI_TRY(MPI_Waitall(k, c->request, MPI_STATUSES_IGNORE));
    }
    c->counts.gathers++;
    c->counts.gather_bytes += (int64_t)bytes * (c->size - 1);
done:
    return rc;
}

int comm_gather(struct comm *c, void *all, const void *mine, size_t bytes)
{
    int rc;

    if (comm_alone(c)) {
        if (mine) memcpy(all, mine, bytes);
        return CL_OK;
    }
    TRY(fault_meet("gather", NULL, 0));
    watch_collective("gather");
    if (mine) memcpy((char *)all + (size_t)c->rank * bytes, mine, bytes);
    TRY(exchange(c, all, bytes));
done:
    watch_collective(NULL);
    return rc;
}

int comm_broadcast(struct comm *c, void *data, size_t bytes, int root)
{
    int rc = CL_OK;

    if (comm_alone(c)) return CL_OK;
    TRY(fault_meet("broadcast", NULL, 0));
    watch_collective("broadcast");
    for (size_t at = 0; at < bytes; at += c->longest)
        MPI_TRY(MPI_Bcast((char *)data + at, next(c, at, bytes), MPI_BYTE, root, c->mpi));
    c->counts.broadcasts++;
    if (c->rank == root) c->counts.broadcast_bytes += (int64_t)bytes * (c->size - 1);
done:
    watch_collective(NULL);
    return rc;
}

int comm_barrier(struct comm *c)
{
    int rc;

    if (comm_alone(c)) return CL_OK;
    TRY(fault_meet("barrier", NULL, 0));
    watch_collective("barrier");
    MPI_TRY(MPI_Barrier(c->mpi));
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

int comm_send(struct comm *c, const void *data, size_t bytes, int to)
{
    int rc = CL_OK;

    TRY(fault_meet("send", NULL, 0));
    watch_collective("send");
    for (size_t at = 0; at < bytes; at += c->longest)
        MPI_TRY(MPI_Send((const char *)data + at, next(c, at, bytes), MPI_BYTE, to, TAG_DATA, c->mpi));
    c->counts.messages++;
    c->counts.message_bytes += (int64_t)bytes;
done:
    watch_collective(NULL);
    return rc;
}

int comm_receive(struct comm *c, void *data, size_t bytes, int from)
{
    int rc = CL_OK;

    TRY(fault_meet("receive", NULL, 0));
    watch_collective("receive");
    for (size_t at = 0; at < bytes; at += c->longest)
        MPI_TRY(MPI_Recv((char *)data + at, next(c, at, bytes), MPI_BYTE, from, TAG_DATA, c->mpi, MPI_STATUS_IGNORE));
done:
    watch_collective(NULL);
    return rc;
}

int comm_check_equal(struct comm *c, const char *name, uint64_t value)
{
#if defined(CLLAVA_GUARD) || !defined(NDEBUG)
    int rc;
    uint64_t *all;

    if (comm_alone(c)) return CL_OK;
    all = (uint64_t *)c->few;
    TRY(comm_gather(c, all, &value, sizeof value));
    for (int r = 1; r < c->size; r++)
        if (all[r] != all[0])
            FAIL(CL_EINTERNAL,
                 "%s differs between ranks (rank %d of %s has %" PRIx64 ", expected %" PRIx64 " as rank 0)", name, r,
                 c->name, all[r], all[0]);
done:
    return rc;
#else
    (void)c, (void)name, (void)value;
    return CL_OK;
#endif
}

MPI_Comm comm_mpi(struct comm *c)
{
    return c->mpi;
}

int64_t comm_nonfinite_sum(const struct comm *c)
{
    return c ? c->odd_serial : 0;
}

int64_t comm_last_sum(const struct comm *c)
{
    return c ? c->serial : 0;
}

struct comm_counts comm_get_counts(const struct comm *c)
{
    return c ? c->counts : (struct comm_counts){0};
}

void comm_counts_clear(struct comm *c)
{
    if (c) c->counts = (struct comm_counts){0};
}
