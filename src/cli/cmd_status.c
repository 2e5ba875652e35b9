/*
 * cmd_status: `tocsin status`, what a running worker does, read from its /metrics.
 *
 * One table for inputs, one for rules, and the things one should know: a stage not ready, blind detection, a rule that
 * never matched, a rule that fails. Rates come from two readings.
 */
#include "cli/cli.h"
#include "cli/exposition.h"
#include "tocsin/config.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char about[] =
    "Shows what the worker at http.listen does: inputs with rate, lag and watermark, stages, rules.\n\n"
    "Examples:\n"
    "  tocsin status\n"
    "  tocsin status --watch\n"
    "  tocsin status --url http://10.0.0.7:8642 --output json\n";

enum { MAX_BYTES = 32 << 20 };

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct tsn_buf *body = arg;

    if (body->len + size * count > MAX_BYTES)
        return 0;
    tsn_buf_append(body, data, size * count);
    return size * count;
}

static bool fetch(const char *url, struct tsn_buf *body, struct tsn_error *error)
{
    CURL *curl = curl_easy_init();
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    bool ok;

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    ok = curl_easy_perform(curl) == CURLE_OK;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (ok && status == 200)
        return true;
    tsn_error_set(error, TSN_ERR_UNREACHABLE, "%s: %s; does a worker run with http.listen at this address?", url,
                  ok ? "answered, but not with metrics" : why);
    return false;
}

/* The value of `name` with the labels of `like` (and more, if it has more); NaN if there is none. */
static double value_of(const struct exposition *r, const char *name, const struct exposed *like)
{
    for (size_t i = 0; i < r->len; i++)
        if (strcmp(r->items[i].name, name) == 0 && (!like || exposed_same(like, &r->items[i])))
            return r->items[i].value;
    return NAN;
}

static const char *state_of(const struct exposition *r, const struct exposed *like)
{
    return value_of(r, "tocsin_input_paused", like) == 1    ? "paused (ahead of the others)"
           : value_of(r, "tocsin_input_blocked", like) == 1 ? "BLOCKED"
           : value_of(r, "tocsin_input_idle", like) == 1    ? "idle"
                                                            : "active";
}

/* A figure, or a dash where there is none. */
static void figure(char out[32], double value, const char *fmt)
{
    snprintf(out, 32, "-");
    if (isnan(value))
        return;
    snprintf(out, 32, strcmp(fmt, "%.1f") == 0 ? "%.1f" : "%.0f", value);
}

static void time_text(char out[TSN_RFC3339_TEXT], double seconds)
{
    snprintf(out, TSN_RFC3339_TEXT, "-");
    if (!isnan(seconds) && seconds > 0)
        tsn_format_rfc3339(out, (int64_t)llround(seconds * 1000));
}

static void print_inputs(const struct exposition *was, const struct exposition *r)
{
    double span_s = was ? (double)(r->at_ns - was->at_ns) / 1e9 : 0;

    printf("%-28s %9s %11s %10s %10s %8s %8s  %-24s %s\n", "INPUT", "EVENTS/S", "EVENTS", "LAG", "LAG S", "LATE", "DEAD", "WATERMARK", "STATE");
    for (size_t i = 0; i < r->len; i++) {
        const struct exposed *s = &r->items[i];
        char name[300], watermark[TSN_RFC3339_TEXT], lag_s[32];
        double before = was ? value_of(was, "tocsin_input_events_total", s) : NAN;

        if (strcmp(s->name, "tocsin_input_events_total") != 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", exposed_label(s, "topic"), exposed_label(s, "partition"));
        time_text(watermark, value_of(r, "tocsin_input_watermark_timestamp_seconds", s));
        figure(lag_s, value_of(r, "tocsin_input_lag_seconds", s), "%.1f");
        printf("%-28s %9.0f %11.0f %10.0f %10s %8.0f %8.0f  %-24s %s\n", name, isnan(before) || span_s <= 0 ? 0 : (s->value - before) / span_s,
               s->value, value_of(r, "tocsin_input_lag_records", s), lag_s,
               value_of(r, "tocsin_input_late_total", s), value_of(r, "tocsin_input_dead_letters_total", s), watermark, state_of(r, s));
    }
}

static void print_rules(const struct exposition *r)
{
    printf("\n%-36s %8s %8s %8s %12s %8s  %s\n", "RULE", "SERIES", "PENDING", "FIRING", "EVALUATIONS", "FAILED", "LAST STEP");
    for (size_t i = 0; i < r->len; i++) {
        const struct exposed *s = &r->items[i];
        char name[300], step[TSN_RFC3339_TEXT], pending[32], firing[32];

        if (strcmp(s->name, "tocsin_rule_evaluations_total") != 0)
            continue;
        figure(pending, value_of(r, "tocsin_rule_alerts_pending", s), "%.0f");
        figure(firing, value_of(r, "tocsin_rule_alerts_firing", s), "%.0f");
        snprintf(name, sizeof name, "%s/%s", exposed_label(s, "group"), exposed_label(s, "rule"));
        time_text(step, value_of(r, "tocsin_rule_last_step_timestamp_seconds", s));
        printf("%-36s %8.0f %8s %8s %12.0f %8.0f  %s%s\n", name, value_of(r, "tocsin_rule_result_series", s), pending, firing, s->value, value_of(r, "tocsin_rule_evaluation_failures_total", s), step,
               value_of(r, "tocsin_rule_ever_matched", s) == 0 ? "  never matched" : "");
    }
}

static void print_stages(const struct exposition *r)
{
    char watermark[TSN_RFC3339_TEXT];
    bool any = false;

    for (size_t i = 0; i < r->len; i++)
        if (strcmp(r->items[i].name, "tocsin_stage_ready") == 0) {
            printf("%s%s %s", any ? " · " : "\n", exposed_label(&r->items[i], "stage"), r->items[i].value ? "ready" : "NOT READY");
            any = true;
        }
    time_text(watermark, value_of(r, "tocsin_detect_watermark_timestamp_seconds", NULL));
    if (!isnan(value_of(r, "tocsin_detect_series", NULL)))
        printf("\nevent time %s · rule set %.0f · %.0f series · %.0f transitions", watermark, value_of(r, "tocsin_detect_rule_set", NULL),
               value_of(r, "tocsin_detect_series", NULL), value_of(r, "tocsin_detect_transitions_total", NULL));
    if (!isnan(value_of(r, "tocsin_respond_incidents_open", NULL)))
        printf("\nincidents open %.0f · incident events %.0f", value_of(r, "tocsin_respond_incidents_open", NULL),
               value_of(r, "tocsin_respond_events_total", NULL));
    putchar('\n');
    if (value_of(r, "tocsin_detect_blind_seconds", NULL) > 0)
        printf("WARNING: detection is blind: no new watermark comes in\n");
    if (value_of(r, "tocsin_respond_redis_up", NULL) == 0)
        printf("WARNING: Redis does not answer\n");
}

static void print_json(const struct exposition *r)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_buf_putc(&out, '[');
    for (size_t i = 0; i < r->len; i++) {
        const struct exposed *s = &r->items[i];
        char number[TSN_DOUBLE_TEXT];

        tsn_buf_puts(&out, i ? ",\n {\"name\":" : "\n {\"name\":");
        tsn_buf_json_string(&out, s->name, strlen(s->name));
        for (size_t n = 0; n < s->label_count; n++) {
            tsn_buf_putc(&out, ',');
            tsn_buf_json_string(&out, s->labels[n][0], strlen(s->labels[n][0]));
            tsn_buf_putc(&out, ':');
            tsn_buf_json_string(&out, s->labels[n][1], strlen(s->labels[n][1]));
        }
        tsn_format_double(number, sizeof number, s->value, 'g', 21);
        tsn_buf_printf(&out, isfinite(s->value) ? ",\"value\":%s}" : ",\"value\":\"%s\"}", number);
    }
    puts(tsn_buf_str(&out));
    puts("]");
    tsn_buf_release(&out);
}

