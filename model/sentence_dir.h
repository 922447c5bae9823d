/* sentence_dir.h - what a sentence-transformers directory says beside the network: where it is, how its states become one
 * vector, how texts are prepared.
 *
 * modules.json lists Transformer, Pooling and maybe Normalize, in their old and new class names; a directory without it is
 * a bare network, which sentence-transformers reads with mean pooling. Other modules (Dense, ..) are refused by name.
 */
#ifndef CLLAVA_MODEL_SENTENCE_DIR_H
#define CLLAVA_MODEL_SENTENCE_DIR_H

#include <stdbool.h>

enum pooling { POOL_CLS, POOL_MAX, POOL_MEAN, POOL_MEAN_SQRT }; // several: one after the other in the embedding
enum { MAX_POOLS = 4 };

struct sentence_dir {
    char *network; // folder of config.json, weights and tokenizer
    enum pooling pool[MAX_POOLS];
    int pools;
    bool normalize; // to length 1
    bool lower;     // texts are lower-cased before the tokenizer sees them
    int limit;      // tokens of a text, special ones included; 0: not said
    char *prompt;   // stands in front of every text; NULL: none
};

/* CL_EIO: no such directory; CL_EFORMAT: a file or key that is broken or not supported. sentence_dir_free also after failure. */
int sentence_dir_read(struct sentence_dir *s, const char *dir);
void sentence_dir_free(struct sentence_dir *s);

#endif
