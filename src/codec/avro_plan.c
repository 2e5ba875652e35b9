/*
 * avro_plan: (writer, reader) schema → a tree of operations that avro_run.c walks (avro_int.h).
 *
 * Everything that the two schemas decide is decided here, once: which field goes where, what is skipped, what is
 * promoted, which branch of the reader's union takes a value, which symbol stands for which, what the defaults are. A branch of
 * the writer's union that does not fit the reader becomes an operation that fails when it is met, as Avro asks; any other
 * misfit fails the plan.
 *
 * A pair of records is compiled once, so recursive types end in a cycle of operations.
 */
#include "codec/avro_int.h"

/* A chain of types deeper than this is a mistake or an attack, and a default larger than this too. */
enum { MAX_RESOLVE_DEPTH = 200, MAX_DEFAULT_NODES = 10000 };

struct compiler {
    struct tsn_arena *arena;
    int depth;
    struct tsn_map records; /* struct pair → struct op */
    struct tsn_error *error;
};

struct pair {
    const struct avro_schema *writer, *reader;
};

static const struct op *resolve(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r);

static struct op *new_op(struct compiler *c, enum op_kind kind, size_t least)
{
    struct op *op = tsn_arena_calloc(c->arena, 1, sizeof *op);

    op->kind = kind;
    op->least = least;
    op->divide = 1;
    return op;
}

static const struct op *misfit(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    tsn_error_set(c->error, TSN_ERR_INVALID, "the writer has %s %s, the reader %s %s", avro_type_names[w->type],
                  w->name.data ? w->name.data : "", avro_type_names[r->type], r->name.data ? r->name.data : "");
    return NULL;
}

/* ---- which fits --------------------------------------------------------------------------- */

static struct avro_text last_part(struct avro_text full)
{
    for (uint32_t i = full.len; i; i--)
        if (full.data[i - 1] == '.')
            return (struct avro_text){ full.data + i, full.len - i };
    return full;
}

