/*
 * lib_reference: what must be alerted, from the events alone: the rule evaluator (rule_eval.h, on the naive evaluator of PromQL) over a
 * memory store, one step after the other. It knows of no batch, watermark, worker or takeover.
 *
 * A seed in which the rule set switches is held against it partition by partition, for the switch stands at another place in each. Told
 * is only where: the record of the log, and the last step of each unit before it (check_law holds that against the numbers that the records
 * carry). The rest is said here once more, plainly:
 *
 *   - up to its last step a unit runs by set 0; behind it by set 1, from the last step of the unit of that name, or, of a
 *     unit that was not there, from the latest step of all;
 *   - a rule that both sets have in the same group goes on, alerts and all; the alerts of others end, "rule gone", at the last step;
 *   - a series that set 0 read here keeps of its past what set 0's windows reached back to; one that it did not read begins
 *     with the switching record: it is taken from the log from there on, everything else from the events;
 *   - transitions are "warming" until the windows of the unit are full of what set 0 had kept, or of what came since.
 *
 * Not asked: end reasons and sample lines (the law compares them), series at the limits, more than one switch (tests/prop/prop_detect.c).
 */
#include "checks.h"

#include "tocsin/shard.h"

enum { LOOKBACK_MS = 300000, SETTLE_MS = 30000 };

/* A rule set, and where its groups run. */
struct side {
    struct tsn_rule_set *set; /* borrowed */
    uint32_t unit_of[SIM_MAX_GROUPS];
    int32_t place[SIM_MAX_GROUPS];     /* by group; -1: everywhere, for the shards there */
    int64_t from_ms[SIM_MAX_GROUPS], to_ms[SIM_MAX_GROUPS]; /* steps in (from, to] */
    int64_t warm_ms[SIM_MAX_GROUPS];
};

struct run {
    struct sim_world *s;
    struct sim_checks *c;
    int32_t partition;
    const struct sim_turning *turning; /* NULL: no switch */
    int64_t latest_ms;                 /* latest step before the switch */
    bool switched, own_only;
    struct side sides[2];
    const struct side *side; /* in force */
    struct tsn_memstore *store;
    struct ref_samples samples; /* of counters, by the time they are known */
    struct tsn_rule_evaluator *ev;
    struct tsn_buf lines;
};

/* ---- where groups run, what they read ------------------------------------------------------- */

static int32_t home_of(const struct tsn_labels *labels)
{
    const struct tsn_label *shard = tsn_labels_find(labels, "service", 7);

    return tsn_partition_of(shard ? shard->value : "", shard ? shard->value_len : 0, SIM_PARTITIONS);
}

static bool here(const struct run *r, const struct side *side, size_t group)
{
    return r->partition < 0 || side->place[group] < 0 || side->place[group] == r->partition;
}

static void place_groups(struct side *side, struct tsn_rule_set *set)
{
    side->set = set;
    TSN_ASSERT(set->group_count <= SIM_MAX_GROUPS);
    tsn_units_of(set, side->unit_of);
    for (size_t g = 0; g < set->group_count; g++) {
        side->place[g] = tsn_unit_place(set, side->unit_of, side->unit_of[g], "service", SIM_PARTITIONS);
        side->from_ms[g] = TSN_TIME_NONE;
        side->to_ms[g] = INT64_MAX;
        side->warm_ms[g] = TSN_TIME_NONE;
    }
}

/* A selector with its reach; visited for every group of a side that is here. */
struct asked {
    const struct tsn_matcher *matchers;
    size_t count, group;
    int64_t reach_ms;
};
struct asking {
    void (*visit)(void *arg, const struct asked *asked);
    void *arg;
    size_t group;
};

static bool visit_expr(const struct tsn_expr *e, void *arg)
{
    const struct asking *ask = arg;
    const struct tsn_expr *selector = e->kind == TSN_EXPR_MATRIX ? tsn_expr_unwrap(e->u.matrix.selector) : e;
    struct asked asked = { NULL, 0, ask->group, LOOKBACK_MS };

    if (e->kind != TSN_EXPR_MATRIX && e->kind != TSN_EXPR_SELECTOR)
        return true;
    if (e->kind == TSN_EXPR_MATRIX && e->u.matrix.range_ms > LOOKBACK_MS)
        asked.reach_ms = e->u.matrix.range_ms;
    asked.matchers = selector->u.selector.matchers;
    asked.count = selector->u.selector.matcher_count;
    ask->visit(ask->arg, &asked);
    return true;
}

