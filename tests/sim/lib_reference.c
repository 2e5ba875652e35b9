/*
 * lib_reference: what must be alerted, from the events alone: the rule evaluator (rule_eval.h, on the naive evaluator of PromQL) over a
 * memory store, one step after the other. It knows of no batch, watermark, worker or takeover.
 *
 * A seed in which the rule set switches is held against it partition by partition, for the switch stands at another place in each. Told
 * is only where: the record of the log, and the last step of each unit before it (check_law holds that against the numbers that the records
 * carry). The rest is said here once more, plainly:
 *
 *   - a group goes on by set 1 behind its own last step by set 0; one that is new behind the least of those in its unit, or, in a
 *     unit of new ones, behind the latest of all;
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
    int64_t unit_ms[SIM_MAX_GROUPS];   /* where the group's unit begins */
    int64_t warm_ms[SIM_MAX_GROUPS];
};

struct run {
    struct sim_world *s;
    struct sim_checks *c;
    int32_t partition;
    const struct sim_turning *turning; /* NULL: no switch */
    int64_t least_ms, latest_ms;       /* steps before the switch */
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
        side->from_ms[g] = side->unit_ms[g] = TSN_TIME_NONE;
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

/* The last step by set 0 of the group that has the rule. */
static int64_t last_step_of(const struct run *r, const char *rule)
{
    for (size_t g = 0; g < r->sides[0].set->group_count; g++)
        for (size_t i = 0; i < r->sides[0].set->groups[g].rule_count; i++)
            if (rule && strcmp(r->sides[0].set->groups[g].rules[i].name, rule) == 0)
                return r->turning->steps_ms[g];
    return TSN_TIME_NONE;
}

/* At or before it nothing of the series is left after the switch. */
static int64_t cut_of(const struct run *r, const struct tsn_labels *labels)
{
    const char *name = tsn_labels_get(labels, "__name__");
    struct read_by by = read_by(r, 0, labels);

    if (by.any)
        return by.since_ms;
    if (read_by(r, 1, labels).any && !tsn_labels_find(labels, "alertname", 9))
        return TSN_TIME_NONE; /* all that is there came since */
    if (name && strncmp(name, "ALERTS", 6) == 0) /* nobody read them, so they were not written */
        return last_step_of(r, tsn_labels_get(labels, "alertname"));
    return r->least_ms - LOOKBACK_MS;
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

/* ---- going over ----------------------------------------------------------------------------- */

static bool same_group(const struct tsn_group *a, const struct tsn_group *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->file, b->file) == 0;
}

/* Index of set 0's group of that name which was here; -1: there is none. */
static int former(const struct run *r, const struct tsn_group *group)
{
    for (size_t g = 0; g < r->sides[0].set->group_count; g++)
        if (same_group(&r->sides[0].set->groups[g], group) && here(r, &r->sides[0], g))
            return (int)g;
    return -1;
}

static void begin_units(struct run *r)
{
    struct side *now = &r->sides[1];

    for (size_t g = 0; g < now->set->group_count; g++) {
        int64_t least_ms = INT64_MAX;
        int was = former(r, &now->set->groups[g]);

        for (size_t o = 0; o < now->set->group_count; o++) {
            int other = now->unit_of[o] == now->unit_of[g] ? former(r, &now->set->groups[o]) : -1;

            if (other >= 0 && r->turning->steps_ms[other] < least_ms)
                least_ms = r->turning->steps_ms[other];
        }
        now->unit_ms[g] = least_ms == INT64_MAX ? r->latest_ms : least_ms;
        now->from_ms[g] = was >= 0 ? r->turning->steps_ms[was] : now->unit_ms[g];
    }
}

static bool same_rule(const struct tsn_rule *a, const struct tsn_rule *b)
{
    bool same = a->is_alert == b->is_alert && strcmp(a->name, b->name) == 0 && a->label_count == b->label_count;

    for (size_t i = 0; same && i < a->label_count; i++)
        same = strcmp(a->labels[i].name, b->labels[i].name) == 0 && strcmp(a->labels[i].value, b->labels[i].value) == 0;
    return same;
}

static bool goes_on(const struct run *r, size_t group, size_t rule)
{
    const struct tsn_rule_set *set = r->sides[1].set;
    const struct tsn_group *was = &r->sides[0].set->groups[group];

    for (size_t g = 0; g < set->group_count; g++)
        for (size_t i = 0; i < set->groups[g].rule_count && same_group(&set->groups[g], was) && here(r, &r->sides[1], g); i++)
            if (same_rule(&set->groups[g].rules[i], &was->rules[rule]))
                return true;
    return false;
}

static void end_gone(struct run *r)
{
    const struct tsn_rule_set *set = r->sides[0].set;

    for (size_t g = 0; g < set->group_count; g++)
        for (size_t i = 0; here(r, &r->sides[0], g) && i < set->groups[g].rule_count; i++) {
            const struct tsn_alert_rule_state *alerts = tsn_rule_evaluator_alerts(r->ev, g, i);

            for (size_t n = 0; alerts && !goes_on(r, g, i) && n < alerts->len; n++)
                if (alerts->items[n].state != TSN_ALERT_INACTIVE)
                    note_line(r, r->turning->steps_ms[g], set->groups[g].rules[i].name, alerts->items[n].state, TSN_ALERT_RESOLVED,
                              &alerts->items[n], false);
        }
}

/* ---- warming -------------------------------------------------------------------------------- */

/* One selector of set 1 against all of set 0. */
struct warm {
    const struct run *r;
    const struct asked *now;
    int64_t since_ms, window_ms, until_ms;
};

static bool asks_no_more(const struct asked *was, const struct asked *now)
{
    for (size_t i = 0; i < was->count; i++) {
        bool found = false;

        for (size_t k = 0; k < now->count && !found; k++)
            found = was->matchers[i].op == now->matchers[k].op && strcmp(was->matchers[i].name, now->matchers[k].name) == 0 &&
                    strcmp(was->matchers[i].value, now->matchers[k].value) == 0;
        if (!found)
            return false;
    }
    return true;
}

static void visit_former(void *arg, const struct asked *was)
{
    struct warm *w = arg;
    int64_t step_ms = w->r->turning->steps_ms[was->group], since_ms = step_ms == TSN_TIME_NONE ? TSN_TIME_NONE : step_ms - was->reach_ms;

    if (asks_no_more(was, w->now) && since_ms < w->since_ms)
        w->since_ms = since_ms;
}

static void visit_window(void *arg, const struct asked *now)
{
    struct warm *w = arg;

    w->window_ms = now->reach_ms > w->window_ms ? now->reach_ms : w->window_ms;
}

static void visit_warm(void *arg, const struct asked *now)
{
    struct warm *w = arg;
    int64_t until_ms = TSN_TIME_NONE;

    w->now = now;
    w->since_ms = INT64_MAX;
    ask_side(w->r, &w->r->sides[0], visit_former, w);
    if (w->since_ms == INT64_MAX)
        until_ms = w->r->latest_ms + w->window_ms;
    else if (w->since_ms != TSN_TIME_NONE)
        until_ms = w->since_ms + now->reach_ms;
    w->until_ms = until_ms > w->until_ms ? until_ms : w->until_ms;
}

static void warm_units(struct run *r)
{
    struct side *now = &r->sides[1];

    for (size_t g = 0; g < now->set->group_count && r->latest_ms != TSN_TIME_NONE; g++) {
        struct warm w = { r, NULL, INT64_MAX, LOOKBACK_MS, TSN_TIME_NONE };

        for (size_t o = 0; o < now->set->group_count; o++)
            if (now->unit_of[o] == now->unit_of[g])
                ask_group(now, o, visit_window, &w);
        for (size_t o = 0; o < now->set->group_count; o++)
            if (now->unit_of[o] == now->unit_of[g])
                ask_group(now, o, visit_warm, &w);
        now->warm_ms[g] = w.until_ms > r->latest_ms ? w.until_ms : TSN_TIME_NONE;
    }
}

/* ---- series that set 0 did not read here ---------------------------------------------------- */

struct foreign_key {
    int64_t writer;
    uint32_t ref, zero;
};

/* Where time stands for a series as set 1 takes it up: what lies there or before is late. */
static int64_t horizon_of(const struct run *r, const struct tsn_labels *labels)
{
    const struct side *now = &r->sides[1];
    int64_t latest_ms = TSN_TIME_NONE;

    for (size_t g = 0; g < now->set->group_count; g++) {
        struct read_by by = { r, now, labels, false, INT64_MAX };

        if (here(r, now, g))
            ask_group(now, g, visit_read, &by);
        if (by.any && now->unit_ms[g] > latest_ms)
            latest_ms = now->unit_ms[g];
    }
    return latest_ms;
}

static void take_foreign(struct run *r, const struct tsn_batch *b, const struct tsn_map *names, struct reference *counted)
{
    for (size_t i = 0; i < b->point_count + b->delta_count; i++) {
        bool point = i < b->point_count;
        const struct tsn_batch_delta *delta = point ? NULL : &b->deltas[i - b->point_count];
        struct foreign_key key = { b->writer, point ? b->points[i].ref : delta->ref, 0 };
        struct tsn_labels *labels = tsn_map_get(names, &key, sizeof key);
        struct tsn_buf text = TSN_BUF_INIT;
        int64_t horizon_ms;

        if (!labels || read_by(r, 0, labels).any || !read_by(r, 1, labels).any)
            continue;
        horizon_ms = horizon_of(r, labels);
        sim_note(r->s, SIM_E_FOREIGN);
        if (point && b->points[i].ts_ms > horizon_ms)
            tsn_memstore_add(r->store, labels, b->points[i].ts_ms, b->points[i].value);
        tsn_labels_format(&text, labels);
        if (delta)
            ref_delta(counted, tsn_buf_str(&text), delta->pane_ms + 1000 <= horizon_ms ? horizon_ms / 1000 * 1000 : delta->pane_ms,
                      tsn_fixed_to_double(delta->delta));
        tsn_buf_release(&text);
    }
}

static void fill_foreign(struct run *r, struct reference *counted)
{
    const struct sim_log *log = &r->s->cluster.samples[r->partition];
    struct ref_samples known = { 0 };
    struct tsn_map names;

    tsn_map_init(&names);
    for (size_t i = 0; i < log->len; i++) {
        struct tsn_batch b;

        if (log->items[i].aborted || tsn_codec_batch_decode(log->items[i].bytes, log->items[i].len, &b, NULL))
            continue;
        for (size_t n = 0; n < b.series_count; n++) {
            struct foreign_key key = { b.writer, b.series[n].ref, 0 };

            tsn_labels_unref(tsn_map_put(&names, &key, sizeof key, tsn_labels_ref(b.series[n].labels)));
        }
        if (i >= r->turning->record)
            take_foreign(r, &b, &names, counted);
        tsn_batch_release(&b);
    }
    tsn_map_foreach(&names, e) tsn_labels_unref(e->value);
    tsn_map_release(&names);
    ref_totals(counted, &known);
    r->samples.len -= r->samples.done; /* those left, and these */
    memmove(r->samples.items, r->samples.items + r->samples.done, r->samples.len * sizeof *r->samples.items);
    r->samples.done = 0;
    for (size_t i = 0; i < known.len; i++)
        tsn_vec_push(&r->samples, known.items[i]);
    tsn_free(known.items);
    if (r->samples.len)
        qsort(r->samples.items, r->samples.len, sizeof *r->samples.items, world_by_known);
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void note_steps(struct run *r)
{
    r->latest_ms = TSN_TIME_NONE;
    r->least_ms = INT64_MAX;
    for (size_t g = 0; r->turning && g < r->sides[0].set->group_count; g++) {
        int64_t step_ms = r->turning->steps_ms[g];

        if (!here(r, &r->sides[0], g))
            continue;
        r->sides[0].to_ms[g] = step_ms;
        r->latest_ms = step_ms > r->latest_ms ? step_ms : r->latest_ms;
        r->least_ms = step_ms < r->least_ms ? step_ms : r->least_ms;
    }
}

static void go_over(struct run *r, struct reference *counted)
{
    begin_units(r);
    warm_units(r);
    r->side = &r->sides[1];
    end_gone(r);
    tsn_rule_evaluator_reload(r->ev, r->side->set, r->latest_ms + 1);
    r->switched = true;
    fill_foreign(r, counted);
}

static void open_run(struct run *r, struct sim_world *s, struct sim_checks *c, int32_t partition)
{
    struct tsn_rule_eval_options options = { .storage = { view_select, r }, .append = world_append, .on_changes = on_changes, .changes_arg = r };

    memset(r, 0, sizeof *r);
    r->s = s;
    r->c = c;
    r->partition = partition;
    r->turning = partition >= 0 && c->turnings[partition].happened ? &c->turnings[partition] : NULL;
    for (int i = 0; i < 2; i++)
        place_groups(&r->sides[i], s->sets[i]);
    note_steps(r);
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
    struct reference foreign;
    struct run r;

    reference_init(&foreign, SIM_TTL_MS);
    open_run(&r, s, c, partition);
    step_to(&r, SIM_START_MS, r.turning ? r.latest_ms : s->limit_ms);
    if (r.turning) {
        go_over(&r, &foreign);
        step_to(&r, r.least_ms == TSN_TIME_NONE ? SIM_START_MS : r.least_ms + 1000, s->limit_ms);
    }
    live_lines(s, partition, &live);
    sim_settle(&live, SETTLE_MS / 1000, to_s);
    sim_settle(&r.lines, SETTLE_MS / 1000, to_s);
    if (strcmp(tsn_buf_str(&live), tsn_buf_str(&r.lines)) != 0)
        sim_first_difference(s, partition, tsn_buf_str(&live), tsn_buf_str(&r.lines));
    if (partition < 0 && !live.len)
        sim_fail(s, "nothing fired: the seed proves nothing");
    tsn_buf_release(&live);
    close_run(&r);
    reference_release(&foreign);
}
