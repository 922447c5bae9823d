/* settings.h - the configuration of a command: file, --set, and the names that only other parts of the program know
 * (methods, metrics, prompt templates), refused with file and line like everything else.
 */
#ifndef CLLAVA_JOBS_SETTINGS_H
#define CLLAVA_JOBS_SETTINGS_H

#include "io/config.h"
#include "jobs/cli.h"

/* path with the --set of the command's arguments (NULL: none) on top. needs: as config_load. */
int settings_load(struct config *c, const struct command_args *a, const char *path, unsigned needs);
/* The same with n texts "key=value" on top. */
int settings_load_sets(struct config *c, const char *path, const char *const *sets, size_t n, unsigned needs);
/* The same from a checkpoint's config attribute; name: the checkpoint, for messages. */
int settings_load_text(struct config *c, const struct command_args *a, const char *text, const char *name,
                       unsigned needs);

#endif
