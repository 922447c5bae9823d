/* vqa.c - TextVQA, VizWiz and VQAv2: ten people answered each question. All ten are references; what is learned is the
 * answer that most of them gave (VQAv2 states it as multiple_choice_answer). */
#include "jobs/convert/families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "jobs/convert/index.h"

#define SUFFIX "\nAnswer the question using a single word or phrase."

/* The references: how many, 0: none published, -1: another form. */
static int references(const json_t *o, const char *answers[ANSWERS])
{
    const json_t *list = json_object_get(o, "answers");

    return !list || json_is_null(list) ? 0 : texts_of(list, answers);
}

/* ---- TextVQA */

/* Tokens of one picture as the prompt lists them. */
static int add_tokens(struct convert *c, const char *key, const json_t *o, void *with)
{
    const json_t *list = json_object_get(o, "ocr_tokens");
    const char *image = text_of(o, "image_id");

    (void)key;
    if (!image) return left_out(c, LEFT_BROKEN, "no text under \"image_id\"");
    text_clear(&c->prompt);
    text_add(&c->prompt, "%s", "");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *token = json_string_value(json_array_get(list, i));

        if (token) text_add(&c->prompt, "%s%s", c->prompt.len ? ", " : "", token);
    }
    if (c->prompt.failed) return err_set(CL_ENOMEM, "out of memory for tokens");
    return index_add(with, image, c->prompt.s, c->prompt.len + 1);
}

static int textvqa(struct convert *c, const char *key, const json_t *o, void *with)
{
    static const char *const pictures[] = {"train_images/{name}", "TextVQA/train_images/{name}",
                                           "textvqa/train_images/{name}", NULL};
    static const char *const test_pictures[] = {"test_images/{name}", NULL};
    const char *text = text_of(o, "question"), *image = text_of(o, "image_id"), *answers[ANSWERS], *tokens = NULL;
    const int n = references(o, answers);
    const struct index *ocr = with;
    char id[ID_ROOM], name[ID_ROOM + 8];
    size_t at = 0;

    (void)key;
    if (!text || !image || strlen(image) >= ID_ROOM)
        return left_out(c, LEFT_BROKEN, "no text under \"%s\"", text ? "image_id" : "question");
    if (!id_of(id, json_object_get(o, "question_id"))) return left_out(c, LEFT_BROKEN, "no \"question_id\"");
    if (n < 0) return left_out(c, LEFT_BROKEN, "%s: \"answers\" is no list of texts", id);
    snprintf(name, sizeof name, "%s.jpg", image);
    if (ocr) tokens = index_find(ocr, image, &at);
    if (ocr && !tokens) tokens = "";
    return convert_write(
        c, &(struct item){.id = id,
                          .question = tokens ? prompt_of(c, "%s\nReference OCR token: %s" SUFFIX, text, tokens)
                                             : prompt_of(c, "%s" SUFFIX, text),
                          .answer = most_common(answers, n),
                          .answers = answers,
                          .n_answers = n,
                          .picture = name,
                          .patterns = strcmp(c->split, "test") ? pictures : test_pictures});
}

int convert_textvqa(struct convert *c)
{
    static const char *const files[] = {"TextVQA_0.5.1_{split}.json", "TextVQA/TextVQA_0.5.1_{split}.json", NULL};
    struct index *ocr = NULL;
    char path[PATH_ROOM];
    int rc;

    TRY(release_find(c, path, "questions", files));
    if (c->how->ocr) {
        TRY(index_new(&ocr));
        TRY(convert_each(c, c->how->ocr, JSONSTREAM_LIST, "data", add_tokens, ocr));
    }
    TRY(convert_each(c, path, JSONSTREAM_LIST, "data", textvqa, ocr));
done:
    index_free(ocr);
    return rc;
}

/* ---- VizWiz: the picture's name is the id */

