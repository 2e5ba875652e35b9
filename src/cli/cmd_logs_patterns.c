/*
 * cmd_logs_patterns: `tocsin logs patterns`, the log templates that DETECT found, from the compacted topic `templates`.
 *
 * Reads the topic from its beginning to its end, committed records only: the last record of a key stands, one without a value
 * deletes it, one that names a survivor in merged_into is no template any more. With --watch it is read again and again, and
 * the table shows how many lines came since.
 */
#include "cli/cli.h"
#include "cli/logs_live.h"
#include "tocsin/config.h"
#include "tocsin/kafka.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char about[] =
    "Prints the log templates that DETECT found, most frequent first: count, when first and last seen, service, level, text.\n"
    "Templates are mined for the services and levels that some rule selects template series of.\n\n"
    "Examples:\n"
    "  tocsin logs patterns --level ERROR\n"
    "  tocsin logs patterns --service billing --since 1h          seen in the last hour\n"
    "  tocsin logs patterns --new 30m --output json               discovered in the last half hour, with sample lines\n"
    "  tocsin logs patterns --watch\n";

enum { READ_MS = 20000, WATCH_MS = 2000 };

struct pattern {
    json_t *record; /* owned; NULL: deleted */
    const char *id, *service, *level, *text;
    int64_t count, first_ms, last_ms;
};

struct patterns_request {
    const char *config_file, *service, *level, *since, *discovered, *output;
    int64_t top;
    bool watch, json;
    int64_t since_ms, discovered_ms;
};

static const char *text_of(const json_t *record, const char *name)
{
    const char *text = json_string_value(json_object_get(record, name));

    return text ? text : "";
}

static int64_t time_of(const json_t *record, const char *name)
{
    const char *text = text_of(record, name);
    int64_t ms;

    return tsn_parse_rfc3339(text, strlen(text), &ms) ? ms : TSN_TIME_NONE;
}

/* ---- reading ------------------------------------------------------------------------------- */

static void pattern_free(struct pattern *p)
{
    if (p)
        json_decref(p->record);
    tsn_free(p);
}

static void patterns_release(struct tsn_map *patterns)
{
    tsn_map_foreach(patterns, e)
        pattern_free(e->value);
    tsn_map_release(patterns);
}

/* NULL if it is a merged one. */
static struct pattern *pattern_new(json_t *record)
{
    struct pattern *p;

    if (json_is_string(json_object_get(record, "merged_into")))
        return NULL;
    p = tsn_calloc(1, sizeof *p);
    *p = (struct pattern){ json_incref(record), text_of(record, "template"), text_of(record, "service"), text_of(record, "level"),
                           text_of(record, "text"), json_integer_value(json_object_get(record, "count")),
                           time_of(record, "first_seen"), time_of(record, "last_seen") };
    return p;
}

static enum tsn_err take_record(const struct tsn_message *m, struct tsn_map *patterns, struct tsn_error *error)
{
    json_error_t why;
    json_t *record;

    if (!m->key)
        return tsn_error_set(error, TSN_ERR_INVALID, "a record without a key");
    if (!m->value) {
        pattern_free(tsn_map_del(patterns, m->key, m->key_len));
        return TSN_OK;
    }
    record = json_loadb(m->value, m->value_len, 0, &why);
    if (!json_is_object(record)) {
        tsn_error_set(error, TSN_ERR_INVALID, "%s", record ? "no JSON object" : why.text);
        json_decref(record);
        return TSN_ERR_INVALID;
    }
    pattern_free(tsn_map_put(patterns, m->key, m->key_len, pattern_new(record)));
    json_decref(record);
    return TSN_OK;
}

/* A record that cannot be read is named on stderr and passed over. */
static enum tsn_err read_partition(const struct tsn_config *config, int32_t partition, struct tsn_map *patterns, struct tsn_error *error)
{
    const char *topic = config->topics.templates;
    struct tsn_reader *r = tsn_reader_new(config, topic, partition, TSN_OFFSET_BEGINNING, false, error);
    enum tsn_err err = r ? TSN_OK : error->code;
    struct tsn_message m;

    while (!err && !(err = tsn_reader_next(r, READ_MS, &m, error)))
        if (take_record(&m, patterns, error))
            fprintf(stderr, "tocsin logs patterns: %s/%d offset %lld: %s\n", topic, partition, (long long)m.offset, error->message);
    tsn_reader_free(&r);
    return err == TSN_ERR_NOT_FOUND ? TSN_OK : err;
}

static enum tsn_err read_patterns(const struct tsn_config *config, struct tsn_map *patterns, struct tsn_error *error)
{
    int32_t partitions = tsn_kafka_partition_count(config, config->topics.templates, error);
    enum tsn_err err = partitions < 0 ? error->code : TSN_OK;

    if (partitions == 0)
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s does not exist; tocsin topics apply makes it", config->topics.templates);
    for (int32_t p = 0; !err && p < partitions; p++)
        err = read_partition(config, p, patterns, error);
    return err;
}

/* ---- printing ------------------------------------------------------------------------------ */

