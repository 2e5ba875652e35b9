/*
 * avro_events: an Avro record → events.
 *
 * Of a known type two plans are tried. The first reads the writer's schema as the fields that we use of our own type:
 * an event is then taken from the nodes by field number. If the schemas do not fit (a level that is an enum, a timestamp as
 * text, a list of events) the second reads the record as written, and the JSON decoder takes it by member names, as
 * leniently as JSON. A mapped input is read as its reader_schema_file says, or as written, and mapped as JSON.
 *
 * Labels are not looked at while the memo knows their bytes.
 *
 * Plans are kept by (input, schema id); beyond config registry.max_schemas all are forgotten and made anew.
 */
#include "ingest/avro_events.h"

#include <math.h>
#include <string.h>

/* What is read of each type; the numbers of the fields are their places here. */
#define OPTION(name) "{\"name\":\"" name "\",\"type\":[\"null\",\"string\"],\"default\":null}"
#define TIMESTAMP "{\"name\":\"timestamp\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}"
static const char metric_reader[] =
    "{\"type\":\"record\",\"name\":\"Metric\",\"namespace\":\"tocsin.v1\",\"fields\":[" TIMESTAMP ","
    "{\"name\":\"name\",\"type\":\"string\"},{\"name\":\"value\",\"type\":\"double\"},"
    "{\"name\":\"labels\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"default\":{}},"
    "{\"name\":\"kind\",\"type\":[\"null\",{\"type\":\"enum\",\"name\":\"MetricKind\",\"symbols\":[\"gauge\",\"counter\",\"delta\"]}],"
    "\"default\":null}]}";
static const char log_reader[] =
    "{\"type\":\"record\",\"name\":\"Log\",\"namespace\":\"tocsin.v1\",\"fields\":[" TIMESTAMP
    ",{\"name\":\"message\",\"type\":\"string\"}," OPTION("service") "," OPTION("environment") "," OPTION("level") "," OPTION("logger") "]}";
static const char hook_reader[] =
    "{\"type\":\"record\",\"name\":\"Hook\",\"namespace\":\"tocsin.v1\",\"fields\":[" TIMESTAMP
    ",{\"name\":\"status\",\"type\":[\"string\",{\"type\":\"enum\",\"name\":\"HookStatus\",\"symbols\":[\"success\",\"error\"]}]},"
    OPTION("service") "," OPTION("environment") "," OPTION("hook_type") ","
    "{\"name\":\"processing_time_ms\",\"type\":[\"null\",\"double\"],\"default\":null},"
    "{\"name\":\"patterns_discovered\",\"type\":[\"null\",\"long\",{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"PatternCount\","
    "\"fields\":[" OPTION("pattern_type") ",{\"name\":\"count\",\"type\":\"long\",\"default\":1}]}}],\"default\":null}]}";
enum { N_TIMESTAMP, N_NAME, N_VALUE, N_LABELS, N_KIND };
enum { N_MESSAGE = 1, N_STATUS = 1, N_SERVICE = 2, N_ENVIRONMENT, N_LEVEL, N_LOGGER, N_HOOK_TYPE = 4, N_MS, N_PATTERNS };

/* A writer's schema, as one input reads it. */
struct source {
    struct tsn_avro_plan *own, *lenient; /* one of them, or neither: then error says why */
    char *error;
};

struct avro_inputs {
    struct tsn_map sources; /* struct source_key → struct source */
    struct source **bare;   /* [inputs]; NULL: not bare Avro */
    char **readers;         /* [inputs]: text of reader_schema_file; NULL: none */
    size_t *reader_lens;
    size_t count;
    struct tsn_avro_nodes nodes;
};

struct source_key {
    uint32_t input;
    int32_t id;
};

static void source_free(struct source *s)
{
    if (!s)
        return;
    tsn_avro_plan_free(&s->own);
    tsn_avro_plan_free(&s->lenient);
    tsn_free(s->error);
    tsn_free(s);
}

static void forget_sources(struct avro_inputs *a)
{
    tsn_map_foreach(&a->sources, e)
        source_free(e->value);
    tsn_map_clear(&a->sources);
}

