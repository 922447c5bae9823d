/* lvlm_config.c - config.json of a LLaVA directory, in each of the forms it has had.
 *
 * Hugging Face's form has a text_config and a vision_config; what a file leaves out has the default of the class that wrote
 * it (llava-1.5-7b-hf leaves nearly everything out). LLaVA's own form is flat: the decoder's keys at the top, mm_* keys
 * beside them, and the tower known by name only. A plain LLaMA has the decoder's keys alone.
 */
#include "model/lvlm_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonfile.h"
#include "io/safetensors.h"

enum { LARGEST = (1 << 20) - 1 }; // no size of a real model comes near; products of two stay far from int64's end

struct size_key {
    const char *name;
    size_t at; // of an int in the struct
};

static int read_sizes(void *sizes, const struct jsonfile_at *at, const struct size_key *key, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n; i++) TRY(jsonfile_int((int *)((char *)sizes + key[i].at), at, key[i].name, 1, LARGEST));
done:
    return rc;
}

int lvlm_config_activation(enum activation *act, const struct jsonfile_at *at, const char *key)
{
    static const struct {
        const char *name;
        enum activation act;
    } known[] = {{"gelu", ACT_GELU},
                 {"gelu_python", ACT_GELU},
                 {"quick_gelu", ACT_QUICK_GELU},
                 {"gelu_new", ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", ACT_GELU_TANH},
                 {"silu", ACT_SILU},
                 {"swish", ACT_SILU},
                 {"relu", ACT_RELU}};
    const char *name = NULL;
    int rc;

    TRY(jsonfile_text(&name, at, key));
    if (!name) return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            *act = known[i].act;
            return 0;
        }
    return jsonfile_refuse(at, key, "gelu, quick_gelu, gelu_new, gelu_pytorch_tanh, silu or relu");
done:
    return rc;
}

/* CL_EFORMAT unless model_type is missing or the one that is known. */
static int check_type(const struct jsonfile_at *at, const char *known)
{
    const char *type = known;
    int rc;

    TRY(jsonfile_text(&type, at, "model_type"));
    if (strcmp(type, known)) rc = jsonfile_refuse(at, "model_type", "%s; hint: other models are not supported", known);
done:
    return rc;
}

/* ---- the decoder */

/* Newer files hold rope_parameters, older ones rope_theta and rope_scaling; the type's key was once "type". */
static int read_rope(struct text_config *t, const struct jsonfile_at *at)
{
    struct jsonfile_at rope;
    const char *type = "default", *key;
    double whole = 1;
    int rc;

    t->rope_theta = 10000;
    TRY(jsonfile_real(&t->rope_theta, at, "rope_theta", 1, 1e12));
    TRY(jsonfile_section(&rope, at, jsonfile_has(at, "rope_scaling") ? "rope_scaling" : "rope_parameters"));
    TRY(jsonfile_real(&t->rope_theta, &rope, "rope_theta", 1, 1e12));
    TRY(jsonfile_real(&whole, at, "partial_rotary_factor", 0, 1));
    TRY(jsonfile_real(&whole, &rope, "partial_rotary_factor", 0, 1));
    if (whole != 1)
        FAIL(CL_EFORMAT, "%s: partial_rotary_factor is %g, expected 1 (all of a head is turned)", at->path, whole);

    key = jsonfile_has(&rope, "rope_type") ? "rope_type" : "type";
    TRY(jsonfile_text(&type, &rope, key));
    if (!strcmp(type, "default")) return 0;
    if (strcmp(type, "linear") && strcmp(type, "llama3")) {
        rc = jsonfile_refuse(&rope, key,
                             "default, linear or llama3; hint: other kinds of RoPE scaling are not supported");
        goto done;
    }
    t->rope_scaling = !strcmp(type, "linear") ? 1 : 2;
    if (!jsonfile_has(&rope, "factor"))
        FAIL(CL_EFORMAT, "%s: %s has no factor (type %s needs it)", at->path, rope.section, type);
    TRY(jsonfile_real(&t->rope_factor, &rope, "factor", 1e-3, 1e6));
    t->rope_original = t->max_positions;
    t->rope_low_freq = 1; // what LLaMA 3.1 has
    t->rope_high_freq = 4;
    TRY(jsonfile_real(&t->rope_low_freq, &rope, "low_freq_factor", 1e-6, 1e6));
    TRY(jsonfile_real(&t->rope_high_freq, &rope, "high_freq_factor", 1e-6, 1e6));
    TRY(jsonfile_int(&t->rope_original, &rope, "original_max_position_embeddings", 1, LARGEST * 64));
    TRY(jsonfile_int(&t->rope_original, at, "original_max_position_embeddings", 1, LARGEST * 64));
    if (t->rope_scaling == 2 && !(t->rope_high_freq > t->rope_low_freq))
        rc = jsonfile_refuse(&rope, "high_freq_factor", "a number above low_freq_factor (%g)", t->rope_low_freq);
done:
    return rc;
}

