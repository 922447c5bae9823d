/* Samples with a tokenizer that is easily read: a byte is the id 1000 + byte, '@' is the picture token, a text of its own
 * begins with the id 900 where the tokenizer adds a prefix. The true tokenizers: test_sample_golden. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/sample.h"

enum { BOS = 1, EOS = 2, PICTURE = 77, PREFIX = 900 };

struct tokenizer {
    bool prefix;
};

int ids_push(struct ids *v, int32_t id)
{
    if (v->n == v->room) {
        v->room = v->room ? 2 * v->room : 8;
        v->id = realloc(v->id, v->room * sizeof *v->id);
        assert_non_null(v->id);
    }
    v->id[v->n++] = id;
    return CL_OK;
}

void ids_free(struct ids *v)
{
    free(v->id);
    *v = (struct ids){0};
}

int tokenizer_encode_continued(const struct tokenizer *t, const char *text, size_t n, struct ids *out)
{
    (void)t;
    for (size_t i = 0; i < n; i++) ids_push(out, text[i] == '@' ? PICTURE : 1000 + (unsigned char)text[i]);
    return CL_OK;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, struct ids *out)
{
    if (t->prefix && n) ids_push(out, PREFIX);
    return tokenizer_encode_continued(t, text, n, out);
}

bool tokenizer_adds_prefix(const struct tokenizer *t)
{
    return t->prefix;
}

/* Ids as text: '^' BOS, '*' a place for a prompt's row, '$' EOS, '#' picture, '_' prefix, else the byte; and labels the same way, '.' for no loss. */
static void spell(char *ids, char *labels, const struct sample *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        int32_t v = s->id[i];

        ids[i] = v == BOS            ? '^'
                 : v == EOS          ? '$'
                 : v == PICTURE      ? '#'
                 : v == PREFIX       ? '_'
                 : v == PROMPT_TOKEN ? '*'
                                     : (char)(v - 1000);
        if (s->label[i] != -100) assert_int_equal(s->label[i], v);
        labels[i] = s->label[i] == -100 ? '.' : ids[i];
    }
    ids[s->n] = labels[s->n] = 0;
}

static struct turn one[] = {{true, "a<image>b"}, {false, "yes"}};
static struct turn two[] = {{true, "<image>\nq"}, {false, "no"}, {true, "r"}, {false, "ok"}};
static struct turn bare[] = {{true, "t"}, {false, "u"}};

struct make_case {
    const char *template_, *system;
    bool prefix, legacy;
    struct turn *turn;
    int turns;
    const char *ids;
    int prompt_n, picture;
};

