/* loss.c - cross entropy with its gradient, greedy choice. A row of logits is long (a vocabulary) and read in blocks that
 * stay in the first cache: largest of the block, then the sum of exponentials. */
#include "model/cpu/kernels/kernel.h"

enum { BLOCK = 2048 };

static float block_top(const float *x, int64_t n)
{
    vf top = vf_set(-INFINITY);
    float most = -INFINITY;
    int64_t c = 0;

    for (; c + VW <= n; c += VW) top = vf_max(top, vf_load(x + c));
    for (; c < n; c++) most = x[c] > most ? x[c] : most;
    float lanes = vf_top(top);
    return lanes > most ? lanes : most;
}

static float block_sum(const float *x, int64_t n, float top)
{
    vf sum = {0};

    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf e = vf_exp((w == VW ? vf_load(x + c) : vf_load_part(x + c, w)) - top);
        if (w < VW) {
            float lane[VW] = {0};
            vf_store_part(lane, w, e);
            e = vf_load(lane);
        }
        sum += e;
    }
    return vf_sum(sum);
}

/* log(sum(exp x)) as top + log(sum of exp(x - top)): the two parts, so that x[target] is subtracted from top first. */
static float row_top(const float *x, int64_t n, double *sum)
{
    float top = -INFINITY;

    *sum = 0;
    for (int64_t b = 0; b < n; b += BLOCK) {
        int64_t m = n - b < BLOCK ? n - b : BLOCK;
        float most = block_top(x + b, m);
        if (most > top) {
            *sum *= exp((double)top - most); // 0 at the first block
            top = most;
        }
        *sum += block_sum(x + b, m, top);
    }
    return top;
}

/* x := exp(x - top) * factor */
static void exponentials(float *x, int64_t n, float top, float factor)
{
    struct row r = {x, false};

    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf_put(r, c, w, vf_exp(vf_get(r, c, w) - top) * factor);
    }
}

static float entropy_row(float *x, int64_t n, int32_t target, float grad_scale)
{
    double sum;
    float top = row_top(x, n, &sum), loss = (float)(log(sum) + ((double)top - x[target]));

    if (grad_scale != 0) {
        exponentials(x, n, top, (float)(grad_scale / sum));
        x[target] -= grad_scale;
    }
    return loss;
}

void KERNEL(cross_entropy)(float *nll, struct tensor logits, const int32_t *target, float grad_scale)
{
#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < logits.rows; r++)
        nll[r] = entropy_row((float *)logits.data + r * logits.ld, logits.cols, target[r], grad_scale);
}

void KERNEL(softmax_part)(struct softmax_part *part, struct tensor logits, const int32_t *target, int64_t first)
{
#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < logits.rows; r++) {
        const float *x = (const float *)logits.data + r * logits.ld;
        int64_t at = target[r] - first;
        double sum;
        float top = row_top(x, logits.cols, &sum);
        part[r] = (struct softmax_part){top, (float)sum, at >= 0 && at < logits.cols ? x[at] : -INFINITY};
    }
}

void KERNEL(softmax_grad)(struct tensor logits, const struct softmax_part *whole, const int32_t *target, int64_t first,
                          float grad_scale)
{
#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < logits.rows; r++) {
        float *x = (float *)logits.data + r * logits.ld;
        int64_t at = target[r] - first;
        exponentials(x, logits.cols, whole[r].top, grad_scale / whole[r].sum);
        if (at >= 0 && at < logits.cols) x[at] -= grad_scale;
    }
}

static int32_t argmax_row(float *most, const float *x, int64_t n, const uint8_t *allowed)
{
    float top = -INFINITY;
    int32_t at = -1;
    bool nan = false;

    for (int64_t b = 0; b < n; b += BLOCK) {
        int64_t m = n - b < BLOCK ? n - b : BLOCK;
        vf bad = {0};
        int64_t c = 0;
        for (; c + VW <= m; c += VW) bad += vf_load(x + b + c) * 0; // infinity would look like NaN: looked at below
        if (vf_sum(bad) != 0 || c < m)
            for (c = 0; c < m; c++) nan |= x[b + c] != x[b + c];
        if (at >= 0 && block_top(x + b, m) <= top) continue;
        for (c = 0; c < m; c++)
            if ((!allowed || allowed[b + c]) && (at < 0 || x[b + c] > top)) {
                top = x[b + c];
                at = (int32_t)(b + c);
            }
    }
    *most = top;
    return nan ? -2 : at;
}

void KERNEL(argmax)(int32_t *id, float *top, struct tensor logits, const uint8_t *allowed)
{
#pragma omp parallel for schedule(static) if (logits.rows * logits.cols > PARALLEL_WORK)
    for (int64_t r = 0; r < logits.rows; r++) {
        float most;
        id[r] = argmax_row(&most, (const float *)logits.data + r * logits.ld, logits.cols, allowed);
        if (top) top[r] = most;
    }
}
