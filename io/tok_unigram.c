/* tok_unigram.c - Unigram: the best sum of scores over all ways to cut a word into pieces (Viterbi, left to right).
 *
 * A character that is no piece is unknown and costs more than any piece. Neighbouring unknown characters are one.
 */
#include "io/tok_model.h"

#include "io/err.h"

#include <math.h>
#include <stdlib.h>

struct node { // what ends at a byte of the word
    double score;
    int32_t id;   // piece, or -1: unknown character
    int32_t from; // where it begins, -1: nothing ends here
    int32_t next; // on the best way: where the piece that begins here ends
};

static void relax(struct node *v, size_t from, size_t to, double score, int32_t id)
{
    double sum = v[from].score + score;

    if (v[to].from < 0 || sum > v[to].score) v[to] = (struct node){sum, id, (int32_t)from, 0};
}

/* All pieces that begin at `at`; where none is the single character, that counts as unknown. */
static void extend(const struct tok_model *m, struct node *v, const char *s, size_t n, size_t at)
{
    uint64_t h = TOK_HASH_START;
    size_t first, most = m->vocab->longest < n - at ? m->vocab->longest : n - at;
    bool single = false;

    tok_char(s + at, &first);
    for (size_t i = 0; i < most; i++) {
        int32_t id;

        h = tok_hash_byte(h, (uint8_t)s[at + i]);
        if (at + i + 1 < n && ((uint8_t)s[at + i + 1] & 0xC0) == 0x80) continue;
        id = tok_vocab_find_hashed(m->vocab, s + at, i + 1, h);
        if (id < 0) continue;
        relax(v, at, at + i + 1, m->score[id], id);
        single |= i + 1 == first;
    }
    if (!single) relax(v, at, at + first, m->unknown_score, -1);
}

static int emit_unknown(const struct tok_model *m, const char *s, size_t n, struct ids *out)
{
    int rc;
    bool bytes = m->byte_fallback;

    for (size_t i = 0; i < n && bytes; i++) bytes = m->byte_id[(uint8_t)s[i]] >= 0;
    for (size_t i = 0; i < n && bytes; i++) TRY(ids_push(out, m->byte_id[(uint8_t)s[i]]));
    if (bytes) return CL_OK;
    if (m->unknown < 0) FAIL(CL_EDATA, "\"%.*s\" is not in the vocabulary and there is no unk_id", (int)n, s);
    TRY(ids_push(out, m->unknown));
    rc = CL_OK;
done:
    return rc;
}

int tok_unigram_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out)
{
    int rc;
    size_t len, end;
    struct node *v;

    TRY(tok_scratch_room(&w->node, &w->nodes, n + 1, sizeof *v));
    v = w->node;
    for (size_t i = 0; i <= n; i++) v[i] = (struct node){0, -1, -1, 0};
    for (size_t at = 0; at < n; at += len) {
        tok_char(s + at, &len);
        extend(m, v, s, n, at);
    }
    for (int32_t at = (int32_t)n; at > 0; at = v[at].from) v[v[at].from].next = at;
    for (size_t at = 0; at < n; at = end) {
        end = (size_t)v[at].next;
        if (v[end].id >= 0) {
            TRY(ids_push(out, v[end].id));
            continue;
        }
        while (m->fuse_unknown && end < n && v[v[end].next].id < 0) end = (size_t)v[end].next;
        TRY(emit_unknown(m, s + at, end - at, out));
    }
    rc = CL_OK;
done:
    return rc;
}
