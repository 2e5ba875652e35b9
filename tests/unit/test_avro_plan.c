/*
 * Goal: a plan reads what Avro means, by any pair of schemas, and survives any bytes.
 * Method: avro-c writes seeded random values of each schema and, where it can resolve the pair, reads them again: both
 * readings are compared value by value. Defaults, aliases and logical types, which avro-c does not know, are tested by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <avro.h>
#include <cmocka.h>

#include "tocsin/avro_plan.h"

static uint64_t state_of_rng = 42;

static uint64_t rng(uint64_t below)
{
    state_of_rng += UINT64_C(0x9e3779b97f4a7c15);
    return tsn_hash64(&state_of_rng, sizeof state_of_rng) % below;
}

static avro_schema_t parse_schema(const char *text)
{
    avro_schema_t schema;

    if (avro_schema_from_json_length(text, strlen(text), &schema))
        fail_msg("%s", avro_strerror());
    return schema;
}

static struct tsn_avro_plan *plan_of(const char *writer, const char *reader)
{
    struct tsn_error error = { .code = TSN_OK };
    struct tsn_avro_plan *plan = tsn_avro_plan_new(writer, strlen(writer), reader, reader ? strlen(reader) : 0, &error);

    if (!plan)
        fail_msg("%s", error.message);
    return plan;
}

/* ---- random values, written by avro-c ----------------------------------------------------- */

static void fill(avro_value_t *v, int depth);

static void fill_items(avro_value_t *v, int depth)
{
    bool map = avro_value_get_type(v) == AVRO_MAP;

    for (uint64_t n = depth > 4 ? 0 : rng(4); n; n--) {
        avro_value_t item;
        char key[24];

        snprintf(key, sizeof key, "k%u", (unsigned)rng(1000000)); /* avro-c: a repeated key replaces */
        assert_int_equal(map ? avro_value_add(v, key, &item, NULL, NULL) : avro_value_append(v, &item, NULL), 0);
        fill(&item, depth + 1);
    }
}

static void fill_fields(avro_value_t *v, int depth)
{
    size_t count;

    avro_value_get_size(v, &count);
    for (size_t i = 0; i < count; i++) {
        avro_value_t field;

        avro_value_get_by_index(v, i, &field, NULL);
        fill(&field, depth + 1);
    }
}

static void fill_union(avro_value_t *v, int depth)
{
    avro_schema_t schema = avro_value_get_schema(v);
    size_t count = avro_schema_union_size(schema);
    avro_value_t branch;

    avro_value_set_branch(v, depth > 4 ? 0 : (int)rng(count), &branch);
    fill(&branch, depth + 1);
}

static void fill(avro_value_t *v, int depth)
{
    static const char *const texts[] = { "", "a", "caf\xc3\xa9", "a longer text than sixteen bytes" };
    static const double numbers[] = { 0, -0.0, 1.5, -1e300, 1e-300, 3 };
    char bytes[16];

    switch (avro_value_get_type(v)) {
    case AVRO_NULL: avro_value_set_null(v); break;
    case AVRO_BOOLEAN: avro_value_set_boolean(v, (int)rng(2)); break;
    case AVRO_INT32: avro_value_set_int(v, (int32_t)(rng(UINT64_C(1) << 32) >> rng(32))); break;
    case AVRO_INT64: avro_value_set_long(v, (int64_t)(rng(UINT64_MAX) >> rng(64))); break;
    case AVRO_FLOAT: avro_value_set_float(v, (float)rng(1000) / 8); break;
    case AVRO_DOUBLE: avro_value_set_double(v, numbers[rng(TSN_ARRAY_LEN(numbers))]); break;
    case AVRO_STRING: avro_value_set_string(v, texts[rng(TSN_ARRAY_LEN(texts))]); break;
    case AVRO_BYTES: /* text, so that it may be read as a string */
        memcpy(bytes, "byte\0s", 6);
        avro_value_set_bytes(v, bytes, rng(6));
        break;
    case AVRO_FIXED: avro_value_set_fixed(v, memcpy(bytes, "0123456789abcdef", 16), 4); break;
    case AVRO_ENUM: avro_value_set_enum(v, (int)rng(2)); break;
    case AVRO_ARRAY:
    case AVRO_MAP: fill_items(v, depth); break;
    case AVRO_UNION: fill_union(v, depth); break;
    case AVRO_RECORD: fill_fields(v, depth); break;
    case AVRO_LINK:
    default: fail();
    }
}

