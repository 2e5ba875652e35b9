/*
 * mining: texts and counts as they come, and panes as they are mined. See mining.h for the picture.
 */
#include "detect/mining.h"

#include <stdlib.h>
#include <string.h>

/* A writer's texts of one wall minute; INGEST remembers no more than twice that. A scope: what a service says at one level.
 * A partition: some hundred services. */
enum { TEXT_MAX = 16 << 20, SCOPES_MAX = 2000, TEMPLATES_MAX = 40000, NUMBERS_MAX = 8000 };

static const char anything[] = "<*>"; /* stands for a text that was never announced, or over the limit */

struct text_key {
    uint64_t scope, signature;
};

void tsn_mining_init(struct tsn_detect *d)
{
    struct mining *m = d->mining = tsn_calloc(1, sizeof *m);

    tsn_map_init(&m->scopes);
    tsn_map_init(&m->texts);
    tsn_map_init(&m->restored);
    m->horizon_ms = TSN_TIME_NONE;
    m->first_pane_ms = INT64_MAX;
}

static void cell_release(struct mined_cell *cell)
{
    cell->text->cells--;
    if (cell->line)
        tsn_mined_line_free(cell->line);
    tsn_free(cell->line);
}

static void text_free(struct known_text *text)
{
    text->scope->texts--;
    tsn_free(text->text);
    tsn_free(text);
}

static void free_texts(char **items, size_t len)
{
    for (size_t i = 0; i < len; i++)
        tsn_free(items[i]);
    tsn_free(items);
}

void tsn_mining_release(struct tsn_detect *d)
{
    struct mining *m = d->mining;

    for (size_t i = 0; i < m->cells.len; i++)
        cell_release(&m->cells.items[i]);
    tsn_vec_release(&m->cells);
    tsn_map_foreach(&m->texts, e)
        text_free(e->value);
    tsn_map_release(&m->texts);
    tsn_map_foreach(&m->scopes, e)
        tsn_mined_scope_free(e->value);
    tsn_map_release(&m->scopes);
    tsn_map_foreach(&m->restored, e)
        tsn_free(e->value);
    tsn_map_release(&m->restored);
    free_texts(m->gone.items, m->gone.len);
    free_texts(m->gone_told.items, m->gone_told.len);
    tsn_free(m);
    d->mining = NULL;
}

/* ---- what is announced -------------------------------------------------------------------- */

static struct known_text *text_of(struct mining *m, const char *service, const char *level, uint64_t signature)
{
    struct mined_scope *scope = tsn_mined_scope(m, service, level);
    struct text_key key = { scope->hash, signature };
    void **slot = tsn_map_upsert(&m->texts, &key, sizeof key, NULL);
    struct known_text *text = *slot;

    if (text)
        return text;
    *slot = text = tsn_calloc(1, sizeof *text);
    text->scope = scope;
    text->signature = signature;
    text->minute = TSN_TIME_NONE;
    scope->texts++;
    return text;
}

/* A text is needed while its writer's minute lasts, or a cell waits for it. */
static void forget_texts(struct tsn_detect *d)
{
    struct mining *m = d->mining;
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < d->writers.len; i++)
        least = d->writers.items[i]->minute < least ? d->writers.items[i]->minute : least;
    tsn_map_foreach(&m->texts, e) {
        struct known_text *text = e->value;
        struct text_key key = { text->scope->hash, text->signature };

        if (text->cells || text->minute >= least)
            continue;
        tsn_map_del(&m->texts, &key, sizeof key);
        text_free(text);
    }
    tsn_map_foreach(&m->scopes, e) {
        struct mined_scope *scope = e->value;

        if (scope->texts || scope->miner)
            continue;
        tsn_map_del(&m->scopes, tsn_map_entry_key(e), e->key_len);
        tsn_mined_scope_free(scope);
    }
}

