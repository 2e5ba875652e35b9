/*
 * join: which lines belong to the event before them, so that a stack trace is one event.
 *
 * By shape. Of traces: frames "at f (…)" of Java and Node behind blanks, with "Caused by:", "Suppressed:", "... 3 more", and the
 * object that Node prints behind its last frame; Python's "Traceback" up to "Type: message", which still belongs, and the traces
 * chained to it; Go's goroutines after "panic:" or "fatal error:". Where something tells where events begin (records, headers) every
 * indented line continues, too, and an error class alone on its line; where nothing does (`strict`), an indented
 * line may be an event by itself, and only what is surely of a trace is joined. An event takes at most TSN_JOIN_LINES lines, so that an
 * indented file does not become one event without end.
 */
#include "patterns/chars.h"
#include "tocsin/patterns.h"

#include <string.h>

/* FRAMES: behind a frame. OBJECT: in the braces behind Node's last frame. PYTHON_DONE: behind "Type: message"; PYTHON_CHAIN: another
 * trace is announced. */
enum { NONE, FRAMES, OBJECT, PYTHON, PYTHON_DONE, PYTHON_CHAIN, GO };

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

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t indent(const char *line, size_t len)
{
    size_t n = 0;

    while (n < len && blank(line[n]))
        n++;
    return n;
}

/* "\tat a.B.c(D.java:1)", "    at f (/x.js:1:2)", "    at /x.js:1:2". */
static bool frame(const char *line, size_t len)
{
    size_t n = indent(line, len);

    return n > 0 && len > n + 3 && memcmp(line + n, "at ", 3) == 0 && !blank(line[n + 3]) &&
           (memchr(line + n, '(', len - n) || memchr(line + n, ':', len - n) || memchr(line + n, '<', len - n));
}

/* "Caused by: …", "Suppressed: …", "... 3 more", indented or not. */
static bool cause(const char *line, size_t len)
{
    size_t n = indent(line, len);

    line += n;
    len -= n;
    return starts(line, len, "Caused by: ") || starts(line, len, "Suppressed: ") ||
           (starts(line, len, "... ") && len > 9 && memcmp(line + len - 5, " more", 5) == 0);
}

static uint8_t opens(const char *line, size_t len)
{
    static const char traceback[] = "Traceback (most recent call last):";
    size_t n = sizeof traceback - 1;

    if (len >= n && line[len - 1] == ':' && memcmp(line + len - n, traceback, n) == 0)
        return PYTHON;
    if (starts(line, len, "panic: ") || starts(line, len, "fatal error: ") || starts(line, len, "goroutine "))
        return GO;
    return NONE;
}

/* Whether the trace that we are in goes on with this line; *state is what it is in afterwards. */
static bool trace_goes_on(uint8_t *state, const char *line, size_t len, uint8_t opened)
{
    bool indented = len > 1 && blank(line[0]);

    if (frame(line, len)) {
        *state = line[len - 1] == '{' ? OBJECT : FRAMES;
        return true;
    }
    switch (*state) {
    case FRAMES: return cause(line, len);
    case OBJECT:
        if (len == 1 && *line == '}')
            *state = FRAMES;
        return indented || (len == 1 && *line == '}');
    case PYTHON:
        if (!indented && error_line(line, len))
            *state = PYTHON_DONE;
        return indented || *state == PYTHON_DONE;
    case PYTHON_DONE:
    case PYTHON_CHAIN:
        if (opened == PYTHON && *state == PYTHON_CHAIN) {
            *state = PYTHON;
            return true;
        }
        if (starts(line, len, "During handling of") || starts(line, len, "The above exception"))
            *state = PYTHON_CHAIN;
        else
            return len == 0;
        return true;
    case GO: return indented || go_line(line, len);
    default: return false;
    }
}

void tsn_join_start(struct tsn_join *join, const char *line, size_t len)
{
    if (len && line[len - 1] == '\r')
        len--;
    join->lines = 1;
    join->state = opens(line, len);
}

/* Most lines of most logs: outside of a trace, and of a shape that neither continues nor opens one. */
static bool plain(const struct tsn_join *join, const char *line, size_t len)
{
    uint8_t first = (uint8_t)*line, kind = tsn_chars[first];

    return join->state == NONE && !(kind & TSN_C_SPACE) && (uint8_t)line[len - 1] != ':' && line[len - 1] != '\r' &&
           first != '.' && ((join->strict && !memchr("pfgCS", first, 5)) || !(kind & TSN_C_ALPHA));
}

bool tsn_join_continues(struct tsn_join *join, const char *line, size_t len)
{
    uint8_t opened, before = join->state;
    bool more = false;

    if (len && plain(join, line, len)) {
        join->lines = 1;
        return false;
    }
    if (len && line[len - 1] == '\r')
        len--;
    opened = opens(line, len);
    if (join->lines > 0 && join->lines < TSN_JOIN_LINES) {
        more = trace_goes_on(&join->state, line, len, opened);
        if (!more && opened == PYTHON && starts(line, len, "Traceback") && before != PYTHON_DONE) {
            join->state = PYTHON;
            more = true;
        }
        if (!more && !join->strict)
            more = (len > 1 && (line[0] == '\t' || (line[0] == ' ' && line[1] == ' '))) || error_class(line, len) || cause(line, len);
    }
    if (!more) {
        tsn_join_start(join, line, len);
        return false;
    }
    join->lines++;
    if (opened == GO && join->state == NONE)
        join->state = GO;
    return true;
}
