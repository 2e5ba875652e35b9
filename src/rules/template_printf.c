/*
 * template_printf: Go's fmt.Sprint, Sprintln and Sprintf over template values.
 *
 * One printer for all kinds: print_value(verb) puts a value in place, composites element by
 * element with the same verb, and a verb that does not fit gives "%!verb(type=value)" as Go does,
 * because annotations in the wild contain such mistakes and must read the same here.
 * Width and precision are bounded (1,000,000 in Go; 10,000 here would differ only on hostile text).
 */
#include "rules/template.h"

#include <math.h>

#define MAX_WIDTH 10000

struct flags {
    bool plus, minus, sharp, space, zero;
    bool plus_v, sharp_v;
    bool has_width, has_precision;
    int width, precision;
};

static void print_value(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb,
                        int depth);

static size_t rune_count(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; n++) {
        uint32_t c;
        size_t w = tsn_utf8_decode(text + i, len - i, &c);

        i += w ? w : 1;
    }
    return n;
}

static void repeat(struct tsn_buf *out, char c, size_t count)
{
    while (count--)
        tsn_buf_putc(out, c);
}

/* Pads to the width: spaces left, right with '-', zeros left with '0'. */
static void pad(struct tsn_buf *out, const struct flags *f, const char *text, size_t len, bool zero)
{
    size_t have = rune_count(text, len);
    size_t fill = f->has_width && (size_t)f->width > have ? (size_t)f->width - have : 0;

    if (!f->minus)
        repeat(out, zero ? '0' : ' ', fill);
    tsn_buf_append(out, text, len);
    if (f->minus)
        repeat(out, ' ', fill);
}

static void put_rune(struct tsn_buf *out, uint32_t c)
{
    char text[4];

    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    tsn_buf_append(out, text, tsn_utf8_encode(c, text));
}

/* The value is shown with the flags of the verb that did not fit, as Go does. */
static void bad_verb(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb)
{
    tsn_buf_puts(out, "%!");
    put_rune(out, verb);
    tsn_buf_putc(out, '(');
    if (v->kind == VAL_INVALID || v->kind == VAL_MISSING) {
        tsn_buf_puts(out, "<nil>");
    } else {
        tsn_buf_puts(out, tmpl_type_name(v));
        tsn_buf_putc(out, '=');
        print_value(out, f, v, 'v', 0);
    }
    tsn_buf_putc(out, ')');
}

/* ---- text --------------------------------------------------------------------------------- */

static struct tmpl_str truncate(const struct flags *f, struct tmpl_str s)
{
    size_t at = 0;

    if (!f->has_precision)
        return s;
    for (int i = 0; i < f->precision && at < s.len; i++) {
        uint32_t c;
        size_t w = tsn_utf8_decode(s.text + at, s.len - at, &c);

        at += w ? w : 1;
    }
    s.len = at;
    return s;
}

static void print_hex_bytes(struct tsn_buf *out, const struct flags *f, struct tmpl_str s, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    struct tsn_buf hex = TSN_BUF_INIT;
    size_t len = f->has_precision && (size_t)f->precision < s.len ? (size_t)f->precision : s.len;

    for (size_t i = 0; i < len; i++) {
        if (f->space && i)
            tsn_buf_putc(&hex, ' ');
        if (f->sharp && (f->space || i == 0)) {
            tsn_buf_putc(&hex, '0');
            tsn_buf_putc(&hex, upper ? 'X' : 'x');
        }
        tsn_buf_putc(&hex, digits[(unsigned char)s.text[i] >> 4]);
        tsn_buf_putc(&hex, digits[(unsigned char)s.text[i] & 15]);
    }
    pad(out, f, tsn_buf_str(&hex), hex.len, false);
    tsn_buf_release(&hex);
}

static bool can_backquote(struct tmpl_str s)
{
    if (!tsn_utf8_valid(s.text, s.len))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.text[i];

        if ((c < ' ' && c != '\t') || c == '`' || c == 0x7f)
            return false;
    }
    return true;
}