void tsn_mining_take_texts(struct tsn_detect *d, struct writer *w, const struct tsn_batch *b)
{
    struct mining *m = d->mining;

    if (w->texts_minute != w->minute) {
        w->texts_minute = w->minute;
        w->text_bytes = 0;
        forget_texts(d);
    }
    for (size_t i = 0; i < b->signature_count; i++) {
        const struct tsn_batch_signature *in = &b->signatures[i];
        struct known_text *text;
        size_t len = strlen(in->text);

        w->text_bytes += len;
        if (w->text_bytes > TEXT_MAX) {
            m->stats.limit_texts++;
            continue;
        }
        text = text_of(m, in->service, in->level, in->signature);
        text->minute = w->minute;
        if (text->text)
            continue;
        text->text = tsn_strndup(in->text, len);
        text->len = len;
    }
}

/* ---- what is counted ---------------------------------------------------------------------- */

bool tsn_mining_feeds(const struct unit *unit)
{
    static const char *const names[] = { "log_template_messages_total", "log_templates_discovered_total" };

    for (size_t i = 0; unit->here && i < unit->selectors.len; i++)
        for (size_t n = 0; n < TSN_ARRAY_LEN(names); n++)
            if (tsn_detect_name_possible(&unit->selectors.items[i], names[n]))
                return true;
    return false;
}

static void note_pane(struct tsn_detect *d, int64_t pane_ms)
{
    for (uint32_t u = 0; u < d->unit_count; u++)
        if (d->units[u].mines && (d->units[u].start_ms == TSN_TIME_NONE || pane_ms < d->units[u].start_ms))
            d->units[u].start_ms = pane_ms;
    tsn_detect_note_minute(d, pane_ms);
}

/* The earliest pane that was not mined, if this one was. */
static int64_t open_pane(struct tsn_detect *d, int64_t pane_ms)
{
    int64_t horizon_ms = d->mining->horizon_ms;

    if (horizon_ms == TSN_TIME_NONE || pane_ms + TSN_PANE_MS > horizon_ms)
        return pane_ms;
    d->stats.late_moved++;
    return horizon_ms - ((horizon_ms % TSN_PANE_MS) + TSN_PANE_MS) % TSN_PANE_MS;
}

static void push_cell(struct tsn_detect *d, int64_t pane_ms, int64_t count, struct known_text *text, struct mined_line *line)
{
    struct mined_cell cell = { pane_ms, count, text, line };

    text->cells++;
    tsn_vec_push(&d->mining->cells, cell);
    d->mining->first_pane_ms = pane_ms < d->mining->first_pane_ms ? pane_ms : d->mining->first_pane_ms;
    note_pane(d, pane_ms);
}

static void take_sample(struct tsn_detect *d, const struct tsn_batch_signature *in)
{
    int64_t pane_ms = in->ts_ms - ((in->ts_ms % TSN_PANE_MS) + TSN_PANE_MS) % TSN_PANE_MS, horizon_ms = d->mining->horizon_ms;
    struct mined_line *line = tsn_calloc(1, sizeof *line);

    line->text = tsn_strdup(in->sample);
    line->topic = tsn_strdup(in->sample_topic ? in->sample_topic : "");
    line->partition = in->sample_partition;
    line->offset = in->sample_offset;
    line->ts_ms = in->ts_ms;
    if (horizon_ms != TSN_TIME_NONE && pane_ms + TSN_PANE_MS <= horizon_ms) /* a sample is no count: it is not late */
        pane_ms = horizon_ms - ((horizon_ms % TSN_PANE_MS) + TSN_PANE_MS) % TSN_PANE_MS;
    push_cell(d, pane_ms, 0, text_of(d->mining, in->service, in->level, in->signature), line);
}

static bool any_mines(const struct tsn_detect *d)
{
    for (uint32_t u = 0; u < d->unit_count; u++)
        if (d->units[u].mines)
            return true;
    return false;
}

