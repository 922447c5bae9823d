/* residual.c - what is added to the logits of a sample: a weighted sum of vectors over the vocabulary.
 *
 *     z[row] = lm_head h[row] + sum over residuals t of c[sample of row, t] r_t
 *
 * They stand behind the increments in an adapter set (model/adapters.h). A pass takes the set apart: the decoder sees the
 * increments alone, and lm_head's logits get the rest, whatever becomes of them: loss, greedy choice, or copies. A rank of a
 * group holds its own columns of each vector. Both directions are products of few rows; the gradient is read off the
 * gradient of the logits, which the loss leaves behind chunk by chunk.
 */
#include "io/err.h"
#include "model/follow.h"
#include "model/lvlm_internal.h"

#include <string.h>

struct adapters increments_of(const struct adapters *ad)
{
    struct adapters inc = ad ? *ad : (struct adapters){0};

    inc.slots -= inc.residuals;
    inc.residuals = 0;
    return inc;
}

void residual_free(struct lvlm *m)
{
    struct residuals *k = &m->residual;

    if (k->r) m->be->free(k->r);
    if (k->coef) m->be->free(k->coef);
    if (k->sum) m->be->free(k->sum);
    mem_free(k->version), mem_free(k->row_coef), mem_free(k->slot_coef), mem_free(k->host);
    *k = (struct residuals){0};
}

/* Places for n vectors; those that are loaded stay, since who loaded them may have them no more. */
static int reserve_vectors(struct lvlm *m, int n)
{
    int rc;
    struct residuals *k = &m->residual;
    const int64_t V = m->own.V;
    float *r = m->be->alloc((size_t)(n * V) * sizeof *r);
    uint64_t *version = mem_new((size_t)n, sizeof *version);

    if (!k->sum) k->sum = m->be->alloc((size_t)V * sizeof *k->sum);
    if (!k->host) k->host = mem_new((size_t)m->c.text.vocab, sizeof *k->host);
    if (!r || !version || !k->sum || !k->host)
        FAIL(CL_ENOMEM, "no memory for %d residuals of %lld logits", n, (long long)V);
    if (k->room) {
        TRY(m->be->copy(tensor_of(r, DT_F32, k->room, V), tensor_of(k->r, DT_F32, k->room, V)));
        memcpy(version, k->version, (size_t)k->room * sizeof *version);
        m->be->free(k->r), mem_free(k->version);
    }
    k->r = r, k->version = version, k->room = n;
    return CL_OK;
done:
    if (r) m->be->free(r);
    mem_free(version);
    return rc;
}

int residual_reserve(struct lvlm *m, const struct lvlm_limits *l)
{
    int rc = CL_OK;
    struct residuals *k = &m->residual;
    const int64_t n = l->residuals, rows = l->rows > l->samples ? l->rows : l->samples;
    const int64_t slots = (int64_t)l->samples * (l->slots - l->residuals);

    if (n > k->room) TRY(reserve_vectors(m, (int)n));
    if (rows * n > k->rows) {
        if (k->coef) m->be->free(k->coef);
        mem_free(k->row_coef);
        k->coef = m->be->alloc((size_t)(rows * n) * sizeof *k->coef);
        k->row_coef = mem_new((size_t)(rows * n), sizeof *k->row_coef);
        k->rows = k->coef && k->row_coef ? rows * n : 0;
        if (!k->rows) FAIL(CL_ENOMEM, "no memory for the residuals' coefficients of %lld rows", (long long)rows);
    }
    if (n && slots > k->slots) {
        mem_free(k->slot_coef);
        k->slot_coef = mem_new((size_t)slots, sizeof *k->slot_coef);
        k->slots = k->slot_coef ? slots : 0;
        if (!k->slot_coef) FAIL(CL_ENOMEM, "no memory for the coefficients of %lld slots", (long long)slots);
    }
done:
    return rc;
}

int set_check(const struct lvlm *m, const struct adapters *ad)
{
    int rc;
    const struct residuals *k = &m->residual;
    const struct adapters inc = increments_of(ad);

    TRY(bank_check(m, &inc));
    if (!ad || !ad->residuals) goto done;
    if (ad->residuals > k->room || ad->residuals > ad->slots)
        FAIL(CL_EINTERNAL, "adapter set of %d residuals of the logits (reserved: %d)", ad->residuals, k->room);
    for (int i = 0; i < ad->residuals && !is_member(m); i++)
        if (k->version[i] != ad->slot[inc.slots + i].version && !ad->slot[inc.slots + i].A)
            FAIL(CL_EINTERNAL, "residual %d of a set of %d has no values, and none of this version are loaded", i,
                 ad->residuals);
done:
    return rc;
}

uint64_t set_version(const struct lvlm *m, const struct adapters *ad, int i)
{
    const int inc = ad->slots - ad->residuals;

    if (i >= inc) return i - inc < m->residual.room ? m->residual.version[i - inc] : 0;
    return inc == m->bank.slots ? m->bank.version[i] : 0;
}

