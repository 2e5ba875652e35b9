/*
 * join: which lines belong to the event before them, so that a stack trace is one event.
 *
 * By shape: an indented line always continues. Without indent: Java's "Caused by:" and "Suppressed:", Python's "Traceback"
 * body (ends with the first unindented line, "Type: message", which still belongs), Go's "goroutine N [state]:" blocks
 * (functions without indent, files with one) after "panic:", Node's "    at …" (indented). An event takes at most
 * TSN_JOIN_LINES lines, so that an indented file does not become one event without end.
 */
#include "patterns/chars.h"
#include "tocsin/patterns.h"

#include <string.h>

enum { NONE, PYTHON, PYTHON_CHAIN, GO };

static bool starts(const char *line, size_t len, const char *with)
{
    size_t n = strlen(with);

    return len >= n && memcmp(line, with, n) == 0;
}

/* "name.of.Error: …" or a bare "KeyboardInterrupt": the last line of a Python trace. */
static bool error_line(const char *line, size_t len)
{
    size_t i = 0;

    while (i < len && ((tsn_chars[(uint8_t)line[i]] & (TSN_C_ALPHA | TSN_C_DIGIT)) || line[i] == '.' || line[i] == '_'))
        i++;
    return i > 0 && (i == len || line[i] == ':');
}

/* "java.lang.IllegalStateException: …": an error class alone on its line, below the line that logs it. */
static bool error_class(const char *line, size_t len)
{
    size_t i = 0, dots = 0;

    for (; i < len && ((tsn_chars[(uint8_t)line[i]] & (TSN_C_ALPHA | TSN_C_DIGIT)) || memchr("._$", line[i], 3)); i++)
        dots += line[i] == '.';
    if (dots == 0 || (i < len && line[i] != ':'))
        return false;
    return (i > 9 && memcmp(line + i - 9, "Exception", 9) == 0) || (i > 5 && memcmp(line + i - 5, "Error", 5) == 0);
}

/* A Go frame: "pkg/path.Func(…)", "created by …", "goroutine 7 [running]:", "exit status 2", or empty. */
static bool go_line(const char *line, size_t len)
{
    return len == 0 || starts(line, len, "goroutine ") || starts(line, len, "created by ") ||
           starts(line, len, "[signal ") || starts(line, len, "exit status ") ||
           (line[len - 1] == ')' && memchr(line, '(', len) && memchr(line, '.', len) && !memchr(line, ' ', len));
}

static bool continues(struct tsn_join *join, const char *line, size_t len)
{
    bool indented = len > 1 && (line[0] == '\t' || (line[0] == ' ' && line[1] == ' '));

    if (indented || (len > 3 && line[0] == ' ' && memcmp(line, " at ", 4) == 0))
        return true;
    if (join->state == PYTHON && error_line(line, len)) {
        join->state = PYTHON_CHAIN;
        return true;
    }
    if (join->state == PYTHON_CHAIN &&
        (len == 0 || starts(line, len, "During handling of") || starts(line, len, "The above exception"))) {
        return true;
    }
    if (join->state == GO && go_line(line, len))
        return true;
    return error_class(line, len) || starts(line, len, "Caused by: ") || starts(line, len, "Suppressed: ") ||
           (starts(line, len, "... ") && len > 9 && memcmp(line + len - 5, " more", 5) == 0);
}

static uint8_t opens(const char *line, size_t len)
{
    if (len >= 34 && memmem(line, len, "Traceback (most recent call last)", 33))
        return PYTHON;
    if (starts(line, len, "panic: ") || starts(line, len, "fatal error: ") || starts(line, len, "goroutine "))
        return GO;
    return NONE;
}

bool tsn_join_continues(struct tsn_join *join, const char *line, size_t len)
{
    uint8_t opened;

    if (len && line[len - 1] == '\r')
        len--;
    opened = opens(line, len);
    if (join->lines > 0 && join->lines < TSN_JOIN_LINES &&
        (continues(join, line, len) || (opened == PYTHON && join->state == PYTHON_CHAIN) ||
         (opened == PYTHON && starts(line, len, "Traceback")))) {
        join->lines++;
        if (opened)
            join->state = opened;
        return true;
    }
    join->lines = 1;
    join->state = opened;
    return false;
}
