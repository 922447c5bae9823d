/* watch_net.h - the watchdog's wires: TCP connections between threads of the ranks, over which packets go.
 *
 * One rank listens on a port of its own and sends the others an invitation (over MPI): its addresses and a secret. Who connects
 * shows the secret and is answered with it, so that neither side talks to a stranger. Nothing here waits, but net_connect.
 */
#ifndef CLLAVA_MPI_WATCH_NET_H
#define CLLAVA_MPI_WATCH_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum net_kind {
    NET_HELLO = 1, // a rank, with the secret, to the one that listens
    NET_WELCOME,   // the answer, with the secret
    NET_STATE,     // where a rank stands
    NET_FAIL,      // a rank cannot go on: status, text
    NET_STOP,      // a wish to stop: status is the signal
    NET_LEAVE,     // end now, with that status
    NET_BYE        // the connection will be closed: nothing is wrong
};

enum { NET_ADDRESSES = 16, NET_SECRET = 16, NET_STAGE = 96, NET_NAME = 32, NET_TEXT = 1024 };

struct net_packet {
    uint32_t kind; // enum net_kind
    int32_t rank, status;
    uint32_t text_bytes; // NET_FAIL: behind the packet
    int64_t progress;    // counts what the rank has begun
    double age;          // seconds since it last counted
    char secret[NET_SECRET];
    char stage[NET_STAGE], collective[NET_NAME];
};

struct net_invitation {
    char secret[NET_SECRET];
    char host[64];
    int32_t count;
    struct sockaddr_in6 address[NET_ADDRESSES]; // IPv4 ones as mapped addresses; with the port
};

/* One end of a connection. */
struct net_link {
    int fd;       // -1: none
    int rank;     // of the other end; -1: not known yet
    double since; // when it was made
    bool bye;     // the other end has said so, or been told to leave
    size_t used;  // bytes in `in`
    char in[sizeof(struct net_packet) + NET_TEXT];
};

/* Listens on a free port and fills the invitation. Gives the descriptor, or -1 with errno. */
int net_listen(struct net_invitation *inv, const char *host);
/* Connects to whoever sent it, from `rank` on `host`; false: none of its addresses answers. Waits, 5 s at most. */
bool net_connect(struct net_link *l, const struct net_invitation *inv, int rank, const char *host);
void net_close(struct net_link *l);
/* False when the other end is gone. A packet that finds no room is dropped. */
bool net_send(struct net_link *l, const struct net_packet *p, const char *text);
/* Takes in what has arrived; false when the connection is broken or closed. */
bool net_fill(struct net_link *l);
/* The next whole packet of what was taken in; text (NET_TEXT) gets what stands behind it. */
bool net_next(struct net_link *l, struct net_packet *p, char *text);

#endif
