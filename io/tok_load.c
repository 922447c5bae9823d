/* tok_load.c - filling a tokenizer from the files of each kind. */
#include "io/tok.h"

#include "io/err.h"
#include "io/tok_json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 30 };

bool tok_load_exists(const char *dir, const char *name)
{
    char path[4096];

    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && access(path, F_OK) == 0;
}

static int read_file(struct tok_buf *b, const char *dir, const char *name)
{
    int rc;
    char path[4096], block[1 << 15];
    size_t n;
    FILE *f = NULL;

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        FAIL(CL_EIO, "path too long: %.60s..", dir);
    f = fopen(path, "rb");
    if (!f) FAIL(CL_EIO, "cannot open %s: %s", path, strerror(errno));
    TRY(tok_buf_add(b, "", 0));
    while ((n = fread(block, 1, sizeof block, f)) > 0) {
        TRY(tok_buf_add(b, block, n));
        if (b->n > MAX_FILE) FAIL(CL_EFORMAT, "%s is longer than %d bytes", path, MAX_FILE);
    }
    if (ferror(f)) FAIL(CL_EIO, "cannot read %s: %s", path, strerror(errno));
    rc = CL_OK;
done:
    if (f) fclose(f);
    return rc;
}

int tok_load_is_tiktoken(const char *dir, bool *yes)
{
    int rc;
    struct tok_buf b = {0};
    size_t i = 0, blank;

    *yes = false;
    TRY(read_file(&b, dir, "tokenizer.model"));
    while (i < b.n && (isalnum((unsigned char)b.s[i]) || strchr("+/=", b.s[i]))) i++;
    blank = i;
    if (!i || i >= b.n || b.s[i] != ' ') goto done;
    for (i++; i < b.n && isdigit((unsigned char)b.s[i]);) i++;
    *yes = i > blank + 1 && i < b.n && b.s[i] == '\n';
done:
    tok_buf_free(&b);
    return rc;
}

/* One added token: into the vocabulary and, unless the model takes whole texts, into the search. below: ids that the
 * model itself has and that an added token may rename. */
static int add_token(struct tokenizer *t, const char *s, size_t n, bool special, struct tok_added_token as,
                     int32_t below)
{
    int rc;

    if (as.id >= 0 && as.id < below)
        TRY(tok_vocab_set(&t->vocab, s, n, as.id));
    else
        TRY(tok_vocab_put(&t->vocab, s, n, as.id));
    t->vocab.piece[as.id].special |= special;
    if (!t->sp && n) TRY(tok_added_put(&t->added, s, n, as));
    rc = CL_OK;
done:
    return rc;
}

static int read_added(struct tokenizer *t, const json_t *o, int64_t id, int32_t below)
{
    int rc;
    const char *s;
    size_t n;
    bool special;
    struct tok_added_token as = {0};

    if (!json_is_object(o)) return err_set(CL_EFORMAT, "expected an object");
    TRY(tok_json_string(&s, &n, o, "content", NULL));
    if (id < 0 || id >= TOK_MAX_ID)
        FAIL(CL_EFORMAT, "\"%.40s\" has id %lld, expected 0 to %d", s, (long long)id, TOK_MAX_ID - 1);
    as.id = (int32_t)id;
    TRY(tok_json_bool(&special, o, "special", false));
    TRY(tok_json_bool(&as.normalized, o, "normalized", !special));
    TRY(tok_json_bool(&as.single_word, o, "single_word", false));
    TRY(tok_json_bool(&as.lstrip, o, "lstrip", false));
    TRY(tok_json_bool(&as.rstrip, o, "rstrip", false));
    TRY(add_token(t, s, n, special, as, below));
    rc = CL_OK;
done:
    return rc;
}

/* The list added_tokens of a tokenizer.json. */
static int read_added_list(struct tokenizer *t, const json_t *list, int32_t below)
{
    int rc;

    if (list && !json_is_null(list) && !json_is_array(list)) FAIL(CL_EFORMAT, "added_tokens: expected an array");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        int64_t id;

        TRY(err_prefix(tok_json_number(&id, o, "id", -1), "added_tokens[%zu]", i));
        TRY(err_prefix(read_added(t, o, id, below), "added_tokens[%zu]", i));
    }
    rc = CL_OK;
done:
    return rc;
}