static void print_quoted(struct tsn_buf *out, const struct flags *f, struct tmpl_str s)
{
    struct tsn_buf text = TSN_BUF_INIT;

    s = truncate(f, s);
    if (f->sharp && can_backquote(s)) {
        tsn_buf_putc(&text, '`');
        tsn_buf_append(&text, s.text, s.len);
        tsn_buf_putc(&text, '`');
    } else {
        tmpl_quote(&text, s, '"', f->plus);
    }
    pad(out, f, tsn_buf_str(&text), text.len, f->zero);
    tsn_buf_release(&text);
}

static bool print_text(struct tsn_buf *out, const struct flags *f, struct tmpl_str s, uint32_t verb)
{
    switch (verb) {
    case 'v':
        if (f->sharp_v) {
            print_quoted(out, f, s);
            return true;
        } /* fall through */
    case 's':
        s = truncate(f, s);
        pad(out, f, s.text, s.len, f->zero && !f->minus);
        return true;
    case 'x': print_hex_bytes(out, f, s, false); return true;
    case 'X': print_hex_bytes(out, f, s, true); return true;
    case 'q': print_quoted(out, f, s); return true;
    default: return false;
    }
}

/* ---- numbers ------------------------------------------------------------------------------ */

static void print_digits(struct tsn_buf *out, const struct flags *f, uint64_t u, bool negative, unsigned base,
                         bool upper, const char *prefix)
{
    struct tsn_buf text = TSN_BUF_INIT;
    char digits[72];
    size_t n = 0, want = f->has_precision ? (size_t)f->precision : 1;
    bool sign = negative || f->plus || f->space;

    if (f->has_precision && !f->precision && !u) {
        pad(out, f, "", 0, false);
        return;
    }
    do {
        digits[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
        u /= base;
    } while (u);
    if (!f->has_precision && f->zero && !f->minus && f->has_width) {
        want = (size_t)f->width;
        if (sign && want)
            want--;
    }
    if (sign)
        tsn_buf_putc(&text, negative ? '-' : f->plus ? '+' : ' ');
    if (*prefix == 'p') { /* '0' before octal, only if there is none yet */
        if (n >= want && digits[n - 1] != '0')
            tsn_buf_putc(&text, '0');
    } else {
        tsn_buf_puts(&text, prefix);
    }
    if (want > n)
        repeat(&text, '0', want - n);
    while (n)
        tsn_buf_putc(&text, digits[--n]);
    pad(out, f, tsn_buf_str(&text), text.len, false);
    tsn_buf_release(&text);
}

static void print_unicode(struct tsn_buf *out, const struct flags *f, int64_t value)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_printf(&text, "U+%0*llX", f->has_precision && f->precision > 4 ? f->precision : 4,
                   (unsigned long long)value);
    if (f->sharp && value >= 0 && value <= 0x10ffff && tmpl_is_print((uint32_t)value)) {
        tsn_buf_puts(&text, " '");
        put_rune(&text, (uint32_t)value);
        tsn_buf_putc(&text, '\'');
    }
    pad(out, f, tsn_buf_str(&text), text.len, false);
    tsn_buf_release(&text);
}

static void print_rune(struct tsn_buf *out, const struct flags *f, int64_t value, bool quoted)
{
    struct tsn_buf text = TSN_BUF_INIT, rune = TSN_BUF_INIT;

    put_rune(&rune, value < 0 || value > 0x10ffff ? 0xfffd : (uint32_t)value);
    if (quoted)
        tmpl_quote(&text, (struct tmpl_str){ rune.data, rune.len }, '\'', f->plus);
    pad(out, f, quoted ? text.data : rune.data, quoted ? text.len : rune.len, f->zero && !f->minus);
    tsn_buf_release(&text);
    tsn_buf_release(&rune);
}

