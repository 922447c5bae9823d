/* config.c - defaults, sources in their order, then what only the whole can tell: required keys, cross-checks, paths. */
#include "io/config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/config_internal.h"
#include "io/config_options.h"
#include "io/err.h"
#include "io/yamlfile.h"

#define ROW(kind, key, field, initial, least, most, choices, decides, help)                                            \
    {key, OPT_##kind, offsetof(struct OWNER, field), initial, least, most, choices, OPT_##decides, help},
#define OWNER config
const struct option config_options[] = {CONFIG_OPTIONS(ROW)};
#undef OWNER
#define OWNER task_config
const struct option config_task_options[] = {TASK_OPTIONS(ROW)};
#undef OWNER
const size_t config_option_count = sizeof config_options / sizeof *config_options;
const size_t config_task_option_count = sizeof config_task_options / sizeof *config_task_options;

const struct option *config_find(const char *key)
{
    for (size_t i = 0; i < config_option_count; i++)
        if (!strcmp(config_options[i].key, key)) return &config_options[i];
    return NULL;
}

const char *config_key(size_t i)
{
    return i < config_option_count ? config_options[i].key : NULL;
}

bool config_is_path(const char *key)
{
    const struct option *o = config_find(key);

    return o && o->kind == OPT_PATH;
}

bool config_decides(const char *key)
{
    const struct option *o = config_find(key);

    return o && o->decides == OPT_RESULT;
}

/* ---- one value ---- */

static bool is_text(enum option_kind kind)
{
    return kind == OPT_TEXT || kind == OPT_NAME || kind == OPT_WORD || kind == OPT_PATH;
}

void config_expects(struct text *t, const struct option *o)
{
    switch (o->kind) {
    case OPT_INT:
    case OPT_INT64: text_add(t, "a whole number from %.15g to %.15g", o->least, o->most); break;
    case OPT_DOUBLE: text_add(t, "a number from %.15g to %.15g", o->least, o->most); break;
    case OPT_BOOL: text_add(t, "true or false"); break;
    case OPT_TEXT: text_add(t, "text"); break;
    case OPT_NAME: text_add(t, "a name of letters, digits, - _ . that does not begin with a dot"); break;
    case OPT_WORD: text_add(t, "one of %s", o->choices); break;
    case OPT_PATH: text_add(t, "a path%s%s", o->choices ? " or " : "", o->choices ? o->choices : ""); break;
    }
    if (!o->initial && o->kind != OPT_NAME) text_add(t, ", or null"); // a name without a default is required
}

/* "wrong value (got 'x', expected one of ..); hint: did you mean ..?" */
static int refuse(const struct option *o, const char *what, struct config_value v)
{
    struct text t = {0};
    char meant[64] = "";

    config_expects(&t, o);
    if (o->kind == OPT_WORD) text_listed(v.text, o->choices, meant, sizeof meant);
    if (meant[0]) text_add(&t, "); hint: did you mean %s?", meant);
    char *s = text_take(&t);
    if (!s) return err_set(CL_ENOMEM, "out of memory");
    err_set(CL_ECONFIG, "%s (got %s%.200s%s, expected %s%s", what, v.plain ? "" : "the text '", v.text,
            v.plain ? "" : "'", s, meant[0] ? "" : ")");
    free(s);
    return CL_ECONFIG;
}

static bool is_null(struct config_value v)
{
    char other[64];

    return v.plain &&
           (!*v.text || !strcmp(v.text, "~") || text_listed(v.text, "null, Null, NULL", other, sizeof other));
}

/* Decimal or 0x; digits may be grouped by _ as YAML 1.1 allows. A leading 0 would be octal there: refused. */
static bool parse_whole(const char *s, int64_t *out)
{
    char digits[32], *end;
    size_t n = 0;
    const char *first = s + (*s == '-' || *s == '+');
    bool hex = first[0] == '0' && (first[1] == 'x' || first[1] == 'X');

    if (!isdigit((unsigned char)*first) || (!hex && first[0] == '0' && first[1])) return false;
    for (; *s; s++) {
        if (*s == '_') continue;
        if (n + 1 >= sizeof digits) return false;
        digits[n++] = *s;
    }
    digits[n] = 0;
    errno = 0;
    *out = strtoll(digits, &end, hex ? 16 : 10);
    return !*end && !errno;
}

static bool parse_number(const char *s, double *out)
{
    char *end;

    if (!*s || s[strspn(s, "+-0123456789.eE")]) return false; // no hex, inf, nan
    errno = 0;
    *out = strtod(s, &end);
    return !*end && isfinite(*out);
}

static bool parse_bool(const char *s, bool *out)
{
    char other[64];

    *out = text_listed(s, "true, True, TRUE, yes, Yes, YES, on, On, ON, y, Y", other, sizeof other);
    return *out || text_listed(s, "false, False, FALSE, no, No, NO, off, Off, OFF, n, N", other, sizeof other);
}

/* Names become parts of file names: nothing that leaves the folder, hides the file or needs quoting. */
static bool parse_name(const char *s)
{
    size_t n = strlen(s);

    return n && n <= CONFIG_MAX_NAME && s[0] != '.' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* Absolute, without trailing slashes. */
static char *resolve(const char *path, const char *folder)
{
    struct text t = {0};

    while (path[0] == '.' && path[1] == '/') path += 2 + strspn(path + 2, "/");
    if (path[0] != '/') text_add(&t, "%s/", strcmp(folder, "/") ? folder : "");
    text_add(&t, "%s", !strcmp(path, ".") ? "" : path);
    while (t.len > 1 && t.s[t.len - 1] == '/') t.s[--t.len] = 0;
    return text_take(&t);
}

static int assign_text(const struct option *o, char **field, struct config_value v, const char *folder)
{
    char meant[64];
    char *s;

    if (o->kind == OPT_WORD && !text_listed(v.text, o->choices, meant, sizeof meant))
        return refuse(o, "unknown value", v);
    if (o->kind == OPT_NAME && !parse_name(v.text)) return refuse(o, "no usable name", v);
    if (o->kind == OPT_PATH && !*v.text) return refuse(o, "empty path", v);
    if (o->kind == OPT_PATH && v.text[0] == '~')
        return err_set(CL_ECONFIG, "~ is not expanded (got %.200s, expected a path); hint: write the folder out",
                       v.text);
    if (o->kind == OPT_PATH && !(o->choices && text_listed(v.text, o->choices, meant, sizeof meant)))
        s = resolve(v.text, folder);
    else
        s = strdup(v.text);
    if (!s) return err_set(CL_ENOMEM, "out of memory");
    free(*field);
    *field = s;
    return CL_OK;
}

static int assign_number(const struct option *o, void *field, struct config_value v)
{
    int64_t whole = 0;
    double number = 0;

    if (!v.plain || !(o->kind == OPT_DOUBLE ? parse_number(v.text, &number) : parse_whole(v.text, &whole)))
        return refuse(o, "wrong type", v);
    if (o->kind != OPT_DOUBLE) number = (double)whole;
    if (number < o->least || number > o->most) return refuse(o, "out of range", v);
    if (o->kind == OPT_DOUBLE) *(double *)field = number;
    if (o->kind == OPT_INT) *(int *)field = (int)whole;
    if (o->kind == OPT_INT64) *(int64_t *)field = whole;
    return CL_OK;
}

int config_assign(const struct option *o, void *base, struct config_value v, const char *folder)
{
    void *field = (char *)base + o->at;

    if (is_null(v)) {
        if (o->initial) return refuse(o, "empty value", (struct config_value){"null", true});
        free(*(char **)field);
        *(char **)field = NULL;
        return CL_OK;
    }
    if (is_text(o->kind)) return assign_text(o, field, v, folder);
    if (o->kind == OPT_BOOL) return v.plain && parse_bool(v.text, field) ? CL_OK : refuse(o, "wrong type", v);
    return assign_number(o, field, v);
}

void config_release(const struct option *options, size_t n, void *base)
{
    for (size_t i = 0; i < n; i++) {
        char **field = (char **)((char *)base + options[i].at);
        if (!is_text(options[i].kind)) continue;
        free(*field);
        *field = NULL;
    }
}

static int set_defaults(const struct option *options, size_t n, void *base)
{
    int rc;

    for (size_t i = 0; i < n; i++)
        if (options[i].initial)
            TRY(config_assign(&options[i], base, (struct config_value){options[i].initial, true}, ""));
    rc = CL_OK;
done:
    return rc;
}

/* ---- tasks and places ---- */

static void tasks_free(struct config *c)
{
    struct config_places *p = c->internal;

    for (int i = 0; i < c->stream.tasks; i++)
        config_release(config_task_options, config_task_option_count, &c->stream.task[i]);
    for (size_t i = 0; p->task && i < (size_t)c->stream.tasks * config_task_option_count; i++) free(p->task[i]);
    free(p->task);
    free(c->stream.task);
    p->task = NULL;
    c->stream.task = NULL;
    c->stream.tasks = 0;
}

int config_tasks_new(struct config *c, int n)
{
    int rc;
    struct config_places *p = c->internal;

    tasks_free(c);
    if (!n) return CL_OK;
    c->stream.task = calloc((size_t)n, sizeof *c->stream.task);
    p->task = calloc((size_t)n * config_task_option_count, sizeof *p->task);
    if (!c->stream.task || !p->task) FAIL(CL_ENOMEM, "out of memory for %d tasks", n);
    c->stream.tasks = n;
    for (int i = 0; i < n; i++) TRY(set_defaults(config_task_options, config_task_option_count, &c->stream.task[i]));
    rc = CL_OK;
done:
    return rc;
}

void config_free(struct config *c)
{
    struct config_places *p = c->internal;

    if (!p) return;
    tasks_free(c);
    config_release(config_options, config_option_count, c);
    for (size_t i = 0; p->option && i < config_option_count; i++) free(p->option[i]);
    free(p->option);
    free(p->tasks);
    free(p);
    free(c->file);
    *c = (struct config){0};
}

static int begin(struct config *c, const char *name)
{
    int rc;
    struct config_places *p = calloc(1, sizeof *p);

    *c = (struct config){.internal = p};
    if (!p) return err_set(CL_ENOMEM, "out of memory");
    p->option = calloc(config_option_count, sizeof *p->option);
    c->file = strdup(name);
    if (!p->option || !c->file) FAIL(CL_ENOMEM, "out of memory");
    TRY(set_defaults(config_options, config_option_count, c));
done:
    return rc;
}

/* Where a key's value comes from, NULL for a default. Keys of tasks: "stream.tasks.0.metric". */
static const char *place_of(const struct config *c, const char *key)
{
    const struct config_places *p = c->internal;
    const struct option *o = config_find(key);
    static const char list[] = "stream.tasks";
    char *rest;

    if (o) return p->option[o - config_options];
    if (strncmp(key, list, sizeof list - 1)) return NULL;
    if (key[sizeof list - 1] != '.') return p->tasks;
    long t = strtol(key + sizeof list, &rest, 10);
    for (size_t i = 0; *rest == '.' && t >= 0 && t < c->stream.tasks && i < config_task_option_count; i++)
        if (!strcmp(rest + 1, config_task_options[i].key) && p->task[(size_t)t * config_task_option_count + i])
            return p->task[(size_t)t * config_task_option_count + i];
    return p->tasks;
}

int config_error(const struct config *c, const char *key, const char *fmt, ...)
{
    char what[1200];
    const char *place = place_of(c, key);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(CL_ECONFIG, "%s: %s: %s", place ? place : c->file, key, what);
}

int config_check_listed(const struct config *c, const char *key, const char *value, const char *list)
{
    char meant[64];

    if (text_listed(value, list, meant, sizeof meant)) return CL_OK;
    return config_error(c, key, "unknown value (got %.200s, expected one of %s)%s%s%s", value, list,
                        meant[0] ? "; hint: did you mean " : "", meant, meant[0] ? "?" : "");
}

/* ---- checks of the whole ---- */

static int check_names(const struct config *c)
{
    char key[64];

    for (int i = 0; i < c->stream.tasks; i++) {
        snprintf(key, sizeof key, "stream.tasks.%d.name", i);
        if (!c->stream.task[i].name)
            return config_error(c, key,
                                "missing (expected a name for every task); hint: {name: chartqa, train: .., test: ..}");
        for (int j = 0; j < i; j++)
            if (!strcmp(c->stream.task[i].name, c->stream.task[j].name))
                return config_error(c, key,
                                    "name is used twice (got %s for tasks %d and %d, expected names that differ)",
                                    c->stream.task[i].name, j, i);
    }
    return CL_OK;
}

enum entry { ENTRY_FILE, ENTRY_FOLDER };

/* The path of a key exists and is what it should be. */
static int check_path(const struct config *c, const char *key, const char *path, enum entry want, const char *what)
{
    struct stat st;

    if (!path)
        return config_error(c, key, "missing (expected %s %s); hint: %s: PATH",
                            want == ENTRY_FILE ? "a file:" : "a folder:", what, key);
    if (stat(path, &st)) return config_error(c, key, "%s (got %.900s, expected %s)", strerror(errno), path, what);
    if (want == ENTRY_FOLDER ? !S_ISDIR(st.st_mode) : S_ISDIR(st.st_mode))
        return config_error(c, key, "%s (got %.900s, expected %s)",
                            want == ENTRY_FOLDER ? "not a folder" : "is a folder", path, what);
    if (access(path, R_OK | (want == ENTRY_FOLDER ? X_OK : 0)))
        return config_error(c, key, "%s (got %.900s, expected %s)", strerror(errno), path, what);
    return CL_OK;
}

static int check_task(const struct config *c, int i, unsigned needs)
{
    int rc;
    const struct task_config *t = &c->stream.task[i];
    char key[64];

    snprintf(key, sizeof key, "stream.tasks.%d.test", i);
    TRY(check_path(c, key, t->test, ENTRY_FILE, "test records"));
    snprintf(key, sizeof key, "stream.tasks.%d.train", i);
    if (needs & NEED_TRAIN) TRY(check_path(c, key, t->train, ENTRY_FILE, "training records"));
    snprintf(key, sizeof key, "stream.tasks.%d.images", i);
    if (t->images) TRY(check_path(c, key, t->images, ENTRY_FOLDER, "the folder of the pictures"));
    rc = CL_OK;
done:
    return rc;
}

/* The run directory exists or can be made: its nearest existing ancestor is a folder that may be written. */
static int check_output(const struct config *c)
{
    int rc = CL_OK;
    struct stat st;
    char *path = strdup(c->output), *slash;

    if (!path) FAIL(CL_ENOMEM, "out of memory");
    while (stat(path, &st) && errno == ENOENT && (slash = strrchr(path, '/')) && slash != path) *slash = 0;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        TRY(config_error(c, "output", "cannot be a run directory (got %.900s, expected a folder, there or to be made)",
                         path));
    if (access(path, W_OK | X_OK))
        TRY(config_error(c, "output", "cannot write to %.900s: %s; hint: name another run directory", path,
                         strerror(errno)));
done:
    free(path);
    return rc;
}

static int check_paths(const struct config *c, unsigned needs)
{
    int rc;
    bool by_base = !strcmp(c->encoder, "base");

    if (needs & NEED_BASE || (needs & NEED_ENCODER && by_base))
        TRY(check_path(c, "base", c->base, ENTRY_FOLDER, "a Hugging Face LLaVA model"));
    if (needs & NEED_ENCODER && !by_base)
        TRY(check_path(c, "encoder", c->encoder, ENTRY_FOLDER, "a sentence-transformers model, or `base`"));
    if (needs & (NEED_STREAM | NEED_TRAIN) && !c->stream.tasks)
        return config_error(c, "stream.tasks",
                            "no tasks; hint: stream: {tasks: [{name: .., train: .., test: .., images: ..}]}");
    for (int i = 0; needs & (NEED_STREAM | NEED_TRAIN) && i < c->stream.tasks; i++) TRY(check_task(c, i, needs));
    if (needs & NEED_TRAIN && c->pool.init) TRY(check_path(c, "pool.init", c->pool.init, ENTRY_FILE, "a checkpoint"));
    if (needs & NEED_OUTPUT) TRY(check_output(c));
    rc = CL_OK;
done:
    return rc;
}

/* Values that follow from others: the run directory. */
static int derive(struct config *c, const char *folder)
{
    if (c->output) return CL_OK;
    if (asprintf(&c->output, "%s/runs/%s", strcmp(folder, "/") ? folder : "", c->stream.name) >= 0) return CL_OK;
    c->output = NULL;
    return err_set(CL_ENOMEM, "out of memory");
}

/* ---- loading ---- */

/* sets on top of c, then everything that concerns the whole. folder: of the first source. */
static int finish(struct config *c, const char *folder, const char *const *sets, size_t n, unsigned needs)
{
    int rc;
    char *here = realpath(".", NULL);

    if (!here) FAIL(CL_EIO, "working folder: %s", strerror(errno));
    for (size_t i = 0; i < n; i++) TRY(config_read_set(c, sets[i], here));
    TRY(derive(c, folder ? folder : here));
    TRY(check_names(c));
    TRY(check_paths(c, needs));
done:
    free(here);
    return rc;
}

int config_load(struct config *c, const char *yaml_path, const char *const *sets, size_t n, unsigned needs)
{
    int rc;
    char *folder = NULL;
    struct text t = {0};

    TRY(begin(c, yaml_path));
    TRY(yamlfile_read(&t, &folder, yaml_path));
    TRY(config_read_yaml(c, t.s, t.len, yaml_path, folder));
    TRY(finish(c, folder, sets, n, needs));
done:
    if (rc) config_free(c);
    free(folder);
    text_free(&t);
    return rc;
}

int config_load_text(struct config *c, const char *text, const char *name, const char *const *sets, size_t n,
                     unsigned needs)
{
    int rc;
    char *here = realpath(".", NULL);

    *c = (struct config){0};
    if (!here) FAIL(CL_EIO, "working folder: %s", strerror(errno));
    TRY(begin(c, name));
    TRY(config_read_yaml(c, text, strlen(text), name, here));
    TRY(finish(c, NULL, sets, n, needs));
done:
    if (rc) config_free(c);
    free(here);
    return rc;
}
