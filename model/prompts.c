/* prompts.c - learned prompts: rows that stand among the embeddings of a sample.
 *
 * A batch has places for them (PROMPT_TOKEN), one run in each sample that begins in this pass. The run is filled with the rows of
 * the sample's prompts, slot after slot. On the way back the gradient in front of the first layer is what those rows get.
 *
 * Of a group of ranks each row of x is made by one of them, and the others have zeros there (decoder.c): rows of prompts are made
 * by the leader. The gradient in front of the first layer comes out of a sum, whole on every rank: the leader takes its own. So
 * members have no prompts, and a set of them costs no message. Where sums travel as bf16 (parallel.wire) the rows are rounded on
 * their way, as all that is summed.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <string.h>

static struct tensor slot_rows(const struct prompt_bank *k, struct tensor table, int slot)
{
    return tensor_rows(table, (int64_t)slot * k->rows, k->rows);
}

static int table_new(struct lvlm *m, struct tensor *t, int64_t rows)
{
    if (t->data) m->be->free(t->data);
    *t = tensor_of(m->be->alloc((size_t)(rows * m->D) * sizeof(float)), DT_F32, rows, m->D);
    return t->data ? CL_OK : err_set(CL_ENOMEM, "no memory for %lld rows of prompts", (long long)rows);
}

int prompts_reserve(struct lvlm *m, int slots, int rows)
{
    int rc = CL_OK;
    struct prompt_bank *k = &m->prompts;

    if (is_member(m) || (slots <= k->room && rows == k->room_rows)) return CL_OK;
    mem_free(k->version);
    k->room = k->slots = k->learned = 0;
    if (!(k->version = mem_new((size_t)slots, sizeof *k->version)))
        FAIL(CL_ENOMEM, "no memory for %d prompts of %d rows", slots, rows);
    TRY(table_new(m, &k->table, (int64_t)slots * rows));
    if (m->train) TRY(table_new(m, &k->grad, (int64_t)slots * rows));
    k->room = slots, k->room_rows = k->rows = rows;
done:
    return rc;
}

void prompts_free(struct lvlm *m)
{
    struct prompt_bank *k = &m->prompts;

    if (k->table.data) m->be->free(k->table.data);
    if (k->grad.data) m->be->free(k->grad.data);
    mem_free(k->version);
    memset(k, 0, sizeof *k);
}

int prompts_check(const struct lvlm *m, const struct adapters *ad)
{
    const struct prompt_bank *k = &m->prompts;
    const int rows = prompt_rows(ad->rank);

    if (is_member(m)) return CL_OK;
    if (ad->slots > k->room || rows != k->room_rows)
        return err_set(CL_EINTERNAL, "set of %d prompts of %d rows (reserved: %d of %d)", ad->slots, rows, k->room,
                       k->room_rows);
    for (int i = 0; i < ad->slots; i++) {
        const uint64_t loaded = ad->slots == k->slots ? k->version[i] : 0;
        if (loaded != ad->slot[i].version && !ad->slot[i].A)
            return err_set(CL_EINTERNAL, "prompt %d of a set of %d has no values, and none of this version are loaded",
                           i, ad->slots);
    }
    return CL_OK;
}

int prompts_load(struct lvlm *m, const struct adapters *ad)
{
    int rc = CL_OK;
    struct prompt_bank *k = &m->prompts;

    if (is_member(m)) return CL_OK;
    if (ad->slots != k->slots) memset(k->version, 0, (size_t)k->room * sizeof *k->version);
    k->slots = ad->slots, k->learned = ad->learned;
    for (int i = 0; i < ad->slots; i++) {
        if (k->version[i] == ad->slot[i].version) continue;
        TRY(m->be->upload(slot_rows(k, k->table, i).data, ad->slot[i].A,
                          (size_t)(k->rows * m->D) * sizeof *ad->slot[i].A));
        k->version[i] = ad->slot[i].version;
    }
done:
    return rc;
}

void prompts_forget(struct lvlm *m)
{
    m->prompts.slots = m->prompts.learned = 0;
}

/* ---- places */

