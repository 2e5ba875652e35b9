/*
 * config_walk: a YAML document under option tables.
 *
 * libyaml builds a tree whose nodes know line and column; this walks it by tables, so that an
 * error always names file:line:col and an unknown key gets a hint. Before the tree is built, a first pass
 * over the events bounds the depth and refuses a second document. Aliases are followed, which cannot
 * grow without bound because the tables' depth and the lists are bounded.
 */
#include "config/config_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void tsn_config_fail(struct tsn_config_walk *w, const yaml_node_t *at, const char *fmt, ...)
{
    char text[400];
    va_list args;

    if (w->failed)
        return;
    w->failed = true;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (at)
        tsn_error_set(w->error, TSN_ERR_INVALID, "%s:%zu:%zu: %s", w->file, at->start_mark.line + 1,
                      at->start_mark.column + 1, text);
    else
        tsn_error_set(w->error, TSN_ERR_INVALID, "%s: %s", w->file, text);
}

/* False when the text is no YAML, too deep, or more than one document. */
static bool scan(struct tsn_config_walk *w, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int depth = 0, documents = 0;
    bool done = false;

    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (!done && !w->failed) {
        if (!yaml_parser_parse(&parser, &event)) {
            w->failed = true;
            tsn_error_set(w->error, TSN_ERR_INVALID, "%s:%zu:%zu: %s", w->file, parser.problem_mark.line + 1,
                          parser.problem_mark.column + 1, parser.problem ? parser.problem : "not YAML");
            break;
        }
        depth += event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT;
        depth -= event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        done = event.type == YAML_STREAM_END_EVENT;
        if (depth > TSN_YAML_DEPTH)
            tsn_config_fail(w, NULL, "line %zu: deeper than %d levels", event.start_mark.line + 1, TSN_YAML_DEPTH);
        else if (documents > 1)
            tsn_config_fail(w, NULL, "line %zu: a second document; one is read", event.start_mark.line + 1);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return !w->failed;
}

bool tsn_config_walk_open(struct tsn_config_walk *w, const char *text, size_t len)
{
    yaml_parser_t parser;
    bool loaded;

    memset(&w->doc, 0, sizeof w->doc);
    if (len > TSN_CONFIG_BYTES) {
        tsn_error_set(w->error, TSN_ERR_LIMIT, "%s: larger than %u bytes", w->file, TSN_CONFIG_BYTES);
        return false;
    }
    if (!scan(w, text, len) || !yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    loaded = yaml_parser_load(&parser, &w->doc);
    if (!loaded)
        tsn_error_set(w->error, TSN_ERR_INVALID, "%s:%zu:%zu: %s", w->file, parser.problem_mark.line + 1,
                      parser.problem_mark.column + 1, parser.problem ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    return loaded;
}

bool tsn_config_null(const yaml_node_t *node)
{
    const char *text;

    if (!node)
        return true;
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    text = (const char *)node->data.scalar.value;
    return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* ---- ${NAME} ------------------------------------------------------------------------------ */

/* Replaces one "${…}" at *pos; false after an error. */
static bool expand_one(struct tsn_config_walk *w, const yaml_node_t *at, const char *text, size_t *pos,
                       struct tsn_buf *out)
{
    const char *begin = text + *pos + 2, *end = strchr(begin, '}'), *fallback, *value;
    char name[128];
    size_t len;

    if (!end) {
        tsn_config_fail(w, at, "'${' without '}' (write '$${' for the characters themselves)");
        return false;
    }
    fallback = strstr(begin, ":-");
    if (fallback && fallback > end)
        fallback = NULL;
    len = (size_t)((fallback ? fallback : end) - begin);
    if (!len || len >= sizeof name) {
        tsn_config_fail(w, at, "'${…}' needs the name of an environment variable");
        return false;
    }
    memcpy(name, begin, len);
    name[len] = '\0';
    value = w->io && w->io->get_env ? w->io->get_env(w->io->arg, name) : NULL;
    if (value)
        tsn_buf_puts(out, value);
    else if (fallback)
        tsn_buf_append(out, fallback + 2, (size_t)(end - fallback - 2));
    else
        tsn_config_fail(w, at, "environment variable %s is not set (write ${%s:-text} for a default)", name, name);
    *pos = (size_t)(end - text) + 1;
    return !w->failed;
}

char *tsn_config_scalar(struct tsn_config_walk *w, const yaml_node_t *node, const char *what)
{
    struct tsn_buf out = TSN_BUF_INIT;
    const char *text;
    size_t len, pos = 0;

    if (!node || node->type != YAML_SCALAR_NODE) {
        tsn_config_fail(w, node, "%s takes one value, not a %s", what,
                        node && node->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
        return NULL;
    }
    text = (const char *)node->data.scalar.value;
    len = node->data.scalar.length;
    if (memchr(text, 0, len)) {
        tsn_config_fail(w, node, "%s holds a NUL byte", what);
        return NULL;
    }
    while (pos < len && !w->failed) {
        if (w->io && strncmp(text + pos, "$${", 3) == 0) {
            tsn_buf_puts(&out, "${");
            pos += 3;
        } else if (w->io && strncmp(text + pos, "${", 2) == 0) {
            expand_one(w, node, text, &pos, &out);
        } else {
            tsn_buf_putc(&out, text[pos++]);
        }
    }
    if (!w->failed)
        return tsn_buf_take(&out, &len);
    tsn_buf_release(&out);
    return NULL;
}

/* ---- walking ------------------------------------------------------------------------------ */

void tsn_config_each_pair(struct tsn_config_walk *w, yaml_node_t *node, const char *what, tsn_config_visit *visit,
                          void *arg)
{
    struct tsn_map seen;

    if (tsn_config_null(node) || w->failed)
        return;
    if (node->type != YAML_MAPPING_NODE) {
        tsn_config_fail(w, node, "%s must be a mapping (key: value)", what);
        return;
    }
    tsn_map_init(&seen);
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top && !w->failed; p++) {
        yaml_node_t *key = yaml_document_get_node(&w->doc, p->key);
        bool created;

        if (key->type != YAML_SCALAR_NODE || memchr(key->data.scalar.value, 0, key->data.scalar.length)) {
            tsn_config_fail(w, key, "a key in %s must be plain text", what);
            break;
        }
        tsn_map_upsert(&seen, key->data.scalar.value, key->data.scalar.length, &created);
        if (!created)
            tsn_config_fail(w, key, "'%s' stands twice in %s", key->data.scalar.value, what);
        else
            visit(w, (const char *)key->data.scalar.value, key, yaml_document_get_node(&w->doc, p->value), arg);
    }
    tsn_map_release(&seen);
}

void tsn_config_each_item(struct tsn_config_walk *w, yaml_node_t *node, const char *what, size_t max,
                          tsn_config_visit *visit, void *arg)
{
    if (tsn_config_null(node) || w->failed)
        return;
    if (node->type != YAML_SEQUENCE_NODE) {
        tsn_config_fail(w, node, "%s must be a list", what);
        return;
    }
    if ((size_t)(node->data.sequence.items.top - node->data.sequence.items.start) > max) {
        tsn_config_fail(w, node, "%s has more than %zu items", what, max);
        return;
    }
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top && !w->failed; i++) {
        yaml_node_t *item = yaml_document_get_node(&w->doc, *i);

        visit(w, NULL, item, item, arg);
    }
}

/* ---- hints -------------------------------------------------------------------------------- */

/* Levenshtein distance, capped; words of at most 63 bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], la = strlen(a), lb = strlen(b);

    if (la > 63 || lb > 63)
        return 64;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t up = row[j], best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));

            if (up + 1 < best)
                best = up + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[lb];
}

const char *tsn_config_nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* a third of the letters may be wrong, and one more */

    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, names[i]);

        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

static void unknown_key(struct tsn_config_walk *w, const yaml_node_t *at, const struct tsn_config_section *table,
                        const char *key)
{
    const char *names[64], *near;
    size_t count = 0;

    for (size_t i = 0; i < table->count && count < TSN_ARRAY_LEN(names); i++)
        names[count++] = table->options[i].key;
    near = tsn_config_nearest(key, names, count);
    if (near) {
        tsn_config_fail(w, at, "no key '%s' in %s; did you mean '%s'?", key, table->name, near);
        return;
    }
    for (size_t s = 0; s < tsn_config_section_count; s++)
        for (size_t i = 0; i < tsn_config_sections[s].count; i++)
            if (strcmp(tsn_config_sections[s].options[i].key, key) == 0) {
                tsn_config_fail(w, at, "no key '%s' in %s; it belongs to '%s'", key, table->name,
                                tsn_config_sections[s].name);
                return;
            }
    tsn_config_fail(w, at, "no key '%s' in %s; it knows: %s%s%s%s%s%s", key, table->name, count ? names[0] : "none",
                    count > 1 ? ", " : "", count > 1 ? names[1] : "", count > 2 ? ", " : "", count > 2 ? names[2] : "",
                    count > 3 ? ", …" : "");
}

/* ---- tables ------------------------------------------------------------------------------- */

struct table_visit {
    const struct tsn_config_section *table;
    void *base;
    tsn_config_other *other;
    void *arg;
};

static const struct tsn_config_option *find_option(const struct tsn_config_section *table, const char *key, size_t len)
{
    for (size_t i = 0; i < table->count; i++)
        if (strlen(table->options[i].key) == len && memcmp(table->options[i].key, key, len) == 0)
            return &table->options[i];
    return NULL;
}

static void add_text(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    char *text = tsn_config_scalar(w, value, "an item of the list");

    TSN_UNUSED(key);
    TSN_UNUSED(at);
    if (text)
        tsn_texts_add(arg, text, strlen(text));
    tsn_free(text);
}

static void add_pair(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    char *text = tsn_config_scalar(w, value, key);

    if (text && ((struct tsn_pair_texts *)arg)->len >= 64)
        tsn_config_fail(w, at, "more than 64 entries");
    else if (text)
        tsn_pair_texts_add(arg, key, text);
    tsn_free(text);
}

char *tsn_config_secret_file(struct tsn_config_walk *w, const yaml_node_t *node, const char *what)
{
    struct tsn_buf full = TSN_BUF_INIT;
    struct tsn_error error = { 0 };
    char *path = tsn_config_scalar(w, node, what), *text = NULL;
    size_t len = 0;

    if (!path)
        return NULL;
    tsn_buf_printf(&full, "%s%s%s", *path == '/' ? "" : w->base_dir, *path == '/' ? "" : "/", path);
    if (w->io && w->io->read_file)
        text = w->io->read_file(w->io->arg, tsn_buf_str(&full), 65536, &len, &error);
    if (!text)
        tsn_config_fail(w, node, "%s: cannot read the file: %s", what, error.message[0] ? error.message : "no files here");
    while (text && len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = '\0';
    tsn_buf_release(&full);
    tsn_free(path);
    return text;
}

static void read_value(struct tsn_config_walk *w, const yaml_node_t *at, const struct tsn_config_option *o, void *base,
                       yaml_node_t *value, bool from_file)
{
    void *field = (char *)base + o->offset;
    char *text;

    if (o->kind == TSN_CK_TEXTS) {
        tsn_texts_release(field);
        if (value->type == YAML_SCALAR_NODE && !tsn_config_null(value))
            add_text(w, NULL, at, value, field);
        else
            tsn_config_each_item(w, value, o->key, TSN_CONFIG_LIST, add_text, field);
        return;
    }
    if (o->kind == TSN_CK_PAIRS) {
        tsn_pair_texts_release(field);
        tsn_config_each_pair(w, value, o->key, add_pair, field);
        return;
    }
    if (tsn_config_null(value)) {
        tsn_config_fail(w, at, "%s needs a value", o->key);
        return;
    }
    text = from_file ? tsn_config_secret_file(w, value, o->key) : tsn_config_scalar(w, value, o->key);
    if (text)
        tsn_config_store(w, value, o, base, text);
    tsn_free(text);
}

static void table_pair(struct tsn_config_walk *w, const char *key, const yaml_node_t *at, yaml_node_t *value, void *arg)
{
    struct table_visit *v = arg;
    size_t len = strlen(key);
    const struct tsn_config_option *o = find_option(v->table, key, len);
    bool from_file = false;

    if (!o && len > 5 && strcmp(key + len - 5, "_file") == 0) {
        o = find_option(v->table, key, len - 5);
        from_file = o && o->kind == TSN_CK_SECRET;
        o = from_file ? o : NULL;
    }
    if (o)
        read_value(w, at, o, v->base, value, from_file);
    else if (!v->other || !v->other(w, key, value, v->arg))
        unknown_key(w, at, v->table, key);
}

void tsn_config_read_table(struct tsn_config_walk *w, yaml_node_t *node, const struct tsn_config_section *table,
                           void *base, tsn_config_other *other, void *arg)
{
    struct table_visit v = { table, base, other, arg };

    tsn_config_each_pair(w, node, table->name, table_pair, &v);
}
