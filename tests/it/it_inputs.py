#!/usr/bin/env python3
"""Goal: an input that is taken out of the configuration stops to hold event time, and may come back.

Method: events of three inputs flow; a rule reads all of them. The worker is stopped in order and started without the logs: what they last said must not hold
the alerts of the others, which change every 10 s of event time. Then it is started with the logs again; time goes on from where they stand. No partition is
ever idle (idle_timeout is longer than the test), so nothing but the group's own knowledge lets the input go.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

LIMIT_S = 60  # each wait; a few seconds when the machine is calm
MORE = 24     # transitions: two changes of the six services' Beat


def transitions(run):
    return sum(map(len, run.alerts().values()))


def grows(run, by):
    """True if that many transitions are added in time."""
    want, end = transitions(run) + by, time.time() + LIMIT_S
    while time.time() < end:
        if transitions(run) >= want:
            return True
        time.sleep(0.5)
    return False


def gone(run):
    """How often a topic was said to be an input no more."""
    with open(run.config() + ".log") as log:
        return sum("is an input no more" in line for line in log)


checks = spine.Checks()
stream = spine.Stream(spine.program(sys.argv), spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
run = spine.Run(stream, "inputs", "ingest,detect")
run.time = {"idle_timeout": "10m"}
made = run.create_topics()
checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
stream.start(1, 4000, 0.1)
run.start()
checks.check(grows(run, MORE), "all three inputs give alerts; logs are in " + stream.folder)
checks.check(run.stop()[0] == 0, "ordered stop")
checks.check(gone(run) == 0, "no input is gone while all are read")
run.inputs = ("metrics", "hooks")
run.start()
checks.check(grows(run, MORE), "without the logs the others' time goes on; logs are in " + stream.folder)
checks.check(gone(run) == 1, "and it is said, once: %d" % gone(run))
checks.check(run.stop()[0] == 0, "ordered stop")
run.inputs = ("metrics", "logs", "hooks")
run.start()
checks.check(grows(run, MORE), "with the logs again time goes on; logs are in " + stream.folder)
checks.check(gone(run) == 1, "no input is gone now: %d" % gone(run))
checks.check(run.stop()[0] == 0, "ordered stop")
stream.stop()
checks.check(stream.wait(), "all events were produced")
checks.finish()
