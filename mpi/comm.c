/* comm.c - bytes and sums between ranks. */
#include "mpi/comm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "mpi/check.h"
#include "mpi/fault.h"
#include "mpi/watch.h"

enum { TAG_DATA = 1, TAG_SHARE = 2, TAG_RESULT = 3 };
enum { PANEL = 1 << 18, FEW = 4096 };          // numbers per panel; up to FEW every rank sums everything
static const size_t LONGEST = (size_t)1 << 30; // bytes of one MPI call

struct comm {
    MPI_Comm mpi;
    int rank, size;
    char name[16];
    int64_t panel;
    float *scratch; // (scratch_room) shares of other ranks, and 16-bit copies
    int64_t scratch_room;
    double *few; // (few_room) gathered doubles
    int64_t few_room;
    MPI_Request *request; // (4 * size)
    struct comm_counts counts;
    int odd_rank; // first contribution that was not finite
    char odd_what[32];
};

int check_failed(const char *call, int error, const char *file, int line)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0, rank = 0;
    const char *slash = strrchr(file, '/');

    MPI_Error_string(error, text, &n);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return err_set(CL_EMPI, "rank %d: %s: %s (%s:%d)", rank, call, text, slash ? slash + 1 : file, line);
}

int comm_split(struct comm **out, MPI_Comm parent, int color, int key, const char *name)
{
    int rc;
    MPI_Comm mpi = MPI_COMM_NULL;
    struct comm *c = NULL;

    *out = NULL;
    MPI_TRY(MPI_Comm_split(parent, color < 0 ? MPI_UNDEFINED : color, key, &mpi));
    if (mpi == MPI_COMM_NULL) return CL_OK;
    MPI_TRY(MPI_Comm_set_errhandler(mpi, MPI_ERRORS_RETURN));
    if (!(c = mem_new(1, sizeof *c))) FAIL(CL_ENOMEM, "no memory for a communicator");
    c->mpi = mpi, c->panel = PANEL, c->odd_rank = -1;
    snprintf(c->name, sizeof c->name, "%s", name);
    MPI_TRY(MPI_Comm_rank(mpi, &c->rank));
    MPI_TRY(MPI_Comm_size(mpi, &c->size));
    if (!(c->request = mem_new(4 * (size_t)c->size, sizeof *c->request)))
        FAIL(CL_ENOMEM, "no memory for a communicator");
    TRY(comm_reserve(c, 1));
    *out = c;
    return CL_OK;
done:
    if (c) comm_free(c);
    return rc;
}

void comm_free(struct comm *c)
{
    if (!c) return;
    MPI_Comm_free(&c->mpi);
    mem_free(c->request), mem_free(c->scratch), mem_free(c->few);
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

/* A sum of few numbers gathers them all; of more, each rank gets the others' shares of its part: never above a panel. */
int comm_reserve(struct comm *c, int64_t n)
{
    int64_t floats;

    if (!c) return CL_OK;
    floats = (n < c->panel ? n : c->panel) + c->size;
    if (floats < FEW) floats = FEW;
    floats *= c->size; // few numbers: all of each rank; else 16-bit copies beside the shares
    if (floats > c->scratch_room) {
        mem_free(c->scratch);
        c->scratch_room = 0;
        if (!(c->scratch = mem_new((size_t)floats, sizeof *c->scratch)))
            return err_set(CL_ENOMEM, "no memory for sums over %d ranks", c->size);
        c->scratch_room = floats;
    }
    if (n * c->size > c->few_room) {
        mem_free(c->few);
        c->few_room = 0;
        if (!(c->few = mem_new((size_t)(n * c->size), sizeof *c->few)))
            return err_set(CL_ENOMEM, "no memory for sums over %d ranks", c->size);
        c->few_room = n * c->size;
    }
    return CL_OK;
}

void comm_set_panel(struct comm *c, int64_t numbers)
{
    if (c) c->panel = numbers > 0 ? numbers : PANEL;
}

/* ---- sums */

static void note_odd(struct comm *c, int rank, const char *what)
{
    if (c->odd_rank >= 0) return;
    c->odd_rank = rank;
    snprintf(c->odd_what, sizeof c->odd_what, "%s", what);
}

int comm_first_nonfinite(struct comm *c, char *what, size_t room)
{
    int r = c ? c->odd_rank : -1;

    if (r >= 0) snprintf(what, room, "%s", c->odd_what);
    if (c) c->odd_rank = -1;
    return r;
}

/* sum (+)= x; false when something in x is not finite. */
static bool add_share(float *sum, const float *x, int64_t n, bool first)
{
    uint32_t odd = 0;

#pragma omp simd reduction(| : odd)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        odd |= (bits & 0x7f800000u) == 0x7f800000u;
        sum[i] = first ? x[i] : sum[i] + x[i];
    }
    return !odd;
}

