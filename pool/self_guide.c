/* self_guide.c - one LoRA that rehearses earlier tasks by samples that it writes itself when a task begins, in the way of
 * SELF-GUIDE (arXiv 2407.12874).
 *
 * Nothing of what it saw is kept. What writes and reads the samples is jobs/self_guide.h; here they are numbers T + t (what was
 * written for task t) and join each step as replay's records do (pool/walk.h).
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"
#include "pool/walk.h"

struct self_guide {
    struct lora lora;
    struct walk walk;  // through what was written
    int64_t rehearsed; // samples that the running task began with, -1: it has none yet
};

static struct self_guide *self(struct method *m)
{
    return (struct self_guide *)m;
}

static void self_guide_close(struct method *m)
{
    if (!m) return;
    walk_free(&self(m)->walk);
    lora_teardown(&self(m)->lora);
    mem_free(m);
}

static int self_guide_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct self_guide *g = mem_new(1, sizeof *g);
    int rc;

    if (!g) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(&g->lora, &self_guide_ops, cfg, shape));
    g->walk = walk_of(cfg);
    g->rehearsed = -1;
done:
    if (rc) self_guide_close((struct method *)g), g = NULL;
    *m = (struct method *)g;
    return rc;
}

static int self_guide_begin_task(struct method *m, int task, int64_t n)
{
    struct self_guide *g = self(m);
    int rc;

    TRY(lora_begin_task(m, task, n));
    walk_free(&g->walk);
    g->rehearsed = -1;
done:
    return rc;
}

static int self_guide_rehearse(struct method *m, int task, const int64_t *written)
{
    struct self_guide *g = self(m);
    int rc;
    int64_t n = 0;

    for (int t = 0; t < task; t++) n += written[t];
    if (g->rehearsed >= 0 && g->rehearsed != n)
        FAIL(CL_EMISMATCH,
             "%lld samples to rehearse, %lld when the task began; hint: restore the files, or --fresh to begin anew",
             (long long)n, (long long)g->rehearsed);
    g->rehearsed = n;
    TRY(walk_begin(&g->walk, n));
    for (int t = 0; t < task; t++)
        for (int64_t i = 0; i < written[t]; i++) walk_add(&g->walk, (struct sample_ref){g->lora.pool.T + t, i});
done:
    return rc;
}

static int self_guide_mix(struct method *m, int task, int64_t step, int batch, struct sample_ref *refs, int room,
                          int *n)
{
    return walk_mix(&self(m)->walk, task, step, batch, refs, room, n);
}

static int self_guide_save(struct method *m, struct ckpt *c, bool resume)
{
    int rc;

    TRY(lora_save(m, c, resume));
    if (resume) TRY(ckpt_attr_i64(c, "/resume", "rehearsed", self(m)->rehearsed));
done:
    return rc;
}

static int self_guide_load(struct method *m, struct ckpt *c, bool resume)
{
    int rc;

    TRY(lora_load(m, c, resume));
    if (resume) TRY(ckpt_get_i64(c, "/resume", "rehearsed", &self(m)->rehearsed));
done:
    return rc;
}

const struct method_ops self_guide_ops = {
    .name = "self_guide",
    .help = "one LoRA that rehearses earlier tasks by samples it writes itself; keeps questions alone",
    .trains = true,
    .size = lora_size,
    .open = self_guide_open,
    .close = self_guide_close,
    .begin_task = self_guide_begin_task,
    .rehearse = self_guide_rehearse,
    .mix = self_guide_mix,
    .adapters = lora_adapters,
    .route = lora_route,
    .gradients = lora_gradients,
    .step = lora_step,
    .end_task = lora_end_task,
    .save = self_guide_save,
    .load = self_guide_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
