/* share.h - what one rank holds of a model that `tp` ranks share.
 *
 * Attention is split by heads. While there are key/value heads enough, a rank gets whole ones with the query heads that use
 * them; with more ranks than that, ranks split the query heads of one key/value head and each keeps a copy of it (the
 * gradients of the copies' inputs add up in the sum that every column-split weight needs anyway). MLP columns and rows of the
 * vocabulary are split evenly. Shares need not be equal. The vision tower may have fewer heads than there are ranks: some
 * ranks then hold none.
 */
#ifndef CLLAVA_MODEL_SHARE_H
#define CLLAVA_MODEL_SHARE_H

#include "model/lvlm_config.h"
#include "model/projections.h"
#include "mpi/tp.h"

struct share {
    int head0, heads, kv_head0, kv_heads; // first one, how many
    int64_t H, KV;                        // heads * head_dim, kv_heads * head_dim
    int64_t F0, F;                        // columns of the MLP
    int64_t V0, V;                        // rows of embed_tokens and lm_head
    int vision_head0, vision_heads;
    int64_t vision_F0, vision_F; // columns of the tower's MLP
};

/* CL_ECONFIG, on every rank alike: more ranks than heads; names parallel.tensor and the most that works. Not collective. */
int share_of(struct share *s, const struct lvlm_config *c, const struct tp *tp);
/* What a rank has of the side of a projection that ranks split, its outputs or its inputs: the first, how many. Ranks that share
 * a key/value head have the same. Not collective. */
void share_of_projection(int64_t *first, int64_t *n, const struct share *s, const struct text_config *c,
                         enum projection p);
/* The tower's part of it alone: any number of ranks. Not collective. */
void share_of_tower(struct share *s, const struct vision_config *c, const struct tp *tp);

#endif
