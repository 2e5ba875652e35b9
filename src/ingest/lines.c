/*
 * lines: log lines → signatures and their counts in the batch (DESIGN §5).
 *
 * A line is masked, tokenised and hashed, no more: mining is DETECT's, where it is a function of the log. A batch carries, for
 * each signature of a (service, level) in it, how many lines fell in each pane; and its text with one sample line,
 * secrets masked, when it is the first use in a wall-clock minute.
 *
 * Only (service, level) pairs are looked at whose template series some rule could select, and they go where those series are
 * routed; the label `template` is not known yet, so matchers on it are taken as true.
 *
 *     scope (service, level) ──▶ signature (hash, text, sample) ──▶ chain of cells (pane, count)
 *
 * Limits: MAX_SIGNATURES and MAX_BYTES remembered between batches; beyond, all are forgotten and announced anew when they come
 * again. Service and level are cut at 256 bytes, as the codec asks, a sample at 1 KiB.
 */
#include "ingest/lines.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SIGNATURES = 100000, MAX_BYTES = 32 << 20, MAX_SCOPE_BYTES = 256, MAX_SAMPLE = 1024, CHAIN_LOOKS = 8,
       TRACE_MAX = 64 << 10 /* of a trace's text; its last error is often the cause */ };

struct scope {
    char *service, *level; /* owned */
    uint64_t number;       /* never used twice */
    uint32_t generation;
    struct tsn_labels *labels; /* of its template series, without template; for routing */
    struct place_list places;
};

struct line_signature {
    struct scope *scope;
    uint64_t hash;
    char *text, *sample; /* owned */
    int32_t partition;   /* of the sample */
    const char *topic;
    int64_t offset, ts_ms;
    int64_t announced_minute;
    uint32_t head; /* newest cell + 1; 0: not in the open batch */
};

struct pane_cell {
    int64_t pane_ms, count;
    uint32_t next;
};

struct lines {
    struct tsn_map scopes;     /* service NUL level → struct scope */
    struct tsn_map signatures; /* struct signature_key → struct line_signature */
    TSN_VEC(struct line_signature *) used; /* in the open batch, by first use */
    TSN_VEC(struct pane_cell) cells;
    TSN_VEC(struct pane_cell) sorted;
    struct tsn_buf key, text, sample, trace, redacted;
    struct tsn_pattern_config *patterns; /* owned; NULL: the defaults */
    struct tsn_pattern_memo *memo;
    uint64_t next_scope;
    size_t bytes;
    uint32_t generation; /* for which `wanted` holds */
    bool wanted;         /* some rule could select a template series */
};

struct signature_key {
    uint64_t hash, scope;
};

static const char *const template_names[] = { "log_template_messages_total", "log_templates_discovered_total" };

/* ---- life --------------------------------------------------------------------------------- */

struct lines *lines_new(const struct tsn_config *config, struct tsn_error *error)
{
    struct lines *l = tsn_calloc(1, sizeof *l);

    if (tsn_pattern_config_read(config, &l->patterns, error) != TSN_OK) {
        tsn_free(l);
        return NULL;
    }
    l->memo = tsn_pattern_memo_new(l->patterns);
    return l;
}

static void forget(struct lines *l)
{
    tsn_map_foreach(&l->signatures, e) {
        struct line_signature *s = e->value;

        tsn_free(s->text);
        tsn_free(s->sample);
        tsn_free(s);
    }
    tsn_map_clear(&l->signatures);
    tsn_map_foreach(&l->scopes, e) {
        struct scope *s = e->value;

        tsn_free(s->service);
        tsn_free(s->level);
        tsn_labels_unref(s->labels);
        tsn_vec_release(&s->places);
        tsn_free(s);
    }
    tsn_map_clear(&l->scopes);
    l->bytes = 0;
}

void lines_free(struct lines *l)
{
    if (!l)
        return;
    forget(l);
    tsn_map_release(&l->signatures);
    tsn_map_release(&l->scopes);
    tsn_vec_release(&l->used);
    tsn_vec_release(&l->cells);
    tsn_vec_release(&l->sorted);
    tsn_buf_release(&l->key);
    tsn_buf_release(&l->text);
    tsn_buf_release(&l->sample);
    tsn_buf_release(&l->trace);
    tsn_buf_release(&l->redacted);
    tsn_pattern_memo_free(&l->memo);
    tsn_pattern_config_free(&l->patterns);
    tsn_free(l);
}

