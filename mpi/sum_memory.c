/* sum_memory.c - panels of a sum through memory that the ranks of a host share.
 *
 * Every rank has room for DEPTH panels of each sum that may be on its way. It copies its numbers there and says so; the others
 * add them up from there. No message is sent, and numbers are copied once where MPI copies them twice. Of BY_PARTS the owner
 * writes its part of the sum over its own numbers, from where the others fetch it.
 *
 * Three counts of each rank say how far it is; they only grow, so that nothing is ever reset. Panels of one of the sums that may
 * be on their way are counted through from the first sum on (turn).
 *     posted   panels whose numbers stand in its room
 *     added    panels of which its part of the sum stands there (BY_PARTS)
 *     taken    panels from which it needs nothing more: the others may use their room again when all have come so far
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "io/err.h"
#include "mpi/add.h"
#include "mpi/check.h"
#include "mpi/comm_internal.h"

struct count {
    _Alignas(128) atomic_llong n; // alone in what a processor fetches at once
};

struct counts {
    struct count posted, added, taken;
};

struct sum_memory {
    char *base;
    size_t bytes;
    struct counts *counts; // (size, IN_FLIGHT)
    char *room;            // (size, IN_FLIGHT, DEPTH, PANEL) floats
};

/* ---- the memory */

static size_t size_of_counts(int size)
{
    return ((size_t)size * IN_FLIGHT * sizeof(struct counts) + 4095) & ~(size_t)4095;
}

static size_t size_of_room(int size)
{
    return (size_t)size * IN_FLIGHT * DEPTH * PANEL * sizeof(float);
}

/* Maps an object of that name; rank 0 makes it, and all of its pages, so that there is no surprise later. */
static bool map(struct sum_memory *m, const char *name, bool make)
{
    int fd = shm_open(name, make ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, 0600);
    void *p = MAP_FAILED;

    if (fd < 0) return false;
    if (!make || !posix_fallocate(fd, 0, (off_t)m->bytes))
        p = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    m->base = p == MAP_FAILED ? NULL : p;
    return p != MAP_FAILED;
}

static bool new_name(char *name, size_t room)
{
    uint64_t r[2];

    if (getrandom(r, sizeof r, 0) != sizeof r) return false;
    snprintf(name, room, "/cllava.%016llx%016llx", (unsigned long long)r[0], (unsigned long long)r[1]);
    return true;
}

static int same_host(const struct comm *c, bool *same)
{
    int rc, size;
    MPI_Comm host = MPI_COMM_NULL;

    MPI_TRY(MPI_Comm_split_type(c->mpi, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &host));
    MPI_TRY(MPI_Comm_size(host, &size));
    MPI_TRY(MPI_Comm_free(&host));
    *same = size == c->size;
    rc = CL_OK;
done:
    return rc;
}

/* All map it, or none does. Its name is gone before the first sum: nothing is left when the ranks are killed. */
static int map_together(struct comm *c, struct sum_memory *m)
{
    int rc, ok;
    char name[64] = "";

    ok = c->rank == 0 && new_name(name, sizeof name) && map(m, name, true);
    if (c->rank == 0 && !ok) shm_unlink(name), name[0] = 0;
    MPI_TRY(MPI_Bcast(name, sizeof name, MPI_BYTE, 0, c->mpi));
    if (c->rank) ok = name[0] && map(m, name, false);
    MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, c->mpi));
    if (c->rank == 0 && name[0]) shm_unlink(name);
    if (!ok && m->base) munmap(m->base, m->bytes), m->base = NULL;
    rc = CL_OK;
done:
    return rc;
}

int comm_share(struct comm *c)
{
    int rc;
    bool same = false;
    struct sum_memory *m = NULL;

    if (comm_alone(c) || c->memory) return CL_OK;
    TRY(same_host(c, &same));
    if (!same) return CL_OK;
    if (!(m = mem_new(1, sizeof *m))) FAIL(CL_ENOMEM, "no memory for a communicator");
    m->bytes = size_of_counts(c->size) + size_of_room(c->size);
    TRY(map_together(c, m));
    if (m->base) {
        m->counts = (struct counts *)m->base, m->room = m->base + size_of_counts(c->size);
        c->memory = m, m = NULL;
    }
done:
    mem_free(m);
    return rc;
}

bool comm_is_shared(const struct comm *c)
{
    return c && c->memory;
}

void sum_memory_free(struct sum_memory *m)
{
    if (!m) return;
    munmap(m->base, m->bytes);
    mem_free(m);
}

/* ---- a panel */

static struct counts *counts_of(const struct comm_sum *s, int r)
{
    return &s->c->memory->counts[r * IN_FLIGHT + (s - s->c->sum)];
}