/* ---- comparison --------------------------------------------------------------------------- */

static void same(const avro_value_t *v, const struct tsn_avro_node *n);

static void same_text_of(const avro_value_t *v, const struct tsn_avro_node *n)
{
    const void *bytes = NULL;
    const char *text = NULL;
    size_t size = 0;

    if (avro_value_get_type(v) == AVRO_STRING) {
        assert_int_equal(n->kind, TSN_AVRO_TEXT);
        avro_value_get_string(v, &text, &size);
        bytes = text;
        size--; /* counts its NUL */
    } else {
        assert_int_equal(n->kind, TSN_AVRO_BYTES);
        if (avro_value_get_type(v) == AVRO_BYTES)
            avro_value_get_bytes(v, &bytes, &size);
        else
            avro_value_get_fixed(v, &bytes, &size);
    }
    assert_int_equal(n->text_len, size);
    if (size)
        assert_memory_equal(n->text, bytes, size);
}

static void same_items(const avro_value_t *v, const struct tsn_avro_node *n)
{
    size_t count, i = 0;

    avro_value_get_size(v, &count);
    assert_int_equal(n->count, count);
    tsn_avro_foreach(n, item) {
        const char *key = NULL;
        avro_value_t other;

        avro_value_get_by_index(v, i++, &other, &key);
        if (n->kind == TSN_AVRO_MAP) {
            assert_int_equal(item->key_len, strlen(key));
            assert_memory_equal(item->key, key, item->key_len);
        }
        same(&other, item);
    }
    assert_int_equal(i, count);
}

static void same_fields(const avro_value_t *v, const struct tsn_avro_node *n)
{
    size_t count, seen = 0;

    avro_value_get_size(v, &count);
    assert_int_equal(n->count, count);
    tsn_avro_foreach(n, f) {
        const char *name;
        avro_value_t other;

        avro_value_get_by_index(v, f->field, &other, &name);
        assert_int_equal(f->key_len, strlen(name));
        assert_memory_equal(f->key, name, f->key_len);
        same(&other, f);
        seen++;
    }
    assert_int_equal(seen, count);
}

static void same_enum(const avro_value_t *v, const struct tsn_avro_node *n)
{
    const char *name;
    int value;

    avro_value_get_enum(v, &value);
    name = avro_schema_enum_get(avro_value_get_schema(v), value);
    assert_int_equal(n->kind, TSN_AVRO_TEXT);
    assert_int_equal(n->text_len, strlen(name));
    assert_memory_equal(n->text, name, n->text_len);
}

static void same(const avro_value_t *v, const struct tsn_avro_node *n)
{
    avro_value_t branch;
    int32_t i32;
    int64_t i64;
    double number;
    float small;
    int truth;

    switch (avro_value_get_type(v)) {
    case AVRO_NULL: assert_int_equal(n->kind, TSN_AVRO_NULL); break;
    case AVRO_BOOLEAN: avro_value_get_boolean(v, &truth); assert_int_equal(n->u.whole, truth); break;
    case AVRO_INT32: avro_value_get_int(v, &i32); assert_true(n->kind == TSN_AVRO_LONG && n->u.whole == i32); break;
    case AVRO_INT64: avro_value_get_long(v, &i64); assert_true(n->kind == TSN_AVRO_LONG && n->u.whole == i64); break;
    case AVRO_FLOAT: avro_value_get_float(v, &small); assert_true(n->kind == TSN_AVRO_DOUBLE && n->u.number == (double)small); break;
    case AVRO_DOUBLE:
        avro_value_get_double(v, &number);
        assert_int_equal(n->kind, TSN_AVRO_DOUBLE);
        assert_true(tsn_double_bits(n->u.number) == tsn_double_bits(number));
        break;
    case AVRO_STRING:
    case AVRO_BYTES:
    case AVRO_FIXED: same_text_of(v, n); break;
    case AVRO_ENUM: same_enum(v, n); break;
    case AVRO_ARRAY:
    case AVRO_MAP: same_items(v, n); break;
    case AVRO_UNION: avro_value_get_current_branch(v, &branch); same(&branch, n); break;
    case AVRO_RECORD: same_fields(v, n); break;
    case AVRO_LINK:
    default: fail();
    }
}

