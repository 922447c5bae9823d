/* decoder_back.c - the gradient from the loss down to the lowest o_proj. The base learns nothing, so there are no weight
 * gradients: only products with W on the way down, and the increments' own.
 *
 *     dx   gradient at the residual stream behind a layer, then (in place) in front of its MLP, then in front of the layer
 *
 * In the last layer dx exists for the answer rows only; it becomes a gradient of all tokens where keys and values join.
 * Below layer 0's o_proj nothing learns: there the pass ends.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"
#include "mpi/watch.h"

#include <math.h>
#include <string.h>

/* dx := gradient in front of the MLP, given that behind it. */
static int mlp_back(struct lvlm *m, int l, struct tensor dx)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    struct layer_acts *a = &m->act[l];
    size_t mark = arena_mark(&m->arena);
    struct tensor dy, dg = arena_tensor(&m->arena, be->act, dx.rows, m->own.F);
    struct tensor dh = arena_tensor(&m->arena, DT_F32, dx.rows, m->D);

    TRY(as_activation(m, &dy, dx));
    TRY(be->linear_back(dg, dy, w->down, false));
    TRY(be->glu_back(a->gate, a->up, dg, m->c.text.act)); // gate, up become their gradients
    TRY(be->linear_back(dh, a->gate, w->gate, false));
    TRY(be->linear_back(dh, a->up, w->up, true));
    TRY(group_copy_back(m, dh, SUM_MLP_BACK, l));
    TRY(be->rmsnorm_back(dx, dh, a->x2, w->mlp_norm, a->rstd2));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* dq, dk, dv (RoPE undone) from the gradient at x2, the increments' gradients on the way. */
static int attention_back(struct lvlm *m, const struct pass *p, int l, struct tensor dx, double *dcoef,
                          struct tensor dq, struct tensor dk, struct tensor dv)
{
    int rc;
    const struct backend *be = m->be;
    struct layer_acts *a = &m->act[l];
    bool rows_only = p->rows_only && l == m->c.text.layers - 1;
    const struct packed_batch *b = p->b;
    size_t mark = arena_mark(&m->arena);
    int hd = m->c.text.head_dim;
    const int32_t *pos_q = rows_only ? m->row_pos : b->pos;
    struct attention_shape s = {
        b->samples, rows_only ? b->cu_row : b->cu, b->cu, NULL, pos_q, true, m->own.heads, m->own.kv_heads,
        hd,         1.0f / sqrtf((float)hd)};
    struct tensor dy, d_o = {NULL, be->act, 0, 0, 0};

    TRY(as_activation(m, &dy, dx));
    if (l > 0) {
        d_o = arena_tensor(&m->arena, be->act, a->o.rows, m->own.H);
        TRY(be->linear_back(d_o, dy, m->layer[l].o, false));
    }
    TRY(adapter_backward(m, l, d_o, dcoef, dy, a->o, a->u, p->ad, s.cu_q, s.samples));
    if (l > 0) {
        TRY(be->attention_back(dq, dk, dv, d_o, a->o, a->q, a->k, a->v, a->lse, &s));
        TRY(be->rope(dq, m->own.heads, hd, pos_q, m->rope_cos, m->rope_sin, true));
        TRY(be->rope(dk, m->own.kv_heads, hd, b->pos, m->rope_cos, m->rope_sin, true));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* dx (n, D) := gradient in front of the layer; dx2 is that at x2: the same buffer, or the answer rows' of the last layer. */
static int attention_input_back(struct lvlm *m, const struct pass *p, int l, struct tensor dx, struct tensor dx2,
                                struct tensor dq, struct tensor dk, struct tensor dv)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    struct layer_acts *a = &m->act[l];
    size_t mark = arena_mark(&m->arena);
    struct tensor dh = arena_tensor(&m->arena, DT_F32, a->x.rows, m->D);

    TRY(be->linear_back(dh, dk, w->k, false));
    TRY(be->linear_back(dh, dv, w->v, true));
    if (dx2.data == dx.data) {
        TRY(be->linear_back(dh, dq, w->q, true));
    } else {
        struct tensor dhq = arena_tensor(&m->arena, DT_F32, dx2.rows, m->D);
        TRY(be->linear_back(dhq, dq, w->q, false));
        TRY(be->scatter_add(dh, dhq, p->b->row));
        TRY(be->zero(dx));
        TRY(be->scatter_add(dx, dx2, p->b->row));
    }
    TRY(group_copy_back(m, dh, SUM_ATTENTION_BACK, l));
    TRY(be->rmsnorm_back(dx, dh, a->x, w->attention_norm, a->rstd1));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

static int layer_back(struct lvlm *m, const struct pass *p, int l, struct tensor dx, struct tensor dx2, double *dcoef)
{
    int rc;
    struct layer_acts *a = &m->act[l];
    size_t mark = arena_mark(&m->arena);
    struct tensor dq = arena_tensor(&m->arena, m->be->act, a->q.rows, m->own.H);
    struct tensor dk = arena_tensor(&m->arena, m->be->act, a->k.rows, m->own.KV);
    struct tensor dv = arena_tensor(&m->arena, m->be->act, a->v.rows, m->own.KV);

    TRY(mlp_back(m, l, dx2));
    TRY(attention_back(m, p, l, dx2, dcoef, dq, dk, dv));
    if (l > 0) TRY(attention_input_back(m, p, l, dx, dx2, dq, dk, dv));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int decoder_backward(struct lvlm *m, const struct pass *p, double *dcoef)
{
    int rc;
    int L = m->c.text.layers;
    size_t mark = arena_mark(&m->arena);
    struct tensor rows = arena_tensor(&m->arena, DT_F32, p->b->rows, m->D); // gradient of the answer rows, last layer
    struct tensor all = arena_tensor(&m->arena, DT_F32, p->b->n, m->D);     // of every token, below

    TRY(group_copy_back(m, m->dfinal, SUM_LOSS_BACK, -1));
    TRY(m->be->zero(rows));
    TRY(m->be->rmsnorm_back(rows, m->dfinal, m->act[L].x, m->final_norm, m->final_rstd));
    TRY(layer_back(m, p, L - 1, all, rows, dcoef));
    for (int l = L - 2; l >= 0; l--) {
        watch_beat();
        TRY(layer_back(m, p, l, all, all, dcoef));
    }
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
    struct pass p = {.b = b, .ad = ad, .save = true, .rows_only = true};
    const int64_t n = (int64_t)b->samples * ad->slots;

    TRY(follow_backward(m, b, ad));
    TRY(room_for_coef(m, n));
    memset(m->dcoef + m->n_dcoef, 0, (size_t)n * sizeof *m->dcoef);
    mem_guard_begin();
    rc = decoder_backward(m, &p, m->dcoef + m->n_dcoef);
    mem_guard_end();
    if (rc) goto done;
    if (dcoef) memcpy(dcoef, m->dcoef + m->n_dcoef, (size_t)n * sizeof *dcoef);
    m->n_dcoef += n;
done:
    return follow_done(m, rc);
}
