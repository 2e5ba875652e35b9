/*
 * miner_int: the miner's insides, shared by mining, eviction and snapshot.
 *
 *   signature (scope, hash) ──sigs──▶ ref ──parent…──▶ surviving group {id, text, count, times}
 *                                              │ one key for each word of the text: everything but that word
 *                                              ▼
 *                                  slots: key ──▶ distinct words seen, groups that showed them, or "generalised"
 *
 * Groups are numbered by `ref` in order of discovery. Merged and evicted ones keep their place until the next trim,
 * which renumbers what lives, in the same order.
 */
#ifndef TOCSIN_PATTERNS_MINER_INT_H
#define TOCSIN_PATTERNS_MINER_INT_H

#include "tocsin/patterns.h"

/* Distinct words a slot remembers; more than any threshold. */
#define SLOT_VALUES 16
/* Tokens of a text that are looked at: the rest counts as one. */
#define TOKENS_MAX 512
/* Words of a text that are watched. A line of more words than this is data, not a message. */
#define WATCHED_MAX 48

enum group_state { GROUP_LIVE, GROUP_MERGED, GROUP_EVICTED };

struct group {
    uint64_t id;
    uint64_t text_hash;
    char *text; /* owned; NULL unless live */
    uint32_t len, scope, parent, tag;
    uint8_t state;
    bool pinned;
    int64_t count, first_ms, last_ms;
};

/* u64 → u32, open addressing; key 0 is free (a hash of 0 is moved to 1). */
struct table {
    uint64_t *keys;
    uint32_t *values;
    uint32_t cap, count;
};

struct slot {
    uint64_t key;
    uint8_t count, need; /* values held; lowest threshold its words had, 0: only <*> seen */
    bool general, var;
    uint32_t values[SLOT_VALUES];
    uint32_t refs[SLOT_VALUES];
};

struct scope {
    char *service, *level;
    uint64_t salt;
};

struct tsn_miner {
    struct tsn_miner_limits limits;
    TSN_VEC(struct scope) scopes;
    struct tsn_map scope_index;
    TSN_VEC(struct group) groups;
    TSN_VEC(struct slot) slots;
    TSN_VEC(struct tsn_miner_merge) merges;
    struct table sigs, slot_index;
    struct tsn_miner_stats stats;
};

bool tsn_table_get(const struct table *table, uint64_t key, uint32_t *value);
void tsn_table_put(struct table *table, uint64_t key, uint32_t value);
void tsn_table_release(struct table *table);
uint64_t tsn_miner_sig_key(const struct tsn_miner *miner, uint32_t scope, uint64_t signature);
/* Makes room when a limit is met. */
void tsn_miner_trim(struct tsn_miner *miner);
/* The ref that survives of `ref`; TSN_MINER_NONE if it was evicted. */
uint32_t tsn_miner_find(struct tsn_miner *miner, uint32_t ref);

#endif
