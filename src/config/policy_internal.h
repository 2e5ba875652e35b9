/* What policy.c and its loader share. */
#ifndef TSN_POLICY_INTERNAL_H
#define TSN_POLICY_INTERNAL_H

#include "tocsin/policy.h"

/* False if the name or alias is taken. */
bool tsn_catalogue_index(struct tsn_catalogue *c, const char *name, size_t index);
void tsn_catalogue_release(struct tsn_catalogue *c);
void tsn_escalation_init(struct tsn_escalation *e); /* the built-in matrix */
void tsn_escalation_release(struct tsn_escalation *e);
/* ASCII lower case of text into *out, replacing what it held. */
void tsn_policy_lower(struct tsn_buf *out, const char *text);

#endif
