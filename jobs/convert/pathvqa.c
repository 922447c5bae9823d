/* pathvqa.c - PathVQA (COAST's MedicalQA): published as pickles, of which pickle.h reads the plain data; the same records
 * as JSON are taken too. */
#include "jobs/convert/families.h"

#include <stdio.h>
#include <string.h>

#include "io/err.h"

static const char *const pictures[] = {"images/{split}/{name}", "{split}/{name}", "images/{name}", NULL};

/* The answers of {"liver": 1, ..}: the one with the greatest score first. How many, at most ANSWERS. */
static int labels(const json_t *label, const char *answers[ANSWERS])
{
    const char *key;
    json_t *v;
    double best = -1;
    int n = 0, first = 0;

    json_object_foreach((json_t *)label, key, v)
    {
        if (n == ANSWERS) break;
        if (json_number_value(v) > best) best = json_number_value(v), first = n;
        answers[n++] = key;
    }
    if (n) {
        const char *s = answers[0];
        answers[0] = answers[first];
        answers[first] = s;
    }
    return n;
}

static int question(struct convert *c, const char *key, const json_t *o, void *with)
{
    const char *text = text_of(o, "sent"), *image = text_of(o, "img_id"), *answers[ANSWERS];
    char id[ID_ROOM], name[ID_ROOM + 8];
    const char *answer;
    int n;

    (void)key;
    (void)with;
    if (!text) text = text_of(o, "question");
    if (!image) image = text_of(o, "image");
    if (!text || !image || strlen(image) >= ID_ROOM)
        return left_out(c, LEFT_BROKEN, "no text under \"%s\"", text ? "img_id\" or \"image" : "sent\" or \"question");
    n = labels(json_object_get(o, "label"), answers);
    if (!n && text_of(o, "answer")) answers[n++] = text_of(o, "answer");
    answer = n ? answers[0] : NULL;
    if (!id_of(id, json_object_get(o, "question_id")))
        snprintf(id, sizeof id, "%s-%lld", c->split, (long long)c->number);
    snprintf(name, sizeof name, "%s%s", image, strrchr(image, '.') ? "" : ".jpg");
    return convert_write(
        c, &(struct item){.id = id,
                          .question = prompt_of(c, "%s\nAnswer the question using a single word or phrase.", text),
                          .answer = answer,
                          .answers = answers,
                          .n_answers = n,
                          .picture = name,
                          .patterns = pictures,
                          .question_type =
                              answer && (!strcmp(answer, "yes") || !strcmp(answer, "no")) ? "closed" : "open"});
}

int convert_pathvqa(struct convert *c)
{
    static const char *const files[] = {"qas/{split}_vqa.pkl",  "qas/{split}/{split}_qa.pkl",
                                        "{split}_vqa.pkl",      "{split}_qa.pkl",
                                        "qas/{split}_vqa.json", "qas/{split}/{split}_qa.json",
                                        "{split}_vqa.json",     "{split}_qa.json",
                                        "qas/{split}.jsonl",    NULL};
    char path[PATH_ROOM];
    int rc;

    TRY(release_find(c, path, "questions", files));
    TRY(convert_each(c, path, JSONSTREAM_LIST, NULL, question, NULL));
done:
    return rc;
}
