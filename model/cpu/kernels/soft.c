/* soft.c - how far one row of logits is from another as distributions at a temperature, and the gradient of that. */
#include "model/cpu/kernels/kernel.h"

enum { BLOCK = 2048 }; // numbers whose exponentials are added up in float

static float row_top(const float *x, int64_t n)
{
    vf top = vf_set(-INFINITY);

    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf v = w == VW ? vf_load(x + c) : vf_load_part(x + c, w);
        if (w < VW) { // what is beyond the row does not count
            float lane[VW];
            for (int i = 0; i < VW; i++) lane[i] = -INFINITY;
            vf_store_part(lane, w, v);
            v = vf_load(lane);
        }
        top = vf_max(top, v);
    }
    return vf_top(top);
}

/* Sums of one block; top and other_top of the whole row, undivided. */
static void add_block(struct soft_part *p, const float *x, const float *other, int64_t n, float top, float other_top,
                      float inverse)
{
    vf sum = {0}, other_sum = {0}, cross = {0};

    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf a = w == VW ? vf_load(x + c) : vf_load_part(x + c, w);
        vf b = w == VW ? vf_load(other + c) : vf_load_part(other + c, w);
        vf e = first_lanes(vf_exp((b - other_top) * inverse), w);
        sum += first_lanes(vf_exp((a - top) * inverse), w);
        other_sum += e;
        cross += e * ((b - a) * inverse);
    }
    p->sum += (double)vf_sum(sum);
    p->other_sum += (double)vf_sum(other_sum);
    p->cross += (double)vf_sum(cross);
}

void KERNEL(soft_part)(struct soft_part *part, struct tensor logits, struct tensor other, float temperature)
{
    const float inverse = 1 / temperature;

#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 8)
    for (int64_t r = 0; r < logits.rows; r++) {
        const float *x = (const float *)logits.data + r * logits.ld, *o = (const float *)other.data + r * other.ld;
        const float top = row_top(x, logits.cols), other_top = row_top(o, logits.cols);
        struct soft_part p = {.top = (double)(top * inverse), .other_top = (double)(other_top * inverse)};
        for (int64_t b = 0; b < logits.cols; b += BLOCK)
            add_block(&p, x + b, o + b, logits.cols - b < BLOCK ? logits.cols - b : BLOCK, top, other_top, inverse);
        part[r] = p;
    }
}

void KERNEL(soft_grad)(struct tensor other, struct tensor logits, const struct soft_part *whole, float temperature,
                       float factor)
{
    const float inverse = 1 / temperature;

#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < logits.rows; r++) {
        const struct soft_part *p = &whole[r];
        const float top = (float)p->top, other_top = (float)p->other_top;
        const float mine = (float)(factor / p->sum), theirs = (float)(factor / p->other_sum);
        struct row x = row_of(logits, r), o = row_of(other, r);
        for (int64_t c = 0; c < logits.cols; c += VW) {
            int w = width(logits.cols - c);
            vf_put(o, c, w,
                   vf_exp(vf_get(x, c, w) * inverse - top) * mine -
                       vf_exp(vf_get(o, c, w) * inverse - other_top) * theirs);
        }
    }
}
