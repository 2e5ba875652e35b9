/*
 * topics: `topics check` says how the cluster's topics differ from their declarations; `topics apply` also creates
 * what is missing. Neither alters or deletes anything: changing a live topic is a person's decision, and the notes
 * say which.
 *
 * Exit: 0 all as declared · 5 something differs (for apply: still) · 1 a creation failed · 3 configuration,
 * declarations or rules · 4 no broker answers.
 */
#include "cli/cli.h"
#include "cli/rule_files.h"
#include "tocsin/app.h"
#include "tocsin/kafka_admin.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DECL_BYTES = 1 << 16, DEFAULT_TIMEOUT_MS = 10000 };

struct topics_args {
    const char *config, *dir, *output;
    int64_t samples_partitions, input_partitions, timeout_ms;
    bool inputs;
};

static enum tsn_err read_dir(const char *dir, struct tsn_topic_decls *out, struct tsn_error *error)
{
    struct tsn_buf pattern = TSN_BUF_INIT;
    enum tsn_err err = TSN_OK;
    glob_t found = { 0 };

    tsn_buf_printf(&pattern, "%s/*.yaml", dir);
    if (glob(pattern.data, 0, NULL, &found) != 0)
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "no file matches %s", pattern.data);
    for (size_t i = 0; i < found.gl_pathc && !err; i++) {
        size_t len = 0;
        char *text = tsn_cli_read_file(found.gl_pathv[i], MAX_DECL_BYTES, &len, error);

        err = text ? tsn_topic_decls_add(out, found.gl_pathv[i], text, len, error) : error->code;
        tsn_free(text);
    }
    globfree(&found);
    tsn_buf_release(&pattern);
    return err;
}

