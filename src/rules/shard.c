/*
 * shard: the proof that a rule's result depends, element by element, on the series of one shard.
 *
 * An expression is SHARDED if every element of its result carries the shard label and is computed
 * from series with that very value of it. The proof goes bottom-up: selectors are sharded;
 * functions of one vector keep it; an aggregation keeps it if the label survives the grouping;
 * a match keeps it if the label is part of the matching key. Whatever cannot be shown is GLOBAL,
 * unless all selectors pin the label to one value: then it may run where that value lives.
 */
#include "tocsin/shard.h"

#include <string.h>

static bool listed(const char *const *names, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool sharded(const struct tsn_expr *e, const char *label, const char **why);

static bool call_sharded(const struct tsn_expr *e, const char *label, const char **why)
{
    static const char *const global[] = { "absent", "absent_over_time", "scalar", "vector", "time" };
    const char *name = tsn_function_name(e->u.call.func);
    bool any_vector = false;

    if (listed(global, TSN_ARRAY_LEN(global), name)) {
        *why = "absent(), scalar() and vector() look at, or make, series of no one shard";
        return false;
    }
    if ((strcmp(name, "label_replace") == 0 || strcmp(name, "label_join") == 0) && e->u.call.arg_count > 1 &&
        e->u.call.args[1]->kind == TSN_EXPR_STRING && strcmp(e->u.call.args[1]->u.string.text, label) == 0) {
        *why = "label_replace or label_join writes the shard label";
        return false;
    }
    for (uint32_t i = 0; i < e->u.call.arg_count; i++) {
        const struct tsn_expr *arg = e->u.call.args[i];

        if (arg->type != TSN_TYPE_VECTOR && arg->type != TSN_TYPE_MATRIX)
            continue;
        any_vector = true;
        if (!sharded(arg, label, why))
            return false;
    }
    if (!any_vector)
        *why = "the expression reads no series";
    return any_vector;
}

static bool aggregate_sharded(const struct tsn_expr *e, const char *label, const char **why)
{
    bool in = listed(e->u.aggregate.labels, e->u.aggregate.label_count, label);
    bool kept = e->u.aggregate.without ? !in : in;

    if (!kept) {
        *why = "an aggregation drops the shard label; keep it in by (…)";
        return false;
    }
    return sharded(e->u.aggregate.operand, label, why);
}

static bool scalar_type(const struct tsn_expr *e)
{
    return e->type == TSN_TYPE_SCALAR;
}

/* A scalar side is fine if it is the same everywhere: numbers and time(), not scalar(v). */
static bool scalar_constant(const struct tsn_expr *e, const char **why)
{
    e = tsn_expr_unwrap(e);
    switch (e->kind) {
    case TSN_EXPR_NUMBER: return true;
    case TSN_EXPR_UNARY: return scalar_constant(e->u.unary.operand, why);
    case TSN_EXPR_BINARY: return scalar_constant(e->u.binary.lhs, why) && scalar_constant(e->u.binary.rhs, why);
    case TSN_EXPR_CALL:
        if (strcmp(tsn_function_name(e->u.call.func), "scalar") != 0)
            return true;
        /* fall through */
    default: *why = "scalar() reads series of no one shard"; return false;
    }
}

static bool binary_sharded(const struct tsn_expr *e, const char *label, const char **why)
{
    const struct tsn_expr *l = e->u.binary.lhs, *r = e->u.binary.rhs;
    bool in;

    if (scalar_type(l) || scalar_type(r))
        return (scalar_type(l) ? scalar_constant(l, why) : sharded(l, label, why)) &&
               (scalar_type(r) ? scalar_constant(r, why) : sharded(r, label, why));
    in = listed(e->u.binary.match_labels, e->u.binary.match_label_count, label);
    if (e->u.binary.on ? !in : in) {
        *why = "two vectors are matched without the shard label; put it into on (…)";
        return false;
    }
    return sharded(l, label, why) && sharded(r, label, why);
}

static bool selector_sharded(const struct tsn_expr *e, const char *label, const char **why)
{
    TSN_UNUSED(label);
    for (uint32_t i = 0; i < e->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &e->u.selector.matchers[i];

        if (strcmp(m->name, "__name__") == 0 && m->op != TSN_MATCH_NE && m->op != TSN_MATCH_NRE &&
            (tsn_matcher_matches(m, "ALERTS", 6) || tsn_matcher_matches(m, "ALERTS_FOR_STATE", 16))) {
            *why = "it reads ALERTS of other rules";
            return false;
        }
    }
    return true;
}

static bool sharded(const struct tsn_expr *e, const char *label, const char **why)
{
    switch (e->kind) {
    case TSN_EXPR_PAREN: return sharded(e->u.paren, label, why);
    case TSN_EXPR_UNARY: return sharded(e->u.unary.operand, label, why);
    case TSN_EXPR_SELECTOR: return selector_sharded(e, label, why);
    case TSN_EXPR_MATRIX: return sharded(e->u.matrix.selector, label, why);
    case TSN_EXPR_SUBQUERY: return sharded(e->u.subquery.operand, label, why);
    case TSN_EXPR_CALL: return call_sharded(e, label, why);
    case TSN_EXPR_AGGREGATE: return aggregate_sharded(e, label, why);
    case TSN_EXPR_BINARY: return binary_sharded(e, label, why);
    case TSN_EXPR_NUMBER:
    case TSN_EXPR_STRING:
    default: *why = "the expression reads no series"; return false;
    }
}

struct pin {
    const char *label, *value;
    size_t selectors;
    bool same;
};

static bool find_pin(const struct tsn_expr *e, void *arg)
{
    struct pin *pin = arg;
    const char *value = NULL;

    if (e->kind != TSN_EXPR_SELECTOR)
        return true;
    pin->selectors++;
    for (uint32_t i = 0; i < e->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &e->u.selector.matchers[i];

        if (m->op == TSN_MATCH_EQ && strcmp(m->name, pin->label) == 0)
            value = m->value;
    }
    if (!value || !*value || (pin->value && strcmp(pin->value, value) != 0))
        pin->same = false;
    pin->value = value;
    return pin->same;
}

static bool templates_query(const struct tsn_rule_text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (texts[i].tmpl && tsn_template_uses_query(texts[i].tmpl))
            return true;
    return false;
}

static bool sets_label(const struct tsn_rule *rule, const char *label)
{
    for (size_t i = 0; i < rule->label_count; i++)
        if (strcmp(rule->labels[i].name, label) == 0)
            return true;
    return false;
}

enum tsn_placement tsn_rule_placement(const struct tsn_group *group, const struct tsn_rule *rule,
                                      const char *shard_label, const char **pinned_value, const char **why)
{
    struct pin pin = { .label = shard_label, .same = true };
    const char *reason = NULL;

    *pinned_value = NULL;
    if (group->limit > 0)
        reason = "a group limit counts alerts of all shards";
    else if (templates_query(rule->labels, rule->label_count) ||
             templates_query(rule->annotations, rule->annotation_count))
        reason = "a template calls query";
    else if (sets_label(rule, shard_label))
        reason = "the rule sets the shard label";
    else if (sharded(rule->query->root, shard_label, &reason))
        return TSN_PLACE_SHARDED;
    *why = reason;
    tsn_expr_walk(rule->query->root, find_pin, &pin);
    if (pin.same && pin.selectors && !templates_query(rule->annotations, rule->annotation_count)) {
        *pinned_value = pin.value;
        return TSN_PLACE_PINNED;
    }
    return TSN_PLACE_GLOBAL;
}

struct stream_check {
    const char *why;
};

static bool check_streamable(const struct tsn_expr *e, void *arg)
{
    struct stream_check *check = arg;
    int64_t offset = 0;
    enum tsn_at_kind at = TSN_AT_NONE;
    bool smoothed = e->kind == TSN_EXPR_SELECTOR && e->u.selector.smoothed;

    if (e->kind == TSN_EXPR_SELECTOR) {
        offset = e->u.selector.offset_ms;
        at = e->u.selector.at;
    } else if (e->kind == TSN_EXPR_SUBQUERY) {
        offset = e->u.subquery.offset_ms;
        at = e->u.subquery.at;
    }
    if (at != TSN_AT_NONE)
        check->why = "the @ modifier reads a fixed time, which a stream has left behind or not reached";
    else if (offset < 0)
        check->why = "a negative offset reads the future, which a stream does not have";
    else if (smoothed)
        check->why = "`smoothed` reads the sample after the step, which a stream does not have yet";
    return !check->why;
}

bool tsn_rule_streamable(const struct tsn_rule *rule, const char **why)
{
    struct stream_check check = { NULL };

    tsn_expr_walk(rule->query->root, check_streamable, &check);
    *why = check.why;
    return !check.why;
}

/* ---- units -------------------------------------------------------------------------------- */

int32_t tsn_unit_partition(const char *file, const char *group, int32_t partition_count)
{
    struct tsn_buf name = TSN_BUF_INIT;
    int32_t partition;

    tsn_buf_printf(&name, "%s;%s", file, group);
    partition = tsn_partition_of(name.data, name.len, partition_count);
    tsn_buf_release(&name);
    return partition;
}

/* All rules of the unit's groups decide together: the strictest wins. */
int32_t tsn_unit_place(const struct tsn_rule_set *set, const uint32_t *unit_of_group, uint32_t unit,
                       const char *shard_label, int32_t partition_count)
{
    const char *pinned = NULL, *why, *value;
    const struct tsn_group *first = NULL;
    bool global = false, any_pinned = false, any_sharded = false;

    for (size_t g = 0; g < set->group_count; g++) {
        if (unit_of_group[g] != unit)
            continue;
        first = first ? first : &set->groups[g];
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            switch (tsn_rule_placement(&set->groups[g], &set->groups[g].rules[r], shard_label, &value, &why)) {
            case TSN_PLACE_GLOBAL: global = true; break;
            case TSN_PLACE_PINNED:
                if (pinned && strcmp(pinned, value) != 0)
                    global = true;
                pinned = value;
                any_pinned = true;
                break;
            case TSN_PLACE_SHARDED: any_sharded = true; break;
            }
        }
    }
    if (!global && !any_pinned)
        return -1;
    if (!global && !any_sharded)
        return tsn_partition_of(pinned, strlen(pinned), partition_count);
    return first ? tsn_unit_partition(first->file, first->name, partition_count) : -1;
}

