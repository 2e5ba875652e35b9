#!/usr/bin/env bash
# logs mine on the command line: rows, formats, headers, follow, spool, hostile input, errors. Usage: logs.sh TOCSIN
set -u
t=$(readlink -f "$1")
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir" || exit 1
passed=0 failed=0
check() { # NAME WANT GOT
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); printf 'FAILED %s\n  want: %s\n  got:  %s\n' "$1" "$2" "$3"; fi
}

for n in anna bert carl dora emil fritz gustav; do echo "session of $n was closed"; done >names
check "rows at the end of input, one template" "7 1" "$("$t" logs mine names | awk -F'\t' '{l = $1; s[$2 "\t" $3] = 1} END {print l, length(s)}')"
check "the template" "session of <*> was closed" "$("$t" logs mine names | tail -1 | cut -f3)"
check "ids do not depend on jobs" "$("$t" logs mine names | md5sum)" "$("$t" logs mine --jobs 4 - <names | md5sum)"
check "an unfinished last line counts" 2 "$(printf 'a b\nc d' | "$t" logs mine - | wc -l)"
check "empty input" 0 "$("$t" logs mine - </dev/null | wc -l)"
check "empty lines have rows" 3 "$(printf '\n\nx y\n' | "$t" logs mine - | wc -l)"

for i in $(seq 30); do printf '2026-01-02 03:04:%02d,1 INFO web.Part%d: done with step\n' "$i" $((i % 2)); done >headed
check "a header is found" "done with step" "$("$t" logs mine headed | cut -f3 | sort -u)"
check "content has none" "<*> INFO <*>: done with step" "$("$t" logs mine --format content headed | head -1 | cut -f3)"
printf '{"level":"info","message":"took 3 ms"}\nlevel=warn msg="took 4 ms"\n' >events
check "messages of JSON and logfmt" "took <*> ms" "$("$t" logs mine --format json events | cut -f3 | sort -u)"

timeout 20 "$t" logs mine --follow - <names >followed
check "follow prints a row a line" 7 "$(grep -vc '^#merge' followed)"
check "and merges" 5 "$(grep -c '^#merge' followed)"
check "summary" "7 lines, 1 templates" "$("$t" logs mine --summary names | tail -1)"

# Stack traces: one event, with a header and without, through blocks, jobs, pipes and --follow; ids do not depend on the depth.
trace() { # HEADER FRAMES
    echo "$1request $2 failed"
    echo "java.lang.IllegalStateException: no route"
    for f in $(seq "$2"); do printf '\tat a.b.C%d.run(C%d.java:%d)\n' "$((f > 1))" "$((f > 1))" "$f"; done
    printf 'Caused by: java.io.IOException: closed\n\tat x.Y.z(Y.java:%d)\n\t... %d more\n' "$2" "$2"
    echo "$1request $2 was served"
}
for n in 3 9 27 5; do trace "2026-01-02 03:04:05,1 ERROR web.Part$n: " "$n"; done >traces
"$t" logs mine traces >rows
check "a row for each line" "$(wc -l <traces)" "$(wc -l <rows)"
check "a trace is one template" "request <*> failed java.lang.IllegalStateException: no route at <*>) Caused by: java.io.IOException: closed at <*>)" "$(head -1 rows | cut -f3 | sed 's/ at [^)]*)/ at <*>)/g')"
check "all its lines have it" 2 "$(cut -f2 rows | sort -u | wc -l)"
check "and it counts once" "4 4" "$("$t" logs mine --summary traces | awk '/request/ {print $1}' | xargs)"
check "as in a pipe" "$(md5sum <rows)" "$("$t" logs mine - <traces | md5sum)"
check "follow prints an event's first line" 8 "$("$t" logs mine --follow - <traces | grep -vc '^#')"
for _ in $(seq 2000); do cat traces; done >blocks
check "blocks and jobs cut none" "$("$t" logs mine blocks | cut -f2 | md5sum) 2" "$("$t" logs mine --jobs 3 - <blocks | cut -f2 | md5sum) $("$t" logs mine blocks | cut -f2 | sort -u | wc -l)"
check "counts through blocks" "8000 8000" "$("$t" logs mine --summary blocks | awk '/request/ {print $1}' | xargs)"
printf 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: bad\nnext\npanic: oops\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/x/y.go:3\nexit status 2\nError: late\n    at f (/x.js:1:2)\n    at g (/x.js:1:2)\ndone\n' >others
check "Python, Go and Node without header" "4 1 6 3 1" "$("$t" logs mine others | cut -f2 | uniq -c | awk '{print $1}' | xargs)"
printf 'list:\n  first\n  second\n' >list
check "an indented line is no trace by itself" 3 "$("$t" logs mine list | cut -f2 | sort -u | wc -l)"
printf '{"level":"error","message":"boom\\nTraceback (most recent call last):\\n  File \\"/a.py\\", line 7, in f\\n    g()\\nValueError: bad"}\n' >json
check "a trace inside of JSON" 'boom Traceback (most recent call last): File "<*>", line <*>, in f ValueError: bad' "$("$t" logs mine --format json json | cut -f3)"

