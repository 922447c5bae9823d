/* test_checkpoint_deferred.c - a deferred checkpoint is the direct one, later; its errors come back; nobody meets it half
 * written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "checkpoint_fixture.h"

enum { N = 5, L = 2, R = 3, H = 700 };

/* What the caller hands in, which is its own again as soon as a call returns. */
struct content {
    float A[N][L][R][H];
    int64_t order[7];
    uint8_t byte[3];
    char one[16], two[16], text[32];
};

static void fill(struct content *x, int seed)
{
    unsigned s = (unsigned)seed * 2654435761u + 1;

    for (float *a = &x->A[0][0][0][0], *end = a + N * L * R * H; a < end; a++) {
        s = s * 1664525u + 1013904223u;
        *a = (float)(int)s / 4e8f;
    }
    for (int i = 0; i < 7; i++) x->order[i] = (seed + 3 * i) % 7;
    memcpy(x->byte, "\0\377\1", 3);
    snprintf(x->one, sizeof x->one, "döner %d", seed);
    snprintf(x->two, sizeof x->two, "%s", "");
    snprintf(x->text, sizeof x->text, "{\"seed\": %d}", seed);
}

/* Every kind of call. What was handed in is spoilt before the commit. */
static int write_all(struct ckpt *c, struct content *x)
{
    const char *texts[] = {x->one, x->two};
    double real = 0.1;
    int32_t number[2] = {1, -1};
    int rc;

    TRY(ckpt_attr_str(c, "/", "created", "now")); // else the one difference
    TRY(ckpt_attr_str(c, "/", "config", x->text));
    TRY(ckpt_group(c, "/context/empty"));
    TRY(ckpt_write(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, x->A, true));
    TRY(ckpt_write(c, "/pool/none", CKPT_F64, 2, (int64_t[]){0, 4}, NULL, true));
    TRY(ckpt_write(c, "/pool/real", CKPT_F64, 1, (int64_t[]){1}, &real, false));
    TRY(ckpt_write(c, "/pool/number", CKPT_I32, 1, (int64_t[]){2}, number, true));
    TRY(ckpt_write(c, "/resume/order", CKPT_I64, 1, (int64_t[]){7}, x->order, false));
    TRY(ckpt_write(c, "/resume/byte", CKPT_U8, 1, (int64_t[]){3}, x->byte, false));
    TRY(ckpt_write_strings(c, "/stream/tasks", texts, 2));
    TRY(ckpt_write_strings(c, "/stream/none", NULL, 0));
    TRY(ckpt_attr_i64(c, "/pool", "rank", INT64_MIN));
    TRY(ckpt_attr_i64(c, "/pool", "rank", R)); // over the one before
    TRY(ckpt_attr_f64(c, "/pool", "scale", 0.1));
    TRY(ckpt_attr_bytes(c, "/resume", "rng", x->byte, 3));
    TRY(ckpt_attr_bytes(c, "/resume", "empty", NULL, 0));
    memset(x, 0x55, sizeof *x);
    memset(number, 0x55, sizeof number);
    real = 5;
done:
    return rc;
}

static int write_one(const char *path, int seed, bool deferred)
{
    static struct content x;
    struct ckpt *c = NULL;
    int rc;

    fill(&x, seed);
    TRY(deferred ? ckpt_create_deferred(&c, path) : ckpt_create(&c, path));
    if (strcmp(ckpt_path(c), path)) FAIL(CL_EINTERNAL, "another path");
    TRY(write_all(c, &x));
    return ckpt_commit(c);
done:
    ckpt_abandon(c);
    return rc;
}