static bool print_int(struct tsn_buf *out, const struct flags *f, int64_t value, bool is_signed, uint32_t verb)
{
    bool negative = value < 0;
    uint64_t u = negative ? 0 - (uint64_t)value : (uint64_t)value;

    switch (verb) {
    case 'v':
        if (f->sharp_v && !is_signed) {
            print_digits(out, f, u, negative, 16, false, "0x");
            return true;
        } /* fall through */
    case 'd': print_digits(out, f, u, negative, 10, false, ""); return true;
    case 'b': print_digits(out, f, u, negative, 2, false, f->sharp ? "0b" : ""); return true;
    case 'o': print_digits(out, f, u, negative, 8, false, f->sharp ? "p" : ""); return true;
    case 'O': print_digits(out, f, u, negative, 8, false, "0o"); return true;
    case 'x': print_digits(out, f, u, negative, 16, false, f->sharp ? "0x" : ""); return true;
    case 'X': print_digits(out, f, u, negative, 16, true, f->sharp ? "0X" : ""); return true;
    case 'c': print_rune(out, f, value, false); return true;
    case 'q': print_rune(out, f, value, true); return true;
    case 'U': print_unicode(out, f, value); return true;
    default: return false;
    }
}

/* The digits of |value| without sign, as strconv.FormatFloat lays them out. */
static void float_digits(struct tsn_buf *out, double value, char verb, int precision)
{
    char shortest[TSN_DOUBLE_TEXT];
    bool upper = verb >= 'A' && verb <= 'Z';
    char lower = (char)(verb | 32);
    size_t start = out->len;
    char *mantissa;

    if (lower == 'x') { /* Go: 0x1.8p+01, at least two digits of exponent */
        if (precision < 0)
            tsn_buf_printf(out, "%a", value);
        else
            tsn_buf_printf(out, "%.*a", precision, value);
        mantissa = strchr(out->data + start, 'p');
        if (mantissa && strlen(mantissa) == 3) {
            char digit = mantissa[2];

            out->data[out->len - 1] = '0';
            tsn_buf_putc(out, digit);
        }
    } else if (precision < 0) {
        /* Shortest %g: exponent form from 10^6 on. */
        tsn_format_double(shortest, sizeof shortest, value, lower, 6);
        tsn_buf_puts(out, shortest);
    } else {
        char spec[] = { '%', '.', '*', lower, '\0' };
        char stack[1200];
        int n;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        n = snprintf(stack, sizeof stack, spec, precision, value);
#pragma GCC diagnostic pop
        tsn_buf_append(out, stack, n < (int)sizeof stack ? (size_t)n : sizeof stack - 1);
    }
    if (upper)
        for (size_t i = start; i < out->len; i++)
            if (out->data[i] >= 'a' && out->data[i] <= 'z')
                out->data[i] = (char)(out->data[i] - 32);
}

static void print_float(struct tsn_buf *out, const struct flags *f, double value, char verb, int precision)
{
    struct tsn_buf text = TSN_BUF_INIT;
    char sign = signbit(value) && !isnan(value) ? '-' : '+';
    bool show_sign = sign == '-' || f->plus || f->space;

    if (f->has_precision)
        precision = f->precision > 1000 ? 1000 : f->precision;
    if (isnan(value) || isinf(value)) {
        if (isinf(value) || f->plus || f->space)
            tsn_buf_putc(&text, sign == '+' && f->space && !f->plus ? ' ' : sign);
        tsn_buf_puts(&text, isnan(value) ? "NaN" : "Inf");
        pad(out, f, tsn_buf_str(&text), text.len, false);
        tsn_buf_release(&text);
        return;
    }
    if (show_sign)
        tsn_buf_putc(&text, sign == '+' && f->space && !f->plus ? ' ' : sign);
    if (f->zero && !f->minus && f->has_width) {
        struct tsn_buf digits = TSN_BUF_INIT;

        float_digits(&digits, fabs(value), verb, precision);
        while (text.len + digits.len < (size_t)f->width) {
            tsn_buf_putc(&text, '0');
            if (text.len > MAX_WIDTH)
                break;
        }
        tsn_buf_append(&text, digits.data, digits.len);
        tsn_buf_release(&digits);
    } else {
        float_digits(&text, fabs(value), verb, precision);
    }
    pad(out, f, tsn_buf_str(&text), text.len, false);
    tsn_buf_release(&text);
}

