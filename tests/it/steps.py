#!/usr/bin/env python3
"""Goal: every transition that comes out of a real Kafka stands at the very step that promtool 3 gives.

Method: a scenario of the platform (a service dies, errors climb, latency doubles, hooks fail, patterns dry up) is written twice: as events to
the input topic, read by `tocsin run --until-end`, and as a rule test with checks at every step. From the topic `alerts` the state of every
instance at every step is rebuilt, and becomes what the rule test expects: `ALERTS{alertstate="pending"}` and `…="firing"` at each
step, and labels and annotations where all firing instances of a rule changed at that step. promtool then judges.

Usage: steps.py TOCSIN PROMTOOL RULES.yaml INTERVAL_S     (INTERVAL_S: the groups' interval, 60 where a file gives none)
"""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN, PROMTOOL, RULES, INTERVAL = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3]), int(sys.argv[4])
SCRAPE = 15
SCRAPES = 4 * 3600 // SCRAPE
SERVICES = ["hook-receiver", "model-metrics", "workflow-coordinator"]
T0 = (int(time.time()) - 8 * 3600) // 3600 * 3600


def minutes(i):
    return i * SCRAPE / 60


def scenario():
    """{series: [value or None a scrape]}. Times in minutes from T0."""
    series = {}

    def add(name, labels, values):
        series[name + "{" + ",".join('%s="%s"' % kv for kv in sorted(labels.items())) + "}"] = (name, labels, values)

    def counter(rate):
        total, out = 0, []
        for i in range(SCRAPES):
            r = rate(minutes(i))
            total = total if r is None else total + r
            out.append(None if r is None else total)
        return out

    def dead(service, m):
        """model-metrics is down from 60 to 66, and silent altogether from 150 to 170."""
        return service == "model-metrics" and 60 <= m < 66

    def silent(service, m):
        return service == "model-metrics" and 150 <= m < 170

    for n, service in enumerate(SERVICES):
        base = {"service": service, "job": service, "instance": service + ":8000"}
        add("up", base, [None if silent(service, minutes(i)) else 0 if dead(service, minutes(i)) else 1 for i in range(SCRAPES)])

        def requests(m, service=service):
            return None if silent(service, m) else 0 if dead(service, m) else 1500 + 10 * (int(m) % 7)

        def errors(m, service=service):
            climbing = service == "hook-receiver" and 90 <= m < 105
            return None if silent(service, m) else 400 if climbing else int(m * 4) % 2

        add("http_requests_total", dict(base, status="200"), counter(requests))
        add("http_requests_total", dict(base, status="500"), counter(errors))
        for le, share in (("0.05", 60), ("0.1", 80), ("0.25", 95), ("0.5", 99), ("1", 100), ("2.5", 100), ("5", 100), ("+Inf", 100)):
            def bucket(m, share=share, le=le, service=service):
                slow = service == "workflow-coordinator" and 120 <= m < 140
                part = (0 if float(le) < 2 else 70 if float(le) < 5 else 95 if float(le) == 5 else 100) if slow else share
                return None if silent(service, m) else 0 if dead(service, m) else 15 * part
            add("http_request_duration_seconds_bucket", dict(base, le=le), counter(bucket))
            add("hook_processing_duration_seconds_bucket", dict(base, le=le, hook_type="push"),
                counter(lambda m, share=share, le=le: 3 * (share if not 180 <= m < 195 else 20 if float(le) < 1 else 100)))
    hook = {"service": "hook-receiver", "job": "hook-receiver", "environment": "prod", "hook_type": "push"}
    add("hooks_processed_total", dict(hook, status="success"), counter(lambda m: 900))
    add("hooks_processed_total", dict(hook, status="error"), counter(lambda m: 300 if 30 <= m < 45 else 1))
    pattern = {"service": "hook-receiver", "job": "hook-receiver", "environment": "prod", "pattern_type": "code"}
    add("intelligence_patterns_discovered_total", pattern, counter(lambda m: 40 if m < 100 else 0))
    return series


