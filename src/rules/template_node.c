/*
 * template_node: nodes as text, and constants.
 *
 * Execution errors quote the node they happened at, in the canonical spelling Go gives it (one
 * space between arguments, " | " between commands), so the printer must agree with Go's to the
 * byte. Number constants carry every type that can hold them; the context picks one later.
 */
#include "rules/template.h"

#include <errno.h>
#include <math.h>

static void put(struct tsn_buf *out, struct tmpl_str s)
{
    tsn_buf_append(out, s.text, s.len);
}

static void print_pipe(struct tsn_buf *out, const struct tmpl_node *n)
{
    for (size_t i = 0; i < n->decl_count; i++) {
        if (i)
            tsn_buf_puts(out, ", ");
        tmpl_node_print(out, n->decl[i]);
    }
    if (n->decl_count)
        tsn_buf_puts(out, n->is_assign ? " = " : " := ");
    for (size_t i = 0; i < n->kid_count; i++) {
        if (i)
            tsn_buf_puts(out, " | ");
        tmpl_node_print(out, n->kids[i]);
    }
}

static void print_operand(struct tsn_buf *out, const struct tmpl_node *n)
{
    bool paren = n->type == NODE_PIPE;

    if (paren)
        tsn_buf_putc(out, '(');
    tmpl_node_print(out, n);
    if (paren)
        tsn_buf_putc(out, ')');
}

static void print_branch(struct tsn_buf *out, const struct tmpl_node *n, const char *word)
{
    tsn_buf_printf(out, "{{%s ", word);
    tmpl_node_print(out, n->pipe);
    tsn_buf_puts(out, "}}");
    tmpl_node_print(out, n->body);
    if (n->other) {
        tsn_buf_puts(out, "{{else}}");
        tmpl_node_print(out, n->other);
    }
    tsn_buf_puts(out, "{{end}}");
}

static void print_template(struct tsn_buf *out, const struct tmpl_node *n)
{
    tsn_buf_puts(out, "{{template ");
    tmpl_quote(out, n->text, '"', false);
    if (n->pipe) {
        tsn_buf_putc(out, ' ');
        tmpl_node_print(out, n->pipe);
    }
    tsn_buf_puts(out, "}}");
}

void tmpl_node_print(struct tsn_buf *out, const struct tmpl_node *n)
{
    switch (n->type) {
    case NODE_TEXT:
    case NODE_NUMBER:
    case NODE_STRING:
    case NODE_IDENTIFIER: put(out, n->text); break;
    case NODE_BOOL: tsn_buf_puts(out, n->truth ? "true" : "false"); break;
    case NODE_DOT: tsn_buf_putc(out, '.'); break;
    case NODE_NIL: tsn_buf_puts(out, "nil"); break;
    case NODE_ELSE: tsn_buf_puts(out, "{{else}}"); break;
    case NODE_END: tsn_buf_puts(out, "{{end}}"); break;
    case NODE_BREAK: tsn_buf_puts(out, "{{break}}"); break;
    case NODE_CONTINUE: tsn_buf_puts(out, "{{continue}}"); break;
    case NODE_IF: print_branch(out, n, "if"); break;
    case NODE_RANGE: print_branch(out, n, "range"); break;
    case NODE_WITH: print_branch(out, n, "with"); break;
    case NODE_TEMPLATE: print_template(out, n); break;
    case NODE_PIPE: print_pipe(out, n); break;
    case NODE_ACTION:
        tsn_buf_puts(out, "{{");
        tmpl_node_print(out, n->pipe);
        tsn_buf_puts(out, "}}");
        break;
    case NODE_LIST:
        for (size_t i = 0; i < n->kid_count; i++)
            tmpl_node_print(out, n->kids[i]);
        break;
    case NODE_COMMAND:
        for (size_t i = 0; i < n->kid_count; i++) {
            if (i)
                tsn_buf_putc(out, ' ');
            print_operand(out, n->kids[i]);
        }
        break;
    case NODE_VARIABLE:
    case NODE_FIELD:
    case NODE_CHAIN:
        if (n->type == NODE_CHAIN)
            print_operand(out, n->pipe);
        for (size_t i = 0; i < n->ident_count; i++) {
            if (i || n->type != NODE_VARIABLE)
                tsn_buf_putc(out, '.');
            put(out, n->idents[i]);
        }
        break;
    }
}

