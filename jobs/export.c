/* export.c - `cllava export CHECKPOINT`: one slot, or a task's mixture, as a LoRA directory of PEFT.
 *
 * PEFT adds scale * lora_B (lora_A x) with scale = lora_alpha / r. Slots lie side by side in the rank: lora_A is the A of all
 * slots on top of each other, lora_B their B beside each other, each times its coefficient and the pool's scale; lora_alpha
 * is r. A LoRA cannot route, so a task's export is the mean increment over its own training samples (learned_mixture).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"
#include "io/safetensors.h"
#include "io/text.h"
#include "io/whole.h"
#include "jobs/commands.h"
#include "jobs/learned.h"
#include "model/tensor.h"

#include <jansson.h>

enum { NAME_ROOM = 128 };

struct lora_export {
    int parts;           // slots that take part
    int *slot;           // (parts)
    double *coefficient; // (parts) scale included
    int64_t rank;        // parts * R
    float *A;            // (L, maps: rank, inputs)
    float *B;            // (L, D, rank)
    char (*name)[NAME_ROOM];
    struct st_array *array; // (2 L maps)
};

static void export_free(struct lora_export *e)
{
    free(e->slot);
    free(e->coefficient);
    mem_free(e->A);
    mem_free(e->B);
    free(e->name);
    free(e->array);
}

/* Which slots, with what coefficient. slot < 0: the mixture of task. */
static int choose(struct lora_export *e, const struct learned *l, int task, int slot)
{
    double *c = calloc((size_t)l->N + 1, sizeof *c);
    int rc;

    e->slot = calloc((size_t)l->N + 1, sizeof *e->slot);
    e->coefficient = calloc((size_t)l->N + 1, sizeof *e->coefficient);
    if (!c || !e->slot || !e->coefficient) FAIL(CL_ENOMEM, "no memory for %d slots", l->N);
    if (slot < 0 && l->method && !strcmp(l->method, "moe_lora"))
        FAIL(CL_EMISMATCH,
             "%s: moe_lora mixes its experts anew for each question: no task has one mixture; hint: --slot N",
             ckpt_path(l->c));
    if (slot >= 0)
        c[slot] = 1;
    else
        learned_mixture(l, task, c);
    for (int n = 0; n < l->N; n++)
        if (c[n] != 0) {
            e->slot[e->parts] = n;
            e->coefficient[e->parts++] = c[n] * l->scale;
        }
    if (!e->parts)
        FAIL(CL_EMISMATCH,
             "%s: no slot of task %s is in use; hint: its training has not begun, or stage 1 is not finished",
             ckpt_path(l->c), l->task[task].name);
    e->rank = (int64_t)e->parts * l->R;
    rc = CL_OK;
done:
    free(c);
    return rc;
}

/* A map's A (rank, inputs) of a layer. */
static float *lora_A(const struct lora_export *e, const struct learned *l, int64_t layer,
                     const struct projection_place *map)
{
    return e->A + (layer * l->H + map->in0) * e->rank;
}

/* Slot p of the export into its rows of A and columns of B, in every layer. */
static void place(struct lora_export *e, const struct learned *l, int p, const float *A, const float *B)
{
    const int64_t R = l->R, H = l->H, D = l->D;

    for (int64_t i = 0; i < l->L; i++) {
        for (int k = 0; k < l->on.n; k++) {
            const struct projection_place *t = &l->on.at[k];
            for (int64_t r = 0; r < R; r++)
                memcpy(lora_A(e, l, i, t) + (p * R + r) * t->in, A + (i * R + r) * H + t->in0,
                       (size_t)t->in * sizeof *A);
        }
        for (int64_t d = 0; d < D; d++)
            for (int64_t r = 0; r < R; r++)
                e->B[(i * D + d) * e->rank + p * R + r] = (float)(e->coefficient[p] * B[(i * D + d) * R + r]);
    }
}

