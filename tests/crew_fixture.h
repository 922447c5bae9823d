/* crew_fixture.h - what tests of groups of ranks, as the coordinator sees them, have in common: the first samples of a golden task,
 * slots of made up numbers, every layout of the ranks at hand. */
#ifndef CLLAVA_TESTS_CREW_FIXTURE_H
#define CLLAVA_TESTS_CREW_FIXTURE_H

#include "mpi_fixture.h"

#include <stdlib.h>

#include "jobs/crew.h"
#include "jobs/job.h"
#include "jobs/task_data.h"
#include "pool/rng.h"

enum { SAMPLES = 6, SLOTS = 3, LEARNED = 2, RANK = 4 };

struct layout {
    int tensor;
    bool dedicated;
};

/* What came out of one step, in the order of samples. */
struct result {
    double nll[SAMPLES], dcoef[SAMPLES * SLOTS];
    float *dA, *dB;
    int64_t a, b; // numbers in them
};

struct fixture {
    struct job j;
    struct task_data d;
    struct adapter_slot slot[SLOTS];
    float *A, *B; // of all slots
    float coef[SAMPLES * SLOTS];
};

static const char text[] =
    "base: " SOURCE_DIR "/golden/a/base\nencoder: " SOURCE_DIR "/golden/a/encoder\n"
    "kpig: {weight: 1}\nstream: {tasks: [{name: colour, train: " SOURCE_DIR
    "/golden/a/data/task0.json, test: " SOURCE_DIR
    "/golden/a/data/task0.json}]}\npool: {slots_per_task: 3, rank: 4, top_m: 2}\nprecision: f32\n";

static inline float number(int what, int64_t i)
{
    return (float)(rng_uniform(7, RNG_A, (uint32_t)what, (uint64_t)i) - 0.5);
}

static inline void open_fixture(struct fixture *x, struct layout l)
{
    char tensor[64], coordinator[64];
    const char *sets[] = {tensor, coordinator};
    const struct text_config *t = &x->j.base.text;
    int64_t a, b;

    *x = (struct fixture){0};
    snprintf(tensor, sizeof tensor, "parallel.tensor=%d", l.tensor);
    snprintf(coordinator, sizeof coordinator, "parallel.coordinator=%s", l.dedicated ? "dedicated" : "shared");
    check_ok(config_load_text(&x->j.cfg, text, "text", sets, 2, 0));
    check_ok(job_open(&x->j, JOB_MODEL | JOB_TRAIN | JOB_METHOD));
    check_int(crew_groups(x->j.crew), (ranks_size() - l.dedicated) / l.tensor);
    check_ok(task_data_open(&x->d, &x->j, 0, false));
    a = (int64_t)t->layers * RANK * t->heads * t->head_dim, b = (int64_t)t->layers * RANK * t->hidden;
    check((x->A = mem_new((size_t)(SLOTS * a), sizeof *x->A)) && (x->B = mem_new((size_t)(SLOTS * b), sizeof *x->B)));
    for (int64_t i = 0; i < SLOTS * a; i++) x->A[i] = number(0, i);
    for (int64_t i = 0; i < SLOTS * b; i++) x->B[i] = number(1, i);
    for (int s = 0; s < SLOTS; s++) x->slot[s] = (struct adapter_slot){x->A + s * a, x->B + s * b, (uint64_t)s + 1};
    for (int i = 0; i < SAMPLES * SLOTS; i++)
        x->coef[i] = i % SLOTS == i / SLOTS % SLOTS ? 0 : number(2, i); // some none
}

static inline void close_fixture(struct fixture *x)
{
    task_data_close(&x->d);
    mem_free(x->A), mem_free(x->B);
    job_close(&x->j);
}

static inline struct adapters set_of(const struct fixture *x)
{
    return (struct adapters){.slots = SLOTS, .learned = LEARNED, .rank = RANK, .slot = x->slot};
}