/* True if no matcher of `label` refuses the value; *asked: there is one that names what it wants. */
static bool may_be(const struct tsn_expr *selector, const char *label, const char *value, bool *asked)
{
    *asked = false;
    for (uint32_t i = 0; i < selector->u.selector.matcher_count; i++) {
        const struct tsn_matcher *m = &selector->u.selector.matchers[i];

        if (strcmp(m->name, label) != 0)
            continue;
        *asked |= m->op == TSN_MATCH_EQ || m->op == TSN_MATCH_RE;
        if (!tsn_matcher_matches(m, value, strlen(value)))
            return false;
    }
    return true;
}

/* What a recording rule writes has its name; what an alert rule writes is ALERTS and ALERTS_FOR_STATE. */
static bool may_read(const struct tsn_expr *selector, const struct tsn_rule *rule)
{
    bool asked, ignored;

    if (!rule->is_alert)
        return may_be(selector, "__name__", rule->name, &asked) && asked;
    return ((may_be(selector, "__name__", "ALERTS", &asked) && asked) ||
            (may_be(selector, "__name__", "ALERTS_FOR_STATE", &asked) && asked)) &&
           may_be(selector, "alertname", rule->name, &ignored);
}

struct reads {
    const struct tsn_group *writer;
    bool found;
};

