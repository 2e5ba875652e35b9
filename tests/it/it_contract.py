#!/usr/bin/env python3
"""Goal: what consumers read off the wire keeps its names and forms: alert transitions, incident events and their headers, the summary of a run, and
the names of our own metrics.

Method: a short story (three kinds of events, one alert from pending to resolved) through all stages on a real Kafka; records are read back with keys and
headers and compared with the whole list of names, so that one more or one less is seen.

Usage: it_contract.py TOCSIN     prints "N passed, N failed"
"""
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
KAFKA = spine.address("TOCSIN_IT_KAFKA")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
RULES = """
groups:
  - name: wire
    interval: 1s
    rules:
      - alert: Busy
        expr: sum by (service) (increase(hooks_processed_total{status="error"}[10s])) > 0 and on (service) log_messages_total and on (service) depth > 1
        for: 2s
        labels: { severity: critical }
        annotations: { summary: "{{ $labels.service }} is busy" }
"""
# tocsin_: of one stage when only that one runs; here all three do.
METRICS = ["ingest_" + n for n in "records_total events_total samples_total deltas_total dead_letters_total late_moved_total late_dropped_total limit_hits_total "
           "commits_total aborts_total".split()]
METRICS += ["detect_" + n for n in "samples_total steps_total transitions_total late_dropped_total late_moved_total series limit_hits_total limit_dropped_total commits_total "
            "aborts_total rule_set step_seconds_total watermark_timestamp_seconds lag_seconds blind_seconds".split()]
METRICS += ["respond_" + n for n in "transitions_total commands_total events_total opened_total incidents_open redis_up".split()]
METRICS += ["input_" + n for n in "lag_records lag_seconds watermark_timestamp_seconds records_total events_total late_total dead_letters_total idle blocked paused".split()]
METRICS += ["rule_" + n for n in "evaluations_total evaluation_failures_total result_series last_step_timestamp_seconds ever_matched alerts_pending alerts_firing".split()]
METRICS += ["stage_running", "stage_ready"]

checks = spine.Checks()
stream = spine.Stream(TOCSIN, KAFKA, spine.address("TOCSIN_IT_REDIS"))
run = spine.Run(stream, "wire")
with open(stream.folder + "/rules/spine.yaml", "w") as out:
    out.write(RULES)


def produce(name, events):
    lines = "".join(json.dumps(e) + "\n" for e in events)
    subprocess.run(["kcat", "-b", KAFKA, "-t", stream.name + "." + name, "-p", "0", "-P", "-E"], input=lines, text=True, check=True)


