/* tok_pretokenize.h - the second half of a pipeline: cutting a normalised text into the words that the model sees.
 *
 * A pre-tokenizer is a flat list of steps; each takes every word so far and gives one or more (empty ones vanish). Words
 * lie end to end in one buffer. Supported: ByteLevel, Metaspace, Split, Digits, Punctuation, BertPreTokenizer, Whitespace,
 * WhitespaceSplit, CharDelimiterSplit.
 */
#ifndef CLLAVA_IO_TOK_PRETOKENIZE_H
#define CLLAVA_IO_TOK_PRETOKENIZE_H

#include "io/tok_pattern.h"

#include <jansson.h>

/* What becomes of the finds of a pattern: gone, words of their own, joined to the text before or behind, or runs of
 * finds and runs of the rest. */
enum tok_split { TOK_REMOVED, TOK_ISOLATED, TOK_MERGED_WITH_PREVIOUS, TOK_MERGED_WITH_NEXT, TOK_CONTIGUOUS };
enum tok_prefix { TOK_PREFIX_NEVER, TOK_PREFIX_FIRST, TOK_PREFIX_ALWAYS };

struct tok_pre_step {
    enum { TOK_PRE_SPLIT, TOK_PRE_BYTES, TOK_PRE_METASPACE } kind;
    bool cuts;               // BYTES, METASPACE: by the pattern; SPLIT: always
    bool invert;             // what the pattern does not fit counts as found
    enum tok_split behavior; // SPLIT
    struct tok_pattern find;
    enum tok_prefix prefix; // BYTES: a blank, METASPACE: the mark, in front of a word that has none
    char mark[5];           // METASPACE: stands for a blank, UTF-8
};

struct tok_pre {
    struct tok_pre_step *step;
    size_t n;
};

int tok_pre_read(struct tok_pre *p, const json_t *pre_tokenizer); // NULL or null: no steps
int tok_pre_bert(struct tok_pre *p);
int tok_pre_bytes(struct tok_pre *p, bool prefix); // GPT-2's
void tok_pre_free(struct tok_pre *p);
bool tok_pre_prepends(const struct tok_pre *p);

struct tok_word {
    size_t at, n; // bytes in text
    bool first;   // begins where the whole text begins
};
struct tok_words {
    struct tok_buf text;
    struct tok_word *word;
    size_t n, room;
};
void tok_words_free(struct tok_words *w);

/* Words of a text of n bytes, in *out; other is scratch of the same kind, both kept by the caller for the next text.
 * first: the text begins where the caller's whole text begins. glued: nothing is put in front of the first word. */
int tok_pre_apply(const struct tok_pre *p, const char *s, size_t n, bool first, bool glued, struct tok_words *out,
                  struct tok_words *other);

#endif