static bool same_text(struct avro_text a, struct avro_text b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static bool same_name(const struct avro_schema *w, const struct avro_schema *r)
{
    if (!w->name.data || same_text(last_part(w->name), last_part(r->name)))
        return true;
    for (uint32_t i = 0; i < r->alias_count; i++)
        if (same_text(w->name, r->aliases[i]) || same_text(last_part(w->name), r->aliases[i]))
            return true;
    return false;
}

/* Neither is a union. */
static bool promotable(enum avro_type w, enum avro_type r)
{
    if (w == r)
        return true;
    switch (w) {
    case AV_INT: return r == AV_LONG || r == AV_FLOAT || r == AV_DOUBLE;
    case AV_LONG: return r == AV_FLOAT || r == AV_DOUBLE;
    case AV_FLOAT: return r == AV_DOUBLE;
    case AV_BYTES: return r == AV_STRING;
    case AV_STRING: return r == AV_BYTES;
    case AV_NULL:
    case AV_BOOLEAN:
    case AV_DOUBLE:
    case AV_FIXED:
    case AV_ENUM:
    case AV_ARRAY:
    case AV_MAP:
    case AV_UNION:
    case AV_RECORD:
    case AV_TYPE_COUNT:
    default: return false;
    }
}

/* The same type and name first, then whatever fits. */
static const struct avro_schema *pick_branch(const struct avro_schema *w, const struct avro_schema *r)
{
    for (uint32_t i = 0; i < r->branch_count; i++)
        if (r->branches[i]->type == w->type && same_name(w, r->branches[i]))
            return r->branches[i];
    for (uint32_t i = 0; i < r->branch_count; i++)
        if (promotable(w->type, r->branches[i]->type))
            return r->branches[i];
    return NULL;
}

/* ---- defaults ----------------------------------------------------------------------------- */

struct builder {
    struct tsn_avro_nodes nodes;
    int depth;
};

static bool build_default(struct builder *b, const struct avro_schema *s, const struct tsn_json_node *n,
                          struct avro_text key, uint32_t field);

static bool json_fits(const struct avro_schema *s, const struct tsn_json_node *n)
{
    switch (n->kind) {
    case TSN_JSON_NULL: return s->type == AV_NULL;
    case TSN_JSON_FALSE:
    case TSN_JSON_TRUE: return s->type == AV_BOOLEAN;
    case TSN_JSON_NUMBER: return s->type >= AV_INT && s->type <= AV_DOUBLE;
    case TSN_JSON_STRING: return s->type >= AV_BYTES && s->type <= AV_ENUM;
    case TSN_JSON_ARRAY: return s->type == AV_ARRAY;
    case TSN_JSON_OBJECT: return s->type == AV_MAP || s->type == AV_RECORD;
    default: return false;
    }
}

static bool default_children(struct builder *b, const struct avro_schema *s, const struct tsn_json_node *n,
                             struct tsn_avro_node *node)
{
    if (s->type == AV_RECORD) {
        for (uint32_t i = 0; i < s->field_count; i++) {
            const struct tsn_json_node *m = tsn_json_getn(n, s->fields[i].name.data, s->fields[i].name.len);

            m = m ? m : s->fields[i].fallback;
            if (!m || !build_default(b, s->fields[i].type, m, s->fields[i].name, i))
                return false;
        }
        node->count = s->field_count;
        return true;
    }
    tsn_json_foreach(n, m)
        if (!build_default(b, s->branches[0], m, (struct avro_text){ n->kind == TSN_JSON_OBJECT ? m->key : NULL, m->key_len }, 0))
            return false;
    node->count = n->count;
    return true;
}

static bool default_scalar(const struct avro_schema *s, const struct tsn_json_node *n, struct tsn_avro_node *node)
{
    switch (s->type) {
    case AV_NULL: node->kind = TSN_AVRO_NULL; return true;
    case AV_BOOLEAN:
        node->kind = TSN_AVRO_BOOL;
        node->u.whole = n->kind == TSN_JSON_TRUE;
        return true;
    case AV_INT:
    case AV_LONG: node->kind = TSN_AVRO_LONG; return tsn_json_i64(n, &node->u.whole);
    case AV_FLOAT:
    case AV_DOUBLE: node->kind = TSN_AVRO_DOUBLE; return tsn_json_double(n, &node->u.number);
    case AV_BYTES:
    case AV_FIXED:
    case AV_STRING:
    case AV_ENUM:
        node->kind = s->type == AV_BYTES || s->type == AV_FIXED ? TSN_AVRO_BYTES : TSN_AVRO_TEXT;
        node->text = n->text;
        node->text_len = n->text_len;
        return true;
    case AV_ARRAY:
    case AV_MAP:
    case AV_UNION:
    case AV_RECORD:
    case AV_TYPE_COUNT:
    default: return false;
    }
}

/* Appends the default as nodes. Of a union, the first branch that can hold it (Avro 1.11: the first; 1.12: any). */
static bool build_default(struct builder *b, const struct avro_schema *s, const struct tsn_json_node *n,
                          struct avro_text key, uint32_t field)
{
    struct tsn_avro_node node = { .skip = 1, .field = field, .key = key.data, .key_len = key.len, .text = "" };
    size_t at = b->nodes.len;

    if (s->type == AV_UNION) {
        for (uint32_t i = 0; i < s->branch_count; i++)
            if (json_fits(s->branches[i], n))
                return build_default(b, s->branches[i], n, key, field);
        return false;
    }
    if (!json_fits(s, n) || b->nodes.len >= MAX_DEFAULT_NODES || b->depth >= AVRO_DEPTH)
        return false;
    if (s->type != AV_ARRAY && s->type != AV_MAP && s->type != AV_RECORD) {
        if (!default_scalar(s, n, &node))
            return false;
        tsn_vec_push(&b->nodes, node);
        return true;
    }
    node.kind = s->type == AV_ARRAY ? TSN_AVRO_LIST : s->type == AV_MAP ? TSN_AVRO_MAP : TSN_AVRO_RECORD;
    tsn_vec_push(&b->nodes, node);
    b->depth++;
    if (!default_children(b, s, n, &node))
        return false;
    b->depth--;
    node.skip = (uint32_t)(b->nodes.len - at);
    b->nodes.items[at] = node;
    return true;
}

static bool compile_default(struct compiler *c, const struct avro_field *f, uint32_t field, struct op_default *out)
{
    struct builder b = { { NULL, 0, 0 }, 0 };
    struct tsn_avro_node *copy;
    bool ok = build_default(&b, f->type, f->fallback, f->name, field);

    if (ok) {
        copy = tsn_arena_alloc(c->arena, b.nodes.len * sizeof *copy);
        memcpy(copy, b.nodes.items, b.nodes.len * sizeof *copy);
        *out = (struct op_default){ copy, (uint32_t)b.nodes.len };
    } else {
        tsn_error_set(c->error, TSN_ERR_INVALID, "field %s: its default is not of its type", f->name.data);
    }
    tsn_vec_release(&b.nodes);
    return ok;
}

/* ---- records ------------------------------------------------------------------------------ */

static int64_t find_field(const struct avro_schema *s, struct avro_text name)
{
    for (uint32_t i = 0; i < s->field_count; i++)
        if (same_text(s->fields[i].name, name))
            return i;
    return -1;
}

/* The writer's field for a field of the reader, by name, else by alias; -1: none that is still free. */
static int64_t source_of(const struct avro_schema *w, const struct avro_field *f, const struct op_step *steps)
{
    int64_t at = find_field(w, f->name);

    for (uint32_t i = 0; at < 0 && i < f->alias_count; i++)
        at = find_field(w, f->aliases[i]);
    return at >= 0 && steps[at].skip ? at : -1;
}

static bool map_fields(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r, struct op *op,
                       struct op_step *steps, struct op_default *defaults)
{
    for (uint32_t i = 0; i < r->field_count; i++) {
        const struct avro_field *f = &r->fields[i];
        int64_t at = source_of(w, f, steps);

        if (at >= 0) {
            steps[at].skip = false;
            steps[at].field = i;
            steps[at].name = f->name;
        } else if (!f->fallback) {
            tsn_error_set(c->error, TSN_ERR_INVALID, "field %s: the writer lacks it, and it has no default", f->name.data);
            return false;
        } else if (!compile_default(c, f, i, &defaults[op->default_count++])) {
            return false;
        }
    }
    return true;
}

static bool compile_fields(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r, struct op *op,
                           struct op_step *steps)
{
    for (uint32_t i = 0; i < w->field_count; i++) {
        const struct avro_schema *target = r && !steps[i].skip ? r->fields[steps[i].field].type : NULL;

        steps[i].op = resolve(c, w->fields[i].type, target);
        if (!steps[i].op) {
            tsn_error_prefix(c->error, "field %s", w->fields[i].name.data);
            return false;
        }
        op->least += steps[i].op->least;
    }
    return true;
}

static bool compile_record(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r, struct op *op,
                           struct op_step *steps)
{
    if (r) {
        struct op_default *defaults = tsn_arena_calloc(c->arena, r->field_count, sizeof *defaults);

        op->defaults = defaults;
        if (!map_fields(c, w, r, op, steps, defaults))
            return false;
    }
    return compile_fields(c, w, r, op, steps);
}

static const struct op *resolve_record(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    struct pair pair = { w, r };
    void **known = tsn_map_upsert(&c->records, &pair, sizeof pair, NULL);
    struct op *op;
    struct op_step *steps;

    if (*known && ((const struct op *)*known)->kind == OP_ERROR) {
        tsn_error_set(c->error, TSN_ERR_INVALID, "%s", ((const struct op *)*known)->message);
        return NULL;
    }
    if (*known)
        return *known;
    op = new_op(c, OP_RECORD, 0);
    *known = op;
    steps = tsn_arena_calloc(c->arena, w->field_count, sizeof *steps);
    for (uint32_t i = 0; i < w->field_count; i++)
        steps[i] = (struct op_step){ NULL, w->fields[i].name, i, r != NULL };
    op->steps = steps;
    op->step_count = w->field_count;
    if (compile_record(c, w, r, op, steps))
        return op;
    /* Operations of a cycle may point here already: what meets it fails as this did. */
    op->kind = OP_ERROR;
    op->message = tsn_arena_strdup(c->arena, c->error->message);
    return NULL;
}

/* ---- the other types ---------------------------------------------------------------------- */

static const struct op *resolve_union(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    struct op *op = new_op(c, OP_UNION, 1);
    const struct op **branches = tsn_arena_calloc(c->arena, w->branch_count, sizeof *branches);

    for (uint32_t i = 0; i < w->branch_count; i++) {
        branches[i] = resolve(c, w->branches[i], r);
        if (!branches[i]) {
            struct op *failing = new_op(c, OP_ERROR, 0);

            failing->message = tsn_arena_strdup(c->arena, c->error->message);
            branches[i] = failing;
        }
    }
    op->branches = branches;
    op->count = w->branch_count;
    return op;
}

static const struct op *resolve_enum(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    struct op *op = new_op(c, OP_ENUM, 1);
    struct avro_text *symbols = tsn_arena_calloc(c->arena, w->symbol_count, sizeof *symbols);

    for (uint32_t i = 0; i < w->symbol_count; i++) {
        symbols[i] = w->symbols[i];
        if (!r)
            continue;
        symbols[i] = r->symbol_default;
        for (uint32_t k = 0; k < r->symbol_count; k++)
            if (same_text(w->symbols[i], r->symbols[k]))
                symbols[i] = w->symbols[i];
    }
    op->symbols = symbols;
    op->count = w->symbol_count;
    return op;
}

static const struct op *resolve_item(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    struct op *op = new_op(c, w->type == AV_ARRAY ? OP_LIST : OP_MAP, 1);

    op->item = resolve(c, w->branches[0], r ? r->branches[0] : NULL);
    return op->item ? op : NULL;
}

static int64_t divisor(const struct avro_schema *w, const struct avro_schema *r)
{
    if (!r || r->logical != LOGICAL_MS)
        return 1;
    return w->logical == LOGICAL_US ? 1000 : w->logical == LOGICAL_NS ? 1000000 : 1;
}

static const struct op *resolve_scalar(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    static const enum op_kind kinds[] = { OP_NULL, OP_BOOL, OP_INT, OP_LONG, OP_FLOAT, OP_DOUBLE, OP_BYTES, OP_TEXT, OP_FIXED };
    static const uint8_t least[] = { 0, 1, 1, 1, 4, 8, 1, 1, 0 };
    struct op *op = new_op(c, kinds[w->type], least[w->type]);
    enum avro_type as = r ? r->type : w->type;

    op->to_double = as == AV_FLOAT || as == AV_DOUBLE;
    op->to_float = as == AV_FLOAT;
    op->text_rule = as == AV_STRING ? TSN_AVRO_TEXT : TSN_AVRO_BYTES;
    op->divide = divisor(w, r);
    if (w->type == AV_FIXED) {
        if (r && r->size != w->size)
            return misfit(c, w, r);
        op->size = w->size;
        op->least = (size_t)w->size;
    }
    return op;
}

static const struct op *resolve_type(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    if (w->type == AV_UNION)
        return resolve_union(c, w, r);
    if (r && r->type == AV_UNION) {
        const struct avro_schema *branch = pick_branch(w, r);

        return branch ? resolve(c, w, branch) : misfit(c, w, r);
    }
    if (r && !promotable(w->type, r->type))
        return misfit(c, w, r);
    switch (w->type) {
    case AV_RECORD: return resolve_record(c, w, r);
    case AV_ENUM: return resolve_enum(c, w, r);
    case AV_ARRAY:
    case AV_MAP: return resolve_item(c, w, r);
    case AV_NULL:
    case AV_BOOLEAN:
    case AV_INT:
    case AV_LONG:
    case AV_FLOAT:
    case AV_DOUBLE:
    case AV_BYTES:
    case AV_STRING:
    case AV_FIXED: return resolve_scalar(c, w, r);
    case AV_UNION:
    case AV_TYPE_COUNT:
    default: tsn_error_set(c->error, TSN_ERR_INTERNAL, "a type that is none"); return NULL;
    }
}

static const struct op *resolve(struct compiler *c, const struct avro_schema *w, const struct avro_schema *r)
{
    const struct op *op;

    if (c->depth == MAX_RESOLVE_DEPTH) {
        tsn_error_set(c->error, TSN_ERR_LIMIT, "types nested deeper than %d", MAX_RESOLVE_DEPTH);
        return NULL;
    }
    c->depth++;
    op = resolve_type(c, w, r);
    c->depth--;
    return op;
}

struct tsn_avro_plan *tsn_avro_plan_new(const char *writer, size_t writer_len, const char *reader, size_t reader_len,
                                        struct tsn_error *error)
{
    struct tsn_error own = { .code = TSN_OK };
    struct tsn_avro_plan *plan = tsn_calloc(1, sizeof *plan);
    struct compiler c = { .arena = &plan->arena, .error = error ? error : &own };
    struct avro_schema *w, *r = NULL;

    tsn_arena_init(&plan->arena, 4096);
    tsn_json_init(&plan->writer_json);
    tsn_json_init(&plan->reader_json);
    tsn_map_init(&c.records);
    w = avro_schema_parse(writer, writer_len, &plan->arena, &plan->writer_json, c.error);
    if (w && reader) {
        r = avro_schema_parse(reader, reader_len, &plan->arena, &plan->reader_json, c.error);
        if (!r)
            tsn_error_prefix(c.error, "reader");
    }
    if (w && (r || !reader))
        plan->root = resolve(&c, w, r);
    tsn_map_release(&c.records);
    if (!plan->root)
        tsn_avro_plan_free(&plan);
    return plan;
}

void tsn_avro_plan_free(struct tsn_avro_plan **plan)
{
    if (!*plan)
        return;
    tsn_arena_release(&(*plan)->arena);
    tsn_json_release(&(*plan)->writer_json);
    tsn_json_release(&(*plan)->reader_json);
    tsn_free(*plan);
    *plan = NULL;
}