static int vizwiz(struct convert *c, const char *key, const json_t *o, void *with)
{
    static const char *const pictures[] = {"{split}/{name}", "Images/{split}/{name}", "images/{split}/{name}",
                                           "VizWiz/{split}/{name}", NULL};
    const char *text = text_of(o, "question"), *image = text_of(o, "image"), *answers[ANSWERS];
    const int n = references(o, answers);

    (void)key;
    (void)with;
    if (!text || !image) return left_out(c, LEFT_BROKEN, "no text under \"%s\"", text ? "image" : "question");
    if (n < 0) return left_out(c, LEFT_BROKEN, "%s: \"answers\" is no list of texts", image);
    return convert_write(
        c, &(struct item){.id = image,
                          .question = prompt_of(c,
                                                "%s\nWhen the provided information is insufficient, respond with "
                                                "'Unanswerable'." SUFFIX,
                                                text),
                          .answer = most_common(answers, n),
                          .answers = answers,
                          .n_answers = n,
                          .picture = image,
                          .patterns = pictures,
                          .question_type = text_of(o, "answer_type")});
}

int convert_vizwiz(struct convert *c)
{
    static const char *const files[] = {"Annotations/{split}.json", "annotations/{split}.json", "{split}.json", NULL};
    char path[PATH_ROOM];
    int rc;

    TRY(release_find(c, path, "questions", files));
    TRY(convert_each(c, path, JSONSTREAM_LIST, NULL, vizwiz, NULL));
done:
    return rc;
}

/* ---- VQAv2: questions and annotations in two files; the questions are the small ones and are kept */

/* Value of the index: picture's number and question in one text, "9\tIs it red?". */
static int add_question(struct convert *c, const char *key, const json_t *o, void *with)
{
    const char *text = text_of(o, "question");
    char id[ID_ROOM], image[ID_ROOM];

    (void)key;
    if (!text || !id_of(id, json_object_get(o, "question_id")) || !id_of(image, json_object_get(o, "image_id")))
        return left_out(c, LEFT_BROKEN, "a question without \"question\", \"question_id\" or \"image_id\"");
    if (!prompt_of(c, "%s\t%s", image, text)) return err_set(CL_ENOMEM, "out of memory for a question");
    return index_add(with, id, c->prompt.s, c->prompt.len + 1);
}

static int annotation(struct convert *c, const char *key, const json_t *o, void *with)
{
    static const char *const pictures[] = {
        "{split}2014/{name}",      "images/{split}2014/{name}",        "COCO2014/{split}2014/{name}",
        "coco/{split}2014/{name}", "Images/mscoco/{split}2014/{name}", NULL};
    const char *answers[ANSWERS], *question, *answer = text_of(o, "multiple_choice_answer");
    const int n = references(o, answers);
    char id[ID_ROOM], name[64];
    size_t at = 0;

    (void)key;
    if (!id_of(id, json_object_get(o, "question_id"))) return left_out(c, LEFT_BROKEN, "no \"question_id\"");
    if (n < 0) return left_out(c, LEFT_BROKEN, "%s: \"answers\" is no list of texts", id);
    question = index_find(with, id, &at);
    if (!question) return left_out(c, LEFT_BROKEN, "%s: no question of that id in the file of questions", id);
    snprintf(name, sizeof name, "COCO_%.20s2014_%012lld.jpg", c->split, strtoll(question, NULL, 10));
    question = strchr(question, '\t') + 1;
    return convert_write(c, &(struct item){.id = id,
                                           .question = prompt_of(c, "%s" SUFFIX, question),
                                           .answer = answer ? answer : most_common(answers, n),
                                           .answers = n ? answers : NULL,
                                           .n_answers = n,
                                           .picture = name,
                                           .patterns = pictures,
                                           .question_type = text_of(o, "answer_type")});
}

int convert_vqav2(struct convert *c)
{
    static const char *const questions[] = {"v2_OpenEnded_mscoco_{split}2014_questions.json",
                                            "Questions/v2_OpenEnded_mscoco_{split}2014_questions.json",
                                            "questions/v2_OpenEnded_mscoco_{split}2014_questions.json", NULL};
    static const char *const annotations[] = {"v2_mscoco_{split}2014_annotations.json",
                                              "Annotations/v2_mscoco_{split}2014_annotations.json",
                                              "annotations/v2_mscoco_{split}2014_annotations.json", NULL};
    struct index *ix = NULL;
    char path[PATH_ROOM];
    int rc;

    TRY(release_find(c, path, "questions", questions));
    TRY(index_new(&ix));
    TRY(convert_each(c, path, JSONSTREAM_LIST, "questions", add_question, ix));
    TRY(release_find(c, path, "annotations", annotations));
    TRY(convert_each(c, path, JSONSTREAM_LIST, "annotations", annotation, ix));
done:
    index_free(ix);
    return rc;
}
