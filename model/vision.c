/* vision.c - the tower as a flat list of backend calls.
 *
 * Rows of a chunk of n pictures stand picture by picture, the class token first: R = n * (patches + 1). The residual stream
 * x is f32 also on a bf16 backend (24 additions would cost bits); what goes into a product has the backend's type.
 *
 * Ranks that share the model could also take whole pictures: no sums, only features to gather, but every rank would hold the
 * whole tower and a single picture (generation, most micro-batches) would keep one rank busy alone. CLIP ViT-L/336 on 4
 * ranks, per picture: 23 layers x 2 sums of 577 x 1024 f32 are 46 x 3.5 MB = 163 MB that a rank sends (1.2 MB for a gather),
 * 16 ms at 10 GB/s beside 0.35 TFLOP of products, 0.9 s on four threads of 100 GFLOP/s. Splitting costs 2 % with many
 * pictures and gains up to 4 times with one; it also holds 0.15 GB of weights instead of 0.6.
 */
#include "model/vision.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "model/dense.h"
#include "mpi/watch.h"

struct block {
    struct norm norm1, norm2;
    struct dense q, k, v, out; // (a, h), (h, a); a: this rank's heads
    struct dense fc1, fc2;     // (f, h), (h, f); f: this rank's columns
};

struct scratch {
    struct tensor x;                // (R, h) f32
    struct tensor pixels, unfolded; // (R, U) f32 and activation type, U = 3 * patch * patch; the same where that is f32
    struct tensor norm;             // (R, h)
    struct tensor q, k, v, o;       // (R, a)
    struct tensor mlp;              // (R, f)
    struct tensor part;             // (R, h) f32: this rank's part of what is added to x; only where ranks share
    struct tensor hidden;           // (projections * tokens, D): the projector's middle
};

struct vision {
    const struct backend *be;
    const struct tp *tp;
    struct vision_config c;
    struct share own;
    int64_t attention; // a
    int rows, unfold;  // of one picture: patches + 1; of one patch: U

    struct weight *patch; // (h, U)
    float *position;      // (rows, h) f32; the class token's embedding is part of row 0
    struct norm pre;
    struct block *block; // (feature_layers)
    struct dense linear1, linear2;
    enum activation projector_act;
    int width; // D
    size_t bytes;
    int64_t read;

    int pictures, projections; // reserved
    void *memory;
    struct scratch s;
    float *host; // (R, U) unfolded pixels
    int64_t *cu; // (pictures + 1) rows of the chunk's pictures
};

/* ---- loading */

static bool is_shared(const struct vision *v)
{
    return v->tp && v->tp->size > 1;
}

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
    from->read += (int64_t)v->rows * h * (int64_t)dtype_size(position->type) + h * (int64_t)dtype_size(class->type);
    for (int i = 0; i < h; i++) rows[i] += first[i]; // the class row has no pixels: its input is always the same
    TRY(dense_upload(&v->position, from, rows, (size_t)v->rows * (size_t)h));
done:
    mem_free(rows);
    mem_free(first);
    return rc;
}

