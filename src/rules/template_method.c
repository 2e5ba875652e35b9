/*
 * template_method: methods of the times and durations that toTime and toDuration give.
 *
 * Go lets a template call any method; these are the ones that make sense in an alert's text. The
 * receiver is the first argument. Times are UTC, so UTC and Local give the same.
 */
#include "rules/template.h"

typedef bool method(struct tmpl_run *, const struct tmpl_value *, size_t, struct tmpl_value *, const char **);

static struct tmpl_value named_int(int64_t value, const char *type)
{
    return (struct tmpl_value){ .kind = VAL_INT, .type = type, .u.integer = value };
}

#define METHOD(name, expr)                                                                                \
    static bool name(struct tmpl_call *c)                                                                 \
    {                                                                                                     \
        int64_t t = c->args[0].u.integer;                                                                 \
                                                                                                          \
        *c->out = (expr);                                                                                 \
        return true;                                                                                      \
    }

METHOD(time_year, tmpl_int(tmpl_civil_of(t).year))
METHOD(time_month, named_int(tmpl_civil_of(t).month, "time.Month"))
METHOD(time_day, tmpl_int(tmpl_civil_of(t).day))
METHOD(time_hour, tmpl_int(tmpl_civil_of(t).hour))
METHOD(time_minute, tmpl_int(tmpl_civil_of(t).minute))
METHOD(time_second, tmpl_int(tmpl_civil_of(t).second))
METHOD(time_nanosecond, tmpl_int((int64_t)tmpl_civil_of(t).milli * 1000000))
METHOD(time_weekday, named_int(tmpl_civil_of(t).weekday, "time.Weekday"))
METHOD(time_yearday, tmpl_int(tmpl_civil_of(t).yearday))
METHOD(time_unix, named_int(t / 1000 - (t % 1000 < 0), "int64"))
METHOD(time_unix_milli, named_int(t, "int64"))
METHOD(time_unix_micro, named_int(t * 1000, "int64"))
METHOD(time_unix_nano, named_int(t * 1000000, "int64"))
METHOD(time_utc, ((struct tmpl_value){ .kind = VAL_TIME, .type = "time.Time", .u.integer = t }))
METHOD(time_is_zero, tmpl_bool(t == INT64_C(-62135596800000)))
METHOD(duration_hours, tmpl_float((double)(t / INT64_C(3600000000000)) +
                                  (double)(t % INT64_C(3600000000000)) / 3.6e12))
METHOD(duration_minutes, tmpl_float((double)(t / INT64_C(60000000000)) + (double)(t % INT64_C(60000000000)) / 6e10))
METHOD(duration_seconds, tmpl_float((double)(t / 1000000000) + (double)(t % 1000000000) / 1e9))
METHOD(duration_milliseconds, named_int(t / 1000000, "int64"))
METHOD(duration_microseconds, named_int(t / 1000, "int64"))
METHOD(duration_nanoseconds, named_int(t, "int64"))
METHOD(duration_abs, ((struct tmpl_value){ .kind = VAL_DURATION,
                                           .type = "time.Duration",
                                           .u.integer = t == INT64_MIN ? INT64_MAX : t < 0 ? -t : t }))

static bool as_text(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    if (c->args[0].kind == VAL_TIME)
        tmpl_time_text(&text, c->args[0].u.integer);
    else
        tmpl_duration_text(&text, c->args[0].u.integer);
    *c->out = tmpl_string(tmpl_keep(c->run, &text));
    return true;
}

static bool time_format(struct tmpl_call *c)
{
    struct tsn_buf text = TSN_BUF_INIT;

    tmpl_time_format(&text, c->args[0].u.integer, c->args[1].u.str);
    *c->out = tmpl_string(tmpl_keep(c->run, &text));
    return true;
}

static const struct tmpl_function time_methods[] = {
    { "Format", "s", time_format },        { "Year", "", time_year },
    { "Month", "", time_month },           { "Day", "", time_day },
    { "Hour", "", time_hour },             { "Minute", "", time_minute },
    { "Second", "", time_second },         { "Nanosecond", "", time_nanosecond },
    { "Weekday", "", time_weekday },       { "YearDay", "", time_yearday },
    { "Unix", "", time_unix },             { "UnixMilli", "", time_unix_milli },
    { "UnixMicro", "", time_unix_micro },  { "UnixNano", "", time_unix_nano },
    { "UTC", "", time_utc },               { "Local", "", time_utc },
    { "IsZero", "", time_is_zero },        { "String", "", as_text },
    { NULL, NULL, NULL },
};
static const struct tmpl_function duration_methods[] = {
    { "Hours", "", duration_hours },
    { "Minutes", "", duration_minutes },
    { "Seconds", "", duration_seconds },
    { "Milliseconds", "", duration_milliseconds },
    { "Microseconds", "", duration_microseconds },
    { "Nanoseconds", "", duration_nanoseconds },
    { "Abs", "", duration_abs },
    { "String", "", as_text },
    { NULL, NULL, NULL },
};

const struct tmpl_function *tmpl_method_find(const struct tmpl_value *receiver, struct tmpl_str name)
{
    const struct tmpl_function *m = receiver->kind == VAL_TIME       ? time_methods
                                    : receiver->kind == VAL_DURATION ? duration_methods
                                                                     : NULL;

    for (; m && m->name; m++)
        if (strlen(m->name) == name.len && !memcmp(m->name, name.text, name.len))
            return m;
    return NULL;
}
