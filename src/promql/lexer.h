/*
 * lexer: PromQL text → tokens (private to promql/).
 *
 * The language is not context-free at this level: inside braces keywords are plain names, inside
 * brackets only durations and their arithmetic may stand, and `5m` is one token. The lexer keeps
 * that context itself. Tokens point into the source; strings are unquoted by the parser.
 *
 * An error ends the stream: `type` is TSN_TOK_ERROR, `error` says why, and every later call gives
 * the same token. Cost: linear in the text. Never allocates.
 */
#ifndef TOCSIN_PROMQL_LEXER_H
#define TOCSIN_PROMQL_LEXER_H

#include "tocsin/promql.h"

enum tsn_token_type {
    TSN_TOK_EOF, TSN_TOK_ERROR,
    TSN_TOK_IDENTIFIER, TSN_TOK_METRIC, /* METRIC: a name with a colon */
    TSN_TOK_NUMBER, TSN_TOK_DURATION, TSN_TOK_STRING,
    TSN_TOK_LPAREN, TSN_TOK_RPAREN, TSN_TOK_LBRACE, TSN_TOK_RBRACE, TSN_TOK_LBRACKET, TSN_TOK_RBRACKET,
    TSN_TOK_COMMA, TSN_TOK_COLON, TSN_TOK_AT,
    TSN_TOK_ASSIGN, TSN_TOK_EQ_RE, TSN_TOK_NE_RE,
    TSN_TOK_BINOP, /* `op` says which; != inside braces too */
    TSN_TOK_AGGREGATOR,
    TSN_TOK_BOOL, TSN_TOK_BY, TSN_TOK_WITHOUT, TSN_TOK_ON, TSN_TOK_IGNORING, TSN_TOK_GROUP_LEFT,
    TSN_TOK_GROUP_RIGHT, TSN_TOK_FILL, TSN_TOK_OFFSET, TSN_TOK_SMOOTHED, TSN_TOK_ANCHORED,
    TSN_TOK_START, TSN_TOK_END, TSN_TOK_STEP, TSN_TOK_RANGE, TSN_TOK_MAX_OF, TSN_TOK_MIN_OF
};

struct tsn_token {
    enum tsn_token_type type;
    int op; /* enum tsn_binop or enum tsn_aggop */
    struct tsn_span span;
};

struct tsn_lexer {
    const char *text;
    uint32_t len, pos;
    int32_t paren_depth;
    bool in_braces, in_brackets;
    bool bracket_head; /* in brackets, before the first number: no comments yet, as Prometheus has it */
    bool failed;
    struct tsn_token failure;
    char error[160];
};

void tsn_lexer_init(struct tsn_lexer *lexer, const char *text, uint32_t len);
struct tsn_token tsn_lexer_next(struct tsn_lexer *lexer);
/* The keyword of a word, in any case of letters; TSN_TOK_IDENTIFIER if it is none. */
enum tsn_token_type tsn_lexer_keyword(const char *word, uint32_t len, int *op);

#endif
