/* What the files of the configuration share: option tables, and the walk over a YAML tree with positions. */
#ifndef TSN_CONFIG_INTERNAL_H
#define TSN_CONFIG_INTERNAL_H

#include "tocsin/config.h"

#include <yaml.h>

enum tsn_config_kind {
    TSN_CK_TEXT, TSN_CK_SECRET, TSN_CK_BOOL, TSN_CK_INT, TSN_CK_DURATION, TSN_CK_SIZE, TSN_CK_CHOICE,
    TSN_CK_TEXTS, TSN_CK_PAIRS
};

/* A row: the key, how its value is read and where it goes (offset into the section's struct). */
struct tsn_config_option {
    const char *key;
    enum tsn_config_kind kind;
    size_t offset;
    int64_t min, max;     /* INT, DURATION (ms), SIZE (bytes) */
    const char *fallback; /* default, as one would write it; lists: comma-separated */
    const char *choices;  /* CHOICE: "a|b|c" */
    const char *help;
};

struct tsn_config_section {
    const char *name;
    const struct tsn_config_option *options;
    size_t count;
    size_t offset; /* of the section's struct in struct tsn_config */
};
extern const struct tsn_config_section tsn_config_sections[];
extern const size_t tsn_config_section_count;
extern const struct tsn_config_section tsn_config_input_table, tsn_config_series_table, tsn_config_filter_table,
    tsn_config_topic_table;

#define TSN_YAML_DEPTH 32
#define TSN_CONFIG_BYTES (1u << 20)
#define TSN_CONFIG_LIST 1000

struct tsn_config_walk {
    yaml_document_t doc;
    const char *file;     /* borrowed */
    const char *base_dir; /* borrowed */
    const struct tsn_config_io *io; /* NULL: no expansion of ${…} and no files */
    struct tsn_error *error;
    bool failed;
};

/* Builds the document; false with *error set. Release with yaml_document_delete. */
bool tsn_config_walk_open(struct tsn_config_walk *w, const char *text, size_t len);
void tsn_config_fail(struct tsn_config_walk *w, const yaml_node_t *at, const char *fmt, ...) TSN_PRINTF(3, 4);
/* Calls visit for each pair; keys must be scalars and unique. A null node has no pairs. */
typedef void tsn_config_visit(struct tsn_config_walk *w, const char *key, const yaml_node_t *key_node,
                              yaml_node_t *value, void *arg);
void tsn_config_each_pair(struct tsn_config_walk *w, yaml_node_t *node, const char *what, tsn_config_visit *visit,
                          void *arg);
/* Each item of a sequence of at most `max`; key is NULL and key_node the item. */
void tsn_config_each_item(struct tsn_config_walk *w, yaml_node_t *node, const char *what, size_t max,
                          tsn_config_visit *visit, void *arg);
/* The text of a scalar with ${…} replaced; caller frees; NULL after an error. */
char *tsn_config_scalar(struct tsn_config_walk *w, const yaml_node_t *node, const char *what);
/* The content of the file that the scalar names, without the newline at its end; caller frees; NULL after an error. */
char *tsn_config_secret_file(struct tsn_config_walk *w, const yaml_node_t *node, const char *what);
bool tsn_config_null(const yaml_node_t *node);
/* Reads the mapping `node` by the table into base. Keys that are not in the table go to `other`, which returns false for
 * an unknown key (NULL: there are none). */
typedef bool tsn_config_other(struct tsn_config_walk *w, const char *key, yaml_node_t *value, void *arg);
void tsn_config_read_table(struct tsn_config_walk *w, yaml_node_t *node, const struct tsn_config_section *table,
                           void *base, tsn_config_other *other, void *arg);
/* One value. False after an error. */
bool tsn_config_store(struct tsn_config_walk *w, const yaml_node_t *at, const struct tsn_config_option *o, void *base,
                      const char *text);
void tsn_config_defaults(const struct tsn_config_section *table, void *base);
void tsn_config_clear(const struct tsn_config_section *table, void *base);
/* The nearest of `names`, or NULL if none is near. */
const char *tsn_config_nearest(const char *word, const char *const *names, size_t count);

#endif
