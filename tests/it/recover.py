"""How long until a run is current again after a fault: seen from outside, in what committed readers get.

Every service's alert Beat changes every 10 s of event time. Two readers (kcat, read_committed) note when each change reaches `alerts`, and when it
reaches `incidents`. A run is CURRENT for a service when a change made of events that were produced after the fault's end is seen less than
LAG_S after they were produced; it has recovered when it is current for all services. The figure is from the fault (for an outage: from its end) to
that moment, so it holds everything: the death being noticed, the rebalance, the takeover, the backlog. Its resolution is the Beat's half period.
"""
import json
import subprocess
import threading
import time

import spine

LAG_S = 2.0
LIMIT_S = 120  # recovered by then, or the check fails


def step_of_transition(record):
    """(service, event time in ms) of a Beat's change, or None."""
    t = json.loads(record)
    return (t["labels"]["service"], _ms(t["step_ts"])) if t["rule"] == "Beat" else None


def step_of_incident(record):
    """(service, event time in ms) of the newest change of the Beat that an incident event shows, or None."""
    for alert in json.loads(record)["snapshot"]["alerts"]:
        if alert["labels"]["alertname"] == "Beat":
            return alert["labels"]["service"], max(_ms(alert["fired_at"]), _ms(alert["resolved_at"]))
    return None


def _ms(text):
    from datetime import datetime
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000) if text else 0


class Tail:
    """A thread that follows one topic and notes when each step was first seen. A kcat that gives up is started again where it stood."""

    def __init__(self, kafka, topic, step_of):
        self.kafka, self.topic, self.step_of = kafka, topic, step_of
        self.seen = {s: [] for s in spine.SERVICES}  # service → [(wall clock, step ms), …]
        self.next, self.closed, self.kcat = 0, False, None
        self._start()  # here, not in the thread: the stream's fork would inherit a half-made child's pipe, and hold it open
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _start(self):
        self.kcat = subprocess.Popen(
            ["kcat", "-b", self.kafka, "-t", self.topic, "-p", "0", "-C", "-E", "-q", "-u", "-o", str(self.next), "-f", "%o\t%s\n", "-X",
             "isolation.level=read_committed", "-X", "fetch.wait.max.ms=50", "-X", "reconnect.backoff.max.ms=500"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")

    def _follow(self):
        while True:
            for line in self.kcat.stdout:
                offset, record = line.rstrip("\n").split("\t", 1)
                self.next = int(offset) + 1
                step = self.step_of(record)
                if step and (not self.seen[step[0]] or self.seen[step[0]][-1][1] < step[1]):
                    self.seen[step[0]].append((time.time(), step[1]))
            self.kcat.wait()
            time.sleep(0.2)
            if self.closed:
                return
            self._start()

    def close(self):
        self.closed = True
        self.kcat.terminate()
        self.thread.join(10)


class Recovery:
    """The clock of one run. mark() at the end of a fault, settle() to wait until the run has recovered from it."""

    def __init__(self, run, checks, lag_s=LAG_S):
        self.run, self.checks, self.at, self.lag_s = run, checks, 0, lag_s
        self.tails = {"alerts": Tail(run.stream.kafka, run.prefix + "alerts", step_of_transition),
                      "incidents": Tail(run.stream.kafka, run.prefix + "incidents", step_of_incident)}
        self.took = {"alerts": [], "incidents": []}
        self.produced, self.produced_file = {}, None

    def _read_produced(self):
        if not self.produced_file:
            try:
                self.produced_file = open(self.run.stream.folder + "/produced")
            except FileNotFoundError:
                return  # the producer has only just started
        while True:
            place = self.produced_file.tell()
            line = self.produced_file.readline()
            if not line.endswith("\n"):
                self.produced_file.seek(place)
                return
            ts, wall = line.split()
            self.produced[int(ts)] = float(wall)

    def _current_since(self, tail):
        """When the last service became current after the mark; None: not all are."""
        latest = 0
        for seen in tail.seen.values():
            good = [wall for wall, step in list(seen) if self.produced.get(step, 0) >= self.at and wall - self.produced[step] < self.lag_s]
            if not good:
                return None
            latest = max(latest, good[0])
        return latest

    def mark(self):
        self.at = time.time()

    def settle(self, what=""):
        """Waits for both topics; the figures go to `took`."""
        missing = dict(self.tails)
        while missing and time.time() < self.at + LIMIT_S:
            time.sleep(0.1)
            self._read_produced()
            for name, tail in list(missing.items()):
                current = self._current_since(tail)
                if current:
                    self.took[name].append(current - self.at)
                    del missing[name]
        return self.checks.check(not missing, "%s: %s not current %d s after the fault; logs are in %s" % (
            what, " and ".join(missing), LIMIT_S, self.run.stream.folder))

    def close(self):
        for tail in self.tails.values():
            tail.close()

    def text(self, name):
        """Median and maximum."""
        took = sorted(self.took[name])
        return "%.1f (%.1f)" % (took[len(took) // 2], took[-1]) if took else "–"
