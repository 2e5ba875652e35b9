/*
 * cmd_logs_diff: `tocsin logs diff`, which templates are new, gone or changed in rate: what an investigator asks first.
 *
 * Two files, or two stretches of event time of the live log (logs_live.h). Both sides are mined by one miner, so a template
 * is the same thing on both. A rate is compared with what was to be expected: for stretches of time by their lengths, for
 * files, whose lengths in time are not known, by the median ratio of the templates that both have (a flood of one template
 * then does not make all others look rarer). Changed is what is `--factor` off and no chance: counts vary as their square
 * root, so the distance is measured between square roots, in standard deviations, and 4 of them are asked.
 *
 * Order: new, more often, gone, less often; in each the surest first, of equals by first appearance.
 */
#include "cli/cli.h"
#include "cli/logs_book.h"
#include "cli/logs_input.h"
#include "cli/logs_live.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ABOUT                                                                                                            \
    "Which templates are new, gone, or changed in rate, between two files or two stretches of the live log.\n\n"        \
    "The live log is what INGEST saw of log events (topic samples). Without --base-from and --base-to the stretch is\n" \
    "compared with the equally long one before it. A time is RFC 3339, epoch seconds, or how long ago (90m).\n\n"       \
    "Examples:\n"                                                                                                        \
    "  tocsin logs diff before.log after.log\n"                                                                          \
    "  tocsin logs diff --format json yesterday.json today.json --output json\n"                                         \
    "  tocsin logs diff --from 30m --to 0s                        the last half hour against the one before\n"          \
    "  tocsin logs diff --service billing --from 2026-11-24T02:00:00Z --to 2026-11-24T02:30:00Z \\\n"                    \
    "      --base-from 2026-11-23T02:00:00Z --base-to 2026-11-23T02:30:00Z"

/* Below this many common templates a median says nothing; then all lines of both sides are compared. */
enum { MEDIAN_MIN = 5, SURE = 4 };

struct diff_options {
    const char *format, *output, *from, *to, *base_from, *base_to;
    struct tsn_logs_live live;
    int64_t jobs, top;
    double factor;
    bool all, json;
};

enum change { CHANGE_NEW, CHANGE_MORE, CHANGE_GONE, CHANGE_LESS, CHANGE_NONE, CHANGES };
static const char *const change_names[CHANGES] = { "new", "more", "gone", "less", "same" };

struct changed {
    enum change change;
    double sure;  /* standard deviations off what was to be expected */
    double ratio; /* of rates, after by before */
    uint64_t first;
    uint32_t entry;
};

/* ---- comparing ---------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* How many lines after stand for one before, where nothing changed. */
static double usual_ratio(struct tsn_book *book)
{
    double *ratios = tsn_reallocarray(NULL, book->entries.len + 1, sizeof *ratios), usual;
    size_t n = 0;

    for (uint32_t i = 0; i < book->entries.len; i++) {
        const uint64_t *count = book->entries.items[i].count;

        if (tsn_book_find(book, i) == i && count[0] >= 5 && count[1] >= 5)
            ratios[n++] = (double)count[1] / (double)count[0];
    }
    qsort(ratios, n, sizeof *ratios, by_value);
    if (n >= MEDIAN_MIN)
        usual = n % 2 ? ratios[n / 2] : (ratios[n / 2 - 1] + ratios[n / 2]) / 2;
    else
        usual = book->side_lines[0] && book->side_lines[1] ? (double)book->side_lines[1] / (double)book->side_lines[0] : 1;
    tsn_free(ratios);
    return usual;
}

static struct changed compare(const struct tsn_book_entry *e, double usual, double factor)
{
    double before = (double)e->count[0], after = (double)e->count[1];
    double off = 2 * (sqrt(after) - sqrt(usual * before)) / sqrt(1 + usual);
    struct changed c = { CHANGE_NONE, fabs(off), before > 0 ? after / (before * usual) : 0, e->first_line, 0 };