/* added_tokens_decoder of a tokenizer_config.json: {"32000": {"content": "<image>", ..}}. */
static int read_added_decoder(struct tokenizer *t, const json_t *config, int32_t below)
{
    int rc;
    const char *key;
    json_t *o;

    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, o)
    {
        char *end;
        long long id = strtoll(key, &end, 10);

        if (!*key || *end) FAIL(CL_EFORMAT, "added_tokens_decoder: \"%.40s\" is no id", key);
        TRY(err_prefix(read_added(t, o, id, below), "added_tokens_decoder"));
    }
    rc = CL_OK;
done:
    return rc;
}

/* added_tokens.json: {"<image>": 32000}. The file does not say which are special; they are marks, not text, so all are. */
static int read_added_file(struct tokenizer *t, const char *dir, int32_t below)
{
    int rc;
    json_t *file = NULL, *o;
    const char *s;
    size_t n;

    TRY(tok_json_open(&file, dir, "added_tokens.json"));
    json_object_keylen_foreach(file, s, n, o)
    {
        int64_t id = json_integer_value(o);
        bool there = tok_vocab_find(&t->vocab, s, n) == id; // what the other files said about it stays

        if (!json_is_integer(o)) FAIL(CL_EFORMAT, "added_tokens.json: id of \"%.40s\": expected an integer", s);
        if (id < 0 || id >= TOK_MAX_ID)
            FAIL(CL_EFORMAT, "added_tokens.json: \"%.40s\" has id %lld, expected 0 to %d", s, (long long)id,
                 TOK_MAX_ID - 1);
        if (!there)
            TRY(err_prefix(add_token(t, s, n, true, (struct tok_added_token){.id = (int32_t)id}, below),
                           "added_tokens.json"));
    }
    rc = CL_OK;
done:
    json_decref(file);
    return rc;
}

static int sentencepiece_vocab(struct tokenizer *t, bool **is_byte)
{
    int rc;
    int32_t size = tok_sentencepiece_size(t->sp);
    size_t n;

    for (int32_t id = 0; id < size; id++) {
        const char *s = tok_sentencepiece_piece(t->sp, id, &n);
        enum tok_sentencepiece_kind kind = tok_sentencepiece_kind(t->sp, id);

        TRY(tok_vocab_put(&t->vocab, s, n, id));
        t->vocab.piece[id].special = kind == TOK_SP_CONTROL || kind == TOK_SP_UNKNOWN;
    }
    *is_byte =
        calloc(TOK_MAX_ID, sizeof **is_byte); // untouched pages cost nothing; ids of added tokens are not known yet
    if (!*is_byte) FAIL(CL_ENOMEM, "no memory for %d pieces", size);
    for (int32_t id = 0; id < size; id++) (*is_byte)[id] = tok_sentencepiece_kind(t->sp, id) == TOK_SP_BYTE;
    rc = CL_OK;
done:
    return rc;
}

/* Added tokens that the files beside a model name. */
static int read_beside(struct tokenizer *t, const char *dir, const json_t *config, bool with_json)
{
    int rc;
    int32_t below = t->vocab.size;
    json_t *json = NULL;

    if (with_json) TRY(tok_json_open(&json, dir, "tokenizer.json"));
    TRY(err_prefix(read_added_list(t, json_object_get(json, "added_tokens"), below), "%s/tokenizer.json", dir));
    TRY(err_prefix(read_added_decoder(t, config, below), "%s/tokenizer_config.json", dir));
    TRY(read_added_file(t, dir, below));
    rc = CL_OK;
done:
    json_decref(json);
    return rc;
}

/* LLaMA's slow tokenizer puts <s> in front unless the configuration says otherwise, </s> behind only if it says so. */
static int sentencepiece_specials(struct tokenizer *t, const json_t *config)
{
    int rc;
    bool bos, eos;
    int32_t bos_id = tok_sentencepiece_bos(t->sp), eos_id = tok_sentencepiece_eos(t->sp);

    TRY(tok_json_bool(&bos, config, "add_bos_token", true));
    TRY(tok_json_bool(&eos, config, "add_eos_token", false));
    if (bos && bos_id >= 0) TRY(ids_push(&t->before, bos_id));
    if (eos && eos_id >= 0) TRY(ids_push(&t->after, eos_id));
    rc = CL_OK;
done:
    return rc;
}

