/*
 * admin: what the cluster says of topics, and the creation of missing ones. See tocsin/kafka_admin.h.
 *
 * One plain producer handle with its own event queue; each admin operation is sent there and waited for within the
 * timeout. Metadata is asked for all topics at once, because asking for one topic creates it on a broker that
 * creates topics by itself. Limits: names of at most 249 bytes (Kafka's), answers by librdkafka's receive limit.
 */
#include "tocsin/kafka_admin.h"
#include "kafka/kafka_int.h"

#include <string.h>
#include <time.h>

struct tsn_admin {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int timeout_ms;
    int32_t brokers;
};

struct tsn_admin *tsn_admin_new(const struct tsn_config *config, int timeout_ms, struct tsn_error *error)
{
    rd_kafka_conf_t *conf = tsn_kafka_conf(config, error);
    struct tsn_admin *admin;
    rd_kafka_t *rk;

    if (!conf || !(rk = tsn_kafka_client(RD_KAFKA_PRODUCER, conf, error)))
        return NULL;
    admin = tsn_calloc(1, sizeof *admin);
    admin->rk = rk;
    admin->queue = rd_kafka_queue_new(rk);
    admin->timeout_ms = timeout_ms;
    return admin;
}

void tsn_admin_free(struct tsn_admin **admin)
{
    if (!*admin)
        return;
    rd_kafka_queue_destroy((*admin)->queue);
    rd_kafka_destroy((*admin)->rk);
    tsn_free(*admin);
    *admin = NULL;
}

int32_t tsn_admin_broker_count(const struct tsn_admin *admin) { return admin->brokers; }

const char *tsn_topic_info_get(const struct tsn_topic_info *info, const char *setting)
{
    for (size_t i = 0; i < info->config.len; i++)
        if (strcmp(info->config.items[i].name, setting) == 0)
            return info->config.items[i].value;
    return NULL;
}

void tsn_topic_infos_free(struct tsn_topic_info *infos, size_t count)
{
    for (size_t i = 0; infos && i < count; i++) {
        tsn_free(infos[i].name);
        tsn_pair_texts_release(&infos[i].config);
    }
    tsn_free(infos);
}

static struct tsn_topic_info *info_of(struct tsn_topic_info *infos, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(infos[i].name, name) == 0)
            return &infos[i];
    return NULL;
}

static enum tsn_err fill_metadata(struct tsn_admin *admin, struct tsn_topic_info *infos, size_t count, struct tsn_error *error)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 1, NULL, &md, admin->timeout_ms);

    if (code)
        return tsn_kafka_error(error, code == RD_KAFKA_RESP_ERR__TIMED_OUT ? RD_KAFKA_RESP_ERR__TRANSPORT : code, "no broker answers");
    admin->brokers = md->broker_cnt;
    for (int t = 0; t < md->topic_cnt; t++) {
        const struct rd_kafka_metadata_topic *topic = &md->topics[t];
        struct tsn_topic_info *info = info_of(infos, count, topic->topic);

        if (!info || topic->err || !topic->partition_cnt)
            continue;
        info->exists = true;
        info->partitions = topic->partition_cnt;
        info->replication = topic->partitions[0].replica_cnt;
    }
    rd_kafka_metadata_destroy(md);
    return TSN_OK;
}

/* Waits for the answer of the operation just sent. The caller destroys *event. */
static enum tsn_err wait_event(struct tsn_admin *admin, rd_kafka_event_t **event, const char *what, struct tsn_error *error)
{
    rd_kafka_resp_err_t code;

    *event = rd_kafka_queue_poll(admin->queue, admin->timeout_ms + 1000);
    code = *event ? rd_kafka_event_error(*event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    return tsn_kafka_error(error, code, what);
}

static rd_kafka_AdminOptions_t *options_for(struct tsn_admin *admin, rd_kafka_admin_op_t op)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, op);
    char why[128];

    TSN_ASSERT(!rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, why, sizeof why));
    if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS)
        TSN_ASSERT(!rd_kafka_AdminOptions_set_operation_timeout(options, admin->timeout_ms, why, sizeof why));
    return options;
}

static void take_config(const rd_kafka_ConfigResource_t *resource, struct tsn_topic_info *infos, size_t count)
{
    struct tsn_topic_info *info = info_of(infos, count, rd_kafka_ConfigResource_name(resource));
    const rd_kafka_ConfigEntry_t **entries;
    size_t n = 0;

    if (!info || rd_kafka_ConfigResource_error(resource))
        return;
    entries = rd_kafka_ConfigResource_configs(resource, &n);
    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        tsn_pair_texts_add(&info->config, rd_kafka_ConfigEntry_name(entries[i]), value ? value : "");
    }
}

