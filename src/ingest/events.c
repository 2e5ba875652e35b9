/*
 * events: an event of a known type → series and numbers (CONTRACT.md, Inputs), and effects → the open batch.
 *
 * The raw texts that decide which series an event feeds are put end to end, each with its length, and hashed:
 * the memo answers with the series at once. Labels are built only on a miss. Whichever decoder read the event, the
 * same texts give the same key, so JSON, Avro and the fast path share entries (save metrics, whose labels the fast path
 * leaves as they came).
 *
 *     metric  → a point (gauge, counter) or a delta
 *     log     → log_messages_total{service,environment,level,logger} + 1, and its line to the signatures (lines.c)
 *     hook    → hooks_processed_total{service,environment,hook_type,status} + 1
 *               hook_processing_duration_seconds{service,environment,hook_type}: every bucket, _sum and _count get a
 *               delta at every event, 0 too: all buckets then have samples at the same times, as a scrape would give
 *               intelligence_patterns_discovered_total{service,environment,pattern_type} + count
 */
#include "ingest/lines.h"

#include <math.h>
#include <string.h>

/* The latencies that Prometheus's client libraries start with; hooks are expected below 0.1 s. */
const double hook_bounds[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
const size_t hook_bound_count = TSN_ARRAY_LEN(hook_bounds);

/* Year 9999: what RFC 3339 can say. Before 1970 no producer of ours has lived. */
#define LATEST_MS INT64_C(253402300799999)

bool event_time(struct tsn_ingest *in, int64_t ts_ms)
{
    if (ts_ms < 0 || ts_ms > LATEST_MS)
        return refuse(in, "timestamp", "timestamp %lld ms is outside the years 1970 to 9999", (long long)ts_ms);
    if (ts_ms > in->now_bound_ms)
        return refuse(in, "future", "timestamp %lld ms is %lld ms beyond the bound ahead of its record",
                      (long long)ts_ms, (long long)(ts_ms - in->now_bound_ms));
    in->record_events++;
    if (ts_ms > in->max_ts_ms)
        in->max_ts_ms = ts_ms;
    if (ts_ms < in->before_ms)
        in->record_late++;
    return true;
}

/* ---- effects ------------------------------------------------------------------------------ */

static bool fixed_of(struct tsn_ingest *in, double value, tsn_fixed *out)
{
    if (value >= 0 && value < 0x1p53 && value == (double)(int64_t)value) { /* whole: no rounding to do */
        *out = (tsn_fixed)(int64_t)value << 64;
        return true;
    }
    if (value >= 0 && tsn_fixed_from_double(value, out))
        return true;
    return refuse(in, "value", "a count of %g: it must be a number from 0 to below 2^62", value);
}

bool effect_delta(struct tsn_ingest *in, struct series *s, int64_t ts_ms, double value)
{
    struct effect e = { .type = EFFECT_DELTA, .target = s, .ts_ms = ts_ms };

    if (!fixed_of(in, value, &e.delta))
        return false;
    if (s)
        tsn_vec_push(&in->effects, e);
    else
        in->record_irrelevant++;
    return true;
}

void effect_point(struct tsn_ingest *in, struct series *s, int64_t ts_ms, double value)
{
    struct effect e = { .type = EFFECT_POINT, .target = s, .ts_ms = ts_ms, .value = value };

    if (s)
        tsn_vec_push(&in->effects, e);
    else
        in->record_irrelevant++;
}

bool effect_histogram(struct tsn_ingest *in, struct series_list *list, int64_t ts_ms, double value)
{
    struct effect e = { .type = EFFECT_HISTOGRAM, .target = list, .ts_ms = ts_ms, .value = value };

    if (!fixed_of(in, value, &e.delta))
        return false;
    if (list)
        tsn_vec_push(&in->effects, e);
    else
        in->record_irrelevant++;
    return true;
}

void effect_line(struct tsn_ingest *in, const struct event *e)
{
    struct effect effect = { .type = EFFECT_LINE, .line = (uint32_t)in->lines.len, .ts_ms = e->ts_ms };
    struct line line = { e->field[F_SERVICE], e->field[F_LEVEL], e->field[F_MESSAGE] };

    tsn_vec_push(&in->lines, line);
    tsn_vec_push(&in->effects, effect);
}

static void apply_histogram(struct tsn_ingest *in, const struct effect *e, int64_t pane_ms)
{
    static const tsn_fixed one = (tsn_fixed)1 << 64;
    const struct series_list *list = e->target;

    for (uint32_t i = 0; i < list->count; i++) {
        bool hit = i < LIST_BUCKETS || i + 1 == list->count || e->value <= list->bounds[i - LIST_BUCKETS];

        if (list->items[i])
            series_add_delta(in, list->items[i], pane_ms, i == LIST_SUM ? e->delta : hit ? one : 0);
    }
    in->stats.deltas++;
}

void effects_apply(struct tsn_ingest *in, struct part *part)
{
    int64_t before_ms = part->watermark_ms;

    for (size_t i = 0; i < in->effects.len; i++) {
        const struct effect *e = &in->effects.items[i];
        bool late = e->ts_ms < before_ms;
        int64_t pane_ms = floor_to(late ? before_ms : e->ts_ms, PANE_MS);

        if (e->type == EFFECT_POINT && late) {
            in->stats.late_dropped++;
            continue;
        }
        in->stats.late_moved += late && e->type != EFFECT_LINE; /* its event is counted once */
        switch (e->type) {
        case EFFECT_POINT:
            series_add_point(in, e->target, e->ts_ms, e->value);
            in->stats.samples++;
            break;
        case EFFECT_DELTA:
            series_add_delta(in, e->target, pane_ms, e->delta);
            in->stats.deltas++;
            break;
        case EFFECT_HISTOGRAM: apply_histogram(in, e, pane_ms); break;
        case EFFECT_LINE: lines_take(in, &in->lines.items[e->line], e->ts_ms, pane_ms); break;
        }
    }
}

/* ---- keys and labels ---------------------------------------------------------------------- */

/* Length first, so that no two lists of texts give the same bytes; absent is not empty. */
static inline char *put_span(char *to, const struct span *s)
{
    uint32_t len = s->data ? (uint32_t)s->len : UINT32_MAX;

    memcpy(to, &len, sizeof len);
    if (s->len)
        memcpy(to + sizeof len, s->data, s->len);
    return to + sizeof len + s->len;
}

struct tsn_u128 event_key(struct tsn_ingest *in, char type, int kind, const struct event *e, unsigned mask,
                          const struct span *more, size_t more_count)
{
    size_t bytes = 2;
    char *to;

    for (unsigned left = mask; left; left &= left - 1)
        bytes += 4 + e->field[__builtin_ctz(left)].len;
    for (size_t i = 0; i < more_count; i++)
        bytes += 4 + more[i].len;
    tsn_buf_reset(&in->key);
    to = tsn_buf_reserve(&in->key, bytes);
    *to++ = type;
    *to++ = (char)kind;
    for (unsigned left = mask; left; left &= left - 1)
        to = put_span(to, &e->field[__builtin_ctz(left)]);
    for (size_t i = 0; i < more_count; i++)
        to = put_span(to, &more[i]);
    return tsn_hash128(in->key.data, bytes);
}

static void label(struct tsn_ingest *in, const char *name, const struct span *value)
{
    if (value->data)
        tsn_labels_builder_setn(&in->builder, name, strlen(name), value->data, value->len);
}

/* Sets those of the fields that the mask names, under their own names. */
static void field_labels(struct tsn_ingest *in, const struct event *e, unsigned mask)
{
    static const char *const names[F_COUNT] = { "service", "environment", "level", "logger", "message", "hook_type",
                                                "status" };

    for (int f = 0; f < F_COUNT; f++)
        if (mask >> f & 1)
            label(in, names[f], &e->field[f]);
}

/* ---- metrics ------------------------------------------------------------------------------ */

static bool ends_with(const struct span *s, const char *tail)
{
    size_t len = strlen(tail);

    return s->len >= len && memcmp(s->data + s->len - len, tail, len) == 0;
}

static enum tsn_sample_kind kind_by_name(const struct span *name)
{
    return ends_with(name, "_total") || ends_with(name, "_bucket") || ends_with(name, "_count") ||
                   ends_with(name, "_sum")
               ? TSN_COUNTER
               : TSN_GAUGE;
}

/* The builder looks through all labels for each; far beyond the limit that is not to be begun. */
static bool few_enough(struct tsn_ingest *in, size_t count)
{
    enum { FAR_TOO_MANY = 4 * MAX_LABELS };

    return count <= FAR_TOO_MANY || refuse(in, "limit", "a series of %zu labels; at most %d", count, MAX_LABELS);
}

/* Labels left as JSON by the fast path: read exactly, once per memo entry. */
static bool raw_label_pairs(struct tsn_ingest *in, const struct span *raw)
{
    struct tsn_error error = { .code = TSN_OK };

    if (tsn_json_parse(&in->labels_json, raw->data, raw->len, &error) != TSN_OK)
        return refuse(in, "json", "labels: %s", error.message);
    if (!few_enough(in, in->labels_json.nodes.items[0].count))
        return false;
    tsn_json_foreach(&in->labels_json.nodes.items[0], n) {
        if (n->kind == TSN_JSON_NULL)
            continue;
        if (n->kind == TSN_JSON_ARRAY || n->kind == TSN_JSON_OBJECT)
            return refuse(in, "field", "label %.*s is no text", (int)n->key_len, n->key);
        tsn_labels_builder_setn(&in->builder, n->key, n->key_len,
                                n->kind == TSN_JSON_TRUE    ? "true"
                                : n->kind == TSN_JSON_FALSE ? "false"
                                                            : n->text,
                                n->kind == TSN_JSON_TRUE    ? 4
                                : n->kind == TSN_JSON_FALSE ? 5
                                                            : n->text_len);
    }
    return true;
}

static bool avro_labels(struct tsn_ingest *in, const struct tsn_avro_node *map)
{
    struct tsn_error error = { .code = TSN_OK };

    if (!map->u.whole) { /* a default: empty */
        tsn_avro_foreach(map, n)
            tsn_labels_builder_setn(&in->builder, n->key, n->key_len, n->text, n->text_len);
        return true;
    }
    if (!few_enough(in, map->count))
        return false;
    if (tsn_avro_map_open(map, &in->label_nodes, &error) != TSN_OK)
        return refuse(in, "avro", "labels: %s", error.message);
    for (size_t i = 0; i < in->label_nodes.len; i++) {
        const struct tsn_avro_node *n = &in->label_nodes.items[i];

        tsn_labels_builder_setn(&in->builder, n->key, n->key_len, n->text, n->text_len);
    }
    return true;
}

static bool metric_resolve(struct tsn_ingest *in, const struct event *e, enum tsn_sample_kind kind,
                           struct tsn_u128 key, struct series **out)
{
    tsn_labels_builder_reset(&in->builder);
    if (!few_enough(in, e->pair_count))
        return false;
    if (e->raw_labels.data && !raw_label_pairs(in, &e->raw_labels))
        return false;
    if (e->avro_labels && !avro_labels(in, e->avro_labels))
        return false;
    for (size_t i = 0; i < e->pair_count; i++)
        tsn_labels_builder_setn(&in->builder, e->pairs[i].name.data, e->pairs[i].name.len, e->pairs[i].value.data,
                                e->pairs[i].value.len);
    label(in, "__name__", &e->name);
    if (!series_resolve(in, kind, out))
        return false;
    memo_put(in, key, *out ? MEMO_SERIES : MEMO_IRRELEVANT, *out);
    return true;
}

static struct tsn_u128 pairs_key(struct tsn_ingest *in, enum tsn_sample_kind kind, const struct event *e)
{
    tsn_vec_clear(&in->spans);
    tsn_vec_push(&in->spans, e->name);
    for (size_t i = 0; i < e->pair_count; i++) {
        tsn_vec_push(&in->spans, e->pairs[i].name);
        tsn_vec_push(&in->spans, e->pairs[i].value);
    }
    return event_key(in, 'M', kind, e, 0, in->spans.items, in->spans.len);
}

static struct tsn_u128 avro_key(struct tsn_ingest *in, enum tsn_sample_kind kind, const struct event *e)
{
    const struct span texts[2] = { e->name, { e->avro_labels->text, e->avro_labels->text_len } };

    return event_key(in, 'A', kind, e, 0, texts, 2);
}

static bool take_metric(struct tsn_ingest *in, const struct event *e)
{
    enum tsn_sample_kind kind = e->kind < 0 ? kind_by_name(&e->name) : (enum tsn_sample_kind)e->kind;
    const struct span texts[2] = { e->name, e->raw_labels };
    const struct memo_entry *known;
    struct series *s = NULL;
    struct tsn_u128 key;

    key = e->avro_labels       ? avro_key(in, kind, e)
          : e->raw_labels.data ? event_key(in, 'R', kind, e, 0, texts, 2)
                               : pairs_key(in, kind, e);
    known = memo_find(in, key);
    if (known)
        s = known->target;
    else if (!metric_resolve(in, e, kind, key, &s))
        return false;
    if (kind == TSN_DELTA)
        return effect_delta(in, s, e->ts_ms, e->value);
    effect_point(in, s, e->ts_ms, e->value);
    return true;
}

/* ---- logs --------------------------------------------------------------------------------- */

/* One counter with the labels that `mask` and `extra` give. */
static bool counter_of(struct tsn_ingest *in, const struct event *e, char type, const char *name, unsigned mask,
                       const char *extra_name, const struct span *extra, struct series **out)
{
    struct tsn_u128 key;
    const struct memo_entry *known;

    key = event_key(in, type, 0, e, mask, extra, extra ? 1 : 0);
    known = memo_find(in, key);
    if (known) {
        *out = known->target;
        return true;
    }
    tsn_labels_builder_reset(&in->builder);
    tsn_labels_builder_set(&in->builder, "__name__", name);
    field_labels(in, e, mask);
    if (extra)
        label(in, extra_name, extra);
    if (!series_resolve(in, TSN_DELTA, out))
        return false;
    memo_put(in, key, *out ? MEMO_SERIES : MEMO_IRRELEVANT, *out);
    return true;
}

/* The configured defaults for what the event does not name. */
static void fill_log(const struct log_defaults *defaults, struct event *e)
{
    for (unsigned f = 0; f < TSN_ARRAY_LEN(defaults->field); f++)
        if (!e->field[f].data || !e->field[f].len)
            e->field[f] = defaults->field[f];
}

static bool take_log(struct tsn_ingest *in, const struct event *e)
{
    const struct log_defaults *defaults = &in->log_defaults[in->record->input];
    struct event filled;
    struct series *s;

    if (defaults->any) {
        filled = *e;
        fill_log(defaults, &filled);
        e = &filled;
    }
    if (!counter_of(in, e, 'L', "log_messages_total",
                    1u << F_SERVICE | 1u << F_ENVIRONMENT | 1u << F_LEVEL | 1u << F_LOGGER, NULL, NULL, &s) ||
        !effect_delta(in, s, e->ts_ms, 1))
        return false;
    if (lines_wanted(in))
        effect_line(in, e);
    return true;
}

/* ---- hooks -------------------------------------------------------------------------------- */

static bool histogram_item(struct tsn_ingest *in, const char *name, const char *suffix, const struct tsn_labels *base,
                           const char *le, struct series **out)
{
    struct tsn_buf full = TSN_BUF_INIT;
    bool ok;

    tsn_labels_builder_from(&in->builder, base);
    tsn_buf_printf(&full, "%s%s", name, suffix);
    tsn_labels_builder_set(&in->builder, "__name__", tsn_buf_str(&full));
    tsn_buf_release(&full);
    if (le)
        tsn_labels_builder_set(&in->builder, "le", le);
    ok = series_resolve(in, TSN_DELTA, out);
    return ok;
}

bool histogram_resolve(struct tsn_ingest *in, const char *name, const struct tsn_labels *base, const double *bounds,
                       size_t bound_count, struct series_list **out)
{
    struct series *items[2 + 1000 + 1] = { NULL }; /* config allows a list of 1,000 */
    uint32_t count = (uint32_t)(LIST_BUCKETS + bound_count + 1);
    bool any = false;

    TSN_ASSERT(count <= TSN_ARRAY_LEN(items));
    *out = NULL;
    if (!histogram_item(in, name, "_sum", base, NULL, &items[LIST_SUM]) ||
        !histogram_item(in, name, "_count", base, NULL, &items[LIST_COUNT]))
        return false;
    for (size_t b = 0; b <= bound_count; b++) {
        char le[TSN_DOUBLE_TEXT];

        tsn_format_double(le, sizeof le, b < bound_count ? bounds[b] : INFINITY, 'g', 21);
        if (!histogram_item(in, name, "_bucket", base, le, &items[LIST_BUCKETS + b]))
            return false;
    }
    for (uint32_t i = 0; i < count; i++)
        any |= items[i] != NULL;
    if (!any)
        return true;
    *out = series_list_new(in, count);
    (*out)->bounds = bounds;
    memcpy((*out)->items, items, count * sizeof items[0]);
    return true;
}

static bool take_duration(struct tsn_ingest *in, const struct event *e)
{
    const unsigned mask = 1u << F_SERVICE | 1u << F_ENVIRONMENT | 1u << F_HOOK_TYPE;
    struct series_list *list = NULL;
    const struct memo_entry *known;
    struct tsn_labels *base;
    struct tsn_u128 key;
    bool ok;

    key = event_key(in, 'D', 0, e, mask, NULL, 0);
    known = memo_find(in, key);
    if (known)
        return effect_histogram(in, known->target, e->ts_ms, e->value / 1000);
    tsn_labels_builder_reset(&in->builder);
    field_labels(in, e, mask);
    base = tsn_labels_builder_finish(&in->builder);
    ok = histogram_resolve(in, "hook_processing_duration_seconds", base, hook_bounds, hook_bound_count, &list);
    tsn_labels_unref(base);
    if (!ok)
        return false;
    memo_put(in, key, list ? MEMO_LIST : MEMO_IRRELEVANT, list);
    return effect_histogram(in, list, e->ts_ms, e->value / 1000);
}

static bool take_discovered(struct tsn_ingest *in, const struct event *e, const struct span *type, double count)
{
    const unsigned mask = 1u << F_SERVICE | 1u << F_ENVIRONMENT;
    struct series *s;

    return counter_of(in, e, 'P', "intelligence_patterns_discovered_total", mask, "pattern_type", type, &s) &&
           effect_delta(in, s, e->ts_ms, count);
}

static bool take_hook(struct tsn_ingest *in, const struct event *e)
{
    static const struct span no_type = { NULL, 0 };
    struct series *s;

    if (!counter_of(in, e, 'H', "hooks_processed_total",
                    1u << F_SERVICE | 1u << F_ENVIRONMENT | 1u << F_HOOK_TYPE | 1u << F_STATUS, NULL, NULL, &s) ||
        !effect_delta(in, s, e->ts_ms, 1))
        return false;
    if (!isnan(e->value) && !take_duration(in, e))
        return false;
    for (size_t i = 0; i < e->pair_count; i++)
        if (!take_discovered(in, e, &e->pairs[i].value, e->pairs[i].number))
            return false;
    return e->patterns == 0 || take_discovered(in, e, &no_type, e->patterns);
}

bool event_take(struct tsn_ingest *in, enum tsn_input_type type, const struct event *e)
{
    if (!event_time(in, e->ts_ms))
        return false;
    switch (type) {
    case TSN_INPUT_METRICS: return take_metric(in, e);
    case TSN_INPUT_LOGS: return take_log(in, e);
    case TSN_INPUT_HOOKS: return take_hook(in, e);
    case TSN_INPUT_MAPPED:
    default: return true;
    }
}
