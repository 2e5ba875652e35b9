/*
 * state: what DETECT keeps in the compacted topic `state`.
 *
 *   checkpoint                      where to go on, and the time state there
 *   index/<event minute>            a mark: a place in `samples` at or before the first sample of the
 *                                   minute, where its names begin, and the time state there
 *   alert/<file;group>/<rule>/<id>  one alert instance; <rule> is name, hash of labels, place among equals
 *   counter/<id>/<birth>            one life of a counter: total, last pane; as of "counted" in the checkpoint or later,
 *                                   for what was counted since is read back
 *   chunk/<id>/<n>                  samples of a long window (chunks.c); binary
 *   derived/<id>/<minute>           what rules wrote to one series in an event minute, and which rules; or what was mined
 *   miner/ template/ lines/         mining_state.c
 *
 * The time state is all that decides which samples are late and which steps have run: inputs with
 * their watermarks, the rule set, the clocks of the units. With it, reading the log from a mark on
 * decides everything as the first reading did (takeover.c). Values are JSON; numbers that must keep
 * their bits (doubles, 128-bit totals) are hex text.
 *
 * Cost of a checkpoint: what changed, and a walk over the alert instances.
 */
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <string.h>

void tsn_detect_push_record(struct tsn_detect_output *out, struct tsn_buf *key, struct tsn_buf *value)
{
    struct tsn_state_record record = { tsn_buf_take(key, NULL), NULL, 0 };

    if (value)
        record.value = tsn_buf_take(value, &record.value_len);
    tsn_vec_push(&out->state, record);
}

/* ---- the time state ----------------------------------------------------------------------- */

/* By hand: printf was a fifth of a takeover, which notes the time state every few records. */
static void put_number(struct tsn_buf *out, int64_t value)
{
    char digits[20];
    size_t n = sizeof digits;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

    do
        digits[--n] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        tsn_buf_putc(out, '-');
    tsn_buf_append(out, digits + n, sizeof digits - n);
}

static void put_time(struct tsn_buf *out, int64_t ms)
{
    if (ms == TSN_TIME_NONE)
        tsn_buf_puts(out, "null");
    else
        put_number(out, ms);
}

static void put_topic(struct tsn_buf *out, const struct input_topic *topic)
{
    const struct tsn_input_decl *decl = &topic->decl;

    tsn_buf_puts(out, "{\"topic\":");
    tsn_buf_json_string(out, topic->name, strlen(topic->name));
    if (topic->declared) {
        tsn_buf_printf(out, ",\"partitions\":%d,\"any_name\":%s,\"type\":", decl->partition_count,
                       decl->any_name ? "true" : "false");
        tsn_buf_json_string(out, decl->type, strlen(decl->type));
        tsn_buf_puts(out, ",\"names\":[");
        for (size_t n = 0; n < decl->name_count; n++) {
            tsn_buf_puts(out, n ? "," : "");
            tsn_buf_json_string(out, decl->names[n], strlen(decl->names[n]));
        }
        tsn_buf_putc(out, ']');
    }
    tsn_buf_puts(out, ",\"inputs\":[");
    for (size_t p = 0, n = 0; p < topic->parts.len; p++) {
        const struct input *in = &topic->parts.items[p];

        if (!in->known)
            continue;
        tsn_buf_puts(out, n++ ? ",[" : "[");
        put_number(out, (int64_t)p);
        tsn_buf_putc(out, ',');
        put_time(out, in->watermark_ms);
        tsn_buf_puts(out, in->idle ? ",true," : ",false,");
        put_time(out, in->idle_clock_ms);
        tsn_buf_putc(out, ',');
        put_number(out, in->rule_set);
        tsn_buf_putc(out, ']');
    }
    tsn_buf_puts(out, "]}");
}

