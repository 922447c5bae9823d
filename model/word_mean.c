/* word_mean.c - weighted means of token embeddings. */
#include "model/word_mean.h"

#include <stdlib.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonfile.h"
#include "io/safetensors.h"

struct word_mean {
    const struct tokenizer *tok;
    struct safetensors *st;
    const struct st_array *table; // (rows, width), in the mapped file
    int64_t rows;
    int width;
    float *idf; // (n_idf) weight of each id; NULL: all alike
    int64_t n_idf;
    float *centre; // (width) mean of the table; NULL with idf
    float *row;    // (width) scratch
    double *sum;   // (width) scratch
};

static void read_row(const struct word_mean *w, float *row, int64_t at)
{
    const size_t skip = (size_t)at * (size_t)w->width * dtype_size(w->table->type);
    convert_to_f32(row, (const char *)w->table->data + skip, w->table->type, w->width);
}

static int find_centre(struct word_mean *w)
{
    if (!(w->centre = mem_new((size_t)w->width, sizeof *w->centre)))
        return err_set(CL_ENOMEM, "out of memory for the mean embedding");
    for (int i = 0; i < w->width; i++) w->sum[i] = 0;
    for (int64_t at = 0; at < w->rows; at++) {
        read_row(w, w->row, at);
        for (int i = 0; i < w->width; i++) w->sum[i] += w->row[i];
    }
    for (int i = 0; i < w->width; i++) w->centre[i] = (float)(w->sum[i] / (double)w->rows);
    return 0;
}

static int read_weights(struct word_mean *w, const struct jsonfile_at *at)
{
    const json_t *list = json_object_get(at->object, "idf");
    const size_t n = json_array_size(list);

    if (!n) return err_set(CL_EFORMAT, "%s: idf is no list of numbers", at->path);
    if (!(w->idf = mem_new(n, sizeof *w->idf))) return err_set(CL_ENOMEM, "out of memory for %zu weights", n);
    w->n_idf = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        w->idf[i] = (float)json_number_value(v);
        if (!json_is_number(v) || !(w->idf[i] >= 0 && w->idf[i] < 1e6f))
            return err_set(CL_EFORMAT, "%s: idf[%zu] is not a number from 0 to 1e6", at->path, i);
    }
    if (w->n_idf < tokenizer_size(w->tok))
        return err_set(CL_EMISMATCH,
                       "%s has %zu weights, the tokenizer %d ids; hint: the file belongs to another tokenizer",
                       at->path, n, tokenizer_size(w->tok));
    return 0;
}

/* encoder_idf.json where it is, else the centre. */
static int load_weights(struct word_mean *w, const char *dir)
{
    char *path = jsonfile_path(dir, "encoder_idf.json");
    struct jsonfile_at at;
    json_t *root = NULL;
    int rc;

    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    if (access(path, F_OK))
        TRY(find_centre(w));
    else {
        TRY(jsonfile_open_object(&root, &at, path));
        TRY(read_weights(w, &at));
    }
done:
    json_decref(root);
    free(path);
    return rc;
}

int word_mean_open(struct word_mean **out, const char *base_dir, const struct tokenizer *tok)
{
    struct word_mean *w = mem_new(1, sizeof *w);
    int rc;

    *out = NULL;
    if (!w) FAIL(CL_ENOMEM, "out of memory for the encoder");
    w->tok = tok;
    TRY(safetensors_open(&w->st, base_dir));
    TRY(safetensors_want(&w->table, w->st, "embed_tokens.weight", 2, -1, -1));
    if (w->table->shape[0] < 1 || w->table->shape[1] < 1 || w->table->shape[1] > 1 << 20)
        FAIL(CL_EFORMAT, "%s: tensor %s has no rows or an impossible width", w->table->file, w->table->name);
    w->rows = w->table->shape[0];
    w->width = (int)w->table->shape[1];
    w->row = mem_new((size_t)w->width, sizeof *w->row);
    w->sum = mem_new((size_t)w->width, sizeof *w->sum);
    if (!w->row || !w->sum) FAIL(CL_ENOMEM, "out of memory for an embedding");
    TRY(load_weights(w, base_dir));
    *out = w;
    return 0;
done:
    word_mean_close(w);
    return rc;
}

void word_mean_close(struct word_mean *w)
{
    if (!w) return;
    safetensors_close(w->st);
    mem_free(w->idf);
    mem_free(w->centre);
    mem_free(w->row);
    mem_free(w->sum);
    mem_free(w);
}

int word_mean_width(const struct word_mean *w)
{
    return w->width;
}

uint64_t word_mean_hash(const struct word_mean *w)
{
    uint64_t parts[2] = {safetensors_hash_array(w->table), tokenizer_hash(w->tok)};

    return safetensors_hash_bytes(safetensors_hash_bytes(1, parts, sizeof parts), w->idf,
                                  (size_t)w->n_idf * sizeof *w->idf);
}

int word_mean_embed(struct word_mean *w, float *out, const struct ids *ids)
{
    double weight, total = 0;

    for (size_t i = 0; i < ids->n; i++) {
        const int32_t id = ids->id[i];
        if (id < 0 || id >= w->rows || (w->idf && id >= w->n_idf))
            return err_set(CL_EMISMATCH,
                           "the tokenizer gave id %d, the base has %lld embeddings; hint: do they belong together?", id,
                           (long long)w->rows);
        total += w->idf ? w->idf[id] : 1;
    }
    for (int c = 0; c < w->width; c++) w->sum[c] = 0;
    for (size_t i = 0; i < ids->n; i++) {
        read_row(w, w->row, ids->id[i]);
        weight = total > 0 ? (w->idf ? w->idf[ids->id[i]] : 1) / total
                           : 1.0 / (double)ids->n; // only words of weight 0: alike
        for (int c = 0; c < w->width; c++) w->sum[c] += weight * w->row[c];
    }
    for (int c = 0; c < w->width; c++) out[c] = (float)(w->sum[c] - (w->centre && ids->n ? w->centre[c] : 0));
    return 0;
}
