/* watch.c - the rank's side of the watchdog: starting it, saying where the rank stands, failing. */
#include "mpi/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/err.h"
#include "io/signal.h"
#include "mpi/ranks.h"
#include "mpi/watch_internal.h"

struct watch watch = {
    .wake = {-1, -1},
    .listener = -1,
    .leave = -1,
    .limit = 120000,
    .tensor = 1,
    .spoken = ATOMIC_FLAG_INIT,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .up = {{.fd = -1}, {.fd = -1}},
};

volatile sig_atomic_t watch_signal;

static void wake(void)
{
    if (!watch.on || atomic_exchange(&watch.waking, true)) return;
    if (write(watch.wake[1], "", 1) < 0) atomic_store(&watch.waking, false);
}

/* ---- start and end */

static int open_listener(const char *host)
{
    if ((watch.listener = net_listen(&watch.invitation, host)) < 0)
        return err_set(CL_EIO, "the watchdog cannot listen: %s", strerror(errno));
    watch.links = watch.size + 16; // strangers are shown out, but take a place until then
    if (!(watch.down = mem_new((size_t)watch.links, sizeof *watch.down)))
        return err_set(CL_ENOMEM, "no memory for %d connections", watch.links);
    for (int i = 0; i < watch.links; i++) watch.down[i].fd = -1;
    return CL_OK;
}

static int start_thread(void)
{
    sigset_t all, before;
    int error;

    if (pipe2(watch.wake, O_CLOEXEC | O_NONBLOCK)) return err_set(CL_EIO, "pipe: %s", strerror(errno));
    atomic_store(&watch.ending, false), atomic_store(&watch.waking, false);
    sigfillset(&all); // signals are the rank's own
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&watch.thread, NULL, watch_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) return err_set(CL_EIO, "the watchdog's thread: %s", strerror(error));
    watch.on = true;
    return CL_OK;
}

static void stop_thread(void)
{
    if (watch.on) {
        atomic_store(&watch.ending, true);
        wake();
        pthread_join(watch.thread, NULL);
        watch.on = false;
    }
    for (int i = 0; i < 2; i++) {
        if (watch.wake[i] >= 0) close(watch.wake[i]);
        watch.wake[i] = -1;
        net_close(&watch.up[i]);
    }
    for (int i = 0; i < watch.links; i++) net_close(&watch.down[i]);
    if (watch.listener >= 0) close(watch.listener);
    watch.listener = -1, watch.links = 0;
    mem_free(watch.down), watch.down = NULL;
}

/* Rank 0 listens first, rank 1 once it is connected; their threads welcome who comes. Whatever fails is known to all at the end:
 * nobody waits for who has given up. */
static int connect_all(struct comm *world)
{
    int rc = CL_OK;
    struct net_invitation inv;
    const char *host = ranks_host(watch.rank);

    for (int hub = 0; hub < 2 && hub < watch.size; hub++) {
        int own = CL_OK;
        inv = (struct net_invitation){0};
        if (watch.rank == hub && !rc && !(own = open_listener(host)) && !(own = start_thread())) inv = watch.invitation;
        int sent = comm_broadcast(world, &inv, sizeof inv, hub);
        if (sent) return sent;
        if (own) rc = own;
        if (watch.rank > hub && !rc && !net_connect(&watch.up[hub], &inv, watch.rank, host))
            rc = err_set(CL_EIO, "no connection from %s to %s at any of its %d addresses", host, ranks_host(hub),
                         inv.count);
    }
    if (!rc && watch.rank > 1) rc = start_thread();
    return rc;
}

static int all_agree(struct comm *world, int own)
{
    struct said {
        int code;
        char text[252];
    } *all = mem_new((size_t)watch.size, sizeof *all);
    int rc;

    if (!all) return err_set(CL_ENOMEM, "no memory for %d ranks", watch.size);
    all[watch.rank].code = own;
    if (own) snprintf(all[watch.rank].text, sizeof all->text, "%s", err_text());
    TRY(comm_gather(world, all, NULL, sizeof *all));
    for (int r = 0; r < watch.size; r++)
        if (all[r].code) FAIL(all[r].code, "rank %d (%s): %s", r, ranks_host(r), all[r].text);
done:
    mem_free(all);
    return rc;
}

/* One descriptor for each rank, beside those of MPI and of files. */
static void allow_descriptors(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur == l.rlim_max) return;
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

