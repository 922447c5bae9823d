/* lines.c - a line of factors over the layers. */
#include "pool/lines.h"

#include "io/err.h"

struct lines lines_of(const struct config *cfg)
{
    return (struct lines){cfg->lines.first, cfg->lines.last};
}

static bool is_on(const struct lines *s)
{
    return s->first != 1 || s->last != 1;
}

int lines_check(const struct config *cfg, const struct method_ops *ops)
{
    const struct lines s = lines_of(cfg);

    if (!is_on(&s) || (ops->routes && ops->owns)) return CL_OK;
    return config_error(
        cfg, s.first != 1 ? "lines.first" : "lines.last",
        "method %s adds no slots for each task, so no task's update can be scaled; hint: leave lines out", ops->name);
}

void lines_scale(const struct lines *s, struct pool *p, struct pool_range r)
{
    const int64_t layer = p->D * p->R;

    if (!is_on(s)) return;
    for (int n = r.first; n < r.end; n++)
        for (int l = 0; l < p->L; l++) {
            const double factor = p->L > 1 ? s->first + (s->last - s->first) * l / (p->L - 1) : s->last;
            float *B = p->B + n * pool_b_size(p) + l * layer;
            for (int64_t i = 0; i < layer; i++) B[i] = (float)(B[i] * factor);
        }
    pool_touch(p, r);
}