static int gather(struct lora_export *e, const struct learned *l)
{
    float *A = mem_new((size_t)l->L, (size_t)(l->R * l->H) * sizeof *A);
    float *B = mem_new((size_t)l->L, (size_t)(l->R * l->D) * sizeof *B);
    int rc;

    e->A = mem_new((size_t)l->L, (size_t)(e->rank * l->H) * sizeof *e->A);
    e->B = mem_new((size_t)l->L, (size_t)(e->rank * l->D) * sizeof *e->B);
    if (!A || !B || !e->A || !e->B) FAIL(CL_ENOMEM, "no memory for a LoRA of rank %lld", (long long)e->rank);
    for (int p = 0; p < e->parts; p++) {
        TRY(learned_read_slot(l, e->slot[p], A, B));
        place(e, l, p, A, B);
    }
    rc = CL_OK;
done:
    mem_free(A);
    mem_free(B);
    return rc;
}

/* Both matrices of a map of a layer, as arrays n and n + 1. Names as PEFT saves those of LlavaForConditionalGeneration. */
static void list_map(struct lora_export *e, const struct learned *l, int layer, const struct projection_place *t,
                     size_t n)
{
    for (int b = 0; b < 2; b++) {
        struct st_array *a = &e->array[n + (size_t)b];
        snprintf(e->name[n + (size_t)b], NAME_ROOM, "base_model.model.model.language_model.layers.%d.%s.lora_%c.weight",
                 layer, projection_module(t->is), b ? 'B' : 'A');
        *a = (struct st_array){.name = e->name[n + (size_t)b], .type = DT_F32, .dims = 2};
        a->shape[0] = b ? t->out : e->rank;
        a->shape[1] = b ? e->rank : t->in;
        a->data = b ? e->B + (layer * l->D + t->out0) * e->rank : lora_A(e, l, layer, t);
    }
}

static int list_arrays(struct lora_export *e, const struct learned *l, size_t *n)
{
    const size_t all = (size_t)l->L * (size_t)l->on.n * 2;

    *n = 0;
    e->name = calloc(all + 1, sizeof *e->name);
    e->array = calloc(all + 1, sizeof *e->array);
    if (!e->name || !e->array) return err_set(CL_ENOMEM, "no memory for the names of %d layers", l->L);
    for (int i = 0; i < l->L; i++)
        for (int k = 0; k < l->on.n; k++, *n += 2) list_map(e, l, i, &l->on.at[k], *n);
    return CL_OK;
}

/* A list of names matches modules of the vision tower too, whose attention calls three of them the same; a text is a pattern
 * for the whole name. */
static void add_targets(struct text *t, const struct projections *on)
{
    if (on->chosen == PROJECTIONS_DEFAULT) { // the tower has none
        text_add(t, "[\"o_proj\"]");
        return;
    }
    text_add(t, "\".*language_model\\\\.layers\\\\.[0-9]+\\\\.(self_attn|mlp)\\\\.(");
    for (int i = 0; i < on->n; i++) text_add(t, "%s%s", i ? "|" : "", projection_name(on->at[i].is));
    text_add(t, ")\"");
}

/* The base as the configuration in the checkpoint names it; NULL where it does not say. */
static char *base_of(const struct learned *l)
{
    json_t *o = l->config ? json_loads(l->config, 0, NULL) : NULL;
    const char *base = json_string_value(json_object_get(o, "base"));
    char *copy = base ? strdup(base) : NULL;

    json_decref(o);
    return copy;
}

