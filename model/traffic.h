/* traffic.h - what tensor parallelism puts on the wire, counted from the shapes.
 *
 * The same numbers are counted by comm.h while a step runs; a test compares the two, `plan` believes these. What is counted are
 * the numbers themselves; orders to the members (model/follow.h), some KB each, are not.
 */
#ifndef CLLAVA_MODEL_TRAFFIC_H
#define CLLAVA_MODEL_TRAFFIC_H

#include "model/lvlm.h"
#include "model/tensor.h"

struct traffic { // calls, and bytes that one rank sends, the one that sends most
    int64_t sums, sum_bytes;
    int64_t gathers, gather_bytes;
    int64_t messages, message_bytes; // from one rank to another
    int64_t broadcasts, broadcast_bytes;
};

/* One lvlm_forward over n tokens, `rows` answer rows, increments or not. */
struct traffic traffic_forward(const struct lvlm_config *c, int tensor, int64_t n, int64_t rows, enum dtype wire);
/* One lvlm_backward after it, down to the increments of the chosen maps (projections.h), which computes some of it again. */
struct traffic traffic_backward(const struct lvlm_config *c, unsigned chosen, int tensor, int64_t n, int64_t rows,
                                enum dtype wire, enum recompute again);
/* What lvlm_backward sends beside that where prompts learn: it goes on to the embeddings. */
struct traffic traffic_to_embeddings(const struct lvlm_config *c, int tensor, int64_t n, enum dtype wire);
/* The same where parallel.overlap cuts the batch in two: tokens and answer rows of either half. */
struct traffic traffic_forward_halves(const struct lvlm_config *c, int tensor, const int64_t n[2],
                                      const int64_t rows[2], enum dtype wire);
struct traffic traffic_backward_halves(const struct lvlm_config *c, unsigned chosen, int tensor, const int64_t n[2],
                                       const int64_t rows[2], enum dtype wire, enum recompute again);
/* One lvlm_prefill of `prompts` prompts, n tokens; one lvlm_decode of n sequences. */
struct traffic traffic_prefill(const struct lvlm_config *c, int tensor, int64_t n, int64_t prompts, enum dtype wire);
struct traffic traffic_decode(const struct lvlm_config *c, int tensor, int64_t n, enum dtype wire);
/* The tower over `pictures` pictures, and their pixels. */
struct traffic traffic_see(const struct lvlm_config *c, int tensor, int pictures, enum dtype wire);
/* Start of a step: A and B of `slots` slots of that rank to the members. */
struct traffic traffic_load(const struct lvlm_config *c, unsigned chosen, int tensor, int slots, int rank);
/* End of a step: lvlm_grads_read of `learned` slots of that rank; lvlm_coef_reduce of n numbers. */
struct traffic traffic_gradients(const struct lvlm_config *c, unsigned chosen, int tensor, int learned, int rank);
struct traffic traffic_coefs(int tensor, int64_t n);

#endif
