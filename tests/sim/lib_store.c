/*
 * lib_store: a model of RESPOND's store in Redis: one data set with incidents and the outbox, changed by one atomic script an input.
 * Each element of the outbox says which input it comes from; real Redis has no need of that, the comparisons have.
 */
#include "sim_actors.h"

#include <string.h>

#include "tocsin/codec.h"

void sim_map_put(struct tsn_map *map, const char *id, const struct tsn_buf *value)
{
    struct tsn_buf *old = tsn_map_del(map, id, strlen(id)), *copy;

    if (old) {
        tsn_buf_release(old);
        tsn_free(old);
    }
    if (!value)
        return;
    copy = tsn_calloc(1, sizeof *copy);
    tsn_buf_append(copy, value->data, value->len);
    tsn_map_put_str(map, id, copy);
}

void sim_map_release(struct tsn_map *map)
{
    tsn_map_foreach(map, e)
    {
        tsn_buf_release(e->value);
        tsn_free(e->value);
    }
    tsn_map_release(map);
}

void sim_map_copy(struct tsn_map *to, const struct tsn_map *from)
{
    tsn_map_init(to);
    tsn_map_foreach(from, e)
    {
        char id[64];

        snprintf(id, sizeof id, "%.*s", (int)e->key_len, tsn_map_entry_key(e));
        sim_map_put(to, id, e->value);
    }
}

void sim_store_clear(struct sim_store *store)
{
    sim_map_release(&store->incidents);
    for (size_t i = 0; i < store->outbox.len; i++)
        tsn_buf_release(&store->outbox.items[i].bytes);
    tsn_vec_release(&store->outbox);
    memset(store, 0, sizeof *store);
    tsn_map_init(&store->incidents);
}

void sim_store_copy(struct sim_store *to, const struct sim_store *from)
{
    sim_store_clear(to);
    *to = *from;
    memset(&to->outbox, 0, sizeof to->outbox);
    sim_map_copy(&to->incidents, &from->incidents);
    for (size_t i = 0; i < from->outbox.len; i++) {
        struct sim_entry e = from->outbox.items[i];

        e.bytes = (struct tsn_buf)TSN_BUF_INIT;
        tsn_buf_append(&e.bytes, tsn_buf_str(&from->outbox.items[i].bytes),
                       from->outbox.items[i].bytes.len);
        tsn_vec_push(&to->outbox, e);
    }
}

void sim_store_trim(struct sim_store *store, int64_t cursor)
{
    size_t n = 0;

    for (; n < store->outbox.len && store->trimmed + (int64_t)n < cursor; n++)
        tsn_buf_release(&store->outbox.items[n].bytes);
    store->outbox.len -= n;
    store->trimmed += (int64_t)n;
    if (n)
        memmove(store->outbox.items, store->outbox.items + n,
                store->outbox.len * sizeof *store->outbox.items);
}

static void store_push(struct sim_store *store, const struct tsn_effect *effect,
                       enum tsn_outbox_kind kind, const struct tsn_buf *bytes)
{
    struct sim_entry e = { .kind = kind, .bytes = TSN_BUF_INIT };

    snprintf(e.incident_id, sizeof e.incident_id, "%s", effect->incident_id);
    tsn_buf_append(&e.bytes, tsn_buf_str(bytes), bytes->len);
    tsn_vec_push(&store->outbox, e);
    store->cursor++;
}

/* What one input did, all of it at once. */
void sim_store_write(struct sim_store *store, const struct tsn_effects *effects, struct tsn_respond_position after,
                     enum sim_cause cause)
{
    int64_t before = store->cursor;

    for (size_t i = 0; i < effects->len; i++) {
        const struct tsn_effect *e = &effects->items[i];
        struct tsn_buf bytes = TSN_BUF_INIT;

        if (e->kind == TSN_EFFECT_EVENT) {
            tsn_codec_incident_event_encode(&e->event, TSN_FORM_JSON, &bytes);
            store_push(store, e, TSN_OUTBOX_EVENT, &bytes);
        } else if (e->kind == TSN_EFFECT_SAVE) {
            tsn_respond_incident_encode(e->record, &bytes);
            sim_map_put(&store->incidents, e->incident_id, &bytes);
            store_push(store, e, TSN_OUTBOX_SNAPSHOT, &bytes);
        } else if (e->kind == TSN_EFFECT_FORGET) {
            sim_map_put(&store->incidents, e->incident_id, NULL);
            store_push(store, e, TSN_OUTBOX_TOMBSTONE, &bytes);
        }
        tsn_buf_release(&bytes);
    }
    for (int64_t c = before; c < store->cursor; c++) {
        store->outbox.items[c - store->trimmed].position = after;
        store->outbox.items[c - store->trimmed].cause = cause;
    }
    if (store->cursor > before)
        store->outbox.items[store->outbox.len - 1].last = true;
    store->position = after;
}