def read(topic):
    """[(key, {header: value}, bytes)]"""
    done = subprocess.run(["kcat", "-b", KAFKA, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-X", "isolation.level=read_committed", "-f", r"%k\x01%h\x01%s\x02"],
                          capture_output=True, check=True).stdout
    rows = [row.split(b"\x01") for row in done.split(b"\x02") if row]
    return [(key.decode(), dict(h.split("=", 1) for h in headers.decode().split(",")), value) for key, headers, value in rows]


made = run.create_topics()
checks.check(made.returncode == 0, made.stdout + made.stderr)
t0 = (int(time.time()) - 600) * 1000
first = {"timestamp": t0, "service": "shop", "environment": "prod"}
produce("metrics", [[{"name": "depth", "value": "5", "timestamp": t0 + s * 1000, "labels": {"service": "shop"}} for s in range(30)]])
produce("logs", [dict(first, level="ERROR", logger="app", message="hook 7 failed")])
produce("hooks", [dict(first, timestamp=t0 + s * 1000, hook_id="h", hook_type="push", status="error", processing_time_ms=4) for s in (0, 1, 2, 3)])
summary = run.finish()
checks.check(summary is not None, "the run ends well")
checks.check(list(summary)[:7] == ["type", "events", "alerts", "incidents", "first_to_last_s", "cpu_s", "rss_peak_kib"], "summary: %r" % summary)
checks.check((summary["type"], summary["events"], summary["incidents"]) == ("summary", 35, 1), "summary counts: %r" % summary)

alerts = read(run.prefix + "alerts")
fields = {"format", "alert_id", "rule", "group", "file", "rule_set", "was", "state", "end_reason", "labels", "annotations", "value", "active_at", "fired_at", "step_ts",
          "keep_firing_since", "warming", "sample_lines", "templates"}
for key, headers, value in alerts:
    t = json.loads(value)
    checks.check(set(t) - fields == set() and {"alert_id", "rule", "group", "rule_set", "state", "labels", "annotations", "value", "active_at", "step_ts", "warming"} <= set(t),
                 "fields of a transition: %r" % sorted(t))
    checks.check(TIME.match(t["step_ts"]) and TIME.match(t["active_at"]), "times of a transition: %r" % t)
    checks.check("tocsin_watermark" in headers and t["alert_id"] in key, "header and key of a transition: %r %r" % (headers, key))
states = [(json.loads(v)["state"], json.loads(v).get("end_reason") or "") for _, _, v in alerts]
checks.check([s for s, _ in states][:3] == ["pending", "firing", "resolved"], "states: %r" % states)
ended = [e for s, e in states if s == "resolved"]
checks.check(ended and set(ended) <= {"condition", "series_gone", "producer_silent", "partition_idle", "rule_gone"}, "end reasons: %r" % ended)

incidents = read(run.prefix + "incidents")
checks.check(len(incidents) >= 2, "incident events: %d" % len(incidents))
for n, (key, headers, value) in enumerate(incidents):
    e = json.loads(value)
    wanted = {"incident_id", "seq", "type", "event_time", "severity", "level", "group_key", "reason", "alerts", "respond_by", "resolve_by", "snapshot"}
    checks.check(wanted <= set(e), "fields of an event: lacks %r" % (wanted - set(e)))
    checks.check(key == e["incident_id"] and e["seq"] == n + 1 and value, "key and seq: %r" % key)
    checks.check(all(TIME.match(e[t]) for t in ("event_time", "respond_by", "resolve_by")), "times of an event")
    checks.check(headers["ce_id"] == "%s:%d" % (e["incident_id"], e["seq"]) and headers["ce_specversion"] == "1.0" and headers["content-type"] == "application/json" and
                 {"ce_source", "ce_type", "ce_time"} <= set(headers), "headers of an event: %r" % headers)
    checks.check(e["severity"] in (1, 2, 3, 4) and e["level"] in (1, 2, 3) and isinstance(e["snapshot"], dict) and e["group_key"] == '{service="shop"}', "values: %r" % value)
checks.check([json.loads(v)["type"] for _, _, v in incidents][0] == "opened" and json.loads(incidents[-1][2])["type"] == "resolved", "opened … resolved")
shown = subprocess.run([TOCSIN, "incidents", "watch", "--config", run.config(), "--from-beginning", "--count", "1", "--output", "json"], capture_output=True, text=True, timeout=60)
checks.check(shown.stdout.encode().strip() == incidents[0][2].strip(), "incidents watch --output json prints the event as it is: %r" % shown.stderr)

# Names of our own metrics, of a worker with all stages.
path = run.config()
with open(path) as f:
    config = json.load(f)
port = int(subprocess.run([sys.executable, spine.TOP + "/tests/it/probe.py"], capture_output=True, text=True, check=True).stdout)
config["http"] = {"listen": "127.0.0.1:%d" % port}
with open(path, "w") as out:
    json.dump(config, out)
with open(path + ".log", "a") as log:
    worker = subprocess.Popen([TOCSIN, "run", "--config", path], stdout=subprocess.DEVNULL, stderr=log)
names, end = set(), time.time() + 90
while worker.poll() is None and time.time() < end:
    shown = subprocess.run([TOCSIN, "status", "--config", path, "--output", "json"], capture_output=True, text=True)
    names = set(re.findall(r"tocsin_([a-z_]+)", shown.stdout))
    if set(METRICS) <= names:
        break
    time.sleep(0.3)
checks.check(set(METRICS) <= names, "metrics: lacks %r" % sorted(set(METRICS) - names))
worker.terminate()
checks.check(worker.wait(60) == 0, "ordered stop")
checks.finish()
