/* learner.c - one optimizer step over the own slots. */
#include "pool/learner.h"

#include "io/err.h"
#include "model/tensor.h"

#include <math.h>
#include <string.h>

int learner_open(struct learner *l, const struct pool *p, int slots, int vector, const struct adamw *adam, double clip)
{
    const size_t a = (size_t)(slots * pool_a_size(p)), b = (size_t)(slots * pool_b_size(p)), x = (size_t)vector;

    *l = (struct learner){.slots = slots, .vector = vector, .a_count = (int64_t)a, .b_count = (int64_t)b};
    l->adam = *adam;
    l->clip = clip;
    l->x_rate = 1;
    l->dA = mem_new(a, sizeof *l->dA);
    l->mA = mem_new(a, sizeof *l->mA);
    l->vA = mem_new(a, sizeof *l->vA);
    l->dB = mem_new(b, sizeof *l->dB);
    l->mB = mem_new(b, sizeof *l->mB);
    l->vB = mem_new(b, sizeof *l->vB);
    l->dx = mem_new(x, sizeof *l->dx);
    l->gx = mem_new(x, sizeof *l->gx);
    l->mx = mem_new(x, sizeof *l->mx);
    l->vx = mem_new(x, sizeof *l->vx);
    if (!l->dA || !l->mA || !l->vA || !l->dB || !l->mB || !l->vB || !l->dx || !l->gx || !l->mx || !l->vx)
        return err_set(CL_ENOMEM,
                       "no memory for gradients and moments of %d slots of rank %d (%.1f MiB); hint: fewer slots",
                       slots, p->R, 3.0 * (double)(a + b) * sizeof(float) / (1 << 20));
    return CL_OK;
}

void learner_close(struct learner *l)
{
    mem_free(l->dA);
    mem_free(l->mA);
    mem_free(l->vA);
    mem_free(l->dB);
    mem_free(l->mB);
    mem_free(l->vB);
    mem_free(l->dx);
    mem_free(l->gx);
    mem_free(l->mx);
    mem_free(l->vx);
    *l = (struct learner){0};
}

static void clear_gradients(struct learner *l)
{
    memset(l->dA, 0, (size_t)l->a_count * sizeof *l->dA);
    memset(l->dB, 0, (size_t)l->b_count * sizeof *l->dB);
    memset(l->dx, 0, (size_t)l->vector * sizeof *l->dx);
}

void learner_begin_task(struct learner *l)
{
    clear_gradients(l);
    memset(l->mA, 0, (size_t)l->a_count * sizeof *l->mA);
    memset(l->vA, 0, (size_t)l->a_count * sizeof *l->vA);
    memset(l->mB, 0, (size_t)l->b_count * sizeof *l->mB);
    memset(l->vB, 0, (size_t)l->b_count * sizeof *l->vB);
    memset(l->mx, 0, (size_t)l->vector * sizeof *l->mx);
    memset(l->vx, 0, (size_t)l->vector * sizeof *l->vx);
    l->steps = 0;
}

int learner_step(struct learner *l, struct pool *p, struct pool_range own, float *x, double lr, struct step_report *out)
{
    double scale;
    int rc;

    if (own.end - own.first != l->slots)
        FAIL(CL_EINTERNAL, "step of %d slots (expected %d)", own.end - own.first, l->slots);
    for (int i = 0; i < l->vector; i++) l->gx[i] = (float)l->dx[i];
    out->grad_norm = sqrt(optim_sum_squares(l->dA, l->a_count) + optim_sum_squares(l->dB, l->b_count) +
                          optim_sum_squares(l->gx, l->vector));
    if (!isfinite(out->grad_norm) || !isfinite(lr))
        FAIL(CL_ENUM, "gradient norm is %g at learning rate %g; hint: lower stage2.lr", out->grad_norm, lr);
    scale = optim_clip_scale(out->grad_norm, l->clip);
    l->steps++;
    optim_adamw(&l->adam, p->A + own.first * pool_a_size(p), l->mA, l->vA, l->dA, scale, l->a_count, l->steps, lr);
    if (!l->b_fixed)
        optim_adamw(&l->adam, p->B + own.first * pool_b_size(p), l->mB, l->vB, l->dB, scale, l->b_count, l->steps, lr);
    if (x) {
        optim_adamw(&l->adam, x, l->mx, l->vx, l->gx, scale, l->vector, l->steps, lr * l->x_rate);
        for (int i = 0; i < l->vector && !l->x_free; i++) x[i] = fminf(fmaxf(x[i], 0), 1);
    }
    clear_gradients(l);
    pool_touch(p, own);
    rc = CL_OK;
done:
    return rc;
}

/* The six arrays of moments: name, whose shape, data. write and read differ only in what is done with each. */
struct moment {
    const char *name;
    int dims;
    int64_t shape[4];
    float *data;
};

static int list_moments(const struct learner *l, const struct pool *p, struct moment out[6])
{
    const struct moment A = {"", 4, {l->slots, p->L, p->R, p->H}, NULL},
                        B = {"", 4, {l->slots, p->L, p->D, p->R}, NULL}, x = {"", 1, {l->vector}, NULL};
    const struct moment *const like[] = {&A, &A, &B, &B, &x, &x};
    const char *const name[] = {"/resume/A_m", "/resume/A_v", "/resume/B_m",
                                "/resume/B_v", "/resume/w_m", "/resume/w_v"};
    float *const data[] = {l->mA, l->vA, l->mB, l->vB, l->mx, l->vx};

    for (int i = 0; i < 6; i++) {
        out[i] = *like[i];
        out[i].name = name[i];
        out[i].data = data[i];
    }
    return l->vector ? 6 : 4;
}

int learner_save(const struct learner *l, const struct pool *p, struct ckpt *c)
{
    struct moment m[6];
    int rc, n = list_moments(l, p, m);

    for (int i = 0; i < n; i++) TRY(ckpt_write(c, m[i].name, CKPT_F32, m[i].dims, m[i].shape, m[i].data, false));
    TRY(ckpt_attr_i64(c, "/resume", "optimizer_steps", l->steps));
done:
    return rc;
}

int learner_load(struct learner *l, const struct pool *p, struct ckpt *c)
{
    struct moment m[6];
    int rc, n = list_moments(l, p, m);

    for (int i = 0; i < n; i++) TRY(ckpt_read(c, m[i].name, CKPT_F32, m[i].dims, m[i].shape, m[i].data));
    TRY(ckpt_get_i64(c, "/resume", "optimizer_steps", &l->steps));
    if (l->steps < 0) FAIL(CL_EFORMAT, "%s: /resume optimizer_steps is %lld", ckpt_path(c), (long long)l->steps);
    clear_gradients(l);
done:
    return rc;
}
