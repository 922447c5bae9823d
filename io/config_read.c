/* config_read.c - YAML into struct config.
 *
 * libyaml builds a tree of nodes with marks; `apply` walks it along the option table. A node is applied under a dotted
 * key: "" for the whole file, "stage1" for a section, "stage1.lr" for a value, "stream.tasks.0" for one task. A --set is
 * the same with the key given. A value of --set is taken as it is typed (`prompt.template=USER: {question}` is text, not a
 * mapping) unless it stands in quotes or its key is a section or the list of tasks.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_internal.h"
#include "io/err.h"
#include "io/yamlfile.h"

enum { KEY = 128 };

struct reader {
    struct config *c;
    yaml_document_t *doc;
    const char *name;   // "run.yaml", or "--set"
    const char *folder; // of relative paths
    bool lines;         // messages name lines
};

static int apply(struct reader *r, const char *key, yaml_node_t *node);

/* ---- messages ---- */

/* "run.yaml:12", or "--set". */
static const char *place(const struct reader *r, const yaml_node_t *node, char *s, size_t room)
{
    if (r->lines)
        snprintf(s, room, "%s:%zu", r->name, node ? node->start_mark.line + 1 : 1);
    else
        snprintf(s, room, "%s", r->name);
    return s;
}

__attribute__((format(printf, 4, 5))) static int refuse(const struct reader *r, const yaml_node_t *node,
                                                        const char *key, const char *fmt, ...)
{
    char what[1400], where[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(CL_ECONFIG, "%s: %s%s%s", place(r, node, where, sizeof where), key, *key ? ": " : "", what);
}

/* The keys that may stand under a section ("" for the top), without repeats, and the one that was perhaps meant. */
static int list_keys(const char *section, const char *wrong, struct text *t, char *meant, size_t room)
{
    size_t skip = *section ? strlen(section) + 1 : 0;
    char last[KEY] = "";

    for (size_t i = 0; i < config_option_count; i++) {
        const char *key = config_options[i].key;
        char word[KEY];
        if (skip && (strncmp(key, section, skip - 1) || key[skip - 1] != '.')) continue;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(key + skip, "."), key + skip);
        if (!strcmp(word, last)) continue;
        text_add(t, "%s%s", t->len ? ", " : "", word);
        snprintf(last, sizeof last, "%s", word);
        if (!strcmp(key, "stream.name") && skip) text_add(t, ", tasks");
    }
    if (t->s) text_listed(wrong, t->s, meant, room);
    return t->failed ? err_set(CL_ENOMEM, "out of memory") : CL_OK;
}

/* A key of another section that has this name: `lr` at the top was meant for stage1 or stage2. */
static const char *elsewhere(const char *word)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const char *dot = strchr(config_options[i].key, '.');
        if (dot && !strcmp(dot + 1, word)) return config_options[i].key;
    }
    return NULL;
}

static int unknown_key(const struct reader *r, const yaml_node_t *node, const char *key)
{
    int rc;
    struct text t = {0};
    char section[KEY] = "", meant[64] = "", hint[256] = "";
    const char *dot = strrchr(key, '.'), *word = dot ? dot + 1 : key;

    if (dot) snprintf(section, sizeof section, "%.*s", (int)(dot - key), key);
    TRY(list_keys(section, word, &t, meant, sizeof meant));
    if (!t.len) { // the section is the fault
        TRY(list_keys("", section, &t, meant, sizeof meant));
        section[0] = 0;
    }
    if (meant[0])
        snprintf(hint, sizeof hint, "; hint: did you mean %s%s%s?", section, *section ? "." : "", meant);
    else if (elsewhere(word))
        snprintf(hint, sizeof hint, "; hint: there is a key %s", elsewhere(word));
    rc = refuse(r, node, key, "unknown key (valid keys%s%s: %s)%s", *section ? " of " : "", section, t.s, hint);
done:
    text_free(&t);
    return rc;
}

static int unknown_task_key(const struct reader *r, const yaml_node_t *node, const char *key)
{
    int rc;
    struct text t = {0};
    char meant[64] = "";

    for (size_t i = 0; i < config_task_option_count; i++)
        text_add(&t, "%s%s", i ? ", " : "", config_task_options[i].key);
    if (t.failed) FAIL(CL_ENOMEM, "out of memory");
    text_listed(strrchr(key, '.') + 1, t.s, meant, sizeof meant);
    rc = refuse(r, node, key, "unknown key (valid keys of a task: %s)%s%s%s", t.s,
                meant[0] ? "; hint: did you mean " : "", meant, meant[0] ? "?" : "");
done:
    text_free(&t);
    return rc;
}

