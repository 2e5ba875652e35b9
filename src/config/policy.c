/*
 * policy: the built-in service catalogue and escalation matrix, and look-ups in them.
 *
 * The numbers are the platform's procedures with their contradictions settled: Sev 1 pages L1 and
 * L3 together, an unanswered page climbs at 15 min and an unresolved incident at 30; Sev 2 reaches
 * the team lead within 1 h (not the matrix's 2 h) and the executives when it has lasted 4 h
 * (1 h + 3 h); one service down is Sev 2 whatever its label says, the database down or all core
 * services down is Sev 1.
 */
#include "config/policy_internal.h"

#include <math.h>
#include <string.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)

static const char *const channel_names[] = { "@channel", "@here", "plain", "silent" };

const char *tsn_page_channel_name(enum tsn_page_channel channel)
{
    TSN_ASSERT((size_t)channel < TSN_ARRAY_LEN(channel_names));
    return channel_names[channel];
}

void tsn_texts_add(struct tsn_texts *texts, const char *text, size_t len)
{
    tsn_vec_push(texts, tsn_strndup(text, len));
}

static void add_text(struct tsn_texts *texts, const char *text)
{
    tsn_texts_add(texts, text, strlen(text));
}

bool tsn_texts_has(const struct tsn_texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->len; i++)
        if (strcmp(texts->items[i], text) == 0)
            return true;
    return false;
}

void tsn_texts_release(struct tsn_texts *texts)
{
    for (size_t i = 0; i < texts->len; i++)
        tsn_free(texts->items[i]);
    tsn_vec_release(texts);
}

void tsn_policy_lower(struct tsn_buf *out, const char *text)
{
    tsn_buf_reset(out);
    for (; *text; text++)
        tsn_buf_putc(out, *text >= 'A' && *text <= 'Z' ? (char)(*text + 32) : *text);
}

/* ---- the catalogue ------------------------------------------------------------------------ */

struct default_service {
    const char *name, *aliases[4];
    int32_t tier, down;
    bool core;
    double availability, throughput;
    int64_t p95, p99;
};

static const struct default_service default_services[] = {
    { "hook-receiver", { "hookreceiver", "hookreceiver-api" }, 1, 0, true, 99.95, 1000, 500, 1000 },
    { "postgresql", { "postgres", "database" }, 1, 1, false, 99.95, NAN, -1, -1 },
    { "authentication", { "auth" }, 1, 0, false, NAN, NAN, -1, -1 },
    { "model-metrics", { "modelmetrics", "modelmetrics-api" }, 2, 0, true, 99.9, 100, 2000, 5000 },
    { "workflow-coordinator", { "workflowcoordinator" }, 2, 0, true, 99.9, 500, 1000, 2000 },
    { "kafka", { "redpanda" }, 2, 0, false, NAN, NAN, -1, -1 },
    { "prometheus", { "grafana" }, 3, 0, false, NAN, NAN, -1, -1 },
    { "redis", { NULL }, 3, 0, false, NAN, NAN, -1, -1 },
    { "log-aggregation", { "loki" }, 3, 0, false, NAN, NAN, -1, -1 },
    { "documentation-site", { "docs" }, 4, 0, false, NAN, NAN, -1, -1 },
    { "development-tools", { NULL }, 4, 0, false, NAN, NAN, -1, -1 },
    { "optional-integrations", { NULL }, 4, 0, false, NAN, NAN, -1, -1 },
};

bool tsn_catalogue_index(struct tsn_catalogue *c, const char *name, size_t index)
{
    struct tsn_buf key = TSN_BUF_INIT;
    bool created;
    void **slot;

    tsn_policy_lower(&key, name);
    slot = tsn_map_upsert(&c->by_name, tsn_buf_str(&key), key.len, &created);
    if (created)
        *slot = (void *)(uintptr_t)(index + 1);
    tsn_buf_release(&key);
    return created;
}

static void add_default_service(struct tsn_catalogue *c, const struct default_service *d)
{
    struct tsn_service s = { tsn_strdup(d->name), { NULL, 0, 0 }, d->tier, d->core, d->down, d->availability,
                             d->throughput, d->core ? 0.1 : NAN, d->p95, d->p99 };
    bool fresh = true;

    for (size_t i = 0; i < TSN_ARRAY_LEN(d->aliases) && d->aliases[i]; i++)
        add_text(&s.aliases, d->aliases[i]);
    tsn_vec_push(c, s);
    fresh = tsn_catalogue_index(c, s.name, c->len - 1);
    for (size_t i = 0; i < s.aliases.len; i++)
        fresh = tsn_catalogue_index(c, s.aliases.items[i], c->len - 1) && fresh;
    TSN_ASSERT(fresh);
}

void tsn_catalogue_release(struct tsn_catalogue *c)
{
    for (size_t i = 0; i < c->len; i++) {
        tsn_free(c->items[i].name);
        tsn_texts_release(&c->items[i].aliases);
    }
    tsn_vec_release(c);
    tsn_map_release(&c->by_name);
}

