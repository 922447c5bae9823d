/* job.c - opening what a command works with. */
#include "jobs/job.h"
#include "jobs/query.h"
#include "pool/kpig.h"
#include "pool/lines.h"
#include "pool/lw2g.h"

#include "io/err.h"
#include "io/safetensors.h"
#include "model/share.h"
#include "mpi/ranks.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void job_set_threads(const struct config *cfg)
{
    int n = cfg->threads > 0 ? cfg->threads : ranks_size() > 1 ? ranks_threads() : 0;

    if (n > 0) omp_set_num_threads(n);
}

static int open_backend(struct job *j)
{
    int rc;

    if (!strcmp(j->cfg.device, "cuda"))
        FAIL(CL_EDEVICE, "device: cuda (this build has no CUDA backend); hint: set device: cpu or auto");
    job_set_threads(&j->cfg);
    TRY(backend_cpu(&j->f32, DT_F32));
    TRY(backend_cpu(&j->be, strcmp(j->cfg.precision, "bf16") ? DT_F32 : DT_BF16));
    rc = CL_OK;
done:
    return rc;
}

/* Tokenizer and base belong together when every id has a row, and the picture's id is nothing that text can give. */
static int check_tokenizer(const struct job *j, const struct lvlm_config *c)
{
    int32_t size = tokenizer_size(j->tok), image = c->image_token;
    const char *piece;

    if (size > c->text.vocab)
        return err_set(CL_EMISMATCH,
                       "tokenizer of %s has %d ids, its base has %d rows (expected at most as many ids as rows); hint: "
                       "tokenizer and weights are of different models",
                       j->cfg.base, size, c->text.vocab);
    if (c->bos >= c->text.vocab || c->eos[0] >= c->text.vocab || c->eos[0] < 0)
        return err_set(CL_EMISMATCH, "base %s: bos %d or eos %d is outside its vocabulary of %d", j->cfg.base, c->bos,
                       c->eos[0], c->text.vocab);
    if (!c->has_vision) return CL_OK;
    if (image > size)
        return err_set(CL_EMISMATCH,
                       "base %s has its image token at %d, but the tokenizer ends at %d; hint: tokenizer and weights "
                       "are of different models",
                       j->cfg.base, image, size);
    piece = tokenizer_piece(j->tok, image);
    if (piece && !tokenizer_is_special(j->tok, image))
        return err_set(CL_EMISMATCH,
                       "base %s: image token %d is the ordinary piece \"%s\" of the tokenizer; hint: tokenizer and "
                       "weights are of different models",
                       j->cfg.base, image, piece);
    return CL_OK;
}

static int open_allowed(struct job *j, const struct lvlm_config *c)
{
    int32_t size = tokenizer_size(j->tok);

    if (!(j->allowed = mem_new((size_t)c->text.vocab, 1))) return err_set(CL_ENOMEM, "no memory for the vocabulary");
    for (int32_t id = 0; id < size && id < c->text.vocab; id++) j->allowed[id] = tokenizer_piece(j->tok, id) != NULL;
    if (c->has_vision && c->image_token >= 0 && c->image_token < c->text.vocab) j->allowed[c->image_token] = 0;
    if (c->pad >= 0 && c->pad < c->text.vocab && !job_is_end(j, c->pad)) j->allowed[c->pad] = 0;
    return CL_OK;
}

/* What text and pictures become: small, and checked before any rank opens weights. */
static int open_rules(struct job *j)
{
    int rc;
    unsigned chosen;
    const struct config *f = &j->cfg;
    const struct lvlm_config *c = &j->base;

    TRY(tokenizer_open(&j->tok, f->base));
    TRY(prompt_make(&j->prompt, f->prompt.template_, f->prompt.system, f->prompt.legacy));
    j->prompt.instruction = prompt_instruction(f->prompt.instruction);
    if ((rc = lvlm_config_read(&j->base, f->base))) return err_prefix(rc, "base %s", f->base);
    TRY(projections_read(&chosen, f->adapter.projections));
    projections_of(&j->on, chosen, &c->text);
    TRY(check_tokenizer(j, c));
    TRY(open_allowed(j, c));
    if (c->has_vision) {
        TRY(image_spec_read(&j->image, f->base, c->vision.image_size, f->image.aspect));
        j->image.exif = f->image.exif;
        if (j->image.size != c->vision.image_size)
            FAIL(CL_EMISMATCH,
                 "base %s: preprocessor_config.json makes pictures of %d pixels, the vision tower takes %d", f->base,
                 j->image.size, c->vision.image_size);
    }
    j->sampler = (struct sampler){.tok = j->tok,
                                  .prompt = &j->prompt,
                                  .bos = c->bos,
                                  .eos = c->eos[0],
                                  .image_token = c->image_token,
                                  .patches = c->has_vision ? c->vision.tokens : 0,
                                  .max_length = f->stage2.max_length};
    rc = CL_OK;
done:
    return rc;
}