bool lines_wanted(struct tsn_ingest *in)
{
    struct lines *l = in->line_book;

    if (l->generation != in->generation) {
        l->wanted = series_name_selected(in, template_names[0]) || series_name_selected(in, template_names[1]);
        l->generation = in->generation;
    }
    return l->wanted;
}

/* ---- scopes ------------------------------------------------------------------------------- */

static struct span cut(const struct span *s)
{
    struct span out = { s->data ? s->data : "", s->data ? s->len : 0 };

    if (out.len > MAX_SCOPE_BYTES)
        out.len = tsn_utf8_valid_prefix(out.data, MAX_SCOPE_BYTES);
    return out;
}

static void route(struct tsn_ingest *in, struct scope *s)
{
    tsn_vec_clear(&s->places);
    for (size_t i = 0; i < TSN_ARRAY_LEN(template_names); i++) {
        struct tsn_labels *labels;

        tsn_labels_builder_from(&in->builder, s->labels);
        tsn_labels_builder_set(&in->builder, "__name__", template_names[i]);
        labels = tsn_labels_builder_finish(&in->builder);
        series_places_of(in, labels, "template", &s->places);
        tsn_labels_unref(labels);
    }
    s->generation = in->generation;
}

static struct scope *scope_new(struct tsn_ingest *in, const struct span *service, const struct span *level)
{
    struct scope *s = tsn_calloc(1, sizeof *s);

    s->service = tsn_strndup(service->data, service->len);
    s->level = tsn_strndup(level->data, level->len);
    s->number = ++in->line_book->next_scope;
    tsn_labels_builder_reset(&in->builder);
    tsn_labels_builder_setn(&in->builder, "service", 7, service->data, service->len);
    tsn_labels_builder_setn(&in->builder, "level", 5, level->data, level->len);
    if (in->config->ingest.fill_job)
        tsn_labels_builder_setn(&in->builder, "job", 3, service->data, service->len);
    s->labels = tsn_labels_builder_finish(&in->builder);
    in->line_book->bytes += service->len + level->len + 300;
    return s;
}

static struct scope *scope_of(struct tsn_ingest *in, const struct line *line)
{
    struct lines *l = in->line_book;
    struct span service = cut(&line->service), level = cut(&line->level);
    void **slot;

    tsn_buf_reset(&l->key);
    tsn_buf_append(&l->key, service.data, service.len);
    tsn_buf_putc(&l->key, '\0');
    tsn_buf_append(&l->key, level.data, level.len);
    slot = tsn_map_upsert(&l->scopes, l->key.data, l->key.len, NULL);
    if (!*slot)
        *slot = scope_new(in, &service, &level);
    if (((struct scope *)*slot)->generation != in->generation)
        route(in, *slot);
    return *slot;
}

/* ---- signatures --------------------------------------------------------------------------- */

static void count_line(struct lines *l, struct line_signature *s, int64_t pane_ms)
{
    struct pane_cell cell = { pane_ms, 1, s->head };
    uint32_t at = s->head;

    for (int looks = 0; at && looks < CHAIN_LOOKS; looks++, at = l->cells.items[at - 1].next)
        if (l->cells.items[at - 1].pane_ms == pane_ms) {
            l->cells.items[at - 1].count++;
            return;
        }
    tsn_vec_push(&l->cells, cell);
    s->head = (uint32_t)l->cells.len;
}

/* What of the message its signature is taken of: a trace's errors, no configured secrets. */
static struct tsn_text essence(struct lines *l, const struct span *message)
{
    size_t len = message->len < TSN_PATTERN_SCAN_MAX ? message->len : TSN_PATTERN_SCAN_MAX;
    struct tsn_text text = { message->data, message->len };

    if (memchr(message->data, '\n', len))
        text = tsn_trace_text(message->data, message->len < TRACE_MAX ? message->len : TRACE_MAX, &l->trace);
    return tsn_pattern_redact(l->patterns, text.data, text.len, TSN_PATTERN_SCAN_MAX, &l->redacted);
}

static struct line_signature *signature_of(struct lines *l, struct scope *scope, const struct span *message)
{
    struct tsn_text text = essence(l, message);
    struct signature_key key = { tsn_pattern_memo_hash(l->memo, text.data, text.len, &l->text), scope->number };
    void **slot = tsn_map_upsert(&l->signatures, &key, sizeof key, NULL);
    struct line_signature *s = *slot;
    struct tsn_signature found;

