/*
 * load: Prometheus rule files, strictly, with file:line:column for every error.
 *
 * A walk over each file's tree (yaml_tree.h) fills the set and collects errors instead of stopping at
 * the first. Positions point at what is wrong: the key, the value, or the place inside an
 * expression's text, however that text is written in YAML.
 *
 * What Prometheus does and one might not expect: null items of lists are skipped, null durations are
 * 0, templates are compiled for alert rules only (a recording rule's labels are literal), a rule's
 * labels go over its group's.
 * Bounds: those of yaml_tree.h, and 100,000 rules a set.
 * Source: rulefmt and rules/manager.go of Prometheus 3.16.
 */
#include "rules/yaml_tree.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RULES = 100000, DEFAULT_INTERVAL_MS = 60000 };

struct load {
    struct tsn_yaml yaml;
    struct tsn_rule_set *set;
    int64_t default_interval_ms;
    size_t rules;
    TSN_VEC(struct tsn_group) groups;
    struct tsn_map names; /* of the groups of this file */
};

void tsn_rule_errors_release(struct tsn_rule_errors *errors)
{
    for (size_t i = 0; i < errors->len; i++) {
        tsn_free(errors->items[i].file);
        tsn_free(errors->items[i].message);
    }
    tsn_vec_release(errors);
}

/* ---- labels and annotations --------------------------------------------------------------- */

struct texts {
    TSN_VEC(struct tsn_rule_text) list;
};

static void check_text(struct load *l, const struct tsn_yaml_pair *pair, const char *value, bool label)
{
    struct tsn_position at = tsn_yaml_position(pair->key_node);

    if (!*pair->key || !tsn_utf8_valid(pair->key, strlen(pair->key)) ||
        (label && strcmp(pair->key, "__name__") == 0))
        tsn_yaml_fail(&l->yaml, at, "invalid %s name: %s", label ? "label" : "annotation", pair->key);
    if (label && !tsn_utf8_valid(value, strlen(value)))
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(pair->value), "invalid label value: %s", value);
}

static void take_texts(struct load *l, const yaml_node_t *map, bool label, struct texts *out)
{
    struct tsn_yaml_pairs pairs;

    if (!tsn_yaml_pairs(&l->yaml, map, label ? "labels" : "annotations", &pairs))
        return;
    for (size_t i = 0; i < pairs.len; i++) {
        const struct tsn_yaml_pair *pair = &pairs.items[i];
        const char *value = tsn_yaml_text(&l->yaml, pair->value, pair->key);
        struct tsn_rule_text text = { .name = pair->key, .value = value ? value : "",
                                      .at = tsn_yaml_position(pair->value) };

        check_text(l, pair, text.value, label);
        tsn_vec_push(&out->list, text);
    }
    tsn_vec_release(&pairs);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tsn_rule_text *)a)->name, ((const struct tsn_rule_text *)b)->name);
}

/* Into the set, sorted; templates compiled if `alert` is its name, errors placed by `own` texts. */
static struct tsn_rule_text *keep_texts(struct load *l, struct texts *texts, size_t own, const char *alert,
                                        const char *what, size_t *count)
{
    struct tsn_rule_text *kept = tsn_arena_calloc(&l->set->arena, texts->list.len + 1, sizeof *kept);

    for (size_t i = 0; i < texts->list.len; i++) {
        struct tsn_error error = { 0 };

        kept[i] = texts->list.items[i];
        if (!alert || !strstr(kept[i].value, "{{"))
            continue;
        kept[i].tmpl = tsn_template_new(alert, kept[i].value, strlen(kept[i].value), &error);
        if (!kept[i].tmpl)
            tsn_yaml_fail(&l->yaml, kept[i].at, "%s%s \"%s\": %s", i < own ? "" : "group ", what, kept[i].name,
                          error.message);
    }
    *count = texts->list.len;
    if (*count > 1)
        qsort(kept, *count, sizeof *kept, by_name);
    tsn_vec_release(&texts->list);
    return kept;
}

/* ---- rules -------------------------------------------------------------------------------- */

struct rule_build {
    struct tsn_rule rule;
    const char *record, *alert;
    const yaml_node_t *expr, *record_node, *alert_node, *for_node, *keep_node, *annotations_node;
    struct texts labels, annotations;
};

