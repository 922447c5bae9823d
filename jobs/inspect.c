/* inspect.c - `cllava inspect CHECKPOINT`: what was learned, as tables or as one JSON object. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/path.h"
#include "jobs/commands.h"
#include "jobs/diagnostics.h"

static const char *const states[] = {"?", "not begun", "stage 1", "stage 2", "finished"};

static const char *state_of(const struct learned_task *k)
{
    return states[k->done + 1];
}

/* Norm of the whole increment of a slot: over all layers. */
static double whole_norm(const struct learned *l, const struct learned_slot *s)
{
    double square = 0;

    for (int i = 0; i < l->L; i++) square += s->norm[i] * s->norm[i];
    return sqrt(square);
}

/* ---- JSON. Values that the file does not have are null. */

static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *integer(int64_t v)
{
    return v < 0 ? json_null() : json_integer(v);
}

static json_t *text(const char *s)
{
    return s ? json_string(s) : json_null();
}

static json_t *reals(const double *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++) json_array_append_new(a, real(v[i]));
    return a;
}

static json_t *tasks_json(const struct learned *l)
{
    json_t *a = json_array();

    for (int t = 0; t < l->T; t++) {
        const struct learned_task *k = &l->task[t];
        json_t *o = json_object();
        json_object_set_new(o, "name", text(k->name));
        json_object_set_new(o, "done", integer(k->done));
        json_object_set_new(o, "state", text(k->done < 0 ? NULL : state_of(k)));
        json_object_set_new(o, "slots", json_integer(k->slots));
        if (k->home != t) json_object_set_new(o, "slots_of", json_integer(k->home));
        json_object_set_new(o, "samples", integer(k->samples));
        json_object_set_new(o, "steps", integer(k->steps));
        json_object_set_new(o, "tokens", integer(k->tokens));
        json_object_set_new(o, "seconds", real(k->seconds));
        json_object_set_new(o, "started", text(k->started));
        json_object_set_new(o, "finished", text(k->finished));
        json_object_set_new(o, "losses", json_integer(k->losses));
        json_object_set_new(o, "first_loss", real(k->first_loss));
        json_object_set_new(o, "last_loss", real(k->last_loss));
        json_object_set_new(o, "key_drift", real(k->drift));
        json_array_append_new(a, o);
    }
    return a;
}

/* Maps that have increments. */
static json_t *names_json(const struct learned *l)
{
    json_t *a = json_array();

    for (int i = 0; i < l->on.n; i++) json_array_append_new(a, text(projection_name(l->on.at[i].is)));
    return a;
}

static json_t *pool_json(const struct learned *l)
{
    json_t *o = json_object(), *slots = json_array();

    json_object_set_new(o, "slots", json_integer(l->N));
    json_object_set_new(o, "key_width", json_integer(l->K));
    json_object_set_new(o, "layers", json_integer(l->L));
    json_object_set_new(o, "rank", json_integer(l->R));
    json_object_set_new(o, "projections", names_json(l));
    json_object_set_new(o, "input_width", json_integer(l->H));
    json_object_set_new(o, "output_width", json_integer(l->D));
    json_object_set_new(o, "top_m", json_integer(l->top_m));
    json_object_set_new(o, "key_groups", json_integer(l->groups));
    json_object_set_new(o, "scale", real(l->scale));
    for (int n = 0; n < l->N; n++) {
        const struct learned_slot *s = &l->slot[n];
        json_t *one = json_object();
        json_object_set_new(one, "slot", json_integer(n));
        json_object_set_new(one, "task", json_integer(s->task));
        json_object_set_new(one, "key_norm", real(s->key));
        json_object_set_new(one, "use", real(s->use));
        json_object_set_new(one, "selected", integer(s->selected));
        json_object_set_new(one, "norm", real(whole_norm(l, s)));
        json_object_set_new(one, "layer_norms", reals(s->norm, l->L));
        json_array_append_new(slots, one);
    }
    json_object_set_new(o, "slot", slots);
    return o;
}

static json_t *prompts_json(const struct learned *l)
{
    json_t *o = json_object(), *prompts = json_array();

    json_object_set_new(o, "prompts", json_integer(l->N));
    json_object_set_new(o, "rows", json_integer(l->rows));
    json_object_set_new(o, "width", json_integer(l->D));
    json_object_set_new(o, "key_width", json_integer(l->K));
    json_object_set_new(o, "top_m", json_integer(l->top_m));
    for (int n = 0; n < l->N; n++) {
        json_t *one = json_object();
        json_object_set_new(one, "prompt", json_integer(n));
        json_object_set_new(one, "key_norm", real(l->slot[n].key));
        json_object_set_new(one, "selected", integer(l->slot[n].selected));
        json_array_append_new(prompts, one);
    }
    json_object_set_new(o, "prompt", prompts);
    return o;
}

