/* What coordinator and leaders say to each other reads back as it was written; what is cut short or does not fit is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "jobs/crew_messages.h"

enum { SAMPLES = 3, SLOTS = 2 };

/* Two samples with a picture in the second, one prompt without. */
static void fill(struct packed_batch *b, int room, int64_t tokens)
{
    static const int32_t ids[] = {5, 6, 7, 8, 9};
    int32_t labels[] = {-100, -100, 7, -100, 9};
    struct sample s = {.id = (int32_t *)(uintptr_t)ids, .label = labels, .n = 5, .prompt_n = 2, .picture = -1};

    assert_int_equal(batch_new(b, room, tokens), 0);
    assert_int_equal(batch_add(b, &s, 0), 0);
    s.picture = 1, s.n = 4;
    assert_int_equal(batch_add(b, &s, 0), 0);
    s.picture = 0;
    assert_int_equal(batch_add(b, &s, 1), 0);
}

static void same_packs(const struct packed_batch *a, const struct packed_batch *b)
{
    assert_int_equal(a->samples, b->samples);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->pictures, b->pictures);
#define SAME(field, count) assert_memory_equal(a->field, b->field, (size_t)(count) * sizeof *a->field)
    SAME(cu, a->samples + 1), SAME(cu_row, a->samples + 1), SAME(id, a->n), SAME(pos, a->n), SAME(row, a->rows);
    SAME(target, a->rows), SAME(picture_at, a->pictures), SAME(picture_sample, a->pictures);
#undef SAME
}

static void micro_batches(void **state)
{
    struct packed_batch in, out;
    const char *path[] = {"/a/b c.png", "/ä.jpg"}, *got[SAMPLES];
    float coef[SAMPLES * SLOTS] = {0.5f, 0, -1, 2, 3, 4};
    struct message m = {0};
    (void)state;
    fill(&in, SAMPLES, 16);
    assert_int_equal(batch_new(&out, SAMPLES, 16), 0);
    crew_begin_message(&m, CREW_RUN);
    for (int twice = 0; twice < 2; twice++)
        crew_put_micro(&m, &(struct crew_micro){.pack = &in, .picture = path, .coef = coef}, SLOTS);
    assert_int_equal(message_int(&m), CREW_RUN);
    for (int twice = 0; twice < 2; twice++) {
        struct crew_micro k = {.pack = &out, .picture = got};
        assert_int_equal(crew_take_micro(&m, &k, SLOTS), CL_OK);
        same_packs(&in, &out);
        assert_string_equal(got[0], path[0]);
        assert_string_equal(got[1], path[1]);
        assert_memory_equal(k.coef, coef, sizeof coef);
    }
    assert_false(message_more(&m));
    message_free(&m);
    batch_free(&in), batch_free(&out);
}

/* With masked questions beside them, for which there must be room; what came of them. */
static void listening(void **state)
{
    struct packed_batch in, masked, out, room;
    const char *path[] = {"a", "b"}, *got[SAMPLES];
    float coef[SAMPLES * SLOTS] = {0};
    struct message m = {0};
    struct heard h = {0.25, 1.5, 7};
    (void)state;
    fill(&in, SAMPLES, 16), fill(&masked, SAMPLES, 20);
    masked.id[1] = 77;
    assert_int_equal(batch_new(&out, SAMPLES, 16), 0);
    assert_int_equal(batch_new(&room, SAMPLES, 20), 0);
    for (int with = 0; with < 2; with++) {
        struct crew_micro k = {.pack = &out, .picture = got, .masked = with ? &room : NULL};
        message_clear(&m);
        crew_put_micro(
            &m, &(struct crew_micro){.pack = &in, .picture = path, .coef = coef, .listening = {&masked, 0.5f, 0.25f}},
            SLOTS);
        assert_int_equal(crew_take_micro(&m, &k, SLOTS), with ? CL_OK : CL_EMPI);
        if (!with) continue;
        assert_true(k.listening.masked == &room && k.listening.weight == 0.5f && k.listening.margin == 0.25f);
        same_packs(&masked, &room);
        assert_false(message_more(&m));
    }
    message_clear(&m);
    crew_put_heard(&m, &h);
    h = crew_take_heard(&m);
    assert_true(h.jsd == 0.25 && h.missing == 1.5 && h.rows == 7 && !message_more(&m));
    message_free(&m);
    batch_free(&in), batch_free(&masked), batch_free(&out), batch_free(&room);
}