/* The longest window of the configured rules; -1 after printing why they cannot be loaded. */
static int64_t longest_window(const struct tsn_config *config)
{
    struct tsn_rule_sources sources = { 0 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_error error = { 0 };
    struct tsn_rule_set *set;
    int64_t window_ms = -1;

    if (!config->rules.len)
        return 0;
    if (tsn_app_read_rules(config, &sources, &error)) {
        fprintf(stderr, "tocsin: %s\n", error.message);
        return -1;
    }
    set = tsn_rule_set_load(sources.items, sources.len, NULL, &errors);
    if (set)
        window_ms = tsn_rule_set_reach_ms(set, config->detect.lookback_ms);
    rule_errors_print(&errors);
    tsn_rule_set_free(&set);
    tsn_rule_errors_release(&errors);
    tsn_rule_sources_release(&sources);
    return window_ms;
}

static void print_table(const struct tsn_topic_plan *plan)
{
    int width = 5;

    for (size_t i = 0; i < plan->len; i++)
        width = (int)strlen(plan->items[i].name) > width ? (int)strlen(plan->items[i].name) : width;
    printf("%-*s  %-10s  %-8s  %10s  %6s\n", width, "TOPIC", "ROLE", "STATUS", "PARTITIONS", "COPIES");
    for (size_t i = 0; i < plan->len; i++) {
        const struct tsn_topic_plan_item *item = &plan->items[i];

        printf("%-*s  %-10s  %-8s  %10d  %6d\n", width, item->name, item->role, tsn_topic_status_name(item->status),
               item->partitions, item->replication);
        for (size_t n = 0; n < item->notes.len; n++)
            printf("  %s\n", item->notes.items[n]);
    }
}

static void print_json(const struct tsn_topic_plan *plan)
{
    for (size_t i = 0; i < plan->len; i++) {
        const struct tsn_topic_plan_item *item = &plan->items[i];
        struct tsn_buf out = TSN_BUF_INIT;

        tsn_buf_puts(&out, "{\"topic\":");
        tsn_buf_json_string(&out, item->name, strlen(item->name));
        tsn_buf_printf(&out, ",\"role\":\"%s\",\"status\":\"%s\",\"partitions\":%d,\"replication\":%d,\"differs\":%s,\"notes\":[",
                       item->role, tsn_topic_status_name(item->status), item->partitions, item->replication,
                       item->differs || item->status == TSN_TOPIC_MISSING ? "true" : "false");
        for (size_t n = 0; n < item->notes.len; n++) {
            tsn_buf_puts(&out, n ? "," : "");
            tsn_buf_json_string(&out, item->notes.items[n], strlen(item->notes.items[n]));
        }
        printf("%s]}\n", out.data);
        tsn_buf_release(&out);
    }
}

static int verdict(const struct tsn_topic_plan *plan)
{
    int code = TSN_EXIT_OK;

    for (size_t i = 0; i < plan->len; i++) {
        if (plan->items[i].status == TSN_TOPIC_FAILED)
            return TSN_EXIT_FAILED;
        if (plan->items[i].differs || plan->items[i].status == TSN_TOPIC_MISSING)
            code = TSN_EXIT_DIFFERENT;
    }
    return code;
}

static int with_plan(const struct topics_args *args, const struct tsn_topic_plan_options *options, bool apply)
{
    struct tsn_error error = { 0 };
    struct tsn_admin *admin = tsn_admin_new(options->config, (int)args->timeout_ms, &error);
    struct tsn_topic_info *infos = NULL;
    struct tsn_topic_plan plan = { 0 };
    size_t count;
    const char **names = tsn_topic_plan_names(options, &count);
    int code = admin ? TSN_EXIT_UNREACHABLE : TSN_EXIT_INVALID;

    if (admin)
        infos = tsn_admin_describe(admin, names, count, &error);
    if (infos) {
        tsn_topic_plan_build(options, infos, tsn_admin_broker_count(admin), &plan);
        if (apply)
            tsn_topic_plan_apply(admin, &plan);
        if (strcmp(args->output, "json") == 0)
            print_json(&plan);
        else
            print_table(&plan);
        code = verdict(&plan);
    } else
        fprintf(stderr, "tocsin: %s\n", error.message);
    tsn_topic_plan_release(&plan);
    tsn_topic_infos_free(infos, count);
    tsn_admin_free(&admin);
    tsn_free(names);
    return code;
}

static int with_config(const struct topics_args *args, const struct tsn_config *config, bool apply)
{
    struct tsn_topic_decls decls = { 0 };
    struct tsn_topic_plan_options options = { config, &decls, longest_window(config), (int32_t)args->samples_partitions,
                                              args->inputs, (int32_t)args->input_partitions };
    struct tsn_error error = { 0 };
    enum tsn_err err;
    int code = TSN_EXIT_INVALID;

    if (options.window_ms < 0)
        return code;
    err = args->dir ? read_dir(args->dir, &decls, &error) : tsn_topic_decls_builtin(&decls, &error);
    if (!err)
        err = tsn_topic_decls_check(&decls, config, &error);
    if (err)
        fprintf(stderr, "tocsin: %s\n", error.message);
    else
        code = with_plan(args, &options, apply);
    tsn_topic_decls_release(&decls);
    return code;
}

static int topics(int argc, char **argv, bool apply)
{
    struct topics_args args = { "tocsin.yaml", NULL, "table", 0, 0, DEFAULT_TIMEOUT_MS, false };
    const struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &args.config, "FILE", "configuration (default tocsin.yaml)", 0, 0 },
        { "dir", TSN_OPT_TEXT, &args.dir, "DIR", "declarations to use instead of the built-in ones", 0, 0 },
        { "inputs", TSN_OPT_FLAG, &args.inputs, NULL, "input topics are Tocsin's to create, too", 0, 0 },
        { "samples-partitions", TSN_OPT_INT, &args.samples_partitions, "N", "instead of the declared count; never changes a topic that exists", 1, 10000 },
        { "input-partitions", TSN_OPT_INT, &args.input_partitions, "N", "of inputs that --inputs creates (default 4)", 1, 10000 },
        { "timeout", TSN_OPT_DURATION, &args.timeout_ms, "D", "for each question to the cluster (default 10s)", 100, 600000 },
        { "output", TSN_OPT_TEXT, &args.output, "table|json", "form of the result; json: one object a topic", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), apply ? "topics apply" : "topics check",
                                 apply ? "Creates the topics that are missing, as topics/ declares them, and says what differs on the\n"
                                         "others. Alters nothing, deletes nothing, and never touches the partition count of samples.\n\n"
                                         "Examples:\n  tocsin topics apply --config docker/tocsin.yaml\n"
                                         "  tocsin topics apply --inputs --samples-partitions 4"
                                       : "Says which topics are missing, otherwise than declared, or keep their records for too short\n"
                                         "a time for the windows of the configured rules.\n\n"
                                         "Examples:\n  tocsin topics check --config docker/tocsin.yaml\n"
                                         "  tocsin topics check --output json | jq 'select(.differs)'");
    struct tsn_config config;
    int code;

    if (operands != 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (strcmp(args.output, "table") != 0 && strcmp(args.output, "json") != 0) {
        fprintf(stderr, "tocsin: --output: '%s' is neither table nor json\n", args.output);
        return TSN_EXIT_USAGE;
    }
    if (!tsn_cli_load_config(args.config, &config))
        return TSN_EXIT_INVALID;
    code = with_config(&args, &config, apply);
    tsn_config_release(&config);
    return code;
}

int tsn_cmd_topics_apply(int argc, char **argv) { return topics(argc, argv, true); }
int tsn_cmd_topics_check(int argc, char **argv) { return topics(argc, argv, false); }
