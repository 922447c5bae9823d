/* iconqa.c - IconQA: fill-in-blank questions and choices between texts. Choices between pictures need several pictures in
 * a prompt; a record has one, so these are counted and left out, or become one picture each (--choose-img). */
#include "jobs/convert/families.h"

#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "io/image.h"
#include "jobs/convert/choices.h"
#include "jobs/convert/pictures.h"
#include "jobs/convert/sheet.h"
#include "jobs/run_dir.h"

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

/* ---- choices between pictures */

/* Loads a picture of a problem; what is wrong with it is said by err_text. */
static int load(struct convert *c, struct image *im, const char *name)
{
    char relative[PATH_ROOM], path[PATH_ROOM];
    int rc;

    if (!picture_name_safe(name)) return err_set(CL_EDATA, "%s: a name that leads out of its folder", name);
    if (!pictures_find(c->pictures, relative, c->split, pictures, name)) return err_set(CL_EDATA, "%s", name);
    TRY(pictures_path(c->pictures, path, relative));
    TRY(image_load(im, path, false));
done:
    return rc;
}

/* The problem's pictures as one, in DEST/images/choose_img/ID.png. CL_EDATA, CL_EFORMAT: one of them is missing or broken. */
static int make_sheet(struct convert *c, const char *made, const char *folder, const char *const *choice, int n)
{
    struct image all[CHOICES + 1] = {{0}}, sheet = {0};
    char name[PATH_ROOM], path[PATH_ROOM];
    int rc;

    for (int i = 0; i <= n; i++) {
        TRY(path_print(name, "%s/%s", folder, i ? choice[i - 1] : "image.png"));
        TRY(load(c, &all[i], name));
    }
    TRY(sheet_make(&sheet, &all[0], all + 1, n));
    TRY(path_print(path, "%s/images/choose_img", c->dest));
    TRY(run_dir_make_folders(path));
    TRY(path_print(path, "%s/images/%s", c->dest, made));
    TRY(image_write_png(path, &sheet));
done:
    for (int i = 0; i <= n; i++) image_free(&all[i]);
    image_free(&sheet);
    return rc;
}

static int choose_picture(struct convert *c, const char *id, const json_t *o, const char *question)
{
    const char *choice[CHOICES], *own = text_of(o, "split");
    char letter[2], folder[PATH_ROOM], made[PATH_ROOM];
    const int n = choices_of(o, choice);
    int rc;

    if (n < 0 || !choice_letter(letter, o, n) || strchr(id, '/') || !picture_name_safe(id))
        return left_out(c, LEFT_BROKEN, "%s: no list of \"choices\" with an \"answer\" among them", id);
    TRY(path_print(folder, "%s/choose_img/%s", own ? own : c->split, id));
    TRY(path_print(made, "choose_img/%s.png", id));
    rc = make_sheet(c, made, folder, choice, n);
    if (rc == CL_EDATA || rc == CL_EFORMAT) return left_out(c, LEFT_PICTURE, "%s", err_text());
    if (rc) return rc;
    prompt_of(c, LEAD "\nOptions:", question);
    for (int i = 0; i < n; i++) text_add(&c->prompt, "\n%c. picture %d of the lower row", 'A' + i, i + 1);
    text_add(&c->prompt, "\nPlease answer with the option letter from the given choices directly.");
    TRY(convert_write(c, &(struct item){.id = id,
                                        .question = c->prompt.failed ? NULL : c->prompt.s,
                                        .answer = letter,
                                        .made = made,
                                        .question_type = "choose_img",
                                        .choices = n}));
done:
    return rc;
}

static int problem(struct convert *c, const char *id, const json_t *o, void *with)
{
    const char *question = text_of(o, "question"), *type = text_of(o, "ques_type");

    if (!split_has(c, with, id, o)) return CL_OK;
    if (!question || !type)
        return left_out(c, LEFT_BROKEN, "%s: no text under \"%s\"", id, question ? "ques_type" : "question");
    if (!strcmp(type, "choose_img") && c->how->choose_img) return choose_picture(c, id, o, question);
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

    return problems_each(c, files, splits, problem);
}
