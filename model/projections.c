/* projections.c - see projections.h. */
#include "model/projections.h"

#include "io/err.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *module;
    bool splits_outputs;
} list[PROJECTIONS] = {
#define ROW(field, name, module, out, in, splits) {name, module, splits},
    PROJECTION_LIST(ROW)
#undef ROW
};

static const char nothing[] = "an empty name";

const char *projection_name(enum projection p)
{
    return list[p].name;
}

const char *projection_module(enum projection p)
{
    return list[p].module;
}

bool projection_splits_outputs(enum projection p)
{
    return list[p].splits_outputs;
}

/* The projection of that name (or module), -1: none. */
static int find(const char *name, size_t n, bool module)
{
    for (int p = 0; p < PROJECTIONS; p++) {
        const char *own = module ? list[p].module : list[p].name;
        if (strlen(own) == n && !memcmp(own, name, n)) return p;
    }
    return -1;
}

/* The next name of a list with commas between, which moves on behind it; n: how long it is. NULL: there is none. */
static const char *next_name(const char **at, size_t *n)
{
    const char *name = *at;
    size_t all;

    if (!name) return NULL;
    name += strspn(name, " ");
    *n = all = strcspn(name, ",");
    while (*n && name[*n - 1] == ' ') --*n;
    *at = name[all] ? name + all + 1 : NULL;
    return name;
}

static int add(unsigned *chosen, const char *name, size_t n)
{
    char known[PROJECTIONS_TEXT];
    const int p = find(name, n, false);

    projections_text(known, sizeof known, PROJECTIONS_ALL);
    if (p < 0)
        return err_set(CL_ECONFIG, "%.*s is no linear map of a decoder layer (expected some of %s, or all)",
                       (int)(n ? n : strlen(nothing)), n ? name : nothing, known);
    if (*chosen & PROJECTION_BIT(p)) return err_set(CL_ECONFIG, "%s is given twice", list[p].name);
    *chosen |= PROJECTION_BIT(p);
    return CL_OK;
}

int projections_read(unsigned *chosen, const char *text)
{
    int rc = CL_OK;
    const char *name;
    size_t n;

    *chosen = PROJECTIONS_ALL;
    if (!strcmp(text, "all")) return CL_OK;
    for (*chosen = 0; (name = next_name(&text, &n));) TRY(add(chosen, name, n));
done:
    return rc;
}

static void join(char *text, size_t room, unsigned chosen, bool modules)
{
    size_t at = 0;

    *text = 0;
    for (int p = 0; p < PROJECTIONS; p++) {
        if (!(chosen & PROJECTION_BIT(p)) || at >= room) continue;
        at += (size_t)snprintf(text + at, room - at, "%s%s", at ? ", " : "", modules ? list[p].module : list[p].name);
    }
}

void projections_text(char *text, size_t room, unsigned chosen)
{
    join(text, room, chosen, false);
}

void projections_modules(char *text, size_t room, unsigned chosen)
{
    join(text, room, chosen, true);
}

static void append(struct projections *p, enum projection is, int64_t in, int64_t out)
{
    p->chosen |= PROJECTION_BIT(is);
    p->at[p->n++] = (struct projection_place){is, p->H, in, p->D, out};
    p->H += in, p->D += out;
}

void projections_of(struct projections *p, unsigned chosen, const struct text_config *c)
{
    enum { WIDTH, HEADS, KV_HEADS, FFN };
    static const struct {
        int out, in;
    } of[PROJECTIONS] = {
#define ROW(field, name, module, out, in, splits) {out, in},
        PROJECTION_LIST(ROW)
#undef ROW
    };
    const int64_t width[] = {c->hidden, (int64_t)c->heads * c->head_dim, (int64_t)c->kv_heads * c->head_dim, c->ffn};

    *p = (struct projections){0};
    for (int i = 0; i < PROJECTIONS; i++)
        if (chosen & PROJECTION_BIT(i)) append(p, (enum projection)i, width[of[i].in], width[of[i].out]);
}

int projections_restore(struct projections *p, const char *modules, const int64_t *widths, int64_t H, int64_t D)
{
    const int64_t alone[] = {H, D};
    const char *name;
    size_t n;

    *p = (struct projections){0};
    for (const int64_t *w = widths ? widths : alone; (name = next_name(&modules, &n)); w += 2) {
        const int is = find(name, n, true);
        if (is < 0 || p->chosen >> is)
            return err_set(CL_EFORMAT, "%.*s is no linear map of a decoder layer, or out of order", (int)n, name);
        if (p->n && !widths) return err_set(CL_EFORMAT, "several maps without their widths");
        if (w[0] < 1 || w[1] < 1 || w[0] > H || w[1] > D)
            return err_set(CL_EFORMAT,
                           "%.*s has %lld inputs and %lld outputs (expected at least one, at most %lld and "
                           "%lld)",
                           (int)n, name, (long long)w[0], (long long)w[1], (long long)H, (long long)D);
        append(p, (enum projection)is, w[0], w[1]);
    }
    if (p->H == H && p->D == D) return CL_OK;
    return err_set(CL_EFORMAT, "maps of %lld inputs and %lld outputs together (expected %lld and %lld)",
                   (long long)p->H, (long long)p->D, (long long)H, (long long)D);
}

struct projections projections_single(int64_t H, int64_t D)
{
    struct projections p = {0};

    append(&p, PROJ_o, H, D);
    return p;
}

int64_t projections_widest(const struct projections *p)
{
    int64_t split = 0, whole = 0;

    for (int i = 0; i < p->n; i++) {
        const struct projection_place *t = &p->at[i];
        split += list[t->is].splits_outputs ? t->out : t->in;
        whole += list[t->is].splits_outputs ? t->in : t->out;
    }
    return split > whole ? split : whole;
}
