/*
 * takeover: from the records of `state` and a stretch of `samples` back to where the last owner was.
 *
 *   samples:   … ─┬──────────────┬───────────────────────────────┬──▶
 *                 refill_offset  mark                            next_offset
 *                 names only     samples, late or not as before,  all as ever
 *                                clocks move, rules do not run
 *
 * The mark is the earliest that the index names for a minute inside some window. Its time state makes
 * the second reading decide as the first did. What rules gave (alerts, derived series) and what lies
 * before the mark (totals of counters) comes from state. While it refills, panes stay open; at the
 * end the base of each life of a counter is its total less the panes read back, so every sample in
 * a window gets the very bits it had.
 */
#include "codec/labels_json.h"
#include "detect/detect_int.h"
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

/* ---- parts of records --------------------------------------------------------------------- */

bool tsn_detect_parse_hex64(const char *text, size_t len, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = text[i] >= '0' && text[i] <= '9'   ? text[i] - '0'
                    : text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10
                                                       : -1;

        if (digit < 0)
            return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    return len == 16;
}

static int64_t time_of(const json_t *value)
{
    return json_is_integer(value) ? json_integer_value(value) : TSN_TIME_NONE;
}

static int64_t member(const json_t *object, const char *key)
{
    return time_of(json_object_get(object, key));
}

static bool bits_of(const json_t *value, double *out)
{
    uint64_t bits;

    if (!json_is_string(value) || !tsn_detect_parse_hex64(json_string_value(value), json_string_length(value), &bits))
        return false;
    *out = tsn_double_from_bits(bits);
    return true;
}

/* "<kind>/<32 hex>/<number>" */
static bool parse_key(const char *key, size_t len, size_t kind_len, struct tsn_u128 *id, int64_t *number)
{
    return len > kind_len + 33 && key[kind_len + 32] == '/' && tsn_u128_parse_hex(key + kind_len, 32, id) &&
           tsn_parse_i64(key + kind_len + 33, len - kind_len - 33, number);
}

static struct series *series_for(struct tsn_detect *d, const json_t *root, enum tsn_sample_kind kind)
{
    struct tsn_labels *labels = tsn_labels_from_json(json_object_get(root, "labels"));
    struct series *s = tsn_store_get(&d->store, labels->id);

    if (!s)
        s = tsn_store_add(&d->store, labels, kind);
    tsn_labels_unref(labels);
    if (json_is_true(json_object_get(root, "mined"))) {
        tsn_series_derive(s);
        s->mined = true;
    }
    return s;
}

/* ---- counters ----------------------------------------------------------------------------- */

static void drop_life(struct series *s, int64_t birth_ms)
{
    size_t kept = 0;

    if (s->life.birth_ms == birth_ms)
        s->life = (struct life){ .birth_ms = TSN_TIME_NONE, .last_ms = TSN_TIME_NONE };
    for (size_t i = 0; i < s->more->ended.len; i++)
        if (s->more->ended.items[i].birth_ms != birth_ms)
            s->more->ended.items[kept++] = s->more->ended.items[i];
    if (kept != s->more->ended.len)
        s->more->ended.len = kept;
}

static enum tsn_err restore_counter(struct tsn_detect *d, const char *key, size_t key_len, const json_t *root,
                                    struct tsn_error *error)
{
    const json_t *total = json_object_get(root, "total");
    struct life life = { .restored = true };
    struct tsn_u128 id;
    struct series *s;
    uint64_t hi, lo;

    if (!parse_key(key, key_len, 8, &id, &life.birth_ms))
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: not counter/<id>/<birth>", (int)key_len, key);
    if (!root) {
        s = tsn_store_get(&d->store, id);
        if (s)
            drop_life(s, life.birth_ms);
        return TSN_OK;
    }
    life.last_ms = member(root, "last");
    if (!json_is_string(total) || json_string_length(total) != 32 || life.last_ms < life.birth_ms ||
        !tsn_detect_parse_hex64(json_string_value(total), 16, &hi) || !tsn_detect_parse_hex64(json_string_value(total) + 16, 16, &lo))
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: no total of 32 hex digits, or no last pane",
                             (int)key_len, key);
    life.total = (tsn_fixed)((unsigned __int128)hi << 64 | lo);
    s = series_for(d, root, TSN_DELTA);
    drop_life(s, life.birth_ms);
    if (json_is_true(json_object_get(root, "ended")))
        tsn_series_add_ended(s, &life);
    else
        s->life = life;
    return TSN_OK;
}

/* ---- derived series ----------------------------------------------------------------------- */

