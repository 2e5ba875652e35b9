/*
 * scan: a line → its signature, in one pass over a class table (chars.h), without regular expressions.
 *
 * A word is a run of letters, digits and joining punctuation. Its flags, the OR of its characters' classes,
 * mostly decide: letters alone → literal; any digit → variable; else shape (path, address, host:port, hex).
 * Blanks collapse to one; other punctuation stands as it is. The masked text is written as the scan goes,
 * and rules on its tail join what belongs together: <*>:<*> is one <*>, so is "Fri Jun 17 07:07:00 2005".
 * All rules speak of shape; the few words known are true/false/null and their like. Values behind the name of a secret are variables,
 * so that no secret reaches a topic inside a template.
 *
 * The line is read up to TSN_PATTERN_SCAN_MAX bytes; a text is never longer than three times that.
 */
#include "patterns/chars.h"
#include "patterns/config.h"

#include <string.h>

/* No word of a language is longer; identifiers that are vary. */
#define WORD_MAX 64

/* What tells a pinned template's signature from that of a line whose text happens to be the same: any bits will do. */
#define PIN UINT64_C(0x70696e6e65643a31)

struct scan {
    const struct tsn_pattern_config *config;
    const uint8_t *p, *end;
    char *base, *out;    /* text so far is [base, out) */
    char *var_end;       /* where the last <*> ended; NULL if none */
    char *word_start;    /* last literal word in the text … */
    char *word_end;
    uint8_t word_flags;
    char *run_first;     /* where the first <*> of a blank-separated run ended */
    unsigned run;        /* its length */
    unsigned commas;     /* words so far in a list a,b,c */
    bool secret;         /* the next word is the value of a secret */
    bool dated;          /* last <*> is a date and time; a year or zone may follow */
};

static void put(struct scan *s, const uint8_t *text, size_t len)
{
    memcpy(s->out, text, len);
    s->out += len;
}

static void put_var(struct scan *s, bool number);

/* a,b,c without blanks: from the third word on it is a list, and a list is a value. */
static bool comma_list(struct scan *s)
{
    bool follows = s->out > s->base + 1 && s->out[-1] == ',' && s->word_end == s->out - 1;

    s->commas = follows ? s->commas + 1 : 0;
    if (s->commas < 2)
        return false;
    for (unsigned back = 0; s->word_start > s->base && back < 2; s->word_start--) {
        uint8_t c = (uint8_t)s->word_start[-1];

        if (c == ',')
            back++;
        else if (!(tsn_chars[c] & TSN_C_WORD))
            break;
    }
    s->out = s->word_end = s->word_start;
    s->var_end = NULL;
    put_var(s, false);
    s->commas = 0;
    return true;
}

static void put_word(struct scan *s, const uint8_t *text, size_t len, uint8_t flags)
{
    if (comma_list(s))
        return;
    s->word_start = s->out;
    put(s, text, len);
    s->word_end = s->out;
    s->word_flags = flags;
    s->dated = false;
}

static bool is_digits(const uint8_t *w, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(tsn_chars[w[i]] & TSN_C_DIGIT))
            return false;
    return len > 0;
}

static bool is_letters(const uint8_t *w, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(tsn_chars[w[i]] & TSN_C_ALPHA))
            return false;
    return len > 0;
}

/* d:dd or d:dd:dd with a fraction, at the start of [w, end): the length of its hh:mm[:ss] part, else 0. */
static size_t clock_shape(const uint8_t *w, const uint8_t *end)
{
    size_t n = 0, parts = 0;

    while (parts < 3) {
        size_t digits = 0;

        while (w + n < end && (tsn_chars[w[n]] & TSN_C_DIGIT) && digits < 3)
            digits++, n++;
        if (digits == 0 || digits > 2)
            return 0;
        parts++;
        if (parts == 3 || w + n >= end || w[n] != ':')
            break;
        n++;
    }
    return parts >= 3 ? n : 0;
}

