/*
 * kafka_admin: topics as they are and as they should be (kafka, L5).
 *
 * Two halves. The admin handle asks the cluster and creates topics; nothing here alters or deletes. The plan is a pure
 * function of declarations, configuration and what the cluster said: which topic is missing, which has drifted, which
 * keeps its records for too short a time. `topics apply` creates the missing ones and says the rest.
 *
 * Declarations come from topics/NAME.yaml: those of the build (tsn_topic_decls_builtin) or a folder's.
 * Threads: all of it belongs to one thread. Every call is bounded by the timeout given to tsn_admin_new.
 */
#ifndef TOCSIN_KAFKA_ADMIN_H
#define TOCSIN_KAFKA_ADMIN_H

#include "tocsin/config.h"

/* ---- the cluster -------------------------------------------------------------------------- */

struct tsn_admin;
/* INVALID: a property librdkafka refuses. Connects lazily: the first question says UNREACHABLE. */
struct tsn_admin *tsn_admin_new(const struct tsn_config *config, int timeout_ms, struct tsn_error *error);
void tsn_admin_free(struct tsn_admin **admin);

struct tsn_topic_info {
    char *name;
    bool exists;
    int32_t partitions, replication;
    struct tsn_pair_texts config; /* every effective setting; empty if they may not be read */
};
/* The effective value of a setting, NULL if unknown. Borrowed. */
const char *tsn_topic_info_get(const struct tsn_topic_info *info, const char *setting);
void tsn_topic_infos_free(struct tsn_topic_info *infos, size_t count);
/* What the cluster knows of these topics, in their order; caller frees. NULL with *error. */
struct tsn_topic_info *tsn_admin_describe(struct tsn_admin *admin, const char *const *names, size_t count,
                                          struct tsn_error *error);
/* Brokers that answered the last describe. */
int32_t tsn_admin_broker_count(const struct tsn_admin *admin);
/* Creates and waits until the cluster shows it with a leader for every partition. replication -1: the broker's default. */
enum tsn_err tsn_admin_create(struct tsn_admin *admin, const char *name, int32_t partitions, int32_t replication,
                              const struct tsn_pair_texts *config, struct tsn_error *error);
/*
 * What we may do, found out by asking for it in ways that change nothing. may_read: partition 0 of each topic is read at its end, without
 * a group; may[i] says whether the broker allowed it (a topic that is missing counts as not allowed). may_use_group: its committed offsets
 * are asked for.
 */
enum tsn_err tsn_admin_may_read(const struct tsn_config *config, const char *const *topics, size_t count, int timeout_ms, bool *may,
                                struct tsn_error *error);
enum tsn_err tsn_admin_may_use_group(struct tsn_admin *admin, const char *group, bool *may, struct tsn_error *error);
/*
 * May we write these topics (to partition 0), in transactions under this id? A transaction a topic is begun and aborted: nobody who reads
 * committed records sees anything of it. The id must be one that no worker uses: it would be fenced. *may_id false: the id is
 * refused, and may[] says nothing.
 */
enum tsn_err tsn_admin_may_write(const struct tsn_config *config, const char *transactional_id, const char *const *topics, size_t count,
                                 int timeout_ms, bool *may_id, bool *may, struct tsn_error *error);

/* ---- declarations ------------------------------------------------------------------------- */

struct tsn_topic_decls {
    struct tsn_topic_decl *items;
    size_t len, cap;
};
/* The files of topics/ as they were when this program was built. */
enum tsn_err tsn_topic_decls_builtin(struct tsn_topic_decls *out, struct tsn_error *error);
/* One file more; roles must be unique. */
enum tsn_err tsn_topic_decls_add(struct tsn_topic_decls *out, const char *file, const char *text, size_t len,
                                 struct tsn_error *error);
/* Every role of the configuration is declared, and partitions_as names one with a count of its own. */
enum tsn_err tsn_topic_decls_check(const struct tsn_topic_decls *decls, const struct tsn_config *config,
                                   struct tsn_error *error);
void tsn_topic_decls_release(struct tsn_topic_decls *decls);

/* ---- the plan ----------------------------------------------------------------------------- */

enum tsn_topic_status {
    TSN_TOPIC_OK,
    TSN_TOPIC_MISSING, /* to be created */
    TSN_TOPIC_ABSENT,  /* an input topic that is not ours to create */
    TSN_TOPIC_DRIFT,   /* there, and otherwise than declared */
    TSN_TOPIC_CREATED, /* set by tsn_topic_plan_apply */
    TSN_TOPIC_FAILED
};
const char *tsn_topic_status_name(enum tsn_topic_status status);

struct tsn_topic_plan_item {
    char *name, *role; /* role "input" for an input */
    enum tsn_topic_status status;
    int32_t partitions, replication; /* as they are, or as they will be created */
    struct tsn_pair_texts config;    /* to create with */
    struct tsn_texts notes;          /* what differs, and what to do about it, a line each */
    bool differs;                    /* something is, or would be created, otherwise than it should be */
};
struct tsn_topic_plan {
    struct tsn_topic_plan_item *items;
    size_t len, cap;
};
struct tsn_topic_plan_options {
    const struct tsn_config *config;
    const struct tsn_topic_decls *decls;
    int64_t window_ms;         /* longest window of the loaded rules; 0: none known */
    int32_t samples_partitions; /* instead of the declared count; 0: as declared */
    bool create_inputs;        /* input topics are ours to create */
    int32_t input_partitions;  /* then with so many partitions; 0: 4 */
};
/* The names the plan will ask about: declared roles in order of the files, then inputs. Borrowed texts; caller frees the array. */
const char **tsn_topic_plan_names(const struct tsn_topic_plan_options *options, size_t *count);
/* infos: one a name, as tsn_admin_describe gave them. Pure. */
void tsn_topic_plan_build(const struct tsn_topic_plan_options *options, const struct tsn_topic_info *infos,
                          int32_t broker_count, struct tsn_topic_plan *out);
/* Creates what is MISSING. OK also if one failed: its status and notes say so. */
void tsn_topic_plan_apply(struct tsn_admin *admin, struct tsn_topic_plan *plan);
void tsn_topic_plan_release(struct tsn_topic_plan *plan);

#endif
