/*
 * latency: from producing an event to its incident, hop by hop, on a running worker.
 *
 * One process produces and reads, so that one clock counts. Every partition gets an event each BEAT_MS, stamped with the moment; at random
 * moments one of a service never seen before must fire an alert and so open an incident. It reads `samples`, `alerts` and `incidents`
 * read_committed from their ends and notes when each record can be read; when a record was made is its Kafka timestamp. A service's hops:
 *
 *   produced → step passed by the watermark → batch closed → readable in samples → alert made → readable → incident made → readable
 *
 * The batch is the last one that could be read before the alert was made. The step is passed when the clock stands at step + out-of-orderness:
 * up to BEAT_MS of waiting for the next event is counted as ours. Prints a line a hop: "name p50 p90 p99 max count" in ms.
 *
 * Usage: latency BROKERS INPUT PREFIX INPUT_PARTITIONS SAMPLES_PARTITIONS INCIDENTS_PARTITIONS SECONDS PER_SECOND OUT_OF_ORDERNESS_MS
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BEAT_MS = 20, MAX_PROBES = 20000, MAX_PARTITIONS = 128, WARM_MS = 3000, TAIL_MS = 9000 };

/* Moments in ms of wall time, with fractions; 0: not seen. */
struct probe {
    double produced, step, closed, sample_read, alert_made, alert_read, incident_made, incident_read;
};
static struct probe probes[MAX_PROBES];
static struct { double made, read; } sample[MAX_PARTITIONS], sample_before[MAX_PARTITIONS]; /* the newest, and the one before */
static const char *samples_topic, *alerts_topic;
static double ooo_ms;

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk;
    char why[256];

    set(conf, "bootstrap.servers", brokers);
    if (type == RD_KAFKA_PRODUCER) {
        set(conf, "linger.ms", "0");
    } else {
        set(conf, "group.id", "latency");
        set(conf, "enable.auto.commit", "false");
        set(conf, "isolation.level", "read_committed");
        set(conf, "fetch.wait.max.ms", "50");
        set(conf, "fetch.error.backoff.ms", "5");
    }
    rk = rd_kafka_new(type, conf, why, sizeof why);
    if (!rk) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return rk;
}

static void produce(rd_kafka_t *rk, const char *topic, int partition, int probe)
{
    double at = now_ms();
    char text[256], service[32];
    int len;

    snprintf(service, sizeof service, probe < 0 ? "beat" : "lat-%d", probe);
    len = snprintf(text, sizeof text, "{\"name\":\"probe_total\",\"labels\":{\"service\":\"%s\",\"kind\":\"%s\"},\"value\":1,\"timestamp\":%lld,\"kind\":\"delta\"}",
                   service, probe < 0 ? "beat" : "probe", (long long)at);
    if (probe >= 0)
        probes[probe].produced = at;
    (void)rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE(text, (size_t)len),
                            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
}

