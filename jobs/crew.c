/* crew.c - the coordinator's side: telling, dealing out, gathering. Generation stands in crew_generate.c, the leaders' side in
 * crew_serve.c.
 *
 * What leaders' models hold of the adapter set is known here without asking: the bank of a model forgets everything when the
 * number of slots changes, when a pass runs without increments, and when it grows (model/adapter.c); else it holds what was
 * loaded last in each place. So only changed slots travel, and no rank but this one has a copy of the pool.
 */
#include "jobs/crew_internal.h"

#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"

/* ---- opening and closing */

void crew_begin(struct crew *c)
{
    if (!c->depth++) ranks_busy_begin();
}

int crew_end(struct crew *c, int rc)
{
    if (rc) return rc; // stays begun: others may be in the middle of it
    if (!--c->depth) ranks_busy_end();
    return CL_OK;
}

bool crew_is_broken(const struct crew *c)
{
    return c && c->depth > 0;
}

int crew_groups(const struct crew *c)
{
    return c->groups;
}

bool crew_next(const struct crew *c, int *g)
{
    if (++*g + c->first == 0) ++*g; // the coordinator's own group needs no messages
    return c->comm && *g < c->groups;
}

/* Tells every rank what job comes; they lay themselves out as this one does. */
static int tell_job(const struct config *f, unsigned parts)
{
    int rc;
    struct message m = {0};
    char *yaml = NULL;

    TRY(config_yaml(f, &yaml));
    message_put_int(&m, WORLD_JOB);
    message_put_int(&m, f->parallel.tensor), message_put_int(&m, !strcmp(f->parallel.coordinator, "dedicated"));
    message_put_int(&m, !strcmp(f->parallel.wire, "bf16") ? DT_BF16 : DT_F32);
    message_put_int(&m, f->parallel.overlap);
    message_put_double(&m, f->watchdog.seconds);
    message_put_int(&m, parts);
    message_put_text(&m, yaml);
    TRY(message_check(&m, "about a job"));
    TRY(ranks_tell(&m));
done:
    message_free(&m);
    free(yaml);
    return rc;
}

int crew_open(struct crew **out, struct job *j, unsigned parts)
{
    int rc;
    const struct config *f = &j->cfg;
    const struct ranks *r = ranks_now();
    struct crew *c = mem_new(1, sizeof *c);

    if (!c) FAIL(CL_ENOMEM, "no memory for the groups of ranks");
    *c = (struct crew){.j = j, .hand.j = j, .groups = 1};
    TRY(tell_job(f, parts));
    TRY(ranks_layout(f->parallel.tensor, !strcmp(f->parallel.coordinator, "dedicated"),
                     strcmp(f->parallel.wire, "bf16") ? DT_F32 : DT_BF16));
    ranks_set_overlap(f->parallel.overlap);
    crew_begin(c);
    watch_set_limit(f->watchdog.seconds);
    c->comm = r->crew, c->groups = r->groups, c->first = r->dedicated;
    if (!(c->weight_bytes = mem_new((size_t)c->groups, sizeof *c->weight_bytes)))
        FAIL(CL_ENOMEM, "no memory for %d groups of ranks", c->groups);
    *out = c;
    return CL_OK;
done:
    if (c) crew_close(c);
    return rc;
}

int crew_opened(struct crew *c)
{
    int rc = CL_OK;
    enum crew_word w;

    for (int g = -1; crew_next(c, &g);) {
        TRY(crew_hear_leader(c, g, &w));
        if (w != CREW_OPENED) FAIL(CL_EMPI, "rank %d did not open", g + c->first);
        c->weight_bytes[g] = (size_t)message_int(&c->in);
    }
    if (!c->first) c->weight_bytes[0] = lvlm_weight_bytes(c->j->lvlm);
done:
    return crew_end(c, rc);
}

void crew_close(struct crew *c)
{
    if (!c) return;
    if (!crew_is_broken(c)) {
        crew_begin_message(&c->out, CREW_CLOSE);
        crew_tell_all(c);
    }
    hand_free(&c->hand);
    message_free(&c->in), message_free(&c->out);
    mem_free(c->version), mem_free(c->weight_bytes);
    mem_free(c);
}

void crew_at(struct crew *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->at, sizeof c->at, fmt, ap);
    va_end(ap);
    watch_at("%s", c->at);
}

static int hosts(void)
{
    int n = 0;

    for (int r = 0; r < ranks_size(); r++) {
        bool seen = false;
        for (int q = 0; q < r; q++) seen |= !strcmp(ranks_host(q), ranks_host(r));
        n += !seen;
    }
    return n;
}

