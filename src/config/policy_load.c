/*
 * policy_load: services.yaml and escalation.yaml into the policy's plain values.
 *
 * libyaml makes a document tree whose nodes know their line and column; a table of keys per
 * mapping then fills the struct. An unknown key, a wrong type or a value out of range is an error
 * with file:line:col; nothing is guessed. A file is loaded into fresh values that replace the old
 * ones only when all of it was right. YAML aliases are refused: they are the one way in which a
 * short text becomes a long tree.
 */
#include "config/policy_internal.h"

#include <math.h>
#include <string.h>
#include <yaml.h>

#define MAX_TEXT (1u << 20)
#define MAX_SERVICES 10000
#define MAX_LIST 64

struct loader {
    yaml_document_t doc;
    const char *file;
    struct tsn_error *error;
    bool failed;
};

static void fail(struct loader *l, const yaml_node_t *at, const char *fmt, ...) TSN_PRINTF(3, 4);
static void fail(struct loader *l, const yaml_node_t *at, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    if (l->failed)
        return;
    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    l->failed = true;
    tsn_error_set(l->error, TSN_ERR_INVALID, "%s:%zu:%zu: %s", l->file, at ? at->start_mark.line + 1 : 1,
                  at ? at->start_mark.column + 1 : 1, tsn_buf_str(&text));
    tsn_buf_release(&text);
}

/* ---- scalars ------------------------------------------------------------------------------ */

static const char *scalar(struct loader *l, const yaml_node_t *n, size_t *len)
{
    if (n->type != YAML_SCALAR_NODE || n->data.scalar.length == 0 ||
        memchr(n->data.scalar.value, 0, n->data.scalar.length)) {
        fail(l, n, "expected a text that is not empty");
        return NULL;
    }
    *len = n->data.scalar.length;
    return (const char *)n->data.scalar.value;
}

static void get_text(struct loader *l, const yaml_node_t *n, char **out)
{
    size_t len;
    const char *text = scalar(l, n, &len);

    if (text) {
        tsn_free(*out);
        *out = tsn_strndup(text, len);
    }
}

static void get_duration(struct loader *l, const yaml_node_t *n, int64_t *out)
{
    size_t len;
    const char *text = scalar(l, n, &len);

    if (text && len == 5 && memcmp(text, "never", 5) == 0)
        *out = -1;
    else if (text && (!tsn_parse_duration(text, len, out) || *out <= 0))
        fail(l, n, "'%s' is not a duration such as 30s, 15m, 1h30m, or never", text);
}

static void get_int(struct loader *l, const yaml_node_t *n, int64_t min, int64_t max, int32_t *out)
{
    size_t len;
    const char *text = scalar(l, n, &len);
    int64_t value;

    if (!text)
        return;
    if (!tsn_parse_i64(text, len, &value) || value < min || value > max)
        fail(l, n, "'%s' is not a whole number of %lld to %lld", text, (long long)min, (long long)max);
    else
        *out = (int32_t)value;
}

static void get_number(struct loader *l, const yaml_node_t *n, double max, double *out)
{
    size_t len;
    const char *text = scalar(l, n, &len);

    if (text && (!tsn_parse_double(text, len, out) || !(*out >= 0 && *out <= max)))
        fail(l, n, "'%s' is not a number of 0 to %g", text, max);
}

static void get_bool(struct loader *l, const yaml_node_t *n, bool *out)
{
    size_t len;
    const char *text = scalar(l, n, &len);

    if (text && strcmp(text, "true") == 0)
        *out = true;
    else if (text && strcmp(text, "false") == 0)
        *out = false;
    else
        fail(l, n, "expected true or false");
}

/* "L1" … "L3"; 0 after an error. */
static int get_level(struct loader *l, const yaml_node_t *n)
{
    size_t len;
    const char *text = scalar(l, n, &len);

    if (text && len == 2 && text[0] == 'L' && text[1] >= '1' && text[1] <= '3')
        return text[1] - '0';
    if (text)
        fail(l, n, "'%s' is not a level: L1, L2 or L3", text);
    return 0;
}

