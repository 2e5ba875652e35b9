/*
 * ingest: the object, its partitions, and the taking of records (tocsin/ingest.h).
 *
 * A record is decided against its partition's watermark BEFORE it, also when it holds many events: so the decision
 * does not depend on how a producer cut its events into records. Only then the watermark moves.
 */
#include "ingest/avro_events.h"
#include "ingest/lines.h"
#include "ingest/mapped.h"
#include "ingest/shape.h"
#include "ingest/text_events.h"

#include <string.h>

bool refuse(struct tsn_ingest *in, const char *reason, const char *fmt, ...)
{
    va_list args;
    struct tsn_buf text = TSN_BUF_INIT;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    in->reason = reason;
    tsn_error_set(&in->refusal, TSN_ERR_INVALID, "%s", tsn_buf_str(&text));
    tsn_buf_release(&text);
    return false;
}

/* As many values as an Avro record may have (80 MB), so that a record of 10 MB cannot take 200 MB. */
static void open_json(struct tsn_json *json)
{
    tsn_json_init(json);
    json->max_nodes = 2000000;
}

/* Absent and empty are the same: a default that is empty stands for none. */
static void set_log_defaults(struct tsn_ingest *in)
{
    static const char *const names[] = { [F_SERVICE] = "service", [F_ENVIRONMENT] = "environment", [F_LEVEL] = "level", [F_LOGGER] = "logger" };

    in->log_defaults = tsn_calloc(in->config->inputs.len, sizeof *in->log_defaults);
    for (size_t i = 0; i < in->config->inputs.len; i++)
        for (size_t d = 0; d < in->config->inputs.items[i].defaults.len; d++)
            for (size_t f = 0; f < TSN_ARRAY_LEN(names); f++) {
                const struct tsn_pair_text *pair = &in->config->inputs.items[i].defaults.items[d];

                if (strcmp(pair->name, names[f]) == 0 && *pair->value) {
                    in->log_defaults[i].field[f] = (struct span){ pair->value, strlen(pair->value) };
                    in->log_defaults[i].any = true;
                }
            }
}

/* ---- life --------------------------------------------------------------------------------- */

struct tsn_ingest *tsn_ingest_new(const struct tsn_ingest_options *options, struct tsn_error *error)
{
    struct tsn_ingest *in;

    if (options->samples_partitions < 1) {
        tsn_error_set(error, TSN_ERR_INVALID, "topic samples has %d partitions", options->samples_partitions);
        return NULL;
    }
    in = tsn_calloc(1, sizeof *in);
    in->opt = *options;
    in->config = options->config;
    in->next_ref = 1;
    in->generation = 1;
    in->memo_epoch = 1;
    in->group_watermark_ms = TSN_TIME_NONE;
    in->inputs = tsn_calloc(in->config->inputs.len, sizeof *in->inputs);
    in->shapes = tsn_calloc(in->config->inputs.len, sizeof *in->shapes);
    in->told = tsn_calloc(in->config->inputs.len, sizeof *in->told);
    for (size_t i = 0; i < in->config->inputs.len; i++)
        in->shapes[i] = shapes_new();
    in->places = tsn_calloc((size_t)options->samples_partitions, sizeof *in->places);
    tsn_labels_builder_init(&in->builder);
    tsn_buf_init(&in->key);
    open_json(&in->json);
    open_json(&in->labels_json);
    tsn_arena_init(&in->text_arena, 0);
    set_log_defaults(in);
    mappings_set_up(in);
    in->line_book = lines_new(in->config, error);
    if (!in->line_book || !avro_inputs_set_up(in, error))
        tsn_ingest_free(&in);
    return in;
}

static void part_free(struct part *part)
{
    if (part)
        text_drop(part);
    tsn_free(part);
}

static void free_dead(struct tsn_ingest *in)
{
    for (size_t i = 0; i < in->dead.len; i++) {
        tsn_free(in->dead.items[i].topic);
        tsn_free(in->dead.items[i].key);
        tsn_free(in->dead.items[i].value);
        tsn_free(in->dead.items[i].error);
    }
    tsn_vec_release(&in->dead);
}

