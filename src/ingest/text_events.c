/*
 * text_events: records that are text → log events.
 *
 * A record is a line, or several: plain text, logfmt, syslog (RFC 5424, and the older form) or JSON under other names than the
 * platform's. Which it is says its shape (tsn_log_extract). A stack trace may lie in one record or in one for each line; either way
 * it is one event, so the newest text record of a partition is HELD until the next one is seen not to continue it, or
 * the partition is proved empty. A held record is not taken: the committed offset stays before it and the watermark does not move, so
 * a crash reads it again and counts once. What continues it must have its key, so that two producers' lines do not mix.
 *
 *     record k     "ERROR no route"           held
 *     record k+1   "java.lang.XError: …"      continues: held with it
 *     record k+2   "\tat a.B.c(B.java:1)"     continues
 *     record k+3   "INFO next"                takes k … k+2 as one event; held
 *
 * The time is the text's if it names its zone, else the record's. Bytes that are no UTF-8 become '?'. Nothing is refused but for
 * its time. Limits: TSN_JOIN_LINES lines an event; beyond HELD_BYTES what continues is counted with the event, but not kept.
 */
#include "ingest/text_events.h"

#include <string.h>

enum { HELD_BYTES = 256 << 10, KEPT_BYTES = 16 << 10 /* of a buffer, for the next */ };

struct held {
    struct tsn_buf text;
    struct tsn_buf key;
    bool keyed;
    size_t input;
    int64_t offset, next_offset, timestamp_ms; /* of the first; behind the last */
    uint64_t records;
    struct tsn_join join;
};

bool text_wanted(const struct tsn_ingest *in, const struct tsn_ingest_record *r)
{
    const struct tsn_input_config *input = &in->config->inputs.items[r->input];
    const char *p = r->value, *end = p + r->value_len;

    if (input->type != TSN_INPUT_LOGS || !r->value_len)
        return false;
    if (input->format != TSN_FORMAT_AUTO || *p == '\0') /* Confluent's framing begins with 0 */
        return input->format == TSN_FORMAT_TEXT;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p < end && *p != '{' && *p != '[';
}

/* ---- holding ------------------------------------------------------------------------------ */

/* Appends with '?' for what is no UTF-8, without the line end behind it. */
static void append(struct tsn_buf *to, const char *text, size_t len)
{
    size_t at = to->len;

    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    tsn_buf_append(to, text, len);
    while (at < to->len) {
        at += tsn_utf8_valid_prefix(to->data + at, to->len - at);
        if (at < to->len)
            to->data[at++] = '?';
    }
}

/* The next line of [*p, end); false at the end. */
static bool next_line(const char **p, const char *end, struct tsn_text *line)
{
    const char *newline;

    if (*p >= end)
        return false;
    newline = memchr(*p, '\n', (size_t)(end - *p));
    *line = (struct tsn_text){ *p, (size_t)((newline ? newline : end) - *p) };
    *p = newline ? newline + 1 : end;
    return true;
}

static void join_all(struct tsn_join *join, const char *p, const char *end)
{
    struct tsn_text line;

    while (next_line(&p, end, &line))
        tsn_join_continues(join, line.data, line.len);
}

bool text_holds(const struct part *part, int64_t offset)
{
    return part->held && part->held->records && offset < part->held->next_offset;
}

void text_hold(struct part *part, const struct tsn_ingest_record *r)
{
    struct held *h = part->held;

    if (!h)
        h = part->held = tsn_calloc(1, sizeof *h);
    tsn_buf_reset(&h->text);
    append(&h->text, r->value, r->value_len);
    tsn_buf_reset(&h->key);
    h->keyed = r->key != NULL;
    if (h->keyed)
        tsn_buf_append(&h->key, r->key, r->key_len);
    h->input = r->input;
    h->offset = r->offset;
    h->next_offset = r->offset + 1;
    h->timestamp_ms = r->timestamp_ms;
    h->records = 1;
    h->join = (struct tsn_join){ .strict = false };
    join_all(&h->join, h->text.data, h->text.data + h->text.len);
}

bool text_continues(const struct tsn_ingest *in, struct part *part, const struct tsn_ingest_record *r)
{
    struct held *h = part->held;
    struct tsn_join join;
    struct tsn_text line;
    const char *p = r->value, *end = p + r->value_len;

    if (!h || !h->records || h->keyed != (r->key != NULL) || (h->keyed && (r->key_len != h->key.len || memcmp(r->key, h->key.data, r->key_len) != 0)) ||
        !text_wanted(in, r) || !next_line(&p, end, &line))
        return false;
    join = h->join;
    if (!tsn_join_continues(&join, line.data, line.len))
        return false;
    join_all(&join, p, end);
    h->join = join;
    h->next_offset = r->offset + 1;
    h->records++;
    if (h->text.len + r->value_len > HELD_BYTES)
        return true;
    tsn_buf_putc(&h->text, '\n');
    append(&h->text, r->value, r->value_len);
    return true;
}

