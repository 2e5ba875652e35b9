/*
 * promql: the rule language (L2). Lexer, parser with types, printer, evaluation.
 *
 * The tree below is what the parser gives, what the printer, the lint and both evaluators (naive
 * and streaming plan) read. Semantics: Prometheus 3.16 (left-open windows).
 *
 * A tree lives in one arena, `struct tsn_expr *` inside it are borrowed from the owning
 * `struct tsn_query`. Nothing here does I/O; a query may be read by several threads.
 */
#ifndef TOCSIN_PROMQL_H
#define TOCSIN_PROMQL_H

#include "tocsin/base.h"
#include "tocsin/model.h"

enum tsn_value_type { TSN_TYPE_NONE, TSN_TYPE_SCALAR, TSN_TYPE_VECTOR, TSN_TYPE_MATRIX, TSN_TYPE_STRING };

enum tsn_match_op { TSN_MATCH_EQ, TSN_MATCH_NE, TSN_MATCH_RE, TSN_MATCH_NRE };
struct tsn_regex; /* anchored RE2, or a literal/prefix/alternation fast form; promql/regex */
struct tsn_matcher {
    enum tsn_match_op op;
    const char *name, *value; /* NUL-terminated; value_len counts embedded NULs */
    uint32_t name_len, value_len;
    const struct tsn_regex *regex; /* RE and NRE only; owned by the query */
};
/* text may be NULL for a missing label, which equals "". */
bool tsn_matcher_matches(const struct tsn_matcher *m, const char *text, size_t len);
/* All matchers against a label set. */
bool tsn_matchers_match(const struct tsn_matcher *matchers, size_t count, const struct tsn_labels *labels);

enum tsn_expr_kind {
    TSN_EXPR_NUMBER, TSN_EXPR_STRING, TSN_EXPR_PAREN, TSN_EXPR_UNARY, TSN_EXPR_BINARY, TSN_EXPR_CALL,
    TSN_EXPR_AGGREGATE, TSN_EXPR_SELECTOR, TSN_EXPR_MATRIX, TSN_EXPR_SUBQUERY
};

enum tsn_binop {
    TSN_OP_ADD, TSN_OP_SUB, TSN_OP_MUL, TSN_OP_DIV, TSN_OP_MOD, TSN_OP_POW, TSN_OP_ATAN2,
    TSN_OP_EQ, TSN_OP_NE, TSN_OP_LT, TSN_OP_LE, TSN_OP_GT, TSN_OP_GE,
    TSN_OP_TRIM_UPPER, TSN_OP_TRIM_LOWER, /* </ and >/: cut native histograms; floats give nothing */
    TSN_OP_AND, TSN_OP_OR, TSN_OP_UNLESS
};
static inline bool tsn_binop_is_comparison(enum tsn_binop op) { return op >= TSN_OP_EQ && op <= TSN_OP_GE; }
static inline bool tsn_binop_is_set(enum tsn_binop op) { return op >= TSN_OP_AND; }

enum tsn_aggop {
    TSN_AGG_SUM, TSN_AGG_AVG, TSN_AGG_MIN, TSN_AGG_MAX, TSN_AGG_COUNT, TSN_AGG_GROUP, TSN_AGG_STDDEV,
    TSN_AGG_STDVAR, TSN_AGG_TOPK, TSN_AGG_BOTTOMK, TSN_AGG_QUANTILE, TSN_AGG_COUNT_VALUES,
    TSN_AGG_LIMITK, TSN_AGG_LIMIT_RATIO
};

enum tsn_cardinality { TSN_CARD_ONE_TO_ONE, TSN_CARD_MANY_TO_ONE, TSN_CARD_ONE_TO_MANY, TSN_CARD_MANY_TO_MANY };

enum tsn_at_kind { TSN_AT_NONE, TSN_AT_TIMESTAMP, TSN_AT_START, TSN_AT_END };

/* A byte range of the source text. */
struct tsn_span {
    uint32_t start, end;
};

struct tsn_function; /* table row: name, arity, types, implementation; promql/functions */
const char *tsn_function_name(const struct tsn_function *f);

