/*
 * feed: which inputs a unit ties together, because both bring it series (shard.h).
 *
 * An input that may carry any name (a metrics topic) may feed every selector: DETECT's unit time assumes so. For keeping inputs side by side
 * that would be too much, so there it counts for a selector only if the name is not otherwise spoken for: given by an input that
 * lists its names, recorded by the set itself, or ALERTS and ALERTS_FOR_STATE.
 */
#include "tocsin/shard.h"

#include <string.h>

static bool name_possible(const struct tsn_route *route, const char *name)
{
    for (size_t i = 0; i < route->matcher_count; i++)
        if (strcmp(route->matchers[i].name, "__name__") == 0 &&
            !tsn_matcher_matches(&route->matchers[i], name, strlen(name)))
            return false;
    return true;
}

static bool gives(const struct tsn_input_decl *decl, const struct tsn_route *route)
{
    for (size_t n = 0; n < decl->name_count; n++)
        if (name_possible(route, decl->names[n]))
            return true;
    return false;
}

/* ---- ties --------------------------------------------------------------------------------- */

struct ties {
    const struct tsn_rule_set *set;
    const struct tsn_input_decl *decls;
    size_t count;
};

/* The one name the selector asks for; NULL: it may be several. */
static const char *pinned_name(const struct tsn_route *route)
{
    for (size_t i = 0; i < route->matcher_count; i++)
        if (strcmp(route->matchers[i].name, "__name__") == 0 && route->matchers[i].op == TSN_MATCH_EQ)
            return route->matchers[i].value;
    return NULL;
}

static bool recorded(const struct tsn_rule_set *set, const char *name)
{
    for (size_t g = 0; g < set->group_count; g++)
        for (size_t r = 0; r < set->groups[g].rule_count; r++)
            if (!set->groups[g].rules[r].is_alert && strcmp(set->groups[g].rules[r].name, name) == 0)
                return true;
    return strcmp(name, "ALERTS") == 0 || strcmp(name, "ALERTS_FOR_STATE") == 0;
}

static bool spoken_for(const struct ties *t, const struct tsn_route *route)
{
    const char *name = pinned_name(route);

    if (!name)
        return false;
    for (size_t i = 0; i < t->count; i++)
        if (!t->decls[i].any_name && gives(&t->decls[i], route))
            return true;
    return recorded(t->set, name);
}

/* feeds[i]: input i brings series to the unit whose selectors these are. */
static void find_feeds(const struct ties *t, const struct tsn_routes *routes, bool *feeds)
{
    for (size_t r = 0; r < routes->len; r++) {
        bool taken = spoken_for(t, &routes->items[r]);

        for (size_t i = 0; i < t->count; i++)
            feeds[i] |= t->decls[i].any_name ? !taken : gives(&t->decls[i], &routes->items[r]);
    }
}

static void tie_unit(const struct ties *t, const uint32_t *unit_of_group, uint32_t unit, bool *tied)
{
    struct tsn_routes routes = { 0 };
    bool *feeds = tsn_calloc(t->count, sizeof *feeds);

    for (size_t g = 0; g < t->set->group_count; g++) {
        struct tsn_rule_set one = { .groups = &t->set->groups[g], .group_count = 1 };

        if (unit_of_group[g] == unit)
            tsn_routes_build(&one, "", 1, &routes);
    }
    find_feeds(t, &routes, feeds);
    for (size_t a = 0; a < t->count; a++)
        for (size_t b = 0; b < t->count; b++)
            tied[a * t->count + b] |= feeds[a] && feeds[b];
    tsn_free(feeds);
    tsn_vec_release(&routes);
}

void tsn_inputs_tie(const struct tsn_rule_set *set, const struct tsn_input_decl *decls, size_t count, bool *tied)
{
    struct ties ties = { set, decls, count };
    uint32_t *unit_of_group = tsn_calloc(set->group_count, sizeof *unit_of_group);

    tsn_units_of(set, unit_of_group);
    for (size_t g = 0; g < set->group_count; g++)
        if (unit_of_group[g] == g)
            tie_unit(&ties, unit_of_group, (uint32_t)g, tied);
    tsn_free(unit_of_group);
}
