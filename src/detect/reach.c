/*
 * reach: which units read a series, and how far back.
 *
 * A selector reads a series over its range (at least the lookback: why an alert ended is found over that), its offset and
 * the subqueries around it. A series is kept for the longest of the selectors that match it, no longer: of a hundred
 * series in a window of a week and 50,000 in one of five minutes only the hundred are held for a week.
 *
 * Matching asks few selectors: those pinned to a metric name lie under that name.
 */
#include "detect/detect_int.h"

#include <string.h>

/* ---- how far back ------------------------------------------------------------------------- */

struct reach {
    int64_t lookback_ms, outer_ms;
    struct unit_selectors *out;
    bool alerts;
};

static void find_reach(const struct tsn_expr *e, struct reach *reach);

static void reach_children(const struct tsn_expr *e, struct reach *reach)
{
    switch (e->kind) {
    case TSN_EXPR_PAREN: find_reach(e->u.paren, reach); break;
    case TSN_EXPR_UNARY: find_reach(e->u.unary.operand, reach); break;
    case TSN_EXPR_BINARY:
        find_reach(e->u.binary.lhs, reach);
        find_reach(e->u.binary.rhs, reach);
        break;
    case TSN_EXPR_CALL:
        for (uint32_t i = 0; i < e->u.call.arg_count; i++)
            find_reach(e->u.call.args[i], reach);
        break;
    case TSN_EXPR_AGGREGATE:
        find_reach(e->u.aggregate.operand, reach);
        if (e->u.aggregate.param)
            find_reach(e->u.aggregate.param, reach);
        break;
    default: break;
    }
}

static bool may_be_alerts(const struct tsn_expr *selector)
{
    for (uint32_t i = 0; i < selector->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &selector->u.selector.matchers[i];

        if (strcmp(m->name, "__name__") == 0 && !tsn_matcher_matches(m, "ALERTS", 6) &&
            !tsn_matcher_matches(m, "ALERTS_FOR_STATE", 16))
            return false;
    }
    return true;
}

/* An anchored window takes its first value from before it. */
static int64_t matrix_reach(const struct tsn_expr *e, const struct tsn_expr *selector, int64_t lookback_ms)
{
    if (selector->u.selector.anchored)
        return e->u.matrix.range_ms + lookback_ms;
    return e->u.matrix.range_ms > lookback_ms ? e->u.matrix.range_ms : lookback_ms;
}

static void reach_selector(const struct tsn_expr *e, int64_t back_ms, struct reach *reach)
{
    struct unit_selector s = { e->u.selector.matchers, e->u.selector.matcher_count,
                               back_ms + reach->outer_ms + e->u.selector.offset_ms };

    if (s.reach_ms < reach->lookback_ms)
        s.reach_ms = reach->lookback_ms;
    tsn_vec_push(reach->out, s);
    reach->alerts |= may_be_alerts(e);
}

/* How far before a step the samples of an expression may lie. A subquery's first point may stand up
 * to a step before its range. */
static void find_reach(const struct tsn_expr *e, struct reach *reach)
{
    int64_t outer = reach->outer_ms, step_ms;
    const struct tsn_expr *selector;

    switch (e->kind) {
    case TSN_EXPR_SELECTOR: reach_selector(e, reach->lookback_ms, reach); break;
    case TSN_EXPR_MATRIX:
        selector = tsn_expr_unwrap(e->u.matrix.selector);
        reach_selector(selector, matrix_reach(e, selector, reach->lookback_ms), reach);
        break;
    case TSN_EXPR_SUBQUERY:
        step_ms = e->u.subquery.step_ms > 0 ? e->u.subquery.step_ms : TSN_MINUTE_MS;
        reach->outer_ms = outer + e->u.subquery.range_ms + e->u.subquery.offset_ms + step_ms;
        find_reach(e->u.subquery.operand, reach);
        break;
    default: reach_children(e, reach); break;
    }
    reach->outer_ms = outer;
}

