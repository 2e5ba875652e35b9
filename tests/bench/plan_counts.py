#!/usr/bin/env python3
"""Goal: a step costs the same for a window of half an hour and of seven days, on any machine; and figures of plans that a busy machine does not blur.

Method: bench_plan runs under callgrind, which counts the instructions of each case's hot_steps() alone (64 steps, appending included, warm).
With --windows the running functions over 30 m and 7 d are counted, and the second may cost at most a fifth more than the first. Else every case is
printed as a BENCH line, per series and step (plan_1000_rules: per step).

Usage: plan_counts.py BENCH_PLAN [--windows]       the second form prints "N passed, N failed"
"""
import os
import re
import subprocess
import sys
import tempfile

MARGIN = 1.20


def counts(bench, mode):
    """name → instructions per operation, in order."""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM")
        run = subprocess.run(["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=hot_steps", "--dump-after=hot_steps",
                              "--callgrind-out-file=" + folder + "/out", bench, mode], capture_output=True, text=True, env=env, timeout=900)
        if run.returncode:
            raise SystemExit("bench_plan under callgrind: exit %d\n%s" % (run.returncode, run.stderr[-2000:]))
        found = {}
        for n, row in enumerate(run.stdout.splitlines(), 1):
            name, operations = row.split()
            with open("%s/out.%d" % (folder, n)) as text:
                found[name] = int(re.search(r"^totals: (\d+)", text.read(), re.M).group(1)) / int(operations)
        return found


def main():
    windows = "--windows" in sys.argv
    found = counts(sys.argv[1], "--windows" if windows else "--loops")
    passed = failed = 0
    for name, count in found.items():
        if not windows:
            print("BENCH name=%s_instructions value=%.1f unit=instructions ref= ratio= floor= aim=" % (name, count))
        elif name.endswith("_30m"):
            long = found[name[:-4] + "_7d"]
            ok = long <= count * MARGIN
            passed, failed = passed + ok, failed + (not ok)
            print("%-24s 30m %8.1f  7d %8.1f instructions a series and step%s" % (name[5:-4], count, long, "" if ok else "  FAILED: over a fifth more"))
    if windows:
        print("%d passed, %d failed" % (passed, failed))
    raise SystemExit(failed > 0 or not found)


main()
