/* What control groups allow, in made-up trees of both versions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/memory.h"
#include "folder.h"

static char dir[64];

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_non_null(f = fopen(path, "w"));
    fputs(text, f);
    fclose(f);
}

static double limit(const char *groups)
{
    char path[128], root[128];

    put("groups", groups);
    snprintf(path, sizeof path, "%s/groups", dir);
    snprintf(root, sizeof root, "%s/root", dir);
    return memory_cgroup_limit(path, root);
}

static int make(void **state)
{
    char command[256];

    (void)state;
    assert_int_equal(folder_new(dir), 0);
    snprintf(command, sizeof command, "mkdir -p %s/root/job/step %s/root/memory/job/step", dir, dir);
    return system(command);
}

static int drop(void **state)
{
    (void)state;
    return folder_remove(dir);
}

/* The least of the group and those above it. */
static void version_2(void **state)
{
    (void)state;
    assert_true(isinf(limit("0::/job/step\n")));
    put("root/job/step/memory.max", "max\n");
    assert_true(isinf(limit("0::/job/step\n")));
    put("root/job/memory.max", "3000000000\n");
    assert_true(limit("0::/job/step\n") == 3e9);
    put("root/job/step/memory.max", "2000000000\n");
    assert_true(limit("0::/job/step\n") == 2e9);
    put("root/memory.max", "1000000000\n"); // of a container
    assert_true(limit("0::/job/step\n") == 1e9);
    assert_true(limit("0::/somewhere/outside\n") == 1e9);
    assert_true(limit("0::/\n") == 1e9);
}

static void version_1(void **state)
{
    (void)state;
    put("root/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("root/memory/job/memory.limit_in_bytes", "5000000000\n");
    assert_true(limit("7:cpu,cpuacct:/job/step\n5:memory:/job/step\n") == 5e9);
    assert_true(isinf(limit("7:cpu,cpuacct:/job/step\n")));
}

static void nothing(void **state)
{
    (void)state;
    assert_true(isinf(memory_cgroup_limit("/nowhere", "/nowhere")));
    assert_true(isinf(limit("")) && isinf(limit("rubbish\n:\n")));
    assert_true(memory_available() > 1e6 && isfinite(memory_available()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(version_2, make, drop),
                                       cmocka_unit_test_setup_teardown(version_1, make, drop),
                                       cmocka_unit_test_setup_teardown(nothing, make, drop)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
