/*
 * kafka_mock: librdkafka's in-process cluster, for the demo (kafka, L5).
 *
 * Threads inside this process speak the broker's protocol on ports of 127.0.0.1; any client can connect. What it cannot (2.0.2): it has no
 * read_committed, keeps 5 MB a partition and drops the rest unsaid, discards offsets committed in transactions, answers neither
 * admin calls nor offsets by time. So it proves nothing about exactly-once, a reader must not fall far behind, and nothing survives it.
 */
#ifndef TOCSIN_KAFKA_MOCK_H
#define TOCSIN_KAFKA_MOCK_H

#include "tocsin/base.h"

struct tsn_mock_cluster;
/* One broker. NULL with *error. Use it from one thread; clients may be anywhere. */
struct tsn_mock_cluster *tsn_mock_cluster_new(struct tsn_error *error);
/* "127.0.0.1:port"; borrowed. */
const char *tsn_mock_cluster_brokers(const struct tsn_mock_cluster *cluster);
enum tsn_err tsn_mock_cluster_create(struct tsn_mock_cluster *cluster, const char *topic, int32_t partitions, struct tsn_error *error);
/* After every client has gone. */
void tsn_mock_cluster_free(struct tsn_mock_cluster **cluster);

#endif
