# lib_check.sh: assertions of shell tests, counted. Source it, call the functions, end with `finish`.
#
#   expect RC "what it is about" COMMAND…   exit code; output (both streams) is kept in $out
#   has "text" …                            $out holds each of these
#   lacks "text"                            $out does not hold it
passed=0 failed=0 out=
ok() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED: $1"; echo "$out" | sed 's/^/    /' | head -40; }
expect() {
    local want=$1 name=$2 rc
    shift 2
    out=$("$@" 2>&1)
    rc=$?
    if [ "$rc" -eq "$want" ]; then ok; else bad "$name: exit $rc, expected $want ($*)"; fi
}
has() {
    local text
    for text in "$@"; do
        if grep -qF -- "$text" <<<"$out"; then ok; else bad "not in the output: $text"; fi
    done
}
lacks() { if grep -qF -- "$1" <<<"$out"; then bad "should not be in the output: $1"; else ok; fi; }
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
