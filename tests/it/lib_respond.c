/* lib_respond: see the header. */
#include "lib_respond.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib_services.h"
#include "tocsin/kafka_admin.h"

static void create_topics(struct world *w)
{
    const char *topics[] = { w->config.topics.alerts, w->config.topics.commands, w->config.topics.incidents, w->config.topics.respond };
    struct tsn_error error = { 0 };
    struct tsn_admin *admin = tsn_admin_new(&w->config, 10000, &error);
    struct tsn_pair_texts none = { 0 };

    assert_non_null(admin);
    for (size_t i = 0; i < TSN_ARRAY_LEN(topics); i++)
        if (tsn_admin_create(admin, topics[i], 1, -1, &none, &error))
            fail_msg("%s: %s", topics[i], error.message);
    tsn_admin_free(&admin);
}

void world_init(struct world *w, const char *name, const char *redis_url, int slot, const char *mode)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    memset(w, 0, sizeof *w);
    w->name = name ? tsn_strdup(name) : tsn_it_name("respond");
    tsn_buf_printf(&text,
                   "kafka: { bootstrap.servers: \"%s\", session.timeout.ms: 3000 }\n"
                   "redis: { url: \"%s\", key_prefix: \"%s:\", command_timeout: 5s }\n"
                   "topics: { prefix: \"%s.\" }\n"
                   "respond: { mode: %s, redis_grace: 1s }\n"
                   "worker: { slot: %d, group_prefix: \"%s.\" }\n",
                   tsn_it_kafka(), redis_url, w->name, w->name, mode, slot, w->name);
    if (tsn_config_parse(&w->config, "test.yaml", text.data, text.len, NULL, &error))
        fail_msg("%s", error.message);
    tsn_buf_release(&text);
    tsn_policy_init_default(&w->policy);
    w->core = tsn_respond_new(&w->policy, NULL);
    if (name)
        return;
    create_topics(w);
    w->producer = tsn_producer_new(&w->config, NULL, 0, &error);
    assert_non_null(w->producer);
}

void world_release(struct world *w)
{
    tsn_producer_free(&w->producer);
    tsn_respond_free(&w->core);
    tsn_policy_release(&w->policy);
    tsn_effects_release(&w->effects);
    tsn_buf_release(&w->expected);
    tsn_config_release(&w->config);
    tsn_free(w->name);
}

/* What must not depend on when it ran: everything but times. */
static void print_event(struct tsn_buf *out, const struct tsn_incident_event *e)
{
    tsn_buf_printf(out, "%s %lld %s sev=%d %s alerts=%zu by=%s %s\n", e->snapshot.incident_id, (long long)e->seq,
                   tsn_incident_event_type_name(e->type), (int)e->snapshot.severity, tsn_incident_state_name(e->snapshot.state),
                   e->snapshot.alert_count, e->actor, e->reason);
}

static void gather(struct world *w)
{
    for (size_t i = 0; i < w->effects.len; i++)
        if (w->effects.items[i].kind == TSN_EFFECT_EVENT)
            print_event(&w->expected, &w->effects.items[i].event);
    tsn_effects_clear(&w->effects);
}

static void send_bytes(struct world *w, const char *topic, const char *key, const struct tsn_buf *bytes)
{
    struct tsn_error error = { 0 };

    if (tsn_producer_send(w->producer, topic, 0, key, strlen(key), bytes->data, bytes->len, TSN_TIME_NONE, NULL, 0, &error))
        fail_msg("%s", error.message);
}

void world_alert(struct world *w, const char *alert, const char *service, const char *severity, bool fires, int64_t fired_ms)
{
    struct tsn_transition t = { .format = 1, .was = fires ? TSN_ALERT_PENDING : TSN_ALERT_FIRING,
                                .state = fires ? TSN_ALERT_FIRING : TSN_ALERT_RESOLVED, .step_ms = fired_ms, .active_at_ms = fired_ms,
                                .fired_at_ms = fired_ms, .keep_firing_since_ms = TSN_TIME_NONE, .value = 1,
                                .end_reason = fires ? TSN_END_NONE : TSN_END_CONDITION };
    struct tsn_buf bytes = TSN_BUF_INIT;

    t.rule = tsn_strdup(alert);
    t.group = tsn_strdup("test");
    t.file = tsn_strdup("test.yaml");
    t.labels = tsn_labels_of("alertname", alert, "service", service, "severity", severity, NULL);
    t.annotations = tsn_labels_empty();
    tsn_u128_hex(t.labels->id, t.alert_id);
    tsn_codec_transition_encode(&t, TSN_FORM_JSON, &bytes);
    send_bytes(w, w->config.topics.alerts, t.alert_id, &bytes);
    tsn_respond_transition(w->core, w->alerts++, fired_ms, &t, &w->effects);
    gather(w);
    tsn_buf_release(&bytes);
    tsn_transition_release(&t);
}

