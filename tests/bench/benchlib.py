"""What the benches on a real Kafka share: runs with settings of their own, BENCH lines, percentiles and figures of processes."""
import glob
import json
import os
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "it"))
import spine  # noqa: E402

OUT = spine.TOP + "/build/bench"
os.makedirs(OUT, exist_ok=True)


def line(name, value, unit, ref=None, floor=None, aim=None, ratio=None, **more):
    """One figure, as CONTRACT.md has it. ref: what it is compared with in the same run; ratio: value / ref unless given."""
    def text(x):
        return "-" if x is None else x if isinstance(x, str) else "%.4g" % x
    if ratio is None and ref:
        ratio = value / ref
    print("BENCH name=%s value=%s unit=%s ref=%s ratio=%s floor=%s aim=%s%s" % (
        name, text(value), unit, text(ref), "-" if ratio is None else "%.3f" % ratio, text(floor), text(aim),
        "".join(" %s=%s" % (k, text(v)) for k, v in more.items())), flush=True)


class Run(spine.Run):
    """A run whose configuration is merged with `settings`, a section a key."""

    def __init__(self, stream, name, settings=None, stages="ingest,detect,respond"):
        super().__init__(stream, name, stages)
        self.settings = settings or {}

    def config(self, slot=0):
        path = super().config(slot)
        with open(path) as text:
            config = json.load(text)
        for section, values in self.settings.items():
            if isinstance(values, dict):
                config.setdefault(section, {}).update(values)
            else:
                config[section] = values
        with open(path, "w") as out:
            json.dump(config, out)
        return path


def cpu_s(pid):
    """User + system seconds of a process so far, its threads included."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    with open("/proc/%d/status" % pid) as status:
        return next(int(row.split()[1]) for row in status if row.startswith("VmHWM")) / 1024


def wait_ready(port, limit=30):
    """True once every stage of the worker is at work."""
    end = time.time() + limit
    while time.time() < end:
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/readyz" % port, timeout=2) as answer:
                if answer.status == 200:
                    return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


def metrics(port):
    """{name without labels: value}: the last of a name counts; enough for families without labels."""
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=5) as answer:
        rows = answer.read().decode().splitlines()
    return {row.rsplit(" ", 1)[0]: float(row.rsplit(" ", 1)[1]) for row in rows if row and row[0] != "#"}


def timed(command, stderr=subprocess.DEVNULL, limit=900):
    """Runs a command; (exit code, stdout, user s, system s, peak RSS MiB) of that process alone."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, text=True)
    end = time.time() + limit
    out = process.stdout.read()
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, out, usage.ru_utime, usage.ru_stime, usage.ru_maxrss / 1024
        if time.time() > end:
            process.kill()
        time.sleep(0.01)


def to_end(run, limit=900):
    """`run --until-end` of one worker; its summary with user_s, system_s and rss_mib of the process."""
    path = run.config()
    with open(path + ".log", "a") as log:
        code, out, user, system, rss = timed([run.stream.tocsin, "run", "--config", path, "--until-end", "--output", "json"], log, limit)
    if code or not out:
        raise SystemExit("run --until-end: exit %r; its log is %s.log" % (code, path))
    return dict(json.loads(out), user_s=user, system_s=system, rss_mib=rss)


def create_topics(run, input_partitions=None):
    """Internal topics, and inputs of so many partitions."""
    command = [run.stream.tocsin, "topics", "apply", "--config", run.config(), "--inputs"]
    if input_partitions:
        command += ["--input-partitions", str(input_partitions)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(made.stdout + made.stderr)


def topic_bytes(topic):
    """Bytes of a topic's log in the data folder of the test broker."""
    return sum(os.path.getsize(f) for f in glob.glob(spine.TOP + "/build/services/main/kafka-data/%s-*/*.log" % topic))


def broker_pid():
    with open(spine.TOP + "/build/services/main/kafka.pid") as pid:
        return int(pid.read())


def fill(stream, fill_program, events, series, kind, form, span_s=1200, services=50):
    """The seeded topic: `span_s` of event time, whatever the number of events."""
    start_ms = (int(time.time()) - 7200) // 60 * 60000
    subprocess.run([fill_program, stream.kafka, stream.name + ".metrics", str(events), str(series), kind, form, str(start_ms), str(span_s),
                    str(services)], check=True, timeout=900)


def bare(bare_program, stream, partitions, topic=None):
    """(events a second, CPU us an event) of librdkafka alone over the stream's topic."""
    out = subprocess.run([bare_program, stream.kafka, topic or stream.name + ".metrics", str(partitions)], capture_output=True, text=True, check=True,
                         timeout=600).stdout.split()
    return int(out[0]) / float(out[1]), float(out[2]) / int(out[0]) * 1e6


def forget(stream):
    """Deletes the stream's topics, so that a disk does not fill up over many cases."""
    listing = subprocess.run(["kcat", "-b", stream.kafka, "-L", "-J"], capture_output=True, text=True, timeout=60).stdout
    topics = [t["topic"] for t in json.loads(listing)["topics"] if t["topic"].startswith(stream.name + ".")]
    jars = glob.glob(spine.TOP + "/build/jars/kafka-*")
    if topics and jars:
        subprocess.run(["java", "-cp", jars[0] + "/*", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", stream.kafka, "--delete", "--topic",
                        "|".join(t.replace(".", "\\.") for t in topics)], capture_output=True, timeout=120)