static char *room_of(const struct comm_sum *s, int64_t i, int r)
{
    int64_t slot = (r * IN_FLIGHT + (s - s->c->sum)) * DEPTH + (s->turn + i) % DEPTH;

    return s->c->memory->room + (size_t)slot * PANEL * sizeof(float);
}

/* The other rank may want this very processor: it is offered early. Meanwhile this rank's messages that are on their way elsewhere
 * go on too. */
static void pause_a_little(int *looks)
{
    enum { PATIENCE = 64 };
    int flag;

    if (++*looks % PATIENCE == 0) MPI_Iprobe(MPI_ANY_SOURCE, TAG_NOTHING, MPI_COMM_SELF, &flag, MPI_STATUS_IGNORE);
    if (*looks > PATIENCE) {
        sched_yield();
        return;
    }
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Whether every rank's count has come to n. */
static bool all_have(const struct comm_sum *s, size_t which, int64_t n, bool wait)
{
    int looks = 0;

    for (int r = 0; r < s->c->size; r++) {
        struct count *count = (struct count *)((char *)counts_of(s, r) + which);
        while (atomic_load_explicit(&count->n, memory_order_acquire) < n) {
            if (!wait) return false;
            pause_a_little(&looks);
        }
    }
    return true;
}

static void say(struct count *count, int64_t n)
{
    atomic_store_explicit(&count->n, n, memory_order_release);
}

static bool has_room(struct comm_sum *s, int64_t i, bool wait)
{
    return all_have(s, offsetof(struct counts, taken), s->turn + i + 1 - DEPTH, wait);
}

/* Numbers into a room, as they travel; past the caches: else every line would be fetched from where the others have read it, only
 * to be overwritten (between processors that share no cache that takes three times as long as the copy itself). */
static void put(const struct comm_sum *s, char *room, const float *x, int64_t n)
{
    if (s->wire == DT_BF16)
        add_narrow_past((uint16_t *)room, x, n);
    else
        add_copy_past(room, x, (size_t)n * sizeof *x);
}

static int post(struct comm_sum *s, int64_t i)
{
    struct comm *c = s->c;
    int64_t n = sum_panel_numbers(s, i), first, mine;

    put(s, room_of(s, i, c->rank), s->x + i * c->panel, n);
    say(&counts_of(s, c->rank)->posted, s->turn + i + 1);
    sum_owned(s, c->rank, n, &first, &mine);
    c->counts.sum_bytes += (s->added_by == BY_ALL ? n * (c->size - 1) : n - mine) * (int64_t)dtype_size(s->wire);
    return CL_OK;
}

static int shares(struct comm_sum *s, int64_t i, bool wait, bool *here)
{
    *here = all_have(s, offsetof(struct counts, posted), s->turn + i + 1, wait);
    return CL_OK;
}

static int add(struct comm_sum *s, int64_t i)
{
    struct comm *c = s->c;
    int64_t n = sum_panel_numbers(s, i), first, mine;
    size_t width = dtype_size(s->wire);
    float *x = s->x + i * c->panel;

    sum_owned(s, c->rank, n, &first, &mine);
    for (int r = 0; r < c->size; r++) c->source[r] = room_of(s, i, r) + (size_t)first * width;
    if (mine) sum_add(s, x + first, c->size, mine);
    if (s->added_by == BY_ALL) {
        say(&counts_of(s, c->rank)->taken, s->turn + i + 1);
        return CL_OK;
    }
    put(s, room_of(s, i, c->rank) + (size_t)first * width, x + first, mine);
    say(&counts_of(s, c->rank)->added, s->turn + i + 1);
    c->counts.sum_bytes += mine * (c->size - 1) * (int64_t)width;
    return CL_OK;
}

static int results(struct comm_sum *s, int64_t i, bool wait, bool *here)
{
    *here = s->added_by == BY_ALL || all_have(s, offsetof(struct counts, added), s->turn + i + 1, wait);
    return CL_OK;
}

static void close_panel(struct comm_sum *s, int64_t i)
{
    int64_t n = sum_panel_numbers(s, i), at, count;
    float *x = s->x + i * s->c->panel;

    if (s->added_by == BY_ALL) return;
    for (int r = 0; r < s->c->size; r++) {
        char *room = room_of(s, i, r);
        sum_owned(s, r, n, &at, &count);
        if (s->wire == DT_BF16)
            add_widen(x + at, (const uint16_t *)room + at, count);
        else if (r != s->c->rank)
            memcpy(x + at, (const float *)room + at, (size_t)count * sizeof *x);
    }
    say(&counts_of(s, s->c->rank)->taken, s->turn + i + 1);
}

const struct sum_way sum_by_memory = {has_room, post, shares, add, results, close_panel};
