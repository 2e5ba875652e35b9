/*
 * labels_json: see labels_json.h. What a name or a value may be is the builder's and the model's business.
 */
#include "codec/labels_json.h"

#include <string.h>

struct tsn_labels *tsn_labels_from_json(const json_t *object)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;
    const char *name;
    json_t *value;

    tsn_labels_builder_init(&b);
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        if (json_is_string(value))
            tsn_labels_builder_setn(&b, name, strlen(name), json_string_value(value), json_string_length(value));
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}