static void same_bytes(const char *one, const char *other)
{
    size_t n, m;
    char *a = slurp(one, &n), *b = slurp(other, &m);

    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static int64_t order_of(const char *path)
{
    int64_t order[7] = {-1};
    struct ckpt *c;

    OK(ckpt_open(&c, path));
    OK(ckpt_read(c, "/resume/order", CKPT_I64, 1, (int64_t[]){7}, order));
    ckpt_close(c);
    return order[0];
}

/* Enough to be on its way for a while. */
static int write_large(const char *path, int seed)
{
    enum { ROWS = 40, WIDTH = 65536 };
    uint32_t *x = malloc(sizeof *x * ROWS * WIDTH), s = (uint32_t)seed;
    struct ckpt *c = NULL;
    int rc;

    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = s = s * 1664525u + 1013904223u;
    TRY(ckpt_create_deferred(&c, path));
    TRY(ckpt_write(c, "/resume/order", CKPT_I64, 1, (int64_t[]){7}, (int64_t[7]){seed}, false));
    TRY(ckpt_write(c, "/pool/A", CKPT_I32, 2, (int64_t[]){ROWS, WIDTH}, x, true));
    rc = ckpt_commit(c);
    c = NULL;
done:
    ckpt_abandon(c);
    free(x);
    return rc;
}

/* ---- cases */

static void test_same_as_direct(void **state)
{
    int before;

    (void)state;
    OK(write_one(in_folder("warm.h5"), 1, true));
    OK(ckpt_wait());
    before = descriptors();
    OK(write_one(in_folder("direct.h5"), 3, false));
    OK(write_one(in_folder("deferred.h5"), 3, true));
    OK(ckpt_wait());
    assert_false(ckpt_writing());
    same_bytes(in_folder("direct.h5"), in_folder("deferred.h5"));
    assert_int_equal(files_in(folder), 3);
    assert_int_equal(descriptors(), before);
}

static void test_created_is_set(void **state)
{
    struct ckpt *c;
    char *created;

    (void)state;
    OK(ckpt_create_deferred(&c, in_folder("a.h5")));
    OK(ckpt_attr_i64(c, "/", "x", 1));
    OK(ckpt_commit(c));
    OK(ckpt_wait());
    OK(ckpt_open(&c, in_folder("a.h5")));
    OK(ckpt_get_str(c, "/", "created", &created));
    assert_int_equal(strlen(created), strlen("2025-01-01T00:00:00Z"));
    free(created);
    ckpt_close(c);
}

static void test_reading_waits(void **state)
{
    (void)state;
    OK(write_large(in_folder("a.h5"), 1));
    assert_true(ckpt_writing());
    assert_int_equal(order_of(in_folder("a.h5")), 1); // there was no such file when that began
    assert_false(ckpt_writing());
    OK(ckpt_wait());
}

/* A direct write, and a reader that was open before, while another file is on its way. */
static void test_others_wait(void **state)
{
    int64_t order[7];
    struct ckpt *reader, *writer;

    (void)state;
    OK(write_one(in_folder("old.h5"), 4, false));
    OK(ckpt_open(&reader, in_folder("old.h5")));
    OK(ckpt_create(&writer, in_folder("direct.h5")));
    OK(write_large(in_folder("a.h5"), 1));
    assert_true(ckpt_writing());
    OK(ckpt_read(reader, "/resume/order", CKPT_I64, 1, (int64_t[]){7}, order));
    assert_int_equal(order[0], 4);
    OK(write_large(in_folder("b.h5"), 2));
    assert_true(ckpt_writing());
    OK(ckpt_attr_i64(writer, "/", "x", 1));
    assert_false(ckpt_writing());
    OK(ckpt_commit(writer));
    ckpt_close(reader);
    OK(ckpt_wait());
    assert_int_equal(files_in(folder), 4);
}

static void test_two_in_a_row(void **state)
{
    (void)state;
    OK(write_large(in_folder("a.h5"), 1));
    OK(write_large(in_folder("b.h5"), 2)); // waits for the first
    assert_int_equal(order_of(in_folder("a.h5")), 1);
    OK(ckpt_wait());
    assert_int_equal(order_of(in_folder("b.h5")), 2);
    for (int i = 1; i < 7; i++) OK(write_one(in_folder("a.h5"), i, true));
    OK(ckpt_wait());
    assert_int_equal(order_of(in_folder("a.h5")), 6);
    assert_int_equal(files_in(folder), 2);
}

static void test_error_comes_back(void **state)
{
    struct ckpt *a, *b;

    (void)state;
    OK(write_one(in_folder("no/such/a.h5"), 1, true));
    REFUSED(ckpt_wait(), CL_EIO, "no/such/a.h5: No such file");
    OK(ckpt_wait()); // once
    OK(write_one(in_folder("no/such/a.h5"), 1, true));
    REFUSED(ckpt_create_deferred(&a, in_folder("b.h5")), CL_EIO, "no/such/a.h5: No such file");
    assert_null(a);
    OK(ckpt_create_deferred(&a, in_folder("no/a.h5")));
    OK(ckpt_create_deferred(&b, in_folder("b.h5")));
    OK(ckpt_commit(a));
    REFUSED(ckpt_commit(b), CL_EIO, "no/a.h5: No such file");
    OK(ckpt_wait());
    assert_int_equal(files_in(folder), 0);
}

/* What only shows when the file is written leaves nothing; what shows at once is said at once. */
static void test_faults_of_the_caller(void **state)
{
    const float x = 1;
    struct ckpt *c;

    (void)state;
    OK(write_one(in_folder("a.h5"), 2, false));
    OK(ckpt_create_deferred(&c, in_folder("a.h5")));
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 5, (int64_t[]){1, 1, 1, 1, 1}, &x, false), CL_EINTERNAL, "5 dimensions");
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 1, (int64_t[]){-1}, &x, false), CL_EINTERNAL, "negative");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // which end the program
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 1, (int64_t[]){INT64_C(1) << 60}, &x, false), CL_ENOMEM,
            "no memory for a copy of /y");
