/*
 * avro_plan: foreign Avro records → values, by a plan compiled once from (writer's, reader's) schema (codec, L2).
 *
 *     writer schema ┐
 *                   ├─▶ plan ──▶ run(bytes) ──▶ nodes, flat, in the reader's terms
 *     reader schema ┘ (none: as written)
 *
 * Resolution is Avro 1.11's: fields by name or by the reader's aliases, defaults for what the writer lacks, what the
 * reader lacks is skipped without being looked at; int → long → float → double, bytes ↔ string; unions on either side; enum
 * symbols with the reader's default. Two liberties: names of records are compared in unions only (whoever writes `Metric`
 * under another name is understood), and a timestamp in micros or nanos read as timestamp-millis is converted.
 *
 * avro-c's parser forgets defaults, aliases and logical types, so schemas are read here; avro-c is the oracle in tests.
 *
 * Guarantees: every length is checked against the bytes left before anything is made of it; bytes left over are an
 * error; a record costs at most LIMIT nodes (65,536 + 16 a byte, and never over 2,000,000), depth 64. A plan is immutable and owns all it points
 * to; nodes borrow their texts from the record and from the plan.
 */
#ifndef TOCSIN_AVRO_PLAN_H
#define TOCSIN_AVRO_PLAN_H

#include "tocsin/codec.h"

struct tsn_avro_plan;

/* Schemas as JSON text; reader NULL: as written. NULL with *error, which names the field that does not fit. */
struct tsn_avro_plan *tsn_avro_plan_new(const char *writer, size_t writer_len, const char *reader, size_t reader_len,
                                        struct tsn_error *error);
void tsn_avro_plan_free(struct tsn_avro_plan **plan);

enum tsn_avro_kind {
    TSN_AVRO_NULL, TSN_AVRO_BOOL, TSN_AVRO_LONG, TSN_AVRO_DOUBLE, TSN_AVRO_TEXT, /* string or enum symbol: valid UTF-8 */
    TSN_AVRO_BYTES, /* bytes or fixed */
    TSN_AVRO_LIST, TSN_AVRO_MAP, TSN_AVRO_RECORD
};

/* As struct tsn_json_node: a container is followed by what is in it; node + node->skip is the node after all that. */
struct tsn_avro_node {
    uint32_t kind;  /* enum tsn_avro_kind */
    uint32_t skip, count;
    uint32_t field; /* in a record: which of the reader's fields, in order of its schema */
    const char *key; /* name of the field, key in a map; not NUL-terminated */
    const char *text; /* TEXT, BYTES; LIST and MAP: their bytes as written */
    uint32_t key_len, text_len;
    union {
        int64_t whole; /* LONG; BOOL: 0 or 1; MAP: 1 if it was left closed */
        double number; /* DOUBLE */
    } u;
};
struct tsn_avro_nodes {
    struct tsn_avro_node *items;
    size_t len, cap;
};
/* Replaces what *nodes held; fields come in the writer's order, defaults behind them. On an error it is empty; the message
 * names the byte. Release with tsn_vec_release. */
enum tsn_err tsn_avro_plan_run(const struct tsn_avro_plan *plan, const void *data, size_t len,
                               struct tsn_avro_nodes *nodes, struct tsn_error *error);
/* Maps of strings are left closed from now on: their bytes as written (text) and their count, without nodes for what is in them,
 * and their texts not checked: for callers that mostly know the bytes already. Opened on demand by the next function. */
void tsn_avro_plan_close_maps(struct tsn_avro_plan *plan);
/* What a closed map holds, as TEXT nodes with keys; borrowed from the record. INVALID if a text is no UTF-8; *out is then empty. */
enum tsn_err tsn_avro_map_open(const struct tsn_avro_node *map, struct tsn_avro_nodes *out, struct tsn_error *error);
#define tsn_avro_foreach(container, n)                                                                        \
    for (const struct tsn_avro_node *n = (container) + 1, *n##_end = (container) + (container)->skip; n < n##_end; \
         n += n->skip)
/* The same value as if it had come as JSON: numbers as text, bytes as text if they are UTF-8 (else null). Replaces *json. */
void tsn_avro_to_json(const struct tsn_avro_nodes *nodes, struct tsn_json *json);

/* The text of a schema under schemas/: "Metric", "Log", "Hook". NULL if there is no such one. Static. */
const char *tsn_avro_own_schema(const char *name);

#endif
