/*
 * miner: signatures → templates, by slot cardinality. See tocsin/patterns.h and miner_int.h.
 *
 * For each word of a text there is a slot: the scope and the text with that word left out. A slot counts the distinct words
 * seen there. When there are enough (fewer where the word looks like an identifier or stands behind '='), the slot is
 * general: all its groups become one, with <*> in that place, and later texts that fit fall into it at once.
 * The generalised text is then itself a text with slots, so places open one after the other.
 * A similarity threshold would fold "VM started" into "VM stopped"; three or four states never reach the number.
 *
 * Deterministic: all orders are of insertion. Cost of a known signature: one table look-up.
 */
#include "patterns/chars.h"
#include "patterns/miner_int.h"

#include <string.h>

#ifndef NEED_WORD
#define NEED_WORD 6       /* distinct words: states of a thing are fewer, names of things more */
#endif
#ifndef NEED_FIRST
#define NEED_FIRST 12     /* the first word of a line is mostly its verb or topic */
#endif
#ifndef VAR_WEIGHT
#define VAR_WEIGHT 2      /* a <*> in the same place says as much as two words */
#endif
#define NEED_IDENTIFIER 3 /* host.name, user_name, camelCase, or a value behind '=' */

enum token_kind { TOKEN_WORD, TOKEN_VAR, TOKEN_OTHER };
struct token {
    const char *text;
    uint32_t len;
    enum token_kind kind;
    uint8_t flags;
};

/* ---- table -------------------------------------------------------------------------------- */

static void table_grow(struct table *t)
{
    struct table old = *t;

    t->cap = old.cap ? old.cap * 2 : 256;
    t->count = 0;
    t->keys = tsn_calloc(t->cap, sizeof *t->keys);
    t->values = tsn_calloc(t->cap, sizeof *t->values);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.keys[i])
            tsn_table_put(t, old.keys[i], old.values[i]);
    tsn_table_release(&old);
}

bool tsn_table_get(const struct table *t, uint64_t key, uint32_t *value)
{
    uint32_t mask = t->cap - 1;

    key += !key;
    if (!t->cap)
        return false;
    for (uint32_t i = (uint32_t)(key >> 20) & mask; t->keys[i]; i = (i + 1) & mask)
        if (t->keys[i] == key) {
            *value = t->values[i];
            return true;
        }
    return false;
}

void tsn_table_put(struct table *t, uint64_t key, uint32_t value)
{
    uint32_t i;

    key += !key;
    if (t->count * 2 >= t->cap)
        table_grow(t);
    for (i = (uint32_t)(key >> 20) & (t->cap - 1); t->keys[i] && t->keys[i] != key; i = (i + 1) & (t->cap - 1))
        ;
    t->count += !t->keys[i];
    t->keys[i] = key;
    t->values[i] = value;
}

void tsn_table_release(struct table *t)
{
    tsn_free(t->keys);
    tsn_free(t->values);
    memset(t, 0, sizeof *t);
}

/* ---- tokens ------------------------------------------------------------------------------- */

/* Punctuation behind a word is no part of it, as for the scanner: "package curl." and "package <*>." differ in a word. */
static size_t word_end(const char *text, size_t start, size_t end)
{
    size_t e = end;

    while (e > start && (tsn_chars[(uint8_t)text[e - 1]] & TSN_C_JOIN) && text[e - 1] != '_' && text[e - 1] != '$')
        e--;
    return e > start ? e : end;
}

static size_t tokenise(const char *text, size_t len, struct token *out)
{
    size_t n = 0, i = 0;

    while (i < len && n < TOKENS_MAX) {
        struct token *t = &out[n++];

        t->text = text + i;
        t->flags = tsn_chars[(uint8_t)text[i]];
        if (len - i >= TSN_VAR_LEN && memcmp(text + i, TSN_VAR, TSN_VAR_LEN) == 0) {
            t->kind = TOKEN_VAR;
            t->len = TSN_VAR_LEN;
        } else if (t->flags & TSN_C_WORD) {
            size_t e = i + 1;

            while (e < len && (tsn_chars[(uint8_t)text[e]] & TSN_C_WORD) && text[e] != '<')
                t->flags |= tsn_chars[(uint8_t)text[e++]];
            e = word_end(text, i, e);
            t->kind = t->flags & (TSN_C_ALPHA | TSN_C_DIGIT) ? TOKEN_WORD : TOKEN_OTHER;
            t->len = (uint32_t)(e - i);
        } else {
            t->kind = TOKEN_OTHER;
            t->len = 1;
        }
        i += t->len;
    }
    if (n && i < len)
        out[n - 1].len = (uint32_t)(len - (size_t)(out[n - 1].text - text));
    return n;
}

