/* few.h - products of a few rows, as decoding has them, by the own loops (model/cpu/kernels/gemv.h).
 *
 * x is copied to rows of the loops' type that are filled up with 0; the caller holds the scratch lock. CL_ENOMEM.
 */
#ifndef CLLAVA_MODEL_CPU_FEW_H
#define CLLAVA_MODEL_CPU_FEW_H

#include "model/backend.h"

enum { FEW_ROWS = 12 }; // rows up to which the own loops are faster than oneDNN's
enum { FEW_PARTS = 4 }; // most weights at once

/* Do the own loops serve this weight and so many rows? */
bool few_serves(const struct weight *w, int64_t rows);

/* y (+)= x W^T + bias of weights (at most FEW_PARTS) that few_serves, of one kind: packed, rounded (any number of rows), or plain
 * and alone. The order of a row's sums does not depend on the other rows. */
int few_linear(const struct linear *part, int parts, struct tensor x, bool accumulate);

/* y (+)= x w^T of plain rows w, of type f32 or bf16. */
int few_plain(struct tensor y, struct tensor x, struct tensor w, const float *bias, bool accumulate);

#endif
