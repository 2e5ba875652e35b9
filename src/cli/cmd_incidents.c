/*
 * cmd_incidents: `tocsin incidents list|show|watch|ack|resolve|escalate`.
 *
 * list and show read Redis (or topic `respond`); watch follows topic `incidents`; the others produce a command and wait for the owner's answer: nobody
 * but the owner changes an incident.
 */
#include "cli/cli.h"
#include "cli/incidents_source.h"
#include "tocsin/codec.h"
#include "tocsin/kafka.h"
#include "tocsin/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { FLUSH_MS = 10000, ANSWER_STEP_MS = 50, WATCH_STEP_MS = 200, MAX_PARTITIONS = 256 };

static int exit_of(const struct tsn_error *error)
{
    fprintf(stderr, "tocsin incidents: %s\n", error->message);
    switch (error->code) {
    case TSN_ERR_INVALID: return TSN_EXIT_INVALID;
    case TSN_ERR_UNREACHABLE:
    case TSN_ERR_TIMEOUT: return TSN_EXIT_UNREACHABLE;
    default: return TSN_EXIT_FAILED;
    }
}

static void sleep_ms(int ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

/* -1 after saying what is wrong. */
static int parse_output(const char *text)
{
    if (strcmp(text, "table") == 0 || strcmp(text, "json") == 0)
        return strcmp(text, "json") == 0;
    fprintf(stderr, "tocsin incidents: --output is table or json\n");
    return -1;
}

/* ---- printing ------------------------------------------------------------------------------ */

/* Whole seconds as a duration: 1h30m; "-" for none. */
static const char *since(char text[TSN_DURATION_TEXT], int64_t from_ms, int64_t now_ms)
{
    if (from_ms == TSN_TIME_NONE)
        return "-";
    tsn_format_duration(text, now_ms > from_ms ? (now_ms - from_ms) / 1000 * 1000 : 0);
    return text;
}

static void print_time(const char *name, int64_t ms)
{
    char text[TSN_RFC3339_TEXT];

    if (ms == TSN_TIME_NONE)
        return;
    tsn_format_rfc3339(text, ms);
    printf("%-14s %s\n", name, text);
}

static size_t firing(const struct tsn_incident *in)
{
    size_t n = 0;

    for (size_t i = 0; i < in->alert_count; i++)
        n += in->alerts[i].state == TSN_ALERT_FIRING;
    return n;
}

static void print_services(const struct tsn_incident *in, struct tsn_buf *out)
{
    tsn_buf_reset(out);
    for (size_t i = 0; i < in->service_count; i++)
        tsn_buf_printf(out, "%s%s", i ? "," : "", in->services[i]);
    if (!in->service_count)
        tsn_buf_putc(out, '-');
}

/* What came from outside must not steer a terminal. */
static void clean(struct tsn_buf *text)
{
    for (size_t i = 0; i < text->len; i++)
        if ((unsigned char)text->data[i] < 0x20 || text->data[i] == 0x7f)
            text->data[i] = ' ';
}

static void print_row(const struct tsn_incident *in, int64_t now_ms, struct tsn_buf *text)
{
    char age[TSN_DURATION_TEXT];

    print_services(in, text);
    clean(text);
    printf("%-20s  %d  L%d  %-12s  %-10s  %3zu/%-3zu  %-24.40s  ", in->incident_id, (int)in->severity, (int)in->level,
           tsn_incident_state_name(in->state), since(age, in->opened_at_ms, now_ms), firing(in), in->alert_count, tsn_buf_str(text));
    tsn_buf_reset(text);
    tsn_buf_puts(text, in->title);
    clean(text);
    printf("%s\n", tsn_buf_str(text));
}

static void print_json(const struct tsn_incident *in)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_codec_incident_encode(in, TSN_FORM_JSON, &out);
    puts(tsn_buf_str(&out));
    tsn_buf_release(&out);
}

static void print_texts(char *const *lines, size_t count, const char *before, struct tsn_buf *text)
{
    for (size_t i = 0; i < count; i++) {
        tsn_buf_reset(text);
        tsn_buf_puts(text, lines[i]);
        clean(text);
        printf("%s%s\n", before, tsn_buf_str(text));
    }
}

