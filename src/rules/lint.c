/*
 * lint: runs the checks over a rule set and puts the findings in order.
 *
 * Here are the findings that need several rules at once (one expression in two alerts, job in one rule
 * and service in another), positions, and the list itself. Checks of one rule are in lint_value.c and
 * lint_rule.c.
 */
#include "rules/lint.h"

/* ---- findings ----------------------------------------------------------------------------- */

char *lint_text(const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    return tsn_buf_take(&text, NULL);
}

char *lint_print(const struct tsn_expr *e)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_expr_print(&text, e);
    return tsn_buf_take(&text, NULL);
}

/* Where a byte of the expression is in the file; exact in plain one-line and literal block scalars. */
static struct tsn_position in_file(const struct tsn_rule *r, uint32_t offset)
{
    struct tsn_position at = r->expr_at;
    uint32_t line = 0, column = 1;

    for (uint32_t i = 0; i < offset && r->expr_text[i]; i++) {
        column++;
        if (r->expr_text[i] == '\n') {
            line++;
            column = 1;
        }
    }
    if (r->expr_is_block)
        return (struct tsn_position){ at.line + line, at.column + column - 1 }; /* at: its first character */
    at.column = line ? column : at.column + column - 1;
    at.line += line;
    return at;
}

static void push(struct lint *l, struct tsn_position at, const char *id, enum tsn_lint_severity severity,
                 char *suggestion, char *text)
{
    struct tsn_lint_finding f = { l->group->file, at, id, l->rule->name, severity, text, suggestion };

    tsn_vec_push(l->findings, f);
}

void lint_add_at(struct lint *l, struct tsn_position at, const char *id, enum tsn_lint_severity severity,
                 char *suggestion, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    push(l, at, id, severity, suggestion, tsn_buf_take(&text, NULL));
}

void lint_add(struct lint *l, const struct tsn_expr *at, const char *id, enum tsn_lint_severity severity,
              char *suggestion, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    push(l, at ? in_file(l->rule, at->span.start) : l->rule->at, id, severity, suggestion, tsn_buf_take(&text, NULL));
}

static int compare(const void *a, const void *b)
{
    const struct tsn_lint_finding *x = a, *y = b;
    int c = strcmp(x->file, y->file);

    if (c)
        return c;
    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    if (x->at.column != y->at.column)
        return x->at.column < y->at.column ? -1 : 1;
    c = strcmp(x->id, y->id);
    return c ? c : strcmp(x->text, y->text);
}

void tsn_lint_findings_release(struct tsn_lint_findings *findings)
{
    for (size_t i = 0; i < findings->len; i++) {
        tsn_free(findings->items[i].text);
        tsn_free(findings->items[i].suggestion);
    }
    tsn_vec_release(findings);
}

/* ---- between rules ------------------------------------------------------------------------ */

static void check_duplicate(struct lint *l, struct tsn_map *seen)
{
    struct tsn_buf key = TSN_BUF_INIT;
    const struct tsn_rule *first;

    tsn_buf_printf(&key, "%s\n", l->group->file);
    tsn_expr_print(&key, l->rule->query->root);
    first = tsn_map_get(seen, key.data, key.len);
    if (!first)
        tsn_map_put(seen, key.data, key.len, (void *)(uintptr_t)l->rule);
    else if (strcmp(first->name, l->rule->name))
        lint_add(l, l->rule->query->root, "duplicate-expression", TSN_LINT_WARNING,
                 lint_text("say in %s what makes it different, or drop it", l->rule->name),
                 "the expression of %s (line %u): whenever both have waited long enough, one trouble is two alerts",
                 first->name, first->at.line);
    tsn_buf_release(&key);
}

struct labels_used {
    const struct lint *l;
    bool job, shard;
};

static bool see_labels(const struct tsn_expr *e, void *arg)
{
    struct labels_used *used = arg;

    if (e->kind == TSN_EXPR_SELECTOR) {
        used->job |= lint_matcher(e, "job") != NULL;
        used->shard |= lint_matcher(e, used->l->opt.shard_label) != NULL;
    }
    return true;
}

static bool uses_label(const struct tsn_rule *r, const char *label)
{
    const char *uses[64];

    for (size_t i = 0; i < r->annotation_count; i++) {
        size_t n = r->annotations[i].tmpl ? tsn_template_label_uses(r->annotations[i].tmpl, uses, 64) : 0;

        for (size_t k = 0; k < n && k < 64; k++)
            if (!strcmp(uses[k], label))
                return true;
    }
    return false;
}

/* The service is called `job` by one rule of the file and by the shard label in another: of each
 * series one of the two is absent unless both are filled. */
static const struct tsn_rule *names_by_shard_label(const struct lint *l)
{
    for (size_t g = 0; g < l->set->group_count; g++) {
        const struct tsn_group *group = &l->set->groups[g];

        for (size_t r = 0; r < group->rule_count && !strcmp(group->file, l->group->file); r++) {
            struct labels_used used = { .l = l };

            tsn_expr_walk(group->rules[r].query->root, see_labels, &used);
            if (group->rules[r].is_alert && !used.job && uses_label(&group->rules[r], l->opt.shard_label))
                return &group->rules[r];
        }
    }
    return NULL;
}

static void check_job(struct lint *l)
{
    struct labels_used used = { .l = l };
    const struct tsn_rule *other;

    tsn_expr_walk(l->rule->query->root, see_labels, &used);
    if (!used.job || used.shard || !uses_label(l->rule, "job") || uses_label(l->rule, l->opt.shard_label))
        return;
    other = names_by_shard_label(l);
    if (other)
        lint_add(l, l->rule->query->root, "job-and-shard-label", TSN_LINT_INFO,
                 lint_text("select by `%s` here, too", l->opt.shard_label),
                 "selects by `job` while %s (line %u) goes by `%s`: on a stream each series has one of the two unless both "
                 "are filled, and the stream is divided by `%s`", other->name, other->at.line, l->opt.shard_label,
                 l->opt.shard_label);
}

/* ---- the run ------------------------------------------------------------------------------ */

static struct tsn_lint_options with_defaults(const struct tsn_lint_options *options)
{
    struct tsn_lint_options opt = { 0 };

    if (options)
        opt = *options;
    if (!opt.shard_label)
        opt.shard_label = "service";
    if (!opt.sample_interval_ms)
        opt.sample_interval_ms = 15000;
    if (!opt.counter_ttl_ms)
        opt.counter_ttl_ms = 2 * 3600 * 1000;
    if (!opt.cost_limit)
        opt.cost_limit = 10000000;
    return opt;
}

void tsn_lint_run(const struct tsn_rule_set *set, const struct tsn_lint_options *options,
                  struct tsn_lint_findings *findings)
{
    struct lint l = { .set = set, .opt = with_defaults(options), .findings = findings };
    struct tsn_map seen;

    tsn_map_init(&seen);
    for (size_t g = 0; g < set->group_count; g++) {
        l.group = &set->groups[g];
        for (size_t r = 0; r < l.group->rule_count; r++) {
            l.rule = &l.group->rules[r];
            lint_values(&l);
            lint_rule(&l);
            if (l.rule->is_alert) {
                check_duplicate(&l, &seen);
                check_job(&l);
            }
        }
    }
    tsn_map_release(&seen);
    if (findings->len)
        qsort(findings->items, findings->len, sizeof *findings->items, compare);
}