/* A name rather than a word of prose: joined parts, a digit, or a capital inside. */
static bool identifier_like(const struct token *t)
{
    bool lower = false;

    if (t->flags & TSN_C_DIGIT)
        return true;
    for (uint32_t i = 1; i + 1 < t->len; i++) {
        uint8_t c = tsn_chars[(uint8_t)t->text[i]];

        if ((c & TSN_C_JOIN) && t->text[i] != '/' && t->text[i] != '-')
            return true;
        if ((c & TSN_C_UPPER) && lower)
            return true;
        lower = (c & TSN_C_ALPHA) && !(c & TSN_C_UPPER);
    }
    return false;
}

static unsigned threshold(const struct token *tokens, size_t i)
{
    if (i == 0)
        return NEED_FIRST;
    if (identifier_like(&tokens[i]))
        return NEED_IDENTIFIER;
    if (i > 0 && tokens[i - 1].kind == TOKEN_OTHER && tokens[i - 1].text[0] == '=')
        return NEED_IDENTIFIER;
    return NEED_WORD;
}

/* ---- groups ------------------------------------------------------------------------------- */

uint64_t tsn_miner_sig_key(const struct tsn_miner *miner, uint32_t scope, uint64_t signature)
{
    uint64_t pair[2] = { miner->scopes.items[scope].salt, signature };

    return scope == 0 ? signature : tsn_hash64(pair, sizeof pair);
}

static uint32_t find(struct tsn_miner *m, uint32_t ref)
{
    struct group *g = m->groups.items;

    while (g[ref].parent != ref) {
        g[ref].parent = g[g[ref].parent].parent;
        ref = g[ref].parent;
    }
    return ref;
}

uint32_t tsn_miner_find(struct tsn_miner *miner, uint32_t ref)
{
    if (ref >= miner->groups.len)
        return TSN_MINER_NONE;
    ref = find(miner, ref);
    return miner->groups.items[ref].state == GROUP_LIVE ? ref : TSN_MINER_NONE;
}

static void set_text(struct tsn_miner *m, struct group *g, const char *text, size_t len)
{
    char *copy = tsn_strndup(text, len);

    m->stats.text_bytes += len;
    m->stats.text_bytes -= g->text ? g->len : 0;
    tsn_free(g->text);
    g->text = copy;
    g->len = (uint32_t)len;
    g->text_hash = tsn_hash64(text, len);
}

/* The older of two live groups survives, with the counts of both. */
static uint32_t unite(struct tsn_miner *m, uint32_t a, uint32_t b)
{
    struct group *to, *from;
    struct tsn_miner_merge merge;

    a = find(m, a);
    b = find(m, b);
    if (a == b || m->groups.items[a].state != GROUP_LIVE || m->groups.items[b].state != GROUP_LIVE ||
        m->groups.items[a].pinned || m->groups.items[b].pinned)
        return a;
    to = &m->groups.items[a < b ? a : b];
    from = &m->groups.items[a < b ? b : a];
    to->count += from->count;
    to->first_ms = from->first_ms < to->first_ms ? from->first_ms : to->first_ms;
    to->last_ms = from->last_ms > to->last_ms ? from->last_ms : to->last_ms;
    from->state = GROUP_MERGED;
    from->parent = (uint32_t)(to - m->groups.items);
    m->stats.text_bytes -= from->len;
    tsn_free(from->text);
    from->text = NULL;
    merge = (struct tsn_miner_merge){ from->id, to->id, from->tag, to->tag };
    tsn_vec_push(&m->merges, merge);
    m->stats.merged++;
    m->stats.templates--;
    return from->parent;
}

/* ---- slots -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

/* Position-dependent hashes of the tokens; a key is their sum less one token's, so each costs O(1). */
struct keyed {
    struct token tokens[TOKENS_MAX];
    uint64_t hashes[TOKENS_MAX], sum;
    size_t count, words; /* tokens; literal words among them */
};

static void key_tokens(const struct tsn_miner *m, uint32_t scope, const char *text, size_t len, struct keyed *k)
{
    k->count = tokenise(text, len, k->tokens);
    k->sum = mix(m->scopes.items[scope].salt, k->count);
    k->words = 0;
    for (size_t i = 0; i < k->count; i++) {
        k->hashes[i] = mix(tsn_hash64(k->tokens[i].text, k->tokens[i].len), i + 1);
        k->sum += k->hashes[i];
        k->words += k->tokens[i].kind == TOKEN_WORD;
    }
}

