/* config: what a tsn_pattern_config holds, for the scanner and the masker. */
#ifndef TOCSIN_PATTERNS_CONFIG_H
#define TOCSIN_PATTERNS_CONFIG_H

#include "tocsin/patterns.h"

#define TSN_PATTERN_MASKS_MAX 64
#define TSN_PATTERN_PINS_MAX 256
#define TSN_PATTERN_SECRETS_MAX 64
#define TSN_PATTERN_REGEXES_MAX 64

struct tsn_pattern_config {
    char *masks[TSN_PATTERN_MASKS_MAX];
    size_t mask_count;
    char *pins[TSN_PATTERN_PINS_MAX];
    size_t pin_count;
    char *secrets[TSN_PATTERN_SECRETS_MAX]; /* lower case */
    size_t secret_count;
    struct tsn_re2 *regexes[TSN_PATTERN_REGEXES_MAX];
    size_t regex_count;
    unsigned secret_kinds;
};

/* Whether a key names a secret: password, db_password, accessToken, X-Api-Key … */
bool tsn_pattern_secret_key(const struct tsn_pattern_config *config, const char *key, size_t len);
/* The first pinned template that matches, NULL if none. */
const char *tsn_pattern_pinned(const struct tsn_pattern_config *config, const char *line, size_t len);
/* Whether a configured mask matches this word. */
bool tsn_pattern_masked(const struct tsn_pattern_config *config, const char *word, size_t len);

#endif