/* What the rule's author wrote for who is woken; the summary is the title already. */
static void print_annotations(const struct tsn_incident_alert *a, struct tsn_buf *text)
{
    for (uint32_t i = 0; a->annotations && i < a->annotations->count; i++) {
        const struct tsn_label *l = &a->annotations->items[i];

        if (l->name_len == 7 && memcmp(l->name, "summary", 7) == 0)
            continue;
        tsn_buf_reset(text);
        tsn_buf_printf(text, "%.*s: %.*s", (int)l->name_len, l->name, (int)l->value_len, l->value);
        clean(text);
        printf("            %s\n", tsn_buf_str(text));
    }
}

static void print_alerts(const struct tsn_incident *in)
{
    struct tsn_buf text = TSN_BUF_INIT;

    for (size_t i = 0; i < in->alert_count; i++) {
        const struct tsn_incident_alert *a = &in->alerts[i];

        tsn_buf_reset(&text);
        tsn_labels_format(&text, a->labels);
        clean(&text);
        printf("  %-9s %s%s%s%s\n", tsn_alert_state_name(a->state), tsn_buf_str(&text), a->state == TSN_ALERT_FIRING ? "" : " (",
               a->state == TSN_ALERT_FIRING ? "" : tsn_end_reason_name(a->end_reason), a->state == TSN_ALERT_FIRING ? "" : ")");
        print_annotations(a, &text);
        print_texts(a->templates, a->template_count, "          ≈ ", &text);
        print_texts(a->sample_lines, a->sample_line_count, "            ", &text);
    }
    tsn_buf_release(&text);
}

static void print_whole(const struct tsn_incident *in)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tsn_buf_puts(&text, in->title);
    clean(&text);
    printf("%s  %s\n", in->incident_id, tsn_buf_str(&text));
    print_services(in, &text);
    clean(&text);
    printf("%-14s %s, Sev %d, level L%d, version %lld\n", "state", tsn_incident_state_name(in->state), (int)in->severity, (int)in->level,
           (long long)in->version);
    printf("%-14s %s\n%-14s %s\n", "group", in->group_key, "services", tsn_buf_str(&text));
    if (in->commander)
        printf("%-14s %s\n", "commander", in->commander);
    if (in->acknowledged_by)
        printf("%-14s %s\n", "acknowledged", in->acknowledged_by);
    print_time("opened", in->opened_at_ms);
    print_time("acknowledged", in->acknowledged_at_ms);
    print_time("respond by", in->respond_by_ms);
    print_time("breached", in->respond_breached_at_ms);
    print_time("resolve by", in->resolve_by_ms);
    print_time("breached", in->resolve_breached_at_ms);
    print_time("resolved", in->resolved_at_ms);
    print_time("next due", in->escalate_at_ms);
    printf("alerts         %zu firing of %zu, reopened %d times\n", firing(in), in->alert_count, (int)in->reopen_count);
    print_alerts(in);
    tsn_buf_release(&text);
}

/* ---- list and show -------------------------------------------------------------------------- */

int tsn_cmd_incidents_list(int argc, char **argv)
{
    static const char about[] = "Incidents that are held: open ones first, worst first. Resolved ones are held for the reopen window.\n\n"
                                "Examples:\n"
                                "  tocsin incidents list\n"
                                "  tocsin incidents list --all --output json | jq .incident_id\n"
                                "  tocsin incidents list --from-topic      without Redis\n";
    const char *file = "tocsin.yaml", *output = "table";
    bool all = false, from_topic = false;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "all", TSN_OPT_FLAG, &all, NULL, "resolved ones too", 0, 0 },
        { "from-topic", TSN_OPT_FLAG, &from_topic, NULL, "read topic respond instead of Redis", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "json: one object a line", 0, 0 },
    };
    struct tsn_buf text = TSN_BUF_INIT;
    struct incident_list list;
    struct tsn_config config;
    struct tsn_error error = { 0 };
    int n = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "incidents list [OPTIONS]", about), json;
    int64_t now_ms = tsn_wall_now().ms;

    if (n == -2)
        return TSN_EXIT_OK;
    if (n != 0 || (json = parse_output(output)) < 0)
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    n = incident_list_read(&config, from_topic, &list, &error) ? exit_of(&error) : TSN_EXIT_OK;
    if (n == TSN_EXIT_OK && !json)
        printf("%-20s SEV LVL %-12s  %-10s  %7s  %-24s  %s\n", "INCIDENT", "STATE", "AGE", "FIRING", "SERVICES", "TITLE");
    for (size_t i = 0; n == TSN_EXIT_OK && i < list.len; i++) {
        if (list.items[i].pub.state == TSN_INCIDENT_RESOLVED && !all)
            continue;
        if (json)
            print_json(&list.items[i].pub);
        else
            print_row(&list.items[i].pub, now_ms, &text);
    }
    incident_list_release(&list);
    tsn_buf_release(&text);
    tsn_config_release(&config);
    return n;
}

