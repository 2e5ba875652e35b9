#!/usr/bin/env bash
# Goal: tests/README.md names the test of each promise of the main job; what it names is there.
# Method: every `file` of the table must exist, every test named behind a file must stand in it, and every row must name one.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/it/lib_check.sh
table=$(sed -n '/^| promise /,$p' tests/README.md | tail -n +3)
out=$table
[ "$(wc -l <<<"$table")" -gt 20 ] && ok || bad "the table of promises"
while IFS='|' read -r _ promise tests _; do
    file=
    grep -q '`tests/' <<<"$tests" && ok || bad "no test of: $promise"
    for word in $tests; do
        word=${word%,}
        case $word in
        '`'tests/*) file=${word//\`/}; [ -e "$file" ] && ok || bad "no file $file" ;;
        by) ;;
        *) grep -qw -- "$word" "$file" && ok || bad "no test $word in $file" ;;
        esac
    done
done <<<"$table"
finish
