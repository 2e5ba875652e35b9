/* logs_input: see logs_input.h. */
#include "cli/logs_input.h"

#include "cli/cli.h"
#include "tocsin/config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Large enough that reads cost nothing beside hashing, small enough to stay in the second-level cache. */
#define BLOCK_BYTES (512u << 10)

bool tsn_logs_format_parse(const char *text, enum tsn_logs_format *out)
{
    static const char *const names[] = { "raw", "content", "json" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++)
        if (strcmp(names[i], text) == 0) {
            *out = (enum tsn_logs_format)i;
            return true;
        }
    return false;
}

enum tsn_err tsn_logs_open(struct tsn_logs_input *in, const char *path, struct tsn_error *error)
{
    struct stat st;

    memset(in, 0, sizeof *in);
    in->path = strcmp(path, "-") == 0 ? "standard input" : path;
    in->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    in->jobs = 1;
    if (in->fd < 0)
        return tsn_error_set(error, TSN_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(in->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(in->fd);
        in->fd = -1;
        return tsn_error_set(error, TSN_ERR_IO, "%s: is a directory", path);
    }
    in->size = fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
    in->data = tsn_alloc(BLOCK_BYTES);
    return TSN_OK;
}

bool tsn_logs_configure(struct tsn_logs_input *in, const char *config_file)
{
    struct tsn_config config;
    struct tsn_error error;

    if (!config_file)
        return true;
    if (!tsn_cli_load_config(config_file, &config))
        return false;
    (void)tsn_pattern_config_read(&config, &in->config, &error); /* loading has proved it */
    tsn_config_release(&config);
    return true;
}

void tsn_logs_close(struct tsn_logs_input *in)
{
    if (in->fd > STDIN_FILENO)
        close(in->fd);
    in->fd = -1;
    tsn_free(in->data);
    in->data = NULL;
    tsn_vec_release(&in->lines);
    for (size_t i = 0; i < TSN_LOGS_JOBS_MAX; i++) {
        tsn_buf_release(&in->scratch[i]);
        tsn_buf_release(&in->unescaped[i]);
        tsn_buf_release(&in->trace[i]);
        tsn_buf_release(&in->redacted[i]);
        tsn_pattern_memo_free(&in->memos[i]);
    }
    tsn_pattern_config_free(&in->config);
}

/* The message of a JSON, logfmt or syslog line; of plain lines, all that were joined. */
static struct tsn_text extracted(struct tsn_logs_input *in, unsigned job, const struct tsn_logs_line *line)
{
    const char *newline = line->joined ? memchr(line->text, '\n', line->len) : NULL;
    size_t first = newline ? (size_t)(newline - line->text) : line->len;
    struct tsn_log_fields fields;

    if (tsn_log_extract(line->text, first, &fields, &in->unescaped[job]) == TSN_LOG_FORMAT_PLAIN)
        fields.message.len += line->len - first;
    return tsn_trace_text(fields.message.data, fields.message.len, &in->trace[job]);
}

static struct tsn_text whole_message(struct tsn_logs_input *in, unsigned job, const struct tsn_logs_line *line)
{
    size_t skip;

    if (in->format == TSN_LOGS_JSON)
        return extracted(in, job, line);
    skip = in->format == TSN_LOGS_RAW ? tsn_header_skip(&in->header, line->text, line->len) : 0;
    if (line->joined)
        return tsn_trace_text(line->text + skip, line->len - skip, &in->trace[job]);
    return (struct tsn_text){ line->text + skip, line->len - skip };
}

/* What of a line counts: its text behind the header, or the message in it, without configured secrets. */
static struct tsn_text message_of(struct tsn_logs_input *in, unsigned job, const struct tsn_logs_line *line)
{
    struct tsn_text message = whole_message(in, job, line);

    if (!in->config)
        return message;
    return tsn_pattern_redact(in->config, message.data, message.len, TSN_PATTERN_SCAN_MAX, &in->redacted[job]);
}

struct tsn_signature tsn_logs_signature(struct tsn_logs_input *in, const struct tsn_logs_line *line)
{
    struct tsn_text message = message_of(in, 0, line);

