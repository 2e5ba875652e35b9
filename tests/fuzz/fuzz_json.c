/* fuzz_json: any bytes as JSON; the nodes of what parses must cover the document exactly. */
#include "tocsin/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct tsn_json_node *node)
{
    size_t nodes = 1, count = 0;

    if (node->kind != TSN_JSON_ARRAY && node->kind != TSN_JSON_OBJECT)
        return 1;
    tsn_json_foreach(node, n) {
        nodes += walk(n);
        count++;
    }
    TSN_ASSERT(count == node->count && nodes == node->skip);
    return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_json json;
    double value;
    int64_t ms;

    tsn_json_init(&json);
    if (tsn_json_parse(&json, (const char *)data, size, NULL) == TSN_OK) {
        TSN_ASSERT(walk(json.nodes.items) == json.nodes.len);
        for (size_t i = 0; i < json.nodes.len; i++) {
            tsn_json_double(&json.nodes.items[i], &value);
            tsn_json_time(&json.nodes.items[i], &ms);
        }
    }
    tsn_json_release(&json);
    return 0;
}