static void put_pasts(struct tsn_buf *out, const struct tsn_detect *d)
{
    tsn_buf_puts(out, ",\"pasts\":[");
    for (size_t p = 0; p < d->pasts.len; p++) {
        const struct past *past = &d->pasts.items[p];

        tsn_buf_printf(out, "%s[%lld,", p ? "," : "", (long long)past->number);
        put_time(out, past->latest_ms);
        tsn_buf_puts(out, ",[");
        for (uint32_t u = 0; u < past->count; u++) {
            tsn_buf_puts(out, u ? "," : "");
            put_time(out, past->steps_ms[u]);
        }
        tsn_buf_puts(out, "]]");
    }
    tsn_buf_putc(out, ']');
}

char *tsn_detect_time_state(const struct tsn_detect *d, int64_t offset)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_buf_printf(&out, "{\"format\":%d,\"offset\":%lld,\"announced\":%lld,\"rule_set\":%lld,\"floor\":",
                   TSN_FORMAT_VERSION, (long long)offset, (long long)tsn_detect_announced_from(d, offset),
                   (long long)d->set_number);
    put_time(&out, d->floor_ms);
    put_pasts(&out, d);
    tsn_buf_puts(&out, ",\"chunked\":");
    put_time(&out, d->chunked_ms);
    tsn_buf_puts(&out, ",\"counted\":");
    put_time(&out, d->counted_ms);
    tsn_buf_puts(&out, ",\"indexed\":");
    put_time(&out, d->indexed_ms);
    tsn_buf_puts(&out, ",\"mined\":");
    put_time(&out, d->mining->horizon_ms);
    tsn_buf_puts(&out, ",\"topics\":[");
    for (size_t t = 0; t < d->topics.len; t++) {
        tsn_buf_puts(&out, t ? "," : "");
        put_topic(&out, &d->topics.items[t]);
    }
    tsn_buf_puts(&out, "],\"units\":{");
    for (uint32_t u = 0; u < d->unit_count; u++) {
        const struct unit *unit = &d->units[u];

        tsn_buf_puts(&out, u ? "," : "");
        tsn_buf_json_string(&out, unit->name, strlen(unit->name));
        tsn_buf_puts(&out, ":[");
        put_time(&out, unit->time_ms);
        tsn_buf_putc(&out, ',');
        put_time(&out, unit->last_step_ms);
        tsn_buf_putc(&out, ',');
        put_time(&out, unit->start_ms);
        tsn_buf_putc(&out, ',');
        put_time(&out, unit->warm_until_ms);
        tsn_buf_putc(&out, ']');
    }
    tsn_buf_puts(&out, "}}");
    return tsn_buf_take(&out, NULL);
}

/* ---- alerts ------------------------------------------------------------------------------- */

static void put_alert(struct tsn_buf *out, const struct tsn_alert_instance *in)
{
    tsn_buf_printf(out, "{\"format\":%d,\"state\":\"%s\",\"value\":\"%016llx\",\"active_at\":", TSN_FORMAT_VERSION,
                   tsn_alert_state_name(in->state), (unsigned long long)tsn_double_bits(in->value));
    put_time(out, in->active_at_ms);
    tsn_buf_puts(out, ",\"fired_at\":");
    put_time(out, in->fired_at_ms);
    tsn_buf_puts(out, ",\"resolved_at\":");
    put_time(out, in->resolved_at_ms);
    tsn_buf_puts(out, ",\"keep_firing_since\":");
    put_time(out, in->keep_firing_since_ms);
    tsn_buf_puts(out, ",\"labels\":");
    tsn_labels_json(out, in->labels);
    tsn_buf_puts(out, ",\"annotations\":");
    if (in->annotations)
        tsn_labels_json(out, in->annotations);
    else
        tsn_buf_puts(out, "{}");
    tsn_buf_putc(out, '}');
}

/* Writes the instance if its bytes changed; notes its key as alive. */
static void save_alert(struct tsn_detect *d, const struct rule_run *run, const struct tsn_alert_instance *in,
                       struct tsn_map *alive, struct tsn_detect_output *out)
{
    struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;
    char hex[33];
    uint64_t hash;
    void **was;

