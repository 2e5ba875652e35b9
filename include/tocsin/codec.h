/*
 * codec: bytes ⇄ model (L2). What crosses a topic is read and written here and nowhere else.
 *
 *   internal records   batch (`samples`), transition (`alerts`), incident event (`incidents`),
 *                      command (`commands`); schemas/ describes them, these functions are them
 *   foreign events     JSON, read once into a flat list of fields; Avro, by a plan compiled from
 *                      the writer's and the reader's schema
 *
 * Guarantees: the same value gives the same bytes on every machine (replay compares bytes). Every length
 * that comes in is checked against the bytes left before anything is reserved, so memory is
 * bounded by a small multiple of the input. Bytes left over after a record are an error.
 *
 * Every internal record begins with (Avro) or holds as first member (JSON) its format number. A
 * greater one than ours is TSN_ERR_UNSUPPORTED, with a word that says which side to upgrade.
 *
 * No function here does I/O. Objects belong to one thread at a time.
 */
#ifndef TOCSIN_CODEC_H
#define TOCSIN_CODEC_H

#include "tocsin/base.h"
#include "tocsin/model.h"

/* ---- internal records --------------------------------------------------------------------- */

enum tsn_codec_form { TSN_FORM_JSON, TSN_FORM_AVRO };

/*
 * One record of `samples`: Avro, tocsin.v1.SampleBatch, with the samples in packed columns inside
 * `bytes` fields (layout: src/codec/batch.c). Appends. The batch must satisfy model.h: points
 * sorted by (ref, ts), deltas by (ref, pane), panes whole seconds; breaking that is a bug.
 * Cost: about 2–11 bytes a point.
 */
void tsn_codec_batch_encode(const struct tsn_batch *batch, struct tsn_buf *out);
/* Fills *batch (release it with tsn_batch_release, after an error too: it is then empty). Of equal
 * batches the bytes are equal, and decode(encode(b)) is b to the bit, NaN payloads included. */
enum tsn_err tsn_codec_batch_decode(const void *data, size_t len, struct tsn_batch *batch,
                                    struct tsn_error *error);

/* Appends one record, no newline. JSON members stand in a fixed order; numbers that JSON cannot
 * say (NaN, ±Inf) are strings as Prometheus writes them. */
void tsn_codec_transition_encode(const struct tsn_transition *t, enum tsn_codec_form form,
                                 struct tsn_buf *out);
enum tsn_err tsn_codec_transition_decode(const void *data, size_t len, enum tsn_codec_form form,
                                         struct tsn_transition *t, struct tsn_error *error);

void tsn_codec_incident_event_encode(const struct tsn_incident_event *event, enum tsn_codec_form form,
                                     struct tsn_buf *out);
enum tsn_err tsn_codec_incident_event_decode(const void *data, size_t len, enum tsn_codec_form form,
                                             struct tsn_incident_event *event, struct tsn_error *error);
/* The incident alone (what an event carries as `snapshot`): for Redis and the `respond` topic. */
void tsn_codec_incident_encode(const struct tsn_incident *incident, enum tsn_codec_form form,
                               struct tsn_buf *out);
enum tsn_err tsn_codec_incident_decode(const void *data, size_t len, enum tsn_codec_form form,
                                       struct tsn_incident *incident, struct tsn_error *error);

void tsn_codec_command_encode(const struct tsn_command *command, enum tsn_codec_form form,
                              struct tsn_buf *out);
/* A command may come from anybody: kind, ids and severity are checked. */
enum tsn_err tsn_codec_command_decode(const void *data, size_t len, enum tsn_codec_form form,
                                      struct tsn_command *command, struct tsn_error *error);

/* ---- JSON --------------------------------------------------------------------------------- */

#define TSN_JSON_DEPTH 64

enum tsn_json_kind {
    TSN_JSON_NULL, TSN_JSON_FALSE, TSN_JSON_TRUE, TSN_JSON_NUMBER, TSN_JSON_STRING, TSN_JSON_ARRAY,
    TSN_JSON_OBJECT
};

/*
 * A parsed document in one array, in document order; a container is followed by what is in it:
 *
 *     {"a":[1,2],"b":"x"}   →   object(skip 5) a:array(skip 3) 1 2 b:"x"
 *
 * node + node->skip is the node after it and all below it. A member of an object carries its key.
 */
struct tsn_json_node {
    enum tsn_json_kind kind;
    uint32_t skip;    /* nodes in this subtree, itself included */
    uint32_t count;   /* members or elements of a container */
    uint32_t key_len, text_len;
    const char *key;  /* unescaped; borrowed from the input or the document's arena */
    const char *text; /* STRING: unescaped; NUMBER: as written; containers: their bytes */
};
struct tsn_json {
    TSN_VEC(struct tsn_json_node) nodes;
    struct tsn_arena text;
    size_t max_nodes; /* 0: no bound; a byte can make half a node of 40 */
};
void tsn_json_init(struct tsn_json *json);
void tsn_json_release(struct tsn_json *json);
/* RFC 8259 exactly, strings of valid UTF-8, depth ≤ TSN_JSON_DEPTH. The input must outlive the nodes.
 * The message names the byte offset. Of equal keys in one object the last counts for _get. */
enum tsn_err tsn_json_parse(struct tsn_json *json, const char *data, size_t len, struct tsn_error *error);
/* NULL if absent or if object is no object. Linear in the members. */
const struct tsn_json_node *tsn_json_get(const struct tsn_json_node *object, const char *key);
const struct tsn_json_node *tsn_json_getn(const struct tsn_json_node *object, const char *key, size_t key_len);
#define tsn_json_foreach(container, n)                                                       \
    for (const struct tsn_json_node *n = (container) + 1, *n##_end = (container) + (container)->skip; \
         n < n##_end; n += n->skip)
/* NUMBER, or STRING that holds one as Prometheus writes it. */
bool tsn_json_double(const struct tsn_json_node *node, double *out);
/* NUMBER that is a whole one of 64 bits. */
bool tsn_json_i64(const struct tsn_json_node *node, int64_t *out);
/* Milliseconds as NUMBER (a fraction is cut), or RFC 3339, or digits in a STRING. */
bool tsn_json_time(const struct tsn_json_node *node, int64_t *ms);
/* Compares a STRING's text. */
bool tsn_json_is(const struct tsn_json_node *node, const char *text);

#endif
