/* sweep_spec.c - the file of a sweep, and its runs: every combination of its axes, each with its resolved configuration. */
#include "jobs/sweep.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/hash.h"
#include "io/path.h"
#include "io/yamlfile.h"
#include "jobs/settings.h"

enum { KEY = 128, MOST_RUNS = 10000, MOST_NAME = 96 };

struct spec {
    struct sweep *s;
    yaml_document_t *doc;
};

/* ---- messages and nodes */

static int refuse(const struct spec *p, const yaml_node_t *node, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int refuse(const struct spec *p, const yaml_node_t *node, const char *key, const char *fmt, ...)
{
    char what[1400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(CL_ECONFIG, "%s:%zu: %s%s%s", p->s->file, node->start_mark.line + 1, key, *key ? ": " : "", what);
}

static yaml_node_t *node_at(const struct spec *p, int index)
{
    return yaml_document_get_node(p->doc, index);
}

static int items(const yaml_node_t *list)
{
    return (int)(list->data.sequence.items.top - list->data.sequence.items.start);
}

static const char *scalar_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static int want_scalar(const struct spec *p, const yaml_node_t *node, const char *key)
{
    if (node->type != YAML_SCALAR_NODE)
        return refuse(p, node, key, "wrong type (got %s, expected a single value)", yamlfile_kind(node));
    if (strlen(scalar_of(node)) != node->data.scalar.length)
        return refuse(p, node, key, "a NUL character in the value");
    return CL_OK;
}

static int want_list(const struct spec *p, const yaml_node_t *node, const char *key, const char *of)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(p, node, key, "wrong type (got %s, expected a list of %s)", yamlfile_kind(node), of);
    if (!items(node)) return refuse(p, node, key, "an empty list (expected %s); hint: leave the key out", of);
    return CL_OK;
}

/* Room for one more element. */
static int more(void *list, int n, size_t size, void **at)
{
    char **array = list, *grown = realloc(*array, ((size_t)n + 1) * size);

    if (!grown) return err_set(CL_ENOMEM, "no memory for a sweep");
    *array = grown;
    *at = memset(grown + (size_t)n * size, 0, size);
    return CL_OK;
}

static int copy(char **to, const char *text)
{
    free(*to);
    return (*to = strdup(text)) ? CL_OK : err_set(CL_ENOMEM, "no memory for a sweep");
}

/* ---- values */

/* The text behind --set key=: as typed; quoted when it was; relative paths are those of this file. */
static int set_value(char **out, const struct spec *p, const char *key, const yaml_node_t *node)
{
    struct text t = {0};
    const char *s = scalar_of(node);
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool path = config_is_path(key) && *s && *s != '/' && *s != '~' && !(plain && yamlfile_null(node)) &&
                !(!strcmp(key, "encoder") && !strcmp(s, "base"));

    if (path) {
        text_add(&t, "%s/%s", p->s->folder, s);
    } else if (plain) {
        text_add(&t, "%s", s);
    } else {
        text_json(&t, s);
    }
    *out = text_take(&t);
    return *out ? CL_OK : err_set(CL_ENOMEM, "no memory for a value");
}

static int add_set(const struct spec *p, struct sweep_point *to, const char *key, const yaml_node_t *node)
{
    int rc;
    struct sweep_set *set;

    TRY(want_scalar(p, node, key));
    if (!strcmp(key, "output"))
        TRY(refuse(p, node, key, "each run has a folder of its own; hint: the sweep's `output` says where"));
    for (int i = 0; i < to->sets; i++)
        if (!strcmp(to->set[i].key, key)) TRY(refuse(p, node, key, "given twice (first in line %zu)", to->set[i].line));
    TRY(more(&to->set, to->sets, sizeof *set, (void **)&set));
    to->sets++;
    set->line = node->start_mark.line + 1;
    TRY(copy(&set->key, key));
    TRY(copy(&set->shown, scalar_of(node)));
    TRY(set_value(&set->value, p, key, node));
done:
    return rc;
}

/* What each does with the leaf of a mapping: its dotted key and node. */
typedef int leaf_fn(const struct spec *p, void *context, const char *key, yaml_node_t *node);

/* {stage2: {lr: 1}, pool.rank: 4}: stage2.lr and pool.rank. */
static int each_leaf(const struct spec *p, const char *key, yaml_node_t *node, leaf_fn *each, void *context)
{
    int rc = CL_OK;
    char child[KEY];

    if (node->type != YAML_MAPPING_NODE)
        return refuse(p, node, key, "wrong type (got %s, expected keys and values)", yamlfile_kind(node));
    for (yaml_node_pair_t *q = node->data.mapping.pairs.start; q < node->data.mapping.pairs.top; q++) {
        yaml_node_t *name = node_at(p, q->key), *value = node_at(p, q->value);
        TRY(want_scalar(p, name, key));
        if ((size_t)snprintf(child, sizeof child, "%s%s%s", key, *key ? "." : "", scalar_of(name)) >= sizeof child)
            TRY(refuse(p, name, key, "unknown key (got %.100s)", scalar_of(name)));
        if (value->type == YAML_MAPPING_NODE)
            TRY(each_leaf(p, child, value, each, context));
        else
            TRY(each(p, context, child, value));
    }
done:
    return rc;
}

static int leaf_set(const struct spec *p, void *context, const char *key, yaml_node_t *node)
{
    return add_set(p, context, key, node);
}

/* ---- axes */

static int new_axis(struct sweep *s, struct sweep_axis **axis)
{
    int rc = more(&s->axis, s->axes, sizeof **axis, (void **)axis);

    if (!rc) s->axes++;
    return rc;
}

static int new_point(struct sweep_axis *axis, const yaml_node_t *node, struct sweep_point **point)
{
    int rc = more(&axis->point, axis->points, sizeof **point, (void **)point);

    if (rc) return rc;
    (*point)->index = ++axis->points;
    (*point)->line = node->start_mark.line + 1;
    return CL_OK;
}

/* A key with a list of values. */
static int leaf_axis(const struct spec *p, void *context, const char *key, yaml_node_t *node)
{
    int rc;
    struct sweep_axis *axis = NULL;
    struct sweep_point *point = NULL;

    (void)context;
    TRY(want_list(p, node, key, "values"));
    TRY(new_axis(p->s, &axis));
    for (int i = 0; i < items(node); i++) {
        yaml_node_t *value = node_at(p, node->data.sequence.items.start[i]);
        TRY(new_point(axis, value, &point));
        TRY(add_set(p, point, key, value));
    }
done:
    return rc;
}

static int read_list(const struct spec *p, yaml_node_t *node)
{
    int rc;
    struct sweep_axis *axis = NULL;
    struct sweep_point *point = NULL;

    TRY(want_list(p, node, "list", "mappings {key: value, ..}"));
    TRY(new_axis(p->s, &axis));
    for (int i = 0; i < items(node); i++) {
        yaml_node_t *entry = node_at(p, node->data.sequence.items.start[i]);
        TRY(new_point(axis, entry, &point));
        TRY(each_leaf(p, "", entry, leaf_set, point));
    }
done:
    return rc;
}

static int read_orders(const struct spec *p, yaml_node_t *node)
{
    int rc;
    struct sweep_axis *axis = NULL;
    struct sweep_point *point = NULL;

    TRY(want_list(p, node, "orders", "lists of task names"));
    TRY(new_axis(p->s, &axis));
    for (int i = 0; i < items(node); i++) {
        yaml_node_t *order = node_at(p, node->data.sequence.items.start[i]);
        TRY(want_list(p, order, "orders", "task names"));
        TRY(new_point(axis, order, &point));
        point->order = calloc((size_t)items(order), sizeof *point->order);
        if (!point->order) FAIL(CL_ENOMEM, "no memory for an order");
        for (int k = 0; k < items(order); k++, point->orders++) {
            yaml_node_t *name = node_at(p, order->data.sequence.items.start[k]);
            TRY(want_scalar(p, name, "orders"));
            TRY(copy(&point->order[k], scalar_of(name)));
        }
    }
done:
    return rc;
}

/* ---- the keys of the file */

static int read_path(const struct spec *p, yaml_node_t *node, const char *key, char **out)
{
    int rc;
    char path[PATH_ROOM];
    const char *s;

    TRY(want_scalar(p, node, key));
    s = scalar_of(node);
    if (!*s || *s == '~') TRY(refuse(p, node, key, "no usable path (got '%.200s', expected a path written out)", s));
    TRY(path_print(path, "%s%s%s", *s == '/' ? "" : p->s->folder, *s == '/' ? "" : "/", s));
    TRY(copy(out, path));
done:
    return rc;
}

static int read_number(const struct spec *p, yaml_node_t *node, const char *key, int least, int most, int *out)
{
    char *end = NULL;
    int rc;

    TRY(want_scalar(p, node, key));
    long v = strtol(scalar_of(node), &end, 10);
    if (!*scalar_of(node) || *end || v < least || v > most)
        TRY(refuse(p, node, key, "no such number (got %.100s, expected a whole number from %d to %d)", scalar_of(node),
                   least, most));
    *out = (int)v;
done:
    return rc;
}

static const char spec_keys[] = "base, output, set, grid, list, seeds, orders, jobs, ranks, threads";

static int read_key(const struct spec *p, const yaml_node_t *name, yaml_node_t *node)
{
    struct sweep *s = p->s;
    const char *key = scalar_of(name);
    char meant[64] = "";

    if (!strcmp(key, "base")) return read_path(p, node, key, &s->base);
    if (!strcmp(key, "output")) return read_path(p, node, key, &s->output);
    if (!strcmp(key, "set")) return each_leaf(p, "", node, leaf_set, &s->common);
    if (!strcmp(key, "grid")) return each_leaf(p, "", node, leaf_axis, NULL);
    if (!strcmp(key, "list")) return read_list(p, node);
    if (!strcmp(key, "seeds")) return leaf_axis(p, NULL, "seed", node);
    if (!strcmp(key, "orders")) return read_orders(p, node);
    if (!strcmp(key, "jobs")) return read_number(p, node, key, 1, 1024, &s->jobs);
    if (!strcmp(key, "ranks")) return read_number(p, node, key, 1, 4096, &s->ranks);
    if (!strcmp(key, "threads")) return read_number(p, node, key, 1, 4096, &s->threads);
    text_listed(key, spec_keys, meant, sizeof meant);
    if (meant[0]) return refuse(p, name, key, "unknown key (valid keys: %s); hint: did you mean %s?", spec_keys, meant);
    return refuse(p, name, key,
                  "unknown key (valid keys: %s); hint: keys of the configuration stand below set, grid or list",
                  spec_keys);
}

static int read_spec(struct spec *p)
{
    int rc = CL_OK;
    struct sweep *s = p->s;
    yaml_node_t *root = yaml_document_get_root_node(p->doc);

    if (!root)
        return err_set(CL_ECONFIG, "%s: empty (expected `base: CONFIG`, `output: DIR` and what varies)", s->file);
    if (root->type != YAML_MAPPING_NODE)
        return refuse(p, root, "", "wrong type (got %s, expected `key: value` lines)", yamlfile_kind(root));
    for (yaml_node_pair_t *q = root->data.mapping.pairs.start; q < root->data.mapping.pairs.top; q++) {
        yaml_node_t *name = node_at(p, q->key);
        TRY(want_scalar(p, name, ""));
        for (yaml_node_pair_t *o = root->data.mapping.pairs.start; o < q; o++)
            if (!strcmp(scalar_of(node_at(p, o->key)), scalar_of(name)))
                TRY(refuse(p, name, scalar_of(name), "key stands twice"));
        TRY(read_key(p, name, node_at(p, q->value)));
    }
    if (!s->base)
        FAIL(CL_ECONFIG, "%s: base: missing (expected the configuration of all runs); hint: base: run.yaml", s->file);
    if (!s->output) FAIL(CL_ECONFIG, "%s: output: missing (expected a folder); hint: output: sweeps/first", s->file);
done:
    return rc;
}

/* ---- runs */

/* "stage2.lr" -> "lr", unless another key that differs ends so, too. */
static const char *short_key(const struct sweep *s, const char *key)
{
    const char *dot = strrchr(key, '.'), *word = dot ? dot + 1 : key;

    for (int a = 0; a < s->axes; a++)
        for (int i = 0; i < s->axis[a].points; i++)
            for (int k = 0; k < s->axis[a].point[i].sets; k++) {
                const char *other = s->axis[a].point[i].set[k].key, *d = strrchr(other, '.');
                if (strcmp(other, key) && !strcmp(d ? d + 1 : other, word)) return key;
            }
    return word;
}

/* Letters, digits and . _ + - = , stay; anything else becomes _. */
static void add_plain(struct text *t, const char *s)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-=";

    for (; *s; s++) text_add(t, "%c", strchr(fine, *s) ? *s : '_');
}

