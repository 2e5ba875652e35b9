/*
 * lib_check: what comes out of a run against what must. See sim_spine.c for the list of comparisons, lib_world.c for those
 * that need no reference of the events (replay, incidents).
 */
#include "checks.h"

static const char *const rules[2] = {
    "groups:\n"
    "- {name: errors, interval: 15s, rules: [\n"
    "   {record: 'svc:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))'},\n"
    "   {alert: ErrorRate, expr: 'svc:errors:rate1m > 0.15', for: 30s, labels: {severity: "
    "critical}}]}\n"
    "- {name: gauges, interval: 30s, rules: [\n"
    "   {alert: Hot, expr: 'avg by (service) (avg_over_time(temperature[2m])) > 80', "
    "keep_firing_for: 1m,\n"
    "    labels: {severity: warning}}, {alert: Busy, expr: 'rate(requests_total[2m]) > 1.7'},\n"
    "   {alert: Queue, expr: 'avg_over_time(queue[3m]) > 60'}, {alert: Flood, expr: "
    "'sum_over_time(queue[3m]) > 1e10'},\n"
    "   {alert: Total, expr: 'errors_total > 10'}]}\n"
    "- {name: logs, interval: 15s, rules: [\n"
    "   {alert: Logs, expr: 'sum by (service) (increase(log_messages_total{level=\"ERROR\"}[1m])) "
    "> 12'}]}\n"
    "- {name: all, interval: 15s, rules: [{alert: Sum, expr: 'sum(rate(errors_total[1m])) > 0.3', "
    "for: 15s},\n"
    "   {alert: Dead, expr: 'absent(up{service=\"vault\"})', for: 1m, labels: {severity: critical, "
    "service: vault}}]}\n"
    "- {name: templates, interval: 15s, rules: [\n"
    "   {alert: NewError, expr: 'sum by (service) (increase(log_templates_discovered_total{level=\"ERROR\"}[1m])) > 0'},\n"
    "   {alert: Chatty, expr: 'sum by (service, template) (increase(log_template_messages_total[1m])) > 4'},\n"
    "   {alert: Often, expr: 'log_template_messages_total > 9'}]}\n"
    "- {name: long, interval: 60s, rules: [\n"
    "   {alert: Worn, expr: 'sum by (service) (increase(errors_total[2h])) > 8'},\n"
    "   {alert: Glowed, expr: 'max_over_time(temperature[6m]) > 1e16'},\n"
    "   {alert: Usual, expr: 'avg_over_time(svc:errors:rate1m[90m]) > 0.05'}]}\n",
    "groups:\n"
    "- {name: errors, interval: 15s, rules: [\n"
    "   {record: 'svc:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))'},\n"
    "   {alert: ErrorRate, expr: 'svc:errors:rate1m > 0.1', for: 15s, labels: {severity: "
    "critical}},\n"
    "   {alert: Slow, expr: 'avg_over_time(svc:errors:rate1m[3m]) > 0.1'}]}\n"
    "- {name: gauges, interval: 15s, rules: [{alert: Hot, expr: 'avg by (service) (temperature) > "
    "80'}]}\n"
    "- {name: all, interval: 15s, rules: [{alert: Sum, expr: 'sum(rate(errors_total[3m])) > 0.3', "
    "for: 15s},\n"
    "   {alert: Many, expr: 'count(ALERTS{alertname=\"Hot\",alertstate=\"firing\"}) > 1'}]}\n"
    "- {name: templates, interval: 15s, rules: [\n"
    "   {alert: NewError, expr: 'sum by (service) (increase(log_templates_discovered_total{level=\"ERROR\"}[1m])) > 0'},\n"
    "   {alert: Chatty, expr: 'sum by (service, template) (increase(log_template_messages_total[1m])) > 4'},\n"
    "   {alert: Often, expr: 'log_template_messages_total > 9'}]}\n"
    "- {name: fresh, interval: 15s, rules: [\n"
    "   {alert: Pressure, expr: 'max_over_time(pressure[2m]) > 96'},\n"
    "   {alert: Drops, expr: 'sum by (service) (rate(drops_total[1m])) > 0.2', for: 15s},\n"
    "   {alert: Cool, expr: 'avg_over_time(temperature[7m]) < 52'}]}\n"
    "- {name: long, interval: 30s, rules: [\n"
    "   {alert: Worn, expr: 'sum by (service) (increase(errors_total[2h])) > 8'},\n"
    "   {alert: Glowed, expr: 'max_over_time(temperature[8m]) > 1e16'}]}\n",
};

