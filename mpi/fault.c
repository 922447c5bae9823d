/* fault.c - see fault.h. */
#include "mpi/fault.h"

int fault_meet(const char *name, float *x, int64_t n)
{
    (void)name, (void)x, (void)n;
    return 0;
}
