/*
 * metrics: see tocsin/metrics.h.
 *
 * A value is a double's bits in an atomic word; adding is a compare-and-swap loop, which under our few writers a
 * metric succeeds at once. The lock of a family guards only its table of metrics. Nothing is ever removed, so that a
 * pointer once given stays good.
 */
#include "tocsin/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX 1000

struct tsn_metric {
    struct tsn_metric_family *family;
    char *values[TSN_METRIC_MAX_LABELS];
    atomic_bool shown;
    _Atomic uint64_t value_bits; /* a double; a histogram's sum */
    _Atomic uint64_t *counts;    /* histogram: bound_count + 1, not cumulative */
};

struct tsn_metric_family {
    char *name, *help;
    enum tsn_metric_kind kind;
    char *labels[TSN_METRIC_MAX_LABELS];
    size_t label_count, max, bound_count;
    double bounds[TSN_METRIC_MAX_BUCKETS];
    atomic_flag lock;
    struct tsn_map by_values; /* length-prefixed values → struct tsn_metric * */
    struct tsn_metric *other;
};

struct tsn_metrics {
    TSN_VEC(struct tsn_metric_family *) families;
};

/* ---- making ------------------------------------------------------------------------------- */

struct tsn_metrics *tsn_metrics_new(void) { return tsn_calloc(1, sizeof(struct tsn_metrics)); }

static void free_metric(struct tsn_metric *m)
{
    for (size_t i = 0; m && i < m->family->label_count; i++)
        tsn_free(m->values[i]);
    if (m)
        tsn_free((void *)(uintptr_t)m->counts);
    tsn_free(m);
}

static void free_family(struct tsn_metric_family *f)
{
    tsn_map_foreach(&f->by_values, e)
        free_metric(e->value);
    free_metric(f->other);
    tsn_map_release(&f->by_values);
    for (size_t i = 0; i < f->label_count; i++)
        tsn_free(f->labels[i]);
    tsn_free(f->name);
    tsn_free(f->help);
    tsn_free(f);
}

void tsn_metrics_free(struct tsn_metrics **metrics)
{
    if (!*metrics)
        return;
    for (size_t i = 0; i < (*metrics)->families.len; i++)
        free_family((*metrics)->families.items[i]);
    tsn_vec_release(&(*metrics)->families);
    tsn_free(*metrics);
    *metrics = NULL;
}

static bool name_fits(const char *name, bool colon)
{
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_' || (colon && *c == ':');

        if (!letter && (c == name || *c < '0' || *c > '9'))
            return false;
    }
    return *name != '\0';
}

static bool ends_with_total(const char *name)
{
    size_t len = strlen(name);

    return len > 6 && strcmp(name + len - 6, "_total") == 0;
}

static struct tsn_metric *new_metric(struct tsn_metric_family *f, const char *const *values)
{
    struct tsn_metric *m = tsn_calloc(1, sizeof *m);

    m->family = f;
    for (size_t i = 0; i < f->label_count; i++)
        m->values[i] = tsn_strdup(values ? values[i] : "other");
    if (f->kind == TSN_METRIC_HISTOGRAM)
        m->counts = tsn_calloc(f->bound_count + 1, sizeof *m->counts);
    return m;
}

struct tsn_metric_family *tsn_metrics_family(struct tsn_metrics *metrics, const struct tsn_metric_spec *spec)
{
    struct tsn_metric_family *f = tsn_calloc(1, sizeof *f);

    TSN_ASSERT(name_fits(spec->name, true) && ends_with_total(spec->name) == (spec->kind == TSN_METRIC_COUNTER));
    for (size_t i = 0; i < metrics->families.len; i++)
        TSN_ASSERT(strcmp(metrics->families.items[i]->name, spec->name) != 0);
    for (; spec->labels[f->label_count]; f->label_count++) {
        TSN_ASSERT(f->label_count < TSN_METRIC_MAX_LABELS && name_fits(spec->labels[f->label_count], false));
        TSN_ASSERT(spec->kind != TSN_METRIC_HISTOGRAM || strcmp(spec->labels[f->label_count], "le") != 0);
        f->labels[f->label_count] = tsn_strdup(spec->labels[f->label_count]);
    }
    f->name = tsn_strdup(spec->name);
    f->help = tsn_strdup(spec->help);
    f->kind = spec->kind;
    f->max = spec->max ? spec->max : DEFAULT_MAX;
    TSN_ASSERT(spec->bound_count <= TSN_METRIC_MAX_BUCKETS && (spec->bound_count == 0 || spec->kind == TSN_METRIC_HISTOGRAM));
    for (size_t i = 0; i < spec->bound_count; i++) {
        TSN_ASSERT(isfinite(spec->bounds[i]) && (i == 0 || spec->bounds[i] > spec->bounds[i - 1]));
        f->bounds[i] = spec->bounds[i];
    }
    f->bound_count = spec->bound_count;
    atomic_flag_clear(&f->lock);
    tsn_map_init(&f->by_values);
    tsn_vec_push(&metrics->families, f);
    return f;
}

