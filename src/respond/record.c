/*
 * record: incidents, pages and answers as JSON. See tocsin/respond_record.h.
 *
 *     {"format":1,"incident":{…as events carry it…},"paged_at":[t|null ×3],"started_at":t,"floor":t,
 *      "severity_set":false,"commands":["…"]}
 *
 * Decoding refuses what the core would trip over: a severity or level used as an index, an incident without a name
 * or a group, more remembered commands than the core keeps.
 */
#include "tocsin/codec.h"
#include "tocsin/respond_record.h"

#include <string.h>

#define MAX_PEOPLE 64 /* of one level: the policy's own limit */

/* ---- writing ------------------------------------------------------------------------------ */

static void put_time(struct tsn_buf *out, int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE) {
        tsn_buf_puts(out, "null");
        return;
    }
    tsn_format_rfc3339(text, ms);
    tsn_buf_printf(out, "\"%s\"", text);
}

static void put_member(struct tsn_buf *out, const char *name, const char *text)
{
    tsn_buf_printf(out, ",\"%s\":", name);
    tsn_buf_json_string(out, text ? text : "", text ? strlen(text) : 0);
}

static void put_texts(struct tsn_buf *out, const char *name, char *const *items, size_t len)
{
    tsn_buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < len; i++) {
        if (i)
            tsn_buf_putc(out, ',');
        tsn_buf_json_string(out, items[i], strlen(items[i]));
    }
    tsn_buf_putc(out, ']');
}

void tsn_respond_incident_encode(const struct tsn_respond_incident *in, struct tsn_buf *out)
{
    tsn_buf_printf(out, "{\"format\":%d,\"incident\":", TSN_FORMAT_VERSION);
    tsn_codec_incident_encode(&in->pub, TSN_FORM_JSON, out);
    tsn_buf_puts(out, ",\"paged_at\":[");
    for (int level = 1; level <= TSN_LEVELS; level++) {
        if (level > 1)
            tsn_buf_putc(out, ',');
        put_time(out, in->paged_at_ms[level]);
    }
    tsn_buf_puts(out, "],\"started_at\":");
    put_time(out, in->started_at_ms);
    tsn_buf_puts(out, ",\"floor\":");
    put_time(out, in->floor_ms);
    tsn_buf_printf(out, ",\"severity_set\":%s", in->severity_set ? "true" : "false");
    put_texts(out, "commands", in->commands.items, in->commands.len);
    tsn_buf_putc(out, '}');
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Parses, and checks the format number. The root is then an object. */
static enum tsn_err open_object(struct tsn_json *json, const char *what, const void *data, size_t len,
                                struct tsn_error *error)
{
    enum tsn_err err = tsn_json_parse(json, data, len, error);
    int64_t format = 0;

    if (err != TSN_OK) {
        tsn_error_prefix(error, "%s", what);
        return err;
    }
    if (!tsn_json_i64(tsn_json_get(json->nodes.items, "format"), &format) || format < 1)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s: no format number", what);
    if (format > TSN_FORMAT_VERSION)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED, "%s of format %lld, this program reads up to %d: upgrade it",
                             what, (long long)format, TSN_FORMAT_VERSION);
    return TSN_OK;
}

/* Within the years 0–9999: what a timer adds to it can then not overflow. */
static bool sane_time(int64_t ms)
{
    return ms == TSN_TIME_NONE || (ms >= INT64_C(-62167219200000) && ms <= INT64_C(253402300799999));
}

static bool get_time(const struct tsn_json_node *node, int64_t *ms)
{
    *ms = TSN_TIME_NONE;
    return node && (node->kind == TSN_JSON_NULL || (tsn_json_time(node, ms) && sane_time(*ms)));
}

static bool get_bool(const struct tsn_json_node *node, bool *out)
{
    if (!node || (node->kind != TSN_JSON_TRUE && node->kind != TSN_JSON_FALSE))
        return false;
    *out = node->kind == TSN_JSON_TRUE;
    return true;
}

static bool get_texts(const struct tsn_json_node *node, size_t max, struct tsn_texts *out)
{
    if (!node || node->kind != TSN_JSON_ARRAY || node->count > max)
        return false;
    tsn_json_foreach(node, n) {
        if (n->kind != TSN_JSON_STRING || memchr(n->text, '\0', n->text_len))
            return false;
        tsn_texts_add(out, n->text, n->text_len);
    }
    return true;
}

/* NULL if the node is no string; a NUL inside ends the copy. Caller frees. */
static char *get_text(const struct tsn_json_node *node)
{
    return node && node->kind == TSN_JSON_STRING ? tsn_strndup(node->text, node->text_len) : NULL;
}

static bool get_chars(const struct tsn_json_node *node, char *out, size_t size)
{
    if (!node || node->kind != TSN_JSON_STRING || node->text_len >= size || memchr(node->text, '\0', node->text_len))
        return false;
    memcpy(out, node->text, node->text_len);
    out[node->text_len] = '\0';
    return true;
}