static void ask_group(const struct side *side, size_t group, void (*visit)(void *, const struct asked *), void *arg)
{
    struct asking ask = { visit, arg, group };

    for (size_t r = 0; r < side->set->groups[group].rule_count; r++)
        tsn_expr_walk(side->set->groups[group].rules[r].query->root, visit_expr, &ask);
}

static void ask_side(const struct run *r, const struct side *side, void (*visit)(void *, const struct asked *), void *arg)
{
    for (size_t g = 0; g < side->set->group_count; g++)
        if (here(r, side, g))
            ask_group(side, g, visit, arg);
}

struct read_by {
    const struct run *r;
    const struct side *side;
    const struct tsn_labels *labels;
    bool any;
    int64_t since_ms; /* the least of last step − reach */
};

static void visit_read(void *arg, const struct asked *asked)
{
    struct read_by *by = arg;
    int64_t step_ms = by->r->turning ? by->r->turning->steps_ms[asked->group] : TSN_TIME_NONE;

    if (by->side->place[asked->group] < 0 && by->r->partition >= 0 && home_of(by->labels) != by->r->partition)
        return;
    if (!tsn_matchers_match(asked->matchers, asked->count, by->labels))
        return;
    by->any = true;
    step_ms = step_ms == TSN_TIME_NONE ? TSN_TIME_NONE : step_ms - asked->reach_ms;
    by->since_ms = step_ms < by->since_ms ? step_ms : by->since_ms;
}

static struct read_by read_by(const struct run *r, int which, const struct tsn_labels *labels)
{
    struct read_by by = { r, &r->sides[which], labels, false, INT64_MAX };

    ask_side(r, by.side, visit_read, &by);
    return by;
}

/* ---- what an evaluator sees ----------------------------------------------------------------- */

/* At or before it nothing of the series is left after the switch. */
static int64_t cut_of(const struct run *r, const struct tsn_labels *labels)
{
    const char *name = tsn_labels_get(labels, "__name__");
    struct read_by by = read_by(r, 0, labels);

    if (by.any)
        return by.since_ms;
    if (name && strncmp(name, "ALERTS", 6) == 0) /* that nobody reads are not written */
        return r->latest_ms;
    return r->latest_ms - LOOKBACK_MS;
}

static void view_select(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms, int64_t to_ms,
                        struct tsn_series_list *out)
{
    struct run *r = self;
    struct tsn_storage inner = tsn_memstore_storage(r->store);
    size_t kept = 0;

    inner.select(inner.self, matchers, count, from_ms, to_ms, out);
    if (r->partition < 0)
        return;
    for (size_t i = 0; i < out->len; i++) {
        struct tsn_series_view view = out->items[i];
        int64_t cut_ms = r->switched ? cut_of(r, view.labels) : TSN_TIME_NONE;

        for (; view.count && view.samples->ts_ms <= cut_ms; view.count--)
            view.samples++;
        if (view.count && (!r->own_only || home_of(view.labels) == r->partition))
            out->items[kept++] = view;
    }
    out->len = kept;
}

/* ---- what fills the store ------------------------------------------------------------------- */

static bool known_from_start(const struct run *r, const struct tsn_labels *labels)
{
    return r->partition < 0 || read_by(r, 0, labels).any;
}

static void take_known(struct run *r, const struct ref_samples *from)
{
    for (size_t i = 0; i < from->len; i++)
        if (known_from_start(r, from->items[i].labels))
            tsn_vec_push(&r->samples, from->items[i]);
}