    return tsn_pattern_signature(in->config, message.data, message.len, &in->scratch[0]);
}

/* ---- hashing ------------------------------------------------------------------------------ */

struct job {
    struct tsn_logs_input *in;
    unsigned number;
    size_t from, to;
    pthread_t thread;
};

static void *hash_lines(void *arg)
{
    struct job *job = arg;
    struct tsn_pattern_memo *memo = job->in->memos[job->number];

    for (size_t i = job->from; i < job->to; i++) {
        struct tsn_logs_line *line = &job->in->lines.items[i];
        struct tsn_text message;

        if (line->more)
            continue;
        message = message_of(job->in, job->number, line);
        line->signature = tsn_pattern_memo_hash(memo, message.data, message.len, &job->in->scratch[job->number]);
    }
    return NULL;
}

static void hash_block(struct tsn_logs_input *in)
{
    struct job jobs[TSN_LOGS_JOBS_MAX];
    size_t n = in->lines.len;
    unsigned count = in->jobs > 1 && n >= 1000 ? in->jobs : 1, started = 0;

    for (unsigned j = 0; j < count; j++)
        if (!in->memos[j])
            in->memos[j] = tsn_pattern_memo_new(in->config);
    for (unsigned j = 0; j < count; j++)
        jobs[j] = (struct job){ .in = in, .number = j, .from = n * j / count, .to = n * (j + 1) / count };
    while (started + 1 < count && pthread_create(&jobs[started].thread, NULL, hash_lines, &jobs[started]) == 0)
        started++;
    for (unsigned j = started; j < count; j++)
        hash_lines(&jobs[j]);
    for (unsigned j = 0; j < started; j++)
        pthread_join(jobs[j].thread, NULL);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void push_line(struct tsn_logs_input *in, const char *text, size_t len)
{
    struct tsn_logs_line line = { .text = text, .len = (uint32_t)len };

    tsn_vec_push(&in->lines, line);
}

/* Cuts the bytes held into lines. A full block without an end of line is the head of a giant one: it counts, and
 * the rest of it is skipped. */
static void cut_lines(struct tsn_logs_input *in)
{
    const char *p = in->data, *end = in->data + in->len, *newline;

    if (in->skipping) {
        newline = memchr(p, '\n', in->len);
        if (!newline) {
            in->start = in->len;
            return;
        }
        in->skipping = false;
        p = newline + 1;
    }
    while ((newline = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        push_line(in, p, (size_t)(newline - p));
        p = newline + 1;
    }
    if (p < end && (in->end || (in->lines.len == 0 && in->len == BLOCK_BYTES))) {
        push_line(in, p, (size_t)(end - p));
        in->skipping = !in->end;
        p = end;
    }
    in->start = (size_t)(p - in->data);
}

/* From lines that may begin an event: those of traces have no header, however many they are. */
static void learn_header(struct tsn_logs_input *in)
{
    struct tsn_text sample[TSN_HEADER_SAMPLE];
    struct tsn_join join = { .strict = false };
    size_t n = 0;

    if (in->format == TSN_LOGS_RAW) {
        for (size_t i = 0; i < in->lines.len && n < TSN_HEADER_SAMPLE; i++)
            if (!tsn_join_continues(&join, in->lines.items[i].text, in->lines.items[i].len))
                sample[n++] = (struct tsn_text){ in->lines.items[i].text, in->lines.items[i].len };
        tsn_header_learn(&in->header, sample, n);
    }
    in->learned = true;
}

/* Whether the line belongs to the event before it. In JSON and behind a header an event says that it is one. */
static bool continues(struct tsn_logs_input *in, const struct tsn_logs_line *line)
{
    bool begins;

    if (!tsn_join_continues(&in->join, line->text, line->len))
        return false;
    begins = in->format == TSN_LOGS_JSON ? line->len && *line->text == '{' : tsn_header_skip(&in->header, line->text, line->len) > 0;
    if (begins)
        tsn_join_start(&in->join, line->text, line->len);
    return !begins;
}

/* Marks the lines that continue others. What may go on in the next block waits for it, unless it fills this one. */
static void join_lines(struct tsn_logs_input *in)
{
    struct tsn_logs_line *head = NULL;

    in->join.strict = in->format == TSN_LOGS_CONTENT || (in->format == TSN_LOGS_RAW && !in->header.found);
    for (size_t i = 0; i < in->lines.len; i++) {
        struct tsn_logs_line *line = &in->lines.items[i];

        line->more = continues(in, line);
        if (line->more && head) {
            head->len = (uint32_t)(line->text + line->len - head->text);
            head->joined = true;
        } else if (!line->more) {
            head = line;
        }
    }
    if (!head || in->end || in->follow || head == in->lines.items)
        return;
    in->start = (size_t)(head->text - in->data);
    in->lines.len = (size_t)(head - in->lines.items);
    in->join.lines = 0; /* what waits begins an event, whatever it looks like */
}

/* Reads until the block is full, the input ends, or (following) something is there. */
static enum tsn_err fill(struct tsn_logs_input *in, struct tsn_error *error)
{
    size_t had = in->len;

    while (in->len < BLOCK_BYTES && !in->end) {
        ssize_t got = read(in->fd, in->data + in->len, BLOCK_BYTES - in->len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tsn_error_set(error, TSN_ERR_IO, "%s: %s", in->path, strerror(errno));
        in->len += (size_t)got;
        in->bytes_read += (uint64_t)got;
        if (got == 0 && in->follow && in->fd != STDIN_FILENO) {
            if (in->len > had)
                break;
            usleep(200000); /* what a person does not notice */
            continue;
        }
        in->end = got == 0;
        if (in->follow)
            break;
    }
    return TSN_OK;
}

enum tsn_err tsn_logs_next(struct tsn_logs_input *in, bool *more, struct tsn_error *error)
{
    enum tsn_err err;

    tsn_vec_clear(&in->lines);
    while (in->lines.len == 0 && !(in->end && in->start == in->len)) {
        memmove(in->data, in->data + in->start, in->len - in->start);
        in->len -= in->start;
        in->start = 0;
        err = fill(in, error);
        if (err != TSN_OK)
            return err;
        cut_lines(in);
    }
    if (in->lines.len && !in->learned)
        learn_header(in);
    join_lines(in);
    hash_block(in);
    *more = in->lines.len > 0;
    return TSN_OK;
}
