/* watch_judge.c - see watch_judge.h. */
#include "mpi/watch_judge.h"

#include <stdio.h>
#include <string.h>

static const double WINDOW = 0.25; // s after a death, in which the others come to where they miss the dead one

static bool waits(const struct watch_report *r)
{
    return r->collective[0] && strcmp(r->collective, WATCH_MESSAGE);
}

/* Whether `other` takes part in what r does: tensor parallelism is a matter of the group. */
static bool concerns(const struct watch_report *r, const struct watch_report *other)
{
    return strncmp(r->collective, "tp_", 3) || r->group == other->group;
}

/* ", in tp_reduce": where the others of its group wait, else where it was last. */
static const char *missed_in(const struct watch_report *r, int n, int dead)
{
    for (int i = 0; i < n; i++)
        if (i != dead && !r[i].dead && waits(&r[i]) && concerns(&r[i], &r[dead])) return r[i].collective;
    return r[dead].collective;
}

void watch_describe(char *text, size_t room, const struct watch_report *r, int rank, const char *what,
                    const char *collective, const char *more)
{
    snprintf(text, room, "rank %d (%s) %s%s%s%s%s%s", rank, r->host, what, r->stage[0] ? " in " : "", r->stage,
             !collective[0] ? ""
             : r->stage[0]  ? ", in "
                            : " in ",
             collective, more);
}

/* A member of a group does what its leader does: where it says nothing of a stage, the coordinator's counts. */
static void say(struct watch_verdict *v, const struct watch_report *r, const char *what, const char *collective,
                const char *more)
{
    struct watch_report of = r[v->rank];

    if (!of.stage[0]) snprintf(of.stage, sizeof of.stage, "%s", r[0].stage);
    watch_describe(v->text, sizeof v->text, &of, v->rank, what, collective, more);
}

/* The first that died. */
static bool someone_died(struct watch_verdict *v, const struct watch_report *r, int n)
{
    v->rank = -1;
    for (int i = 0; i < n; i++)
        if (r[i].dead >= WINDOW && (v->rank < 0 || r[i].dead > r[v->rank].dead)) v->rank = i;
    if (v->rank < 0) return false;
    say(v, r, "died", missed_in(r, n, v->rank), WATCH_DIED_HINT);
    return true;
}

static bool someone_is_silent(struct watch_verdict *v, const struct watch_report *r, int n, double limit)
{
    char what[64];

    v->rank = -1;
    for (int i = 0; i < n; i++)
        if (r[i].silent >= limit && (v->rank < 0 || r[i].silent > r[v->rank].silent)) v->rank = i;
    if (v->rank < 0) return false;
    snprintf(what, sizeof what, "has been silent for %.0f s", r[v->rank].silent);
    say(v, r, what, missed_in(r, n, v->rank), WATCH_SILENT_HINT);
    return true;
}

/* The rank that `waiting` waits for: not in the same collective, and still for as long as the limit; one that is in no
 * collective at all first. -1: some rank outside still moves. `waiting` itself: all are there. */
static int missing(const struct watch_report *r, int n, int waiting, double limit)
{
    int found = waiting;

    for (int i = 0; i < n; i++) {
        const struct watch_report *f = &r[found];
        if (i == waiting || !concerns(&r[waiting], &r[i]) || !strcmp(r[i].collective, r[waiting].collective)) continue;
        if (r[i].still < limit) return -1;
        if (found == waiting || (f->collective[0] && !r[i].collective[0]) ||
            (!f->collective[0] == !r[i].collective[0] && r[i].still > f->still))
            found = i;
    }
    return found;
}

static bool someone_hangs(struct watch_verdict *v, const struct watch_report *r, int n, double limit)
{
    char more[256];

    for (int w = 0; w < n; w++) {
        if (r[w].still < limit || !(waits(&r[w]) || (w == 0 && r[w].collective[0]))) continue;
        v->rank = missing(r, n, w, limit);
        if (v->rank < 0) continue;
        if (v->rank == w)
            snprintf(more, sizeof more, ", with all others, for %.0f s; hint: does the network work?", r[w].still);
        else
            snprintf(
                more, sizeof more,
                ": rank %d has waited for it in %s for %.0f s; hint: watchdog.seconds must be longer than what one "
                "rank computes between two exchanges",
                w, r[w].collective, r[w].still);
        say(v, r, "hangs", r[v->rank].collective, more);
        return true;
    }
    return false;
}

bool watch_judge(struct watch_verdict *v, const struct watch_report *r, int n, double limit)
{
    return someone_died(v, r, n) || (limit > 0 && (someone_is_silent(v, r, n, limit) || someone_hangs(v, r, n, limit)));
}
