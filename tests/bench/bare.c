/*
 * bare: the reference of the spine's bench: librdkafka alone, batches from the queue, every partition from the beginning to its end, not
 * a byte looked at. Prints "events seconds cpu_seconds".
 *
 * Usage: bare BROKERS TOPIC PARTITIONS
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_message_t *batch[4096];
    rd_kafka_queue_t *queue;
    struct rusage usage;
    double first_s = 0, last_s = 0;
    long events = 0;
    rd_kafka_t *rk;
    int ends = 0, partitions;

    if (argc != 4)
        return 2;
    partitions = atoi(argv[3]);
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "group.id", "bare");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.partition.eof", "true");
    set(conf, "queued.min.messages", "1000000");
    set(conf, "queued.max.messages.kbytes", "65536");
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    rd_kafka_poll_set_consumer(rk);
    queue = rd_kafka_queue_get_consumer(rk);
    list = rd_kafka_topic_partition_list_new(partitions);
    for (int p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(list, argv[2], p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    while (ends < partitions) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, 10, batch, 4096);

        for (ssize_t i = 0; i < n; i++) {
            ends += batch[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
            events += batch[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            rd_kafka_message_destroy(batch[i]);
        }
        if (n > 0) {
            last_s = now_s();
            first_s = first_s > 0 ? first_s : last_s;
        }
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld %.3f %.3f\n", events, last_s - first_s,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return 0;
}
