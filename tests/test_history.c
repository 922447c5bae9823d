/* test_history.c - what is in /history/<task>, and what a history needs to be there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/history.h"

static void test_half_and_whole(void **state)
{
    struct history none = {0}, begun, whole, back;
    struct ckpt *c = NULL;
    char path[512];

    snprintf(path, sizeof path, "%s/x.h5", (char *)*state);
    OK(history_open(&begun, 2, 3));
    OK(history_open(&whole, 2, 3));
    begun.before[4] = 1.5f;
    whole.aligned = true;
    whole.selected[1] = INT64_C(5) << 33;
    whole.weight[0] = 2.25, whole.after[5] = -1;
    OK(ckpt_create(&c, path));
    OK(ckpt_attr_i64(c, "/history", "made_by_test", 1));
    OK(history_save(&none, c, 0));
    OK(history_save(&begun, c, 1));
    OK(history_save(&whole, c, 12));
    OK(ckpt_commit(c));
    OK(ckpt_open(&c, path));
    OK(history_load(&back, c, 0, 2, 3));
    assert_int_equal(back.slots, 0);
    OK(history_load(&back, c, 1, 2, 3));
    assert_true(back.slots == 2 && !back.aligned && back.before[4] == 1.5f);
    history_close(&back);
    OK(history_load(&back, c, 12, 2, 3));
    assert_true(back.aligned && back.selected[1] == INT64_C(5) << 33 && back.weight[0] == 2.25 && back.after[5] == -1);
    history_close(&back);
    assert_int_equal(history_load(&back, c, 12, 3, 3), CL_EFORMAT); // shapes of another pool
    history_close(&back);
    ckpt_close(c);
    history_close(&begun);
    history_close(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_half_and_whole, fixture_folder, fixture_remove)};
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
