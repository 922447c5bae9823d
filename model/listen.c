/* listen.c - answers to questions are kept apart from those to the same questions without their key parts (struct listening).
 *
 * The masked questions' pass leaves its last hidden states; chunk by chunk they become logits again, as a teacher's do (head.c).
 * Where ranks share the vocabulary they exchange twice: what makes the two softmaxes of a row, then each rank's share of the
 * divergence, by which all decide alike whether a row is far enough.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <math.h>
#include <string.h>

void listen_free(struct lvlm *m)
{
    head_free_other(m, &m->listening.at);
    mem_free(m->listening.hears), mem_free(m->listening.jsd), mem_free(m->listening.factor);
    memset(&m->listening, 0, sizeof m->listening);
}

int listen_reserve(struct lvlm *m)
{
    int rc = CL_OK;
    const int64_t rows = m->train_limits.rows, chunk = rows < head_chunk(m) ? rows : head_chunk(m);
    const size_t ranks = (size_t)(m->tp ? m->tp->size : 1), n = (size_t)chunk;

    if (rows <= m->listening.at.h.rows) return CL_OK;
    listen_free(m);
    m->listening.hears = mem_new((size_t)rows, sizeof *m->listening.hears);
    m->listening.jsd = mem_new((ranks + 1) * n, sizeof *m->listening.jsd);
    m->listening.factor = mem_new(n, sizeof *m->listening.factor);
    if (!m->listening.hears || !m->listening.jsd || !m->listening.factor)
        FAIL(CL_ENOMEM, "no memory for masked questions of %lld answer rows", (long long)rows);
    TRY(head_reserve_other(m, &m->listening.at)); // last: its rows say that all is there
done:
    return rc;
}

int listen_check(const struct packed_batch *b, const struct packed_batch *masked)
{
    bool same = masked->samples == b->samples && masked->rows == b->rows && masked->pictures == b->pictures;

    for (int s = 0; same && s < b->samples; s++) same = masked->cu_row[s + 1] == b->cu_row[s + 1];
    for (int64_t r = 0; same && r < b->rows; r++) same = masked->target[r] == b->target[r];
    for (int i = 0; same && i < b->pictures; i++) same = masked->feature[i] == b->feature[i];
    if (same) return CL_OK;
    return err_set(CL_EINTERNAL, "masked questions that do not have the batch's answers and pictures");
}

static bool is_other(const struct packed_batch *b, const struct packed_batch *masked, int s)
{
    const int64_t n = b->cu[s + 1] - b->cu[s];

    return masked->cu[s + 1] - masked->cu[s] != n ||
           memcmp(b->id + b->cu[s], masked->id + masked->cu[s], (size_t)n * sizeof *b->id);
}

void listen_begin(struct lvlm *m, const struct packed_batch *b, const struct listening *l)
{
    for (int s = 0; s < b->samples; s++) {
        const bool other = is_other(b, l->masked, s);
        for (int64_t r = b->cu_row[s]; r < b->cu_row[s + 1]; r++) m->listening.hears[r] = other;
    }
    m->listening.weight = l->weight, m->listening.margin = l->margin;
    m->listening.on = true;
}

/* A row's divergence in bits, of all ranks' shares; *whole: their sums. */
static double divergence(struct jsd_part *whole, const struct jsd_part *part, int64_t n, int ranks)
{
    *whole = (struct jsd_part){0};
    for (int r = 0; r < ranks; r++) whole->mine += part[r * n].mine, whole->other += part[r * n].other;
    return fmin(fmax((whole->mine + whole->other) / (2 * M_LN2), 0), 1); // beyond them by rounding alone
}

int listen_loss(struct lvlm *m, struct tensor *gradient, struct tensor logits, float *jsd, float grad_scale,
                int64_t first)
{
    int rc;
    const int64_t n = logits.rows;
    const int ranks = m->tp ? m->tp->size : 1, rank = m->tp ? m->tp->rank : 0;
    const float step = -grad_scale * m->listening.weight / (float)M_LN2; // towards what is farther apart
    const struct tensor other = tensor_of(m->listening.at.logits, DT_F32, n, m->own.V);
    struct jsd_part *part = m->listening.jsd, *whole = part + ranks * n;
    const struct soft_part *soft;

    TRY(m->be->linear(other, tensor_rows(m->listening.at.h, first, n), m->lm_head, NULL, false));
    TRY(residual_add(m, other, first));
    TRY(head_soft(m, &soft, logits, other, 1));
    TRY(m->be->jsd_part(part + rank * n, logits, other, soft));
    TRY(comm_gather(comm_of(m), part, NULL, (size_t)n * sizeof *part));
    for (int64_t r = 0; r < n; r++) {
        const bool hears = m->listening.hears[first + r];
        const double bits = divergence(&whole[r], part + r, n, ranks);
        m->listening.factor[r] = hears && bits < (double)m->listening.margin ? step : 0;
        if (jsd) jsd[r] = hears ? (float)bits : -1;
    }
    TRY(m->be->jsd_grad(other, logits, soft, whole, m->listening.factor));
    *gradient = other;
done:
    return rc;
}
