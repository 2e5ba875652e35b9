/*
 * config: `config reference` lists every key of the configuration file, `config show` prints the one that is in effect.
 *
 * Both come from the option tables that the parser reads by, so they cannot drift from it. Secrets are shown as ***.
 */
#include "cli/cli.h"
#include "tocsin/config.h"

#include <stdio.h>
#include <string.h>

int tsn_cmd_config_reference(int argc, char **argv)
{
    const char *output = "table";
    const struct tsn_option options[] = {
        { "output", TSN_OPT_TEXT, &output, "table|markdown", "form of the list", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "config reference",
                                 "Every key of the configuration file with its type, default and meaning.\n\n"
                                 "Examples:\n  tocsin config reference | grep time\\.\n  tocsin config reference --output markdown");
    bool markdown = strcmp(output, "markdown") == 0;
    struct tsn_buf out = TSN_BUF_INIT;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0 || (!markdown && strcmp(output, "table") != 0)) {
        if (operands >= 0)
            fprintf(stderr, "tocsin: config reference takes no operand; --output is table or markdown\n");
        return TSN_EXIT_USAGE;
    }
    tsn_config_reference(&out, markdown);
    fputs(tsn_buf_str(&out), stdout);
    tsn_buf_release(&out);
    return TSN_EXIT_OK;
}

int tsn_cmd_config_show(int argc, char **argv)
{
    const char *file = "tocsin.yaml";
    const struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "configuration (default tocsin.yaml)", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "config show",
                                 "The configuration in effect: the file over the defaults, with the environment put in, as YAML\n"
                                 "that can be read again. Secrets are ***.\n\nExample:\n  tocsin config show --config docker/tocsin.yaml");
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_config config;

    if (operands != 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    tsn_config_print(&config, &out);
    fputs(tsn_buf_str(&out), stdout);
    tsn_buf_release(&out);
    tsn_config_release(&config);
    return TSN_EXIT_OK;
}
