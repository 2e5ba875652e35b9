/*
 * date: parts of a UTC date (private to promql/), for day_of_month() and its kin.
 *
 * PromQL hands any double to Go's time package, which counts seconds from a far past in 64 unsigned
 * bits and wraps; values beyond 64 bits, and NaN, become the least integer, as on amd64. Followed
 * here, so that even nonsense gives the same nonsense. Source: Go's time.Unix, time.absSeconds.
 */
#include "promql/kernels.h"

#include <math.h>

/* The year that the wrapping count starts in: congruent to 1 in the cycle of 400 years. */
#define FIRST_YEAR INT64_C(-292277022399)
/* Seconds from January 1 of that year to 1970. */
#define FIRST_TO_UNIX UINT64_C(9223372028715321600)

struct date {
    int64_t year;
    int month, day, day_of_year; /* from 1 */
    bool leap;
};

static int days_before(int month, bool leap)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };

    return before[month] + (leap && month >= 2);
}

/* days since January 1 of FIRST_YEAR. */
static struct date date_of(uint64_t days)
{
    struct date d;
    uint64_t cycles = days / 146097, rest = days % 146097; /* 400 years */
    uint64_t centuries = rest / 36524, fours, ones;

    centuries -= centuries >> 2; /* the cycle's last day belongs to its fourth century */
    rest -= centuries * 36524;
    fours = rest / 1461;
    rest -= fours * 1461;
    ones = rest / 365;
    ones -= ones >> 2;
    rest -= ones * 365;
    d.year = FIRST_YEAR + (int64_t)(cycles * 400 + centuries * 100 + fours * 4 + ones);
    d.leap = ones == 3 && (fours != 24 || centuries == 3);
    d.day_of_year = (int)rest + 1;
    for (d.month = 1; (int)rest >= days_before(d.month, d.leap); d.month++)
        continue;
    d.day = (int)rest - days_before(d.month - 1, d.leap) + 1;
    return d;
}

double tsn_date_part(enum tsn_function_id id, double seconds)
{
    int64_t unix_s = seconds >= -0x1p63 && seconds < 0x1p63 ? (int64_t)seconds : INT64_MIN;
    uint64_t since = (uint64_t)unix_s + FIRST_TO_UNIX, days = since / 86400;
    struct date d = date_of(days);

    switch (id) {
    case TSN_FN_MINUTE: return (double)(since % 3600 / 60);
    case TSN_FN_HOUR: return (double)(since % 86400 / 3600);
    case TSN_FN_DAY_OF_WEEK: return (double)((days + 1) % 7); /* that January 1 was a Monday */
    case TSN_FN_DAY_OF_MONTH: return d.day;
    case TSN_FN_DAY_OF_YEAR: return d.day_of_year;
    case TSN_FN_MONTH: return d.month;
    case TSN_FN_YEAR: return (double)d.year;
    case TSN_FN_DAYS_IN_MONTH:
    default: return days_before(d.month, d.leap) - days_before(d.month - 1, d.leap);
    }
}
