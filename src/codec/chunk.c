/* chunk: compressed samples of one series. The format: tocsin/chunk.h. */
#include "tocsin/chunk.h"

#include <string.h>

enum { FORMAT = 1, STEP_CHANGED = 0x80, FLAG_DERIVED = 0x80, MAX_VARINT = 10 };

/* ---- writing ------------------------------------------------------------------------------ */

static void put_varint(struct tsn_buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        tsn_buf_putc(out, (char)(v | 0x80));
    tsn_buf_putc(out, (char)v);
}

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static void put_text(struct tsn_buf *out, const char *text, uint32_t len)
{
    put_varint(out, len);
    tsn_buf_append(out, text, len);
}

/* Zero bytes at the front (0–7) and, of the rest, those up to the last that is not zero (0–8). */
static void xor_shape(uint64_t x, unsigned *lead, unsigned *len)
{
    *lead = x ? (unsigned)__builtin_clzll(x) / 8 : 0;
    *len = x ? 8 - *lead - (unsigned)__builtin_ctzll(x) / 8 : 0;
}

static void put_sample(struct tsn_buf *out, int64_t step_change, uint64_t x)
{
    unsigned lead, len;

    xor_shape(x, &lead, &len);
    tsn_buf_putc(out, (char)((step_change ? STEP_CHANGED : 0) | lead << 4 | len));
    if (step_change)
        put_varint(out, zigzag(step_change));
    for (unsigned i = 0; i < len; i++)
        tsn_buf_putc(out, (char)(x >> (56 - 8 * (lead + i))));
}

void tsn_chunk_encode(const struct tsn_chunk *chunk, int64_t start_ms, struct tsn_buf *out)
{
    const struct tsn_sample *s = chunk->samples;
    int64_t step = 0;

    TSN_ASSERT(chunk->count && s[0].ts_ms > start_ms);
    tsn_buf_putc(out, FORMAT);
    tsn_buf_putc(out, (char)((unsigned)chunk->kind | (chunk->derived ? FLAG_DERIVED : 0)));
    put_varint(out, chunk->labels->count);
    for (uint32_t i = 0; i < chunk->labels->count; i++) {
        put_text(out, chunk->labels->items[i].name, chunk->labels->items[i].name_len);
        put_text(out, chunk->labels->items[i].value, chunk->labels->items[i].value_len);
    }
    put_varint(out, chunk->count);
    put_varint(out, (uint64_t)(s[0].ts_ms - start_ms));
    for (unsigned shift = 0; shift < 64; shift += 8)
        tsn_buf_putc(out, (char)(tsn_double_bits(s[0].value) >> shift));
    for (size_t i = 1; i < chunk->count; i++) {
        int64_t now = s[i].ts_ms - s[i - 1].ts_ms;

        put_sample(out, now - step, tsn_double_bits(s[i].value) ^ tsn_double_bits(s[i - 1].value));
        step = now;
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

struct input {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static uint8_t get_byte(struct input *in)
{
    if (!in->left) {
        in->bad = true;
        return 0;
    }
    in->left--;
    return *in->at++;
}

static uint64_t get_varint(struct input *in)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < MAX_VARINT; i++) {
        uint8_t byte = get_byte(in);

        v |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (!(byte & 0x80))
            return v;
    }
    in->bad = true;
    return 0;
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (~(v & 1) + 1));
}

static const char *get_text(struct input *in, size_t *len)
{
    uint64_t want = get_varint(in);
    const char *text = (const char *)in->at;

    *len = 0;
    if (in->bad || want > in->left) {
        in->bad = true;
        return "";
    }
    *len = (size_t)want;
    in->at += want;
    in->left -= (size_t)want;
    return text;
}

static struct tsn_labels *get_labels(struct input *in)
{
    uint64_t count = get_varint(in);
    struct tsn_labels_builder b;
    struct tsn_labels *labels;

    tsn_labels_builder_init(&b);
    for (uint64_t i = 0; i < count && !in->bad; i++) {
        size_t name_len, value_len;
        const char *name = get_text(in, &name_len), *value = get_text(in, &value_len);

        in->bad |= !name_len || !value_len || memchr(name, 0, name_len) != NULL;
        if (!in->bad)
            tsn_labels_builder_setn(&b, name, name_len, value, value_len);
    }
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    in->bad |= labels->count != count; /* a name twice */
    return labels;
}

static uint64_t get_first_bits(struct input *in)
{
    uint64_t bits = 0;

    for (unsigned shift = 0; shift < 64; shift += 8)
        bits |= (uint64_t)get_byte(in) << shift;
    return bits;
}

static uint64_t get_xor(struct input *in, uint8_t control)
{
    unsigned lead = control >> 4 & 7, len = control & 15;
    uint64_t x = 0;

    if (lead + len > 8) {
        in->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < len; i++)
        x |= (uint64_t)get_byte(in) << (56 - 8 * (lead + i));
    return x;
}

static void get_samples(struct input *in, int64_t start_ms, int64_t end_ms, struct tsn_chunk *out)
{
    uint64_t count = get_varint(in), first = get_varint(in), bits = get_first_bits(in);
    int64_t ts_ms, step = 0;

    if (in->bad || !count || count - 1 > in->left || first > (uint64_t)(end_ms - start_ms)) {
        in->bad = true;
        return;
    }
    out->samples = tsn_calloc((size_t)count, sizeof *out->samples);
    ts_ms = start_ms + (int64_t)first;
    for (;;) {
        uint8_t control;

        if (in->bad || ts_ms <= (out->count ? out->samples[out->count - 1].ts_ms : start_ms) || ts_ms > end_ms)
            break;
        out->samples[out->count++] = (struct tsn_sample){ ts_ms, tsn_double_from_bits(bits) };
        if (out->count == count)
            return;
        control = get_byte(in);
        if (control & STEP_CHANGED && __builtin_add_overflow(step, unzigzag(get_varint(in)), &step))
            break;
        bits ^= get_xor(in, control);
        if (__builtin_add_overflow(ts_ms, step, &ts_ms))
            break;
    }
    in->bad = true;
}

enum tsn_err tsn_chunk_decode(const void *data, size_t len, int64_t start_ms, int64_t end_ms, struct tsn_chunk *out,
                              struct tsn_error *error)
{
    struct input in = { data, len, false };
    uint8_t format = get_byte(&in), flags = get_byte(&in);

    memset(out, 0, sizeof *out);
    if (format > FORMAT)
        return tsn_error_set(error, TSN_ERR_UNSUPPORTED, "written in format %u, this build reads up to %d: run the newer build",
                             format, FORMAT);
    out->kind = (enum tsn_sample_kind)(flags & 3);
    out->derived = flags & FLAG_DERIVED;
    in.bad |= !format || (flags & 0x7f) > TSN_DELTA;
    out->labels = get_labels(&in);
    if (!in.bad)
        get_samples(&in, start_ms, end_ms, out);
    if (!in.bad && !in.left)
        return TSN_OK;
    tsn_chunk_release(out);
    return tsn_error_set(error, TSN_ERR_INVALID, "no chunk of samples: damaged at byte %zu of %zu", len - in.left, len);
}

void tsn_chunk_release(struct tsn_chunk *chunk)
{
    tsn_labels_unref(chunk->labels);
    tsn_free(chunk->samples);
    memset(chunk, 0, sizeof *chunk);
}
