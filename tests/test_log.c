/* test_log.c - JSON lines that are whole whatever happens; progress on a terminal and in a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/err.h"
#include "io/log.h"

static char folder[64], file[80];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/cllava_log_XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(file, sizeof file, "%s/log.jsonl", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

static void put(const char *text)
{
    FILE *f = fopen(file, "wb");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static char *get(void)
{
    char *text = NULL;
    size_t room = 0;
    FILE *f = fopen(file, "rb");

    assert_non_null(f);
    ssize_t n = getdelim(&text, &room, 0, f);
    if (n < 0) text[0] = 0;
    fclose(f);
    return text;
}

static void events(void **state)
{
    struct log *l;

    (void)state;
    unlink(file);
    assert_int_equal(log_open(&l, file, -1), CL_OK);
    log_begin(l, "stage2");
    log_int(l, "task", -3);
    log_num(l, "loss", 0.1);
    log_num(l, "bad", NAN);
    log_str(l, "text", "a\"\n\xff");
    log_str(l, "none", NULL);
    assert_int_equal(log_end(l), CL_OK);
    log_begin(l, "end");
    assert_int_equal(log_end(l), CL_OK);
    int64_t size = log_offset(l);
    log_close(l);

    char *text = get(), *second = strchr(text, '\n') + 1;
    assert_int_equal(size, strlen(text));
    assert_string_equal(strstr(second, "{\"event\":\"end\",\"time\":"), second);
    json_t *v = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(v);
    assert_string_equal(json_string_value(json_object_get(v, "event")), "stage2");
    assert_true(json_real_value(json_object_get(v, "time")) > 1.6e9);
    assert_int_equal(json_integer_value(json_object_get(v, "task")), -3);
    assert_true(json_real_value(json_object_get(v, "loss")) == 0.1);
    assert_true(json_is_null(json_object_get(v, "bad")) && json_is_null(json_object_get(v, "none")));
    assert_string_equal(json_string_value(json_object_get(v, "text")), "a\"\n\xef\xbf\xbd");
    json_decref(v);
    free(text);
}

static void append(const char *before, int64_t keep, const char *event, const char *kept)
{
    struct log *l;

    put(before);
    assert_int_equal(log_open(&l, file, keep), CL_OK);
    assert_int_equal(log_offset(l), strlen(kept));
    log_begin(l, event);
    assert_int_equal(log_end(l), CL_OK);
    log_close(l);
    char *text = get();
    assert_int_equal(strncmp(text, kept, strlen(kept)), 0);
    assert_string_equal(strstr(text, "{\"event\":\"x\""), text + strlen(kept));
    free(text);
}

static void keeps(void **state)
{
    struct log *l;

    (void)state;
    append("one\ntwo\n", -1, "x", "one\ntwo\n");
    append("one\ntwo\n", 4, "x", "one\n");
    append("one\ntwo\n", 0, "x", "");
    append("one\ntor", -1, "x", "one\n"); // torn by a crash
    append("torn", -1, "x", "");
    put("one\ntwo\n");
    assert_int_equal(log_open(&l, file, 9), CL_EMISMATCH);
    assert_null(l);
    assert_non_null(strstr(err_text(), "got 8 bytes, expected 9"));
    assert_int_equal(log_open(&l, file, 5), CL_EMISMATCH);
    char *text = get();
    assert_string_equal(text, "one\ntwo\n"); // a refusal cuts nothing
    free(text);
    assert_int_equal(log_open(&l, "/nowhere/log", -1), CL_EIO);
    assert_non_null(strstr(err_text(), "/nowhere/log: No such file"));
}

/* A last line of more than one block without an end. */
static void long_torn_line(void **state)
{
    char text[10000];

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "one\n", 4);
    text[sizeof text - 1] = 0;
    append(text, -1, "x", "one\n");
}

static void full_disk(void **state)
{
    struct log *l;
    struct rlimit old, limit;

    (void)state;
    assert_int_equal(log_open(&l, "/dev/full", -1), CL_OK);
    log_begin(l, "x");
    assert_int_equal(log_end(l), CL_EIO);
    assert_non_null(strstr(err_text(), "/dev/full: cannot be written: No space left"));
    log_close(l);

    put("");
    assert_int_equal(log_open(&l, file, -1), CL_OK);
    log_begin(l, "first");
    assert_int_equal(log_end(l), CL_OK);
    int64_t whole = log_offset(l);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = (rlim_t)whole + 10; // the kernel takes ten bytes of the next line, then refuses
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_begin(l, "second");
    int rc = log_end(l);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, CL_EIO);
    assert_int_equal(log_offset(l), whole);
    char *text = get();
    assert_int_equal(strlen(text), whole); // no half line
    free(text);
    log_begin(l, "third");
    assert_int_equal(log_end(l), CL_OK);
    log_close(l);
    text = get();
    assert_non_null(strstr(text, "\n{\"event\":\"third\""));
    free(text);
}

