/* tok_pretokenize.c - cutting a normalised text into words. */
#include "io/tok_pretokenize.h"

#include "io/err.h"
#include "io/tok_json.h"

#include <stdlib.h>
#include <string.h>

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}" // \w of Whitespace, which is not Oniguruma's
static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* NULL: no memory; the error text is set. */
static struct tok_pre_step *add_step(struct tok_pre *p)
{
    struct tok_pre_step *more = realloc(p->step, (p->n + 1) * sizeof *more);

    if (!more) {
        err_set(CL_ENOMEM, "no memory for a pre-tokenizer");
        return NULL;
    }
    p->step = more;
    more[p->n] = (struct tok_pre_step){.cuts = true};
    return &more[p->n++];
}

static int add_class(struct tok_pre *p, bool (*is_class)(uint32_t), enum tok_split behavior)
{
    struct tok_pre_step *s = add_step(p);

    if (!s) return CL_ENOMEM;
    s->find.is_class = is_class;
    s->behavior = behavior;
    return CL_OK;
}

int tok_pre_bert(struct tok_pre *p)
{
    int rc = add_class(p, tok_is_space, TOK_REMOVED);

    return rc ? rc : add_class(p, tok_is_punct, TOK_ISOLATED);
}

static int add_bytes(struct tok_pre *p, bool prefix, bool cuts)
{
    struct tok_pre_step *s = add_step(p);

    if (!s) return CL_ENOMEM;
    s->kind = TOK_PRE_BYTES;
    s->prefix = prefix ? TOK_PREFIX_ALWAYS : TOK_PREFIX_NEVER;
    s->cuts = cuts;
    s->behavior = TOK_ISOLATED;
    return cuts ? tok_pattern_regex(&s->find, gpt2, sizeof gpt2 - 1) : CL_OK;
}

int tok_pre_bytes(struct tok_pre *p, bool prefix)
{
    return add_bytes(p, prefix, true);
}

static int read_bytes(struct tok_pre *p, const json_t *o)
{
    int rc;
    bool prefix, cuts;

    TRY(tok_json_bool(&prefix, o, "add_prefix_space", true));
    TRY(tok_json_bool(&cuts, o, "use_regex", true));
    rc = add_bytes(p, prefix, cuts);
done:
    return rc;
}

/* Older files say add_prefix_space, newer ones prepend_scheme. */
static int read_prefix(enum tok_prefix *out, const json_t *o)
{
    int rc;
    bool add;
    const char *scheme;

    TRY(tok_json_bool(&add, o, "add_prefix_space", true));
    TRY(tok_json_string(&scheme, NULL, o, "prepend_scheme", add ? "always" : "never"));
    if (strcmp(scheme, "always") == 0)
        *out = TOK_PREFIX_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        *out = TOK_PREFIX_FIRST;
    else if (strcmp(scheme, "never") == 0)
        *out = TOK_PREFIX_NEVER;
    else
        FAIL(CL_EFORMAT, "prepend_scheme is \"%.40s\", expected always, first or never", scheme);
    rc = CL_OK;
done:
    return rc;
}

static int read_metaspace(struct tok_pre_step *s, const json_t *o)
{
    int rc;
    const char *mark;
    size_t n, len = 0;

    s->kind = TOK_PRE_METASPACE;
    s->behavior = TOK_MERGED_WITH_NEXT;
    TRY(tok_json_string(&mark, &n, o, "replacement", "\xE2\x96\x81"));
    if (n) tok_char(mark, &len);
    if (!n || len != n) FAIL(CL_EFORMAT, "replacement is \"%.40s\", expected one character", mark);
    memcpy(s->mark, mark, n);
    TRY(tok_pattern_literal(&s->find, mark, n));
    TRY(tok_json_bool(&s->cuts, o, "split", true));
    TRY(read_prefix(&s->prefix, o));
    rc = CL_OK;
done:
    return rc;
}

static int read_behavior(enum tok_split *out, const json_t *o, const char *otherwise)
{
    static const char *const names[] = {
        [TOK_REMOVED] = "Removed",
        [TOK_ISOLATED] = "Isolated",
        [TOK_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [TOK_MERGED_WITH_NEXT] = "MergedWithNext",
        [TOK_CONTIGUOUS] = "Contiguous",
    };
    const char *name;
    int rc = tok_json_string(&name, NULL, o, "behavior", otherwise);

    if (rc) return rc;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (enum tok_split)i;
        return CL_OK;
    }
    return err_set(
        CL_EFORMAT,
        "behavior is \"%.40s\", expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", name);
}

