/*
 * template: the insides of the alert templates, shared by src/rules/template_*.c only.
 *
 *   text ──lex──▶ tokens ──parse──▶ nodes (arena of the template) ──exec──▶ bytes
 *
 *   template_lex.c      tokens, trim markers, positions
 *   template_parse.c    nodes; errors in the words of Go's text/template
 *   template_node.c     a node as text (for errors), number and string constants
 *   template_value.c    values, their Go type names, truth, default printing
 *   template_printf.c   print, printf, println
 *   template_text.c     case, quoting, escaping, durations, host and port
 *   template_builtin.c  Go's own functions: and or not eq … len index slice html js urlquery
 *   template_func.c     Prometheus's functions
 *   template_exec.c     walking the nodes
 *   template.c          the public face
 *
 * Values are small structs passed by copy; all text they point to lives in the arena of the run.
 * Bounds: text 1 MiB, nesting 200, steps 1,000,000, output 1 MiB, arena of a run 16 MiB.
 * Source: Go 1.26 text/template and fmt, Prometheus 3.16 template/template.go, as behaviour.
 */
#ifndef TSN_RULES_TEMPLATE_H
#define TSN_RULES_TEMPLATE_H

#include "tocsin/rules.h"

#define TMPL_MAX_TEXT   (1u << 20)
#define TMPL_MAX_NEST   200
#define TMPL_MAX_STEPS  1000000
#define TMPL_MAX_OUTPUT (1u << 20)
#define TMPL_MAX_ARENA  (16u << 20)

struct tmpl_str {
    const char *text;
    size_t len;
};

/* ---- tokens ------------------------------------------------------------------------------- */

enum tmpl_token_type {
    TOK_ERROR, TOK_BOOL, TOK_CHAR, TOK_CHAR_CONSTANT, TOK_COMPLEX, TOK_ASSIGN, TOK_DECLARE, TOK_EOF,
    TOK_FIELD, TOK_IDENTIFIER, TOK_LEFT_DELIM, TOK_LEFT_PAREN, TOK_NUMBER, TOK_PIPE, TOK_RAW_STRING,
    TOK_RIGHT_DELIM, TOK_RIGHT_PAREN, TOK_SPACE, TOK_STRING, TOK_TEXT, TOK_VARIABLE,
    TOK_KEYWORD, /* the rest are keywords */
    TOK_BLOCK, TOK_BREAK, TOK_CONTINUE, TOK_DOT, TOK_DEFINE, TOK_ELSE, TOK_END, TOK_IF, TOK_NIL,
    TOK_RANGE, TOK_TEMPLATE, TOK_WITH
};

struct tmpl_token {
    enum tmpl_token_type type;
    uint32_t pos, line;
    struct tmpl_str val;
};

struct tmpl_lexer {
    const char *input;
    size_t len, pos, start;
    uint32_t start_line;
    size_t line_seen; /* lines are counted up to here … */
    uint32_t line;    /* … and this many were seen, plus one */
    int paren_depth;
    bool inside_action;
    struct tsn_arena *arena;
};
void tmpl_lexer_init(struct tmpl_lexer *lexer, struct tsn_arena *arena, const char *text, size_t len);
struct tmpl_token tmpl_lexer_next(struct tmpl_lexer *lexer);

/* ---- nodes -------------------------------------------------------------------------------- */

enum tmpl_node_type {
    NODE_TEXT, NODE_ACTION, NODE_BOOL, NODE_CHAIN, NODE_COMMAND, NODE_DOT, NODE_ELSE, NODE_END,
    NODE_FIELD, NODE_IDENTIFIER, NODE_IF, NODE_LIST, NODE_NIL, NODE_NUMBER, NODE_PIPE, NODE_RANGE,
    NODE_STRING, NODE_TEMPLATE, NODE_VARIABLE, NODE_WITH, NODE_BREAK, NODE_CONTINUE
};

