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

int dense_vector(float **v, struct dense_source *from, int n, const char *name)
{
    const struct st_array *a;
    float *host = NULL;
    int rc;

    *v = NULL;
    TRY(safetensors_want(&a, from->st, name, 1, n));
    TRY(dense_read(&host, a, (size_t)n));
    TRY(dense_upload(v, from, host, (size_t)n));
done:
    mem_free(host);
    return rc;
}

int dense_load(struct dense *d, struct dense_source *from, int out, int in, bool has_bias, const char *name)
{
    const struct st_array *a;
    char part[NAME];
    int rc;

    *d = (struct dense){0};
    snprintf(part, sizeof part, "%s.weight", name);
    TRY(safetensors_want(&a, from->st, part, 2, out, in));
    TRY(from->be->weight_new(&d->w, a->data, a->type, out, in, in, WEIGHT_FORWARD, false));
    safetensors_forget(a);
    from->bytes += from->be->weight_bytes(d->w);
    snprintf(part, sizeof part, "%s.bias", name);
    if (has_bias) TRY(dense_vector(&d->bias, from, out, part));
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
