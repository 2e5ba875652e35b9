/*
 * load: Prometheus rule files, strictly, with file:line:column for every error.
 *
 * libyaml's document tree keeps the marks of every node; a walk over it fills the set and collects
 * errors instead of stopping at the first. An expression's error is placed inside the text: plain and
 * quoted scalars start at their mark (plus the quote), block scalars on the line after.
 * Bounds: 16 MiB a file, 100,000 rules a set; aliases are nodes of the same tree, so none can grow it.
 * Source: rulefmt of Prometheus 3.16.
 */
#include "tocsin/rules.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_BYTES = 16 << 20, MAX_RULES = 100000, MAX_MERGES = 16, DEFAULT_INTERVAL_MS = 60000 };

struct load {
    struct tsn_rule_set *set;
    struct tsn_rule_errors *errors;
    const char *file;
    yaml_document_t *doc;
    int64_t default_interval_ms;
    size_t rules;
};

static void fail_at(struct load *l, struct tsn_position at, const char *fmt, ...) TSN_PRINTF(3, 4);
static void fail_at(struct load *l, struct tsn_position at, const char *fmt, ...)
{
    struct tsn_rule_error error = { tsn_strdup(l->file), at, NULL };
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    error.message = tsn_buf_take(&text, NULL);
    tsn_vec_push(l->errors, error);
}

void tsn_rule_errors_release(struct tsn_rule_errors *errors)
{
    for (size_t i = 0; i < errors->len; i++) {
        tsn_free(errors->items[i].file);
        tsn_free(errors->items[i].message);
    }
    tsn_vec_release(errors);
}

static struct tsn_position position(const yaml_node_t *node)
{
    return (struct tsn_position){ (uint32_t)node->start_mark.line + 1, (uint32_t)node->start_mark.column + 1 };
}

static yaml_node_t *node_at(struct load *l, int id)
{
    return yaml_document_get_node(l->doc, id);
}

/* Scalar text, or NULL after an error. */
static const char *scalar(struct load *l, const yaml_node_t *node, const char *what)
{
    if (node->type != YAML_SCALAR_NODE) {
        fail_at(l, position(node), "%s must be text, not a %s", what, node->type == YAML_MAPPING_NODE ? "mapping" : "list");
        return NULL;
    }
    if (strlen((const char *)node->data.scalar.value) != node->data.scalar.length) {
        fail_at(l, position(node), "%s holds a NUL", what);
        return NULL;
    }
    return tsn_arena_strdup(&l->set->arena, (const char *)node->data.scalar.value);
}

static int64_t duration(struct load *l, const yaml_node_t *node, const char *what)
{
    const char *text = scalar(l, node, what);
    int64_t ms = 0;

    if (text && !tsn_parse_duration(text, strlen(text), &ms))
        fail_at(l, position(node), "%s: not a valid duration string: \"%s\"", what, text);
    return ms;
}

typedef void pair_visit(struct load *, const char *, const yaml_node_t *, const yaml_node_t *, void *);
struct pair_walk {
    pair_visit *visit;
    void *arg;
    struct tsn_map seen;
};

static bool is_merge(const yaml_node_t *key)
{
    return key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, "<<") == 0;
}

static void walk_pairs(struct load *l, const yaml_node_t *map, struct pair_walk *walk, int depth);

/* `<<: *base` or `<<: [*a, *b]`: their keys count where the mapping itself and earlier ones have none. */
static void walk_merge(struct load *l, const yaml_node_t *value, struct pair_walk *walk, int depth)
{
    if (value->type == YAML_MAPPING_NODE && depth < MAX_MERGES) {
        walk_pairs(l, value, walk, depth + 1);
    } else if (value->type == YAML_SEQUENCE_NODE && depth < MAX_MERGES) {
        for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++)
            walk_merge(l, node_at(l, *i), walk, depth + 1);
    } else {
        fail_at(l, position(value), "map merge requires map or sequence of maps as the value");
    }
}

/* depth 0: the mapping itself, where a key twice is an error; deeper: merged ones, where it is shadowed. */
static void walk_pairs(struct load *l, const yaml_node_t *map, struct pair_walk *walk, int depth)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = node_at(l, p->key);
        const char *name = is_merge(key) ? NULL : scalar(l, key, "a key");

        if (!name)
            continue;
        if (!tsn_map_put_str(&walk->seen, name, l))
            walk->visit(l, name, key, node_at(l, p->value), walk->arg);
        else if (!depth)
            fail_at(l, position(key), "mapping key \"%s\" already defined", name);
    }
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++)
        if (is_merge(node_at(l, p->key)))
            walk_merge(l, node_at(l, p->value), walk, depth);
}

