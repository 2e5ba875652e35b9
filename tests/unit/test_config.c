/*
 * The configuration: CONTRACT.md's example whole, defaults, secrets, hints, ranges, mappings, topic declarations.
 * Errors are compared with their place, since a person fixes the file by it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tocsin/config.h"

static const char *env(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "SECRET") == 0 ? "hunter2" : NULL;
}

static char *file(void *arg, const char *path, size_t max, size_t *len, struct tsn_error *error)
{
    (void)arg;
    (void)max;
    if (strcmp(path, "etc/pw") != 0) {
        tsn_error_set(error, TSN_ERR_IO, "%s: no such file", path);
        return NULL;
    }
    *len = 8;
    return tsn_strndup("s3cret!\n", 8);
}

static const struct tsn_config_io io = { file, env, NULL };

static enum tsn_err parse(struct tsn_config *c, const char *text, struct tsn_error *e)
{
    memset(e, 0, sizeof *e);
    return tsn_config_parse(c, "etc/tocsin.yaml", text, strlen(text), &io, e);
}

static void fails(const char *text, const char *message)
{
    struct tsn_config c;
    struct tsn_error e;

    assert_int_not_equal(parse(&c, text, &e), TSN_OK);
    assert_string_equal(e.message, message);
}

static void test_contract_example(void **state)
{
    struct tsn_config c;
    struct tsn_error e;

    (void)state;
    assert_int_equal(parse(&c,
        "kafka:   { bootstrap.servers: \"kafka-1:9092\" }\n"
        "redis:   { url: \"redis://redis:6379/0\" }\n"
        "inputs:\n"
        "  - { topic: bridge.metrics, type: metrics }\n"
        "  - { topic: bridge.logs,    type: logs }\n"
        "  - { topic: bridge.hooks,   type: hooks }\n"
        "rules:   [ \"rules/*.yaml\" ]\n"
        "outputs: { incidents: { topic: tocsin.incidents, format: json } }\n"
        "respond: { mode: shadow, group_by: [service], redis_grace: 60s }\n"
        "time:    { out_of_orderness: 5s, future: 5m, idle_timeout: 1s, align: 5m, align_bytes: 256MB, counter_ttl: 2h, blind_after: 30s }\n"
        "detect:  { shard_label: service, warmup: on }\n"
        "worker:  { slot: 0 }\n"
        "http:    { listen: \"127.0.0.1:8642\" }\n", &e), TSN_OK);
    assert_string_equal(c.base_dir, "etc");
    assert_int_equal(c.kafka.len, 1);
    assert_string_equal(c.kafka.items[0].name, "bootstrap.servers");
    assert_int_equal(c.inputs.len, 3);
    assert_int_equal(c.inputs.items[1].type, TSN_INPUT_LOGS);
    assert_string_equal(c.rules.items[0], "rules/*.yaml");
    assert_string_equal(c.topics.incidents, "tocsin.incidents");
    assert_string_equal(c.topics.samples, "tocsin.samples");
    assert_int_equal(c.time.align_bytes, 256000000);
    assert_int_equal(c.time.counter_ttl_ms, 7200000);
    assert_true(c.detect.warmup);
    assert_int_equal(c.respond.group_by.len, 1);
    assert_int_equal(c.respond.mode, TSN_RESPOND_SHADOW);
    tsn_config_release(&c);
}

/* An empty file and the example of CONTRACT.md agree on every default: printed, parsed, printed again is the same text. */
static void test_defaults_round_trip(void **state)
{
    struct tsn_config c, again;
    struct tsn_error e;
    struct tsn_buf one = TSN_BUF_INIT, two = TSN_BUF_INIT;

    (void)state;
    assert_int_equal(parse(&c, "", &e), TSN_OK);
    assert_int_equal(c.time.out_of_orderness_ms, 5000);
    assert_int_equal(c.respond.redis_grace_ms, 60000);
    tsn_config_print(&c, &one);
    assert_int_equal(parse(&again, tsn_buf_str(&one), &e), TSN_OK);
    tsn_config_print(&again, &two);
    assert_string_equal(tsn_buf_str(&one), tsn_buf_str(&two));
    tsn_buf_release(&one);
    tsn_buf_release(&two);
    tsn_config_release(&c);
    tsn_config_release(&again);
}

static void test_secrets(void **state)
{
    struct tsn_config c;
    struct tsn_error e;
    struct tsn_buf out = TSN_BUF_INIT;

    (void)state;
    assert_int_equal(parse(&c,
        "kafka: { sasl.password_file: pw, sasl.username: '${SECRET}', ssl.key.password: abc, client.id: '$${x}${NO:-dflt}' }\n"
        "redis: { password_file: pw }\nhttp: { token: '${SECRET}' }\n", &e), TSN_OK);
    assert_string_equal(c.kafka.items[0].name, "sasl.password");
    assert_string_equal(c.kafka.items[0].value, "s3cret!");
    assert_string_equal(c.kafka.items[1].value, "hunter2");
    assert_true(c.kafka.items[2].secret);
    assert_string_equal(c.kafka.items[3].value, "${x}dflt");
    assert_string_equal(c.redis.password, "s3cret!");
    assert_string_equal(c.http.token, "hunter2");
    tsn_config_print(&c, &out);
    assert_null(strstr(tsn_buf_str(&out), "s3cret"));
    assert_null(strstr(tsn_buf_str(&out), "abc"));
    assert_non_null(strstr(tsn_buf_str(&out), "\"sasl.password\": \"***\""));
    tsn_buf_release(&out);
    tsn_config_release(&c);
    fails("http: { token: '${NOPE}' }",
          "etc/tocsin.yaml:1:16: environment variable NOPE is not set (write ${NOPE:-text} for a default)");
    fails("redis: { password_file: nope }", "etc/tocsin.yaml:1:25: password: cannot read the file: etc/nope: no such file");
}

