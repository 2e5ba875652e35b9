#!/usr/bin/env python3
"""Goal: a hot loop that gets slower shows on any machine, in the normal test run; and the fast path allocates nothing per event.

Method: each part of bench_parts runs once under callgrind, which counts the instructions inside its loop alone; the count per operation must not lie above
the one in callgrind.tsv by more than the margin. Counts belong to a compiler, a C library and a processor family, so the file names them: under
the same ones 5 % fail, under others (whose counts differ by themselves) only a doubling. The C library's own dispatch by processor is switched
off, so that one machine counts as the next. Below the margin nothing fails, but it is said: write the file anew then, or a later loss of the gain hides.
Allocations are counted without valgrind, of a warm loop.

Usage: callgrind.py BENCH_PARTS [--write]       prints "N passed, N failed"
"""
import os
import platform
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = HERE + "/callgrind.tsv"
SAME, OTHER = 0.05, 1.0
# Allocations per 1,000 operations. Nothing per event; a batch or a step may have its few.
ALLOCATIONS = {"json_shape": 1, "avro_plan": 1, "json_exact": 50, "batch_encode": 20, "batch_decode": 20, "window_append": 20, "step": 300}


def toolchain():
    def first(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    return "gcc %s, %s, libc %s, %s" % (first("gcc", "-dumpfullversion"), first("valgrind", "--version"), platform.libc_ver()[1], platform.machine())


def instructions(bench, part):
    """Instructions per operation of one part's loop."""
    with tempfile.NamedTemporaryFile(suffix=".callgrind") as out:
        env = dict(os.environ, GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM")
        run = subprocess.run(["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=hot_*", "--callgrind-out-file=" + out.name,
                              bench, "--loops", part], capture_output=True, text=True, env=env, timeout=120)
        if run.returncode:
            raise SystemExit("%s under callgrind: exit %d\n%s" % (part, run.returncode, run.stderr[-2000:]))
        with open(out.name) as text:
            total = int(re.search(r"^totals: (\d+)", text.read(), re.M).group(1))
    return total / int(run.stdout.split()[1])


def allocations(bench):
    out = subprocess.run([bench, "--allocations"], capture_output=True, text=True, check=True, timeout=120).stdout
    return {row.split()[0]: float(row.split()[1]) for row in out.splitlines()}


def read_table():
    with open(TABLE) as text:
        rows = text.read().splitlines()
    return rows[0].lstrip("# "), {row.split("\t")[0]: float(row.split("\t")[1]) for row in rows[2:]}


def write_table(counts):
    with open(TABLE, "w") as out:
        out.write("# %s\npart\tinstructions_per_operation\n" % toolchain())
        out.writelines("%s\t%.1f\n" % row for row in counts.items())


def main():
    bench = sys.argv[1]
    allocated = allocations(bench)
    counts = {part: instructions(bench, part) for part in allocated}
    if "--write" in sys.argv:
        write_table(counts)
    made_with, expected = read_table()
    same = made_with == toolchain()
    margin = SAME if same else OTHER
    passed = failed = 0
    print("%s; the table: %s; margin %.0f %%" % (toolchain(), made_with, margin * 100))
    for part, count in counts.items():
        was = expected.get(part)
        ok = was is not None and count <= was * (1 + margin)
        passed, failed = passed + ok, failed + (not ok)
        word = "" if ok else "FAILED: slower than the table allows" if was else "FAILED: not in the table"
        if ok and same and count < was * (1 - margin):
            word = "faster: write the table anew"
        print("%-14s %9.1f instructions  table %9.1f  %+6.1f %%  %s" % (part, count, was or 0, (count / was - 1) * 100 if was else 0, word))
    for part, most in ALLOCATIONS.items():
        ok = allocated.get(part, 1e9) <= most
        passed, failed = passed + ok, failed + (not ok)
        print("%-14s %9.2f allocations per 1,000, at most %d%s" % (part, allocated.get(part, -1), most, "" if ok else "  FAILED"))
    print("%d passed, %d failed" % (passed, failed))
    raise SystemExit(failed > 0)


main()
