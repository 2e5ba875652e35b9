/*
 * state: what DETECT keeps in the compacted topic `state`, and how it takes over from it.
 *
 *   checkpoint                      next offset, rule set, each unit's last step
 *   alert/<file;group>/<rule>/<id>  one active instance
 *   counter/<id>                    total, birth and last pane of a series counted here
 *   index/<event minute>            lowest `samples` offset with a sample at or after it
 *
 * Values are JSON; numbers that must keep their bits (doubles, 128-bit totals) are hex text. A
 * takeover restores these, then reads `samples` back from the index. While it refills, panes stay
 * open; at the end a counter's base is its stored total less the panes read back, so every sample of
 * the window gets the very bits it had. Limit: of a series that ended and was born again inside
 * the window, the former life starts from zero.
 */
#include "detect/detect_int.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { PANE_MS = 1000 };

static void hex64(char out[17], uint64_t value)
{
    snprintf(out, 17, "%016llx", (unsigned long long)value);
}

static bool parse_hex64(const char *text, uint64_t *out)
{
    char *end;

    if (!text || strlen(text) != 16)
        return false;
    *out = strtoull(text, &end, 16);
    return *end == '\0';
}

static void push_record(struct tsn_detect_output *out, char *key, struct tsn_buf *value)
{
    struct tsn_state_record record = { key, NULL, 0 };

    if (value)
        record.value = tsn_buf_take(value, &record.value_len);
    tsn_vec_push(&out->state, record);
}

/* ---- writing ------------------------------------------------------------------------------ */

static char *alert_key(const struct tsn_group *group, const struct tsn_rule *rule, const struct tsn_labels *labels)
{
    struct tsn_buf key = TSN_BUF_INIT;
    char hex[33];

    tsn_u128_hex(labels->id, hex);
    tsn_buf_printf(&key, "alert/%s;%s/%s/%s", group->file, group->name, rule->name, hex);
    return tsn_buf_take(&key, NULL);
}

static void put_alert(struct tsn_buf *out, const struct tsn_alert_instance *in)
{
    char bits[17];

    hex64(bits, tsn_double_bits(in->value));
    tsn_buf_printf(out, "{\"format\":%d,\"state\":\"%s\",\"value\":\"%s\",\"active_at\":%lld,\"fired_at\":%lld,"
                   "\"resolved_at\":%lld,\"keep_firing_since\":%lld,\"labels\":", TSN_FORMAT_VERSION,
                   tsn_alert_state_name(in->state), bits, (long long)in->active_at_ms, (long long)in->fired_at_ms,
                   (long long)in->resolved_at_ms, (long long)in->keep_firing_since_ms);
    tsn_labels_json(out, in->labels);
    tsn_buf_puts(out, ",\"annotations\":");
    if (in->annotations)
        tsn_labels_json(out, in->annotations);
    else
        tsn_buf_puts(out, "{}");
    tsn_buf_putc(out, '}');
}

/* Writes instances whose bytes changed and deletes those that are gone. */
static void checkpoint_alerts(struct tsn_detect *d, struct tsn_detect_output *out)
{
    struct tsn_map alive;

    tsn_map_init(&alive);
    for (size_t g = 0; d->set && g < d->set->group_count; g++)
        for (size_t r = 0; r < d->set->groups[g].rule_count; r++) {
            const struct rule_run *run = &d->groups[g].rules[r];

            for (size_t i = 0; i < run->alerts.len; i++) {
                char *key = alert_key(&d->set->groups[g], run->rule, run->alerts.items[i].labels);
                struct tsn_buf value = TSN_BUF_INIT;
                uint64_t hash;
                void **was;

                put_alert(&value, &run->alerts.items[i]);
                hash = tsn_hash64(value.data, value.len) | 1;
                tsn_map_put_str(&alive, key, d);
                was = tsn_map_upsert(&d->written_keys, key, strlen(key), NULL);
                if ((uintptr_t)*was == (uintptr_t)hash) {
                    tsn_buf_release(&value);
                    tsn_free(key);
                    continue;
                }
                *was = (void *)(uintptr_t)hash;
                push_record(out, key, &value);
            }
        }
    tsn_map_foreach(&d->written_keys, e) {
        const char *key = tsn_map_entry_key(e);

        if (tsn_map_get(&alive, key, e->key_len))
            continue;
        push_record(out, tsn_strndup(key, e->key_len), NULL);
        tsn_map_del(&d->written_keys, key, e->key_len);
    }
    tsn_map_release(&alive);
}

