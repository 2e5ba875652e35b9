/* world: what an app needs around it: a folder with rules, a configuration for each slot, a Redis of the test's own, the internal topics. */
#ifndef TOCSIN_TESTS_TSAN_WORLD_H
#define TOCSIN_TESTS_TSAN_WORLD_H

#include "tocsin/app.h"

enum { WORLD_SLOTS = 4 };

struct world;
struct world_guest {
    struct world *world;
    int slot;
};
/* Starts Redis; ends the process with a word if it cannot. */
struct world *world_new(void);
void world_free(struct world **world);
/* An empty Kafka with the internal topics, an empty Redis, the rules as they are at first. */
void world_begin(struct world *w, uint64_t seed);
/* The rules with `head` in front of them. */
void world_write_rules(struct world *w, const char *head);
void world_wipe_redis(struct world *w);
const struct tsn_config *world_config(const struct world *w, int slot);
/* Sends a text to a port of this machine; true if the answer begins as expected. */
bool world_ask(int port, const char *text, const char *expected);
/* An app with all stages on a slot, started; NULL with a word on stderr. */
struct tsn_app *world_start(struct world *w, int slot);
void world_sleep_ms(int ms);

#endif
