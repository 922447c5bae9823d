/* generator.c - continuous batching over the model's KV cache. */
#include "jobs/generator.h"

#include "io/err.h"
#include "jobs/job.h"

#include <stdlib.h>
#include <string.h>

enum { PACK_TOKENS = 2048 }; // of one prefill: enough rows for full speed, little scratch
enum { SHARE_LEAST = 8 };    // tokens: shorter common fronts are not worth a copy

/* What a place's keys and values are those of, from the front: also after its answer has ended, until another prompt comes. */
struct front {
    int32_t *id; // (prompt_n)
    int64_t n;   // 0: nothing
    char *picture;
    int64_t picture_at;                                     // -1: none
    enum { IS_THERE, IN_FIRST_PACK, IN_SECOND_PACK } stand; // whether a prefill is still to bring it
};

struct place {    // one sequence of the cache
    int64_t item; // -1: free
    int64_t prompt_n;
    int n;       // tokens of the answer so far
    int32_t *id; // (max_new_tokens)
    float *coef; // (slots)
    struct front front;
};

/* Prompts of one pass, or what is left of them. (batch) each. */
struct pack {
    struct packed_batch b;
    int *seq;
    float *coef; // (batch, slots)
    char **picture;
    const struct feature **feature;
    int *from;       // place whose first tokens are copied before the pass
    int64_t *shared; // how many
};

struct generator {
    struct job *j;
    struct generator_limits lim;
    struct kv_cache *kv;
    struct pack pack[2]; // prompts, and those that begin like one of the first pack
    struct place *place; // (batch)
    int64_t pack_tokens;
    int64_t prefilled; // tokens
    /* one call's arrays, (batch) each */
    int *seq;
    int32_t *token, *next;
    float *coef;                // (batch, slots)
    struct prompt_item waiting; // taken from the source, did not fit into the last pack
    float *waiting_coef;        // (slots)
    bool has_waiting;
};

struct lvlm_limits generator_model_limits(const struct generator_limits *l)
{
    int64_t tokens = l->prompt_n > PACK_TOKENS ? l->prompt_n : PACK_TOKENS, all = l->prompt_n * l->batch;

    return (struct lvlm_limits){.samples = l->batch,
                                .tokens = tokens < all ? tokens : all,
                                .rows = l->batch,
                                .slots = l->slots,
                                .rank = l->rank,
                                .residuals = l->residuals};
}

static int pack_new(struct pack *p, size_t n, size_t slots, int64_t tokens)
{
    p->seq = mem_new(n, sizeof *p->seq), p->coef = mem_new(n * slots, sizeof *p->coef);
    p->picture = mem_new(n, sizeof *p->picture), p->feature = mem_new(n, sizeof *p->feature);
    p->from = mem_new(n, sizeof *p->from), p->shared = mem_new(n, sizeof *p->shared);
    if (!p->seq || !p->coef || !p->picture || !p->feature || !p->from || !p->shared)
        return err_set(CL_ENOMEM, "no memory for generation");
    return batch_new(&p->b, (int)n, tokens);
}

static void let_pictures_go(struct generator *g, struct pack *p)
{
    for (int i = 0; p->picture && i < g->lim.batch; i++) free(p->picture[i]), p->picture[i] = NULL;
    for (int i = 0; p->feature && i < g->lim.batch; i++) p->feature[i] = NULL;
}

