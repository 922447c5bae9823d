/* backend_measuring.h - a backend whose operations do nothing and whose memory is a number: what would a model take?
 *
 * A model that is opened, reserved and run over it (with weights of safetensors_blank) goes through all of its code, but holds
 * nothing and computes nothing. How much it asked for is counted here; how much it would compute is counted by
 * backend_timing.h on top of it. So neither is a second set of formulas that could drift from the code. Pointers that it gives
 * are never looked through. One count per process.
 */
#ifndef CLLAVA_MODEL_BACKEND_MEASURING_H
#define CLLAVA_MODEL_BACKEND_MEASURING_H

#include "model/backend.h"

/* Bytes, as the CPU's backend of that type would hold them. */
struct measured {
    size_t own;     // buffers and weights that are held now
    size_t mapped;  // weights that are used where the file has them
    size_t scratch; // the most that a thread has needed beside an operation's operands
};

const struct backend *backend_measuring(enum dtype act);
struct measured backend_measured(void);
void backend_measured_clear(void); // for a new model, when nothing is held any more

#endif