void crew_describe(const struct crew *c, char *text, size_t room)
{
    const struct ranks *r = ranks_now();
    int h = hosts(), threads = omp_get_max_threads();

    *text = 0;
    if (r->size == 1) return;
    snprintf(text, room, "%d on %d host%s, %d thread%s each; %d group%s of %d, coordinator %s", r->size, h,
             h == 1 ? "" : "s", threads, threads == 1 ? "" : "s", c->groups, c->groups == 1 ? "" : "s", r->tensor,
             r->dedicated ? "dedicated" : "shared");
}

size_t crew_weight_bytes(const struct crew *c)
{
    size_t most = 0;

    for (int g = 0; g < c->groups; g++)
        if (c->weight_bytes[g] > most) most = c->weight_bytes[g];
    return most;
}

/* ---- talking */

int crew_tell(struct crew *c, int g)
{
    return message_send(&c->out, c->comm, g + c->first);
}

int crew_tell_all(struct crew *c)
{
    int rc = CL_OK;

    for (int g = -1; crew_next(c, &g);) TRY(crew_tell(c, g));
done:
    return rc;
}

int crew_hear_leader(struct crew *c, int g, enum crew_word *w)
{
    int rc;

    TRY(crew_hear(&c->in, c->comm, g + c->first, w, NULL));
    if (*w == CREW_FAILED) TRY(crew_take_failure(&c->in, comm_world_rank(c->comm, g + c->first)));
done:
    return rc;
}

/* ---- memory and increments */

void crew_expect_room(struct crew *c, int slots, int rank)
{
    int want = slots > c->room ? slots : c->room;

    if (!slots || (want <= c->room && rank == c->room_rank)) return;
    c->room = want, c->room_rank = rank;
    c->set = (struct adapters){0};
}

int crew_reserve(struct crew *c, const struct lvlm_limits *l)
{
    int rc;

    crew_begin(c);
    crew_begin_message(&c->out, CREW_RESERVE);
    crew_put_limits(&c->out, l);
    TRY(crew_tell_all(c));
    crew_expect_room(c, l->slots - l->residuals, l->rank);
    if (!c->first) TRY(hand_reserve(&c->hand, l));
    rc = CL_OK;
done:
    return crew_end(c, rc);
}

/* Places whose version leaders do not have, as the list of a LOAD message; returns how many. */
static int put_changed(struct crew *c, const struct adapters *set)
{
    int n = 0;

    for (int i = 0; i < set->slots; i++) n += c->version[i] != set->slot[i].version;
    message_put_int(&c->out, n);
    for (int i = 0; i < set->slots; i++) {
        if (c->version[i] == set->slot[i].version) continue;
        message_put_int(&c->out, i), message_put_int(&c->out, (int64_t)set->slot[i].version);
    }
    return n;
}

static int reserve_versions(struct crew *c, int slots)
{
    if (slots <= c->versions) return CL_OK;
    mem_free(c->version), c->versions = 0;
    if (!(c->version = mem_new((size_t)slots, sizeof *c->version)))
        return err_set(CL_ENOMEM, "no memory for the versions of %d slots", slots);
    c->versions = slots;
    return CL_OK;
}

int crew_load(struct crew *c, const struct adapters *set)
{
    int rc = CL_OK, n;
    const struct projections *on = &c->j->on;
    const struct text_config *t = &c->j->base.text;
    size_t a, b, v = (size_t)t->vocab * sizeof(float);

    if (!c->comm) return CL_OK;
    if (!set || !set->slots) { // a pass without increments: the models forget them
        c->set = (struct adapters){0};
        return CL_OK;
    }
    TRY(reserve_versions(c, set->slots));
    if (set->slots != c->set.slots || set->residuals != c->set.residuals)
        memset(c->version, 0, (size_t)c->versions * sizeof *c->version);
    crew_begin_message(&c->out, CREW_LOAD);
    message_put_int(&c->out, set->slots), message_put_int(&c->out, set->learned), message_put_int(&c->out, set->rank);
    message_put_int(&c->out, set->residuals);
    n = put_changed(c, set);
    if (!n && set->learned == c->set.learned && set->rank == c->set.rank) return CL_OK;
    TRY(crew_tell_all(c));
    a = (size_t)adapter_a_size(set->rank, t->layers, on->H, t->hidden) * sizeof(float);
    b = (size_t)adapter_b_size(set->rank, t->layers, on->D) * sizeof(float);
    for (int i = 0; i < set->slots; i++) {
        const bool residual = i >= set->slots - set->residuals;
        if (c->version[i] == set->slot[i].version) continue;
        TRY(comm_broadcast(c->comm, (void *)(uintptr_t)set->slot[i].A, residual ? v : a, 0)); // the root's is only read
        if (b && !residual) TRY(comm_broadcast(c->comm, (void *)(uintptr_t)set->slot[i].B, b, 0));
        c->version[i] = set->slot[i].version;
    }
    c->set =
        (struct adapters){.slots = set->slots, .learned = set->learned, .rank = set->rank, .residuals = set->residuals};
done:
    return rc;
}

