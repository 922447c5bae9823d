/* Small files are whole or as they were; no temporary stays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "io/whole.h"
#include "folder.h"

static char dir[64];

static int entries(void)
{
    DIR *d = opendir(dir);
    int n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static void holds(const char *want)
{
    char path[128], got[64] = "";
    FILE *f;

    snprintf(path, sizeof path, "%s/a.txt", dir);
    assert_non_null(f = fopen(path, "r"));
    got[fread(got, 1, sizeof got - 1, f)] = 0;
    fclose(f);
    assert_string_equal(got, want);
    assert_int_equal(entries(), 1);
}

static void writes_and_replaces(void **state)
{
    (void)state;
    assert_int_equal(whole_write(dir, "a.txt", "one", 3), 0);
    holds("one");
    assert_int_equal(whole_write(dir, "a.txt", "twenty", 6), 0);
    holds("twenty");
}

/* A write that the system cuts off leaves the old file and nothing else. */
static void cut_off(void **state)
{
    struct rlimit old, small;
    static char big[8192];

    (void)state;
    assert_int_equal(whole_write(dir, "a.txt", "kept", 4), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old, small.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = whole_write(dir, "a.txt", big, sizeof big);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, CL_EIO);
    assert_non_null(strstr(err_text(), "a.txt"));
    holds("kept");
}

static void by_path(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/a.txt", dir);
    assert_int_equal(whole_write_path(path, "path", 4), 0);
    holds("path");
    assert_int_equal(whole_write_path("/nonexistent-folder/a.txt", "x", 1), CL_EIO);
}

static void no_folder(void **state)
{
    (void)state;
    assert_int_equal(whole_write("/nonexistent-folder", "a.txt", "x", 1), CL_EIO);
    assert_non_null(strstr(err_text(), "/nonexistent-folder/a.txt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(writes_and_replaces), cmocka_unit_test(cut_off),
                                       cmocka_unit_test(by_path), cmocka_unit_test(no_folder)};

    if (folder_new(dir)) return 1;
    int failed = cmocka_run_group_tests_name("whole", tests, NULL, NULL);
    return folder_remove(dir) ? 1 : failed;
}
