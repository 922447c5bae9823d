/* decoder_back.c - the gradient from the loss down to the lowest increment. The base learns nothing, so there are no weight
 * gradients: only products with W on the way down, and the increments' own.
 *
 *     dx   gradient at the residual stream behind a layer, then (in place) in front of its MLP, then in front of the layer
 *
 * In the last layer dx exists for the answer rows only; it becomes a gradient of all tokens where keys and values join.
 * Below the lowest map of layer 0 that has increments nothing learns but prompts: without them the pass ends there, with them at
 * the embeddings (depth_of).
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

/* How far down a gradient is wanted in layer l. */
static enum depth depth_of(const struct lvlm *m, const struct pass *p, int l)
{
    return has_prompts(p->ad) ? DEPTH_INPUT : back_depth(m->on.chosen, l);
}

/* No gradient is wanted there. */
static const struct tensor nowhere = {0};

/* Where the gradients of the span's coefficients go; NULL: memory is measured. */
static double *dcoef_of(const struct span *s, const struct descent *d)
{
    return d->dcoef ? d->dcoef + (int64_t)s->sample_at * s->ad.slots : NULL;
}

/* The span's dx on layer l's query side, and dh for so many rows. */
static struct tensor dx_of(const struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    return span_queries(m, s, l, pass_narrows(m, s->p, l) ? d->rows : d->all);
}

static struct tensor dh_of(const struct span *s, const struct descent *d, int64_t rows)
{
    return tensor_rows(d->dh, s->at, rows);
}

/* The increments of down: what it read was not kept. */
static int down_back(struct lvlm *m, const struct span *s, int l, const struct layer_acts *a, const struct descent *d,
                     struct tensor dg, struct tensor dy)
{
    int rc = CL_OK;
    size_t mark = arena_mark(&m->arena);
    struct tensor g;

