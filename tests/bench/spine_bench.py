#!/usr/bin/env python3
"""The spine against the wire: `tocsin run --until-end` on a real Kafka beside a bare librdkafka consumer and a Kafka Streams program, in one run.

Each case: a topic of 4 partitions is filled (seeded, fill.c), the bare consumer reads it before and after, and between them Tocsin reads it with all
three stages, exactly once: 5xx share per service over 5 minutes by 15 s. The case json_delta_1k also runs Streams.java, and both must fire and resolve
for the same services (at steps at most two apart: rate() extrapolates, the program counts panes). A rate counts from the first record to the last commit; the
reference is the better of both bare runs. CPU is user + system of the whole process. Writes build/bench/spine.tsv and bars as SVG.

BENCH_EVENTS sets the events of a case (default 12,000,000), BENCH_CASES names cases, separated by commas.

Usage: spine_bench.py TOCSIN FOLDER      FOLDER holds bare, fill and, for Streams, its classes
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import benchlib
import plot
import spine

TOCSIN, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
EVENTS = int(os.environ.get("BENCH_EVENTS", "12000000"))
ONLY = [c for c in os.environ.get("BENCH_CASES", "").split(",") if c]
RULES = """
groups:
  - name: bench
    interval: 15s
    rules:
      - alert: HighErrorShare
        expr: sum by (service) (rate(http_requests_total{status="500"}[5m])) / sum by (service) (rate(http_requests_total[5m])) > 0.2
        for: 1m
