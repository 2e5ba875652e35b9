/*
 * view: see view.h. A line an event, in the order it reached the topics; colours and a status line that stays at the bottom only on a
 * terminal. Pending alerts are in the JSON alone: for people they would be noise. Foreign text is printed without control characters.
 */
#include "demo/view.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum colour { PLAIN, RED, GREEN, YELLOW, BOLD, DIM };
enum { STATUS_EVERY_MS = 3600000 };

static const char *paint(const struct demo_view *v, enum colour colour)
{
    static const char *const codes[] = { "\033[0m", "\033[31m", "\033[32m", "\033[33m", "\033[1m", "\033[2m" };

    return v->tty ? codes[colour] : "";
}

void demo_view_init(struct demo_view *view, bool json)
{
    memset(view, 0, sizeof *view);
    view->json = json;
    view->tty = !json && isatty(STDOUT_FILENO);
    view->status_ms = TSN_TIME_NONE;
}

/* "HH:MM:SS" of the simulated day. */
static const char *time_text(char out[TSN_RFC3339_TEXT], int64_t ms)
{
    tsn_format_rfc3339(out, ms);
    out[19] = '\0';
    return out + 11;
}

static void clear_status(struct demo_view *v)
{
    if (v->status_shown)
        fputs("\r\033[K", stdout);
    v->status_shown = false;
}

static const char *text_of(const struct tsn_labels *labels, const char *name)
{
    const char *value = labels ? tsn_labels_get(labels, name) : NULL;

    return value ? value : "";
}

/* Annotations and reasons come from rules and people. */
static void print_clean(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' || *text == 127 ? ' ' : *text);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_text(struct tsn_buf *out, const char *key, const char *value)
{
    tsn_buf_printf(out, ",\"%s\":", key);
    tsn_buf_json_string(out, value, strlen(value));
}

static void json_time(struct tsn_buf *out, const char *key, int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE)
        return;
    tsn_format_rfc3339(text, ms);
    json_text(out, key, text);
}

static void json_flush(struct tsn_buf *out)
{
    tsn_buf_puts(out, "}\n");
    fputs(tsn_buf_str(out), stdout);
    fflush(stdout);
    tsn_buf_release(out);
}

static void json_alert(const struct tsn_transition *t)
{
    struct tsn_buf out = TSN_BUF_INIT;
    char number[TSN_DOUBLE_TEXT];

    tsn_format_double(number, sizeof number, t->value, 'g', 21);
    tsn_buf_puts(&out, "{\"type\":\"alert\"");
    json_time(&out, "step_ts", t->step_ms);
    json_text(&out, "rule", t->rule);
    json_text(&out, "group", t->group);
    json_text(&out, "state", tsn_alert_state_name(t->state));
    json_text(&out, "was", tsn_alert_state_name(t->was));
    json_text(&out, "end_reason", tsn_end_reason_name(t->end_reason));
    tsn_buf_puts(&out, ",\"labels\":");
    tsn_labels_json(&out, t->labels);
    json_text(&out, "value", number);
    json_time(&out, "active_at", t->active_at_ms);
    json_text(&out, "alert_id", t->alert_id);
    json_flush(&out);
}

static void json_incident(const struct tsn_incident_event *e)
{
    const struct tsn_incident *in = &e->snapshot;
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_buf_puts(&out, "{\"type\":\"incident\"");
    json_text(&out, "incident_id", in->incident_id);
    tsn_buf_printf(&out, ",\"seq\":%lld", (long long)e->seq);
    json_text(&out, "event", tsn_incident_event_type_name(e->type));
    json_time(&out, "event_time", e->event_time_ms);
    json_text(&out, "group_key", in->group_key);
    json_text(&out, "state", tsn_incident_state_name(in->state));
    tsn_buf_printf(&out, ",\"severity\":%d,\"level\":%d,\"alerts\":%zu", (int)in->severity, (int)in->level, in->alert_count);
    json_text(&out, "title", in->title);
    json_text(&out, "reason", e->reason);
    json_flush(&out);
}