    if (!has_increments(m, &s->ad, PROJ_down)) return CL_OK;
    g = arena_tensor(&m->arena, m->be->act, a->gate.rows, m->own.F);
    OP(m->be->glu(g, a->gate, a->up, m->c.text.act));
    if (s->p->again) TRY(adapter_input(m, s, l, PROJ_down, a->u[PROJ_down], g));
    TRY(adapter_backward(m, s, l, PROJ_down, dg, dcoef_of(s, d), dy, g, a->u[PROJ_down]));
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* The same of gate and up, whose gradients stand in their places: they read the norm of x2. */
static int gate_up_back(struct lvlm *m, const struct span *s, int l, const struct layer_acts *a,
                        const struct descent *d, struct tensor dh)
{
    int rc = CL_OK;
    size_t mark = arena_mark(&m->arena);
    struct tensor h;

    if (!has_increments(m, &s->ad, PROJ_gate) && !has_increments(m, &s->ad, PROJ_up)) return CL_OK;
    h = arena_tensor(&m->arena, m->be->act, a->x2.rows, m->D);
    OP(m->be->rmsnorm(h, NULL, a->x2, m->layer[l].mlp_norm, m->c.text.eps));
    TRY(adapter_backward(m, s, l, PROJ_gate, dh, dcoef_of(s, d), a->gate, h, a->u[PROJ_gate]));
    TRY(adapter_backward(m, s, l, PROJ_up, dh, dcoef_of(s, d), a->up, h, a->u[PROJ_up]));
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* dh := this rank's part of the gradient at the MLP's input, the increments' gradients on the way. */
static int mlp_back_begin(struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    const enum depth depth = depth_of(m, s->p, l);
    struct layer_acts a = span_acts(m, s, l);
    const struct tensor dx = dx_of(m, s, l, d), dh = dh_of(s, d, dx.rows);
    size_t mark = arena_mark(&m->arena);
    struct tensor dy, dg = nowhere;

    mlp_room(m, s->p, &a);
    if (s->p->again) TRY(mlp_gate_up(m, s, &a, l));
    if (depth > DEPTH_DOWN) dg = arena_tensor(&m->arena, be->act, dx.rows, m->own.F);
    OP(as_activation(m, &dy, dx));
    if (depth > DEPTH_DOWN) OP(be->linear_back(dg, dy, w->down, false));
    TRY(down_back(m, s, l, &a, d, dg, dy));
    if (depth == DEPTH_DOWN) goto done;
    OP(be->glu_back(a.gate, a.up, dg, m->c.text.act)); // gate, up become their gradients
    if (depth > DEPTH_GATE_UP) {
        OP(be->linear_back(dh, a.gate, w->gate, false));
        OP(be->linear_back(dh, a.up, w->up, true));
    }
    TRY(gate_up_back(m, s, l, &a, d, depth > DEPTH_GATE_UP ? dh : nowhere));
    if (depth > DEPTH_GATE_UP) TRY(group_begin(m, s->i, dh, SUM_MLP_BACK, l));
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

/* dq, dk, dv (RoPE undone) from the gradient at x2, the increments' gradients on the way. */
static int attention_back(struct lvlm *m, const struct span *s, int l, const struct descent *d, struct tensor dq,
                          struct tensor dk, struct tensor dv)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_acts a = span_acts(m, s, l);
    const struct attention_shape shape = span_shape(m, s, l);
    const bool deeper = depth_of(m, s->p, l) > DEPTH_O;
    size_t mark = arena_mark(&m->arena);
    int hd = m->c.text.head_dim;
    struct tensor dy, d_o = nowhere;

    OP(as_activation(m, &dy, dx_of(m, s, l, d)));
    if (deeper) {
        d_o = arena_tensor(&m->arena, be->act, a.o.rows, m->own.H);
        OP(be->linear_back(d_o, dy, m->layer[l].o, false));
    }
    TRY(adapter_backward(m, s, l, PROJ_o, d_o, dcoef_of(s, d), dy, a.o, a.u[PROJ_o]));
    if (deeper) {
        OP(be->attention_back(dq, dk, dv, d_o, a.o, a.q, a.k, a.v, a.lse, &shape));
        OP(be->rope(dq, m->own.heads, hd, shape.q_pos, m->rope_cos, m->rope_sin, true));
        OP(be->rope(dk, m->own.kv_heads, hd, s->pos, m->rope_cos, m->rope_sin, true));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* The increments of q, k, v, which read the norm of x; of q in the last layer that of the answer rows. dhq: where q's share of
 * the input's gradient goes. */
static int qkv_back(struct lvlm *m, const struct span *s, int l, const struct descent *d, struct tensor dh,
                    struct tensor dhq, struct tensor dq, struct tensor dk, struct tensor dv)
{
    int rc = CL_OK;
    const struct layer_acts a = span_acts(m, s, l);
    const bool narrow = pass_narrows(m, s->p, l), q = has_increments(m, &s->ad, PROJ_q);
    size_t mark = arena_mark(&m->arena);
    struct tensor h, hq;

    if (!q && !has_increments(m, &s->ad, PROJ_k) && !has_increments(m, &s->ad, PROJ_v)) return CL_OK;
    h = hq = arena_tensor(&m->arena, m->be->act, a.x.rows, m->D);
    OP(m->be->rmsnorm(h, NULL, a.x, m->layer[l].attention_norm, m->c.text.eps));
    if (q && narrow) {
        hq = arena_tensor(&m->arena, m->be->act, dq.rows, m->D);
        OP(m->be->gather(hq, h, s->row));
    }
    TRY(adapter_backward(m, s, l, PROJ_q, dhq, dcoef_of(s, d), dq, hq, a.u[PROJ_q]));
    TRY(adapter_backward(m, s, l, PROJ_k, dh, dcoef_of(s, d), dk, h, a.u[PROJ_k]));
    TRY(adapter_backward(m, s, l, PROJ_v, dh, dcoef_of(s, d), dv, h, a.u[PROJ_v]));
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
        TRY(qkv_back(m, s, l, d, dh, dh, dq, dk, dv));
    } else {
        struct tensor dhq = arena_tensor(&m->arena, DT_F32, dq.rows, m->D);
        OP(be->linear_back(dhq, dq, w->q, false));
        TRY(qkv_back(m, s, l, d, dh, dhq, dq, dk, dv));
        OP(be->scatter_add(dh, dhq, s->row));
        OP(be->zero(dx));
        OP(be->scatter_add(dx, dx_of(m, s, l, d), s->row));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* As far down as somebody wants a gradient. */
static int attention_back_begin(struct lvlm *m, const struct span *s, int l, const struct descent *d)
{
    int rc;
    const struct layer_acts a = span_acts(m, s, l);
    const enum depth depth = depth_of(m, s->p, l);
    size_t mark = arena_mark(&m->arena);
    struct tensor dq = arena_tensor(&m->arena, m->be->act, a.q.rows, m->own.H);
    struct tensor dk = arena_tensor(&m->arena, m->be->act, a.k.rows, m->own.KV);
    struct tensor dv = arena_tensor(&m->arena, m->be->act, a.v.rows, m->own.KV);

    TRY(attention_back(m, s, l, d, dq, dk, dv));
    if (depth == DEPTH_QKV) TRY(qkv_back(m, s, l, d, nowhere, nowhere, dq, dk, dv));
    if (depth < DEPTH_INPUT) goto done;
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
    for (int i = 0; depth_of(m, s->p, l) > DEPTH_GATE_UP && i < spans; i++) {
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
    for (int i = 0; depth_of(m, p, 0) == DEPTH_INPUT && i < spans; i++) TRY(attention_back_end(m, &s[i], 0, &d));
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
