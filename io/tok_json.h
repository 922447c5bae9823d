/* tok_json.h - reading the JSON files of a tokenizer: checked access to members, every error naming the member. */
#ifndef CLLAVA_IO_TOK_JSON_H
#define CLLAVA_IO_TOK_JSON_H

#include "io/tok_text.h"

#include <jansson.h>

struct tok_pattern;

/* Parses dir/name. *out NULL and CL_OK: there is no such file. CL_EFORMAT: broken (line and column in the text). */
int tok_json_open(json_t **out, const char *dir, const char *name);

/* Members of an object; missing or null gives the default. The wrong type is CL_EFORMAT. */
int tok_json_bool(bool *out, const json_t *o, const char *key, bool otherwise);
int tok_json_string(const char **out, size_t *n, const json_t *o, const char *key, const char *otherwise);
int tok_json_number(int64_t *out, const json_t *o, const char *key, int64_t otherwise);
/* {"String": ..} or {"Regex": ..}. */
int tok_json_pattern(struct tok_pattern *out, const json_t *o, const char *key);
/* The member "type" of a step; CL_EFORMAT where there is none. */
int tok_json_type(const char **out, const json_t *o);

/* Calls put for a step, or for each step of a Sequence (member list), in order; nested ones too. NULL or null: no step. */
int tok_json_steps(const json_t *o, const char *list, int (*put)(void *to, const char *type, const json_t *o),
                   void *to);

#endif
