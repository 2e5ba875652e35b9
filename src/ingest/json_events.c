/*
 * json_events: a JSON record → events of a known type, on the exact path.
 *
 * A record is an object, or an array of objects (one event each). Members that are not listed in CONTRACT.md are
 * passed over, `null` stands for absent. What is wrong refuses the whole record, with the number of the event and
 * the name of the member.
 */
#include "ingest/mapped.h"

#include <math.h>
#include <string.h>

bool json_scalar_text(const struct tsn_json_node *n, struct span *out)
{
    switch (n->kind) {
    case TSN_JSON_STRING:
    case TSN_JSON_NUMBER: *out = (struct span){ n->text, n->text_len }; return true;
    case TSN_JSON_TRUE: *out = (struct span){ "true", 4 }; return true;
    case TSN_JSON_FALSE: *out = (struct span){ "false", 5 }; return true;
    case TSN_JSON_NULL: *out = (struct span){ NULL, 0 }; return true;
    case TSN_JSON_ARRAY:
    case TSN_JSON_OBJECT:
    default: return false;
    }
}

static const struct tsn_json_node *member(const struct tsn_json_node *object, const char *key)
{
    const struct tsn_json_node *n = tsn_json_get(object, key);

    return n && n->kind != TSN_JSON_NULL ? n : NULL;
}

static bool take_text(struct tsn_ingest *in, const struct tsn_json_node *object, const char *key, struct span *out)
{
    const struct tsn_json_node *n = member(object, key);

    *out = (struct span){ NULL, 0 };
    if (!n || json_scalar_text(n, out))
        return true;
    return refuse(in, "field", "%s is no text", key);
}

static bool take_time(struct tsn_ingest *in, const struct tsn_json_node *object, struct event *e)
{
    const struct tsn_json_node *n = member(object, "timestamp");

    if (tsn_json_time(n, &e->ts_ms))
        return true;
    return n ? refuse(in, "timestamp", "timestamp is neither milliseconds nor RFC 3339")
             : refuse(in, "timestamp", "timestamp is missing");
}

/* ---- metrics ------------------------------------------------------------------------------ */

static bool take_kind(struct tsn_ingest *in, const struct tsn_json_node *n, int *kind)
{
    *kind = -1;
    if (!n)
        return true;
    if (tsn_json_is(n, "gauge"))
        *kind = TSN_GAUGE;
    else if (tsn_json_is(n, "counter"))
        *kind = TSN_COUNTER;
    else if (tsn_json_is(n, "delta"))
        *kind = TSN_DELTA;
    else
        return refuse(in, "field", "kind is none of counter, gauge, delta");
    return true;
}

static bool take_labels(struct tsn_ingest *in, const struct tsn_json_node *labels)
{
    tsn_vec_clear(&in->pairs);
    if (!labels)
        return true;
    if (labels->kind != TSN_JSON_OBJECT)
        return refuse(in, "field", "labels is no object");
    tsn_json_foreach(labels, n) {
        struct pair pair = { .name = { n->key, n->key_len } };

        if (!json_scalar_text(n, &pair.value))
            return refuse(in, "field", "label %.*s is no text", (int)(n->key_len > 64 ? 64 : n->key_len), n->key);
        if (pair.value.data)
            tsn_vec_push(&in->pairs, pair);
    }
    return true;
}

/* The member `name`, else the label __name__. */
static bool take_name(struct tsn_ingest *in, const struct tsn_json_node *object, struct event *e)
{
    const struct tsn_json_node *n = member(object, "name");

    if (!n)
        n = tsn_json_get(member(object, "labels"), "__name__");
    if (!n || n->kind != TSN_JSON_STRING || !n->text_len)
        return refuse(in, "field", "name is missing, empty or no text");
    e->name = (struct span){ n->text, n->text_len };
    return true;
}

static bool json_metric(struct tsn_ingest *in, const struct tsn_json_node *object, struct event *e)
{
    const struct tsn_json_node *value = member(object, "value");

    if (!take_name(in, object, e) || !take_labels(in, member(object, "labels")) ||
        !take_kind(in, member(object, "kind"), &e->kind))
        return false;
    e->pairs = in->pairs.items;
    e->pair_count = in->pairs.len;
    if (tsn_json_double(value, &e->value))
        return true;
    return refuse(in, "value", value ? "value is no number" : "value is missing");
}

/* ---- logs --------------------------------------------------------------------------------- */

