/*
 * state: the miner as bytes and back, for the `state` topic.
 *
 * Little-endian, version byte first: counters; scopes; groups in order of discovery (dead ones too, as signatures and slots
 * name them); signatures sorted by key; slots in order. A snapshot is a function of the miner's state alone, and the
 * restored miner answers every later call as the first would have. Reading checks every length and every number against what
 * was read before: damaged bytes give an error, never a crash.
 */
#include "patterns/miner_int.h"

#include <stdlib.h>
#include <string.h>

#define STATE_FORMAT 1

static void put_u64(struct tsn_buf *out, uint64_t v)
{
    uint8_t b[8];

    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    tsn_buf_append(out, b, 8);
}

/* LEB128: most numbers here are small. */
static void put_var(struct tsn_buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        tsn_buf_putc(out, (char)(v | 0x80));
    tsn_buf_putc(out, (char)v);
}

static void put_text(struct tsn_buf *out, const char *text, size_t len)
{
    put_var(out, len);
    tsn_buf_append(out, text, len);
}

struct pair {
    uint64_t key;
    uint32_t value;
};

static int by_key(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

static void put_signatures(struct tsn_buf *out, const struct table *t)
{
    struct pair *pairs = tsn_reallocarray(NULL, t->count + 1, sizeof *pairs);
    size_t n = 0;

    for (uint32_t i = 0; i < t->cap; i++)
        if (t->keys[i])
            pairs[n++] = (struct pair){ t->keys[i], t->values[i] };
    qsort(pairs, n, sizeof *pairs, by_key);
    put_var(out, n);
    for (size_t i = 0; i < n; i++) {
        put_u64(out, pairs[i].key);
        put_var(out, pairs[i].value);
    }
    tsn_free(pairs);
}

static void put_groups(struct tsn_buf *out, const struct tsn_miner *m)
{
    put_var(out, m->groups.len);
    for (size_t i = 0; i < m->groups.len; i++) {
        const struct group *g = &m->groups.items[i];

        put_u64(out, g->id);
        tsn_buf_putc(out, (char)(g->state | (g->pinned ? 4 : 0)));
        put_var(out, g->scope);
        put_var(out, g->parent);
        if (g->state != GROUP_LIVE)
            continue;
        put_u64(out, (uint64_t)g->count);
        put_u64(out, (uint64_t)g->first_ms);
        put_u64(out, (uint64_t)g->last_ms);
        put_text(out, g->text, g->len);
    }
}

static void put_slots(struct tsn_buf *out, const struct tsn_miner *m)
{
    put_var(out, m->slots.len);
    for (size_t i = 0; i < m->slots.len; i++) {
        const struct slot *s = &m->slots.items[i];

        put_u64(out, s->key);
        tsn_buf_putc(out, (char)s->count);
        tsn_buf_putc(out, (char)s->need);
        tsn_buf_putc(out, (char)(s->general | s->var << 1));
        for (unsigned v = 0; v < s->count; v++) {
            put_var(out, s->values[v]);
            put_var(out, s->refs[v]);
        }
    }
}

void tsn_miner_snapshot(const struct tsn_miner *m, struct tsn_buf *out)
{
    tsn_buf_putc(out, STATE_FORMAT);
    put_var(out, m->stats.discovered);
    put_var(out, m->stats.merged);
    put_var(out, m->stats.evicted_templates);
    put_var(out, m->stats.evicted_signatures);
    put_var(out, m->stats.evicted_slots);
    put_var(out, m->scopes.len);
    for (size_t i = 0; i < m->scopes.len; i++) {
        put_text(out, m->scopes.items[i].service, strlen(m->scopes.items[i].service));
        put_text(out, m->scopes.items[i].level, strlen(m->scopes.items[i].level));
    }
    put_groups(out, m);
    put_signatures(out, &m->sigs);
    put_slots(out, m);
}

/* ---- reading ------------------------------------------------------------------------------ */

struct reader {
    const uint8_t *p, *end;
    bool bad;
};

static uint8_t get_byte(struct reader *r)
{
    if (r->p == r->end) {
        r->bad = true;
        return 0;
    }
    return *r->p++;
}

static uint64_t get_u64(struct reader *r)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v |= (uint64_t)get_byte(r) << (8 * i);
    return v;
}

static uint64_t get_var(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = get_byte(r);

        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

/* A number below `limit`. */
static uint32_t get_below(struct reader *r, uint64_t limit)
{
    uint64_t v = get_var(r);

    if (v >= limit)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)v;
}

/* A count of things of at least `least` bytes each, so that a damaged count cannot ask for memory. */
static size_t get_count(struct reader *r, size_t least)
{
    uint64_t v = get_var(r);

    if (v > (uint64_t)(r->end - r->p) / least || v >= UINT32_MAX)
        r->bad = true;
    return r->bad ? 0 : (size_t)v;
}

