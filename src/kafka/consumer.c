/*
 * consumer: a group member that gives batches of messages.
 *
 * Messages come from the consumer's queue, many at once (0.28 against 0.47 µs of CPU a message for one poll each). Rebalances are
 * served inside the poll, on the polling thread, for both protocols (eager and cooperative). Committed offsets are fetched with
 * their metadata, stable, before a partition starts; the stage may put another start in their place.
 *
 * librdkafka looks for new partitions every 30 s (topic.metadata.refresh.interval.ms), and whoever writes to them sooner would be late. So
 * tsn_consumer_committed, which INGEST calls once a second, sees how many there are, and where they became more asks for all metadata: the one
 * public call whose answer the group takes notice of.
 *
 * A batch may hold messages of before a rebalance that was served while it was gathered; the stage drops what lies below its own next
 * offset or belongs to nobody, which makes that harmless: messages of one partition always come in order from where it stood.
 */
#include "kafka/kafka_int.h"

#include <string.h>

enum {
    BATCH_MAX = 4096, COMMITTED_TRIES = 30,
    GATHER_MS = 5, /* after the first message: what comes right behind it is worth one wake-up, and no event waits longer */
    SLICE_MS = 500, /* a wait for the broker is cut up, so that an ordered stop is seen */
    SEEK_MS = 5000,
    COUNTS_MS = 900, /* how old the numbers of partitions may be for tsn_consumer_committed: new ones are seen within seconds */
    WAKE_MS = 2    /* between two knocks at the fetchers' door: at 3 M messages a second some 6,000 of them */
};

struct tsn_consumer {
    rd_kafka_t *rk, *observer; /* observer: read_uncommitted, never subscribed */
    int32_t *counts;           /* partitions of each topic as last told; -1 unknown */
    int64_t counts_ns;
    rd_kafka_queue_t *queue;
    char **topics;
    size_t topic_count;
    char *group;
    struct tsn_consumer_options opt; /* config is not kept */
    rd_kafka_message_t *held[BATCH_MAX];
    ssize_t held_count;
    struct tsn_error failed; /* from inside a callback */
    bool cooperative;
    atomic_bool closing; /* freed by its owner: callbacks tell nobody any more */
    char *sasl_username, *sasl_password; /* "" where the user has none */
    int64_t woken_ns;
};

rd_kafka_t *tsn_consumer_handle(struct tsn_consumer *c)
{
    return c->rk;
}

const char *tsn_consumer_topic(const struct tsn_consumer *c, int32_t topic)
{
    TSN_ASSERT(topic >= 0 && (size_t)topic < c->topic_count);
    return c->topics[topic];
}

static int32_t topic_index(const struct tsn_consumer *c, const char *name)
{
    for (size_t i = 0; i < c->topic_count; i++)
        if (strcmp(c->topics[i], name) == 0)
            return (int32_t)i;
    return -1;
}

rd_kafka_t *tsn_consumer_observer(struct tsn_consumer *c)
{
    return c->observer;
}

const char *tsn_consumer_group(const struct tsn_consumer *c)
{
    return c->group;
}

bool tsn_consumer_reads(const struct tsn_consumer *c, const char *topic)
{
    return topic_index(c, topic) >= 0;
}

static void list_from(const struct tsn_consumer *c, const rd_kafka_topic_partition_list_t *from, struct tsn_kafka_partitions *out)
{
    for (int i = 0; i < from->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &from->elems[i];
        struct tsn_kafka_partition to = { topic_index(c, p->topic), p->partition, p->offset, NULL };

        if (to.topic < 0)
            continue;
        if (p->metadata_size)
            to.metadata = tsn_strndup(p->metadata, p->metadata_size);
        tsn_vec_push(out, to);
    }
}

static void fail(struct tsn_consumer *c, enum tsn_err code, const char *what, const char *text)
{
    if (c->failed.code)
        return;
    tsn_error_set(&c->failed, code, "%s: %s", what, text);
    c->failed.fatal = true;
}

/* An assignment that cannot be taken must be answered all the same: librdkafka waits for the answer, in rd_kafka_consumer_close for ever. */
static void take_nothing(struct tsn_consumer *c)
{
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    rd_kafka_error_t *err = NULL;

    if (c->cooperative)
        err = rd_kafka_incremental_assign(c->rk, none);
    else
        rd_kafka_assign(c->rk, none);
    if (err)
        rd_kafka_error_destroy(err);
    rd_kafka_topic_partition_list_destroy(none);
}

