/* watch_net.c - see watch_net.h. */
#include "mpi/watch_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/clock.h"

static const double PATIENCE = 5.0; // s, to be connected and welcomed

void net_close(struct net_link *l)
{
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
}

/* IPv4 as part of IPv6, so that one socket serves both. */
static struct sockaddr_in6 mapped(struct in_addr a, uint16_t port)
{
    struct sockaddr_in6 out = {.sin6_family = AF_INET6, .sin6_port = port};

    out.sin6_addr.s6_addr[10] = out.sin6_addr.s6_addr[11] = 0xff;
    memcpy(out.sin6_addr.s6_addr + 12, &a, 4);
    return out;
}

static void add_address(struct net_invitation *inv, const struct sockaddr *a, uint16_t port)
{
    struct sockaddr_in6 six;

    if (!a || inv->count == NET_ADDRESSES) return;
    if (a->sa_family == AF_INET)
        six = mapped(((const struct sockaddr_in *)a)->sin_addr, port);
    else if (a->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)a)->sin6_addr)) {
        six = *(const struct sockaddr_in6 *)a;
        six.sin6_port = port;
    } else
        return;
    inv->address[inv->count++] = six;
}

/* A socket that is bound to any address: both families, or IPv4 alone where there is no other. */
static int bound_socket(uint16_t *port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    socklen_t n = sizeof six, n4 = sizeof four;
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && !setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) &&
        !bind(fd, (struct sockaddr *)&six, sizeof six) && !getsockname(fd, (struct sockaddr *)&six, &n)) {
        *port = six.sin6_port;
        return fd;
    }
    if (fd >= 0) close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (bind(fd, (struct sockaddr *)&four, sizeof four) || getsockname(fd, (struct sockaddr *)&four, &n4)) {
        close(fd);
        return -1;
    }
    *port = four.sin_port;
    return fd;
}

int net_listen(struct net_invitation *inv, const char *host)
{
    struct ifaddrs *all = NULL;
    uint16_t port;
    int fd = bound_socket(&port);

    *inv = (struct net_invitation){0};
    strncpy(inv->host, host, sizeof inv->host - 1);
    if (fd < 0) return -1;
    if (listen(fd, 1024) || getrandom(inv->secret, NET_SECRET, 0) != NET_SECRET || getifaddrs(&all)) {
        close(fd);
        return -1;
    }
    for (struct ifaddrs *a = all; a; a = a->ifa_next) add_address(inv, a->ifa_addr, port);
    freeifaddrs(all);
    return fd;
}

static bool is_loopback(const struct sockaddr_in6 *a)
{
    return IN6_IS_ADDR_LOOPBACK(&a->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr) && a->sin6_addr.s6_addr[12] == 127);
}

/* Begins to connect; -1: impossible. IPv4 has a socket of its own: there may be no IPv6 at all. */
static int begin_connect(const struct sockaddr_in6 *a)
{
    bool four = IN6_IS_ADDR_V4MAPPED(&a->sin6_addr);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = a->sin6_port};
    int one = 1, rc, fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    memcpy(&in.sin_addr, a->sin6_addr.s6_addr + 12, 4);
    rc = four ? connect(fd, (struct sockaddr *)&in, sizeof in) : connect(fd, (const struct sockaddr *)a, sizeof *a);
    if (!rc || errno == EINPROGRESS) return fd;
    close(fd);
    return -1;
}

/* Whether who answers on a fresh connection knows the secret. */
static bool welcomed(struct net_link *l, const struct net_invitation *inv, int rank, double until)
{
    struct net_packet p = {.kind = NET_HELLO, .rank = rank};
    char text[NET_TEXT];
    int error = 0;
    socklen_t n = sizeof error;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n) || error) return false;
    memcpy(p.secret, inv->secret, NET_SECRET);
    if (!net_send(l, &p, NULL)) return false;
    while (!net_next(l, &p, text)) {
        double left = until - clock_seconds();
        if (left <= 0 || poll(&(struct pollfd){.fd = l->fd, .events = POLLIN}, 1, (int)(left * 1e3) + 1) < 0)
            return false;
        if (!net_fill(l)) return false;
    }
    return p.kind == NET_WELCOME && !memcmp(p.secret, inv->secret, NET_SECRET);
}

/* All addresses at once, since some may lead nowhere; the first that connects and knows the secret is taken. */
bool net_connect(struct net_link *l, const struct net_invitation *inv, int rank, const char *host)
{
    struct pollfd fds[NET_ADDRESSES];
    double until = clock_seconds() + PATIENCE;
    bool here = !strcmp(host, inv->host), found = false;
    int open = 0;

    for (int i = 0; i < inv->count; i++) {
        bool useful = here || !is_loopback(&inv->address[i]);
        fds[i] = (struct pollfd){.fd = useful ? begin_connect(&inv->address[i]) : -1, .events = POLLOUT};
        open += fds[i].fd >= 0;
    }
    while (open && !found) {
        int left = (int)((until - clock_seconds()) * 1e3);
        if (left <= 0 || poll(fds, (nfds_t)inv->count, left) < 0) break;
        for (int i = 0; i < inv->count && !found; i++) {
            if (fds[i].fd < 0 || !fds[i].revents) continue;
            *l = (struct net_link){.fd = fds[i].fd, .rank = -1, .since = clock_seconds()};
            found = welcomed(l, inv, rank, until);
            if (!found) net_close(l);
            fds[i].fd = -1, open--;
        }
    }
    for (int i = 0; i < inv->count; i++)
        if (fds[i].fd >= 0) close(fds[i].fd);
    return found;
}

bool net_send(struct net_link *l, const struct net_packet *p, const char *text)
{
    char out[sizeof *p + NET_TEXT];
    size_t n = text ? strnlen(text, NET_TEXT - 1) : 0;
    ssize_t sent;
    struct net_packet head = *p;

    if (l->fd < 0) return false;
    head.text_bytes = (uint32_t)n;
    memcpy(out, &head, sizeof head);
    if (n) memcpy(out + sizeof head, text, n);
    do sent = send(l->fd, out, sizeof head + n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) return errno == EAGAIN;
    return (size_t)sent == sizeof head + n; // a part of a packet would spoil what follows
}

bool net_fill(struct net_link *l)
{
    while (l->used < sizeof l->in) {
        ssize_t n = recv(l->fd, l->in + l->used, sizeof l->in - l->used, MSG_DONTWAIT);
        if (n > 0) l->used += (size_t)n;
        if (n == 0) return false;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN;
    }
    return true;
}

bool net_next(struct net_link *l, struct net_packet *p, char *text)
{
    size_t all;

    if (l->used < sizeof *p) return false;
    memcpy(p, l->in, sizeof *p);
    if (p->text_bytes >= NET_TEXT) p->text_bytes = NET_TEXT - 1;
    all = sizeof *p + p->text_bytes;
    if (l->used < all) return false;
    memcpy(text, l->in + sizeof *p, p->text_bytes);
    text[p->text_bytes] = 0;
    p->stage[NET_STAGE - 1] = p->collective[NET_NAME - 1] = 0;
    memmove(l->in, l->in + all, l->used - all);
    l->used -= all;
    return true;
}
