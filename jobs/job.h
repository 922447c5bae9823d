/* job.h - what a command works with: configuration, base, tokenizer, encoder, method, opened in one go and checked
 * against each other before any work.
 */
#ifndef CLLAVA_JOBS_JOB_H
#define CLLAVA_JOBS_JOB_H

#include "io/config.h"
#include "io/image.h"
#include "io/log.h"
#include "io/sample.h"
#include "jobs/crew.h"
#include "jobs/features.h"
#include "model/lvlm.h"
#include "model/projections.h"
#include "model/text_encoder.h"
#include "pool/method.h"
#include "pool/taskres.h"

enum job_part {
    JOB_MODEL = 1,   // backend, base, tokenizer, prompt, picture rules
    JOB_TRAIN = 2,   // the base keeps what a backward pass needs
    JOB_ENCODER = 4, // sentence encoder (opened only where the method routes, unless JOB_METHOD is absent)
    JOB_METHOD = 8,
    JOB_RULES = 16 // what JOB_MODEL opens beside weights: tokenizer, prompt, picture rules
};

struct job {
    struct config cfg;
    const struct backend *be;  // of the configured precision and device
    const struct backend *f32; // for the sentence encoder
    struct tokenizer *tok;
    struct prompt prompt;
    struct sampler sampler; // how records become ids
    struct image_spec image;
    struct lvlm_config base; // what the base is
    struct projections on;   // maps that have increments, and their widths
    struct safetensors *st;  // of a coordinator without model: where the base's hash comes from
    char base_hash[17];
    struct crew *crew;         // the groups of ranks that have a model; NULL without model, and at other ranks than 0
    struct lvlm *lvlm;         // of this rank's group; NULL: a dedicated coordinator
    struct features *features; // vision features of pictures seen so far; NULL without lvlm
    uint8_t *allowed;          // (vocab) ids that generation may emit
    struct text_encoder *encoder; // NULL where nothing routes
    struct method *method;
    struct taskres *taskres; // NULL: off
    enum recompute again;    // what training passes compute again (plan_job_row)
    struct log *log;         // owned; a job without run directory only says things on stderr
};

/* Opens the parts over j->cfg (loaded by the caller; everything else zero), with JOB_MODEL at the other ranks too. On error what
 * was opened is closed by job_close as usual. CL_ECONFIG, CL_EIO, CL_EFORMAT, CL_EMISMATCH. */
int job_open(struct job *j, unsigned parts);
void job_close(struct job *j); // frees cfg too

/* cfg.threads, else this rank's share of the machine. */
void job_set_threads(const struct config *cfg);
/* Hash of the base's config and weights, by which checkpoints name it. */
const char *job_base_hash(struct job *j);

/* Routing buffers of n samples for the job's method, whatever it still learns; without a method for the base alone. */
int job_routing_new(const struct job *j, struct routing *r, int n);
/* The method's slots for a mode and the coefficients of n samples over them (method.h), and behind them what taskres adds. Rows of
 * out->coef are set->slots wide then, and out->slots is still the method's own. */
int job_adapters(struct job *j, enum route_mode mode, int task, struct adapters *set);
int job_routes(struct job *j, enum route_mode mode, int task, const float *const *embedding, const uint64_t *sample,
               int n, struct routing *out);
/* The same for methods that do not route, to which all samples are alike: their slots, and r (new) with the coefficients of n. */
int job_route_alike(struct job *j, int task, int n, struct adapters *set, struct routing *r);
/* The ids that end a generated answer. */
bool job_is_end(const struct job *j, int32_t id);
/* Decoded answer, trimmed on both sides; end tokens left out. malloc'ed. */
int job_decode(const struct job *j, const int32_t *id, size_t n, char **text);

#endif
