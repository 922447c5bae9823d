/* decode_weights.c - the decoder's weights once more, as bytes, for decoding alone.
 *
 * One token of a few sequences reads every weight once, so that its time is that of reading them. Matrices of the layers and
 * lm_head are rounded to int8 (a scale for each output) and read instead; prompts, loss and gradients keep the weights as they
 * are. Where ranks split a matrix by its inputs an output's scale is that of its largest number on any rank: the same bytes
 * whatever the number of ranks.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"
#include "mpi/watch.h"

#include <math.h>
#include <string.h>

struct tops {
    float *mine; // (most outputs of a matrix)
    float *all;  // (ranks, D)
};

static int tops_new(struct tops *t, const struct lvlm *m)
{
    const int64_t outs[] = {m->D, m->own.H, m->own.KV, m->own.F, m->own.V};
    int64_t most = 1;

    for (size_t i = 0; i < sizeof outs / sizeof *outs; i++) most = outs[i] > most ? outs[i] : most;
    t->mine = mem_new((size_t)most, sizeof *t->mine);
    t->all = mem_new((size_t)(m->tp ? m->tp->size : 1), (size_t)m->D * sizeof *t->all);
    return t->mine && t->all ? CL_OK : err_set(CL_ENOMEM, "no memory for the scales of a weight");
}

static void tops_free(struct tops *t)
{
    mem_free(t->mine), mem_free(t->all);
}

/* mine (D) := the largest of all ranks. */
static int join_tops(struct lvlm *m, struct tops *t)
{
    int rc;

    TRY(comm_gather(comm_of(m), t->all, t->mine, (size_t)m->D * sizeof *t->mine));
    for (int r = 0; r < comm_size(comm_of(m)); r++)
        for (int64_t i = 0; i < m->D; i++) {
            const float x = t->all[r * m->D + i];
            t->mine[i] = x > t->mine[i] || isnan(x) ? x : t->mine[i];
        }
done:
    return rc;
}

static int round_matrix(struct lvlm *m, struct tops *t, struct weight **q, const struct weight *w, bool by_rows)
{
    int rc;

    *q = NULL;
    TRY(m->be->weight_tops(t->mine, w));
    if (!by_rows && comm_of(m)) TRY(join_tops(m, t));
    TRY(m->be->weight_rounded(q, w, t->mine));
done:
    return rc;
}

static int round_layer(struct lvlm *m, struct tops *t, int l)
{
    int rc;
    const struct layer_weights *w = &m->layer[l];
    struct layer_weights *q = &m->decode_layer[l];

    *q = *w;
#define NONE(field, ...) q->field = NULL;
    LAYER_MATRICES(NONE)
#undef NONE
#define ROUND(field, tensor, rows, cols, shard, by_rows, has_bias)                                                     \
    TRY(round_matrix(m, t, &q->field, w->field, by_rows));
    LAYER_MATRICES(ROUND)
#undef ROUND
    rc = CL_OK;
done:
    return rc;
}

static int round_all(struct lvlm *m)
{
    int rc;
    struct tops t = {0};

    TRY(tops_new(&t, m));
    if (!(m->decode_layer = mem_new((size_t)m->c.text.layers, sizeof *m->decode_layer)))
        FAIL(CL_ENOMEM, "no memory for a model of %d layers", m->c.text.layers);
    for (int l = 0; l < m->c.text.layers; l++) {
        watch_beat();
        TRY(round_layer(m, &t, l));
    }
    TRY(round_matrix(m, &t, &m->decode_head, m->lm_head, true));
done:
    tops_free(&t);
    return err_prefix(rc, "int8 weights for decoding");
}

int lvlm_decode_int8(struct lvlm *m)
{
    int rc = CL_OK;

    if (m->decode_head) return CL_OK;
    TRY(follow_decode_int8(m));
    if ((rc = round_all(m))) decode_weights_free(m);
done:
    return follow_done(m, rc);
}

void decode_weights_free(struct lvlm *m)
{
    for (int l = 0; m->decode_layer && l < m->c.text.layers; l++) {
        struct layer_weights *q = &m->decode_layer[l];
#define DROP(field, ...)                                                                                               \
    if (q->field) m->be->weight_free(q->field);
        LAYER_MATRICES(DROP)
#undef DROP
    }
    if (m->decode_head) m->be->weight_free(m->decode_head);
    mem_free(m->decode_layer);
    m->decode_layer = NULL, m->decode_head = NULL;
}

size_t decode_weights_bytes(const struct lvlm *m)
{
    size_t sum = m->decode_head ? m->be->weight_bytes(m->decode_head) : 0;

    for (int l = 0; m->decode_layer && l < m->c.text.layers; l++) {
        const struct layer_weights *q = &m->decode_layer[l];
#define ADD(field, ...) sum += m->be->weight_bytes(q->field);
        LAYER_MATRICES(ADD)
#undef ADD
    }
    return sum;
}
