/* test_judge.c - ids by content, requests in the layouts of the papers, replies and what is left out of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "io/judge.h"

static void test_ids(void **state)
{
    const struct judge_item item = {"q", "r", "p"};
    const struct judge_item other[] = {
        {"Q", "r", "p"}, {"q", "p", "r"}, {"qr", "", "p"}, {"q", "rp", ""}, {"", "qr", "p"}};
    char id[JUDGE_ID], another[JUDGE_ID];

    (void)state;
    judge_id(id, &item);
    judge_id(another, &item);
    assert_string_equal(id, another);
    assert_int_equal(strspn(id, "0123456789abcdef"), 16);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        judge_id(another, &other[i]);
        assert_string_not_equal(id, another);
    }
}

static const char *message(json_t *o, size_t i)
{
    return json_string_value(json_object_get(json_array_get(json_object_get(o, "messages"), i), "content"));
}

static json_t *request(const char *form, const char *rule, const struct judge_item *x)
{
    struct text t = {0};
    json_t *o;

    assert_int_equal(judge_request(&t, judge_form(form), rule, x, "17"), 0);
    assert_null(strchr(t.s, '\n'));
    o = json_loads(t.s, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    text_free(&t);
    return o;
}

static void test_requests(void **state)
{
    const struct judge_item x = {"What \"is\" it?\nAnswer with one word.", "cat", "a\ndog"};
    json_t *o = request("llava_bench", "RULE", &x);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(o, "question_id")), "17");
    assert_string_equal(json_string_value(json_object_get(o, "prediction")), "a\ndog");
    assert_string_equal(message(o, 0),
                        "You are a helpful and precise assistant for checking the quality of the answer.");
    assert_string_equal(
        message(o, 1),
        "[Context]\n\n\n[Question]\nWhat \"is\" it?\nAnswer with one word.\n\n[Assistant 1]\ncat\n\n[End of "
        "Assistant 1]\n\n[Assistant 2]\na\ndog\n\n[End of Assistant 2]\n\n[System]\nRULE\n\n");
    json_decref(o);
    o = request("coin", "RULE", &x);
    assert_string_equal(message(o, 1),
                        "[Context]\n[Question]\nWhat \"is\" it?\n\n[Ground truth answer]\ncat\n\n[End of ground truth "
                        "answer]\n\n[Assistant]\na\ndog\n\n[End of Assistant]\n\n[System]\nRULE\n\n");
    json_decref(o);
    o = request("yes_no", NULL, &(struct judge_item){"One line?", "r", "p"});
    assert_non_null(strstr(message(o, 1), "[Question]\nOne line?\n\n"));
    assert_non_null(strstr(message(o, 1), judge_form("yes_no")->rule));
    json_decref(o);
    assert_null(judge_form("llava"));
}

static struct judge_sum sum_of(const char *form, const char *const *reply, int n)
{
    struct judge_sum s = {0};

    for (int i = 0; i < n; i++) assert_int_equal(judge_add(&s, judge_form(form), reply[i]), 0);
    return s;
}

static void test_replies(void **state)
{
    static const char *const bench[] = {"8 6\nsince", "8, 7", "4 3", "0 5", "nan 5"},
                             *const coin[] = {"8", "15", "7/10", "none", "-3"},
                             *const yes[] = {"{'pred': 'yes', 'score': 4}", "No.", "perhaps", "YES"};
    struct judge_sum s = sum_of("llava_bench", bench, 5);

    (void)state;
    assert_true(s.n == 5 && s.unreadable == 3); // what cannot be read is no -1
    assert_true(fabs(judge_percent(&s) - 100 * 9 / 12.0) < 1e-12);
    s = sum_of("coin", coin, 5);
    assert_true(s.n == 5 && s.unreadable == 0 && fabs(judge_percent(&s) - 100 * 15 / 50.0) < 1e-12);
    s = sum_of("yes_no", yes, 4);
    assert_true(s.n == 4 && s.unreadable == 1 && fabs(judge_percent(&s) - 200 / 3.0) < 1e-12);
    assert_true(isnan(judge_percent(&(struct judge_sum){0})));
}

int main(void)
{
    const struct CMUnitTest judge[] = {cmocka_unit_test(test_ids), cmocka_unit_test(test_requests),
                                       cmocka_unit_test(test_replies)};

    return cmocka_run_group_tests(judge, NULL, NULL);
}
