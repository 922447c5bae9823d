/* group.c - sums over the ranks that share a model.
 *
 * comm.h notices when a rank's contribution is not finite; here it is noted which sum that was and which layer's, once, so
 * that a run that breaks can tell where it began. Every rank adds up a part of the numbers, so every rank is asked.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"
#include "mpi/ranks.h"

#include <stdio.h>

void group_look(struct lvlm *m, enum sum_place place, int layer)
{
    char what[64];
    int rank;

    if (!comm_of(m) || (rank = comm_first_nonfinite(comm_of(m), what, sizeof what)) < 0 || m->odd.at) return;
    m->odd = (struct odd_sum){comm_nonfinite_sum(comm_of(m)), rank, layer, (int32_t)place};
    for (int i = 0; i < SPANS; i++) { // it may be another one that is still on its way
        const struct travelling *k = &m->travelling[i];
        if (k->number == m->odd.at) m->odd.place = k->place, m->odd.layer = k->layer;
    }
}

int group_begin(struct lvlm *m, int i, struct tensor t, enum sum_place place, int layer)
{
    const bool back = place == SUM_LOSS_BACK || place == SUM_MLP_BACK || place == SUM_ATTENTION_BACK;
    struct travelling *k = &m->travelling[i];
    int rc = back ? tp_copy_back_begin(&k->sum, m->tp, t) : tp_reduce_begin(&k->sum, m->tp, t);

    k->number = k->sum ? comm_last_sum(comm_of(m)) : 0;
    k->place = (int32_t)place, k->layer = layer;
    return rc;
}

int group_end(struct lvlm *m, int i)
{
    struct travelling *k = &m->travelling[i];
    int rc = comm_sum_end(k->sum);

    k->sum = NULL;
    group_look(m, (enum sum_place)k->place, k->layer);
    return rc;
}

int group_sum(struct lvlm *m, struct tensor t, enum sum_place place, int layer)
{
    int rc = group_begin(m, 0, t, place, layer);

    return rc ? rc : group_end(m, 0);
}

int group_check_alike(struct lvlm *m, struct tensor t, const char *name)
{
#if defined(CLLAVA_GUARD) || !defined(NDEBUG)
    int rc;
    const size_t bytes = (size_t)(t.rows * t.cols) * dtype_size(t.type);
    void *host = NULL;

    if (!comm_of(m)) return CL_OK;
    if (!(host = mem_new(bytes, 1))) FAIL(CL_ENOMEM, "no memory to compare %s", name);
    TRY(m->be->download(host, t.data, bytes));
    TRY(comm_check_equal(comm_of(m), name, safetensors_hash_bytes(0, host, bytes)));
done:
    mem_free(host);
    return rc;
#else
    (void)m, (void)t, (void)name;
    return CL_OK;
#endif
}

/* "rank 1 (node7), in tp_reduce behind the MLP of layer 3" */
static void describe(const struct lvlm *m, const struct odd_sum *odd, char *text, size_t room)
{
    static const struct {
        const char *what;
        bool layer;
    } place[] = {[SUM_EMBEDDING] = {"tp_reduce of the embedding", false},
                 [SUM_ATTENTION] = {"tp_reduce behind the attention", true},
                 [SUM_MLP] = {"tp_reduce behind the MLP", true},
                 [SUM_LOSS_BACK] = {"tp_copy_back of the loss", false},
                 [SUM_MLP_BACK] = {"tp_copy_back in front of the MLP", true},
                 [SUM_ATTENTION_BACK] = {"tp_copy_back in front of the attention", true},
                 [SUM_TOWER] = {"tp_reduce of the vision tower", false}};
    const int rank = comm_world_rank(comm_of(m), odd->rank);
    char layer[32] = "";

    if (place[odd->place].layer) snprintf(layer, sizeof layer, " of layer %d", (int)odd->layer);
    snprintf(text, room, "rank %d (%s), in %s%s", rank, ranks_host(rank), place[odd->place].what, layer);
}

int lvlm_find_nonfinite(struct lvlm *m, char *text, size_t room)
{
    int rc;
    struct odd_sum *all = NULL, first = {0};

    if (text && room) *text = 0;
    if (!comm_of(m)) return CL_OK;
    TRY(follow_nonfinite(m));
    if (!(all = mem_new((size_t)m->tp->size, sizeof *all))) FAIL(CL_ENOMEM, "no memory for %d ranks", m->tp->size);
    TRY(comm_gather(comm_of(m), all, &m->odd, sizeof *all));
    for (int r = 0; r < m->tp->size; r++) { // the earliest sum; of that the lowest rank
        const struct odd_sum *o = &all[r];
        if (o->at && (!first.at || o->at < first.at || (o->at == first.at && o->rank < first.rank))) first = *o;
    }
    if (first.at && text) describe(m, &first, text, room);
    m->odd = (struct odd_sum){0};
    rc = CL_OK;
done:
    mem_free(all);
    return follow_done(m, rc);
}
