/*
 * main: finds the command and runs it. The table is the whole list; `tocsin help` prints it.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* In the order of `tocsin help`. */
static const struct tsn_command_line commands[] = {
    { "run", "run the stages: events in, incidents out", tsn_cmd_run },
    { "check", "configuration, policy, rules, broker, topics, Redis, registry: a line each", tsn_cmd_check },
    { "status", "what a running worker does: inputs, lag, rules", tsn_cmd_status },
    { "incidents list", "incidents that are held, worst first", tsn_cmd_incidents_list },
    { "incidents show", "one incident with its alerts and deadlines", tsn_cmd_incidents_show },
    { "incidents watch", "events of incidents as they come", tsn_cmd_incidents_watch },
    { "incidents ack", "acknowledge: somebody works on it", tsn_cmd_incidents_ack },
    { "incidents resolve", "resolve by hand", tsn_cmd_incidents_resolve },
    { "incidents escalate", "page the next level now", tsn_cmd_incidents_escalate },
    { "topics apply", "create the missing topics; alters and deletes nothing", tsn_cmd_topics_apply },
    { "topics check", "what topics are missing, otherwise than declared, or too short for the rules", tsn_cmd_topics_check },
    { "rules apply", "publish the rule files as the newest rule set", tsn_cmd_rules_apply },
    { "rules list", "every rule set that was ever in force", tsn_cmd_rules_list },
    { "check rules", "load rule files and say what is wrong, with file, line and column", tsn_cmd_check_rules },
    { "test rules", "unit tests of rules, in promtool's format", tsn_cmd_test_rules },
    { "eval", "evaluate PromQL over given samples (--bulk for many cases)", tsn_cmd_eval },
    { "replay", "a stretch of history once more: what happened, what was sent, what other rules would do", tsn_cmd_replay },
    { "samples", "what ingest wrote, readable", tsn_cmd_samples },
    { "logs mine", "templates of a log file or stream", tsn_cmd_logs_mine },
    { "logs patterns", "templates that DETECT found, from the topic", tsn_cmd_logs_patterns },
    { "logs diff", "templates that are new, gone or changed in rate", tsn_cmd_logs_diff },
    { "config show", "the configuration in effect, secrets hidden", tsn_cmd_config_show },
    { "config reference", "every key of the configuration file", tsn_cmd_config_reference },
    { "demo", "a simulated day of a platform through all stages, in one process", tsn_cmd_demo },
    { "version", "version, features and library versions", tsn_cmd_version },
};

static void print_help(FILE *out)
{
    fputs("Tocsin turns event streams on Kafka into incidents.\n\nUsage: tocsin COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < TSN_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-18s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`tocsin COMMAND --help` tells each one's options with examples.\n"
          "Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid config or rules, 4 dependency unreachable,\n"
          "5 a check found a difference.\n",
          out);
}

/* The commands of a group ("incidents"); false: there is no such group. */
static bool print_group(FILE *out, const char *word)
{
    size_t len = strlen(word), found = 0;

    for (size_t i = 0; i < TSN_ARRAY_LEN(commands); i++)
        if (strncmp(commands[i].name, word, len) == 0 && commands[i].name[len] == ' ') {
            fprintf(out, "%s  tocsin %-18s %s\n", found++ ? "" : "Usage: tocsin COMMAND [OPTIONS], one of\n\n", commands[i].name, commands[i].summary);
        }
    return found > 0;
}

/* What is no command: a group alone shows its commands. */
static int without_command(int argc, char **argv)
{
    bool help = argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);

    if ((argc == 2 || help) && print_group(help ? stdout : stderr, argv[1]))
        return help ? TSN_EXIT_OK : TSN_EXIT_USAGE;
    if (argc > 2 && argv[2][0] != '-' && print_group(stderr, argv[1]))
        fprintf(stderr, "\ntocsin: no command '%s %s'\n", argv[1], argv[2]);
    else
        fprintf(stderr, "tocsin: no command '%s'; `tocsin help` lists them\n", argv[1]);
    return TSN_EXIT_USAGE;
}

/* Longest match first: "test rules" before "test". words: how many argv items the name took. */
static const struct tsn_command_line *find_command(int argc, char **argv, int *words)
{
    char two[64] = "";

    if (argc > 2)
        snprintf(two, sizeof two, "%s %s", argv[1], argv[2]);
    for (int pass = 2; pass >= 1; pass--)
        for (size_t i = 0; i < TSN_ARRAY_LEN(commands); i++)
            if (strcmp(commands[i].name, pass == 2 ? two : argv[1]) == 0) {
                *words = pass;
                return &commands[i];
            }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct tsn_command_line *command;
    int words;

    if (argc < 2) {
        print_help(stderr);
        return TSN_EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return TSN_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        argv[1] += 2;
    command = find_command(argc, argv, &words);
    if (!command)
        return without_command(argc, argv);
    return command->run(argc - words, argv + words);
}