/* One vector: whole at the leader, its own columns on every rank. */
static int load(struct lvlm *m, int i, const struct adapter_slot *slot)
{
    int rc;
    struct residuals *k = &m->residual;
    const size_t V = (size_t)m->c.text.vocab, own = (size_t)m->own.V;

    if (!is_member(m)) memcpy(k->host, slot->A, V * sizeof *k->host);
    TRY(comm_broadcast(comm_of(m), k->host, V * sizeof *k->host, 0));
    TRY(m->be->upload(k->r + (size_t)i * own, k->host + m->own.V0, own * sizeof *k->r));
    k->version[i] = slot->version;
done:
    return rc;
}

int set_load(struct lvlm *m, const struct adapters *ad)
{
    int rc;
    struct residuals *k = &m->residual;
    const struct adapters inc = increments_of(ad);

    TRY(bank_load(m, &inc));
    if (k->room && (!ad || !ad->residuals)) memset(k->version, 0, (size_t)k->room * sizeof *k->version);
    for (int i = 0; ad && i < ad->residuals; i++)
        if (k->version[i] != ad->slot[inc.slots + i].version) TRY(load(m, i, &ad->slot[inc.slots + i]));
done:
    return rc;
}

const struct adapters *set_split(struct lvlm *m, const struct adapters *ad, int samples)
{
    struct residuals *k = &m->residual;

    if (!ad || !ad->residuals) return ad;
    k->increments = increments_of(ad);
    for (int s = 0; s < samples; s++)
        memcpy(k->slot_coef + (int64_t)s * k->increments.slots, ad->coef + (int64_t)s * ad->slots,
               (size_t)k->increments.slots * sizeof *k->slot_coef);
    k->increments.coef = k->slot_coef;
    return &k->increments;
}

int residual_begin(struct lvlm *m, const struct adapters *ad, int samples, const int64_t *cu_row)
{
    struct residuals *k = &m->residual;
    const int n = ad ? ad->residuals : 0, first = ad ? ad->slots - n : 0;
    const int64_t rows = cu_row ? cu_row[samples] : samples;

    k->n = n, k->learn = ad && ad->learned > 0;
    if (!n) return CL_OK;
    for (int s = 0; s < samples; s++)
        for (int64_t r = cu_row ? cu_row[s] : s; r < (cu_row ? cu_row[s + 1] : s + 1); r++)
            memcpy(k->row_coef + r * n, ad->coef + (int64_t)s * ad->slots + first, (size_t)n * sizeof *k->row_coef);
    return m->be->upload(k->coef, k->row_coef, (size_t)(rows * n) * sizeof *k->coef);
}

/* Coefficients of rows [first, first + n): (n, residuals). */
static struct tensor coefficients(struct lvlm *m, int64_t first, int64_t n)
{
    return tensor_of(m->residual.coef + first * m->residual.n, DT_F32, n, m->residual.n);
}

int residual_add(struct lvlm *m, struct tensor logits, int64_t first)
{
    const struct residuals *k = &m->residual;

    if (!k->n) return CL_OK;
    return m->be->gemm(logits, coefficients(m, first, logits.rows), false, tensor_of(k->r, DT_F32, k->n, m->own.V),
                       false, true);
}

int residual_back(struct lvlm *m, struct tensor dlogits, int64_t first)
{
    struct residuals *k = &m->residual;
    struct tensor c = coefficients(m, first, dlogits.rows);

    if (!k->n || !k->learn) return CL_OK;
    c.cols = 1; // of the first alone: the one that learns
    return m->be->gemm(tensor_of(k->sum, DT_F32, 1, m->own.V), c, true, dlogits, false, true);
}

int residual_clear(struct lvlm *m)
{
    return m->residual.room ? m->be->zero(tensor_of(m->residual.sum, DT_F32, 1, m->own.V)) : CL_OK;
}

void residual_spread(double *dcoef, int samples, int slots, int residuals)
{
    const size_t inc = (size_t)(slots - residuals);

    for (int64_t s = samples - 1; residuals && s >= 0; s--) { // from behind: rows grow into free room
        memmove(dcoef + s * slots, dcoef + s * (int64_t)inc, inc * sizeof *dcoef);
        memset(dcoef + s * slots + inc, 0, (size_t)residuals * sizeof *dcoef);
    }
}

int lvlm_residual_read(struct lvlm *m, float *sum)
{
    int rc;
    struct residuals *k = &m->residual;

    if (!k->room) return err_set(CL_EINTERNAL, "gradient of a residual of the logits, but none is reserved");
    TRY(follow_residual_read(m));
    TRY(m->be->download(k->host, k->sum, (size_t)m->own.V * sizeof *k->host));
    TRY(head_collect(m, sum, k->host, 1));
done:
    return follow_done(m, rc);
}
