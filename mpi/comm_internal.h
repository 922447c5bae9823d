/* comm_internal.h - the inside of a communicator, for comm.c and sum.c. */
#ifndef CLLAVA_MPI_COMM_INTERNAL_H
#define CLLAVA_MPI_COMM_INTERNAL_H

#include "mpi/comm.h"

/* Tags of what comm.c sends, of messages (message.c), of sums (sum.c: two for each of the next so many sums). */
enum { TAG_DATA = 1, TAG_BLOCK = 2, TAG_MESSAGE = 3, TAG_SUM = 1024, TAG_SUMS = 1024 };

enum {
    PANEL_MOST = 1 << 28,
    PANEL = 1 << 15, // numbers of a panel, 128 KiB: with the shares of it they stay in the second cache
    FEW = 4096,      // up to so many numbers every rank adds up everything
    FEW_DOUBLES = 512,
    DEPTH = 3,    // panels on their way at the same time
    IN_FLIGHT = 2 // sums on their way at the same time
};

/* One panel on its way. */
struct panel {
    char *room;           // shares of other ranks; in front of them 16-bit copies of mine
    MPI_Request *request; // (4 * size) shares, then results
    int shares, results;  // requests in flight
};

struct comm_sum {
    struct comm *c; // NULL: this one is free
    const char *name;
    float *x;
    int64_t n;
    enum dtype wire;
    enum { BY_ALL, BY_ROOT, BY_PARTS } added_by; // who adds up what
    int least;                                   // ranks below contribute nothing
    bool to_root;
    int64_t serial;                        // of the sums of c, from 1
    int64_t panels, posted, added, closed; // panels 0 .. closed - 1 are done
    struct panel panel[DEPTH];
};

struct comm {
    MPI_Comm mpi;
    int rank, size;
    char name[16];
    int64_t panel;
    size_t longest; // bytes of one MPI call
    struct comm_sum sum[IN_FLIGHT];
    char *room; // of all their panels
    size_t room_each;
    const void **source;  // (size) whose numbers are added up, in order
    int64_t serial;       // of the last sum
    double *few;          // (size, FEW_DOUBLES)
    MPI_Request *request; // (2 * size) of gathers, then of each panel
    struct comm_counts counts;
    int odd_rank; // first contribution that was not finite
    int64_t odd_serial;
    char odd_what[32];
};

static const size_t LONGEST = (size_t)1 << 30; // bytes of one MPI call

static inline bool comm_alone(const struct comm *c)
{
    return !c || c->size == 1;
}

/* Memory for the next sums of n numbers. */
int sum_reserve(struct comm *c, int64_t n);

#endif
