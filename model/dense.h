/* dense.h - the two building blocks that hold weights, read from a checkpoint: a linear layer and a LayerNorm.
 *
 * The vision tower and the sentence encoder are lists of these. Matrices go to the backend as the file has them (f32, bf16,
 * f16), vectors become f32 on the device. A zeroed struct may be freed.
 */
#ifndef CLLAVA_MODEL_DENSE_H
#define CLLAVA_MODEL_DENSE_H

#include "io/safetensors.h"
#include "model/backend.h"

struct dense {
    struct weight *w; // (out, in)
    float *bias;      // (out) on the device, NULL: none
};

struct norm {
    float *gain, *bias; // (width) on the device
    float eps;
};

struct dense_source {
    const struct safetensors *st;
    const struct backend *be;
    size_t bytes; // of the device, taken so far
    int64_t read; // bytes of the files, so far
};

/* Which part of a matrix (out, in): some rows of it, or some columns. */
struct dense_part {
    int64_t out, in;              // of the whole matrix
    int64_t row, rows, col, cols; // what is taken
};

/* n numbers on the device. *v is NULL on failure. */
int dense_upload(float **v, struct dense_source *from, const float *host, size_t n);
/* The n numbers of a as f32 on the host; mem_free releases. */
int dense_read(float **host, const struct st_array *a, size_t n);
/* The vector of this canonical name and length to the device. */
int dense_vector(float **v, struct dense_source *from, int n, const char *name);

/* NAME.weight (out, in) and, with has_bias, NAME.bias (out). */
int dense_load(struct dense *d, struct dense_source *from, int out, int in, bool has_bias, const char *name);
/* A part of it; the bias of the part's rows. A part without a number leaves d empty. */
int dense_load_part(struct dense *d, struct dense_source *from, const struct dense_part *part, bool has_bias,
                    const char *name);
/* NAME.weight, NAME.bias (width); very old files call them gamma and beta. */
int dense_load_norm(struct norm *n, struct dense_source *from, int width, float eps, const char *name);
void dense_free(struct dense *d, const struct backend *be);
void dense_free_norm(struct norm *n, const struct backend *be);

/* y = x W^T + b, or += with accumulate. */
int dense_apply(const struct backend *be, struct tensor y, struct tensor x, const struct dense *d, bool accumulate);
/* out may be x. */
int dense_apply_norm(const struct backend *be, struct tensor out, struct tensor x, const struct norm *n);

#endif