/* A random value of the writer's schema as bytes; the caller frees. */
static char *write_random(const char *schema_text, size_t *len)
{
    avro_schema_t schema = parse_schema(schema_text);
    avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
    static char room[1 << 20];
    avro_writer_t writer = avro_writer_memory(room, sizeof room);
    avro_value_t value;

    avro_generic_value_new(iface, &value);
    fill(&value, 0);
    assert_int_equal(avro_value_write(writer, &value), 0);
    *len = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    avro_value_decref(&value);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    return tsn_memdup(room, *len);
}

/* avro-c's reading of the bytes in the reader's schema; false: it refuses. */
static bool read_by_oracle(const char *writer_text, const char *reader_text, const char *data, size_t len, avro_value_t *value)
{
    avro_schema_t w = parse_schema(writer_text), r = parse_schema(reader_text);
    avro_value_iface_t *to = avro_generic_class_from_schema(r);
    avro_value_iface_t *resolver = avro_resolved_writer_new(w, r);
    avro_reader_t reader = avro_reader_memory(data, (int64_t)len);
    avro_value_t resolved;
    bool ok;

    if (!resolver)
        fail_msg("%s", avro_strerror());
    avro_generic_value_new(to, value);
    avro_resolved_writer_new_value(resolver, &resolved);
    avro_resolved_writer_set_dest(&resolved, value);
    ok = avro_value_read(reader, &resolved) == 0;
    avro_value_decref(&resolved);
    avro_reader_free(reader);
    avro_value_iface_decref(resolver);
    avro_value_iface_decref(to);
    avro_schema_decref(w);
    avro_schema_decref(r);
    return ok;
}

/* avro-c's reading as written. */
static void read_plainly(const char *text, const char *data, size_t len, avro_value_t *value)
{
    avro_schema_t schema = parse_schema(text);
    avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
    avro_reader_t reader = avro_reader_memory(data, (int64_t)len);

    avro_generic_value_new(iface, value);
    assert_int_equal(avro_value_read(reader, value), 0);
    avro_reader_free(reader);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
}