/* Readable beginning, hash at the end: unique, and no path whatever the values hold. */
static int name_run(struct sweep_run *r, const struct sweep *s)
{
    int rc;
    struct text name = {0}, changes = {0};

    for (int i = 0; i < r->sets; i++) {
        if (!r->set[i]->differs) continue;
        if (name.len) text_add(&name, ",");
        add_plain(&name, short_key(s, r->set[i]->key));
        add_plain(&name, "=");
        add_plain(&name, r->set[i]->shown);
        text_add(&changes, "%s%s %s", changes.len ? ", " : "", r->set[i]->key, r->set[i]->shown);
    }
    if (r->order) text_add(&name, "%sorder=%d", name.len ? "," : "", r->order);
    for (int t = 0; r->order && t < r->config.stream.tasks; t++)
        text_add(&changes, "%s%s", t ? " > " : changes.len ? ", order " : "order ", r->config.stream.task[t].name);
    if (!name.len) text_add(&name, "run");
    if (*name.s == '.') *name.s = '_';
    if (name.len > MOST_NAME) name.s[name.len = MOST_NAME] = 0;
    text_add(&name, "-%016" PRIx64, r->id);
    if (!changes.len) text_add(&changes, "as the base");
    r->name = text_take(&name), r->changes = text_take(&changes);
    if (!r->name || !r->changes || asprintf(&r->dir, "%s/runs/%s", s->output, r->name) < 0)
        FAIL(CL_ENOMEM, "no memory for the name of a run");
    free(r->config.output);
    if (!(r->config.output = strdup(r->dir))) FAIL(CL_ENOMEM, "no memory for the name of a run");
    rc = CL_OK;
done:
    text_free(&name), text_free(&changes);
    return rc;
}