int tok_load_sentencepiece(struct tokenizer *t, const char *dir)
{
    int rc;
    struct tok_buf file = {0};
    struct tok_proto proto;
    json_t *config = NULL;
    bool *is_byte = NULL;

    TRY(read_file(&file, dir, "tokenizer.model"));
    TRY(err_prefix(tok_proto_check(&proto, file.s, file.n), "%s/tokenizer.model", dir));
    TRY(err_prefix(tok_sentencepiece_open(&t->sp, file.s, file.n), "%s/tokenizer.model", dir));
    TRY(err_prefix(sentencepiece_vocab(t, &is_byte), "%s/tokenizer.model", dir));
    TRY(tok_json_open(&config, dir, "tokenizer_config.json"));
    TRY(read_beside(t, dir, config, true));
    TRY(err_prefix(sentencepiece_specials(t, config), "%s/tokenizer_config.json", dir));
    TRY(tok_decoder_sentencepiece(&t->decoder, &t->vocab, is_byte, proto.dummy_prefix, proto.strips));
    t->adds_prefix = proto.dummy_prefix;
    rc = CL_OK;
done:
    tok_buf_free(&file);
    json_decref(config);
    free(is_byte);
    return rc;
}

/* post_processor: what stands before and behind the sentence. */
static int read_pair(struct ids *out, const json_t *o, const char *key)
{
    const json_t *pair = json_object_get(o, key), *id = json_array_get(pair, 1);

    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= TOK_MAX_ID)
        return err_set(CL_EFORMAT, "%s: expected [\"piece\", id]", key);
    return ids_push(out, (int32_t)json_integer_value(id));
}

static int read_template_token(struct ids *out, const json_t *token, const json_t *tokens)
{
    int rc;
    const char *name;
    const json_t *ids;

    TRY(tok_json_string(&name, NULL, token, "id", NULL));
    ids = json_object_get(json_object_get(tokens, name), "ids");
    if (!json_array_size(ids)) FAIL(CL_EFORMAT, "special_tokens: no ids of \"%.40s\"", name);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);

        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= TOK_MAX_ID)
            FAIL(CL_EFORMAT, "special_tokens: ids of \"%.40s\": expected ids", name);
        TRY(ids_push(out, (int32_t)json_integer_value(id)));
    }
    rc = CL_OK;
done:
    return rc;
}

static int read_template(struct tokenizer *t, const json_t *o)
{
    int rc;
    const json_t *single = json_object_get(o, "single"), *tokens = json_object_get(o, "special_tokens");
    bool seen = false;

    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *e = json_array_get(single, i), *token = json_object_get(e, "SpecialToken");

        if (token) {
            TRY(read_template_token(seen ? &t->after : &t->before, token, tokens));
            continue;
        }
        if (seen || !json_object_get(e, "Sequence")) FAIL(CL_EFORMAT, "single[%zu]: expected one Sequence", i);
        seen = true;
    }
    if (!seen) FAIL(CL_EFORMAT, "single: expected an array with a Sequence");
    rc = CL_OK;
done:
    return rc;
}

static int read_post_step(void *to, const char *type, const json_t *o)
{
    int rc;
    struct tokenizer *t = to;

    if (strcmp(type, "ByteLevel") == 0) return CL_OK; // offsets only
    if (strcmp(type, "TemplateProcessing") == 0) return err_prefix(read_template(t, o), "TemplateProcessing");
    if (strcmp(type, "RobertaProcessing") != 0 && strcmp(type, "BertProcessing") != 0)
        return err_set(CL_EFORMAT, "type \"%.40s\" is not supported", type);
    TRY(read_pair(&t->before, o, "cls"));
    TRY(read_pair(&t->after, o, "sep"));
    rc = CL_OK;
done:
    return rc;
}

/* Every id of the post-processor has to be one of the vocabulary. */
static int check_specials(const struct tokenizer *t)
{
    for (int part = 0; part < 2; part++) {
        const struct ids *v = part ? &t->after : &t->before;

        for (size_t i = 0; i < v->n; i++)
            if (!tok_vocab_piece(&t->vocab, v->id[i]))
                return err_set(CL_EFORMAT, "post_processor: id %d is not in the vocabulary", v->id[i]);
    }
    return CL_OK;
}