/* ---- using -------------------------------------------------------------------------------- */

static void lock(struct tsn_metric_family *f)
{
    while (atomic_flag_test_and_set_explicit(&f->lock, memory_order_acquire))
        ;
}

static void unlock(struct tsn_metric_family *f) { atomic_flag_clear_explicit(&f->lock, memory_order_release); }

struct tsn_metric *tsn_metric_get(struct tsn_metric_family *f, const char *const *values)
{
    struct tsn_buf key = TSN_BUF_INIT;
    struct tsn_metric *m;

    for (size_t i = 0; i < f->label_count; i++) {
        tsn_buf_printf(&key, "%zu:", strlen(values[i]));
        tsn_buf_puts(&key, values[i]);
    }
    lock(f);
    m = tsn_map_get(&f->by_values, tsn_buf_str(&key), key.len);
    if (!m && f->by_values.count < f->max) {
        m = new_metric(f, values);
        tsn_map_put(&f->by_values, tsn_buf_str(&key), key.len, m);
    } else if (!m) {
        if (!f->other)
            f->other = new_metric(f, NULL);
        m = f->other;
    }
    unlock(f);
    tsn_buf_release(&key);
    return m;
}

static void add(_Atomic uint64_t *bits, double by)
{
    uint64_t was = atomic_load_explicit(bits, memory_order_relaxed), now;

    do
        now = tsn_double_bits(tsn_double_from_bits(was) + by);
    while (!atomic_compare_exchange_weak_explicit(bits, &was, now, memory_order_relaxed, memory_order_relaxed));
}

void tsn_metric_add(struct tsn_metric *m, double by)
{
    TSN_ASSERT(m->family->kind != TSN_METRIC_HISTOGRAM && (m->family->kind != TSN_METRIC_COUNTER || by >= 0));
    add(&m->value_bits, by);
    atomic_store_explicit(&m->shown, true, memory_order_release);
}

void tsn_metric_set(struct tsn_metric *m, double value)
{
    TSN_ASSERT(m->family->kind != TSN_METRIC_HISTOGRAM);
    atomic_store_explicit(&m->value_bits, tsn_double_bits(value), memory_order_relaxed);
    atomic_store_explicit(&m->shown, true, memory_order_release);
}

void tsn_metric_observe(struct tsn_metric *m, double value)
{
    size_t bucket = 0;

    TSN_ASSERT(m->family->kind == TSN_METRIC_HISTOGRAM);
    while (bucket < m->family->bound_count && !(value <= m->family->bounds[bucket]))
        bucket++;
    atomic_fetch_add_explicit(&m->counts[bucket], 1, memory_order_relaxed);
    if (!isnan(value))
        add(&m->value_bits, value);
    atomic_store_explicit(&m->shown, true, memory_order_release);
}

void tsn_metric_family_hide(struct tsn_metric_family *f)
{
    lock(f);
    tsn_map_foreach(&f->by_values, e)
        atomic_store(&((struct tsn_metric *)e->value)->shown, false);
    if (f->other)
        atomic_store(&f->other->shown, false);
    unlock(f);
}

/* ---- exposition --------------------------------------------------------------------------- */

