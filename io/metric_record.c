/* metric_record.c - see metric_record.h. */
#include "io/metric_record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

enum { REFERENCES = 1024 };

/* ---- one value as text */

static int no_memory(void)
{
    return err_set(CL_ENOMEM, "no memory for a record");
}

static int add_number(struct text *t, const json_t *v)
{
    if (json_is_integer(v))
        text_add(t, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        text_number(t, json_real_value(v));
    else
        return err_set(CL_EDATA, "not a number in a list of numbers");
    return CL_OK;
}

/* "[1, 2.5]" */
static int add_list(struct text *t, const json_t *list)
{
    int rc = CL_OK;

    text_add(t, "[");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i) text_add(t, ", ");
        TRY(add_number(t, json_array_get(list, i)));
    }
    text_add(t, "]");
done:
    return rc;
}

static int text_of(char **out, const json_t *v, const char *key)
{
    int rc = CL_OK;
    struct text t = {0};

    *out = NULL;
    if (json_is_string(v))
        text_bytes(&t, json_string_value(v), json_string_length(v));
    else if (json_is_array(v))
        TRY(add_list(&t, v));
    else if (json_is_number(v))
        TRY(add_number(&t, v));
    else if (!json_is_null(v))
        FAIL(CL_EDATA, "no text under `%s`", key);
    if (!(*out = text_take(&t))) rc = no_memory();
done:
    text_free(&t);
    return rc;
}

/* ---- references */

static int add_reference(struct metric_record *r, const json_t *v, const char *key)
{
    int rc;

    if (r->n == REFERENCES) return err_set(CL_EDATA, "more than %d under `%s`", REFERENCES, key);
    TRY(text_of(&r->references[r->n], v, key));
    r->n++;
done:
    return rc;
}

static bool all_numbers(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_number(json_array_get(list, i))) return false;
    return json_is_array(list) && json_array_size(list);
}

static int add_letter(struct metric_record *r, long long index)
{
    const char letter[] = {(char)('A' + index), 0};

    if (index < 0 || index >= 26) return err_set(CL_EDATA, "no letter for the choice of index %lld", index);
    if (!(r->references[r->n] = strdup(letter))) return no_memory();
    r->n++;
    return CL_OK;
}

static int count_choices(const json_t *choices)
{
    return json_is_array(choices) ? (int)json_array_size(choices) : (int)json_integer_value(choices);
}

/* An index from 0, a letter, or the text of one of the choices. */
static int read_choice(struct metric_record *r, const json_t *answer, const json_t *choices)
{
    if (json_is_integer(answer)) return add_letter(r, json_integer_value(answer));
    for (size_t i = 0; json_string_length(answer) > 1 && i < json_array_size(choices); i++) {
        const char *choice = json_string_value(json_array_get(choices, i));

        if (choice && !strcmp(choice, json_string_value(answer))) return add_letter(r, (long long)i);
    }
    return add_reference(r, answer, "answer");
}

static int read_matrix(struct metric_record *r, const json_t *rows)
{
    if (!(r->references[0] = json_dumps(rows, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)))) return no_memory();
    r->n = 1;
    return CL_OK;
}

static int read_references(struct metric_record *r, const json_t *v, const char *key, const struct metric *m)
{
    int rc = CL_OK;
    const json_t *answer = json_object_get(v, "answer"), *choices = json_object_get(v, "choices");

    if (!(r->references = calloc(REFERENCES, sizeof *r->references))) return no_memory();
    if (m->takes == METRIC_ALONE) return CL_OK;
    if (!v) return err_set(CL_EDATA, "no references (expected a list of texts under `references`)");
    if (m->takes == METRIC_MATRIX) return read_matrix(r, v);
    if (json_is_object(v) && !answer) return err_set(CL_EDATA, "no `answer` in the object under `%s`", key);
    if (choices) r->options.choices = count_choices(choices);
    if (json_is_object(v)) v = answer;
    if (m->takes == METRIC_CHOICE && !json_is_array(v)) return read_choice(r, v, choices);
    if (!json_is_array(v) || (m->takes == METRIC_BOXES && all_numbers(v))) return add_reference(r, v, key);
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (m->takes == METRIC_CHOICE)
            TRY(read_choice(r, json_array_get(v, i), choices));
        else
            TRY(add_reference(r, json_array_get(v, i), key));
    }
