/*
 * record: structs ⇄ JSON and Avro by a table of their fields (internal to codec).
 *
 * One table serves four directions (write and read, JSON and Avro) and the release, so the forms
 * cannot drift apart. Order in the table = order in the Avro schema = order of JSON members.
 *
 *   type       C member               Avro                             JSON
 *   F_I32/I64  int32_t / int64_t      int / long                       number
 *   F_TIME     int64_t                ["null", timestamp-millis]       RFC 3339 or null (TSN_TIME_NONE)
 *   F_BOOL     bool                   boolean                          true, false
 *   F_DOUBLE   double                 double                           number, or "NaN" "+Inf" "-Inf"
 *   F_TEXT     char * (owned)         string                           string
 *   F_OPTION   char * (owned)         ["null", string]                 string or null (NULL)
 *   F_CHARS    char[size]             string                           string
 *   F_ENUM     an enum                enum                             its name
 *   F_LABELS   struct tsn_labels *    map of string                    object
 *   F_TEXTS    char **, size_t count  array of string                  array
 *   F_RECORDS  struct *, size_t count array of record                  array of objects
 *   F_RECORD   struct, in place       record                           object
 *
 * A field may be named twice (an incident event repeats some of its snapshot at the top): reading replaces
 * what an earlier field read, so the last one in the table wins.
 */
#ifndef TSN_CODEC_RECORD_H
#define TSN_CODEC_RECORD_H

#include "codec/wire.h"
#include "tocsin/codec.h"

enum field_type {
    F_I32, F_I64, F_TIME, F_BOOL, F_DOUBLE, F_TEXT, F_OPTION, F_CHARS, F_ENUM, F_LABELS, F_TEXTS,
    F_RECORDS, F_RECORD
};

struct enum_names {
    int count;
    const char *(*name)(int value);
};

struct record;
struct field {
    const char *name;
    enum field_type type;
    bool required; /* JSON: its absence is an error */
    size_t offset;
    size_t extra; /* F_CHARS: size; F_TEXTS, F_RECORDS: offset of the count */
    const struct enum_names *names;
    const struct record *record;
};
struct record {
    const char *name;
    size_t size;
    const struct field *fields;
    size_t count;
};

void record_put(const struct record *r, const void *value, enum tsn_codec_form form, struct tsn_buf *out);
/* The struct is zeroed first; on an error it is empty again. The first field must be `format`. */
enum tsn_err record_get(const struct record *r, const void *data, size_t len, enum tsn_codec_form form,
                        void *value, struct tsn_error *error);

#endif
