/* query.h - what routing compares keys with (pool.query): the question's embedding, the mean of the picture's features, or both.
 *
 * Both: side by side, each part at unit length, so that a cosine is the mean of the two parts' and neither drowns the other.
 * A record without picture has zeros for it: cosine 0 with every key.
 */
#ifndef CLLAVA_JOBS_QUERY_H
#define CLLAVA_JOBS_QUERY_H

#include "jobs/job.h"

/* K of the job's queries. The encoder and the base's description must be there. */
int query_width(const struct job *j);
bool query_has_text(const struct config *cfg);
bool query_has_picture(const struct config *cfg);
/* CL_ECONFIG: pictures are asked for, but the base sees none. */
int query_check(const struct config *cfg, const struct lvlm_config *base);

/* out (n, K) := queries of n records: question (as dataset_first_question gives it) and path of the picture, NULL: none.
 * Equal questions and equal pictures are computed once; the ranks share the work. Rank 0. CL_EDATA, CL_EIO name the picture. */
int query_embed(struct job *j, float *out, const char *const *question, const char *const *picture, size_t n);
/* The same for one record, at once: the question by this rank alone. */
int query_embed_one(struct job *j, float *out, const char *question, const char *picture);

#endif