static int read_digits(struct tok_pre *p, const json_t *o)
{
    bool apart;
    int rc = tok_json_bool(&apart, o, "individual_digits", false);

    return rc ? rc : add_class(p, tok_is_number, apart ? TOK_ISOLATED : TOK_CONTIGUOUS);
}

static int read_split(struct tok_pre_step *s, const char *type, const json_t *o)
{
    static const char whitespace[] = "[" WORD "]+|[^" WORD "\\s]+";
    int rc;
    const char *text;
    size_t n;

    if (strcmp(type, "Split") == 0) {
        TRY(tok_json_pattern(&s->find, o, "pattern"));
        TRY(tok_json_bool(&s->invert, o, "invert", false));
        TRY(read_behavior(&s->behavior, o, NULL));
    } else if (strcmp(type, "Punctuation") == 0) {
        s->find.is_class = tok_is_punct;
        TRY(read_behavior(&s->behavior, o, "Isolated"));
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        s->find.is_class = tok_is_space;
        s->behavior = TOK_REMOVED;
    } else if (strcmp(type, "Whitespace") == 0) {
        s->invert = true;
        s->behavior = TOK_REMOVED;
        TRY(tok_pattern_regex(&s->find, whitespace, sizeof whitespace - 1));
    } else if (strcmp(type, "CharDelimiterSplit") == 0) {
        s->behavior = TOK_REMOVED;
        TRY(tok_json_string(&text, &n, o, "delimiter", NULL));
        TRY(tok_pattern_literal(&s->find, text, n));
    } else {
        FAIL(CL_EFORMAT, "type \"%.40s\" is not supported", type);
    }
    rc = CL_OK;
done:
    return rc;
}

static int read_step(void *to, const char *type, const json_t *o)
{
    struct tok_pre *p = to;
    struct tok_pre_step *s;

    if (strcmp(type, "ByteLevel") == 0) return read_bytes(p, o);
    if (strcmp(type, "Digits") == 0) return read_digits(p, o);
    if (strcmp(type, "BertPreTokenizer") == 0) return tok_pre_bert(p);
    s = add_step(p);
    if (!s) return CL_ENOMEM;
    return strcmp(type, "Metaspace") == 0 ? read_metaspace(s, o) : read_split(s, type, o);
}

int tok_pre_read(struct tok_pre *p, const json_t *pre_tokenizer)
{
    return err_prefix(tok_json_steps(pre_tokenizer, "pretokenizers", read_step, p), "pre_tokenizer");
}

void tok_pre_free(struct tok_pre *p)
{
    for (size_t i = 0; i < p->n; i++) tok_pattern_free(&p->step[i].find);
    free(p->step);
    *p = (struct tok_pre){0};
}

bool tok_pre_prepends(const struct tok_pre *p)
{
    bool yes = false;

    for (size_t i = 0; i < p->n; i++) yes |= p->step[i].prefix != TOK_PREFIX_NEVER;
    return yes;
}

void tok_words_free(struct tok_words *w)
{
    tok_buf_free(&w->text);
    free(w->word);
    *w = (struct tok_words){0};
}

static int new_word(struct tok_words *w, size_t n, bool first)
{
    if (w->n == w->room) {
        size_t room = w->room ? w->room * 2 : 64;
        struct tok_word *more = realloc(w->word, room * sizeof *more);

        if (!more) return err_set(CL_ENOMEM, "no memory for %zu words", room);
        w->word = more;
        w->room = room;
    }
    w->word[w->n++] = (struct tok_word){w->text.n, n, first};
    return CL_OK;
}

/* Adds s as a word, its bytes as printable characters where the step says so. */
static int put_word(struct tok_words *w, const struct tok_pre_step *st, const char *s, size_t n, bool first)
{
    int rc;
    size_t at = w->text.n;

    if (!n) return CL_OK;
    TRY(new_word(w, n, first));
    if (st && st->kind == TOK_PRE_BYTES) {
        for (size_t i = 0; i < n; i++) TRY(tok_buf_add_char(&w->text, tok_byte_char((uint8_t)s[i])));
        w->word[w->n - 1].n = w->text.n - at;
    } else {
        TRY(tok_buf_add(&w->text, s, n));
    }
    rc = CL_OK;
done:
    return rc;
}

