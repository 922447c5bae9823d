/* tok_bpe.c - byte-pair encoding of one word.
 *
 * The word is a linked list of symbols. A heap holds every neighbouring pair that has a rank; the lowest rank, then the
 * leftmost place, is joined first. An entry whose pair has changed meanwhile is recognised when it comes up and left out,
 * so a word of n characters costs n log n.
 */
#include "io/tok_model.h"

#include "io/err.h"

#include <stdlib.h>
#include <string.h>

struct tok_pair {
    uint64_t key; // left id << 32 | right id, plus one; 0: free
    uint32_t rank;
    int32_t id; // of the joined piece
};

struct symbol {
    int32_t id; // -1: swallowed by its left neighbour
    int32_t prev, next;
};

struct candidate {
    uint32_t rank;
    int32_t at, id; // symbol on the left, piece the two become
};

static struct tok_pair *find_pair(const struct tok_model *m, int32_t left, int32_t right)
{
    uint64_t key = ((uint64_t)left << 32 | (uint32_t)right) + 1, h = key * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 30) & (m->pairs - 1);

    while (m->pair[i].key && m->pair[i].key != key) i = (i + 1) & (m->pairs - 1);
    return &m->pair[i];
}

static int grow_pairs(struct tok_model *m)
{
    struct tok_model wide = *m;

    if (m->pairs && m->pair_count < m->pairs / 2) return CL_OK;
    wide.pairs = m->pairs ? m->pairs * 4 : 1024;
    wide.pair = calloc(wide.pairs, sizeof *wide.pair);
    if (!wide.pair) return err_set(CL_ENOMEM, "no memory for %zu merges", wide.pairs);
    for (size_t i = 0; i < m->pairs; i++) {
        uint64_t key = m->pair[i].key - 1;

        if (m->pair[i].key) *find_pair(&wide, (int32_t)(key >> 32), (int32_t)(uint32_t)key) = m->pair[i];
    }
    free(m->pair);
    m->pair = wide.pair;
    m->pairs = wide.pairs;
    return CL_OK;
}

int tok_bpe_add_merge(struct tok_model *m, const char *left, size_t nl, const char *right, size_t nr, uint32_t rank)
{
    int rc;
    int32_t a = tok_vocab_find(m->vocab, left, nl), b = tok_vocab_find(m->vocab, right, nr), id;
    size_t cut = m->prefix.n; // a piece inside a word carries the prefix; joined, it does not
    struct tok_buf joined = {0};
    struct tok_pair *p;
    uint64_t key;

    if (a < 0 || b < 0) FAIL(CL_EFORMAT, "\"%.40s\" is not in the vocabulary", a < 0 ? left : right);
    if (nr < cut) FAIL(CL_EFORMAT, "\"%.40s\" is shorter than the prefix of pieces inside a word", right);
    TRY(tok_buf_add(&joined, left, nl));
    TRY(tok_buf_add(&joined, right + cut, nr - cut));
    id = tok_vocab_find(m->vocab, joined.s, joined.n);
    if (id < 0) FAIL(CL_EFORMAT, "what it gives, \"%.80s\", is not in the vocabulary", joined.s);
    TRY(grow_pairs(m));
    key = ((uint64_t)a << 32 | (uint32_t)b) + 1;
    p = find_pair(m, a, b);
    m->pair_count += !p->key;
    *p = (struct tok_pair){key, rank, id}; // of a repeated merge the last one counts
    rc = CL_OK;
done:
    tok_buf_free(&joined);
    return rc;
}

int tok_bpe_add_line(struct tok_model *m, const char *line, size_t n, uint32_t rank)
{
    int rc;
    const char *blank = memchr(line, ' ', n);
    size_t nl = blank ? (size_t)(blank - line) : 0;
    char *left = NULL, *right = NULL;

    if (!blank || !nl || nl + 1 == n || memchr(blank + 1, ' ', n - nl - 1))
        return err_set(CL_EFORMAT, "\"%.*s\": expected two pieces with one blank between", n < 80 ? (int)n : 80, line);
    left = strndup(line, nl); // terminated, for the error texts
    right = strndup(blank + 1, n - nl - 1);
    if (!left || !right) FAIL(CL_ENOMEM, "no memory for a merge");
    TRY(tok_bpe_add_merge(m, left, nl, right, n - nl - 1, rank));
    rc = CL_OK;
done:
    free(left);
    free(right);
    return rc;
}

/* The symbols of a word while it is built. */
struct word {
    struct tok_scratch *w;
    size_t n;
    bool pending; // an unknown character waits: the next one may fuse with it
};

static int add_symbol(struct word *w, int32_t id)
{
    int rc = tok_scratch_room(&w->w->symbol, &w->w->symbols, w->n + 1, sizeof(struct symbol));
    struct symbol *s = w->w->symbol;

    if (rc) return rc;
    s[w->n] = (struct symbol){id, (int32_t)w->n - 1, (int32_t)w->n + 1};
    w->n++;
    return CL_OK;
}