static void drop_minute(struct series *s, int64_t minute)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->samples.len; i++)
        if (tsn_minute_of(s->samples.items[i].ts_ms) != minute)
            s->samples.items[kept++] = s->samples.items[i];
    s->samples.edits += kept != s->samples.len;
    s->samples.len = (uint32_t)kept;
    kept = 0;
    for (size_t i = 0; i < s->more->minutes.len; i++)
        if (s->more->minutes.items[i] != minute)
            s->more->minutes.items[kept++] = s->more->minutes.items[i];
    s->more->minutes.len = kept;
}

/* Returns true if it is the latest of the series. */
static bool add_minute(struct series *s, int64_t minute)
{
    size_t at = s->more->minutes.len;

    tsn_vec_push(&s->more->minutes, minute);
    for (; at && s->more->minutes.items[at - 1] > minute; at--)
        s->more->minutes.items[at] = s->more->minutes.items[at - 1];
    s->more->minutes.items[at] = minute;
    return at + 1 == s->more->minutes.len;
}

static void take_holders(struct series *s, const json_t *by)
{
    size_t i;
    json_t *pair;

    tsn_series_forget_holders(s);
    json_array_foreach(by, i, pair) {
        const char *group = json_string_value(json_array_get(pair, 0));
        const char *rule = json_string_value(json_array_get(pair, 1));
        struct holder holder = { tsn_strdup(group ? group : ""), tsn_strdup(rule ? rule : "") };

        tsn_vec_push(&s->more->by, holder);
    }
}

static enum tsn_err restore_derived(struct tsn_detect *d, const char *key, size_t key_len, const json_t *root,
                                    struct tsn_error *error)
{
    struct tsn_u128 id;
    struct series *s;
    int64_t minute;
    size_t i;
    json_t *pair;

    if (!parse_key(key, key_len, 8, &id, &minute))
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: not derived/<id>/<minute>", (int)key_len, key);
    s = root ? series_for(d, root, TSN_GAUGE) : tsn_store_get(&d->store, id);
    if (!s || (!root && !s->derived))
        return TSN_OK;
    tsn_series_derive(s);
    drop_minute(s, minute);
    if (!root)
        return TSN_OK;
    if (add_minute(s, minute))
        take_holders(s, json_object_get(root, "by"));
    json_array_foreach(json_object_get(root, "samples"), i, pair) {
        int64_t ts_ms = time_of(json_array_get(pair, 0));
        double value;

        if (ts_ms == TSN_TIME_NONE || !bits_of(json_array_get(pair, 1), &value))
            return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: sample %zu is no [time, bits]",
                                 (int)key_len, key, i);
        tsn_series_insert(s, ts_ms, value);
    }
    return TSN_OK;
}

/* ---- one record --------------------------------------------------------------------------- */

static bool has_kind(const char *key, size_t len, const char *kind)
{
    size_t n = strlen(kind);

    return len > n && memcmp(key, kind, n) == 0;
}

static void keep_text(struct tsn_map *map, const char *key, size_t key_len, const char *value, size_t value_len)
{
    tsn_free(tsn_map_del(map, key, key_len));
    if (value)
        tsn_map_put(map, key, key_len, tsn_strndup(value, value_len));
}

enum tsn_err tsn_detect_restore(struct tsn_detect *d, const char *key, size_t key_len, const char *value,
                                size_t value_len, struct tsn_error *error)
{
    json_t *root;
    enum tsn_err err = TSN_OK;

    if (has_kind(key, key_len, "chunk/"))
        return tsn_detect_keep_chunk(d, key, key_len, value, value_len, error);
    root = value ? json_loadb(value, value_len, 0, NULL) : NULL;
    if (value && !json_is_object(root)) {
        json_decref(root);
        return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: the value is no JSON object", (int)key_len, key);
    }
    if (root && member(root, "format") > TSN_FORMAT_VERSION)
        err = tsn_error_set(error, TSN_ERR_UNSUPPORTED,
                            "state key %.*s: written in format %lld, this build reads up to %d: run the newer build",
                            (int)key_len, key, (long long)member(root, "format"), TSN_FORMAT_VERSION);
    else if ((key_len == 10 && memcmp(key, "checkpoint", 10) == 0) || has_kind(key, key_len, "index/"))
        keep_text(&d->restored_marks, key, key_len, value, value_len);
    else if (has_kind(key, key_len, "alert/"))
        keep_text(&d->restored_alerts, key, key_len, value, value_len);
    else if (has_kind(key, key_len, "counter/"))
        err = restore_counter(d, key, key_len, root, error);
    else if (tsn_mining_restore(d, key, key_len, value, value_len))
        err = TSN_OK;
    else if (has_kind(key, key_len, "derived/"))
        err = restore_derived(d, key, key_len, root, error);
    else
        err = tsn_error_set(error, TSN_ERR_UNSUPPORTED, "state has a record of unknown kind: %.*s", (int)key_len, key);
    json_decref(root);
    return err;
}

