/*
 * lib_mining: the sequential reference of log mining: the lines as they happened, sorted into panes of a second; in a pane by service,
 * level and signature, first what is new, then what is counted. The miner itself (src/patterns) is the same; batches, announcements by the
 * minute, workers, snapshots in `state` and takeovers are what it must not depend on.
 *
 * Its series go to the reference as any others. Topic `templates` is held against it in the end: ids, texts, merges, counts; a sample
 * line must lie in the input at the offset it names, with its secrets masked.
 */
#include "sim_actors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tocsin/patterns.h"

enum { PANE_MS = 1000 };

struct line {
    int64_t pane_ms;
    char *service, *level, *text; /* text: of the signature */
    uint64_t signature;
};
struct scope {
    struct tsn_miner *miner;
    uint32_t number;
    char *service, *level;
    int64_t found, found_ms; /* discoveries of this life of the series, the last one's pane */
};
struct mined {
    struct scope *scope;
    uint64_t into;  /* 0: lives */
    bool told;      /* topic `templates` has it */
};
struct sim_lines {
    TSN_VEC(struct line) all;
    struct tsn_map scopes; /* service NUL level → struct scope */
    struct tsn_map mined;  /* id → struct mined */
};

struct sim_lines *sim_lines_new(void)
{
    struct sim_lines *lines = tsn_calloc(1, sizeof *lines);

    tsn_map_init(&lines->scopes);
    tsn_map_init(&lines->mined);
    return lines;
}

void sim_lines_free(struct sim_lines **lines)
{
    for (size_t i = 0; i < (*lines)->all.len; i++) {
        tsn_free((*lines)->all.items[i].service);
        tsn_free((*lines)->all.items[i].level);
        tsn_free((*lines)->all.items[i].text);
    }
    tsn_vec_release(&(*lines)->all);
    tsn_map_foreach(&(*lines)->scopes, e)
    {
        tsn_miner_free(&((struct scope *)e->value)->miner);
        tsn_free(e->value);
    }
    tsn_map_foreach(&(*lines)->mined, e) tsn_free(e->value);
    tsn_map_release(&(*lines)->scopes);
    tsn_map_release(&(*lines)->mined);
    tsn_free(*lines);
    *lines = NULL;
}

void sim_lines_add(struct sim_lines *lines, const char *service, const char *level, int64_t ts_ms, const char *text)
{
    struct tsn_buf scratch = TSN_BUF_INIT;
    struct tsn_signature signature = tsn_pattern_signature(NULL, text, strlen(text), &scratch);
    struct line line = { ts_ms / PANE_MS * PANE_MS, tsn_strdup(service), tsn_strdup(level), tsn_strdup(signature.text),
                         signature.hash };

    tsn_vec_push(&lines->all, line);
    tsn_buf_release(&scratch);
}

static int by_place(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    int order;

    if (x->pane_ms != y->pane_ms)
        return x->pane_ms < y->pane_ms ? -1 : 1;
    order = strcmp(x->service, y->service);
    if (!order)
        order = strcmp(x->level, y->level);
    return order ? order : (x->signature > y->signature) - (x->signature < y->signature);
}

static struct scope *scope_of(struct sim_lines *lines, const struct line *line)
{
    struct tsn_buf key = TSN_BUF_INIT;
    struct scope *scope;
    void **slot;

    tsn_buf_append(&key, line->service, strlen(line->service) + 1);
    tsn_buf_puts(&key, line->level);
    slot = tsn_map_upsert(&lines->scopes, key.data, key.len, NULL);
    tsn_buf_release(&key);
    if (*slot)
        return *slot;
    *slot = scope = tsn_calloc(1, sizeof *scope);
    scope->miner = tsn_miner_new(NULL);
    scope->number = tsn_miner_scope(scope->miner, line->service, line->level);
    scope->service = line->service;
    scope->level = line->level;
    scope->found_ms = TSN_TIME_NONE;
    return scope;
}

static void series_name(char out[160], const struct scope *scope, uint64_t id)
{
    if (id)
        snprintf(out, 160, "log_template_messages_total{service=\"%s\",level=\"%s\",template=\"%016llx\"}", scope->service,
                 scope->level, (unsigned long long)id);
    else
        snprintf(out, 160, "log_templates_discovered_total{service=\"%s\",level=\"%s\"}", scope->service, scope->level);
}

/* ---- a pane --------------------------------------------------------------------------------- */

