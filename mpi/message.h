/* message.h - a list of values that goes from rank to rank: written field by field, read in the same order.
 *
 * Control and small data (which step, which tokens, which coefficients) travel as messages; large arrays may be part of them.
 * Whoever waits for one sleeps between looks once it has waited for a while, so that idle ranks leave the processor to others.
 * Reading checks every length against what is there: a message of another program version is an error, not a crash.
 */
#ifndef CLLAVA_MPI_MESSAGE_H
#define CLLAVA_MPI_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mpi/comm.h"

struct message {
    char *data;
    size_t used, room, at; // bytes written, capacity, read so far
    bool failed;           // no memory while writing; or read beyond the end
    bool on_way;           // message_send_begin, not yet message_sent
    MPI_Request request;
};

void message_clear(struct message *m); // keeps the memory
void message_free(struct message *m);

void message_put_int(struct message *m, int64_t v);
void message_put_double(struct message *m, double v);
void message_put_bytes(struct message *m, const void *p, size_t n); // with its length
void message_put_text(struct message *m, const char *s);            // NULL stays NULL
int64_t message_int(struct message *m);
double message_double(struct message *m);
/* Bytes in place, aligned to 8; *n their number. Valid until the message is cleared. NULL with failed set when they are not
 * there, or are not a multiple of `each`. */
const void *message_bytes(struct message *m, size_t *n, size_t each);
/* Exactly n bytes into p; failed when the length differs. */
void message_copy(struct message *m, void *p, size_t n);
const char *message_text(struct message *m);
/* CL_EMPI when reading or writing failed at any point. */
int message_check(const struct message *m, const char *what);

/* Collective over the two; receive from -1: from anyone (*from may be NULL). */
int message_send(struct message *m, struct comm *c, int to);
int message_receive(struct message *m, struct comm *c, int from, int *who);
/* Sends without waiting for the receiver: m stays as it is until message_sent has said so (on_way is false then). Who sends
 * much to ranks that compute meanwhile must not stand and wait for each. Not collective. */
int message_send_begin(struct message *m, struct comm *c, int to);
int message_sent(struct message *m);
/* Whether something is left to be read. */
bool message_more(const struct message *m);
/* Whether one has arrived (from -1: from anyone). Not collective, does not wait. */
int message_waiting(struct comm *c, int from, bool *arrived);
/* Rank 0's message to all; it may be read there too. */
int message_broadcast(struct message *m, struct comm *c);

#endif