/* ---- lists and mappings ------------------------------------------------------------------- */

typedef void visit_item(struct loader *l, const yaml_node_t *item, void *arg);
typedef void visit_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *value, void *arg);

static void each_item(struct loader *l, const yaml_node_t *n, long max, visit_item *visit, void *arg)
{
    if (n->type != YAML_SEQUENCE_NODE) {
        fail(l, n, "expected a list");
        return;
    }
    if (n->data.sequence.items.top - n->data.sequence.items.start > max)
        fail(l, n, "more than %ld items", max);
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !l->failed; i++)
        visit(l, yaml_document_get_node(&l->doc, *i), arg);
}

static void each_pair(struct loader *l, const yaml_node_t *n, visit_pair *visit, void *arg)
{
    struct tsn_map seen;

    if (n->type != YAML_MAPPING_NODE) {
        fail(l, n, "expected a mapping");
        return;
    }
    tsn_map_init(&seen);
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top && !l->failed; p++) {
        const yaml_node_t *key = yaml_document_get_node(&l->doc, p->key);
        size_t len;
        const char *name = scalar(l, key, &len);

        if (name && tsn_map_put_str(&seen, name, l))
            fail(l, key, "the key '%s' stands twice", name);
        else if (name)
            visit(l, name, key, yaml_document_get_node(&l->doc, p->value), arg);
    }
    tsn_map_release(&seen);
}

static void add_item(struct loader *l, const yaml_node_t *item, void *arg)
{
    size_t len;
    const char *text = scalar(l, item, &len);

    if (text)
        tsn_texts_add(arg, text, len);
}

static void get_texts(struct loader *l, const yaml_node_t *n, struct tsn_texts *out)
{
    tsn_texts_release(out);
    each_item(l, n, MAX_LIST, add_item, out);
}

static void add_level(struct loader *l, const yaml_node_t *item, void *arg)
{
    ((bool *)arg)[get_level(l, item)] = true;
}

static void get_levels(struct loader *l, const yaml_node_t *n, bool *out)
{
    memset(out, 0, (TSN_LEVELS + 1) * sizeof *out);
    each_item(l, n, TSN_LEVELS, add_level, out);
    out[0] = false;
}

/* ---- services.yaml ------------------------------------------------------------------------ */

static void service_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_service *s = arg;

    if (strcmp(key, "name") == 0)
        get_text(l, v, &s->name);
    else if (strcmp(key, "tier") == 0)
        get_int(l, v, 1, 4, &s->tier);
    else if (strcmp(key, "aliases") == 0)
        get_texts(l, v, &s->aliases);
    else if (strcmp(key, "core") == 0)
        get_bool(l, v, &s->core);
    else if (strcmp(key, "down") == 0)
        get_int(l, v, 1, TSN_SEVERITIES, &s->down);
    else if (strcmp(key, "availability") == 0)
        get_number(l, v, 100, &s->availability_percent);
    else if (strcmp(key, "error_rate") == 0)
        get_number(l, v, 100, &s->error_rate_percent);
    else if (strcmp(key, "throughput") == 0)
        get_number(l, v, 1e15, &s->throughput_per_min);
    else if (strcmp(key, "latency_p95") == 0)
        get_duration(l, v, &s->latency_p95_ms);
    else if (strcmp(key, "latency_p99") == 0)
        get_duration(l, v, &s->latency_p99_ms);
    else
        fail(l, at, "unknown key '%s'; a service has name, tier, aliases, core, down, availability, "
                    "latency_p95, latency_p99, throughput, error_rate", key);
}

