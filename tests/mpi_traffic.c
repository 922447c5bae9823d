/* mpi_traffic.c - what a model on several ranks sends, counted by comm.h, against the formulas of traffic.h. */
#include "mpi_fixture.h"

#include "lvlm_group.h"
#include "model/traffic.h"

enum {
    DO_SEE = 1,
    DO_FORWARD = 2,
    WITH_INCREMENTS = 4,
    DO_BACKWARD = 8,
    DO_READ = 16,
    DO_COEFS = 32,
    DO_PREFILL = 64,
    DO_DECODE = 128
};

struct steps {
    const struct tiny *t;
    unsigned what;
    int64_t n, rows;                 // of the batch
    int64_t half_n[2], half_rows[2]; // of either half
};

static void takes_steps(const struct tp *tp, void *context)
{
    static const int seq[] = {0, 1};
    struct steps *s = context;
    struct lvlm *m = open_model(tp);
    struct packed_batch b = {0};
    struct increments k;
    struct feature *f[6] = {0};
    struct kv_cache *kv;
    struct result r = {0};
    float nll[ROWS];
    double dcoef[SAMPLES * SLOTS];
    int32_t next[2];
    uint32_t seed = 1;

    make_increments(&k, lvlm_get_config(m));
    check_ok(batch_new(&b, SAMPLES, TOKENS));
    if (s->what & DO_SEE) see(&r, m, s->t, f, 6);
    for (int i = 0; i < 4; i++) tiny_sample(&b, s->t, 20, 5, (s->what & DO_SEE) && i < 2, false, &seed);
    for (int i = 0; i < b.pictures; i++) b.feature[i] = f[i];
    s->n = b.n, s->rows = b.rows;
    s->half_n[0] = b.cu[2], s->half_rows[0] = b.cu_row[2]; // samples of one length
    s->half_n[1] = b.n - b.cu[2], s->half_rows[1] = b.rows - b.cu_row[2];
    check_ok(lvlm_grads_clear(m));
    if (s->what & DO_FORWARD)
        check_ok(
            lvlm_forward(m, &b, s->what & WITH_INCREMENTS ? &k.set : NULL, nll, s->what & WITH_INCREMENTS ? 1 : 0));
    if (s->what & DO_BACKWARD) check_ok(lvlm_backward(m, &b, &k.set, dcoef));
    r.dA = malloc(LEARNED * k.nA * sizeof *r.dA), r.dB = malloc(LEARNED * k.nB * sizeof *r.dB);
    if (s->what & DO_READ) check_ok(lvlm_grads_read(m, r.dA, r.dB, LEARNED, RANK));
    if (s->what & DO_COEFS) check_ok(lvlm_coef_reduce(m, dcoef, SAMPLES * SLOTS));
    check_ok(lvlm_kv_new(&kv, m, 2, 40));
    batch_clear(&b);
    for (int i = 0; i < 2; i++) tiny_sample(&b, s->t, 16, 1, false, true, &seed);
    if (s->what & DO_PREFILL) check_ok(lvlm_prefill(m, kv, seq, &b, NULL, NULL, next));
    if (s->what & DO_DECODE) check_ok(lvlm_decode(m, kv, 2, seq, next, NULL, NULL, next));
    lvlm_kv_free(kv);
    for (int i = 0; i < 6; i++) lvlm_feature_free(m, f[i]);
    free_result(&r);
    batch_free(&b);
    free_increments(&k);
    lvlm_close(m);
}

/* What the rank that sends most sends for `more` beyond `what`. */
static struct traffic difference(struct steps *s, unsigned what, unsigned more)
{
    struct comm *c = ranks_now()->tp->comm;
    struct comm_counts a, b;
    struct traffic mine, all[8], most = {0};
    int64_t *x = (int64_t *)&most;

    comm_counts_clear(c), s->what = what;
    together(takes_steps, s);
    a = comm_get_counts(c);
    comm_counts_clear(c), s->what = what | more;
    together(takes_steps, s);
    b = comm_get_counts(c);
    mine = (struct traffic){b.sums - a.sums,
                            b.sum_bytes - a.sum_bytes,
                            b.gathers - a.gathers,
                            b.gather_bytes - a.gather_bytes,
                            b.messages - a.messages,
                            b.message_bytes - a.message_bytes,
                            b.broadcasts - a.broadcasts,
                            b.broadcast_bytes - a.broadcast_bytes};
    check_ok(comm_gather(ranks_now()->world, all, &mine, sizeof mine));
    for (int r = 0; r < ranks_size(); r++)
        for (size_t i = 0; i < sizeof mine / sizeof *x; i++)
            if (((int64_t *)&all[r])[i] > x[i]) x[i] = ((int64_t *)&all[r])[i];
    return most;
}

static void same_traffic(struct traffic got, struct traffic want)
{
    check_int(got.sums, want.sums), check_int(got.sum_bytes, want.sum_bytes);
    check_int(got.gathers, want.gathers), check_int(got.gather_bytes, want.gather_bytes);
    check_int(got.messages, want.messages), check_int(got.message_bytes, want.message_bytes);
    check(got.broadcasts >= want.broadcasts && got.broadcast_bytes >= want.broadcast_bytes); // and the orders
    check(got.broadcast_bytes - want.broadcast_bytes < 2048 * (ranks_size() - 1));
}

static struct traffic both(struct traffic a, struct traffic b)
{
    for (size_t i = 0; i < sizeof a / sizeof(int64_t); i++) ((int64_t *)&a)[i] += ((int64_t *)&b)[i];
    return a;
}

