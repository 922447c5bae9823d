/* open_checkpoint.h - a trained model from its checkpoint: what it was trained with stands in the file. */
#ifndef CLLAVA_JOBS_OPEN_CHECKPOINT_H
#define CLLAVA_JOBS_OPEN_CHECKPOINT_H

#include "jobs/cli.h"
#include "jobs/job.h"

/* Opens base, encoder, method and learned state. config: a YAML file that overrides what the checkpoint says, or NULL;
 * a: arguments whose --set come on top, or NULL. CL_EMISMATCH: the base or the encoder is not the one that it was trained on. */
int job_open_checkpoint(struct job *j, const char *checkpoint, const char *config, const struct command_args *a);
/* The base alone, from a configuration: no method, no encoder. */
int job_open_base(struct job *j, const char *config, const struct command_args *a);

/* The slots of every task for inference, or *set with 0 slots for a base alone; routing buffers for one sample at a time
 * (routing_free by the caller). */
int job_inference_set(struct job *j, struct adapters *set, struct routing *one);
/* Coefficients and slots of one question about a picture (path; NULL: none), by free routing. Nothing to do for a base alone. */
int job_route(struct job *j, const char *question, const char *picture, struct routing *one);

#endif
