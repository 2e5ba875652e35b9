/* options: one table per command gives parser and --help. See cli/cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A command may say its usage with or without the program's name. */
static const char *bare(const char *usage)
{
    static const char program[] = "tocsin ";

    return strncmp(usage, program, sizeof program - 1) == 0 ? usage + sizeof program - 1 : usage;
}

static void print_options(const struct tsn_option *options, size_t count, const char *usage,
                          const char *about)
{
    size_t len = strlen(about);

    while (len && about[len - 1] == '\n')
        len--;
    printf("Usage: tocsin %s\n\n%.*s\n\nOptions:\n", bare(usage), (int)len, about);
    for (size_t i = 0; i < count; i++) {
        char left[64];

        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].metavar ? " " : "",
                 options[i].metavar ? options[i].metavar : "");
        printf("  %-26s %s\n", left, options[i].help);
    }
    printf("  %-26s %s\n", "--debug CONTEXTS", "debug lines on stderr for these contexts, or all");
    printf("  %-26s %s\n", "--help", "this text");
}

static bool in_range(const struct tsn_option *o, int64_t value)
{
    return (!o->min && !o->max) || (value >= o->min && value <= o->max);
}

/* Whether the text is one of "a|b". */
static bool is_one_of(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (len && strcspn(at, "|") == len && memcmp(at, text, len) == 0)
            return true;
    return false;
}

/* False after printing why. */
static bool store(const struct tsn_option *o, const char *text)
{
    int64_t number;

    switch (o->type) {
    case TSN_OPT_FLAG: *(bool *)o->value = true; return true;
    case TSN_OPT_TEXT:
        if (strcmp(o->name, "output") == 0 && !is_one_of(o->metavar, text)) {
            fprintf(stderr, "tocsin: --output: '%s' is none of %s\n", text, o->metavar);
            return false;
        }
        *(const char **)o->value = text;
        return true;
    case TSN_OPT_DOUBLE:
        if (tsn_parse_double(text, strlen(text), o->value))
            return true;
        fprintf(stderr, "tocsin: --%s: '%s' is not a number\n", o->name, text);
        return false;
    case TSN_OPT_INT:
        if (!tsn_parse_i64(text, strlen(text), &number)) {
            fprintf(stderr, "tocsin: --%s: '%s' is not a whole number\n", o->name, text);
            return false;
        }
        break;
    case TSN_OPT_DURATION:
    default:
        if (!tsn_parse_duration(text, strlen(text), &number)) {
            fprintf(stderr, "tocsin: --%s: '%s' is not a duration such as 30s, 5m, 1h30m\n", o->name, text);
            return false;
        }
        break;
    }
    if (!in_range(o, number)) {
        fprintf(stderr, "tocsin: --%s: %s is outside %lld … %lld\n", o->name, text, (long long)o->min,
                (long long)o->max);
        return false;
    }
    *(int64_t *)o->value = number;
    return true;
}

static const struct tsn_option *find(const struct tsn_option *options, size_t count, const char *name,
                                     size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

int tsn_cli_parse(int argc, char **argv, const struct tsn_option *options, size_t count, const char *usage,
                  const char *about)
{
    static const char *debug;
    static const struct tsn_option common = { "debug", TSN_OPT_TEXT, &debug, "CONTEXTS", "", 0, 0 };
    int operands = 0;

    for (int i = 1; i < argc; i++) {
        const struct tsn_option *o;
        const char *name, *equals;
        size_t len;

        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc)
                argv[++operands] = argv[i];
            break;
        }
        if (argv[i][0] != '-' || !argv[i][1]) {
            argv[++operands] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_options(options, count, usage, about);
            return -2;
        }
        name = argv[i] + strspn(argv[i], "-");
        equals = strchr(name, '=');
        len = equals ? (size_t)(equals - name) : strlen(name);
        o = find(options, count, name, len);
        if (!o && len == 5 && memcmp(name, "debug", 5) == 0)
            o = &common;
        if (!o) {
            fprintf(stderr, "tocsin: unknown option '%s'; usage: tocsin %s (--help tells more)\n", argv[i], bare(usage));
            return -1;
        }
        if (o->type != TSN_OPT_FLAG && !equals && i + 1 == argc) {
            fprintf(stderr, "tocsin: --%s needs a value\n", o->name);
            return -1;
        }
        if (!store(o, o->type == TSN_OPT_FLAG ? NULL : equals ? equals + 1 : argv[++i]))
            return -1;
    }
    if (debug)
        tsn_log_debug(debug);
    return operands;
}

char *tsn_cli_read_file(const char *path, size_t max_bytes, size_t *len, struct tsn_error *error)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct tsn_buf text = TSN_BUF_INIT;
    size_t got;

    if (!in) {
        tsn_error_set(error, TSN_ERR_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    do {
        got = fread(tsn_buf_reserve(&text, 65536), 1, 65536, in);
        text.len += got;
        text.data[text.len] = '\0';
    } while (got && text.len <= max_bytes);
    if (ferror(in))
        tsn_error_set(error, TSN_ERR_IO, "%s: %s", path, strerror(errno));
    else if (text.len > max_bytes)
        tsn_error_set(error, TSN_ERR_LIMIT, "%s: larger than %zu bytes", path, max_bytes);
    got = !ferror(in) && text.len <= max_bytes;
    if (in != stdin)
        fclose(in);
    if (got)
        return tsn_buf_take(&text, len);
    tsn_buf_release(&text);
    return NULL;
}

/* Seconds of the years 1973 to 5138 lie below this, milliseconds from 1973 on above. */
#define FIRST_MS INT64_C(100000000000)

bool tsn_cli_time(const char *option, const char *text, int64_t *ms)
{
    size_t len = strlen(text);
    int64_t number;

    if (tsn_parse_rfc3339(text, len, ms))
        return true;
    if (tsn_parse_i64(text, len, &number) && number >= FIRST_MS / 1000) {
        *ms = number < FIRST_MS ? number * 1000 : number;
        return true;
    }
    if (tsn_parse_duration(text, len, &number)) {
        *ms = tsn_wall_now().ms - number;
        return true;
    }
    fprintf(stderr, "tocsin: %s %s: no time; write 2026-11-24T02:00:00Z, epoch seconds, or a duration ago (90m)\n", option, text);
    return false;
}
