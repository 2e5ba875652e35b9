/*
 * labels: immutable, sorted, reference-counted label sets, and their builder.
 *
 * A set is one block: header, array of (name, value), text. Its id hashes the canonical bytes
 * (name_len name value_len value …, lengths as 4 little-endian bytes), which no label text can forge.
 */
#include "tocsin/model.h"

#include <stdlib.h>
#include <string.h>

void tsn_labels_builder_init(struct tsn_labels_builder *b)
{
    memset(b, 0, sizeof *b);
    tsn_arena_init(&b->text, 1024);
}

void tsn_labels_builder_release(struct tsn_labels_builder *b)
{
    tsn_free(b->items);
    tsn_arena_release(&b->text);
    memset(b, 0, sizeof *b);
}

void tsn_labels_builder_reset(struct tsn_labels_builder *b)
{
    b->len = 0;
    tsn_arena_reset(&b->text);
}

static struct tsn_label *builder_find(const struct tsn_labels_builder *b, const char *name, size_t name_len)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->items[i].name_len == name_len && memcmp(b->items[i].name, name, name_len) == 0)
            return &b->items[i];
    return NULL;
}

void tsn_labels_builder_setn(struct tsn_labels_builder *b, const char *name, size_t name_len,
                             const char *value, size_t value_len)
{
    struct tsn_label *label = builder_find(b, name, name_len);

    if (!value_len) {
        if (label)
            *label = b->items[--b->len];
        return;
    }
    if (!label) {
        if (b->len == b->cap)
            b->items = tsn_vec_grow(b->items, &b->cap, b->len + 1, sizeof *b->items);
        label = &b->items[b->len++];
        label->name = tsn_arena_strndup(&b->text, name, name_len);
        label->name_len = (uint32_t)name_len;
    }
    label->value = tsn_arena_strndup(&b->text, value, value_len);
    label->value_len = (uint32_t)value_len;
}

void tsn_labels_builder_set(struct tsn_labels_builder *b, const char *name, const char *value)
{
    tsn_labels_builder_setn(b, name, strlen(name), value, strlen(value));
}

void tsn_labels_builder_del(struct tsn_labels_builder *b, const char *name)
{
    struct tsn_label *label = builder_find(b, name, strlen(name));

    if (label)
        *label = b->items[--b->len];
}

void tsn_labels_builder_from(struct tsn_labels_builder *b, const struct tsn_labels *labels)
{
    tsn_labels_builder_reset(b);
    for (uint32_t i = 0; i < labels->count; i++) {
        const struct tsn_label *l = &labels->items[i];

        tsn_labels_builder_setn(b, l->name, l->name_len, l->value, l->value_len);
    }
}

