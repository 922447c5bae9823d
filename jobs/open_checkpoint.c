/* open_checkpoint.c - configuration out of the checkpoint, then state_load's checks. */
#include "jobs/open_checkpoint.h"

#include "io/err.h"
#include "jobs/settings.h"
#include "jobs/state.h"

#include <stdlib.h>

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
    TRY(job_open(j, JOB_MODEL));
done:
    return rc;
}

int job_inference_set(struct job *j, struct adapters *set, struct routing *one)
{
    int rc;

    *set = (struct adapters){0};
    if (j->method) TRY(j->method->ops->adapters(j->method, ROUTE_FREE, -1, set));
    TRY(routing_new(one, 1, job_max_slots(j), j->cfg.pool.top_m));
done:
    return rc;
}

int job_route(struct job *j, const char *question, struct routing *one)
{
    int rc;
    uint64_t number = 0;
    const float *query = NULL;
    float *embedding = NULL;

    if (!j->method) return CL_OK;
    if (j->encoder) {
        if (!(embedding = mem_new((size_t)text_encoder_width(j->encoder), sizeof *embedding)))
            FAIL(CL_ENOMEM, "no memory for an embedding");
        TRY(text_encoder_embed(j->encoder, embedding, &question, 1));
        query = embedding;
    }
    TRY(j->method->ops->route(j->method, ROUTE_FREE, -1, &query, &number, 1, one));
done:
    mem_free(embedding);
    return rc;
}