struct tsn_expr {
    enum tsn_expr_kind kind;
    enum tsn_value_type type;
    struct tsn_span span;
    bool number_is_duration; /* NUMBER: written as a duration (5m is 300), printed as one */
    union {
        double number;
        struct { const char *text; uint32_t len; } string;
        struct tsn_expr *paren;
        struct { bool negate; struct tsn_expr *operand; } unary;
        struct {
            enum tsn_binop op;
            bool return_bool;
            struct tsn_expr *lhs, *rhs;
            /* vector matching; meaningful when both sides are vectors */
            bool on;                      /* else ignoring (possibly of nothing) */
            bool matching_given;          /* on/ignoring written */
            const char **match_labels;
            uint32_t match_label_count;
            enum tsn_cardinality card;    /* MANY_TO_MANY for set operators */
            const char **include_labels;  /* group_left/right(…) */
            uint32_t include_label_count;
        } binary;
        struct {
            const struct tsn_function *func;
            struct tsn_expr **args;
            uint32_t arg_count;
        } call;
        struct {
            enum tsn_aggop op;
            bool without;
            bool grouping_given;
            struct tsn_expr *operand, *param; /* param may be NULL */
            const char **labels;
            uint32_t label_count;
        } aggregate;
        struct {
            const char *name; /* metric name as written before {…}, or NULL; also in matchers */
            struct tsn_matcher *matchers; /* incl. __name__ */
            uint32_t matcher_count;
            int64_t offset_ms; /* may be negative */
            enum tsn_at_kind at;
            int64_t at_ms;
            bool anchored, smoothed; /* modifiers of 3.x; at most one is set */
        } selector;
        struct {
            struct tsn_expr *selector;
            int64_t range_ms; /* 0: arithmetic that folds to nothing ([step()]); fails when evaluated */
        } matrix;
        struct {
            struct tsn_expr *operand;
            int64_t range_ms, step_ms; /* step 0: the default; range 0 or step -1: fails when evaluated */
            int64_t offset_ms;
            enum tsn_at_kind at;
            int64_t at_ms;
        } subquery;
    } u;
};

/* A parsed expression and everything it owns. */
struct tsn_query {
    struct tsn_arena arena;
    struct tsn_expr *root;
    char *text; /* the source */
    struct tsn_regex **regexes;
    size_t regex_count;
};

/* Where and why parsing failed: `message` as Prometheus would say it, line and column 1-based. */
struct tsn_parse_error {
    uint32_t line, column;
    struct tsn_span span;
    char message[400];
};

/* NULL on error, with *error filled. Bounded: text ≤ 1 MiB, depth ≤ 200. Free with tsn_query_free. */
struct tsn_query *tsn_query_parse(const char *text, size_t len, struct tsn_parse_error *error);
void tsn_query_free(struct tsn_query **query);
/* Canonical text, as Prometheus prints an expression (parses back to the same tree). */
void tsn_expr_print(struct tsn_buf *out, const struct tsn_expr *expr);
const char *tsn_binop_text(enum tsn_binop op);
const char *tsn_aggop_text(enum tsn_aggop op);
/* Strips parentheses. */
const struct tsn_expr *tsn_expr_unwrap(const struct tsn_expr *expr);
/* Calls visit on expr and everything below it, parents first; stops when visit returns false. */
bool tsn_expr_walk(const struct tsn_expr *expr, bool (*visit)(const struct tsn_expr *, void *), void *arg);

/* ---- regular expressions ------------------------------------------------------------------ */

/* Compiles an RE2 pattern, fully anchored, dot matches newline (as Prometheus does). Literals,
 * prefixes and alternations of literals never reach the engine. NULL with *error on failure. */
struct tsn_regex *tsn_regex_new(const char *pattern, size_t len, struct tsn_error *error);
void tsn_regex_free(struct tsn_regex **regex);
bool tsn_regex_matches(const struct tsn_regex *regex, const char *text, size_t len);
/* For label_replace: matches and expands $1, ${name}, $$ into out; false if there is no match. */
bool tsn_regex_expand(const struct tsn_regex *regex, const char *text, size_t len,
                      const char *replacement, size_t replacement_len, struct tsn_buf *out);