static void take_over(struct tsn_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    struct tsn_kafka_partitions partitions = { 0 };
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_error_t *err = NULL;

    for (int tries = 0; tries < COMMITTED_TRIES; tries++)
        if (!(code = rd_kafka_committed(c->rk, list, 1000)) || tsn_kafka_given_up())
            break;
    if (code) {
        fail(c, TSN_ERR_UNREACHABLE, "the group's committed offsets do not become stable: the broker is away, or a transaction does not end", rd_kafka_err2str(code));
        take_nothing(c);
        return;
    }
    list_from(c, list, &partitions);
    c->opt.assign(c->opt.arg, &partitions);
    for (size_t i = 0; i < partitions.len; i++) {
        rd_kafka_topic_partition_t *p =
            rd_kafka_topic_partition_list_find(list, c->topics[partitions.items[i].topic], partitions.items[i].partition);

        p->offset = partitions.items[i].offset == TSN_OFFSET_NONE ? TSN_OFFSET_BEGINNING : partitions.items[i].offset;
    }
    tsn_kafka_partitions_release(&partitions);
    if (c->cooperative)
        err = rd_kafka_incremental_assign(c->rk, list);
    else
        code = rd_kafka_assign(c->rk, list);
    if (!err && !code && c->opt.paused)
        code = rd_kafka_pause_partitions(c->rk, list);
    if (err || code)
        fail(c, TSN_ERR_IO, "assign", err ? rd_kafka_error_string(err) : rd_kafka_err2str(code));
    if (err)
        rd_kafka_error_destroy(err);
}

static void let_go(struct tsn_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *err;

    if (!c->cooperative) {
        rd_kafka_assign(c->rk, NULL);
        return;
    }
    err = rd_kafka_incremental_unassign(c->rk, list);
    if (err)
        rd_kafka_error_destroy(err);
}

static void give_up(struct tsn_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    struct tsn_kafka_partitions partitions = { 0 };

    list_from(c, list, &partitions);
    c->opt.revoke(c->opt.arg, &partitions, rd_kafka_assignment_lost(c->rk) != 0);
    tsn_kafka_partitions_release(&partitions);
    let_go(c, list);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct tsn_consumer *c = opaque;
    const char *protocol = rd_kafka_rebalance_protocol(rk);

    if (protocol) /* NULL from a client that is about to end, as after a fatal error: then it is as it was */
        c->cooperative = strcmp(protocol, "COOPERATIVE") == 0;
    if (atomic_load(&c->closing)) {
        if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
            take_nothing(c);
        else
            let_go(c, list);
        return;
    }
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        take_over(c, list);
    else
        give_up(c, list);
}

static rd_kafka_conf_t *group_conf(const struct tsn_config *config, const char *group, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);

    if (!conf)
        return NULL;
    tsn_kafka_conf_set(conf, "group.id", group);
    tsn_kafka_conf_set(conf, "enable.auto.commit", "false");
    tsn_kafka_conf_set(conf, "enable.auto.offset.store", "false");
    return conf;
}

static rd_kafka_conf_t *member_conf(const struct tsn_consumer_options *o, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = group_conf(o->config, o->group, error);

    if (!conf)
        return NULL;
    tsn_kafka_conf_set(conf, "isolation.level", "read_committed");
    tsn_kafka_conf_set(conf, "enable.partition.eof", "true");
    tsn_kafka_conf_set(conf, "auto.offset.reset", o->fail_on_gap ? "error" : "earliest");
    /* 10 s: as long as a killed worker's transaction may stay open; a restart with the same slot rejoins at once. */
    tsn_kafka_conf_default(conf, o->config, "session.timeout.ms", "10000");
    tsn_kafka_conf_default(conf, o->config, "heartbeat.interval.ms", "1000");
    /* Below 2.6.1 cooperative-sticky may rebalance in an endless loop. */
    tsn_kafka_conf_default(conf, o->config, "partition.assignment.strategy",
                           rd_kafka_version() >= 0x020601ff && !o->eager ? "cooperative-sticky" : "range,roundrobin");
    /* The queue is bound by bytes alone; see wake_fetchers. 8 MB is the knee: below it the rate falls, above it only memory grows (a message of
     * 200 B takes three times that); without a way to wake fetchers they need something to sleep on. */
    tsn_kafka_conf_default(conf, o->config, "queued.min.messages", "1000000");
    tsn_kafka_conf_default(conf, o->config, "queued.max.messages.kbytes", rd_kafka_version() >= 0x020000ff ? "8192" : "65536");
    if (rd_kafka_version() >= 0x020200ff)
        tsn_kafka_conf_default(conf, o->config, "fetch.queue.backoff.ms", "5");
    tsn_kafka_conf_default(conf, o->config, "fetch.wait.max.ms", "100");
    tsn_kafka_conf_default(conf, o->config, "topic.metadata.refresh.interval.ms", "30000");
    if (o->instance_id)
        tsn_kafka_conf_set(conf, "group.instance.id", o->instance_id);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    return conf;
}

