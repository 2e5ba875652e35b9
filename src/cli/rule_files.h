/* rule_files: globs and reading, shared by `check rules` and `test rules`. */
#ifndef TOCSIN_CLI_RULE_FILES_H
#define TOCSIN_CLI_RULE_FILES_H

#include "tocsin/rules.h"

struct rule_texts {
    struct tsn_rule_source *items; /* file and text owned */
    size_t len, cap;
};
/* Reads every file that matches pattern, resolved against the folder of `beside` (NULL: as it is);
 * a file already there is skipped. Returns how many matched; -1 with *error when one cannot be read. */
int rule_texts_add(struct rule_texts *texts, const char *pattern, const char *beside, struct tsn_error *error);
void rule_texts_release(struct rule_texts *texts);
/* "file:line:col: message" a line each. */
void rule_errors_print(const struct tsn_rule_errors *errors);

#endif
