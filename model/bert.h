/* bert.h - BERT and RoBERTa, forward only: the network inside a sentence encoder.
 *
 *     word + type + position -> LayerNorm -> layers x [ attention -> + -> LayerNorm -> MLP -> + -> LayerNorm ]
 *
 * RoBERTa differs in where its positions start (behind the padding id) and in nothing else.
 */
#ifndef CLLAVA_MODEL_BERT_H
#define CLLAVA_MODEL_BERT_H

#include "model/backend.h"

struct bert_config {
    bool roberta;
    int vocab;                      // e.g. 30522
    int hidden, ffn, layers, heads; // e.g. 768, 3072, 12, 12
    int positions, types;           // rows of the position and type tables, e.g. 512, 2
    int pad;                        // id of the padding token: RoBERTa counts positions from pad + 1
    float eps;                      // 1e-12
    enum activation act;            // gelu
};

/* config.json of dir alone. */
int bert_config_read(struct bert_config *c, const char *dir);

struct bert;

/* config.json and weights of dir (with or without the prefix "bert." or "roberta."). be: an f32 backend. CL_EFORMAT names
 * a model type that is neither. */
int bert_open(struct bert **b, const char *dir, const struct backend *be);
void bert_close(struct bert *b);
const struct bert_config *bert_get_config(const struct bert *b);
int bert_limit(const struct bert *b);     // tokens of one text at most, e.g. 512
uint64_t bert_hash(const struct bert *b); // of the weights and what config.json says of the network

/* hidden (cu[texts], width) host f32: the last layer's states of texts that stand end to end, text t in rows
 * [cu[t], cu[t+1]). CL_EMISMATCH: an id the table does not have. Memory grows with the largest call. */
int bert_run(struct bert *b, float *hidden, const int32_t *id, const int64_t *cu, int texts);

#endif
