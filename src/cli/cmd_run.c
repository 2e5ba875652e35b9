/*
 * cmd_run: `tocsin run`, the daemon. Signals by sigwait in a thread of their own: TERM and INT stop in order (a second one at once), also while
 * the start waits for a broker; HUP reads the rule files again.
 */
#include "cli/cli.h"
#include "cli/stages.h"
#include "tocsin/app.h"
#include "tocsin/kafka.h"
#include "tocsin/monitor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char about[] =
    "Runs the stages: ingest (input topics → samples), detect (samples → alerts), respond (alerts → incidents).\n"
    "Rule files are published to topic rules when they change; HUP reads them again at once.\n\n"
    "Examples:\n"
    "  tocsin run --config /etc/tocsin/tocsin.yaml\n"
    "  tocsin run --stages ingest            one stage of three, scaled on its own\n"
    "  tocsin run --until-end --output json  read to the end, say what was found, leave\n";

unsigned tsn_cli_stages(const char *text)
{
    static const struct { const char *name; unsigned bit; } names[] = {
        { "ingest", TSN_STAGE_INGEST }, { "detect", TSN_STAGE_DETECT }, { "respond", TSN_STAGE_RESPOND }, { "all", TSN_STAGE_ALL },
    };
    unsigned stages = 0;

    for (const char *at = text; *at;) {
        size_t len = strcspn(at, ",");
        unsigned bit = 0;

        for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++)
            if (strlen(names[i].name) == len && memcmp(names[i].name, at, len) == 0)
                bit = names[i].bit;
        if (!bit) {
            fprintf(stderr, "tocsin: no stage '%.*s'; there are ingest, detect, respond\n", (int)len, at);
            return 0;
        }
        stages |= bit;
        at += len + (at[len] == ',');
    }
    return stages;
}

static int exit_of(const struct tsn_error *error)
{
    switch (error->code) {
    case TSN_ERR_INVALID:
    case TSN_ERR_NOT_FOUND: return TSN_EXIT_INVALID;
    case TSN_ERR_UNREACHABLE:
    case TSN_ERR_TIMEOUT: return TSN_EXIT_UNREACHABLE;
    default: return TSN_EXIT_FAILED;
    }
}

static void print_summary(struct tsn_app *app, bool json)
{
    struct tsn_app_stats *stats = tsn_calloc(1, sizeof *stats);
    struct rusage usage;
    double cpu_s, first_to_last_s;
    int64_t last_ns;

    tsn_app_get_stats(app, stats);
    getrusage(RUSAGE_SELF, &usage);
    cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    last_ns = stats->detect.last_commit_ns > stats->ingest.last_commit_ns ? stats->detect.last_commit_ns : stats->ingest.last_commit_ns;
    first_to_last_s = stats->ingest.first_record_ns && last_ns > stats->ingest.first_record_ns
                          ? (double)(last_ns - stats->ingest.first_record_ns) / 1e9 : 0;
    printf(json ? "{\"type\":\"summary\",\"events\":%llu,\"alerts\":%llu,\"incidents\":%llu,\"first_to_last_s\":%.3f,\"cpu_s\":%.3f,"
                  "\"rss_peak_kib\":%ld,\"dead_letters\":%llu,\"late\":%llu,\"series\":%llu}\n"
                : "events %llu\nalerts %llu\nincidents %llu\nfirst to last %.3f s\ncpu %.3f s\nrss peak %ld KiB\ndead letters %llu\n"
                  "late %llu\nseries %llu\n",
           (unsigned long long)stats->ingest.events, (unsigned long long)stats->detect.transitions,
           (unsigned long long)stats->respond.opened, first_to_last_s, cpu_s, usage.ru_maxrss,
           (unsigned long long)stats->ingest.dead_letters,
           (unsigned long long)(stats->ingest.late_dropped + stats->ingest.late_moved + stats->detect.late_dropped + stats->detect.late_moved),
           (unsigned long long)stats->detect.series);
    tsn_free(stats);
}

/* What the signals asked for: set by the thread that waits for them, so that they are heard while this one waits for a broker. */
static atomic_bool stop_asked, reload_asked;

static void *take_signals(void *arg)
{
    const sigset_t *set = arg;
    int number;

    while (sigwait(set, &number) == 0) {
        if (number == SIGHUP)
            atomic_store(&reload_asked, true);
        else if (atomic_exchange(&stop_asked, true))
            _exit(TSN_EXIT_FAILED);
    }
    return NULL;
}

/* Blocks the signals for all threads but one of their own, which lives as long as the process. */
static void start_signals(void)
{
    static sigset_t set;
    pthread_t thread;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    TSN_ASSERT(pthread_create(&thread, NULL, take_signals, &set) == 0);
    pthread_detach(thread);
    tsn_kafka_give_up_on(&stop_asked);
}