static int by_count(const void *a, const void *b)
{
    const struct pattern *x = *(const struct pattern *const *)a, *y = *(const struct pattern *const *)b;

    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    if (x->first_ms != y->first_ms)
        return x->first_ms < y->first_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

static bool wanted(const struct patterns_request *r, const struct pattern *p)
{
    return p && (!r->service || strcmp(r->service, p->service) == 0) && (!r->level || strcmp(r->level, p->level) == 0) &&
           (!r->since || p->last_ms >= r->since_ms) && (!r->discovered || p->first_ms >= r->discovered_ms);
}

static void put_time(int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE)
        snprintf(text, sizeof text, "-");
    else
        tsn_format_rfc3339(text, ms);
    printf("%-19.19s  ", text);
}

/* What came from outside must not steer a terminal. */
static void put_clean(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
}

static void print_pattern(const struct pattern *p, const struct pattern *before)
{
    printf("%10" PRId64 " %8" PRId64 "  ", p->count, before ? p->count - before->count : 0);
    put_time(p->first_ms);
    put_time(p->last_ms);
    printf("%-5.5s  ", *p->level ? p->level : "-");
    put_clean(*p->service ? p->service : "-");
    printf("  %s  ", p->id);
    put_clean(p->text);
    putchar('\n');
}

static void print_patterns(const struct patterns_request *r, const struct tsn_map *patterns, const struct tsn_map *before)
{
    TSN_VEC(struct pattern *) rows = { 0 };

    tsn_map_foreach(patterns, e)
        if (wanted(r, e->value))
            tsn_vec_push(&rows, e->value);
    if (rows.len)
        qsort(rows.items, rows.len, sizeof *rows.items, by_count);
    if (!r->json)
        printf("%10s %8s  %-19s  %-19s  %-5s  %s\n", "COUNT", "SINCE", "FIRST SEEN", "LAST SEEN", "LEVEL", "SERVICE  ID  TEMPLATE");
    for (size_t i = 0; i < rows.len && (r->top == 0 || i < (size_t)r->top); i++) {
        const struct pattern *p = rows.items[i];
        struct tsn_buf key = TSN_BUF_INIT;

        tsn_buf_printf(&key, "%s/%s", p->service, p->id);
        if (r->json)
            json_dumpf(p->record, stdout, JSON_COMPACT);
        else
            print_pattern(p, tsn_map_get(before, key.data, key.len));
        if (r->json)
            putchar('\n');
        tsn_buf_release(&key);
    }
    if (!r->json)
        printf("%zu templates\n", rows.len);
    tsn_vec_release(&rows);
    fflush(stdout);
}

static enum tsn_err show(const struct patterns_request *r, const struct tsn_config *config, struct tsn_error *error)
{
    struct tsn_map before, now;
    enum tsn_err err;

    tsn_map_init(&before);
    for (;;) {
        struct timespec pause = { WATCH_MS / 1000, WATCH_MS % 1000 * 1000000 };

        tsn_map_init(&now);
        err = read_patterns(config, &now, error);
        if (!err && r->watch && !r->json)
            fputs("\033[H\033[2J", stdout);
        if (!err)
            print_patterns(r, &now, &before);
        patterns_release(&before);
        before = now;
        if (err || !r->watch || ferror(stdout))
            break;
        nanosleep(&pause, NULL);
    }
    patterns_release(&before);
    return err;
}

/* ---- command ------------------------------------------------------------------------------- */

static bool parse_request(struct patterns_request *r)
{
    r->json = strcmp(r->output, "json") == 0;
    if (!r->json && strcmp(r->output, "table") != 0) {
        fprintf(stderr, "tocsin logs patterns: --output is table or json\n");
        return false;
    }
    return (!r->since || tsn_cli_time("--since", r->since, &r->since_ms)) &&
           (!r->discovered || tsn_cli_time("--new", r->discovered, &r->discovered_ms));
}

int tsn_cmd_logs_patterns(int argc, char **argv)
{
    struct patterns_request r = { .config_file = "tocsin.yaml", .output = "table" };
    const struct tsn_option table[] = {
        { "config", TSN_OPT_TEXT, &r.config_file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "service", TSN_OPT_TEXT, &r.service, "NAME", "this service alone", 0, 0 },
        { "level", TSN_OPT_TEXT, &r.level, "LEVEL", "this level alone", 0, 0 },
        { "since", TSN_OPT_TEXT, &r.since, "TIME", "seen at this time or later", 0, 0 },
        { "new", TSN_OPT_TEXT, &r.discovered, "TIME", "first seen at this time or later", 0, 0 },
        { "top", TSN_OPT_INT, &r.top, "N", "rows; 0: all (default)", 0, 1000000 },
        { "watch", TSN_OPT_FLAG, &r.watch, NULL, "every two seconds, with what came since", 0, 0 },
        { "output", TSN_OPT_TEXT, &r.output, "table|json", "table (default) or json, the records as they are", 0, 0 },
    };
    int operands = tsn_cli_parse(argc, argv, table, TSN_ARRAY_LEN(table), "logs patterns [OPTIONS]", about);
    struct tsn_config config;
    struct tsn_error error;
    enum tsn_err err;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0 || !parse_request(&r))
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(r.config_file, &config))
        return TSN_EXIT_INVALID;
    err = show(&r, &config, &error);
    tsn_config_release(&config);
    if (!err)
        return TSN_EXIT_OK;
    fprintf(stderr, "tocsin logs patterns: %s\n", error.message);
    return err == TSN_ERR_UNREACHABLE || err == TSN_ERR_TIMEOUT ? TSN_EXIT_UNREACHABLE : TSN_EXIT_FAILED;
}