/* This rank's part of the weights, or none of them. */
static int open_weights(struct job *j, bool train)
{
    int rc;
    const struct ranks *r = ranks_now();

    if (r->group < 0) return safetensors_open(&j->st, j->cfg.base);
    TRY(lvlm_open(&j->lvlm, j->cfg.base, j->be, r->tp, train));
    if (j->on.chosen != PROJECTIONS_DEFAULT) TRY(lvlm_adapt(j->lvlm, j->on.chosen));
    if (!strcmp(j->cfg.eval.decode_weights, "int8")) TRY(lvlm_decode_int8(j->lvlm));
    TRY(features_new(&j->features, j->lvlm, &j->image, (size_t)j->cfg.image.cache_mib << 20));
done:
    return rc;
}

/* Other ranks open theirs meanwhile: of their group's encoder, where the method routes. */
static int open_model(struct job *j, unsigned parts)
{
    int rc;
    const struct method_ops *ops = method_find(j->cfg.method);
    struct share unused;
    unsigned theirs = parts & (JOB_MODEL | JOB_TRAIN | JOB_ENCODER);

    if (parts & JOB_METHOD && ops && ops->routes) theirs |= JOB_ENCODER;
    TRY(open_backend(j));
    TRY(open_rules(j));
    TRY(share_of(&unused, &j->base, &(struct tp){.size = j->cfg.parallel.tensor})); // more ranks than heads
    if (ranks_rank() == 0) TRY(crew_open(&j->crew, j, theirs));
    TRY(open_weights(j, parts & JOB_TRAIN));
    if (j->st) job_base_hash(j); // while the others read their shares
    if (j->crew) TRY(crew_opened(j->crew));
done:
    return rc;
}

/* pool.init: initial keys, A, B and w from a checkpoint. */
static int init_method(struct job *j)
{
    int rc;
    struct ckpt *c = NULL;

    if (!j->method->ops->init_from)
        return config_error(&j->cfg, "pool.init", "method %s has no pool to take initial values for", j->cfg.method);
    TRY(ckpt_open(&c, j->cfg.pool.init));
    TRY(j->method->ops->init_from(j->method, c));
done:
    ckpt_close(c);
    return rc;
}

static int open_method(struct job *j)
{
    int rc;
    const struct method_ops *ops = method_find(j->cfg.method);
    const struct lvlm_config *c = &j->base;
    struct method_shape shape = {
        .tasks = j->cfg.stream.tasks, .layers = c->text.layers, .H = j->on.H, .D = j->on.D, .on = j->on};

    if (!ops) FAIL(CL_ECONFIG, "method: %s (expected one of: %s)", j->cfg.method, method_names());
    TRY(lines_check(&j->cfg, ops));
    TRY(taskres_check(&j->cfg, ops));
    TRY(kpig_check(&j->cfg, ops));
    TRY(lw2g_check(&j->cfg, ops));
    if (ops->routes) TRY(query_check(&j->cfg, &j->base));
    if (ops->routes) {
        TRY(text_encoder_open(&j->encoder, j->cfg.encoder, j->cfg.base, j->tok, j->f32));
        shape.K = query_width(j);
    }
    TRY(ops->open(&j->method, &j->cfg, &shape));
    if (j->cfg.pool.init) TRY(init_method(j));
    TRY(taskres_open(&j->taskres, &j->cfg, c->text.vocab));
    rc = CL_OK;
done:
    return rc;
}

