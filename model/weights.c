/* weights.c - the decoder's frozen weights: which there are, how ranks split them, and how they come from the files.
 *
 * A column-split matrix (q, k, v, gate, up) gives a rank some of its rows in the file's (out, in) order; a row-split one
 * (o, down) some of its columns. Either way a rank touches only its own part of the memory map.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"
#include "mpi/watch.h"

#include <stdio.h>
#include <string.h>

/* A float vector from the file to the device. n numbers from `first`. */
static int load_vector(struct lvlm *m, float **out, const char *name, int64_t whole, int64_t first, int64_t n)
{
    int rc;
    const struct st_array *a;
    float *host = NULL;

    TRY(safetensors_want(&a, m->st, name, 1, whole));
    if (!(host = mem_new((size_t)n, sizeof *host)) || !(*out = m->be->alloc((size_t)n * sizeof *host)))
        FAIL(CL_ENOMEM, "no memory for %s (%lld numbers)", name, (long long)n);
    m->read += n * (int64_t)dtype_size(a->type);
    convert_to_f32(host, (const char *)a->data + (size_t)first * dtype_size(a->type), a->type, n);
    TRY(m->be->upload(*out, host, (size_t)n * sizeof *host));
    rc = CL_OK;
done:
    mem_free(host);
    return rc;
}

/* Adds this rank's part of a matrix that it has just read to the hash of the base: about the rows that are its share. */
static void hash_matrix(struct lvlm *m, const struct st_array *a)
{
    if (!safetensors_count(m->st)) return; // a blank one
    m->hash_sum += safetensors_hash_part(a, m->tp ? m->tp->rank : 0, m->tp ? m->tp->size : 1);
    m->hashed[a - safetensors_at(m->st, 0)] = true;
}

struct split {
    int64_t first, n, whole; // of the dimension that is split
};

static struct split split_of(const struct lvlm *m, enum shard kind, int64_t whole)
{
    const struct text_config *c = &m->c.text;
    const struct share *s = &m->own;

    switch (kind) {
    case SHARD_HEADS: return (struct split){(int64_t)s->head0 * c->head_dim, s->H, whole};
    case SHARD_KV_HEADS: return (struct split){(int64_t)s->kv_head0 * c->head_dim, s->KV, whole};
    case SHARD_FFN: return (struct split){s->F0, s->F, whole};
    default: return (struct split){s->V0, s->V, whole};
    }
}

/* rows, cols: of the whole matrix. by_rows: the output dimension is split (column parallel), else the input. */
static int load_matrix(struct lvlm *m, struct weight **w, float **bias, const char *name, int64_t rows, int64_t cols,
                       enum shard kind, bool by_rows, bool has_bias, unsigned uses)
{
    int rc;
    char full[128];
    const struct st_array *a;
    struct split s = split_of(m, kind, by_rows ? rows : cols);
    int64_t first;

    snprintf(full, sizeof full, "%s.weight", name);
    TRY(safetensors_want(&a, m->st, full, 2, rows, cols));
    first = by_rows ? s.first * cols : s.first;
    // products like rows without gaps, so some columns of the file are copied; rows of it may stay where they are
    TRY(m->be->weight_new(w, (const char *)a->data + (size_t)first * dtype_size(a->type), a->type, by_rows ? s.n : rows,
                          by_rows ? cols : s.n, cols, uses, by_rows || s.n == cols));
    m->read += s.n * (by_rows ? cols : rows) * (int64_t)dtype_size(a->type);
    if (m->be->weight_bytes(*w)) { // it has a form of its own
        hash_matrix(m, a);
        safetensors_forget(a);
    }
    if (has_bias && (by_rows || !m->tp || m->tp->rank == 0)) { // a row-split bias is added once, by the first rank
        snprintf(full, sizeof full, "%s.bias", name);
        TRY(load_vector(m, bias, full, rows, by_rows ? s.first : 0, by_rows ? s.n : rows));
    }
    rc = CL_OK;
done:
    return err_prefix(rc, "base weight %s", name);
}

static int load_layer(struct lvlm *m, int l)
{
    int rc;
    const struct text_config *c = &m->c.text;
    struct layer_weights *w = &m->layer[l];
    const int64_t D = c->hidden, H = (int64_t)c->heads * c->head_dim, KV = (int64_t)c->kv_heads * c->head_dim,
                  F = c->ffn;
    unsigned uses = WEIGHT_FORWARD | WEIGHT_FEW | (m->train ? WEIGHT_BACKWARD : 0u);
    char name[96];

#define LOAD(field, tensor, rows, cols, shard, by_rows, has_bias)                                                      \
    snprintf(name, sizeof name, "layers.%d." tensor, l);                                                               \
    TRY(load_matrix(m, &w->field, &w->field##_bias, name, rows, cols, shard, by_rows, has_bias, uses));
    LAYER_MATRICES(LOAD)
#undef LOAD
    snprintf(name, sizeof name, "layers.%d.input_layernorm.weight", l);
    TRY(load_vector(m, &w->attention_norm, name, D, 0, D));
    snprintf(name, sizeof name, "layers.%d.post_attention_layernorm.weight", l);
    TRY(load_vector(m, &w->mlp_norm, name, D, 0, D));
    rc = CL_OK;
done:
    return rc;
}

int weights_load(struct lvlm *m)
{
    int rc;
    const struct text_config *c = &m->c.text;
    unsigned head = WEIGHT_FORWARD | WEIGHT_FEW | (m->train ? WEIGHT_BACKWARD : 0u);

    for (int l = 0; l < c->layers; l++) {
        watch_beat();
        TRY(load_layer(m, l));
    }
    TRY(load_matrix(m, &m->embed, NULL, "embed_tokens", c->vocab, c->hidden, SHARD_VOCAB, true, false,
                    c->tied ? head : 0));
    if (c->tied)
        m->lm_head = m->embed;
    else
        TRY(load_matrix(m, &m->lm_head, NULL, "lm_head", c->vocab, c->hidden, SHARD_VOCAB, true, false, head));
    TRY(load_vector(m, &m->final_norm, "norm.weight", c->hidden, 0, c->hidden));
    rc = CL_OK;
done:
    return rc;
}

void weights_free(struct lvlm *m)
{
    for (int l = 0; m->layer && l < m->c.text.layers; l++) {
        struct layer_weights *w = &m->layer[l];
#define DROP(field, ...)                                                                                               \
    if (w->field) m->be->weight_free(w->field);                                                                        \
    if (w->field##_bias) m->be->free(w->field##_bias);
        LAYER_MATRICES(DROP)
#undef DROP
        if (w->attention_norm) m->be->free(w->attention_norm);
        if (w->mlp_norm) m->be->free(w->mlp_norm);
    }
    if (m->lm_head && m->lm_head != m->embed) m->be->weight_free(m->lm_head);
    if (m->embed) m->be->weight_free(m->embed);
    if (m->final_norm) m->be->free(m->final_norm);
    decode_weights_free(m);
}

size_t weights_bytes(const struct lvlm *m)
{
    size_t sum = m->be->weight_bytes(m->embed);

    if (m->lm_head != m->embed) sum += m->be->weight_bytes(m->lm_head);
    for (int l = 0; l < m->c.text.layers; l++) {
        const struct layer_weights *w = &m->layer[l];
#define ADD(field, ...) sum += m->be->weight_bytes(w->field);
        LAYER_MATRICES(ADD)
#undef ADD
    }
    return sum + decode_weights_bytes(m);
}
