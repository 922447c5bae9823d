/* tok_vocab.h - pieces by id and ids by piece.
 *
 * The text of every piece lies in one block, NUL-terminated (a piece may hold NUL itself: lengths count). Ids may have
 * gaps, below TOK_MAX_ID. Look-ups go through one open-addressed table keyed by FNV-1a, which a caller may compute byte
 * by byte (Unigram looks up all prefixes of a text that way).
 */
#ifndef CLLAVA_IO_TOK_VOCAB_H
#define CLLAVA_IO_TOK_VOCAB_H

#include "io/tok_text.h"

enum {
    TOK_MAX_ID = 1 << 22,   // no vocabulary known has more than 2^18: a bigger id is a fault of the file
    TOK_MAX_PIECE = 1 << 16 // bytes
};

struct tok_piece {
    size_t at;  // in text
    uint32_t n; // bytes
    bool used, special;
};

struct tok_vocab {
    struct tok_piece *piece; // (size)
    int32_t size;            // highest id + 1
    int32_t room;
    struct tok_buf text;
    int32_t *slot; // (slots) id + 1; 0: free
    size_t slots;  // power of two
    size_t count;  // slots taken
    uint32_t longest;
};

/* Puts a piece under an id. CL_EFORMAT: the id is out of range, or another piece has it, or the piece has another id
 * (the text names both). The same pair again is fine. */
int tok_vocab_put(struct tok_vocab *v, const char *s, size_t n, int64_t id);
/* As put, but what stood there gives way: an added token that renames a piece, a vocab.txt that repeats a line. */
int tok_vocab_set(struct tok_vocab *v, const char *s, size_t n, int64_t id);
void tok_vocab_free(struct tok_vocab *v);

int32_t tok_vocab_find(const struct tok_vocab *v, const char *s, size_t n); // -1: none
const char *tok_vocab_piece(const struct tok_vocab *v, int32_t id);         // NULL: none

#define TOK_HASH_START 0xCBF29CE484222325u
static inline uint64_t tok_hash_byte(uint64_t h, uint8_t b)
{
    return (h ^ b) * 0x100000001B3u;
}
uint64_t tok_hash(const char *s, size_t n);
int32_t tok_vocab_find_hashed(const struct tok_vocab *v, const char *s, size_t n, uint64_t hash);

#endif
