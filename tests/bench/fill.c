/*
 * fill: the seeded topic of the spine's bench, fast: EVENTS metric events of about 190 B, keyed by service as a producer that wants order would.
 *
 * Event i belongs to series i mod SERIES: 50 services, each series an instance of one and a status. Every tenth instance errs; of the first five
 * services three of ten do, until three quarters of the events are out. Event times rise evenly over SPAN_S seconds from START_MS. Kinds: delta (an event counts one), counter (totals as scraped). Formats: json, or
 * avro (bare tocsin.v1.Metric). Prints nothing; exit 1 if any event was not acknowledged.
 *
 * Usage: fill BROKERS TOPIC EVENTS SERIES delta|counter json|avro START_MS SPAN_S [SHARDS]      (SHARDS services; default 50)
 */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long failed;

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    failed += m->err != 0;
}

struct event {
    long series, services, i, events;
    double value;
    long long ts_ms;
    const char *kind;
};

static const char *status_of(const struct event *e)
{
    long service = e->series % e->services, instance = e->series / e->services;
    bool bad = service < 5 && e->i < e->events / 4 * 3;

    return instance % 10 < (bad ? 3 : 1) ? "500" : "200";
}

static int json(char *out, size_t room, const struct event *e)
{
    long service = e->series % e->services, instance = e->series / e->services;

    return snprintf(out, room,
                    "{\"name\":\"http_requests_total\",\"labels\":{\"service\":\"svc-%ld\",\"instance\":\"10.%ld.%ld.%ld:8080\",\"method\":\"GET\","
                    "\"status\":\"%s\"},\"value\":%.0f,\"timestamp\":%lld,\"kind\":\"%s\"}",
                    service, instance / 62500, instance / 250 % 250, instance % 250, status_of(e), e->value, e->ts_ms, e->kind);
}

static char *put_long(char *out, int64_t v)
{
    uint64_t z = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

    for (; z >= 128; z >>= 7)
        *out++ = (char)(z | 128);
    *out++ = (char)z;
    return out;
}

static char *put_text(char *out, const char *text)
{
    size_t len = strlen(text);

    out = put_long(out, (int64_t)len);
    memcpy(out, text, len);
    return out + len;
}

static int avro(char *start, const struct event *e)
{
    long service = e->series % e->services, instance = e->series / e->services;
    char *out = put_text(start, "http_requests_total"), text[64];

    out = put_long(out, 4);
    snprintf(text, sizeof text, "svc-%ld", service);
    out = put_text(put_text(out, "service"), text);
    snprintf(text, sizeof text, "10.%ld.%ld.%ld:8080", instance / 62500, instance / 250 % 250, instance % 250);
    out = put_text(put_text(out, "instance"), text);
    out = put_text(put_text(out, "method"), "GET");
    out = put_text(put_text(out, "status"), status_of(e));
    out = put_long(out, 0);
    memcpy(out, &e->value, 8);
    out = put_long(out + 8, e->ts_ms);
    out = put_long(out, 1); /* kind: not null, … */
    return (int)(put_long(out, strcmp(e->kind, "delta") == 0 ? 2 : 1) - start);
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    double *totals;
    rd_kafka_t *rk;
    long events, series, span_s;
    struct event e = { 0 };
    long long start_ms;
    char why[256];

    if (argc < 9)
        return 2;
    events = atol(argv[3]), series = atol(argv[4]), start_ms = atoll(argv[7]), span_s = atol(argv[8]);
    e.services = argc > 9 ? atol(argv[9]) : 50;
    e.kind = argv[5];
    e.events = events;
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "linger.ms", "50");
    set(conf, "batch.num.messages", "20000");
    set(conf, "queue.buffering.max.messages", "400000");
    set(conf, "partitioner", "murmur2_random");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    totals = calloc((size_t)series, sizeof *totals);
    for (e.i = 0; e.i < events; e.i++) {
        char text[512], key[32];
        int len, key_len;

        e.series = e.i % series;
        e.value = strcmp(e.kind, "delta") == 0 ? 1 : ++totals[e.series];
        e.ts_ms = start_ms + (long long)((double)e.i * (double)span_s * 1000 / (double)events);
        len = strcmp(argv[6], "avro") == 0 ? avro(text, &e) : json(text, sizeof text, &e);
        key_len = snprintf(key, sizeof key, "svc-%ld", e.series % e.services);
        while (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(argv[2]), RD_KAFKA_V_KEY(key, (size_t)key_len), RD_KAFKA_V_VALUE(text, (size_t)len),
                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(rk, 20);
        if (e.i % 1024 == 0)
            rd_kafka_poll(rk, 0);
    }
    rd_kafka_flush(rk, 120000);
    failed += rd_kafka_outq_len(rk);
    rd_kafka_destroy(rk);
    free(totals);
    return failed != 0;
}
