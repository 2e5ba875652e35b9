/*
 * detect_sight: whether detection sees anything, and the word when it does not.
 *
 * Blind means: partitions are owned and no new watermark has come for time.blind_after, or this worker has just taken over partitions for which
 * nobody committed anything for as long (all workers were dead, frozen or stopped). Either way the span is stated once it is over: the event time
 * at which sight was lost, the event time at which it came back, and the same two moments on the wall clock. What happened in between is
 * evaluated all the same, with the same result, but late. A page of blindness takes the direct path: it asks neither Kafka nor Redis, which may be what is
 * away; its key is fixed, so that many workers make one page.
 *
 * Concurrency: belongs to the stage's thread and outlives its sessions; stats are written under the app's lock.
 */
#include "app/app_int.h"

#include <stdio.h>

void tsn_detect_sight_init(struct detect_sight *sight)
{
    *sight = (struct detect_sight){ .watermark_ms = TSN_TIME_NONE, .moved_ns = tsn_mono_now().ns };
}

void tsn_detect_sight_at(struct detect_sight *sight, int64_t watermark_ms)
{
    if (watermark_ms == sight->watermark_ms)
        return;
    sight->watermark_ms = watermark_ms;
    sight->moved_ns = tsn_mono_now().ns;
}

static void show_blind(struct tsn_app *app, int64_t since_ms)
{
    pthread_mutex_lock(&app->stats_lock);
    app->stats->detect.blind_since_ms = since_ms;
    pthread_mutex_unlock(&app->stats_lock);
}

void tsn_detect_sight_taken_over(struct tsn_app *app, struct detect_sight *sight, int64_t watermark_ms, int64_t last_commit_ms)
{
    if (last_commit_ms == TSN_TIME_NONE || tsn_wall_now().ms - last_commit_ms < app->config->time.blind_after_ms)
        return;
    if (!sight->blind || sight->from_ms == TSN_TIME_NONE || (watermark_ms != TSN_TIME_NONE && watermark_ms < sight->from_ms))
        sight->from_ms = watermark_ms;
    if (!sight->blind || last_commit_ms < sight->lost_ms)
        sight->lost_ms = last_commit_ms;
    sight->blind = true;
    show_blind(app, sight->lost_ms);
}

static void show_time(char out[TSN_RFC3339_TEXT], int64_t ms)
{
    snprintf(out, TSN_RFC3339_TEXT, "none");
    if (ms != TSN_TIME_NONE)
        tsn_format_rfc3339(out, ms);
}

static void say(const struct tsn_app *app, const struct detect_sight *sight)
{
    char from[TSN_RFC3339_TEXT], to[TSN_RFC3339_TEXT], lost[TSN_RFC3339_TEXT], back[TSN_RFC3339_TEXT];

    show_time(from, sight->from_ms);
    show_time(to, sight->watermark_ms);
    show_time(lost, sight->lost_ms);
    show_time(back, tsn_wall_now().ms);
    if (sight->blind)
        tsn_log(TSN_LOG_ERROR, "detect", "detection is blind: no new watermark in samples", "for_ms=%lld unobserved_from=%s",
                (long long)app->config->time.blind_after_ms, from);
    else
        tsn_log(TSN_LOG_WARN, "detect", "detection sees again", "unobserved_from=%s unobserved_to=%s away_from=%s away_to=%s", from, to, lost,
                back);
    if (app->config->respond.mode == TSN_RESPOND_LIVE)
        tsn_log(TSN_LOG_WARN, "page", sight->blind ? "page" : "tell", "level=L1 severity=1 title=\"%s\" from=%s to=%s key=tocsin:blind",
                sight->blind ? "Tocsin is blind: no alert can fire" : "Tocsin sees again; the span was not observed in time", from,
                sight->blind ? "-" : to);
}

void tsn_detect_sight_watch(struct tsn_app *app, struct detect_sight *sight, bool owns)
{
    int64_t silent_ms = (tsn_mono_now().ns - sight->moved_ns) / 1000000;
    bool stale = silent_ms >= app->config->time.blind_after_ms;

    sight->owned = owns;
    if (!owns) { /* others own the partitions, and speak for them */
        if (sight->blind)
            show_blind(app, 0);
        sight->blind = false;
    } else if (!sight->blind && stale) {
        sight->blind = true;
        sight->from_ms = sight->watermark_ms;
        sight->lost_ms = tsn_wall_now().ms - silent_ms;
        show_blind(app, sight->lost_ms);
        say(app, sight);
    } else if (sight->blind && !stale && sight->watermark_ms > sight->from_ms) {
        sight->blind = false;
        show_blind(app, 0);
        say(app, sight);
    }
}
