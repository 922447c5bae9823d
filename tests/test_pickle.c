/* test_pickle.c - what Python's pickle writes in every protocol, what Python 2 wrote, what is refused, and damaged bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/pickle.h"

// clang-format off
/* pickle.dumps(o, protocol) of one object, protocols 0 to 5 (Python 3.11). */
static const char *const written[] = {
    "286470300a56610a70310a286c70320a49310a61492d320a614c313039393531313632373737364c0a614930310a614930300a614e61"
    "46312e350a6156e9205c5530303031663630300a70330a6156785c7530303061275c75303035630a70340a617356740a70350a284931"
    "0a7470360a7356750a70370a2849310a49320a7470380a7356760a70390a2849310a49320a49330a747031300a7356770a7031310a28"
    "49310a49320a49330a49340a747031320a7356650a7031330a286c7031340a286c7031350a6128647031360a612874617356730a7031"
    "370a56787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "7878787878787878787878787878787878787878787878787878787878787878780a7031380a73566e0a7031390a4c2d393232333337"
    "323033363835343737353830384c0a7349370a56736576656e0a7032300a7356690a7032310a286c7032320a493235350a6149323536"
    "0a614936353533350a614936353533360a61492d310a614c323134373438333634384c0a617356616761696e0a7032330a67320a732e",
    "7d71002858010000006171015d7102284b014afeffffff4c313039393531313632373737364c0a4930310a4930300a4e473ff8000000"
    "0000005807000000c3a920f09f988071035804000000780a275c7104655801000000747105284b017471065801000000757107284b01"
    "4b027471085801000000767109284b014b024b0374710a580100000077710b284b014b024b034b0474710c580100000065710d5d710e"
    "285d710f7d711029655801000000737111582c0100007878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787112"
    "58010000006e71134c2d393232333337323033363835343737353830384c0a4b075805000000736576656e711458010000006971155d"
    "7116284bff4d00014dffff4a000001004affffffff4c323134373438333634384c0a655805000000616761696e71176802752e",
    "80027d71002858010000006171015d7102284b014afeffffff8a0600000000000188894e473ff80000000000005807000000c3a920f0"
    "9f988071035804000000780a275c71046558010000007471054b0185710658010000007571074b014b0286710858010000007671094b"
    "014b024b0387710a580100000077710b284b014b024b034b0474710c580100000065710d5d710e285d710f7d71102965580100000073"
    "7111582c0100007878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "78787878787878787878787878787878787878787878787878787878787878787878787878711258010000006e71138a080000000000"
    "0000804b075805000000736576656e711458010000006971155d7116284bff4d00014dffff4a000001004affffffff8a050000008000"
    "655805000000616761696e71176802752e",
    "80037d71002858010000006171015d7102284b014afeffffff8a0600000000000188894e473ff80000000000005807000000c3a920f0"
    "9f988071035804000000780a275c71046558010000007471054b0185710658010000007571074b014b0286710858010000007671094b"
    "014b024b0387710a580100000077710b284b014b024b034b0474710c580100000065710d5d710e285d710f7d71102965580100000073"
    "7111582c0100007878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "78787878787878787878787878787878787878787878787878787878787878787878787878711258010000006e71138a080000000000"
    "0000804b075805000000736576656e711458010000006971155d7116284bff4d00014dffff4a000001004affffffff8a050000008000"
    "655805000000616761696e71176802752e",
    "800495ec010000000000007d94288c0161945d94284b014afeffffff8a0600000000000188894e473ff80000000000008c07c3a920f0"
    "9f9880948c04780a275c94658c0174944b0185948c0175944b014b0286948c0176944b014b024b0387948c017794284b014b024b034b"
    "0474948c0165945d94285d947d9429658c017394582c0100007878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "78948c016e948a0800000000000000804b078c05736576656e948c0169945d94284bff4d00014dffff4a000001004affffffff8a0500"
    "00008000658c05616761696e946802752e",
    "800595ec010000000000007d94288c0161945d94284b014afeffffff8a0600000000000188894e473ff80000000000008c07c3a920f0"
    "9f9880948c04780a275c94658c0174944b0185948c0175944b014b0286948c0176944b014b024b0387948c017794284b014b024b034b"
    "0474948c0165945d94285d947d9429658c017394582c0100007878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "78948c016e948a0800000000000000804b078c05736576656e948c0169945d94284bff4d00014dffff4a000001004affffffff8a0500"
    "00008000658c05616761696e946802752e",
};
/* json.dumps(o); @ stands for 300 times x. */
static const char object[] = "{\"a\":[1,-2,1099511627776,true,false,null,1.5,\"\xc3\xa9"" \xf0\x9f\x98\x80""\",\"x\\n'\\\\\"],\"t\":[1],\"u\":[1,2],\"v\":[1,2,3],\"w\":[1,2,3,4],\"e\":[[],{},[]],\"s\":\"@\",\"n\":-9223372036854775808,\"7\":\"seven\",\"i\":[255,256,65535,65536,-1,2147483648],\"again\":[1,-2,1099511627776,true,false,null,1.5,\"\xc3\xa9"" \xf0\x9f\x98\x80""\",\"x\\n'\\\\\"]}";
// clang-format on

