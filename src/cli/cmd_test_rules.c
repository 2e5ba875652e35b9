/* test rules: unit tests of rules in promtool's format; exit 5 if a check fails, 3 if a file is invalid. */
#include "cli/cli.h"
#include "tocsin/rule_test.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 64 << 20 };

/* Patterns are relative to the test file; one that matches nothing is an error if it has no wildcard. */
static bool find_rules(void *arg, const char *pattern, struct tsn_rule_source **sources, size_t *count,
                       struct tsn_error *error)
{
    const char *test_file = arg, *slash = strrchr(test_file, '/');
    struct tsn_buf path = TSN_BUF_INIT;
    glob_t found;
    bool ok = true;

    if (pattern[0] != '/' && slash)
        tsn_buf_append(&path, test_file, (size_t)(slash - test_file) + 1);
    tsn_buf_puts(&path, pattern);
    if (glob(tsn_buf_str(&path), 0, NULL, &found) != 0) {
        tsn_error_set(error, TSN_ERR_NOT_FOUND, "rule_files: %s matches no file", tsn_buf_str(&path));
        tsn_buf_release(&path);
        return false;
    }
    for (size_t i = 0; i < found.gl_pathc && ok; i++) {
        struct tsn_rule_source source = { 0 };

        source.text = tsn_cli_read_file(found.gl_pathv[i], MAX_FILE, &source.len, error);
        ok = source.text != NULL;
        if (!ok)
            break;
        source.file = tsn_strdup(found.gl_pathv[i]);
        *sources = tsn_reallocarray(*sources, *count + 1, sizeof source);
        (*sources)[(*count)++] = source;
    }
    globfree(&found);
    tsn_buf_release(&path);
    return ok;
}

/* 0 passed, 3 invalid, 5 failed. */
static int test_file(char *path, bool json)
{
    struct tsn_rule_test_options options = { find_rules, path };
    struct tsn_rule_test_report report = { 0 };
    struct tsn_error error;
    size_t len = 0;
    char *text = tsn_cli_read_file(path, MAX_FILE, &len, &error);
    enum tsn_err err = text ? tsn_rule_test_run(text, len, &options, &report, &error) : error.code;
    int code = err ? TSN_EXIT_INVALID : report.failures.len ? TSN_EXIT_DIFFERENT : TSN_EXIT_OK;

    if (json) {
        struct tsn_buf out = TSN_BUF_INIT;

        tsn_buf_puts(&out, "{\"file\":");
        tsn_buf_json_string(&out, path, strlen(path));
        tsn_buf_printf(&out, ",\"checks\":%zu,\"failed\":%zu,\"error\":", report.checks, report.failures.len);
        tsn_buf_json_string(&out, err ? error.message : "", err ? strlen(error.message) : 0);
        printf("%s}\n", out.data);
        tsn_buf_release(&out);
    } else {
        printf("%s: %s (%zu checks)\n", path, code == TSN_EXIT_OK ? "ok" : "FAILED", report.checks);
        if (err)
            printf("  error: %s\n", error.message);
        for (size_t i = 0; i < report.failures.len; i++)
            printf("  %s%s%s\n%s", report.failures.items[i].test, *report.failures.items[i].test ? ": " : "",
                   report.failures.items[i].check, report.failures.items[i].text);
    }
    tsn_rule_test_report_release(&report);
    tsn_free(text);
    return code;
}

int tsn_cmd_test_rules(int argc, char **argv)
{
    const char *output = "table";
    const struct tsn_option options[] = {
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the result (default table)", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "test rules FILE…",
                                 "Runs unit tests of rules, in promtool's format, unchanged.\n\n"
                                 "Example:\n  tocsin test rules docker/rules/tests/*.yaml");
    int worst = TSN_EXIT_OK;

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (!operands) {
        fprintf(stderr, "tocsin: test rules needs at least one file\n");
        return TSN_EXIT_USAGE;
    }
    for (int i = 1; i <= operands; i++) {
        int code = test_file(argv[i], strcmp(output, "json") == 0);

        if (code == TSN_EXIT_INVALID || worst == TSN_EXIT_OK)
            worst = code;
    }
    return worst;
}
