/* buf: growable bytes, always NUL-terminated. See tocsin/base.h. */
#include "tocsin/base.h"

#include <stdio.h>
#include <string.h>

void tsn_buf_init(struct tsn_buf *buf)
{
    memset(buf, 0, sizeof *buf);
}

void tsn_buf_release(struct tsn_buf *buf)
{
    tsn_free(buf->data);
    tsn_buf_init(buf);
}

void tsn_buf_reset(struct tsn_buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

char *tsn_buf_reserve(struct tsn_buf *buf, size_t extra)
{
    size_t want = buf->len + extra + 1;

    TSN_ASSERT(want > buf->len);
    if (want > buf->cap) {
        size_t cap = buf->cap + buf->cap / 2 + 64;

        if (cap < want)
            cap = want;
        buf->data = tsn_realloc(buf->data, cap);
        buf->cap = cap;
        buf->data[buf->len] = '\0';
    }
    return buf->data + buf->len;
}

void tsn_buf_append(struct tsn_buf *buf, const void *data, size_t len)
{
    char *to = tsn_buf_reserve(buf, len);

    if (len)
        memcpy(to, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void tsn_buf_puts(struct tsn_buf *buf, const char *text)
{
    tsn_buf_append(buf, text, strlen(text));
}

void tsn_buf_putc(struct tsn_buf *buf, char c)
{
    tsn_buf_append(buf, &c, 1);
}

void tsn_buf_vprintf(struct tsn_buf *buf, const char *fmt, va_list args)
{
    va_list again;
    int len;

    va_copy(again, args);
    tsn_buf_reserve(buf, 128);
    len = vsnprintf(buf->data + buf->len, buf->cap - buf->len, fmt, args);
    TSN_ASSERT(len >= 0);
    if ((size_t)len >= buf->cap - buf->len) {
        tsn_buf_reserve(buf, (size_t)len);
        vsnprintf(buf->data + buf->len, buf->cap - buf->len, fmt, again);
    }
    va_end(again);
    buf->len += (size_t)len;
}

void tsn_buf_printf(struct tsn_buf *buf, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(buf, fmt, args);
    va_end(args);
}

const char *tsn_buf_str(const struct tsn_buf *buf)
{
    return buf->data ? buf->data : "";
}

char *tsn_buf_take(struct tsn_buf *buf, size_t *len)
{
    char *data = buf->data ? buf->data : tsn_strdup("");

    if (len)
        *len = buf->len;
    tsn_buf_init(buf);
    return data;
}

/* Bytes that JSON lets stand as they are: everything but controls, quote, backslash. */
static bool json_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void json_escape_one(struct tsn_buf *buf, unsigned char c)
{
    switch (c) {
    case '"': tsn_buf_append(buf, "\\\"", 2); break;
    case '\\': tsn_buf_append(buf, "\\\\", 2); break;
    case '\n': tsn_buf_append(buf, "\\n", 2); break;
    case '\r': tsn_buf_append(buf, "\\r", 2); break;
    case '\t': tsn_buf_append(buf, "\\t", 2); break;
    default: tsn_buf_printf(buf, "\\u%04x", c); break;
    }
}

void tsn_buf_json_string(struct tsn_buf *buf, const char *text, size_t len)
{
    size_t at = 0;

    tsn_buf_putc(buf, '"');
    while (at < len) {
        size_t run = at;
        uint32_t code_point;
        size_t width;

        while (run < len && json_plain((unsigned char)text[run]))
            run++;
        tsn_buf_append(buf, text + at, run - at);
        at = run;
        if (at == len)
            break;
        if ((unsigned char)text[at] < 0x80) {
            json_escape_one(buf, (unsigned char)text[at++]);
            continue;
        }
        width = tsn_utf8_decode(text + at, len - at, &code_point);
        if (width)
            tsn_buf_append(buf, text + at, width);
        else
            tsn_buf_append(buf, "\xEF\xBF\xBD", 3);
        at += width ? width : 1;
    }
    tsn_buf_putc(buf, '"');
}
