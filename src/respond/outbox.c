/*
 * outbox: marks and outbox entries as text. See tocsin/respond_record.h.
 *
 * Both are one line of words in a fixed order, so that a person with redis-cli or kcat can read them:
 *
 *     v=1 run=0a… generation=5 cursor=1234 alerts=10 commands=-1 clock=1700000000000
 *     1 event last 10 -1 1700000000000 inc-0a… 3 escalated 1700000000000⏎{"format":1,…
 */
#include "tocsin/respond_record.h"

#include <string.h>

/* ---- words -------------------------------------------------------------------------------- */

struct words {
    const char *at, *end;
};

/* The next word, single blanks between; false at the end or at an empty word. */
static bool next_word(struct words *w, const char **text, size_t *len)
{
    const char *blank;

    if (w->at >= w->end)
        return false;
    blank = memchr(w->at, ' ', (size_t)(w->end - w->at));
    *text = w->at;
    *len = (size_t)((blank ? blank : w->end) - w->at);
    w->at = blank ? blank + 1 : w->end;
    return *len > 0;
}

static bool word_is(const char *text, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(text, want, len) == 0;
}

static bool next_number(struct words *w, int64_t *out)
{
    const char *text;
    size_t len;

    return next_word(w, &text, &len) && tsn_parse_i64(text, len, out);
}

/* The value of the next word, which must be name=value. */
static bool next_value(struct words *w, const char *name, const char **text, size_t *len)
{
    size_t n = strlen(name);

    if (!next_word(w, text, len) || *len <= n + 1 || memcmp(*text, name, n) != 0 || (*text)[n] != '=')
        return false;
    *text += n + 1;
    *len -= n + 1;
    return true;
}

static bool next_value_number(struct words *w, const char *name, int64_t min, int64_t *out)
{
    const char *text;
    size_t len;

    return next_value(w, name, &text, &len) && tsn_parse_i64(text, len, out) && *out >= min;
}

/* ---- mark --------------------------------------------------------------------------------- */

void tsn_respond_mark_format(char out[TSN_RESPOND_MARK_TEXT], const struct tsn_respond_mark *m)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_printf(&text, "v=%d run=%s generation=%lld cursor=%lld alerts=%lld commands=%lld clock=%lld",
                   TSN_FORMAT_VERSION, m->run, (long long)m->generation, (long long)m->cursor,
                   (long long)m->position.alerts, (long long)m->position.commands, (long long)m->position.clock_ms);
    TSN_ASSERT(text.len < TSN_RESPOND_MARK_TEXT);
    memcpy(out, text.data, text.len + 1);
    tsn_buf_release(&text);
}

static bool get_run(struct words *w, char run[TSN_RESPOND_RUN_TEXT])
{
    const char *text;
    size_t len;

    if (!next_value(w, "run", &text, &len) || len != TSN_RESPOND_RUN_TEXT - 1)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr("0123456789abcdef", text[i]) || !text[i])
            return false;
    memcpy(run, text, len);
    run[len] = '\0';
    return true;
}

enum tsn_err tsn_respond_mark_parse(const char *text, size_t len, struct tsn_respond_mark *m, struct tsn_error *error)
{
    struct words w = { text, text + len };
    int64_t version;

    memset(m, 0, sizeof *m);
    if (!next_value_number(&w, "v", 1, &version))
        return tsn_error_set(error, TSN_ERR_INVALID, "mark: it does not begin with v=1");
    if (version > TSN_FORMAT_VERSION)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED, "mark of format %lld, this program reads up to %d: upgrade it",
                             (long long)version, TSN_FORMAT_VERSION);
    if (!get_run(&w, m->run) || !next_value_number(&w, "generation", 1, &m->generation) ||
        !next_value_number(&w, "cursor", 0, &m->cursor) || !next_value_number(&w, "alerts", -1, &m->position.alerts) ||
        !next_value_number(&w, "commands", -1, &m->position.commands) ||
        !next_value_number(&w, "clock", INT64_MIN, &m->position.clock_ms) || w.at < w.end)
        return tsn_error_set(error, TSN_ERR_INVALID, "mark: not the words run generation cursor alerts commands clock");
    return TSN_OK;
}

