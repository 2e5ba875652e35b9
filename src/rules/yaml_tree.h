/*
 * yaml_tree: rule files and their tests as a tree with positions, over libyaml's documents (private
 * to rules).
 *
 * What Go's yaml does and libyaml leaves to its users is here: merge keys (`<<`), keys given twice,
 * which plain scalars are null, numbers and truth values; and where a byte of a scalar's value stands in
 * the file, whatever way the scalar is written.
 *
 * Bounds: TSN_YAML_MAX_BYTES a file, TSN_YAML_MAX_DEPTH of nesting (checked before the tree is
 * built), and TSN_YAML_MAX_VISITS nodes looked at through aliases and all, so that aliases of aliases
 * cannot blow up.
 */
#ifndef TOCSIN_RULES_YAML_TREE_H
#define TOCSIN_RULES_YAML_TREE_H

#include "tocsin/rules.h"

#include <yaml.h>

#define TSN_YAML_MAX_BYTES (16u << 20)
#define TSN_YAML_MAX_DEPTH 64
#define TSN_YAML_MAX_VISITS 4000000
#define TSN_YAML_MAX_ERRORS 1000 /* a list; what follows is dropped, the last line says so */

struct tsn_yaml {
    const char *file; /* borrowed */
    const char *text; /* borrowed */
    size_t len;
    struct tsn_rule_errors *errors; /* borrowed; every error goes here */
    struct tsn_arena *arena;        /* borrowed; texts live here */
    yaml_document_t doc;
    bool loaded;
    bool more_documents; /* a second document follows; it is not read */
    size_t visits;
    size_t seek_byte; /* where the last search for a scalar ended: the next is mostly further on */
    struct tsn_position seek_at;
};

struct tsn_yaml_pair {
    const char *key; /* in the arena */
    const yaml_node_t *key_node, *value;
};
struct tsn_yaml_pairs {
    struct tsn_yaml_pair *items;
    size_t len, cap;
};

/* Reads the first document. False after adding to errors. An empty file has no root. */
bool tsn_yaml_load(struct tsn_yaml *y);
void tsn_yaml_release(struct tsn_yaml *y);
const yaml_node_t *tsn_yaml_root(struct tsn_yaml *y);
const yaml_node_t *tsn_yaml_node(struct tsn_yaml *y, int id);

struct tsn_position tsn_yaml_position(const yaml_node_t *node);
void tsn_yaml_fail(struct tsn_yaml *y, struct tsn_position at, const char *fmt, ...) TSN_PRINTF(3, 4);
bool tsn_yaml_is_null(const yaml_node_t *node);

/* A scalar's text in the arena; NULL for null, and NULL after an error for anything but a scalar. */
const char *tsn_yaml_text(struct tsn_yaml *y, const yaml_node_t *node, const char *what);
/* Durations: null is 0. Errors are added and give 0. */
int64_t tsn_yaml_duration(struct tsn_yaml *y, const yaml_node_t *node, const char *what);
double tsn_yaml_number(struct tsn_yaml *y, const yaml_node_t *node, const char *what);
int64_t tsn_yaml_integer(struct tsn_yaml *y, const yaml_node_t *node, const char *what);
bool tsn_yaml_truth(struct tsn_yaml *y, const yaml_node_t *node, const char *what);

/* The pairs of a mapping, merge keys resolved, own keys first; none for null. False after an
 * error. Release with tsn_vec_release. */
bool tsn_yaml_pairs(struct tsn_yaml *y, const yaml_node_t *map, const char *what, struct tsn_yaml_pairs *out);
/* Items of a list: NULL ends; none for null. */
const yaml_node_item_t *tsn_yaml_items(struct tsn_yaml *y, const yaml_node_t *list, const char *what,
                                       size_t *count);
/* Where byte `offset` of the scalar's value stands in the file. */
struct tsn_position tsn_yaml_inside(struct tsn_yaml *y, const yaml_node_t *node, size_t offset);

#endif
