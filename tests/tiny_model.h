/* tiny_model.h - made-up bases of a few kilobytes, with any number of heads, and batches for them. Needs a function
 * fail_msg(format, ..) that does not return. */
#ifndef CLLAVA_TESTS_TINY_MODEL_H
#define CLLAVA_TESTS_TINY_MODEL_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/batch.h"
#include "io/err.h"
#include "io/safetensors.h"

#define TINY_FN static inline __attribute__((unused))

struct tiny {
    int D, heads, kv_heads, head_dim, F, L, vocab;
    bool tied, attention_bias, mlp_bias;
    int vision; // width of the tower; 0: none
    int vision_heads, vision_F;
    int image_token; // 0: the last but one id
};
enum { TINY_IMAGE = 12, TINY_PATCH = 4, TINY_PATCHES = 9, TINY_TOWER_LAYERS = 3, TINY_MOST = 160 };

struct tiny_file {
    char name[TINY_MOST][96];
    struct st_array array[TINY_MOST];
    size_t n;
    uint32_t seed;
};

TINY_FN float tiny_noise(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return (float)(*s >> 8) / (float)(1 << 23) - 1.0f;
}

/* A vector (cols 0), a matrix, or (side) a convolution of 3 channels. Gains are near 1. */
TINY_FN void tiny_add(struct tiny_file *f, int rows, int cols, int side, const char *fmt, ...)
{
    struct st_array *a = &f->array[f->n];
    bool gain = !cols && strstr(fmt, "norm") && strstr(fmt, "weight");
    size_t n = (size_t)rows * (size_t)(side ? 3 * side * side : cols ? cols : 1);
    float *data = malloc(n * sizeof *data), scale = cols ? 1.2f / (float)(cols > 64 ? 8 : cols > 16 ? 4 : 2) : 0.3f;
    va_list ap;

    if (!data || f->n == TINY_MOST) fail_msg("no room for a tensor");
    va_start(ap, fmt);
    vsnprintf(f->name[f->n], sizeof f->name[0], fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < n; i++) data[i] = (float)gain + scale * tiny_noise(&f->seed);
    *a = (struct st_array){.name = f->name[f->n], .type = DT_F32, .dims = side ? 4 : cols ? 2 : 1, .data = data};
    a->shape[0] = rows, a->shape[1] = side ? 3 : cols, a->shape[2] = a->shape[3] = side;
    f->n++;
}

TINY_FN void tiny_linear(struct tiny_file *f, int out, int in, bool bias, const char *name)
{
    tiny_add(f, out, in, 0, "%s.weight", name);
    if (bias) tiny_add(f, out, 0, 0, "%s.bias", name);
}

TINY_FN void tiny_decoder(struct tiny_file *f, const struct tiny *t)
{
    const int H = t->heads * t->head_dim, KV = t->kv_heads * t->head_dim;
    char name[96];

    tiny_add(f, t->vocab, t->D, 0, "language_model.model.embed_tokens.weight");
    if (!t->tied) tiny_add(f, t->vocab, t->D, 0, "language_model.lm_head.weight");
    tiny_add(f, t->D, 0, 0, "language_model.model.norm.weight");
    for (int l = 0; l < t->L; l++) {
        const struct {
            const char *name;
            int out, in;
            bool bias;
        } m[] = {{"self_attn.q_proj", H, t->D, t->attention_bias},  {"self_attn.k_proj", KV, t->D, t->attention_bias},
                 {"self_attn.v_proj", KV, t->D, t->attention_bias}, {"self_attn.o_proj", t->D, H, t->attention_bias},
                 {"mlp.gate_proj", t->F, t->D, t->mlp_bias},        {"mlp.up_proj", t->F, t->D, t->mlp_bias},
                 {"mlp.down_proj", t->D, t->F, t->mlp_bias}};
        for (int k = 0; k < 7; k++) {
            snprintf(name, sizeof name, "language_model.model.layers.%d.%s", l, m[k].name);
            tiny_linear(f, m[k].out, m[k].in, m[k].bias, name);
        }
        tiny_add(f, t->D, 0, 0, "language_model.model.layers.%d.input_layernorm.weight", l);
        tiny_add(f, t->D, 0, 0, "language_model.model.layers.%d.post_attention_layernorm.weight", l);
    }
}