static const char *reader_of(enum tsn_input_type type)
{
    switch (type) {
    case TSN_INPUT_METRICS: return metric_reader;
    case TSN_INPUT_LOGS: return log_reader;
    case TSN_INPUT_HOOKS: return hook_reader;
    case TSN_INPUT_MAPPED:
    default: return NULL;
    }
}

static struct source *compile(const struct tsn_ingest *in, size_t input, const char *text, size_t len)
{
    const struct avro_inputs *a = in->avro;
    const char *reader = reader_of((enum tsn_input_type)in->config->inputs.items[input].type);
    struct source *s = tsn_calloc(1, sizeof *s);
    struct tsn_error error = { .code = TSN_OK };

    if (reader)
        s->own = tsn_avro_plan_new(text, len, reader, strlen(reader), &error);
    if (s->own)
        tsn_avro_plan_close_maps(s->own);
    else
        s->lenient = tsn_avro_plan_new(text, len, a->readers[input], a->reader_lens[input], &error);
    if (!s->own && !s->lenient)
        s->error = tsn_strdup(error.message);
    return s;
}

/* ---- set-up ------------------------------------------------------------------------------- */

static char *read_named(const struct tsn_ingest *in, const char *name, size_t *len, struct tsn_error *error)
{
    char *path = tsn_config_path(in->config, name), *text = NULL;

    if (in->opt.read_file)
        text = in->opt.read_file(in->opt.read_file_arg, path, len, error);
    else
        tsn_error_set(error, TSN_ERR_NOT_FOUND, "%s cannot be read here", path);
    tsn_free(path);
    return text;
}

static const char *own_name(enum tsn_input_type type)
{
    switch (type) {
    case TSN_INPUT_METRICS: return "Metric";
    case TSN_INPUT_LOGS: return "Log";
    case TSN_INPUT_HOOKS: return "Hook";
    case TSN_INPUT_MAPPED:
    default: return NULL;
    }
}

static bool set_up_bare(struct tsn_ingest *in, size_t i, struct tsn_error *error)
{
    const struct tsn_input_config *c = &in->config->inputs.items[i];
    const char *own = *c->schema_file ? NULL : own_name((enum tsn_input_type)c->type), *text = own ? tsn_avro_own_schema(own) : NULL;
    size_t len = text ? strlen(text) : 0;
    char *read = NULL;

    if (!text) {
        read = read_named(in, c->schema_file, &len, error);
        if (!read)
            return false;
        text = read;
    }
    in->avro->bare[i] = compile(in, i, text, len);
    if (in->avro->bare[i]->error)
        tsn_error_set(error, TSN_ERR_INVALID, "%s: %s", c->schema_file, in->avro->bare[i]->error);
    tsn_free(read);
    return !in->avro->bare[i]->error;
}

bool avro_inputs_set_up(struct tsn_ingest *in, struct tsn_error *error)
{
    struct avro_inputs *a = in->avro = tsn_calloc(1, sizeof *a);

    a->count = in->config->inputs.len;
    a->bare = tsn_calloc(a->count, sizeof *a->bare);
    a->readers = tsn_calloc(a->count, sizeof *a->readers);
    a->reader_lens = tsn_calloc(a->count, sizeof *a->reader_lens);
    tsn_map_init(&a->sources);
    for (size_t i = 0; i < a->count; i++) {
        const struct tsn_input_config *c = &in->config->inputs.items[i];

        if (*c->reader_schema_file) {
            a->readers[i] = read_named(in, c->reader_schema_file, &a->reader_lens[i], error);
            if (!a->readers[i])
                return false;
        }
        if (c->format == TSN_FORMAT_AVRO && !set_up_bare(in, i, error))
            return false;
    }
    return true;
}

void avro_inputs_release(struct tsn_ingest *in)
{
    struct avro_inputs *a = in->avro;

    if (!a)
        return;
    forget_sources(a);
    tsn_map_release(&a->sources);
    for (size_t i = 0; i < a->count; i++) {
        source_free(a->bare[i]);
        tsn_free(a->readers[i]);
    }
    tsn_free(a->bare);
    tsn_free(a->readers);
    tsn_free(a->reader_lens);
    tsn_vec_release(&a->nodes);
    tsn_free(a);
}

