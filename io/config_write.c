/* config_write.c - struct config out again: YAML for people, JSON for checkpoints, the hash, the help. One walk along the
 * option table serves both forms; what it writes reads back to the same values.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_internal.h"
#include "io/err.h"
#include "io/hash.h"

/* ---- one value ---- */

/* Words that some YAML reader takes for something else than text. */
static bool plain_text(const char *s)
{
    char other[64];
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", more[] = "_-./0123456789";

    if (!*s || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/", *s)) return false;
    for (const char *p = s; *p; p++)
        if (!strchr(letters, *p) && !strchr(more, *p)) return false;
    return !text_listed(
        s,
        "null, Null, NULL, true, True, TRUE, false, False, FALSE, yes, Yes, YES, no, No, NO, on, On, ON, "
        "off, Off, OFF, y, Y, n, N",
        other, sizeof other);
}

static void write_value(struct text *t, const struct option *o, const void *base, bool json)
{
    const void *field = (const char *)base + o->at;

    switch (o->kind) {
    case OPT_INT: text_add(t, "%d", *(const int *)field); break;
    case OPT_INT64: text_add(t, "%" PRId64, *(const int64_t *)field); break;
    case OPT_DOUBLE: text_number(t, *(const double *)field); break;
    case OPT_BOOL: text_add(t, *(const bool *)field ? "true" : "false"); break;
    default: {
        const char *s = *(char *const *)field;
        if (!s)
            text_add(t, "null");
        else if (!json && plain_text(s))
            text_add(t, "%s", s);
        else
            text_json(t, s);
    }
    }
}

/* ---- the whole ---- */

/* {name: .., train: ..}: a task stands on one line in both forms. */
static void write_task(struct text *t, const struct task_config *task, bool json)
{
    const char *quote = json ? "\"" : "";

    for (size_t i = 0; i < config_task_option_count; i++) {
        text_add(t, "%s%s%s%s: ", i ? ", " : "{", quote, config_task_options[i].key, quote);
        write_value(t, &config_task_options[i], task, json);
    }
    text_add(t, "}");
}

static void write_tasks(struct text *t, const struct config *c, bool json)
{
    text_add(t, "%s", json ? ", \"tasks\": [" : c->stream.tasks ? "  tasks:\n" : "  tasks: []\n");
    for (int i = 0; i < c->stream.tasks; i++) {
        text_add(t, "%s", !json ? "    - " : i ? ", " : "");
        write_task(t, &c->stream.task[i], json);
        text_add(t, "%s", json ? "" : "\n");
    }
    text_add(t, "%s", json ? "]" : "");
}

/* "stage1:" and "  lr: ", or "}, "stage1": {"lr": ": closes the section that is open and opens the one of key when they
 * differ. open (room KEY): its name, "" at the top. first: nothing was written yet. */
static void write_key(struct text *t, const char *key, char *open, size_t room, bool first, bool json)
{
    const char *dot = strchr(key, '.'), *word = dot ? dot + 1 : key;
    size_t n = dot ? (size_t)(dot - key) : 0;
    bool same = strlen(open) == n && !strncmp(open, key, n);

    if (json && !same && *open) text_add(t, "}");
    if (json && !first) text_add(t, ", ");
    snprintf(open, room, "%.*s", (int)n, key);
    if (json) {
        if (!same && n) text_add(t, "\"%s\": {", open);
        text_add(t, "\"%s\": ", word);
    } else {
        if (!same && n) text_add(t, "%s:\n", open);
        text_add(t, "%s%s: ", n ? "  " : "", word);
    }
}

/* Options of one section stand together in the table, so a section opens and closes as its name changes. */
static int write_all(const struct config *c, bool json, char **text)
{
    struct text t = {0};
    char open[64] = "";

    text_add(&t, json ? "{" : "# every key, paths absolute: the same run again\n");
    for (size_t i = 0; i < config_option_count; i++) {
        write_key(&t, config_options[i].key, open, sizeof open, !i, json);
        write_value(&t, &config_options[i], c, json);
        if (!json) text_add(&t, "\n");
        if (!strcmp(config_options[i].key, "stream.name")) write_tasks(&t, c, json);
    }
    if (json) text_add(&t, "%s}", *open ? "}" : "");
    *text = text_take(&t);
    return *text ? CL_OK : err_set(CL_ENOMEM, "out of memory for the configuration's text");
}

int config_yaml(const struct config *c, char **text)
{
    return write_all(c, false, text);
}

int config_json(const struct config *c, char **text)
{
    return write_all(c, true, text);
}

bool config_value(struct text *t, const struct config *c, const char *key)
{
    const struct option *o = config_find(key);

    if (o) write_value(t, o, c, false);
    return o;
}

/* ---- hash ---- */

/* Of a path only the last part: the same files elsewhere give the same numbers. */
static uint64_t hash_options(uint64_t h, const struct option *options, size_t n, const void *base, struct text *t)
{
    for (size_t i = 0; i < n; i++) {
        if (options[i].decides != OPT_RESULT) continue;
        text_clear(t);
        text_add(t, "%s=", options[i].key);
        size_t value = t->len;
        write_value(t, &options[i], base, true);
        const char *slash = options[i].kind == OPT_PATH && t->s ? strrchr(t->s + value, '/') : NULL;
        h = hash_bytes(h, options[i].key, strlen(options[i].key) + 1);
        if (t->s)
            h = slash ? hash_bytes(h, slash + 1, strlen(slash + 1) + 1)
                      : hash_bytes(h, t->s + value, t->len - value + 1);
    }
    return h;
}

uint64_t config_hash(const struct config *c)
{
    struct text t = {0};
    uint64_t h = hash_options(HASH_BEGIN, config_options, config_option_count, c, &t);

    for (int i = 0; i < c->stream.tasks; i++)
        h = hash_options(h, config_task_options, config_task_option_count, &c->stream.task[i], &t);
    text_free(&t);
    return h;
}

/* ---- help ---- */

static void help_row(FILE *to, const char *prefix, const struct option *o)
{
    struct text t = {0};

    config_expects(&t, o);
    if (!o->initial && o->kind == OPT_NAME)
        text_add(&t, "; required");
    else
        text_add(&t, "; default %s", o->initial ? o->initial : "null");
    fprintf(to, "  %s%-*s  %s\n", prefix, (int)(24 - strlen(prefix)), o->key, o->help);
    fprintf(to, "  %-24s  %s\n", "", t.s ? t.s : "");
    text_free(&t);
}

void config_help(FILE *to)
{
    for (size_t i = 0; i < config_option_count; i++) {
        help_row(to, "", &config_options[i]);
        if (strcmp(config_options[i].key, "stream.name")) continue;
        fprintf(to, "  %-24s  %s\n", "stream.tasks", "the tasks in their order: a list of mappings with the keys");
        for (size_t j = 0; j < config_task_option_count; j++) help_row(to, "  ", &config_task_options[j]);
    }
}
