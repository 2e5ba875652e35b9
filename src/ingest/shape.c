/*
 * shape: JSON in one pass against the remembered shape of its producer (the fast path).
 *
 * A producer writes the same keys in the same order with the same blanks. From a record that the exact path took, a
 * shape is learned: the bytes between the values, and what each value is for. A later record is compared with it, and only
 * the values are scanned:
 *
 *     {"name":"  requests_total  ","labels":  {…}  ,"value":  12.5  ,"timestamp":  1700000000000  }
 *     literal    string, NAME     literal    LABELS  literal   number      literal      number      end
 *
 * true, false and null are part of the literals: where they change, another shape is learned (at most MAX_SHAPES an
 * input, the one unused for longest makes room). Labels are not read at all: their bytes are the memo's key.
 *
 * What the fast path takes, the exact path takes with the same result (tests/prop compares them). It gives up, and the exact path
 * decides anew, wherever it is not sure: an escape in a string, a value of another type, a refusal. So every
 * error text is the exact path's, and nothing here is needed for correctness.
 */
#include "ingest/shape.h"

#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Twice the members of a log event; beyond, the exact path is as good. */
enum { MAX_SHAPES = 8, MAX_STEPS = 40, MAX_MEMBERS = 100, MAX_LITERAL = 2048, RELEARN = 64 };

enum role { ROLE_NONE, ROLE_TIME, ROLE_NAME, ROLE_LABELS, ROLE_VALUE, ROLE_KIND, ROLE_MS, ROLE_PATTERNS, ROLE_FIELD };
enum value_type { VALUE_STRING, VALUE_NUMBER, VALUE_LABELS };

struct step {
    uint16_t literal, literal_len; /* before the value; a string's opening quote included */
    uint8_t type, role, field;
};

struct shape {
    struct step steps[MAX_STEPS];
    uint32_t count;
    uint16_t tail, tail_len; /* literal behind the last value, closing brace included */
    uint16_t text_len;
    char text[MAX_LITERAL];
};

struct shapes {
    struct shape *items[MAX_SHAPES]; /* by last use, about */
    uint32_t count;
    uint64_t slow; /* records that the exact path took */
    char minute[17]; /* of the last RFC 3339 time: "2023-11-14T22:13:" */
    int64_t minute_ms;
};

struct shapes *shapes_new(void)
{
    return tsn_calloc(1, sizeof(struct shapes));
}

void shapes_free(struct shapes *s)
{
    for (uint32_t i = 0; s && i < s->count; i++)
        tsn_free(s->items[i]);
    tsn_free(s);
}

/* ---- learning ----------------------------------------------------------------------------- */

struct role_name {
    const char *key;
    uint8_t role, field;
};
static const struct role_name metric_roles[] = { { "timestamp", ROLE_TIME, 0 }, { "name", ROLE_NAME, 0 },
                                                 { "labels", ROLE_LABELS, 0 }, { "value", ROLE_VALUE, 0 },
                                                 { "kind", ROLE_KIND, 0 }, { NULL, 0, 0 } };
static const struct role_name log_roles[] = { { "timestamp", ROLE_TIME, 0 }, { "service", ROLE_FIELD, F_SERVICE },
                                              { "environment", ROLE_FIELD, F_ENVIRONMENT },
                                              { "level", ROLE_FIELD, F_LEVEL }, { "logger", ROLE_FIELD, F_LOGGER },
                                              { "message", ROLE_FIELD, F_MESSAGE }, { NULL, 0, 0 } };
static const struct role_name hook_roles[] = { { "timestamp", ROLE_TIME, 0 }, { "service", ROLE_FIELD, F_SERVICE },
                                               { "environment", ROLE_FIELD, F_ENVIRONMENT },
                                               { "hook_type", ROLE_FIELD, F_HOOK_TYPE },
                                               { "status", ROLE_FIELD, F_STATUS },
                                               { "processing_time_ms", ROLE_MS, 0 },
                                               { "patterns_discovered", ROLE_PATTERNS, 0 }, { NULL, 0, 0 } };

static const struct role_name *roles_of(enum tsn_input_type type)
{
    switch (type) {
    case TSN_INPUT_METRICS: return metric_roles;
    case TSN_INPUT_LOGS: return log_roles;
    case TSN_INPUT_HOOKS: return hook_roles;
    case TSN_INPUT_MAPPED:
    default: return NULL;
    }
}

