/* tensor.h - what a buffer holds, and where buffers come from.
 *
 * A tensor is a view: rows x cols numbers of one type, rows ld numbers apart. It owns nothing. On a GPU data is a device
 * pointer, so only a backend looks through it. Activations of a step live in an arena: one block taken once, handed out
 * from the front, given back all at once by going back to a mark. Nothing inside a step calls malloc; a guard (debug
 * builds) aborts when something does.
 */
#ifndef CLLAVA_MODEL_TENSOR_H
#define CLLAVA_MODEL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype { DT_F32, DT_BF16, DT_F16, DT_I32, DT_I64, DT_I8, DT_U8, DT_F64 };
size_t dtype_size(enum dtype t);
const char *dtype_name(enum dtype t); // "f32"

struct tensor {
    void *data;
    enum dtype type;
    int64_t rows, cols; // e.g. 672 x 4096
    int64_t ld;         // numbers from one row to the next, >= cols
};

static inline struct tensor tensor_of(void *data, enum dtype type, int64_t rows, int64_t cols)
{
    return (struct tensor){data, type, rows, cols, cols};
}
/* Rows [row, row + n) and columns [col, col + m) of t. */
struct tensor tensor_block(struct tensor t, int64_t row, int64_t n, int64_t col, int64_t m);
static inline struct tensor tensor_rows(struct tensor t, int64_t row, int64_t n)
{
    return tensor_block(t, row, n, 0, t.cols);
}

/* Scalar conversions of the 16-bit types (round to nearest even; NaN stays NaN). */
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
/* n numbers of type t at src -> float. Host memory. */
void convert_to_f32(float *dst, const void *src, enum dtype t, int64_t n);

/* Guarded host allocation for everything of this program that is larger than a message. 64-byte aligned, zeroed. */
void *mem_new(size_t count, size_t size); // NULL when it cannot be had or count * size overflows
/* The same for what is written as a whole at once: not cleared, so that a weight's pages are gone through one time less. */
void *mem_raw(size_t count, size_t size);
/* Memory that is soon read from first to last: what lies in a mapped file is mapped at once, by all threads, instead of a few
 * pages at each first look. Loops that ask for what lies ahead are not heard where nothing is mapped yet. */
void mem_expect(const void *p, size_t bytes);
void *mem_grow(void *p, size_t old_count, size_t new_count,
               size_t size); // contents kept, new part zeroed; p stays valid on NULL
void mem_free(void *p);
/* Between begin and end any mem_new of this process aborts in debug builds (CLLAVA_GUARD), with the call's size. */
void mem_guard_begin(void);
void mem_guard_end(void);

/* Bump allocator over one block. A first pass with base NULL measures what a step needs (alloc then returns addresses
 * that nobody may look through), so that the block is exactly large enough. */
struct arena {
    char *base;
    size_t size, used, peak; // bytes
};
void *arena_take(struct arena *a, size_t bytes); // 64-byte aligned; NULL when full
struct tensor arena_tensor(struct arena *a, enum dtype t, int64_t rows, int64_t cols); // data NULL when full
static inline size_t arena_mark(const struct arena *a)
{
    return a->used;
}
static inline void arena_back(struct arena *a, size_t mark)
{
    a->used = mark;
}

#endif