static void fill(struct run *r)
{
    struct ref_samples counted = { 0 };

    for (size_t i = 0; i < r->c->points.len; i++) {
        const struct sim_point *p = &r->c->points.items[i];

        if (known_from_start(r, p->labels))
            tsn_memstore_add(r->store, p->labels, p->ts_ms, p->value);
    }
    ref_totals(&r->c->ref, &counted);
    take_known(r, &counted);
    take_known(r, &r->c->mined);
    tsn_free(counted.items);
    if (r->samples.len)
        qsort(r->samples.items, r->samples.len, sizeof *r->samples.items, world_by_known);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void note_line(struct run *r, int64_t ts_ms, const char *rule, enum tsn_alert_state was, enum tsn_alert_state now,
                      const struct tsn_alert_instance *in, bool warming)
{
    char name[80];

    snprintf(name, sizeof name, "%s#%d%s", rule, r->side == &r->sides[1], warming ? "~" : "");
    put_line(&r->lines, ts_ms, name, was, now, in->labels, in->annotations, in->value, in->active_at_ms);
}

static void on_changes(void *arg, size_t group, size_t rule, int64_t ts_ms, const struct tsn_alert_changes *changes)
{
    struct run *r = arg;
    bool warming = r->side->warm_ms[group] != TSN_TIME_NONE && ts_ms < r->side->warm_ms[group];

    for (size_t i = 0; i < changes->len; i++)
        note_line(r, ts_ms, r->side->set->groups[group].rules[rule].name, changes->items[i].was, changes->items[i].now,
                  changes->items[i].instance, warming);
}

static void step_to(struct run *r, int64_t from_ms, int64_t to_ms)
{
    for (int64_t ts = from_ms; ts <= to_ms; ts += 1000) {
        for (; r->samples.done < r->samples.len && r->samples.items[r->samples.done].known_ms <= ts; r->samples.done++) {
            const struct ref_sample *sample = &r->samples.items[r->samples.done];

            tsn_memstore_add(r->store, sample->labels, sample->ts_ms, sample->value);
        }
        for (size_t g = 0; g < r->side->set->group_count; g++) {
            if (ts % r->side->set->groups[g].interval_ms || ts <= r->side->from_ms[g] || ts > r->side->to_ms[g] ||
                !here(r, r->side, g))
                continue;
            r->own_only = r->side->place[g] < 0;
            (void)tsn_rule_evaluator_step(r->ev, g, ts);
        }
    }
}

static void open_run(struct run *r, struct sim_world *s, struct sim_checks *c, int32_t partition)
{
    struct tsn_rule_eval_options options = { .storage = { view_select, r }, .append = world_append, .on_changes = on_changes, .changes_arg = r };

    memset(r, 0, sizeof *r);
    r->s = s;
    r->c = c;
    r->partition = partition;
    r->turning = partition >= 0 && c->turnings[partition].happened ? &c->turnings[partition] : NULL;
    r->latest_ms = TSN_TIME_NONE;
    for (int i = 0; i < 2; i++)
        place_groups(&r->sides[i], s->sets[i]);
    r->side = &r->sides[0];
    options.append_arg = r->store = tsn_memstore_new();
    r->ev = tsn_rule_evaluator_new(r->side->set, &options);
    fill(r);
}

static void close_run(struct run *r)
{
    tsn_rule_evaluator_free(&r->ev);
    tsn_memstore_free(&r->store);
    tsn_free(r->samples.items);
    tsn_buf_release(&r->lines);
}

/* ---- the comparison ------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines with a step in [from_s, to_s], sorted: units step at their own pace. */
static void settle(struct tsn_buf *text, int64_t from_s, int64_t to_s)
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

static void first_difference(struct sim_world *s, int32_t partition, const char *got, const char *want)
{
    const char *line = got;

    for (; *got && *got == *want; got++, want++)
        line = *got == '\n' ? got + 1 : line;
    want -= got - line;
    sim_fail(s, "reference: samples/%d: alerts go on \"%.150s\", reference \"%.150s\"", partition, line, want);
}

static void live_lines(struct sim_world *s, int32_t partition, struct tsn_buf *lines)
{
    for (size_t i = 0; i < s->cluster.alerts.len; i++) {
        const struct sim_record *record = &s->cluster.alerts.items[i];
        char name[80];
        struct tsn_transition t;
        struct tsn_error error;

        if (record->aborted || (partition >= 0 && record->timestamp_ms != partition))
            continue;
        if (tsn_codec_transition_decode(record->bytes, record->len, TSN_FORM_JSON, &t, &error)) {
            sim_fail(s, "an alert does not decode: %s", error.message);
            return;
        }
        snprintf(name, sizeof name, "%s#%lld%s", t.rule, (long long)t.rule_set, t.warming ? "~" : "");
        put_line(lines, t.step_ms, name, t.was, t.state, t.labels, t.annotations, t.value, t.active_at_ms);
        tsn_transition_release(&t);
    }
}

void sim_check_reference(struct sim_world *s, struct sim_checks *c, int32_t partition)
{
    struct tsn_buf live = TSN_BUF_INIT;
    int64_t to_s = (s->limit_ms - SIM_START_MS) / 1000;
    struct run r;

    open_run(&r, s, c, partition);
    step_to(&r, SIM_START_MS, s->limit_ms);
    live_lines(s, partition, &live);
    settle(&live, SETTLE_MS / 1000, to_s);
    settle(&r.lines, SETTLE_MS / 1000, to_s);
    if (strcmp(tsn_buf_str(&live), tsn_buf_str(&r.lines)) != 0)
        first_difference(s, partition, tsn_buf_str(&live), tsn_buf_str(&r.lines));
    if (partition < 0 && !live.len)
        sim_fail(s, "nothing fired: the seed proves nothing");
    tsn_buf_release(&live);
    close_run(&r);
}
