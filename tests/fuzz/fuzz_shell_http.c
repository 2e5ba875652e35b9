/*
 * Goal: whatever is sent to http.listen, the server lives, answers in HTTP or closes, and lets nobody past the token.
 * Method: one server for all inputs; each input is a connection of its own that sends the bytes, closes its sending half and reads to
 * the end, or until nothing comes any more (the server keeps a connection that did not ask for its end). After every hundred a plain
 * request must be answered. No input knows the token, so no handler behind it may ever run; bodies and queries stay within what the header
 * promises.
 */
#include "tocsin/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKEN "9f86d081884c7d65"
enum { SILENCE_MS = 4, PLAIN_MS = 20000 }; /* the second only says how long a machine under load may take */

static struct tsn_http *server;

static void on_open(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    const char *wait = tsn_http_query(request, "wait");

    TSN_UNUSED(arg);
    TSN_ASSERT(request->body_len <= TSN_HTTP_BODY_BYTES && request->body[request->body_len] == '\0' && *request->path == '/');
    tsn_buf_printf(&response->body, "%s %zu %zu\n", request->method, strlen(request->path), wait ? strlen(wait) : 0);
}

static void on_closed(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    TSN_UNUSED(arg);
    TSN_UNUSED(response);
    TSN_ASSERT(!request->path);
}

static void set_up(void)
{
    static const struct tsn_http_route routes[] = {
        { "GET", "/metrics", true, on_open, NULL },
        { "GET", "/healthz", true, on_open, NULL },
        { "POST", "/open*", true, on_open, NULL },
        { "GET", "/incidents*", false, on_closed, NULL },
        { "POST", "/incidents*", false, on_closed, NULL },
    };
    struct tsn_http_options options = { "127.0.0.1:0", TOKEN, routes, TSN_ARRAY_LEN(routes) };

    tsn_log_level_set(TSN_LOG_ERROR);
    server = tsn_http_start(&options, NULL);
    TSN_ASSERT(server);
}

/* One connection. True if what comes back begins with `expected`, as far as it goes; *got says whether anything came. */
static bool exchange(const void *data, size_t size, int patience_ms, const char *expected, bool *got)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000 };
    struct linger reset = { .l_onoff = 1 }; /* the server forgets the connection at once, whatever it still waits for */
    char head[32], rest[65536];
    size_t len = 0;
    ssize_t n;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_port = htons((uint16_t)tsn_http_port(server));
    TSN_ASSERT(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) &&
               !setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) && !connect(fd, (struct sockaddr *)&at, sizeof at));
    (void)!send(fd, data, size, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while ((n = recv(fd, rest, sizeof rest, 0)) > 0)
        for (ssize_t i = 0; i < n && len < sizeof head; i++)
            head[len++] = rest[i];
    close(fd);
    *got = len > 0;
    return memcmp(head, expected, len < strlen(expected) ? len : strlen(expected)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char plain[] = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    static int inputs;
    bool got;

    if (!server)
        set_up();
    TSN_ASSERT(exchange(data, size, SILENCE_MS, "HTTP", &got));
    if (inputs++ % 100 == 0)
        TSN_ASSERT(exchange(plain, sizeof plain - 1, PLAIN_MS, "HTTP/1.1 200", &got) && got);
    return 0;
}