static bool has_prompt(const struct adapters *ad, int sample, int slot)
{
    return ad->coef[(int64_t)sample * ad->slots + slot] != 0;
}

/* The first place of sample s; the end of the sample where it has none. */
static int64_t first_place(const struct packed_batch *b, int s)
{
    int64_t at = b->cu[s];

    while (at < b->cu[s + 1] && b->id[at] != PROMPT_TOKEN) at++;
    return at;
}

int prompts_check_batch(const struct lvlm *m, const struct packed_batch *b, const struct adapters *ad)
{
    if (!has_prompts(ad) || is_member(m)) return CL_OK;
    for (int s = 0; s < b->samples; s++) {
        const int64_t first = first_place(b, s), end = b->cu[s + 1];
        int64_t places = 0, run = 0, rows = 0;
        for (int64_t i = first; i < end; i++) places += b->id[i] == PROMPT_TOKEN;
        while (first + run < end && b->id[first + run] == PROMPT_TOKEN) run++;
        for (int n = 0; n < ad->slots; n++) rows += has_prompt(ad, s, n) * prompt_rows(ad->rank);
        if (places && (places != rows || run != rows))
            return err_set(CL_EINTERNAL,
                           "sample %d of a batch has other places than one run of the %lld rows of its prompts", s,
                           (long long)rows);
    }
    return CL_OK;
}

/* Each prompt of each sample that has places: its rows of the table and those of x. */
typedef int each_prompt(struct lvlm *m, struct tensor table, struct tensor x);

static int for_each(struct lvlm *m, const struct pass *p, struct tensor table, struct tensor x, int slots,
                    each_prompt *act)
{
    int rc = CL_OK;
    const struct prompt_bank *k = &m->prompts;

    for (int s = 0; s < p->b->samples; s++) {
        int64_t at = first_place(p->b, s);
        if (at == p->b->cu[s + 1]) continue;
        for (int n = 0; n < p->ad->slots; n++) {
            if (!has_prompt(p->ad, s, n)) continue;
            if (n < slots) TRY(act(m, slot_rows(k, table, n), tensor_rows(x, at, k->rows)));
            at += k->rows;
        }
    }
done:
    return rc;
}

static int put_rows(struct lvlm *m, struct tensor table, struct tensor x)
{
    return m->be->copy(x, table);
}

static int add_rows(struct lvlm *m, struct tensor grad, struct tensor dx)
{
    return m->be->add(grad, dx);
}

int prompts_embed(struct lvlm *m, const struct pass *p, struct tensor x)
{
    if (!has_prompts(p->ad) || is_member(m)) return CL_OK;
    return for_each(m, p, m->prompts.table, x, p->ad->slots, put_rows);
}

int prompts_back(struct lvlm *m, const struct pass *p, struct tensor dx)
{
    if (!has_prompts(p->ad) || is_member(m)) return CL_OK;
    return for_each(m, p, m->prompts.grad, dx, m->prompts.learned, add_rows);
}

/* ---- gradient sums */

int prompts_grads_clear(struct lvlm *m)
{
    return m->prompts.grad.data ? m->be->zero(m->prompts.grad) : CL_OK;
}

int prompts_grads_read(struct lvlm *m, float *rows, int learned, int rank)
{
    const struct prompt_bank *k = &m->prompts;

    if (!k->grad.data || learned > k->room || prompt_rows(rank) != k->room_rows)
        return err_set(CL_EINTERNAL, "gradients of %d prompts of %d rows (reserved: %d of %d)", learned,
                       prompt_rows(rank), k->room, k->room_rows);
    return m->be->download(rows, k->grad.data, (size_t)(learned * k->rows * m->D) * sizeof *rows);
}
