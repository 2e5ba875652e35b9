/*
 * lint_shard: rules that need series of more than one shard, so that their group runs on one worker
 * for all of them; and what would divide them.
 *
 * The verdict is the proof's own (rules/shard.c). Where most of a file's rules keep the shard label, each
 * that falls short is told at the place that does it. Any other file was written for another division,
 * and to say so rule after rule would be noise: it is told once, with the label that would divide most
 * of it.
 */
#include "rules/lint.h"
#include "tocsin/shard.h"

#include <string.h>

static bool lists(const char *const *labels, uint32_t count, const char *label)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(labels[i], label))
            return true;
    return false;
}

/* ---- a rule ------------------------------------------------------------------------------- */

struct breach {
    const char *label;
    const struct tsn_expr *at;
    const char *why, *fix;
};

static bool breach_at(struct breach *b, const struct tsn_expr *e, const char *why, const char *fix)
{
    b->at = e;
    b->why = why;
    b->fix = fix;
    return false;
}

static bool find_breach(const struct tsn_expr *e, void *arg)
{
    struct breach *b = arg;

    if (e->kind == TSN_EXPR_AGGREGATE) {
        bool listed = lists(e->u.aggregate.labels, e->u.aggregate.label_count, b->label);

        if (e->u.aggregate.without ? listed : !listed)
            return breach_at(b, e, "an aggregation over all shards", "add the label to by (…)");
    }
    if (e->kind == TSN_EXPR_BINARY && e->u.binary.lhs->type == TSN_TYPE_VECTOR &&
        e->u.binary.rhs->type == TSN_TYPE_VECTOR && e->u.binary.matching_given) {
        bool listed = lists(e->u.binary.match_labels, e->u.binary.match_label_count, b->label);

        if (e->u.binary.on ? !listed : listed)
            return breach_at(b, e, "a match across shards", "match on the label, too");
    }
    if (lint_is_call(e, "absent") || lint_is_call(e, "absent_over_time"))
        return breach_at(b, e, "absent of series on any shard", "pin the label by \"=\" in the selector");
    if (lint_is_call(e, "scalar"))
        return breach_at(b, e, "scalar of series on any shard", "match vectors instead");
    return true;
}

static bool reads_series(const struct tsn_expr *e, void *arg)
{
    TSN_UNUSED(arg);
    return e->kind != TSN_EXPR_SELECTOR;
}

static bool global(const struct tsn_group *group, const struct tsn_rule *rule, const char *label, const char **why)
{
    const char *pin;

    return !tsn_expr_walk(rule->query->root, reads_series, NULL) &&
           tsn_rule_placement(group, rule, label, &pin, why) == TSN_PLACE_GLOBAL;
}

/* ---- its file ----------------------------------------------------------------------------- */

enum { MAX_LABELS = 64 };

/* Labels that the file's rules group, match or select by. */
struct labels {
    const char *items[MAX_LABELS];
    size_t len;
};

static void note(struct labels *labels, const char *name)
{
    static const char *const no_division[] = { "__name__", "le", "quantile" };

    if (labels->len < MAX_LABELS && !lists(labels->items, (uint32_t)labels->len, name) &&
        !lists(no_division, TSN_ARRAY_LEN(no_division), name))
        labels->items[labels->len++] = name;
}

static bool note_labels(const struct tsn_expr *e, void *arg)
{
    if (e->kind == TSN_EXPR_AGGREGATE)
        for (uint32_t i = 0; i < e->u.aggregate.label_count; i++)
            note(arg, e->u.aggregate.labels[i]);
    if (e->kind == TSN_EXPR_BINARY)
        for (uint32_t i = 0; i < e->u.binary.match_label_count; i++)
            note(arg, e->u.binary.match_labels[i]);
    if (e->kind == TSN_EXPR_SELECTOR)
        for (uint32_t i = 0; i < e->u.selector.matcher_count; i++)
            note(arg, e->u.selector.matchers[i].name);
    return true;
}

/* How many of the file's rules are on one worker if `label` divides; *first: the first of them. */
static size_t count_global(const struct lint *l, const char *label, const struct tsn_rule **first)
{
    size_t count = 0;

    *first = NULL;
    for (size_t g = 0; g < l->set->group_count; g++) {
        const struct tsn_group *group = &l->set->groups[g];

        for (size_t r = 0; r < group->rule_count && !strcmp(group->file, l->group->file); r++) {
            const char *why;

            if (!global(group, &group->rules[r], label, &why))
                continue;
            *first = *first ? *first : &group->rules[r];
            count++;
        }
    }
    return count;
}

static void labels_of_file(const struct lint *l, struct labels *labels)
{
    for (size_t g = 0; g < l->set->group_count; g++)
        for (size_t r = 0; r < l->set->groups[g].rule_count && !strcmp(l->set->groups[g].file, l->group->file); r++)
            tsn_expr_walk(l->set->groups[g].rules[r].query->root, note_labels, labels);
}

static size_t rules_of_file(const struct lint *l)
{
    size_t count = 0;

    for (size_t g = 0; g < l->set->group_count; g++)
        count += strcmp(l->set->groups[g].file, l->group->file) ? 0 : l->set->groups[g].rule_count;
    return count;
}

/* At the first of `count` such rules. */
static void tell_file(struct lint *l, size_t count, size_t rules)
{
    const struct tsn_rule *ignored;
    struct labels labels = { .len = 0 };
    size_t least = count;
    const char *best = NULL;
    char *suggestion;

    labels_of_file(l, &labels);
    for (size_t i = 0; i < labels.len; i++) {
        size_t left = count_global(l, labels.items[i], &ignored);

        if (left < least) {
            least = left;
            best = labels.items[i];
        }
    }
    suggestion = best ? lint_text("detect: { shard_label: %s } divides %zu of them, if the series have it", best, count - least)
                      : lint_text("group and match by `%s`, too", l->opt.shard_label);
    lint_add(l, l->rule->query->root, "not-sharded", TSN_LINT_INFO, suggestion,
             "%zu of this file's %zu rules need series of more than one `%s`: the group of each runs on one worker",
             count, rules, l->opt.shard_label);
}

void lint_shards(struct lint *l)
{
    struct breach breach = { .label = l->opt.shard_label };
    const struct tsn_rule *first;
    const char *why = NULL;
    size_t count, rules = rules_of_file(l);

    if (!global(l->group, l->rule, l->opt.shard_label, &why))
        return;
    count = count_global(l, l->opt.shard_label, &first);
    if (count > rules / 2) {
        if (l->rule == first)
            tell_file(l, count, rules);
        return;
    }
    tsn_expr_walk(l->rule->query->root, find_breach, &breach);
    if (!breach.at)
        breach = (struct breach){ l->opt.shard_label, l->rule->query->root, why, NULL };
    lint_add(l, breach.at, "not-sharded", TSN_LINT_INFO,
             breach.fix ? lint_text("%s: `%s`", breach.fix, l->opt.shard_label) : NULL,
             "%s: the rule's group runs on one worker for all values of `%s`", breach.why, l->opt.shard_label);
}
