/* mock: see tocsin/kafka_mock.h. The cluster lives in a producer handle that nobody sends with. */
#include "kafka/kafka_int.h"
#include "tocsin/kafka_mock.h"

#include <librdkafka/rdkafka_mock.h>

struct tsn_mock_cluster {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *mock;
};

/* The handle has no broker of its own; its complaints mean nothing. */
static void be_silent(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    TSN_UNUSED(rk);
    TSN_UNUSED(level);
    TSN_UNUSED(facility);
    TSN_UNUSED(text);
}

struct tsn_mock_cluster *tsn_mock_cluster_new(struct tsn_error *error)
{
    struct tsn_mock_cluster *c = tsn_calloc(1, sizeof *c);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set_log_cb(conf, be_silent);
    c->rk = tsn_kafka_client(RD_KAFKA_PRODUCER, conf, error);
    if (c->rk && !(c->mock = rd_kafka_mock_cluster_new(c->rk, 1)))
        tsn_error_set(error, TSN_ERR_IO, "the mock cluster does not start: no port on 127.0.0.1");
    if (!c->mock)
        tsn_mock_cluster_free(&c);
    return c;
}

const char *tsn_mock_cluster_brokers(const struct tsn_mock_cluster *cluster)
{
    return rd_kafka_mock_cluster_bootstraps(cluster->mock);
}

enum tsn_err tsn_mock_cluster_create(struct tsn_mock_cluster *cluster, const char *topic, int32_t partitions, struct tsn_error *error)
{
    return tsn_kafka_error(error, rd_kafka_mock_topic_create(cluster->mock, topic, partitions, 1), topic);
}

void tsn_mock_cluster_free(struct tsn_mock_cluster **cluster)
{
    struct tsn_mock_cluster *c = *cluster;

    if (!c)
        return;
    if (c->mock)
        rd_kafka_mock_cluster_destroy(c->mock);
    if (c->rk)
        rd_kafka_destroy(c->rk);
    tsn_free(c);
    *cluster = NULL;
}
