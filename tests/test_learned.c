/* test_learned.c - what a checkpoint says, its increments' norms, mixtures; and `inspect` and `export` run on it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "jobs/commands.h"
#include "jobs/learned.h"
#include "outcome.h"

enum { T = 3, N = 6, K = 5, L = 2, R = 2, H = 7, D = 4, MAP_IN = 3, MAP_OUT = 1 };
static const int32_t owner[N] = {0, 0, 1, 1, 2, 2};
static const double use[N] = {0.25, 0.75, 0.5, 0.5, 1, 0}, w[T][T] = {{0}, {0.5}, {0.25, 0.75}};
static float keys[N][K], A[N][L][R][H], B[N][L][D][R];
static char folder[64];

static void fill(float *x, size_t n, unsigned s)
{
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(int)s / 2e9f;
    }
}

/* What a test leaves out or does otherwise. */
struct variant {
    bool no_context, no_history, no_stream, no_keys, bare;
    int32_t owner_of_last;
    int64_t T_of_w, B_rows, accuracy_columns;
    const char *name; // of task 1
    bool maps;        // v_proj of MAP_IN and MAP_OUT, then down_proj, instead of o_proj
};

static int write_history(struct ckpt *c, const struct variant *v)
{
    const int64_t two = 2, steps = 3, selected[] = {9, 4};
    const double loss[] = {2, 1.5, 0.5};
    const float before[2][K] = {{0}}, after[2][K] = {{0, 3, 4}, {1}};
    int rc;

    if (v->no_history) return CL_OK;
    TRY(ckpt_write(c, "/history/0/selected", CKPT_I64, 1, &two, selected, false));
    TRY(ckpt_write(c, "/history/0/keys_before", CKPT_F32, 2, (int64_t[]){2, K}, before, false));
    TRY(ckpt_write(c, "/history/0/keys_after", CKPT_F32, 2, (int64_t[]){2, K}, after, false));
    TRY(ckpt_write(c, "/history/chart/loss", CKPT_F64, 1, &steps, loss, true));
    TRY(ckpt_attr_i64(c, "/history/chart", "samples", 90));
    TRY(ckpt_attr_f64(c, "/history/chart", "seconds", 1.5));
    TRY(ckpt_attr_str(c, "/history/chart", "started", "2025-01-01T00:00:00Z"));
done:
    return rc;
}

static int write_pool(struct ckpt *c, const struct variant *v)
{
    const int64_t n = N, rows = v->B_rows ? v->B_rows : D;
    int32_t owners[N];
    int rc;

    memcpy(owners, owner, sizeof owners);
    if (v->owner_of_last) owners[N - 1] = v->owner_of_last;
    TRY(ckpt_write(c, "/pool/keys", CKPT_F32, 2, (int64_t[]){N, v->no_keys ? 0 : K}, keys, true));
    TRY(ckpt_write(c, "/pool/A", CKPT_F32, 4, (int64_t[]){N, L, R, H}, A, true));
    TRY(ckpt_write(c, "/pool/B", CKPT_F32, 4, (int64_t[]){N, L, rows, R}, B, true));
    TRY(ckpt_write(c, "/pool/task", CKPT_I32, 1, &n, owners, true));
    TRY(ckpt_write(c, "/pool/use", CKPT_F64, 1, &n, use, true));
    TRY(ckpt_attr_i64(c, "/pool", "top_m", 2));
    TRY(ckpt_attr_i64(c, "/pool", "key_groups", 1));
    TRY(ckpt_attr_f64(c, "/pool", "scale", 2));
    TRY(ckpt_attr_str(c, "/pool", "method", "continual_llava"));
    if (!v->maps) goto done;
    TRY(ckpt_attr_str(c, "/pool", "target", "self_attn.v_proj, mlp.down_proj"));
    TRY(ckpt_write(c, "/pool/widths", CKPT_I64, 2, (int64_t[]){2, 2},
                   (int64_t[]){MAP_IN, MAP_OUT, H - MAP_IN, D - MAP_OUT}, false));
done:
    return rc;
}

