/* sum.c - sums in rank order.
 *
 * Long arrays go panel by panel. Of each panel every rank owns a part: the others send it their shares of that part, it adds
 * them up from rank 0 on and sends the result to all (BY_PARTS). Two ranks, or few numbers, save the second trip: all send
 * all to all, each adds up everything, in the same order (BY_ALL). Sums that only the root wants, of one other rank or of few
 * numbers, are added up by the root (BY_ROOT).
 *
 * A panel is posted (shares are on their way), added (results are on their way), closed. DEPTH of them overlap, so that the
 * next one travels while this one is added. Nothing waits except for the oldest panel, and in comm_sum_test not even for that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "mpi/add.h"
#include "mpi/check.h"
#include "mpi/comm_internal.h"
#include "mpi/fault.h"
#include "mpi/watch.h"

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void part_of(int size, int r, int64_t n, int64_t *first, int64_t *count)
{
    int64_t each = n / size, more = n % size;

    *count = each + (r < more);
    *first = each * r + (r < more ? r : more);
}

/* What rank r adds up of a panel of n numbers. */
static void owned(const struct comm_sum *s, int r, int64_t n, int64_t *first, int64_t *count)
{
    *first = 0, *count = s->added_by == BY_ALL || r == 0 ? n : 0;
    if (s->added_by == BY_PARTS) part_of(s->c->size, r, n, first, count);
}

/* Sums that overlap have tags of their own: shares, and results at + 1. */
static int tag_of(const struct comm_sum *s)
{
    return TAG_SUM + 2 * (int)(s->serial % TAG_SUMS);
}

static int64_t panel_numbers(const struct comm_sum *s, int64_t i)
{
    return least_of(s->n - i * s->c->panel, s->c->panel);
}

int64_t comm_sum_bytes(int64_t n, enum dtype wire, int size, int rank)
{
    int64_t numbers = 0, first, mine;

    if (size == 1) return 0;
    if (size == 2 || n <= FEW) return n * (size - 1) * (int64_t)dtype_size(wire);
    for (int64_t at = 0; at < n; at += PANEL) {
        part_of(size, rank, least_of(n - at, PANEL), &first, &mine);
        numbers += least_of(n - at, PANEL) - mine + mine * (size - 1);
    }
    return numbers * (int64_t)dtype_size(wire);
}

/* ---- memory */

