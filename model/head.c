/* head.c - what becomes of the last hidden states: loss and its gradient, greedy choices, logits.
 *
 * lm_head runs in chunks of rows, and in training each chunk's logits become their gradient at once, so that (rows x
 * vocabulary) never stands in memory. Where ranks share the vocabulary each has logits of its own columns, and what the
 * others need to know of a row is three numbers for the softmax, two for the greedy choice. Everybody puts the parts together
 * in rank order, so all get the same bits. A chunk has more rows then: the same memory, fewer exchanges.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <math.h>
#include <string.h>

enum { LOGIT_CHUNK = 128 }; // rows; 128 x 32064 f32 = 16 MB

int64_t head_chunk_of(int ranks)
{
    return (int64_t)LOGIT_CHUNK * ranks;
}

int64_t head_chunk(const struct lvlm *m)
{
    return head_chunk_of(m->tp ? m->tp->size : 1);
}

int head_reserve(struct lvlm *m, int64_t rows)
{
    size_t size = (size_t)(m->tp ? m->tp->size : 1), chunk = (size_t)(rows < head_chunk(m) ? rows : head_chunk(m));

    head_free(m);
    if (!(m->soft = mem_new((size + 1) * chunk, sizeof *m->soft)))
        return err_set(CL_ENOMEM, "no memory for the parts of a softmax");
    if (!is_shared(m)) return CL_OK;
    m->part = mem_new((size + 1) * chunk, sizeof *m->part);
    m->choice = mem_new(size * chunk, sizeof *m->choice);
    m->top = mem_new(chunk, sizeof *m->top);
    if (!m->part || !m->choice || !m->top) return err_set(CL_ENOMEM, "no memory for the parts of a softmax");
    return CL_OK;
}

void head_free(struct lvlm *m)
{
    mem_free(m->part), mem_free(m->choice), mem_free(m->top), mem_free(m->soft);
    m->part = NULL, m->choice = NULL, m->top = NULL, m->soft = NULL;
}

int head_reserve_other(struct lvlm *m, struct other_pass *o)
{
    const int64_t rows = m->train_limits.rows, chunk = rows < head_chunk(m) ? rows : head_chunk(m);

    if (rows <= o->h.rows) return CL_OK;
    head_free_other(m, o);
    o->h = tensor_of(m->be->alloc((size_t)(rows * m->D) * dtype_size(m->be->act)), m->be->act, rows, m->D);
    o->logits = m->be->alloc((size_t)(chunk * m->own.V) * sizeof(float));
    if (o->h.data && o->logits) return CL_OK;
    head_free_other(m, o);
    return err_set(CL_ENOMEM, "no memory for %lld answer rows of another pass; hint: lower stage2.micro_batch",
                   (long long)rows);
}

void head_free_other(struct lvlm *m, struct other_pass *o)
{
    if (o->h.data) m->be->free(o->h.data);
    if (o->logits) m->be->free(o->logits);
    memset(o, 0, sizeof *o);
}

/* t (n, V) := this rank's columns of the logits of rows [first, first + n) of final_h. */
static int logits_of(struct lvlm *m, struct tensor t, int64_t first, int64_t n)
{
    int rc;

    TRY(m->be->linear(t, tensor_rows(m->final_h, first, n), m->head, NULL, false));
    TRY(residual_add(m, t, first));
done:
    return rc;
}

/* ---- loss */

/* A row's softmax from its parts, n rows apart. */
static struct softmax_part join(const struct softmax_part *part, int64_t n, int ranks)
{
    struct softmax_part whole = part[0];
    double sum = 0;

    for (int r = 1; r < ranks; r++) {
        whole.top = fmaxf(whole.top, part[r * n].top);
        whole.target = fmaxf(whole.target, part[r * n].target);
    }
    for (int r = 0; r < ranks; r++) sum += (double)part[r * n].sum * exp((double)part[r * n].top - (double)whole.top);
    whole.sum = (float)sum;
    return whole;
}

static int shared_loss(struct lvlm *m, struct tensor logits, const int32_t *target, float *nll, float grad_scale)
{
    int rc;
    const int64_t n = logits.rows, size = m->tp->size;
    struct softmax_part *whole = m->part + size * n;

    TRY(m->be->softmax_part(m->part + m->tp->rank * n, logits, target, m->own.V0));
    TRY(comm_gather(comm_of(m), m->part, NULL, (size_t)n * sizeof *m->part));
    for (int64_t r = 0; r < n; r++) {
        whole[r] = join(m->part + r, n, (int)size);
        if (nll) nll[r] = (float)(log((double)whole[r].sum) + ((double)whole[r].top - (double)whole[r].target));
    }
    if (grad_scale != 0) TRY(m->be->softmax_grad(logits, whole, target, m->own.V0, grad_scale));
    rc = CL_OK;
done:
    return rc;
}

