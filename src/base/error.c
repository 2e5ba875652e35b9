/* error: operating errors with a message for people, and asserts for bugs. See tocsin/base.h. */
#include "tocsin/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void tsn_assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "tocsin: bug: %s:%d: %s: assertion failed: %s\n", file, line, func, cond);
    fflush(stderr);
    abort();
}

enum tsn_err tsn_error_set(struct tsn_error *error, enum tsn_err code, const char *fmt, ...)
{
    va_list args;

    if (!error)
        return code;
    error->code = code;
    error->retriable = code == TSN_ERR_UNREACHABLE || code == TSN_ERR_TIMEOUT;
    error->fatal = false;
    va_start(args, fmt);
    vsnprintf(error->message, sizeof error->message, fmt, args);
    va_end(args);
    return code;
}

enum tsn_err tsn_error_prefix(struct tsn_error *error, const char *fmt, ...)
{
    char old[sizeof error->message];
    va_list args;
    int len;

    if (!error)
        return TSN_OK;
    memcpy(old, error->message, sizeof old);
    va_start(args, fmt);
    len = vsnprintf(error->message, sizeof error->message, fmt, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof error->message)
        snprintf(error->message + len, sizeof error->message - (size_t)len, ": %.*s",
                 (int)(sizeof old - 3 - (size_t)len), old);
    return error->code;
}

const char *tsn_err_name(enum tsn_err code)
{
    static const char *const names[] = {
        [TSN_OK] = "ok",
        [TSN_ERR_INVALID] = "invalid",
        [TSN_ERR_LIMIT] = "limit",
        [TSN_ERR_NOT_FOUND] = "not_found",
        [TSN_ERR_IO] = "io",
        [TSN_ERR_UNREACHABLE] = "unreachable",
        [TSN_ERR_TIMEOUT] = "timeout",
        [TSN_ERR_CONFLICT] = "conflict",
        [TSN_ERR_FENCED] = "fenced",
        [TSN_ERR_UNSUPPORTED] = "unsupported",
        [TSN_ERR_INTERNAL] = "internal",
    };

    return (size_t)code < TSN_ARRAY_LEN(names) ? names[code] : "unknown";
}
