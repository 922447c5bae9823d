/* comm_internal.h - the inside of a communicator, for comm.c and the files of sums. */
#ifndef CLLAVA_MPI_COMM_INTERNAL_H
#define CLLAVA_MPI_COMM_INTERNAL_H

#include "mpi/comm.h"

/* Tags of what comm.c sends, of messages (message.c), of sums (sum.c: two for each of the next so many sums). */
enum { TAG_NOTHING, TAG_DATA, TAG_BLOCK, TAG_MESSAGE, TAG_SUM = 1024, TAG_SUMS = 1024 };

enum {
    PANEL_MOST = 1 << 28,
    PANEL = 1 << 15, // numbers of a panel, 128 KiB: with the shares of it they stay in the second cache
    FEW = 4096,      // up to so many numbers every rank adds up everything
    FEW_DOUBLES = 512,
    DEPTH = 8,         // panels of a sum on their way at the same time, through memory
    MESSAGE_DEPTH = 3, // as messages
    IN_FLIGHT = 2      // sums on their way at the same time
};

/* One panel on its way. */
struct panel {
    char *room;           // shares of other ranks; in front of them 16-bit copies of mine
    MPI_Request *request; // (4 * size) shares, then results
    int shares, results;  // requests in flight
};

struct comm_sum;
struct sum_memory;

/* How panels travel. */
struct sum_way {
    bool (*room)(struct comm_sum *s, int64_t i, bool wait); // panel i may be posted
    int (*post)(struct comm_sum *s, int64_t i);             // its numbers are on their way to who adds them up
    int (*shares)(struct comm_sum *s, int64_t i, bool wait, bool *here);
    int (*add)(struct comm_sum *s, int64_t i); // adds up, sends results on their way
    int (*results)(struct comm_sum *s, int64_t i, bool wait, bool *here);
    void (*close)(struct comm_sum *s, int64_t i);
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
    const struct sum_way *way;
    int64_t serial;                        // of the sums of c, from 1
    int64_t turn;                          // panels of earlier sums in this place, through memory
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
    struct sum_memory *memory; // of the ranks' host, for sums; NULL: there is none
    char *room;                // of all panels, for messages
    size_t room_each;
    const void **source;  // (size) whose numbers are added up, in order
    int64_t serial;       // of the last sum
    double *few;          // (size, FEW_DOUBLES), and whatever small each rank gives
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

/* Memory for the next sums of n numbers by messages. */
int sum_reserve(struct comm *c, int64_t n);
void sum_memory_free(struct sum_memory *m);

extern const struct sum_way sum_by_messages, sum_by_memory;

/* What rank r adds up of a panel of n numbers; numbers of panel i. */
void sum_owned(const struct comm_sum *s, int r, int64_t n, int64_t *first, int64_t *count);
int64_t sum_panel_numbers(const struct comm_sum *s, int64_t i);
/* out (n) := the sum of what stands in c->source, noting what is not finite. */
void sum_add(struct comm_sum *s, float *out, int sources, int64_t n);

#endif