int tsn_cmd_incidents_show(int argc, char **argv)
{
    static const char about[] = "One incident with its alerts, deadlines and sample lines.\n\n"
                                "Examples:\n"
                                "  tocsin incidents show inc-1cc77aaf985414e0\n"
                                "  tocsin incidents show inc-1cc77aaf985414e0 --output json\n";
    const char *file = "tocsin.yaml", *output = "table";
    bool from_topic = false;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "from-topic", TSN_OPT_FLAG, &from_topic, NULL, "read topic respond instead of Redis", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the answer", 0, 0 },
    };
    struct incident_list list;
    struct tsn_config config;
    struct tsn_error error = { 0 };
    int n = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "incidents show [OPTIONS] INCIDENT", about), json;
    const struct tsn_incident *found = NULL;

    if (n == -2)
        return TSN_EXIT_OK;
    if (n != 1 || (json = parse_output(output)) < 0) {
        if (n >= 0 && n != 1)
            fprintf(stderr, "tocsin incidents show: which one? `tocsin incidents list` names them\n");
        return TSN_EXIT_USAGE;
    }
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    n = incident_list_read(&config, from_topic, &list, &error) ? exit_of(&error) : TSN_EXIT_OK;
    for (size_t i = 0; n == TSN_EXIT_OK && i < list.len; i++)
        if (strcmp(list.items[i].pub.incident_id, argv[1]) == 0)
            found = &list.items[i].pub;
    if (found && json)
        print_json(found);
    else if (found)
        print_whole(found);
    else if (n == TSN_EXIT_OK) {
        fprintf(stderr, "tocsin incidents show: no incident %s is held\n", argv[1]);
        n = TSN_EXIT_FAILED;
    }
    incident_list_release(&list);
    tsn_config_release(&config);
    return n;
}

/* ---- watch ---------------------------------------------------------------------------------- */

static void print_event(const struct tsn_incident_event *e, bool json)
{
    struct tsn_buf text = TSN_BUF_INIT;
    char time[TSN_RFC3339_TEXT];

    if (json) {
        tsn_codec_incident_event_encode(e, TSN_FORM_JSON, &text);
        puts(tsn_buf_str(&text));
    } else {
        tsn_format_rfc3339(time, e->event_time_ms);
        tsn_buf_puts(&text, e->reason);
        clean(&text);
        printf("%s  %s:%-3lld %-12s Sev %d L%d %-12s %s: %s\n", time, e->snapshot.incident_id, (long long)e->seq,
               tsn_incident_event_type_name(e->type), (int)e->snapshot.severity, (int)e->snapshot.level,
               tsn_incident_state_name(e->snapshot.state), e->actor, tsn_buf_str(&text));
    }
    fflush(stdout);
    tsn_buf_release(&text);
}

static void take_event(const struct tsn_message *m, bool json)
{
    enum tsn_codec_form form = m->value_len && *(const char *)m->value == '{' ? TSN_FORM_JSON : TSN_FORM_AVRO;
    struct tsn_incident_event e;
    struct tsn_error error = { 0 };

    if (tsn_codec_incident_event_decode(m->value, m->value_len, form, &e, &error)) {
        fprintf(stderr, "tocsin incidents watch: offset %lld: %s\n", (long long)m->offset, error.message);
        return;
    }
    print_event(&e, json);
    tsn_incident_event_release(&e);
}

/* Until `count` events are printed (0: for ever). Order is that of each incident: one incident stays on one partition. */
static enum tsn_err watch(const struct tsn_config *config, bool from_beginning, int64_t count, bool json, struct tsn_error *error)
{
    int32_t partitions = tsn_kafka_partition_count(config, config->topics.incidents, error);
    struct tsn_reader *readers[MAX_PARTITIONS] = { NULL };
    enum tsn_err err = partitions < 0 ? error->code : TSN_OK;
    int64_t seen = 0;