static bool reads_written(const struct tsn_expr *e, void *arg)
{
    struct reads *reads = arg;

    for (size_t r = 0; e->kind == TSN_EXPR_SELECTOR && r < reads->writer->rule_count && !reads->found; r++)
        reads->found = may_read(e, &reads->writer->rules[r]);
    return !reads->found;
}

static bool group_reads(const struct tsn_group *reader, const struct tsn_group *writer)
{
    struct reads reads = { writer, false };

    for (size_t r = 0; r < reader->rule_count && !reads.found; r++)
        tsn_expr_walk(reader->rules[r].query->root, reads_written, &reads);
    return reads.found;
}

uint32_t tsn_units_of(const struct tsn_rule_set *set, uint32_t *unit_of_group)
{
    for (size_t g = 0; g < set->group_count; g++)
        unit_of_group[g] = (uint32_t)g;
    for (size_t a = 0; a < set->group_count; a++)
        for (size_t b = 0; b < set->group_count; b++) {
            uint32_t low, high;

            if (a == b || unit_of_group[a] == unit_of_group[b] || !group_reads(&set->groups[a], &set->groups[b]))
                continue;
            low = unit_of_group[a] < unit_of_group[b] ? unit_of_group[a] : unit_of_group[b];
            high = unit_of_group[a] ^ unit_of_group[b] ^ low;
            for (size_t g = 0; g < set->group_count; g++)
                if (unit_of_group[g] == high)
                    unit_of_group[g] = low;
        }
    return (uint32_t)set->group_count;
}

struct route_build {
    struct tsn_routes *routes;
    int32_t partition;
};

static bool add_route(const struct tsn_expr *e, void *arg)
{
    struct route_build *build = arg;
    struct tsn_route route;

    if (e->kind != TSN_EXPR_SELECTOR)
        return true;
    route = (struct tsn_route){ e->u.selector.matchers, e->u.selector.matcher_count, build->partition };
    tsn_vec_push(build->routes, route);
    return true;
}

void tsn_routes_build(const struct tsn_rule_set *set, const char *shard_label, int32_t partition_count,
                      struct tsn_routes *routes)
{
    uint32_t *unit_of_group = tsn_calloc(set->group_count, sizeof *unit_of_group);

    tsn_units_of(set, unit_of_group);
    for (size_t g = 0; g < set->group_count; g++) {
        struct route_build build = { routes, tsn_unit_place(set, unit_of_group, unit_of_group[g], shard_label,
                                                            partition_count) };

        for (size_t r = 0; r < set->groups[g].rule_count; r++)
            tsn_expr_walk(set->groups[g].rules[r].query->root, add_route, &build);
    }
    tsn_free(unit_of_group);
}
