/* batch.c - packing: everything is allocated once by batch_new, adding a sample only copies. */
#include "io/batch.h"

#include <stdlib.h>
#include <string.h>

#include "io/err.h"

int batch_new(struct packed_batch *b, int samples, int64_t tokens)
{
    const size_t s = samples > 0 ? (size_t)samples : 0, n = tokens > 0 ? (size_t)tokens : 0;

    *b = (struct packed_batch){0};
    if (!s || !n || n > SIZE_MAX / 64)
        return err_set(CL_EINTERNAL, "no batch of %d samples and %lld tokens", samples, (long long)tokens);
    b->cu = calloc(s + 1, sizeof *b->cu);
    b->cu_row = calloc(s + 1, sizeof *b->cu_row);
    b->id = calloc(n, sizeof *b->id);
    b->pos = calloc(n, sizeof *b->pos);
    b->row = calloc(n, sizeof *b->row);
    b->target = calloc(n, sizeof *b->target);
    b->picture_at = calloc(s, sizeof *b->picture_at);
    b->feature = calloc(s, sizeof *b->feature);
    b->picture_sample = calloc(s, sizeof *b->picture_sample);
    if (!b->cu || !b->cu_row || !b->id || !b->pos || !b->row || !b->target || !b->picture_at || !b->feature ||
        !b->picture_sample) {
        batch_free(b);
        return err_set(CL_ENOMEM, "out of memory for a batch of %d samples and %lld tokens", samples,
                       (long long)tokens);
    }
    b->room_samples = samples;
    b->room_n = tokens;
    return CL_OK;
}

void batch_free(struct packed_batch *b)
{
    free(b->cu);
    free(b->cu_row);
    free(b->id);
    free(b->pos);
    free(b->row);
    free(b->target);
    free(b->picture_at);
    free(b->feature);
    free(b->picture_sample);
    *b = (struct packed_batch){0};
}

void batch_clear(struct packed_batch *b)
{
    b->samples = b->pictures = 0;
    b->n = b->rows = 0;
}

/* The row of token t predicts token t + 1, so a sample's first label can have no row: nothing comes before it. */
static void add_rows(struct packed_batch *b, const struct sample *s)
{
    for (int64_t t = 0; t + 1 < s->n; t++) {
        if (s->label[t + 1] < 0) continue;
        b->row[b->rows] = b->n + t;
        b->target[b->rows++] = s->label[t + 1];
    }
}

static int check_room(const struct packed_batch *b, int64_t n)
{
    if (n >= 1 && b->samples < b->room_samples && n <= b->room_n - b->n) return CL_OK;
    return err_set(CL_EINTERNAL,
                   "a sample of %lld tokens does not fit into the batch (%d of %d samples, %lld of %lld tokens)",
                   (long long)n, b->samples, b->room_samples, (long long)b->n, (long long)b->room_n);
}

/* The n tokens behind the others are a sample, with a picture at its token `picture` (-1: none). */
static void end_sample(struct packed_batch *b, int64_t n, int64_t picture)
{
    for (int64_t t = 0; t < n; t++) b->pos[b->n + t] = (int32_t)t;
    if (picture >= 0) {
        b->picture_at[b->pictures] = b->n + picture;
        b->feature[b->pictures] = NULL;
        b->picture_sample[b->pictures++] = b->samples;
    }
    b->n += n;
    b->cu[++b->samples] = b->n;
    b->cu_row[b->samples] = b->rows;
}

int batch_add(struct packed_batch *b, const struct sample *s, int prompt_only)
{
    int rc;
    const int64_t n = prompt_only ? s->prompt_n : s->n;

    TRY(check_room(b, n));
    memcpy(b->id + b->n, s->id, (size_t)n * sizeof *b->id);
    if (prompt_only) {
        b->row[b->rows] = b->n + n - 1;
        b->target[b->rows++] = -1;
    } else {
        add_rows(b, s);
    }
    end_sample(b, n, s->picture < n ? s->picture : -1);
done:
    return rc;
}

int batch_add_prompted(struct packed_batch *b, const struct packed_batch *from, int s, const struct sample *prompt)
{
    int rc;
    const int64_t first = from->cu_row[s], answer = from->row[first] + 1, rest = from->cu[s + 1] - answer;

    TRY(check_room(b, prompt->prompt_n + rest));
    memcpy(b->id + b->n, prompt->id, (size_t)prompt->prompt_n * sizeof *b->id);
    memcpy(b->id + b->n + prompt->prompt_n, from->id + answer, (size_t)rest * sizeof *b->id);
    for (int64_t r = first; r < from->cu_row[s + 1]; r++) {
        b->row[b->rows] = b->n + prompt->prompt_n + from->row[r] - answer;
        b->target[b->rows++] = from->target[r];
    }
    end_sample(b, prompt->prompt_n + rest, prompt->picture);
done:
    return rc;
}