    if (!err && (partitions == 0 || partitions > MAX_PARTITIONS))
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "topic %s is missing, or has more than %d partitions", config->topics.incidents,
                            MAX_PARTITIONS);
    for (int32_t p = 0; p < partitions && !err; p++) {
        readers[p] = tsn_reader_new(config, config->topics.incidents, p, from_beginning ? TSN_OFFSET_BEGINNING : TSN_OFFSET_END, true, error);
        err = readers[p] ? TSN_OK : error->code;
    }
    while (!err && (!count || seen < count))
        for (int32_t p = 0; p < partitions && !err && (!count || seen < count); p++) {
            struct tsn_message m;

            err = tsn_reader_next(readers[p], WATCH_STEP_MS / partitions, &m, error);
            if (!err) {
                take_event(&m, json);
                seen++;
            } else if (err == TSN_ERR_TIMEOUT) {
                err = TSN_OK;
            }
        }
    for (int32_t p = 0; p < MAX_PARTITIONS; p++)
        tsn_reader_free(&readers[p]);
    return err;
}

int tsn_cmd_incidents_watch(int argc, char **argv)
{
    static const char about[] = "Events as they come, one a line, until interrupted.\n\n"
                                "Examples:\n"
                                "  tocsin incidents watch\n"
                                "  tocsin incidents watch --from-beginning --count 10 --output json\n";
    const char *file = "tocsin.yaml", *output = "table";
    bool from_beginning = false;
    int64_t count = 0;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "from-beginning", TSN_OPT_FLAG, &from_beginning, NULL, "everything the topic still holds first", 0, 0 },
        { "count", TSN_OPT_INT, &count, "N", "leave after N events", 1, INT32_MAX },
        { "output", TSN_OPT_TEXT, &output, "table|json", "json: the events as they are", 0, 0 },
    };
    struct tsn_config config;
    struct tsn_error error = { 0 };
    int n = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "incidents watch [OPTIONS]", about), json;

    if (n == -2)
        return TSN_EXIT_OK;
    if (n != 0 || (json = parse_output(output)) < 0)
        return TSN_EXIT_USAGE;
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    n = watch(&config, from_beginning, count, json, &error) ? exit_of(&error) : TSN_EXIT_OK;
    tsn_config_release(&config);
    return n;
}

/* ---- ack, resolve, escalate ------------------------------------------------------------------ */

static enum tsn_err send_command(const struct tsn_config *config, const struct tsn_command *c, struct tsn_error *error)
{
    struct tsn_producer *producer = tsn_producer_new(config, NULL, 0, error);
    struct tsn_buf bytes = TSN_BUF_INIT;
    enum tsn_err err = producer ? TSN_OK : error->code;

    tsn_codec_command_encode(c, TSN_FORM_JSON, &bytes);
    if (!err)
        err = tsn_producer_send(producer, config->topics.commands, 0, c->incident_id, strlen(c->incident_id), bytes.data, bytes.len,
                                TSN_TIME_NONE, NULL, 0, error);
    if (!err)
        err = tsn_producer_flush(producer, FLUSH_MS, error);
    tsn_buf_release(&bytes);
    tsn_producer_free(&producer);
    return err;
}

/* The owner's answer stands in Redis. */
static enum tsn_err wait_answer(const struct tsn_config *config, const char *command_id, int64_t timeout_ms,
                                struct tsn_respond_answer *answer, struct tsn_error *error)
{
    struct tsn_store *store = tsn_store_new(config, error);
    int64_t until_ns = tsn_mono_now().ns + timeout_ms * 1000000;
    enum tsn_err err = store ? TSN_ERR_NOT_FOUND : error->code;

    while (store && err && tsn_mono_now().ns < until_ns) {
        err = tsn_store_connect(store, error);
        if (!err)
            err = tsn_store_answer(store, command_id, answer, error);
        if (err)
            sleep_ms(ANSWER_STEP_MS);
    }
    if (err == TSN_ERR_NOT_FOUND) {
        char text[TSN_DURATION_TEXT];

        tsn_format_duration(text, timeout_ms);
        err = tsn_error_set(error, TSN_ERR_TIMEOUT,
                            "no answer within %s; the command is in the topic and will be applied once an owner of RESPOND runs", text);
    }
    tsn_store_free(&store);
    return err;
}