/* quote: a label's value, else a help text. Invalid UTF-8 becomes U+FFFD. */
static void put_escaped(struct tsn_buf *out, const char *text, bool quote)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len;) {
        uint32_t point;
        size_t n = tsn_utf8_decode(text + i, len - i, &point);

        if (!n)
            tsn_buf_puts(out, "\xef\xbf\xbd");
        else if (text[i] == '\n')
            tsn_buf_puts(out, "\\n");
        else if (text[i] == '\\')
            tsn_buf_puts(out, "\\\\");
        else if (text[i] == '"' && quote)
            tsn_buf_puts(out, "\\\"");
        else
            tsn_buf_append(out, text + i, n);
        i += n ? n : 1;
    }
}

static void put_number(struct tsn_buf *out, double value)
{
    char text[TSN_DOUBLE_TEXT];

    tsn_format_double(text, sizeof text, value, 'g', 21);
    tsn_buf_puts(out, text);
}

/* name + suffix + labels, and `le` if given. */
static void put_series(struct tsn_buf *out, const struct tsn_metric *m, const char *suffix, const char *le)
{
    const struct tsn_metric_family *f = m->family;
    const char *separator = "{";

    tsn_buf_puts(out, f->name);
    tsn_buf_puts(out, suffix);
    for (size_t i = 0; i < f->label_count; i++, separator = ",") {
        tsn_buf_printf(out, "%s%s=\"", separator, f->labels[i]);
        put_escaped(out, m->values[i], true);
        tsn_buf_putc(out, '"');
    }
    if (le)
        tsn_buf_printf(out, "%sle=\"%s\"", separator, le);
    tsn_buf_puts(out, f->label_count || le ? "} " : " ");
}

/* The count is that of the buckets just read, so that +Inf and _count agree while others observe. */
static void put_histogram(struct tsn_buf *out, const struct tsn_metric *m)
{
    double sum = tsn_double_from_bits(atomic_load(&m->value_bits));
    char le[TSN_DOUBLE_TEXT];
    uint64_t count = 0;

    for (size_t i = 0; i <= m->family->bound_count; i++) {
        count += atomic_load(&m->counts[i]);
        if (i < m->family->bound_count)
            tsn_format_double(le, sizeof le, m->family->bounds[i], 'g', 21);
        put_series(out, m, "_bucket", i < m->family->bound_count ? le : "+Inf");
        tsn_buf_printf(out, "%" PRIu64 "\n", count);
    }
    put_series(out, m, "_sum", NULL);
    put_number(out, sum);
    tsn_buf_putc(out, '\n');
    put_series(out, m, "_count", NULL);
    tsn_buf_printf(out, "%" PRIu64 "\n", count);
}

static int by_values(const void *a, const void *b)
{
    const struct tsn_metric *x = *(const struct tsn_metric *const *)a, *y = *(const struct tsn_metric *const *)b;
    int order = 0;

    for (size_t i = 0; i < x->family->label_count && !order; i++)
        order = strcmp(x->values[i], y->values[i]);
    return order;
}

static void put_family(struct tsn_buf *out, struct tsn_metric_family *f)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    TSN_VEC(struct tsn_metric *) shown = { 0 };

    lock(f);
    tsn_map_foreach(&f->by_values, e)
        if (atomic_load_explicit(&((struct tsn_metric *)e->value)->shown, memory_order_acquire))
            tsn_vec_push(&shown, (struct tsn_metric *)e->value);
    if (f->other && atomic_load(&f->other->shown))
        tsn_vec_push(&shown, f->other);
    unlock(f);
    if (shown.len) {
        qsort(shown.items, shown.len, sizeof *shown.items, by_values);
        tsn_buf_printf(out, "# HELP %s ", f->name);
        put_escaped(out, f->help, false);
        tsn_buf_printf(out, "\n# TYPE %s %s\n", f->name, kinds[f->kind]);
    }
    for (size_t i = 0; i < shown.len; i++) {
        if (f->kind == TSN_METRIC_HISTOGRAM) {
            put_histogram(out, shown.items[i]);
            continue;
        }
        put_series(out, shown.items[i], "", NULL);
        put_number(out, tsn_double_from_bits(atomic_load(&shown.items[i]->value_bits)));
        tsn_buf_putc(out, '\n');
    }
    tsn_vec_release(&shown);
}

void tsn_metrics_write(struct tsn_metrics *metrics, struct tsn_buf *out)
{
    for (size_t i = 0; i < metrics->families.len; i++)
        put_family(out, metrics->families.items[i]);
}
