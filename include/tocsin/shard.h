/*
 * shard: where rules run, and so where INGEST sends their series (rules, L3).
 *
 * `samples` is partitioned by the shard label. A unit (a rule group, or groups tied by recorded series or ALERTS) runs on every
 * partition for the series there, if nothing in it depends on series of other shards; on the one partition where a
 * shard label value lives, if all its selectors pin that value; else on hash(unit name). INGEST and DETECT must
 * agree on this to the last bit, so both ask here. Pure functions of a rule set.
 */
#ifndef TOCSIN_SHARD_H
#define TOCSIN_SHARD_H

#include "tocsin/rules.h"

enum tsn_placement { TSN_PLACE_SHARDED, TSN_PLACE_GLOBAL, TSN_PLACE_PINNED };
/* Where a rule may run, and, if not sharded, why (a static text; what would make it sharded). */
enum tsn_placement tsn_rule_placement(const struct tsn_group *group, const struct tsn_rule *rule,
                                      const char *shard_label, const char **pinned_value, const char **why);
/* A rule that cannot run on a stream (negative offset, @): false with the reason. */
bool tsn_rule_streamable(const struct tsn_rule *rule, const char **why);

/* unit_of_group[g] = index of the unit that group g belongs to (the least group of the unit). */
uint32_t tsn_units_of(const struct tsn_rule_set *set, uint32_t *unit_of_group);
/* The one partition that runs the unit, or -1: every partition runs it for its own shard. */
int32_t tsn_unit_place(const struct tsn_rule_set *set, const uint32_t *unit_of_group, uint32_t unit,
                       const char *shard_label, int32_t partition_count);
int32_t tsn_unit_partition(const char *file, const char *group, int32_t partition_count);

/* One selector as INGEST needs it: series that match go to `partition`, or to their shard's if -1. */
struct tsn_route {
    const struct tsn_matcher *matchers; /* borrowed from the set */
    size_t matcher_count;
    int32_t partition;
};
struct tsn_routes {
    struct tsn_route *items;
    size_t len, cap;
};
/* Appends a route for each selector of the set. */
void tsn_routes_build(const struct tsn_rule_set *set, const char *shard_label, int32_t partition_count,
                      struct tsn_routes *routes);

/* ---- which inputs a unit reads ------------------------------------------------------------- */

/* Sets tied[a * count + b] where inputs a and b bring series to one unit of the set; what is set stays. An input that may carry any
 * name counts for a selector only if the name it asks for is not one that other inputs are there to give: else the metrics topic would be
 * tied to the log topic by every log rule, and a log backlog would hold it up. */
void tsn_inputs_tie(const struct tsn_rule_set *set, const struct tsn_input_decl *decls, size_t count, bool *tied);

#endif
