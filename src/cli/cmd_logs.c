/*
 * logs: templates of log files on the command line. `logs mine` here, `logs diff` in cmd_logs_diff.c.
 *
 * mine reads once and writes after the end of input, as groups may merge until then: a row for each line, or --summary.
 * The lines of a stack trace are one event: each has its row, with the template of the whole; --follow prints its first line only.
 * With --follow rows come at once, with the id known then, and a record for each later merge:
 * "#merge<TAB>vanished id<TAB>surviving id".
 */
#include "cli/cli.h"
#include "cli/logs_book.h"
#include "cli/logs_input.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ABOUT_MINE                                                                                                  \
    "Finds the templates of a log: which lines say the same with other values.\n"                                    \
    "Writes line_no, template_id, template (tab-separated) for every line after the end of input.\n"                 \
    "Stack traces of Java, Python, Go and Node are joined: one event, counted once.\n\n"                             \
    "  raw      a line of text; a header (time, level, component) is found if there is one\n"                        \
    "  content  messages without header\n"                                                                           \
    "  json     the message of JSON, logfmt or syslog lines\n\n"                                                     \
    "Examples:\n"                                                                                                    \
    "  tocsin logs mine --summary /var/log/syslog\n"                                                                 \
    "  kubectl logs deploy/api | tocsin logs mine --format json --summary -\n"                                       \
    "  tail -F app.log | tocsin logs mine --follow -"

struct mine_options {
    const char *format, *config;
    bool follow, summary;
    int64_t jobs, top;
};

static void progress(const struct tsn_logs_input *in, const struct tsn_book *book, int64_t *next_ns, bool last)
{
    int64_t now = tsn_mono_now().ns;

    if (last) {
        fprintf(stderr, "\r\033[K");
        return;
    }
    if (now < *next_ns)
        return;
    *next_ns = now + 500000000;
    if (in->size)
        fprintf(stderr, "\r%3.0f %%  ", 100.0 * (double)in->bytes_read / (double)in->size);
    else
        fputc('\r', stderr);
    fprintf(stderr, "%" PRIu64 " lines, %" PRIu64 " templates\033[K", book->line_count,
            tsn_miner_stats(book->miner).templates);
}

/* The template of one line: a look-up if its signature is known, mining if not. */
static struct tsn_miner_result mine_line(struct tsn_logs_input *in, struct tsn_book *book,
                                         const struct tsn_logs_line *line)
{
    int64_t at = (int64_t)book->line_count + 1;
    struct tsn_miner_result result = tsn_miner_count(book->miner, 0, line->signature, 1, at);
    struct tsn_signature sig;

    if (result.ref != TSN_MINER_NONE)
        return result;
    sig = tsn_logs_signature(in, line);
    return tsn_miner_add(book->miner, 0, sig.hash, sig.text, sig.len, sig.pinned, 1, at);
}

static void print_followed(struct tsn_book *book, struct tsn_miner_result result, bool more)
{
    const struct tsn_miner_merge *merge;
    struct tsn_template t;
    size_t merges;

    merge = tsn_miner_merged(book->miner, &merges);
    for (size_t i = 0; i < merges; i++)
        printf("#merge\t%016" PRIx64 "\t%016" PRIx64 "\n", merge[i].from_id, merge[i].into_id);
    tsn_miner_merged_clear(book->miner);
    if (more)
        book->line_count++;
    else if (tsn_miner_get(book->miner, result.ref, &t))
        printf("%" PRIu64 "\t%016" PRIx64 "\t%s\n", ++book->line_count, t.id, t.text);
}

enum tsn_err tsn_logs_mine_all(struct tsn_logs_input *in, struct tsn_book *book, struct tsn_error *error)
{
    bool tty = isatty(STDERR_FILENO) && !in->follow, more;
    int64_t next_ns = tsn_mono_now().ns + 1000000000;
    struct tsn_miner_result result = { .ref = TSN_MINER_NONE };
    uint32_t entry = 0;
    enum tsn_err err;

    while ((err = tsn_logs_next(in, &more, error)) == TSN_OK && more) {
        for (size_t i = 0; i < in->lines.len; i++) {
            const struct tsn_logs_line *line = &in->lines.items[i];

            if (!line->more)
                result = mine_line(in, book, line);
            if (in->follow) {
                print_followed(book, result, line->more);
                continue;
            }
            if (!line->more)
                entry = tsn_book_entry(book, result);
            err = line->more ? tsn_book_more(book, entry, error) : tsn_book_line(book, entry, error);
            if (err != TSN_OK)
                return err;
        }
        if (in->follow && fflush(stdout) != 0)
            return tsn_error_set(error, TSN_ERR_IO, "output is closed");
        if (tty)
            progress(in, book, &next_ns, false);
    }
    if (tty)
        progress(in, book, &next_ns, true);
    return err;
}

/* ---- summary ------------------------------------------------------------------------------ */

struct ranked {
    uint64_t count, first_line;
    uint32_t entry;
};

static int by_count(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->first_line < y->first_line ? -1 : x->first_line > y->first_line;
}

/* Eight heights, the highest bar of the row being full; a blank where nothing was. */
static void sparkline(char *out, const uint32_t *bars, size_t used)
{
    uint32_t top = 1;

    for (size_t i = 0; i < used; i++)
        top = bars[i] > top ? bars[i] : top;
    for (size_t i = 0; i < used; i++)
        if (bars[i] == 0)
            *out++ = ' ';
        else
            out += tsn_utf8_encode(0x2581 + (uint32_t)((uint64_t)bars[i] * 7 / top), out);
    *out = '\0';
}

