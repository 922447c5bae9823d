/* test_lvlm_config.c - every form and every variant of a key; what is refused, by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/safetensors.h"
#include "model/lvlm_config.h"
#include "folder.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    return folder_new(dir);
}

static int remove_dir(void **state)
{
    (void)state;
    return folder_remove(dir);
}

/* text NULL: no such file. */
static void write_file(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
    if (!text) return;
    f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static struct lvlm_config accept(const char *config)
{
    struct lvlm_config c;
    int rc;

    write_file("config.json", config);
    rc = lvlm_config_read(&c, dir);
    if (rc) fail_msg("refused: %s", err_text());
    return c;
}

static void refuse(const char *config, const char *key, const char *part)
{
    struct lvlm_config c;

    write_file("config.json", config);
    assert_int_equal(lvlm_config_read(&c, dir), CL_EFORMAT);
    if (!strstr(err_text(), "config.json") || !strstr(err_text(), key) || !strstr(err_text(), part))
        fail_msg("no \"%s\" or no \"%s\" in: %s", key, part, err_text());
}

/* A tiny LLaVA; each text is put into one of its objects. */
static const char *llava(const char *top, const char *text, const char *vision)
{
    static char config[2048];
    snprintf(config, sizeof config,
             "{\"model_type\":\"llava\",\"image_token_index\":7%s,"
             "\"text_config\":{\"model_type\":\"llama\",\"vocab_size\":50,\"hidden_size\":24,\"intermediate_size\":40,"
             "\"num_hidden_layers\":3,\"num_attention_heads\":6%s},"
             "\"vision_config\":{\"model_type\":\"clip_vision_model\",\"hidden_size\":12,\"intermediate_size\":20,"
             "\"num_hidden_layers\":4,\"num_attention_heads\":3,\"image_size\":32,\"patch_size\":8%s}}",
             top, text, vision);
    return config;
}

static const char *text_of(const char *text)
{
    return llava("", text, "");
}

static const char *top_of(const char *top)
{
    return llava(top, "", "");
}

static const char *vision_of(const char *vision)
{
    return llava("", "", vision);
}

/* ---- whole files */

static void llava_15_7b(void **state)
{
    (void)state;
    struct lvlm_config c = accept(
        "{\"architectures\":[\"LlavaForConditionalGeneration\"],\"ignore_index\":-100,\"image_token_index\":32000,"
        "\"model_type\":\"llava\",\"pad_token_id\":32001,\"projector_hidden_act\":\"gelu\",\"text_config\":{"
        "\"_name_or_path\":\"lmsys/"
        "vicuna-7b-v1.5\",\"architectures\":[\"LlamaForCausalLM\"],\"max_position_embeddings\":4096,"
        "\"model_type\":\"llama\",\"rms_norm_eps\":1e-05,\"torch_dtype\":\"float16\",\"vocab_size\":32064},"
        "\"tie_word_embeddings\":false,\"torch_dtype\":\"float16\",\"vision_config\":{\"hidden_size\":1024,\"image_"
        "size\":336,"
        "\"intermediate_size\":4096,\"model_type\":\"clip_vision_model\",\"num_attention_heads\":16,\"num_hidden_"
        "layers\":24,"
        "\"patch_size\":14,\"projection_dim\":768,\"vocab_size\":32000},\"vision_feature_layer\":-2,"
        "\"vision_feature_select_strategy\":\"default\",\"vocab_size\":32064}");

    assert_true(c.has_vision && c.projector_bias && !c.text.tied && !c.text.attention_bias && !c.text.mlp_bias);
    assert_int_equal(c.text.vocab, 32064);
    assert_int_equal(c.text.hidden, 4096);
    assert_int_equal(c.text.ffn, 11008);
    assert_int_equal(c.text.layers, 32);
    assert_int_equal(c.text.heads, 32);
    assert_int_equal(c.text.kv_heads, 32);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.max_positions, 4096);
    assert_float_equal(c.text.eps, 1e-5, 1e-12);
    assert_float_equal(c.text.rope_theta, 10000, 0);
    assert_int_equal(c.text.rope_scaling, 0);
    assert_int_equal(c.text.act, ACT_SILU);
    assert_int_equal(c.vision.hidden, 1024);
    assert_int_equal(c.vision.ffn, 4096);
    assert_int_equal(c.vision.heads, 16);
    assert_int_equal(c.vision.feature_layers, 23);
    assert_int_equal(c.vision.tokens, 576);
    assert_int_equal(c.vision.act, ACT_QUICK_GELU);
    assert_float_equal(c.vision.eps, 1e-5, 1e-12);
    assert_int_equal(c.projector_act, ACT_GELU);
    assert_int_equal(c.image_token, 32000);
    assert_int_equal(c.bos, 1);
    assert_int_equal(c.n_eos, 1);
    assert_int_equal(c.eos[0], 2);
    assert_int_equal(c.pad, 32001);
}