struct tsn_rule_set *sim_rules(struct sim_world *s, int which)
{
    TSN_UNUSED(s);
    return world_rules(rules[which]);
}

/* ---- what the source tells the reference --------------------------------------------------- */

struct tsn_labels *sim_labels(struct sim_checks *c, const char *series)
{
    void **slot = tsn_map_upsert(&c->names, series, strlen(series), NULL);

    if (!*slot)
        *slot = world_labels(series);
    return *slot;
}

static void sink_point(void *arg, const char *series, int64_t ts_ms, double value)
{
    struct sim_checks *c = arg;
    struct sim_point p = { sim_labels(c, series), ts_ms, value };

    tsn_vec_push(&c->points, p);
}

static void sink_delta(void *arg, const char *series, int64_t ts_ms, double value)
{
    ref_delta(&((struct sim_checks *)arg)->ref, series, ts_ms, value);
}

static void sink_known(void *arg, const char *series, int64_t known_ms, int64_t ts_ms, double value)
{
    struct sim_checks *c = arg;

    ref_know(&c->mined, sim_labels(c, series), known_ms, ts_ms, value);
}

static void sink_line(void *arg, const char *service, const char *level, int64_t ts_ms, const char *text)
{
    sim_lines_add(((struct sim_checks *)arg)->lines, service, level, ts_ms, text);
}

/* ---- comparisons -------------------------------------------------------------------------- */

static void note_transition(struct sim_world *s, const struct sim_record *r)
{
    struct tsn_transition t;

    if (tsn_codec_transition_decode(r->bytes, r->len, TSN_FORM_JSON, &t, NULL))
        return;
    s->seen[SIM_E_WARMING] += t.warming;
    s->seen[SIM_E_RULE_GONE] += t.end_reason == TSN_END_RULE_GONE;
    s->seen[SIM_E_TEMPLATE_FIRED] += t.state == TSN_ALERT_FIRING && t.template_count > 0;
    s->seen[SIM_E_LONG_FIRED] += t.state == TSN_ALERT_FIRING && strcmp(t.group, "long") == 0;
    tsn_transition_release(&t);
}

/* Where the two part, and a little of what they share before. */
static void law_broken(struct sim_world *s, int32_t p, size_t n, const struct sim_record *r, const char *want)
{
    size_t at = 0;

    while (at < r->len && r->bytes[at] == want[at])
        at++;
    at = at > 40 ? at - 40 : 0;
    sim_fail(s, "law: samples/%d, transition %zu: …%.*s; undisturbed: …%.120s", p, n, (int)(r->len - at > 120 ? 120 : r->len - at),
             r->bytes + at, want + at);
}

/* ---- where a partition goes over to another set ---------------------------------------------- */

struct watch {
    const struct tsn_rule_set *set;
    struct sim_turning *turning;
};

static void note_step(const struct tsn_detect_rule_info *rule, void *arg)
{
    struct watch *w = arg;

    for (size_t g = 0; g < w->set->group_count; g++)
        if (strcmp(w->set->groups[g].name, rule->group) == 0)
            w->turning->steps_ms[g] = rule->last_step_ms;
}

/* By the rule: with the record with which every input that was ever named carries number 1. */
struct carried {
    int64_t number[SIM_INPUTS][SIM_SOURCES]; /* plus one; 0: not named */
};

