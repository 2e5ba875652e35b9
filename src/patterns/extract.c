/*
 * extract: a log event's fields out of one line: JSON, logfmt, syslog RFC 5424, or plain.
 *
 * Made for lines as they lie in files and in plain topics; the JSON of `bridge.logs` has its own fast decoder in
 * ingest. Unknown keys are passed over. What does not parse to its end is plain text, and the whole line is the message:
 * nothing is dropped and nothing half-read. Texts without escapes are borrowed from the line.
 */
#include "patterns/chars.h"
#include "patterns/plain.h"

#include <string.h>

#define DEPTH_MAX 64 /* of nested JSON that is passed over */

enum field { F_NONE, F_SERVICE, F_ENVIRONMENT, F_LEVEL, F_LOGGER, F_MESSAGE, F_ERROR_TYPE, F_ERROR_MESSAGE, F_HOST, F_TIME };

/* Keys in use: the platform's own (first of each), then those of common log libraries. */
static const struct {
    const char *name;
    enum field field;
} keys[] = {
    { "message", F_MESSAGE },       { "msg", F_MESSAGE },          { "log", F_MESSAGE },
    { "level", F_LEVEL },           { "severity", F_LEVEL },       { "lvl", F_LEVEL },
    { "levelname", F_LEVEL },       { "log.level", F_LEVEL },      { "service", F_SERVICE },
    { "service.name", F_SERVICE },  { "app", F_SERVICE },          { "logger", F_LOGGER },
    { "logger_name", F_LOGGER },    { "log.logger", F_LOGGER },    { "caller", F_LOGGER },
    { "timestamp", F_TIME },        { "time", F_TIME },            { "ts", F_TIME },
    { "@timestamp", F_TIME },       { "error_type", F_ERROR_TYPE }, { "error_message", F_ERROR_MESSAGE },
    { "environment", F_ENVIRONMENT }, { "env", F_ENVIRONMENT },    { "deployment.environment", F_ENVIRONMENT },
    { "host", F_HOST },             { "hostname", F_HOST },
};

static enum field field_of(const char *key, size_t len)
{
    for (size_t i = 0; i < TSN_ARRAY_LEN(keys); i++)
        if (strlen(keys[i].name) == len && memcmp(keys[i].name, key, len) == 0)
            return keys[i].field;
    return F_NONE;
}

/* Numbers are seconds or milliseconds, by size; texts RFC 3339, perhaps with a blank for the T. */
static int64_t time_of(struct tsn_text t)
{
    char copy[40];
    int64_t ms;
    double number;

    if (tsn_parse_double(t.data, t.len, &number) && number > 0 && number < 1e16)
        return number < 1e11 ? (int64_t)(number * 1000) : number < 1e14 ? (int64_t)number : (int64_t)(number / 1000);
    if (t.len < 19 || t.len >= sizeof copy - 1)
        return TSN_TIME_NONE;
    memcpy(copy, t.data, t.len);
    if (copy[10] == ' ')
        copy[10] = 'T';
    for (size_t i = 19; i < t.len; i++)
        if (copy[i] == ',')
            copy[i] = '.';
    if (tsn_parse_rfc3339(copy, t.len, &ms))
        return ms;
    copy[t.len] = 'Z';
    return tsn_parse_rfc3339(copy, t.len + 1, &ms) ? ms : TSN_TIME_NONE;
}

/* The first value of a field stays. */
static void store(struct tsn_log_fields *out, enum field field, struct tsn_text value)
{
    struct tsn_text *to[] = { [F_SERVICE] = &out->service,       [F_ENVIRONMENT] = &out->environment, [F_LEVEL] = &out->level,
                              [F_LOGGER] = &out->logger,         [F_MESSAGE] = &out->message,
                              [F_ERROR_TYPE] = &out->error_type, [F_ERROR_MESSAGE] = &out->error_message,
                              [F_HOST] = &out->host };

    if (field == F_TIME && out->ts_ms == TSN_TIME_NONE)
        out->ts_ms = time_of(value);
    else if (field != F_NONE && field != F_TIME && !to[field]->data)
        *to[field] = value;
}

/* ---- JSON --------------------------------------------------------------------------------- */

struct json {
    const char *p, *end;
    struct tsn_buf *scratch; /* reserved for the whole line beforehand, so texts in it do not move */
};

static void skip_blank(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r' || *j->p == '\n'))
        j->p++;
}

static bool take(struct json *j, char c)
{
    skip_blank(j);
    if (j->p == j->end || *j->p != c)
        return false;
    j->p++;
    return true;
}