static bool get_i64_in(const struct tsn_json_node *node, int64_t min, int64_t max, int64_t *out)
{
    return tsn_json_i64(node, out) && *out >= min && *out <= max;
}

/* What the core takes for granted of an incident it holds; NULL if it may. */
static const char *fault_of(const struct tsn_incident *in)
{
    if (!*in->incident_id)
        return "incident_id";
    if (in->severity < 1 || in->severity > TSN_SEVERITIES)
        return "severity";
    if (in->level < 1 || in->level > TSN_LEVELS)
        return "level";
    if (!*in->group_key)
        return "group_key";
    if (in->version < 1)
        return "version";
    if (in->opened_at_ms == TSN_TIME_NONE || in->respond_by_ms == TSN_TIME_NONE || in->resolve_by_ms == TSN_TIME_NONE)
        return "opened_at, respond_by or resolve_by";
    if (!sane_time(in->opened_at_ms) || !sane_time(in->respond_by_ms) || !sane_time(in->resolve_by_ms) ||
        !sane_time(in->acknowledged_at_ms) || !sane_time(in->resolved_at_ms) ||
        !sane_time(in->respond_breached_at_ms) || !sane_time(in->resolve_breached_at_ms))
        return "time: it is outside the years 0 to 9999";
    if (in->state == TSN_INCIDENT_RESOLVED && in->resolved_at_ms == TSN_TIME_NONE)
        return "resolved_at";
    return NULL;
}

/* The members next to the incident; NULL, or the first bad one. */
static const char *get_rest(const struct tsn_json_node *root, struct tsn_respond_incident *in)
{
    const struct tsn_json_node *paged = tsn_json_get(root, "paged_at");
    int level = 1;

    if (!paged || paged->kind != TSN_JSON_ARRAY || paged->count != TSN_LEVELS)
        return "paged_at";
    in->paged_at_ms[0] = TSN_TIME_NONE;
    tsn_json_foreach(paged, n)
        if (!get_time(n, &in->paged_at_ms[level++]))
            return "paged_at";
    if (!get_time(tsn_json_get(root, "started_at"), &in->started_at_ms) || in->started_at_ms == TSN_TIME_NONE)
        return "started_at";
    if (!get_time(tsn_json_get(root, "floor"), &in->floor_ms) || in->floor_ms == TSN_TIME_NONE)
        return "floor";
    if (!get_bool(tsn_json_get(root, "severity_set"), &in->severity_set))
        return "severity_set";
    if (!get_texts(tsn_json_get(root, "commands"), TSN_RESPOND_COMMANDS_KEPT, &in->commands))
        return "commands";
    return NULL;
}

enum tsn_err tsn_respond_incident_decode(const void *data, size_t len, struct tsn_respond_incident *incident,
                                         struct tsn_error *error)
{
    static const char what[] = "incident record";
    struct tsn_json json;
    const struct tsn_json_node *inner;
    const char *bad = NULL;
    enum tsn_err err;

    memset(incident, 0, sizeof *incident);
    tsn_json_init(&json);
    err = open_object(&json, what, data, len, error);
    if (err != TSN_OK)
        goto out;
    inner = tsn_json_get(json.nodes.items, "incident");
    if (!inner || inner->kind != TSN_JSON_OBJECT) {
        err = tsn_error_set(error, TSN_ERR_INVALID, "%s: bad or missing incident", what);
        goto out;
    }
    err = tsn_codec_incident_decode(inner->text, inner->text_len, TSN_FORM_JSON, &incident->pub, error);
    if (err != TSN_OK)
        goto out;
    bad = fault_of(&incident->pub);
    if (!bad)
        bad = get_rest(json.nodes.items, incident);
    if (bad)
        err = tsn_error_set(error, TSN_ERR_INVALID, "%s %.39s: bad or missing %s", what, incident->pub.incident_id, bad);
out:
    tsn_json_release(&json);
    if (err != TSN_OK)
        tsn_respond_incident_release(incident);
    return err;
}

/* ---- page --------------------------------------------------------------------------------- */

void tsn_page_release(struct tsn_page *page)
{
    for (size_t i = 0; i < page->people_count; i++)
        tsn_free(page->people[i]);
    tsn_free(page->people);
    tsn_free(page->title);
    tsn_free(page->reason);
    memset(page, 0, sizeof *page);
}

void tsn_page_encode(const struct tsn_page *page, struct tsn_buf *out)
{
    tsn_buf_printf(out, "{\"format\":%d,\"level\":%d,\"severity\":%d,\"tell\":%s", TSN_FORMAT_VERSION,
                   (int)page->level, (int)page->severity, page->tell ? "true" : "false");
    put_member(out, "channel", tsn_page_channel_name(page->channel));
    put_texts(out, "people", page->people, page->people_count);
    put_member(out, "title", page->title);
    put_member(out, "reason", page->reason);
    tsn_buf_puts(out, ",\"at\":");
    put_time(out, page->at_ms);
    put_member(out, "dedup_key", page->dedup_key);
    tsn_buf_putc(out, '}');
}