/* ---- micro-batches */

/* What every group does with its micro-batches. */
struct pass {
    const struct adapters *set; // NULL: the base alone
    float grad_scale;           // 0: forward only
    bool squares;               // of gradients; else their sums
    float *A, *B;               // where they go
    int (*meanwhile)(void *context);
    void *context;
};

/* Share of group g: micro-batches g, g + groups, .. */
static int send_share(struct crew *c, int g, const struct crew_micro *m, int n, const struct pass *p)
{
    int count = 0;

    for (int k = g; k < n; k += c->groups) count++;
    crew_begin_message(&c->out, CREW_RUN);
    message_put_text(&c->out, c->at);
    message_put_double(&c->out, (double)p->grad_scale);
    message_put_int(&c->out, p->set != NULL), message_put_int(&c->out, p->squares);
    message_put_int(&c->out, count);
    for (int k = g; k < n; k += c->groups) crew_put_micro(&c->out, &m[k], p->set ? p->set->slots : 0);
    return crew_tell(c, g);
}

static int receive_share(struct crew *c, int g, struct crew_micro *m, int n, const struct pass *p, int *odd)
{
    int rc;
    enum crew_word w;
    size_t slots = (size_t)(p->set ? p->set->slots : 0);

    TRY(crew_hear_leader(c, g, &w));
    if (w == CREW_ODD) {
        *odd = g + (int)message_int(&c->in) * c->groups;
        const char *where = message_text(&c->in);
        FAIL(CL_ENUM, "%s", where ? where : "");
    }
    if (w != CREW_RESULTS) TRY(crew_unexpected(w, "from a leader that computes"));
    for (int k = g; k < n; k += c->groups) {
        m[k].nll = message_double(&c->in), m[k].kl = message_double(&c->in);
        m[k].heard = crew_take_heard(&c->in);
        if (p->grad_scale != 0)
            message_copy(&c->in, m[k].dcoef, (size_t)m[k].pack->samples * slots * sizeof *m[k].dcoef);
    }
    TRY(message_check(&c->in, "with results"));
done:
    return rc;
}

/* Own share, or what there is to do meanwhile. Where the own loss is not finite, err_text says where it came up. */
static int own_share(struct crew *c, struct crew_micro *m, int n, const struct pass *p, int *odd)
{
    int rc;
    char where[256];

    if (c->first) return p->meanwhile ? p->meanwhile(p->context) : CL_OK;
    rc = p->squares ? hand_squares(&c->hand, m, n, 0, c->groups, p->set, p->grad_scale, p->A, p->B, odd)
                    : hand_run(&c->hand, m, n, 0, c->groups, p->set, p->grad_scale, odd);
    if (rc != CL_ENUM || *odd < 0) return rc;
    crew_find_nonfinite(c, where, sizeof where);
    return err_set(CL_ENUM, "%s", where);
}

static int run(struct crew *c, struct crew_micro *m, int n, const struct pass *p, int *odd)
{
    int rc;

    *odd = -1;
    TRY(crew_load(c, p->set));
    for (int g = -1; crew_next(c, &g);) TRY(send_share(c, g, m, n, p));
    TRY(own_share(c, m, n, p, odd));
    for (int g = -1; crew_next(c, &g);) TRY(receive_share(c, g, m, n, p, odd));
done:
    return rc;
}

/* Gradient sums of every group, added up in the order of groups. Leaders wait for the word: who is early stands in no sum. */
static int gather_gradients(struct crew *c, const struct pass *p)
{
    int rc;
    const struct adapters *set = p->set;
    const struct text_config *t = &c->j->base.text;
    const int64_t a = set->learned * adapter_a_size(set->rank, t->layers, c->j->on.H, t->hidden),
                  b = set->learned * adapter_b_size(set->rank, t->layers, c->j->on.D);

    crew_begin_message(&c->out, CREW_GRADIENTS);
    TRY(crew_tell_all(c));
    if (!c->first && !p->squares) TRY(lvlm_grads_read(c->j->lvlm, p->A, p->B, set->learned, set->rank));
    TRY(comm_sum_to_root(c->comm, p->A, a, c->first));
    if (b) TRY(comm_sum_to_root(c->comm, p->B, b, c->first));
done:
    return rc;
}

static int train(struct crew *c, struct crew_micro *m, int n, const struct pass *p, int *odd)
{
    int rc;

    crew_begin(c);
    TRY(run(c, m, n, p, odd));
    TRY(gather_gradients(c, p));
done:
    return crew_end(c, rc);
}

int crew_step(struct crew *c, struct crew_micro *m, int n, const struct adapters *set, float grad_scale, float *dA,
              float *dB, int (*meanwhile)(void *context), void *context, int *odd)
{
    return train(c, m, n, &(struct pass){set, grad_scale, false, dA, dB, meanwhile, context}, odd);
}

