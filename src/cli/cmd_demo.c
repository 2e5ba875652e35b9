/* demo: a day of the platform through all three stages in this process. See tocsin/demo.h. */
#include "cli/cli.h"
#include "tocsin/demo.h"

#include <stdio.h>
#include <string.h>

/* A day in four minutes. */
#define DEFAULT_SPEED 360.0

static const char about_head[] =
    "Plays a simulated day of a platform through INGEST, DETECT and RESPOND in this process: a made-up broker, a private\n"
    "redis-server, seeded events, the shipped rules. Shows alerts, incidents and escalations as they happen and compares\n"
    "them with what the scenario must give. Exit code 5 unless all is as expected.\n\nScenarios:\n";
static const char about_tail[] =
    "\nExamples:\n  tocsin demo\n  tocsin demo --scenario outage --speed 120\n"
    "  tocsin demo --scenario errors --speed max --output json\n  tocsin demo --brokers kafka-1:9092 --speed max";

static char *about(void)
{
    struct tsn_buf text = TSN_BUF_INIT;
    const char *name, *what;

    tsn_buf_puts(&text, about_head);
    for (size_t i = 0; (name = tsn_demo_scenario_name(i, &what)); i++)
        tsn_buf_printf(&text, "  %-14s %s\n", name, what);
    tsn_buf_puts(&text, about_tail);
    return tsn_buf_take(&text, NULL);
}

static bool parse_speed(const char *text, double *speed)
{
    if (strcmp(text, "max") == 0) {
        *speed = 0;
        return true;
    }
    return tsn_parse_double(text, strlen(text), speed) && *speed >= 0.01 && *speed <= 1e6;
}

static int exit_of(const struct tsn_error *error)
{
    switch (error->code) {
    case TSN_ERR_UNREACHABLE:
    case TSN_ERR_TIMEOUT: return TSN_EXIT_UNREACHABLE;
    case TSN_ERR_INVALID: return TSN_EXIT_INVALID;
    default: return TSN_EXIT_FAILED;
    }
}

static bool known_scenario(const char *name)
{
    struct tsn_error error;
    struct tsn_demo *demo = tsn_demo_new(0, name, &error);
    bool known = demo != NULL;

    if (!known)
        fprintf(stderr, "tocsin demo: %s\n", error.message);
    tsn_demo_free(&demo);
    return known;
}

static int play(const struct tsn_demo_options *options)
{
    struct tsn_error error;
    bool as_expected;

    if (!known_scenario(options->scenario))
        return TSN_EXIT_USAGE;
    if (!tsn_log_debug_on("demo"))
        tsn_log_level_set(TSN_LOG_ERROR); /* the view is the log; --debug demo brings it back */
    if (tsn_demo_play(options, &as_expected, &error)) {
        fprintf(stderr, "tocsin demo: %s\n", error.message);
        return exit_of(&error);
    }
    return as_expected ? TSN_EXIT_OK : TSN_EXIT_DIFFERENT;
}

int tsn_cmd_demo(int argc, char **argv)
{
    const char *speed = NULL, *output = "table";
    struct tsn_demo_options options = { .scenario = "all", .speed = DEFAULT_SPEED };
    int64_t seed = 1;
    struct tsn_option table[] = {
        { "scenario", TSN_OPT_TEXT, &options.scenario, "NAME", "what is played (default all)", 0, 0 },
        { "speed", TSN_OPT_TEXT, &speed, "N|max", "simulated seconds a second (default 360: a day in four minutes)", 0, 0 },
        { "seed", TSN_OPT_INT, &seed, "N", "of the events; the same seed gives the same bytes (default 1)", 0, INT64_MAX },
        { "brokers", TSN_OPT_TEXT, &options.brokers, "HOST:PORT", "play on this cluster, in topics of its own that stay there", 0, 0 },
        { "output", TSN_OPT_TEXT, &output, "table|json", "a view for people, or lines of JSON", 0, 0 },
    };
    char *text = about();
    int operands = tsn_cli_parse(argc, argv, table, TSN_ARRAY_LEN(table), "demo [OPTIONS]", text);

    tsn_free(text);
    if (operands == -2)
        return TSN_EXIT_OK;
    if (operands != 0)
        return TSN_EXIT_USAGE;
    options.json = strcmp(output, "json") == 0;
    options.seed = (uint64_t)seed;
    if (!options.json && strcmp(output, "table") != 0) {
        fprintf(stderr, "tocsin demo: --output is table or json\n");
        return TSN_EXIT_USAGE;
    }
    if (speed && !parse_speed(speed, &options.speed)) {
        fprintf(stderr, "tocsin demo: --speed is max or a number from 0.01 to 1000000\n");
        return TSN_EXIT_USAGE;
    }
    return play(&options);
}
