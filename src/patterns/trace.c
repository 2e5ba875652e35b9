/*
 * trace: what of an event of many lines says which error it is.
 *
 * Two traces of one error differ in how deep the stack was, in frames of pools and proxies, in goroutines that stood
 * around. Their signatures must not. Kept are: the lines that are no frames, and of each error's frames the one it came from: the first of
 * Java and Node, the last of Python, the first function of Go's first goroutine. Joined by line ends, which the scanner takes for blanks.
 * Lines that are of no trace (a statement, a table) stay as they are.
 *
 *     java.lang.IllegalStateException: no route            kept
 *         at a.B.c(B.java:12)                              kept: it came from here
 *         at a.B.d(B.java:40)
 *     Caused by: java.io.IOException: closed               kept
 *         at x.Y.z(Y.java:7)                               kept
 *         ... 12 more
 */
#include "patterns/chars.h"
#include "tocsin/patterns.h"

#include <string.h>

struct trace {
    struct tsn_buf *out;
    struct tsn_text file; /* Python's frame met last; written when its error comes */
    bool framed;          /* the frame of the present error is written */
    bool python, go;
};

static bool starts(struct tsn_text t, const char *with)
{
    size_t n = strlen(with);

    return t.len >= n && memcmp(t.data, with, n) == 0;
}

static bool ends(struct tsn_text t, const char *with)
{
    size_t n = strlen(with);

    return t.len >= n && memcmp(t.data + t.len - n, with, n) == 0;
}

static void keep(struct trace *t, struct tsn_text line)
{
    if (t->out->len)
        tsn_buf_putc(t->out, '\n');
    tsn_buf_append(t->out, line.data, line.len);
}

static void keep_file(struct trace *t)
{
    if (t->file.data)
        keep(t, t->file);
    t->file.data = NULL;
}

/* Indented, blanks cut off. */
static void inner_line(struct trace *t, struct tsn_text line)
{
    if (starts(line, "at ") || t->go) {
        if (!t->framed && !t->go)
            keep(t, line);
        t->framed = true;
    } else if (t->python) {
        if (starts(line, "File \""))
            t->file = line;
    } else if (starts(line, "Caused by: ") || starts(line, "Suppressed: ")) {
        t->framed = false;
        keep(t, line);
    } else if (!(starts(line, "... ") && ends(line, " more")) && !t->framed) {
        keep(t, line);
    }
}

/* False: nothing more is of interest. */
static bool outer_line(struct trace *t, struct tsn_text line)
{
    bool python = ends(line, "Traceback (most recent call last):");

    if (t->go) {
        if (starts(line, "goroutine "))
            return false;
        if (!t->framed)
            keep(t, line);
        t->framed |= line.data[line.len - 1] == ')';
        return true;
    }
    if (starts(line, "goroutine ") && ends(line, "]:")) {
        t->go = true;
        t->framed = false;
        return true;
    }
    if (line.len == 1 && *line.data == '}')
        return true;
    keep_file(t);
    t->python = python;
    t->framed = false;
    keep(t, line);
    return true;
}

struct tsn_text tsn_trace_text(const char *text, size_t len, struct tsn_buf *out)
{
    const char *p = text, *end = text + len, *newline = memchr(text, '\n', len);
    struct trace t = { .out = out };
    bool more = true;

    if (!newline)
        return (struct tsn_text){ text, len };
    tsn_buf_reset(out);
    while (more && p < end) {
        struct tsn_text line;
        bool inner;

        newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline)
            newline = end;
        line = (struct tsn_text){ p, (size_t)(newline - p) };
        while (line.len && (tsn_chars[(uint8_t)line.data[line.len - 1]] & TSN_C_SPACE))
            line.len--;
        inner = line.len && (*line.data == ' ' || *line.data == '\t');
        while (line.len && (tsn_chars[(uint8_t)*line.data] & TSN_C_SPACE)) {
            line.data++;
            line.len--;
        }
        if (line.len && inner && p > text)
            inner_line(&t, line);
        else if (line.len)
            more = outer_line(&t, line);
        p = newline < end ? newline + 1 : end;
    }
    keep_file(&t);
    return (struct tsn_text){ tsn_buf_str(out), out->len };
}
