/* test_watch_net.c - the watchdog's wires: who knows the secret is welcomed, packets arrive whole, a broken end is noticed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mpi/watch_net.h"

static struct net_invitation inv;
static int listener;
static struct net_link near, far; // the end that connected, the end that listened

static struct net_packet next_packet(struct net_link *l, char *text)
{
    struct net_packet p = {0};

    for (int i = 0; i < 500 && !net_next(l, &p, text); i++) {
        poll(&(struct pollfd){.fd = l->fd, .events = POLLIN}, 1, 10);
        net_fill(l);
    }
    return p;
}

/* Takes connections until one shows the secret of the invitation, and answers that one. */
static void *welcome(void *secret)
{
    char text[NET_TEXT];

    for (;;) {
        poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 5000);
        far = (struct net_link){.fd = accept(listener, NULL, NULL), .rank = -1};
        if (far.fd < 0) return NULL;
        struct net_packet p = next_packet(&far, text), answer = {.kind = NET_WELCOME};
        if (p.kind == NET_HELLO) {
            memcpy(answer.secret, secret, NET_SECRET);
            net_send(&far, &answer, NULL);
            far.rank = p.rank;
            return NULL;
        }
        net_close(&far);
    }
}

static bool connect_with(char *secret, const char *host)
{
    pthread_t thread;
    bool ok;

    near = (struct net_link){.fd = -1};
    assert_int_equal(pthread_create(&thread, NULL, welcome, secret), 0);
    ok = net_connect(&near, &inv, 7, host);
    pthread_join(thread, NULL);
    return ok;
}

static int begin(void **state)
{
    (void)state;
    listener = net_listen(&inv, "here");
    return listener < 0;
}

static int end(void **state)
{
    (void)state;
    net_close(&near), net_close(&far);
    close(listener);
    return 0;
}

static void connects(void **state)
{
    (void)state;
    assert_true(inv.count > 0);
    assert_true(connect_with(inv.secret, "here"));
    assert_int_equal(far.rank, 7);
}

/* Who answers without the secret is not who sent the invitation. */
static void wrong_secret(void **state)
{
    char other[NET_SECRET] = "another";

    (void)state;
    inv.count = 1;
    assert_false(connect_with(other, "here"));
    assert_int_equal(near.fd, -1);
}

static void nobody(void **state)
{
    (void)state;
    close(listener);
    assert_false(net_connect(&near, &inv, 1, "here"));
    inv.count = 0;
    assert_false(net_connect(&near, &inv, 1, "here"));
    listener = dup(0);
}

static void packets(void **state)
{
    struct net_packet p = {.kind = NET_STATE, .rank = 7, .progress = 12345678901, .age = 0.25};
    char text[NET_TEXT], much[NET_TEXT * 2];

    (void)state;
    assert_true(connect_with(inv.secret, "here"));
    memset(much, 'm', sizeof much);
    much[sizeof much - 1] = 0;
    strcpy(p.stage, "step 17");
    for (int i = 0; i < 50; i++) { // several wait at once
        assert_true(net_send(&near, &p, i % 2 ? "text" : NULL));
        assert_true(net_send(&near, &(struct net_packet){.kind = NET_FAIL, .status = i}, much));
    }
    for (int i = 0; i < 50; i++) {
        p = next_packet(&far, text);
        assert_int_equal(p.kind, NET_STATE);
        assert_true(p.progress == 12345678901 && p.age == 0.25);
        assert_string_equal(p.stage, "step 17");
        assert_string_equal(text, i % 2 ? "text" : "");
        p = next_packet(&far, text);
        assert_int_equal(p.status, i);
        assert_int_equal(strlen(text), NET_TEXT - 1); // cut
    }
}

/* Bytes in small pieces, and garbage: read without harm. */
static void pieces(void **state)
{
    struct net_packet p = {.kind = NET_BYE, .rank = 3}, got;
    char text[NET_TEXT], garbage[5000];

    (void)state;
    assert_true(connect_with(inv.secret, "here"));
    for (size_t i = 0; i < sizeof p; i++) {
        assert_int_equal(send(near.fd, (char *)&p + i, 1, 0), 1);
        poll(&(struct pollfd){.fd = far.fd, .events = POLLIN}, 1, 1000);
        assert_true(net_fill(&far));
        assert_true(net_next(&far, &got, text) == (i == sizeof p - 1));
    }
    assert_int_equal(got.rank, 3);
    memset(garbage, 0xff, sizeof garbage);
    assert_int_equal(send(near.fd, garbage, sizeof garbage, 0), sizeof garbage);
    for (int i = 0; i < 20; i++) {
        poll(&(struct pollfd){.fd = far.fd, .events = POLLIN}, 1, 10);
        net_fill(&far);
        while (net_next(&far, &got, text)) assert_true(strlen(got.stage) < NET_STAGE);
    }
}

static void broken(void **state)
{
    (void)state;
    assert_true(connect_with(inv.secret, "here"));
    assert_true(net_fill(&far));
    net_close(&near);
    poll(&(struct pollfd){.fd = far.fd, .events = POLLIN}, 1, 5000);
    assert_false(net_fill(&far));
    assert_false(net_send(&near, &(struct net_packet){.kind = NET_BYE}, NULL)); // closed here
}

int main(void)
{
    const struct CMUnitTest net[] = {
        cmocka_unit_test_setup_teardown(connects, begin, end),
        cmocka_unit_test_setup_teardown(wrong_secret, begin, end),
        cmocka_unit_test_setup_teardown(nobody, begin, end),
        cmocka_unit_test_setup_teardown(packets, begin, end),
        cmocka_unit_test_setup_teardown(pieces, begin, end),
        cmocka_unit_test_setup_teardown(broken, begin, end),
    };

    return cmocka_run_group_tests(net, NULL, NULL);
}