static bool print_real(struct tsn_buf *out, const struct flags *f, double value, uint32_t verb)
{
    switch (verb) {
    case 'v': print_float(out, f, value, 'g', -1); return true;
    case 'e':
    case 'E': print_float(out, f, value, (char)verb, 6); return true;
    case 'f':
    case 'F': print_float(out, f, value, 'f', 6); return true;
    case 'g':
    case 'G':
    case 'x':
    case 'X': print_float(out, f, value, (char)verb, -1); return true;
    default: return false;
    }
}

static bool print_complex(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb)
{
    struct flags imaginary = *f;

    if (!strchr("veEfFgGxX", (int)verb) || verb > 127)
        return false;
    tsn_buf_putc(out, '(');
    print_real(out, f, v->u.complex.re, verb);
    imaginary.plus = true;
    print_real(out, &imaginary, v->u.complex.im, verb);
    tsn_buf_puts(out, "i)");
    return true;
}

/* ---- composites --------------------------------------------------------------------------- */

static void print_labels(struct tsn_buf *out, const struct flags *f, const struct tsn_labels *labels,
                         uint32_t verb, int depth)
{
    tsn_buf_puts(out, f->sharp_v ? "map[string]string{" : "map[");
    for (uint32_t i = 0; labels && i < labels->count; i++) {
        struct tmpl_value name = tmpl_string((struct tmpl_str){ labels->items[i].name, labels->items[i].name_len });
        struct tmpl_value value =
            tmpl_string((struct tmpl_str){ labels->items[i].value, labels->items[i].value_len });

        if (i)
            tsn_buf_puts(out, f->sharp_v ? ", " : " ");
        print_value(out, f, &name, verb, depth + 1);
        tsn_buf_putc(out, ':');
        print_value(out, f, &value, verb, depth + 1);
    }
    tsn_buf_putc(out, f->sharp_v ? '}' : ']');
}

static void print_args(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb,
                       int depth)
{
    tsn_buf_puts(out, "map[");
    for (size_t i = 0; i < v->u.args.len; i++) {
        size_t at = tmpl_args_sorted(v->u.args.len, i);
        struct tmpl_value name;
        char key[32];

        tmpl_args_key(key, at);
        name = tmpl_cstring(key);
        if (i)
            tsn_buf_putc(out, ' ');
        print_value(out, f, &name, verb, depth + 1);
        tsn_buf_putc(out, ':');
        print_value(out, f, &v->u.args.items[at], verb, depth + 1);
    }
    tsn_buf_putc(out, ']');
}

static void print_sample(struct tsn_buf *out, const struct flags *f, const struct tsn_vector_sample *s,
                         uint32_t verb, int depth)
{
    struct tmpl_value value = tmpl_float(s->value);

    tsn_buf_puts(out, f->plus_v ? "{Labels:" : "{");
    print_labels(out, f, s->labels, verb, depth + 1);
    tsn_buf_puts(out, f->plus_v ? " Value:" : " ");
    print_value(out, f, &value, verb, depth + 1);
    tsn_buf_putc(out, '}');
}

static void print_data(struct tsn_buf *out, const struct flags *f, const struct tsn_template_env *env,
                       uint32_t verb, int depth)
{
    struct tmpl_value url = tmpl_cstring(env->external_url ? env->external_url : "");
    struct tmpl_value value = tmpl_float(env->value);

    tsn_buf_puts(out, f->plus_v ? "{Labels:" : "{");
    print_labels(out, f, env->labels, verb, depth + 1);
    tsn_buf_puts(out, f->plus_v ? " ExternalLabels:" : " ");
    print_labels(out, f, env->external_labels, verb, depth + 1);
    tsn_buf_puts(out, f->plus_v ? " ExternalURL:" : " ");
    print_value(out, f, &url, verb, depth + 1);
    tsn_buf_puts(out, f->plus_v ? " Value:" : " ");
    print_value(out, f, &value, verb, depth + 1);
    tsn_buf_putc(out, '}');
}

