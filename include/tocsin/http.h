/*
 * http: a small HTTP server for /metrics, health and the API (L5), over libmicrohttpd.
 *
 * Routes come from the caller: method, path, handler. One thread of the server's own runs every handler, so a handler
 * must not wait; it may be called until tsn_http_stop returns. Open routes answer everybody; the others want
 * `Authorization: Bearer <token>` and, if no token is configured, are refused altogether.
 *
 * Limits: 128 connections, 10 s of silence, 64 KiB of request body (413), paths as written (no decoding, no
 * dots resolved: a route matches byte for byte, or by prefix if it ends in an asterisk). Nothing is cached by clients (no-store).
 */
#ifndef TOCSIN_HTTP_H
#define TOCSIN_HTTP_H

#include "tocsin/base.h"

#define TSN_HTTP_BODY_BYTES 65536

struct tsn_http_request {
    const char *method, *path; /* borrowed; path without the query */
    const char *body;          /* "" if none; NUL-terminated */
    size_t body_len;
    void *handle; /* internal */
};
/* Value of a query parameter, decoded; NULL if absent. Borrowed for the call. */
const char *tsn_http_query(const struct tsn_http_request *request, const char *name);

struct tsn_http_response {
    int status;               /* 200 unless set */
    const char *content_type; /* static; text/plain in UTF-8 unless set */
    struct tsn_buf body;
};

struct tsn_http_route {
    const char *method, *path; /* GET answers HEAD, too */
    bool open;
    void (*handle)(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response);
    void *arg;
};

struct tsn_http;
struct tsn_http_options {
    const char *listen; /* host:port, as http.listen; port 0: a free one */
    const char *token;  /* "": none */
    const struct tsn_http_route *routes; /* copied; texts borrowed for the server's life */
    size_t route_count;
};
/* Binds and serves. INVALID: listen is not host:port or the host has no address · IO: the port is taken, or not ours. */
struct tsn_http *tsn_http_start(const struct tsn_http_options *options, struct tsn_error *error);
int tsn_http_port(const struct tsn_http *http);
/* Ends connections and the thread. */
void tsn_http_stop(struct tsn_http **http);

#endif
