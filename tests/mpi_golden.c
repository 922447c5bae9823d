/* mpi_golden.c - the golden sets on several ranks: features, logits, losses and greedy answers of a tensor-parallel group. */
#include "mpi_fixture.h"

#include "lvlm_group.h"
#define assert_int_equal(a, b) check_int(a, b)
#include "golden_file.h"
#include "io/tokenizer.h"

struct set {
    hid_t g;
    const char *name;
    struct lvlm *m;
    uint8_t allowed[448]; // ids that the tokenizer has
};

/* The sample as it is in the file: whole, or its prompt. */
static void golden_sample(const struct set *s, struct packed_batch *b, int task, int i, bool prompt_only)
{
    size_t n;
    int32_t *id = golden_read_i32(s->g, &n, "forward/%d/%d/ids", task, i),
            *label = golden_read_i32(s->g, &n, "forward/%d/%d/labels", task, i);
    struct sample sample = {.id = id, .label = label, .n = (int64_t)n, .picture = -1};

    for (int64_t k = sample.n - 1; k >= 0; k--) {
        if (label[k] >= 0) sample.prompt_n = k, sample.answers++;
        if (id[k] == lvlm_get_config(s->m)->image_token) sample.picture = k;
    }
    batch_clear(b);
    check_ok(batch_add(b, &sample, prompt_only));
    free(id), free(label);
}

static void golden_forward(const struct set *s, struct packed_batch *b, int task, int i)
{
    size_t n, nv;
    float nll[64], *logits = golden_read_f32(s->g, &n, "forward/%d/%d/answer_logits", task, i),
                   *got = malloc(n * sizeof *got);
    double sum = 0, *want = golden_read_f64(s->g, NULL, "forward/%d/%d/answer_nll", task, i);

    if (b->pictures) {
        float *vision = golden_read_f32(s->g, &nv, "forward/%d/%d/vision", task, i);
        check(distance(b->feature[0]->data, vision, nv) < 1e-4);
        free(vision);
    }
    check_ok(lvlm_forward(s->m, b, NULL, nll, 0));
    check_ok(lvlm_logits(s->m, got, b->rows));
    check_int(n, b->rows * 448);
    check(distance(got, logits, n) < 1e-4);
    for (int64_t r = 0; r < b->rows; r++) sum += (double)nll[r];
    check_near(sum, *want, 1e-4 * fabs(*want));
    free(logits), free(got), free(want);
}

/* The greedy answer to the prompt b in place seq is the file's. */
static void golden_greedy(const struct set *s, const struct packed_batch *b, struct kv_cache *kv, int seq, int task,
                          int i)
{
    size_t n;
    int32_t *want = golden_read_i32(s->g, &n, "forward/%d/%d/generated", task, i), token;

    check_ok(lvlm_prefill(s->m, kv, &seq, b, NULL, s->allowed, &token));
    for (size_t k = 0;; k++) {
        check_int(token, want[k]);
        if (k == n - 1) break;
        check_ok(lvlm_decode(s->m, kv, 1, &seq, &token, NULL, s->allowed, &token));
    }
    free(want);
}

/* So is the answer to what follows its first `shared` tokens, whose keys and values come from place 0. */
static void golden_shared(const struct set *s, const struct packed_batch *b, struct kv_cache *kv, int64_t shared,
                          int task, int i)
{
    struct packed_batch rest;
    const int64_t n = b->n - shared;
    struct sample sample = {.id = b->id + shared, .n = n, .prompt_n = n, .picture = -1};

    if (b->pictures && b->picture_at[0] >= shared) sample.picture = b->picture_at[0] - shared;
    check_ok(batch_new(&rest, 1, n));
    check_ok(batch_add(&rest, &sample, true));
    for (int64_t k = 0; k < n; k++) rest.pos[k] += (int32_t)shared;
    if (rest.pictures) rest.feature[0] = b->feature[0];
    check_ok(lvlm_kv_copy(kv, 0, 1, shared));
    golden_greedy(s, &rest, kv, 1, task, i);
    batch_free(&rest);
}

static void golden_answers(const struct set *s, const struct packed_batch *b, struct kv_cache *kv, int task, int i)
{
    golden_greedy(s, b, kv, 0, task, i);
    golden_shared(s, b, kv, b->n - 1, task, i);
    golden_shared(s, b, kv, b->pictures ? b->picture_at[0] : b->n / 2, task, i);
    check_ok(lvlm_kv_copy(kv, 1, 1, b->n - 2)); // the same place: what follows is given up
    check_code(lvlm_kv_copy(kv, 1, 0, b->n - 1), CL_EINTERNAL);
    check_ok(lvlm_kv_copy(kv, 1, 0, b->n - 2));
    golden_shared(s, b, kv, b->n - 2, task, i);
}

static void allow_pieces(struct set *s)
{
    struct tokenizer *tok;
    const int32_t image = lvlm_get_config(s->m)->image_token;

    check_ok(tokenizer_open(&tok, base));
    for (int32_t id = 0; id < tokenizer_size(tok) && id < 448; id++)
        s->allowed[id] = id != image && tokenizer_piece(tok, id) != NULL;
    tokenizer_close(tok);
}

static void golden_set(const struct tp *tp, void *context)
{
    struct set *s = context;
    const struct backend *be;
    struct packed_batch b = {0};
    struct kv_cache *kv;
    int seen = 0;

    s->g = golden_open(s->name);
    check_ok(backend_cpu(&be, DT_F32));
    check_ok(lvlm_open(&s->m, base, be, tp, false));
    allow_pieces(s);
    check_ok(lvlm_reserve(s->m, &(struct lvlm_limits){.samples = 1, .tokens = 400, .rows = 64}));
    check_ok(batch_new(&b, 1, 400));
    check_ok(lvlm_kv_new(&kv, s->m, 2, 400));
    for (int task = 0; task < 2; task++)
        for (int i = 0; golden_has(s->g, "forward/%d/%d", task, i); i++) {
            struct feature *f = NULL;
            golden_sample(s, &b, task, i, false);
            if (b.pictures && !golden_has(s->g, "forward/%d/%d/pixels", task, i)) continue;
            if (b.pictures) {
                float *pixels = golden_read_f32(s->g, NULL, "forward/%d/%d/pixels", task, i);
                check_ok(lvlm_see(s->m, &f, pixels, 1));
                free(pixels);
                b.feature[0] = f;
            }
            golden_forward(s, &b, task, i);
            if (golden_has(s->g, "forward/%d/%d/generated", task, i)) {
                golden_sample(s, &b, task, i, true);
                if (f) b.feature[0] = f;
                golden_answers(s, &b, kv, task, i);
            }
            lvlm_feature_free(s->m, f);
            seen++;
        }
    check(seen >= 6);
    lvlm_kv_free(kv);
    batch_free(&b);
    lvlm_close(s->m);
    golden_close(s->g);
}

static void golden_a(void)
{
    struct set s = {.name = "a"};

    strcpy(base, SOURCE_DIR "/golden/a/base");
    together(golden_set, &s);
}

static void golden_b(void)
{
    struct set s = {.name = "b"};

    strcpy(base, SOURCE_DIR "/golden/b/base");
    together(golden_set, &s);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {{"golden_a", golden_a}, {"golden_b", golden_b}};

    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
