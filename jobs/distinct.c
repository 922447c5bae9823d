/* distinct.c - open addressing over the texts' hashes. */
#include "jobs/distinct.h"

#include "io/err.h"
#include "io/hash.h"
#include "model/tensor.h"

#include <stdlib.h>
#include <string.h>

int distinct_new(struct distinct *u, int64_t most)
{
    *u = (struct distinct){.size = 1};
    if (most > INT32_MAX - 1) return err_set(CL_ENOMEM, "%lld texts (expected at most %d)", (long long)most, INT32_MAX);
    while (u->size < 2 * most) u->size *= 2;
    u->text = mem_new((size_t)most, sizeof *u->text);
    u->slot = mem_new((size_t)u->size, sizeof *u->slot);
    return u->text && u->slot ? CL_OK : err_set(CL_ENOMEM, "no memory for %lld texts", (long long)most);
}

void distinct_free(struct distinct *u)
{
    for (int64_t i = 0; i < u->n; i++) free(u->text[i]);
    mem_free(u->text);
    mem_free(u->slot);
    *u = (struct distinct){0};
}

int64_t distinct_add(struct distinct *u, char *text)
{
    for (uint64_t at = hash_bytes(HASH_BEGIN, text, strlen(text));; at++) {
        int32_t *slot = &u->slot[at & (uint64_t)(u->size - 1)];
        if (!*slot) {
            u->text[u->n++] = text;
            *slot = (int32_t)u->n;
            return u->n - 1;
        }
        if (!strcmp(u->text[*slot - 1], text)) {
            free(text);
            return *slot - 1;
        }
    }
}