static void class_defaults(void **state)
{
    struct lvlm_config c =
        accept("{\"model_type\":\"llava\",\"image_token_id\":31999}"); // neither text_config nor vision_config
    (void)state;
    assert_int_equal(c.text.vocab, 32000);
    assert_int_equal(c.text.max_positions, 2048);
    assert_float_equal(c.text.eps, 1e-6, 1e-13);
    assert_int_equal(c.vision.hidden, 1024);
    assert_int_equal(c.vision.patch, 14);
    assert_int_equal(c.vision.layers, 24);
    assert_int_equal(c.vision.tokens, 576);
    assert_int_equal(c.image_token, 31999);

    c = accept(
        "{\"model_type\":\"llava\",\"image_token_id\":5,\"vision_config\":{}}"); // CLIPVisionConfig's own: ViT-B/32
    assert_int_equal(c.vision.hidden, 768);
    assert_int_equal(c.vision.ffn, 3072);
    assert_int_equal(c.vision.layers, 12);
    assert_int_equal(c.vision.heads, 12);
    assert_int_equal(c.vision.tokens, 49);
    assert_int_equal(c.vision.feature_layers, 11);
}

static void plain_llama(void **state)
{
    struct lvlm_config c =
        accept("{\"model_type\":\"llama\",\"hidden_size\":64,\"num_attention_heads\":8,\"num_key_value_heads\":2,"
               "\"bos_token_id\":3,\"eos_token_id\":[4,5],\"tie_word_embeddings\":true,\"rope_theta\":500000.0}");
    (void)state;
    assert_false(c.has_vision);
    assert_int_equal(c.text.hidden, 64);
    assert_int_equal(c.text.kv_heads, 2);
    assert_int_equal(c.text.head_dim, 8);
    assert_true(c.text.tied);
    assert_int_equal(c.image_token, -1);
    assert_int_equal(c.bos, 3);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[1], 5);
    assert_int_equal(c.pad, -1);
    assert_float_equal(c.text.rope_theta, 500000, 0);
}

static void write_weights(const char *name)
{
    static const float f[4];
    const struct st_array a = {.name = name, .type = DT_F32, .dims = 1, .shape = {4}, .data = f};
    char path[128];

    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(safetensors_write(path, &a, 1), 0);
}

static const char *original(const char *more)
{
    static char config[1024];
    snprintf(config, sizeof config,
             "{\"model_type\":\"llava\",\"hidden_size\":4096,\"intermediate_size\":11008,\"num_hidden_layers\":32,"
             "\"num_attention_heads\":32,\"num_key_value_heads\":32,\"vocab_size\":32000,\"rms_norm_eps\":1e-05,"
             "\"max_position_embeddings\":4096,\"bos_token_id\":1,\"eos_token_id\":2,\"pad_token_id\":0,\"rope_"
             "scaling\":null,"
             "\"mm_hidden_size\":1024,\"mm_vision_select_layer\":-2%s}",
             more);
    return config;
}

