/* vision.c - the tower as a flat list of backend calls.
 *
 * Rows of a chunk of n pictures stand picture by picture, the class token first: R = n * (patches + 1). The residual stream
 * x is f32 also on a bf16 backend (24 additions would cost bits); what goes into a product has the backend's type.
 */
#include "model/vision.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "model/dense.h"

struct block {
    struct norm norm1, norm2;
    struct dense q, k, v, out; // (h, h)
    struct dense fc1, fc2;     // (f, h), (h, f)
};

struct scratch {
    struct tensor x;                // (R, h) f32
    struct tensor pixels, unfolded; // (R, U) f32 and activation type, U = 3 * patch * patch; the same where that is f32
    struct tensor norm, q, k, v, o; // (R, h)
    struct tensor mlp;              // (R, f)
    struct tensor hidden;           // (projections * tokens, D): the projector's middle
};

struct vision {
    const struct backend *be;
    struct vision_config c;
    int rows, unfold; // of one picture: patches + 1; of one patch: U

    struct weight *patch; // (h, U)
    float *position;      // (rows, h) f32; the class token's embedding is part of row 0
    struct norm pre;
    struct block *block; // (feature_layers)
    struct dense linear1, linear2;
    enum activation projector_act;
    int width; // D
    size_t bytes;

    int pictures, projections; // reserved
    void *memory;
    struct scratch s;
    float *host; // (R, U) unfolded pixels
    int64_t *cu; // (pictures + 1) rows of the chunk's pictures
};

/* ---- loading */

static int load_positions(struct vision *v, struct dense_source *from)
{
    const int h = v->c.hidden;
    const struct st_array *position, *class;
    float *rows = NULL, *first = NULL;
    int rc;

    TRY(safetensors_want(&position, from->st, "vision_tower.embeddings.position_embedding.weight", 2, v->rows, h));
    TRY(safetensors_want(&class, from->st, "vision_tower.embeddings.class_embedding", 1, h));
    TRY(dense_read(&rows, position, (size_t)v->rows * (size_t)h));
    TRY(dense_read(&first, class, (size_t)h));
    for (int i = 0; i < h; i++) rows[i] += first[i]; // the class row has no pixels: its input is always the same
    TRY(dense_upload(&v->position, from, rows, (size_t)v->rows * (size_t)h));
done:
    mem_free(rows);
    mem_free(first);
    return rc;
}

static int load_block(struct block *b, struct dense_source *from, const struct vision_config *c, int layer)
{
    const int h = c->hidden, f = c->ffn;
    const struct {
        struct dense *d;
        const char *name;
        int out, in;
    } matrix[] = {{&b->q, "self_attn.q_proj", h, h}, {&b->k, "self_attn.k_proj", h, h},
                  {&b->v, "self_attn.v_proj", h, h}, {&b->out, "self_attn.out_proj", h, h},
                  {&b->fc1, "mlp.fc1", f, h},        {&b->fc2, "mlp.fc2", h, f}};
    char name[128];
    int rc;

    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
        snprintf(name, sizeof name, "vision_tower.encoder.layers.%d.%s", layer, matrix[i].name);
        TRY(dense_load(matrix[i].d, from, matrix[i].out, matrix[i].in, true, name));
    }
    snprintf(name, sizeof name, "vision_tower.encoder.layers.%d.layer_norm1", layer);
    TRY(dense_load_norm(&b->norm1, from, h, c->eps, name));
    snprintf(name, sizeof name, "vision_tower.encoder.layers.%d.layer_norm2", layer);
    TRY(dense_load_norm(&b->norm2, from, h, c->eps, name));
done:
    return rc;
}

