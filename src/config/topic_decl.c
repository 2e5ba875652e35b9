/* topic_decl: one file of topics/, which says what a topic must be. See tocsin/config.h. */
#include "config/config_internal.h"

#include <string.h>

void tsn_topic_decl_release(struct tsn_topic_decl *decl)
{
    tsn_config_clear(&tsn_config_topic_table, decl);
}

enum tsn_err tsn_topic_decl_parse(struct tsn_topic_decl *decl, const char *file, const char *text, size_t len,
                                  struct tsn_error *error)
{
    struct tsn_error unused;
    struct tsn_config_walk w = { .file = file, .base_dir = ".", .error = error ? error : &unused };

    memset(decl, 0, sizeof *decl);
    tsn_config_defaults(&tsn_config_topic_table, decl);
    tsn_error_set(w.error, TSN_ERR_INVALID, "%s: not YAML", file);
    if (tsn_config_walk_open(&w, text, len)) {
        tsn_config_read_table(&w, yaml_document_get_root_node(&w.doc), &tsn_config_topic_table, decl, NULL, NULL);
        yaml_document_delete(&w.doc);
        if (!w.failed && !*decl->role)
            tsn_config_fail(&w, NULL, "a topic needs a role");
        else if (!w.failed && !decl->partitions == !*decl->partitions_as)
            tsn_config_fail(&w, NULL, "a topic needs `partitions` or `partitions_as`, and one of them");
        else if (!w.failed && !decl->replication)
            tsn_config_fail(&w, NULL, "replication: 0 copies");
        if (!w.failed)
            return TSN_OK;
    }
    tsn_topic_decl_release(decl);
    return w.error->code;
}
