/* walk.c - a place in the walk is step x samples per step + i: pass and place in it by division. */
#include "pool/walk.h"

#include "io/err.h"
#include "model/tensor.h"
#include "pool/rng.h"

#include <math.h>

struct walk walk_of(const struct config *cfg)
{
    return (struct walk){
        .ratio = cfg->replay.ratio, .batch = cfg->stage2.batch, .seed = (uint64_t)cfg->seed, .pass = -1};
}

void walk_free(struct walk *w)
{
    mem_free(w->all);
    mem_free(w->order);
    w->all = NULL, w->order = NULL;
    w->total = 0, w->pass = -1;
}

int walk_begin(struct walk *w, int64_t n)
{
    int rc = CL_OK;

    walk_free(w);
    w->all = mem_new((size_t)n, sizeof *w->all);
    w->order = mem_new((size_t)n, sizeof *w->order);
    if (!w->all || !w->order) FAIL(CL_ENOMEM, "no memory for %lld records of earlier tasks", (long long)n);
done:
    return rc;
}

void walk_add(struct walk *w, struct sample_ref ref)
{
    w->all[w->total++] = ref;
}

int walk_mix(struct walk *w, int task, int64_t step, int batch, struct sample_ref *refs, int room, int *n)
{
    int64_t want = llround(w->ratio * batch), each = llround(w->ratio * w->batch);

    if (want > w->total) want = w->total; // never the same sample twice for want of others
    *n = 0;
    if (want > room)
        return err_set(CL_EINTERNAL, "%lld samples of earlier tasks join a step that has room for %d", (long long)want,
                       room);
    for (int64_t i = 0; i < want; i++) {
        int64_t at = step * each + i, pass = at / w->total;
        if (pass != w->pass)
            rng_permutation(w->order, w->total, w->seed, RNG_REPLAY_MIX, (uint32_t)task, (uint64_t)pass);
        w->pass = pass;
        refs[(*n)++] = w->all[w->order[at % w->total]];
    }
    return CL_OK;
}
