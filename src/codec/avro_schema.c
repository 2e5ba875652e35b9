/*
 * avro_schema: the JSON text of an Avro schema → a graph of types (avro_int.h).
 *
 * Follows the Avro 1.11 specification: names with namespaces, aliases, defaults, logical types of timestamps (others
 * are their underlying type). A type may be referred to before nothing but itself: names are known from their
 * definition on, as every producer writes them. Depth is bounded by the JSON parser, size by the caller's limit on the text.
 */
#include "codec/avro_int.h"

const char *const avro_type_names[AV_TYPE_COUNT] = { "null",  "boolean", "int",   "long", "float", "double", "bytes",
                                                     "string", "fixed",  "enum",  "array", "map",  "union",  "record" };

struct parser {
    struct tsn_arena *arena;
    struct tsn_map names; /* full name → struct avro_schema */
    struct tsn_error *error;
};

static struct avro_schema *parse_type(struct parser *p, const struct tsn_json_node *n, struct avro_text space);

static void *fail(struct parser *p, const struct tsn_json_node *n, const char *what)
{
    int len = n && n->text_len < 60 ? (int)n->text_len : 60;

    if (n && n->text && n->text_len)
        tsn_error_set(p->error, TSN_ERR_INVALID, "Avro schema: %s at %.*s", what, len, n->text);
    else
        tsn_error_set(p->error, TSN_ERR_INVALID, "Avro schema: %s", what);
    return NULL;
}

static struct avro_text copy_text(struct parser *p, const char *text, size_t len)
{
    return (struct avro_text){ tsn_arena_strndup(p->arena, text, len), (uint32_t)len };
}

static bool name_like(const struct tsn_json_node *n)
{
    return n && n->kind == TSN_JSON_STRING && n->text_len > 0 && !memchr(n->text, 0, n->text_len);
}

/* A name with a dot is full; else it is of the namespace around it. */
static struct avro_text full_name(struct parser *p, const char *name, size_t len, struct avro_text space)
{
    char *joined;

    if (memchr(name, '.', len) || !space.len)
        return copy_text(p, name, len);
    joined = tsn_arena_alloc(p->arena, space.len + len + 2);
    memcpy(joined, space.data, space.len);
    joined[space.len] = '.';
    memcpy(joined + space.len + 1, name, len);
    joined[space.len + 1 + len] = '\0';
    return (struct avro_text){ joined, space.len + 1 + (uint32_t)len };
}

static struct avro_text space_of(struct avro_text full)
{
    for (uint32_t i = full.len; i; i--)
        if (full.data[i - 1] == '.')
            return (struct avro_text){ full.data, i - 1 };
    return (struct avro_text){ "", 0 };
}

static struct avro_schema *make(struct parser *p, enum avro_type type)
{
    struct avro_schema *s = tsn_arena_calloc(p->arena, 1, sizeof *s);

    s->type = type;
    return s;
}

/* ---- primitive and named references ------------------------------------------------------- */

static struct avro_schema *primitive(struct parser *p, const char *name, size_t len)
{
    for (int t = AV_NULL; t <= AV_STRING; t++)
        if (strlen(avro_type_names[t]) == len && memcmp(avro_type_names[t], name, len) == 0)
            return make(p, (enum avro_type)t);
    return NULL;
}

static struct avro_schema *reference(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    struct avro_schema *s = primitive(p, n->text, n->text_len);
    struct avro_text full;

    if (s)
        return s;
    if (!name_like(n))
        return fail(p, n, "an empty name of a type");
    full = full_name(p, n->text, n->text_len, space);
    s = tsn_map_get(&p->names, full.data, full.len);
    if (!s) /* primitive-like names without namespace may also be meant */
        s = tsn_map_get(&p->names, n->text, n->text_len);
    return s ? s : fail(p, n, "an unknown type");
}

static enum avro_logical logical_of(const struct tsn_json_node *n)
{
    const struct tsn_json_node *l = tsn_json_get(n, "logicalType");