/* ---- nodes ---- */

/* A scalar's text; what a C string cannot hold and what would need a tag's own reading is refused. */
static int scalar(const struct reader *r, const char *key, const yaml_node_t *node, struct config_value *v)
{
    static const char core[] = "tag:yaml.org,2002:";
    const char *tag = (const char *)node->tag;

    if (node->type != YAML_SCALAR_NODE)
        return refuse(r, node, key, "wrong type (got %s, expected a single value)", yamlfile_kind(node));
    if (tag && strncmp(tag, core, sizeof core - 1))
        return refuse(r, node, key, "tags are not known here (got %.100s, expected a plain value)", tag);
    *v = (struct config_value){(const char *)node->data.scalar.value,
                               node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE};
    if (strlen(v->text) != node->data.scalar.length) return refuse(r, node, key, "a NUL character in the value");
    return CL_OK;
}

/* Stores a value and where it was given. */
static int store(struct reader *r, const char *key, const yaml_node_t *node, const struct option *o, void *base,
                 char **where, struct config_value v)
{
    char at[600];

    int rc = config_assign(o, base, v, r->folder);
    if (rc) return err_prefix(rc, "%s: %s", place(r, node, at, sizeof at), key);
    char *s = strdup(place(r, node, at, sizeof at));
    if (!s) return err_set(CL_ENOMEM, "out of memory");
    free(*where);
    *where = s;
    return CL_OK;
}

static int apply_value(struct reader *r, const char *key, yaml_node_t *node, const struct option *o)
{
    struct config_places *p = r->c->internal;
    struct config_value v;
    int rc = scalar(r, key, node, &v);

    return rc ? rc : store(r, key, node, o, r->c, &p->option[o - config_options], v);
}

/* Every pair of a mapping under key. A key that stands twice is refused: one of the values would be lost. */
static int apply_mapping(struct reader *r, const char *key, yaml_node_t *node)
{
    int rc;
    const yaml_node_pair_t *first = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;

    for (const yaml_node_pair_t *p = first; p < end; p++) {
        char child[KEY];
        struct config_value name;
        const yaml_node_t *at = yaml_document_get_node(r->doc, p->key);
        TRY(scalar(r, key, at, &name));
        int n = snprintf(child, sizeof child, "%s%s%s", key, *key ? "." : "", name.text);
        if (n < 0 || (size_t)n >= sizeof child || strchr(name.text, '.') || !*name.text)
            FAIL(CL_ECONFIG, "%s:%zu: unknown key (got %.100s, expected a word without dots, sections nested)", r->name,
                 at->start_mark.line + 1, name.text);
        for (const yaml_node_pair_t *q = first; q < p; q++) {
            const yaml_node_t *other = yaml_document_get_node(r->doc, q->key);
            if (!strcmp((const char *)other->data.scalar.value, name.text))
                TRY(refuse(r, at, child, "key stands twice (first in line %zu)", other->start_mark.line + 1));
        }
        TRY(apply(r, child, yaml_document_get_node(r->doc, p->value)));
    }
    rc = CL_OK;
done:
    return rc;
}

static int apply_tasks(struct reader *r, const char *key, yaml_node_t *node)
{
    int rc;
    struct config_places *p = r->c->internal;
    char child[KEY], at[600];

    if (yamlfile_null(node)) return config_tasks_new(r->c, 0);
    if (node->type != YAML_SEQUENCE_NODE)
        TRY(refuse(r, node, key, "wrong type (got %s, expected a list of tasks)", yamlfile_kind(node)));
    const yaml_node_item_t *first = node->data.sequence.items.start;
    size_t n = (size_t)(node->data.sequence.items.top - first);
    if (n > CONFIG_MAX_TASKS)
        TRY(refuse(r, node, key, "too many tasks (got %zu, expected at most %d)", n, CONFIG_MAX_TASKS));
    free(p->tasks);
    p->tasks = strdup(place(r, node, at, sizeof at));
    if (!p->tasks) FAIL(CL_ENOMEM, "out of memory");
    TRY(config_tasks_new(r->c, (int)n));
    for (size_t i = 0; i < n; i++) {
        snprintf(child, sizeof child, "%s.%zu", key, i);
        TRY(apply(r, child, yaml_document_get_node(r->doc, first[i])));
    }
    rc = CL_OK;
done:
    return rc;
}