static int load_tower(struct vision *v, struct dense_source *from)
{
    const struct vision_config *c = &v->c;
    const struct st_array *patch;
    int rc;

    TRY(safetensors_want(&patch, from->st, "vision_tower.embeddings.patch_embedding.weight", 4, c->hidden, 3, c->patch,
                         c->patch));
    TRY(v->be->weight_new(&v->patch, patch->data, patch->type, c->hidden, v->unfold, v->unfold, WEIGHT_FORWARD, false));
    from->bytes += v->be->weight_bytes(v->patch);
    TRY(load_positions(v, from));
    TRY(dense_load_norm(&v->pre, from, c->hidden, c->eps, "vision_tower.pre_layrnorm")); // sic
    if (!(v->block = mem_new((size_t)c->feature_layers, sizeof *v->block)))
        FAIL(CL_ENOMEM, "out of memory for %d blocks of the tower", c->feature_layers);
    for (int i = 0; i < c->feature_layers; i++) TRY(load_block(&v->block[i], from, c, i));
done:
    return rc;
}

static int load_projector(struct vision *v, struct dense_source *from, const struct lvlm_config *c)
{
    int rc;

    v->width = c->text.hidden;
    v->projector_act = c->projector_act;
    TRY(dense_load(&v->linear1, from, v->width, v->c.hidden, c->projector_bias, "multi_modal_projector.linear_1"));
    TRY(dense_load(&v->linear2, from, v->width, v->width, c->projector_bias, "multi_modal_projector.linear_2"));
done:
    return rc;
}

int vision_open(struct vision **out, const struct safetensors *st, const struct lvlm_config *c,
                const struct backend *be)
{
    struct dense_source from = {.st = st, .be = be};
    struct vision *v = mem_new(1, sizeof *v);
    int rc;

    *out = NULL;
    if (!v) FAIL(CL_ENOMEM, "out of memory for the vision tower");
    v->be = be;
    v->c = c->vision;
    v->rows = v->c.tokens + !v->c.keep_cls;
    v->unfold = 3 * v->c.patch * v->c.patch;
    if (!c->has_vision) FAIL(CL_EINTERNAL, "a base without a vision tower was asked for it");
    TRY(load_tower(v, &from));
    TRY(load_projector(v, &from, c));
    v->bytes = from.bytes;
    *out = v;
    return 0;
done:
    vision_close(v);
    return rc;
}

static void free_scratch(struct vision *v)
{
    if (v->memory) v->be->free(v->memory);
    mem_free(v->host);
    mem_free(v->cu);
    v->memory = NULL;
    v->host = NULL;
    v->cu = NULL;
    v->pictures = v->projections = 0;
}

static void free_block(struct block *b, const struct backend *be)
{
    struct dense *d[] = {&b->q, &b->k, &b->v, &b->out, &b->fc1, &b->fc2};

    for (size_t i = 0; i < sizeof d / sizeof *d; i++) dense_free(d[i], be);
    dense_free_norm(&b->norm1, be);
    dense_free_norm(&b->norm2, be);
}

void vision_close(struct vision *v)
{
    if (!v) return;
    free_scratch(v);
    for (int i = 0; v->block && i < v->c.feature_layers; i++) free_block(&v->block[i], v->be);
    mem_free(v->block);
    dense_free_norm(&v->pre, v->be);
    dense_free(&v->linear1, v->be);
    dense_free(&v->linear2, v->be);
    if (v->patch) v->be->weight_free(v->patch);
    if (v->position) v->be->free(v->position);
    mem_free(v);
}

size_t vision_weight_bytes(const struct vision *v)
{
    return v->bytes;
}

/* ---- scratch */

/* Where everything lies in one block of memory; what is never alive together shares a place. */
static void lay_out(struct vision *v, struct arena *a, int pictures, int projections)
{
    const enum dtype act = v->be->act;
    const int64_t r = (int64_t)pictures * v->rows, h = v->c.hidden;
    struct scratch *s = &v->s;
    size_t after_x, after_norm;

    s->x = arena_tensor(a, DT_F32, r, h);
    after_x = arena_mark(a);
    s->pixels = arena_tensor(a, DT_F32, r, v->unfold);
    s->unfolded = act == DT_F32 ? s->pixels : arena_tensor(a, act, r, v->unfold);
    arena_back(a, after_x); // the pixels are gone once x is there
    s->norm = arena_tensor(a, act, r, h);
    after_norm = arena_mark(a);
    s->q = arena_tensor(a, act, r, h);
    s->k = arena_tensor(a, act, r, h);
    s->v = arena_tensor(a, act, r, h);
    s->o = arena_tensor(a, act, r, h);
    arena_back(a, after_norm);
    s->mlp = arena_tensor(a, act, r, v->c.ffn);
    arena_back(a, 0); // projecting happens after the tower
    s->hidden = arena_tensor(a, act, (int64_t)projections * v->c.tokens, v->width);
}

