/*
 * print: the canonical text of an expression, as Prometheus prints one.
 *
 * One line; matchers sorted by their text, the name outside the braces when it was written there;
 * durations in canonical units; modifiers in the order [range] @ offset. The text parses back to the
 * same tree (duration arithmetic prints folded).
 */
#include "promql/parser.h"

#include <math.h>

/* As Go's strconv.Quote; the rule for what is printable is narrowed to: not a control. */
static void put_quoted(struct tsn_buf *out, const char *text, size_t len)
{
    static const char names[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";

    tsn_buf_putc(out, '"');
    for (size_t i = 0; i < len;) {
        uint32_t code = 0;
        size_t width = tsn_utf8_decode(text + i, len - i, &code);
        const char *name = width && code && code < 0x80 ? strchr(names, (int)code) : NULL;

        if (!width)
            tsn_buf_printf(out, "\\x%02x", (unsigned char)text[i]);
        else if (code == '"' || code == '\\')
            tsn_buf_printf(out, "\\%c", (int)code);
        else if (name)
            tsn_buf_printf(out, "\\%c", letters[name - names]);
        else if (code < 0x20 || code == 0x7f)
            tsn_buf_printf(out, "\\x%02x", code);
        else if ((code >= 0x80 && code < 0xa1) || code == 0xad || code == 0xfeff)
            tsn_buf_printf(out, "\\u%04x", code);
        else
            tsn_buf_append(out, text + i, width);
        i += width ? width : 1;
    }
    tsn_buf_putc(out, '"');
}

static void put_labels(struct tsn_buf *out, const char *const *labels, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strlen(labels[i]);

        if (i)
            tsn_buf_puts(out, ", ");
        if (tsn_label_name_classic(labels[i], len))
            tsn_buf_append(out, labels[i], len);
        else
            put_quoted(out, labels[i], len);
    }
}

static void put_duration(struct tsn_buf *out, int64_t ms)
{
    char text[TSN_DURATION_TEXT];

    tsn_format_duration(text, ms < 0 ? -ms : ms);
    tsn_buf_printf(out, "%s%s", ms < 0 ? "-" : "", text);
}

/* A range or step; one that folded to nothing prints as what would fold to it again. */
static void put_range(struct tsn_buf *out, int64_t ms)
{
    if (ms > 0)
        put_duration(out, ms);
    else
        tsn_buf_puts(out, "step()");
}

static void put_number(struct tsn_buf *out, const struct tsn_expr *e)
{
    char text[TSN_DOUBLE_TEXT];

    if (e->number_is_duration) {
        put_duration(out, (int64_t)llround(e->u.number * 1000));
        return;
    }
    tsn_format_double(text, sizeof text, e->u.number, 'f', 0);
    tsn_buf_puts(out, text);
}

static void put_time(struct tsn_buf *out, enum tsn_at_kind at, int64_t at_ms, int64_t offset_ms)
{
    if (at == TSN_AT_TIMESTAMP)
        tsn_buf_printf(out, " @ %.3f", (double)at_ms / 1000);
    else if (at != TSN_AT_NONE)
        tsn_buf_puts(out, at == TSN_AT_START ? " @ start()" : " @ end()");
    if (offset_ms) {
        tsn_buf_puts(out, " offset ");
        put_duration(out, offset_ms);
    }
}