static void checkpoint_counters(struct tsn_detect *d, struct tsn_detect_output *out)
{
    for (size_t i = 0; i < d->store.all.len; i++) {
        struct series *s = d->store.all.items[i];
        struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;
        char hex[33], hi[17], lo[17];

        if (!s->changed)
            continue;
        s->changed = false;
        tsn_u128_hex(s->labels->id, hex);
        tsn_buf_printf(&key, "counter/%s", hex);
        if (s->birth_pane_ms == TSN_TIME_NONE) {
            push_record(out, tsn_buf_take(&key, NULL), NULL);
            continue;
        }
        hex64(hi, (uint64_t)(s->total >> 64));
        hex64(lo, (uint64_t)s->total);
        tsn_buf_printf(&value, "{\"format\":%d,\"total\":\"%s%s\",\"birth\":%lld,\"last\":%lld,\"labels\":",
                       TSN_FORMAT_VERSION, hi, lo, (long long)s->birth_pane_ms, (long long)s->last_pane_ms);
        tsn_labels_json(&value, s->labels);
        tsn_buf_putc(&value, '}');
        push_record(out, tsn_buf_take(&key, NULL), &value);
    }
}

static void checkpoint_index(struct tsn_detect *d, struct tsn_detect_output *out)
{
    tsn_map_foreach(&d->index, e) {
        const char *key = tsn_map_entry_key(e);
        int64_t minute = 0;
        struct tsn_buf name = TSN_BUF_INIT, value = TSN_BUF_INIT;

        (void)tsn_parse_i64(key, e->key_len, &minute);
        if (minute <= d->index_minute_ms)
            continue;
        tsn_buf_printf(&name, "index/%.*s", (int)e->key_len, key);
        tsn_buf_printf(&value, "%lld", (long long)*(int64_t *)e->value);
        push_record(out, tsn_buf_take(&name, NULL), &value);
    }
    tsn_map_foreach(&d->index, e) {
        int64_t minute = 0;

        (void)tsn_parse_i64(tsn_map_entry_key(e), e->key_len, &minute);
        if (minute > d->index_minute_ms)
            d->index_minute_ms = minute;
    }
}

void tsn_detect_checkpoint(struct tsn_detect *d, int64_t next_offset, struct tsn_detect_output *out)
{
    struct tsn_buf value = TSN_BUF_INIT;
    bool first = true;

    if (d->refill_until)
        return;
    checkpoint_alerts(d, out);
    checkpoint_counters(d, out);
    checkpoint_index(d, out);
    tsn_buf_printf(&value, "{\"format\":%d,\"next_offset\":%lld,\"rule_set\":%lld,\"units\":{", TSN_FORMAT_VERSION,
                   (long long)next_offset, (long long)d->set_number);
    for (uint32_t u = 0; u < d->unit_count; u++) {
        if (!d->units[u].here || d->units[u].last_step_ms == TSN_TIME_NONE)
            continue;
        if (!first)
            tsn_buf_putc(&value, ',');
        first = false;
        tsn_buf_json_string(&value, d->units[u].name, strlen(d->units[u].name));
        tsn_buf_printf(&value, ":%lld", (long long)d->units[u].last_step_ms);
    }
    tsn_buf_puts(&value, "}}");
    push_record(out, tsn_strdup("checkpoint"), &value);
}

/* ---- reading ------------------------------------------------------------------------------ */

static struct tsn_labels *labels_from_json(const json_t *object)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;
    const char *name;
    json_t *value;

    tsn_labels_builder_init(&b);
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        if (json_is_string(value))
            tsn_labels_builder_setn(&b, name, strlen(name), json_string_value(value), json_string_length(value));
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

static int64_t integer_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : TSN_TIME_NONE;
}

static enum tsn_err restore_checkpoint(struct tsn_detect *d, const json_t *root, struct tsn_error *error)
{
    json_t *step;
    const char *name;

    if (integer_of(root, "format") > TSN_FORMAT_VERSION)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED,
                             "state was written in format %lld, this build reads up to %d: run the newer build",
                             (long long)integer_of(root, "format"), TSN_FORMAT_VERSION);
    d->restored_next = integer_of(root, "next_offset");
    d->restored_set = integer_of(root, "rule_set");
    d->has_checkpoint = d->restored_next >= 0;
    tsn_map_foreach(&d->restored_steps, e)
        tsn_free(e->value);
    tsn_map_clear(&d->restored_steps);
    json_object_foreach(json_object_get(root, "units"), name, step) {
        int64_t *last = tsn_alloc(sizeof *last);

        *last = json_integer_value(step);
        tsn_free(tsn_map_put_str(&d->restored_steps, name, last));
    }
    return TSN_OK;
}

