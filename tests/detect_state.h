/*
 * detect_state: a DETECT with its topic `state`: checkpoints into it, and takeovers from it and from a log made by hand (detect_world.h).
 * Include it after cmocka's headers.
 */
#ifndef TESTS_DETECT_STATE_H
#define TESTS_DETECT_STATE_H

#include "detect_world.h"

/* The compacted topic: key → last value, in order of the last write. */
struct topic {
    struct tsn_map last; /* key → struct tsn_buf */
};

static WORLD_UNUSED void topic_put(struct topic *topic, const struct tsn_state_record *record)
{
    struct tsn_buf *old = tsn_map_del(&topic->last, record->key, strlen(record->key)), *value;

    if (old) {
        tsn_buf_release(old);
        tsn_free(old);
    }
    if (!record->value)
        return;
    value = tsn_calloc(1, sizeof *value);
    tsn_buf_append(value, record->value, record->value_len);
    tsn_map_put_str(&topic->last, record->key, value);
}

static WORLD_UNUSED void topic_release(struct topic *topic)
{
    tsn_map_foreach(&topic->last, e) {
        tsn_buf_release(e->value);
        tsn_free(e->value);
    }
    tsn_map_release(&topic->last);
}

static WORLD_UNUSED void commit(struct tsn_detect *d, int64_t next_offset, struct topic *topic)
{
    struct tsn_detect_output out = { 0 };

    tsn_detect_checkpoint(d, next_offset, &out);
    for (size_t i = 0; i < out.state.len; i++)
        topic_put(topic, &out.state.items[i]);
    tsn_detect_output_release(&out);
}

static WORLD_UNUSED void apply_one(struct tsn_detect *d, const struct log_record *record, struct tsn_buf *text)
{
    struct tsn_detect_output out = { 0 };

    apply_record(d, record, &out);
    for (size_t i = 0; i < out.transitions.len; i++) {
        tsn_codec_transition_encode(&out.transitions.items[i], TSN_FORM_JSON, text);
        tsn_buf_putc(text, '\n');
    }
    tsn_detect_output_release(&out);
}

/* A new owner, `d` just made: restores, refills up to where the topic says. Nothing may come out meanwhile. */
static WORLD_UNUSED struct tsn_detect *take_over(struct tsn_detect *d, const struct topic *topic, const struct log *log, size_t *read)
{
    struct tsn_buf nothing = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    int64_t from, next;

    tsn_map_foreach(&topic->last, e) {
        const struct tsn_buf *value = e->value;

        if (tsn_detect_restore(d, tsn_map_entry_key(e), e->key_len, value->data, value->len, &error))
            fail_msg("restore: %s", error.message);
    }
    if (tsn_detect_restore_done(d, &from, &next, &error))
        fail_msg("restore: %s", error.message);
    *read = 0;
    for (size_t i = 0; i < log->records.len && log->records.items[i].offset < next; i++) {
        if (log->records.items[i].offset < from)
            continue;
        apply_one(d, &log->records.items[i], &nothing);
        (*read)++;
    }
    assert_int_equal(nothing.len, 0);
    return d;
}

#endif