static void pack_free(struct generator *g, struct pack *p)
{
    let_pictures_go(g, p);
    batch_free(&p->b);
    mem_free(p->seq), mem_free(p->coef), mem_free(p->picture), mem_free(p->feature), mem_free(p->from);
    mem_free(p->shared);
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
        !(g->coef = mem_new(n * slots, sizeof *g->coef)) ||
        !(g->waiting_coef = mem_new(slots, sizeof *g->waiting_coef)))
        FAIL(CL_ENOMEM, "no memory for generation");
    for (size_t i = 0; i < n; i++) {
        struct place *p = &g->place[i];
        p->item = -1;
        p->id = mem_new((size_t)lim->max_new_tokens, sizeof(int32_t));
        p->coef = mem_new(slots, sizeof(float));
        p->front.id = mem_new((size_t)lim->prompt_n, sizeof(int32_t));
        if (!p->id || !p->coef || !p->front.id) FAIL(CL_ENOMEM, "no memory for generation");
    }
    TRY(lvlm_reserve(j->lvlm, &model));
    TRY(lvlm_kv_new(&g->kv, j->lvlm, lim->batch, lim->prompt_n + lim->max_new_tokens));
    for (int i = 0; i < 2; i++) TRY(pack_new(&g->pack[i], n, slots, g->pack_tokens));
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
    for (int i = 0; g->place && i < g->lim.batch; i++) {
        struct place *p = &g->place[i];
        mem_free(p->id), mem_free(p->coef), mem_free(p->front.id);
        free(p->front.picture);
    }
    lvlm_kv_free(g->kv);
    for (int i = 0; i < 2; i++) pack_free(g, &g->pack[i]);
    mem_free(g->place), mem_free(g->seq), mem_free(g->token), mem_free(g->next), mem_free(g->coef);
    mem_free(g->waiting_coef);
    mem_free(g);
}

int64_t generator_prefilled(const struct generator *g)
{
    return g->prefilled;
}

/* ---- fronts that prompts share */

/* Tokens at the front of a prompt that are those of a place: the same ids, and pictures, which are all within or all behind.
 * One token is left to run: what follows it is the first choice. */
static int64_t shared_tokens(const struct generator *g, const struct front *f, const struct prompt_item *w)
{
    const int64_t patches = lvlm_get_config(g->j->lvlm)->vision.tokens, at = w->sample.picture;
    int64_t most = w->sample.prompt_n - 1 < f->n ? w->sample.prompt_n - 1 : f->n, n = 0;

    while (n < most && w->sample.id[n] == f->id[n]) n++;
    if (f->picture_at >= 0 && f->picture_at < n && f->picture_at != at) n = f->picture_at;
    if (at >= 0 && at < n) {
        const bool same = f->picture_at == at && f->picture && w->picture && !strcmp(f->picture, w->picture);
        if (!same || at + patches > n) n = at;
    }
    return n < SHARE_LEAST ? 0 : n;
}

/* The place that has most of the prompt's front under the same coefficients; among equals one that has it now. Returns the
 * tokens. */
static int64_t find_front(const struct generator *g, const struct prompt_item *w, int slots, int *from)
{
    int64_t most = 0;

    for (int i = 0; g->lim.share && i < g->lim.batch; i++) {
        const struct place *p = &g->place[i];
        if (!p->front.n || p->front.stand == IN_SECOND_PACK) continue;
        if (memcmp(p->coef, w->coef, (size_t)slots * sizeof *p->coef)) continue;
        const int64_t n = shared_tokens(g, &p->front, w);
        if (n > most || (n && n == most && p->front.stand < g->place[*from].front.stand)) most = n, *from = i;
    }
    return most;
}

/* The place is to get the prompt's keys and values. */
static int remember_front(struct place *p, const struct prompt_item *w, int stand)
{
    struct front *f = &p->front;

    free(f->picture);
    f->picture = w->picture ? strdup(w->picture) : NULL;
    if (w->picture && !f->picture) return err_set(CL_ENOMEM, "no memory for a path");
    f->picture_at = w->sample.picture;
    f->n = w->sample.prompt_n;
    f->stand = stand;
    memcpy(f->id, w->sample.id, (size_t)f->n * sizeof *f->id);
    return CL_OK;
}

/* ---- prefill */

/* What is left of a prompt behind its first tokens. */
static int pack_rest(struct pack *p, const struct sample *whole, int64_t shared)
{
    int rc;
    struct packed_batch *b = &p->b;
    struct sample rest = *whole;
    const int64_t at = b->n;

    rest.id += shared, rest.label = NULL;
    rest.n -= shared, rest.prompt_n -= shared;
    rest.picture = whole->picture < shared ? -1 : whole->picture - shared;
    TRY(batch_add(b, &rest, 1));
    for (int64_t i = at; i < b->n; i++) b->pos[i] += (int32_t)shared;
done:
    return rc;
}