/* ---- entry -------------------------------------------------------------------------------- */

static const char *const kind_names[] = { "event", "snapshot", "tombstone" };

void tsn_outbox_entry_encode(const struct tsn_outbox_entry *e, struct tsn_buf *out)
{
    tsn_buf_printf(out, "%d %s %s %lld %lld %lld %s %lld %s %lld\n", TSN_FORMAT_VERSION, kind_names[e->kind],
                   e->last ? "last" : "more", (long long)e->position.alerts, (long long)e->position.commands,
                   (long long)e->position.clock_ms, e->incident_id, (long long)e->seq,
                   e->kind == TSN_OUTBOX_EVENT ? tsn_incident_event_type_name(e->type) : "-",
                   e->kind == TSN_OUTBOX_EVENT ? (long long)e->event_time_ms : 0LL);
    if (e->len)
        tsn_buf_append(out, e->value, e->len);
}

static bool get_kind(struct words *w, enum tsn_outbox_kind *kind)
{
    const char *text;
    size_t len;

    if (!next_word(w, &text, &len))
        return false;
    for (size_t i = 0; i < TSN_ARRAY_LEN(kind_names); i++)
        if (word_is(text, len, kind_names[i])) {
            *kind = (enum tsn_outbox_kind)i;
            return true;
        }
    return false;
}

static bool get_last(struct words *w, bool *last)
{
    const char *text;
    size_t len;

    if (!next_word(w, &text, &len))
        return false;
    *last = word_is(text, len, "last");
    return *last || word_is(text, len, "more");
}

static bool get_id(struct words *w, char *out, size_t size)
{
    const char *text;
    size_t len;

    if (!next_word(w, &text, &len) || len >= size || memchr(text, '\0', len))
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

static bool get_type(struct words *w, struct tsn_outbox_entry *e)
{
    const char *text;
    char name[32];
    size_t len;

    if (!next_word(w, &text, &len) || len >= sizeof name)
        return false;
    memcpy(name, text, len);
    name[len] = '\0';
    return e->kind == TSN_OUTBOX_EVENT ? tsn_incident_event_type_parse(name, &e->type) : strcmp(name, "-") == 0;
}

enum tsn_err tsn_outbox_entry_decode(const void *data, size_t len, struct tsn_outbox_entry *e, struct tsn_error *error)
{
    const char *text = data, *newline = len ? memchr(text, '\n', len) : NULL;
    struct words w = { text, newline };
    int64_t version;

    memset(e, 0, sizeof *e);
    if (!newline || !next_number(&w, &version) || version < 1)
        return tsn_error_set(error, TSN_ERR_INVALID, "outbox entry: no format number");
    if (version > TSN_FORMAT_VERSION)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED,
                             "outbox entry of format %lld, this program reads up to %d: upgrade it", (long long)version,
                             TSN_FORMAT_VERSION);
    if (!get_kind(&w, &e->kind) || !get_last(&w, &e->last) || !next_number(&w, &e->position.alerts) ||
        !next_number(&w, &e->position.commands) || !next_number(&w, &e->position.clock_ms) ||
        !get_id(&w, e->incident_id, sizeof e->incident_id) || !next_number(&w, &e->seq) || !get_type(&w, e) ||
        !next_number(&w, &e->event_time_ms) || w.at < w.end)
        return tsn_error_set(error, TSN_ERR_INVALID, "outbox entry: its first line is not what it should be");
    e->value = newline + 1;
    e->len = (size_t)(text + len - e->value);
    if ((e->len == 0) != (e->kind == TSN_OUTBOX_TOMBSTONE))
        return tsn_error_set(error, TSN_ERR_INVALID, "outbox entry %s of %s: %s", kind_names[e->kind], e->incident_id,
                             e->len ? "a tombstone has no value" : "its value is empty");
    return TSN_OK;
}
