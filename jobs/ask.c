/* ask.c - `cllava generate`: talk to a trained model about a picture; the answer appears as it is made. */
#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/generator.h"
#include "jobs/open_checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct talk {
    struct job *j;
    const char *image; // path, NULL: none
    char *question;
    struct adapters set;
    struct routing one;
    struct token_stream stream;
    bool begun; // something of the answer is out
};

/* The question as a record of one human turn: its prompt and, unless NULL, what routing embeds of it (malloc'ed). */
static int make_prompt(const struct talk *t, struct sample *s, char **routed)
{
    char *text = NULL;
    struct turn turn = {.human = true};
    struct record r = {.id = "question", .image = (char *)(uintptr_t)t->image, .turns = 1, .turn = &turn, .number = 1};
    bool marked = strstr(t->question, PICTURE_MARKER) != NULL;
    int rc;

    if (asprintf(&text, "%s%s", t->image && !marked ? PICTURE_MARKER "\n" : "", t->question) < 0)
        return err_set(CL_ENOMEM, "no memory for a question");
    turn.text = text;
    TRY(sample_make_prompt(s, &t->j->sampler, &r));
    if (!t->set.slots) sample_drop_prompts(s);
    if (routed) TRY(dataset_first_question(&r, routed));
done:
    free(text);
    return rc;
}

static int source(void *context, int64_t i, struct prompt_item *item)
{
    int rc;
    struct talk *t = context;

    (void)i;
    TRY(make_prompt(t, &item->sample, NULL));
    if (item->sample.picture >= 0 && !(item->picture = strdup(t->image))) FAIL(CL_ENOMEM, "no memory for a path");
    if (t->set.slots) memcpy(item->coef, t->one.coef, (size_t)t->set.slots * sizeof *item->coef);
    token_stream_init(&t->stream, t->j->tok);
done:
    return rc;
}

static int put(struct talk *t, const char *bytes, size_t n)
{
    if (!t->begun) // the blank between prompt and answer is the template's
        while (n && *bytes == ' ') bytes++, n--;
    t->begun |= n > 0;
    fwrite(bytes, 1, n, stdout);
    fflush(stdout);
    return ferror(stdout) ? err_set(CL_EIO, "cannot write the answer") : CL_OK;
}

static int token(void *context, int64_t i, int32_t id)
{
    int rc;
    struct talk *t = context;
    char bytes[4096];
    size_t n;

    (void)i;
    if (job_is_end(t->j, id)) return CL_OK;
    TRY(token_stream_push(&t->stream, id, bytes, sizeof bytes, &n));
    TRY(put(t, bytes, n));
done:
    return rc;
}

static int sink(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    int rc;
    struct talk *t = context;
    char bytes[4096];
    size_t left;

    (void)i, (void)id, (void)n, (void)prompt_n;
    TRY(token_stream_end(&t->stream, bytes, sizeof bytes, &left));
    TRY(put(t, bytes, left));
    putchar('\n');
    fflush(stdout);
done:
    return rc;
}

/* The slots that the answer used, on stderr beside the answer. */
static void say_slots(const struct talk *t)
{
    if (!t->set.slots) return;
    fprintf(stderr, "slots:");
    for (int m = 0; m < t->one.M; m++) {
        int slot = t->one.selected[m], task;
        if (slot < 0) continue;
        task = t->j->method->ops->slot_task(t->j->method, slot);
        fprintf(stderr, "  %d (%s, %.3f)", slot, task >= 0 ? t->j->cfg.stream.task[task].name : "-",
                t->one.intrinsic[slot]);
    }
    fprintf(stderr, "\n");
}

static int answer(struct talk *t, char *question)
{
    int rc;
    struct sample s = {0};
    struct generator_limits lim = {.batch = 1,
                                   .max_new_tokens = t->j->cfg.eval.max_new_tokens,
                                   .slots = t->set.slots,
                                   .rank = t->set.rank,
                                   .residuals = t->set.residuals};
    struct generator_ends ends = {t, source, token, sink, NULL};
    char *routed = NULL;

    t->question = question, t->begun = false;
    TRY(make_prompt(t, &s, &routed));
    lim.prompt_n = s.prompt_n;
    TRY(job_route(t->j, routed, t->image, &t->one));
    TRY(crew_generate(t->j->crew, 1, NULL, &t->set, &lim, &ends));
    say_slots(t);
done:
    free(routed);
    sample_free(&s);
    return rc;
}

/* Questions line by line until the input ends. */
static int converse(struct talk *t)
{
    int rc = CL_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    while ((n = getline(&line, &room, stdin)) > 0) {
        if (line[n - 1] == '\n') line[n - 1] = 0;
        if (*line) TRY(answer(t, line));
    }
done:
    free(line);
    return rc;
}

int command_generate(const struct command_args *a)
{
    int rc;
    struct job j = {0};
    struct talk t = {.j = &j, .image = args_value(a, "image", NULL)};
    const char *model = args_positional(a, 0);

    if (args_flag(a, "base-only"))
        TRY(job_open_base(&j, model, a));
    else
        TRY(job_open_checkpoint(&j, model, args_value(a, "config", NULL), a));
    if (t.image && !j.base.has_vision)
        FAIL(CL_EUSAGE, "--image %s, but the base %s has no vision tower", t.image, j.cfg.base);
    TRY(job_inference_set(&j, &t.set, &t.one));
    if (args_count(a) > 1)
        TRY(answer(&t, (char *)(uintptr_t)args_positional(a, 1)));
    else
        TRY(converse(&t));
done:
    routing_free(&t.one);
    job_close(&j);
    return rc;
}