static int write_file(const char *path, const struct variant *v)
{
    const char *const names[] = {"chart", v->name ? v->name : "1", "icon"};
    const int32_t done[] = {3, 2, 0};
    const int64_t tasks = T, wide = v->T_of_w ? v->T_of_w : T, columns = v->accuracy_columns ? v->accuracy_columns : T;
    double accuracy[(T + 1) * T];
    struct ckpt *c = NULL;
    int rc;

    for (int i = 0; i < (T + 1) * T; i++) accuracy[i] = i == 0 ? 10 : i == T ? 80 : NAN;
    fill(&keys[0][0], N * K, 1);
    fill(&A[0][0][0][0], N * L * R * H, 2);
    fill(&B[0][0][0][0], N * L * D * R, 3);
    TRY(ckpt_create(&c, path));
    if (!v->bare) TRY(write_pool(c, v));
    if (!v->no_stream) {
        TRY(ckpt_write_strings(c, "/stream/tasks", names, T));
        TRY(ckpt_write(c, "/stream/done", CKPT_I32, 1, &tasks, done, false));
        TRY(ckpt_write(c, "/metrics/accuracy", CKPT_F64, 2, (int64_t[]){T + 1, columns}, accuracy, false));
        TRY(write_history(c, v));
    }
    if (!v->no_context) TRY(ckpt_write(c, "/context/w", CKPT_F64, 2, (int64_t[]){wide, wide}, w, false));
    TRY(ckpt_attr_str(c, "/", "base_hash", "0123456789abcdef"));
    TRY(ckpt_attr_str(c, "/", "config", "{\"base\": \"/models/base\", \"seed\": 3}"));
    TRY(ckpt_attr_i64(c, "/resume", "task", 1));
    TRY(ckpt_attr_i64(c, "/resume", "stage", 2));
    TRY(ckpt_attr_i64(c, "/resume", "step", 40));
    return ckpt_commit(c);
done:
    ckpt_abandon(c);
    return rc;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/cllava-learned-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char path[64][256];
    static int turn;

    turn = (turn + 1) % 64;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* ---- reading */

/* maps: without what one map's outputs would have of the other's inputs. */
static double direct_norm_of(int n, int layer, bool maps)
{
    double square = 0;

    for (int d = 0; d < D; d++)
        for (int h = 0; h < H; h++) {
            if (maps && (d < MAP_OUT) != (h < MAP_IN)) continue;
            double x = 0;
            for (int r = 0; r < R; r++) x += (double)B[n][layer][d][r] * A[n][layer][r][h];
            square += x * x;
        }
    return sqrt(square);
}

static double direct_norm(int n, int layer)
{
    return direct_norm_of(n, layer, false);
}

static void test_everything_is_read(void **state)
{
    struct learned l;

    (void)state;
    OK(write_file(in_folder("a.h5"), &(struct variant){0}));
    OK(learned_open(&l, in_folder("a.h5")));
    OK(learned_norms(&l));
    assert_true(l.T == T && l.N == N && l.K == K && l.L == L && l.R == R && l.H == H && l.D == D);
    assert_true(l.top_m == 2 && l.groups == 1 && l.scale == 2);
    assert_string_equal(l.method, "continual_llava");
    assert_string_equal(l.task[1].name, "1");
    assert_true(l.task[0].done == 3 && l.task[1].done == 2 && l.task[2].done == 0);
    assert_true(l.task[0].slots == 2 && l.task[0].samples == 90 && l.task[0].seconds == 1.5 && l.task[0].steps == -1);
    assert_true(l.task[0].losses == 3 && l.task[0].first_loss == 2 && l.task[0].last_loss == 0.5);
    assert_true(l.task[0].drift == 5 && isnan(l.task[1].drift));
    assert_true(l.slot[0].selected == 9 && l.slot[1].selected == 4 && l.slot[2].selected == -1);
    for (int n = 0; n < N; n++)
        for (int i = 0; i < L; i++) assert_true(fabs(l.slot[n].norm[i] / direct_norm(n, i) - 1) < 1e-6);
    assert_true(l.w[2 * T + 1] == 0.75 && l.w[1 * T + 2] == 0);
    assert_true(*accuracy_cell(&l.accuracy, 0, 0) == 80);
    assert_true(l.resumes && l.at_task == 1 && l.at_stage == 2 && l.at_step == 40);
    assert_int_equal(learned_find_task(&l, "icon"), 2);
    assert_int_equal(learned_find_task(&l, "1"), 1); // by name
    assert_int_equal(learned_find_task(&l, "2"), 2); // by number
    assert_int_equal(learned_find_task(&l, "3"), -1);
    assert_int_equal(learned_find_task(&l, ""), -1);
    assert_int_equal(learned_find_task(&l, "-1"), -1);
    learned_close(&l);
}

static void test_mixture(void **state)
{
    static const double second[N] = {0.5 * 0.25, 0.5 * 0.75, 0.5, 0.5, 0, 0},
                        third[N] = {0.25 * 0.25, 0.25 * 0.75, 0.75 * 0.5, 0.75 * 0.5, 1, 0};
    struct learned l;
    double c[N];

    (void)state;
    OK(write_file(in_folder("a.h5"), &(struct variant){0}));
    OK(learned_open(&l, in_folder("a.h5")));
    learned_mixture(&l, 1, c);
    for (int n = 0; n < N; n++) assert_true(fabs(c[n] - second[n]) < 1e-12);
    learned_mixture(&l, 2, c);
    for (int n = 0; n < N; n++) assert_true(fabs(c[n] - third[n]) < 1e-12);
    learned_close(&l);
    OK(write_file(in_folder("b.h5"), &(struct variant){.no_keys = true, .no_context = true}));
    OK(learned_open(&l, in_folder("b.h5"))); // plain LoRA: the same for every task
    learned_mixture(&l, 1, c);
    for (int n = 0; n < N; n++) assert_true(c[n] == 1);
    assert_true(isnan(l.slot[0].key));
    learned_close(&l);
}

static void test_parts_may_be_missing(void **state)
{
    struct learned l;

    (void)state;
    OK(learned_open(&l, SOURCE_DIR "/golden/a/init.h5"));
    assert_true(l.T == 2 && l.N == 6 && l.w && !l.accuracy.a && !l.resumes && l.scale == 1);
    assert_string_equal(l.task[0].name, "colour");
    assert_int_equal(l.task[0].done, -1);
    learned_close(&l);
    OK(write_file(in_folder("a.h5"), &(struct variant){.no_stream = true}));
    OK(learned_open(&l, in_folder("a.h5")));
    assert_int_equal(l.T, T); // from the slots' owners
    assert_string_equal(l.task[2].name, "task2");
    learned_close(&l);
    OK(write_file(in_folder("b.h5"), &(struct variant){.bare = true}));
    OK(learned_open(&l, in_folder("b.h5"))); // zero_shot has no pool
    assert_true(l.N == 0 && !l.slot && l.T == T);
    learned_close(&l);
}

static void test_contradictions(void **state)
{
    static const struct {
        struct variant v;
        const char *text;
    } cases[] = {
        {{.owner_of_last = 3}, "/stream/tasks has 3 names (expected 4"},
        {{.owner_of_last = -1}, "belongs to task -1"},
        {{.T_of_w = 2}, "/context/w is 2 x 2 (expected 3 x 3)"},
        {{.accuracy_columns = 2}, "/metrics/accuracy"},
    };
    struct learned l;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(write_file(in_folder("a.h5"), &cases[i].v));
        REFUSED(learned_open(&l, in_folder("a.h5")), CL_EFORMAT, cases[i].text);
        assert_null(l.c);
    }
    REFUSED(learned_open(&l, SOURCE_DIR "/golden/a/golden.h5"), CL_EFORMAT, "without root attribute format");
    REFUSED(learned_open(&l, in_folder("none.h5")), CL_EIO, "none.h5");
}

