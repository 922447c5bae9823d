/* ocrvqa.c - OCR-VQA: a book cover with about five questions. Many covers cannot be fetched any more. */
#include "jobs/convert/families.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"

static const char *const pictures[] = {"images/{name}",
                                       "images/{stem}.jpg",
                                       "OCR-VQA/images/{name}",
                                       "OCR-VQA/images/{stem}.jpg",
                                       "ocr_vqa/images/{stem}.jpg",
                                       "{stem}.jpg",
                                       NULL};

/* Ending of the picture's address: letters and digits, else "jpg". */
static void ending(char out[8], const char *url)
{
    const char *dot = url ? strrchr(url, '.') : NULL;
    size_t n = 0;

    while (dot && n < 6 && isalnum((unsigned char)dot[n + 1])) n++;
    snprintf(out, 8, "%.*s", n && !dot[n + 1] ? (int)n : 3, n && !dot[n + 1] ? dot + 1 : "jpg");
}

static bool in_split(const struct convert *c, const json_t *o)
{
    static const char *const split[] = {"", "train", "val", "test"};
    const json_int_t k = json_integer_value(json_object_get(o, "split"));

    return k >= 1 && k <= 3 && !strcmp(split[k], c->split);
}

static int book(struct convert *c, const char *id, const json_t *o, void *with)
{
    const json_t *questions = json_object_get(o, "questions"), *answers = json_object_get(o, "answers");
    char dot[8], name[ID_ROOM + 16], each[ID_ROOM + 16];
    int rc = CL_OK;

    (void)with;
    if (!json_is_integer(json_object_get(o, "split"))) return left_out(c, LEFT_BROKEN, "%s: no \"split\"", id);
    if (!in_split(c, o)) return CL_OK;
    if (strlen(id) >= ID_ROOM) return left_out(c, LEFT_BROKEN, "an id of %zu bytes", strlen(id));
    if (!json_is_array(questions) || json_array_size(questions) != json_array_size(answers))
        return left_out(c, LEFT_BROKEN, "%s: not as many answers as questions", id);
    ending(dot, text_of(o, "imageURL"));
    snprintf(name, sizeof name, "%s.%s", id, dot);
    for (size_t i = 0; !rc && i < json_array_size(questions); i++) {
        const char *q = json_string_value(json_array_get(questions, i));

        snprintf(each, sizeof each, "%s-%zu", id, i + 1);
        if (!q)
            rc = left_out(c, LEFT_BROKEN, "%s: question %zu is no text", id, i + 1);
        else
            rc = convert_write(
                c, &(struct item){.id = each,
                                  .question = prompt_of(c, "%s\nAnswer the question using a single word or phrase.", q),
                                  .answer = json_string_value(json_array_get(answers, i)),
                                  .picture = name,
                                  .patterns = pictures});
    }
    return rc;
}

int convert_ocrvqa(struct convert *c)
{
    static const char *const files[] = {"dataset.json", "OCR-VQA/dataset.json", NULL};
    char path[PATH_ROOM];
    int rc;

    TRY(release_find(c, path, "questions", files));
    TRY(convert_each(c, path, JSONSTREAM_KEYED, NULL, book, NULL));
done:
    return rc;
}