static void take_merges(struct sim_world *s, struct sim_lines *lines, struct scope *scope, int64_t pane_ms,
                        const struct sim_sink *sink)
{
    size_t count;
    const struct tsn_miner_merge *merges = tsn_miner_merged(scope->miner, &count);

    for (size_t i = 0; i < count; i++) {
        struct mined *from = tsn_map_get(&lines->mined, &merges[i].from_id, sizeof merges[i].from_id);
        char name[160];

        if (!from)
            continue; /* found and merged by the same line */
        sim_note(s, SIM_E_MERGED);
        from->into = merges[i].into_id;
        series_name(name, scope, merges[i].from_id);
        sink->known(sink->arg, name, pane_ms + PANE_MS, pane_ms + PANE_MS, tsn_stale());
    }
    tsn_miner_merged_clear(scope->miner);
}

static size_t same_signature(const struct line *lines, size_t count)
{
    size_t n = 1;

    while (n < count && lines[n].signature == lines->signature)
        n++;
    return n;
}

static void end_found(const struct scope *scope, const char *name, const struct sim_sink *sink)
{
    int64_t end_ms = scope->found_ms + PANE_MS + SIM_TTL_MS;

    sink->known(sink->arg, name, end_ms, end_ms, tsn_stale());
}

/* The series of discoveries: zero at birth, what it was where the pane begins, what it is where it ends; a life ends with the ttl. */
static void tell_found(struct scope *scope, int64_t pane_ms, int64_t found, const struct sim_sink *sink)
{
    char name[160];

    series_name(name, scope, 0);
    if (scope->found_ms != TSN_TIME_NONE && scope->found_ms + PANE_MS + SIM_TTL_MS <= pane_ms) {
        end_found(scope, name, sink);
        scope->found = 0;
        scope->found_ms = TSN_TIME_NONE;
    }
    if (scope->found_ms == TSN_TIME_NONE || scope->found_ms + PANE_MS < pane_ms)
        sink->known(sink->arg, name, pane_ms + PANE_MS, pane_ms, (double)scope->found);
    scope->found += found;
    scope->found_ms = pane_ms;
    sink->known(sink->arg, name, pane_ms + PANE_MS, pane_ms + PANE_MS, (double)scope->found);
}

static void mine_pane(struct sim_world *s, struct sim_lines *lines, const struct line *pane, size_t count, const struct sim_sink *sink)
{
    struct scope *scope = scope_of(lines, pane);
    int64_t pane_ms = pane->pane_ms, found = 0;
    bool *learned = tsn_calloc(count, sizeof *learned);

    for (size_t i = 0, n; i < count; i += n) {
        struct tsn_miner_result r;

        n = same_signature(pane + i, count - i);
        if (tsn_miner_count(scope->miner, scope->number, pane[i].signature, 0, TSN_TIME_NONE).ref != TSN_MINER_NONE)
            continue;
        learned[i] = true;
        r = tsn_miner_add(scope->miner, scope->number, pane[i].signature, pane[i].text, strlen(pane[i].text), false, (int64_t)n, pane_ms);
        if (r.is_new) {
            struct mined *mined = tsn_calloc(1, sizeof *mined);

            mined->scope = scope;
            tsn_free(tsn_map_put(&lines->mined, &r.id, sizeof r.id, mined));
            found++;
            sim_note(s, SIM_E_DISCOVERED);
        }
        take_merges(s, lines, scope, pane_ms, sink);
    }
    for (size_t i = 0, n; i < count; i += n) {
        struct tsn_miner_result r;
        char name[160];

        n = same_signature(pane + i, count - i);
        r = tsn_miner_count(scope->miner, scope->number, pane[i].signature, learned[i] ? 0 : (int64_t)n,
                            learned[i] ? TSN_TIME_NONE : pane_ms);
        series_name(name, scope, r.id);
        sink->delta(sink->arg, name, pane_ms, (double)n);
    }
    tsn_free(learned);
    if (found)
        tell_found(scope, pane_ms, found, sink);
}

void sim_lines_mine(struct sim_world *s, struct sim_lines *lines, const struct sim_sink *sink)
{
    struct line *all = lines->all.items;
    size_t n;

    if (lines->all.len)
        qsort(all, lines->all.len, sizeof *all, by_place);
    for (size_t i = 0; i < lines->all.len; i += n) {
        for (n = 1; i + n < lines->all.len && all[i + n].pane_ms == all[i].pane_ms && strcmp(all[i + n].service, all[i].service) == 0 &&
                    strcmp(all[i + n].level, all[i].level) == 0;)
            n++;
        mine_pane(s, lines, all + i, n, sink);
    }
    tsn_map_foreach(&lines->scopes, e) /* the last life of each ends, too */
    {
        const struct scope *scope = e->value;
        char name[160];

        series_name(name, scope, 0);
        if (scope->found_ms != TSN_TIME_NONE)
            end_found(scope, name, sink);
    }
}

