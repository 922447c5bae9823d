/* hash.h - FNV-1a, 64 bits: places in tables, and one number for a text. Not against anyone who wants two to be alike.
 *
 *     h = hash_bytes(hash_bytes(HASH_BEGIN, a, n), b, m);      // of a and b, one behind the other
 */
#ifndef CLLAVA_IO_HASH_H
#define CLLAVA_IO_HASH_H

#include <stddef.h>
#include <stdint.h>

static const uint64_t HASH_BEGIN = UINT64_C(0xcbf29ce484222325);

/* h: of what came before. */
static inline uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *c = bytes;

    for (size_t i = 0; i < n; i++) h = (h ^ c[i]) * UINT64_C(0x100000001b3);
    return h;
}

#endif
