/* scienceqa.c - ScienceQA: choices, about half of them without a picture; the hint is context in front of the question. */
#include "jobs/convert/families.h"

#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/convert/choices.h"

static const char *const pictures[] = {"images/{name}", "data/scienceqa/images/{name}", "ScienceQA/images/{name}",
                                       NULL};

/* LLaVA-1.5 and CoIN: the answer is a letter. */
static const char *letter_prompt(struct convert *c, const char *hint, const char *question, const char *const *choice,
                                 int n)
{
    prompt_of(c, "%s%s%s%s", *hint ? "Context: " : "", hint, *hint ? "\n" : "", question);
    choices_add(&c->prompt, choice, n);
    text_add(&c->prompt, "\nAnswer with the option's letter from the given choices directly.");
    return c->prompt.failed ? NULL : c->prompt.s;
}

/* Double blanks become single ones, once over the text as Python's replace does. */
static void single_blanks(struct text *t)
{
    size_t k = 0;

    for (size_t i = 0; i < t->len; i++) {
        t->s[k++] = t->s[i];
        if (t->s[i] == ' ' && t->s[i + 1] == ' ') i++;
    }
    t->len = k;
    if (t->s) t->s[k] = 0;
}

/* LLaVA's first scripts: CQM-A. */
static const char *cqm_prompt(struct convert *c, const char *hint, const char *question, const char *const *choice,
                              int n)
{
    prompt_of(c, "Context: %s\nQuestion: %s\nOptions:", *hint ? hint : "N/A", question);
    for (int i = 0; i < n; i++) text_add(&c->prompt, " (%c) %s", 'A' + i, choice[i]);
    single_blanks(&c->prompt);
    return c->prompt.failed ? NULL : c->prompt.s;
}

static int problem(struct convert *c, const char *id, const json_t *o, void *with)
{
    const char *question = text_of(o, "question"), *hint = text_of(o, "hint"), *file = text_of(o, "image");
    const char *own = text_of(o, "split"), *choice[CHOICES];
    const bool cqm = c->form && !strcmp(c->form, "cqm-a");
    char name[PATH_ROOM], letter[2], sentence[32];
    int rc, n;

    if (!split_has(c, with, id, o)) return CL_OK;
    n = choices_of(o, choice);
    if (!question) return left_out(c, LEFT_BROKEN, "%s: no text under \"question\"", id);
    if (n < 0) return left_out(c, LEFT_BROKEN, "%s: \"choices\" is no list of 1 to %d texts", id, CHOICES);
    if (!choice_letter(letter, o, n)) return left_out(c, LEFT_BROKEN, "%s: \"answer\" is no index of \"choices\"", id);
    if (!hint) hint = "";
    snprintf(sentence, sizeof sentence, "The answer is %s.", letter);
    TRY(path_print(name, "%s/%s/%s", own ? own : c->split, id, file ? file : ""));
    TRY(convert_write(c, &(struct item){.id = id,
                                        .question = cqm ? cqm_prompt(c, hint, question, choice, n)
                                                        : letter_prompt(c, hint, question, choice, n),
                                        .answer = cqm ? sentence : letter,
                                        .answers = (const char *const[]){letter},
                                        .n_answers = 1,
                                        .picture = file && *file ? name : NULL,
                                        .patterns = pictures,
                                        .question_type = text_of(o, "subject"),
                                        .choices = n}));
done:
    return rc;
}

int convert_scienceqa(struct convert *c)
{
    static const char *const files[] = {"problems.json", "data/scienceqa/problems.json", "scienceqa/problems.json",
                                        NULL};
    static const char *const splits[] = {"pid_splits.json", "data/scienceqa/pid_splits.json",
                                         "scienceqa/pid_splits.json", NULL};

    return problems_each(c, files, splits, problem);
}