    if (tsn_json_is(l, "timestamp-millis") || tsn_json_is(l, "local-timestamp-millis"))
        return LOGICAL_MS;
    if (tsn_json_is(l, "timestamp-micros") || tsn_json_is(l, "local-timestamp-micros"))
        return LOGICAL_US;
    if (tsn_json_is(l, "timestamp-nanos") || tsn_json_is(l, "local-timestamp-nanos"))
        return LOGICAL_NS;
    return LOGICAL_NONE;
}

/* ---- named types -------------------------------------------------------------------------- */

static bool parse_aliases(struct parser *p, const struct tsn_json_node *n, const struct avro_text *space,
                          struct avro_text **out, uint32_t *count)
{
    const struct tsn_json_node *list = tsn_json_get(n, "aliases");

    *count = 0;
    if (!list)
        return true;
    if (list->kind != TSN_JSON_ARRAY)
        return fail(p, list, "aliases that are no list") != NULL;
    *out = tsn_arena_calloc(p->arena, list->count, sizeof **out);
    tsn_json_foreach(list, a) {
        if (!name_like(a))
            return fail(p, a, "an alias that is no name") != NULL;
        (*out)[(*count)++] = space ? full_name(p, a->text, a->text_len, *space) : copy_text(p, a->text, a->text_len);
    }
    return true;
}

static bool declare(struct parser *p, const struct tsn_json_node *n, struct avro_text space, struct avro_schema *s)
{
    const struct tsn_json_node *name = tsn_json_get(n, "name"), *given = tsn_json_get(n, "namespace");
    struct avro_text own;
    bool created;
    void **slot;

    if (!name_like(name))
        return fail(p, n, "a record, enum or fixed without a name") != NULL;
    if (given && given->kind == TSN_JSON_STRING)
        space = copy_text(p, given->text, given->text_len);
    s->name = full_name(p, name->text, name->text_len, space);
    slot = tsn_map_upsert(&p->names, s->name.data, s->name.len, &created);
    if (!created)
        return fail(p, name, "a type defined twice") != NULL;
    *slot = s;
    own = space_of(s->name);
    return parse_aliases(p, n, &own, &s->aliases, &s->alias_count);
}

static bool parse_field(struct parser *p, const struct tsn_json_node *n, struct avro_text space, struct avro_schema *record)
{
    struct avro_field *f = &record->fields[record->field_count];
    const struct tsn_json_node *name = tsn_json_get(n, "name"), *type = tsn_json_get(n, "type");

    if (!name_like(name) || !type)
        return fail(p, n, "a field without a name or a type") != NULL;
    f->name = copy_text(p, name->text, name->text_len);
    for (uint32_t i = 0; i < record->field_count; i++)
        if (record->fields[i].name.len == f->name.len &&
            memcmp(record->fields[i].name.data, f->name.data, f->name.len) == 0)
            return fail(p, name, "a field that stands twice") != NULL;
    if (!parse_aliases(p, n, NULL, &f->aliases, &f->alias_count))
        return false;
    f->fallback = tsn_json_get(n, "default");
    f->type = parse_type(p, type, space);
    record->field_count++;
    return f->type != NULL;
}

static struct avro_schema *parse_record(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    struct avro_schema *s = make(p, AV_RECORD);
    const struct tsn_json_node *fields = tsn_json_get(n, "fields");

    if (!declare(p, n, space, s))
        return NULL;
    if (!fields || fields->kind != TSN_JSON_ARRAY)
        return fail(p, n, "a record without fields");
    s->fields = tsn_arena_calloc(p->arena, fields->count, sizeof *s->fields);
    tsn_json_foreach(fields, f)
        if (!parse_field(p, f, space_of(s->name), s))
            return NULL;
    return s;
}

