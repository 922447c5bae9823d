/* sequential_lora.c - one LoRA, tuned on task after task with nothing against forgetting (the lower mark), or on all tasks
 * as one training set (joint, the upper mark). */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"

static void plain_close(struct method *m)
{
    if (!m) return;
    lora_teardown((struct lora *)m);
    mem_free(m);
}

static int plain_open(struct method **m, const struct method_ops *ops, const struct config *cfg,
                      const struct method_shape *shape)
{
    struct lora *l = mem_new(1, sizeof *l);
    int rc;

    if (!l) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(l, ops, cfg, shape));
done:
    if (rc) plain_close((struct method *)l), l = NULL;
    *m = (struct method *)l;
    return rc;
}

static int sequential_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    return plain_open(m, &sequential_lora_ops, cfg, shape);
}

static int joint_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    return plain_open(m, &joint_ops, cfg, shape);
}

#define PLAIN_LORA                                                                                                     \
    .trains = true, .size = lora_size, .close = plain_close, .begin_task = lora_begin_task, .adapters = lora_adapters, \
    .route = lora_route, .gradients = lora_gradients, .step = lora_step, .end_task = lora_end_task, .save = lora_save, \
    .load = lora_load, .parameters = lora_parameters, .slot_task = lora_slot_task

const struct method_ops sequential_lora_ops = {
    .name = "sequential_lora",
    .help = "one LoRA tuned on task after task: the lower mark",
    .open = sequential_open,
    PLAIN_LORA,
};

const struct method_ops joint_ops = {
    .name = "joint",
    .help = "one LoRA tuned on all tasks at once: the upper mark",
    .joint = true,
    .open = joint_open,
    PLAIN_LORA,
};
