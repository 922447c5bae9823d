/* decoder.c - LLaMA forward over a packed batch, as a flat list of backend calls.
 *
 *     x  = embed(ids), picture rows replaced by projected features, prompt rows by learned ones
 *     for each layer:   h = rmsnorm(x);  q, k, v = h W;  RoPE;  o = attention(q, k, v)
 *                       x2 = x + W_o o
 *                       h = rmsnorm(x2); x = x2 + W_down (silu(h W_gate) * (h W_up))
 *     logits of the answer rows = lm_head(rmsnorm(x))
 *
 * Behind each of the seven products of a layer stand the increments of that map, where it has some (model/projections.h).
 *
 * Only what is asked for is computed: in the last layer keys and values come from every token, everything else from the
 * answer rows alone.
 *
 * What a training pass does not keep (enum recompute) the backward pass computes again by the very functions of this file.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"
#include "mpi/watch.h"

#include <string.h>

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
    return pass_narrows(m, p, l) ? rows : n;
}

/* gate and up are kept for the backward pass. */
static bool keeps_mlp(const struct pass *p)
{
    return p->save && p->again == RECOMPUTE_NOTHING;
}

/* All layers share one set of what is between the residual streams. */
static bool shares_layers(const struct pass *p)
{
    return !p->save || p->again == RECOMPUTE_LAYER;
}

/* u of the maps from first to last, where they have increments; keys and values have n rows, others r. */
static void carve_u(struct lvlm *m, struct layer_acts *a, enum projection first, enum projection last, int64_t n,
                    int64_t r, const struct pass *p)
{
    for (int i = (int)first; i <= (int)last; i++)
        a->u[i] = has_increments(m, p->ad, (enum projection)i)
                      ? arena_tensor(&m->arena, m->be->act, i == PROJ_k || i == PROJ_v ? n : r,
                                     (int64_t)p->ad->slots * p->ad->rank)
                      : (struct tensor){0};
}

static void carve_layer(struct lvlm *m, struct layer_acts *a, int64_t n, int64_t r, const struct pass *p)
{
    struct arena *A = &m->arena;
    enum dtype act = m->be->act;

    a->rstd1 = arena_take(A, (size_t)n * sizeof(float));
    a->q = arena_tensor(A, act, r, m->own.H);
    a->k = arena_tensor(A, act, n, m->own.KV);
    a->v = arena_tensor(A, act, n, m->own.KV);
    a->o = arena_tensor(A, act, r, m->own.H);
    a->lse = arena_take(A, (size_t)(r * m->own.heads) * sizeof(float));
    carve_u(m, a, PROJ_q, PROJ_o, n, r, p);
    a->x2 = arena_tensor(A, DT_F32, r, m->D);
    a->rstd2 = arena_take(A, (size_t)r * sizeof(float));
    a->gate = a->up = (struct tensor){NULL, act, r, m->own.F, m->own.F};
    a->u[PROJ_gate] = a->u[PROJ_up] = a->u[PROJ_down] = (struct tensor){0};
    if (!keeps_mlp(p)) return;
    carve_u(m, a, PROJ_gate, PROJ_down, n, r, p);
    a->gate = arena_tensor(A, act, r, m->own.F);
    a->up = arena_tensor(A, act, r, m->own.F);
}

void mlp_room(struct lvlm *m, const struct pass *p, struct layer_acts *a)
{
    if (keeps_mlp(p)) return;
    carve_u(m, a, PROJ_gate, PROJ_down, a->x2.rows, a->x2.rows, p);
    a->gate = arena_tensor(&m->arena, m->be->act, a->x2.rows, m->own.F);
    a->up = arena_tensor(&m->arena, m->be->act, a->x2.rows, m->own.F);
}

/* The residual stream in front of every layer, and behind the last. Without a backward pass it goes back and forth between two
 * buffers. */
static void carve_stream(struct lvlm *m, int64_t n, int64_t rows, const struct pass *p)
{
    const int L = m->c.text.layers;
    struct tensor flip[2];

    for (int i = 0; !p->save && i < 2; i++) flip[i] = arena_tensor(&m->arena, DT_F32, n, m->D);
    for (int l = 0; l <= L; l++) {
        int64_t r = l < L ? n : query_rows(m, p, L - 1, n, rows);
        m->act[l].x = p->save ? arena_tensor(&m->arena, DT_F32, r, m->D) : tensor_rows(flip[l & 1], 0, r);
    }
}

