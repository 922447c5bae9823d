/* tok_added.h - added tokens: texts that become one id whatever the model would make of them (<image>, </s>, [MASK]).
 *
 * They are searched in two rounds: those that are not `normalized` in the raw text, the others, themselves normalised, in
 * the normalised text between. At each place the longest one wins.
 */
#ifndef CLLAVA_IO_TOK_ADDED_H
#define CLLAVA_IO_TOK_ADDED_H

#include "io/tok_normalize.h"

struct tok_added_token {
    char *text; // as searched; NULL: never found
    size_t n;
    int32_t id;
    bool single_word;    // only where no letter stands next to it
    bool lstrip, rstrip; // swallows the blanks on that side
    bool normalized;
};

struct tok_added {
    struct tok_added_token *token; // by first byte, longest first, once sealed
    size_t n;
    size_t begin[2][257]; // [normalized][first byte] .. [first byte + 1]
};

/* A part of a text between finds (id -1) or a find. */
struct tok_part {
    size_t at, n;
    int32_t id;
};
struct tok_parts {
    struct tok_part *part;
    size_t n, room;
};
void tok_parts_free(struct tok_parts *p);

int tok_added_put(struct tok_added *a, const char *s, size_t n, struct tok_added_token as);
/* Normalises what needs it and sorts; after the last put. */
int tok_added_seal(struct tok_added *a, const struct tok_norm *norm);
void tok_added_free(struct tok_added *a);

/* *out := the parts of a text in order (the former content goes). */
int tok_added_split(const struct tok_added *a, bool normalized, const char *s, size_t n, struct tok_parts *out);

#endif
