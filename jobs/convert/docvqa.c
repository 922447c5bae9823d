/* docvqa.c - DocVQA (single page): several accepted answers, the first one is learned, as the task's page advises. */
#include "jobs/convert/families.h"

#include <string.h>

#include "io/err.h"

static const char *const pictures[] = {"{name}",
                                       "spdocvqa_images/{base}",
                                       "{split}/{name}",
                                       "{split}/documents/{base}",
                                       "documents/{base}",
                                       "images/{base}",
                                       NULL};

/* A question may be of several types: "table/list, form". */
static void join(struct text *t, const json_t *list)
{
    text_clear(t);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));

        if (s) text_add(t, "%s%s", t->len ? ", " : "", s);
    }
}

static int question(struct convert *c, const char *key, const json_t *o, void *with)
{
    const char *text = text_of(o, "question"), *picture = text_of(o, "image"), *answers[ANSWERS];
    const json_t *list = json_object_get(o, "answers");
    struct text *types = with;
    char id[ID_ROOM];
    int n = json_is_array(list) ? texts_of(list, answers) : 0;

    (void)key;
    if (!text || !picture) return left_out(c, LEFT_BROKEN, "no text under \"%s\"", text ? "image" : "question");
    if (!id_of(id, json_object_get(o, "questionId"))) return left_out(c, LEFT_BROKEN, "no \"questionId\"");
    if (n < 0) return left_out(c, LEFT_BROKEN, "\"answers\" is no list of texts");
    join(types, json_object_get(o, "question_types"));
    return convert_write(
        c, &(struct item){.id = id,
                          .question = prompt_of(c, "%s\nAnswer the question using a single word or phrase.", text),
                          .answer = n ? answers[0] : NULL,
                          .answers = answers,
                          .n_answers = n,
                          .picture = picture,
                          .patterns = pictures,
                          .question_type = types->len ? types->s : NULL});
}

int convert_docvqa(struct convert *c)
{
    static const char *const files[] = {"spdocvqa_qas/{split}_v1.0_withQT.json",
                                        "spdocvqa_qas/{split}_v1.0.json",
                                        "{split}/{split}_v1.0_withQT.json",
                                        "{split}/{split}_v1.0.json",
                                        "{split}_v1.0_withQT.json",
                                        "{split}_v1.0.json",
                                        NULL};
    struct text types = {0};
    char path[PATH_ROOM];
    int rc;

    TRY(release_find(c, path, "questions", files));
    TRY(convert_each(c, path, JSONSTREAM_LIST, "data", question, &types));
done:
    text_free(&types);
    return rc;
}
