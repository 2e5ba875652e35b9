/*
 * sim_clauses: what the issue asks of the simulator, word by word, and where it is. Each row is an event that is counted where it
 * happens; from SIM_ALL_OCCUR seeds on a row that was never counted is a failed test. X(name, clause, what is counted, where).
 */
#ifndef TESTS_SIM_CLAUSES_H
#define TESTS_SIM_CLAUSES_H

#define SIM_CLAUSES(X)                                                                                                           \
    X(INTERLEAVED, "partitions interleaved", "a worker turns to another partition", "lib_ingest: read_some")                     \
    X(STARVED, "partitions starved", "a partition is passed over, the others read on", "lib_ingest: read_some")                  \
    X(REPEATED, "partitions duplicated", "records are delivered again", "lib_ingest: feed")                                      \
    X(HOURS_APART, "partitions drifting hours apart", "committed watermarks over an hour apart", "lib_ingest: check_drift")      \
    X(HELD, "partitions drifting hours apart", "alignment holds one back", "lib_ingest: read_some")                              \
    X(IDLE, "partitions starved", "a partition counts as idle", "lib_ingest: look_idle")                                         \
    X(LATE, "partitions starved", "DETECT finds a sample late", "lib_check: check_law")                                          \
    X(INGEST_DIES_IDLE, "crashes at every hand-over", "INGEST dies with records in hand", "lib_world: turn")                     \
    X(INGEST_DIES_CLOSED, "crashes at every hand-over", "INGEST dies with a closed batch", "lib_world: turn")                    \
    X(INGEST_DIES_INSIDE, "crashes at every hand-over", "INGEST dies inside its transaction", "lib_ingest: send_first")          \
    X(INGEST_DIES_BEHIND, "crashes at every hand-over", "INGEST dies behind its commit", "lib_ingest: send_first")               \
    X(DETECT_DIES_BEFORE, "crashes at every hand-over", "DETECT dies before its transaction", "lib_detect: owner_commit")        \
    X(DETECT_DIES_INSIDE, "crashes at every hand-over", "DETECT dies inside its transaction", "lib_detect: owner_commit")        \
    X(DETECT_DIES_BEHIND, "crashes at every hand-over", "DETECT dies behind its commit", "lib_detect: owner_commit")             \
    X(RESPOND_DIES_BEFORE, "crashes at every hand-over", "RESPOND dies before its script", "lib_respond: take")                  \
    X(RESPOND_DIES_STORED, "crashes at every hand-over", "RESPOND dies between store and publish", "lib_respond: take")          \
    X(RESPOND_DIES_INSIDE, "crashes at every hand-over", "RESPOND dies inside its transaction", "lib_respond: publish")          \
    X(RESPOND_DIES_TRIM, "crashes at every hand-over", "RESPOND dies between publish and trim", "lib_respond: publish")          \
    X(EAGER, "eager rebalances", "a rebalance in which all give up all", "lib_ingest: change")                                   \
    X(COOPERATIVE, "cooperative rebalances", "a rebalance in which only what moves is given up", "lib_ingest: change")           \
    X(WORKERS_1, "1-5 workers", "a run of one worker", "lib_world: choose")                                                      \
    X(WORKERS_2, "1-5 workers", "a run of two workers", "lib_world: choose")                                                     \
    X(WORKERS_3, "1-5 workers", "a run of three workers", "lib_world: choose")                                                   \
    X(WORKERS_4, "1-5 workers", "a run of four workers", "lib_world: choose")                                                    \
    X(WORKERS_5, "1-5 workers", "a run of five workers", "lib_world: choose")                                                    \
    X(INGEST_ZOMBIE, "zombies that wake after a takeover", "an INGEST that was replaced is refused", "lib_ingest: send_first")   \
    X(DETECT_ZOMBIE, "zombies that wake after a takeover", "a DETECT that was replaced is refused", "lib_detect: haunt")         \
    X(RESPOND_ZOMBIE, "zombies that wake after a takeover", "a RESPOND that was replaced is fenced", "lib_respond: publish")     \
    X(STORE_ZOMBIE, "zombies that wake after a takeover", "Redis refuses an old generation", "lib_respond: store_apply")         \
    X(INGEST_ABORTED, "aborted transactions", "INGEST's; the same bytes go out again", "lib_ingest: send_first")                 \
    X(RESPOND_ABORTED, "aborted transactions", "RESPOND's", "lib_respond: publish")                                              \
    X(INGEST_TIMED_OUT, "timed-out transactions", "INGEST sleeps in one until the broker ends it", "lib_ingest: send_first")     \
    X(DETECT_TIMED_OUT, "timed-out transactions", "DETECT's is open; the next owner waits", "lib_detect: owner_start")           \
    X(INPUT_OPEN, "timed-out transactions", "an input's producer has one open: not idle", "lib_ingest: look_idle")               \
    X(MARKER_SAMPLES, "commit markers late on one partition", "DETECT waits before samples", "lib_detect: read_samples")         \
    X(MARKER_STATE, "commit markers late on one partition", "a takeover waits before state", "lib_detect: owner_start")          \
    X(NEW_PARTITION, "new partitions", "metrics/2 is born", "lib_ingest: sim_grow")                                              \
    X(NEW_PARTITION_READ, "new partitions", "records of it are read", "lib_ingest: feed")                                        \
    X(SWITCHED, "rule sets switching", "a partition of samples goes over", "lib_check: check_law")                               \
    X(WARMING, "rule sets switching", "a transition of a rule that is warming", "lib_check: check_law")                          \
    X(RULE_GONE, "rule sets switching", "an alert ends with its rule", "lib_check: check_law")                                   \
    X(DISCOVERED, "log lines", "a template is discovered", "lib_mining: mine_pane")                                              \
    X(MERGED, "log lines", "a template is merged into another", "lib_mining: take_merges")                                       \
    X(SAMPLE_LINE, "log lines", "a sample line is found in the input", "lib_mining: check_sample")                               \
    X(SECRET, "log lines", "one with a secret, masked", "lib_mining: check_sample")                                              \
    X(TEMPLATE_TAKEN, "log lines", "a takeover finds templates in state", "lib_detect: sim_owner_start")                         \
    X(TEMPLATE_FIRED, "log lines", "an alert on a template fires, with its text", "lib_check: note_transition")                  \
    X(CHUNK_TAKEN, "windows longer than one hour", "a takeover finds chunks in state", "lib_detect: sim_owner_start")            \
    X(CHUNK_DROPPED, "windows longer than one hour", "a chunk behind its window leaves state", "lib_cluster: put_state")         \
    X(LONG_FIRED, "windows longer than one hour", "an alert on a long window fires", "lib_check: check_law")                     \
    X(REDIS_WIPED, "Redis wiped", "FLUSHALL under an open connection", "lib_respond: sim_redis_act")                             \
    X(REDIS_ROLLED_BACK, "Redis rolled back", "an older dump comes back", "lib_respond: sim_redis_act")                          \
    X(REDIS_REBUILT, "Redis rolled back", "the owner rebuilds it from topic respond", "lib_respond: take_store")                 \
    X(REDIS_SLOW, "Redis slow", "a script ran; its answer is lost", "lib_respond: store_apply")                                  \
    X(REDIS_LOST, "Redis slow", "a script is lost on the way", "lib_respond: store_apply")                                       \
    X(REDIS_AWAY, "Redis slow", "away for up to a minute and a half", "lib_respond: sim_redis_act")                              \
    X(DIRECT, "Redis slow", "a page on the direct path", "lib_respond: direct_path")                                             \
    X(COMMAND_TAKEN, "commands", "one is answered with ok", "lib_respond: take_command")                                         \
    X(COMMAND_REFUSED, "commands", "one is refused", "lib_respond: take_command")                                                \
    X(COMMAND_GARBAGE, "commands", "a record that is none", "lib_respond: take_command")                                         \
    X(COMMAND_REPEATED, "commands", "the same record lies there twice", "lib_people: say_again")                                 \
    X(COMMAND_ACTED, "commands", "an event that names one", "lib_people: check_command")                                         \
    X(TIMER, "escalation timers", "the clock comes to a deadline", "lib_respond: take_time")                                     \
    X(CLIMBED, "escalation timers", "an incident climbs a level by the clock", "lib_people: check_event")                        \
    X(BREACHED, "escalation timers", "a deadline is breached", "lib_people: check_event")                                        \
    X(REDIS_FORWARD, "clock jumps", "the incident clock leaps forward", "lib_respond: sim_redis_act")                            \
    X(REDIS_BACK, "clock jumps", "the incident clock leaps back", "lib_respond: sim_redis_act")                                  \
    X(DIRECT_EXCUSED, "clock jumps", "a direct page named at a clock that went back", "lib_respond: excuse_names")               \
    X(CLOCK_FORWARD, "clock jumps", "a worker's clock leaps forward", "lib_ingest: sim_worker_act")                              \
    X(CLOCK_BACK, "clock jumps", "a worker's clock leaps back", "lib_ingest: sim_worker_act")                                    \
    X(LAW, "alerts equal the reference to the byte", "undisturbed DETECT over the log", "lib_check: check_law")                  \
    X(REFERENCE, "alerts equal the reference to the byte", "seeds held against the events", "lib_check: check_reference")        \
    X(REFERENCE_SWITCHED, "alerts equal the reference to the byte", "seeds with a switch held against the events", "lib_reference") \
    X(FOREIGN, "rule sets switching", "a sample that only the new set reads here", "lib_reference: take_foreign")                \
    X(INCIDENTS, "incident events in sequence and once", "seeds whose events were compared", "lib_world: sim_check_incidents")   \
    X(REPLAYED, "replay from samples equal to live", "seeds replayed", "lib_world: sim_check_replay")                            \
    X(COUNTED, "no counter lost", "seeds whose counts were compared", "lib_check: check_counts")

enum sim_event {
#define SIM_EVENT_NAME(name, clause, what, where) SIM_E_##name,
    SIM_CLAUSES(SIM_EVENT_NAME)
#undef SIM_EVENT_NAME
    SIM_E_COUNT
};

#endif
