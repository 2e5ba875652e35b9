/*
 * topic_plan: declared against found. See tocsin/kafka_admin.h.
 *
 * A pure function, so that clusters of any size can be made up in its test. Counts follow what exists: `state` is created with
 * the partitions that `samples` has, not those it was declared with. What a single broker cannot give (three copies)
 * is lowered with a word, and min.insync.replicas with it, or nothing could be written.
 */
#include "tocsin/kafka_admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_INPUT_PARTITIONS 4

struct planner {
    const struct tsn_topic_plan_options *opt;
    const struct tsn_topic_info *infos;
    const char **names;
    size_t count;
    int32_t brokers;
};

const char *tsn_topic_status_name(enum tsn_topic_status status)
{
    static const char *const names[] = { "ok", "missing", "absent", "drift", "created", "failed" };

    return names[status];
}

const char **tsn_topic_plan_names(const struct tsn_topic_plan_options *options, size_t *count)
{
    const char **names = tsn_calloc(options->decls->len + options->config->inputs.len + 1, sizeof *names);

    *count = 0;
    for (size_t i = 0; i < options->decls->len; i++)
        names[(*count)++] = tsn_config_topic(options->config, options->decls->items[i].role);
    for (size_t i = 0; i < options->config->inputs.len; i++)
        names[(*count)++] = options->config->inputs.items[i].topic;
    return names;
}

static void note(struct tsn_topic_plan_item *item, bool differs, const char *fmt, ...) TSN_PRINTF(3, 4);
static void note(struct tsn_topic_plan_item *item, bool differs, const char *fmt, ...)
{
    struct tsn_buf text = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    tsn_texts_add(&item->notes, text.data, text.len);
    tsn_buf_release(&text);
    item->differs |= differs;
}

static int32_t declared_count(const struct planner *p, const struct tsn_topic_decl *d)
{
    for (size_t i = 0; *d->partitions_as && i < p->opt->decls->len; i++)
        if (strcmp(p->opt->decls->items[i].role, d->partitions_as) == 0)
            return p->infos[i].exists ? p->infos[i].partitions : declared_count(p, &p->opt->decls->items[i]);
    if (strcmp(d->role, "samples") == 0 && p->opt->samples_partitions)
        return p->opt->samples_partitions;
    return (int32_t)d->partitions;
}

static int32_t possible_replication(const struct planner *p, int64_t wanted)
{
    return wanted > p->brokers && p->brokers > 0 ? p->brokers : (int32_t)wanted;
}

/* min.insync.replicas that leaves room for one broker to be away. */
static void adapt(const struct tsn_topic_decl *d, int32_t replication, struct tsn_pair_texts *out)
{
    for (size_t i = 0; i < d->config.len; i++) {
        const char *value = d->config.items[i].value;
        char text[24];
        int64_t n;

        if (replication > 0 && replication < d->replication && strcmp(d->config.items[i].name, "min.insync.replicas") == 0 &&
            tsn_parse_i64(value, strlen(value), &n) && n >= replication) {
            snprintf(text, sizeof text, "%d", replication > 1 ? replication - 1 : 1);
            value = text;
        }
        tsn_pair_texts_add(out, d->config.items[i].name, value);
    }
}

static const char *setting(const struct tsn_pair_texts *config, const char *name)
{
    for (size_t i = 0; i < config->len; i++)
        if (strcmp(config->items[i].name, name) == 0)
            return config->items[i].value;
    return NULL;
}

/* A log that a takeover refills windows from must keep them. retention: of the topic as it is or will be. */
static void check_retention(const struct planner *p, const struct tsn_topic_decl *d, const char *retention, const char *bytes,
                            struct tsn_topic_plan_item *item)
{
    char have[TSN_DURATION_TEXT], window[TSN_DURATION_TEXT];
    int64_t ms, limit = -1;

    if (!d->windows)
        return;
    if (bytes && tsn_parse_i64(bytes, strlen(bytes), &limit) && limit >= 0)
        note(item, true, "retention.bytes is %s: records may go before %" PRId64 " longest windows have passed", bytes, d->windows);
    if (!p->opt->window_ms || !retention || !tsn_parse_i64(retention, strlen(retention), &ms) || ms < 0 ||
        ms / d->windows >= p->opt->window_ms)
        return;
    tsn_format_duration(have, ms);
    tsn_format_duration(window, p->opt->window_ms);
    note(item, true, "retention too short: %s, but the longest window of the rules is %s and %" PRId64 " of them are needed",
         have, window, d->windows);
}

static void compare_settings(const struct tsn_topic_info *info, struct tsn_topic_plan_item *item)
{
    if (!info->config.len)
        note(item, false, "settings cannot be read (DescribeConfigs is not allowed): not compared");
    for (size_t i = 0; info->config.len && i < item->config.len; i++) {
        const char *name = item->config.items[i].name, *want = item->config.items[i].value;
        const char *have = tsn_topic_info_get(info, name);

        if (!have || strcmp(have, want) != 0)
            note(item, true, "%s is %s, declared %s", name, have ? have : "unknown", want);
    }
}

