/* Token ids and labels of every golden sample, from task file to pack, with the set's own tokenizer: exact. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden_file.h"
#include "io/dataset.h"
#include "io/err.h"
#include "io/sample.h"

enum { TASKS = 2, RECORDS = 9 };

static void check_labels(const struct sample *s, const int32_t *labels)
{
    int64_t answers = 0;

    for (int64_t i = 0; i < s->n; i++) answers += labels[i] != -100;
    assert_memory_equal(s->label, labels, (size_t)s->n * sizeof *labels);
    assert_int_equal(s->answers, answers);
    for (int64_t i = 0; i < s->prompt_n; i++) assert_int_equal(labels[i], -100);
    assert_int_not_equal(labels[s->prompt_n], -100);
}

static void check_record(hid_t g, const struct sampler *how, const struct record *r, int task, int i,
                         struct packed_batch *pack)
{
    struct sample s, prompt;
    size_t n;
    int32_t *ids = golden_read_i32(g, &n, "forward/%d/%d/ids", task, i);
    int32_t *labels = golden_read_i32(g, NULL, "forward/%d/%d/labels", task, i);
    int pictures = 0;

    if (sample_make(&s, how, r)) fail_msg("task %d record %d: %s", task, i, err_text());
    assert_int_equal(s.n, n);
    assert_memory_equal(s.id, ids, n * sizeof *ids);
    check_labels(&s, labels);
    for (size_t t = 0; t < n; t++) pictures += ids[t] == how->image_token;
    assert_int_equal(pictures, r->image ? how->patches : 0);
    if (r->image) assert_int_equal(ids[s.picture], how->image_token);
    if (!r->image) assert_int_equal(s.picture, -1);

    assert_int_equal(sample_make_prompt(&prompt, how, r), CL_OK);
    assert_int_equal(prompt.n, s.prompt_n);
    assert_memory_equal(prompt.id, ids, (size_t)prompt.n * sizeof *ids);
    assert_int_equal(batch_add(pack, &s, 0), CL_OK);
    sample_free(&prompt);
    sample_free(&s);
    free(ids);
    free(labels);
}

/* Every answer token is the target of the row before it. */
static void check_pack(const struct packed_batch *p, hid_t g, int task)
{
    assert_int_equal(p->samples, RECORDS);
    for (int i = 0; i < RECORDS; i++) {
        int32_t *labels = golden_read_i32(g, NULL, "forward/%d/%d/labels", task, i);

        for (int64_t k = p->cu_row[i]; k < p->cu_row[i + 1]; k++)
            assert_int_equal(p->target[k], labels[p->row[k] - p->cu[i] + 1]);
        free(labels);
    }
}

static void check_set(const char *set, const char *bos, int patches)
{
    char path[512];
    hid_t g = golden_open(set);
    char *system = golden_attr_string(g, "/", "system"), *template_ = golden_attr_string(g, "/", "template");
    struct tokenizer *tok;
    struct prompt prompt;
    struct packed_batch pack;

    snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/base", set);
    if (tokenizer_open(&tok, path)) fail_msg("%s", err_text());
    assert_int_equal(prompt_make(&prompt, template_, system, true), CL_OK);
    assert_int_equal(batch_new(&pack, RECORDS, 4096), CL_OK);
    const struct sampler how = {.tok = tok,
                                .prompt = &prompt,
                                .bos = tokenizer_id(tok, bos),
                                .eos = tokenizer_id(tok, "</s>"),
                                .image_token = (int32_t)golden_attr(g, "/", "image_token"),
                                .patches = patches,
                                .max_length = 2048};
    for (int task = 0; task < TASKS; task++) {
        const struct dataset_options options = {.use = DATASET_TRAIN};
        struct dataset *ds;

        snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/data/task%d.json", set, task);
        assert_int_equal(dataset_open(&ds, path, &options), CL_OK);
        assert_int_equal(dataset_size(ds), RECORDS);
        batch_clear(&pack);
        for (int i = 0; i < RECORDS; i++) {
            struct record r;

            assert_int_equal(dataset_get(ds, i, &r), CL_OK);
            check_record(g, &how, &r, task, i, &pack);
            record_free(&r);
        }
        check_pack(&pack, g, task);
        dataset_close(ds);
    }
    batch_free(&pack);
    prompt_free(&prompt);
    tokenizer_close(tok);
    free(system);
    free(template_);
    golden_close(g);
}

static void golden_a_sentencepiece(void **state)
{
    (void)state;
    check_set("a", "<s>", 9);
}

static void golden_b_byte_level(void **state)
{
    (void)state;
    check_set("b", "<s>", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_a_sentencepiece),
        cmocka_unit_test(golden_b_byte_level),
    };

    return cmocka_run_group_tests_name("sample_golden", tests, NULL, NULL);
}
