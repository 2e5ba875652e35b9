/*
 * template_text: what templates do to text: quoting, case, escaping, times, host and port.
 *
 * Case mapping covers ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic and Armenian by range;
 * other letters stay as they are (annotations are written in those scripts; full Unicode tables
 * would weigh more than the rest of this module). All functions are total: broken UTF-8 passes
 * through byte by byte.
 */
#include "rules/template.h"

#include <arpa/inet.h>

/* ---- characters --------------------------------------------------------------------------- */

struct range {
    uint32_t from, to;
};

static bool in_ranges(const struct range *ranges, size_t count, uint32_t c)
{
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].from && c <= ranges[i].to)
            return true;
    return false;
}

bool tmpl_is_print(uint32_t c)
{
    static const struct range hidden[] = {
        { 0, 0x1f }, { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x2000, 0x200f }, { 0x2028, 0x202f },
        { 0x205f, 0x206f }, { 0x3000, 0x3000 }, { 0xd800, 0xf8ff }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
        { 0xfff0, 0xfffb }, { 0xfffe, 0xffff }, { 0xe0000, 0x10ffff },
    };

    return !in_ranges(hidden, TSN_ARRAY_LEN(hidden) - 1, c) && c < 0xe0000;
}

bool tmpl_is_letter(uint32_t c)
{
    static const struct range other[] = {
        { 0x80, 0xa9 }, { 0xab, 0xb4 }, { 0xb6, 0xb9 }, { 0xbb, 0xbf }, { 0xd7, 0xd7 }, { 0xf7, 0xf7 },
        { 0x300, 0x36f }, { 0x2000, 0x2070 }, { 0x2072, 0x207e }, { 0x2080, 0x208f }, { 0x20a0, 0x2101 },
        { 0x2190, 0x2bff }, { 0x2e00, 0x3004 }, { 0x3008, 0x3020 }, { 0xd800, 0xf8ff }, { 0xfe00, 0xfe6f },
        { 0xfeff, 0xff0f }, { 0xfff0, 0xffff }, { 0x1f000, 0x1faff }, { 0xe0000, 0x10ffff },
    };

    if (c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    return !in_ranges(other, TSN_ARRAY_LEN(other), c);
}

static uint32_t upper_of(uint32_t c)
{
    if (c >= 'a' && c <= 'z')
        return c - 32;
    if (c < 0x80)
        return c;
    if (c == 0xb5)
        return 0x39c;
    if (c == 0xff)
        return 0x178;
    if (c >= 0xe0 && c <= 0xfe && c != 0xf7)
        return c - 32;
    if ((c >= 0x100 && c <= 0x137 && c != 0x131) || (c >= 0x14a && c <= 0x177) ||
        (c >= 0x460 && c <= 0x481) || (c >= 0x48a && c <= 0x4bf) || (c >= 0x4d0 && c <= 0x52f))
        return c & ~1u;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c & 1 ? c : c - 1;
    if (c == 0x131)
        return 'I';
    if (c == 0x3c2)
        return 0x3a3;
    if (c == 0x3ac)
        return 0x386;
    if (c >= 0x3ad && c <= 0x3af)
        return c - 37;
    if ((c >= 0x3b1 && c <= 0x3cb) || (c >= 0x430 && c <= 0x44f))
        return c - 32;
    if (c >= 0x450 && c <= 0x45f)
        return c - 80;
    if (c >= 0x561 && c <= 0x586)
        return c - 48;
    return c;
}

static uint32_t lower_of(uint32_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c + 32;
    if (c < 0xc0)
        return c;
    if (c <= 0xde && c != 0xd7)
        return c + 32;
    if (c == 0x178)
        return 0xff;
    if (c == 0x130)
        return 'i';
    if ((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481) ||
        (c >= 0x48a && c <= 0x4bf) || (c >= 0x4d0 && c <= 0x52f))
        return c | 1;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c & 1 ? c + 1 : c;
    if (c == 0x386)
        return 0x3ac;
    if (c >= 0x388 && c <= 0x38a)
        return c + 37;
    if ((c >= 0x391 && c <= 0x3ab && c != 0x3a2) || (c >= 0x410 && c <= 0x42f))
        return c + 32;
    if (c >= 0x400 && c <= 0x40f)
        return c + 80;
    if (c >= 0x531 && c <= 0x556)
        return c + 48;
    return c;
}

static size_t next_rune(struct tmpl_str text, size_t at, uint32_t *c)
{
    size_t n = tsn_utf8_decode(text.text + at, text.len - at, c);

    if (!n)
        *c = UINT32_MAX;
    return n ? n : 1;
}

static void put_rune(struct tsn_buf *out, uint32_t c)
{
    char text[4];

    tsn_buf_append(out, text, tsn_utf8_encode(c, text));
}

static void map_case(struct tsn_buf *out, struct tmpl_str text, uint32_t (*map)(uint32_t))
{
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t n = next_rune(text, at, &c);

        put_rune(out, c == UINT32_MAX ? 0xfffd : map(c));
        at += n;
    }
}

