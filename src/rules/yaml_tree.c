/* yaml_tree: see yaml_tree.h. Source for merge keys, nulls and numbers: go.yaml.in/yaml v2 and v3. */
#include "rules/yaml_tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tsn_position tsn_yaml_position(const yaml_node_t *node)
{
    return (struct tsn_position){ (uint32_t)node->start_mark.line + 1, (uint32_t)node->start_mark.column + 1 };
}

void tsn_yaml_fail(struct tsn_yaml *y, struct tsn_position at, const char *fmt, ...)
{
    struct tsn_rule_error error = { NULL, at, NULL };
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    if (y->errors->len > TSN_YAML_MAX_ERRORS)
        return;
    va_start(args, fmt);
    if (y->errors->len == TSN_YAML_MAX_ERRORS)
        tsn_buf_printf(&text, "more than %d errors; the rest is not listed", TSN_YAML_MAX_ERRORS);
    else
        tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    error.file = tsn_strdup(y->file);
    error.message = tsn_buf_take(&text, NULL);
    tsn_vec_push(y->errors, error);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void fail_parser(struct tsn_yaml *y, const yaml_parser_t *parser)
{
    yaml_mark_t mark = parser->problem_mark;

    if (parser->error == YAML_READER_ERROR) /* the reader knows bytes, not lines */
        tsn_yaml_fail(y, (struct tsn_position){ 0, 0 }, "not YAML: %s at byte %zu", parser->problem,
                      parser->problem_offset);
    else
        tsn_yaml_fail(y, (struct tsn_position){ (uint32_t)mark.line + 1, (uint32_t)mark.column + 1 }, "not YAML: %s",
                      parser->problem ? parser->problem : "malformed");
}

/* One pass over the events, before any tree: depth, and whether a second document follows. */
static bool check_events(struct tsn_yaml *y)
{
    yaml_parser_t parser;
    yaml_event_t event;
    yaml_event_type_t type = YAML_NO_EVENT;
    int depth = 0, documents = 0;
    bool ok = true;

    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)y->text, y->len);
    while (ok && type != YAML_STREAM_END_EVENT) {
        if (!yaml_parser_parse(&parser, &event)) {
            y->more_documents = documents > 1;
            if (documents < 2) /* trouble in what is not read is no trouble */
                fail_parser(y, &parser);
            ok = documents > 1;
            break;
        }
        type = event.type;
        documents += type == YAML_DOCUMENT_START_EVENT;
        depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
        depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
        if (depth > TSN_YAML_MAX_DEPTH) {
            tsn_yaml_fail(y, (struct tsn_position){ (uint32_t)event.start_mark.line + 1,
                                                    (uint32_t)event.start_mark.column + 1 },
                          "nested deeper than %d", TSN_YAML_MAX_DEPTH);
            ok = false;
        }
        yaml_event_delete(&event);
        if (documents > 1)
            break;
    }
    y->more_documents = documents > 1;
    yaml_parser_delete(&parser);
    return ok;
}

bool tsn_yaml_load(struct tsn_yaml *y)
{
    yaml_parser_t parser;

    if (y->len > TSN_YAML_MAX_BYTES) {
        tsn_yaml_fail(y, (struct tsn_position){ 0, 0 }, "larger than %u bytes", TSN_YAML_MAX_BYTES);
        return false;
    }
    if (!check_events(y) || !yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)y->text, y->len);
    y->loaded = yaml_parser_load(&parser, &y->doc) == 1;
    if (!y->loaded)
        fail_parser(y, &parser);
    yaml_parser_delete(&parser);
    return y->loaded;
}

void tsn_yaml_release(struct tsn_yaml *y)
{
    if (y->loaded)
        yaml_document_delete(&y->doc);
    y->loaded = false;
}

const yaml_node_t *tsn_yaml_root(struct tsn_yaml *y)
{
    return yaml_document_get_root_node(&y->doc);
}

const yaml_node_t *tsn_yaml_node(struct tsn_yaml *y, int id)
{
    return yaml_document_get_node(&y->doc, id);
}

/* ---- scalars ------------------------------------------------------------------------------ */

static const char *value_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static bool is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool one_of(const char *text, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

bool tsn_yaml_is_null(const yaml_node_t *node)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };

    return is_plain(node) && one_of(value_of(node), nulls);
}