/* Parts of one word in order: the finds of a pattern and what lies between them. */
struct cutter {
    struct tok_words *out;
    const struct tok_pre_step *st;
    const char *s;
    bool first;
    size_t begin, end; // the word that may still grow
    bool open;         // there is one
    bool last;         // the part before was a find
};

static int flush(struct cutter *c)
{
    bool open = c->open;

    c->open = false;
    return open ? put_word(c->out, c->st, c->s + c->begin, c->end - c->begin, c->first && c->begin == 0) : CL_OK;
}

/* Does this part extend the word before it? */
static bool extends(const struct cutter *c, bool find)
{
    switch (c->st->behavior) {
    case TOK_CONTIGUOUS: return find == c->last;
    case TOK_MERGED_WITH_PREVIOUS: return find && !c->last;
    case TOK_MERGED_WITH_NEXT: return c->last && !find; // of several finds the last one joins the text behind
    default: return false;
    }
}

static int part(struct cutter *c, size_t begin, size_t end, bool find)
{
    int rc;

    find ^= c->st->invert;
    if (c->open && extends(c, find)) {
        c->end = end;
    } else {
        TRY(flush(c));
        c->open = !(find && c->st->behavior == TOK_REMOVED);
        c->begin = begin;
        c->end = end;
    }
    c->last = find;
    rc = CL_OK;
done:
    return rc;
}

static int cut(struct tok_words *out, const struct tok_pre_step *st, const char *s, size_t n, bool first)
{
    int rc;
    struct tok_search f = {0};
    struct cutter c = {.out = out, .st = st, .s = s, .first = first};
    size_t kept = 0, at, len;
    bool found;

    if (!st->cuts) return put_word(out, st, s, n, first);
    TRY(tok_search_start(&f, &st->find, s, n));
    for (;;) {
        TRY(tok_search_next(&f, &found, &at, &len));
        if (!found) break;
        if (at > kept) TRY(part(&c, kept, at, false));
        TRY(part(&c, at, at + len, true));
        kept = at + len;
    }
    if (kept < n) TRY(part(&c, kept, n, false));
    TRY(flush(&c));
    rc = CL_OK;
done:
    tok_search_end(&f);
    return rc;
}

/* The word as the step sees it: blanks as marks, the prefix in front; nothing is put in front of an empty word. */
static int prepare(struct tok_buf *b, const struct tok_pre_step *st, const char *s, size_t n, bool first, bool glued)
{
    int rc;
    bool meta = st->kind == TOK_PRE_METASPACE;
    const char *mark = meta ? st->mark : " ";
    size_t m = strlen(mark);
    bool has = n >= m && memcmp(s, mark, m) == 0;
    bool wants = st->prefix == TOK_PREFIX_ALWAYS || (st->prefix == TOK_PREFIX_FIRST && first);

    b->n = 0;
    has |= meta && n && s[0] == ' ';
    if (n && wants && !has && !glued) TRY(tok_buf_add(b, mark, m));
    for (size_t i = 0; meta && i < n; i++) TRY(s[i] == ' ' ? tok_buf_add(b, mark, m) : tok_buf_add(b, s + i, 1));
    if (!meta) TRY(tok_buf_add(b, s, n));
    rc = CL_OK;
done:
    return rc;
}

static int apply_step(const struct tok_pre_step *st, const struct tok_words *in, struct tok_words *out, bool glued)
{
    int rc = CL_OK;
    struct tok_buf b = {0};

    out->n = out->text.n = 0;
    for (size_t i = 0; i < in->n; i++) {
        const struct tok_word *w = &in->word[i];
        const char *s = in->text.s + w->at;
        size_t n = w->n;

        if (st->kind == TOK_PRE_METASPACE || st->prefix != TOK_PREFIX_NEVER) {
            TRY(prepare(&b, st, s, n, w->first, glued && i == 0));
            s = b.s;
            n = b.n;
        }
        TRY(cut(out, st, s, n, w->first));
    }
done:
    tok_buf_free(&b);
    return rc;
}

int tok_pre_apply(const struct tok_pre *p, const char *s, size_t n, bool first, bool glued, struct tok_words *out,
                  struct tok_words *other)
{
    int rc;

    out->n = out->text.n = 0;
    TRY(put_word(out, NULL, s, n, first));
    for (size_t i = 0; i < p->n; i++) {
        struct tok_words swap;

        TRY(apply_step(&p->step[i], out, other, glued));
        swap = *out;
        *out = *other;
        *other = swap;
    }
    rc = CL_OK;
done:
    return rc;
}