static struct soft_part join_soft(const struct soft_part *part, int64_t n, int ranks)
{
    struct soft_part whole = {.top = part[0].top, .other_top = part[0].other_top};

    for (int r = 1; r < ranks; r++) {
        whole.top = fmax(whole.top, part[r * n].top);
        whole.other_top = fmax(whole.other_top, part[r * n].other_top);
    }
    for (int r = 0; r < ranks; r++) {
        const struct soft_part *p = &part[r * n];
        double shift = exp(p->other_top - whole.other_top);
        whole.sum += p->sum * exp(p->top - whole.top);
        whole.other_sum += p->other_sum * shift;
        whole.cross += p->cross * shift;
    }
    return whole;
}

int head_soft(struct lvlm *m, const struct soft_part **out, struct tensor logits, struct tensor other,
              float temperature)
{
    int rc;
    const int64_t n = logits.rows;
    const int ranks = m->tp ? m->tp->size : 1;
    struct soft_part *whole = m->soft + ranks * n;

    TRY(m->be->soft_part(m->soft + (m->tp ? m->tp->rank : 0) * n, logits, other, temperature));
    TRY(comm_gather(comm_of(m), m->soft, NULL, (size_t)n * sizeof *m->soft));
    for (int64_t r = 0; r < n; r++) whole[r] = join_soft(m->soft + r, n, ranks);
    *out = whole;
done:
    return rc;
}

/* soft (n, V) := what straying from the teacher adds to the gradient of these logits, of rows from `first` on. The teacher's
 * logits are made anew from its hidden states, chunk by chunk as the others. */
static int soft_loss(struct lvlm *m, struct tensor soft, struct tensor logits, float *kl, float grad_scale,
                     int64_t first)
{
    int rc;
    const int64_t n = logits.rows;
    const float T = m->teacher.temperature;
    const struct soft_part *whole;

    TRY(m->be->linear(soft, tensor_rows(m->teacher.at.h, first, n), m->lm_head, NULL, false));
    TRY(head_soft(m, &whole, logits, soft, T));
    for (int64_t r = 0; r < n; r++) {
        const struct soft_part *p = whole + r;
        double d = p->cross / p->other_sum - (p->other_top + log(p->other_sum)) + (p->top + log(p->sum));
        if (kl) kl[r] = (float)((double)T * (double)T * d);
    }
    TRY(m->be->soft_grad(soft, logits, whole, T, grad_scale * m->teacher.weight * T));
done:
    return rc;
}

