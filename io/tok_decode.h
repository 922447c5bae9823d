/* tok_decode.h - what each id adds to a decoded text.
 *
 * Every decoder that occurs gives each piece a fixed run of bytes (its surface), save that the begin of a text may lose a
 * blank. So surfaces are worked out once, at opening: one for a piece at the begin of the text, one for elsewhere. Decoding
 * joins them. Bytes that form no UTF-8 become U+FFFD: one for each longest broken part with byte-level BPE (Python's
 * errors="replace"), one for each byte with SentencePiece (as its library does; Hugging Face's ByteFallback replaces the valid
 * characters of a broken run too: that cannot be known while streaming).
 */
#ifndef CLLAVA_IO_TOK_DECODE_H
#define CLLAVA_IO_TOK_DECODE_H

#include "io/tok_vocab.h"

#include <jansson.h>

enum { TOK_MAX_SURFACE = 1300 }; // bytes: three times that fit the room of token_stream_push

struct tok_surface {
    uint32_t at, n, at_first, n_first; // elsewhere; at the begin of the text
};

/* When is the begin of the text over: after any id, after one whose surface is not empty, after any output. */
enum tok_begin { TOK_BEGIN_ID, TOK_BEGIN_SURFACE, TOK_BEGIN_OUTPUT };

struct tok_decoder {
    struct tok_surface *surface; // (vocab size)
    struct tok_buf text;
    enum tok_begin begin;
    bool each_byte; // one U+FFFD for each broken byte
};

/* The member "decoder" of a tokenizer.json; NULL or null: pieces with blanks between, as the tokenizers library joins. */
int tok_decoder_read(struct tok_decoder *d, const struct tok_vocab *v, const json_t *decoder);
int tok_decoder_bytes(struct tok_decoder *d, const struct tok_vocab *v);     // GPT-2's alphabet
int tok_decoder_wordpiece(struct tok_decoder *d, const struct tok_vocab *v); // ## and blanks, punctuation closed up
/* SentencePiece: mark as blank, <0xXX> as byte where is_byte says so (NULL: nowhere). strip: the text loses its first
 * blank; strip_all: all blanks at its begin. */
int tok_decoder_sentencepiece(struct tok_decoder *d, const struct tok_vocab *v, const bool *is_byte, bool strip,
                              bool strip_all);
void tok_decoder_free(struct tok_decoder *d);

#endif
