/*
 * re2_shim: the C face of RE2 (for promql and patterns). RE2 has no C API, so this is the one C++ file.
 *
 * Patterns are Go's RE2 syntax; dot matches newline and matches are in UTF-8. No exception
 * leaves the shim: RE2 throws none, and out of memory ends the process as everywhere.
 */
#ifndef TOCSIN_BASE_RE2_SHIM_H
#define TOCSIN_BASE_RE2_SHIM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tsn_re2;

/* NULL on a bad pattern, with the reason in error. dot_nl: dot matches newline. */
struct tsn_re2 *tsn_re2_new(const char *pattern, size_t len, bool dot_nl, char *error, size_t error_len);
void tsn_re2_free(struct tsn_re2 *re);
bool tsn_re2_full_match(const struct tsn_re2 *re, const char *text, size_t len);
/* Leftmost match at or after `from`. groups[2*i], groups[2*i+1]: start and end of group i, or -1.
 * group_cap counts groups, the whole match included. anchored: the whole text must match. */
bool tsn_re2_match(const struct tsn_re2 *re, const char *text, size_t len, size_t from, bool anchored,
                   long *groups, int group_cap);
/* Groups including the whole match. */
int tsn_re2_group_count(const struct tsn_re2 *re);
/* -1 if there is no group of that name. */
int tsn_re2_group_index(const struct tsn_re2 *re, const char *name, size_t len);

#ifdef __cplusplus
}
#endif

#endif