    tsn_u128_hex(in->labels->id, hex);
    tsn_buf_printf(&key, "alert/%s/%s", run->key, hex);
    put_alert(&value, in);
    hash = tsn_hash64(value.data, value.len) | 1;
    tsn_map_put(alive, key.data, key.len, d);
    was = tsn_map_upsert(&d->written_keys, key.data, key.len, NULL);
    if ((uint64_t)(uintptr_t)*was != hash) {
        *was = (void *)(uintptr_t)hash;
        tsn_detect_push_record(out, &key, &value);
    }
    tsn_buf_release(&key);
    tsn_buf_release(&value);
}

/* The record of one that was put aside stays. */
struct held {
    const struct rule_run *run;
    struct tsn_map *alive;
};

static void keep_held(const struct tsn_alert_instance *in, void *arg)
{
    const struct held *held = arg;
    struct tsn_buf key = TSN_BUF_INIT;
    char hex[33];

    tsn_u128_hex(in->labels->id, hex);
    tsn_buf_printf(&key, "alert/%s/%s", held->run->key, hex);
    tsn_map_put(held->alive, key.data, key.len, held->alive);
    tsn_buf_release(&key);
}

static void save_alerts(struct tsn_detect *d, struct tsn_detect_output *out)
{
    struct tsn_map alive;

    tsn_map_init(&alive);
    for (size_t g = 0; d->set && g < d->set->group_count; g++)
        for (size_t r = 0; r < d->set->groups[g].rule_count; r++) {
            const struct rule_run *run = d->groups[g].rules[r];
            struct held held = { run, &alive };

            tsn_compat_each(run, keep_held, &held);
            for (size_t i = 0; i < run->alerts.len; i++)
                if (!tsn_compat_holds(run, run->alerts.items[i].labels))
                    save_alert(d, run, &run->alerts.items[i], &alive, out);
        }
    tsn_map_foreach(&d->written_keys, e) {
        struct tsn_buf key = TSN_BUF_INIT;

        if (tsn_map_get(&alive, tsn_map_entry_key(e), e->key_len))
            continue;
        tsn_buf_append(&key, tsn_map_entry_key(e), e->key_len);
        tsn_map_del(&d->written_keys, key.data, key.len);
        tsn_detect_push_record(out, &key, NULL);
    }
    tsn_map_release(&alive);
}

/* ---- counters ----------------------------------------------------------------------------- */

static void save_life(const struct series *s, struct life *life, bool ended, struct tsn_detect_output *out)
{
    struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;
    char hex[33];

    if (!life->changed && !life->dead)
        return;
    life->changed = false;
    tsn_u128_hex(s->labels->id, hex);
    tsn_buf_printf(&key, "counter/%s/%lld", hex, (long long)life->birth_ms);
    if (life->dead) {
        tsn_detect_push_record(out, &key, NULL);
        return;
    }
    tsn_buf_printf(&value, "{\"format\":%d,\"total\":\"%016llx%016llx\",\"last\":%lld,\"ended\":%s,\"labels\":",
                   TSN_FORMAT_VERSION, (unsigned long long)(life->total >> 64), (unsigned long long)life->total,
                   (long long)life->last_ms, ended ? "true" : "false");
    tsn_labels_json(&value, s->labels);
    tsn_buf_puts(&value, s->mined ? ",\"mined\":true}" : "}");
    tsn_detect_push_record(out, &key, &value);
}

static void save_lives(struct series *s, struct tsn_detect_output *out)
{
    size_t kept = 0;

    s->queued = false;
    for (size_t k = 0; k < s->more->ended.len; k++) {
        save_life(s, &s->more->ended.items[k], true, out);
        if (!s->more->ended.items[k].dead)
            s->more->ended.items[kept++] = s->more->ended.items[k];
    }
    if (kept != s->more->ended.len)
        s->more->ended.len = kept;
    if (s->life.birth_ms != TSN_TIME_NONE)
        save_life(s, &s->life, false, out);
}

/* What every unit has stepped past: all that counts up to there is in lives, not in open panes. */
static int64_t stepped_ms(const struct tsn_detect *d)
{
    int64_t least_ms = INT64_MAX;

    for (uint32_t u = 0; u < d->unit_count; u++) {
        const struct unit *unit = &d->units[u];
        int64_t ms = unit->last_step_ms != TSN_TIME_NONE ? unit->last_step_ms
                     : unit->start_ms != TSN_TIME_NONE  ? unit->start_ms - 1
                                                        : INT64_MAX;

        if (unit->here && ms < least_ms)
            least_ms = ms;
    }
    return least_ms == INT64_MAX ? TSN_TIME_NONE : least_ms;
}