/* ---- the matrix --------------------------------------------------------------------------- */

static void default_severities(struct tsn_escalation *e)
{
    const struct tsn_climb never = { -1, -1 }, quarter = { 15 * MINUTE, 30 * MINUTE };
    const struct tsn_climb hour = { 1 * HOUR, 1 * HOUR }, three_hours = { 3 * HOUR, 3 * HOUR };
    const struct tsn_severity_policy table[TSN_SEVERITIES + 1] = {
        [1] = { 15 * MINUTE, 4 * HOUR, { [1] = true, [3] = true }, { false }, TSN_PAGE_CHANNEL, NULL,
                { never, quarter, quarter, never } },
        [2] = { 30 * MINUTE, 8 * HOUR, { [1] = true }, { false }, TSN_PAGE_HERE, NULL,
                { never, hour, three_hours, never } },
        [3] = { 2 * HOUR, 24 * HOUR, { [1] = true }, { [2] = true }, TSN_PAGE_PLAIN, NULL,
                { never, never, never, never } },
        [4] = { 24 * HOUR, 72 * HOUR, { false }, { [1] = true }, TSN_PAGE_SILENT, NULL,
                { never, never, never, never } },
    };
    static const char *const commanders[] = { "", "platform-lead", "platform-team-lead", "on-call-engineer",
                                              "assigned-engineer" };

    for (int s = 1; s <= TSN_SEVERITIES; s++) {
        e->severities[s] = table[s];
        e->severities[s].commander = tsn_strdup(commanders[s]);
    }
}

void tsn_escalation_init(struct tsn_escalation *e)
{
    struct tsn_inhibit inhibit = { tsn_strdup("ServiceDown"), tsn_strdup("ServiceDegraded"), { NULL, 0, 0 } };

    memset(e, 0, sizeof *e);
    add_text(&e->people[1], "on-call-engineer");
    add_text(&e->people[2], "platform-team-lead");
    add_text(&e->people[3], "cto");
    add_text(&e->people[3], "platform-lead");
    default_severities(e);
    tsn_map_init(&e->label_severity);
    tsn_map_put_str(&e->label_severity, "critical", (void *)2);
    tsn_map_put_str(&e->label_severity, "warning", (void *)3);
    tsn_map_put_str(&e->label_severity, "info", (void *)4);
    add_text(&e->outage_alerts, "ServiceDown");
    add_text(&e->outage_alerts, "AllRequestsFailing");
    for (int tier = 1; tier <= 4; tier++)
        e->tier_down[tier] = tier < 2 ? 2 : tier; /* one service down is Sev 2; a lesser tier, less */
    add_text(&inhibit.equal, "service");
    e->inhibits = tsn_memdup(&inhibit, sizeof inhibit);
    e->inhibit_count = e->inhibit_cap = 1;
    e->reopen_window_ms = 30 * MINUTE;
}

void tsn_escalation_release(struct tsn_escalation *e)
{
    for (int level = 1; level <= TSN_LEVELS; level++)
        tsn_texts_release(&e->people[level]);
    for (int s = 1; s <= TSN_SEVERITIES; s++)
        tsn_free(e->severities[s].commander);
    tsn_map_release(&e->label_severity);
    tsn_texts_release(&e->outage_alerts);
    for (size_t i = 0; i < e->inhibit_count; i++) {
        tsn_free(e->inhibits[i].source);
        tsn_free(e->inhibits[i].target);
        tsn_texts_release(&e->inhibits[i].equal);
    }
    tsn_free(e->inhibits);
    memset(e, 0, sizeof *e);
}

void tsn_policy_init_default(struct tsn_policy *policy)
{
    memset(policy, 0, sizeof *policy);
    tsn_map_init(&policy->services.by_name);
    for (size_t i = 0; i < TSN_ARRAY_LEN(default_services); i++)
        add_default_service(&policy->services, &default_services[i]);
    tsn_escalation_init(&policy->escalation);
    add_text(&policy->group_by, "service");
}

void tsn_policy_release(struct tsn_policy *policy)
{
    tsn_catalogue_release(&policy->services);
    tsn_escalation_release(&policy->escalation);
    tsn_texts_release(&policy->group_by);
    memset(policy, 0, sizeof *policy);
}

const struct tsn_service *tsn_policy_service(const struct tsn_policy *policy, const char *name)
{
    struct tsn_buf key = TSN_BUF_INIT;
    uintptr_t index;

    tsn_policy_lower(&key, name);
    index = (uintptr_t)tsn_map_get(&policy->services.by_name, tsn_buf_str(&key), key.len);
    tsn_buf_release(&key);
    return index ? &policy->services.items[index - 1] : NULL;
}

bool tsn_policy_is_outage(const struct tsn_policy *policy, const char *alertname)
{
    return tsn_texts_has(&policy->escalation.outage_alerts, alertname);
}