#endif
    REFUSED(ckpt_write_strings(c, "/t", (const char *const[]){NULL}, 1), CL_EINTERNAL, "no text");
    OK(ckpt_write(c, "/x", CKPT_F32, 1, (int64_t[]){1}, &x, false));
    OK(ckpt_write(c, "/x", CKPT_F32, 1, (int64_t[]){1}, &x, false));
    OK(ckpt_write(c, "/z", CKPT_F32, 1, (int64_t[]){1}, &x, false));
    assert_false(ckpt_has(c, "/x")); // nothing can be read from it
    OK(ckpt_commit(c));
    REFUSED(ckpt_wait(), CL_EINTERNAL, "/x is written twice");
    assert_int_equal(order_of(in_folder("a.h5")), 2);
    assert_int_equal(files_in(folder), 1);
}

static void test_abandon(void **state)
{
    struct ckpt *c;
    static struct content x;

    (void)state;
    OK(ckpt_create_deferred(&c, in_folder("a.h5")));
    OK(write_all(c, &x));
    ckpt_abandon(c);
    OK(ckpt_wait());
    assert_int_equal(files_in(folder), 0);
}

/* The file may grow to `limit` bytes only. In a child: HDF5 loses memory there, and limits stay. */
static void limited(rlim_t limit)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit r = {limit, RLIM_INFINITY};
        int before = descriptors();
        setrlimit(RLIMIT_FSIZE, &r); // its signal is blocked where the file is written
        if (write_large(in_folder("a.h5"), 5)) _exit(1);
        if (ckpt_wait() != CL_EIO || !strstr(err_text(), "File too large") || !strstr(err_text(), "hint: free space"))
            _exit(2);
        if (descriptors() != before || files_in(folder) != 1) _exit(3);
        r.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_FSIZE, &r);
        if (write_large(in_folder("b.h5"), 6) || ckpt_wait()) _exit(4); // there is space again
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(order_of(in_folder("a.h5")), 2);
    assert_int_equal(order_of(in_folder("b.h5")), 6);
    assert_int_equal(unlink(in_folder("b.h5")), 0);
}

static void test_no_space(void **state)
{
    (void)state;
    OK(write_one(in_folder("a.h5"), 2, false));
    limited(5 << 20);
    limited(300000);
    limited(0);
}

/* Killed while it is written: the file before is whole, and what is left over is cleaned. */
static void test_killed(void **state)
{
    int removed;

    (void)state;
    OK(write_one(in_folder("a.h5"), 2, false));
    for (int round = 0; round < 12; round++) {
        int ready[2], status;
        char byte;
        pid_t child;
        assert_int_equal(pipe(ready), 0);
        child = fork();
        if (child == 0) {
            if (write_large(in_folder("a.h5"), 2) || write(ready[1], "x", 1) != 1) _exit(1);
            for (;;) pause();
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        usleep((unsigned)round * 20000);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(order_of(in_folder("a.h5")), 2);
        OK(ckpt_clean_temporaries(folder, &removed));
        assert_true(removed <= 1);
        assert_int_equal(files_in(folder), 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(test_same_as_direct), CASE(test_created_is_set),   CASE(test_reading_waits),        CASE(test_others_wait),
        CASE(test_two_in_a_row),   CASE(test_error_comes_back), CASE(test_faults_of_the_caller), CASE(test_abandon),
        CASE(test_no_space),       CASE(test_killed),
    };

    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("checkpoint_deferred", tests, NULL, NULL);
}