/* The set that layers share, with layer l's rows and its own stream. */
static void share_layer(struct lvlm *m, const struct layer_acts *shared, int l, int64_t r)
{
    struct layer_acts *a = &m->act[l];
    const struct tensor x = a->x;

    *a = *shared;
    a->x = x;
    a->q.rows = a->o.rows = a->x2.rows = a->gate.rows = a->up.rows = r;
    a->u[PROJ_q].rows = a->u[PROJ_o].rows = r; // those of the MLP have no place here
}

/* Where every activation of a pass stands. */
int decoder_layout(struct lvlm *m, int64_t n, int64_t rows, const struct pass *p)
{
    const int L = m->c.text.layers;
    struct layer_acts shared;

    m->final_h = arena_tensor(&m->arena, m->be->act, p->rows_only ? rows : n, m->D);
    m->final_rstd = arena_take(&m->arena, (size_t)(p->rows_only ? rows : n) * sizeof(float));
    if (p->save) m->dfinal = arena_tensor(&m->arena, DT_F32, rows, m->D);
    carve_stream(m, n, rows, p);
    if (shares_layers(p)) carve_layer(m, &shared, n, n, p);
    for (int l = 0; l < L; l++) {
        int64_t r = query_rows(m, p, l, n, rows);
        if (shares_layers(p))
            share_layer(m, &shared, l, r);
        else
            carve_layer(m, &m->act[l], n, r, p);
    }
    // what does not fit has no data; sizes only grow, so looking at the last one is enough
    if (!m->act[L].x.data || !m->act[L - 1].rstd2 || (keeps_mlp(p) && !m->act[L - 1].up.data))
        return err_set(CL_EINTERNAL,
                       "step of %lld tokens, %lld answer rows does not fit its memory (reserved %lld, %lld)",
                       (long long)n, (long long)rows, (long long)m->limits.tokens, (long long)m->limits.rows);
    return CL_OK;
}

/* Whether this rank has the table's row for token i of a batch. Picture positions and places of prompts have none. */
static bool has_row(const struct lvlm *m, const struct packed_batch *b, int64_t i)
{
    int64_t at = b->id[i] - m->own.V0;

    return at >= 0 && at < m->own.V && !(b->pictures && b->id[i] == m->c.image_token);
}

/* x := rows of the table; zeros where another rank has the row, and where there is none. */
static int embed_tokens(struct lvlm *m, const struct packed_batch *b, struct tensor x)
{
    int rc;

    for (int64_t i = 0; i < b->n; i++) // where there is no row any will do: it is zeroed
        m->id[i] = has_row(m, b, i) ? b->id[i] - (int32_t)m->own.V0 : 0;
    TRY(m->be->embed(x, m->embed, m->id));
    for (int64_t i = 0, end; i < b->n; i = end) { // runs of rows without one
        for (end = i; end < b->n && !has_row(m, b, end);) end++;
        if (end > i) TRY(m->be->zero(tensor_rows(x, i, end - i)));
        end += end == i;
    }
    rc = CL_OK;
done:
    return rc;
}

/* Copies rows [first, first + n) of all pictures' rows: of their features into dense, or with x from dense to where they
 * belong in x. */
static int move_rows(struct lvlm *m, const struct packed_batch *b, struct tensor dense, int64_t first, int64_t n,
                     const struct tensor *x)
{
    int rc = CL_OK;
    const int64_t P = m->c.vision.tokens, h = m->c.vision.hidden;

    for (int64_t i = 0, now; i < n; i += now) {
        const int64_t picture = (first + i) / P, row = (first + i) % P;
        const struct feature *f = b->feature[picture];
        now = P - row < n - i ? P - row : n - i;
        const struct tensor here = tensor_rows(dense, i, now);
        if (x)
            TRY(m->be->copy(tensor_rows(*x, b->picture_at[picture] + row, now), here));
        else
            TRY(m->be->copy(here, tensor_rows(tensor_of(f ? f->data : NULL, m->be->act, P, h), row, now)));
    }
done:
    return rc;
}