static void short_of_brokers(const struct planner *p, const struct tsn_topic_decl *d, int32_t copies, struct tsn_topic_plan_item *item)
{
    note(item, false, "%d cop%s instead of %" PRId64 ": the cluster has %d broker%s", copies, copies == 1 ? "y" : "ies",
         d->replication, p->brokers, p->brokers == 1 ? "" : "s");
}

static void compare_existing(const struct planner *p, const struct tsn_topic_decl *d, const struct tsn_topic_info *info,
                             struct tsn_topic_plan_item *item)
{
    int32_t count = declared_count(p, d);

    if (info->partitions != count && d->partitions_fixed)
        note(item, true, "%d partitions, declared %d: refused, a change would move keys to partitions that do not know them",
             info->partitions, count);
    else if (info->partitions != count)
        note(item, true, "%d partitions, declared %d", info->partitions, count);
    if (d->replication > 0 && info->replication < possible_replication(p, d->replication))
        note(item, true, "%d copies, declared %" PRId64, info->replication, d->replication);
    else if (d->replication > p->brokers)
        short_of_brokers(p, d, info->replication, item);
    item->partitions = info->partitions;
    item->replication = info->replication;
    adapt(d, info->replication, &item->config);
    compare_settings(info, item);
    check_retention(p, d, tsn_topic_info_get(info, "retention.ms"), tsn_topic_info_get(info, "retention.bytes"), item);
    item->status = item->differs ? TSN_TOPIC_DRIFT : TSN_TOPIC_OK;
}

static void plan_creation(const struct planner *p, const struct tsn_topic_decl *d, struct tsn_topic_plan_item *item)
{
    item->status = TSN_TOPIC_MISSING;
    item->partitions = declared_count(p, d);
    item->replication = possible_replication(p, d->replication);
    if (item->replication < d->replication)
        short_of_brokers(p, d, item->replication, item);
    adapt(d, item->replication, &item->config);
    check_retention(p, d, setting(&item->config, "retention.ms"), setting(&item->config, "retention.bytes"), item);
}

static void plan_input(const struct planner *p, const struct tsn_topic_info *info, struct tsn_topic_plan_item *item)
{
    const char *stamp = tsn_topic_info_get(info, "message.timestamp.type");

    item->partitions = info->partitions;
    item->replication = info->replication;
    if (!info->exists && p->opt->create_inputs) {
        item->status = TSN_TOPIC_MISSING;
        item->partitions = p->opt->input_partitions ? p->opt->input_partitions : DEFAULT_INPUT_PARTITIONS;
        item->replication = p->brokers > 3 ? 3 : p->brokers;
    } else if (!info->exists) {
        item->status = TSN_TOPIC_ABSENT;
        note(item, false, "an input: its producers create it, or --inputs");
    } else if (stamp && strcmp(stamp, "LogAppendTime") != 0)
        note(item, false, "message.timestamp.type is %s: a producer's wrong clock moves event time up to the broker's limit; LogAppendTime is safer", stamp);
}

void tsn_topic_plan_build(const struct tsn_topic_plan_options *options, const struct tsn_topic_info *infos,
                          int32_t broker_count, struct tsn_topic_plan *out)
{
    struct planner p = { .opt = options, .infos = infos, .brokers = broker_count };

    p.names = tsn_topic_plan_names(options, &p.count);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < p.count; i++) {
        bool own = i < options->decls->len;
        struct tsn_topic_plan_item item = { .name = tsn_strdup(p.names[i]),
                                            .role = tsn_strdup(own ? options->decls->items[i].role : "input") };

        if (!own)
            plan_input(&p, &infos[i], &item);
        else if (infos[i].exists)
            compare_existing(&p, &options->decls->items[i], &infos[i], &item);
        else
            plan_creation(&p, &options->decls->items[i], &item);
        tsn_vec_push(out, item);
    }
    tsn_free(p.names);
}

void tsn_topic_plan_apply(struct tsn_admin *admin, struct tsn_topic_plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        struct tsn_topic_plan_item *item = &plan->items[i];
        struct tsn_error error = { 0 };

        if (item->status != TSN_TOPIC_MISSING)
            continue;
        item->status = TSN_TOPIC_CREATED;
        if (tsn_admin_create(admin, item->name, item->partitions, item->replication, &item->config, &error)) {
            item->status = TSN_TOPIC_FAILED;
            note(item, true, "%s", error.message);
        }
    }
}

void tsn_topic_plan_release(struct tsn_topic_plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        tsn_free(plan->items[i].name);
        tsn_free(plan->items[i].role);
        tsn_pair_texts_release(&plan->items[i].config);
        tsn_texts_release(&plan->items[i].notes);
    }
    tsn_vec_release(plan);
}
