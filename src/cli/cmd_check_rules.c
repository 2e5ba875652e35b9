/*
 * check rules: loads rule files as `run` would and says what is wrong, a line each:
 * file:line:col: [id] alert or record: text (try: suggestion).
 *
 * Each file is loaded by itself first, so that one broken file hides nothing of the others; those that load are then
 * linted together as the set they are in `run`. Files come from names, globs and folders.
 *
 * Exit: 0 usable (findings or not) · 3 a file does not load, or a rule needs what a stream cannot give · 5 with --strict,
 * when there are findings. In JSON the fields are file, line, col, id, rule, severity, text, suggestion.
 */
#include "cli/cli.h"
#include "cli/rule_files.h"
#include "cli/series_sample.h"
#include "tocsin/config.h"
#include "tocsin/shard.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct report {
    bool json;
    size_t invalid, findings;
};

/* One line, whatever the text holds. */
static void put_line(const char *text)
{
    for (; *text; text++)
        putchar(*text == '\n' ? ' ' : *text);
}

static void put_json_field(struct tsn_buf *out, const char *name, const char *text)
{
    tsn_buf_printf(out, ",\"%s\":", name);
    tsn_buf_json_string(out, text, strlen(text));
}

static void print_finding(const struct report *r, const struct tsn_lint_finding *f)
{
    static const char *const severities[] = { "info", "warning", "error" };
    struct tsn_buf out = TSN_BUF_INIT;

    if (!r->json) {
        printf("%s:%u:%u: [%s] %s%s", f->file, f->at.line, f->at.column, f->id, f->rule, *f->rule ? ": " : "");
        put_line(f->text);
        if (f->suggestion && *f->suggestion) {
            fputs(" (try: ", stdout);
            put_line(f->suggestion);
            putchar(')');
        }
        putchar('\n');
        return;
    }
    tsn_buf_puts(&out, "{\"file\":");
    tsn_buf_json_string(&out, f->file, strlen(f->file));
    tsn_buf_printf(&out, ",\"line\":%u,\"col\":%u,\"id\":\"%s\"", f->at.line, f->at.column, f->id);
    put_json_field(&out, "rule", f->rule);
    put_json_field(&out, "severity", severities[f->severity]);
    put_json_field(&out, "text", f->text);
    put_json_field(&out, "suggestion", f->suggestion ? f->suggestion : "");
    printf("%s}\n", out.data);
    tsn_buf_release(&out);
}

static void invalid(struct report *r, const char *file, struct tsn_position at, const char *id, const char *rule, const char *text)
{
    char *copy = tsn_strdup(text);
    const struct tsn_lint_finding finding = { file, at, id, rule, TSN_LINT_ERROR, copy, NULL };

    r->invalid++;
    print_finding(r, &finding);
    tsn_free(copy);
}

/* True if the file loads by itself. */
static bool loads(struct report *r, const struct tsn_rule_source *source)
{
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = tsn_rule_set_load(source, 1, NULL, &errors);
    bool good = set != NULL;

    for (size_t e = 0; e < errors.len; e++)
        invalid(r, errors.items[e].file, errors.items[e].at, "invalid", "", errors.items[e].message);
    tsn_rule_set_free(&set);
    tsn_rule_errors_release(&errors);
    return good;
}

static bool has_finding(const struct tsn_lint_findings *findings, const char *file, const char *rule, const char *id)
{
    for (size_t i = 0; i < findings->len; i++)
        if (strcmp(findings->items[i].id, id) == 0 && strcmp(findings->items[i].rule, rule) == 0 &&
            strcmp(findings->items[i].file, file) == 0)
            return true;
    return false;
}

static void lint(struct report *r, const struct tsn_rule_set *set, const struct tsn_lint_options *options)
{
    struct tsn_lint_findings findings = { 0 };

    tsn_lint_run(set, options, &findings);
    for (size_t i = 0; i < findings.len; i++)
        print_finding(r, &findings.items[i]);
    r->findings += findings.len;
    for (size_t g = 0; g < set->group_count; g++)
        for (size_t n = 0; n < set->groups[g].rule_count; n++) {
            const struct tsn_rule *rule = &set->groups[g].rules[n];
            const char *why;

            if (tsn_rule_streamable(rule, &why))
                continue;
            if (has_finding(&findings, set->groups[g].file, rule->name, "needs-future"))
                r->invalid++;
            else
                invalid(r, set->groups[g].file, rule->expr_at, "not-streamable", rule->name, why);
        }
    tsn_lint_findings_release(&findings);
}

