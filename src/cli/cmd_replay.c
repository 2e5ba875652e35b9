/*
 * cmd_replay: `tocsin replay`, a stretch of history once more, from the topics and into memory.
 *
 * Prints what alerts did in the range and what incidents came of it. --diff compares the alerts with those in topic `alerts`:
 * without --rules they must be the same to the byte (exit 5 if not: samples, rules and alerts then disagree); with --rules the
 * differences are the answer to the what-if.
 */
#include "cli/cli.h"
#include "cli/rule_files.h"
#include "tocsin/app_replay.h"
#include "tocsin/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char about[] =
    "Runs detection and response over the topics again, into memory: nothing is written, no group is joined.\n"
    "A time is RFC 3339, seconds or milliseconds since the epoch, or how long ago (90m).\n\n"
    "Examples:\n"
    "  tocsin replay --from 2026-11-24T02:00:00Z --to 2026-11-24T04:00:00Z   what happened that night\n"
    "  tocsin replay --from 24h --to 0s --diff                               is what was sent what should have been?\n"
    "  tocsin replay --from 24h --to 0s --diff --rules 'rules/new*.yaml'     what would these rules have done?\n";

struct request {
    const char *config_file, *from, *to, *rules, *output;
    bool diff, no_incidents;
    bool json, what_if;
    int64_t from_ms, to_ms;
};

/* ---- times --------------------------------------------------------------------------------- */

/* ---- printing ------------------------------------------------------------------------------ */

static void put_line(struct tsn_buf *out, const struct tsn_transition *t)
{
    char time[TSN_RFC3339_TEXT];

    tsn_format_rfc3339(time, t->step_ms);
    tsn_buf_printf(out, "%.19sZ %-8s %s ", time, tsn_alert_state_name(t->state), t->rule);
    tsn_labels_format(out, t->labels);
    tsn_buf_printf(out, " value %.6g%s%s%s", t->value, t->end_reason ? " (" : "", t->end_reason ? tsn_end_reason_name(t->end_reason) : "",
                   t->end_reason ? ")" : "");
    if (t->warming)
        tsn_buf_puts(out, " warming");
}

static void print_transition(const struct request *r, const char *type, const struct tsn_transition *t)
{
    struct tsn_buf out = TSN_BUF_INIT;

    if (r->json) {
        tsn_buf_printf(&out, "{\"type\":\"%s\",\"transition\":", type);
        tsn_codec_transition_encode(t, TSN_FORM_JSON, &out);
        tsn_buf_putc(&out, '}');
    } else {
        tsn_buf_puts(&out, strcmp(type, "open") == 0 ? "open since before: " : "");
        put_line(&out, t);
    }
    puts(tsn_buf_str(&out));
    tsn_buf_release(&out);
}

static void print_event(const struct request *r, const struct tsn_incident_event *e)
{
    struct tsn_buf out = TSN_BUF_INIT;
    char time[TSN_RFC3339_TEXT];

    if (r->json) {
        tsn_buf_puts(&out, "{\"type\":\"incident\",\"event\":");
        tsn_codec_incident_event_encode(e, TSN_FORM_JSON, &out);
        tsn_buf_putc(&out, '}');
    } else {
        tsn_format_rfc3339(time, e->event_time_ms);
        tsn_buf_printf(&out, "%.19sZ incident %s #%lld %s, Sev %d, level %d, ", time, e->snapshot.incident_id, (long long)e->seq,
                       tsn_incident_event_type_name(e->type), e->snapshot.severity, e->snapshot.level);
        tsn_buf_json_string(&out, e->snapshot.group_key, strlen(e->snapshot.group_key));
    }
    puts(tsn_buf_str(&out));
    tsn_buf_release(&out);
}

