/*
 * secrets: a line as it may be shown to people and stored: without passwords, tokens, keys, addresses.
 *
 * One pass. Masked are: the value behind a secret's name (password=…, "apiKey": "…", Authorization: Bearer …), the
 * user:password of a URL, e-mail addresses, and words that look like secrets by themselves: JWTs, and long words that
 * mix cases and digits. What names a thing (UUIDs, hex hashes of 32 to 64, paths, dotted names) stays. When in
 * doubt a word is masked: a sample line may lose a value, it must not carry one out.
 */
#include "base/re2_shim.h"
#include "patterns/chars.h"
#include "patterns/config.h"

#include <string.h>

#define TOKEN_MIN 24 /* shorter random words are ids more often than keys */

struct mask {
    const struct tsn_pattern_config *config;
    unsigned kinds;
    const char *line, *p, *end;
    struct tsn_buf *out;
    const char *copied; /* [line, copied) is in out */
};

static uint8_t class_of(const char *p)
{
    return tsn_chars[(uint8_t)*p];
}

/* Replaces [from, to) by `text`; everything before it is copied. */
static void replace(struct mask *m, const char *from, const char *to, const char *text)
{
    if (from < m->copied)
        from = m->copied;
    tsn_buf_append(m->out, m->copied, (size_t)(from - m->copied));
    tsn_buf_puts(m->out, text);
    m->copied = to;
    m->p = to;
}

/* End of the value that starts at v: to the closing quote, or to a blank or closing mark. */
static const char *value_end(const struct mask *m, const char *v)
{
    char quote = *v == '"' || *v == '\'' ? *v : 0;
    const char *q = v + (quote != 0);

    for (; q < m->end; q++) {
        if (quote && *q == '\\' && q + 1 < m->end) {
            q++;
            continue;
        }
        if (quote ? *q == quote : (class_of(q) & TSN_C_SPACE) || memchr(",;)]}\"'&", *q, 8))
            break;
    }
    return q;
}

static bool is_scheme_word(const char *v, size_t len)
{
    static const char *const schemes[] = { "bearer", "basic", "digest", "token", "negotiate", "apikey" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(schemes); i++)
        if (strlen(schemes[i]) == len && strncasecmp(schemes[i], v, len) == 0)
            return true;
    return false;
}

/* At the end of a word [w, e): if it names a secret and a value follows, masks the value. */
static bool keyed(struct mask *m, const char *w, const char *e)
{
    const char *v = e, *stop;

    if (v < m->end && (*v == '"' || *v == '\''))
        v++;
    if (v == m->end || (*v != '=' && *v != ':') || !tsn_pattern_secret_key(m->config, w, (size_t)(e - w)))
        return false;
    v++;
    while (v < m->end && (*v == ' ' || *v == '\t'))
        v++;
    if (v == m->end)
        return false;
    stop = value_end(m, v);
    if (is_scheme_word(v + (*v == '"'), (size_t)(stop - v - (*v == '"' && stop > v))) && stop + 1 < m->end && *stop == ' ') {
        v = stop + 1;
        stop = value_end(m, v);
    } else if (*v == '"' || *v == '\'') {
        v++;
    }
    if (stop <= v)
        return false;
    replace(m, v, stop, "<secret>");
    return true;
}

/* "Bearer abc…" without a key before it. */
static bool bearer(struct mask *m, const char *w, const char *e)
{
    if (e - w != 6 || strncasecmp(w, "bearer", 6) != 0 || e == m->end || *e != ' ' || e + 1 == m->end)
        return false;
    if (value_end(m, e + 1) - (e + 1) < 8)
        return false;
    replace(m, e + 1, value_end(m, e + 1), "<secret>");
    return true;
}

/* scheme://user:password@host: at the "://". */
static bool url_login(struct mask *m, const char *e)
{
    const char *q = e + 3, *colon = NULL;

    if (m->end - e < 4 || memcmp(e, "://", 3) != 0)
        return false;
    for (; q < m->end && !(class_of(q) & TSN_C_SPACE) && *q != '/' && *q != '"' && *q != '@'; q++)
        if (*q == ':' && !colon)
            colon = q;
    if (q == m->end || *q != '@' || !colon)
        return false;
    replace(m, colon + 1, q, "<secret>");
    return true;
}

static bool email(struct mask *m, const char *w, const char *e)
{
    const char *at = memchr(w, '@', (size_t)(e - w)), *dot;

    if (!at || at == w || e - at < 4)
        return false;
    dot = memchr(at, '.', (size_t)(e - at));
    if (!dot || dot == at + 1 || dot + 1 == e || !(class_of(at + 1) & (TSN_C_ALPHA | TSN_C_DIGIT)))
        return false;
    while (e > at && !(class_of(e - 1) & (TSN_C_ALPHA | TSN_C_DIGIT)))
        e--;
    replace(m, w, e, "<email>");
    return true;
}

