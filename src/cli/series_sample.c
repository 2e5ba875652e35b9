/*
 * series_sample: see series_sample.h. A line is read at a time; what is kept is a label set per
 * series, 1,000,000 at the most.
 */
#include "cli/series_sample.h"
#include "codec/labels_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 1000000 };

/* A selector of equalities is a label set. NULL: it is none. */
static struct tsn_labels *labels_of_text(const char *text)
{
    struct tsn_parse_error ignored;
    struct tsn_query *query = tsn_query_parse(text, strlen(text), &ignored);
    struct tsn_labels *labels = NULL;
    struct tsn_labels_builder b;

    if (query && query->root->kind == TSN_EXPR_SELECTOR) {
        tsn_labels_builder_init(&b);
        for (uint32_t i = 0; i < query->root->u.selector.matcher_count; i++) {
            const struct tsn_matcher *m = &query->root->u.selector.matchers[i];

            tsn_labels_builder_setn(&b, m->name, m->name_len, m->value, m->value_len);
        }
        labels = tsn_labels_builder_finish(&b);
        tsn_labels_builder_release(&b);
    }
    tsn_query_free(&query);
    return labels;
}

static void keep(struct series_sample *sample, struct tsn_labels *taken)
{
    bool created;

    (void)tsn_map_upsert(&sample->by_id, &taken->id, sizeof taken->id, &created);
    if (created)
        tsn_vec_push(&sample->series, taken);
    else
        tsn_labels_unref(taken);
}

static bool take_line(struct series_sample *sample, const char *line, size_t len)
{
    json_error_t ignored;
    json_t *root = json_loadb(line, len, 0, &ignored);
    const json_t *series = json_object_get(root, "series");
    struct tsn_labels *labels = NULL;

    if (json_is_object(series))
        labels = tsn_labels_from_json(series);
    else if (json_is_string(series))
        labels = labels_of_text(json_string_value(series));
    if (labels)
        keep(sample, labels);
    json_decref(root);
    return root != NULL;
}

static bool take_lines(struct series_sample *sample, FILE *in, const char *path, struct tsn_error *error)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    ssize_t len;
    bool good = true;

    while (good && (len = getline(&line, &cap, in)) >= 0) {
        number++;
        while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
            len--;
        good = !len || take_line(sample, line, (size_t)len);
        if (!good)
            tsn_error_set(error, TSN_ERR_INVALID, "%s:%zu: no JSON", path, number);
        if (sample->series.len <= MAX_SERIES)
            continue;
        good = false;
        tsn_error_set(error, TSN_ERR_LIMIT, "%s:%zu: more than %d series", path, number, MAX_SERIES);
    }
    free(line);
    return good;
}

bool series_sample_read(struct series_sample *sample, const char *path, struct tsn_error *error)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    bool good;

    memset(sample, 0, sizeof *sample);
    tsn_map_init(&sample->by_id);
    if (!in) {
        tsn_error_set(error, TSN_ERR_INVALID, "%s: %s", path, strerror(errno));
        return false;
    }
    good = take_lines(sample, in, path, error);
    if (in != stdin)
        fclose(in);
    return good;
}

int64_t series_sample_count(void *arg, const struct tsn_matcher *matchers, size_t count)
{
    const struct series_sample *sample = arg;
    int64_t found = 0;

    for (size_t i = 0; i < sample->series.len; i++)
        found += tsn_matchers_match(matchers, count, sample->series.items[i]);
    return found;
}

void series_sample_release(struct series_sample *sample)
{
    for (size_t i = 0; i < sample->series.len; i++)
        tsn_labels_unref(sample->series.items[i]);
    tsn_vec_release(&sample->series);
    tsn_map_release(&sample->by_id);
}
