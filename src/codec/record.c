/* record: the walker over field tables. What it does: record.h. */
#include "codec/record.h"

#include <math.h>

enum { MAX_LABELS = 1024 };

static void *member(void *value, size_t offset)
{
    return (char *)value + offset;
}

static const void *cmember(const void *value, size_t offset)
{
    return (const char *)value + offset;
}

/* Enums are read and written as int: the compilers we use give all of ours that size. */
static int get_enum(const void *at)
{
    int v;

    memcpy(&v, at, sizeof v);
    return v;
}
_Static_assert(sizeof(enum tsn_alert_state) == sizeof(int), "enums are ints");

/* ---- release ------------------------------------------------------------------------------ */

static void release_record(const struct record *r, void *value);

static void release_field(const struct field *f, void *value)
{
    void *at = member(value, f->offset);
    size_t *count = member(value, f->extra);

    switch (f->type) {
    case F_TEXT:
    case F_OPTION:
        tsn_free(*(char **)at);
        *(char **)at = NULL;
        break;
    case F_LABELS:
        tsn_labels_unref(*(struct tsn_labels **)at);
        *(struct tsn_labels **)at = NULL;
        break;
    case F_TEXTS:
        for (size_t i = 0; i < *count; i++)
            tsn_free((*(char ***)at)[i]);
        tsn_free(*(char ***)at);
        *(char ***)at = NULL;
        *count = 0;
        break;
    case F_RECORDS:
        for (size_t i = 0; i < *count; i++)
            release_record(f->record, *(char **)at + i * f->record->size);
        tsn_free(*(void **)at);
        *(void **)at = NULL;
        *count = 0;
        break;
    case F_RECORD:
        release_record(f->record, at);
        break;
    default:
        break;
    }
}

/* From the last field to the first: where a member is named twice, the later table is the fuller. */
static void release_record(const struct record *r, void *value)
{
    for (size_t i = r->count; i; i--)
        release_field(&r->fields[i - 1], value);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void json_text_or_null(struct tsn_buf *out, const char *text)
{
    if (text)
        tsn_buf_json_string(out, text, strlen(text));
    else
        tsn_buf_puts(out, "null");
}

static void json_time(struct tsn_buf *out, int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE) {
        tsn_buf_puts(out, "null");
        return;
    }
    tsn_format_rfc3339(text, ms);
    tsn_buf_printf(out, "\"%s\"", text);
}

static void json_double(struct tsn_buf *out, double v)
{
    char text[TSN_DOUBLE_TEXT];

    tsn_format_double(text, sizeof text, v, 'g', 21);
    tsn_buf_printf(out, isfinite(v) ? "%s" : "\"%s\"", text);
}

static void json_record(struct tsn_buf *out, const struct record *r, const void *value);

static void json_list(struct tsn_buf *out, const struct field *f, const void *at, size_t count)
{
    tsn_buf_putc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            tsn_buf_putc(out, ',');
        if (f->type == F_TEXTS)
            json_text_or_null(out, (*(char *const *const *)at)[i]);
        else
            json_record(out, f->record, *(const char *const *)at + i * f->record->size);
    }
    tsn_buf_putc(out, ']');
}

static void json_field(struct tsn_buf *out, const struct field *f, const void *value)
{
    const void *at = cmember(value, f->offset);

    switch (f->type) {
    case F_I32: tsn_buf_printf(out, "%d", *(const int32_t *)at); break;
    case F_I64: tsn_buf_printf(out, "%lld", (long long)*(const int64_t *)at); break;
    case F_TIME: json_time(out, *(const int64_t *)at); break;
    case F_BOOL: tsn_buf_puts(out, *(const bool *)at ? "true" : "false"); break;
    case F_DOUBLE: json_double(out, *(const double *)at); break;
    case F_TEXT: {
        const char *text = *(char *const *)at;

        json_text_or_null(out, text ? text : "");
        break;
    }
    case F_OPTION: json_text_or_null(out, *(char *const *)at); break;
    case F_CHARS: json_text_or_null(out, at); break;
    case F_ENUM: json_text_or_null(out, f->names->name(get_enum(at))); break;
    case F_LABELS:
        if (*(struct tsn_labels *const *)at)
            tsn_labels_json(out, *(struct tsn_labels *const *)at);
        else
            tsn_buf_puts(out, "{}");
        break;
    case F_TEXTS:
    case F_RECORDS: json_list(out, f, at, *(const size_t *)cmember(value, f->extra)); break;
    case F_RECORD: json_record(out, f->record, at); break;
    }
}

