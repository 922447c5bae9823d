/* mpi_fixture.h - cases that several ranks run together: a table of functions, checks that end the whole job.
 *
 *     static void sums(void) { .. check_int(n, 3); }
 *     int main(int argc, char **argv)
 *     {
 *         static const struct mpi_case cases[] = {{"sums", sums}};
 *         return mpi_cases(argc, argv, cases, 1);
 *     }
 *
 * Every rank runs every case. A check that fails on any rank prints where and on which rank, and ends the job: the others may
 * wait for it in the middle of something. Rank 0 alone prints what went well, in the form that ./run test counts.
 * Before each case the ranks are one tensor-parallel group (ranks_now); a case may lay them out anew. A word on the command
 * line runs only the case of that name.
 */
#ifndef CLLAVA_TESTS_MPI_FIXTURE_H
#define CLLAVA_TESTS_MPI_FIXTURE_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"

struct mpi_case {
    const char *name;
    void (*run)(void);
};

static const char *mpi_case_name = "before the first case";

_Noreturn static inline void mpi_case_failed(const char *file, int line, const char *what)
{
    printf("[  FAILED  ] 1 test(s): %s, rank %d of %d: %s:%d: %s\n", mpi_case_name, ranks_rank(), ranks_size(), file,
           line, what);
    fflush(stdout);
    watch_leave(1);
}

static inline void mpi_check_int(long long got, long long want, const char *what, const char *file, int line)
{
    char text[256];

    if (got == want) return;
    snprintf(text, sizeof text, "%s is %lld, expected %lld", what, got, want);
    mpi_case_failed(file, line, text);
}

static inline void mpi_check_near(double got, double want, double tolerance, const char *what, const char *file,
                                  int line)
{
    char text[256];

    if (fabs(got - want) <= tolerance) return;
    snprintf(text, sizeof text, "%s is %.9g, expected %.9g", what, got, want);
    mpi_case_failed(file, line, text);
}

static inline void mpi_check_code(int got, int want, const char *what, const char *file, int line)
{
    char text[2560];

    if (got == want) return;
    snprintf(text, sizeof text, "%s gives %s, expected %s: %s", what, err_name(got), err_name(want),
             got ? err_text() : "");
    mpi_case_failed(file, line, text);
}

static inline void mpi_check_text(const char *text, const char *word, const char *file, int line)
{
    char what[2560];

    if (text && strstr(text, word)) return;
    snprintf(what, sizeof what, "no '%s' in '%s'", word, text ? text : "(null)");
    mpi_case_failed(file, line, what);
}

#define check(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) mpi_case_failed(__FILE__, __LINE__, #condition);                                             \
    } while (0)
#define check_int(got, want) mpi_check_int((long long)(got), (long long)(want), #got, __FILE__, __LINE__)
#define check_near(got, want, tolerance) mpi_check_near(got, want, tolerance, #got, __FILE__, __LINE__)
#define check_ok(call) mpi_check_code(call, CL_OK, #call, __FILE__, __LINE__)
#define check_code(call, want) mpi_check_code(call, want, #call, __FILE__, __LINE__)
#define check_text(text, word) mpi_check_text(text, word, __FILE__, __LINE__)
#define check_bytes(a, b, n) check(memcmp(a, b, n) == 0)

static inline int mpi_cases(int argc, char **argv, const struct mpi_case *cases, int n)
{
    int passed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    check_ok(ranks_begin(argc, argv));
    for (int i = 0; i < n; i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name)) continue;
        mpi_case_name = cases[i].name;
        if (ranks_rank() == 0) printf("[ RUN      ] %s\n", cases[i].name);
        check_ok(ranks_layout(ranks_size(), false, DT_F32));
        cases[i].run();
        check_ok(comm_barrier(ranks_now()->world));
        if (ranks_rank() == 0) printf("[       OK ] %s\n", cases[i].name);
        passed++;
    }
    if (ranks_rank() == 0) printf("[  PASSED  ] %d test(s).\n", passed);
    return ranks_end(passed ? 0 : 1);
}

#endif