static void service_item(struct loader *l, const yaml_node_t *item, void *arg)
{
    struct tsn_catalogue *c = arg;
    struct tsn_service s = { .availability_percent = NAN, .throughput_per_min = NAN, .error_rate_percent = NAN,
                             .latency_p95_ms = -1, .latency_p99_ms = -1 };

    each_pair(l, item, service_pair, &s);
    if (!s.name || !s.tier)
        fail(l, item, "a service needs name and tier");
    tsn_vec_push(c, s); /* owned by the catalogue from here, right or wrong */
    if (l->failed)
        return;
    if (!tsn_catalogue_index(c, s.name, c->len - 1))
        fail(l, item, "the name '%s' is taken by another service", s.name);
    for (size_t i = 0; i < s.aliases.len && !l->failed; i++)
        if (!tsn_catalogue_index(c, s.aliases.items[i], c->len - 1))
            fail(l, item, "the alias '%s' is taken already", s.aliases.items[i]);
}

static void services_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    if (strcmp(key, "services") == 0)
        each_item(l, v, MAX_SERVICES, service_item, arg);
    else
        fail(l, at, "unknown key '%s'; the file has one: services", key);
}

/* ---- escalation.yaml ---------------------------------------------------------------------- */

static void people_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_escalation *e = arg;
    int level = get_level(l, at);

    TSN_UNUSED(key);
    if (level)
        get_texts(l, v, &e->people[level]);
}

static void climb_times_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_climb *c = arg;

    if (strcmp(key, "unanswered") == 0)
        get_duration(l, v, &c->unanswered_ms);
    else if (strcmp(key, "unresolved") == 0)
        get_duration(l, v, &c->unresolved_ms);
    else
        fail(l, at, "unknown key '%s'; a climb has unanswered and unresolved", key);
}

static void climb_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_climb *climbs = arg;
    int level = get_level(l, at);

    TSN_UNUSED(key);
    if (level == TSN_LEVELS)
        fail(l, at, "level 3 has no next: nothing climbs from it");
    else if (level)
        each_pair(l, v, climb_times_pair, &climbs[level]);
}

static void get_channel(struct loader *l, const yaml_node_t *n, enum tsn_page_channel *out)
{
    size_t len;
    const char *text = scalar(l, n, &len);

    for (int c = TSN_PAGE_CHANNEL; text && c <= TSN_PAGE_SILENT; c++)
        if (strcmp(text, tsn_page_channel_name(c)) == 0) {
            *out = c;
            return;
        }
    fail(l, n, "expected \"@channel\", \"@here\", plain or silent");
}

static void severity_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_severity_policy *s = arg;

    if (strcmp(key, "respond") == 0)
        get_duration(l, v, &s->respond_ms);
    else if (strcmp(key, "resolve") == 0)
        get_duration(l, v, &s->resolve_ms);
    else if (strcmp(key, "page") == 0)
        get_levels(l, v, s->page);
    else if (strcmp(key, "tell") == 0)
        get_levels(l, v, s->tell);
    else if (strcmp(key, "channel") == 0)
        get_channel(l, v, &s->channel);
    else if (strcmp(key, "commander") == 0)
        get_text(l, v, &s->commander);
    else if (strcmp(key, "climb") == 0)
        each_pair(l, v, climb_pair, s->climb);
    else
        fail(l, at, "unknown key '%s'; a severity has respond, resolve, page, tell, channel, commander, climb", key);
}

static void severities_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_escalation *e = arg;
    int32_t severity = 0;

    TSN_UNUSED(key);
    get_int(l, at, 1, TSN_SEVERITIES, &severity);
    if (severity)
        each_pair(l, v, severity_pair, &e->severities[severity]);
}

static void labels_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_buf name = TSN_BUF_INIT;
    int32_t severity = 0;

    TSN_UNUSED(at);
    get_int(l, v, 1, TSN_SEVERITIES, &severity);
    tsn_policy_lower(&name, key);
    if (severity)
        tsn_map_put_str(arg, tsn_buf_str(&name), (void *)(intptr_t)severity);
    tsn_buf_release(&name);
}

static void tier_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    int32_t *tiers = arg, tier = 0;

    TSN_UNUSED(key);
    get_int(l, at, 1, 4, &tier);
    if (tier)
        get_int(l, v, 1, TSN_SEVERITIES, &tiers[tier]);
}

