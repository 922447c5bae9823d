/* word_mean.h - a query without a sentence encoder: the mean of the base's own token embeddings of a text.
 *
 * With encoder_idf.json beside the base, tokens count by their weight there (rare words more than "the"); without it all count
 * alike and the mean of the whole table is taken off, since what all texts share tells none apart. A text without a token
 * gives zeros.
 */
#ifndef CLLAVA_MODEL_WORD_MEAN_H
#define CLLAVA_MODEL_WORD_MEAN_H

#include "io/tokenizer.h"

struct word_mean;

/* tok is borrowed. CL_EMISMATCH: fewer weights than the tokenizer has ids. */
int word_mean_open(struct word_mean **w, const char *base_dir, const struct tokenizer *tok);
void word_mean_close(struct word_mean *w);
int word_mean_width(const struct word_mean *w);
uint64_t word_mean_hash(const struct word_mean *w); // of table, weights and vocabulary

/* out (width) := the mean over the ids. CL_EMISMATCH: an id the table does not have. */
int word_mean_embed(struct word_mean *w, float *out, const struct ids *ids);

#endif