/* key: "stream.tasks.0" (a mapping) or "stream.tasks.0.train" (a value); *option NULL for the former. */
static int find_task(const struct reader *r, const yaml_node_t *node, const char *key, int *task,
                     const struct option **option)
{
    static const char list[] = "stream.tasks.";
    char *rest;
    long t = strtol(key + sizeof list - 1, &rest, 10);

    *option = NULL;
    if (rest == key + sizeof list - 1 || (*rest && *rest != '.') || t < 0 || t >= r->c->stream.tasks)
        return refuse(r, node, key, "no such task (expected stream.tasks.N with N from 0 to %d)",
                      r->c->stream.tasks - 1);
    *task = (int)t;
    if (!*rest) return CL_OK;
    for (size_t i = 0; i < config_task_option_count; i++)
        if (!strcmp(rest + 1, config_task_options[i].key)) *option = &config_task_options[i];
    return *option ? CL_OK : unknown_task_key(r, node, key);
}

static int store_task(struct reader *r, const char *key, const yaml_node_t *node, int task, const struct option *o,
                      struct config_value v)
{
    struct config_places *p = r->c->internal;
    size_t i = (size_t)task * config_task_option_count + (size_t)(o - config_task_options);

    return store(r, key, node, o, &r->c->stream.task[task], &p->task[i], v);
}

static int apply_task(struct reader *r, const char *key, yaml_node_t *node)
{
    int rc, task;
    const struct option *o;
    struct config_value v;

    TRY(find_task(r, node, key, &task, &o));
    if (o) {
        TRY(scalar(r, key, node, &v));
        TRY(store_task(r, key, node, task, o, v));
    } else if (node->type == YAML_MAPPING_NODE) {
        TRY(apply_mapping(r, key, node));
    } else {
        rc = refuse(r, node, key, "wrong type (got %s, expected a task such as {name: .., train: .., test: ..})",
                    yamlfile_kind(node));
    }
done:
    return rc;
}

static bool is_section(const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i < config_option_count; i++)
        if (!strncmp(config_options[i].key, key, n) && config_options[i].key[n] == '.') return true;
    return false;
}

static int apply(struct reader *r, const char *key, yaml_node_t *node)
{
    const struct option *o = config_find(key);

    if (o) return apply_value(r, key, node, o);
    if (!strcmp(key, "stream.tasks")) return apply_tasks(r, key, node);
    if (!strncmp(key, "stream.tasks.", strlen("stream.tasks."))) return apply_task(r, key, node);
    if (*key && !is_section(key)) return unknown_key(r, node, key);
    if (yamlfile_null(node)) return CL_OK; // `stage1:` with nothing below it
    if (node->type == YAML_MAPPING_NODE) return apply_mapping(r, key, node);
    return refuse(r, node, key, "wrong type (got %s, expected %s)", yamlfile_kind(node),
                  *key ? "keys and values" : "`key: value` lines");
}

/* ---- sources ---- */

/* Parses text and applies its one document under key. */
static int read_text(struct reader *r, const char *text, size_t len, const char *key)
{
    int rc;
    yaml_document_t doc;

    TRY(yamlfile_parse(&doc, text, len, r->name, r->lines));
    r->doc = &doc;
    yaml_node_t *root = yaml_document_get_root_node(&doc);
    if (root) rc = apply(r, key, root); // an empty file: all defaults
    yaml_document_delete(&doc);
done:
    return rc;
}

int config_read_yaml(struct config *c, const char *text, size_t len, const char *name, const char *folder)
{
    struct reader r = {.c = c, .name = name, .folder = folder, .lines = true};

    return read_text(&r, text, len, "");
}

int config_read_set(struct config *c, const char *set, const char *folder)
{
    struct reader r = {.c = c, .name = "--set", .folder = folder};
    const char *equals = strchr(set, '=');
    char key[KEY];
    int task;
    const struct option *o = NULL;
    struct config_places *p = c->internal;

    if (!equals || equals == set || (size_t)(equals - set) >= sizeof key)
        return err_set(CL_ECONFIG,
                       "--set: no key and value (got %.200s, expected key=value); hint: --set stage2.lr=1e-4", set);
    snprintf(key, sizeof key, "%.*s", (int)(equals - set), set);
    struct config_value v = {equals + 1, true};
    bool quoted = v.text[0] == '"' || v.text[0] == '\'';
    if (quoted) return read_text(&r, v.text, strlen(v.text), key);
    if ((o = config_find(key))) return store(&r, key, NULL, o, c, &p->option[o - config_options], v);
    if (!strncmp(key, "stream.tasks.", strlen("stream.tasks."))) {
        int rc = find_task(&r, NULL, key, &task, &o);
        if (rc) return rc;
        if (o) return store_task(&r, key, NULL, task, o, v);
    }
    return read_text(&r, v.text, strlen(v.text), key);
}