static bool rule_text_key(struct load *l, const struct tsn_yaml_pair *p, struct rule_build *b)
{
    if (strcmp(p->key, "record") == 0) {
        b->record = tsn_yaml_text(&l->yaml, b->record_node = p->value, p->key);
    } else if (strcmp(p->key, "alert") == 0) {
        b->alert = tsn_yaml_text(&l->yaml, b->alert_node = p->value, p->key);
    } else if (strcmp(p->key, "expr") == 0) {
        b->rule.expr_text = tsn_yaml_text(&l->yaml, b->expr = p->value, p->key);
    } else {
        return false;
    }
    return true;
}

static void rule_key(struct load *l, const struct tsn_yaml_pair *p, struct rule_build *b)
{
    if (rule_text_key(l, p, b))
        return;
    if (strcmp(p->key, "for") == 0)
        b->rule.for_ms = tsn_yaml_duration(&l->yaml, b->for_node = p->value, p->key);
    else if (strcmp(p->key, "keep_firing_for") == 0)
        b->rule.keep_firing_for_ms = tsn_yaml_duration(&l->yaml, b->keep_node = p->value, p->key);
    else if (strcmp(p->key, "labels") == 0)
        take_texts(l, p->value, true, &b->labels);
    else if (strcmp(p->key, "annotations") == 0)
        take_texts(l, b->annotations_node = p->value, false, &b->annotations);
    else
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(p->key_node),
                      "field %s not found in type rulefmt.Rule; known: record, alert, expr, for, "
                      "keep_firing_for, labels, annotations", p->key);
}

static void check_recording(struct load *l, const struct rule_build *b)
{
    if (b->annotations.list.len)
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(b->annotations_node), "invalid field 'annotations' in recording rule");
    if (b->rule.for_ms)
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(b->for_node), "invalid field 'for' in recording rule");
    if (b->rule.keep_firing_for_ms)
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(b->keep_node), "invalid field 'keep_firing_for' in recording rule");
    if (!tsn_utf8_valid(b->record, strlen(b->record)))
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(b->record_node), "invalid recording rule name: %s", b->record);
    if (strpbrk(b->record, "{}"))
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(b->record_node),
                      "braces present in the recording rule name; should it be in expr?: %s", b->record);
}

static void check_expr(struct load *l, struct rule_build *b)
{
    struct tsn_parse_error error;
    yaml_scalar_style_t style;

    if (!b->expr || !b->rule.expr_text || !*b->rule.expr_text) {
        tsn_yaml_fail(&l->yaml, b->expr ? tsn_yaml_position(b->expr) : b->rule.at, "field 'expr' must be set in rule");
        return;
    }
    style = b->expr->data.scalar.style;
    b->rule.expr_is_block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    b->rule.expr_at = tsn_yaml_inside(&l->yaml, b->expr, 0);
    b->rule.query = tsn_query_parse(b->rule.expr_text, strlen(b->rule.expr_text), &error);
    if (!b->rule.query)
        tsn_yaml_fail(&l->yaml, tsn_yaml_inside(&l->yaml, b->expr, error.span.start),
                      "could not parse expression: %s", error.message);
}

static void check_rule(struct load *l, struct rule_build *b)
{
    if (b->record && b->alert)
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(b->alert_node), "only one of 'record' and 'alert' must be set");
    if (!b->record && !b->alert)
        tsn_yaml_fail(&l->yaml, b->rule.at, "one of 'record' or 'alert' must be set");
    check_expr(l, b);
    if (b->record)
        check_recording(l, b);
}

static void add_group_labels(struct rule_build *b, const struct texts *group)
{
    size_t own = b->labels.list.len;

    for (size_t i = 0; i < group->list.len; i++) {
        bool has = false;

        for (size_t k = 0; k < own && !has; k++)
            has = strcmp(b->labels.list.items[k].name, group->list.items[i].name) == 0;
        if (!has)
            tsn_vec_push(&b->labels.list, group->list.items[i]);
    }
}

struct rules {
    TSN_VEC(struct tsn_rule) list;
};