static void print_stringer(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb)
{
    struct tsn_buf text = TSN_BUF_INIT;

    if (verb > 127 || !strchr("vsqxX", (int)verb)) {
        if (v->kind == VAL_DURATION && v->type) {
            if (!print_int(out, f, v->u.integer, true, verb))
                bad_verb(out, f, v, verb);
        } else {
            bad_verb(out, f, v, verb);
        }
        return;
    }
    if (v->kind == VAL_TIME)
        tmpl_time_text(&text, v->u.integer);
    else
        tmpl_duration_text(&text, v->u.integer);
    print_text(out, f, (struct tmpl_str){ tsn_buf_str(&text), text.len }, verb);
    tsn_buf_release(&text);
}

/* time.Month and time.Weekday print as words, and as numbers with %d. */
static bool print_named_int(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb)
{
    const char *word = NULL;

    if (v->type && !strcmp(v->type, "time.Month"))
        word = tmpl_month_name((int)v->u.integer);
    else if (v->type && !strcmp(v->type, "time.Weekday"))
        word = tmpl_weekday_name((int)v->u.integer);
    if (word && verb <= 127 && strchr("vsqxX", (int)verb))
        return print_text(out, f, (struct tmpl_str){ word, strlen(word) }, verb);
    return print_int(out, f, v->u.integer, true, verb);
}

static bool print_query(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb,
                        int depth)
{
    tsn_buf_putc(out, '[');
    for (size_t i = 0; i < v->u.query.len; i++) {
        if (i)
            tsn_buf_putc(out, ' ');
        tsn_buf_putc(out, '&'); /* Go prints an address here, which says nothing */
        print_sample(out, f, v->u.query.items[i], verb, depth + 1);
    }
    tsn_buf_putc(out, ']');
    return true;
}

static void print_value(struct tsn_buf *out, const struct flags *f, const struct tmpl_value *v, uint32_t verb,
                        int depth)
{
    bool ok = true;

    switch (v->kind) {
    case VAL_INVALID:
    case VAL_MISSING:
        ok = verb == 'v';
        if (ok)
            pad(out, f, "<nil>", 5, false);
        break;
    case VAL_BOOL:
        ok = verb == 't' || verb == 'v';
        if (ok)
            pad(out, f, v->u.boolean ? "true" : "false", v->u.boolean ? 4 : 5, false);
        break;
    case VAL_INT: ok = print_named_int(out, f, v, verb); break;
    case VAL_UINT8: ok = print_int(out, f, v->u.integer, false, verb); break;
    case VAL_FLOAT: ok = print_real(out, f, v->u.real, verb); break;
    case VAL_COMPLEX: ok = print_complex(out, f, v, verb); break;
    case VAL_STRING:
    case VAL_HTML: ok = print_text(out, f, v->u.str, verb); break;
    case VAL_LABELS: print_labels(out, f, v->u.labels, verb, depth); break;
    case VAL_ARGS: print_args(out, f, v, verb, depth); break;
    case VAL_QUERY: ok = print_query(out, f, v, verb, depth); break;
    case VAL_SAMPLE:
        if (!v->u.sample) {
            ok = verb == 'v';
            if (ok)
                pad(out, f, "<nil>", 5, false);
            break;
        }
        tsn_buf_putc(out, '&');
        print_sample(out, f, v->u.sample, verb, depth);
        break;
    case VAL_TIME:
    case VAL_DURATION: print_stringer(out, f, v, verb); break;
    case VAL_DATA: print_data(out, f, v->u.data, verb, depth); break;
    }
    if (!ok)
        bad_verb(out, f, v, verb);
}

/* ---- Sprint, Sprintln --------------------------------------------------------------------- */