static void print_report(const struct request *r, const struct tsn_replay_result *result, size_t differences)
{
    const struct tsn_replay_report *report = &result->report;

    if (r->json)
        printf("{\"type\":\"summary\",\"alerts\":%zu,\"incident_events\":%zu,\"batches\":%llu,\"samples\":%llu,\"steps\":%llu,"
               "\"late_moved\":%llu,\"late_dropped\":%llu,\"unknown_names\":%llu,\"bad_records\":%llu,\"lead_short\":%s,"
               "\"complete\":%s,\"differences\":%zu}\n",
               result->transition_count, result->event_count, (unsigned long long)report->batches, (unsigned long long)report->samples,
               (unsigned long long)report->steps, (unsigned long long)report->late_moved, (unsigned long long)report->late_dropped,
               (unsigned long long)report->unknown_refs, (unsigned long long)report->bad_batches, report->lead_short ? "true" : "false",
               report->reached_ms >= r->to_ms ? "true" : "false", differences);
    else
        printf("%zu transitions, %zu incident events; %llu batches with %llu samples read, %llu steps\n", result->transition_count,
               result->event_count, (unsigned long long)report->batches, (unsigned long long)report->samples,
               (unsigned long long)report->steps);
    if (report->lead_short)
        fprintf(stderr, "tocsin replay: the log begins too late for full windows at --from; the first transitions may differ from the live ones\n");
    if (report->reached_ms < r->to_ms)
        fprintf(stderr, "tocsin replay: event time ends before --to\n");
    if (report->unknown_refs || report->bad_batches)
        fprintf(stderr, "tocsin replay: the log has holes: %llu samples without a name, %llu unreadable records\n",
                (unsigned long long)report->unknown_refs, (unsigned long long)report->bad_batches);
}

/* ---- the difference ------------------------------------------------------------------------ */

/* Lines with how often each side has them: live counts down, the replay up. */
struct diff {
    const struct request *request;
    struct tsn_map lines; /* line → count, as intptr_t + 0 */
};

static void count_line(struct diff *d, const struct tsn_transition *t, intptr_t step)
{
    struct tsn_buf line = TSN_BUF_INIT;
    struct tsn_transition bare = *t; /* without what is told of log templates: which lines were kept then is not in the log */
    void **slot;

    bare.template_count = bare.sample_line_count = 0;
    if (d->request->what_if)
        put_line(&line, t);
    else
        tsn_codec_transition_encode(&bare, TSN_FORM_JSON, &line);
    slot = tsn_map_upsert(&d->lines, line.data, line.len, NULL);
    *slot = (void *)((intptr_t)*slot + step);
    tsn_buf_release(&line);
}

static void count_live(void *arg, const struct tsn_transition *t)
{
    count_line(arg, t, -1);
}

static size_t print_differences(const struct diff *d)
{
    size_t differences = 0;

    tsn_map_foreach(&d->lines, e) {
        struct tsn_buf text = TSN_BUF_INIT;

        if (!e->value)
            continue;
        differences++;
        if (d->request->json) {
            tsn_buf_printf(&text, "{\"type\":\"difference\",\"only\":\"%s\",\"line\":", (intptr_t)e->value < 0 ? "live" : "replay");
            tsn_buf_json_string(&text, tsn_map_entry_key(e), e->key_len);
            tsn_buf_putc(&text, '}');
        } else {
            tsn_buf_printf(&text, "%s %.*s", (intptr_t)e->value < 0 ? "- live only  " : "+ replay only", (int)e->key_len,
                           tsn_map_entry_key(e));
        }
        puts(tsn_buf_str(&text));
        tsn_buf_release(&text);
    }
    return differences;
}

static enum tsn_err compare(const struct request *r, const struct tsn_config *config, const struct tsn_replay_result *result,
                            size_t *differences, struct tsn_error *error)
{
    struct diff d = { .request = r };
    int64_t to_ms = result->report.reached_ms < r->to_ms ? result->report.reached_ms : r->to_ms;
    enum tsn_err err;

    tsn_map_init(&d.lines);
    for (size_t i = 0; i < result->transition_count; i++)
        if (result->transitions[i].step_ms <= to_ms)
            count_line(&d, &result->transitions[i], 1);
    err = tsn_app_read_alerts(config, r->from_ms, to_ms, count_live, &d, error);
    if (!err)
        *differences = print_differences(&d);
    tsn_map_release(&d.lines);
    return err;
}

/* ---- the command --------------------------------------------------------------------------- */

static int exit_of(const struct tsn_error *error)
{
    fprintf(stderr, "tocsin replay: %s\n", error->message);
    switch (error->code) {
    case TSN_ERR_UNREACHABLE:
    case TSN_ERR_TIMEOUT: return TSN_EXIT_UNREACHABLE;
    case TSN_ERR_INVALID: return TSN_EXIT_INVALID;
    default: return TSN_EXIT_FAILED;
    }
}