/* Until stop, end or failure. True if all went well. */
static bool watch(struct tsn_app *app)
{
    static const struct timespec tick = { 0, 50000000 };
    struct tsn_error error;

    for (;;) {
        for (int i = 0; i < 4 && !atomic_load(&stop_asked); i++)
            nanosleep(&tick, NULL);
        if (atomic_load(&stop_asked))
            return true;
        if (atomic_exchange(&reload_asked, false) && tsn_app_reload(app, &error))
            tsn_log(TSN_LOG_ERROR, "rules", "rule files are not taken; the set before stays in force", "error=\"%s\"", error.message);
        tsn_app_poll(app);
        if (tsn_app_failure(app))
            return false;
        if (tsn_app_finished(app))
            return true;
    }
}

/* Detection matters more than its gauges: a port that is taken is said, and the worker goes on without. */
static struct tsn_monitor *start_monitor(struct tsn_app *app, const struct tsn_config *config, unsigned stages)
{
    struct tsn_error error = { 0 };
    struct tsn_monitor *monitor = tsn_monitor_start(app, config, stages, &error);

    if (!monitor && error.code)
        tsn_log(TSN_LOG_ERROR, "http", "no metrics and no health: cannot listen", "error=\"%s\"", error.message);
    else if (monitor)
        tsn_log(TSN_LOG_INFO, "http", "metrics and health are served", "listen=%s port=%d", config->http.listen, tsn_monitor_port(monitor));
    return monitor;
}

static int run(const struct tsn_config *config, unsigned stages, bool until_end, bool json)
{
    struct tsn_app_options options = { .config = config, .stages = stages, .until_end = until_end };
    struct tsn_error error = { 0 };
    struct tsn_monitor *monitor = NULL;
    struct tsn_app *app;
    bool ok, ended;

    start_signals();
    app = tsn_app_new(&options, &error);
    if (!app || tsn_app_start(app, &error)) {
        fprintf(stderr, "tocsin run: %s\n", error.message);
        tsn_app_free(&app);
        return exit_of(&error);
    }
    if (!until_end)
        monitor = start_monitor(app, config, stages);
    ok = watch(app);
    if (!ok)
        fprintf(stderr, "tocsin run: %s\n", tsn_app_failure(app));
    ended = tsn_app_stop(app);
    tsn_monitor_stop(&monitor);
    if (until_end || json)
        print_summary(app, json);
    if (!ended) {
        fflush(NULL);
        _exit(ok ? TSN_EXIT_OK : TSN_EXIT_FAILED);
    }
    tsn_app_free(&app);
    return ok ? TSN_EXIT_OK : TSN_EXIT_FAILED;
}

int tsn_cmd_run(int argc, char **argv)
{
    const char *file = "tocsin.yaml", *stages = "all", *output = "table", *compat = "";
    bool until_end = false;
    struct tsn_option options[] = {
        { "config", TSN_OPT_TEXT, &file, "FILE", "the configuration (default tocsin.yaml)", 0, 0 },
        { "stages", TSN_OPT_TEXT, &stages, "A,B", "of ingest, detect, respond (default: all)", 0, 0 },
        { "until-end", TSN_OPT_FLAG, &until_end, NULL, "read every input to its end, let event time reach it, commit and leave", 0, 0 },
        { "compat", TSN_OPT_TEXT, &compat, "prometheus", "after a restart restore `for` as Prometheus does, not exactly: for comparisons side by side", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "form of the summary", 0, 0 },
    };
    struct tsn_config config;
    unsigned bits;
    int operands = tsn_cli_parse(argc, argv, options, TSN_ARRAY_LEN(options), "tocsin run [OPTIONS]", about), code;

    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0 || !(bits = tsn_cli_stages(stages)))
        return TSN_EXIT_USAGE;
    if (strcmp(output, "table") != 0 && strcmp(output, "json") != 0) {
        fprintf(stderr, "tocsin run: --output is table or json\n");
        return TSN_EXIT_USAGE;
    }
    if (*compat && strcmp(compat, "prometheus") != 0) {
        fprintf(stderr, "tocsin run: --compat knows prometheus\n");
        return TSN_EXIT_USAGE;
    }
    if (!tsn_cli_load_config(file, &config))
        return TSN_EXIT_INVALID;
    config.detect.prometheus_restore = *compat != 0;
    if (!config.inputs.len && (bits & TSN_STAGE_INGEST)) {
        fprintf(stderr, "%s: inputs: none; stage ingest has nothing to read\n", file);
        code = TSN_EXIT_INVALID;
    } else {
        code = run(&config, bits, until_end, strcmp(output, "json") == 0);
    }
    tsn_config_release(&config);
    return code;
}