/* ---- topic templates ------------------------------------------------------------------------ */

/* What the miner says of a template that lives in the end; false of one that was merged away. */
static bool living(const struct mined *mined, uint64_t id, struct tsn_template *out)
{
    uint32_t cursor = 0;

    while (tsn_miner_next(mined->scope->miner, &cursor, out))
        if (out->id == id)
            return true;
    return false;
}

static const char *text_of(const json_t *record, const char *member)
{
    const char *text = json_string_value(json_object_get(record, member));

    return text ? text : "";
}

/* The line of the input that a sample names, and its time, as they were said. */
static void check_sample(struct sim_world *s, const char *key, const struct mined *mined, const json_t *sample)
{
    const struct sim_log *log = &s->cluster.inputs[2];
    json_int_t offset = json_integer_value(json_object_get(sample, "offset"));
    const char *line = text_of(sample, "line"), *said;
    struct tsn_buf masked = TSN_BUF_INIT;
    json_t *event;

    if (offset < 0 || (size_t)offset >= log->len || strcmp(text_of(sample, "topic"), "l") != 0) {
        sim_fail(s, "templates: %s: a sample line from offset %lld of topic %s", key, (long long)offset, text_of(sample, "topic"));
        return;
    }
    event = json_loadb(log->items[offset].bytes, log->items[offset].len, 0, NULL);
    said = text_of(event, "message");
    tsn_pattern_mask_secrets(NULL, said, strlen(said), 0, &masked);
    if (strcmp(tsn_buf_str(&masked), line) != 0 || strcmp(text_of(event, "service"), mined->scope->service) != 0 ||
        strcmp(text_of(event, "level"), mined->scope->level) != 0)
        sim_fail(s, "templates: %s: sample line \"%.60s\"; at offset %lld lies \"%.60s\"", key, line, (long long)offset, said);
    sim_note(s, SIM_E_SAMPLE_LINE);
    s->seen[SIM_E_SECRET] += strstr(said, "password=") != NULL;
    tsn_buf_release(&masked);
    json_decref(event);
}

static void check_template(struct sim_world *s, const char *key, const json_t *record, uint64_t id, struct mined *mined)
{
    const json_t *samples = json_object_get(record, "samples");
    json_int_t count = json_integer_value(json_object_get(record, "count"));
    struct tsn_template t;
    char into[17] = "";
    size_t i;
    json_t *sample;

    mined->told = true;
    if (mined->into)
        snprintf(into, sizeof into, "%016llx", (unsigned long long)mined->into);
    if (strcmp(text_of(record, "merged_into"), into) != 0)
        sim_fail(s, "templates: %s is merged into \"%s\", must be \"%s\"", key, text_of(record, "merged_into"), into);
    if (!mined->into && (!living(mined, id, &t) || strcmp(text_of(record, "text"), t.text) != 0))
        sim_fail(s, "templates: %s reads \"%.80s\", must read \"%.80s\"", key, text_of(record, "text"), t.text);
    if (!mined->into && (count <= 0 || count > t.count))
        sim_fail(s, "templates: %s counts %lld lines of %lld", key, (long long)count, (long long)t.count);
    if (!mined->into && !json_array_size(samples))
        sim_fail(s, "templates: %s has no sample line", key);
    json_array_foreach(samples, i, sample) check_sample(s, key, mined, sample);
}

void sim_check_templates(struct sim_world *s, const struct sim_lines *lines)
{
    tsn_map_foreach(&s->cluster.templates, e)
    {
        const struct tsn_buf *value = e->value;
        json_t *record = json_loadb(value->data, value->len, 0, NULL);
        uint64_t id = strtoull(text_of(record, "template"), NULL, 16);
        struct mined *mined = tsn_map_get(&lines->mined, &id, sizeof id);

        if (mined)
            check_template(s, text_of(record, "template"), record, id, mined);
        else
            sim_fail(s, "templates: %.*s must not be", (int)e->key_len, tsn_map_entry_key(e));
        json_decref(record);
    }
    tsn_map_foreach(&lines->mined, e)
    {
        const struct mined *mined = e->value;

        if (!mined->told)
            sim_fail(s, "templates: one of %s is missing", mined->scope->service);
    }
}