static const char *kind_of(const yaml_node_t *node)
{
    return node->type == YAML_MAPPING_NODE ? "mapping" : node->type == YAML_SEQUENCE_NODE ? "list" : "scalar";
}

static bool count_visit(struct tsn_yaml *y, const yaml_node_t *node)
{
    if (++y->visits <= TSN_YAML_MAX_VISITS)
        return true;
    if (y->visits == TSN_YAML_MAX_VISITS + 1)
        tsn_yaml_fail(y, tsn_yaml_position(node), "document contains excessive aliasing");
    return false;
}

const char *tsn_yaml_text(struct tsn_yaml *y, const yaml_node_t *node, const char *what)
{
    if (!count_visit(y, node) || tsn_yaml_is_null(node))
        return NULL;
    if (node->type != YAML_SCALAR_NODE) {
        tsn_yaml_fail(y, tsn_yaml_position(node), "%s: cannot unmarshal a %s into text", what, kind_of(node));
        return NULL;
    }
    if (strlen(value_of(node)) != node->data.scalar.length) {
        tsn_yaml_fail(y, tsn_yaml_position(node), "%s holds a NUL byte", what);
        return NULL;
    }
    y->visits += node->data.scalar.length / 16; /* so that copies of one long text count, too */
    return tsn_arena_strdup(y->arena, value_of(node));
}

int64_t tsn_yaml_duration(struct tsn_yaml *y, const yaml_node_t *node, const char *what)
{
    const char *text = tsn_yaml_text(y, node, what);
    int64_t ms = 0;

    if (text && !tsn_parse_duration(text, strlen(text), &ms))
        tsn_yaml_fail(y, tsn_yaml_position(node), "%s: not a valid duration string: \"%s\"", what, text);
    return ms;
}

/* Digits in any of YAML's bases, underscores between them. */
static bool parse_integer(const char *text, double *out)
{
    char digits[80];
    size_t n = 0;
    const char *start;
    int base = 10;
    char *end;

    for (; *text && n < sizeof digits - 1; text++)
        if (*text != '_')
            digits[n++] = *text;
    digits[n] = '\0';
    start = digits + (*digits == '-' || *digits == '+');
    if (start[0] == '0' && start[1] && strchr("xXbBoO", start[1])) {
        base = start[1] == 'x' || start[1] == 'X' ? 16 : start[1] == 'b' || start[1] == 'B' ? 2 : 8;
        start += 2;
    } else if (start[0] == '0' && start[1]) {
        base = 8;
    }
    if (!*start || !strchr("0123456789abcdefABCDEF", *start))
        return false;
    *out = (double)strtoull(start, &end, base);
    if (*end)
        return false;
    *out = *digits == '-' ? -*out : *out;
    return true;
}

