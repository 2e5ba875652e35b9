/* kafka_int: what the files of kafka share. */
#ifndef TOCSIN_KAFKA_INT_H
#define TOCSIN_KAFKA_INT_H

#include "tocsin/kafka.h"

#include <librdkafka/rdkafka.h>

/* A configuration with the user's properties and our log callback. Caller owns until rd_kafka_new. */
rd_kafka_conf_t *tsn_kafka_conf(const struct tsn_config *config, struct tsn_error *error);
/* Sets one of ours; a bug if librdkafka does not know it. */
void tsn_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);
/* As above unless the user gave the property. */
void tsn_kafka_conf_default(rd_kafka_conf_t *conf, const struct tsn_config *config, const char *name, const char *value);
/* Closes (a group member) and destroys the handle, then release(owner), which may be NULL; waits a few seconds at most, see dispose.c. */
void tsn_kafka_dispose(rd_kafka_t *rk, bool member, void (*release)(void *owner), void *owner);
rd_kafka_t *tsn_kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct tsn_error *error);
/* What kind of error of ours it is. */
enum tsn_err tsn_kafka_class(rd_kafka_resp_err_t code);
enum tsn_err tsn_kafka_error(struct tsn_error *error, rd_kafka_resp_err_t code, const char *what);
/* Destroys err; NULL is OK. */
enum tsn_err tsn_kafka_take_error(struct tsn_error *error, rd_kafka_error_t *err, const char *what);
/* First or last offset of a partition (*offset: RD_KAFKA_OFFSET_BEGINNING or _END, then the answer). rd_kafka_query_watermark_offsets would do, but
 * waits three times socket.timeout.ms, whatever it is told, when the broker dies with the question under way. */
rd_kafka_resp_err_t tsn_kafka_ask_offset(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *offset, int timeout_ms);
void tsn_kafka_message_fill(struct tsn_message *out, const rd_kafka_message_t *m);
rd_kafka_t *tsn_consumer_observer(struct tsn_consumer *c);
const char *tsn_consumer_group(const struct tsn_consumer *c);
/* Whether the topic is one of its own. */
bool tsn_consumer_reads(const struct tsn_consumer *c, const char *topic);
rd_kafka_t *tsn_consumer_handle(struct tsn_consumer *c);
const char *tsn_consumer_topic(const struct tsn_consumer *c, int32_t topic);

#endif