static json_t *rows_json(const double *v, int rows, int columns)
{
    json_t *a = json_array();

    for (int r = 0; r < rows; r++) json_array_append_new(a, reals(v + (int64_t)r * columns, columns));
    return a;
}

static json_t *metrics_json(const struct learned *l)
{
    const struct accuracy_summary s = accuracy_summarise(&l->accuracy);
    json_t *o = json_object();

    json_object_set_new(o, "accuracy", rows_json(l->accuracy.a, l->T + 1, l->T));
    json_object_set_new(o, "AA", real(s.AA));
    json_object_set_new(o, "MAA", real(s.MAA));
    json_object_set_new(o, "AF", real(s.AF));
    json_object_set_new(o, "AF_max", real(s.AF_max));
    json_object_set_new(o, "BWT", real(s.BWT));
    json_object_set_new(o, "FWT", real(s.FWT));
    return o;
}

static json_t *resume_json(const struct learned *l)
{
    json_t *o = json_object();

    json_object_set_new(o, "task", json_integer(l->at_task));
    json_object_set_new(o, "stage", json_integer(l->at_stage));
    json_object_set_new(o, "step", json_integer(l->at_step));
    return o;
}

/* Folder of the checkpoint, where a run's predictions lie beside it. */
static int folder_json(json_t **out, const struct learned *l)
{
    int rc;
    char folder[PATH_ROOM], *slash;

    TRY(path_print(folder, "%s", ckpt_path(l->c)));
    if ((slash = strrchr(folder, '/')))
        *slash = 0;
    else
        strcpy(folder, ".");
    TRY(diagnostics_json(out, l, folder));
done:
    return rc;
}

int inspect_json(const struct learned *l, char **out)
{
    int rc;
    json_t *o = NULL, *diagnostics = NULL, *config;

    TRY(folder_json(&diagnostics, l));
    o = json_object(), config = l->config ? json_loads(l->config, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_object_set_new(o, "file", text(ckpt_path(l->c)));
    json_object_set_new(o, "version", json_integer(1));
    json_object_set_new(o, "cllava_version", text(l->cllava));
    json_object_set_new(o, "created", text(l->created));
    json_object_set_new(o, "base_hash", text(l->base_hash));
    json_object_set_new(o, "encoder_hash", text(l->encoder_hash));
    json_object_set_new(o, "method", text(l->method));
    json_object_set_new(o, "tasks", tasks_json(l));
    json_object_set_new(o, "pool", l->slot && !l->rows ? pool_json(l) : json_null());
    if (l->rows) json_object_set_new(o, "prompts", prompts_json(l));
    json_object_set_new(o, "context", l->w ? rows_json(l->w, l->T, l->T) : json_null());
    json_object_set_new(o, "metrics", l->accuracy.a ? metrics_json(l) : json_null());
    json_object_set_new(o, "resume", l->resumes ? resume_json(l) : json_null());
    json_object_set_new(o, "config", config ? config : json_null());
    json_object_set(o, "diagnostics", diagnostics);
    if (!(*out = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(17))))
        FAIL(CL_ENOMEM, "no memory for the JSON of a checkpoint");
done:
    json_decref(diagnostics), json_decref(o);
    return rc;
}

static int print_json(const struct learned *l)
{
    int rc;
    char *line = NULL;

    TRY(inspect_json(l, &line));
    puts(line);
done:
    free(line);
    return rc;
}

/* ---- tables */

static void number(double v, int width, int decimals)
{
    if (isnan(v))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, decimals, v);
}

static void whole(int64_t v, int width)
{
    if (v < 0)
        printf(" %*s", width, "-");
    else
        printf(" %*lld", width, (long long)v);
}

static void line(const char *name, const char *value)
{
    if (value && *value) printf("%-16s%s\n", name, value);
}

static void print_root(const struct learned *l)
{
    line("checkpoint", ckpt_path(l->c));
    line("written by", l->cllava);
    line("created", l->created);
    line("method", l->method);
    line("base hash", l->base_hash);
    line("encoder hash", l->encoder_hash);
    if (l->resumes)
        printf("%-16stask %lld, stage %lld, after step %lld: `train` goes on from here\n", "inside",
               (long long)l->at_task, (long long)l->at_stage, (long long)l->at_step);
}

