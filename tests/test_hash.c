/* test_hash.c - published values of FNV-1a, and parts that give what the whole gives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/hash.h"

static void test_known_values(void **state)
{
    (void)state;
    assert_true(hash_bytes(HASH_BEGIN, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(hash_bytes(HASH_BEGIN, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(hash_bytes(HASH_BEGIN, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    assert_true(hash_bytes(hash_bytes(HASH_BEGIN, "foo", 3), "bar", 3) == UINT64_C(0x85944171f73967e8));
    assert_true(hash_bytes(HASH_BEGIN, "\xff", 1) == (HASH_BEGIN ^ 0xff) * UINT64_C(0x100000001b3)); // unsigned
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_values)};

    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
