/* fault.h - faults on purpose, for tests: CLLAVA_FAULT="rank=1 at=tp_reduce:120 do=kill" lets rank 1 die at its 120th tp_reduce.
 *
 * at   name of a collective as watch_collective is told (or "message"), and which call of it (from 1)
 * do   kill (SIGKILL), exit (status 3, in the middle), stop (SIGSTOP), hang (sleeps for ever), nan (spoils what is summed),
 *      fail (the call returns CL_EMPI)
 * Without the variable every call is one comparison. In a program alone nothing is a collective.
 */
#ifndef CLLAVA_MPI_FAULT_H
#define CLLAVA_MPI_FAULT_H

#include <stdint.h>

/* Reads the variable. CL_EUSAGE: not of the form above; CL_OK without it. */
int fault_start(int rank);
/* In front of a collective; x (n): what will be summed, or NULL. CL_EMPI on do=fail. */
int fault_meet(const char *name, float *x, int64_t n);

#endif