/* Calls visit for each pair of a mapping, merges included. An empty value or null is an empty mapping. */
static void each_pair(struct load *l, const yaml_node_t *map, const char *what, pair_visit *visit, void *arg)
{
    struct pair_walk walk = { visit, arg, { 0 } };

    if (map->type == YAML_SCALAR_NODE && (map->data.scalar.length == 0 || strcmp((const char *)map->data.scalar.value, "null") == 0))
        return;
    if (map->type != YAML_MAPPING_NODE) {
        fail_at(l, position(map), "%s must be a mapping", what);
        return;
    }
    tsn_map_init(&walk.seen);
    walk_pairs(l, map, &walk, 0);
    tsn_map_release(&walk.seen);
}

static void each_item(struct load *l, const yaml_node_t *list, const char *what,
                      void (*visit)(struct load *, const yaml_node_t *, void *), void *arg)
{
    if (list->type == YAML_SCALAR_NODE && list->data.scalar.length == 0)
        return;
    if (list->type != YAML_SEQUENCE_NODE) {
        fail_at(l, position(list), "%s must be a list", what);
        return;
    }
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++)
        visit(l, node_at(l, *i), arg);
}

/* ---- labels and annotations --------------------------------------------------------------- */

struct texts {
    TSN_VEC(struct tsn_rule_text) list;
    bool labels;
};

static void take_text(struct load *l, const char *name, const yaml_node_t *key, const yaml_node_t *value, void *arg)
{
    struct texts *texts = arg;
    struct tsn_rule_text text = { .name = name, .value = scalar(l, value, name), .at = position(value) };
    struct tsn_error error;

    if (!text.value)
        return;
    if (!*name || !tsn_utf8_valid(name, strlen(name)) || (texts->labels && strcmp(name, "__name__") == 0))
        fail_at(l, position(key), "invalid %s name: %s", texts->labels ? "label" : "annotation", name);
    if (texts->labels && !tsn_utf8_valid(text.value, strlen(text.value)))
        fail_at(l, position(value), "invalid label value: %s", text.value);
    if (strstr(text.value, "{{")) {
        text.tmpl = tsn_template_new(name, text.value, strlen(text.value), &error);
        if (!text.tmpl)
            fail_at(l, position(value), "%s \"%s\": %s", texts->labels ? "label" : "annotation", name, error.message);
    }
    tsn_vec_push(&texts->list, text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tsn_rule_text *)a)->name, ((const struct tsn_rule_text *)b)->name);
}

static struct tsn_rule_text *keep_texts(struct load *l, struct texts *texts, size_t *count)
{
    struct tsn_rule_text *kept = tsn_arena_calloc(&l->set->arena, texts->list.len + 1, sizeof *kept);

    *count = texts->list.len;
    if (texts->list.len) {
        memcpy(kept, texts->list.items, texts->list.len * sizeof *kept);
        qsort(kept, texts->list.len, sizeof *kept, by_name);
    }
    tsn_vec_release(&texts->list);
    return kept;
}

/* ---- rules -------------------------------------------------------------------------------- */

struct rule_build {
    struct tsn_rule rule;
    const char *record, *alert;
    const yaml_node_t *expr, *for_node, *keep_node, *annotations_node;
    struct texts labels, annotations;
};

static void rule_key(struct load *l, const char *name, const yaml_node_t *key, const yaml_node_t *value, void *arg)
{
    struct rule_build *b = arg;

    if (strcmp(name, "record") == 0) {
        b->record = scalar(l, value, name);
    } else if (strcmp(name, "alert") == 0) {
        b->alert = scalar(l, value, name);
    } else if (strcmp(name, "expr") == 0) {
        b->expr = value;
        b->rule.expr_text = scalar(l, value, name);
    } else if (strcmp(name, "for") == 0) {
        b->for_node = value;
        b->rule.for_ms = duration(l, value, name);
    } else if (strcmp(name, "keep_firing_for") == 0) {
        b->keep_node = value;
        b->rule.keep_firing_for_ms = duration(l, value, name);
    } else if (strcmp(name, "labels") == 0) {
        each_pair(l, value, name, take_text, &b->labels);
    } else if (strcmp(name, "annotations") == 0) {
        b->annotations_node = value;
        each_pair(l, value, name, take_text, &b->annotations);
    } else {
        fail_at(l, position(key), "field %s not found in type rulefmt.Rule; known: record, alert, expr, for, "
                "keep_firing_for, labels, annotations", name);
    }
}

/* Where line:column of the expression's text is in the file. */
static struct tsn_position in_expr(const struct rule_build *b, uint32_t line, uint32_t column)
{
    struct tsn_position at = position(b->expr);
    yaml_scalar_style_t style = b->expr->data.scalar.style;