/* ---- the time state ----------------------------------------------------------------------- */

static void load_topic(struct tsn_detect *d, const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "topic"));
    const char *type = json_string_value(json_object_get(object, "type"));
    const json_t *names = json_object_get(object, "names");
    struct tsn_input_decl decl = { .topic = (char *)(uintptr_t)name, .type = (char *)(uintptr_t)type };
    size_t i;
    json_t *row;

    if (!name)
        return;
    if (type) {
        decl.partition_count = (int32_t)json_integer_value(json_object_get(object, "partitions"));
        decl.any_name = json_is_true(json_object_get(object, "any_name"));
        decl.names = tsn_calloc(json_array_size(names), sizeof *decl.names);
        json_array_foreach(names, i, row)
            if (json_is_string(row))
                decl.names[decl.name_count++] = (char *)(uintptr_t)json_string_value(row);
        tsn_detect_declare(d, &decl);
        tsn_free(decl.names);
    }
    json_array_foreach(json_object_get(object, "inputs"), i, row) {
        struct input *in = tsn_detect_input(tsn_detect_topic(d, name),
                                            (int32_t)json_integer_value(json_array_get(row, 0)));

        if (!in)
            continue;
        in->known = true;
        in->watermark_ms = time_of(json_array_get(row, 1));
        in->idle = json_is_true(json_array_get(row, 2));
        in->idle_clock_ms = time_of(json_array_get(row, 3));
        in->rule_set = json_integer_value(json_array_get(row, 4));
    }
}

static void load_units(struct tsn_detect *d, const json_t *units)
{
    for (uint32_t u = 0; u < d->unit_count; u++) {
        struct unit *unit = &d->units[u];
        const json_t *row = json_object_get(units, unit->name);

        if (!json_is_array(row))
            continue;
        unit->time_ms = time_of(json_array_get(row, 0));
        unit->last_step_ms = time_of(json_array_get(row, 1));
        unit->start_ms = time_of(json_array_get(row, 2));
        unit->warm_until_ms = time_of(json_array_get(row, 3));
    }
}

static void load_pasts(struct tsn_detect *d, const json_t *pasts)
{
    size_t i, u;
    json_t *row, *step;

    tsn_detect_release_pasts(d);
    json_array_foreach(pasts, i, row) {
        const json_t *steps = json_array_get(row, 2);
        struct past past = { json_integer_value(json_array_get(row, 0)), time_of(json_array_get(row, 1)),
                             tsn_calloc(json_array_size(steps), sizeof(int64_t)), (uint32_t)json_array_size(steps), { 0 } };

        json_array_foreach(steps, u, step)
            past.steps_ms[u] = time_of(step);
        tsn_vec_push(&d->pasts, past);
    }
}

/* Everything that decides about time, as it stood before a mark's offset. */
static enum tsn_err load_time_state(struct tsn_detect *d, const json_t *root, struct tsn_error *error)
{
    int64_t number = member(root, "rule_set");
    size_t i;
    json_t *topic;

    d->floor_ms = member(root, "floor");
    load_pasts(d, json_object_get(root, "pasts"));
    if (!tsn_detect_install_set(d, number))
        return tsn_error_set(error, TSN_ERR_NOT_FOUND, "state names rule set %lld, which topic rules lacks",
                             (long long)number);
    tsn_detect_release_inputs(d);
    json_array_foreach(json_object_get(root, "topics"), i, topic)
        load_topic(d, topic);
    tsn_detect_feeds(d);
    load_units(d, json_object_get(root, "units"));
    d->mining->horizon_ms = member(root, "mined");
    return TSN_OK;
}

/* ---- where to read from ------------------------------------------------------------------- */

static void restore_index_entry(struct tsn_detect *d, int64_t minute, const char *text, int64_t offset)
{
    struct index_entry entry = { minute, offset, tsn_strdup(text), true };
    size_t at = d->index.len;

    tsn_vec_push(&d->index, entry);
    for (; at && d->index.items[at - 1].minute > minute; at--)
        d->index.items[at] = d->index.items[at - 1];
    d->index.items[at] = entry;
}

