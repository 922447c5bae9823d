/* test_self_guide.c - what was written joins the steps, after a resume too, and nothing of it is taken over to the next task. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { BATCH = 8 };

static struct method *fresh(void)
{
    const struct config cfg = fixture_config(); // three tasks, 4 of a batch of 8 join
    return fixture_open("self_guide", &cfg, &fixture_shape);
}

static void begin(struct method *m, int task, const int64_t *written)
{
    OK(m->ops->begin_task(m, task, 20));
    OK(m->ops->rehearse(m, task, written));
}

static void test_what_was_written_joins(void **state)
{
    struct method *m = fresh();
    struct sample_ref refs[8];
    int n, count[2][4] = {{0}};

    (void)state;
    begin(m, 0, NULL);
    OK(m->ops->mix(m, 0, 0, BATCH, refs, 8, &n));
    assert_int_equal(n, 0);
    OK(m->ops->end_task(m, 0));
    begin(m, 1, (const int64_t[]){0}); // nothing passed
    OK(m->ops->mix(m, 1, 0, BATCH, refs, 8, &n));
    assert_int_equal(n, 0);
    OK(m->ops->end_task(m, 1));
    begin(m, 2, (const int64_t[]){3, 1});
    for (int step = 0; step < 5; step++) {
        OK(m->ops->mix(m, 2, step, BATCH, refs, 8, &n));
        assert_int_equal(n, 4);
        for (int i = 0; i < n; i++) {
            assert_in_range(refs[i].task, 3, 4); // behind the stream's own
            assert_in_range(refs[i].index, 0, refs[i].task == 3 ? 2 : 0);
            count[refs[i].task - 3][refs[i].index]++;
        }
    }
    assert_true(count[0][0] == 5 && count[0][1] == 5 && count[0][2] == 5 && count[1][0] == 5);
    m->ops->close(m);
}

static void test_resume_wants_as_many(void **state)
{
    struct method *m = fresh(), *other = fresh();
    struct sample_ref a[8], b[8];
    int n, k;

    begin(m, 0, NULL);
    OK(m->ops->end_task(m, 0));
    begin(m, 1, (const int64_t[]){7});
    char *path = fixture_save(m, *state, "stop.h5", true);
    fixture_load(other, path, true);
    FAILS(CL_EMISMATCH, "6 samples to rehearse, 7 when the task began",
          other->ops->rehearse(other, 1, (const int64_t[]){6}));
    OK(other->ops->rehearse(other, 1, (const int64_t[]){7}));
    for (int step = 2; step >= 0; step--) {
        OK(m->ops->mix(m, 1, step, BATCH, a, 8, &n));
        OK(other->ops->mix(other, 1, step, BATCH, b, 8, &k));
        assert_int_equal(n, k);
        fixture_same_refs(a, b, n);
    }
    OK(other->ops->end_task(other, 1));
    begin(other, 2, (const int64_t[]){1, 0}); // another task, other samples
    free(path);
    m->ops->close(m), other->ops->close(other);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_joins),
        WITH_FOLDER(test_resume_wants_as_many),
    };
    return cmocka_run_group_tests_name("self_guide", tests, NULL, NULL);
}
