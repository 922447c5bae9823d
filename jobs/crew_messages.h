/* crew_messages.h - what coordinator and leaders say to each other: a word, then what belongs to it, field by field.
 *
 *     coordinator -> leader
 *     RESERVE     limits
 *     LOAD        set: slots, learned, rank, residuals, list of (place, version); then A and B of each, or its one vector, by
 *                 broadcast over the crew
 *     RUN         where, grad_scale, set?, squares?, micro-batches         answer: RESULTS, or ODD
 *     GRADIENTS                                                            then two sums over the crew: of gradients, or of
 *                                                                          their squares where RUN said so
 *     RESIDUAL                                                             then a sum over the crew: of the residual's gradients
 *     GENERATE    where, set or base alone, limits, number of prompts      answers: ANSWERS ..
 *     PROMPTS     prompts, until all are there
 *     ABANDON     no more prompts come                                     answer: ABANDONED
 *     EMBED       texts                                                    answer: EMBEDDED
 *     SEE         paths of pictures                                        answer: SEEN, or FAILED
 *     CLOSE
 *
 * A leader that cannot go on ends the job by itself (watch_fail); FAILED is for what the coordinator can say better, since it
 * knows the names of the samples.
 */
#ifndef CLLAVA_JOBS_CREW_MESSAGES_H
#define CLLAVA_JOBS_CREW_MESSAGES_H

#include "jobs/crew.h"
#include "mpi/message.h"

enum crew_word {
    CREW_RESERVE = 1,
    CREW_LOAD,
    CREW_RUN,
    CREW_GRADIENTS,
    CREW_RESIDUAL,
    CREW_GENERATE,
    CREW_PROMPTS,
    CREW_ABANDON,
    CREW_EMBED,
    CREW_SEE,
    CREW_CLOSE,
    CREW_OPENED, // from here on: of leaders
    CREW_RESULTS,
    CREW_ODD,
    CREW_ANSWERS,
    CREW_ABANDONED,
    CREW_EMBEDDED,
    CREW_SEEN,
    CREW_FAILED
};

/* What rank 0 tells the whole world (ranks_tell): the first field of the message. */
enum world_word { WORLD_JOB = 1, WORLD_BENCH };

/* Empties m and puts the word. */
void crew_begin_message(struct message *m, enum crew_word w);
/* The next message of `from` (crew rank; -1: of anyone) and its word. */
int crew_hear(struct message *m, struct comm *c, int from, enum crew_word *w, int *who);
int crew_unexpected(enum crew_word w, const char *where); // CL_EMPI

void crew_put_limits(struct message *m, const struct lvlm_limits *l);
void crew_take_limits(struct message *m, struct lvlm_limits *l);
void crew_put_micro(struct message *m, const struct crew_micro *b, int slots);
/* Into b->pack, which has room for the limits; picture (room samples) and coef point into m. */
int crew_take_micro(struct message *m, struct crew_micro *b, int slots);
void crew_put_heard(struct message *m, const struct heard *h);
struct heard crew_take_heard(struct message *m);

/* A prompt with the coordinator's number of it; coef (slots) of the item. */
void crew_put_prompt(struct message *m, int64_t number, const struct prompt_item *item, int slots);
/* coef: (slots) where the coefficients go. Sample and picture are new memory, as a source gives them. */
int crew_take_prompt(struct message *m, int64_t *number, struct prompt_item *item, float *coef, int slots);

/* A failure with its code and text, and the text put back at the coordinator with the rank it came from. */
void crew_put_failure(struct message *m, int code);
int crew_take_failure(struct message *m, int world_rank);

#endif