bool text_held(const struct part *part, struct tsn_ingest_record *r, int64_t *next_offset, uint64_t *records)
{
    struct held *h = part->held;

    if (!h || !h->records)
        return false;
    *r = (struct tsn_ingest_record){ .input = h->input, .partition = part->partition, .offset = h->offset,
                                     .timestamp_ms = h->timestamp_ms, .key = h->keyed ? tsn_buf_str(&h->key) : NULL,
                                     .key_len = h->key.len, .value = tsn_buf_str(&h->text), .value_len = h->text.len };
    *next_offset = h->next_offset;
    *records = h->records;
    return true;
}

void text_taken(struct part *part)
{
    struct held *h = part->held;

    h->records = 0;
    if (h->text.cap > KEPT_BYTES)
        tsn_buf_release(&h->text);
}

void text_drop(struct part *part)
{
    struct held *h = part->held;

    if (!h)
        return;
    tsn_buf_release(&h->text);
    tsn_buf_release(&h->key);
    tsn_free(h);
    part->held = NULL;
}

/* ---- events ------------------------------------------------------------------------------- */

/* Texts that were unescaped lie in the scratch, which the next event overwrites: they are kept for the record. */
static struct span kept(struct tsn_ingest *in, const struct tsn_text *t)
{
    const char *scratch = in->unescaped.data;

    if (!t->len)
        return (struct span){ t->data, 0 };
    if (scratch && t->data >= scratch && t->data < scratch + in->unescaped.len)
        return (struct span){ tsn_arena_strndup(&in->text_arena, t->data, t->len), t->len };
    return (struct span){ t->data, t->len };
}

static struct span level_of(struct tsn_ingest *in, const struct tsn_text *t)
{
    const char *normal = t->data ? tsn_log_level_normal(t->data, t->len) : "";

    return *normal ? (struct span){ normal, strlen(normal) } : kept(in, t);
}

/* "file.go:123": where in the file is no part of the logger's name. */
static struct span logger_of(struct tsn_ingest *in, struct tsn_text t)
{
    size_t n = t.len;

    while (n && t.data[n - 1] >= '0' && t.data[n - 1] <= '9')
        n--;
    if (n > 1 && n < t.len && t.data[n - 1] == ':')
        t.len = n - 1;
    return kept(in, &t);
}

/* One event, all its lines. */
static bool take_event(struct tsn_ingest *in, const char *text, size_t len)
{
    const char *newline = memchr(text, '\n', len);
    size_t first = newline ? (size_t)(newline - text) : len;
    struct event e = { .kind = -1 };
    struct tsn_log_fields f;

    if (first && text[first - 1] == '\r')
        first--;
    if (tsn_log_extract(text, first, &f, &in->unescaped) == TSN_LOG_FORMAT_PLAIN && newline)
        f.message.len = (size_t)(text + len - f.message.data);
    e.ts_ms = f.ts_ms != TSN_TIME_NONE ? f.ts_ms : in->record_ts_ms;
    if (e.ts_ms == TSN_TIME_NONE)
        return refuse(in, "timestamp", "neither the text nor its record has a time");
    e.field[F_SERVICE] = kept(in, &f.service);
    e.field[F_ENVIRONMENT] = kept(in, &f.environment);
    e.field[F_LEVEL] = level_of(in, &f.level);
    e.field[F_LOGGER] = logger_of(in, f.logger);
    e.field[F_MESSAGE] = kept(in, &f.message);
    return event_take(in, TSN_INPUT_LOGS, &e);
}

static bool is_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p == end;
}

bool text_take(struct tsn_ingest *in, const struct tsn_ingest_record *r)
{
    const char *p = r->value, *end = p + r->value_len, *begin = p, *at = p;
    struct tsn_join join = { .strict = false };
    struct tsn_text line;
    bool ok = true;

    tsn_arena_reset(&in->text_arena);
    while (ok && next_line(&p, end, &line)) {
        if (!tsn_join_continues(&join, line.data, line.len) && at > begin && !is_blank(begin, at)) {
            ok = take_event(in, begin, (size_t)(at - begin) - (at[-1] == '\n'));
            begin = line.data;
        } else if (join.lines == 1) {
            begin = line.data;
        }
        at = p;
    }
    return ok && (is_blank(begin, end) || take_event(in, begin, (size_t)(end - begin)));
}

void text_release(struct tsn_ingest *in)
{
    tsn_arena_release(&in->text_arena);
    tsn_buf_release(&in->unescaped);
}
