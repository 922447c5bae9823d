/* lines.h - LiNeS (arXiv 2410.17146): what a task learned is scaled layer by layer once it is learned.
 *
 * The paper scales the update of layer l of L by alpha + beta (l - 1) / (L - 1): shallow layers, which carry what all tasks
 * share, keep more of what was before, and earlier tasks lose less. Here the update of a task is its own slots' increments
 * B A, so it is B that is scaled; lines.first and lines.last are the factors of the first and the last layer. It needs
 * methods that add slots for each task: of one LoRA that goes on learning no task's part can be told apart.
 */
#ifndef CLLAVA_POOL_LINES_H
#define CLLAVA_POOL_LINES_H

#include "pool/pool.h"

struct lines {
    double first, last;
};

struct lines lines_of(const struct config *cfg);
/* CL_ECONFIG: the configuration asks for it, but the method adds no slots per task. */
int lines_check(const struct config *cfg, const struct method_ops *ops);
/* B of layer l of the slots r *= first + (last - first) l / (L - 1). One layer alone: last. Factors 1: nothing changes. */
void lines_scale(const struct lines *s, struct pool *p, struct pool_range r);

#endif
