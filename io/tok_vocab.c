/* tok_vocab.c - pieces by id and ids by piece. */
#include "io/tok_vocab.h"

#include "io/err.h"

#include <stdlib.h>
#include <string.h>

uint64_t tok_hash(const char *s, size_t n)
{
    uint64_t h = TOK_HASH_START;

    for (size_t i = 0; i < n; i++) h = tok_hash_byte(h, (uint8_t)s[i]);
    return h;
}

/* Bytes of a piece that an error text shows. */
static int shown(size_t n)
{
    return n < 40 ? (int)n : 40;
}

/* FNV's low bits mix badly for short keys. */
static size_t slot_of(const struct tok_vocab *v, uint64_t hash)
{
    return (size_t)((hash * 0x9E3779B97F4A7C15u) >> 32) & (v->slots - 1);
}

static bool is_piece(const struct tok_vocab *v, int32_t id, const char *s, size_t n)
{
    const struct tok_piece *p = &v->piece[id];

    return p->n == n && (!n || memcmp(v->text.s + p->at, s, n) == 0);
}

/* The slot that holds the piece, or the free one where it would go. */
static size_t find_slot(const struct tok_vocab *v, const char *s, size_t n, uint64_t hash)
{
    size_t i = slot_of(v, hash);

    while (v->slot[i] && !is_piece(v, v->slot[i] - 1, s, n)) i = (i + 1) & (v->slots - 1);
    return i;
}

int32_t tok_vocab_find_hashed(const struct tok_vocab *v, const char *s, size_t n, uint64_t hash)
{
    return v->slots && n <= v->longest ? v->slot[find_slot(v, s, n, hash)] - 1 : -1;
}

int32_t tok_vocab_find(const struct tok_vocab *v, const char *s, size_t n)
{
    return n <= v->longest ? tok_vocab_find_hashed(v, s, n, tok_hash(s, n)) : -1;
}

const char *tok_vocab_piece(const struct tok_vocab *v, int32_t id)
{
    return id >= 0 && id < v->size && v->piece[id].used ? v->text.s + v->piece[id].at : NULL;
}

static int grow_ids(struct tok_vocab *v, int32_t id)
{
    int32_t room = v->room < 256 ? 256 : v->room * 2; // at most 2 TOK_MAX_ID
    struct tok_piece *more;

    if (id >= v->room) {
        if (room <= id) room = id + 1;
        more = realloc(v->piece, (size_t)room * sizeof *more);
        if (!more) return err_set(CL_ENOMEM, "no memory for a vocabulary of %d pieces", room);
        v->piece = more;
        v->room = room;
    }
    if (id >= v->size) {
        memset(v->piece + v->size, 0, (size_t)(id + 1 - v->size) * sizeof *v->piece);
        v->size = id + 1;
    }
    return CL_OK;
}

static int grow_slots(struct tok_vocab *v)
{
    struct tok_vocab wide = *v;

    if (v->slots && v->count < v->slots / 2) return CL_OK;
    wide.slots = v->slots ? v->slots * 4 : 1024;
    wide.slot = calloc(wide.slots, sizeof *wide.slot);
    if (!wide.slot) return err_set(CL_ENOMEM, "no memory for a table of %zu pieces", wide.slots);
    for (size_t i = 0; i < v->slots; i++) {
        const struct tok_piece *p = v->slot[i] ? &v->piece[v->slot[i] - 1] : NULL;
        const char *s = p ? v->text.s + p->at : NULL;

        if (p) wide.slot[find_slot(&wide, s, p->n, tok_hash(s, p->n))] = v->slot[i];
    }
    free(v->slot);
    *v = wide;
    return CL_OK;
}

int tok_vocab_set(struct tok_vocab *v, const char *s, size_t n, int64_t id)
{
    int rc;
    size_t at = v->text.n, slot;

    if (id < 0 || id >= TOK_MAX_ID)
        FAIL(CL_EFORMAT, "piece \"%.*s\" has id %lld, expected 0 to %d", shown(n), s, (long long)id, TOK_MAX_ID - 1);
    if (n > TOK_MAX_PIECE)
        FAIL(CL_EFORMAT, "piece of id %lld has %zu bytes, at most %d", (long long)id, n, TOK_MAX_PIECE);
    TRY(grow_slots(v));
    TRY(grow_ids(v, (int32_t)id));
    TRY(tok_buf_add(&v->text, s, n));
    TRY(tok_buf_add(&v->text, "", 1));
    slot = find_slot(v, s, n, tok_hash(s, n));
    v->count += !v->slot[slot];
    v->piece[id].at = at; // before the slot points here: the table reads its keys through the ids
    v->piece[id].n = (uint32_t)n;
    v->piece[id].used = true;
    v->slot[slot] = (int32_t)id + 1;
    if (n > v->longest) v->longest = (uint32_t)n;
    rc = CL_OK;
done:
    return rc;
}

int tok_vocab_put(struct tok_vocab *v, const char *s, size_t n, int64_t id)
{
    int32_t had = tok_vocab_find(v, s, n);
    const char *there = id >= 0 && id < TOK_MAX_ID ? tok_vocab_piece(v, (int32_t)id) : NULL;

    if (had >= 0 && had == id) return CL_OK;
    if (had >= 0)
        return err_set(CL_EFORMAT, "piece \"%.*s\" has two ids, %d and %lld; each piece needs one", shown(n), s, had,
                       (long long)id);
    if (there)
        return err_set(CL_EFORMAT, "id %lld stands for two pieces, \"%.40s\" and \"%.*s\"; each piece needs its own",
                       (long long)id, there, shown(n), s);
    return tok_vocab_set(v, s, n, id);
}

void tok_vocab_free(struct tok_vocab *v)
{
    free(v->piece);
    free(v->slot);
    tok_buf_free(&v->text);
    *v = (struct tok_vocab){0};
}
