/*
 * plain: what the beginning of a plain line says about it, from this line alone.
 *
 *     2026-01-02T03:04:05.678Z  INFO [main] com.shop.Cart : message     Java
 *     2026-01-02 03:04:05,678 - cart - ERROR - message                  Python
 *     ERROR:cart:message                                                Python
 *     E0102 03:04:05.678901  7 cart.go:12] message                      Go
 *     Jan  2 03:04:05 host cart[77]: message                            syslog before RFC 5424
 *     [2026-01-02 03:04:05] ERROR: message
 *
 * A level counts only where it may stand: as the first word, or among the first words behind a time. All found or none:
 * without a level (or syslog's program) the whole line is the message, and nothing of it is taken for a header. A time counts if
 * it names its zone; of others one cannot know what they mean.
 */
#include "patterns/plain.h"

#include "patterns/chars.h"

#include <string.h>

#define HEADER_WORDS 6 /* behind the time, before the level: thread, process, logger and dashes */

struct reader {
    const char *p, *end;
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The text has the form: 9 a digit, _ a blank or T, others themselves. */
static bool form(const struct reader *r, const char *form)
{
    size_t n = strlen(form);

    if ((size_t)(r->end - r->p) < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = r->p[i];

        if (form[i] == '9' ? !digit(c) : form[i] == '_' ? c != ' ' && c != 'T' : c != form[i])
            return false;
    }
    return true;
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
}

/* A date and time, perhaps in brackets; *ts_ms if it has a zone. */
static bool take_time(struct reader *r, int64_t *ts_ms)
{
    struct reader at = *r;
    char copy[48];
    size_t n = 19;

    if (at.p < at.end && *at.p == '[')
        at.p++;
    if (!form(&at, "9999-99-99_99:99:99") && !form(&at, "9999/99/99_99:99:99"))
        return false;
    while (at.p + n < at.end && n < sizeof copy && (digit(at.p[n]) || memchr(".,:+-Z", at.p[n], 6)))
        n++;
    if (n < sizeof copy) {
        memcpy(copy, at.p, n);
        copy[4] = copy[7] = '-';
        copy[10] = 'T';
        if (copy[19] == ',')
            copy[19] = '.';
        (void)tsn_parse_rfc3339(copy, n, ts_ms);
    }
    r->p = at.p + n;
    if (r->p < r->end && *r->p == ']')
        r->p++;
    skip_blanks(r);
    return true;
}

/* The next word as it stands, brackets and colons included; empty at the end. */
static struct tsn_text next_word(struct reader *r)
{
    const char *start = r->p;

    while (r->p < r->end && *r->p != ' ' && *r->p != '\t')
        r->p++;
    return (struct tsn_text){ start, (size_t)(r->p - start) };
}

/* A word that is a level in capitals, or any way in brackets; without the marks about it. False: it is none. */
static bool level_word(struct tsn_text word, struct tsn_text *level)
{
    bool bracket = word.len > 2 && (*word.data == '[' || *word.data == '<' || *word.data == '(');

    while (word.len && memchr("[<(", *word.data, 3))
        word.data++, word.len--;
    while (word.len && memchr("]>):,", word.data[word.len - 1], 5))
        word.len--;
    if (word.len < 4 && !(word.len == 3 && memcmp(word.data, "ERR", 3) == 0))
        return false;
    for (size_t i = 0; i < word.len; i++)
        if (!(tsn_chars[(uint8_t)word.data[i]] & (bracket ? TSN_C_ALPHA : TSN_C_UPPER)))
            return false;
    *level = word;
    return *tsn_log_level_normal(word.data, word.len) != '\0';
}

/* A dotted or plain name; the marks about it cut off. */
static bool logger_word(struct tsn_text word, struct tsn_text *logger)
{
    bool name = false;

    while (word.len && memchr("[(", *word.data, 2))
        word.data++, word.len--;
    while (word.len && memchr("]):,", word.data[word.len - 1], 4))
        word.len--;
    for (size_t i = 0; i < word.len; i++) {
        uint8_t kind = tsn_chars[(uint8_t)word.data[i]];

        if (!(kind & (TSN_C_ALPHA | TSN_C_DIGIT)) && !memchr("._$-:/", word.data[i], 6))
            return false;
        name |= (kind & TSN_C_ALPHA) != 0;
    }
    *logger = word;
    return name;
}

static void set_message(struct tsn_log_fields *out, struct reader *r)
{
    skip_blanks(r);
    out->message = (struct tsn_text){ r->p, (size_t)(r->end - r->p) };
}

static bool dash(struct tsn_text word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!memchr("-:|", word.data[i], 3))
            return false;
    return word.len > 0;
}

