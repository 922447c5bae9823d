/* hand.c - micro-batches through the model, one after the other. */
#include "jobs/hand.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/job.h"
#include "model/follow.h"
#include "mpi/ranks.h"

void hand_free(struct hand *h)
{
    mem_free(h->nll), mem_free(h->kl), mem_free(h->jsd), mem_free(h->dcoef), mem_free(h->dA), mem_free(h->dB);
    *h = (struct hand){.j = h->j};
}

int hand_reserve(struct hand *h, const struct lvlm_limits *l)
{
    int rc;

    TRY(lvlm_reserve(h->j->lvlm, l));
    if (l->rows <= h->rows) goto done;
    mem_free(h->nll), mem_free(h->kl), mem_free(h->jsd), h->rows = 0;
    h->nll = mem_new((size_t)l->rows, sizeof *h->nll), h->kl = mem_new((size_t)l->rows, sizeof *h->kl);
    h->jsd = mem_new((size_t)l->rows, sizeof *h->jsd);
    if (!h->nll || !h->kl || !h->jsd) FAIL(CL_ENOMEM, "no memory for the losses of %lld tokens", (long long)l->rows);
    h->rows = l->rows;
done:
    return rc;
}

/* Room for the coefficients' gradients of the whole step: the ranks of a group sum them all at once. */
static int reserve_dcoef(struct hand *h, const struct crew_micro *m, int n, int first, int stride, int slots,
                         int64_t *count)
{
    *count = 0;
    for (int k = first; k < n; k += stride) *count += (int64_t)m[k].pack->samples * slots;
    if (*count <= h->dcoefs) return CL_OK;
    mem_free(h->dcoef), h->dcoefs = 0;
    if (!(h->dcoef = mem_new((size_t)*count, sizeof *h->dcoef)))
        return err_set(CL_ENOMEM, "no memory for the gradients of %lld coefficients", (long long)*count);
    h->dcoefs = *count;
    return CL_OK;
}

/* A row's divergence, -1: it has none. */
static void hear(struct heard *h, double jsd, double margin)
{
    if (jsd < 0) return;
    h->jsd += jsd, h->missing += fmax(0, margin - jsd);
    h->rows++;
}

static int forward(struct hand *h, struct crew_micro *m, const struct adapters *set, float grad_scale)
{
    int rc;
    struct packed_batch *b = m->pack;
    const struct listening *l = &m->listening;

    if (b->rows > h->rows)
        FAIL(CL_EINTERNAL, "%lld answer rows (reserved %lld)", (long long)b->rows, (long long)h->rows);
    if (b->pictures) TRY(features_get(h->j->features, m->picture, b->pictures, b->feature));
    for (int i = 0; l->masked && i < b->pictures; i++) l->masked->feature[i] = b->feature[i];
    TRY(lvlm_forward_beside(h->j->lvlm, b, set, &m->teacher, l, (struct lvlm_losses){h->nll, h->kl, h->jsd},
                            grad_scale));
    m->nll = m->kl = 0;
    m->heard = (struct heard){0};
    for (int64_t i = 0; i < b->rows; i++) m->nll += (double)h->nll[i];
    for (int64_t i = 0; m->teacher.coef && i < b->rows; i++) m->kl += (double)h->kl[i];
    for (int64_t i = 0; l->masked && i < b->rows; i++) hear(&m->heard, (double)h->jsd[i], (double)l->margin);
done:
    return rc;
}

