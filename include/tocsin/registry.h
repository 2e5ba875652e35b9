/*
 * registry: schemas by id from a schema registry with Confluent's API (L5), over libcurl.
 *
 *     GET <url>/schemas/ids/<id>   →   {"schema": "…", "schemaType": "AVRO"}
 *
 * An id means the same schema for ever, so a good answer is never asked for again. What is not good is remembered, too:
 *
 *   answer                                       to the caller    asked again
 *   200 with an Avro schema                      OK               never
 *   404, 400, 422; a schema that is not Avro,    NOT_FOUND        after a wait that doubles from retry_min to retry_max,
 *     refers to other subjects, or is too long                    with jitter, for each id by itself
 *   no connection, timeout                       UNREACHABLE      after such a wait, for all ids together
 *   401, 403, 429, 5xx, an answer that is no     UNREACHABLE      after such a wait, for that id
 *     registry's
 *
 * UNREACHABLE says "not known now, the record must wait"; NOT_FOUND says "there is no such schema": only then may the record go to
 * the dead letters. A call takes at most registry.timeout, and none at all while a wait lasts: a registry that is down
 * costs one timeout a wait, however many ids and records ask.
 *
 * Limits: max_schemas ids, good and bad (bad ones make room first; more good ones are NOT_FOUND, said once),
 * max_schema_bytes an answer. Redirects are not followed: credentials stay with the configured host.
 * Threads: one object belongs to one thread. The process must have called nothing of libcurl's global set-up itself.
 */
#ifndef TOCSIN_REGISTRY_H
#define TOCSIN_REGISTRY_H

#include "tocsin/config.h"

struct tsn_registry;
/* Reads the registry section; no I/O. NULL with INVALID: no url, or one that is not http(s). */
struct tsn_registry *tsn_registry_new(const struct tsn_config *config, struct tsn_error *error);
void tsn_registry_free(struct tsn_registry **registry);
/* `registry` is a struct tsn_registry *: the signature is that of tsn_ingest_options.schema. *json is borrowed until
 * tsn_registry_free. */
enum tsn_err tsn_registry_schema(void *registry, int32_t id, const char **json, size_t *len, struct tsn_error *error);
/* Asks GET <url>/subjects: is it there, and are we let in? For `check`. Ignores and changes no wait. */
enum tsn_err tsn_registry_ping(struct tsn_registry *registry, struct tsn_error *error);

struct tsn_registry_stats {
    uint64_t hits, fetches, not_found, unreachable, limit; /* answers given; fetches: requests made */
    size_t known, bad;                                     /* ids remembered */
};
void tsn_registry_get_stats(const struct tsn_registry *registry, struct tsn_registry_stats *stats);

#endif
