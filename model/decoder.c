/* decoder.c - LLaMA forward over a packed batch, as a flat list of backend calls.
 *
 *     x  = embed(ids), picture rows replaced by projected features
 *     for each layer:   h = rmsnorm(x);  q, k, v = h W;  RoPE;  o = attention(q, k, v)
 *                       x2 = x + W_o o + increments(o)
 *                       h = rmsnorm(x2); x = x2 + W_down (silu(h W_gate) * (h W_up))
 *     logits of the answer rows = lm_head(rmsnorm(x))
 *
 * Only what is asked for is computed: in the last layer keys and values come from every token, everything else from the
 * answer rows alone; lm_head runs in chunks of rows, and in training each chunk's logits become their gradient at once,
 * so that (rows x vocabulary) never stands in memory.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <math.h>
#include <string.h>

enum { LOGIT_CHUNK = 128 }; // rows; 128 x 32064 f32 = 16 MB

int64_t decoder_logit_chunk(const struct lvlm *m)
{
    (void)m;
    return LOGIT_CHUNK;
}

int as_activation(struct lvlm *m, struct tensor *out, struct tensor t)
{
    *out = t;
    if (t.type == m->be->act) return CL_OK;
    *out = arena_tensor(&m->arena, m->be->act, t.rows, t.cols);
    return m->be->copy(*out, t);
}

/* Rows of layer l's query side. */
static int64_t query_rows(const struct lvlm *m, const struct pass *p, int l, int64_t n, int64_t rows)
{
    return p->rows_only && l == m->c.text.layers - 1 ? rows : n;
}

static void carve_layer(struct lvlm *m, struct layer_acts *a, int64_t n, int64_t r, const struct pass *p)
{
    struct arena *A = &m->arena;
    enum dtype act = m->be->act;
    int64_t width = p->ad ? (int64_t)p->ad->slots * p->ad->rank : 0;

    a->rstd1 = arena_take(A, (size_t)n * sizeof(float));
    a->q = arena_tensor(A, act, r, m->H);
    a->k = arena_tensor(A, act, n, m->KV);
    a->v = arena_tensor(A, act, n, m->KV);
    a->o = arena_tensor(A, act, r, m->H);
    a->lse = arena_take(A, (size_t)(r * m->heads) * sizeof(float));
    a->u = arena_tensor(A, act, r, width);
    a->x2 = arena_tensor(A, DT_F32, r, m->D);
    a->rstd2 = arena_take(A, (size_t)r * sizeof(float));
    a->gate = arena_tensor(A, act, r, m->F);
    a->up = arena_tensor(A, act, r, m->F);
}

/* Where every activation of a pass stands. Saving: each layer has its own; else all layers share one set and the residual
 * stream goes back and forth between two buffers. */
int decoder_layout(struct lvlm *m, int64_t n, int64_t rows, const struct pass *p)
{
    int L = m->c.text.layers;
    struct tensor flip[2];
    struct layer_acts shared;

    m->final_h = arena_tensor(&m->arena, m->be->act, p->rows_only ? rows : n, m->D);
    m->final_rstd = arena_take(&m->arena, (size_t)(p->rows_only ? rows : n) * sizeof(float));
    if (p->save) m->dfinal = arena_tensor(&m->arena, DT_F32, rows, m->D);
    if (!p->save) {
        flip[0] = arena_tensor(&m->arena, DT_F32, n, m->D);
        flip[1] = arena_tensor(&m->arena, DT_F32, n, m->D);
        carve_layer(m, &shared, n, n, p);
    }
    for (int l = 0; l <= L; l++) {
        int64_t r = l < L ? n : query_rows(m, p, L - 1, n, rows);
        if (p->save) {
            m->act[l].x = arena_tensor(&m->arena, DT_F32, r, m->D);
            if (l < L) carve_layer(m, &m->act[l], n, query_rows(m, p, l, n, rows), p);
            continue;
        }
        m->act[l] = shared;
        m->act[l].x = tensor_rows(flip[l & 1], 0, r);
        if (l == L) break;
        r = query_rows(m, p, l, n, rows);
        m->act[l].q.rows = m->act[l].o.rows = m->act[l].u.rows = m->act[l].x2.rows = r;
        m->act[l].gate.rows = m->act[l].up.rows = r;
    }
    // a view of the last tensor that does not fit has no data; sizes below only grow, so looking at the last ones is enough
    if (!m->act[L].x.data || (!p->save && !shared.up.data))
        return err_set(CL_EINTERNAL,
                       "step of %lld tokens, %lld answer rows does not fit its memory (reserved %lld, %lld)",
                       (long long)n, (long long)rows, (long long)m->limits.tokens, (long long)m->limits.rows);
    return CL_OK;
}