/* The word of `len` letters, first upper, that ends at text position `at` (behind a blank), or NULL. */
static char *capital_before(struct scan *s, char *at)
{
    char *w = at - 3;

    if (w < s->base || !(tsn_chars[(uint8_t)w[0]] & TSN_C_UPPER) || !is_letters((uint8_t *)w, 3) ||
        (tsn_chars[(uint8_t)w[1]] & TSN_C_UPPER) || (w > s->base && w[-1] != ' ' && w[-1] != '[' && w[-1] != '('))
        return NULL;
    return w;
}

/* A clock time follows: take the date before it into the same variable. Returns where the variable starts.
 * Forms: "Fri Jun <*> ", "Jun <*> ", "<*> " where that <*> was a date with - / or . */
static char *date_before(struct scan *s, const uint8_t *w, const uint8_t *line)
{
    char *at = s->out, *c, *c2;
    const uint8_t *q = w;

    if (at - s->base < TSN_VAR_LEN + 1 || at[-1] != ' ' || s->var_end != at - 1)
        return at;
    c = at - 1 - TSN_VAR_LEN;
    if (c - s->base > 4 && c[-1] == ' ' && (c2 = capital_before(s, c - 1)) != NULL) {
        if (c2 - s->base > 3 && c2[-1] == ' ' && capital_before(s, c2 - 1))
            return capital_before(s, c2 - 1);
        return c2;
    }
    while (q > line && (tsn_chars[q[-1]] & TSN_C_SPACE))
        q--;
    for (size_t digits = 0; q > line && (tsn_chars[q[-1]] & TSN_C_WORD); q--) {
        if (tsn_chars[q[-1]] & TSN_C_DIGIT)
            digits++;
        else if (q[-1] != '-' && q[-1] != '/' && q[-1] != '.')
            return at;
        else if (digits >= 4)
            return c;
    }
    return at;
}

/* Writes <*> for a word, joined with what stands before it. `number`: two or more digits alone, as a port. */
static void put_var(struct scan *s, bool number)
{
    char *out = s->out;
    ptrdiff_t since = s->var_end ? out - s->var_end : 2;

    if (since == 0)
        return;
    if (since == 1 && memchr(".:/#@,-", out[-1], 7)) {
        s->out = s->var_end;
        return;
    }
    if (number && out > s->base && out[-1] == ':' && s->word_end == out - 1 && s->word_end > s->word_start &&
        (s->word_flags & TSN_C_DOT) && !(s->word_flags & TSN_C_UPPER))
        out = s->word_start; /* host.name:port, file.c:line */
    else if (out - s->base >= 2 && (out[-1] == '\\' || (out[-1] == ':' && s->word_end == out - 1)) && !number &&
             s->word_end - s->word_start == 1 && s->word_end == out - 1 && s->p[-1] == '\\')
        out = s->word_start;
    s->run = since == 1 && out[-1] == ' ' && out == s->out ? s->run + 1 : 1;
    memcpy(out, TSN_VAR, TSN_VAR_LEN);
    s->out = s->var_end = out + TSN_VAR_LEN;
    if (s->run == 1)
        s->run_first = s->out;
    else if (s->run >= 3) /* a list of values is a value, however long */
        s->out = s->var_end = s->run_first;
    s->dated = false;
}

/* After a decimal number, or in brackets: " KB" or another unit of one to three capitals belongs to the value. */
static void take_unit(struct scan *s, const uint8_t *w, size_t len)
{
    size_t n = 0;
    const uint8_t *q = s->p;
    bool bracket = s->out - s->base > TSN_VAR_LEN && s->out[-TSN_VAR_LEN - 1] == '(';

    if (s->p >= s->end || *q != ' ' || (!bracket && !memchr(w, '.', len)))
        return;
    for (size_t i = 0; i < len; i++)
        if (!(tsn_chars[w[i]] & TSN_C_DIGIT) && w[i] != '.' && w[i] != '-')
            return;
    q++;
    while (q + n < s->end && n < 4 && ((tsn_chars[q[n]] & TSN_C_UPPER) || (n == 1 && q[n] == 'i')))
        n++;
    if (n == 0 || n > 3 || (bracket && !(q + n < s->end && q[n] == ')')) || (q + n < s->end && (tsn_chars[q[n]] & TSN_C_WORD)))
        return;
    s->p = q + n;
}

