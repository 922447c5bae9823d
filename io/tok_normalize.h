/* tok_normalize.h - the first half of a pipeline: what is done to a text before it is cut into words.
 *
 * A normalizer is a flat list of steps, applied in order (a Sequence in the file is unrolled). Supported: NFC, NFD, NFKC,
 * NFKD, Lowercase, StripAccents, Strip, Replace, Prepend, ByteLevel, BertNormalizer.
 */
#ifndef CLLAVA_IO_TOK_NORMALIZE_H
#define CLLAVA_IO_TOK_NORMALIZE_H

#include "io/tok_pattern.h"

#include <jansson.h>

enum tok_norm_kind {
    TOK_NORM_UNICODE, // one of the four normal forms
    TOK_NORM_LOWER,
    TOK_NORM_ACCENTS,
    TOK_NORM_STRIP,
    TOK_NORM_REPLACE,
    TOK_NORM_PREPEND,
    TOK_NORM_BYTES,
    TOK_NORM_BERT
};

struct tok_norm_step {
    enum tok_norm_kind kind;
    int form;                            // of utf8proc_map
    bool left, right;                    // STRIP
    struct tok_pattern find;             // REPLACE
    struct tok_buf text;                 // REPLACE: by this; PREPEND: this
    bool clean, chinese, accents, lower; // BERT
};

struct tok_norm {
    struct tok_norm_step *step;
    size_t n;
};

int tok_norm_read(struct tok_norm *n, const json_t *normalizer);               // NULL or null: no steps
int tok_norm_bert(struct tok_norm *n, bool chinese, bool accents, bool lower); // appends BERT's own
void tok_norm_free(struct tok_norm *n);

/* Does it put something in front of a text? */
bool tok_norm_prepends(const struct tok_norm *n);

/* *out, *out_n := normalised text; it lies in a, in b or is the text itself. glued: without what Prepend puts in front.
 * *first (NULL: nobody asks) becomes false where Strip takes blanks off the begin: what follows them is not first then. */
int tok_norm_apply(const struct tok_norm *n, const char *s, size_t len, bool glued, struct tok_buf *a,
                   struct tok_buf *b, const char **out, size_t *out_n, bool *first);

#endif