/* sentence-transformers may lower a text before its tokenizer sees it. */
static int read_sentence_config(struct tokenizer *t, const char *dir)
{
    json_t *o = NULL;
    int rc = tok_json_open(&o, dir, "sentence_bert_config.json");

    if (!rc) rc = err_prefix(tok_json_bool(&t->lower, o, "do_lower_case", false), "%s/sentence_bert_config.json", dir);
    json_decref(o);
    return rc;
}

/* What is left once vocabulary, steps and added tokens are there. */
static int finish(struct tokenizer *t, const char *dir)
{
    int rc;

    TRY(tok_added_seal(&t->added, &t->norm));
    TRY(check_specials(t));
    TRY(read_sentence_config(t, dir));
    t->adds_prefix = tok_norm_prepends(&t->norm) || tok_pre_prepends(&t->pre);
    rc = CL_OK;
done:
    return rc;
}

int tok_load_json(struct tokenizer *t, const char *dir)
{
    int rc;
    json_t *o = NULL;

    TRY(tok_json_open(&o, dir, "tokenizer.json"));
    if (!o) FAIL(CL_EIO, "not there");
    TRY(tok_model_read(&t->model, &t->vocab, json_object_get(o, "model")));
    TRY(read_added_list(t, json_object_get(o, "added_tokens"), 0));
    TRY(tok_norm_read(&t->norm, json_object_get(o, "normalizer")));
    TRY(tok_pre_read(&t->pre, json_object_get(o, "pre_tokenizer")));
    TRY(err_prefix(tok_json_steps(json_object_get(o, "post_processor"), "processors", read_post_step, t),
                   "post_processor"));
    TRY(tok_decoder_read(&t->decoder, &t->vocab, json_object_get(o, "decoder")));
    TRY(finish(t, dir));
    rc = CL_OK;
done:
    json_decref(o);
    return err_prefix(rc, "%s/tokenizer.json", dir);
}

/* Takes one line (without its end) off s. */
static bool next_line(const char **s, const char *end, const char **line, size_t *n)
{
    const char *stop;

    if (*s >= end) return false;
    stop = memchr(*s, '\n', (size_t)(end - *s));
    *line = *s;
    *n = (size_t)((stop ? stop : end) - *s);
    *s = stop ? stop + 1 : end;
    while (*n && (*line)[*n - 1] == '\r') --*n;
    return true;
}

/* Tokens that a bare vocabulary always means as special, with both ends of a sentence. */
static int add_specials(struct tokenizer *t, const char *const *names, size_t n, const char *begin, const char *end)
{
    int rc;
    int32_t a = tok_vocab_find(&t->vocab, begin, strlen(begin)), b = tok_vocab_find(&t->vocab, end, strlen(end));

    for (size_t i = 0; i < n; i++) {
        int32_t id = tok_vocab_find(&t->vocab, names[i], strlen(names[i]));
        bool mask = strcmp(names[i], "<mask>") == 0; // RoBERTa's takes the blank before it

        if (id < 0 || t->vocab.piece[id].special) continue; // added already, with all that the configuration says
        TRY(add_token(t, names[i], strlen(names[i]), true, (struct tok_added_token){.id = id, .lstrip = mask}, 0));
    }
    if (a >= 0 && b >= 0) TRY(ids_push(&t->before, a));
    if (a >= 0 && b >= 0) TRY(ids_push(&t->after, b));
    rc = CL_OK;
done:
    return rc;
}

/* vocab.txt: one piece a line, its id the line's number. A repeated line: the last one counts, as in BERT's own reader. */
static int read_vocab_txt(struct tokenizer *t, const char *dir)
{
    int rc;
    struct tok_buf file = {0}, valid = {0};
    const char *s, *end, *line;
    size_t n;
    int64_t id = 0;

    TRY(read_file(&file, dir, "vocab.txt"));
    TRY(tok_text_valid(&valid, file.s, file.n, &s, &n));
    if (s != file.s) FAIL(CL_EFORMAT, "not UTF-8");
    for (end = s + n; next_line(&s, end, &line, &n);) TRY(tok_vocab_set(&t->vocab, line, n, id++));
    if (!id) FAIL(CL_EFORMAT, "empty");
    rc = CL_OK;
done:
    tok_buf_free(&file);
    tok_buf_free(&valid);
    return err_prefix(rc, "%s/vocab.txt", dir);
}

