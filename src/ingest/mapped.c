/*
 * mapped: events of any shape → series, by configuration (tsn_input_config: filters, timestamp, series).
 *
 * A path is member names with dots between them; a number is an index where it meets a list; a backslash takes the next
 * character as it is (for names with a dot). Paths are cut into pieces once.
 *
 *   filter     all must hold; an event that is filtered out still moves the watermark if its timestamp can be read, else a
 *              topic of which little passes would hold time
 *   timestamp  as its format says; auto: ms, or RFC 3339; no path: the record's Kafka timestamp
 *   series     one whose value is absent or null is not in this event; a value that is no number refuses the record
 *   labels     scalars as text; absent or null: no label; constants as they are
 */
#include "ingest/mapped.h"

#include <math.h>
#include <string.h>

struct path {
    struct span *pieces;
    size_t count;
};

struct mapped_series {
    struct path value;
    struct path *labels;
};

struct mapping {
    struct path timestamp;
    struct path *filters;
    struct mapped_series *series;
};

struct mappings {
    struct tsn_arena arena;
    struct mapping *items; /* [inputs] */
};

/* ---- paths -------------------------------------------------------------------------------- */

static struct path cut(struct tsn_arena *arena, const char *text)
{
    size_t len = strlen(text);
    struct path path = { tsn_arena_calloc(arena, len + 1, sizeof *path.pieces), 0 };
    char *to = tsn_arena_alloc(arena, len + 1), *start = to;

    if (!len)
        return path;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] == '\\' && i + 1 < len) {
            *to++ = text[++i];
        } else if (i == len || text[i] == '.') {
            path.pieces[path.count++] = (struct span){ start, (size_t)(to - start) };
            start = to;
        } else {
            *to++ = text[i];
        }
    }
    return path;
}

static const struct tsn_json_node *element(const struct tsn_json_node *list, const struct span *piece)
{
    int64_t index, at = 0;

    if (!tsn_parse_i64(piece->data, piece->len, &index) || index < 0 || index >= list->count)
        return NULL;
    tsn_json_foreach(list, n)
        if (at++ == index)
            return n;
    return NULL;
}

/* NULL: absent, or null. */
static const struct tsn_json_node *find(const struct tsn_json_node *n, const struct path *path)
{
    for (size_t i = 0; i < path->count && n; i++)
        n = n->kind == TSN_JSON_ARRAY ? element(n, &path->pieces[i])
                                      : tsn_json_getn(n, path->pieces[i].data, path->pieces[i].len);
    return n && n->kind != TSN_JSON_NULL ? n : NULL;
}

void mappings_set_up(struct tsn_ingest *in)
{
    struct mappings *m = in->mappings = tsn_calloc(1, sizeof *m);

    tsn_arena_init(&m->arena, 0);
    m->items = tsn_arena_calloc(&m->arena, in->config->inputs.len, sizeof *m->items);
    for (size_t i = 0; i < in->config->inputs.len; i++) {
        const struct tsn_input_config *c = &in->config->inputs.items[i];
        struct mapping *to = &m->items[i];

        to->timestamp = cut(&m->arena, c->timestamp);
        to->filters = tsn_arena_calloc(&m->arena, c->filters.len, sizeof *to->filters);
        for (size_t f = 0; f < c->filters.len; f++)
            to->filters[f] = cut(&m->arena, c->filters.items[f].path);
        to->series = tsn_arena_calloc(&m->arena, c->series.len, sizeof *to->series);
        for (size_t s = 0; s < c->series.len; s++) {
            const struct tsn_map_series *from = &c->series.items[s];

            to->series[s].value = cut(&m->arena, from->value);
            to->series[s].labels = tsn_arena_calloc(&m->arena, from->labels.len, sizeof *to->series[s].labels);
            for (size_t l = 0; l < from->labels.len; l++)
                to->series[s].labels[l] = cut(&m->arena, from->labels.items[l].value);
        }
    }
}

