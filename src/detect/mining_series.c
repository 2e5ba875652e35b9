/*
 * mining_series: scopes, templates, and the series that are made of them.
 *
 * The series are counters as others counted here (birth at zero, one sample a pane, ttl), but written when their pane is mined, and
 * their samples are kept in state as those of recorded series are.
 */
#include "detect/mining.h"

#include <string.h>

/* For one service at one level. Snapshots of this size stay below 2 MiB. */
const struct tsn_miner_limits tsn_mined_limits = { .max_templates = 2000, .max_signatures = 10000, .max_slots = 20000,
                                                   .max_text_bytes = 1 << 20 };

enum { MERGED_MAX = 2000 }; /* merged templates remembered, a scope */

/* ---- lines -------------------------------------------------------------------------------- */

void tsn_mined_line_free(struct mined_line *line)
{
    tsn_free(line->text);
    tsn_free(line->topic);
    memset(line, 0, sizeof *line);
}

int tsn_mined_line_compare(const struct mined_line *a, const struct mined_line *b)
{
    int order;

    if (a->ts_ms != b->ts_ms)
        return a->ts_ms < b->ts_ms ? -1 : 1;
    order = strcmp(a->topic, b->topic);
    if (!order)
        order = (a->partition > b->partition) - (a->partition < b->partition);
    return order ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

void tsn_mined_add_line(struct mined *mined, struct mined_line *line)
{
    size_t at = mined->lines.len;

    for (size_t i = 0; i < mined->lines.len; i++)
        if (!tsn_mined_line_compare(&mined->lines.items[i], line)) {
            tsn_mined_line_free(line);
            return;
        }
    tsn_vec_push(&mined->lines, *line);
    for (; at && tsn_mined_line_compare(&mined->lines.items[at - 1], line) > 0; at--)
        mined->lines.items[at] = mined->lines.items[at - 1];
    mined->lines.items[at] = *line;
    memset(line, 0, sizeof *line);
    if (mined->lines.len > TSN_LINES_MAX) {
        tsn_mined_line_free(&mined->lines.items[1]);
        memmove(mined->lines.items + 1, mined->lines.items + 2, (mined->lines.len - 2) * sizeof *mined->lines.items);
        mined->lines.len--;
    }
    mined->lines_changed = true;
}

/* ---- templates ---------------------------------------------------------------------------- */

struct mined *tsn_mined_get(const struct mined_scope *scope, uint64_t id)
{
    return tsn_map_get(&scope->by_id, &id, sizeof id);
}

struct mined *tsn_mined_new(struct mining *m, struct mined_scope *scope, uint64_t id)
{
    struct mined *mined = tsn_mined_get(scope, id);
    bool again = mined != NULL;

    if (!again) {
        mined = tsn_calloc(1, sizeof *mined);
        tsn_map_put(&scope->by_id, &id, sizeof id, mined);
    } else { /* merged away once, its survivor evicted: found again, under the same id */
        for (size_t i = 0; i < scope->templates.len; i++)
            if (scope->templates.items[i] == mined)
                scope->templates.items[i] = NULL;
    }
    mined->id = id;
    mined->scope = scope;
    mined->into = 0;
    mined->found_ms = mined->merged_ms = mined->first_ms = mined->last_ms = TSN_TIME_NONE;
    mined->told = -1;
    mined->told_ms = TSN_TIME_NONE;
    tsn_vec_push(&scope->templates, mined);
    m->templates += !again || mined->ref == TSN_MINER_NONE;
    return mined;
}

static void mined_free(struct mined *mined)
{
    for (size_t i = 0; i < mined->lines.len; i++)
        tsn_mined_line_free(&mined->lines.items[i]);
    tsn_vec_release(&mined->lines);
    tsn_labels_unref(mined->labels);
    tsn_free(mined);
}

static char *key_of(const char *kind, const struct mined *mined)
{
    struct tsn_buf key = TSN_BUF_INIT;

    tsn_buf_printf(&key, "%s/%016llx/%016llx", kind, (unsigned long long)mined->scope->hash, (unsigned long long)mined->id);
    return tsn_buf_take(&key, NULL);
}

/* A template that nobody will hear of again. */
static void let_go(struct mining *m, struct mined *mined)
{
    struct tsn_buf told = TSN_BUF_INIT;

    tsn_map_del(&mined->scope->by_id, &mined->id, sizeof mined->id);
    tsn_vec_push(&m->gone, key_of("template", mined));
    tsn_vec_push(&m->gone, key_of("lines", mined));
    tsn_buf_printf(&told, "%s/%016llx", mined->scope->service, (unsigned long long)mined->id);
    tsn_vec_push(&m->gone_told, tsn_buf_take(&told, NULL));
    m->templates -= mined->ref != TSN_MINER_NONE;
    mined_free(mined);
}

/* Merges go from a younger template to an older one: no circles, but those of damaged records. */
struct mined *tsn_mined_survivor(const struct mined_scope *scope, struct mined *mined)
{
    for (int hops = 0; mined && mined->merged_ms != TSN_TIME_NONE; hops++)
        mined = hops < 64 ? tsn_mined_get(scope, mined->into) : NULL;
    return mined;
}

static bool survivor_lives(const struct mined_scope *scope, struct mined *mined)
{
    mined = tsn_mined_survivor(scope, mined);
    return mined && !mined->gone;
}

/* Drops what was evicted, with what was merged into it, and numbers the rest anew. */
static void sweep(struct mining *m, struct mined_scope *scope, size_t merged)
{
    size_t kept = 0;

    for (size_t i = 0; i < scope->templates.len; i++)
        if (scope->templates.items[i] && scope->templates.items[i]->merged_ms != TSN_TIME_NONE)
            scope->templates.items[i]->gone = merged-- > MERGED_MAX || !survivor_lives(scope, scope->templates.items[i]);
    for (size_t i = 0; i < scope->templates.len; i++) {
        struct mined *mined = scope->templates.items[i];

        if (mined && !mined->gone)
            scope->templates.items[kept++] = mined;
        else if (mined)
            let_go(m, mined);
    }
    scope->templates.len = kept;
    for (size_t i = 0; i < kept; i++)
        if (scope->templates.items[i]->ref != TSN_MINER_NONE)
            *tsn_miner_tag(scope->miner, scope->templates.items[i]->ref) = (uint32_t)i;
}

void tsn_mined_refresh(struct mining *m, struct mined_scope *scope)
{
    uint64_t evicted = tsn_miner_stats(scope->miner).evicted_templates;
    struct tsn_template t;
    uint32_t cursor = 0;
    size_t merged = 0, live = 0;

    if (evicted != scope->evicted)
        scope->changed = true;
    for (size_t i = 0; i < scope->templates.len; i++) {
        struct mined *mined = scope->templates.items[i];

        if (!mined)
            continue;
        mined->gone = mined->merged_ms == TSN_TIME_NONE;
        merged += mined->merged_ms != TSN_TIME_NONE;
    }
    while (tsn_miner_next(scope->miner, &cursor, &t)) {
        struct mined *mined = tsn_mined_get(scope, t.id);

        if (!mined)
            continue;
        live++;
        mined->ref = t.ref;
        mined->gone = false;
        mined->count = t.count;
        mined->first_ms = t.first_ms;
        mined->last_ms = t.last_ms;
    }
    if (evicted != scope->evicted || merged > 2 * MERGED_MAX || scope->templates.len > live + merged)
        sweep(m, scope, merged);
    m->stats.evicted_templates += evicted - scope->evicted;
    scope->evicted = evicted;
}

/* ---- scopes ------------------------------------------------------------------------------- */

struct mined_scope *tsn_mined_scope(struct mining *m, const char *service, const char *level)
{
    struct tsn_buf key = TSN_BUF_INIT;
    struct mined_scope *scope;
    void **slot;

    tsn_buf_append(&key, service, strlen(service) + 1);
    tsn_buf_puts(&key, level);
    slot = tsn_map_upsert(&m->scopes, key.data, key.len, NULL);
    if (!*slot) {
        *slot = scope = tsn_calloc(1, sizeof *scope);
        scope->service = tsn_strdup(service);
        scope->level = tsn_strdup(level);
        scope->hash = tsn_hash64(key.data, key.len);
        scope->last_ms = TSN_TIME_NONE;
        tsn_map_init(&scope->by_id);
    }
    tsn_buf_release(&key);
    return *slot;
}

static void forget_parts(struct mining *m, const struct mined_scope *scope)
{
    for (uint32_t p = 0; p < scope->parts_written; p++) {
        struct tsn_buf key = TSN_BUF_INIT;

        tsn_buf_printf(&key, "miner/%016llx/%u", (unsigned long long)scope->hash, p);
        tsn_vec_push(&m->gone, tsn_buf_take(&key, NULL));
    }
}

void tsn_mined_scope_forget(struct mining *m, struct mined_scope *scope)
{
    for (size_t i = 0; i < scope->templates.len; i++)
        if (scope->templates.items[i])
            let_go(m, scope->templates.items[i]);
    tsn_vec_release(&scope->templates);
    tsn_miner_free(&scope->miner);
    forget_parts(m, scope);
    scope->parts_written = 0;
    scope->changed = false;
    scope->evicted = 0;
    m->miners--;
}

void tsn_mined_scope_free(struct mined_scope *scope)
{
    for (size_t i = 0; i < scope->templates.len; i++)
        if (scope->templates.items[i])
            mined_free(scope->templates.items[i]);
    tsn_vec_release(&scope->templates);
    tsn_map_release(&scope->by_id);
    tsn_miner_free(&scope->miner);
    tsn_labels_unref(scope->found_labels);
    tsn_free(scope->service);
    tsn_free(scope->level);
    tsn_free(scope);
}

/* ---- series ------------------------------------------------------------------------------- */

static struct tsn_labels *make_labels(const struct tsn_detect *d, const struct mined_scope *scope, const struct mined *mined)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;
    char id[17];

    tsn_labels_builder_init(&b);
    tsn_labels_builder_set(&b, "__name__", mined ? "log_template_messages_total" : "log_templates_discovered_total");
    tsn_labels_builder_set(&b, "service", scope->service);
    tsn_labels_builder_set(&b, "level", scope->level);
    if (d->opt.fill_job)
        tsn_labels_builder_set(&b, "job", scope->service);
    if (mined) {
        for (int i = 0; i < 16; i++)
            id[i] = "0123456789abcdef"[mined->id >> (60 - 4 * i) & 15];
        id[16] = '\0';
        tsn_labels_builder_set(&b, "template", id);
    }
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

const struct tsn_labels *tsn_mined_labels(struct tsn_detect *d, struct mined_scope *scope, struct mined *mined)
{
    struct tsn_labels **labels = mined ? &mined->labels : &scope->found_labels;

    if (!*labels)
        *labels = make_labels(d, scope, mined);
    return *labels;
}

/* NULL: nobody reads it, the limit is met, or an input sends a series of this very name. */
static struct series *series_of(struct tsn_detect *d, struct mined_scope *scope, struct mined *mined)
{
    const struct tsn_labels *labels = tsn_mined_labels(d, scope, mined);
    struct series *s = tsn_store_get(&d->store, labels->id);

    if (!s && d->store.all.len >= d->opt.max_series) {
        d->stats.series_limit_hits++;
        return NULL;
    }
    if (!s) {
        s = tsn_store_add(&d->store, (struct tsn_labels *)(uintptr_t)labels, TSN_DELTA);
        tsn_series_derive(s);
        s->mined = true;
        tsn_detect_attach_series(d, s);
        d->stats.series = d->store.all.len;
    }
    return s->mined && s->readers->count ? s : NULL;
}

/* Discoveries are rare, so there may be one sample in a window, and one is no increase(): what the total was stands where the pane
 * begins, as the zero does at birth. Also when the last discovery has left every window and no sample of it is held any more. */
static void stand_before(struct tsn_detect *d, struct series *s, int64_t pane_ms)
{
    if (s->life.birth_ms == TSN_TIME_NONE || (s->samples.len && s->samples.items[s->samples.len - 1].ts_ms >= pane_ms) ||
        s->life.last_ms + TSN_PANE_MS + d->opt.counter_ttl_ms <= pane_ms)
        return;
    tsn_series_room(s, 1, tsn_detect_needless_of(d, s));
    tsn_series_insert(s, pane_ms, tsn_fixed_to_double(s->life.total));
}

void tsn_mined_count(struct tsn_detect *d, struct mined_scope *scope, struct mined *mined, int64_t pane_ms, int64_t count)
{
    struct series *s = series_of(d, scope, mined);

    if (!s)
        return;
    if (!mined)
        stand_before(d, s, pane_ms);
    (void)tsn_panes_add(&s->panes, pane_ms, (tsn_fixed)count << 64);
    tsn_detect_list_open(d, s);
    tsn_detect_close_series(d, s, pane_ms + TSN_PANE_MS);
}

void tsn_mined_end_series(struct tsn_detect *d, struct mined *mined, int64_t end_ms)
{
    struct series *s = tsn_store_get(&d->store, tsn_mined_labels(d, mined->scope, mined)->id);

    if (!s || !s->mined || s->life.birth_ms == TSN_TIME_NONE)
        return;
    tsn_series_room(s, 1, tsn_detect_needless_of(d, s));
    tsn_series_insert(s, end_ms, tsn_stale());
    tsn_series_end_life(s);
    tsn_detect_queue_series(d, s, end_ms);
}