/* ---- the commands, as main() runs them */

/* Runs a command line; what it says on stdout goes to *said (to be freed). */
static int run(char **said, int argc, const char *const *argv)
{
    struct command_args *args = NULL;
    int kept = dup(1), out = open(in_folder("stdout"), O_RDWR | O_CREAT | O_TRUNC, 0600), rc;
    char *words[16] = {(char[]){"cllava"}};
    off_t size;

    for (int i = 0; i < argc; i++) words[i + 1] = strdup(argv[i]);
    fflush(stdout);
    dup2(out, 1);
    rc = cli_parse(&args, commands, argc + 1, words);
    if (!rc) rc = cli_run(args);
    fflush(stdout);
    dup2(kept, 1);
    close(kept);
    size = lseek(out, 0, SEEK_END);
    *said = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(out, *said, (size_t)size, 0), size);
    close(out);
    cli_free(args);
    for (int i = 0; i < argc; i++) free(words[i + 1]);
    return rc;
}

#define RUN(said, ...)                                                                                                 \
    run(said, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[]){__VA_ARGS__})

static double real_at(json_t *o, const char *key, size_t i)
{
    json_t *v = json_object_get(o, key);

    if (json_is_array(v)) v = json_array_get(v, i);
    if (!v) fail_msg("no key %s", key);
    return json_is_null(v) ? NAN : json_number_value(v);
}

