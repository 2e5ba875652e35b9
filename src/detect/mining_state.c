/*
 * mining_state: what mining keeps in `state`, and what it tells people in topic `templates`.
 *
 *   miner/<scope>/<part>     the miner of one (service, level): tsn_miner_snapshot in hex, cut into parts
 *   template/<scope>/<id>    a template's tally; of a merged one, into what and when
 *   lines/<scope>/<id>       its sample lines
 *
 * The miner is written when its structure changed (a signature it did not know), the tally when lines were counted: after
 * the learning days that is all. Counts inside the snapshot may therefore be old; the tallies put them right.
 *
 * Topic `templates` gets a record at once when a template is found, merges or changes its text, and of what was counted every TELL_MS of
 * event time.
 */
#include "detect/mining.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { PART_BYTES = 200 << 10, TELL_MS = 30000, MAX_PARTS = 1000 };

/* Takes the key; value NULL deletes. */
#define PUSH(list, text, bytes)                                                \
    do {                                                                       \
        struct tsn_state_record record_ = { (text), NULL, 0 };                 \
        struct tsn_buf *value_ = (bytes);                                      \
                                                                               \
        if (value_)                                                            \
            record_.value = tsn_buf_take(value_, &record_.value_len);          \
        tsn_vec_push((list), record_);                                         \
    } while (0)

static void put_string(struct tsn_buf *out, const char *name, const char *text)
{
    tsn_buf_printf(out, ",\"%s\":", name);
    tsn_buf_json_string(out, text, strlen(text));
}

static void put_number(struct tsn_buf *out, const char *name, int64_t value)
{
    tsn_buf_printf(out, ",\"%s\":", name);
    if (value == TSN_TIME_NONE)
        tsn_buf_puts(out, "null");
    else
        tsn_buf_printf(out, "%lld", (long long)value);
}

static void put_time(struct tsn_buf *out, const char *name, int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE) {
        tsn_buf_printf(out, ",\"%s\":null", name);
        return;
    }
    tsn_format_rfc3339(text, ms);
    tsn_buf_printf(out, ",\"%s\":\"%s\"", name, text);
}

static void begin(struct tsn_buf *out, const struct mined_scope *scope)
{
    tsn_buf_printf(out, "{\"format\":%d", TSN_FORMAT_VERSION);
    put_string(out, "service", scope->service);
    put_string(out, "level", scope->level);
}

static char *key_of(const char *kind, const struct mined *mined)
{
    struct tsn_buf key = TSN_BUF_INIT;

    tsn_buf_printf(&key, "%s/%016llx/%016llx", kind, (unsigned long long)mined->scope->hash, (unsigned long long)mined->id);
    return tsn_buf_take(&key, NULL);
}

/* ---- writing: state ----------------------------------------------------------------------- */

static void save_tally(struct mined *mined, struct tsn_detect_output *out)
{
    struct tsn_buf value = TSN_BUF_INIT;

    begin(&value, mined->scope);
    put_number(&value, "found", mined->found_ms);
    put_number(&value, "count", mined->count);
    put_number(&value, "first", mined->first_ms);
    put_number(&value, "last", mined->last_ms);
    put_number(&value, "told", mined->told);
    if (mined->merged_ms != TSN_TIME_NONE) {
        put_number(&value, "merged", mined->merged_ms);
        tsn_buf_printf(&value, ",\"into\":\"%016llx\"", (unsigned long long)mined->into);
    }
    tsn_buf_putc(&value, '}');
    PUSH(&out->state, key_of("template", mined), &value);
    mined->tally_changed = false;
}

/* `full`: with times as people read them. */
static void put_lines(struct tsn_buf *out, const struct mined *mined, bool full)
{
    tsn_buf_puts(out, full ? ",\"samples\":[" : ",\"lines\":[");
    for (size_t i = 0; i < mined->lines.len; i++) {
        const struct mined_line *line = &mined->lines.items[i];

        tsn_buf_puts(out, i ? ",{\"line\":" : "{\"line\":");
        tsn_buf_json_string(out, line->text, strlen(line->text));
        put_string(out, "topic", line->topic);
        put_number(out, "partition", line->partition);
        put_number(out, "offset", line->offset);
        if (full)
            put_time(out, "timestamp", line->ts_ms);
        else
            put_number(out, "ts", line->ts_ms);
        tsn_buf_putc(out, '}');
    }
    tsn_buf_putc(out, ']');
}

static void save_lines(struct mined *mined, struct tsn_detect_output *out)
{
    struct tsn_buf value = TSN_BUF_INIT;

    begin(&value, mined->scope);
    put_lines(&value, mined, false);
    tsn_buf_putc(&value, '}');
    PUSH(&out->state, key_of("lines", mined), &value);
    mined->lines_changed = false;
}