void tmpl_upper(struct tsn_buf *out, struct tmpl_str text)
{
    map_case(out, text, upper_of);
}

void tmpl_lower(struct tsn_buf *out, struct tmpl_str text)
{
    map_case(out, text, lower_of);
}

static bool is_mid(uint32_t c)
{
    return c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2018 || c == 0x2019 || c == 0x2024 ||
           c == 0x2027;
}

/* The first cased letter of each word in upper case, the rest as it is. A word goes on over one
 * ' . or : between letters, and over digits and underscores. */
void tmpl_title(struct tsn_buf *out, struct tmpl_str text)
{
    bool in_word = false, was_mid = false;

    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t n = next_rune(text, at, &c);
        bool mid = c != UINT32_MAX && is_mid(c);

        if (c != UINT32_MAX && (upper_of(c) != c || lower_of(c) != c)) {
            put_rune(out, in_word ? c : upper_of(c));
            in_word = true;
        } else {
            if (c == UINT32_MAX)
                put_rune(out, 0xfffd);
            else
                tsn_buf_append(out, text.text + at, n);
            if ((mid && was_mid) || (!mid && (c == UINT32_MAX || !tmpl_is_letter(c))))
                in_word = false;
        }
        was_mid = mid;
        at += n;
    }
}

/* ---- quoting and escaping ----------------------------------------------------------------- */

static void quote_rune(struct tsn_buf *out, uint32_t c, char quote, bool ascii_only)
{
    static const char named[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";
    const char *at = c && c < 0x80 ? strchr(named, (int)c) : NULL;

    if (c == (unsigned char)quote || c == '\\')
        tsn_buf_printf(out, "\\%c", (int)c);
    else if (tmpl_is_print(c) && (c < 0x80 || !ascii_only))
        put_rune(out, c);
    else if (at)
        tsn_buf_printf(out, "\\%c", letters[at - named]);
    else if (c < ' ' || c == 0x7f)
        tsn_buf_printf(out, "\\x%02x", (unsigned)c);
    else
        tsn_buf_printf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

void tmpl_quote(struct tsn_buf *out, struct tmpl_str text, char quote, bool ascii_only)
{
    tsn_buf_putc(out, quote);
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t n = next_rune(text, at, &c);

        if (c == UINT32_MAX)
            tsn_buf_printf(out, "\\x%02x", (unsigned)(unsigned char)text.text[at]);
        else
            quote_rune(out, c, quote, ascii_only);
        at += n;
    }
    tsn_buf_putc(out, quote);
}

void tmpl_html(struct tsn_buf *out, struct tmpl_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.text[i]) {
        case '\0': tsn_buf_puts(out, "\xef\xbf\xbd"); break;
        case '"': tsn_buf_puts(out, "&#34;"); break;
        case '\'': tsn_buf_puts(out, "&#39;"); break;
        case '&': tsn_buf_puts(out, "&amp;"); break;
        case '<': tsn_buf_puts(out, "&lt;"); break;
        case '>': tsn_buf_puts(out, "&gt;"); break;
        default: tsn_buf_putc(out, text.text[i]);
        }
    }
}

