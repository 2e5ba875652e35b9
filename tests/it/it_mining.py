#!/usr/bin/env python3
"""Goal: log patterns end to end on a real Kafka and a real Redis (DESIGN 5).

Method: services log without keys, so their lines lie on every partition; two minutes in one of them logs an error never seen before, with a
password in it. One run is undisturbed; in the other the only worker is killed (SIGKILL) again and again while the lines come in. Then:
  - the alert on the new pattern stands at the first step after the line, once, and its incident carries template and lines, secrets masked;
  - topic `templates`, committed reader: every template once, its count exactly what was produced, with lines that name their place;
  - both runs give the same transitions, ids and counts (which line of a batch is its sample is the batch's business).
"""
import json
import random
import subprocess
import sys
import time

import spine

RULES = """
groups:
  - name: log_patterns
    interval: 5s
    rules:
      - alert: NewErrorPattern
        expr: >-
          sum by (service, level) (increase(log_templates_discovered_total{level="ERROR"}[30s])) > 0
          and on (service) count by (service) (count_over_time(log_messages_total[30s] offset 1m))
        labels: { severity: warning }
        annotations: { summary: "New {{ $labels.level }} pattern in {{ $labels.service }}" }
      - alert: Steady
        expr: increase(log_template_messages_total[30s]) > 5
        labels: { severity: info }
"""
SERVICES = ("shop", "till", "stock")
SECONDS, ERROR_AT, QUIET_FROM = 200, 120, 150  # from QUIET_FROM on only a heartbeat: so that every count is told


def make_events():
    """[(second, partition, event)], and {(service, level, text): count}."""
    rng = random.Random(7)
    start = (int(time.time()) - 2 * 3600) // 60 * 60 * 1000
    events, counts = [], {}

    def say(second, service, level, message, text):
        events.append((second, rng.randrange(spine.PARTITIONS), {
            "timestamp": start + second * 1000 + rng.randrange(900), "service": service, "environment": "prod", "level": level, "message": message}))
        counts[service, level, text] = counts.get((service, level, text), 0) + 1

    for second in range(SECONDS):
        for service in SERVICES:
            for _ in range(2 if second < QUIET_FROM else 0):
                say(second, service, "INFO", "request %d took %d ms" % (rng.randrange(1000), rng.randrange(99)), "request <*> took <*> ms")
            if second % 3 == 0 and second < QUIET_FROM:
                say(second, service, "ERROR", "upstream 10.0.0.%d timed out" % rng.randrange(200), "upstream <*> timed out")
            say(second, service, "DEBUG", "still here", "still here")
        if ERROR_AT <= second < ERROR_AT + 10:
            for _ in range(3):
                say(second, "till", "ERROR", "ledger refused entry %d: password=hunter%d" % (second, second),
                    "ledger refused entry <*>: password=<*>")
    return start, events, counts


def produce(stream, events):
    by_partition = {}
    for _, partition, event in events:
        by_partition.setdefault(partition, []).append(json.dumps(event))
    for partition, lines in by_partition.items():
        subprocess.run(["kcat", "-b", stream.kafka, "-t", stream.name + ".logs", "-p", str(partition), "-P", "-X", "enable.idempotence=true"],
                       input="\n".join(lines) + "\n", text=True, check=True, timeout=60)


def templates(run):
    """{key: record}, the last of each, as compaction leaves them."""
    out = subprocess.run(["kcat", "-b", run.stream.kafka, "-t", run.prefix + "templates", "-C", "-e", "-q", "-o", "beginning", "-f", "%k\t%s\n",
                          "-X", "isolation.level=read_committed"], capture_output=True, text=True, timeout=60, check=True).stdout
    last = {}
    for line in out.splitlines():
        key, value = line.split("\t", 1)
        last[key] = json.loads(value) if value else None
    return {key: value for key, value in last.items() if value}


