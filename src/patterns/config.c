/*
 * config: pinned masks, pinned templates and secret keys. See tocsin/patterns.h.
 *
 * Globs and pins match without backtracking over more than the last star, so a hostile line costs at most
 * len × pattern, both bounded.
 */
#include "patterns/config.h"

#include "base/re2_shim.h"
#include "patterns/chars.h"

#include <string.h>

struct tsn_pattern_config *tsn_pattern_config_new(void)
{
    struct tsn_pattern_config *config = tsn_calloc(1, sizeof *config);

    config->secret_kinds = TSN_SECRET_ALL;
    return config;
}

void tsn_pattern_config_free(struct tsn_pattern_config **config)
{
    struct tsn_pattern_config *c = *config;

    if (!c)
        return;
    for (size_t i = 0; i < c->mask_count; i++)
        tsn_free(c->masks[i]);
    for (size_t i = 0; i < c->pin_count; i++)
        tsn_free(c->pins[i]);
    for (size_t i = 0; i < c->secret_count; i++)
        tsn_free(c->secrets[i]);
    for (size_t i = 0; i < c->regex_count; i++)
        tsn_re2_free(c->regexes[i]);
    tsn_free(c);
    *config = NULL;
}

static enum tsn_err add(char **list, size_t *count, size_t max, const char *what, const char *text,
                        struct tsn_error *error)
{
    if (!*text)
        return tsn_error_set(error, TSN_ERR_INVALID, "%s: empty", what);
    if (*count == max)
        return tsn_error_set(error, TSN_ERR_LIMIT, "%s: more than %zu", what, max);
    list[(*count)++] = tsn_strdup(text);
    return TSN_OK;
}

enum tsn_err tsn_pattern_config_mask(struct tsn_pattern_config *config, const char *glob, struct tsn_error *error)
{
    return add(config->masks, &config->mask_count, TSN_PATTERN_MASKS_MAX, "log mask", glob, error);
}

enum tsn_err tsn_pattern_config_pin(struct tsn_pattern_config *config, const char *text, struct tsn_error *error)
{
    return add(config->pins, &config->pin_count, TSN_PATTERN_PINS_MAX, "pinned log template", text, error);
}

enum tsn_err tsn_pattern_config_secret(struct tsn_pattern_config *config, const char *key, struct tsn_error *error)
{
    enum tsn_err err = add(config->secrets, &config->secret_count, TSN_PATTERN_SECRETS_MAX, "secret key", key, error);

    if (err == TSN_OK)
        for (char *c = config->secrets[config->secret_count - 1]; *c; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c |= 0x20;
    return err;
}

enum tsn_err tsn_pattern_config_secret_regex(struct tsn_pattern_config *config, const char *regex, struct tsn_error *error)
{
    char reason[200];
    struct tsn_re2 *re;

    if (!*regex)
        return tsn_error_set(error, TSN_ERR_INVALID, "secret pattern: empty");
    if (config->regex_count == TSN_PATTERN_REGEXES_MAX)
        return tsn_error_set(error, TSN_ERR_LIMIT, "secret pattern: more than %d", TSN_PATTERN_REGEXES_MAX);
    re = tsn_re2_new(regex, strlen(regex), true, reason, sizeof reason);
    if (!re)
        return tsn_error_set(error, TSN_ERR_INVALID, "secret pattern '%.100s': %s", regex, reason);
    config->regexes[config->regex_count++] = re;
    return TSN_OK;
}

void tsn_pattern_config_secret_kinds(struct tsn_pattern_config *config, unsigned kinds)
{
    config->secret_kinds = kinds;
}

static bool glob_match(const char *glob, const char *text, size_t len)
{
    const char *star = NULL, *end = text + len, *retry = NULL;

    while (text < end) {
        if (*glob == '*') {
            star = glob++;
            retry = text;
        } else if (*glob && (*glob == '?' || *glob == *text || (*glob == '#' && *text >= '0' && *text <= '9'))) {
            glob++;
            text++;
        } else if (star) {
            glob = star + 1;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*glob == '*')
        glob++;
    return !*glob;
}

bool tsn_pattern_masked(const struct tsn_pattern_config *config, const char *word, size_t len)
{
    for (size_t i = 0; i < config->mask_count; i++)
        if (glob_match(config->masks[i], word, len))
            return true;
    return false;
}

/* As a glob whose star is spelt <*>: each literal piece must follow the one before, leftmost first, the first
 * at the start and the last at the end. */
static bool pin_match(const char *pin, const char *line, size_t len)
{
    const char *end = line + len, *piece = pin, *var = strstr(pin, TSN_VAR);
    size_t n = var ? (size_t)(var - piece) : strlen(piece);

    if (len < n || memcmp(line, piece, n) != 0)
        return false;
    line += n;
    if (!var)
        return line == end;
    for (;;) {
        const char *found;

        piece = var + TSN_VAR_LEN;
        var = strstr(piece, TSN_VAR);
        n = var ? (size_t)(var - piece) : strlen(piece);
        if (!var)
            return (size_t)(end - line) >= n && memcmp(end - n, piece, n) == 0;
        found = n ? memmem(line, (size_t)(end - line), piece, n) : line;
        if (!found)
            return false;
        line = found + n;
    }
}

const char *tsn_pattern_pinned(const struct tsn_pattern_config *config, const char *line, size_t len)
{
    for (size_t i = 0; i < config->pin_count; i++)
        if (pin_match(config->pins[i], line, len))
            return config->pins[i];
    return NULL;
}

/* Names of secrets, squeezed (lower case, no _ - .); a key whose squeezed form ends in one is secret. */
#define NAME(text) { text, sizeof(text) - 1 }
static const struct {
    const char *text;
    size_t len;
} secret_names[] = {
    NAME("password"),  NAME("passwd"),     NAME("pwd"),       NAME("passphrase"), NAME("secret"),        NAME("token"),
    NAME("apikey"),    NAME("accesskey"),  NAME("authkey"),   NAME("privatekey"), NAME("secretkey"),     NAME("signingkey"),
    NAME("authorization"), NAME("credential"), NAME("credentials"), NAME("cookie"), NAME("sessionid"), NAME("signature"),
    NAME("clientsecret"),
};
#undef NAME
/* The last letters of all those names. */
#define LAST_LETTERS "detnyls"

static bool secret_name(const char *key, size_t len)
{
    char squeezed[64];
    size_t n = 0;

    if (len > sizeof squeezed) { /* the end decides */
        key += len - sizeof squeezed;
        len = sizeof squeezed;
    }
    for (size_t i = 0; i < len; i++)
        if (key[i] != '_' && key[i] != '-' && key[i] != '.')
            squeezed[n++] = key[i] >= 'A' && key[i] <= 'Z' ? (char)(key[i] | 0x20) : key[i];
    if (n == 0 || !memchr(LAST_LETTERS, squeezed[n - 1], sizeof LAST_LETTERS - 1))
        return false;
    for (size_t i = 0; i < TSN_ARRAY_LEN(secret_names); i++)
        if (n >= secret_names[i].len && memcmp(squeezed + n - secret_names[i].len, secret_names[i].text, secret_names[i].len) == 0)
            return true;
    return false;
}

bool tsn_pattern_secret_key(const struct tsn_pattern_config *config, const char *key, size_t len)
{
    if (len < 3)
        return false;
    if (secret_name(key, len))
        return true;
    for (size_t i = 0; config && i < config->secret_count; i++)
        if (strlen(config->secrets[i]) == len && strncasecmp(config->secrets[i], key, len) == 0)
            return true;
    return false;
}
