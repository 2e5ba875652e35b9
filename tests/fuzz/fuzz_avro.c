/*
 * fuzz_avro: a line of writer schema, a line of reader schema (empty: as written), then a record. Whatever compiles must run
 * within its budget; what it gives must hang together: subtrees nest, texts lie in the record or the plan.
 */
#include "tocsin/avro_plan.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tree(const struct tsn_avro_node *n, size_t left)
{
    size_t count = 0;

    TSN_ASSERT(n->skip >= 1 && n->skip <= left);
    if (n->kind < TSN_AVRO_LIST) {
        TSN_ASSERT(n->skip == 1);
        return;
    }
    tsn_avro_foreach(n, child) {
        check_tree(child, (size_t)(n + n->skip - child));
        count++;
    }
    TSN_ASSERT(count == n->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *first = memchr(text, '\n', size);
    const char *second = first ? memchr(first + 1, '\n', size - (size_t)(first + 1 - text)) : NULL;
    struct tsn_avro_nodes nodes = { NULL, 0, 0 };
    struct tsn_avro_plan *plan;
    struct tsn_error error;

    if (!second)
        return 0;
    plan = tsn_avro_plan_new(text, (size_t)(first - text), second - first > 1 ? first + 1 : NULL, (size_t)(second - first - 1), &error);
    if (!plan)
        return 0;
    if (tsn_avro_plan_run(plan, second + 1, size - (size_t)(second + 1 - text), &nodes, &error) == TSN_OK) {
        struct tsn_json json;

        check_tree(nodes.items, nodes.len);
        tsn_json_init(&json);
        tsn_avro_to_json(&nodes, &json);
        TSN_ASSERT(json.nodes.len == nodes.len);
        tsn_json_release(&json);
    }
    tsn_vec_release(&nodes);
    tsn_avro_plan_free(&plan);
    return 0;
}
