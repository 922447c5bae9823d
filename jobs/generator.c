/* generator.c - continuous batching over the model's KV cache. */
#include "jobs/generator.h"

#include "io/err.h"
#include "jobs/job.h"

#include <stdlib.h>
#include <string.h>

enum { PACK_TOKENS = 2048 }; // of one prefill: enough rows for full speed, little scratch

struct place {    // one sequence of the cache
    int64_t item; // -1: free
    int64_t prompt_n;
    int n;       // tokens of the answer so far
    int32_t *id; // (max_new_tokens)
    float *coef; // (slots)
};

struct generator {
    struct job *j;
    struct generator_limits lim;
    struct kv_cache *kv;
    struct packed_batch pack;
    struct place *place; // (batch)
    int64_t pack_tokens;
    /* one call's arrays, (batch) each */
    int *seq;
    int32_t *token, *next;
    float *coef; // (batch, slots)
    char **picture;
    const struct feature **feature;
    struct prompt_item waiting; // taken from the source, did not fit into the last pack
    bool has_waiting;
};

struct lvlm_limits generator_model_limits(const struct generator_limits *l)
{
    int64_t tokens = l->prompt_n > PACK_TOKENS ? l->prompt_n : PACK_TOKENS, all = l->prompt_n * l->batch;

    return (struct lvlm_limits){.samples = l->batch,
                                .tokens = tokens < all ? tokens : all,
                                .rows = l->batch,
                                .slots = l->slots,
                                .rank = l->rank};
}

int generator_new(struct generator **out, struct job *j, const struct generator_limits *lim)
{
    int rc;
    size_t n = (size_t)lim->batch, slots = (size_t)(lim->slots ? lim->slots : 1);
    struct generator *g = mem_new(1, sizeof *g);
    const struct lvlm_limits model = generator_model_limits(lim);

    if (!g) return err_set(CL_ENOMEM, "no memory for generation");
    g->j = j, g->lim = *lim;
    g->pack_tokens = model.tokens;
    if (!(g->place = mem_new(n, sizeof *g->place)) || !(g->seq = mem_new(n, sizeof *g->seq)) ||
        !(g->token = mem_new(n, sizeof *g->token)) || !(g->next = mem_new(n, sizeof *g->next)) ||
        !(g->coef = mem_new(n * slots, sizeof *g->coef)) || !(g->picture = mem_new(n, sizeof *g->picture)) ||
        !(g->feature = mem_new(n, sizeof *g->feature)))
        FAIL(CL_ENOMEM, "no memory for generation");
    for (size_t i = 0; i < n; i++) {
        g->place[i].item = -1;
        g->place[i].id = mem_new((size_t)lim->max_new_tokens, sizeof(int32_t));
        g->place[i].coef = mem_new(slots, sizeof(float));
        if (!g->place[i].id || !g->place[i].coef) FAIL(CL_ENOMEM, "no memory for generation");
    }
    TRY(lvlm_reserve(j->lvlm, &model));
    TRY(lvlm_kv_new(&g->kv, j->lvlm, lim->batch, lim->prompt_n + lim->max_new_tokens));
    TRY(batch_new(&g->pack, lim->batch, g->pack_tokens));
    *out = g;
    return CL_OK;
done:
    generator_free(g);
    return rc;
}

static void item_clear(struct prompt_item *item)
{
    sample_free(&item->sample);
    free(item->picture);
    memset(item, 0, sizeof *item);
}

void generator_free(struct generator *g)
{
    if (!g) return;
    if (g->has_waiting) item_clear(&g->waiting);
    for (int i = 0; g->place && i < g->lim.batch; i++) mem_free(g->place[i].id), mem_free(g->place[i].coef);
    lvlm_kv_free(g->kv);
    batch_free(&g->pack);
    mem_free(g->place), mem_free(g->seq), mem_free(g->token), mem_free(g->next), mem_free(g->coef);
    mem_free(g->picture), mem_free(g->feature);
    mem_free(g);
}

static void let_pictures_go(struct generator *g)
{
    for (int i = 0; i < g->lim.batch; i++) free(g->picture[i]), g->picture[i] = NULL, g->feature[i] = NULL;
}