static uint64_t slot_key(const struct keyed *k, size_t i)
{
    return mix(k->sum - k->hashes[i], i + 1);
}

static void replace_token(const struct keyed *k, size_t i, struct tsn_buf *out)
{
    tsn_buf_reset(out);
    for (size_t j = 0; j < k->count; j++)
        if (j == i)
            tsn_buf_append(out, TSN_VAR, TSN_VAR_LEN);
        else
            tsn_buf_append(out, k->tokens[j].text, k->tokens[j].len);
}

/* The first slot of the text that is general; SIZE_MAX if none. */
static size_t general_slot(const struct tsn_miner *m, const struct keyed *k)
{
    size_t watched = 0;
    uint32_t at;

    for (size_t i = 0; i < k->count && watched < WATCHED_MAX; i++) {
        if (k->tokens[i].kind != TOKEN_WORD || k->words < 2)
            continue;
        watched++;
        if (tsn_table_get(&m->slot_index, slot_key(k, i), &at) && m->slots.items[at].general)
            return i;
    }
    return SIZE_MAX;
}

/* Notes a word at a slot; true if that made the slot general. */
static bool note_word(struct tsn_miner *m, const struct keyed *k, size_t i, uint32_t ref, struct slot **out)
{
    uint64_t key = slot_key(k, i);
    bool var = k->tokens[i].kind == TOKEN_VAR;
    uint32_t at, value = var ? 0 : (uint32_t)k->hashes[i] | 1;
    unsigned need = threshold(k->tokens, i);
    struct slot *s;

    if (!tsn_table_get(&m->slot_index, key, &at)) {
        struct slot fresh = { .key = key };

        at = (uint32_t)m->slots.len;
        tsn_vec_push(&m->slots, fresh);
        tsn_table_put(&m->slot_index, key, at);
    }
    s = &m->slots.items[at];
    *out = s;
    if (s->general)
        return false;
    for (unsigned v = 0; v < s->count; v++)
        if (s->values[v] == value) {
            s->refs[v] = ref;
            return false;
        }
    if (s->count == SLOT_VALUES)
        return false;
    s->values[s->count] = value;
    s->refs[s->count++] = ref;
    s->var |= var;
    if (!var && (!s->need || need < s->need))
        s->need = (uint8_t)need;
    s->general = s->need && s->count > 1 && s->count + (s->var ? VAR_WEIGHT - 1 : 0) >= s->need;
    return s->general;
}

/*
 * Watches every word of group `ref`; where a slot became general, unites its groups under the generalised text and
 * goes on with that. Ends because each round puts one more <*> in place of a word.
 */
static uint32_t settle(struct tsn_miner *m, uint32_t ref)
{
    static const size_t rounds_max = WATCHED_MAX;
    struct tsn_buf text = TSN_BUF_INIT, current = TSN_BUF_INIT; /* tokens point into current: unite frees texts */
    struct keyed *k = tsn_alloc(sizeof *k);
    bool again = true;

    for (size_t round = 0; again && round < rounds_max; round++) {
        struct group *g = &m->groups.items[ref];
        size_t general, watched = 0;
        uint32_t other;

        again = false;
        tsn_buf_reset(&current);
        tsn_buf_append(&current, g->text, g->len);
        key_tokens(m, g->scope, current.data, current.len, k);
        general = general_slot(m, k);
        for (size_t i = 0; general == SIZE_MAX && i < k->count && watched < WATCHED_MAX; i++) {
            struct slot *s;

            if (k->tokens[i].kind == TOKEN_OTHER || k->words < 1 + (k->tokens[i].kind == TOKEN_WORD))
                continue;
            watched++;
            if (note_word(m, k, i, ref, &s)) {
                general = i;
                for (unsigned v = 0; v < s->count; v++)
                    ref = unite(m, ref, s->refs[v]);
            }
        }
        if (general != SIZE_MAX) {
            uint64_t key;
            uint32_t scope = m->groups.items[ref].scope;

            replace_token(k, general, &text);
            key = tsn_miner_sig_key(m, scope, tsn_hash64(text.data, text.len));
            if (tsn_table_get(&m->sigs, key, &other))
                ref = unite(m, ref, other);
            tsn_table_put(&m->sigs, key, ref);
            set_text(m, &m->groups.items[ref], text.data, text.len);
            again = true;
        }
    }
    tsn_free(k);
    tsn_buf_release(&text);
    tsn_buf_release(&current);
    return ref;
}