static int check_heads(struct text_config *t, const struct jsonfile_at *at)
{
    if (!t->kv_heads) t->kv_heads = t->heads;
    if (t->heads % t->kv_heads)
        return jsonfile_refuse(at, "num_key_value_heads", "a divisor of num_attention_heads (%d)", t->heads);
    if (!t->head_dim && t->hidden % t->heads)
        return jsonfile_refuse(at, "hidden_size", "a multiple of num_attention_heads (%d), or head_dim beside it",
                               t->heads);
    if (!t->head_dim) t->head_dim = t->hidden / t->heads;
    if ((int64_t)t->heads * t->head_dim > LARGEST)
        return jsonfile_refuse(at, "head_dim", "at most %d / num_attention_heads (%d)", LARGEST, t->heads);
    if (t->head_dim % 2)
        return jsonfile_refuse(at, "head_dim", "an even number (got %d; RoPE turns pairs)", t->head_dim);
    return 0;
}

/* Keys and defaults of LlamaConfig. */
static int read_text(struct text_config *t, const struct jsonfile_at *at)
{
    static const struct size_key sizes[] = {
        {"vocab_size", offsetof(struct text_config, vocab)},
        {"hidden_size", offsetof(struct text_config, hidden)},
        {"intermediate_size", offsetof(struct text_config, ffn)},
        {"num_hidden_layers", offsetof(struct text_config, layers)},
        {"num_attention_heads", offsetof(struct text_config, heads)},
        {"num_key_value_heads", offsetof(struct text_config, kv_heads)},
        {"head_dim", offsetof(struct text_config, head_dim)},
    };
    double eps = 1e-6;
    int rc;

    *t = (struct text_config){.vocab = 32000,
                              .hidden = 4096,
                              .ffn = 11008,
                              .layers = 32,
                              .heads = 32,
                              .max_positions = 2048,
                              .act = ACT_SILU};
    TRY(read_sizes(t, at, sizes, sizeof sizes / sizeof *sizes));
    TRY(check_heads(t, at));
    TRY(jsonfile_int(&t->max_positions, at, "max_position_embeddings", 1, LARGEST * 64));
    TRY(jsonfile_real(&eps, at, "rms_norm_eps", 1e-30, 1));
    t->eps = (float)eps;
    TRY(lvlm_config_activation(&t->act, at, "hidden_act"));
    TRY(jsonfile_bool(&t->attention_bias, at, "attention_bias"));
    TRY(jsonfile_bool(&t->mlp_bias, at, "mlp_bias"));
    TRY(jsonfile_bool(&t->tied, at, "tie_word_embeddings"));
    TRY(read_rope(t, at));
done:
    return rc;
}

/* ---- the tower */

/* A size that some files give as [size, size]. */
static int read_square(int *size, const struct jsonfile_at *at, const char *key)
{
    const json_t *v = json_object_get(at->object, key), *side = json_array_get(v, 0);
    const int most = 1 << 14;

    if (!json_is_array(v)) return jsonfile_int(size, at, key, 1, most);
    if (json_array_size(v) != 2 || !json_is_integer(side) || !json_equal(side, json_array_get(v, 1)) ||
        json_integer_value(side) < 1 || json_integer_value(side) > most)
        return jsonfile_refuse(at, key, "one size from 1 to %d (pictures and patches are square)", most);
    *size = (int)json_integer_value(side);
    return 0;
}