int vision_reserve(struct vision *v, int pictures, int projections)
{
    struct arena a = {0};
    int rc = 0;

    if (pictures <= v->pictures && projections <= v->projections) return 0;
    if (pictures < v->pictures) pictures = v->pictures;
    if (projections < v->projections) projections = v->projections;
    free_scratch(v);
    lay_out(v, &a, pictures, projections);
    v->memory = v->be->alloc(a.peak);
    v->host = mem_new((size_t)pictures * (size_t)v->rows, (size_t)v->unfold * sizeof *v->host);
    v->cu = mem_new((size_t)pictures + 1, sizeof *v->cu);
    if (!v->memory || !v->host || !v->cu)
        FAIL(CL_ENOMEM, "out of memory for %d pictures at once in the tower (%zu bytes); hint: fewer at once", pictures,
             a.peak);
    a = (struct arena){.base = v->memory, .size = a.peak};
    lay_out(v, &a, pictures, projections);
    for (int i = 0; i <= pictures; i++) v->cu[i] = (int64_t)i * v->rows;
    v->pictures = pictures;
    v->projections = projections;
done:
    if (rc) free_scratch(v);
    return rc;
}

/* ---- the tower */

/* A row per patch: its pixels in the order of the weight (channel, y, x); a row of zeros for the class token. */
static void unfold_pictures(struct vision *v, const float *pixels, int n)
{
    const int64_t size = v->c.image_size, p = v->c.patch, side = size / p, patches = side * side;

#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n * patches; i++) {
        const int64_t picture = i / patches, at = i % patches;
        const float *from = pixels + picture * 3 * size * size + at / side * p * size + at % side * p;
        float *to = v->host + (picture * v->rows + 1 + at) * v->unfold;
        for (int64_t row = 0; row < 3 * p; row++)
            memcpy(to + row * p, from + (row / p * size + row % p) * size, (size_t)p * sizeof *to);
    }
    for (int64_t i = 0; i < n; i++) memset(v->host + i * v->rows * v->unfold, 0, (size_t)v->unfold * sizeof *v->host);
}

/* x := patches W^T + positions, normalised. */
static int embed(struct vision *v, const float *pixels, int n)
{
    const struct backend *be = v->be;
    const int64_t r = (int64_t)n * v->rows;
    const struct tensor x = tensor_rows(v->s.x, 0, r), in = tensor_rows(v->s.unfolded, 0, r);
    const struct tensor position = tensor_of(v->position, DT_F32, v->rows, v->c.hidden);
    int rc;

    unfold_pictures(v, pixels, n);
    TRY(be->upload(v->s.pixels.data, v->host, (size_t)(r * v->unfold) * sizeof *v->host));
    if (in.type != DT_F32) TRY(be->copy(in, tensor_rows(v->s.pixels, 0, r)));
    TRY(be->linear(x, in, v->patch, NULL, false));
    for (int i = 0; i < n; i++) TRY(be->add(tensor_rows(x, v->cu[i], v->rows), position));
    TRY(dense_apply_norm(be, x, x, &v->pre));
done:
    return rc;
}