/* What was mined a refill does not give again: with each checkpoint. */
static void save_mined(struct tsn_detect *d, struct tsn_detect_output *out)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->changed.len; i++)
        if (d->changed.items[i]->mined)
            save_lives(d->changed.items[i], out);
        else
            d->changed.items[kept++] = d->changed.items[i];
    d->changed.len = kept;
}

/* A counter changes at every step; its record is written once a lookback of event time, for what came since lies in
 * the stretch of samples that a takeover reads in any case. So many records a transaction, the rest in the next. */
static void save_counters(struct tsn_detect *d, struct tsn_detect_output *out)
{
    enum { RECORDS = 6000 }; /* the producer holds them all until the commit: 3 MB a partition */
    int64_t now_ms = stepped_ms(d);

    save_mined(d, out);
    if (!d->saving.len) {
        if (now_ms == TSN_TIME_NONE || (d->counted_ms != TSN_TIME_NONE && now_ms - d->counted_ms < d->opt.lookback_ms &&
                                        now_ms >= d->counted_ms))
            return;
        d->counting_ms = now_ms;
        for (size_t i = d->changed.len; i-- > 0;)
            tsn_vec_push(&d->saving, d->changed.items[i]);
        d->changed.len = 0;
    }
    for (size_t n = 0; d->saving.len && n < RECORDS; n++)
        save_lives(tsn_vec_pop(&d->saving), out);
    if (!d->saving.len)
        d->counted_ms = d->counting_ms;
}

/* ---- derived series ----------------------------------------------------------------------- */

static void derived_key(struct tsn_buf *key, const struct series *s, int64_t minute)
{
    char hex[33];

    tsn_u128_hex(s->labels->id, hex);
    tsn_buf_printf(key, "derived/%s/%lld", hex, (long long)minute);
}

static void note_holder(struct series *s, const char *group, const char *rule)
{
    struct holder holder;

    if (s->more->dirty_ms == TSN_TIME_NONE)
        return;
    holder = (struct holder){ tsn_strdup(group), tsn_strdup(rule) };
    tsn_vec_push(&s->more->by, holder);
}

static void note_holders(struct tsn_detect *d)
{
    for (size_t g = 0; d->set && g < d->set->group_count; g++) {
        struct group_run *group = &d->groups[g];

        for (size_t r = 0; r < d->set->groups[g].rule_count; r++)
            for (size_t i = 0; i < group->rules[r]->written.len; i++)
                note_holder(group->rules[r]->written.items[i], group->key, group->rules[r]->key);
        for (size_t i = 0; i < group->orphans.len; i++)
            note_holder(group->orphans.items[i], group->key, "");
    }
}

static void put_holders(struct tsn_buf *out, const struct series *s)
{
    tsn_buf_puts(out, "[");
    for (size_t i = 0; i < s->more->by.len; i++) {
        tsn_buf_puts(out, i ? ",[" : "[");
        tsn_buf_json_string(out, s->more->by.items[i].group, strlen(s->more->by.items[i].group));
        tsn_buf_putc(out, ',');
        tsn_buf_json_string(out, s->more->by.items[i].rule, strlen(s->more->by.items[i].rule));
        tsn_buf_putc(out, ']');
    }
    tsn_buf_putc(out, ']');
}