void tsn_ingest_free(struct tsn_ingest **ingest)
{
    struct tsn_ingest *in = *ingest;

    *ingest = NULL;
    if (!in)
        return;
    for (size_t i = 0; i < in->config->inputs.len; i++) {
        for (size_t p = 0; p < in->inputs[i].len; p++)
            part_free(in->inputs[i].items[p]);
        tsn_free(in->inputs[i].items);
        shapes_free(in->shapes[i]);
    }
    tsn_free(in->inputs);
    tsn_free(in->shapes);
    tsn_free(in->log_defaults);
    text_release(in);
    for (size_t k = 0; k < in->sets.len; k++)
        tsn_free(in->sets.items[k].routes.items);
    tsn_vec_release(&in->sets);
    avro_inputs_release(in);
    mappings_release(in);
    lines_free(in->line_book);
    series_release(in);
    places_release(in);
    inputs_release(in);
    free_dead(in);
    tsn_labels_builder_release(&in->builder);
    tsn_buf_release(&in->key);
    tsn_json_release(&in->json);
    tsn_json_release(&in->labels_json);
    tsn_vec_release(&in->pairs);
    tsn_vec_release(&in->spans);
    tsn_vec_release(&in->label_nodes);
    tsn_vec_release(&in->effects);
    tsn_vec_release(&in->lines);
    tsn_free(in);
}

/* ---- rule sets ---------------------------------------------------------------------------- */

void tsn_ingest_add_rule_set(struct tsn_ingest *in, int64_t number, const struct tsn_rule_set *set)
{
    struct known_set known = { number, set, { NULL, 0, 0 } };
    size_t at = in->sets.len;

    tsn_routes_build(set, in->config->detect.shard_label, in->opt.samples_partitions, &known.routes);
    while (at && in->sets.items[at - 1].number > number)
        at--;
    tsn_vec_push(&in->sets, known);
    memmove(in->sets.items + at + 1, in->sets.items + at, (in->sets.len - 1 - at) * sizeof known);
    in->sets.items[at] = known;
    if (number > in->max_set)
        in->max_set = number;
    if (!in->open_records)
        in->batch_set = in->max_set;
    in->generation++;
    in->dirty = true;
}

void tsn_ingest_drop_rule_sets_below(struct tsn_ingest *in, int64_t number)
{
    size_t kept = 0;

    for (size_t k = 0; k < in->sets.len; k++)
        if (in->sets.items[k].number < number)
            tsn_free(in->sets.items[k].routes.items);
        else
            in->sets.items[kept++] = in->sets.items[k];
    if (kept == in->sets.len)
        return;
    in->sets.len = kept;
    in->generation++;
}

/* ---- partitions --------------------------------------------------------------------------- */

static struct part *find_part(const struct tsn_ingest *in, size_t input, int32_t partition)
{
    if (input >= in->config->inputs.len || partition < 0 || (size_t)partition >= in->inputs[input].len)
        return NULL;
    return in->inputs[input].items[partition];
}

enum tsn_err tsn_ingest_assign(struct tsn_ingest *in, size_t input, int32_t partition, int32_t partition_count,
                               int64_t next_offset, const char *metadata, struct tsn_error *error)
{
    struct parts *parts;
    struct part *part;

    TSN_ASSERT(input < in->config->inputs.len && partition >= 0 && next_offset >= 0);
    parts = &in->inputs[input];
    while (parts->len <= (size_t)partition)
        tsn_vec_push(parts, NULL);
    part_free(parts->items[partition]);
    part = parts->items[partition] = tsn_calloc(1, sizeof *part);
    part->input = input;
    part->partition = partition;
    part->partition_count = partition_count;
    part->first_offset = part->next_offset = next_offset;
    part->watermark_ms = part->idle_clock_ms = part->idle_now_ms = TSN_TIME_NONE;
    in->dirty = true;
    if (!metadata || !*metadata || metadata_read(metadata, part))
        return TSN_OK;
    return tsn_error_set(error, TSN_ERR_INVALID, "%s [%d]: the metadata of the committed offset is not ours: %.80s",
                         in->config->inputs.items[input].topic, partition, metadata);
}

