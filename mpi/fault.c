/* fault.c - see fault.h. */
#include "mpi/fault.h"

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"

static struct {
    bool armed;
    char name[32], what[8];
    long long left; // calls until it happens
} fault;

int fault_start(int rank)
{
    static const char *const known[] = {"kill", "exit", "stop", "hang", "nan", "fail"};
    const char *s = getenv("CLLAVA_FAULT");
    int at_rank, end = 0;

    fault.armed = false;
    if (!s || !*s) return CL_OK;
    if (sscanf(s, "rank=%d at=%31[^:]:%lld do=%7s%n", &at_rank, fault.name, &fault.left, fault.what, &end) == 4 &&
        !s[end] && fault.left > 0)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!strcmp(fault.what, known[i])) {
                fault.armed = rank == at_rank;
                return CL_OK;
            }
    return err_set(CL_EUSAGE, "CLLAVA_FAULT is '%s' (expected rank=R at=NAME:CALL do=kill|exit|stop|hang|nan|fail)", s);
}

static int happen(float *x, int64_t n)
{
    switch (fault.what[0]) {
    case 'k': raise(SIGKILL); break;
    case 'e': _exit(3);
    case 's': raise(SIGSTOP); break;
    case 'h':
        for (;;) pause();
    case 'n':
        if (x && n) x[n / 2] = NAN;
        break;
    default: return err_set(CL_EMPI, "%s fails on purpose (CLLAVA_FAULT)", fault.name);
    }
    return CL_OK;
}

int fault_meet(const char *name, float *x, int64_t n)
{
    if (!fault.armed || strcmp(name, fault.name) || --fault.left) return CL_OK;
    fault.armed = false;
    return happen(x, n);
}
