/*
 * exposition: Prometheus's text format, as far as `tocsin status` reads it back: samples with up to four labels, and no
 * timestamps. Lines that are none are passed over.
 */
#ifndef TOCSIN_CLI_EXPOSITION_H
#define TOCSIN_CLI_EXPOSITION_H

#include "tocsin/base.h"

#define EXPOSED_LABELS 4

struct exposed {
    const char *name; /* this and the labels are borrowed from the text */
    const char *labels[EXPOSED_LABELS][2];
    size_t label_count;
    double value;
};
struct exposition {
    struct exposed *items;
    size_t len, cap;
    int64_t at_ns; /* the reader's: when it was read */
};

/* Cuts `text` (NULL: none) up in place and adds its samples; release *out with tsn_vec_release, before the text. */
void exposition_parse(char *text, struct exposition *out);
/* Value of a label, "" if it has none. */
const char *exposed_label(const struct exposed *s, const char *name);
/* Whether b has all labels of a (and may have more). */
bool exposed_same(const struct exposed *a, const struct exposed *b);

#endif