bool tsn_detect_selectors_of(const struct tsn_group *group, int64_t lookback_ms, struct unit_selectors *out)
{
    struct reach reach = { .lookback_ms = lookback_ms, .out = out };

    for (size_t r = 0; r < group->rule_count; r++) {
        reach.outer_ms = group->query_offset_ms;
        find_reach(group->rules[r].query->root, &reach);
    }
    return reach.alerts;
}

int64_t tsn_detect_reach_ms(const struct tsn_rule_set *set, int64_t lookback_ms)
{
    struct unit_selectors all = { 0 };
    int64_t longest_ms = 0;

    for (size_t g = 0; g < set->group_count; g++)
        (void)tsn_detect_selectors_of(&set->groups[g], lookback_ms ? lookback_ms : TSN_DEFAULT_LOOKBACK_MS, &all);
    for (size_t i = 0; i < all.len; i++)
        longest_ms = all.items[i].reach_ms > longest_ms ? all.items[i].reach_ms : longest_ms;
    tsn_vec_release(&all);
    return longest_ms + TSN_HOLD_REACH_MS;
}

/* ---- selectors by metric name ------------------------------------------------------------- */

struct index_list {
    struct indexed {
        uint32_t unit, selector;
    } *items;
    size_t len, cap;
};

/* "" for those that are not pinned. */
static void index_selector(struct tsn_map *index, const struct unit_selector *s, uint32_t unit, uint32_t selector)
{
    struct indexed at = { unit, selector };
    const char *name = "";
    size_t len = 0;
    void **list;

    for (size_t i = 0; i < s->matcher_count; i++)
        if (s->matchers[i].op == TSN_MATCH_EQ && strcmp(s->matchers[i].name, "__name__") == 0) {
            name = s->matchers[i].value;
            len = s->matchers[i].value_len;
        }
    list = tsn_map_upsert(index, name, len, NULL);
    if (!*list)
        *list = tsn_calloc(1, sizeof(struct index_list));
    tsn_vec_push((struct index_list *)*list, at);
}

void tsn_detect_index_units(struct unit_index *index)
{
    for (uint32_t u = 0; u < index->count; u++)
        for (size_t i = 0; index->units[u].here && i < index->units[u].selectors.len; i++)
            index_selector(&index->by_metric, &index->units[u].selectors.items[i], u, (uint32_t)i);
}

void tsn_detect_index_release(struct unit_index *index)
{
    tsn_map_foreach(&index->by_metric, e) {
        tsn_free(((struct index_list *)e->value)->items);
        tsn_free(e->value);
    }
    tsn_map_release(&index->by_metric);
    tsn_vec_release(&index->found);
}

/* ---- which units read a series ------------------------------------------------------------ */

static void note_reader(struct unit_index *index, uint64_t unit, int64_t reach_ms)
{
    struct reader r = { reach_ms, unit };
    size_t at = index->found.len;

    while (at && index->found.items[at - 1].unit > unit)
        at--;
    if (at && index->found.items[at - 1].unit == unit) {
        if (reach_ms > index->found.items[at - 1].reach_ms)
            index->found.items[at - 1].reach_ms = reach_ms;
        return;
    }
    tsn_vec_push(&index->found, r);
    memmove(index->found.items + at + 1, index->found.items + at, (index->found.len - 1 - at) * sizeof r);
    index->found.items[at] = r;
}

static void read_by(struct unit_index *index, const struct index_list *list, const struct series *s)
{
    for (size_t i = 0; list && i < list->len; i++) {
        const struct unit *unit = &index->units[list->items[i].unit];
        const struct unit_selector *sel = &unit->selectors.items[list->items[i].selector];

        if ((s->own || unit->place >= 0) && tsn_matchers_match(sel->matchers, sel->matcher_count, s->labels))
            note_reader(index, list->items[i].unit, sel->reach_ms);
    }
}

void tsn_detect_find_readers(struct unit_index *index, const struct series *s)
{
    const struct tsn_label *name = tsn_labels_find(s->labels, "__name__", 8);

    index->found.len = 0;
    if (name)
        read_by(index, tsn_map_get(&index->by_metric, name->value, name->value_len), s);
    read_by(index, tsn_map_get(&index->by_metric, "", 0), s);
}

