/* history.c - /history/<task>/ of a checkpoint. */
#include "pool/history.h"

#include "io/err.h"
#include "model/tensor.h"

#include <stdio.h>

int history_open(struct history *h, int slots, int K)
{
    const size_t n = (size_t)slots * (size_t)K;

    *h = (struct history){.slots = slots, .K = K};
    h->selected = mem_new((size_t)slots, sizeof *h->selected);
    h->weight = mem_new((size_t)slots, sizeof *h->weight);
    h->before = mem_new(n, sizeof *h->before);
    h->after = mem_new(n, sizeof *h->after);
    if (!h->selected || !h->weight || !h->before || !h->after)
        return err_set(CL_ENOMEM, "no memory for the history of %d slots", slots);
    return CL_OK;
}

void history_close(struct history *h)
{
    mem_free(h->selected);
    mem_free(h->weight);
    mem_free(h->before);
    mem_free(h->after);
    *h = (struct history){0};
}

struct item {
    char name[64];
    enum ckpt_type type;
    int dims;
    void *data;
};

/* keys_before first: it is known as soon as a task begins, the others after stage 1. */
static int list_items(const struct history *h, int task, struct item out[4])
{
    out[0] = (struct item){"", CKPT_F32, 2, h->before};
    out[1] = (struct item){"", CKPT_F32, 2, h->after};
    out[2] = (struct item){"", CKPT_I64, 1, h->selected};
    out[3] = (struct item){"", CKPT_F64, 1, h->weight};
    snprintf(out[0].name, sizeof out[0].name, "/history/%d/keys_before", task);
    snprintf(out[1].name, sizeof out[1].name, "/history/%d/keys_after", task);
    snprintf(out[2].name, sizeof out[2].name, "/history/%d/selected", task);
    snprintf(out[3].name, sizeof out[3].name, "/history/%d/weight", task);
    return h->aligned ? 4 : 1;
}

int history_save(const struct history *h, struct ckpt *c, int task)
{
    const int64_t shape[] = {h->slots, h->K};
    struct item item[4];
    int rc = CL_OK, n = list_items(h, task, item);

    if (!h->slots) return CL_OK;
    for (int i = 0; i < n; i++)
        TRY(ckpt_write(c, item[i].name, item[i].type, item[i].dims, shape, item[i].data, false));
done:
    return rc;
}

int history_load(struct history *h, struct ckpt *c, int task, int slots, int K)
{
    const int64_t shape[] = {slots, K};
    struct item item[4];
    int rc, n;

    *h = (struct history){0};
    list_items(h, task, item);
    if (!ckpt_has(c, item[0].name)) return CL_OK;
    TRY(history_open(h, slots, K));
    h->aligned = ckpt_has(c, item[1].name);
    n = list_items(h, task, item);
    for (int i = 0; i < n; i++) TRY(ckpt_read(c, item[i].name, item[i].type, item[i].dims, shape, item[i].data));
done:
    return rc;
}
