/* scratch.c - temporary memory inside one call of the backend. */
#include "model/cpu/scratch.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { ALIGN = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void *p;
    size_t size;
} block[SCRATCH_USES];

void scratch_lock(void)
{
    pthread_mutex_lock(&lock);
}

void scratch_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void *scratch_take(enum scratch_use use, size_t bytes)
{
    if (bytes <= block[use].size && block[use].p) return block[use].p;
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + bytes / 4 + ALIGN) / ALIGN * ALIGN; // a quarter more: lengths vary a little from step to step
    free(block[use].p);                                  // first, so that both need not fit
    block[use].p = aligned_alloc(ALIGN, bytes);
    block[use].size = block[use].p ? bytes : 0;
    return block[use].p;
}
