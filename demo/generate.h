/* generate.h - writes an embedded stream: small tasks that are learnt one after another, like those of COAST.
 *
 * DIR/<task>/train.json and test.json hold arrays of LLaVA conversations; DIR/<task>/images the pictures they name (64 x 64
 * PNG). Records of test.json also carry "question_type" and "answers". Pictures, questions and order depend on the options
 * alone, byte for byte on every machine; item i of a task stays the same when more items are asked for.
 *
 * Half of the test questions are worded as no training question is; their question_type ends in "-new".
 */
#ifndef CLLAVA_DEMO_GENERATE_H
#define CLLAVA_DEMO_GENERATE_H

#include <stdint.h>

#define GENERATE_STREAMS "domain, capability, dataset"

enum { GENERATE_MOST_TASKS = 8 }; // of a stream

struct generate_options {
    const char *dir;    // made when missing (its parent must exist)
    const char *stream; // one of GENERATE_STREAMS
    int train, test;    // records per task, 1 .. 99999
    uint64_t seed;
};

struct generate_task {
    const char *name;   // folder below dir, e.g. "chart"
    const char *metric; // what scores its answers, e.g. "exact"
};

/* Tasks of a stream in the order of learning; returns how many, 0 for a stream that is not known. */
int generate_stream_tasks(const char *stream, struct generate_task task[GENERATE_MOST_TASKS]);

/* Writes the stream. CL_EUSAGE: options out of range; CL_EIO: cannot be written (the text names the file). */
int generate_stream(const struct generate_options *o);

#endif