void tsn_ingest_unassign(struct tsn_ingest *in, size_t input, int32_t partition)
{
    struct part *part = find_part(in, input, partition);

    if (!part)
        return;
    in->inputs[input].items[partition] = NULL;
    part_free(part);
}

void tsn_ingest_set_epoch(struct tsn_ingest *in, int64_t epoch)
{
    in->epoch = epoch;
}

int64_t tsn_ingest_watermark(const struct tsn_ingest *in, size_t input, int32_t partition)
{
    const struct part *part = find_part(in, input, partition);

    return part ? part->watermark_ms : TSN_TIME_NONE;
}

/* ---- idle --------------------------------------------------------------------------------- */

static int64_t greatest_watermark(const struct tsn_ingest *in)
{
    int64_t greatest_ms = in->group_watermark_ms;

    for (size_t i = 0; i < in->config->inputs.len; i++)
        for (size_t p = 0; p < in->inputs[i].len; p++)
            if (in->inputs[i].items[p] && in->inputs[i].items[p]->watermark_ms > greatest_ms)
                greatest_ms = in->inputs[i].items[p]->watermark_ms;
    return greatest_ms;
}

static bool all_idle(const struct tsn_ingest *in)
{
    for (size_t i = 0; i < in->config->inputs.len; i++)
        for (size_t p = 0; p < in->inputs[i].len; p++)
            if (in->inputs[i].items[p] && !in->inputs[i].items[p]->idle)
                return false;
    return true;
}

/*
 * What an idle partition's clock starts at. As long as no event has said what time it is, the wall must not: the first events may be of
 * last week. But time has to start on a cluster where nobody ever sends (absent() is for that), and before the watchdog
 * calls detection blind: so when all was proved empty for half of blind_after, it is the wall clock, as far behind as a live stream's watermark.
 */
static int64_t first_clock(const struct tsn_ingest *in, const struct part *part, int64_t now_ms)
{
    int64_t greatest_ms = greatest_watermark(in);

    if (greatest_ms == TSN_TIME_NONE && all_idle(in) && now_ms - part->idle_now_ms >= in->config->time.blind_after_ms / 2)
        return now_ms - in->config->time.out_of_orderness_ms;
    return greatest_ms;
}

void tsn_ingest_know(struct tsn_ingest *in, int64_t watermark_ms)
{
    if (watermark_ms > in->group_watermark_ms)
        in->group_watermark_ms = watermark_ms;
}

static void take_held(struct tsn_ingest *in, struct part *part);

/* idle_now_ms: while the clock stands at none, when the partition was first proved empty; then the reading that the clock belongs to. */
void tsn_ingest_idle(struct tsn_ingest *in, size_t input, int32_t partition, int64_t now_ms)
{
    struct part *part = find_part(in, input, partition);

    if (!part)
        return;
    take_held(in, part); /* nothing continues it */
    if (!part->idle || part->idle_now_ms == TSN_TIME_NONE) {
        part->idle_clock_ms = greatest_watermark(in);
        part->idle_now_ms = now_ms;
    } else if (part->idle_clock_ms == TSN_TIME_NONE) {
        part->idle_clock_ms = first_clock(in, part, now_ms);
        if (part->idle_clock_ms != TSN_TIME_NONE)
            part->idle_now_ms = now_ms;
    } else if (now_ms > part->idle_now_ms) {
        part->idle_clock_ms += now_ms - part->idle_now_ms;
        part->idle_now_ms = now_ms;
    }
    part->idle = true;
    part->dirty = true;
}

void tsn_ingest_blocked(struct tsn_ingest *in, size_t input, int32_t partition)
{
    struct part *part = find_part(in, input, partition);

    if (!part || !part->idle)
        return;
    part->idle = false;
    part->idle_clock_ms = part->idle_now_ms = TSN_TIME_NONE;
    part->dirty = true;
}

/* ---- records ------------------------------------------------------------------------------ */

