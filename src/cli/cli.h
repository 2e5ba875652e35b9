/*
 * cli: the command line (L8). main.c holds the table of commands; one file a command.
 *
 * stdout carries the result, stderr the rest. Exit codes: enum tsn_exit.
 */
#ifndef TOCSIN_CLI_H
#define TOCSIN_CLI_H

#include "tocsin/base.h"

enum tsn_exit {
    TSN_EXIT_OK = 0,
    TSN_EXIT_FAILED = 1,
    TSN_EXIT_USAGE = 2,
    TSN_EXIT_INVALID = 3,     /* invalid configuration or rules */
    TSN_EXIT_UNREACHABLE = 4, /* a dependency */
    TSN_EXIT_DIFFERENT = 5    /* a check found a difference */
};

/* A command: argv[0] is its own name, argv[argc] is NULL. Returns an enum tsn_exit. */
struct tsn_command_line {
    const char *name;    /* "test rules": two words are matched before one */
    const char *summary; /* one line for `tocsin help` */
    int (*run)(int argc, char **argv);
};

/* ---- options of one command --------------------------------------------------------------- */

enum tsn_option_type { TSN_OPT_FLAG, TSN_OPT_TEXT, TSN_OPT_INT, TSN_OPT_DURATION, TSN_OPT_DOUBLE };
/* A row: --name, where the value goes, what --help says. FLAG: bool *, TEXT: const char **,
 * INT: int64_t *, DURATION: int64_t * (ms), DOUBLE: double *. */
struct tsn_option {
    const char *name;
    enum tsn_option_type type;
    void *value;
    const char *metavar, *help;
    int64_t min, max; /* INT and DURATION; both 0: any */
};
/*
 * Parses argv against the table (--name value, --name=value, flags; "--" ends; "-" is an operand), prints help
 * for --help. --debug CONTEXTS is understood everywhere. Operands are moved to the front of argv[1…].
 * Returns the number of operands, or -1 after printing an error (exit 2), or -2 after --help.
 */
int tsn_cli_parse(int argc, char **argv, const struct tsn_option *options, size_t count, const char *usage,
                  const char *about_and_examples);

/* Whole file or, for "-", standard input. At most max_bytes. Caller frees. NULL with *error. */
char *tsn_cli_read_file(const char *path, size_t max_bytes, size_t *len, struct tsn_error *error);

struct tsn_config;
/* Reads and parses the configuration file, with files and environment. False after printing why (exit 3). */
bool tsn_cli_load_config(const char *path, struct tsn_config *config);
struct tsn_policy;
/* The built-in policy with the catalogue and the escalation that the configuration names. False after printing why (exit 3);
 * *policy is to be released either way. */
bool tsn_cli_load_policy(const struct tsn_config *config, struct tsn_policy *policy);

/* One per command; each is in src/cli/cmd_<name>.c */
int tsn_cmd_status(int argc, char **argv);
int tsn_cmd_rules_apply(int argc, char **argv);
int tsn_cmd_rules_list(int argc, char **argv);
int tsn_cmd_samples(int argc, char **argv);
int tsn_cmd_run(int argc, char **argv);
int tsn_cmd_demo(int argc, char **argv);
int tsn_cmd_eval(int argc, char **argv);
int tsn_cmd_test_rules(int argc, char **argv);
int tsn_cmd_check(int argc, char **argv);
int tsn_cmd_check_rules(int argc, char **argv);
int tsn_cmd_config_reference(int argc, char **argv);
int tsn_cmd_config_show(int argc, char **argv);
int tsn_cmd_topics_apply(int argc, char **argv);
int tsn_cmd_topics_check(int argc, char **argv);
int tsn_cmd_replay(int argc, char **argv);
int tsn_cmd_logs_mine(int argc, char **argv);
int tsn_cmd_logs_diff(int argc, char **argv);
int tsn_cmd_logs_patterns(int argc, char **argv);
int tsn_cmd_incidents_list(int argc, char **argv);
int tsn_cmd_incidents_show(int argc, char **argv);
int tsn_cmd_incidents_watch(int argc, char **argv);
int tsn_cmd_incidents_ack(int argc, char **argv);
int tsn_cmd_incidents_resolve(int argc, char **argv);
int tsn_cmd_incidents_escalate(int argc, char **argv);
int tsn_cmd_version(int argc, char **argv);

/* A point of time as an option's text: RFC 3339, epoch seconds or ms, or a duration ago. False: said on stderr. */
bool tsn_cli_time(const char *option, const char *text, int64_t *ms);

#endif
