/* cluster: broker, Redis, configuration and topics of one play. See play.h. */
#include "demo/play.h"

#include "tocsin/kafka_admin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    ADMIN_MS = 15000,
    /* One: then DETECT meets everything in order of event time at any speed, and whether all core services are down at once is
     * not a matter of which partition was read first. */
    SAMPLES_PARTITIONS = 1,
    INPUT_PARTITIONS = 2
};

static enum tsn_err configure(struct demo_cluster *c, const char *brokers, struct tsn_error *error)
{
    static const struct tsn_config_io io = { NULL, NULL, NULL };
    struct tsn_buf text = TSN_BUF_INIT;
    char file[200];
    enum tsn_err err;

    snprintf(file, sizeof file, "%s/demo.yaml", c->services.dir);
    tsn_buf_puts(&text, "kafka: { bootstrap.servers: ");
    tsn_buf_json_string(&text, brokers, strlen(brokers));
    tsn_buf_printf(&text, " }\nredis: { url: \"redis://127.0.0.1:%d/0\", password: \"%s\" }\n", c->services.redis_port,
                   c->services.redis_password);
    tsn_buf_printf(&text, "topics: { prefix: \"%stocsin.\" }\nworker: { group_prefix: \"%stocsin-demo-\" }\n", c->prefix, c->prefix);
    tsn_buf_printf(&text, "inputs:\n  - { topic: \"%s\", type: metrics }\n  - { topic: \"%s\", type: logs }\n  - { topic: \"%s\", type: hooks }\n",
                   c->topics[TSN_DEMO_METRICS], c->topics[TSN_DEMO_LOGS], c->topics[TSN_DEMO_HOOKS]);
    tsn_buf_puts(&text, "rules:\n");
    for (size_t i = 0; i < tsn_rule_file_count; i++)
        tsn_buf_printf(&text, "  - %s\n", tsn_rule_files[i].name);
    /* A feeder that waits for the stages is silent for moments, and that is not the end of the day. */
    tsn_buf_puts(&text, "time: { idle_timeout: 60s }\nhttp: { listen: \"\" }\n");
    err = tsn_config_parse(&c->config, file, tsn_buf_str(&text), text.len, &io, error);
    c->configured = !err;
    tsn_buf_release(&text);
    return err;
}

/* ---- topics ------------------------------------------------------------------------------- */

static enum tsn_err mock_topics(struct demo_cluster *c, const struct tsn_topic_decls *decls, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    for (size_t i = 0; i < decls->len && !err; i++) {
        const struct tsn_topic_decl *d = &decls->items[i];
        bool as_samples = strcmp(d->role, "samples") == 0 || *d->partitions_as;

        err = tsn_mock_cluster_create(c->mock, tsn_config_topic(&c->config, d->role), as_samples ? SAMPLES_PARTITIONS : (int32_t)d->partitions,
                                      error);
    }
    for (int t = 0; t < TSN_DEMO_TOPICS && !err; t++)
        err = tsn_mock_cluster_create(c->mock, c->topics[t], INPUT_PARTITIONS, error);
    return err;
}

static enum tsn_err planned_topics(struct demo_cluster *c, const struct tsn_topic_decls *decls, struct tsn_error *error)
{
    const struct tsn_topic_plan_options options = { .config = &c->config, .decls = decls, .samples_partitions = SAMPLES_PARTITIONS,
                                                    .create_inputs = true, .input_partitions = INPUT_PARTITIONS };
    struct tsn_admin *admin = tsn_admin_new(&c->config, ADMIN_MS, error);
    struct tsn_topic_plan plan = { 0 };
    struct tsn_topic_info *infos = NULL;
    size_t count;
    const char **names = tsn_topic_plan_names(&options, &count);
    enum tsn_err err = TSN_OK;

    if (admin)
        infos = tsn_admin_describe(admin, names, count, error);
    if (infos) {
        tsn_topic_plan_build(&options, infos, tsn_admin_broker_count(admin), &plan);
        tsn_topic_plan_apply(admin, &plan);
        for (size_t i = 0; i < plan.len && !err; i++)
            if (plan.items[i].status != TSN_TOPIC_CREATED && plan.items[i].status != TSN_TOPIC_OK)
                err = tsn_error_set(error, TSN_ERR_IO, "topic %s: %s", plan.items[i].name,
                                    plan.items[i].notes.len ? plan.items[i].notes.items[0] : tsn_topic_status_name(plan.items[i].status));
    } else {
        err = error->code;
    }
    tsn_topic_plan_release(&plan);
    tsn_topic_infos_free(infos, count);
    tsn_admin_free(&admin);
    tsn_free(names);
    return err;
}

static enum tsn_err make_topics(struct demo_cluster *c, struct tsn_error *error)
{
    struct tsn_topic_decls decls = { 0 };
    enum tsn_err err = tsn_topic_decls_builtin(&decls, error);

    if (!err)
        err = c->mock ? mock_topics(c, &decls, error) : planned_topics(c, &decls, error);
    tsn_topic_decls_release(&decls);
    return err;
}

/* ---- all ---------------------------------------------------------------------------------- */

enum tsn_err demo_cluster_start(struct demo_cluster *c, const struct tsn_demo_options *options, struct tsn_error *error)
{
    struct tsn_buf name = TSN_BUF_INIT;
    enum tsn_err err;

    memset(c, 0, sizeof *c);
    if (demo_services_start(&c->services, error))
        return error->code;
    if (options->brokers)
        snprintf(c->prefix, sizeof c->prefix, "demo-%llx-%x.", (unsigned long long)tsn_wall_now().ms, (unsigned)getpid());
    else
        c->mock = tsn_mock_cluster_new(error);
    for (int t = 0; t < TSN_DEMO_TOPICS; t++) {
        tsn_buf_printf(&name, "%s%s", c->prefix, tsn_demo_topic_name((enum tsn_demo_topic)t));
        c->topics[t] = tsn_buf_take(&name, NULL);
        c->partitions[t] = INPUT_PARTITIONS;
    }
    err = options->brokers || c->mock ? configure(c, options->brokers ? options->brokers : tsn_mock_cluster_brokers(c->mock), error) : error->code;
    if (!err)
        err = make_topics(c, error);
    if (err)
        demo_cluster_stop(c);
    return err;
}

void demo_cluster_stop(struct demo_cluster *c)
{
    if (c->configured)
        tsn_config_release(&c->config);
    c->configured = false;
    for (int t = 0; t < TSN_DEMO_TOPICS; t++) {
        tsn_free(c->topics[t]);
        c->topics[t] = NULL;
    }
    tsn_mock_cluster_free(&c->mock);
    demo_services_stop(&c->services);
}
