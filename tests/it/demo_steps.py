#!/usr/bin/env python3
"""Goal: the demo's scenarios on a real broker and a real Redis: each transition at the very step that promtool 3 gives.

Method: `tocsin demo --brokers` plays a scenario; what its generator sent is read back from the input topics and written as a rule test of a sample
every second (metrics as they are; hooks and log lines counted in panes of 1 s, born with a zero, as CONTRACT.md has it). From the topic
`alerts` the state of every instance at every step is rebuilt and is what the rule test expects of ALERTS, pending and firing. promtool
judges, with the shipped rules.

Usage: demo_steps.py TOCSIN PROMTOOL KAFKA SCENARIO…
"""
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime

TOCSIN, PROMTOOL, KAFKA = sys.argv[1:4]
RULES = [os.path.abspath("docker/rules/" + name) for name in ("omninode.yaml", "logs.yaml")]
STEP = 15
MINED = {"NewErrorPattern", "LogPatternSurge", "LogPatternStopped"}  # their series are the miner's own
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED: " + what)
    return ok


def read(topic):
    out = subprocess.run(["kcat", "-b", KAFKA, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed"],
                         capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        record = json.loads(line)
        yield from record if isinstance(record, list) else [record]


def key(name, labels):
    service = labels.get("service")
    return name, tuple(sorted(dict(labels, **({"job": service} if service else {})).items()))


class Counted:
    """Counters in panes of 1 s: deltas by (series, pane), summed up at the end."""

    def __init__(self):
        self.panes = {}

    def add(self, name, labels, ts_ms, delta):
        panes = self.panes.setdefault(key(name, labels), {})
        pane = ts_ms // 1000
        panes[pane] = panes.get(pane, 0) + delta

    def series(self):
        for name, panes in self.panes.items():
            total, out = 0, {min(panes): 0}
            before = min(panes)
            for pane in sorted(panes):
                if pane - before >= 15:
                    out[pane] = total  # said again before it changes
                total += panes[pane]
                out[pane + 1] = total
                before = pane + 1
            yield name, out


def take_hook(counted, event):
    labels = {k: event[k] for k in ("service", "environment", "hook_type")}
    ts = event["timestamp"]
    counted.add("hooks_processed_total", dict(labels, status=event["status"]), ts, 1)
    for bound in BOUNDS + [float("inf")]:
        le = "+Inf" if bound == float("inf") else "%g" % bound
        counted.add("hook_processing_duration_seconds_bucket", dict(labels, le=le), ts, int(event["processing_time_ms"] / 1000 <= bound))
    for found in event.get("patterns_discovered", []):
        counted.add("intelligence_patterns_discovered_total", {"service": event["service"], "environment": event["environment"],
                                                              "pattern_type": found["pattern_type"]}, ts, found["count"])


def series_of(prefix):
    """{(name, labels): {second: value}}"""
    series, counted = {}, Counted()
    for event in read(prefix + "bridge.metrics"):
        series.setdefault(key(event["name"], event["labels"]), {})[event["timestamp"] // 1000] = event["value"]
    for event in read(prefix + "bridge.hooks"):
        take_hook(counted, event)
    for event in read(prefix + "bridge.logs"):
        counted.add("log_messages_total", {k: event[k] for k in ("service", "environment", "level", "logger")}, event["timestamp"], 1)
    series.update(counted.series())
    return series


def label_text(labels):
    return "{" + ", ".join("%s=%s" % (k, json.dumps(v)) for k, v in sorted(dict(labels).items())) + "}"


def notation(samples, start, end):
    """promtool's: a value, `_xN` for N seconds without one."""
    out, at = [], start
    for second in sorted(samples):
        if second > end:
            break
        if second > at:
            out.append("_x%d" % (second - at))
        out.append("%d" % samples[second])
        at = second + 1
    return " ".join(out)


def transitions(prefix):
    for t in read(prefix + "tocsin.alerts"):
        if t["rule"] not in MINED:
            yield int(datetime.fromisoformat(t["step_ts"].replace("Z", "+00:00")).timestamp()), t


def expected(prefix, start, end):
    """[(seconds from the start, {(labels, state)})] for every step, and what stands at no step."""
    changes, now, out = {}, {}, []
    for at, t in transitions(prefix):
        changes.setdefault(at, []).append(t)
    # Not the first: event time begins with the first watermark, after it, and promtool's before any sample.
    for step in range(start + STEP, end + 1, STEP):
        for t in changes.pop(step, []):
            labels = label_text(t["labels"])
            now.pop(labels, None)
            if t["state"] != "resolved":
                now[labels] = t["state"]
        out.append((step - start, dict(now)))
    return out, {at: c for at, c in changes.items() if at <= end}


def rule_test(series, by_step, start, end):
    test = {"interval": "1s", "input_series": [], "promql_expr_test": []}
    for (name, labels), samples in sorted(series.items()):
        test["input_series"].append({"series": name + label_text(labels), "values": notation(samples, start, end)})
    for at, now in by_step:
        for state in ("pending", "firing"):
            test["promql_expr_test"].append({
                "expr": 'ALERTS{alertstate="%s"}' % state, "eval_time": "%ds" % at,
                "exp_samples": [{"labels": "ALERTS%s, alertstate=\"%s\"}" % (labels[:-1], state), "value": 1}
                                for labels, s in sorted(now.items()) if s == state]})
    return {"rule_files": RULES, "evaluation_interval": "%ds" % STEP, "tests": [test]}


def judge(scenario, folder):
    played = subprocess.run([TOCSIN, "demo", "--scenario", scenario, "--speed", "max", "--output", "json", "--brokers", KAFKA],
                            capture_output=True, text=True)
    if not check(played.returncode == 0, "%s: exit %d: %s" % (scenario, played.returncode, (played.stdout[-500:] + played.stderr))):
        return
    summary = json.loads(played.stdout.splitlines()[-1])
    series = series_of(summary["topics"])
    start = int(datetime.fromisoformat(summary["from"].replace("Z", "+00:00")).timestamp())
    end = int(datetime.fromisoformat(summary["to"].replace("Z", "+00:00")).timestamp()) - 60
    by_step, left = expected(summary["topics"], start, end)
    check(not left, "%s: transitions off the steps: %r" % (scenario, sorted(left)[:5]))
    fired = {labels for _, now in by_step for labels, state in now.items() if state == "firing"}
    check(len(fired) == summary["alerts"], "%s: %d fired, %d in the summary" % (scenario, len(fired), summary["alerts"]))
    path = os.path.join(folder, scenario + "_test.yaml")
    with open(path, "w") as out:
        json.dump(rule_test(series, by_step, start, end), out)
    told = subprocess.run([PROMTOOL, "test", "rules", path], capture_output=True, text=True)
    check(told.returncode == 0, "%s: promtool: %s" % (scenario, (told.stdout + told.stderr)[:3000]))
    print("%s: %d series, %d steps, %d instances fired" % (scenario, len(series), len(by_step), len(fired)))


with tempfile.TemporaryDirectory() as folder:
    for name in sys.argv[4:]:
        judge(name, folder)
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