static int write_config(const char *dir, const struct lora_export *e, const struct projections *on, const char *base)
{
    struct text t = {0};
    int rc;

    text_add(&t, "{\n  \"alpha_pattern\": {},\n  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    if (base)
        text_json(&t, base);
    else
        text_add(&t, "null");
    text_add(
        &t,
        ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n"
        "  \"init_lora_weights\": true,\n  \"layers_pattern\": null,\n  \"layers_to_transform\": null,\n"
        "  \"lora_alpha\": %lld,\n  \"lora_dropout\": 0.0,\n  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n"
        "  \"r\": %lld,\n  \"rank_pattern\": {},\n  \"revision\": null,\n  \"target_modules\": ",
        (long long)e->rank, (long long)e->rank);
    add_targets(&t, on);
    text_add(&t, ",\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": false\n}\n");
    rc = t.failed ? err_set(CL_ENOMEM, "no memory for adapter_config.json")
                  : whole_write(dir, "adapter_config.json", t.s, t.len);
    text_free(&t);
    return rc;
}

static int write_directory(const char *dir, struct lora_export *e, const struct learned *l)
{
    char *base = base_of(l), *path = NULL;
    size_t n;
    int rc;

    if (mkdir(dir, 0777) && errno != EEXIST)
        FAIL(CL_EIO, "cannot make the folder %s: %s; hint: check the path", dir, strerror(errno));
    if (asprintf(&path, "%s/adapter_model.safetensors", dir) < 0) {
        path = NULL;
        FAIL(CL_ENOMEM, "no memory for a path");
    }
    TRY(list_arrays(e, l, &n));
    TRY(safetensors_write(path, e->array, n));
    TRY(write_config(dir, e, &l->on, base)); // last: without it the directory is no adapter
done:
    free(base);
    free(path);
    return rc;
}

/* Checks what was asked for: exactly one of task and slot, both of the file. */
static int what_to_export(const struct command_args *a, const struct learned *l, int *task, int *slot)
{
    const char *name = args_value(a, "task", NULL);
    int rc = CL_OK;

    *task = *slot = -1;
    if (!name == (args_int(a, "slot", -1) < 0))
        FAIL(CL_EUSAGE, "export wants one of --task and --slot; hint: `cllava inspect` lists both");
    if (l->rows)
        FAIL(CL_EMISMATCH, "%s: method %s learned prompts, for which a LoRA directory has no place", ckpt_path(l->c),
             l->method);
    if (!l->slot || !l->N) FAIL(CL_EMISMATCH, "%s has no pool: nothing to export", ckpt_path(l->c));
    if (name && (*task = learned_find_task(l, name)) < 0) return CL_EUSAGE;
    if (name) return CL_OK;
    if (args_int(a, "slot", -1) >= l->N)
        FAIL(CL_EUSAGE, "no slot %lld in %s (expected 0 to %d)", (long long)args_int(a, "slot", -1), ckpt_path(l->c),
             l->N - 1);
    *slot = (int)args_int(a, "slot", -1);
    *task = l->slot[*slot].task;
done:
    return rc;
}

static int export_to(const char *dir, const struct learned *l, int task, int slot)
{
    struct lora_export e = {0};
    char modules[PROJECTIONS_TEXT];
    int rc;

    TRY(choose(&e, l, task, slot));
    TRY(gather(&e, l));
    TRY(write_directory(dir, &e, l));
    projections_modules(modules, sizeof modules, l->on.chosen);
    printf("%s: LoRA of rank %lld on %s of %d layers, slot (coefficient):", dir, (long long)e.rank, modules, l->L);
    for (int p = 0; p < e.parts; p++) printf(" %d (%.4g)", e.slot[p], e.coefficient[p]);
    printf("\n");
done:
    export_free(&e);
    return rc;
}

int command_export(const struct command_args *a)
{
    const char *dir = args_value(a, "output", NULL);
    struct learned l = {0};
    char *own = NULL;
    int rc, task, slot;

    TRY(learned_open(&l, args_positional(a, 0)));
    if (ckpt_has(l.c, "/taskres"))
        FAIL(CL_EMISMATCH, "%s adds a vector to the logits of each task's answers (taskres), which no LoRA holds",
             ckpt_path(l.c));
    TRY(what_to_export(a, &l, &task, &slot));
    if (!dir) {
        if ((slot >= 0 ? asprintf(&own, "peft-slot%d", slot)
                       : asprintf(&own, "peft-task%d-%s", task, l.task[task].name)) < 0) {
            own = NULL;
            FAIL(CL_ENOMEM, "no memory for a path");
        }
        for (char *p = own; *p; p++)
            if (*p == '/') *p = '_';
        dir = own;
    }
    rc = export_to(dir, &l, task, slot);
done:
    free(own);
    learned_close(&l);
    return rc;
}
