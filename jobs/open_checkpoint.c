/* open_checkpoint.c - configuration out of the checkpoint, then state_load's checks. */
#include "jobs/open_checkpoint.h"

#include "io/err.h"
#include "jobs/query.h"
#include "jobs/settings.h"
#include "jobs/state.h"
#include "mpi/ranks.h"

#include <stdlib.h>
#include <string.h>

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

static bool is_set(const struct command_args *a, const char *key)
{
    size_t n = 0, length = strlen(key);
    const char *const *set = a ? args_sets(a, &n) : NULL;

    for (size_t i = 0; i < n; i++)
        if (!strncmp(set[i], key, length) && set[i][length] == '=') return true;
    return false;
}

/* How many ranks there were in training is nothing that asking a model needs: what the settings say is fitted to the ranks at
 * hand, unless --set says it. */
static int fit_to_ranks(struct config *f, const struct command_args *a)
{
    int ranks = ranks_size();
    char *shared;

    if (ranks == 1 && !strcmp(f->parallel.coordinator, "dedicated") && !is_set(a, "parallel.coordinator")) {
        if (!(shared = strdup("shared"))) return err_set(CL_ENOMEM, "out of memory");
        free(f->parallel.coordinator);
        f->parallel.coordinator = shared;
    }
    if (!strcmp(f->parallel.coordinator, "dedicated") && ranks > 1) ranks--;
    if (!is_set(a, "parallel.tensor")) f->parallel.tensor = gcd(f->parallel.tensor, ranks);
    return CL_OK;
}

static int load_config(struct job *j, struct ckpt *c, const char *config, const struct command_args *a)
{
    int rc;
    char *text = NULL;

    if (config) return settings_load(&j->cfg, a, config, NEED_BASE);
    if (!ckpt_has_attr(c, "/", "config"))
        FAIL(CL_ECONFIG,
             "%s does not say what it was trained with (no config attribute); hint: give the configuration file too",
             ckpt_path(c));
    TRY(ckpt_get_str(c, "/", "config", &text));
    TRY(settings_load_text(&j->cfg, a, text, ckpt_path(c), NEED_BASE));
done:
    free(text);
    return rc;
}

int job_open_checkpoint(struct job *j, const char *checkpoint, const char *config, const struct command_args *a)
{
    int rc;
    struct ckpt *c = NULL;
    struct run_state s = {0};

    TRY(ckpt_open(&c, checkpoint));
    TRY(load_config(j, c, config, a));
    TRY(fit_to_ranks(&j->cfg, a));
    TRY(job_open(j, JOB_MODEL | JOB_METHOD));
    TRY(state_new(&s, &j->cfg));
    TRY(state_load(&s, j, c));
done:
    state_free(&s);
    ckpt_close(c);
    return rc;
}

int job_open_base(struct job *j, const char *config, const struct command_args *a)
{
    int rc;

    TRY(settings_load(&j->cfg, a, config, NEED_BASE));
    TRY(fit_to_ranks(&j->cfg, a));
    TRY(job_open(j, JOB_MODEL));
done:
    return rc;
}

int job_inference_set(struct job *j, struct adapters *set, struct routing *one)
{
    int rc;

    *set = (struct adapters){0};
    if (j->method) TRY(job_adapters(j, ROUTE_FREE, -1, set));
    TRY(job_routing_new(j, one, 1));
done:
    return rc;
}

int job_route(struct job *j, const char *question, const char *picture, struct routing *one)
{
    int rc;
    uint64_t number = 0;
    const float *query = NULL;
    float *embedding = NULL;

    if (!j->method) return CL_OK;
    if (j->encoder) {
        if (!(embedding = mem_new((size_t)query_width(j), sizeof *embedding)))
            FAIL(CL_ENOMEM, "no memory for an embedding");
        TRY(query_embed_one(j, embedding, question, picture));
        query = embedding;
    }
    TRY(job_routes(j, ROUTE_FREE, -1, &query, &number, 1, one));
done:
    mem_free(embedding);
    return rc;
}