static void take_rule(struct load *l, const yaml_node_t *node, const struct texts *group_labels, struct rules *out)
{
    struct rule_build b = { .rule.at = tsn_yaml_position(node) };
    struct tsn_yaml_pairs pairs;
    size_t own;

    if (tsn_yaml_is_null(node) || !tsn_yaml_pairs(&l->yaml, node, "a rule", &pairs))
        return;
    if (++l->rules > MAX_RULES) {
        if (l->rules == MAX_RULES + 1)
            tsn_yaml_fail(&l->yaml, b.rule.at, "more than %d rules", MAX_RULES);
        tsn_vec_release(&pairs);
        return;
    }
    for (size_t i = 0; i < pairs.len; i++)
        rule_key(l, &pairs.items[i], &b);
    tsn_vec_release(&pairs);
    b.record = b.record && *b.record ? b.record : NULL;
    b.alert = b.alert && *b.alert ? b.alert : NULL;
    b.rule.is_alert = b.alert != NULL;
    b.rule.name = b.alert ? b.alert : b.record ? b.record : "";
    check_rule(l, &b);
    own = b.labels.list.len;
    add_group_labels(&b, group_labels);
    b.rule.labels = keep_texts(l, &b.labels, own, b.alert, "label", &b.rule.label_count);
    b.rule.annotations = keep_texts(l, &b.annotations, SIZE_MAX, b.alert, "annotation", &b.rule.annotation_count);
    tsn_vec_push(&out->list, b.rule);
}

/* ---- groups ------------------------------------------------------------------------------- */

struct group_build {
    struct tsn_group group;
    struct texts labels;
    const yaml_node_t *rules_node;
};

static void group_key(struct load *l, const struct tsn_yaml_pair *p, struct group_build *g)
{
    if (strcmp(p->key, "name") == 0)
        g->group.name = tsn_yaml_text(&l->yaml, p->value, p->key);
    else if (strcmp(p->key, "interval") == 0)
        g->group.interval_ms = tsn_yaml_duration(&l->yaml, p->value, p->key);
    else if (strcmp(p->key, "query_offset") == 0)
        g->group.query_offset_ms = tsn_yaml_duration(&l->yaml, p->value, p->key);
    else if (strcmp(p->key, "limit") == 0)
        g->group.limit = tsn_yaml_integer(&l->yaml, p->value, p->key);
    else if (strcmp(p->key, "labels") == 0)
        take_texts(l, p->value, true, &g->labels);
    else if (strcmp(p->key, "rules") == 0)
        g->rules_node = p->value;
    else
        tsn_yaml_fail(&l->yaml, tsn_yaml_position(p->key_node),
                      "field %s not found in type rulefmt.RuleGroup; known: name, interval, query_offset, "
                      "limit, labels, rules", p->key);
}

static void name_group(struct load *l, struct tsn_group *group)
{
    if (!group->name || !*group->name)
        tsn_yaml_fail(&l->yaml, group->at, "Groupname must not be empty");
    if (!group->name)
        group->name = "";
    if (tsn_map_put_str(&l->names, group->name, l))
        tsn_yaml_fail(&l->yaml, group->at, "groupname: \"%s\" is repeated in the same file", group->name);
}

static void take_rules(struct load *l, struct group_build *g)
{
    struct rules rules = { 0 };
    size_t count = 0;
    const yaml_node_item_t *items = g->rules_node ? tsn_yaml_items(&l->yaml, g->rules_node, "rules", &count) : NULL;

    for (size_t i = 0; i < count; i++)
        take_rule(l, tsn_yaml_node(&l->yaml, items[i]), &g->labels, &rules);
    g->group.rule_count = rules.list.len;
    g->group.rules = tsn_arena_calloc(&l->set->arena, rules.list.len + 1, sizeof *g->group.rules);
    if (rules.list.len)
        memcpy(g->group.rules, rules.list.items, rules.list.len * sizeof *g->group.rules);
    tsn_vec_release(&rules.list);
}

static void take_group(struct load *l, const yaml_node_t *node)
{
    struct group_build g = { .group.at = tsn_yaml_position(node), .group.file = l->yaml.file };
    struct tsn_yaml_pairs pairs;

    if (tsn_yaml_is_null(node) || !tsn_yaml_pairs(&l->yaml, node, "a group", &pairs))
        return;
    for (size_t i = 0; i < pairs.len; i++)
        group_key(l, &pairs.items[i], &g);
    tsn_vec_release(&pairs);
    name_group(l, &g.group);
    g.group.interval_given = g.group.interval_ms != 0;
    if (!g.group.interval_given)
        g.group.interval_ms = l->default_interval_ms;
    if (g.group.limit < 0)
        g.group.limit = 0;
    take_rules(l, &g);
    tsn_vec_release(&g.labels.list);
    tsn_vec_push(&l->groups, g.group);
}

