/* bench_method.c - Continual LLaVA over a base of the bench: its configuration, and a pool as a stream of tasks leaves it. */
#include <stdio.h>
#include <stdlib.h>

#include "io/err.h"
#include "jobs/bench_work.h"

const struct bench_pool bench_pool_default = {.tasks = 1, .slots = 8, .rank = 8, .selected = 4};

static void put_tasks(FILE *f, int tasks, const char *data)
{
    static const char *const test[] = {"own", "shared", "first"};

    fprintf(f, "stream:\n  name: bench\n  tasks:\n");
    for (int t = 0; t < tasks; t++)
        fprintf(f, "    - {name: t%d, train: \"%s/own.jsonl\", test: \"%s/%s.jsonl\"}\n", t, data, data, test[t % 3]);
}

int bench_config(struct config *cfg, const struct bench_pool *p, const char *base, const char *data,
                 const char *precision, const char *const *sets, size_t n_sets)
{
    int rc;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f) return err_set(CL_ENOMEM, "no memory for a configuration");
    fprintf(f, "base: \"%s\"\nencoder: base\n", base);
    put_tasks(f, p->tasks, data);
    fprintf(f, "prompt: {template: \"{question}\"}\n");
    fprintf(f, "pool: {slots_per_task: %d, rank: %d, top_m: %d}\n", p->slots, p->rank, p->selected);
    fprintf(f, "eval: {max_new_tokens: 4}\nprecision: %s\noutput: \"%s/run\"\n", precision, data);
    if (fclose(f)) FAIL(CL_ENOMEM, "no memory for a configuration");
    TRY(config_load_text(cfg, text, "bench", sets, n_sets, 0));
done:
    free(text);
    return rc;
}

int bench_method_open(struct method **m, struct config *cfg, const struct bench_pool *p,
                      const struct method_shape *shape, const float *const *query)
{
    int rc;
    const struct method_ops *ops = method_find("continual_llava");

    *m = NULL;
    TRY(bench_config(cfg, p, "/none", "/none", "f32", NULL, 0));
    TRY(ops->open(m, cfg, shape));
    for (int t = 0; t < p->tasks; t++) {
        TRY(ops->begin_task(*m, t, BENCH_QUESTIONS));
        TRY(ops->end_align(*m, t, query, BENCH_QUESTIONS)); // says how much of each slot context takes
        if (t < p->tasks - 1) TRY(ops->end_task(*m, t));
    }
    rc = CL_OK;
done:
    if (rc && *m) ops->close(*m), *m = NULL;
    return rc;
}