static enum tsn_err restore_counter(struct tsn_detect *d, const json_t *root, struct tsn_error *error)
{
    const char *total = json_string_value(json_object_get(root, "total"));
    struct tsn_labels *labels;
    struct series *s;
    char half[17] = "";
    uint64_t hi, lo;

    if (!total || strlen(total) != 32)
        return tsn_error_set(error, TSN_ERR_INVALID, "a counter in state has no total of 32 hex digits");
    memcpy(half, total, 16);
    if (!parse_hex64(half, &hi) || !parse_hex64(total + 16, &lo))
        return tsn_error_set(error, TSN_ERR_INVALID, "a counter in state has a total that is not hex: %s", total);
    labels = labels_from_json(json_object_get(root, "labels"));
    s = tsn_store_get(&d->store, labels->id);
    if (!s)
        s = tsn_store_add(&d->store, labels, TSN_DELTA);
    tsn_labels_unref(labels);
    s->restored = true;
    s->restored_total = (tsn_fixed)((unsigned __int128)hi << 64 | lo);
    s->birth_pane_ms = integer_of(root, "birth");
    s->last_pane_ms = integer_of(root, "last");
    return TSN_OK;
}

static void forget_counter(struct tsn_detect *d, const char *hex, size_t len)
{
    struct tsn_u128 id;
    struct series *s;

    if (!tsn_u128_parse_hex(hex, len, &id) || !(s = tsn_store_get(&d->store, id)))
        return;
    s->restored = false;
    s->birth_pane_ms = s->last_pane_ms = TSN_TIME_NONE;
}

enum tsn_err tsn_detect_restore(struct tsn_detect *d, const char *key, size_t key_len, const char *value,
                                size_t value_len, struct tsn_error *error)
{
    json_t *root = value ? json_loadb(value, value_len, JSON_DECODE_ANY, NULL) : NULL;
    enum tsn_err err = TSN_OK;

    if (value && !root)
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: the value is not JSON", (int)key_len, key);
    if (key_len == 10 && memcmp(key, "checkpoint", 10) == 0) {
        err = root ? restore_checkpoint(d, root, error) : TSN_OK;
    } else if (key_len > 8 && memcmp(key, "counter/", 8) == 0) {
        if (root)
            err = restore_counter(d, root, error);
        else
            forget_counter(d, key + 8, key_len - 8);
    } else if (key_len > 6 && memcmp(key, "alert/", 6) == 0) {
        tsn_free(tsn_map_del(&d->restored_alerts, key, key_len));
        if (root)
            tsn_map_put(&d->restored_alerts, key, key_len, tsn_strndup(value, value_len));
    } else if (key_len > 6 && memcmp(key, "index/", 6) == 0) {
        int64_t *offset = tsn_alloc(sizeof *offset);

        *offset = json_is_integer(root) ? json_integer_value(root) : 0;
        tsn_free(tsn_map_put(&d->index, key + 6, key_len - 6, offset));
    } else {
        err = tsn_error_set(error, TSN_ERR_UNSUPPORTED, "state has a record of unknown kind: %.*s", (int)key_len, key);
    }
    json_decref(root);
    return err;
}

enum tsn_err tsn_detect_restore_done(struct tsn_detect *d, int64_t *refill_offset, int64_t *next_offset,
                                     struct tsn_error *error)
{
    int64_t least = INT64_MAX, window_ms;

    *refill_offset = *next_offset = 0;
    if (!d->has_checkpoint)
        return TSN_OK;
    window_ms = tsn_detect_window_of(d, d->restored_set);
    if (window_ms < 0)
        return tsn_error_set(error, TSN_ERR_NOT_FOUND, "the checkpoint names rule set %lld, which topic rules lacks",
                             (long long)d->restored_set);
    d->refill_until = d->restored_next;
    tsn_map_foreach(&d->restored_steps, e)
        least = *(int64_t *)e->value < least ? *(int64_t *)e->value : least;
    *next_offset = d->restored_next;
    *refill_offset = d->restored_next;
    tsn_map_foreach(&d->index, e) {
        int64_t minute = 0, offset = *(int64_t *)e->value;

        (void)tsn_parse_i64(tsn_map_entry_key(e), e->key_len, &minute);
        if (least == INT64_MAX || minute * 60000 + 60000 > least - window_ms)
            *refill_offset = offset < *refill_offset ? offset : *refill_offset;
    }
    return TSN_OK;
}

