/*
 * template_time: times and durations as Go prints them.
 *
 * Times are UTC milliseconds, since that is all that Prometheus's toTime keeps. The layout language
 * of time.Format is read greedily from left to right, as Go does: a layout is the reference time
 * Mon Jan 2 15:04:05 MST 2006 with its parts in any order.
 */
#include "rules/template.h"

static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July",
                                      "August", "September", "October", "November", "December" };
static const char *const weekdays[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
                                        "Saturday" };

const char *tmpl_month_name(int month)
{
    return month >= 1 && month <= 12 ? months[month - 1] : "%!Month";
}

const char *tmpl_weekday_name(int weekday)
{
    return weekday >= 0 && weekday < 7 ? weekdays[weekday] : "%!Weekday";
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Source: days-from-civil arithmetic on eras of 400 years, years beginning in March. */
struct tmpl_civil tmpl_civil_of(int64_t ms)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int64_t days = floor_div(ms, 86400000), in_day = ms - days * 86400000;
    int64_t z = days + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct tmpl_civil c = { .day = (int)(doy - (153 * mp + 2) / 5 + 1),
                            .month = (int)(mp < 10 ? mp + 3 : mp - 9) };
    bool leap;

    c.year = yoe + era * 400 + (c.month <= 2);
    c.hour = (int)(in_day / 3600000);
    c.minute = (int)(in_day / 60000 % 60);
    c.second = (int)(in_day / 1000 % 60);
    c.milli = (int)(in_day % 1000);
    c.weekday = (int)(((days + 4) % 7 + 7) % 7);
    leap = c.year % 4 == 0 && (c.year % 100 != 0 || c.year % 400 == 0);
    c.yearday = before[c.month - 1] + c.day + (leap && c.month > 2);
    return c;
}

static void put_fraction(struct tsn_buf *out, int64_t value, int digits)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%0*lld", digits, (long long)value);

    while (n && text[n - 1] == '0')
        n--;
    if (n) {
        tsn_buf_putc(out, '.');
        tsn_buf_append(out, text, (size_t)n);
    }
}

void tmpl_time_text(struct tsn_buf *out, int64_t ms)
{
    struct tmpl_civil c = tmpl_civil_of(ms);

    tsn_buf_printf(out, "%04lld-%02d-%02d %02d:%02d:%02d", (long long)c.year, c.month, c.day, c.hour, c.minute,
                   c.second);
    put_fraction(out, c.milli, 3);
    tsn_buf_puts(out, " +0000 UTC");
}

void tmpl_duration_text(struct tsn_buf *out, int64_t ns)
{
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

    if (!u) {
        tsn_buf_puts(out, "0s");
        return;
    }
    if (ns < 0)
        tsn_buf_putc(out, '-');
    if (u < 1000) {
        tsn_buf_printf(out, "%lluns", (unsigned long long)u);
    } else if (u < 1000000) {
        tsn_buf_printf(out, "%llu", (unsigned long long)(u / 1000));
        put_fraction(out, (int64_t)(u % 1000), 3);
        tsn_buf_puts(out, "\xc2\xb5s");
    } else if (u < 1000000000) {
        tsn_buf_printf(out, "%llu", (unsigned long long)(u / 1000000));
        put_fraction(out, (int64_t)(u % 1000000), 6);
        tsn_buf_puts(out, "ms");
    } else {
        uint64_t s = u / 1000000000;

        if (s >= 3600)
            tsn_buf_printf(out, "%lluh", (unsigned long long)(s / 3600));
        if (s >= 60)
            tsn_buf_printf(out, "%llum", (unsigned long long)(s / 60 % 60));
        tsn_buf_printf(out, "%llu", (unsigned long long)(s % 60));
        put_fraction(out, (int64_t)(u % 1000000000), 9);
        tsn_buf_putc(out, 's');
    }
}

/* ---- layouts ------------------------------------------------------------------------------ */

/* Longest first where one begins another. */
enum part {
    PART_MONTH_NAME, PART_MONTH_SHORT, PART_DAY_NAME, PART_DAY_SHORT, PART_ZONE_NAME, PART_YEARDAY,
    PART_MONTH_2, PART_DAY_2, PART_HOUR12_2, PART_MINUTE_2, PART_SECOND_2, PART_YEAR_2, PART_YEAR,
    PART_HOUR24, PART_DAY_PAD, PART_YEARDAY_PAD, PART_PM, PART_PM_LOWER, PART_OFFSET, PART_MONTH,
    PART_DAY, PART_HOUR12, PART_MINUTE, PART_SECOND
};
static const struct {
    const char *text;
    enum part part;
} parts[] = {
    { "January", PART_MONTH_NAME }, { "Jan", PART_MONTH_SHORT }, { "Monday", PART_DAY_NAME },
    { "Mon", PART_DAY_SHORT },      { "MST", PART_ZONE_NAME },   { "002", PART_YEARDAY },
    { "01", PART_MONTH_2 },         { "02", PART_DAY_2 },        { "03", PART_HOUR12_2 },
    { "04", PART_MINUTE_2 },        { "05", PART_SECOND_2 },     { "06", PART_YEAR_2 },
    { "2006", PART_YEAR },          { "15", PART_HOUR24 },       { "__2", PART_YEARDAY_PAD },
    { "_2", PART_DAY_PAD },         { "PM", PART_PM },           { "pm", PART_PM_LOWER },
    { "-07:00:00", PART_OFFSET },   { "-07:00", PART_OFFSET },   { "-070000", PART_OFFSET },
    { "-0700", PART_OFFSET },       { "-07", PART_OFFSET },      { "Z07:00:00", PART_OFFSET },
    { "Z07:00", PART_OFFSET },      { "Z070000", PART_OFFSET },  { "Z0700", PART_OFFSET },
    { "Z07", PART_OFFSET },         { "1", PART_MONTH },         { "2", PART_DAY },
    { "3", PART_HOUR12 },           { "4", PART_MINUTE },        { "5", PART_SECOND },
};