static bool hex4(const char *p, const char *end, uint32_t *out)
{
    uint32_t v = 0;

    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = p[i];

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

/* Behind the backslash. Surrogates pair up, or become U+FFFD. */
static bool unescape(struct json *j)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at;
    uint32_t code, low;
    char utf8[4];

    if (j->p == j->end)
        return false;
    if (*j->p != 'u') {
        at = memchr(from, *j->p, sizeof from - 1);
        if (!at)
            return false;
        tsn_buf_putc(j->scratch, to[at - from]);
        j->p++;
        return true;
    }
    if (!hex4(j->p + 1, j->end, &code))
        return false;
    j->p += 5;
    if (code >= 0xd800 && code < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u' &&
        hex4(j->p + 2, j->end, &low) && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        j->p += 6;
    } else if (code >= 0xd800 && code < 0xe000) {
        code = 0xfffd;
    }
    tsn_buf_append(j->scratch, utf8, tsn_utf8_encode(code, utf8));
    return true;
}

static bool string(struct json *j, struct tsn_text *out)
{
    const char *start;
    size_t at;

    if (!take(j, '"'))
        return false;
    start = j->p;
    while (j->p < j->end && *j->p != '"' && *j->p != '\\')
        j->p++;
    if (j->p < j->end && *j->p == '"') {
        *out = (struct tsn_text){ start, (size_t)(j->p++ - start) };
        return true;
    }
    at = j->scratch->len;
    tsn_buf_append(j->scratch, start, (size_t)(j->p - start));
    while (j->p < j->end && *j->p != '"')
        if (*j->p == '\\') {
            j->p++;
            if (!unescape(j))
                return false;
        } else {
            tsn_buf_putc(j->scratch, *j->p++);
        }
    *out = (struct tsn_text){ j->scratch->data + at, j->scratch->len - at };
    return take(j, '"');
}

/* Passes over an object or array: brackets are counted, strings are read. */
static bool skip_nested(struct json *j)
{
    struct tsn_text ignored;
    unsigned depth = 0;

    do {
        size_t keep = j->scratch->len;

        skip_blank(j);
        if (j->p == j->end || depth > DEPTH_MAX)
            return false;
        if (*j->p == '"') {
            if (!string(j, &ignored))
                return false;
            j->scratch->len = keep;
            continue;
        }
        if (*j->p == '{' || *j->p == '[')
            depth++;
        else if (*j->p == '}' || *j->p == ']')
            depth--;
        j->p++;
    } while (depth);
    return true;
}

static bool value(struct json *j, struct tsn_text *out)
{
    skip_blank(j);
    out->data = NULL;
    if (j->p == j->end)
        return false;
    if (*j->p == '"')
        return string(j, out);
    if (*j->p == '{' || *j->p == '[')
        return skip_nested(j);
    out->data = j->p;
    while (j->p < j->end && !memchr(",}] \t\r\n", *j->p, 7))
        j->p++;
    out->len = (size_t)(j->p - out->data);
    if (out->len == 4 && memcmp(out->data, "null", 4) == 0)
        out->data = NULL;
    return j->p > out->data || !out->data;
}

static bool extract_json(const char *line, size_t len, struct tsn_log_fields *out, struct tsn_buf *scratch)
{
    struct json j = { line, line + len, scratch };
    struct tsn_text key, v;

    tsn_buf_reserve(scratch, len + 8);
    if (!take(&j, '{'))
        return false;
    if (!take(&j, '}')) {
        do {
            if (!string(&j, &key) || !take(&j, ':') || !value(&j, &v))
                return false;
            if (v.data)
                store(out, field_of(key.data, key.len), v);
        } while (take(&j, ','));
        if (!take(&j, '}'))
            return false;
    }
    skip_blank(&j);
    return j.p == j.end && (out->message.data || out->error_message.data);
}

/* ---- logfmt ------------------------------------------------------------------------------- */

static bool key_char(char c)
{
    return (tsn_chars[(uint8_t)c] & (TSN_C_ALPHA | TSN_C_DIGIT)) || c == '_' || c == '.' || c == '-' || c == '@';
}

/* key=value key="quoted \" value" …; every word must be a pair, and msg or message among them. */
static bool extract_logfmt(const char *line, size_t len, struct tsn_log_fields *out, struct tsn_buf *scratch)
{
    const char *p = line, *end = line + len;

    tsn_buf_reserve(scratch, len + 8);
    while (p < end) {
        const char *key = p;
        struct tsn_text k, v;

        if (*p == ' ') {
            p++;
            continue;
        }
        while (p < end && key_char(*p))
            p++;
        if (p == key || p == end || *p != '=')
            return false;
        k = (struct tsn_text){ key, (size_t)(p++ - key) };
        if (p < end && *p == '"') {
            struct json j = { p, end, scratch };

            if (!string(&j, &v))
                return false;
            p = j.p;
            if (p < end && *p != ' ')
                return false;
        } else {
            v.data = p;
            while (p < end && *p != ' ')
                p++;
            v.len = (size_t)(p - v.data);
        }
        store(out, field_of(k.data, k.len), v);
    }
    return out->message.data != NULL;
}

/* ---- syslog, RFC 5424 --------------------------------------------------------------------- */