const char *tsn_labels_builder_get(const struct tsn_labels_builder *b, const char *name)
{
    struct tsn_label *label = builder_find(b, name, strlen(name));

    return label ? label->value : NULL;
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t shorter = a_len < b_len ? a_len : b_len;
    int order = shorter ? memcmp(a, b, shorter) : 0;

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_names(const void *a, const void *b)
{
    const struct tsn_label *x = a, *y = b;

    return compare_bytes(x->name, x->name_len, y->name, y->name_len);
}

static char *put_with_length(char *to, const char *text, uint32_t len)
{
    unsigned char bytes[4] = { len & 255, len >> 8 & 255, len >> 16 & 255, len >> 24 & 255 };

    memcpy(to, bytes, sizeof bytes);
    memcpy(to + sizeof bytes, text, len);
    return to + sizeof bytes + len;
}

static struct tsn_u128 labels_id(const struct tsn_label *items, size_t count)
{
    char small[1024], *canonical = small, *to; /* nearly every set fits */
    size_t len = 0;
    struct tsn_u128 id;

    for (size_t i = 0; i < count; i++)
        len += (size_t)items[i].name_len + items[i].value_len + 8;
    if (len > sizeof small)
        canonical = tsn_alloc(len);
    to = canonical;
    *to = '\0'; /* of the empty set: hashed with no byte */
    for (size_t i = 0; i < count; i++) {
        to = put_with_length(to, items[i].name, items[i].name_len);
        to = put_with_length(to, items[i].value, items[i].value_len);
    }
    id = tsn_hash128(canonical, len);
    if (canonical != small)
        tsn_free(canonical);
    return id;
}

/* Names that nearly every series has stand here once, not in each of a million sets. By length; those of length n are [from[n], from[n + 1]). */
static const char *const constant_names[] = { "job",      "level",    "method",   "status",    "service",
                                              "__name__", "instance", "template", "alertname", "environment" };
static const unsigned char constants_from[] = { 0, 0, 0, 0, 1, 1, 2, 4, 5, 8, 9, 9, 10 };

/* Its place among them, or -1. */
static int constant_at(const char *name, size_t len)
{
    if (len + 1 >= sizeof constants_from)
        return -1;
    for (int i = constants_from[len]; i < constants_from[len + 1]; i++)
        if (constant_names[i][0] == name[0] && memcmp(constant_names[i], name, len) == 0)
            return i;
    return -1;
}

static const char *constant_name(const char *name, size_t len)
{
    int at = constant_at(name, len);

    return at < 0 ? NULL : constant_names[at];
}

static size_t text_bytes(const struct tsn_label *l)
{
    return (constant_name(l->name, l->name_len) ? 0 : l->name_len + 1u) + l->value_len + 1u;
}

static char *put_text(char *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    to[len] = '\0';
    return to + len + 1;
}

/* items: sorted and unique. */
static struct tsn_labels *make(const struct tsn_label *items, size_t count, const struct tsn_u128 *id)
{
    size_t text = 0;
    struct tsn_labels *labels;
    char *to;

    for (size_t i = 0; i < count; i++)
        text += text_bytes(&items[i]);
    labels = tsn_alloc(sizeof *labels + count * sizeof *items + text);
    labels->refs = 1;
    labels->count = (uint32_t)count;
    to = (char *)&labels->items[count];
    for (size_t i = 0; i < count; i++) {
        struct tsn_label *l = &labels->items[i];

        *l = items[i];
        l->name = constant_name(items[i].name, l->name_len);
        if (!l->name) {
            l->name = to;
            to = put_text(to, items[i].name, l->name_len);
        }
        l->value = to;
        to = put_text(to, items[i].value, l->value_len);
    }
    labels->id = id ? *id : labels_id(labels->items, count);
    return labels;
}

/* ---- packed ------------------------------------------------------------------------------
 * name value name value …; a text is its length, 7 bits a byte, and its bytes; a constant name is 0 and its place. */

static size_t packed_text_len(uint32_t len)
{
    size_t bytes = 1 + len;

    for (; len > 127; len >>= 7)
        bytes++;
    return bytes;
}

static char *pack_text(char *to, const char *text, uint32_t len)
{
    uint32_t v = len;

    for (; v > 127; v >>= 7)
        *to++ = (char)(v | 128);
    *to++ = (char)v;
    memcpy(to, text, len);
    return to + len;
}

size_t tsn_labels_packed_len(const struct tsn_labels *labels)
{
    size_t len = 0;

    for (uint32_t i = 0; i < labels->count; i++) {
        const struct tsn_label *l = &labels->items[i];

        len += constant_at(l->name, l->name_len) < 0 ? packed_text_len(l->name_len) : 2;
        len += packed_text_len(l->value_len);
    }
    return len;
}

void tsn_labels_pack(const struct tsn_labels *labels, char *to)
{
    for (uint32_t i = 0; i < labels->count; i++) {
        const struct tsn_label *l = &labels->items[i];
        int at = constant_at(l->name, l->name_len);

        if (at < 0) {
            to = pack_text(to, l->name, l->name_len);
        } else {
            *to++ = 0;
            *to++ = (char)at;
        }
        to = pack_text(to, l->value, l->value_len);
    }
}

static const char *get_text(const char *at, const char **text, uint32_t *len)
{
    *len = 0;
    for (int shift = 0;; shift += 7) {
        unsigned char c = (unsigned char)*at++;

        *len |= (uint32_t)(c & 127) << shift;
        if (c < 128)
            break;
    }
    *text = at;
    return at + *len;
}

/* *constant: the name need not be copied. */
static const char *get_label(const char *at, struct tsn_label *l, bool *constant)
{
    *constant = !*at;
    if (*constant) {
        l->name = constant_names[(unsigned char)at[1]];
        l->name_len = (uint32_t)strlen(l->name);
        at += 2;
    } else {
        at = get_text(at, &l->name, &l->name_len);
    }
    return get_text(at, &l->value, &l->value_len);
}

struct tsn_labels *tsn_labels_unpack(const void *packed, size_t len, struct tsn_u128 id)
{
    const char *at = packed, *end = at + len;
    size_t text = 0, count = 0;
    struct tsn_labels *labels;
    struct tsn_label l;
    bool constant;
    char *to;

    for (; at < end; count++) {
        at = get_label(at, &l, &constant);
        text += (constant ? 0 : l.name_len + 1u) + l.value_len + 1u;
    }
    labels = tsn_alloc(sizeof *labels + count * sizeof l + text);
    labels->refs = 1;
    labels->count = (uint32_t)count;
    labels->id = id;
    to = (char *)&labels->items[count];
    at = packed;
    for (size_t i = 0; i < count; i++) {
        at = get_label(at, &l, &constant);
        labels->items[i] = l;
        if (!constant) {
            labels->items[i].name = to;
            to = put_text(to, l.name, l.name_len);
        }
        labels->items[i].value = to;
        to = put_text(to, l.value, l.value_len);
    }
    return labels;
}

struct tsn_labels *tsn_labels_builder_finish(struct tsn_labels_builder *b)
{
    struct tsn_labels *labels;

    if (b->len)
        qsort(b->items, b->len, sizeof *b->items, compare_names);
    labels = make(b->items, b->len, NULL);
    tsn_labels_builder_reset(b);
    return labels;
}

struct tsn_labels *tsn_labels_empty(void)
{
    return make(NULL, 0, NULL);
}

struct tsn_labels *tsn_labels_of(const char *name, ...)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;
    va_list args;

    tsn_labels_builder_init(&b);
    va_start(args, name);
    for (; name; name = va_arg(args, const char *))
        tsn_labels_builder_set(&b, name, va_arg(args, const char *));
    va_end(args);
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

struct tsn_labels *tsn_labels_ref(struct tsn_labels *labels)
{
    if (labels)
        labels->refs++;
    return labels;
}

void tsn_labels_unref(struct tsn_labels *labels)
{
    if (labels && --labels->refs == 0)
        tsn_free(labels);
}

struct tsn_labels *tsn_labels_copy(const struct tsn_labels *labels)
{
    return make(labels->items, labels->count, &labels->id);
}

const struct tsn_label *tsn_labels_find(const struct tsn_labels *labels, const char *name, size_t name_len)
{
    uint32_t low = 0, high = labels->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct tsn_label *l = &labels->items[middle];
        int order = compare_bytes(l->name, l->name_len, name, name_len);

        if (!order)
            return l;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *tsn_labels_get(const struct tsn_labels *labels, const char *name)
{
    const struct tsn_label *l = tsn_labels_find(labels, name, strlen(name));

    return l ? l->value : NULL;
}

bool tsn_labels_equal(const struct tsn_labels *a, const struct tsn_labels *b)
{
    return a == b || (a->count == b->count && tsn_u128_equal(a->id, b->id));
}

int tsn_labels_compare(const struct tsn_labels *a, const struct tsn_labels *b)
{
    uint32_t shorter = a->count < b->count ? a->count : b->count;

    for (uint32_t i = 0; i < shorter; i++) {
        const struct tsn_label *x = &a->items[i], *y = &b->items[i];
        int order = compare_bytes(x->name, x->name_len, y->name, y->name_len);

        if (!order)
            order = compare_bytes(x->value, x->value_len, y->value, y->value_len);
        if (order)
            return order;
    }
    return (a->count > b->count) - (a->count < b->count);
}

bool tsn_label_name_classic(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && !(i && c >= '0' && c <= '9'))
            return false;
    }
    return len > 0;
}

