/* jsd.c - how far apart two rows of logits are as distributions p and q, and the gradient of that.
 *
 *     JSD = (sum p ln(p / m) + sum q ln(q / m)) / 2,  m = (p + q) / 2
 *
 * With q constant and dm_i = dp_i / 2,
 *
 *     dJSD / dp_i = (ln(p_i / m_i) + 1 - p_i / (2 m_i) - q_i / (2 m_i)) / 2 = ln(p_i / m_i) / 2
 *
 * as p_i + q_i = 2 m_i. Through p = softmax(z) that is
 *
 *     dJSD / dz_i = p_i (ln(p_i / m_i) - sum_j p_j ln(p_j / m_j)) / 2
 *
 * The logarithms come from ln p - ln q alone: ln(p / m) = ln 2 - ln(1 + q / p), which neither overflows nor wants m.
 */
#include "model/cpu/kernels/kernel.h"

#include <math.h>

enum { BLOCK = 2048 }; // numbers that are added up in float

static const float LN_2 = 0.69314718f;

/* ln(1 + e) of 0 <= e <= 1 as 2 atanh(s), s = e / (2 + e) <= 1/3; what is left out is below 2e-8. */
INLINE vf log_one_and(vf e)
{
    vf s = e / (e + 2), t = s * s;
    vf p = t * (1 / 13.0f) + 1 / 11.0f;

    p = p * t + 1 / 9.0f;
    p = p * t + 1 / 7.0f;
    p = p * t + 1 / 5.0f;
    p = p * t + 1 / 3.0f;
    return (p * t + 1) * s * 2;
}

/* ln(p / m) and ln(q / m) of ln p and ln q. */
INLINE void of_mean(vf *mine, vf *other, vf log_p, vf log_q)
{
    const vf zero = {0}, d = log_q - log_p, less = vf_min(d, zero - d);
    const vf both = LN_2 - log_one_and(vf_exp(less));

    *mine = both - vf_max(d, zero);
    *other = both - vf_max(zero - d, zero);
}

/* What takes logits to logarithms of probabilities, in two steps that keep their digits. */
struct norm {
    float top, log_sum, other_top, other_log_sum;
};

static struct norm norm_of(const struct soft_part *p)
{
    return (struct norm){(float)p->top, (float)log(p->sum), (float)p->other_top, (float)log(p->other_sum)};
}

static void add_block(struct jsd_part *sum, struct row x, struct row o, int64_t from, int64_t to, struct norm k)
{
    vf sum_p = {0}, sum_q = {0}, mine, other;

    for (int64_t c = from; c < to; c += VW) {
        const int w = width(to - c);
        const vf p = vf_get(x, c, w) - k.top - k.log_sum, q = vf_get(o, c, w) - k.other_top - k.other_log_sum;
        of_mean(&mine, &other, p, q);
        sum_p += first_lanes(vf_exp(p) * mine, w);
        sum_q += first_lanes(vf_exp(q) * other, w);
    }
    sum->mine += (double)vf_sum(sum_p);
    sum->other += (double)vf_sum(sum_q);
}

void KERNEL(jsd_part)(struct jsd_part *part, struct tensor logits, struct tensor other, const struct soft_part *whole)
{
#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 8)
    for (int64_t r = 0; r < logits.rows; r++) {
        const struct row x = row_of(logits, r), o = row_of(other, r);
        struct jsd_part sum = {0};
        for (int64_t b = 0; b < logits.cols; b += BLOCK)
            add_block(&sum, x, o, b, logits.cols - b < BLOCK ? logits.cols : b + BLOCK, norm_of(&whole[r]));
        part[r] = sum;
    }
}

void KERNEL(jsd_grad)(struct tensor other, struct tensor logits, const struct soft_part *whole,
                      const struct jsd_part *jsd, const float *factor)
{
#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < logits.rows; r++) {
        const struct norm k = norm_of(&whole[r]);
        const float half = factor[r] / 2, mean = (float)jsd[r].mine;
        const struct row x = row_of(logits, r), o = row_of(other, r);
        for (int64_t c = 0; c < logits.cols; c += VW) {
            const int w = width(logits.cols - c);
            const vf p = vf_get(x, c, w) - k.top - k.log_sum, q = vf_get(o, c, w) - k.other_top - k.other_log_sum;
            vf mine, unused;
            of_mean(&mine, &unused, p, q);
            vf_put(o, c, w, half == 0 ? (vf){0} : vf_exp(p) * (mine - mean) * half);
        }
    }
}
