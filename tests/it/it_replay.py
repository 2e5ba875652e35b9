#!/usr/bin/env python3
"""Goal: a replay over the topics of a real Kafka gives what was sent, for the whole time and for a part of it; other rules
show as differences; nothing it does is seen by the workers.

Method: a seeded stream through one worker that is killed once, then `tocsin replay --diff` over its topics.

Usage: it_replay.py TOCSIN     prints "N passed, N failed"
"""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
SECONDS, PACE = 240, 0.02


def replay(run, *args):
    """(exit code, {type: [line, …]}, stderr)"""
    out = subprocess.run([TOCSIN, "replay", "--config", run.config(), "--output", "json", *args], capture_output=True, text=True,
                         timeout=120)
    lines = {}
    for line in out.stdout.splitlines():
        line = json.loads(line)
        lines.setdefault(line["type"], []).append(line)
    return out.returncode, lines, out.stderr


def main():
    checks = spine.Checks()
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    run = spine.Run(stream, "live")
    made = run.create_topics()
    checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    stream.start(7, SECONDS, PACE)
    run.start()
    time.sleep(SECONDS * PACE / 2)
    run.kill()
    checks.check(stream.wait(), "all events were produced")
    if not checks.check(run.finish(), "the worker reads to the end; logs are in " + stream.folder):
        checks.finish()
    live = [json.loads(line) for line in run.records("alerts")]
    steps = sorted({t["step_ts"] for t in live})
    if not checks.check(len(live) > 20, "the stream gives alerts: %d" % len(live)):
        checks.finish()

    code, lines, err = replay(run, "--from", steps[0], "--to", steps[-1], "--diff")
    checks.check(code == 0 and "difference" not in lines, "all of it is the same: %d %r %s" % (code, lines.get("difference", [])[:2], err))
    checks.check(lines["summary"][0]["alerts"] == len(live), "as many transitions: %r" % lines["summary"])
    checks.check(lines["summary"][0]["unknown_names"] == 0 and lines["summary"][0]["bad_records"] == 0, "no holes: %r" % lines["summary"])

    code, lines, err = replay(run, "--from", steps[0], "--to", steps[-1])
    checks.check(code == 0 and any(e["event"]["type"] == "opened" for e in lines.get("incident", [])), "incidents come of it: %d %s" % (code, err))

    middle = steps[len(steps) // 2]
    code, lines, err = replay(run, "--from", middle, "--to", steps[-1])
    want = [t for t in live if t["step_ts"] >= middle]
    got = [t["transition"] for t in lines.get("alert", [])]
    checks.check(code == 0 and sorted(map(json.dumps, got)) == sorted(map(json.dumps, want)), "the second half is the same: %d, %d against %d" % (
        code, len(got), len(want)))
    active = {t["alert_id"]: t["state"] for t in live if t["step_ts"] < middle}
    checks.check(sorted(i for i, s in active.items() if s in ("pending", "firing")) == sorted(
        t["transition"]["alert_id"] for t in lines.get("open", [])), "what was open at its start is known")

    with open(stream.folder + "/what-if.yaml", "w") as out:
        out.write(spine.RULES.replace("> 50", "> 500").replace("rules/spine", "x"))
    code, lines, err = replay(run, "--from", steps[0], "--to", steps[-1], "--diff", "--rules", stream.folder + "/what-if.yaml")
    gone = [d for d in lines.get("difference", []) if "SlowQueue" in d["line"]]
    checks.check(code == 5 and gone and all(d["only"] == "live" for d in gone), "without SlowQueue: %d %r %s" % (code, gone[:2], err))
    checks.check(not [d for d in lines["difference"] if "SlowQueue" not in d["line"]], "and nothing else: %r" % [
        d for d in lines["difference"] if "SlowQueue" not in d["line"]][:2])

    checks.check([json.loads(line) for line in run.records("alerts")] == live, "nothing was written")
    code, _, err = replay(run, "--from", "tomorrow")
    checks.check(code == 2 and "--from tomorrow" in err, "a time that is none is refused: %d %s" % (code, err))
    checks.finish()


main()