static bool parse_number(const char *text, double *out)
{
    static const char *const nans[] = { ".nan", ".NaN", ".NAN", NULL };
    static const char *const infs[] = { ".inf", ".Inf", ".INF", NULL };
    const char *digits = text + (*text == '-' || *text == '+');

    if (one_of(text, nans)) {
        *out = NAN;
        return true;
    }
    if (one_of(digits, infs)) {
        *out = *text == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (parse_integer(text, out))
        return true;
    return strspn(text, "+-.0123456789eE") == strlen(text) && tsn_parse_double(text, strlen(text), out);
}

double tsn_yaml_number(struct tsn_yaml *y, const yaml_node_t *node, const char *what)
{
    double value = 0;

    if (!tsn_yaml_is_null(node) && !(is_plain(node) && parse_number(value_of(node), &value)))
        tsn_yaml_fail(y, tsn_yaml_position(node), "%s: not a number%s%s", what,
                      node->type == YAML_SCALAR_NODE ? ": " : "", node->type == YAML_SCALAR_NODE ? value_of(node) : "");
    return value;
}

int64_t tsn_yaml_integer(struct tsn_yaml *y, const yaml_node_t *node, const char *what)
{
    double value = tsn_yaml_number(y, node, what);

    if (fabs(value) < 9e15)
        return (int64_t)value;
    tsn_yaml_fail(y, tsn_yaml_position(node), "%s: out of range", what);
    return 0;
}

bool tsn_yaml_truth(struct tsn_yaml *y, const yaml_node_t *node, const char *what)
{
    static const char *const yes[] = { "true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", NULL };
    static const char *const no[] = { "false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF", NULL };
    bool is_yes = is_plain(node) && one_of(value_of(node), yes);

    if (!is_yes && !tsn_yaml_is_null(node) && !(is_plain(node) && one_of(value_of(node), no)))
        tsn_yaml_fail(y, tsn_yaml_position(node), "%s: not true or false", what);
    return is_yes;
}

/* ---- mappings and lists ------------------------------------------------------------------- */

static bool is_merge(const yaml_node_t *key)
{
    return is_plain(key) && strcmp(value_of(key), "<<") == 0;
}

/* `taken` holds the keys already in out: an own key wins over a merged one, an earlier over a later. */
static bool collect(struct tsn_yaml *y, const yaml_node_t *map, struct tsn_map *taken, int depth,
                    struct tsn_yaml_pairs *out);

static bool collect_merge(struct tsn_yaml *y, const yaml_node_t *merge, struct tsn_map *taken, int depth,
                          struct tsn_yaml_pairs *out)
{
    bool ok = merge->type != YAML_SCALAR_NODE && depth < TSN_YAML_MAX_DEPTH;

    if (ok && merge->type == YAML_MAPPING_NODE)
        return collect(y, merge, taken, depth + 1, out);
    for (yaml_node_item_t *i = ok ? merge->data.sequence.items.start : NULL;
         ok && i < merge->data.sequence.items.top; i++) {
        const yaml_node_t *map = tsn_yaml_node(y, *i);

        if (map->type != YAML_MAPPING_NODE)
            ok = false;
        else if (!collect(y, map, taken, depth + 1, out))
            return false;
    }
    if (!ok)
        tsn_yaml_fail(y, tsn_yaml_position(merge), "map merge requires map or sequence of maps as the value");
    return ok;
}

static bool unique_keys(struct tsn_yaml *y, const yaml_node_t *map)
{
    struct tsn_map seen;
    bool ok = true;

    tsn_map_init(&seen);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = tsn_yaml_node(y, p->key), *first;

        if (key->type != YAML_SCALAR_NODE)
            continue;
        first = tsn_map_put(&seen, value_of(key), key->data.scalar.length, (void *)(uintptr_t)key);
        if (first)
            tsn_yaml_fail(y, tsn_yaml_position(key), "mapping key \"%s\" already defined at line %zu", value_of(key),
                          first->start_mark.line + 1);
        ok = ok && !first;
    }
    tsn_map_release(&seen);
    return ok;
}

static bool collect(struct tsn_yaml *y, const yaml_node_t *map, struct tsn_map *taken, int depth,
                    struct tsn_yaml_pairs *out)
{
    const yaml_node_t *merge = NULL;

    if (!unique_keys(y, map))
        return false;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        struct tsn_yaml_pair pair = { NULL, tsn_yaml_node(y, p->key), tsn_yaml_node(y, p->value) };

        if (y->visits > TSN_YAML_MAX_VISITS)
            return false;
        if (is_merge(pair.key_node)) {
            merge = pair.value;
            continue;
        }
        pair.key = tsn_yaml_text(y, pair.key_node, "a key");
        if (pair.key && !tsn_map_put_str(taken, pair.key, y))
            tsn_vec_push(out, pair);
    }
    return !merge || collect_merge(y, merge, taken, depth, out);
}

bool tsn_yaml_pairs(struct tsn_yaml *y, const yaml_node_t *map, const char *what, struct tsn_yaml_pairs *out)
{
    struct tsn_map taken;
    bool ok;

    memset(out, 0, sizeof *out);
    if (!count_visit(y, map))
        return false;
    if (tsn_yaml_is_null(map))
        return true;
    if (map->type != YAML_MAPPING_NODE) {
        tsn_yaml_fail(y, tsn_yaml_position(map), "%s must be a mapping, not a %s", what, kind_of(map));
        return false;
    }
    tsn_map_init(&taken);
    ok = collect(y, map, &taken, 0, out);
    tsn_map_release(&taken);
    if (!ok)
        tsn_vec_release(out);
    return ok;
}