static void narrow(uint16_t *out, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = f32_to_bf16(x[i]);
}

static void widen(float *out, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = bf16_to_f32(x[i]);
}

static void part_of(const struct comm *c, int r, int64_t n, int64_t *first, int64_t *count)
{
    int64_t each = n / c->size, more = n % c->size;

    *count = each + (r < more);
    *first = each * r + (r < more ? r : more);
}

/* Few numbers: everybody gets everything and adds it up alike. */
static int sum_few(struct comm *c, float *x, int64_t n)
{
    int rc;

    MPI_TRY(MPI_Allgather(x, (int)n, MPI_FLOAT, c->scratch, (int)n, MPI_FLOAT, c->mpi));
    for (int r = 0; r < c->size; r++)
        if (!add_share(x, c->scratch + r * n, n, r == 0)) note_odd(c, r, c->name);
    c->counts.sum_bytes += n * (int64_t)sizeof *x * (c->size - 1);
    rc = CL_OK;
done:
    return rc;
}

/* One panel in f32: shares of my part come in, the sum goes out. to_root: only rank 0 gets the parts. */
static int sum_panel(struct comm *c, float *x, int64_t n, bool to_root, int least)
{
    int rc, k = 0;
    int64_t first, mine, at, count;
    MPI_Request *q = c->request;

    part_of(c, c->rank, n, &first, &mine);
    for (int r = 0; r < c->size; r++)
        if (r != c->rank && r >= least)
            MPI_TRY(MPI_Irecv(c->scratch + r * mine, (int)mine, MPI_FLOAT, r, TAG_SHARE, c->mpi, &q[k++]));
    for (int r = 0; r < c->size; r++) {
        part_of(c, r, n, &at, &count);
        if (r == c->rank || c->rank < least) continue;
        MPI_TRY(MPI_Isend(x + at, (int)count, MPI_FLOAT, r, TAG_SHARE, c->mpi, &q[k++]));
        c->counts.sum_bytes += count * (int64_t)sizeof *x;
    }
    MPI_TRY(MPI_Waitall(k, q, MPI_STATUSES_IGNORE));
    if (c->rank >= least) memcpy(c->scratch + c->rank * mine, x + first, (size_t)mine * sizeof *x);
    for (int r = least; r < c->size; r++)
        if (!add_share(x + first, c->scratch + r * mine, mine, r == least)) note_odd(c, r, c->name);
    k = 0;
    for (int r = 0; r < c->size; r++) {
        part_of(c, r, n, &at, &count);
        if (r == c->rank) continue;
        if (!to_root || c->rank == 0) MPI_TRY(MPI_Irecv(x + at, (int)count, MPI_FLOAT, r, TAG_RESULT, c->mpi, &q[k++]));
        if (to_root && r != 0) continue;
        MPI_TRY(MPI_Isend(x + first, (int)mine, MPI_FLOAT, r, TAG_RESULT, c->mpi, &q[k++]));
        c->counts.sum_bytes += mine * (int64_t)sizeof *x;
    }
    MPI_TRY(MPI_Waitall(k, q, MPI_STATUSES_IGNORE));
    rc = CL_OK;
done:
    return rc;
}