/* ---- constants ---------------------------------------------------------------------------- */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'z')
        return (c | 32) - 'a' + 10;
    return 99;
}

/* Underscores only between digits, or after a base prefix. */
static bool underscores_ok(const char *s, size_t n, bool prefixed)
{
    char before = prefixed ? '0' : '^';

    for (size_t i = 0; i < n; i++) {
        char now = s[i] == '_' ? '_' : '0';

        if (now == '_' && before != '0')
            return false;
        before = now;
    }
    return before != '_';
}

/* Go's ParseUint(text, 0, 64), no sign. */
static bool parse_uint(const char *s, size_t n, uint64_t *out)
{
    unsigned base = 10;
    bool prefixed = false, underscore = memchr(s, '_', n) != NULL;
    uint64_t value = 0;
    size_t digits = 0;

    if (n >= 3 && s[0] == '0' && strchr("xXbBoO", s[1])) {
        base = (s[1] | 32) == 'x' ? 16 : (s[1] | 32) == 'b' ? 2 : 8;
        s += 2, n -= 2;
        prefixed = true;
    } else if (n >= 2 && s[0] == '0') {
        base = 8;
        s += 1, n -= 1;
        prefixed = true;
    }
    if (underscore && !underscores_ok(s, n, prefixed))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '_')
            continue;
        if ((unsigned)digit_value(s[i]) >= base ||
            __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (unsigned)digit_value(s[i]), &value))
            return false;
        digits++;
    }
    *out = value;
    return digits > 0;
}

static bool parse_int(const char *s, size_t n, int64_t *out)
{
    bool negative = n && s[0] == '-';
    uint64_t u;

    if (n && (s[0] == '-' || s[0] == '+'))
        s++, n--;
    if (!parse_uint(s, n, &u) || u > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

static bool has_any(struct tmpl_str s, const char *set)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.text[i] && strchr(set, s.text[i]))
            return true;
    return false;
}

static void set_from_float(struct tmpl_node *n, double f)
{
    n->number.is_float = true;
    n->number.f = f;
    if (fabs(f) < 9223372036854775808.0 && (double)(int64_t)f == f) {
        n->number.is_int = true;
        n->number.i = (int64_t)f;
    }
    if (f >= 0 && f < 18446744073709551616.0 && (double)(uint64_t)f == f) {
        n->number.is_uint = true;
        n->number.u = (uint64_t)f;
    }
}

static bool number_error(struct tsn_error *error, const char *what, struct tmpl_str text)
{
    struct tsn_buf quoted = TSN_BUF_INIT;

    tmpl_quote(&quoted, text, '"', false);
    tsn_error_set(error, TSN_ERR_INVALID, "%s: %s", what, tsn_buf_str(&quoted));
    tsn_buf_release(&quoted);
    return false;
}

