/*
 * check: is everything there that `run` needs? One line a question, with a hint where the answer is no.
 *
 *     ok    broker    127.0.0.1:9092: 3 brokers
 *     FAIL  topics    tocsin.state is missing
 *                     hint: tocsin topics apply
 *
 * Asks, and changes nothing that anybody reads: no topic is created, no group joined. Rights to write are tried in transactions that are
 * aborted, under ids of its own (PREFIX + stage + "-check-" + slot), so that a worker that runs is not disturbed.
 *
 * Exit: the first of these that holds: 3 configuration, policy or rules · 4 broker, Redis or registry · 5 topics or rights · 0.
 */
#include "cli/cli.h"
#include "cli/rule_files.h"
#include "cli/stages.h"
#include "tocsin/app.h"
#include "tocsin/kafka_admin.h"
#include "tocsin/registry.h"
#include "tocsin/shard.h"
#include "tocsin/store.h"

#include <stdio.h>
#include <string.h>

enum answer { YES, WARN, NO, SKIPPED };
struct check {
    const struct tsn_config *config;
    struct tsn_policy policy;
    bool json;
    int64_t timeout_ms, window_ms;
    unsigned stages;
    bool invalid, unreachable, different, topics_missing;
};

static void say(const struct check *c, enum answer answer, const char *what, const char *hint, const char *fmt, ...) TSN_PRINTF(5, 6);
static void say(const struct check *c, enum answer answer, const char *what, const char *hint, const char *fmt, ...)
{
    static const char *const words[] = { "ok", "warn", "FAIL", "skip" };
    struct tsn_buf text = TSN_BUF_INIT, out = TSN_BUF_INIT;
    va_list args;

    va_start(args, fmt);
    tsn_buf_vprintf(&text, fmt, args);
    va_end(args);
    if (c->json) {
        tsn_buf_printf(&out, "{\"check\":\"%s\",\"status\":\"%s\",\"text\":", what, words[answer]);
        tsn_buf_json_string(&out, text.data, text.len);
        tsn_buf_puts(&out, ",\"hint\":");
        tsn_buf_json_string(&out, hint, strlen(hint));
        printf("%s}\n", out.data);
    } else {
        printf("%-5s %-9s %s\n", words[answer], what, tsn_buf_str(&text));
        if (*hint)
            printf("%-5s %-9s hint: %s\n", "", "", hint);
    }
    fflush(stdout);
    tsn_buf_release(&text);
    tsn_buf_release(&out);
}

/* ---- rules -------------------------------------------------------------------------------- */

static void check_placement(struct check *c, const struct tsn_rule_set *set)
{
    size_t global = 0, pinned = 0, rules = 0, refused = 0;
    const char *value, *why = "", *first_global = NULL;

    for (size_t g = 0; g < set->group_count; g++) {
        if (set->groups[g].interval_ms % 1000 != 0) {
            say(c, NO, "stream", "interval: whole seconds", "%s:%u: group %s: its interval is no multiple of 1s", set->groups[g].file,
                set->groups[g].at.line, set->groups[g].name);
            refused++;
        }
        for (size_t r = 0; r < set->groups[g].rule_count; r++, rules++) {
            const struct tsn_rule *rule = &set->groups[g].rules[r];
            enum tsn_placement place;

            if (!tsn_rule_streamable(rule, &why)) {
                say(c, NO, "stream", "rewrite the expression; `tocsin check rules` gives the place", "%s:%u: %s: %s", set->groups[g].file,
                    rule->expr_at.line, rule->name, why);
                refused++;
                continue;
            }
            place = tsn_rule_placement(&set->groups[g], rule, c->config->detect.shard_label, &value, &why);
            global += place == TSN_PLACE_GLOBAL;
            pinned += place == TSN_PLACE_PINNED;
            first_global = first_global || place != TSN_PLACE_GLOBAL ? first_global : rule->name;
        }
    }
    c->invalid |= refused > 0;
    if (!refused)
        say(c, YES, "stream", "", "%zu of %zu can run on a stream: %zu by %s, %zu on one partition each%s%s", rules, rules, rules - global - pinned,
            c->config->detect.shard_label, global + pinned, first_global ? ", e.g. " : "", first_global ? first_global : "");
}

static void check_set(struct check *c, const struct tsn_rule_set *set, size_t files)
{
    const struct tsn_lint_options options = { .shard_label = c->config->detect.shard_label,
                                              .counter_ttl_ms = c->config->time.counter_ttl_ms, .policy = &c->policy };
    struct tsn_lint_findings findings = { 0 };
    char window[TSN_DURATION_TEXT];
    size_t rules = 0;

    for (size_t g = 0; g < set->group_count; g++)
        rules += set->groups[g].rule_count;
    c->window_ms = tsn_rule_set_reach_ms(set, c->config->detect.lookback_ms);
    tsn_format_duration(window, c->window_ms);
    tsn_lint_run(set, &options, &findings);
    say(c, findings.len ? WARN : YES, "rules", findings.len ? "tocsin check rules FILE… shows them" : "",
        "%zu file%s, %zu rule%s, longest window %s, %zu finding%s of lint", files, files == 1 ? "" : "s", rules, rules == 1 ? "" : "s", window, findings.len,
        findings.len == 1 ? "" : "s");
    tsn_lint_findings_release(&findings);
    check_placement(c, set);
}