TINY_FN void tiny_tower(struct tiny_file *f, const struct tiny *t)
{
    static const char tower[] = "vision_tower.vision_model";
    const int h = t->vision;
    char name[96];

    tiny_add(f, h, 0, 0, "%s.embeddings.class_embedding", tower);
    tiny_add(f, h, 0, TINY_PATCH, "%s.embeddings.patch_embedding.weight", tower);
    tiny_add(f, TINY_PATCHES + 1, h, 0, "%s.embeddings.position_embedding.weight", tower);
    tiny_add(f, h, 0, 0, "%s.pre_layrnorm.weight", tower);
    tiny_add(f, h, 0, 0, "%s.pre_layrnorm.bias", tower);
    for (int l = 0; l < TINY_TOWER_LAYERS; l++) {
        static const char *const square[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                             "self_attn.out_proj"};
        for (int k = 0; k < 6; k++) {
            snprintf(name, sizeof name, "%s.encoder.layers.%d.%s", tower, l,
                     k < 4    ? square[k]
                     : k == 4 ? "mlp.fc1"
                              : "mlp.fc2");
            tiny_linear(f, k == 4 ? t->vision_F : h, k == 5 ? t->vision_F : h, true, name);
        }
        for (int k = 1; k <= 2; k++) {
            tiny_add(f, h, 0, 0, "%s.encoder.layers.%d.layer_norm%d.weight", tower, l, k);
            tiny_add(f, h, 0, 0, "%s.encoder.layers.%d.layer_norm%d.bias", tower, l, k);
        }
    }
    tiny_linear(f, t->D, h, true, "multi_modal_projector.linear_1");
    tiny_linear(f, t->D, t->D, true, "multi_modal_projector.linear_2");
}

TINY_FN int32_t tiny_image_token(const struct tiny *t)
{
    return t->image_token ? t->image_token : t->vocab - 2;
}

TINY_FN void tiny_config(FILE *f, const struct tiny *t)
{
    static const char *const no_yes[] = {"false", "true"};
    const char *end = "";

    if (t->vision) {
        fprintf(
            f,
            "{\"model_type\": \"llava\", \"image_token_index\": %d, \"vision_feature_layer\": -2,\n"
            " \"vision_config\": {\"model_type\": \"clip_vision_model\", \"hidden_size\": %d, "
            "\"intermediate_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"image_size\": %d, "
            "\"patch_size\": %d},\n \"tie_word_embeddings\": %s, \"text_config\": ",
            tiny_image_token(t), t->vision, t->vision_F, TINY_TOWER_LAYERS, t->vision_heads, TINY_IMAGE, TINY_PATCH,
            no_yes[t->tied]);
        end = "}";
    }
    fprintf(f,
            "{\"model_type\": \"llama\", \"vocab_size\": %d, \"hidden_size\": %d, \"intermediate_size\": %d, "
            "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d, "
            "\"attention_bias\": %s, \"mlp_bias\": %s, \"tie_word_embeddings\": %s, \"bos_token_id\": 1, "
            "\"eos_token_id\": 2}%s\n",
            t->vocab, t->D, t->F, t->L, t->heads, t->kv_heads, t->head_dim, no_yes[t->attention_bias],
            no_yes[t->mlp_bias], no_yes[t->tied], end);
}

/* Writes the base into dir; change, unless NULL, may look at and alter its tensors before. */
TINY_FN void tiny_write(const char *dir, const struct tiny *t, void (*change)(struct tiny_file *f))
{
    char path[600];
    struct tiny_file *f = calloc(1, sizeof *f);
    FILE *config;

    if (!f) fail_msg("no memory");
    f->seed = 17;
    tiny_decoder(f, t);
    if (t->vision) tiny_tower(f, t);
    if (change) change(f);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (safetensors_write(path, f->array, f->n)) fail_msg("%s", err_text());
    for (size_t i = 0; i < f->n; i++) free((void *)f->array[i].data);
    free(f);
    snprintf(path, sizeof path, "%s/config.json", dir);
    if (!(config = fopen(path, "w"))) fail_msg("cannot write %s", path);
    tiny_config(config, t);
    fclose(config);
}

TINY_FN float *tiny_tensor(struct tiny_file *f, const char *end, int64_t *cols)
{
    for (size_t i = 0; i < f->n; i++) {
        size_t n = strlen(f->name[i]), k = strlen(end);
        if (n < k || strcmp(f->name[i] + n - k, end)) continue;
        if (cols) *cols = f->array[i].shape[1];
        return (float *)f->array[i].data;
    }
    fail_msg("no tensor %s", end);
    return NULL;
}

/* One more sample of `length` tokens, the last `answers` of them with labels; a picture at its front if the base sees. */
TINY_FN void tiny_sample(struct packed_batch *b, const struct tiny *t, int length, int answers, bool picture,
                         bool prompt_only, uint32_t *seed)
{
    int32_t id[256], label[256];
    struct sample s = {
        .id = id, .label = label, .n = length, .answers = answers, .picture = picture && t->vision ? 1 : -1};

    s.prompt_n = length - answers;
    for (int i = 0; i < length; i++) {
        id[i] = (int32_t)((tiny_noise(seed) + 1) / 2 * (float)(t->vocab - 3));
        if (id[i] == tiny_image_token(t)) id[i]--;
        if (s.picture == 1 && i >= 1 && i <= TINY_PATCHES) id[i] = tiny_image_token(t);
        label[i] = i >= length - answers ? id[i] : -100;
    }
    if (batch_add(b, &s, prompt_only)) fail_msg("%s", err_text());
}

#endif
