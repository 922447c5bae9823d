/* config_internal.h - what config.c (defaults, checks), config_read.c (YAML in) and config_write.c (YAML, JSON, hash,
 * help out) share: the option table as an array, and where each value was given.
 */
#ifndef CLLAVA_IO_CONFIG_INTERNAL_H
#define CLLAVA_IO_CONFIG_INTERNAL_H

#include "io/config.h"
#include "io/text.h"

enum option_kind { OPT_INT, OPT_INT64, OPT_DOUBLE, OPT_BOOL, OPT_TEXT, OPT_NAME, OPT_WORD, OPT_PATH };
enum option_decides { OPT_PLACE, OPT_RESULT };

struct option {
    const char *key; // dotted: "stage2.lr"
    enum option_kind kind;
    size_t at;           // offset in struct config or struct task_config
    const char *initial; // default as it stands in a file; NULL: null
    double least, most;  // of numbers
    const char *choices; // "cosine, linear, constant"
    enum option_decides decides;
    const char *help;
};

enum { CONFIG_MAX_TASKS = 1024, CONFIG_MAX_NAME = 100 };

extern const struct option config_options[], config_task_options[];
extern const size_t config_option_count, config_task_option_count;

/* Where values were given: "run.yaml:12", or NULL for a default. One string per option, and per option of every task. */
struct config_places {
    char **option; // (config_option_count)
    char **task;   // (tasks * config_task_option_count)
    char *tasks;   // of the list itself
};

/* The option of a dotted key, or NULL. */
const struct option *config_find(const char *key);

/* A value's text as it stands in the file. plain: not in quotes, so that null and true are what they say. */
struct config_value {
    const char *text;
    bool plain;
};

/* Stores a value in the struct at base; folder: what relative paths are relative to. CL_ECONFIG with "wrong .. (got ..,
 * expected ..)", to be prefixed by the place. */
int config_assign(const struct option *o, void *base, struct config_value v, const char *folder);
/* "a whole number from 1 to 4096", "one of pad, crop". */
void config_expects(struct text *t, const struct option *o);
/* Frees what pointers the options of the struct at base hold. */
void config_release(const struct option *options, size_t n, void *base);
/* Puts the list of tasks to n empty ones (defaults), dropping the earlier list. */
int config_tasks_new(struct config *c, int n);

/* One source of values on top of what c holds. name: as messages show it. folder: of relative paths. */
int config_read_yaml(struct config *c, const char *text, size_t len, const char *name, const char *folder);
int config_read_set(struct config *c, const char *set, const char *folder);

#endif