/* "<1 sec": a bound on a quantity is a quantity; its short unit goes along. */
static void take_bound(struct scan *s)
{
    char *out = s->out - TSN_VAR_LEN;
    const uint8_t *q = s->p;
    size_t n = 0;

    if (out - s->base < 2 || out[-1] != '<' || out[-2] != ' ' || (s->p < s->end && *s->p == '>'))
        return;
    memcpy(out - 1, TSN_VAR, TSN_VAR_LEN);
    s->out--;
    s->var_end = s->out;
    if (q < s->end && *q == ' ')
        q++;
    while (q + n < s->end && n < 5 && (tsn_chars[q[n]] & TSN_C_ALPHA) && !(tsn_chars[q[n]] & TSN_C_UPPER))
        n++;
    if (n >= 1 && n <= 4 && !(q + n < s->end && (tsn_chars[q[n]] & TSN_C_WORD)))
        s->p = q + n;
}

/* true, false, null, none, nil, NaN, undefined, Infinity, in any case. */
static bool value_word(const uint8_t *w, size_t len)
{
    static const struct {
        const char *word;
        uint8_t len;
    } words[] = { { "true", 4 }, { "false", 5 }, { "null", 4 }, { "none", 4 }, { "nil", 3 }, { "nan", 3 }, { "undefined", 9 }, { "infinity", 8 } };
    /* Of each length, bit by bit, the first letters: a=0. Most words are none of these, and this says so at once. */
    static const uint32_t firsts[10] = { [3] = 1u << 13, [4] = 1u << 13 | 1u << 19, [5] = 1u << 5, [8] = 1u << 8, [9] = 1u << 20 };

    if (len > 9 || !(firsts[len] >> (((w[0] | 0x20) - 'a') & 31) & 1))
        return false;
    for (size_t i = 0; i < TSN_ARRAY_LEN(words); i++)
        if (words[i].len == len && strncasecmp(words[i].word, (const char *)w, len) == 0)
            return true;
    return false;
}

/* Scheme behind us, "://" ahead: everything up to a blank, quote or closing bracket is one variable. */
static bool take_url(struct scan *s)
{
    const uint8_t *q = s->p;

    if (s->end - q < 4 || q[0] != ':' || q[1] != '/' || q[2] != '/')
        return false;
    while (q < s->end && !(tsn_chars[*q] & TSN_C_SPACE) && !memchr("\"'<>)]}|,;", *q, 10))
        q++;
    while (q > s->p + 3 && (q[-1] == '.' || q[-1] == ':'))
        q--;
    s->p = q;
    put_var(s, false);
    return true;
}

/* "at host Fri …": a time follows, so what stands before is its date; a zone or year may come after. */
static void put_digits(struct scan *s, const uint8_t *w, size_t len, const uint8_t *line)
{
    size_t clock = clock_shape(w, s->end);

    if (s->dated && s->out[-1] == ' ' && is_digits(w, len) && len == 4) {
        s->out = s->var_end;
        s->dated = false;
        return;
    }
    if (clock && len <= 2) {
        s->out = date_before(s, w, line);
        if (s->var_end && s->var_end > s->out)
            s->var_end = NULL;
        s->p = w + clock;
        while (s->p < s->end && (tsn_chars[*s->p] & (TSN_C_DIGIT | TSN_C_DOT)))
            s->p++;
        put_var(s, false);
        s->dated = true;
        return;
    }
    put_var(s, len >= 2 && is_digits(w, len));
    take_unit(s, w, len);
    take_bound(s);
}