void tmpl_print_action(struct tsn_buf *out, const struct tmpl_value *v)
{
    static const struct flags none;

    if (v->kind == VAL_INVALID || v->kind == VAL_MISSING)
        tsn_buf_puts(out, "<no value>");
    else if (v->kind == VAL_SAMPLE && v->u.sample)
        print_sample(out, &none, v->u.sample, 'v', 0);
    else
        print_value(out, &none, v, 'v', 0);
}

void tmpl_sprint(struct tsn_buf *out, const struct tmpl_value *args, size_t count)
{
    static const struct flags none;

    for (size_t i = 0; i < count; i++) {
        if (i && !tmpl_is_text(&args[i]) && !tmpl_is_text(&args[i - 1]))
            tsn_buf_putc(out, ' ');
        print_value(out, &none, &args[i], 'v', 0);
    }
}

void tmpl_sprintln(struct tsn_buf *out, const struct tmpl_value *args, size_t count)
{
    static const struct flags none;

    for (size_t i = 0; i < count; i++) {
        if (i)
            tsn_buf_putc(out, ' ');
        print_value(out, &none, &args[i], 'v', 0);
    }
    tsn_buf_putc(out, '\n');
}

/* ---- Sprintf ------------------------------------------------------------------------------ */

struct scan {
    const char *s;
    size_t len, at;
    const struct tmpl_value *args;
    size_t count, arg;
    bool reordered, good_index, after_index;
};

static bool parse_number(struct scan *sc, int *out)
{
    size_t start = sc->at;
    int value = 0;

    while (sc->at < sc->len && sc->s[sc->at] >= '0' && sc->s[sc->at] <= '9') {
        value = value * 10 + (sc->s[sc->at++] - '0');
        if (value > MAX_WIDTH)
            value = MAX_WIDTH;
    }
    *out = value;
    return sc->at > start;
}

/* [n] before a verb, a width or a precision. */
static void argument_index(struct scan *sc)
{
    const char *end;
    int n;

    sc->after_index = false;
    if (sc->at >= sc->len || sc->s[sc->at] != '[')
        return;
    sc->reordered = true;
    end = memchr(sc->s + sc->at, ']', sc->len - sc->at);
    if (!end) {
        sc->good_index = false;
        sc->at++;
        return;
    }
    sc->at++;
    if (parse_number(sc, &n) && sc->s + sc->at == end && n >= 1 && (size_t)n <= sc->count) {
        sc->arg = (size_t)n - 1;
        sc->after_index = true;
    } else {
        sc->good_index = false;
    }
    sc->at = (size_t)(end - sc->s) + 1;
}

static bool star(struct scan *sc, int *value)
{
    const struct tmpl_value *v;

    if (sc->arg >= sc->count)
        return false;
    v = &sc->args[sc->arg++];
    if ((v->kind != VAL_INT && v->kind != VAL_UINT8) || v->u.integer > 1000000 || v->u.integer < -1000000)
        return false;
    *value = (int)v->u.integer;
    if (*value > MAX_WIDTH)
        *value = MAX_WIDTH;
    return true;
}

static void scan_flags(struct scan *sc, struct flags *f)
{
    for (; sc->at < sc->len; sc->at++) {
        switch (sc->s[sc->at]) {
        case '+': f->plus = true; break;
        case '-': f->minus = true; break;
        case '#': f->sharp = true; break;
        case ' ': f->space = true; break;
        case '0': f->zero = true; break;
        default: return;
        }
    }
}

static void scan_width(struct tsn_buf *out, struct scan *sc, struct flags *f)
{
    argument_index(sc);
    if (sc->at < sc->len && sc->s[sc->at] == '*') {
        sc->at++;
        f->has_width = star(sc, &f->width);
        if (!f->has_width)
            tsn_buf_puts(out, "%!(BADWIDTH)");
        if (f->width < 0) {
            f->width = f->width < -MAX_WIDTH ? MAX_WIDTH : -f->width;
            f->minus = true;
            f->zero = false;
        }
        sc->after_index = false;
        return;
    }
    f->has_width = parse_number(sc, &f->width);
    if (sc->after_index && f->has_width)
        sc->good_index = false;
}

