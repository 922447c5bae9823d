/* traffic.c - what tensor parallelism puts on the wire, counted from the shapes. */
#include "model/traffic.h"

/* A sum of n numbers: every rank sends the others' parts of its own, then its part's sum to the others. */
static void add_sum(struct traffic *t, int tensor, int64_t n, enum dtype wire)
{
    if (!n) return;
    t->sums++;
    t->sum_bytes += 2 * (tensor - 1) * (n / tensor) * (int64_t)dtype_size(wire);
}

static int64_t rows_of(const struct lvlm_config *c, int layer, int64_t n, int64_t rows)
{
    return layer == c->text.layers - 1 ? rows : n;
}

struct traffic traffic_forward(const struct lvlm_config *c, int tensor, int64_t n, int64_t rows, int pictures,
                               enum dtype wire)
{
    struct traffic t = {0};
    const int64_t D = c->text.hidden;

    (void)pictures; // their rows travel with those of the embedding
    if (tensor < 2) return t;
    add_sum(&t, tensor, n * D, wire);
    for (int l = 0; l < c->text.layers; l++)
        for (int i = 0; i < 2; i++) add_sum(&t, tensor, rows_of(c, l, n, rows) * D, wire);
    t.gathers = (rows + 128 * tensor - 1) / (128 * tensor);
    t.gather_bytes = rows * 12 * (tensor - 1);
    return t;
}

struct traffic traffic_backward(const struct lvlm_config *c, int tensor, int64_t n, int64_t rows, enum dtype wire)
{
    struct traffic t = {0};
    const int64_t D = c->text.hidden;

    if (tensor < 2) return t;
    add_sum(&t, tensor, rows * D, wire);
    for (int l = c->text.layers - 1; l >= 0; l--) {
        add_sum(&t, tensor, rows_of(c, l, n, rows) * D, wire);
        if (l) add_sum(&t, tensor, n * D, wire);
    }
    return t;
}

struct traffic traffic_see(const struct lvlm_config *c, int tensor, int pictures, enum dtype wire)
{
    struct traffic t = {0};
    const struct vision_config *v = &c->vision;

    if (tensor < 2) return t;
    for (int l = 0; l < 2 * v->feature_layers; l++)
        add_sum(&t, tensor, (int64_t)pictures * (v->tokens + !v->keep_cls) * v->hidden, wire);
    return t;
}

struct traffic traffic_gradients(const struct lvlm_config *c, int tensor, int learned, int rank)
{
    struct traffic t = {0};
    const int64_t W = (int64_t)learned * rank;

    if (tensor < 2) return t;
    for (int l = 0; l < c->text.layers; l++) add_sum(&t, tensor, c->text.hidden * W, DT_F32);
    return t;
}