/* ---- joining the restored past with the refilled windows ---------------------------------- */

static bool restore_alert(struct tsn_alert_rule_state *state, const char *text)
{
    json_t *root = json_loads(text, 0, NULL);
    struct tsn_alert_instance in = { 0 };
    uint64_t bits = 0;
    size_t at = state->len;
    const char *name = json_string_value(json_object_get(root, "state"));

    if (!name || !tsn_alert_state_parse(name, &in.state) ||
        !parse_hex64(json_string_value(json_object_get(root, "value")), &bits)) {
        json_decref(root);
        return false;
    }
    in.value = tsn_double_from_bits(bits);
    in.labels = labels_from_json(json_object_get(root, "labels"));
    in.annotations = labels_from_json(json_object_get(root, "annotations"));
    in.active_at_ms = integer_of(root, "active_at");
    in.fired_at_ms = integer_of(root, "fired_at");
    in.resolved_at_ms = integer_of(root, "resolved_at");
    in.keep_firing_since_ms = integer_of(root, "keep_firing_since");
    json_decref(root);
    tsn_vec_push(state, in);
    for (; at && tsn_labels_compare(state->items[at - 1].labels, in.labels) > 0; at--)
        state->items[at] = state->items[at - 1];
    state->items[at] = in;
    return true;
}

static void attach_alerts(struct tsn_detect *d)
{
    for (size_t g = 0; g < d->set->group_count; g++)
        for (size_t r = 0; r < d->set->groups[g].rule_count; r++) {
            struct tsn_buf prefix = TSN_BUF_INIT;

            tsn_buf_printf(&prefix, "alert/%s;%s/%s/", d->set->groups[g].file, d->set->groups[g].name,
                           d->set->groups[g].rules[r].name);
            tsn_map_foreach(&d->restored_alerts, e) {
                const char *key = tsn_map_entry_key(e);
                char *text = e->value;

                if (e->key_len < prefix.len || memcmp(key, prefix.data, prefix.len) != 0)
                    continue;
                if (restore_alert(&d->groups[g].rules[r].alerts, text))
                    tsn_map_put(&d->written_keys, key, e->key_len,
                                (void *)(uintptr_t)(tsn_hash64(text, strlen(text)) | 1));
                tsn_free(text);
                tsn_map_del(&d->restored_alerts, key, e->key_len);
            }
            tsn_buf_release(&prefix);
        }
}

/* The total before the first refilled pane = the stored total less what was read back and counted
 * in it; then the panes close into samples exactly as they did the first time. */
static void rebase_counter(struct tsn_detect *d, struct series *s, int64_t last_step_ms)
{
    tsn_fixed counted = 0;
    int64_t first_ms = s->panes.len ? s->panes.items[0].pane_ms : INT64_MAX;

    for (size_t i = 0; i < s->panes.len; i++)
        if (s->panes.items[i].pane_ms >= s->birth_pane_ms && s->panes.items[i].pane_ms + PANE_MS <= last_step_ms)
            (void)tsn_fixed_add(&counted, s->panes.items[i].delta);
    s->restored = false;
    s->total = s->restored_total - counted;
    if (s->birth_pane_ms >= first_ms) {
        s->total = 0;
        s->birth_pane_ms = s->last_pane_ms = TSN_TIME_NONE;
    }
    if (!s->listed) {
        s->listed = true;
        tsn_vec_push(&d->store.open, s);
    }
    if (last_step_ms != TSN_TIME_NONE)
        tsn_series_close_panes(s, last_step_ms, d->opt.counter_ttl_ms);
}

void tsn_detect_attach_restored(struct tsn_detect *d)
{
    int64_t last_step_ms = TSN_TIME_NONE;

    if (d->refill_until || !d->set || !d->has_checkpoint)
        return;
    d->has_checkpoint = false;
    for (uint32_t u = 0; u < d->unit_count; u++) {
        const int64_t *last = tsn_map_get_str(&d->restored_steps, d->units[u].name);

        if (!last)
            continue;
        d->units[u].last_step_ms = *last;
        last_step_ms = *last > last_step_ms ? *last : last_step_ms;
    }
    for (size_t i = 0; i < d->store.all.len; i++)
        if (d->store.all.items[i]->restored)
            rebase_counter(d, d->store.all.items[i], last_step_ms);
    attach_alerts(d);
}