static void original_form(void **state)
{
    static const char mm[] = ",\"mm_projector_type\":\"mlp2x_gelu\",\"mm_vision_select_feature\":\"patch\","
                             "\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\",\"mm_use_im_start_end\":false";
    struct lvlm_config c;
    (void)state;

    write_file("model.safetensors", NULL);
    write_file("config.json", original(mm));
    assert_int_equal(lvlm_config_read(&c, dir), CL_EIO);
    write_weights("model.mm_projector.0.bias");
    refuse(original(mm), "no vision tower", "llava-hf");
    write_weights("model.vision_tower.vision_tower.vision_model.embeddings.class_embedding");
    c = accept(original(mm));
    assert_true(c.has_vision && c.projector_bias);
    assert_int_equal(c.vision.feature_layers, 23);
    assert_int_equal(c.vision.tokens, 576);
    assert_float_equal(c.vision.eps, 1e-5, 1e-12);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.image_token, 0);
    assert_int_equal(c.pad, 0);
    c = accept(
        original(",\"model_type_\":0,\"mm_projector_type\":\"mlp2x_gelu\",\"mm_vision_select_feature\":\"cls_patch\","
                 "\"mm_vision_tower\":\"/models/clip-vit-base-patch16\""));
    assert_int_equal(c.vision.tokens, 197);
    assert_int_equal(c.vision.feature_layers, 11);
    refuse(original(",\"mm_projector_type\":\"mlp2x_gelu\",\"mm_vision_tower\":\"google/siglip-so400m\""),
           "mm_vision_tower", "siglip");
    refuse(original(",\"mm_vision_tower\":\"clip-vit-base-patch16\""), "mm_projector_type", "mlp2x_gelu");
    refuse(original(",\"mm_projector_type\":\"mlp2x_gelu\",\"mm_vision_tower\":\"clip-vit-base-patch16\","
                    "\"mm_use_im_start_end\":true"),
           "mm_use_im_start_end", "false");
    write_file("model.safetensors", NULL);
}

static void golden_configs(void **state)
{
    struct lvlm_config c;
    (void)state;

    assert_int_equal(lvlm_config_read(&c, SOURCE_DIR "/golden/a/base"), 0);
    assert_int_equal(c.text.hidden, 64);
    assert_int_equal(c.vision.feature_layers, 2);
    assert_int_equal(c.vision.tokens, 9);
    assert_int_equal(c.image_token, 420);
    assert_int_equal(lvlm_config_read(&c, SOURCE_DIR "/golden/b/base"), 0);
    assert_int_equal(c.text.kv_heads, 2);
    assert_true(c.text.tied);
    assert_int_equal(c.vision.act, ACT_GELU);
    assert_int_equal(c.bos, 0);
    assert_int_equal(c.eos[0], 1);
}

/* ---- keys */

