/* tok_fixture.h - what the tokenizer tests share: a folder of their own, JSON written with ` for ", vocabularies out of
 * GGUF files. Include after cmocka.h. */
#ifndef CLLAVA_TESTS_TOK_FIXTURE_H
#define CLLAVA_TESTS_TOK_FIXTURE_H

#include "io/err.h"
#include "io/tokenizer.h"
#include "folder.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOK_FN static inline __attribute__((unused))

static char dir[64];

TOK_FN int make_dir(void **state)
{
    (void)state;
    return folder_new(dir);
}

TOK_FN int remove_dir(void **state)
{
    (void)state;
    return folder_remove(dir);
}

/* s NULL: no such file any more. */
TOK_FN void write_bytes(const char *name, const void *s, size_t n)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
    if (!s) return;
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(s, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

TOK_FN void write_text(const char *name, const char *s)
{
    write_bytes(name, s, s ? strlen(s) : 0);
}

/* s with " for `, so that JSON stays readable in C; malloc'ed. */
TOK_FN char *quoted(const char *s)
{
    char *copy = strdup(s);

    assert_non_null(copy);
    for (char *p = copy; *p; p++)
        if (*p == '`') *p = '"';
    return copy;
}

TOK_FN void write_json(const char *name, const char *s)
{
    char *text = quoted(s);

    write_text(name, text);
    free(text);
}

TOK_FN json_t *parse(const char *s)
{
    char *text = quoted(s);
    json_error_t fault;
    json_t *o = json_loads(text, JSON_DECODE_ANY, &fault);

    if (!o) fail_msg("%s: %s", text, fault.text);
    free(text);
    return o;
}

/* malloc'ed; NULL: no such file. */
TOK_FN char *read_bytes(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *s;

    if (!f) return NULL;
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    s = malloc(*n + 1);
    assert_non_null(s);
    assert_int_equal(fread(s, 1, *n, f), *n);
    s[*n] = 0;
    fclose(f);
    return s;
}

/* false: there is no such file. */
TOK_FN bool copy_file(const char *from, const char *name)
{
    size_t n;
    char *s = read_bytes(from, &n);

    if (!s) return false;
    write_bytes(name, s, n);
    free(s);
    return true;
}

TOK_FN void clear_dir(void)
{
    static const char *const names[] = {
        "tokenizer.model", "tokenizer.json", "tokenizer_config.json",    "added_tokens.json", "vocab.txt",
        "vocab.json",      "merges.txt",     "sentence_bert_config.json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) write_text(names[i], NULL);
}

TOK_FN struct tokenizer *open_dir(const char *path)
{
    struct tokenizer *t;

    if (tokenizer_open(&t, path)) fail_msg("refused: %s", err_text());
    return t;
}

/* What the text of an error has to name. */
TOK_FN void refused(int code, const char *part)
{
    struct tokenizer *t;
    int rc = tokenizer_open(&t, dir);

    if (rc != code || !strstr(err_text(), part))
        fail_msg("got %s \"%s\", expected %s with \"%s\"", err_name(rc), rc ? err_text() : "", err_name(code), part);
    assert_null(t);
}

TOK_FN void print_ids(const char *what, const int32_t *id, size_t n)
{
    fprintf(stderr, "%s:", what);
    for (size_t i = 0; i < n; i++) fprintf(stderr, " %d", id[i]);
    fprintf(stderr, "\n");
}

TOK_FN bool same_ids(const int32_t *got, size_t n_got, const int32_t *expected, size_t n, const char *text)
{
    if (n_got == n && (!n || memcmp(got, expected, n * sizeof *got) == 0)) return true;
    fprintf(stderr, "text \"%s\"\n", text);
    print_ids("got", got, n_got);
    print_ids("expected", expected, n);
    return false;
}

TOK_FN void check_ids(const struct tokenizer *t, const char *text, const int32_t *expected, size_t n)
{
    struct ids v = {0};

    if (tokenizer_encode(t, text, strlen(text), &v)) fail_msg("%s", err_text());
    if (!same_ids(v.id, v.n, expected, n, text)) fail();
    ids_free(&v);
}
#define IDS(...) (int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

TOK_FN void check_decode(const struct tokenizer *t, const int32_t *id, size_t n, const char *expected)
{
    char *text;

    if (tokenizer_decode(t, id, n, &text)) fail_msg("%s", err_text());
    assert_string_equal(text, expected);
    free(text);
}

/* Every prefix of ids as a stream of its own, pushed id by id, gives what decoding the prefix whole gives; and what has
 * been given never has to be taken back. */
TOK_FN void check_stream(const struct tokenizer *t, const int32_t *id, size_t n)
{
    struct token_stream s, end;
    char *sum = calloc(n + 1, 4096), out[4096], *whole;
    size_t given = 0, more;

    assert_non_null(sum);
    token_stream_init(&s, t);
    for (size_t i = 0; i <= n; i++) {
        end = s;
        assert_int_equal(token_stream_end(&end, out, sizeof out, &more), CL_OK);
        assert_int_equal(tokenizer_decode(t, id, i, &whole), CL_OK);
        assert_int_equal(strlen(whole), given + more);
        assert_memory_equal(whole, sum, given);
        assert_memory_equal(whole + given, out, more);
        free(whole);
        if (i == n) break;
        assert_int_equal(token_stream_push(&s, id[i], out, sizeof out, &more), CL_OK);
        memcpy(sum + given, out, more);
        given += more;
    }
    free(sum);
}

/* --- GGUF: magic, version, tensors, pairs; a pair is key, type, value; a string is u64 length and bytes --- */

struct gguf {
    char *file;
    const char *at, *end;
    size_t n;
    char **token; // (n) NUL-terminated
    float *score; // (n) or NULL
    int32_t *type;
    size_t merges;
    char **merge;
};

TOK_FN uint64_t gguf_u64(struct gguf *g, size_t bytes)
{
    uint64_t v = 0;

    assert_true((size_t)(g->end - g->at) >= bytes);
    memcpy(&v, g->at, bytes);
    g->at += bytes;
    return v;
}

TOK_FN char *gguf_string(struct gguf *g)
{
    uint64_t n = gguf_u64(g, 8);
    char *s;

    assert_true((size_t)(g->end - g->at) >= n);
    s = strndup(g->at, n);
    assert_non_null(s);
    g->at += n;
    return s;
}

TOK_FN size_t gguf_size(uint32_t type)
{
    static const size_t size[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

    assert_true(type < sizeof size / sizeof *size && size[type]);
    return size[type];
}

enum { GGUF_STRING = 8, GGUF_ARRAY = 9 };

TOK_FN char **gguf_strings(struct gguf *g, size_t n)
{
    char **v = calloc(n + 1, sizeof *v);

    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = gguf_string(g);
    return v;
}

TOK_FN void *gguf_numbers(struct gguf *g, size_t n, size_t size)
{
    void *v = malloc(n * size + 1);

    assert_non_null(v);
    assert_true((size_t)(g->end - g->at) >= n * size);
    memcpy(v, g->at, n * size);
    g->at += n * size;
    return v;
}

TOK_FN void gguf_array(struct gguf *g, const char *key)
{
    uint32_t type = (uint32_t)gguf_u64(g, 4);
    size_t n = (size_t)gguf_u64(g, 8);
    char **text = type == GGUF_STRING ? gguf_strings(g, n) : NULL;
    void *numbers = text ? NULL : gguf_numbers(g, n, gguf_size(type));

    if (strcmp(key, "tokenizer.ggml.tokens") == 0) {
        g->token = text;
        g->n = n;
    } else if (strcmp(key, "tokenizer.ggml.merges") == 0) {
        g->merge = text;
        g->merges = n;
    } else if (strcmp(key, "tokenizer.ggml.scores") == 0) {
        g->score = numbers;
    } else if (strcmp(key, "tokenizer.ggml.token_type") == 0) {
        g->type = numbers;
    } else {
        for (size_t i = 0; text && i < n; i++) free(text[i]);
        free(text);
        free(numbers);
    }
}

/* false: no such file. */
TOK_FN bool gguf_open(struct gguf *g, const char *path)
{
    size_t n;
    uint64_t pairs;

    *g = (struct gguf){0};
    g->file = read_bytes(path, &n);
    if (!g->file) return false;
    g->at = g->file;
    g->end = g->file + n;
    assert_memory_equal(g->at, "GGUF", 4);
    g->at += 4;
    gguf_u64(g, 4);
    gguf_u64(g, 8);
    pairs = gguf_u64(g, 8);
    while (pairs--) {
        char *key = gguf_string(g);
        uint32_t type = (uint32_t)gguf_u64(g, 4);

        if (type == GGUF_ARRAY)
            gguf_array(g, key);
        else if (type == GGUF_STRING)
            free(gguf_string(g));
        else
            gguf_u64(g, gguf_size(type));
        free(key);
    }
    assert_non_null(g->token);
    return true;
}

TOK_FN void gguf_close(struct gguf *g)
{
    for (size_t i = 0; g->token && i < g->n; i++) free(g->token[i]);
    for (size_t i = 0; g->merge && i < g->merges; i++) free(g->merge[i]);
    free(g->token);
    free(g->merge);
    free(g->score);
    free(g->type);
    free(g->file);
}

#endif
