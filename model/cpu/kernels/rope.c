/* rope.c - rotary positions: each pair (i, i + half) of a head is turned by the angle of its position. */
#include "model/cpu/kernels/kernel.h"

static void turn(struct row head, int half, const float *table_cos, const float *table_sin, float sign)
{
    struct row a = head, b = row_at(head, half), co = {(void *)table_cos, false}, si = {(void *)table_sin, false};

    for (int c = 0; c < half; c += VW) {
        int w = width(half - c);
        vf x = vf_get(a, c, w), y = vf_get(b, c, w), cs = vf_get(co, c, w), sn = vf_get(si, c, w) * sign;
        vf_put(a, c, w, x * cs - y * sn);
        vf_put(b, c, w, y * cs + x * sn);
    }
}

void KERNEL(rope)(struct tensor x, int heads, int head_dim, const int32_t *pos, const float *table_cos,
                  const float *table_sin, bool inverse)
{
    int half = head_dim / 2;

#pragma omp parallel for schedule(static) if (x.rows * x.cols > PARALLEL_WORK)
    for (int64_t r = 0; r < x.rows; r++) {
        int64_t at = (int64_t)pos[r] * half;
        for (int h = 0; h < heads; h++)
            turn(row_at(row_of(x, r), (int64_t)h * head_dim), half, table_cos + at, table_sin + at, inverse ? -1 : 1);
    }
}
