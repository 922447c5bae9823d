/* settings.c - see settings.h. */
#include "jobs/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/metric.h"
#include "io/sample.h"
#include "model/projections.h"
#include "pool/method.h"

/* The template's own message, behind file and line instead of its name for the key. */
static int check_prompt(const struct config *c)
{
    static const char own[] = "prompt.template: ";
    struct prompt p;
    char text[1024];

    int rc = prompt_make(&p, c->prompt.template_, c->prompt.system, c->prompt.legacy);
    if (!rc) prompt_free(&p);
    if (rc != CL_ECONFIG) return rc;
    snprintf(text, sizeof text, "%s", err_text());
    return config_error(c, "prompt.template", "%s", strncmp(text, own, sizeof own - 1) ? text : text + sizeof own - 1);
}

/* Names in any order become the list's, so that equal choices are equal texts. */
static int order_projections(struct config *c)
{
    char text[1024];
    unsigned chosen;
    const int rc = projections_read(&chosen, c->adapter.projections);
    char *ordered;

    snprintf(text, sizeof text, "%s", err_text());
    if (rc) return config_error(c, "adapter.projections", "%s", text);
    projections_text(text, sizeof text, chosen);
    if (!(ordered = strdup(text))) return err_set(CL_ENOMEM, "no memory for the configuration");
    free(c->adapter.projections);
    c->adapter.projections = ordered;
    return CL_OK;
}

static int check_names(struct config *c)
{
    int rc;

    TRY(config_check_listed(c, "method", c->method, method_names()));
    for (int i = 0; i < c->stream.tasks; i++) {
        char key[64];
        snprintf(key, sizeof key, "stream.tasks.%d.metric", i);
        TRY(config_check_listed(c, key, c->stream.task[i].metric, metric_names()));
    }
    TRY(order_projections(c));
    TRY(check_prompt(c));
done:
    return rc;
}

int settings_load_sets(struct config *c, const char *path, const char *const *sets, size_t n, unsigned needs)
{
    int rc;

    TRY(config_load(c, path, sets, n, needs));
    rc = check_names(c);
    if (rc) config_free(c);
done:
    return rc;
}

int settings_load(struct config *c, const struct command_args *a, const char *path, unsigned needs)
{
    size_t n = 0;
    const char *const *sets = a ? args_sets(a, &n) : NULL;

    return settings_load_sets(c, path, sets, n, needs);
}

int settings_load_text(struct config *c, const struct command_args *a, const char *text, const char *name,
                       unsigned needs)
{
    int rc;
    size_t n = 0;
    const char *const *sets = a ? args_sets(a, &n) : NULL;

    TRY(config_load_text(c, text, name, sets, n, needs));
    rc = check_names(c);
    if (rc) config_free(c);
done:
    return rc;
}