void mappings_release(struct tsn_ingest *in)
{
    if (!in->mappings)
        return;
    tsn_arena_release(&in->mappings->arena);
    tsn_free(in->mappings);
}

/* ---- timestamp, filters ------------------------------------------------------------------- */

static bool scaled_time(const struct tsn_json_node *n, int64_t multiply, int64_t divide, int64_t *ms)
{
    double value;
    int64_t whole;

    if (tsn_parse_i64(n->text, n->text_len, &whole)) {
        if (whole < 0 || __builtin_mul_overflow(whole, multiply, &whole))
            return false;
        *ms = whole / divide;
        return true;
    }
    if (!tsn_parse_double(n->text, n->text_len, &value))
        return false;
    value = floor(value * (double)multiply / (double)divide);
    if (!(value > -0x1p53 && value < 0x1p53))
        return false;
    *ms = (int64_t)value;
    return true;
}

static bool read_time(const struct tsn_json_node *n, enum tsn_time_format format, int64_t *ms)
{
    bool scalar = n->kind == TSN_JSON_NUMBER || n->kind == TSN_JSON_STRING;

    switch (format) {
    case TSN_TIME_S: return scalar && scaled_time(n, 1000, 1, ms);
    case TSN_TIME_MS: return scalar && scaled_time(n, 1, 1, ms);
    case TSN_TIME_US: return scalar && scaled_time(n, 1, 1000, ms);
    case TSN_TIME_NS: return scalar && scaled_time(n, 1, 1000000, ms);
    case TSN_TIME_RFC3339: return n->kind == TSN_JSON_STRING && tsn_parse_rfc3339(n->text, n->text_len, ms);
    case TSN_TIME_AUTO:
    default: return tsn_json_time(n, ms);
    }
}

static bool event_ts(struct tsn_ingest *in, const struct tsn_input_config *c, const struct mapping *m,
                     const struct tsn_json_node *root, int64_t *ms)
{
    const struct tsn_json_node *n;

    if (!m->timestamp.count) {
        *ms = in->record_ts_ms;
        return *ms != TSN_TIME_NONE || refuse(in, "timestamp", "the record has no timestamp, and the mapping no path to one");
    }
    n = find(root, &m->timestamp);
    if (!n)
        return refuse(in, "timestamp", "%s is missing", c->timestamp);
    return read_time(n, (enum tsn_time_format)c->timestamp_format, ms) ||
           refuse(in, "timestamp", "%s is not of the form that the mapping says", c->timestamp);
}

static bool passes(const struct tsn_map_filter *f, const struct path *path, const struct tsn_json_node *root)
{
    const struct tsn_json_node *n = find(root, path);
    struct span text = { NULL, 0 };
    bool found = false;

    if (n && !json_scalar_text(n, &text))
        text.data = NULL;
    for (size_t i = 0; i < f->any.len && !found && text.data; i++)
        found = strlen(f->any.items[i]) == text.len && memcmp(f->any.items[i], text.data, text.len) == 0;
    return found != f->negate;
}

static bool filtered_out(const struct tsn_input_config *c, const struct mapping *m, const struct tsn_json_node *root)
{
    for (size_t i = 0; i < c->filters.len; i++)
        if (!passes(&c->filters.items[i], &m->filters[i], root))
            return true;
    return false;
}

/* ---- series ------------------------------------------------------------------------------- */

static bool label_texts(struct tsn_ingest *in, const struct tsn_map_series *s, const struct mapped_series *m,
                        const struct tsn_json_node *root)
{
    for (size_t i = 0; i < s->labels.len; i++) {
        const struct tsn_json_node *n = find(root, &m->labels[i]);
        struct span text = { NULL, 0 };

        if (n && !json_scalar_text(n, &text))
            return refuse(in, "field", "label %s: %s is no text", s->labels.items[i].name, s->labels.items[i].value);
        tsn_vec_push(&in->spans, text);
    }
    return true;
}