"""
# name, series, kind, format, then (floor, aim) of: rate against the bare consumer, events a second, CPU µs an event, peak RSS in MiB
CASES = [
    ("json_delta_1k", 1000, "delta", "json", (0.40, 0.60), None, (0.80, 0.45), None),
    ("avro_delta_1k", 1000, "delta", "avro", (0.40, 0.60), None, (0.80, 0.45), None),
    ("json_scraped_1k", 1000, "counter", "json", (0.25, 0.40), None, None, None),
    ("json_delta_50k", 50000, "delta", "json", None, (0.5e6, 0.9e6), None, (400, 250)),
    ("json_delta_1m", 1000000, "delta", "json", None, None, None, (1536, None)),
]
COLUMNS = ["case", "events", "bare_per_s", "bare_cpu_us", "tocsin_per_s", "cpu_us", "user_s", "system_s", "rss_mib", "samples_bytes_per_event", "alerts"]


def transitions(run):
    """{service: [(state, step ms), …]} of firing and resolved alerts."""
    found = {}
    for text in run.records("alerts"):
        t = json.loads(text)
        if t["state"] in ("firing", "resolved") and not (t["state"] == "resolved" and t["was"] == "pending"):
            stamp = t["step_ts"].replace("T", " ").rstrip("Z")
            found.setdefault(t["labels"]["service"], []).append((t["state"], stamp))
    return found


def milliseconds(stamp):
    import datetime
    return int(datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)


def compare(ours, theirs):
    """How many services both agree on, and which they do not."""
    differ = []
    for service in sorted(set(ours) | set(theirs)):
        a = [(state, milliseconds(at)) for state, at in ours.get(service, [])]
        b = [tuple(t) for t in theirs.get(service, [])]
        if [x[0] for x in a] != [x[0] for x in b] or any(abs(x[1] - y[1]) > 30000 for x, y in zip(a, b)):
            differ.append("%s: %r against %r" % (service, a, b))
    return len(set(ours) | set(theirs)) - len(differ), differ


def streams(stream, table, ours, wire):
    """The same job by Kafka Streams."""
    output = stream.name + ".streams"
    jars = subprocess.run([spine.TOP + "/tests/it/services.sh", "streams"], capture_output=True, text=True, check=True).stdout.split()[-1]
    kafka = subprocess.run(["java", "-cp", jars.replace("streams-", "kafka-") + "/*", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server",
                            stream.kafka, "--create", "--topic", output, "--partitions", "1"], capture_output=True, text=True, timeout=120)
    if kafka.returncode:
        raise SystemExit("topic of Kafka Streams: " + kafka.stderr)
    with tempfile.TemporaryDirectory() as state, open(benchlib.OUT + "/streams.log", "w") as log:
        code, out, user, system, rss = benchlib.timed(
            ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", FOLDER + "/streams:" + jars + "/*", "Streams", stream.kafka,
             stream.name + ".metrics", output, str(EVENTS), state], log, 900)
    if code:
        raise SystemExit("Kafka Streams: exit %d; see build/bench/streams.log" % code)
    got = json.loads(out.splitlines()[-1])
    rate, cpu_us = EVENTS / got["first_to_last_s"], (user + system) / EVENTS * 1e6
    same, differ = compare(ours, got["alerts"])
    benchlib.line("streams_json_delta_1k", rate, "events/s", wire, cpu_us=cpu_us, rss_mib=rss)
    benchlib.line("streams_same_alerts", same, "services", same + len(differ))
    for text in differ:
        print("differs: " + text, file=sys.stderr)
    table.append(["streams_1k", EVENTS, 0, 0, rate, cpu_us, user, system, rss, 0, sum(map(len, got["alerts"].values()))])


def run_case(table, name, series, kind, form, share, rate, cpu, rss):
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(RULES)
    run = benchlib.Run(stream, "bench", {"inputs": [{"topic": stream.name + ".metrics", "type": "metrics",
                                                     "format": "avro" if form == "avro" else "auto"}]})
    benchlib.create_topics(run)
    benchlib.fill(stream, FOLDER + "/fill", EVENTS, series, kind, form)
    before = benchlib.bare(FOLDER + "/bare", stream, 4)
    broker = benchlib.cpu_s(benchlib.broker_pid())
    summary = benchlib.to_end(run)
    broker = benchlib.cpu_s(benchlib.broker_pid()) - broker
    after = benchlib.bare(FOLDER + "/bare", stream, 4)
    if summary["events"] != EVENTS or summary["dead_letters"] or summary["late"]:
        raise SystemExit("%s: %r" % (name, summary))
    wire, wire_cpu = max(before[0], after[0]), min(before[1], after[1])
    per_s = EVENTS / summary["first_to_last_s"]
    cpu_us = (summary["user_s"] + summary["system_s"]) / EVENTS * 1e6
    none = (None, None)
    benchlib.line("spine_" + name, per_s, "events/s", wire, *(share or rate or none), bare_before=before[0], bare_after=after[0])
    benchlib.line("spine_%s_cpu" % name, cpu_us, "us/event", wire_cpu, *(cpu or none), user_s=summary["user_s"], system_s=summary["system_s"],
                  broker_s=broker)
    benchlib.line("spine_%s_rss" % name, summary["rss_mib"], "MiB", None, *(rss or none))
    ours = transitions(run)
    table.append([name, EVENTS, wire, wire_cpu, per_s, cpu_us, summary["user_s"], summary["system_s"], summary["rss_mib"],
                  benchlib.topic_bytes(run.prefix + "samples") / EVENTS, sum(map(len, ours.values()))])
    if name == "json_delta_1k" and os.path.isdir(FOLDER + "/streams"):
        streams(stream, table, ours, wire)
    benchlib.forget(stream)


def main():
    table = []
    for case in CASES:
        if not ONLY or case[0] in ONLY:
            run_case(table, *case)
    with open(benchlib.OUT + "/spine.tsv", "w") as out:
        out.write("\t".join(COLUMNS) + "\n")
        for row in table:
            out.write("\t".join(x if isinstance(x, str) else "%.4g" % x if isinstance(x, float) else str(x) for x in row) + "\n")
    plot.bars(benchlib.OUT + "/spine_rate.svg", "Events a second (grey: a bare consumer)", [(r[0], r[4] / 1e6, r[2] / 1e6) for r in table], "million events/s")
    plot.bars(benchlib.OUT + "/spine_cpu.svg", "CPU per event (grey: a bare consumer)", [(r[0], r[5], r[3]) for r in table], "µs")
    plot.bars(benchlib.OUT + "/spine_memory.svg", "Peak memory", [(r[0], r[8], 0) for r in table], "MiB")


main()