static bool get_channel(const struct tsn_json_node *node, enum tsn_page_channel *out)
{
    for (int c = TSN_PAGE_CHANNEL; c <= TSN_PAGE_SILENT; c++)
        if (tsn_json_is(node, tsn_page_channel_name((enum tsn_page_channel)c))) {
            *out = (enum tsn_page_channel)c;
            return true;
        }
    return false;
}

static const char *get_page(const struct tsn_json_node *root, struct tsn_page *page)
{
    struct tsn_texts people = { NULL, 0, 0 };
    int64_t level, severity;
    bool ok = get_texts(tsn_json_get(root, "people"), MAX_PEOPLE, &people);

    page->people = people.items;
    page->people_count = people.len;
    if (!ok)
        return "people";
    if (!get_i64_in(tsn_json_get(root, "level"), 1, TSN_LEVELS, &level))
        return "level";
    if (!get_i64_in(tsn_json_get(root, "severity"), 1, TSN_SEVERITIES, &severity))
        return "severity";
    page->level = (int32_t)level;
    page->severity = (int32_t)severity;
    if (!get_bool(tsn_json_get(root, "tell"), &page->tell))
        return "tell";
    if (!get_channel(tsn_json_get(root, "channel"), &page->channel))
        return "channel";
    if (!get_time(tsn_json_get(root, "at"), &page->at_ms) || page->at_ms == TSN_TIME_NONE)
        return "at";
    if (!get_chars(tsn_json_get(root, "dedup_key"), page->dedup_key, sizeof page->dedup_key) || !*page->dedup_key)
        return "dedup_key";
    page->title = get_text(tsn_json_get(root, "title"));
    page->reason = get_text(tsn_json_get(root, "reason"));
    return page->title && page->reason ? NULL : "title or reason";
}

enum tsn_err tsn_page_decode(const void *data, size_t len, struct tsn_page *page, struct tsn_error *error)
{
    struct tsn_json json;
    const char *bad = NULL;
    enum tsn_err err;

    memset(page, 0, sizeof *page);
    tsn_json_init(&json);
    err = open_object(&json, "page", data, len, error);
    if (err == TSN_OK)
        bad = get_page(json.nodes.items, page);
    if (bad)
        err = tsn_error_set(error, TSN_ERR_INVALID, "page: bad or missing %s", bad);
    tsn_json_release(&json);
    if (err != TSN_OK)
        tsn_page_release(page);
    return err;
}

/* ---- answer ------------------------------------------------------------------------------- */

void tsn_respond_answer_release(struct tsn_respond_answer *answer)
{
    tsn_free(answer->message);
    memset(answer, 0, sizeof *answer);
}

void tsn_respond_answer_encode(const struct tsn_respond_answer *answer, struct tsn_buf *out)
{
    tsn_buf_printf(out, "{\"format\":%d", TSN_FORMAT_VERSION);
    put_member(out, "code", tsn_err_name(answer->code));
    put_member(out, "incident_id", answer->incident_id);
    tsn_buf_printf(out, ",\"version\":%lld", (long long)answer->version);
    put_member(out, "message", answer->message);
    tsn_buf_putc(out, '}');
}

static const char *get_answer(const struct tsn_json_node *root, struct tsn_respond_answer *answer)
{
    const struct tsn_json_node *code = tsn_json_get(root, "code");
    bool known = false;

    for (int e = TSN_OK; e <= TSN_ERR_INTERNAL && !known; e++) {
        known = tsn_json_is(code, tsn_err_name((enum tsn_err)e));
        answer->code = (enum tsn_err)e;
    }
    if (!known)
        return "code";
    if (!get_chars(tsn_json_get(root, "incident_id"), answer->incident_id, sizeof answer->incident_id))
        return "incident_id";
    if (!get_i64_in(tsn_json_get(root, "version"), 0, INT64_MAX, &answer->version))
        return "version";
    answer->message = get_text(tsn_json_get(root, "message"));
    return answer->message ? NULL : "message";
}

enum tsn_err tsn_respond_answer_decode(const void *data, size_t len, struct tsn_respond_answer *answer,
                                       struct tsn_error *error)
{
    struct tsn_json json;
    const char *bad = NULL;
    enum tsn_err err;

    memset(answer, 0, sizeof *answer);
    tsn_json_init(&json);
    err = open_object(&json, "answer", data, len, error);
    if (err == TSN_OK)
        bad = get_answer(json.nodes.items, answer);
    if (bad)
        err = tsn_error_set(error, TSN_ERR_INVALID, "answer: bad or missing %s", bad);
    tsn_json_release(&json);
    if (err != TSN_OK)
        tsn_respond_answer_release(answer);
    return err;
}
