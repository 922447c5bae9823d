/* demo.h - the embedded default: where its base is, how its configurations are written (also for tests and docs). */
#ifndef CLLAVA_JOBS_DEMO_H
#define CLLAVA_JOBS_DEMO_H

#include "demo/generate.h"

#include <stddef.h>
#include <stdint.h>

enum { DEMO_TRAIN = 1000, DEMO_TEST = 200 }; // records per task

/* The folder of the base that comes with the program: in the source tree, or where it was installed. CL_EIO. */
int demo_base_folder(char *out, size_t room);

/* DIR/<method>.yaml over DIR/base and DIR/stream: method and its settings (YAML lines), output runs/<method>. stream: one of
 * GENERATE_STREAMS; names of all but the domain stream end in the stream's (<method>-capability.yaml). */
int demo_write_config(const char *dir, const char *stream, const char *method, const char *settings, int64_t seed);

#endif
