/* iconqa.c - IconQA: fill-in-blank questions and choices between texts. Choices between pictures need several pictures in
 * a prompt; a record has one, so these are counted and left out. */
#include "jobs/convert/families.h"

#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/convert/choices.h"

#define LEAD "Given a set of images and a question, please provide the answer to the question.\nQuestion: %s."

static const char *const pictures[] = {"iconqa/{name}", "iconqa_data/iconqa/{name}", "IconQA/iconqa_data/iconqa/{name}",
                                       NULL};

static bool is_ucit(const struct convert *c)
{
    return c->form && !strcmp(c->form, "ucit");
}

static int write_problem(struct convert *c, const json_t *o, const char *id, struct item *it)
{
    const char *own = text_of(o, "split");
    char name[PATH_ROOM];
    int rc;

    TRY(path_print(name, "%s/%s/%s/image.png", own ? own : c->split, it->question_type, id));
    it->id = id;
    it->picture = name;
    it->patterns = pictures;
    TRY(convert_write(c, it));
done:
    return rc;
}

static int fill_in(struct convert *c, const char *id, const json_t *o, const char *question)
{
    char number[ID_ROOM];

    return write_problem(
        c, o, id,
        &(struct item){
            .question =
                is_ucit(c) ? prompt_of(c, "%s\nAnswer the question using a single word or phrase.", question)
                           : prompt_of(c, LEAD "\nPlease answer the question using a single word or phrase.", question),
            .answer = word_of(json_object_get(o, "answer"), number),
            .question_type = "fill_in_blank"});
}

static int choose(struct convert *c, const char *id, const json_t *o, const char *question)
{
    const char *choice[CHOICES];
    char letter[2];
    const int n = choices_of(o, choice);

    if (n < 0) return left_out(c, LEFT_BROKEN, "%s: \"choices\" is no list of 1 to %d texts", id, CHOICES);
    if (!choice_letter(letter, o, n)) return left_out(c, LEFT_BROKEN, "%s: \"answer\" is no index of \"choices\"", id);
    if (is_ucit(c))
        prompt_of(c, "%s", question);
    else
        prompt_of(c, LEAD "\nOptions:", question);
    choices_add(&c->prompt, choice, n);
    text_add(&c->prompt, is_ucit(c) ? "\nAnswer with the option's letter from the given choices directly."
                                    : "\nPlease answer with the option letter from the given choices directly.");
    return write_problem(c, o, id,
                         &(struct item){.question = c->prompt.failed ? NULL : c->prompt.s,
                                        .answer = letter,
                                        .question_type = "choose_txt",
                                        .choices = n});
}

static int problem(struct convert *c, const char *id, const json_t *o, void *with)
{
    const char *question = text_of(o, "question"), *type = text_of(o, "ques_type");

    if (!split_has(c, with, id, o)) return CL_OK;
    if (!question || !type)
        return left_out(c, LEFT_BROKEN, "%s: no text under \"%s\"", id, question ? "ques_type" : "question");
    if (!strcmp(type, "choose_img"))
        return left_out(c, LEFT_CHOICE, "%s: choose_img, its choices are pictures (a record has one)", id);
    if (!strcmp(type, "choose_txt")) return choose(c, id, o, question);
    if (!strcmp(type, "fill_in_blank")) return fill_in(c, id, o, question);
    return left_out(c, LEFT_BROKEN, "%s: unknown \"ques_type\" %.40s", id, type);
}

int convert_iconqa(struct convert *c)
{
    static const char *const files[] = {"problems.json", "iconqa_data/problems.json", NULL};
    static const char *const splits[] = {"pid_splits.json", "iconqa_data/pid_splits.json", NULL};
    struct index *ids = NULL;
    char path[PATH_ROOM];
    int rc;

    TRY(split_ids(c, &ids, splits));
    TRY(release_find(c, path, "problems", files));
    TRY(convert_each(c, path, JSONSTREAM_KEYED, NULL, problem, ids));
done:
    index_free(ids);
    return rc;
}
