/*
 * monitor: /metrics, /healthz, /readyz. See tocsin/monitor.h.
 *
 * Concurrency: the handlers run on the HTTP server's one thread; they read the app's snapshot (a copy under its lock) and
 * the word of a stage that has given up, which is written before the flag that shows it.
 */
#include "tocsin/monitor.h"
#include "tocsin/http.h"

#include <string.h>

struct tsn_monitor {
    struct tsn_app *app;
    unsigned stages;
    struct tsn_http *http;
    struct tsn_metrics *metrics;
    struct tsn_monitor_families *families;
    struct tsn_app_stats *stats; /* the server thread's */
};

static void metrics(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    struct tsn_monitor *m = arg;

    TSN_UNUSED(request);
    tsn_app_get_stats(m->app, m->stats);
    tsn_monitor_fill(m->families, m->stats, m->stages, tsn_wall_now().ms);
    tsn_app_each_rule(m->app, tsn_monitor_fill_rule, m->families);
    tsn_metrics_write(m->metrics, &response->body);
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
}

static void health(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    struct tsn_monitor *m = arg;
    const char *failure = tsn_app_failure(m->app);

    TSN_UNUSED(request);
    response->status = failure ? 503 : 200;
    tsn_buf_printf(&response->body, "%s\n", failure ? failure : "ok");
}

static void say_unready(struct tsn_monitor *m, unsigned stage, const char *name, bool ready, struct tsn_buf *out)
{
    if ((m->stages & stage) && !ready)
        tsn_buf_printf(out, "%s is not at work yet\n", name);
}

static void readiness(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    struct tsn_monitor *m = arg;

    health(arg, request, response);
    if (response->status != 200)
        return;
    tsn_buf_reset(&response->body);
    tsn_app_get_stats(m->app, m->stats);
    say_unready(m, TSN_STAGE_INGEST, "ingest", m->stats->ingest.ready, &response->body);
    say_unready(m, TSN_STAGE_DETECT, "detect", m->stats->detect.ready, &response->body);
    say_unready(m, TSN_STAGE_RESPOND, "respond", m->stats->respond.ready, &response->body);
    response->status = response->body.len ? 503 : 200;
    if (!response->body.len)
        tsn_buf_puts(&response->body, "ready\n");
}

struct tsn_monitor *tsn_monitor_start(struct tsn_app *app, const struct tsn_config *config, unsigned stages, struct tsn_error *error)
{
    struct tsn_monitor *m = tsn_calloc(1, sizeof *m);
    const struct tsn_http_route routes[] = {
        { "GET", "/metrics", true, metrics, m },
        { "GET", "/healthz", true, health, m },
        { "GET", "/readyz", true, readiness, m },
    };

    m->app = app;
    m->stages = stages;
    m->metrics = tsn_metrics_new();
    m->families = tsn_monitor_families_new(m->metrics);
    m->stats = tsn_calloc(1, sizeof *m->stats);
    if (*config->http.listen)
        m->http = tsn_http_start(&(struct tsn_http_options){ config->http.listen, config->http.token, routes, TSN_ARRAY_LEN(routes) }, error);
    else
        tsn_error_set(error, TSN_OK, "http.listen is empty");
    if (!m->http)
        tsn_monitor_stop(&m);
    return m;
}

int tsn_monitor_port(const struct tsn_monitor *monitor) { return tsn_http_port(monitor->http); }

void tsn_monitor_stop(struct tsn_monitor **monitor)
{
    struct tsn_monitor *m = *monitor;

    if (!m)
        return;
    tsn_http_stop(&m->http);
    tsn_monitor_families_free(&m->families);
    tsn_metrics_free(&m->metrics);
    tsn_free(m->stats);
    tsn_free(m);
    *monitor = NULL;
}