/* The tasks in another order. */
static int apply_order(struct sweep_run *r, const struct sweep *s, const struct sweep_point *p)
{
    struct config *c = &r->config;
    int T = c->stream.tasks;

    if (p->orders != T)
        return err_set(CL_ECONFIG,
                       "%s:%zu: orders: not all tasks (got %d names, expected each of the stream's %d once)", s->file,
                       p->line, p->orders, T);
    for (int t = 0; t < T; t++) {
        int found = t;
        while (found < T && strcmp(c->stream.task[found].name, p->order[t])) found++;
        if (found == T)
            return err_set(CL_ECONFIG,
                           "%s:%zu: orders: no such task, or twice (got %.100s, expected each of the stream's %d once)",
                           s->file, p->line, p->order[t], T);
        struct task_config kept = c->stream.task[t];
        c->stream.task[t] = c->stream.task[found];
        c->stream.task[found] = kept;
    }
    r->order = p->index;
    return CL_OK;
}

/* What the configuration says of a value stands behind the line of this file that gave it. */
static int place_error(int rc, const struct sweep *s, const struct sweep_run *r)
{
    static const char own[] = "--set: ";
    char text[ERR_ROOM];

    if (strncmp(err_text(), own, sizeof own - 1)) return rc;
    snprintf(text, sizeof text, "%s", err_text() + sizeof own - 1);
    for (int i = r->sets - 1; i >= 0; i--) {
        size_t n = strlen(r->set[i]->key);
        if (!strncmp(text, r->set[i]->key, n) && text[n] == ':')
            return err_set(rc, "%s:%zu: %s", s->file, r->set[i]->line, text);
    }
    return err_set(rc, "%s: %s", s->file, text);
}

