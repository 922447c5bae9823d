/* dataset_record.c - from the JSON of one record to a record: roles, picture marker, references. */
#include "io/dataset_parts.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

static const char marker[] = PICTURE_MARKER;
enum { MARKER = sizeof marker - 1 };

/* White space by Python's str.isspace, at the begin of s: its bytes, or 0. */
static size_t blank_at(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    if ((*p >= 9 && *p <= 13) || (*p >= 28 && *p <= 32)) return 1;
    if (p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0)) return 2;
    if (p[0] == 0xe1 && p[1] == 0x9a && p[2] == 0x80) return 3;
    if (p[0] == 0xe2 && p[1] == 0x80 &&
        ((p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf))
        return 3;
    if (p[0] == 0xe2 && p[1] == 0x81 && p[2] == 0x9f) return 3;
    if (p[0] == 0xe3 && p[1] == 0x80 && p[2] == 0x80) return 3;
    return 0;
}

/* In place, at both ends. */
static void strip(char *s)
{
    size_t begin = 0, end = strlen(s), k;

    while ((k = blank_at(s + begin))) begin += k;
    for (size_t i = end; i > begin;) { // one character back at a time
        size_t n = 1;

        while (i - n > begin && ((unsigned char)s[i - n] & 0xc0) == 0x80) n++;
        i -= n;
        if (blank_at(s + i) != n) break;
        end = i;
    }
    memmove(s, s + begin, end - begin);
    s[end - begin] = 0;
}

static bool is_empty(const char *s)
{
    size_t k;

    while ((k = blank_at(s))) s += k;
    return !*s;
}

static int count_markers(const char *s)
{
    int n = 0;

    while ((s = strstr(s, marker))) n++, s += MARKER;
    return n;
}

/* In place. */
static void remove_markers(char *s)
{
    char *to = s;

    while (*s) {
        if (!strncmp(s, marker, MARKER))
            s += MARKER;
        else
            *to++ = *s++;
    }
    *to = 0;
}

static int out_of_memory(void)
{
    return err_set(CL_ENOMEM, "out of memory for a record");
}

void record_free(struct record *r)
{
    for (int i = 0; i < r->turns; i++) free(r->turn[i].text);
    for (int i = 0; i < r->n_answers; i++) free(r->answers[i]);
    for (int i = 0; i < r->n_key_parts; i++) free(r->key_parts[i]);
    free(r->key_parts);
    free(r->turn);
    free(r->answers);
    free(r->id);
    free(r->image);
    free(r->question_type);
    *r = (struct record){0};
}

int dataset_first_question(const struct record *r, char **question)
{
    *question = strdup(r->turn[0].text);
    if (!*question) return out_of_memory();
    remove_markers(*question);
    strip(*question);
    return CL_OK;
}

/* ---- JSON values */

/* null stands for an absent key. */
static const json_t *key_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_null(v) ? NULL : v;
}

/* A string as it is, a number as it is written. */
static int text_of(char **to, const json_t *v, const char *key)
{
    if (json_is_string(v))
        *to = strdup(json_string_value(v));
    else if (json_is_number(v))
        *to = json_dumps(v, JSON_ENCODE_ANY);
    else
        return err_set(CL_EDATA, "\"%s\" is not a string", key);
    return *to ? CL_OK : out_of_memory();
}

static int optional_text(char **to, const json_t *o, const char *key, const char *other)
{
    const json_t *v = key_of(o, key);

    if (!v && other) v = key_of(o, other), key = other;
    return v ? text_of(to, v, key) : CL_OK;
}

/* ---- turns */

enum role { HUMAN, GPT, SYSTEM, UNKNOWN };

static enum role role_of(const char *s)
{
    if (!strcmp(s, "human") || !strcmp(s, "user")) return HUMAN;
    if (!strcmp(s, "gpt") || !strcmp(s, "assistant")) return GPT;
    return !strcmp(s, "system") ? SYSTEM : UNKNOWN;
}

static int add_turn(struct record *r, enum role role, const json_t *value, const char *key)
{
    struct turn *t = &r->turn[r->turns];
    int rc = text_of(&t->text, value, key);

    if (rc) return rc;
    t->human = role == HUMAN;
    r->turns++;
    return CL_OK;
}