static void check_rules(struct check *c)
{
    struct tsn_rule_sources sources = { 0 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_error error = { 0 };
    struct tsn_rule_set *set = NULL;

    if (!c->config->rules.len) {
        say(c, WARN, "rules", "rules: [ \"rules/*.yaml\" ]", "none configured: nothing will be detected");
        return;
    }
    if (tsn_app_read_rules(c->config, &sources, &error))
        say(c, NO, "rules", "rules: paths are relative to the configuration file", "%s", error.message);
    else
        set = tsn_rule_set_load(sources.items, sources.len, NULL, &errors);
    for (size_t e = 0; e < errors.len; e++)
        say(c, NO, "rules", "", "%s:%u:%u: %s", errors.items[e].file, errors.items[e].at.line, errors.items[e].at.column,
            errors.items[e].message);
    if (set)
        check_set(c, set, sources.len);
    else
        c->invalid = true;
    tsn_rule_set_free(&set);
    tsn_rule_errors_release(&errors);
    tsn_rule_sources_release(&sources);
}

/* ---- the outside -------------------------------------------------------------------------- */

static void say_topics(struct check *c, const struct tsn_topic_plan *plan)
{
    size_t missing = 0, differing = 0;

    for (size_t i = 0; i < plan->len; i++) {
        const struct tsn_topic_plan_item *item = &plan->items[i];
        bool input = strcmp(item->role, "input") == 0;

        if (input && !(c->stages & TSN_STAGE_INGEST))
            continue; /* the others need not even see them */
        if (item->status == TSN_TOPIC_MISSING || item->status == TSN_TOPIC_ABSENT) {
            say(c, NO, "topics", input ? "its producers create it, or tocsin topics apply --inputs" : "tocsin topics apply", "%s is missing",
                item->name);
            missing++;
        } else if (item->differs) {
            for (size_t n = 0; n < item->notes.len; n++)
                say(c, WARN, "topics", n + 1 < item->notes.len ? "" : "tocsin topics check", "%s: %s", item->name, item->notes.items[n]);
            differing++;
        } else if (input && item->notes.len)
            say(c, WARN, "topics", "", "%s: %s", item->name, item->notes.items[0]);
    }
    c->different |= missing || differing;
    c->topics_missing = missing > 0;
    if (!missing && !differing)
        say(c, YES, "topics", "", "all that are needed are there, as declared");
}

static void check_topics(struct check *c, struct tsn_admin *admin)
{
    struct tsn_topic_decls decls = { 0 };
    struct tsn_topic_plan_options options = { .config = c->config, .decls = &decls, .window_ms = c->window_ms };
    struct tsn_topic_plan plan = { 0 };
    struct tsn_topic_info *infos = NULL;
    struct tsn_error error = { 0 };
    const char **names = NULL;
    size_t count = 0;

    if (!tsn_topic_decls_builtin(&decls, &error)) {
        names = tsn_topic_plan_names(&options, &count);
        infos = tsn_admin_describe(admin, names, count, &error);
    }
    /* The declared count of samples is a proposal: what is there, is right (state must agree with it). */
    for (size_t i = 0; infos && i < decls.len; i++)
        if (strcmp(decls.items[i].role, "samples") == 0)
            options.samples_partitions = infos[i].partitions;
    if (infos) {
        tsn_topic_plan_build(&options, infos, tsn_admin_broker_count(admin), &plan);
        say_topics(c, &plan);
    } else {
        say(c, NO, "topics", "Describe and DescribeConfigs must be allowed", "%s", error.message);
        c->unreachable = true;
    }
    tsn_topic_plan_release(&plan);
    tsn_topic_infos_free(infos, count);
    tsn_free(names);
    tsn_topic_decls_release(&decls);
}

static const char *servers(const struct tsn_config *config)
{
    for (size_t i = 0; i < config->kafka.len; i++)
        if (strcmp(config->kafka.items[i].name, "bootstrap.servers") == 0)
            return config->kafka.items[i].value;
    return "";
}

/* What a stage reads and writes, by role; its group has its name. */
struct stage_needs {
    unsigned stage;
    const char *name, *reads[5], *writes[5]; /* NULL-terminated */
};
static const struct stage_needs stage_needs[] = {
    { TSN_STAGE_INGEST, "ingest", { "rules", NULL }, { "rules", "samples", "deadletter", NULL } }, /* and reads the inputs */
    { TSN_STAGE_DETECT, "detect", { "rules", "samples", "state", NULL }, { "rules", "state", "alerts", "templates", NULL } },
    { TSN_STAGE_RESPOND, "respond", { "alerts", "commands", "respond", NULL }, { "rules", "incidents", "respond", NULL } },
};

static size_t topics_of(const struct check *c, const struct stage_needs *needs, const char **topics)
{
    size_t count = 0;

    for (; needs->reads[count]; count++)
        topics[count] = tsn_config_topic(c->config, needs->reads[count]);
    for (size_t i = 0; needs->stage == TSN_STAGE_INGEST && i < c->config->inputs.len; i++)
        topics[count++] = c->config->inputs.items[i].topic;
    return count;
}

static const char rights_hint[] = "docker/kafka-acls.sh gives what a stage needs";

/* One line a topic that is refused; how many. */
static size_t say_refused(struct check *c, const char *stage, const char *verb, const char *const *topics, const bool *may, size_t count)
{
    size_t refused = 0;

    for (size_t i = 0; i < count; i++)
        if (!may[i]) {
            say(c, NO, "rights", rights_hint, "%s may not %s %s", stage, verb, topics[i]);
            refused++;
        }
    return refused;
}

/* Of one stage: its output topics, in transactions. */
static void check_writing(struct check *c, const struct stage_needs *needs)
{
    const char *topics[TSN_ARRAY_LEN(needs->writes)];
    bool may[TSN_ARRAY_LEN(needs->writes)], may_id = true;
    size_t count = 0, refused = 0;
    struct tsn_buf id = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    enum tsn_err err;

    for (; needs->writes[count]; count++)
        topics[count] = tsn_config_topic(c->config, needs->writes[count]);
    tsn_buf_printf(&id, "%s%s-check-%lld", c->config->worker.group_prefix, needs->name, (long long)c->config->worker.slot);
    err = tsn_admin_may_write(c->config, id.data, topics, count, (int)c->timeout_ms, &may_id, may, &error);
    if (err)
        say(c, NO, "rights", "", "%s: %s", needs->name, error.message);
    else if (!may_id)
        say(c, NO, "rights", rights_hint, "%s may not use transactional ids %s%s-…: %s was refused", needs->name, c->config->worker.group_prefix,
            needs->name, id.data);
    else if (!(refused = say_refused(c, needs->name, "write", topics, may, count)))
        say(c, YES, "rights", "", "%s may write its %zu topics, in transactions", needs->name, count);
    c->different |= !err && (refused || !may_id);
    c->unreachable |= err != TSN_OK;
    tsn_buf_release(&id);
}

/* Of one stage: what it reads and its group. */
static void check_reading(struct check *c, struct tsn_admin *admin, const struct stage_needs *needs)
{
    const char **topics = tsn_calloc(c->config->inputs.len + TSN_ARRAY_LEN(needs->reads), sizeof *topics);
    size_t count = topics_of(c, needs, topics), refused = 0;
    bool *may = tsn_calloc(count + 1, sizeof *may), may_group = true;
    struct tsn_buf group = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    enum tsn_err err;

    tsn_buf_printf(&group, "%s%s", c->config->worker.group_prefix, needs->name);
    err = tsn_admin_may_use_group(admin, group.data, &may_group, &error);
    if (!err)
        err = tsn_admin_may_read(c->config, topics, count, (int)c->timeout_ms, may, &error);
    if (!err)
        refused = say_refused(c, needs->name, "read", topics, may, count);
    if (!err && !may_group)
        say(c, NO, "rights", rights_hint, "%s may not use group %s", needs->name, group.data);
    if (err)
        say(c, NO, "rights", "", "%s: %s", needs->name, error.message);
    else if (!refused && may_group)
        say(c, YES, "rights", "", "%s may read its %zu topics and use group %s", needs->name, count, group.data);
    c->different |= !err && (refused || !may_group);
    c->unreachable |= err != TSN_OK;
    tsn_buf_release(&group);
    tsn_free(may);
    tsn_free(topics);
}

static void check_broker(struct check *c)
{
    struct tsn_error error = { 0 };
    struct tsn_admin *admin = tsn_admin_new(c->config, (int)c->timeout_ms, &error);
    struct tsn_topic_info *none = admin ? tsn_admin_describe(admin, NULL, 0, &error) : NULL;

    if (none) {
        int32_t brokers = tsn_admin_broker_count(admin);

        say(c, YES, "broker", "", "%s: %d broker%s", servers(c->config), brokers, brokers == 1 ? "" : "s");
        check_topics(c, admin);
        for (size_t i = 0; i < TSN_ARRAY_LEN(stage_needs); i++)
            if (!c->topics_missing && (c->stages & stage_needs[i].stage)) {
                check_reading(c, admin, &stage_needs[i]);
                check_writing(c, &stage_needs[i]);
            }
    } else {
        say(c, NO, "broker", admin ? "kafka: bootstrap.servers, security.protocol, ssl.*, sasl.*; --debug kafka tells more" : "", "%s: %s",
            servers(c->config), error.message);
        say(c, SKIPPED, "topics", "", "not asked without a broker");
        *(admin ? &c->unreachable : &c->invalid) = true;
    }
    tsn_topic_infos_free(none, 0);
    tsn_admin_free(&admin);
}

static void check_redis(struct check *c)
{
    struct tsn_error error = { 0 };
    struct tsn_store *store = tsn_store_new(c->config, &error);
    int64_t now_ms;

    if (store && !tsn_store_connect(store, &error) && !tsn_store_clock(store, &now_ms, &error)) {
        int64_t skew_ms = now_ms - tsn_wall_now().ms;

        say(c, skew_ms > 5000 || skew_ms < -5000 ? WARN : YES, "redis", "", "%s answers; its clock is %lld ms from this machine's",
            tsn_store_address(store), (long long)skew_ms);
    } else {
        say(c, NO, "redis", "redis: url, password_file; without Redis incidents are not kept", "%s%s%s",
            store ? tsn_store_address(store) : "", store ? ": " : "", error.message);
        *(store ? &c->unreachable : &c->invalid) = true;
    }
    tsn_store_free(&store);
}

static void check_registry(struct check *c)
{
    struct tsn_registry *registry;
    struct tsn_error error = { 0 };

    if (!*c->config->registry.url) {
        bool needed = false;

        for (size_t i = 0; i < c->config->inputs.len; i++)
            needed |= c->config->inputs.items[i].format == TSN_FORMAT_CONFLUENT;
        say(c, needed ? NO : SKIPPED, "registry", needed ? "registry: { url: … }" : "",
            needed ? "none configured, but an input has format confluent" : "none configured");
        c->invalid |= needed;
        return;
    }
    registry = tsn_registry_new(c->config, &error);
    if (registry && !tsn_registry_ping(registry, &error))
        say(c, YES, "registry", "", "%s answers", c->config->registry.url);
    else {
        say(c, NO, "registry", "registry: url, username, password_file, ca_file", "%s", error.message);
        *(registry ? &c->unreachable : &c->invalid) = true;
    }
    tsn_registry_free(&registry);
}

int tsn_cmd_check(int argc, char **argv)
{
    const char *file = "tocsin.yaml", *output = "table", *stages = "all";
    struct check c = { .timeout_ms = 10000 };
    const struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "configuration (default tocsin.yaml)", 0, 0 },
        { "stages", TSN_OPT_TEXT, &stages, "A,B", "whose rights are asked for (default: all)", 0, 0 },
        { "timeout", TSN_OPT_DURATION, &c.timeout_ms, "D", "for each question to the cluster (default 10s)", 100, 600000 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the answers; json: one object a line", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "check",
                                 "Asks whether everything is there that `tocsin run` needs: configuration, policy, rules, broker,\n"
                                 "topics, rights to read and write, Redis, schema registry. Changes nothing, disturbs nothing\n"
                                 "(what it writes, it aborts).\n\n"
                                 "Examples:\n  tocsin check --config /etc/tocsin/tocsin.yaml\n"
                                 "  tocsin check --output json | jq 'select(.status == \"FAIL\")'");
    struct tsn_config config;

    c.json = strcmp(output, "json") == 0;
    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0 || (!c.json && strcmp(output, "table") != 0)) {
        if (operands >= 0)
            fprintf(stderr, operands ? "tocsin: check takes no operand; `tocsin check rules FILE…` checks rule files\n"
                                     : "tocsin: --output is table or json\n");
        return TSN_EXIT_USAGE;
    }
    if (!(c.stages = tsn_cli_stages(stages)))
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    c.config = &config;
    say(&c, config.inputs.len ? YES : WARN, "config", config.inputs.len ? "" : "inputs: [ { topic: …, type: metrics } ]", "%s: %zu input%s",
        file, config.inputs.len, config.inputs.len == 1 ? "" : "s");
    c.invalid = !tsn_cli_load_policy(&config, &c.policy);
    say(&c, c.invalid ? NO : YES, "policy", c.invalid ? "respond: services, escalation" : "", "%zu services", c.policy.services.len);
    check_rules(&c);
    check_broker(&c);
    check_redis(&c);
    check_registry(&c);
    tsn_policy_release(&c.policy);
    tsn_config_release(&config);
    return c.invalid ? TSN_EXIT_INVALID : c.unreachable ? TSN_EXIT_UNREACHABLE : c.different ? TSN_EXIT_DIFFERENT : TSN_EXIT_OK;
}