static const struct role_name *role_of(const struct role_name *roles, const struct tsn_json_node *n)
{
    for (; roles->key; roles++)
        if (strlen(roles->key) == n->key_len && memcmp(roles->key, n->key, n->key_len) == 0)
            return roles;
    return NULL;
}

/* A value that the scanner can take: no escape (then the text is not where it was written), no nesting. */
static bool step_type(const struct tsn_json_node *n, const struct role_name *role, const char *data, size_t len,
                      struct step *step)
{
    bool inside = n->text >= data && n->text <= data + len;

    switch (n->kind) {
    case TSN_JSON_STRING: step->type = VALUE_STRING; return inside;
    case TSN_JSON_NUMBER:
        step->type = VALUE_NUMBER;
        /* A number as text of a label is the exact path's. */
        return !role || (role->role != ROLE_FIELD && role->role != ROLE_NAME);
    case TSN_JSON_OBJECT: step->type = VALUE_LABELS; return role && role->role == ROLE_LABELS;
    case TSN_JSON_NULL:
    case TSN_JSON_FALSE:
    case TSN_JSON_TRUE:
    case TSN_JSON_ARRAY:
    default: return false;
    }
}

static bool add_literal(struct shape *s, const char *from, const char *to, uint16_t *at, uint16_t *len)
{
    size_t n = (size_t)(to - from);

    if (to < from || s->text_len + n > MAX_LITERAL)
        return false;
    memcpy(s->text + s->text_len, from, n);
    *at = s->text_len;
    *len = (uint16_t)n;
    s->text_len = (uint16_t)(s->text_len + n);
    return true;
}

static bool is_word(const struct tsn_json_node *n)
{
    return n->kind == TSN_JSON_NULL || n->kind == TSN_JSON_TRUE || n->kind == TSN_JSON_FALSE;
}

static bool duplicate_key(const struct tsn_json_node *object, const struct tsn_json_node *member)
{
    return tsn_json_getn(object, member->key, member->key_len) != member;
}

/* From the object as it was parsed; false: no shape can be made of it. */
static bool build(struct shape *s, const struct role_name *roles, const struct tsn_json_node *object, const char *data,
                  size_t len)
{
    const char *at = object->text;

    tsn_json_foreach(object, n) {
        const struct role_name *role = role_of(roles, n);
        struct step *step = &s->steps[s->count];

        if (duplicate_key(object, n))
            return false;
        if (is_word(n) && !(role && role->role == ROLE_FIELD && n->kind != TSN_JSON_NULL))
            continue;
        if (s->count == MAX_STEPS || !step_type(n, role, data, len, step) ||
            !add_literal(s, at, n->text, &step->literal, &step->literal_len))
            return false;
        step->role = role ? role->role : ROLE_NONE;
        step->field = role ? role->field : 0;
        s->count++;
        at = n->text + n->text_len;
    }
    return add_literal(s, at, object->text + object->text_len, &s->tail, &s->tail_len);
}

static bool has_role(const struct shape *s, enum role role)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->steps[i].role == role)
            return true;
    return false;
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
    return a->count == b->count && a->text_len == b->text_len && memcmp(a->text, b->text, a->text_len) == 0 &&
           memcmp(a->steps, b->steps, a->count * sizeof a->steps[0]) == 0;
}

void shapes_learn(struct shapes *shapes, enum tsn_input_type type, const struct tsn_json_node *object, const char *data,
                  size_t len)
{
    const struct role_name *roles = roles_of(type);
    struct shape *s;

    shapes->slow++;
    if (!roles || object->kind != TSN_JSON_OBJECT || object->count > MAX_MEMBERS || (shapes->slow > RELEARN && shapes->slow % RELEARN))
        return;
    s = tsn_calloc(1, sizeof *s);
    if (!build(s, roles, object, data, len) || (type == TSN_INPUT_METRICS && !has_role(s, ROLE_NAME))) {
        tsn_free(s);
        return;
    }
    for (uint32_t i = 0; i < shapes->count; i++)
        if (same_shape(s, shapes->items[i])) {
            tsn_free(s);
            return;
        }
    if (shapes->count == MAX_SHAPES)
        tsn_free(shapes->items[--shapes->count]);
    shapes->items[shapes->count++] = s;
}

