/* sample.c - writing a conversation down in a template and tokenising its pieces.
 *
 * Pieces are tokenised apart: what stands before the picture, what stands behind it, every answer, every later question.
 * That reproduces LLaVA's ids without its bookkeeping of lengths, which drops samples where it miscounts.
 */
#include "io/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

static const char marker[] = PICTURE_MARKER, slot[] = "{question}";
enum { MARKER = sizeof marker - 1, SLOT = sizeof slot - 1, NO_LOSS = -100 };

static const struct {
    const char *name, *system, *turn;
} templates[] = {
    {"vicuna_v1",
     "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
     "and polite "
     "answers to the user's questions. ",
     "USER: {question} ASSISTANT:"},
    {"llava_hf", "", "USER: {question} ASSISTANT:"},
    {"plain", "", "{question}"},
};

int prompt_make(struct prompt *p, const char *template_, const char *system, bool legacy)
{
    const char *turn = template_, *own = "", *at = strstr(template_, slot);
    int rc;

    *p = (struct prompt){.legacy = legacy, .bos = true, .eos = true};
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (!strcmp(template_, templates[i].name)) {
            own = templates[i].system;
            turn = templates[i].turn;
            at = strstr(turn, slot);
        }
    if (!at)
        FAIL(CL_ECONFIG,
             "prompt.template: unknown (got \"%s\", expected vicuna_v1, llava_hf, plain or a text with {question})",
             template_);
    if (strstr(at + SLOT, slot)) FAIL(CL_ECONFIG, "prompt.template: {question} stands in it twice");
    p->system = strdup(system ? system : own);
    p->turn = strdup(turn);
    if (!p->system || !p->turn) FAIL(CL_ENOMEM, "out of memory for the prompt");
    if (strstr(p->system, marker) || strstr(p->turn, marker))
        FAIL(CL_ECONFIG, "prompt: <image> may stand in questions only; hint: take it out of template and system");
    rc = CL_OK;
done:
    if (rc) prompt_free(p);
    return rc;
}

void prompt_free(struct prompt *p)
{
    free(p->system);
    free(p->turn);
    *p = (struct prompt){0};
}

enum instruction_place prompt_instruction(const char *word)
{
    return !strcmp(word, "before")  ? INSTRUCTION_BEFORE
           : !strcmp(word, "after") ? INSTRUCTION_AFTER
                                    : INSTRUCTION_AS_IS;
}

/* ---- a sample under construction */

struct builder {
    const struct sampler *how;
    struct ids id, label;
    int64_t picture;
};

/* Labels for what was just tokenised. Text must not bring forth the picture token: features would be expected there. */
static int label_new(struct builder *b, bool loss)
{
    int rc;

    for (size_t i = b->label.n; i < b->id.n; i++) {
        if (b->id.id[i] == b->how->image_token)
            FAIL(CL_EDATA, "its text contains the picture token itself (id %d)", b->how->image_token);
        TRY(ids_push(&b->label, loss ? b->id.id[i] : NO_LOSS));
    }
    rc = CL_OK;
done:
    return rc;
}

static int add_id(struct builder *b, int32_t id, int32_t label)
{
    int rc = ids_push(&b->id, id);

    return rc ? rc : ids_push(&b->label, label);
}

static int add_picture(struct builder *b)
{
    int rc = CL_OK;

    b->picture = (int64_t)b->id.n;
    for (int i = 0; i < b->how->patches; i++) TRY(add_id(b, b->how->image_token, NO_LOSS));
done:
    return rc;
}

/* The text of a question in its template, the system text in front of the first. malloc'ed. */
static char *write_turn(const struct prompt *p, const char *question, bool first)
{
    const char *at = strstr(p->turn, slot);
    char *text;

    if (asprintf(&text, "%s%.*s%s%s", first ? p->system : "", (int)(at - p->turn), p->turn, question, at + SLOT) < 0)
        return NULL;
    return text;
}

/* The question with its picture marker on a line of its own before or behind it. malloc'ed; NULL: no memory. */
static char *place_instruction(enum instruction_place place, const char *question)
{
    const char *at = strstr(question, marker), *text = question, *rest = at + MARKER;
    size_t n = (size_t)(at - question), k = strlen(rest);
    char *out;

    while (n && strchr(" \n", text[n - 1])) n--;
    while (k && strchr(" \n", *rest)) rest++, k--;
    const char *between = n && k ? "\n" : "", *line = n + k ? "\n" : "";
    const bool before = place == INSTRUCTION_BEFORE;
    return asprintf(&out, "%s%s%.*s%s%s%s%s", before ? "" : marker, before ? "" : line, (int)n, text, between, rest,
                    before ? line : "", before ? marker : "") < 0
               ? NULL
               : out;
}

