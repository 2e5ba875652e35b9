/*
 * read: section `logs` of the configuration file → a tsn_pattern_config.
 *
 * Whatever is wrong in it is found here, once, before a line is read; messages name the key and the value.
 */
#include "tocsin/config.h"
#include "tocsin/patterns.h"

#include <string.h>

typedef enum tsn_err add_function(struct tsn_pattern_config *config, const char *text, struct tsn_error *error);

static enum tsn_err add_all(struct tsn_pattern_config *config, const struct tsn_texts *texts, const char *key, add_function *add,
                            struct tsn_error *error)
{
    for (size_t i = 0; i < texts->len; i++) {
        enum tsn_err err = add(config, texts->items[i], error);

        if (err != TSN_OK) {
            tsn_error_prefix(error, "logs.%s", key);
            return err;
        }
    }
    return TSN_OK;
}

static enum tsn_err read_kinds(struct tsn_pattern_config *config, const struct tsn_texts *texts, struct tsn_error *error)
{
    static const struct {
        const char *name;
        unsigned kind;
    } kinds[] = { { "keyed", TSN_SECRET_KEYED }, { "token", TSN_SECRET_TOKEN }, { "email", TSN_SECRET_EMAIL },
                  { "url", TSN_SECRET_URL },     { "none", 0 } };
    unsigned chosen = 0;

    for (size_t i = 0; i < texts->len; i++) {
        size_t k = 0;

        while (k < TSN_ARRAY_LEN(kinds) && strcmp(kinds[k].name, texts->items[i]) != 0)
            k++;
        if (k == TSN_ARRAY_LEN(kinds) || (kinds[k].kind == 0 && texts->len > 1))
            return tsn_error_set(error, TSN_ERR_INVALID, "logs.secrets: '%.100s' is none of keyed, token, email, url (or none, alone)",
                                 texts->items[i]);
        chosen |= kinds[k].kind;
    }
    tsn_pattern_config_secret_kinds(config, texts->len ? chosen : (unsigned)TSN_SECRET_ALL);
    return TSN_OK;
}

enum tsn_err tsn_pattern_config_read(const struct tsn_config *from, struct tsn_pattern_config **out, struct tsn_error *error)
{
    struct tsn_pattern_config *config;
    enum tsn_err err;

    *out = NULL;
    if (!(from->logs.masks.len + from->logs.templates.len + from->logs.secrets.len + from->logs.secret_keys.len +
          from->logs.secret_patterns.len))
        return TSN_OK;
    config = tsn_pattern_config_new();
    err = read_kinds(config, &from->logs.secrets, error);
    if (err == TSN_OK)
        err = add_all(config, &from->logs.masks, "masks", tsn_pattern_config_mask, error);
    if (err == TSN_OK)
        err = add_all(config, &from->logs.templates, "templates", tsn_pattern_config_pin, error);
    if (err == TSN_OK)
        err = add_all(config, &from->logs.secret_keys, "secret_keys", tsn_pattern_config_secret, error);
    if (err == TSN_OK)
        err = add_all(config, &from->logs.secret_patterns, "secret_patterns", tsn_pattern_config_secret_regex, error);
    if (err == TSN_OK)
        *out = config;
    else
        tsn_pattern_config_free(&config);
    return err;
}
