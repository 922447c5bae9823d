/* watch_thread.c - the watchdog's thread of a rank: tells rank 0 where its rank stands; on rank 0 it judges and speaks; on
 * rank 1 it speaks when rank 0 is gone. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/signal.h"
#include "mpi/ranks.h"
#include "mpi/watch_internal.h"

/* Seconds. */
static const double LOOK = 0.1, SPEAK = 0.5; // how often it looks up; how often a rank speaks at least
static const double SOON = 0.02;             // between two packets when the stage has changed
static const double WINDOW = 0.25;           // after a failure, in which a better explanation may come
static const double LAST = 1.5;              // for the others to leave
static const double GAP = 2.0;               // longer between two looks: this process was stopped itself
static const double LINGER = 0.3;            // after a signal, in which a rank's death may come to light
static const double STRANGER = 10.0;         // without a word

/* What rank 0 knows of a rank; times of clock_seconds. */
struct known {
    double heard, died; // 0: it lives
    struct net_packet last;
};

static struct {
    double now, looked;
    struct net_packet mine; // as last sent
    double sent, moved;     // when; when progress changed
    double sent_all;        // rank 0: to all
    bool stop_sent, fail_sent, leave_sent;
    struct known *rank; // (size) on rank 0; of rank 0 alone on others
    struct watch_report *report;
    struct pollfd *fds;
    int fail_rank, fail_status; // rank 0: who failed; -1: nobody
    double fail_at;
    char fail_text[NET_TEXT];
    double signal_at; // rank 0 has got one that nobody handles
    int signal;
    double lost[2]; // when the connection to rank 0, to rank 1 broke
} t;

/* ---- leaving */

static void tell_all(const struct net_packet *p)
{
    for (int i = 0; i < watch.links; i++)
        if (watch.down[i].fd >= 0 && watch.down[i].rank >= 0) net_send(&watch.down[i], p, NULL);
}

/* Tells all who are connected to leave and gives them a moment. */
static void send_away(int status)
{
    double start = clock_seconds();
    bool open = true;

    tell_all(&(struct net_packet){.kind = NET_LEAVE, .rank = watch.rank, .status = status});
    net_send(&watch.up[0], &(struct net_packet){.kind = NET_LEAVE, .rank = watch.rank, .status = status}, NULL);
    while (open && clock_seconds() - start < LAST) {
        open = false;
        for (int i = 0; i < watch.links; i++) {
            struct net_link *l = &watch.down[i];
            l->used = 0;
            if (l->fd >= 0 && l->rank >= 0 && !net_fill(l)) net_close(l);
            if (l->fd >= 0 && l->rank >= 0) open = true;
        }
        poll(NULL, 0, 5);
    }
}

_Noreturn static void end_job(int status)
{
    send_away(status);
    _exit(status);
}

/* As a program ends that does not know the signal. */
_Noreturn static void end_by(int number)
{
    atomic_flag_test_and_set(&watch.spoken); // all said by the shell
    send_away(128 + number);
    signal(number, SIG_DFL);
    kill(getpid(), number);
    poll(NULL, 0, 1000);
    _exit(128 + number);
}

/* ---- what comes in */

static void welcome(struct net_link *l, const struct net_packet *p)
{
    struct net_packet answer = {.kind = NET_WELCOME, .rank = watch.rank};

    for (int i = 0; i < watch.links; i++)
        if (watch.down[i].fd >= 0 && watch.down[i].rank == p->rank) return net_close(l);
    if (memcmp(p->secret, watch.invitation.secret, NET_SECRET) || p->rank <= watch.rank || p->rank >= watch.size)
        return net_close(l);
    l->rank = p->rank;
    memcpy(answer.secret, p->secret, NET_SECRET);
    net_send(l, &answer, NULL);
    if (watch.rank == 0) t.rank[l->rank].heard = t.now;
}

/* Of several failures the lowest rank's is told. */
static void note_failure(int rank, int status, const char *text)
{
    if (t.fail_rank >= 0 && t.fail_rank < rank) return;
    if (t.fail_rank < 0) t.fail_at = t.now;
    t.fail_rank = rank, t.fail_status = status;
    snprintf(t.fail_text, sizeof t.fail_text, "%s", text);
}

static void note_stop(int number)
{
    if (signal_installed())
        stop_request(number);
    else if (!t.signal)
        t.signal = number, t.signal_at = t.now;
}

/* From a rank that is connected to this one. */
static void hear(struct net_link *l, const struct net_packet *p, const char *text)
{
    if (l->rank < 0) {
        if (p->kind == NET_HELLO) return welcome(l, p);
        return net_close(l);
    }
    if (p->kind == NET_BYE) l->bye = true;
    if (watch.rank) return; // rank 1 is there for the day when rank 0 is not
    t.rank[l->rank].heard = t.now;
    switch (p->kind) {
    case NET_STATE: t.rank[l->rank].last = *p; break;
    case NET_FAIL: note_failure(l->rank, p->status, text); break;
    case NET_STOP: note_stop(p->status); break;
    case NET_LEAVE: // it has spoken itself
        atomic_flag_test_and_set(&watch.spoken);
        end_job(p->status);
    default: break;
    }
}