static const char all_types[] =
    "{\"type\":\"record\",\"name\":\"n.All\",\"fields\":["
    "{\"name\":\"nothing\",\"type\":\"null\"},{\"name\":\"truth\",\"type\":\"boolean\"},{\"name\":\"i\",\"type\":\"int\"},"
    "{\"name\":\"l\",\"type\":\"long\"},{\"name\":\"f\",\"type\":\"float\"},{\"name\":\"d\",\"type\":\"double\"},"
    "{\"name\":\"b\",\"type\":\"bytes\"},{\"name\":\"s\",\"type\":\"string\"},"
    "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"Four\",\"size\":4}},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\"]}},"
    "{\"name\":\"list\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":[\"null\",\"long\",\"n.Four\"]}}},"
    "{\"name\":\"next\",\"type\":[\"null\",\"n.All\"]}]}";

static void test_as_written(void **state)
{
    const char *schemas[] = { all_types, tsn_avro_own_schema("Metric"), tsn_avro_own_schema("Log"), tsn_avro_own_schema("Hook"),
                              "\"long\"", "[\"string\",\"null\"]", "{\"type\":\"array\",\"items\":\"string\"}" };
    struct tsn_avro_nodes nodes = { NULL, 0, 0 };

    TSN_UNUSED(state);
    for (size_t k = 0; k < TSN_ARRAY_LEN(schemas); k++) {
        struct tsn_avro_plan *plan = plan_of(schemas[k], NULL), *self = plan_of(schemas[k], schemas[k]);

        for (int i = 0; i < 60; i++) {
            struct tsn_error error = { .code = TSN_OK };
            avro_value_t value;
            size_t len;
            char *data = write_random(schemas[k], &len);

            read_plainly(schemas[k], data, len, &value);
            if (tsn_avro_plan_run(plan, data, len, &nodes, &error) != TSN_OK)
                fail_msg("schema %zu: %s", k, error.message);
            assert_int_equal(nodes.items[0].skip, nodes.len);
            same(&value, &nodes.items[0]);
            assert_int_equal(tsn_avro_plan_run(self, data, len, &nodes, NULL), TSN_OK);
            same(&value, &nodes.items[0]);
            for (size_t cut = 0; cut < len; cut += 1 + len / 37)
                assert_int_equal(tsn_avro_plan_run(plan, data, cut, &nodes, NULL), TSN_ERR_INVALID);
            avro_value_decref(&value);
            tsn_free(data);
        }
        tsn_avro_plan_free(&plan);
        tsn_avro_plan_free(&self);
    }
    tsn_vec_release(&nodes);
}

static void test_resolution_as_the_oracle(void **state)
{
    static const char *const pairs[][2] = {
        { "\"int\"", "\"long\"" }, { "\"int\"", "\"float\"" }, { "\"int\"", "\"double\"" }, { "\"long\"", "\"double\"" },
        { "\"float\"", "\"double\"" }, { "\"long\"", "[\"null\",\"long\"]" }, { "[\"null\",\"int\"]", "[\"null\",\"long\"]" },
        { "{\"type\":\"array\",\"items\":\"int\"}", "{\"type\":\"array\",\"items\":\"double\"}" },
        { "{\"type\":\"map\",\"values\":\"int\"}", "{\"type\":\"map\",\"values\":\"long\"}" },
        { "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"gone\",\"type\":{\"type\":\"array\","
          "\"items\":\"string\"}},{\"name\":\"b\",\"type\":\"string\"}]}",
          "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"b\",\"type\":\"string\"},{\"name\":\"a\",\"type\":\"long\"}]}" },
    };
    struct tsn_avro_nodes nodes = { NULL, 0, 0 };

    TSN_UNUSED(state);
    for (size_t k = 0; k < TSN_ARRAY_LEN(pairs); k++) {
        struct tsn_avro_plan *plan = plan_of(pairs[k][0], pairs[k][1]);

        for (int i = 0; i < 40; i++) {
            avro_value_t value;
            size_t len;
            char *data = write_random(pairs[k][0], &len);

            assert_true(read_by_oracle(pairs[k][0], pairs[k][1], data, len, &value));
            assert_int_equal(tsn_avro_plan_run(plan, data, len, &nodes, NULL), TSN_OK);
            same(&value, &nodes.items[0]);
            avro_value_decref(&value);
            tsn_free(data);
        }
        tsn_avro_plan_free(&plan);
    }
    tsn_vec_release(&nodes);
}

/* ---- what avro-c does not know ------------------------------------------------------------ */

static const struct tsn_avro_node *field(const struct tsn_avro_nodes *nodes, const char *name)
{
    tsn_avro_foreach(&nodes->items[0], n)
        if (n->key_len == strlen(name) && memcmp(n->key, name, n->key_len) == 0)
            return n;
    fail_msg("no field %s", name);
    return NULL;
}

#define WRITER(fields) "{\"type\":\"record\",\"name\":\"W\",\"fields\":[" fields "]}"

static void test_defaults_and_aliases(void **state)
{
    static const char writer[] = WRITER("{\"name\":\"old\",\"type\":\"int\"}");
    static const char reader[] =
        WRITER("{\"name\":\"text\",\"type\":\"string\",\"default\":\"d\\u00e9f\"},"
               "{\"name\":\"fresh\",\"aliases\":[\"older\",\"old\"],\"type\":\"long\"},"
               "{\"name\":\"maybe\",\"type\":[\"null\",\"string\"],\"default\":null},"
               "{\"name\":\"number\",\"type\":[\"double\",\"null\"],\"default\":2.5},"
               "{\"name\":\"map\",\"type\":{\"type\":\"map\",\"values\":\"long\"},\"default\":{\"a\":1,\"b\":2}},"
               "{\"name\":\"list\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[]},"
               "{\"name\":\"in\",\"type\":{\"type\":\"record\",\"name\":\"I\",\"fields\":[{\"name\":\"x\",\"type\":\"boolean\",\"default\":true},"
               "{\"name\":\"y\",\"type\":\"int\"}]},\"default\":{\"y\":7}}");
    struct tsn_avro_plan *plan = plan_of(writer, reader);
    struct tsn_avro_nodes nodes = { NULL, 0, 0 };
    const struct tsn_avro_node *n;
    struct tsn_json json;
    int64_t whole;

    TSN_UNUSED(state);
    assert_int_equal(tsn_avro_plan_run(plan, "\x54", 1, &nodes, NULL), TSN_OK); /* 42 */
    assert_int_equal(nodes.items[0].count, 7);
    assert_int_equal(field(&nodes, "fresh")->u.whole, 42);
    assert_int_equal(field(&nodes, "fresh")->field, 1);
    assert_memory_equal(field(&nodes, "text")->text, "d\xc3\xa9" "f", 4);
    assert_int_equal(field(&nodes, "maybe")->kind, TSN_AVRO_NULL);
    assert_true(field(&nodes, "number")->u.number == 2.5);
    n = field(&nodes, "map");
    assert_int_equal(n->count, 2);
    assert_int_equal(n[2].u.whole, 2);
    assert_memory_equal(n[2].key, "b", 1);
    assert_int_equal(field(&nodes, "list")->count, 0);
    n = field(&nodes, "in");
    assert_int_equal(n->skip, 3);
    assert_int_equal(n[1].u.whole, 1);
    assert_int_equal(n[2].u.whole, 7);
    tsn_json_init(&json);
    tsn_avro_to_json(&nodes, &json);
    assert_true(tsn_json_is(tsn_json_get(json.nodes.items, "text"), "d\xc3\xa9" "f"));
    assert_true(tsn_json_i64(tsn_json_get(tsn_json_get(json.nodes.items, "map"), "a"), &whole) && whole == 1);
    tsn_json_release(&json);
    tsn_vec_release(&nodes);
    tsn_avro_plan_free(&plan);
}

static void test_closed_maps(void **state)
{
    static const char schema[] = WRITER("{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"string\"}},{\"name\":\"n\",\"type\":\"int\"}");
    struct tsn_avro_plan *plan = plan_of(schema, NULL);
    struct tsn_avro_nodes nodes = { NULL, 0, 0 }, texts = { NULL, 0, 0 };
    const struct tsn_avro_node *m;

    TSN_UNUSED(state);
    tsn_avro_plan_close_maps(plan);
    /* Two blocks, the second with its size. */
    assert_int_equal(tsn_avro_plan_run(plan, "\x02\x02" "a\x04" "xy" "\x01\x08\x02" "b\x02" "z" "\x00\x54", 14, &nodes, NULL), TSN_OK);
    m = field(&nodes, "m");
    assert_int_equal(m->count, 2);
    assert_int_equal(m->skip, 1);
    assert_int_equal(m->u.whole, 1);
    assert_int_equal(field(&nodes, "n")->u.whole, 42);
    assert_int_equal(tsn_avro_map_open(m, &texts, NULL), TSN_OK);
    assert_int_equal(texts.len, 2);
    assert_memory_equal(texts.items[0].text, "xy", 2);
    assert_memory_equal(texts.items[1].key, "b", 1);
    assert_int_equal(tsn_avro_plan_run(plan, "\x02\x02" "a\x02" "\xff" "\x00\x54", 7, &nodes, NULL), TSN_OK); /* not looked at … */
    assert_int_equal(tsn_avro_map_open(field(&nodes, "m"), &texts, NULL), TSN_ERR_INVALID);                /* … until opened */
    assert_int_equal(tsn_avro_plan_run(plan, "\x02\x02" "a\x08" "x" "\x00\x54", 7, &nodes, NULL), TSN_ERR_INVALID);
    tsn_vec_release(&nodes);
    tsn_vec_release(&texts);
    tsn_avro_plan_free(&plan);
}

static void test_enums_unions_times(void **state)
{
    static const char writer[] =
        WRITER("{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"NEW\",\"A\"]}},"
               "{\"name\":\"u\",\"type\":[\"string\",\"long\"]},"
               "{\"name\":\"t\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}}");
    static const char reader[] =
        WRITER("{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"OTHER\"],\"default\":\"OTHER\"}},"
               "{\"name\":\"u\",\"type\":\"double\"},"
               "{\"name\":\"t\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}");
    struct tsn_avro_plan *plan = plan_of(writer, reader);
    struct tsn_avro_nodes nodes = { NULL, 0, 0 };
    struct tsn_error error = { .code = TSN_OK };

    TSN_UNUSED(state);
    assert_int_equal(tsn_avro_plan_run(plan, "\x00\x02\x06\xce\x0f", 5, &nodes, &error), TSN_OK); /* NEW, long 3, 999.5 */
    assert_memory_equal(field(&nodes, "e")->text, "OTHER", 5);
    assert_true(field(&nodes, "u")->u.number == 3);
    assert_int_equal(field(&nodes, "t")->u.whole, -1 + 1); /* 999 µs: still the first millisecond */
    assert_int_equal(tsn_avro_plan_run(plan, "\x02\x02\x06\x01", 4, &nodes, &error), TSN_OK);
    assert_memory_equal(field(&nodes, "e")->text, "A", 1);
    assert_int_equal(field(&nodes, "t")->u.whole, -1); /* −1 µs is before 1970, rounded down */
    /* The branch that does not fit fails when it is met, and says why. */
    assert_int_equal(tsn_avro_plan_run(plan, "\x02\x00\x02x\x00", 5, &nodes, &error), TSN_ERR_INVALID);
    assert_non_null(strstr(error.message, "the writer has string"));
    assert_int_equal(tsn_avro_plan_run(plan, "\x04\x02\x06\x00", 4, &nodes, NULL), TSN_ERR_INVALID); /* symbol 2 of 2 */
    assert_int_equal(tsn_avro_plan_run(plan, "\x00\x04\x06\x00", 4, &nodes, NULL), TSN_ERR_INVALID); /* branch 2 of 2 */
    tsn_vec_release(&nodes);
    tsn_avro_plan_free(&plan);
}

static void test_bad_schemas(void **state)
{
    static const struct {
        const char *writer, *reader, *says;
    } rows[] = {
        { "", NULL, "JSON" },
        { "{", NULL, "JSON" },
        { "7", NULL, "no type" },
        { "\"nothing\"", NULL, "unknown type" },
        { "{\"type\":\"record\",\"name\":\"R\"}", NULL, "without fields" },
        { "{\"type\":\"record\",\"fields\":[]}", NULL, "without a name" },
        { "{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", NULL, "without a size" },
        { "{\"type\":\"array\"}", NULL, "without items" },
        { "[\"null\",[\"null\"]]", NULL, "union in a union" },
        { WRITER("{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"a\",\"type\":\"int\"}"), NULL, "twice" },
        { "[{\"type\":\"fixed\",\"name\":\"F\",\"size\":1},{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}]", NULL, "twice" },
        { "\"string\"", "\"long\"", "the writer has string" },
        { WRITER("{\"name\":\"a\",\"type\":\"string\"}"), WRITER("{\"name\":\"a\",\"type\":\"long\"}"), "field a" },
        { WRITER(""), WRITER("{\"name\":\"b\",\"type\":\"long\"}"), "no default" },
        { WRITER(""), WRITER("{\"name\":\"b\",\"type\":\"long\",\"default\":\"x\"}"), "not of its type" },
        /* A default that contains itself. */
        { WRITER(""), WRITER("{\"name\":\"b\",\"type\":\"W\",\"default\":{}}"), "not of its type" },
    };

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct tsn_error error = { .code = TSN_OK };
        struct tsn_avro_plan *plan = tsn_avro_plan_new(rows[i].writer, strlen(rows[i].writer), rows[i].reader,
                                                       rows[i].reader ? strlen(rows[i].reader) : 0, &error);

        if (plan || !strstr(error.message, rows[i].says))
            fail_msg("row %zu: %s", i, plan ? "taken" : error.message);
    }
}

