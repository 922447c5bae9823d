/* gemm.h - frozen weights and plain products on the CPU.
 *
 * A weight is kept once, for one type of arithmetic. f32: plain rows serve both directions at nearly the speed of packed ones,
 * so a mapped file is used in place. bf16: packed for the forward direction, in memory of its own; the backward one turns it
 * panel by panel just before use, which costs 2 to 4 % of the products of a training batch; what fits into one panel is kept turned
 * too. Rows of a weight that is only a
 * table stay as they are. Tensors of another type, or with gaps between rows, which oneDNN has no fast loops for, go through
 * scratch copies. gemm of two types is computed in f32. A few rows, as in decoding, are multiplied by own loops
 * (model/cpu/few.h), and a weight may be rounded to bytes for these alone.
 *
 * The order of sums does not depend on the number of threads where oneDNN has its block products (f32: AVX-512, bf16:
 * AVX-512 BF16 and AMX). On lesser processors it may share one long sum among threads: the same bits need the same number
 * of threads there.
 */
#ifndef CLLAVA_MODEL_CPU_GEMM_H
#define CLLAVA_MODEL_CPU_GEMM_H

#include "model/backend.h"

int gemm_weight_new(struct weight **w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                    unsigned uses, bool keep, enum dtype arithmetic);
void gemm_weight_free(struct weight *w);
size_t gemm_weight_bytes(const struct weight *w);
/* What gemm_weight_bytes of such a weight would say where bf16 weights are packed, without making it. */
size_t gemm_weight_size(enum dtype src_type, int64_t out, int64_t in, unsigned uses, bool keep, enum dtype arithmetic);
/* Largest |number| of each output; the weight in bytes, for linear alone; the memory that it takes. */
int gemm_weight_tops(float *top, const struct weight *w);
int gemm_weight_rounded(struct weight **q, const struct weight *w, const float *top);
size_t gemm_rounded_size(int64_t out, int64_t in);
int64_t gemm_rounded_inputs(int64_t in); // filled up
int gemm_linear(struct tensor y, struct tensor x, const struct weight *w, const float *bias, bool accumulate);
int gemm_linear_each(const struct linear *part, int n, struct tensor x);
int gemm_linear_back(struct tensor dx, struct tensor dy, const struct weight *w, bool accumulate);
int gemm_embed(struct tensor out, const struct weight *w, const int32_t *id);
int gemm_gemm(struct tensor c, struct tensor a, bool a_transposed, struct tensor b, bool b_transposed, bool accumulate);

#endif
