/*
 * json: RFC 8259 to a flat array of nodes (tocsin/codec.h draws it).
 *
 * This is the exact path: it accepts what the RFC accepts and nothing else, and is the oracle of the
 * fast path. Strings without a backslash are borrowed from the input; the others are unescaped
 * into the document's arena, never longer than they were written. One pass, no recursion: the open containers are a
 * small stack of node numbers, so depth is bounded by its size.
 *
 * A lone surrogate (\ud800) becomes U+FFFD, as browsers and Go do; NUL in a string is kept.
 */
#include "tocsin/codec.h"

#include <string.h>

struct parser {
    struct tsn_json *json;
    const char *start, *at, *end;
    const char *bad;
    uint32_t open[TSN_JSON_DEPTH]; /* nodes of the containers we are in */
    uint32_t depth;
};

void tsn_json_init(struct tsn_json *json)
{
    memset(json, 0, sizeof *json);
    tsn_arena_init(&json->text, 4096);
}

void tsn_json_release(struct tsn_json *json)
{
    tsn_vec_release(&json->nodes);
    tsn_arena_release(&json->text);
}

static bool fail(struct parser *p, const char *what)
{
    if (!p->bad)
        p->bad = what;
    return false;
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static bool hex4(struct parser *p, uint32_t *out)
{
    uint32_t v = 0;

    if (p->end - p->at < 4)
        return fail(p, "a \\u escape cut short");
    for (int i = 0; i < 4; i++, p->at++) {
        char c = *p->at, low = (char)(c | 0x20);

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (uint32_t)(low - 'a' + 10);
        else
            return fail(p, "a \\u escape that is not four hex digits");
    }
    *out = v;
    return true;
}

static bool unicode_escape(struct parser *p, char **to)
{
    uint32_t c, low;
    const char *after;

    if (!hex4(p, &c))
        return false;
    after = p->at;
    if (c >= 0xd800 && c < 0xdc00 && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u') {
        p->at += 2;
        if (!hex4(p, &low))
            return false;
        if (low >= 0xdc00 && low < 0xe000)
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        else
            p->at = after; /* its own character, read next */
    }
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd;
    *to += tsn_utf8_encode(c, *to);
    return true;
}

static bool unescape_one(struct parser *p, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (p->at == p->end)
        return fail(p, "a string without end");
    if (*p->at == 'u') {
        p->at++;
        return unicode_escape(p, to);
    }
    found = *p->at ? strchr(from, *p->at) : NULL;
    if (!found)
        return fail(p, "an unknown escape");
    *(*to)++ = into[found - from];
    p->at++;
    return true;
}

/* p->at is behind the opening quote. Finds the closing one; *escaped says whether to unescape. */
static bool find_quote(struct parser *p, const char **close, bool *escaped)
{
    const char *at = p->at;

    *escaped = false;
    for (; at < p->end && *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) {
            p->at = at;
            return fail(p, "a control character in a string");
        }
        if (*at == '\\') {
            *escaped = true;
            if (++at == p->end)
                break;
        }
    }
    if (at >= p->end)
        return fail(p, "a string without end");
    *close = at;
    return true;
}

static bool parse_string(struct parser *p, const char **text, uint32_t *len)
{
    const char *close;
    bool escaped;
    char *copy, *to;

    p->at++;
    if (!find_quote(p, &close, &escaped))
        return false;
    if (!tsn_utf8_valid(p->at, (size_t)(close - p->at)))
        return fail(p, "invalid UTF-8 in a string");
    if (!escaped) {
        *text = p->at;
        *len = (uint32_t)(close - p->at);
        p->at = close + 1;
        return true;
    }
    /* \u00e9 is six bytes for two, a pair of surrogates twelve for four: never longer. */
    copy = to = tsn_arena_alloc(&p->json->text, (size_t)(close - p->at) + 1);
    while (p->at < close)
        if (*p->at != '\\')
            *to++ = *p->at++;
        else if (p->at++, !unescape_one(p, &to))
            return false;
    *to = '\0';
    *text = copy;
    *len = (uint32_t)(to - copy);
    p->at = close + 1;
    return true;
}

static bool digits(struct parser *p)
{
    const char *from = p->at;

    while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
        p->at++;
    return p->at > from || fail(p, "a number without digits");
}

static bool parse_number(struct parser *p, struct tsn_json_node *node)
{
    node->kind = TSN_JSON_NUMBER;
    node->text = p->at;
    if (*p->at == '-')
        p->at++;
    if (p->at < p->end && *p->at == '0')
        p->at++;
    else if (!digits(p))
        return false;
    if (p->at < p->end && *p->at == '.') {
        p->at++;
        if (!digits(p))
            return false;
    }
    if (p->at < p->end && (*p->at | 0x20) == 'e') {
        p->at++;
        if (p->at < p->end && (*p->at == '+' || *p->at == '-'))
            p->at++;
        if (!digits(p))
            return false;
    }
    node->text_len = (uint32_t)(p->at - node->text);
    return true;
}

static bool parse_word(struct parser *p, const char *word, enum tsn_json_kind kind, struct tsn_json_node *node)
{
    size_t len = strlen(word);

    if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
        return fail(p, "not a JSON value");
    p->at += len;
    node->kind = kind;
    return true;
}

static bool parse_scalar(struct parser *p, struct tsn_json_node *node)
{
    if (p->at == p->end)
        return fail(p, "cut short");
    switch (*p->at) {
    case '"':
        node->kind = TSN_JSON_STRING;
        return parse_string(p, &node->text, &node->text_len);
    case 't': return parse_word(p, "true", TSN_JSON_TRUE, node);
    case 'f': return parse_word(p, "false", TSN_JSON_FALSE, node);
    case 'n': return parse_word(p, "null", TSN_JSON_NULL, node);
    default:
        if (*p->at != '-' && !(*p->at >= '0' && *p->at <= '9'))
            return fail(p, "not a JSON value");
        return parse_number(p, node);
    }
}

