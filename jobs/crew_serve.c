/* crew_serve.c - the life of every rank but 0: listening to rank 0, and in a job leading a group or being a member of one. */
#include "jobs/crew.h"

#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/signal.h"
#include "jobs/bench.h"
#include "jobs/crew_messages.h"
#include "jobs/hand.h"
#include "jobs/job.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"
#include "pool/kpig.h"

struct leader {
    struct job j;
    struct comm *comm;
    struct hand hand;
    struct message in, out;
    /* increments: which version stands in each place; A and B of a slot only while it is loaded */
    struct adapters set;
    struct adapter_slot *slot; // (slots)
    int slots;
    float *A, *B; // one slot's
    int rank;     // that they have room for
    /* micro-batches of a message */
    struct lvlm_limits limits; // of one
    struct crew_micro *micro;  // (micros)
    int micros;
    float *dA, *dB; // (dA_n), (dB_n) what goes into the sums
    int64_t dA_n, dB_n;
    float *residual; // (residual_n) on its way, or its gradient
    int64_t residual_n;
    bool squares; // dA and dB hold squared gradients of the last run
};

static int64_t a_numbers(const struct leader *l, int slots, int rank)
{
    const struct text_config *t = &l->j.base.text;
    return slots * adapter_a_size(rank, t->layers, l->j.on.H, t->hidden);
}

static int64_t b_numbers(const struct leader *l, int slots, int rank)
{
    return slots * adapter_b_size(rank, l->j.base.text.layers, l->j.on.D);
}

static int answer(struct leader *l)
{
    return message_send(&l->out, l->comm, 0);
}

/* ---- increments */

static int grow(float **x, int64_t *room, int64_t n)
{
    if (n <= *room) return CL_OK;
    mem_free(*x), *room = 0;
    if (!(*x = mem_new((size_t)n, sizeof **x))) return err_set(CL_ENOMEM, "no memory for %lld gradients", (long long)n);
    *room = n;
    return CL_OK;
}

static int reserve_slots(struct leader *l, int slots, int rank)
{
    if (slots > l->slots) {
        mem_free(l->slot), l->slots = 0;
        if (!(l->slot = mem_new((size_t)slots, sizeof *l->slot)))
            return err_set(CL_ENOMEM, "no memory for %d slots", slots);
        l->slots = slots;
    }
    if (rank != l->rank) {
        mem_free(l->A), mem_free(l->B), l->rank = 0;
        l->A = mem_new((size_t)a_numbers(l, 1, rank), sizeof *l->A);
        l->B = mem_new((size_t)b_numbers(l, 1, rank), sizeof *l->B);
        if (!l->A || !l->B) return err_set(CL_ENOMEM, "no memory for an increment of rank %d", rank);
        l->rank = rank;
    }
    return CL_OK;
}

/* LOAD: the slots that changed, one after the other; their values stay here only until the model has them. */
static int load(struct leader *l)
{
    int rc;
    struct adapters set = {
        .slots = (int)message_int(&l->in), .learned = (int)message_int(&l->in), .rank = (int)message_int(&l->in)};
    int64_t n;

    set.residuals = (int)message_int(&l->in);
    n = message_int(&l->in);

    TRY(message_check(&l->in, "about increments"));
    TRY(reserve_slots(l, set.slots, set.rank));
    if (set.slots != l->set.slots || set.residuals != l->set.residuals) {
        memset(l->slot, 0, (size_t)l->slots * sizeof *l->slot);
        TRY(lvlm_load(l->j.lvlm, &(struct adapters){0})); // it forgets too, also where there are as many increments
    }
    set.slot = l->slot;
    l->set = set;
    for (; n > 0; n--) {
        int64_t place = message_int(&l->in), version = message_int(&l->in);
        TRY(message_check(&l->in, "about increments"));
        if (place < 0 || place >= set.slots) FAIL(CL_EMPI, "place %lld of %d slots", (long long)place, set.slots);
        if (place < set.slots - set.residuals) {
            TRY(comm_broadcast(l->comm, l->A, (size_t)a_numbers(l, 1, set.rank) * sizeof *l->A, 0));
            if (b_numbers(l, 1, set.rank))
                TRY(comm_broadcast(l->comm, l->B, (size_t)b_numbers(l, 1, set.rank) * sizeof *l->B, 0));
            l->slot[place] = (struct adapter_slot){l->A, l->B, (uint64_t)version};
        } else {
            TRY(grow(&l->residual, &l->residual_n, l->j.base.text.vocab));
            TRY(comm_broadcast(l->comm, l->residual, (size_t)l->residual_n * sizeof *l->residual, 0));
            l->slot[place] = (struct adapter_slot){l->residual, NULL, (uint64_t)version};
        }
        TRY(lvlm_load(l->j.lvlm, &set));
        l->slot[place].A = l->slot[place].B = NULL;
    }
done:
    return rc;
}

