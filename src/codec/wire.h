/*
 * wire: Avro's primitive encodings, written and read with every length checked (internal to codec).
 *
 * A reader carries its own failure: after the first bad byte it reads zeros and stays `bad`, so
 * that a decoder is a list of reads with one test at its end, and no loop runs on a count that the bytes
 * left cannot hold.
 */
#ifndef TSN_CODEC_WIRE_H
#define TSN_CODEC_WIRE_H

#include "tocsin/base.h"

#include <string.h>

struct wire {
    const unsigned char *at, *end;
    const unsigned char *start;
    const char *bad; /* NULL, or static text: what was wrong first */
    size_t bad_at;   /* offset of it */
};

static inline void wire_init(struct wire *w, const void *data, size_t len)
{
    w->start = w->at = data;
    w->end = w->at + len;
    w->bad = NULL;
    w->bad_at = 0;
}

static inline size_t wire_left(const struct wire *w)
{
    return (size_t)(w->end - w->at);
}

static inline void wire_fail(struct wire *w, const char *what)
{
    if (!w->bad) {
        w->bad = what;
        w->bad_at = (size_t)(w->at - w->start);
    }
    w->at = w->end;
}

static inline uint64_t wire_varint(struct wire *w)
{
    uint64_t value = 0;

    for (int shift = 0; shift < 64; shift += 7) {
        unsigned char c;

        if (w->at == w->end) {
            wire_fail(w, "cut short inside a number");
            return 0;
        }
        c = *w->at++;
        if (shift == 63 && c > 1) {
            wire_fail(w, "a number of more than 64 bits");
            return 0;
        }
        value |= (uint64_t)(c & 127) << shift;
        if (!(c & 128))
            return value;
    }
    return value;
}

static inline uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (~(v & 1) + 1));
}

static inline int64_t wire_long(struct wire *w)
{
    return unzigzag(wire_varint(w));
}

static inline int32_t wire_int(struct wire *w)
{
    int64_t v = wire_long(w);

    if (v < INT32_MIN || v > INT32_MAX) {
        wire_fail(w, "an int of more than 32 bits");
        return 0;
    }
    return (int32_t)v;
}

static inline bool wire_bool(struct wire *w)
{
    if (w->at == w->end || *w->at > 1) {
        wire_fail(w, "not a boolean");
        return false;
    }
    return *w->at++;
}

static inline uint64_t wire_u64(struct wire *w)
{
    uint64_t v = 0;

    if (wire_left(w) < 8) {
        wire_fail(w, "cut short inside 8 bytes");
        return 0;
    }
    for (int i = 7; i >= 0; i--)
        v = v << 8 | w->at[i];
    w->at += 8;
    return v;
}

static inline double wire_double(struct wire *w)
{
    return tsn_double_from_bits(wire_u64(w));
}

/* bytes or string: length and where it begins. */
static inline const char *wire_bytes(struct wire *w, size_t *len)
{
    int64_t n = wire_long(w);
    const char *text = (const char *)w->at;

    if (n < 0 || (uint64_t)n > wire_left(w)) {
        wire_fail(w, "a length beyond the end");
        *len = 0;
        return "";
    }
    *len = (size_t)n;
    w->at += n;
    return text;
}

/* A string: as Avro has it, and all that comes after trusts, UTF-8. */
static inline const char *wire_text(struct wire *w, size_t *len)
{
    const char *text = wire_bytes(w, len);

    if (tsn_utf8_valid(text, *len))
        return text;
    wire_fail(w, "a text that is no UTF-8");
    *len = 0;
    return "";
}

/* A number of things of at least `least` bytes each that must still fit in what is left. */
static inline size_t wire_count(struct wire *w, uint64_t n, size_t least)
{
    if (n > wire_left(w) / least) {
        wire_fail(w, "a count beyond the end");
        return 0;
    }
    return (size_t)n;
}

/* The count at the head of an array block; 0 ends the array. A negative count is followed by bytes. */
static inline size_t wire_block(struct wire *w, size_t least)
{
    int64_t n = wire_long(w);

    if (n < 0) {
        if (n == INT64_MIN || wire_long(w) < 0) {
            wire_fail(w, "an impossible block");
            return 0;
        }
        n = -n;
    }
    return wire_count(w, (uint64_t)n, least);
}

static inline void put_varint(struct tsn_buf *out, uint64_t v)
{
    char bytes[10];
    size_t n = 0;

    for (; v >= 128; v >>= 7)
        bytes[n++] = (char)(v | 128);
    bytes[n++] = (char)v;
    tsn_buf_append(out, bytes, n);
}

static inline void put_long(struct tsn_buf *out, int64_t v)
{
    put_varint(out, zigzag(v));
}

static inline void put_bool(struct tsn_buf *out, bool v)
{
    tsn_buf_putc(out, v ? 1 : 0);
}

static inline void put_u64(struct tsn_buf *out, uint64_t v)
{
    char bytes[8];

    for (int i = 0; i < 8; i++, v >>= 8)
        bytes[i] = (char)(v & 255);
    tsn_buf_append(out, bytes, sizeof bytes);
}

static inline void put_double(struct tsn_buf *out, double v)
{
    put_u64(out, tsn_double_bits(v));
}

static inline void put_bytes(struct tsn_buf *out, const void *data, size_t len)
{
    put_long(out, (int64_t)len);
    tsn_buf_append(out, data, len);
}

static inline void put_string(struct tsn_buf *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

#endif