/* One record: the samples from `first` on that lie in its minute. Returns the index after the last. */
static size_t save_minute(struct series *s, size_t first, struct tsn_detect_output *out)
{
    struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;
    int64_t minute = tsn_minute_of(s->samples.items[first].ts_ms);
    size_t i;

    derived_key(&key, s, minute);
    tsn_buf_printf(&value, "{\"format\":%d,\"labels\":", TSN_FORMAT_VERSION);
    tsn_labels_json(&value, s->labels);
    tsn_buf_puts(&value, s->mined ? ",\"mined\":true,\"by\":" : ",\"by\":");
    put_holders(&value, s);
    tsn_buf_puts(&value, ",\"samples\":[");
    for (i = first; i < s->samples.len && tsn_minute_of(s->samples.items[i].ts_ms) == minute; i++)
        tsn_buf_printf(&value, "%s[%lld,\"%016llx\"]", i > first ? "," : "", (long long)s->samples.items[i].ts_ms,
                       (unsigned long long)tsn_double_bits(s->samples.items[i].value));
    tsn_buf_puts(&value, "]}");
    tsn_detect_push_record(out, &key, &value);
    if (!s->more->minutes.len || s->more->minutes.items[s->more->minutes.len - 1] < minute)
        tsn_vec_push(&s->more->minutes, minute);
    return i;
}

void tsn_detect_drop_minutes(struct series *s, int64_t ms, bool all, struct tsn_detect_output *out)
{
    size_t gone = 0, most = s->more->minutes.len - (!all && s->more->minutes.len);

    while (gone < most && (s->more->minutes.items[gone] + 1) * TSN_MINUTE_MS <= ms) {
        struct tsn_buf key = TSN_BUF_INIT;

        derived_key(&key, s, s->more->minutes.items[gone++]);
        tsn_detect_push_record(out, &key, NULL);
    }
    if (!gone)
        return;
    memmove(s->more->minutes.items, s->more->minutes.items + gone, (s->more->minutes.len - gone) * sizeof *s->more->minutes.items);
    s->more->minutes.len -= gone;
}

static void save_derived(struct tsn_detect *d, struct tsn_detect_output *out)
{
    note_holders(d);
    for (size_t i = 0; i < d->dirty.len; i++) {
        struct series *s = d->dirty.items[i];
        size_t at = s->samples.len;

        while (at && tsn_minute_of(s->samples.items[at - 1].ts_ms) >= tsn_minute_of(s->more->dirty_ms))
            at--;
        while (at < s->samples.len)
            at = save_minute(s, at, out);
        s->more->dirty_ms = TSN_TIME_NONE;
        tsn_series_forget_holders(s);
    }
    d->dirty.len = 0;
    if (d->derived_trimmed_at == d->trimmed_at)
        return;
    d->derived_trimmed_at = d->trimmed_at;
    for (size_t i = 0; i < d->store.all.len; i++)
        if (d->store.all.items[i]->more->minutes.len)
            tsn_detect_drop_minutes(d->store.all.items[i], tsn_detect_needless_of(d, d->store.all.items[i]), true, out);
}

/* ---- index, checkpoint -------------------------------------------------------------------- */

static void save_index(struct tsn_detect *d, struct tsn_detect_output *out)
{
    struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;

    for (size_t i = 0; i < d->index_gone.len; i++) {
        tsn_buf_printf(&key, "index/%lld", (long long)d->index_gone.items[i]);
        tsn_detect_push_record(out, &key, NULL);
    }
    d->index_gone.len = 0;
    for (size_t i = 0; i < d->index.len; i++) {
        struct index_entry *entry = &d->index.items[i];

        if (entry->written)
            continue;
        entry->written = true;
        tsn_buf_printf(&key, "index/%lld", (long long)entry->minute);
        tsn_buf_puts(&value, entry->text);
        tsn_detect_push_record(out, &key, &value);
    }
}

void tsn_detect_checkpoint(struct tsn_detect *d, int64_t next_offset, struct tsn_detect_output *out)
{
    struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;
    char *text;

    if (d->refill_until && next_offset < d->refill_until)
        return;
    if (d->refill_until)
        tsn_detect_refilled(d);
    save_alerts(d, out);
    save_counters(d, out);
    save_derived(d, out);
    tsn_detect_save_chunks(d, out);
    save_index(d, out);
    tsn_mining_save(d, out);
    text = tsn_detect_time_state(d, next_offset);
    tsn_buf_puts(&key, "checkpoint");
    tsn_buf_puts(&value, text);
    tsn_free(text);
    tsn_detect_push_record(out, &key, &value);
}
