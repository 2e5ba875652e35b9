/*
 * event_time: what time it is for a unit, and when its next step is due (DESIGN §3).
 *
 * A unit's time is the least watermark of the input partitions that can feed its selectors. Idle
 * ones (proved empty) leave the minimum; if all are idle, it is the greatest clock among their
 * marks, so that absent() fires in silence. It never goes back. A unit starts when each partition
 * that its inputs declare has a watermark or is proved empty.
 */
#include "detect/detect_int.h"

#include <string.h>

/* Time that leaps further than this at once (a first record stamped 1970, a topic silent for weeks) is not stepped
 * through: 7 days are 40,320 steps of 15 s, some seconds of work; 50 years would be hours. */
#define MAX_LEAP_MS (INT64_C(7) * 24 * 3600 * 1000)

/* A declaration comes from the log; more partitions than Kafka could hold is a damaged record. */
enum { MAX_INPUT_PARTITIONS = 100000 };

static void release_decl(struct tsn_input_decl *decl)
{
    for (size_t i = 0; i < decl->name_count; i++)
        tsn_free(decl->names[i]);
    tsn_free(decl->names);
    tsn_free(decl->topic);
    tsn_free(decl->type);
    memset(decl, 0, sizeof *decl);
}

void tsn_detect_release_inputs(struct tsn_detect *d)
{
    for (size_t t = 0; t < d->topics.len; t++) {
        release_decl(&d->topics.items[t].decl);
        tsn_free(d->topics.items[t].name);
        tsn_vec_release(&d->topics.items[t].parts);
    }
    tsn_vec_release(&d->topics);
}

/* Topics are few (tens): a linear search. */
struct input_topic *tsn_detect_topic(struct tsn_detect *d, const char *name)
{
    struct input_topic topic = { NULL };

    for (size_t t = 0; t < d->topics.len; t++)
        if (strcmp(d->topics.items[t].name, name) == 0)
            return &d->topics.items[t];
    topic.name = tsn_strdup(name);
    tsn_vec_push(&d->topics, topic);
    tsn_detect_feeds(d);
    return &d->topics.items[d->topics.len - 1];
}

/* NULL if the number makes no sense. */
struct input *tsn_detect_input(struct input_topic *topic, int32_t partition)
{
    struct input none = { .watermark_ms = TSN_TIME_NONE, .idle_clock_ms = TSN_TIME_NONE, .rule_set = -1 };

    if (partition < 0 || partition >= MAX_INPUT_PARTITIONS)
        return NULL;
    while (topic->parts.len <= (size_t)partition)
        tsn_vec_push(&topic->parts, none);
    return &topic->parts.items[partition];
}

static void forget_parts(struct input_topic *topic)
{
    for (size_t p = 0; p < topic->parts.len; p++)
        topic->parts.items[p].known = false;
    topic->decl.partition_count = 0;
}

void tsn_detect_declare(struct tsn_detect *d, const struct tsn_input_decl *decl)
{
    struct input_topic *topic = tsn_detect_topic(d, decl->topic);

    if (decl->partition_count < 0 || decl->partition_count > MAX_INPUT_PARTITIONS)
        return;
    if (topic->declared && decl->partition_count == 0) { /* what it can carry stays: a partition that is named again holds time again */
        forget_parts(topic);
        return;
    }
    if (topic->declared && decl->partition_count < topic->decl.partition_count) /* made anew with fewer */
        for (size_t p = (size_t)decl->partition_count; p < topic->parts.len; p++)
            topic->parts.items[p].known = false;
    release_decl(&topic->decl);
    topic->declared = true;
    topic->decl = (struct tsn_input_decl){ .topic = tsn_strdup(decl->topic),
                                           .type = tsn_strdup(decl->type ? decl->type : ""),
                                           .partition_count = decl->partition_count,
                                           .any_name = decl->any_name,
                                           .names = tsn_calloc(decl->name_count, sizeof(char *)),
                                           .name_count = decl->name_count };
    for (size_t n = 0; n < decl->name_count; n++)
        topic->decl.names[n] = tsn_strdup(decl->names[n]);
    tsn_detect_feeds(d);
}

/* Whoever owns partition 0 of a topic speaks for it. */
static bool owns_first(const struct tsn_batch *b, const char *topic)
{
    for (size_t i = 0; i < b->input_count; i++)
        if (b->inputs[i].partition == 0 && strcmp(b->inputs[i].topic, topic) == 0)
            return true;
    return false;
}

void tsn_detect_take_inputs(struct tsn_detect *d, const struct tsn_batch *b)
{
    for (size_t i = 0; i < b->input_count; i++) {
        const struct tsn_batch_input *in = &b->inputs[i];
        struct input *known = tsn_detect_input(tsn_detect_topic(d, in->topic), in->partition);

        if (!known)
            continue;
        known->known = true;
        if (in->watermark_ms > known->watermark_ms)
            known->watermark_ms = in->watermark_ms;
        known->idle = in->idle;
        known->idle_clock_ms = in->idle ? in->idle_clock_ms : TSN_TIME_NONE;
        if (b->rule_set > known->rule_set)
            known->rule_set = b->rule_set;
    }
    for (size_t i = 0; i < b->decl_count; i++)
        if (b->decls[i].partition_count == 0 || owns_first(b, b->decls[i].topic) || !tsn_detect_topic(d, b->decls[i].topic)->declared)
            tsn_detect_declare(d, &b->decls[i]);
}

bool tsn_detect_all_idle(const struct tsn_detect *d)
{
    for (size_t t = 0; t < d->topics.len; t++)
        for (size_t p = 0; p < d->topics.items[t].parts.len; p++)
            if (d->topics.items[t].parts.items[p].known && !d->topics.items[t].parts.items[p].idle)
                return false;
    return true;
}

