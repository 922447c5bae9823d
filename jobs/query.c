/* query.c - texts through the sentence encoder, pictures through the tower, side by side. */
#include "jobs/query.h"

#include "io/err.h"
#include "jobs/distinct.h"
#include "model/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool query_has_text(const struct config *cfg)
{
    return strcmp(cfg->pool.query, "picture") != 0;
}

bool query_has_picture(const struct config *cfg)
{
    return strcmp(cfg->pool.query, "question") != 0;
}

static int text_width(const struct job *j)
{
    return query_has_text(&j->cfg) ? text_encoder_width(j->encoder) : 0;
}

static int picture_width(const struct job *j)
{
    return query_has_picture(&j->cfg) ? j->base.vision.hidden : 0;
}

int query_width(const struct job *j)
{
    return text_width(j) + picture_width(j);
}

int query_check(const struct config *cfg, const struct lvlm_config *base)
{
    if (!query_has_picture(cfg) || base->has_vision) return CL_OK;
    return config_error(cfg, "pool.query", "%s, but the base %s has no vision tower; hint: question", cfg->pool.query,
                        cfg->base);
}

/* to (k) := from (k) at unit length; zeros stay zeros. */
static void unit(float *to, const float *from, int k)
{
    double sum = 0;

    for (int i = 0; i < k; i++) sum += (double)from[i] * from[i];
    for (int i = 0; i < k; i++) to[i] = sum > 0 ? (float)(from[i] / sqrt(sum)) : 0;
}

/* A query from its parts; one that is not asked for has width 0. */
static void join(const struct job *j, float *out, const float *text, const float *picture)
{
    const int kt = text_width(j), kp = picture_width(j);

    if (!kp)
        memcpy(out, text, (size_t)kt * sizeof *out);
    else if (!kt)
        memcpy(out, picture, (size_t)kp * sizeof *out);
    else
        unit(out, text, kt), unit(out + kt, picture, kp);
}

/* The distinct ones among n texts, and each one's number (-1: NULL). */
struct numbered_texts {
    struct distinct of;
    int32_t *number; // (n)
};

static int number_texts(struct numbered_texts *t, const char *const *text, size_t n)
{
    int rc;

    TRY(distinct_new(&t->of, (int64_t)n));
    if (!(t->number = mem_new(n, sizeof *t->number))) FAIL(CL_ENOMEM, "no memory for %zu queries", n);
    for (size_t i = 0; i < n; i++) {
        char *copy = text[i] ? strdup(text[i]) : NULL;
        if (text[i] && !copy) FAIL(CL_ENOMEM, "no memory for a text");
        t->number[i] = copy ? (int32_t)distinct_add(&t->of, copy) : -1;
    }
done:
    return rc;
}

static void forget_texts(struct numbered_texts *t)
{
    distinct_free(&t->of);
    mem_free(t->number);
}

/* Values (distinct, k) of the texts; one row of zeros more for records that have none. */
static int values_of(float **out, struct job *j, const struct numbered_texts *t, int k,
                     int (*compute)(struct crew *c, float *out, const char *const *text, size_t n))
{
    int rc = CL_OK;

    if (!(*out = mem_new((size_t)(t->of.n + 1) * (size_t)k, sizeof **out)))
        FAIL(CL_ENOMEM, "no memory for %lld queries", (long long)t->of.n);
    if (t->of.n) TRY(compute(j->crew, *out, (const char *const *)t->of.text, (size_t)t->of.n));
done:
    return rc;
}

int query_embed(struct job *j, float *out, const char *const *question, const char *const *picture, size_t n)
{
    int rc;
    const int kt = text_width(j), kp = picture_width(j);
    struct numbered_texts texts = {0}, pictures = {0};
    float *text = NULL, *seen = NULL;

    if (!kp) return crew_embed(j->crew, out, question, n);
    if (kt) TRY(number_texts(&texts, question, n));
    if (kt) TRY(values_of(&text, j, &texts, kt, crew_embed));
    TRY(number_texts(&pictures, picture, n));
    TRY(values_of(&seen, j, &pictures, kp, crew_see));
    for (size_t i = 0; i < n; i++) {
        const int64_t row = pictures.number[i] < 0 ? pictures.of.n : pictures.number[i];
        join(j, out + i * (size_t)(kt + kp), kt ? text + (int64_t)texts.number[i] * kt : NULL, seen + row * kp);
    }
done:
    forget_texts(&texts), forget_texts(&pictures);
    mem_free(text), mem_free(seen);
    return rc;
}

int query_embed_one(struct job *j, float *out, const char *question, const char *picture)
{
    int rc = CL_OK;
    const int kt = text_width(j), kp = picture_width(j);
    float *part = mem_new((size_t)(kt + kp), sizeof *part);

    if (!part) FAIL(CL_ENOMEM, "no memory for a query");
    if (kt) TRY(text_encoder_embed(j->encoder, part, &question, 1));
    if (kp && picture) TRY(crew_see(j->crew, part + kt, &picture, 1));
    join(j, out, part, part + kt);
done:
    mem_free(part);
    return rc;
}