static bool json_log(struct tsn_ingest *in, const struct tsn_json_node *object, struct event *e)
{
    if (!take_text(in, object, "service", &e->field[F_SERVICE]) ||
        !take_text(in, object, "environment", &e->field[F_ENVIRONMENT]) ||
        !take_text(in, object, "level", &e->field[F_LEVEL]) ||
        !take_text(in, object, "logger", &e->field[F_LOGGER]) ||
        !take_text(in, object, "message", &e->field[F_MESSAGE]))
        return false;
    return e->field[F_MESSAGE].data || refuse(in, "field", "message is missing");
}

/* ---- hooks -------------------------------------------------------------------------------- */

static bool take_pattern(struct tsn_ingest *in, const struct tsn_json_node *n)
{
    struct pair pair = { .number = 1 };
    const struct tsn_json_node *count = member(n, "count");

    if (n->kind != TSN_JSON_OBJECT)
        return refuse(in, "field", "patterns_discovered holds something that is no object");
    if (!take_text(in, n, "pattern_type", &pair.value))
        return false;
    if (count && !tsn_json_double(count, &pair.number))
        return refuse(in, "value", "patterns_discovered: count is no number");
    tsn_vec_push(&in->pairs, pair);
    return true;
}

static bool take_patterns(struct tsn_ingest *in, const struct tsn_json_node *n, struct event *e)
{
    tsn_vec_clear(&in->pairs);
    e->patterns = 0;
    if (!n)
        return true;
    if (n->kind != TSN_JSON_ARRAY)
        return tsn_json_double(n, &e->patterns) ||
               refuse(in, "field", "patterns_discovered is neither a count nor a list");
    tsn_json_foreach(n, item)
        if (!take_pattern(in, item))
            return false;
    e->pairs = in->pairs.items;
    e->pair_count = in->pairs.len;
    return true;
}

static bool json_hook(struct tsn_ingest *in, const struct tsn_json_node *object, struct event *e)
{
    const struct tsn_json_node *ms = member(object, "processing_time_ms");
    const struct tsn_json_node *status = member(object, "status");

    e->value = NAN;
    if (!take_text(in, object, "service", &e->field[F_SERVICE]) ||
        !take_text(in, object, "environment", &e->field[F_ENVIRONMENT]) ||
        !take_text(in, object, "hook_type", &e->field[F_HOOK_TYPE]) ||
        !take_text(in, object, "status", &e->field[F_STATUS]) ||
        !take_patterns(in, member(object, "patterns_discovered"), e))
        return false;
    if (!tsn_json_is(status, "success") && !tsn_json_is(status, "error"))
        return refuse(in, "field", "status is neither success nor error");
    if (ms && (!tsn_json_double(ms, &e->value) || isnan(e->value)))
        return refuse(in, "value", "processing_time_ms is no number");
    return true;
}

/* ---- records ------------------------------------------------------------------------------ */

static bool json_event(struct tsn_ingest *in, size_t input, const struct tsn_json_node *object)
{
    enum tsn_input_type type = (enum tsn_input_type)in->config->inputs.items[input].type;
    struct event e = { .kind = -1 };

    if (object->kind != TSN_JSON_OBJECT)
        return refuse(in, "json", "an event is no object");
    if (type == TSN_INPUT_MAPPED)
        return mapped_event(in, input, object);
    if (!take_time(in, object, &e))
        return false;
    switch (type) {
    case TSN_INPUT_METRICS: return json_metric(in, object, &e) && event_take(in, type, &e);
    case TSN_INPUT_LOGS: return json_log(in, object, &e) && event_take(in, type, &e);
    case TSN_INPUT_HOOKS:
    case TSN_INPUT_MAPPED:
    default: return json_hook(in, object, &e) && event_take(in, type, &e);
    }
}

bool json_take_nodes(struct tsn_ingest *in, size_t input)
{
    const struct tsn_json_node *root = &in->json.nodes.items[0];
    size_t number = 0;

    if (root->kind != TSN_JSON_ARRAY)
        return json_event(in, input, root);
    tsn_json_foreach(root, n) {
        if (!json_event(in, input, n)) {
            tsn_error_prefix(&in->refusal, "event %zu of the array", number);
            return false;
        }
        number++;
    }
    return true;
}

bool json_take(struct tsn_ingest *in, size_t input, const char *data, size_t len)
{
    struct tsn_error error = { .code = TSN_OK };

    if (tsn_json_parse(&in->json, data, len, &error) != TSN_OK)
        return refuse(in, "json", "%s", error.message);
    return json_take_nodes(in, input);
}