/* ---- which inputs feed a unit ------------------------------------------------------------- */

bool tsn_detect_name_possible(const struct unit_selector *route, const char *name)
{
    for (size_t i = 0; i < route->matcher_count; i++)
        if (strcmp(route->matchers[i].name, "__name__") == 0 &&
            !tsn_matcher_matches(&route->matchers[i], name, strlen(name)))
            return false;
    return true;
}

static bool feeds(const struct tsn_input_decl *decl, const struct unit *unit)
{
    if (decl->any_name || !unit->selectors.len)
        return true;
    for (size_t i = 0; i < unit->selectors.len; i++)
        for (size_t n = 0; n < decl->name_count; n++)
            if (tsn_detect_name_possible(&unit->selectors.items[i], decl->names[n]))
                return true;
    return false;
}

void tsn_detect_feeds(struct tsn_detect *d)
{
    for (uint32_t u = 0; u < d->unit_count; u++) {
        struct unit *unit = &d->units[u];

        unit->fed_by = tsn_reallocarray(unit->fed_by, d->topics.len, sizeof *unit->fed_by);
        for (size_t t = 0; t < d->topics.len; t++)
            unit->fed_by[t] = d->topics.items[t].declared && feeds(&d->topics.items[t].decl, unit);
    }
}

/* ---- unit time ---------------------------------------------------------------------------- */

/* What the partitions of one topic say together. */
struct topic_time {
    bool complete; /* each declared partition has a watermark or is idle */
    bool active;   /* one is not idle */
    int64_t least_ms, idle_ms;
};

static struct topic_time time_of(const struct input_topic *topic)
{
    struct topic_time time = { true, false, INT64_MAX, TSN_TIME_NONE };

    if (topic->declared && topic->parts.len < (size_t)topic->decl.partition_count)
        time.complete = false;
    for (size_t p = 0; time.complete && p < topic->parts.len; p++) {
        const struct input *in = &topic->parts.items[p];

        /* A new partition counts once its owner names it: partition 0's, who declares the topic, may hear of it much later. */
        if (p >= (size_t)topic->decl.partition_count && !in->known)
            continue;
        if (!in->known || (!in->idle && in->watermark_ms == TSN_TIME_NONE)) {
            time.complete = false;
        } else if (in->idle) {
            time.idle_ms = in->idle_clock_ms > time.idle_ms ? in->idle_clock_ms : time.idle_ms;
        } else {
            time.active = true;
            time.least_ms = in->watermark_ms < time.least_ms ? in->watermark_ms : time.least_ms;
        }
    }
    return time;
}

static void leap(struct tsn_detect *d, struct unit *unit)
{
    int64_t *from_ms = unit->last_step_ms == TSN_TIME_NONE ? &unit->start_ms : &unit->last_step_ms;

    if (unit->time_ms < TSN_TIME_NONE + MAX_LEAP_MS || *from_ms >= unit->time_ms - MAX_LEAP_MS)
        return;
    *from_ms = unit->time_ms - MAX_LEAP_MS;
    d->stats.leaps += unit->here;
}

static void advance_unit(struct tsn_detect *d, const struct topic_time *times, struct unit *unit)
{
    int64_t least_ms = INT64_MAX, idle_ms = TSN_TIME_NONE, now_ms;
    bool active = false;

    for (size_t t = 0; t < d->topics.len; t++) {
        if (!unit->fed_by[t])
            continue;
        if (!times[t].complete)
            return;
        active |= times[t].active;
        least_ms = times[t].least_ms < least_ms ? times[t].least_ms : least_ms;
        idle_ms = times[t].idle_ms > idle_ms ? times[t].idle_ms : idle_ms;
    }
    now_ms = active ? least_ms : idle_ms;
    if (now_ms == TSN_TIME_NONE)
        return;
    if (unit->time_ms == TSN_TIME_NONE && (unit->start_ms == TSN_TIME_NONE || now_ms < unit->start_ms))
        unit->start_ms = now_ms;
    if (now_ms > unit->time_ms)
        unit->time_ms = now_ms;
    leap(d, unit); /* a restored time may have leapt, too: state is read from a topic */
}

void tsn_detect_advance(struct tsn_detect *d)
{
    struct topic_time *times = tsn_calloc(d->topics.len, sizeof *times);

    for (size_t t = 0; t < d->topics.len; t++)
        times[t] = time_of(&d->topics.items[t]);
    d->stats.watermark_ms = INT64_MAX;
    for (uint32_t u = 0; u < d->unit_count; u++) {
        advance_unit(d, times, &d->units[u]);
        if (d->units[u].here && d->units[u].time_ms < d->stats.watermark_ms)
            d->stats.watermark_ms = d->units[u].time_ms;
    }
    if (d->stats.watermark_ms == INT64_MAX)
        d->stats.watermark_ms = TSN_TIME_NONE;
    tsn_free(times);
}

static int64_t floor_to(int64_t ms, int64_t interval_ms)
{
    int64_t rest = ms % interval_ms;

    return ms - (rest < 0 ? rest + interval_ms : rest);
}

/* Groups of one unit may differ in interval: a step is every multiple of any of them. */
int64_t tsn_detect_next_step(const struct tsn_detect *d, const struct unit *unit)
{
    int64_t after_ms = unit->last_step_ms, next_ms = INT64_MAX;

    if (after_ms == TSN_TIME_NONE)
        after_ms = unit->start_ms - 1;
    for (uint32_t g = 0; g < unit->group_count; g++) {
        int64_t interval_ms = d->set->groups[unit->groups[g]].interval_ms;
        int64_t step_ms = floor_to(after_ms, interval_ms) + interval_ms;

        next_ms = step_ms < next_ms ? step_ms : next_ms;
    }
    return next_ms;
}