static int show(const struct request *r, const struct tsn_config *config, const struct tsn_replay_result *result)
{
    struct tsn_error error = { 0 };
    size_t differences = 0;

    for (size_t i = 0; i < result->open_count && !r->diff; i++)
        print_transition(r, "open", &result->open[i]);
    for (size_t i = 0; i < result->transition_count && !r->diff; i++)
        print_transition(r, "alert", &result->transitions[i]);
    for (size_t i = 0; i < result->event_count && !r->diff; i++)
        print_event(r, &result->events[i]);
    if (r->diff && compare(r, config, result, &differences, &error))
        return exit_of(&error);
    print_report(r, result, differences);
    return differences ? TSN_EXIT_DIFFERENT : TSN_EXIT_OK;
}

static int run(struct request *r, const struct tsn_config *config)
{
    struct rule_texts rules = { 0 };
    struct tsn_policy policy;
    struct tsn_replay_result result;
    struct tsn_error error = { 0 };
    struct tsn_app_replay replay = { .from_ms = r->from_ms, .to_ms = r->to_ms, .policy = r->no_incidents ? NULL : &policy };
    int code = tsn_cli_load_policy(config, &policy) ? TSN_EXIT_OK : TSN_EXIT_INVALID;

    r->what_if = r->rules != NULL;
    if (r->rules && rule_texts_add(&rules, r->rules, NULL, &error) <= 0) {
        fprintf(stderr, "tocsin replay: --rules %s: %s\n", r->rules, error.code ? error.message : "no file matches");
        code = TSN_EXIT_INVALID;
    }
    replay.rules = r->rules ? rules.items : NULL;
    replay.rule_count = rules.len;
    if (code == TSN_EXIT_OK) {
        if (tsn_app_replay(config, &replay, &result, &error)) {
            code = exit_of(&error);
        } else {
            code = show(r, config, &result);
            tsn_replay_result_release(&result);
        }
    }
    rule_texts_release(&rules);
    tsn_policy_release(&policy);
    return code;
}

int tsn_cmd_replay(int argc, char **argv)
{
    struct request r = { .config_file = "tocsin.yaml", .to = "0s", .output = "table" };
    const struct tsn_option options[] = {
        { "from", TSN_OPT_TEXT, &r.from, "TIME", "first step, event time", 0, 0 },
        { "to", TSN_OPT_TEXT, &r.to, "TIME", "last step (default: now)", 0, 0 },
        { "config", TSN_OPT_TEXT, &r.config_file, "FILE", "configuration (default tocsin.yaml)", 0, 0 },
        { "rules", TSN_OPT_TEXT, &r.rules, "GLOB", "what if these rules had been in force", 0, 0 },
        { "diff", TSN_OPT_FLAG, &r.diff, NULL, "compare with topic alerts; exit 5 if there is a difference", 0, 0 },
        { "no-incidents", TSN_OPT_FLAG, &r.no_incidents, NULL, "alerts only", 0, 0 },
        { "output", TSN_OPT_TEXT, &r.output, "table|json", "table or json (a line each)", 0, 0 },
    };
    struct tsn_config config;
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "replay --from TIME [--to TIME] [OPTIONS]", about), code;

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    r.json = strcmp(r.output, "json") == 0;
    if (operands || !r.from || (!r.json && strcmp(r.output, "table") != 0)) {
        fprintf(stderr, "tocsin replay: it takes --from TIME, --output table or json, and no operands (--help)\n");
        return TSN_EXIT_USAGE;
    }
    if (!tsn_cli_time("--from", r.from, &r.from_ms) || !tsn_cli_time("--to", r.to, &r.to_ms))
        return TSN_EXIT_USAGE;
    if (r.from_ms > r.to_ms) {
        fprintf(stderr, "tocsin replay: --from lies after --to\n");
        return TSN_EXIT_USAGE;
    }
    if (!tsn_cli_load_config(r.config_file, &config))
        return TSN_EXIT_INVALID;
    code = run(&r, &config);
    tsn_config_release(&config);
    return code;
}
