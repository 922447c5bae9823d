/* share.c - see share.h. */
#include "model/share.h"

#include "io/err.h"

static int check_size(const struct text_config *c, int size)
{
    if (size <= c->heads && size <= c->ffn && size <= c->vocab) return CL_OK;
    return err_set(CL_ECONFIG,
                   "parallel.tensor: %d ranks cannot share a base of %d attention heads (%d key/value heads, %d MLP "
                   "columns; expected at most one rank per head); hint: any size from 1 to %d works",
                   size, c->heads, c->kv_heads, c->ffn, c->heads);
}

/* Ranks of one key/value head split its query heads. */
static void split_group(struct share *s, const struct text_config *c, const struct tp *tp)
{
    const int group = c->heads / c->kv_heads;
    int64_t first = 0, n = 0, head, heads;
    int kv = -1;

    do { // the key/value head whose ranks this one is among
        kv++;
        tp_shard(&first, &n, tp->size, &(struct tp){.rank = kv, .size = c->kv_heads});
    } while (tp->rank >= first + n);
    tp_shard(&head, &heads, group, &(struct tp){.rank = (int)(tp->rank - first), .size = (int)n});
    s->kv_head0 = kv, s->kv_heads = 1;
    s->head0 = kv * group + (int)head, s->heads = (int)heads;
}

static void split_heads(struct share *s, const struct text_config *c, const struct tp *tp)
{
    int64_t first, n;

    tp_shard(&first, &n, c->kv_heads, tp);
    s->kv_head0 = (int)first, s->kv_heads = (int)n;
    s->head0 = (int)first * (c->heads / c->kv_heads), s->heads = (int)n * (c->heads / c->kv_heads);
}

void share_of_tower(struct share *s, const struct vision_config *c, const struct tp *tp)
{
    int64_t first, n;

    tp_shard(&first, &n, c->heads, tp);
    s->vision_head0 = (int)first, s->vision_heads = (int)n;
    tp_shard(&s->vision_F0, &s->vision_F, c->ffn, tp);
}

int share_of(struct share *s, const struct lvlm_config *c, const struct tp *tp)
{
    int rc;
    const struct text_config *t = &c->text;

    *s = (struct share){0};
    TRY(check_size(t, tp ? tp->size : 1));
    if (tp && tp->size > t->kv_heads)
        split_group(s, t, tp);
    else
        split_heads(s, t, tp);
    s->H = (int64_t)s->heads * t->head_dim, s->KV = (int64_t)s->kv_heads * t->head_dim;
    tp_shard(&s->F0, &s->F, t->ffn, tp);
    tp_shard(&s->V0, &s->V, t->vocab, tp);
    if (c->has_vision) share_of_tower(s, &c->vision, tp);
    rc = CL_OK;
done:
    return rc;
}

void share_of_projection(int64_t *first, int64_t *n, const struct share *s, const struct text_config *c,
                         enum projection p)
{
    switch (p) {
    case PROJ_q:
    case PROJ_o: *first = (int64_t)s->head0 * c->head_dim, *n = s->H; break;
    case PROJ_k:
    case PROJ_v: *first = (int64_t)s->kv_head0 * c->head_dim, *n = s->KV; break;
    default: *first = s->F0, *n = s->F; break;
    }
}