static int check_vision(struct vision_config *v, const struct jsonfile_at *at)
{
    int side;

    if (v->hidden % v->heads)
        return jsonfile_refuse(at, "hidden_size", "a multiple of num_attention_heads (%d)", v->heads);
    if (v->channels != 3) return jsonfile_refuse(at, "num_channels", "3");
    if (v->patch > v->image_size) return jsonfile_refuse(at, "patch_size", "at most image_size (%d)", v->image_size);
    side = v->image_size / v->patch;
    if (side > 1 << 10) return jsonfile_refuse(at, "patch_size", "at most 1024 patches in a row (got %d)", side);
    v->tokens = side * side;
    return 0;
}

/* Keys of CLIPVisionConfig. Its own defaults are those of ViT-B/32; a LLaVA without any vision_config means ViT-L/14-336. */
static int read_vision(struct vision_config *v, const struct jsonfile_at *at)
{
    static const struct size_key sizes[] = {
        {"hidden_size", offsetof(struct vision_config, hidden)},
        {"intermediate_size", offsetof(struct vision_config, ffn)},
        {"num_hidden_layers", offsetof(struct vision_config, layers)},
        {"num_attention_heads", offsetof(struct vision_config, heads)},
        {"num_channels", offsetof(struct vision_config, channels)},
    };
    static const struct vision_config base_32 = {.hidden = 768,
                                                 .ffn = 3072,
                                                 .layers = 12,
                                                 .heads = 12,
                                                 .image_size = 224,
                                                 .patch = 32,
                                                 .channels = 3,
                                                 .act = ACT_QUICK_GELU};
    static const struct vision_config large_14 = {.hidden = 1024,
                                                  .ffn = 4096,
                                                  .layers = 24,
                                                  .heads = 16,
                                                  .image_size = 336,
                                                  .patch = 14,
                                                  .channels = 3,
                                                  .act = ACT_QUICK_GELU};
    double eps = 1e-5;
    int rc;

    *v = at->object ? base_32 : large_14;
    TRY(check_type(at, "clip_vision_model"));
    TRY(read_sizes(v, at, sizes, sizeof sizes / sizeof *sizes));
    TRY(read_square(&v->image_size, at, "image_size"));
    TRY(read_square(&v->patch, at, "patch_size"));
    TRY(lvlm_config_activation(&v->act, at, "hidden_act"));
    TRY(jsonfile_real(&eps, at, "layer_norm_eps", 1e-30, 1));
    v->eps = (float)eps;
    TRY(check_vision(v, at));
done:
    return rc;
}

/* Which hidden state the projector sees: state 0 is the embeddings, state k the output of block k; negative from the end. */
static int read_feature_layer(struct vision_config *v, const struct jsonfile_at *at, const char *key)
{
    const json_t *value = json_object_get(at->object, key);
    json_int_t layer = -2;

    if (json_is_array(value) && json_array_size(value) == 1) value = json_array_get(value, 0);
    if (json_is_array(value))
        return jsonfile_refuse(at, key, "one layer; hint: features of several layers are not supported");
    if (value && !json_is_null(value) && !json_is_integer(value)) return jsonfile_refuse(at, key, "a whole number");
    if (json_is_integer(value)) layer = json_integer_value(value);
    if (layer < -v->layers - 1 || layer > v->layers)
        return jsonfile_refuse(at, key, "from %d to %d (the tower has %d layers)", -v->layers - 1, v->layers,
                               v->layers);
    v->feature_layers = (int)(layer < 0 ? v->layers + 1 + layer : layer);
    return 0;
}

/* keeps, drops: the two words for the class token in this form of the file. */
static int read_strategy(struct vision_config *v, const struct jsonfile_at *at, const char *key, const char *keeps,
                         const char *drops)
{
    const char *strategy = drops;
    int rc;

    TRY(jsonfile_text(&strategy, at, key));
    v->keep_cls = !strcmp(strategy, keeps);
    if (!v->keep_cls && strcmp(strategy, drops)) rc = jsonfile_refuse(at, key, "%s or %s", drops, keeps);
    v->tokens += v->keep_cls;
done:
    return rc;
}

/* ---- special tokens */

/* *id := the key's value, -1 for null (none); unchanged where it is missing. */
static int read_id(int32_t *id, const struct jsonfile_at *at, const char *key, int vocab)
{
    int v = -1, rc;

    if (!json_object_get(at->object, key)) return 0;
    TRY(jsonfile_int(&v, at, key, -1, vocab - 1)); // -1: LLaMA's first conversions wrote no pad so
    *id = v;
done:
    return rc;
}

