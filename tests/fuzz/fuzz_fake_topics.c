/*
 * Goal: whatever lies in topics `rules` and `respond`, or was committed as offsets' metadata, a worker starts, or says why not.
 * Method: the stages' own code over a Kafka in memory. The first byte picks the topic; a record is a line, key and value with a tab between.
 *
 *   r  rules: the bytes are one record, ours follows. The book must hold ours, each set must load or be refused, and its settings must make a DETECT
 *   p  respond: records as they may lie there; then RESPOND takes over Kafka's side
 *   other: the same with the bytes as metadata of the committed offset
 */
#include "app/respond_int.h"
#include "../tsan/fake_kafka.h"
#include "tocsin/detect.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char ours[] = "{\"format\":1,\"hash\":\"ours\",\"settings\":{\"shard_label\":\"service\",\"lookback_ms\":300000,\"counter_ttl_ms\":7200000,"
                           "\"warmup\":true},\"files\":[{\"file\":\"r.yaml\",\"text\":\"groups: []\"}]}";

static const char yaml[] = "kafka: { bootstrap.servers: \"b:9092\" }\ninputs: [ { topic: m, type: metrics } ]\nrules: [ \"r.yaml\" ]\n";
static struct tsn_config config;
static bool ready;
static struct tsn_policy policy;

static void set_up(void)
{
    tsn_log_level_set(TSN_LOG_ERROR);
    TSN_ASSERT(tsn_config_parse(&config, "f.yaml", yaml, sizeof yaml - 1, NULL, NULL) == TSN_OK);
    tsn_policy_init_default(&policy);
}

/* ---- rules --------------------------------------------------------------------------------- */

static void use_set(struct rule_book *book, size_t index)
{
    struct rule_settings settings;
    struct tsn_detect *d;
    struct tsn_rule_set *set;
    int64_t number;

    TSN_ASSERT(tsn_rule_book_settings(book, &settings));
    d = tsn_detect_new(&(struct tsn_detect_options){ .shard_label = settings.shard_label, .partition_count = 1, .warmup = settings.warmup,
                                                     .fill_job = settings.fill_job, .counter_ttl_ms = settings.counter_ttl_ms,
                                                     .lookback_ms = settings.lookback_ms, .max_series = 1000,
                                                     .external_labels = settings.external_labels, .external_url = settings.external_url });
    set = tsn_rule_book_load(book, index, &number);
    TSN_ASSERT(number >= 0 && number <= 1);
    if (set)
        tsn_detect_add_rule_set(d, number, set);
    tsn_detect_free(&d);
    tsn_rule_settings_release(&settings);
}

static void read_rules(const uint8_t *data, size_t size)
{
    struct tsn_error error = { 0 };
    struct rule_book *book;

    fake_kafka_topic("tocsin.rules", 1);
    fake_kafka_put("tocsin.rules", 0, data, size, 1700000000000);
    fake_kafka_put("tocsin.rules", 0, ours, sizeof ours - 1, 1700000000000);
    book = tsn_rule_book_new(&config, &error);
    TSN_ASSERT(book || error.code == TSN_ERR_UNSUPPORTED);
    for (size_t i = 0; book && i < tsn_rule_book_count(book); i++)
        use_set(book, i);
    TSN_ASSERT(!book || tsn_rule_book_count(book) >= 1);
    tsn_rule_book_free(&book);
}

/* ---- respond ------------------------------------------------------------------------------- */

static void put_lines(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *line = (const char *)data + at, *end = memchr(line, '\n', size - at), *tab;
        size_t len = end ? (size_t)(end - line) : size - at, key_len;

        tab = memchr(line, '\t', len);
        key_len = tab ? (size_t)(tab - line) : len;
        fake_kafka_put_keyed("tocsin.respond", 0, line, key_len, tab ? tab + 1 : NULL, tab ? len - key_len - 1 : 0);
        at += len + 1;
    }
}

static void take_over(void)
{
    static const char *const topics[] = { "tocsin.alerts", "tocsin.commands" };
    struct tsn_respond_stage stage = { .config = &config, .policy = &policy };
    struct respond_session s = { .stage = &stage, .config = &config };
    struct tsn_consumer_options member = { .config = &config, .group = "tocsin.respond", .instance_id = "0", .topics = topics, .topic_count = 2 };
    struct tsn_error error = { 0 };
    enum tsn_err err;

    pthread_mutex_init(&stage.stats_lock, NULL);
    respond_direct_init(&s.direct);
    s.consumer = tsn_consumer_new(&member, &error);
    err = respond_take_kafka(&s, &error);
    TSN_ASSERT(err == TSN_OK || err == TSN_ERR_UNSUPPORTED);
    if (!err && s.marked)
        TSN_ASSERT(s.mark.run[TSN_RESPOND_RUN_TEXT - 1] == '\0' && s.mark.generation >= 0);
    respond_drop_owner(&s);
    respond_direct_release(&s.direct);
    tsn_consumer_free(&s.consumer);
    pthread_mutex_destroy(&stage.stats_lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const needed[] = { "tocsin.alerts", "tocsin.commands", "tocsin.respond", "tocsin.incidents" };

    if (!size)
        return 0;
    if (!ready)
        set_up();
    ready = true;
    for (size_t i = 0; i < TSN_ARRAY_LEN(needed); i++)
        fake_kafka_topic(needed[i], 1);
    if (data[0] == 'r') {
        read_rules(data + 1, size - 1);
    } else if (data[0] == 'p') {
        put_lines(data + 1, size - 1);
        take_over();
    } else {
        char *text = tsn_strndup((const char *)data + 1, size - 1);

        fake_kafka_commit("tocsin.respond", "tocsin.alerts", 0, 7, text);
        tsn_free(text);
        take_over();
    }
    fake_kafka_reset(1);
    return 0;
}