static void test_inspect_json(void **state)
{
    json_t *o, *slot, *task;
    char *said;

    (void)state;
    OK(write_file(in_folder("a.h5"), &(struct variant){0}));
    OK(RUN(&said, "inspect", in_folder("a.h5"), "--json"));
    o = json_loads(said, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    slot = json_array_get(json_object_get(json_object_get(o, "pool"), "slot"), 3);
    task = json_array_get(json_object_get(o, "tasks"), 0);
    assert_true(fabs(real_at(slot, "layer_norms", 1) / direct_norm(3, 1) - 1) < 1e-6);
    assert_true(fabs(real_at(slot, "norm", 0) / hypot(direct_norm(3, 0), direct_norm(3, 1)) - 1) < 1e-6);
    assert_true(real_at(slot, "task", 0) == 1 && real_at(slot, "use", 0) == 0.5);
    assert_true(isnan(real_at(slot, "selected", 0)) && real_at(task, "samples", 0) == 90);
    assert_string_equal(json_string_value(json_object_get(task, "state")), "finished");
    assert_true(real_at(json_object_get(o, "config"), "seed", 0) == 3);
    assert_true(real_at(json_object_get(o, "metrics"), "AA", 0) == 80);
    assert_true(json_number_value(json_array_get(json_array_get(json_object_get(o, "context"), 2), 1)) == 0.75);
    json_decref(o);
    free(said);
    OK(RUN(&said, "inspect", SOURCE_DIR "/golden/b/init.h5", "--json"));
    o = json_loads(said, JSON_REJECT_DUPLICATES, NULL);
    assert_true(o && json_is_null(json_object_get(o, "metrics")) && json_is_null(json_object_get(o, "config")));
    json_decref(o);
    free(said);
}

static void test_inspect_tables(void **state)
{
    static const char *const parts[] = {"continual_llava",
                                        "0123456789abcdef",
                                        "task 1, stage 2, after step 40",
                                        "chart",
                                        "finished",
                                        "stage 2",
                                        "not begun",
                                        "90",
                                        "6 slots of rank 2 for 2 layers (7 -> 4)",
                                        "0.7500",
                                        "Accuracy",
                                        "80.0*",
                                        "Norm of B A per layer"};
    char *said;

    (void)state;
    OK(write_file(in_folder("a.h5"), &(struct variant){0}));
    OK(RUN(&said, "inspect", in_folder("a.h5"), "--layers"));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(said, parts[i])) fail_msg("no '%s' in:\n%s", parts[i], said);
    free(said);
    OK(write_file(in_folder("b.h5"), &(struct variant){.bare = true, .no_context = true}));
    OK(RUN(&said, "inspect", in_folder("b.h5")));
    assert_null(strstr(said, "Pool"));
    free(said);
}

static void test_inspect_refuses_damage(void **state)
{
    const char *path = in_folder("a.h5");
    char *said;
    int fd;

    (void)state;
    OK(write_file(path, &(struct variant){0}));
    REFUSED(RUN(&said, "inspect", in_folder("none.h5")), CL_EIO, "No such file");
    free(said);
    fd = open(path, O_RDWR);
    assert_int_equal(ftruncate(fd, 3000), 0);
    close(fd);
    REFUSED(RUN(&said, "inspect", path), CL_EFORMAT, "truncated");
    assert_string_equal(said, ""); // nothing half shown
    free(said);
}

