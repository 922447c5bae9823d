/* lvlm_config.h - what a base model is: config.json of a Hugging Face LLaVA directory.
 *
 * Reads what transformers 4.3x to 5.x write (llava-hf and re-saved copies; rope_theta or rope_parameters; image_token_index
 * or image_token_id), puts the classes' documented defaults where keys are missing, and refuses what the model code does
 * not do, by name.
 */
#ifndef CLLAVA_MODEL_LVLM_CONFIG_H
#define CLLAVA_MODEL_LVLM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "model/backend.h"

struct vision_config {
    int hidden, ffn, layers, heads; // e.g. 1024, 4096, 24, 16
    int image_size, patch;          // pixels, e.g. 336, 14
    int channels;                   // 3
    float eps;                      // LayerNorm, 1e-5
    enum activation act;            // quick_gelu
    int feature_layers;             // blocks that are run: layer -2 of 24 -> 23
    bool keep_cls;                  // vision_feature_select_strategy "full" keeps the class token, "default" drops it
    int tokens;                     // positions that come out of one picture: patches (+ 1 with keep_cls), e.g. 576
};

struct text_config {
    int vocab;                     // rows of embed_tokens, e.g. 32064
    int hidden, ffn, layers;       // D, F, L, e.g. 4096, 11008, 32
    int heads, kv_heads, head_dim; // e.g. 32, 32, 128; heads * head_dim = H may differ from hidden
    int max_positions;             // e.g. 4096
    float eps;                     // RMSNorm, e.g. 1e-5
    double rope_theta;             // e.g. 10000
    /* rope scaling: 0 none, 1 linear, 2 llama3 */
    int rope_scaling;
    double rope_factor, rope_low_freq, rope_high_freq;
    int rope_original; // original_max_position_embeddings
    /* Type that the inverse frequencies were rounded to, mostly f32. A model that was built and then cast as a whole
     * (torch's .to(bfloat16), DeepSpeed's engine) has its frequencies cast with it; its config.json states the type at the
     * top alone. One that went through from_pretrained keeps them in f32, and its text_config states the type too. */
    enum dtype rope_type;
    enum activation act;                 // silu
    bool attention_bias, mlp_bias, tied; // tied: lm_head is embed_tokens
};

struct lvlm_config {
    struct vision_config vision;
    struct text_config text;
    int32_t image_token;      // id that stands for a picture position, e.g. 32000 (LLaVA's own form: 0); -1: none
    int32_t bos, eos[8], pad; // -1: none; eos ends generation, eos[0] closes answers in training
    int n_eos;
    enum activation projector_act; // gelu
    bool projector_bias;
    bool has_vision; // false: a plain LLaMA (tests, text only)
};

/* CL_EIO: no config.json; CL_EFORMAT: broken JSON, a key of the wrong type or out of range; unknown model type (the text
 * names the known ones). generation_config.json, where present, gives bos and further eos too. A plain LLaMA directory
 * (model_type llama) is read with has_vision false. LLaVA's own form (flat, mm_* keys) is read where its weights hold the
 * vision tower, which most do not: then CL_EFORMAT says so. */
int lvlm_config_read(struct lvlm_config *c, const char *base_dir);

/* The activation that a key names in the words of transformers; left alone where the key is missing. */
struct jsonfile_at;
int lvlm_config_activation(enum activation *act, const struct jsonfile_at *at, const char *key);

/* inverse frequencies of RoPE with its scaling: inv (head_dim / 2). */
void lvlm_rope_frequencies(double *inv, const struct text_config *t);

#endif
