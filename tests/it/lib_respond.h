/*
 * lib_respond: a RESPOND of its own for a test: topics, group and Redis keys that nobody else uses; alerts and commands in, events out; and
 * the same inputs through the bare core, which says what the events must be.
 */
#ifndef TOCSIN_TESTS_LIB_RESPOND_H
#define TOCSIN_TESTS_LIB_RESPOND_H

#include "tocsin/codec.h"
#include "tocsin/config.h"
#include "tocsin/kafka.h"
#include "tocsin/respond_record.h"

struct world {
    char *name;
    struct tsn_config config;
    struct tsn_producer *producer;
    struct tsn_policy policy;
    /* the reference */
    struct tsn_respond *core;
    struct tsn_effects effects;
    struct tsn_buf expected; /* one line an event */
    int64_t alerts, commands;
};

/* `name` NULL: a new one, topics are created. mode: "shadow" or "live". */
void world_init(struct world *w, const char *name, const char *redis_url, int slot, const char *mode);
void world_release(struct world *w);
/* An alert of the service fires or ends: into `alerts`, and through the reference. */
void world_alert(struct world *w, const char *alert, const char *service, const char *severity, bool fires, int64_t fired_ms);
/* `reference`: whether the bare core gets it too. */
void world_command(struct world *w, const char *command_id, enum tsn_command_kind kind, const char *incident_id, bool reference);
void world_flush(struct world *w);
/* What stands in `incidents`, one line an event: id seq type severity state alerts reason. Caller frees. */
char *world_events(struct world *w);
/* Waits until `incidents` holds as many events as the reference gave (bounded), then compares line by line. */
void world_assert_events(struct world *w);
/* Number of records in a topic's partition 0 whose key begins so. */
int world_count_keys(struct world *w, const char *topic, const char *prefix);

#endif