static void json_record(struct tsn_buf *out, const struct record *r, const void *value)
{
    for (size_t i = 0; i < r->count; i++) {
        tsn_buf_printf(out, "%c\"%s\":", i ? ',' : '{', r->fields[i].name);
        json_field(out, &r->fields[i], value);
    }
    tsn_buf_putc(out, '}');
}

static void avro_record(struct tsn_buf *out, const struct record *r, const void *value);

static void avro_option(struct tsn_buf *out, const char *text)
{
    put_long(out, text ? 1 : 0);
    if (text)
        put_string(out, text);
}

static void avro_labels(struct tsn_buf *out, const struct tsn_labels *labels)
{
    if (labels && labels->count) {
        put_long(out, labels->count);
        for (uint32_t i = 0; i < labels->count; i++) {
            put_bytes(out, labels->items[i].name, labels->items[i].name_len);
            put_bytes(out, labels->items[i].value, labels->items[i].value_len);
        }
    }
    put_long(out, 0);
}

static void avro_list(struct tsn_buf *out, const struct field *f, const void *at, size_t count)
{
    if (count)
        put_long(out, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        if (f->type == F_TEXTS)
            put_string(out, (*(char *const *const *)at)[i]);
        else
            avro_record(out, f->record, *(const char *const *)at + i * f->record->size);
    }
    put_long(out, 0);
}

static void avro_field(struct tsn_buf *out, const struct field *f, const void *value)
{
    const void *at = cmember(value, f->offset);

    switch (f->type) {
    case F_I32: put_long(out, *(const int32_t *)at); break;
    case F_I64: put_long(out, *(const int64_t *)at); break;
    case F_TIME:
        put_long(out, *(const int64_t *)at == TSN_TIME_NONE ? 0 : 1);
        if (*(const int64_t *)at != TSN_TIME_NONE)
            put_long(out, *(const int64_t *)at);
        break;
    case F_BOOL: put_bool(out, *(const bool *)at); break;
    case F_DOUBLE: put_double(out, *(const double *)at); break;
    case F_TEXT: put_string(out, *(char *const *)at ? *(char *const *)at : ""); break;
    case F_OPTION: avro_option(out, *(char *const *)at); break;
    case F_CHARS: put_string(out, at); break;
    case F_ENUM: put_long(out, get_enum(at)); break;
    case F_LABELS: avro_labels(out, *(struct tsn_labels *const *)at); break;
    case F_TEXTS:
    case F_RECORDS: avro_list(out, f, at, *(const size_t *)cmember(value, f->extra)); break;
    case F_RECORD: avro_record(out, f->record, at); break;
    }
}

static void avro_record(struct tsn_buf *out, const struct record *r, const void *value)
{
    for (size_t i = 0; i < r->count; i++)
        avro_field(out, &r->fields[i], value);
}

