/* span.c - a pass as one span of samples, or as two that take turns.
 *
 * Behind every block of a layer stands a sum over the ranks that share the model. With parallel.overlap a batch is cut into
 * two spans of whole samples, about as many tokens each, and while the sum of one travels the other computes:
 *
 *     span 0   attention ~~ sum ~~~~ MLP ~~~~~~ sum ~~~~ ..
 *     span 1             attention ~~ sum ~~~~ MLP ~~~~~ sum ~~
 *
 * Samples do not know of each other, so a span is a batch of its own: arrays that count from its first token, rows of the
 * tensors that hold the whole batch. No buffer but those is in use while a sum travels. A sum moves when somebody calls MPI:
 * that is what OP does between two operations.
 */
#include <math.h>
#include <stdlib.h>

#include "io/err.h"
#include "model/lvlm_internal.h"

int span_reserve(struct lvlm *m, const struct lvlm_limits *l)
{
    struct span_room *k = &m->span_room;

    if (!m->tp || !m->tp->overlap) return CL_OK;
    span_free(m);
    k->cu = mem_new((size_t)l->samples + 1, sizeof *k->cu);
    k->cu_row = mem_new((size_t)l->samples + 1, sizeof *k->cu_row);
    k->row = mem_new((size_t)l->rows, sizeof *k->row);
    if (!k->cu || !k->cu_row || !k->row)
        return err_set(CL_ENOMEM, "no memory for the halves of a batch of %lld answer rows", (long long)l->rows);
    return CL_OK;
}

void span_free(struct lvlm *m)
{
    mem_free(m->span_room.cu), mem_free(m->span_room.cu_row), mem_free(m->span_room.row);
    m->span_room = (struct span_room){0};
}

/* The sample that the second half begins with. */
static int middle(const struct packed_batch *b)
{
    int k = 1;

    while (k + 1 < b->samples && llabs(2 * b->cu[k + 1] - b->n) < llabs(2 * b->cu[k] - b->n)) k++;
    return k;
}

/* s[0], all samples: gives those from sample k on to s[1]. */
static void cut(struct span s[SPANS], const struct lvlm *m, int k)
{
    const struct span all = s[0];
    const struct span_room *own = &m->span_room;
    const int64_t at = all.cu[k], row_at = all.cu_row[k];

    s[0].samples = k, s[0].n = at, s[0].rows = row_at;
    for (int i = k; i <= all.samples; i++) own->cu[i - k] = all.cu[i] - at, own->cu_row[i - k] = all.cu_row[i] - row_at;
    for (int64_t r = row_at; r < all.rows; r++) own->row[r - row_at] = all.row[r] - at;
    s[1] = (struct span){.p = all.p,
                         .i = 1,
                         .sample_at = k,
                         .at = at,
                         .row_at = row_at,
                         .samples = all.samples - k,
                         .n = all.n - at,
                         .rows = all.rows - row_at,
                         .cu = own->cu,
                         .cu_row = own->cu_row,
                         .row = own->row,
                         .pos = all.pos + at,
                         .row_pos = all.row_pos + row_at,
                         .ad = all.ad};
    if (all.ad.slots) s[1].ad.coef = all.ad.coef + (int64_t)k * all.ad.slots;
}

int span_make(struct span s[SPANS], const struct lvlm *m, const struct pass *p)
{
    const struct packed_batch *b = p->b;

    s[0] = (struct span){.p = p,
                         .samples = b->samples,
                         .n = b->n,
                         .rows = b->rows,
                         .cu = b->cu,
                         .cu_row = b->cu_row,
                         .row = b->row,
                         .pos = b->pos,
                         .row_pos = m->row_pos};
    if (p->ad && !has_prompts(p->ad)) s[0].ad = *p->ad; // prompts are no business of layers
    if (!comm_of(m) || !m->tp->overlap || p->kv || b->samples < 2) return 1;
    cut(s, m, middle(b));
    return 2;
}

bool pass_narrows(const struct lvlm *m, const struct pass *p, int l)
{
    return p->rows_only && l == m->c.text.layers - 1;
}

struct tensor span_tokens(const struct span *s, struct tensor t)
{
    return tensor_rows(t, s->at, s->n);
}

struct tensor span_queries(const struct lvlm *m, const struct span *s, int l, struct tensor t)
{
    return pass_narrows(m, s->p, l) ? tensor_rows(t, s->row_at, s->rows) : span_tokens(s, t);
}

struct layer_acts span_acts(const struct lvlm *m, const struct span *s, int l)
{
    struct layer_acts a = m->act[l];
    const int64_t query_at = pass_narrows(m, s->p, l) ? s->row_at : s->at;
    struct tensor *const queries[] = {&a.q, &a.o, &a.x2, &a.gate, &a.up};

    a.x = span_tokens(s, a.x), a.k = span_tokens(s, a.k), a.v = span_tokens(s, a.v);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        if (queries[i]->data) *queries[i] = span_queries(m, s, l, *queries[i]); // gate, up may have no place
    for (int p = 0; p < PROJECTIONS; p++)
        if (a.u[p].data) a.u[p] = p == PROJ_k || p == PROJ_v ? span_tokens(s, a.u[p]) : span_queries(m, s, l, a.u[p]);
    a.rstd1 += s->at, a.rstd2 += query_at, a.lse += query_at * m->own.heads;
    return a;
}

struct attention_shape span_shape(const struct lvlm *m, const struct span *s, int l)
{
    const bool narrow = pass_narrows(m, s->p, l);

    return (struct attention_shape){.samples = s->samples,
                                    .cu_q = narrow ? s->cu_row : s->cu,
                                    .cu_k = s->cu,
                                    .q_pos = narrow ? s->row_pos : s->pos,
                                    .causal = true,
                                    .heads = m->own.heads,
                                    .kv_heads = m->own.kv_heads,
                                    .head_dim = m->c.text.head_dim,
                                    .scale = 1.0f / sqrtf((float)m->c.text.head_dim)};
}

const int64_t *span_cu(const struct lvlm *m, const struct span *s, int l, enum projection p)
{
    return pass_narrows(m, s->p, l) && p != PROJ_k && p != PROJ_v ? s->cu_row : s->cu;
}