static void test_hints(void **state)
{
    (void)state;
    fails("inputz: []", "etc/tocsin.yaml:1:1: no section 'inputz'; did you mean 'inputs'?");
    fails("time:\n  allign: 5m", "etc/tocsin.yaml:2:3: no key 'allign' in time; did you mean 'align'?");
    fails("time: { shard_label: x }", "etc/tocsin.yaml:1:9: no key 'shard_label' in time; it belongs to 'detect'");
    fails("time: { align: soon }", "etc/tocsin.yaml:1:16: align: 'soon' is not a duration such as 30s, 5m, 1h30m");
    fails("time: { align: 1s }", "etc/tocsin.yaml:1:16: align: 1s is outside 5s … 1w");
    fails("worker: { slot: 1, slot: 2 }", "etc/tocsin.yaml:1:20: 'slot' stands twice in worker");
    fails("worker: { slot: }", "etc/tocsin.yaml:1:11: slot needs a value");
    fails("respond: { mode: dark }", "etc/tocsin.yaml:1:18: mode: 'dark' is none of shadow|live");
    fails("kafka: { isolation.level: read_uncommitted }",
          "etc/tocsin.yaml:1:10: kafka: 'isolation.level' is set by Tocsin; exactly-once rests on it");
    fails("http: { listen: 'a:b:c' }", "etc/tocsin.yaml: http.listen: 'a:b:c' is not host:port");
    fails("inputs: [ { topic: tocsin.samples } ]", "etc/tocsin.yaml: topic tocsin.samples is an input and Tocsin's own 'samples'");
    fails("inputs: [ { topic: a }, { topic: a } ]", "etc/tocsin.yaml:1:25: topic a stands twice in inputs");
    fails("a: 1\n---\nb: 2", "etc/tocsin.yaml: line 2: a second document; one is read");
}

static void test_mapping(void **state)
{
    struct tsn_config c;
    struct tsn_error e;
    const struct tsn_input_config *in;

    (void)state;
    assert_int_equal(parse(&c,
        "inputs:\n  - topic: shop\n    type: mapped\n    timestamp: created\n    timestamp_format: s\n"
        "    filter: [ { path: kind, any: [order, refund] } ]\n"
        "    series:\n      - { name: orders_total, labels: { service: shop.name }, constants: { team: web } }\n"
        "      - { name: latency, kind: histogram, value: ms, buckets: [1, 2.5, 10] }\n", &e), TSN_OK);
    in = &c.inputs.items[0];
    assert_int_equal(in->timestamp_format, TSN_TIME_S);
    assert_int_equal(in->filters.items[0].any.len, 2);
    assert_int_equal(in->series.len, 2);
    assert_string_equal(in->series.items[0].labels.items[0].value, "shop.name");
    assert_int_equal(in->series.items[1].bucket_count, 3);
    assert_true(in->series.items[1].buckets[1] == 2.5);
    tsn_config_release(&c);
    fails("inputs: [ { topic: a, type: mapped } ]",
          "etc/tocsin.yaml:1:11: input a: `series` belongs to type mapped, and type mapped needs it");
    fails("inputs: [ { topic: a, type: mapped, series: [ { name: x, kind: histogram, value: v, buckets: [2, 1] } ] } ]",
          "etc/tocsin.yaml:1:47: buckets must ascend: 1 after 2");
}

static void test_topic_decl(void **state)
{
    struct tsn_topic_decl d;
    struct tsn_error e;
    const char *good = "role: samples\npartitions: 8\npartitions_fixed: on\nconfig: { retention.ms: 1 }\n", *bad = "role: x\n";

    (void)state;
    assert_int_equal(tsn_topic_decl_parse(&d, "t.yaml", good, strlen(good), &e), TSN_OK);
    assert_int_equal(d.partitions, 8);
    assert_true(d.partitions_fixed);
    assert_int_equal(d.replication, -1);
    assert_string_equal(d.config.items[0].value, "1");
    tsn_topic_decl_release(&d);
    assert_int_not_equal(tsn_topic_decl_parse(&d, "t.yaml", bad, strlen(bad), &e), TSN_OK);
    assert_string_equal(e.message, "t.yaml: a topic needs `partitions` or `partitions_as`, and one of them");
}

static void test_listen_and_reference(void **state)
{
    struct tsn_buf out = TSN_BUF_INIT;
    char host[256];
    int port;

    (void)state;
    assert_true(tsn_config_listen("[::1]:80", host, &port));
    assert_string_equal(host, "::1");
    assert_int_equal(port, 80);
    assert_true(tsn_config_listen(":0", host, &port));
    assert_false(tsn_config_listen("::1:80", host, &port));
    assert_false(tsn_config_listen("h:70000", host, &port));
    tsn_config_reference(&out, true);
    assert_non_null(strstr(tsn_buf_str(&out), "| `time.align` | duration | `5m` |"));
    assert_non_null(strstr(tsn_buf_str(&out), "| `respond.mode` | shadow / live | `shadow` |"));
    tsn_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_example), cmocka_unit_test(test_defaults_round_trip),
        cmocka_unit_test(test_secrets),          cmocka_unit_test(test_hints),
        cmocka_unit_test(test_mapping),          cmocka_unit_test(test_topic_decl),
        cmocka_unit_test(test_listen_and_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
