#!/usr/bin/env bash
# logs diff on files: what is new, gone, changed; order; a flood does not make the rest look rare; JSON; usage. Usage: logs_diff.sh TOCSIN
set -u
t=$(readlink -f "$1")
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir" || exit 1
passed=0 failed=0
check() { # NAME WANT GOT
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); printf 'FAILED %s\n  want: %s\n  got:  %s\n' "$1" "$2" "$3"; fi
}

for i in $(seq 100); do
    for verb in opened closed copied moved; do echo "$verb file number $i"; done
    echo "user u$i logged in from 10.0.0.$i"
    echo "request took $i ms"
    [ "$i" -le 40 ] && echo "cache warm for shard $i"
    echo "queue depth is $i"
done >before
for i in $(seq 100); do
    for verb in opened closed copied moved; do echo "$verb file number $i"; done
    echo "user u$i logged in from 10.0.0.$i"
    for _ in 1 2 3 4 5 6 7 8; do echo "request took $i ms"; done
    [ "$i" -gt 80 ] && echo "disk $i is full"
    [ "$i" -gt 98 ] && echo "the end is near"
    [ $((i % 5)) -eq 0 ] && echo "queue depth is $i"
done >after

"$t" logs diff before after >table
check "order: new, more, gone, less; the surest first" "new new more gone less" "$(sed '1d;$d' table | awk '{print $1}' | xargs)"
check "new templates by count" "disk <*> is full|the end is near" "$(awk '$1 == "new"' table | sed 's/.*[0-9a-f]\{16\}  //' | paste -sd'|')"
check "counts and rate of what is more often" "100 800 x8.0 request took <*> ms" "$(awk '$1 == "more" {print $2, $3, $4, $6, $7, $8, $9}' table)"
check "and less often" "100 20 /5.0" "$(awk '$1 == "less" {print $2, $3, $4}' table)"
check "gone" "40 0 - cache warm for shard <*>" "$(awk '$1 == "gone" {print $2, $3, $4, $6, $7, $8, $9, $10}' table)"
check "the last line counts" "2 new, 1 more often, 1 gone, 1 less often, 5 as before; 740 lines before, 1342 after (1 lines after are usual for one before)" "$(tail -1 table)"
check "all shows the rest, too" 5 "$("$t" logs diff --all before after | grep -c '^same')"
check "top" 1 "$("$t" logs diff --top 1 before after | sed '1d;$d' | wc -l)"
check "a file against itself" "0 new, 0 more often, 0 gone, 0 less often, 8 as before" "$("$t" logs diff before before | tail -1 | cut -d';' -f1)"
check "the other way round" "new more gone gone less" "$("$t" logs diff after before | sed '1d;$d' | awk '{print $1}' | xargs)"
check "a large factor hides small changes" "new new more gone" "$("$t" logs diff --factor 6 before after | sed '1d;$d' | awk '{print $1}' | xargs)"
for _ in 1 2 3; do cat before; done >thrice
check "a longer file alone is no change" "0 new, 0 more often, 0 gone, 0 less often, 8 as before" "$("$t" logs diff before thrice | tail -1 | cut -d';' -f1)"
check "a few lines more are chance" "same" "$(head -3 before >few; cat few few few >some; "$t" logs diff --all few some | sed '1d;$d' | awk '{print $1}' | sort -u)"

"$t" logs diff --output json before after >json
check "JSON parses" "2 740 1342" "$(python3 -c '
import json
rows = [json.loads(l) for l in open("json")]
assert [r["type"] for r in rows[:-1]] == ["template"] * 5
s = rows[-1]
print(s["new"], s["lines_before"], s["lines_after"])')"
check "JSON names the first line of a new template in its file" "disk 81 is full" "$(python3 -c '
import json
row = json.loads(open("json").readline())
print(open("after").read().split("\n")[row["first_line"] - 1])')"

printf '{"msg":"took 3 ms"}\n' >a.json && printf '{"msg":"took 4 ms"}\n{"msg":"oops"}\n' >b.json
check "messages of JSON" "new oops" "$("$t" logs diff --format json a.json b.json | sed '1d;$d' | awk '{print $1, $6}')"
check "a word that varies across the files is one template" "same" "$(for n in anna bert carl; do echo "session of $n was closed"; done >one; for n in dora emil fritz; do echo "session of $n was closed"; done >two; "$t" logs diff --all one two | sed '1d;$d' | awk '{print $1}' | sort -u)"
check "no such file" "1 1" "$("$t" logs diff before missing >/dev/null 2>err; echo $? "$(grep -c missing err)")"
check "one file is not enough" 2 "$("$t" logs diff before >/dev/null 2>&1; echo $?)"
check "files and a range exclude each other" 2 "$("$t" logs diff --from 1h before after >/dev/null 2>&1; echo $?)"
check "a time that is none" "2 1" "$("$t" logs diff --from yesterday >/dev/null 2>err; echo $? "$(grep -c 'no time' err)")"
check "a range that ends before it begins" 2 "$("$t" logs diff --from 1m --to 1h >/dev/null 2>&1; echo $?)"
check "output forms" 2 "$("$t" logs diff --output xml before after >/dev/null 2>&1; echo $?)"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