static void text_keys(void **state)
{
    struct lvlm_config c;
    (void)state;

    c = accept(text_of(",\"head_dim\":10,\"num_key_value_heads\":3,\"attention_bias\":true,\"mlp_bias\":true,\"hidden_"
                       "act\":\"relu\""));
    assert_int_equal(c.text.head_dim, 10);
    assert_int_equal(c.text.kv_heads, 3);
    assert_true(c.text.attention_bias && c.text.mlp_bias);
    assert_int_equal(c.text.act, ACT_RELU);
    assert_true(accept(text_of(",\"tie_word_embeddings\":true")).text.tied);
    assert_true(accept(top_of(",\"tie_word_embeddings\":true")).text.tied);
    assert_false(accept(top_of(",\"tie_word_embeddings\":false")).text.tied);
    c = accept(text_of(",\"head_dim\":null,\"num_key_value_heads\":null,\"rms_norm_eps\":null"));
    assert_int_equal(c.text.head_dim, 4);
    assert_int_equal(c.text.kv_heads, 6);

    refuse(text_of(",\"num_key_value_heads\":4"), "text_config.num_key_value_heads", "divisor");
    refuse(text_of(",\"head_dim\":5"), "head_dim", "even");
    refuse(text_of(",\"head_dim\":1000000"), "head_dim", "at most");
    refuse(text_of(",\"head_dim\":0"), "head_dim", "from 1");
    refuse(text_of(",\"rms_norm_eps\":\"small\""), "rms_norm_eps", "small");
    refuse(text_of(",\"rms_norm_eps\":-1"), "rms_norm_eps", "-1");
    refuse(text_of(",\"hidden_act\":\"tanh\""), "text_config.hidden_act", "tanh");
    refuse(text_of(",\"attention_bias\":1"), "attention_bias", "true or false");
    refuse("{\"model_type\":\"llava\",\"text_config\":{\"model_type\":\"mistral\"}}", "text_config.model_type",
           "mistral");
    refuse("{\"model_type\":\"llava\",\"text_config\":{\"hidden_size\":1048576}}", "text_config.hidden_size",
           "1048576");
    refuse("{\"model_type\":\"llava\",\"text_config\":{\"hidden_size\":\"4096\"}}", "text_config.hidden_size",
           "\"4096\"");
    refuse("{\"model_type\":\"llava\",\"text_config\":{\"hidden_size\":40.5}}", "text_config.hidden_size", "40.5");
    refuse("{\"model_type\":\"llava\",\"text_config\":{\"hidden_size\":100}}", "text_config.hidden_size", "multiple");
    refuse("{\"model_type\":\"llava\",\"text_config\":{\"num_hidden_layers\":0}}", "text_config.num_hidden_layers",
           "0");
    refuse("{\"model_type\":\"llava\",\"text_config\":[]}", "text_config", "object");
}

