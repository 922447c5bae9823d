/* bert.c - BERT and RoBERTa as a flat list of backend calls.
 *
 * The three embedding tables stay in the mapped file: a text needs a few rows of them, which are added up on the host.
 */
#include "model/bert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/jsonfile.h"
#include "model/dense.h"
#include "model/lvlm_config.h"
#include "mpi/watch.h"

struct layer {
    struct dense q, k, v, out; // (h, h)
    struct dense fc1, fc2;     // (f, h), (h, f)
    struct norm norm1, norm2;  // behind attention and MLP
};

struct bert {
    const struct backend *be;
    struct bert_config c;
    struct safetensors *st;
    const struct st_array *word, *type, *position; // (vocab, h), (types, h), (positions, h)
    struct norm norm;
    struct layer *layer; // (layers)

    int64_t rows; // tokens that the scratch has room for
    void *memory;
    struct tensor x, q, k, v, o, mlp; // (rows, h), mlp (rows, f); all f32
};

/* ---- config.json */

static int read_config(struct bert_config *c, const struct jsonfile_at *at)
{
    const struct {
        const char *name;
        int *v;
    } sizes[] = {{"vocab_size", &c->vocab},          {"hidden_size", &c->hidden},
                 {"intermediate_size", &c->ffn},     {"num_hidden_layers", &c->layers},
                 {"num_attention_heads", &c->heads}, {"max_position_embeddings", &c->positions},
                 {"type_vocab_size", &c->types}};
    const char *type = "", *position = "absolute";
    double eps = 1e-12;
    bool decoder = false;
    int rc;

    TRY(jsonfile_text(&type, at, "model_type"));
    if (strcmp(type, "bert") && strcmp(type, "roberta"))
        return jsonfile_refuse(at, "model_type",
                               "bert or roberta; hint: encoders of other kinds (MPNet, DistilBERT, T5, ..) are "
                               "not supported, or use `encoder: base`");
    *c = (struct bert_config){.roberta = *type == 'r',
                              .hidden = 768,
                              .ffn = 3072,
                              .layers = 12,
                              .heads = 12,
                              .positions = 512,
                              .types = 2,
                              .act = ACT_GELU};
    c->vocab = c->roberta ? 50265 : 30522;
    c->pad = c->roberta;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        TRY(jsonfile_int(sizes[i].v, at, sizes[i].name, 1, (1 << 20) - 1));
    TRY(jsonfile_int(&c->pad, at, "pad_token_id", 0, c->vocab - 1));
    TRY(jsonfile_real(&eps, at, "layer_norm_eps", 1e-30, 1));
    c->eps = (float)eps;
    TRY(lvlm_config_activation(&c->act, at, "hidden_act"));
    TRY(jsonfile_text(&position, at, "position_embedding_type"));
    TRY(jsonfile_bool(&decoder, at, "is_decoder"));
    if (strcmp(position, "absolute")) return jsonfile_refuse(at, "position_embedding_type", "absolute");
    if (decoder) return jsonfile_refuse(at, "is_decoder", "false");
    if (c->hidden % c->heads)
        return jsonfile_refuse(at, "hidden_size", "a multiple of num_attention_heads (%d)", c->heads);
    if (c->roberta && c->pad + 1 >= c->positions)
        rc = jsonfile_refuse(at, "max_position_embeddings", "more than pad_token_id + 1 (%d)", c->pad + 1);
done:
    return rc;
}

int bert_config_read(struct bert_config *c, const char *dir)
{
    char *path = jsonfile_path(dir, "config.json");
    struct jsonfile_at at;
    json_t *root = NULL;
    int rc;

    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    TRY(jsonfile_open_object(&root, &at, path));
    TRY(read_config(c, &at));
done:
    json_decref(root);
    free(path);
    return rc;
}

/* ---- weights */

static const char *find_prefix(const struct safetensors *st)
{
    static const char *const prefix[] = {"", "bert.", "roberta."};
    char name[128];

    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
        snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefix[i]);
        if (safetensors_find(st, name)) return prefix[i];
    }
    return "";
}

static int load_embeddings(struct bert *b, struct dense_source *from, const char *prefix)
{
    const struct bert_config *c = &b->c;
    char name[128];
    int rc;

    snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefix);
    TRY(safetensors_want(&b->word, b->st, name, 2, c->vocab, c->hidden));
    snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", prefix);
    TRY(safetensors_want(&b->type, b->st, name, 2, c->types, c->hidden));
    snprintf(name, sizeof name, "%sembeddings.position_embeddings.weight", prefix);
    TRY(safetensors_want(&b->position, b->st, name, 2, c->positions, c->hidden));
    snprintf(name, sizeof name, "%sembeddings.LayerNorm", prefix);
    TRY(dense_load_norm(&b->norm, from, c->hidden, c->eps, name));