static void dead_letter(struct tsn_ingest *in, struct part *part, const struct tsn_ingest_record *r)
{
    size_t limit = (size_t)in->config->ingest.dead_letter_bytes;
    struct tsn_dead_letter d = { .partition = r->partition, .offset = r->offset, .timestamp_ms = r->timestamp_ms };
    size_t key_len = r->key_len < limit ? r->key_len : limit;

    d.topic = tsn_strdup(in->config->inputs.items[r->input].topic);
    d.key = r->key ? tsn_memdup(r->key, key_len) : NULL;
    d.key_len = key_len;
    d.full_len = r->value_len;
    d.cut = r->value_len > limit;
    d.value_len = d.cut ? limit : r->value_len;
    d.value = r->value ? tsn_memdup(r->value, d.value_len) : NULL;
    d.reason = in->reason;
    d.error = tsn_strdup(in->refusal.message);
    tsn_vec_push(&in->dead, d);
    in->dead_bytes += d.value_len + d.key_len + strlen(d.error) + 200; /* headers, about */
    in->stats.dead_letters++;
    in->stats.limit_labels += strcmp(in->reason, "limit") == 0;
    part->dead_letters++;
}

static void record_begin(struct tsn_ingest *in, const struct part *part, const struct tsn_ingest_record *r)
{
    in->record = r;
    in->record_ts_ms = r->timestamp_ms;
    in->before_ms = part->watermark_ms;
    in->reason = NULL;
    if (r->timestamp_ms == TSN_TIME_NONE ||
        __builtin_add_overflow(r->timestamp_ms, in->config->time.future_ms, &in->now_bound_ms))
        in->now_bound_ms = INT64_MAX;
}

static void forget_events(struct tsn_ingest *in)
{
    tsn_vec_clear(&in->effects);
    tsn_vec_clear(&in->lines);
    in->record_events = in->record_late = in->record_irrelevant = 0;
    in->max_ts_ms = TSN_TIME_NONE;
}

static void learn(struct tsn_ingest *in, const struct tsn_ingest_record *r)
{
    const struct tsn_json_node *root = &in->json.nodes.items[0];
    enum tsn_input_type type = (enum tsn_input_type)in->config->inputs.items[r->input].type;

    if (root->kind == TSN_JSON_ARRAY && root->count)
        root++;
    shapes_learn(in->shapes[r->input], type, root, r->value, r->value_len);
}

static bool decode_json(struct tsn_ingest *in, const struct tsn_ingest_record *r)
{
    enum tsn_input_type type = (enum tsn_input_type)in->config->inputs.items[r->input].type;

    if (shapes_take(in, in->shapes[r->input], type, r->value, r->value_len))
        return true;
    forget_events(in);
    if (!json_take(in, r->input, r->value, r->value_len))
        return false;
    learn(in, r);
    return true;
}

/* False: refused, or *err is UNREACHABLE. */
static bool decode(struct tsn_ingest *in, const struct tsn_ingest_record *r, enum tsn_err *err, struct tsn_error *error)
{
    forget_events(in);
    if (!r->value || !r->value_len)
        return refuse(in, "empty", "a record without a value");
    switch ((enum tsn_input_format)in->config->inputs.items[r->input].format) {
    case TSN_FORMAT_JSON: return decode_json(in, r);
    case TSN_FORMAT_AVRO: return avro_take_bare(in, r->input, r->value, r->value_len);
    case TSN_FORMAT_CONFLUENT: return avro_take_framed(in, r, err, error);
    case TSN_FORMAT_TEXT: return refuse(in, "empty", "a record without a value"); /* text is held, not decoded here */
    case TSN_FORMAT_AUTO:
    default: return avro_framed(r) ? avro_take_framed(in, r, err, error) : decode_json(in, r);
    }
}

static void advance(const struct tsn_ingest *in, struct part *part)
{
    if (!in->record_events) /* an empty array */
        return;
    if (in->max_ts_ms - in->config->time.out_of_orderness_ms > part->watermark_ms)
        part->watermark_ms = in->max_ts_ms - in->config->time.out_of_orderness_ms;
}

