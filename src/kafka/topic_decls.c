/* topic_decls: the declarations of all topics together. See tocsin/kafka_admin.h. */
#include "tocsin/kafka_admin.h"
#include "kafka/topics_builtin.h"

#include <string.h>

/* The keys of the configuration's `topics` section: none may go undeclared. */
static const char *const roles[] = { "samples", "state", "rules", "templates", "alerts", "commands", "incidents", "respond", "deadletter" };

static const struct tsn_topic_decl *decl_of(const struct tsn_topic_decls *decls, const char *role)
{
    for (size_t i = 0; i < decls->len; i++)
        if (strcmp(decls->items[i].role, role) == 0)
            return &decls->items[i];
    return NULL;
}

enum tsn_err tsn_topic_decls_add(struct tsn_topic_decls *out, const char *file, const char *text, size_t len,
                                 struct tsn_error *error)
{
    struct tsn_topic_decl decl;
    enum tsn_err err = tsn_topic_decl_parse(&decl, file, text, len, error);

    if (!err && decl_of(out, decl.role))
        err = tsn_error_set(error, TSN_ERR_INVALID, "%s: role %s is declared twice", file, decl.role);
    else if (!err) {
        tsn_vec_push(out, decl);
        return TSN_OK;
    } else
        return err;
    tsn_topic_decl_release(&decl);
    return err;
}

enum tsn_err tsn_topic_decls_builtin(struct tsn_topic_decls *out, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    for (size_t i = 0; i < tsn_topic_file_count && !err; i++)
        err = tsn_topic_decls_add(out, tsn_topic_files[i].name, tsn_topic_files[i].text, strlen(tsn_topic_files[i].text), error);
    return err;
}

enum tsn_err tsn_topic_decls_check(const struct tsn_topic_decls *decls, const struct tsn_config *config, struct tsn_error *error)
{
    for (size_t i = 0; i < TSN_ARRAY_LEN(roles); i++)
        if (!decl_of(decls, roles[i]))
            return tsn_error_set(error, TSN_ERR_INVALID, "topic declarations: role %s is missing", roles[i]);
    for (size_t i = 0; i < decls->len; i++) {
        const struct tsn_topic_decl *d = &decls->items[i], *other;

        if (!tsn_config_topic(config, d->role))
            return tsn_error_set(error, TSN_ERR_INVALID, "topic declarations: there is no role '%s'", d->role);
        other = *d->partitions_as ? decl_of(decls, d->partitions_as) : NULL;
        if (*d->partitions_as && (!other || !other->partitions))
            return tsn_error_set(error, TSN_ERR_INVALID, "topic %s: partitions_as '%s' is no role with a count of its own", d->role, d->partitions_as);
    }
    return TSN_OK;
}

void tsn_topic_decls_release(struct tsn_topic_decls *decls)
{
    for (size_t i = 0; i < decls->len; i++)
        tsn_topic_decl_release(&decls->items[i]);
    tsn_vec_release(decls);
}
