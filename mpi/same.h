/* same.h - whether all ranks are the same program with the same arguments, before they begin to talk past each other. */
#ifndef CLLAVA_MPI_SAME_H
#define CLLAVA_MPI_SAME_H

#include "mpi/comm.h"

/* CL_EUSAGE, on every rank alike, names the first rank whose program, arguments, or content of an argument that is a readable
 * .yaml file differ from rank 0's, and what differs. Collective over the world. */
int same_on_all(struct comm *world, int argc, char **argv);

#endif
