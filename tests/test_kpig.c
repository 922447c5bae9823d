/* test_kpig.c - gains from known losses, and which records are replayed for them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "io/err.h"
#include "jobs/gain.h"
#include "outcome.h"
#include "pool/kpig.h"

static void test_gain_is_what_the_key_parts_save(void **state)
{
    (void)state;
    assert_true(gain_of(3.0, 5.0, 4) == 0.5);   // two nats over four tokens
    assert_true(gain_of(5.0, 3.0, 4) == -0.5);  // the answer is likelier without them
    assert_true(gain_of(2.0, 2.00004, 1) == 0); // what another order of sums could give
    assert_true(gain_of(2.0, 2.0002, 1) == 2e-4);
}

static void chosen_are(const double *gain, int64_t n, double share, const int64_t *want, int64_t k)
{
    int64_t got[8], found = -1;

    OK(kpig_choose(got, &found, gain, n, share));
    assert_int_equal(found, k);
    for (int64_t i = 0; i < k; i++) assert_int_equal(got[i], want[i]);
}

static void test_lowest_gains_are_chosen(void **state)
{
    static const double gain[] = {0.3, -0.1, 0.0, 0.9, 0.0, 0.2};

    (void)state;
    chosen_are(gain, 6, 0.5, (const int64_t[]){1, 2, 4}, 3);
    chosen_are(gain, 6, 0.34, (const int64_t[]){1, 2}, 2); // of the two equal ones the earlier
    chosen_are(gain, 6, 0.7, (const int64_t[]){1, 2, 4, 5}, 4);
    chosen_are(gain, 6, 1, (const int64_t[]){0, 1, 2, 3, 4, 5}, 6);
    chosen_are(gain, 6, 0.01, (const int64_t[]){1}, 1); // one at least
    chosen_are(gain, 6, 0, NULL, 0);
    chosen_are(gain, 0, 0.5, NULL, 0);
}

static void test_what_is_no_number_is_refused(void **state)
{
    static const double gain[] = {0.3, NAN};
    int64_t got[2], k;

    (void)state;
    assert_int_equal(kpig_choose(got, &k, gain, 2, 0.5), CL_ENUM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gain_is_what_the_key_parts_save),
        cmocka_unit_test(test_lowest_gains_are_chosen),
        cmocka_unit_test(test_what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests_name("kpig", tests, NULL, NULL);
}