    if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
        return (struct tsn_position){ at.line + line, column };
    at.line += line - 1;
    at.column = line == 1 ? at.column + column - 1 + (style != YAML_PLAIN_SCALAR_STYLE) : column;
    return at;
}

static void check_rule(struct load *l, struct rule_build *b, struct tsn_position at)
{
    struct tsn_parse_error parse;
    yaml_scalar_style_t style;

    if (!b->record == !b->alert)
        fail_at(l, at, b->record ? "only one of 'record' and 'alert' must be set"
                                 : "one of 'record' or 'alert' must be set");
    if (b->record && (b->for_node || b->keep_node || b->annotations_node)) {
        if (b->annotations_node)
            fail_at(l, position(b->annotations_node), "invalid field 'annotations' in recording rule");
        if (b->for_node && b->rule.for_ms)
            fail_at(l, position(b->for_node), "invalid field 'for' in recording rule");
        if (b->keep_node && b->rule.keep_firing_for_ms)
            fail_at(l, position(b->keep_node), "invalid field 'keep_firing_for' in recording rule");
    }
    if (b->record && (!*b->record || strpbrk(b->record, "{}") || !tsn_utf8_valid(b->record, strlen(b->record))))
        fail_at(l, at, "invalid recording rule name: %s", b->record);
    if (!b->expr || !b->rule.expr_text || !*b->rule.expr_text) {
        fail_at(l, at, "field 'expr' must be set in rule");
        return;
    }
    style = b->expr->data.scalar.style;
    b->rule.expr_at = position(b->expr);
    b->rule.expr_is_block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    b->rule.query = tsn_query_parse(b->rule.expr_text, strlen(b->rule.expr_text), &parse);
    if (!b->rule.query)
        fail_at(l, in_expr(b, parse.line, parse.column), "could not parse expression: %s", parse.message);
}

struct group_build {
    struct tsn_group group;
    TSN_VEC(struct tsn_rule) rules;
    struct texts labels;
    const yaml_node_t *rules_node;
};

/* The rule's labels over the group's. Group labels are compiled per rule, so that each owns its own. */
static void add_group_labels(struct load *l, struct rule_build *b, const struct texts *group)
{
    for (size_t i = 0; i < group->list.len; i++) {
        struct tsn_rule_text text = group->list.items[i];
        bool has = false;

        for (size_t k = 0; k < b->labels.list.len; k++)
            has = has || strcmp(b->labels.list.items[k].name, text.name) == 0;
        if (has)
            continue;
        if (text.tmpl)
            text.tmpl = tsn_template_new(text.name, text.value, strlen(text.value), NULL);
        tsn_vec_push(&b->labels.list, text);
    }
    TSN_UNUSED(l);
}

static void take_rule(struct load *l, const yaml_node_t *node, void *arg)
{
    struct group_build *g = arg;
    struct rule_build b = { .labels.labels = true };

    if (++l->rules > MAX_RULES) {
        if (l->rules == MAX_RULES + 1)
            fail_at(l, position(node), "more than %d rules", MAX_RULES);
        return;
    }
    each_pair(l, node, "a rule", rule_key, &b);
    b.rule.at = position(node);
    b.rule.is_alert = b.alert != NULL;
    b.rule.name = b.alert ? b.alert : b.record ? b.record : "";
    check_rule(l, &b, b.rule.at);
    add_group_labels(l, &b, &g->labels);
    b.rule.labels = keep_texts(l, &b.labels, &b.rule.label_count);
    b.rule.annotations = keep_texts(l, &b.annotations, &b.rule.annotation_count);
    tsn_vec_push(&g->rules, b.rule);
}

static void group_key(struct load *l, const char *name, const yaml_node_t *key, const yaml_node_t *value, void *arg)
{
    struct group_build *g = arg;

    if (strcmp(name, "name") == 0) {
        g->group.name = scalar(l, value, name);
    } else if (strcmp(name, "interval") == 0) {
        g->group.interval_ms = duration(l, value, name);
        g->group.interval_given = true;
    } else if (strcmp(name, "query_offset") == 0) {
        g->group.query_offset_ms = duration(l, value, name);
    } else if (strcmp(name, "limit") == 0) {
        const char *text = scalar(l, value, name);

        if (text && !tsn_parse_i64(text, strlen(text), &g->group.limit))
            fail_at(l, position(value), "limit: \"%s\" is not a whole number", text);
    } else if (strcmp(name, "labels") == 0) {
        each_pair(l, value, name, take_text, &g->labels);
    } else if (strcmp(name, "rules") == 0) {
        g->rules_node = value;
    } else {
        fail_at(l, position(key), "field %s not found in type rulefmt.RuleGroup; known: name, interval, query_offset, "
                "limit, labels, rules", name);
    }
}