static bool syslog_word(const char **p, const char *end, struct tsn_text *out)
{
    const char *start = *p, *space = memchr(start, ' ', (size_t)(end - start));

    if (!space || space == start)
        return false;
    *out = (struct tsn_text){ start, (size_t)(space - start) };
    *p = space + 1;
    if (out->len == 1 && *start == '-')
        out->data = NULL;
    return true;
}

/* [id name="value" …]…, or "-". A ']' inside a value is escaped. */
static bool syslog_structured(const char **p, const char *end)
{
    const char *q = *p;

    if (q < end && *q == '-') {
        *p = q + 1;
        return true;
    }
    if (q == end || *q != '[')
        return false;
    while (q < end && *q == '[') {
        while (q < end && *q != ']')
            q += *q == '\\' && q + 1 < end ? 2 : 1;
        if (q == end)
            return false;
        q++;
    }
    *p = q;
    return true;
}

/* "<PRI>1 TIME HOST APP PROCID MSGID SD MSG". Severity is PRI mod 8. */
static bool extract_syslog(const char *line, size_t len, struct tsn_log_fields *out)
{
    static const char *const levels[] = { "FATAL", "FATAL", "FATAL", "ERROR", "WARN", "INFO", "INFO", "DEBUG" };
    const char *p = line, *end = line + len, *close = memchr(line, '>', len < 5 ? len : 5);
    struct tsn_text time, host, app, skip;
    int64_t pri;

    if (!close || *line != '<' || !tsn_parse_i64(line + 1, (size_t)(close - line - 1), &pri) || pri < 0 || pri > 191)
        return false;
    p = close + 1;
    if (end - p < 2 || p[0] != '1' || p[1] != ' ')
        return false;
    p += 2;
    if (!syslog_word(&p, end, &time) || !syslog_word(&p, end, &host) || !syslog_word(&p, end, &app) ||
        !syslog_word(&p, end, &skip) || !syslog_word(&p, end, &skip) || !syslog_structured(&p, end))
        return false;
    if (p < end && *p == ' ')
        p++;
    if (end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        p += 3;
    out->message = (struct tsn_text){ p, (size_t)(end - p) };
    out->level = (struct tsn_text){ levels[pri % 8], strlen(levels[pri % 8]) };
    out->host = host;
    out->service = app;
    if (time.data)
        out->ts_ms = time_of(time);
    return true;
}

enum tsn_log_format tsn_log_extract(const char *line, size_t len, struct tsn_log_fields *out, struct tsn_buf *scratch)
{
    enum tsn_log_format format = TSN_LOG_FORMAT_PLAIN;

    tsn_buf_reset(scratch);
    memset(out, 0, sizeof *out);
    out->ts_ms = TSN_TIME_NONE;
    if (len && *line == '{' && extract_json(line, len, out, scratch))
        format = TSN_LOG_FORMAT_JSON;
    else if (len && *line == '<' && extract_syslog(line, len, out))
        format = TSN_LOG_FORMAT_SYSLOG;
    else if (len && key_char(*line)) {
        memset(out, 0, sizeof *out);
        out->ts_ms = TSN_TIME_NONE;
        if (extract_logfmt(line, len, out, scratch))
            format = TSN_LOG_FORMAT_LOGFMT;
    }
    if (format == TSN_LOG_FORMAT_PLAIN) {
        memset(out, 0, sizeof *out);
        out->ts_ms = TSN_TIME_NONE;
        tsn_log_extract_plain(line, len, out);
    }
    if (!out->message.data)
        out->message = out->error_message;
    return format;
}

const char *tsn_log_level_normal(const char *text, size_t len)
{
    static const char *const spellings[][2] = {
        { "debug", "DEBUG" },   { "trace", "DEBUG" },     { "verbose", "DEBUG" }, { "fine", "DEBUG" },
        { "d", "DEBUG" },       { "v", "DEBUG" },         { "dbg", "DEBUG" },     { "7", "DEBUG" },
        { "info", "INFO" },     { "information", "INFO" }, { "notice", "INFO" },  { "i", "INFO" },
        { "6", "INFO" },        { "5", "INFO" },          { "inf", "INFO" },      { "warn", "WARN" },
        { "warning", "WARN" },  { "w", "WARN" },          { "wrn", "WARN" },      { "4", "WARN" },
        { "error", "ERROR" },   { "err", "ERROR" },       { "e", "ERROR" },       { "3", "ERROR" },
        { "severe", "ERROR" },  { "fatal", "FATAL" },     { "critical", "FATAL" }, { "crit", "FATAL" },
        { "alert", "FATAL" },   { "emerg", "FATAL" },     { "emergency", "FATAL" }, { "panic", "FATAL" },
        { "f", "FATAL" },       { "c", "FATAL" },         { "2", "FATAL" },       { "1", "FATAL" },
        { "0", "FATAL" },
    };

    for (size_t i = 0; i < TSN_ARRAY_LEN(spellings); i++)
        if (strlen(spellings[i][0]) == len && strncasecmp(spellings[i][0], text, len) == 0)
            return spellings[i][1];
    return "";
}
