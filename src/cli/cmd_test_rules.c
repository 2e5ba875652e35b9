/*
 * cmd_test_rules: `tocsin test rules FILE…`, promtool's unit tests of rule files.
 *
 * Exit 0 all passed, 5 a test failed, 3 a test file or a rule file is invalid (that counts before
 * a failed test), 1 a file cannot be read.
 */
#include "cli/cli.h"
#include "cli/rule_files.h"
#include "tocsin/rule_test.h"

#include <stdio.h>
#include <string.h>

struct outcome {
    const char *file; /* borrowed from argv */
    char *test;       /* owned; NULL: the file itself is invalid */
    struct tsn_test_failures failures;
};

struct suite {
    TSN_VEC(struct outcome) outcomes;
    const char *run;
    bool naive;
    size_t passed, failed, invalid;
};

static void add_outcome(struct suite *suite, const char *file, const char *test, struct tsn_test_failures *failures)
{
    struct outcome outcome = { file, test ? tsn_strdup(test) : NULL, *failures };

    memset(failures, 0, sizeof *failures);
    tsn_vec_push(&suite->outcomes, outcome);
    if (!test)
        suite->invalid++;
    else if (outcome.failures.len)
        suite->failed++;
    else
        suite->passed++;
}

static void add_invalid(struct suite *suite, const char *file, struct tsn_rule_errors *errors)
{
    struct tsn_test_failures failures = { 0 };

    for (size_t i = 0; i < errors->len; i++) {
        const struct tsn_rule_error *e = &errors->items[i];
        struct tsn_buf text = TSN_BUF_INIT;

        tsn_buf_printf(&text, "%s:%u:%u: %s", e->file, e->at.line, e->at.column, e->message);
        tsn_vec_push(&failures, tsn_buf_take(&text, NULL));
    }
    add_outcome(suite, file, NULL, &failures);
}

static bool selected(const struct suite *suite, const struct tsn_rule_test *test)
{
    struct tsn_error error;
    bool found = false;

    return !suite->run ||
           (tsn_regex_search(suite->run, test->name ? test->name : "", &found, &error) == TSN_OK && found);
}

static struct tsn_rule_set *load_rules(const struct tsn_rule_test_file *file, struct rule_texts *texts,
                                       struct tsn_rule_errors *errors)
{
    struct tsn_error error = { 0 };

    for (size_t i = 0; i < file->rule_file_count; i++) {
        int found = rule_texts_add(texts, file->rule_files[i], file->file, &error);

        if (found < 0) {
            struct tsn_rule_error e = { tsn_strdup(file->file), { 0, 0 }, tsn_strdup(error.message) };

            tsn_vec_push(errors, e);
            return NULL;
        }
        if (!found)
            fprintf(stderr, "tocsin: %s: no file matches %s\n", file->file, file->rule_files[i]);
    }
    return tsn_rule_set_load(texts->items, texts->len, NULL, errors);
}

static void run_file(struct suite *suite, const char *path, const char *text, size_t len)
{
    struct tsn_rule_source source = { path, text, len };
    struct tsn_rule_errors errors = { 0 };
    struct rule_texts texts = { 0 };
    struct tsn_rule_test_file *file = tsn_rule_test_parse(&source, &errors);
    struct tsn_rule_set *set = file ? load_rules(file, &texts, &errors) : NULL;

    if (!set)
        add_invalid(suite, path, &errors);
    else
        file->naive = suite->naive;
    for (size_t i = 0; set && i < file->test_count; i++) {
        struct tsn_test_failures failures = { 0 };

        if (!selected(suite, &file->tests[i]))
            continue;
        tsn_rule_test_run(file, &file->tests[i], set, &failures);
        add_outcome(suite, path, file->tests[i].title, &failures);
    }
    if (set)
        tsn_rule_set_free(&set);
    tsn_rule_test_file_free(&file);
    rule_texts_release(&texts);
    tsn_rule_errors_release(&errors);
}

/* ---- output ------------------------------------------------------------------------------- */

static void print_text(const struct suite *suite)
{
    for (size_t i = 0; i < suite->outcomes.len; i++) {
        const struct outcome *o = &suite->outcomes.items[i];

        printf("%-7s %s%s%s\n", !o->test ? "INVALID" : o->failures.len ? "FAIL" : "ok", o->file, o->test ? ": " : "",
               o->test ? o->test : "");
        for (size_t k = 0; k < o->failures.len; k++)
            printf("    %s\n", o->failures.items[k]);
    }
    if (suite->invalid)
        printf("%zu invalid file%s\n", suite->invalid, suite->invalid == 1 ? "" : "s");
    printf("%zu passed, %zu failed\n", suite->passed, suite->failed + suite->invalid);
}

static void print_json(const struct suite *suite)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_buf_puts(&out, "{\"tests\":[");
    for (size_t i = 0; i < suite->outcomes.len; i++) {
        const struct outcome *o = &suite->outcomes.items[i];

        tsn_buf_puts(&out, i ? ",{\"file\":" : "{\"file\":");
        tsn_buf_json_string(&out, o->file, strlen(o->file));
        tsn_buf_puts(&out, ",\"test\":");
        if (o->test)
            tsn_buf_json_string(&out, o->test, strlen(o->test));
        else
            tsn_buf_puts(&out, "null");
        tsn_buf_printf(&out, ",\"result\":\"%s\",\"failures\":[",
                       !o->test ? "invalid" : o->failures.len ? "failed" : "passed");
        for (size_t k = 0; k < o->failures.len; k++) {
            tsn_buf_puts(&out, k ? "," : "");
            tsn_buf_json_string(&out, o->failures.items[k], strlen(o->failures.items[k]));
        }
        tsn_buf_puts(&out, "]}");
    }
    tsn_buf_printf(&out, "],\"passed\":%zu,\"failed\":%zu,\"invalid\":%zu}", suite->passed, suite->failed,
                   suite->invalid);
    puts(tsn_buf_str(&out));
    tsn_buf_release(&out);
}