# Section logs of a configuration: masks, pinned templates, secret patterns.
printf 'logs:\n  masks: [ "job-*" ]\n  templates: [ "user <*> left" ]\n  secret_patterns: [ "ACME-[A-Z]+" ]\n' >config.yaml
printf 'job-alpha began\nuser bob the third left\nwith ACME-QRS\n' >configured
check "configured masks, pins and secrets" "<*> began|user <*> left|with <secret>" "$("$t" logs mine --config config.yaml configured | cut -f3 | paste -sd'|')"
check "and with threads" "$("$t" logs mine --config config.yaml configured | md5sum)" "$("$t" logs mine --config config.yaml --jobs 2 - <configured | md5sum)"
printf 'logs: { secret_patterns: [ "a(" ] }\n' >wrong.yaml
check "a wrong pattern is an invalid configuration" "3 1" "$("$t" logs mine --config wrong.yaml configured >/dev/null 2>err; echo $? "$(grep -c 'wrong.yaml: logs.secret_patterns' err)")"

# More than 16 MiB of line numbers: rows of spooled and held lines are all there, in order.
yes 'tick tock' | head -n 4200000 >many
check "spooled rows" "4200000 1" "$("$t" logs mine many | awk -F'\t' '$1 != NR {bad = 1} {s[$2] = 1} END {print bad ? "out of order" : NR, length(s)}')"
check "a spool that cannot be written is an error" 1 "$(TMPDIR=/nonexistent "$t" logs mine many >/dev/null 2>&1; echo $?)"

head -c 3000000 /dev/zero | tr '\0' 'x' >giant && echo >>giant && echo 'next line' >>giant
check "a giant line is one row" "2 next line" "$("$t" logs mine giant | tail -1 | cut -f1,3 | tr '\t' ' ')"
head -c 200000 /dev/zero >nuls
check "NULs" 1 "$("$t" logs mine nuls | wc -l)"
printf 'bad \377\376 bytes\n' >bytes
check "broken UTF-8" "bad ?? bytes" "$("$t" logs mine bytes | cut -f3)"
check "no such file" 1 "$("$t" logs mine missing >/dev/null 2>err; echo $?)"
check "says which" 1 "$(grep -c missing err)"
check "usage" 2 "$("$t" logs mine --format xml names >/dev/null 2>&1; echo $?)"
check "closed output" 1 "$("$t" logs mine names >/dev/full 2>/dev/null; echo $?)"

# Progress on a terminal, of an input that takes its time; none where errors go to a file.
cat >terminal.py <<'PY'
import os, pty, subprocess, sys, time
master, slave = pty.openpty()
child = subprocess.Popen([sys.argv[1], "logs", "mine", "--summary", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=slave)
os.close(slave)
for pause in (1.3, 0):
    child.stdin.write(b"tick tock\n" * 60000)
    child.stdin.flush()
    time.sleep(pause)
child.stdin.close()
child.wait()
seen = b""
try:
    while True:
        seen += os.read(master, 4096)
except OSError:
    pass
print(b" lines, 1 templates" in seen, seen.endswith(b"\x1b[K"))
PY
check "progress on a terminal, wiped at the end" "True True" "$(python3 terminal.py "$t")"
check "and none elsewhere" 0 "$("$t" logs mine --summary blocks 2>&1 >/dev/null | wc -c)"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
