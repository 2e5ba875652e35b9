/*
 * Goal: whatever is sent to http.listen, the server lives, answers in HTTP or closes, and lets nobody past the token.
 * Method: one server for all inputs; each input is a connection of its own that sends the bytes, closes its sending half and reads to
 * the end. A handler behind the token may run only if the bytes hold it; bodies and queries stay within what the header promises.
 */
#include "tocsin/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKEN "s3cret"

static struct tsn_http *server;
static atomic_int closed_calls, open_calls;

static void take(const struct tsn_http_request *request, struct tsn_http_response *response)
{
    const char *wait = tsn_http_query(request, "wait");

    TSN_ASSERT(request->body_len <= TSN_HTTP_BODY_BYTES && request->body[request->body_len] == '\0' && *request->path == '/');
    tsn_buf_printf(&response->body, "%s %zu %zu\n", request->method, strlen(request->path), wait ? strlen(wait) : 0);
}

static void on_open(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    TSN_UNUSED(arg);
    atomic_fetch_add(&open_calls, 1);
    take(request, response);
}

static void on_closed(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    TSN_UNUSED(arg);
    atomic_fetch_add(&closed_calls, 1);
    take(request, response);
}

static void set_up(void)
{
    static const struct tsn_http_route routes[] = {
        { "GET", "/metrics", true, on_open, NULL },
        { "GET", "/healthz", true, on_open, NULL },
        { "GET", "/incidents*", false, on_closed, NULL },
        { "POST", "/incidents*", false, on_closed, NULL },
    };
    struct tsn_http_options options = { "127.0.0.1:0", TOKEN, routes, TSN_ARRAY_LEN(routes) };

    tsn_log_level_set(TSN_LOG_ERROR);
    server = tsn_http_start(&options, NULL);
    TSN_ASSERT(server);
}

/* Reads what comes until the other side closes; true if it begins as HTTP does, or nothing came. */
static bool read_answer(int fd)
{
    char head[5] = "", rest[65536];
    size_t got = 0;
    ssize_t n;

    while ((n = recv(fd, rest, sizeof rest, 0)) > 0) {
        for (ssize_t i = 0; i < n && got < sizeof head - 1; i++)
            head[got++] = rest[i];
    }
    return !got || memcmp(head, "HTTP", got) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 5 }; /* an answer that never ends is a failure, too */
    int fd, before;

    if (!server)
        set_up();
    before = atomic_load(&closed_calls);
    at.sin_port = htons((uint16_t)tsn_http_port(server));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TSN_ASSERT(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) &&
               !connect(fd, (struct sockaddr *)&at, sizeof at));
    (void)!send(fd, data, size, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    TSN_ASSERT(read_answer(fd));
    close(fd);
    TSN_ASSERT(atomic_load(&closed_calls) == before || memmem(data, size, TOKEN, strlen(TOKEN)));
    return 0;
}