/* One panel with 16-bit numbers on the wire; sums are f32, the result is rounded on every rank alike. */
static int sum_panel_bf16(struct comm *c, float *x, int64_t n)
{
    int rc, k = 0;
    int64_t first, mine, at, count;
    uint16_t *out = (uint16_t *)c->scratch, *in = out + n; // my shares for others; theirs of my part
    float *share;
    MPI_Request *q = c->request;

    part_of(c, c->rank, n, &first, &mine);
    share = (float *)(in + ((mine * c->size + 1) & ~INT64_C(1)) + (n & 1)); // 4-byte aligned
    narrow(out, x, n);
    for (int r = 0; r < c->size; r++) {
        part_of(c, r, n, &at, &count);
        if (r == c->rank) continue;
        MPI_TRY(MPI_Irecv(in + r * mine, (int)mine, MPI_UINT16_T, r, TAG_SHARE, c->mpi, &q[k++]));
        MPI_TRY(MPI_Isend(out + at, (int)count, MPI_UINT16_T, r, TAG_SHARE, c->mpi, &q[k++]));
        c->counts.sum_bytes += count * (int64_t)sizeof *out;
    }
    MPI_TRY(MPI_Waitall(k, q, MPI_STATUSES_IGNORE));
    memcpy(in + c->rank * mine, out + first, (size_t)mine * sizeof *in);
    for (int r = 0; r < c->size; r++) {
        widen(share, in + r * mine, mine);
        if (!add_share(x + first, share, mine, r == 0)) note_odd(c, r, c->name);
    }
    narrow(out + first, x + first, mine);
    k = 0;
    for (int r = 0; r < c->size; r++) {
        part_of(c, r, n, &at, &count);
        if (r == c->rank) continue;
        MPI_TRY(MPI_Irecv(out + at, (int)count, MPI_UINT16_T, r, TAG_RESULT, c->mpi, &q[k++]));
        MPI_TRY(MPI_Isend(out + first, (int)mine, MPI_UINT16_T, r, TAG_RESULT, c->mpi, &q[k++]));
        c->counts.sum_bytes += mine * (int64_t)sizeof *out;
    }
    MPI_TRY(MPI_Waitall(k, q, MPI_STATUSES_IGNORE));
    widen(x, out, n);
    rc = CL_OK;
done:
    return rc;
}

