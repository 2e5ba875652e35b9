/*
 * header: finds what stands before the message in lines of plain text, and skips it.
 *
 * Columns are blank-separated; a bracketed column may hold blanks. Over the sample, a column belongs to the header while
 * its class is the same on nearly all lines, and one of the first columns must be a time, else nothing is a header: a
 * file of bare messages has none. What ends it is a component with a colon ("sshd[123]:", "app.Client:"), or a dash
 * that stands alone, at most a few columns on; else the first column of prose. Nothing here knows a product's format.
 */
#include "patterns/chars.h"
#include "tocsin/patterns.h"

#include <string.h>

#define COLUMNS_MAX 16
#define TAIL_WINDOW 4
/* Of the sampled lines, this share must agree; the rest may be continuation lines or noise. */
#define AGREE(count, of) ((count) * 100 >= (of) * 93)
#define VALUES_MAX 8
#define BRACKET_MAX 512 /* bytes of a bracketed column, blanks included */

struct column {
    const char *text;
    size_t len;
};

static bool blank(char c)
{
    return (tsn_chars[(uint8_t)c] & TSN_C_SPACE) != 0;
}

/* Splits off the next column of [*p, end). False at the end. */
static bool next_column(const char **p, const char *end, struct column *out)
{
    const char *q = *p;

    while (q < end && blank(*q))
        q++;
    if (q == end)
        return false;
    out->text = q;
    if (*q == '[') {
        const char *close = q;
        unsigned depth = 0;

        for (const char *r = q; r < end && r - q < BRACKET_MAX; r++) {
            depth += *r == '[';
            if (*r == ']' && --depth == 0) {
                close = r;
                break;
            }
        }
        q = close;
    }
    while (q < end && !blank(*q))
        q++;
    out->len = (size_t)(q - out->text);
    *p = q;
    return true;
}

static size_t split(const char *line, size_t len, struct column *columns, size_t max)
{
    const char *p = line, *end = line + len;
    size_t n = 0;

    while (n < max && next_column(&p, end, &columns[n]))
        n++;
    return n;
}

static size_t digits_in(const struct column *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->len; i++)
        n += (tsn_chars[(uint8_t)c->text[i]] & TSN_C_DIGIT) != 0;
    return n;
}

/* Digits with the marks of dates and clocks, perhaps in brackets, a T and a zone; at least four digits and two
 * marks, or six digits and nothing else. */
static bool time_like(const struct column *c)
{
    size_t digits = 0, marks = 0, dots = 0, letters = 0;

    for (size_t i = 0; i < c->len; i++) {
        char b = c->text[i];

        if (tsn_chars[(uint8_t)b] & TSN_C_DIGIT)
            digits++;
        else if (b == ':' || b == '-' || b == '/')
            marks++;
        else if (b == '.' || b == ',')
            dots++;
        else if (tsn_chars[(uint8_t)b] & TSN_C_ALPHA)
            letters++;
        else if (!(b == '[' || b == ']' || b == '+' || b == '(' || b == ')' || b == ' '))
            return false;
    }
    if (letters > 3 || digits < 4)
        return false;
    if (marks == 0 && dots == 0)
        return digits == c->len && digits >= 6;
    if (marks == 0) /* 2005.07.15 and seconds with a fraction; not a version, not an address */
        return digits >= 8 && dots <= 2;
    return marks >= 2 || dots <= 1; /* an address with port has three dots and a colon */
}

static bool is_month(const struct column *c)
{
    return c->len == 3 && (tsn_chars[(uint8_t)c->text[0]] & TSN_C_UPPER) &&
           (tsn_chars[(uint8_t)c->text[1]] & (TSN_C_UPPER | TSN_C_ALPHA)) == TSN_C_ALPHA &&
           (tsn_chars[(uint8_t)c->text[2]] & (TSN_C_UPPER | TSN_C_ALPHA)) == TSN_C_ALPHA;
}

static bool is_upper(const struct column *c)
{
    for (size_t i = 0; i < c->len; i++)
        if (!(tsn_chars[(uint8_t)c->text[i]] & TSN_C_UPPER) && !strchr("[]<>():-_", c->text[i]))
            return false;
    return c->len > 0 && c->len <= 20;
}

static bool ends_with_colon(const struct column *c)
{
    return c->len >= 2 && c->text[c->len - 1] == ':' && !blank(c->text[c->len - 2]);
}

/* What was seen of one column over the sample. */
struct seen {
    size_t lines, time, number, mixed, upper, bracket, month, data, colon, dash, distinct;
    uint64_t values[VALUES_MAX + 1];
};

