/* generate.c - greedy generation with a KV cache.
 *
 * The cache has places for some sequences of some length; each place fills from its front. Prefill runs a pack of prompts
 * through the ordinary forward pass and leaves keys and values behind; decoding runs one token of each of n sequences,
 * whatever places they have, so that a finished sequence's place can be given to the next prompt at once (continuous
 * batching is the caller's: jobs/generator.c). A prompt that begins like one whose keys and values are there already gets
 * these copied and runs from there on: its tokens' positions say so, and attention reads the cache then.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <string.h>

struct kv_cache {
    struct lvlm *m;
    int64_t id; // among the model's caches, the same on all ranks
    int sequences;
    int64_t length;       // tokens of one sequence
    struct tensor *k, *v; // (L) (sequences * length, KV)
    int64_t *used;        // (sequences) tokens in each place
    bool read;            // by the attention of this pass: it has tokens that follow others in the cache
    /* one step's arrays */
    struct packed_batch b; // decode: one token a sample
    int64_t *slot;         // (slot_room) cache row of each token of a pass
    int64_t slot_room;
    int64_t *cu_k, *k_start;
};

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void drop(struct kv_cache *kv)
{
    if (!kv) return;
    for (int l = 0; l < kv->m->c.text.layers; l++) {
        if (kv->k && kv->k[l].data) kv->m->be->free(kv->k[l].data);
        if (kv->v && kv->v[l].data) kv->m->be->free(kv->v[l].data);
    }
    batch_free(&kv->b);
    mem_free(kv->k), mem_free(kv->v), mem_free(kv->used), mem_free(kv->slot), mem_free(kv->cu_k), mem_free(kv->k_start);
    mem_free(kv);
}

int lvlm_kv_new(struct kv_cache **out, struct lvlm *m, int sequences, int64_t length)
{
    int rc;
    int L = m->c.text.layers;
    int64_t rows = sequences * length, room = most(sequences, m->limits.tokens);
    struct kv_cache *kv = mem_new(1, sizeof *kv);

    TRY(follow_kv_new(m, sequences, length));
    if (!kv || !(kv->k = mem_new((size_t)L, sizeof *kv->k)) || !(kv->v = mem_new((size_t)L, sizeof *kv->v)) ||
        !(kv->used = mem_new((size_t)sequences, sizeof *kv->used)) ||
        !(kv->slot = mem_new((size_t)room, sizeof *kv->slot)) ||
        !(kv->cu_k = mem_new((size_t)sequences + 1, sizeof *kv->cu_k)) ||
        !(kv->k_start = mem_new((size_t)sequences, sizeof *kv->k_start)))
        FAIL(CL_ENOMEM, "no memory for a KV cache");
    TRY(numbered_add(&m->caches, kv, &kv->id));
    kv->m = m, kv->sequences = sequences, kv->length = length, kv->slot_room = room;
    TRY(rope_reserve(m, length));
    TRY(batch_new(&kv->b, sequences, sequences));
    for (int l = 0; l < L; l++) {
        size_t bytes = (size_t)(rows * m->own.KV) * dtype_size(m->be->act);
        kv->k[l] = tensor_of(m->be->alloc(bytes), m->be->act, rows, m->own.KV);
        kv->v[l] = tensor_of(m->be->alloc(bytes), m->be->act, rows, m->own.KV);
        if (!kv->k[l].data || !kv->v[l].data)
            FAIL(CL_ENOMEM, "no memory for a KV cache of %d sequences x %lld tokens; hint: lower eval.batch", sequences,
                 (long long)length);
    }
    *out = kv;
    return follow_done(m, CL_OK);
done:
    if (kv && kv->m) numbered_drop(&m->caches, kv->id);
    if (kv) kv->m = m;
    drop(kv);
    return follow_done(m, rc);
}

void lvlm_kv_free(struct kv_cache *kv)
{
    if (!kv) return;
    follow_done(kv->m, follow_kv_free(kv->m, kv->id));
    numbered_drop(&kv->m->caches, kv->id);
    drop(kv);
}

int64_t kv_number(const struct kv_cache *kv)
{
    return kv->id;
}

bool kv_is_read(const struct kv_cache *kv)
{
    return kv->read;
}

struct tensor kv_keys(struct kv_cache *kv, int l)
{
    return kv->k[l];
}

struct tensor kv_values(struct kv_cache *kv, int l)
{
    return kv->v[l];
}

int kv_store(struct kv_cache *kv, int l, const struct pass *p, struct tensor k, struct tensor v)
{
    int rc;

    (void)p;
    TRY(kv->m->be->scatter(kv->k[l], k, kv->slot));
    TRY(kv->m->be->scatter(kv->v[l], v, kv->slot));
    rc = CL_OK;
done:
    return rc;
}

void kv_attention(const struct kv_cache *kv, const struct pass *p, struct attention_shape *s)
{
    const struct packed_batch *b = p->b;

    for (int i = 0; i < b->samples; i++) { // the tokens of this pass are in the cache already
        kv->cu_k[i + 1] = kv->cu_k[i] + b->pos[b->cu[i]] + (b->cu[i + 1] - b->cu[i]);
        kv->k_start[i] = p->seq[i] * kv->length;
    }
    s->cu_k = kv->cu_k;
    s->k_start = kv->k_start;
}

