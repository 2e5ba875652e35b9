/*
 * config_value: one value of an option table, from text and back; defaults and release by table.
 *
 * A default is the text one would write, read by the same function as the file's, so the help text, the
 * README's table and the program cannot disagree.
 */
#include "config/config_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void tsn_pair_texts_add(struct tsn_pair_texts *pairs, const char *name, const char *value)
{
    struct tsn_pair_text pair = { tsn_strdup(name), tsn_strdup(value) };

    tsn_vec_push(pairs, pair);
}

void tsn_pair_texts_release(struct tsn_pair_texts *pairs)
{
    for (size_t i = 0; i < pairs->len; i++) {
        tsn_free(pairs->items[i].name);
        tsn_free(pairs->items[i].value);
    }
    tsn_vec_release(pairs);
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[] = { "off", "on", "false", "true", "no", "yes" };

    for (size_t i = 0; i < TSN_ARRAY_LEN(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2;
            return true;
        }
    return false;
}

/* "256MB", "4MiB", "1048576": decimal and binary units. */
static bool parse_size(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t bytes;
    } units[] = { { "", 1 }, { "B", 1 }, { "kB", 1000 }, { "KB", 1000 }, { "MB", 1000000 }, { "GB", 1000000000 },
                  { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 } };
    size_t digits = strspn(text, "0123456789");
    int64_t number;

    if (!digits || !tsn_parse_i64(text, digits, &number))
        return false;
    for (size_t i = 0; i < TSN_ARRAY_LEN(units); i++)
        if (strcmp(text + digits, units[i].unit) == 0)
            return !__builtin_mul_overflow(number, units[i].bytes, out);
    return false;
}

/* The index of text among "a|b|c", -1 if it is none. */
static int choice_index(const char *choices, const char *text)
{
    size_t len = strlen(text);
    int index = 0;

    for (const char *c = choices;; c++, index++) {
        size_t n = strcspn(c, "|");

        if (n == len && memcmp(c, text, len) == 0)
            return index;
        c += n;
        if (!*c)
            return -1;
    }
}

static bool store_number(struct tsn_config_walk *w, const yaml_node_t *at, const struct tsn_config_option *o,
                         int64_t *field, const char *text)
{
    char low[TSN_DURATION_TEXT], high[TSN_DURATION_TEXT];
    const char *shape = o->kind == TSN_CK_DURATION ? "a duration such as 30s, 5m, 1h30m"
                      : o->kind == TSN_CK_SIZE     ? "a size such as 65536, 4MiB, 256MB"
                                                   : "a whole number";
    int64_t value = 0;
    bool ok = o->kind == TSN_CK_DURATION ? tsn_parse_duration(text, strlen(text), &value)
            : o->kind == TSN_CK_SIZE     ? parse_size(text, &value)
                                         : tsn_parse_i64(text, strlen(text), &value);

    if (!ok) {
        tsn_config_fail(w, at, "%s: '%s' is not %s", o->key, text, shape);
        return false;
    }
    if (value < o->min || value > o->max) {
        snprintf(low, sizeof low, "%" PRId64, o->min);
        snprintf(high, sizeof high, "%" PRId64, o->max);
        if (o->kind == TSN_CK_DURATION) {
            tsn_format_duration(low, o->min);
            tsn_format_duration(high, o->max);
        }
        tsn_config_fail(w, at, "%s: %s is outside %s … %s", o->key, text, low, high);
        return false;
    }
    *field = value;
    return true;
}

bool tsn_config_store(struct tsn_config_walk *w, const yaml_node_t *at, const struct tsn_config_option *o, void *base,
                      const char *text)
{
    void *field = (char *)base + o->offset;
    int index;

    switch (o->kind) {
    case TSN_CK_TEXT:
    case TSN_CK_SECRET:
        tsn_free(*(char **)field);
        *(char **)field = tsn_strdup(text);
        return true;
    case TSN_CK_BOOL:
        if (!parse_bool(text, field))
            tsn_config_fail(w, at, "%s: '%s' is neither on nor off", o->key, text);
        return !w->failed;
    case TSN_CK_CHOICE:
        index = choice_index(o->choices, text);
        if (index < 0)
            tsn_config_fail(w, at, "%s: '%s' is none of %s", o->key, text, o->choices);
        else
            *(int64_t *)field = index;
        return !w->failed;
    case TSN_CK_INT:
    case TSN_CK_DURATION:
    case TSN_CK_SIZE:
        return store_number(w, at, o, field, text);
    case TSN_CK_TEXTS:
    case TSN_CK_PAIRS:
    default:
        break;
    }
    return true;
}

void tsn_config_defaults(const struct tsn_config_section *table, void *base)
{
    struct tsn_error error = { 0 };
    struct tsn_config_walk w = { .file = table->name, .error = &error };

    for (size_t i = 0; i < table->count; i++) {
        const struct tsn_config_option *o = &table->options[i];

        if (o->kind == TSN_CK_TEXTS) {
            for (const char *item = o->fallback; *item; item += strspn(item, ",")) {
                size_t n = strcspn(item, ",");

                tsn_texts_add((struct tsn_texts *)(void *)((char *)base + o->offset), item, n);
                item += n;
            }
        } else if (o->kind != TSN_CK_PAIRS) {
            TSN_ASSERT(tsn_config_store(&w, NULL, o, base, o->fallback));
        }
    }
}

void tsn_config_clear(const struct tsn_config_section *table, void *base)
{
    for (size_t i = 0; i < table->count; i++) {
        void *field = (char *)base + table->options[i].offset;

        switch (table->options[i].kind) {
        case TSN_CK_TEXT:
        case TSN_CK_SECRET:
            tsn_free(*(char **)field);
            *(char **)field = NULL;
            break;
        case TSN_CK_TEXTS: tsn_texts_release(field); break;
        case TSN_CK_PAIRS: tsn_pair_texts_release(field); break;
        case TSN_CK_BOOL:
        case TSN_CK_INT:
        case TSN_CK_DURATION:
        case TSN_CK_SIZE:
        case TSN_CK_CHOICE:
        default: break;
        }
    }
}
