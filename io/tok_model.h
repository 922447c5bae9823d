/* tok_model.h - the three models of a tokenizer.json: how one word becomes ids.
 *
 *     BPE        characters, then the pair of lowest rank is joined until no pair has a rank
 *     WordPiece  the longest piece that fits, again and again; a word that is not covered is unknown as a whole
 *     Unigram    the sequence of pieces with the highest sum of scores
 *
 * All share the vocabulary (tok_vocab.h) and read it only.
 */
#ifndef CLLAVA_IO_TOK_MODEL_H
#define CLLAVA_IO_TOK_MODEL_H

#include "io/tok_vocab.h"
#include "io/tokenizer.h"

#include <jansson.h>

struct tok_pair; // tok_bpe.c

struct tok_model {
    enum { TOK_BPE, TOK_WORDPIECE, TOK_UNIGRAM } kind;
    struct tok_vocab *vocab;
    int32_t unknown;   // id of unk_token, -1: unknown characters vanish (BPE) or are an error (the others)
    bool fuse_unknown; // neighbouring unknown characters become one id
    bool byte_fallback;
    int32_t byte_id[256];          // of <0x00> .., -1: not there
    struct tok_buf prefix, suffix; // of a piece inside a word (##), at its end (</w>)

    struct tok_pair *pair; // BPE: (pairs) open-addressed, by both ids
    size_t pairs, pair_count;
    bool whole_words; // ignore_merges: a word that is a piece is not taken apart

    size_t max_chars; // WordPiece: longer words are unknown

    double *score; // Unigram: (vocab size)
    double unknown_score;
};

/* What one call of encode needs beside the model; zero-initialise, free at the end. */
struct tok_scratch {
    void *symbol, *heap, *node;
    size_t symbols, heaps, nodes; // room of each
    struct tok_buf text;
};
void tok_scratch_free(struct tok_scratch *w);
/* *p := room for n things of that size, growing by doubling. CL_ENOMEM. */
int tok_scratch_room(void **p, size_t *room, size_t n, size_t size);

/* Looks <0x00> .. <0xFF> and the unknown token up; after the vocabulary is complete. */
void tok_model_find_bytes(struct tok_model *m);
void tok_model_free(struct tok_model *m);

/* Joins left and right to their concatenation (right without the prefix); rank: lower goes first. CL_EFORMAT: one of the
 * three is not in the vocabulary. */
int tok_bpe_add_merge(struct tok_model *m, const char *left, size_t nl, const char *right, size_t nr, uint32_t rank);
/* "left right", one blank between. */
int tok_bpe_add_line(struct tok_model *m, const char *line, size_t n, uint32_t rank);

int tok_bpe_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out);
int tok_wordpiece_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out);
int tok_unigram_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out);
int tok_model_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out);

/* The member "model" of a tokenizer.json: vocabulary and model. */
int tok_model_read(struct tok_model *m, struct tok_vocab *v, const json_t *model);
/* {"piece": id, ..} */
int tok_model_read_vocab(struct tok_vocab *v, const json_t *vocab);

#endif
