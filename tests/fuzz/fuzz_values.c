/*
 * fuzz_values: each line as every value that has a text: numbers, durations, times, hashes, addresses. What is read
 * and written again must read as the same.
 */
#include "tocsin/config.h"
#include "tocsin/model.h"
#include "tocsin/series_notation.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void numbers(const char *text, size_t len)
{
    char out[TSN_DOUBLE_TEXT];
    struct tsn_u128 a, b;
    char hex[33];
    tsn_fixed fixed;
    double d, e;
    int64_t i;

    if (tsn_parse_double(text, len, &d)) {
        tsn_format_double(out, sizeof out, d, 'g', 21);
        TSN_ASSERT(tsn_parse_double(out, strlen(out), &e) && (e == d || (isnan(d) && isnan(e)) || fabs(d) < 1e-300));
        (void)tsn_fixed_from_double(d, &fixed);
    }
    (void)tsn_parse_i64(text, len, &i);
    if (tsn_u128_parse_hex(text, len, &a)) {
        tsn_u128_hex(a, hex);
        TSN_ASSERT(tsn_u128_parse_hex(hex, 32, &b) && tsn_u128_equal(a, b));
    }
}

static void times(const char *text, size_t len)
{
    char out[TSN_RFC3339_TEXT];
    int64_t ms, again;

    if (tsn_parse_rfc3339(text, len, &ms)) {
        tsn_format_rfc3339(out, ms);
        TSN_ASSERT(tsn_parse_rfc3339(out, strlen(out), &again) && again == ms);
    }
    if (tsn_parse_duration(text, len, &ms))
        TSN_ASSERT(ms >= 0);
    if (tsn_parse_i64(text, len, &ms))
        tsn_format_rfc3339(out, ms); /* of any number there is */
}

static void names(const char *text)
{
    enum tsn_alert_state alert;
    enum tsn_end_reason reason;
    enum tsn_command_kind command;
    enum tsn_incident_event_type type;
    enum tsn_incident_state incident;
    char host[256];
    int port;

    (void)tsn_alert_state_parse(text, &alert);
    (void)tsn_end_reason_parse(text, &reason);
    (void)tsn_command_kind_parse(text, &command);
    (void)tsn_incident_event_type_parse(text, &type);
    (void)tsn_incident_state_parse(text, &incident);
    if (tsn_config_listen(text, host, &port))
        TSN_ASSERT(port >= 0 && port < 65536 && strlen(host) < sizeof host);
}

static void one(const char *text, size_t len)
{
    char *terminated = tsn_strndup(text, len);
    struct tsn_labels *labels = NULL;
    uint32_t point;

    numbers(text, len);
    times(text, len);
    names(terminated);
    if (!tsn_series_labels_parse(text, len, &labels, NULL))
        tsn_labels_unref(labels);
    for (size_t at = 0; at < len;) {
        size_t n = tsn_utf8_decode(text + at, len - at, &point);

        at += n ? n : 1;
    }
    tsn_free(terminated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *line = (const char *)data + at, *end = memchr(line, '\n', size - at);
        size_t len = end ? (size_t)(end - line) : size - at;
        char *exact = tsn_memdup(line, len); /* so that a read behind its end is seen */

        one(exact, len);
        tsn_free(exact);
        at += len + 1;
    }
    return 0;
}
