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

/* A stream is a range of tasks (generate_tasks.h). */
static const struct stream {
    const char *name;
    int first, n;
} streams[] = {
    {"domain", GENERATE_CHART, GENERATE_CONVERSATION - GENERATE_CHART},
    {"capability", GENERATE_CONVERSATION, GENERATE_SCIENCE - GENERATE_CONVERSATION},
    {"dataset", GENERATE_SCIENCE, GENERATE_TASKS - GENERATE_SCIENCE},
};
enum { STREAMS = sizeof streams / sizeof *streams };

static const struct stream *find_stream(const char *name)
{
    for (size_t i = 0; i < STREAMS; i++)
        if (!strcmp(name, streams[i].name)) return &streams[i];
    return NULL;
}

int generate_stream_tasks(const char *stream, struct generate_task task[GENERATE_MOST_TASKS])
{
    const struct stream *s = find_stream(stream);

    for (int i = 0; s && i < s->n; i++)
        task[i] = (struct generate_task){generate_task_name(s->first + i), generate_task_metric(s->first + i)};
    return s ? s->n : 0;
}

static int check_options(const struct generate_options *o)
{
    if (!find_stream(o->stream))
        return err_set(CL_EUSAGE, "unknown embedded stream (got \"%s\", expected one of " GENERATE_STREAMS ")",
                       o->stream);
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

/* Puts what a human asks and a model answers behind the turns. */
static bool add_turns(json_t *turns, const char *question, const char *answer)
{
    return !json_array_append_new(turns, json_pack("{s:s, s:s}", "from", "human", "value", question)) &&
           !json_array_append_new(turns, json_pack("{s:s, s:s}", "from", "gpt", "value", answer));
}

/* One conversation of the LLaVA form. NULL when memory ends. */
static json_t *conversation(const struct generate_item *item, const char *id, const char *picture, bool test)
{
    char question[GENERATE_QUESTION + 16];
    json_t *turns = json_array(), *record;
    bool whole;

    snprintf(question, sizeof question, "<image>\n%s", item->question);
    whole = add_turns(turns, question, item->answer) &&
            (!*item->next_question || add_turns(turns, item->next_question, item->next_answer));
    record = json_pack("{s:s, s:s, s:o}", "id", id, "image", picture, "conversations", turns);
    if (record && whole && test) {
        json_t *more = json_pack("{s:s, s:[s]}", "question_type", item->type, "answers", item->answer);

        whole = more && !json_object_update_new(record, more);
    }
    if (whole) return record;
    json_decref(record);
    return NULL;
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
    const char *name = generate_task_name(task);
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

    TRY(join(path, o->dir, generate_task_name(task), test ? "test.json" : "train.json"));
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
    const struct stream *s = find_stream(o->stream);

    TRY(check_options(o));
    TRY(make_folder(o->dir));
    for (int task = s->first; task < s->first + s->n; task++) {
        TRY(join(path, o->dir, generate_task_name(task), ""));
        TRY(make_folder(path));
        TRY(join(path, o->dir, generate_task_name(task), "images"));
        TRY(make_folder(path));
        TRY(write_split(o, task, false));
        TRY(write_split(o, task, true));
    }
    rc = CL_OK;
done:
    return rc;
}