static bool all_carry(struct carried *c, const struct sim_record *record)
{
    struct tsn_batch b;
    int64_t least = INT64_MAX;

    if (tsn_codec_batch_decode(record->bytes, record->len, &b, NULL))
        return false;
    for (size_t i = 0; i < b.input_count; i++) {
        int64_t *number = &c->number[strcmp(b.inputs[i].topic, "l") == 0][b.inputs[i].partition];

        *number = b.rule_set + 1 > *number ? b.rule_set + 1 : *number;
    }
    for (int i = 0; i < SIM_INPUTS; i++)
        for (int k = 0; k < SIM_SOURCES; k++)
            if (c->number[i][k] && c->number[i][k] < least)
                least = c->number[i][k];
    tsn_batch_release(&b);
    return least == 2;
}

static void watch_record(struct sim_world *s, struct tsn_detect *d, size_t at, int32_t p, struct carried *carried,
                         struct sim_turning *turning, struct sim_texts *want)
{
    const struct sim_record *record = &s->cluster.samples[p].items[at];
    struct watch w = { s->sets[0], turning };
    struct tsn_detect_stats stats;
    bool must = all_carry(carried, record);

    tsn_detect_each_rule(d, note_step, &w);
    sim_detect_apply(s, d, record, want);
    tsn_detect_get_stats(d, &stats);
    if (must != (stats.rule_set == 1))
        sim_fail(s, "samples/%d offset %lld: set %lld is in force%s", p, (long long)record->offset, (long long)stats.rule_set,
                 must ? ", though every input carries 1" : " too early");
    turning->happened = must;
    turning->record = at;
}

/* Inputs that nobody has named yet cannot hold a unit back: at the very first start one may step before they are all named, if a worker
 * is slow to speak. What those then bring first is late. True if this record names the last of them. */
static bool all_named(struct carried *c, const struct sim_record *record)
{
    (void)all_carry(c, record);
    return c->number[0][0] && c->number[0][1] && c->number[1][0];
}

static void note_any_step(const struct tsn_detect_rule_info *rule, void *arg)
{
    *(bool *)arg |= rule->last_step_ms != TSN_TIME_NONE;
}

static void undisturbed(struct sim_world *s, struct tsn_detect *d, int32_t p, struct sim_turning *turning, struct sim_texts *want)
{
    struct carried carried = { { { 0 } } }, heard = { { { 0 } } };
    bool named = false;

    for (int g = 0; g < SIM_MAX_GROUPS; g++)
        turning->steps_ms[g] = TSN_TIME_NONE;
    for (size_t i = 0; i < s->cluster.samples[p].len; i++) {
        if (s->cluster.samples[p].items[i].aborted)
            continue;
        if (!named) {
            tsn_detect_each_rule(d, note_any_step, &s->head_start);
            named = all_named(&heard, &s->cluster.samples[p].items[i]);
        }
        if (sim_set_count(s) > 1 && !turning->happened)
            watch_record(s, d, i, p, &carried, turning, want);
        else
            sim_detect_apply(s, d, &s->cluster.samples[p].items[i], want);
    }
}

/* ---- the law --------------------------------------------------------------------------------- */