static int read_conversation(struct record *r, const json_t *list)
{
    const size_t n = json_array_size(list);
    int rc;

    if (!json_is_array(list)) return err_set(CL_EDATA, "\"conversations\" is not an array");
    r->turn = calloc(n ? n : 1, sizeof *r->turn);
    if (!r->turn) return out_of_memory();
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(list, i), *from = key_of(t, "from"), *value = key_of(t, "value");
        enum role role;

        if (!json_is_string(from) || !json_is_string(value))
            FAIL(CL_EDATA, "turn %zu is not {\"from\": .., \"value\": ..} of strings", i + 1);
        role = role_of(json_string_value(from));
        if (role == UNKNOWN || (role == SYSTEM && i))
            FAIL(CL_EDATA, "turn %zu: unknown role (got \"%.40s\", expected human, gpt, user or assistant)", i + 1,
                 json_string_value(from));
        if (!i && role != HUMAN) continue; // as LLaVA does
        if (role != (r->turns % 2 ? GPT : HUMAN))
            FAIL(CL_EDATA, "turn %zu: roles do not alternate (got \"%.40s\")", i + 1, json_string_value(from));
        TRY(add_turn(r, role, value, "value"));
    }
    if (!r->turns) FAIL(CL_EDATA, "no human turn in \"conversations\"");
    rc = CL_OK;
done:
    return rc;
}

/* The short form; the key names of LLaVA's and CoIN's question files are taken, too. */
static int read_question(struct record *r, const json_t *o)
{
    const json_t *question = key_of(o, "question"), *answer = key_of(o, "answer");
    int rc;

    if (!question) question = key_of(o, "text");
    if (!question) return err_set(CL_EDATA, "neither \"conversations\" nor \"question\" in it");
    r->turn = calloc(2, sizeof *r->turn);
    if (!r->turn) return out_of_memory();
    TRY(add_turn(r, HUMAN, question, "question"));
    if (answer) TRY(add_turn(r, GPT, answer, "answer"));
    rc = CL_OK;
done:
    return rc;
}

static int prepend_marker(char **text)
{
    char *now;

    if (asprintf(&now, **text ? "%s\n%s" : "%s%s", marker, *text) < 0) return out_of_memory();
    free(*text);
    *text = now;
    return CL_OK;
}

/* See dataset.h: where the picture goes. */
static int settle_marker(struct record *r)
{
    char **first = &r->turn[0].text;
    const int n = count_markers(*first);

    for (int i = 1; i < r->turns; i++)
        if (count_markers(r->turn[i].text))
            return err_set(CL_EDATA, "turn %d: <image> in %s (only the first question may have a picture)", i + 1,
                           r->turn[i].human ? "a later question" : "an answer");
    if (!r->image) {
        if (n) return err_set(CL_EDATA, "<image> in the question, but no \"image\" in the record");
        return CL_OK;
    }
    if (n == 1) return CL_OK;
    if (n > 1) {
        remove_markers(*first);
        strip(*first);
    }
    return prepend_marker(first);
}

static int append_suffix(struct record *r, const char *suffix)
{
    char *now;

    if (!suffix || !*suffix) return CL_OK;
    if (asprintf(&now, "%s%s", r->turn[0].text, suffix) < 0) return out_of_memory();
    free(r->turn[0].text);
    r->turn[0].text = now;
    return CL_OK;
}

/* ---- references */

/* A text or a number, or a box, which becomes "[0.1, 0.2, 0.5, 0.6]". */
static int reference_of(char **to, const json_t *v)
{
    if (!json_is_array(v)) return text_of(to, v, "answers");
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_number(json_array_get(v, i))) return err_set(CL_EDATA, "a list in \"answers\" is not of numbers");
    *to = json_dumps(v, JSON_REAL_PRECISION(17));
    return *to ? CL_OK : out_of_memory();
}

/* CoIN's grounding files hold the box beside the conversation. */
static int read_box(struct record *r, const json_t *box)
{
    int rc;

    if (!(r->answers = calloc(1, sizeof *r->answers))) return out_of_memory();
    TRY(reference_of(&r->answers[0], box));
    r->n_answers = 1;
done:
    return rc;
}

static int read_answers(struct record *r, const json_t *o)
{
    const json_t *list = key_of(o, "answers"), *box = key_of(o, "answer_bbox");
    const size_t n = json_array_size(list);
    int rc;

    if (!list && box) return read_box(r, box);

    if (list && !json_is_array(list)) return err_set(CL_EDATA, "\"answers\" is not an array");
    r->answers = calloc(n ? n : 1, sizeof *r->answers);
    if (!r->answers) return out_of_memory();
    for (size_t i = 0; i < n; i++) {
        TRY(reference_of(&r->answers[i], json_array_get(list, i)));
        r->n_answers++;
    }
    if (!n && r->turns > 1) {
        r->answers[0] = strdup(r->turn[1].text);
        if (!r->answers[0]) return out_of_memory();
        r->n_answers = 1;
    }
    rc = CL_OK;
done:
    return rc;
}