done:
    return rc;
}

/* ---- the rest of a record */

/* The first of some keys that is there. */
static const json_t *first_of(const json_t *o, const char *const *keys, const char **key)
{
    for (; *keys; keys++)
        if (json_object_get(o, *keys)) {
            *key = *keys;
            return json_object_get(o, *keys);
        }
    *key = "references";
    return NULL;
}

static void read_options(struct metric_record *r)
{
    const json_t *size = json_object_get(r->object, "size"), *choices = json_object_get(r->object, "choices");
    struct metric_options *o = &r->options;

    o->question_type = json_string_value(json_object_get(r->object, "question_type"));
    if (!o->question_type) o->question_type = json_string_value(json_object_get(r->object, "answer_type"));
    o->choices = count_choices(choices);
    o->width = json_number_value(json_array_get(size, 0));
    o->height = json_number_value(json_array_get(size, 1));
}

int metric_record_read(struct metric_record *r, const struct metric *m, const char *line)
{
    static const char *const keys[] = {"references", "reference", "answers", "answer", NULL};
    int rc;
    json_error_t e;
    const json_t *prediction, *references;
    const char *key;

    *r = (struct metric_record){.object = json_loads(line, 0, &e)};
    if (!json_is_object(r->object))
        FAIL(CL_EDATA, "%s (expected one JSON object per line)", r->object ? "no object" : e.text);
    r->id = json_object_get(r->object, "id");
    prediction = json_object_get(r->object, "prediction");
    if (!prediction) FAIL(CL_EDATA, "no text under `prediction`");
    read_options(r);
    TRY(text_of(&r->prediction, prediction, "prediction"));
    references = first_of(r->object, keys, &key);
    TRY(read_references(r, references, key, m));
done:
    if (rc) metric_record_free(r);
    return rc;
}

void metric_record_free(struct metric_record *r)
{
    for (int i = 0; r->references && i < r->n; i++) free(r->references[i]);
    free(r->references);
    free(r->prediction);
    json_decref(r->object);
    *r = (struct metric_record){0};
}

/* ---- the result */

static void add_counts(struct text *json, const char *key, const int64_t *v, int64_t n)
{
    text_add(json, ",\"%s\":[", key);
    for (int64_t i = 0; i < n; i++) text_add(json, "%s%lld", i ? "," : "", (long long)v[i]);
    text_add(json, "]");
}

/* One record's sums, added to those of all. */
static int score_parts(const struct metric_record *r, const struct metric *m, struct text *json,
                       struct metric_parts *all)
{
    int rc;
    struct metric_parts p = {0};

    TRY(metric_add_parts(m, &p, r->prediction, (const char *const *)r->references, r->n));
    add_counts(json, "matches", p.match, p.orders);
    add_counts(json, "totals", p.total, p.orders);
    text_add(json, ",\"words\":%lld,\"reference_words\":%lld", (long long)p.words, (long long)p.references);
    for (int i = 0; i < p.orders; i++) all->match[i] += p.match[i], all->total[i] += p.total[i];
    all->words += p.words, all->references += p.references, all->orders = p.orders;
done:
    return rc;
}

int metric_record_score(const struct metric_record *r, const struct metric *m, struct text *json, double *score,
                        struct metric_parts *p)
{
    int rc = CL_OK;
    const char *const *references = (const char *const *)r->references;
    char *id = r->id ? json_dumps(r->id, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("null");

    *score = NAN;
    if (!id) FAIL(CL_ENOMEM, "no memory for a result");
    text_add(json, "{\"id\":%s,\"score\":", id);
    if (m->score) {
        *score = metric_score(m, r->prediction, references, r->n, &r->options);
        if (isnan(*score)) FAIL(CL_ENOMEM, "no memory for a score");
        text_number(json, *score);
    } else {
        TRY(metric_form(m, json, r->prediction, references, r->n, &r->options));
    }
    if (m->parts) TRY(score_parts(r, m, json, p));
    text_add(json, "}");
    if (json->failed) FAIL(CL_ENOMEM, "no memory for a result");
done:
    free(id);
    return rc;
}
