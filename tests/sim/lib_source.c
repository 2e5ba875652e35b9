/*
 * lib_source: the events of a seeded quarter of an hour: gauges, counters as scraped, counted
 * events and log lines of three services. Producers use no keys, so a series lies on both metric
 * partitions. Events reach their topic up to two seconds after they happened, in any order: nothing
 * is late, so the sequential reference must agree exactly. One partition falls silent for minutes
 * and wakes again; a service dies for good; the gauge is NaN or huge at times. In the middle there
 * may be a gap of hours, and a partition that did not exist before.
 */
#include "sim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const services[] = { "hooks", "bridge", "vault" };

struct producer {
    struct sim_cluster *cluster;
    const struct sim_sink *sink;
    uint64_t random;
    int64_t start_ms;
    const struct sim_story *story;
    double scraped[3]; /* a counter as its process shows it */
};

static const char *number(char out[32], double value)
{
    if (isnan(value))
        snprintf(out, 32, "\"NaN\"");
    else
        snprintf(out, 32, "%.17g", value);
    return out;
}

static void metric(struct producer *p, int source, int64_t ts, const char *name,
                   const char *service, double value, const char *kind)
{
    struct tsn_buf text = TSN_BUF_INIT;
    char series[160], digits[32];

    snprintf(series, sizeof series, "%s{service=\"%s\",instance=\"%d\"}", name, service, source);
    tsn_buf_printf(
        &text,
        "{\"name\":\"%s\",\"labels\":{\"service\":\"%s\",\"instance\":\"%d\"},\"value\":%s,"
        "\"timestamp\":%lld,\"kind\":\"%s\"}",
        name, service, source, number(digits, value), (long long)ts, kind);
    sim_log_add(&p->cluster->inputs[source], ts, false, text.data, text.len);
    tsn_buf_release(&text);
    if (strcmp(kind, "delta") == 0)
        p->sink->delta(p->sink->arg, series, ts, value);
    else
        p->sink->point(p->sink->arg, series, ts, value);
}

/* What services say: words that vary and merge into one template, sooner or later; words that appear late; numbers; a secret. */
static void message(struct producer *p, int64_t s, bool sick, char *out, size_t size)
{
    static const char *const names[] = { "anna", "bert", "cora", "dave", "edda", "finn",
                                         "gina", "hugo", "iris", "jens", "kara", "lars" };
    const char *any = names[sim_below(&p->random, 8)], *some = names[sim_below(&p->random, 1 + s / 60 % 9)];
    int number = (int)sim_below(&p->random, 5000);

    switch (sim_below(&p->random, 6)) {
    case 0: snprintf(out, size, sick ? "upstream %s refused the connection" : "user %s logged in", any); break;
    case 1: snprintf(out, size, "cache %s refilled in %d ms", some, number); break;
    case 2: snprintf(out, size, "stage %s reached", names[s / 90 % 12]); break;
    case 3: snprintf(out, size, "login with password=hunter%d failed", number); break;
    default: snprintf(out, size, "request %d took %d ms", number, number / 7);
    }
}

static void log_line(struct producer *p, int64_t s, int64_t ts, const char *service, bool sick)
{
    const char *level = sick ? "ERROR" : "INFO";
    char words[96];
    struct tsn_buf text = TSN_BUF_INIT;
    char series[160];

    message(p, s, sick, words, sizeof words);
    snprintf(series, sizeof series,
             "log_messages_total{service=\"%s\",level=\"%s\",logger=\"app\"}", service, level);
    tsn_buf_printf(&text,
                   "{\"timestamp\":%lld,\"service\":\"%s\",\"level\":\"%s\",\"logger\":\"app\","
                   "\"message\":\"%s\"}",
                   (long long)ts, service, level, words);
    sim_log_add(&p->cluster->inputs[2], ts, false, text.data, text.len);
    tsn_buf_release(&text);
    p->sink->delta(p->sink->arg, series, ts, 1);
    p->sink->line(p->sink->arg, service, level, ts, words);
}

/* NaN or huge once in `odd` times. */
static double temperature(struct producer *p, bool sick, int64_t odd)
{
    double value = (double)sim_below(&p->random, 1000) / 10 + (sick ? 60 : 0);

    switch (sim_below(&p->random, 2 * odd)) {
    case 0: return NAN;
    case 1: return 1e17;
    default: return value;
    }
}

