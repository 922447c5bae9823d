/* manifest.c - see manifest.h. */
#include "jobs/convert/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonfile.h"

static const char format[] = "cllava-convert";
enum { VERSION = 1 };

int manifest_read(json_t **m, const char *dest)
{
    char path[PATH_ROOM];
    static const char *const texts[] = {"kind", "metric", "images"};
    const char *found;
    int rc;

    *m = NULL;
    TRY(path_print(path, "%s/convert.json", dest));
    TRY(jsonfile_open(m, path));
    found = json_string_value(json_object_get(*m, "format"));
    if (!found || strcmp(found, format) || json_integer_value(json_object_get(*m, "version")) != VERSION)
        FAIL(CL_EFORMAT, "%s is no description of version %d that `cllava convert` wrote", path, VERSION);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!json_is_string(json_object_get(*m, texts[i])))
            FAIL(CL_EFORMAT, "%s: no text under \"%s\"", path, texts[i]);
done:
    if (rc) {
        json_decref(*m);
        *m = NULL;
    }
    return rc;
}

int manifest_check(json_t **old, const struct convert *c, const char *dest, const char *images)
{
    char path[PATH_ROOM];
    const char *kind, *before;
    int rc;

    *old = NULL;
    TRY(path_print(path, "%s/convert.json", dest));
    if (access(path, F_OK)) return CL_OK;
    TRY(manifest_read(old, dest));
    kind = json_string_value(json_object_get(*old, "kind"));
    before = json_string_value(json_object_get(*old, "images"));
    if (strcmp(kind, c->kind->name))
        FAIL(CL_EMISMATCH, "%s holds %s (got %s); hint: another DEST for each task", dest, kind, c->kind->name);
    if (strcmp(before, images) && c->how->n_splits)
        FAIL(CL_EMISMATCH,
             "%s holds samples whose pictures are below %s (got %s); hint: convert all splits in one call, "
             "with an --images for each folder",
             dest, before, images);
done:
    if (rc) {
        json_decref(*old);
        *old = NULL;
    }
    return rc;
}

int manifest_remove(const char *dest)
{
    char path[PATH_ROOM];
    int rc = path_print(path, "%s/convert.json", dest);

    if (!rc && unlink(path) && errno != ENOENT) rc = err_set(CL_EIO, "cannot replace %s: %s", path, strerror(errno));
    return rc;
}

static json_t *left_json(const struct output *o)
{
    json_t *left = json_object();

    for (int why = 0; why < LEFT_REASONS; why++) {
        json_t *first = json_array();

        for (int i = 0; i < EXAMPLES && o->left[why].example[i]; i++)
            json_array_append_new(first, json_string(o->left[why].example[i]));
        if (o->left[why].n)
            json_object_set_new(left, left_names[why],
                                json_pack("{s:I, s:O}", "count", (json_int_t)o->left[why].n, "first", first));
        json_decref(first);
    }
    return left;
}

int manifest_write(const json_t *old, const struct convert *c, const char *dest, const char *images,
                   const struct output *file, int n)
{
    struct output out = {0};
    json_t *files = old ? json_deep_copy(json_object_get(old, "files")) : NULL, *m = NULL;
    char *text = NULL;
    int rc;

    if (!json_is_object(files)) {
        json_decref(files);
        files = json_object();
    }
    for (int i = 0; i < n; i++) {
        char name[PATH_ROOM];

        TRY(path_print(name, "%s.jsonl", file[i].side));
        json_object_set_new(files, file[i].side,
                            json_pack("{s:s, s:s, s:I, s:I, s:o}", "file", name, "split", file[i].split, "samples",
                                      (json_int_t)file[i].written, "with_picture", (json_int_t)file[i].pictures,
                                      "left_out", left_json(&file[i])));
    }
    m = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:O}", "format", format, "version", VERSION, "kind", c->kind->name,
                  "metric", c->kind->metric, "source", c->source, "images", images, "files", files);
    text = m ? json_dumps(m, JSON_INDENT(1)) : NULL;
    if (!text) FAIL(CL_ENOMEM, "out of memory, or a path that is not UTF-8, for %s/convert.json", dest);
    TRY(output_open(&out, dest, "convert.json"));
    TRY(output_bytes(&out, text, strlen(text)));
    TRY(output_finish(&out));
    TRY(output_publish(&out));
done:
    output_close(&out);
    json_decref(files);
    json_decref(m);
    free(text);
    return rc;
}