def bare_alerts(run):
    """Transitions without sample lines."""
    by_id = {}
    for line in run.records("alerts"):
        alert = json.loads(line)
        alert.pop("sample_lines", None)
        by_id.setdefault(alert["alert_id"], []).append(json.dumps(alert))
    return by_id


def check_templates(checks, run, counts):
    found = templates(run)
    by_text = {}
    for record in found.values():
        by_text.setdefault((record["service"], record["level"], record["text"]), []).append(record)
    checks.check(set(by_text) == set(counts), "%s: templates %r against %r" % (run.name, sorted(by_text), sorted(counts)))
    for key, records in by_text.items():
        checks.check(len(records) == 1, "%s: %r is one template, not %d" % (run.name, key, len(records)))
        if key[1] != "DEBUG":  # the heartbeat goes on to the end: its last lines are not told yet
            checks.check(records[0]["count"] == counts.get(key), "%s: %r counts %d, not %r" % (run.name, key, records[0]["count"], counts.get(key)))
        checks.check(all(s["topic"] == run.stream.name + ".logs" and s["offset"] >= 0 and s["line"] for s in records[0]["samples"])
                     and 0 < len(records[0]["samples"]) <= 5, "%s: %r has lines with their place: %r" % (run.name, key, records[0]["samples"]))
    return found


def check_incident(checks, run, start):
    fired = [json.loads(line) for line in run.records("alerts")]
    fired = [a for a in fired if a["rule"] == "NewErrorPattern" and a["state"] == "firing"]
    checks.check(len(fired) == 1, "%s: one new pattern, not %d" % (run.name, len(fired)))
    alerts = [a for events in run.incidents().values() for e in events for a in e["snapshot"]["alerts"]
              if a["labels"]["alertname"] == "NewErrorPattern" and a["state"] == "firing"]
    if not fired or not checks.check(bool(alerts), "%s: an incident carries the alert" % run.name):
        return
    step_ms = spine.seconds(fired[0]["step_ts"]) * 1000
    # the line's pane ends within a second, the step is the next multiple of 5 s
    checks.check(start + ERROR_AT * 1000 < step_ms <= start + (ERROR_AT + 6) * 1000, "%s: fired at %s" % (run.name, fired[0]["step_ts"]))
    checks.check(any("ledger refused entry <*>" in t for t in alerts[0]["templates"]), "the incident's templates: %r" % alerts[0]["templates"])
    checks.check(0 < len(alerts[0]["sample_lines"]) <= 5 and all("ledger refused entry 1" in l for l in alerts[0]["sample_lines"]),
                 "the incident's lines: %r" % alerts[0]["sample_lines"])
    checks.check(not any("hunter" in line for line in run.records("alerts") + run.records("incidents") + run.records("templates")),
                 "%s: no secret is in any topic" % run.name)


def main():
    checks = spine.Checks()
    stream = spine.Stream(spine.program(sys.argv), spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(RULES)
    plain, hurt = spine.Run(stream, "plain"), spine.Run(stream, "hurt")
    for run in (plain, hurt):
        run.inputs = ("logs",)
        made = run.create_topics()
        checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    start, events, counts = make_events()
    rng = random.Random(time.time())
    for at in range(0, SECONDS, 40):
        hurt.start()
        produce(stream, [e for e in events if at <= e[0] < at + 40])
        time.sleep(1 + 2 * rng.random())
        hurt.kill()
    checks.check(bool(templates(hurt)), "the killed workers committed templates")
    checks.check(hurt.finish(60) is not None, "the killed run comes to its end")
    checks.check(plain.finish(60) is not None, "the undisturbed run comes to its end")
    found = [check_templates(checks, run, counts) for run in (plain, hurt)]
    checks.check({k: v["count"] for k, v in found[0].items() if v["level"] != "DEBUG"} ==
                 {k: v["count"] for k, v in found[1].items() if v["level"] != "DEBUG"}, "the same ids and counts")
    spine.compare(checks, bare_alerts(hurt), bare_alerts(plain))
    for run in (plain, hurt):
        check_incident(checks, run, start)
    checks.finish()


main()