static void check_law(struct sim_world *s, int32_t p, struct sim_turning *turning)
{
    struct tsn_detect *d = sim_detect_new(s, p);
    struct sim_texts want = { 0 };
    struct tsn_detect_stats stats;
    size_t n = 0;

    undisturbed(s, d, p, turning, &want);
    for (size_t i = 0; i < s->cluster.alerts.len; i++) {
        const struct sim_record *r = &s->cluster.alerts.items[i];

        if (r->timestamp_ms != p || r->aborted)
            continue;
        if (n >= want.len || want.items[n].len != r->len ||
            memcmp(want.items[n].data, r->bytes, r->len) != 0)
            law_broken(s, p, n, r, n < want.len ? tsn_buf_str(&want.items[n]) : "none");
        n++;
        note_transition(s, r);
    }
    if (n < want.len)
        sim_fail(s, "law: samples/%d: %zu transitions, undisturbed %zu", p, n, want.len);
    tsn_detect_get_stats(d, &stats);
    sim_note(s, SIM_E_LAW);
    s->seen[SIM_E_LATE] += stats.late_moved + stats.late_dropped;
    s->seen[SIM_E_SWITCHED] += stats.rule_set == 1;
    s->limit_ms = stats.watermark_ms < s->limit_ms ? stats.watermark_ms : s->limit_ms;
    if ((s->never_late && !s->head_start && sim_set_count(s) == 1 && (stats.late_moved || stats.late_dropped)) || stats.unknown_refs)
        sim_fail(s, "samples/%d: %llu deltas and %llu points late, %llu names unknown", p,
                 (unsigned long long)stats.late_moved, (unsigned long long)stats.late_dropped,
                 (unsigned long long)stats.unknown_refs);
    memset(&stats, 0, sizeof stats);
    if (s->owners[p].detect)
        tsn_detect_get_stats(s->owners[p].detect, &stats);
    if (stats.unknown_refs || stats.refill_mismatches)
        sim_fail(
            s,
            "samples/%d, last owner: %llu names unknown, %llu refills that missed the checkpoint",
            p, (unsigned long long)stats.unknown_refs, (unsigned long long)stats.refill_mismatches);
    sim_texts_clear(&want);
    tsn_detect_free(&d);
}

struct name_key {
    int64_t writer;
    uint32_t ref, zero;
};

static void sim_name(struct sim_world *s, const struct tsn_batch *b,
                     const struct tsn_batch_series *series)
{
    struct name_key key = { b->writer, series->ref, 0 };

    tsn_free(tsn_map_put(&s->names, &key, sizeof key,
                         tsn_memdup(&series->labels->id, sizeof series->labels->id)));
}

static const struct tsn_u128 *sim_named(const struct sim_world *s, const struct tsn_batch *b,
                                        uint32_t ref)
{
    struct name_key key = { b->writer, ref, 0 };

    return tsn_map_get(&s->names, &key, sizeof key);
}

/* Adds up what one partition of samples counted: label id → tsn_fixed *. */
static void add_up(struct sim_world *s, int32_t p, struct tsn_map *sums)
{
    for (size_t i = 0; i < s->cluster.samples[p].len; i++) {
        const struct sim_record *r = &s->cluster.samples[p].items[i];
        struct tsn_batch batch;
        struct tsn_error error;

        if (r->aborted || tsn_codec_batch_decode(r->bytes, r->len, &batch, &error))
            continue;
        for (size_t n = 0; n < batch.series_count; n++)
            sim_name(s, &batch, &batch.series[n]);
        for (size_t n = 0; n < batch.delta_count; n++) {
            const struct tsn_u128 *id = sim_named(s, &batch, batch.deltas[n].ref);
            void **slot = id ? tsn_map_upsert(sums, id, sizeof *id, NULL) : NULL;

            if (!slot)
                sim_fail(s, "counts: samples/%d offset %lld: a series without a name", p,
                         (long long)r->offset);
            if (!slot)
                continue;
            if (!*slot)
                *slot = tsn_calloc(1, sizeof(tsn_fixed));
            (void)tsn_fixed_add(*slot, batch.deltas[n].delta);
        }
        tsn_batch_release(&batch);
    }
}

/* Only set 1 reads it: counted since INGEST heard of that. */
static bool from_switch(const struct sim_world *s, const struct tsn_labels *labels)
{
    return sim_set_count(s) > 1 && strcmp(tsn_labels_get(labels, "__name__"), "drops_total") == 0;
}