static void test_hostile_bytes(void **state)
{
    static const struct {
        const char *schema, *bytes;
        size_t len;
    } rows[] = {
        { "\"string\"", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10 }, /* 2^63 − 1 bytes */
        { "\"string\"", "\x01", 1 },                                       /* −1 bytes */
        { "\"string\"", "\x02\xff", 2 },                                   /* invalid UTF-8 */
        { "\"long\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10 },    /* more than 64 bits */
        { "\"int\"", "\x80\x80\x80\x80\x20", 5 },                          /* more than 32 */
        { "\"boolean\"", "\x02", 1 },
        { "\"double\"", "1234567", 7 },
        { "\"null\"", "x", 1 }, /* left over */
        { "{\"type\":\"array\",\"items\":\"long\"}", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10 },
        { "{\"type\":\"array\",\"items\":\"null\"}", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11 }, /* items of no bytes */
        { "{\"type\":\"array\",\"items\":\"null\"}", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11 }, /* −2^63 */
        { "{\"type\":\"map\",\"values\":\"null\"}", "\x02\x02\xff\x00", 4 },
        { "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}", "", 0 }, /* no end at all */
    };
    struct tsn_avro_nodes nodes = { NULL, 0, 0 };
    char deep[80];

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(rows); i++) {
        struct tsn_avro_plan *plan = plan_of(rows[i].schema, NULL);
        char *copy = tsn_memdup(rows[i].bytes, rows[i].len);

        if (tsn_avro_plan_run(plan, copy, rows[i].len, &nodes, NULL) != TSN_ERR_INVALID)
            fail_msg("row %zu was taken", i);
        assert_int_equal(nodes.len, 0);
        tsn_free(copy);
        tsn_avro_plan_free(&plan);
    }
    { /* A chain one link longer than the depth allows (record and union are two). */
        struct tsn_avro_plan *plan = plan_of("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":[\"null\",\"R\"]}]}", NULL);

        memset(deep, 2, sizeof deep);
        deep[31] = 0;
        assert_int_equal(tsn_avro_plan_run(plan, deep, 32, &nodes, NULL), TSN_OK);
        deep[31] = 2;
        deep[32] = 0;
        assert_int_equal(tsn_avro_plan_run(plan, deep, 33, &nodes, NULL), TSN_ERR_INVALID);
        tsn_avro_plan_free(&plan);
    }
    { /* Items of no bytes that nobody wants cost nothing, however many are claimed. */
        struct tsn_avro_plan *plan = plan_of(WRITER("{\"name\":\"n\",\"type\":{\"type\":\"array\",\"items\":\"null\"}}"), WRITER(""));

        assert_int_equal(tsn_avro_plan_run(plan, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11, &nodes, NULL), TSN_OK);
        tsn_avro_plan_free(&plan);
    }
    tsn_vec_release(&nodes);
}

static void test_own_schemas_are_the_files(void **state)
{
    static const char *const names[] = { "Metric", "Log", "Hook" };

    TSN_UNUSED(state);
    assert_null(tsn_avro_own_schema("SampleBatch"));
    for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++) {
        char path[64], text[8192];
        struct tsn_buf packed = TSN_BUF_INIT;
        bool quoted = false;
        size_t len;
        FILE *file;

        snprintf(path, sizeof path, "schemas/%s.avsc", names[i]);
        file = fopen(path, "r");
        assert_non_null(file);
        len = fread(text, 1, sizeof text, file);
        fclose(file);
        for (size_t k = 0; k < len; k++) { /* without blanks, defaults and docs included */
            quoted ^= text[k] == '"';
            if (quoted || (text[k] != ' ' && text[k] != '\n'))
                tsn_buf_putc(&packed, text[k]);
        }
        assert_string_equal(tsn_buf_str(&packed), tsn_avro_own_schema(names[i]));
        tsn_buf_release(&packed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_resolution_as_the_oracle),
        cmocka_unit_test(test_defaults_and_aliases),
        cmocka_unit_test(test_closed_maps),
        cmocka_unit_test(test_enums_unions_times),
        cmocka_unit_test(test_bad_schemas),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_own_schemas_are_the_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
