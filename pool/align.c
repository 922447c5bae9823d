/* align.c - loss, gradient and step of the keys. */
#include "pool/align.h"

#include "io/err.h"
#include "model/tensor.h"
#include "pool/select.h"

#include <math.h>
#include <string.h>

int align_open(struct align *a, const struct pool *p, int slots, double weight_decay, double clip)
{
    const size_t n = (size_t)slots * (size_t)p->K;

    *a = (struct align){.slots = slots, .K = p->K, .clip = clip};
    a->adam = (struct adamw){0.9, 0.999, 1e-8, weight_decay};
    a->sum = mem_new(n, sizeof *a->sum);
    a->grad = mem_new(n, sizeof *a->grad);
    a->m = mem_new(n, sizeof *a->m);
    a->v = mem_new(n, sizeof *a->v);
    a->s_norm = mem_new((size_t)p->groups, sizeof *a->s_norm);
    a->idx = mem_new((size_t)p->top_m, sizeof *a->idx);
    a->sim = mem_new((size_t)p->top_m, sizeof *a->sim);
    if (!a->sum || !a->grad || !a->m || !a->v || !a->s_norm || !a->idx || !a->sim)
        return err_set(CL_ENOMEM, "no memory for the keys of %d slots", slots);
    return CL_OK;
}

void align_close(struct align *a)
{
    mem_free(a->sum);
    mem_free(a->grad);
    mem_free(a->m);
    mem_free(a->v);
    mem_free(a->s_norm);
    mem_free(a->idx);
    mem_free(a->sim);
    *a = (struct align){0};
}

void align_begin_task(struct align *a)
{
    const size_t n = (size_t)a->slots * (size_t)a->K;

    memset(a->m, 0, n * sizeof *a->m);
    memset(a->v, 0, n * sizeof *a->v);
    a->steps = 0;
}

void align_cosine_gradient(double *sum, const struct pool *p, int n, const float *s, const double *s_norm,
                           double factor)
{
    const int part = p->K / p->groups;

    for (int g = 0; g < p->groups; g++) {
        const float *k = p->keys + (int64_t)n * p->K + g * part, *q = s + g * part;
        const double nk = p->key_norm[(int64_t)n * p->groups + g], f = factor / p->groups / (nk * s_norm[g]);
        double dot = 0, along = 0;
        for (int i = 0; i < part; i++) dot += (double)k[i] * q[i];
        if (nk > 1e-12) along = dot / (nk * nk); // a norm at its lower bound is a constant
        for (int i = 0; i < part; i++) sum[g * part + i] += f * (q[i] - along * k[i]);
    }
}

/* Loss of the batch; its gradient into a->sum. */
static int batch_gradient(struct align *a, const struct pool *p, struct pool_range own, const float *const *embedding,
                          int n, double *loss)
{
    int rc;

    *loss = 0;
    memset(a->sum, 0, (size_t)a->slots * (size_t)a->K * sizeof *a->sum);
    for (int s = 0; s < n; s++) {
        int have = select_top(p, embedding[s], a->s_norm, own, p->top_m, a->idx, a->sim);
        if (have < 0) FAIL(CL_ENUM, "similarity of question %d of the batch is not finite; hint: check the encoder", s);
        for (int i = 0; i < have; i++) {
            *loss -= a->sim[i] / ((double)n * have);
            align_cosine_gradient(a->sum + (int64_t)(a->idx[i] - own.first) * a->K, p, a->idx[i], embedding[s],
                                  a->s_norm, -1 / ((double)n * have));
        }
    }
    rc = CL_OK;
done:
    return rc;
}

int align_step(struct align *a, struct pool *p, struct pool_range own, const float *const *embedding, int n, double lr,
               struct step_report *out)
{
    const int64_t count = (int64_t)a->slots * a->K;
    int rc;

    if (n < 1 || own.end - own.first != a->slots)
        FAIL(CL_EINTERNAL, "alignment of %d questions to %d slots (expected %d slots)", n, own.end - own.first,
             a->slots);
    TRY(batch_gradient(a, p, own, embedding, n, &out->loss));
    for (int64_t i = 0; i < count; i++) a->grad[i] = (float)a->sum[i];
    out->grad_norm = sqrt(optim_sum_squares(a->grad, count));
    if (!isfinite(out->loss) || !isfinite(out->grad_norm))
        FAIL(CL_ENUM, "stage 1: loss %g with gradient norm %g", out->loss, out->grad_norm);
    optim_adamw(&a->adam, p->keys + (int64_t)own.first * a->K, a->m, a->v, a->grad,
                optim_clip_scale(out->grad_norm, a->clip), count, ++a->steps, lr);
    pool_keys_changed(p, own);
    rc = CL_OK;
done:
    return rc;
}

int align_save(const struct align *a, struct ckpt *c)
{
    const int64_t shape[] = {a->slots, a->K};
    int rc;

    TRY(ckpt_write(c, "/resume/keys_m", CKPT_F32, 2, shape, a->m, false));
    TRY(ckpt_write(c, "/resume/keys_v", CKPT_F32, 2, shape, a->v, false));
    TRY(ckpt_attr_i64(c, "/resume", "keys_steps", a->steps));
done:
    return rc;
}

int align_load(struct align *a, struct ckpt *c)
{
    const int64_t shape[] = {a->slots, a->K};
    int rc;

    TRY(ckpt_read(c, "/resume/keys_m", CKPT_F32, 2, shape, a->m));
    TRY(ckpt_read(c, "/resume/keys_v", CKPT_F32, 2, shape, a->v));
    TRY(ckpt_get_i64(c, "/resume", "keys_steps", &a->steps));
    if (a->steps < 0) FAIL(CL_EFORMAT, "%s: /resume keys_steps is %lld", ckpt_path(c), (long long)a->steps);
done:
    return rc;
}
