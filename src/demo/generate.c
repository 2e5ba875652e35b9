/*
 * generate: the platform's events of a day, in order of time.
 *
 * Each service is a few sources that know when they speak next: its scrape (every 15 s, as Prometheus scrapes, at a phase of its
 * own), its log, its hooks. The earliest goes first; of equal times the lower index. Every source has its own random numbers, so
 * one that stays silent does not shift the others.
 *
 * A scrape is one record with an array of metric events: up, and if it is up requests, response times, patterns and gauges.
 * Counters add fractions of events and show whole ones, so they never fall (save at a restart: a new process starts at 0).
 * Only + - * / on doubles: the same bytes on every machine.
 */
#include "demo/demo_int.h"

#include <stdio.h>
#include <string.h>

enum { SCRAPE_MS = 15000, ENDPOINTS = 2, BUCKETS = 8, SOURCES = SERVICES * 2 + 2, TEMPLATES = 3, NOVEL = TEMPLATES };

static const double bounds[BUCKETS] = { 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5 };
/* Shares of requests between two bounds; the second when latency has doubled. p95 0.42 s and 0.67 s; nothing above 0.75 s. */
static const double shares_normal[BUCKETS] = { 0.15, 0.25, 0.45, 0.145, 0.005, 0, 0, 0 };
static const double shares_slow[BUCKETS] = { 0.02, 0.08, 0.40, 0.35, 0.15, 0, 0, 0 };

/* Requests a minute at night; at noon twice as many. At least twice the floors of the service catalogue (1000, 100, 500). */
static const double night_rate[CORE_SERVICES] = { 2400, 300, 1200 };
static const double endpoint_share[ENDPOINTS] = { 0.7, 0.3 };
static const char *const endpoints[3][ENDPOINTS] = {
    { "/hooks", "/health" }, { "/lab/metrics", "/lab/health" }, { "/workflows", "/workflows/status" },
};
#define BASE_ERRORS 0.0002      /* share of requests; the objective is 0.001 */
#define PATTERNS_PER_MINUTE 2.0 /* of the services whose patterns come by scrape */
#define LOG_GAP_MS 4000.0       /* between two lines of a service, on average */
#define BURST_GAP_MS 12500.0    /* between two error lines: below the 0.1/s of LogPatternSurge */
#define HOOK_GAP_MS 1000.0
#define FAIL_GAP_MS 71.4        /* 14 a second */

/* Three lines a service: two usual, one error. Numbers and ids vary, the rest is the pattern. */
static const char *const lines[SERVICES][TEMPLATES] = {
    { "hook accepted from %u in %u ms", "queue drained: %u entries, %u waiting", "hook %u rejected: signature mismatch at byte %u" },
    { "model evaluated: run %u took %u ms", "metrics batch %u stored, %u rows", "evaluation %u failed: no answer from model after %u ms" },
    { "workflow %u advanced to step %u", "scheduler tick %u, %u workflows runnable", "workflow %u aborted in step %u: dependency failed" },
    { "checkpoint complete: wrote %u buffers in %u ms", "connection received: pid %u port %u", "could not extend file %u: wrote only %u bytes" },
    { "rolled log segment %u of partition %u", "group coordinator: member %u joined generation %u", "failed to flush segment %u of partition %u" },
    { "%u changes in %u seconds, saving", "background saving: %u MB written in %u ms", "cannot save in background: fork %u failed, errno %u" },
};
/* What redis begins to say when it says something new. */
#define NOVEL_LINE "Replica 10.0.%u.7 asks for a backlog that is gone, %u bytes behind"
#define NOVEL_GAP_MS 180000
static const char *const error_types[SERVICES] = { "SignatureError", "ModelTimeout", "DependencyFailed", "DiskFull", "FlushFailed", "ForkFailed" };
static const char *const hook_types[] = { "pre-tool", "post-tool", "session", "commit" };
static const char *const pattern_types[] = { "architecture", "debugging", "refactoring" };

struct counters {
    double ok[ENDPOINTS], failed[ENDPOINTS], spent_s[ENDPOINTS], bucket[ENDPOINTS][BUCKETS], patterns;
};