struct tmpl_node {
    enum tmpl_node_type type;
    uint32_t pos;
    struct tmpl_str text;    /* text, identifier, quoted string, number, template's name */
    struct tmpl_str value;   /* string constants: unquoted */
    struct tmpl_str *idents; /* field: a b; variable: $x a b; chain: fields */
    size_t ident_count;
    struct tmpl_node **kids; /* list: nodes; pipe: commands; command: arguments */
    size_t kid_count, kid_cap;
    struct tmpl_node *decl[2]; /* pipe: declared or assigned variables */
    size_t decl_count;
    bool is_assign;
    struct tmpl_node *pipe;        /* action, if, range, with, template; chain: its operand */
    struct tmpl_node *body, *other; /* if, range, with */
    bool truth;
    struct {
        bool is_int, is_uint, is_float, is_complex;
        int64_t i;
        uint64_t u;
        double f, im;
    } number;
};

struct tmpl_tree {
    struct tmpl_str name;
    struct tmpl_node *root;
};

struct tsn_template {
    struct tsn_arena arena;
    char *name; /* "__alert_" + the alert's */
    char *text; /* with the prefix of variables */
    size_t len;
    struct tmpl_tree *trees; /* trees[0] is the template itself */
    size_t tree_count;
    const char **label_uses;
    size_t label_use_count;
    bool uses_query;
};

/* Fills tmpl->trees from tmpl->text; false with *error. */
bool tmpl_parse(struct tsn_template *tmpl, struct tsn_error *error);
void tmpl_node_print(struct tsn_buf *out, const struct tmpl_node *node);
/* A number or character constant; false with *error. */
bool tmpl_number_parse(struct tmpl_node *node, enum tmpl_token_type type, struct tsn_error *error);
/* Go's strconv.Unquote of "…" or `…`; false if malformed. */
bool tmpl_unquote(struct tsn_arena *arena, struct tmpl_str quoted, struct tmpl_str *out);

/* ---- values ------------------------------------------------------------------------------- */

enum tmpl_kind {
    VAL_INVALID, /* nil, or nothing */
    VAL_MISSING, /* no value came down the pipeline */
    VAL_BOOL, VAL_INT, VAL_UINT8, VAL_FLOAT, VAL_COMPLEX, VAL_STRING, VAL_HTML, VAL_LABELS, VAL_ARGS,
    VAL_QUERY, VAL_SAMPLE, VAL_TIME, VAL_DURATION, VAL_DATA
};

struct tmpl_value {
    enum tmpl_kind kind;
    const char *type; /* VAL_INT, VAL_TIME, VAL_DURATION: the Go type where it is not the usual one */
    union {
        bool boolean;
        int64_t integer; /* also uint8, time (ms), duration (ns) */
        double real;
        struct { double re, im; } complex;
        struct tmpl_str str;
        const struct tsn_labels *labels; /* NULL: an empty map */
        struct { const struct tmpl_value *items; size_t len; } args;
        struct { const struct tsn_vector_sample **items; size_t len; } query;
        const struct tsn_vector_sample *sample; /* NULL: nil */
        const struct tsn_template_env *data;
    } u;
};

struct tmpl_run {
    const struct tsn_template *tmpl;
    const struct tsn_template_env *env;
    struct tsn_arena arena;
    struct tsn_buf *out;
    size_t out_start;
    const struct tmpl_tree *tree;
    const struct tmpl_node *node; /* for errors */
    TSN_VEC(struct tmpl_variable) vars;
    size_t frame; /* vars below it belong to callers */
    TSN_VEC(struct tsn_result *) results; /* of query, released at the end */
    uint32_t depth, steps;
    struct tsn_error *error;
};
struct tmpl_variable {
    struct tmpl_str name;
    struct tmpl_value value;
};

/* Records "template: NAME:L:C: executing …: message"; returns false. */
bool tmpl_fail(struct tmpl_run *run, const char *fmt, ...) TSN_PRINTF(2, 3);