void record_put(const struct record *r, const void *value, enum tsn_codec_form form, struct tsn_buf *out)
{
    if (form == TSN_FORM_JSON)
        json_record(out, r, value);
    else
        avro_record(out, r, value);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* A reader of either form: exactly one of wire and node is in use. `bad` names the first bad field. */
struct reader {
    struct wire *wire;
    const char *bad;
};

static bool bad_field(struct reader *rd, const struct field *f)
{
    if (!rd->bad)
        rd->bad = f->name;
    return false;
}

static bool set_chars(struct reader *rd, const struct field *f, char *at, const char *text, size_t len)
{
    if (len >= f->extra || memchr(text, '\0', len))
        return bad_field(rd, f);
    memcpy(at, text, len);
    at[len] = '\0';
    return true;
}

static bool set_enum(struct reader *rd, const struct field *f, void *at, int64_t v)
{
    int narrow = (int)v;

    if (v < 0 || v >= f->names->count)
        return bad_field(rd, f);
    memcpy(at, &narrow, sizeof narrow);
    return true;
}

/* Room for `more` further elements; returns the first of them, zeroed. */
static void *grow_list(const struct field *f, void *value, size_t more)
{
    size_t size = f->type == F_TEXTS ? sizeof(char *) : f->record->size;
    size_t *count = member(value, f->extra);
    void **items = member(value, f->offset);

    *items = tsn_reallocarray(*items, *count + more, size);
    return memset((char *)*items + *count * size, 0, more * size);
}

static bool json_get_record(struct reader *rd, const struct record *r, const struct tsn_json_node *node,
                            void *value);

static bool json_get_labels(struct reader *rd, const struct field *f, const struct tsn_json_node *node,
                            struct tsn_labels **at)
{
    struct tsn_labels_builder builder;

    if (node->kind != TSN_JSON_OBJECT || node->count > MAX_LABELS)
        return bad_field(rd, f);
    tsn_labels_builder_init(&builder);
    tsn_json_foreach(node, n) {
        if (n->kind != TSN_JSON_STRING)
            bad_field(rd, f);
        else
            tsn_labels_builder_setn(&builder, n->key, n->key_len, n->text, n->text_len);
    }
    *at = tsn_labels_builder_finish(&builder);
    tsn_labels_builder_release(&builder);
    return !rd->bad;
}

static bool json_get_list(struct reader *rd, const struct field *f, const struct tsn_json_node *node, void *value)
{
    size_t *count = member(value, f->extra);
    char *at;

    if (node->kind != TSN_JSON_ARRAY)
        return bad_field(rd, f);
    if (!node->count)
        return true;
    at = grow_list(f, value, node->count);
    tsn_json_foreach(node, n) {
        if (f->type == F_TEXTS) {
            if (n->kind != TSN_JSON_STRING)
                return bad_field(rd, f);
            ((char **)(void *)at)[*count] = tsn_strndup(n->text, n->text_len);
            ++*count;
        } else {
            ++*count;
            if (!json_get_record(rd, f->record, n, at + (*count - 1) * f->record->size))
                return false;
        }
    }
    return true;
}

static bool json_get_text(struct reader *rd, const struct field *f, const struct tsn_json_node *node, char **at)
{
    if (node->kind == TSN_JSON_NULL && f->type == F_OPTION)
        return true;
    if (node->kind != TSN_JSON_STRING)
        return bad_field(rd, f);
    *at = tsn_strndup(node->text, node->text_len);
    return true;
}

static bool json_get_enum(struct reader *rd, const struct field *f, const struct tsn_json_node *node, void *at)
{
    for (int v = 0; v < f->names->count; v++)
        if (tsn_json_is(node, f->names->name(v)))
            return set_enum(rd, f, at, v);
    return bad_field(rd, f);
}

static bool json_get_number(struct reader *rd, const struct field *f, const struct tsn_json_node *node, void *at)
{
    int64_t v;

    if (f->type == F_TIME && node->kind == TSN_JSON_NULL)
        return true;
    if (f->type == F_TIME ? !tsn_json_time(node, &v) : !tsn_json_i64(node, &v))
        return bad_field(rd, f);
    if (f->type != F_I32)
        *(int64_t *)at = v;
    else if (v < INT32_MIN || v > INT32_MAX)
        return bad_field(rd, f);
    else
        *(int32_t *)at = (int32_t)v;
    return true;
}

static bool json_get_field(struct reader *rd, const struct field *f, const struct tsn_json_node *node, void *value)
{
    void *at = member(value, f->offset);

    switch (f->type) {
    case F_I32:
    case F_I64:
    case F_TIME: return json_get_number(rd, f, node, at);
    case F_BOOL:
        *(bool *)at = node->kind == TSN_JSON_TRUE;
        return node->kind == TSN_JSON_TRUE || node->kind == TSN_JSON_FALSE || bad_field(rd, f);
    case F_DOUBLE: return tsn_json_double(node, at) || bad_field(rd, f);
    case F_TEXT:
    case F_OPTION: return json_get_text(rd, f, node, at);
    case F_CHARS:
        return node->kind == TSN_JSON_STRING ? set_chars(rd, f, at, node->text, node->text_len)
                                             : bad_field(rd, f);
    case F_ENUM: return json_get_enum(rd, f, node, at);
    case F_LABELS: return json_get_labels(rd, f, node, at);
    case F_TEXTS:
    case F_RECORDS: return json_get_list(rd, f, node, value);
    case F_RECORD: return json_get_record(rd, f->record, node, at);
    }
    return false;
}

/* What a field is before it is read, and stays when JSON leaves it out. */
static void clear_field(const struct field *f, void *value)
{
    void *at = member(value, f->offset);

    release_field(f, value);
    if (f->type == F_TIME)
        *(int64_t *)at = TSN_TIME_NONE;
}

static void default_field(const struct field *f, void *value)
{
    void *at = member(value, f->offset);

    if (f->type == F_TEXT && !*(char **)at)
        *(char **)at = tsn_strdup("");
    if (f->type == F_LABELS && !*(struct tsn_labels **)at)
        *(struct tsn_labels **)at = tsn_labels_empty();
}

static bool json_get_record(struct reader *rd, const struct record *r, const struct tsn_json_node *node,
                            void *value)
{
    if (node->kind != TSN_JSON_OBJECT) {
        rd->bad = r->name;
        return false;
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct field *f = &r->fields[i];
        const struct tsn_json_node *n = tsn_json_get(node, f->name);

        if (!n && f->required)
            return bad_field(rd, f);
        if (n) {
            clear_field(f, value);
            if (!json_get_field(rd, f, n, value))
                return false;
        } else if (f->type == F_TIME) {
            clear_field(f, value);
        }
        default_field(f, value);
    }
    return true;
}

static bool avro_get_record(struct reader *rd, const struct record *r, void *value);

static bool avro_get_labels(struct reader *rd, const struct field *f, struct tsn_labels **at)
{
    struct tsn_labels_builder builder;
    size_t n, total = 0;

    tsn_labels_builder_init(&builder);
    while (!rd->bad && (n = wire_block(rd->wire, 2)) != 0)
        for (; n && !rd->bad; n--) {
            size_t name_len, value_len;
            const char *name = wire_text(rd->wire, &name_len);
            const char *text = wire_text(rd->wire, &value_len);

            if (rd->wire->bad || ++total > MAX_LABELS)
                bad_field(rd, f);
            else
                tsn_labels_builder_setn(&builder, name, name_len, text, value_len);
        }
    *at = tsn_labels_builder_finish(&builder);
    tsn_labels_builder_release(&builder);
    return !rd->bad;
}

static bool avro_get_list(struct reader *rd, const struct field *f, void *value)
{
    size_t *count = member(value, f->extra);
    /* A record of the tables has more fields than 4, each of a byte at least. */
    size_t least = f->type == F_TEXTS ? 1 : f->record->count;
    size_t n;

    while (!rd->wire->bad && (n = wire_block(rd->wire, least)) != 0) {
        grow_list(f, value, n);
        for (; n; n--) {
            size_t len, i = (*count)++;
            char *items = *(char **)member(value, f->offset);

            if (f->type == F_TEXTS) {
                const char *text = wire_text(rd->wire, &len);

                ((char **)(void *)items)[i] = tsn_strndup(text, len);
            } else if (!avro_get_record(rd, f->record, items + i * f->record->size)) {
                return false;
            }
        }
    }
    return true;
}

/* The branch of ["null", x]: true for x. */
static bool avro_present(struct wire *w)
{
    int64_t branch = wire_long(w);

    if (branch != 0 && branch != 1)
        wire_fail(w, "no such branch of a union");
    return branch == 1;
}

static bool avro_get_field(struct reader *rd, const struct field *f, void *value)
{
    void *at = member(value, f->offset);
    struct wire *w = rd->wire;
    size_t len;
    const char *text;

    switch (f->type) {
    case F_I32: *(int32_t *)at = wire_int(w); return true;
    case F_I64: *(int64_t *)at = wire_long(w); return true;
    case F_TIME: *(int64_t *)at = avro_present(w) ? wire_long(w) : TSN_TIME_NONE; return true;
    case F_BOOL: *(bool *)at = wire_bool(w); return true;
    case F_DOUBLE: *(double *)at = wire_double(w); return true;
    case F_OPTION:
        if (!avro_present(w))
            return true;
        /* fall through */
    case F_TEXT:
        text = wire_text(w, &len);
        *(char **)at = tsn_strndup(text, len);
        return true;
    case F_CHARS:
        text = wire_text(w, &len);
        return set_chars(rd, f, at, text, len);
    case F_ENUM: return set_enum(rd, f, at, wire_long(w));
    case F_LABELS: return avro_get_labels(rd, f, at);
    case F_TEXTS:
    case F_RECORDS: return avro_get_list(rd, f, value);
    case F_RECORD: return avro_get_record(rd, f->record, at);
    }
    return false;
}

static bool avro_get_record(struct reader *rd, const struct record *r, void *value)
{
    for (size_t i = 0; i < r->count && !rd->bad; i++) {
        const struct field *f = &r->fields[i];

        clear_field(f, value);
        if (!avro_get_field(rd, f, value) || rd->wire->bad)
            return bad_field(rd, f);
    }
    return !rd->bad;
}

static enum tsn_err check_format(const struct record *r, int32_t format, struct tsn_error *error)
{
    if (format > TSN_FORMAT_VERSION)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED,
                             "%s of format %d, this program reads up to %d: upgrade it", r->name, format,
                             TSN_FORMAT_VERSION);
    if (format < 1)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s: impossible format number %d", r->name, format);
    return TSN_OK;
}