static int bert_model(struct tokenizer *t, const char *dir)
{
    struct tok_model *m = &t->model;

    m->kind = TOK_WORDPIECE;
    m->vocab = &t->vocab;
    m->max_chars = 100;
    m->unknown = tok_vocab_find(&t->vocab, "[UNK]", 5);
    if (m->unknown < 0) return err_set(CL_EFORMAT, "%s/vocab.txt: no line [UNK]", dir);
    return tok_buf_add(&m->prefix, "##", 2);
}

static int bert_steps(struct tokenizer *t, const json_t *config)
{
    int rc;
    bool lower, chinese, accents;

    TRY(tok_json_bool(&lower, config, "do_lower_case", true));
    TRY(tok_json_bool(&chinese, config, "tokenize_chinese_chars", true));
    TRY(tok_json_bool(&accents, config, "strip_accents", lower));
    TRY(tok_norm_bert(&t->norm, chinese, accents, lower));
    TRY(tok_pre_bert(&t->pre));
    rc = CL_OK;
done:
    return rc;
}

int tok_load_wordpiece(struct tokenizer *t, const char *dir)
{
    static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    int rc;
    json_t *config = NULL;

    TRY(read_vocab_txt(t, dir));
    TRY(bert_model(t, dir));
    TRY(tok_json_open(&config, dir, "tokenizer_config.json"));
    TRY(err_prefix(bert_steps(t, config), "%s/tokenizer_config.json", dir));
    TRY(read_beside(t, dir, config, false));
    TRY(add_specials(t, names, sizeof names / sizeof *names, "[CLS]", "[SEP]"));
    TRY(tok_decoder_wordpiece(&t->decoder, &t->vocab));
    TRY(finish(t, dir));
    rc = CL_OK;
done:
    json_decref(config);
    return rc;
}

static int read_merges_txt(struct tokenizer *t, const char *dir)
{
    int rc;
    struct tok_buf file = {0}, valid = {0};
    const char *s, *end, *line;
    size_t n, number = 0;
    uint32_t rank = 0;

    TRY(read_file(&file, dir, "merges.txt"));
    TRY(tok_text_valid(&valid, file.s, file.n, &s, &n));
    if (s != file.s) FAIL(CL_EFORMAT, "not UTF-8");
    for (end = s + n; next_line(&s, end, &line, &n);) {
        number++;
        if (!n || (n > 8 && memcmp(line, "#version", 8) == 0)) continue;
        TRY(err_prefix(tok_bpe_add_line(&t->model, line, n, rank++), "line %zu", number));
    }
    rc = CL_OK;
done:
    tok_buf_free(&file);
    tok_buf_free(&valid);
    return err_prefix(rc, "%s/merges.txt", dir);
}

static int read_vocab_json(struct tokenizer *t, const char *dir)
{
    int rc;
    json_t *vocab = NULL;

    TRY(tok_json_open(&vocab, dir, "vocab.json"));
    if (!vocab) FAIL(CL_EIO, "%s/vocab.json: not there", dir);
    TRY(err_prefix(tok_model_read_vocab(&t->vocab, vocab), "%s/vocab.json", dir));
    t->model.kind = TOK_BPE;
    t->model.vocab = &t->vocab;
    t->model.unknown = tok_vocab_find(&t->vocab, "<unk>", 5);
    rc = CL_OK;
done:
    json_decref(vocab);
    return rc;
}

/* GPT-2 and RoBERTa. RoBERTa's <s> .. </s> stand around a sentence; GPT-2's vocabulary has neither. */
int tok_load_bpe(struct tokenizer *t, const char *dir)
{
    static const char *const names[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"};
    int rc;
    bool prefix;
    json_t *config = NULL;

    TRY(read_vocab_json(t, dir));
    TRY(read_merges_txt(t, dir));
    TRY(tok_json_open(&config, dir, "tokenizer_config.json"));
    TRY(err_prefix(tok_json_bool(&prefix, config, "add_prefix_space", false), "%s/tokenizer_config.json", dir));
    TRY(tok_pre_bytes(&t->pre, prefix));
    TRY(read_beside(t, dir, config, false));
    TRY(add_specials(t, names, sizeof names / sizeof *names, "<s>", "</s>"));
    TRY(tok_decoder_bytes(&t->decoder, &t->vocab));
    TRY(finish(t, dir));
    rc = CL_OK;
done:
    json_decref(config);
    return rc;
}
