/* judge.c - see judge.h. */
#include "io/judge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "io/metric_rules.h"
#include "io/safetensors.h"

static const char assistant[] = "You are a helpful and precise assistant for checking the quality of the answer.";

static const struct judge_form forms[] = {
    {"llava_bench", assistant,
     "Two assistants answered the question above, which was asked about a picture. Judge both answers by how helpful, "
     "relevant, correct and detailed they are. Give each a score from 1 to 10, 10 being best. On the first line write "
     "only the two scores, that of Assistant 1 first, with one blank between them. On the next line say in a sentence "
     "or two why; the order of the answers must not count."},
    {"coin", assistant,
     "The question above was asked about a picture. Judge how correct the assistant's answer is, taking the ground "
     "truth answer to be right: 0 is wrong, 10 is fully right. Reply with this one number from 0 to 10 and nothing "
     "else."},
    {"yes_no", assistant,
     "The question above was asked about a picture. Does the assistant's answer mean the same as the ground truth "
     "answer? Another wording is fine; a wrong or missing fact is not. Reply with a dictionary of this form and "
     "nothing "
     "else, score being a whole number from 0 to 5: {'pred': 'yes', 'score': 5}"},
};

const struct judge_form *judge_form(const char *name)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].name, name)) return &forms[i];
    return NULL;
}

/* Each text's hash begins with the one before, so that what stands where counts. */
void judge_id(char id[JUDGE_ID], const struct judge_item *x)
{
    uint64_t h = safetensors_hash_bytes(0, x->question, strlen(x->question));

    h = safetensors_hash_bytes(h, x->reference, strlen(x->reference));
    h = safetensors_hash_bytes(h, x->prediction, strlen(x->prediction));
    snprintf(id, JUDGE_ID, "%016llx", (unsigned long long)h);
}

/* ---- what the judge is asked */

static void block(struct text *t, const char *name, const char *text)
{
    text_add(t, "[%s]\n%s\n\n", name, text);
}

static void ended_block(struct text *t, const char *name, const char *end, const char *text)
{
    block(t, name, text);
    text_add(t, "[End of %s]\n\n", end);
}

/* The last line is the instruction for the format ("Answer with ..") where there are several. */
static void add_bare_question(struct text *t, const char *question)
{
    const char *last = strrchr(question, '\n');

    text_bytes(t, question, last ? (size_t)(last - question) : strlen(question));
}

/* LLaVA-Bench compares two assistants, the first of whom gave the reference; captions of the picture we have none. */
static void add_user_text(struct text *t, const struct judge_form *f, const char *rule, const struct judge_item *x)
{
    if (f == &forms[0]) {
        block(t, "Context", "");
        block(t, "Question", x->question);
        ended_block(t, "Assistant 1", "Assistant 1", x->reference);
        ended_block(t, "Assistant 2", "Assistant 2", x->prediction);
    } else {
        text_add(t, "[Context]\n[Question]\n");
        add_bare_question(t, x->question);
        text_add(t, "\n\n");
        ended_block(t, "Ground truth answer", "ground truth answer", x->reference);
        ended_block(t, "Assistant", "Assistant", x->prediction);
    }
    block(t, "System", rule ? rule : f->rule);
}

static void field(struct text *json, const char *key, const char *value)
{
    text_add(json, ",\"%s\":", key);
    text_json(json, value);
}

int judge_request(struct text *json, const struct judge_form *f, const char *rule, const struct judge_item *x,
                  const char *question_id)
{
    char id[JUDGE_ID];
    struct text user = {0};

    judge_id(id, x);
    add_user_text(&user, f, rule, x);
    text_add(json, "{\"id\":\"%s\"", id);
    field(json, "question_id", question_id);
    field(json, "question", x->question);
    field(json, "reference", x->reference);
    field(json, "prediction", x->prediction);
    text_add(json, ",\"messages\":[{\"role\":\"system\"");
    field(json, "content", f->system);
    text_add(json, "},{\"role\":\"user\"");
    field(json, "content", user.s ? user.s : "");
    text_add(json, "}]}");
    json->failed |= user.failed;
    text_free(&user);
    return json->failed ? err_set(CL_ENOMEM, "no memory for a request") : CL_OK;
}

/* ---- what it said */

/* Points got and to be had; -1 of 0: unreadable. */
static int read_verdict(const struct judge_form *f, const char *content, double *got, double *of)
{
    double pair[2];
    int rc = CL_OK;

    if (f == &forms[0]) {
        TRY(metric_pair_of(content, pair));
        *of = pair[0] > 0 && pair[1] >= 0 && isfinite(pair[0] + pair[1]) ? pair[0] : 0, *got = pair[1];
    } else if (f == &forms[1]) {
        *got = metric_coin_gk_parse(content, NULL, 0, NULL), *of = 10;
        if (!(*got >= 0)) *got = isnan(*got) ? NAN : 0;
    } else {
        *got = metric_yes_no_parse(content, NULL, 0, NULL), *of = *got < 0 ? 0 : 1;
    }
    if (isnan(*got)) FAIL(CL_ENOMEM, "no memory for a verdict");
done:
    return rc;
}

int judge_add(struct judge_sum *s, const struct judge_form *f, const char *content)
{
    double got, of;
    int rc = read_verdict(f, content, &got, &of);

    if (rc) return rc;
    s->n++;
    if (of == 0)
        s->unreadable++;
    else
        s->got += got, s->of += of;
    return CL_OK;
}

double judge_percent(const struct judge_sum *s)
{
    return s->of > 0 ? 100 * s->got / s->of : NAN;
}
