/*
 * map: byte keys → void *, iterated in order of insertion (picture in tocsin/base.h).
 *
 * Deletion leaves a dead entry and a tombstone in the index; both go at the next rebuild, which
 * an insertion triggers when entries (dead ones included) fill half of the index.
 */
#include "tocsin/base.h"

#include <string.h>

enum { EMPTY = -1, TOMBSTONE = -2, MIN_INDEX = 16 };

void tsn_map_init(struct tsn_map *map)
{
    memset(map, 0, sizeof *map);
}

static void free_keys(struct tsn_map *map)
{
    for (uint32_t i = 0; i < map->entries_len; i++) {
        struct tsn_map_entry *e = &map->entries[i];

        if (e->live && e->key_len > sizeof e->key.small)
            tsn_free(e->key.large);
    }
}

void tsn_map_release(struct tsn_map *map)
{
    free_keys(map);
    tsn_free(map->entries);
    tsn_free(map->index);
    tsn_map_init(map);
}

void tsn_map_clear(struct tsn_map *map)
{
    free_keys(map);
    map->entries_len = 0;
    map->count = 0;
    for (uint32_t i = 0; i < map->index_cap; i++)
        map->index[i] = EMPTY;
}

const char *tsn_map_entry_key(const struct tsn_map_entry *e)
{
    return e->key_len > sizeof e->key.small ? e->key.large : e->key.small;
}

/* Index position of the key, or -1. */
static int64_t find(const struct tsn_map *map, uint64_t hash, const void *key, size_t key_len)
{
    uint32_t mask, at;

    if (!map->index_cap)
        return -1;
    mask = map->index_cap - 1;
    for (at = (uint32_t)hash & mask; map->index[at] != EMPTY; at = (at + 1) & mask) {
        const struct tsn_map_entry *e;

        if (map->index[at] == TOMBSTONE)
            continue;
        e = &map->entries[map->index[at]];
        if (e->hash == hash && e->key_len == key_len &&
            memcmp(tsn_map_entry_key(e), key, key_len) == 0)
            return at;
    }
    return -1;
}

static void place(struct tsn_map *map, uint32_t entry)
{
    uint32_t mask = map->index_cap - 1;
    uint32_t at = (uint32_t)map->entries[entry].hash & mask;

    while (map->index[at] >= 0)
        at = (at + 1) & mask;
    map->index[at] = (int32_t)entry;
}

static void rebuild(struct tsn_map *map)
{
    uint32_t cap = MIN_INDEX, live = 0;

    for (uint32_t i = 0; i < map->entries_len; i++)
        if (map->entries[i].live)
            map->entries[live++] = map->entries[i];
    map->entries_len = live;
    while (cap < (live + 1) * 4)
        cap *= 2;
    TSN_ASSERT(cap <= UINT32_C(1) << 30);
    map->index = tsn_reallocarray(map->index, cap, sizeof *map->index);
    map->index_cap = cap;
    for (uint32_t i = 0; i < cap; i++)
        map->index[i] = EMPTY;
    map->entries_cap = cap / 2;
    map->entries = tsn_reallocarray(map->entries, map->entries_cap, sizeof *map->entries);
    for (uint32_t i = 0; i < live; i++)
        place(map, i);
}

void **tsn_map_slot(const struct tsn_map *map, const void *key, size_t key_len)
{
    int64_t at = map->count ? find(map, tsn_hash64(key, key_len), key, key_len) : -1;

    return at < 0 ? NULL : &map->entries[map->index[at]].value;
}

void *tsn_map_get(const struct tsn_map *map, const void *key, size_t key_len)
{
    void **slot = tsn_map_slot(map, key, key_len);

    return slot ? *slot : NULL;
}

void *tsn_map_get_str(const struct tsn_map *map, const char *key)
{
    return tsn_map_get(map, key, strlen(key));
}

void **tsn_map_upsert(struct tsn_map *map, const void *key, size_t key_len, bool *created)
{
    uint64_t hash = tsn_hash64(key, key_len);
    int64_t at = find(map, hash, key, key_len);
    struct tsn_map_entry *e;

    if (created)
        *created = at < 0;
    if (at >= 0)
        return &map->entries[map->index[at]].value;
    TSN_ASSERT(key_len <= UINT32_MAX);
    if (map->entries_len == map->entries_cap)
        rebuild(map);
    e = &map->entries[map->entries_len];
    memset(e, 0, sizeof *e);
    e->hash = hash;
    e->key_len = (uint32_t)key_len;
    e->live = true;
    if (key_len > sizeof e->key.small)
        e->key.large = tsn_memdup(key, key_len);
    else if (key_len)
        memcpy(e->key.small, key, key_len);
    place(map, map->entries_len++);
    map->count++;
    return &e->value;
}

void *tsn_map_put(struct tsn_map *map, const void *key, size_t key_len, void *value)
{
    void **slot = tsn_map_upsert(map, key, key_len, NULL);
    void *old = *slot;

    *slot = value;
    return old;
}

void *tsn_map_put_str(struct tsn_map *map, const char *key, void *value)
{
    return tsn_map_put(map, key, strlen(key), value);
}

void *tsn_map_del(struct tsn_map *map, const void *key, size_t key_len)
{
    int64_t at = map->count ? find(map, tsn_hash64(key, key_len), key, key_len) : -1;
    struct tsn_map_entry *e;

    if (at < 0)
        return NULL;
    e = &map->entries[map->index[at]];
    map->index[at] = TOMBSTONE;
    if (e->key_len > sizeof e->key.small)
        tsn_free(e->key.large);
    e->live = false;
    map->count--;
    return e->value;
}
