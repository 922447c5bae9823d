/* launch.h - how the program was started: alone, or as one of many by mpirun or srun.
 *
 * Known from the launcher's environment before any library starts, so that a message comes from one process only.
 */
#ifndef CLLAVA_MPI_LAUNCH_H
#define CLLAVA_MPI_LAUNCH_H

#include <stdbool.h>

int launch_size(void);    // processes of this start, 1 when alone
int launch_rank(void);    // this one's number, 0 when alone
bool launch_speaks(void); // messages to the user come from this process

#endif