done:
    return rc;
}

static int load_layer(struct layer *l, struct dense_source *from, const struct bert_config *c, const char *prefix,
                      int i)
{
    const int h = c->hidden, f = c->ffn;
    const struct {
        struct dense *d;
        const char *name;
        int out, in;
    } matrix[] = {{&l->q, "attention.self.query", h, h}, {&l->k, "attention.self.key", h, h},
                  {&l->v, "attention.self.value", h, h}, {&l->out, "attention.output.dense", h, h},
                  {&l->fc1, "intermediate.dense", f, h}, {&l->fc2, "output.dense", h, f}};
    char name[128];
    int rc;

    for (size_t k = 0; k < sizeof matrix / sizeof *matrix; k++) {
        snprintf(name, sizeof name, "%sencoder.layer.%d.%s", prefix, i, matrix[k].name);
        TRY(dense_load(matrix[k].d, from, matrix[k].out, matrix[k].in, true, name));
    }
    snprintf(name, sizeof name, "%sencoder.layer.%d.attention.output.LayerNorm", prefix, i);
    TRY(dense_load_norm(&l->norm1, from, h, c->eps, name));
    snprintf(name, sizeof name, "%sencoder.layer.%d.output.LayerNorm", prefix, i);
    TRY(dense_load_norm(&l->norm2, from, h, c->eps, name));
done:
    return rc;
}

static int load(struct bert *b, const char *dir)
{
    struct dense_source from = {.be = b->be};
    const char *prefix;
    int rc;

    TRY(bert_config_read(&b->c, dir));
    TRY(safetensors_open(&b->st, dir));
    from.st = b->st;
    prefix = find_prefix(b->st);
    TRY(load_embeddings(b, &from, prefix));
    if (!(b->layer = mem_new((size_t)b->c.layers, sizeof *b->layer)))
        FAIL(CL_ENOMEM, "out of memory for %d layers", b->c.layers);
    for (int i = 0; i < b->c.layers; i++) TRY(load_layer(&b->layer[i], &from, &b->c, prefix, i));
done:
    return rc;
}

int bert_open(struct bert **out, const char *dir, const struct backend *be)
{
    struct bert *b = mem_new(1, sizeof *b);
    int rc;

    *out = NULL;
    if (!b) FAIL(CL_ENOMEM, "out of memory for the sentence encoder");
    if (be->act != DT_F32)
        FAIL(CL_EINTERNAL, "the sentence encoder was given a backend of type %s", dtype_name(be->act));
    b->be = be;
    TRY(load(b, dir));
    *out = b;
    return 0;
done:
    bert_close(b);
    return rc;
}

static void free_layer(struct layer *l, const struct backend *be)
{
    struct dense *d[] = {&l->q, &l->k, &l->v, &l->out, &l->fc1, &l->fc2};

    for (size_t i = 0; i < sizeof d / sizeof *d; i++) dense_free(d[i], be);
    dense_free_norm(&l->norm1, be);
    dense_free_norm(&l->norm2, be);
}

void bert_close(struct bert *b)
{
    if (!b) return;
    for (int i = 0; b->layer && i < b->c.layers; i++) free_layer(&b->layer[i], b->be);
    mem_free(b->layer);
    dense_free_norm(&b->norm, b->be);
    if (b->memory) b->be->free(b->memory);
    safetensors_close(b->st);
    mem_free(b);
}

const struct bert_config *bert_get_config(const struct bert *b)
{
    return &b->c;
}

int bert_limit(const struct bert *b)
{
    return b->c.roberta ? b->c.positions - b->c.pad - 1 : b->c.positions;
}

uint64_t bert_hash(const struct bert *b)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%d %d %d %d %.9g %d", b->c.roberta, b->c.heads, b->c.pad, b->c.layers,
                     b->c.eps, b->c.act);
    return safetensors_hash_bytes(safetensors_hash(b->st), text, (size_t)n);
}

/* ---- running */

static void lay_out(struct bert *b, struct arena *a, int64_t rows)
{
    const int64_t h = b->c.hidden;
    size_t mark;

    b->x = arena_tensor(a, DT_F32, rows, h);
    mark = arena_mark(a);
    b->q = arena_tensor(a, DT_F32, rows, h);
    b->k = arena_tensor(a, DT_F32, rows, h);
    b->v = arena_tensor(a, DT_F32, rows, h);
    b->o = arena_tensor(a, DT_F32, rows, h);
    arena_back(a, mark); // the MLP begins when attention is done
    b->mlp = arena_tensor(a, DT_F32, rows, b->c.ffn);
}

