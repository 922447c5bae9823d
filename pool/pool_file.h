/* pool_file.h - the pool in a checkpoint: /pool and /context, and the check that a file belongs to what is configured.
 *
 *     /pool       attrs rank, top_m, key_groups, target (modules that have increments), scale, method
 *     /pool/keys (N,K)  /pool/A (N,L,R,H)  /pool/B (N,L,D,R)  f32;  /pool/task (N) i32;  /pool/use (N) f64
 *     /pool/widths (maps,2) i64, inputs and outputs of each: where these are not o_proj alone
 *     /context/w (T,T) f64, strictly lower triangle          (methods with context)
 *
 * A slot without key (plain LoRA) has keys of shape (N,0).
 */
#ifndef CLLAVA_POOL_POOL_FILE_H
#define CLLAVA_POOL_POOL_FILE_H

#include "pool/pool.h"

/* Which maps the file's A (.., H) and B (.., D, ..) are about; a file that does not say: o_proj. CL_EFORMAT. */
int pool_file_projections(struct projections *on, struct ckpt *c, int64_t H, int64_t D);
/* CL_EFORMAT names the file, the array and the first of its n numbers that is not finite. */
int pool_file_finite(struct ckpt *c, const char *name, const float *x, int64_t n);
int pool_file_save(const struct pool *p, struct ckpt *c, const char *method, bool context);
/* Into an empty pool that pool_open gave its shapes. CL_EMISMATCH, with what the file and the pool say, when maps, ranks,
 * widths or (strict) top_m, key_groups, scale differ or the file is another method's; CL_EFORMAT when the file contradicts
 * itself. A longer stream in the file widens p->T. strict false: only shapes matter (initial values). */
int pool_file_load(struct pool *p, struct ckpt *c, const char *method, bool context, bool strict);

#endif