static int add_question(struct builder *b, const char *question, bool first)
{
    const struct tokenizer *tok = b->how->tok;
    const enum instruction_place place = b->how->prompt->instruction;
    char *text = NULL, *image, *placed = NULL;
    int rc;

    if (place != INSTRUCTION_AS_IS && strstr(question, marker)) {
        if (!(placed = place_instruction(place, question))) FAIL(CL_ENOMEM, "out of memory for a question");
        question = placed;
    }
    text = write_turn(b->how->prompt, question, first);
    if (!text) FAIL(CL_ENOMEM, "out of memory for a question");
    image = strstr(text, marker);
    if (image) {
        if (image > text) TRY(tokenizer_encode(tok, text, (size_t)(image - text), &b->id));
        TRY(label_new(b, false));
        TRY(add_picture(b));
        image += MARKER;
        if (*image) TRY(tokenizer_encode(tok, image, strlen(image), &b->id));
    } else if (*text) {
        TRY((first || b->how->prompt->legacy ? tokenizer_encode : tokenizer_encode_continued)(tok, text, strlen(text),
                                                                                              &b->id));
    }
    TRY(label_new(b, false));
done:
    free(text);
    free(placed);
    return rc;
}

static int add_answer(struct builder *b, const char *answer)
{
    const size_t before = b->id.n;
    char *text = NULL;
    int rc;

    if (asprintf(&text, "%s%s", tokenizer_adds_prefix(b->how->tok) ? "" : " ", answer) < 0) {
        text = NULL;
        FAIL(CL_ENOMEM, "out of memory for an answer");
    }
    if (*answer) TRY(tokenizer_encode(b->how->tok, text, strlen(text), &b->id));
    if (b->id.n == before) FAIL(CL_EDATA, "an answer without any token: there is nothing to learn from");
    TRY(label_new(b, true));
    if (b->how->prompt->eos) TRY(add_id(b, b->how->eos, b->how->eos));
done:
    free(text);
    return rc;
}

static int count_markers(const char *s)
{
    int n = 0;

    while ((s = strstr(s, marker))) n++, s += MARKER;
    return n;
}

static int check_markers(const struct record *r)
{
    for (int i = 0; i < r->turns; i++) {
        const int n = count_markers(r->turn[i].text), want = !i && r->image;

        if (n != want)
            return err_set(CL_EDATA, "turn %d: <image> stands %d times in it (expected %d: %s)", i + 1, n, want,
                           i      ? "only the first question may have a picture"
                           : want ? "the record has a picture"
                                  : "the record has no picture");
    }
    return CL_OK;
}

static int finish(struct sample *s, struct builder *b)
{
    const int64_t n = (int64_t)b->id.n;

    if (b->how->max_length && n > b->how->max_length)
        return err_set(CL_EDATA, "sample too long (got %lld tokens, at most %lld: max_length)", (long long)n,
                       (long long)b->how->max_length);
    s->id = b->id.id;
    s->label = b->label.id;
    s->n = n;
    s->picture = b->picture;
    for (int64_t i = 0; i < n; i++) s->answers += s->label[i] != NO_LOSS;
    b->id = b->label = (struct ids){0}; // belong to the sample now
    return CL_OK;
}

static int make(struct sample *s, const struct sampler *how, const struct record *r, int turns)
{
    struct builder b = {.how = how, .picture = -1};
    int rc;

    *s = (struct sample){.picture = -1};
    TRY(check_markers(r));
    if (how->prompt->bos && how->bos >= 0) TRY(add_id(&b, how->bos, NO_LOSS));
    for (int i = 0; i < how->prompt_rows; i++) TRY(add_id(&b, PROMPT_TOKEN, NO_LOSS));
    for (int i = 0; i < turns; i++) {
        TRY(r->turn[i].human ? add_question(&b, r->turn[i].text, !i) : add_answer(&b, r->turn[i].text));
        if (!i) s->prompt_n = (int64_t)b.id.n;
    }
    if (s->prompt_n == how->prompt_rows)
        FAIL(CL_EDATA, "the question has no token and the tokenizer no begin token: there is nothing to continue");
    TRY(finish(s, &b));
done:
    ids_free(&b.id);
    ids_free(&b.label);
    if (rc) sample_free(s);
    return rc;
}

/* A last question without an answer is left out: nothing follows that could be scored. */
int sample_make(struct sample *s, const struct sampler *how, const struct record *r)
{
    *s = (struct sample){.picture = -1};
    if (r->turns < 2) return err_set(CL_EDATA, "the question has no answer");
    return make(s, how, r, r->turns - r->turns % 2);
}

int sample_make_prompt(struct sample *s, const struct sampler *how, const struct record *r)
{
    return make(s, how, r, 1);
}

void sample_drop_prompts(struct sample *s)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < s->n; i++) {
        if (s->id[i] == PROMPT_TOKEN) continue;
        s->id[kept] = s->id[i];
        if (s->label) s->label[kept] = s->label[i];
        kept++;
    }
    if (s->picture >= 0) s->picture -= s->n - kept; // prompts stand in front
    s->prompt_n -= s->n - kept;
    s->n = kept;
}

void sample_free(struct sample *s)
{
    free(s->id);
    free(s->label);
    *s = (struct sample){.picture = -1};
}
