/* test_background.c - results and errors of work beside the main thread, signals, no thread to be had. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/background.h"
#include "io/err.h"

/* Work that lasts until it is let go. */
struct piece {
    atomic_bool may_end, begun;
    pthread_t thread;
    int rc;
};

static int work(void *with)
{
    struct piece *p = with;

    p->thread = pthread_self();
    atomic_store(&p->begun, true);
    while (!atomic_load(&p->may_end)) usleep(100);
    return p->rc ? err_set(p->rc, "piece of work went wrong") : CL_OK;
}

static void test_beside(void **state)
{
    struct piece p = {0};

    (void)state;
    assert_int_equal(background_wait(), CL_OK); // nothing yet
    assert_false(background_running());
    background_finish();
    assert_int_equal(background_start(work, &p), CL_OK);
    assert_true(background_running());
    atomic_store(&p.may_end, true);
    while (background_running()) usleep(100);
    assert_int_equal(background_wait(), CL_OK);
    assert_false(pthread_equal(p.thread, pthread_self()));
}

static void test_error_comes_back_once(void **state)
{
    struct piece bad = {.may_end = true, .rc = CL_EIO}, good = {.may_end = true};

    (void)state;
    err_set(CL_EDATA, "text of the main thread");
    assert_int_equal(background_start(work, &bad), CL_OK);
    background_finish();
    assert_false(background_running());
    assert_string_equal(err_text(), "text of the main thread");
    assert_int_equal(background_wait(), CL_EIO);
    assert_string_equal(err_text(), "piece of work went wrong");
    assert_int_equal(background_wait(), CL_OK);
    /* nobody asked: the next one says it, and does not start */
    assert_int_equal(background_start(work, &bad), CL_OK);
    assert_int_equal(background_start(work, &good), CL_EIO);
    assert_false(atomic_load(&good.begun));
    assert_int_equal(background_start(work, &good), CL_OK);
    assert_int_equal(background_wait(), CL_OK);
    assert_true(atomic_load(&good.begun));
}

static int note(void *with)
{
    int **at = with;

    usleep(2000);
    *(*at)++ += 1;
    return CL_OK;
}

static void test_one_at_a_time(void **state)
{
    int done[20] = {0}, *at = done;

    (void)state;
    for (int i = 0; i < 20; i++) assert_int_equal(background_start(note, &at), CL_OK);
    background_finish();
    assert_ptr_equal(at, done + 20);
}

static volatile sig_atomic_t handled;
static pthread_t handled_by;

static void handler(int number)
{
    handled = number;
    handled_by = pthread_self();
}

/* A signal for the process waits for the main thread, even where that has it blocked and the other would be free. */
static void test_signals_are_the_main_threads(void **state)
{
    struct piece p = {0};
    sigset_t set, before;

    (void)state;
    signal(SIGTERM, handler);
    assert_int_equal(background_start(work, &p), CL_OK);
    while (!atomic_load(&p.begun)) usleep(100);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    assert_false(sigismember(&before, SIGTERM)); // start has left it as it was
    kill(getpid(), SIGTERM);
    usleep(20000);
    assert_int_equal(handled, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(handled, SIGTERM);
    assert_true(pthread_equal(handled_by, pthread_self()));
    atomic_store(&p.may_end, true);
    assert_int_equal(background_wait(), CL_OK);
    signal(SIGTERM, SIG_DFL);
}

static void test_no_thread_left(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    print_message("skipped: a sanitizer does not live with so little memory\n");
    skip();
#else
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        struct rlimit none = {1, 1}; // no stack for another thread
        struct piece p = {.may_end = true, .rc = CL_EIO};
        setrlimit(RLIMIT_AS, &none);
        if (background_start(work, &p)) _exit(1);
        if (background_running() || !pthread_equal(p.thread, pthread_self())) _exit(2);
        _exit(background_wait() == CL_EIO && !background_wait() ? 0 : 3);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_thread_left), // first: no stack of an earlier thread is kept yet
        cmocka_unit_test(test_beside),         cmocka_unit_test(test_error_comes_back_once),
        cmocka_unit_test(test_one_at_a_time),  cmocka_unit_test(test_signals_are_the_main_threads),
    };

    return cmocka_run_group_tests_name("background", tests, NULL, NULL);
}