/* name.123 and name@1f3a: the name stays. Returns the length of the literal part, 0 if none. */
static size_t literal_head(const uint8_t *w, size_t len)
{
    size_t i = 0;

    while (i < len && (tsn_chars[w[i]] & TSN_C_ALPHA))
        i++;
    if (i >= 2 && i + 1 < len && w[i] == '.' && is_digits(w + i + 1, len - i - 1))
        return i + 1;
    for (i = 0; i < len && w[i] != '@'; i++)
        if (tsn_chars[w[i]] & TSN_C_DIGIT)
            return 0;
    if (i < 2 || i + 1 >= len)
        return 0;
    for (size_t j = i + 1; j < len; j++)
        if (tsn_chars[w[j]] & TSN_C_NOTHEX)
            return 0;
    return i + 1;
}

/* A trimmed word that is not letters alone. */
static void shaped_word(struct scan *s, const uint8_t *w, size_t len, uint8_t flags, const uint8_t *line)
{
    if (flags & TSN_C_DIGIT) {
        size_t head = literal_head(w, len);

        if (head) {
            put_word(s, w, head, flags);
            s->word_end = s->word_start;
            put_var(s, false);
        } else if (len >= 3 && is_letters(w, len - 1) && len <= 16 && ((flags & TSN_C_NOTHEX) || len < 6)) {
            put_word(s, w, len, flags); /* ssh2, IPv4: a name until the miner sees many */
        } else {
            put_digits(s, w, len, line);
        }
        return;
    }
    if ((flags & TSN_C_SLASH) && len > 1) {
        size_t slashes = 0;

        for (size_t i = 0; i < len; i++)
            slashes += (tsn_chars[w[i]] & TSN_C_SLASH) != 0;
        if ((tsn_chars[w[0]] & (TSN_C_SLASH | TSN_C_DOT)) || slashes >= 2) {
            put_var(s, false);
            return;
        }
    }
    if ((memchr(w + 1, '@', len - 1) && (flags & TSN_C_DOT)) ||
        ((flags & (TSN_C_DOT | TSN_C_SLASH)) && s->out > s->base && s->out[-1] == '=')) {
        put_var(s, false); /* an address; key=some.name */
        return;
    }
    put_word(s, w, len, flags);
}

/* A word with joining punctuation or digits: cut punctuation off its ends, dots off its middle. */
static void slow_word(struct scan *s, const uint8_t *w, size_t len, const uint8_t *line)
{
    while (len) {
        size_t n = 0, tail;
        uint8_t flags = 0;

        /* punctuation in front, save a path's slash and a number's sign */
        while (n < len && (tsn_chars[w[n]] & TSN_C_JOIN) &&
               !(n + 1 < len && !(tsn_chars[w[n + 1]] & TSN_C_JOIN) &&
                 ((tsn_chars[w[n]] & TSN_C_SLASH) || w[n] == '_' ||
                  ((w[n] == '-' || w[n] == '+') && (tsn_chars[w[n + 1]] & TSN_C_DIGIT)))))
            n++;
        while (n >= 1 && n < len && (tsn_chars[w[n]] & TSN_C_SLASH) && (tsn_chars[w[n - 1]] & TSN_C_DOT))
            n--; /* ./path and ../path */
        put(s, w, n);
        w += n;
        len -= n;
        for (n = 0; n < len; n++) {
            if ((tsn_chars[w[n]] & TSN_C_DOT) && n + 1 < len && n > 0 && (tsn_chars[w[n + 1]] & TSN_C_DOT))
                break;
            flags |= tsn_chars[w[n]];
        }
        tail = n;
        while (tail && (tsn_chars[w[tail - 1]] & TSN_C_JOIN) && w[tail - 1] != '_' && w[tail - 1] != '$')
            tail--;
        if (tail) {
            const uint8_t *p = s->p;

            if (s->secret || tail > WORD_MAX || (s->config && tsn_pattern_masked(s->config, (const char *)w, tail))) {
                put_var(s, false);
            } else if (!(flags & (TSN_C_NOTHEX | TSN_C_JOIN)) && !(flags & TSN_C_DIGIT) && tail >= 8) {
                put_var(s, false);
            } else {
                shaped_word(s, w, tail, flags, line);
            }
            if (s->p != p)
                return; /* the word took more of the line along */
        }
        s->secret = false;
        put(s, w + tail, n - tail);
        w += n;
        len -= n;
    }
}

