/* sum_messages.c - panels of a sum as messages of MPI. */
#include "io/err.h"
#include "mpi/add.h"
#include "mpi/check.h"
#include "mpi/comm_internal.h"

/* Sums that overlap have tags of their own: shares, and results at + 1. */
static int tag_of(const struct comm_sum *s)
{
    return TAG_SUM + 2 * (int)(s->serial % TAG_SUMS);
}

/* Bytes for one panel: shares of every rank of what is added here, f32, or 16-bit ones behind a copy of the panel. */
static size_t panel_bytes(const struct comm *c, int64_t n)
{
    int64_t panel = n < c->panel ? n : c->panel, all = (panel < FEW ? panel : FEW) * c->size, parts = panel + c->size;

    return ((size_t)(all > parts ? all : parts) * sizeof(float) + 127) & ~(size_t)63;
}

int sum_reserve(struct comm *c, int64_t n)
{
    size_t each = panel_bytes(c, n);

    if (each <= c->room_each) return CL_OK;
    for (int i = 0; i < IN_FLIGHT; i++)
        if (c->sum[i].c) return err_set(CL_EINTERNAL, "%s: a longer sum begins while another is on its way", c->name);
    mem_free(c->room);
    c->room_each = 0;
    if (!(c->room = mem_new(IN_FLIGHT * DEPTH, each)))
        return err_set(CL_ENOMEM, "no memory for sums over %d ranks", c->size);
    c->room_each = each;
    for (int i = 0; i < IN_FLIGHT; i++)
        for (int k = 0; k < DEPTH; k++) c->sum[i].panel[k].room = c->room + (size_t)(i * DEPTH + k) * each;
    return CL_OK;
}

/* ---- a panel */

/* Where a panel's numbers stand: on the wire (own ones, results of others) and as they came in. */
static char *wire_numbers(const struct comm_sum *s, int64_t i)
{
    return s->wire == DT_F32 ? (char *)(s->x + i * s->c->panel) : s->panel[i % DEPTH].room;
}

static char *incoming(const struct comm_sum *s, int64_t i)
{
    size_t copy = s->wire == DT_F32 ? 0 : ((size_t)sum_panel_numbers(s, i) * sizeof(uint16_t) + 7) & ~(size_t)7;

    return s->panel[i % DEPTH].room + copy;
}

static int send_numbers(struct comm_sum *s, const char *from, int64_t first, int64_t count, int to, int tag,
                        MPI_Request *q)
{
    int rc;
    size_t width = dtype_size(s->wire);

    MPI_TRY(MPI_Isend(from + (size_t)first * width, (int)((size_t)count * width), MPI_BYTE, to, tag, s->c->mpi, q));
    s->c->counts.sum_bytes += count * (int64_t)width;
    rc = CL_OK;
done:
    return rc;
}

static int receive_numbers(struct comm_sum *s, char *to, int64_t first, int64_t count, int from, int tag,
                           MPI_Request *q)
{
    int rc;
    size_t width = dtype_size(s->wire);

    MPI_TRY(MPI_Irecv(to + (size_t)first * width, (int)((size_t)count * width), MPI_BYTE, from, tag, s->c->mpi, q));
    rc = CL_OK;
done:
    return rc;
}

static bool has_room(struct comm_sum *s, int64_t i, bool wait)
{
    (void)wait;
    return i - s->closed < MESSAGE_DEPTH;
}

static int post(struct comm_sum *s, int64_t i)
{
    int rc, k = 0;
    struct comm *c = s->c;
    struct panel *p = &s->panel[i % DEPTH];
    int64_t n = sum_panel_numbers(s, i), first, mine, count;
    char *own = wire_numbers(s, i), *in = incoming(s, i);

    sum_owned(s, c->rank, n, &first, &mine);
    for (int r = s->least; r < c->size && mine; r++)
        if (r != c->rank) {
            TRY(receive_numbers(s, in, k * mine, mine, r, tag_of(s), &p->request[k]));
            k++;
        }
    if (c->rank >= s->least) {
        if (s->wire == DT_BF16) add_narrow((uint16_t *)own, s->x + i * c->panel, n);
        for (int step = 1; step < c->size; step++) {
            int r = (c->rank + step) % c->size;
            sum_owned(s, r, n, &first, &count);
            if (count) TRY(send_numbers(s, own, first, count, r, tag_of(s), &p->request[k++]));
        }
    }
    p->shares = k;
    rc = CL_OK;
done:
    return rc;
}

static int post_results(struct comm_sum *s, int64_t i, int64_t first, int64_t mine)
{
    int rc, k = 0;
    struct comm *c = s->c;
    struct panel *p = &s->panel[i % DEPTH];
    int64_t n = sum_panel_numbers(s, i), at, count;
    char *numbers = wire_numbers(s, i);

    if (s->wire == DT_BF16) add_narrow((uint16_t *)numbers + first, s->x + i * c->panel + first, mine);
    for (int step = 1; step < c->size; step++) {
        int r = (c->rank + step) % c->size;
        sum_owned(s, r, n, &at, &count);
        if (count && (!s->to_root || c->rank == 0))
            TRY(receive_numbers(s, numbers, at, count, r, tag_of(s) + 1, &p->request[k++]));
        if (mine && (!s->to_root || r == 0))
            TRY(send_numbers(s, numbers, first, mine, r, tag_of(s) + 1, &p->request[k++]));
    }
    p->results = k;
    rc = CL_OK;
done:
    return rc;
}

static int add(struct comm_sum *s, int64_t i)
{
    struct comm *c = s->c;
    int64_t n = sum_panel_numbers(s, i), first, mine;
    size_t width = dtype_size(s->wire);
    char *own = wire_numbers(s, i), *in = incoming(s, i);
    int sources = 0;

    sum_owned(s, c->rank, n, &first, &mine);
    for (int r = s->least, k = 0; r < c->size; r++)
        c->source[sources++] = r == c->rank ? own + (size_t)first * width : in + (size_t)(k++ * mine) * width;
    if (mine) sum_add(s, s->x + i * c->panel + first, sources, mine);
    s->panel[i % DEPTH].results = 0;
    return s->added_by == BY_PARTS ? post_results(s, i, first, mine) : CL_OK;
}

static int arrived(MPI_Request *q, int *n, bool wait, bool *all)
{
    int rc, flag = 1;

    if (*n && wait)
        MPI_TRY(MPI_Waitall(*n, q, MPI_STATUSES_IGNORE));
    else if (*n)
        MPI_TRY(MPI_Testall(*n, q, &flag, MPI_STATUSES_IGNORE));
    *all = flag;
    if (flag) *n = 0;
    rc = CL_OK;
done:
    return rc;
}

static int shares(struct comm_sum *s, int64_t i, bool wait, bool *here)
{
    struct panel *p = &s->panel[i % DEPTH];

    return arrived(p->request, &p->shares, wait, here);
}

static int results(struct comm_sum *s, int64_t i, bool wait, bool *here)
{
    struct panel *p = &s->panel[i % DEPTH];

    return arrived(p->request, &p->results, wait, here);
}

/* A sum that is rounded for the wire is rounded on its owner too: all hold the same. */
static void close_panel(struct comm_sum *s, int64_t i)
{
    if (s->wire == DT_BF16 && s->added_by == BY_PARTS)
        add_widen(s->x + i * s->c->panel, (const uint16_t *)wire_numbers(s, i), sum_panel_numbers(s, i));
}

const struct sum_way sum_by_messages = {has_room, post, shares, add, results, close_panel};
