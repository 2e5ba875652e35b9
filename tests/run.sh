#!/usr/bin/env bash
# Runs the tests and counts them. Usage: tests/run.sh unit|all
#
# Every runner below prints cmocka's "[  PASSED  ] N test(s)." lines or, for scripts and other
# programs, one line "N passed, N failed". A runner that exits non-zero and reported no failed
# test counts as one failed test. The last line is the sum.
#
# Tests of the core need nothing but a processor: as many run at once as JOBS says (default: the cores), the long ones first.
# What measures, uses every core itself or shares services runs alone.
set -u
cd "$(dirname "$0")/.." || exit 1
what=${1:-all}
jobs=${JOBS:-$(nproc)}
sums=build/test-logs/sums
asan=build/asan/tests
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0} UBSAN_OPTIONS=print_stacktrace=1
mkdir -p build/test-logs
: >$sums

# run NAME COMMAND…: one runner, its output in build/test-logs/NAME.log
run() {
    local name=$1 log p f rc start
    shift
    log=build/test-logs/$(echo "$name" | tr '/ ()' '____').log
    start=$SECONDS
    timeout "${RUN_TIMEOUT:-1800}" "$@" >"$log" 2>&1
    rc=$?
    p=$(grep -aoE '^\[  PASSED  \] [0-9]+ test' "$log" | grep -oE '[0-9]+' | paste -sd+ | bc)
    f=$(grep -aoE '^\[  FAILED  \] [0-9]+ test' "$log" | grep -oE '[0-9]+' | paste -sd+ | bc)
    if grep -qaE '^[0-9]+ passed, [0-9]+ failed' "$log"; then
        p=$(grep -aoE '^[0-9]+ passed' "$log" | tail -1 | grep -oE '[0-9]+')
        f=$(grep -aoE '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -1 | sed -E 's/.*, ([0-9]+) failed/\1/')
    fi
    p=${p:-0} f=${f:-0}
    [ "$rc" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    [ "$rc" -eq 0 ] && [ "$p" -eq 0 ] && [ "$f" -eq 0 ] && p=1
    echo "$p $f $name" >>$sums
    {
        printf '%-44s %5d passed %3d failed %4ds\n' "$name" "$p" "$f" $((SECONDS - start))
        [ "$f" -eq 0 ] || printf -- '---- %s (exit %d), end of %s:\n%s\n----\n' "$name" "$rc" "$log" "$(tail -n 40 "$log")"
    } >"$log.sum"
    cat "$log.sum"
}

# side NAME COMMAND…: the same, beside others; gather waits for all.
side() {
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    run "$@" &
}
gather() { wait; }

[ "$what" = all ] && side "prop/prop_plan (release)" env SEEDS=20000 build/release/tests/prop/prop_plan
for t in tests/prop/prop_*.c; do [ -e "$t" ] && side "prop/$(basename "$t" .c)" $asan/prop/"$(basename "$t" .c)"; done
[ "$what" = all ] && side "prop/prop_churn (release)" env SERIES=1000000 build/release/tests/prop/prop_churn
for t in tests/unit/test_*.c; do side "unit/$(basename "$t" .c)" $asan/unit/"$(basename "$t" .c)"; done
for t in tests/golden/*.sh; do [ -e "$t" ] && side "golden/$(basename "$t" .sh)" "$t" build/asan/tocsin; done
for t in tests/fuzz/fuzz_*.c; do
    [ -e "$t" ] || continue
    n=$(basename "$t" .c)
    side "fuzz/$n" $asan/fuzz/"$n" tests/fuzz/corpus/"${n#fuzz_}" --mutate "${FUZZ_MUTATE:-200}" --seed 1
done
gather
if [ "$what" = all ]; then
    run lint tests/lint.sh
    for t in tests/sim/sim_*.c; do
        [ -e "$t" ] || continue
        n=$(basename "$t" .c)
        run "sim/$n (sanitized)" $asan/sim/"$n" --seed 1 --seeds "${SIM_SEEDS:-60}"
        run "sim/$n" build/release/tests/sim/"$n" --seed 1 --seeds 1000
    done
    for t in tests/tsan/tsan_*.c; do
        n=$(basename "$t" .c)
        run "tsan/$n" env TSAN_OPTIONS="halt_on_error=1 exitcode=66" build/tsan/tests/tsan/"$n"
    done
    run bench/callgrind tests/bench/callgrind.py build/release/tests/bench/bench_parts
    run bench/plan_counts tests/bench/plan_counts.py build/release/tests/bench/bench_plan --windows
    # Services once for all integration tests: tests/it/services.sh start|stop (Kafka, registry, Redis).
    # They start only if some test needs them.
    if compgen -G 'tests/it/it_*.c' >/dev/null || compgen -G 'tests/it/it_*.sh' >/dev/null || compgen -G 'tests/it/it_*.py' >/dev/null; then
        run it/services tests/it/services.sh start
        for t in tests/it/it_*.c; do [ -e "$t" ] && run "it/$(basename "$t" .c)" $asan/it/"$(basename "$t" .c)"; done
        for t in tests/it/it_*.sh tests/it/it_*.py; do
            [ -e "$t" ] && run "it/$(basename "$t")" "$t"
        done
        tests/it/services.sh stop >>build/test-logs/it_services.log 2>&1
    fi
fi

failed=$(awk '$2 { $1 = $2 = ""; print }' $sums)
[ -z "$failed" ] || echo "failed:" $failed
awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 }' $sums