static void lose(struct net_link *l)
{
    if (watch.rank == 0 && l->rank > 0 && !l->bye) t.rank[l->rank].died = t.now;
    net_close(l);
}

static void read_down(struct net_link *l)
{
    struct net_packet p;
    char text[NET_TEXT];
    bool open = net_fill(l);

    while (l->fd >= 0 && net_next(l, &p, text)) hear(l, &p, text);
    if (l->fd >= 0 && (!open || (l->rank < 0 && t.now - l->since > STRANGER))) lose(l);
}

static void read_up(int hub)
{
    struct net_link *l = &watch.up[hub];
    struct net_packet p;
    char text[NET_TEXT];
    bool open = net_fill(l);

    while (net_next(l, &p, text)) {
        if (p.kind == NET_LEAVE) {
            atomic_flag_test_and_set(&watch.spoken);
            _exit(p.status);
        }
        if (p.kind == NET_BYE) l->bye = true;
        if (hub == 0) t.rank[0].heard = t.now;
        if (hub == 0 && p.kind == NET_STATE) t.rank[0].last = p;
    }
    if (open) return;
    if (!l->bye) t.lost[hub] = t.now;
    net_close(l);
}

static void accept_one(void)
{
    int fd = accept4(watch.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) return;
    for (int i = 0; i < watch.links; i++)
        if (watch.down[i].fd < 0) {
            watch.down[i] = (struct net_link){.fd = fd, .rank = -1, .since = t.now};
            return;
        }
    close(fd);
}

/* Waits until something comes in or it is time to look up, and takes in what came. */
static void listen_for(double seconds)
{
    nfds_t n = 0;
    char bytes[16];

    t.fds[n++] = (struct pollfd){.fd = watch.wake[0], .events = POLLIN};
    t.fds[n++] = (struct pollfd){.fd = watch.listener, .events = POLLIN};
    for (int i = 0; i < 2; i++) t.fds[n++] = (struct pollfd){.fd = watch.up[i].fd, .events = POLLIN};
    for (int i = 0; i < watch.links; i++) t.fds[n++] = (struct pollfd){.fd = watch.down[i].fd, .events = POLLIN};
    poll(t.fds, n, (int)(seconds * 1e3) + 1);
    t.now = clock_seconds();
    if (t.fds[0].revents && read(watch.wake[0], bytes, sizeof bytes) > 0) atomic_store(&watch.waking, false);
    for (int i = 0; i < 2; i++)
        if (t.fds[2 + i].revents) read_up(i);
    for (int i = 0; i < watch.links; i++)
        if (t.fds[4 + i].revents) read_down(&watch.down[i]);
    if (t.fds[1].revents) accept_one();
}

/* ---- what this rank does */

static struct net_packet where_it_stands(void)
{
    struct net_packet p = {.kind = NET_STATE, .rank = watch.rank, .progress = atomic_load(&watch.progress)};
    const char *name = atomic_load(&watch.collective);

    snprintf(p.collective, sizeof p.collective, "%s", name ? name : "");
    pthread_mutex_lock(&watch.lock);
    memcpy(p.stage, watch.stage, sizeof p.stage);
    pthread_mutex_unlock(&watch.lock);
    if (p.progress != t.mine.progress) t.moved = t.now;
    p.age = t.now - t.moved;
    return p;
}

static void tell_deputy(const struct net_packet *p)
{
    for (int i = 0; i < watch.links; i++)
        if (watch.down[i].rank == 1) net_send(&watch.down[i], p, NULL);
}

/* To rank 0; of rank 0 to rank 1, which may have to speak for it, and now and then to all, who would miss it. Gives the seconds
 * until this is due again. */
static double send_state(void)
{
    struct net_packet p = where_it_stands();
    double since = t.now - t.sent, due = SPEAK;

    if (p.progress != t.mine.progress) due = LOOK;
    if (strcmp(p.stage, t.mine.stage)) due = SOON;
    if (watch.rank == 0) t.rank[0] = (struct known){.heard = t.now, .last = p};
    if (watch.rank == 0 && t.now - t.sent_all >= SPEAK) {
        tell_all(&p);
        t.sent_all = t.now;
    }
    if (since < due) return due - since < LOOK ? due - since : LOOK;
    t.mine = p, t.sent = t.now;
    if (watch.rank == 0)
        tell_deputy(&p);
    else
        net_send(&watch.up[0], &p, NULL);
    return LOOK;
}

static void send_wishes(void)
{
    int status = atomic_load(&watch.leave);
    struct net_link *up = &watch.up[0];

    if (stop_requested() && !t.stop_sent) {
        t.stop_sent = true;
        net_send(up, &(struct net_packet){.kind = NET_STOP, .rank = watch.rank, .status = stop_signal()}, NULL);
    }
    pthread_mutex_lock(&watch.lock);
    if (watch.failed && !t.fail_sent) {
        t.fail_sent = true;
        struct net_packet p = {.kind = NET_FAIL, .rank = watch.rank, .status = watch.fail_status};
        if (watch.rank)
            net_send(up, &p, watch.fail_text);
        else
            note_failure(0, watch.fail_status, watch.fail_text);
    }
    pthread_mutex_unlock(&watch.lock);
    if (status >= 0 && !t.leave_sent) {
        t.leave_sent = true;
        if (watch.rank == 0) end_job(status);
        net_send(up, &(struct net_packet){.kind = NET_LEAVE, .rank = watch.rank, .status = status}, NULL);
    }
}

