/*
 * store: RESPOND's state in Redis (L5); the only user of hiredis.
 *
 * One Redis (or the master that Sentinels name), no Redis Cluster. Everything of one data set lies under a key that
 * names it; one small hash says which data set counts, so a rebuild is written aside and switched in at once:
 *
 *     <prefix>meta                   hash: run generation cursor trimmed alerts commands clock format
 *     <prefix><run>:incident:<id>    hash: record version state severity due
 *     <prefix><run>:incidents        zset: id by opened_at          :timers   zset: id by due time
 *     <prefix><run>:outbox           list: entries trimmed+1 … cursor
 *     <prefix><run>:pages            list: pages that wait to be told
 *     <prefix><run>:answer:<command> string, 10 min                  :note:<name>   string
 *
 * Guarantees
 *   - each input is one Lua script, whole or not at all; it carries the generation, which each takeover and rebuild
 *     raises, and what the caller believes is stored: a script of an older owner is FENCED, an input at or below
 *     the applied offset is skipped, and a Redis that is not where the caller left it (restored, failed over,
 *     flushed) refuses with NOT_FOUND;
 *   - a call whose outcome is unknown (timeout, connection lost) ends the connection: take over anew and look;
 *   - what Redis answers is checked like any foreign bytes; a damaged data set is NOT_FOUND: rebuild it.
 *
 * Errors: UNREACHABLE, TIMEOUT (retriable: connect and take over again) · LIMIT (Redis is out of memory, or outbox or
 * pages are full: publish and retry; nothing was changed) · FENCED · NOT_FOUND (missing, behind or damaged: rebuild) ·
 * INVALID (refused: password, ACL, a URL that is none) · UNSUPPORTED (TLS in a build without it, newer format).
 *
 * Threads: a store belongs to one thread. Times out by redis.connect_timeout and redis.command_timeout. The first
 * connect makes the process ignore SIGPIPE if nobody handles it: a dead connection is an error, not an end.
 */
#ifndef TOCSIN_STORE_H
#define TOCSIN_STORE_H

#include "tocsin/codec.h"
#include "tocsin/config.h"
#include "tocsin/respond_record.h"

#define TSN_STORE_OUTBOX_MAX 100000 /* entries that wait to be published */
#define TSN_STORE_PAGES_MAX 10000   /* pages that wait to be told */

struct tsn_store;
/* Reads the redis section; no I/O. NULL with INVALID or UNSUPPORTED. */
struct tsn_store *tsn_store_new(const struct tsn_config *config, struct tsn_error *error);
void tsn_store_free(struct tsn_store **store);
/* Does nothing when connected. Asks Sentinels anew each time, checks the role, logs in, selects the database. */
enum tsn_err tsn_store_connect(struct tsn_store *store, struct tsn_error *error);
void tsn_store_disconnect(struct tsn_store *store);
bool tsn_store_connected(const struct tsn_store *store);
/* "host:port/db" for messages; borrowed. */
const char *tsn_store_address(const struct tsn_store *store);
/* Redis TIME in ms: the incident clock. */
enum tsn_err tsn_store_clock(struct tsn_store *store, int64_t *now_ms, struct tsn_error *error);

/* ---- the owner ---------------------------------------------------------------------------- */

/*
 * Raises the generation and loads incidents and position into *respond (a fresh one). `committed`: the last
 * published state as Kafka knows it, NULL if there is none. NOT_FOUND: Redis has nothing, another data set, less
 * than was published, or damage: the message says which. On an error *respond may be half filled: throw it away.
 */
enum tsn_err tsn_store_takeover(struct tsn_store *store, const struct tsn_respond_mark *committed,
                                struct tsn_respond *respond, struct tsn_error *error);
/*
 * Writes a new data set that stands where `committed` stood (NULL: at the very beginning) from the incidents that
 * `next` gives (false: no more; *incident is released by the store), and makes it the one that counts. Others'
 * remains are removed. Take over afterwards. FENCED: somebody else took over meanwhile.
 */
enum tsn_err tsn_store_rebuild(struct tsn_store *store, const struct tsn_respond_mark *committed,
                               bool (*next)(void *arg, struct tsn_respond_incident *incident), void *arg,
                               struct tsn_error *error);

enum tsn_store_input_kind { TSN_STORE_ALERT, TSN_STORE_COMMAND, TSN_STORE_TICK };
struct tsn_store_input {
    enum tsn_store_input_kind kind;
    struct tsn_respond_position before, after; /* of the core, around the input */
    enum tsn_codec_form event_form;            /* how events are written */
};
/* Stores what one input did. CONFLICT: it was applied already, nothing was changed. */
enum tsn_err tsn_store_apply(struct tsn_store *store, const struct tsn_store_input *input,
                             const struct tsn_effects *effects, struct tsn_error *error);
/* Where the store stands: run, generation, cursor of the last entry, applied position. After takeover. */
struct tsn_respond_mark tsn_store_mark(const struct tsn_store *store);
/* Entries up to here are trimmed. */
int64_t tsn_store_trimmed(const struct tsn_store *store);

/* Outbox entries after `cursor`, at most `max`, into `fn` in order. It may stop early by returning false. */
enum tsn_err tsn_store_outbox(struct tsn_store *store, int64_t cursor, size_t max,
                              bool (*fn)(void *arg, int64_t cursor, const struct tsn_outbox_entry *entry), void *arg,
                              struct tsn_error *error);
/* Entries up to `cursor` are published: removes them. */
enum tsn_err tsn_store_trim(struct tsn_store *store, int64_t cursor, struct tsn_error *error);
/* The oldest waiting pages, at most `max`, into `fn`, which says whether it was told. Those told before the first that
 * was not are removed; *told (may be NULL) counts them. A page that cannot be read is logged and removed. */
enum tsn_err tsn_store_pages(struct tsn_store *store, size_t max, bool (*fn)(void *arg, const struct tsn_page *page),
                             void *arg, size_t *told, struct tsn_error *error);

/* A word that the owner keeps with the data set, e.g. which policy the deadlines were computed by. A rebuild forgets it:
 * NOT_FOUND. Not fenced: only for what may be done again. */
#define TSN_STORE_NOTE_TEXT 64
enum tsn_err tsn_store_note_get(struct tsn_store *store, const char *name, char value[TSN_STORE_NOTE_TEXT], struct tsn_error *error);
enum tsn_err tsn_store_note_set(struct tsn_store *store, const char *name, const char *value, struct tsn_error *error);

/* ---- everyone ----------------------------------------------------------------------------- */

/* Reads where Redis stands, without taking over. NOT_FOUND: no data set. */
enum tsn_err tsn_store_look(struct tsn_store *store, struct tsn_respond_mark *mark, struct tsn_error *error);
/* Every incident held, by time of opening, then id, into `fn` (borrowed); false stops. */
enum tsn_err tsn_store_list(struct tsn_store *store, bool (*fn)(void *arg, const struct tsn_respond_incident *incident),
                            void *arg, struct tsn_error *error);
/* NOT_FOUND: no such incident. The caller releases *incident. */
enum tsn_err tsn_store_incident(struct tsn_store *store, const char *incident_id, struct tsn_respond_incident *incident,
                           struct tsn_error *error);
/* NOT_FOUND: not answered (yet, or longer ago than 10 min). The caller releases *answer. */
enum tsn_err tsn_store_answer(struct tsn_store *store, const char *command_id, struct tsn_respond_answer *answer,
                              struct tsn_error *error);

#endif