/* What decides numbers is in the configuration's hash, save what counts as a place there: another base is another run. */
static uint64_t run_id(const struct sweep_run *r)
{
    uint64_t h = config_hash(&r->config);

    h = hash_bytes(HASH_BEGIN, &h, sizeof h);
    for (int i = 0; i < r->sets; i++) {
        if (config_decides(r->set[i]->key)) continue;
        h = hash_bytes(h, r->set[i]->key, strlen(r->set[i]->key) + 1);
        h = hash_bytes(h, r->set[i]->shown, strlen(r->set[i]->shown) + 1);
    }
    return h;
}

static int collect_sets(struct sweep_run *r, const struct sweep *s, const struct sweep_point *const *points)
{
    int n = s->common.sets;

    for (int a = 0; a < s->axes; a++) n += points[a]->sets;
    if (!(r->set = calloc((size_t)n + 1, sizeof *r->set))) return err_set(CL_ENOMEM, "no memory for a run's values");
    for (int i = 0; i < s->common.sets; i++) r->set[r->sets++] = &s->common.set[i];
    for (int a = 0; a < s->axes; a++)
        for (int i = 0; i < points[a]->sets; i++) {
            for (int k = 0; k < r->sets; k++)
                if (!strcmp(r->set[k]->key, points[a]->set[i].key))
                    return err_set(CL_ECONFIG, "%s:%zu: %s: given twice for one run (also in line %zu)", s->file,
                                   points[a]->set[i].line, r->set[k]->key, r->set[k]->line);
            r->set[r->sets++] = &points[a]->set[i];
        }
    return CL_OK;
}