/* One layer's part of this rank. What is added to x by rows of several ranks has its bias from the first alone. */
static int load_block(struct vision *v, struct block *b, struct dense_source *from, int layer)
{
    const int64_t h = v->c.hidden, f = v->c.ffn, a0 = v->own.vision_head0 * (h / v->c.heads), a = v->attention;
    const struct dense_part heads = {h, h, a0, a, 0, h}, behind = {h, h, 0, h, a0, a},
                            up = {f, h, v->own.vision_F0, v->own.vision_F, 0, h},
                            down = {h, f, 0, h, v->own.vision_F0, v->own.vision_F};
    const bool first = !v->tp || v->tp->rank == 0;
    const struct {
        struct dense *d;
        const char *name;
        const struct dense_part *part;
        bool bias;
    } matrix[] = {{&b->q, "self_attn.q_proj", &heads, true}, {&b->k, "self_attn.k_proj", &heads, true},
                  {&b->v, "self_attn.v_proj", &heads, true}, {&b->out, "self_attn.out_proj", &behind, first},
                  {&b->fc1, "mlp.fc1", &up, true},           {&b->fc2, "mlp.fc2", &down, first}};
    char name[128];
    int rc;

    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
        snprintf(name, sizeof name, "vision_tower.encoder.layers.%d.%s", layer, matrix[i].name);
        TRY(dense_load_part(matrix[i].d, from, matrix[i].part, matrix[i].bias, name));
    }
    snprintf(name, sizeof name, "vision_tower.encoder.layers.%d.layer_norm1", layer);
    TRY(dense_load_norm(&b->norm1, from, (int)h, v->c.eps, name));
    snprintf(name, sizeof name, "vision_tower.encoder.layers.%d.layer_norm2", layer);
    TRY(dense_load_norm(&b->norm2, from, (int)h, v->c.eps, name));
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
    from->read += (int64_t)c->hidden * v->unfold * (int64_t)dtype_size(patch->type);
    TRY(load_positions(v, from));
    TRY(dense_load_norm(&v->pre, from, c->hidden, c->eps, "vision_tower.pre_layrnorm")); // sic
    if (!(v->block = mem_new((size_t)c->feature_layers, sizeof *v->block)))
        FAIL(CL_ENOMEM, "out of memory for %d blocks of the tower", c->feature_layers);
    for (int i = 0; i < c->feature_layers; i++) TRY(load_block(v, &v->block[i], from, i));
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
                const struct backend *be, const struct tp *tp)
{
    struct dense_source from = {.st = st, .be = be};
    struct vision *v = mem_new(1, sizeof *v);
    int rc;

    *out = NULL;
    if (!v) FAIL(CL_ENOMEM, "out of memory for the vision tower");
    v->be = be, v->tp = tp;
    v->c = c->vision;
    v->rows = v->c.tokens + !v->c.keep_cls;
    v->unfold = 3 * v->c.patch * v->c.patch;
    if (!c->has_vision) FAIL(CL_EINTERNAL, "a base without a vision tower was asked for it");
    share_of_tower(&v->own, &v->c, tp);
    v->attention = (int64_t)v->own.vision_heads * (v->c.hidden / v->c.heads);
    TRY(load_tower(v, &from));
    TRY(load_projector(v, &from, c));
    v->bytes = from.bytes, v->read = from.read;
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

int64_t vision_read_bytes(const struct vision *v)
{
    return v->read;
}

/* ---- scratch */

/* Where everything lies in one block of memory; what is never alive together shares a place. */
static void lay_out(struct vision *v, struct arena *a, int pictures, int projections)
{
    const enum dtype act = v->be->act;
    const int64_t r = (int64_t)pictures * v->rows, h = v->c.hidden, ranks = v->tp ? v->tp->size : 1;
    struct scratch *s = &v->s;
    size_t after_x, after_norm;

    s->x = arena_tensor(a, DT_F32, r, h);
    s->part = arena_tensor(a, DT_F32, is_shared(v) ? r : 0, h);
    after_x = arena_mark(a);
    s->pixels = arena_tensor(a, DT_F32, r, v->unfold);
    s->unfolded = act == DT_F32 ? s->pixels : arena_tensor(a, act, r, v->unfold);
    arena_back(a, after_x); // the pixels are gone once x is there
    s->norm = arena_tensor(a, act, r, h);
    after_norm = arena_mark(a);
    s->q = arena_tensor(a, act, r, v->attention);
    s->k = arena_tensor(a, act, r, v->attention);
    s->v = arena_tensor(a, act, r, v->attention);
    s->o = arena_tensor(a, act, r, v->attention);
    arena_back(a, after_norm);
    s->mlp = arena_tensor(a, act, r, v->own.vision_F);
    arena_back(a, 0); // projecting happens after the tower; each rank projects its part of the rows
    s->hidden = arena_tensor(a, act, ((int64_t)projections * v->c.tokens + ranks - 1) / ranks, v->width);
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
    TRY(comm_reserve(v->tp ? v->tp->comm : NULL, (int64_t)pictures * v->rows * v->c.hidden));
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

/* x += y W^T + b, of all ranks together; y without columns: nothing of this rank. */
static int add_product(struct vision *v, struct tensor x, struct tensor y, const struct dense *d)
{
    const struct backend *be = v->be;
    const struct tensor part = tensor_rows(v->s.part, 0, is_shared(v) ? x.rows : 0);
    int rc;

    if (!is_shared(v)) return dense_apply(be, x, y, d, true);
    TRY(d->w ? dense_apply(be, part, y, d, false) : be->zero(part));
    TRY(tp_reduce(v->tp, part));
    TRY(be->add(x, part));
done:
    return rc;
}

static int attend(struct vision *v, const struct block *b, struct tensor o, struct tensor norm, int n)
{
    const struct backend *be = v->be;
    const int64_t r = norm.rows;
    const struct tensor q = tensor_rows(v->s.q, 0, r), k = tensor_rows(v->s.k, 0, r), val = tensor_rows(v->s.v, 0, r);
    const int head_dim = v->c.hidden / v->c.heads, heads = v->own.vision_heads;
    const struct attention_shape shape = {.samples = n,
                                          .cu_q = v->cu,
                                          .cu_k = v->cu,
                                          .heads = heads,
                                          .kv_heads = heads,
                                          .head_dim = head_dim,
                                          .scale = (float)(1 / sqrt(head_dim))};
    int rc;

    if (!heads) return CL_OK;
    TRY(dense_apply(be, q, norm, &b->q, false));
    TRY(dense_apply(be, k, norm, &b->k, false));
    TRY(dense_apply(be, val, norm, &b->v, false));
    TRY(be->attention(o, NULL, q, k, val, &shape));
done:
    return rc;
}

static int run_block(struct vision *v, const struct block *b, int n)
{
    const struct backend *be = v->be;
    const int64_t r = (int64_t)n * v->rows;
    const struct tensor x = tensor_rows(v->s.x, 0, r), norm = tensor_rows(v->s.norm, 0, r),
                        o = tensor_rows(v->s.o, 0, r), mlp = tensor_rows(v->s.mlp, 0, r);
    int rc;

    TRY(dense_apply_norm(be, norm, x, &b->norm1));
    TRY(attend(v, b, o, norm, n));
    TRY(add_product(v, x, o, &b->out));

    TRY(dense_apply_norm(be, norm, x, &b->norm2));
    if (mlp.cols) TRY(dense_apply(be, mlp, norm, &b->fc1, false));
    TRY(be->activate(mlp, v->c.act));
    TRY(add_product(v, x, mlp, &b->fc2));
done:
    return rc;
}

static int run_chunk(struct vision *v, const struct tensor *out, const float *pixels, int n)
{
    const int64_t tokens = v->c.tokens;
    int rc;

    TRY(embed(v, pixels, n));
    for (int i = 0; i < v->c.feature_layers; i++) {
        watch_beat();
        TRY(run_block(v, &v->block[i], n));
    }
    for (int i = 0; i < n; i++) // without the class token, unless it is kept
        TRY(v->be->copy(out[i], tensor_rows(v->s.x, v->cu[i + 1] - tokens, tokens)));
done:
    return rc;
}

int vision_tower(struct vision *v, const struct tensor *out, const float *pixels, int n)
{
    const int64_t picture = (int64_t)3 * v->c.image_size * v->c.image_size;
    int rc = 0;

    for (int i = 0; i < n; i++)
        if (out[i].rows != v->c.tokens || out[i].cols != v->c.hidden)
            FAIL(CL_EINTERNAL, "room for features is %lld x %lld, expected %d x %d", (long long)out[i].rows,
                 (long long)out[i].cols, v->c.tokens, v->c.hidden);
    if (!v->pictures) TRY(vision_reserve(v, 1, 1));
    for (int i = 0, now; i < n; i += now) {
        now = n - i < v->pictures ? n - i : v->pictures;
        TRY(run_chunk(v, out + i, pixels + i * picture, now));
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