static void rope_keys(void **state)
{
    struct lvlm_config c;
    (void)state;

    c = accept(text_of(",\"rope_theta\":5000.0,\"rope_scaling\":null"));
    assert_float_equal(c.text.rope_theta, 5000, 0);
    assert_int_equal(c.text.rope_scaling, 0);
    c = accept(text_of(",\"rope_theta\":5000.0,\"rope_parameters\":{\"rope_theta\":6000.0,\"rope_type\":\"default\"}"));
    assert_float_equal(c.text.rope_theta, 6000, 0);
    c = accept(text_of(",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}"));
    assert_int_equal(c.text.rope_scaling, 1);
    assert_float_equal(c.text.rope_factor, 4, 0);
    c = accept(text_of(
        ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}"));
    assert_int_equal(c.text.rope_scaling, 2);
    assert_int_equal(c.text.rope_original, 8192);
    assert_float_equal(c.text.rope_high_freq, 4, 0);
    refuse(text_of(",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4.0}"), "rope_scaling.type", "dynamic");
    refuse(text_of(",\"rope_parameters\":{\"rope_type\":\"yarn\"}"), "rope_parameters.rope_type", "yarn");
    refuse(text_of(",\"rope_scaling\":{\"type\":\"linear\"}"), "rope_scaling", "factor");
    refuse(text_of(",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}"), "rope_scaling.factor", "0");
    refuse(text_of(",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"high_freq_factor\":1}"),
           "high_freq_factor", "above");
    refuse(text_of(",\"partial_rotary_factor\":0.5"), "partial_rotary_factor", "0.5");
    refuse(text_of(",\"rope_theta\":0"), "rope_theta", "0");
}

static void vision_keys(void **state)
{
    struct lvlm_config c;
    (void)state;

    c = accept(vision_of(",\"hidden_act\":\"gelu_pytorch_tanh\",\"layer_norm_eps\":1e-6"));
    assert_int_equal(c.vision.act, ACT_GELU_TANH);
    assert_float_equal(c.vision.eps, 1e-6, 1e-13);
    assert_int_equal(c.vision.tokens, 16);
    assert_int_equal(c.vision.feature_layers, 3);
    assert_int_equal(
        accept("{\"model_type\":\"llava\",\"image_token_index\":3,\"vision_config\":{\"image_size\":[64,64],"
               "\"patch_size\":[16,16]}}")
            .vision.tokens,
        16);
    assert_int_equal(accept(top_of(",\"vision_feature_layer\":0")).vision.feature_layers, 0);
    assert_int_equal(accept(top_of(",\"vision_feature_layer\":-1")).vision.feature_layers, 4);
    assert_int_equal(accept(top_of(",\"vision_feature_layer\":-5")).vision.feature_layers, 0);
    assert_int_equal(accept(top_of(",\"vision_feature_layer\":[3]")).vision.feature_layers, 3);
    c = accept(top_of(",\"vision_feature_select_strategy\":\"full\""));
    assert_true(c.vision.keep_cls);
    assert_int_equal(c.vision.tokens, 17);
    accept(top_of(",\"image_seq_length\":16"));

    refuse(top_of(",\"vision_feature_layer\":5"), "vision_feature_layer", "4 layers");
    refuse(top_of(",\"vision_feature_layer\":-6"), "vision_feature_layer", "-5");
    refuse(top_of(",\"vision_feature_layer\":[-2,-5]"), "vision_feature_layer", "several");
    refuse(top_of(",\"vision_feature_layer\":\"last\""), "vision_feature_layer", "whole number");
    refuse(top_of(",\"vision_feature_select_strategy\":\"cls\""), "vision_feature_select_strategy", "full");
    refuse(top_of(",\"image_seq_length\":576"), "image_seq_length", "16");
    refuse(vision_of(",\"num_channels\":1"), "vision_config.num_channels", "3");
    refuse(vision_of(",\"hidden_act\":\"laplace\""), "vision_config.hidden_act", "laplace");
    refuse("{\"model_type\":\"llava\",\"vision_config\":{\"model_type\":\"siglip_vision_model\"}}",
           "vision_config.model_type", "siglip");
    refuse("{\"model_type\":\"llava\",\"vision_config\":{\"hidden_size\":100}}", "vision_config.hidden_size",
           "multiple");
    refuse("{\"model_type\":\"llava\",\"vision_config\":{\"patch_size\":225}}", "vision_config.patch_size",
           "image_size");
    refuse("{\"model_type\":\"llava\",\"vision_config\":{\"image_size\":[224,336]}}", "vision_config.image_size",
           "square");
}

static void projector_keys(void **state)
{
    struct lvlm_config c = accept(top_of(",\"projector_hidden_act\":\"relu\",\"multimodal_projector_bias\":false"));
    (void)state;
    assert_int_equal(c.projector_act, ACT_RELU);
    assert_false(c.projector_bias);
    refuse(top_of(",\"projector_hidden_act\":\"xielu\""), "projector_hidden_act", "xielu");
}

static void token_keys(void **state)
{
    struct lvlm_config c;
    (void)state;

    c = accept(text_of(",\"bos_token_id\":null,\"eos_token_id\":[9,8],\"pad_token_id\":-1"));
    assert_int_equal(c.bos, -1);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[0], 9);
    assert_int_equal(c.pad, -1);
    assert_int_equal(accept(text_of(",\"eos_token_id\":null")).n_eos, 0);
    write_file("generation_config.json", "{\"bos_token_id\":4,\"eos_token_id\":[8,11],\"pad_token_id\":6}");
    c = accept(text_of(",\"eos_token_id\":11"));
    assert_int_equal(c.bos, 4);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[0], 11); // the model's own closes answers
    assert_int_equal(c.eos[1], 8);
    assert_int_equal(c.pad, 6);
    c = accept(text_of(""));
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos[0], 8);
    write_file("generation_config.json", "{\"eos_token_id\":50}");
    write_file("config.json", text_of(""));
    assert_int_equal(lvlm_config_read(&c, dir), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "generation_config.json: eos_token_id is 50"));
    write_file("generation_config.json", "{");
    assert_int_equal(lvlm_config_read(&c, dir), CL_EFORMAT);
    write_file("generation_config.json", NULL);

    assert_int_equal(accept(top_of(",\"image_token_id\":7")).image_token, 7);
    refuse(top_of(",\"image_token_id\":8"), "image_token_id", "(7)");
    refuse("{\"model_type\":\"llava\",\"image_token_index\":32000}", "image_token_index", "31999");
    refuse("{\"model_type\":\"llava\"}", "image_token_index", "vocab_size"); // the default id needs a larger vocabulary
    refuse(text_of(",\"eos_token_id\":50"), "eos_token_id", "49");
    refuse(text_of(",\"eos_token_id\":[1,\"a\"]"), "eos_token_id", "ids");
    refuse(text_of(",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]"), "eos_token_id", "at most 8");
    refuse(text_of(",\"bos_token_id\":50"), "bos_token_id", "50");
}

