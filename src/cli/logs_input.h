/*
 * logs_input: a log file or stream as blocks of lines with the hash of each line's signature.
 *
 * Memory: one block. A line longer than a block's room counts once, by its head. Lines end with \n; the last may do
 * without. Used by `tocsin logs mine` and `tocsin logs diff`.
 *
 * Concurrency: with jobs > 1 the lines of a block are hashed by that many threads, each its own range, joined before the
 * block is handed out; no other state is shared.
 */
#ifndef TOCSIN_CLI_LOGS_INPUT_H
#define TOCSIN_CLI_LOGS_INPUT_H

#include "tocsin/patterns.h"

#define TSN_LOGS_JOBS_MAX 64

enum tsn_logs_format { TSN_LOGS_RAW, TSN_LOGS_CONTENT, TSN_LOGS_JSON };

struct tsn_logs_line {
    const char *text;
    uint32_t len;       /* with the lines that continue it, as far as they are in the block */
    bool joined, more;  /* some continue it; it continues the one before, perhaps of the last block, and has no signature */
    uint64_t signature;
};

struct tsn_logs_input {
    const char *path;
    int fd;
    enum tsn_logs_format format;
    struct tsn_pattern_config *config; /* owned; NULL: the defaults */
    unsigned jobs;
    bool follow; /* hand out what is there, wait for more at the end of a file */
    char *data;
    size_t len, start; /* bytes held; where the lines not yet handed out begin */
    bool end, skipping, learned;
    struct tsn_log_header header;
    struct tsn_join join;
    TSN_VEC(struct tsn_logs_line) lines;
    struct tsn_pattern_memo *memos[TSN_LOGS_JOBS_MAX]; /* as far as jobs went */
    struct tsn_buf scratch[TSN_LOGS_JOBS_MAX], unescaped[TSN_LOGS_JOBS_MAX], trace[TSN_LOGS_JOBS_MAX], redacted[TSN_LOGS_JOBS_MAX];
    uint64_t bytes_read;
    int64_t size; /* of the file, for progress; 0: unknown */
};

/* "raw", "content", "json". */
bool tsn_logs_format_parse(const char *text, enum tsn_logs_format *out);
/* Opens `path`, "-" being standard input. Set format, config, jobs, follow after it, before the first block. */
enum tsn_err tsn_logs_open(struct tsn_logs_input *in, const char *path, struct tsn_error *error);
/* Section `logs` of a configuration file (NULL: none) for in->config. False after printing why. */
bool tsn_logs_configure(struct tsn_logs_input *in, const char *config_file);
void tsn_logs_close(struct tsn_logs_input *in);
/* Fills in->lines with the next block (valid until the next call). *more is false at the end. */
enum tsn_err tsn_logs_next(struct tsn_logs_input *in, bool *more, struct tsn_error *error);
/* The signature of one line of the block, with its text. */
struct tsn_signature tsn_logs_signature(struct tsn_logs_input *in, const struct tsn_logs_line *line);

#endif