int job_open(struct job *j, unsigned parts)
{
    int rc;

    if (!j->log) TRY(log_open(&j->log, NULL, -1));
    if ((parts & JOB_RULES) && !(parts & JOB_MODEL)) TRY(open_rules(j));
    if (parts & JOB_MODEL) TRY(open_model(j, parts));
    if (parts & JOB_METHOD || !(parts & JOB_MODEL)) j->sampler.prompt_rows = method_prompt_rows(&j->cfg);
    if (parts & JOB_METHOD) TRY(open_method(j));
    if ((parts & JOB_ENCODER) && !j->encoder) {
        if (!j->f32) TRY(backend_cpu(&j->f32, DT_F32));
        if (!j->tok) TRY(tokenizer_open(&j->tok, j->cfg.base));
        TRY(text_encoder_open(&j->encoder, j->cfg.encoder, j->cfg.base, j->tok, j->f32));
    }
    rc = CL_OK;
done:
    return rc;
}

/* The model, here and at the other ranks. Where an operation broke off, others may wait for this rank in the middle of it: then
 * the process is about to end the job, and the model, whose closing is collective too, ends with it. */
static void close_model(struct job *j)
{
    bool others = j->crew && ranks_size() > 1, broken = others && crew_is_broken(j->crew);

    crew_close(j->crew);
    if (broken) return;
    features_free(j->features);
    lvlm_close(j->lvlm);
    safetensors_close(j->st);
    if (others) lvlm_release(ranks_now()->tp);
}

void job_close(struct job *j)
{
    taskres_close(j->taskres);
    if (j->method) j->method->ops->close(j->method);
    if (j->encoder) text_encoder_close(j->encoder);
    close_model(j);
    mem_free(j->allowed);
    prompt_free(&j->prompt);
    if (j->tok) tokenizer_close(j->tok);
    if (j->log) log_close(j->log);
    config_free(&j->cfg);
    memset(j, 0, sizeof *j);
}

const char *job_base_hash(struct job *j)
{
    if (j->lvlm) return lvlm_hash(j->lvlm);
    if (!j->base_hash[0])
        snprintf(j->base_hash, sizeof j->base_hash, "%016llx", (unsigned long long)safetensors_hash(j->st));
    return j->base_hash;
}

int job_routing_new(const struct job *j, struct routing *r, int n)
{
    struct method_size size = {0};

    if (j->method) j->method->ops->size(&j->cfg, j->cfg.stream.tasks, &size);
    return routing_new(r, n, size.slots + (j->taskres ? j->cfg.stream.tasks : 0), size.selected);
}

int job_adapters(struct job *j, enum route_mode mode, int task, struct adapters *set)
{
    int rc;

    TRY(j->method->ops->adapters(j->method, mode, task, set));
    if (j->taskres) TRY(taskres_adapters(j->taskres, mode, set));
done:
    return rc;
}

int job_routes(struct job *j, enum route_mode mode, int task, const float *const *embedding, const uint64_t *sample,
               int n, struct routing *out)
{
    int rc;

    TRY(j->method->ops->route(j->method, mode, task, embedding, sample, n, out));
    if (j->taskres) taskres_weigh(j->taskres, mode, j->method, out);
done:
    return rc;
}

int job_route_alike(struct job *j, int task, int n, struct adapters *set, struct routing *r)
{
    int rc;
    const float **query = mem_new((size_t)n, sizeof *query);
    uint64_t *number = mem_new((size_t)n, sizeof *number);

    if (!query || !number) FAIL(CL_ENOMEM, "no memory for %d samples", n);
    TRY(job_adapters(j, ROUTE_FREE, task, set));
    TRY(job_routing_new(j, r, n));
    TRY(job_routes(j, ROUTE_FREE, task, query, number, n, r));
    r->query = NULL; // they go now
done:
    mem_free(query), mem_free(number);
    return rc;
}

bool job_is_end(const struct job *j, int32_t id)
{
    const struct lvlm_config *c = &j->base;

    for (int i = 0; i < c->n_eos; i++)
        if (id == c->eos[i]) return true;
    return false;
}

int job_decode(const struct job *j, const int32_t *id, size_t n, char **text)
{
    int rc;
    static const char blank[] = " \t\r\n\f\v";
    char *from;
    size_t len;

    while (n && job_is_end(j, id[n - 1])) n--;
    TRY(tokenizer_decode(j->tok, id, n, text));
    from = *text + strspn(*text, blank);
    len = strlen(from);
    while (len && strchr(blank, from[len - 1])) len--;
    memmove(*text, from, len);
    (*text)[len] = 0;
    rc = CL_OK;
done:
    return rc;
}
