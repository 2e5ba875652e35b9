/*
 * memo: the hash of a line's signature without scanning it, when a line like it was scanned before.
 *
 *   line ──fold──▶ key ──hash──▶ table: key → hash of the signature      (miss: tsn_pattern_signature, then remembered)
 *
 * The key is the line with every digit written 0, save one that stands right behind a letter ("ssh2" is a name, "17" is a
 * number), and every long word of lower-case hexadecimal letters and digits written as one of its first character's kind. The
 * scanner asks of a character only its class, and of such a word only its length, what it begins with and that it has both
 * letters and digits (a digit before its last character) when no clock can reach into it, so lines with the same key have the same signature; prop_patterns holds that against the
 * scanner. Nine of ten lines that differ from all before them differ in nothing else.
 *
 * A fold that leaves two like lines apart costs a scan and nothing more; so a word across two blocks of 64 bytes stays as it is.
 * The table has a fixed size, and a new key overwrites an old one. Configured masks, pinned templates and keys may ask for a
 * certain digit: with those every line is scanned.
 */
#include "patterns/chars.h"
#include "patterns/config.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BLOCK 64u
/* Shorter words of hexadecimal digits are few, or names. */
#define HEX_MIN 8u
/* 2^16 entries of 16 bytes: 1 MiB stays in the second-level cache. */
#define TABLE_BITS 16u

struct tsn_pattern_memo {
    const struct tsn_pattern_config *config;
    bool bypass; /* the configuration looks at digits */
    struct tsn_pattern_memo_stats stats;
    char fold[TSN_PATTERN_SCAN_MAX + BLOCK];
    struct entry {
        uint64_t key, signature;
    } *table; /* key 0: free */
};

static bool digit_in_keys(const struct tsn_pattern_config *config)
{
    for (size_t i = 0; i < config->secret_count; i++)
        if (strpbrk(config->secrets[i], "0123456789"))
            return true;
    return false;
}

struct tsn_pattern_memo *tsn_pattern_memo_new(const struct tsn_pattern_config *config)
{
    struct tsn_pattern_memo *memo = tsn_alloc(sizeof *memo);

    memset(memo, 0, sizeof *memo);
    memo->config = config;
    memo->bypass = config && (config->mask_count || config->pin_count || digit_in_keys(config));
    memo->table = tsn_calloc(1u << TABLE_BITS, sizeof *memo->table);
    return memo;
}

void tsn_pattern_memo_free(struct tsn_pattern_memo **memo)
{
    if (*memo)
        tsn_free((*memo)->table);
    tsn_free(*memo);
    *memo = NULL;
}

struct tsn_pattern_memo_stats tsn_pattern_memo_stats(const struct tsn_pattern_memo *memo)
{
    return memo->stats;
}

/* ---- fold --------------------------------------------------------------------------------- */

/* Of 64 bytes, bit i for byte i. */
struct classes {
    uint64_t digit, hex_letter, word; /* word: letters, digits and bytes ≥ 0x80 */
};

#ifdef __SSE2__

static __m128i in_range(__m128i v, char from, char to)
{
    return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8((char)(from - 1))), _mm_cmplt_epi8(v, _mm_set1_epi8((char)(to + 1))));
}

/* Classes of the block; `behind`: the byte before it is a letter. Digits that fold are written 0. */
static struct classes fold_digits(const char *in, char *out, bool behind)
{
    struct classes c = { 0, 0, 0 };
    uint64_t letter = 0;

    for (unsigned i = 0; i < BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in + i)), digit = in_range(v, '0', '9'), high, letters, keep;
        uint64_t bits, digits = (uint32_t)_mm_movemask_epi8(digit);

        high = _mm_cmplt_epi8(v, _mm_setzero_si128());
        letters = _mm_or_si128(in_range(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z'), high);
        bits = (uint32_t)_mm_movemask_epi8(letters);
        /* a digit is kept where the byte before it is a letter */
        keep = _mm_slli_si128(letters, 1);
        if (behind)
            keep = _mm_or_si128(keep, _mm_cvtsi32_si128(0xff));
        digit = _mm_andnot_si128(keep, digit);
        v = _mm_or_si128(_mm_andnot_si128(digit, v), _mm_and_si128(digit, _mm_set1_epi8('0')));
        _mm_storeu_si128((__m128i *)(void *)(out + i), v);
        behind = bits >> 15;
        letter |= bits << i;
        c.digit |= digits << i;
        c.hex_letter |= (uint64_t)(uint32_t)_mm_movemask_epi8(in_range(v, 'a', 'f')) << i;
    }
    c.word = letter | c.digit;
    return c;
}

