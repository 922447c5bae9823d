/* gqa.c - GQA: questions keyed by id. Splits: train, val, testdev (balanced), train_all and so on. Accuracy is defined over
 * balanced questions, so only train.jsonl takes others. */
#include "jobs/convert/families.h"

#include <string.h>
#include <stdio.h>

#include "io/err.h"

static const char *const pictures[] = {"images/{name}", "gqa/images/{name}", "GQA/images/{name}", NULL};

static int question(struct convert *c, const char *id, const json_t *o, void *with)
{
    const char *text = text_of(o, "question"), *answer = text_of(o, "answer");
    const json_t *balanced = json_object_get(o, "isBalanced");
    char image[ID_ROOM], name[ID_ROOM + 8];

    (void)with;
    if (!text || !id_of(image, json_object_get(o, "imageId")))
        return left_out(c, LEFT_BROKEN, "%s: no \"%s\"", id, text ? "imageId" : "question");
    if (json_is_false(balanced) && strcmp(c->side, "train"))
        return left_out(c, LEFT_CHOICE, "%s: not balanced, accuracy does not count it", id);
    snprintf(name, sizeof name, "%s.jpg", image);
    return convert_write(
        c, &(struct item){.id = id,
                          .question = prompt_of(c, "%s\nAnswer the question using a single word or phrase.", text),
                          .answer = answer,
                          .picture = name,
                          .patterns = pictures,
                          .question_type = text_of(json_object_get(o, "types"), "structural")});
}

int convert_gqa(struct convert *c)
{
    static const char *const balanced[] = {"questions1.2/{split}_balanced_questions.json",
                                           "questions/{split}_balanced_questions.json",
                                           "{split}_balanced_questions.json", NULL};
    static const char *const all[] = {"questions1.2/{split}_questions.json", "questions/{split}_questions.json",
                                      "{split}_questions.json", NULL};
    static const char *const chunks[] = {"questions1.2/{split}_questions/{split}_questions_0.json",
                                         "{split}_questions/{split}_questions_0.json", NULL};
    const size_t n = strlen(c->split);
    const bool whole = n > 4 && !strcmp(c->split + n - 4, "_all");
    char path[PATH_ROOM], *digit;
    int rc;

    if (!whole || !release_has(c, path, chunks)) {
        TRY(release_find(c, path, "questions", whole ? all : balanced));
        TRY(convert_each(c, path, JSONSTREAM_KEYED, NULL, question, NULL));
        return CL_OK;
    }
    digit = strrchr(path, '_') + 1; // train_all is published in ten files
    for (*digit = '0'; *digit <= '9'; ++*digit) TRY(convert_each(c, path, JSONSTREAM_KEYED, NULL, question, NULL));
done:
    return rc;
}