/* Unanchored replace-all with Go's expansion rules: the template function reReplaceAll. */
enum tsn_err tsn_regex_replace_all(const char *pattern, const char *replacement, const char *text,
                                   struct tsn_buf *out, struct tsn_error *error);
/* Unanchored search: the template function match. */
enum tsn_err tsn_regex_search(const char *pattern, const char *text, bool *found, struct tsn_error *error);

/* ---- where samples come from -------------------------------------------------------------- */

/* A series as an evaluator sees it; both borrowed, immutable during an evaluation. Samples are
 * sorted by time, times unique; stale markers are in there. */
struct tsn_series_view {
    struct tsn_labels *labels;
    const struct tsn_sample *samples;
    size_t count;
};

/* Storage behind the naive evaluator. select() appends to out every series that matches and may
 * have samples in (from_ms, to_ms], in canonical label order. */
struct tsn_series_list {
    struct tsn_series_view *items;
    size_t len, cap;
};
struct tsn_storage {
    void (*select)(void *self, const struct tsn_matcher *matchers, size_t count, int64_t from_ms,
                   int64_t to_ms, struct tsn_series_list *out);
    void *self;
};

/* Samples in memory: `eval`, `test rules`, unit tests. */
struct tsn_memstore;
struct tsn_memstore *tsn_memstore_new(void);
void tsn_memstore_free(struct tsn_memstore **store);
/* Keeps a copy of the labels. Times may come in any order; of two samples of one time the later
 * call wins. */
void tsn_memstore_add(struct tsn_memstore *store, const struct tsn_labels *labels, int64_t ts_ms, double value);
/* In time order only, as a head block appends: an older time, or the same time with another value,
 * is TSN_ERR_CONFLICT and nothing is written. */
enum tsn_err tsn_memstore_append(struct tsn_memstore *store, const struct tsn_labels *labels, int64_t ts_ms,
                                 double value, struct tsn_error *error);
/* Valid while the store lives and nothing is added during an evaluation. */
struct tsn_storage tsn_memstore_storage(struct tsn_memstore *store);

/* ---- results ------------------------------------------------------------------------------ */

struct tsn_vector_sample {
    struct tsn_labels *labels; /* owned reference */
    int64_t ts_ms;
    double value;
};
struct tsn_matrix_series {
    struct tsn_labels *labels; /* owned reference */
    struct tsn_sample *points; /* owned */
    size_t count, cap;
};
struct tsn_result {
    enum tsn_value_type type;
    double scalar;
    char *string;
    struct tsn_vector_sample *vector;
    size_t vector_len, vector_cap;
    struct tsn_matrix_series *matrix;
    size_t matrix_len, matrix_cap;
};
void tsn_result_init(struct tsn_result *result);
void tsn_result_release(struct tsn_result *result);

struct tsn_eval_options {
    int64_t lookback_ms;      /* 0: 5 m */
    int64_t default_step_ms;  /* subqueries without a step; 0: 1 m */
    int64_t start_ms, end_ms; /* for @ start()/end(); instant: both the time */
    size_t max_samples;       /* 0: 50,000,000, as Prometheus */
    bool reuse_sums;          /* test only: plans break the law of blocks.h, so that the simulator can show that it notices */
};

/* The naive evaluator: reads raw samples anew at every step; the oracle of the streaming plan. */
enum tsn_err tsn_eval_instant(const struct tsn_query *query, const struct tsn_storage *storage, int64_t at_ms,
                              const struct tsn_eval_options *options, struct tsn_result *result,
                              struct tsn_error *error);
enum tsn_err tsn_eval_range(const struct tsn_query *query, const struct tsn_storage *storage, int64_t start_ms,
                            int64_t end_ms, int64_t step_ms, const struct tsn_eval_options *options,
                            struct tsn_result *result, struct tsn_error *error);

#endif
