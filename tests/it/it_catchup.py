#!/usr/bin/env python3
"""Goal: in catch-up from offset 0, over partitions that are read at different paces, every alert of the exact answer, none missing, wrong or extra.

Method: catchup_events.c fills 4 partitions with gauge events and computes the answer by itself. Events of the last partition are 5 times as big as those of
the first, and the consumer takes 64 kB a partition and fetch: so the last is throttled, and the others run ahead until alignment holds them. All
transitions, with step and value, must be the answer's. Memory is bounded by alignment: the partitions' watermarks in `samples`
may stand no further apart than time.align and what a look (each 50 ms; granted here is a second) lets through; what DETECT had to hold is computed from them.

Usage: it_catchup.py [TOCSIN] [EVENTS]     200,000 events without a number; `make soak` takes 12,000,000
"""
import json
import os
import subprocess
import sys
import time
from datetime import datetime

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
EVENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 200000
SPAN_S, ALIGN_S, SAMPLE_BYTES = 12000, 300, 24  # of catchup_events.c; the default of time.align; time, value, and their share of a buffer
RULE = """
groups:
  - name: catchup
    interval: 15s
    rules:
      - alert: Failing
        expr: sum by (service) (sum_over_time(request_failed[5m])) / sum by (service) (count_over_time(request_failed[5m])) > 0.2
        for: 1m
"""


def ms(text):
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def fill(program, stream, start):
    """A kcat a partition, in parallel; True if all of it was taken."""
    pairs = []
    for partition in range(spine.PARTITIONS):
        events = subprocess.Popen([program, "events", str(EVENTS), str(start), str(partition)], stdout=subprocess.PIPE)
        kcat = subprocess.Popen(["kcat", "-b", stream.kafka, "-t", stream.name + ".metrics", "-p", str(partition), "-P", "-X", "linger.ms=20", "-X",
                                 "enable.idempotence=true"], stdin=events.stdout)
        events.stdout.close()
        pairs += [events, kcat]
    return all([p.wait(900) == 0 for p in pairs])


def answer(program, start):
    """{service: [(step, from, to, value or None)]}"""
    out = subprocess.run([program, "answer", str(EVENTS), str(start)], capture_output=True, text=True, check=True).stdout
    by_service = {}
    for line in out.splitlines():
        service, step, was, state, bad, count = line.split()
        by_service.setdefault(service, []).append((int(step), was, state, None if state == "resolved" else int(bad) / int(count)))
    return by_service


def found(run):
    by_service = {}
    for line in run.records("alerts"):
        t = json.loads(line)
        by_service.setdefault(t["labels"]["service"], []).append(
            (ms(t["step_ts"]), t["was"], t["state"], None if t["state"] == "resolved" else t["value"]))
    return by_service


def spread(run):
    """(furthest apart that two partitions' watermarks stood, in s; most samples that were ahead of the slowest) from the log."""
    out = subprocess.run([TOCSIN, "samples", "--config", run.config(), "--partition", "0"], capture_output=True, text=True, timeout=600, check=True).stdout
    marks, worst, ahead = {}, 0, 0
    for line in out.splitlines()[:-1]:  # the last ends the run: idle marks
        for i in json.loads(line)["inputs"]:
            if i["topic"].endswith(".metrics") and i["watermark"]:
                marks[i["partition"]] = ms(i["watermark"]) / 1000
        if len(marks) == spine.PARTITIONS:
            least = min(marks.values())
            worst = max(worst, max(marks.values()) - least)
            ahead = max(ahead, sum(m - least for m in marks.values()) * EVENTS / SPAN_S / spine.PARTITIONS)
    return worst, ahead


def main():
    checks = spine.Checks()
    program = spine.TOP + "/build/catchup_events"
    subprocess.run(["gcc", "-O2", "-o", program, os.path.dirname(os.path.abspath(__file__)) + "/catchup_events.c"], check=True)
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(RULE)
    run = spine.Run(stream, "catchup")
    run.kafka = {"fetch.message.max.bytes": "65536"}
    run.ingest = {} if EVENTS > 1000000 else {"batch_bytes": "128kB"}  # or a few batches would hold the whole of it
    run.inputs = ("metrics",)
    made = run.create_topics()
    checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    start = (int(time.time()) - SPAN_S - 3600) // 60 * 60 * 1000
    checks.check(fill(program, stream, start), "all events are in the topic")
    summary = run.finish(1200)
    if not checks.check(summary is not None, "the worker reaches the end; logs are in " + stream.folder):
        checks.finish()
    checks.check(summary["events"] == EVENTS and summary["late"] == 0 and summary["dead_letters"] == 0, "every event counts: %r" % summary)
    want, got = answer(program, start), found(run)
    fired = sum(t[2] == "firing" for ts in want.values() for t in ts)
    checks.check(fired > 50, "the answer has alerts: %d" % fired)
    for service in sorted(set(want) | set(got)):
        w, g = want.get(service, []), got.get(service, [])
        checks.check(w == g, "%s: %d transitions against %d; missing %r, extra or wrong %r" % (
            service, len(g), len(w), sorted(set(w) - set(g))[:3], sorted(set(g) - set(w))[:3]))
    apart, ahead = spread(run)
    rate = EVENTS / summary["first_to_last_s"]
    # One partition alone may take the whole rate, twice over while others are paused; and a batch.
    bound = ALIGN_S + 2 * spine.PARTITIONS * SPAN_S / summary["first_to_last_s"] + 60
    checks.check(apart <= bound, "partitions stood %.0f s apart; alignment holds them within %.0f s" % (apart, bound))
    print("%d events, %.0f a second, %d alerts fired, %d transitions; partitions at most %.0f s of event time apart (bound %.0f); at most %.0f samples ahead "
          "of the slowest: %.1f MiB; peak RSS %.0f MiB" % (EVENTS, rate, fired, sum(map(len, want.values())), apart, bound, ahead,
                                                          ahead * SAMPLE_BYTES / 2**20, summary["rss_peak_kib"] / 1024))
    checks.finish()


main()
