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

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