int crew_squares(struct crew *c, struct crew_micro *m, int n, const struct adapters *set, float grad_scale, float *A,
                 float *B, int *odd)
{
    return train(c, m, n, &(struct pass){set, grad_scale, true, A, B, NULL, NULL}, odd);
}

int crew_residual(struct crew *c, float *sum)
{
    int rc;

    crew_begin(c);
    crew_begin_message(&c->out, CREW_RESIDUAL);
    TRY(crew_tell_all(c));
    if (!c->first) TRY(lvlm_residual_read(c->j->lvlm, sum));
    TRY(comm_sum_to_root(c->comm, sum, c->j->base.text.vocab, c->first));
done:
    return crew_end(c, rc);
}

int crew_score(struct crew *c, struct crew_micro *m, int n, const struct adapters *set, int *odd)
{
    crew_begin(c);
    return crew_end(c, run(c, m, n, &(struct pass){.set = set && set->slots ? set : NULL}, odd));
}

int crew_find_nonfinite(struct crew *c, char *text, size_t room)
{
    int rc = CL_OK, r;
    char what[64];

    *text = 0;
    if (ranks_size() == 1) return CL_OK;
    if (!c->first) TRY(lvlm_find_nonfinite(c->j->lvlm, text, room));
    if (*text) goto done;
    r = comm_first_nonfinite(c->comm, what, sizeof what);
    if (r >= 0)
        snprintf(text, room, "group of rank %d (%s), in %s", comm_world_rank(c->comm, r),
                 ranks_host(comm_world_rank(c->comm, r)), what);
done:
    return rc;
}

/* ---- embeddings and pictures: a text each, rows of numbers back */

/* Crew ranks from `first` on take equal parts of the texts; at most `at_once` go to each between two exchanges. */
struct dealing {
    enum crew_word say, answer;
    int first, at_once;
    size_t K; // numbers of a row
    int (*work)(struct hand *h, float *out, const char *const *text, size_t n);
};

/* Texts [*from, *from + *count) of `now` that rank r of the crew takes. */
static void part_of(const struct crew *c, const struct dealing *d, int r, size_t now, size_t *from, size_t *count)
{
    int64_t f, n;

    tp_shard(&f, &n, (int64_t)now, &(struct tp){.rank = r - d->first, .size = comm_size(c->comm) - d->first});
    *from = (size_t)f, *count = (size_t)n;
}

/* One exchange: `now` texts over the ranks, this one among them unless it is left out. */
static int deal_some(struct crew *c, const struct dealing *d, float *out, const char *const *text, size_t now)
{
    int rc = CL_OK;
    enum crew_word w;
    size_t from, count;

    for (int r = 1; r < comm_size(c->comm); r++) {
        part_of(c, d, r, now, &from, &count);
        crew_begin_message(&c->out, d->say);
        message_put_int(&c->out, (int64_t)count);
        for (size_t i = 0; i < count; i++) message_put_text(&c->out, text[from + i]);
        TRY(message_send(&c->out, c->comm, r));
    }
    part_of(c, d, 0, now, &from, &count);
    if (!d->first) TRY(d->work(&c->hand, out, text, count));
    for (int r = 1; r < comm_size(c->comm); r++) {
        part_of(c, d, r, now, &from, &count);
        TRY(crew_hear_leader(c, r - c->first, &w));
        if (w != d->answer) TRY(crew_unexpected(w, "from a leader that embeds or sees"));
        message_copy(&c->in, out + from * d->K, count * d->K * sizeof *out);
        TRY(message_check(&c->in, "with embeddings or features"));
    }
done:
    return rc;
}

static int deal(struct crew *c, const struct dealing *d, float *out, const char *const *text, size_t n)
{
    int rc = CL_OK;
    const size_t each = c->comm ? (size_t)d->at_once * (size_t)(comm_size(c->comm) - d->first) : n;

    crew_begin(c);
    for (size_t at = 0; at < n; at += each)
        TRY(deal_some(c, d, out + at * d->K, text + at, n - at < each ? n - at : each));
done:
    return crew_end(c, rc);
}

int crew_embed(struct crew *c, float *out, const char *const *text, size_t n)
{
    const struct dealing d = {CREW_EMBED, CREW_EMBEDDED, 0, 1024, (size_t)text_encoder_width(c->j->encoder),
                              hand_embed};

    return deal(c, &d, out, text, n);
}

int crew_see(struct crew *c, float *out, const char *const *picture, size_t n)
{
    const struct dealing d = {CREW_SEE, CREW_SEEN, c->first, 64, (size_t)c->j->base.vision.hidden, hand_see};

    return deal(c, &d, out, picture, n);
}