static void remember_signal(int number)
{
    watch_signal = number;
}

/* Signals do not end a rank at once: when mpirun sends them because another rank has died, that is to be said first. Rank 0
 * leaves those alone that its command handles; the others pass theirs on. */
static int catch_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction old, act = {.sa_handler = remember_signal, .sa_flags = SA_RESTART};

    if (watch.rank) return signal_install();
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < 3; i++)
        if (!sigaction(numbers[i], NULL, &old) && old.sa_handler == SIG_DFL) sigaction(numbers[i], &act, NULL);
    return CL_OK;
}

static void release_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction old;

    for (int i = 0; i < 3; i++)
        if (!sigaction(numbers[i], NULL, &old) && old.sa_handler == remember_signal) signal(numbers[i], SIG_DFL);
}

int watch_start(struct comm *world)
{
    int rc;

    if (comm_size(world) == 1) return CL_OK;
    watch.rank = comm_rank(world), watch.size = comm_size(world);
    if (watch.rank < 2 && watch.size > 256) allow_descriptors();
    rc = all_agree(world, connect_all(world));
    if (rc) stop_thread();
    if (!rc) rc = catch_signals();
    return rc;
}

void watch_stop(void)
{
    if (!watch.on) return;
    comm_barrier(ranks_now()->world); // who comes here is not in trouble
    stop_thread();
    release_signals();
}

/* ---- where the rank stands */

void watch_at(const char *fmt, ...)
{
    va_list ap;

    if (!watch.on) return;
    pthread_mutex_lock(&watch.lock);
    va_start(ap, fmt);
    vsnprintf(watch.stage, sizeof watch.stage, fmt, ap);
    va_end(ap);
    pthread_mutex_unlock(&watch.lock);
    watch_beat();
    wake();
}

void watch_collective(const char *name)
{
    atomic_store_explicit(&watch.collective, name, memory_order_relaxed);
    watch_beat();
}

void watch_beat(void)
{
    atomic_fetch_add_explicit(&watch.progress, 1, memory_order_relaxed);
}

void watch_set_limit(double seconds)
{
    atomic_store(&watch.limit, (long long)(seconds * 1e3));
}

void watch_set_groups(int tensor, bool dedicated)
{
    atomic_store(&watch.tensor, tensor);
    atomic_store(&watch.dedicated, dedicated);
}

/* ---- the end */

/* A bar of progress may stand on the terminal's line. */
void watch_say(const char *text)
{
    char out[NET_TEXT + 64];
    int n;

    if (atomic_flag_test_and_set(&watch.spoken)) return;
    n = snprintf(out, sizeof out, "%scllava: error: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", text);
    if (n >= (int)sizeof out) n = (int)sizeof out - 1, out[n - 1] = '\n';
    if (write(STDERR_FILENO, out, (size_t)n) < 0) return; // nobody reads: nothing more can be done
}

/* The thread ends the process; should it not be able to, MPI does. */
_Noreturn static void be_ended(int status)
{
    double start = clock_seconds();

    wake();
    while (watch.on && clock_seconds() - start < 8) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    if (ranks_size() > 1) MPI_Abort(MPI_COMM_WORLD, status);
    _exit(status);
}

void watch_fail(int status, const char *text)
{
    char line[NET_TEXT];

    if (watch.on) {
        pthread_mutex_lock(&watch.lock);
        watch.failed = true, watch.fail_status = status;
        snprintf(watch.fail_text, sizeof watch.fail_text, "%s", text);
        pthread_mutex_unlock(&watch.lock);
        be_ended(status);
    }
    if (ranks_size() > 1) snprintf(line, sizeof line, "rank %d (%s): %s", ranks_rank(), ranks_host(ranks_rank()), text);
    watch_say(ranks_size() > 1 ? line : text);
    be_ended(status);
}

void watch_tell(int code, const char *text)
{
    /* Communication fails when another rank is gone: the watchdog will say which. */
    if (code == CL_EMPI && watch.on) nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    if (atomic_flag_test_and_set(&watch.spoken)) be_ended(err_status(code));
    fprintf(stderr, "cllava: %s%s\n", code == CL_ESTOP ? "" : "error: ", text);
}

void watch_leave(int status)
{
    atomic_store(&watch.leave, status);
    be_ended(status);
}
