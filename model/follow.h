/* follow.h - what the ranks of a group do for each other: the leader gives orders, members carry them out.
 *
 * Every lvlm_.. call of the leader is one order: a small message with its name and arguments, broadcast to the members, which
 * then make the same call on their shards (model/lvlm.h: lvlm_follow). Large arrays (pixels, A and B) follow by themselves.
 * This header adds the one order that is not about the model: embedding texts together.
 */
#ifndef CLLAVA_MODEL_FOLLOW_H
#define CLLAVA_MODEL_FOLLOW_H

#include "model/text_encoder.h"
#include "mpi/tp.h"

/* text_encoder_embed with the texts spread over the group: each rank embeds its tp_shard of them, so what a rank computes does
 * not depend on timing. spec, base_dir: what e was opened with; members open theirs from the same on first use (CL_EMISMATCH:
 * it is another encoder there). Called by the leader while the others are in lvlm_follow; tp NULL or few texts: e alone. */
int follow_embed(const struct tp *tp, struct text_encoder *e, const char *spec, const char *base_dir, float *out,
                 const char *const *text, size_t n);

#endif