void tsn_mining_take_cells(struct tsn_detect *d, const struct tsn_batch *b)
{
    if (!any_mines(d))
        return;
    for (size_t i = 0; i < b->signature_count_count; i++) {
        const struct tsn_batch_signature_count *in = &b->signature_counts[i];

        if (in->count <= 0)
            continue;
        d->stats.deltas++;
        push_cell(d, open_pane(d, in->pane_ms), in->count, text_of(d->mining, in->service, in->level, in->signature), NULL);
    }
    for (size_t i = 0; i < b->signature_count; i++)
        if (b->signatures[i].sample)
            take_sample(d, &b->signatures[i]);
}

/* ---- a pane ------------------------------------------------------------------------------- */

static struct mined *mined_of(const struct mined_scope *scope, uint32_t ref)
{
    uint32_t tag = *tsn_miner_tag(scope->miner, ref);

    return tag < scope->templates.len ? scope->templates.items[tag] : NULL;
}

static void start_miner(struct mining *m, struct mined_scope *scope)
{
    scope->miner = tsn_miner_new(&tsn_mined_limits);
    scope->number = tsn_miner_scope(scope->miner, scope->service, scope->level);
    m->miners++;
}

/* Templates that vanished by the last call: each series ends with the pane before this one's end. */
static void take_merges(struct tsn_detect *d, struct mined_scope *scope, int64_t pane_ms)
{
    size_t count;
    const struct tsn_miner_merge *merges = tsn_miner_merged(scope->miner, &count);

    for (size_t i = 0; i < count; i++) {
        struct mined *from = tsn_mined_get(scope, merges[i].from_id), *into = tsn_mined_get(scope, merges[i].into_id);

        if (!from || from->ref == TSN_MINER_NONE)
            continue; /* found and merged by the same line: there never was a series */
        from->ref = TSN_MINER_NONE;
        from->into = merges[i].into_id;
        from->merged_ms = pane_ms;
        from->tally_changed = from->tell_now = true;
        if (into) {
            for (size_t l = 0; l < from->lines.len; l++)
                tsn_mined_add_line(into, &from->lines.items[l]);
            from->lines.len = 0;
            into->count += from->count; /* as the miner has it; the series' counts stay where they are */
            if (into->first_ms == TSN_TIME_NONE || (from->first_ms != TSN_TIME_NONE && from->first_ms < into->first_ms))
                into->first_ms = from->first_ms;
            if (from->last_ms > into->last_ms)
                into->last_ms = from->last_ms;
            into->tell_now = into->tally_changed = true;
        }
        tsn_mined_end_series(d, from, pane_ms + TSN_PANE_MS);
        d->mining->templates--;
        d->mining->stats.merged++;
    }
    tsn_miner_merged_clear(scope->miner);
}

static int64_t lines_of(const struct mined_cell *cells, size_t count)
{
    int64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += cells[i].count;
    return sum;
}

/* Signatures the miner does not know (`count` lines of this one, in the pane). True if one was a template never seen. */
static bool learn(struct tsn_detect *d, struct mined_scope *scope, const struct mined_cell *cell, int64_t count)
{
    const struct known_text *text = cell->text;
    const char *line = text->text ? text->text : anything;
    size_t len = text->text ? text->len : strlen(anything);
    uint64_t signature = text->text ? text->signature : tsn_hash64(anything, strlen(anything));
    struct tsn_miner_result result;
    struct mined *fresh;

    d->mining->stats.unknown_texts += !text->text;
    result = tsn_miner_add(scope->miner, scope->number, signature, line, len, tsn_pattern_is_pin(signature, line, len), count, count ? cell->pane_ms : TSN_TIME_NONE);
    scope->changed = true;
    if (result.is_new) {
        fresh = tsn_mined_new(d->mining, scope, result.id);
        fresh->ref = result.ref;
        fresh->found_ms = cell->pane_ms;
        fresh->tell_now = fresh->tally_changed = true;
        *tsn_miner_tag(scope->miner, result.ref) = (uint32_t)scope->templates.len - 1;
        d->mining->stats.discovered++;
    }
    take_merges(d, scope, cell->pane_ms);
    return result.is_new;
}

