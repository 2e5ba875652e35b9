/*
 * fuzz_policy: the first byte picks the service catalogue or the escalation policy, the rest is the file. What loads is found again by
 * every name and alias and drives an incident's life; what does not load says where, and leaves the policy as it was.
 */
#include "tocsin/respond.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define T0 INT64_C(1700000000000)

static void look_up(const struct tsn_policy *policy)
{
    for (size_t i = 0; i < policy->services.len; i++) {
        const struct tsn_service *s = &policy->services.items[i];

        TSN_ASSERT(tsn_policy_service(policy, s->name) == s && s->tier >= 1 && s->tier <= 4);
        for (size_t a = 0; a < s->aliases.len; a++)
            TSN_ASSERT(tsn_policy_service(policy, s->aliases.items[a]) == s);
    }
    for (int i = 1; i <= TSN_SEVERITIES; i++)
        for (int level = 1; level < TSN_LEVELS; level++)
            TSN_ASSERT(policy->escalation.severities[i].climb[level].unanswered_ms >= -1 &&
                       policy->escalation.severities[i].climb[level].unresolved_ms >= -1);
}

static struct tsn_labels *labels_of(const struct tsn_policy *policy)
{
    struct tsn_labels_builder b;
    struct tsn_labels *labels;

    tsn_labels_builder_init(&b);
    tsn_labels_builder_set(&b, "alertname", "ServiceDown");
    tsn_labels_builder_set(&b, "severity", "critical");
    tsn_labels_builder_set(&b, "service", policy->services.len ? policy->services.items[0].name : "x");
    labels = tsn_labels_builder_finish(&b);
    tsn_labels_builder_release(&b);
    return labels;
}

/* An alert comes and everybody sleeps for a week: every deadline that the policy gives must come to an end. */
static void live(const struct tsn_policy *policy)
{
    struct tsn_respond *r = tsn_respond_new(policy, NULL);
    struct tsn_effects effects = { NULL, 0, 0 };
    struct tsn_transition t = { .state = TSN_ALERT_FIRING, .labels = labels_of(policy), .step_ms = T0, .fired_at_ms = T0, .active_at_ms = T0 };

    memcpy(t.alert_id, "0123456789abcdef", 16);
    t.annotations = tsn_labels_ref(t.labels);
    tsn_respond_transition(r, 0, T0, &t, &effects);
    for (int64_t h = 1; h <= 7 * 24; h += 7)
        tsn_respond_tick(r, T0 + h * 3600000, &effects);
    tsn_effects_release(&effects);
    tsn_labels_unref(t.labels);
    tsn_labels_unref(t.annotations);
    tsn_respond_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_policy policy;
    struct tsn_error error = { 0 };
    enum tsn_err err;
    size_t before;

    if (!size)
        return 0;
    tsn_policy_init_default(&policy);
    before = policy.services.len;
    if (data[0] % 2)
        err = tsn_policy_load_escalation(&policy, "f.yaml", (const char *)data + 1, size - 1, &error);
    else
        err = tsn_policy_load_services(&policy, "f.yaml", (const char *)data + 1, size - 1, &error);
    if (err)
        TSN_ASSERT(strncmp(error.message, "f.yaml", 6) == 0 && tsn_utf8_valid(error.message, strlen(error.message)) &&
                   policy.services.len == before);
    look_up(&policy);
    if (!err)
        live(&policy);
    tsn_policy_release(&policy);
    return 0;
}
