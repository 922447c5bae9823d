/* launch.c - see launch.h. */
#include "mpi/launch.h"

#include <stdlib.h>
#include <string.h>

/* Variables of Open MPI, of launchers that speak PMI, and of a step of srun. A batch script has SLURM_NTASKS and
 * SLURM_PROCID too, but is one process: only steps have SLURM_STEP_NUM_TASKS. */
static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
static const char *const ranks[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"};

/* The launcher nearest to this process, or -1. mpirun inside a step of srun: mpirun's word counts. */
static int launcher(void)
{
    for (int i = 0; i < 3; i++)
        if (getenv(sizes[i]) && getenv(ranks[i])) return i;
    return -1;
}

int launch_size(void)
{
    int i = launcher(), n = i < 0 ? 1 : atoi(getenv(sizes[i]));

    return n > 0 ? n : 1;
}

int launch_rank(void)
{
    int i = launcher();

    return i < 0 ? 0 : atoi(getenv(ranks[i]));
}

bool launch_speaks(void)
{
    return launch_rank() == 0;
}
