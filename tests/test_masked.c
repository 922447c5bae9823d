/* test_masked.c - questions without their key parts in batches: the same ids, rows and pictures as those of records that were written
 * without them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "jobs/job.h"
#include "jobs/masked.h"
#include "outcome.h"

/* A record of one or two turns: its picture, key parts, first question, and this without its key parts. All but two ask "What colour
 * is the"; key parts that a record names count alone. */
static const struct {
    bool picture;
    int turns;
    const char *parts, *asked, *masked;
} record[] = {
    {true, 1, NULL, "<image>\\nWhat colour is the ball?", "<image>\n_ _ _ _ ball?"},
    {true, 2, NULL, "what colour is the cube<image>", "_ _ _ _ cube<image>"},
    {false, 1, NULL, "What colour is the sky?", "_ _ _ _ sky?"},
    {false, 2, NULL, "Which shape?", NULL},
    {true, 1, "\"ball\"", "<image>\\nWhat colour is the ball?", "<image>\nWhat colour is the _?"},
    {true, 1, "", "<image>\\nWhat colour is the ball?", NULL},
};
enum { RECORDS = sizeof record / sizeof *record };

static void write_records(const char *dir)
{
    char path[200];

    snprintf(path, sizeof path, "%s/records.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < RECORDS; i++) {
        fprintf(f, "%s{\"id\": \"r%d\", ", i ? ", " : "[", i);
        if (record[i].picture) fprintf(f, "\"image\": \"%s/golden/a/data/images/t0_%d.png\", ", SOURCE_DIR, i);
        if (record[i].parts) fprintf(f, "\"key_parts\": [%s], ", record[i].parts);
        fprintf(f, "\"conversations\": [{\"from\": \"human\", \"value\": \"%s\"}, ", record[i].asked);
        fprintf(f, "{\"from\": \"gpt\", \"value\": \"red %d\"}", i);
        if (record[i].turns > 1)
            fprintf(
                f,
                ", {\"from\": \"human\", \"value\": \"What colour is it?\"}, {\"from\": \"gpt\", \"value\": \"blue\"}");
        fprintf(f, "]}");
    }
    fprintf(f, "]\n");
    assert_int_equal(fclose(f), 0);
}

static void open_data(struct job *j, struct task_data *d, const char *dir)
{
    char text[1000];

    snprintf(text, sizeof text,
             "base: %s/golden/a/base\nstream: {tasks: [{name: t, train: %s/records.json, test: %s/records.json}]}\n"
             "precision: f32\n",
             SOURCE_DIR, dir, dir);
    *j = (struct job){0};
    OK(config_load_text(&j->cfg, text, "text", NULL, 0, 0));
    OK(job_open(j, JOB_RULES));
    OK(task_data_open(d, j, 0, false));
    assert_int_equal(d->n, RECORDS);
}

/* Record i as the file has it, or with the question that is written out above. */
static void add_record(struct packed_batch *b, struct job *j, struct task_data *d, int i, bool masked)
{
    struct record r = {0};
    struct sample s = {0};

    OK(dataset_get(d->ds, i, &r));
    if (masked && record[i].masked) {
        free(r.turn[0].text);
        assert_non_null(r.turn[0].text = strdup(record[i].masked));
    }
    OK(sample_make(&s, &j->sampler, &r));
    OK(batch_add(b, &s, 0));
    sample_free(&s);
    record_free(&r);
}

static void test_batches_are_those_of_masked_records(void **state)
{
    char dir[64];
    struct job j;
    struct task_data d;
    struct packed_batch whole, want, got;
    struct masked_questions *first;
    int64_t longest = 0;

    (void)state;
    assert_int_equal(folder_new(dir), 0);
    write_records(dir);
    open_data(&j, &d, dir);
    OK(masked_open(&d.masked, &d, &j));
    first = d.masked;
    OK(masked_open(&d.masked, &d, &j)); // once
    assert_ptr_equal(d.masked, first);
    OK(batch_new(&whole, RECORDS, RECORDS * 200));
    OK(batch_new(&want, RECORDS, RECORDS * 200));
    OK(batch_new(&got, RECORDS, RECORDS * 200));
    for (int i = 0; i < RECORDS; i++) {
        bool other;
        add_record(&whole, &j, &d, i, false);
        add_record(&want, &j, &d, i, true);
        OK(masked_add(d.masked, i, &got, &whole, i, &other));
        assert_int_equal(other, record[i].masked != NULL);
        if (other && want.cu[i + 1] - want.cu[i] > longest) longest = want.cu[i + 1] - want.cu[i];
    }
    assert_int_equal(masked_longest(d.masked), longest);
    assert_true(got.n == want.n && got.rows == want.rows && got.pictures == want.pictures && got.pictures == 4);
#define SAME(field, n) assert_memory_equal(got.field, want.field, (size_t)(n) * sizeof *got.field)
    SAME(cu, RECORDS + 1), SAME(cu_row, RECORDS + 1), SAME(id, want.n), SAME(pos, want.n), SAME(row, want.rows);
    SAME(target, want.rows), SAME(picture_at, want.pictures), SAME(picture_sample, want.pictures);
#undef SAME
    batch_free(&whole), batch_free(&want), batch_free(&got);
    task_data_close(&d);
    job_close(&j);
    assert_int_equal(folder_remove(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_batches_are_those_of_masked_records)};
    return cmocka_run_group_tests_name("masked", tests, NULL, NULL);
}