/* The waiting prompt into place `at`, by way of the pack. */
static int place_prompt(struct generator *g, struct pack *p, int at, int from, int64_t shared, int slots)
{
    int rc;
    struct place *to = &g->place[at];
    struct prompt_item *w = &g->waiting;
    const int s = p->b.samples, k = p->b.pictures;

    if (shared && p == &g->pack[0])
        TRY(lvlm_kv_copy(g->kv, from, at, shared)); // before the place `from` gets another prompt
    TRY(pack_rest(p, &w->sample, shared));
    TRY(remember_front(to, w, p == &g->pack[0] ? IN_FIRST_PACK : IN_SECOND_PACK));
    if (p->b.pictures > k) p->picture[k] = w->picture, p->feature[k] = w->feature, w->picture = NULL;
    p->seq[s] = at, p->from[s] = from, p->shared[s] = shared;
    to->prompt_n = w->sample.prompt_n, to->n = 0;
    if (slots) {
        memcpy(to->coef, w->coef, (size_t)slots * sizeof *to->coef);
        memcpy(p->coef + (size_t)s * (size_t)slots, w->coef, (size_t)slots * sizeof *p->coef);
    }
    rc = CL_OK;
done:
    return rc;
}

/* Packs prompts into free places; *first moves on. */
static int take_prompts(struct generator *g, int64_t *first, int64_t n, int slots, const struct generator_ends *e)
{
    int rc = CL_OK, from = 0;
    struct prompt_item *w = &g->waiting;

    for (int i = 0; i < 2; i++) batch_clear(&g->pack[i].b);
    for (int at = 0; at < g->lim.batch && *first < n; at++) {
        if (g->place[at].item >= 0) continue;
        if (!g->has_waiting) {
            *w = (struct prompt_item){.coef = g->waiting_coef};
            g->has_waiting = true; // whatever a failing source has filled is freed with the generator
            TRY(e->source(e->context, *first, w));
        }
        const int64_t shared = find_front(g, w, slots, &from);
        struct pack *p = &g->pack[shared && g->place[from].front.stand == IN_FIRST_PACK];
        if (p->b.n && p->b.n + w->sample.prompt_n - shared > g->pack_tokens) break;
        TRY(place_prompt(g, p, at, from, shared, slots));
        g->place[at].item = (*first)++;
        item_clear(w);
        g->has_waiting = false;
    }
done:
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

static int run_pack(struct generator *g, struct pack *p, const struct adapters *set, const struct generator_ends *e,
                    int64_t *ended)
{
    int rc = CL_OK;
    struct packed_batch *b = &p->b;
    struct adapters ad = set ? *set : (struct adapters){0};

    if (!b->samples) return CL_OK;
    ad.coef = p->coef;
    for (int i = 0; i < b->pictures; i++)
        if (p->feature[i]) b->feature[i] = p->feature[i];
    if (b->pictures && !p->feature[0])
        TRY(features_get(g->j->features, (const char *const *)p->picture, b->pictures, b->feature));
    TRY(lvlm_prefill(g->j->lvlm, g->kv, p->seq, b, set ? &ad : NULL, g->j->allowed, g->next));
    g->prefilled += b->n;
    for (int s = 0; s < b->samples; s++) {
        g->place[p->seq[s]].front.stand = IS_THERE;
        TRY(accept_token(g, p->seq[s], g->next[s], e, ended));
    }
done:
    let_pictures_go(g, p);
    return rc;
}

static int prefill(struct generator *g, const struct adapters *set, const struct generator_ends *e, int64_t *ended)
{
    int rc;
    struct pack *later = &g->pack[1];

    TRY(run_pack(g, &g->pack[0], set, e, ended));
    for (int s = 0; s < later->b.samples; s++)
        TRY(lvlm_kv_copy(g->kv, later->from[s], later->seq[s], later->shared[s]));
    TRY(run_pack(g, later, set, e, ended));
done:
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

    for (int i = 0; i < g->lim.batch; i++) g->place[i].item = -1, g->place[i].front.n = 0; // another set
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
    for (int i = 0; i < 2; i++) let_pictures_go(g, &g->pack[i]); // of prompts that were taken but not run
    return rc;
}