/* One character by its bytes, if the vocabulary has all of them. */
static int add_bytes(const struct tok_model *m, struct word *w, const char *s, size_t n, bool *done_)
{
    int rc;

    *done_ = m->byte_fallback;
    for (size_t i = 0; i < n && *done_; i++) *done_ = m->byte_id[(uint8_t)s[i]] >= 0;
    for (size_t i = 0; i < n && *done_; i++) TRY(add_symbol(w, m->byte_id[(uint8_t)s[i]]));
    rc = CL_OK;
done:
    return rc;
}

static int flush_unknown(const struct tok_model *m, struct word *w)
{
    bool pending = w->pending;

    w->pending = false;
    return pending ? add_symbol(w, m->unknown) : CL_OK;
}

static int add_char(const struct tok_model *m, struct word *w, const char *s, size_t n)
{
    int rc;
    int32_t id = tok_vocab_find(m->vocab, s, n);
    bool bytes;

    if (id >= 0) {
        TRY(flush_unknown(m, w));
        return add_symbol(w, id);
    }
    TRY(add_bytes(m, w, s, n, &bytes));
    if (bytes || m->unknown < 0) return CL_OK;
    if (!m->fuse_unknown) TRY(flush_unknown(m, w));
    w->pending = true;
    rc = CL_OK;
done:
    return rc;
}

/* A character with the marks of its place in the word: prefix unless first, suffix if last. */
static int add_marked(const struct tok_model *m, struct word *w, const char *s, size_t n, bool first, bool last)
{
    int rc;
    struct tok_buf *b = &w->w->text;

    b->n = 0;
    if (!first) TRY(tok_buf_add(b, m->prefix.s, m->prefix.n));
    TRY(tok_buf_add(b, s, n));
    if (last) TRY(tok_buf_add(b, m->suffix.s, m->suffix.n));
    TRY(add_char(m, w, b->s, b->n));
    rc = CL_OK;
done:
    return rc;
}

static int split_word(const struct tok_model *m, struct word *w, const char *s, size_t n)
{
    int rc;
    size_t len;
    bool marks = m->prefix.n || m->suffix.n;

    for (size_t i = 0; i < n; i += len) {
        tok_char(s + i, &len);
        TRY(marks ? add_marked(m, w, s + i, len, i == 0, i + len == n) : add_char(m, w, s + i, len));
    }
    TRY(flush_unknown(m, w));
    rc = CL_OK;
done:
    return rc;
}

static bool before(struct candidate a, struct candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static int push(struct tok_scratch *w, size_t *n, struct candidate c)
{
    int rc = tok_scratch_room(&w->heap, &w->heaps, *n + 1, sizeof c);
    struct candidate *h = w->heap;
    size_t i = *n;

    if (rc) return rc;
    for (; i && before(c, h[(i - 1) / 2]); i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
    h[i] = c;
    ++*n;
    return CL_OK;
}

static struct candidate pop(struct candidate *h, size_t *n)
{
    struct candidate top = h[0], last = h[--*n];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < *n) {
        if (child + 1 < *n && before(h[child + 1], h[child])) child++;
        if (!before(h[child], last)) break;
        h[i] = h[child];
        i = child;
    }
    h[i] = last;
    return top;
}

/* Puts the pair of a symbol and its right neighbour on the heap, if it has a rank. */
static int offer(const struct tok_model *m, struct tok_scratch *w, size_t *heap, int32_t at)
{
    const struct symbol *s = w->symbol;
    const struct tok_pair *p;

    if (at < 0 || s[at].next < 0) return CL_OK;
    p = find_pair(m, s[at].id, s[s[at].next].id);
    return p->key ? push(w, heap, (struct candidate){p->rank, at, p->id}) : CL_OK;
}

static int merge_all(const struct tok_model *m, struct tok_scratch *w, size_t n)
{
    int rc;
    struct symbol *s = w->symbol;
    size_t heap = 0;

    if (!m->pairs || n < 2) return CL_OK;
    s[n - 1].next = -1;
    for (size_t i = 0; i + 1 < n; i++) TRY(offer(m, w, &heap, (int32_t)i));
    while (heap) {
        struct candidate c = pop(w->heap, &heap);
        struct symbol *a = &s[c.at], *b;
        const struct tok_pair *p;

        if (a->id < 0 || a->next < 0) continue;
        b = &s[a->next];
        p = find_pair(m, a->id, b->id);
        if (!p->key || p->id != c.id) continue; // the pair has changed since
        a->id = c.id;
        a->next = b->next;
        b->id = -1;
        if (a->next >= 0) s[a->next].prev = c.at;
        TRY(offer(m, w, &heap, a->prev));
        TRY(offer(m, w, &heap, c.at));
    }
    rc = CL_OK;
done:
    return rc;
}

int tok_bpe_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out)
{
    int rc;
    struct word word = {.w = w};
    const struct symbol *symbol;
    int32_t whole = m->whole_words ? tok_vocab_find(m->vocab, s, n) : -1;

    if (whole >= 0) return ids_push(out, whole);
    TRY(split_word(m, &word, s, n));
    TRY(merge_all(m, w, word.n));
    symbol = w->symbol;
    for (size_t i = 0; i < word.n; i++)
        if (symbol[i].id >= 0) TRY(ids_push(out, symbol[i].id));
    rc = CL_OK;
done:
    return rc;
}
