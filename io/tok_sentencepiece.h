/* tok_sentencepiece.h - the SentencePiece library behind a C interface.
 *
 * The library trusts what it loads: a broken file can make it end the process or read outside its tables. So the file is
 * walked first (tok_proto.c: wire format, pieces, the table of character rules); only what passes is loaded.
 * Two processors are held: one as the file says, one without the dummy prefix, for text that continues other text.
 */
#ifndef CLLAVA_IO_TOK_SENTENCEPIECE_H
#define CLLAVA_IO_TOK_SENTENCEPIECE_H

#include "io/tokenizer.h"

/* What a walk over the file finds. */
struct tok_proto {
    size_t pieces;
    bool dummy_prefix, strips; // add_dummy_prefix, remove_extra_whitespaces
};
int tok_proto_check(struct tok_proto *p, const char *bytes, size_t n); // CL_EFORMAT

struct tok_sentencepiece;
enum tok_sentencepiece_kind { TOK_SP_NORMAL, TOK_SP_UNKNOWN, TOK_SP_CONTROL, TOK_SP_BYTE, TOK_SP_UNUSED };

int tok_sentencepiece_open(struct tok_sentencepiece **out, const char *bytes, size_t n); // CL_EFORMAT, CL_ENOMEM
void tok_sentencepiece_close(struct tok_sentencepiece *sp);
int32_t tok_sentencepiece_size(const struct tok_sentencepiece *sp);
const char *tok_sentencepiece_piece(const struct tok_sentencepiece *sp, int32_t id, size_t *n); // id below size
enum tok_sentencepiece_kind tok_sentencepiece_kind(const struct tok_sentencepiece *sp, int32_t id);
int32_t tok_sentencepiece_bos(const struct tok_sentencepiece *sp); // -1: none
int32_t tok_sentencepiece_eos(const struct tok_sentencepiece *sp);
int tok_sentencepiece_encode(const struct tok_sentencepiece *sp, const char *text, size_t n, bool glued,
                             struct ids *out);

#endif
