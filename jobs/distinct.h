/* distinct.h - texts that differ, numbered in the order in which they first came. */
#ifndef CLLAVA_JOBS_DISTINCT_H
#define CLLAVA_JOBS_DISTINCT_H

#include <stdint.h>

struct distinct {
    char **text;     // (n) owned
    int64_t n, size; // size: of slot, a power of two
    int32_t *slot;   // number of a text + 1, 0: free
};

int distinct_new(struct distinct *u, int64_t most); // room for so many texts; CL_ENOMEM
void distinct_free(struct distinct *u);
/* Number of the text, which is taken over. */
int64_t distinct_add(struct distinct *u, char *text);

#endif