/* A long word mixing upper, lower and digits, or a JWT; not a path, a dotted name or a plain hex number. */
static bool token(struct mask *m, const char *w, const char *e)
{
    size_t len = (size_t)(e - w), upper = 0, lower = 0, digit = 0, other = 0;
    const char *q = e;

    if (len > 20 && memcmp(w, "eyJ", 3) == 0) {
        replace(m, w, e, "<secret>");
        return true;
    }
    if (len == 20 && (memcmp(w, "AKIA", 4) == 0 || memcmp(w, "ASIA", 4) == 0)) {
        replace(m, w, e, "<secret>");
        return true;
    }
    if (len < TOKEN_MIN)
        return false;
    for (const char *c = w; c < e; c++) {
        uint8_t k = class_of(c);

        upper += (k & TSN_C_UPPER) != 0;
        lower += (k & TSN_C_ALPHA) && !(k & TSN_C_UPPER);
        digit += (k & TSN_C_DIGIT) != 0;
        other += (k & TSN_C_DOT) || *c == '$' || *c == '@';
    }
    /* random base64 has about a sixth of digits and halves of each case; names have one or two capitals a part */
    if (other || digit < 3 || upper < 3 || lower < 3 || digit + upper < len / 4)
        return false;
    while (q < m->end && *q == '=')
        q++;
    replace(m, w, q, "<secret>");
    return true;
}

/* From a "-----BEGIN … PRIVATE KEY" on, nothing is shown. */
static bool key_block(struct mask *m, const char *w, const char *e)
{
    if (e - w < 5 || memcmp(w, "-----", 5) != 0 || !memmem(w, (size_t)(m->end - w), "PRIVATE KEY", 11))
        return false;
    replace(m, w, m->end, "<secret>");
    return true;
}

static void word(struct mask *m, const char *w, const char *e)
{
    if ((m->kinds & TSN_SECRET_KEYED) && (keyed(m, w, e) || bearer(m, w, e)))
        return;
    if ((m->kinds & TSN_SECRET_URL) && url_login(m, e))
        return;
    if ((m->kinds & TSN_SECRET_EMAIL) && email(m, w, e))
        return;
    if (m->kinds & TSN_SECRET_TOKEN && (key_block(m, w, e) || token(m, w, e)))
        return;
    m->p = e;
}

/* Copies the tail, cuts at `limit` bytes (0: does not), and makes all that was appended valid UTF-8. */
static void finish(struct mask *m, size_t start, size_t limit)
{
    tsn_buf_append(m->out, m->copied, (size_t)(m->end - m->copied));
    for (size_t at = start; at < m->out->len;) {
        at += tsn_utf8_valid_prefix(m->out->data + at, m->out->len - at);
        if (at < m->out->len)
            m->out->data[at++] = '?';
    }
    if (limit && m->out->len - start > limit) {
        m->out->len = start + tsn_utf8_valid_prefix(m->out->data + start, limit);
        m->out->data[m->out->len] = '\0';
    }
}

struct tsn_text tsn_pattern_redact(const struct tsn_pattern_config *config, const char *line, size_t len, size_t max_len,
                                   struct tsn_buf *out)
{
    struct tsn_text text = { line, max_len && len > max_len ? max_len : len };
    struct tsn_buf other = TSN_BUF_INIT;

    for (size_t i = 0; config && i < config->regex_count; i++) {
        size_t from = 0, copied = 0;
        long at[2];

        tsn_buf_reset(&other);
        while (from < text.len && tsn_re2_match(config->regexes[i], text.data, text.len, from, false, at, 1)) {
            from = (size_t)at[1] + (at[0] == at[1]);
            if (at[0] == at[1])
                continue;
            tsn_buf_append(&other, text.data + copied, (size_t)at[0] - copied);
            tsn_buf_puts(&other, "<secret>");
            copied = (size_t)at[1];
        }
        if (!copied)
            continue;
        tsn_buf_append(&other, text.data + copied, text.len - copied);
        tsn_buf_reset(out);
        tsn_buf_append(out, other.data, other.len);
        text = (struct tsn_text){ out->data, out->len };
    }
    tsn_buf_release(&other);
    return text;
}

void tsn_pattern_mask_secrets(const struct tsn_pattern_config *config, const char *line, size_t len, size_t max_len,
                              struct tsn_buf *out)
{
    enum { BEYOND = 512 }; /* read further than shown: what a secret's beginning looks like, its end decides */
    struct tsn_buf redacted = TSN_BUF_INIT;
    struct tsn_text text = tsn_pattern_redact(config, line, len, max_len ? max_len + BEYOND : 0, &redacted);
    struct mask m = { .config = config, .kinds = config ? config->secret_kinds : (unsigned)TSN_SECRET_ALL, .line = text.data,
                      .p = text.data, .end = text.data + text.len, .out = out, .copied = text.data };
    size_t start = out->len;

    while (m.p < m.end) {
        const char *w = m.p;

        while (m.p < m.end && (class_of(m.p) & TSN_C_WORD))
            m.p++;
        if (m.p > w)
            word(&m, w, m.p);
        else
            m.p++;
    }
    finish(&m, start, max_len && len > max_len ? max_len : 0);
    tsn_buf_release(&redacted);
}
