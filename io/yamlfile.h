/* yamlfile.h - YAML files as libyaml's tree of nodes: reading, the one document, messages with file and line.
 *
 * What the nodes mean is the caller's: the configuration (config_read.c) walks them along its table of options, a sweep
 * (jobs/sweep_spec.c) along its few keys.
 */
#ifndef CLLAVA_IO_YAMLFILE_H
#define CLLAVA_IO_YAMLFILE_H

#include <stdbool.h>
#include <yaml.h>

#include "io/text.h"

/* The whole file; its folder, absolute, malloc'ed. CL_ECONFIG: not there, not readable, larger than 16 MiB. */
int yamlfile_read(struct text *t, char **folder, const char *path);
/* The one document of a text; its root is NULL when it is empty. The caller deletes it (on success only). name: as messages
 * show it; lines: they name lines too. CL_ECONFIG: libyaml's words with file, line and column; a second document. */
int yamlfile_parse(yaml_document_t *doc, const char *text, size_t len, const char *name, bool lines);

const char *yamlfile_kind(const yaml_node_t *node); // "a mapping", "a list", "a single value"
bool yamlfile_null(const yaml_node_t *node);        // null, ~ or nothing, not in quotes

#endif
