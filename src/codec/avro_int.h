/* avro_int: what the files of the Avro plan share (internal to codec). */
#ifndef TSN_CODEC_AVRO_INT_H
#define TSN_CODEC_AVRO_INT_H

#include "codec/wire.h"
#include "tocsin/avro_plan.h"

enum { AVRO_DEPTH = 64 };

enum avro_type {
    AV_NULL, AV_BOOLEAN, AV_INT, AV_LONG, AV_FLOAT, AV_DOUBLE, AV_BYTES, AV_STRING, AV_FIXED, AV_ENUM, AV_ARRAY, AV_MAP,
    AV_UNION, AV_RECORD, AV_TYPE_COUNT
};
extern const char *const avro_type_names[AV_TYPE_COUNT];

enum avro_logical { LOGICAL_NONE, LOGICAL_MS, LOGICAL_US, LOGICAL_NS };

struct avro_text {
    const char *data; /* in the plan's arena, NUL-terminated */
    uint32_t len;
};

struct avro_schema;
struct avro_field {
    struct avro_text name;
    struct avro_text *aliases;
    uint32_t alias_count;
    struct avro_schema *type;
    const struct tsn_json_node *fallback; /* default; NULL: none. Inside the schema's document */
};

/* One type; named types are shared by their references, so there may be cycles. */
struct avro_schema {
    enum avro_type type;
    enum avro_logical logical;
    struct avro_text name; /* full, of named types */
    struct avro_text *aliases; /* of named types, full */
    uint32_t alias_count;
    struct avro_field *fields; /* RECORD */
    uint32_t field_count;
    struct avro_text *symbols; /* ENUM */
    uint32_t symbol_count;
    struct avro_text symbol_default; /* data NULL: none */
    struct avro_schema **branches; /* UNION; ARRAY and MAP: the one item type */
    uint32_t branch_count;
    int64_t size; /* FIXED */
};

/* Parses; everything lives in *arena, texts too; *json must live as long (defaults point into it). */
struct avro_schema *avro_schema_parse(const char *text, size_t len, struct tsn_arena *arena, struct tsn_json *json,
                                      struct tsn_error *error);

/* ---- the plan ----------------------------------------------------------------------------- */

enum op_kind {
    OP_NULL, OP_BOOL, OP_INT, OP_LONG, OP_FLOAT, OP_DOUBLE, OP_TEXT, OP_BYTES, OP_FIXED, OP_ENUM, OP_LIST, OP_MAP,
    OP_UNION, OP_RECORD, OP_ERROR
};

struct op;
struct op_step {
    const struct op *op;
    struct avro_text name;
    uint32_t field;
    bool skip; /* the reader has no such field */
};
struct op_default {
    const struct tsn_avro_node *nodes; /* a subtree; its first node has key and field set */
    uint32_t count;
};

struct op {
    enum op_kind kind;
    bool to_double, to_float; /* INT, LONG: the reader has a float or double; a float, whose precision it then gets */
    uint8_t text_rule; /* TEXT, BYTES: node kind */
    int64_t divide;   /* LONG: to milliseconds; 1: as it is */
    int64_t size;     /* FIXED */
    size_t least;     /* bytes that a value takes at least */
    const struct op *item;           /* LIST, MAP */
    const struct op **branches;      /* UNION */
    const struct avro_text *symbols; /* ENUM, by the writer's number; data NULL: unknown to the reader */
    uint32_t count;                  /* of branches, symbols */
    const struct op_step *steps;     /* RECORD */
    uint32_t step_count;
    const struct op_default *defaults;
    uint32_t default_count;
    const char *message; /* ERROR */
};

struct tsn_avro_plan {
    struct tsn_arena arena;
    struct tsn_json writer_json, reader_json;
    const struct op *root;
    bool close_maps;
};

#endif