enum source_kind { SOURCE_SCRAPE, SOURCE_LOG, SOURCE_HOOKS };
struct source {
    enum source_kind kind;
    enum service service;
    uint64_t random;
    double next_ms; /* since the day began; a fraction keeps mean gaps exact */
    uint64_t said;  /* events so far */
    int64_t novel_ms; /* when it last said something new */
    bool was_down;
};

struct tsn_demo {
    unsigned selected;
    int64_t start_ms, end_ms;
    struct source sources[SOURCES];
    struct counters counters[SERVICES];
    struct tsn_demo_gauge gauges[TSN_DEMO_GAUGES];
    struct tsn_buf out;
};

unsigned demo_selected(const struct tsn_demo *demo) { return demo->selected; }
int64_t tsn_demo_start_ms(const struct tsn_demo *demo) { return demo->start_ms; }
int64_t tsn_demo_end_ms(const struct tsn_demo *demo) { return demo->end_ms; }

const char *tsn_demo_topic_name(enum tsn_demo_topic topic)
{
    static const char *const names[TSN_DEMO_TOPICS] = { "bridge.metrics", "bridge.logs", "bridge.hooks" };

    return names[topic];
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* splitmix64 */
static uint64_t draw(struct source *s)
{
    uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
static unsigned pick(struct source *s, unsigned n) { return (unsigned)(draw(s) % n); }
/* In [from, to). */
static double between(struct source *s, double from, double to)
{
    return from + (to - from) * ((double)(draw(s) >> 11) * 0x1p-53);
}

/* 1 at night, 2 at 14:00, a parabola between 06:00 and 22:00. */
static double curve(int64_t ts_ms)
{
    double hour = (double)(ts_ms - DEMO_DAY_MS) / 3600000.0, x = (hour - 14) / 8;

    return x > -1 && x < 1 ? 2 - x * x : 1;
}

/* ---- a scrape ----------------------------------------------------------------------------- */

static void metric(struct tsn_demo *d, enum service service, int64_t ts_ms, const char *name, const char *labels, double value)
{
    char number[TSN_DOUBLE_TEXT];

    tsn_format_double(number, sizeof number, value, 'f', 21);
    tsn_buf_printf(&d->out, "%c{\"name\":\"%s\",\"labels\":{\"service\":\"%s\",\"environment\":\"production\",\"instance\":\"%s-1:8080\"%s},"
                   "\"value\":%s,\"timestamp\":%lld}", d->out.len ? ',' : '[', name, demo_services[service], demo_services[service], labels,
                   number, (long long)ts_ms);
}

static double whole(double x) { return (double)(int64_t)x; }

static void count_requests(struct tsn_demo *d, struct source *s, int64_t ts_ms)
{
    struct counters *c = &d->counters[s->service];
    const double *shares = demo_trouble(d->selected, TROUBLE_SLOW, s->service, ts_ms, NULL) ? shares_slow : shares_normal;
    double requests = night_rate[s->service] * curve(ts_ms) * (SCRAPE_MS / 60000.0) * between(s, 0.95, 1.05), errors = BASE_ERRORS;
    int64_t into_ms;

    if (demo_trouble(d->selected, TROUBLE_ERRORS, s->service, ts_ms, &into_ms)) {
        double climbed = (double)into_ms / (5.0 * (double)MINUTE_MS);

        errors = 0.2 * (climbed < 1 ? climbed : 1);
    }
    d->gauges[s->service].requests_per_min = requests * (60000.0 / SCRAPE_MS);
    d->gauges[s->service].error_share = errors;
    for (int e = 0; e < ENDPOINTS; e++) {
        double n = requests * endpoint_share[e];

        c->failed[e] += n * errors;
        c->ok[e] += n * (1 - errors);
        for (int b = 0; b < BUCKETS; b++) {
            c->bucket[e][b] += n * shares[b];
            c->spent_s[e] += n * shares[b] * bounds[b] * 0.8;
        }
    }
}

static void scrape_requests(struct tsn_demo *d, enum service service, int64_t ts_ms)
{
    const struct counters *c = &d->counters[service];
    char labels[200];

    for (int e = 0; e < ENDPOINTS; e++) {
        const char *endpoint = endpoints[service][e], *method = e ? "GET" : "POST";
        double sum = 0;

        snprintf(labels, sizeof labels, ",\"method\":\"%s\",\"endpoint\":\"%s\",\"status\":\"200\"", method, endpoint);
        metric(d, service, ts_ms, "http_requests_total", labels, whole(c->ok[e]));
        snprintf(labels, sizeof labels, ",\"method\":\"%s\",\"endpoint\":\"%s\",\"status\":\"500\"", method, endpoint);
        metric(d, service, ts_ms, "http_requests_total", labels, whole(c->failed[e]));
        for (int b = 0; b <= BUCKETS; b++) {
            char le[TSN_DOUBLE_TEXT] = "+Inf";

            if (b < BUCKETS) {
                sum += c->bucket[e][b];
                tsn_format_double(le, sizeof le, bounds[b], 'f', 21);
            }
            snprintf(labels, sizeof labels, ",\"method\":\"%s\",\"endpoint\":\"%s\",\"le\":\"%.20s\"", method, endpoint, le);
            metric(d, service, ts_ms, "http_request_duration_seconds_bucket", labels, whole(sum));
        }
        snprintf(labels, sizeof labels, ",\"method\":\"%s\",\"endpoint\":\"%s\"", method, endpoint);
        metric(d, service, ts_ms, "http_request_duration_seconds_sum", labels, whole(c->spent_s[e]));
        metric(d, service, ts_ms, "http_request_duration_seconds_count", labels, whole(sum));
    }
}

static void scrape_service(struct tsn_demo *d, struct source *s, int64_t ts_ms)
{
    struct counters *c = &d->counters[s->service];

    metric(d, s->service, ts_ms, "active_connections", "", 20 + pick(s, 60));
    if (s->service > WORKFLOW_COORDINATOR)
        return;
    count_requests(d, s, ts_ms);
    scrape_requests(d, s->service, ts_ms);
    metric(d, s->service, ts_ms, "processing_queue_size", "", pick(s, 12));
    metric(d, s->service, ts_ms, "circuit_breaker_state", "", 0);
    if (s->service == HOOK_RECEIVER)
        return; /* its patterns come with the hooks */
    if (!demo_trouble(d->selected, TROUBLE_DRY, s->service, ts_ms, NULL))
        c->patterns += PATTERNS_PER_MINUTE * (SCRAPE_MS / 60000.0) * between(s, 0.8, 1.2);
    metric(d, s->service, ts_ms, "intelligence_patterns_discovered_total", ",\"pattern_type\":\"architecture\"", whole(c->patterns));
}

static void note_scrape(struct tsn_demo *d, enum service service, bool scraped, bool up)
{
    if (service < TSN_DEMO_GAUGES)
        d->gauges[service] = (struct tsn_demo_gauge){ .service = demo_services[service], .scraped = scraped, .up = up };
}

void tsn_demo_gauges(const struct tsn_demo *demo, struct tsn_demo_gauge out[TSN_DEMO_GAUGES])
{
    memcpy(out, demo->gauges, sizeof demo->gauges);
}

/* False: not scraped, there is nothing to send. */
static bool scrape(struct tsn_demo *d, struct source *s, int64_t ts_ms)
{
    bool down = demo_trouble(d->selected, TROUBLE_DOWN, s->service, ts_ms, NULL);

    s->next_ms += SCRAPE_MS;
    note_scrape(d, s->service, !demo_trouble(d->selected, TROUBLE_VANISHED, s->service, ts_ms, NULL), !down);
    if (demo_trouble(d->selected, TROUBLE_VANISHED, s->service, ts_ms, NULL))
        return false;
    if (s->was_down && !down)
        memset(&d->counters[s->service], 0, sizeof d->counters[0]);
    s->was_down = down;
    metric(d, s->service, ts_ms, "up", "", down ? 0 : 1);
    if (!down)
        scrape_service(d, s, ts_ms);
    tsn_buf_putc(&d->out, ']');
    return true;
}

/* ---- logs and hooks ----------------------------------------------------------------------- */

static void log_line(struct tsn_demo *d, struct source *s, int64_t ts_ms, int which)
{
    char message[160];
    unsigned a = pick(s, 90000) + 1000, b = pick(s, 900) + 10;
    bool error = which >= TEMPLATES - 1;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(message, sizeof message, which == NOVEL ? NOVEL_LINE : lines[s->service][which], which == NOVEL ? a % 250 : a, which == NOVEL ? 1000 * b : b);
#pragma GCC diagnostic pop
    tsn_buf_printf(&d->out, "{\"timestamp\":%lld,\"service\":\"%s\",\"environment\":\"production\",\"level\":\"%s\",\"message\":\"%s\","
                   "\"logger\":\"%s.main\",\"request_id\":\"req-%08x\"", (long long)ts_ms, demo_services[s->service],
                   error ? "ERROR" : "INFO", message, demo_services[s->service], (unsigned)draw(s));
    if (error)
        tsn_buf_printf(&d->out, ",\"error_type\":\"%s\",\"error_message\":\"%s\"", error_types[s->service], message);
    tsn_buf_putc(&d->out, '}');
}

/* The first lines are one of each pattern, so that none is new later; an error is rare otherwise: one in 450 lines, half an hour. */
static bool log_next(struct tsn_demo *d, struct source *s, int64_t ts_ms)
{
    bool burst = demo_trouble(d->selected, TROUBLE_LOGS, s->service, ts_ms, NULL);
    bool down = demo_trouble(d->selected, TROUBLE_DOWN, s->service, ts_ms, NULL);
    /* During the burst every fourth line or so is an error: 1 / 12.5 s beside 1 / 4 s. */
    double gap_ms = burst ? 1 / (1 / LOG_GAP_MS + 1 / BURST_GAP_MS) : LOG_GAP_MS;
    int which = s->said < TEMPLATES ? (int)s->said : pick(s, 450) == 0 ? TEMPLATES - 1 : (int)pick(s, TEMPLATES - 1);

    if (burst)
        which = between(s, 0, 1) < LOG_GAP_MS / (LOG_GAP_MS + BURST_GAP_MS) ? TEMPLATES - 1 : (int)pick(s, TEMPLATES - 1);
    if (demo_trouble(d->selected, TROUBLE_NOVEL, s->service, ts_ms, NULL) && ts_ms - s->novel_ms >= NOVEL_GAP_MS) {
        which = NOVEL;
        s->novel_ms = ts_ms;
    }
    s->next_ms += gap_ms * between(s, 0.7, 1.3);
    if (down)
        return false;
    s->said++;
    log_line(d, s, ts_ms, which);
    return true;
}

static bool hook_next(struct tsn_demo *d, struct source *s, int64_t ts_ms)
{
    bool failing = demo_trouble(d->selected, TROUBLE_HOOKS, s->service, ts_ms, NULL);
    bool error = failing ? pick(s, 15) != 0 : pick(s, 500) == 0;
    double gap_ms = failing ? 1 / (1 / HOOK_GAP_MS + 1 / FAIL_GAP_MS) : HOOK_GAP_MS / (0.75 * curve(ts_ms));

    s->next_ms += gap_ms * between(s, 0.5, 1.5);
    if (demo_trouble(d->selected, TROUBLE_DOWN, s->service, ts_ms, NULL))
        return false;
    tsn_buf_printf(&d->out, "{\"timestamp\":%lld,\"service\":\"%s\",\"environment\":\"production\",\"hook_id\":\"hook-%08x\","
                   "\"hook_type\":\"%s\",\"status\":\"%s\",\"processing_time_ms\":%u", (long long)ts_ms, demo_services[s->service],
                   (unsigned)draw(s), hook_types[pick(s, TSN_ARRAY_LEN(hook_types))], error ? "error" : "success", 4 + pick(s, 76));
    if (error)
        tsn_buf_puts(&d->out, ",\"error_type\":\"HookError\",\"error_message\":\"handler returned no result\"");
    else if (pick(s, 20) == 0)
        tsn_buf_printf(&d->out, ",\"patterns_discovered\":[{\"pattern_type\":\"%s\",\"count\":1}]",
                       pattern_types[pick(s, TSN_ARRAY_LEN(pattern_types))]);
    tsn_buf_putc(&d->out, '}');
    return true;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bool select_scenario(struct tsn_demo *d, const char *name, struct tsn_error *error)
{
    struct tsn_buf names = TSN_BUF_INIT;

    d->start_ms = DEMO_DAY_MS;
    d->end_ms = DEMO_DAY_MS + DEMO_DAY_MINUTES * MINUTE_MS;
    if (strcmp(name, "all") == 0) {
        d->selected = (1u << demo_scenario_count) - 1;
        return true;
    }
    if (strcmp(name, "quiet") == 0) {
        d->end_ms = d->start_ms + 60 * MINUTE_MS;
        return true;
    }
    for (size_t i = 0; i < demo_scenario_count; i++) {
        const struct scenario *s = &demo_scenarios[i];

        if (strcmp(s->name, name) != 0)
            continue;
        d->selected = 1u << i;
        d->start_ms = DEMO_DAY_MS + (s->at_min - s->before_min) * MINUTE_MS;
        d->end_ms = DEMO_DAY_MS + (s->at_min + s->lasts_min + s->after_min) * MINUTE_MS;
        return true;
    }
    for (size_t i = 0; tsn_demo_scenario_name(i, NULL); i++)
        tsn_buf_printf(&names, "%s%s", i ? ", " : "", tsn_demo_scenario_name(i, NULL));
    tsn_error_set(error, TSN_ERR_NOT_FOUND, "no scenario '%.60s'; there are %s", name, tsn_buf_str(&names));
    tsn_buf_release(&names);
    return false;
}

static void add_source(struct tsn_demo *d, size_t index, enum source_kind kind, enum service service, uint64_t seed, double first_ms)
{
    struct source *s = &d->sources[index];

    *s = (struct source){ .kind = kind, .service = service, .random = seed * UINT64_C(0xd1342543de82ef95) + index };
    draw(s);
    first_ms += whole(between(s, 0, 1900));
    if (kind == SOURCE_SCRAPE)
        first_ms = whole(first_ms / 1000) * 1000; /* whole seconds: a rule test can say them */
    s->next_ms = (double)(d->start_ms - DEMO_DAY_MS) + first_ms;
}

struct tsn_demo *tsn_demo_new(uint64_t seed, const char *scenario, struct tsn_error *error)
{
    struct tsn_demo *d = tsn_calloc(1, sizeof *d);

    if (!select_scenario(d, scenario, error)) {
        tsn_demo_free(&d);
        return NULL;
    }
    for (size_t i = 0; i < SERVICES; i++) {
        add_source(d, i, SOURCE_SCRAPE, (enum service)i, seed, 2000.0 * (double)i);
        note_scrape(d, (enum service)i, false, false);
        add_source(d, SERVICES + i, SOURCE_LOG, (enum service)i, seed, 500);
    }
    add_source(d, 2 * SERVICES, SOURCE_HOOKS, HOOK_RECEIVER, seed, 500);
    add_source(d, 2 * SERVICES + 1, SOURCE_HOOKS, WORKFLOW_COORDINATOR, seed, 500);
    return d;
}

void tsn_demo_free(struct tsn_demo **demo)
{
    if (!*demo)
        return;
    tsn_buf_release(&(*demo)->out);
    tsn_free(*demo);
    *demo = NULL;
}

static struct source *earliest(struct tsn_demo *d)
{
    struct source *first = &d->sources[0];

    for (size_t i = 1; i < SOURCES; i++)
        if (d->sources[i].next_ms < first->next_ms)
            first = &d->sources[i];
    return first;
}

bool tsn_demo_next(struct tsn_demo *d, struct tsn_demo_event *event)
{
    static const enum tsn_demo_topic topics[] = { TSN_DEMO_METRICS, TSN_DEMO_LOGS, TSN_DEMO_HOOKS };
    static bool (*const say[])(struct tsn_demo *, struct source *, int64_t) = { scrape, log_next, hook_next };

    for (;;) {
        struct source *s = earliest(d);
        int64_t ts_ms = DEMO_DAY_MS + (int64_t)s->next_ms;

        if (ts_ms >= d->end_ms)
            return false;
        tsn_buf_reset(&d->out);
        if (!say[s->kind](d, s, ts_ms))
            continue;
        *event = (struct tsn_demo_event){ topics[s->kind], demo_services[s->service], ts_ms, tsn_buf_str(&d->out), d->out.len };
        return true;
    }
}
