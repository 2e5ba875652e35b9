/* Any bytes as a configuration file and as a topic declaration: no crash, no leak; what is accepted prints and reads back. */
#include "tocsin/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *env(void *arg, const char *name)
{
    (void)arg;
    return name[0] == 'A' ? "value" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tsn_config_io io = { NULL, env, NULL };
    struct tsn_config config, again;
    struct tsn_topic_decl decl;
    struct tsn_error error;
    struct tsn_buf out = TSN_BUF_INIT;

    if (tsn_config_parse(&config, "f.yaml", (const char *)data, size, &io, &error) == TSN_OK) {
        tsn_config_print(&config, &out);
        if (tsn_config_parse(&again, "f.yaml", tsn_buf_str(&out), out.len, NULL, &error) == TSN_OK)
            tsn_config_release(&again);
        tsn_config_release(&config);
    }
    tsn_buf_release(&out);
    if (tsn_topic_decl_parse(&decl, "t.yaml", (const char *)data, size, &error) == TSN_OK)
        tsn_topic_decl_release(&decl);
    return 0;
}
