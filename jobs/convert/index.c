/* index.c - a table with open addressing over a growing block. Entries of one key are met in the order of their numbers,
 * since they are entered in that order and a larger table is filled anew in it. */
#include "jobs/convert/index.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

struct entry {
    uint64_t hash;
    size_t key, value; // offsets in bytes
};

struct index {
    char *bytes; // (n)
    size_t n, room;
    struct entry *entry; // (count)
    size_t count, entries;
    size_t *slot; // (slots, a power of two) entry + 1; 0: free
    size_t slots;
};

/* FNV-1a. */
static uint64_t hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;

    while (*s) h = (h ^ (unsigned char)*s++) * 0x100000001b3u;
    return h;
}

int index_new(struct index **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? CL_OK : err_set(CL_ENOMEM, "out of memory");
}

void index_free(struct index *ix)
{
    if (!ix) return;
    free(ix->bytes);
    free(ix->entry);
    free(ix->slot);
    free(ix);
}

static void enter(struct index *ix, size_t i)
{
    size_t k = ix->entry[i].hash & (ix->slots - 1);

    while (ix->slot[k]) k = (k + 1) & (ix->slots - 1);
    ix->slot[k] = i + 1;
}

static bool grow_slots(struct index *ix)
{
    const size_t slots = ix->slots ? 2 * ix->slots : 1024;
    size_t *slot = calloc(slots, sizeof *slot);

    if (!slot) return false;
    free(ix->slot);
    ix->slot = slot;
    ix->slots = slots;
    for (size_t i = 0; i < ix->count; i++) enter(ix, i);
    return true;
}

/* n bytes behind the ones there, at a multiple of 8. */
static bool store(struct index *ix, const void *value, size_t n, size_t *at)
{
    const size_t begin = (ix->n + 7) & ~(size_t)7;

    if (begin + n > ix->room) {
        size_t room = ix->room ? 2 * ix->room : 1 << 16;
        char *bytes;

        while (room < begin + n) room *= 2;
        bytes = realloc(ix->bytes, room);
        if (!bytes) return false;
        ix->bytes = bytes;
        ix->room = room;
    }
    memcpy(ix->bytes + begin, value, n);
    ix->n = begin + n;
    *at = begin;
    return true;
}

int index_add(struct index *ix, const char *key, const void *value, size_t n)
{
    struct entry e = {.hash = hash(key)};

    if (ix->count == ix->entries) {
        const size_t entries = ix->entries ? 2 * ix->entries : 1024;
        struct entry *entry = realloc(ix->entry, entries * sizeof *entry);

        if (!entry) goto out_of_memory;
        ix->entry = entry;
        ix->entries = entries;
    }
    if (!store(ix, key, strlen(key) + 1, &e.key) || !store(ix, value, n, &e.value)) goto out_of_memory;
    if (2 * ix->count >= ix->slots && !grow_slots(ix)) goto out_of_memory;
    ix->entry[ix->count] = e;
    enter(ix, ix->count++);
    return CL_OK;
out_of_memory:
    return err_set(CL_ENOMEM, "out of memory for an index of %zu entries", ix->count);
}

const void *index_find(const struct index *ix, const char *key, size_t *at)
{
    const uint64_t h = hash(key);

    while (*at < ix->slots) {
        const size_t i = ix->slot[(h + (*at)++) & (ix->slots - 1)];

        if (!i) return *at = ix->slots, NULL;
        if (ix->entry[i - 1].hash == h && !strcmp(ix->bytes + ix->entry[i - 1].key, key))
            return ix->bytes + ix->entry[i - 1].value;
    }
    return NULL;
}