/* ---- public ------------------------------------------------------------------------------- */

struct tsn_miner *tsn_miner_new(const struct tsn_miner_limits *limits)
{
    struct tsn_miner *m = tsn_calloc(1, sizeof *m);

    if (limits)
        m->limits = *limits;
    if (!m->limits.max_templates)
        m->limits.max_templates = 20000;
    if (!m->limits.max_signatures)
        m->limits.max_signatures = 100000;
    if (!m->limits.max_slots)
        m->limits.max_slots = 400000;
    if (!m->limits.max_text_bytes)
        m->limits.max_text_bytes = 16u << 20;
    tsn_map_init(&m->scope_index);
    tsn_miner_scope(m, "", "");
    return m;
}

void tsn_miner_free(struct tsn_miner **miner)
{
    struct tsn_miner *m = *miner;

    if (!m)
        return;
    for (size_t i = 0; i < m->groups.len; i++)
        tsn_free(m->groups.items[i].text);
    for (size_t i = 0; i < m->scopes.len; i++) {
        tsn_free(m->scopes.items[i].service);
        tsn_free(m->scopes.items[i].level);
    }
    tsn_map_release(&m->scope_index);
    tsn_vec_release(&m->scopes);
    tsn_vec_release(&m->groups);
    tsn_vec_release(&m->slots);
    tsn_vec_release(&m->merges);
    tsn_table_release(&m->sigs);
    tsn_table_release(&m->slot_index);
    tsn_free(m);
    *miner = NULL;
}

uint32_t tsn_miner_scope(struct tsn_miner *miner, const char *service, const char *level)
{
    struct tsn_buf key = TSN_BUF_INIT;
    struct scope scope;
    void **slot;
    bool created;

    tsn_buf_append(&key, service, strlen(service) + 1);
    tsn_buf_puts(&key, level);
    slot = tsn_map_upsert(&miner->scope_index, key.data, key.len, &created);
    if (created) {
        scope = (struct scope){ tsn_strdup(service), tsn_strdup(level), tsn_hash64(key.data, key.len) };
        *slot = (void *)(uintptr_t)miner->scopes.len;
        tsn_vec_push(&miner->scopes, scope);
    }
    tsn_buf_release(&key);
    return (uint32_t)(uintptr_t)*slot;
}

void tsn_miner_scope_name(const struct tsn_miner *miner, uint32_t scope, const char **service, const char **level)
{
    TSN_ASSERT(scope < miner->scopes.len);
    *service = miner->scopes.items[scope].service;
    *level = miner->scopes.items[scope].level;
}

static void tally(struct group *g, int64_t count, int64_t ts_ms)
{
    g->count += count;
    if (ts_ms == TSN_TIME_NONE)
        return;
    if (g->first_ms == TSN_TIME_NONE || ts_ms < g->first_ms)
        g->first_ms = ts_ms;
    if (g->last_ms == TSN_TIME_NONE || ts_ms > g->last_ms)
        g->last_ms = ts_ms;
}

struct tsn_miner_result tsn_miner_count(struct tsn_miner *miner, uint32_t scope, uint64_t signature, int64_t count,
                                        int64_t ts_ms)
{
    struct tsn_miner_result result = { .ref = TSN_MINER_NONE };
    uint32_t ref;

    TSN_ASSERT(scope < miner->scopes.len);
    if (tsn_table_get(&miner->sigs, tsn_miner_sig_key(miner, scope, signature), &ref)) {
        result.ref = tsn_miner_find(miner, ref);
        if (result.ref != TSN_MINER_NONE) {
            tally(&miner->groups.items[result.ref], count, ts_ms);
            result.id = miner->groups.items[result.ref].id;
        }
    }
    return result;
}

/* The text with every general slot replaced; *hash of it. Moves through `text`. */
static void generalise(struct tsn_miner *m, uint32_t scope, struct tsn_buf *text)
{
    struct keyed *k = tsn_alloc(sizeof *k);
    struct tsn_buf next = TSN_BUF_INIT;

    for (size_t round = 0; round < WATCHED_MAX; round++) {
        size_t i;

        key_tokens(m, scope, text->data, text->len, k);
        i = general_slot(m, k);
        if (i == SIZE_MAX)
            break;
        replace_token(k, i, &next);
        tsn_buf_reset(text);
        tsn_buf_append(text, next.data, next.len);
    }
    tsn_buf_release(&next);
    tsn_free(k);
}

