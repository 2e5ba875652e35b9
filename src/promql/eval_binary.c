/*
 * eval_binary: operators between scalars and vectors, vector matching, set operators.
 * Source: semantics 18–22 of the PromQL reference (VectorBinop, resultMetric, VectorAnd/Or/Unless).
 */
#include "promql/eval_int.h"

#include <math.h>
#include <string.h>

double tsn_binop_apply(enum tsn_binop op, double a, double b, bool *keep)
{
    *keep = true;
    switch (op) {
    case TSN_OP_ADD: return a + b;
    case TSN_OP_SUB: return a - b;
    case TSN_OP_MUL: return a * b;
    case TSN_OP_DIV: return a / b;
    case TSN_OP_MOD: return fmod(a, b);
    case TSN_OP_POW: return pow(a, b);
    case TSN_OP_ATAN2: return atan2(a, b);
    case TSN_OP_EQ: *keep = a == b; return a;
    case TSN_OP_NE: *keep = a != b; return a;
    case TSN_OP_LT: *keep = a < b; return a;
    case TSN_OP_LE: *keep = a <= b; return a;
    case TSN_OP_GT: *keep = a > b; return a;
    case TSN_OP_GE: *keep = a >= b; return a;
    default: *keep = false; return NAN;
    }
}

/* One side is a scalar. A filter keeps the vector's own value and name. */
static enum tsn_err with_scalar(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    bool swapped = e->u.binary.lhs->type == TSN_TYPE_SCALAR, keep;
    bool filter = tsn_binop_is_comparison(e->u.binary.op) && !e->u.binary.return_bool;
    const struct tsn_expr *vector = swapped ? e->u.binary.rhs : e->u.binary.lhs;
    struct vec in = { 0 };
    double scalar;
    enum tsn_err err = tsn_ev_scalar(ev, swapped ? e->u.binary.lhs : e->u.binary.rhs, at_ms, &scalar);

    if (!err)
        err = tsn_ev_vector(ev, vector, at_ms, &in);
    for (size_t i = 0; i < in.len && !err; i++) {
        double v = in.items[i].value;
        double value = swapped ? tsn_binop_apply(e->u.binary.op, scalar, v, &keep)
                               : tsn_binop_apply(e->u.binary.op, v, scalar, &keep);

        if ((filter || !tsn_binop_is_comparison(e->u.binary.op)) && !keep)
            continue;
        if (filter)
            value = v;
        else if (tsn_binop_is_comparison(e->u.binary.op))
            value = keep ? 1 : 0;
        tsn_vec_elem(out, filter ? tsn_labels_ref(in.items[i].labels) : tsn_labels_drop_name(in.items[i].labels), at_ms,
                     value);
    }
    tsn_vec_free(&in);
    return err ? err : tsn_vec_unique(ev, out);
}

/* The matching key of an element: a label set of its own. */
static struct tsn_labels *match_key(const struct tsn_expr *e, const struct tsn_labels *labels)
{
    return tsn_labels_project(labels, e->u.binary.match_labels, e->u.binary.match_label_count, e->u.binary.on,
                              !e->u.binary.on);
}

static enum tsn_err set_operator(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    enum tsn_binop op = e->u.binary.op;
    struct vec l = { 0 }, r = { 0 };
    struct tsn_map keys;
    enum tsn_err err = tsn_ev_vector(ev, e->u.binary.lhs, at_ms, &l);
    const struct vec *marked = op == TSN_OP_OR ? &l : &r;

    if (!err)
        err = tsn_ev_vector(ev, e->u.binary.rhs, at_ms, &r);
    tsn_map_init(&keys);
    for (size_t i = 0; i < marked->len && !err; i++) {
        struct tsn_labels *key = match_key(e, marked->items[i].labels);

        tsn_map_put(&keys, &key->id, sizeof key->id, ev);
        tsn_labels_unref(key);
    }
    for (size_t i = 0; i < l.len && !err; i++) {
        struct tsn_labels *key = match_key(e, l.items[i].labels);
        bool found = tsn_map_get(&keys, &key->id, sizeof key->id) != NULL;

        if (op == TSN_OP_OR || found == (op == TSN_OP_AND))
            tsn_vec_elem(out, tsn_labels_ref(l.items[i].labels), at_ms, l.items[i].value);
        tsn_labels_unref(key);
    }
    for (size_t i = 0; i < r.len && !err && op == TSN_OP_OR; i++) {
        struct tsn_labels *key = match_key(e, r.items[i].labels);

        if (!tsn_map_get(&keys, &key->id, sizeof key->id))
            tsn_vec_elem(out, tsn_labels_ref(r.items[i].labels), at_ms, r.items[i].value);
        tsn_labels_unref(key);
    }
    tsn_map_release(&keys);
    tsn_vec_free(&l);
    tsn_vec_free(&r);
    return err ? err : tsn_vec_unique(ev, out);
}

static bool drops_name(const struct tsn_expr *e)
{
    return !tsn_binop_is_comparison(e->u.binary.op) || e->u.binary.return_bool;
}