static void count_all(const struct tiny *t, enum dtype wire)
{
    const int P = ranks_size();
    struct steps s = {.t = t};
    struct lvlm_config c;

    check_ok(ranks_layout(P, false, wire));
    write_base(t, NULL);
    check_ok(lvlm_config_read(&c, base));
    struct traffic see = difference(&s, 0, DO_SEE), forward = difference(&s, DO_SEE, DO_FORWARD),
                   training = difference(&s, DO_SEE, DO_FORWARD | WITH_INCREMENTS),
                   backward = difference(&s, DO_SEE | DO_FORWARD | WITH_INCREMENTS, DO_BACKWARD),
                   read = difference(&s, DO_FORWARD | WITH_INCREMENTS | DO_BACKWARD, DO_READ),
                   coefs = difference(&s, DO_FORWARD | WITH_INCREMENTS | DO_BACKWARD, DO_COEFS),
                   prefill = difference(&s, 0, DO_PREFILL), decode = difference(&s, DO_PREFILL, DO_DECODE);
    check_ok(comm_broadcast(ranks_now()->world, &s, sizeof s, 0));
#if defined(CLLAVA_GUARD) || !defined(NDEBUG)
    forward.gathers--, forward.gather_bytes -= 8 * (P - 1); // are all ranks alike?
    training.gathers--, training.gather_bytes -= 8 * (P - 1);
#endif
    same_traffic(see, traffic_see(&c, P, 6, wire));
    same_traffic(forward, traffic_forward(&c, P, s.n, s.rows, wire));
    // increments: what brings A and B to the members, and nothing else
    same_traffic(training, both(traffic_forward(&c, P, s.n, s.rows, wire), traffic_load(&c, chosen, P, SLOTS, RANK)));
    same_traffic(backward, traffic_backward(&c, chosen, P, s.n, s.rows, wire, again));
    same_traffic(read, traffic_gradients(&c, chosen, P, LEARNED, RANK));
    same_traffic(coefs, traffic_coefs(P, SAMPLES * SLOTS));
    same_traffic(prefill, traffic_prefill(&c, P, 2 * 15, 2, wire));
    same_traffic(decode, traffic_decode(&c, P, 2, wire));
    remove_base();
}

static const struct tiny wide = {.D = 64,
                                 .heads = 6,
                                 .kv_heads = 2,
                                 .head_dim = 8,
                                 .F = 40,
                                 .L = 3,
                                 .vocab = 70,
                                 .vision = 48,
                                 .vision_heads = 4,
                                 .vision_F = 50};

/* The formulas say what is sent, call by call and byte by byte. */
static void traffic_is_as_predicted(void)
{
    if (ranks_size() == 1) return;
    count_all(&wide, DT_F32);
    count_all(&wide, DT_BF16);
    count_all(&models[2], DT_F32);
}

/* Halves of a batch that overlap: more sums of the same numbers. */
static void halves(void)
{
    const int P = ranks_size();
    struct steps s = {.t = &wide};
    struct lvlm_config c;

    if (P == 1) return;
    ranks_set_overlap(true);
    write_base(&wide, NULL);
    check_ok(lvlm_config_read(&c, base));
    struct traffic forward = difference(&s, 0, DO_FORWARD | WITH_INCREMENTS),
                   backward = difference(&s, DO_FORWARD | WITH_INCREMENTS, DO_BACKWARD),
                   prefill = difference(&s, 0, DO_PREFILL);
    check_ok(comm_broadcast(ranks_now()->world, &s, sizeof s, 0));
#if defined(CLLAVA_GUARD) || !defined(NDEBUG)
    forward.gathers--, forward.gather_bytes -= 8 * (P - 1);
#endif
    same_traffic(forward, both(traffic_forward_halves(&c, P, s.half_n, s.half_rows, DT_F32),
                               traffic_load(&c, chosen, P, SLOTS, RANK)));
    same_traffic(backward, traffic_backward_halves(&c, chosen, P, s.half_n, s.half_rows, DT_F32, again));
    same_traffic(prefill, traffic_prefill(&c, P, 2 * 15, 2, DT_F32)); // not cut
    check_int(backward.sums, 2 * traffic_backward(&c, chosen, P, s.n, s.rows, DT_F32, again).sums - 1);
    remove_base();
}

/* The sums that the backward pass makes once more are counted too. */
static void recomputed(void)
{
    struct lvlm_config c;

    if (ranks_size() == 1) return;
    write_base(&wide, NULL);
    check_ok(lvlm_config_read(&c, base));
    remove_base();
    check_int(traffic_backward(&c, chosen, 2, 30, 6, DT_F32, RECOMPUTE_LAYER).sums,
              traffic_backward(&c, chosen, 2, 30, 6, DT_F32, RECOMPUTE_NOTHING).sums + wide.L - 1);
    for (again = RECOMPUTE_MLP; again < RECOMPUTES; again++) {
        ranks_set_overlap(false);
        count_all(&wide, DT_F32);
        halves();
    }
    again = RECOMPUTE_NOTHING;
}

/* Increments of other maps: other parts of a slot travel whole, and the way down may end earlier. */
static void other_maps(void)
{
    static const unsigned choice[] = {PROJECTIONS_ALL, PROJECTION_BIT(PROJ_q) | PROJECTION_BIT(PROJ_v),
                                      PROJECTION_BIT(PROJ_up), PROJECTION_BIT(PROJ_down)};

    if (ranks_size() == 1) return;
    for (size_t i = 0; i < sizeof choice / sizeof *choice; i++) {
        chosen = choice[i];
        count_all(&wide, DT_F32);
    }
    chosen = PROJECTIONS_ALL;
    halves();
    ranks_set_overlap(false);
    chosen = PROJECTIONS_DEFAULT;
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {{"traffic_is_as_predicted", traffic_is_as_predicted},
                                            {"halves", halves},
                                            {"recomputed", recomputed},
                                            {"other_maps", other_maps}};
    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