static void inhibit_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_inhibit *i = arg;

    if (strcmp(key, "source") == 0)
        get_text(l, v, &i->source);
    else if (strcmp(key, "target") == 0)
        get_text(l, v, &i->target);
    else if (strcmp(key, "equal") == 0)
        get_texts(l, v, &i->equal);
    else
        fail(l, at, "unknown key '%s'; an inhibition has source, target, equal", key);
}

static void inhibit_item(struct loader *l, const yaml_node_t *item, void *arg)
{
    struct tsn_escalation *e = arg;
    struct tsn_inhibit i = { NULL, NULL, { NULL, 0, 0 } };

    each_pair(l, item, inhibit_pair, &i);
    if (!l->failed && (!i.source || !i.target || strcmp(i.source, i.target) == 0))
        fail(l, item, "an inhibition needs a source and another target");
    e->inhibits = tsn_vec_grow(e->inhibits, &e->inhibit_cap, e->inhibit_count + 1, sizeof *e->inhibits);
    e->inhibits[e->inhibit_count++] = i;
}

static void get_inhibits(struct loader *l, const yaml_node_t *n, struct tsn_escalation *e)
{
    for (size_t i = 0; i < e->inhibit_count; i++) {
        tsn_free(e->inhibits[i].source);
        tsn_free(e->inhibits[i].target);
        tsn_texts_release(&e->inhibits[i].equal);
    }
    e->inhibit_count = 0;
    each_item(l, n, MAX_LIST, inhibit_item, e);
}

static void escalation_pair(struct loader *l, const char *key, const yaml_node_t *at, const yaml_node_t *v, void *arg)
{
    struct tsn_escalation *e = arg;

    if (strcmp(key, "people") == 0) {
        each_pair(l, v, people_pair, e);
    } else if (strcmp(key, "severities") == 0) {
        each_pair(l, v, severities_pair, e);
    } else if (strcmp(key, "labels") == 0) {
        tsn_map_clear(&e->label_severity);
        each_pair(l, v, labels_pair, &e->label_severity);
    } else if (strcmp(key, "outage_alerts") == 0) {
        get_texts(l, v, &e->outage_alerts);
    } else if (strcmp(key, "tier_down") == 0) {
        each_pair(l, v, tier_pair, e->tier_down);
    } else if (strcmp(key, "inhibit") == 0) {
        get_inhibits(l, v, e);
    } else if (strcmp(key, "reopen_window") == 0) {
        get_duration(l, v, &e->reopen_window_ms);
        if (!l->failed && e->reopen_window_ms < 0)
            fail(l, v, "reopen_window cannot be never");
    } else {
        fail(l, at, "unknown key '%s'; the file has people, severities, labels, outage_alerts, tier_down, inhibit, "
                    "reopen_window", key);
    }
}

/* Every severity needs deadlines, and whoever is paged must be somebody. */
static void check_escalation(struct loader *l, const struct tsn_escalation *e)
{
    for (int s = 1; s <= TSN_SEVERITIES; s++) {
        if (e->severities[s].respond_ms < 0 || e->severities[s].resolve_ms < 0)
            fail(l, NULL, "severity %d: respond and resolve cannot be never", s);
        for (int level = 1; level <= TSN_LEVELS; level++)
            if ((e->severities[s].page[level] || e->severities[s].tell[level]) && e->people[level].len == 0)
                fail(l, NULL, "severity %d goes to L%d, where nobody sits", s, level);
    }
}

/* ---- loading ------------------------------------------------------------------------------ */