static int add_eos(struct lvlm_config *c, const struct jsonfile_at *at, const json_t *v)
{
    const int room = sizeof c->eos / sizeof *c->eos;
    json_int_t id = json_integer_value(v);

    if (!json_is_integer(v) || id < 0 || id >= c->text.vocab)
        return jsonfile_refuse(at, "eos_token_id", "ids from 0 to %d", c->text.vocab - 1);
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id) return 0;
    if (c->n_eos == room) return jsonfile_refuse(at, "eos_token_id", "at most %d ids in all", room);
    c->eos[c->n_eos++] = (int32_t)id;
    return 0;
}

/* Adds one id or a list of them to what is known. */
static int read_eos(struct lvlm_config *c, const struct jsonfile_at *at)
{
    const json_t *v = json_object_get(at->object, "eos_token_id");
    int rc = 0;

    if (json_is_array(v))
        for (size_t i = 0; i < json_array_size(v); i++) TRY(add_eos(c, at, json_array_get(v, i)));
    else if (v && !json_is_null(v))
        TRY(add_eos(c, at, v));
done:
    return rc;
}

static int read_generation(struct lvlm_config *c, const char *dir)
{
    char *path = jsonfile_path(dir, "generation_config.json");
    struct jsonfile_at at;
    json_t *root = NULL;
    int rc;

    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    rc = 0;
    if (access(path, F_OK)) goto done; // optional
    TRY(jsonfile_open_object(&root, &at, path));
    if (jsonfile_has(&at, "bos_token_id")) TRY(read_id(&c->bos, &at, "bos_token_id", c->text.vocab));
    if (jsonfile_has(&at, "pad_token_id") && c->pad < 0) TRY(read_id(&c->pad, &at, "pad_token_id", c->text.vocab));
    TRY(read_eos(c, &at));
done:
    json_decref(root);
    free(path);
    return rc;
}

/* config.json's own end token comes first: it closes answers in training; a generation config adds others that stop. */
static int read_tokens(struct lvlm_config *c, const struct jsonfile_at *top, const struct jsonfile_at *text,
                       const char *dir)
{
    const int vocab = c->text.vocab;
    int rc;

    c->bos = 1; // LlamaConfig's defaults
    c->pad = -1;
    if (jsonfile_has(top, "bos_token_id")) TRY(read_id(&c->bos, top, "bos_token_id", vocab));
    TRY(read_id(&c->bos, text, "bos_token_id", vocab));
    TRY(read_id(&c->pad, top, "pad_token_id", vocab));
    if (jsonfile_has(text, "pad_token_id")) TRY(read_id(&c->pad, text, "pad_token_id", vocab));
    TRY(read_eos(c, text));
    TRY(read_eos(c, top));
    TRY(read_generation(c, dir));
    if (!c->n_eos && !json_object_get(text->object, "eos_token_id") && vocab > 2) c->eos[c->n_eos++] = 2;
    if (c->bos >= vocab) c->bos = -1;
done:
    return rc;
}

/* ---- the three forms */

static int read_llama(struct lvlm_config *c, const struct jsonfile_at *at, const char *dir)
{
    int rc;

    TRY(read_text(&c->text, at));
    TRY(read_tokens(c, at, at, dir));
    c->image_token = -1;
done:
    return rc;
}

/* image_token_index in old files, image_token_id in new ones. */
static int read_image_token(struct lvlm_config *c, const struct jsonfile_at *at)
{
    int old = -1, new = -1, rc;

    TRY(jsonfile_int(&old, at, "image_token_index", 0, c->text.vocab - 1));
    TRY(jsonfile_int(&new, at, "image_token_id", 0, c->text.vocab - 1));
    if (old >= 0 && new >= 0 && old != new) {
        rc = jsonfile_refuse(at, "image_token_id", "the value of image_token_index (%d)", old);
        goto done;
    }
    c->image_token = old >= 0 ? old : new >= 0 ? new : 32000;
    if (c->image_token >= c->text.vocab)
        rc = jsonfile_refuse(at, "image_token_index", "an id below vocab_size (%d)", c->text.vocab);
done:
    return rc;
}