/* ---- events ------------------------------------------------------------------------------- */

static struct span text_of(const struct tsn_avro_node *n)
{
    return n->kind == TSN_AVRO_TEXT ? (struct span){ n->text, n->text_len } : (struct span){ NULL, 0 };
}

static bool avro_metric(struct tsn_ingest *in, const struct tsn_avro_node *record, struct event *e)
{
    static const int kinds[] = { ['g'] = TSN_GAUGE, ['c'] = TSN_COUNTER, ['d'] = TSN_DELTA };

    tsn_avro_foreach(record, n) {
        switch (n->field) {
        case N_TIMESTAMP: e->ts_ms = n->u.whole; break;
        case N_NAME: e->name = text_of(n); break;
        case N_VALUE: e->value = n->u.number; break;
        case N_LABELS: e->avro_labels = n; break;
        case N_KIND: e->kind = n->kind == TSN_AVRO_TEXT ? kinds[(unsigned char)n->text[0]] : -1; break;
        default: break;
        }
    }
    return e->name.len || refuse(in, "field", "name is empty");
}

static bool avro_log(const struct tsn_avro_node *record, struct event *e)
{
    tsn_avro_foreach(record, n) {
        switch (n->field) {
        case N_TIMESTAMP: e->ts_ms = n->u.whole; break;
        case N_MESSAGE: e->field[F_MESSAGE] = text_of(n); break;
        case N_SERVICE: e->field[F_SERVICE] = text_of(n); break;
        case N_ENVIRONMENT: e->field[F_ENVIRONMENT] = text_of(n); break;
        case N_LEVEL: e->field[F_LEVEL] = text_of(n); break;
        case N_LOGGER: e->field[F_LOGGER] = text_of(n); break;
        default: break;
        }
    }
    return true;
}

static void avro_patterns(struct tsn_ingest *in, const struct tsn_avro_node *n, struct event *e)
{
    tsn_vec_clear(&in->pairs);
    if (n->kind == TSN_AVRO_LONG)
        e->patterns = (double)n->u.whole;
    if (n->kind != TSN_AVRO_LIST)
        return;
    tsn_avro_foreach(n, item) {
        struct pair pair = { .number = 1 };

        tsn_avro_foreach(item, f) {
            if (f->field == 0)
                pair.value = text_of(f);
            else
                pair.number = (double)f->u.whole;
        }
        tsn_vec_push(&in->pairs, pair);
    }
    e->pairs = in->pairs.items;
    e->pair_count = in->pairs.len;
}

static bool avro_hook(struct tsn_ingest *in, const struct tsn_avro_node *record, struct event *e)
{
    const struct span *status = &e->field[F_STATUS];

    tsn_avro_foreach(record, n) {
        switch (n->field) {
        case N_TIMESTAMP: e->ts_ms = n->u.whole; break;
        case N_STATUS: e->field[F_STATUS] = text_of(n); break;
        case N_SERVICE: e->field[F_SERVICE] = text_of(n); break;
        case N_ENVIRONMENT: e->field[F_ENVIRONMENT] = text_of(n); break;
        case N_HOOK_TYPE: e->field[F_HOOK_TYPE] = text_of(n); break;
        case N_MS:
            if (n->kind == TSN_AVRO_DOUBLE && isnan(n->u.number))
                return refuse(in, "value", "processing_time_ms is no number");
            e->value = n->kind == TSN_AVRO_DOUBLE ? n->u.number : NAN;
            break;
        case N_PATTERNS: avro_patterns(in, n, e); break;
        default: break;
        }
    }
    return (status->len == 7 && memcmp(status->data, "success", 7) == 0) ||
           (status->len == 5 && memcmp(status->data, "error", 5) == 0) ||
           refuse(in, "field", "status is neither success nor error");
}