/* Go's strconv.Quote for the characters that occur: quote, backslash, controls, invalid bytes. */
static void put_quoted(struct tsn_buf *out, const char *text, size_t len)
{
    static const char named[] = "abtnvfr"; /* 7 … 13 */
    size_t at = 0;

    tsn_buf_putc(out, '"');
    while (at < len) {
        unsigned char c = (unsigned char)text[at];
        uint32_t code_point;
        size_t width = tsn_utf8_decode(text + at, len - at, &code_point);

        if (!width) {
            tsn_buf_printf(out, "\\x%02x", c);
            at++;
            continue;
        }
        if (c == '"' || c == '\\')
            tsn_buf_printf(out, "\\%c", c);
        else if (c >= 7 && c <= 13)
            tsn_buf_printf(out, "\\%c", named[c - 7]);
        else if (c < 0x20 || c == 0x7f)
            tsn_buf_printf(out, "\\x%02x", c);
        else
            tsn_buf_append(out, text + at, width);
        at += width;
    }
    tsn_buf_putc(out, '"');
}

/* As a label name, colons allowed: what may stand in front of the braces unquoted. */
static bool metric_name_classic(const char *name)
{
    size_t len = strlen(name), at = 0;

    while (at < len && (name[at] == ':' || tsn_label_name_classic(name + at, 1) ||
                        (at && name[at] >= '0' && name[at] <= '9')))
        at++;
    return len && at == len;
}

void tsn_labels_format(struct tsn_buf *out, const struct tsn_labels *labels)
{
    const char *metric = tsn_labels_get(labels, "__name__");
    bool bare = metric && metric_name_classic(metric);
    bool first = true;

    if (bare)
        tsn_buf_puts(out, metric);
    if (bare && labels->count == 1)
        return;
    tsn_buf_putc(out, '{');
    for (uint32_t i = 0; i < labels->count; i++) {
        const struct tsn_label *l = &labels->items[i];

        if (bare && strcmp(l->name, "__name__") == 0)
            continue;
        if (!first)
            tsn_buf_puts(out, ", ");
        first = false;
        if (tsn_label_name_classic(l->name, l->name_len))
            tsn_buf_append(out, l->name, l->name_len);
        else
            put_quoted(out, l->name, l->name_len);
        tsn_buf_putc(out, '=');
        put_quoted(out, l->value, l->value_len);
    }
    tsn_buf_putc(out, '}');
}

void tsn_labels_json(struct tsn_buf *out, const struct tsn_labels *labels)
{
    tsn_buf_putc(out, '{');
    for (uint32_t i = 0; i < labels->count; i++) {
        if (i)
            tsn_buf_putc(out, ',');
        tsn_buf_json_string(out, labels->items[i].name, labels->items[i].name_len);
        tsn_buf_putc(out, ':');
        tsn_buf_json_string(out, labels->items[i].value, labels->items[i].value_len);
    }
    tsn_buf_putc(out, '}');
}
