/* masked.c - prompts end to end, each with one id where its picture stands; written out whole when a sample is made. */
#include "jobs/masked.h"

#include "io/err.h"
#include "jobs/key_parts.h"

#include <stdlib.h>
#include <string.h>

struct masked_questions {
    int64_t *at;     // (records + 1) where each one's prompt begins in ids; an empty one: its question has no key parts
    struct ids ids;  // of all prompts
    int32_t picture; // the id of a picture's positions,
    int patches;     // and how many these are
    int64_t longest; // tokens of a record with its masked question
    int32_t *room;   // (longest prompt) one of them with all positions of its picture
};

static int add_ids(struct masked_questions *m, const struct sample *s)
{
    int rc = CL_OK;

    for (int64_t k = 0; k < s->prompt_n; k++) {
        const bool again = s->picture >= 0 && k > s->picture && k < s->picture + m->patches;
        if (!again) TRY(ids_push(&m->ids, s->id[k]));
    }
done:
    return rc;
}

static bool alike(const struct sample *a, const struct sample *b)
{
    return a->prompt_n == b->prompt_n && !memcmp(a->id, b->id, (size_t)a->prompt_n * sizeof *a->id);
}

/* Record i; *longest: tokens of its prompt so far the most. */
static int add_record(struct masked_questions *m, struct key_words *common, struct task_data *d, struct job *j,
                      int64_t i, int64_t *longest)
{
    int rc, words;
    struct record r = {0};
    struct sample whole = {0}, masked = {0};
    struct sampler how = j->sampler;
    char *text = NULL;

    how.max_length = 0; // it may have a few tokens more than the question had
    TRY(dataset_get(d->ds, i, &r));
    TRY(key_parts_mask(&text, &words, common, r.turn[0].text, r.key_parts, r.n_key_parts));
    if (!words) goto done;
    TRY(sample_make_prompt(&whole, &how, &r));
    free(r.turn[0].text);
    r.turn[0].text = text, text = NULL;
    TRY(sample_make_prompt(&masked, &how, &r));
    if (alike(&whole, &masked)) goto done;
    TRY(add_ids(m, &masked));
    if (masked.prompt_n > *longest) *longest = masked.prompt_n;
    const int64_t n = d->length[i] - whole.prompt_n + masked.prompt_n;
    if (n > m->longest) m->longest = n;
done:
    m->at[i + 1] = (int64_t)m->ids.n;
    free(text);
    sample_free(&whole), sample_free(&masked);
    record_free(&r);
    return rc;
}

static int add_records(struct masked_questions *m, struct task_data *d, struct job *j)
{
    int rc;
    int64_t longest = 0;
    struct key_words common = {0};
    char **question = mem_new((size_t)d->n, sizeof *question);

    if (!question) FAIL(CL_ENOMEM, "no memory for %lld questions", (long long)d->n);
    for (int64_t i = 0; i < d->n; i++) TRY(task_data_question(d, i, &question[i]));
    TRY(key_words_new(&common, (const char *const *)question, d->n));
    for (int64_t i = 0; i < d->n; i++) TRY(add_record(m, &common, d, j, i, &longest));
    if (longest && !(m->room = mem_new((size_t)longest, sizeof *m->room)))
        FAIL(CL_ENOMEM, "no memory for a question of %lld tokens", (long long)longest);
done:
    for (int64_t i = 0; question && i < d->n; i++) free(question[i]);
    mem_free(question);
    key_words_free(&common);
    return rc;
}

int masked_open(struct masked_questions **out, struct task_data *d, struct job *j)
{
    int rc;
    struct masked_questions *m;

    if (*out) return CL_OK;
    if (!(m = mem_new(1, sizeof *m))) FAIL(CL_ENOMEM, "no memory for masked questions");
    m->patches = j->sampler.patches, m->picture = j->sampler.image_token;
    if (!(m->at = mem_new((size_t)d->n + 1, sizeof *m->at)))
        FAIL(CL_ENOMEM, "no memory for %lld masked questions", (long long)d->n);
    TRY(add_records(m, d, j));
    *out = m, m = NULL;
done:
    masked_close(m);
    return rc ? err_prefix(rc, "masked questions of %s", d->conf->name) : CL_OK;
}

void masked_close(struct masked_questions *m)
{
    if (!m) return;
    ids_free(&m->ids);
    mem_free(m->at), mem_free(m->room);
    mem_free(m);
}

int64_t masked_longest(const struct masked_questions *m)
{
    return m->longest;
}

/* The stored prompt of record i with all positions of its picture. */
static struct sample written_out(struct masked_questions *m, int64_t i)
{
    struct sample s = {.id = m->room, .picture = -1};

    for (int64_t k = m->at[i]; k < m->at[i + 1]; k++) {
        const int32_t id = m->ids.id[k];
        const bool picture = id == m->picture;
        if (picture) s.picture = s.prompt_n;
        for (int n = picture ? m->patches : 1; n > 0; n--) s.id[s.prompt_n++] = id;
    }
    return s;
}

/* The prompt that sample s has already. */
static struct sample own_prompt(const struct packed_batch *b, int s)
{
    struct sample p = {.id = b->id + b->cu[s], .picture = -1};

    p.prompt_n = b->row[b->cu_row[s]] + 1 - b->cu[s];
    for (int i = 0; i < b->pictures; i++)
        if (b->picture_sample[i] == s) p.picture = b->picture_at[i] - b->cu[s];
    return p;
}

int masked_add(struct masked_questions *m, int64_t i, struct packed_batch *out, const struct packed_batch *from, int s,
               bool *other)
{
    *other = m->at[i] < m->at[i + 1];
    const struct sample prompt = *other ? written_out(m, i) : own_prompt(from, s);
    return batch_add_prompted(out, from, s, &prompt);
}
