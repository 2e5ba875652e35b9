/*
 * log: one logfmt line an event, on stderr, whole lines only.
 *
 * Concurrency: any thread. One mutex guards the table of recent lines (repeat suppression) and
 * the write itself. The debug list is set once at start, before threads.
 */
#include "tocsin/base.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { RECENT = 64, BURST = 5, WINDOW_MS = 10000 };

static struct {
    pthread_mutex_t lock;
    enum tsn_log_level level;
    char debug[256]; /* ",kafka,rules," */
    struct {
        uint64_t hash;
        int64_t since_ms;
        unsigned count;
    } recent[RECENT];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = TSN_LOG_INFO };

void tsn_log_debug(const char *contexts)
{
    snprintf(state.debug, sizeof state.debug, ",%s,", contexts);
}

bool tsn_log_debug_on(const char *ctx)
{
    char want[64];

    if (!state.debug[0])
        return false;
    snprintf(want, sizeof want, ",%s,", ctx);
    return strstr(state.debug, want) || strstr(state.debug, ",all,");
}

void tsn_log_level_set(enum tsn_log_level level)
{
    state.level = level;
}

/* True if the line may be written; *repeats is how many were held back before it. Locked. */
static bool admit(const char *ctx, const char *msg, int64_t now_ms, unsigned *repeats)
{
    uint64_t hash = tsn_hash64(msg, strlen(msg)) ^ tsn_hash64(ctx, strlen(ctx));
    size_t slot = hash % RECENT;

    *repeats = 0;
    if (state.recent[slot].hash != hash || now_ms - state.recent[slot].since_ms >= WINDOW_MS) {
        if (state.recent[slot].hash == hash && state.recent[slot].count > BURST)
            *repeats = state.recent[slot].count - BURST;
        state.recent[slot].hash = hash;
        state.recent[slot].since_ms = now_ms;
        state.recent[slot].count = 0;
    }
    return ++state.recent[slot].count <= BURST;
}

void tsn_log(enum tsn_log_level level, const char *ctx, const char *msg, const char *fields_fmt, ...)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    struct tsn_buf line = TSN_BUF_INIT;
    char ts[TSN_RFC3339_TEXT];
    int64_t now_ms;
    unsigned repeats;
    bool ok;

    if (level == TSN_LOG_DEBUG ? !tsn_log_debug_on(ctx) : level > state.level)
        return;
    now_ms = tsn_wall_now().ms;
    pthread_mutex_lock(&state.lock);
    ok = level == TSN_LOG_DEBUG ? (repeats = 0, true) : admit(ctx, msg, now_ms, &repeats);
    if (ok) {
        tsn_format_rfc3339(ts, now_ms);
        tsn_buf_printf(&line, "ts=%s level=%s ctx=%s msg=", ts, names[level], ctx);
        tsn_buf_json_string(&line, msg, strlen(msg));
        if (fields_fmt) {
            va_list args;

            tsn_buf_putc(&line, ' ');
            va_start(args, fields_fmt);
            tsn_buf_vprintf(&line, fields_fmt, args);
            va_end(args);
        }
        if (repeats)
            tsn_buf_printf(&line, " repeats_suppressed=%u", repeats);
        tsn_buf_putc(&line, '\n');
        fwrite(line.data, 1, line.len, stderr);
    }
    pthread_mutex_unlock(&state.lock);
    tsn_buf_release(&line);
}
