/*
 * metadata: a partition's event-time state as the text that travels with its committed offset.
 *
 *     t1 w=1700000000000 i=1 c=1700000003000 n=1700000009000 l=3
 *
 * t1 is the format. w: watermark, `-` for none. i: idle. c: idle clock, n: the reading of the shell's clock that it was
 * reckoned at, so that the clock goes on over a restart without a gap; both `-` unless idle. l: late so far.
 * Times beyond TIME_MAX_MS either way are none of ours: sums of what is read here must not overflow.
 * Short, because brokers refuse metadata of more than 4096 bytes, and one line a person can read in kcat.
 */
#include "ingest/ingest_int.h"

#include <string.h>

/* 1e15 ms, the year 33658: event times end in 9999, and an idle clock adds no more than the wall clock's run to them. */
#define TIME_MAX_MS INT64_C(1000000000000000)

static void put_time(struct tsn_buf *out, const char *key, int64_t ms)
{
    if (ms == TSN_TIME_NONE)
        tsn_buf_printf(out, " %s=-", key);
    else
        tsn_buf_printf(out, " %s=%lld", key, (long long)ms);
}

void metadata_print(const struct part *part, struct tsn_buf *out)
{
    tsn_buf_puts(out, "t1");
    put_time(out, "w", part->watermark_ms);
    tsn_buf_printf(out, " i=%d", part->idle);
    put_time(out, "c", part->idle ? part->idle_clock_ms : TSN_TIME_NONE);
    put_time(out, "n", part->idle ? part->idle_now_ms : TSN_TIME_NONE);
    tsn_buf_printf(out, " l=%lld", (long long)part->late);
}

/* " key=" and a number or `-`; moves *at. */
static bool take_number(const char **at, char key, int64_t *out)
{
    const char *text = *at;
    size_t len;

    if (text[0] != ' ' || text[1] != key || text[2] != '=')
        return false;
    text += 3;
    len = strcspn(text, " ");
    *at = text + len;
    if (len == 1 && *text == '-') {
        *out = TSN_TIME_NONE;
        return true;
    }
    return tsn_parse_i64(text, len, out) && *out >= -TIME_MAX_MS && *out <= TIME_MAX_MS;
}

bool metadata_read(const char *text, struct part *part)
{
    int64_t watermark_ms, idle, clock_ms, now_ms, late;

    if (!text || strncmp(text, "t1", 2) != 0)
        return false;
    text += 2;
    if (!take_number(&text, 'w', &watermark_ms) || !take_number(&text, 'i', &idle) ||
        !take_number(&text, 'c', &clock_ms) || !take_number(&text, 'n', &now_ms) ||
        !take_number(&text, 'l', &late) || *text || idle < 0 || idle > 1 || late < 0)
        return false;
    part->watermark_ms = watermark_ms;
    part->idle = idle == 1;
    part->idle_clock_ms = part->idle ? clock_ms : TSN_TIME_NONE;
    part->idle_now_ms = part->idle ? now_ms : TSN_TIME_NONE;
    part->late = late;
    return true;
}

bool tsn_ingest_metadata_parse(const char *metadata, int64_t *watermark_ms, bool *idle, int64_t *idle_clock_ms)
{
    struct part part = { 0 };

    if (!metadata_read(metadata, &part))
        return false;
    *watermark_ms = part.watermark_ms;
    *idle = part.idle;
    *idle_clock_ms = part.idle_clock_ms;
    return true;
}