static enum tsn_err restore_index(struct tsn_detect *d, struct tsn_error *error)
{
    tsn_map_foreach(&d->restored_marks, e) {
        const char *key = tsn_map_entry_key(e);
        json_t *root;
        int64_t minute, offset;

        if (!has_kind(key, e->key_len, "index/"))
            continue;
        root = json_loads(e->value, 0, NULL);
        offset = member(root, "offset");
        json_decref(root);
        if (!tsn_parse_i64(key + 6, e->key_len - 6, &minute) || offset < 0)
            return tsn_error_set(error, TSN_ERR_INVALID, "state key %.*s: no minute, or no offset", (int)e->key_len,
                                 key);
        restore_index_entry(d, minute, e->value, offset);
    }
    return TSN_OK;
}

/* The earliest mark of a minute that some window still reads; the checkpoint itself if there is none. */
static const char *choose_mark(struct tsn_detect *d, const char *checkpoint)
{
    int64_t needless_ms = tsn_detect_refill_ms(d), least = INT64_MAX;
    const char *best = checkpoint;

    d->refill_ms = needless_ms > d->indexed_ms ? needless_ms : d->indexed_ms; /* a former set's windows were shorter */
    for (size_t i = 0; i < d->index.len; i++) {
        const struct index_entry *entry = &d->index.items[i];

        if ((entry->minute + 1) * TSN_MINUTE_MS > needless_ms && entry->offset < least) {
            least = entry->offset;
            best = entry->text;
        }
    }
    return best;
}

/* How far state reaches; the checkpoint's word, whatever mark the refill starts from. */
static void load_reach(struct tsn_detect *d, const char *checkpoint)
{
    json_t *root = json_loads(checkpoint, 0, NULL);

    d->chunked_ms = d->chunking_ms = member(root, "chunked");
    d->counted_ms = member(root, "counted");
    d->indexed_ms = member(root, "indexed");
    json_decref(root);
}

static enum tsn_err load_text(struct tsn_detect *d, const char *text, int64_t *offset, int64_t *announced,
                              struct tsn_error *error)
{
    json_t *root = json_loads(text, 0, NULL);
    enum tsn_err err = load_time_state(d, root, error);

    *offset = member(root, "offset");
    *announced = member(root, "announced");
    json_decref(root);
    if (!err && (*offset < 0 || *announced < 0))
        err = tsn_error_set(error, TSN_ERR_INVALID, "a mark in state has no offset");
    return err;
}

enum tsn_err tsn_detect_restore_done(struct tsn_detect *d, int64_t *refill_offset, int64_t *next_offset,
                                     struct tsn_error *error)
{
    const char *checkpoint = tsn_map_get_str(&d->restored_marks, "checkpoint");
    int64_t next, announced;
    enum tsn_err err;

    *refill_offset = *next_offset = 0;
    if (!checkpoint)
        return TSN_OK;
    load_reach(d, checkpoint);
    err = restore_index(d, error);
    if (!err)
        err = tsn_detect_load_chunks(d, error);
    if (!err)
        err = tsn_mining_restored(d, error);
    if (!err)
        err = load_text(d, checkpoint, &next, &announced, error);
    if (!err)
        err = load_text(d, choose_mark(d, checkpoint), &d->refill_from, refill_offset, error);
    if (err)
        return err;
    d->refill_until = *next_offset = next;
    return TSN_OK;
}

/* ---- joining the restored past with the refilled windows ---------------------------------- */

/* A time that a step can be compared with. */
static bool time_good(int64_t ms, bool must)
{
    return ms == TSN_TIME_NONE ? !must : ms > INT64_MIN / 4 && ms < INT64_MAX / 4;
}

static bool times_good(const struct tsn_alert_instance *in)
{
    bool active = in->state == TSN_ALERT_PENDING || in->state == TSN_ALERT_FIRING;

    return time_good(in->active_at_ms, active) && time_good(in->resolved_at_ms, !active) && time_good(in->fired_at_ms, false) &&
           time_good(in->keep_firing_since_ms, false);
}

static bool restore_alert(struct tsn_alert_rule_state *state, const char *text)
{
    json_t *root = json_loads(text, 0, NULL);
    struct tsn_alert_instance in = { 0 };
    size_t at = state->len;
    const char *name = json_string_value(json_object_get(root, "state"));

    in.active_at_ms = member(root, "active_at");
    in.fired_at_ms = member(root, "fired_at");
    in.resolved_at_ms = member(root, "resolved_at");
    in.keep_firing_since_ms = member(root, "keep_firing_since");
    if (!name || !tsn_alert_state_parse(name, &in.state) || !bits_of(json_object_get(root, "value"), &in.value) || !times_good(&in)) {
        json_decref(root);
        return false;
    }
    in.labels = tsn_labels_from_json(json_object_get(root, "labels"));
    in.annotations = tsn_labels_from_json(json_object_get(root, "annotations"));
    json_decref(root);
    tsn_vec_push(state, in);
    for (; at && tsn_labels_compare(state->items[at - 1].labels, in.labels) > 0; at--)
        state->items[at] = state->items[at - 1];
    state->items[at] = in;
    return true;
}

