/* bench_stages.c - a step's time by what it was spent on.
 *
 * Every operation of the backend belongs to one stage, the head's products by their width; what is left of the step's time
 * (increments on their way to the device, packing, waiting) is `other`, so that the stages add up to the step.
 */
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/bench_work.h"

enum stage { PRODUCTS, ATTENTION, NORMS, ADAPTERS, HEAD, COPIES, STAGES };

static const char *const stage_name[STAGES] = {
    [PRODUCTS] = "products", [ATTENTION] = "attention", [NORMS] = "norms, activations",
    [ADAPTERS] = "adapters", [HEAD] = "head",           [COPIES] = "copies, sums",
};

static const struct {
    const char *op;
    enum stage stage;
} belongs[] = {
    {"attention", ATTENTION},    {"attention_back", ATTENTION},
    {"rope", ATTENTION},         {"rmsnorm", NORMS},
    {"rmsnorm_back", NORMS},     {"layernorm", NORMS},
    {"activate", NORMS},         {"glu", NORMS},
    {"glu_back", NORMS},         {"gemm", ADAPTERS},
    {"adapter_scale", ADAPTERS}, {"adapter_coef_back", ADAPTERS},
    {"cross_entropy", HEAD},     {"softmax_part", HEAD},
    {"softmax_grad", HEAD},      {"argmax", HEAD},
};

static enum stage stage_of(const struct timing *t, const struct bench_shape *s)
{
    if (!strncmp(t->op, "linear", 6)) return t->cols == s->vocab || t->depth == s->vocab ? HEAD : PRODUCTS;
    for (size_t i = 0; i < sizeof belongs / sizeof *belongs; i++)
        if (!strcmp(t->op, belongs[i].op)) return belongs[i].stage;
    return COPIES;
}

static int add(struct bench *b, int batch, const char *name, double seconds, double all)
{
    char what[48];

    snprintf(what, sizeof what, "stage %s", name);
    return bench_add_share(b, what, batch, seconds, "s", seconds / all);
}

int bench_stages(struct bench *b, int batch, const struct bench_spent *s, double tower)
{
    int rc;
    double sum[STAGES] = {0}, rest = s->all - s->routing - s->optimizer, all = s->all + tower;

    for (size_t i = 0; i < s->ops; i++) {
        sum[stage_of(&s->op[i], b->shape)] += s->op[i].seconds;
        rest -= s->op[i].seconds;
    }
    TRY(add(b, batch, "tower", tower, all));
    for (int k = 0; k < STAGES; k++) TRY(add(b, batch, stage_name[k], sum[k], all));
    TRY(add(b, batch, "routing", s->routing, all));
    TRY(add(b, batch, "optimizer", s->optimizer, all));
    TRY(add(b, batch, "other", rest, all));
    TRY(add(b, batch, "all", all, all));
done:
    return rc;
}

void bench_print_operations(const char *what, const struct timing *t, size_t n)
{
    enum { LINES = 16 };
    double all = 0;

    for (size_t i = 0; i < n; i++) all += t[i].seconds;
    printf("\n%s: %.3f s in operations\n  share  operation         width  depth   calls   rows      ms  GFLOP/s\n",
           what, all);
    for (size_t i = 0; i < n && i < LINES; i++) {
        const struct timing *e = &t[i];
        printf("  %4.1f%%  %-15s %7lld %6lld %7lld %6lld %7.1f", 100 * e->seconds / all, e->op, (long long)e->cols,
               (long long)e->depth, (long long)e->calls, (long long)(e->rows / e->calls), 1e3 * e->seconds);
        if (e->flop > 0)
            printf("  %7.1f\n", e->flop / e->seconds / 1e9);
        else
            putchar('\n');
    }
}