    if (e->count[0] == 0)
        c.change = CHANGE_NEW;
    else if (e->count[1] == 0)
        c.change = CHANGE_GONE;
    else if (c.sure >= SURE && c.ratio >= factor)
        c.change = CHANGE_MORE;
    else if (c.sure >= SURE && c.ratio * factor <= 1)
        c.change = CHANGE_LESS;
    return c;
}

static int by_interest(const void *a, const void *b)
{
    const struct changed *x = a, *y = b;

    if (x->change != y->change)
        return x->change < y->change ? -1 : 1;
    if (x->sure != y->sure)
        return x->sure > y->sure ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* ---- printing ----------------------------------------------------------------------------- */

static void print_head(const struct tsn_book *book)
{
    printf("%-6s %10s %10s %8s  %s%-16s  %s\n", "CHANGE", "BEFORE", "AFTER", "RATE", book->scoped ? "SERVICE LEVEL  " : "", "ID",
           "TEMPLATE");
}

static void format_ratio(char *out, size_t size, const struct changed *c)
{
    if (c->change == CHANGE_NEW || c->change == CHANGE_GONE)
        snprintf(out, size, "-");
    else if (c->ratio >= 1)
        snprintf(out, size, c->ratio < 100 ? "x%.1f" : "x%.0f", c->ratio);
    else
        snprintf(out, size, 1 / c->ratio < 100 ? "/%.1f" : "/%.0f", 1 / c->ratio);
}

static void print_row(const struct tsn_book *book, const struct changed *c, const struct tsn_template *t)
{
    const struct tsn_book_entry *e = &book->entries.items[c->entry];
    const char *service, *level;
    char ratio[32];

    format_ratio(ratio, sizeof ratio, c);
    printf("%-6s %10" PRIu64 " %10" PRIu64 " %8s  ", change_names[c->change], e->count[0], e->count[1], ratio);
    if (book->scoped) {
        tsn_miner_scope_name(book->miner, t->scope, &service, &level);
        printf("%s %s  ", *service ? service : "-", *level ? level : "-");
    }
    printf("%016" PRIx64 "  %s\n", e->id, t->text ? t->text : "<*>");
}

static void print_json(const struct tsn_book *book, const struct changed *c, const struct tsn_template *t)
{
    const struct tsn_book_entry *e = &book->entries.items[c->entry];
    struct tsn_buf out = TSN_BUF_INIT;
    const char *service, *level;

    tsn_buf_printf(&out, "{\"type\":\"template\",\"change\":\"%s\",\"id\":\"%016" PRIx64 "\",\"before\":%" PRIu64 ",\"after\":%" PRIu64,
                   change_names[c->change], e->id, e->count[0], e->count[1]);
    if (c->change != CHANGE_NEW)
        tsn_buf_printf(&out, ",\"ratio\":%.4g", c->ratio);
    if (book->scoped) {
        tsn_miner_scope_name(book->miner, t->scope, &service, &level);
        tsn_buf_puts(&out, ",\"service\":");
        tsn_buf_json_string(&out, service, strlen(service));
        tsn_buf_puts(&out, ",\"level\":");
        tsn_buf_json_string(&out, level, strlen(level));
    } else if (c->change == CHANGE_NEW) {
        tsn_buf_printf(&out, ",\"first_line\":%" PRIu64, e->first_line - book->side_lines[0]);
    }
    tsn_buf_puts(&out, ",\"template\":");
    tsn_buf_json_string(&out, t->text ? t->text : "<*>", t->text ? t->len : TSN_ARRAY_LEN("<*>") - 1);
    tsn_buf_puts(&out, "}");
    puts(tsn_buf_str(&out));
    tsn_buf_release(&out);
}

static void print_end(const struct tsn_book *book, const struct diff_options *o, const size_t *counts, double usual)
{
    printf(o->json ? "{\"type\":\"summary\",\"new\":%zu,\"more\":%zu,\"gone\":%zu,\"less\":%zu,\"same\":%zu,\"lines_before\":%" PRIu64
                     ",\"lines_after\":%" PRIu64 ",\"usual_ratio\":%.4g}\n"
                   : "%zu new, %zu more often, %zu gone, %zu less often, %zu as before; %" PRIu64 " lines before, %" PRIu64
                     " after (%.3g lines after are usual for one before)\n",
           counts[CHANGE_NEW], counts[CHANGE_MORE], counts[CHANGE_GONE], counts[CHANGE_LESS], counts[CHANGE_NONE],
           book->side_lines[0], book->side_lines[1], usual);
}

/* The templates of the roots, by entry; an evicted one stays zeroed. The caller frees. */
static struct tsn_template *templates_of(struct tsn_book *book)
{
    struct tsn_template *all = tsn_calloc(book->entries.len + 1, sizeof *all), t;
    uint32_t cursor = 0;

    while (tsn_miner_next(book->miner, &cursor, &t)) {
        uint32_t tag = *tsn_miner_tag(book->miner, t.ref);

        if (tag != TSN_MINER_NONE)
            all[tsn_book_find(book, tag)] = t;
    }
    return all;
}

static void print_diff(struct tsn_book *book, const struct diff_options *o, double usual)
{
    struct changed *rows = tsn_reallocarray(NULL, book->entries.len + 1, sizeof *rows);
    struct tsn_template *templates = templates_of(book);
    size_t n = 0, counts[CHANGES] = { 0 };

    for (uint32_t i = 0; i < book->entries.len; i++) {
        const struct tsn_book_entry *e = &book->entries.items[i];

        if (tsn_book_find(book, i) != i || e->count[0] + e->count[1] == 0)
            continue;
        rows[n] = compare(e, usual, o->factor);
        rows[n].entry = i;
        counts[rows[n++].change]++;
    }
    qsort(rows, n, sizeof *rows, by_interest);
    if (!o->json)
        print_head(book);
    for (size_t i = 0; i < n && (o->all || rows[i].change != CHANGE_NONE) && (o->top == 0 || i < (size_t)o->top); i++)
        (o->json ? print_json : print_row)(book, &rows[i], &templates[rows[i].entry]);
    print_end(book, o, counts, usual);
    tsn_free(rows);
    tsn_free(templates);
}

/* ---- the two sides ------------------------------------------------------------------------ */

static enum tsn_err read_side(struct tsn_book *book, unsigned side, const char *path, const struct diff_options *o,
                              struct tsn_error *error)
{
    struct tsn_logs_input in;
    enum tsn_err err = tsn_logs_open(&in, path, error);

    if (err != TSN_OK)
        return err;
    tsn_logs_format_parse(o->format, &in.format);
    in.jobs = (unsigned)o->jobs;
    book->side = side;
    err = tsn_logs_mine_all(&in, book, error);
    tsn_logs_close(&in);
    return err;
}

static int diff_files(const char *a, const char *b, const struct diff_options *o)
{
    struct tsn_error error;
    struct tsn_book book;
    enum tsn_err err;

    tsn_book_init(&book, false);
    err = read_side(&book, 0, a, o, &error);
    if (err == TSN_OK)
        err = read_side(&book, 1, b, o, &error);
    if (err == TSN_OK) {
        tsn_book_settle(&book);
        print_diff(&book, o, usual_ratio(&book));
    } else {
        fprintf(stderr, "tocsin logs diff: %s\n", error.message);
    }
    tsn_book_release(&book);
    return err == TSN_OK ? TSN_EXIT_OK : TSN_EXIT_FAILED;
}

static int diff_live(struct diff_options *o)
{
    struct tsn_logs_live *l = &o->live;
    struct tsn_error error;
    struct tsn_book book;
    enum tsn_err err;

    tsn_book_init(&book, false);
    err = tsn_logs_live_read(l, &book, &error);
    if (err == TSN_OK) {
        tsn_book_settle(&book);
        print_diff(&book, o, (double)(l->to_ms[1] - l->from_ms[1]) / (double)(l->to_ms[0] - l->from_ms[0]));
        if (l->unnamed)
            fprintf(stderr, "tocsin logs diff: %" PRIu64 " lines have signatures that are announced before the oldest record\n",
                    l->unnamed);
    } else {
        fprintf(stderr, "tocsin logs diff: %s\n", error.message);
    }
    tsn_book_release(&book);
    return err == TSN_OK ? TSN_EXIT_OK : err == TSN_ERR_UNREACHABLE || err == TSN_ERR_TIMEOUT ? TSN_EXIT_UNREACHABLE : TSN_EXIT_FAILED;
}

/* ---- command ------------------------------------------------------------------------------ */

/* False after saying what is wrong with a time. */
static bool parse_ranges(struct diff_options *o)
{
    struct tsn_logs_live *l = &o->live;

    if (!tsn_cli_time("--from", o->from, &l->from_ms[1]) || !tsn_cli_time("--to", o->to ? o->to : "0s", &l->to_ms[1]))
        return false;
    l->to_ms[0] = l->from_ms[1];
    l->from_ms[0] = 2 * l->from_ms[1] - l->to_ms[1];
    if ((o->base_from && !tsn_cli_time("--base-from", o->base_from, &l->from_ms[0])) ||
        (o->base_to && !tsn_cli_time("--base-to", o->base_to, &l->to_ms[0])))
        return false;
    if (l->from_ms[0] < l->to_ms[0] && l->from_ms[1] < l->to_ms[1])
        return true;
    fprintf(stderr, "tocsin logs diff: a stretch ends before it begins\n");
    return false;
}

static int usage_error(const char *what)
{
    fprintf(stderr, "tocsin logs diff: %s; usage: tocsin logs diff [OPTIONS] A B, or --from T1 --to T2\n", what);
    return TSN_EXIT_USAGE;
}

int tsn_cmd_logs_diff(int argc, char **argv)
{
    struct diff_options o = { .format = "raw", .output = "table", .jobs = 1, .factor = 2, .live = { .config_file = "tocsin.yaml" } };
    const struct tsn_option table[] = {
        { "format", TSN_OPT_TEXT, &o.format, "FORMAT", "of files: raw (default), content or json", 0, 0 },
        { "from", TSN_OPT_TEXT, &o.from, "TIME", "the live log, from here …", 0, 0 },
        { "to", TSN_OPT_TEXT, &o.to, "TIME", "… to here, exclusive (default: now)", 0, 0 },
        { "base-from", TSN_OPT_TEXT, &o.base_from, "TIME", "what it is compared with, from here …", 0, 0 },
        { "base-to", TSN_OPT_TEXT, &o.base_to, "TIME", "… to here (default: the equally long stretch before)", 0, 0 },
        { "service", TSN_OPT_TEXT, &o.live.service, "NAME", "of the live log: this service alone", 0, 0 },
        { "level", TSN_OPT_TEXT, &o.live.level, "LEVEL", "of the live log: this level alone", 0, 0 },
        { "factor", TSN_OPT_DOUBLE, &o.factor, "X", "a rate changed if it is X times as high or as low (default 2)", 0, 0 },
        { "all", TSN_OPT_FLAG, &o.all, NULL, "what did not change, too", 0, 0 },
        { "top", TSN_OPT_INT, &o.top, "N", "rows; 0: all (default)", 0, 1000000 },
        { "jobs", TSN_OPT_INT, &o.jobs, "N", "threads that hash lines (default 1)", 1, TSN_LOGS_JOBS_MAX },
        { "config", TSN_OPT_TEXT, &o.live.config_file, "FILE", "of the live log: the configuration (default tocsin.yaml)", 0, 0 },
        { "output", TSN_OPT_TEXT, &o.output, "table|json", "table (default) or json, a line a template", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, table, TSN_ARRAY_LEN(table), "logs diff [OPTIONS] A B | --from T1 --to T2", ABOUT);
    enum tsn_logs_format format;

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (!tsn_logs_format_parse(o.format, &format))
        return usage_error("--format is raw, content or json");
    o.json = strcmp(o.output, "json") == 0;
    if (!o.json && strcmp(o.output, "table") != 0)
        return usage_error("--output is table or json");
    if (!(o.factor >= 1))
        return usage_error("--factor is at least 1");
    if (operands == (o.from ? 0 : 2))
        return o.from ? parse_ranges(&o) ? diff_live(&o) : TSN_EXIT_USAGE : diff_files(argv[1], argv[2], &o);
    return usage_error(o.from ? "a range of the live log excludes files" : "two files are needed");
}
