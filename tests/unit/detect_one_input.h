/*
 * detect_one_input: a DETECT over one input topic "m" of one partition, written by one worker, unless a test says more; beside it the
 * plain reference that is told the same (tests/detect_world.h). Include it after cmocka's headers.
 */
#ifndef TESTS_DETECT_ONE_INPUT_H
#define TESTS_DETECT_ONE_INPUT_H

#include "../detect_world.h"

#define S INT64_C(1000)

struct world {
    struct tsn_detect *d;
    struct tsn_detect_output out;
    struct log log;
    struct log_writer w;
    struct tsn_rule_set *set; /* set 0; owned by d */
    struct reference ref;
    struct tsn_buf lines, reasons;
};

static WORLD_UNUSED void world_start(struct world *w, const char *rules, int64_t ttl_ms)
{
    struct tsn_detect_options options = { .partition_count = 1, .warmup = true, .counter_ttl_ms = ttl_ms };

    memset(w, 0, sizeof *w);
    w->d = tsn_detect_new(&options);
    w->set = world_rules(rules);
    tsn_detect_add_rule_set(w->d, 0, w->set);
    writer_init(&w->w, 0, 1);
    w->log.wall_ms = T0;
    reference_init(&w->ref, ttl_ms);
}

static WORLD_UNUSED void world_stop(struct world *w)
{
    tsn_detect_free(&w->d);
    tsn_detect_output_release(&w->out);
    log_release(&w->log);
    writer_release(&w->w);
    reference_release(&w->ref);
    tsn_buf_release(&w->lines);
    tsn_buf_release(&w->reasons);
}

static WORLD_UNUSED void take_out(struct world *w)
{
    put_transitions(&w->lines, &w->out);
    for (size_t i = 0; i < w->out.transitions.len; i++)
        tsn_buf_printf(&w->reasons, "%s%s\n", tsn_end_reason_name(w->out.transitions.items[i].end_reason),
                       w->out.transitions.items[i].warming ? " warming" : "");
    tsn_detect_output_reset(&w->out);
}

static WORLD_UNUSED void send(struct world *w)
{
    size_t at = log_send(&w->log, &w->w);

    apply_record(w->d, &w->log.records.items[at], &w->out);
    take_out(w);
    w->log.wall_ms += 300;
}

/* A batch that moves topic m to the time. */
static WORLD_UNUSED void tick(struct world *w, int64_t ms)
{
    if (w->log.records.len == 0)
        put_decl(&w->w, "m", 1, NULL);
    put_input(&w->w, "m", 0, ms, false, TSN_TIME_NONE);
    send(w);
}

static WORLD_UNUSED void gauge(struct world *w, const char *series, int64_t ms, double value)
{
    put_point(&w->log, &w->w, series, ms, value);
    ref_point(&w->ref, series, ms, value);
}

static WORLD_UNUSED void count(struct world *w, const char *series, int64_t ms, double value)
{
    put_delta(&w->log, &w->w, series, ms, value);
    ref_delta(&w->ref, series, ms, value);
}

static WORLD_UNUSED void same_as_reference(struct world *w, int64_t first_ms, int64_t last_ms)
{
    reference_run(&w->ref, w->set, first_ms, last_ms);
    assert_string_equal(tsn_buf_str(&w->lines), tsn_buf_str(&w->ref.lines));
    assert_true(w->lines.len > 0);
}

static WORLD_UNUSED struct tsn_detect_stats stats(const struct world *w)
{
    struct tsn_detect_stats s;

    tsn_detect_get_stats(w->d, &s);
    return s;
}

#define GROUP "groups: [{name: g, interval: 15s, rules: ["
#define END "]}]"

#endif