static char *url_of(const char *given, const char *file)
{
    struct tsn_buf url = TSN_BUF_INIT;
    struct tsn_config config;
    char host[256];
    int port;

    if (given) {
        tsn_buf_printf(&url, "%s/metrics", given);
        return tsn_buf_take(&url, NULL);
    }
    if (!tsn_cli_load_config(file, &config))
        return NULL;
    if (tsn_config_listen(config.http.listen, host, &port))
        tsn_buf_printf(&url, strchr(host, ':') ? "http://[%s]:%d/metrics" : "http://%s:%d/metrics",
                       !*host || strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1" : host, port);
    tsn_config_release(&config);
    return tsn_buf_take(&url, NULL);
}

static int show(const char *url, bool watch, bool json)
{
    struct exposition was = { 0 }, now = { 0 };
    struct tsn_buf old = TSN_BUF_INIT;
    int code = TSN_EXIT_OK;

    for (int round = 0;; round++) {
        struct tsn_buf body = TSN_BUF_INIT;
        struct tsn_error error;

        if (!fetch(url, &body, &error)) {
            fprintf(stderr, "tocsin status: %s\n", error.message);
            tsn_buf_release(&body);
            code = TSN_EXIT_UNREACHABLE;
            if (!watch)
                break;
            sleep(1);
            continue;
        }
        code = TSN_EXIT_OK;
        now = (struct exposition){ .at_ns = tsn_mono_now().ns };
        exposition_parse(body.data, &now);
        if (json) {
            print_json(&now);
        } else if (round > 0) {
            if (watch && isatty(STDOUT_FILENO))
                fputs("\033[H\033[2J", stdout);
            print_inputs(&was, &now);
            print_rules(&now);
            print_stages(&now);
            fflush(stdout);
        }
        tsn_vec_release(&was);
        tsn_buf_release(&old);
        was = now;
        old = body;
        if ((json || round > 0) && !watch)
            break;
        sleep(1);
    }
    tsn_vec_release(&was);
    tsn_buf_release(&old);
    return code;
}

int tsn_cmd_status(int argc, char **argv)
{
    const char *file = "tocsin.yaml", *given = NULL, *output = "table";
    bool watch = false;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration: its http.listen is asked (default tocsin.yaml)", 0, 0 },
        { "url", TSN_OPT_TEXT, &given, "URL", "another worker: http://host:port", 0, 0 },
        { "watch", TSN_OPT_FLAG, &watch, NULL, "again every second", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "json: every metric as one object", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "tocsin status [OPTIONS]", about), code;
    char *url;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0 || (strcmp(output, "table") != 0 && strcmp(output, "json") != 0))
        return TSN_EXIT_USAGE;
    url = url_of(given, file);
    if (!url)
        return TSN_EXIT_INVALID;
    code = show(url, watch, strcmp(output, "json") == 0);
    tsn_free(url);
    return code;
}