static void note_tally(struct mined *mined, uint32_t ref)
{
    struct tsn_template t;

    if (!tsn_miner_get(mined->scope->miner, ref, &t))
        return;
    mined->ref = ref;
    mined->count = t.count;
    mined->first_ms = t.first_ms;
    mined->last_ms = t.last_ms;
}

/* Replay knows what the live run knew in the end. In this pane the lines were counted for the template of their own signature, if it
 * was one, or for what that was merged into by then. */
static struct mined *as_of(const struct mined_scope *scope, struct mined *last, const struct mined_cell *cell)
{
    uint64_t named[2] = { scope->hash, cell->text->signature };
    struct mined *mined = tsn_mined_get(scope, tsn_hash64(named, sizeof named));

    for (int hops = 0; mined && mined->merged_ms != TSN_TIME_NONE && mined->merged_ms <= cell->pane_ms; hops++)
        mined = hops < 64 ? tsn_mined_get(scope, mined->into) : NULL;
    return mined ? mined : last;
}

/* What the live run found in this pane, and what it merged. */
static int64_t relive(struct tsn_detect *d, struct mined_scope *scope, int64_t pane_ms)
{
    int64_t found = 0;

    for (size_t i = 0; i < scope->templates.len; i++) {
        struct mined *mined = scope->templates.items[i];

        found += mined && mined->found_ms == pane_ms;
        if (mined && mined->merged_ms == pane_ms)
            tsn_mined_end_series(d, mined, pane_ms + TSN_PANE_MS);
    }
    return found;
}

/* `cells` of one pane and one signature, `count` of them. */
static bool count_lines(struct tsn_detect *d, struct mined_scope *scope, const struct mined_cell *cells, size_t count)
{
    struct tsn_miner_result result;
    struct mined *mined;
    bool found = false, learned = cells->text->learned;
    int64_t sum = lines_of(cells, count);

    cells->text->learned = false;
    result = tsn_miner_count(scope->miner, scope->number, cells->text->signature, learned ? 0 : sum,
                             learned || !sum ? TSN_TIME_NONE : cells->pane_ms);
    if (result.ref == TSN_MINER_NONE) { /* no text, or evicted by its neighbours in the pane */
        found = learn(d, scope, cells, sum);
        result = tsn_miner_count(scope->miner, scope->number,
                                 cells->text->text ? cells->text->signature : tsn_hash64(anything, strlen(anything)), 0, TSN_TIME_NONE);
    }
    mined = result.ref == TSN_MINER_NONE ? NULL : mined_of(scope, result.ref);
    if (mined && d->mining->history)
        mined = as_of(scope, mined, cells);
    if (!mined)
        return found;
    if (!d->mining->history)
        note_tally(mined, result.ref);
    for (size_t i = 0; i < count; i++)
        if (cells[i].line)
            tsn_mined_add_line(mined, cells[i].line);
    if (sum) {
        mined->tally_changed = true;
        d->mining->stats.lines += (uint64_t)sum;
        tsn_mined_count(d, scope, mined, cells->pane_ms, sum);
    }
    return found;
}

static size_t same_text(const struct mined_cell *cells, size_t count)
{
    size_t n = 1;

    while (n < count && cells[n].text == cells->text)
        n++;
    return n;
}