#else

static struct classes fold_digits(const char *in, char *out, bool behind)
{
    struct classes c = { 0, 0, 0 };

    for (unsigned i = 0; i < BLOCK; i++) {
        uint8_t kind = tsn_chars[(uint8_t)in[i]];

        c.digit |= (uint64_t)((kind & TSN_C_DIGIT) != 0) << i;
        c.word |= (uint64_t)((kind & (TSN_C_DIGIT | TSN_C_ALPHA)) != 0) << i;
        c.hex_letter |= (uint64_t)(in[i] >= 'a' && in[i] <= 'f') << i;
        out[i] = (kind & TSN_C_DIGIT) && !behind ? '0' : in[i];
        behind = (kind & TSN_C_ALPHA) != 0;
    }
    return c;
}

#endif

/* Words of this block that are hexadecimal, mixed and long: 1f3b9c… becomes 0a000…, beef12… a0000…. */
static void fold_hex(const struct classes *c, char *out)
{
    uint64_t hex = c->digit | c->hex_letter;
    uint64_t turn = (c->digit & (c->hex_letter << 1)) | (c->hex_letter & (c->digit << 1)); /* both kinds, side by side */

    while (turn) {
        unsigned at = (unsigned)__builtin_ctzll(turn), start, end;
        uint64_t below = ~c->word & ((UINT64_C(1) << at) - 1), above = ~c->word & ~((UINT64_C(2) << at) - 1);
        uint64_t run;

        if (!above)
            return; /* it may go on in the next block */
        end = (unsigned)__builtin_ctzll(above);
        turn &= ~((UINT64_C(1) << end) - 1);
        if (!below)
            continue; /* it may have begun in the block before */
        start = 64 - (unsigned)__builtin_clzll(below);
        run = ((UINT64_C(1) << end) - 1) & ~((UINT64_C(1) << start) - 1);
        if (end - start < HEX_MIN || (run & ~hex) || !(c->digit & (run >> 1) & run)) /* "edeeeeee1": a name with a number */
            continue;
        if (out[start - 1] == ':' || out[start - 1] == '.') /* it may be the seconds of a clock */
            continue;
        memset(out + start, '0', end - start);
        if (c->digit >> start & 1)
            out[start + 1] = 'a';
        else
            out[start] = 'a';
    }
}

/* Reads whole blocks, the last by way of a copy, as the line may end where memory does. */
static size_t fold(const char *line, size_t len, char *out)
{
    size_t at = 0;
    bool behind = false;
    char rest[BLOCK];

    for (; at + BLOCK <= len; at += BLOCK) {
        struct classes c = fold_digits(line + at, out + at, behind);

        fold_hex(&c, out + at);
        behind = (tsn_chars[(uint8_t)line[at + BLOCK - 1]] & TSN_C_ALPHA) != 0;
    }
    if (at < len) {
        struct classes c;

        memset(rest, ' ', sizeof rest);
        memcpy(rest, line + at, len - at);
        c = fold_digits(rest, out + at, behind);
        fold_hex(&c, out + at);
    }
    return len;
}

uint64_t tsn_pattern_memo_hash(struct tsn_pattern_memo *memo, const char *line, size_t len, struct tsn_buf *scratch)
{
    struct entry *e;
    uint64_t key;

    if (len > TSN_PATTERN_SCAN_MAX)
        len = TSN_PATTERN_SCAN_MAX;
    if (memo->bypass)
        return tsn_pattern_signature(memo->config, line, len, scratch).hash;
    key = tsn_hash64(memo->fold, fold(line, len, memo->fold));
    key += !key;
    e = &memo->table[key >> (64 - TABLE_BITS)];
    if (e->key == key) {
        memo->stats.hits++;
        return e->signature;
    }
    memo->stats.misses++;
    e->key = key;
    return e->signature = tsn_pattern_signature(memo->config, line, len, scratch).hash;
}
