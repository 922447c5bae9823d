/* bench_flop.c - what work on a base of the bench amounts to, 2 operations per multiply-add. */
#include "jobs/bench.h"

int64_t bench_pictures_tokens(const struct bench_shape *s)
{
    int64_t side = s->image / s->patch;
    return side * side;
}

int64_t bench_tokens(const struct bench_shape *s)
{
    return bench_pictures_tokens(s) + s->prompt + s->answer;
}

double bench_flop_tower(const struct bench_shape *s)
{
    double patches = (double)bench_pictures_tokens(s), rows = patches + 1, vd = s->vd;
    double layer = 2 * (4 * vd * vd + 2 * vd * s->vff) * rows + 4 * rows * rows * vd;

    return (s->vlayers - 1) * layer + 2 * 3 * s->patch * s->patch * vd * patches;
}

static double projector(const struct bench_shape *s)
{
    double d = s->d;

    return 2 * (s->vd * d + d * d) * (double)bench_pictures_tokens(s);
}

static double square(const struct bench_shape *s) // q, k, v or o, a token
{
    return 2.0 * s->d * s->d;
}

static double mlp(const struct bench_shape *s)
{
    return 6.0 * s->d * s->ff;
}

/* Multiply-adds of one product of attention by the last `rows` of n tokens. */
static double seen(const struct bench_shape *s, double n, double rows)
{
    return s->d * (rows * n - rows * (rows - 1) / 2);
}

double bench_flop_forward(const struct bench_shape *s, int64_t tokens, int64_t rows)
{
    const double n = (double)tokens;
    double sum = projector(s) + 2.0 * s->d * s->vocab * (double)rows;

    for (int l = 0; l < s->layers; l++) {
        double r = l == s->layers - 1 ? (double)rows : n;
        sum += 2 * square(s) * (n + r) + mlp(s) * r + 4 * seen(s, n, r);
    }
    return sum;
}

double bench_flop_backward(const struct bench_shape *s, int64_t tokens, int64_t rows)
{
    const double n = (double)tokens;
    double sum = 2.0 * s->d * s->vocab * (double)rows;

    for (int l = 0; l < s->layers; l++) {
        double r = l == s->layers - 1 ? (double)rows : n;
        sum += mlp(s) * r;
        if (l > 0) sum += 2 * square(s) * (n + r) + 8 * seen(s, n, r);
    }
    return sum;
}

double bench_flop_usual(const struct bench_shape *s, int64_t tokens, int64_t rows, bool train)
{
    const double n = (double)tokens, d = s->d, head = 2 * d * s->vocab * (double)rows,
                 layer = (4 * square(s) + mlp(s)) * n, lora = 2.0 * s->layers * 2 * d * 32 * n;
    double sum = bench_flop_tower(s) + projector(s) + s->layers * (layer + 2 * n * n * d) + lora + head;

    if (train) sum += (s->layers - 1) * (layer + 4 * n * n * d) + mlp(s) * n + 2 * lora + head;
    return sum;
}