int comm_sum(struct comm *c, float *x, int64_t n, enum dtype wire)
{
    int rc;

    if (!c || c->size == 1) return CL_OK;
    TRY(fault_meet(c->name, x, n));
    watch_collective(c->name);
    TRY(comm_reserve(c, n));
    c->counts.sums++;
    if (n <= FEW && n <= c->panel && wire == DT_F32) {
        TRY(sum_few(c, x, n));
    } else {
        for (int64_t at = 0; at < n; at += c->panel) {
            int64_t now = n - at < c->panel ? n - at : c->panel;
            TRY(wire == DT_BF16 ? sum_panel_bf16(c, x + at, now) : sum_panel(c, x + at, now, false, 0));
        }
    }
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

int comm_sum_to_root(struct comm *c, float *x, int64_t n, int first)
{
    int rc;

    if (!c || c->size == 1) return CL_OK;
    TRY(fault_meet("sum_to_root", x, n));
    watch_collective("sum_to_root");
    TRY(comm_reserve(c, n));
    c->counts.sums++;
    for (int64_t at = 0; at < n; at += c->panel)
        TRY(sum_panel(c, x + at, n - at < c->panel ? n - at : c->panel, true, first));
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

int comm_sum_double(struct comm *c, double *x, int64_t n)
{
    int rc;

    if (!c || c->size == 1 || !n) return CL_OK;
    TRY(fault_meet("sum_double", NULL, 0));
    TRY(comm_reserve(c, n));
    memcpy(c->few + c->rank * n, x, (size_t)n * sizeof *x);
    TRY(comm_gather(c, c->few, NULL, (size_t)n * sizeof *x));
    for (int64_t i = 0; i < n; i++) {
        x[i] = 0;
        for (int r = 0; r < c->size; r++) x[i] += c->few[r * n + i];
    }
    rc = CL_OK;
done:
    return rc;
}

/* ---- bytes */

int comm_gather(struct comm *c, void *all, const void *mine, size_t bytes)
{
    int rc;
    char *to = all;

    if (!c || c->size == 1) {
        if (mine) memcpy(all, mine, bytes);
        return CL_OK;
    }
    TRY(fault_meet("gather", NULL, 0));
    watch_collective("gather");
    if (mine) memcpy(to + (size_t)c->rank * bytes, mine, bytes);
    if (bytes > LONGEST) FAIL(CL_EINTERNAL, "gathering %zu bytes of each rank at once", bytes);
    MPI_TRY(MPI_Allgather(MPI_IN_PLACE, 0, MPI_BYTE, all, (int)bytes, MPI_BYTE, c->mpi));
    c->counts.gathers++;
    c->counts.gather_bytes += (int64_t)bytes * (c->size - 1);
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

int comm_gather_blocks(struct comm *c, void *all, const size_t *offset, const size_t *bytes)
{
    int rc = CL_OK;

    if (!c || c->size == 1) return CL_OK;
    TRY(fault_meet("gather", NULL, 0));
    watch_collective("gather");
    for (int r = 0; r < c->size; r++)
        for (size_t at = 0; at < bytes[r]; at += LONGEST) {
            size_t now = bytes[r] - at < LONGEST ? bytes[r] - at : LONGEST;
            MPI_TRY(MPI_Bcast((char *)all + offset[r] + at, (int)now, MPI_BYTE, r, c->mpi));
        }
    c->counts.gathers++;
    c->counts.gather_bytes += (int64_t)bytes[c->rank] * (c->size - 1);
done:
    watch_collective(NULL);
    return rc;
}

int comm_broadcast(struct comm *c, void *data, size_t bytes, int root)
{
    int rc = CL_OK;

    if (!c || c->size == 1) return CL_OK;
    TRY(fault_meet("broadcast", NULL, 0));
    watch_collective("broadcast");
    for (size_t at = 0; at < bytes; at += LONGEST)
        MPI_TRY(
            MPI_Bcast((char *)data + at, (int)(bytes - at < LONGEST ? bytes - at : LONGEST), MPI_BYTE, root, c->mpi));
    c->counts.broadcasts++;
    if (c->rank == root) c->counts.broadcast_bytes += (int64_t)bytes * (c->size - 1);
done:
    watch_collective(NULL);
    return rc;
}

int comm_barrier(struct comm *c)
{
    int rc;

    if (!c || c->size == 1) return CL_OK;
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
    for (size_t at = 0; at < bytes; at += LONGEST)
        MPI_TRY(MPI_Send((const char *)data + at, (int)(bytes - at < LONGEST ? bytes - at : LONGEST), MPI_BYTE, to,
                         TAG_DATA, c->mpi));
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
    for (size_t at = 0; at < bytes; at += LONGEST)
        MPI_TRY(MPI_Recv((char *)data + at, (int)(bytes - at < LONGEST ? bytes - at : LONGEST), MPI_BYTE, from,
                         TAG_DATA, c->mpi, MPI_STATUS_IGNORE));
done:
    watch_collective(NULL);
    return rc;
}

MPI_Comm comm_mpi(struct comm *c)
{
    return c->mpi;
}

struct comm_counts comm_get_counts(const struct comm *c)
{
    return c ? c->counts : (struct comm_counts){0};
}

void comm_counts_clear(struct comm *c)
{
    if (c) c->counts = (struct comm_counts){0};
}
