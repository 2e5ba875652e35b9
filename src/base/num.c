/*
 * num: numbers as text, and exact fixed-point sums. See tocsin/base.h.
 *
 * Shortest text: if any decimal of n digits reads back to the value, the correctly rounded one of
 * n digits does, so trying 15, 16, 17 digits finds the shortest for normal numbers (15 always
 * survive a round trip through text the other way, and trailing zeros are cut).
 */
#include "tocsin/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t tsn_double_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

double tsn_double_from_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

bool tsn_is_stale(double value)
{
    return tsn_double_bits(value) == TSN_STALE_BITS;
}

double tsn_stale(void)
{
    return tsn_double_from_bits(TSN_STALE_BITS);
}

/* Digits (no point, no trailing zeros) and the decimal exponent of the first one. */
static int shortest_digits(double value, char digits[32], int *exponent)
{
    int first = fabs(value) < 2.3e-308 ? 1 : 15; /* subnormals have fewer digits */
    char text[48];
    int len = 0;

    for (int precision = first; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    for (const char *p = text; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            digits[len++] = *p;
    *exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    while (len > 1 && digits[len - 1] == '0')
        len--;
    return len;
}

static void put_exponent_form(struct tsn_buf *out, const char *digits, int len, int exponent)
{
    tsn_buf_putc(out, digits[0]);
    if (len > 1) {
        tsn_buf_putc(out, '.');
        tsn_buf_append(out, digits + 1, (size_t)len - 1);
    }
    tsn_buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

static void put_plain_form(struct tsn_buf *out, const char *digits, int len, int exponent)
{
    if (exponent < 0) {
        tsn_buf_puts(out, "0.");
        for (int i = -1; i > exponent; i--)
            tsn_buf_putc(out, '0');
        tsn_buf_append(out, digits, (size_t)len);
        return;
    }
    for (int i = 0; i <= exponent; i++)
        tsn_buf_putc(out, i < len ? digits[i] : '0');
    if (len > exponent + 1) {
        tsn_buf_putc(out, '.');
        tsn_buf_append(out, digits + exponent + 1, (size_t)(len - exponent - 1));
    }
}

size_t tsn_format_double(char *out, size_t out_len, double value, char fmt, int exp_threshold)
{
    struct tsn_buf text = TSN_BUF_INIT;
    char digits[32];
    int len, exponent;
    size_t text_len;

    if (isnan(value)) {
        tsn_buf_puts(&text, "NaN");
    } else if (isinf(value)) {
        tsn_buf_puts(&text, value > 0 ? "+Inf" : "-Inf");
    } else {
        if (signbit(value))
            tsn_buf_putc(&text, '-');
        if (value == 0) {
            digits[0] = '0';
            len = 1;
            exponent = 0;
        } else {
            len = shortest_digits(fabs(value), digits, &exponent);
        }
        if (fmt == 'e' || (fmt == 'g' && (exponent < -4 || exponent >= exp_threshold)))
            put_exponent_form(&text, digits, len, exponent);
        else
            put_plain_form(&text, digits, len, exponent);
    }
    text_len = text.len;
    snprintf(out, out_len, "%s", text.data);
    tsn_buf_release(&text);
    return text_len;
}

static bool equal_nocase(const char *text, size_t len, const char *word)
{
    if (strlen(word) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((text[i] | 0x20) != word[i])
            return false;
    return true;
}

bool tsn_parse_double(const char *text, size_t len, double *out)
{
    char copy[512];
    size_t sign = len && (text[0] == '+' || text[0] == '-') ? 1 : 0;
    const char *word = text + sign;
    size_t word_len = len - sign;
    char *end;

    if (!word_len || len >= sizeof copy)
        return false;
    if (equal_nocase(word, word_len, "inf") || equal_nocase(word, word_len, "infinity")) {
        *out = text[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (equal_nocase(word, word_len, "nan")) {
        *out = tsn_double_from_bits(UINT64_C(0x7ff8000000000001));
        return true;
    }
    if (!(word[0] >= '0' && word[0] <= '9') && word[0] != '.')
        return false; /* strtod would skip blanks and take nan(…) */
    memcpy(copy, text, len);
    copy[len] = '\0';
    *out = strtod(copy, &end);
    return end == copy + len && strlen(copy) == len;
}

bool tsn_parse_i64(const char *text, size_t len, int64_t *out)
{
    bool negative = len && text[0] == '-';
    size_t at = len && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    int64_t value = 0;

    if (at == len)
        return false;
    for (; at < len; at++) {
        int digit = text[at] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

/* ---- fixed point -------------------------------------------------------------------------- */

bool tsn_fixed_from_double(double value, tsn_fixed *out)
{
    double scaled;

    if (!(fabs(value) < 0x1p62))
        return false;
    scaled = nearbyint(value * 0x1p64); /* a power of two: only the rounding is inexact */
    *out = (tsn_fixed)scaled;
    return true;
}

double tsn_fixed_to_double(tsn_fixed value)
{
    return (double)value * 0x1p-64;
}

bool tsn_fixed_add(tsn_fixed *sum, tsn_fixed delta)
{
    tsn_fixed both;

    if (__builtin_add_overflow(*sum, delta, &both))
        return false;
    *sum = both;
    return true;
}