static struct tsn_json_node *innermost(struct parser *p)
{
    return p->depth ? &p->json->nodes.items[p->open[p->depth - 1]] : NULL;
}

static bool parse_key(struct parser *p, struct tsn_json_node *node)
{
    skip_blanks(p);
    if (p->at == p->end || *p->at != '"')
        return fail(p, "a member without a key");
    if (!parse_string(p, &node->key, &node->key_len))
        return false;
    skip_blanks(p);
    if (p->at == p->end || *p->at != ':')
        return fail(p, "no colon behind a key");
    p->at++;
    return true;
}

/* One value with its key; a container is opened, not read. */
static bool parse_value(struct parser *p)
{
    struct tsn_json_node *parent = innermost(p), node = { .skip = 1 };

    if (parent && parent->kind == TSN_JSON_OBJECT && !parse_key(p, &node))
        return false;
    if (p->json->max_nodes && p->json->nodes.len >= p->json->max_nodes)
        return fail(p, "more values than are read from one record");
    skip_blanks(p);
    if (parent)
        parent->count++;
    if (p->at < p->end && (*p->at == '{' || *p->at == '[')) {
        if (p->depth == TSN_JSON_DEPTH)
            return fail(p, "nested too deep");
        node.kind = *p->at == '{' ? TSN_JSON_OBJECT : TSN_JSON_ARRAY;
        node.text = p->at++;
        p->open[p->depth++] = (uint32_t)p->json->nodes.len;
    } else if (!parse_scalar(p, &node)) {
        return false;
    }
    tsn_vec_push(&p->json->nodes, node);
    return true;
}

/* Behind a value or an opening bracket: closes what closes here. *more: another value follows. */
static bool parse_closings(struct parser *p, bool *more)
{
    for (;;) {
        struct tsn_json_node *in = innermost(p);

        skip_blanks(p);
        *more = in != NULL;
        if (!in)
            return true;
        if (p->at == p->end)
            return fail(p, "cut short");
        if (*p->at != (in->kind == TSN_JSON_OBJECT ? '}' : ']')) {
            if (!in->count)
                return true;
            if (*p->at != ',')
                return fail(p, "neither a comma nor an end");
            p->at++;
            return true;
        }
        p->at++;
        in->skip = (uint32_t)(p->json->nodes.len - p->open[p->depth - 1]);
        in->text_len = (uint32_t)(p->at - in->text);
        p->depth--;
    }
}

enum tsn_err tsn_json_parse(struct tsn_json *json, const char *data, size_t len, struct tsn_error *error)
{
    struct parser p = { .json = json, .start = data, .at = data, .end = data + len };
    bool more = true;

    tsn_vec_clear(&json->nodes);
    tsn_arena_reset(&json->text);
    if (len > UINT32_MAX / 2)
        return tsn_error_set(error, TSN_ERR_LIMIT, "JSON of more than 2 GiB");
    while (more && parse_value(&p) && parse_closings(&p, &more))
        ;
    if (!p.bad && p.at < p.end)
        fail(&p, "text behind the value");
    if (p.bad)
        return tsn_error_set(error, TSN_ERR_INVALID, "JSON, byte %zu: %s", (size_t)(p.at - p.start), p.bad);
    return TSN_OK;
}

const struct tsn_json_node *tsn_json_getn(const struct tsn_json_node *object, const char *key, size_t key_len)
{
    const struct tsn_json_node *found = NULL;

    if (!object || object->kind != TSN_JSON_OBJECT)
        return NULL;
    tsn_json_foreach(object, n)
        if (n->key_len == key_len && memcmp(n->key, key, key_len) == 0)
            found = n;
    return found;
}

const struct tsn_json_node *tsn_json_get(const struct tsn_json_node *object, const char *key)
{
    return tsn_json_getn(object, key, strlen(key));
}

bool tsn_json_double(const struct tsn_json_node *node, double *out)
{
    return node && (node->kind == TSN_JSON_NUMBER || node->kind == TSN_JSON_STRING) &&
           tsn_parse_double(node->text, node->text_len, out);
}

bool tsn_json_i64(const struct tsn_json_node *node, int64_t *out)
{
    return node && node->kind == TSN_JSON_NUMBER && tsn_parse_i64(node->text, node->text_len, out);
}

/* ±2^53: beyond it a fraction of milliseconds is no longer exact, and no clock is there. */
static bool whole_ms(double value, int64_t *ms)
{
    if (!(value > -0x1p53 && value < 0x1p53))
        return false;
    *ms = (int64_t)value;
    return true;
}

bool tsn_json_time(const struct tsn_json_node *node, int64_t *ms)
{
    double value;

    if (!node)
        return false;
    if (node->kind == TSN_JSON_STRING && tsn_parse_rfc3339(node->text, node->text_len, ms))
        return true;
    if (node->kind != TSN_JSON_NUMBER && node->kind != TSN_JSON_STRING)
        return false;
    if (tsn_parse_i64(node->text, node->text_len, ms))
        return *ms > -(INT64_C(1) << 53) && *ms < INT64_C(1) << 53;
    return node->kind == TSN_JSON_NUMBER && tsn_parse_double(node->text, node->text_len, &value) &&
           whole_ms(value, ms);
}

bool tsn_json_is(const struct tsn_json_node *node, const char *text)
{
    return node && node->kind == TSN_JSON_STRING && node->text_len == strlen(text) &&
           memcmp(node->text, text, node->text_len) == 0;
}
