"""What the benches on a real Kafka share: runs with settings of their own, BENCH lines, percentiles and figures of processes."""
import json
import os
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