static uint32_t discover(struct tsn_miner *m, uint32_t scope, uint64_t signature, const struct tsn_buf *text,
                         bool pinned)
{
    struct group g = { .scope = scope, .pinned = pinned, .tag = TSN_MINER_NONE, .first_ms = TSN_TIME_NONE, .last_ms = TSN_TIME_NONE };
    uint64_t named[2] = { m->scopes.items[scope].salt, signature };

    g.id = tsn_hash64(named, sizeof named);
    g.parent = (uint32_t)m->groups.len;
    set_text(m, &g, text->data, text->len);
    tsn_vec_push(&m->groups, g);
    m->stats.templates++;
    m->stats.discovered++;
    return g.parent;
}

struct tsn_miner_result tsn_miner_add(struct tsn_miner *miner, uint32_t scope, uint64_t signature, const char *text,
                                      size_t len, bool pinned, int64_t count, int64_t ts_ms)
{
    struct tsn_miner_result result = tsn_miner_count(miner, scope, signature, count, ts_ms);
    struct tsn_buf work = TSN_BUF_INIT;
    size_t merges = miner->merges.len;
    uint64_t key;
    uint32_t ref;

    if (result.ref != TSN_MINER_NONE)
        return result;
    tsn_miner_trim(miner);
    tsn_buf_append(&work, text, len);
    if (!pinned)
        generalise(miner, scope, &work);
    key = tsn_miner_sig_key(miner, scope, tsn_hash64(work.data, work.len));
    if (!tsn_table_get(&miner->sigs, key, &ref) || (ref = tsn_miner_find(miner, ref)) == TSN_MINER_NONE) {
        ref = discover(miner, scope, signature, &work, pinned);
        result.is_new = true;
        tsn_table_put(&miner->sigs, key, ref);
    }
    tsn_table_put(&miner->sigs, tsn_miner_sig_key(miner, scope, signature), ref);
    tally(&miner->groups.items[ref], count, ts_ms);
    if (result.is_new && !pinned)
        ref = settle(miner, ref);
    result.ref = ref;
    result.id = miner->groups.items[ref].id;
    result.merges = (uint32_t)(miner->merges.len - merges);
    /* a signature that fell into another group on arrival discovered nothing */
    result.is_new = result.is_new && result.merges == 0;
    tsn_buf_release(&work);
    return result;
}

uint32_t *tsn_miner_tag(struct tsn_miner *miner, uint32_t ref)
{
    TSN_ASSERT(ref < miner->groups.len);
    return &miner->groups.items[ref].tag;
}

const struct tsn_miner_merge *tsn_miner_merged(const struct tsn_miner *miner, size_t *count)
{
    *count = miner->merges.len;
    return miner->merges.items;
}

void tsn_miner_merged_clear(struct tsn_miner *miner)
{
    tsn_vec_clear(&miner->merges);
}

bool tsn_miner_get(const struct tsn_miner *miner, uint32_t ref, struct tsn_template *out)
{
    const struct group *g;

    if (ref >= miner->groups.len || miner->groups.items[ref].state != GROUP_LIVE)
        return false;
    g = &miner->groups.items[ref];
    *out = (struct tsn_template){ g->id,    ref,         g->scope,   g->text,   g->len,
                                  g->count, g->first_ms, g->last_ms, g->pinned };
    return true;
}

void tsn_miner_set_tally(struct tsn_miner *miner, uint32_t ref, int64_t count, int64_t first_ms, int64_t last_ms)
{
    struct group *g = &miner->groups.items[ref];

    TSN_ASSERT(ref < miner->groups.len && g->state == GROUP_LIVE);
    g->count = count;
    g->first_ms = first_ms;
    g->last_ms = last_ms;
}

bool tsn_miner_next(const struct tsn_miner *miner, uint32_t *cursor, struct tsn_template *out)
{
    while (*cursor < miner->groups.len)
        if (tsn_miner_get(miner, (*cursor)++, out))
            return true;
    return false;
}

struct tsn_miner_stats tsn_miner_stats(const struct tsn_miner *miner)
{
    struct tsn_miner_stats stats = miner->stats;

    stats.signatures = miner->sigs.count;
    stats.slots = miner->slots.len;
    return stats;
}