/* One character of a quoted constant: its bytes go to out. False if malformed. */
static bool unquote_char(const char **s, const char *end, char quote, struct tsn_buf *out, uint32_t *code)
{
    static const char simple[] = "abfnrtv\\", meaning[] = "\a\b\f\n\r\t\v\\";
    const char *at;
    char text[4];
    uint32_t c = 0;
    int digits;
    size_t n;

    if (**s != '\\') {
        if (**s == quote)
            return false;
        n = tsn_utf8_decode(*s, (size_t)(end - *s), code);
        if (!n) {
            *code = 0xfffd;
            n = 1;
        }
        tsn_buf_append(out, *s, n);
        *s += n;
        return true;
    }
    if (++*s >= end)
        return false;
    c = (unsigned char)*(*s)++;
    at = c ? strchr(simple, (int)c) : NULL;
    if (at || c == (unsigned char)quote) {
        *code = at ? (unsigned char)meaning[at - simple] : c;
        tsn_buf_putc(out, (char)*code);
        return true;
    }
    digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
    if (!digits)
        return false;
    if (digits == 3)
        (*s)--;
    *code = 0;
    for (int i = 0; i < digits; i++, (*s)++) {
        if (*s >= end || digit_value(**s) >= (digits == 3 ? 8 : 16))
            return false;
        *code = *code * (digits == 3 ? 8 : 16) + (uint32_t)digit_value(**s);
    }
    if (digits <= 3) {
        if (*code > 255)
            return false;
        tsn_buf_putc(out, (char)*code);
        return true;
    }
    if (*code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
        return false;
    tsn_buf_append(out, text, tsn_utf8_encode(*code, text));
    return true;
}

bool tmpl_unquote(struct tsn_arena *arena, struct tmpl_str quoted, struct tmpl_str *out)
{
    struct tsn_buf text = TSN_BUF_INIT;
    const char *s = quoted.text + 1, *end = quoted.text + quoted.len - 1;
    bool ok = true;
    uint32_t code;

    if (quoted.len < 2)
        return false;
    if (quoted.text[0] == '`') {
        for (; s < end; s++)
            if (*s != '\r')
                tsn_buf_putc(&text, *s);
    } else {
        while (ok && s < end)
            ok = unquote_char(&s, end, '"', &text, &code);
    }
    if (ok)
        *out = (struct tmpl_str){ tsn_arena_strndup(arena, tsn_buf_str(&text), text.len), text.len };
    tsn_buf_release(&text);
    return ok;
}

static bool char_constant(struct tmpl_node *n, struct tsn_error *error)
{
    struct tsn_buf ignored = TSN_BUF_INIT;
    const char *s = n->text.text + 1, *end = n->text.text + n->text.len;
    uint32_t code = 0;
    bool ok = n->text.len > 2 && unquote_char(&s, end, '\'', &ignored, &code);

    tsn_buf_release(&ignored);
    if (!ok) {
        tsn_error_set(error, TSN_ERR_INVALID, "invalid syntax");
        return false;
    }
    if (s + 1 != end) {
        tsn_error_set(error, TSN_ERR_INVALID, "malformed character constant: %.*s", (int)n->text.len,
                      n->text.text);
        return false;
    }
    n->number.is_int = n->number.is_uint = n->number.is_float = true;
    n->number.i = code;
    n->number.u = code;
    n->number.f = code;
    return true;
}

static bool complex_constant(struct tmpl_node *n, struct tsn_error *error)
{
    struct tmpl_str t = n->text;
    size_t split = 0;

    /* The sign that joins both parts: the last one that no exponent letter precedes. */
    for (size_t i = 1; i < t.len; i++)
        if ((t.text[i] == '+' || t.text[i] == '-') && !strchr("eEpP", t.text[i - 1]))
            split = i;
    n->number.f = 0;
    if ((split && !tsn_parse_double(t.text, split, &n->number.f)) ||
        !tsn_parse_double(t.text + split, t.len - split - 1, &n->number.im))
        return number_error(error, "illegal number syntax", t);
    n->number.is_complex = true;
    if (n->number.im == 0)
        set_from_float(n, n->number.f);
    return true;
}

bool tmpl_number_parse(struct tmpl_node *n, enum tmpl_token_type type, struct tsn_error *error)
{
    struct tmpl_str t = n->text;
    double f;

    if (type == TOK_CHAR_CONSTANT)
        return char_constant(n, error);
    if (type == TOK_COMPLEX || (t.len && t.text[t.len - 1] == 'i'))
        return complex_constant(n, error);
    n->number.is_uint = parse_uint(t.text, t.len, &n->number.u);
    n->number.is_int = parse_int(t.text, t.len, &n->number.i);
    if (n->number.is_int && n->number.i == 0)
        n->number.is_uint = true;
    if (n->number.is_int || n->number.is_uint) {
        n->number.is_float = true;
        n->number.f = n->number.is_int ? (double)n->number.i : (double)n->number.u;
        return true;
    }
    if (!tsn_parse_double(t.text, t.len, &f) || isinf(f))
        return number_error(error, "illegal number syntax", t);
    if (!has_any(t, ".eEpP"))
        return number_error(error, "integer overflow", t);
    set_from_float(n, f);
    return true;
}
