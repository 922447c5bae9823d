/* tok_model.c - reading the model of a tokenizer.json and what the three models share. */
#include "io/tok_model.h"

#include "io/err.h"
#include "io/tok_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tok_scratch_room(void **p, size_t *room, size_t n, size_t size)
{
    size_t more = *room < 64 ? 64 : *room * 2;
    void *q;

    if (n <= *room) return CL_OK;
    if (more < n) more = n;
    if (more > SIZE_MAX / 4 / size) return err_set(CL_ENOMEM, "a word of %zu symbols is too long", n);
    q = realloc(*p, more * size);
    if (!q) return err_set(CL_ENOMEM, "no memory for a word of %zu symbols", n);
    *p = q;
    *room = more;
    return CL_OK;
}

void tok_scratch_free(struct tok_scratch *w)
{
    free(w->symbol);
    free(w->heap);
    free(w->node);
    tok_buf_free(&w->text);
    *w = (struct tok_scratch){0};
}

void tok_model_free(struct tok_model *m)
{
    tok_buf_free(&m->prefix);
    tok_buf_free(&m->suffix);
    free(m->pair);
    free(m->score);
    *m = (struct tok_model){0};
}

void tok_model_find_bytes(struct tok_model *m)
{
    char piece[8];

    for (int b = 0; b < 256; b++) {
        int n = snprintf(piece, sizeof piece, "<0x%02X>", b);
        m->byte_id[b] = tok_vocab_find(m->vocab, piece, (size_t)n);
    }
}

int tok_model_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out)
{
    if (n > INT32_MAX / 2) return err_set(CL_EDATA, "a word of %zu bytes is too long", n);
    switch (m->kind) {
    case TOK_BPE: return tok_bpe_encode(m, w, s, n, out);
    case TOK_WORDPIECE: return tok_wordpiece_encode(m, w, s, n, out);
    default: return tok_unigram_encode(m, w, s, n, out);
    }
}

int tok_model_read_vocab(struct tok_vocab *v, const json_t *vocab)
{
    int rc;
    const char *piece;
    size_t n;
    json_t *id;

    if (!json_is_object(vocab)) return err_set(CL_EFORMAT, "vocab: expected an object of pieces and ids");
    if (!json_object_size(vocab)) return err_set(CL_EFORMAT, "vocab: is empty");
    json_object_keylen_foreach((json_t *)(uintptr_t)vocab, piece, n, id)
    {
        if (!json_is_integer(id)) FAIL(CL_EFORMAT, "vocab: id of \"%.40s\": expected an integer", piece);
        TRY(err_prefix(tok_vocab_put(v, piece, n, json_integer_value(id)), "vocab"));
    }
    rc = CL_OK;
done:
    return rc;
}

/* unk_token by name; every model but BPE needs one. */
static int read_unknown(struct tok_model *m, const json_t *o)
{
    const char *unknown;
    size_t n;
    int rc = tok_json_string(&unknown, &n, o, "unk_token", m->kind == TOK_WORDPIECE ? "[UNK]" : "");

    m->unknown = -1;
    if (rc || (!n && m->kind == TOK_BPE)) return rc;
    m->unknown = tok_vocab_find(m->vocab, unknown, n);
    if (m->unknown >= 0) return CL_OK;
    return err_set(CL_EFORMAT, "unk_token \"%.40s\" is not in the vocabulary", unknown);
}

static int read_affix(struct tok_buf *b, const json_t *o, const char *key, const char *otherwise)
{
    const char *s;
    size_t n;
    int rc = tok_json_string(&s, &n, o, key, otherwise);

    return rc ? rc : tok_buf_add(b, s, n);
}

/* "a b" in older files, ["a", "b"] in newer ones, where a piece may hold a blank. */
static int read_merge(struct tok_model *m, const json_t *merge, uint32_t rank)
{
    const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);

    if (json_is_string(merge)) return tok_bpe_add_line(m, json_string_value(merge), json_string_length(merge), rank);
    if (json_array_size(merge) != 2 || !json_is_string(a) || !json_is_string(b))
        return err_set(CL_EFORMAT, "expected \"left right\" or [\"left\", \"right\"]");
    return tok_bpe_add_merge(m, json_string_value(a), json_string_length(a), json_string_value(b),
                             json_string_length(b), rank);
}

