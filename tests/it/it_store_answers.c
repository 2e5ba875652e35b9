/*
 * Goal: whatever a server that calls itself Redis answers, the store returns an error or a value that was checked; it never crashes, hangs
 * or believes it. Method: a server of this test's own answers each request with a seeded reply in Redis's protocol: wrong types, missing
 * and surplus elements, numbers out of range, texts that are nearly right, errors of all kinds, half a reply and then silence. Every call of
 * the store is made against it, under ASan. A failure prints its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib_services.h"
#include "tocsin/store.h"

#define SEEDS 200 /* about 6 s: half replies wait for their timeout */

static struct {
    int listener, port;
    pthread_t thread;
    atomic_bool stop;
    _Atomic uint64_t seed;
} server;

/* ---- the server ---------------------------------------------------------------------------- */

static uint64_t next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return tsn_hash64(state, sizeof *state);
}

static const char *const texts[] = {
    "OK", "OK", "OK", "FENCED", "MISSING", "BEHIND", "FULL", "NEWER", "DUPLICATE", "", "0", "7", "-1", "9223372036854775807", "1e3", "x",
    "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdeg", "0123456789012345678901234567890123456789", "inc-0123456789abcdef",
    "1 event last 10 -1 1700000000000 inc-0123456789abcdef 3 escalated 1700000000000\n{}", "{\"format\":1}", "{\"format\":2}", "master",
    "1 tombstone last 0 0 0 inc-1 1 - 0\n", "a name of an incident that is far longer than forty bytes may be",
};
static const char *const errors[] = { "ERR unknown", "NOSCRIPT No matching script", "OOM command not allowed", "WRONGTYPE bad", "LOADING wait",
                                      "READONLY no", "NOAUTH no", "\xff\xfe", "",
                                      "ERR a very long one that is cut at three hundred bytes, and in the middle of a character if one were to count "
                                      "bytes alone: \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                                      "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                                      "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                                      "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                                      "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4" };

static void put_reply(struct tsn_buf *out, uint64_t *state, int depth)
{
    uint64_t pick = next(state) % 16;

    if (pick < 6 && depth < 3) {
        size_t n = next(state) % 10;

        tsn_buf_printf(out, "*%zu\r\n", n);
        /* Most of what the store reads begins with a word. */
        for (size_t i = 0; i < n; i++) {
            if (i == 0 && next(state) % 2)
                tsn_buf_puts(out, "$2\r\nOK\r\n");
            else
                put_reply(out, state, depth + 1);
        }
    } else if (pick < 11) {
        const char *text = texts[next(state) % TSN_ARRAY_LEN(texts)];

        tsn_buf_printf(out, "$%zu\r\n%s\r\n", strlen(text), text);
    } else if (pick == 11) {
        tsn_buf_printf(out, ":%lld\r\n", (long long)next(state));
    } else if (pick == 12) {
        tsn_buf_puts(out, next(state) % 2 ? "$-1\r\n" : "*-1\r\n");
    } else if (pick == 13) {
        tsn_buf_printf(out, "-%s\r\n", errors[next(state) % TSN_ARRAY_LEN(errors)]);
    } else if (pick == 14) {
        tsn_buf_puts(out, "+OK\r\n");
    } else {
        tsn_buf_printf(out, ":%d\r\n", (int)(next(state) % 5));
    }
}

/* Requests are arrays: a star at the beginning of a line that is not inside a text of ours. One reply each is near enough. */
static void serve(int fd)
{
    uint64_t state = server.seed;
    char request[65536];

    while (!server.stop) {
        struct pollfd ready = { fd, POLLIN, 0 };
        struct tsn_buf out = TSN_BUF_INIT;
        ssize_t len;

        if (poll(&ready, 1, 20) == 0)
            continue;
        len = recv(fd, request, sizeof request, 0);
        if (len <= 0)
            return;
        for (ssize_t i = 0; i < len; i++)
            if (request[i] == '*' && (i == 0 || request[i - 1] == '\n'))
                put_reply(&out, &state, 0);
        if (out.len && next(&state) % 40 == 0)
            out.len = next(&state) % out.len; /* half of it, and then nothing */
        if (next(&state) % 60 == 0)
            tsn_buf_puts(&out, "?what\r\n");
        if (send(fd, tsn_buf_str(&out), out.len, MSG_NOSIGNAL) < 0 || next(&state) % 60 == 0) {
            tsn_buf_release(&out);
            return;
        }
        tsn_buf_release(&out);
    }
}