/* ---- what is needed no more --------------------------------------------------------------- */

/* Of a series that a rule writes and none reads, what lies at or before it is needless: less than what the slowest writer adds next.
 * TSN_TIME_NONE: keep all. */
static int64_t unread_floor(const struct tsn_detect *d, const struct unit *units, uint32_t count, const int64_t *steps_ms)
{
    int64_t least_ms = INT64_MAX;

    for (uint32_t u = 0; u < count; u++) {
        int64_t last_ms = steps_ms ? steps_ms[u] : units[u].last_step_ms;

        if (units[u].here && last_ms != TSN_TIME_NONE && last_ms - units[u].query_offset_ms < least_ms)
            least_ms = last_ms - units[u].query_offset_ms;
    }
    return least_ms == INT64_MAX ? TSN_TIME_NONE : least_ms - d->opt.lookback_ms;
}

int64_t tsn_detect_needless_of(const struct tsn_detect *d, const struct series *s)
{
    int64_t least_ms = INT64_MAX;

    if (d->refill_until)
        return TSN_TIME_NONE;
    if (!s->readers->count)
        return unread_floor(d, d->units, d->unit_count, NULL);
    for (uint32_t i = 0; i < s->readers->count; i++) {
        int64_t last_ms = d->units[s->readers->items[i].unit].last_step_ms;

        if (last_ms == TSN_TIME_NONE)
            return TSN_TIME_NONE;
        last_ms -= s->readers->items[i].reach_ms;
        least_ms = last_ms < least_ms ? last_ms : least_ms;
    }
    return least_ms;
}

/* As above, over what the steps of a former set were. */
static int64_t past_floor(const struct tsn_detect *d, const struct past *past, const struct unit_index *index)
{
    int64_t least_ms = INT64_MAX;

    if (!index->found.len)
        return unread_floor(d, index->units, index->count, past->steps_ms);
    for (size_t i = 0; i < index->found.len; i++) {
        int64_t last_ms = past->steps_ms[index->found.items[i].unit];

        if (last_ms == TSN_TIME_NONE)
            return TSN_TIME_NONE;
        last_ms -= index->found.items[i].reach_ms;
        least_ms = last_ms < least_ms ? last_ms : least_ms;
    }
    return least_ms;
}

void tsn_detect_apply_floors(struct tsn_detect *d)
{
    for (size_t p = 0; p < d->pasts.len; p++) {
        struct unit_index *index = tsn_detect_past_units(d, &d->pasts.items[p]);

        if (!index || d->pasts.items[p].latest_ms == TSN_TIME_NONE)
            continue;
        for (size_t i = 0; i < d->store.all.len; i++) {
            tsn_detect_find_readers(index, d->store.all.items[i]);
            tsn_series_cut(d->store.all.items[i], past_floor(d, &d->pasts.items[p], index));
        }
    }
}

int64_t tsn_detect_refill_ms(const struct tsn_detect *d)
{
    int64_t least_ms = INT64_MAX;

    for (uint32_t u = 0; u < d->unit_count; u++) {
        const struct unit *unit = &d->units[u];
        int64_t from_ms = INT64_MAX;

        if (unit->here && unit->last_step_ms != TSN_TIME_NONE)
            from_ms = unit->last_step_ms - (d->chunked_ms == TSN_TIME_NONE ? unit->window_ms : unit->short_ms);
        else if (unit->here && unit->start_ms != TSN_TIME_NONE)
            from_ms = unit->start_ms - 1;
        least_ms = from_ms < least_ms ? from_ms : least_ms;
        if (unit->here && unit->window_ms > unit->short_ms && d->chunked_ms != TSN_TIME_NONE &&
            d->chunked_ms - TSN_PANE_MS < least_ms)
            least_ms = d->chunked_ms - TSN_PANE_MS;
    }
    if (least_ms == INT64_MAX || d->counted_ms == TSN_TIME_NONE)
        return TSN_TIME_NONE;
    least_ms -= TSN_HOLD_REACH_MS;
    return least_ms < d->counted_ms - TSN_PANE_MS ? least_ms : d->counted_ms - TSN_PANE_MS;
}