/* lora_B lora_A of a layer against the sum of c_n B_n A_n, times the pool's scale. */
static void check_export(const char *dir, const double *c, int64_t rank)
{
    struct safetensors *st;
    char path[300], name[128];

    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    OK(safetensors_open(&st, path));
    assert_int_equal(safetensors_count(st), 2 * L);
    for (int i = 0; i < L; i++) {
        const struct st_array *a, *b;
        snprintf(name, sizeof name, "base_model.model.model.language_model.layers.%d.self_attn.o_proj.lora_A.weight",
                 i);
        a = safetensors_find_exact(st, name);
        snprintf(name, sizeof name, "base_model.model.model.language_model.layers.%d.self_attn.o_proj.lora_B.weight",
                 i);
        b = safetensors_find_exact(st, name);
        assert_true(a && b && a->type == DT_F32 && a->dims == 2 && b->dims == 2);
        assert_true(a->shape[0] == rank && a->shape[1] == H && b->shape[0] == D && b->shape[1] == rank);
        for (int d = 0; d < D; d++)
            for (int h = 0; h < H; h++) {
                double got = 0, want = 0;
                float x, y;
                for (int64_t r = 0; r < rank; r++) {
                    memcpy(&x, (const char *)b->data + (size_t)(d * rank + r) * 4, 4); // may not be aligned
                    memcpy(&y, (const char *)a->data + (size_t)(r * H + h) * 4, 4);
                    got += (double)x * y;
                }
                for (int n = 0; n < N; n++)
                    for (int r = 0; r < R; r++) want += 2 * c[n] * B[n][i][d][r] * A[n][i][r][h];
                assert_true(fabs(got - want) < 1e-6);
            }
    }
    safetensors_close(st);
}

static void test_export(void **state)
{
    static const double mixture[N] = {0.25 * 0.25, 0.25 * 0.75, 0.75 * 0.5, 0.75 * 0.5, 1, 0},
                        one[N] = {0, 0, 0, 1, 0, 0};
    char path[300], *said;
    json_t *o;

    (void)state;
    OK(write_file(in_folder("a.h5"), &(struct variant){0}));
    OK(RUN(&said, "export", in_folder("a.h5"), "--format", "peft", "--task", "icon", "--output", in_folder("t")));
    assert_non_null(strstr(said, "rank 10"));
    free(said);
    check_export(in_folder("t"), mixture, 5 * R); // a slot that is never used takes no room
    OK(RUN(&said, "export", in_folder("a.h5"), "--slot", "3", "--output", in_folder("s")));
    free(said);
    check_export(in_folder("s"), one, R);
    OK(RUN(&said, "export", in_folder("a.h5"), "--slot=3", "--output", in_folder("t"))); // over another
    free(said);
    check_export(in_folder("t"), one, R);
    snprintf(path, sizeof path, "%s/adapter_config.json", in_folder("t"));
    o = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "peft_type")), "LORA");
    assert_string_equal(json_string_value(json_object_get(o, "base_model_name_or_path")), "/models/base");
    assert_true(real_at(o, "r", 0) == R && real_at(o, "lora_alpha", 0) == R);
    assert_string_equal(json_string_value(json_array_get(json_object_get(o, "target_modules"), 0)), "o_proj");
    json_decref(o);
}

/* lora_B lora_A of one map in one layer is c_n B_n A_n of its rows and columns, times the pool's scale. */
static void check_map(struct safetensors *st, int layer, const char *module, int slot, int in0, int in, int out0,
                      int out)
{
    const struct st_array *a, *b;
    char name[128];

    snprintf(name, sizeof name, "base_model.model.model.language_model.layers.%d.%s.lora_A.weight", layer, module);
    a = safetensors_find_exact(st, name);
    snprintf(name, sizeof name, "base_model.model.model.language_model.layers.%d.%s.lora_B.weight", layer, module);
    b = safetensors_find_exact(st, name);
    assert_true(a && b && a->shape[0] == R && a->shape[1] == in && b->shape[0] == out && b->shape[1] == R);
    for (int r = 0; r < R; r++) {
        float x;
        for (int h = 0; h < in; h++) {
            memcpy(&x, (const char *)a->data + (size_t)(r * in + h) * 4, 4);
            assert_true(x == A[slot][layer][r][in0 + h]);
        }
        for (int d = 0; d < out; d++) {
            memcpy(&x, (const char *)b->data + (size_t)(d * R + r) * 4, 4);
            assert_true(x == 2 * B[slot][layer][out0 + d][r]);
        }
    }
}

