/* series_sample: the series of a sample of the stream, for the lint's judgement of cost. */
#ifndef TOCSIN_CLI_SERIES_SAMPLE_H
#define TOCSIN_CLI_SERIES_SAMPLE_H

#include "tocsin/promql.h"

struct series_sample {
    struct tsn_map by_id;
    TSN_VEC(struct tsn_labels *) series; /* owned references, each label set once */
};
/* Reads JSON lines: objects whose `series` is an object of labels (as eval --data takes them) or a text
 * name{label="value"} (as samples --points prints them); other lines are passed over. - is standard input. False with
 * *error: the file cannot be read, a line is no JSON, or there are too many series. */
bool series_sample_read(struct series_sample *sample, const char *path, struct tsn_error *error);
/* How many series the matchers match; as tsn_lint_options wants it, arg is the sample. */
int64_t series_sample_count(void *arg, const struct tsn_matcher *matchers, size_t count);
void series_sample_release(struct series_sample *sample);

#endif
