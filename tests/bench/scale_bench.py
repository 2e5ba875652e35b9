#!/usr/bin/env python3
"""Curves of scale on a real Kafka: what an event costs, and how much memory a worker takes, over series, rules, partitions and window length.

Each point fills a topic (seeded) and reads it to its end with all three stages, exactly once; one thing changes, the rest stays at 1,000 series, one
rule of two 5-minute windows by 15 s, 4 input partitions. A point has BENCH_SCALE_EVENTS events (default 3,000,000) in 20 minutes of event time, so steps
are 80 whatever changes; a million series get three events each and so miss the memo every third time. Rules differ in
threshold and in the statuses they match, so that a part is shared by all and a part is not. Prints BENCH lines; writes scale.tsv and SVG curves to build/bench.

Usage: scale_bench.py TOCSIN FOLDER      FOLDER holds fill
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import benchlib
import plot
import spine

TOCSIN, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
EVENTS = int(os.environ.get("BENCH_SCALE_EVENTS", "3000000"))
ONLY = [c for c in os.environ.get("BENCH_CURVES", "").split(",") if c]
BASE = {"series": 1000, "rules": 1, "partitions": 4, "window_s": 300}
CURVES = {
    "series": [1000, 10000, 50000, 100000, 1000000],
    "rules": [1, 10, 100, 1000],
    "partitions": [1, 4, 16, 64],
    "window_s": [60, 300, 3600, 86400],
}


def rules(count, window_s):
    out = ["groups:"]
    for i in range(count):
        if i % 50 == 0:
            out += ["  - name: scale%d" % (i // 50), "    interval: 15s", "    rules:"]
        other = "" if i < 2 else ',status!="x%d"' % (i // 2)
        out.append('      - {alert: A%d, expr: \'sum by (service) (rate(http_requests_total{status="500"%s}[%ds])) / '
                   'sum by (service) (rate(http_requests_total[%ds])) > %.3f\', for: 1m}' % (i, other, window_s, window_s, 0.9 + i / 20000))
    return "\n".join(out) + "\n"


def point(curve, value):
    at = dict(BASE, **{curve: value})
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(rules(at["rules"], at["window_s"]))
    run = benchlib.Run(stream, "scale", {"inputs": [{"topic": stream.name + ".metrics", "type": "metrics"}]})
    benchlib.create_topics(run, at["partitions"])
    benchlib.fill(stream, FOLDER + "/fill", EVENTS, at["series"], "delta", "json", services=at["partitions"] * 50 if curve == "partitions" else 50)
    summary = benchlib.to_end(run)
    if summary["events"] != EVENTS or summary["dead_letters"]:
        raise SystemExit("%s=%s: %r" % (curve, value, summary))
    cpu = summary["user_s"] + summary["system_s"]
    row = [curve, value, EVENTS / summary["first_to_last_s"], cpu / EVENTS * 1e6, EVENTS / cpu, summary["rss_mib"],
           benchlib.topic_bytes(run.prefix + "samples") / EVENTS, benchlib.topic_bytes(run.prefix + "state") / 1024]
    benchlib.line("scale_%s_%d" % (curve, value), row[2], "events/s", None, cpu_us=row[3], per_core=row[4], rss_mib=row[5],
                  samples_bytes_per_event=row[6], state_kib=row[7])
    benchlib.forget(stream)
    return row


def main():
    rows = [point(curve, value) for curve, values in CURVES.items() if not ONLY or curve in ONLY for value in values]
    with open(benchlib.OUT + "/scale.tsv", "w") as out:
        out.write("curve\tvalue\tevents_per_s\tcpu_us\tevents_per_core_s\trss_mib\tsamples_bytes_per_event\tstate_kib\n")
        for row in rows:
            out.write("\t".join("%.4g" % x if isinstance(x, float) else str(x) for x in row) + "\n")
    for curve in CURVES:
        own = [r for r in rows if r[0] == curve]
        plot.curves(benchlib.OUT + "/scale_%s_cpu.svg" % curve, "CPU of an event over " + curve, curve, "µs", {"CPU": [(r[1], r[3]) for r in own]})
        plot.curves(benchlib.OUT + "/scale_%s_memory.svg" % curve, "Peak memory over " + curve, curve, "MiB", {"RSS": [(r[1], r[5]) for r in own]})
    series = {r[1]: r for r in rows if r[0] == "series"}
    if 1000 in series and 100000 in series:
        benchlib.line("scale_mib_per_1000_series", (series[100000][5] - series[1000][5]) / 99, "MiB")


main()
