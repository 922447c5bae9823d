/* watch_internal.h - what the watchdog's thread and the rank itself share. */
#ifndef CLLAVA_MPI_WATCH_INTERNAL_H
#define CLLAVA_MPI_WATCH_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "mpi/watch_judge.h"
#include "mpi/watch_net.h"

struct watch {
    bool on;
    int rank, size;
    pthread_t thread;
    int wake[2];                // a pipe: the thread looks up
    atomic_bool waking, ending; // a byte is in the pipe; an orderly end
    atomic_flag spoken;         // the one message is out, or will be by whoever set this

    _Atomic(const char *) collective;
    atomic_llong progress;
    atomic_llong limit; // ms
    atomic_int tensor, dedicated;
    atomic_int leave;     // the rank wants the job to end with this status; -1: it does not
    pthread_mutex_t lock; // of the four below
    char stage[NET_STAGE];
    bool failed; // the rank has failed
    int fail_status;
    char fail_text[NET_TEXT];

    struct net_link up[2]; // to rank 0, to rank 1 (fd -1: this is it, or it does not listen)
    int listener;          // ranks 0 and 1; else -1
    struct net_invitation invitation;
    struct net_link *down; // (links) of who has connected to this rank
    int links;
};

extern struct watch watch;
extern volatile sig_atomic_t watch_signal; // rank 0 has got this one, and nothing else handles it

void *watch_thread(void *unused);
/* "cllava: error: TEXT" on stderr, the first time of all. */
void watch_say(const char *text);

#endif
