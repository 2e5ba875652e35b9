/* kafka_int: what the files of kafka share. */
#ifndef TOCSIN_KAFKA_INT_H
#define TOCSIN_KAFKA_INT_H

#include "tocsin/kafka.h"

#include <librdkafka/rdkafka.h>

/* Whether this thread was told to give up (tsn_kafka_give_up_on). */
bool tsn_kafka_given_up(void);
/* A configuration with the user's properties and our log callback. Caller owns until rd_kafka_new. */
rd_kafka_conf_t *tsn_kafka_conf(const struct tsn_config *config, struct tsn_error *error);
/* Sets one of ours; a bug if librdkafka does not know it. */
void tsn_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);
/* As above unless the user gave the property. */
void tsn_kafka_conf_default(rd_kafka_conf_t *conf, const struct tsn_config *config, const char *name, const char *value);
rd_kafka_t *tsn_kafka_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct tsn_error *error);
enum tsn_err tsn_kafka_error(struct tsn_error *error, rd_kafka_resp_err_t code, const char *what);
/* Destroys err; NULL is OK. */
enum tsn_err tsn_kafka_take_error(struct tsn_error *error, rd_kafka_error_t *err, const char *what);
void tsn_kafka_message_fill(struct tsn_message *out, const rd_kafka_message_t *m);
rd_kafka_t *tsn_consumer_handle(struct tsn_consumer *c);
const char *tsn_consumer_topic(const struct tsn_consumer *c, int32_t topic);

#endif