/* The number of picture positions follows from the tower; a file that counts otherwise (class token or not: some writers
 * never adapt it) means another tower. */
static int check_sequence(const struct vision_config *v, const struct jsonfile_at *at)
{
    int patches = v->tokens - v->keep_cls, said = v->tokens, rc;

    TRY(jsonfile_int(&said, at, "image_seq_length", 1, LARGEST));
    if (said != patches && said != patches + 1)
        rc = jsonfile_refuse(at, "image_seq_length", "%d: pictures of %d pixels in patches of %d", v->tokens,
                             v->image_size, v->patch);
done:
    return rc;
}

/* The type that the RoPE frequencies were stored in (see text_config.rope_type). Older files say torch_dtype. */
static int read_rope_type(struct text_config *t, const struct jsonfile_at *top, const struct jsonfile_at *text)
{
    int rc;
    const char *type = NULL;

    t->rope_type = DT_F32;
    if (jsonfile_has(text, "dtype") || jsonfile_has(text, "torch_dtype")) return CL_OK;
    TRY(jsonfile_text(&type, top, jsonfile_has(top, "dtype") ? "dtype" : "torch_dtype"));
    if (type && !strcmp(type, "bfloat16")) t->rope_type = DT_BF16;
    if (type && !strcmp(type, "float16")) t->rope_type = DT_F16;
done:
    return rc;
}

static int read_llava(struct lvlm_config *c, const struct jsonfile_at *at, const char *dir)
{
    struct jsonfile_at text, vision;
    int rc;

    c->has_vision = true;
    c->projector_act = ACT_GELU;
    c->projector_bias = true;
    TRY(jsonfile_section(&text, at, "text_config"));
    TRY(jsonfile_section(&vision, at, "vision_config"));
    TRY(check_type(&text, "llama"));
    TRY(read_text(&c->text, &text));
    TRY(read_rope_type(&c->text, at, &text));
    TRY(read_vision(&c->vision, &vision));
    TRY(read_feature_layer(&c->vision, at, "vision_feature_layer"));
    TRY(read_strategy(&c->vision, at, "vision_feature_select_strategy", "full", "default"));
    TRY(check_sequence(&c->vision, at));
    TRY(lvlm_config_activation(&c->projector_act, at, "projector_hidden_act"));
    TRY(jsonfile_bool(&c->projector_bias, at, "multimodal_projector_bias"));
    if (!c->text.tied) TRY(jsonfile_bool(&c->text.tied, at, "tie_word_embeddings"));
    TRY(read_tokens(c, at, &text, dir));
    TRY(read_image_token(c, at));
done:
    return rc;
}

/* The towers that LLaVA's own files know by name. */
static int named_tower(struct vision_config *v, const struct jsonfile_at *at)
{
    static const struct {
        const char *name;
        struct vision_config v;
    } known[] = {
        {"clip-vit-large-patch14-336", {1024, 4096, 24, 16, 336, 14, 3, 1e-5f, ACT_QUICK_GELU, 0, false, 576}},
        {"clip-vit-large-patch14", {1024, 4096, 24, 16, 224, 14, 3, 1e-5f, ACT_QUICK_GELU, 0, false, 256}},
        {"clip-vit-base-patch16", {768, 3072, 12, 12, 224, 16, 3, 1e-5f, ACT_QUICK_GELU, 0, false, 196}},
        {"clip-vit-base-patch32", {768, 3072, 12, 12, 224, 32, 3, 1e-5f, ACT_QUICK_GELU, 0, false, 49}},
    };
    const char *key = jsonfile_has(at, "mm_vision_tower") ? "mm_vision_tower" : "vision_tower", *name = "", *last;
    int rc;

    TRY(jsonfile_text(&name, at, key));
    last = strrchr(name, '/'); // "openai/clip-.." or a path
    last = last ? last + 1 : name;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(last, known[i].name)) {
            *v = known[i].v;
            return 0;
        }
    rc = jsonfile_refuse(at, key, "a CLIP tower of OpenAI (clip-vit-large-patch14-336, ..)");
done:
    return rc;
}