static void put_matcher(struct tsn_buf *out, const struct tsn_matcher *m)
{
    static const char *const ops[] = { "=", "!=", "=~", "!~" };

    if (tsn_label_name_classic(m->name, m->name_len))
        tsn_buf_append(out, m->name, m->name_len);
    else
        put_quoted(out, m->name, m->name_len);
    tsn_buf_puts(out, ops[m->op]);
    put_quoted(out, m->value, m->value_len);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_selector(struct tsn_buf *out, const struct tsn_expr *e)
{
    TSN_VEC(char *) texts = { 0 };
    const char *name = e->u.selector.name;

    for (uint32_t i = 0; i < e->u.selector.matcher_count; i++) {
        struct tsn_buf one = TSN_BUF_INIT;

        if (name && i + 1 == e->u.selector.matcher_count)
            break;
        put_matcher(&one, &e->u.selector.matchers[i]);
        tsn_vec_push(&texts, tsn_buf_take(&one, NULL));
    }
    if (texts.len)
        qsort(texts.items, texts.len, sizeof texts.items[0], compare_texts);
    tsn_buf_puts(out, name ? name : "");
    for (size_t i = 0; i < texts.len; i++) {
        tsn_buf_putc(out, i ? ',' : '{');
        tsn_buf_puts(out, texts.items[i]);
        tsn_free(texts.items[i]);
    }
    if (texts.len)
        tsn_buf_putc(out, '}');
    tsn_vec_release(&texts);
}

static const char *extended_text(const struct tsn_expr *selector)
{
    return selector->u.selector.anchored ? " anchored" : selector->u.selector.smoothed ? " smoothed" : "";
}

static void put_matrix(struct tsn_buf *out, const struct tsn_expr *e)
{
    const struct tsn_expr *s = e->u.matrix.selector;

    put_selector(out, s);
    tsn_buf_putc(out, '[');
    put_range(out, e->u.matrix.range_ms);
    tsn_buf_printf(out, "]%s", extended_text(s));
    put_time(out, s->u.selector.at, s->u.selector.at_ms, s->u.selector.offset_ms);
}

static void put_matching(struct tsn_buf *out, const struct tsn_expr *e)
{
    bool many = e->u.binary.card == TSN_CARD_MANY_TO_ONE || e->u.binary.card == TSN_CARD_ONE_TO_MANY;

    if (e->u.binary.return_bool)
        tsn_buf_puts(out, " bool");
    if (e->u.binary.match_label_count || e->u.binary.on || many) {
        tsn_buf_puts(out, e->u.binary.on ? " on (" : " ignoring (");
        put_labels(out, e->u.binary.match_labels, e->u.binary.match_label_count);
        tsn_buf_putc(out, ')');
    }
    if (many) {
        tsn_buf_puts(out, e->u.binary.card == TSN_CARD_MANY_TO_ONE ? " group_left (" : " group_right (");
        put_labels(out, e->u.binary.include_labels, e->u.binary.include_label_count);
        tsn_buf_putc(out, ')');
    }
}

static void put_binary(struct tsn_buf *out, const struct tsn_expr *e)
{
    tsn_expr_print(out, e->u.binary.lhs);
    tsn_buf_printf(out, " %s", tsn_binop_text(e->u.binary.op));
    put_matching(out, e);
    tsn_buf_putc(out, ' ');
    tsn_expr_print(out, e->u.binary.rhs);
}

static void put_aggregate(struct tsn_buf *out, const struct tsn_expr *e)
{
    tsn_buf_puts(out, tsn_aggop_text(e->u.aggregate.op));
    if (e->u.aggregate.without || e->u.aggregate.label_count) {
        tsn_buf_puts(out, e->u.aggregate.without ? " without (" : " by (");
        put_labels(out, e->u.aggregate.labels, e->u.aggregate.label_count);
        tsn_buf_puts(out, ") ");
    }
    tsn_buf_putc(out, '(');
    if (e->u.aggregate.param) {
        tsn_expr_print(out, e->u.aggregate.param);
        tsn_buf_puts(out, ", ");
    }
    tsn_expr_print(out, e->u.aggregate.operand);
    tsn_buf_putc(out, ')');
}

static void put_call(struct tsn_buf *out, const struct tsn_expr *e)
{
    tsn_buf_printf(out, "%s(", e->u.call.func->name);
    for (uint32_t i = 0; i < e->u.call.arg_count; i++) {
        if (i)
            tsn_buf_puts(out, ", ");
        tsn_expr_print(out, e->u.call.args[i]);
    }
    tsn_buf_putc(out, ')');
}

static void put_subquery(struct tsn_buf *out, const struct tsn_expr *e)
{
    tsn_expr_print(out, e->u.subquery.operand);
    tsn_buf_putc(out, '[');
    put_range(out, e->u.subquery.range_ms);
    tsn_buf_putc(out, ':');
    if (e->u.subquery.step_ms)
        put_range(out, e->u.subquery.step_ms);
    tsn_buf_putc(out, ']');
    put_time(out, e->u.subquery.at, e->u.subquery.at_ms, e->u.subquery.offset_ms);
}

void tsn_expr_print(struct tsn_buf *out, const struct tsn_expr *e)
{
    switch (e->kind) {
    case TSN_EXPR_NUMBER: put_number(out, e); break;
    case TSN_EXPR_STRING: put_quoted(out, e->u.string.text, e->u.string.len); break;
    case TSN_EXPR_PAREN:
        tsn_buf_putc(out, '(');
        tsn_expr_print(out, e->u.paren);
        tsn_buf_putc(out, ')');
        break;
    case TSN_EXPR_UNARY:
        tsn_buf_putc(out, e->u.unary.negate ? '-' : '+');
        tsn_expr_print(out, e->u.unary.operand);
        break;
    case TSN_EXPR_BINARY: put_binary(out, e); break;
    case TSN_EXPR_CALL: put_call(out, e); break;
    case TSN_EXPR_AGGREGATE: put_aggregate(out, e); break;
    case TSN_EXPR_SELECTOR:
        put_selector(out, e);
        tsn_buf_puts(out, extended_text(e));
        put_time(out, e->u.selector.at, e->u.selector.at_ms, e->u.selector.offset_ms);
        break;
    case TSN_EXPR_MATRIX: put_matrix(out, e); break;
    case TSN_EXPR_SUBQUERY: put_subquery(out, e); break;
    }
}