static int reserve(struct bert *b, int64_t rows)
{
    struct arena a = {0};

    if (rows <= b->rows) return 0;
    if (b->memory) b->be->free(b->memory);
    b->rows = 0;
    lay_out(b, &a, rows);
    if (!(b->memory = b->be->alloc(a.peak)))
        return err_set(CL_ENOMEM, "out of memory for %lld tokens in the sentence encoder (%zu bytes)", (long long)rows,
                       a.peak);
    a = (struct arena){.base = b->memory, .size = a.peak};
    lay_out(b, &a, rows);
    b->rows = rows;
    return 0;
}

static void add_row(float *row, const struct st_array *table, int64_t at, int h, float *room)
{
    const size_t size = dtype_size(table->type);

    convert_to_f32(room, (const char *)table->data + (size_t)(at * h) * size, table->type, h);
    for (int i = 0; i < h; i++) row[i] += room[i];
}

/* out (n, h) host := the sum of the tables' rows of one text; room (h). */
static int embed_text(const struct bert *b, float *out, const int32_t *id, int64_t n, float *room)
{
    const struct bert_config *c = &b->c;
    int64_t counted = 0;

    for (int64_t i = 0; i < n; i++, out += c->hidden) {
        int64_t position = i;
        if (id[i] < 0 || id[i] >= c->vocab)
            return err_set(CL_EMISMATCH,
                           "the tokenizer gave id %d, the encoder's table has %d rows; hint: do they belong together?",
                           id[i], c->vocab);
        if (c->roberta)
            position = id[i] == c->pad ? c->pad : c->pad + ++counted; // a padding id within a text counts as none
        if (position >= c->positions)
            return err_set(CL_EINTERNAL, "a text of %lld tokens, the encoder takes %d", (long long)n, bert_limit(b));
        memset(out, 0, (size_t)c->hidden * sizeof *out);
        add_row(out, b->word, id[i], c->hidden, room);
        add_row(out, b->type, 0, c->hidden, room);
        add_row(out, b->position, position, c->hidden, room);
    }
    return 0;
}

static int run_layer(struct bert *b, const struct layer *l, const int64_t *cu, int texts)
{
    const struct backend *be = b->be;
    const int64_t n = cu[texts];
    const struct tensor x = tensor_rows(b->x, 0, n), q = tensor_rows(b->q, 0, n), k = tensor_rows(b->k, 0, n),
                        v = tensor_rows(b->v, 0, n), o = tensor_rows(b->o, 0, n), mlp = tensor_rows(b->mlp, 0, n);
    const int head_dim = b->c.hidden / b->c.heads;
    const struct attention_shape shape = {.samples = texts,
                                          .cu_q = cu,
                                          .cu_k = cu,
                                          .heads = b->c.heads,
                                          .kv_heads = b->c.heads,
                                          .head_dim = head_dim,
                                          .scale = (float)(1 / sqrt(head_dim))};
    int rc;

    TRY(dense_apply(be, q, x, &l->q, false));
    TRY(dense_apply(be, k, x, &l->k, false));
    TRY(dense_apply(be, v, x, &l->v, false));
    TRY(be->attention(o, NULL, q, k, v, &shape));
    TRY(dense_apply(be, x, o, &l->out, true));
    TRY(dense_apply_norm(be, x, x, &l->norm1));

    TRY(dense_apply(be, mlp, x, &l->fc1, false));
    TRY(be->activate(mlp, b->c.act));
    TRY(dense_apply(be, x, mlp, &l->fc2, true));
    TRY(dense_apply_norm(be, x, x, &l->norm2));
done:
    return rc;
}

int bert_run(struct bert *b, float *hidden, const int32_t *id, const int64_t *cu, int texts)
{
    const int64_t n = cu[texts], h = b->c.hidden;
    const size_t bytes = (size_t)(n * h) * sizeof *hidden;
    float *room = mem_new((size_t)h, sizeof *room);
    int rc;

    if (!room) FAIL(CL_ENOMEM, "out of memory for a row");
    TRY(reserve(b, n));
    for (int t = 0; t < texts; t++) TRY(embed_text(b, hidden + cu[t] * h, id + cu[t], cu[t + 1] - cu[t], room));
    TRY(b->be->upload(b->x.data, hidden, bytes));
    TRY(dense_apply_norm(b->be, tensor_rows(b->x, 0, n), tensor_rows(b->x, 0, n), &b->norm));
    for (int i = 0; i < b->c.layers; i++) {
        watch_beat();
        TRY(run_layer(b, &b->layer[i], cu, texts));
    }
    TRY(b->be->download(hidden, b->x.data, bytes));
done:
    mem_free(room);
    return rc;
}
