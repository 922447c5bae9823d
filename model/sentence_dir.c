/* sentence_dir.c - modules.json and the small configuration files around it. */
#include "model/sentence_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonfile.h"

enum { NO_LIMIT = 1 << 20 };

/* Reads dir/file with a function of its own; a file that is not there is none. */
static int with_file(struct sentence_dir *s, const char *dir, const char *file,
                     int (*read)(struct sentence_dir *s, const struct jsonfile_at *at))
{
    char *path = jsonfile_path(dir, file);
    struct jsonfile_at at;
    json_t *root = NULL;
    int rc = 0;

    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    if (access(path, F_OK)) goto done;
    TRY(jsonfile_open_object(&root, &at, path));
    TRY(read(s, &at));
done:
    json_decref(root);
    free(path);
    return rc;
}

/* ---- pooling */

static int add_pool(struct sentence_dir *s, const struct jsonfile_at *at, const char *key, const char *mode)
{
    static const struct {
        const char *mode;
        enum pooling pool;
    } known[] = {{"cls", POOL_CLS}, {"max", POOL_MAX}, {"mean", POOL_MEAN}, {"mean_sqrt_len_tokens", POOL_MEAN_SQRT}};

    for (size_t i = 0; mode && i < sizeof known / sizeof *known; i++)
        if (!strcmp(mode, known[i].mode) && s->pools < MAX_POOLS) {
            s->pool[s->pools++] = known[i].pool;
            return 0;
        }
    return jsonfile_refuse(at, key, "cls, max, mean or mean_sqrt_len_tokens; hint: other poolings are not supported");
}

/* Old form: one switch per mode. In this order the parts stand in the embedding. */
static int read_switches(struct sentence_dir *s, const struct jsonfile_at *at)
{
    static const char *const key[][2] = {{"pooling_mode_cls_token", "cls"},
                                         {"pooling_mode_max_tokens", "max"},
                                         {"pooling_mode_mean_tokens", "mean"},
                                         {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
                                         {"pooling_mode_weightedmean_tokens", "weightedmean"},
                                         {"pooling_mode_lasttoken", "lasttoken"}};
    int rc = 0;

    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        bool on = false;
        TRY(jsonfile_bool(&on, at, key[i][0]));
        if (on) TRY(add_pool(s, at, key[i][0], key[i][1]));
    }
done:
    return rc;
}

/* New form: pooling_mode is a mode or a list of them. */
static int read_modes(struct sentence_dir *s, const struct jsonfile_at *at)
{
    const json_t *mode = json_object_get(at->object, "pooling_mode");
    int rc = 0;

    if (!json_is_array(mode)) return add_pool(s, at, "pooling_mode", json_string_value(mode));
    for (size_t i = 0; i < json_array_size(mode); i++)
        TRY(add_pool(s, at, "pooling_mode", json_string_value(json_array_get(mode, i))));
done:
    return rc;
}

static int read_pooling(struct sentence_dir *s, const struct jsonfile_at *at)
{
    bool prompt = true;
    int rc;

    TRY(jsonfile_has(at, "pooling_mode") ? read_modes(s, at) : read_switches(s, at));
    TRY(jsonfile_bool(&prompt, at, "include_prompt"));
    if (!prompt) rc = jsonfile_refuse(at, "include_prompt", "true");
done:
    return rc;
}

/* ---- texts */

static int read_limit(struct sentence_dir *s, const struct jsonfile_at *at)
{
    int rc;

    TRY(jsonfile_int(&s->limit, at, "max_seq_length", 1, NO_LIMIT));
    TRY(jsonfile_bool(&s->lower, at, "do_lower_case"));
done:
    return rc;
}

/* Used where max_seq_length is not said; writers put 10^30 for "none". */
static int read_tokenizer_limit(struct sentence_dir *s, const struct jsonfile_at *at)
{
    double limit = 0;
    int rc;

    TRY(jsonfile_real(&limit, at, "model_max_length", 1, 1e300));
    if (limit <= NO_LIMIT) s->limit = (int)limit;
done:
    return rc;
}

