/* product.h - matrix products by oneDNN, with memory of what was multiplied before.
 *
 * oneDNN compiles code for each exact shape, 0.1 to 2 ms a time. The code is kept here under the shape, the layouts and
 * the number of threads; when the store is full the one that was not used for longest gives way. A product whose shape
 * is known allocates nothing: temporary memory comes from the scratch (model/cpu/scratch.h).
 *
 * Callers hold the scratch's lock.
 */
#ifndef CLLAVA_MODEL_CPU_PRODUCT_H
#define CLLAVA_MODEL_CPU_PRODUCT_H

#include <dnnl.h>

#include "model/tensor.h"

/* A bf16 matrix (rows, cols) in the order that oneDNN multiplies fastest as the right side of a product: column blocks of
 * PACKED_COLS one after another, in each its row blocks of PACKED_ROWS from top to bottom, in each of those 16 pairs of rows, a
 * pair's two numbers of a column side by side. What the last blocks hold beyond the matrix is zero. */
enum { PACKED_ROWS = 32, PACKED_COLS = 64 };
struct packed {
    dnnl_memory_desc_t layout;
    void *data;
    size_t bytes;
};

/* One side of a product: element (i, j) lies at data[i * row_step + j * col_step], one of the steps being 1. */
struct side {
    void *data;
    enum dtype type; // f32 or bf16
    int64_t row_step, col_step;
};

struct product {
    int64_t m, n, k;
    struct side a, b;           // (m, k), (k, n), of the same type
    const struct packed *stock; // instead of b, or NULL
    struct side c;              // (m, n), col_step 1; f32, or the type of a
    const float *bias;          // (n) or NULL
    bool accumulate;            // c += a b
};

/* Sizes >= 1. *slow is set, and nothing done, when oneDNN has only its reference loops for these layouts (slow NULL:
 * does it all the same). CL_ELIB with oneDNN's status. */
int product_run(const struct product *p, bool *slow);

/* Room for a packed weight (out, in), as the matrix (in, out), to be filled: dst->data NULL (and success) where oneDNN multiplies
 * plain rows better. */
int packed_new(struct packed *dst, int64_t out, int64_t in);
/* Outputs [first, first + n) of the weight in bf16, rows ld numbers apart. first: a multiple of PACKED_COLS; n too, but for the
 * last ones. */
void packed_fill(const struct packed *dst, int64_t first, int64_t n, const uint16_t *rows, int64_t ld);
void packed_free(struct packed *p);
size_t packed_bytes(int64_t rows, int64_t cols); // of such a matrix, the filled-up blocks included
/* dst := src's transpose, packed too, to be freed. */
int packed_turned(struct packed *dst, const struct packed *src);
/* dst := columns [first, first + n) of src's transpose, packed too, in scratch (not to be freed). first: a multiple of
 * PACKED_COLS. */
int packed_turn(struct packed *dst, const struct packed *src, int64_t first, int64_t n);
/* Where element (i, j) lies, in numbers: packed_offset(p, i, 0) + packed_offset(p, 0, j). */
int64_t packed_offset(const struct packed *p, int64_t i, int64_t j);
/* The matrix in plain order, rows n apart. */
int packed_unpack(const struct packed *p, void *plain);

#endif