void world_command(struct world *w, const char *command_id, enum tsn_command_kind kind, const char *incident_id, bool reference)
{
    struct tsn_command c = { .format = 1, .command_id = tsn_strdup(command_id), .kind = kind, .incident_id = tsn_strdup(incident_id),
                             .actor = tsn_strdup("ada"), .reason = tsn_strdup("because"), .at_ms = TSN_TIME_NONE };
    struct tsn_buf bytes = TSN_BUF_INIT;

    tsn_codec_command_encode(&c, TSN_FORM_JSON, &bytes);
    send_bytes(w, w->config.topics.commands, incident_id, &bytes);
    if (reference) {
        tsn_respond_command(w->core, w->commands++, tsn_respond_position(w->core).clock_ms, &c, &w->effects);
        gather(w);
    }
    tsn_buf_release(&bytes);
    tsn_command_release(&c);
}

void world_flush(struct world *w)
{
    struct tsn_error error = { 0 };

    if (tsn_producer_flush(w->producer, 10000, &error))
        fail_msg("%s", error.message);
}

static void check_header(const struct tsn_reader *r, const char *name, const char *want)
{
    const void *value;
    size_t len;

    if (!tsn_reader_header(r, name, &value, &len) || len != strlen(want) || memcmp(value, want, len) != 0)
        fail_msg("header %s is not %s", name, want);
}

/* CloudEvents in binary mode, and the incident as the key. */
static void check_headers(const struct tsn_reader *r, const struct tsn_message *m, const struct tsn_incident_event *e,
                          enum tsn_codec_form form)
{
    char text[128], time[TSN_RFC3339_TEXT];

    snprintf(text, sizeof text, "%s:%lld", e->snapshot.incident_id, (long long)e->seq);
    check_header(r, "ce_id", text);
    snprintf(text, sizeof text, "tocsin.incident.%s", tsn_incident_event_type_name(e->type));
    check_header(r, "ce_type", text);
    tsn_format_rfc3339(time, e->event_time_ms);
    check_header(r, "ce_time", time);
    check_header(r, "ce_specversion", "1.0");
    check_header(r, "content-type", form == TSN_FORM_AVRO ? "application/avro" : "application/json");
    assert_int_equal(m->key_len, strlen(e->snapshot.incident_id));
    assert_memory_equal(m->key, e->snapshot.incident_id, m->key_len);
}

char *world_events(struct world *w)
{
    struct tsn_error error = { 0 };
    struct tsn_reader *r = tsn_reader_new(&w->config, w->config.topics.incidents, 0, TSN_OFFSET_BEGINNING, false, &error);
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_message m;

    assert_non_null(r);
    while (tsn_reader_next(r, 15000, &m, &error) == TSN_OK) {
        enum tsn_codec_form form = *(const char *)m.value == '{' ? TSN_FORM_JSON : TSN_FORM_AVRO;
        struct tsn_incident_event e;

        if (tsn_codec_incident_event_decode(m.value, m.value_len, form, &e, &error))
            fail_msg("%s", error.message);
        check_headers(r, &m, &e, form);
        print_event(&out, &e);
        tsn_incident_event_release(&e);
    }
    tsn_reader_free(&r);
    return tsn_buf_take(&out, NULL);
}

static size_t lines_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

void world_assert_events(struct world *w)
{
    int64_t until = tsn_it_now_ms() + 90000;
    const char *want = tsn_buf_str(&w->expected);
    char *got = world_events(w);

    while (lines_of(got) < lines_of(want) && tsn_it_now_ms() < until) {
        tsn_free(got);
        tsn_it_sleep_ms(100);
        got = world_events(w);
    }
    for (const char *a = got, *b = want; *a || *b;) {
        size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");

        if (la != lb || memcmp(a, b, la) != 0)
            fail_msg("got '%.*s', want '%.*s' (%zu of %zu events)", (int)la, a, (int)lb, b, lines_of(got), lines_of(want));
        a += la + (a[la] == '\n');
        b += lb + (b[lb] == '\n');
    }
    tsn_free(got);
}

int world_count_keys(struct world *w, const char *topic, const char *prefix)
{
    struct tsn_error error = { 0 };
    struct tsn_reader *r = tsn_reader_new(&w->config, topic, 0, TSN_OFFSET_BEGINNING, false, &error);
    struct tsn_message m;
    int n = 0;

    assert_non_null(r);
    while (tsn_reader_next(r, 15000, &m, &error) == TSN_OK)
        n += m.key_len >= strlen(prefix) && memcmp(m.key, prefix, strlen(prefix)) == 0 && m.value;
    tsn_reader_free(&r);
    return n;
}
