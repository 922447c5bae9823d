/* dense.c - linear layers and LayerNorms from a checkpoint. */
#include "model/dense.h"

#include <stdio.h>

#include "io/err.h"

enum { NAME = 256 };

int dense_upload(float **v, struct dense_source *from, const float *host, size_t n)
{
    const size_t bytes = n * sizeof **v;
    int rc;

    if (!(*v = from->be->alloc(bytes)))
        FAIL(CL_ENOMEM, "out of memory on %s for a vector of %zu numbers", from->be->name, n);
    from->bytes += bytes;
    TRY(from->be->upload(*v, host, bytes));
    return 0;
done:
    if (*v) from->be->free(*v);
    *v = NULL;
    return rc;
}

int dense_read(float **host, const struct st_array *a, size_t n)
{
    if (!(*host = mem_new(n, sizeof **host))) return err_set(CL_ENOMEM, "out of memory for tensor %s", a->name);
    convert_to_f32(*host, a->data, a->type, (int64_t)n);
    return 0;
}

/* Numbers [first, first + n) of the vector of this name, which has `whole`. */
static int load_slice(float **v, struct dense_source *from, int64_t whole, int64_t first, int64_t n, const char *name)
{
    const struct st_array *a;
    float *host = NULL;
    int rc;

    *v = NULL;
    TRY(safetensors_want(&a, from->st, name, 1, (int)whole));
    if (!(host = mem_new((size_t)n, sizeof *host))) FAIL(CL_ENOMEM, "out of memory for tensor %s", name);
    convert_to_f32(host, (const char *)a->data + (size_t)first * dtype_size(a->type), a->type, n);
    from->read += n * (int64_t)dtype_size(a->type);
    TRY(dense_upload(v, from, host, (size_t)n));
done:
    mem_free(host);
    return rc;
}

int dense_vector(float **v, struct dense_source *from, int n, const char *name)
{
    return load_slice(v, from, n, 0, n, name);
}

int dense_load(struct dense *d, struct dense_source *from, int out, int in, bool has_bias, const char *name)
{
    return dense_load_part(d, from, &(struct dense_part){.out = out, .in = in, .rows = out, .cols = in}, has_bias,
                           name);
}

int dense_load_part(struct dense *d, struct dense_source *from, const struct dense_part *p, bool has_bias,
                    const char *name)
{
    const struct st_array *a;
    char part[NAME];
    int rc;

    *d = (struct dense){0};
    if (!p->rows || !p->cols) return CL_OK;
    snprintf(part, sizeof part, "%s.weight", name);
    TRY(safetensors_want(&a, from->st, part, 2, (int)p->out, (int)p->in));
    TRY(from->be->weight_new(&d->w, (const char *)a->data + (size_t)(p->row * p->in + p->col) * dtype_size(a->type),
                             a->type, p->rows, p->cols, p->in, WEIGHT_FORWARD, false));
    safetensors_forget(a);
    from->read += p->rows * p->cols * (int64_t)dtype_size(a->type);
    from->bytes += from->be->weight_bytes(d->w);
    snprintf(part, sizeof part, "%s.bias", name);
    if (has_bias) TRY(load_slice(&d->bias, from, p->out, p->row, p->rows, part));
done:
    return rc;
}

int dense_load_norm(struct norm *n, struct dense_source *from, int width, float eps, const char *name)
{
    char part[NAME];
    bool old;
    int rc;

    *n = (struct norm){.eps = eps};
    snprintf(part, sizeof part, "%s.gamma", name);
    old = safetensors_find(from->st, part);
    snprintf(part, sizeof part, "%s.%s", name, old ? "gamma" : "weight");
    TRY(dense_vector(&n->gain, from, width, part));
    snprintf(part, sizeof part, "%s.%s", name, old ? "beta" : "bias");
    TRY(dense_vector(&n->bias, from, width, part));
done:
    return rc;
}

void dense_free(struct dense *d, const struct backend *be)
{
    if (d->w) be->weight_free(d->w);
    if (d->bias) be->free(d->bias);
    *d = (struct dense){0};
}

void dense_free_norm(struct norm *n, const struct backend *be)
{
    if (n->gain) be->free(n->gain);
    if (n->bias) be->free(n->bias);
    *n = (struct norm){0};
}

int dense_apply(const struct backend *be, struct tensor y, struct tensor x, const struct dense *d, bool accumulate)
{
    return be->linear(y, x, d->w, d->bias, accumulate);
}

int dense_apply_norm(const struct backend *be, struct tensor out, struct tensor x, const struct norm *n)
{
    return be->layernorm(out, x, n->gain, n->bias, n->eps);
}
