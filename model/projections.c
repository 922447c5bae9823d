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

/* The projection of that name, -1: none. */
static int find(const char *name, size_t n)
{
    for (int p = 0; p < PROJECTIONS; p++)
        if (strlen(list[p].name) == n && !memcmp(list[p].name, name, n)) return p;
    return -1;
}

static int add(unsigned *chosen, const char *name, size_t n)
{
    char known[128];
    const int p = find(name, n);

    projections_text(known, sizeof known, PROJECTIONS_ALL);
    if (p < 0)
        return err_set(CL_ECONFIG, "%.*s is no linear map of a decoder layer (expected some of %s, or all)", (int)n,
                       n ? name : "an empty name", known);
    if (*chosen & PROJECTION_BIT(p)) return err_set(CL_ECONFIG, "%s is given twice", list[p].name);
    *chosen |= PROJECTION_BIT(p);
    return CL_OK;
}

int projections_read(unsigned *chosen, const char *text)
{
    int rc;

    *chosen = PROJECTIONS_ALL;
    if (!strcmp(text, "all")) return CL_OK;
    *chosen = 0;
    do {
        text += strspn(text, " ");
        size_t all = strcspn(text, ","), n = all;
        while (n && text[n - 1] == ' ') n--;
        TRY(add(chosen, text, n));
        text += all;
    } while (*text++ == ',');
    rc = CL_OK;
done:
    return rc;
}

void projections_text(char *text, size_t room, unsigned chosen)
{
    size_t at = 0;

    *text = 0;
    for (int p = 0; p < PROJECTIONS; p++) {
        if (!(chosen & PROJECTION_BIT(p)) || at >= room) continue;
        at += (size_t)snprintf(text + at, room - at, "%s%s", at ? ", " : "", list[p].name);
    }
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
