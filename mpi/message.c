/* message.c - values in a row, every field aligned to 8 bytes. */
#include "mpi/message.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/clock.h"
#include "io/err.h"
#include "mpi/check.h"
#include "mpi/comm_internal.h"
#include "mpi/fault.h"
#include "mpi/watch.h"

static const double PATIENCE = 2e-3;            // s of looking without a pause
static const struct timespec NAP = {0, 100000}; // then 0.1 ms at a time

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

    *n = 0;
    if (bytes < 0 || (each && (size_t)bytes % each)) m->failed = true;
    if (m->failed) return NULL;
    *n = (size_t)bytes;
    return get(m, (size_t)bytes);
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

int message_check(const struct message *m, const char *what)
{
    if (!m->failed) return CL_OK;
    return err_set(CL_EMPI, "message %s is cut short or has other fields than expected (%zu bytes)", what, m->used);
}

/* ---- on the way */

int message_send(struct message *m, struct comm *c, int to)
{
    int rc;

    TRY(message_check(m, "to be sent"));
    if (m->used >> 30) FAIL(CL_EMPI, "message of %zu bytes (expected less than 1 GiB)", m->used);
    TRY(fault_meet("message", NULL, 0));
    watch_collective("message");
    MPI_TRY(MPI_Send(m->data, (int)m->used, MPI_BYTE, to, TAG_MESSAGE, comm_mpi(c)));
    rc = CL_OK;
done:
    watch_collective(NULL);
    return rc;
}

int message_waiting(struct comm *c, int from, bool *arrived)
{
    int rc, flag = 0;

    MPI_TRY(MPI_Iprobe(from < 0 ? MPI_ANY_SOURCE : from, TAG_MESSAGE, comm_mpi(c), &flag, MPI_STATUS_IGNORE));
    *arrived = flag;
    rc = CL_OK;
done:
    return rc;
}

/* A pause that grows the idler one has been. */
static void rest(double since)
{
    if (clock_seconds() - since > PATIENCE) nanosleep(&NAP, NULL);
}

int message_receive(struct message *m, struct comm *c, int from, int *who)
{
    int rc, flag = 0, n;
    double since = clock_seconds();
    MPI_Message mpi;
    MPI_Status status;

    message_clear(m);
    while (!flag) {
        MPI_TRY(MPI_Improbe(from < 0 ? MPI_ANY_SOURCE : from, TAG_MESSAGE, comm_mpi(c), &flag, &mpi, &status));
        if (!flag) rest(since);
    }
    MPI_TRY(MPI_Get_count(&status, MPI_BYTE, &n));
    if (!make_room(m, (size_t)n)) FAIL(CL_ENOMEM, "no memory for a message of %d bytes", n);
    MPI_TRY(MPI_Mrecv(m->data, n, MPI_BYTE, &mpi, MPI_STATUS_IGNORE));
    m->used = (size_t)n;
    if (who) *who = status.MPI_SOURCE;
    rc = CL_OK;
done:
    return rc;
}

static int broadcast_politely(void *data, int n, struct comm *c)
{
    int rc, flag = 0;
    double since = clock_seconds();
    MPI_Request q;

    MPI_TRY(MPI_Ibcast(data, n, MPI_BYTE, 0, comm_mpi(c), &q));
    while (!flag) {
        MPI_TRY(MPI_Test(&q, &flag, MPI_STATUS_IGNORE));
        if (!flag) rest(since);
    }
    rc = CL_OK;
done:
    return rc;
}

int message_broadcast(struct message *m, struct comm *c)
{
    int rc;
    int64_t n = (int64_t)m->used;

    if (comm_size(c) == 1) {
        m->at = 0;
        return CL_OK;
    }
    if (comm_rank(c) == 0) {
        TRY(message_check(m, "to be sent"));
        if (n >> 30) FAIL(CL_EMPI, "message of %lld bytes (expected less than 1 GiB)", (long long)n);
    } else
        message_clear(m);
    TRY(broadcast_politely(&n, sizeof n, c));
    if (!make_room(m, (size_t)n - m->used)) FAIL(CL_ENOMEM, "no memory for a message of %lld bytes", (long long)n);
    m->used = (size_t)n, m->at = 0;
    TRY(broadcast_politely(m->data, (int)n, c));
    rc = CL_OK;
done:
    return rc;
}