void tmpl_js(struct tsn_buf *out, struct tmpl_str text)
{
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t n = next_rune(text, at, &c);

        if (c == UINT32_MAX)
            tsn_buf_puts(out, "\\uFFFD");
        else if (c == '\\' || c == '\'' || c == '"')
            tsn_buf_printf(out, "\\%c", (int)c);
        else if (c < ' ' || c == '<' || c == '>' || c == '&' || c == '=')
            tsn_buf_printf(out, "\\u%04X", (unsigned)c);
        else if (c < 0x80 || tmpl_is_print(c))
            tsn_buf_append(out, text.text + at, n);
        else
            tsn_buf_printf(out, "\\u%04X", (unsigned)c);
        at += n;
    }
}

void tmpl_query_escape(struct tsn_buf *out, struct tmpl_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.text[i];

        if (c == ' ')
            tsn_buf_putc(out, '+');
        else if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("-_.~", c)))
            tsn_buf_putc(out, (char)c);
        else
            tsn_buf_printf(out, "%%%02X", c);
    }
}

/* ---- host and port ------------------------------------------------------------------------ */

/* Go's net.SplitHostPort; false where it gives an error. */
static bool split_host_port(struct tmpl_str s, struct tmpl_str *host, struct tmpl_str *port)
{
    const char *colon = memrchr(s.text, ':', s.len), *close;
    size_t i, open_from = 0, close_from = 0;

    if (!colon)
        return false;
    i = (size_t)(colon - s.text);
    if (s.text[0] == '[') {
        close = memchr(s.text, ']', s.len);
        if (!close || (size_t)(close - s.text) + 1 != i)
            return false;
        *host = (struct tmpl_str){ s.text + 1, (size_t)(close - s.text) - 1 };
        open_from = 1;
        close_from = i;
    } else {
        *host = (struct tmpl_str){ s.text, i };
        if (memchr(s.text, ':', i))
            return false;
    }
    if (memchr(s.text + open_from, '[', s.len - open_from) ||
        memchr(s.text + close_from, ']', s.len - close_from))
        return false;
    *port = (struct tmpl_str){ colon + 1, s.len - i - 1 };
    return true;
}

void tmpl_strip_port(struct tsn_buf *out, struct tmpl_str s)
{
    struct tmpl_str host, port;

    if (!split_host_port(s, &host, &port))
        host = s;
    tsn_buf_append(out, host.text, host.len);
}

static bool is_address(struct tmpl_str host)
{
    const char *zone = memchr(host.text, '%', host.len);
    size_t len = zone ? (size_t)(zone - host.text) : host.len;
    unsigned char bytes[16];
    char text[64];

    if (len >= sizeof text || memchr(host.text, '\0', host.len) || (zone && len + 1 == host.len))
        return false;
    memcpy(text, host.text, len);
    text[len] = '\0';
    return (!zone && inet_pton(AF_INET, text, bytes) == 1) || inet_pton(AF_INET6, text, bytes) == 1;
}

void tmpl_strip_domain(struct tsn_buf *out, struct tmpl_str s)
{
    struct tmpl_str host, port = { "", 0 };
    const char *dot;
    bool v6;

    if (!split_host_port(s, &host, &port)) {
        host = s;
        port.len = 0;
    }
    if (is_address(host)) {
        tsn_buf_append(out, s.text, s.len);
        return;
    }
    dot = memchr(host.text, '.', host.len);
    if (dot)
        host.len = (size_t)(dot - host.text);
    v6 = port.len && memchr(host.text, ':', host.len);
    if (v6)
        tsn_buf_putc(out, '[');
    tsn_buf_append(out, host.text, host.len);
    if (v6)
        tsn_buf_putc(out, ']');
    if (port.len) {
        tsn_buf_putc(out, ':');
        tsn_buf_append(out, port.text, port.len);
    }
}