static size_t bytes_of(char *out, const char *hex)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++) {
        unsigned byte;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    return n;
}

/* The root as JSON on one line; malloc'ed. */
static char *json_text(const char *bytes, size_t n)
{
    struct pickle *p;
    json_t *o;
    char *s;

    if (pickle_read(&p, bytes, n, "test")) fail_msg("%s", err_text());
    if (pickle_json(&o, pickle_root(p))) fail_msg("%s", err_text());
    s = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_non_null(s);
    json_decref(o);
    pickle_close(p);
    return s;
}

static void becomes(const char *bytes, size_t n, const char *want)
{
    char *got = json_text(bytes, n);

    assert_string_equal(got, want);
    free(got);
}

static void every_protocol(void **state)
{
    char want[1024], bytes[2048];
    const char *at = strchr(object, '@');

    (void)state;
    snprintf(want, sizeof want, "%.*s", (int)(at - object), object);
    memset(want + (at - object), 'x', 300);
    strcpy(want + (at - object) + 300, at + 1);
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) becomes(bytes, bytes_of(bytes, written[i]), want);
}

/* Texts without encoding, booleans, longs, surrogate pairs of narrow builds. */
static void python_2(void **state)
{
    static const struct {
        const char *bytes, *json;
    } cases[] = {
        {"S'a\\x41\\\\\\n\\t\\'\"'\n.", "\"aA\\\\\\n\\t'\\\"\""},
        {"S\"it's\"\np0\n.", "\"it's\""},
        {"S'caf\\xc3\\xa9'\n.", "\"caf\xc3\xa9\""},
        {"S'caf\\xe9'\n.", "\"caf\xc3\xa9\""},
        {"U\004caf\xe9.", "\"caf\xc3\xa9\""},
        {"Vcaf\xe9 \\u20ac \\ud83d\\ude00\n.", "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\""},
        {"(I01\nI00\nI1\nL-9223372036854775808L\nF-2.5\nNl.", "[true,false,1,-9223372036854775808,-2.5,null]"},
        {"(dp1\nS'k'\nI1\nsg1\n0.", "{\"k\":1}"},
        {"(S'a'\nI1\nS'a'\nI2\nd.", "{\"a\":2}"},
        {"\x80\x02(K\001K\0022t.", "[1,2,2]"},
        {"\x8a\000.", "0"},
        {"\x8a\002\xff\x7f.", "32767"},
        {"\x8a\001\x80.", "-128"},
    };
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (n = strlen(cases[i].bytes); cases[i].bytes[n - 1] != '.'; n++) continue; // NUL among the bytes
        becomes(cases[i].bytes, n, cases[i].json);
    }
}

static int code_of(const char *bytes, size_t n)
{
    struct pickle *p;
    int rc = pickle_read(&p, bytes, n, "FILE");

    if (rc) assert_null(p);
    pickle_close(p);
    return rc;
}

#define REFUSED(bytes, words)                                                                                          \
    do {                                                                                                               \
        assert_int_equal(code_of(bytes, sizeof(bytes) - 1), CL_EFORMAT);                                               \
        assert_non_null(strstr(err_text(), words));                                                                    \
    } while (0)

static void more_than_data(void **state)
{
    (void)state;
    REFUSED("cos\nsystem\n(S'x'\ntR.", "instruction GLOBAL of os.system at byte 0 would create an object");
    REFUSED("(ios\nsystem\nS'x'\n.", "INST of os.system");
    REFUSED("c\x01\x02\nb\xff\n.", "GLOBAL of ??.b?");
    REFUSED("\x80\x04\x8c\002os\x8c\006system\x93.", "STACK_GLOBAL");
    REFUSED("NNR.", "REDUCE");
    REFUSED("NNb.", "BUILD");
    REFUSED("NN\x81.", "NEWOBJ");
    REFUSED("Pid\n.", "PERSID");
    REFUSED("\x82\001.", "EXT1");
    REFUSED("\x8f.", "EMPTY_SET");
    REFUSED("\x97.", "NEXT_BUFFER");
}