const yaml_node_item_t *tsn_yaml_items(struct tsn_yaml *y, const yaml_node_t *list, const char *what, size_t *count)
{
    *count = 0;
    if (!count_visit(y, list) || tsn_yaml_is_null(list))
        return NULL;
    if (list->type != YAML_SEQUENCE_NODE) {
        tsn_yaml_fail(y, tsn_yaml_position(list), "%s must be a list, not a %s", what, kind_of(list));
        return NULL;
    }
    *count = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    return list->data.sequence.items.start;
}

/* ---- from a value back to the file -------------------------------------------------------- */

struct walk {
    const char *text, *end;
    struct tsn_position at;
};

static void advance(struct walk *w)
{
    unsigned char c = (unsigned char)*w->text++;

    if (c == '\n') {
        w->at.line++;
        w->at.column = 1;
    } else if ((c & 0xc0) != 0x80) { /* a continuation byte is no column of its own */
        w->at.column++;
    }
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A run of blanks with a line break in it: folded, stripped or kept, it stands for one run of blanks. */
static bool at_break(const struct walk *w)
{
    const char *p = w->text;

    while (p < w->end && (*p == ' ' || *p == '\t'))
        p++;
    return p < w->end && (*p == '\n' || *p == '\r');
}

/* One escape of a double-quoted scalar; returns how many bytes of value it gives. */
static size_t skip_escape(struct walk *w)
{
    char kind = w->text + 1 < w->end ? w->text[1] : 0, utf8[4];
    size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0, len = 2 + digits;
    uint32_t code = 0;

    for (size_t i = 0; i < digits && w->text + 2 + i < w->end; i++) {
        char c = w->text[2 + i];

        code = code * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    while (len-- && w->text < w->end)
        advance(w);
    if (kind == '\n' || kind == '\r') {
        while (w->text < w->end && blank(*w->text))
            advance(w);
        return 0;
    }
    if (digits)
        return tsn_utf8_encode(code, utf8);
    return kind == 'N' || kind == '_' ? 2 : kind == 'L' || kind == 'P' ? 3 : 1;
}

static struct walk start_of(struct tsn_yaml *y, const yaml_node_t *node)
{
    struct walk w = { y->text, y->text + y->len, { 1, 1 } };
    struct tsn_position start = tsn_yaml_position(node);
    yaml_scalar_style_t style = node->data.scalar.style;

    if (y->seek_byte && (y->seek_at.line < start.line ||
                         (y->seek_at.line == start.line && y->seek_at.column <= start.column))) {
        w.text += y->seek_byte;
        w.at = y->seek_at;
    } else if (y->len >= 3 && memcmp(y->text, "\xef\xbb\xbf", 3) == 0)
        w.text += 3;
    while (w.text < w.end && (w.at.line < start.line || (w.at.line == start.line && w.at.column < start.column)))
        advance(&w);
    y->seek_byte = (size_t)(w.text - y->text);
    y->seek_at = w.at;
    if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
        while (w.text < w.end && w.at.line == start.line)
            advance(&w);
    else if (style != YAML_PLAIN_SCALAR_STYLE && w.text < w.end)
        advance(&w);
    return w;
}

struct tsn_position tsn_yaml_inside(struct tsn_yaml *y, const yaml_node_t *node, size_t offset)
{
    struct walk w = start_of(y, node);
    const char *value = value_of(node);
    yaml_scalar_style_t style = node->data.scalar.style;
    size_t len = node->data.scalar.length, v = 0;
    bool block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;

    if (block) /* indentation before the first line */
        for (; w.text < w.end && blank(*w.text); advance(&w))
            continue;
    if (block)
        while (v < len && blank(value[v]))
            v++;
    while (w.text < w.end && v < offset && v < len) {
        if (at_break(&w)) {
            size_t before = v;

            while (v < len && blank(value[v]))
                v++;
            if (v > offset && before <= offset) /* inside the run: its beginning says it best */
                break;
            while (w.text < w.end && blank(*w.text))
                advance(&w);
        } else if (style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && *w.text == '\\') {
            v += skip_escape(&w);
        } else {
            if (style == YAML_SINGLE_QUOTED_SCALAR_STYLE && *w.text == '\'')
                advance(&w);
            if (w.text < w.end)
                advance(&w);
            v++;
        }
    }
    return w.at;
}
