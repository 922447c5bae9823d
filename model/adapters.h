/* adapters.h - the low-rank increments as the model sees them.
 *
 * y = W x + sum_m c_m B_m (A_m x) of every map W that was chosen (model/projections.h): slots of one rank, each with an A and a B for every decoder layer, and one coefficient
 * row per sample. Where slots and coefficients come from (a pool, one LoRA, ..) is the method's business (pool/method.h).
 * Slots that learn come first; the others are constants whose coefficients may still learn.
 */
#ifndef CLLAVA_MODEL_ADAPTERS_H
#define CLLAVA_MODEL_ADAPTERS_H

#include <stdint.h>

struct adapter_slot {
    const float *A;   // (L, R, H) master values, host
    const float *B;   // (L, D, R)
    uint64_t version; // changes whenever A or B change; unique over all slots of a process
};

struct adapters {
    int slots;                       // in this set, e.g. 8 own + 24 of earlier tasks
    int learned;                     // the first `learned` of them get gradients
    int rank;                        // R, the same for all
    const struct adapter_slot *slot; // (slots)
    const float *coef;               // (samples of the batch, slots)
};

/* Another state of the same slots whose answers a pass is held near: with a teacher the loss gets, for every answer row,
 *     weight * T^2 * KL(softmax(z' / T) || softmax(z / T))
 * z' the logits with the teacher's coefficients, z those of the pass, T the temperature. */
struct adapter_teacher {
    const float *coef; // (samples of the batch, slots); NULL: no teacher
    float weight, temperature;
};

#endif