/* "…T12:34:56.789Z" of a field, as ms since the epoch; 0: none. */
static double time_field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    struct tm tm = { 0 };
    int ms = 0;

    if (!at || sscanf(at + strlen(name), "%d-%d-%dT%d:%d:%d.%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms) < 6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return (double)timegm(&tm) * 1e3 + ms;
}

static struct probe *probe_of(const char *text)
{
    const char *at = strstr(text, "lat-");
    int i = at ? atoi(at + 4) : -1;

    return i >= 0 && i < MAX_PROBES && probes[i].produced > 0 ? &probes[i] : NULL;
}

static void take_alert(struct probe *p, const char *text, double made, double read)
{
    if (p->alert_read > 0 || !strstr(text, "\"state\":\"firing\""))
        return;
    p->step = time_field(text, "\"step_ts\":\"") + ooo_ms;
    p->alert_made = made;
    p->alert_read = read;
    for (int i = 0; i < MAX_PARTITIONS; i++) {
        double batch_made = sample[i].read <= made ? sample[i].made : sample_before[i].made;

        if (batch_made > p->closed && batch_made >= p->step) {
            p->closed = batch_made;
            p->sample_read = sample[i].read <= made ? sample[i].read : sample_before[i].read;
        }
    }
}

static void take(const rd_kafka_message_t *m)
{
    const char *topic = rd_kafka_topic_name(m->rkt);
    double read = now_ms(), made = (double)rd_kafka_message_timestamp(m, NULL);
    struct probe *p;
    char *text;

    if (strcmp(topic, samples_topic) == 0) {
        sample_before[m->partition].made = sample[m->partition].made;
        sample_before[m->partition].read = sample[m->partition].read;
        sample[m->partition].made = made;
        sample[m->partition].read = read;
        return;
    }
    text = strndup(m->payload ? m->payload : "", m->len);
    p = probe_of(text);
    if (p && strcmp(topic, alerts_topic) == 0) {
        take_alert(p, text, made, read);
    } else if (p && !(p->incident_read > 0)) {
        p->incident_made = made;
        p->incident_read = read;
    }
    free(text);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

enum { FIELDS = sizeof(struct probe) / sizeof(double) };

static void report(const char *name, int count, int from, int to)
{
    double *values = calloc((size_t)count + 1, sizeof *values);
    int n = 0;

    for (int i = 0; i < count; i++) {
        const double *f = (const double *)&probes[i];

        if (f[from] > 0 && f[to] > 0 && probes[i].incident_read > 0)
            values[n++] = f[to] - f[from];
    }
    qsort(values, (size_t)n, sizeof *values, by_value);
    if (n)
        printf("%s %.1f %.1f %.1f %.1f %d\n", name, values[n / 2], values[n * 9 / 10], values[n * 99 / 100], values[n - 1], n);
    free(values);
}

static rd_kafka_t *reader(const char *brokers, const char *incidents_topic, int samples, int incidents)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, brokers);

    rd_kafka_poll_set_consumer(rk);
    for (int p = 0; p < samples; p++)
        rd_kafka_topic_partition_list_add(list, samples_topic, p)->offset = RD_KAFKA_OFFSET_END;
    for (int p = 0; p < incidents; p++)
        rd_kafka_topic_partition_list_add(list, incidents_topic, p)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_topic_partition_list_add(list, alerts_topic, 0)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return rk;
}

/* Beats all the time, probes between the warm-up and the tail. Returns how many probes went out. */
static int play(rd_kafka_t *out, rd_kafka_t *in, const char *input, int partitions, double seconds, double per_s)
{
    double start = now_ms(), beat = start, next = start + WARM_MS;
    int count = 0, turn = 0;

    while (now_ms() < start + WARM_MS + seconds * 1e3 + TAIL_MS + ooo_ms) {
        rd_kafka_message_t *m;

        for (; beat <= now_ms(); beat += BEAT_MS)
            for (int p = 0; p < partitions; p++)
                produce(out, input, p, -1);
        if (now_ms() >= next && now_ms() < start + WARM_MS + seconds * 1e3 && count < MAX_PROBES) {
            produce(out, input, turn++ % partitions, count++);
            next = now_ms() + 2e3 / per_s * (double)rand() / RAND_MAX;
        }
        rd_kafka_poll(out, 0);
        while ((m = rd_kafka_consumer_poll(in, 2))) {
            if (!m->err)
                take(m);
            rd_kafka_message_destroy(m);
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    char samples[300], alerts[300], incidents[300];
    rd_kafka_t *out, *in;
    int count;

    if (argc != 10)
        return 2;
    snprintf(samples, sizeof samples, "%ssamples", argv[3]);
    snprintf(alerts, sizeof alerts, "%salerts", argv[3]);
    snprintf(incidents, sizeof incidents, "%sincidents", argv[3]);
    samples_topic = samples;
    alerts_topic = alerts;
    ooo_ms = atof(argv[9]);
    out = client(RD_KAFKA_PRODUCER, argv[1]);
    in = reader(argv[1], incidents, atoi(argv[5]), atoi(argv[6]));
    count = play(out, in, argv[2], atoi(argv[4]), atof(argv[7]), atof(argv[8]));
    report("produced_to_incident", count, 0, 7);
    report("produced_to_step", count, 0, 1);
    report("step_to_incident", count, 1, 7);
    report("step_to_closed", count, 1, 2);
    report("closed_to_readable", count, 2, 3);
    report("readable_to_alert", count, 3, 4);
    report("alert_to_readable", count, 4, 5);
    report("readable_to_incident", count, 5, 6);
    report("incident_to_readable", count, 6, 7);
    printf("probes %d\n", count);
    rd_kafka_flush(out, 1000);
    rd_kafka_destroy(out);
    rd_kafka_consumer_close(in);
    rd_kafka_destroy(in);
    return 0;
}
