/* bench_files.c - what stands beside the weights of a random base: its configuration and a tokenizer without merges, one id for
 * each byte. All that `train` and the others ask for is there, so that a base of any size can be rehearsed with. And records to
 * ask it about, with pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/image.h"
#include "io/path.h"
#include "io/whole.h"
#include "jobs/bench.h"

enum { PAD, BOS, EOS, FIRST_BYTE };

static void put_config(FILE *f, const struct bench_shape *s)
{
    fprintf(
        f,
        "{\"model_type\": \"llava\", \"architectures\": [\"LlavaForConditionalGeneration\"], \"image_token_index\": "
        "%d,\n"
        " \"projector_hidden_act\": \"gelu\", \"vision_feature_layer\": -2, \"vision_feature_select_strategy\": "
        "\"default\",\n"
        " \"text_config\": {\"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
        "\"num_attention_heads\": %d, \"num_key_value_heads\": %d,\n"
        "  \"intermediate_size\": %d, \"vocab_size\": %d, \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-5, "
        "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\"},\n"
        " \"vision_config\": {\"model_type\": \"clip_vision_model\", \"hidden_size\": %d, "
        "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"intermediate_size\": %d,\n"
        "  \"image_size\": %d, \"patch_size\": %d, \"hidden_act\": \"quick_gelu\", \"layer_norm_eps\": 1e-5}}\n",
        s->vocab - 1, s->d, s->layers, s->heads, s->heads, s->ff, s->vocab, s->vd, s->vlayers, s->vheads, s->vff,
        s->image, s->patch);
}

static void put_generation(FILE *f, const struct bench_shape *s)
{
    (void)s;
    fprintf(f, "{\"bos_token_id\": %d, \"eos_token_id\": %d, \"pad_token_id\": %d}\n", BOS, EOS, PAD);
}

static void put_preprocessor(FILE *f, const struct bench_shape *s)
{
    fprintf(
        f,
        "{\"image_processor_type\": \"CLIPImageProcessor\", \"do_resize\": true, \"size\": {\"shortest_edge\": %d},\n"
        " \"do_center_crop\": true, \"crop_size\": {\"height\": %d, \"width\": %d}, \"resample\": 3, "
        "\"do_rescale\": true, \"rescale_factor\": 0.00392156862745098,\n"
        " \"do_normalize\": true, \"image_mean\": [0.48145466, 0.4578275, 0.40821073], "
        "\"image_std\": [0.26862954, 0.26130258, 0.27577711],\n"
        " \"do_convert_rgb\": true, \"image_aspect_ratio\": \"pad\"}\n",
        s->image, s->image, s->image);
}

/* The character that stands for a byte in GPT-2's alphabet: printable Latin-1 as it is, the others from U+0100 on. */
static void put_alphabet(FILE *f)
{
    for (int byte = 0, next = 0x100; byte < 256; byte++) {
        const int printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        fprintf(f, "%s\"\\u%04x\": %d", byte ? ", " : "", printable ? byte : next++, FIRST_BYTE + byte);
    }
}

static void put_tokenizer(FILE *f, const struct bench_shape *s)
{
    static const char *const special[] = {"<pad>", "<s>", "</s>", "<image>"};

    fprintf(f, "{\"version\": \"1.0\", \"added_tokens\": [");
    for (int i = 0; i < 4; i++)
        fprintf(f,
                "%s\n {\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                "\"normalized\": false, \"special\": true}",
                i ? "," : "", i < FIRST_BYTE ? i : s->vocab - 1, special[i]);
    fprintf(f, "],\n \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
               "\"trim_offsets\": true, \"use_regex\": true},\n"
               " \"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
               "\"trim_offsets\": true, \"use_regex\": true},\n"
               " \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"<pad>\": 0, \"<s>\": 1, \"</s>\": 2, ");
    put_alphabet(f);
    fprintf(f, "}}}\n");
}

static int write_one(const char *dir, const char *name, void (*put)(FILE *, const struct bench_shape *),
                     const struct bench_shape *s)
{
    int rc;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (!f) return err_set(CL_ENOMEM, "no memory for %s", name);
    put(f, s);
    rc = fclose(f) ? err_set(CL_ENOMEM, "no memory for %s", name) : whole_write(dir, name, text, n);
    free(text);
    return rc;
}

int bench_files_write(const char *dir, const struct bench_shape *s)
{
    int rc;

    TRY(write_one(dir, "config.json", put_config, s));
    TRY(write_one(dir, "generation_config.json", put_generation, s));
    TRY(write_one(dir, "preprocessor_config.json", put_preprocessor, s));
    TRY(write_one(dir, "tokenizer.json", put_tokenizer, s));
done:
    return rc;
}

/* ---- records */

/* A picture like no other of them: bands whose colour and slope its number decides. */
static int write_picture(const char *path, int side, int number)
{
    int rc;
    struct image im = {.width = side, .height = side};

    if (!(im.rgb = mem_new(3 * (size_t)side * (size_t)side, 1))) FAIL(CL_ENOMEM, "no memory for a picture");
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            for (int c = 0; c < 3; c++)
                im.rgb[3 * (y * side + x) + c] = (uint8_t)((x * (number % 7 + 1) + y * (number % 5 + 2) * (c + 1)) / 4);
    TRY(image_write_png(path, &im));
done:
    mem_free(im.rgb);
    return rc;
}

/* Text of so many bytes, which is as many tokens, told apart by its number. */
static void put_words(FILE *f, int number, int n)
{
    static const char letters[] = "what is it that stands in the middle of this picture, and of which colour ";

    fprintf(f, "%c%c", 'A' + number / 26 % 26, 'a' + number % 26);
    for (int i = 2; i < n; i++) fputc(letters[(i - 2) % (int)(sizeof letters - 1)], f);
}

static void put_record(FILE *f, const struct bench_shape *s, int number, int picture)
{
    fprintf(f,
            "{\"id\": \"%d\", \"image\": \"%d.png\", \"conversations\": [{\"from\": \"human\", \"value\": "
            "\"<image>\\n",
            number, picture);
    put_words(f, number, s->prompt - 2); // beside the first token and the line's end
    fprintf(f, "\"}, {\"from\": \"gpt\", \"value\": \"");
    put_words(f, number, s->answer - 1); // beside the last one
    fprintf(f, "\"}]}\n");
}

static int write_records(const char *dir, const char *name, const struct bench_shape *s, int records, int first,
                         int sharing)
{
    int rc;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (!f) return err_set(CL_ENOMEM, "no memory for %s", name);
    for (int i = 0; i < records; i++) put_record(f, s, i, first + i / sharing);
    rc = fclose(f) ? err_set(CL_ENOMEM, "no memory for %s", name) : whole_write(dir, name, text, n);
    free(text);
    return rc;
}

int bench_data_write(const char *dir, const struct bench_shape *s, int records, int sharing)
{
    int rc;
    const int shared = (records + sharing - 1) / sharing;
    char path[PATH_ROOM];

    for (int i = 0; i < records + shared + 1; i++) {
        TRY(path_print(path, "%s/%d.png", dir, i));
        TRY(write_picture(path, s->image, i));
    }
    TRY(write_records(dir, "own.jsonl", s, records, 0, 1));
    TRY(write_records(dir, "shared.jsonl", s, records, records, sharing));
    TRY(write_records(dir, "first.jsonl", s, 1, records + shared, 1));
done:
    return rc;
}
