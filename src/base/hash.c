/* hash: XXH3 in 64 and 128 bits, and Kafka's murmur2 partitioner. See tocsin/base.h. */
#include "tocsin/base.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t tsn_hash64(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

struct tsn_u128 tsn_hash128(const void *data, size_t len)
{
    XXH128_hash_t h = XXH3_128bits(data, len);

    return (struct tsn_u128){ .hi = h.high64, .lo = h.low64 };
}

bool tsn_u128_equal(struct tsn_u128 a, struct tsn_u128 b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

int tsn_u128_compare(struct tsn_u128 a, struct tsn_u128 b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    return (a.lo > b.lo) - (a.lo < b.lo);
}

void tsn_u128_hex(struct tsn_u128 value, char out[33])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 32; i++) {
        uint64_t half = i < 16 ? value.hi : value.lo;

        out[i] = digits[half >> (60 - 4 * (i % 16)) & 15];
    }
    out[32] = '\0';
}

bool tsn_u128_parse_hex(const char *text, size_t len, struct tsn_u128 *out)
{
    uint64_t halves[2] = { 0, 0 };

    if (len != 32)
        return false;
    for (int i = 0; i < 32; i++) {
        char c = text[i];
        uint64_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else
            return false;
        halves[i / 16] = halves[i / 16] << 4 | digit;
    }
    *out = (struct tsn_u128){ .hi = halves[0], .lo = halves[1] };
    return true;
}

/* Murmur2 with Kafka's seed. Source: Kafka's default partitioner for keyed records. */
static uint32_t murmur2(const unsigned char *data, size_t len)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = UINT32_C(0x9747b28c) ^ (uint32_t)len;

    for (; len >= 4; data += 4, len -= 4) {
        uint32_t k = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                     (uint32_t)data[3] << 24;

        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    if (len == 3)
        h ^= (uint32_t)data[2] << 16;
    if (len >= 2)
        h ^= (uint32_t)data[1] << 8;
    if (len >= 1)
        h = (h ^ data[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t tsn_partition_of(const void *key, size_t key_len, int32_t partition_count)
{
    TSN_ASSERT(partition_count > 0);
    return (int32_t)(murmur2(key, key_len) & 0x7fffffff) % partition_count;
}