struct tsn_labels *tsn_join_labels(const struct tsn_expr *e, const struct tsn_labels *many,
                                   const struct tsn_labels *one, bool nameless)
{
    bool drop = drops_name(e) || nameless;
    struct tsn_labels_builder b;
    struct tsn_labels *out;

    if (e->u.binary.card == TSN_CARD_ONE_TO_ONE)
        return tsn_labels_project(many, e->u.binary.match_labels, e->u.binary.match_label_count, e->u.binary.on,
                                  drop);
    tsn_labels_builder_init(&b);
    tsn_labels_builder_from(&b, many);
    for (uint32_t i = 0; i < many->count && drop; i++)
        if (tsn_label_is_metadata(many->items[i].name))
            tsn_labels_builder_del(&b, many->items[i].name);
    for (uint32_t i = 0; i < e->u.binary.include_label_count; i++) {
        const char *value = tsn_labels_get(one, e->u.binary.include_labels[i]);

        if (value)
            tsn_labels_builder_set(&b, e->u.binary.include_labels[i], value);
        else
            tsn_labels_builder_del(&b, e->u.binary.include_labels[i]);
    }
    out = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return out;
}

static enum tsn_err many_matches(struct eval *ev, const struct tsn_expr *e, bool one_is_left, const struct tsn_labels *key)
{
    struct tsn_buf text = TSN_BUF_INIT;
    enum tsn_err err;

    tsn_labels_format(&text, key);
    err = tsn_error_set(ev->error, TSN_ERR_INVALID,
                        "found duplicate series for the match group %s on the %s hand-side of the operation%s",
                        text.data, one_is_left ? "left" : "right",
                        e->u.binary.card == TSN_CARD_ONE_TO_ONE ? "" : ";many-to-many matching not allowed: "
                        "matching labels must be unique on one side");
    tsn_buf_release(&text);
    return err;
}

/* Key → element of the "one" side; two elements with one key are an error. */
static enum tsn_err index_one(struct eval *ev, const struct tsn_expr *e, const struct vec *one, bool one_is_left,
                              struct tsn_map *index)
{
    for (size_t i = 0; i < one->len; i++) {
        struct tsn_labels *key = match_key(e, one->items[i].labels);
        enum tsn_err err = TSN_OK;

        if (tsn_map_put(index, &key->id, sizeof key->id, &one->items[i]))
            err = many_matches(ev, e, one_is_left, key);
        tsn_labels_unref(key);
        if (err)
            return err;
    }
    return TSN_OK;
}

static enum tsn_err pair(struct eval *ev, const struct tsn_expr *e, const struct elem *many, const struct elem *one,
                         struct tsn_map *used, const struct tsn_labels *key, int64_t at_ms, struct vec *out)
{
    bool one_is_left = e->u.binary.card == TSN_CARD_ONE_TO_MANY, keep;
    double a = one_is_left ? one->value : many->value, b = one_is_left ? many->value : one->value;
    double value = tsn_binop_apply(e->u.binary.op, a, b, &keep);
    struct tsn_u128 identity[2] = { key->id };
    struct tsn_labels *labels;

    if (!keep && !tsn_binop_is_comparison(e->u.binary.op))
        return TSN_OK;
    if (e->u.binary.card == TSN_CARD_ONE_TO_ONE && tsn_map_put(used, &key->id, sizeof key->id, ev))
        return tsn_error_set(ev->error, TSN_ERR_INVALID,
                             "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
    if (e->u.binary.return_bool)
        value = keep ? 1 : 0;
    labels = tsn_join_labels(e, many->labels, one->labels, false);
    /* Twice the same labels from one key is an error even where the comparison filters one of them. */
    identity[1] = labels->id;
    if (e->u.binary.card != TSN_CARD_ONE_TO_ONE && tsn_map_put(used, identity, sizeof identity, ev)) {
        tsn_labels_unref(labels);
        return tsn_error_set(ev->error, TSN_ERR_INVALID,
                             "multiple matches for labels: grouping labels must ensure unique matches");
    }
    if (keep || e->u.binary.return_bool)
        tsn_vec_elem(out, labels, at_ms, value);
    else
        tsn_labels_unref(labels);
    return TSN_OK;
}

static enum tsn_err match_vectors(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    bool one_is_left = e->u.binary.card == TSN_CARD_ONE_TO_MANY;
    struct vec l = { 0 }, r = { 0 };
    const struct vec *many = one_is_left ? &r : &l, *one = one_is_left ? &l : &r;
    struct tsn_map index, used;
    enum tsn_err err = tsn_ev_vector(ev, e->u.binary.lhs, at_ms, &l);

    if (!err)
        err = tsn_ev_vector(ev, e->u.binary.rhs, at_ms, &r);
    tsn_map_init(&index);
    tsn_map_init(&used);
    if (!err && l.len && r.len)
        err = index_one(ev, e, one, one_is_left, &index);
    for (size_t i = 0; i < many->len && !err && index.count; i++) {
        struct tsn_labels *key = match_key(e, many->items[i].labels);
        const struct elem *found = tsn_map_get(&index, &key->id, sizeof key->id);

        if (found)
            err = pair(ev, e, &many->items[i], found, &used, key, at_ms, out);
        tsn_labels_unref(key);
    }
    tsn_map_release(&index);
    tsn_map_release(&used);
    tsn_vec_free(&l);
    tsn_vec_free(&r);
    return err ? err : tsn_vec_unique(ev, out);
}

enum tsn_err tsn_ev_binary(struct eval *ev, const struct tsn_expr *e, int64_t at_ms, struct vec *out)
{
    if (e->u.binary.lhs->type == TSN_TYPE_SCALAR || e->u.binary.rhs->type == TSN_TYPE_SCALAR)
        return with_scalar(ev, e, at_ms, out);
    if (tsn_binop_is_set(e->u.binary.op))
        return set_operator(ev, e, at_ms, out);
    return match_vectors(ev, e, at_ms, out);
}
