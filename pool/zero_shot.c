/* zero_shot.c - the base alone: nothing is learned, every score is the zero-shot row's. */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/methods.h"

static void zero_size(const struct config *cfg, int tasks, struct method_size *out)
{
    (void)cfg, (void)tasks;
    *out = (struct method_size){0};
}

static int zero_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    (void)cfg, (void)shape;
    *m = mem_new(1, sizeof **m);
    if (!*m) return err_set(CL_ENOMEM, "no memory for the method");
    (*m)->ops = &zero_shot_ops;
    return CL_OK;
}

static void zero_close(struct method *m)
{
    mem_free(m);
}

static int zero_begin_task(struct method *m, int task, int64_t n)
{
    (void)m, (void)task, (void)n;
    return CL_OK;
}

static int zero_end_task(struct method *m, int task)
{
    (void)m, (void)task;
    return CL_OK;
}

static int zero_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    (void)m, (void)mode, (void)task;
    *set = (struct adapters){0};
    return CL_OK;
}

static int zero_route(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                      const uint64_t *sample, int n, struct routing *out)
{
    (void)m, (void)mode, (void)task, (void)sample;
    if (n > out->room) return err_set(CL_EINTERNAL, "routing of %d samples has room for %d", n, out->room);
    out->n = n, out->query = embedding;
    out->N = out->slots = 0;
    for (int64_t i = 0; i < (int64_t)n * out->M; i++) out->selected[i] = -1;
    return CL_OK;
}

static void zero_gradients(struct method *m, float **dA, float **dB)
{
    (void)m;
    *dA = *dB = NULL;
}

static int zero_step(struct method *m, int task, double lr, struct step_report *out)
{
    (void)m, (void)task, (void)lr, (void)out;
    return err_set(CL_EINTERNAL, "zero_shot has nothing to learn");
}

static int zero_file(struct method *m, struct ckpt *c, bool resume)
{
    (void)m, (void)c, (void)resume; // a checkpoint of the base alone has no pool
    return CL_OK;
}

static int64_t zero_parameters(const struct method *m)
{
    (void)m;
    return 0;
}

static int zero_slot_task(const struct method *m, int slot)
{
    (void)m, (void)slot;
    return -1;
}

const struct method_ops zero_shot_ops = {
    .name = "zero_shot",
    .help = "the base alone, nothing is learned",
    .size = zero_size,
    .open = zero_open,
    .close = zero_close,
    .begin_task = zero_begin_task,
    .adapters = zero_adapters,
    .route = zero_route,
    .gradients = zero_gradients,
    .step = zero_step,
    .end_task = zero_end_task,
    .save = zero_file,
    .load = zero_file,
    .parameters = zero_parameters,
    .slot_task = zero_slot_task,
};