static void ids_and_labels(void **state)
{
    static const struct make_case cases[] = {
        {"U:{question} A:", "S ", true, true, one, 2, "^_S U:a##_b A:_yes$", 14, 7},
        {"U:{question} A:", NULL, false, true, one, 2, "^U:a##b A: yes$", 10, 4},
        {"U:{question}", "", true, true, two, 4, "^_U:##_\nq_no$_U:r_ok$", 9, 4},
        {"U:{question}", "", true, false, two, 4, "^_U:##_\nq_no$U:r_ok$", 9, 4},
        {"plain", NULL, true, true, two, 4, "^##_\nq_no$_r_ok$", 6, 1},
        {"plain", NULL, false, true, bare, 2, "^t u$", 2, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct make_case *c = &cases[i];
        const struct tokenizer tok = {c->prefix};
        struct record r = {.image = c->turn == bare ? NULL : "p.png", .turns = c->turns, .turn = c->turn};
        struct prompt p;
        struct sampler how = {&tok, &p, BOS, EOS, PICTURE, 2, 0, 0};
        char ids[128], labels[128];
        struct sample s;
        int64_t answers = 0;

        assert_int_equal(prompt_make(&p, c->template_, c->system, c->legacy), CL_OK);
        assert_int_equal(sample_make(&s, &how, &r), CL_OK);
        spell(ids, labels, &s);
        assert_string_equal(ids, c->ids);
        assert_int_equal(s.prompt_n, c->prompt_n);
        assert_int_equal(s.picture, c->picture);
        for (int64_t t = 0; t < s.n; t++) answers += labels[t] != '.';
        assert_int_equal(s.answers, answers);
        // loss from the first answer on, on each answer and its end
        for (int64_t t = 0; t < s.prompt_n; t++) assert_true(labels[t] == '.');
        assert_true(labels[s.prompt_n] != '.');
        assert_true(labels[s.n - 1] == '$');
        sample_free(&s);

        assert_int_equal(sample_make_prompt(&s, &how, &r), CL_OK);
        spell(ids, labels, &s);
        assert_int_equal(strncmp(ids, c->ids, strlen(ids)), 0);
        assert_int_equal(s.n, c->prompt_n);
        assert_int_equal(s.prompt_n, c->prompt_n);
        assert_int_equal(s.answers, 0);
        sample_free(&s);
        prompt_free(&p);
    }
}

/* The picture is ##; blanks and line ends beside its marker go with it. */
static void instruction_before_or_after(void **state)
{
    static const struct {
        const char *question, *as_is, *before, *after;
    } cases[] = {
        {"<image>\nq", "^##\nq", "^q\n##", "^##\nq"},
        {"q\n<image>", "^q\n##", "^q\n##", "^##\nq"},
        {"q <image> r", "^q ## r", "^q\nr\n##", "^##\nq\nr"},
        {"<image>", "^##", "^##", "^##"},
    };
    const struct tokenizer tok = {false};
    struct prompt p;
    struct sampler how = {&tok, &p, BOS, EOS, PICTURE, 2, 0, 0};

    (void)state;
    assert_int_equal(prompt_make(&p, "plain", NULL, true), CL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const expected[] = {cases[i].as_is, cases[i].before, cases[i].after}, *const word[] = {"as_is",
                                                                                                           "before",
                                                                                                           "after"};
        struct turn t[] = {{true, (char *)cases[i].question}};
        struct record r = {.image = "p.png", .turns = 1, .turn = t};
        for (int k = 0; k < 3; k++) {
            char ids[128], labels[128];
            struct sample s;
            p.instruction = prompt_instruction(word[k]);
            assert_int_equal(sample_make_prompt(&s, &how, &r), CL_OK);
            spell(ids, labels, &s);
            assert_string_equal(ids, expected[k]);
            assert_int_equal(s.picture, strchr(ids, '#') - ids);
            sample_free(&s);
        }
    }
    prompt_free(&p);
}

static void later_turns_and_labels(void **state)
{
    const struct tokenizer tok = {true};
    struct record r = {.image = "p.png", .turns = 4, .turn = two};
    struct prompt p;
    struct sampler how = {&tok, &p, -1, EOS, PICTURE, 3, 0, 0};
    char ids[128], labels[128];
    struct sample s;

    (void)state;
    assert_int_equal(prompt_make(&p, "{question}>", "", true), CL_OK);
    assert_int_equal(sample_make(&s, &how, &r), CL_OK); // no BOS
    spell(ids, labels, &s);
    assert_string_equal(ids, "###_\nq>_no$_r>_ok$");
    assert_string_equal(labels, "......._no$..._ok$");
    assert_int_equal(s.answers, 8);
    sample_free(&s);
    r.turns = 3; // the last question has no answer
    assert_int_equal(sample_make(&s, &how, &r), CL_OK);
    spell(ids, labels, &s);
    assert_string_equal(ids, "###_\nq>_no$");
    sample_free(&s);
    prompt_free(&p);
}

static void refuses(void **state)
{
    static const struct {
        const char *question, *answer, *image, *says;
        int max;
    } cases[] = {
        {"q", "a", "p.png", "<image> stands 0 times", 0},
        {"<image>q", "a", NULL, "<image> stands 1 times", 0},
        {"<image><image>q", "a", "p.png", "<image> stands 2 times", 0},
        {"q", "<image>", NULL, "turn 2", 0},
        {"q", "", NULL, "without any token", 0},
        {"q@", "a", NULL, "picture token", 0},
        {"q", "@", NULL, "picture token", 0},
        {"<image>q", "a", "p.png", "got 8 tokens, at most 7", 7},
        {"q", NULL, NULL, "no answer", 0},
    };
    const struct tokenizer tok = {true};
    struct prompt p;

    (void)state;
    assert_int_equal(prompt_make(&p, "plain", NULL, true), CL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct turn t[] = {{true, (char *)cases[i].question}, {false, (char *)cases[i].answer}};
        struct record r = {.image = (char *)cases[i].image, .turns = cases[i].answer ? 2 : 1, .turn = t};
        struct sampler how = {&tok, &p, BOS, EOS, PICTURE, 2, cases[i].max, 0};
        struct sample s;

        assert_int_equal(sample_make(&s, &how, &r), CL_EDATA);
        if (!strstr(err_text(), cases[i].says)) fail_msg("case %zu: %s", i, err_text());
        assert_null(s.id);
        sample_free(&s);
        if (cases[i].max) { // one more fits
            how.max_length++;
            assert_int_equal(sample_make(&s, &how, &r), CL_OK);
            sample_free(&s);
        }
    }
    struct turn empty[] = {{true, ""}, {false, "a"}};
    struct record r = {.turns = 2, .turn = empty};
    struct sampler how = {&tok, &p, -1, EOS, PICTURE, 2, 0, 0};
    struct sample s;
    assert_int_equal(sample_make(&s, &how, &r), CL_EDATA);
    assert_non_null(strstr(err_text(), "nothing to continue"));
    prompt_free(&p);
}

static void prompts(void **state)
{
    struct prompt p;

    (void)state;
    assert_int_equal(prompt_make(&p, "vicuna_v1", NULL, true), CL_OK);
    assert_int_equal(strlen(p.system), 155);
    assert_int_equal(strncmp(p.system, "A chat between a curious user", 29), 0);
    assert_string_equal(p.turn, "USER: {question} ASSISTANT:");
    assert_true(p.bos && p.eos && p.legacy);
    prompt_free(&p);
    assert_int_equal(prompt_make(&p, "vicuna_v1", "Hi. ", false), CL_OK);
    assert_string_equal(p.system, "Hi. ");
    assert_false(p.legacy);
    prompt_free(&p);
    assert_int_equal(prompt_make(&p, "llava_hf", NULL, true), CL_OK);
    assert_string_equal(p.system, "");
    prompt_free(&p);
    assert_int_equal(prompt_make(&p, "vicuna", NULL, true), CL_ECONFIG);
    assert_non_null(strstr(err_text(), "vicuna_v1, llava_hf, plain"));
    assert_int_equal(prompt_make(&p, "{question}{question}", NULL, true), CL_ECONFIG);
    assert_int_equal(prompt_make(&p, "<image>{question}", NULL, true), CL_ECONFIG);
    assert_null(p.turn);
}

/* Places for learned prompts stand behind BOS, or in front where there is none, count in lengths, and can be taken out again. */
static void places_for_prompts(void **state)
{
    static const struct {
        int32_t bos;
        const char *with, *without;
        int64_t picture;
    } cases[] = {{BOS, "^***_a##_b_yes$", "^_a##_b_yes$", 6}, {-1, "***_a##_b_yes$", "_a##_b_yes$", 5}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct tokenizer tok = {true};
        struct record r = {.image = "p.png", .turns = 2, .turn = one};
        struct prompt p;
        struct sampler how = {&tok, &p, cases[i].bos, EOS, PICTURE, 2, 0, 3};
        char ids[128], labels[128];
        struct sample s;

        assert_int_equal(prompt_make(&p, "plain", NULL, true), CL_OK);
        for (int prompt_only = 0; prompt_only < 2; prompt_only++) {
            const size_t n = strlen(cases[i].with) - (prompt_only ? 5 : 0);
            assert_int_equal(prompt_only ? sample_make_prompt(&s, &how, &r) : sample_make(&s, &how, &r), CL_OK);
            spell(ids, labels, &s);
            assert_int_equal(strlen(ids), n);
            assert_int_equal(strncmp(ids, cases[i].with, n), 0);
            assert_int_equal(strncmp(labels, "....", 4), 0);
            assert_int_equal(s.picture, cases[i].picture);
            assert_int_equal(s.prompt_n, (int64_t)strlen(cases[i].with) - 5);
            sample_drop_prompts(&s);
            spell(ids, labels, &s);
            assert_int_equal(strlen(ids), n - 3);
            assert_int_equal(strncmp(ids, cases[i].without, n - 3), 0);
            assert_int_equal(s.picture, cases[i].picture - 3);
            assert_int_equal(s.prompt_n, (int64_t)strlen(cases[i].without) - 5);
            sample_free(&s);
        }
        how.max_length = (int64_t)strlen(cases[i].with) - 1;
        assert_int_equal(sample_make(&s, &how, &r), CL_EDATA);
        assert_non_null(strstr(err_text(), "sample too long"));
        r.image = NULL, r.turn = (struct turn[]){{true, ""}, {false, "u"}}; // nothing but places
        assert_int_equal(sample_make_prompt(&s, &how, &r), cases[i].bos < 0 ? CL_EDATA : CL_OK);
        sample_free(&s);
        prompt_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_labels),
        cmocka_unit_test(instruction_before_or_after),
        cmocka_unit_test(later_turns_and_labels),
        cmocka_unit_test(refuses),
        cmocka_unit_test(prompts),
        cmocka_unit_test(places_for_prompts),
    };

    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