/* LLaVA's own files mostly leave the tower out. */
static int check_tower_inside(const char *dir, const char *config)
{
    struct safetensors *st = NULL;
    int rc;

    TRY(safetensors_open(&st, dir));
    if (!safetensors_find(st, "vision_tower.embeddings.class_embedding"))
        FAIL(CL_EFORMAT,
             "%s is in LLaVA's own form and its weights hold no vision tower; hint: use the Hugging Face form of the "
             "model "
             "(such as llava-hf/llava-1.5-7b-hf)",
             config);
done:
    safetensors_close(st);
    return rc;
}

static int read_original(struct lvlm_config *c, const struct jsonfile_at *at, const char *dir)
{
    const char *projector = "linear";
    bool start_end = false;
    int rc;

    c->has_vision = true;
    c->projector_act = ACT_GELU;
    c->projector_bias = true;
    c->image_token = 0; // <unk>: the file reserves no id for pictures, and text never becomes this one
    TRY(read_text(&c->text, at));
    TRY(named_tower(&c->vision, at));
    TRY(read_feature_layer(&c->vision, at, "mm_vision_select_layer"));
    TRY(read_strategy(&c->vision, at, "mm_vision_select_feature", "cls_patch", "patch"));
    TRY(jsonfile_text(&projector, at, "mm_projector_type"));
    if (strcmp(projector, "mlp2x_gelu")) {
        rc = jsonfile_refuse(at, "mm_projector_type", "mlp2x_gelu (LLaVA 1.5)");
        goto done;
    }
    TRY(jsonfile_bool(&start_end, at, "mm_use_im_start_end"));
    if (start_end) {
        rc = jsonfile_refuse(at, "mm_use_im_start_end", "false (LLaVA 1.5)");
        goto done;
    }
    TRY(read_tokens(c, at, at, dir));
    TRY(check_tower_inside(dir, at->path));
done:
    return rc;
}

static int read_form(struct lvlm_config *c, const struct jsonfile_at *at, const char *dir)
{
    const char *type = "";
    int rc;

    TRY(jsonfile_text(&type, at, "model_type"));
    if (jsonfile_has(at, "quantization_config"))
        FAIL(CL_EFORMAT,
             "%s: quantization_config is there; hint: quantised bases are not read, use the f16 or bf16 weights",
             at->path);
    if (!strcmp(type, "llama"))
        TRY(read_llama(c, at, dir));
    else if (!strcmp(type, "llava_llama") ||
             (!strcmp(type, "llava") && jsonfile_has(at, "mm_vision_tower") && !jsonfile_has(at, "text_config")))
        TRY(read_original(c, at, dir));
    else if (!strcmp(type, "llava"))
        TRY(read_llava(c, at, dir));
    else
        rc = jsonfile_refuse(at, "model_type", "llava, llava_llama or llama; hint: other models are not supported");
done:
    return rc;
}

int lvlm_config_read(struct lvlm_config *c, const char *base_dir)
{
    char *path = jsonfile_path(base_dir, "config.json");
    struct jsonfile_at at;
    json_t *root = NULL;
    int rc;

    memset(c, 0, sizeof *c);
    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    TRY(jsonfile_open_object(&root, &at, path));
    TRY(read_form(c, &at, base_dir));
done:
    json_decref(root);
    free(path);
    return rc;
}

/* ---- RoPE */

/* Low frequencies are slowed down by the factor, high ones kept, those between blended (LLaMA 3.1). */
static double llama3_frequency(double inv, const struct text_config *t)
{
    const double wave = 2 * M_PI / inv, low = t->rope_low_freq, high = t->rope_high_freq;
    const double blend = (t->rope_original / wave - low) / (high - low);

    if (wave < t->rope_original / high) return inv;
    if (wave > t->rope_original / low) return inv / t->rope_factor;
    return (1 - blend) * inv / t->rope_factor + blend * inv;
}

void lvlm_rope_frequencies(double *inv, const struct text_config *t)
{
    for (int i = 0; i < t->head_dim / 2; i++) {
        inv[i] = pow(t->rope_theta, -2.0 * i / t->head_dim);
        if (t->rope_scaling == 1) inv[i] /= t->rope_factor;
        if (t->rope_scaling == 2) inv[i] = llama3_frequency(inv[i], t);
        if (t->rope_type == DT_BF16) inv[i] = (double)bf16_to_f32(f32_to_bf16((float)inv[i]));
        if (t->rope_type == DT_F16) inv[i] = (double)f16_to_f32(f32_to_f16((float)inv[i]));
    }
}