/* What run(l) says on stderr: a terminal of `columns`, or a file for 0. */
static void on_stderr(int columns, bool quiet, void (*run)(struct log *), char *said, size_t room)
{
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    struct log *l;
    int ours, theirs, old = dup(STDERR_FILENO);

    if (columns)
        assert_int_equal(openpty(&ours, &theirs, NULL, NULL, &size), 0);
    else
        theirs = ours = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
    dup2(theirs, STDERR_FILENO);
    assert_int_equal(log_open(&l, NULL, -1), CL_OK);
    log_quiet(l, quiet);
    run(l);
    log_close(l);
    dup2(old, STDERR_FILENO);
    close(old);
    memset(said, 0, room);
    if (columns) {
        close(theirs);
        for (size_t len = 0; len < room - 1;) { // until the other side's end: EIO
            ssize_t n = read(ours, said + len, room - 1 - len);
            if (n <= 0) break;
            len += (size_t)n;
        }
    } else {
        assert_true(pread(ours, said, room - 1, 0) >= 0);
    }
    close(ours);
}

static void three_steps(struct log *l)
{
    progress_begin(l, "task 1/2 é: stage 2", 3, "steps");
    for (int i = 1; i <= 3; i++) {
        usleep(120000);
        progress_step(l, i, "loss 0.5");
        if (i == 2) log_say(l, "said %d", i);
    }
    progress_end(l);
    log_warn(l, "careful");
}

static void terminal(void **state)
{
    char said[4096];

    (void)state;
    on_stderr(100, false, three_steps, said, sizeof said);
    assert_non_null(strstr(said, "\r\033[Ktask 1/2 é: stage 2 [....................")); // at the beginning
    assert_non_null(strstr(said, "2/3 steps, "));
    assert_non_null(strstr(said, " left, loss 0.5"));
    assert_non_null(strstr(said, "\r\033[Ksaid 2\r\n\r\033[Ktask 1/2")); // the bar gives way and comes back
    assert_non_null(strstr(said, "\r\033[Ktask 1/2 é: stage 2: 3 steps in 0:"));
    assert_non_null(strstr(said, "loss 0.5\r\ncllava: warning: careful\r\n"));
}

/* No line of the bar is longer than the terminal, nor cut inside a character. */
static void narrow(void **state)
{
    char said[4096];

    (void)state;
    on_stderr(11, false, three_steps, said, sizeof said);
    char *line = strstr(said, "\r\033[K");
    assert_non_null(line);
    char *next = strstr(line + 4, "\r\033[K");
    assert_non_null(next);
    assert_true(next - line - 4 <= 10);
    assert_int_equal(strncmp(line + 4, "task 1/2 ", 9), 0);
}

static void in_a_file(void **state)
{
    char said[4096];

    (void)state;
    on_stderr(0, false, three_steps, said, sizeof said);
    assert_null(strchr(said, '\r'));
    assert_null(strchr(said, '\033'));
    assert_int_equal(strncmp(said, "said 2\ntask 1/2 é: stage 2: 3 steps in 0:", 40), 0);
    assert_non_null(strstr(said, "loss 0.5\ncllava: warning: careful\n"));
}

static void quiet(void **state)
{
    char said[4096];

    (void)state;
    on_stderr(0, true, three_steps, said, sizeof said);
    assert_string_equal(said, "cllava: warning: careful\n");
}

static void no_log(void **state)
{
    (void)state;
    log_begin(NULL, "x");
    log_int(NULL, "a", 1);
    log_num(NULL, "a", 1);
    log_str(NULL, "a", "b");
    assert_int_equal(log_end(NULL), CL_OK);
    progress_begin(NULL, "x", 1, "steps");
    progress_step(NULL, 1, NULL);
    progress_end(NULL);
    log_close(NULL);
}

int main(void)
{
    const struct CMUnitTest log[] = {
        cmocka_unit_test(events),    cmocka_unit_test(keeps),    cmocka_unit_test(long_torn_line),
        cmocka_unit_test(full_disk), cmocka_unit_test(terminal), cmocka_unit_test(narrow),
        cmocka_unit_test(in_a_file), cmocka_unit_test(quiet),    cmocka_unit_test(no_log),
    };

    return cmocka_run_group_tests(log, setup, teardown);
}
