#!/usr/bin/env bash
# Goal: what README.md says can be asked of the program is what the program says: the table of every configuration key.
# `tests/golden/readme.sh PROGRAM --write` puts the program's table in. The tables of src/README.md name every folder.
set -u
cd "$(dirname "$0")/../.." || exit 1
tocsin=$PWD/${1:-build/tocsin}
. tests/it/lib_check.sh
begin='<!-- tocsin config reference --output markdown -->'
if [ "${2:-}" = --write ]; then
    new=$(mktemp) || exit 1
    { sed "/^$begin\$/q" README.md; "$tocsin" config reference --output markdown; sed -n '/^<!-- end -->$/,$p' README.md; } >"$new"
    cat "$new" >README.md
    rm "$new"
fi
expect 0 "config reference" "$tocsin" config reference --output markdown
out=$(diff <(echo "$out") <(sed -n "/^$begin\$/,/^<!-- end -->\$/p" README.md | sed '1d;$d'))
[ -z "$out" ] && ok || bad "README.md lists other keys than the program has: tests/golden/readme.sh build/tocsin --write"
for folder in src/*/; do
    out=$(cat src/README.md)
    has " $(basename "$folder") "
done
# The smallest configuration and the first rule of README load.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/rules"
awk '/^```yaml$/ { n++; on = 1; next } /^```$/ { on = 0 } on { print > (n == 1 ? d "/tocsin.yaml" : d "/rules/first.yaml") }' d="$dir" README.md
expect 0 "the configuration in README" "$tocsin" config show --config "$dir/tocsin.yaml"
has 'topic: "bridge.metrics"'
expect 0 "the rule in README, without a finding" "$tocsin" check rules --strict "$dir/rules"
finish
