/*
 * fuzz_shell_files: the first byte picks what the command line would read the rest as: a sample of series (check rules --sample), logs in each
 * of three formats (logs mine), a worker's metrics (status), an address of Redis. The metrics that our own exposition writes must be read back.
 */
#include "cli/exposition.h"
#include "cli/logs_book.h"
#include "cli/logs_input.h"
#include "cli/series_sample.h"
#include "store/store_int.h"
#include "tocsin/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void series(const uint8_t *data, size_t size)
{
    static const struct tsn_matcher every = { .op = TSN_MATCH_EQ, .name = "no_such_label", .name_len = 13, .value = "" };
    struct series_sample sample;
    struct tsn_error error = { 0 };
    FILE *in = stdin;

    if (!size)
        return;
    stdin = fmemopen((void *)(uintptr_t)data, size, "r");
    if (series_sample_read(&sample, "-", &error))
        TSN_ASSERT(series_sample_count(&sample, &every, 1) <= (int64_t)sample.series.len);
    else
        TSN_ASSERT(strncmp(error.message, "-:", 2) == 0);
    series_sample_release(&sample);
    fclose(stdin);
    stdin = in;
}

/* Every line that there is gets an entry, and the counts add up. */
static void logs(const uint8_t *data, size_t size, enum tsn_logs_format format)
{
    struct tsn_logs_input in;
    struct tsn_book book;
    struct tsn_error error;
    char path[64];
    uint64_t lines = 0;
    int fd = memfd_create("logs", MFD_CLOEXEC);

    TSN_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    TSN_ASSERT(tsn_logs_open(&in, path, &error) == TSN_OK);
    in.format = format;
    tsn_book_init(&book, true);
    TSN_ASSERT(tsn_logs_mine_all(&in, &book, &error) == TSN_OK);
    tsn_book_settle(&book);
    for (size_t i = 0; i < book.entries.len; i++)
        if (tsn_book_find(&book, (uint32_t)i) == i)
            lines += book.entries.items[i].count[0];
    TSN_ASSERT(lines == book.line_count && book.line_count <= size);
    tsn_book_release(&book);
    tsn_logs_close(&in);
    close(fd);
}

static void metrics(const uint8_t *data, size_t size)
{
    struct exposition all = { 0 };
    char *text = tsn_strndup((const char *)data, size);

    exposition_parse(text, &all);
    for (size_t i = 0; i < all.len; i++)
        TSN_ASSERT(exposed_same(&all.items[i], &all.items[i]) || all.items[i].label_count > 1); /* a name twice: its first counts */
    tsn_vec_release(&all);
    tsn_free(text);
}

/* A label value of any bytes is written by us and read as it was. */
static void metrics_round_trip(const uint8_t *data, size_t size)
{
    char *value = tsn_strndup((const char *)data, size < 200 ? size : 200);
    struct exposition all = { 0 };
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_puts(&text, "m{a=\"");
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"')
            tsn_buf_putc(&text, '\\');
        if (*c == '\n')
            tsn_buf_puts(&text, "\\n");
        else
            tsn_buf_putc(&text, *c);
    }
    tsn_buf_puts(&text, "\"} 1\n");
    exposition_parse(text.data, &all);
    TSN_ASSERT(all.len == 1 && strcmp(exposed_label(&all.items[0], "a"), value) == 0);
    tsn_vec_release(&all);
    tsn_buf_release(&text);
    tsn_free(value);
}

static void address(const uint8_t *data, size_t size)
{
    char *url = tsn_strndup((const char *)data, size), host[256];
    struct store_address at;
    struct tsn_error error = { 0 };
    int port;

    if (store_address_parse(url, &at, &error) == TSN_OK) {
        TSN_ASSERT(at.port > 0 && at.port < 65536 && at.db >= 0 && *at.host);
        store_address_release(&at);
    } else {
        TSN_ASSERT(*error.message);
    }
    if (store_host_port(url, strlen(url), 26379, host, &port))
        TSN_ASSERT(port > 0 && port < 65536);
    tsn_free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    switch (data[0] % 8) {
    case 0: series(data + 1, size - 1); break;
    case 1: logs(data + 1, size - 1, TSN_LOGS_RAW); break;
    case 2: logs(data + 1, size - 1, TSN_LOGS_CONTENT); break;
    case 3: logs(data + 1, size - 1, TSN_LOGS_JSON); break;
    case 4: address(data + 1, size - 1); break;
    default:
        metrics(data + 1, size - 1);
        metrics_round_trip(data + 1, size - 1);
        break;
    }
    return 0;
}
