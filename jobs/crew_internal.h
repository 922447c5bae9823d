/* crew_internal.h - what the coordinator's files share. */
#ifndef CLLAVA_JOBS_CREW_INTERNAL_H
#define CLLAVA_JOBS_CREW_INTERNAL_H

#include "jobs/crew_messages.h"
#include "jobs/hand.h"
#include "jobs/job.h"

struct crew {
    struct job *j;
    struct comm *comm; // coordinator and leaders; NULL: no other leader
    int groups, first; // first: rank in comm of group 0's leader, 1 when the coordinator is dedicated
    int depth;         // operations that have begun
    struct hand hand;  // of the own group, unless dedicated
    struct message out, in;
    char at[96];          // what is being worked at
    size_t *weight_bytes; // (groups) of each leader
    /* what the leaders' models hold */
    int room, room_rank;
    struct adapters set; // slots, learned, rank; slots 0: nothing
    uint64_t *version;   // (versions) in each place
    int versions;
};

/* Around every operation; crew_end passes rc on, and after a failure the operation stays begun. */
void crew_begin(struct crew *c);
int crew_end(struct crew *c, int rc);

/* Steps through the groups that are led by another rank: for (int g = -1; crew_next(c, &g);) */
bool crew_next(const struct crew *c, int *g);
/* c->out to the leader of group g, to all leaders; the next message of group g's leader into c->in (a failure that it tells of
 * becomes the error). */
int crew_tell(struct crew *c, int g);
int crew_tell_all(struct crew *c);
int crew_hear_leader(struct crew *c, int g, enum crew_word *w);

/* What leaders' models hold after they have reserved memory for such a set. */
void crew_expect_room(struct crew *c, int slots, int rank);
/* Increments that changed go to all leaders (the own model takes them by itself). */
int crew_load(struct crew *c, const struct adapters *set);

#endif
