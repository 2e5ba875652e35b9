/* time: clocks for the shell, RFC 3339 and Prometheus durations. See tocsin/base.h. */
#include "tocsin/base.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct tsn_wall tsn_wall_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct tsn_wall){ (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 };
}

struct tsn_mono tsn_mono_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct tsn_mono){ (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec };
}

/* Days since 1970-01-01 of a civil date (proleptic Gregorian), and back.
 * Source: the usual era arithmetic (400 years = 146,097 days, years start in March). */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    int64_t era, yoe, doy;

    y -= m <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = y - era * 400;
    doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, int *m, int *d)
{
    int64_t era, doe, yoe, doy, mp;

    z += 719468;
    era = (z >= 0 ? z : z - 146096) / 146097;
    doe = z - era * 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

void tsn_format_rfc3339(char out[TSN_RFC3339_TEXT], int64_t ms)
{
    int64_t days = ms / 86400000, rest = ms % 86400000, year;
    int month, day;

    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    civil_from_days(days, &year, &month, &day);
    snprintf(out, TSN_RFC3339_TEXT, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)year, month,
             day, (int)(rest / 3600000), (int)(rest / 60000 % 60), (int)(rest / 1000 % 60),
             (int)(rest % 1000));
}

/* Exactly `digits` digits at text[*at]; moves *at. */
static bool take_number(const char *text, size_t len, size_t *at, int digits, int *out)
{
    int value = 0;

    for (int i = 0; i < digits; i++, (*at)++) {
        if (*at >= len || text[*at] < '0' || text[*at] > '9')
            return false;
        value = value * 10 + (text[*at] - '0');
    }
    *out = value;
    return true;
}

static bool take_char(const char *text, size_t len, size_t *at, const char *any_of)
{
    if (*at >= len || !strchr(any_of, text[*at]) || !text[*at])
        return false;
    (*at)++;
    return true;
}

static bool take_fraction(const char *text, size_t len, size_t *at, int *ms)
{
    int scale = 100;
    size_t start;

    *ms = 0;
    if (*at >= len || (text[*at] != '.' && text[*at] != ','))
        return true;
    start = ++*at;
    for (; *at < len && text[*at] >= '0' && text[*at] <= '9'; (*at)++, scale /= 10)
        *ms += (text[*at] - '0') * scale;
    return *at > start;
}

static bool take_offset(const char *text, size_t len, size_t *at, int64_t *offset_ms)
{
    int hours, minutes;
    bool negative;

    *offset_ms = 0;
    if (*at < len && (text[*at] == 'Z' || text[*at] == 'z')) {
        (*at)++;
        return true;
    }
    if (*at >= len || (text[*at] != '+' && text[*at] != '-'))
        return false;
    negative = text[(*at)++] == '-';
    if (!take_number(text, len, at, 2, &hours))
        return false;
    (void)take_char(text, len, at, ":");
    if (!take_number(text, len, at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *offset_ms = (hours * 60 + minutes) * INT64_C(60000) * (negative ? -1 : 1);
    return true;
}

/* Years 0000 to 9999, in UTC. */
#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS INT64_C(253402300799999)

static bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

bool tsn_parse_rfc3339(const char *text, size_t len, int64_t *ms)
{
    static const int month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day, hour, minute, second, fraction;
    int64_t offset_ms;
    size_t at = 0;

    if (!take_number(text, len, &at, 4, &year) || !take_char(text, len, &at, "-") ||
        !take_number(text, len, &at, 2, &month) || !take_char(text, len, &at, "-") ||
        !take_number(text, len, &at, 2, &day) || !take_char(text, len, &at, "Tt ") ||
        !take_number(text, len, &at, 2, &hour) || !take_char(text, len, &at, ":") ||
        !take_number(text, len, &at, 2, &minute) || !take_char(text, len, &at, ":") ||
        !take_number(text, len, &at, 2, &second) || !take_fraction(text, len, &at, &fraction) ||
        !take_offset(text, len, &at, &offset_ms) || at != len)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1] || hour > 23 ||
        minute > 59 || second > 60 || (month == 2 && day == 29 && !is_leap(year)))
        return false;
    *ms = days_from_civil(year, month, day) * INT64_C(86400000) +
          ((hour * 60 + minute) * INT64_C(60) + second) * 1000 + fraction - offset_ms;
    return *ms >= FIRST_MS && *ms <= LAST_MS; /* an offset may lead out of the years that have four digits */
}

static const struct {
    const char *name;
    int64_t ms;
} units[] = {
    { "y", INT64_C(365) * 86400000 }, { "w", INT64_C(7) * 86400000 }, { "d", 86400000 },
    { "h", 3600000 },                 { "m", 60000 },                 { "s", 1000 },
    { "ms", 1 },
};

/* Source: Prometheus's duration grammar: each unit at most once, largest first; bare "0" is 0. */
bool tsn_parse_duration(const char *text, size_t len, int64_t *ms)
{
    size_t at = 0, next_unit = 0;
    int64_t total = 0;

    if (len == 1 && text[0] == '0') {
        *ms = 0;
        return true;
    }
    if (!len)
        return false;
    while (at < len) {
        int64_t number = 0;
        size_t start = at, unit_start, unit;

        for (; at < len && text[at] >= '0' && text[at] <= '9'; at++)
            if (__builtin_mul_overflow(number, 10, &number) ||
                __builtin_add_overflow(number, text[at] - '0', &number))
                return false;
        if (at == start)
            return false;
        for (unit_start = at; at < len && text[at] >= 'a' && text[at] <= 'z'; at++)
            continue;
        for (unit = next_unit; unit < TSN_ARRAY_LEN(units); unit++)
            if (strlen(units[unit].name) == at - unit_start &&
                memcmp(units[unit].name, text + unit_start, at - unit_start) == 0)
                break;
        if (unit == TSN_ARRAY_LEN(units))
            return false;
        next_unit = unit + 1;
        if (__builtin_mul_overflow(number, units[unit].ms, &number) ||
            __builtin_add_overflow(total, number, &total))
            return false;
    }
    *ms = total;
    return true;
}

/* Source: Prometheus's model.Duration text: years and weeks only when they divide evenly. */
void tsn_format_duration(char out[TSN_DURATION_TEXT], int64_t ms)
{
    size_t len = 0;

    if (ms == 0) {
        snprintf(out, TSN_DURATION_TEXT, "0s");
        return;
    }
    if (ms < 0) {
        out[len++] = '-';
        ms = -ms;
    }
    for (size_t i = 0; i < TSN_ARRAY_LEN(units); i++) {
        if (i < 2 && ms % units[i].ms != 0)
            continue;
        if (ms / units[i].ms == 0)
            continue;
        len += (size_t)snprintf(out + len, TSN_DURATION_TEXT - len, "%lld%s",
                                (long long)(ms / units[i].ms), units[i].name);
        ms %= units[i].ms;
    }
}