/* ---- scanning ----------------------------------------------------------------------------- */

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* The first byte is the lowest one on every machine. */
static inline uint64_t load8(const char *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* The high bit of each zero byte; bits above the first zero byte may be wrong, which is enough to find the first. */
static inline uint64_t zero_bytes(uint64_t v)
{
    return (v - ONES) & ~v & HIGHS;
}

/* The lowest byte of a mask of high bits, as its index. */
static inline unsigned first_byte(uint64_t mask)
{
    return (unsigned)__builtin_ctzll(mask) / 8;
}

/* Up to the closing quote, byte by byte. NULL: an escape, a control character or the end. */
static const char *scan_bytes(const char *at, const char *end, bool *high)
{
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;

        if (c == '"')
            return at;
        if (c == '\\' || c < 0x20)
            return NULL;
        *high |= c >= 0x80;
    }
    return NULL;
}

/*
 * Up to the closing quote. NULL: an escape, a control character or the end; *high: some byte is not ASCII. Sixteen bytes at a time where the
 * processor has SSE2, else eight in a word; most keys and values of labels end in the first. Behind the first byte that ends the text nothing counts.
 */
static inline const char *scan_string(const char *at, const char *end, bool *high)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"'), backs = _mm_set1_epi8('\\'), last_control = _mm_set1_epi8(0x1f);

    for (; end - at >= 16; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        __m128i ends = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quotes), _mm_cmpeq_epi8(v, backs)), control);
        unsigned stop = (unsigned)_mm_movemask_epi8(ends), above = (unsigned)_mm_movemask_epi8(v);

        if (stop) {
            *high |= (above & (stop ^ (stop - 1))) != 0;
            at += __builtin_ctz(stop);
            return *at == '"' ? at : NULL;
        }
        *high |= above != 0;
    }
#endif
    for (; end - at >= 8; at += 8) {
        uint64_t v = load8(at);
        uint64_t ends = zero_bytes(v ^ ONES * '"') | zero_bytes(v ^ ONES * '\\') | ((v - ONES * 0x20) & ~v & HIGHS);

        if (ends) {
            *high |= (v & HIGHS & (ends ^ (ends - 1))) != 0;
            at += first_byte(ends);
            return *at == '"' ? at : NULL;
        }
        *high |= (v & HIGHS) != 0;
    }
    return scan_bytes(at, end, high);
}

static inline bool same_bytes(const char *a, const char *b, size_t len)
{
    for (; len >= 8; a += 8, b += 8, len -= 8)
        if (load8(a) != load8(b))
            return false;
    for (; len; a++, b++, len--)
        if (*a != *b)
            return false;
    return true;
}

/* Behind an object of strings only, of ASCII or valid UTF-8; NULL if it is anything else. `at` is at the brace. */
static const char *scan_labels(const char *at, const char *end)
{
    const char *start = at;
    bool high = false;
    char before = '{'; /* what stood before the next string: { : or , */

    if (at == end || *at++ != '{')
        return NULL;
    for (;;) {
        while (at < end && *at == ' ')
            at++;
        if (at < end && *at == '}' && before == '{')
            break;
        if (at == end || *at != '"' || !(at = scan_string(at + 1, end, &high)))
            return NULL;
        at++;
        while (at < end && *at == ' ')
            at++;
        if (at == end)
            return NULL;
        if (before == ':' ? (*at != ',' && *at != '}') : *at != ':')
            return NULL;
        if (*at == '}')
            break;
        before = *at++;
    }
    at++;
    return high && !tsn_utf8_valid(start, (size_t)(at - start)) ? NULL : at;
}

/* Exact powers: a product or quotient of two exact doubles is rounded once, so it is the nearest. */
static const double powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static inline bool eight_digits(uint64_t v)
{
    return ((v & ONES * 0xf0) | ((v + ONES * 6) & ONES * 0xf0) >> 4) == ONES * 0x33;
}

/* Pairs, then pairs of pairs, then those: eight digits as a number. */
static inline uint64_t eight_digits_value(uint64_t v)
{
    v = (v & ONES * 0x0f) * (1 + (10 << 8)) >> 8;
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * (1 + (UINT64_C(100) << 16)) >> 16;
    return (v & UINT64_C(0x0000ffff0000ffff)) * (1 + (UINT64_C(10000) << 32)) >> 32;
}

