/*
 * template: the public face of alert templates; what they are made of is told in template.h.
 *
 * Prometheus puts four variables before every text ($labels, $externalLabels, $externalURL,
 * $value), on the text's own first line, so columns in errors count them too. A compiled template
 * is immutable and may be run many times; each run has an arena of its own.
 */
#include "rules/template.h"

static const char prefix[] = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}"
                             "{{$externalURL := .ExternalURL}}{{$value := .Value}}";

static void add_use(struct tsn_template *t, struct tmpl_str name)
{
    const char **uses;

    for (size_t i = 0; i < t->label_use_count; i++)
        if (strlen(t->label_uses[i]) == name.len && !memcmp(t->label_uses[i], name.text, name.len))
            return;
    uses = tsn_arena_alloc(&t->arena, (t->label_use_count + 1) * sizeof(const char *));
    if (t->label_use_count)
        memcpy(uses, t->label_uses, t->label_use_count * sizeof *uses);
    uses[t->label_use_count++] = tsn_arena_strndup(&t->arena, name.text, name.len);
    t->label_uses = uses;
}

static bool same(struct tmpl_str a, const char *b)
{
    return strlen(b) == a.len && !memcmp(a.text, b, a.len);
}

/* $labels.x and $.Labels.x; .Labels.x where the dot is still the alert's data. */
static void note_idents(struct tsn_template *t, const struct tmpl_node *n, bool dot_is_data)
{
    bool variable = n->type == NODE_VARIABLE;
    size_t at = variable && same(n->idents[0], "$") ? 1 : 0;

    if ((!variable && !dot_is_data) || n->ident_count <= at + 1)
        return;
    if (same(n->idents[at], variable && !at ? "$labels" : "Labels"))
        add_use(t, n->idents[at + 1]);
}

static void find_uses(struct tsn_template *t, const struct tmpl_node *n, bool dot_is_data)
{
    bool moves_dot;

    if (!n)
        return;
    moves_dot = n->type == NODE_RANGE || n->type == NODE_WITH;
    if (n->type == NODE_VARIABLE || n->type == NODE_FIELD)
        note_idents(t, n, dot_is_data);
    /* index $labels "x" */
    if (n->type == NODE_COMMAND && n->kid_count == 3 && n->kids[0]->type == NODE_IDENTIFIER &&
        same(n->kids[0]->text, "index") && n->kids[1]->type == NODE_VARIABLE &&
        same(n->kids[1]->idents[0], "$labels") && n->kids[2]->type == NODE_STRING)
        add_use(t, n->kids[2]->value);
    for (size_t i = 0; i < n->kid_count; i++)
        find_uses(t, n->kids[i], dot_is_data);
    find_uses(t, n->pipe, dot_is_data);
    find_uses(t, n->body, dot_is_data && !moves_dot);
    find_uses(t, n->other, dot_is_data);
}

struct tsn_template *tsn_template_new(const char *name, const char *text, size_t len, struct tsn_error *error)
{
    struct tsn_template *t = tsn_calloc(1, sizeof *t);
    size_t prefix_len = sizeof prefix - 1;

    tsn_arena_init(&t->arena, 4096);
    t->name = tsn_arena_printf(&t->arena, "__alert_%s", name);
    if (len > TMPL_MAX_TEXT) {
        tsn_error_set(error, TSN_ERR_LIMIT, "template: %s: text over %u bytes", t->name, TMPL_MAX_TEXT);
        tsn_template_free(&t);
        return NULL;
    }
    t->len = prefix_len + len;
    t->text = tsn_arena_alloc(&t->arena, t->len + 1);
    memcpy(t->text, prefix, prefix_len);
    memcpy(t->text + prefix_len, text, len);
    t->text[t->len] = '\0';
    if (!tmpl_parse(t, error)) {
        tsn_template_free(&t);
        return NULL;
    }
    find_uses(t, t->trees[0].root, true); /* a {{define}} sees neither $labels nor, surely, the data */
    return t;
}

void tsn_template_free(struct tsn_template **tmpl)
{
    if (!*tmpl)
        return;
    tsn_arena_release(&(*tmpl)->arena);
    tsn_free(*tmpl);
    *tmpl = NULL;
}

enum tsn_err tsn_template_run(const struct tsn_template *tmpl, const struct tsn_template_env *env, struct tsn_buf *out,
                              struct tsn_error *error)
{
    struct tsn_error ignored;
    struct tmpl_run run = { .tmpl = tmpl, .env = env, .out = out, .out_start = out->len,
                            .error = error ? error : &ignored };
    bool ok;

    tsn_arena_init(&run.arena, 8192);
    ok = tmpl_execute(&run);
    if (!ok) {
        out->len = run.out_start;
        if (out->data)
            out->data[out->len] = '\0';
    }
    for (size_t i = 0; i < run.results.len; i++) {
        tsn_result_release(run.results.items[i]);
        tsn_free(run.results.items[i]);
    }
    tsn_vec_release(&run.results);
    tsn_vec_release(&run.vars);
    tsn_arena_release(&run.arena);
    return ok ? TSN_OK : run.error->code;
}

size_t tsn_template_label_uses(const struct tsn_template *tmpl, const char **names, size_t max)
{
    for (size_t i = 0; i < tmpl->label_use_count && i < max; i++)
        names[i] = tmpl->label_uses[i];
    return tmpl->label_use_count;
}

bool tsn_template_uses_query(const struct tsn_template *tmpl)
{
    return tmpl->uses_query;
}