/* Increments on several maps: norms, what inspect says, names and numbers of an export. */
static void test_maps(void **state)
{
    struct learned l;
    struct safetensors *st;
    char path[300], *said;
    json_t *o;

    (void)state;
    OK(write_file(in_folder("a.h5"), &(struct variant){.maps = true}));
    OK(learned_open(&l, in_folder("a.h5")));
    OK(learned_norms(&l));
    assert_true(l.on.n == 2 && l.on.at[1].is == PROJ_down && l.on.at[1].in0 == MAP_IN);
    for (int n = 0; n < N; n++)
        for (int i = 0; i < L; i++) assert_true(fabs(l.slot[n].norm[i] / direct_norm_of(n, i, true) - 1) < 1e-6);
    learned_close(&l);
    OK(RUN(&said, "inspect", in_folder("a.h5")));
    assert_non_null(strstr(said, "Increments on v_proj (3 -> 1), down_proj (4 -> 3)"));
    free(said);
    OK(RUN(&said, "export", in_folder("a.h5"), "--slot", "3", "--output", in_folder("s")));
    assert_non_null(strstr(said, "on self_attn.v_proj, mlp.down_proj of 2 layers"));
    free(said);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", in_folder("s"));
    OK(safetensors_open(&st, path));
    assert_int_equal(safetensors_count(st), 4 * L);
    for (int i = 0; i < L; i++) {
        check_map(st, i, "self_attn.v_proj", 3, 0, MAP_IN, 0, MAP_OUT);
        check_map(st, i, "mlp.down_proj", 3, MAP_IN, H - MAP_IN, MAP_OUT, D - MAP_OUT);
    }
    safetensors_close(st);
    snprintf(path, sizeof path, "%s/adapter_config.json", in_folder("s"));
    o = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "target_modules")),
                        ".*language_model\\.layers\\.[0-9]+\\.(self_attn|mlp)\\.(v_proj|down_proj)");
    json_decref(o);
}

static void test_export_refuses(void **state)
{
    const char *file = in_folder("a.h5"), *bare = in_folder("b.h5");
    struct stat s;
    char *said;

    (void)state;
    OK(write_file(file, &(struct variant){0}));
    OK(write_file(bare, &(struct variant){.bare = true, .no_context = true}));
    REFUSED(RUN(&said, "export", file), CL_EUSAGE, "one of --task and --slot");
    free(said);
    REFUSED(RUN(&said, "export", file, "--task", "0", "--slot", "0"), CL_EUSAGE, "one of --task and --slot");
    free(said);
    REFUSED(RUN(&said, "export", file, "--slot", "6"), CL_EUSAGE, "no slot 6");
    free(said);
    REFUSED(RUN(&said, "export", file, "--task", "cart"), CL_EUSAGE, "no task 'cart'");
    free(said);
    REFUSED(RUN(&said, "export", bare, "--task", "0"), CL_EMISMATCH, "no pool");
    free(said);
    REFUSED(RUN(&said, "export", file, "--task", "0", "--format", "gguf"), CL_EUSAGE, "peft");
    free(said);
    REFUSED(RUN(&said, "export", file, "--task", "0", "--output", in_folder("no/such")), CL_EIO,
            "cannot make the folder");
    free(said);
    assert_int_not_equal(stat(in_folder("no"), &s), 0);
    REFUSED(RUN(&said, "export", file, "--task", "0", "--output", file), CL_EIO, "");
    free(said);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(int argc, char **argv)
{
    const struct CMUnitTest learned[] = {
        CASE(test_everything_is_read),     CASE(test_mixture),
        CASE(test_parts_may_be_missing),   CASE(test_contradictions),
        CASE(test_inspect_json),           CASE(test_inspect_tables),
        CASE(test_inspect_refuses_damage), CASE(test_export),
        CASE(test_export_refuses),         CASE(test_maps),
    };

    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(learned, NULL, NULL);
}
