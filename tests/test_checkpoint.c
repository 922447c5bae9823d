/* test_checkpoint.c - round trips, refusals, damage, a killed writer, a full disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint_fixture.h"
#include "io/h5.h"

/* ---- a small checkpoint with everything in it */

enum { N = 6, L = 2, R = 3, H = 20 };
static float A[N][L][R][H];

static void fill_A(int seed)
{
    unsigned s = (unsigned)seed * 2654435761u + 1;

    for (float *x = &A[0][0][0][0], *end = x + sizeof A / sizeof *x; x < end; x++) {
        s = s * 1664525u + 1013904223u;
        *x = (float)(int)s / 4e8f;
    }
}

static int write_small(const char *path, int seed)
{
    static const char *const tasks[] = {"chart", "döner 中文", ""};
    const double w[3][3] = {{0}, {1}, {0.25, 0.75}}, use[N] = {0.1, 0.2, 0.7, 0.5, 0.25, 0.25};
    const int32_t task[N] = {0, 0, 0, 1, 1, 1};
    const int64_t count[2] = {INT64_MAX, INT64_MIN};
    const uint8_t bytes[3] = {0, 255, 7};
    struct ckpt *c = NULL;
    int rc;

    fill_A(seed);
    TRY(ckpt_create(&c, path));
    TRY(ckpt_attr_str(c, "/", "created", "now")); // equal content gives equal bytes
    TRY(ckpt_attr_str(c, "/", "config", "{\"seed\": 0, \"method\": \"continual_llava\"}"));
    TRY(ckpt_write_strings(c, "/stream/tasks", tasks, 3));
    TRY(ckpt_write(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, A, true));
    TRY(ckpt_write(c, "/pool/task", CKPT_I32, 1, (int64_t[]){N}, task, true));
    TRY(ckpt_write(c, "/pool/use", CKPT_F64, 1, (int64_t[]){N}, use, true));
    TRY(ckpt_write(c, "/context/w", CKPT_F64, 2, (int64_t[]){3, 3}, w, false));
    TRY(ckpt_write(c, "/resume/count", CKPT_I64, 1, (int64_t[]){2}, count, false));
    TRY(ckpt_write(c, "/resume/bytes", CKPT_U8, 1, (int64_t[]){3}, bytes, false));
    TRY(ckpt_write(c, "/history/chart/none", CKPT_F32, 2, (int64_t[]){0, 4}, NULL, true));
    TRY(ckpt_write(c, "/history/chart/nothing", CKPT_F32, 2, (int64_t[]){4, 0}, NULL, true));
    TRY(ckpt_write(c, "/history/chart/fixed_none", CKPT_I32, 1, (int64_t[]){0}, NULL, false));
    TRY(ckpt_attr_i64(c, "/pool", "rank", R));
    TRY(ckpt_attr_f64(c, "/pool", "scale", 0.1));
    TRY(ckpt_attr_str(c, "/pool", "target", "self_attn.o_proj"));
    TRY(ckpt_attr_bytes(c, "/resume", "rng", "\0\1\2\377", 4));
    TRY(ckpt_attr_bytes(c, "/resume", "empty", NULL, 0));
    TRY(ckpt_attr_i64(c, "/empty", "x", -1)); // makes the group
    return ckpt_commit(c);
done:
    ckpt_abandon(c);
    return rc;
}

static void check_small(const char *path, int seed)
{
    static float back[N][L][R][H];
    double w[3][3], use[N], scale, version;
    int32_t task[N];
    int64_t count[2], shape[CKPT_MAX_DIMS], n, rank;
    uint8_t bytes[3];
    void *rng;
    char **text, *target;
    size_t size;
    struct ckpt *c;
    int dims;

    fill_A(seed);
    OK(ckpt_open(&c, path));
    assert_string_equal(ckpt_path(c), path);
    OK(ckpt_verify(c));
    OK(ckpt_read(c, "/pool/A", CKPT_F32, 4, (int64_t[]){-1, L, R, H}, back));
    assert_memory_equal(back, A, sizeof A);
    OK(ckpt_read(c, "/context/w", CKPT_F64, 2, (int64_t[]){3, 3}, w));
    assert_true(w[2][1] == 0.75 && w[1][0] == 1 && w[0][2] == 0);
    OK(ckpt_read(c, "/pool/task", CKPT_I32, 1, (int64_t[]){N}, task));
    assert_int_equal(task[5], 1);
    OK(ckpt_read(c, "/pool/use", CKPT_F64, 1, (int64_t[]){N}, use));
    assert_true(use[2] == 0.7);
    OK(ckpt_read(c, "/resume/count", CKPT_I64, 1, (int64_t[]){2}, count));
    assert_true(count[0] == INT64_MAX && count[1] == INT64_MIN);
    OK(ckpt_read(c, "/resume/bytes", CKPT_U8, 1, (int64_t[]){3}, bytes));
    assert_memory_equal(bytes, "\0\377\7", 3);
    OK(ckpt_read(c, "/history/chart/none", CKPT_F32, 2, (int64_t[]){0, 4}, NULL));
    OK(ckpt_read(c, "/history/chart/fixed_none", CKPT_F32, 1, (int64_t[]){0}, NULL));
    OK(ckpt_shape(c, "/history/chart/nothing", &dims, shape));
    assert_true(dims == 2 && shape[0] == 4 && shape[1] == 0);
    OK(ckpt_read_strings(c, "/stream/tasks", &text, &n));
    assert_int_equal(n, 3);
    assert_string_equal(text[0], "chart");
    assert_string_equal(text[1], "döner 中文");
    assert_string_equal(text[2], "");
    ckpt_strings_free(text, n);
    OK(ckpt_get_i64(c, "/pool", "rank", &rank));
    assert_int_equal(rank, R);
    OK(ckpt_get_f64(c, "/pool", "scale", &scale));
    OK(ckpt_get_f64(c, "/", "version", &version));
    assert_true(scale == 0.1 && version == 1);
    OK(ckpt_get_str(c, "/pool", "target", &target));
    assert_string_equal(target, "self_attn.o_proj");
    free(target);
    OK(ckpt_get_bytes(c, "/resume", "rng", &rng, &size));
    assert_int_equal(size, 4);
    assert_memory_equal(rng, "\0\1\2\377", 4);
    free(rng);
    OK(ckpt_get_bytes(c, "/resume", "empty", &rng, &size));
    assert_int_equal(size, 0);
    free(rng);
    ckpt_close(c);
}

