/* background.c - see background.h. What the thread leaves is read after it was joined. */
#include "io/background.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "io/err.h"

static struct {
    pthread_t thread;
    bool started; // and not joined yet
    atomic_bool ended;
    int (*work)(void *);
    void *with;
    int rc; // of the last piece, CL_OK once it was given
    char text[ERR_ROOM];
} last;

static _Thread_local bool inside; // this thread does the work

static void run(void)
{
    inside = true;
    last.rc = last.work(last.with);
    if (last.rc) snprintf(last.text, sizeof last.text, "%s", err_text());
    inside = false;
    atomic_store(&last.ended, true);
}

static void *run_thread(void *unused)
{
    run();
    return unused;
}

/* The new thread inherits what is blocked. Faults of the program itself are not: they must show where they are. */
static int start_thread(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t blocked, before;
    int failed;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    failed = pthread_create(&last.thread, NULL, run_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int background_start(int (*work)(void *), void *with)
{
    int rc;

    TRY(background_wait());
    last.work = work, last.with = with;
    atomic_store(&last.ended, false);
    last.started = !start_thread();
    if (!last.started) run();
done:
    return rc;
}

bool background_running(void)
{
    return last.started && !atomic_load(&last.ended);
}

void background_finish(void)
{
    if (inside || !last.started) return;
    pthread_join(last.thread, NULL);
    last.started = false;
}

int background_wait(void)
{
    int rc;

    background_finish();
    rc = last.rc;
    last.rc = CL_OK;
    return rc ? err_set(rc, "%s", last.text) : CL_OK;
}