int lvlm_kv_copy(struct kv_cache *kv, int from, int to, int64_t tokens)
{
    int rc;
    struct lvlm *m = kv->m;

    if (from < 0 || to < 0 || from >= kv->sequences || to >= kv->sequences || tokens < 0 || tokens > kv->used[from])
        FAIL(CL_EINTERNAL, "copying %lld tokens of place %d to place %d (there are %d places)", (long long)tokens, from,
             to, kv->sequences);
    TRY(follow_kv_copy(m, kv, from, to, tokens));
    for (int l = 0; l < m->c.text.layers && from != to; l++) {
        TRY(m->be->copy(tensor_rows(kv->k[l], to * kv->length, tokens),
                        tensor_rows(kv->k[l], from * kv->length, tokens)));
        TRY(m->be->copy(tensor_rows(kv->v[l], to * kv->length, tokens),
                        tensor_rows(kv->v[l], from * kv->length, tokens)));
    }
    kv->used[to] = tokens;
    rc = CL_OK;
done:
    return follow_done(m, rc);
}

/* Every sequence has one row of logits. */
static int run(struct lvlm *m, struct pass p, int64_t rows, const uint8_t *allowed, int32_t *next)
{
    int rc;

    TRY(set_load(m, p.ad));
    TRY(residual_begin(m, p.ad, (int)rows, NULL));
    p.ad = set_split(m, p.ad, (int)rows);
    mem_guard_begin();
    arena_back(&m->arena, 0);
    rc = decoder_layout(m, p.b->n, p.b->rows, &p);
    if (!rc) rc = decoder_run(m, &p);
    if (!rc) rc = head_choose(m, rows, allowed, next);
    mem_guard_end();
done:
    return rc;
}

int lvlm_prefill(struct lvlm *m, struct kv_cache *kv, const int *seq, const struct packed_batch *b,
                 const struct adapters *ad, const uint8_t *allowed, int32_t *next)
{
    int rc;
    struct pass p = {.b = b, .ad = ad, .kv = kv, .seq = seq, .rows_only = true};

    TRY(check_batch(m, b, ad, false));
    if (b->n > m->limits.tokens || b->n > kv->slot_room || b->samples > m->limits.samples || b->rows != b->samples ||
        b->rows > m->limits.rows)
        FAIL(CL_EINTERNAL, "prefill of %d prompts, %lld tokens (reserved %d, %lld)", b->samples, (long long)b->n,
             m->limits.samples, (long long)m->limits.tokens);
    kv->read = false;
    for (int s = 0; s < b->samples; s++) {
        int64_t n = b->cu[s + 1] - b->cu[s], at = b->pos[b->cu[s]];
        if (at + n > kv->length)
            FAIL(CL_EDATA, "prompt of %lld tokens is longer than the KV cache (%lld)", (long long)(at + n),
                 (long long)kv->length);
        if (at && at != kv->used[seq[s]])
            FAIL(CL_EINTERNAL, "prompt goes on at token %lld of a place that has %lld", (long long)at,
                 (long long)kv->used[seq[s]]);
        for (int64_t i = 0; i < n; i++) kv->slot[b->cu[s] + i] = seq[s] * kv->length + at + i;
        kv->read |= at > 0;
    }
    TRY(follow_prefill(m, kv, seq, b, ad, allowed));
    TRY(run(m, p, b->rows, allowed, next));
    for (int s = 0; s < b->samples; s++) kv->used[seq[s]] = b->pos[b->cu[s]] + (b->cu[s + 1] - b->cu[s]);
    rc = CL_OK;
done:
    return follow_done(m, rc);
}

int lvlm_decode(struct lvlm *m, struct kv_cache *kv, int n, const int *seq, const int32_t *token,
                const struct adapters *ad, const uint8_t *allowed, int32_t *next)
{
    int rc;
    struct packed_batch *b = &kv->b;
    struct pass p = {.b = b, .ad = ad, .kv = kv, .seq = seq, .decode = true};

    if (n > kv->sequences || n > m->limits.samples || n > m->limits.tokens)
        FAIL(CL_EINTERNAL, "decoding %d sequences (cache %d, reserved %d)", n, kv->sequences, m->limits.samples);
    batch_clear(b);
    b->samples = n, b->n = n;
    for (int i = 0; i < n; i++) {
        if (kv->used[seq[i]] >= kv->length)
            FAIL(CL_EDATA, "sequence is longer than the KV cache (%lld tokens)", (long long)kv->length);
        b->id[i] = token[i];
        b->pos[i] = (int32_t)kv->used[seq[i]];
        b->cu[i + 1] = i + 1;
        kv->slot[i] = seq[i] * kv->length + kv->used[seq[i]];
    }
    TRY(check_batch(m, b, ad, false));
    kv->read = true;
    TRY(follow_decode(m, kv, n, seq, token, ad, allowed));
    TRY(run(m, p, n, allowed, next));
    for (int i = 0; i < n; i++) kv->used[seq[i]]++;
    rc = CL_OK;
done:
    return follow_done(m, rc);
}
