/* text_encoder.c - texts to queries: prepare, tokenise, run packed batches, pool. */
#include "model/text_encoder.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/err.h"
#include "io/safetensors.h"
#include "model/bert.h"
#include "model/sentence_dir.h"
#include "model/word_mean.h"

enum { PACK = 2048 }; // tokens run at once: enough rows for full speed, small enough to stay in cache

struct text_encoder {
    struct word_mean *words; // `base`, or:
    const struct tokenizer *base_tok;

    struct bert *bert;
    struct tokenizer *tok;
    struct sentence_dir dir;
    int limit;     // tokens of one text
    float *hidden; // (room, bert width) states of the batch
    int64_t *cu;   // (room + 1): a batch has no more texts than tokens
    int64_t room;  // tokens

    int width;
    char hash[17];
};

/* ---- opening */

static uint64_t settings_hash(const struct text_encoder *e)
{
    uint64_t parts[2] = {bert_hash(e->bert), tokenizer_hash(e->tok)},
             h = safetensors_hash_bytes(2, parts, sizeof parts);
    char text[64];
    int n = snprintf(text, sizeof text, "%d %d %d", e->limit, e->dir.lower, e->dir.normalize);

    h = safetensors_hash_bytes(h, text, (size_t)n);
    h = safetensors_hash_bytes(h, e->dir.pool, (size_t)e->dir.pools * sizeof *e->dir.pool);
    return safetensors_hash_bytes(h, e->dir.prompt, e->dir.prompt ? strlen(e->dir.prompt) : 0);
}

static int open_sentence(struct text_encoder *e, const char *dir, const struct backend *be)
{
    int rc;

    TRY(sentence_dir_read(&e->dir, dir));
    TRY(bert_open(&e->bert, e->dir.network, be));
    TRY(tokenizer_open(&e->tok, e->dir.network));
    e->limit = bert_limit(e->bert);
    if (e->dir.limit && e->dir.limit < e->limit) e->limit = e->dir.limit;
    e->room = e->limit > PACK ? e->limit : PACK;
    e->width = e->dir.pools * bert_get_config(e->bert)->hidden;
    e->hidden = mem_new((size_t)e->room, (size_t)bert_get_config(e->bert)->hidden * sizeof *e->hidden);
    e->cu = mem_new((size_t)e->room + 1, sizeof *e->cu);
    if (!e->hidden || !e->cu)
        FAIL(CL_ENOMEM, "out of memory for %lld tokens of the sentence encoder", (long long)e->room);
    snprintf(e->hash, sizeof e->hash, "%016" PRIx64, settings_hash(e));
done:
    return rc;
}

static int open_words(struct text_encoder *e, const char *base_dir, const struct tokenizer *tok)
{
    int rc;

    TRY(word_mean_open(&e->words, base_dir, tok));
    e->base_tok = tok;
    e->width = word_mean_width(e->words);
    snprintf(e->hash, sizeof e->hash, "%016" PRIx64, word_mean_hash(e->words));
done:
    return rc;
}

int text_encoder_open(struct text_encoder **out, const char *spec, const char *base_dir,
                      const struct tokenizer *base_tok, const struct backend *be)
{
    struct text_encoder *e = mem_new(1, sizeof *e);
    int rc;

    *out = NULL;
    if (!e) FAIL(CL_ENOMEM, "out of memory for the sentence encoder");
    TRY(strcmp(spec, "base") ? open_sentence(e, spec, be) : open_words(e, base_dir, base_tok));
    *out = e;
    return 0;
done:
    text_encoder_close(e);
    return err_prefix(rc, "encoder %s", spec);
}

void text_encoder_close(struct text_encoder *e)
{
    if (!e) return;
    word_mean_close(e->words);
    bert_close(e->bert);
    if (e->tok) tokenizer_close(e->tok);
    sentence_dir_free(&e->dir);
    mem_free(e->hidden);
    mem_free(e->cu);
    mem_free(e);
}

int text_encoder_width(const struct text_encoder *e)
{
    return e->width;
}

const char *text_encoder_hash(const struct text_encoder *e)
{
    return e->hash;
}

/* ---- texts to ids */

/* Lower case of one character as UTF-8. Only one of them becomes two: I with a dot above. */
static size_t put_lower(char *out, utf8proc_int32_t c)
{
    size_t n = (size_t)utf8proc_encode_char(utf8proc_tolower(c), (utf8proc_uint8_t *)out);
    return c == 0x130 ? n + (size_t)utf8proc_encode_char(0x307, (utf8proc_uint8_t *)out + n) : n;
}