static void check_counts(struct sim_world *s, const struct reference *ref)
{
    sim_note(s, SIM_E_COUNTED);
    for (int32_t p = 0; p < SIM_PARTITIONS; p++) {
        struct tsn_map sums;

        tsn_map_init(&sums);
        add_up(s, p, &sums);
        for (size_t i = 0; i < ref->counters.len; i++) {
            const struct ref_counter *c = &ref->counters.items[i];
            const tsn_fixed *got = tsn_map_get(&sums, &c->labels->id, sizeof c->labels->id);
            tsn_fixed want = 0;

            for (size_t k = 0; k < c->panes.len; k++)
                (void)tsn_fixed_add(&want, c->panes.items[k].delta);
            if (got && (from_switch(s, c->labels) ? *got > want : *got != want))
                sim_fail(s, "counts: samples/%d: %s counted %.17g, events %.17g", p,
                         tsn_labels_get(c->labels, "__name__"), tsn_fixed_to_double(*got),
                         tsn_fixed_to_double(want));
        }
        tsn_map_foreach(&sums, e) tsn_free(e->value);
        tsn_map_release(&sums);
        tsn_map_foreach(&s->names, e) tsn_free(e->value);
        tsn_map_clear(&s->names);
    }
    tsn_map_release(&s->names);
}

/* ---- alerts as lines ------------------------------------------------------------------------ */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines with a step in [from_s, to_s], sorted: units step at their own pace. */
void sim_settle(struct tsn_buf *text, int64_t from_s, int64_t to_s)
{
    TSN_VEC(char *) lines = { 0 };
    struct tsn_buf sorted = TSN_BUF_INIT;
    char *all = tsn_buf_take(text, NULL), *rest = all, *line;

    while (rest && (line = strsep(&rest, "\n")) != NULL) {
        int64_t step_s = *line ? strtoll(line, NULL, 10) : INT64_MIN;

        if (step_s >= from_s && step_s <= to_s)
            tsn_vec_push(&lines, line);
    }
    if (lines.len)
        qsort(lines.items, lines.len, sizeof *lines.items, by_text);
    for (size_t i = 0; i < lines.len; i++)
        tsn_buf_printf(&sorted, "%s\n", lines.items[i]);
    tsn_vec_release(&lines);
    tsn_free(all);
    *text = sorted;
}

void sim_first_difference(struct sim_world *s, int32_t partition, const char *got, const char *want)
{
    const char *line = got;

    for (; *got && *got == *want; got++, want++)
        line = *got == '\n' ? got + 1 : line;
    want -= got - line;
    sim_fail(s, "reference: samples/%d: alerts go on \"%.150s\", reference \"%.150s\"", partition, line, want);
}

/* ---- all of it ----------------------------------------------------------------------------- */

struct sim_checks *sim_checks_new(struct sim_sink *sink)
{
    struct sim_checks *c = tsn_calloc(1, sizeof *c);

    reference_init(&c->ref, SIM_TTL_MS);
    c->lines = sim_lines_new();
    tsn_map_init(&c->names);
    c->sink = *sink = (struct sim_sink){ sink_point, sink_delta, sink_line, sink_known, c };
    return c;
}

void sim_checks_free(struct sim_checks **checks)
{
    struct sim_checks *c = *checks;

    reference_release(&c->ref);
    sim_lines_free(&c->lines);
    tsn_vec_release(&c->points);
    tsn_free(c->mined.items);
    tsn_map_foreach(&c->names, e) tsn_labels_unref(e->value);
    tsn_map_release(&c->names);
    tsn_free(c);
    *checks = NULL;
}

void sim_check_detect(struct sim_world *s, struct sim_checks *checks)
{
    for (int p = 0; p < SIM_PARTITIONS && !s->failure[0]; p++)
        check_law(s, p, &checks->turnings[p]);
    if (!s->failure[0])
        check_counts(s, &checks->ref);
    if (s->failure[0] || s->seen[SIM_E_LATE])
        return;
    sim_lines_mine(s, checks->lines, &checks->sink);
    sim_check_templates(s, checks->lines);
    sim_note(s, sim_set_count(s) > 1 ? SIM_E_REFERENCE_SWITCHED : SIM_E_REFERENCE);
    if (sim_set_count(s) == 1)
        sim_check_reference(s, checks, -1);
    for (int32_t p = 0; p < SIM_PARTITIONS && sim_set_count(s) > 1 && !s->failure[0]; p++)
        sim_check_reference(s, checks, p);
}
