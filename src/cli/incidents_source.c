/*
 * incidents_source: see the header.
 *
 * The topic is as good as Redis but for the last fraction of a second, and reading it costs a pass over a compacted partition.
 */
#include "cli/incidents_source.h"
#include "tocsin/kafka.h"
#include "tocsin/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_MS = 15000 };

void incident_list_release(struct incident_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        tsn_respond_incident_release(&list->items[i]);
    tsn_vec_release(list);
}

static bool keep(void *arg, const struct tsn_respond_incident *incident)
{
    struct incident_list *list = arg;
    struct tsn_respond_incident copy;

    tsn_respond_incident_copy(&copy, incident);
    tsn_vec_push(list, copy);
    return true;
}

static enum tsn_err from_redis(const struct tsn_config *config, struct incident_list *list, struct tsn_error *error)
{
    struct tsn_store *store = tsn_store_new(config, error);
    enum tsn_err err = store ? tsn_store_connect(store, error) : error->code;

    if (!err)
        err = tsn_store_list(store, keep, list, error);
    tsn_store_free(&store);
    return err;
}

/* The newest record of each key, in place of the one before. */
static void take_record(struct tsn_map *by_id, const struct tsn_message *m)
{
    struct tsn_respond_incident *in = tsn_map_del(by_id, m->key, m->key_len);
    struct tsn_error error = { 0 };

    if (in)
        tsn_respond_incident_release(in);
    if (!m->value) {
        tsn_free(in);
        return;
    }
    if (!in)
        in = tsn_alloc(sizeof *in);
    if (tsn_respond_incident_decode(m->value, m->value_len, in, &error)) {
        fprintf(stderr, "tocsin: offset %lld of topic respond: %s\n", (long long)m->offset, error.message);
        tsn_free(in);
        return;
    }
    tsn_map_put(by_id, m->key, m->key_len, in);
}

static enum tsn_err read_topic(const struct tsn_config *config, struct incident_list *list, struct tsn_error *error)
{
    struct tsn_reader *r = tsn_reader_new(config, config->topics.respond, 0, TSN_OFFSET_BEGINNING, false, error);
    enum tsn_err err = r ? TSN_OK : error->code;
    struct tsn_message m;
    struct tsn_map by_id;

    tsn_map_init(&by_id);
    while (!err && !(err = tsn_reader_next(r, READ_MS, &m, error)))
        if (m.key_len > 4 && memcmp(m.key, "inc-", 4) == 0)
            take_record(&by_id, &m);
    tsn_reader_free(&r);
    tsn_map_foreach(&by_id, e) {
        struct tsn_respond_incident *in = e->value;

        if (err == TSN_ERR_NOT_FOUND)
            tsn_vec_push(list, *in);
        else
            tsn_respond_incident_release(in);
        tsn_free(in);
    }
    tsn_map_release(&by_id);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

static int compare(const void *a, const void *b)
{
    const struct tsn_incident *x = &((const struct tsn_respond_incident *)a)->pub;
    const struct tsn_incident *y = &((const struct tsn_respond_incident *)b)->pub;
    bool x_over = x->state == TSN_INCIDENT_RESOLVED, y_over = y->state == TSN_INCIDENT_RESOLVED;

    if (x_over != y_over)
        return x_over - y_over;
    if (x->severity != y->severity)
        return x->severity - y->severity;
    if (x->opened_at_ms != y->opened_at_ms)
        return x->opened_at_ms < y->opened_at_ms ? -1 : 1;
    return strcmp(x->incident_id, y->incident_id);
}

enum tsn_err incident_list_read(const struct tsn_config *config, bool from_topic, struct incident_list *list, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    memset(list, 0, sizeof *list);
    if (!from_topic) {
        err = from_redis(config, list, error);
        if (err) {
            fprintf(stderr, "tocsin: %s; reading topic %s\n", error->message, config->topics.respond);
            incident_list_release(list);
        }
    }
    if (from_topic || err)
        err = read_topic(config, list, error);
    if (!err && list->len)
        qsort(list->items, list->len, sizeof *list->items, compare);
    return err;
}
