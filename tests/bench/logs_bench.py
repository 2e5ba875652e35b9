#!/usr/bin/env python3
"""Log lines through the spine: `tocsin run --until-end` on a real Kafka beside a bare librdkafka consumer, in one run.

Two topics of 4 partitions with the same lines (the labelled mixed stream of the conformance data if that is there, else a small grammar), once as the
platform's JSON of 20 services that have the templates between them, once as plain text with time, level and logger of one; the shipped log
rules: every line is masked and hashed, its signature counted and mined, exactly once. Rates count from the first record to the last commit; the reference is the better of two bare reads, before
and after. CPU is user + system of the whole process.

BENCH_LOG_EVENTS sets the lines of a case (default 3,000,000).

Usage: logs_bench.py TOCSIN FOLDER      FOLDER holds bare
"""
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import benchlib
import spine

TOCSIN, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
EVENTS = int(os.environ.get("BENCH_LOG_EVENTS", "3000000"))
PARTITIONS, PER_SECOND, SERVICES = 4, 10000, 20
GENERATOR = os.environ.get("TOCSIN_SHARED", spine.TOP + "/../shared") + "/conformance/logs/gen_logs.py"


def messages():
    """[(number of the template, line)]: 300,000, drawn again and again."""
    if os.path.exists(GENERATOR):
        subprocess.run([sys.executable, GENERATOR, FOLDER, "300000", "11"], stdout=subprocess.DEVNULL, check=True)
        numbers = {}
        with open(FOLDER + "/mix/content.log", errors="replace", newline="\n") as lines, open(FOLDER + "/mix/truth.tsv", newline="\n") as truth:
            next(truth)
            return [(numbers.setdefault(row.split("\t")[1], len(numbers)), line.rstrip("\n")) for line, row in zip(lines, truth)]
    rng = random.Random(11)
    words = ["".join(rng.choice("bcdfgklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4))) for _ in range(900)]
    shapes = [[rng.choice(words + ["%d"] * 200) for _ in range(rng.randint(4, 14))] for _ in range(1300)]

    def line(n):
        return n, " ".join(str(rng.randrange(10**6)) if w == "%d" else w for w in shapes[n])
    return [line(rng.randrange(len(shapes))) for _ in range(300000)]


def write_files(form):
    """A file a partition; its lines are in order of time."""
    lines, start, rng = messages(), (int(time.time()) - 7200) * 1000, random.Random(5)
    files = [open("%s/logs-%d" % (FOLDER, p), "w") for p in range(PARTITIONS)]
    for i in range(EVENTS):
        ms, (template, message) = start + i * 1000 // PER_SECOND, lines[rng.randrange(len(lines))]
        service, level = template % SERVICES, "ERROR" if template % 50 == 49 else "INFO"
        if form == "json":
            text = ('{"timestamp":%d,"service":"service-%d","environment":"prod","level":"%s","message":%s,"logger":"core.web","module":"web",'
                    '"function":"handle","line":%d,"request_id":"%016x","user_id":null}' % (ms, service, level, json.dumps(message), i % 500, i * 7919))
        else:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000))
            text = "%s.%03dZ %s [worker-%d] core.web: %s" % (stamp, ms % 1000, level, service, message)
        files[i % PARTITIONS].write(text + "\n")
    for f in files:
        f.close()


def fill(topic, kafka):
    kcats = [subprocess.Popen(["kcat", "-b", kafka, "-t", topic, "-p", str(p), "-P", "-l", "%s/logs-%d" % (FOLDER, p), "-X", "linger.ms=20",
                               "-X", "batch.size=900000", "-X", "queue.buffering.max.messages=1000000", "-X", "message.timeout.ms=0"],
                              stderr=subprocess.DEVNULL) for p in range(PARTITIONS)]
    if any(k.wait(300) for k in kcats):
        raise SystemExit("kcat could not fill " + topic)


def run_case(form, floor, aim):
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    topic = stream.name + ".logs"
    with open(spine.TOP + "/docker/rules/logs.yaml") as rules, open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(rules.read())
    run = benchlib.Run(stream, "bench", {"inputs": [{"topic": topic, "type": "logs", "defaults": {"service": "legacy"}}]})
    benchlib.create_topics(run)
    write_files(form)
    fill(topic, stream.kafka)
    before = benchlib.bare(FOLDER + "/bare", stream, PARTITIONS, topic)
    summary = benchlib.to_end(run)
    after = benchlib.bare(FOLDER + "/bare", stream, PARTITIONS, topic)
    if summary["events"] != EVENTS or summary["dead_letters"]:
        raise SystemExit("%s: %r" % (form, summary))
    wire = max(before[0], after[0])
    benchlib.line("logs_spine_" + form, EVENTS / summary["first_to_last_s"], "lines/s", wire, floor, aim, bare_before=before[0], bare_after=after[0])
    benchlib.line("logs_spine_%s_cpu" % form, (summary["user_s"] + summary["system_s"]) / EVENTS * 1e6, "us/line", min(before[1], after[1]))
    benchlib.line("logs_spine_%s_rss" % form, summary["rss_mib"], "MiB")
    benchlib.forget(stream)


for arguments in (("json", 0.40, 0.60), ("text", 0.40, 0.60)):
    run_case(*arguments)