int hand_run(struct hand *h, struct crew_micro *m, int n, int first, int stride, const struct adapters *set,
             float grad_scale, int *odd)
{
    int rc, slots = set ? set->slots : 0;
    bool train = grad_scale != 0;
    int64_t count = 0, at = 0;

    if (train) {
        TRY(reserve_dcoef(h, m, n, first, stride, slots, &count));
        TRY(lvlm_grads_clear(h->j->lvlm));
    }
    for (int k = first; k < n; k += stride) {
        struct adapters ad = set ? *set : (struct adapters){0};
        ad.coef = m[k].coef;
        TRY(forward(h, &m[k], set ? &ad : NULL, grad_scale));
        if (!isfinite(m[k].nll)) {
            *odd = k;
            FAIL(CL_ENUM, "loss is not finite");
        }
        if (train) TRY(lvlm_backward(h->j->lvlm, m[k].pack, &ad, h->dcoef + at));
        at += (int64_t)m[k].pack->samples * slots;
    }
    rc = CL_OK;
    if (!train) goto done;
    TRY(lvlm_coef_reduce(h->j->lvlm, h->dcoef, count));
    at = 0;
    for (int k = first; k < n; k += stride) {
        int64_t mine = (int64_t)m[k].pack->samples * slots;
        memcpy(m[k].dcoef, h->dcoef + at, (size_t)mine * sizeof *h->dcoef);
        at += mine;
    }
done:
    return rc;
}

static int reserve_gradients(struct hand *h, int64_t a, int64_t b)
{
    if (a <= h->dA_n && b <= h->dB_n) return CL_OK;
    mem_free(h->dA), mem_free(h->dB);
    h->dA = mem_new((size_t)a, sizeof *h->dA), h->dB = mem_new((size_t)b, sizeof *h->dB);
    h->dA_n = h->dB_n = 0;
    if (!h->dA || !h->dB)
        return err_set(CL_ENOMEM, "no memory for the gradients of a sample (%lld numbers)", (long long)(a + b));
    h->dA_n = a, h->dB_n = b;
    return CL_OK;
}

static void add_squares(float *sum, const float *x, int64_t n)
{
#pragma omp parallel for simd schedule(static) if (n >= 1 << 16)
    for (int64_t i = 0; i < n; i++) sum[i] += x[i] * x[i];
}

int hand_squares(struct hand *h, struct crew_micro *m, int n, int first, int stride, const struct adapters *set,
                 float grad_scale, float *A, float *B, int *odd)
{
    int rc;
    const struct text_config *t = &h->j->base.text;
    const int64_t a = set->learned * adapter_a_size(set->rank, t->layers, h->j->on.H, t->hidden),
                  b = set->learned * adapter_b_size(set->rank, t->layers, h->j->on.D);

    TRY(reserve_gradients(h, a, b));
    memset(A, 0, (size_t)a * sizeof *A), memset(B, 0, (size_t)b * sizeof *B);
    for (int k = first; k < n; k += stride) {
        TRY(hand_run(h, m, k + 1, k, 1, set, grad_scale, odd));
        TRY(lvlm_grads_read(h->j->lvlm, h->dA, h->dB, set->learned, set->rank));
        add_squares(A, h->dA, a);
        add_squares(B, h->dB, b);
    }
    rc = CL_OK;
done:
    return rc;
}

void hand_name_place(struct lvlm *m)
{
    char said[1024], where[256];
    const char *hint;

    snprintf(said, sizeof said, "%s", err_text());
    if (lvlm_find_nonfinite(m, where, sizeof where)) *where = 0;
    if (!(hint = strstr(said, "; hint: "))) hint = said + strlen(said);
    err_set(CL_ENUM, "%.*s%s%s%s", (int)(hint - said), said, *where ? ", first in " : "", where, hint);
}

int hand_embed(struct hand *h, float *out, const char *const *text, size_t n)
{
    const struct config *f = &h->j->cfg;

    return follow_embed(ranks_now()->tp, h->j->encoder, f->encoder, f->base, out, text, n);
}

int hand_see(struct hand *h, float *out, const char *const *picture, size_t n)
{
    enum { TOGETHER = 4 };
    int rc = CL_OK;
    const struct feature *f[TOGETHER];
    const size_t K = (size_t)h->j->base.vision.hidden;

    for (size_t i = 0; i < n; i += TOGETHER) {
        const int now = (int)(n - i < TOGETHER ? n - i : TOGETHER);
        TRY(features_get(h->j->features, picture + i, now, f));
        for (int k = 0; k < now; k++) TRY(lvlm_feature_mean(h->j->lvlm, out + (i + (size_t)k) * K, f[k]));
    }
done:
    return rc;
}