/* Behind the level: thread, number, dashes, and a logger if a colon or dash follows it. */
static void after_level(struct reader *r, struct tsn_log_fields *out)
{
    struct reader at = *r;

    for (unsigned i = 0; i < HEADER_WORDS; i++) {
        struct tsn_text word;
        struct reader behind;

        skip_blanks(&at);
        word = next_word(&at);
        if (!word.len)
            return;
        behind = at;
        skip_blanks(&behind);
        if (dash(word) || *word.data == '[' || tsn_chars[(uint8_t)*word.data] & TSN_C_DIGIT) {
            if (dash(word) || word.data[word.len - 1] == ']')
                *r = at;
            continue;
        }
        if (word.data[word.len - 1] == ':' || dash(next_word(&behind))) {
            if (logger_word(word, &out->logger))
                *r = word.data[word.len - 1] == ':' ? at : behind;
            else
                out->logger = (struct tsn_text){ NULL, 0 };
        }
        return;
    }
}

/* "E0102 03:04:05.678901  7 cart.go:12] message" */
static bool klog(struct reader r, struct tsn_log_fields *out)
{
    const char *close;

    if (r.p == r.end || !memchr("DIWEF", *r.p, 5))
        return false;
    out->level = (struct tsn_text){ r.p, 1 };
    r.p++;
    close = form(&r, "9999 99:99:99") ? memchr(r.p, ']', (size_t)(r.end - r.p) < 120 ? (size_t)(r.end - r.p) : 120) : NULL;
    if (!close)
        return false;
    out->logger = (struct tsn_text){ close, 0 };
    while (out->logger.data > r.p && out->logger.data[-1] != ' ')
        out->logger.data--, out->logger.len++;
    r.p = close + 1;
    set_message(out, &r);
    return true;
}

/* "Jan  2 03:04:05 host cart[77]: message": the program is the service. */
static bool old_syslog(struct reader r, struct tsn_log_fields *out)
{
    struct tsn_text program;
    size_t n = 0;

    if (r.end - r.p < 16 || !(tsn_chars[(uint8_t)*r.p] & TSN_C_UPPER) || r.p[3] != ' ' || !digit(r.p[5]))
        return false;
    r.p += 6;
    if (!form(&r, " 99:99:99 "))
        return false;
    r.p += 10;
    out->host = next_word(&r);
    skip_blanks(&r);
    program = next_word(&r);
    if (!program.len || program.data[program.len - 1] != ':')
        return false;
    while (n < program.len && program.data[n] != '[' && program.data[n] != ':')
        n++;
    out->service = (struct tsn_text){ program.data, n };
    set_message(out, &r);
    return n > 0;
}

/* "ERROR:cart:message" */
static bool python_basic(struct reader r, struct tsn_log_fields *out)
{
    const char *colon = memchr(r.p, ':', (size_t)(r.end - r.p)), *second;

    second = colon ? memchr(colon + 1, ':', (size_t)(r.end - colon - 1)) : NULL;
    if (!second || !level_word((struct tsn_text){ r.p, (size_t)(colon - r.p) }, &out->level) ||
        !logger_word((struct tsn_text){ colon + 1, (size_t)(second - colon - 1) }, &out->logger))
        return false;
    r.p = second + 1;
    set_message(out, &r);
    return true;
}

/* A level as the first word, or among the first behind a time. */
static bool levelled(struct reader r, struct tsn_log_fields *out)
{
    bool timed = take_time(&r, &out->ts_ms);
    struct tsn_text before = { NULL, 0 };

    for (unsigned i = 0; i < (timed ? HEADER_WORDS : 1); i++) {
        struct tsn_text word;

        skip_blanks(&r);
        word = next_word(&r);
        if (!word.len)
            return false;
        if (level_word(word, &out->level)) {
            after_level(&r, out);
            if (!out->logger.data && before.data && !logger_word(before, &out->logger))
                out->logger.data = NULL;
            set_message(out, &r);
            return true;
        }
        if (!dash(word) && *word.data != '[')
            before = word;
    }
    return false;
}

void tsn_log_extract_plain(const char *line, size_t len, struct tsn_log_fields *out)
{
    static bool (*const forms[])(struct reader, struct tsn_log_fields *) = { klog, old_syslog, python_basic, levelled };
    const struct tsn_log_fields none = *out;
    const struct reader r = { line, line + len };

    for (size_t i = 0; i < TSN_ARRAY_LEN(forms); i++) {
        if (forms[i](r, out))
            return;
        *out = none;
    }
    out->message = (struct tsn_text){ line, len };
}