/* Of one panel: shares of every rank of what is added here, f32, or 16-bit ones behind a copy of the panel. */
static size_t panel_bytes(const struct comm *c, int64_t n)
{
    int64_t panel = least_of(n, c->panel), all = least_of(panel, FEW) * c->size, parts = panel + c->size;

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
    size_t copy = s->wire == DT_F32 ? 0 : ((size_t)panel_numbers(s, i) * sizeof(uint16_t) + 7) & ~(size_t)7;

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

static int post_shares(struct comm_sum *s, int64_t i)
{
    int rc, k = 0;
    struct comm *c = s->c;
    struct panel *p = &s->panel[i % DEPTH];
    int64_t n = panel_numbers(s, i), first, mine, count;
    char *own = wire_numbers(s, i), *in = incoming(s, i);

    owned(s, c->rank, n, &first, &mine);
    for (int r = s->least; r < c->size && mine; r++)
        if (r != c->rank) {
            TRY(receive_numbers(s, in, k * mine, mine, r, tag_of(s), &p->request[k]));
            k++;
        }
    if (c->rank >= s->least) {
        if (s->wire == DT_BF16) add_narrow((uint16_t *)own, s->x + i * c->panel, n);
        for (int step = 1; step < c->size; step++) {
            int r = (c->rank + step) % c->size;
            owned(s, r, n, &first, &count);
            if (count) TRY(send_numbers(s, own, first, count, r, tag_of(s), &p->request[k++]));
        }
    }
    p->shares = k;
    rc = CL_OK;
done:
    return rc;
}

static void note_odd(struct comm_sum *s, int rank)
{
    struct comm *c = s->c;

    if (c->odd_rank >= 0) return;
    c->odd_rank = rank, c->odd_serial = s->serial;
    snprintf(c->odd_what, sizeof c->odd_what, "%s", s->name);
}

static void add_shares(struct comm_sum *s, int64_t i)
{
    struct comm *c = s->c;
    int64_t n = panel_numbers(s, i), first, mine;
    size_t width = dtype_size(s->wire);
    char *own = wire_numbers(s, i), *in = incoming(s, i);
    float *out;
    int sources = 0, odd;

    owned(s, c->rank, n, &first, &mine);
    if (!mine) return;
    for (int r = s->least, k = 0; r < c->size; r++)
        c->source[sources++] = r == c->rank ? own + (size_t)first * width : in + (size_t)(k++ * mine) * width;
    out = s->x + i * c->panel + first;
    odd = s->wire == DT_F32 ? add_f32(out, (const float *const *)c->source, sources, mine)
                            : add_bf16(out, (const uint16_t *const *)c->source, sources, mine);
    if (odd >= 0) note_odd(s, s->least + odd);
}

static int post_results(struct comm_sum *s, int64_t i)
{
    int rc, k = 0;
    struct comm *c = s->c;
    struct panel *p = &s->panel[i % DEPTH];
    int64_t n = panel_numbers(s, i), first, mine, at, count;
    char *numbers = wire_numbers(s, i);

    p->results = 0;
    if (s->added_by != BY_PARTS) return CL_OK;
    owned(s, c->rank, n, &first, &mine);
    if (s->wire == DT_BF16) add_narrow((uint16_t *)numbers + first, s->x + i * c->panel + first, mine);
    for (int step = 1; step < c->size; step++) {
        int r = (c->rank + step) % c->size;
        owned(s, r, n, &at, &count);
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

/* A sum that is rounded for the wire is rounded on its owner too: all hold the same. */
static void close_panel(struct comm_sum *s, int64_t i)
{
    if (s->wire == DT_BF16 && s->added_by == BY_PARTS)
        add_widen(s->x + i * s->c->panel, (const uint16_t *)wire_numbers(s, i), panel_numbers(s, i));
}

/* ---- the sum */

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

/* Takes a sum as far as it goes without waiting; wait: to its end. */
static int advance(struct comm_sum *s, bool wait)
{
    int rc;
    bool here;

    while (s->closed < s->panels) {
        struct panel *adding = &s->panel[s->added % DEPTH], *closing = &s->panel[s->closed % DEPTH];
        while (s->posted < s->panels && s->posted < s->closed + DEPTH) TRY(post_shares(s, s->posted++));
        if (s->closed < s->added) { // results are needed first when nothing more can be added or posted
            TRY(arrived(closing->request, &closing->results, wait && s->added == s->posted, &here));
            if (here) {
                close_panel(s, s->closed++);
                continue;
            }
        }
        here = false;
        if (s->added < s->posted) TRY(arrived(adding->request, &adding->shares, wait, &here));
        if (here) {
            add_shares(s, s->added);
            TRY(post_results(s, s->added++));
        } else if (!wait)
            break;
    }
    rc = CL_OK;
done:
    return rc;
}

/* One of the communicator's sums that is free, described but not under way. */
static int new_sum(struct comm_sum **out, struct comm *c, const char *name, float *x, int64_t n, enum dtype wire)
{
    int rc;
    struct comm_sum *s = c->sum;

    *out = NULL;
    TRY(fault_meet(name, x, n));
    TRY(sum_reserve(c, n));
    while (s < c->sum + IN_FLIGHT && s->c) s++;
    if (s == c->sum + IN_FLIGHT) FAIL(CL_EINTERNAL, "%s: more than %d sums at the same time", name, IN_FLIGHT);
    s->c = c, s->name = name, s->x = x, s->n = n, s->wire = wire;
    s->added_by = c->size == 2 || n <= FEW ? BY_ALL : BY_PARTS;
    s->least = 0, s->to_root = false;
    s->serial = ++c->serial;
    s->panels = (n + c->panel - 1) / c->panel;
    s->posted = s->added = s->closed = 0;
    c->counts.sums++;
    *out = s;
done:
    return rc;
}

/* Waits for a sum and gives it up. */
static int finish(struct comm_sum *s)
{
    int rc;

    watch_collective(s->name);
    rc = advance(s, true);
    watch_collective(NULL);
    s->c = NULL;
    return rc;
}

int comm_sum_named(struct comm *c, const char *name, float *x, int64_t n, enum dtype wire)
{
    int rc;
    struct comm_sum *s;

    if (comm_alone(c)) return CL_OK;
    TRY(new_sum(&s, c, name, x, n, wire));
    TRY(finish(s));
done:
    return rc;
}

int comm_sum(struct comm *c, float *x, int64_t n, enum dtype wire)
{
    return comm_sum_named(c, "sum", x, n, wire);
}

int comm_sum_to_root(struct comm *c, float *x, int64_t n, int first)
{
    int rc;
    struct comm_sum *s;

    if (comm_alone(c)) return CL_OK;
    TRY(new_sum(&s, c, "sum_to_root", x, n, DT_F32));
    s->least = first, s->to_root = true;
    s->added_by = n <= FEW || c->size - (first > 1 ? first : 1) == 1 ? BY_ROOT : BY_PARTS;
    TRY(finish(s));
done:
    return rc;
}

int comm_sum_begin(struct comm_sum **sum, struct comm *c, const char *name, float *x, int64_t n, enum dtype wire)
{
    int rc;

    *sum = NULL;
    if (comm_alone(c)) return CL_OK;
    TRY(new_sum(sum, c, name, x, n, wire));
    TRY(advance(*sum, false));
done:
    return rc;
}

int comm_sum_test(struct comm_sum *s, bool *done)
{
    int rc = s ? advance(s, false) : CL_OK;

    *done = !s || s->closed == s->panels;
    return rc;
}

int comm_sum_end(struct comm_sum *s)
{
    return s ? finish(s) : CL_OK;
}

int comm_progress(struct comm *c)
{
    int rc = CL_OK;

    if (comm_alone(c)) return CL_OK;
    for (int i = 0; i < IN_FLIGHT; i++)
        if (c->sum[i].c) TRY(advance(&c->sum[i], false));
done:
    return rc;
}

int comm_sum_double(struct comm *c, double *x, int64_t n)
{
    int rc = CL_OK;

    if (comm_alone(c)) return CL_OK;
    TRY(fault_meet("sum_double", NULL, 0));
    watch_collective("sum_double");
    c->counts.sums++;
    for (int64_t at = 0; at < n; at += FEW_DOUBLES) {
        int64_t now = least_of(n - at, FEW_DOUBLES);
        memcpy(c->few + c->rank * now, x + at, (size_t)now * sizeof *x);
        MPI_TRY(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DOUBLE, c->few, (int)now, MPI_DOUBLE, c->mpi));
        c->counts.sum_bytes += now * (int64_t)sizeof *x * (c->size - 1);
        for (int64_t i = 0; i < now; i++) {
            double sum = c->few[i];
            for (int r = 1; r < c->size; r++) sum += c->few[r * now + i];
            x[at + i] = sum;
        }
    }
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

/* ---- numbers that are not finite */

int comm_first_nonfinite(struct comm *c, char *what, size_t room)
{
    int r = c ? c->odd_rank : -1;

    if (r >= 0) snprintf(what, room, "%s", c->odd_what);
    if (c) c->odd_rank = -1;
    return r;
}

int comm_find_nonfinite(struct comm *c, int *rank, char *what, size_t room)
{
    struct found {
        int64_t serial, rank;
        char what[sizeof c->odd_what];
    } *all = NULL, *first = NULL;
    int rc = CL_OK;

    *rank = -1;
    if (comm_alone(c)) return CL_OK;
    if (!(all = calloc((size_t)c->size, sizeof *all))) FAIL(CL_ENOMEM, "no memory for what %d ranks found", c->size);
    all[c->rank].serial = c->odd_serial;
    all[c->rank].rank = comm_first_nonfinite(c, all[c->rank].what, sizeof all->what);
    TRY(comm_gather(c, all, NULL, sizeof *all));
    for (struct found *f = all; f < all + c->size; f++)
        if (f->rank >= 0 &&
            (!first || f->serial < first->serial || (f->serial == first->serial && f->rank < first->rank)))
            first = f;
    if (first) *rank = (int)first->rank, snprintf(what, room, "%s", first->what);
done:
    free(all);
    return rc;
}