static void set_labels(struct tsn_ingest *in, const struct tsn_map_series *s)
{
    tsn_labels_builder_reset(&in->builder);
    for (size_t i = 0; i < s->constants.len; i++)
        tsn_labels_builder_set(&in->builder, s->constants.items[i].name, s->constants.items[i].value);
    for (size_t i = 0; i < s->labels.len; i++) {
        const struct span *text = &in->spans.items[1 + i];
        const char *name = s->labels.items[i].name;

        if (text->data)
            tsn_labels_builder_setn(&in->builder, name, strlen(name), text->data, text->len);
    }
}

static enum tsn_sample_kind kind_of(const struct tsn_map_series *s)
{
    return s->kind == TSN_MAP_GAUGE ? TSN_GAUGE : s->kind == TSN_MAP_CUMULATIVE ? TSN_COUNTER : TSN_DELTA;
}

/* in->spans: what names the mapped series, then its label texts. */
static bool resolve(struct tsn_ingest *in, const struct tsn_map_series *s, void **target)
{
    struct tsn_u128 key = event_key(in, 'X', 0, NULL, 0, in->spans.items, in->spans.len);
    const struct memo_entry *known = memo_find(in, key);
    struct series_list *list = NULL;
    struct series *one = NULL;
    bool histogram = s->kind == TSN_MAP_HISTOGRAM, ok;

    if (known) {
        *target = known->target;
        return true;
    }
    set_labels(in, s);
    if (histogram) {
        struct tsn_labels *base = tsn_labels_builder_finish(&in->builder);

        ok = histogram_resolve(in, s->name, base, s->buckets, s->bucket_count, &list);
        tsn_labels_unref(base);
    } else {
        tsn_labels_builder_set(&in->builder, "__name__", s->name);
        ok = series_resolve(in, kind_of(s), &one);
    }
    if (!ok)
        return false;
    *target = histogram ? (void *)list : (void *)one;
    memo_put(in, key, !*target ? MEMO_IRRELEVANT : histogram ? MEMO_LIST : MEMO_SERIES, *target);
    return true;
}

static bool take_series(struct tsn_ingest *in, size_t input, size_t which, const struct mapped_series *m,
                        const struct tsn_json_node *root, int64_t ts_ms)
{
    const struct tsn_map_series *s = &in->config->inputs.items[input].series.items[which];
    const uint32_t name[2] = { (uint32_t)input, (uint32_t)which };
    const struct span self = { (const char *)name, sizeof name };
    double value = 1;
    void *target = NULL;

    if (m->value.count) {
        const struct tsn_json_node *n = find(root, &m->value);

        if (!n)
            return true;
        if (!tsn_json_double(n, &value))
            return refuse(in, "value", "%s: %s is no number", s->name, s->value);
    }
    tsn_vec_clear(&in->spans);
    tsn_vec_push(&in->spans, self);
    if (!label_texts(in, s, m, root) || !resolve(in, s, &target))
        return false;
    if (s->kind == TSN_MAP_HISTOGRAM)
        return effect_histogram(in, target, ts_ms, value);
    if (s->kind == TSN_MAP_COUNTER)
        return effect_delta(in, target, ts_ms, value);
    effect_point(in, target, ts_ms, value);
    return true;
}

bool mapped_event(struct tsn_ingest *in, size_t input, const struct tsn_json_node *root)
{
    const struct tsn_input_config *c = &in->config->inputs.items[input];
    const struct mapping *m = &in->mappings->items[input];
    bool out = filtered_out(c, m, root);
    int64_t ts_ms;

    if (!event_ts(in, c, m, root, &ts_ms) || !event_time(in, ts_ms))
        return out; /* nobody wanted it: its time need not be good */
    for (size_t i = 0; i < c->series.len && !out; i++)
        if (!take_series(in, input, i, &m->series[i], root, ts_ms))
            return false;
    return true;
}