/* The tree, without aliases and with one document. The caller deletes l->doc if true. */
static bool parse(struct loader *l, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_event_t event;
    bool done = false, aliased = false;

    if (len > MAX_TEXT) {
        tsn_error_set(l->error, TSN_ERR_LIMIT, "%s: longer than 1 MiB", l->file);
        return false;
    }
    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (!done && yaml_parser_parse(&parser, &event)) {
        aliased = aliased || event.type == YAML_ALIAS_EVENT;
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    if (!done || aliased) {
        tsn_error_set(l->error, TSN_ERR_INVALID, "%s:%zu:%zu: %s", l->file, parser.problem_mark.line + 1,
                      parser.problem_mark.column + 1, aliased ? "YAML aliases are not taken here"
                      : parser.problem ? parser.problem : "not YAML");
        yaml_parser_delete(&parser);
        return false;
    }
    yaml_parser_delete(&parser);
    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    done = yaml_parser_load(&parser, &l->doc);
    yaml_parser_delete(&parser);
    if (!done)
        tsn_error_set(l->error, TSN_ERR_INVALID, "%s: not YAML", l->file);
    return done;
}

static bool load(const char *file, const char *text, size_t len, visit_pair *visit, void *arg,
                 struct loader *l, struct tsn_error *error)
{
    yaml_node_t *root;

    memset(l, 0, sizeof *l);
    l->file = file;
    l->error = error;
    if (!parse(l, text, len))
        return false;
    root = yaml_document_get_root_node(&l->doc);
    if (!root)
        fail(l, NULL, "the file is empty");
    else
        each_pair(l, root, visit, arg);
    yaml_document_delete(&l->doc);
    return !l->failed;
}

enum tsn_err tsn_policy_load_services(struct tsn_policy *policy, const char *file, const char *text, size_t len,
                                      struct tsn_error *error)
{
    struct tsn_error local;
    struct tsn_catalogue fresh = { .items = NULL };
    struct loader l;

    error = error ? error : &local;
    tsn_map_init(&fresh.by_name);
    if (!load(file, text, len, services_pair, &fresh, &l, error)) {
        tsn_catalogue_release(&fresh);
        return error->code;
    }
    tsn_catalogue_release(&policy->services);
    policy->services = fresh;
    return TSN_OK;
}

static void copy_texts(struct tsn_texts *to, const struct tsn_texts *from)
{
    tsn_texts_release(to);
    for (size_t i = 0; i < from->len; i++)
        tsn_texts_add(to, from->items[i], strlen(from->items[i]));
}

static void copy_escalation(struct tsn_escalation *to, const struct tsn_escalation *from)
{
    memset(to, 0, sizeof *to);
    for (int level = 1; level <= TSN_LEVELS; level++)
        copy_texts(&to->people[level], &from->people[level]);
    for (int s = 1; s <= TSN_SEVERITIES; s++) {
        to->severities[s] = from->severities[s];
        to->severities[s].commander = tsn_strdup(from->severities[s].commander);
    }
    tsn_map_init(&to->label_severity);
    tsn_map_foreach(&from->label_severity, e)
        tsn_map_put(&to->label_severity, tsn_map_entry_key(e), e->key_len, e->value);
    copy_texts(&to->outage_alerts, &from->outage_alerts);
    memcpy(to->tier_down, from->tier_down, sizeof to->tier_down);
    to->inhibits = tsn_calloc(from->inhibit_count, sizeof *to->inhibits);
    to->inhibit_count = to->inhibit_cap = from->inhibit_count;
    for (size_t i = 0; i < from->inhibit_count; i++) {
        to->inhibits[i].source = tsn_strdup(from->inhibits[i].source);
        to->inhibits[i].target = tsn_strdup(from->inhibits[i].target);
        copy_texts(&to->inhibits[i].equal, &from->inhibits[i].equal);
    }
    to->reopen_window_ms = from->reopen_window_ms;
}

enum tsn_err tsn_policy_load_escalation(struct tsn_policy *policy, const char *file, const char *text,
                                        size_t len, struct tsn_error *error)
{
    struct tsn_error local;
    struct tsn_escalation fresh;
    struct loader l;
    bool good;

    error = error ? error : &local;
    copy_escalation(&fresh, &policy->escalation);
    good = load(file, text, len, escalation_pair, &fresh, &l, error);
    if (good)
        check_escalation(&l, &fresh);
    if (l.failed || !good) {
        tsn_escalation_release(&fresh);
        return error->code;
    }
    tsn_escalation_release(&policy->escalation);
    policy->escalation = fresh;
    return TSN_OK;
}
