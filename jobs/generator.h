/* generator.h - greedy answers to many questions.
 *
 * Prompts are prefilled in packs; decoding runs one token of every unfinished answer at a time, and the place of an answer
 * that ended goes to the next prompt (continuous batching). What each prompt is comes from a source, what became of it
 * goes to a sink, in the order in which answers end.
 *
 * Many prompts begin alike: with the same system prompt, or with that and the same picture. Where a place of the cache has the
 * keys and values of such a front under the same coefficients, they are copied, and only the rest of the prompt goes through
 * the model.
 */
#ifndef CLLAVA_JOBS_GENERATOR_H
#define CLLAVA_JOBS_GENERATOR_H

#include "io/sample.h"
#include "model/lvlm.h"

struct job;

struct prompt_item {
    struct sample sample;          // its prompt_n first tokens; freed by the generator
    char *picture;                 // path or NULL; freed by the generator
    const struct feature *feature; // set instead of picture: features already there (one prompt at a time then)
    float *coef;                   // (slots of the set) filled in place by the source; NULL without adapters
};

struct generator_ends {
    void *context;
    int (*source)(void *context, int64_t i, struct prompt_item *item); // fills item i
    int (*token)(void *context, int64_t i, int32_t id);                // NULL, or each token as it comes
    int (*sink)(void *context, int64_t i, const int32_t *id, int n,
                int64_t prompt_n); // whole answer, end token included
    int (*between)(void *context); // NULL, or called after each pass of the model
};

struct generator_limits {
    int batch;        // answers at once, e.g. 16
    int64_t prompt_n; // longest prompt, tokens
    int max_new_tokens;
    int slots, rank; // of the adapter set, 0: none
    int residuals;   // of the slots (model/adapters.h)
    bool share;      // prompts that begin alike, under the same coefficients, go through the model from where they part
};

struct generator;

/* What is asked of the model for them: prompts go in packs. */
struct lvlm_limits generator_model_limits(const struct generator_limits *limits);
/* Memory for answers within the limits. Collective over tp like all that runs the model. */
int generator_new(struct generator **g, struct job *j, const struct generator_limits *limits);
void generator_free(struct generator *g);

/* Tokens of prompts that went through the model so far: less than they have where fronts are shared. */
int64_t generator_prefilled(const struct generator *g);

/* Answers prompts 0 .. n-1; set: the adapters (coef NULL; rows come from the source), or NULL for the base alone. */
int generator_run(struct generator *g, int64_t n, const struct adapters *set, const struct generator_ends *ends);

#endif