static bool take_own(struct tsn_ingest *in, enum tsn_input_type type)
{
    struct event e = { .kind = -1, .value = NAN };
    const struct tsn_avro_node *root = in->avro->nodes.items;

    switch (type) {
    case TSN_INPUT_METRICS: return avro_metric(in, root, &e) && event_take(in, type, &e);
    case TSN_INPUT_LOGS: return avro_log(root, &e) && event_take(in, type, &e);
    case TSN_INPUT_HOOKS: return avro_hook(in, root, &e) && event_take(in, type, &e);
    case TSN_INPUT_MAPPED:
    default: return refuse(in, "format", "no mapping");
    }
}

/* Memory that one huge record took is not kept. */
static void trim(struct avro_inputs *a)
{
    enum { KEEP_NODES = 65536 };

    if (a->nodes.cap > KEEP_NODES)
        tsn_vec_release(&a->nodes);
}

static bool take(struct tsn_ingest *in, size_t input, const struct source *s, const void *data, size_t len)
{
    const struct tsn_avro_plan *plan = s->own ? s->own : s->lenient;
    struct tsn_error error = { .code = TSN_OK };
    bool ok;

    if (!plan)
        return refuse(in, "schema", "%s", s->error);
    if (tsn_avro_plan_run(plan, data, len, &in->avro->nodes, &error) != TSN_OK)
        return refuse(in, "avro", "%s", error.message);
    if (s->own) {
        ok = take_own(in, (enum tsn_input_type)in->config->inputs.items[input].type);
    } else {
        tsn_avro_to_json(&in->avro->nodes, &in->json);
        ok = json_take_nodes(in, input);
    }
    trim(in->avro);
    return ok;
}

bool avro_take_bare(struct tsn_ingest *in, size_t input, const void *data, size_t len)
{
    return take(in, input, in->avro->bare[input], data, len);
}

/* ---- framing ------------------------------------------------------------------------------ */

/* Confluent's: a zero byte, the schema's id in 4 bytes, high first, then the record. */
enum { FRAME = 5 };

/* The schema of an id; NULL: refused, or *err says to come again. */
static struct source *source_of(struct tsn_ingest *in, size_t input, int32_t id, enum tsn_err *err, struct tsn_error *error)
{
    struct source_key key = { (uint32_t)input, id };
    struct source *s = tsn_map_get(&in->avro->sources, &key, sizeof key);
    struct tsn_error why = { .code = TSN_OK };
    const char *text;
    size_t len;

    if (s)
        return s;
    *err = in->opt.schema(in->opt.schema_arg, id, &text, &len, &why);
    if (*err == TSN_ERR_UNREACHABLE) {
        if (error)
            *error = why;
        return NULL;
    }
    if (*err != TSN_OK) {
        *err = TSN_OK;
        refuse(in, "schema", "schema %d: %s", id, why.message);
        return NULL;
    }
    if ((int64_t)len > in->config->registry.max_schema_bytes) {
        refuse(in, "schema", "schema %d has %zu bytes, at most %lld are read", id, len,
               (long long)in->config->registry.max_schema_bytes);
        return NULL;
    }
    if ((int64_t)in->avro->sources.count >= in->config->registry.max_schemas)
        forget_sources(in->avro);
    s = compile(in, input, text, len);
    tsn_map_put(&in->avro->sources, &key, sizeof key, s);
    return s;
}

bool avro_framed(const struct tsn_ingest_record *r)
{
    return r->value_len >= FRAME && *(const char *)r->value == 0;
}

bool avro_take_framed(struct tsn_ingest *in, const struct tsn_ingest_record *r, enum tsn_err *err, struct tsn_error *error)
{
    const unsigned char *data = r->value;
    const struct source *s;
    int32_t id;

    if (!avro_framed(r))
        return refuse(in, "avro", "not framed: the first byte is no zero, or there are fewer than %d", FRAME);
    if (!in->opt.schema)
        return refuse(in, "schema", "framed Avro, and no registry is configured");
    id = (int32_t)((uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8 | data[4]);
    s = source_of(in, r->input, id, err, error);
    return s && take(in, r->input, s, data + FRAME, r->value_len - FRAME);
}