static void scan_precision(struct tsn_buf *out, struct scan *sc, struct flags *f)
{
    if (sc->at + 1 > sc->len || sc->at >= sc->len || sc->s[sc->at] != '.')
        return;
    sc->at++;
    if (sc->after_index)
        sc->good_index = false;
    argument_index(sc);
    if (sc->at < sc->len && sc->s[sc->at] == '*') {
        sc->at++;
        f->has_precision = star(sc, &f->precision);
        if (f->precision < 0) {
            f->precision = 0;
            f->has_precision = false;
        }
        if (!f->has_precision)
            tsn_buf_puts(out, "%!(BADPREC)");
        sc->after_index = false;
        return;
    }
    f->has_precision = true;
    parse_number(sc, &f->precision);
}

static void print_argument(struct tsn_buf *out, struct scan *sc, struct flags *f, uint32_t verb)
{
    const struct tmpl_value *v = &sc->args[sc->arg++];

    if (verb == 'T') {
        const char *name = tmpl_type_name(v);

        pad(out, f, name, strlen(name), false);
        return;
    }
    if (verb == 'v') {
        f->sharp_v = f->sharp;
        f->sharp = false;
        f->plus_v = f->plus;
        f->plus = false;
    }
    print_value(out, f, v, verb, 0);
}

static void one_verb(struct tsn_buf *out, struct scan *sc)
{
    struct flags f = { 0 };
    uint32_t verb;
    size_t width;

    sc->good_index = true;
    scan_flags(sc, &f);
    scan_width(out, sc, &f);
    scan_precision(out, sc, &f);
    if (!sc->after_index)
        argument_index(sc);
    if (sc->at >= sc->len) {
        tsn_buf_puts(out, "%!(NOVERB)");
        return;
    }
    width = tsn_utf8_decode(sc->s + sc->at, sc->len - sc->at, &verb);
    if (!width) {
        verb = 0xfffd;
        width = 1;
    }
    sc->at += width;
    if (verb == '%') {
        tsn_buf_putc(out, '%');
    } else if (!sc->good_index) {
        tsn_buf_puts(out, "%!");
        put_rune(out, verb);
        tsn_buf_puts(out, "(BADINDEX)");
    } else if (sc->arg >= sc->count) {
        tsn_buf_puts(out, "%!");
        put_rune(out, verb);
        tsn_buf_puts(out, "(MISSING)");
    } else {
        print_argument(out, sc, &f, verb);
    }
}

static void extra_arguments(struct tsn_buf *out, const struct scan *sc)
{
    static const struct flags none;

    tsn_buf_puts(out, "%!(EXTRA ");
    for (size_t i = sc->arg; i < sc->count; i++) {
        const struct tmpl_value *v = &sc->args[i];

        if (i > sc->arg)
            tsn_buf_puts(out, ", ");
        if (v->kind == VAL_INVALID) {
            tsn_buf_puts(out, "<nil>");
            continue;
        }
        tsn_buf_puts(out, tmpl_type_name(v));
        tsn_buf_putc(out, '=');
        print_value(out, &none, v, 'v', 0);
    }
    tsn_buf_putc(out, ')');
}

void tmpl_sprintf(struct tsn_buf *out, struct tmpl_str format, const struct tmpl_value *args, size_t count)
{
    struct scan sc = { .s = format.text, .len = format.len, .args = args, .count = count };

    while (sc.at < sc.len) {
        const char *percent = memchr(sc.s + sc.at, '%', sc.len - sc.at);
        size_t end = percent ? (size_t)(percent - sc.s) : sc.len;

        tsn_buf_append(out, sc.s + sc.at, end - sc.at);
        sc.at = end;
        if (!percent)
            break;
        sc.at++;
        one_verb(out, &sc);
        if (out->len > 4 * TMPL_MAX_OUTPUT)
            return; /* the run's own check gives the error */
    }
    if (!sc.reordered && sc.arg < sc.count)
        extra_arguments(out, &sc);
}