static const char *scan_digits(const char *at, const char *end, uint64_t *digits)
{
    for (uint64_t v; end - at >= 8 && eight_digits(v = load8(at)); at += 8)
        *digits = *digits * 100000000 + eight_digits_value(v);
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        *digits = *digits * 10 + (uint64_t)(*at - '0');
    return at;
}

/* Behind an exponent, or `at` if there is none; NULL: malformed. */
static const char *scan_exponent(const char *at, const char *end)
{
    const char *first;
    uint64_t ignored = 0;

    if (at == end || (*at | 0x20) != 'e')
        return at;
    at++;
    if (at < end && (*at == '+' || *at == '-'))
        at++;
    first = at;
    at = scan_digits(at, end, &ignored);
    return at > first ? at : NULL;
}

/* A JSON number from `at`; returns behind it, NULL if it is none. *whole: its value if it is a plain whole one ≥ 0, else -1. */
static const char *scan_number(const char *at, const char *end, double *out, int64_t *whole)
{
    const char *start = at, *first, *point = NULL, *behind;
    uint64_t digits = 0;

    at += at < end && *at == '-';
    first = at;
    at = scan_digits(at, end, &digits);
    if (at == first || (at - first > 1 && *first == '0'))
        return NULL;
    if (at < end && *at == '.') {
        point = at + 1;
        at = scan_digits(point, end, &digits);
        if (at == point)
            return NULL;
    }
    behind = scan_exponent(at, end);
    if (!behind)
        return NULL;
    *whole = -1;
    if (behind != at || at - first > 17 || digits >= UINT64_C(1) << 53)
        return tsn_parse_double(start, (size_t)(behind - start), out) ? behind : NULL;
    *out = point ? (double)digits / powers[at - point] : (double)digits;
    if (first > start)
        *out = -*out;
    else if (!point)
        *whole = (int64_t)digits;
    return at;
}

static const char *scan_number_text(const char *at, const char *end, double *out)
{
    int64_t whole;
    const char *behind = scan_number(at, end, out, &whole);

    return behind == end || tsn_parse_double(at, (size_t)(end - at), out) ? end : NULL;
}

static int two_digits(const char *at)
{
    unsigned tens = (unsigned)(at[0] - '0'), ones = (unsigned)(at[1] - '0');

    return tens > 9 || ones > 9 ? -1 : (int)(tens * 10 + ones);
}

/* RFC 3339, most often in the minute of the one before and in UTC. */
static bool scan_time_text(struct shapes *s, const char *text, size_t len, int64_t *ms)
{
    bool usual = (len == 20 || (len == 24 && text[19] == '.')) && text[len - 1] == 'Z';

    if (usual && memcmp(text, s->minute, sizeof s->minute) == 0) {
        int second = two_digits(text + 17), tenths = len == 24 ? two_digits(text + 20) : 0;
        unsigned last = len == 24 ? (unsigned)(text[22] - '0') : 0;

        if (second >= 0 && second < 60 && tenths >= 0 && last <= 9) {
            *ms = s->minute_ms + second * 1000 + tenths * 10 + (int)last;
            return true;
        }
    }
    if (!tsn_parse_rfc3339(text, len, ms))
        return tsn_parse_i64(text, len, ms) && *ms > -(INT64_C(1) << 53) && *ms < INT64_C(1) << 53;
    if (usual && memcmp(text + 17, "60", 2) != 0) {
        memcpy(s->minute, text, sizeof s->minute);
        s->minute_ms = floor_to(*ms, 60000);
    }
    return true;
}

/* ---- one event ---------------------------------------------------------------------------- */

static bool string_role(struct shapes *shapes, const struct step *step, struct event *e, const char *text, size_t len)
{
    switch ((enum role)step->role) {
    case ROLE_FIELD: e->field[step->field] = (struct span){ text, len }; return true;
    case ROLE_NAME: e->name = (struct span){ text, len }; return len > 0;
    case ROLE_TIME: return scan_time_text(shapes, text, len, &e->ts_ms);
    case ROLE_VALUE:
    case ROLE_MS: /* NaN stands for absent here; the exact path knows which it is */
        return scan_number_text(text, text + len, &e->value) && !isnan(e->value);
    case ROLE_KIND:
        e->kind = len == 5 && memcmp(text, "gauge", 5) == 0     ? TSN_GAUGE
                  : len == 7 && memcmp(text, "counter", 7) == 0 ? TSN_COUNTER
                  : len == 5 && memcmp(text, "delta", 5) == 0   ? TSN_DELTA
                                                                : -2;
        return e->kind != -2;
    case ROLE_PATTERNS: return false;
    case ROLE_LABELS: return false;
    case ROLE_NONE:
    default: return true;
    }
}