static struct rule_run *find_rule(const struct tsn_map *rules, const char *key, size_t len)
{
    return tsn_map_get(rules, key, len);
}

static void attach_alerts(struct tsn_detect *d, const struct tsn_map *rules)
{
    tsn_map_foreach(&d->restored_alerts, e) {
        const char *key = tsn_map_entry_key(e), *text = e->value;
        struct rule_run *run = e->key_len > 39 ? find_rule(rules, key + 6, e->key_len - 39) : NULL;

        if (run && restore_alert(&run->alerts, text))
            tsn_map_put(&d->written_keys, key, e->key_len,
                        (void *)(uintptr_t)(tsn_hash64(text, strlen(text)) | 1));
        else /* of a rule that is gone: to be deleted */
            tsn_map_put(&d->written_keys, key, e->key_len, d);
        tsn_free(e->value);
    }
    tsn_map_clear(&d->restored_alerts);
}

/* Each unit's last step is the last time that its alerts were seen at. */
static void put_alerts_aside(struct tsn_detect *d)
{
    for (uint32_t u = 0; u < d->unit_count; u++)
        for (uint32_t g = 0; g < d->units[u].group_count; g++) {
            const struct group_run *group = &d->groups[d->units[u].groups[g]];

            for (size_t r = 0; r < group->group->rule_count && d->units[u].last_step_ms != TSN_TIME_NONE; r++)
                tsn_compat_put_aside(group->rules[r], d->units[u].last_step_ms);
        }
}

static void attach_holders(struct tsn_detect *d, const struct tsn_map *rules, struct series *s)
{
    for (size_t i = 0; i < s->more->by.len; i++) {
        struct rule_run *run = find_rule(rules, s->more->by.items[i].rule, strlen(s->more->by.items[i].rule));

        if (run) {
            tsn_vec_push(&run->written, s);
            s->refs++;
            continue;
        }
        for (size_t g = 0; d->set && g < d->set->group_count; g++)
            if (strcmp(d->groups[g].key, s->more->by.items[i].group) == 0) {
                tsn_vec_push(&d->groups[g].orphans, s);
                s->refs++;
            }
    }
    tsn_series_forget_holders(s);
}

/* The clocks must stand where the checkpoint says: a step that was given must not be given again. */
static void meet_clocks(struct tsn_detect *d)
{
    char *text = tsn_detect_time_state(d, d->refill_until);
    json_t *now = json_loads(text, 0, NULL);
    json_t *was = json_loads(tsn_map_get_str(&d->restored_marks, "checkpoint"), 0, NULL);
    const json_t *units = json_object_get(was, "units");

    if (!json_equal(json_object_get(now, "units"), units)) {
        d->stats.refill_mismatches++;
        load_units(d, units);
        d->mining->horizon_ms = member(was, "mined");
    }
    json_decref(now);
    json_decref(was);
    tsn_free(text);
}

void tsn_detect_refilled(struct tsn_detect *d)
{
    struct tsn_map rules;

    meet_clocks(d);
    d->refill_until = 0;
    tsn_map_init(&rules);
    for (size_t g = 0; d->set && g < d->set->group_count; g++)
        for (size_t r = 0; r < d->set->groups[g].rule_count; r++)
            tsn_map_put_str(&rules, d->groups[g].rules[r]->key, d->groups[g].rules[r]);
    for (size_t i = 0; i < d->store.all.len; i++) {
        struct series *s = d->store.all.items[i];

        if (!s->mined) {
            tsn_series_rebase(s, d->refill_ms, tsn_detect_needless_of(d, s), d->opt.counter_ttl_ms);
            if (tsn_detect_horizon(d, s) != TSN_TIME_NONE)
                tsn_detect_close_series(d, s, tsn_detect_horizon(d, s)); /* counted since the lives were saved */
        }
        if (tsn_panes_any(&s->panes) || s->life.birth_ms != TSN_TIME_NONE)
            tsn_detect_list_open(d, s);
        if (s->more->by.len)
            attach_holders(d, &rules, s);
    }
    tsn_detect_apply_floors(d);
    attach_alerts(d, &rules);
    if (d->opt.prometheus_restore)
        put_alerts_aside(d);
    tsn_map_release(&rules);
    tsn_map_foreach(&d->restored_marks, e)
        tsn_free(e->value);
    tsn_map_clear(&d->restored_marks);
}
