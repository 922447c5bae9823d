/* decoder_back.c - the gradient from the loss down to the lowest o_proj. The base learns nothing, so there are no weight
 * gradients: only products with W on the way down, and the increments' own.
 *
 *     dx   gradient at the residual stream behind a layer, then (in place) in front of its MLP, then in front of the layer
 *
 * In the last layer dx exists for the answer rows only; it becomes a gradient of all tokens where keys and values join.
 * Below layer 0's o_proj nothing learns but prompts: without them the pass ends there, with them at the embeddings.
 *
 * Activations that were not kept (enum recompute) are computed again just before they are needed.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"
#include "mpi/watch.h"

#include <string.h>

/* What is on its way down. */
struct descent {
    struct tensor rows; // (rows, D) f32 dx of the last layer's answer rows
    struct tensor all;  // (n, D) f32 dx of every token, below
    struct tensor dh;   // (n, D) f32 gradient at what a norm gave; a span's begins where its tokens do
    double *dcoef;      // (samples, slots) of the batch
};

/* The span's dx on layer l's query side, and dh for so many rows. */
static struct tensor dx_of(const struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    return span_queries(m, s, l, pass_narrows(m, s->p, l) ? d->rows : d->all);
}

static struct tensor dh_of(const struct span *s, const struct descent *d, int64_t rows)
{
    return tensor_rows(d->dh, s->at, rows);
}

