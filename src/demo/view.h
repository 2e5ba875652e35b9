/* view: the play on stdout, for people or as lines of JSON. One thread. */
#ifndef TOCSIN_DEMO_VIEW_H
#define TOCSIN_DEMO_VIEW_H

#include "tocsin/demo.h"

struct demo_view {
    bool json, tty;
    bool status_shown; /* the last line on the terminal is the status and will be overwritten */
    const char *caption;
    int64_t status_ms; /* event time of the last status line */
    uint64_t alerts, incidents;
};
struct demo_status {
    int64_t event_time_ms;
    double sim_per_s;
    uint64_t events, series, firing, open;
    struct tsn_demo_gauge gauges[TSN_DEMO_GAUGES];
};
struct demo_end {
    const char *scenario, *broker, *topics; /* topics: prefix of all of this play's */
    int64_t start_ms, end_ms;
    uint64_t seed, events;
    double elapsed_s;
    bool interrupted;
};

void demo_view_init(struct demo_view *view, bool json);
void demo_view_begin(struct demo_view *view, const struct demo_end *play, double speed);
void demo_view_alert(struct demo_view *view, const struct tsn_transition *t);
void demo_view_incident(struct demo_view *view, const struct tsn_incident_event *event);
/* What begins now, once. NULL: nothing. */
void demo_view_caption(struct demo_view *view, const char *caption);
/* On a terminal at every call; else once an hour of event time. */
void demo_view_status(struct demo_view *view, const struct demo_status *status, const char *caption);
void demo_view_end(struct demo_view *view, const struct demo_end *end, const struct tsn_demo_verdict *verdict);

#endif