static void *server_main(void *arg)
{
    TSN_UNUSED(arg);
    while (!server.stop) {
        struct pollfd ready = { server.listener, POLLIN, 0 };
        int fd;

        if (poll(&ready, 1, 20) == 0)
            continue;
        fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            continue;
        serve(fd);
        close(fd);
    }
    return NULL;
}

static int server_start(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;

    TSN_UNUSED(state);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server.listener < 0 || bind(server.listener, (struct sockaddr *)&at, sizeof at) || listen(server.listener, 16) ||
        getsockname(server.listener, (struct sockaddr *)&at, &len))
        return -1;
    server.port = ntohs(at.sin_port);
    return pthread_create(&server.thread, NULL, server_main, NULL);
}

static int server_stop(void **state)
{
    TSN_UNUSED(state);
    server.stop = true;
    pthread_join(server.thread, NULL);
    return close(server.listener);
}

/* ---- the store ----------------------------------------------------------------------------- */

static bool see_entry(void *arg, int64_t cursor, const struct tsn_outbox_entry *entry)
{
    TSN_UNUSED(cursor);
    *(size_t *)arg += entry->len + strlen(entry->incident_id);
    return true;
}

static bool see_page(void *arg, const struct tsn_page *page)
{
    *(size_t *)arg += strlen(page->dedup_key);
    return true;
}

static bool see_incident(void *arg, const struct tsn_respond_incident *in)
{
    *(size_t *)arg += strlen(in->pub.incident_id);
    return true;
}

static bool no_more(void *arg, struct tsn_respond_incident *in)
{
    TSN_UNUSED(arg);
    TSN_UNUSED(in);
    return false;
}

/* The n-th of the store's calls. Whatever it returns is right, as long as it returns. */
static void call(struct tsn_store *s, struct tsn_respond *core, int which)
{
    struct tsn_store_input input = { .kind = TSN_STORE_TICK };
    struct tsn_effects none = { NULL, 0, 0 };
    struct tsn_respond_mark mark;
    struct tsn_respond_incident in;
    struct tsn_respond_answer answer;
    struct tsn_error error = { 0 };
    int64_t clock;
    size_t seen = 0;

    switch (which) {
    case 0: (void)tsn_store_takeover(s, NULL, core, &error); break;
    case 1: (void)tsn_store_rebuild(s, NULL, no_more, NULL, &error); break;
    case 2: (void)tsn_store_apply(s, &input, &none, &error); break;
    case 3: (void)tsn_store_outbox(s, tsn_store_trimmed(s), 10, see_entry, &seen, &error); break;
    case 4: (void)tsn_store_trim(s, tsn_store_mark(s).cursor, &error); break;
    case 5: (void)tsn_store_pages(s, 10, see_page, &seen, NULL, &error); break;
    case 6: (void)tsn_store_list(s, see_incident, &seen, &error); break;
    case 7: (void)tsn_store_look(s, &mark, &error); break;
    case 8:
        if (tsn_store_incident(s, "inc-0123456789abcdef", &in, &error) == TSN_OK)
            tsn_respond_incident_release(&in);
        break;
    case 9:
        if (tsn_store_answer(s, "c", &answer, &error) == TSN_OK)
            tsn_respond_answer_release(&answer);
        break;
    default:
        if (tsn_store_clock(s, &clock, &error) == TSN_OK && (clock < 0 || clock > INT64_C(253402300799999)))
            fail_msg("seed %llu: it believes the time %lld", (unsigned long long)server.seed, (long long)clock);
    }
    if (strlen(error.message) && !tsn_utf8_valid(error.message, strlen(error.message)))
        fail_msg("seed %llu: a message that cannot be printed", (unsigned long long)server.seed);
}

static void test_any_answer(void **state)
{
    struct tsn_policy policy;
    struct tsn_config config;
    struct tsn_buf url = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    tsn_policy_init_default(&policy);
    tsn_config_init(&config);
    tsn_buf_printf(&url, "redis://127.0.0.1:%d/0", server.port);
    tsn_free(config.redis.url);
    config.redis.url = tsn_buf_take(&url, NULL);
    config.redis.command_timeout_ms = 30; /* half replies end in a timeout */
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct tsn_store *s = tsn_store_new(&config, &error);
        struct tsn_respond *core = tsn_respond_new(&policy, NULL);
        uint64_t choice = seed;

        server.seed = seed;
        assert_non_null(s);
        for (int i = 0; i < 12; i++) {
            if (tsn_store_connect(s, &error) != TSN_OK)
                break;
            call(s, core, (int)(next(&choice) % 11));
        }
        tsn_respond_free(&core);
        tsn_store_free(&s);
    }
    tsn_config_release(&config);
    tsn_policy_release(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_any_answer) };

    return cmocka_run_group_tests(tests, server_start, server_stop);
}
