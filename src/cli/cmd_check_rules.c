/*
 * check rules: loads rule files as `run` would and says what is wrong, a line each:
 * file:line:col: [id] rule: text. Exit 3 if a file cannot be used on a stream.
 */
#include "cli/cli.h"
#include "tocsin/detect.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILE = 16 << 20 };

struct printer {
    bool json;
    size_t errors;
};

static void finding(struct printer *p, const char *file, struct tsn_position at, const char *id, const char *rule,
                    const char *text)
{
    struct tsn_buf out = TSN_BUF_INIT;

    p->errors++;
    if (!p->json) {
        printf("%s:%u:%u: [%s] %s%s%s\n", file, at.line, at.column, id, rule, *rule ? ": " : "", text);
        return;
    }
    tsn_buf_puts(&out, "{\"file\":");
    tsn_buf_json_string(&out, file, strlen(file));
    tsn_buf_printf(&out, ",\"line\":%u,\"col\":%u,\"id\":\"%s\",\"rule\":", at.line, at.column, id);
    tsn_buf_json_string(&out, rule, strlen(rule));
    tsn_buf_puts(&out, ",\"severity\":\"error\",\"text\":");
    tsn_buf_json_string(&out, text, strlen(text));
    printf("%s,\"suggestion\":\"\"}\n", out.data);
    tsn_buf_release(&out);
}

static void check_set(struct printer *p, const struct tsn_rule_set *set)
{
    for (size_t g = 0; g < set->group_count; g++)
        for (size_t r = 0; r < set->groups[g].rule_count; r++) {
            const struct tsn_rule *rule = &set->groups[g].rules[r];
            const char *why;

            if (!tsn_rule_streamable(rule, &why))
                finding(p, set->groups[g].file, rule->expr_at, "not-streamable", rule->name, why);
        }
}

int tsn_cmd_check_rules(int argc, char **argv)
{
    const char *output = "table";
    const struct tsn_option options[] = {
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the findings (default table)", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "check rules FILE…",
                                 "Loads rule files as Prometheus would, and refuses what a stream cannot evaluate\n"
                                 "(a negative offset, @). Every error names file, line and column.\n\n"
                                 "Example:\n  tocsin check rules docker/rules/*.yaml");
    struct printer p = { .json = strcmp(output, "json") == 0 };

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (!operands) {
        fprintf(stderr, "tocsin: check rules needs at least one file\n");
        return TSN_EXIT_USAGE;
    }
    for (int i = 1; i <= operands; i++) {
        struct tsn_rule_source source = { argv[i], NULL, 0 };
        struct tsn_rule_errors errors = { 0 };
        struct tsn_rule_set *set = NULL;
        struct tsn_error error;
        char *text = tsn_cli_read_file(argv[i], MAX_FILE, &source.len, &error);

        source.text = text;
        if (!text)
            finding(&p, argv[i], (struct tsn_position){ 0, 0 }, "unreadable", "", error.message);
        else
            set = tsn_rule_set_load(&source, 1, NULL, &errors);
        for (size_t e = 0; e < errors.len; e++)
            finding(&p, errors.items[e].file, errors.items[e].at, "invalid", "", errors.items[e].message);
        if (set)
            check_set(&p, set);
        tsn_rule_set_free(&set);
        tsn_rule_errors_release(&errors);
        tsn_free(text);
    }
    return p.errors ? TSN_EXIT_INVALID : TSN_EXIT_OK;
}