static void xml_text(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: /* XML 1.0 has no other control characters */
            if ((unsigned char)*text >= 32 || *text == '\n' || *text == '\t')
                fputc(*text, out);
        }
}

static void junit_case(FILE *out, const struct outcome *o)
{
    fputs("    <testcase name=\"", out);
    xml_text(out, o->test ? o->test : "load");
    fputs(o->failures.len ? "\">\n" : "\"/>\n", out);
    for (size_t k = 0; k < o->failures.len; k++) {
        fputs(o->test ? "      <failure>" : "      <error>", out);
        xml_text(out, o->failures.items[k]);
        fputs(o->test ? "</failure>\n" : "</error>\n", out);
    }
    if (o->failures.len)
        fputs("    </testcase>\n", out);
}

/* A testsuite a file; outcomes of one file follow each other. */
static bool write_junit(const struct suite *suite, const char *path)
{
    FILE *out = fopen(path, "w");

    if (!out) {
        fprintf(stderr, "tocsin: %s cannot be written\n", path);
        return false;
    }
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n", out);
    for (size_t i = 0, end; i < suite->outcomes.len; i = end) {
        size_t failures = 0, errors = 0;

        for (end = i; end < suite->outcomes.len && suite->outcomes.items[end].file == suite->outcomes.items[i].file;
             end++) {
            failures += suite->outcomes.items[end].test && suite->outcomes.items[end].failures.len;
            errors += !suite->outcomes.items[end].test;
        }
        fputs("  <testsuite name=\"", out);
        xml_text(out, suite->outcomes.items[i].file);
        fprintf(out, "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\">\n", end - i, failures, errors);
        for (size_t k = i; k < end; k++)
            junit_case(out, &suite->outcomes.items[k]);
        fputs("  </testsuite>\n", out);
    }
    fputs("</testsuites>\n", out);
    return fclose(out) == 0;
}

static void suite_release(struct suite *suite)
{
    for (size_t i = 0; i < suite->outcomes.len; i++) {
        tsn_free(suite->outcomes.items[i].test);
        tsn_test_failures_release(&suite->outcomes.items[i].failures);
    }
    tsn_vec_release(&suite->outcomes);
}

/* ---- the command -------------------------------------------------------------------------- */

static int run_all(struct suite *suite, char **files, int count)
{
    struct tsn_error error;
    int status = TSN_EXIT_OK;

    for (int i = 0; i < count; i++) {
        size_t len;
        char *text = tsn_cli_read_file(files[i], 16 << 20, &len, &error);

        if (!text) {
            fprintf(stderr, "tocsin: %s\n", error.message);
            status = TSN_EXIT_FAILED;
            continue;
        }
        run_file(suite, files[i], text, len);
        tsn_free(text);
    }
    if (status == TSN_EXIT_OK)
        status = suite->invalid ? TSN_EXIT_INVALID : suite->failed ? TSN_EXIT_DIFFERENT : TSN_EXIT_OK;
    return status;
}

int tsn_cmd_test_rules(int argc, char **argv)
{
    struct suite suite = { 0 };
    const char *junit = NULL, *output = "table";
    struct tsn_option options[] = {
        { "run", TSN_OPT_TEXT, &suite.run, "REGEX", "only tests whose name matches (RE2, anywhere in the name)", 0, 0 },
        { "naive", TSN_OPT_FLAG, &suite.naive, NULL, "by the evaluator that reads every sample anew, the oracle of the plans", 0, 0 },
        { "junit", TSN_OPT_TEXT, &junit, "FILE", "write a JUnit report, too", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "what goes to stdout", 0, 0 },
    };
    struct tsn_error error;
    bool found;
    int files = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "test rules FILE… [OPTIONS]",
                              "Runs unit tests of rule files, in promtool's format.\n\nExamples:\n"
                              "  tocsin test rules tests/*.yaml\n"
                              "  tocsin test rules --run 'Latency' --junit report.xml tests.yaml\n\n"
                              "Exit: 0 all passed, 5 a test failed, 3 an invalid file.");
    int status;

    if (files == -2)
        return TSN_EXIT_OK;
    if (files <= 0 || (strcmp(output, "json") != 0 && strcmp(output, "table") != 0)) {
        if (files >= 0)
            fputs(files ? "tocsin: --output: table or json\n" : "tocsin: test rules needs a FILE\n", stderr);
        return TSN_EXIT_USAGE;
    }
    if (suite.run && tsn_regex_search(suite.run, "", &found, &error) != TSN_OK) {
        fprintf(stderr, "tocsin: --run: %s\n", error.message);
        return TSN_EXIT_USAGE;
    }
    status = run_all(&suite, argv + 1, files);
    if (strcmp(output, "json") == 0)
        print_json(&suite);
    else
        print_text(&suite);
    if (junit && !write_junit(&suite, junit))
        status = status ? status : TSN_EXIT_FAILED;
    suite_release(&suite);
    return status;
}