static void look(struct seen *s, const struct column *c)
{
    uint64_t value = tsn_hash64(c->text, c->len);
    size_t digits = digits_in(c), i;

    s->lines++;
    s->time += time_like(c);
    s->number += digits == c->len;
    s->mixed += digits > 0;
    s->upper += is_upper(c);
    s->data += digits > 0 || (is_upper(c) && c->len > 1) || (c->len == 1 && c->text[0] == '-');
    s->bracket += c->text[0] == '[' && c->text[c->len - 1] == ']';
    s->month += is_month(c);
    s->colon += ends_with_colon(c);
    s->dash += c->len == 1 && c->text[0] == '-';
    for (i = 0; i < s->distinct && s->values[i] != value; i++)
        ;
    if (i == s->distinct && s->distinct <= VALUES_MAX)
        s->values[s->distinct++] = value;
}

/* Of one class on nearly all lines, and not prose. A column that ends in a colon is a component: it ends the header. */
static bool constant_class(const struct seen *s, size_t lines)
{
    if (AGREE(s->colon, lines))
        return false;
    return AGREE(s->time, lines) || AGREE(s->mixed, lines) || AGREE(s->bracket, lines) || AGREE(s->month, lines) ||
           (AGREE(s->upper, lines) && s->distinct <= VALUES_MAX) || AGREE(s->dash, lines) || s->distinct == 1 ||
           (AGREE(s->data, lines) && s->mixed * 2 > lines);
}

/* How many lines have, in columns [from, from + TAIL_WINDOW), a component with a colon, or a lone dash. */
static size_t tail_lines(const struct tsn_text *lines, size_t count, size_t from, bool dash)
{
    struct column columns[COLUMNS_MAX];
    size_t found = 0;

    for (size_t l = 0; l < count; l++) {
        size_t n = split(lines[l].data, lines[l].len, columns, COLUMNS_MAX);

        for (size_t i = from; i < n && i < from + (dash ? TAIL_WINDOW : 2); i++)
            if (dash ? columns[i].len == 1 && columns[i].text[0] == '-' : ends_with_colon(&columns[i])) {
                found++;
                break;
            }
    }
    return found;
}

void tsn_header_learn(struct tsn_log_header *header, const struct tsn_text *lines, size_t count)
{
    struct seen seen[COLUMNS_MAX];
    struct column columns[COLUMNS_MAX];
    size_t used = 0, k;

    memset(header, 0, sizeof *header);
    memset(seen, 0, sizeof seen);
    for (size_t l = 0; l < count && l < TSN_HEADER_SAMPLE; l++) {
        size_t n = split(lines[l].data, lines[l].len, columns, COLUMNS_MAX);

        used += n > 0;
        for (size_t i = 0; i < n; i++)
            look(&seen[i], &columns[i]);
    }
    if (count > TSN_HEADER_SAMPLE)
        count = TSN_HEADER_SAMPLE;
    if (used < 3)
        return;
    for (k = 0; k < COLUMNS_MAX && constant_class(&seen[k], used); k++)
        if (header->time_count && AGREE(seen[k].dash, used))
            break; /* the dash ends it, wherever it stands */
        else if (AGREE(seen[k].time, used) && header->time_count < TSN_ARRAY_LEN(header->time_columns) && k < 6)
            header->time_columns[header->time_count++] = (uint8_t)k;
    if (!header->time_count || header->time_columns[0] > 3)
        return;
    header->found = true;
    header->columns = (uint8_t)k;
    if (k < COLUMNS_MAX && AGREE(tail_lines(lines, count, k, true), used)) {
        header->tail = TSN_HEADER_TAIL_DASH;
        header->tail_window = TAIL_WINDOW;
    } else if (k < COLUMNS_MAX && AGREE(tail_lines(lines, count, k, false), used)) {
        header->tail = TSN_HEADER_TAIL_COLON;
        header->tail_window = 2;
    }
}

/* Only columns with a digit may be times: a cheap test, as the sample has proved the shape. */
static bool column_fits(const struct tsn_log_header *h, size_t i, const struct column *c)
{
    for (size_t t = 0; t < h->time_count; t++)
        if (h->time_columns[t] == i)
            return (tsn_chars[(uint8_t)c->text[0]] & TSN_C_DIGIT) || time_like(c);
    return true;
}

size_t tsn_header_skip(const struct tsn_log_header *header, const char *line, size_t len)
{
    const char *end = line + len, *p = line, *q;
    struct column c;

    if (!header->found)
        return 0;
    for (size_t i = 0; i < header->columns; i++)
        if (!next_column(&p, end, &c) || !column_fits(header, i, &c))
            return 0;
    q = p;
    for (size_t i = 0; header->tail && i < header->tail_window && next_column(&q, end, &c); i++)
        if (header->tail == TSN_HEADER_TAIL_COLON ? ends_with_colon(&c) : c.len == 1 && c.text[0] == '-') {
            p = q;
            break;
        }
    while (p < end && blank(*p))
        p++;
    return (size_t)(p - line);
}