/* Packs prompts into free places; *first moves on. */
static int take_prompts(struct generator *g, int64_t *first, int64_t n, int slots, const struct generator_ends *e)
{
    int rc = CL_OK;

    batch_clear(&g->pack);
    for (int at = 0; at < g->lim.batch && *first < n; at++) {
        struct place *p = &g->place[at];
        if (p->item >= 0) continue;
        if (!g->has_waiting) {
            g->waiting = (struct prompt_item){.coef = p->coef};
            g->has_waiting = true; // whatever a failing source has filled is freed with the generator
            if ((rc = e->source(e->context, *first, &g->waiting))) break;
        }
        struct prompt_item *w = &g->waiting;
        if (g->pack.n && g->pack.n + w->sample.prompt_n > g->pack_tokens) break;
        if (w->coef != p->coef) memcpy(p->coef, w->coef, (size_t)slots * sizeof *p->coef);
        int s = g->pack.samples, k = g->pack.pictures;
        if ((rc = batch_add(&g->pack, &w->sample, 1))) break;
        if (g->pack.pictures > k) g->picture[k] = w->picture, g->feature[k] = w->feature, w->picture = NULL;
        g->seq[s] = at;
        *p = (struct place){.item = (*first)++, .prompt_n = w->sample.prompt_n, .id = p->id, .coef = p->coef};
        if (slots) memcpy(g->coef + (size_t)s * (size_t)slots, p->coef, (size_t)slots * sizeof *g->coef);
        item_clear(w);
        g->has_waiting = false;
    }
    return rc;
}

/* One more token for the answer in a place; ends it where it must. */
static int accept_token(struct generator *g, int at, int32_t id, const struct generator_ends *e, int64_t *ended)
{
    int rc = CL_OK;
    struct place *p = &g->place[at];

    p->id[p->n++] = id;
    if (e->token) TRY(e->token(e->context, p->item, id));
    if (job_is_end(g->j, id) || p->n == g->lim.max_new_tokens) {
        TRY(e->sink(e->context, p->item, p->id, p->n, p->prompt_n));
        p->item = -1;
        ++*ended;
    }
done:
    return rc;
}

static int prefill(struct generator *g, const struct adapters *set, const struct generator_ends *e, int64_t *ended)
{
    int rc;
    struct adapters ad = set ? *set : (struct adapters){0};

    ad.coef = g->coef;
    for (int i = 0; i < g->pack.pictures; i++)
        if (g->feature[i]) g->pack.feature[i] = g->feature[i];
    if (g->pack.pictures && !g->feature[0])
        TRY(features_get(g->j->features, (const char *const *)g->picture, g->pack.pictures, g->pack.feature));
    TRY(lvlm_prefill(g->j->lvlm, g->kv, g->seq, &g->pack, set ? &ad : NULL, g->j->allowed, g->next));
    for (int s = 0; s < g->pack.samples; s++) TRY(accept_token(g, g->seq[s], g->next[s], e, ended));
done:
    let_pictures_go(g);
    return rc;
}

static int decode(struct generator *g, const struct adapters *set, const struct generator_ends *e, int64_t *ended)
{
    int rc = CL_OK, n = 0;
    struct adapters ad = set ? *set : (struct adapters){0};

    for (int at = 0; at < g->lim.batch; at++) {
        const struct place *p = &g->place[at];
        if (p->item < 0) continue;
        g->seq[n] = at;
        g->token[n] = p->id[p->n - 1];
        if (set) memcpy(g->coef + (size_t)n * (size_t)set->slots, p->coef, (size_t)set->slots * sizeof *g->coef);
        n++;
    }
    if (!n) return CL_OK;
    ad.coef = g->coef;
    TRY(lvlm_decode(g->j->lvlm, g->kv, n, g->seq, g->token, set ? &ad : NULL, g->j->allowed, g->next));
    for (int i = 0; i < n; i++) TRY(accept_token(g, g->seq[i], g->next[i], e, ended));
done:
    return rc;
}

static int free_places(const struct generator *g)
{
    int n = 0;

    for (int i = 0; i < g->lim.batch; i++) n += g->place[i].item < 0;
    return n;
}

int generator_run(struct generator *g, int64_t n, const struct adapters *set, const struct generator_ends *e)
{
    int rc = CL_OK, slots = set ? set->slots : 0;
    int64_t first = 0, ended = 0;

    for (int i = 0; i < g->lim.batch; i++) g->place[i].item = -1;
    if (slots > g->lim.slots) FAIL(CL_EINTERNAL, "%d slots (reserved %d)", slots, g->lim.slots);
    while (ended < n) {
        int room = free_places(g);
        // a prefill waits for a quarter of the places, so that packs stay large; with nothing to decode it starts at once
        if (first < n && (room == g->lim.batch || room * 4 >= g->lim.batch)) {
            TRY(take_prompts(g, &first, n, slots, e));
            TRY(prefill(g, set, e, &ended));
        } else {
            TRY(decode(g, set, e, &ended));
        }
        if (e->between) TRY(e->between(e->context));
    }
done:
    let_pictures_go(g); // of prompts that were taken but not run
    return rc;
}