/* ---- what rank 0 makes of it */

static double limit(void)
{
    return (double)atomic_load(&watch.limit) / 1e3;
}

static void fill_report(struct watch_report *r, int rank)
{
    const struct known *k = &t.rank[rank];
    int place = rank - atomic_load(&watch.dedicated);

    *r = (struct watch_report){.host = ranks_host(rank), .silent = t.now - k->heard};
    r->still = r->silent + k->last.age;
    r->group = place < 0 ? -1 : place / atomic_load(&watch.tensor);
    r->dead = k->died > 0 ? t.now - k->died + 1e-9 : 0;
    memcpy(r->stage, k->last.stage, sizeof r->stage);
    memcpy(r->collective, k->last.collective, sizeof r->collective);
}

static void judge(void)
{
    struct watch_verdict v;
    char text[NET_TEXT + 128];
    bool death = false;

    for (int r = 0; r < watch.size; r++) {
        fill_report(&t.report[r], r);
        death |= t.report[r].dead > 0;
    }
    if (watch_judge(&v, t.report, watch.size, limit())) {
        watch_say(v.text);
        end_job(1);
    }
    if (death) return; // soon
    if (watch_signal && !t.signal) t.signal = watch_signal, t.signal_at = t.now;
    if (t.fail_rank >= 0 && t.now - t.fail_at >= WINDOW) {
        const char *stage = t.rank[t.fail_rank].last.stage;
        snprintf(text, sizeof text, "rank %d (%s)%s%s: %s", t.fail_rank, ranks_host(t.fail_rank),
                 stage[0] ? " in " : "", stage, t.fail_text);
        watch_say(text);
        end_job(t.fail_status);
    }
    if (t.signal && t.now - t.signal_at >= LINGER) end_by(t.signal);
}

/* ---- what the others do without rank 0 */

/* It is missed in what this rank waits for, or else was last where it said. */
_Noreturn static void say_of_rank_0(const char *what, const char *hint)
{
    const char *mine = atomic_load(&watch.collective);
    char text[NET_TEXT];

    fill_report(&t.report[0], 0);
    watch_describe(text, sizeof text, &t.report[0], 0, what,
                   mine && strcmp(mine, WATCH_MESSAGE) ? mine : t.report[0].collective, hint);
    watch_say(text);
    end_job(1);
}

/* Rank 1 speaks for rank 0. When it is gone too, or does not speak, the others do: so far apart that the launcher ends the rest
 * after the first. */
static void mourn(void)
{
    double silent = t.now - t.rank[0].heard;
    bool deputy = watch.rank == 1;

    if (t.lost[0] > 0) {
        double wait = deputy ? 0.05 : (t.lost[1] > 0 ? 0.3 : 4.0) + 3.0 * (watch.rank - 2);
        if (t.now - t.lost[0] >= wait) say_of_rank_0("died", WATCH_DIED_HINT);
    } else if (limit() > 0 && !watch.up[0].bye && silent >= limit() + (deputy ? 1 : 10 + watch.rank)) {
        char what[64];
        snprintf(what, sizeof what, "has been silent for %.0f s", silent);
        say_of_rank_0(what, WATCH_SILENT_HINT);
    }
}

/* ---- the thread */

static bool prepare(void)
{
    memset(&t, 0, sizeof t);
    t.fail_rank = -1;
    t.now = t.looked = t.moved = clock_seconds();
    t.rank = calloc((size_t)watch.size, sizeof *t.rank);
    t.report = calloc((size_t)watch.size, sizeof *t.report);
    t.fds = calloc((size_t)watch.links + 4, sizeof *t.fds);
    for (int r = 0; t.rank && r < watch.size; r++) t.rank[r].heard = t.now;
    return t.rank && t.report && t.fds;
}

/* When this process was stopped as a whole (job control, a virtual machine), silence says nothing. */
static void forgive_gap(void)
{
    double gap = t.now - t.looked;

    if (gap > GAP) {
        for (int r = 0; r < watch.size; r++) t.rank[r].heard += gap;
        t.moved += gap;
    }
    t.looked = t.now;
}

void *watch_thread(void *unused)
{
    double pause = LOOK;

    (void)unused;
    if (!prepare()) return NULL;
    while (!atomic_load(&watch.ending)) {
        listen_for(pause);
        forgive_gap();
        pause = send_state();
        send_wishes();
        if (watch.rank == 0)
            judge();
        else
            mourn();
    }
    for (int i = 0; i < 2; i++) net_send(&watch.up[i], &(struct net_packet){.kind = NET_BYE, .rank = watch.rank}, NULL);
    tell_all(&(struct net_packet){.kind = NET_BYE, .rank = watch.rank});
    free(t.rank), free(t.report), free(t.fds);
    return NULL;
}