/* MAC or IPv6: four or more groups of at most four hex digits between colons, "::" counting as the rest. */
static bool take_colon_hex(struct scan *s, const uint8_t *w)
{
    const uint8_t *q = w;
    unsigned groups = 0;
    bool gap = false, digit = false;

    while (q < s->end) {
        size_t n = 0;

        while (q + n < s->end && n < 5 && (tsn_chars[q[n]] & (TSN_C_ALPHA | TSN_C_DIGIT)) &&
               !(tsn_chars[q[n]] & TSN_C_NOTHEX)) {
            digit |= (tsn_chars[q[n]] & TSN_C_DIGIT) != 0;
            n++;
        }
        if (n > 4)
            return false;
        q += n;
        groups += n > 0;
        if (q + 1 >= s->end || *q != ':' || ((tsn_chars[q[1]] & TSN_C_NOTHEX) && q[1] != ':'))
            break;
        if (q[1] == ':') {
            gap = true;
            q++;
        } else if (!(tsn_chars[q[1]] & TSN_C_WORD)) {
            break;
        }
        q++;
    }
    if (groups < 4 && !(gap && digit && groups >= 2))
        return false;
    if (q < s->end && (tsn_chars[*q] & (TSN_C_ALPHA | TSN_C_DIGIT)))
        return false;
    s->p = q;
    put_var(s, false);
    return true;
}

/* key="…" with at most a few words inside: a value. */
static bool take_quoted(struct scan *s)
{
    const uint8_t *q = s->p + 1, quote = *s->p;
    unsigned blanks = 0;

    if (s->out == s->base || s->out[-1] != '=')
        return false;
    while (q < s->end && *q != quote && q - s->p < 64 && blanks < 3)
        blanks += (tsn_chars[*q++] & TSN_C_SPACE) != 0;
    if (q >= s->end || *q != quote || q == s->p + 1)
        return false;
    *s->out++ = (char)quote;
    put_var(s, false);
    *s->out++ = (char)quote;
    s->p = q + 1;
    s->secret = false;
    return true;
}

static void word(struct scan *s, const uint8_t *w, size_t len, uint8_t flags, const uint8_t *line)
{
    if (len <= 4 && s->p < s->end && *s->p == ':' && !(flags & TSN_C_NOTHEX) && take_colon_hex(s, w))
        return;
    if (!(flags & (TSN_C_DIGIT | TSN_C_JOIN)) && len <= WORD_MAX && !s->secret && !s->config) {
        if (s->p < s->end && *s->p == ':' && take_url(s))
            return;
        if (value_word(w, len) || (!(flags & TSN_C_NOTHEX) && len >= 8))
            put_var(s, false);
        else
            put_word(s, w, len, flags);
        return;
    }
    if (s->p < s->end && *s->p == ':' && take_url(s))
        return;
    if (value_word(w, len)) {
        put_var(s, false);
        s->secret = false;
        return;
    }
    slow_word(s, w, len, line);
}

/* " <*> word (<*>)": the same quantity in other words; drop it. "name ()": an empty value. */
static void close_paren(struct scan *s)
{
    char *o = s->out, *q;

    if (o - s->base >= 2 && o[-1] == '(' && o[-2] == ' ') {
        put_var(s, false);
    } else if (s->var_end == o && o - s->base > 2 * TSN_VAR_LEN + 4 && o[-4] == '(' && o[-5] == ' ') {
        for (q = o - 5; q > s->base && (tsn_chars[(uint8_t)q[-1]] & TSN_C_ALPHA); q--)
            ;
        if (q < o - 5 && q - s->base > TSN_VAR_LEN && q[-1] == ' ' &&
            memcmp(q - 1 - TSN_VAR_LEN, TSN_VAR, TSN_VAR_LEN) == 0 && s->word_start == q) {
            s->out = o - 5;
            s->var_end = NULL;
            return;
        }
    }
    *s->out++ = ')';
}