static void check(struct report *r, const struct rule_texts *texts, const struct tsn_lint_options *options)
{
    struct rule_texts good = { 0 };
    struct tsn_rule_errors errors = { 0 };
    struct tsn_rule_set *set = NULL;

    for (size_t i = 0; i < texts->len; i++)
        if (loads(r, &texts->items[i]))
            tsn_vec_push(&good, texts->items[i]);
    if (good.len)
        set = tsn_rule_set_load(good.items, good.len, NULL, &errors);
    for (size_t e = 0; e < errors.len; e++)
        invalid(r, errors.items[e].file, errors.items[e].at, "invalid", "", errors.items[e].message);
    if (set)
        lint(r, set, options);
    tsn_rule_set_free(&set);
    tsn_rule_errors_release(&errors);
    tsn_vec_release(&good);
}

/* A folder stands for its *.yaml and *.yml. */
static void add_operand(struct report *r, struct rule_texts *texts, const char *operand)
{
    static const char *const endings[] = { "/*.yaml", "/*.yml" };
    struct tsn_error error = { 0 };
    struct stat st;
    int found = 0;

    if (strcmp(operand, "-") == 0 || stat(operand, &st) != 0 || !S_ISDIR(st.st_mode))
        found = rule_texts_add(texts, operand, NULL, &error);
    else
        for (size_t i = 0; i < TSN_ARRAY_LEN(endings) && found >= 0; i++) {
            struct tsn_buf pattern = TSN_BUF_INIT;
            int n;

            tsn_buf_printf(&pattern, "%s%s", operand, endings[i]);
            n = rule_texts_add(texts, pattern.data, NULL, &error);
            found = n < 0 ? n : found + n;
            tsn_buf_release(&pattern);
        }
    if (found <= 0)
        invalid(r, operand, (struct tsn_position){ 0, 0 }, "unreadable", "", found < 0 ? error.message : "no such file");
}

/* Reads the sample, if one is given, and lets the lint ask it. */
static bool use_sample(struct series_sample *sample, const char *path, struct tsn_lint_options *options)
{
    struct tsn_error error = { 0 };

    if (!path)
        return true;
    if (!series_sample_read(sample, path, &error)) {
        fprintf(stderr, "tocsin: %s\n", error.message);
        return false;
    }
    options->series_count = series_sample_count;
    options->series_count_arg = sample;
    return true;
}

int tsn_cmd_check_rules(int argc, char **argv)
{
    const char *output = "table", *config_file = NULL, *samples = NULL;
    bool strict = false, good;
    int64_t sample_interval_ms = 0, cost_limit = 0;
    const struct tsn_option options[] = {
        { "strict", TSN_OPT_FLAG, &strict, NULL, "exit 5 if there is any finding", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the findings; json: one object a finding", 0, 0 },
        { "config", TSN_OPT_TEXT, &config_file, "FILE", "shard label, counter_ttl and service catalogue from here", 0, 0 },
        { "sample-interval", TSN_OPT_DURATION, &sample_interval_ms, "D", "how often a series has a sample (default 15s)", 1, 86400000 },
        { "samples", TSN_OPT_TEXT, &samples, "FILE", "a sample of the stream (samples --points, or as eval --data): judge cost by it", 0, 0 },
        { "cost-limit", TSN_OPT_INT, &cost_limit, "N", "samples that a window may hold (default 10000000)", 1, INT64_MAX },
    };
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "check rules FILE|GLOB|DIR…",
                                 "Loads rule files as Prometheus would, refuses what a stream cannot evaluate (a negative\n"
                                 "offset, @), and says what is legal and yet likely wrong. Every line names file, line and\n"
                                 "column.\n\nExamples:\n  tocsin check rules docker/rules\n"
                                 "  tocsin check rules --strict --output json 'rules/*.yaml'");
    struct report r = { .json = strcmp(output, "json") == 0 };
    struct rule_texts texts = { 0 };
    struct tsn_policy policy;
    struct tsn_config config;
    struct tsn_lint_options lint_options = { 0 };
    struct series_sample sample = { 0 };

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (!operands || (!r.json && strcmp(output, "table") != 0)) {
        fprintf(stderr, operands ? "tocsin: --output is table or json\n" : "tocsin: check rules needs at least one file\n");
        return TSN_EXIT_USAGE;
    }
    if (!config_file)
        tsn_config_init(&config);
    else if (!tsn_cli_load_config(config_file, &config))
        return TSN_EXIT_INVALID;
    good = tsn_cli_load_policy(&config, &policy);
    for (int i = 1; i <= operands; i++)
        add_operand(&r, &texts, argv[i]);
    lint_options = (struct tsn_lint_options){ .shard_label = config.detect.shard_label, .policy = &policy,
                                              .sample_interval_ms = sample_interval_ms, .cost_limit = cost_limit,
                                              .counter_ttl_ms = config.time.counter_ttl_ms };
    good = use_sample(&sample, samples, &lint_options) && good;
    check(&r, &texts, &lint_options);
    series_sample_release(&sample);
    rule_texts_release(&texts);
    tsn_policy_release(&policy);
    tsn_config_release(&config);
    return r.invalid || !good ? TSN_EXIT_INVALID : strict && r.findings ? TSN_EXIT_DIFFERENT : TSN_EXIT_OK;
}
