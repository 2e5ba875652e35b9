/*
 * http: see tocsin/http.h.
 *
 * Concurrency: libmicrohttpd's one internal thread owns every connection and runs the handlers; tsn_http_start and
 * tsn_http_stop belong to the caller's thread. Nothing is shared but the routes, which never change.
 */
#include "tocsin/http.h"
#include "tocsin/config.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_CONNECTIONS = 128, SILENCE_S = 10, CONNECTION_BYTES = 32768 };

struct tsn_http {
    struct MHD_Daemon *daemon;
    struct tsn_http_route *routes;
    size_t route_count;
    char *token;
    int port;
};

/* What is kept between the calls of one request. */
struct exchange {
    struct tsn_buf body;
    bool too_long;
};

const char *tsn_http_query(const struct tsn_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->handle, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- routing ------------------------------------------------------------------------------ */

static bool path_fits(const char *route, const char *path)
{
    size_t len = strlen(route);

    return len && route[len - 1] == '*' ? strncmp(route, path, len - 1) == 0 : strcmp(route, path) == 0;
}

static bool method_fits(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* NULL with *status 404, or 405 and the methods that would do in *allow. */
static const struct tsn_http_route *find_route(const struct tsn_http *http, const char *method, const char *path, int *status,
                                               struct tsn_buf *allow)
{
    *status = MHD_HTTP_NOT_FOUND;
    for (size_t i = 0; i < http->route_count; i++) {
        if (!path_fits(http->routes[i].path, path))
            continue;
        if (method_fits(http->routes[i].method, method))
            return &http->routes[i];
        *status = MHD_HTTP_METHOD_NOT_ALLOWED;
        tsn_buf_printf(allow, "%s%s", allow->len ? ", " : "", http->routes[i].method);
    }
    return NULL;
}

/* In time that depends on the length alone. */
static bool same_secret(const char *a, const char *b)
{
    size_t len_a = strlen(a), len_b = strlen(b);
    unsigned difference = len_a != len_b;

    for (size_t i = 0; i < len_a; i++)
        difference |= (unsigned)(unsigned char)a[i] ^ (unsigned)(unsigned char)b[len_b ? i % len_b : 0];
    return difference == 0;
}

/* 0: let in; else the status to answer. */
static int refuse(const struct tsn_http *http, const struct tsn_http_route *route, struct MHD_Connection *connection)
{
    static const char bearer[] = "Bearer ";
    const char *given;

    if (route->open)
        return 0;
    if (!*http->token)
        return MHD_HTTP_FORBIDDEN;
    given = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (!given || strncmp(given, bearer, sizeof bearer - 1) != 0 || !same_secret(given + sizeof bearer - 1, http->token))
        return MHD_HTTP_UNAUTHORIZED;
    return 0;
}

/* ---- answering ---------------------------------------------------------------------------- */

static enum MHD_Result send_response(struct MHD_Connection *connection, int status, const char *type, struct tsn_buf *body, const char *allow)
{
    struct MHD_Response *response;
    enum MHD_Result result;

    tsn_buf_reserve(body, 1); /* data is never NULL */
    response = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type ? type : "text/plain; charset=utf-8");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (allow && *allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static void say_status(struct tsn_buf *body, int status)
{
    switch (status) {
    case MHD_HTTP_FORBIDDEN: tsn_buf_puts(body, "403: http.token is not configured, so only metrics and health answer\n"); return;
    case MHD_HTTP_UNAUTHORIZED: tsn_buf_puts(body, "401: Authorization: Bearer <http.token>\n"); return;
    case MHD_HTTP_NOT_FOUND: tsn_buf_puts(body, "404: no such path\n"); return;
    case MHD_HTTP_METHOD_NOT_ALLOWED: tsn_buf_puts(body, "405: not with this method\n"); return;
    default: tsn_buf_printf(body, "%d: the body is longer than %d bytes\n", status, TSN_HTTP_BODY_BYTES); return;
    }
}

static enum MHD_Result answer(struct tsn_http *http, struct MHD_Connection *connection, struct exchange *exchange, const char *path,
                              const char *method)
{
    struct tsn_http_response response = { .status = MHD_HTTP_OK };
    struct tsn_http_request request = { method, path, tsn_buf_str(&exchange->body), exchange->body.len, connection };
    struct tsn_buf allow = TSN_BUF_INIT;
    const struct tsn_http_route *route = find_route(http, method, path, &response.status, &allow);
    enum MHD_Result result;
    int refused = route ? refuse(http, route, connection) : 0;

    if (route && !refused && !exchange->too_long) {
        response.status = MHD_HTTP_OK;
        route->handle(route->arg, &request, &response);
    } else {
        response.status = !route ? response.status : refused ? refused : MHD_HTTP_CONTENT_TOO_LARGE;
        say_status(&response.body, response.status);
    }
    result = send_response(connection, response.status, response.content_type, &response.body, tsn_buf_str(&allow));
    tsn_buf_release(&response.body);
    tsn_buf_release(&allow);
    return result;
}

/* libmicrohttpd calls this once with the head, then with pieces of the body, then with none. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *data, size_t *data_len, void **state)
{
    struct exchange *exchange = *state;

    TSN_UNUSED(version);
    if (!exchange) {
        *state = tsn_calloc(1, sizeof *exchange);
        return MHD_YES;
    }
    if (*data_len) {
        if (exchange->body.len + *data_len > TSN_HTTP_BODY_BYTES)
            exchange->too_long = true; /* read and thrown away, so that the answer is heard */
        else
            tsn_buf_append(&exchange->body, data, *data_len);
        *data_len = 0;
        return MHD_YES;
    }
    return answer(arg, connection, exchange, url, method);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;

    TSN_UNUSED(arg);
    TSN_UNUSED(connection);
    TSN_UNUSED(code);
    if (exchange)
        tsn_buf_release(&exchange->body);
    tsn_free(exchange);
    *state = NULL;
}

/* ---- life --------------------------------------------------------------------------------- */

static void on_log(void *arg, const char *fmt, va_list args) TSN_PRINTF(2, 0);
static void on_log(void *arg, const char *fmt, va_list args)
{
    char text[300];
    size_t len;

    TSN_UNUSED(arg);
    vsnprintf(text, sizeof text, fmt, args);
    len = strcspn(text, "\n");
    text[len] = '\0';
    tsn_log(TSN_LOG_DEBUG, "http", "libmicrohttpd", "text=\"%s\"", text);
}

static enum tsn_err resolve(const char *listen, struct sockaddr_storage *at, struct tsn_error *error)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char host[256], service[16];
    int port, code;

    if (!tsn_config_listen(listen, host, &port))
        return tsn_error_set(error, TSN_ERR_INVALID, "http.listen: '%s' is not host:port", listen);
    snprintf(service, sizeof service, "%d", port);
    code = getaddrinfo(*host ? host : NULL, service, &hints, &found);
    if (code)
        return tsn_error_set(error, TSN_ERR_INVALID, "http.listen: %s: %s", listen, gai_strerror(code));
    memset(at, 0, sizeof *at);
    memcpy(at, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return TSN_OK;
}

struct tsn_http *tsn_http_start(const struct tsn_http_options *options, struct tsn_error *error)
{
    struct sockaddr_storage at;
    const union MHD_DaemonInfo *info;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_USE_ERROR_LOG;
    struct tsn_http *http;

    if (resolve(options->listen, &at, error))
        return NULL;
    http = tsn_calloc(1, sizeof *http);
    http->token = tsn_strdup(options->token ? options->token : "");
    http->routes = tsn_memdup(options->routes, options->route_count * sizeof *options->routes);
    http->route_count = options->route_count;
    http->daemon = MHD_start_daemon(flags | (at.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0), 0, NULL, NULL, on_request, http,
                                    MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at,
                                    MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
                                    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                    (size_t)CONNECTION_BYTES, MHD_OPTION_END);
    if (!http->daemon) {
        tsn_error_set(error, TSN_ERR_IO, "http.listen: cannot listen on %s: taken already, or not allowed", options->listen);
        tsn_http_stop(&http);
        return NULL;
    }
    info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    http->port = info ? info->port : 0;
    return http;
}

int tsn_http_port(const struct tsn_http *http) { return http->port; }

void tsn_http_stop(struct tsn_http **http)
{
    if (!*http)
        return;
    if ((*http)->daemon)
        MHD_stop_daemon((*http)->daemon);
    tsn_free((*http)->routes);
    tsn_free((*http)->token);
    tsn_free(*http);
    *http = NULL;
}