static void record_done(struct tsn_ingest *in, struct part *part, const struct tsn_ingest_record *r, bool taken)
{
    if (taken) {
        effects_apply(in, part);
        advance(in, part);
        part->late += (int64_t)in->record_late;
        part->events += in->record_events;
        in->stats.events += in->record_events;
        in->stats.irrelevant += in->record_irrelevant;
    } else {
        dead_letter(in, part, r);
    }
    part->idle = false;
    part->idle_clock_ms = part->idle_now_ms = TSN_TIME_NONE;
    part->next_offset = r->offset + 1;
    part->dirty = true;
    part->records++;
    in->open_records++;
    in->stats.records++;
}

/* The text that is held is taken as a record of its own, however many it came in. */
static void take_held(struct tsn_ingest *in, struct part *part)
{
    struct tsn_ingest_record r;
    int64_t next_offset;
    uint64_t records;

    if (!text_held(part, &r, &next_offset, &records))
        return;
    record_begin(in, part, &r);
    forget_events(in);
    record_done(in, part, &r, text_take(in, &r));
    part->next_offset = next_offset;
    part->records += records - 1;
    in->stats.records += records - 1;
    in->record = NULL;
    text_taken(part);
}

static void hold(struct part *part, const struct tsn_ingest_record *r)
{
    text_hold(part, r);
    part->idle = false;
    part->idle_clock_ms = part->idle_now_ms = TSN_TIME_NONE;
    part->dirty = true;
}

enum tsn_err tsn_ingest_record(struct tsn_ingest *in, const struct tsn_ingest_record *r, struct tsn_error *error)
{
    struct part *part = find_part(in, r->input, r->partition);
    enum tsn_err err = TSN_OK;
    bool taken;

    if (!part || r->offset < part->next_offset || text_holds(part, r->offset) || text_continues(in, part, r))
        return TSN_OK;
    take_held(in, part);
    if (text_wanted(in, r)) {
        hold(part, r);
        return TSN_OK;
    }
    record_begin(in, part, r);
    taken = decode(in, r, &err, error);
    if (err != TSN_OK)
        return err;
    record_done(in, part, r, taken);
    return TSN_OK;
}

/* What one huge record took is not kept for ever. */
void ingest_trim(struct tsn_ingest *in)
{
    enum { KEEP = 65536 };

    if (in->effects.cap > KEEP)
        tsn_vec_release(&in->effects);
    if (in->lines.cap > KEEP)
        tsn_vec_release(&in->lines);
    if (in->pairs.cap > KEEP)
        tsn_vec_release(&in->pairs);
    if (in->json.nodes.cap > KEEP) {
        tsn_json_release(&in->json);
        open_json(&in->json);
    }
    if (in->labels_json.nodes.cap > KEEP) {
        tsn_json_release(&in->labels_json);
        open_json(&in->labels_json);
    }
}

/* ---- status ------------------------------------------------------------------------------- */

static bool any_dirty(const struct tsn_ingest *in)
{
    for (size_t i = 0; i < in->config->inputs.len; i++)
        for (size_t p = 0; p < in->inputs[i].len; p++)
            if (in->inputs[i].items[p] && in->inputs[i].items[p]->dirty)
                return true;
    return in->dirty;
}

/* Columns take 3 to 11 bytes a row, an announcement about 150, a partition's state about 60 in every place. */
size_t tsn_ingest_pending(const struct tsn_ingest *in)
{
    size_t bytes = in->deltas.len * 6 + in->points.len * 10 + in->new_series * 150 + in->dead_bytes +
                   lines_pending(in);

    return bytes ? bytes : any_dirty(in) ? 60 * (size_t)in->opt.samples_partitions : 0;
}

void tsn_ingest_get_stats(const struct tsn_ingest *in, struct tsn_ingest_stats *stats)
{
    *stats = in->stats;
}

bool tsn_ingest_get_partition(const struct tsn_ingest *in, size_t input, int32_t partition,
                              struct tsn_ingest_partition_stats *stats)
{
    const struct part *part = find_part(in, input, partition);

    if (!part)
        return false;
    stats->records = part->records;
    stats->events = part->events;
    stats->late = (uint64_t)part->late;
    stats->dead_letters = part->dead_letters;
    stats->watermark_ms = part->watermark_ms;
    stats->next_offset = part->next_offset;
    stats->idle = part->idle;
    return true;
}