static void print_summary(struct tsn_book *book, int64_t top)
{
    const char **texts = tsn_book_texts(book);
    struct ranked *ranks = tsn_reallocarray(NULL, book->entries.len + 1, sizeof *ranks);
    size_t n = 0, used = (size_t)((book->line_count + (UINT64_C(1) << book->bar_shift) - 1) >> book->bar_shift);
    char spark[TSN_BOOK_BARS * 3 + 1];

    tsn_book_settle(book);
    for (uint32_t i = 0; i < book->entries.len; i++)
        if (tsn_book_find(book, i) == i)
            ranks[n++] = (struct ranked){ book->entries.items[i].count[0], book->entries.items[i].first_line, i };
    qsort(ranks, n, sizeof *ranks, by_count);
    printf("%10s %6s %10s  %-*s  %-16s  %s\n", "COUNT", "SHARE", "FIRST LINE", (int)used, "OVER TIME", "ID", "TEMPLATE");
    for (size_t i = 0; i < n && (top == 0 || i < (size_t)top); i++) {
        struct tsn_book_entry *e = &book->entries.items[ranks[i].entry];

        sparkline(spark, tsn_book_bars(book, e), used);
        printf("%10" PRIu64 " %5.1f%% %10" PRIu64 "  %s%*s  %016" PRIx64 "  %s\n", ranks[i].count,
               100.0 * (double)ranks[i].count / (double)book->line_count, ranks[i].first_line, spark,
               used < 9 ? (int)(9 - used) : 0, "", e->id, texts[ranks[i].entry]);
    }
    printf("%" PRIu64 " lines, %zu templates\n", book->line_count, n);
    tsn_free(ranks);
    tsn_free(texts);
}

/* ---- command ------------------------------------------------------------------------------ */

static int report(enum tsn_err err, const struct tsn_error *error)
{
    if (err == TSN_OK)
        return TSN_EXIT_OK;
    fprintf(stderr, "tocsin: %s\n", error->message);
    return TSN_EXIT_FAILED;
}

static void say_evicted(const struct tsn_book *book)
{
    struct tsn_miner_stats stats = tsn_miner_stats(book->miner);

    if (stats.evicted_templates)
        fprintf(stderr, "tocsin: limit met: %" PRIu64 " rare templates were forgotten on the way; their rows show <*>\n",
                stats.evicted_templates);
}

static int mine(const char *path, const struct mine_options *options)
{
    struct tsn_logs_input in;
    struct tsn_book book;
    struct tsn_error error;
    enum tsn_err err = tsn_logs_open(&in, path, &error);

    if (err != TSN_OK)
        return report(err, &error);
    if (!tsn_logs_configure(&in, options->config)) {
        tsn_logs_close(&in);
        return TSN_EXIT_INVALID;
    }
    tsn_logs_format_parse(options->format, &in.format);
    in.jobs = (unsigned)options->jobs;
    in.follow = options->follow;
    tsn_book_init(&book, !options->summary && !options->follow);
    err = tsn_logs_mine_all(&in, &book, &error);
    if (err == TSN_OK && options->summary)
        print_summary(&book, options->top);
    else if (err == TSN_OK && !options->follow)
        err = tsn_book_write_rows(&book, stdout, &error);
    say_evicted(&book);
    tsn_book_release(&book);
    tsn_logs_close(&in);
    return report(err, &error);
}

int tsn_cmd_logs_mine(int argc, char **argv)
{
    struct mine_options options = { .format = "raw", .jobs = 1 };
    const struct tsn_option table[] = {
        { "format", TSN_OPT_TEXT, &options.format, "FORMAT", "raw (default), content or json", 0, 0 },
        { "config", TSN_OPT_TEXT, &options.config, "FILE", "masks, pinned templates and secrets from its section logs", 0, 0 },
        { "summary", TSN_OPT_FLAG, &options.summary, NULL, "a table of templates by count", 0, 0 },
        { "top", TSN_OPT_INT, &options.top, "N", "rows of the summary; 0: all (default)", 0, 1000000 },
        { "follow", TSN_OPT_FLAG, &options.follow, NULL, "rows at once and merge records, for endless input", 0, 0 },
        { "jobs", TSN_OPT_INT, &options.jobs, "N", "threads that hash lines (default 1)", 1, TSN_LOGS_JOBS_MAX },
    };
    int operands = tsn_cli_parse(argc, argv, table, TSN_ARRAY_LEN(table), "logs mine [OPTIONS] FILE|-", ABOUT_MINE);
    enum tsn_logs_format format;

    if (operands < 0)
        return operands == -2 ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (operands != 1 || !tsn_logs_format_parse(options.format, &format) || (options.follow && options.summary)) {
        fprintf(stderr, "tocsin: %s; usage: tocsin logs mine [OPTIONS] FILE|-\n",
                operands != 1 ? "one FILE is needed, - for standard input"
                : options.follow && options.summary ? "--follow and --summary exclude each other"
                                                    : "--format is raw, content or json");
        return TSN_EXIT_USAGE;
    }
    return mine(argv[1], &options);
}
