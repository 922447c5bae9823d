/* safetensors_hash.c - one number that tells two bases apart.
 *
 * Every array is cut into blocks; a block's hash knows the array's canonical name, type, shape and the block's place. The
 * sum of all (modulo 2^64) is the result: a sum needs no order, so blocks are hashed in parallel, and neither the split into
 * shards nor the generation of names changes it. Each step of a block's hash is a bijection of its state, so a change of
 * one number always changes that block's hash.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/safetensors.h"

enum { BLOCK = 4 << 20, LANES = 4 };

static const uint64_t mul = 0x9e3779b97f4a7c15; // odd: 2^64 / golden ratio

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 32) * mul;
    h = (h ^ h >> 29) * mul;
    return h ^ h >> 32;
}

static uint64_t step(uint64_t h, uint64_t word)
{
    h = (h ^ word) * mul;
    return h << 29 | h >> 35;
}

uint64_t safetensors_hash_bytes(uint64_t seed, const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t lane[LANES], word;

    for (int i = 0; i < LANES; i++) lane[i] = mix(seed + (uint64_t)i);
    for (; n >= LANES * sizeof word; n -= LANES * sizeof word, p += LANES * sizeof word) {
#pragma GCC unroll 4 // LANES chains in registers: the processor's multiplier stays busy
        for (int i = 0; i < LANES; i++) {
            memcpy(&word, p + (size_t)i * sizeof word, sizeof word);
            lane[i] = step(lane[i], word);
        }
    }
    for (; n; n--, p++) lane[0] = step(lane[0], *p + 1u);
    for (int i = 1; i < LANES; i++) lane[0] = step(lane[0], mix(lane[i]));
    return mix(lane[0]);
}

static uint64_t hash_head(const struct st_array *a)
{
    char name[1024];
    uint64_t h;

    memset(name, 0, sizeof name);
    safetensors_canonical(a->name, name, sizeof name);
    h = safetensors_hash_bytes((uint64_t)a->type, name, strlen(name));
    h = step(h, (uint64_t)a->dims);
    for (int i = 0; i < a->dims; i++) h = step(h, (uint64_t)a->shape[i]);
    return mix(h);
}

static size_t bytes_of(const struct st_array *a)
{
    size_t bytes = dtype_size(a->type);

    for (int i = 0; i < a->dims; i++) bytes *= (size_t)a->shape[i];
    return bytes;
}

void safetensors_forget(const struct st_array *a)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)a->data, end = begin + bytes_of(a);
    const uintptr_t from = (begin + page - 1) / page * page,
                    to = end / page * page; // whole pages: others have neighbours

    // each page costs the system some work, which the threads share; a failure costs memory, nothing else
#pragma omp parallel for schedule(static) if (to > from + BLOCK)
    for (uintptr_t at = from; at < to; at += BLOCK)
        madvise((void *)at, to - at < BLOCK ? to - at : BLOCK, MADV_DONTNEED);
}

static size_t blocks_of(const struct st_array *a)
{
    const size_t bytes = bytes_of(a);

    return bytes ? (bytes + BLOCK - 1) / BLOCK : 1; // an empty array counts too
}

/* Hashes blocks [first, end) of an array with all threads of the enclosing team: each gets the sum of the blocks it took. */
static uint64_t share_of_blocks(const struct st_array *a, size_t first, size_t end)
{
    const uint64_t head = hash_head(a);
    const size_t bytes = bytes_of(a);
    uint64_t sum = 0;

#pragma omp for schedule(dynamic) nowait
    for (size_t b = first; b < end; b++) {
        const size_t left = bytes - b * BLOCK;
        sum += safetensors_hash_bytes(head + b * mul, (const char *)a->data + b * BLOCK, left < BLOCK ? left : BLOCK);
    }
    return sum;
}

uint64_t safetensors_hash_part(const struct st_array *a, int part, int parts)
{
    const size_t blocks = blocks_of(a), p = (size_t)part, n = (size_t)parts;
    uint64_t sum = 0;

#pragma omp parallel reduction(+ : sum)
    sum += share_of_blocks(a, blocks * p / n, blocks * (p + 1) / n);
    return sum;
}

uint64_t safetensors_hash_array(const struct st_array *a)
{
    return safetensors_hash_part(a, 0, 1);
}

uint64_t safetensors_hash(const struct safetensors *st)
{
    uint64_t sum = 0;

#pragma omp parallel reduction(+ : sum)
    for (size_t i = 0; i < safetensors_count(st); i++)
        sum += share_of_blocks(safetensors_at(st, i), 0, blocks_of(safetensors_at(st, i)));
    for (size_t i = 0; i < safetensors_count(st); i++) safetensors_forget(safetensors_at(st, i));
    return sum;
}
