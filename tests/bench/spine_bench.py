#!/usr/bin/env python3
"""The spine against the wire: `tocsin run --until-end` on a real Kafka beside a bare librdkafka consumer of the same topic, in one run.

Each case: a topic of 4 partitions is filled (seeded), the bare consumer reads it before and after, and between them Tocsin reads it with all three
stages, exactly once: 5xx share per service over 5 minutes by 15 s. A figure is a rate over the time from the first record to the last commit. Prints
BENCH lines and writes build/bench/spine.tsv. BENCH_EVENTS sets the events of a case (default 3,000,000).

Usage: spine_bench.py TOCSIN BARE
"""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import spine

TOCSIN, BARE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
EVENTS = int(os.environ.get("BENCH_EVENTS", "3000000"))
RULES = """
groups:
  - name: bench
    interval: 15s
    rules:
      - alert: HighErrorShare
        expr: sum by (service) (rate(http_requests_total{status="500"}[5m])) / sum by (service) (rate(http_requests_total[5m])) > 0.2
        for: 1m
"""
# name, series, kind, (floor, aim) of the rate against the bare consumer, of CPU µs an event, of peak RSS in MB
CASES = [
    ("json_delta_1k", 1000, "delta", (0.40, 0.60), (0.80, 0.45), None),
    ("json_scraped_1k", 1000, "counter", (0.25, 0.40), None, None),
    ("json_delta_50k", 50000, "delta", None, (None, None), (400, 250)),
]


def fill(stream, series, kind):
    """About 20 minutes of event time, whatever the number of events."""
    start = (int(time.time()) - 7200) * 1000
    producer = subprocess.Popen(["kcat", "-b", stream.kafka, "-t", stream.name + ".metrics", "-K", "\t", "-P", "-X", "linger.ms=20",
                                 "-X", "topic.partitioner=murmur2"], stdin=subprocess.PIPE, text=True)
    lines, totals = [], [0] * series
    for i in range(EVENTS):
        s = i % series
        totals[s] += 1
        lines.append('svc-%d\t{"name":"http_requests_total","labels":{"service":"svc-%d","instance":"10.0.%d.%d:8080","method":"GET",'
                     '"status":"%s"},"value":%d,"timestamp":%d,"kind":"%s"}' % (
                         s % 50, s % 50, s // 50 // 250, s // 50 % 250, "500" if s // 50 % 10 == 0 else "200",
                         1 if kind == "delta" else totals[s], start + i * 1200000 // EVENTS, kind))
        if len(lines) == 20000:
            producer.stdin.write("\n".join(lines) + "\n")
            lines = []
    producer.stdin.write("\n".join(lines) + ("\n" if lines else ""))
    producer.stdin.close()
    if producer.wait(300):
        raise SystemExit("the topic could not be filled")


def bare(stream):
    out = subprocess.run([BARE, stream.kafka, stream.name + ".metrics", "4"], capture_output=True, text=True, check=True, timeout=300).stdout.split()
    return int(out[0]) / float(out[1]), float(out[2]) / int(out[0]) * 1e6


def line(name, value, unit, ref, floor, aim, ratio=None):
    print("BENCH name=%s value=%.4g unit=%s ref=%.4g ratio=%.3f floor=%s aim=%s" % (
        name, value, unit, ref, ratio if ratio is not None else value / ref, floor if floor is not None else "-", aim if aim is not None else "-"), flush=True)


def main():
    os.makedirs(spine.TOP + "/build/bench", exist_ok=True)
    table = open(spine.TOP + "/build/bench/spine.tsv", "w")
    table.write("case\tevents\tbare_per_s\ttocsin_per_s\tcpu_us\tbare_cpu_us\trss_mib\tsamples_bytes_per_event\n")
    for name, series, kind, rate, cpu, rss in CASES:
        stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
        with open(stream.folder + "/rules/spine.yaml", "w") as out:
            out.write(RULES)
        run = spine.Run(stream, "bench")
        made = run.create_topics()
        if made.returncode:
            raise SystemExit(made.stdout + made.stderr)
        fill(stream, series, kind)
        before = bare(stream)
        summary = run.finish(600)
        after = bare(stream)
        if not summary or summary["events"] != EVENTS:
            raise SystemExit("%s: %r" % (name, summary))
        wire, wire_cpu = (before[0] + after[0]) / 2, (before[1] + after[1]) / 2
        per_s = EVENTS / summary["first_to_last_s"]
        cpu_us = summary["cpu_s"] / EVENTS * 1e6
        mib = summary["rss_peak_kib"] / 1024
        line("spine_" + name, per_s, "events/s", wire, *(rate or (None, None)))
        line("spine_%s_cpu" % name, cpu_us, "us/event", wire_cpu, *(cpu or (None, None)))
        if rss:
            line("spine_%s_rss" % name, mib, "MiB", rss[0], *rss)
        table.write("%s\t%d\t%.0f\t%.0f\t%.3f\t%.3f\t%.0f\t\n" % (name, EVENTS, wire, per_s, cpu_us, wire_cpu, mib))
    table.close()


main()
