/*
 * address: redis://[user[:password]@]host[:port][/db], rediss:// for TLS; percent signs are decoded in user and
 * password. Everything is checked: a port that is none or a database that is no number is INVALID, with the place.
 */
#include "store/store_int.h"

#include <string.h>

enum { DEFAULT_PORT = 6379, MAX_DB = 1 << 20 };

void store_address_release(struct store_address *a)
{
    tsn_free(a->user);
    tsn_free(a->password);
    a->user = a->password = NULL;
}

static bool get_port(const char *text, size_t len, int *port)
{
    int64_t value;

    if (!tsn_parse_i64(text, len, &value) || value < 1 || value > 65535)
        return false;
    *port = (int)value;
    return true;
}

bool store_host_port(const char *text, size_t len, int default_port, char host[256], int *port)
{
    const char *end = text + len, *host_end, *colon;

    *port = default_port;
    if (len && *text == '[') {
        text++;
        host_end = memchr(text, ']', (size_t)(end - text));
        if (!host_end || (host_end + 1 < end && host_end[1] != ':'))
            return false;
        colon = host_end + 1 < end ? host_end + 1 : NULL;
    } else {
        colon = memchr(text, ':', len);
        host_end = colon ? colon : end;
    }
    if (host_end == text || host_end - text > 255 || (colon && !get_port(colon + 1, (size_t)(end - colon - 1), port)))
        return false;
    memcpy(host, text, (size_t)(host_end - text));
    host[host_end - text] = '\0';
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* NULL if a percent sign is followed by anything but two digits, or by 00. Caller frees. */
static char *percent_decode(const char *text, size_t len)
{
    struct tsn_buf out = TSN_BUF_INIT;

    for (size_t i = 0; i < len; i++) {
        int hi, lo;

        if (text[i] != '%') {
            tsn_buf_putc(&out, text[i]);
            continue;
        }
        hi = i + 2 < len ? hex_digit(text[i + 1]) : -1;
        lo = i + 2 < len ? hex_digit(text[i + 2]) : -1;
        if (hi < 0 || lo < 0 || hi + lo == 0) {
            tsn_buf_release(&out);
            return NULL;
        }
        tsn_buf_putc(&out, (char)(hi * 16 + lo));
        i += 2;
    }
    return tsn_buf_take(&out, NULL);
}

static bool get_login(const char *text, size_t len, struct store_address *a)
{
    const char *colon = memchr(text, ':', len);
    size_t user_len = colon ? (size_t)(colon - text) : len;

    a->user = percent_decode(text, user_len);
    if (colon)
        a->password = percent_decode(colon + 1, len - user_len - 1);
    if (!a->user || (colon && !a->password))
        return false;
    if (!*a->user) {
        tsn_free(a->user);
        a->user = NULL;
    }
    return true;
}

enum tsn_err store_address_parse(const char *url, struct store_address *a, struct tsn_error *error)
{
    const char *rest, *at, *slash, *fault = NULL;

    memset(a, 0, sizeof *a);
    a->tls = strncmp(url, "rediss://", 9) == 0;
    if (!a->tls && strncmp(url, "redis://", 8) != 0)
        return tsn_error_set(error, TSN_ERR_INVALID, "redis.url: it begins with neither redis:// nor rediss://");
    rest = url + (a->tls ? 9 : 8);
    slash = strchr(rest, '/');
    at = memrchr(rest, '@', slash ? (size_t)(slash - rest) : strlen(rest));
    if (at && !get_login(rest, (size_t)(at - rest), a))
        fault = "a % in user or password is not followed by two digits";
    rest = at ? at + 1 : rest;
    if (!fault && !store_host_port(rest, slash ? (size_t)(slash - rest) : strlen(rest), DEFAULT_PORT, a->host, &a->port))
        fault = "host or port is missing or wrong";
    if (!fault && slash && slash[1] &&
        (!tsn_parse_i64(slash + 1, strlen(slash + 1), &a->db) || a->db < 0 || a->db > MAX_DB))
        fault = "the database behind the / is no number";
    if (!fault)
        return TSN_OK;
    store_address_release(a);
    return tsn_error_set(error, TSN_ERR_INVALID, "redis.url: %s", fault);
}
