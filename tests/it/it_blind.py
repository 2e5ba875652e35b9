#!/usr/bin/env python3
"""Goal: what a restart did not see is stated: after a kill and a pause longer than time.blind_after, after a freeze, not after a quick restart.

Method: a worker under load on a real Kafka is killed, or stopped by SIGSTOP; the log of what comes after must hold one line that names the span, in event
time and on the wall clock.
"""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

LINE = re.compile(r"detection sees again.*unobserved_from=(\S+) unobserved_to=(\S+) away_from=(\S+) away_to=(\S+)")
BLIND_S = 6


def lines(run):
    with open(run.config() + ".log") as log:
        return LINE.findall(log.read())


def wait_for(run, count, limit):
    end = time.time() + limit
    while len(lines(run)) < count and time.time() < end:
        time.sleep(0.2)
    return lines(run)


checks = spine.Checks()
stream = spine.Stream(spine.program(sys.argv), spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
run = spine.Run(stream, "blind", "ingest,detect")
run.time = {"blind_after": "%ds" % BLIND_S}
made = run.create_topics()
checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
stream.start(1, 4000, 0.2)
run.start()
end = time.time() + 30
while not run.alerts() and time.time() < end:
    time.sleep(0.5)
before = len(lines(run))
run.kill()
run.start()
time.sleep(5)
checks.check(len(lines(run)) == before, "a quick restart is no blindness: %r" % lines(run))
run.kill()
time.sleep(BLIND_S + 3)
killed = time.time() - BLIND_S - 3
run.start()
said = wait_for(run, before + 1, 30)
if checks.check(len(said) == before + 1, "the span of the pause is stated, once: %r" % said):
    event_from, event_to, wall_from, wall_to = said[-1]
    checks.check(event_from < event_to, "a span of event time: %s to %s" % (event_from, event_to))
    checks.check(abs(spine.seconds(wall_from) - killed) < 4, "it begins at the last commit: %s" % wall_from)
    checks.check(spine.seconds(wall_to) - spine.seconds(wall_from) >= BLIND_S, "and lasts until detection goes on: %s to %s" % (wall_from, wall_to))
run.signal(0, signal.SIGSTOP)
time.sleep(BLIND_S + 6)
run.signal(0, signal.SIGCONT)
said = wait_for(run, before + 2, 40)
checks.check(len(said) == before + 2, "the span of a freeze is stated: %r" % said)
stream.stop()
checks.check(stream.wait(), "all events were produced")
code, took = run.stop()
checks.check(code == 0, "ordered stop: %r" % code)
checks.finish()