static int make_run(struct sweep_run *r, const struct sweep *s, const struct sweep_point *const *points)
{
    int rc, n = 0;
    char **sets = NULL;

    TRY(collect_sets(r, s, points));
    if (!(sets = calloc((size_t)r->sets + 2, sizeof *sets))) FAIL(CL_ENOMEM, "no memory for a run's values");
    for (; n < r->sets; n++)
        if (asprintf(&sets[n], "%s=%s", r->set[n]->key, r->set[n]->value) < 0) FAIL(CL_ENOMEM, "no memory for a value");
    if (s->threads && asprintf(&sets[n++], "threads=%d", s->threads) < 0) FAIL(CL_ENOMEM, "no memory for a value");
    rc = settings_load_sets(&r->config, s->base, (const char *const *)sets, (size_t)n,
                            NEED_BASE | NEED_ENCODER | NEED_STREAM | NEED_TRAIN);
    TRY(rc ? place_error(rc, s, r) : CL_OK);
    for (int a = 0; a < s->axes; a++)
        if (points[a]->order) TRY(apply_order(r, s, points[a]));
    r->id = run_id(r);
    TRY(name_run(r, s));
done:
    for (int i = 0; sets && i < n; i++) free(sets[i]);
    free(sets);
    return rc;
}

static int check_alike(const struct sweep *s, const struct sweep_run *r)
{
    for (const struct sweep_run *o = s->run; o < r; o++)
        if (o->id == r->id)
            return err_set(CL_ECONFIG, "%s: two runs are the same (%s; %s); hint: leave one of them out", s->file,
                           o->changes, r->changes);
    return CL_OK;
}

/* Which values differ from run to run. */
static void mark_differences(struct sweep *s)
{
    for (int a = 0; a < s->axes; a++)
        for (int i = 0; i < s->axis[a].points; i++)
            for (int k = 0; k < s->axis[a].point[i].sets; k++)
                s->axis[a].point[i].set[k].differs = s->axis[a].points > 1;
}

/* Every combination; the last axis turns fastest. */
static int expand(struct sweep *s)
{
    int rc = CL_OK, at[s->axes + 1];
    const struct sweep_point *points[s->axes + 1];
    int64_t n = 1;

    for (int a = 0; a < s->axes; a++) {
        at[a] = 0;
        if ((n *= s->axis[a].points) > MOST_RUNS)
            return err_set(CL_ECONFIG, "%s: too many runs (expected at most %d)", s->file, MOST_RUNS);
    }
    mark_differences(s);
    if (!(s->run = calloc((size_t)n, sizeof *s->run))) return err_set(CL_ENOMEM, "no memory for %" PRId64 " runs", n);
    while (s->runs < n) {
        struct sweep_run *r = &s->run[s->runs++];
        for (int a = 0; a < s->axes; a++) points[a] = &s->axis[a].point[at[a]];
        TRY(make_run(r, s, points));
        TRY(check_alike(s, r));
        for (int a = s->axes - 1; a >= 0 && ++at[a] == s->axis[a].points; a--) at[a] = 0;
    }
done:
    return rc;
}

int sweep_load(struct sweep *s, const char *path)
{
    int rc;
    struct text t = {0};
    yaml_document_t doc;
    struct spec p = {s, &doc};

    *s = (struct sweep){.jobs = 1, .ranks = 1};
    TRY(copy(&s->file, path));
    TRY(yamlfile_read(&t, &s->folder, path));
    TRY(yamlfile_parse(&doc, t.s, t.len, path, true));
    rc = read_spec(&p);
    yaml_document_delete(&doc);
    if (!rc) rc = expand(s);
done:
    text_free(&t);
    if (rc) sweep_free(s);
    return rc;
}

static void free_point(struct sweep_point *p)
{
    for (int i = 0; i < p->sets; i++) free(p->set[i].key), free(p->set[i].value), free(p->set[i].shown);
    for (int i = 0; i < p->orders; i++) free(p->order[i]);
    free(p->set), free(p->order);
}

void sweep_free(struct sweep *s)
{
    for (int i = 0; i < s->runs; i++) {
        struct sweep_run *r = &s->run[i];
        free(r->name), free(r->dir), free(r->changes), free(r->set);
        config_free(&r->config);
    }
    for (int a = 0; a < s->axes; a++) {
        for (int i = 0; i < s->axis[a].points; i++) free_point(&s->axis[a].point[i]);
        free(s->axis[a].point);
    }
    free_point(&s->common);
    free(s->run), free(s->axis);
    free(s->file), free(s->folder), free(s->base), free(s->output);
    *s = (struct sweep){0};
}