static int embed_batch(struct lvlm *m, const struct pass *p)
{
    int rc;
    const struct packed_batch *b = p->b;
    struct tensor x = m->act[0].x;
    int64_t P = m->c.vision.tokens;
    size_t mark = arena_mark(&m->arena);

    for (int64_t i = 0; i < b->n; i++) // picture positions: any row will do, it is replaced
        m->id[i] = b->id[i] == m->c.image_token && b->pictures ? 0 : b->id[i];
    TRY(m->be->embed(x, m->embed, m->id));
    if (b->pictures) {
        struct tensor f = arena_tensor(&m->arena, m->be->act, b->pictures * P, m->c.vision.hidden);
        struct tensor y = arena_tensor(&m->arena, DT_F32, b->pictures * P, m->D);
        for (int i = 0; i < b->pictures; i++)
            TRY(m->be->copy(tensor_rows(f, i * P, P),
                            tensor_of(b->feature[i] ? b->feature[i]->data : NULL, m->be->act, P, m->c.vision.hidden)));
        if (m->vision) TRY(vision_project(m->vision, y, f)); // absent while measuring
        for (int i = 0; i < b->pictures; i++)
            TRY(m->be->copy(tensor_rows(x, b->picture_at[i], P), tensor_rows(y, i * P, P)));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* q, k, v of the layer, turned by RoPE. */
static int project_qkv(struct lvlm *m, const struct pass *p, int l, bool rows_only)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    struct layer_acts *a = &m->act[l];
    size_t mark = arena_mark(&m->arena);
    struct tensor h = arena_tensor(&m->arena, be->act, a->x.rows, m->D), hq = h;
    const int32_t *pos_q = rows_only ? m->row_pos : p->b->pos;
    int hd = m->c.text.head_dim;

    TRY(be->rmsnorm(h, a->rstd1, a->x, w->attention_norm, m->c.text.eps));
    TRY(be->linear(a->k, h, w->k, w->k_bias, false));
    TRY(be->linear(a->v, h, w->v, w->v_bias, false));
    if (rows_only) {
        hq = arena_tensor(&m->arena, be->act, a->q.rows, m->D);
        TRY(be->gather(hq, h, p->b->row));
    }
    TRY(be->linear(a->q, hq, w->q, w->q_bias, false));
    TRY(be->rope(a->q, m->heads, hd, pos_q, m->rope_cos, m->rope_sin, false));
    TRY(be->rope(a->k, m->kv_heads, hd, p->b->pos, m->rope_cos, m->rope_sin, false));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

static struct attention_shape shape_of(const struct lvlm *m, const struct pass *p, bool rows_only)
{
    const struct packed_batch *b = p->b;

    return (struct attention_shape){.samples = b->samples,
                                    .cu_q = rows_only ? b->cu_row : b->cu,
                                    .cu_k = b->cu,
                                    .q_pos = rows_only ? m->row_pos : b->pos,
                                    .causal = true,
                                    .heads = m->heads,
                                    .kv_heads = m->kv_heads,
                                    .head_dim = m->c.text.head_dim,
                                    .scale = 1.0f / sqrtf((float)m->c.text.head_dim)};
}

/* x2 = x + W_o attention(..) + increments. */
static int attention_block(struct lvlm *m, const struct pass *p, int l)
{
    int rc;
    const struct backend *be = m->be;
    struct layer_acts *a = &m->act[l];
    bool rows_only = p->rows_only && l == m->c.text.layers - 1;
    struct attention_shape s = shape_of(m, p, rows_only);
    struct tensor k = a->k, v = a->v, x = a->x;
    size_t mark = arena_mark(&m->arena);

    TRY(project_qkv(m, p, l, rows_only));
    if (p->kv) TRY(kv_store(p->kv, l, p, k, v));
    if (p->kv && kv_decoding(p->kv)) {
        k = kv_keys(p->kv, l), v = kv_values(p->kv, l);
        kv_attention(p->kv, p, &s);
    }
    TRY(be->attention(a->o, p->save ? a->lse : NULL, a->q, k, v, &s));
    TRY(be->linear(a->x2, a->o, m->layer[l].o, m->layer[l].o_bias, false));
    TRY(adapter_forward(m, l, a->x2, a->u, a->o, p->ad, s.cu_q, s.samples, p->save));
    TRY(tp_reduce(m->tp, a->x2));
    if (rows_only) {
        x = arena_tensor(&m->arena, DT_F32, a->x2.rows, m->D);
        TRY(be->gather(x, a->x, p->b->row));
    }
    TRY(be->add(a->x2, x));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* out = x2 + W_down (act(gate) * up). */
static int mlp_block(struct lvlm *m, const struct pass *p, int l, struct tensor out)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = &m->layer[l];
    struct layer_acts *a = &m->act[l];
    size_t mark = arena_mark(&m->arena);
    struct tensor h = arena_tensor(&m->arena, be->act, a->x2.rows, m->D), g = a->gate;

    TRY(be->rmsnorm(h, a->rstd2, a->x2, w->mlp_norm, m->c.text.eps));
    TRY(be->linear(a->gate, h, w->gate, w->gate_bias, false));
    TRY(be->linear(a->up, h, w->up, w->up_bias, false));
    if (p->save) g = arena_tensor(&m->arena, be->act, a->gate.rows, m->F); // the backward pass needs gate itself
    TRY(be->glu(g, a->gate, a->up, m->c.text.act));
    TRY(be->linear(out, g, w->down, w->down_bias, false));
    TRY(tp_reduce(m->tp, out));
    TRY(be->add(out, a->x2));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int decoder_run(struct lvlm *m, const struct pass *p)
{
    int rc;
    int L = m->c.text.layers;

    if (p->rows_only)
        for (int64_t i = 0; i < p->b->rows; i++) m->row_pos[i] = p->b->pos[p->b->row[i]];
    TRY(embed_batch(m, p));
    for (int l = 0; l < L; l++) {
        TRY(attention_block(m, p, l));
        TRY(mlp_block(m, p, l, m->act[l + 1].x));
    }
    TRY(m->be->rmsnorm(m->final_h, m->final_rstd, m->act[L].x, m->final_norm, m->c.text.eps));
    rc = CL_OK;
done:
    return rc;
}

int decoder_logits(struct lvlm *m, struct tensor t, int64_t first, int64_t n)
{
    return m->be->linear(t, tensor_rows(m->final_h, first, n), m->lm_head, NULL, false);
}

/* One chunk of answer rows: nll and, in training, the gradient at final_h. */
static int loss_chunk(struct lvlm *m, const struct packed_batch *b, float *nll, float grad_scale, int64_t first,
                      int64_t n)
{
    int rc;
    size_t mark = arena_mark(&m->arena);
    struct tensor logits = arena_tensor(&m->arena, DT_F32, n, m->c.text.vocab), d;

    TRY(decoder_logits(m, logits, first, n));
    TRY(m->be->cross_entropy(nll ? nll + first : NULL, logits, b->target + first, grad_scale));
    if (grad_scale != 0) {
        TRY(as_activation(m, &d, logits));
        TRY(m->be->linear_back(tensor_rows(m->dfinal, first, n), d, m->lm_head, false));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int decoder_measure(struct lvlm *m, const struct pass *p)
{
    int rc;
    int64_t rows = p->rows_only ? p->b->rows : p->b->n;

    TRY(decoder_layout(m, p->b->n, p->b->rows, p));
    TRY(decoder_run(m, p));
    TRY(loss_chunk(m, p->b, NULL, p->save ? 1.0f : 0.0f, 0, rows < LOGIT_CHUNK ? rows : LOGIT_CHUNK));
    if (p->save) TRY(decoder_backward(m, p, NULL));
    rc = CL_OK;
done:
    arena_back(&m->arena, 0);
    return rc;
}

int lvlm_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, float *nll, float grad_scale)
{
    int rc;
    struct pass p = {.b = b, .ad = ad, .save = grad_scale != 0, .rows_only = true};
    const struct lvlm_limits *l = p.save ? &m->train_limits : &m->limits;

    if (b->n > l->tokens || b->rows > l->rows || b->samples > l->samples)
        FAIL(CL_EINTERNAL, "batch of %lld tokens, %lld answer rows, %d samples (reserved %lld, %lld, %d)",
             (long long)b->n, (long long)b->rows, b->samples, (long long)l->tokens, (long long)l->rows, l->samples);
    TRY(bank_load(m, ad));
    mem_guard_begin();
    arena_back(&m->arena, 0);
    rc = decoder_layout(m, b->n, b->rows, &p);
    if (!rc) rc = decoder_run(m, &p);
    for (int64_t i = 0; !rc && i < b->rows; i += LOGIT_CHUNK)
        rc = loss_chunk(m, b, nll, grad_scale, i, b->rows - i < LOGIT_CHUNK ? b->rows - i : LOGIT_CHUNK);
    mem_guard_end();
done:
    return rc;
}

int lvlm_logits(struct lvlm *m, float *logits, int64_t rows)
{
    int rc = CL_OK;
    int64_t V = m->c.text.vocab;

    for (int64_t i = 0; i < rows && !rc; i += LOGIT_CHUNK) {
        size_t mark = arena_mark(&m->arena);
        int64_t n = rows - i < LOGIT_CHUNK ? rows - i : LOGIT_CHUNK;
        struct tensor t = arena_tensor(&m->arena, DT_F32, n, V);
        if (!(rc = decoder_logits(m, t, i, n)))
            rc = m->be->download(logits + i * V, t.data, (size_t)(n * V) * sizeof *logits);
        arena_back(&m->arena, mark);
    }
    return rc;
}