/* All cells of one pane and scope, by signature. First what is new: so what merges in this pane counts as merged. */
static void mine_scope(struct tsn_detect *d, struct mined_scope *scope, const struct mined_cell *cells, size_t count)
{
    int64_t found = 0;

    if (!scope->miner)
        start_miner(d->mining, scope);
    scope->touched = true;
    if (d->mining->history)
        found = relive(d, scope, cells->pane_ms);
    for (size_t i = 0, n; i < count; i += n) {
        n = same_text(cells + i, count - i);
        cells[i].text->learned = cells[i].text->text && tsn_miner_count(scope->miner, scope->number, cells[i].text->signature, 0,
                                                                        TSN_TIME_NONE).ref == TSN_MINER_NONE;
        if (cells[i].text->learned) /* with its lines: of those that came this moment none is rarer */
            found += learn(d, scope, &cells[i], lines_of(cells + i, n));
    }
    for (size_t i = 0, n; i < count; i += n) {
        n = same_text(cells + i, count - i);
        found += count_lines(d, scope, cells + i, n);
    }
    scope->last_ms = cells->pane_ms;
    if (found)
        tsn_mined_count(d, scope, NULL, cells->pane_ms, found);
    if (tsn_miner_stats(scope->miner).evicted_templates != scope->evicted || scope->templates.len > NUMBERS_MAX)
        tsn_mined_refresh(d->mining, scope);
}

static int by_age(const struct mined_scope *a, const struct mined_scope *b)
{
    int order = (a->last_ms > b->last_ms) - (a->last_ms < b->last_ms);

    if (!order)
        order = strcmp(a->service, b->service);
    return order ? order : strcmp(a->level, b->level);
}

static void bound(struct mining *m)
{
    while (m->templates > TEMPLATES_MAX || m->miners > SCOPES_MAX) {
        struct mined_scope *oldest = NULL;

        tsn_map_foreach(&m->scopes, e) {
            struct mined_scope *scope = e->value;

            if (scope->miner && (!oldest || by_age(scope, oldest) < 0))
                oldest = scope;
        }
        if (!oldest)
            return;
        m->stats.evicted_scopes++;
        tsn_mined_scope_forget(m, oldest);
    }
}

/* ---- a step ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct mined_cell *x = a, *y = b;
    int order;

    if (x->pane_ms != y->pane_ms)
        return x->pane_ms < y->pane_ms ? -1 : 1;
    order = strcmp(x->text->scope->service, y->text->scope->service);
    if (!order)
        order = strcmp(x->text->scope->level, y->text->scope->level);
    if (!order)
        order = (x->text->signature > y->text->signature) - (x->text->signature < y->text->signature);
    if (order || !x->line || !y->line)
        return order ? order : (x->line != NULL) - (y->line != NULL);
    return tsn_mined_line_compare(x->line, y->line);
}

static void mine_panes(struct tsn_detect *d, struct mined_cell *cells, size_t count)
{
    size_t n;

    if (count)
        qsort(cells, count, sizeof *cells, by_place);
    for (size_t i = 0; i < count; i += n) {
        for (n = 1; i + n < count && cells[i + n].pane_ms == cells[i].pane_ms && cells[i + n].text->scope == cells[i].text->scope;)
            n++;
        mine_scope(d, cells[i].text->scope, cells + i, n);
        bound(d->mining);
    }
}

void tsn_mining_step(struct tsn_detect *d, uint32_t unit, int64_t ts_ms)
{
    struct mining *m = d->mining;
    TSN_VEC(struct mined_cell) due = { 0 };
    size_t kept = 0;

    if (!d->units[unit].mines || ts_ms <= m->horizon_ms)
        return;
    m->horizon_ms = ts_ms;
    if (m->first_pane_ms == INT64_MAX || m->first_pane_ms + TSN_PANE_MS > ts_ms)
        return;
    m->first_pane_ms = INT64_MAX;
    for (size_t i = 0; i < m->cells.len; i++) {
        if (m->cells.items[i].pane_ms + TSN_PANE_MS <= ts_ms) {
            tsn_vec_push(&due, m->cells.items[i]);
            continue;
        }
        if (m->cells.items[i].pane_ms < m->first_pane_ms)
            m->first_pane_ms = m->cells.items[i].pane_ms;
        m->cells.items[kept++] = m->cells.items[i];
    }
    m->cells.len = kept;
    if (!d->refill_until) /* else the last owner did, and it lies in state */
        mine_panes(d, due.items, due.len);
    for (size_t i = 0; i < due.len; i++)
        cell_release(&due.items[i]);
    tsn_vec_release(&due);
}