struct batches {
    struct crew_micro micro[SAMPLES];
    struct packed_batch pack[SAMPLES];
    char *picture[SAMPLES];
    int n;
};

/* The first samples of the task in micro-batches of `each`. */
static inline void pack(struct batches *b, struct fixture *x, int each, struct result *r)
{
    *b = (struct batches){0};
    for (int i = 0; i < SAMPLES; i++) {
        struct sample s = {0};
        char *picture = NULL;
        struct crew_micro *m = &b->micro[i / each];
        if (i % each == 0) {
            check_ok(batch_new(&b->pack[b->n], each, each * x->d.longest));
            *m = (struct crew_micro){.pack = &b->pack[b->n++],
                                     .picture = (const char **)(uintptr_t)&b->picture[i],
                                     .coef = x->coef + i * SLOTS,
                                     .dcoef = r ? r->dcoef + i * SLOTS : NULL};
        }
        check_ok(task_data_sample(&x->d, &x->j, i, false, &s, &picture));
        check_ok(batch_add(m->pack, &s, 0));
        if (picture) b->picture[i - i % each + m->pack->pictures - 1] = picture;
        sample_free(&s);
    }
}

static inline void unpack(struct batches *b)
{
    for (int i = 0; i < b->n; i++) batch_free(&b->pack[i]);
    for (int i = 0; i < SAMPLES; i++) free(b->picture[i]);
}

/* For micro-batches of `each` samples of at most `more` tokens more than the longest has. */
static inline void reserve(struct fixture *x, int each, int more)
{
    check_ok(crew_reserve(x->j.crew, &(struct lvlm_limits){.samples = each,
                                                           .tokens = each * (x->d.longest + more),
                                                           .rows = each * x->d.most_answers,
                                                           .slots = SLOTS,
                                                           .rank = RANK,
                                                           .train = true}));
}

/* Room for the gradients of the slots that learn. */
static inline struct result new_result(const struct fixture *x)
{
    const struct text_config *t = &x->j.base.text;
    struct result r = {.a = (int64_t)LEARNED * t->layers * RANK * t->heads * t->head_dim,
                       .b = (int64_t)LEARNED * t->layers * RANK * t->hidden};

    check((r.dA = mem_new((size_t)r.a, sizeof *r.dA)) && (r.dB = mem_new((size_t)r.b, sizeof *r.dB)));
    return r;
}

static inline void free_result(struct result *r)
{
    mem_free(r->dA), mem_free(r->dB);
}

static inline void near_floats(const float *x, const float *want, int64_t n)
{
    double most = 0;

    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)want[i]));
    check(most > 0);
    for (int64_t i = 0; i < n; i++) check_near((double)x[i], (double)want[i], 2e-5 * most);
}

/* Calls f with every layout that the ranks allow. */
static inline void in_every_layout(void (*f)(struct layout, void *), void *context)
{
    for (int dedicated = 0; dedicated < 2; dedicated++)
        for (int tensor = 1; tensor <= ranks_size() - dedicated; tensor++)
            if ((ranks_size() - dedicated) % tensor == 0 && tensor <= 4) // the set's heads
                f((struct layout){tensor, dedicated}, context);
}

/* The cases in order, or the one that argv names: rank 0 runs them, the others serve it, as in the program. Returns the exit status. */
static inline int crew_cases(int argc, char **argv, const struct mpi_case *cases, int n)
{
    int passed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    check_ok(ranks_begin(argc, argv));
    if (ranks_rank() > 0) {
        check_ok(crew_serve());
        return ranks_end(0);
    }
    for (int i = 0; i < n; i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name)) continue;
        mpi_case_name = cases[i].name;
        printf("[ RUN      ] %s\n", cases[i].name);
        cases[i].run();
        printf("[       OK ] %s\n", cases[i].name);
        passed++;
    }
    printf("[  PASSED  ] %d test(s).\n", passed);
    return ranks_end(passed ? 0 : 1);
}

#endif
