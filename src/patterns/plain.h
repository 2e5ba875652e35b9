/* plain: level, logger, service and time of a plain line, where its beginning says them (see plain.c). */
#ifndef TOCSIN_PATTERNS_PLAIN_H
#define TOCSIN_PATTERNS_PLAIN_H

#include "tocsin/patterns.h"

/* Sets what is found, and the message to what follows. *out is empty beforehand. */
void tsn_log_extract_plain(const char *line, size_t len, struct tsn_log_fields *out);

#endif
