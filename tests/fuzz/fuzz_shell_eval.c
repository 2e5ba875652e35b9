/*
 * fuzz_shell_eval: the bytes as standard input of `eval --bulk` and of `eval --data -`, through the command itself. Every line that is not
 * empty gets exactly one line of JSON back, whatever it holds, and the command ends with the code its table says.
 */
#include "cli/cli.h"
#include "tocsin/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs the command with `data` as its standard input; its output goes to *text (malloc'ed by stdio). */
static int run(int argc, char **argv, const uint8_t *data, size_t size, char **text, size_t *len)
{
    FILE *in = stdin, *out = stdout, *err = stderr;
    int code;

    stdin = fmemopen((void *)(uintptr_t)data, size, "r");
    stdout = open_memstream(text, len);
    stderr = fopen("/dev/null", "w");
    TSN_ASSERT(stdin && stdout && stderr);
    code = tsn_cmd_eval(argc, argv);
    fclose(stdin);
    fclose(stdout);
    fclose(stderr);
    stdin = in;
    stdout = out;
    stderr = err;
    return code;
}

static size_t cases(const char *data, size_t size)
{
    size_t count = 0;

    for (const char *end = data + size; data < end;) {
        const char *stop = memchr(data, '\n', (size_t)(end - data));
        size_t len = stop ? (size_t)(stop - data) : (size_t)(end - data);

        while (len && data[len - 1] == '\r')
            len--;
        count += len > 0;
        data = stop ? stop + 1 : end;
    }
    return count;
}

static void check(const char *text, size_t len, size_t expected)
{
    struct tsn_json json;
    size_t lines = 0;

    tsn_json_init(&json);
    while (len) {
        const char *stop = memchr(text, '\n', len);

        TSN_ASSERT(stop && tsn_json_parse(&json, text, (size_t)(stop - text), NULL) == TSN_OK);
        len -= (size_t)(stop - text) + 1;
        text = stop + 1;
        lines++;
    }
    tsn_json_release(&json);
    TSN_ASSERT(lines == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bulk[] = { (char *)(uintptr_t)"eval", (char *)(uintptr_t)"--bulk", NULL };
    char *one[] = { (char *)(uintptr_t)"eval", (char *)(uintptr_t)"sum(rate(x[5m])) + count(x)", (char *)(uintptr_t)"--data",
                    (char *)(uintptr_t)"-", (char *)(uintptr_t)"--at", (char *)(uintptr_t)"60", NULL };
    char *text = NULL;
    size_t len = 0;
    int code;

    if (!size)
        return 0;
    TSN_ASSERT(run(2, bulk, data, size, &text, &len) == TSN_EXIT_OK);
    check(text, len, cases((const char *)data, size));
    free(text);
    text = NULL;
    code = run(6, one, data, size, &text, &len);
    TSN_ASSERT(code == TSN_EXIT_OK || code == TSN_EXIT_INVALID || code == TSN_EXIT_FAILED);
    free(text);
    return 0;
}
