/*
 * logs_live: the log as INGEST saw it, out of topic `samples`: texts of signatures, and how many lines of each fell in a stretch
 * of event time. Complete for the services and levels that some rule selects template series of; INGEST sends no others.
 */
#ifndef TOCSIN_CLI_LOGS_LIVE_H
#define TOCSIN_CLI_LOGS_LIVE_H

#include "cli/logs_book.h"

struct tsn_logs_live {
    const char *config_file, *service, *level; /* the latter NULL: all */
    int64_t from_ms[2], to_ms[2];              /* by side of the book; event time, end exclusive */
    uint64_t unnamed;                          /* out: lines whose text was never met */
};
/* Counts the lines of both stretches into the book, by service and level. Reads each partition from some minutes before the earlier
 * stretch to an hour after the later one, further while its writer catches up with an older past: what came later than that is not counted. */
enum tsn_err tsn_logs_live_read(struct tsn_logs_live *live, struct tsn_book *book, struct tsn_error *error);

#endif
