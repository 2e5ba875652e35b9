/*
 * Goal: the threads that hash a log file's lines (`logs mine --jobs`) share nothing but what is read. Method: one file of seeded lines, read with
 * one job and with eight, under ThreadSanitizer: the same lines with the same signatures, in order.
 */
#include "cli/logs_input.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINES = 30000, JOBS = 8 };

static const char *const words[] = { "user %d in", "disk /dev/sd%d full", "GET /api/v%d 200", "{\"msg\":\"took %d ms\"}", "10.0.0.%d closed" };

static uint64_t read_all(const char *path, enum tsn_logs_format format, unsigned jobs, size_t *lines)
{
    struct tsn_logs_input in;
    uint64_t hash = 0;
    bool more = true;

    TSN_ASSERT(tsn_logs_open(&in, path, NULL) == TSN_OK);
    in.format = format;
    in.jobs = jobs;
    while (tsn_logs_next(&in, &more, NULL) == TSN_OK && more)
        for (size_t i = 0; i < in.lines.len; i++, ++*lines) {
            uint64_t pair[2] = { hash, in.lines.items[i].signature };

            hash = tsn_hash64(pair, sizeof pair);
        }
    tsn_logs_close(&in);
    return hash;
}

int main(void)
{
    int fd = memfd_create("lines", MFD_CLOEXEC), passed = 0;
    struct tsn_buf text = TSN_BUF_INIT;
    char path[64];

    for (int i = 0; i < LINES; i++) {
        tsn_buf_printf(&text, "2024-01-01 00:00:%02d INFO a.b: ", i % 60);
        tsn_buf_printf(&text, words[(size_t)i * 7 % TSN_ARRAY_LEN(words)], i % 251);
        tsn_buf_putc(&text, '\n');
    }
    TSN_ASSERT(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (int format = TSN_LOGS_RAW; format <= TSN_LOGS_JSON; format++) {
        size_t one = 0, many = 0;
        uint64_t a = read_all(path, (enum tsn_logs_format)format, 1, &one), b = read_all(path, (enum tsn_logs_format)format, JOBS, &many);

        passed += one == LINES && many == LINES && a == b;
    }
    tsn_buf_release(&text);
    close(fd);
    printf("%d passed, %d failed\n", passed, 3 - passed);
    return passed != 3;
}