static void json_lines(struct tsn_buf *out, const char *key, const struct tsn_demo_lines *lines)
{
    tsn_buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < lines->len; i++) {
        tsn_buf_puts(out, i ? "," : "");
        tsn_buf_json_string(out, lines->items[i], strlen(lines->items[i]));
    }
    tsn_buf_putc(out, ']');
}

static void json_summary(const struct demo_view *v, const struct demo_end *end, const struct tsn_demo_verdict *verdict)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_buf_puts(&out, "{\"type\":\"summary\"");
    json_text(&out, "scenario", end->scenario);
    json_text(&out, "broker", end->broker);
    json_text(&out, "topics", end->topics);
    json_time(&out, "from", end->start_ms);
    json_time(&out, "to", end->end_ms);
    tsn_buf_printf(&out, ",\"seed\":%llu,\"events\":%llu,\"alerts\":%llu,\"incidents\":%llu,\"elapsed_s\":%.3f,\"interrupted\":%s",
                   (unsigned long long)end->seed, (unsigned long long)end->events, (unsigned long long)v->alerts,
                   (unsigned long long)v->incidents, end->elapsed_s, end->interrupted ? "true" : "false");
    tsn_buf_printf(&out, ",\"expected\":%zu,\"seen\":%zu", verdict->expected, verdict->seen);
    json_lines(&out, "missing", &verdict->missing);
    json_lines(&out, "unexpected", &verdict->unexpected);
    json_flush(&out);
}

/* ---- lines -------------------------------------------------------------------------------- */

void demo_view_begin(struct demo_view *v, const struct demo_end *play, double speed)
{
    char from[TSN_RFC3339_TEXT], to[TSN_RFC3339_TEXT];

    if (v->json)
        return;
    printf("Tocsin demo: scenario %s, seed %llu, broker %s; the platform's day from %s to %s", play->scenario,
           (unsigned long long)play->seed, play->broker, time_text(from, play->start_ms), time_text(to, play->end_ms - 1000));
    if (speed > 0)
        printf(", %g times as fast, about %.0f s\n", speed, (double)(play->end_ms - play->start_ms) / 1000 / speed);
    else
        printf(", as fast as the stages follow\n");
    fflush(stdout);
}

void demo_view_alert(struct demo_view *v, const struct tsn_transition *t)
{
    char at[TSN_RFC3339_TEXT], number[TSN_DOUBLE_TEXT];
    bool firing = t->state == TSN_ALERT_FIRING, ended = t->state == TSN_ALERT_RESOLVED && t->was == TSN_ALERT_FIRING;

    v->alerts += firing;
    if (v->json) {
        json_alert(t);
        return;
    }
    if (!firing && !ended)
        return;
    clear_status(v);
    printf("%s  alert     %s%-12s%s %-28s %-22s ", time_text(at, t->step_ms), paint(v, firing ? RED : GREEN), firing ? "firing" : "resolved",
           paint(v, PLAIN), t->rule, text_of(t->labels, "service"));
    if (firing) {
        printf("%s: ", text_of(t->labels, "severity"));
        print_clean(text_of(t->annotations, "description"));
    } else {
        tsn_format_double(number, sizeof number, t->value, 'g', 21);
        printf("after %.0f min, %s", (double)(t->step_ms - t->fired_at_ms) / 60000, tsn_end_reason_name(t->end_reason));
    }
    putchar('\n');
    fflush(stdout);
}

static enum colour incident_colour(enum tsn_incident_event_type type)
{
    switch (type) {
    case TSN_INC_OPENED:
    case TSN_INC_REOPENED: return RED;
    case TSN_INC_ESCALATED:
    case TSN_INC_BREACHED: return YELLOW;
    case TSN_INC_RESOLVED: return GREEN;
    case TSN_INC_UPDATED:
    case TSN_INC_ACKNOWLEDGED:
    case TSN_INC_NOTE:
    case TSN_INC_TYPE_COUNT:
    default: return DIM;
    }
}

