#!/usr/bin/env python3
"""How long it takes from producing an event to its incident, on a real Kafka and Redis, with the budget of each hop.

Two cases: out-of-orderness 0 and 1 s steps, every partition active; and the defaults (5 s out of order, 5 s steps, commits every 200 ms), counted from
the moment the watermark passes the step. latency.c produces, reads and measures. An event waits for its step first: half a step on average, a
whole one at worst, which no pipeline can shorten; that hop is shown by itself.

Usage: latency_bench.py TOCSIN LATENCY
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import benchlib
import spine
import probe

TOCSIN, LATENCY = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
RULES = """
groups:
  - name: latency
    interval: %ds
    rules:
      - alert: Seen
        expr: sum by (service) (increase(probe_total{kind="probe"}[1m])) > 0
"""
# name, out-of-orderness ms, step s, seconds of probes, probes a second, (hop that counts, floor, aim)
CASES = [
    ("ooo0_step1s", 0, 1, 25, 20, ("produced_to_incident", 1500, 800)),
    ("defaults_step5s", 5000, 5, 40, 6, ("step_to_incident", 1500, 800)),
]
HOPS = ["produced_to_step", "step_to_closed", "closed_to_readable", "readable_to_alert", "alert_to_readable", "readable_to_incident",
        "incident_to_readable"]


def redis_bytes(url):
    out = subprocess.run(["redis-cli", "-u", url, "info", "memory"], capture_output=True, text=True, check=True, timeout=20).stdout
    return int(next(row.split(":")[1] for row in out.splitlines() if row.startswith("used_memory:")))


def run_case(table, name, ooo_ms, step_s, seconds, per_s, goal):
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(RULES % step_s)
    port = probe.free_port()
    run = benchlib.Run(stream, "latency", {
        "inputs": [{"topic": stream.name + ".metrics", "type": "metrics"}], "http": {"listen": "127.0.0.1:%d" % port},
        "time": {"idle_timeout": "1s", "out_of_orderness": "%dms" % ooo_ms}})
    made = run.create_topics()
    if made.returncode:
        raise SystemExit(made.stdout + made.stderr)
    run.start()
    try:
        if not benchlib.wait_ready(port):
            raise SystemExit("the worker is not ready; logs are in " + stream.folder)
        before = benchlib.metrics(port)
        memory = redis_bytes(stream.redis)
        cpu = benchlib.cpu_s(run.workers[0].pid)
        out = subprocess.run([LATENCY, stream.kafka, stream.name + ".metrics", run.prefix, "4", "8", "4", str(seconds), str(per_s), str(ooo_ms)],
                             capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
        cpu = benchlib.cpu_s(run.workers[0].pid) - cpu
        after = benchlib.metrics(port)
        memory = redis_bytes(stream.redis) - memory
    finally:
        run.stop()
    rows = {row.split()[0]: [float(x) for x in row.split()[1:]] for row in out.splitlines()}
    seen = rows.get(goal[0], [0, 0, 0, 0, 0])
    if seen[4] < rows["probes"][0]:
        raise SystemExit("%s: %d of %d events gave an incident; logs are in %s\n%s" % (name, seen[4], rows["probes"][0], stream.folder, out))
    for hop in ["produced_to_incident", "step_to_incident"] + HOPS:
        p50, p90, p99, most, count = rows[hop]
        goals = goal[1:] if hop == goal[0] else (None, None)
        benchlib.line("latency_%s_%s" % (name, hop), p99, "ms", floor=goals[0], aim=goals[1], p50=p50, p90=p90, max=most, count=count)
        table.write("%s\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%d\n" % (name, hop, p50, p90, p99, most, count))
    for stage in ("ingest", "detect"):
        names = ["tocsin_%s_%s" % (stage, n) for n in ("commit_seconds_total", "commits_total")]
        took, commits = (after[n] - before[n] for n in names)
        benchlib.line("latency_%s_%s_commit" % (name, stage), took / max(commits, 1) * 1000, "ms", commits_per_s=commits / (seconds + 12 + ooo_ms / 1000))
    benchlib.line("latency_%s_redis_per_incident" % name, memory / rows["probes"][0] / 1024, "KiB")
    benchlib.line("latency_%s_cpu" % name, cpu / (seconds + 12 + ooo_ms / 1000) * 100, "%-of-a-core")


def main():
    with open(benchlib.OUT + "/latency.tsv", "w") as table:
        table.write("case\thop\tp50_ms\tp90_ms\tp99_ms\tmax_ms\tcount\n")
        for case in CASES:
            run_case(table, *case)


main()
