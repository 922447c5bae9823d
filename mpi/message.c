/* message.c - values in a row, every field aligned to 8 bytes. */
#include "mpi/message.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/clock.h"
#include "io/err.h"
#include "mpi/check.h"
#include "mpi/comm_internal.h"
#include "mpi/fault.h"
#include "mpi/watch.h"

static const double PATIENCE = 2e-3;                // s of looking without a pause
static const double NAP = 1e-4, LONGEST_NAP = 1e-3; // then pauses: short ones, longer ones for who has waited long

void message_clear(struct message *m)
{
    m->used = m->at = 0;
    m->failed = false;
}

void message_free(struct message *m)
{
    free(m->data);
    *m = (struct message){0};
}

static bool make_room(struct message *m, size_t more)
{
    size_t room = m->room ? m->room : 256;
    char *bigger;

    if (m->failed) return false;
    while (room < m->used + more) room *= 2;
    if (room == m->room) return true;
    if (!(bigger = realloc(m->data, room))) return m->failed = true, false;
    m->data = bigger, m->room = room;
    return true;
}

static size_t padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static void put(struct message *m, const void *p, size_t n)
{
    if (!make_room(m, padded(n))) return;
    if (n) memcpy(m->data + m->used, p, n);
    memset(m->data + m->used + n, 0, padded(n) - n);
    m->used += padded(n);
}

void message_put_int(struct message *m, int64_t v)
{
    put(m, &v, sizeof v);
}

void message_put_double(struct message *m, double v)
{
    put(m, &v, sizeof v);
}

void message_put_bytes(struct message *m, const void *p, size_t n)
{
    message_put_int(m, (int64_t)n);
    put(m, p, n);
}

void message_put_text(struct message *m, const char *s)
{
    message_put_int(m, s != NULL);
    if (s) message_put_bytes(m, s, strlen(s) + 1);
}

static const void *get(struct message *m, size_t n)
{
    const char *p = m->data + m->at;

    if (m->failed || n > m->used - m->at || padded(n) > m->used - m->at) return m->failed = true, NULL;
    m->at += padded(n);
    return p;
}

int64_t message_int(struct message *m)
{
    int64_t v = 0;
    const void *p = get(m, sizeof v);

    if (p) memcpy(&v, p, sizeof v);
    return v;
}

double message_double(struct message *m)
{
    double v = 0;
    const void *p = get(m, sizeof v);

    if (p) memcpy(&v, p, sizeof v);
    return v;
}

const void *message_bytes(struct message *m, size_t *n, size_t each)
{
    int64_t bytes = message_int(m);
    const void *p = NULL;

    if (bytes < 0 || (each && (size_t)bytes % each)) m->failed = true;
    if (!m->failed) p = get(m, (size_t)bytes);
    *n = p ? (size_t)bytes : 0;
    return p;
}

void message_copy(struct message *m, void *p, size_t n)
{
    size_t have;
    const void *from = message_bytes(m, &have, 1);

    if (have != n) m->failed = true;
    if (!m->failed && n) memcpy(p, from, n);
}

const char *message_text(struct message *m)
{
    size_t n;
    const char *s;

    if (!message_int(m)) return NULL;
    s = message_bytes(m, &n, 1);
    if (!m->failed && (!n || s[n - 1])) m->failed = true;
    return m->failed ? NULL : s;
}

bool message_more(const struct message *m)
{
    return !m->failed && m->at < m->used;
}

int message_check(const struct message *m, const char *what)
{
    if (!m->failed) return CL_OK;
    return err_set(CL_EMPI, "message %s is cut short or has other fields than expected (%zu bytes)", what, m->used);
}

/* ---- on the way */

