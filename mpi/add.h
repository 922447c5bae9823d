/* add.h - the loops of a sum: what several ranks sent, added up in their order, number by number. */
#ifndef CLLAVA_MPI_ADD_H
#define CLLAVA_MPI_ADD_H

#include <stddef.h>
#include <stdint.h>

/* out (n) := source[0] + source[1] + .., added in that order in f32; out may be one of the sources. Gives the first source that
 * holds a number that is not finite, or -1. */
int add_f32(float *out, const float *const *source, int count, int64_t n);
int add_bf16(float *out, const uint16_t *const *source, int count, int64_t n);

/* f32 to bf16 (to nearest even, NaN stays NaN) and back. */
void add_narrow(uint16_t *out, const float *x, int64_t n);
void add_widen(float *out, const uint16_t *x, int64_t n);

/* As add_narrow and memcpy, but what is written goes to memory past the caches, where the processor can do so: for what another
 * processor will read. An atomic store with release that follows covers it. */
void add_narrow_past(uint16_t *out, const float *x, int64_t n);
void add_copy_past(void *to, const void *from, size_t bytes);

#endif
