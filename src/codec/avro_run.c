/*
 * avro_run: walks a plan over the bytes of a record (tocsin/avro_plan.h), and nodes → JSON.
 *
 * Time and memory are bounded by the bytes: an item of a list that takes at least one byte is counted against the
 * bytes left before it is read, items that take none cost nothing when skipped, and all that is kept counts against a budget
 * of nodes.
 */
#include "codec/avro_int.h"

#include <math.h>

enum { NODES_FREE = 65536, NODES_PER_BYTE = 16, NODES_MAX = 2000000 };

struct run {
    struct wire w;
    struct tsn_avro_nodes *nodes;
    size_t budget;
    int depth;
    bool close_maps;
    struct tsn_avro_node none; /* after a failure: somewhere to write */
};

/* Where a value stands: its name, and whether anybody wants it. */
struct place {
    const char *key;
    uint32_t key_len, field;
    bool keep;
};

static void walk(struct run *r, const struct op *op, const struct place *at);

static struct tsn_avro_node *push(struct run *r, const struct place *at, enum tsn_avro_kind kind)
{
    struct tsn_avro_node *node;

    if (r->nodes->len >= r->budget) {
        wire_fail(&r->w, "more values than a record may hold");
        return &r->none;
    }
    tsn_vec_reserve(r->nodes, r->nodes->len + 1);
    node = &r->nodes->items[r->nodes->len++];
    node->kind = kind;
    node->skip = 1;
    node->count = 0;
    node->field = at->field;
    node->key = at->key;
    node->text = "";
    node->key_len = at->key_len;
    node->text_len = 0;
    node->u.whole = 0;
    return node;
}

static void put_whole(struct run *r, const struct op *op, const struct place *at, int64_t value)
{
    struct tsn_avro_node *node;

    if (!at->keep)
        return;
    node = push(r, at, op->to_double ? TSN_AVRO_DOUBLE : TSN_AVRO_LONG);
    if (op->to_double)
        node->u.number = op->to_float ? (double)(float)value : (double)value;
    else
        node->u.whole = op->divide == 1 ? value : value / op->divide - (value % op->divide < 0);
}

static void put_number(struct run *r, const struct place *at, double value)
{
    if (at->keep)
        push(r, at, TSN_AVRO_DOUBLE)->u.number = value;
}

