/*
 * respond_policy: the policy from the configuration's files, and what happens when it changes.
 *
 * Open incidents carry deadlines that some policy gave them. The data set notes which (a hash over the files' texts and group_by): an owner that
 * comes with another one, by a restart or by a reload, has them computed anew, once, as one input without a record. Doing it twice
 * changes nothing.
 *
 * Concurrency: a reload parses in its caller's thread and leaves the result in stage->next under the lock; the stage's thread takes it.
 */
#include "app/respond_int.h"

#include <string.h>

enum { TEXT_MAX = 1 << 20 };

#define NOTE "policy"

void respond_policy_free(struct loaded_policy **policy)
{
    if (!*policy)
        return;
    tsn_policy_release(&(*policy)->policy);
    tsn_free(*policy);
    *policy = NULL;
}

static enum tsn_err load_file(struct tsn_policy *policy, const struct tsn_config *config, bool services, const char *file,
                              struct tsn_buf *all, struct tsn_error *error)
{
    char *path = tsn_config_path(config, file), *text;
    enum tsn_err err = TSN_OK;
    size_t len = 0;

    text = tsn_app_read_file(path, TEXT_MAX, &len, error);
    if (!text)
        err = error->code;
    else if (services)
        err = tsn_policy_load_services(policy, path, text, len, error);
    else
        err = tsn_policy_load_escalation(policy, path, text, len, error);
    if (!err) {
        tsn_buf_printf(all, "%d %zu\n", services, len);
        tsn_buf_append(all, text, len);
    }
    tsn_free(text);
    tsn_free(path);
    return err;
}

struct loaded_policy *respond_policy_load(const struct tsn_config *config, struct tsn_error *error)
{
    struct loaded_policy *p = tsn_calloc(1, sizeof *p);
    struct tsn_buf all = TSN_BUF_INIT;
    enum tsn_err err = TSN_OK;

    tsn_policy_init_default(&p->policy);
    tsn_texts_release(&p->policy.group_by);
    for (size_t i = 0; i < config->respond.group_by.len; i++) {
        const char *label = config->respond.group_by.items[i];

        tsn_texts_add(&p->policy.group_by, label, strlen(label));
        tsn_buf_printf(&all, "%s\n", label);
    }
    if (*config->respond.services)
        err = load_file(&p->policy, config, true, config->respond.services, &all, error);
    if (!err && *config->respond.escalation)
        err = load_file(&p->policy, config, false, config->respond.escalation, &all, error);
    tsn_u128_hex(tsn_hash128(tsn_buf_str(&all), all.len), p->hash);
    tsn_buf_release(&all);
    if (err)
        respond_policy_free(&p);
    return p;
}

enum tsn_err tsn_respond_stage_reload(struct tsn_respond_stage *stage, struct tsn_error *error)
{
    struct loaded_policy *fresh, *old;

    if (stage->opt.policy)
        return TSN_OK;
    fresh = respond_policy_load(stage->config, error);
    if (!fresh)
        return error->code;
    pthread_mutex_lock(&stage->stats_lock);
    old = stage->next;
    stage->next = fresh;
    pthread_mutex_unlock(&stage->stats_lock);
    respond_policy_free(&old);
    return TSN_OK;
}

static void compute_anew(struct respond_session *s)
{
    struct tsn_respond_position before = tsn_respond_position(s->core);
    struct tsn_error error = { 0 };

    if (respond_read_clock(s, &error)) {
        respond_store_failed(s, &error);
        return;
    }
    tsn_respond_set_policy(s->core, s->stage->policy, s->clock_ms, &s->effects);
    respond_store_input(s, TSN_STORE_TICK, before);
    if (s->store_ready && tsn_store_note_set(s->store, NOTE, s->stage->loaded->hash, &error))
        respond_store_failed(s, &error);
}

void respond_policy_apply(struct respond_session *s)
{
    char noted[TSN_STORE_NOTE_TEXT];
    struct tsn_error error = { 0 };
    enum tsn_err err;

    if (!s->stage->loaded)
        return;
    err = tsn_store_note_get(s->store, NOTE, noted, &error);
    if (err && err != TSN_ERR_NOT_FOUND)
        respond_store_failed(s, &error);
    else if (err || strcmp(noted, s->stage->loaded->hash) != 0)
        compute_anew(s);
}

void respond_policy_turn(struct respond_session *s)
{
    struct loaded_policy *next, *old = s->stage->loaded;

    pthread_mutex_lock(&s->stage->stats_lock);
    next = s->stage->next;
    s->stage->next = NULL;
    pthread_mutex_unlock(&s->stage->stats_lock);
    if (!next)
        return;
    if (strcmp(next->hash, old->hash) == 0) {
        respond_policy_free(&next);
        return;
    }
    tsn_log(TSN_LOG_INFO, "respond", "another policy", "hash=%s", next->hash);
    s->stage->loaded = next;
    s->stage->policy = &next->policy;
    if (s->core && s->store_ready)
        compute_anew(s);
    if (s->core && !s->store_ready) { /* the direct path still asks it for names; what it holds is loaded anew when Redis is back */
        tsn_respond_set_policy(s->core, s->stage->policy, s->clock_ms, &s->effects);
        tsn_effects_clear(&s->effects);
    }
    respond_policy_free(&old);
}