static void broken_files(void **state)
{
    struct lvlm_config c;
    (void)state;

    write_file("config.json", NULL);
    assert_int_equal(lvlm_config_read(&c, dir), CL_EIO);
    assert_non_null(strstr(err_text(), "config.json"));
    refuse("", "config.json", "not JSON");
    refuse("{\"model_type\":", "config.json", "not JSON");
    refuse("[1]", "config.json", "object");
    refuse("{}", "model_type", "llava");
    refuse("{\"model_type\":\"qwen2_vl\"}", "model_type", "qwen2_vl");
    refuse("{\"model_type\":7}", "model_type", "text");
    refuse(top_of(",\"quantization_config\":{\"load_in_4bit\":true}"), "quantization_config", "quantised");
}

static void rope_frequencies(void **state)
{
    struct text_config t = {.head_dim = 8, .rope_theta = 10000};
    double inv[4];
    (void)state;

    lvlm_rope_frequencies(inv, &t);
    for (int i = 0; i < 4; i++) assert_float_equal(inv[i], pow(10, -i), 1e-15);
    t.rope_scaling = 1;
    t.rope_factor = 4;
    lvlm_rope_frequencies(inv, &t);
    for (int i = 0; i < 4; i++) assert_float_equal(inv[i], pow(10, -i) / 4, 1e-15);

    /* LLaMA 3.1: head_dim 16, theta 500000, factor 8, 1, 4, 8192, from the reference implementation (float32) */
    static const double want[8] = {
        1, 0.193922758, 0.0376060307, 0.00729266508, 0.000524846022, 3.42810235e-05, 6.64786967e-06, 1.28917316e-06};
    double inv3[8];
    t = (struct text_config){.head_dim = 16,
                             .rope_theta = 500000,
                             .rope_scaling = 2,
                             .rope_factor = 8,
                             .rope_low_freq = 1,
                             .rope_high_freq = 4,
                             .rope_original = 8192};
    lvlm_rope_frequencies(inv3, &t);
    for (int i = 0; i < 8; i++)
        if (fabs(inv3[i] / want[i] - 1) > 1e-6) fail_msg("%d: %.10g, expected %.10g", i, inv3[i], want[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llava_15_7b),   cmocka_unit_test(class_defaults), cmocka_unit_test(plain_llama),
        cmocka_unit_test(original_form), cmocka_unit_test(golden_configs), cmocka_unit_test(text_keys),
        cmocka_unit_test(rope_keys),     cmocka_unit_test(vision_keys),    cmocka_unit_test(projector_keys),
        cmocka_unit_test(token_keys),    cmocka_unit_test(broken_files),   cmocka_unit_test(rope_frequencies),
    };
    return cmocka_run_group_tests_name("lvlm_config", tests, make_dir, remove_dir);
}
