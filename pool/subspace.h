/* subspace.h - the directions in which rows of numbers mostly lie: an orthonormal basis that takes rows in as they come.
 *
 * Of all rows seen the basis holds the strongest right singular vectors, at most `rank` of them: old basis, each vector times its
 * singular value, and new rows stand under each other, and the eigenvectors of that matrix's Gram matrix give the next one. What
 * falls off the end is forgotten, so that later rows of that kind count anew; with no more than rank directions in all, nothing
 * does. Vectors weaker than a thousandth of the strongest are left out: rounding alone makes them.
 */
#ifndef CLLAVA_POOL_SUBSPACE_H
#define CLLAVA_POOL_SUBSPACE_H

#include <stdint.h>

/* q (rank, H): orthonormal rows by falling sigma (rank), rows of zeros behind them. x (n, H) rows that come in. CL_ENOMEM. */
int subspace_add(float *q, double *sigma, int rank, int64_t H, const float *x, int n);
/* x (H) -= its part in the span of q (rank, H). */
void subspace_remove(float *x, const float *q, int rank, int64_t H);

/* value (n) falling, vector k in row k of vectors (n, n), of the symmetric a (n, n), which is overwritten. Jacobi's rotations in a
 * fixed order. */
void subspace_eigen(double *a, double *value, double *vectors, int n);

#endif