struct tmpl_value tmpl_string(struct tmpl_str text);
struct tmpl_value tmpl_cstring(const char *text);
struct tmpl_value tmpl_int(int64_t value);
struct tmpl_value tmpl_float(double value);
struct tmpl_value tmpl_bool(bool value);
/* The bytes of a buffer, moved into the run's arena; the buffer is released. */
struct tmpl_str tmpl_keep(struct tmpl_run *run, struct tsn_buf *buf);
const char *tmpl_type_name(const struct tmpl_value *value);
bool tmpl_truth(const struct tmpl_value *value);
bool tmpl_is_text(const struct tmpl_value *value);
/* What the arguments of `args` are called: arg0, arg1, … in Go's sorted order of keys. */
void tmpl_args_key(char out[32], size_t index);
size_t tmpl_args_sorted(size_t count, size_t position);

/* ---- printing ----------------------------------------------------------------------------- */

/* As fmt.Fprint prints one value of an action. */
void tmpl_print_action(struct tsn_buf *out, const struct tmpl_value *value);
void tmpl_sprint(struct tsn_buf *out, const struct tmpl_value *args, size_t count);
void tmpl_sprintln(struct tsn_buf *out, const struct tmpl_value *args, size_t count);
void tmpl_sprintf(struct tsn_buf *out, struct tmpl_str format, const struct tmpl_value *args, size_t count);

/* ---- text --------------------------------------------------------------------------------- */

void tmpl_quote(struct tsn_buf *out, struct tmpl_str text, char quote, bool ascii_only);
bool tmpl_is_print(uint32_t c);
bool tmpl_is_letter(uint32_t c); /* letter or digit, as identifiers have them */
void tmpl_upper(struct tsn_buf *out, struct tmpl_str text);
void tmpl_lower(struct tsn_buf *out, struct tmpl_str text);
void tmpl_title(struct tsn_buf *out, struct tmpl_str text);
void tmpl_html(struct tsn_buf *out, struct tmpl_str text);
void tmpl_js(struct tsn_buf *out, struct tmpl_str text);
void tmpl_query_escape(struct tsn_buf *out, struct tmpl_str text);
void tmpl_strip_port(struct tsn_buf *out, struct tmpl_str text);
void tmpl_strip_domain(struct tsn_buf *out, struct tmpl_str text);
void tmpl_duration_text(struct tsn_buf *out, int64_t ns);
void tmpl_time_text(struct tsn_buf *out, int64_t ms);
/* Go's time.Format. */
void tmpl_time_format(struct tsn_buf *out, int64_t ms, struct tmpl_str layout);
struct tmpl_civil {
    int64_t year;
    int month, day, hour, minute, second, milli, weekday, yearday;
};
struct tmpl_civil tmpl_civil_of(int64_t ms);
const char *tmpl_month_name(int month);
const char *tmpl_weekday_name(int weekday);

/* ---- functions ---------------------------------------------------------------------------- */

enum tmpl_param { PARAM_ANY, PARAM_STRING, PARAM_QUERY, PARAM_SAMPLE, PARAM_INT };
/* One call: its arguments, already checked against `params`, and where the answer or the error text (of the arena) goes. */
struct tmpl_call {
    struct tmpl_run *run;
    const struct tmpl_value *args;
    size_t count;
    struct tmpl_value *out;
    const char *message;
};
/* The text of the call's error. Returns false, so that a function can return it. */
TSN_PRINTF(2, 3)
bool tmpl_refuse(struct tmpl_call *c, const char *fmt, ...);
struct tmpl_function {
    const char *name;
    const char *params; /* one letter each: a any, s string, q query, p sample; a trailing '*' repeats the last */
    bool (*call)(struct tmpl_call *c); /* false: an error, its text through tmpl_refuse */
};
extern const struct tmpl_function tmpl_builtins[];
extern const struct tmpl_function tmpl_functions[];
const struct tmpl_function *tmpl_function_find(struct tmpl_str name);
/* A method of time or duration; NULL if the type has none of that name. */
const struct tmpl_function *tmpl_method_find(const struct tmpl_value *receiver, struct tmpl_str name);

bool tmpl_execute(struct tmpl_run *run);

#endif
