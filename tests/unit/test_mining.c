/*
 * Goal: DETECT mines. What it makes of log signatures is a function of which lines fell in which pane.
 * Method: logs of samples by hand (detect_world.h); what is looked at are transitions, state and the records of topic `templates`.
 *   - a new template fires with its text and lines, a second time it is not new; other services and levels do not mix;
 *   - the same lines cut into other batches, in other orders, by other writers, give the same ids, texts, counts and transitions;
 *   - a merge moves no counts, ends the other series, and is no discovery;
 *   - a takeover after every batch gives what the undisturbed run gives, `templates` included;
 *   - a replay from the middle of the log, seeded from state, finds and merges when the live run did.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../detect_world.h"

static const char rules_text[] =
    "groups:\n"
    "- {name: logs, interval: 5s, rules: [\n"
    "   {alert: New, expr: 'sum by (service, level) (increase(log_templates_discovered_total{level=~\"ERROR|FATAL\"}[20s])) > 0'},\n"
    "   {alert: Found, expr: 'log_templates_discovered_total > 0'},\n"
    "   {alert: Lines, expr: 'log_template_messages_total > 0'},\n"
    "   {alert: Surge, expr: 'increase(log_template_messages_total[10s]) > 50'}]}\n";

static int64_t ttl_ms = 60000; /* short, so that a test sees it run out */

struct world {
    struct log log;
    struct log_writer writers[2];
};

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->log.wall_ms = T0;
    writer_init(&w->writers[0], 0, 1);
    writer_init(&w->writers[1], 1, 1);
    put_decl(&w->writers[0], "l", 1, "log_template_messages_total");
}

static void world_release(struct world *w)
{
    writer_release(&w->writers[0]);
    writer_release(&w->writers[1]);
    log_release(&w->log);
}

static void lines(struct world *w, const char *service, const char *level, const char *line, int64_t at_s, int64_t count)
{
    put_lines(&w->log, &w->writers[0], service, level, line, T0 + at_s * 1000, count);
}

/* Sends what was put, event time at_s reached. */
static void send(struct world *w, int64_t at_s)
{
    put_input(&w->writers[0], "l", 0, T0 + at_s * 1000, false, TSN_TIME_NONE);
    w->log.wall_ms += 1000;
    (void)log_send(&w->log, &w->writers[0]);
}

static struct tsn_detect *new_detect(void)
{
    struct tsn_detect_options options = { .partition_count = 1, .counter_ttl_ms = ttl_ms };
    struct tsn_detect *d = tsn_detect_new(&options);

    tsn_detect_add_rule_set(d, 0, world_rules(rules_text));
    return d;
}

/* Compacted topics: `state`, `templates`. */
static void topic_put(struct tsn_map *topic, const struct tsn_state_record *r)
{
    tsn_free(tsn_map_del(topic, r->key, strlen(r->key)));
    if (r->value)
        tsn_map_put_str(topic, r->key, tsn_strndup(r->value, r->value_len));
}

static void topic_release(struct tsn_map *topic)
{
    tsn_map_foreach(topic, e)
        tsn_free(e->value);
    tsn_map_release(topic);
}

struct topics {
    struct tsn_map state, templates;
};

static void topics_release(struct topics *t)
{
    topic_release(&t->state);
    topic_release(&t->templates);
}

static void checkpoint(struct tsn_detect *d, int64_t next_offset, struct topics *topics)
{
    struct tsn_detect_output out = { 0 };

    tsn_detect_checkpoint(d, next_offset, &out);
    for (size_t i = 0; i < out.state.len; i++)
        topic_put(&topics->state, &out.state.items[i]);
    for (size_t i = 0; i < out.templates.len; i++)
        topic_put(&topics->templates, &out.templates.items[i]);
    tsn_detect_output_release(&out);
}

static struct tsn_detect *take_over(const struct topics *topics, const struct log *log)
{
    struct tsn_detect *d = new_detect();
    struct tsn_detect_output out = { 0 };
    struct tsn_error error = { 0 };
    int64_t from, next;

    tsn_map_foreach(&topics->state, e)
        if (tsn_detect_restore(d, tsn_map_entry_key(e), e->key_len, e->value, strlen(e->value), &error))
            fail_msg("restore: %s", error.message);
    if (tsn_detect_restore_done(d, &from, &next, &error))
        fail_msg("restore: %s", error.message);
    for (size_t i = 0; i < log->records.len; i++)
        if (log->records.items[i].offset >= from && log->records.items[i].offset < next)
            apply_record(d, &log->records.items[i], &out);
    assert_int_equal(out.transitions.len, 0);
    tsn_detect_output_release(&out);
    return d;
}

