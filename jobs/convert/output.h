/* output.h - one file of DEST that is being written, and what went into it and what not. */
#ifndef CLLAVA_JOBS_CONVERT_OUTPUT_H
#define CLLAVA_JOBS_CONVERT_OUTPUT_H

#include "jobs/convert/convert.h"

enum { EXAMPLES = 5 }; // of samples left out, per reason

struct output {
    char path[PATH_ROOM];      // DEST/test.jsonl
    char temporary[PATH_ROOM]; // "": nothing to remove
    FILE *f;
    const char *side, *split;  // of a task file
    int64_t written, pictures; // samples; those of them with a picture
    struct {
        int64_t n;
        char *example[EXAMPLES]; // "FILE: record 17: why"
    } left[LEFT_REASONS];
};
extern const char *const left_names[LEFT_REASONS]; // "picture missing"

/* Opens a temporary file beside the final name. CL_EIO: cannot be written, or another process is writing it. */
int output_open(struct output *o, const char *dest, const char *name);
int output_bytes(struct output *o, const char *bytes, size_t n); // CL_EIO: the disk is full
int output_finish(struct output *o);         // everything on the disk, still under the temporary name
int output_publish(struct output *o);        // under its final name, a power cut included
void output_close(struct output *o);         // removes what was not published
int64_t output_left(const struct output *o); // samples left out in all

#endif