static const char *property(const struct tsn_config *config, const char *name)
{
    for (size_t i = 0; i < config->kafka.len; i++)
        if (strcmp(config->kafka.items[i].name, name) == 0)
            return config->kafka.items[i].value;
    return "";
}

static enum tsn_err subscribe(struct tsn_consumer *c, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->topic_count);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < c->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, c->topics[i], RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return tsn_kafka_error(error, code, "subscribe");
}

struct tsn_consumer *tsn_consumer_new(const struct tsn_consumer_options *o, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = member_conf(o, error), *watch = NULL;
    struct tsn_consumer *c;

    if (!conf)
        return NULL;
    c = tsn_calloc(1, sizeof *c);
    c->opt = *o;
    c->opt.config = NULL;
    c->group = tsn_strdup(o->group);
    c->sasl_username = tsn_strdup(property(o->config, "sasl.username"));
    c->sasl_password = tsn_strdup(property(o->config, "sasl.password"));
    c->topic_count = o->topic_count;
    c->topics = tsn_calloc(o->topic_count, sizeof *c->topics);
    for (size_t i = 0; i < o->topic_count; i++)
        c->topics[i] = tsn_strdup(o->topics[i]);
    c->counts = tsn_calloc(o->topic_count, sizeof *c->counts);
    for (size_t i = 0; i < o->topic_count; i++)
        c->counts[i] = -1;
    rd_kafka_conf_set_opaque(conf, c);
    c->rk = tsn_kafka_client(RD_KAFKA_CONSUMER, conf, error);
    if (c->rk && (watch = group_conf(o->config, o->group, error))) {
        tsn_kafka_conf_set(watch, "isolation.level", "read_uncommitted");
        c->observer = tsn_kafka_client(RD_KAFKA_CONSUMER, watch, error);
    }
    if (!c->rk || !c->observer) {
        tsn_consumer_free(&c);
        return NULL;
    }
    rd_kafka_poll_set_consumer(c->rk);
    c->queue = rd_kafka_queue_get_consumer(c->rk);
    if (subscribe(c, error))
        tsn_consumer_free(&c);
    return c;
}

/*
 * A fetcher that finds the queue full sleeps for up to a second, however soon the queue is empty: half of the time in a catch-up. From
 * librdkafka 2.2 on a property shortens that. Before, a broker's thread can only be woken, and the one public call that does nothing else
 * is setting the SASL credentials: to what they are (it takes effect with the next connection).
 */
static void wake_fetchers(struct tsn_consumer *c)
{
#if RD_KAFKA_VERSION >= 0x020000ff
    int64_t now_ns = tsn_mono_now().ns;
    rd_kafka_error_t *err;

    if (rd_kafka_version() >= 0x020200ff || c->held_count <= 0 || now_ns - c->woken_ns < WAKE_MS * INT64_C(1000000))
        return;
    c->woken_ns = now_ns;
    err = rd_kafka_sasl_set_credentials(c->rk, c->sasl_username, c->sasl_password);
    if (err)
        rd_kafka_error_destroy(err);
#else
    TSN_UNUSED(c);
#endif
}

static void release_held(struct tsn_consumer *c)
{
    for (ssize_t i = 0; i < c->held_count; i++)
        rd_kafka_message_destroy(c->held[i]);
    c->held_count = 0;
}

static void on_gap(struct tsn_consumer *c, const rd_kafka_message_t *m, int32_t topic)
{
    struct tsn_error error;

    if (c->opt.gap)
        c->opt.gap(c->opt.arg, topic, m->partition);
    else
        tsn_log(TSN_LOG_ERROR, "kafka", "position is out of the log: records were deleted before they were read",
                "topic=%s partition=%d", c->topics[topic], m->partition);
    (void)tsn_consumer_seek(c, topic, m->partition, TSN_OFFSET_BEGINNING, &error);
}