/* One chunk of answer rows: losses and, in training, the gradient at final_h. */
static int loss_chunk(struct lvlm *m, const struct packed_batch *b, struct lvlm_losses out, float grad_scale,
                      int64_t first, int64_t n)
{
    int rc;
    size_t mark = arena_mark(&m->arena);
    struct tensor logits = arena_tensor(&m->arena, DT_F32, n, m->own.V), d, soft, apart;
    float *nll = out.nll ? out.nll + first : NULL;

    TRY(logits_of(m, logits, first, n));
    if (m->teacher.on) {
        soft = tensor_of(m->teacher.at.logits, DT_F32, n, m->own.V);
        TRY(soft_loss(m, soft, logits, out.kl ? out.kl + first : NULL, grad_scale, first));
    }
    if (m->listening.on) TRY(listen_loss(m, &apart, logits, out.jsd ? out.jsd + first : NULL, grad_scale, first));
    if (is_shared(m))
        TRY(shared_loss(m, logits, b->target + first, nll, grad_scale));
    else
        TRY(m->be->cross_entropy(nll, logits, b->target + first, grad_scale));
    if (m->teacher.on) TRY(m->be->add(logits, soft));
    if (m->listening.on) TRY(m->be->add(logits, apart));
    if (grad_scale != 0) {
        TRY(residual_back(m, logits, first));
        TRY(as_activation(m, &d, logits));
        TRY(m->be->linear_back(tensor_rows(m->dfinal, first, n), d, m->lm_head, false));
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int head_loss(struct lvlm *m, const struct packed_batch *b, struct lvlm_losses out, float grad_scale)
{
    int rc = CL_OK;
    const int64_t chunk = head_chunk(m);

    for (int64_t i = 0; !rc && i < b->rows; i += chunk)
        rc = loss_chunk(m, b, out, grad_scale, i, b->rows - i < chunk ? b->rows - i : chunk);
    return rc;
}

/* ---- greedy choice */

/* id[r] of n rows by what every rank has chosen among its columns: the lower rank has the lower ids. */
static void join_choices(const struct lvlm *m, int32_t *id, int64_t n)
{
    for (int64_t r = 0; r < n; r++) {
        float top = 0;
        id[r] = -1;
        for (int k = 0; k < m->tp->size && id[r] != -2; k++) {
            const struct choice *c = &m->choice[k * n + r];
            if (c->id == -2 || (c->id >= 0 && (id[r] < 0 || c->top > top))) id[r] = c->id, top = c->top;
        }
    }
}

static int shared_choice(struct lvlm *m, int32_t *id, struct tensor logits, const uint8_t *allowed)
{
    int rc;
    const int64_t n = logits.rows, V0 = m->own.V0;
    struct choice *mine = m->choice + m->tp->rank * n;

    TRY(m->be->argmax(id, m->top, logits, allowed ? allowed + V0 : NULL));
    for (int64_t r = 0; r < n; r++) mine[r] = (struct choice){m->top[r], id[r] < 0 ? id[r] : id[r] + (int32_t)V0};
    TRY(comm_gather(comm_of(m), m->choice, NULL, (size_t)n * sizeof *mine));
    join_choices(m, id, n);
    rc = CL_OK;
done:
    return rc;
}

/* The members have done their part by then: nobody is out of step. */
static int check_choices(struct lvlm *m, const int32_t *id, int64_t n)
{
    if (is_member(m) || !comm_of(m)) return CL_OK;
    for (int64_t r = 0; r < n; r++) {
        if (id[r] >= 0) continue;
        follow_done(m, CL_OK);
        return id[r] == -2 ? err_set(CL_ENUM, "row %lld of the logits holds NaN; hint: check the weights", (long long)r)
                           : err_set(CL_EINTERNAL, "argmax: none of %d columns is allowed", m->c.text.vocab);
    }
    return CL_OK;
}

int head_choose(struct lvlm *m, int64_t n, const uint8_t *allowed, int32_t *next)
{
    int rc = CL_OK;
    const int64_t chunk = head_chunk(m);

    for (int64_t i = 0; i < n && !rc; i += chunk) {
        size_t mark = arena_mark(&m->arena);
        int64_t rows = n - i < chunk ? n - i : chunk;
        struct tensor t = arena_tensor(&m->arena, DT_F32, rows, m->own.V);
        if (!(rc = logits_of(m, t, i, rows)))
            rc = is_shared(m) ? shared_choice(m, next + i, t, allowed) : m->be->argmax(next + i, NULL, t, allowed);
        arena_back(&m->arena, mark);
    }
    return rc || !is_shared(m) ? rc : check_choices(m, next, n);
}

/* ---- logits */

/* Columns [first, first + n) of rows of the vocabulary. */
static void put_columns(float *logits, int64_t V, const float *block, int64_t rows, int64_t first, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) memcpy(logits + r * V + first, block + r * n, (size_t)n * sizeof *logits);
}

int head_collect(struct lvlm *m, float *logits, float *block, int64_t rows)
{
    int rc = CL_OK;
    struct comm *c = comm_of(m);
    int64_t V = m->c.text.vocab, first, n;

    if (is_member(m)) return comm_send(c, block, (size_t)(rows * m->own.V) * sizeof *block, 0);
    put_columns(logits, V, block, rows, m->own.V0, m->own.V);
    for (int r = 1; r < comm_size(c); r++) {
        tp_shard(&first, &n, V, &(struct tp){.rank = r, .size = m->tp->size});
        TRY(comm_receive(c, block, (size_t)(rows * n) * sizeof *block, r));
        put_columns(logits, V, block, rows, first, n);
    }
done:
    return rc;
}

int lvlm_logits(struct lvlm *m, float *logits, int64_t rows)
{
    int rc;
    int64_t V = m->c.text.vocab, chunk = head_chunk(m);
    size_t mark = arena_mark(&m->arena);
    float *block = NULL;

    TRY(follow_logits(m, rows));
    if (!(block = mem_new((size_t)(rows < chunk ? rows : chunk), (size_t)m->own.V * sizeof *block)))
        FAIL(CL_ENOMEM, "no memory for the logits of %lld rows", (long long)rows);
    for (int64_t i = 0; i < rows; i += chunk) {
        int64_t n = rows - i < chunk ? rows - i : chunk;
        struct tensor t = arena_tensor(&m->arena, DT_F32, n, m->own.V);
        TRY(logits_of(m, t, i, n));
        TRY(m->be->download(block, t.data, (size_t)(n * m->own.V) * sizeof *block));
        TRY(head_collect(m, logits ? logits + i * V : NULL, block, n));
        arena_back(&m->arena, mark);
    }
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    mem_free(block);
    return follow_done(m, rc);
}