static void test_round_trip(void **state)
{
    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    check_small(in_folder("a.h5"), 1);
    assert_int_equal(files_in(folder), 1);
    OK(write_small(in_folder("a.h5"), 2)); // over an old one
    check_small(in_folder("a.h5"), 2);
    assert_int_equal(files_in(folder), 1);
}

static void test_equal_content_gives_equal_bytes(void **state)
{
    size_t n, m;
    char *a, *b;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    sleep(1);
    OK(write_small(in_folder("b.h5"), 1));
    a = slurp(in_folder("a.h5"), &n);
    b = slurp(in_folder("b.h5"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static void test_conversion_of_numbers(void **state)
{
    float f[N], big;
    double d[2];
    int32_t i[2];
    uint8_t u[3];
    int64_t n[3];
    const double huge = 1e300, special[2] = {NAN, -INFINITY};
    struct ckpt *c;

    (void)state;
    OK(ckpt_create(&c, in_folder("a.h5")));
    OK(ckpt_write(c, "/ints", CKPT_I32, 1, (int64_t[]){2}, (int32_t[]){-3, 300}, false));
    OK(ckpt_write(c, "/large", CKPT_I64, 1, (int64_t[]){2}, (int64_t[]){1, INT64_C(1) << 40}, false));
    OK(ckpt_write(c, "/doubles", CKPT_F64, 1, (int64_t[]){2}, (double[]){0.5, 3}, false));
    OK(ckpt_write(c, "/huge", CKPT_F64, 1, (int64_t[]){1}, &huge, false));
    OK(ckpt_write(c, "/special", CKPT_F64, 1, (int64_t[]){2}, special, false));
    OK(ckpt_write_strings(c, "/text", (const char *const[]){"1", "2"}, 2));
    OK(ckpt_commit(c));
    OK(ckpt_open(&c, in_folder("a.h5")));
    OK(ckpt_read(c, "/ints", CKPT_F32, 1, (int64_t[]){2}, f));
    assert_true(f[0] == -3 && f[1] == 300);
    OK(ckpt_read(c, "/ints", CKPT_I64, 1, (int64_t[]){2}, n));
    assert_true(n[0] == -3 && n[1] == 300);
    OK(ckpt_read(c, "/doubles", CKPT_F32, 1, (int64_t[]){2}, f));
    assert_true(f[0] == 0.5f);
    OK(ckpt_read(c, "/special", CKPT_F32, 1, (int64_t[]){2}, f));
    assert_true(isnan(f[0]) && isinf(f[1]) && f[1] < 0);
    OK(ckpt_read(c, "/large", CKPT_F64, 1, (int64_t[]){2}, d));
    assert_true(d[1] == 1099511627776.0);
    REFUSED(ckpt_read(c, "/large", CKPT_I32, 1, (int64_t[]){2}, i), CL_EFORMAT, "out of range");
    REFUSED(ckpt_read(c, "/ints", CKPT_U8, 1, (int64_t[]){2}, u), CL_EFORMAT, "out of range");
    REFUSED(ckpt_read(c, "/huge", CKPT_F32, 1, (int64_t[]){1}, &big), CL_EFORMAT, "out of range");
    REFUSED(ckpt_read(c, "/doubles", CKPT_I64, 1, (int64_t[]){2}, n), CL_EFORMAT, "expected integers");
    REFUSED(ckpt_read(c, "/text", CKPT_F32, 1, (int64_t[]){2}, f), CL_EFORMAT, "holds text (expected numbers)");
    ckpt_close(c);
}

static void test_rows(void **state)
{
    static float back[2][L][R][H];
    struct ckpt *c;
    const int64_t shape[4] = {N, L, R, H};

    (void)state;
    OK(write_small(in_folder("a.h5"), 3));
    OK(ckpt_open(&c, in_folder("a.h5")));
    OK(ckpt_read_rows(c, "/pool/A", CKPT_F32, 4, shape, 3, 2, back));
    assert_memory_equal(back, A[3], sizeof back);
    OK(ckpt_read_rows(c, "/pool/A", CKPT_F32, 4, shape, N, 0, back));
    REFUSED(ckpt_read_rows(c, "/pool/A", CKPT_F32, 4, shape, 5, 2, back), CL_EFORMAT,
            "has no 2 rows from 5 on (got 6 rows)");
    REFUSED(ckpt_read_rows(c, "/pool/A", CKPT_F32, 4, shape, -1, 2, back), CL_EFORMAT, "rows from");
    REFUSED(ckpt_read_rows(c, "/pool/A", CKPT_F32, 4, shape, 1, INT64_MAX, back), CL_EFORMAT, "rows from");
    ckpt_close(c);
}

static void test_listing(void **state)
{
    struct ckpt *c;
    char **names;
    int64_t n;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    OK(ckpt_open(&c, in_folder("a.h5")));
    OK(ckpt_list(c, "/", &names, &n));
    assert_int_equal(n, 6);
    assert_string_equal(names[0], "context");
    assert_string_equal(names[5], "stream");
    ckpt_strings_free(names, n);
    OK(ckpt_list(c, "/empty", &names, &n));
    assert_int_equal(n, 0);
    ckpt_strings_free(names, n);
    REFUSED(ckpt_list(c, "/pool/A", &names, &n), CL_EFORMAT, "not a group");
    REFUSED(ckpt_list(c, "/nowhere", &names, &n), CL_EFORMAT, "no /nowhere");
    assert_true(ckpt_has(c, "/pool/A") && ckpt_has(c, "/pool") && ckpt_has(c, "/"));
    assert_false(ckpt_has(c, "/pool/Z") || ckpt_has(c, "/x/y/z") || ckpt_has(c, "pool") || ckpt_has(c, "/pool/A/b"));
    assert_true(ckpt_has_attr(c, "/pool", "rank"));
    assert_false(ckpt_has_attr(c, "/pool", "nothing") || ckpt_has_attr(c, "/nowhere", "rank"));
    ckpt_close(c);
}

static H5Z_filter_t filter_at(hid_t properties, unsigned i)
{
    size_t none = 0;
    unsigned flags;

    return H5Pget_filter2(properties, i, &flags, &none, NULL, 0, NULL, NULL);
}

static void test_layout_on_disk(void **state)
{
    hsize_t chunk[4], most[4];
    hid_t file, set, p, space;
    unsigned n = 0;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    file = H5Fopen(in_folder("a.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    set = H5Dopen2(file, "/pool/A", H5P_DEFAULT);
    p = H5Dget_create_plist(set);
    assert_int_equal(H5Pget_chunk(p, 4, chunk), 4);
    assert_true(chunk[0] == 1 && chunk[1] == L && chunk[2] == R && chunk[3] == H);
    assert_int_equal(H5Pget_nfilters(p), 3);
    assert_int_equal(filter_at(p, n++), H5Z_FILTER_SHUFFLE);
    assert_int_equal(filter_at(p, n++), H5Z_FILTER_DEFLATE);
    assert_int_equal(filter_at(p, n++), H5Z_FILTER_FLETCHER32);
    space = H5Dget_space(set);
    H5Sget_simple_extent_dims(space, chunk, most);
    assert_true(most[0] == H5S_UNLIMITED && most[1] == L);
    H5Sclose(space);
    H5Pclose(p);
    H5Dclose(set);
    H5Fclose(file);
}

/* Whether a shell command's output holds a text. */
static bool says(const char *command, const char *path, const char *part)
{
    char line[512], whole[512];
    bool found = false;
    FILE *f;

    snprintf(whole, sizeof whole, "%s %s 2>&1", command, path);
    f = popen(whole, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) found |= strstr(line, part) != NULL;
    return pclose(f) == 0 && found;
}

static void test_other_tools_read_it(void **state)
{
    (void)state;
    if (system("command -v h5dump h5ls > /dev/null")) {
        print_message("skipped: h5dump and h5ls (package hdf5-tools) are not here\n");
        skip();
    }
    OK(write_small(in_folder("a.h5"), 1));
    assert_true(says("h5ls -r", in_folder("a.h5"), "/pool/A                  Dataset {6/Inf, 2, 3, 20}"));
    assert_true(says("h5dump -d /pool/use", in_folder("a.h5"), "(0): 0.1, 0.2, 0.7, 0.5, 0.25, 0.25"));
    assert_true(says("h5dump -d /stream/tasks", in_folder("a.h5"), "\"chart\","));
    assert_true(says("h5dump -a /format", in_folder("a.h5"), "(0): \"cllava-checkpoint\""));
    assert_true(says("h5dump -p -H -d /pool/A", in_folder("a.h5"), "CHECKSUM FLETCHER32"));
}

static void test_names_are_checked(void **state)
{
    static const char *const bad[] = {"", "A", "/a//b", "/a/", "/a/../b", "/./a", "/\xff", "//"};
    const float x = 1;
    struct ckpt *c;

    (void)state;
    OK(ckpt_create(&c, in_folder("a.h5")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(ckpt_write(c, bad[i], CKPT_F32, 1, (int64_t[]){1}, &x, false), CL_EINTERNAL, "names look like");
    OK(ckpt_write(c, "/x", CKPT_F32, 1, (int64_t[]){1}, &x, false));
    REFUSED(ckpt_write(c, "/x", CKPT_F32, 1, (int64_t[]){1}, &x, false), CL_EINTERNAL, "written twice");
    REFUSED(ckpt_write(c, "/x/y", CKPT_F32, 1, (int64_t[]){1}, &x, false), CL_ELIB, "cannot write /x/y");
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 0, NULL, &x, false), CL_EINTERNAL, "0 dimensions");
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 5, (int64_t[]){1, 1, 1, 1, 1}, &x, false), CL_EINTERNAL, "5 dimensions");
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 2, (int64_t[]){INT64_C(1) << 40, INT64_C(1) << 40}, &x, false), CL_EINTERNAL,
            "too large");
    REFUSED(ckpt_write(c, "/y", CKPT_F32, 1, (int64_t[]){-1}, &x, false), CL_EINTERNAL, "negative");
    REFUSED(ckpt_write_strings(c, "/t", (const char *const[]){"\xc3\x28"}, 1), CL_EINTERNAL, "not UTF-8");
    REFUSED(ckpt_attr_str(c, "/", "t", "\xff"), CL_EINTERNAL, "not UTF-8");
    ckpt_abandon(c);
    ckpt_abandon(NULL);
    assert_int_equal(files_in(folder), 0);
}

static void test_many_and_long(void **state)
{
    enum { TASKS = 300 };
    char name[64], *config = malloc(2 << 20), *back;
    float *loss = malloc(sizeof *loss * 100000);
    struct ckpt *c;
    char **names;
    int64_t n;

    (void)state;
    memset(config, 'x', (2 << 20) - 1);
    config[(2 << 20) - 1] = 0;
    for (int i = 0; i < 100000; i++) loss[i] = (float)i;
    OK(ckpt_create(&c, in_folder("a.h5")));
    OK(ckpt_attr_str(c, "/", "config", config));
    OK(ckpt_attr_bytes(c, "/", "long", config, 300000)); // more than an object header holds
    for (int i = 0; i < TASKS; i++) {
        snprintf(name, sizeof name, "/history/task%03d", i);
        OK(ckpt_attr_i64(c, name, "samples", i));
        for (int k = 0; k < 12 && i < 3; k++) OK(ckpt_attr_f64(c, name, (char[]){(char)('a' + k), 0}, k));
    }
    OK(ckpt_write(c, "/history/loss", CKPT_F32, 2, (int64_t[]){50000, 2}, loss, true));
    OK(ckpt_commit(c));
    OK(ckpt_open(&c, in_folder("a.h5")));
    OK(ckpt_verify(c));
    OK(ckpt_get_str(c, "/", "config", &back));
    assert_string_equal(back, config);
    OK(ckpt_list(c, "/history", &names, &n));
    assert_int_equal(n, TASKS + 1);
    ckpt_strings_free(names, n);
    ckpt_close(c);
    free(back);
    free(config);
    free(loss);
}

/* ---- refusals */

static hid_t plain_file(const char *name, const char *format, int64_t version, int complete)
{
    hid_t f = H5Fcreate(in_folder(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), s = H5Screate(H5S_SCALAR), a, t;

    if (format) {
        t = H5Tcopy(H5T_C_S1); // of fixed length, as other writers may have it
        H5Tset_size(t, strlen(format));
        H5Tset_strpad(t, H5T_STR_NULLPAD);
        a = H5Acreate2(f, "format", t, s, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, t, format);
        H5Aclose(a);
        H5Tclose(t);
    }
    if (version >= 0) {
        a = H5Acreate2(f, "version", H5T_STD_I16BE, s, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, H5T_NATIVE_INT64, &version);
        H5Aclose(a);
    }
    if (complete >= 0) {
        a = H5Acreate2(f, "complete", H5T_STD_U8LE, s, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, H5T_NATIVE_INT, &complete);
        H5Aclose(a);
    }
    H5Sclose(s);
    return f;
}

static void test_foreign_files(void **state)
{
    struct ckpt *c;
    size_t n;
    char *bytes;

    (void)state;
    REFUSED(ckpt_open(&c, in_folder("none.h5")), CL_EIO, "No such file");
    assert_null(c);
    REFUSED(ckpt_open(&c, folder), CL_EIO, "not a regular file");
    spill(in_folder("text.h5"), "hello, this is not HDF5 at all", 30);
    REFUSED(ckpt_open(&c, in_folder("text.h5")), CL_EFORMAT, "not an HDF5 file (30 bytes");
    spill(in_folder("empty.h5"), "", 0);
    REFUSED(ckpt_open(&c, in_folder("empty.h5")), CL_EFORMAT, "not an HDF5 file (0 bytes");
    H5Fclose(plain_file("plain.h5", NULL, 1, 1));
    REFUSED(ckpt_open(&c, in_folder("plain.h5")), CL_EFORMAT, "without root attribute format");
    OK(ckpt_open_any(&c, in_folder("plain.h5")));
    ckpt_close(c);
    H5Fclose(plain_file("other.h5", "netcdf", 1, 1));
    REFUSED(ckpt_open(&c, in_folder("other.h5")), CL_EFORMAT, "format is \"netcdf\"");
    H5Fclose(plain_file("newer.h5", "cllava-checkpoint", 2, 1));
    REFUSED(ckpt_open(&c, in_folder("newer.h5")), CL_EFORMAT, "written by a newer cllava");
    H5Fclose(plain_file("noversion.h5", "cllava-checkpoint", -1, 1));
    REFUSED(ckpt_open(&c, in_folder("noversion.h5")), CL_EFORMAT, "no attribute version");
    H5Fclose(plain_file("half.h5", "cllava-checkpoint", 1, 0));
    REFUSED(ckpt_open(&c, in_folder("half.h5")), CL_EFORMAT, "not complete");
    H5Fclose(plain_file("half.h5", "cllava-checkpoint", 1, -1));
    REFUSED(ckpt_open(&c, in_folder("half.h5")), CL_EFORMAT, "not complete");
    H5Fclose(plain_file("good.h5", "cllava-checkpoint", 1, 1));
    OK(ckpt_open(&c, in_folder("good.h5"))); // other widths, byte order and string kind are fine
    ckpt_close(c);
    OK(write_small(in_folder("a.h5"), 1));
    bytes = slurp(in_folder("a.h5"), &n);
    for (size_t part = 1; part < 8; part++) {
        spill(in_folder("cut.h5"), bytes, n * part / 8);
        REFUSED(ckpt_open(&c, in_folder("cut.h5")), CL_EFORMAT, "truncated");
    }
    free(bytes);
    if (getuid() != 0) {
        chmod(in_folder("a.h5"), 0);
        REFUSED(ckpt_open(&c, in_folder("a.h5")), CL_EIO, "Permission denied");
    }
}

static void test_shapes_and_links_are_not_trusted(void **state)
{
    const hsize_t huge[2] = {UINT64_C(1) << 60, 1}, more[2] = {UINT64_C(1) << 62, UINT64_C(1) << 62}, one = 1;
    const hsize_t many[5] = {1, 1, 1, 1, 1};
    int64_t shape[CKPT_MAX_DIMS], n;
    float x[4];
    char **text;
    hid_t f = plain_file("a.h5", "cllava-checkpoint", 1, 1), s, d, p;
    struct ckpt *c;
    int dims;

    (void)state;
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 1, &one);
    s = H5Screate_simple(1, huge, NULL);
    H5Dclose(H5Dcreate2(f, "huge", H5T_IEEE_F32LE, s, H5P_DEFAULT, p, H5P_DEFAULT));
    d = h5_string_type();
    H5Dclose(H5Dcreate2(f, "huge_text", d, s, H5P_DEFAULT, p, H5P_DEFAULT));
    H5Tclose(d);
    H5Sclose(s);
    H5Pclose(p);
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 2, (hsize_t[]){1, 1});
    s = H5Screate_simple(2, more, NULL);
    d = H5Dcreate2(f, "more", H5T_IEEE_F32LE, s, H5P_DEFAULT, p, H5P_DEFAULT);
    if (d >= 0) H5Dclose(d);
    H5Sclose(s);
    H5Pclose(p);
    s = H5Screate_simple(5, many, NULL);
    H5Dclose(H5Dcreate2(f, "five", H5T_IEEE_F32LE, s, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(s);
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(p, "/etc/passwd", 0, 16);
    s = H5Screate_simple(1, (hsize_t[]){4}, NULL);
    H5Dclose(H5Dcreate2(f, "outside", H5T_IEEE_F32LE, s, H5P_DEFAULT, p, H5P_DEFAULT));
    H5Sclose(s);
    H5Pclose(p);
    H5Lcreate_external("/tmp/other.h5", "/x", f, "external", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/five", f, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(f, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Lcreate_hard(f, "/", f, "/group/loop", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);

    OK(ckpt_open(&c, in_folder("a.h5")));
    REFUSED(ckpt_shape(c, "/huge", &dims, shape), CL_EFORMAT, "claims");
    REFUSED(ckpt_read_strings(c, "/huge_text", &text, &n), CL_EFORMAT, "claims");
    if (ckpt_has(c, "/more")) REFUSED(ckpt_shape(c, "/more", &dims, shape), CL_EFORMAT, "impossible size");
    REFUSED(ckpt_shape(c, "/five", &dims, shape), CL_EFORMAT, "5 dimensions");
    REFUSED(ckpt_read(c, "/outside", CKPT_F32, 1, (int64_t[]){4}, x), CL_EFORMAT, "lies in another file");
    REFUSED(ckpt_read(c, "/external", CKPT_F32, 1, (int64_t[]){4}, x), CL_EFORMAT, "soft or external link");
    REFUSED(ckpt_shape(c, "/soft", &dims, shape), CL_EFORMAT, "soft or external link");
    REFUSED(ckpt_shape(c, "/group", &dims, shape), CL_EFORMAT, "not a dataset");
    REFUSED(ckpt_verify(c), CL_EFORMAT, "");
    ckpt_close(c);
}

static void test_wrong_expectations(void **state)
{
    static float x[N * L * R * H];
    int64_t v;
    double d;
    char *s;
    void *b;
    size_t n;
    struct ckpt *c;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    OK(ckpt_open(&c, in_folder("a.h5")));
    REFUSED(ckpt_read(c, "/pool/B", CKPT_F32, 1, (int64_t[]){1}, x), CL_EFORMAT, "no /pool/B");
    REFUSED(ckpt_read(c, "/pool/A", CKPT_F32, 4, (int64_t[]){-1, L, R, H + 1}, x), CL_EFORMAT,
            "wrong shape of /pool/A (got 6 x 2 x 3 x 20, expected any x 2 x 3 x 21)");
    REFUSED(ckpt_read(c, "/pool/A", CKPT_F32, 2, (int64_t[]){N, L * R * H}, x), CL_EFORMAT, "wrong shape");
    REFUSED(ckpt_read(c, "/pool/A", CKPT_I32, 4, (int64_t[]){N, L, R, H}, x), CL_EFORMAT, "expected integers");
    REFUSED(ckpt_get_i64(c, "/pool", "scale", &v), CL_EFORMAT, "expected integers");
    REFUSED(ckpt_get_i64(c, "/pool", "target", &v), CL_EFORMAT, "holds text");
    REFUSED(ckpt_get_f64(c, "/pool", "none", &d), CL_EFORMAT, "no attribute none");
    REFUSED(ckpt_get_f64(c, "/none", "none", &d), CL_EFORMAT, "no /none");
    REFUSED(ckpt_get_f64(c, "/resume", "rng", &d), CL_EFORMAT, "4 values (expected 1)");
    REFUSED(ckpt_get_str(c, "/pool", "rank", &s), CL_EFORMAT, "not text");
    assert_null(s);
    REFUSED(ckpt_get_bytes(c, "/pool", "rank", &b, &n), CL_EFORMAT, "does not hold bytes");
    ckpt_close(c);
}

static void test_golden_sets_open(void **state)
{
    int64_t shape[CKPT_MAX_DIMS];
    float *A0;
    struct ckpt *c;
    int dims;

    (void)state;
    OK(ckpt_open(&c, SOURCE_DIR "/golden/a/init.h5"));
    OK(ckpt_shape(c, "/pool/A", &dims, shape));
    assert_true(dims == 4 && shape[0] == 6 && shape[1] == 3 && shape[2] == 4 && shape[3] == 64);
    A0 = malloc(sizeof *A0 * 6 * 3 * 4 * 64);
    OK(ckpt_read(c, "/pool/A", CKPT_F32, 4, shape, A0));
    OK(ckpt_verify(c));
    free(A0);
    ckpt_close(c);
    OK(ckpt_open_any(&c, SOURCE_DIR "/golden/a/golden.h5"));
    OK(ckpt_verify(c));
    ckpt_close(c);
}

/* HDF5 itself loses memory where it meets damage or a full disk. Such cases run in a child, whose exit handlers run (they
 * must not crash) where no leak checker is among them. */
static void finish(int status)
{
#ifdef __SANITIZE_ADDRESS__
    _exit(status);
#else
    exit(status);
#endif
}

/* ---- damage: every flipped bit is either noticed or changes nothing that is read */

/* Whether the file reads back as it was written; wrong: it reads, but otherwise. */
static int try_damaged(const char *path, bool *wrong)
{
    static float back[N][L][R][H];
    int64_t count[2] = {0}, n = 0;
    char **text = NULL, *config = NULL;
    double use[N] = {0};
    struct ckpt *c = NULL;
    int rc;

    *wrong = false;
    TRY(ckpt_open(&c, path));
    TRY(ckpt_verify(c));
    TRY(ckpt_read(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, back));
    TRY(ckpt_read(c, "/resume/count", CKPT_I64, 1, (int64_t[]){2}, count));
    TRY(ckpt_read(c, "/pool/use", CKPT_F64, 1, (int64_t[]){N}, use));
    TRY(ckpt_read_strings(c, "/stream/tasks", &text, &n));
    TRY(ckpt_get_str(c, "/", "config", &config));
    *wrong = memcmp(back, A, sizeof A) || count[0] != INT64_MAX || use[2] != 0.7 || n != 3 ||
             strcmp(text[1], "döner 中文") || strcmp(config, "{\"seed\": 0, \"method\": \"continual_llava\"}");
done:
    ckpt_strings_free(text, n);
    free(config);
    ckpt_close(c);
    return rc;
}

static int flip_everywhere(char *bytes, size_t n)
{
    int noticed = 0, harmless = 0;
    bool wrong;

    for (size_t i = 0; i < n; i += 7) {
        char old = bytes[i];
        bytes[i] ^= (char)(1 << i % 8);
        spill(in_folder("flip.h5"), bytes, n);
        if (try_damaged(in_folder("flip.h5"), &wrong))
            noticed++;
        else if (!wrong)
            harmless++;
        else {
            fprintf(stderr, "bit %d of byte %zu of %zu flipped: not noticed\n", (int)(i % 8), i, n);
            return 1;
        }
        bytes[i] = old;
    }
    print_message("%zu bytes: %d flips noticed, %d in unused space\n", n, noticed, harmless);
    return noticed > harmless ? 0 : 2;
}

static void test_flipped_bytes(void **state)
{
    size_t n;
    char *bytes;
    int status;
    pid_t child;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    bytes = slurp(in_folder("a.h5"), &n);
    child = fork();
    if (child == 0) finish(flip_everywhere(bytes, n));
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    free(bytes);
}

static void test_checksum_names_the_dataset(void **state)
{
    size_t n, at = 0;
    struct ckpt *c;
    char *bytes;
    hid_t f, d, space;
    haddr_t where;
    hsize_t size, offset[4];
    unsigned mask;
    static float back[N][L][R][H];

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    f = H5Fopen(in_folder("a.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    d = H5Dopen2(f, "/pool/A", H5P_DEFAULT);
    space = H5Dget_space(d);
    assert_true(H5Dget_chunk_info(d, space, 4, offset, &mask, &where, &size) >= 0); // slot 4
    at = (size_t)where;
    H5Sclose(space);
    H5Dclose(d);
    H5Fclose(f);
    bytes = slurp(in_folder("a.h5"), &n);
    bytes[at + size / 2] ^= 0x10;
    spill(in_folder("a.h5"), bytes, n);
    free(bytes);
    OK(ckpt_open(&c, in_folder("a.h5")));
    REFUSED(ckpt_read(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, back), CL_EFORMAT,
            "/pool/A: checksum failure");
    OK(ckpt_read_rows(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, 0, 4, back)); // the others are whole
    REFUSED(ckpt_verify(c), CL_EFORMAT, "/pool/A: checksum failure");
    ckpt_close(c);
}

/* ---- writers that cannot finish */

static void test_abandon(void **state)
{
    struct ckpt *c;
    int before;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    before = descriptors();
    OK(ckpt_create(&c, in_folder("a.h5")));
    assert_int_equal(files_in(folder), 2);
    OK(ckpt_write(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, A, true));
    ckpt_abandon(c);
    assert_int_equal(files_in(folder), 1);
    assert_int_equal(descriptors(), before);
    check_small(in_folder("a.h5"), 1);
}

static void test_bad_places(void **state)
{
    struct ckpt *c;

    (void)state;
    REFUSED(ckpt_create(&c, in_folder("no/such/a.h5")), CL_EIO, "No such file");
    assert_null(c);
    REFUSED(ckpt_create(&c, folder), CL_EIO, "not a regular file");
    REFUSED(ckpt_create(&c, in_folder("new/")), CL_EIO, "");
    REFUSED(ckpt_create(&c, "/proc/cllava.h5"), CL_EIO, "/proc/cllava.h5");
    spill(in_folder("file"), "x", 1);
    REFUSED(ckpt_create(&c, in_folder("file/a.h5")), CL_EIO, "Not a directory");
}

/* As another user where the test runs as root, whom permissions do not stop. */
static void test_read_only_folder(void **state)
{
    int status;
    pid_t child;

    (void)state;
    chmod(folder, 0555);
    child = fork();
    if (child == 0) {
        struct ckpt *c;
        if (getuid() == 0 && (setgid(65534) || setuid(65534))) _exit(2);
        _exit(ckpt_create(&c, in_folder("a.h5")) == CL_EIO && strstr(err_text(), "Permission denied") &&
                      strstr(err_text(), "hint")
                  ? 0
                  : 1);
    }
    waitpid(child, &status, 0);
    chmod(folder, 0755);
    assert_int_equal(status, 0);
    assert_int_equal(files_in(folder), 0);
}

static void test_symbolic_links(void **state)
{
    struct stat s;
    struct ckpt *c;

    (void)state;
    assert_int_equal(mkdir(in_folder("real"), 0755), 0);
    assert_int_equal(symlink("real", in_folder("link")), 0);
    OK(write_small(in_folder("link/a.h5"), 1)); // a linked folder
    check_small(in_folder("real/a.h5"), 1);
    assert_int_equal(symlink("real/a.h5", in_folder("b.h5")), 0);
    OK(write_small(in_folder("b.h5"), 2)); // a linked file stays a link
    check_small(in_folder("real/a.h5"), 2);
    assert_int_equal(lstat(in_folder("b.h5"), &s), 0);
    assert_true(S_ISLNK(s.st_mode));
    assert_int_equal(files_in(in_folder("real")), 1);
    assert_int_equal(symlink("nowhere.h5", in_folder("c.h5")), 0);
    REFUSED(ckpt_create(&c, in_folder("c.h5")), CL_EIO, "symbolic link");
}

static void test_relative_name_and_mode(void **state)
{
    char here[4096];
    struct stat s;
    mode_t mask = umask(027);

    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    OK(write_small("a.h5", 1));
    check_small("a.h5", 1);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(stat(in_folder("a.h5"), &s), 0);
    assert_int_equal(s.st_mode & 0777, 0640);
    umask(mask);
}

/* A writer that is killed at any moment leaves the old file or a whole new one, and a temporary file that is cleaned. */
static void test_killed_writer(void **state)
{
    int killed = 0, removed;
    int64_t seed;
    struct ckpt *c;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    for (int round = 0; round < 25; round++) {
        int ready[2], status;
        char byte;
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0;; i++) {
                if (i == 1 && write(ready[1], "x", 1) != 1) _exit(1);
                if (write_small(in_folder("a.h5"), 1)) _exit(1);
            }
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        nanosleep(&(struct timespec){0, 137000L * round * 11 % 9000000}, NULL);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        killed += WIFSIGNALED(status);
        check_small(in_folder("a.h5"), 1);
        OK(ckpt_clean_temporaries(folder, &removed));
        assert_true(removed <= 1);
        assert_int_equal(files_in(folder), 1);
    }
    assert_int_equal(killed, 25);
    OK(ckpt_open(&c, in_folder("a.h5")));
    OK(ckpt_get_i64(c, "/", "version", &seed));
    ckpt_close(c);
}

static void test_clean_leaves_the_living(void **state)
{
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct ckpt *c;
    int removed, fd;

    (void)state;
    OK(ckpt_create(&c, in_folder("a.h5")));
    spill(in_folder(".b.h5.tmp-elsewhere-12-0"), "x", 1);
    spill(in_folder(".c.h5.tmp-elsewhere-12-0"), "x", 1);
    spill(in_folder("d.tmp-file-of-someone"), "x", 1);
    fd = open(in_folder(".c.h5.tmp-elsewhere-12-0"), O_RDWR);
    futimens(fd, old);
    close(fd);
    OK(ckpt_clean_temporaries(folder, &removed));
    assert_int_equal(removed, 1); // only c: b may still be written on its host
    assert_int_equal(files_in(folder), 3);
    OK(ckpt_commit(c));
    REFUSED(ckpt_clean_temporaries(in_folder("none"), &removed), CL_EIO, "No such file");
}

static void test_two_writers_of_one_name(void **state)
{
    struct ckpt *a, *b;
    int64_t x;

    (void)state;
    OK(ckpt_create(&a, in_folder("a.h5")));
    OK(ckpt_create(&b, in_folder("a.h5")));
    OK(ckpt_attr_i64(a, "/", "who", 1));
    OK(ckpt_attr_i64(b, "/", "who", 2));
    OK(ckpt_commit(b));
    OK(ckpt_commit(a));
    OK(ckpt_open(&a, in_folder("a.h5")));
    OK(ckpt_get_i64(a, "/", "who", &x));
    assert_int_equal(x, 1);
    ckpt_close(a);
    assert_int_equal(files_in(folder), 1);
}

/* Writes something large, in a child: only there may limits be set. Exit status 0: refused as it should be. */
static int large_write(const char *path, const char *reason)
{
    enum { ROWS = 64, WIDTH = 65536 };
    uint32_t *x = malloc(sizeof *x * ROWS * WIDTH), s = 1;
    struct ckpt *c = NULL;
    int rc, before = descriptors();

    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = s = s * 1664525u + 1013904223u;
    TRY(ckpt_create(&c, path));
    rc = ckpt_write(c, "/pool/A", CKPT_I32, 2, (int64_t[]){ROWS, WIDTH}, x, true);
    if (rc)
        ckpt_abandon(c);
    else
        rc = ckpt_commit(c);
done:
    free(x);
    fprintf(stderr, "%s\n", err_text());
    if (descriptors() != before) return 3;
    return rc == CL_EIO && strstr(err_text(), reason) && strstr(err_text(), "hint: free space") ? 0 : 1;
}

/* A file may grow to `limit` bytes: the write fails somewhere in the middle. */
static void limited(rlim_t limit)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit r = {limit, limit};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &r);
        exit(large_write(in_folder("a.h5"), "File too large"));
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    check_small(in_folder("a.h5"), 1);
    assert_int_equal(files_in(folder), 1);
}

static void test_file_size_limit(void **state)
{
    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    limited(10 << 20);
    limited(1 << 20);
    limited(4096);
    limited(100);
    limited(0);
}

/* The same where it is text, headers or the end of the file that has no room. */
static void test_file_size_limit_anywhere(void **state)
{
    struct stat s;
    int status, before;
    pid_t child;

    (void)state;
    OK(write_small(in_folder("a.h5"), 1));
    assert_int_equal(stat(in_folder("a.h5"), &s), 0);
    child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        before = descriptors();
        for (rlim_t limit = 0; limit < (rlim_t)s.st_size; limit += 331) {
            struct rlimit r = {limit, RLIM_INFINITY};
            setrlimit(RLIMIT_FSIZE, &r);
            if (write_small(in_folder("a.h5"), 2) != CL_EIO || !strstr(err_text(), "File too large")) {
                fprintf(stderr, "limit %d of %d: %s\n", (int)limit, (int)s.st_size, err_text());
                finish(1);
            }
            if (descriptors() != before || files_in(folder) != 1) finish(2);
        }
        finish(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    check_small(in_folder("a.h5"), 1);
}

static void test_full_disk(void **state)
{
    int status;
    pid_t child;

    (void)state;
    if (mount("none", folder, "tmpfs", 0, "size=2m")) {
        print_message("skipped: cannot mount a small file system here\n");
        skip();
    }
    OK(write_small(in_folder("a.h5"), 1));
    child = fork();
    if (child == 0) finish(large_write(in_folder("a.h5"), "No space left on device"));
    waitpid(child, &status, 0);
    check_small(in_folder("a.h5"), 1);
    assert_int_equal(files_in(folder), 1);
    umount(folder);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest checkpoint[] = {
        CASE(test_round_trip),
        CASE(test_equal_content_gives_equal_bytes),
        CASE(test_conversion_of_numbers),
        CASE(test_rows),
        CASE(test_listing),
        CASE(test_layout_on_disk),
        CASE(test_other_tools_read_it),
        CASE(test_names_are_checked),
        CASE(test_many_and_long),
        CASE(test_foreign_files),
        CASE(test_shapes_and_links_are_not_trusted),
        CASE(test_wrong_expectations),
        CASE(test_golden_sets_open),
        CASE(test_flipped_bytes),
        CASE(test_checksum_names_the_dataset),
        CASE(test_abandon),
        CASE(test_bad_places),
        CASE(test_read_only_folder),
        CASE(test_symbolic_links),
        CASE(test_relative_name_and_mode),
        CASE(test_killed_writer),
        CASE(test_clean_leaves_the_living),
        CASE(test_two_writers_of_one_name),
        CASE(test_file_size_limit),
        CASE(test_file_size_limit_anywhere),
        CASE(test_full_disk),
    };

    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(checkpoint, NULL, NULL);
}