static struct avro_schema *parse_enum(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    struct avro_schema *s = make(p, AV_ENUM);
    const struct tsn_json_node *symbols = tsn_json_get(n, "symbols"), *fallback = tsn_json_get(n, "default");

    if (!declare(p, n, space, s))
        return NULL;
    if (!symbols || symbols->kind != TSN_JSON_ARRAY)
        return fail(p, n, "an enum without symbols");
    s->symbols = tsn_arena_calloc(p->arena, symbols->count, sizeof *s->symbols);
    tsn_json_foreach(symbols, symbol) {
        if (!name_like(symbol))
            return fail(p, symbol, "a symbol that is no name");
        s->symbols[s->symbol_count++] = copy_text(p, symbol->text, symbol->text_len);
    }
    if (name_like(fallback))
        s->symbol_default = copy_text(p, fallback->text, fallback->text_len);
    return s;
}

static struct avro_schema *parse_fixed(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    struct avro_schema *s = make(p, AV_FIXED);

    if (!declare(p, n, space, s))
        return NULL;
    if (!tsn_json_i64(tsn_json_get(n, "size"), &s->size) || s->size < 0 || s->size > INT32_MAX)
        return fail(p, n, "a fixed without a size");
    return s;
}

/* ---- the rest ----------------------------------------------------------------------------- */

static struct avro_schema *parse_item(struct parser *p, const struct tsn_json_node *n, enum avro_type type,
                                      const char *key, struct avro_text space)
{
    struct avro_schema *s = make(p, type);
    const struct tsn_json_node *item = tsn_json_get(n, key);

    if (!item)
        return fail(p, n, "an array without items, or a map without values");
    s->branches = tsn_arena_calloc(p->arena, 1, sizeof *s->branches);
    s->branch_count = 1;
    s->branches[0] = parse_type(p, item, space);
    return s->branches[0] ? s : NULL;
}

static struct avro_schema *parse_union(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    struct avro_schema *s = make(p, AV_UNION);

    s->branches = tsn_arena_calloc(p->arena, n->count, sizeof *s->branches);
    tsn_json_foreach(n, b) {
        struct avro_schema *branch = parse_type(p, b, space);

        if (!branch)
            return NULL;
        if (branch->type == AV_UNION)
            return fail(p, b, "a union in a union");
        s->branches[s->branch_count++] = branch;
    }
    return s;
}

static struct avro_schema *parse_object(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    const struct tsn_json_node *type = tsn_json_get(n, "type");
    struct avro_schema *s;

    if (!type)
        return fail(p, n, "an object without a type");
    if (type->kind != TSN_JSON_STRING)
        return parse_type(p, type, space);
    if (tsn_json_is(type, "record") || tsn_json_is(type, "error"))
        return parse_record(p, n, space);
    if (tsn_json_is(type, "enum"))
        return parse_enum(p, n, space);
    if (tsn_json_is(type, "fixed"))
        return parse_fixed(p, n, space);
    if (tsn_json_is(type, "array"))
        return parse_item(p, n, AV_ARRAY, "items", space);
    if (tsn_json_is(type, "map"))
        return parse_item(p, n, AV_MAP, "values", space);
    s = reference(p, type, space);
    if (s && s->type == AV_LONG)
        s->logical = logical_of(n);
    return s;
}

static struct avro_schema *parse_type(struct parser *p, const struct tsn_json_node *n, struct avro_text space)
{
    switch (n->kind) {
    case TSN_JSON_STRING: return reference(p, n, space);
    case TSN_JSON_ARRAY: return parse_union(p, n, space);
    case TSN_JSON_OBJECT: return parse_object(p, n, space);
    case TSN_JSON_NULL:
    case TSN_JSON_FALSE:
    case TSN_JSON_TRUE:
    case TSN_JSON_NUMBER:
    default: return fail(p, n, "something that is no type");
    }
}

struct avro_schema *avro_schema_parse(const char *text, size_t len, struct tsn_arena *arena, struct tsn_json *json,
                                      struct tsn_error *error)
{
    struct parser p = { .arena = arena, .error = error };
    struct avro_schema *s;

    if (tsn_json_parse(json, text, len, error) != TSN_OK) {
        tsn_error_prefix(error, "Avro schema");
        return NULL;
    }
    tsn_map_init(&p.names);
    s = parse_type(&p, &json->nodes.items[0], (struct avro_text){ "", 0 });
    tsn_map_release(&p.names);
    return s;
}
