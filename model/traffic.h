/* traffic.h - what tensor parallelism puts on the wire, counted from the shapes.
 *
 * The same numbers are counted by comm.h while a step runs; a test compares the two, `plan` believes these.
 */
#ifndef CLLAVA_MODEL_TRAFFIC_H
#define CLLAVA_MODEL_TRAFFIC_H

#include "model/lvlm_config.h"
#include "model/tensor.h"

struct traffic {
    int64_t sums, sum_bytes;       // all-reduces; bytes that one rank sends
    int64_t gathers, gather_bytes; // all-gathers
};

/* One lvlm_forward over n tokens, `rows` answer rows, `pictures` pictures whose features are there. */
struct traffic traffic_forward(const struct lvlm_config *c, int tensor, int64_t n, int64_t rows, int pictures,
                               enum dtype wire);
/* One lvlm_backward after it. */
struct traffic traffic_backward(const struct lvlm_config *c, int tensor, int64_t n, int64_t rows, enum dtype wire);
/* The tower over `pictures` pictures at once. */
struct traffic traffic_see(const struct lvlm_config *c, int tensor, int pictures, enum dtype wire);
/* End of a step: lvlm_grads_read of `learned` slots of that rank. */
struct traffic traffic_gradients(const struct lvlm_config *c, int tensor, int learned, int rank);

#endif