/* Rows of x at picture positions := projected features. Ranks that share the model project some rows each. */
static int embed_pictures(struct lvlm *m, const struct packed_batch *b, struct tensor x)
{
    int rc;
    int64_t first, n;
    size_t mark = arena_mark(&m->arena);

    tp_shard(&first, &n, b->pictures * m->c.vision.tokens, m->tp);
    struct tensor f = arena_tensor(&m->arena, m->be->act, n, m->c.vision.hidden);
    struct tensor y = arena_tensor(&m->arena, DT_F32, n, m->D);
    TRY(move_rows(m, b, f, first, n, NULL));
    if (m->vision) TRY(vision_project(m->vision, y, f)); // absent while measuring
    TRY(move_rows(m, b, y, first, n, &x));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* x of the first layer. Of a group of ranks each row of x is made by one, the others have zeros: their sum is x. */
static int embed_batch(struct lvlm *m, const struct pass *p)
{
    int rc;
    struct tensor x = m->act[0].x;

    TRY(embed_tokens(m, p->b, x));
    if (p->b->pictures) TRY(embed_pictures(m, p->b, x));
    TRY(prompts_embed(m, p, x));
    TRY(group_sum(m, x, SUM_EMBEDDING, -1));
    rc = CL_OK;
done:
    return rc;
}

/* q, k, v of the layer, turned by RoPE. */
static int project_qkv(struct lvlm *m, const struct span *s, int l)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = pass_layer(m, s->p, l);
    const struct layer_acts a = span_acts(m, s, l);
    const struct attention_shape shape = span_shape(m, s, l);
    size_t mark = arena_mark(&m->arena);
    struct tensor h = arena_tensor(&m->arena, be->act, a.x.rows, m->D), hq = h;
    const bool narrows = pass_narrows(m, s->p, l);
    const struct linear from_all[] = {{a.k, w->k, w->k_bias}, {a.v, w->v, w->v_bias}, {a.q, w->q, w->q_bias}};
    int hd = m->c.text.head_dim;

    OP(be->rmsnorm(h, a.rstd1, a.x, w->attention_norm, m->c.text.eps));
    OP(be->linear_each(from_all, narrows ? 2 : 3, h));
    TRY(adapter_forward(m, s, l, PROJ_k, a.k, a.u[PROJ_k], h));
    TRY(adapter_forward(m, s, l, PROJ_v, a.v, a.u[PROJ_v], h));
    if (narrows) {
        hq = arena_tensor(&m->arena, be->act, a.q.rows, m->D);
        OP(be->gather(hq, h, s->row));
        OP(be->linear(a.q, hq, w->q, w->q_bias, false));
    }
    TRY(adapter_forward(m, s, l, PROJ_q, a.q, a.u[PROJ_q], hq));
    OP(be->rope(a.q, m->own.heads, hd, shape.q_pos, m->rope_cos, m->rope_sin, false));
    OP(be->rope(a.k, m->own.kv_heads, hd, s->pos, m->rope_cos, m->rope_sin, false));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* A block is cut in two where the ranks exchange its result: up to where its sum begins, and from where that has ended. In
 * between no scratch is held. */

int attention_begin(struct lvlm *m, const struct span *s, int l)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_acts a = span_acts(m, s, l);
    const struct pass *p = s->p;
    const struct layer_weights *w = pass_layer(m, p, l);
    struct attention_shape shape = span_shape(m, s, l);
    struct tensor k = a.k, v = a.v;

    TRY(project_qkv(m, s, l));
    if (p->kv) TRY(kv_store(p->kv, l, p, k, v));
    if (p->kv && kv_is_read(p->kv)) {
        k = kv_keys(p->kv, l), v = kv_values(p->kv, l);
        kv_attention(p->kv, p, &shape);
    }
    OP(be->attention(a.o, p->save ? a.lse : NULL, a.q, k, v, &shape));
    OP(be->linear(a.x2, a.o, w->o, w->o_bias, false));
    TRY(adapter_forward(m, s, l, PROJ_o, a.x2, a.u[PROJ_o], a.o));
    TRY(group_begin(m, s->i, a.x2, SUM_ATTENTION, l));
done:
    return rc;
}