static char *part_key(const struct mined_scope *scope, uint32_t part)
{
    struct tsn_buf key = TSN_BUF_INIT;

    tsn_buf_printf(&key, "miner/%016llx/%u", (unsigned long long)scope->hash, part);
    return tsn_buf_take(&key, NULL);
}

static void put_hex(struct tsn_buf *out, const char *bytes, size_t len)
{
    char *to = tsn_buf_reserve(out, 2 * len);

    for (size_t i = 0; i < len; i++) {
        to[2 * i] = "0123456789abcdef"[(uint8_t)bytes[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    out->len += 2 * len;
}

static void save_miner(struct mined_scope *scope, struct tsn_detect_output *out)
{
    struct tsn_buf bytes = TSN_BUF_INIT, value = TSN_BUF_INIT;
    uint32_t parts;

    tsn_miner_snapshot(scope->miner, &bytes);
    parts = (uint32_t)((bytes.len + PART_BYTES - 1) / PART_BYTES);
    for (uint32_t p = 0; p < parts; p++) {
        size_t at = (size_t)p * PART_BYTES, len = bytes.len - at < PART_BYTES ? bytes.len - at : PART_BYTES;

        begin(&value, scope);
        put_number(&value, "parts", parts);
        tsn_buf_puts(&value, ",\"data\":\"");
        put_hex(&value, bytes.data + at, len);
        tsn_buf_puts(&value, "\"}");
        PUSH(&out->state, part_key(scope, p), &value);
    }
    for (uint32_t p = parts; p < scope->parts_written; p++)
        PUSH(&out->state, part_key(scope, p), NULL);
    scope->parts_written = parts;
    scope->changed = false;
    tsn_buf_release(&bytes);
}

/* ---- writing: topic templates ------------------------------------------------------------- */

static void tell(struct mined *mined, int64_t horizon_ms, struct tsn_detect_output *out)
{
    struct tsn_buf key = TSN_BUF_INIT, value = TSN_BUF_INIT;
    struct tsn_template t = { .text = "" }; /* of a merged one: what it is part of now */
    const struct mined *named;

    named = tsn_mined_survivor(mined->scope, mined);
    if (named && named->ref != TSN_MINER_NONE)
        (void)tsn_miner_get(mined->scope->miner, named->ref, &t);
    tsn_buf_printf(&key, "%s/%016llx", mined->scope->service, (unsigned long long)mined->id);
    tsn_buf_printf(&value, "{\"format\":%d,\"template\":\"%016llx\"", TSN_FORMAT_VERSION, (unsigned long long)mined->id);
    put_string(&value, "service", mined->scope->service);
    put_string(&value, "level", mined->scope->level);
    tsn_buf_puts(&value, ",\"text\":");
    tsn_buf_json_string(&value, t.text, t.len);
    put_time(&value, "first_seen", mined->first_ms == TSN_TIME_NONE ? mined->found_ms : mined->first_ms);
    put_time(&value, "last_seen", mined->last_ms == TSN_TIME_NONE ? mined->found_ms : mined->last_ms);
    put_number(&value, "count", mined->count);
    if (mined->merged_ms == TSN_TIME_NONE)
        tsn_buf_puts(&value, ",\"merged_into\":null");
    else
        tsn_buf_printf(&value, ",\"merged_into\":\"%016llx\"", (unsigned long long)mined->into);
    put_lines(&value, mined, true);
    tsn_buf_putc(&value, '}');
    PUSH(&out->templates, tsn_buf_take(&key, NULL), &value);
    mined->told = mined->count;
    mined->told_ms = horizon_ms;
    mined->tell_now = false;
    mined->tally_changed = true;
}

/* True if there is something to tell later. */
static bool maybe_tell(struct mined *mined, int64_t horizon_ms, struct tsn_detect_output *out)
{
    if (mined->tell_now || (mined->told != mined->count && mined->merged_ms == TSN_TIME_NONE &&
                            (mined->told_ms == TSN_TIME_NONE || horizon_ms - mined->told_ms >= TELL_MS)))
        tell(mined, horizon_ms, out);
    return mined->merged_ms == TSN_TIME_NONE && mined->told != mined->count;
}

static void save_scope(struct tsn_detect *d, struct mined_scope *scope, struct tsn_detect_output *out)
{
    if (!scope->touched && !scope->untold)
        return;
    if (scope->touched)
        tsn_mined_refresh(d->mining, scope);
    scope->touched = scope->untold = false;
    if (scope->changed)
        save_miner(scope, out);
    for (size_t i = 0; i < scope->templates.len; i++) {
        struct mined *mined = scope->templates.items[i];

        if (!mined)
            continue;
        scope->untold |= maybe_tell(mined, d->mining->horizon_ms, out);
        if (mined->tally_changed)
            save_tally(mined, out);
        if (mined->lines_changed)
            save_lines(mined, out);
    }
}

void tsn_mining_save(struct tsn_detect *d, struct tsn_detect_output *out)
{
    struct mining *m = d->mining;

    for (size_t i = 0; i < m->gone.len; i++)
        PUSH(&out->state, m->gone.items[i], NULL);
    for (size_t i = 0; i < m->gone_told.len; i++)
        PUSH(&out->templates, m->gone_told.items[i], NULL);
    m->gone.len = m->gone_told.len = 0;
    tsn_map_foreach(&m->scopes, e) {
        struct mined_scope *scope = e->value;

        if (scope->miner)
            save_scope(d, scope, out);
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool starts(const char *key, size_t len, const char *kind)
{
    return len > strlen(kind) && memcmp(key, kind, strlen(kind)) == 0;
}

bool tsn_mining_restore(struct tsn_detect *d, const char *key, size_t key_len, const char *value, size_t value_len)
{
    if (!starts(key, key_len, "miner/") && !starts(key, key_len, "template/") && !starts(key, key_len, "lines/"))
        return false;
    tsn_free(tsn_map_del(&d->mining->restored, key, key_len));
    if (value)
        tsn_map_put(&d->mining->restored, key, key_len, tsn_strndup(value, value_len));
    return true;
}

static int64_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_integer(value) ? json_integer_value(value) : TSN_TIME_NONE;
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static struct mined_scope *scope_of(struct mining *m, const json_t *root)
{
    const char *service = text_of(root, "service"), *level = text_of(root, "level");

    return service && level ? tsn_mined_scope(m, service, level) : NULL;
}

static bool take_tally(struct mining *m, const char *key, size_t key_len, const json_t *root)
{
    struct mined_scope *scope = scope_of(m, root);
    const char *into = text_of(root, "into");
    struct mined *mined;
    uint64_t id;

    if (!scope || key_len != 9 + 16 + 1 + 16 || !tsn_detect_parse_hex64(key + 26, 16, &id) || tsn_mined_get(scope, id) ||
        number(root, "count") < 0)
        return false;
    mined = tsn_mined_new(m, scope, id);
    mined->found_ms = number(root, "found");
    mined->count = number(root, "count");
    mined->first_ms = number(root, "first");
    mined->last_ms = number(root, "last");
    mined->told = number(root, "told");
    mined->merged_ms = number(root, "merged");
    mined->ref = TSN_MINER_NONE; /* until the miner names it */
    m->templates--;
    scope->untold = true;
    if (mined->last_ms > scope->last_ms)
        scope->last_ms = mined->last_ms;
    return mined->merged_ms == TSN_TIME_NONE || (into && tsn_detect_parse_hex64(into, strlen(into), &mined->into));
}

static bool take_lines(struct mining *m, const char *key, size_t key_len, const json_t *root)
{
    struct mined_scope *scope = scope_of(m, root);
    struct mined *mined;
    uint64_t id;
    size_t i;
    json_t *row;

    if (!scope || key_len != 6 + 16 + 1 + 16 || !tsn_detect_parse_hex64(key + 23, 16, &id))
        return false;
    mined = tsn_mined_get(scope, id);
    json_array_foreach(json_object_get(root, "lines"), i, row) {
        const char *line = text_of(row, "line"), *topic = text_of(row, "topic");
        struct mined_line to = { .partition = (int32_t)number(row, "partition"), .offset = number(row, "offset"),
                                 .ts_ms = number(row, "ts") };

        if (!line || !topic || !mined)
            return !mined;
        to.text = tsn_strdup(line);
        to.topic = tsn_strdup(topic);
        tsn_mined_add_line(mined, &to);
    }
    if (mined)
        mined->lines_changed = false;
    return true;
}

/* Appends the bytes of one part. */
static bool take_part(const json_t *root, struct tsn_buf *bytes)
{
    const char *hex = text_of(root, "data");
    size_t len = hex ? strlen(hex) : 1;

    for (size_t i = 0; i + 1 < len; i += 2) {
        const char *digits = "0123456789abcdef", *high = strchr(digits, hex[i]), *low = strchr(digits, hex[i + 1]);

        if (!high || !low)
            return false;
        tsn_buf_putc(bytes, (char)((high - digits) << 4 | (low - digits)));
    }
    return len % 2 == 0;
}

static bool gather_parts(const struct mining *m, const struct mined_scope *scope, int64_t parts, struct tsn_buf *bytes)
{
    bool good = parts > 0 && parts <= MAX_PARTS;

    for (uint32_t p = 0; good && p < (uint32_t)parts; p++) {
        char *key = part_key(scope, p);
        const char *text = tsn_map_get_str(&m->restored, key);
        json_t *root = text ? json_loads(text, 0, NULL) : NULL;

        good = root && number(root, "parts") == parts && take_part(root, bytes);
        json_decref(root);
        tsn_free(key);
    }
    return good;
}

/* The miner's templates are those of the tallies; one that has none (a damaged record) is made. */
static void link_templates(struct mining *m, struct mined_scope *scope)
{
    struct tsn_template t;
    uint32_t cursor = 0;

    while (tsn_miner_next(scope->miner, &cursor, &t)) {
        struct mined *mined = tsn_mined_get(scope, t.id);

        if (!mined) {
            mined = tsn_mined_new(m, scope, t.id);
            m->templates--;
            mined->found_ms = t.first_ms;
            mined->count = t.count;
        } else {
            tsn_miner_set_tally(scope->miner, t.ref, mined->count, mined->first_ms, mined->last_ms);
        }
        mined->ref = t.ref;
        m->templates++;
    }
}

static int by_discovery(const void *a, const void *b)
{
    const struct mined *const *x = a, *const *y = b;

    if ((*x)->found_ms != (*y)->found_ms)
        return (*x)->found_ms < (*y)->found_ms ? -1 : 1;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static enum tsn_err take_miner(struct mining *m, const json_t *root, struct tsn_error *error)
{
    struct mined_scope *scope = scope_of(m, root);
    struct tsn_buf bytes = TSN_BUF_INIT;
    bool whole = scope && gather_parts(m, scope, number(root, "parts"), &bytes);

    if (whole && !scope->miner)
        scope->miner = tsn_miner_restore(&tsn_mined_limits, tsn_buf_str(&bytes), bytes.len, error);
    else
        tsn_error_set(error, TSN_ERR_INVALID, "a part of a miner is missing or damaged");
    tsn_buf_release(&bytes);
    if (!whole || !scope->miner)
        return error->code;
    scope->number = tsn_miner_scope(scope->miner, scope->service, scope->level);
    scope->parts_written = (uint32_t)number(root, "parts");
    scope->evicted = tsn_miner_stats(scope->miner).evicted_templates;
    m->miners++;
    link_templates(m, scope);
    return TSN_OK;
}

static enum tsn_err take_kind(struct mining *m, const char *kind, struct tsn_error *error)
{
    tsn_map_foreach(&m->restored, e) {
        const char *key = tsn_map_entry_key(e);
        json_t *root;
        enum tsn_err err = TSN_OK;

        if (!starts(key, e->key_len, kind))
            continue;
        root = json_loads(e->value, 0, NULL);
        if (kind[0] == 't' ? !take_tally(m, key, e->key_len, root) : kind[0] == 'l' && !take_lines(m, key, e->key_len, root))
            err = tsn_error_set(error, TSN_ERR_INVALID, "not the record of a log template");
        else if (kind[0] == 'm' && e->key_len > 2 && memcmp(key + e->key_len - 2, "/0", 2) == 0)
            err = take_miner(m, root, error);
        json_decref(root);
        if (err)
            return tsn_error_prefix(error, "state key %.*s", (int)e->key_len, key);
    }
    return TSN_OK;
}

void tsn_detect_seed(struct tsn_detect *d, const char *key, size_t key_len, const char *value, size_t value_len)
{
    (void)tsn_mining_restore(d, key, key_len, value, value_len);
}

enum tsn_err tsn_detect_seed_done(struct tsn_detect *d, struct tsn_error *error)
{
    d->mining->history = true;
    return tsn_mining_restored(d, error);
}

enum tsn_err tsn_mining_restored(struct tsn_detect *d, struct tsn_error *error)
{
    struct mining *m = d->mining;
    struct tsn_error unheard;
    enum tsn_err err;

    error = error ? error : &unheard;
    err = take_kind(m, "template/", error);
    if (!err)
        err = take_kind(m, "lines/", error);
    if (!err)
        err = take_kind(m, "miner/", error);
    tsn_map_foreach(&m->restored, e)
        tsn_free(e->value);
    tsn_map_clear(&m->restored);
    tsn_map_foreach(&m->scopes, e) {
        struct mined_scope *scope = e->value;

        if (scope->templates.len)
            qsort(scope->templates.items, scope->templates.len, sizeof(*scope->templates.items), by_discovery);
        for (size_t i = 0; scope->miner && i < scope->templates.len; i++)
            if (scope->templates.items[i]->ref != TSN_MINER_NONE)
                *tsn_miner_tag(scope->miner, scope->templates.items[i]->ref) = (uint32_t)i;
    }
    return err;
}