static int run_block(struct vision *v, const struct block *b, int n)
{
    const struct backend *be = v->be;
    const int64_t r = (int64_t)n * v->rows;
    const struct tensor x = tensor_rows(v->s.x, 0, r), norm = tensor_rows(v->s.norm, 0, r),
                        q = tensor_rows(v->s.q, 0, r), k = tensor_rows(v->s.k, 0, r), val = tensor_rows(v->s.v, 0, r),
                        o = tensor_rows(v->s.o, 0, r), mlp = tensor_rows(v->s.mlp, 0, r);
    const int head_dim = v->c.hidden / v->c.heads;
    const struct attention_shape shape = {.samples = n,
                                          .cu_q = v->cu,
                                          .cu_k = v->cu,
                                          .heads = v->c.heads,
                                          .kv_heads = v->c.heads,
                                          .head_dim = head_dim,
                                          .scale = (float)(1 / sqrt(head_dim))};
    int rc;

    TRY(dense_apply_norm(be, norm, x, &b->norm1));
    TRY(dense_apply(be, q, norm, &b->q, false));
    TRY(dense_apply(be, k, norm, &b->k, false));
    TRY(dense_apply(be, val, norm, &b->v, false));
    TRY(be->attention(o, NULL, q, k, val, &shape));
    TRY(dense_apply(be, x, o, &b->out, true));

    TRY(dense_apply_norm(be, norm, x, &b->norm2));
    TRY(dense_apply(be, mlp, norm, &b->fc1, false));
    TRY(be->activate(mlp, v->c.act));
    TRY(dense_apply(be, x, mlp, &b->fc2, true));
done:
    return rc;
}

static int run_chunk(struct vision *v, struct tensor out, const float *pixels, int n)
{
    const int64_t tokens = v->c.tokens;
    int rc;

    TRY(embed(v, pixels, n));
    for (int i = 0; i < v->c.feature_layers; i++) TRY(run_block(v, &v->block[i], n));
    for (int i = 0; i < n; i++) // without the class token, unless it is kept
        TRY(v->be->copy(tensor_rows(out, i * tokens, tokens), tensor_rows(v->s.x, v->cu[i + 1] - tokens, tokens)));
done:
    return rc;
}

int vision_tower(struct vision *v, struct tensor out, const float *pixels, int n)
{
    const int64_t picture = (int64_t)3 * v->c.image_size * v->c.image_size;
    int rc = 0;

    if (out.rows != (int64_t)n * v->c.tokens || out.cols != v->c.hidden)
        FAIL(CL_EINTERNAL, "room for features is %lld x %lld, expected %lld x %d", (long long)out.rows,
             (long long)out.cols, (long long)n * v->c.tokens, v->c.hidden);
    if (!v->pictures) TRY(vision_reserve(v, 1, 1));
    for (int done_n = 0, now; done_n < n; done_n += now) {
        now = n - done_n < v->pictures ? n - done_n : v->pictures;
        TRY(run_chunk(v, tensor_rows(out, (int64_t)done_n * v->c.tokens, (int64_t)now * v->c.tokens),
                      pixels + done_n * picture, now));
    }
done:
    return rc;
}

int vision_project(struct vision *v, struct tensor out, struct tensor features)
{
    int rc = 0;
    int64_t now;

    if (out.rows != features.rows || out.cols != v->width || features.cols != v->c.hidden)
        FAIL(CL_EINTERNAL, "projecting %lld x %lld to %lld x %lld, expected widths %d and %d", (long long)features.rows,
             (long long)features.cols, (long long)out.rows, (long long)out.cols, v->c.hidden, v->width);
    if (!v->projections) TRY(vision_reserve(v, 1, 1));
    for (int64_t row = 0; row < out.rows; row += now) {
        const int64_t left = out.rows - row, most = v->s.hidden.rows;
        struct tensor hidden = tensor_rows(v->s.hidden, 0, now = left < most ? left : most);
        TRY(dense_apply(v->be, hidden, tensor_rows(features, row, now), &v->linear1, false));
        TRY(v->be->activate(hidden, v->projector_act));
        TRY(dense_apply(v->be, tensor_rows(out, row, now), hidden, &v->linear2, false));
    }
done:
    return rc;
}
