/* features.c - a hash table by path with a list in order of use. */
#include "jobs/features.h"

#include "io/err.h"
#include "io/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOGETHER = 4, BUCKETS = 1 << 14 }; // pictures decoded and run at once

struct entry {
    struct entry *next_in_bucket, *newer, *older;
    char *path;
    struct feature *feature; // NULL until computed
    uint64_t used;           // call that last asked for it
};

struct features {
    struct lvlm *m;
    const struct image_spec *spec;
    size_t budget, held; // bytes
    uint64_t call;
    struct entry **bucket, *newest, *oldest;
    float *pixels;          // (TOGETHER, 3, size, size)
    struct feature *single; // of features_of_image
    struct features_stats stats;
};

static size_t picture_floats(const struct features *f)
{
    return 3 * (size_t)f->spec->size * (size_t)f->spec->size;
}

int features_new(struct features **out, struct lvlm *m, const struct image_spec *spec, size_t budget)
{
    int rc;
    struct features *f = mem_new(1, sizeof *f);

    if (!f) return err_set(CL_ENOMEM, "no memory for picture features");
    *f = (struct features){.m = m, .spec = spec, .budget = budget};
    if (!(f->bucket = mem_new(BUCKETS, sizeof *f->bucket)) ||
        !(f->pixels = mem_new(TOGETHER * picture_floats(f), sizeof *f->pixels)))
        FAIL(CL_ENOMEM, "no memory for picture features");
    *out = f;
    return CL_OK;
done:
    features_free(f);
    return rc;
}

static uint64_t bucket_of(const char *path)
{
    return hash_bytes(HASH_BEGIN, path, strlen(path)) % BUCKETS;
}

static void unlink_use(struct features *f, struct entry *e)
{
    *(e->newer ? &e->newer->older : &f->newest) = e->older;
    *(e->older ? &e->older->newer : &f->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(struct features *f, struct entry *e)
{
    e->older = f->newest;
    if (f->newest) f->newest->newer = e;
    f->newest = e;
    if (!f->oldest) f->oldest = e;
}

static void drop(struct features *f, struct entry *e)
{
    struct entry **at = &f->bucket[bucket_of(e->path)];

    while (*at != e) at = &(*at)->next_in_bucket;
    *at = e->next_in_bucket;
    unlink_use(f, e);
    if (e->feature) lvlm_feature_free(f->m, e->feature), f->held -= lvlm_feature_bytes(f->m);
    free(e->path);
    mem_free(e);
}

void features_free(struct features *f)
{
    if (!f) return;
    while (f->oldest) drop(f, f->oldest);
    mem_free(f->bucket);
    mem_free(f->pixels);
    lvlm_feature_free(f->m, f->single);
    mem_free(f);
}

/* The entry of a path, made when absent, now the newest. */
static struct entry *entry_of(struct features *f, const char *path)
{
    uint64_t b = bucket_of(path);
    struct entry *e = f->bucket[b];

    while (e && strcmp(e->path, path)) e = e->next_in_bucket;
    if (e)
        unlink_use(f, e);
    else {
        if (!(e = mem_new(1, sizeof *e)) || !(e->path = strdup(path))) return mem_free(e), NULL;
        e->next_in_bucket = f->bucket[b];
        f->bucket[b] = e;
    }
    link_newest(f, e);
    e->used = f->call;
    return e;
}

static int load_pixels(struct features *f, const char *path, float *pixels)
{
    int rc;
    struct image im = {0};

    TRY(image_load(&im, path, f->spec->exif));
    TRY(image_prepare(pixels, &im, f->spec));
done:
    image_free(&im);
    return rc;
}

/* Computes up to TOGETHER entries: pictures decoded side by side, then one run of the tower. */
static int compute(struct features *f, struct entry *const *e, int n)
{
    int rc, failed[TOGETHER] = {0};
    char text[TOGETHER][1024];
    struct feature *made[TOGETHER];

#pragma omp parallel for schedule(dynamic, 1) if (n > 1)
    for (int i = 0; i < n; i++) // error texts are per thread: carried over by hand
        if ((failed[i] = load_pixels(f, e[i]->path, f->pixels + (size_t)i * picture_floats(f))))
            snprintf(text[i], sizeof text[i], "%s", err_text());
    for (int i = 0; i < n; i++)
        if (failed[i]) FAIL(failed[i], "%s", text[i]);
    TRY(lvlm_see(f->m, made, f->pixels, n));
    for (int i = 0; i < n; i++) e[i]->feature = made[i];
    f->held += (size_t)n * lvlm_feature_bytes(f->m);
    f->stats.computed += n;
done:
    return rc;
}

int features_get(struct features *f, const char *const *path, int n, const struct feature **out)
{
    int rc = CL_OK, todo = 0;
    struct entry *e, *missing[TOGETHER];

    f->call++;
    f->stats.asked += n;
    for (int i = 0; i < n && !rc; i++) {
        if (!(e = entry_of(f, path[i]))) FAIL(CL_ENOMEM, "no memory for picture features");
        bool queued = false;
        for (int k = 0; k < todo; k++) queued |= missing[k] == e;
        if (!e->feature && !queued) missing[todo++] = e;
        if (todo == TOGETHER) rc = compute(f, missing, todo), todo = 0;
    }
    if (!rc && todo) rc = compute(f, missing, todo);
    for (int i = 0; i < n && !rc; i++) out[i] = entry_of(f, path[i])->feature;
    while (!rc && f->held > f->budget && f->oldest && f->oldest->used != f->call) drop(f, f->oldest);
done:
    for (e = f->newest; rc && e;) { // what failed must not stay as if it had been computed
        struct entry *older = e->older;
        if (!e->feature) drop(f, e);
        e = older;
    }
    return rc;
}

int features_of_image(struct features *f, const struct image *im, const struct feature **out)
{
    int rc;

    TRY(image_prepare(f->pixels, im, f->spec));
    lvlm_feature_free(f->m, f->single);
    f->single = NULL;
    TRY(lvlm_see(f->m, &f->single, f->pixels, 1));
    *out = f->single;
done:
    return rc;
}

struct features_stats features_get_stats(const struct features *f)
{
    return f->stats;
}