static int read_prompt(struct sentence_dir *s, const struct jsonfile_at *at)
{
    struct jsonfile_at prompts;
    const char *name = NULL, *prompt = NULL;
    int rc;

    TRY(jsonfile_section(&prompts, at, "prompts"));
    TRY(jsonfile_text(&name, at, "default_prompt_name"));
    if (!name) return 0;
    TRY(jsonfile_text(&prompt, &prompts, name));
    if (!prompt) return jsonfile_refuse(at, "default_prompt_name", "a key of prompts");
    if (*prompt && !(s->prompt = strdup(prompt))) FAIL(CL_ENOMEM, "out of memory for a prompt");
done:
    return rc;
}

static int read_texts(struct sentence_dir *s, const char *dir)
{
    int rc;

    TRY(with_file(s, s->network, "sentence_roberta_config.json", read_limit)); // what very old versions wrote
    TRY(with_file(s, s->network, "sentence_bert_config.json", read_limit));
    if (!s->limit) TRY(with_file(s, s->network, "tokenizer_config.json", read_tokenizer_limit));
    TRY(with_file(s, dir, "config_sentence_transformers.json", read_prompt));
done:
    return rc;
}

/* ---- modules.json */

/* "dir/path", or dir for "". A path comes from a file that anybody may have written: it must stay inside. */
static int module_folder(char **folder, const char *dir, const char *path, const char *file)
{
    if (*path == '/' || strstr(path, ".."))
        return err_set(CL_EFORMAT, "%s: path \"%s\" leaves the directory", file, path);
    *folder = *path ? jsonfile_path(dir, path) : strdup(dir);
    return *folder ? 0 : err_set(CL_ENOMEM, "out of memory for a path");
}

static int add_module(struct sentence_dir *s, const char *dir, size_t i, const struct jsonfile_at *at)
{
    const char *type = "", *path = "", *kind;
    char *folder = NULL;
    int rc;

    TRY(jsonfile_text(&type, at, "type"));
    TRY(jsonfile_text(&path, at, "path"));
    kind = strrchr(type, '.'); // "sentence_transformers.models.Pooling", or longer
    kind = kind ? kind + 1 : type;
    TRY(module_folder(&folder, dir, path, at->path));
    if (!strcmp(kind, "Transformer") && i == 0) {
        s->network = folder;
        folder = NULL;
    } else if (!strcmp(kind, "Pooling") && i == 1)
        TRY(with_file(s, folder, "config.json", read_pooling));
    else if (!strcmp(kind, "Normalize") && i >= 2)
        s->normalize = true;
    else
        rc = jsonfile_refuse(
            at, "type", "Transformer, Pooling, Normalize in this order; hint: module %zu is not supported there", i);
done:
    free(folder);
    return rc;
}

static int read_modules(struct sentence_dir *s, const char *dir, const char *path)
{
    json_t *root = NULL;
    int rc;

    TRY(jsonfile_open(&root, path));
    if (!json_array_size(root)) FAIL(CL_EFORMAT, "%s is no list of modules", path);
    for (size_t i = 0; i < json_array_size(root); i++) {
        const struct jsonfile_at at = {path, NULL, json_array_get(root, i)};
        TRY(add_module(s, dir, i, &at));
    }
done:
    json_decref(root);
    return rc;
}

int sentence_dir_read(struct sentence_dir *s, const char *dir)
{
    char *path = jsonfile_path(dir, "modules.json");
    int rc;

    *s = (struct sentence_dir){0};
    if (!path) FAIL(CL_ENOMEM, "out of memory for a path");
    if (access(dir, R_OK | X_OK))
        FAIL(CL_EIO, "cannot open the encoder's directory %s: %s; hint: check the path", dir, strerror(errno));
    if (!access(path, F_OK))
        TRY(read_modules(s, dir, path));
    else if (!(s->network = strdup(dir)))
        FAIL(CL_ENOMEM, "out of memory for a path");
    if (!s->pools) s->pool[s->pools++] = POOL_MEAN;
    TRY(read_texts(s, dir));
done:
    free(path);
    return rc;
}

void sentence_dir_free(struct sentence_dir *s)
{
    free(s->network);
    free(s->prompt);
    *s = (struct sentence_dir){0};
}
