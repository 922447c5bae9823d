/* scratch.h - temporary memory inside one call of the backend.
 *
 * A few blocks that live as long as the process, each as large as the largest call so far needed. They are outside the
 * guard of the step's memory: a longer sample than ever before may make one grow in the middle of a run, but the same
 * step a second time allocates nothing. One caller at a time: hold the lock from the first take to the last use.
 */
#ifndef CLLAVA_MODEL_CPU_SCRATCH_H
#define CLLAVA_MODEL_CPU_SCRATCH_H

#include <stddef.h>

enum scratch_use {
    SCRATCH_A,
    SCRATCH_B,
    SCRATCH_C,
    SCRATCH_SUM,
    SCRATCH_TURNED,
    SCRATCH_ONEDNN,
    SCRATCH_ATTENTION,
    SCRATCH_USES
};

void scratch_lock(void);
void scratch_unlock(void);
/* 64-byte aligned, contents undefined; what was taken before for this use is gone. NULL when there is no memory. */
void *scratch_take(enum scratch_use use, size_t bytes);

#endif