static int say_answer(const struct tsn_respond_answer *answer, const char *done, bool json)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_respond_answer_encode(answer, &out);
    if (json)
        puts(tsn_buf_str(&out));
    else if (!answer->code && !*answer->message)
        printf("%s %s (version %lld)\n", answer->incident_id, done, (long long)answer->version);
    else
        fprintf(answer->code ? stderr : stdout, "%s: %s\n", answer->incident_id, answer->message);
    tsn_buf_release(&out);
    return answer->code ? TSN_EXIT_FAILED : TSN_EXIT_OK;
}

static int give_command(const struct tsn_config *config, struct tsn_command *c, int64_t wait_ms, const char *done, bool json)
{
    struct tsn_respond_answer answer = { .code = TSN_OK };
    struct tsn_error error = { 0 };
    struct tsn_u128 bits = { 0, 0 };
    char id[33];
    int code;

    TSN_ASSERT(getrandom(&bits, sizeof bits, 0) == (ssize_t)sizeof bits);
    tsn_u128_hex(bits, id);
    c->command_id = id;
    if (send_command(config, c, &error))
        return exit_of(&error);
    if (!wait_ms) {
        printf("%s: command %s is sent\n", c->incident_id, id);
        return TSN_EXIT_OK;
    }
    if (wait_answer(config, id, wait_ms, &answer, &error))
        return exit_of(&error);
    code = say_answer(&answer, done, json);
    tsn_respond_answer_release(&answer);
    return code;
}

static int command(int argc, char **argv, enum tsn_command_kind kind, const char *usage, const char *about, const char *done)
{
    const char *file = "tocsin.yaml", *output = "table", *actor = getenv("USER"), *reason = "";
    int64_t wait_ms = 10000;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "by", TSN_OPT_TEXT, &actor, "NAME", "who says it (default $USER)", 0, 0 },
        { "reason", TSN_OPT_TEXT, &reason, "TEXT", "why; stands in the event", 0, 0 },
        { "wait", TSN_OPT_DURATION, &wait_ms, "DURATION", "for the owner's answer (default 10s; 0s: do not wait)", 0, 3600000 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the answer", 0, 0 },
    };
    struct tsn_command c = { .format = TSN_FORMAT_VERSION, .kind = kind, .at_ms = tsn_wall_now().ms };
    struct tsn_config config;
    int n = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), usage, about), json;

    if (n == -2)
        return TSN_EXIT_OK;
    if (n != 1 || (json = parse_output(output)) < 0) {
        if (n >= 0 && n != 1)
            fprintf(stderr, "tocsin: which incident? usage: tocsin %s\n", usage);
        return TSN_EXIT_USAGE;
    }
    if (!actor || !*actor || strlen(actor) > 256 || strlen(reason) > TSN_RESPOND_TEXT_MAX || strlen(argv[1]) > 256) {
        fprintf(stderr, "tocsin: --by NAME is needed where $USER is not set; a name has at most 256 bytes, a reason 4096\n");
        return TSN_EXIT_USAGE;
    }
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    c.incident_id = argv[1];
    c.actor = (char *)(uintptr_t)actor;
    c.reason = (char *)(uintptr_t)reason;
    n = give_command(&config, &c, wait_ms, done, json);
    tsn_config_release(&config);
    return n;
}

int tsn_cmd_incidents_ack(int argc, char **argv)
{
    return command(argc, argv, TSN_CMD_ACK, "incidents ack [OPTIONS] INCIDENT",
                   "Acknowledges: somebody works on it; its deadline to respond is met.\n\n"
                   "Examples:\n"
                   "  tocsin incidents ack inc-1cc77aaf985414e0\n"
                   "  tocsin incidents ack inc-1cc77aaf985414e0 --by ada --reason 'looking at the queue'\n",
                   "is acknowledged");
}

int tsn_cmd_incidents_resolve(int argc, char **argv)
{
    return command(argc, argv, TSN_CMD_RESOLVE, "incidents resolve [OPTIONS] INCIDENT",
                   "Resolves by hand. It reopens if one of its alerts fires anew within the reopen window.\n\n"
                   "Examples:\n"
                   "  tocsin incidents resolve inc-1cc77aaf985414e0 --reason 'rolled back'\n",
                   "is resolved");
}

int tsn_cmd_incidents_escalate(int argc, char **argv)
{
    return command(argc, argv, TSN_CMD_ESCALATE, "incidents escalate [OPTIONS] INCIDENT",
                   "Pages the next level now.\n\n"
                   "Examples:\n"
                   "  tocsin incidents escalate inc-1cc77aaf985414e0 --reason 'needs the database team'\n",
                   "is escalated");
}