/* A message longer than one call goes in pieces: a piece of full length says that another follows, perhaps an empty one. */
int message_send(struct message *m, struct comm *c, int to)
{
    int rc, n;
    size_t at = 0;

    TRY(message_check(m, "to be sent"));
    TRY(fault_meet("message", NULL, 0));
    watch_collective("message");
    do {
        n = (int)(m->used - at < c->longest ? m->used - at : c->longest);
        MPI_TRY(MPI_Send(m->data + at, n, MPI_BYTE, to, TAG_MESSAGE, c->mpi));
        at += (size_t)n;
    } while ((size_t)n == c->longest);
    c->counts.messages++;
    c->counts.message_bytes += (int64_t)m->used;
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

int message_send_begin(struct message *m, struct comm *c, int to)
{
    int rc;

    TRY(message_check(m, "to be sent"));
    if (m->used >> 30) FAIL(CL_EMPI, "message of %zu bytes (expected less than 1 GiB)", m->used);
    TRY(fault_meet("message", NULL, 0));
    MPI_TRY(MPI_Isend(m->data, (int)m->used, MPI_BYTE, to, TAG_MESSAGE, comm_mpi(c), &m->request));
    m->on_way = true;
    rc = CL_OK;
done:
    return rc;
}

int message_sent(struct message *m)
{
    int rc, flag = 1;

    if (m->on_way) MPI_TRY(MPI_Test(&m->request, &flag, MPI_STATUS_IGNORE));
    m->on_way = !flag;
    rc = CL_OK;
done:
    return rc;
}

int message_waiting(struct comm *c, int from, bool *arrived)
{
    int rc, flag = 0;

    MPI_TRY(MPI_Iprobe(from < 0 ? MPI_ANY_SOURCE : from, TAG_MESSAGE, c->mpi, &flag, MPI_STATUS_IGNORE));
    *arrived = flag;
    rc = CL_OK;
done:
    return rc;
}

/* Between two looks: the processor is offered to others, and left to them once nothing has come for a while. */
static void rest(double *since)
{
    double now = clock_seconds(), nap;

    if (*since == 0) *since = now;
    if (now - *since < PATIENCE) {
        sched_yield();
        return;
    }
    nap = (now - *since) / 100;
    nap = nap < NAP ? NAP : nap > LONGEST_NAP ? LONGEST_NAP : nap;
    nanosleep(&(struct timespec){.tv_nsec = (long)(nap * 1e9)}, NULL);
}

/* The next piece of a message, behind what m holds. */
static int receive_piece(struct message *m, struct comm *c, int from, int *n, int *who)
{
    int rc, flag = 0;
    double since = 0;
    MPI_Message mpi;
    MPI_Status status;

    while (!flag) {
        MPI_TRY(MPI_Improbe(from, TAG_MESSAGE, c->mpi, &flag, &mpi, &status));
        if (!flag) rest(&since);
    }
    MPI_TRY(MPI_Get_count(&status, MPI_BYTE, n));
    if (!make_room(m, (size_t)*n)) FAIL(CL_ENOMEM, "no memory for a message of %zu bytes", m->used + (size_t)*n);
    MPI_TRY(MPI_Mrecv(m->data + m->used, *n, MPI_BYTE, &mpi, MPI_STATUS_IGNORE));
    m->used += (size_t)*n;
    *who = status.MPI_SOURCE;
    rc = CL_OK;
done:
    return rc;
}

int message_receive(struct message *m, struct comm *c, int from, int *who)
{
    int rc, n, source = from < 0 ? MPI_ANY_SOURCE : from;

    message_clear(m);
    TRY(fault_meet("message", NULL, 0));
    watch_collective("message");
    do TRY(receive_piece(m, c, source, &n, &source));
    while ((size_t)n == c->longest);
    if (who) *who = source;
done:
    watch_collective(NULL);
    return rc;
}

static int broadcast_politely(void *data, size_t bytes, struct comm *c)
{
    int rc, flag = 0;
    double since = 0;
    MPI_Request q;

    MPI_TRY(MPI_Ibcast(data, (int)bytes, MPI_BYTE, 0, c->mpi, &q));
    while (!flag) {
        MPI_TRY(MPI_Test(&q, &flag, MPI_STATUS_IGNORE));
        if (!flag) rest(&since);
    }
    rc = CL_OK;
done:
    return rc;
}

/* Short messages go at once with their length, the rest of longer ones follows. */
int message_broadcast(struct message *m, struct comm *c)
{
    struct {
        int64_t bytes;
        char first[504];
    } head = {0};
    int rc;
    size_t now;

    m->at = 0;
    if (comm_alone(c)) return message_check(m, "to be sent");
    if (c->rank)
        message_clear(m);
    else {
        TRY(message_check(m, "to be sent"));
        head.bytes = (int64_t)m->used;
        if (m->used) memcpy(head.first, m->data, m->used < sizeof head.first ? m->used : sizeof head.first);
    }
    TRY(fault_meet("message", NULL, 0));
    watch_collective("message");
    TRY(broadcast_politely(&head, sizeof head, c));
    if (!make_room(m, (size_t)head.bytes - m->used))
        FAIL(CL_ENOMEM, "no memory for a message of %lld bytes", (long long)head.bytes);
    m->used = (size_t)head.bytes;
    if (c->rank && m->used) memcpy(m->data, head.first, m->used < sizeof head.first ? m->used : sizeof head.first);
    for (size_t at = sizeof head.first; at < m->used; at += now) {
        now = m->used - at < c->longest ? m->used - at : c->longest;
        TRY(broadcast_politely(m->data + at, now, c));
    }
    c->counts.broadcasts++;
    if (!c->rank) c->counts.broadcast_bytes += (int64_t)m->used * (c->size - 1);
done:
    watch_collective(NULL);
    return rc;
}