/* dh := this rank's part of the gradient at the MLP's input. */
static int mlp_back_begin(struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    struct layer_acts a = span_acts(m, s, l);
    const struct tensor dx = dx_of(m, s, l, d), dh = dh_of(s, d, dx.rows);
    size_t mark = arena_mark(&m->arena);
    struct tensor dy, dg;

    mlp_room(m, s->p, &a);
    if (s->p->again) TRY(mlp_gate_up(m, s->p, &a, l));
    dg = arena_tensor(&m->arena, be->act, dx.rows, m->own.F);
    OP(as_activation(m, &dy, dx));
    OP(be->linear_back(dg, dy, w->down, false));
    OP(be->glu_back(a.gate, a.up, dg, m->c.text.act)); // gate, up become their gradients
    OP(be->linear_back(dh, a.gate, w->gate, false));
    OP(be->linear_back(dh, a.up, w->up, true));
    TRY(group_begin(m, s->i, dh, SUM_MLP_BACK, l));
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* dx := gradient in front of the MLP. */
static int mlp_back_end(struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    int rc;
    const struct layer_acts a = span_acts(m, s, l);
    const struct tensor dx = dx_of(m, s, l, d);

    TRY(group_end(m, s->i));
    OP(m->be->rmsnorm_back(dx, dh_of(s, d, dx.rows), a.x2, m->layer[l].mlp_norm, a.rstd2));
    rc = CL_OK;
done:
    return rc;
}

/* Something below layer l's o_proj learns. */
static bool goes_below(const struct pass *p, int l)
{
    return l > 0 || has_prompts(p->ad);
}

/* dq, dk, dv (RoPE undone) from the gradient at x2, the increments' gradients on the way. */
static int attention_back(struct lvlm *m, const struct span *s, int l, const struct descent *d, struct tensor dq,
                          struct tensor dk, struct tensor dv)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_acts a = span_acts(m, s, l);
    const struct attention_shape shape = span_shape(m, s, l);
    double *dcoef = d->dcoef ? d->dcoef + (int64_t)s->sample_at * s->ad.slots : NULL; // NULL: memory is measured
    size_t mark = arena_mark(&m->arena);
    int hd = m->c.text.head_dim;
    struct tensor dy, d_o = {NULL, be->act, 0, 0, 0};

    OP(as_activation(m, &dy, dx_of(m, s, l, d)));
    if (goes_below(s->p, l)) {
        d_o = arena_tensor(&m->arena, be->act, a.o.rows, m->own.H);
        OP(be->linear_back(d_o, dy, m->layer[l].o, false));
    }
    TRY(adapter_backward(m, l, d_o, dcoef, dy, a.o, a.u, &s->ad, shape.cu_q, shape.samples));
    if (goes_below(s->p, l)) {
        OP(be->attention_back(dq, dk, dv, d_o, a.o, a.q, a.k, a.v, a.lse, &shape));
        OP(be->rope(dq, m->own.heads, hd, shape.q_pos, m->rope_cos, m->rope_sin, true));
        OP(be->rope(dk, m->own.kv_heads, hd, s->pos, m->rope_cos, m->rope_sin, true));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* dh := this rank's part of the gradient at the input of q, k, v. In the last layer dx grows from the answer rows to all. */
static int attention_input_back(struct lvlm *m, const struct span *s, int l, const struct descent *d, struct tensor dq,
                                struct tensor dk, struct tensor dv)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    const struct tensor dh = dh_of(s, d, s->n), dx = span_tokens(s, d->all);
    size_t mark = arena_mark(&m->arena);

    OP(be->linear_back(dh, dk, w->k, false));
    OP(be->linear_back(dh, dv, w->v, true));
    if (!pass_narrows(m, s->p, l)) {
        OP(be->linear_back(dh, dq, w->q, true));
    } else {
        struct tensor dhq = arena_tensor(&m->arena, DT_F32, dq.rows, m->D);
        OP(be->linear_back(dhq, dq, w->q, false));
        OP(be->scatter_add(dh, dhq, s->row));
        OP(be->zero(dx));
        OP(be->scatter_add(dx, dx_of(m, s, l, d), s->row));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

static int attention_back_begin(struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    int rc;
    const struct layer_acts a = span_acts(m, s, l);
    size_t mark = arena_mark(&m->arena);
    struct tensor dq = arena_tensor(&m->arena, m->be->act, a.q.rows, m->own.H);
    struct tensor dk = arena_tensor(&m->arena, m->be->act, a.k.rows, m->own.KV);
    struct tensor dv = arena_tensor(&m->arena, m->be->act, a.v.rows, m->own.KV);

    TRY(attention_back(m, s, l, d, dq, dk, dv));
    if (!goes_below(s->p, l)) goto done;
    TRY(attention_input_back(m, s, l, d, dq, dk, dv));
    TRY(group_begin(m, s->i, dh_of(s, d, s->n), SUM_ATTENTION_BACK, l));
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* dx := gradient in front of the layer. */
static int attention_back_end(struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    int rc;
    const struct layer_acts a = span_acts(m, s, l);

    TRY(group_end(m, s->i));
    OP(m->be->rmsnorm_back(span_tokens(s, d->all), dh_of(s, d, s->n), a.x, m->layer[l].attention_norm, a.rstd1));
    rc = CL_OK;
done:
    return rc;
}

/* Everything of layer l up to x2 is to be computed again. The last layer's is still there: nothing came after it. */
static bool recomputes_layer(const struct lvlm *m, const struct pass *p, int l)
{
    return p->again == RECOMPUTE_LAYER && l < m->c.text.layers - 1;
}

/* From the gradient behind layer l to that of q, k, v. The spans take turns: what one exchanges travels meanwhile. */
static int layer_back(struct lvlm *m, const struct span *s, int spans, int l, const struct descent *d)
{
    int rc;
    const bool again = recomputes_layer(m, s->p, l);

    for (int i = 0; i < spans; i++) {
        if (l < m->c.text.layers - 1) TRY(attention_back_end(m, &s[i], l + 1, d));
        TRY(again ? attention_begin(m, &s[i], l) : mlp_back_begin(m, &s[i], l, d));
    }
    for (int i = 0; again && i < spans; i++) {
        TRY(attention_end(m, &s[i], l));
        TRY(mlp_back_begin(m, &s[i], l, d));
    }
    for (int i = 0; i < spans; i++) {
        TRY(mlp_back_end(m, &s[i], l, d));
        TRY(attention_back_begin(m, &s[i], l, d));
    }
    rc = CL_OK;
done:
    return rc;
}

int decoder_backward(struct lvlm *m, const struct pass *p, double *dcoef)
{
    int rc;
    const int L = m->c.text.layers;
    struct span s[SPANS];
    const int spans = span_make(s, m, p);
    size_t mark = arena_mark(&m->arena);
    const struct descent d = {.rows = arena_tensor(&m->arena, DT_F32, p->b->rows, m->D),
                              .all = arena_tensor(&m->arena, DT_F32, p->b->n, m->D),
                              .dh = arena_tensor(&m->arena, DT_F32, p->b->n, m->D),
                              .dcoef = dcoef};

    TRY(group_sum(m, m->dfinal, SUM_LOSS_BACK, -1));
    TRY(m->be->zero(d.rows));
    TRY(m->be->rmsnorm_back(d.rows, m->dfinal, m->act[L].x, m->final_norm, m->final_rstd));
    for (int l = L - 1; l >= 0; l--) {
        watch_beat();
        TRY(layer_back(m, s, spans, l, &d));
    }
    for (int i = 0; goes_below(p, 0) && i < spans; i++) TRY(attention_back_end(m, &s[i], 0, &d));
    TRY(prompts_back(m, p, d.all));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* n more numbers of this step fit into dcoef. */
static int room_for_coef(struct lvlm *m, int64_t n)
{
    int64_t room = 2 * (m->n_dcoef + n);
    double *more;

    if (m->n_dcoef + n <= m->room_dcoef) return CL_OK;
    if (!(more = mem_grow(m->dcoef, (size_t)m->room_dcoef, (size_t)room, sizeof *more)))
        return err_set(CL_ENOMEM, "no memory for the gradients of %lld coefficients", (long long)room);
    m->dcoef = more, m->room_dcoef = room;
    return CL_OK;
}

int lvlm_backward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, double *dcoef)
{
    int rc;
    struct pass p = {.b = b, .save = true, .again = m->train_limits.again, .rows_only = true};
    const int64_t n = (int64_t)b->samples * ad->slots;

    TRY(follow_backward(m, b, ad));
    p.ad = set_split(m, ad, b->samples);
    TRY(room_for_coef(m, n));
    if (n) memset(m->dcoef + m->n_dcoef, 0, (size_t)n * sizeof *m->dcoef);
    mem_guard_begin();
    rc = decoder_backward(m, &p, m->dcoef + m->n_dcoef);
    mem_guard_end();
    if (rc) goto done;
    residual_spread(m->dcoef + m->n_dcoef, b->samples, ad->slots, ad->residuals);
    if (dcoef && n) memcpy(dcoef, m->dcoef + m->n_dcoef, (size_t)n * sizeof *dcoef);
    m->n_dcoef += n;
done:
    return follow_done(m, rc);
}
