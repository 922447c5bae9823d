/* test_watch_judge.c - whom the watchdog names: a table of what is known, and the verdict. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "mpi/watch_judge.h"

enum { N = 5, LIMIT = 10 };

/* Two groups of two behind a dedicated coordinator; all compute, and spoke just now. */
static struct watch_report r[N];
static struct watch_verdict v;

static int all_well(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        r[i] = (struct watch_report){
            .host = i < 3 ? "node0" : "node1", .group = i ? (i - 1) / 2 : -1, .silent = 0.2, .still = 0.3};
        strcpy(r[i].stage, "step 17");
    }
    return 0;
}

static void in(int rank, const char *collective, double still)
{
    strcpy(r[rank].collective, collective);
    r[rank].still = still;
}

#define names(RANK, WORDS)                                                                                             \
    do {                                                                                                               \
        assert_true(watch_judge(&v, r, N, LIMIT));                                                                     \
        assert_int_equal(v.rank, RANK);                                                                                \
        if (!strstr(v.text, WORDS)) fail_msg("no '%s' in '%s'", WORDS, v.text);                                        \
    } while (0)

static void nothing(void **state)
{
    (void)state;
    assert_false(watch_judge(&v, r, N, LIMIT));
    in(3, "tp_reduce", 9), in(4, "tp_reduce", 1);
    assert_false(watch_judge(&v, r, N, LIMIT)); // not yet
    in(3, "tp_reduce", 900), in(4, "", 9);
    assert_false(watch_judge(&v, r, N, LIMIT)); // slow, but it moves
    in(3, "tp_reduce", 900), in(4, "", 900);
    assert_false(watch_judge(&v, r, N, 0)); // no limit
}

/* A member that says nothing of a stage works at what the coordinator works at. */
static void silent_stage(void **state)
{
    (void)state;
    strcpy(r[0].stage, "stage 2 of task 1, step 5");
    r[4].stage[0] = 0, r[4].dead = 1;
    in(3, "tp_reduce", 1);
    names(4, "rank 4 (node1) died in stage 2 of task 1, step 5, in tp_reduce");
}

/* Orders may be long in coming; rank 0 may compute as long as it likes while nobody waits for it in a collective. */
static void idle(void **state)
{
    (void)state;
    for (int i = 1; i < N; i++) in(i, WATCH_MESSAGE, 1000);
    in(0, "", 1000);
    assert_false(watch_judge(&v, r, N, LIMIT));
    in(0, WATCH_MESSAGE, 1000), in(1, "", 2); // an answer that takes long
    assert_false(watch_judge(&v, r, N, LIMIT));
    in(1, "", 20); // one that does not come
    names(1, "rank 1 (node0) hangs in step 17: rank 0 has waited for it in message for 1000 s");
    in(1, "tp_reduce", 20), in(2, "", 30); // nor can it: a member hangs
    names(2, "rank 2 (node0) hangs");
    for (int i = 0; i < N; i++) in(i, WATCH_MESSAGE, 11);
    names(0, "hangs in step 17, in message, with all others, for 11 s");
}

static void hangs(void **state)
{
    (void)state;
    in(1, "", 50); // of the other group
    in(3, "tp_reduce", 12), in(4, "", 13);
    names(4, "rank 4 (node1) hangs in step 17: rank 3 has waited for it in tp_reduce for 12 s; hint: ");
    in(4, WATCH_MESSAGE, 13); // lost its way
    names(4, "rank 4 (node1) hangs in step 17, in message: rank 3");
    in(4, "tp_reduce", 13);
    names(3, "in tp_reduce, with all others");
    for (int i = 0; i < N; i++) in(i, i == 2 ? "" : "barrier", 20);
    names(2, "rank 0 has waited for it in barrier");
}

static void silent(void **state)
{
    (void)state;
    in(3, "tp_reduce", 12);
    r[4].silent = 11, r[4].still = 11.2;
    names(4, "rank 4 (node1) has been silent for 11 s in step 17, in tp_reduce; hint: ");
    r[1].silent = 12;
    names(1, "rank 1");
}

static void died(void **state)
{
    (void)state;
    r[4].dead = 0.1; // the others have not come so far yet
    assert_false(watch_judge(&v, r, N, LIMIT));
    r[4].dead = 0.3;
    in(1, "tp_copy_back", 0.1), in(3, "tp_reduce", 0.1); // its own group counts
    names(4, "rank 4 (node1) died in step 17, in tp_reduce; hint: ");
    in(1, "gather", 0.1), in(3, WATCH_MESSAGE, 0.1);
    names(4, "died in step 17, in gather;");
    r[2].dead = 0.4; // the first one
    r[4].silent = 1000;
    names(2, "rank 2 (node0) died in step 17");
    r[0].stage[0] = r[2].stage[0] = 0;
    in(1, "", 0);
    names(2, "rank 2 (node0) died; hint");
}

int main(void)
{
    const struct CMUnitTest judge[] = {
        cmocka_unit_test_setup(nothing, all_well), cmocka_unit_test_setup(silent_stage, all_well),
        cmocka_unit_test_setup(idle, all_well),    cmocka_unit_test_setup(hangs, all_well),
        cmocka_unit_test_setup(silent, all_well),  cmocka_unit_test_setup(died, all_well),
    };

    return cmocka_run_group_tests(judge, NULL, NULL);
}
