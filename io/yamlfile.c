/* yamlfile.c - see yamlfile.h. */
#include "io/yamlfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

enum { LARGEST_FILE = 16 << 20 };

int yamlfile_read(struct text *t, char **folder, const char *path)
{
    int rc = CL_OK;
    char part[4096], *parent = NULL;
    size_t n;
    const char *slash = strrchr(path, '/');
    FILE *f = fopen(path, "rb");

    *folder = NULL;
    if (!f) FAIL(CL_ECONFIG, "%s: %s (expected a configuration file in YAML)", path, strerror(errno));
    while ((n = fread(part, 1, sizeof part, f)) > 0 && t->len <= LARGEST_FILE) text_bytes(t, part, n);
    if (ferror(f)) FAIL(CL_ECONFIG, "%s: %s (expected a configuration file in YAML)", path, strerror(errno));
    if (t->len > LARGEST_FILE) FAIL(CL_ECONFIG, "%s: too large (expected a configuration of 16 MiB at most)", path);
    parent = strndup(slash ? path : ".", slash == path || !slash ? 1 : (size_t)(slash - path));
    *folder = parent ? realpath(parent, NULL) : NULL;
    if (t->failed || !*folder) FAIL(CL_ENOMEM, "%s: out of memory", path);
done:
    free(parent);
    if (f) fclose(f);
    return rc;
}

/* ---- parsing ---- */

/* Byte offset of the beginning of a line (from 0). */
static const char *line_start(const char *text, size_t len, size_t line)
{
    const char *s = text, *end = text + len;

    while (line-- && s < end) {
        const char *newline = memchr(s, '\n', (size_t)(end - s));
        s = newline ? newline + 1 : end;
    }
    return s;
}

/* libyaml's own words, with file, line and column. */
static int syntax_error(const yaml_parser_t *p, const char *text, size_t len, const char *name, bool lines)
{
    size_t line = p->problem_mark.line, column = p->problem_mark.column;
    const char *problem = p->problem ? p->problem : "not YAML";
    char where[40] = "";

    if (p->error == YAML_MEMORY_ERROR) return err_set(CL_ENOMEM, "%s: out of memory", name);
    if (p->error == YAML_READER_ERROR) { // has an offset in bytes only
        line = column = 0;
        for (size_t i = 0; i < p->problem_offset && i < len; i++) line += text[i] == '\n';
    }
    if (lines) snprintf(where, sizeof where, ":%zu:%zu", line + 1, column + 1);
    const char *s = line_start(text, len, line), *end = text + len;
    size_t indent = 0, tabs = 0;
    for (; s + indent < end && (s[indent] == ' ' || s[indent] == '\t'); indent++) tabs += s[indent] == '\t';
    return err_set(CL_ECONFIG, "%s%s: %s%s%s%s", name, where, problem, p->context ? " " : "",
                   p->context ? p->context : "",
                   tabs ? "; hint: YAML is indented with blanks, this line has a tab" : "");
}

/* Nothing may follow the document. */
static int check_end(yaml_parser_t *p, const char *text, size_t len, const char *name, bool lines)
{
    int rc = CL_OK;
    char where[40] = "";
    yaml_document_t more;

    if (!yaml_parser_load(p, &more)) return syntax_error(p, text, len, name, lines);
    const yaml_node_t *second = yaml_document_get_root_node(&more);
    if (second && lines) snprintf(where, sizeof where, ":%zu", second->start_mark.line + 1);
    if (second) rc = err_set(CL_ECONFIG, "%s%s: a second document (expected one per file)", name, where);
    yaml_document_delete(&more);
    return rc;
}

int yamlfile_parse(yaml_document_t *doc, const char *text, size_t len, const char *name, bool lines)
{
    int rc;
    yaml_parser_t parser;
    bool open = false;

    if (!yaml_parser_initialize(&parser)) return err_set(CL_ENOMEM, "%s: out of memory", name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text ? text : ""), len);
    open = yaml_parser_load(&parser, doc);
    rc = open ? CL_OK : syntax_error(&parser, text ? text : "", len, name, lines);
    if (open && yaml_document_get_root_node(doc)) rc = check_end(&parser, text, len, name, lines);
    if (rc && open) yaml_document_delete(doc);
    yaml_parser_delete(&parser);
    return rc;
}

/* ---- nodes ---- */

const char *yamlfile_kind(const yaml_node_t *node)
{
    return node->type == YAML_MAPPING_NODE    ? "a mapping"
           : node->type == YAML_SEQUENCE_NODE ? "a list"
                                              : "a single value";
}

bool yamlfile_null(const yaml_node_t *node)
{
    const char *s = (const char *)node->data.scalar.value;

    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || !strcmp(s, "~") || !strcmp(s, "null"));
}
