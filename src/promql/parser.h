/*
 * parser: what the parser's files share (private to promql/).
 *
 * Recursive descent over one token of lookahead. The first error is kept and everything after it
 * returns at once with NULL, as Prometheus reports the first of its errors too. Nodes, labels and
 * text live in the query's arena.
 */
#ifndef TOCSIN_PROMQL_PARSER_H
#define TOCSIN_PROMQL_PARSER_H

#include "promql/functions.h"
#include "promql/lexer.h"

#define TSN_PARSE_TEXT_MAX (1u << 20)
#define TSN_PARSE_NESTING_MAX 200 /* parentheses, calls, unary signs: the parser's own recursion */
#define TSN_PARSE_HEIGHT_MAX 2000 /* of the tree: a + b + c + … leans left; everyone recurses on it */

/* What the parser knows of a node beyond the tree. */
struct tsn_node {
    struct tsn_expr expr; /* first: a node is its expression */
    uint32_t height;
    bool offset_set;
};

struct tsn_parser {
    struct tsn_query *query;
    struct tsn_lexer lexer;
    struct tsn_token token; /* the lookahead */
    uint32_t last_end;      /* end of the token before it */
    uint32_t nesting;
    bool failed;
    struct tsn_parse_error *error;
    TSN_VEC(struct tsn_regex *) regexes;
};

/* Keeps the first error; always returns NULL. */
void *tsn_parser_fail(struct tsn_parser *p, struct tsn_span span, const char *fmt, ...) TSN_PRINTF(3, 4);
/* "unexpected <token> in <context>, expected <expected>" at the lookahead; the lexer's own error if
 * that is what the lookahead is. expected may be NULL. */
void *tsn_parser_unexpected(struct tsn_parser *p, const char *context, const char *expected);
void tsn_parser_advance(struct tsn_parser *p);
/* Takes the lookahead if it is of this type. */
bool tsn_parser_accept(struct tsn_parser *p, enum tsn_token_type type);
struct tsn_expr *tsn_parser_node(struct tsn_parser *p, enum tsn_expr_kind kind, struct tsn_span span);
/* Height of expr from its children's; false (and failed) beyond the limit. NULL children are allowed. */
bool tsn_parser_raise(struct tsn_parser *p, struct tsn_expr *expr, const struct tsn_expr *a,
                      const struct tsn_expr *b);

struct tsn_expr *tsn_parse_expr(struct tsn_parser *p, int min_precedence);
/* Precedence of a binary operator: or 1 … ^ 6. */
int tsn_parse_precedence(enum tsn_binop op);

/* ---- literals and selectors (parse_selector.c) ---- */
bool tsn_parse_is_metric_token(enum tsn_token_type type);
/* A quoted token's text; NULL on failure. */
char *tsn_parse_unquote(struct tsn_parser *p, struct tsn_token token, uint32_t *len);
/* The lookahead, NUMBER or DURATION, taken; a duration in seconds. */
bool tsn_parse_number(struct tsn_parser *p, double *value, bool *is_duration);
struct tsn_expr *tsn_parse_selector(struct tsn_parser *p);
/* [range], [range:step] after expr; the lookahead is the bracket. */
struct tsn_expr *tsn_parse_brackets(struct tsn_parser *p, struct tsn_expr *operand);
struct tsn_expr *tsn_parse_offset(struct tsn_parser *p, struct tsn_expr *operand);
struct tsn_expr *tsn_parse_at(struct tsn_parser *p, struct tsn_expr *operand);
struct tsn_expr *tsn_parse_extended(struct tsn_parser *p, struct tsn_expr *operand);

/* ---- types (check.c) ---- */
/* Fills every node's type; false with the error set. */
bool tsn_check_types(struct tsn_parser *p, struct tsn_expr *expr);

#endif
