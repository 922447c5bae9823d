/* Lines of a file: empty ones are passed over but counted, a failure names file and record, a file that is not there is said. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonl.h"

static int take(void *context, const char *line)
{
    char *all = context;

    if (line[0] == '!') return err_set(CL_EDATA, "a bad line");
    strcat(all, line);
    return CL_OK;
}

/* Reads a file of this text; its name in path. */
static int read_text(const char *text, char path[32], char all[64])
{
    strcpy(path, "/tmp/test_jsonl_XXXXXX");
    int fd = mkstemp(path), rc;
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    all[0] = 0;
    rc = jsonl_each_of(path, take, all);
    unlink(path);
    return rc;
}

static void lines(void **state)
{
    char path[32], all[64];
    (void)state;
    assert_int_equal(read_text("a\n\n \t\r\nb\nc", path, all), CL_OK);
    assert_string_equal(all, "a\nb\nc");
    assert_int_equal(read_text("", path, all), CL_OK);
    assert_string_equal(all, "");
}

static void failures(void **state)
{
    char path[32], all[64], want[64];
    (void)state;
    assert_int_equal(read_text("a\n\n!\nb\n", path, all), CL_EDATA);
    snprintf(want, sizeof want, "%s: record 3: a bad line", path);
    assert_string_equal(err_text(), want);
    assert_string_equal(all, "a\n"); // nothing behind it
    assert_int_equal(jsonl_each_of("/nowhere/x.jsonl", take, all), CL_EIO);
    assert_non_null(strstr(err_text(), "cannot read /nowhere/x.jsonl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(failures)};
    return cmocka_run_group_tests_name("jsonl", tests, NULL, NULL);
}