static enum tsn_err fill_configs(struct tsn_admin *admin, struct tsn_topic_info *infos, size_t count, struct tsn_error *error)
{
    rd_kafka_ConfigResource_t **ask = tsn_calloc(count + 1, sizeof *ask);
    rd_kafka_AdminOptions_t *options = options_for(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_event_t *event = NULL;
    enum tsn_err err = TSN_OK;
    size_t n = 0, got = 0;

    for (size_t i = 0; i < count; i++)
        if (infos[i].exists)
            ask[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, infos[i].name);
    if (n) {
        rd_kafka_DescribeConfigs(admin->rk, ask, n, options, admin->queue);
        err = wait_event(admin, &event, "describe topic settings", error);
    }
    if (n && !err) {
        const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
        const rd_kafka_ConfigResource_t **answers = rd_kafka_DescribeConfigs_result_resources(result, &got);

        for (size_t i = 0; i < got; i++)
            take_config(answers[i], infos, count);
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ConfigResource_destroy_array(ask, n);
    rd_kafka_AdminOptions_destroy(options);
    tsn_free(ask);
    return err;
}

struct tsn_topic_info *tsn_admin_describe(struct tsn_admin *admin, const char *const *names, size_t count, struct tsn_error *error)
{
    struct tsn_topic_info *infos = tsn_calloc(count + 1, sizeof *infos);

    for (size_t i = 0; i < count; i++)
        infos[i].name = tsn_strdup(names[i]);
    if (!fill_metadata(admin, infos, count, error) && !fill_configs(admin, infos, count, error))
        return infos;
    tsn_topic_infos_free(infos, count);
    return NULL;
}

/* ---- rights ----------------------------------------------------------------------------- */

enum tsn_err tsn_admin_may_use_group(struct tsn_admin *admin, const char *group, bool *may, struct tsn_error *error)
{
    rd_kafka_ListConsumerGroupOffsets_t *ask = rd_kafka_ListConsumerGroupOffsets_new(group, NULL);
    rd_kafka_AdminOptions_t *options = options_for(admin, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    const rd_kafka_group_result_t **groups;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_event_t *event = NULL;
    enum tsn_err err;
    size_t n = 0;

    rd_kafka_ListConsumerGroupOffsets(admin->rk, &ask, 1, options, admin->queue);
    err = wait_event(admin, &event, group, error);
    if (event)
        code = rd_kafka_event_error(event);
    if (!err) {
        groups = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &n);
        code = n == 1 && rd_kafka_group_result_error(groups[0]) ? rd_kafka_error_code(rd_kafka_group_result_error(groups[0])) : code;
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(ask);
    *may = code != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    return *may ? tsn_kafka_error(error, code, group) : TSN_OK;
}

/* ---- creation ----------------------------------------------------------------------------- */

/* Every partition has a leader. */
static bool is_ready(struct tsn_admin *admin, const char *name, int32_t partitions)
{
    const struct rd_kafka_metadata *md = NULL;
    bool ready = false;

    if (rd_kafka_metadata(admin->rk, 1, NULL, &md, admin->timeout_ms))
        return false;
    for (int t = 0; t < md->topic_cnt; t++) {
        const struct rd_kafka_metadata_topic *topic = &md->topics[t];

        if (strcmp(topic->topic, name) != 0 || topic->err)
            continue;
        ready = topic->partition_cnt >= partitions;
        for (int p = 0; p < topic->partition_cnt; p++)
            ready = ready && topic->partitions[p].leader >= 0;
    }
    rd_kafka_metadata_destroy(md);
    return ready;
}

static enum tsn_err wait_ready(struct tsn_admin *admin, const char *name, int32_t partitions, struct tsn_error *error)
{
    const struct timespec pause = { 0, 50000000 };
    int64_t until_ns = tsn_mono_now().ns + (int64_t)admin->timeout_ms * 1000000;

    while (!is_ready(admin, name, partitions)) {
        if (tsn_mono_now().ns > until_ns)
            return tsn_error_set(error, TSN_ERR_TIMEOUT, "%s was created, but has no leader yet", name);
        nanosleep(&pause, NULL);
    }
    return TSN_OK;
}

static enum tsn_err read_result(rd_kafka_event_t *event, const char *name, struct tsn_error *error)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    rd_kafka_resp_err_t code = n == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
    const char *text = n == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL;

    /* Somebody else was quicker: what is there is looked at again by the next check. */
    if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return TSN_OK;
    tsn_kafka_error(error, code, name);
    if (text)
        tsn_error_set(error, error->code, "%s", text);
    return error->code;
}

enum tsn_err tsn_admin_create(struct tsn_admin *admin, const char *name, int32_t partitions, int32_t replication,
                              const struct tsn_pair_texts *config, struct tsn_error *error)
{
    struct tsn_error unused;
    char why[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, replication, why, sizeof why);
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event = NULL;
    enum tsn_err err = TSN_OK;

    error = error ? error : &unused;
    if (!topic)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s: %s", name, why);
    for (size_t i = 0; i < config->len && !err; i++)
        if (rd_kafka_NewTopic_set_config(topic, config->items[i].name, config->items[i].value))
            err = tsn_error_set(error, TSN_ERR_INVALID, "%s: setting '%s' is refused", name, config->items[i].name);
    options = options_for(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    if (!err) {
        rd_kafka_CreateTopics(admin->rk, &topic, 1, options, admin->queue);
        err = wait_event(admin, &event, name, error);
    }
    if (!err)
        err = read_result(event, name, error);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(topic);
    return err ? err : wait_ready(admin, name, partitions, error);
}