def produce(stream, series):
    lines = []
    for i in range(SCRAPES):
        for name, labels, values in series.values():
            if values[i] is not None:
                lines.append("%s\t%s" % (labels["service"], json.dumps({
                    "name": name, "labels": labels, "value": values[i], "timestamp": (T0 + i * SCRAPE) * 1000,
                    "kind": "gauge" if name == "up" else "counter"})))
    subprocess.run(["kcat", "-b", stream.kafka, "-t", stream.name + ".metrics", "-K", "\t", "-P", "-X", "topic.partitioner=murmur2"],
                   input="\n".join(lines) + "\n", text=True, check=True)
    return len(lines)


def label_text(labels):
    return "{" + ", ".join('%s=%s' % (k, json.dumps(v)) for k, v in sorted(labels.items())) + "}"


def states(run, last):
    """step → {(rule, labels): (state, transition or None if it happened before)}; last state carried on."""
    changes = {}
    for transitions in run.alerts().values():
        for line in transitions:
            t = json.loads(line)
            at = int(time_ms(t["step_ts"]) // 1000) - T0
            changes.setdefault(at, []).append(t)
    now, out = {}, {}
    for step in range(0, last + 1, INTERVAL):
        now = {key: (state, None) for key, (state, _) in now.items()}
        for t in changes.pop(step, []):
            key = (t["rule"], label_text(t["labels"]))
            if t["state"] == "resolved":
                now.pop(key, None)
            else:
                now[key] = (t["state"], t)
        out[step] = now
    return out, changes


def time_ms(text):
    from datetime import datetime
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


def rule_test(series, by_step):
    tests = {"interval": "%ds" % SCRAPE, "input_series": [], "promql_expr_test": [], "alert_rule_test": []}
    for text, (_, _, values) in series.items():
        tests["input_series"].append({"series": text, "values": " ".join("_" if v is None else str(v) for v in values)})
    for step, now in by_step.items():
        for state in ("pending", "firing"):
            tests["promql_expr_test"].append({
                "expr": 'ALERTS{alertstate="%s"}' % state, "eval_time": "%ds" % step,
                "exp_samples": [{"labels": "ALERTS" + labels[:-1] + ', alertstate="%s"}' % s, "value": 1}
                                for (rule, labels), (s, _) in sorted(now.items()) if s == state]})
        firing = {}
        for (rule, labels), (s, t) in now.items():
            if s == "firing":
                firing.setdefault(rule, []).append(t)
        for rule, ts in firing.items():
            if all(ts):
                tests["alert_rule_test"].append({"alertname": rule, "eval_time": "%ds" % step, "exp_alerts": [
                    {"exp_labels": {k: v for k, v in t["labels"].items() if k != "alertname"}, "exp_annotations": t["annotations"]} for t in ts]})
    return {"rule_files": [RULES], "evaluation_interval": "%ds" % INTERVAL, "tests": [tests]}


checks = spine.Checks()
stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
with open(RULES) as f, open(stream.folder + "/rules/spine.yaml", "w") as out:
    out.write(f.read())
run = spine.Run(stream, "steps", "ingest,detect")
made = run.create_topics()
checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
series = scenario()
count = produce(stream, series)
summary = run.finish()
if not checks.check(summary is not None, "the worker reaches the end; logs are in " + stream.folder):
    checks.finish()
checks.check(summary["events"] == count and summary["late"] == 0 and summary["dead_letters"] == 0, "every event counts: %d, %r" % (count, summary))
by_step, left = states(run, (SCRAPES - 1) * SCRAPE)
checks.check(not left, "no transition off the steps: %r" % sorted(left)[:5])
fired = {rule for now in by_step.values() for (rule, _), (s, _) in now.items() if s == "firing"}
checks.check(len(fired) >= 5, "the scenario fires rules: %r" % sorted(fired))
path = stream.folder + "/steps_test.yaml"
with open(path, "w") as out:
    json.dump(rule_test(series, by_step), out)
judged = subprocess.run([PROMTOOL, "test", "rules", path], capture_output=True, text=True)
checks.check(judged.returncode == 0, "promtool: " + (judged.stdout + judged.stderr)[:3000])
ours = subprocess.run([TOCSIN, "test", "rules", path], capture_output=True, text=True)
checks.check(ours.returncode == 0, "tocsin test rules: " + (ours.stdout + ours.stderr)[:3000])
print("%s: %d events, %d steps, rules that fired: %s" % (os.path.basename(RULES), count, len(by_step), ", ".join(sorted(fired))))
checks.finish()
