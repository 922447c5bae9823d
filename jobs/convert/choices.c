/* choices.c - see choices.h. */
#include "jobs/convert/choices.h"

#include <string.h>

#include "io/err.h"

int choices_of(const json_t *o, const char *choice[CHOICES])
{
    const json_t *list = json_object_get(o, "choices");
    const size_t n = json_array_size(list);

    if (!n || n > CHOICES) return -1;
    for (size_t i = 0; i < n; i++)
        if (!(choice[i] = json_string_value(json_array_get(list, i)))) return -1;
    return (int)n;
}

void choices_add(struct text *t, const char *const *choice, int n)
{
    for (int i = 0; i < n; i++) text_add(t, "\n%c. %s", 'A' + i, choice[i]);
}

bool choice_letter(char letter[2], const json_t *o, int n)
{
    const json_t *v = json_object_get(o, "answer");
    const json_int_t i = json_integer_value(v);

    letter[0] = (char)('A' + (int)(i >= 0 && i < n ? i : 0));
    letter[1] = 0;
    return json_is_integer(v) && i >= 0 && i < n;
}

static bool is_own(const char *split)
{
    return !strcmp(split, "train") || !strcmp(split, "val") || !strcmp(split, "test");
}

/* "minitrain", or "choose_txt_minitrain". */
static bool names_split(const char *key, const char *split)
{
    const size_t k = strlen(key), n = strlen(split);

    return k >= n && !strcmp(key + k - n, split) && (k == n || key[k - n - 1] == '_');
}

static int add_ids(struct index *ids, const json_t *list)
{
    char id[ID_ROOM];
    int rc = CL_OK;

    for (size_t i = 0; !rc && i < json_array_size(list); i++)
        if (id_of(id, json_array_get(list, i))) rc = index_add(ids, id, "", 1);
    return rc;
}

static int split_ids(struct convert *c, struct index **ids, const char *const *files)
{
    struct jsonstream *s = NULL;
    char path[PATH_ROOM];
    const char *key;
    json_t *list;
    bool more = true;
    int rc;

    *ids = NULL;
    if (is_own(c->split)) return CL_OK;
    TRY(release_find(c, path, "ids", files));
    TRY(index_new(ids));
    TRY(jsonstream_open(&s, path, JSONSTREAM_KEYED, NULL));
    for (;;) {
        rc = jsonstream_next(s, &key, &list, &more);
        if (rc) {
            err_prefix(rc, "%s", path);
            goto done;
        }
        if (!more) break;
        if (names_split(key, c->split)) TRY(add_ids(*ids, list));
    }
done:
    jsonstream_close(s);
    return rc;
}

bool split_has(const struct convert *c, const struct index *ids, const char *id, const json_t *o)
{
    const char *own = text_of(o, "split");
    size_t at = 0;

    return ids ? index_find(ids, id, &at) != NULL : own && !strcmp(own, c->split);
}

int problems_each(struct convert *c, const char *const *problems, const char *const *splits, convert_one *each)
{
    struct index *ids = NULL;
    char path[PATH_ROOM];
    int rc;

    TRY(split_ids(c, &ids, splits));
    TRY(release_find(c, path, "problems", problems));
    TRY(convert_each(c, path, JSONSTREAM_KEYED, NULL, each, ids));
done:
    index_free(ids);
    return rc;
}