/* '=' or ':' (perhaps behind a quote) after the name of a secret: what follows is one. */
static void key_mark(struct scan *s, char c)
{
    char *at = s->out;

    *s->out++ = c;
    if (at > s->base && (at[-1] == '"' || at[-1] == '\''))
        at--;
    if (s->word_end == at && s->word_end > s->word_start)
        s->secret = tsn_pattern_secret_key(s->config, s->word_start, (size_t)(s->word_end - s->word_start));
}

static void run(struct scan *s)
{
    const uint8_t *line = s->p;

    while (s->p < s->end) {
        const uint8_t *w = s->p;
        uint8_t flags = tsn_chars[*w];

        if (flags & TSN_C_WORD) {
            const uint8_t *q = w + 1;

            while (q < s->end && (tsn_chars[*q] & TSN_C_WORD))
                flags |= tsn_chars[*q++];
            s->p = q;
            word(s, w, (size_t)(q - w), flags, line);
        } else if (flags & TSN_C_SPACE) {
            while (s->p < s->end && (tsn_chars[*s->p] & TSN_C_SPACE))
                s->p++;
            if (s->out > s->base && s->p < s->end)
                *s->out++ = ' ';
        } else {
            if ((*w == '"' || *w == '\'') && take_quoted(s))
                continue;
            s->p++;
            if (*w == ')')
                close_paren(s);
            else if (*w == '=' || *w == ':')
                key_mark(s, (char)*w);
            else
                *s->out++ = (char)*w;
        }
    }
    while (s->out > s->base && s->out[-1] == ' ')
        s->out--;
}

/* Bytes that are not UTF-8 become '?', so that texts can travel as strings. */
static void make_valid(char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        at += tsn_utf8_valid_prefix(text + at, len - at);
        if (at < len)
            text[at++] = '?';
    }
}

static bool has_high(const char *text, size_t len)
{
    size_t i = 0;
    uint64_t chunk, all = 0;

    for (; i + 8 <= len; i += 8) {
        memcpy(&chunk, text + i, 8);
        all |= chunk;
    }
    for (; i < len; i++)
        all |= (uint64_t)(uint8_t)text[i];
    return (all & UINT64_C(0x8080808080808080)) != 0;
}

struct tsn_signature tsn_pattern_signature(const struct tsn_pattern_config *config, const char *line, size_t len,
                                           struct tsn_buf *scratch)
{
    struct tsn_signature sig = { .cut = len > TSN_PATTERN_SCAN_MAX };
    const char *pin;

    if (sig.cut)
        len = TSN_PATTERN_SCAN_MAX;
    tsn_buf_reset(scratch);
    pin = config ? tsn_pattern_pinned(config, line, len) : NULL;
    if (pin) {
        sig.pinned = true;
        tsn_buf_puts(scratch, pin);
    } else {
        struct scan s = { .config = config, .p = (const uint8_t *)line, .end = (const uint8_t *)line + len };

        s.base = tsn_buf_reserve(scratch, 3 * len + 32);
        s.out = s.word_start = s.word_end = s.base;
        run(&s);
        scratch->len = (size_t)(s.out - s.base);
    }
    scratch->data[scratch->len] = '\0';
    if (has_high(scratch->data, scratch->len))
        make_valid(scratch->data, scratch->len);
    sig.text = scratch->data;
    sig.len = scratch->len;
    sig.hash = tsn_hash64(sig.text, sig.len) ^ (sig.pinned ? PIN : 0);
    return sig;
}

bool tsn_pattern_is_pin(uint64_t signature, const char *text, size_t len)
{
    return signature == (tsn_hash64(text, len) ^ PIN);
}
