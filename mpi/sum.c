/* sum.c - sums in rank order.
 *
 * Long arrays go panel by panel. Of each panel every rank owns a part: the others send it their shares of that part, it adds
 * them up from rank 0 on and sends the result to all (BY_PARTS). Two ranks, or few numbers, save the second trip: all send
 * all to all, each adds up everything, in the same order (BY_ALL). Sums that only the root wants, of one other rank or of few
 * numbers, are added up by the root (BY_ROOT).
 *
 * Panels travel as messages (sum_messages.c) or, among ranks of one host, through memory (sum_memory.c); the bits are the same.
 * A panel is posted (shares are on their way), added (results are on their way), closed. Some of them overlap, so that the
 * next one travels while this one is added. Nothing waits except for the oldest panel, and in comm_sum_test not even for that.
 */
#include <stdio.h>
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
void sum_owned(const struct comm_sum *s, int r, int64_t n, int64_t *first, int64_t *count)
{
    *first = 0, *count = s->added_by == BY_ALL || r == 0 ? n : 0;
    if (s->added_by == BY_PARTS) part_of(s->c->size, r, n, first, count);
}

int64_t sum_panel_numbers(const struct comm_sum *s, int64_t i)
{
    return least_of(s->n - i * s->c->panel, s->c->panel);
}

void sum_add(struct comm_sum *s, float *out, int sources, int64_t n)
{
    struct comm *c = s->c;
    int odd = s->wire == DT_F32 ? add_f32(out, (const float *const *)c->source, sources, n)
                                : add_bf16(out, (const uint16_t *const *)c->source, sources, n);

    if (odd < 0 || c->odd_rank >= 0) return;
    c->odd_rank = s->least + odd, c->odd_serial = s->serial;
    snprintf(c->odd_what, sizeof c->odd_what, "%s", s->name);
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

/* ---- the sum */

/* Takes a sum as far as it goes without waiting; wait: to its end. */
static int advance(struct comm_sum *s, bool wait)
{
    int rc;
    bool here;
    const struct sum_way *way = s->way;

    while (s->closed < s->panels) {
        while (s->posted < s->panels && s->posted < s->closed + DEPTH &&
               way->room(s, s->posted, wait && s->posted == s->closed))
            TRY(way->post(s, s->posted++));
        if (s->closed < s->added) { // waited for when nothing more can be added or posted
            TRY(way->results(s, s->closed, wait && s->added == s->posted, &here));
            if (here) {
                way->close(s, s->closed++);
                continue;
            }
        }
        here = false;
        if (s->added < s->posted) TRY(way->shares(s, s->added, wait, &here));
        if (here)
            TRY(way->add(s, s->added++));
        else if (!wait)
            break;
    }
    rc = CL_OK;
done:
    return rc;
}

/* One of the communicator's sums that is free, described but not under way. */
static int new_sum(struct comm_sum **out, struct comm *c, const struct sum_way *way, const char *name, float *x,
                   int64_t n, enum dtype wire)
{
    int rc;
    struct comm_sum *s = c->sum;

    *out = NULL;
    TRY(fault_meet(name, x, n));
    if (way == &sum_by_messages) TRY(sum_reserve(c, n));
    while (s < c->sum + IN_FLIGHT && s->c) s++;
    if (s == c->sum + IN_FLIGHT) FAIL(CL_EINTERNAL, "%s: more than %d sums at the same time", name, IN_FLIGHT);
    if (s->way == &sum_by_memory) s->turn += s->panels; // of the sum before
    s->c = c, s->way = way, s->name = name, s->x = x, s->n = n, s->wire = wire;
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

static const struct sum_way *way_of(const struct comm *c)
{
    return c->memory && c->panel <= PANEL ? &sum_by_memory : &sum_by_messages;
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
    TRY(new_sum(&s, c, way_of(c), name, x, n, wire));
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
    TRY(new_sum(&s, c, &sum_by_messages, "sum_to_root", x, n, DT_F32));
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
    TRY(new_sum(sum, c, way_of(c), name, x, n, wire));
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
    } * all, *first = NULL;
    int rc;

    _Static_assert(sizeof *all <= FEW_DOUBLES * sizeof *c->few, "one of each rank fits");
    *rank = -1;
    if (comm_alone(c)) return CL_OK;
    all = (struct found *)c->few;
    all[c->rank].serial = c->odd_serial;
    all[c->rank].rank = comm_first_nonfinite(c, all[c->rank].what, sizeof all->what);
    TRY(comm_gather(c, all, NULL, sizeof *all));
    for (struct found *f = all; f < all + c->size; f++)
        if (f->rank >= 0 &&
            (!first || f->serial < first->serial || (f->serial == first->serial && f->rank < first->rank)))
            first = f;
    if (first) *rank = (int)first->rank, snprintf(what, room, "%s", first->what);
done:
    return rc;
}
