/* incidents_source: incidents for the command line, from Redis or, without it, from topic `respond`. */
#ifndef TOCSIN_CLI_INCIDENTS_SOURCE_H
#define TOCSIN_CLI_INCIDENTS_SOURCE_H

#include "tocsin/config.h"
#include "tocsin/respond_record.h"

struct incident_list {
    struct tsn_respond_incident *items;
    size_t len, cap;
};
void incident_list_release(struct incident_list *list);
/* All held. Redis first; where it does not answer, or from_topic, what `respond` holds (a note on stderr says so). Open ones first,
 * worst first, then oldest first. */
enum tsn_err incident_list_read(const struct tsn_config *config, bool from_topic, struct incident_list *list, struct tsn_error *error);

#endif