int attention_end(struct lvlm *m, const struct span *s, int l)
{
    int rc;
    const struct layer_acts a = span_acts(m, s, l);
    struct tensor x = a.x;
    size_t mark = arena_mark(&m->arena);

    TRY(group_end(m, s->i));
    if (pass_narrows(m, s->p, l)) {
        x = arena_tensor(&m->arena, DT_F32, a.x2.rows, m->D);
        OP(m->be->gather(x, a.x, s->row));
    }
    OP(m->be->add(a.x2, x));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int mlp_gate_up(struct lvlm *m, const struct span *s, const struct layer_acts *a, int l)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = pass_layer(m, s->p, l);
    size_t mark = arena_mark(&m->arena);
    struct tensor h = arena_tensor(&m->arena, be->act, a->x2.rows, m->D);

    OP(be->rmsnorm(h, a->rstd2, a->x2, w->mlp_norm, m->c.text.eps));
    OP(be->linear_each((struct linear[]){{a->gate, w->gate, w->gate_bias}, {a->up, w->up, w->up_bias}}, 2, h));
    TRY(adapter_forward(m, s, l, PROJ_gate, a->gate, a->u[PROJ_gate], h));
    TRY(adapter_forward(m, s, l, PROJ_up, a->up, a->u[PROJ_up], h));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* x of the next layer := this rank's part of W_down (act(gate) * up). */
static int mlp_begin(struct lvlm *m, const struct span *s, int l)
{
    int rc;
    const struct backend *be = m->be;
    const struct layer_weights *w = pass_layer(m, s->p, l);
    struct layer_acts a = span_acts(m, s, l);
    const struct tensor out = span_queries(m, s, l, m->act[l + 1].x);
    size_t mark = arena_mark(&m->arena);
    struct tensor g;

    mlp_room(m, s->p, &a);
    TRY(mlp_gate_up(m, s, &a, l));
    g = a.gate;
    if (keeps_mlp(s->p)) g = arena_tensor(&m->arena, be->act, a.gate.rows, m->own.F); // it is gate itself that is kept
    OP(be->glu(g, a.gate, a.up, m->c.text.act));
    OP(be->linear(out, g, w->down, w->down_bias, false));
    TRY(adapter_forward(m, s, l, PROJ_down, out, a.u[PROJ_down], g));
    TRY(group_begin(m, s->i, out, SUM_MLP, l));
done:
    arena_back(&m->arena, mark);
    return rc;
}

/* x of the next layer += x2. */
static int mlp_end(struct lvlm *m, const struct span *s, int l)
{
    int rc;

    TRY(group_end(m, s->i));
    OP(m->be->add(span_queries(m, s, l, m->act[l + 1].x), span_acts(m, s, l).x2));
    rc = CL_OK;
done:
    return rc;
}

int decoder_run(struct lvlm *m, const struct pass *p)
{
    int rc;
    int L = m->c.text.layers, spans;
    struct span s[SPANS];

    m->head = p->decode && m->decode_head ? m->decode_head : m->lm_head;
    if (p->rows_only)
        for (int64_t i = 0; i < p->b->rows; i++) m->row_pos[i] = p->b->pos[p->b->row[i]];
    TRY(embed_batch(m, p));
    spans = span_make(s, m, p);
    for (int l = 0; l < L; l++) {
        watch_beat(); // whoever waits for this rank may know that it works
        for (int i = 0; i < spans; i++) {
            if (l > 0) TRY(mlp_end(m, &s[i], l - 1));
            TRY(attention_begin(m, &s[i], l));
        }
        for (int i = 0; i < spans; i++) {
            TRY(attention_end(m, &s[i], l));
            TRY(mlp_begin(m, &s[i], l));
        }
    }
    for (int i = 0; i < spans; i++) TRY(mlp_end(m, &s[i], L - 1));
    TRY(m->be->rmsnorm(m->final_h, m->final_rstd, m->act[L].x, m->final_norm, m->c.text.eps));
    rc = CL_OK;
done:
    return rc;
}

/* A single span of all samples needs at least what two spans do: no scratch is held while the other works. */
int decoder_measure(struct lvlm *m, const struct pass *p)
{
    int rc;
    const int64_t rows = p->rows_only ? p->b->rows : p->b->n, chunk = head_chunk(m);
    struct packed_batch some = *p->b; // as many rows as lm_head sees at once

    some.rows = rows < chunk ? rows : chunk;
    TRY(decoder_layout(m, p->b->n, p->b->rows, p));
    TRY(decoder_run(m, p));
    TRY(head_loss(m, &some, (struct lvlm_losses){0}, p->save ? 1.0f : 0.0f));
    if (p->save) TRY(decoder_backward(m, p, NULL));
    rc = CL_OK;
done:
    arena_back(&m->arena, 0);
    return rc;
}

/* A target that no rank has would have no likelihood: the leader looks, for only it can tell. */
static int check_targets(const struct lvlm *m, const struct packed_batch *b)
{
    for (int64_t r = 0; is_shared(m) && r < b->rows; r++)
        if (b->target[r] < 0 || b->target[r] >= m->c.text.vocab)
            return err_set(CL_ENUM,
                           "target %d of answer row %lld is not below the %d logits; hint: tokenizer and model differ",
                           (int)b->target[r], (long long)r, m->c.text.vocab);
    return CL_OK;
}

/* Embedding to final_h, from an empty arena. */
static int run_pass(struct lvlm *m, const struct pass *p)
{
    int rc;

    arena_back(&m->arena, 0);
    TRY(decoder_layout(m, p->b->n, p->b->rows, p));
    TRY(decoder_run(m, p));
done:
    return rc;
}

/* Another pass: its last hidden states are kept beside the arena, where the pass that learns needs all room. */
static int run_other(struct lvlm *m, const struct other_pass *o, const struct packed_batch *b,
                     const struct adapters *ad)
{
    int rc;
    const struct pass p = {.b = b, .ad = ad, .rows_only = true};

    TRY(run_pass(m, &p));
    TRY(m->be->copy(tensor_rows(o->h, 0, b->rows), m->final_h));
done:
    return rc;
}

static int run_masked(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                      const struct listening *l)
{
    int rc;

    TRY(run_other(m, &m->listening.at, l->masked, ad));
    listen_begin(m, b, l);
done:
    return rc;
}

static int run_teacher(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                       const struct adapter_teacher *t)
{
    int rc;
    struct adapters theirs = *ad;

    theirs.coef = t->coef;
    TRY(run_other(m, &m->teacher.at, b, &theirs));
    m->teacher.weight = t->weight, m->teacher.temperature = t->temperature;
    m->teacher.on = true;
done:
    return rc;
}

/* Whether passes beside this one can be, and memory for them. */
static int prepare_masked(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                          const struct listening *l, bool learns)
{
    int rc;

    if (!learns) FAIL(CL_EINTERNAL, "masked questions beside a pass that does not learn");
    TRY(listen_check(b, l->masked));
    TRY(check_batch(m, l->masked, ad, true));
    TRY(listen_reserve(m));
done:
    return rc;
}

int lvlm_forward_beside(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                        const struct adapter_teacher *t, const struct listening *l, struct lvlm_losses out,
                        float grad_scale)
{
    int rc;
    struct pass p = {.b = b, .save = grad_scale != 0, .again = m->train_limits.again, .rows_only = true};

    if (t && !t->coef) t = NULL;
    if (l && !l->masked) l = NULL;
    if (t && (!p.save || !ad || has_prompts(ad)))
        FAIL(CL_EINTERNAL, "a teacher of a pass that does not learn, or learns prompts");
    if (t && ad->residuals) FAIL(CL_EINTERNAL, "a teacher of a pass with residuals of the logits");
    TRY(check_batch(m, b, ad, p.save));
    TRY(check_targets(m, b));
    if (l) TRY(prepare_masked(m, b, ad, l, p.save));
    TRY(follow_forward(m, b, ad, t, l, grad_scale));
    TRY(set_load(m, ad));
    TRY(residual_begin(m, ad, b->samples, b->cu_row));
    p.ad = set_split(m, ad, b->samples);
    if (t) TRY(head_reserve_other(m, &m->teacher.at));
    mem_guard_begin();
    rc = l ? run_masked(m, b, p.ad, l) : CL_OK;
    if (!rc && t) rc = run_teacher(m, b, ad, t);
    if (!rc) rc = run_pass(m, &p);
    if (!rc) rc = head_loss(m, b, out, grad_scale);
    m->teacher.on = m->listening.on = false;
    mem_guard_end();
    if (!rc) rc = group_check_alike(m, m->final_h, "the last hidden states");
done:
    return follow_done(m, rc);
}

int lvlm_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, float *nll, float grad_scale)
{
    return lvlm_forward_beside(m, b, ad, NULL, NULL, (struct lvlm_losses){.nll = nll}, grad_scale);
}