static double wire_float(struct wire *w)
{
    uint32_t bits = 0;
    float value;

    if (wire_left(w) < 4) {
        wire_fail(w, "cut short inside 4 bytes");
        return 0;
    }
    for (int i = 3; i >= 0; i--)
        bits = bits << 8 | w->at[i];
    w->at += 4;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static void put_text(struct run *r, const struct place *at, const char *text, size_t len, enum tsn_avro_kind kind)
{
    struct tsn_avro_node *node;

    if (!at->keep || r->w.bad)
        return;
    if (kind == TSN_AVRO_TEXT && !tsn_utf8_valid(text, len)) {
        wire_fail(&r->w, "invalid UTF-8 in a string");
        return;
    }
    node = push(r, at, kind);
    node->text = text;
    node->text_len = (uint32_t)len;
}

static void take_text(struct run *r, const struct op *op, const struct place *at)
{
    size_t len;
    const char *text = wire_bytes(&r->w, &len);

    put_text(r, at, text, len, (enum tsn_avro_kind)op->text_rule);
}

static void take_fixed(struct run *r, const struct op *op, const struct place *at)
{
    const char *text = (const char *)r->w.at;

    if ((uint64_t)op->size > wire_left(&r->w)) {
        wire_fail(&r->w, "a fixed beyond the end");
        return;
    }
    r->w.at += op->size;
    put_text(r, at, text, (size_t)op->size, TSN_AVRO_BYTES);
}

static void take_enum(struct run *r, const struct op *op, const struct place *at)
{
    int64_t i = wire_long(&r->w);

    if (i < 0 || i >= (int64_t)op->count)
        wire_fail(&r->w, "no such symbol");
    else if (at->keep && !op->symbols[i].data)
        wire_fail(&r->w, "a symbol that the reader does not know");
    else
        put_text(r, at, op->symbols[i].data, op->symbols[i].len, TSN_AVRO_TEXT);
}

/* One block of a list or map; false: that was the last. */
static bool take_block(struct run *r, const struct op *op, const struct place *at, uint32_t *count)
{
    size_t least = op->item->least + (op->kind == OP_MAP ? 1 : 0);
    bool free_items = least == 0;
    size_t n = 0;

    if (free_items) { /* a count that no bytes stand behind */
        int64_t claimed = wire_long(&r->w);

        if (claimed < 0 && (claimed == INT64_MIN || wire_long(&r->w) < 0))
            wire_fail(&r->w, "an impossible block");
        claimed = r->w.bad ? 0 : claimed < 0 ? -claimed : claimed;
        if (claimed && !at->keep)
            return true;
        if (claimed > (int64_t)(r->budget - r->nodes->len))
            wire_fail(&r->w, "more values than a record may hold");
        n = (size_t)claimed;
    } else {
        n = wire_block(&r->w, least);
    }
    for (size_t i = 0; i < n && !r->w.bad; i++) {
        struct place item = { NULL, 0, 0, at->keep };

        if (op->kind == OP_MAP) {
            size_t len;

            item.key = wire_bytes(&r->w, &len);
            item.key_len = (uint32_t)len;
            if (at->keep && !r->w.bad && !tsn_utf8_valid(item.key, len))
                wire_fail(&r->w, "invalid UTF-8 in a key");
        }
        walk(r, op->item, &item);
    }
    *count += (uint32_t)n;
    return n > 0 && !r->w.bad;
}

static bool stays_closed(const struct run *r, const struct op *op)
{
    return r->close_maps && op->kind == OP_MAP && (op->item->kind == OP_TEXT || op->item->kind == OP_BYTES) &&
           op->item->text_rule == TSN_AVRO_TEXT;
}

static void take_items(struct run *r, const struct op *op, const struct place *at)
{
    const char *start = (const char *)r->w.at;
    size_t self = r->nodes->len;
    bool closed = stays_closed(r, op);
    struct place items = { NULL, 0, 0, at->keep && !closed };
    uint32_t count = 0;
    struct tsn_avro_node *node;

    if (at->keep)
        push(r, at, op->kind == OP_LIST ? TSN_AVRO_LIST : TSN_AVRO_MAP);
    while (!r->w.bad && take_block(r, op, &items, &count))
        ;
    if (!at->keep || r->w.bad)
        return;
    node = &r->nodes->items[self];
    node->u.whole = closed;
    node->count = count;
    node->skip = (uint32_t)(r->nodes->len - self);
    node->text = start;
    node->text_len = (uint32_t)((const char *)r->w.at - start);
}

static void put_defaults(struct run *r, const struct op *op)
{
    for (uint32_t i = 0; i < op->default_count; i++) {
        const struct op_default *d = &op->defaults[i];

        if (r->budget - r->nodes->len < d->count) {
            wire_fail(&r->w, "more values than a record may hold");
            return;
        }
        for (uint32_t k = 0; k < d->count; k++)
            tsn_vec_push(r->nodes, d->nodes[k]);
    }
}

static void take_record(struct run *r, const struct op *op, const struct place *at)
{
    size_t self = r->nodes->len;
    struct tsn_avro_node *node;
    uint32_t count = op->default_count;

    if (at->keep)
        push(r, at, TSN_AVRO_RECORD);
    for (uint32_t i = 0; i < op->step_count && !r->w.bad; i++) {
        const struct op_step *step = &op->steps[i];
        struct place field = { step->name.data, step->name.len, step->field, at->keep && !step->skip };

        count += !step->skip;
        walk(r, step->op, &field);
    }
    if (!at->keep || r->w.bad)
        return;
    put_defaults(r, op);
    if (r->w.bad)
        return;
    node = &r->nodes->items[self];
    node->count = count;
    node->skip = (uint32_t)(r->nodes->len - self);
}

static void take_union(struct run *r, const struct op *op, const struct place *at)
{
    int64_t i = wire_long(&r->w);

    if (i < 0 || i >= (int64_t)op->count)
        wire_fail(&r->w, "no such branch of a union");
    else
        walk(r, op->branches[i], at);
}

static void walk_deeper(struct run *r, const struct op *op, const struct place *at)
{
    if (r->depth == AVRO_DEPTH) {
        wire_fail(&r->w, "nested too deep");
        return;
    }
    r->depth++;
    switch (op->kind) {
    case OP_LIST:
    case OP_MAP: take_items(r, op, at); break;
    case OP_UNION: take_union(r, op, at); break;
    case OP_RECORD: take_record(r, op, at); break;
    case OP_NULL:
    case OP_BOOL:
    case OP_INT:
    case OP_LONG:
    case OP_FLOAT:
    case OP_DOUBLE:
    case OP_TEXT:
    case OP_BYTES:
    case OP_FIXED:
    case OP_ENUM:
    case OP_ERROR:
    default: TSN_ASSERT(false);
    }
    r->depth--;
}

static void walk(struct run *r, const struct op *op, const struct place *at)
{
    switch (op->kind) {
    case OP_NULL:
        if (at->keep)
            push(r, at, TSN_AVRO_NULL);
        break;
    case OP_BOOL: {
        bool value = wire_bool(&r->w);

        if (at->keep)
            push(r, at, TSN_AVRO_BOOL)->u.whole = value;
        break;
    }
    case OP_INT: put_whole(r, op, at, wire_int(&r->w)); break;
    case OP_LONG: put_whole(r, op, at, wire_long(&r->w)); break;
    case OP_FLOAT: put_number(r, at, wire_float(&r->w)); break;
    case OP_DOUBLE: put_number(r, at, wire_double(&r->w)); break;
    case OP_TEXT:
    case OP_BYTES: take_text(r, op, at); break;
    case OP_FIXED: take_fixed(r, op, at); break;
    case OP_ENUM: take_enum(r, op, at); break;
    case OP_ERROR: wire_fail(&r->w, op->message); break;
    case OP_LIST:
    case OP_MAP:
    case OP_UNION:
    case OP_RECORD:
    default: walk_deeper(r, op, at); break;
    }
}

enum tsn_err tsn_avro_plan_run(const struct tsn_avro_plan *plan, const void *data, size_t len,
                               struct tsn_avro_nodes *nodes, struct tsn_error *error)
{
    struct run r = { .nodes = nodes, .close_maps = plan->close_maps };
    struct place root = { .key = NULL, .keep = true };

    tsn_vec_clear(nodes);
    if (len > INT32_MAX)
        return tsn_error_set(error, TSN_ERR_LIMIT, "Avro of more than 2 GiB");
    r.budget = NODES_FREE + len * NODES_PER_BYTE;
    r.budget = r.budget < NODES_MAX ? r.budget : NODES_MAX;
    wire_init(&r.w, data, len);
    walk(&r, plan->root, &root);
    if (!r.w.bad && wire_left(&r.w))
        wire_fail(&r.w, "bytes left over");
    if (!r.w.bad)
        return TSN_OK;
    tsn_vec_clear(nodes);
    return tsn_error_set(error, TSN_ERR_INVALID, "Avro, byte %zu: %s", r.w.bad_at, r.w.bad);
}

void tsn_avro_plan_close_maps(struct tsn_avro_plan *plan)
{
    plan->close_maps = true;
}

enum tsn_err tsn_avro_map_open(const struct tsn_avro_node *map, struct tsn_avro_nodes *out, struct tsn_error *error)
{
    static const struct op text = { .kind = OP_TEXT, .text_rule = TSN_AVRO_TEXT, .least = 1 };
    static const struct op texts = { .kind = OP_MAP, .item = &text, .least = 1 };
    struct run r = { .nodes = out, .budget = (size_t)map->text_len + 1 };
    struct place items = { NULL, 0, 0, true };
    uint32_t count = 0;

    tsn_vec_clear(out);
    wire_init(&r.w, map->text, map->text_len);
    while (!r.w.bad && take_block(&r, &texts, &items, &count))
        ;
    if (!r.w.bad)
        return TSN_OK;
    tsn_vec_clear(out);
    return tsn_error_set(error, TSN_ERR_INVALID, "Avro, byte %zu of a map: %s", r.w.bad_at, r.w.bad);
}

/* ---- as JSON ------------------------------------------------------------------------------ */

static void json_number(struct tsn_json *json, struct tsn_json_node *to, double value)
{
    char text[TSN_DOUBLE_TEXT];
    size_t len = tsn_format_double(text, sizeof text, value, 'g', 21);

    to->kind = isfinite(value) ? TSN_JSON_NUMBER : TSN_JSON_STRING;
    to->text = tsn_arena_strndup(&json->text, text, len);
    to->text_len = (uint32_t)len;
}

static void json_whole(struct tsn_json *json, struct tsn_json_node *to, int64_t value)
{
    to->kind = TSN_JSON_NUMBER;
    to->text = tsn_arena_printf(&json->text, "%lld", (long long)value);
    to->text_len = (uint32_t)strlen(to->text);
}

static void json_node(struct tsn_json *json, const struct tsn_avro_node *n, struct tsn_json_node *to)
{
    *to = (struct tsn_json_node){ .skip = n->skip, .count = n->count, .key = n->key, .key_len = n->key_len, .text = "" };
    switch ((enum tsn_avro_kind)n->kind) {
    case TSN_AVRO_NULL: to->kind = TSN_JSON_NULL; break;
    case TSN_AVRO_BOOL: to->kind = n->u.whole ? TSN_JSON_TRUE : TSN_JSON_FALSE; break;
    case TSN_AVRO_LONG: json_whole(json, to, n->u.whole); break;
    case TSN_AVRO_DOUBLE: json_number(json, to, n->u.number); break;
    case TSN_AVRO_TEXT:
    case TSN_AVRO_BYTES:
        to->kind = n->kind == TSN_AVRO_TEXT || tsn_utf8_valid(n->text, n->text_len) ? TSN_JSON_STRING : TSN_JSON_NULL;
        to->text = n->text;
        to->text_len = n->text_len;
        break;
    case TSN_AVRO_LIST: to->kind = TSN_JSON_ARRAY; break;
    case TSN_AVRO_MAP:
    case TSN_AVRO_RECORD: to->kind = TSN_JSON_OBJECT; break;
    }
}

void tsn_avro_to_json(const struct tsn_avro_nodes *nodes, struct tsn_json *json)
{
    tsn_vec_clear(&json->nodes);
    tsn_arena_reset(&json->text);
    tsn_vec_reserve(&json->nodes, nodes->len);
    for (size_t i = 0; i < nodes->len; i++)
        json_node(json, &nodes->items[i], &json->nodes.items[i]);
    json->nodes.len = nodes->len;
}