static void put_offset(struct tsn_buf *out, const char *layout)
{
    if (layout[0] == 'Z') {
        tsn_buf_putc(out, 'Z');
        return;
    }
    tsn_buf_putc(out, '+');
    for (const char *s = layout + 1; *s; s++)
        tsn_buf_putc(out, *s == '7' ? '0' : *s);
}

static void put_part(struct tsn_buf *out, const struct tmpl_civil *c, enum part part, const char *layout)
{
    int hour12 = c->hour % 12 ? c->hour % 12 : 12;

    switch (part) {
    case PART_MONTH_NAME: tsn_buf_puts(out, tmpl_month_name(c->month)); break;
    case PART_MONTH_SHORT: tsn_buf_append(out, tmpl_month_name(c->month), 3); break;
    case PART_DAY_NAME: tsn_buf_puts(out, tmpl_weekday_name(c->weekday)); break;
    case PART_DAY_SHORT: tsn_buf_append(out, tmpl_weekday_name(c->weekday), 3); break;
    case PART_ZONE_NAME: tsn_buf_puts(out, "UTC"); break;
    case PART_YEARDAY: tsn_buf_printf(out, "%03d", c->yearday); break;
    case PART_YEARDAY_PAD: tsn_buf_printf(out, "%3d", c->yearday); break;
    case PART_MONTH_2: tsn_buf_printf(out, "%02d", c->month); break;
    case PART_MONTH: tsn_buf_printf(out, "%d", c->month); break;
    case PART_DAY_2: tsn_buf_printf(out, "%02d", c->day); break;
    case PART_DAY_PAD: tsn_buf_printf(out, "%2d", c->day); break;
    case PART_DAY: tsn_buf_printf(out, "%d", c->day); break;
    case PART_HOUR24: tsn_buf_printf(out, "%02d", c->hour); break;
    case PART_HOUR12_2: tsn_buf_printf(out, "%02d", hour12); break;
    case PART_HOUR12: tsn_buf_printf(out, "%d", hour12); break;
    case PART_MINUTE_2: tsn_buf_printf(out, "%02d", c->minute); break;
    case PART_MINUTE: tsn_buf_printf(out, "%d", c->minute); break;
    case PART_SECOND_2: tsn_buf_printf(out, "%02d", c->second); break;
    case PART_SECOND: tsn_buf_printf(out, "%d", c->second); break;
    case PART_YEAR_2: tsn_buf_printf(out, "%02d", (int)(c->year % 100)); break;
    case PART_YEAR: tsn_buf_printf(out, "%04lld", (long long)c->year); break;
    case PART_PM: tsn_buf_puts(out, c->hour >= 12 ? "PM" : "AM"); break;
    case PART_PM_LOWER: tsn_buf_puts(out, c->hour >= 12 ? "pm" : "am"); break;
    case PART_OFFSET: put_offset(out, layout); break;
    }
}

/* ".000", ",000", ".999" of any length, not followed by a digit: fractions of a second. */
static size_t fraction_len(struct tmpl_str l, size_t at)
{
    size_t end = at + 1;

    if ((l.text[at] != '.' && l.text[at] != ',') || end >= l.len || (l.text[end] != '0' && l.text[end] != '9'))
        return 0;
    while (end < l.len && l.text[end] == l.text[at + 1])
        end++;
    if (end < l.len && l.text[end] >= '0' && l.text[end] <= '9')
        return 0;
    return end - at;
}

static void format_fraction(struct tsn_buf *out, int milli, const char *layout, size_t len)
{
    char digits[16];
    size_t want = len - 1 > 9 ? 9 : len - 1;

    snprintf(digits, sizeof digits, "%03d000000", milli);
    if (layout[1] == '9') {
        while (want && digits[want - 1] == '0')
            want--;
        if (!want)
            return;
    }
    tsn_buf_putc(out, layout[0]);
    tsn_buf_append(out, digits, want);
}

void tmpl_time_format(struct tsn_buf *out, int64_t ms, struct tmpl_str l)
{
    struct tmpl_civil c = tmpl_civil_of(ms);

    for (size_t at = 0; at < l.len;) {
        size_t fraction = fraction_len(l, at), i;

        if (fraction) {
            format_fraction(out, c.milli, l.text + at, fraction);
            at += fraction;
            continue;
        }
        for (i = 0; i < TSN_ARRAY_LEN(parts); i++) {
            size_t n = strlen(parts[i].text);

            if (l.len - at < n || memcmp(l.text + at, parts[i].text, n))
                continue;
            /* "Jan" and "Mon" inside a lower-case word are words, not parts; "_2006" is a year. */
            if ((parts[i].part == PART_MONTH_SHORT || parts[i].part == PART_DAY_SHORT) && at + n < l.len &&
                l.text[at + n] >= 'a' && l.text[at + n] <= 'z')
                continue;
            if (parts[i].part == PART_DAY_PAD && l.len - at >= 5 && !memcmp(l.text + at + 1, "2006", 4))
                continue;
            put_part(out, &c, parts[i].part, parts[i].text);
            at += n;
            break;
        }
        if (i == TSN_ARRAY_LEN(parts))
            tsn_buf_putc(out, l.text[at++]);
    }
}
