#!/usr/bin/env bash
# Log mining: lines a second and memory on a large mixed stream, beside Drain3 in the same run.
#
# The stream is made by the conformance data's generator if that is there, else by a small grammar here; no line of it is a
# copy of another by intent. Drain3 (PyPI 0.9.11) goes into a virtual environment under build/bench and reads the first 300,000
# lines of the same stream, already in memory and without their newlines, once as it is when installed (no masks), once with
# the masks of the example configuration that it is shipped with (numbers, hexadecimal, addresses, sequences), no persistence
# and no profiling either way. The faster of the two is the reference. CPU seconds; best of three for us, one run for Drain3.
# Source: Drain, He et al., ICWS 2017.
set -eu
cd "$(dirname "$0")/../.."
tocsin=build/tocsin
shared=${TOCSIN_SHARED:-../shared}/conformance/logs
work=build/bench/logs
mkdir -p "$work"
lines=${LOG_LINES:-1000000}

make_stream() {
    if [ -e "$shared/gen_logs.py" ]; then
        python3 "$shared/gen_logs.py" "$work" "$lines" 11 >/dev/null
        mv "$work/mix/content.log" "$work/stream.log"
    else
        python3 - "$lines" >"$work/stream.log" <<'PY'
import random, sys
r = random.Random(11)
words = ["".join(r.choice("bcdfgklmnprstvwz") + r.choice("aeiou") for _ in range(r.randint(2, 4))) for _ in range(900)]
shapes = [[r.choice(words + ["%d", "%x", "%a"] * 120) for _ in range(r.randint(4, 14))] for _ in range(1300)]
for _ in range(int(sys.argv[1])):
    print(" ".join({"%d": str(r.randrange(10**6)), "%x": "0x%08x" % r.getrandbits(32),
                    "%a": "10.%d.%d.%d:%d" % tuple(r.randrange(1, 255) for _ in range(4))}.get(w, w) for w in r.choice(shapes)))
PY
    fi
}

# best COMMAND… : least user + system seconds of three runs; leaves the peak RSS in KiB in $rss
best() {
    local best=
    for _ in 1 2 3; do
        local out
        out=$( { /usr/bin/env python3 - "$@" <<'PY'
import os, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(u.ru_utime + u.ru_stime, u.ru_maxrss)
PY
        } )
        rss=${out#* }
        best=$(printf '%s\n%s\n' "${best:-9999}" "${out% *}" | sort -g | head -1)
    done
    seconds=$best
}
rate() { awk -v n="$1" -v s="$2" 'BEGIN {printf "%.0f", n / s}'; }

make_stream
best "$tocsin" logs mine --summary "$work/stream.log"
summary=$(rate "$lines" "$seconds")
best "$tocsin" logs mine "$work/stream.log"
rows=$(rate "$lines" "$seconds")
for _ in $(seq $((10000000 / lines + 1))); do cat "$work/stream.log"; done | head -n 10000000 >"$work/ten.log"
best "$tocsin" logs mine "$work/ten.log"
memory=$rss
rm -f "$work/ten.log"

# drain none|masks : lines a second
drain() {
    head -n 300000 "$work/stream.log" | "$work/venv/bin/python" -c '
import sys, time
from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig
config = TemplateMinerConfig()
word = r"((?<=[^A-Za-z0-9])|^)(%s)((?=[^A-Za-z0-9])|$)"
if sys.argv[1] == "masks":
    config.masking_instructions = [MaskingInstruction(word % p, n) for p, n in [
        (r"([0-9a-f]{2,}:){3,}([0-9a-f]{2,})", "ID"), (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", "IP"),
        (r"([0-9a-f]{6,} ?){3,}", "SEQ"), (r"([0-9A-F]{4} ?){4,}", "SEQ"), (r"0x[a-f0-9A-F]+", "HEX"), (r"[\-\+]?\d+", "NUM")]]
lines = [l.rstrip("\n") for l in sys.stdin]
miner = TemplateMiner(config=config)
start = time.process_time()
for line in lines:
    miner.add_log_message(line)
print(round(len(lines) / (time.process_time() - start)))' "$1" 2>/dev/null || true
}

drain= plain= masked=
if [ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv" >/dev/null 2>&1; then
    "$work/venv/bin/python" -c 'import drain3' 2>/dev/null || "$work/venv/bin/pip" -q install drain3==0.9.11 >/dev/null 2>&1 || true
    plain=$(drain none) masked=$(drain masks)
    drain=$(printf '%s\n' "$plain" "$masked" | sort -n | tail -1)
fi
ratio() { # A [B]: A by B, by the faster Drain3 without one
    local by=${2-$drain}
    [ -n "$by" ] && awk -v a="$1" -v b="$by" 'BEGIN {printf "%.1f", a / b}' || echo none
}
echo "BENCH name=logs_mine_summary value=$summary unit=lines/s ref=${drain:-none} ratio=$(ratio "$summary") floor=1500000 aim=4000000"
echo "BENCH name=logs_mine_rows value=$rows unit=lines/s ref=${drain:-none} ratio=$(ratio "$rows") floor=800000 aim=2000000"
echo "BENCH name=logs_mine_vs_drain3_masks value=$(ratio "$summary" "$masked") unit=times ref=${masked:-none} ratio=$(ratio "$summary" "$masked") floor=100 aim=200"
echo "BENCH name=logs_mine_vs_drain3_default value=$(ratio "$summary" "$plain") unit=times ref=${plain:-none} ratio=$(ratio "$summary" "$plain") floor=100 aim=200"
echo "BENCH name=logs_mine_rss_10m value=$memory unit=KiB ref=none ratio=none floor=65536 aim=32768"
