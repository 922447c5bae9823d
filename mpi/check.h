/* check.h - calls of MPI that say what went wrong: the call, the rank, file and line, and the library's own text. */
#ifndef CLLAVA_MPI_CHECK_H
#define CLLAVA_MPI_CHECK_H

#include <mpi.h>

#include "io/err.h"

/* Sets the text of a failed call and returns CL_EMPI. */
int check_failed(const char *call, int error, const char *file, int line);

/* A checked call inside a function with `int rc` and `done:`. */
#define MPI_TRY(call)                                                                                                  \
    do {                                                                                                               \
        int mpi_error = (call);                                                                                        \
        if (mpi_error != MPI_SUCCESS) {                                                                                \
            rc = check_failed(#call, mpi_error, __FILE__, __LINE__);                                                   \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

#endif
