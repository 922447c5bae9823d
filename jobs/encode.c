/* encode.c - `cllava encode`: what routing sees of a text: the sentence encoder's tokens and embedding. */
#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/settings.h"
#include "jobs/job.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static int print_line(const char *text, const struct ids *ids, const float *embedding, int K)
{
    json_t *tokens = json_array(), *vector = json_array(), *o;
    char *line;

    for (size_t i = 0; i < ids->n; i++) json_array_append_new(tokens, json_integer(ids->id[i]));
    for (int k = 0; k < K; k++) json_array_append_new(vector, json_real((double)embedding[k]));
    o = json_pack("{s:s, s:o, s:o}", "text", text, "tokens", tokens, "embedding", vector);
    line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    if (!line) return err_set(CL_EDATA, "text is not UTF-8, or no memory for the result");
    puts(line);
    free(line);
    return CL_OK;
}

int command_encode(const struct command_args *a)
{
    int rc;
    struct job j = {0};
    float *embedding = NULL;
    struct ids ids = {0};

    TRY(settings_load(&j.cfg, a, args_positional(a, 0), NEED_BASE | NEED_ENCODER));
    TRY(job_open(&j, JOB_ENCODER));
    int K = text_encoder_width(j.encoder);
    if (!(embedding = mem_new((size_t)K, sizeof *embedding))) FAIL(CL_ENOMEM, "no memory for an embedding");
    for (int i = 1; i < args_count(a); i++) {
        const char *text = args_positional(a, i);
        ids.n = 0;
        TRY(text_encoder_ids(j.encoder, text, &ids));
        TRY(text_encoder_embed(j.encoder, embedding, &text, 1));
        TRY(print_line(text, &ids, embedding, K));
    }
    rc = CL_OK;
done:
    ids_free(&ids);
    mem_free(embedding);
    job_close(&j);
    return rc;
}
