/* adapters.h - what is learned as the model sees it: low-rank increments, or prompts.
 *
 * y = W x + sum_m c_m B_m (A_m x) of every linear map W that was chosen (model/projections.h): slots of one rank, each with an A
 * and a B for every decoder layer, and one coefficient row per sample. Where slots and coefficients come from (a pool, one LoRA, ..) is the method's business (pool/method.h).
 * Slots that learn come first; the others are constants whose coefficients may still learn.
 *
 * The last `residuals` slots of a set are no increments but vectors that are added to the logits of every answer row, each
 * times its coefficient (model/residual.c). When slots learn, the first residual does too; a residual's coefficient has no
 * gradient.
 *
 * The slots of a set may be prompts instead: each some rows of the residual stream's width that stand among the embeddings of a
 * sample, at its places of PROMPT_TOKEN (io/batch.h). A coefficient other than 0 says that the sample has the prompt; those that
 * it has follow each other in the order of their slots. `rank` tells the two kinds apart, so that whoever passes sets on
 * need not: prompt_set(P) is that of prompts of P rows.
 */
#ifndef CLLAVA_MODEL_ADAPTERS_H
#define CLLAVA_MODEL_ADAPTERS_H

#include <stdint.h>

struct adapter_slot {
    const float *A;   // (L, R, H) master values, host; a prompt: its rows (P, D); a residual: (V)
    const float *B;   // (L, D, R); a prompt, a residual: not looked at
    uint64_t version; // changes whenever A or B change; unique over all slots of a process
};

struct adapters {
    int slots;                       // in this set, e.g. 8 own + 24 of earlier tasks; residuals included
    int learned;                     // the first `learned` of them get gradients
    int rank;                        // R, the same for all; of prompts prompt_set(P)
    const struct adapter_slot *slot; // (slots)
    const float *coef;               // (samples of the batch, slots)
    int residuals;                   // the last of the slots: of the logits
};

/* The rank of a set of prompts of so many rows, and back: 0 for increments. */
static inline int prompt_set(int rows)
{
    return -rows;
}
static inline int prompt_rows(int rank)
{
    return rank < 0 ? -rank : 0;
}

/* Numbers of A and of B of a slot: over L layers of H inputs and D outputs (struct projections); a prompt's rows are as wide as the
 * residual stream, and it has no B. */
static inline int64_t adapter_a_size(int rank, int64_t L, int64_t H, int64_t width)
{
    return rank < 0 ? prompt_rows(rank) * width : L * rank * H;
}
static inline int64_t adapter_b_size(int rank, int64_t L, int64_t D)
{
    return rank < 0 ? 0 : L * rank * D;
}

/* Another state of the same slots whose answers a pass is held near: with a teacher the loss gets, for every answer row,
 *     weight * T^2 * KL(softmax(z' / T) || softmax(z / T))
 * z' the logits with the teacher's coefficients, z those of the pass, T the temperature. */
struct adapter_teacher {
    const float *coef; // (samples of the batch, slots); NULL: no teacher
    float weight, temperature;
};

#endif