static void broken(void **state)
{
    (void)state;
    REFUSED("", "ends early");
    REFUSED("N", "ends early");
    REFUSED("hello", "recalls what it never stored");
    REFUSED("<html>", "unknown instruction 0x3c at byte 0");
    REFUSED(".", "finds nothing to work on");
    REFUSED("(.", "finds nothing to work on");
    REFUSED("NN.", "left over");
    REFUSED("\x80\x06N.", "protocol newer than 5");
    REFUSED("X\xff\xff\xff\x7fx.", "ends early");
    REFUSED("\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", "ends early");
    REFUSED("\x8b\xff\xff\xff\xff.", "more than 64 bits");
    REFUSED("L99999999999999999999L\n.", "more than 64 bits");
    REFUSED("Nr\xff\xff\xff\xff.", "memo number beyond");
    REFUSED("Np-1\n.", "negative memo number");
    REFUSED("a.", "finds nothing");
    REFUSED("]Ns.", "finds nothing");
    REFUSED("]NNs.", "another kind of value");
    REFUSED("}(Nu.", "key without a value");
    REFUSED("(Nd.", "key without a value");
    REFUSED("]e.", "mark is missing");
    REFUSED("(\x85.", "finds nothing");
    REFUSED("S'x\n.", "without quotes");
    REFUSED("S'\\xg0'\n.", "escape");
    REFUSED("V\\u12\n.", "escape");
    REFUSED("F1x\n.", "number");
    REFUSED("I\n.", "integer");
}

/* Values that no record should have: JSON refuses them one record at a time. */
static void not_json(void **state)
{
    static const struct {
        const char *bytes, *words;
        size_t n;
    } cases[] = {
        {"]q\000h\000a.", "refers to itself", 7},   {"}q\000K\001h\000s.", "refers to itself", 9},
        {"X\003\000\000\000a\000b.", "NUL", 9},     {"X\001\000\000\000\xff.", "UTF-8", 7},
        {"}NNs.", "neither text nor integer", 5},   {"Fnan\n.", "not finite", 6},
        {"}X\003\000\000\000a\000bNs.", "key", 12},
    };
    struct pickle *p;
    json_t *o;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pickle_read(&p, cases[i].bytes, cases[i].n, "test"), CL_OK);
        assert_int_equal(pickle_json(&o, pickle_root(p)), CL_EDATA);
        assert_non_null(strstr(err_text(), cases[i].words));
        assert_null(o);
        pickle_close(p);
    }
}

/* 25 lists, each the one before ten times: small as a pickle, 10^25 values as a tree. */
static void laughs(void **state)
{
    char bytes[1024];
    struct pickle *p;
    size_t n = 0;
    json_t *o;

    (void)state;
    n += (size_t)sprintf(bytes + n, "]");
    for (int i = 0; i < 25; i++) {
        bytes[n++] = 'q', bytes[n++] = (char)i;
        bytes[n++] = '0', bytes[n++] = '(';
        for (int k = 0; k < 10; k++) bytes[n++] = 'h', bytes[n++] = (char)i;
        bytes[n++] = 'l';
    }
    bytes[n++] = '.';
    assert_int_equal(pickle_read(&p, bytes, n, "test"), CL_OK);
    assert_int_equal(pickle_json(&o, pickle_root(p)), CL_EDATA);
    assert_non_null(strstr(err_text(), "parts"));
    pickle_close(p);
}

static uint64_t draw(uint64_t *seed)
{
    *seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17;
    return *seed;
}

/* Damaged bytes are refused or read, nothing else (the sanitizers watch). */
static void damaged(void **state)
{
    uint64_t seed = 88172645463325252u;
    char whole[2048], *bytes;
    int read = 0, refused = 0;

    (void)state;
    for (int k = 0; k < 30000; k++) {
        size_t n = bytes_of(whole, written[k % 6]);
        struct pickle *p;
        json_t *o = NULL;

        for (uint64_t i = draw(&seed) % 4 + 1; i; i--) whole[draw(&seed) % n] = (char)draw(&seed);
        if (k % 3 == 0) n = draw(&seed) % n;
        if (!(bytes = malloc(n ? n : 1))) fail();
        memcpy(bytes, whole, n); // exactly as large: one byte further is seen
        if (pickle_read(&p, bytes, n, "test")) {
            refused++;
        } else {
            read++;
            if (!pickle_json(&o, pickle_root(p))) json_decref(o);
        }
        pickle_close(p);
        free(bytes);
    }
    assert_true(read > 100 && refused > 1000);
}

static void files(void **state)
{
    char path[] = "/tmp/test_pickle_XXXXXX";
    struct pickle *p;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(pickle_open(&p, path), CL_EFORMAT);
    assert_non_null(strstr(err_text(), "0 bytes"));
    assert_int_equal(write(fd, "]K\001a.", 5), 5);
    close(fd);
    assert_int_equal(pickle_open(&p, path), CL_OK);
    assert_int_equal(pickle_root(p)->kind, PICKLE_LIST);
    assert_int_equal(pickle_root(p)->list.n, 1);
    pickle_close(p);
    assert_int_equal(truncate(path, ((off_t)1 << 30) + 1), 0);
    assert_int_equal(pickle_open(&p, path), CL_EFORMAT);
    unlink(path);
    assert_int_equal(pickle_open(&p, path), CL_EIO);
    assert_int_equal(pickle_open(&p, "/tmp"), CL_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol), cmocka_unit_test(python_2), cmocka_unit_test(more_than_data),
        cmocka_unit_test(broken),         cmocka_unit_test(not_json), cmocka_unit_test(laughs),
        cmocka_unit_test(damaged),        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
