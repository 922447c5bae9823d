/* fields.c - values of a record as the kinds need them. */
#include "jobs/convert/convert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

const char *word_of(const json_t *v, char out[ID_ROOM])
{
    struct text t = {0};

    if (json_is_string(v)) return json_string_value(v);
    if (json_is_integer(v)) return snprintf(out, ID_ROOM, "%lld", (long long)json_integer_value(v)), out;
    if (!json_is_real(v)) return NULL;
    text_number(&t, json_real_value(v));
    snprintf(out, ID_ROOM, "%s", t.s ? t.s : "");
    text_free(&t);
    return out;
}

bool id_of(char out[ID_ROOM], const json_t *v)
{
    const char *s = json_string_value(v);

    if (json_is_integer(v)) return snprintf(out, ID_ROOM, "%lld", (long long)json_integer_value(v)), true;
    return s && *s && snprintf(out, ID_ROOM, "%s", s) < ID_ROOM;
}

int texts_of(const json_t *list, const char *out[ANSWERS])
{
    const size_t n = json_array_size(list);

    if (!json_is_array(list) || n > ANSWERS) return -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);

        out[i] = json_is_object(v) ? text_of(v, "answer") : json_string_value(v);
        if (!out[i]) return -1;
    }
    return (int)n;
}

const char *most_common(const char *const *texts, int n)
{
    const char *best = NULL;
    int most = 0;

    for (int i = 0; i < n; i++) {
        int times = 0;

        for (int k = i; k < n; k++) times += !strcmp(texts[i], texts[k]);
        if (times > most) best = texts[i], most = times;
    }
    return best;
}

const char *prompt_of(struct convert *c, const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) s = NULL;
    va_end(ap);
    text_clear(&c->prompt);
    if (s) text_bytes(&c->prompt, s, strlen(s));
    free(s);
    return s && !c->prompt.failed ? c->prompt.s : NULL;
}
