/*
 * regex: label matchers' regular expressions, anchored, in linear time; and their users' expansion.
 *
 * Most patterns in rules are not patterns: a literal, a literal and `.*` or `.+`, or literals with
 * `|` between them. Those are recognised from the text and never reach the engine:
 *
 *     literal           abc            compare
 *     prefix            abc.*  abc.+   compare the head
 *     alternation       a|b|c          compare each (in a group too: (a|b|c), (?:a|b))
 *     anything          .*  .+         length alone
 *
 * All else is compiled by RE2 (re2_shim.h). A fast form keeps its pattern and compiles it on the
 * first use that needs groups (tsn_regex_expand). Limits: 32 groups are expanded, pattern ≤ 64 KiB.
 */
#include "base/re2_shim.h"
#include "tocsin/promql.h"

#define GROUPS_MAX 32
#define PATTERN_MAX 65536

enum form { FORM_LITERAL, FORM_PREFIX, FORM_ALTERNATION, FORM_ENGINE };

struct piece {
    const char *text; /* into pattern */
    size_t len;
};

struct tsn_regex {
    enum form form;
    bool need_one; /* PREFIX: at least one byte after it (.+) */
    char *pattern;
    size_t len;
    TSN_VEC(struct piece) pieces;
    struct tsn_re2 *engine; /* NULL for fast forms */
};

static bool is_literal(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\0' || strchr("\\.+*?()|[]{}^$", text[i]))
            return false;
    return tsn_utf8_valid(text, len);
}

static bool split_alternation(struct tsn_regex *re, const char *text, size_t len)
{
    size_t start = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] != '|')
            continue;
        if (!is_literal(text + start, i - start))
            return false;
        tsn_vec_push(&re->pieces, ((struct piece){ text + start, i - start }));
        start = i + 1;
    }
    return true;
}

/* Fills a fast form; false if the pattern needs the engine. */
static bool recognise(struct tsn_regex *re)
{
    const char *text = re->pattern;
    size_t len = re->len;

    if (len >= 2 && text[len - 2] == '.' && (text[len - 1] == '*' || text[len - 1] == '+') &&
        is_literal(text, len - 2)) {
        re->form = FORM_PREFIX;
        re->need_one = text[len - 1] == '+';
        tsn_vec_push(&re->pieces, ((struct piece){ text, len - 2 }));
        return true;
    }
    if (len >= 2 && text[0] == '(' && text[len - 1] == ')') {
        size_t skip = len >= 4 && text[1] == '?' && text[2] == ':' ? 3 : 1;

        text += skip;
        len -= skip + 1;
    }
    re->form = FORM_ALTERNATION;
    if (!split_alternation(re, text, len))
        return false;
    if (re->pieces.len == 1)
        re->form = FORM_LITERAL;
    return true;
}

static struct tsn_re2 *compile(const char *pattern, size_t len, bool dot_nl, struct tsn_error *error)
{
    char why[256];
    struct tsn_re2 *engine = tsn_re2_new(pattern, len, dot_nl, why, sizeof why);

    if (!engine)
        tsn_error_set(error, TSN_ERR_INVALID, "error parsing regexp: %s", why);
    return engine;
}

struct tsn_regex *tsn_regex_new(const char *pattern, size_t len, struct tsn_error *error)
{
    struct tsn_regex *re;

    if (len > PATTERN_MAX) {
        tsn_error_set(error, TSN_ERR_LIMIT, "regular expression longer than %d bytes", PATTERN_MAX);
        return NULL;
    }
    re = tsn_calloc(1, sizeof *re);
    re->pattern = tsn_strndup(pattern, len);
    re->len = len;
    if (recognise(re))
        return re;
    tsn_vec_clear(&re->pieces);
    re->form = FORM_ENGINE;
    re->engine = compile(re->pattern, len, true, error);
    if (!re->engine)
        tsn_regex_free(&re);
    return re;
}

void tsn_regex_free(struct tsn_regex **regex)
{
    struct tsn_regex *re = *regex;

    if (!re)
        return;
    if (re->engine)
        tsn_re2_free(re->engine);
    tsn_vec_release(&re->pieces);
    tsn_free(re->pattern);
    tsn_free(re);
    *regex = NULL;
}

bool tsn_regex_matches(const struct tsn_regex *re, const char *text, size_t len)
{
    const struct piece *p = re->pieces.items;

    switch (re->form) {
    case FORM_PREFIX:
        return len >= p->len + re->need_one && memcmp(text, p->text, p->len) == 0;
    case FORM_LITERAL:
    case FORM_ALTERNATION:
        for (size_t i = 0; i < re->pieces.len; i++)
            if (p[i].len == len && memcmp(p[i].text, text, len) == 0)
                return true;
        return false;
    case FORM_ENGINE: break;
    }
    return tsn_re2_full_match(re->engine, text, len);
}

/* ---- expansion, by Go's rules --------------------------------------------------------------- */

