/* text_encoder.h - the frozen sentence encoder whose embedding of a question is the routing query s.
 *
 * Either a sentence-transformers directory (BERT or RoBERTa with mean / cls / max / mean_sqrt_len pooling and an optional
 * Normalize module), or `base`: the IDF-weighted mean of the base's own token embeddings (encoder_idf.json beside the base;
 * without that file a plain mean, centred on the mean of the embedding table), which needs no download.
 */
#ifndef CLLAVA_MODEL_TEXT_ENCODER_H
#define CLLAVA_MODEL_TEXT_ENCODER_H

#include "io/tokenizer.h"
#include "model/backend.h"

struct text_encoder;

/* spec: a directory, or "base" (then base_dir and base_tok are used). Always computes in f32 with backend be (f32 table).
 * CL_EIO, CL_EFORMAT, CL_EMISMATCH as safetensors and config do. */
int text_encoder_open(struct text_encoder **e, const char *spec, const char *base_dir, const struct tokenizer *base_tok,
                      const struct backend *be);
void text_encoder_close(struct text_encoder *e);
int text_encoder_width(const struct text_encoder *e);        // K, e.g. 768
const char *text_encoder_hash(const struct text_encoder *e); // 16 hex digits of config and weights

/* out (n, K) host. Texts are batched inside (packed, no padding); a text longer than the encoder's limit is cut as
 * sentence-transformers cuts. CL_ENUM: an embedding that is not finite. */
int text_encoder_embed(struct text_encoder *e, float *out, const char *const *text, size_t n);
/* Ids that the encoder sees for one text, special ones included (cllava encode prints them). */
int text_encoder_ids(struct text_encoder *e, const char *text, struct ids *out);

#endif