static void take_file(struct load *l, const yaml_node_t *root)
{
    struct tsn_yaml_pairs pairs;
    const yaml_node_item_t *items;
    size_t count;

    if (!tsn_yaml_pairs(&l->yaml, root, "a rule file", &pairs))
        return;
    for (size_t i = 0; i < pairs.len; i++) {
        if (strcmp(pairs.items[i].key, "groups") != 0) {
            tsn_yaml_fail(&l->yaml, tsn_yaml_position(pairs.items[i].key_node),
                          "field %s not found in type rulefmt.RuleGroups; known: groups", pairs.items[i].key);
            continue;
        }
        items = tsn_yaml_items(&l->yaml, pairs.items[i].value, "groups", &count);
        for (size_t k = 0; k < count; k++)
            take_group(l, tsn_yaml_node(&l->yaml, items[k]));
    }
    tsn_vec_release(&pairs);
}

/* ---- the set ------------------------------------------------------------------------------ */

static void load_source(struct load *l, const struct tsn_rule_source *source, struct tsn_rule_errors *errors)
{
    l->yaml = (struct tsn_yaml){ .file = tsn_arena_strdup(&l->set->arena, source->file), .text = source->text,
                                 .len = source->len, .errors = errors, .arena = &l->set->arena };
    tsn_map_init(&l->names);
    if (tsn_yaml_load(&l->yaml) && tsn_yaml_root(&l->yaml))
        take_file(l, tsn_yaml_root(&l->yaml));
    tsn_yaml_release(&l->yaml);
    tsn_map_release(&l->names);
}

struct tsn_rule_set *tsn_rule_set_load(const struct tsn_rule_source *sources, size_t count,
                                       const struct tsn_rule_load_options *options, struct tsn_rule_errors *errors)
{
    struct tsn_rule_set *set = tsn_calloc(1, sizeof *set);
    struct load l = { .set = set, .default_interval_ms = DEFAULT_INTERVAL_MS };
    struct tsn_buf identity = TSN_BUF_INIT;
    size_t errors_before = errors->len;

    if (options && options->default_interval_ms)
        l.default_interval_ms = options->default_interval_ms;
    tsn_arena_init(&set->arena, 0);
    tsn_buf_printf(&identity, "%lld;", (long long)l.default_interval_ms);
    for (size_t i = 0; i < count; i++) {
        tsn_buf_printf(&identity, "%zu:%s;%zu:", strlen(sources[i].file), sources[i].file, sources[i].len);
        tsn_buf_append(&identity, sources[i].text, sources[i].len);
        load_source(&l, &sources[i], errors);
    }
    set->hash = tsn_hash128(tsn_buf_str(&identity), identity.len);
    tsn_buf_release(&identity);
    set->group_count = l.groups.len;
    set->groups = tsn_arena_calloc(&set->arena, l.groups.len + 1, sizeof *set->groups);
    if (l.groups.len)
        memcpy(set->groups, l.groups.items, l.groups.len * sizeof *set->groups);
    tsn_vec_release(&l.groups);
    if (errors->len > errors_before)
        tsn_rule_set_free(&set);
    return set;
}

static void free_texts(struct tsn_rule_text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tsn_template_free(&texts[i].tmpl);
}

void tsn_rule_set_free(struct tsn_rule_set **set)
{
    if (!*set)
        return;
    for (size_t g = 0; g < (*set)->group_count; g++)
        for (size_t r = 0; r < (*set)->groups[g].rule_count; r++) {
            struct tsn_rule *rule = &(*set)->groups[g].rules[r];

            tsn_query_free(&rule->query);
            free_texts(rule->labels, rule->label_count);
            free_texts(rule->annotations, rule->annotation_count);
        }
    tsn_arena_release(&(*set)->arena);
    tsn_free(*set);
    *set = NULL;
}
