/*
 * app_replay: the replay core (replay.h) fed from the topics of a cluster. Reads only: no group, no transaction, no
 * topic is touched. One thread, the caller's.
 */
#ifndef TOCSIN_APP_REPLAY_H
#define TOCSIN_APP_REPLAY_H

#include "tocsin/config.h"
#include "tocsin/replay.h"

struct tsn_app_replay {
    int64_t from_ms, to_ms;              /* event time, both included */
    const struct tsn_policy *policy;     /* NULL: no incidents */
    const struct tsn_rule_source *rules; /* what-if: this set all the way; NULL: the sets of the time */
    size_t rule_count;
};
/* Reads topics `rules` and `samples` from far enough before from_ms, touches no group and writes nothing. What was in force is
 * as live, save limits. The caller releases *result. INVALID: the rules given do not load (printed) · NOT_FOUND: a topic or any
 * rule set is missing · UNREACHABLE · TIMEOUT · LIMIT. */
enum tsn_err tsn_app_replay(const struct tsn_config *config, const struct tsn_app_replay *replay, struct tsn_replay_result *result,
                            struct tsn_error *error);
/* The transitions in topic `alerts` with steps in the range, in the topic's order; visit borrows. */
enum tsn_err tsn_app_read_alerts(const struct tsn_config *config, int64_t from_ms, int64_t to_ms,
                                 void (*visit)(void *arg, const struct tsn_transition *t), void *arg, struct tsn_error *error);

#endif
