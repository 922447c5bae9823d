/* method.c - finding a method by name or number; buffers of a routing. */
#include "pool/method.h"

#include "io/err.h"
#include "model/tensor.h"
#include "pool/methods.h"

#include <string.h>

const struct method_ops *method_at(size_t i)
{
    static const struct method_ops *const all[] = {
#define METHOD_OPS(name) &name##_ops,
        METHODS(METHOD_OPS)
#undef METHOD_OPS
    };

    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

const struct method_ops *method_find(const char *name)
{
    const struct method_ops *ops;

    for (size_t i = 0; (ops = method_at(i)); i++)
        if (!strcmp(ops->name, name)) break;
    return ops;
}

int method_needs_queries(const struct method_ops *ops, const struct method_shape *shape)
{
    if (shape->K > 0) return CL_OK;
    return err_set(CL_ECONFIG, "method %s routes questions, but there is no sentence encoder; hint: set `encoder`",
                   ops->name);
}

int method_prompt_rows(const struct config *cfg)
{
    const struct method_ops *ops = method_find(cfg->method);
    struct method_size size = {0};

    if (ops) ops->size(cfg, cfg->stream.tasks, &size);
    return prompt_rows(size.rank) * size.selected;
}

unsigned method_projections(const struct config *cfg)
{
    unsigned chosen = PROJECTIONS_DEFAULT;

    if (cfg->adapter.projections)
        projections_read(&chosen, cfg->adapter.projections); // names were checked (jobs/settings.c)
    return chosen;
}

const char *method_names(void)
{
#define METHOD_NAME(name) ", " #name
    return METHODS(METHOD_NAME) + 2; // without the first comma
#undef METHOD_NAME
}

int routing_new(struct routing *r, int room, int max_slots, int M)
{
    const size_t n = (size_t)room, s = (size_t)max_slots;

    *r = (struct routing){.room = room, .max_slots = max_slots, .M = M};
    if (room < 0 || max_slots < 0 || M < 0)
        return err_set(CL_EINTERNAL, "routing of %d samples, %d slots, %d selected", room, max_slots, M);
    r->coef = mem_new(n * s, sizeof *r->coef);
    r->selected = mem_new(n * (size_t)M, sizeof *r->selected);
    r->teacher_coef = mem_new(n * s, sizeof *r->teacher_coef);
    r->intrinsic = mem_new(n * s, sizeof *r->intrinsic);
    r->context = mem_new(n * s, sizeof *r->context);
    if (r->coef && r->teacher_coef && r->selected && r->intrinsic && r->context) return CL_OK;
    routing_free(r);
    return err_set(CL_ENOMEM, "no memory for the routing of %d samples over %d slots", room, max_slots);
}

void routing_free(struct routing *r)
{
    mem_free(r->coef);
    mem_free(r->teacher_coef);
    mem_free(r->selected);
    mem_free(r->intrinsic);
    mem_free(r->context);
    *r = (struct routing){0};
}