static enum tsn_err get_avro(const struct record *r, const void *data, size_t len, void *value,
                             struct tsn_error *error)
{
    struct wire w, peek;
    struct reader rd = { .wire = &w };
    int32_t format;

    wire_init(&w, data, len);
    peek = w;
    format = wire_int(&peek);
    if (!peek.bad && check_format(r, format, error) != TSN_OK)
        return error ? error->code : TSN_ERR_INVALID;
    if (avro_get_record(&rd, r, value) && wire_left(&w))
        wire_fail(&w, "bytes left over");
    if (w.bad)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s, byte %zu: %s", r->name, w.bad_at, w.bad);
    if (rd.bad)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s: bad value of %s", r->name, rd.bad);
    return TSN_OK;
}

static enum tsn_err get_json(const struct record *r, const void *data, size_t len, void *value,
                             struct tsn_error *error)
{
    struct tsn_json json;
    struct reader rd = { .bad = NULL };
    const struct tsn_json_node *format;
    int64_t number;
    enum tsn_err err;

    tsn_json_init(&json);
    err = tsn_json_parse(&json, data, len, error);
    if (err != TSN_OK) {
        tsn_error_prefix(error, "%s", r->name);
        goto out;
    }
    format = tsn_json_get(json.nodes.items, "format");
    if (tsn_json_i64(format, &number) && number >= INT32_MIN && number <= INT32_MAX)
        err = check_format(r, (int32_t)number, error);
    if (err == TSN_OK && !json_get_record(&rd, r, json.nodes.items, value))
        err = tsn_error_set(error, TSN_ERR_INVALID, "%s: bad or missing %s", r->name, rd.bad);
out:
    tsn_json_release(&json);
    return err;
}

enum tsn_err record_get(const struct record *r, const void *data, size_t len, enum tsn_codec_form form,
                        void *value, struct tsn_error *error)
{
    struct tsn_error local = { .code = TSN_OK };
    enum tsn_err err;

    memset(value, 0, r->size);
    err = form == TSN_FORM_JSON ? get_json(r, data, len, value, &local) : get_avro(r, data, len, value, &local);
    if (err != TSN_OK) {
        release_record(r, value);
        memset(value, 0, r->size);
        if (error)
            *error = local;
    }
    return err;
}