/* The next message for this leader; increments are loaded on the way. */
static int hear(struct leader *l, enum crew_word *w)
{
    int rc;

    for (;;) {
        TRY(crew_hear(&l->in, l->comm, 0, w, NULL));
        if (*w != CREW_LOAD) break;
        TRY(load(l));
    }
done:
    return rc;
}

/* The set that a message speaks of: what is loaded, or the base alone, whose pass makes the model forget it. */
static const struct adapters *set_of(struct leader *l, bool with)
{
    if (!with) l->set = (struct adapters){0};
    return with ? &l->set : NULL;
}

/* ---- micro-batches */

static void free_micros(struct leader *l)
{
    for (int i = 0; i < l->micros; i++) {
        struct crew_micro *k = &l->micro[i];
        batch_free(k->pack);
        if (k->masked) batch_free(k->masked);
        mem_free(k->pack), mem_free(k->masked), mem_free(k->picture), mem_free(k->dcoef);
    }
    mem_free(l->micro);
    l->micro = NULL, l->micros = 0;
}

/* listens: with room for masked questions. */
static int new_micro(struct crew_micro *k, const struct lvlm_limits *lim, bool listens)
{
    int rc;
    size_t samples = (size_t)lim->samples, slots = (size_t)(lim->slots ? lim->slots : 1);

    if (!(k->pack = mem_new(1, sizeof *k->pack)) || !(k->picture = mem_new(samples, sizeof *k->picture)) ||
        !(k->dcoef = mem_new(samples * slots, sizeof *k->dcoef)) ||
        (listens && !(k->masked = mem_new(1, sizeof *k->masked))))
        FAIL(CL_ENOMEM, "no memory for a micro-batch");
    TRY(batch_new(k->pack, lim->samples, lim->tokens));
    if (listens) TRY(batch_new(k->masked, lim->samples, lim->tokens));
done:
    return rc;
}