/* Cut at every place: an error each time, never a read beyond the end. */
static void cut_short(void **state)
{
    struct packed_batch in, out;
    const char *path[] = {"a", "b"}, *got[SAMPLES];
    float coef[SAMPLES * SLOTS] = {0};
    struct message whole = {0};
    (void)state;
    fill(&in, SAMPLES, 16);
    assert_int_equal(batch_new(&out, SAMPLES, 16), 0);
    crew_put_micro(&whole, &(struct crew_micro){.pack = &in, .picture = path, .coef = coef}, SLOTS);
    for (size_t n = 0; n < whole.used; n += 8) {
        struct message m = {.data = malloc(n + 1), .used = n, .room = n};
        struct crew_micro k = {.pack = &out, .picture = got};
        memcpy(m.data, whole.data, n);
        assert_int_equal(crew_take_micro(&m, &k, SLOTS), CL_EMPI);
        message_free(&m);
    }
    message_free(&whole);
    batch_free(&in), batch_free(&out);
}

/* More samples or tokens than the receiver has made room for; coefficients of another set. */
static void too_large(void **state)
{
    struct packed_batch in, out;
    const char *path[] = {"a", "b"}, *got[SAMPLES];
    float coef[SAMPLES * SLOTS] = {0};
    static const struct {
        int samples;
        int64_t tokens;
        int slots;
    } room[] = {{2, 16, SLOTS}, {3, 10, SLOTS}, {3, 16, SLOTS + 1}};
    (void)state;
    fill(&in, SAMPLES, 16);
    for (int i = 0; i < 3; i++) {
        struct message m = {0};
        struct crew_micro k = {.pack = &out, .picture = got};
        assert_int_equal(batch_new(&out, room[i].samples, room[i].tokens), 0);
        crew_put_micro(&m, &(struct crew_micro){.pack = &in, .picture = path, .coef = coef}, SLOTS);
        assert_int_equal(crew_take_micro(&m, &k, room[i].slots), CL_EMPI);
        message_free(&m);
        batch_free(&out);
    }
    batch_free(&in);
}

static void prompts(void **state)
{
    int32_t ids[] = {1, 2, 3, 4};
    float coef[SLOTS] = {0.25f, 0.75f}, got[SLOTS];
    char path[] = "p.png";
    struct prompt_item out, in = {.coef = coef};
    struct message m = {0};
    int64_t number;
    (void)state;
    for (int picture = 0; picture < 2; picture++) {
        message_clear(&m);
        in.sample = (struct sample){.id = ids, .n = 4, .prompt_n = 3, .picture = picture ? 1 : -1};
        in.picture = picture ? path : NULL;
        crew_put_prompt(&m, 41 + picture, &in, SLOTS);
        out = (struct prompt_item){0};
        assert_int_equal(crew_take_prompt(&m, &number, &out, got, SLOTS), CL_OK);
        assert_int_equal(number, 41 + picture);
        assert_int_equal(out.sample.prompt_n, 3);
        assert_memory_equal(out.sample.id, ids, 3 * sizeof *ids);
        assert_int_equal(out.sample.picture, in.sample.picture);
        assert_true(picture ? !strcmp(out.picture, path) : !out.picture);
        assert_memory_equal(got, coef, sizeof coef);
        sample_free(&out.sample);
        free(out.picture);
        m.used -= 8, m.at = 0; // the last coefficients are missing
        out = (struct prompt_item){0};
        assert_int_equal(crew_take_prompt(&m, &number, &out, got, SLOTS), CL_EMPI);
    }
    message_free(&m);
}

static void limits(void **state)
{
    const struct lvlm_limits in = {7, INT64_C(1) << 40, 99, 32, 8, true, RECOMPUTE_LAYER, 3};
    struct lvlm_limits out = {0};
    struct message m = {0};
    (void)state;
    crew_put_limits(&m, &in);
    crew_take_limits(&m, &out);
    assert_int_equal(message_check(&m, "x"), CL_OK);
    assert_int_equal(out.samples, 7);
    assert_int_equal(out.tokens, in.tokens);
    assert_int_equal(out.rows, 99);
    assert_int_equal(out.slots, 32);
    assert_int_equal(out.rank, 8);
    assert_true(out.train);
    assert_int_equal(out.again, RECOMPUTE_LAYER);
    assert_int_equal(out.residuals, 3);
    message_free(&m);
}

static void failures(void **state)
{
    struct message m = {0};
    (void)state;
    err_set(CL_EDATA, "%s: no picture", "x.png");
    crew_put_failure(&m, CL_EDATA);
    err_set(CL_OK, "%s", "");
    assert_int_equal(message_int(&m), CREW_FAILED);
    assert_int_equal(crew_take_failure(&m, 0), CL_EDATA);
    assert_non_null(strstr(err_text(), "rank 0 ("));
    assert_non_null(strstr(err_text(), "): x.png: no picture"));
    message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(micro_batches), cmocka_unit_test(listening),
                                       cmocka_unit_test(cut_short),     cmocka_unit_test(too_large),
                                       cmocka_unit_test(prompts),       cmocka_unit_test(limits),
                                       cmocka_unit_test(failures)};
    return cmocka_run_group_tests_name("crew_messages", tests, NULL, NULL);
}
