/* generate.c - the files of the embedded stream: pictures, then the two lists of conversations, renamed when whole. */
#include "demo/generate.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo/generate_tasks.h"
#include "io/err.h"
#include "io/image.h"

enum { MAX_RECORDS = 99999 };

static const struct generate_task domain[GENERATE_TASKS] = {
    {"chart", "exact"}, {"document", "exact"}, {"icon", "exact"}, {"medical", "exact"}};

const struct generate_task *generate_stream_tasks(const char *stream, int *n)
{
    if (strcmp(stream, "domain") != 0) return NULL;
    *n = GENERATE_TASKS;
    return domain;
}

static int check_options(const struct generate_options *o)
{
    int n;

    if (!generate_stream_tasks(o->stream, &n))
        return err_set(CL_EUSAGE, "unknown embedded stream (got \"%s\", expected \"domain\")", o->stream);
    if (o->train < 1 || o->train > MAX_RECORDS || o->test < 1 || o->test > MAX_RECORDS)
        return err_set(CL_EUSAGE, "records per task out of range (got %d train and %d test, expected 1 to %d)",
                       o->train, o->test, MAX_RECORDS);
    return CL_OK;
}

static int make_folder(const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return CL_OK;
    return err_set(CL_EIO, "cannot make the folder %s: %s; hint: its parent must exist and be writable", path,
                   strerror(errno));
}

static int join(char *out, const char *dir, const char *task, const char *file)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s/%s%s%s", dir, task, *file ? "/" : "", file) < PATH_MAX) return CL_OK;
    return err_set(CL_EIO, "path too long: %s/%s/%s", dir, task, file);
}

/* One conversation of the LLaVA form. NULL when memory ends. */
static json_t *conversation(const struct generate_item *item, const char *id, const char *picture, bool test)
{
    char question[GENERATE_QUESTION + 16];
    json_t *record;

    snprintf(question, sizeof question, "<image>\n%s", item->question);
    record = json_pack("{s:s, s:s, s:[{s:s, s:s}, {s:s, s:s}]}", "id", id, "image", picture, "conversations", "from",
                       "human", "value", question, "from", "gpt", "value", item->answer);
    if (record && test) {
        json_t *more = json_pack("{s:s, s:[s]}", "question_type", item->type, "answers", item->answer);

        if (!more || json_object_update_new(record, more)) {
            json_decref(record);
            record = NULL;
        }
    }
    return record;
}

static int write_picture(const char *path, const struct generate_item *item, struct generate_rng *rng)
{
    uint8_t rgb[GENERATE_SIDE * GENERATE_SIDE * 3];
    struct image im = {.width = GENERATE_SIDE, .height = GENERATE_SIDE, .rgb = rgb};

    generate_noise(rgb, &item->canvas, rng, item->deviation);
    return image_write_png(path, &im);
}

/* Draws record i, writes its picture and appends the record to the list. */
static int write_record(FILE *list, const struct generate_options *o, int task, bool test, int i)
{
    struct generate_rng rng = {.state = o->seed};
    struct generate_item item;
    const char *name = generate_task_names[task];
    char path[PATH_MAX], file[64], picture[32], id[48];
    json_t *record = NULL;
    int rc;

    generate_rng_mix(&rng, (uint64_t)task);
    generate_rng_mix(&rng, (uint64_t)test);
    generate_rng_mix(&rng, (uint64_t)i);
    generate_item(&item, task, test, &rng);
    snprintf(picture, sizeof picture, "%s-%05d.png", test ? "test" : "train", i);
    snprintf(file, sizeof file, "images/%s", picture);
    snprintf(id, sizeof id, "%s-%s-%05d", name, test ? "test" : "train", i);
    TRY(join(path, o->dir, name, file));
    TRY(write_picture(path, &item, &rng));
    record = conversation(&item, id, picture, test);
    if (!record) FAIL(CL_ENOMEM, "out of memory for record %s", id);
    if (fputs(i ? ",\n" : "[\n", list) < 0 || json_dumpf(record, list, JSON_COMPACT))
        FAIL(CL_EIO, "cannot write record %s: %s; hint: is the disk full?", id, strerror(errno));
    rc = CL_OK;
done:
    json_decref(record);
    return rc;
}

static int write_split(const struct generate_options *o, int task, bool test)
{
    char path[PATH_MAX], temporary[PATH_MAX + 8];
    FILE *list = NULL;
    int rc, n = test ? o->test : o->train;

    TRY(join(path, o->dir, generate_task_names[task], test ? "test.json" : "train.json"));
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    list = fopen(temporary, "w");
    if (!list) FAIL(CL_EIO, "cannot write %s: %s", temporary, strerror(errno));
    for (int i = 0; i < n; i++) TRY(write_record(list, o, task, test, i));
    if (fputs("\n]\n", list) < 0 || fflush(list) || fsync(fileno(list)))
        FAIL(CL_EIO, "cannot write %s: %s; hint: is the disk full?", temporary, strerror(errno));
    rc = fclose(list);
    list = NULL;
    if (rc || rename(temporary, path)) FAIL(CL_EIO, "cannot write %s: %s", path, strerror(errno));
    rc = CL_OK;
done:
    if (list) {
        fclose(list);
        unlink(temporary);
    }
    return rc;
}

int generate_stream(const struct generate_options *o)
{
    char path[PATH_MAX];
    int rc;

    TRY(check_options(o));
    TRY(make_folder(o->dir));
    for (int task = 0; task < GENERATE_TASKS; task++) {
        TRY(join(path, o->dir, generate_task_names[task], ""));
        TRY(make_folder(path));
        TRY(join(path, o->dir, generate_task_names[task], "images"));
        TRY(make_folder(path));
        TRY(write_split(o, task, false));
        TRY(write_split(o, task, true));
    }
    rc = CL_OK;
done:
    return rc;
}