/* Errors of a partition are temporary unless librdkafka says fatal; the fetcher goes on by itself. */
static bool usable(struct tsn_consumer *c, rd_kafka_message_t *m, int32_t topic)
{
    if (topic < 0)
        return false;
    if (!m->err || m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return true;
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        on_gap(c, m, topic);
    else if (m->err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        fail(c, TSN_ERR_FENCED, c->group, rd_kafka_message_errstr(m));
    else if (m->err == RD_KAFKA_RESP_ERR__FATAL) /* asked for below, with its reason */
        return false;
    else
        tsn_log(TSN_LOG_WARN, "kafka", "fetch error", "topic=%s partition=%d error=\"%s\"", c->topics[topic], m->partition,
                rd_kafka_message_errstr(m));
    return false;
}

/* The call waits until the batch is full or time is up: one message is waited for, then those that come with it. */
static void fill_held(struct tsn_consumer *c, int timeout_ms, size_t max)
{
    ssize_t more;

    release_held(c);
    c->held_count = rd_kafka_consume_batch_queue(c->queue, timeout_ms, c->held, 1);
    if (c->held_count <= 0 || max < 2) {
        c->held_count = c->held_count < 0 ? 0 : c->held_count;
        return;
    }
    more = rd_kafka_consume_batch_queue(c->queue, timeout_ms < GATHER_MS ? timeout_ms : GATHER_MS, c->held + 1, max - 1);
    c->held_count += more < 0 ? 0 : more;
    wake_fetchers(c);
}

int tsn_consumer_poll(struct tsn_consumer *c, int timeout_ms, struct tsn_message *out, int max, struct tsn_error *error)
{
    rd_kafka_resp_err_t fatal;
    char why[256];
    int used = 0;

    fill_held(c, timeout_ms, (size_t)(max < BATCH_MAX ? max : BATCH_MAX));
    for (ssize_t i = 0; i < c->held_count; i++) {
        rd_kafka_message_t *m = c->held[i];
        int32_t topic = m->rkt ? topic_index(c, rd_kafka_topic_name(m->rkt)) : -1;

        if (!usable(c, m, topic))
            continue;
        tsn_kafka_message_fill(&out[used], m);
        out[used].topic = topic;
        out[used++].handle = m;
    }
    if (!c->failed.code && (fatal = rd_kafka_fatal_error(c->rk, why, sizeof why)))
        fail(c, tsn_kafka_class(fatal), c->group, why);
    if (c->failed.code) {
        *error = c->failed;
        memset(&c->failed, 0, sizeof c->failed);
        return -1;
    }
    return used;
}

void tsn_consumer_pause(struct tsn_consumer *c, int32_t topic, int32_t partition, bool pause)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, c->topics[topic], partition);
    if (pause)
        rd_kafka_pause_partitions(c->rk, list);
    else
        rd_kafka_resume_partitions(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

enum tsn_err tsn_consumer_seek(struct tsn_consumer *c, int32_t topic, int32_t partition, int64_t offset, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_error_t *err;
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(list, c->topics[topic], partition)->offset = offset;
    err = rd_kafka_seek_partitions(c->rk, list, SEEK_MS);
    code = list->elems[0].err;
    rd_kafka_topic_partition_list_destroy(list);
    if (err)
        return tsn_kafka_take_error(error, err, "seek");
    return tsn_kafka_error(error, code, "seek");
}

int64_t tsn_consumer_high(struct tsn_consumer *c, int32_t topic, int32_t partition)
{
    int64_t low = -1, high = -1;

    if (rd_kafka_get_watermark_offsets(c->rk, c->topics[topic], partition, &low, &high))
        return -1;
    return high;
}

/* Repeats call(c, arg, slice) until it answers, timeout_ms have passed or the thread was told to give up. */
static rd_kafka_resp_err_t in_slices(struct tsn_consumer *c, rd_kafka_resp_err_t (*call)(struct tsn_consumer *c, void *arg, int timeout_ms),
                                     void *arg, int timeout_ms)
{
    int64_t until_ns = tsn_mono_now().ns + (int64_t)timeout_ms * 1000000;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;

    while (!tsn_kafka_given_up()) {
        int64_t left_ms = (until_ns - tsn_mono_now().ns) / 1000000;

        if (left_ms <= 0)
            break;
        code = call(c, arg, left_ms < SLICE_MS ? (int)left_ms : SLICE_MS);
        if (code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE)
            break;
    }
    return code;
}

struct end_query {
    const char *topic;
    int32_t partition;
    int64_t end;
};

static rd_kafka_resp_err_t query_end(struct tsn_consumer *c, void *arg, int timeout_ms)
{
    struct end_query *q = arg;

    return tsn_kafka_ask_offset(c->observer, q->topic, q->partition, &q->end, timeout_ms);
}

int64_t tsn_consumer_query_end(struct tsn_consumer *c, int32_t topic, int32_t partition, int timeout_ms)
{
    struct end_query q = { c->topics[topic], partition, RD_KAFKA_OFFSET_END };

    return in_slices(c, query_end, &q, timeout_ms) ? -1 : q.end;
}

/* A topic has more partitions than it had: the group must hear of it. Without an answer it is tried again with the next look. */
static void note_count(struct tsn_consumer *c, int32_t topic, int32_t count, int timeout_ms)
{
    const struct rd_kafka_metadata *md = NULL;

    if (c->counts[topic] > 0 && count > c->counts[topic]) {
        tsn_log(TSN_LOG_INFO, "kafka", "a topic has new partitions", "topic=%s partitions=%d", c->topics[topic], count);
        if (rd_kafka_metadata(c->rk, 1, NULL, &md, timeout_ms))
            return;
        rd_kafka_metadata_destroy(md);
    }
    c->counts[topic] = count;
}

static rd_kafka_resp_err_t ask_count(struct tsn_consumer *c, void *arg, int timeout_ms)
{
    int32_t topic = *(int32_t *)arg;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(c->observer, c->topics[topic], NULL);
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(c->observer, 0, rkt, &md, timeout_ms);

    if (!code && md->topic_cnt == 1 && !md->topics[0].err)
        note_count(c, topic, md->topics[0].partition_cnt, timeout_ms);
    if (md)
        rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(rkt);
    return code;
}

int32_t tsn_consumer_partition_count(struct tsn_consumer *c, int32_t topic, int timeout_ms)
{
    return in_slices(c, ask_count, &topic, timeout_ms) ? -1 : c->counts[topic];
}

int32_t tsn_consumer_known_count(const struct tsn_consumer *c, int32_t topic)
{
    return c->counts[topic];
}

static enum tsn_err know_counts(struct tsn_consumer *c, int timeout_ms, struct tsn_error *error)
{
    bool old = !c->counts_ns || tsn_mono_now().ns - c->counts_ns >= COUNTS_MS * INT64_C(1000000);

    for (int32_t t = 0; (size_t)t < c->topic_count; t++) {
        rd_kafka_resp_err_t code = old || c->counts[t] < 0 ? in_slices(c, ask_count, &t, timeout_ms) : RD_KAFKA_RESP_ERR_NO_ERROR;

        if (code)
            return tsn_kafka_error(error, code, c->topics[t]);
    }
    if (old)
        c->counts_ns = tsn_mono_now().ns;
    return TSN_OK;
}

static rd_kafka_resp_err_t ask_committed(struct tsn_consumer *c, void *arg, int timeout_ms)
{
    return rd_kafka_committed(c->observer, arg, timeout_ms);
}

enum tsn_err tsn_consumer_committed(struct tsn_consumer *c, int timeout_ms, struct tsn_kafka_partitions *out, struct tsn_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    enum tsn_err err = know_counts(c, timeout_ms, error);

    for (size_t t = 0; t < c->topic_count && !err; t++)
        for (int32_t p = 0; p < c->counts[t]; p++)
            rd_kafka_topic_partition_list_add(list, c->topics[t], p);
    if (!err && list->cnt)
        err = tsn_kafka_error(error, in_slices(c, ask_committed, list, timeout_ms), "committed offsets");
    if (!err)
        list_from(c, list, out);
    rd_kafka_topic_partition_list_destroy(list);
    return err;
}

static void release(void *owner)
{
    struct tsn_consumer *c = owner;

    for (size_t i = 0; i < c->topic_count; i++)
        tsn_free(c->topics[i]);
    tsn_free(c->topics);
    tsn_free(c->counts);
    tsn_free(c->group);
    tsn_free(c->sasl_username);
    tsn_free(c->sasl_password);
    tsn_free(c);
}

void tsn_consumer_free(struct tsn_consumer **consumer)
{
    struct tsn_consumer *c = *consumer;

    *consumer = NULL;
    if (!c)
        return;
    atomic_store(&c->closing, true);
    release_held(c);
    if (c->queue)
        rd_kafka_queue_destroy(c->queue);
    if (c->observer)
        tsn_kafka_dispose(c->observer, false, NULL, NULL);
    if (c->rk)
        tsn_kafka_dispose(c->rk, true, release, c);
    else
        release(c);
}
