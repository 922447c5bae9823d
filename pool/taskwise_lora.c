/* taskwise_lora.c - a LoRA of its own for each task, chosen by the task's true number: the upper mark of what frozen slots can
 * keep.
 *
 * Nothing is forgotten, since nothing is shared, and nothing is gained from other tasks either. Free routing is the oracle
 * here: the task that is evaluated says which slot its questions get; a task that is not learned yet gets the base alone.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"
#include "pool/rng.h"

static struct lora *self(struct method *m)
{
    return (struct lora *)m;
}

static void taskwise_close(struct method *m)
{
    if (!m) return;
    lora_teardown(self(m));
    mem_free(m);
}

static void taskwise_size(const struct config *cfg, int tasks, struct method_size *out)
{
    *out = (struct method_size){tasks, 1, cfg->lora.rank, 1, 0};
}

static int taskwise_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct lora *l = mem_new(1, sizeof *l);
    int rc;

    if (!l) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup(l, &taskwise_lora_ops, cfg, shape));
    l->per_task = true;
done:
    if (rc) taskwise_close((struct method *)l), l = NULL;
    *m = (struct method *)l;
    return rc;
}

static int taskwise_route(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                          const uint64_t *sample, int n, struct routing *out)
{
    struct lora *l = self(m);
    const bool train = mode == ROUTE_TRAIN;
    const int N = l->pool.N;
    struct pool_range active = train ? l->own : pool_of_task(&l->pool, task);
    int rc = CL_OK;

    if (train) TRY(lora_check_current(l, task));
    if (task < 0 && N)
        FAIL(CL_ECONFIG, "method taskwise_lora chooses its slot by the task's number, which is not known here; hint: "
                         "`eval` asks every task with its own");
    TRY(lora_check_room(l, n, N, out));
    out->n = n, out->query = embedding;
    out->N = N;
    out->slots = train ? 1 : N;
    for (int s = 0; s < n; s++) {
        if (mode == ROUTE_RANDOM && N) {
            active.first = (int)rng_below(l->seed, RNG_ROUTE, 0, sample[s], (uint64_t)N);
            active.end = active.first + 1;
        }
        lora_route_row(l, out, s, active, train ? active.first : 0);
    }
done:
    return rc;
}

static int taskwise_slot_task(const struct method *m, int slot)
{
    const struct pool *p = &((const struct lora *)m)->pool;
    return slot >= 0 && slot < p->N ? p->task[slot] : -1;
}

const struct method_ops taskwise_lora_ops = {
    .name = "taskwise_lora",
    .help = "a LoRA for each task, chosen by the task's true number (free routing is the oracle): an upper mark",
    .trains = true,
    .owns = true,
    .size = taskwise_size,
    .open = taskwise_open,
    .close = taskwise_close,
    .begin_task = lora_begin_task,
    .adapters = lora_adapters,
    .route = taskwise_route,
    .gradients = lora_gradients,
    .step = lora_step,
    .end_task = lora_end_task,
    .save = lora_save,
    .load = lora_load,
    .parameters = lora_parameters,
    .slot_task = taskwise_slot_task,
};
