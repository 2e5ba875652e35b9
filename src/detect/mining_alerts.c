/*
 * mining_alerts: which templates an alert is about, so that its transition carries their texts and sample lines.
 *
 * An alert with a label `template` is about that one (or what it was merged into). Else its rule's selectors of template series
 * tell: of discoveries the templates found last inside the selector's range, of messages those with the most lines; up to
 * TSN_LINES_MAX of them, of the scopes that agree with the alert on service, level and job.
 */
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

struct search {
    struct tsn_detect *d;
    const struct tsn_labels *alert;
    int64_t step_ms, range_ms;
    const char *id; /* of the label template; NULL: none */
    struct mined *found[TSN_LINES_MAX];
    size_t count;
    bool by_discovery;
};

static bool before(const struct search *search, const struct mined *a, const struct mined *b)
{
    int64_t x = search->by_discovery ? a->found_ms : a->count, y = search->by_discovery ? b->found_ms : b->count;

    return x != y ? x > y : a->id < b->id;
}

static void offer(struct search *search, struct mined *mined)
{
    size_t at = search->count;

    for (size_t i = 0; i < search->count; i++)
        if (search->found[i] == mined)
            return;
    while (at && before(search, mined, search->found[at - 1]))
        at--;
    if (at == TSN_LINES_MAX)
        return;
    if (search->count < TSN_LINES_MAX)
        search->count++;
    memmove(search->found + at + 1, search->found + at, (search->count - 1 - at) * sizeof(*search->found));
    search->found[at] = mined;
}

static bool agrees(const struct search *search, const struct mined_scope *scope)
{
    const char *service = tsn_labels_get(search->alert, "service"), *level = tsn_labels_get(search->alert, "level");

    return scope->miner && (!service || strcmp(service, scope->service) == 0) && (!level || strcmp(level, scope->level) == 0);
}

/* ---- by the label template ---------------------------------------------------------------- */

static void search_id(struct search *search)
{
    uint64_t id = strtoull(search->id, NULL, 16);

    tsn_map_foreach(&search->d->mining->scopes, e) {
        struct mined_scope *scope = e->value;
        struct mined *mined = agrees(search, scope) ? tsn_mined_survivor(scope, tsn_mined_get(scope, id)) : NULL;

        if (mined)
            offer(search, mined);
    }
}

/* ---- by the rule's selectors -------------------------------------------------------------- */

static void search_selector(struct search *search, const struct tsn_expr *selector)
{
    const struct tsn_matcher *matchers = selector->u.selector.matchers;
    size_t count = selector->u.selector.matcher_count;
    int64_t since_ms = search->step_ms - search->range_ms - selector->u.selector.offset_ms - TSN_PANE_MS;

    tsn_map_foreach(&search->d->mining->scopes, e) {
        struct mined_scope *scope = e->value;

        if (!agrees(search, scope))
            continue;
        for (size_t i = 0; i < scope->templates.len; i++) {
            struct mined *mined = scope->templates.items[i];

            if (!mined || mined->merged_ms != TSN_TIME_NONE || (search->by_discovery && (mined->found_ms < since_ms || mined->found_ms > search->step_ms)))
                continue;
            if (tsn_matchers_match(matchers, count, tsn_mined_labels(search->d, scope, search->by_discovery ? NULL : mined)))
                offer(search, mined);
        }
    }
}

static bool named(const struct tsn_expr *selector, const char *name)
{
    for (uint32_t i = 0; i < selector->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &selector->u.selector.matchers[i];

        if (m->op == TSN_MATCH_EQ && strcmp(m->name, "__name__") == 0 && strcmp(m->value, name) == 0)
            return true;
    }
    return false;
}

/* Walks in order: a matrix is met before its selector, so the range is the one around it. */
static bool look(const struct tsn_expr *e, void *arg)
{
    struct search *search = arg;

    if (e->kind == TSN_EXPR_MATRIX)
        search->range_ms = e->u.matrix.range_ms;
    if (e->kind != TSN_EXPR_SELECTOR || search->count)
        return true;
    search->by_discovery = named(e, "log_templates_discovered_total");
    if (search->by_discovery || named(e, "log_template_messages_total"))
        search_selector(search, e);
    search->range_ms = search->d->opt.lookback_ms;
    return true;
}

/* ---- what the transition gets ------------------------------------------------------------- */

static char *words_of(const struct mined *mined)
{
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_template t = { .text = "" };
    enum { MAX = 1024 };

    (void)tsn_miner_get(mined->scope->miner, mined->ref, &t);
    tsn_buf_printf(&out, "%016llx ", (unsigned long long)mined->id);
    tsn_buf_append(&out, t.text, t.len > MAX ? tsn_utf8_valid_prefix(t.text, MAX) : t.len);
    return tsn_buf_take(&out, NULL);
}

/* The newest line of each, then the one before, … */
static void give_lines(const struct search *search, struct tsn_transition *t)
{
    t->sample_lines = tsn_calloc(TSN_LINES_MAX, sizeof(*t->sample_lines));
    for (size_t back = 1; back <= TSN_LINES_MAX; back++)
        for (size_t i = 0; i < search->count && t->sample_line_count < TSN_LINES_MAX; i++)
            if (search->found[i]->lines.len >= back)
                t->sample_lines[t->sample_line_count++] =
                    tsn_strdup(search->found[i]->lines.items[search->found[i]->lines.len - back].text);
}

void tsn_mining_explain(struct tsn_detect *d, const struct tsn_rule *rule, int64_t step_ms, struct tsn_transition *t)
{
    struct search search = { .d = d, .alert = t->labels, .step_ms = step_ms, .range_ms = d->opt.lookback_ms,
                             .id = tsn_labels_get(t->labels, "template") };

    if (!d->mining->miners || (t->state != TSN_ALERT_PENDING && t->state != TSN_ALERT_FIRING))
        return;
    if (search.id && strlen(search.id) == 16)
        search_id(&search);
    else
        tsn_expr_walk(rule->query->root, look, &search);
    if (!search.count)
        return;
    t->templates = tsn_calloc(search.count, sizeof(*t->templates));
    for (; t->template_count < search.count; t->template_count++)
        t->templates[t->template_count] = words_of(search.found[t->template_count]);
    give_lines(&search, t);
}