/* malloc'ed; bytes that are not UTF-8 stay as they are: the tokenizer decides about them. */
static char *lower_case(const char *text, size_t *n)
{
    char *out = malloc(2 * *n + 1); // two bytes become three at most, one stays one
    size_t at = 0, used = 0;
    utf8proc_int32_t c;

    while (out && at < *n) {
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(*n - at), &c);
        if (step > 0)
            used += put_lower(out + used, c);
        else
            out[used++] = text[at];
        at += step > 0 ? (size_t)step : 1;
    }
    if (out) out[ *n = used] = 0;
    return out;
}

static int sentence_ids(struct text_encoder *e, const char *text, struct ids *out)
{
    char *whole = NULL, *lower = NULL;
    size_t n;
    int rc;

    if (e->dir.prompt && asprintf(&whole, "%s%s", e->dir.prompt, text) < 0) {
        whole = NULL; // left undefined by the call
        FAIL(CL_ENOMEM, "out of memory for a text");
    }
    if (whole) text = whole;
    n = strlen(text);
    if (e->dir.lower) {
        if (!(lower = lower_case(text, &n))) FAIL(CL_ENOMEM, "out of memory for a text");
        text = lower;
    }
    TRY(tokenizer_encode_special(e->tok, text, n, (size_t)e->limit, out));
done:
    free(whole);
    free(lower);
    return rc;
}

int text_encoder_ids(struct text_encoder *e, const char *text, struct ids *out)
{
    return e->words ? tokenizer_encode(e->base_tok, text, strlen(text), out) : sentence_ids(e, text, out);
}

/* ---- pooling */

/* out (h) := one pooling of the states x (n, h). */
static void pool_one(float *out, enum pooling how, const float *x, int64_t n, int h)
{
    const double divisor = how == POOL_MEAN_SQRT ? sqrt((double)n) : (double)n;

    for (int c = 0; c < h; c++) {
        double sum = 0, most = x[c];
        for (int64_t i = 0; i < n; i++) {
            sum += x[i * h + c];
            if (x[i * h + c] > most) most = x[i * h + c];
        }
        out[c] = how == POOL_CLS ? x[c] : how == POOL_MAX ? (float)most : (float)(sum / divisor);
    }
}

/* out (width) := the states of one text, pooled; CL_ENUM when a number is none. */
static int pool(const struct text_encoder *e, float *out, const float *x, int64_t n)
{
    const int h = bert_get_config(e->bert)->hidden;
    double square = 0;

    if (!n)
        return err_set(CL_EMISMATCH,
                       "the tokenizer made no token of a text; hint: it lacks the special tokens of its encoder");
    for (int k = 0; k < e->dir.pools; k++) pool_one(out + k * h, e->dir.pool[k], x, n, h);
    for (int c = 0; c < e->width; c++) square += (double)out[c] * out[c];
    if (!isfinite(square))
        return err_set(CL_ENUM, "an embedding is not finite; hint: are the encoder's weights broken?");
    if (e->dir.normalize)
        for (int c = 0; c < e->width; c++) out[c] = (float)(out[c] / fmax(sqrt(square), 1e-12));
    return 0;
}

/* ---- embedding */

/* Appends the ids of as many texts as fit, the first always; *taken texts, their ends in e->cu. */
static int pack(struct text_encoder *e, struct ids *ids, int64_t *taken, const char *const *text, size_t n)
{
    int rc = 0;

    ids->n = 0;
    e->cu[0] = 0;
    for (*taken = 0; (size_t)*taken < n && *taken < e->room; ++*taken) {
        TRY(sentence_ids(e, text[*taken], ids));
        if ((int64_t)ids->n > e->room) break; // its turn comes again
        e->cu[*taken + 1] = (int64_t)ids->n;
    }
done:
    return rc;
}

static int embed_sentences(struct text_encoder *e, float *out, const char *const *text, size_t n)
{
    const int h = bert_get_config(e->bert)->hidden;
    struct ids ids = {0};
    int64_t taken;
    int rc = 0;

    for (size_t at = 0; at < n; at += (size_t)taken, out += taken * e->width) {
        TRY(pack(e, &ids, &taken, text + at, n - at));
        TRY(bert_run(e->bert, e->hidden, ids.id, e->cu, (int)taken));
        for (int64_t t = 0; t < taken; t++)
            TRY(pool(e, out + t * e->width, e->hidden + e->cu[t] * h, e->cu[t + 1] - e->cu[t]));
    }
done:
    ids_free(&ids);
    return rc;
}

static int embed_words(struct text_encoder *e, float *out, const char *const *text, size_t n)
{
    struct ids ids = {0};
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        ids.n = 0;
        TRY(text_encoder_ids(e, text[i], &ids));
        TRY(word_mean_embed(e->words, out + i * (size_t)e->width, &ids));
    }
done:
    ids_free(&ids);
    return rc;
}

int text_encoder_embed(struct text_encoder *e, float *out, const char *const *text, size_t n)
{
    return e->words ? embed_words(e, out, text, n) : embed_sentences(e, out, text, n);
}