static void put_more(struct tsn_buf *text, const struct tsn_detect_output *out)
{
    for (size_t i = 0; i < out->transitions.len; i++) {
        const struct tsn_transition *t = &out->transitions.items[i];

        put_line(text, t->step_ms, t->rule, t->was, t->state, t->labels, t->annotations, t->value, t->active_at_ms);
        for (size_t k = 0; k < t->template_count; k++)
            tsn_buf_printf(text, "  of %s\n", t->templates[k]);
        for (size_t k = 0; k < t->sample_line_count; k++)
            tsn_buf_printf(text, "  as %s\n", t->sample_lines[k]);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The topic's records in order of keys. */
static void put_topic(struct tsn_buf *text, const struct tsn_map *topic)
{
    TSN_VEC(char *) rows = { 0 };

    tsn_map_foreach(topic, e) {
        struct tsn_buf row = TSN_BUF_INIT;

        tsn_buf_append(&row, tsn_map_entry_key(e), e->key_len);
        tsn_buf_printf(&row, " %s\n", (char *)e->value);
        tsn_vec_push(&rows, tsn_buf_take(&row, NULL));
    }
    if (rows.len)
        qsort(rows.items, rows.len, sizeof *rows.items, by_text);
    for (size_t i = 0; i < rows.len; i++) {
        tsn_buf_puts(text, rows.items[i]);
        tsn_free(rows.items[i]);
    }
    tsn_vec_release(&rows);
}

/* The whole log; a new owner after every `every`th batch (0: never). Transitions, then topic `templates`. */
static void run(const struct log *log, size_t every, struct tsn_buf *text)
{
    struct tsn_detect *d = new_detect();
    struct topics topics;
    struct tsn_detect_stats stats;

    tsn_map_init(&topics.state);
    tsn_map_init(&topics.templates);
    for (size_t i = 0; i < log->records.len; i++) {
        struct tsn_detect_output out = { 0 };

        apply_record(d, &log->records.items[i], &out);
        put_more(text, &out);
        tsn_detect_output_release(&out);
        checkpoint(d, log->records.items[i].offset + 1, &topics);
        if (every && (i + 1) % every == 0) {
            tsn_detect_free(&d);
            d = take_over(&topics, log);
        }
    }
    tsn_detect_get_stats(d, &stats);
    assert_int_equal(stats.refill_mismatches, 0);
    tsn_detect_free(&d);
    put_topic(text, &topics.templates);
    topics_release(&topics);
}

static size_t count_of(const struct tsn_buf *text, const char *what)
{
    size_t n = 0;

    for (const char *at = tsn_buf_str(text); (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

/* ---- a new template ----------------------------------------------------------------------- */

static void test_new_template(void **state)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    world_init(&w);
    lines(&w, "a", "INFO", "GET /x 200 in 5 ms", 1, 7);
    send(&w, 3);
    lines(&w, "a", "ERROR", "connection to 10.0.0.1 lost after 3 s", 7, 2);
    lines(&w, "b", "INFO", "GET /x 200 in 9 ms", 7, 1);
    send(&w, 12);
    lines(&w, "a", "ERROR", "connection to 10.0.0.9 lost after 30 s", 13, 3);
    send(&w, 60);
    lines(&w, "a", "ERROR", "disk /dev/sda1 is full", 77, 1);
    send(&w, 130);
    run(&w.log, 0, &text);
    assert_int_equal(count_of(&text, "+10 New pending>firing") + count_of(&text, "+10 New inactive>firing"), 1);
    assert_int_equal(count_of(&text, " New "), 4); /* each has its end */
    assert_int_equal(count_of(&text, "+80 New inactive>firing"), 1); /* the second of its service and level is as new as the first */
    assert_non_null(strstr(tsn_buf_str(&text), "  of "));
    assert_non_null(strstr(tsn_buf_str(&text), "connection to <*> lost after <*>"));
    assert_non_null(strstr(tsn_buf_str(&text), "  as connection to 10.0.0.1 lost after 3 s\n"));
    assert_int_equal(count_of(&text, "\"text\":"), 4);
    assert_non_null(strstr(tsn_buf_str(&text), "\"count\":5"));
    tsn_buf_release(&text);
    world_release(&w);
}

/* The second of its service and level, when no window holds a sample of the first any more, nor has its series ended. */
static void test_late_discovery(void **state)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    ttl_ms = 7200000;
    world_init(&w);
    lines(&w, "a", "ERROR", "connection to 10.0.0.1 lost after 3 s", 7, 2);
    for (int s = 12; s <= 1500; s += 10)
        send(&w, s);
    lines(&w, "a", "ERROR", "disk /dev/sda1 is full", 1502, 1);
    send(&w, 1560);
    run(&w.log, 0, &text);
    assert_int_equal(count_of(&text, "+1505 New inactive>firing"), 1);
    assert_int_equal(count_of(&text, "New inactive>firing"), 2);
    ttl_ms = 60000;
    tsn_buf_release(&text);
    world_release(&w);
}

/* ---- merges ------------------------------------------------------------------------------- */

static const char *const names[] = { "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi" };

static void test_merge_moves_no_counts(void **state)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_detect *d = new_detect();
    struct tsn_detect_output out = { 0 };
    struct tsn_detect_stats stats;
    struct world w;

    TSN_UNUSED(state);
    world_init(&w);
    for (int i = 0; i < 8; i++) {
        char line[64];

        snprintf(line, sizeof line, "session opened for user %s by root", names[i]);
        lines(&w, "a", "INFO", line, 1 + 6 * i, 10);
        send(&w, 5 + 6 * i);
    }
    send(&w, 100);
    run(&w.log, 0, &text);
    for (size_t i = 0; i < w.log.records.len; i++)
        apply_record(d, &w.log.records.items[i], &out);
    tsn_detect_get_stats(d, &stats);
    assert_true(stats.mining.merged >= 2);
    assert_int_equal(stats.mining.templates, 1);
    assert_int_equal(stats.mining.lines, 80);
    assert_int_equal(stats.mining.discovered, stats.mining.merged + 1);
    assert_int_equal(count_of(&text, "\"merged_into\":\""), stats.mining.merged); /* each says into which */
    assert_int_equal(count_of(&text, "session opened for user <*> by root\",\"first_seen"), stats.mining.merged + 1);
    assert_int_equal(count_of(&text, "\"count\":80"), 1);
    /* each merged series ends at once, not after its ttl: at +50 only the survivor is left */
    for (size_t i = 0; i < out.transitions.len; i++)
        if (strcmp(out.transitions.items[i].rule, "Lines") == 0 && out.transitions.items[i].state == TSN_ALERT_RESOLVED)
            assert_true(out.transitions.items[i].step_ms <= T0 + 50000 || stats.watermark_ms >= T0 + 100000);
    assert_int_equal(count_of(&text, " Found inactive>firing"), 1); /* one series of discoveries, that never went back */
    tsn_detect_output_release(&out);
    tsn_detect_free(&d);
    tsn_buf_release(&text);
    world_release(&w);
}

/* ---- chance ------------------------------------------------------------------------------- */

static uint64_t rng_state;

static int64_t below(int64_t n)
{
    uint64_t z = rng_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (int64_t)((z ^ z >> 31) % (uint64_t)n);
}

struct event {
    const char *service, *level;
    char line[80];
    int64_t at_ms, count;
};

enum { EVENTS = 250, LAST_S = 400 };

static int by_time(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

static void make_events(struct event events[EVENTS])
{
    static const char *const services[] = { "a", "b", "" }, *const levels[] = { "INFO", "ERROR", "" };

    for (int i = 0; i < EVENTS; i++) {
        struct event *e = &events[i];

        *e = (struct event){ .service = services[below(3)], .level = levels[below(3)], .count = 1 + below(40) };
        e->at_ms = 1000 + (below(4) ? below(120) : below(LAST_S - 60)) * 1000 + below(1000);
        switch (below(4)) {
        case 0: snprintf(e->line, sizeof e->line, "session opened for user %s by root", names[below(8)]); break;
        case 1: snprintf(e->line, sizeof e->line, "job %s finished in %d ms", names[below(below(2) ? 2 : 8)], (int)below(900)); break;
        case 2: snprintf(e->line, sizeof e->line, "cache %s of %s is full", names[below(3)], names[below(8)]); break;
        default: snprintf(e->line, sizeof e->line, "peer 10.0.0.%d went away", (int)below(200)); break;
        }
    }
    qsort(events, EVENTS, sizeof *events, by_time);
}

/* The events in batches of chance, shuffled in each; the watermark never passes one that is to come. `late`: some do. */
static void deliver(struct world *w, const struct event *events, int most, int writers, bool late)
{
    for (int at = 0, n; at < EVENTS; at += n) {
        int order[EVENTS], slot = (int)below(writers);
        struct log_writer *by = &w->writers[slot];
        int64_t watermark_ms;

        n = 1 + (int)below(most);
        n = n > EVENTS - at ? EVENTS - at : n;
        for (int i = 0; i < n; i++) {
            int other = (int)below(i + 1);

            order[i] = order[other];
            order[other] = at + i;
        }
        for (int i = 0; i < n; i++) {
            const struct event *e = &events[order[i]];

            put_lines(&w->log, by, e->service, e->level, e->line, T0 + e->at_ms - (late && !below(9) ? 20000 : 0), e->count);
        }
        watermark_ms = at + n < EVENTS ? events[at + n].at_ms - 1 : LAST_S * 1000;
        put_input(by, "l", 0, T0 + watermark_ms, false, TSN_TIME_NONE);
        w->log.wall_ms += 100 + below(3000);
        (void)log_send(&w->log, by);
    }
    send(w, LAST_S + 100);
}

/* Without sample lines: which line of a batch is its sample is the batch's business. */
static void without_samples(struct tsn_buf *text)
{
    struct tsn_buf kept = TSN_BUF_INIT;
    char *rest = tsn_buf_take(text, NULL), *copy = rest, *line;

    while (copy && (line = strsep(&copy, "\n")) != NULL) {
        char *samples = strstr(line, ",\"samples\":");

        if (strncmp(line, "  as ", 5) == 0)
            continue;
        if (samples)
            *samples = '\0';
        tsn_buf_printf(&kept, "%s\n", line);
    }
    tsn_free(rest);
    *text = kept;
}

static void same(uint64_t seed, const char *what, struct tsn_buf *want, struct tsn_buf *got)
{
    const char *a = tsn_buf_str(want), *b = tsn_buf_str(got);
    size_t at = 0;

    while (a[at] && a[at] == b[at])
        at++;
    if (a[at] != b[at]) {
        while (at && a[at - 1] != '\n')
            at--;
        fail_msg("seed %llu, %s: want\n%.300s\ngot\n%.300s", (unsigned long long)seed, what, a + at, b + at);
    }
    tsn_buf_release(got);
}

static void test_batches_do_not_matter(void **state)
{
    TSN_UNUSED(state);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct event *events = tsn_calloc(EVENTS, sizeof *events);
        struct tsn_buf want = TSN_BUF_INIT, got = TSN_BUF_INIT;

        rng_state = seed;
        make_events(events);
        for (int variant = 0; variant < 4; variant++) {
            struct world w;

            world_init(&w);
            deliver(&w, events, (int[]){ 1, 5, 30, 90 }[variant], 1 + variant % 2, false);
            run(&w.log, 0, variant ? &got : &want);
            without_samples(variant ? &got : &want);
            if (variant)
                same(seed, "other batches", &want, &got);
            world_release(&w);
        }
        assert_true(count_of(&want, "\"merged_into\":\"") > 0);
        tsn_buf_release(&want);
        tsn_free(events);
    }
}

static void test_takeover_everywhere(void **state)
{
    TSN_UNUSED(state);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct event *events = tsn_calloc(EVENTS, sizeof *events);
        struct tsn_buf want = TSN_BUF_INIT, got = TSN_BUF_INIT;
        struct world w;

        rng_state = seed;
        make_events(events);
        world_init(&w);
        deliver(&w, events, 6, 2, true);
        run(&w.log, 0, &want);
        for (size_t every = 1; every <= 3; every++) {
            run(&w.log, every, &got);
            same(seed, "takeover after every batch", &want, &got);
        }
        world_release(&w);
        tsn_buf_release(&want);
        tsn_free(events);
    }
}

/* ---- bounds ------------------------------------------------------------------------------- */

/* More templates at once than a service and level may have: the rare and old ones go, from state and from topic `templates`, too. */
static void test_eviction(void **state)
{
    enum { LINES = 2600, AT_ONCE = 100 };
    struct tsn_detect *d = new_detect(), *second;
    struct topics topics;
    struct tsn_detect_stats stats, after;
    struct tsn_buf all = TSN_BUF_INIT;
    struct world w;

    TSN_UNUSED(state);
    tsn_map_init(&topics.state);
    tsn_map_init(&topics.templates);
    world_init(&w);
    for (int i = 0; i < LINES; i++) {
        char line[64];

        snprintf(line, sizeof line, "%c%c%c told %c%c%c so", 'a' + i / 676 % 26, 'a' + i / 26 % 26, 'a' + i % 26, 'z' - i % 26,
                 'z' - i / 26 % 26, 'z' - i / 676 % 26); /* two words differ: nothing merges */
        lines(&w, "a", "INFO", line, 1 + i / AT_ONCE, i == 7 ? 1000 : 1);
        if (i % AT_ONCE == AT_ONCE - 1)
            send(&w, 2 + i / AT_ONCE);
    }
    send(&w, 100);
    for (size_t i = 0; i < w.log.records.len; i++) {
        struct tsn_detect_output out = { 0 };

        apply_record(d, &w.log.records.items[i], &out);
        tsn_detect_output_release(&out);
        checkpoint(d, w.log.records.items[i].offset + 1, &topics);
    }
    tsn_detect_get_stats(d, &stats);
    assert_int_equal(stats.mining.discovered, LINES);
    assert_int_equal(stats.mining.lines, LINES + 999);
    assert_true(stats.mining.evicted_templates > 0);
    assert_true(stats.mining.templates <= 2000);
    assert_int_equal(stats.mining.templates + stats.mining.evicted_templates, LINES);
    assert_int_equal(topics.templates.count, stats.mining.templates);
    put_topic(&all, &topics.templates);
    assert_int_equal(count_of(&all, "\"count\":1000,"), 1); /* the frequent one stayed */
    second = take_over(&topics, &w.log);
    tsn_detect_get_stats(second, &after);
    assert_int_equal(after.mining.templates, stats.mining.templates);
    tsn_detect_free(&second);
    tsn_detect_free(&d);
    tsn_buf_release(&all);
    topics_release(&topics);
    world_release(&w);
}

/* ---- replay ------------------------------------------------------------------------------- */

/* The lines of rules that look at increases, from the second on; totals of a log read from its middle are others. */
static void from_second(struct tsn_buf *text, long first)
{
    struct tsn_buf kept = TSN_BUF_INIT;
    char *rest = tsn_buf_take(text, NULL), *copy = rest, *line;

    while (copy && (line = strsep(&copy, "\n")) != NULL)
        if (line[0] == '+' && strtol(line + 1, NULL, 10) >= first && (strstr(line, " New ") || strstr(line, " Surge ")))
            tsn_buf_printf(&kept, "%.*s\n", (int)(strstr(line, " since ") - line), line); /* some are active since before */
    tsn_free(rest);
    *text = kept;
}

static void test_replay_from_the_middle(void **state)
{
    size_t compared = 0;

    TSN_UNUSED(state);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct event *events = tsn_calloc(EVENTS, sizeof *events);
        struct tsn_buf want = TSN_BUF_INIT, got = TSN_BUF_INIT;
        struct tsn_detect *d = new_detect();
        struct topics topics;
        struct tsn_error error = { 0 };
        struct world w;

        tsn_map_init(&topics.state);
        tsn_map_init(&topics.templates);
        rng_state = seed;
        make_events(events);
        world_init(&w);
        deliver(&w, events, 6, 1, false);
        for (int replay = 0; replay < 2; replay++) {
            for (size_t i = 0; i < w.log.records.len; i++) {
                struct tsn_detect_output out = { 0 };

                if (replay && i && i < 12) /* the first one declares the inputs */
                    continue;
                apply_record(d, &w.log.records.items[i], &out);
                put_transitions(replay ? &got : &want, &out);
                tsn_detect_output_release(&out);
                if (!replay)
                    checkpoint(d, w.log.records.items[i].offset + 1, &topics);
            }
            tsn_detect_free(&d);
            if (replay)
                break;
            d = new_detect();
            tsn_map_foreach(&topics.state, e)
                tsn_detect_seed(d, tsn_map_entry_key(e), e->key_len, e->value, strlen(e->value));
            if (tsn_detect_seed_done(d, &error))
                fail_msg("seed: %s", error.message);
        }
        from_second(&want, 100);
        from_second(&got, 100);
        compared += count_of(&want, "\n");
        same(seed, "replay from the middle", &want, &got);
        world_release(&w);
        topics_release(&topics);
        tsn_buf_release(&want);
        tsn_free(events);
    }
    assert_true(compared > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_template),          cmocka_unit_test(test_late_discovery),
        cmocka_unit_test(test_merge_moves_no_counts),
        cmocka_unit_test(test_batches_do_not_matter),
        cmocka_unit_test(test_takeover_everywhere),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_replay_from_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