static bool is_name(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The name after a dollar: {name} or the longest run of name characters. Returns the bytes it
 * takes after the dollar, 0 if malformed. */
static size_t parse_reference(const char *text, size_t len, const char **name, size_t *name_len)
{
    bool brace = len && text[0] == '{';
    size_t i = brace;

    while (i < len && is_name(text[i]))
        i++;
    *name = text + brace;
    *name_len = i - brace;
    if (!*name_len || (brace && (i >= len || text[i] != '}')))
        return 0;
    return i + brace;
}

/* A number names a group by index (no leading zero), anything else by name; -1: no such group. */
static int group_of(const struct tsn_re2 *engine, const char *name, size_t len)
{
    int index = 0;

    for (size_t i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return tsn_re2_group_index(engine, name, len);
        if (index >= 100000000)
            return tsn_re2_group_index(engine, name, len);
        index = index * 10 + (name[i] - '0');
    }
    if (name[0] == '0' && len > 1)
        return tsn_re2_group_index(engine, name, len);
    return index;
}

static void expand(const struct tsn_re2 *engine, const char *text, const long *groups, int group_count,
                   const char *replacement, size_t len, struct tsn_buf *out)
{
    size_t i = 0;

    while (i < len) {
        const char *name, *dollar = memchr(replacement + i, '$', len - i);
        size_t name_len, plain = dollar ? (size_t)(dollar - replacement) - i : len - i, taken;
        int group;

        tsn_buf_append(out, replacement + i, plain);
        i += plain;
        if (!dollar)
            return;
        i++;
        if (i < len && replacement[i] == '$') {
            tsn_buf_putc(out, '$');
            i++;
            continue;
        }
        taken = parse_reference(replacement + i, len - i, &name, &name_len);
        if (!taken) {
            tsn_buf_putc(out, '$');
            continue;
        }
        i += taken;
        group = group_of(engine, name, name_len);
        if (group >= 0 && group < group_count && groups[2 * group] >= 0)
            tsn_buf_append(out, text + groups[2 * group], (size_t)(groups[2 * group + 1] - groups[2 * group]));
    }
}

static int capped_groups(const struct tsn_re2 *engine)
{
    int count = tsn_re2_group_count(engine);

    return count < GROUPS_MAX ? count : GROUPS_MAX;
}

bool tsn_regex_expand(const struct tsn_regex *re, const char *text, size_t len, const char *replacement,
                      size_t replacement_len, struct tsn_buf *out)
{
    struct tsn_re2 *engine = re->engine;
    long groups[2 * GROUPS_MAX];
    bool matched;

    if (!tsn_regex_matches(re, text, len))
        return false;
    if (!memchr(replacement, '$', replacement_len)) {
        tsn_buf_append(out, replacement, replacement_len);
        return true;
    }
    /* A fast form is a valid pattern, so this compiles; it is not kept, a query may be shared. */
    if (!engine)
        engine = compile(re->pattern, re->len, true, NULL);
    TSN_ASSERT(engine);
    matched = tsn_re2_match(engine, text, len, 0, true, groups, capped_groups(engine));
    if (matched)
        expand(engine, text, groups, capped_groups(engine), replacement, replacement_len, out);
    if (engine != re->engine)
        tsn_re2_free(engine);
    return matched;
}

enum tsn_err tsn_regex_replace_all(const char *pattern, const char *replacement, const char *text,
                                   struct tsn_buf *out, struct tsn_error *error)
{
    struct tsn_re2 *engine = compile(pattern, strlen(pattern), false, error);
    size_t len = strlen(text), at = 0, copied = 0;
    long groups[2 * GROUPS_MAX], last_end = -1;

    if (!engine)
        return TSN_ERR_INVALID;
    while (at <= len && tsn_re2_match(engine, text, len, at, false, groups, capped_groups(engine))) {
        tsn_buf_append(out, text + copied, (size_t)groups[0] - copied);
        copied = (size_t)groups[1];
        /* An empty match right after a match is not one, as Go counts. */
        if (groups[1] > groups[0] || groups[0] != last_end)
            expand(engine, text, groups, capped_groups(engine), replacement, strlen(replacement), out);
        last_end = groups[1];
        at = copied;
        if (groups[1] == groups[0]) {
            uint32_t code;
            size_t width = at < len ? tsn_utf8_decode(text + at, len - at, &code) : 1;

            at += width ? width : 1;
        }
    }
    if (copied < len)
        tsn_buf_append(out, text + copied, len - copied);
    tsn_re2_free(engine);
    return TSN_OK;
}

enum tsn_err tsn_regex_search(const char *pattern, const char *text, bool *found, struct tsn_error *error)
{
    struct tsn_re2 *engine = compile(pattern, strlen(pattern), false, error);
    long whole[2];

    if (!engine)
        return TSN_ERR_INVALID;
    *found = tsn_re2_match(engine, text, strlen(text), 0, false, whole, 1);
    tsn_re2_free(engine);
    return TSN_OK;
}

/* ---- matchers ------------------------------------------------------------------------------ */

bool tsn_matcher_matches(const struct tsn_matcher *m, const char *text, size_t len)
{
    if (!text) {
        text = "";
        len = 0;
    }
    switch (m->op) {
    case TSN_MATCH_EQ: return len == m->value_len && memcmp(text, m->value, len) == 0;
    case TSN_MATCH_NE: return len != m->value_len || memcmp(text, m->value, len) != 0;
    case TSN_MATCH_RE: return tsn_regex_matches(m->regex, text, len);
    case TSN_MATCH_NRE: return !tsn_regex_matches(m->regex, text, len);
    }
    return false;
}

bool tsn_matchers_match(const struct tsn_matcher *matchers, size_t count, const struct tsn_labels *labels)
{
    for (size_t i = 0; i < count; i++) {
        const struct tsn_label *l = tsn_labels_find(labels, matchers[i].name, matchers[i].name_len);

        if (!tsn_matcher_matches(&matchers[i], l ? l->value : NULL, l ? l->value_len : 0))
            return false;
    }
    return true;
}