static void print_tasks(const struct learned *l)
{
    printf("\nTasks\n%4s %-20s %-10s %5s %8s %7s %10s %9s %8s %8s %8s\n", "", "name", "state", "slots", "samples",
           "steps", "tokens", "seconds", "loss 0", "loss end", "drift");
    for (int t = 0; t < l->T; t++) {
        const struct learned_task *k = &l->task[t];
        printf("%4d %-20.20s %-10s", t, k->name, state_of(k));
        whole(k->slots, 5);
        whole(k->samples, 8);
        whole(k->steps, 7);
        whole(k->tokens, 10);
        number(k->seconds, 9, 1);
        number(k->first_loss, 8, 4);
        number(k->last_loss, 8, 4);
        number(k->drift, 8, 4);
        printf("\n");
    }
}

/* Said where it is not o_proj alone. */
static void print_projections(const struct learned *l)
{
    if (l->on.chosen == PROJECTIONS_DEFAULT) return;
    printf("Increments on");
    for (int i = 0; i < l->on.n; i++)
        printf("%s %s (%lld -> %lld)", i ? "," : "", projection_name(l->on.at[i].is), (long long)l->on.at[i].in,
               (long long)l->on.at[i].out);
    printf("\n");
}

static void print_pool(const struct learned *l)
{
    printf("\nPool: %d slots of rank %d for %d layers (%lld -> %lld), keys of width %d in %d group%s, %d selected, "
           "scale %g\n",
           l->N, l->R, l->L, (long long)l->H, (long long)l->D, l->K, l->groups, l->groups == 1 ? "" : "s", l->top_m,
           l->scale);
    print_projections(l);
    printf("%4s %-20s %8s %8s %9s %10s %s\n", "slot", "task", "key", "use", "selected", "|BA|", "largest in layer");
    for (int n = 0; n < l->N; n++) {
        const struct learned_slot *s = &l->slot[n];
        int at = 0;
        for (int i = 1; i < l->L; i++)
            if (s->norm[i] > s->norm[at]) at = i;
        printf("%4d %-20.20s", n, l->task[s->task].name);
        number(s->key, 8, 4);
        number(s->use, 8, 4);
        whole(s->selected, 9);
        printf(" %10.4g", whole_norm(l, s));
        if (l->L) printf(" %.4g in %d", s->norm[at], at);
        printf("\n");
    }
}

static void print_prompts(const struct learned *l)
{
    printf(
        "\nPrompts: %d of %d rows (width %lld), keys of width %d, %d selected; selected: in steps of finished tasks\n"
        "%6s %8s %9s\n",
        l->N, l->rows, (long long)l->D, l->K, l->top_m, "prompt", "key", "selected");
    for (int n = 0; n < l->N; n++) {
        printf("%6d", n);
        number(l->slot[n].key, 8, 4);
        whole(l->slot[n].selected, 9);
        printf("\n");
    }
}

static void print_layers(const struct learned *l)
{
    printf("\nNorm of B A per layer (rows: slots)\n%4s", "");
    for (int i = 0; i < l->L; i++) printf(" %8d", i);
    for (int n = 0; n < l->N; n++) {
        printf("\n%4d", n);
        for (int i = 0; i < l->L; i++) printf(" %8.3g", l->slot[n].norm[i]);
    }
    printf("\n");
}

static void print_context(const struct learned *l)
{
    printf("\nContext weights w (row: task, column: earlier task)\n%25s", "");
    for (int t = 0; t < l->T - 1; t++) printf(" %8.8s", l->task[t].name);
    for (int t = 1; t < l->T; t++) {
        printf("\n%4d %-20.20s", t, l->task[t].name);
        for (int i = 0; i < t; i++) number(l->w[t * l->T + i], 8, 4);
    }
    printf("\n");
}

static int print_tables(const struct learned *l, bool layers)
{
    struct text table = {0};
    int rc = CL_OK;

    print_root(l);
    if (l->T) print_tasks(l);
    if (l->rows) print_prompts(l);
    if (l->slot && !l->rows) print_pool(l);
    if (l->slot && !l->rows && layers) print_layers(l);
    if (l->w && l->T > 1) print_context(l);
    if (l->accuracy.a) {
        accuracy_table(&table, &l->accuracy, "\nAccuracy");
        if (table.failed) FAIL(CL_ENOMEM, "no memory for a table");
        fputs(table.s, stdout);
    }
done:
    text_free(&table);
    return rc;
}

int command_inspect(const struct command_args *a)
{
    struct learned l = {0};
    int rc;

    TRY(learned_open(&l, args_positional(a, 0)));
    TRY(ckpt_verify(l.c)); // all of it: a file that is shown is whole
    TRY(learned_norms(&l));
    rc = args_flag(a, "json") ? print_json(&l) : print_tables(&l, args_flag(a, "layers"));
done:
    learned_close(&l);
    return rc;
}