    if (s)
        return s;
    found = tsn_pattern_signature(l->patterns, text.data, text.len, &l->text);
    *slot = s = tsn_calloc(1, sizeof *s);
    s->scope = scope;
    s->hash = found.hash;
    s->text = tsn_strndup(found.text, found.len);
    s->announced_minute = TSN_TIME_NONE;
    l->bytes += found.len + sizeof *s + 64;
    return s;
}

/* The first line of it in this batch is the sample, should the batch announce it. */
static void take_sample(struct tsn_ingest *in, struct line_signature *s, const struct line *line, int64_t ts_ms)
{
    struct lines *l = in->line_book;
    size_t len = line->message.len;

    tsn_buf_reset(&l->sample);
    tsn_pattern_mask_secrets(l->patterns, line->message.data, len, MAX_SAMPLE, &l->sample);
    l->bytes += l->sample.len - (s->sample ? strlen(s->sample) : 0);
    tsn_free(s->sample);
    s->sample = tsn_strndup(tsn_buf_str(&l->sample), l->sample.len);
    s->topic = in->config->inputs.items[in->record->input].topic;
    s->partition = in->record->partition;
    s->offset = in->record->offset;
    s->ts_ms = ts_ms;
}

void lines_take(struct tsn_ingest *in, const struct line *line, int64_t ts_ms, int64_t pane_ms)
{
    struct lines *l = in->line_book;
    struct scope *scope = scope_of(in, line);
    struct line_signature *s;

    if (!scope->places.len)
        return;
    s = signature_of(l, scope, &line->message);
    if (!s->head) {
        tsn_vec_push(&l->used, s);
        take_sample(in, s, line, ts_ms);
    }
    count_line(l, s, pane_ms);
    in->stats.lines++;
}

size_t lines_pending(const struct tsn_ingest *in)
{
    return in->line_book->used.len * 150 + in->line_book->cells.len * 14;
}

/* ---- closing ------------------------------------------------------------------------------ */

static int by_pane(const void *a, const void *b)
{
    const struct pane_cell *x = a, *y = b;

    return (x->pane_ms > y->pane_ms) - (x->pane_ms < y->pane_ms);
}

static void gather(struct lines *l, const struct line_signature *s)
{
    size_t kept = 0;

    tsn_vec_clear(&l->sorted);
    for (uint32_t at = s->head; at; at = l->cells.items[at - 1].next)
        tsn_vec_push(&l->sorted, l->cells.items[at - 1]);
    if (l->sorted.len > 1)
        qsort(l->sorted.items, l->sorted.len, sizeof *l->sorted.items, by_pane);
    for (size_t i = 1; i < l->sorted.len; i++)
        if (l->sorted.items[i].pane_ms == l->sorted.items[kept].pane_ms)
            l->sorted.items[kept].count += l->sorted.items[i].count;
        else
            l->sorted.items[++kept] = l->sorted.items[i];
    l->sorted.len = kept + 1;
}

static void emit(struct tsn_ingest *in, struct line_signature *s, int64_t minute)
{
    struct lines *l = in->line_book;
    struct tsn_batch_signature text = { .signature = s->hash, .service = s->scope->service, .level = s->scope->level,
                                        .text = s->text, .sample = s->sample, .sample_topic = (char *)(uintptr_t)s->topic,
                                        .sample_partition = s->partition, .sample_offset = s->offset, .ts_ms = s->ts_ms };

    gather(l, s);
    for (size_t k = 0; k < s->scope->places.len; k++) {
        struct place *place = &in->places[s->scope->places.items[k]];

        if (s->announced_minute != minute)
            tsn_vec_push(&place->signatures, text);
        for (size_t i = 0; i < l->sorted.len; i++) {
            struct tsn_batch_signature_count count = { s->hash, s->scope->service, s->scope->level, l->sorted.items[i].pane_ms,
                                                       l->sorted.items[i].count };

            tsn_vec_push(&place->counts, count);
        }
    }
    s->announced_minute = minute;
    s->head = 0;
}

void lines_emit(struct tsn_ingest *in, int64_t minute)
{
    struct lines *l = in->line_book;

    for (size_t i = 0; i < l->used.len; i++)
        emit(in, l->used.items[i], minute);
    tsn_vec_clear(&l->used);
    tsn_vec_clear(&l->cells);
}

void lines_bound(struct tsn_ingest *in)
{
    struct lines *l = in->line_book;

    if (l->signatures.count <= MAX_SIGNATURES && l->bytes <= MAX_BYTES)
        return;
    in->stats.limit_lines += l->signatures.count;
    forget(l);
}
