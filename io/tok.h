/* tok.h - the inside of a tokenizer, for tokenizer.c and tok_load.c.
 *
 * A text goes one of two ways: to SentencePiece as a whole, or through the pipeline
 *
 *     added tokens -> normalizer -> added tokens -> pre-tokenizer -> model, word by word
 *
 * Decoding is one way for all (tok_decode.h).
 */
#ifndef CLLAVA_IO_TOK_H
#define CLLAVA_IO_TOK_H

#include "io/tok_added.h"
#include "io/tok_decode.h"
#include "io/tok_model.h"
#include "io/tok_normalize.h"
#include "io/tok_pretokenize.h"
#include "io/tok_sentencepiece.h"

struct tokenizer {
    struct tok_vocab vocab;       // added tokens included
    struct tok_sentencepiece *sp; // NULL: the pipeline
    bool lower;                   // sentence-transformers lowers the text before anything else
    struct tok_added added;
    struct tok_norm norm;
    struct tok_pre pre;
    struct tok_model model;
    struct tok_decoder decoder;
    struct ids before, after; // what encode_special puts around a sentence
    bool adds_prefix;
};

/* Each fills an empty tokenizer from the files of its kind in dir. */
int tok_load_sentencepiece(struct tokenizer *t, const char *dir); // tokenizer.model
int tok_load_json(struct tokenizer *t, const char *dir);          // tokenizer.json
int tok_load_wordpiece(struct tokenizer *t, const char *dir);     // vocab.txt
int tok_load_bpe(struct tokenizer *t, const char *dir);           // vocab.json, merges.txt

bool tok_load_exists(const char *dir, const char *name);
/* Is tokenizer.model a list of tiktoken ("IQ== 0" in every line), as LLaMA-3 has beside its tokenizer.json? */
int tok_load_is_tiktoken(const char *dir, bool *yes);

#endif
