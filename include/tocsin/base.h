/*
 * base: the ground everything stands on (L0).
 *
 * Errors, asserts, allocation, arenas, byte buffers, vectors, an ordered hash map, hashing,
 * number text, fixed-point sums, log lines. Nothing here knows of Kafka, rules or time zones.
 *
 * Three kinds of trouble, never mixed:
 *   a bug                → TSN_ASSERT, kept on in release;
 *   an operating error   → enum tsn_err, with a struct tsn_error that a person can read;
 *   a bad input record   → counted and dead-lettered by its stage, never an error of the program.
 *
 * Threads: nothing here locks, save tsn_log (which writes whole lines) and the allocation
 * functions (malloc's own guarantee). An object belongs to one thread at a time.
 */
#ifndef TOCSIN_BASE_H
#define TOCSIN_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TSN_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define TSN_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define TSN_UNUSED(x) ((void)(x))

/* ---- asserts ------------------------------------------------------------------------------ */

/* A bug in Tocsin: prints file, line and condition, then aborts. Kept on in release. */
#define TSN_ASSERT(cond) \
    ((cond) ? (void)0 : tsn_assert_failed(#cond, __FILE__, __LINE__, __func__))
_Noreturn void tsn_assert_failed(const char *cond, const char *file, int line, const char *func);

/* ---- errors ------------------------------------------------------------------------------- */

enum tsn_err {
    TSN_OK = 0,
    TSN_ERR_INVALID,     /* malformed or out of range: configuration, rules, a record */
    TSN_ERR_LIMIT,       /* a configured or built-in bound was met */
    TSN_ERR_NOT_FOUND,
    TSN_ERR_IO,          /* the operating system said no */
    TSN_ERR_UNREACHABLE, /* broker, Redis, registry or a channel cannot be reached */
    TSN_ERR_TIMEOUT,
    TSN_ERR_CONFLICT,    /* somebody else changed it first; read again */
    TSN_ERR_FENCED,      /* a newer owner exists: stop, take over anew */
    TSN_ERR_UNSUPPORTED,
    TSN_ERR_INTERNAL
};

/* What an operating error was. `message` is printable as it is, without a trailing newline. */
struct tsn_error {
    enum tsn_err code;
    bool retriable; /* the same call may succeed later */
    bool fatal;     /* the component cannot go on */
    char message[512];
};

/* Fills *error (NULL is allowed) and returns `code`, so that `return tsn_error_set(…)` works. */
enum tsn_err tsn_error_set(struct tsn_error *error, enum tsn_err code, const char *fmt, ...)
    TSN_PRINTF(3, 4);
/* Puts "prefix: " in front of the message of *error. Returns error->code. */
enum tsn_err tsn_error_prefix(struct tsn_error *error, const char *fmt, ...) TSN_PRINTF(2, 3);
/* The lower-case name of a code, e.g. "unreachable"; static storage. */
const char *tsn_err_name(enum tsn_err code);

/* ---- allocation --------------------------------------------------------------------------- */

/* Never return NULL: out of memory ends the process with a word (bounded inputs make it a bug or
 * a machine at its end; neither is served by going on). A size of 0 gives a freeable pointer. */
void *tsn_alloc(size_t size);
void *tsn_calloc(size_t count, size_t size);
void *tsn_realloc(void *ptr, size_t size);
/* realloc of count × size with the overflow checked. */
void *tsn_reallocarray(void *ptr, size_t count, size_t size);
void tsn_free(void *ptr);
char *tsn_strdup(const char *text);
/* A NUL-terminated copy of exactly `len` bytes. */
char *tsn_strndup(const char *text, size_t len);
void *tsn_memdup(const void *data, size_t len);

/* ---- arena -------------------------------------------------------------------------------- */

/* Bump allocator: everything allocated since the last reset is freed together. */
struct tsn_arena_block;
struct tsn_arena {
    struct tsn_arena_block *blocks; /* newest first */
    char *next, *end;
    size_t block_bytes;
    size_t used_bytes; /* since the last reset, for budgets */
};
/* block_bytes 0 means 64 KiB. Larger requests get a block of their own. */
void tsn_arena_init(struct tsn_arena *arena, size_t block_bytes);
void tsn_arena_release(struct tsn_arena *arena);
/* Keeps one block for reuse. */
void tsn_arena_reset(struct tsn_arena *arena);
/* Aligned to 16 bytes; never NULL; not zeroed. */
void *tsn_arena_alloc(struct tsn_arena *arena, size_t size);
void *tsn_arena_calloc(struct tsn_arena *arena, size_t count, size_t size);
char *tsn_arena_strndup(struct tsn_arena *arena, const char *text, size_t len);
char *tsn_arena_strdup(struct tsn_arena *arena, const char *text);
char *tsn_arena_printf(struct tsn_arena *arena, const char *fmt, ...) TSN_PRINTF(2, 3);

/* ---- byte buffer -------------------------------------------------------------------------- */

/* Growable bytes; data[len] is always NUL (data is never NULL after init). */
struct tsn_buf {
    char *data;
    size_t len, cap;
};
#define TSN_BUF_INIT { NULL, 0, 0 }
void tsn_buf_init(struct tsn_buf *buf);
void tsn_buf_release(struct tsn_buf *buf);
void tsn_buf_reset(struct tsn_buf *buf);
/* Makes room for `extra` more bytes and returns where they go; the caller then raises len. */
char *tsn_buf_reserve(struct tsn_buf *buf, size_t extra);
void tsn_buf_append(struct tsn_buf *buf, const void *data, size_t len);
void tsn_buf_puts(struct tsn_buf *buf, const char *text);
void tsn_buf_putc(struct tsn_buf *buf, char c);
void tsn_buf_printf(struct tsn_buf *buf, const char *fmt, ...) TSN_PRINTF(2, 3);
void tsn_buf_vprintf(struct tsn_buf *buf, const char *fmt, va_list args);
/* NUL-terminated content; "" when nothing was ever written. Borrowed. */
const char *tsn_buf_str(const struct tsn_buf *buf);
/* Moves the bytes out (caller frees with tsn_free) and leaves the buffer empty. */
char *tsn_buf_take(struct tsn_buf *buf, size_t *len);
/* Appends text as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void tsn_buf_json_string(struct tsn_buf *buf, const char *text, size_t len);

/* ---- vector ------------------------------------------------------------------------------- */

/* TSN_VEC(struct x) declares an anonymous struct type {items,len,cap}; zero-initialise it. */
#define TSN_VEC(type)     \
    struct {              \
        type *items;      \
        size_t len, cap;  \
    }
#define tsn_vec_reserve(vec, want)                                                              \
    ((vec)->cap >= (want)                                                                       \
         ? (void)0                                                                              \
         : (void)((vec)->items = tsn_vec_grow((vec)->items, &(vec)->cap, (want), sizeof *(vec)->items)))
#define tsn_vec_push(vec, value) \
    (tsn_vec_reserve((vec), (vec)->len + 1), (void)((vec)->items[(vec)->len++] = (value)))
#define tsn_vec_pop(vec) ((vec)->items[--(vec)->len])
#define tsn_vec_clear(vec) ((void)((vec)->len = 0))
#define tsn_vec_release(vec) \
    (tsn_free((vec)->items), (void)((vec)->items = NULL, (vec)->len = 0, (vec)->cap = 0))
void *tsn_vec_grow(void *items, size_t *cap, size_t want, size_t item_size);

/* ---- ordered hash map --------------------------------------------------------------------- */

/*
 * Byte-string keys → void *. Iteration is in order of insertion, so no output ever depends on a
 * hash. Keys are copied; up to 16 bytes of key live inside the entry.
 *
 *     index:   [ -1 | 2 | -1 | 0 | 1 … ]        open addressing, linear probe, load ≤ 1/2
 *     entries: [ key,value | key,value | dead | key,value ]    in order of insertion
 */
struct tsn_map_entry {
    uint64_t hash;
    uint32_t key_len;
    bool live;
    union {
        char small[16];
        char *large;
    } key;
    void *value;
};
struct tsn_map {
    struct tsn_map_entry *entries;
    int32_t *index;
    uint32_t entries_len, entries_cap, index_cap, count;
};
void tsn_map_init(struct tsn_map *map);
void tsn_map_release(struct tsn_map *map); /* values are the caller's */
void tsn_map_clear(struct tsn_map *map);
/* NULL if absent (a stored NULL looks the same; use tsn_map_slot where that matters). */
void *tsn_map_get(const struct tsn_map *map, const void *key, size_t key_len);
void *tsn_map_get_str(const struct tsn_map *map, const char *key);
/* The address of the value, NULL if absent. Valid until the next insertion. */
void **tsn_map_slot(const struct tsn_map *map, const void *key, size_t key_len);
/* As above, inserting a NULL value if absent; *created (may be NULL) says which. */
void **tsn_map_upsert(struct tsn_map *map, const void *key, size_t key_len, bool *created);
/* Stores value; returns the one it replaced, or NULL. */
void *tsn_map_put(struct tsn_map *map, const void *key, size_t key_len, void *value);
void *tsn_map_put_str(struct tsn_map *map, const char *key, void *value);
/* Removes; returns the value, or NULL if absent. */
void *tsn_map_del(struct tsn_map *map, const void *key, size_t key_len);
const char *tsn_map_entry_key(const struct tsn_map_entry *entry);
/* Live entries in insertion order. Deleting the current entry inside the loop is allowed,
 * inserting is not. */
#define tsn_map_foreach(map, e)                                                 \
    for (struct tsn_map_entry *e = (map)->entries,                              \
                              *e##_end = (map)->entries + (map)->entries_len;   \
         e < e##_end; e++)                                                      \
        if (e->live)

/* ---- hashing ------------------------------------------------------------------------------ */

struct tsn_u128 {
    uint64_t hi, lo;
};
/* XXH3 (xxHash). Stable across machines and versions: hashes are stored in topics. */
uint64_t tsn_hash64(const void *data, size_t len);
struct tsn_u128 tsn_hash128(const void *data, size_t len);
bool tsn_u128_equal(struct tsn_u128 a, struct tsn_u128 b);
int tsn_u128_compare(struct tsn_u128 a, struct tsn_u128 b);
/* 32 lower-case hex digits and a NUL. */
void tsn_u128_hex(struct tsn_u128 value, char out[33]);
bool tsn_u128_parse_hex(const char *text, size_t len, struct tsn_u128 *out);
/* Kafka's murmur2 partitioner over a key, so that producers elsewhere agree. ≥ 0. */
int32_t tsn_partition_of(const void *key, size_t key_len, int32_t partition_count);

/* ---- numbers ------------------------------------------------------------------------------ */

/* Shortest decimal that reads back to the same double, laid out as Go's strconv.FormatFloat:
 * fmt 'g' as fmt.Print does ('e' form when exponent < -4 or >= 21; pass exp_threshold, e.g. 21,
 * or 6 for a template's {{ $value }} in Go's %v with shortest precision), 'f' never uses an
 * exponent, 'e' always does. NaN, +Inf, -Inf as Prometheus writes them. */
size_t tsn_format_double(char *out, size_t out_len, double value, char fmt, int exp_threshold);
#define TSN_DOUBLE_TEXT 352 /* room for any 'f' form */
/* The whole of [text, text+len) as a decimal or hex float, Inf/NaN in any case with sign. */
bool tsn_parse_double(const char *text, size_t len, double *out);
bool tsn_parse_i64(const char *text, size_t len, int64_t *out);
/* Bit pattern of a double and back. */
uint64_t tsn_double_bits(double value);
double tsn_double_from_bits(uint64_t bits);
/* The staleness marker's bits (Prometheus): a NaN that says "this series ended here". */
#define TSN_STALE_BITS UINT64_C(0x7ff0000000000002)
bool tsn_is_stale(double value);
double tsn_stale(void);

/* Exact sums: signed 128-bit integers in units of 2^-64, so order of addition never matters. */
typedef __int128 tsn_fixed; /* a scalar, not a struct: the one typedef, for want of a shorter name */
/* Rounds to nearest, ties to even. False if |value| >= 2^62, or value is NaN or Inf. */
bool tsn_fixed_from_double(double value, tsn_fixed *out);
double tsn_fixed_to_double(tsn_fixed value);
/* False on overflow; *sum is then unchanged. */
bool tsn_fixed_add(tsn_fixed *sum, tsn_fixed delta);

/* ---- time --------------------------------------------------------------------------------- */

/* Event time is a plain int64_t of milliseconds since the epoch, named …_ms. Wall and monotonic
 * readings are structs, so that a clock cannot slip into event-time arithmetic unseen. */
struct tsn_wall {
    int64_t ms;
};
struct tsn_mono {
    int64_t ns;
};
struct tsn_wall tsn_wall_now(void); /* the shell's; the core never calls these two */
struct tsn_mono tsn_mono_now(void);
#define TSN_TIME_NONE INT64_MIN
/* "2026-11-24T09:00:00.123Z"; 24 characters and a NUL for years 0–9999. */
#define TSN_RFC3339_TEXT 40
void tsn_format_rfc3339(char out[TSN_RFC3339_TEXT], int64_t ms);
/* RFC 3339 with any fraction and offset; truncates below 1 ms. */
bool tsn_parse_rfc3339(const char *text, size_t len, int64_t *ms);
/* Prometheus durations: 1h30m, 5m, 0, 250ms; units y w d h m s ms, largest first. Rejects
 * negative and fractions. */
bool tsn_parse_duration(const char *text, size_t len, int64_t *ms);
/* The canonical text, e.g. 5400000 → "1h30m"; 0 → "0s". */
#define TSN_DURATION_TEXT 48
void tsn_format_duration(char out[TSN_DURATION_TEXT], int64_t ms);

/* ---- UTF-8 -------------------------------------------------------------------------------- */

bool tsn_utf8_valid(const char *text, size_t len);
/* Length of the longest valid prefix. */
size_t tsn_utf8_valid_prefix(const char *text, size_t len);
/* Decodes one code point; returns its byte length, 0 if invalid or at the end. */
size_t tsn_utf8_decode(const char *text, size_t len, uint32_t *code_point);
size_t tsn_utf8_encode(uint32_t code_point, char out[4]);

/* ---- log ---------------------------------------------------------------------------------- */

enum tsn_log_level { TSN_LOG_ERROR, TSN_LOG_WARN, TSN_LOG_INFO, TSN_LOG_DEBUG };
/*
 * One logfmt line on stderr: ts=… level=… ctx=… msg="…" followed by what `fields_fmt` prints,
 * which must already be logfmt ("topic=%s offset=%lld"); pass NULL for none. The same line
 * (context and msg) more than 5 times in 10 s is suppressed and the count said afterwards.
 * DEBUG lines come out only for contexts named by tsn_log_debug. Any thread.
 */
void tsn_log(enum tsn_log_level level, const char *ctx, const char *msg, const char *fields_fmt, ...)
    TSN_PRINTF(4, 5);
/* A comma-separated list of contexts, or "all". */
void tsn_log_debug(const char *contexts);
bool tsn_log_debug_on(const char *ctx);
/* Lowest level that is written; default INFO. */
void tsn_log_level_set(enum tsn_log_level level);

#endif