/* One second of one service. */
static void second(struct producer *p, int64_t s, int which, bool quiet)
{
    int64_t ts = p->start_ms + s * 1000 + (s >= p->story->length_s / 2 ? p->story->gap_ms : 0);
    int source = (int)sim_below(&p->random, 2), counted = source;
    bool sick = s / 120 % 3 == which; /* each service has its bad two minutes */

    if (s >= p->story->born_s && sim_below(&p->random, 3) == 0)
        counted = SIM_NEW_SOURCE;
    if (s % 15 == which) {
        double value = temperature(p, sick, 30);

        p->scraped[which] += (double)sim_below(&p->random, 50);
        if (!quiet) /* sources 0 and 1 are instances of the service */
            metric(p, 1, ts + which, "temperature", services[which], value, "gauge");
        metric(p, 0, ts + which, "requests_total", services[which], p->scraped[which], "counter");
        metric(p, 0, ts + which, "up", services[which], 1, "gauge");
    }
    if (s % 10 == which && !(quiet && source == 1)) /* what only the second rule set reads */
        metric(p, source, ts + 300 + which, "pressure", services[which], (double)sim_below(&p->random, 100), "gauge");
    if (sim_below(&p->random, 8) == 0 && !(quiet && source == 1))
        metric(p, source, ts + sim_below(&p->random, 1000), "drops_total", services[which], (double)(1 + sim_below(&p->random, 3)), "delta");
    if (which == 0 && s % 2 == 0) /* often enough for a window that keeps folds */
        metric(p, 0, ts + 500, "queue", services[0], temperature(p, sick, 150), "gauge");
    if (sim_below(&p->random, sick ? 2 : 15) == 0 && !(quiet && source == 1))
        metric(p, counted, ts + sim_below(&p->random, 1000), "errors_total", services[which],
               (double)(1 + sim_below(&p->random, 4)) / 4, "delta");
    if (sim_below(&p->random, 4) == 0)
        log_line(p, s, ts + sim_below(&p->random, 1000), services[which], sick);
}

/* Records in the order in which they reach the partition: by time plus up to two seconds. */
static void shuffle(struct sim_log *log, uint64_t *random)
{
    for (size_t i = 0; i < log->len; i++)
        log->items[i].timestamp_ms += sim_below(random, 2000);
    for (size_t i = 1; i < log->len; i++) {
        struct sim_record r = log->items[i];
        size_t at = i;

        for (; at && log->items[at - 1].timestamp_ms > r.timestamp_ms; at--)
            log->items[at] = log->items[at - 1];
        log->items[at] = r;
    }
    for (size_t i = 0; i < log->len; i++) {
        log->items[i].offset = (int64_t)i;
        log->items[i].visible_ms = log->items[i].timestamp_ms;
    }
}

/* A producer's transaction that stays open for some seconds: its records lie there, and nobody is
 * given them. */
static void leave_open(struct sim_log *log, uint64_t *random)
{
    for (size_t i = 0; i < log->len; i++)
        if (sim_below(random, 150) == 0 || i + 3 > log->len)
            log->items[i].visible_ms +=
                2000 + sim_below(random, 15000) + (i + 3 > log->len ? 20000 : 0);
}

int64_t sim_produce(struct sim_cluster *c, const struct sim_story *story,
                    const struct sim_sink *sink)
{
    struct producer p = { c, sink, story->seed * 7919 + 1, story->start_ms, story, { 0 } };
    int64_t quiet_from = 60 + sim_below(&p.random, 200), quiet_for = 30 + sim_below(&p.random, 200);
    int64_t death = 200 + sim_below(&p.random, 600), silence = 300 + sim_below(&p.random, 400);

    for (int64_t s = 0; s < story->length_s; s++)
        for (int which = 0; which < 3; which++)
            if (which != 2 || s < death)
                second(&p, s, which,
                       (s >= quiet_from && s < quiet_from + quiet_for) || s > silence);
    for (int i = 0; i < SIM_SOURCES; i++) {
        shuffle(&c->inputs[i], &p.random);
        if (story->open)
            leave_open(&c->inputs[i], &p.random);
    }
    return story->start_ms + story->length_s * 1000 + story->gap_ms;
}