void demo_view_incident(struct demo_view *v, const struct tsn_incident_event *e)
{
    char at[TSN_RFC3339_TEXT];

    v->incidents += e->type == TSN_INC_OPENED;
    if (v->json) {
        json_incident(e);
        return;
    }
    clear_status(v);
    printf("%s  %sincident  %s%-12s%s Sev %d L%d  %s  ", time_text(at, e->event_time_ms), paint(v, BOLD), paint(v, incident_colour(e->type)),
           tsn_incident_event_type_name(e->type), paint(v, PLAIN), (int)e->snapshot.severity, (int)e->snapshot.level, e->snapshot.group_key);
    print_clean(e->reason);
    putchar('\n');
    fflush(stdout);
}

static void print_gauges(const struct demo_view *v, const struct demo_status *s)
{
    for (size_t i = 0; i < TSN_DEMO_GAUGES; i++) {
        const struct tsn_demo_gauge *g = &s->gauges[i];

        if (!g->scraped || !g->up)
            printf(" | %s%s %s%s", paint(v, RED), g->service, g->scraped ? "DOWN" : "?", paint(v, PLAIN));
        else
            printf(" | %s %.0f/min %s%.1f%%%s", g->service, g->requests_per_min, paint(v, g->error_share > 0.01 ? RED : GREEN),
                   g->error_share * 100, paint(v, PLAIN));
    }
}

void demo_view_caption(struct demo_view *v, const char *caption)
{
    /* They begin with the hour: one that was overtaken is not told again. */
    if (v->json || !caption || (v->caption && strcmp(caption, v->caption) <= 0))
        return;
    clear_status(v);
    printf("%s---- %s ----%s\n", paint(v, BOLD), caption, paint(v, PLAIN));
    v->caption = caption;
}

void demo_view_status(struct demo_view *v, const struct demo_status *s, const char *caption)
{
    char at[TSN_RFC3339_TEXT];
    bool due = v->tty || v->status_ms == TSN_TIME_NONE || s->event_time_ms - v->status_ms >= STATUS_EVERY_MS;

    if (v->json)
        return;
    demo_view_caption(v, caption);
    if (!due || s->event_time_ms == TSN_TIME_NONE)
        return;
    clear_status(v);
    v->status_ms = s->event_time_ms;
    if (v->tty)
        fputs("\033[?7l", stdout); /* no wrapping: a line that is too long for the terminal is cut */
    printf("%s%s%s", paint(v, DIM), time_text(at, s->event_time_ms), paint(v, PLAIN));
    if (s->sim_per_s > 0)
        printf(" %.0fx", s->sim_per_s);
    print_gauges(v, s);
    printf(" | %llu events, %llu series, %llu firing, %llu open", (unsigned long long)s->events, (unsigned long long)s->series,
           (unsigned long long)s->firing, (unsigned long long)s->open);
    fputs(v->tty ? "\033[?7h" : "\n", stdout);
    v->status_shown = v->tty;
    fflush(stdout);
}

void demo_view_end(struct demo_view *v, const struct demo_end *end, const struct tsn_demo_verdict *verdict)
{
    bool good = !verdict->missing.len && !verdict->unexpected.len && !end->interrupted;

    if (v->json) {
        json_summary(v, end, verdict);
        return;
    }
    clear_status(v);
    printf("\n%llu events in %.1f s, %llu alerts fired, %llu incidents\n", (unsigned long long)end->events, end->elapsed_s,
           (unsigned long long)v->alerts, (unsigned long long)v->incidents);
    printf("expected %zu, seen %zu, missing %zu, unexpected %zu\n", verdict->expected, verdict->seen, verdict->missing.len, verdict->unexpected.len);
    for (size_t i = 0; i < verdict->missing.len; i++)
        printf("  missing     %s\n", verdict->missing.items[i]);
    for (size_t i = 0; i < verdict->unexpected.len; i++)
        printf("  unexpected  %s\n", verdict->unexpected.items[i]);
    printf("%s%s%s\n", paint(v, good ? GREEN : RED), end->interrupted ? "interrupted" : good ? "all as expected" : "not as expected", paint(v, PLAIN));
    fflush(stdout);
}
