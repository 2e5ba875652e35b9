/*
 * Goal: no text breaks the template compiler, and what it accepts runs to an end, within its
 * bounds, without touching what it does not own.
 * Method: libFuzzer target; the corpus holds a text per construct. `query` gives three samples.
 */
#include "tocsin/rules.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tsn_err three_samples(void *arg, const char *expr, struct tsn_result *out, struct tsn_error *error)
{
    static const char *const names[] = { "b", "a", "c" };

    TSN_UNUSED(arg);
    if (!*expr)
        return tsn_error_set(error, TSN_ERR_INVALID, "empty query");
    out->type = TSN_TYPE_VECTOR;
    out->vector = tsn_calloc(3, sizeof *out->vector);
    out->vector_len = out->vector_cap = 3;
    for (int i = 0; i < 3; i++)
        out->vector[i] = (struct tsn_vector_sample){ tsn_labels_of("inst", names[i], NULL), 0, i + 0.5 };
    return TSN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_error error = { .message = "" };
    struct tsn_template *tmpl = tsn_template_new("Fuzz", (const char *)data, size, &error);
    struct tsn_labels *labels = tsn_labels_of("job", "node", "instance", "a:1", NULL);
    struct tsn_template_env env = { .labels = labels, .value = 1.5, .now_ms = 1000, .query = three_samples };
    struct tsn_buf out = TSN_BUF_INIT;

    if (!tmpl) {
        TSN_ASSERT(!strncmp(error.message, "template: __alert_Fuzz:", 23));
    } else {
        tsn_buf_puts(&out, "before");
        if (tsn_template_run(tmpl, &env, &out, &error))
            TSN_ASSERT(out.len == 6 && error.message[0]);
        else
            TSN_ASSERT(out.len >= 6 && out.len <= (8u << 20));
        tsn_template_free(&tmpl);
    }
    tsn_buf_release(&out);
    tsn_labels_unref(labels);
    return 0;
}