struct groups {
    TSN_VEC(struct tsn_group) list;
};

static void take_group(struct load *l, const yaml_node_t *node, void *arg)
{
    struct groups *groups = arg;
    struct group_build g = { .labels.labels = true };

    each_pair(l, node, "a group", group_key, &g);
    g.group.at = position(node);
    g.group.file = l->file;
    if (!g.group.name || !*g.group.name)
        fail_at(l, g.group.at, "Groupname must not be empty");
    for (size_t i = 0; i < groups->list.len && g.group.name; i++)
        if (strcmp(groups->list.items[i].file, l->file) == 0 && strcmp(groups->list.items[i].name, g.group.name) == 0)
            fail_at(l, g.group.at, "groupname: \"%s\" is repeated in the same file", g.group.name);
    if (!g.group.name)
        g.group.name = "";
    if (!g.group.interval_ms)
        g.group.interval_ms = l->default_interval_ms;
    if (g.rules_node)
        each_item(l, g.rules_node, "rules", take_rule, &g);
    for (size_t i = 0; i < g.labels.list.len; i++)
        tsn_template_free(&g.labels.list.items[i].tmpl);
    tsn_vec_release(&g.labels.list);
    g.group.rule_count = g.rules.len;
    g.group.rules = tsn_arena_calloc(&l->set->arena, g.rules.len + 1, sizeof *g.group.rules);
    if (g.rules.len)
        memcpy(g.group.rules, g.rules.items, g.rules.len * sizeof *g.group.rules);
    tsn_vec_release(&g.rules);
    tsn_vec_push(&groups->list, g.group);
}

static void file_key(struct load *l, const char *name, const yaml_node_t *key, const yaml_node_t *value, void *arg)
{
    if (strcmp(name, "groups") == 0)
        each_item(l, value, name, take_group, arg);
    else
        fail_at(l, position(key), "field %s not found in type rulefmt.RuleGroups; known: groups", name);
}

static void load_source(struct load *l, const struct tsn_rule_source *source, struct groups *groups)
{
    yaml_parser_t parser;
    yaml_document_t doc;

    l->file = tsn_arena_strdup(&l->set->arena, source->file);
    if (source->len > MAX_BYTES) {
        fail_at(l, (struct tsn_position){ 0, 0 }, "larger than %d bytes", MAX_BYTES);
        return;
    }
    if (!yaml_parser_initialize(&parser)) {
        fail_at(l, (struct tsn_position){ 0, 0 }, "the YAML parser could not start");
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)source->text, source->len);
    if (!yaml_parser_load(&parser, &doc)) {
        fail_at(l, (struct tsn_position){ (uint32_t)parser.problem_mark.line + 1, (uint32_t)parser.problem_mark.column + 1 },
                "%s", parser.problem ? parser.problem : "not YAML");
    } else {
        l->doc = &doc;
        if (yaml_document_get_root_node(&doc))
            each_pair(l, yaml_document_get_root_node(&doc), "a rule file", file_key, groups);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
}

struct tsn_rule_set *tsn_rule_set_load(const struct tsn_rule_source *sources, size_t count,
                                       const struct tsn_rule_load_options *options, struct tsn_rule_errors *errors)
{
    struct tsn_rule_set *set = tsn_calloc(1, sizeof *set);
    struct load l = { .set = set, .errors = errors, .default_interval_ms = DEFAULT_INTERVAL_MS };
    struct groups groups = { 0 };
    struct tsn_buf identity = TSN_BUF_INIT;
    size_t errors_before = errors->len;

    if (options && options->default_interval_ms)
        l.default_interval_ms = options->default_interval_ms;
    tsn_arena_init(&set->arena, 0);
    tsn_buf_printf(&identity, "%lld;", (long long)l.default_interval_ms);
    for (size_t i = 0; i < count; i++) {
        tsn_buf_printf(&identity, "%s;%zu;", sources[i].file, sources[i].len);
        tsn_buf_append(&identity, sources[i].text, sources[i].len);
        load_source(&l, &sources[i], &groups);
    }
    set->hash = tsn_hash128(tsn_buf_str(&identity), identity.len);
    tsn_buf_release(&identity);
    set->group_count = groups.list.len;
    set->groups = tsn_arena_calloc(&set->arena, groups.list.len + 1, sizeof *set->groups);
    if (groups.list.len)
        memcpy(set->groups, groups.list.items, groups.list.len * sizeof *set->groups);
    tsn_vec_release(&groups.list);
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