static bool number_role(const struct step *step, struct event *e, double value, int64_t whole)
{
    switch ((enum role)step->role) {
    case ROLE_TIME: e->ts_ms = whole; return whole >= 0;
    case ROLE_VALUE:
    case ROLE_MS: e->value = value; return true;
    case ROLE_PATTERNS: e->patterns = value; return true;
    case ROLE_NONE: return true;
    case ROLE_NAME:
    case ROLE_LABELS:
    case ROLE_KIND:
    case ROLE_FIELD:
    default: return false;
    }
}

/* Behind the value, NULL: not of this shape. */
static const char *take_step(struct shapes *shapes, const struct step *step, const char *at, const char *end,
                             struct event *e)
{
    const char *close;
    bool high = false;
    double value;
    int64_t whole;

    switch ((enum value_type)step->type) {
    case VALUE_STRING:
        close = scan_string(at, end, &high);
        if (!close || (high && !tsn_utf8_valid(at, (size_t)(close - at))) ||
            !string_role(shapes, step, e, at, (size_t)(close - at)))
            return NULL;
        return close;
    case VALUE_NUMBER:
        close = scan_number(at, end, &value, &whole);
        return close && number_role(step, e, value, whole) ? close : NULL;
    case VALUE_LABELS:
    default:
        close = scan_labels(at, end);
        if (close)
            e->raw_labels = (struct span){ at, (size_t)(close - at) };
        return close;
    }
}

static const char *match(struct shapes *shapes, const struct shape *s, const char *at, const char *end, struct event *e)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const struct step *step = &s->steps[i];

        if ((size_t)(end - at) < step->literal_len || !same_bytes(at, s->text + step->literal, step->literal_len))
            return NULL;
        at = take_step(shapes, step, at + step->literal_len, end, e);
        if (!at)
            return NULL;
    }
    if ((size_t)(end - at) < s->tail_len || !same_bytes(at, s->text + s->tail, s->tail_len))
        return NULL;
    return at + s->tail_len;
}

/* Checks that the exact path makes of whole events. */
static bool acceptable(enum tsn_input_type type, const struct event *e)
{
    const struct span *status = &e->field[F_STATUS];

    if (e->ts_ms == TSN_TIME_NONE)
        return false;
    switch (type) {
    case TSN_INPUT_METRICS: return !isnan(e->value) && e->name.data != NULL;
    case TSN_INPUT_LOGS: return e->field[F_MESSAGE].data != NULL;
    case TSN_INPUT_HOOKS:
        return status->data && ((status->len == 7 && memcmp(status->data, "success", 7) == 0) ||
                                (status->len == 5 && memcmp(status->data, "error", 5) == 0));
    case TSN_INPUT_MAPPED:
    default: return false;
    }
}

static const char *take_one(struct tsn_ingest *in, struct shapes *shapes, enum tsn_input_type type, const char *at,
                            const char *end)
{
    for (uint32_t i = 0; i < shapes->count; i++) {
        struct event e = { .kind = -1, .ts_ms = TSN_TIME_NONE, .value = NAN };
        struct shape *s = shapes->items[i];
        const char *behind = match(shapes, s, at, end, &e);

        if (!behind)
            continue;
        if (i) { /* towards the front, one place at a time */
            shapes->items[i] = shapes->items[i - 1];
            shapes->items[i - 1] = s;
        }
        return acceptable(type, &e) && event_take(in, type, &e) ? behind : NULL;
    }
    return NULL;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

bool shapes_take(struct tsn_ingest *in, struct shapes *shapes, enum tsn_input_type type, const char *data, size_t len)
{
    const char *at = data, *end = data + len;

    if (!shapes->count || !len)
        return false;
    if (*at == '{') {
        at = take_one(in, shapes, type, at, end);
        return at && skip_blanks(at, end) == end;
    }
    if (*at != '[')
        return false;
    do {
        at = take_one(in, shapes, type, skip_blanks(at + 1, end), end);
        if (!at)
            return false;
        at = skip_blanks(at, end);
    } while (at < end && *at == ',');
    return at < end && *at == ']' && skip_blanks(at + 1, end) == end;
}
