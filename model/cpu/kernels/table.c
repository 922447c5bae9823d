/* table.c - the loops of this instruction set, by name. */
#include "model/cpu/kernels/kernel.h"

#define TEXT_OF(level) #level
#define TEXT(level) TEXT_OF(level)

const struct cpu_kernels KERNEL(kernels) = {.level = TEXT(CPU_LEVEL),
#define X(result, name, args) .name = KERNEL(name),
                                            CPU_KERNELS(X)
#undef X
};