static const char *get_text(struct reader *r, size_t *len)
{
    const char *text;

    *len = get_count(r, 1);
    text = (const char *)r->p;
    r->p += *len;
    return text;
}

static void get_scopes(struct reader *r, struct tsn_miner *m)
{
    size_t count = get_count(r, 2);

    for (size_t i = 0; i < count && !r->bad; i++) {
        size_t service_len, level_len;
        const char *service = get_text(r, &service_len), *level = get_text(r, &level_len);
        char *s = tsn_strndup(service, r->bad ? 0 : service_len), *l = tsn_strndup(level, r->bad ? 0 : level_len);

        if (!r->bad && tsn_miner_scope(m, s, l) != i)
            r->bad = true;
        tsn_free(s);
        tsn_free(l);
    }
}

static void get_groups(struct reader *r, struct tsn_miner *m)
{
    size_t count = get_count(r, 11);

    for (size_t i = 0; i < count && !r->bad; i++) {
        struct group g = { .id = get_u64(r), .tag = TSN_MINER_NONE };
        uint8_t flags = get_byte(r);
        size_t len;
        const char *text;

        g.state = flags & 3;
        g.pinned = (flags & 4) != 0;
        g.scope = get_below(r, m->scopes.len);
        g.parent = get_below(r, i + 1); /* an older group, or itself */
        if (flags > 7 || g.state > GROUP_EVICTED || (g.state == GROUP_MERGED) == (g.parent == i))
            r->bad = true;
        if (!r->bad && g.state == GROUP_LIVE) {
            g.count = (int64_t)get_u64(r);
            g.first_ms = (int64_t)get_u64(r);
            g.last_ms = (int64_t)get_u64(r);
            text = get_text(r, &len);
            if (r->bad || len > 4 * TSN_PATTERN_SCAN_MAX) {
                r->bad = true;
                return;
            }
            g.text = tsn_strndup(text, len);
            g.len = (uint32_t)len;
            g.text_hash = tsn_hash64(g.text, len);
            m->stats.text_bytes += len;
            m->stats.templates++;
        }
        tsn_vec_push(&m->groups, g);
    }
}

static void get_signatures(struct reader *r, struct tsn_miner *m)
{
    size_t count = get_count(r, 9);

    for (size_t i = 0; i < count && !r->bad; i++) {
        uint64_t key = get_u64(r);
        uint32_t ref = get_below(r, m->groups.len);

        if (!r->bad)
            tsn_table_put(&m->sigs, key, ref);
    }
}

static void get_slots(struct reader *r, struct tsn_miner *m)
{
    size_t count = get_count(r, 11);

    for (size_t i = 0; i < count && !r->bad; i++) {
        struct slot s = { .key = get_u64(r) };
        uint8_t flags;

        s.count = get_byte(r);
        s.need = get_byte(r);
        flags = get_byte(r);
        s.general = flags & 1;
        s.var = (flags & 2) != 0;
        if (s.count > SLOT_VALUES || flags > 3)
            r->bad = true;
        for (unsigned v = 0; v < s.count && !r->bad; v++) {
            s.values[v] = get_below(r, UINT64_C(1) << 32);
            s.refs[v] = get_below(r, m->groups.len);
        }
        tsn_table_put(&m->slot_index, s.key, (uint32_t)m->slots.len);
        tsn_vec_push(&m->slots, s);
    }
}

struct tsn_miner *tsn_miner_restore(const struct tsn_miner_limits *limits, const void *data, size_t len,
                                    struct tsn_error *error)
{
    struct reader r = { .p = data, .end = (const uint8_t *)data + len };
    struct tsn_miner *m;
    uint8_t format = get_byte(&r);

    if (!r.bad && format != STATE_FORMAT) {
        tsn_error_set(error, TSN_ERR_UNSUPPORTED, "log pattern state has format %u, this build reads %u", format,
                      STATE_FORMAT);
        return NULL;
    }
    m = tsn_miner_new(limits);
    m->stats.discovered = get_var(&r);
    m->stats.merged = get_var(&r);
    m->stats.evicted_templates = get_var(&r);
    m->stats.evicted_signatures = get_var(&r);
    m->stats.evicted_slots = get_var(&r);
    get_scopes(&r, m);
    get_groups(&r, m);
    get_signatures(&r, m);
    get_slots(&r, m);
    if (!r.bad && r.p == r.end)
        return m;
    tsn_error_set(error, TSN_ERR_INVALID, "log pattern state is damaged near byte %zu of %zu",
                  (size_t)(r.p - (const uint8_t *)data), len);
    tsn_miner_free(&m);
    return NULL;
}
