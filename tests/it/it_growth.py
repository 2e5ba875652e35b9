#!/usr/bin/env python3
"""Goal: an input topic gets partitions while workers run: they are read soon, no event is lost, none is taken for late, and event time goes on.

Method: two workers read a topic of two partitions on a real Kafka; in the middle it grows to four, and the producer writes to all four at once,
as one does that has just looked. Out-of-orderness covers BOUND_S seconds of the clock: what is found later than that would be late. Afterwards:
the log says when the new partitions were taken; a counter counted here has its exact total, which a rule asks for; no event is late or
dead; and the transitions are those of one undisturbed worker that had four partitions from the beginning.

Usage: it_growth.py TOCSIN     prints "N passed, N failed"
"""
import glob
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
SERVICES = spine.SERVICES
BEFORE, AFTER, END = 20, 20, 10  # seconds of event time with two partitions, with four, and with nothing that is counted
PACE = 0.5                       # of the clock, each
BOUND_S = 20                     # librdkafka alone looks every 30 s (topic.metadata.refresh.interval.ms)
TOTAL = 3 * (2 * BEFORE + 4 * AFTER)

RULES = """
groups:
  - name: growth
    interval: 5s
    rules:
      - alert: Whole
        expr: sum by (service) (requests_total) >= %d
      - alert: TooMuch
        expr: sum by (service) (requests_total) > %d
      - alert: Beat
        expr: max by (service) (beat) > 0
""" % (TOTAL, TOTAL)


def grow(topic, kafka, partitions):
    jars = next(p for p in glob.glob(spine.TOP + "/build/jars/kafka-*") if os.path.isdir(p))
    return subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", jars + "/*", "org.apache.kafka.tools.TopicCommand",
                           "--bootstrap-server", kafka, "--alter", "--topic", topic, "--partitions", str(partitions)], capture_output=True, text=True)


class Feed:
    """kcat a partition; a second of event time goes to each."""

    def __init__(self, topic, kafka):
        self.topic, self.kafka, self.kcats, self.second = topic, kafka, {}, 0
        self.start = int(time.time()) * 1000

    def to(self, partition):
        if partition not in self.kcats:
            self.kcats[partition] = subprocess.Popen(["kcat", "-b", self.kafka, "-t", self.topic, "-p", str(partition), "-P", "-E", "-X", "linger.ms=5"],
                                                     stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self.kcats[partition].stdin

    def now(self):
        return self.start + self.second * 1000

    def seconds(self, count, partitions, counted=True):
        for _ in range(count):
            for partition in range(partitions):
                for i, service in enumerate(SERVICES):
                    for name, value, kind in (("beat", (self.second // 10 + i) % 2, "gauge"), ("requests_total", 3, "delta"))[:1 + counted]:
                        self.to(partition).write(json.dumps({"name": name, "kind": kind, "value": value, "timestamp": self.now(),
                                                             "labels": {"service": service, "partition": str(partition)}}) + "\n")
                self.to(partition).flush()
            self.second += 1
            time.sleep(PACE)

    def close(self):
        for k in self.kcats.values():
            k.stdin.close()
        return all(k.wait(60) == 0 for k in self.kcats.values())


def taken(run, slots, partition):
    """Unix time at which a worker first said that it has the partition; None."""
    times = []
    for slot in slots:
        with open(run.config(slot) + ".log") as log:
            for line in log:
                if 'msg="partition assigned"' in line and line.rstrip().split("partition=")[1].split()[0] == str(partition):
                    times.append(spine.seconds(line.split("ts=")[1].split()[0]))
    return min(times) if times else None


def last_step(run):
    return max((spine.seconds(json.loads(t)["step_ts"]) for ts in run.alerts().values() for t in ts), default=0)


def disturb(checks, stream, run, topic):
    feed = Feed(topic, stream.kafka)
    run.start(0)
    run.start(1)
    feed.seconds(BEFORE, 2)
    made = grow(topic, stream.kafka, 4)
    checks.check(made.returncode == 0, "the topic grows: " + made.stdout + made.stderr)
    grown, grown_event = time.time(), feed.now() / 1000
    feed.seconds(AFTER, 4)
    feed.seconds(END, 4, counted=False)
    checks.check(feed.close(), "every event is acknowledged")
    for partition in (2, 3):
        at = taken(run, (0, 1), partition)
        if checks.check(at and at - grown <= BOUND_S, "partition %d is read within %d s: %r" % (partition, BOUND_S, at and at - grown)):
            print("partition %d was taken %.1f s after the topic had grown" % (partition, max(0, at - grown)))
    until = time.time() + 60
    while last_step(run) <= grown_event - BOUND_S / PACE + 5 and time.time() < until:
        time.sleep(0.5)
    checks.check(last_step(run) > grown_event - BOUND_S / PACE + 5, "event time goes on behind the growth")
    code, took = run.stop(1)
    checks.check(code == 0, "worker 1 stops in order: %r after %.1f s" % (code, took))
    until = time.time() + 60
    while not all(taken(run, [0], p) for p in range(4)) and time.time() < until:  # its partitions stay its own for the session's time-out
        time.sleep(0.2)
    code, took = run.stop(0)
    checks.check(code == 0, "worker 0 stops in order: %r after %.1f s" % (code, took))


def main():
    checks = spine.Checks()
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(RULES)
    grown, plain = spine.Run(stream, "grown", "ingest,detect"), spine.Run(stream, "plain", "ingest,detect")
    for run in (grown, plain):
        run.inputs = ("metrics",)
        run.kafka = {"session.timeout.ms": 6000}
        run.time = {"out_of_orderness": "%ds" % (BOUND_S / PACE)}
        made = subprocess.run([TOCSIN, "topics", "apply", "--config", run.config(), "--inputs", "--input-partitions", "2", "--samples-partitions", "2"],
                              capture_output=True, text=True)
        checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    disturb(checks, stream, grown, stream.name + ".metrics")
    summary, plain_summary = grown.finish(), plain.finish()
    if not checks.check(summary and plain_summary, "both reach the end; logs are in " + stream.folder):
        checks.finish()
    got, want = grown.alerts(), plain.alerts()
    for run, name in ((grown, "grown"), (plain, "plain")):
        idle, late = run.marks()
        checks.check(late == 0 and idle == 0, "%s: %d late, %d idle marks" % (name, late, idle))
    checks.check(summary["late"] == plain_summary["late"] == 0 and plain_summary["dead_letters"] == 0, "nothing late or dead: %r, %r" % (summary, plain_summary))
    checks.check(plain_summary["events"] == len(SERVICES) * (2 * (2 * BEFORE + 4 * AFTER) + 4 * END), "all events were read: %r" % plain_summary)
    rules = [json.loads(t) for ts in got.values() for t in ts]
    checks.check(sum(t["rule"] == "Whole" and t["state"] == "firing" for t in rules) == len(SERVICES), "every service's total is whole")
    checks.check(not any(t["rule"] == "TooMuch" for t in rules), "and not more than that")
    spine.compare(checks, got, want)
    print("%d instances, %d transitions, %d events" % (len(want), sum(map(len, want.values())), plain_summary["events"]))
    checks.finish()


main()