/* Room for n micro-batches, made once: every step has as many. */
static int reserve_micros(struct leader *l, int64_t n)
{
    int rc = CL_OK;
    struct crew_micro *more;

    if (n <= l->micros) return CL_OK;
    if (!(more = mem_grow(l->micro, (size_t)l->micros, (size_t)n, sizeof *more)))
        FAIL(CL_ENOMEM, "no memory for %lld micro-batches", (long long)n);
    l->micro = more;
    while (l->micros < n) {
        l->micros++; // what new_micro leaves half made is freed with the others
        TRY(new_micro(&l->micro[l->micros - 1], &l->limits, kpig_listens(&l->j.cfg)));
    }
done:
    return rc;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int reserve(struct leader *l)
{
    int rc;
    struct lvlm_limits lim, *own = &l->limits;

    crew_take_limits(&l->in, &lim);
    TRY(message_check(&l->in, "about limits"));
    TRY(hand_reserve(&l->hand, &lim));
    free_micros(l);
    own->samples = (int)larger(own->samples, lim.samples), own->slots = (int)larger(own->slots, lim.slots);
    own->tokens = larger(own->tokens, lim.tokens);
done:
    return rc;
}

/* A loss that is not finite: which micro-batch, and where in the group it came up. */
static int say_odd(struct leader *l, int odd)
{
    int rc;
    char where[256];

    TRY(lvlm_find_nonfinite(l->j.lvlm, where, sizeof where));
    if (!*where) snprintf(where, sizeof where, "group of rank %d (%s)", ranks_rank(), ranks_host(ranks_rank()));
    crew_begin_message(&l->out, CREW_ODD);
    message_put_int(&l->out, odd);
    message_put_text(&l->out, where);
    TRY(answer(l));
done:
    return rc;
}

static int reserve_gradients(struct leader *l)
{
    int rc = grow(&l->dA, &l->dA_n, a_numbers(l, l->set.learned, l->set.rank));

    return rc ? rc : grow(&l->dB, &l->dB_n, b_numbers(l, l->set.learned, l->set.rank));
}

static int run(struct leader *l)
{
    int rc, odd = -1;
    const char *at = message_text(&l->in);
    float scale = (float)message_double(&l->in);
    const struct adapters *set = set_of(l, message_int(&l->in) != 0);
    bool squares = message_int(&l->in) != 0;
    int64_t n = message_int(&l->in);

    TRY(message_check(&l->in, "with micro-batches"));
    watch_at("%s", at ? at : "");
    TRY(reserve_micros(l, n));
    for (int k = 0; k < n; k++) TRY(crew_take_micro(&l->in, &l->micro[k], set ? set->slots : 0));
    if (squares) TRY(reserve_gradients(l));
    l->squares = squares;
    rc = squares ? hand_squares(&l->hand, l->micro, (int)n, 0, 1, set, scale, l->dA, l->dB, &odd)
                 : hand_run(&l->hand, l->micro, (int)n, 0, 1, set, scale, &odd);
    if (rc == CL_ENUM && odd >= 0) return say_odd(l, odd);
    if (rc) goto done;
    crew_begin_message(&l->out, CREW_RESULTS);
    for (int k = 0; k < n; k++) {
        struct crew_micro *b = &l->micro[k];
        message_put_double(&l->out, b->nll), message_put_double(&l->out, b->kl);
        crew_put_heard(&l->out, &b->heard);
        if (scale != 0)
            message_put_bytes(&l->out, b->dcoef,
                              (size_t)b->pack->samples * (size_t)(set ? set->slots : 0) * sizeof *b->dcoef);
    }
    TRY(answer(l));
done:
    return rc;
}

static int gradients(struct leader *l)
{
    int rc;

    if (!l->squares) {
        TRY(reserve_gradients(l));
        TRY(lvlm_grads_read(l->j.lvlm, l->dA, l->dB, l->set.learned, l->set.rank));
    }
    TRY(comm_sum_to_root(l->comm, l->dA, a_numbers(l, l->set.learned, l->set.rank), ranks_now()->dedicated));
    if (b_numbers(l, l->set.learned, l->set.rank))
        TRY(comm_sum_to_root(l->comm, l->dB, b_numbers(l, l->set.learned, l->set.rank), ranks_now()->dedicated));
done:
    return rc;
}

static int residual(struct leader *l)
{
    int rc;
    const int64_t V = l->j.base.text.vocab;

    TRY(grow(&l->residual, &l->residual_n, V));
    TRY(lvlm_residual_read(l->j.lvlm, l->residual));
    TRY(comm_sum_to_root(l->comm, l->residual, V, ranks_now()->dedicated));
done:
    return rc;
}

/* ---- answers to prompts */

struct waiting { // a prompt that has come and is not yet taken
    int64_t number;
    struct prompt_item item;
};

struct answering {
    struct leader *l;
    const struct adapters *set;
    int64_t n, taken;
    int64_t *number;       // (n) the coordinator's number of the i-th prompt that was taken
    struct waiting *queue; // (room) from `first` on, `queued` of them, round
    int room, first, queued;
    struct message next, away; // answers that wait, and those on their way
    bool tokens;               // every token is told at once
    bool abandoned;
};

static int take_prompts(struct answering *a, struct message *m)
{
    int rc = CL_OK, slots = a->set ? a->set->slots : 0;

    while (message_more(m)) {
        if (a->queued == a->room) FAIL(CL_EMPI, "more than %d prompts came ahead", a->room);
        struct waiting *w = &a->queue[(a->first + a->queued++) % a->room];
        float *coef = w->item.coef;
        w->item = (struct prompt_item){.coef = coef};
        TRY(crew_take_prompt(m, &w->number, &w->item, coef, slots));
    }
    TRY(message_check(m, "with prompts"));
done:
    return rc;
}

/* What has come between two steps of decoding, or (wait) the next that comes. */
static int take_message(struct answering *a)
{
    int rc;
    enum crew_word w;

    TRY(hear(a->l, &w));
    if (w == CREW_PROMPTS) return take_prompts(a, &a->l->in);
    if (w != CREW_ABANDON) return crew_unexpected(w, "to a leader that answers prompts");
    a->abandoned = true;
    rc = err_set(CL_ESTOP, "the coordinator stops");
done:
    return rc;
}

static int next_prompt(void *context, int64_t i, struct prompt_item *item)
{
    int rc = CL_OK;
    struct answering *a = context;
    struct waiting *w;

    while (!a->queued) TRY(take_message(a));
    w = &a->queue[a->first];
    a->first = (a->first + 1) % a->room, a->queued--;
    a->number[i] = w->number;
    item->sample = w->item.sample, item->picture = w->item.picture;
    if (a->set) memcpy(item->coef, w->item.coef, (size_t)a->set->slots * sizeof *item->coef);
    w->item = (struct prompt_item){.coef = w->item.coef};
done:
    return rc;
}

/* Answers go out whenever those before them have left. */
static int send_answers(struct answering *a)
{
    int rc = CL_OK;
    struct message m;

    if (a->away.on_way) TRY(message_sent(&a->away));
    if (a->away.on_way || !message_more(&a->next)) goto done;
    m = a->away, a->away = a->next, a->next = m;
    crew_begin_message(&a->next, CREW_ANSWERS);
    a->next.at = a->next.used; // nothing in it yet
    TRY(message_send_begin(&a->away, a->l->comm, 0));
done:
    return rc;
}

static int between(void *context)
{
    int rc;
    struct answering *a = context;
    bool arrived;

    for (;;) {
        TRY(message_waiting(a->l->comm, 0, &arrived));
        if (!arrived) break;
        TRY(take_message(a));
    }
    TRY(send_answers(a));
done:
    return rc;
}

static void put_answer(struct answering *a, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    message_put_int(&a->next, a->number[i]);
    message_put_int(&a->next, prompt_n);
    message_put_bytes(&a->next, id, (size_t)n * sizeof *id);
}

/* A token of an answer that is not complete: told with a prompt length of -1. */
static int tell_token(void *context, int64_t i, int32_t id)
{
    put_answer(context, i, &id, 1, -1);
    return CL_OK;
}

static int tell_answer(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    put_answer(context, i, id, n, prompt_n);
    return CL_OK;
}

static int answering_new(struct answering *a, const struct generator_limits *lim)
{
    size_t slots = (size_t)(lim->slots ? lim->slots : 1);

    a->room = 2 * lim->batch;
    if (!(a->number = mem_new((size_t)a->n, sizeof *a->number)) ||
        !(a->queue = mem_new((size_t)a->room, sizeof *a->queue)))
        return err_set(CL_ENOMEM, "no memory for %lld prompts", (long long)a->n);
    for (int i = 0; i < a->room; i++)
        if (!(a->queue[i].item.coef = mem_new(slots, sizeof(float))))
            return err_set(CL_ENOMEM, "no memory for %d prompts", a->room);
    crew_begin_message(&a->next, CREW_ANSWERS);
    a->next.at = a->next.used;
    return CL_OK;
}

static void answering_free(struct answering *a)
{
    for (int i = 0; a->queue && i < a->room; i++) {
        sample_free(&a->queue[i].item.sample);
        free(a->queue[i].item.picture);
        mem_free(a->queue[i].item.coef);
    }
    mem_free(a->queue), mem_free(a->number);
    message_free(&a->next), message_free(&a->away);
}

/* What is left goes out before the end is told. */
static int flush(struct answering *a)
{
    int rc;

    do {
        TRY(send_answers(a));
    } while (a->away.on_way);
    rc = CL_OK;
done:
    return rc;
}

static int abandoned(struct leader *l)
{
    crew_begin_message(&l->out, CREW_ABANDONED);
    return answer(l);
}

/* Numbers that are none: the coordinator knows the questions by name. */
static int tell_failure(struct leader *l, int rc)
{
    crew_put_failure(&l->out, rc);
    return answer(l);
}

static int generate(struct leader *l)
{
    int rc;
    struct generator *g = NULL;
    struct generator_limits lim = {0};
    struct answering a = {.l = l};
    struct generator_ends ends = {&a, next_prompt, NULL, tell_answer, between};
    const char *at = message_text(&l->in);
    bool with = message_int(&l->in) != 0;

    a.tokens = message_int(&l->in) != 0;
    a.n = message_int(&l->in);
    lim.batch = (int)message_int(&l->in), lim.prompt_n = message_int(&l->in);
    lim.max_new_tokens = (int)message_int(&l->in), lim.slots = (int)message_int(&l->in);
    lim.rank = (int)message_int(&l->in), lim.share = message_int(&l->in) != 0;
    lim.residuals = (int)message_int(&l->in);
    TRY(message_check(&l->in, "about prompts"));
    watch_at("%s", at ? at : "");
    if (a.tokens) ends.token = tell_token;
    TRY(generator_new(&g, &l->j, &lim));
    TRY(answering_new(&a, &lim));
    a.set = set_of(l, with);
    while (!a.queued) TRY(take_message(&a)); // the increments come before the first prompt
    rc = generator_run(g, a.n, a.set, &ends);
    if (rc == CL_ENUM) {
        hand_name_place(l->j.lvlm);
        rc = tell_failure(l, rc);
    }
    if (!rc) rc = flush(&a);
done:
    if (a.abandoned) rc = flush(&a);
    generator_free(g);
    answering_free(&a);
    return rc || !a.abandoned ? rc : abandoned(l);
}

/* ---- embeddings and pictures */

/* Texts in, a row of K numbers for each out. told: a failure is the coordinator's to report; else it ends this rank. */
static int rows_of_texts(struct leader *l, size_t K, enum crew_word w, bool told,
                         int (*work)(struct hand *h, float *out, const char *const *text, size_t n))
{
    int rc;
    int64_t n = message_int(&l->in);
    size_t room = (size_t)(n > 0 ? n : 1);
    const char **text = mem_new(room, sizeof *text);
    float *out = mem_new(room * K, sizeof *out);

    if (!text || !out) FAIL(CL_ENOMEM, "no memory for %lld embeddings or pictures", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (!(text[i] = message_text(&l->in))) l->in.failed = true;
    TRY(message_check(&l->in, "with texts"));
    rc = work(&l->hand, out, text, (size_t)n);
    if (rc && told)
        rc = tell_failure(l, rc);
    else if (!rc) {
        crew_begin_message(&l->out, w);
        message_put_bytes(&l->out, out, (size_t)n * K * sizeof *out);
        rc = answer(l);
    }
done:
    mem_free(text), mem_free(out);
    return rc;
}

static int embed(struct leader *l)
{
    return rows_of_texts(l, (size_t)text_encoder_width(l->j.encoder), CREW_EMBEDDED, false, hand_embed);
}

static int see(struct leader *l)
{
    return rows_of_texts(l, (size_t)l->j.base.vision.hidden, CREW_SEEN, true, hand_see);
}

/* ---- a job */

static int serve_coordinator(struct leader *l)
{
    int rc = CL_OK;
    enum crew_word w = CREW_OPENED;

    while (w != CREW_CLOSE) {
        TRY(hear(l, &w));
        switch (w) {
        case CREW_RESERVE: TRY(reserve(l)); break;
        case CREW_RUN: TRY(run(l)); break;
        case CREW_GRADIENTS: TRY(gradients(l)); break;
        case CREW_RESIDUAL: TRY(residual(l)); break;
        case CREW_GENERATE: TRY(generate(l)); break;
        case CREW_ABANDON: TRY(abandoned(l)); break; // all answers were out already
        case CREW_EMBED: TRY(embed(l)); break;
        case CREW_SEE: TRY(see(l)); break;
        case CREW_CLOSE: break;
        default: TRY(crew_unexpected(w, "to a leader"));
        }
    }
done:
    return rc;
}

static void close_leader(struct leader *l)
{
    free_micros(l);
    hand_free(&l->hand);
    job_close(&l->j);
    mem_free(l->slot), mem_free(l->A), mem_free(l->B), mem_free(l->dA), mem_free(l->dB);
    mem_free(l->residual);
    message_free(&l->in), message_free(&l->out);
}

/* Leads a group: opens its model, serves the coordinator, closes it. cfg is taken over. */
static int lead(struct config *cfg, unsigned parts)
{
    int rc;
    struct leader l = {.j.cfg = *cfg, .comm = ranks_now()->crew};

    memset(cfg, 0, sizeof *cfg);
    l.hand.j = &l.j;
    if ((rc = job_open(&l.j, parts))) {
        TRY(tell_failure(&l,
                         rc)); // the coordinator may have the same to say, of its own model; the job ends either way
        TRY(serve_coordinator(&l));
    }
    crew_begin_message(&l.out, CREW_OPENED);
    message_put_int(&l.out, (int64_t)lvlm_weight_bytes(l.j.lvlm));
    TRY(answer(&l));
    TRY(serve_coordinator(&l));
    close_leader(&l);
    TRY(lvlm_release(ranks_now()->tp));
done:
    return rc;
}

/* A job of rank 0: layout, then what this rank is in it. */
static int serve_job(struct message *m)
{
    int rc;
    struct config cfg = {0};
    int tensor = (int)message_int(m);
    bool dedicated = message_int(m) != 0;
    enum dtype wire = (enum dtype)message_int(m);
    bool overlap = message_int(m) != 0;
    double seconds = message_double(m);
    unsigned parts = (unsigned)message_int(m);
    const char *text = message_text(m);

    TRY(message_check(m, "about a job"));
    if ((rc = ranks_layout(tensor, dedicated, wire)) == CL_ECONFIG) return CL_OK; // rank 0 has it too, and says it
    if (rc) goto done;
    ranks_set_overlap(overlap);
    watch_set_limit(seconds);
    TRY(config_load_text(&cfg, text, "configuration of rank 0", NULL, 0, 0));
    if (parts & JOB_TRAIN) TRY(signal_install());
    watch_at("%s", ""); // the coordinator's stage is everybody's until a leader is told another
    if (ranks_now()->crew) {
        TRY(lead(&cfg, parts));
    } else {
        job_set_threads(&cfg);
        TRY(lvlm_follow(ranks_now()->tp));
    }
done:
    config_free(&cfg);
    return rc;
}

int crew_serve(void)
{
    int rc;
    enum ranks_op op = RANKS_WORK;
    struct message m = {0};

    for (;;) {
        TRY(ranks_listen(&m, &op));
        if (op == RANKS_END) break;
        switch (message_int(&m)) {
        case WORLD_JOB: TRY(serve_job(&m)); break;
        case WORLD_BENCH: TRY(bench_collectives_member(&m)); break;
        default: FAIL(CL_EMPI, "rank 0 tells something that this rank does not know");
        }
    }
done:
    message_free(&m);
    return rc;
}