static int read_bpe(struct tok_model *m, const json_t *o)
{
    int rc;
    const json_t *merges = json_object_get(o, "merges");

    m->kind = TOK_BPE;
    TRY(tok_model_read_vocab(m->vocab, json_object_get(o, "vocab")));
    TRY(read_unknown(m, o));
    TRY(tok_json_bool(&m->fuse_unknown, o, "fuse_unk", false));
    TRY(tok_json_bool(&m->byte_fallback, o, "byte_fallback", false));
    TRY(tok_json_bool(&m->whole_words, o, "ignore_merges", false));
    TRY(read_affix(&m->prefix, o, "continuing_subword_prefix", ""));
    TRY(read_affix(&m->suffix, o, "end_of_word_suffix", ""));
    if (!json_is_array(merges)) FAIL(CL_EFORMAT, "merges: expected an array");
    for (size_t i = 0; i < json_array_size(merges); i++)
        TRY(err_prefix(read_merge(m, json_array_get(merges, i), (uint32_t)i), "merges[%zu]", i));
    rc = CL_OK;
done:
    return rc;
}

static int read_wordpiece(struct tok_model *m, const json_t *o)
{
    int rc;
    int64_t chars;

    m->kind = TOK_WORDPIECE;
    TRY(tok_model_read_vocab(m->vocab, json_object_get(o, "vocab")));
    TRY(read_unknown(m, o));
    TRY(read_affix(&m->prefix, o, "continuing_subword_prefix", "##"));
    TRY(tok_json_number(&chars, o, "max_input_chars_per_word", 100));
    if (chars < 1) FAIL(CL_EFORMAT, "max_input_chars_per_word is %lld, expected 1 or more", (long long)chars);
    m->max_chars = (size_t)chars;
    rc = CL_OK;
done:
    return rc;
}

/* [["piece", score], ..], ids in order. */
static int read_scores(struct tok_model *m, const json_t *vocab)
{
    int rc;
    double lowest = INFINITY;
    size_t n = json_array_size(vocab);

    if (!n || n > TOK_MAX_ID) FAIL(CL_EFORMAT, "vocab: expected an array of 1 to %d [piece, score]", TOK_MAX_ID);
    m->score = malloc(n * sizeof *m->score);
    if (!m->score) FAIL(CL_ENOMEM, "no memory for %zu scores", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(vocab, i), *piece = json_array_get(e, 0), *score = json_array_get(e, 1);

        if (!json_is_string(piece) || !json_is_number(score))
            FAIL(CL_EFORMAT, "vocab[%zu]: expected [piece, score]", i);
        TRY(tok_vocab_put(m->vocab, json_string_value(piece), json_string_length(piece), (int64_t)i));
        m->score[i] = json_number_value(score);
        if (m->score[i] < lowest) lowest = m->score[i];
    }
    m->unknown_score = lowest - 10; // as SentencePiece does
    rc = CL_OK;
done:
    return rc;
}

static int read_unigram(struct tok_model *m, const json_t *o)
{
    int rc;
    int64_t unknown;

    m->kind = TOK_UNIGRAM;
    m->fuse_unknown = true;
    TRY(read_scores(m, json_object_get(o, "vocab")));
    TRY(tok_json_bool(&m->byte_fallback, o, "byte_fallback", false));
    TRY(tok_json_number(&unknown, o, "unk_id", -1));
    if (unknown < -1 || unknown >= m->vocab->size)
        FAIL(CL_EFORMAT, "unk_id is %lld, expected one of the %d ids", (long long)unknown, m->vocab->size);
    m->unknown = (int32_t)unknown;
    rc = CL_OK;
done:
    return rc;
}

/* Files of early days leave the type out: then the members tell. */
static const char *guess_type(const json_t *o)
{
    if (json_object_get(o, "merges")) return "BPE";
    if (json_is_array(json_object_get(o, "vocab"))) return "Unigram";
    return json_object_get(o, "max_input_chars_per_word") ? "WordPiece" : "(none)";
}

int tok_model_read(struct tok_model *m, struct tok_vocab *v, const json_t *o)
{
    int rc;
    const char *type;

    m->vocab = v;
    if (!json_is_object(o)) FAIL(CL_EFORMAT, "expected an object");
    TRY(tok_json_string(&type, NULL, o, "type", guess_type(o)));
    if (strcmp(type, "BPE") == 0)
        TRY(read_bpe(m, o));
    else if (strcmp(type, "WordPiece") == 0)
        TRY(read_wordpiece(m, o));
    else if (strcmp(type, "Unigram") == 0)
        TRY(read_unigram(m, o));
    else
        FAIL(CL_EFORMAT, "type \"%.40s\" is not supported, expected BPE, WordPiece or Unigram", type);
    tok_model_find_bytes(m);
    rc = CL_OK;
done:
    return err_prefix(rc, "model");
}
