/* cmd_rules: `tocsin rules apply` and `tocsin rules list`: what stands in topic rules. */
#include "cli/cli.h"
#include "tocsin/app.h"

#include <stdio.h>
#include <string.h>

static const char about_apply[] =
    "Checks the rule files that the configuration names and publishes them as the newest rule set. Workers take it within a second;\n"
    "what did not change keeps its state. Nothing happens if the newest set is the same.\n\n"
    "Examples:\n"
    "  tocsin rules apply --config /etc/tocsin/tocsin.yaml\n";
static const char about_list[] =
    "Lists every rule set that was ever published, with number, time, hash and files. --show N prints the files of one.\n\n"
    "Examples:\n"
    "  tocsin rules list\n"
    "  tocsin rules list --show 3\n"
    "  tocsin rules list --output json\n";

static int exit_of(const struct tsn_error *error)
{
    return error->code == TSN_ERR_UNREACHABLE || error->code == TSN_ERR_TIMEOUT                              ? TSN_EXIT_UNREACHABLE
           : error->code == TSN_ERR_INVALID || error->code == TSN_ERR_NOT_FOUND || error->code == TSN_ERR_IO ? TSN_EXIT_INVALID
                                                                                                             : TSN_EXIT_FAILED;
}

int tsn_cmd_rules_apply(int argc, char **argv)
{
    const char *file = "tocsin.yaml";
    struct tsn_option options[] = { { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 } };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "tocsin rules apply [OPTIONS]", about_apply), code = TSN_EXIT_OK;
    struct tsn_error error = { 0 };
    struct tsn_config config;
    int64_t number = -1;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0)
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    if (tsn_app_publish_rules(&config, &number, &error)) {
        fprintf(stderr, "tocsin rules apply: %s\n", error.message);
        code = exit_of(&error);
    } else {
        printf("rule set %lld\n", (long long)number);
    }
    tsn_config_release(&config);
    return code;
}

struct listing {
    bool json;
    int64_t show; /* -1: all */
    size_t count;
};

static void print_set(void *arg, int64_t number, const char *hash, int64_t published_ms, const struct tsn_rule_sources *sources)
{
    struct listing *l = arg;
    struct tsn_buf out = TSN_BUF_INIT;
    char when[TSN_RFC3339_TEXT] = "-";

    if (l->show >= 0 && l->show != number)
        return;
    l->count++;
    if (published_ms != TSN_TIME_NONE)
        tsn_format_rfc3339(when, published_ms);
    if (l->json)
        tsn_buf_printf(&out, "{\"rule_set\":%lld,\"published\":\"%s\",\"hash\":\"%s\",\"files\":[", (long long)number, when, hash);
    else
        tsn_buf_printf(&out, "%lld\t%s\t%s\t", (long long)number, when, hash);
    for (size_t i = 0; i < sources->len; i++) {
        if (i)
            tsn_buf_putc(&out, l->json ? ',' : ' ');
        if (l->json)
            tsn_buf_json_string(&out, sources->items[i].file, strlen(sources->items[i].file));
        else
            tsn_buf_puts(&out, sources->items[i].file);
    }
    if (l->json)
        tsn_buf_puts(&out, "]}");
    puts(tsn_buf_str(&out));
    for (size_t i = 0; l->show >= 0 && !l->json && i < sources->len; i++)
        printf("# %s\n%s", sources->items[i].file, sources->items[i].text);
    tsn_buf_release(&out);
}

int tsn_cmd_rules_list(int argc, char **argv)
{
    const char *file = "tocsin.yaml", *output = "table";
    struct listing listing = { false, -1, 0 };
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "show", TSN_OPT_INT, &listing.show, "N", "this set alone, with the text of its files", 0, INT64_MAX },
        { "output", TSN_OPT_TEXT, &output, "table|json", "json: one object a line", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "tocsin rules list [OPTIONS]", about_list), code = TSN_EXIT_OK;
    struct tsn_error error = { 0 };
    struct tsn_config config;

    if (operands == -2)
        return TSN_EXIT_OK;
    listing.json = strcmp(output, "json") == 0;
    if (operands != 0 || (!listing.json && strcmp(output, "table") != 0))
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    if (tsn_app_each_rule_set(&config, print_set, &listing, &error)) {
        fprintf(stderr, "tocsin rules list: %s\n", error.message);
        code = exit_of(&error);
    } else if (!listing.count) {
        fprintf(stderr, "tocsin rules list: topic %s holds no such set\n", config.topics.rules);
        code = TSN_EXIT_FAILED;
    }
    tsn_config_release(&config);
    return code;
}