static int check_use(const struct record *r, enum dataset_use use)
{
    if (use == DATASET_TEST && !r->n_answers)
        return err_set(CL_EDATA, "nothing to score against: neither \"answers\" nor an answer in the conversation");
    if (use != DATASET_TRAIN) return CL_OK;
    if (r->turns % 2) return err_set(CL_EDATA, "the last question has no answer");
    for (int i = 1; i < r->turns; i += 2)
        if (is_empty(r->turn[i].text))
            return err_set(CL_EDATA, "empty answer (turn %d): there is nothing to learn from", i + 1);
    return CL_OK;
}

/* ---- the record */

/* What some metrics ask for; forms that are none of these say nothing. */
static void read_sizes(struct record *r, const json_t *o)
{
    const json_t *choices = key_of(o, "choices"), *size = key_of(o, "size");

    r->choices = (int)(json_is_array(choices) ? (json_int_t)json_array_size(choices) : json_integer_value(choices));
    r->width = json_number_value(json_array_get(size, 0));
    r->height = json_number_value(json_array_get(size, 1));
}

static int read_key_parts(struct record *r, const json_t *list)
{
    const size_t n = json_array_size(list);

    if (!list) return CL_OK;
    if (!json_is_array(list)) return err_set(CL_EDATA, "\"key_parts\" is not an array");
    if (!(r->key_parts = calloc(n + 1, sizeof *r->key_parts))) return out_of_memory();
    for (size_t i = 0; i < n; i++) {
        const char *part = json_string_value(json_array_get(list, i));
        if (!part || !*part) return err_set(CL_EDATA, "\"key_parts\" holds something else than texts");
        if (!strstr(r->turn[0].text, part))
            return err_set(CL_EDATA, "\"key_parts\": \"%s\" does not stand in the first question", part);
        if (!(r->key_parts[i] = strdup(part))) return out_of_memory();
        r->n_key_parts++;
    }
    return CL_OK;
}

static int read_image(struct record *r, const json_t *v, const char *folder)
{
    const char *s = json_string_value(v);
    int n;

    if (!v) return CL_OK;
    if (!s) return err_set(CL_EDATA, "\"image\" is not a string; hint: one picture per record");
    if (!*s) return CL_OK;
    n = *s == '/' || !folder ? asprintf(&r->image, "%s", s) : asprintf(&r->image, "%s/%s", folder, s);
    if (n >= 0) return CL_OK;
    r->image = NULL;
    return out_of_memory();
}

static int read_record(struct record *r, const json_t *o, const struct dataset_options *how)
{
    const json_t *list = key_of(o, "conversations");
    int rc;

    if (!json_is_object(o)) return err_set(CL_EDATA, "not a JSON object");
    TRY(optional_text(&r->id, o, "id", "question_id"));
    if (!r->id && asprintf(&r->id, "%lld", (long long)r->number) < 0) {
        r->id = NULL;
        return out_of_memory();
    }
    TRY(optional_text(&r->question_type, o, "question_type", "answer_type"));
    TRY(read_image(r, key_of(o, "image"), how->images));
    TRY(list ? read_conversation(r, list) : read_question(r, o));
    TRY(settle_marker(r));
    TRY(append_suffix(r, how->suffix));
    TRY(read_answers(r, o));
    read_sizes(r, o);
    TRY(read_key_parts(r, key_of(o, "key_parts")));
    TRY(check_use(r, how->use));
done:
    return rc;
}

/* jansson's text, with a word on what Python's json writes and JSON does not know. */
static int refuse_json(const char *bytes, size_t n, const json_error_t *e)
{
    const char *hint = "";

    if (!n) return err_set(CL_EDATA, "nothing there: a comma too many");
    if (json_error_code(e) == json_error_invalid_utf8) return err_set(CL_EDATA, "not UTF-8: %s", e->text);
    if (memmem(bytes, n, "NaN", 3) || memmem(bytes, n, "Infinity", 8))
        hint = "; hint: NaN and Infinity are not JSON, write null";
    else if (memmem(bytes, n, "\\ud", 3) || memmem(bytes, n, "\\uD", 3))
        hint = "; hint: half of a surrogate pair (\\ud800 to \\udfff) is not a character";
    return err_set(CL_EDATA, "not JSON: %s (at character %d)%s", e->text, e->position, hint);
}

int record_parse(struct record *r, const char *bytes, size_t n, int64_t number, const struct dataset_options *how)
{
    json_error_t e;
    json_t *o = json_loadb(bytes, n, JSON_DECODE_ANY, &e);
    int rc;

    *r = (struct record){.number = number};
    rc = o ? read_record(r, o, how) : refuse_json(bytes, n, &e);
    json_decref(o);
    if (rc) record_free(r);
    return rc;
}
