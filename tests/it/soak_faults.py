"""The faults of the kill matrix (soak.py), and the services of their own that they hurt.

A fault is a function of a Place: it strikes `points` times, at random moments, and says when (strike: the fault itself, or for an outage its end). New
faults need a row in POINTS.
"""
import os
import signal
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# As many as the claim needs for kills; of what takes minutes a point, fewer.
POINTS = {"none": 6, "kill1": 30, "kill3": 30, "roll": 30, "freeze": 10, "twin": 10, "broker": 10, "stopdown": 6, "redis_kill": 10, "redis_wipe": 10,
          "redis_rollback": 10, "redis_away": 3, "redis_full": 6}
MAIN = os.environ.get("SOAK_INSTANCE", "soak")  # of services.sh; another name lets two matrices run side by side
INSTANCE = {"redis_full": MAIN + "full"}
FULL_DISK = "96m"
SLOW_STOP_S = 15  # of the sample, whose machine may be slow and its program full of checks; 10 s is the word (stopdown)


def services(*words, instance=MAIN):
    return subprocess.run([HERE + "/services.sh", "-i", instance, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def addresses(instance=MAIN):
    return dict(line[7:].split("=", 1) for line in services("env", instance=instance).stdout.splitlines() if line.startswith("export "))


def start_services():
    started = services("start", "kafka", "redis")
    if started.returncode:
        raise SystemExit(started.stdout + started.stderr)
    env = addresses()
    return env["TOCSIN_IT_KAFKA"], env["TOCSIN_IT_REDIS"]


def redis_for(fault, usual):
    """The Redis on a small disk belongs to one fault only."""
    if fault not in INSTANCE:
        return usual
    folder = HERE + "/../../build/services/" + INSTANCE[fault]
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/redis.disk", "w") as out:
        out.write(FULL_DISK)
    started = services("start", "redis", instance=INSTANCE[fault])
    if started.returncode:
        raise SystemExit("Redis on a small disk does not start:\n" + started.stdout + started.stderr)
    return addresses(INSTANCE[fault])["TOCSIN_IT_REDIS"]


def stop_services():
    services("stop")
    for instance in INSTANCE.values():
        services("stop", instance=instance)


class Place:
    def __init__(self, run, rng, points, checks, clock):
        self.run, self.rng, self.points, self.checks, self.clock = run, rng, points, checks, clock
        self.struck, self.churning, self.churner = 0, False, None

    def begin(self, *slots):
        """The workers start, and the run is current before the first fault."""
        for slot in slots or (0,):
            self.run.start(slot)
        self.clock.mark()
        self.clock.settle("before the first fault")
        for took in self.clock.took.values():
            took.clear()

    def moment(self, least=1.0, most=4.0):
        time.sleep(self.rng.uniform(least, most))

    def strike(self):
        self.clock.mark()
        self.struck += 1

    def over(self):
        """After a fault: every second one is watched until the run is current again."""
        if self.struck % 2 == 0:
            self.clock.settle("%s, fault %d" % (self.run.name, self.struck))

    def churn(self, slot):
        """A further worker comes and goes, in order and not, so that faults meet rebalances."""
        def life():
            while self.churning:
                self.run.start(slot)
                time.sleep(self.rng.uniform(4, 9))
                if self.rng.random() < 0.5:
                    self.run.stop(slot)
                else:
                    self.run.kill(slot)
                time.sleep(self.rng.uniform(2, 9))
        self.churning, self.churner = True, threading.Thread(target=life, daemon=True)
        self.churner.start()

    def end(self):
        """The last fault is watched, too."""
        if self.churner:
            self.churning = False
            self.churner.join(60)
        if self.struck % 2:
            self.clock.settle("%s, last fault" % self.run.name)
        time.sleep(1)


def none(p):
    """No fault at all: what `current again` costs by itself."""
    p.begin()
    for _ in range(p.points):
        p.moment()
        p.strike()
        p.over()


def kill1(p):
    """SIGKILL of one worker while another comes and goes."""
    p.begin()
    p.churn(9)
    for _ in range(p.points):
        p.moment()
        p.run.kill()
        p.strike()
        p.run.start()
        p.over()


def kill3(p):
    """SIGKILL of all three workers at once while a fourth comes and goes; sometimes of one that stays away for longer than the session timeout."""
    p.begin(0, 1, 2)
    p.churn(9)
    for point in range(p.points):
        p.moment()
        slots = [p.rng.randrange(3)] if point % 5 == 4 else [0, 1, 2]
        for slot in slots:
            p.run.signal(slot, signal.SIGKILL)
        for slot in slots:
            p.run.kill(slot)
        p.strike()
        if len(slots) == 1:
            time.sleep(12)
        for slot in slots:
            p.run.start(slot)
        p.over()


def roll(p):
    """Ordered restart of three workers, one by one."""
    p.begin(0, 1, 2)
    for point in range(p.points):
        p.moment(0.5, 2)
        slot = point % 3
        p.strike()
        code, took = p.run.stop(slot)
        p.checks.check(code == 0 and took < 12, "ordered stop of slot %d: %r after %.1f s" % (slot, code, took))
        p.run.start(slot)
        p.over()


def freeze(p):
    """SIGSTOP of one of two workers for longer than transaction and session timeout; the clock runs from the SIGSTOP. Then SIGCONT."""
    p.begin(0, 1)
    for point in range(p.points):
        p.moment(2, 4)
        slot = p.rng.randrange(2)
        p.run.signal(slot, signal.SIGSTOP)
        p.strike()
        began = time.time()
        length = p.rng.uniform(12, 16)
        if point % 2:
            p.clock.settle("frozen, %d" % p.struck)
        time.sleep(max(0, length - (time.time() - began)))
        p.run.signal(slot, signal.SIGCONT)
        p.moment(1, 3)


def twin(p):
    """A second process on a used slot for some seconds."""
    p.begin()
    for _ in range(p.points):
        p.moment(2, 4)
        other = p.run.twin()
        p.strike()
        p.moment(1, 6)
        other.kill()
        other.wait()
        if p.run.workers[0].poll() is not None:  # it left: the slot is used twice
            p.run.start()
        p.over()


def broker(p):
    """SIGKILL and restart of the only broker; the clock runs from when it answers again."""
    p.begin()
    for _ in range(p.points):
        p.moment(2, 4)
        services("kill", "kafka")
        p.moment(0, 3)
        p.checks.check(services("restart", "kafka").returncode == 0, "the broker comes back")
        p.strike()
        p.over()


def stopdown(p):
    """Ordered stop while the broker is down: 10 s at most. The clock runs from the worker's start, after the broker's."""
    for point in range(p.points):
        if point == 0:
            p.begin()
        p.moment(1, 3)
        services("kill", "kafka")
        code, took = p.run.stop(limit=30)
        p.checks.check(took <= 10.5, "ordered stop without a broker: %.1f s" % took)
        p.checks.check(services("restart", "kafka").returncode == 0, "the broker comes back")
        p.run.start()
        p.strike()
        p.clock.settle("stopdown, %d" % p.struck)


def redis_cli(run, words, **more):
    port = run.stream.redis.split(":")[-1].split("/")[0]
    return subprocess.run(["redis-cli", "-p", port, *words], capture_output=True, **more).stdout


def redis_kill(p):
    p.begin()
    for _ in range(p.points):
        p.moment(2, 4)
        services("kill", "redis")
        p.moment(0, 5)
        p.checks.check(services("restart", "redis").returncode == 0, "Redis comes back")
        p.strike()
        p.over()


def redis_wipe(p):
    p.begin()
    for _ in range(p.points):
        p.moment(1, 4)
        p.checks.check(redis_cli(p.run, ["FLUSHALL"]).strip() == b"OK", "Redis is wiped")
        p.strike()
        p.over()


def redis_rollback(p):
    """What a restored snapshot is: every key of the run as it was some seconds ago."""
    p.begin()
    for _ in range(p.points):
        p.moment(1, 3)
        keys = redis_cli(p.run, ["KEYS", p.run.prefix + "*"], text=True).split()
        old = {key: redis_cli(p.run, ["DUMP", key])[:-1] for key in keys}
        p.moment(1, 3)
        redis_cli(p.run, ["FLUSHALL"])
        for key, value in old.items():
            redis_cli(p.run, ["-x", "RESTORE", key, "0"], input=value)
        p.strike()
        p.over()


def redis_away(p):
    """Two minutes without an answer: frozen, or dead and started again with its data."""
    p.begin()
    for point in range(p.points):
        p.moment(1, 3)
        services(*(("kill", "redis") if point % 2 else ("pause", "redis")))
        time.sleep(120)
        services(*(("restart", "redis") if point % 2 else ("resume", "redis")))
        p.strike()
        p.clock.settle("redis_away, %d" % p.struck)


def redis_full(p):
    """Its disk fills up (a small tmpfs, ENOSPC): every write fails until there is room again."""
    p.begin()
    folder = os.path.realpath(HERE + "/../../build/services/" + INSTANCE["redis_full"])
    with open(folder + "/redis.pid") as pid:
        filler = "/proc/%s/root%s/redis-data/filler" % (pid.read().strip(), folder)
    for _ in range(p.points):
        p.moment(2, 4)
        with open(filler, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 4096)
            except OSError:
                pass
        refused = 0
        for _ in range(20 + p.rng.randrange(80)):
            time.sleep(0.1)
            refused += b"aof_last_write_status:err" in redis_cli(p.run, ["INFO", "persistence"])
        p.checks.check(refused > 0, "Redis could not write")
        os.unlink(filler)
        p.strike()
        p.over()


def sample(p):
    """One of each kind, for the normal test run: two workers; a kill, a wiped Redis, a frozen worker; the broker killed, one
    worker stopped without it, both started again."""
    p.begin(0, 1)
    for point in range(p.points):
        p.moment(0.5, 2)
        slot = p.rng.randrange(2)
        kind = point % 4
        if kind == 0:
            p.run.kill(slot)
            p.strike()
            p.run.start(slot)
        elif kind == 1:
            p.checks.check(redis_cli(p.run, ["FLUSHALL"]).strip() == b"OK", "Redis is wiped")
            p.strike()
        elif kind == 2:
            p.run.signal(slot, signal.SIGSTOP)
            p.strike()
            time.sleep(12)
            p.run.signal(slot, signal.SIGCONT)
        else:
            for number in (signal.SIGSTOP, signal.SIGCONT):  # no commit is under way when it dies: Kafka may lose the markers of one (README, Limits)
                for worker in (0, 1):
                    p.run.signal(worker, number)
                if number == signal.SIGSTOP:
                    time.sleep(2)
                    services("kill", "kafka")
            code, took = p.run.stop(slot, limit=30)
            p.checks.check(code == 0 and took < SLOW_STOP_S, "ordered stop without a broker: %r after %.1f s" % (code, took))
            p.checks.check(services("restart", "kafka").returncode == 0, "the broker comes back")
            p.strike()
            p.run.start(slot)
        p.over()


FAULTS = {f.__name__: f for f in (none, kill1, kill3, roll, freeze, twin, broker, stopdown, redis_kill, redis_wipe, redis_rollback, redis_away,
                                  redis_full, sample)}
